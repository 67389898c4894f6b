/*
 * Refuses what would lead to a trial that the policy does not give: a payment to ask for, a checkout, a downgrade at
 * the end of the period. So a user is not asked for money, or left waiting, for a trial that they will not get.
 * Caller: internal.   Errors: trial_already_taken, trial_needs_identity.
 */
create function tokenbook.require_trial(p_user_id uuid, p_plan_type text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_refusal text;
begin
  if exists (select 1 from public.token_plans p where p.plan_type = p_plan_type and p.grant_type = 'trial') then
    v_refusal := (tokenbook.ask_trial(p_user_id)).refusal;
    if v_refusal is not null then
      perform tokenbook.refuse(v_refusal, '{}');
    end if;
  end if;
end
$$;
comment on function tokenbook.require_trial is
  'Refuses a plan whose grants are trials to whom the policy gives none.';
