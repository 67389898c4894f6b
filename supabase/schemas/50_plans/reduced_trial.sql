/*
 * How many tokens of a trial are left of it where the policy reduces it: so many, or so many percent, at least one.
 * Caller: internal.
 */
create function tokenbook.reduced_trial(p_plan public.token_plans, p_percent integer, p_tokens bigint)
returns bigint
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(p_plan.tokens, coalesce(p_tokens, greatest(p_plan.tokens * p_percent / 100, 1)));
end
$$;
comment on function tokenbook.reduced_trial is 'How many tokens a trial has where the policy reduces it.';
