-- A dispute that was won covers what the provider takes back after it, if that is as much.
select pg_temp.mutate('won-disputes-are-over', '');
