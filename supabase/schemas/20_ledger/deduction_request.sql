/*
 * What a deduction asked for, as the ledger keeps it under its key: alone or in a batch it is the same
 * request.
 * Caller: internal.
 */
create function tokenbook.deduction_request(p_tokens bigint, p_action_type text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('operation', 'deduct', 'tokens', p_tokens, 'action_type', p_action_type);
end
$$;
comment on function tokenbook.deduction_request is
  'What a deduction asked for, as the ledger keeps it under its key.';
