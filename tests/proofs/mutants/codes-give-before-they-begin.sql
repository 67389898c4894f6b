-- A code is redeemed before it is to begin.
select pg_temp.mutate('codes-have-a-beginning', '');
