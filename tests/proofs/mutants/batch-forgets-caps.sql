-- The items of a batch that take the fast path do not ask whether their accounts have caps.
select pg_temp.mutate('batch-no-caps', '');
