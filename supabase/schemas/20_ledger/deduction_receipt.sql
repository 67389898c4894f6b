/*
 * The answer to a deduction of p_tokens: its transaction (new or replayed) and which grants paid, or a
 * shortfall and no transaction. The same for one deduction and for one of a batch.
 * Caller: internal.
 */
create function tokenbook.deduction_receipt(
  p_tokens bigint,
  p_transaction_id bigint,
  p_deducted_from jsonb,
  p_shortfall bigint,
  p_tokens_remaining bigint,
  p_replayed boolean,
  p_capped_by jsonb default null
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_receipt constant jsonb := jsonb_build_object(
    'success', p_shortfall = 0,
    'tokens_deducted', case when p_shortfall = 0 then p_tokens else 0 end, -- @receipts-are-exact
    'tokens_remaining_to_deduct', p_shortfall,
    'deducted_from', p_deducted_from,
    'transaction_id', p_transaction_id,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed);
begin
  if p_capped_by is null then
    return v_receipt;
  end if;
  return v_receipt || tokenbook.describe_cap(p_capped_by);
end
$$;
comment on function tokenbook.deduction_receipt is
  'The answer to a deduction: {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed}, and capped_by where a cap allowed less.';
