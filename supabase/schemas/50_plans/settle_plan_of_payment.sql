/*
 * Takes the plan that a payment bought out of force when all of its money is gone, and puts it back in when not all
 * is any more: with its period, its storage, and what was beside it. A plan that a later payment has renewed belongs to that
 * payment. The user who was on it gets an alert that it ended.
 * Caller: internal, holding the account's lock.   Keeps: I9, I10.
 */
create function tokenbook.settle_plan_of_payment(
  p_payment public.token_payments,
  p_is_taken_back boolean,
  p_actor_role text,
  p_actor_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
declare
  v_is tokenbook.subscriptions;
  v_now timestamptz := clock_timestamp();
  v_taken_back_at timestamptz := case when p_is_taken_back then v_now end; -- @plan-follows-the-money
  v_entry public.token_transactions;
begin
  select s.* into v_is from tokenbook.subscriptions s where s.user_id = p_payment.user_id;
  if v_is.user_id is null then
    return;
  end if;
  if v_is.payment_id = p_payment.id::text and (v_is.taken_back_at is not null) <> p_is_taken_back then
    v_is.taken_back_at := v_taken_back_at;
  end if;
  v_is.beside := (
    select coalesce(jsonb_agg(
             case when e.plan ->> 'payment_id' = p_payment.id::text
                       and (e.plan ->> 'taken_back_at' is not null) <> p_is_taken_back
                  then e.plan || jsonb_build_object('taken_back_at', v_taken_back_at) else e.plan end
             order by e.nth), '[]')
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth));
  v_entry.reason := case when p_is_taken_back then 'the money for ' || p_payment.to_plan || ' is gone'
                         else 'the money for ' || p_payment.to_plan || ' came back' end;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  perform tokenbook.change_subscription(tokenbook.subscription_at(v_is, v_now), v_entry);
  perform tokenbook.tell_of_ends(v_is, v_now); -- @refunds-tell-the-end
end
$$;
comment on function tokenbook.settle_plan_of_payment is
  'Takes the plan that a payment bought out of force when all of its money is gone, and back in when not all is any more.';
