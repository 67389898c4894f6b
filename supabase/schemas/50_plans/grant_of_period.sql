/*
 * The grant of a period of that plan, NULL when it has none: of two plans beside each other one may begin in the
 * moment in which the other does. Which plan a grant is of says its payment, else the entry that gave it. What was paid
 * for with money that is all gone is nobody's period: a renewal begins it anew, and its grant is the period's then,
 * though the first one keeps the period's name.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.grant_of_period(
  p_user_id uuid,
  p_subscription_id uuid,
  p_plan_type text,
  p_period_start timestamptz
)
returns public.token_balances
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant public.token_balances;
  v_renewed public.token_balances;
begin
  select b.* into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.subscription_id = p_subscription_id and b.period_start = p_period_start
     and coalesce(
       (select p.to_plan from public.token_payments p where p.user_id = p_user_id and p.id = b.payment_id),
       (select t.terms -> 'subscription' ->> 'plan_type' from public.token_transactions t
         where t.user_id = p_user_id and t.entry_type = 'grant' and t.action_type = any (tokenbook.grant_action_types())
           and t.created_at = b.created_at and t.grant_ids[1] = b.id),
       p_plan_type) = p_plan_type;
  if not tokenbook.is_money_gone(v_grant) then
    return v_grant;
  end if;
  select b.* into v_renewed -- @renewed-after-a-refund begin
    from public.token_transactions t
    join public.token_balances b on b.user_id = p_user_id and b.id = t.grant_ids[1]
   where t.user_id = p_user_id and t.entry_type = 'grant' and t.action_type = 'renewal_grant'
     and t.created_at >= v_grant.created_at
     and t.terms -> 'subscription' ->> 'plan_type' = p_plan_type
     and (t.terms -> 'subscription' ->> 'period_start')::timestamptz = p_period_start
     and not tokenbook.is_money_gone(row(b.*)::public.token_balances)
   order by t.id desc
   limit 1; -- @renewed-after-a-refund end
  return v_renewed;
end
$$;
comment on function tokenbook.grant_of_period is
  'The grant of a period of that plan, NULL when it has none.';
