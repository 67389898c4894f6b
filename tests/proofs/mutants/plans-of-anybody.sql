-- Which plan somebody has is told to whoever asks.
select pg_temp.mutate('plans-of-ones-own', 'null;');
