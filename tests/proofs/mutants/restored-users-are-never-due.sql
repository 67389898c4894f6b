-- Somebody who was deleted and is back gets nothing that time gives, and is told nothing.
select pg_temp.mutate('restored-users-go-on', '');
