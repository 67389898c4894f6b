/*
 * When a subscription's next slot begins after that moment; NULL = its plan has no schedule, or is over before.
 * Caller: internal.
 */
create function tokenbook.next_slot_at(p_subscription tokenbook.subscriptions, p_after timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  if p_subscription.schedule is null then
    return null; -- as a rule
  end if;
  v_at := tokenbook.slot_start(
    p_subscription.schedule, p_subscription.period_start,
    tokenbook.slot_number(p_subscription.schedule, p_subscription.period_start, p_after) + 1);
  return case when v_at < coalesce(p_subscription.expires_at, 'infinity') then v_at end;
end
$$;
comment on function tokenbook.next_slot_at is
  'When a subscription''s next slot begins after that moment; NULL = there is none.';
