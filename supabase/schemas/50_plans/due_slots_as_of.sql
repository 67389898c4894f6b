/*
 * What an account was due at a moment that has passed by the schedules of its plans, and had not been booked by then:
 * what tokenbook.due_slots said at that moment, from the ledger up to then. The subscription is the one that the newest
 * entry keeps, with the lower plan that was asked for since; what there was when a slot began is what the entries before
 * it had left; and an account that was frozen got nothing, and once it was not any more all that was paid for, of other
 * plans the newest slot of the one in force, which is recorded then.
 * In passes over the user's ledger.
 * Caller: tokenbook.get_token_balance_as_of.   Returns the grants that were to be.   Keeps: I7.
 */
create function tokenbook.due_slots_as_of(p_user_id uuid, p_at timestamptz)
returns setof public.token_balances
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest record; -- the entry that keeps the subscription
  v_subscription tokenbook.subscriptions;
  v_state record;
  v_scheduled tokenbook.scheduled_slot;
  v_given jsonb := '{}'; -- by payment, what earlier rows of this very answer give
  v_grant public.token_balances;
  v_grants public.token_balances[] := '{}';
  v_own record; -- the grant that its payment gave, or paid for
  v_payment record;
  v_taken_back bigint;
begin
  select t.id, t.created_at, coalesce(t.terms -> 'subscription', t.terms -> 'standing') as kept into v_newest
    from public.token_transactions t
   where t.user_id = p_user_id and t.created_at <= p_at and (t.terms ? 'subscription' or t.terms ? 'standing')
   order by t.id desc
   limit 1;
  if v_newest.id is null or not tokenbook.is_user(p_user_id) then
    return;
  end if;
  v_subscription := tokenbook.kept_subscription(v_newest.kept);
  v_subscription.user_id := p_user_id;
  -- a lower plan that was asked for since is in an entry of its own
  v_subscription.next_plan_type := coalesce((
    select t.metadata ->> 'plan_type'
      from public.token_transactions t
     where t.user_id = p_user_id and t.id > v_newest.id and t.created_at <= p_at
       and t.action_type = 'plan_change' and t.metadata ? 'effective_at'
       and t.entry_type = 'usage' and t.usage_id is null -- @plan-changes-use-nothing: what a caller can name so is a use
     order by t.id desc
     limit 1), v_subscription.next_plan_type);
  if v_subscription.schedule is null and v_subscription.beside = '[]'
    and v_subscription.next_plan_type is null -- @downgrades-are-looked-up
  then
    return; -- as a rule
  end if;
  select c.details ->> 'state' as state, c.created_at into v_state
    from tokenbook.changes c
   where c.user_id = p_user_id and c.change = 'set_token_account_state' and c.created_at <= p_at
   order by c.id desc
   limit 1;
  if v_state.state = 'frozen' then
    return;
  elsif v_state.created_at >= v_subscription.next_slot_at and v_subscription.payment_id is null then
    v_subscription.next_slot_at := tokenbook.newest_slot_at(v_subscription, v_state.created_at);
  end if;

  for v_scheduled in
    select s.* from tokenbook.scheduled_slots(v_subscription, p_at) s
     order by s.filled_at, (s.slot).granted_at, (s.slot).id
  loop
    v_grant := v_scheduled.slot;
    if v_scheduled.refill_to is not null then
      v_grant.tokens_granted := least(v_grant.tokens_granted, v_scheduled.refill_to - coalesce((
        select sum(part.tokens * sign(t.tokens))
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
          join public.token_balances b on b.user_id = p_user_id and b.id = part.grant_id
         where t.user_id = p_user_id and t.created_at <= p_at
           -- for a plan that was renewed late, or an account that was frozen, the balance at that later moment counts
           and (t.created_at < v_scheduled.filled_at or t.id <= v_newest.id or t.created_at <= v_state.created_at)
           and b.subscription_id = v_grant.subscription_id
           and coalesce(tokenbook.expiry_as_granted(row(b.*)::public.token_balances) > v_scheduled.filled_at, true)), 0) - coalesce((
        select sum(g.tokens_remaining) from unnest(v_grants) g
         where g.expires_at > v_scheduled.filled_at or g.expires_at is null), 0));
    end if;
    select b.id, b.period_start, p.created_at into v_own
      from public.token_balances b
      join public.token_payments p on p.user_id = p_user_id and p.id = b.payment_id
     where b.user_id = p_user_id and b.payment_id = v_scheduled.payment_id;
    select (sum(t.tokens) filter (where t.entry_type = 'grant'))::bigint as given,
           (array_agg(t.terms -> 'refund' order by t.id desc) filter (where t.terms ? 'refund'))[1] as refund
      into v_payment
      from public.token_transactions t
     where t.user_id = p_user_id and t.created_at <= p_at
       and (v_scheduled.payment_id::text in (t.payment_id::text, t.terms -> 'slots' ->> 'payment_id')
         -- and what its period gave before it was paid for
         or t.entry_type = 'grant' and t.grant_ids[1] = v_own.id
         or t.action_type = 'scheduled_grant' and not t.terms -> 'slots' ? 'payment_id' and t.created_at <= v_own.created_at
           and t.terms -> 'slots' ->> 'plan_type' = v_scheduled.kept ->> 'plan_type'
           and (t.terms -> 'slots' ->> 'period_start')::timestamptz = v_own.period_start);
    v_taken_back := tokenbook.slot_share(
      v_payment.given + coalesce((v_given ->> v_scheduled.payment_id::text)::bigint, 0), v_grant.tokens_granted,
      (v_payment.refund ->> 'refunded_cents')::bigint + (v_payment.refund ->> 'disputed_cents')::bigint,
      (v_payment.refund ->> 'amount_cents')::bigint);
    continue when v_grant.tokens_granted < 1;
    v_grant.tokens_remaining := v_grant.tokens_granted - v_taken_back;
    v_grants := v_grants || v_grant;
    if v_scheduled.payment_id is not null then
      v_given := v_given || jsonb_build_object(
        v_scheduled.payment_id,
        coalesce((v_given ->> v_scheduled.payment_id::text)::bigint, 0) + v_grant.tokens_granted);
    end if;
    continue when v_grant.tokens_remaining = 0;
    return next v_grant;
  end loop;
end
$$;
comment on function tokenbook.due_slots_as_of is
  'What an account was due at a moment by the schedules of its plans, and had not been booked by then: grants that were to be.';
