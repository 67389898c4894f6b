-- A replay spends a grant on what it does not pay for.
select pg_temp.mutate('replay-knows-what-pays', '');
