-- Takes the time when the transaction began, as now() does: whoever waited for the lock spends a
-- grant that ran out while he waited.
select pg_temp.mutate('tokenbook.spend_tokens', $$  v_now := clock_timestamp();

  -- replay$$, $$  v_now := now();

  -- replay$$);
