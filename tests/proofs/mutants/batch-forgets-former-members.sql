-- The items of a batch that take the fast path do not ask whether the user ever was in a team.
select pg_temp.mutate('batch-own-keys', '');
