-- A line is restored whatever it says.
select pg_temp.mutate('restores-what-was-booked', 'if exists', 'if false and exists');
