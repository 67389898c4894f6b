-- Looks for the key first and takes the lock afterwards.
create or replace function private.deduct_tokens_with_fifo(
  p_user_id uuid, p_tokens_to_deduct bigint, p_action_type text, p_idempotency_key text, p_metadata jsonb
)
returns jsonb language plpgsql volatile security definer set search_path = ''
as $$
declare
  v_entry public.token_transactions;
begin
  if exists (
    select from public.token_transactions t
     where t.user_id = p_user_id and t.idempotency_key = p_idempotency_key)
  then
    return jsonb_build_object('success', true, 'replayed', true);
  end if;
  perform pg_sleep(0.005); -- what was read is a moment old, as it is under load
  perform private.lock_account(p_user_id);
  select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from private.take_from_grants(p_user_id, p_tokens_to_deduct) as taken;
  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'deduction';
  v_entry.action_type := p_action_type;
  v_entry.tokens := -p_tokens_to_deduct;
  v_entry.reason := p_action_type;
  v_entry.actor_role := 'service';
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := '{}';
  v_entry.metadata := '{}';
  v_entry.created_at := clock_timestamp();
  perform private.book(v_entry);
  return jsonb_build_object('success', true, 'replayed', false);
end
$$;
