/*
 * Of the slots that began while an account got none, leaves the newest of the plan that is in force now: that one is
 * due, what came before it is not made up, unless somebody paid for it. Which plan that is is recorded first: it may
 * have begun meanwhile.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.skip_missed_slots(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.record_subscription(p_user_id, p_now); -- @frozen-time-changes-plans
  update tokenbook.subscriptions s
     set next_slot_at = tokenbook.newest_slot_at(row(s.*)::tokenbook.subscriptions, p_now)
   where s.user_id = p_user_id and s.next_slot_at <= p_now and s.payment_id is null; -- @paid-slots-made-up
  perform tokenbook.bring_due_forward(p_user_id, tokenbook.plan_due_at(p_user_id));
end
$$;
comment on function tokenbook.skip_missed_slots is
  'Records which plan is in force, and of the slots that began while the account got none leaves the newest; the caller holds its lock.';
