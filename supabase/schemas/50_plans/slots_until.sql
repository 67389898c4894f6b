/*
 * Until when a subscription's plan gives slots: as long as it is in force and paid. NULL = without an end. Days of grace
 * are not paid for: the renewal begins with what they would have given.
 * Caller: internal.
 */
create function tokenbook.slots_until(p_subscription public.token_subscriptions)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_subscription.expires_at;
end
$$;
comment on function tokenbook.slots_until is
  'Until when a subscription''s plan gives slots; NULL = without an end.';
