-- Spending on another day adds to what was spent on the last one.
select pg_temp.mutate('days-turn', 'if false then');
