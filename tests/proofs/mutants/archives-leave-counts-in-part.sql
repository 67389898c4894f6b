-- What is counted of a user as far as the middle of an hour stays so.
select pg_temp.mutate('counted-again', 'm.counted_until < a.used_before', 'false');
