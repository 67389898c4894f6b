/*
 * Who draws, or drew, from a payer's account, and how much each has spent of it.
 * Caller: the payer for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.list_team_members(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  perform private.require_user(p_user_id, v_actor.actor_role);
  return jsonb_build_object('members', private.team_of(p_user_id));
end
$$;
comment on function private.list_team_members(uuid) is 'See public.list_team_members.';
revoke all on function private.list_team_members(uuid) from public, anon, authenticated, service_role;
grant execute on function private.list_team_members(uuid) to authenticated, service_role;

create or replace function public.list_team_members(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.list_team_members(p_user_id);
end
$$;
comment on function public.list_team_members(uuid) is
  'Who draws, or drew, from the account of a payer. For the payer himself (leave p_user_id out), an admin, or the server. Returns {members: [{member_id, since, until (NULL: still in it), tokens_used, caps: [{window, limit, used, resets_at}]}]}. Errors: user_not_found, forbidden.';
revoke all on function public.list_team_members(uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_team_members(uuid) to authenticated, service_role;
