/*
 * Brings tokens and plan to what has been refunded of a payment in all. In part: that share of its
 * tokens taken back; in full, or disputed: all of them, and the plan goes back to the one before.
 * Less than before (a dispute was won): given back. The same state again changes nothing.
 * Caller: internal, holding the account's lock.   Returns the payment.   Keeps: I1 to I5, I9, I10.
 */
create function tokenbook.settle_refunds(
  p_payment public.token_payments,
  p_refunded_cents bigint,
  p_is_disputed boolean,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_refunded boolean := p_refunded_cents > 0 and p_refunded_cents >= p_payment.amount_cents;
  v_to_claw bigint;
  v_entry public.token_transactions;
begin
  v_to_claw := case
    when p_is_disputed or v_is_refunded then p_payment.tokens
    when p_refunded_cents > 0 then floor(p_payment.tokens::numeric * p_refunded_cents / p_payment.amount_cents)::bigint
    else 0
  end;
  v_entry.user_id := p_payment.user_id;
  v_entry.payment_id := p_payment.id;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  v_entry.terms := jsonb_build_object(
    'refund', jsonb_build_object('refunded_cents', p_refunded_cents, 'is_disputed', p_is_disputed));
  if v_to_claw > p_payment.tokens_clawed_back then
    v_entry.reason := case when p_is_disputed then 'disputed ' else 'refunded ' end || p_reason;
    perform tokenbook.claw_back(
      v_entry,
      (select b.id from public.token_balances b
        where b.user_id = p_payment.user_id and b.payment_id = p_payment.id),
      v_to_claw - p_payment.tokens_clawed_back); -- @clawed-back-only-once
  elsif v_to_claw < p_payment.tokens_clawed_back then
    v_entry.reason := 'dispute won ' || p_reason;
    perform tokenbook.restore_clawback(v_entry, p_payment.tokens_clawed_back - v_to_claw);
  end if;

  update public.token_payments p
     set status = case when v_is_refunded then 'refunded' else 'approved' end,
         refunded_cents = p_refunded_cents,
         is_disputed = p_is_disputed,
         tokens_clawed_back = v_to_claw
   where p.user_id = p_payment.user_id and p.id = p_payment.id
  returning p.* into p_payment;

  -- the plan that it bought is in force unless all of it was taken back
  update public.token_subscriptions s
     set plan_type = plan.plan_type,
         articles_limit = plan.articles_limit,
         features = plan.features,
         billing_cycle = plan.billing_cycle,
         auto_renew = plan.billing_cycle <> 'none',
         expires_at = tokenbook.period_end(plan.billing_cycle, s.period_start),
         updated_at = clock_timestamp()
    from public.token_plans plan
   where s.user_id = p_payment.user_id
     and s.payment_id = p_payment.id::text
     and plan.plan_type = case when v_to_claw = p_payment.tokens
                               then coalesce(p_payment.from_plan, p_payment.to_plan) else p_payment.to_plan end
     and s.plan_type <> plan.plan_type;
  if found then
    perform tokenbook.refresh_alert_thresholds(p_payment.user_id);
  end if;
  return p_payment;
end
$$;
comment on function tokenbook.settle_refunds is
  'Brings tokens, debt, plan limit and plan to what has been refunded of a payment in all, or to its dispute.';
