/*
 * A user's subscription with a period of that plan: in the place of the plan that was in force, or beside it. What
 * it takes the place of is kept beside it while its time is not over, when it is no higher (tokenbook.plan_precedence), or not in force
 * for a reason that may pass (paused; money that may come back): so whoever had a plan without an end before has it
 * again when this one ends. What provider and time say of each counts at once.
 * p_was is the row that there is, with what was due recorded; null: there is none. p_will_renew: somebody has said that
 * they will charge for another period.
 * Caller: internal, holding the account's lock.   Returns the row to be.
 */
create function tokenbook.begin_plan(
  p_was tokenbook.subscriptions,
  p_plan public.token_plans,
  p_start timestamptz,
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
  v_is tokenbook.subscriptions := p_was;
  v_beside jsonb := coalesce(p_was.beside, '[]');
begin
  v_is.plan_type := p_plan.plan_type;
  v_is.payment_id := p_payment_id; -- @plan-knows-its-payment
  if v_is.user_id is null then
    v_is.user_id := p_user_id;
    v_is.id := gen_random_uuid();
    v_is.tokens_limit := 0;
    v_is.created_at := p_now;
  elsif p_was.plan_type <> p_plan.plan_type
    and (p_was.ended_at is not null or p_was.paused_at is not null
      or tokenbook.plan_precedence(p_was) <= tokenbook.plan_precedence(v_is))
  then
    v_beside := v_beside || tokenbook.plan_beside(p_was); -- @lower-plans-go-on
  end if;
  v_is.articles_limit := p_plan.articles_limit;
  v_is.features := p_plan.features;
  v_is.billing_cycle := p_plan.billing_cycle;
  v_is.auto_renew := p_will_renew and p_plan.billing_cycle <> 'none' and p_plan.grant_type <> 'trial'; -- @renewed-by-somebody
  v_is.payment_method := coalesce(p_payment_method, case when not p_is_beside then p_was.payment_method end);
  v_is.period_start := p_start;
  v_is.expires_at := tokenbook.period_end(p_plan, p_start);
  v_is.grace_days := tokenbook.grace_of(p_plan);
  v_is.next_plan_type := null;
  v_is.cancel_at := null;
  v_is.paused_at := null;
  v_is.taken_back_at := null;
  v_is.ended_at := null;
  v_is.schedule := tokenbook.plan_schedule(p_plan);
  v_is.next_slot_at := tokenbook.next_slot_at(v_is, p_start);
  v_is.updated_at := p_now;

  if p_is_beside then
    if exists (
      select from jsonb_array_elements(v_beside) e
       where e ->> 'plan_type' = p_plan.plan_type and (e ->> 'period_start')::timestamptz > p_start)
    then
      return p_was; -- a later period of it is there
    end if;
    v_beside := p_was.beside || tokenbook.plan_beside(v_is);
    v_is := p_was;
    v_is.updated_at := p_now;
  end if;
  -- of each plan the newest; of the one that is in force none
  v_is.beside := (
    select coalesce(jsonb_agg(newest.plan order by newest.plan ->> 'plan_type'), '[]')
      from (
        select distinct on (e.plan ->> 'plan_type') e.plan
          from jsonb_array_elements(v_beside) with ordinality as e (plan, nth)
         where e.plan ->> 'plan_type' <> v_is.plan_type
           and tokenbook.is_kept_beside(jsonb_populate_record(v_is, e.plan), p_now)
         order by e.plan ->> 'plan_type', e.nth desc) newest);
  return tokenbook.subscription_at(tokenbook.apply_provider_terms(v_is), p_now);
end
$$;
comment on function tokenbook.begin_plan is
  'A user''s subscription with a period of that plan, in the place of the one that was in force or beside it.';
