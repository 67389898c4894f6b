-- Who looks back at a moment is not told what had begun by then and was booked later.
select pg_temp.mutate('past-beginnings-count', '\& and false');
