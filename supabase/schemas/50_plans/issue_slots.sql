/*
 * Books what an account is due by the schedule of its plan (tokenbook.due_slots), one grant and entry each, and moves
 * the subscription on to its next slot. Before anything else that is due is booked: what a slot gives depends on
 * what there was when it began, and what has run out since was there.
 * A plan without an end that nobody paid for follows the catalogue: from the next slot on its terms are today's.
 * Caller: tokenbook.record_expiries, holding the account's lock, which sets what the account is due next and the plan
 * limit.   Returns how many grants.   Keeps: I2, I3, I4, I9, I10, I11, I12.
 */
create function tokenbook.issue_slots(p_user_id uuid, p_now timestamptz)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription public.token_subscriptions;
  v_due record;
  v_entry public.token_transactions;
  v_taken public.token_transactions;
  v_issued integer := 0;
begin
  perform tokenbook.apply_scheduled_downgrade(p_user_id);
  select s.* into v_subscription from public.token_subscriptions s where s.user_id = p_user_id;
  if (v_subscription.next_slot_at <= p_now) is not true then
    return 0;
  end if;

  -- the row to be; written at the end, since what is due is read off it
  if tokenbook.slots_until(v_subscription) is null and v_subscription.payment_id is null then
    v_subscription.schedule := (
      select tokenbook.plan_schedule(p) from public.token_plans p where p.plan_type = v_subscription.plan_type); -- @endless-plans-follow
  end if;
  v_subscription.next_slot_at := tokenbook.next_slot_at(v_subscription, p_now); -- @each-slot-once

  for v_due in select d.* from tokenbook.due_slots(p_user_id, p_now) d
  loop
    insert into public.token_balances
      (user_id, id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
       subscription_id, period_start, metadata, created_at)
    values
      (p_user_id, (v_due.slot).id, (v_due.slot).grant_type, (v_due.slot).tokens_granted, (v_due.slot).tokens_remaining,
       (v_due.slot).priority, (v_due.slot).granted_at, (v_due.slot).expires_at,
       (v_due.slot).subscription_id, (v_due.slot).period_start, (v_due.slot).metadata, p_now);
    v_entry := null;
    v_entry.user_id := p_user_id;
    v_entry.entry_type := 'grant';
    v_entry.action_type := 'scheduled_grant';
    v_entry.tokens := (v_due.slot).tokens_granted;
    v_entry.grant_ids := array[(v_due.slot).id];
    v_entry.grant_tokens := array[(v_due.slot).tokens_granted];
    v_entry.reason := v_subscription.plan_type || ' schedule';
    v_entry.actor_role := 'system';
    v_entry.metadata := (v_due.slot).metadata;
    v_entry.created_at := p_now;
    v_entry.terms := jsonb_build_object(
      'grants', jsonb_build_array(tokenbook.grant_terms(v_due.slot)),
      'slots', v_due.kept,
      'subscription', jsonb_strip_nulls(to_jsonb(v_subscription) - array['user_id', 'tokens_limit', 'updated_at']));
    perform tokenbook.record_transaction(v_entry);

    if v_due.payment_id is not null then
      -- a refund takes its share of this slot too
      update public.token_payments p
         set tokens = p.tokens + (v_due.slot).tokens_granted,
             tokens_clawed_back = p.tokens_clawed_back + v_due.taken_back
       where p.user_id = p_user_id and p.id = v_due.payment_id;
    end if;
    if v_due.taken_back > 0 then
      v_taken := null;
      v_taken.user_id := p_user_id;
      v_taken.entry_type := 'clawback';
      v_taken.action_type := 'clawback';
      v_taken.tokens := -v_due.taken_back;
      v_taken.grant_ids := v_entry.grant_ids;
      v_taken.grant_tokens := array[v_due.taken_back];
      v_taken.reason := 'the share of this slot whose money is gone';
      v_taken.actor_role := 'system';
      v_taken.payment_id := v_due.payment_id;
      v_taken.metadata := '{}';
      v_taken.created_at := p_now;
      v_taken.terms := jsonb_build_object('refund', (
        select jsonb_build_object('amount_cents', p.amount_cents, 'refunded_cents', p.refunded_cents, 'disputed_cents', p.disputed_cents)
          from public.token_payments p where p.user_id = p_user_id and p.id = v_due.payment_id));
      perform tokenbook.record_transaction(v_taken);
    end if;
    v_issued := v_issued + 1;
  end loop;

  update public.token_subscriptions s
     set schedule = v_subscription.schedule, next_slot_at = v_subscription.next_slot_at
   where s.user_id = p_user_id;
  return v_issued;
end
$$;
comment on function tokenbook.issue_slots is
  'Books what an account is due by the schedule of its plan, and moves its subscription on to the next slot; the caller holds its lock.';
