/*
 * The answer about a hold: the same for the call that settles it and for a repeated call. p_asked is what was asked for,
 * captured or released: success says whether that is the hold's state.
 * A hold that ran out counts as released: its tokens are back.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22).
 * Caller: internal.
 */
create function tokenbook.hold_receipt(
  p_asked text,
  p_hold_id uuid,
  p_status text,
  p_tokens bigint,
  p_captured bigint,
  p_deducted bigint,
  p_uncovered bigint,
  p_deducted_from jsonb,
  p_capture_id bigint,
  p_overage_id bigint,
  p_usage_id uuid,
  p_cost_estimate numeric,
  p_settled_at timestamptz,
  p_tokens_remaining bigint,
  p_replayed boolean
)
returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_build_object(
    'success', p_status = p_asked or p_status = 'expired' and p_asked = 'released',
    'hold_id', p_hold_id,
    'status', p_status,
    'tokens_reserved', p_tokens,
    'tokens_captured', p_captured,
    'tokens_released', p_tokens - p_captured,
    'tokens_deducted', p_deducted,
    'tokens_remaining_to_deduct', p_uncovered,
    'deducted_from', p_deducted_from,
    'transaction_id', p_capture_id,
    'overage_transaction_id', p_overage_id,
    'usage_id', p_usage_id,
    'cost_estimate', p_cost_estimate,
    'settled_at', p_settled_at,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed)
$$;
comment on function tokenbook.hold_receipt is
  'What came of a hold: status, tokens reserved, captured, released and deducted, the grants that paid, the usage.';
