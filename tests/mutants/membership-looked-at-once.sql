-- Asks who pays, waits for the lock, and does not ask again.
select pg_temp.mutate('private.spend', $$  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if p_entry.action_type <> 'admin_deduct'$$, $$  -- lock
  perform pg_sleep(random() * 0.02); -- what was read is a moment old, as it is under load
  v_account := private.lock_account(p_entry.user_id);
  if false and p_entry.action_type <> 'admin_deduct'$$);
