/*
 * What is about to run out, by day: of everyone, or of the users after p_after up to p_until, so that a large database is
 * gone through in pieces. As much as is there now; what is spent until then does not run out.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_report.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_token_expiries(
  p_to timestamptz default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (day date, tokens bigint, grants bigint, users bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- where days begin
set plan_cache_mode = force_custom_plan -- for everyone another index than for a few
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_to constant timestamptz := coalesce(p_to, v_now + interval '30 days');
begin
  perform tokenbook.authorize_operator();
  if not (v_to > v_now and v_to <= v_now + interval '366 days') then
    perform tokenbook.refuse('invalid_report', '{"field": "p_to", "rule": "a moment of the next 366 days"}');
  end if;
  return query
  select b.expires_at::date, sum(b.tokens_remaining)::bigint, count(*), count(distinct b.user_id)
    from public.token_balances b
   where (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
     and b.is_open and b.expires_at > v_now and b.expires_at < v_to -- @what-ends-later
     and not exists (select 1 from public.token_accounts a where a.user_id = b.user_id and a.state = 'moved')
   group by 1
   order by 1;
end
$$;
comment on function tokenbook.list_token_expiries is
  'What is about to run out, by day (UTC), as much as is there now. For an admin or the server. p_to at most 366 days ahead, left out: 30 days; p_after and p_until: of the users after an id up to another, so that a large database is gone through in pieces. Returns day, tokens, grants, users; no row of a day on which nothing runs out. Errors: not_authenticated, forbidden, invalid_report.';
