-- What a hold gives back does not come back.
select pg_temp.mutate('replay-knows-releases', $$'void'$$, $$'void', 'release'$$);
