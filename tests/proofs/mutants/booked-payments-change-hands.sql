-- A booked payment moves to the user whom the events name first, even if it was booked to another.
select pg_temp.mutate('booked-once-stays', '');
