-- Who has switched their top-up off is charged for what was asked for before.
select pg_temp.mutate('switched-off-pays-nothing', 'when false then ''switched_off''');
