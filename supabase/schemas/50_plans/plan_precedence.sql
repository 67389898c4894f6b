/*
 * Which of two plans of a user counts: the one for which this is higher. What somebody pays for comes before what
 * nobody does, whatever their ranks; then the higher rank. Paid for is what costs something, and what came with a
 * payment of more than nothing, or with a number that is no payment of ours (a contract's, another provider's).
 * NULL for a plan that has left the catalogue.
 * Of the row it looks at user_id, plan_type and payment_id.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.plan_precedence(p_subscription tokenbook.subscriptions)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select p.rank + case when p.price_cents > 0 or p_subscription.payment_id is not null and not exists (
             select 1 from public.token_payments y
              where y.user_id = p_subscription.user_id and y.id = tokenbook.payment_id_in(p_subscription.payment_id) and y.amount_cents = 0)
           then 10000000000 else 0 end -- @paid-before-unpaid
      from public.token_plans p
     where p.plan_type = p_subscription.plan_type);
end
$$;
comment on function tokenbook.plan_precedence is
  'Which of two plans of a user counts: what somebody pays for before what nobody does, then the higher rank.';
