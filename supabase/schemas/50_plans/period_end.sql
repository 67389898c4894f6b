/*
 * When a period of that plan ends; NULL = it does not. A trial ends with its tokens, whatever the plan's cycle says.
 * Months and years are the calendar's, in UTC: what began on the 31st ends on the last day of a shorter month.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.period_end(p_plan public.token_plans, p_start timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_plan.grant_type = 'trial' then
    return p_start + p_plan.grant_lifetime_days * interval '24 hours'; -- @trials-end
  end if;
  return case p_plan.billing_cycle
    when '28day' then p_start + interval '672 hours'
    when 'monthly' then (p_start at time zone 'utc' + interval '1 month') at time zone 'utc' -- @months-in-utc
    when 'annual' then (p_start at time zone 'utc' + interval '1 year') at time zone 'utc'
  end;
end
$$;
comment on function tokenbook.period_end is
  'End of a period of that plan that begins then: of a trial, when its tokens end; NULL when the cycle has no end.';
