/*
 * What an account was due at a moment that has passed by the schedule of its plan, and had not been booked by then:
 * what tokenbook.due_slots said at that moment, from the ledger up to then. The subscription is the one that the newest
 * entry keeps; what there was when a slot began is what the entries before it had left; and an account that was frozen
 * got nothing, and the newest slot once it was not any more.
 * In passes over the user's ledger.
 * Caller: tokenbook.get_token_balance_as_of.   Keeps: I7.
 */
create function tokenbook.due_slots_as_of(p_user_id uuid, p_at timestamptz)
returns table (slot public.token_balances)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription public.token_subscriptions;
  v_began record; -- the entry that keeps the subscription
  v_since timestamptz;
  v_state record;
  v_payment record;
  v_given bigint;
  v_from timestamptz;
  v_due record;
  v_taken_back bigint;
begin
  select t.created_at, t.terms into v_began
    from public.token_transactions t
   where t.user_id = p_user_id and t.created_at <= p_at and t.terms ? 'subscription'
   order by t.id desc
   limit 1;
  v_subscription := tokenbook.subscription_at(
    jsonb_populate_record(null::public.token_subscriptions, v_began.terms -> 'subscription'), p_at);
  if (v_subscription.next_slot_at <= p_at) is not true or not tokenbook.is_user(p_user_id) then
    return; -- as a rule
  end if;
  select c.details ->> 'state' as state, c.created_at into v_state
    from tokenbook.changes c
   where c.user_id = p_user_id and c.change = 'set_token_account_state' and c.created_at <= p_at
   order by c.id desc
   limit 1;
  if v_state.state = 'frozen' then
    return;
  end if;
  v_since := greatest(v_began.created_at, v_state.created_at);
  v_from := greatest(v_subscription.next_slot_at, case when v_state.created_at >= v_subscription.next_slot_at then
    tokenbook.slot_start(
      v_subscription.schedule, v_subscription.period_start,
      tokenbook.slot_number(v_subscription.schedule, v_subscription.period_start, v_state.created_at)) end);
  select t.terms -> 'refund' ->> 'amount_cents' as amount_cents,
         (t.terms -> 'refund' ->> 'refunded_cents')::bigint + (t.terms -> 'refund' ->> 'disputed_cents')::bigint as lost_cents
    into v_payment
    from public.token_transactions t
   where t.user_id = p_user_id and t.created_at <= p_at and t.payment_id::text = v_subscription.payment_id and t.terms ? 'refund'
   order by t.id desc
   limit 1;
  select sum(t.tokens) into v_given
    from public.token_transactions t
   where t.user_id = p_user_id and t.created_at <= p_at and t.entry_type = 'grant'
     and v_subscription.payment_id in (t.payment_id::text, t.terms -> 'slots' ->> 'payment_id');

  for v_due in
    select d.* from tokenbook.slots_between(
      v_subscription.schedule, v_subscription.period_start, tokenbook.slots_until(v_subscription), v_from, p_at) d
  loop
    if v_subscription.schedule ? 'refill_to' then
      v_due.tokens := least(v_due.tokens, (v_subscription.schedule -> 'refill_to')::bigint - coalesce((
        select sum(part.tokens * sign(t.tokens))
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
          join public.token_balances b on b.user_id = t.user_id and b.id = part.grant_id
         where t.user_id = p_user_id
           -- who renews late, or was frozen, has what there is since then
           and (t.created_at < v_due.slot_start or t.created_at <= v_since)
           and b.subscription_id = v_subscription.id
           and coalesce(tokenbook.expiry_as_granted(b) > v_due.slot_start, true)), 0));
    end if;
    v_taken_back := tokenbook.slot_share(
      v_given, v_due.tokens, v_payment.lost_cents, v_payment.amount_cents::bigint);
    continue when v_due.tokens < 1 or v_due.tokens <= v_taken_back;
    slot.id := tokenbook.slot_grant_id(v_subscription.id, v_due.slot_start);
    slot.grant_type := v_subscription.schedule ->> 'grant_type';
    slot.tokens_granted := v_due.tokens;
    slot.tokens_remaining := v_due.tokens - v_taken_back;
    slot.priority := 50;
    slot.granted_at := v_due.slot_start;
    slot.expires_at := v_due.expires_at;
    return next;
    v_given := v_given + v_due.tokens;
  end loop;
end
$$;
comment on function tokenbook.due_slots_as_of is
  'What an account was due at a moment by the schedule of its plan, and had not been booked by then, from the ledger.';
