/*
 * Gives the plan's tokens to a user who never had a grant: at registration, or, for a user whom
 * registration missed, with the first call that touches their books. Once, under any concurrency: "never had a
 * grant" is checked again under the lock, and it is a fact of the books, not a reading of the
 * balance. A user who spent everything stays at zero.
 * A user without a subscription gets the default plan; where there is none, or they signed up before
 * it is given (given_to_users_since), nothing: a default plan that is added to a project in
 * production is for the users who sign up from then on, not for those who are there. A user without a date of sign-up is
 * new only while they sign up.
 * A grant to come counts as a grant, begun or not: what is given does not depend on when the books are touched.
 * A default plan whose grants are trials is given as the policy says (tokenbook.take_trial): where that is nothing,
 * no plan begins either. During sign-up the user's identities are not known yet: the first touch afterwards gives it.
 * Nor does it give anything to a frozen account, or where grants have been and are gone: the account or the ledger says so.
 * Caller: internal.   Locks: the account.   Errors: account_lost.   Keeps: I5, I9.
 */
create function tokenbook.grant_initial_plan(p_user_id uuid, p_is_new boolean default false)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chosen record;
  v_plan public.token_plans;
  v_entry public.token_transactions;
begin
  if exists (select 1 from public.token_balances b where b.user_id = p_user_id) then
    return; -- as a rule
  elsif exists (select 1 from tokenbook.upcoming_grants u where u.user_id = p_user_id) then
    return;
  elsif exists (
    select 1 from public.token_accounts a
     where a.user_id = p_user_id and a.tokens_remaining + a.tokens_reserved > 0
       and not exists (select 1 from public.token_balances b where b.user_id = p_user_id)
       and not exists (
         select 1 from tokenbook.archived_profile_counters c
          where c.user_id = p_user_id and c.vibe_assistant_tokens_remaining < 1))
  then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  v_chosen := tokenbook.choose_initial_plan(p_user_id, p_is_new);
  v_plan := v_chosen.plan;
  if v_plan.plan_type is null or (p_is_new and v_plan.grant_type = 'trial') then -- @trials-know-identities
    return;
  end if;

  if tokenbook.is_frozen(tokenbook.lock_account(p_user_id, p_create => true), null) then -- @no-plan-while-frozen
    return;
  end if;
  if exists (select 1 from public.token_balances b where b.user_id = p_user_id) then -- @initial-plan-after-lock
    return; -- somebody was faster
  end if;
  if exists (select 1 from public.token_transactions t where t.user_id = p_user_id and t.grant_ids <> '{}') -- @ledger-asked-too
    or tokenbook.is_ledger_lost(p_user_id)
  then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := v_plan.plan_type || ' plan';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  perform tokenbook.start_period(v_plan, v_chosen.period_start, null, null, v_entry);
end
$$;
comment on function tokenbook.grant_initial_plan is
  'Gives a user who never had a grant the tokens of their plan, or of the default plan; once. p_is_new: they sign up just now.';
