-- Whether a user can spend is told to whoever asks.
select pg_temp.mutate('spending-of-ones-own', 'null;');
