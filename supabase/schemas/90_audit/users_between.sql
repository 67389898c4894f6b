/*
 * The users of a piece by their ids: of one user that user, of everybody NULL, otherwise all after p_after up to p_until
 * that any table of the books has, also those without an account. Two ends of a range say nothing to the planner where
 * both lie between two values of its histogram: it takes what is there for one row, and joins the rows of a piece one
 * by one with each other. So many ids it takes for what they are.
 * Caller: internal.   Locks: nothing.
 */
create function tokenbook.users_between(p_user_id uuid, p_after uuid, p_until uuid)
returns uuid[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- the ends that are not given are no condition
as $$
begin
  if p_user_id is not null then
    return array[p_user_id];
  elsif p_after is null and p_until is null then
    return null;
  end if;
  return array(
    select x.user_id from public.token_accounts x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_balances x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_transactions x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_usage x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_holds x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_legacy_transactions x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_payments x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_storage_quotas x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_team_members x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_alerts x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from public.token_top_up_requests x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.archived_usage x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.changes x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.code_redemptions x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.provider_payments x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.subscriptions x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.upcoming_grants x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.user_id from tokenbook.referrals x where (p_after is null or x.user_id > p_after) and (p_until is null or x.user_id <= p_until)
    union
    select x.referrer_id from tokenbook.referrals x where (p_after is null or x.referrer_id > p_after) and (p_until is null or x.referrer_id <= p_until)
    order by 1);
end
$$;
comment on function tokenbook.users_between is
  'The users of a piece of the books: all after p_after up to p_until that any of its tables has; NULL: everybody.';
