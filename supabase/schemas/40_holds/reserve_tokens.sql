/*
 * Sets tokens aside for a call that is about to run: taken from the grants in burn order at once,
 * all or nothing, and remembered grant by grant. To be captured or released; else it runs out after
 * p_ttl_seconds, and the next call that touches the account releases it.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * With p_parent_hold they are a part of that hold, the budget of a task of many calls (tokenbook.reserve_within).
 * Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct, reserved_from,
 * expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_ttl,
 * invalid_action_type, invalid_usage, invalid_idempotency_key, invalid_metadata, idempotency_key_reused,
 * unknown_model, user_not_found, account_frozen, too_many_holds, too_many_grants, busy; of a parent hold_not_found, parent_hold_ended,
 * parent_hold_short.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.reserve_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer default null,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null,
  p_model_used text default null,
  p_parent_hold uuid default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor_role text := 'service';
  v_actor_id uuid;
  v_request jsonb;
  v_known public.token_transactions;
  v_spent record;
  v_status text;
  v_expires_at timestamptz;
  v_receipt jsonb;
begin
  -- validate: what is plainly right is let through at once; what is not, is refused by name
  if not tokenbook.is_plain_server_call(p_user_id) then
    select w.actor_role, w.actor_id into v_actor_role, v_actor_id
      from tokenbook.authorize(p_user_id, p_self_may => true) w;
  end if;
  p_ttl_seconds := coalesce(p_ttl_seconds, (tokenbook.limits() -> 'hold_seconds')::integer);
  if (p_tokens between 1 and 1000000000000
    and p_ttl_seconds between 1 and (tokenbook.limits() -> 'hold_seconds_at_most')::integer
    and octet_length(p_action_type) <= 64
    and p_action_type ~ '^[a-z][a-z0-9_]*$'
    and p_action_type <> all (tokenbook.reserved_action_types())) is not true
  then
    perform tokenbook.check_tokens('p_tokens', p_tokens);
    if p_ttl_seconds not between 1 and (tokenbook.limits() -> 'hold_seconds_at_most')::integer then
      perform tokenbook.refuse('invalid_ttl', jsonb_build_object(
        'field', 'p_ttl_seconds', 'rule', format('1 to %s', tokenbook.limits() -> 'hold_seconds_at_most')));
    end if;
    perform tokenbook.check_action_type(p_action_type);
  end if;
  if p_idempotency_key is not null or p_metadata is not null then
    perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
  end if;
  if p_idempotency_key is not null then
    v_request := jsonb_build_object(
      'operation', 'reserve', 'tokens', p_tokens, 'ttl_seconds', p_ttl_seconds, 'action_type', p_action_type); -- a retry may call another model
  end if;
  if p_model_used is not null then
    perform tokenbook.check_model(p_model_used);
    if tokenbook.has_no_price(p_model_used, clock_timestamp()) then
      -- the call is not made yet; what a key has done is answered again
      v_known.user_id := p_user_id;
      v_known.actor_role := v_actor_role;
      v_known.idempotency_key := p_idempotency_key;
      v_known.request := v_request;
      v_known.metadata := coalesce(p_metadata, '{}');
      if (tokenbook.find_replay(v_known)).id is null then
        perform tokenbook.meet_unknown_model(p_model_used, 'user', p_may_refuse => true); -- @unknown-models-hold-nothing
      end if;
    end if;
  end if;

  if p_parent_hold is not null then
    return tokenbook.reserve_within(
      p_user_id, p_parent_hold, p_tokens, p_ttl_seconds, p_action_type, v_actor_role, v_actor_id,
      p_idempotency_key, coalesce(p_metadata, '{}'), p_model_used);
  end if;

  -- lock, replay, act
  v_spent := tokenbook.spend_tokens(
    p_user_id, p_tokens, p_action_type, p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
    v_request,
    coalesce(p_metadata, '{}'), p_hold_id => gen_random_uuid(), p_hold_seconds => p_ttl_seconds, p_model_used => p_model_used);
  if v_spent.is_behind then
    return tokenbook.answer_busy();
  end if;

  -- record
  if v_spent.replayed then
    select case when h.status = 'open' and h.expires_at <= clock_timestamp() then 'expired' else h.status end, h.expires_at
      into v_status, v_expires_at
      from public.token_holds h
     where h.user_id = v_spent.user_id and h.id = v_spent.hold_id;
  elsif v_spent.shortfall = 0 then
    v_status := 'open';
    v_expires_at := v_spent.created_at + p_ttl_seconds * interval '1 second';
    insert into public.token_holds
      (user_id, id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role,
       transaction_id, member_id, metadata, created_at)
    values
      (v_spent.user_id, v_spent.hold_id, p_tokens, v_spent.grant_ids, v_spent.grant_tokens, v_expires_at,
       p_action_type, v_actor_role, v_spent.id, v_spent.member_id, coalesce(p_metadata, '{}'), v_spent.created_at);
  end if;

  v_receipt := jsonb_build_object(
    'success', v_status is not null,
    'hold_id', case when v_status is not null then v_spent.hold_id end,
    'status', v_status,
    'tokens_reserved', v_spent.tokens,
    'tokens_remaining_to_deduct', v_spent.shortfall,
    'reserved_from', v_spent.deducted_from,
    'expires_at', v_expires_at,
    'transaction_id', v_spent.id,
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed);
  if v_spent.capped_by is not null or v_spent.tokens_restricted is not null then
    v_receipt := v_receipt || tokenbook.describe_shortage(v_spent.capped_by, v_spent.tokens_restricted);
  end if;
  return v_receipt;
end
$$;
comment on function tokenbook.reserve_tokens is
  'Sets tokens aside for a call that is about to run, all or nothing. For the user themself, an admin, or the server. p_tokens 1 to 10^12; p_ttl_seconds (left out: hold_seconds of Lists; at most hold_seconds_at_most), after which the hold has run out and its tokens are back; p_action_type what for; p_model_used the model that will be called, where grants are restricted to some, or models without a price are refused; p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB; p_parent_hold an open hold of the same user that these tokens are a part of: the budget of a task of many calls, from which nothing more is taken than it has. Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct (the shortfall), reserved_from: [{grant_id, grant_type, granted_at, deducted}], expires_at, transaction_id, tokens_remaining, replayed}, and with a parent budget: {hold_id, status, tokens, tokens_passed (what its children have, or paid), tokens_left, tokens_used, expires_at}. Short of tokens: success false, nothing changed, with capped_by and tokens_restricted as deduct_tokens_with_fifo; a parent that is short refuses. Errors: invalid_amount, invalid_ttl, invalid_action_type, invalid_usage, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, unknown_model, user_not_found, account_frozen, too_many_holds, too_many_grants, hold_not_found, parent_hold_ended, parent_hold_short, forbidden, busy.';
