/*
 * The plan that is given to a user who never had a grant, and since when it counts: the one that they are on, else the
 * default plan, if they signed up since it is given (given_to_users_since). None: plan_type is NULL.
 * tokenbook.grant_initial_plan, which gives the plan, checks all of it again under the account's lock.
 * Caller: internal.
 */
create function tokenbook.choose_initial_plan(
  p_user_id uuid,
  p_is_new boolean,
  out plan public.token_plans,
  out period_start timestamptz
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription tokenbook.subscriptions;
  v_user record;
begin
  if exists (select 1 from public.token_balances b where b.user_id = p_user_id)
    -- a counter from before the books that says 0: a fact, as a grant with 0 left is
    or exists (select 1 from tokenbook.archived_profile_counters c where c.user_id = p_user_id and c.vibe_assistant_tokens_remaining < 1)
  then
    return;
  end if;
  select u.id, coalesce(u.created_at, case when p_is_new then now() else '-infinity' end) as signed_up_at into v_user
    from auth.users u where u.id = p_user_id and tokenbook.is_user(u.id);
  if v_user.id is null then
    return;
  end if;
  select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
  if v_subscription.user_id is not null then
    v_subscription := tokenbook.subscription_at(v_subscription, clock_timestamp());
  end if;
  select p.* into plan
    from public.token_plans p
   where case when v_subscription.user_id is null then p.is_default and v_user.signed_up_at >= p.given_to_users_since
              else p.plan_type = v_subscription.plan_type and v_subscription.ended_at is null and v_subscription.paused_at is null end;
  period_start := v_subscription.period_start;
end
$$;
comment on function tokenbook.choose_initial_plan is
  'The plan that is given to a user who never had a grant, and the start of its period where they are on it; plan_type NULL = none.';
