/*
 * Whether a user's balance is what the records say it should be, and if not, since when, by how much, and
 * which of the known scenarios it is. See docs/guides/reconciliation.md.
 * Caller: an admin, service_role.   Locks: nothing.
 * Returns {user_id, current_remaining, current_used, current_cost, calculated_used, calculated_cost,
 * expected_remaining, remaining_difference, used_difference, cost_difference, since, formula,
 * counters_before_the_books, last_transaction_id, findings: [{scenario, cause, tokens, off, is_repairable,
 * since, advice, evidence, cents?}]}; costs in cents; differences positive where the books have more.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: callers have no write access to the tables, and an admin reads other users' rows.
create function tokenbook.reconcile_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.require_user(p_user_id, 'service');
  return tokenbook.reconcile(p_user_id);
end
$$;
comment on function tokenbook.reconcile_user_token_balance is
  'Compares a user''s books with their audit trail (token_usage), and what lies before the books with the old records. For an admin or the server. Returns {user_id, current_remaining, current_used, current_cost (cents), calculated_used, calculated_cost, expected_remaining, remaining_difference, used_difference, cost_difference (positive: the books have more), since, formula (the lines of expected_remaining: start + granted + admin_granted - tokens_used - admin_deducted - expired - clawed_back + other - reserved), counters_before_the_books, last_transaction_id, findings: [{scenario, cause, tokens, off, is_repairable, since, advice, evidence, cents (of cost_mismatch)}]}. scenario is balance_higher, balance_lower, cost_mismatch, no_usage_records, negative_balance, failed_operations_counted or duplicate_usage. An admin''s grant or deduction repairs what is off at that moment as far as it makes it smaller (never with a reason that begins with "goodwill"); one that closes it, or whose reason begins with "reconciliation", settles what was before it. Errors: invalid_user_id, user_not_found, not_authenticated, forbidden.';
