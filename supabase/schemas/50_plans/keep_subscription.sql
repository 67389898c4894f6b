/*
 * Writes a subscription's row, a new one or in the place of the one that there is. What its
 * schedule makes the account due then is the caller's to say (tokenbook.bring_due_forward).
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.keep_subscription(p_subscription tokenbook.subscriptions)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into tokenbook.subscriptions as s select p_subscription.*
  on conflict (user_id) do update
     set plan_type = excluded.plan_type,
         articles_limit = excluded.articles_limit,
         features = excluded.features,
         billing_cycle = excluded.billing_cycle,
         auto_renew = excluded.auto_renew,
         payment_method = excluded.payment_method,
         payment_id = excluded.payment_id,
         period_start = excluded.period_start,
         expires_at = excluded.expires_at,
         grace_days = excluded.grace_days,
         next_plan_type = excluded.next_plan_type,
         schedule = excluded.schedule,
         next_slot_at = excluded.next_slot_at,
         cancel_at = excluded.cancel_at,
         paused_at = excluded.paused_at,
         taken_back_at = excluded.taken_back_at,
         ended_at = excluded.ended_at,
         beside = excluded.beside,
         updated_at = excluded.updated_at;
end
$$;
comment on function tokenbook.keep_subscription is
  'Writes a subscription''s row: all but the plan limit, and what never changes of it.';
