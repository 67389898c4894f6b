-- An amount that is told after the payment was booked changes nothing.
select pg_temp.mutate('amount-follows-facts', '');
