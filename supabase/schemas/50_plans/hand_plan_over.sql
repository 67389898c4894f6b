/*
 * Makes the plan that a payment began the plan of another: one that was booked before it was known as a part of that.
 * Caller: internal, holding the account's lock.   Keeps: I9, I10.
 */
create function tokenbook.hand_plan_over(
  p_from public.token_payments,
  p_to public.token_payments,
  p_actor_role text,
  p_actor_id uuid
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
  select s.* into v_is from tokenbook.subscriptions s where s.user_id = p_from.user_id;
  if v_is.user_id is null then
    return;
  end if;
  if v_is.payment_id = p_from.id::text then
    v_is.payment_id := p_to.id;
  end if;
  v_is.beside := (
    select coalesce(jsonb_agg(
             case when e.plan ->> 'payment_id' = p_from.id::text
                  then e.plan || jsonb_build_object('payment_id', p_to.id) else e.plan end
             order by e.nth), '[]')
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth));
  v_entry.reason := 'a payment was part of another';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  perform tokenbook.change_subscription(v_is, v_entry);
end
$$;
comment on function tokenbook.hand_plan_over is
  'Makes the plan that one payment began the plan of another, of which that one was a part.';
