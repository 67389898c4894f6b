/*
 * A subscription's row with what providers say of each of its plans: since when it is paused, and when it ends. Says
 * it anew each time, from what is known now, so that it does not matter which event came first, or a payment before
 * them.
 * Caller: internal.
 */
create function tokenbook.apply_provider_terms(p_subscription tokenbook.subscriptions)
returns tokenbook.subscriptions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- a moment's text must not depend on the session's time zone
as $$
declare
  v_was_paused constant boolean := p_subscription.paused_at is not null;
begin
  if p_subscription.cancel_at is null and p_subscription.paused_at is null
    and not jsonb_path_exists(p_subscription.beside, '$[*] ? (@.cancel_at != null || @.paused_at != null)')
    and not exists ( -- as a rule
    select 1 from tokenbook.provider_subscriptions f where f.user_id = p_subscription.user_id
    union all
    select 1 from tokenbook.provider_customers c
      join tokenbook.provider_subscriptions f on f.provider = c.provider and f.customer_id = c.customer_id
     where c.user_id = p_subscription.user_id
    union all -- one that names nobody we know is told from its payments
    select 1 from public.token_payments y
      join tokenbook.provider_payments f on f.provider = y.provider and f.provider_payment_id = y.provider_payment_id
      join tokenbook.provider_subscriptions s on s.provider = f.provider and s.provider_subscription_id = f.subscription_id
     where y.user_id = p_subscription.user_id
       and y.id = any (array( -- by their index
         select tokenbook.payment_id_in(p_subscription.payment_id)
         union all
         select tokenbook.payment_id_in(e.plan ->> 'payment_id') from jsonb_array_elements(p_subscription.beside) e (plan))))
  then
    return p_subscription;
  end if;
  select t.cancel_at, t.paused_at, coalesce(t.will_renew, p_subscription.auto_renew) -- @providers-renew
    into p_subscription.cancel_at, p_subscription.paused_at, p_subscription.auto_renew
    from tokenbook.provider_terms(
      p_subscription.user_id, p_subscription.payment_method, p_subscription.plan_type,
      p_subscription.period_start, p_subscription.expires_at, p_subscription.payment_id) t;
  if v_was_paused and p_subscription.paused_at is null and p_subscription.payment_id is null then
    -- nobody paid for what a pause left out; the newest slot is given
    p_subscription.next_slot_at := tokenbook.newest_slot_at(p_subscription, clock_timestamp());
  end if;
  p_subscription.beside := (
    select coalesce(jsonb_agg(
             e.plan || jsonb_build_object(
               'cancel_at', t.cancel_at, 'paused_at', t.paused_at,
               'auto_renew', coalesce(t.will_renew, one.auto_renew)) order by e.nth), '[]')
      from jsonb_array_elements(p_subscription.beside) with ordinality as e (plan, nth)
     cross join lateral jsonb_populate_record(p_subscription, e.plan) one
     cross join lateral tokenbook.provider_terms(
       one.user_id, one.payment_method, one.plan_type, one.period_start, one.expires_at, one.payment_id) t);
  return p_subscription;
end
$$;
comment on function tokenbook.apply_provider_terms is
  'A subscription''s row with what providers say of each of its plans now: paused, cancelled.';
