/*
 * The answer about a hold from what is stored, for whoever asks again; whoever settles it answers the same
 * (tokenbook.settle_hold). p_asked is what was asked for, captured or released: success is that it is so. Of what has
 * run out the tokens are back, as was asked of what is released.
 * Caller: internal.
 */
create function tokenbook.hold_receipt(p_hold public.token_holds, p_asked text, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_capture public.token_transactions;
  v_overage public.token_transactions;
begin
  if p_hold.capture_id is not null then
    select t.* into v_capture from public.token_transactions t
     where t.user_id = p_hold.user_id and t.id = p_hold.capture_id;
  end if;
  if p_hold.overage_id is not null then
    select t.* into v_overage from public.token_transactions t
     where t.user_id = p_hold.user_id and t.id = p_hold.overage_id;
  end if;
  return jsonb_build_object(
    'success', p_hold.status = p_asked or p_hold.status = 'expired' and p_asked = 'released',
    'hold_id', p_hold.id,
    'status', p_hold.status,
    'tokens_reserved', p_hold.tokens,
    'tokens_captured', p_hold.tokens_captured,
    'tokens_released', p_hold.tokens - p_hold.tokens_captured,
    'tokens_deducted', -coalesce(v_capture.tokens, 0) - coalesce(v_overage.tokens, 0),
    'tokens_remaining_to_deduct', p_hold.tokens_uncovered,
    'deducted_from', tokenbook.describe_allocations(p_hold.user_id, v_capture.grant_ids, v_capture.grant_tokens)
      || tokenbook.describe_allocations(p_hold.user_id, v_overage.grant_ids, v_overage.grant_tokens),
    'transaction_id', p_hold.capture_id,
    'overage_transaction_id', p_hold.overage_id,
    'usage_id', p_hold.usage_id,
    'cost_estimate', (
      select u.cost_estimate from public.token_usage u
       where u.user_id = p_hold.user_id and u.id = p_hold.usage_id),
    'settled_at', p_hold.settled_at,
    'tokens_remaining', (
      select a.tokens_remaining from public.token_accounts a where a.user_id = p_hold.user_id),
    'replayed', p_replayed);
end
$$;
comment on function tokenbook.hold_receipt is
  'What came of a hold: status, tokens reserved, captured, released and deducted, the grants that paid, the usage.';
