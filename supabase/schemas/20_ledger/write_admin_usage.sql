/*
 * Writes the row of token_usage that an admin's grant or correction leaves in the trail: p_action_type is admin_grant, of
 * whatever type the grant is, or admin_deduct. p_entry is the transaction that it stands for, with a usage_id.
 * Caller: internal, with that transaction.   Keeps: I10.
 */
create function tokenbook.write_admin_usage(p_entry public.token_transactions, p_action_type text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.token_usage
    (user_id, id, action_type, tokens_used, cost_estimate, metadata, created_at, transaction_id)
  values
    (p_entry.user_id, p_entry.usage_id, p_action_type, abs(p_entry.tokens), 0,
     p_entry.metadata || jsonb_build_object('reason', p_entry.reason, 'transaction_id', p_entry.id),
     p_entry.created_at, p_entry.id);
end
$$;
comment on function tokenbook.write_admin_usage is
  'Writes the row of token_usage that an admin''s grant or correction leaves in the trail.';
