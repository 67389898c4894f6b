/*
 * When the slot of that number begins. A period's slots are numbered from 0, which begins with the period. On the
 * anniversary the others are whole days, weeks or months after that, counted from the period's start and not from
 * the slot before: what began on the 31st is on the last day of a shorter month and on the 31st again. On the
 * calendar they are at midnight, on Mondays, on the first of the month. All in UTC. Of a test user whose past was moved
 * (tokenbook.move_past) they are where they were to be before, by the calendar of that time.
 * Caller: internal.
 */
create function tokenbook.slot_start(p_schedule jsonb, p_period_start timestamptz, p_number integer)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moved interval := tokenbook.moved_by(p_schedule);
  v_from timestamp := (p_period_start + v_moved) at time zone 'utc';
begin
  if p_number = 0 then
    return p_period_start;
  end if;
  if p_schedule ->> 'on' = 'calendar' then
    v_from := date_trunc(p_schedule ->> 'every', v_from);
  end if;
  return (v_from + case p_schedule ->> 'every'
    when 'day' then make_interval(days => p_number)
    when 'week' then make_interval(weeks => p_number)
    else make_interval(months => p_number)
  end) at time zone 'utc' - v_moved; -- @slots-on-their-days
end
$$;
comment on function tokenbook.slot_start is
  'When the slot of that number, from 0, of a period that began then begins.';
