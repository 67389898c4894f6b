-- A token is enough, whether its user is still there or not.
select pg_temp.mutate('caller-still-exists', 'elsif false then');
