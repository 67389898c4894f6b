-- One acknowledgement leaves out every entry of the user that was booked at odds with the clock.
select pg_temp.mutate('acknowledged-entry-only', '');
select pg_temp.mutate('acknowledged-as-it-was', ')');
