/*
 * The action types that mean something to the books: no caller may name their own spending so. Whatever the code
 * compares an action type with is here (a lint: action_type_not_reserved). Nothing rests on the name alone:
 * code that looks for such an entry also tests a field that no caller can write.
 * Immutable, so that the planner folds a call of it into a constant.
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
  -- @names-are-reserved begin
  return tokenbook.recorded_grant_actions()
    || array['admin_deduct', 'opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'restating',
             'void', 'rollover', 'plan_change', 'expiry_change', 'upcoming_grant', 'hold_split', 'hold_return'];
  -- @names-are-reserved end
end
$$;
comment on function tokenbook.reserved_action_types is
  'The action types that mean something to the books, and that no caller may use.';
