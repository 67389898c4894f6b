/*
 * One user, for an admin or a support page: what the tables show only to the user themself, at most a page of each.
 * Their balance, ledger, usage and team answer get_user_token_balance and the others, which take anybody from an admin.
 * Caller: an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, account_lost.   Keeps: I11.
 */
-- Security definer: an admin reads other users' rows, and their addresses.
create function tokenbook.get_token_user(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_listed constant integer := 50;
  v_now constant timestamptz := clock_timestamp();
  v_account public.token_accounts;
  v_email text;
  v_is_user boolean;
  v_subscription jsonb;
begin
  perform tokenbook.authorize(p_user_id, p_self_may => false);
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if not found then
    perform tokenbook.require_user(p_user_id, 'service');
  end if;
  v_email := (select u.email from auth.users u where u.id = p_user_id);
  v_is_user := tokenbook.is_user(p_user_id);
  v_subscription := (select to_jsonb(s) from public.token_subscriptions s where s.user_id = p_user_id);
  return jsonb_build_object(
    'user_id', p_user_id,
    'email', v_email,
    'is_user', v_is_user,
    'state', coalesce(v_account.state, 'active'),
    'payer_id', v_account.payer_id,
    'tokens_used', coalesce(v_account.tokens_used, 0),
    'tokens_expired', coalesce(v_account.tokens_expired, 0),
    'cost_cents', coalesce(v_account.total_cost, 0),
    'last_active_at', v_account.spent_at,
    'subscription', v_subscription,
    'holds', (
      select coalesce(jsonb_agg(
               jsonb_build_object(
                 'id', h.id, 'tokens', h.tokens, 'action_type', h.action_type, 'actor_role', h.actor_role,
                 'member_id', h.member_id, 'parent_id', h.parent_id, 'created_at', h.created_at, 'expires_at', h.expires_at)
               order by h.expires_at, h.id), '[]')
        from (select o.* from public.token_holds o
               where o.user_id = p_user_id and o.status = 'open' and o.expires_at > v_now
               order by o.expires_at, o.id
               limit c_listed) h),
    'alerts', (
      select coalesce(jsonb_agg(to_jsonb(l) order by l.id desc), '[]')
        from (select t.* from public.token_alerts t where t.user_id = p_user_id order by t.id desc limit c_listed) l));
end
$$;
comment on function tokenbook.get_token_user is
  'One user, for an admin or a support page: what the tables show only to the user themself. For an admin or the server. Returns {user_id, email, is_user (false: they were deleted, and have books still), state (active, frozen), payer_id (of a member of a team), tokens_used, tokens_expired, cost_cents (what their uses cost the project), last_active_at, subscription (their row of token_subscriptions; NULL: never one), holds: [{id, tokens, action_type, actor_role, member_id, parent_id, created_at, expires_at}] (open, the next to run out first, at most 50), alerts: [rows of token_alerts] (newest first, at most 50)}. Errors: invalid_user_id, user_not_found, account_lost, not_authenticated, forbidden.';
