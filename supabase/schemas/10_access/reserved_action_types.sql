/*
 * The action types that the ledger keeps for itself: no caller may name his own spending so.
 * Immutable, so that who asks it with nothing else is answered when his plan is made.
 * Caller: internal.
 */
create function tokenbook.reserved_action_types()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.grant_action_types()
    || array['admin_deduct', 'opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover'];
end
$$;
comment on function tokenbook.reserved_action_types is
  'The action types that the ledger keeps for itself.';
