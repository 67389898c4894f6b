-- A moment with an offset that is none is an error of Postgres's own.
select pg_temp.mutate('offsets-are-checked', ' or invalid_time_zone_displacement_value', '');
