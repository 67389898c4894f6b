/*
 * Says how many tokens a user may owe by using more than they have; NULL: what their plan allows, overdraft_tokens of
 * token_plans. It counts at once, for uses that ask for it (track_token_usage and capture_tokens with overdraft). Less
 * than they owe already takes nothing back: they may not owe more. The same again changes nothing.
 * Of a member of a team the payer's account says it.
 * A user without an account is given one when something is said of them.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, user_id, overdraft_limit (as said; NULL: the plan's), limit_in_force, tokens_owed, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason, user_not_found, account_lost,
 * busy.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_overdraft(
  p_user_id uuid,
  p_tokens bigint,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_replayed boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if p_tokens not between 0 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount', '{"field": "p_tokens", "rule": "a whole number from 0 to 1000000000000, or null"}');
  elsif p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_actor.actor_role);
    v_account := tokenbook.lock_account(p_user_id, p_create => p_tokens is not null);
  end if;

  -- replay
  v_replayed := v_account.overdraft_limit is not distinct from p_tokens;

  -- act, record
  if not v_replayed then
    v_at := clock_timestamp();
    update public.token_accounts a
       set overdraft_limit = p_tokens, updated_at = v_at
     where a.user_id = p_user_id
    returning a.* into v_account;
    perform tokenbook.record_change(
      'set_token_overdraft', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('overdraft_limit', p_tokens));
  end if;
  return jsonb_build_object(
    'success', true,
    'user_id', p_user_id,
    'overdraft_limit', p_tokens,
    'limit_in_force', tokenbook.overdraft_limit_of(v_account),
    'tokens_owed', coalesce(v_account.tokens_owed, 0),
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.set_token_overdraft is
  'Says how many tokens a user may owe by using more than they have: p_tokens 0 to 10^12; NULL: what their plan allows (overdraft_tokens of token_plans). For an admin or the server. p_reason 1 to 500 characters. It counts at once, for uses that ask for an overdraft; less than is owed already takes nothing back. The same again changes nothing. list_token_changes has the history. Returns {success, user_id, overdraft_limit (as said), limit_in_force, tokens_owed, replayed}. Errors: invalid_amount, invalid_reason, user_not_found, account_lost, forbidden, busy.';
