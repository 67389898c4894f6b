/*
 * Ends a grant now: what is left of it is taken away, and what comes back to it later expires at
 * once. With p_take_back, for a grant made by mistake, what was spent of it is taken from the other
 * grants too, and what is not there becomes debt, repaid first by what comes in next.
 * A grant to come is called off: there is nothing of it to take.
 * Tokens of it that a hold has set aside stay with the hold: what is captured is spent, what comes back expires.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, grant_id, tokens_voided, tokens_owed, transaction_id, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, busy.
 * Keeps: I1 to I5, I9, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.void_token_grant(
  p_user_id uuid,
  p_grant_id uuid,
  p_reason text default null,
  p_take_back boolean default false,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_voided public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_grant public.token_balances;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(p_idempotency_key, p_reason, null);

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'void_token_grant', 'grant_id', p_grant_id, 'reason', p_reason, 'take_back', coalesce(p_take_back, false)));
  v_entry := tokenbook.as_void(v_entry, p_grant_id);
  v_voided := tokenbook.find_replay(v_entry);
  if v_voided.id is null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
      v_entry := tokenbook.as_void(v_entry, p_grant_id); -- @voids-what-has-begun: it may have been to come until now
    end if;
    select b.* into v_grant from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id;
    if v_grant.id is null then
      delete from tokenbook.upcoming_grants u
       where u.user_id = p_user_id and u.id = p_grant_id
      returning u.transaction_id into v_entry.original_id;
      if v_entry.original_id is null then
        perform tokenbook.refuse('grant_not_found', '{}');
      end if;
    end if;
    if v_grant.voided_at is not null then
      perform tokenbook.refuse('grant_already_voided', '{}');
    end if;

    -- record
    if v_entry.original_id is null then
      v_voided := tokenbook.void_grant(v_entry, p_grant_id, coalesce(p_take_back, false), v_now);
    else
      v_entry.created_at := v_now;
      v_voided := tokenbook.call_off_grant(v_entry);
    end if;
  end if;

  return jsonb_build_object(
    'success', true,
    'grant_id', p_grant_id,
    'tokens_voided', -v_voided.tokens,
    'tokens_owed', v_voided.debt_change,
    'transaction_id', v_voided.id,
    'tokens_remaining', v_voided.balance_after,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.void_token_grant is
  'Ends a grant now: what is left of it is taken away. With p_take_back, for a grant made by mistake, what was spent of it is taken back too: from the other grants, and what is not there becomes debt. A grant to come (list_upcoming_token_grants) is called off, and tokens_voided is 0. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, grant_id, tokens_voided, tokens_owed (added to the debt), transaction_id, tokens_remaining, replayed}. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, forbidden, busy.';
