/*
 * The answer to a deduction of p_tokens: its transaction (new or replayed) and which grants paid, or a
 * shortfall and no transaction. The same for one deduction and for one of a batch.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22).
 * Caller: internal.
 */
create function tokenbook.deduction_receipt(
  p_tokens bigint,
  p_transaction_id bigint,
  p_deducted_from jsonb,
  p_shortfall bigint,
  p_tokens_remaining bigint,
  p_replayed boolean
)
returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_build_object(
    'success', p_shortfall = 0,
    'tokens_deducted', case when p_shortfall = 0 then p_tokens else 0 end, -- @receipts-are-exact
    'tokens_remaining_to_deduct', p_shortfall,
    'deducted_from', p_deducted_from,
    'transaction_id', p_transaction_id,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed)
$$;
comment on function tokenbook.deduction_receipt is
  'The answer to a deduction: {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed}.';
