-- A deduction by the fast path does not ask whether the account is frozen.
select pg_temp.mutate('fast-path-not-frozen', '');
