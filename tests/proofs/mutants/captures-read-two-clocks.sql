-- Whether a hold has run out is asked of one moment, and it is settled in a later one.
select pg_temp.mutate('one-clock-settles', 'exit when found;');
