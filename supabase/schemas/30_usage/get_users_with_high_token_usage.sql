/*
 * Users who used the most in their lifetime, the highest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.get_users_with_high_token_usage(
  p_limit integer default 20
)
returns table (user_id uuid, email text, tokens_used bigint, total_cost_cents numeric)
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
  select a.user_id, u.email::text, a.tokens_used, a.total_cost
    from public.token_accounts a
    left join auth.users u on u.id = a.user_id
   order by a.tokens_used desc, a.user_id
   limit p_limit;
end
$$;
comment on function tokenbook.get_users_with_high_token_usage is
  'The p_limit (1 to 10000) users who used the most tokens in their lifetime. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
