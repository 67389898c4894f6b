/*
 * Whether a storage quota counts now: what came with a plan does while that plan is in force, what was given beside
 * one always. So storage goes and comes with the plan, whatever ends it, and with the payment that bought it.
 * Caller: internal, and readers of token_storage_quotas.
 */
create function tokenbook.is_storage_in_force(p_user_id uuid, p_subscription_id uuid, p_metadata jsonb)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return not p_metadata ? 'plan' -- @storage-follows-the-plan
    or exists (
      select 1 from public.token_subscriptions s
       where s.user_id = p_user_id and s.id = p_subscription_id and s.plan_type = p_metadata ->> 'plan');
end
$$;
comment on function tokenbook.is_storage_in_force is
  'Whether a storage quota counts now: what came with a plan does while that plan is in force.';

create policy "Users read their own storage quotas" on public.token_storage_quotas
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id and tokenbook.is_storage_in_force(user_id, subscription_id, metadata));
