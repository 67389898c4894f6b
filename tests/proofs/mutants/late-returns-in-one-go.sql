-- What comes back to grants that have run out is booked as a whole, or not at all.
select pg_temp.mutate('late-returns-in-portions', ', p_in_portions => true', '');
