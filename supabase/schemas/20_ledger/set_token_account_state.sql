/*
 * Freezes a user's account, or makes it active again. From a frozen account nothing is spent, held or
 * topped up; reading it and settling what began before go on (docs/guides/frozen-accounts.md). The same
 * state again changes nothing and answers when and why it was set.
 * Of a member of a team the payer's account is locked too: what they spend is spent under that lock, so
 * whatever began before has ended when this answers, and whatever comes after it is refused.
 * A user without an account is given one when it is frozen.
 * Caller: an admin, service_role.   Locks: the account, and the payer's, in the order of their ids.
 * Returns {success, user_id, state, reason, actor_role, actor_id, changed_at, replayed}; of an account that
 * was always active the middle ones are NULL.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_state, invalid_reason, user_not_found,
 * busy.   Keeps: I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_account_state(
  p_user_id uuid,
  p_state text,
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
  v_payer_id uuid;
  v_account public.token_accounts;
  v_change tokenbook.changes;
  v_replayed boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_state in ('active', 'frozen')) is not true then
    perform tokenbook.refuse('invalid_state', '{"field": "p_state", "rule": "active or frozen"}');
  elsif p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  v_payer_id := tokenbook.paying_account(p_user_id);
  if v_payer_id <> p_user_id then
    perform tokenbook.lock_accounts(array[p_user_id, v_payer_id]); -- @freezes-under-both-locks
    select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  else
    v_account := tokenbook.lock_account(p_user_id);
    if v_account.user_id is null then
      perform tokenbook.require_user(p_user_id, v_actor.actor_role);
      v_account := tokenbook.lock_account(p_user_id, p_create => p_state = 'frozen');
    end if;
  end if;
  if coalesce(v_account.payer_id, p_user_id) <> v_payer_id then
    perform tokenbook.refuse('busy', '{}'); -- joined or left a team meanwhile
  end if;

  -- replay
  v_replayed := coalesce(v_account.state, 'active') = p_state;

  -- act, record
  if not v_replayed then
    if p_state = 'frozen' and v_account.next_due_at <= clock_timestamp() then
      perform tokenbook.record_expiries(array[p_user_id], clock_timestamp(), p_in_portions => true);
    end if;
    v_at := clock_timestamp();
    update public.token_accounts a
       set state = p_state, updated_at = v_at
     where a.user_id = p_user_id;
    if p_state = 'active' then
      perform tokenbook.skip_missed_slots(p_user_id, clock_timestamp());
    end if;
    perform tokenbook.record_change(
      'set_token_account_state', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('state', p_state));
    perform tokenbook.write_webhook(
      case p_state when 'frozen' then 'token_account.frozen' else 'token_account.unfrozen' end,
      p_user_id, clock_timestamp(), jsonb_build_object('actor_role', v_actor.actor_role));
    perform tokenbook.refresh_alert_thresholds(p_user_id); -- for a user below their top-up's threshold a request is written now
  end if;
  select c.* into v_change
    from tokenbook.changes c
   where c.user_id = p_user_id and c.change = 'set_token_account_state'
   order by c.id desc
   limit 1;
  return jsonb_build_object(
    'success', true,
    'user_id', p_user_id,
    'state', p_state,
    'reason', v_change.reason,
    'actor_role', v_change.actor_role,
    'actor_id', v_change.actor_id,
    'changed_at', v_change.created_at,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.set_token_account_state is
  'Freezes a user''s account, or makes it active again. For an admin or the server. From a frozen account nothing is spent, held or topped up; reading it goes on, and so does what began before: captures of what was held, releases, refunds, expiry, corrections, payments that were made. p_state frozen or active; p_reason 1 to 500 characters. The same state again changes nothing. list_token_changes has the history. Returns {success, user_id, state, reason, actor_role, actor_id, changed_at (of what set it; NULL where it was never set), replayed}. Errors: invalid_state, invalid_reason, user_not_found, forbidden, busy.';
