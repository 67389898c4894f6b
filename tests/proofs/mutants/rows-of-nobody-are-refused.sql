-- A row of the server's that has no user is refused.
select pg_temp.mutate('rows-of-nobody', 'null;');
