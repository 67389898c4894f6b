-- A trial that an admin grants is not remembered.
select pg_temp.mutate('granted-trials-remembered', 'null;');
