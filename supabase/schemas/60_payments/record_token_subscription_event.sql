/*
 * Takes one fact that a payment provider's event tells of a subscription: keeps it, computes anew what is known of
 * the subscription from all that was told of it (tokenbook.facts_of_subscription), and brings the user's plan to
 * that, in one commit. The same again changes nothing, and events in any order end in one state. A subscription gives
 * no plan and no tokens: its payments do. It takes a plan out of force, when it is paused or ends, and puts it back.
 * One that names a customer and their user gives them what waits for the customer's user (tokenbook.release_waiting).
 * A subscription that names no known user or customer belongs to the user of its payments.
 * A payment that failed is told to the user, once a period (an alert subscription_past_due).
 * p_facts: {kind: subscription, occurred_at (the provider's time), status: active | past_due | paused | cancelled,
 * user_id, customer_id, plan_type, price_id, cancel_at, current_period_end}; what is not known is left out.
 * Caller: service_role, after it has verified the signature.   Locks: the customer, then the facts of their waiting
 * payments, then the subscription's, then the account.
 * Errors: invalid_provider_event, busy.
 * Keeps: I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.record_token_subscription_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_subscription_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '700ms' -- as the locks of payments: together less than the statement may take
as $$
declare
  v_known_id uuid;
  v_occurred_at timestamptz;
  v_named uuid;
  v_user_id uuid;
  v_was_user_id uuid;
  v_facts tokenbook.provider_subscriptions;
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_customer_was uuid;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
  v_replayed boolean;
  v_digest bytea;
  v_shown record;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  perform tokenbook.check_body(); -- @server-sends-one-object
  p_facts := jsonb_strip_nulls(p_facts);
  v_occurred_at := tokenbook.check_subscription_event(p_provider, p_event_id, p_event_type, p_provider_subscription_id, p_facts);
  v_named := (p_facts ->> 'user_id')::uuid;
  if not tokenbook.is_known_user(v_named) then
    v_named := null;
  end if;
  v_known_id := coalesce(
    (select f.user_id from tokenbook.provider_subscriptions f
      where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id),
    v_named,
    (select c.user_id from tokenbook.provider_customers c
      where c.provider = p_provider and c.customer_id = p_facts ->> 'customer_id'));
  perform tokenbook.require_here(v_known_id, p_for_write => true);
  if tokenbook.settle_backlog(v_known_id) then -- before anything is written that would stay
    return tokenbook.answer_busy();
  end if;

  -- lock
  if p_facts ? 'customer_id' then
    select c.user_id, c.is_new, c.was_user_id into v_customer_user_id, v_is_new, v_customer_was
      from tokenbook.lock_customer(p_provider, p_facts ->> 'customer_id', v_named, v_occurred_at, p_event_id) c;
    if v_customer_user_id is not null then
      v_waiting := tokenbook.waiting_payments(p_provider, p_facts ->> 'customer_id');
    end if;
    if cardinality(v_waiting) > 0 then
      perform tokenbook.lock_provider_payment(p_provider, v_waiting[1], v_waiting[2:]);
    end if;
  end if;
  insert into tokenbook.provider_subscriptions (provider, provider_subscription_id)
  values (p_provider, p_provider_subscription_id)
  on conflict do nothing;
  perform 1
    from tokenbook.provider_subscriptions f
   where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id
     for no key update;
  v_was_user_id := tokenbook.user_of_provider_subscription(p_provider, p_provider_subscription_id);

  -- record
  v_digest := tokenbook.digest_of_fact(p_provider, p_provider_subscription_id, p_event_id, p_event_type, p_facts);
  insert into tokenbook.provider_subscription_events
    (provider, provider_subscription_id, event_id, digest, event_type, occurred_at, facts)
  values
    (p_provider, p_provider_subscription_id, p_event_id,
     v_digest, p_event_type,
     v_occurred_at, p_facts)
  on conflict do nothing;
  v_replayed := not found;
  v_facts := tokenbook.facts_of_subscription(p_provider, p_provider_subscription_id);
  v_at := clock_timestamp();
  update tokenbook.provider_subscriptions f
     set user_id = v_facts.user_id,
         customer_id = v_facts.customer_id,
         plan_type = v_facts.plan_type,
         price_id = v_facts.price_id,
         status = v_facts.status,
         cancel_at = v_facts.cancel_at,
         current_period_end = v_facts.current_period_end,
         occurred_at = v_facts.occurred_at,
         updated_at = v_at
   where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id;

  -- act
  if v_is_new or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, p_facts ->> 'customer_id', v_customer_user_id, v_waiting, 'service', null, v_customer_was);
  end if;
  v_user_id := tokenbook.user_of_provider_subscription(p_provider, p_provider_subscription_id);
  if v_was_user_id <> v_user_id then
    perform tokenbook.settle_subscription(v_was_user_id); -- @former-users-are-settled
  end if;
  if v_user_id is not null then
    perform tokenbook.settle_subscription(v_user_id);
    if v_facts.status = 'past_due' and not v_replayed then
      perform tokenbook.tell_of_late_payment(v_user_id, v_facts);
    end if;
  end if;

  select s.plan_type, s.status, s.in_force_until into v_shown
    from public.token_subscriptions s where s.user_id = v_user_id;
  return jsonb_build_object(
    'success', true,
    'status', case when v_user_id is null or v_facts.plan_type is null and not exists (
      select 1 from tokenbook.provider_payments f
       where f.provider = p_provider and f.subscription_id = p_provider_subscription_id and f.user_id is not null) then 'waiting' else 'recorded' end,
    'user_id', v_user_id,
    'provider_status', v_facts.status,
    'provider_plan_type', v_facts.plan_type,
    'plan_type', v_shown.plan_type,
    'subscription_status', v_shown.status,
    'in_force_until', v_shown.in_force_until,
    'payments_waiting', v_still_waiting,
    'replayed', v_replayed);
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.record_token_subscription_event is
  'Takes one fact of a verified event of a payment provider (stripe or paypal) about a subscription, and brings the user''s plan to all that was told of it: paused, or ending. The same again changes nothing, and any order ends in the same state. Gives no plan: payments do. For the server only. p_facts, with occurred_at: {kind: subscription, status: active, past_due, paused or cancelled, user_id, customer_id, plan_type, price_id, cancel_at, current_period_end}. Returns {success, status (recorded; waiting: its user is not known yet, or neither its plan nor a payment of it), user_id, provider_status, provider_plan_type, plan_type, subscription_status, in_force_until, payments_waiting (of the customer''s, that wait still to be given to their user: the same event again gives the next 20), replayed}. Errors: invalid_provider_event, busy.';
