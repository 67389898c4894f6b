/*
 * What an account is due at p_at by the schedule of its plan, one row a grant, oldest first: the grant to be, as it will
 * be booked, and what its entry keeps. The one answer for who looks (tokenbook.tokens_due, tokenbook.choose_grants) and
 * for who books (tokenbook.issue_slots). What a refill gives is what there was room for when its slot began: nothing
 * was spent since, or it would be booked. So it makes no difference when it is.
 * Nothing while the account is frozen, after its user was deleted, or when all the money of the plan is gone; no
 * more than an account may hold.
 * A part of the plan's money that is gone takes its part of each slot: taken_back, and the grant has that much less left.
 * Caller: internal.   Keeps: I7, I11, I12.
 */
create function tokenbook.due_slots(p_user_id uuid, p_at timestamptz)
returns table (slot public.token_balances, kept jsonb, payment_id uuid, taken_back bigint)
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_subscription public.token_subscriptions;
  v_payment public.token_payments;
  v_due record;
  v_had bigint;
  v_room bigint;
begin
  select s.* into v_subscription from public.token_subscriptions s where s.user_id = p_user_id;
  v_subscription := tokenbook.subscription_at(v_subscription, p_at);
  if (v_subscription.next_slot_at <= p_at) is not true then
    return; -- as a rule
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if (v_account.state = 'active') is not true -- @frozen-gets-no-slots
    or not tokenbook.is_user(p_user_id) -- @deleted-gets-no-slots
  then
    return;
  end if;
  select p.* into v_payment
    from public.token_payments p
   where p.user_id = p_user_id
     and p.id = case when v_subscription.payment_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_subscription.payment_id::uuid end;
  v_room := 9007199254740991 - v_account.tokens_remaining - v_account.tokens_reserved - v_account.tokens_used;

  for v_due in
    select d.* from tokenbook.slots_between(
      v_subscription.schedule, v_subscription.period_start, tokenbook.slots_until(v_subscription),
      v_subscription.next_slot_at, p_at) d
  loop
    kept := jsonb_build_object(
      'first', v_due.first_start, 'count', v_due.slots, 'schedule', v_subscription.schedule);
    if v_subscription.schedule ? 'refill_to' then
      v_had := tokenbook.plan_tokens_at(p_user_id, v_subscription.id, v_due.slot_start);
      v_due.tokens := least(v_due.tokens, (v_subscription.schedule -> 'refill_to')::bigint - v_had);
      kept := kept || jsonb_build_object('had', v_had);
    end if;
    v_due.tokens := least(v_due.tokens, v_room);
    taken_back := tokenbook.slot_share(
      v_payment.tokens, v_due.tokens, v_payment.refunded_cents + v_payment.disputed_cents, v_payment.amount_cents);
    continue when v_due.tokens < 1 or v_due.tokens <= taken_back; -- @lost-money-gives-no-slots
    slot.user_id := p_user_id;
    slot.id := tokenbook.slot_grant_id(v_subscription.id, v_due.slot_start);
    slot.grant_type := v_subscription.schedule ->> 'grant_type';
    slot.tokens_granted := v_due.tokens;
    slot.tokens_remaining := v_due.tokens - taken_back;
    slot.is_open := true;
    slot.priority := 50;
    slot.granted_at := v_due.slot_start;
    slot.expires_at := v_due.expires_at;
    slot.subscription_id := v_subscription.id;
    -- a period that was paid for beside this one may have begun at the same moment
    slot.period_start := case when not exists (
      select from public.token_balances b
       where b.user_id = p_user_id and b.subscription_id = v_subscription.id and b.period_start = v_due.slot_start)
      then v_due.slot_start end;
    slot.metadata := '{}';
    slot.created_at := p_at;
    payment_id := v_payment.id;
    kept := kept || case when v_payment.id is not null then jsonb_build_object('payment_id', v_payment.id) else '{}' end;
    return next;
    v_room := v_room - v_due.tokens;
    v_payment.tokens := v_payment.tokens + v_due.tokens;
  end loop;
end
$$;
comment on function tokenbook.due_slots is
  'What an account is due at p_at by the schedule of its plan: the grants to be, oldest first, and what their entries keep.';
