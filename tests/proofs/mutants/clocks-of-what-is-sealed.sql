-- The past that a checkpoint covers is moved.
select pg_temp.mutate('nobody-in-a-checkpoint', 'when false');
