-- A user settles holds that the server made for them, where nothing else is unusual.
select pg_temp.mutate('usual-own-holds', 'and true)');
