-- Locks the newest entry of the ledger and trusts what was read with it. The lock moves on with every
-- entry: a call that waited holds an old one, and writes what it had read.
create or replace function tokenbook.deduct_tokens_with_fifo(
  p_user_id uuid, p_tokens_to_deduct bigint, p_action_type text default 'deduction',
  p_idempotency_key text default null, p_metadata jsonb default null
)
returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
begin
  select t.* into v_entry from public.token_transactions t
   where t.user_id = p_user_id order by t.id desc limit 1 for update;
  if v_entry.balance_after < p_tokens_to_deduct then
    return jsonb_build_object('success', false);
  end if;
  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role)
  values
    (p_user_id, (select max(t.id) + 1 + floor(random() * 1000) from public.token_transactions t where t.user_id = p_user_id),
     'deduction', p_action_type, -p_tokens_to_deduct, v_entry.balance_after - p_tokens_to_deduct,
     '{}', '{}', p_action_type, 'service');
  return jsonb_build_object('success', true);
end
$$;
