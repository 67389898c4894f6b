/*
 * Says anew when a grant runs out: later, sooner, or never. Whatever else it has stays, its place in fifo too; where the
 * project spends what expires first, it is spent by its new expiry from then on. It is an entry of 0 tokens, so the
 * ledger still says when each grant runs out. What has run out, or was voided, is over: give another.
 * Caller: an admin, service_role.   Locks: the account.
 * p_expires_at 'infinity': never, which a trial, a 28day and an annual grant may not be.
 * Returns {success, grant_id, expires_at_before, expires_at (null: never), transaction_id, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_expiry, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, grant_has_ended, busy.
 * Keeps: I2, I3, I5, I7, I8, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.set_token_grant_expiry(
  p_user_id uuid,
  p_grant_id uuid,
  p_expires_at timestamptz,
  p_reason text,
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
  v_changed public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_grant public.token_balances;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_expires_at is null or p_expires_at = '-infinity' then
    perform tokenbook.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "a moment in the future, or infinity"}');
  elsif p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
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
  v_entry.request := jsonb_build_object(
    'operation', 'set_token_grant_expiry', 'grant_id', p_grant_id, 'reason', p_reason,
    'expires_at', (p_expires_at at time zone 'utc')::text); -- not in the session's time zone
  v_entry.metadata := '{}';
  v_changed := tokenbook.find_replay(v_entry);
  if v_changed.id is null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
    end if;
    select b.* into v_grant from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id;
    if v_grant.id is null then
      perform tokenbook.refuse('grant_not_found', '{}');
    elsif v_grant.voided_at is not null then
      perform tokenbook.refuse('grant_already_voided', '{}');
    elsif v_grant.expires_at <= v_now then
      perform tokenbook.refuse('grant_has_ended', '{}');
    elsif p_expires_at <= v_now then
      perform tokenbook.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "in the future; void_token_grant ends it now"}');
    elsif p_expires_at = 'infinity' and (tokenbook.grant_type_terms(v_grant.grant_type) -> 'must_end')::boolean then
      perform tokenbook.refuse('invalid_expiry', jsonb_build_object(
        'field', 'p_expires_at', 'rule', format('a moment: a grant of type %s ends', v_grant.grant_type)));
    end if;
    update public.token_balances b
       set expires_at = nullif(p_expires_at, 'infinity')
     where b.user_id = p_user_id and b.id = p_grant_id;
    if v_grant.pays_for is not null then
      perform tokenbook.note_restricted_grants(p_user_id, p_expires_at);
    end if;

    -- record
    v_entry.entry_type := 'usage';
    v_entry.action_type := 'expiry_change';
    v_entry.tokens := 0;
    v_entry.grant_ids := '{}';
    v_entry.grant_tokens := '{}';
    v_entry.terms := jsonb_build_object('expiry', jsonb_build_object(
      'grant_id', p_grant_id,
      'before', (v_grant.expires_at at time zone 'utc')::text || 'Z',
      'after', (nullif(p_expires_at, 'infinity') at time zone 'utc')::text || 'Z'));
    v_entry.created_at := v_now;
    v_changed := tokenbook.record_transaction(
      v_entry, p_due_at => case when v_grant.is_open then nullif(p_expires_at, 'infinity') end); -- @due-by-new-expiry
    if v_account.warns_of_expiry then
      perform tokenbook.raise_alerts(p_user_id, v_changed.balance_after, v_now);
    end if;
  end if;

  return jsonb_build_object(
    'success', true,
    'grant_id', p_grant_id,
    'expires_at_before', (v_changed.terms -> 'expiry' ->> 'before')::timestamptz,
    'expires_at', (v_changed.terms -> 'expiry' ->> 'after')::timestamptz,
    'transaction_id', v_changed.id,
    'tokens_remaining', v_changed.balance_after,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.set_token_grant_expiry is
  'Says anew when a grant runs out: later, sooner, or never. For an admin or the server. p_expires_at a moment in the future, or ''infinity'': never (where must_end of Lists is false); p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. A grant that has run out or was voided is over: give another. It is an entry of the ledger, expiry_change, of 0 tokens. Returns {success, grant_id, expires_at_before, expires_at (null: never), transaction_id, tokens_remaining, replayed}. Errors: invalid_expiry, invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, grant_has_ended, forbidden, busy.';
