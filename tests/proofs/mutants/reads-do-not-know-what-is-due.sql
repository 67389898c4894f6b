-- What is due by a schedule counts once it is booked, and not before.
select pg_temp.mutate('reads-know-what-is-due', 'given := 0;');
