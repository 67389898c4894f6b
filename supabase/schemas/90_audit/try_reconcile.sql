/*
 * What tokenbook.reconcile says of a user, or, where their records cannot even be read, a finding that
 * says so: one such user does not stop the report of the others.
 * Caller: tokenbook.find_token_discrepancies.
 */
create function tokenbook.try_reconcile(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.reconcile(p_user_id);
exception
  when data_exception or integrity_constraint_violation or sqlstate 'PT500' then -- @one-report-a-user
    return jsonb_build_object('findings', jsonb_build_array(jsonb_build_object(
      'scenario', 'unreadable', 'cause', sqlstate || ' ' || sqlerrm, 'is_repairable', false,
      'advice', 'Run verify_token_ledger for this user.')));
end
$$;
comment on function tokenbook.try_reconcile is
  'What tokenbook.reconcile says of a user, or a finding unreadable where it cannot.';
