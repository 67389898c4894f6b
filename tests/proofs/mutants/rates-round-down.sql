-- Whole tokens are rounded down: many small uses cost nothing.
select pg_temp.mutate('rates-round-up-once', '/ 100', '/ 100 - 0.999999');
