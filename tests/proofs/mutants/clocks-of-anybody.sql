-- A caller who may advance a clock may advance every user's.
select pg_temp.mutate('test-users-are-named', 'not exists', 'false and not exists');
