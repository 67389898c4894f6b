-- Asks who pays, waits for the lock, and does not ask again.
select pg_temp.mutate('tokenbook.spend_tokens', $$  if p_entry.action_type <> 'admin_deduct'
    and (v_account.payer_id$$, $$  if false and p_entry.action_type <> 'admin_deduct'
    and (v_account.payer_id$$);
