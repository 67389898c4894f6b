/*
 * Brings the books to what is known of a provider's payment. Looks at the merged facts only, not
 * at the event that came last: so any order of events, and any number of times, ends in the same
 * state. The caller has locked the facts row; then the account is locked, always in this order.
 * Paid, with user and plan known: the plan and its tokens, once. Refunded in part: that share of
 * the tokens taken back; in full, or disputed: all of them, and the plan goes back to the one
 * before. Dispute won: given back.
 * Returns the payment; NULL while user, plan or the payment itself is missing.
 * Keeps: I1 to I5, I9.
 */
create or replace function private.settle_payment(p_facts private.provider_payments)
returns public.payments
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_payment public.payments;
  v_plan public.token_plans;
  v_entry public.token_transactions;
  v_is_disputed boolean := p_facts.was_disputed and not p_facts.dispute_was_won;
  v_to_claw bigint;
begin
  if p_facts.user_id is null or p_facts.plan_type is null or not p_facts.is_paid then
    return null;
  end if;

  perform private.lock_account(p_facts.user_id, p_create => true);
  select p.* into v_payment
    from public.payments p
   where p.user_id = p_facts.user_id and p.provider = p_facts.provider
     and p.provider_payment_id = p_facts.provider_payment_id;
  if v_payment.id is null then
    select p.* into v_plan from public.token_plans p where p.plan_type = p_facts.plan_type;
    insert into public.payments as p
      (user_id, status, provider, provider_payment_id, from_plan, to_plan, amount_cents, currency,
       tokens, reason, decided_at)
    values
      (p_facts.user_id, 'approved', p_facts.provider, p_facts.provider_payment_id,
       (select s.plan_type from public.user_subscriptions s where s.user_id = p_facts.user_id),
       v_plan.plan_type, coalesce(p_facts.amount_cents, v_plan.price_cents),
       coalesce(p_facts.currency, v_plan.currency), v_plan.tokens,
       'paid at ' || p_facts.provider, clock_timestamp())
    returning p.* into v_payment;
    v_entry.user_id := p_facts.user_id;
    v_entry.reason := 'paid at ' || p_facts.provider;
    v_entry.actor_role := 'service';
    v_entry.payment_id := v_payment.id;
    v_entry.metadata := '{}';
    perform private.start_period(
      v_plan, p_facts.period_start, p_facts.provider, p_facts.provider_payment_id, v_entry);
    -- what it gave, for what a refund takes back
    update public.payments p
       set tokens = b.tokens_granted
      from public.token_balances b
     where p.user_id = v_payment.user_id and p.id = v_payment.id
       and b.user_id = p.user_id and b.payment_id = p.id
    returning p.* into v_payment;
  end if;

  v_to_claw := case
    when v_is_disputed or p_facts.refunded_cents >= v_payment.amount_cents and p_facts.refunded_cents > 0
      then v_payment.tokens
    when p_facts.refunded_cents > 0
      then floor(v_payment.tokens::numeric * p_facts.refunded_cents / v_payment.amount_cents)::bigint
    else 0
  end;
  if v_to_claw > v_payment.tokens_clawed_back then
    perform private.claw_back(v_payment, v_to_claw - v_payment.tokens_clawed_back,
      case when v_is_disputed then 'disputed' else 'refunded' end || ' at ' || p_facts.provider);
  elsif v_to_claw < v_payment.tokens_clawed_back then
    perform private.restore_clawback(v_payment, v_payment.tokens_clawed_back - v_to_claw, 'dispute won');
  end if;

  update public.payments p
     set status = case when p_facts.refunded_cents >= p.amount_cents and p_facts.refunded_cents > 0
                       then 'refunded' else 'approved' end,
         refunded_cents = p_facts.refunded_cents,
         is_disputed = v_is_disputed,
         tokens_clawed_back = v_to_claw
   where p.user_id = v_payment.user_id and p.id = v_payment.id
  returning p.* into v_payment;

  -- the plan that it bought is in force unless all of it was taken back
  update public.user_subscriptions s
     set plan_type = plan.plan_type, articles_limit = plan.articles_limit, features = plan.features,
         updated_at = clock_timestamp()
    from public.token_plans plan
   where s.user_id = v_payment.user_id
     and s.payment_id = v_payment.id::text
     and plan.plan_type = case when v_to_claw = v_payment.tokens
                               then coalesce(v_payment.from_plan, v_payment.to_plan) else v_payment.to_plan end
     and s.plan_type <> plan.plan_type;
  return v_payment;
end
$$;
comment on function private.settle_payment(private.provider_payments) is
  'Brings subscription, balance and debt to what the merged facts of a provider''s payment say; the same for every order of its events.';
revoke all on function private.settle_payment(private.provider_payments) from public, anon, authenticated, service_role;
