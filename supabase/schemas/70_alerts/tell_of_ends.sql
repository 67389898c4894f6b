/*
 * Tells a user of each of their plans that was in force and has ended: by time, by a cancellation, or because all of its
 * money is gone. p_was is the row before the end was recorded, with what is known of it now; after it others may have
 * been in force that have ended since. What another plan takes the place of has not ended, nor what was to be followed by
 * a lower one.
 * Caller: the function that recorded the end, holding the account's lock.
 */
create function tokenbook.tell_of_ends(p_was tokenbook.subscriptions, p_now timestamptz)
returns void
language plpgsql
volatile
strict
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan record;
begin
  if p_was.ended_at is not null or (least(p_was.taken_back_at, tokenbook.plan_ends_at(p_was)) <= p_now) is not true then
    return; -- as a rule
  end if;
  for v_plan in
    select (c.kept).plan_type, least((c.kept).taken_back_at, tokenbook.plan_ends_at(c.kept)) as ended_at,
           (tokenbook.plan_after(c.kept)).plan_type is not null as was_followed
      from tokenbook.subscription_course(p_was, p_now) c -- @ends-one-after-another
  loop
    if v_plan.ended_at <= p_now and not v_plan.was_followed then -- @followed-has-not-ended
      perform tokenbook.tell_of_subscription(
        p_was.user_id, 'subscription_ended', v_plan.ended_at, jsonb_build_object('ended_plan_type', v_plan.plan_type));
    end if;
  end loop;
end
$$;
comment on function tokenbook.tell_of_ends is
  'Writes an alert subscription_ended for each plan that was in force and has ended, once for each moment.';
