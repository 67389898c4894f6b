-- A code that was ended is redeemed all the same.
select pg_temp.mutate('ended-codes-give-nothing', '');
