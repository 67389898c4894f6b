/*
 * Whether a plan that somebody is to be on from their next period begins by itself: one that costs nothing, for no payment
 * could begin it. A trial does not: it begins with its tokens, and the policy is asked then.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.begins_by_itself(p_plan public.token_plans)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_plan.price_cents = 0 and p_plan.grant_type <> 'trial'; -- @trials-begin-with-tokens
end
$$;
comment on function tokenbook.begins_by_itself is
  'Whether a plan begins by itself when the period before it ends: one that costs nothing and is no trial.';
