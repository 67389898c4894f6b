/*
 * Users with what they have, in pages: the users of auth.users, and deleted users who still have books. Searched by a part of their
 * address or by their id, in one of four orders, each either way.
 * It reads all accounts and addresses for each page, under 200 ms for 100,000 of them: an index by balance
 * would be written with every deduction (decision 28). What is due counts in the balance that is shown, not in the order.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: an admin reads other users' rows, and their addresses.
create function tokenbook.list_token_users(
  p_search text default null,
  p_sort text default 'last_active',
  p_descending boolean default true,
  p_limit integer default 50,
  p_after text default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- what is not searched or sorted by is not looked at in each row
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_search constant text := nullif(lower(btrim(p_search)), '');
  v_sign constant integer := case when p_descending then -1 else 1 end;
  v_value constant text := left(p_after, -37);
  v_after_id uuid;
  v_searched_id uuid;
  v_fault jsonb;
  v_ids uuid[];
  v_values text[];
begin
  -- validate
  perform tokenbook.authorize_operator();
  v_fault := case
    when p_limit is null or p_limit not between 1 and 200 then '{"field": "p_limit", "rule": "1 to 200"}'
    when p_sort is null or p_sort not in ('email', 'balance', 'used', 'last_active')
      then '{"field": "p_sort", "rule": "email, balance, used or last_active"}'
    when p_descending is null then '{"field": "p_descending", "rule": "true or false"}'
    when length(p_search) > 320 then '{"field": "p_search", "rule": "at most 320 characters"}'
    when p_after is not null and not (
        tokenbook.is_user_id(right(p_after, 36)) and (p_sort = 'email' or v_value ~ '^-?[0-9]{1,18}$'))
      then '{"field": "p_after", "rule": "next_after of the page before, in the same order"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_page', v_fault);
  end if;
  if p_after is not null then
    v_after_id := right(p_after, 36)::uuid;
  end if;
  if tokenbook.is_user_id(v_search) then
    v_searched_id := v_search::uuid;
  end if;

  -- the page: ids, and what they are sorted by
  if p_sort = 'email' then
    select array_agg(page.id), array_agg(page.address)
      into v_ids, v_values
      from (
        select f.id, f.address
          from (
            select coalesce(a.user_id, u.id) as id, lower(coalesce(u.email, '') collate "C") as address
              from public.token_accounts a
              full join auth.users u on u.id = a.user_id
             where (a.user_id is not null or u.deleted_at is null)
               and (a.state is distinct from 'moved' or a.user_id = v_searched_id) -- whose books are elsewhere
               and (v_search is null
                 or strpos(lower(u.email collate "C"), v_search) > 0
                 or a.user_id = v_searched_id
                 or u.id = v_searched_id)) f
         where p_after is null
            or case when p_descending then (f.address, f.id) < (v_value, v_after_id)
                    else (f.address, f.id) > (v_value, v_after_id) end
         order by case when p_descending then f.address end desc, case when not p_descending then f.address end,
                  case when p_descending then f.id end desc, case when not p_descending then f.id end
         limit p_limit + 1) page;
  else -- the other way round, a figure is one below zero
    select array_agg(page.id), array_agg((v_sign * page.figure)::text)
      into v_ids, v_values
      from (
        select f.id, f.figure
          from (
            select coalesce(a.user_id, u.id) as id,
                   v_sign * case p_sort
                     when 'balance' then coalesce(a.tokens_remaining, 0)
                     when 'used' then coalesce(a.tokens_used, 0)
                     else coalesce((date_part('epoch', a.spent_at) * 1000000)::bigint, -1)
                   end as figure
              from public.token_accounts a
              full join auth.users u on u.id = a.user_id
             where (a.user_id is not null or u.deleted_at is null)
               and (a.state is distinct from 'moved' or a.user_id = v_searched_id) -- whose books are elsewhere
               and (v_search is null
                 or strpos(lower(u.email collate "C"), v_search) > 0
                 or a.user_id = v_searched_id
                 or u.id = v_searched_id)) f
         where p_after is null or (f.figure, f.id) > (v_sign * v_value::bigint, v_after_id)
         order by f.figure, f.id
         limit p_limit + 1) page;
  end if;

  -- answer: of those alone, what costs more to know
  return jsonb_build_object(
    'users', (
      select coalesce(jsonb_agg(
               jsonb_build_object(
                 'user_id', listed.id,
                 'email', u.email,
                 'is_user', u.id is not null and u.deleted_at is null,
                 'state', coalesce(a.state, 'active'),
                 'plan_type', s.plan_type,
                 'tokens_remaining', coalesce(a.tokens_remaining + due.tokens, 0),
                 'tokens_reserved', coalesce(a.tokens_reserved, 0),
                 'tokens_owed', coalesce(a.tokens_owed, 0),
                 'tokens_used', coalesce(a.tokens_used, 0),
                 'cost_cents', coalesce(a.total_cost, 0),
                 'last_active_at', a.spent_at,
                 'payer_id', a.payer_id)
               order by listed.nth), '[]')
        from unnest(v_ids[:p_limit]) with ordinality as listed (id, nth)
        left join auth.users u on u.id = listed.id
        left join public.token_accounts a on a.user_id = listed.id
        left join public.token_subscriptions s on s.user_id = listed.id
       cross join lateral (
         select case when a.next_due_at <= v_now
                     then (select d.returned - d.lost + d.given - d.repaid from tokenbook.tokens_due(listed.id, v_now) d)
                     else 0 end as tokens) due),
    'next_after', case when cardinality(v_ids) > p_limit then v_values[p_limit] || ' ' || v_ids[p_limit] end);
end
$$;
comment on function tokenbook.list_token_users is
  'Users with what they have, in pages. For an admin or the server. p_search: a part of their address, or their id; left out, everyone. p_sort email, balance, used or last_active (the default, newest first), p_descending false the other way round; p_limit 1 to 200; p_after the next_after of the page before, in the same order. Returns {users: [{user_id, email, is_user (false: they were deleted, and have books still), state (active, frozen), plan_type (in force; NULL = none), tokens_remaining (that can be spent), tokens_reserved, tokens_owed, tokens_used, cost_cents (what their uses cost the project), last_active_at, payer_id (of a member of a team)}], next_after (NULL on the last page)}. It reads every account for each page: under 200 ms of a processor for 100,000 of them. Errors: invalid_page, not_authenticated, forbidden.';
