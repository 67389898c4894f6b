/*
 * One item of a batch as the transaction to be; the same entry, and the same refusals, as of a
 * single deduction. A field that is not known is refused: a misspelt idempotency_key would
 * otherwise be a deduction that a retry makes twice. NULL is as good as left out. Until it is booked
 * its id is p_nth, its place in the batch.
 * Caller: internal.   Errors: invalid_batch, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata.
 */
create function tokenbook.parse_batch_item(p_item jsonb, p_nth bigint)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_tokens numeric;
  v_is_sound boolean;
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform tokenbook.refuse('invalid_batch', '{"field": "p_items", "rule": "each item an object"}');
  elsif p_item - array['user_id', 'tokens', 'action_type', 'idempotency_key', 'metadata'] <> '{}' then
    perform tokenbook.refuse('invalid_batch',
      '{"field": "p_items", "rule": "user_id, tokens, action_type, idempotency_key, metadata and nothing else"}');
  elsif jsonb_typeof(p_item -> 'action_type') not in ('string', 'null') then
    perform tokenbook.check_action_type(null);
  elsif jsonb_typeof(p_item -> 'idempotency_key') not in ('string', 'null') then
    perform tokenbook.check_request('', null, null);
  elsif (p_item ->> 'user_id' like '________-____-____-____-____________'
    and p_item ->> 'user_id' ~ '^[0-9a-fA-F]+(-[0-9a-fA-F]+){4}$') is not true -- counting with {8} is 3 µs slower
  then
    perform tokenbook.refuse('invalid_user_id', '{"field": "user_id", "rule": "a uuid"}');
  end if;
  if jsonb_typeof(p_item -> 'tokens') = 'number' then
    v_tokens := p_item ->> 'tokens';
    if v_tokens <> trunc(v_tokens) or v_tokens > 1000000000000 then
      v_tokens := null; -- bigint would round the one and not hold the other
    end if;
  end if;
  v_entry.user_id := p_item ->> 'user_id';
  v_entry.id := p_nth;
  v_entry.tokens := -v_tokens;
  v_entry.action_type := coalesce(p_item ->> 'action_type', 'deduction');
  v_entry.reason := v_entry.action_type;
  v_entry.actor_role := 'service';
  v_entry.idempotency_key := p_item ->> 'idempotency_key';
  v_entry.metadata := coalesce(nullif(p_item -> 'metadata', 'null'), '{}');
  -- one expression: as three statements they are 10 µs more
  v_is_sound := tokenbook.check_tokens('tokens', -v_entry.tokens)
    and tokenbook.check_action_type(v_entry.action_type)
    and tokenbook.check_request(v_entry.idempotency_key, null, v_entry.metadata);
  if v_entry.idempotency_key is not null then
    v_entry.request := tokenbook.deduction_request(-v_entry.tokens, v_entry.action_type);
  end if;
  return v_entry;
end
$$;
comment on function tokenbook.parse_batch_item is
  'One item of a batch, {user_id, tokens, action_type, idempotency_key, metadata}, as the transaction to be, with its place in the batch for its id; refuses what a single deduction would.';
