-- What was booked goes to whom the events name first, whoever it was booked to.
select pg_temp.mutate('booked-once-stays', '');
