/*
 * What was spent in the last hours, newest first, with the balance of now.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.get_recent_token_usage(
  p_hours integer default 24,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, action text, tokens_used bigint, created_at timestamptz, current_balance bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_hours is null or p_hours not between 1 and 8760 or p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_hours", "rule": "1 to 8760 hours, 1 to 10000 rows"}');
  end if;
  return query
  select t.user_id, u.email::text, t.action_type, t.debt_change - t.tokens, t.created_at, a.tokens_remaining
    from public.token_transactions t
    join public.token_accounts a on a.user_id = t.user_id
    left join auth.users u on u.id = t.user_id
   where t.entry_type = 'deduction' and t.created_at >= clock_timestamp() - p_hours * interval '1 hour'
   order by t.created_at desc, t.user_id, t.id desc
   limit p_limit;
end
$$;
comment on function tokenbook.get_recent_token_usage is
  'What was spent in the last p_hours (1 to 8760), newest first, at most p_limit (1 to 10000) rows, with the balance of now. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
