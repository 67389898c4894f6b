/*
 * Users whose balance or cost is not what the records say, the largest difference first: everyone, or the
 * users after p_after up to p_until, so that a large database is gone through in pieces. A finding counts
 * when it is of more than p_threshold tokens, a cost when it is a cent or more. One snapshot. A user whose records
 * cannot be read has a finding unreadable, last, and no figures.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_amount.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.find_token_discrepancies(
  p_threshold bigint default 100,
  p_after uuid default null,
  p_until uuid default null
)
returns table (
  user_id uuid, email text, current_remaining bigint, expected_remaining bigint, remaining_difference bigint,
  current_used bigint, calculated_used bigint, used_difference bigint,
  current_cost numeric, calculated_cost numeric, cost_difference numeric,
  since timestamptz, scenarios text[], findings jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_threshold is null or p_threshold < 0 then
    perform tokenbook.refuse('invalid_amount', '{"field": "p_threshold", "rule": "a whole number of tokens, 0 or more"}');
  end if;
  return query
  select u.user_id, au.email::text,
         (r.answer ->> 'current_remaining')::bigint, (r.answer ->> 'expected_remaining')::bigint,
         (r.answer ->> 'remaining_difference')::bigint,
         (r.answer ->> 'current_used')::bigint, (r.answer ->> 'calculated_used')::bigint, (r.answer ->> 'used_difference')::bigint,
         (r.answer ->> 'current_cost')::numeric, (r.answer ->> 'calculated_cost')::numeric, (r.answer ->> 'cost_difference')::numeric,
         (r.answer ->> 'since')::timestamptz, counted.scenarios, counted.findings
    from (
      select a.user_id from public.token_accounts a
       where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
      union
      select b.user_id from public.token_balances b -- whose account is lost
       where (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
         and not exists (select 1 from public.token_accounts a where a.user_id = b.user_id)
      union
      select t.user_id from public.token_usage t -- users with records and no account
       where (p_after is null or t.user_id > p_after) and (p_until is null or t.user_id <= p_until)
         and not exists (select 1 from public.token_accounts a where a.user_id = t.user_id)
    ) u
   cross join lateral (select tokenbook.try_reconcile(u.user_id) as answer offset 0) r
   cross join lateral (
      select array_agg(distinct f.finding ->> 'scenario') as scenarios,
             jsonb_agg(f.finding order by (f.finding ->> 'tokens')::bigint desc, f.finding ->> 'scenario') as findings
        from jsonb_array_elements(r.answer -> 'findings') f (finding)
       where (f.finding ->> 'tokens')::bigint > p_threshold or f.finding ? 'cents'
          or f.finding ->> 'scenario' = 'unreadable') counted
    left join auth.users au on au.id = u.user_id
   where counted.findings is not null
   order by abs((r.answer ->> 'remaining_difference')::bigint) desc nulls last,
            abs((r.answer ->> 'used_difference')::bigint) desc nulls last, u.user_id;
end
$$;
comment on function tokenbook.find_token_discrepancies is
  'Users whose balance or cost is not what the records say, the largest difference first. For an admin or the server. p_threshold leaves out what is of so many tokens or fewer; a cost counts from one cent on. Everyone, or the users after p_after up to p_until, so that a large database is gone through in pieces. Returns user_id, email, current_remaining, expected_remaining, remaining_difference, current_used, calculated_used, used_difference, current_cost, calculated_cost, cost_difference (the figures of reconcile_user_token_balance: costs in cents, differences positive where the books have more), since, scenarios (unreadable: the records of this user cannot be read, and there are no figures), findings. Errors: invalid_amount, not_authenticated, forbidden.';
