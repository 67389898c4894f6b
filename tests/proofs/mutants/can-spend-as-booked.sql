-- Of an account that is due it is asked what was booked.
select pg_temp.mutate('asked-with-dues', 'select v_remaining into v_remaining');
