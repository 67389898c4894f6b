/*
 * The codes that there are, newest first, and how often each has been redeemed.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may read the tables themselves.
create function tokenbook.list_token_codes(p_limit integer default 50, p_before bigint default null)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_codes tokenbook.codes[];
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  v_codes := array(
    select row(c.*)::tokenbook.codes from tokenbook.codes c
     where c.number < coalesce(p_before, 9223372036854775807)
     order by c.number desc
     limit p_limit + 1);
  return jsonb_build_object(
    'codes', (
      select coalesce(jsonb_agg(tokenbook.describe_code(c) order by c.number desc), '[]') from unnest(v_codes[:p_limit]) c),
    'next_before', case when cardinality(v_codes) > p_limit then v_codes[p_limit].number end);
end
$$;
comment on function tokenbook.list_token_codes is
  'The codes that there are, newest first, and how often each has been redeemed. For an admin or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {codes: [{code_id, name, state (open, ended, used_up, expired, waiting), tokens, grant_type, lifetime_days, max_redemptions, max_per_user, redemptions, valid_from, valid_until, ended_at, created_at}], next_before (NULL on the last page)}. Errors: invalid_page, forbidden.';
