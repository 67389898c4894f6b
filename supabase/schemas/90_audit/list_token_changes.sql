/*
 * What admins and the server changed beside the ledger, newest first: who, what, why, about whom.
 * Caller: an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may read the table themselves.
create function tokenbook.list_token_changes(
  p_user_id uuid default null,
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes tokenbook.changes[];
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  v_changes := array(
    select row(c.*)::tokenbook.changes from tokenbook.changes c
     where (p_user_id is null or c.user_id = p_user_id)
       and c.id < coalesce(p_before, 9223372036854775807)
     order by c.id desc
     limit p_limit + 1);
  return jsonb_build_object(
    'changes', to_jsonb(v_changes[:p_limit]),
    'next_before', case when cardinality(v_changes) > p_limit then v_changes[p_limit].id end);
end
$$;
comment on function tokenbook.list_token_changes is
  'What admins and the server changed beside the ledger, newest first: states of accounts, caps, alert rules, teams, payments, top-ups, the catalogue and the prices; about one user, or (p_user_id left out) about everyone and the project. For an admin or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {changes: [{id, user_id, change (the function), actor_role, actor_id, reason, details, created_at}], next_before (NULL on the last page)}. Errors: invalid_page, forbidden.';
