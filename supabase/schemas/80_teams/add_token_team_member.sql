/*
 * Lets a member spend from a payer's account, within caps of their own; for a member who is in the team
 * already, sets those of their caps that are given. Moves no tokens: what the member has on their own account waits there.
 * A member has one payer, and teams do not nest. For the server, which knows who agreed to it.
 * Caller: an admin, service_role.   Locks: the member's queue; both accounts, in the order of their ids.
 * Returns what list_token_team_members says of the member.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_cap, invalid_member,
 * user_not_found, already_in_team, busy.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.add_token_team_member(
  p_user_id uuid,
  p_member_id uuid,
  p_cap_day bigint default null,
  p_cap_week bigint default null,
  p_cap_month bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_payer public.token_accounts;
  v_member public.token_accounts;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if p_member_id is null or p_member_id = p_user_id then
    perform tokenbook.refuse('invalid_member', '{"field": "p_member_id", "rule": "a user other than the payer"}');
  elsif least(p_cap_day, p_cap_week, p_cap_month) < 0 or greatest(p_cap_day, p_cap_week, p_cap_month) > 1000000000000 then
    perform tokenbook.refuse('invalid_cap', '{"field": "p_cap_day", "rule": "0 to 1000000000000, or null for no cap"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_user(p_member_id, v_actor.actor_role);

  -- lock: the member's queue first, so that no deduction of theirs reads which account they spend from while that changes
  perform tokenbook.queue_for_account(p_member_id); -- @member-queues-first
  insert into public.token_accounts (user_id)
  select u.user_id from unnest(array[p_user_id, p_member_id]) as u (user_id) order by u.user_id
  on conflict do nothing;
  perform tokenbook.lock_accounts(array[p_user_id, p_member_id]);
  select a.* into v_payer from public.token_accounts a where a.user_id = p_user_id;
  select a.* into v_member from public.token_accounts a where a.user_id = p_member_id;

  -- act
  if v_payer.payer_id is not null then
    perform tokenbook.refuse('already_in_team', '{"reason": "the payer is a member of another team"}');
  elsif v_member.payer_id is distinct from p_user_id and v_member.payer_id is not null then
    perform tokenbook.refuse('already_in_team', '{"reason": "the member is in another team"}');
  elsif exists (select 1 from public.token_team_members m where m.user_id = p_member_id and m.until is null) then
    perform tokenbook.refuse('already_in_team', '{"reason": "the member pays for a team of their own"}');
  end if;
  insert into public.token_team_members as m (user_id, member_id, cap_day, cap_week, cap_month)
  values (p_user_id, p_member_id, p_cap_day, p_cap_week, p_cap_month)
  on conflict (user_id, member_id) do update
     set cap_day = coalesce(excluded.cap_day, m.cap_day), -- @caps-are-kept begin
         cap_week = coalesce(excluded.cap_week, m.cap_week),
         cap_month = coalesce(excluded.cap_month, m.cap_month), -- @caps-are-kept end
         -- for a member who comes back on the same day, what they have spent still counts
         since = case when m.until is null then m.since else excluded.since end,
         until = null;
  v_at := clock_timestamp();
  update public.token_accounts a
     set payer_id = p_user_id, was_member = true, updated_at = v_at
   where a.user_id = p_member_id and a.payer_id is null;

  -- record
  perform tokenbook.record_change(
    'add_token_team_member', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object('member_id', p_member_id, 'cap_day', p_cap_day, 'cap_week', p_cap_week, 'cap_month', p_cap_month));
  return tokenbook.describe_team(p_user_id, p_member_id) -> 0;
end
$$;
comment on function tokenbook.add_token_team_member is
  'Lets a member spend from the account of p_user_id, the payer; of one who is in the team already, sets the caps. For an admin or the server. p_cap_day, p_cap_week, p_cap_month 0 to 10^12; left out, a new member has no cap and one who is or was in the team keeps theirs (10^12 is as good as none). Moves no tokens; a member has one payer and teams do not nest. Returns {member_id, since, until, tokens_used, caps: [{window, limit, used, resets_at}]}. Errors: invalid_member, invalid_cap, user_not_found, already_in_team, forbidden, busy.';
