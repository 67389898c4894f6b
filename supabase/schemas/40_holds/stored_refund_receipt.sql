/*
 * The answer about a refund from what is stored, for a repeated call, and where what was given back is not one grant's.
 * Caller: internal.
 */
create function tokenbook.stored_refund_receipt(p_refund public.token_transactions, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_restored jsonb;
  v_forfeited jsonb;
  v_refundable bigint;
  v_remaining bigint;
begin
  select coalesce(jsonb_agg(p.part order by p.nth) filter (where not p.is_forfeited), '[]'),
         coalesce(jsonb_agg(p.part order by p.nth) filter (where p.is_forfeited), '[]')
    into v_restored, v_forfeited
    from (
      select tokenbook.describe_return(b.id, b.grant_type, a.tokens) as part,
             a.nth, coalesce(b.expires_at <= p_refund.created_at, false) as is_forfeited
        from unnest(p_refund.grant_ids, p_refund.grant_tokens) with ordinality as a (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_refund.user_id and b.id = a.grant_id) p;
  select t.debt_change - t.tokens - (
           select sum(r.tokens - r.debt_change) from public.token_transactions r
            where r.user_id = p_refund.user_id and r.original_id = t.id and r.entry_type = 'refund' and r.id <= p_refund.id)
    into v_refundable
    from public.token_transactions t
   where t.user_id = p_refund.user_id and t.id = p_refund.original_id;
  select t.balance_after into v_remaining
    from public.token_transactions t
   where t.user_id = p_refund.user_id and t.created_at = p_refund.created_at
     -- what was forfeited and what repaid a debt follows it at once
     and t.id between p_refund.id and p_refund.id + cardinality(p_refund.grant_ids) + 1
   order by t.id desc
   limit 1;
  return tokenbook.refund_receipt(
    p_refund.id, p_refund.tokens - p_refund.debt_change, v_restored, v_forfeited, v_refundable, v_remaining, p_replayed)
    || case when p_refund.debt_change < 0 then jsonb_build_object('debt_cancelled', -p_refund.debt_change) else '{}' end;
end
$$;
comment on function tokenbook.stored_refund_receipt is
  'What a refund gave back and what of it was forfeited, grant by grant, from what is stored.';
