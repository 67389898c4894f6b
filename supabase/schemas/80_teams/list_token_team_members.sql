/*
 * Who draws, or drew, from a payer's account, and how much each has spent of it.
 * Caller: the payer for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_token_team_members(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  return jsonb_build_object('members', tokenbook.describe_team(p_user_id));
end
$$;
comment on function tokenbook.list_token_team_members is
  'Who draws, or drew, from the account of a payer. For the payer himself (leave p_user_id out), an admin, or the server. Returns {members: [{member_id, since, until (NULL: still in it), tokens_used, caps: [{window, limit, used, resets_at}]}]}. Errors: user_not_found, forbidden.';
