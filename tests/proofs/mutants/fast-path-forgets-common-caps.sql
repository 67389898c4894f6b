-- A deduction by the fast path does not ask for the caps that everyone is under.
select pg_temp.mutate('fast-path-common-caps', '');
