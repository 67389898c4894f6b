/*
 * The caps that a user's next spending meets, tightest first: their own, their plan's, everyone's; in a
 * team those of the payer's account, and the member's.
 * Caller: the user for themself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows, and a member their payer's.
create function tokenbook.get_token_spend_caps(p_user_id uuid default tokenbook.caller_id())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_user(tokenbook.paying_account(p_user_id), 'user'); -- the payer's account may be lost
  if tokenbook.settle_backlog(tokenbook.paying_account(p_user_id), p_portions => 10) then
    return tokenbook.answer_busy();
  end if;
  select a.* into v_account
    from public.token_accounts a where a.user_id = tokenbook.paying_account(p_user_id);
  v_account.user_id := coalesce(v_account.user_id, p_user_id);
  return jsonb_build_object('caps', (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'scope', c.scope, 'window', c.spend_window, 'limit', c.tokens, 'used', c.used,
                 'resets_at', c.resets_at)
               order by c.tokens - c.used, c.resets_at desc),
             '[]')
      from tokenbook.spend_caps_of(v_account, nullif(p_user_id, v_account.user_id), clock_timestamp()) as c));
end
$$;
comment on function tokenbook.get_token_spend_caps is
  'The spend caps that a user is under now, tightest first. For the user themself (leave p_user_id out), an admin, or the server. Returns {caps: [{scope (user, plan, everyone, member), window (day, week, month), limit, used, resets_at}]}. Errors: user_not_found, forbidden.';
