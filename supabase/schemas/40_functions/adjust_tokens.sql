/*
 * A signed correction by an admin: an admin grant when positive, a deduction oldest first when
 * negative. Also writes the token_usage row (admin_grant or admin_deduct) that the audit trail has
 * of every correction.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id,
 * transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found,
 * balance_limit_exceeded, busy.   Keeps: I1 to I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_action_type text := case when p_delta > 0 then 'admin_grant' else 'admin_deduct' end;
  v_reason text := coalesce(p_reason, 'admin adjustment');
  v_metadata jsonb := coalesce(p_metadata, '{}');
  v_request jsonb := jsonb_build_object('operation', 'adjust', 'delta', p_delta, 'reason', p_reason);
  v_usage_id uuid := gen_random_uuid();
  v_transaction public.token_transactions;
  v_replayed boolean;
  v_shortfall bigint := 0;
  v_remaining bigint;
  v_spent record;
  v_issued record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => false);
  if p_delta is null or p_delta = 0 or p_delta not between -1000000000000 and 1000000000000 then
    perform private.refuse('invalid_amount',
      '{"field": "p_delta", "rule": "a whole number from -1000000000000 to 1000000000000, not 0"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, p_metadata);

  if p_delta > 0 then
    v_issued := private.issue_grant(
      p_user_id, p_delta, 'admin', null, 50, null, v_action_type, v_reason,
      v_actor.actor_role, v_actor.actor_id, p_idempotency_key, v_request, v_metadata, v_usage_id);
    v_transaction := v_issued.transaction;
    v_replayed := v_issued.replayed;
    v_remaining := v_transaction.balance_after;
  else
    v_spent := private.spend(
      p_user_id, -p_delta, v_action_type, v_reason,
      v_actor.actor_role, v_actor.actor_id, p_idempotency_key, v_request, v_metadata, v_usage_id);
    v_transaction := v_spent.transaction;
    v_replayed := v_spent.replayed;
    v_shortfall := v_spent.shortfall;
    v_remaining := v_spent.tokens_remaining;
  end if;

  if v_transaction.id is not null and not v_replayed then
    insert into public.token_usage (user_id, id, action_type, tokens_used, cost_estimate, metadata, created_at)
    values (p_user_id, v_usage_id, v_action_type, abs(p_delta), 0,
            v_metadata || jsonb_build_object('reason', v_reason, 'transaction_id', v_transaction.id),
            v_transaction.created_at);
  end if;

  return jsonb_build_object(
    'success', v_shortfall = 0,
    'delta', p_delta,
    'tokens_remaining_to_deduct', v_shortfall,
    'grant_id', case when p_delta > 0 then v_transaction.grant_ids[1] end,
    'deducted_from', case when p_delta > 0 then '[]' else private.allocations(v_transaction) end,
    'usage_id', v_transaction.usage_id,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_remaining,
    'replayed', v_replayed);
end
$$;
comment on function private.adjust_tokens(uuid, bigint, text, text, jsonb) is 'See public.adjust_tokens.';
revoke all on function private.adjust_tokens(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.adjust_tokens(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.adjust_tokens(p_user_id, p_delta, p_reason, p_idempotency_key, p_metadata);
end
$$;
comment on function public.adjust_tokens(uuid, bigint, text, text, jsonb) is
  'Corrects a balance: an admin grant (365 days) when p_delta is positive, a deduction oldest first when it is negative. For an admin or the server. p_delta -10^12 to 10^12, not 0; p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Also writes the token_usage row admin_grant or admin_deduct. Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.adjust_tokens(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.adjust_tokens(uuid, bigint, text, text, jsonb) to authenticated, service_role;
