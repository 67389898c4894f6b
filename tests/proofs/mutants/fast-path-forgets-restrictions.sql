-- A usual spending does not ask whether all of the account's grants pay for everything.
select pg_temp.mutate('usual-pays-for-everything', '');
