-- Looks for the key first and takes the lock afterwards.
create or replace function private.deduct_tokens_with_fifo(
  p_user_id uuid, p_tokens_to_deduct bigint, p_action_type text, p_idempotency_key text, p_metadata jsonb
)
returns jsonb language plpgsql volatile security definer set search_path = ''
as $$
declare
  v_taken record;
begin
  if exists (
    select from public.token_transactions t
     where t.user_id = p_user_id and t.idempotency_key = p_idempotency_key)
  then
    return jsonb_build_object('success', true, 'replayed', true);
  end if;
  perform private.lock_account(p_user_id);
  v_taken := private.take_from_grants(p_user_id, p_tokens_to_deduct);
  perform private.book(p_user_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_taken.grant_ids,
    v_taken.grant_tokens, p_action_type, 'service', null, p_idempotency_key, '{}', '{}', null, clock_timestamp());
  return jsonb_build_object('success', true, 'replayed', false);
end
$$;
