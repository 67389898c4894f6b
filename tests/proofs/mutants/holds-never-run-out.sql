-- Waits for somebody to settle a hold, for ever.
select pg_temp.mutate('holds-run-out', 'where false');
