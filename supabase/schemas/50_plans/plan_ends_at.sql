/*
 * When a plan that nobody renews is over: at the end of what was paid and its days of grace, or when it was
 * cancelled for, whichever comes first; NULL = never.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.plan_ends_at(p_subscription tokenbook.subscriptions)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(
    p_subscription.cancel_at, -- @cancelled-has-no-grace
    p_subscription.expires_at + p_subscription.grace_days * interval '24 hours'); -- @grace-after-the-end
end
$$;
comment on function tokenbook.plan_ends_at is
  'When a plan that nobody renews is over: the end of its grace, or its cancellation; NULL = never.';
