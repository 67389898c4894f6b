/*
 * Refuses a malformed key, reason or metadata. Bounded before they meet an index or a parser:
 * a key that is too long for a btree would otherwise be a server error.
 * Caller: internal.   Errors: invalid_idempotency_key, invalid_reason, invalid_metadata.
 */
create function tokenbook.check_request(p_idempotency_key text, p_reason text, p_metadata jsonb)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- the length first: it costs nothing, where matching a million bytes would
  if octet_length(p_idempotency_key) > 255 -- @keys-fit-an-index
    or p_idempotency_key !~ '^[A-Za-z0-9._:-]+$'
  then
    perform tokenbook.refuse('invalid_idempotency_key',
      '{"field": "p_idempotency_key", "rule": "1 to 255 characters of A-Z a-z 0-9 . _ : -"}');
  end if;
  if length(p_reason) > 500 or p_reason !~ '[^[:space:]]' then
    perform tokenbook.refuse('invalid_reason',
      '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  if jsonb_typeof(p_metadata) <> 'object' or octet_length(p_metadata::text) > 8192 then
    perform tokenbook.refuse('invalid_metadata',
      '{"field": "p_metadata", "rule": "an object of at most 8192 bytes"}');
  end if;
  return true;
end
$$;
comment on function tokenbook.check_request is
  'Refuses a malformed idempotency key, reason or metadata, naming the field; NULL is always fine.';
