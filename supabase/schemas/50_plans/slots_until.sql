/*
 * Until when a period gives slots; NULL = without an end. One that was paid for gives what was paid for: until its end,
 * or until all of its money is gone, whether its plan is in force or not. One that nobody paid for gives as long as its
 * plan is in force. Days of grace are not paid for: the renewal begins with what they would have given.
 * Caller: internal.   Keeps: I12.
 */
create function tokenbook.slots_until(p_subscription tokenbook.subscriptions)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_subscription.payment_id is not null then
    return least(p_subscription.expires_at, p_subscription.taken_back_at); -- @paid-slots-come
  end if;
  return least(
    p_subscription.expires_at, p_subscription.cancel_at, p_subscription.paused_at, p_subscription.taken_back_at,
    p_subscription.ended_at);
end
$$;
comment on function tokenbook.slots_until is
  'Until when a period gives slots; NULL = without an end.';
