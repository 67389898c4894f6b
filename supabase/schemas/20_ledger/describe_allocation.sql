/*
 * What one grant paid, as receipts and quotes say it.
 * No search_path of its own, so that Postgres inlines it into the calling expression (decision 22).
 * Caller: internal.
 */
create function tokenbook.describe_allocation(
  p_grant_id uuid,
  p_grant_type text,
  p_granted_at timestamptz,
  p_tokens bigint
)
returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_build_object(
    'grant_id', p_grant_id, 'grant_type', p_grant_type, 'granted_at', p_granted_at, 'deducted', p_tokens)
$$;
comment on function tokenbook.describe_allocation is
  'What one grant paid: {grant_id, grant_type, granted_at, deducted}.';
