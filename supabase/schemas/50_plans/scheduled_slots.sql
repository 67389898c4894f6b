/*
 * What the schedules of a subscription's plans give at most that is not booked by p_at, one row a grant, to be booked in
 * the order of time. Each period that was paid for gives its own, whatever is in force. Of plans that nobody paid for, one
 * that has ended gives what began before, and the one that follows it what begins then.
 * How much of it there is room and money for, tokenbook.due_slots says, and tokenbook.due_slots_as_of for a moment
 * that has passed.
 * Caller: internal.   Keeps: I11, I12.
 */
create function tokenbook.scheduled_slots(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns setof tokenbook.scheduled_slot
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan record;
  v_due record;
  v_slot tokenbook.scheduled_slot;
  v_grant public.token_balances;
begin
  for v_plan in
    select one.*, one as period, '-infinity'::timestamptz as since, tokenbook.slots_until(one) as slots_until
      from tokenbook.plans_of(p_subscription) one
     where one.payment_id is not null and one.next_slot_at <= p_at -- @each-payment-its-slots
    union all
    select (c.kept).*, c.kept, c.since, tokenbook.slots_until(c.kept)
      from tokenbook.subscription_course(p_subscription, p_at) c
     where (c.kept).payment_id is null and (c.kept).next_slot_at <= p_at
  loop
    v_slot.refill_to := v_plan.schedule -> 'refill_to';
    v_slot.payment_id := case
      when v_plan.payment_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_plan.payment_id::uuid end;
    for v_due in
      select d.* from tokenbook.slots_between(
        v_plan.schedule, v_plan.period_start, v_plan.slots_until, v_plan.next_slot_at, p_at) d
    loop
      v_slot.kept := jsonb_strip_nulls(jsonb_build_object(
        'first', v_due.first_start, 'count', v_due.slots, 'schedule', v_plan.schedule, 'plan_type', v_plan.plan_type,
        'period_start', v_plan.period_start, 'until', v_plan.slots_until, 'payment_id', v_plan.payment_id));
      v_slot.filled_at := greatest(v_due.slot_start, v_plan.since);
      v_grant.user_id := v_plan.user_id;
      v_grant.id := tokenbook.slot_grant_id(v_plan.period, v_due.slot_start); -- @one-slot-one-grant
      v_grant.grant_type := v_plan.schedule ->> 'grant_type';
      v_grant.tokens_granted := v_due.tokens;
      v_grant.tokens_remaining := v_due.tokens;
      v_grant.is_open := true;
      v_grant.priority := 50;
      v_grant.granted_at := v_due.slot_start;
      v_grant.expires_at := v_due.expires_at;
      v_grant.subscription_id := v_plan.id;
      v_grant.metadata := '{}';
      v_grant.created_at := p_at;
      v_slot.slot := v_grant;
      return next v_slot;
    end loop;
  end loop;
end
$$;
comment on function tokenbook.scheduled_slots is
  'What the schedules of a subscription''s plans give at most that is not booked by p_at, a row a grant.';
