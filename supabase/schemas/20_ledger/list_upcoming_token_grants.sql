/*
 * The grants that a user is still to be given, the next first. Those whose moment has come are in the balance.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_upcoming_token_grants(p_user_id uuid default tokenbook.caller_id())
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  return jsonb_build_object('user_id', p_user_id, 'grants', (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'id', u.id, 'grant_type', g.grant_type, 'tokens_granted', g.tokens_granted, 'priority', g.priority,
                 'pays_for', g.pays_for, 'starts_at', u.starts_at, 'expires_at', g.expires_at, 'transaction_id', t.id)
               order by u.starts_at, u.id),
             '[]')
      from tokenbook.upcoming_grants u
      join public.token_transactions t on t.user_id = p_user_id and t.id = u.transaction_id
     cross join lateral tokenbook.upcoming_grant(row(t.*)::public.token_transactions) g
     where u.user_id = p_user_id and u.starts_at > clock_timestamp()));
end
$$;
comment on function tokenbook.list_upcoming_token_grants is
  'The grants that a user is still to be given (p_starts_at of grant_tokens), the next first. For the user themself (leave p_user_id out), an admin, or the server. Returns {user_id, grants: [{id, grant_type, tokens_granted, priority, pays_for (null: everything), starts_at, expires_at (null: never), transaction_id (what said it)}]}, at most 100. void_token_grant calls one off. Errors: user_not_found, forbidden.';
