/*
 * Users who have less than that to spend, the lowest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.get_users_with_low_balance(
  p_below bigint,
  p_limit integer
)
returns table (user_id uuid, email text, tokens_remaining bigint, tokens_used bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select c.user_id, u.email::text, c.vibe_assistant_tokens_remaining, c.vibe_assistant_tokens_used
    from public.user_token_counters c
    left join auth.users u on u.id = c.user_id
   where c.vibe_assistant_tokens_remaining < p_below
   order by 3, 1
   limit p_limit;
end
$$;
comment on function private.get_users_with_low_balance(bigint, integer) is 'See public.get_users_with_low_balance.';
revoke all on function private.get_users_with_low_balance(bigint, integer) from public, anon, authenticated, service_role;
grant execute on function private.get_users_with_low_balance(bigint, integer) to authenticated, service_role;

create or replace function public.get_users_with_low_balance(
  p_below bigint default 10000,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, tokens_remaining bigint, tokens_used bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.get_users_with_low_balance(p_below, p_limit);
end
$$;
comment on function public.get_users_with_low_balance(bigint, integer) is
  'Users with fewer than p_below tokens to spend, the lowest first, at most p_limit (1 to 10000). For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_users_with_low_balance(bigint, integer) from public, anon, authenticated, service_role;
grant execute on function public.get_users_with_low_balance(bigint, integer) to authenticated, service_role;
