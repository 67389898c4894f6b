-- A plan that has ended is shown as in force until somebody touches the account.
create function tokenbook.as_recorded(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns tokenbook.subscriptions language sql stable strict set search_path = pg_catalog, pg_temp as 'select $1';
grant execute on function tokenbook.as_recorded to authenticated, service_role;
do $$
begin
  execute 'create or replace view public.token_subscriptions with (security_invoker = true) as '
    || replace(pg_get_viewdef('public.token_subscriptions'::regclass), 'tokenbook.subscription_at(', 'tokenbook.as_recorded(');
end
$$;
select pg_temp.mutate('balance-plan-in-force', '(s.expires_at <= v_now or s.cancel_at <= v_now) is not true', 'true');
