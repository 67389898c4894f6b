/*
 * Which slot of a period is the next when all are booked that it gives until p_at: never one before the next that it
 * has now, so no slot comes twice. NULL = none.
 * Caller: internal.   Keeps: I12.
 */
create function tokenbook.slot_after(p_period tokenbook.subscriptions, p_at timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_period.next_slot_at <= p_at) is not true then
    return p_period.next_slot_at;
  end if;
  return tokenbook.next_slot_at(p_period, greatest(
    p_period.next_slot_at - interval '1 microsecond',
    least(p_at, tokenbook.slots_until(p_period) - interval '1 microsecond'))); -- @each-slot-once
end
$$;
comment on function tokenbook.slot_after is
  'Which slot of a period is the next when all are booked that it gives until p_at; NULL = none.';
