-- What is due by a schedule counts once it is booked, and not before.
select pg_temp.mutate('reads-count-slots', 'given := 0;');
