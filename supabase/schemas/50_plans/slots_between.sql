/*
 * Which slots give something at p_at, of those that began from p_from on: the calendar's part of what is due. One row
 * a grant:
 * - of a schedule that fills up, the newest slot, and no other;
 * - of one whose tokens live for ever, all of them in one grant, of the newest slot: however many there are;
 * - of one whose tokens run out, each slot whose tokens would still live. What would have run out by now is
 *   not made up.
 * The life of a slot's tokens begins with the slot, whenever it is booked.
 * Caller: internal.   Returns first_start of slots slots, slot_start of the newest, its tokens and their expiry.
 * Keeps: I7, I11.
 */
create function tokenbook.slots_between(
  p_schedule jsonb,
  p_period_start timestamptz,
  p_until timestamptz,
  p_from timestamptz,
  p_at timestamptz
)
returns table (first_start timestamptz, slot_start timestamptz, slots integer, tokens bigint, expires_at timestamptz)
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens constant bigint := p_schedule -> 'tokens';
  v_lifetime constant interval := (p_schedule ->> 'lifetime_days')::integer * interval '24 hours';
  v_first integer;
  v_last integer;
begin
  if (p_from <= p_at) is not true then
    return;
  end if;
  v_first := tokenbook.slot_number(p_schedule, p_period_start, p_from); -- @slots-from-the-next
  v_last := tokenbook.slot_number(p_schedule, p_period_start, least(p_at, p_until - interval '1 microsecond')); -- @slots-within-the-plan
  if p_schedule ? 'refill_to' then
    v_first := greatest(v_first, v_last); -- @refills-make-nothing-up
  elsif v_lifetime is not null then
    v_first := greatest(v_first, tokenbook.slot_number(p_schedule, p_period_start, p_at - v_lifetime) + 1);
  else
    v_first := greatest(v_first, v_last + 1 - (tokenbook.limits() -> 'slots_in_one_grant')::integer);
  end if;
  if v_lifetime is null and v_first <= v_last then
    first_start := tokenbook.slot_start(p_schedule, p_period_start, v_first);
    slot_start := tokenbook.slot_start(p_schedule, p_period_start, v_last);
    slots := v_last - v_first + 1;
    tokens := v_tokens * slots;
    return next;
  elsif v_lifetime is not null then
    slots := 1;
    tokens := v_tokens;
    for v_number in v_first .. v_last
    loop
      slot_start := tokenbook.slot_start(p_schedule, p_period_start, v_number);
      first_start := slot_start;
      expires_at := slot_start + v_lifetime; -- @lives-from-the-slot
      continue when expires_at <= p_at;
      return next;
    end loop;
  end if;
end
$$;
comment on function tokenbook.slots_between is
  'Which slots from p_from on give something at p_at, one row a grant.';
