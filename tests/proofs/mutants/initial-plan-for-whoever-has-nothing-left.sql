-- The rule of the seed: a balance that is NULL or 0 is filled up from the plan.
create or replace function tokenbook.grant_initial_plan(p_user_id uuid, p_is_new boolean default false)
returns void language plpgsql volatile security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
  v_entry public.token_transactions;
begin
  if coalesce((select a.tokens_remaining from public.token_accounts a where a.user_id = p_user_id), 0) > 0 then
    return;
  end if;
  select p.* into v_plan from public.token_plans p where p.is_default;
  v_entry.user_id := p_user_id;
  v_entry.reason := 'plan';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  perform tokenbook.start_period(v_plan, null, null, null, v_entry);
end
$$;
create or replace function tokenbook.get_user_token_balance(p_user_id uuid default tokenbook.caller_id())
returns jsonb language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.grant_initial_plan(p_user_id);
  return jsonb_build_object('total_active',
    (select a.tokens_remaining from public.token_accounts a where a.user_id = p_user_id));
end
$$;
