-- A user's plan is told to every caller.
select pg_temp.mutate('plans-of-ones-own', 'null;');
