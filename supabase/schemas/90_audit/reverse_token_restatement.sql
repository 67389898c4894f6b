/*
 * Undoes a restatement, whole and once: the same tokens, the other way. What was taken goes back to
 * its grants (into one that has run out meanwhile it expires at once, in the ledger; what is owed is
 * repaid first). What was given is taken back, and only if all of it is still there.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, original_id, tokens (signed), restated: [{grant_id, tokens
 * (signed)}], tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, restatement_not_found, restatement_already_reversed,
 * restatement_spent, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.reverse_token_restatement(
  p_user_id uuid,
  p_transaction_id bigint,
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
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_original public.token_transactions;
  v_reversal public.token_transactions;
  v_replayed boolean := true;
  v_there bigint;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
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
    'operation', 'reverse_token_restatement', 'transaction_id', p_transaction_id, 'reason', p_reason);
  v_entry.metadata := '{}';
  v_reversal := tokenbook.find_replay(v_entry);
  if v_reversal.id is null then
    v_replayed := false;

    -- act
    select t.* into v_original from public.token_transactions t
     where t.user_id = p_user_id and t.id = p_transaction_id
       and t.entry_type = 'restatement' and t.original_id is null;
    if v_original.id is null then
      perform tokenbook.refuse('restatement_not_found', '{}');
    end if;
    select t.* into v_reversal from public.token_transactions t
     where t.user_id = p_user_id and t.original_id = p_transaction_id;
    if v_reversal.id is not null then
      perform tokenbook.refuse('restatement_already_reversed', jsonb_build_object('transaction_id', v_reversal.id));
    end if;
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
    end if;
    if v_original.tokens < 0 then
      select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
        from tokenbook.return_tokens(p_user_id, v_original.grant_ids, v_original.grant_tokens, v_now) as back;
    else
      select sum(least(b.tokens_remaining, given.tokens)) into v_there
        from unnest(v_original.grant_ids, v_original.grant_tokens) as given (grant_id, tokens)
        join public.token_balances b on b.user_id = p_user_id and b.id = given.grant_id;
      if v_there < v_original.tokens then
        perform tokenbook.refuse('restatement_spent',
          jsonb_build_object('required', v_original.tokens, 'available', v_there));
      end if;
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining - given.tokens, is_open = b.tokens_remaining > given.tokens
        from unnest(v_original.grant_ids, v_original.grant_tokens) as given (grant_id, tokens)
       where b.user_id = p_user_id and b.id = given.grant_id;
      v_entry.grant_ids := v_original.grant_ids;
      v_entry.grant_tokens := v_original.grant_tokens;
    end if;

    -- record
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.tokens := -v_original.tokens;
    v_entry.original_id := v_original.id;
    v_entry.created_at := v_now;
    v_reversal := tokenbook.record_transaction(v_entry);
    if v_reversal.tokens > 0 then
      perform tokenbook.settle_incoming(p_user_id, v_now);
    end if;
  end if;

  return jsonb_build_object(
    'success', true,
    'transaction_id', v_reversal.id,
    'original_id', v_reversal.original_id,
    'tokens', v_reversal.tokens,
    'restated', (
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', sign(v_reversal.tokens)::integer * part.tokens)
                       order by part.nth)
        from unnest(v_reversal.grant_ids, v_reversal.grant_tokens) with ordinality as part (grant_id, tokens, nth)),
    'tokens_remaining', (
      select t.balance_after
        from public.token_transactions t
       where t.user_id = p_user_id and t.created_at = v_reversal.created_at
         -- what came back too late and what repaid a debt follows it at once
         and t.id between v_reversal.id and v_reversal.id + cardinality(v_reversal.grant_ids) + 1
       order by t.id desc
       limit 1),
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.reverse_token_restatement is
  'Undoes a restatement, whole and once. What it took goes back to its grants (into one that has run out it expires at once); what it gave is taken back if all of it is still there. For an admin or the server. p_transaction_id one of restate_token_balances'' transaction_ids; p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, original_id, tokens (signed), restated: [{grant_id, tokens (signed)}], tokens_remaining, replayed}. Errors: restatement_not_found, restatement_already_reversed, restatement_spent, invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
