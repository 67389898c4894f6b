/*
 * The answer about a refund: the same for the call that makes it and for a repeated call. Forfeited is what went into a
 * grant that had run out by then.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22).
 * Caller: internal.
 */
create function tokenbook.refund_receipt(
  p_transaction_id bigint,
  p_tokens bigint,
  p_restored jsonb,
  p_forfeited jsonb,
  p_refundable bigint,
  p_tokens_remaining bigint,
  p_replayed boolean
)
returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_build_object(
    'success', true,
    'transaction_id', p_transaction_id,
    'tokens_refunded', p_tokens,
    'restored', p_restored,
    'forfeited', p_forfeited,
    'tokens_refundable', p_refundable,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed)
$$;
comment on function tokenbook.refund_receipt is
  'The answer to a refund: {success, transaction_id, tokens_refunded, restored, forfeited, tokens_refundable, tokens_remaining, replayed}.';

-- What went back into one grant, as that answer says it.
create function tokenbook.describe_return(p_grant_id uuid, p_grant_type text, p_tokens bigint)
returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_build_object('grant_id', p_grant_id, 'grant_type', p_grant_type, 'tokens', p_tokens)
$$;
comment on function tokenbook.describe_return is
  'What went back into one grant: {grant_id, grant_type, tokens}.';
