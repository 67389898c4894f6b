/*
 * The members who spend, or spent, from a payer's account, and how much each has spent of it: present members first, in
 * pages; the next begins after the last member_id.
 * Caller: the payer for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, invalid_page, busy.   Keeps: I11.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_token_team_members(
  p_user_id uuid default tokenbook.caller_id(),
  p_limit integer default 100,
  p_after uuid default null
)
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
  if p_limit is null or p_limit not between 1 and 1000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 1000"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  return jsonb_build_object('members', tokenbook.describe_team(p_user_id, null, p_limit, p_after));
end
$$;
comment on function tokenbook.list_token_team_members is
  'The members who spend, or spent, from a payer''s account. For the payer themself (leave p_user_id out), an admin, or the server. Returns {members: [{member_id, since, until (NULL: still in it), tokens_used, caps: [{window, limit, used, resets_at}]}]}, those of today first, p_limit (1 to 1000) a page; the next page begins after p_after, a member_id. Errors: user_not_found, invalid_page, forbidden, busy.';
