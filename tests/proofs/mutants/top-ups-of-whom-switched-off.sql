-- A user who has switched their top-up off is charged for a request from before.
select pg_temp.mutate('switched-off-pays-nothing', 'when false then ''switched_off''');
