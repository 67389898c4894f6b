/*
 * Ends a membership: from now on the member spends from their own account again. Moves no tokens. A
 * hold that they have open stays on the payer's account and is settled there.
 * Caller: an admin, service_role.   Locks: the member's queue; both accounts, in the order of their ids.
 * Returns what list_token_team_members says of the member.
 * Errors: not_authenticated, forbidden, invalid_user_id, member_not_found, busy.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.remove_token_team_member(p_user_id uuid, p_member_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.queue_for_account(p_member_id); -- @member-queues-first
  perform tokenbook.lock_accounts(array[p_user_id, p_member_id]);
  v_at := clock_timestamp();
  update public.token_team_members m
     set until = v_at
   where m.user_id = p_user_id and m.member_id = p_member_id and m.until is null;
  if not found then
    perform tokenbook.refuse('member_not_found', '{}');
  end if;
  v_at := clock_timestamp();
  update public.token_accounts a
     set payer_id = null, updated_at = v_at
   where a.user_id = p_member_id and a.payer_id = p_user_id;
  perform tokenbook.record_change(
    'remove_token_team_member', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object('member_id', p_member_id));
  return tokenbook.describe_team(p_user_id, p_member_id) -> 0;
end
$$;
comment on function tokenbook.remove_token_team_member is
  'Ends a membership in the team of p_user_id, the payer; the member spends from their own account again, and no tokens move. For an admin or the server. Returns {member_id, since, until, tokens_used, caps}. Errors: member_not_found, forbidden, busy.';
