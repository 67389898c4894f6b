/*
 * Whether that plan is in force for a user now, by time and by what their provider has said, recorded or not; a member
 * of a team has their payer's. The plan that a first touch would give counts. A frozen account keeps its plan.
 * For policies, as tokenbook.can_spend_tokens is: writes nothing, locks nothing.
 * Caller: the user for themself (p_user_id left out), an admin, service_role. A caller who may not ask, or is not signed in, is
 * answered false; of a plan that the catalogue does not have it says so, or a misspelled policy would let nobody in, silently.
 * Locks: nothing.   Errors: invalid_user_id, plan_not_found, subject_not_registered.   Keeps: I9.
 */
-- Security definer: a policy runs as the signed-in user, who may not read what is looked at here.
create function tokenbook.has_token_plan(
  p_plan_type text,
  p_user_id uuid default tokenbook.caller_id()
)
returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account_id uuid;
begin
  if not tokenbook.is_plain_server_call(p_user_id) and not tokenbook.is_call_answered(p_user_id) then
    return false; -- @plans-of-ones-own
  end if;

  v_account_id := tokenbook.paying_account(p_user_id); -- @plan-of-the-payer
  if exists (select 1 from public.token_subscriptions s where s.user_id = v_account_id and s.plan_type = p_plan_type)
    or (tokenbook.plan_to_begin(v_account_id)).plan_type = p_plan_type
  then
    return true;
  elsif not exists (select 1 from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;
  return false;
end
$$;
comment on function tokenbook.has_token_plan is
  'Whether that plan is in force for the user now; a member of a team has their payer''s. Stable, for row level security: write (select has_token_plan(''pro'')), and it is asked once a statement. For the user themself (leave p_user_id out), an admin, or the server; to anybody else, and without a user, it says false. Errors: plan_not_found (the catalogue has no such plan), invalid_user_id (the server, without a user), subject_not_registered.';
