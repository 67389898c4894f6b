-- What a child uses beyond itself is taken from the balance.
select pg_temp.mutate('beyond-its-budget', 'elsif false then');
