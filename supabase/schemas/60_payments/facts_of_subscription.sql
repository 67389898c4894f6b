/*
 * What is known of a provider's subscription, from everything that was told of it: nothing is added to what was
 * known before, so the order in which events came can decide nothing. Its work grows with the events of this
 * subscription, and with nothing else (I11).
 * - Status, with the end and the period that the same event names: what was told last. Of two facts of one moment,
 *   what ends a subscription is later than what pauses it, that later than a failed payment, that than all is well.
 * - Plan and price: the last that were named; a subscription may change its plan. Of plans, those we know.
 * - User and customer: the first that were named.
 * Caller: internal, holding the subscription's lock.
 */
create function tokenbook.facts_of_subscription(p_provider text, p_provider_subscription_id text)
returns tokenbook.provider_subscriptions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_subscriptions;
begin
  with told as materialized (
    select e.facts as f, e.occurred_at,
           row_number() over (
             order by e.occurred_at, -- @latest-of-a-subscription
                      array_position(array['active', 'past_due', 'paused', 'cancelled'], e.facts ->> 'status'),
                      e.event_id, e.digest) as nth
      from tokenbook.provider_subscription_events e
     where e.provider = p_provider and e.provider_subscription_id = p_provider_subscription_id
  )
  select (array_agg(t.f ->> 'status' order by t.nth desc))[1],
         (array_agg((t.f ->> 'cancel_at')::timestamptz order by t.nth desc))[1],
         (array_agg((t.f ->> 'current_period_end')::timestamptz order by t.nth desc))[1],
         (array_agg(t.occurred_at order by t.nth desc))[1],
         (array_agg(t.f ->> 'plan_type' order by t.nth desc) filter (
           where exists (select 1 from public.token_plans p where p.plan_type = t.f ->> 'plan_type')))[1],
         (array_agg(t.f ->> 'price_id' order by t.nth desc) filter (where t.f ? 'price_id'))[1],
         (array_agg(t.f ->> 'customer_id' order by t.nth) filter (where t.f ? 'customer_id'))[1],
         (array_agg((t.f ->> 'user_id')::uuid order by t.nth) filter (
           where tokenbook.is_known_user((t.f ->> 'user_id')::uuid)))[1]
    into v_facts.status, v_facts.cancel_at, v_facts.current_period_end, v_facts.occurred_at, v_facts.plan_type,
         v_facts.price_id, v_facts.customer_id, v_facts.user_id
    from told t;
  v_facts.provider := p_provider;
  v_facts.provider_subscription_id := p_provider_subscription_id;
  return v_facts;
end
$$;
comment on function tokenbook.facts_of_subscription is
  'What is known of a provider''s subscription, computed from all that was told of it.';
