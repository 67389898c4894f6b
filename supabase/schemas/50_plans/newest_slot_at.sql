/*
 * Which slot of a subscription is due first when nothing is made up of what began before p_at: the one in which that
 * lies, or the next one that is not booked, if that comes later. NULL = none in this period.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.newest_slot_at(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  if p_subscription.next_slot_at is null then
    return null; -- as a rule
  end if;
  v_at := greatest(p_subscription.next_slot_at, tokenbook.slot_start( -- @frozen-time-is-lost
    p_subscription.schedule, p_subscription.period_start,
    tokenbook.slot_number(p_subscription.schedule, p_subscription.period_start, greatest(p_at, p_subscription.period_start))));
  return case when v_at < coalesce(p_subscription.expires_at, 'infinity') then v_at end;
end
$$;
comment on function tokenbook.newest_slot_at is
  'Which slot of a subscription is due first when nothing is made up of what began before p_at; NULL = none.';
