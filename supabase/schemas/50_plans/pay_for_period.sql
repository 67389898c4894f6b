/*
 * Makes a period that was begun before it was paid for the one of that payment, so that its slots come and go with the
 * money.
 * p_entry: user_id, payment_id, actor_role, actor_id.
 * Caller: tokenbook.start_period, holding the account's lock.   Keeps: I9, I10, I12.
 */
create function tokenbook.pay_for_period(
  p_plan_type text,
  p_period_start timestamptz,
  p_entry public.token_transactions
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions;
  v_entry public.token_transactions;
begin
  select s.* into v_is from tokenbook.subscriptions s where s.user_id = p_entry.user_id;
  if v_is.payment_id is null and v_is.plan_type = p_plan_type and v_is.period_start = p_period_start then
    v_is.payment_id := p_entry.payment_id;
  end if;
  v_is.beside := (
    select coalesce(jsonb_agg(
             case when one.payment_id is null and one.plan_type = p_plan_type and one.period_start = p_period_start
                  then e.plan || jsonb_build_object('payment_id', p_entry.payment_id) else e.plan end
             order by e.nth), '[]')
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth)
     cross join lateral jsonb_populate_record(v_is, e.plan) one);
  v_entry.reason := p_plan_type || ' was paid for';
  v_entry.actor_role := p_entry.actor_role;
  v_entry.actor_id := p_entry.actor_id;
  perform tokenbook.change_subscription(v_is, v_entry);
end
$$;
comment on function tokenbook.pay_for_period is
  'Makes a period that was begun before it was paid for the one of that payment; the caller holds the account''s lock.';
