-- A balance as of a moment leaves out grants that had begun by then and were booked later.
select pg_temp.mutate('past-beginnings-count', '\& and false');
