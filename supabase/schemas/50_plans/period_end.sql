/*
 * When a period of that cycle ends; NULL = it does not. Months and years are the calendar's, in
 * UTC: what began on the 31st ends on the last day of a shorter month.
 * Caller: internal.
 */
create function tokenbook.period_end(p_billing_cycle text, p_start timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_billing_cycle
    when '28day' then p_start + interval '672 hours'
    when 'monthly' then (p_start at time zone 'utc' + interval '1 month') at time zone 'utc' -- @months-in-utc
    when 'annual' then (p_start at time zone 'utc' + interval '1 year') at time zone 'utc'
  end;
end
$$;
comment on function tokenbook.period_end is 'End of a billing period that begins then; NULL when the cycle has no end.';
