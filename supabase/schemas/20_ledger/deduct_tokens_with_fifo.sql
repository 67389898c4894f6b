/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from their payer's account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, account_frozen, too_many_grants, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
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
  v_spent record;
  v_receipt jsonb;
begin
  -- validate: what is plainly right is let through at once; what is not, is refused by name
  if not tokenbook.is_plain_server_call(p_user_id) then -- @deduction-asks-who: the server may deduct from anyone
    select w.actor_role, w.actor_id into v_actor_role, v_actor_id
      from tokenbook.authorize(p_user_id, p_self_may => true) w;
  end if;
  if (p_tokens_to_deduct between 1 and 1000000000000 -- @fast-path-if-plain
    and octet_length(p_action_type) <= 64
    and p_action_type ~ '^[a-z][a-z0-9_]*$'
    and p_action_type <> all (tokenbook.reserved_action_types())) is not true
  then
    perform tokenbook.check_tokens('p_tokens_to_deduct', p_tokens_to_deduct);
    perform tokenbook.check_action_type(p_action_type);
  end if;
  if p_idempotency_key is not null or p_metadata is not null then
    perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
  end if;

  -- lock, replay, act, record
  v_spent := tokenbook.spend_tokens(
    p_user_id, p_tokens_to_deduct, p_action_type, p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
    case when p_idempotency_key is not null then tokenbook.deduction_request(p_tokens_to_deduct, p_action_type) end,
    coalesce(p_metadata, '{}'));
  if v_spent.is_behind then
    return tokenbook.answer_busy();
  end if;
  v_receipt := tokenbook.deduction_receipt(
    p_tokens_to_deduct, v_spent.id, v_spent.deducted_from, v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed);
  if v_spent.capped_by is not null or v_spent.tokens_restricted is not null then
    v_receipt := v_receipt || tokenbook.describe_shortage(v_spent.capped_by, v_spent.tokens_restricted);
  end if;
  return v_receipt;
end
$$;
comment on function tokenbook.deduct_tokens_with_fifo is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user themself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed; and so under a spend cap, which is then said in capped_by {scope, window, limit, used, resets_at}. Where grants do not pay for this action, tokens_restricted says how many of tokens_remaining are in those. A member of a team spends from their payer''s account. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, account_frozen, too_many_grants, forbidden, busy.';
