/*
 * The plan that follows a subscription's when its period ends, if it begins by itself: the one that was asked for, as the
 * catalogue has it then. Null: none. What is paused, cancelled or taken back before that is not followed.
 * Caller: internal, and readers of token_subscriptions.
 */
create function tokenbook.plan_after(p_subscription tokenbook.subscriptions)
returns public.token_plans
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
begin
  if p_subscription.next_plan_type is null
    or least(p_subscription.taken_back_at, p_subscription.paused_at, tokenbook.plan_ends_at(p_subscription))
       < p_subscription.expires_at -- @stopped-is-not-followed
  then
    return null;
  end if;
  v_plan := tokenbook.plan_at(p_subscription.next_plan_type, p_subscription.expires_at);
  return case when tokenbook.begins_by_itself(v_plan) then v_plan end;
end
$$;
comment on function tokenbook.plan_after is
  'The plan that begins by itself when the period of a subscription ends; null: none.';
