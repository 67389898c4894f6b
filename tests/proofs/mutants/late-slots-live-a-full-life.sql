-- The life of a slots tokens begins when somebody comes by.
select pg_temp.mutate('lives-from-the-slot', 'slot_start', 'p_at');
