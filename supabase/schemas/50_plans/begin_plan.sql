/*
 * A user's subscription with a period of that plan: in the place of the plan that was in force, or beside it. What
 * it takes the place of is kept beside it while its time is not over, when it was paid for, is no higher
 * (tokenbook.plan_precedence), or not in force for a reason that may pass (paused; money that may come back): so a user
 * who had a plan without an end before has it again when this one ends, and each payment keeps its period, whatever else is
 * bought, the same plan too. What provider and time say of each counts at once. Slots are due from p_slots_from on.
 * p_was is the row that there is, with what was due recorded; null: there is none. p_will_renew: somebody has said that
 * they will charge for another period.
 * Caller: internal, holding the account's lock.   Returns the row to be.
 */
create function tokenbook.begin_plan(
  p_was tokenbook.subscriptions,
  p_plan public.token_plans,
  p_start timestamptz,
  p_slots_from timestamptz,
  p_payment_method text,
  p_payment_id text,
  p_user_id uuid,
  p_is_beside boolean,
  p_will_renew boolean,
  p_now timestamptz
)
returns tokenbook.subscriptions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new tokenbook.subscriptions := p_was;
  v_is tokenbook.subscriptions;
  v_beside jsonb := coalesce(p_was.beside, '[]');
begin
  if v_new.user_id is null then
    v_new.user_id := p_user_id;
    v_new.id := gen_random_uuid();
    v_new.tokens_limit := 0;
    v_new.created_at := p_now;
  end if;
  v_new.plan_type := p_plan.plan_type;
  v_new.articles_limit := p_plan.articles_limit;
  v_new.features := p_plan.features;
  v_new.billing_cycle := p_plan.billing_cycle;
  v_new.auto_renew := p_will_renew and p_plan.billing_cycle <> 'none' and p_plan.grant_type <> 'trial'; -- @renewed-by-somebody
  v_new.payment_method := coalesce(p_payment_method, case when not p_is_beside then p_was.payment_method end);
  v_new.payment_id := p_payment_id; -- @plan-knows-its-payment
  v_new.period_start := p_start;
  v_new.expires_at := tokenbook.period_end(p_plan, p_start);
  v_new.grace_days := tokenbook.grace_of(p_plan);
  v_new.next_plan_type := null;
  v_new.cancel_at := null;
  v_new.paused_at := null;
  v_new.taken_back_at := null;
  v_new.ended_at := null;
  v_new.schedule := tokenbook.plan_schedule(p_plan);
  v_new.next_slot_at := tokenbook.next_slot_at(v_new, p_slots_from);
  v_new.updated_at := p_now;

  if p_is_beside then
    v_is := p_was;
    v_is.updated_at := p_now;
    v_beside := v_beside || tokenbook.plan_beside(v_new);
  else
    v_is := v_new;
    if p_was.payment_id is not null then
      v_beside := v_beside || tokenbook.plan_beside(p_was, case
        when p_was.ended_at is null and p_was.paused_at is null
          and (tokenbook.plan_precedence(p_was), p_was.period_start) > (tokenbook.plan_precedence(v_new), p_start)
        then p_now end); -- @payments-go-on: unless somebody said that the lower one counts
    elsif p_was.plan_type <> p_plan.plan_type
      and (p_was.ended_at is not null or p_was.paused_at is not null
        or tokenbook.plan_precedence(p_was) <= tokenbook.plan_precedence(v_new))
    then
      v_beside := v_beside || tokenbook.plan_beside(p_was); -- @lower-plans-go-on
    end if;
  end if;
  -- what nobody paid for has given way to a period of the same plan
  v_is.beside := (
    select coalesce(jsonb_agg(e.plan), '[]')
      from jsonb_array_elements(v_beside) as e (plan)
     where e.plan ->> 'payment_id' is not null or e.plan ->> 'plan_type' not in (v_new.plan_type, v_is.plan_type));
  v_is.beside := tokenbook.kept_beside(v_is, p_now);
  return tokenbook.subscription_at(tokenbook.apply_provider_terms(v_is), p_now);
end
$$;
comment on function tokenbook.begin_plan is
  'A user''s subscription with a period of that plan, in the place of the one that was in force or beside it.';
