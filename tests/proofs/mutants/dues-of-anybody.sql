-- What is due to a user is told to every caller.
select pg_temp.mutate('dues-of-ones-own', 'null;');
