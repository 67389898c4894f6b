-- Takes the time when the transaction began, as now() does: whoever waited for the lock spends a
-- grant that ran out while he waited.
select pg_temp.mutate('clock-after-lock', 'v_now := now();');
