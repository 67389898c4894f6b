-- Takes the time when the transaction began, as now() does: a call that waited for the lock spends a
-- grant that ran out meanwhile.
select pg_temp.mutate('clock-after-lock', 'clock_timestamp()', 'now()');
select pg_temp.mutate('decides-after-lock', 'decided_at := now();');
