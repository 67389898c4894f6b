/*
 * In which slot of a period a moment lies: a slot lasts from its start until the next one's, which is not of it.
 * Negative before the period.
 * Caller: internal.
 */
create function tokenbook.slot_number(p_schedule jsonb, p_period_start timestamptz, p_at timestamptz)
returns integer
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moved interval := tokenbook.moved_by(p_schedule);
  v_from timestamp := (p_period_start + v_moved) at time zone 'utc';
  v_at timestamp := (p_at + v_moved) at time zone 'utc';
  v_months integer;
begin
  if p_at < p_period_start then
    return -1;
  end if;
  if p_schedule ->> 'on' = 'calendar' then
    v_from := date_trunc(p_schedule ->> 'every', v_from);
  end if;
  if p_schedule ->> 'every' <> 'month' then
    return floor(extract(epoch from v_at - v_from) / case p_schedule ->> 'every' when 'day' then 86400 else 604800 end);
  end if;
  v_months := 12 * (extract(year from v_at) - extract(year from v_from)) + extract(month from v_at) - extract(month from v_from);
  return v_months - (v_from + make_interval(months => v_months) > v_at)::integer;
end
$$;
comment on function tokenbook.slot_number is
  'The number, from 0, of the slot of a period in which a moment lies; negative before the period.';
