/*
 * The schedule on which a plan gives its tokens, as a subscription keeps it from the moment that its period begins:
 * {every, on, tokens (of a slot), refill_to, lifetime_days, grant_type}. NULL: the period's tokens are given at once.
 * Caller: internal.
 */
create function tokenbook.plan_schedule(p_plan public.token_plans)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_plan.issue_every is not null then jsonb_strip_nulls(jsonb_build_object(
    'every', p_plan.issue_every, 'on', p_plan.issue_on, 'tokens', p_plan.tokens, 'refill_to', p_plan.refill_to,
    'lifetime_days', p_plan.grant_lifetime_days, 'grant_type', p_plan.grant_type)) end;
end
$$;
comment on function tokenbook.plan_schedule is
  'The schedule on which a plan gives its tokens, as a subscription keeps it; NULL: all of a period at once.';
