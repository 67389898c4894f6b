/*
 * Tells a user that a renewal's payment failed: once for the period that is paid and runs out, however often the provider
 * tries, and whichever of its events says so first. Where no plan of theirs came from there (it has ended, or was never
 * paid for), once until the provider says that all is well again.
 * p_facts is what is known of the provider's subscription.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.tell_of_late_payment(p_user_id uuid, p_facts tokenbook.provider_subscriptions)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions;
  v_late tokenbook.subscriptions;
  v_attempts bigint;
  v_first_at timestamptz;
begin
  select s.* into v_is from tokenbook.subscriptions s where s.user_id = p_user_id;
  select p.* into v_late
    from tokenbook.plans_of(v_is) p
   where p.payment_method = p_facts.provider and p.expires_at is not null
     and (p.plan_type <> p_facts.plan_type) is not true
   limit 1;
  if v_late.user_id is null then
    select count(*), min(e.occurred_at) into v_attempts, v_first_at
      from tokenbook.provider_subscription_events e
     where e.provider = p_facts.provider and e.provider_subscription_id = p_facts.provider_subscription_id
       and e.facts ->> 'status' = 'past_due'
       and e.occurred_at > coalesce((
         select max(well.occurred_at) from tokenbook.provider_subscription_events well
          where well.provider = e.provider and well.provider_subscription_id = e.provider_subscription_id
            and well.facts ->> 'status' <> 'past_due' and well.occurred_at < p_facts.occurred_at), '-infinity');
    if v_attempts > 1 then -- @attempts-are-one-failure
      return;
    end if;
  end if;
  perform tokenbook.tell_of_subscription(
    p_user_id, 'subscription_past_due', coalesce(v_late.expires_at, v_first_at), -- @told-once-a-period
    jsonb_build_object('provider', p_facts.provider, 'past_due_plan_type', coalesce(p_facts.plan_type, v_late.plan_type)));
end
$$;
comment on function tokenbook.tell_of_late_payment is
  'Writes an alert subscription_past_due, once for each period whose renewal was not paid.';
