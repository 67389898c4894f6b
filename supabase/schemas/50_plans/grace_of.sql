/*
 * Days of grace that a period of that plan begins with: what the plan says, else 3 where it costs something. A trial has
 * none.
 * Caller: internal.
 */
create function tokenbook.grace_of(p_plan public.token_plans)
returns integer
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_plan.grant_type = 'trial' then 0
    else coalesce(p_plan.grace_days, case when p_plan.price_cents > 0 then 3 else 0 end) end;
end
$$;
comment on function tokenbook.grace_of is
  'Days of grace that a period of that plan begins with: its own, else 3 where it costs something and 0 where not; of a trial 0.';
