-- The items of a batch that take the fast path do not ask for the caps that everyone is under.
select pg_temp.mutate('batch-common-caps', 'where not r.has_common_caps', '');
