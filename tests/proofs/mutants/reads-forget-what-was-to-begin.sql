-- A grant whose moment has come counts once it is booked, and not before.
select pg_temp.mutate('beginnings-count', 'where g.is_fitting', 'where false');
