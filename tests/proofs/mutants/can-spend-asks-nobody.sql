-- Whether a user can spend is told to every caller.
select pg_temp.mutate('spending-of-ones-own', 'null;');
