-- What had run out by then is still counted, unless it was booked.
select pg_temp.mutate('past-grants-run-out', 'true as is_alive,');
