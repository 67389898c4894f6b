/*
 * How much there is to book on an account now, counted in grants (a hold, a grant that begins or a slot of a plan is as much as five, to look
 * at a plan that is due as ten); more than any call books where it is behind. For functions that process many accounts in one
 * call, with one bound for all of them.
 * Caller: internal.   Keeps: I11.
 */
create function tokenbook.due_work(p_user_id uuid)
returns bigint
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_of_plan bigint;
begin
  if not exists (select 1 from public.token_accounts a where a.user_id = p_user_id and a.next_due_at <= v_now) then
    return 0; -- as a rule
  elsif tokenbook.has_backlog(p_user_id) then
    return 1000000;
  end if;
  v_of_plan := case when tokenbook.plan_due_at(p_user_id) <= v_now then 10 else 0 end;
  v_of_plan := v_of_plan + (select 5 * count(*) from tokenbook.due_slots(p_user_id, v_now));
  return (
    select count(*) from public.token_balances b
     where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now) + (
    select 5 * count(*) + coalesce(sum(cardinality(h.grant_ids)), 0) from public.token_holds h
     where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= v_now) + (
    select 5 * count(*) from tokenbook.upcoming_grants u where u.user_id = p_user_id and u.starts_at <= v_now) + v_of_plan;
end
$$;
comment on function tokenbook.due_work is
  'How much there is to book on an account now, counted in grants.';
