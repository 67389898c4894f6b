/*
 * Users who have less than that to spend, the lowest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.get_users_with_low_token_balance(
  p_below bigint default 10000,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, tokens_remaining bigint, tokens_used bigint)
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
  select c.user_id, u.email::text, c.vibe_assistant_tokens_remaining, c.vibe_assistant_tokens_used
    from public.token_counters c
    left join auth.users u on u.id = c.user_id
   where c.vibe_assistant_tokens_remaining < p_below
     and not exists (select 1 from public.token_accounts a where a.user_id = c.user_id and a.state = 'moved')
   order by 3, 1
   limit p_limit;
end
$$;
comment on function tokenbook.get_users_with_low_token_balance is
  'Users with fewer than p_below tokens to spend, the lowest first, at most p_limit (1 to 10000). For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
