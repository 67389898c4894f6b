/*
 * One finding of a reconciliation, with the advice that its scenario has. `off` is by how much the balance is
 * too high (negative: too low) because of it; an adjustment by the opposite puts it right, where is_repairable.
 * Caller: internal.
 */
create function tokenbook.describe_finding(
  p_scenario text,
  p_cause text,
  p_tokens bigint,
  p_off bigint,
  p_since timestamptz,
  p_evidence jsonb
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'scenario', p_scenario,
    'cause', p_cause,
    'tokens', p_tokens,
    'off', p_off,
    'is_repairable', p_off <> 0 and p_cause <> 'account_differs_from_ledger',
    'since', p_since,
    'advice', case
      when p_cause = 'account_differs_from_ledger' then
        'The account and its own ledger differ. No adjustment repairs that: run verify_token_ledger, and find who wrote past the functions.'
      when p_scenario = 'balance_higher' then
        'Review token_usage for gaps and for operations from before tokens were tracked. Then deduct the difference.'
      when p_scenario = 'balance_lower' then
        'Review failed operations, duplicate entries and adjustments made by hand. Then grant the difference.'
      when p_scenario = 'cost_mismatch' then
        'Review how costs were calculated and whether model prices have changed; token_usage is the record. No tokens are concerned, and nothing books a cost alone.'
      when p_scenario = 'no_usage_records' then
        'Check whether the user has any AI operations at all: they may have started before tokens were tracked. Then set the balance by hand, from their membership tier.'
      when p_scenario = 'negative_balance' then
        'More was used than was ever granted. Check for calculation errors, then grant tokens to bring the balance positive, or leave it at 0.'
      when p_scenario = 'failed_operations_counted' then
        'A failed operation deducts nothing. Grant back what these took.'
      when p_cause = 'recorded_twice' then
        'Written down twice and deducted once: the balance is right, and this sum counts it once.'
      when p_scenario = 'duplicate_usage' then
        'Two deductions of the server, without idempotency keys, name the same request. Ask who sent it whether it was sent twice: then refund the second. Nothing is given back by itself for what metadata say.'
    end,
    'evidence', p_evidence);
end
$$;
comment on function tokenbook.describe_finding is 'A finding of a reconciliation as JSON, with its scenario''s advice.';
