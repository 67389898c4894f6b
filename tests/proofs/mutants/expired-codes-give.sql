-- A code that is over is redeemed all the same.
select pg_temp.mutate('expired-codes-give-nothing', '');
