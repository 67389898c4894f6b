/*
 * What a first touch would give a user who never had a grant (tokenbook.grant_initial_plan), for callers that may not write: the
 * plan, and as its tokens what they would have of it. plan_type NULL: nothing would begin.
 * Caller: internal.
 */
create function tokenbook.plan_to_begin(p_user_id uuid)
returns public.token_plans
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans := (tokenbook.choose_initial_plan(p_user_id, p_is_new => false)).plan;
  v_asked record;
begin
  if v_plan.plan_type is null
    or exists (
      select 1 from public.token_accounts a
       where a.user_id = p_user_id and (a.state <> 'active' or a.tokens_remaining + a.tokens_reserved > 0))
    or exists (select 1 from public.token_transactions t where t.user_id = p_user_id and t.grant_ids <> '{}')
    or exists (select 1 from tokenbook.upcoming_grants u where u.user_id = p_user_id)
    or tokenbook.is_ledger_lost(p_user_id)
  then
    return null;
  end if;
  if v_plan.grant_type = 'trial' then
    v_asked := tokenbook.ask_trial(p_user_id);
    if v_asked.share = 'none' then -- @trials-asked-first
      return null;
    elsif v_asked.share = 'reduced' then
      v_plan.tokens := tokenbook.reduced_trial(v_plan, v_asked.reduced_percent, v_asked.reduced_tokens);
    end if;
  end if;
  return v_plan;
end
$$;
comment on function tokenbook.plan_to_begin is
  'The plan that a first touch would give a user who never had a grant, with the tokens that they would have of it; plan_type NULL = none.';
