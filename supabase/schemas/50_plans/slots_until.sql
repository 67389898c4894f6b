/*
 * Until when a subscription's plan gives slots: as long as it is in force and paid. NULL = without an end. Days of grace
 * are not paid for: the renewal begins with what they would have given. Nor is a pause, or a plan whose money is gone.
 * Caller: internal.
 */
create function tokenbook.slots_until(p_subscription tokenbook.subscriptions)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(
    p_subscription.expires_at, p_subscription.cancel_at, p_subscription.paused_at, p_subscription.taken_back_at,
    p_subscription.ended_at);
end
$$;
comment on function tokenbook.slots_until is
  'Until when a subscription''s plan gives slots; NULL = without an end.';
