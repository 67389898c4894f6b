/*
 * A signed correction by an admin: an admin grant when positive, a deduction oldest first when
 * negative. Also writes the token_usage row (admin_grant or admin_deduct) that the audit trail has
 * of every correction.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id,
 * transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found,
 * balance_limit_exceeded, too_many_grants, busy.   Keeps: I1 to I5, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_done record;
  v_transaction public.token_transactions;
  v_deducted_from jsonb := '[]';
  v_shortfall bigint := 0;
  v_remaining bigint;
begin
  v_entry.actor_role := 'service';
  if not tokenbook.is_plain_server_call(p_user_id) then
    select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  end if;
  if p_delta is null or p_delta = 0 or p_delta not between -1000000000000 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount',
      '{"field": "p_delta", "rule": "a whole number from -1000000000000 to 1000000000000, not 0"}');
  end if;
  perform tokenbook.check_request(p_idempotency_key, p_reason, p_metadata);

  v_entry.user_id := p_user_id;
  v_entry.tokens := p_delta;
  v_entry.action_type := case when p_delta > 0 then 'admin_grant' else 'admin_deduct' end;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  if p_idempotency_key is not null then
    v_entry.request := jsonb_build_object('operation', 'adjust', 'delta', p_delta, 'reason', p_reason);
  end if;
  v_entry.usage_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');

  if p_delta > 0 then
    v_grant.grant_type := 'admin';
    v_grant.tokens_granted := p_delta;
    v_grant.priority := 50;
    v_grant.metadata := v_entry.metadata;
    v_done := tokenbook.issue_grant(v_grant, v_entry);
    v_transaction := v_done.transaction;
    v_remaining := v_done.tokens_remaining;
  else
    v_done := tokenbook.spend_tokens(
      p_user_id, -p_delta, v_entry.action_type, v_entry.reason, v_entry.actor_role, v_entry.actor_id,
      v_entry.idempotency_key, v_entry.request, v_entry.metadata, p_usage_id => v_entry.usage_id);
    v_transaction.id := v_done.id;
    v_transaction.usage_id := case when v_done.id is not null then v_done.usage_id end;
    v_transaction.created_at := v_done.created_at;
    v_deducted_from := v_done.deducted_from;
    v_shortfall := v_done.shortfall;
    v_remaining := v_done.tokens_remaining;
  end if;
  if v_done.is_behind then
    return tokenbook.answer_busy();
  end if;

  if v_transaction.id is not null and not v_done.replayed then
    v_entry.id := v_transaction.id;
    v_entry.created_at := v_transaction.created_at;
    perform tokenbook.write_admin_usage(v_entry, v_entry.action_type);
  end if;

  return jsonb_build_object(
    'success', v_shortfall = 0,
    'delta', p_delta,
    'tokens_remaining_to_deduct', v_shortfall,
    'grant_id', case when p_delta > 0 then v_transaction.grant_ids[1] end,
    'deducted_from', v_deducted_from,
    'usage_id', v_transaction.usage_id,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_remaining,
    'replayed', v_done.replayed);
end
$$;
comment on function tokenbook.adjust_tokens is
  'Corrects a balance: an admin grant (365 days) when p_delta is positive, a deduction oldest first when it is negative. For an admin or the server. p_delta -10^12 to 10^12, not 0; p_reason 1 to 500 characters, and NULL in the ledger where it is left out; p_idempotency_key makes a retry safe for ever. Also writes the token_usage row admin_grant or admin_deduct. Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, too_many_grants, forbidden, busy.';
