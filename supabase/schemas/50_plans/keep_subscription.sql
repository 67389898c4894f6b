/*
 * Writes a subscription's row, a new one or in the place of the one that there is. What its
 * schedule makes the account due then the caller must note (tokenbook.bring_due_forward). Writes a webhook (token_plan.changed)
 * when another plan is in force than before; that none is any more is an alert (tokenbook.tell_of_ends).
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.keep_subscription(p_subscription tokenbook.subscriptions)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was tokenbook.subscriptions;
begin
  if p_subscription.ended_at is null and pg_relation_size('tokenbook.webhook_endpoints') > 0 then
    select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_subscription.user_id;
    if v_was.ended_at is not null or v_was.plan_type is distinct from p_subscription.plan_type then
      perform tokenbook.write_webhook('token_plan.changed', p_subscription.user_id, clock_timestamp(), jsonb_build_object(
        'plan_type', p_subscription.plan_type,
        'previous_plan_type', case when v_was.ended_at is null then v_was.plan_type end,
        'expires_at', p_subscription.expires_at));
    end if;
  end if;
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
