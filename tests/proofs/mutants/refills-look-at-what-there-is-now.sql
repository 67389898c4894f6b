-- What a slot fills up is looked at when somebody comes by, not when it began.
select pg_temp.mutate('what-there-was-then', 'p_at', 'clock_timestamp()');
