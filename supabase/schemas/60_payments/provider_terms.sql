/*
 * What a provider says of a period of a plan that was paid there: since when it is paused, when it ends, and whether
 * it will be charged for again (NULL: it says nothing of the period). Whose state counts, the period's payment says:
 * - It names its subscription: that one's, whatever its plan is by now, and no other's.
 * - It names neither a subscription nor when its period began: nobody's. It was a single payment.
 * - It says when its period began, but not by which subscription, or the period has no payment of the provider's: that
 *   of each of the user's subscriptions to the plan.
 * Of several subscriptions, what is best for the user: one that runs and has no end is enough. What was
 * over when the period began, or was paused before it was paid, says nothing of it: a user who pays again gets what they
 * paid for at once. What ends in the very moment in which the period began is over before it, unless it is the
 * subscription that paid for the period: then it was cancelled at once.
 * Caller: internal.
 */
create function tokenbook.provider_terms(
  p_user_id uuid,
  p_provider text,
  p_plan_type text,
  p_period_start timestamptz,
  p_expires_at timestamptz,
  p_payment_id text,
  out cancel_at timestamptz,
  out paused_at timestamptz,
  out will_renew boolean
)
returns record
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_own_id text;
  v_is_single boolean;
begin
  select f.subscription_id, num_nonnulls(f.subscription_id, f.period_start) = 0
    into v_own_id, v_is_single
    from public.token_payments y
    join tokenbook.provider_payments f on f.provider = y.provider and f.provider_payment_id = y.provider_payment_id
   where y.user_id = p_user_id and y.id = tokenbook.payment_id_in(p_payment_id); -- @payments-by-their-index
  if v_is_single then -- @single-payments-stand-alone
    return;
  end if;
  select case when bool_or(s.is_running and s.ends_at is null) then null
              else max(s.ends_at) filter (where s.is_running) end,
         case when bool_or(s.is_running) then null else min(s.since) end,
         bool_or(s.ends_at is null)
    into cancel_at, paused_at, will_renew
    from (
      select f.provider_subscription_id as id, f.occurred_at as since,
             f.status <> 'paused' or f.occurred_at < p_period_start as is_running,
             coalesce(f.cancel_at, case when f.status = 'cancelled' then coalesce(f.current_period_end, p_expires_at, f.occurred_at) end) as ends_at
        from (
          select own.*
            from tokenbook.provider_subscriptions own
           where own.provider = p_provider and own.provider_subscription_id = v_own_id -- @own-whatever-its-plan
          union all
          select any_one.*
            from tokenbook.provider_subscriptions any_one
           where v_own_id is null -- @no-other-than-own
             and any_one.provider = p_provider and any_one.plan_type = p_plan_type
             and (any_one.user_id = p_user_id
               or any_one.user_id is null and any_one.customer_id in (
                 select c.customer_id from tokenbook.provider_customers c
                  where c.provider = p_provider and c.user_id = p_user_id))) f) s
   where (s.ends_at <= p_period_start) is not true -- @the-past-says-nothing
      or s.id = v_own_id and s.ends_at = p_period_start; -- @cancelled-at-once
end
$$;
comment on function tokenbook.provider_terms is
  'What a provider says of a period that was paid there: since when it is paused, when it ends, and whether it renews.';
