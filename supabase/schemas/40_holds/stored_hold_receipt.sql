/*
 * The answer about a hold from what is stored, for a repeated call.
 * Caller: internal.
 */
create function tokenbook.stored_hold_receipt(p_hold public.token_holds, p_asked text, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_capture public.token_transactions;
  v_overage public.token_transactions;
  v_cost numeric;
  v_remaining bigint;
begin
  select t.* into v_capture from public.token_transactions t
   where t.user_id = p_hold.user_id and t.id = p_hold.capture_id;
  select t.* into v_overage from public.token_transactions t
   where t.user_id = p_hold.user_id and t.id = p_hold.overage_id;
  select u.cost_estimate into v_cost from public.token_usage u
   where u.user_id = p_hold.user_id and u.id = p_hold.usage_id
  union all
  select r.cost_estimate from tokenbook.archived_usage_receipts r
   where r.user_id = p_hold.user_id and r.usage_id = p_hold.usage_id;
  select a.tokens_remaining into v_remaining from public.token_accounts a where a.user_id = p_hold.user_id;
  return tokenbook.hold_receipt(
    p_asked, p_hold.id, p_hold.status, p_hold.tokens, p_hold.tokens_captured,
    -coalesce(v_capture.tokens, 0) - coalesce(v_overage.tokens, 0), p_hold.tokens_uncovered,
    tokenbook.describe_allocations(p_hold.user_id, v_capture.grant_ids, v_capture.grant_tokens)
      || tokenbook.describe_allocations(p_hold.user_id, v_overage.grant_ids, v_overage.grant_tokens),
    p_hold.capture_id, p_hold.overage_id, p_hold.usage_id, v_cost, p_hold.settled_at, v_remaining, p_replayed)
    || case when v_overage.debt_change > 0 then jsonb_build_object('tokens_overdrawn', v_overage.debt_change) else '{}' end
    || tokenbook.budget_receipt(
         p_hold.user_id, coalesce(p_hold.parent_id, case when p_hold.tokens_passed > 0 then p_hold.id end));
end
$$;
comment on function tokenbook.stored_hold_receipt is
  'What came of a hold, from what is stored, for a repeated call.';
