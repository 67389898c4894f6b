/*
 * The answer about a refund, from what is stored. Forfeited is what went into a grant that had run
 * out by then.
 * Caller: internal.
 */
create function tokenbook.refund_receipt(p_refund public.token_transactions, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_restored jsonb;
  v_forfeited jsonb;
begin
  select coalesce(jsonb_agg(p.part order by p.nth) filter (where not p.is_forfeited), '[]'),
         coalesce(jsonb_agg(p.part order by p.nth) filter (where p.is_forfeited), '[]')
    into v_restored, v_forfeited
    from (
      select jsonb_build_object('grant_id', b.id, 'grant_type', b.grant_type, 'tokens', a.tokens) as part,
             a.nth, coalesce(b.expires_at <= p_refund.created_at, false) as is_forfeited
        from unnest(p_refund.grant_ids, p_refund.grant_tokens) with ordinality as a (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_refund.user_id and b.id = a.grant_id) p;
  return jsonb_build_object(
    'success', true,
    'transaction_id', p_refund.id,
    'tokens_refunded', p_refund.tokens,
    'restored', v_restored,
    'forfeited', v_forfeited,
    'tokens_refundable', (
      select -t.tokens - (
        select sum(r.tokens) from public.token_transactions r
         where r.user_id = t.user_id and r.original_id = t.id and r.entry_type = 'refund' and r.id <= p_refund.id)
        from public.token_transactions t
       where t.user_id = p_refund.user_id and t.id = p_refund.original_id),
    'tokens_remaining', (
      select t.balance_after
        from public.token_transactions t
       where t.user_id = p_refund.user_id and t.created_at = p_refund.created_at
         -- what was forfeited and what repaid a debt follows it at once
         and t.id between p_refund.id and p_refund.id + cardinality(p_refund.grant_ids) + 1
       order by t.id desc
       limit 1),
    'replayed', p_replayed);
end
$$;
comment on function tokenbook.refund_receipt is
  'What a refund gave back and what of it was forfeited, grant by grant.';
