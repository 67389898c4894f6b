-- A user who comes back may bring another past than they left with.
select pg_temp.mutate('continues-what-was', 'not exists', 'false and not exists');
