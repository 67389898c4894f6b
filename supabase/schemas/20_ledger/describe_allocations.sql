/*
 * Which grants an entry took from and how much each, in the order in which they paid:
 * [{grant_id, grant_type, granted_at, deducted}]. From what is stored, for a new entry and
 * for a replay of it alike, so that both get the same receipt.
 * Caller: internal.
 */
create function tokenbook.describe_allocations(p_user_id uuid, p_grant_ids uuid[], p_grant_tokens bigint[])
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select jsonb_agg(
             tokenbook.describe_allocation(b.id, b.grant_type, b.granted_at, paid.tokens) order by paid.nth)
      from unnest(p_grant_ids, p_grant_tokens)
           with ordinality as paid (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = paid.grant_id), '[]');
end
$$;
comment on function tokenbook.describe_allocations is
  'The grants that an entry took from: [{grant_id, grant_type, granted_at, deducted}] in the order in which they paid.';
