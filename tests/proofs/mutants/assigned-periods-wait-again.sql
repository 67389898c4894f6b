-- What an admin has said to be the price is parked anew.
select pg_temp.mutate('assigned-is-decided', '');
