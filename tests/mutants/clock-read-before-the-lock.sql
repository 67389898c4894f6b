-- Takes the time when the transaction began, as now() does: whoever waited for the lock spends a
-- grant that ran out while he waited.
create or replace function private.spend(
  p_user_id uuid, p_tokens bigint, p_action_type text, p_reason text, p_actor_role text, p_actor_id uuid,
  p_idempotency_key text, p_request jsonb, p_metadata jsonb, p_usage_id uuid,
  out transaction public.token_transactions, out replayed boolean, out shortfall bigint, out tokens_remaining bigint
)
returns record language plpgsql volatile security invoker set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_taken record;
begin
  replayed := false;
  shortfall := 0;
  v_account := private.lock_account(p_user_id);
  tokens_remaining := v_account.tokens_remaining
    - case when v_account.next_due_at <= now() then private.tokens_due(p_user_id, now()) else 0 end;
  if tokens_remaining < p_tokens then
    shortfall := p_tokens - tokens_remaining;
    return;
  end if;
  v_taken := private.take_from_grants(p_user_id, p_tokens);
  transaction := private.book(p_user_id, 'deduction', p_action_type, -p_tokens, v_taken.grant_ids,
    v_taken.grant_tokens, p_reason, p_actor_role, p_actor_id, null, null, p_metadata, p_usage_id, now());
  tokens_remaining := transaction.balance_after;
end
$$;
