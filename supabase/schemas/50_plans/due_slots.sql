/*
 * What an account is due at p_at by the schedules of its plans, one row a grant, in the order in which they are booked:
 * the grant to be. The one definition for reads (tokenbook.tokens_due, tokenbook.choose_grants) and for
 * booking (tokenbook.issue_slots). What a refill gives is what there was room for when its slot began: nothing was spent
 * since, or it would be booked. So the amount does not depend on when it is booked.
 * Nothing while the account is frozen, after its user was deleted, or when all the money of the plan is gone; no
 * more than an account may hold; no slot that there is a grant of. p_subscription is the row to look at, if not the one
 * that is recorded.
 * A part of the plan's money that is gone takes its part of each slot: taken_back, and the grant has that much less left.
 * Caller: internal.   Keeps: I7, I11, I12.
 */
create function tokenbook.due_slots(
  p_user_id uuid,
  p_at timestamptz,
  p_subscription tokenbook.subscriptions default null
)
returns setof tokenbook.due_slot
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription tokenbook.subscriptions;
  v_account public.token_accounts;
  v_payment public.token_payments;
  v_given jsonb := '{}'; -- by payment, what earlier rows of this very answer give
  v_scheduled tokenbook.scheduled_slot;
  v_grant public.token_balances;
  v_grants public.token_balances[] := '{}';
  v_had bigint;
  v_room bigint;
  v_slot tokenbook.due_slot;
begin
  v_subscription := p_subscription;
  if v_subscription.user_id is null then
    select s.* into v_subscription
      from tokenbook.subscriptions s
     where s.user_id = p_user_id
       and (s.next_slot_at <= p_at
         or (s.next_plan_type is not null or s.beside <> '[]')
           and (least(s.expires_at, s.cancel_at) <= p_at or tokenbook.slots_begin_at(row(s.*)::tokenbook.subscriptions) <= p_at));
  end if;
  if v_subscription.user_id is null then
    return; -- as a rule
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if (v_account.state = 'active') is not true -- @frozen-gets-no-slots
    or not tokenbook.is_user(p_user_id)
  then
    return;
  end if;
  v_room := 9007199254740991 - v_account.tokens_remaining - v_account.tokens_reserved - v_account.tokens_used - coalesce((
    select sum((g.granted).tokens_granted) -- booked first
      from tokenbook.grants_to_begin(p_user_id, p_at) g where g.is_fitting), 0);

  for v_scheduled in
    select s.* from tokenbook.scheduled_slots(v_subscription, p_at) s
     order by s.filled_at, (s.slot).granted_at, (s.slot).id
  loop
    v_grant := v_scheduled.slot;
    continue when exists (
      select 1 from public.token_balances b where b.user_id = p_user_id and b.id = v_grant.id);
    v_slot.kept := v_scheduled.kept;
    if v_scheduled.refill_to is not null then
      v_had := tokenbook.plan_tokens_at(p_user_id, v_grant.subscription_id, v_scheduled.filled_at) + coalesce((
        select sum(g.tokens_remaining) from unnest(v_grants) g -- what an earlier plan gives in this very answer
         where g.expires_at > v_scheduled.filled_at or g.expires_at is null), 0);
      v_grant.tokens_granted := least(v_grant.tokens_granted, v_scheduled.refill_to - v_had);
      v_slot.kept := v_slot.kept || jsonb_build_object('had', v_had);
    end if;
    v_grant.tokens_granted := least(v_grant.tokens_granted, v_room);
    if v_payment.id is distinct from v_scheduled.payment_id then
      select p.* into v_payment
        from public.token_payments p where p.user_id = p_user_id and p.id = v_scheduled.payment_id;
    end if;
    v_slot.payment_id := v_payment.id;
    v_slot.taken_back := tokenbook.slot_share( -- @slots-share-the-loss begin
      v_payment.tokens + coalesce((v_given ->> v_payment.id::text)::bigint, 0), v_grant.tokens_granted,
      v_payment.refunded_cents + v_payment.disputed_cents, v_payment.amount_cents); -- @slots-share-the-loss end
    continue when v_grant.tokens_granted < 1;
    v_grant.tokens_remaining := v_grant.tokens_granted - v_slot.taken_back;
    v_grant.is_open := v_grant.tokens_remaining > 0;
    v_slot.slot := v_grant;
    return next v_slot;
    v_grants := v_grants || v_grant;
    v_room := v_room - v_grant.tokens_granted;
    if v_payment.id is not null then
      v_given := v_given || jsonb_build_object(
        v_payment.id, coalesce((v_given ->> v_payment.id::text)::bigint, 0) + v_grant.tokens_granted);
    end if;
  end loop;
end
$$;
comment on function tokenbook.due_slots is
  'What an account is due at p_at by the schedules of its plans, in the order in which it is booked.';
