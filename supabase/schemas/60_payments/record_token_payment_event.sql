/*
 * Takes one fact that a payment provider's event tells of a payment: keeps it, computes anew what is known of the
 * payment from all that was told of it (tokenbook.facts_of_payment), and brings the books to that, in one commit.
 * The same event with the same content changes nothing; with other content it is another, and both count. So amounts,
 * refunds, credits and disputes end in one state, in any order and any number of times. So do the payer and what was
 * bought, unless events contradict each other on it: then what was booked first stays, and the project is told.
 * A payment that was paid and whose user is not known, or what was bought, is parked, never dropped. What waits for a
 * customer's user is given to them by the event that names both (tokenbook.release_waiting); payments a portion at a
 * time, the rest by the customer's next events.
 * p_facts, always with occurred_at (the provider's time) and, where known, customer_id and currency:
 * {kind: paid, user_id, plan_type | pack_type, quantity, price_id, amount_cents, from_balance_cents (of it, what the
 * customer's balance paid; below 0: what it put there instead), period_start, subscription_id,
 * may_be_fee (a setup fee, as far as can be told), cycles_completed (of the subscription, when this was its newest
 * payment), parts, parked_reason, parked_details}; with neither period_start nor subscription_id it was paid once, and no
 * subscription's state counts for it,
 * {kind: refund, refund_id, status: pending | succeeded | failed | canceled, amount_cents},
 * {kind: refunded, refunded_cents (in all so far), amount_cents (of the payment)},
 * {kind: credit, credit_id, amount_cents (credited to the customer for what they had paid here)},
 * {kind: dispute, dispute_id, status: inquiry | reversed | open | won | lost, amount_cents (left out: all of it)}.
 * Caller: service_role, after it has verified the signature.   Locks: the customer, then the payment's facts, then
 * the account.
 * Errors: invalid_provider_event, balance_limit_exceeded, too_many_plans, busy.
 * Keeps: I1 to I5, I9, I10, I12.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.record_token_payment_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known_id uuid;
  v_facts tokenbook.provider_payments;
  v_occurred_at timestamptz;
  v_user_id uuid;
  v_digest bytea;
  v_parts text[];
  v_ids text[];
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_customer_was uuid;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
  v_replayed boolean;
  v_answer jsonb;
begin
  -- validate
  perform tokenbook.check_body(); -- @server-sends-one-object
  p_facts := jsonb_strip_nulls(p_facts);
  v_occurred_at := tokenbook.check_payment_event(p_provider, p_event_id, p_event_type, p_provider_payment_id, p_facts);
  v_parts := array(select jsonb_array_elements_text(p_facts -> 'parts'));
  v_user_id := (p_facts ->> 'user_id')::uuid;
  if not tokenbook.is_known_user(v_user_id) then
    v_user_id := null;
  end if;
  v_known_id := coalesce(
    (select f.user_id from tokenbook.provider_payments f
      where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id),
    v_user_id,
    (select c.user_id from tokenbook.provider_customers c
      where c.provider = p_provider and c.customer_id = p_facts ->> 'customer_id'));
  perform tokenbook.require_here(v_known_id, p_for_write => true);
  if tokenbook.settle_backlog(v_known_id) then -- before anything is written that would stay
    return tokenbook.answer_busy();
  end if;

  -- lock
  if p_facts ? 'customer_id' then
    select c.user_id, c.is_new, c.was_user_id into v_customer_user_id, v_is_new, v_customer_was
      from tokenbook.lock_customer(p_provider, p_facts ->> 'customer_id', v_user_id, v_occurred_at, p_event_id) c;
    if v_customer_user_id is not null then -- @rest-of-a-customer
      v_waiting := array_remove(tokenbook.waiting_payments(p_provider, p_facts ->> 'customer_id'), p_provider_payment_id);
    end if;
  end if;
  v_ids := tokenbook.lock_provider_payment(p_provider, p_provider_payment_id, v_parts || v_waiting, p_create => true);

  v_ids := tokenbook.joined_payments(p_provider, p_provider_payment_id || v_parts);

  -- record
  v_digest := tokenbook.digest_of_fact(p_provider, p_provider_payment_id, p_event_id, p_event_type, p_facts);
  insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
  values
    (p_provider, p_provider_payment_id, p_event_id, v_digest, p_event_type, v_occurred_at, p_facts)
  on conflict do nothing;
  v_replayed := not found;

  -- act
  v_facts := tokenbook.keep_payment_facts(p_provider, v_ids);
  v_answer := tokenbook.settle_and_describe_payment(v_facts, 'service', null);
  if v_is_new or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, p_facts ->> 'customer_id', v_customer_user_id,
      array(select unnest(v_waiting) except select unnest(v_ids)), 'service', null, v_customer_was);
  end if;
  return v_answer || jsonb_build_object('payments_waiting', v_still_waiting, 'replayed', v_replayed);
end
$$;
comment on function tokenbook.record_token_payment_event is
  'Takes one fact of a verified event of a payment provider (stripe or paypal) and brings the books to all that was told of the payment; the same again changes nothing. Amounts, refunds, credits and disputes count the same in any order; of two users, plans, packs or quantities the one that was booked first stays, the other is in disagrees and an alert payment_contradicted. For the server only. p_facts, with occurred_at, and customer_id and currency where known: {kind: paid, user_id, plan_type or pack_type, quantity, price_id, amount_cents, from_balance_cents (of it, what the customer''s balance paid; below 0: what it put there instead), period_start, subscription_id, may_be_fee (a setup fee, as far as can be told), cycles_completed (of the subscription, when this was its newest payment), parts, parked_reason, parked_details {expected_cents, expected_currency, quantity, at_most, field, rule, error}} (with neither period_start nor subscription_id it was paid once: no subscription''s state counts for it), {kind: refund, refund_id, status: pending, succeeded, failed or canceled, amount_cents}, {kind: refunded, refunded_cents (in all so far), amount_cents (of the payment)}, {kind: credit, credit_id, amount_cents (credited to the customer for what they had paid here)}, {kind: dispute, dispute_id, status: inquiry, reversed, open, won or lost, amount_cents (left out: all of it)}. Returns {success, status (parked, waiting, approved, refunded), parked_reason, payment_id, user_id, plan_type, plan_in_force, pack_type, quantity, amount_cents, refunded_cents, disputed_cents, disagrees, tokens_granted, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, payments_waiting (of the customer''s, that wait still to be given to their user: the same event again gives the next 20), replayed}. Errors: invalid_provider_event, balance_limit_exceeded, too_many_plans, busy.';
