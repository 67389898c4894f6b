-- A hold that had run out by then still holds, unless somebody had booked it.
select pg_temp.mutate('past-holds-run-out', 'where false');
