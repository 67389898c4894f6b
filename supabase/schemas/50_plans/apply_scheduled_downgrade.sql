/*
 * Records a downgrade whose period has ended, when the lower plan costs nothing: there is no payment that could do it,
 * and nothing may depend on a job (tokenbook.subscription_at). Gives no tokens and takes none. A
 * plan that costs something begins with its payment or renewal.
 * Caller: internal.   Locks: the account.   Keeps: I9.
 */
create function tokenbook.apply_scheduled_downgrade(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was public.token_subscriptions;
  v_is public.token_subscriptions;
begin
  perform tokenbook.lock_account(p_user_id);
  select s.* into v_was from public.token_subscriptions s where s.user_id = p_user_id;
  v_is := tokenbook.subscription_at(v_was, clock_timestamp());
  if v_is is not distinct from v_was then
    return; -- as a rule
  end if;
  update public.token_subscriptions s
     set plan_type = v_is.plan_type,
         articles_limit = v_is.articles_limit,
         features = v_is.features,
         billing_cycle = v_is.billing_cycle,
         auto_renew = v_is.auto_renew,
         payment_method = v_is.payment_method,
         payment_id = v_is.payment_id,
         period_start = v_is.period_start,
         expires_at = v_is.expires_at,
         next_plan_type = v_is.next_plan_type,
         schedule = v_is.schedule,
         next_slot_at = v_is.next_slot_at,
         updated_at = clock_timestamp()
   where s.user_id = p_user_id;
  perform tokenbook.bring_due_forward(p_user_id, tokenbook.schedule_due_at(p_user_id));
  perform tokenbook.refresh_alert_thresholds(p_user_id);
end
$$;
comment on function tokenbook.apply_scheduled_downgrade is
  'Puts a downgrade to a plan without a price into effect once its period has ended; changes no tokens.';
