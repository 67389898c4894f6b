-- A usual spending does not ask whether the account is frozen.
select pg_temp.mutate('usual-not-frozen', '');
