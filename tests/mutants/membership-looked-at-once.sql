-- Asks who pays, waits for the lock, and does not ask again.
select pg_temp.mutate('private.spend', $$  -- lock
$$, $$  perform pg_sleep(random() * 0.02); -- what was read is a moment old, as it is under load
$$);
select pg_temp.mutate('private.spend', $$  if p_entry.action_type <> 'admin_deduct'
    and (v_account.payer_id$$, $$  if false and p_entry.action_type <> 'admin_deduct'
    and (v_account.payer_id$$);
