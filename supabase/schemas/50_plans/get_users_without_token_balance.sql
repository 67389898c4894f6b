/*
 * Users with an active subscription and no account: always none, or registration is broken. In pages,
 * by user: the next begins after the last user_id.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.get_users_without_token_balance(p_limit integer default 1000, p_after uuid default null)
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select s.user_id, u.email::text, s.plan_type, s.tokens_limit
    from public.token_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active and a.user_id is null and (p_after is null or s.user_id > p_after)
   order by s.user_id
   limit p_limit;
end
$$;
comment on function tokenbook.get_users_without_token_balance is
  'Users with an active subscription and no account: always 0 rows. In the order of users, p_limit (1 to 10000) a page; the next page begins after p_after. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
