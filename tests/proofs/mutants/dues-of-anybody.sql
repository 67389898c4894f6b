-- What is due to somebody is told to whoever asks.
select pg_temp.mutate('dues-of-ones-own', 'null;');
