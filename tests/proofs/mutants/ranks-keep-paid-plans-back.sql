-- A plan that somebody pays for waits for one of a higher rank that nobody pays for: for ever, where that has no end.
select pg_temp.mutate('paid-before-unpaid', '10000000000', '0');
