-- A period whose money is gone is forgotten at its end, though the money may come back.
select pg_temp.mutate('owing-plans-stay', 'where false');
