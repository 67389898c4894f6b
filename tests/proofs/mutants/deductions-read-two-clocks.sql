-- Whether something is due is asked of one moment, and what is open of a later one.
select pg_temp.mutate('one-clock-decides', 'if false then');
