-- The items of a batch that take the fast path do not ask whether the account is frozen.
select pg_temp.mutate('batch-not-frozen', '');
