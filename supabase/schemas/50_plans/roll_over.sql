/*
 * Carries what a closing period has left into a new grant, as far as the plan that it was on allows
 * (token_plans.rollover_…). Called when the next period begins, under the account's lock, with what
 * was due booked.
 *
 * What carries over is what the period's own grant has left; or, when it ran out no earlier than
 * the next period began, what it lost then: that takes back a part of its expiry. What is above the
 * limit stays where it is and keeps its own terms. A rollover never shortens the life of a token:
 * a grant that outlives what it would be carried into keeps everything.
 * A period is carried over once, and what was carried over is not carried over again.
 * Caller: internal.   Keeps: I1 to I5, I7, I10.
 */
create function tokenbook.roll_over(
  p_subscription tokenbook.subscriptions,
  p_next_start timestamptz,
  p_actor_role text,
  p_actor_id uuid,
  p_now timestamptz
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
  v_closing public.token_balances;
  v_expires_at timestamptz;
  v_entry public.token_transactions;
  v_source public.token_transactions;
  v_left bigint;
  v_tokens bigint;
  v_carried public.token_balances;
begin
  select p.* into v_plan from public.token_plans p where p.plan_type = p_subscription.plan_type;
  if coalesce(v_plan.rollover_tokens, v_plan.rollover_percent) is null then
    return;
  end if;
  v_closing := tokenbook.grant_of_period(
    p_subscription.user_id, p_subscription.id, p_subscription.plan_type, p_subscription.period_start);
  v_expires_at := p_now + v_plan.rollover_lifetime_days * interval '24 hours';
  if v_closing.id is null or v_closing.voided_at is not null
    or coalesce(v_closing.expires_at, 'infinity') >= coalesce(v_expires_at, 'infinity')
    or exists (
      select 1 from public.token_balances b
       where b.user_id = v_closing.user_id and b.rolled_over_from = v_closing.id) -- @carried-over-once
  then
    return;
  end if;

  v_left := v_closing.tokens_remaining;
  if v_closing.expires_at <= p_now and v_closing.expires_at >= p_next_start then
    -- its running out is its first expiry; a later one is of what came back too late
    select t.* into v_source
      from public.token_transactions t
     where t.user_id = v_closing.user_id and t.entry_type = 'expiry' and t.action_type = 'expiry'
       and t.created_at >= v_closing.expires_at and t.grant_ids[1] = v_closing.id
     order by t.id
     limit 1;
    v_left := coalesce(-v_source.tokens, 0);
  end if;
  v_tokens := least(v_left, v_plan.rollover_tokens, v_closing.tokens_granted * v_plan.rollover_percent / 100);
  if v_tokens = 0 then
    return;
  end if;

  v_entry.user_id := v_closing.user_id;
  v_entry.entry_type := 'rollover';
  v_entry.action_type := 'rollover';
  v_entry.reason := 'left of the period before';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := jsonb_build_object('period_start', v_closing.period_start);
  v_entry.created_at := p_now;

  if v_source.id is null then
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - v_tokens, is_open = b.tokens_remaining > v_tokens -- @carried-over-comes-out
     where b.user_id = v_closing.user_id and b.id = v_closing.id;
    v_entry.tokens := -v_tokens;
    v_entry.grant_ids := array[v_closing.id];
    v_entry.grant_tokens := array[v_tokens];
    v_source := tokenbook.record_transaction(v_entry);
  else
    update public.token_accounts a
       set tokens_expired = a.tokens_expired - v_tokens
     where a.user_id = v_closing.user_id;
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     subscription_id, rolled_over_from, pays_for, cost_basis_of, metadata, created_at)
  values
    (v_closing.user_id, v_closing.grant_type, v_tokens, v_tokens, v_closing.priority, p_now, v_expires_at,
     v_closing.subscription_id, v_closing.id, v_closing.pays_for, tokenbook.money_of(v_closing),
     v_entry.metadata, p_now)
  returning * into v_carried;
  perform tokenbook.bring_due_forward(v_closing.user_id, v_expires_at);
  if v_carried.pays_for is not null then
    perform tokenbook.note_restricted_grants(v_closing.user_id, v_expires_at);
  end if;
  v_entry.tokens := v_tokens;
  v_entry.grant_ids := array[v_carried.id];
  v_entry.grant_tokens := array[v_tokens];
  v_entry.original_id := v_source.id;
  v_entry.terms := jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(v_carried)));
  perform tokenbook.record_transaction(v_entry);
  perform tokenbook.settle_incoming(v_closing.user_id, p_now);
end
$$;
comment on function tokenbook.roll_over is
  'Carries what a closing period has left into a new grant, within the limits of its plan; once a period. The caller holds the account''s lock.';
