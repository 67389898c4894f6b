/*
 * Brings the books to what is known of a provider's payment. Looks at the facts only, not at the event that came
 * last: so any order of events, and any number of times, ends in the same state. The caller has locked the facts'
 * rows; then the account is locked, where a referral counts together with the account of the user's referrer, always in this order.
 * Paid, with user and plan or pack known: what was bought, once: what a payment gave never changes after it was
 * booked. Amount, currency, refunds and disputes follow the facts: tokenbook.settle_refunds.
 * What had been booked under the id of a part, before it was known to be one, is taken back; from another user too:
 * their money bought this. Their account is not waited for, because waiting could deadlock: the call is refused with busy.
 * p_actor_role and p_actor_id: the server that was told by the provider, or the admin who said whose it is.
 * Returns the payment; NULL while user, plan and pack, or the payment itself is missing.
 * Keeps: I1 to I5, I9, I12.
 */
create function tokenbook.settle_payment(
  p_facts tokenbook.provider_payments,
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
  v_account public.token_accounts;
  v_payment public.token_payments;
  v_part public.token_payments;
  v_offer record;
  v_from_plan text;
  v_entry public.token_transactions;
  v_given record;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  if p_facts.parked_reason is not null or not p_facts.is_paid then
    return null;
  end if;

  perform tokenbook.lock_with_referrer(p_facts.user_id, (
    select p.id from public.token_payments p
     where p.user_id = p_facts.user_id and p.provider = p_facts.provider and p.provider_payment_id = p_facts.provider_payment_id
     limit 1));
  v_account := tokenbook.lock_account(p_facts.user_id, p_create => true);
  if v_account.next_due_at <= clock_timestamp() then
    perform tokenbook.record_expiries(array[p_facts.user_id], clock_timestamp());
  end if;
  perform tokenbook.settle_subscription(p_facts.user_id);
  select p.* into v_payment
    from public.token_payments p
   where p.user_id = p_facts.user_id and p.provider = p_facts.provider
     and p.provider_payment_id = p_facts.provider_payment_id; -- @payment-known-by-id
  if v_payment.id is null then
    v_offer := tokenbook.find_offer(p_facts.plan_type, p_facts.pack_type, p_facts.quantity);
    if p_facts.plan_type is not null then
      v_from_plan := (select s.plan_type from public.token_subscriptions s where s.user_id = p_facts.user_id);
    end if;
    v_at := clock_timestamp();
    insert into public.token_payments as p
      (user_id, status, provider, provider_payment_id, from_plan, to_plan, pack_type, quantity, amount_cents, currency,
       terms, reason, decided_at, decided_by)
    values
      (p_facts.user_id, 'approved', p_facts.provider, p_facts.provider_payment_id,
       v_from_plan, p_facts.plan_type, p_facts.pack_type, p_facts.quantity, p_facts.amount_cents,
       coalesce(p_facts.currency, v_offer.currency), v_offer.terms,
       'paid at ' || p_facts.provider, v_at, p_actor_id)
    returning p.* into v_payment;
    v_entry.user_id := p_facts.user_id;
    v_entry.reason := 'paid at ' || p_facts.provider;
    v_entry.actor_role := p_actor_role; -- @assigned-by-whom
    v_entry.actor_id := p_actor_id;
    v_entry.metadata := '{}';
    v_given := tokenbook.give_what_was_bought(v_payment, p_facts.period_start, v_entry);
    v_payment := v_given.payment;
    perform tokenbook.tell_of_payment('token_payment.approved', v_payment);
  end if;

  -- what was booked under the id of a part, before it was known to be one: undone, with the plan that it began
  for v_part in
    select p.*
      from tokenbook.provider_payments f
      join public.token_payments p
        on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
     where f.provider = p_facts.provider and f.part_of = p_facts.provider_payment_id -- @parts-of-anybody
     order by p.user_id, p.provider_payment_id
  loop
    if v_part.user_id <> p_facts.user_id then
      continue when v_part.refunded_cents >= greatest(v_part.amount_cents, 1);
      perform 1 from public.token_accounts a where a.user_id = v_part.user_id for no key update skip locked; -- @parts-wait-for-nobody
      if not found then
        perform tokenbook.refuse('busy', '{}');
      end if;
      perform tokenbook.record_expiries(array[v_part.user_id], clock_timestamp());
      perform tokenbook.settle_subscription(v_part.user_id);
    end if;
    perform tokenbook.settle_refunds(
      v_part, greatest(v_part.amount_cents, 1), 0, 'as part of another payment at ' || p_facts.provider,
      p_actor_role, p_actor_id);
  end loop;

  v_payment.amount_cents := p_facts.amount_cents; -- @amount-follows-facts
  v_payment.currency := coalesce(p_facts.currency, v_payment.currency);
  return tokenbook.settle_refunds(
    v_payment, p_facts.refunded_cents, p_facts.disputed_cents, 'at ' || p_facts.provider, p_actor_role, p_actor_id);
end
$$;
comment on function tokenbook.settle_payment is
  'Brings subscription, balance and debt to what is known of a provider''s payment; the same for every order of its events.';
