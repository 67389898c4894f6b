/*
 * Puts a downgrade into effect whose period has ended, when the lower plan costs nothing: there is
 * no payment that could do it, and nothing may depend on a job. Gives no tokens and takes none. A
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
begin
  perform tokenbook.lock_account(p_user_id);
  update public.token_subscriptions s
     set plan_type = p.plan_type,
         articles_limit = p.articles_limit,
         features = p.features,
         billing_cycle = p.billing_cycle,
         auto_renew = p.billing_cycle <> 'none',
         payment_method = null,
         payment_id = null,
         period_start = s.expires_at,
         expires_at = tokenbook.period_end(p.billing_cycle, s.expires_at),
         next_plan_type = null,
         updated_at = clock_timestamp()
    from public.token_plans p
   where s.user_id = p_user_id
     and p.plan_type = s.next_plan_type
     and p.price_cents = 0
     and s.expires_at <= clock_timestamp();
  if found then
    perform tokenbook.refresh_alert_thresholds(p_user_id);
  end if;
end
$$;
comment on function tokenbook.apply_scheduled_downgrade is
  'Puts a downgrade to a plan without a price into effect once its period has ended; changes no tokens.';
