/*
 * Users with an active subscription and no account: always none, or registration is broken.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.get_users_without_token_balance()
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  return query
  select s.user_id, u.email::text, s.plan_type, s.tokens_limit
    from public.token_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active and a.user_id is null
   order by s.user_id;
end
$$;
comment on function tokenbook.get_users_without_token_balance is
  'Users with an active subscription and no account: always 0 rows. For an admin or the server. Errors: not_authenticated, forbidden.';
