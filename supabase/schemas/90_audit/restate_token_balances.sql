/*
 * Brings a user's grants to what an exact replay of their history says: at most two `restatement`
 * entries, one for what is taken and one for what is given, each of which reverse_token_restatement can
 * undo. Nothing to restate is a success with 0; under a key, an entry of 0 tokens keeps the key.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}],
 * transaction_ids, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.restate_token_balances(
  p_user_id uuid,
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
  v_first public.token_transactions; -- the one with the key
  v_taken public.token_transactions;
  v_given public.token_transactions;
  v_replayed boolean := true;
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
  v_account := tokenbook.lock_account(p_user_id); -- @restates-after-lock
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
    if p_idempotency_key is not null then
      v_account := tokenbook.lock_account(p_user_id, p_create => true);
    end if;
  end if;
  v_now := clock_timestamp();

  -- replay of the key; a restatement that took and gave has the key on the entry that took
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'restate', 'reason', p_reason);
  v_entry.metadata := '{}';
  v_first := tokenbook.find_replay(v_entry);
  if v_first.tokens > 0 then
    v_given := v_first;
  elsif v_first.tokens < 0 then
    v_taken := v_first;
    select t.* into v_given from public.token_transactions t
     where t.user_id = p_user_id and t.id = v_taken.id + 1 and t.entry_type = 'restatement'
       and t.metadata = jsonb_build_object('beside', v_taken.id);
  elsif v_first.id is not null then
    null; -- there was nothing to restate
  elsif v_account.user_id is not null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
    end if;
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.created_at := v_now;
    select array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           array_agg(r.difference order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           -sum(r.difference) filter (where r.difference > 0),
           array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           array_agg(-r.difference order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           -sum(r.difference) filter (where r.difference < 0)
      into v_taken.grant_ids, v_taken.grant_tokens, v_taken.tokens,
           v_given.grant_ids, v_given.grant_tokens, v_given.tokens
      from tokenbook.replay(p_user_id, null, null, v_now) as r
     where r.difference <> 0;
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + restated.tokens,
           is_open = b.tokens_remaining + restated.tokens > 0
      from (
        select t.id, -t.tokens as tokens from unnest(v_taken.grant_ids, v_taken.grant_tokens) as t (id, tokens)
        union all
        select g.id, g.tokens from unnest(v_given.grant_ids, v_given.grant_tokens) as g (id, tokens)) restated
     where b.user_id = p_user_id and b.id = restated.id;
    perform tokenbook.bring_due_forward(p_user_id, (
      select min(b.expires_at) from public.token_balances b
       where b.user_id = p_user_id and b.id = any (v_given.grant_ids)));

    -- record: first what is taken, or the total could pass its limit
    if v_taken.tokens <> 0 then
      v_entry.grant_ids := v_taken.grant_ids;
      v_entry.grant_tokens := v_taken.grant_tokens;
      v_entry.tokens := v_taken.tokens;
      v_taken := tokenbook.record_transaction(v_entry);
      v_entry.idempotency_key := null;
      v_entry.metadata := jsonb_build_object('beside', v_taken.id);
    end if;
    if v_given.tokens <> 0 then
      v_entry.grant_ids := v_given.grant_ids;
      v_entry.grant_tokens := v_given.grant_tokens;
      v_entry.tokens := v_given.tokens;
      v_given := tokenbook.record_transaction(v_entry);
      perform tokenbook.settle_incoming(p_user_id, v_now);
    end if;
    v_first := case when v_taken.id is not null then v_taken else v_given end;
    if v_first.id is null and p_idempotency_key is not null then
      v_entry.entry_type := 'usage';
      v_entry.action_type := 'restating';
      v_entry.tokens := 0;
      v_entry.grant_ids := '{}';
      v_entry.grant_tokens := '{}';
      v_first := tokenbook.record_transaction(v_entry);
    end if;
  else
    v_replayed := false;
  end if;

  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'tokens_taken', coalesce(-v_taken.tokens, 0),
    'tokens_given', coalesce(v_given.tokens, 0),
    'restated', coalesce((
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', part.tokens) order by part.nth)
        from (
          select t.grant_id, -t.tokens as tokens, t.nth
            from unnest(v_taken.grant_ids, v_taken.grant_tokens) with ordinality as t (grant_id, tokens, nth)
          union all
          select g.grant_id, g.tokens, g.nth + 1000000
            from unnest(v_given.grant_ids, v_given.grant_tokens) with ordinality as g (grant_id, tokens, nth)) part), '[]'),
    'transaction_ids', to_jsonb(array_remove(array[v_taken.id, v_given.id], null)),
    'tokens_remaining', coalesce(
      (select t.balance_after
         from public.token_transactions t
        where t.user_id = p_user_id and t.created_at = v_first.created_at
          -- what is given stands beside what is taken, and what repaid a debt follows it at once
          and t.id between v_first.id and v_first.id + 2
        order by t.id desc
        limit 1),
      v_account.tokens_remaining, 0),
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.restate_token_balances is
  'Brings a user''s grants to what replay_token_balances says they would have, with at most two restatement entries: what is taken, and what is given. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}], transaction_ids, tokens_remaining, replayed}; nothing to restate: 0 and 0. reverse_token_restatement undoes each. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
