/*
 * Books what an account is due by the schedules of its plans (tokenbook.due_slots), one grant and entry each, moves each
 * plan on to its next slot (tokenbook.move_slots), and records which of them is in force. What is booked, what moves and
 * what is recorded start from one row: what providers have said by now. Before anything else that is due is booked: what a slot gives depends on
 * what there was when it began, and what has run out since was there.
 * A plan without an end that nobody paid for follows the catalogue: after a slot its terms are today's.
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
  v_told tokenbook.subscriptions;
  v_slots tokenbook.due_slot[];
  v_slot tokenbook.due_slot;
  v_grant public.token_balances;
  v_subscription tokenbook.subscriptions;
  v_has_moved boolean; -- the plan in force has given a slot
  v_schedule jsonb;
  v_entry public.token_transactions;
begin
  select s.* into v_told from tokenbook.subscriptions s where s.user_id = p_user_id;
  v_told := tokenbook.apply_provider_terms(v_told);
  v_slots := array(select d from tokenbook.due_slots(p_user_id, p_now, v_told) d);
  v_has_moved := (tokenbook.subscription_at(v_told, p_now)).next_slot_at <= p_now;
  -- what was due moves on, and then what is in force is settled: no slot is looked at twice
  perform tokenbook.record_subscription(p_user_id, p_now, tokenbook.move_slots(v_told, p_now));
  select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;

  foreach v_slot in array v_slots
  loop
    v_grant := v_slot.slot;
    v_grant.cost_basis_of := v_slot.payment_id; -- @slots-have-their-money
    insert into public.token_balances
      (user_id, id, grant_type, tokens_granted, tokens_remaining, is_open, priority, granted_at, expires_at,
       subscription_id, cost_basis_of, metadata, created_at)
    values
      (p_user_id, v_grant.id, v_grant.grant_type, v_grant.tokens_granted, v_grant.tokens_remaining,
       v_grant.is_open, v_grant.priority, v_grant.granted_at, v_grant.expires_at,
       v_grant.subscription_id, v_grant.cost_basis_of, v_grant.metadata, p_now)
    on conflict (user_id, id) do nothing; -- whatever else is wrong, the user can still use their account
    continue when not found;
    v_entry := null;
    v_entry.user_id := p_user_id;
    v_entry.entry_type := 'grant';
    v_entry.action_type := 'scheduled_grant';
    v_entry.tokens := v_grant.tokens_granted;
    v_entry.grant_ids := array[v_grant.id];
    v_entry.grant_tokens := array[v_grant.tokens_granted];
    v_entry.reason := 'the plan''s schedule';
    v_entry.actor_role := 'system';
    v_entry.metadata := v_grant.metadata;
    v_entry.created_at := p_now;
    v_entry.terms := jsonb_build_object(
      'grants', jsonb_build_array(tokenbook.grant_terms(v_grant)),
      'slots', v_slot.kept,
      'subscription', tokenbook.subscription_terms(v_subscription));
    perform tokenbook.record_transaction(v_entry);

    if v_slot.payment_id is not null then
      -- a refund takes its share of this slot too
      update public.token_payments p
         set tokens = p.tokens + v_grant.tokens_granted,
             tokens_clawed_back = p.tokens_clawed_back + v_slot.taken_back
       where p.user_id = p_user_id and p.id = v_slot.payment_id;
      update tokenbook.sales s
         set slots = greatest(s.slots, least(s.slots_in_all, tokenbook.slot_number(s.schedule, s.period_start, v_grant.granted_at) + 1))
       where s.user_id = p_user_id and s.sale_id = v_slot.payment_id;
    end if;
    if v_slot.taken_back > 0 then
      v_entry.entry_type := 'clawback';
      v_entry.action_type := 'clawback';
      v_entry.tokens := -v_slot.taken_back;
      v_entry.grant_tokens := array[v_slot.taken_back];
      v_entry.reason := 'the share of a slot whose money is gone';
      v_entry.payment_id := v_slot.payment_id;
      v_entry.terms := jsonb_build_object('refund', (
        select jsonb_build_object('amount_cents', p.amount_cents, 'refunded_cents', p.refunded_cents, 'disputed_cents', p.disputed_cents)
          from public.token_payments p where p.user_id = p_user_id and p.id = v_slot.payment_id));
      perform tokenbook.record_transaction(v_entry);
    end if;
  end loop;

  select tokenbook.plan_schedule(row(p.*)::public.token_plans) into v_schedule from public.token_plans p where p.plan_type = v_subscription.plan_type;
  if v_has_moved and v_subscription.expires_at is null and v_subscription.payment_id is null
    and v_schedule is distinct from v_subscription.schedule - 'moved'
  then
    v_subscription.schedule := v_schedule
      || case when v_subscription.schedule ? 'moved' then jsonb_build_object('moved', v_subscription.schedule -> 'moved') else '{}' end;
    v_subscription.next_slot_at := tokenbook.next_slot_at(v_subscription, p_now);
    v_entry := null;
    v_entry.reason := v_subscription.plan_type || ' has another schedule';
    v_entry.actor_role := 'system';
    v_entry.created_at := p_now;
    perform tokenbook.change_subscription(v_subscription, v_entry);
  end if;
  return cardinality(v_slots);
end
$$;
comment on function tokenbook.issue_slots is
  'Books what an account is due by the schedules of its plans, and moves its subscription on to the next slot; the caller holds its lock.';
