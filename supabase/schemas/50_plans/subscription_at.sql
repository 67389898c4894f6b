/*
 * A subscription as it is at that moment, whether anybody has touched the account since or not: what is due of it.
 * In the order of time, until nothing more is due:
 * - A downgrade to a plan that costs nothing is in force when the period ends: no payment could begin it. A trial
 *   begins with its tokens, when it is renewed to.
 * - A plan that has ended, is paused, or whose money was taken back is not in force. Of those beside it that were in
 *   force then, the highest (tokenbook.plan_precedence) takes its place, of equal ones the one that began last; where there
 *   is none, no plan is in force (ended_at).
 * - A higher one that is in force again takes its place back.
 * What time is not over for is kept beside: a plan that is paused may go on, and money may come back; and so is what owes
 * slots that were paid for.
 * The one rule of what is in force: token_subscriptions shows what it says, and what is recorded
 * (tokenbook.settle_subscription) is what it says. So a touch changes nothing that anybody can see.
 * Tokens stay as they are.
 * Caller: internal, and readers of token_subscriptions.   Keeps: I9.
 */
create function tokenbook.subscription_at(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns tokenbook.subscriptions
language plpgsql
stable
strict
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := p_subscription;
  v_next public.token_plans;
  v_best tokenbook.subscriptions;
  v_plan jsonb;
  v_nth bigint;
  v_stopped_at timestamptz;
begin
  loop
    v_stopped_at := least(v_is.taken_back_at, v_is.paused_at, tokenbook.plan_ends_at(v_is));
    if v_is.next_plan_type is not null and v_is.expires_at <= p_at then
      v_next := tokenbook.plan_after(v_is);
      if v_next.plan_type is not null then
        if v_is.payment_id is not null and v_is.next_slot_at is not null then
          v_is.beside := v_is.beside || tokenbook.plan_beside(v_is, v_is.expires_at); -- it owes slots
        end if;
        v_is.plan_type := v_next.plan_type;
        v_is.articles_limit := v_next.articles_limit;
        v_is.features := v_next.features;
        v_is.billing_cycle := v_next.billing_cycle;
        v_is.auto_renew := false;
        v_is.payment_method := null;
        v_is.payment_id := null;
        v_is.period_start := v_is.expires_at;
        v_is.expires_at := tokenbook.period_end(v_next, v_is.period_start);
        v_is.grace_days := tokenbook.grace_of(v_next);
        v_is.next_plan_type := null;
        v_is.cancel_at := null;
        v_is.paused_at := null;
        v_is.taken_back_at := null;
        v_is.schedule := tokenbook.plan_schedule(v_next);
        v_is.next_slot_at := case when v_is.schedule is not null then v_is.period_start end;
        v_stopped_at := tokenbook.plan_ends_at(v_is);
      end if;
    end if;

    if v_stopped_at > p_at then
      v_stopped_at := null;
    end if;
    select e.plan, e.nth into v_plan, v_nth
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth)
     cross join lateral jsonb_populate_record(v_is, e.plan) one
     cross join lateral tokenbook.plan_precedence(one) as precedence
     where precedence is not null and one.taken_back_at is null and one.paused_at is null and not e.plan ? 'ended_at'
       and (tokenbook.plan_ends_at(one) <= coalesce(v_stopped_at, p_at)) is not true
       and (v_stopped_at is not null
         or (precedence, one.period_start) > (tokenbook.plan_precedence(v_is), v_is.period_start)) -- @highest-rank-counts
     order by precedence desc, one.period_start desc, one.expires_at desc nulls first, one.plan_type, one.payment_id
     limit 1;
    exit when not found;

    v_best := jsonb_populate_record(v_is, v_plan);
    if v_best.payment_id is null then
      -- what nobody paid for gave nothing while it was not in force
      v_best.next_slot_at := tokenbook.newest_slot_at(v_best, coalesce(v_stopped_at, p_at));
    end if;
    v_best.beside := v_is.beside - (v_nth - 1)::integer || tokenbook.plan_beside(v_is);
    v_best.beside := tokenbook.kept_beside(v_best, coalesce(v_stopped_at, p_at));
    v_is := v_best;
  end loop;

  v_is.ended_at := case when v_is.paused_at is null then v_stopped_at else least(v_is.taken_back_at, tokenbook.plan_ends_at(v_is)) end;
  if v_is.ended_at > p_at then
    v_is.ended_at := null;
  end if;
  return v_is;
end
$$;
comment on function tokenbook.subscription_at is
  'A subscription as it is at that moment, what is due of it included: which plan is in force, or since when none is.';
