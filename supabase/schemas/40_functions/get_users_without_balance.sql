/*
 * Users with an active subscription and no account: always none, or registration is broken.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.get_users_without_balance()
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  return query
  select s.user_id, u.email::text, s.plan_type, s.tokens_limit
    from public.user_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active and a.user_id is null
   order by s.user_id;
end
$$;
comment on function private.get_users_without_balance() is 'See public.get_users_without_balance.';
revoke all on function private.get_users_without_balance() from public, anon, authenticated, service_role;
grant execute on function private.get_users_without_balance() to authenticated, service_role;

create or replace function public.get_users_without_balance()
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.get_users_without_balance();
end
$$;
comment on function public.get_users_without_balance() is
  'Users with an active subscription and no account: always 0 rows. For an admin or the server. Errors: not_authenticated, forbidden.';
revoke all on function public.get_users_without_balance() from public, anon, authenticated, service_role;
grant execute on function public.get_users_without_balance() to authenticated, service_role;
