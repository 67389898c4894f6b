-- Booking something else forgets that a grant is still to come.
select pg_temp.mutate('begins-are-due', 'limit 1', 'limit 0');
