-- A payment of which nobody knows what was bought can be assigned without saying it: success, and it is parked still.
select pg_temp.mutate('assigned-to-something', 'elsif false then');
