/*
 * A subscription as it is at that moment, whether anybody has touched the account since or not: a downgrade to a plan
 * that costs nothing is in force when the period ends, since there is no payment that could begin it. Its first slot,
 * where it has a schedule, begins then.
 * What is recorded (tokenbook.apply_scheduled_downgrade) is what this says.
 * Caller: internal.   Keeps: I9.
 */
create function tokenbook.subscription_at(p_subscription public.token_subscriptions, p_at timestamptz)
returns public.token_subscriptions
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next public.token_plans;
begin
  if (p_subscription.expires_at <= p_at) is not true or p_subscription.next_plan_type is null then
    return p_subscription; -- as a rule
  end if;
  select p.* into v_next from public.token_plans p where p.plan_type = p_subscription.next_plan_type and p.price_cents = 0;
  if v_next.plan_type is not null then
    p_subscription.plan_type := v_next.plan_type;
    p_subscription.articles_limit := v_next.articles_limit;
    p_subscription.features := v_next.features;
    p_subscription.billing_cycle := v_next.billing_cycle;
    p_subscription.auto_renew := v_next.billing_cycle <> 'none';
    p_subscription.payment_method := null;
    p_subscription.payment_id := null;
    p_subscription.period_start := p_subscription.expires_at;
    p_subscription.expires_at := tokenbook.period_end(v_next.billing_cycle, p_subscription.period_start);
    p_subscription.next_plan_type := null;
    p_subscription.schedule := tokenbook.plan_schedule(v_next);
    p_subscription.next_slot_at := case when p_subscription.schedule is not null then p_subscription.period_start end;
  end if;
  return p_subscription;
end
$$;
comment on function tokenbook.subscription_at is
  'A subscription as it is at that moment, a downgrade that has come included.';
