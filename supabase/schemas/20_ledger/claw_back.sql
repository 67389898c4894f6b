/*
 * Takes tokens back that should not have been given (a refunded or disputed payment, a grant made
 * by mistake): from their own grant first, then from the others in burn order, at most what is
 * left. What could not be taken becomes the account's debt, repaid first by what comes in next. Where one
 * entry cannot name all the grants that have something left, the others repay it with the next calls. The plan limit goes down by all of it.
 * p_entry is the transaction to be: user_id, reason, actor, key, request, links, metadata.
 * Locks: the account (again).   Returns the transaction.   Keeps: I1 to I4, I9.
 */
create function tokenbook.claw_back(
  p_entry public.token_transactions,
  p_own_grant_id uuid,
  p_tokens bigint
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_from_own bigint;
  v_from_others bigint;
begin
  v_account := tokenbook.lock_account(p_entry.user_id);
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;

  select least(p_tokens, b.tokens_remaining) into v_from_own
    from public.token_balances b where b.user_id = p_entry.user_id and b.id = p_own_grant_id;
  v_from_own := coalesce(v_from_own, 0);
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - v_from_own, is_open = b.tokens_remaining > v_from_own
   where b.user_id = p_entry.user_id and b.id = p_own_grant_id;
  v_from_others := least(p_tokens, v_account.tokens_remaining) - v_from_own;
  if v_from_others > 0 then
    select taken.grant_ids, taken.grant_tokens, taken.tokens
      into p_entry.grant_ids, p_entry.grant_tokens, v_from_others
      from tokenbook.take_from_grants(p_entry.user_id, v_from_others, v_now, p_partial => true) as taken;
  end if;
  if v_from_own > 0 then
    p_entry.grant_ids := p_own_grant_id || p_entry.grant_ids;
    p_entry.grant_tokens := v_from_own || p_entry.grant_tokens;
  end if;

  p_entry.entry_type := 'clawback';
  p_entry.action_type := 'clawback';
  p_entry.tokens := -(v_from_own + v_from_others);
  p_entry.debt_change := p_tokens + p_entry.tokens;
  p_entry.grant_ids := coalesce(p_entry.grant_ids, '{}');
  p_entry.grant_tokens := coalesce(p_entry.grant_tokens, '{}');
  p_entry.created_at := v_now;
  p_entry := tokenbook.record_transaction(p_entry);
  if p_entry.debt_change > 0 and p_entry.balance_after > 0 then
    perform tokenbook.bring_due_forward(p_entry.user_id, v_now);
  end if;
  perform tokenbook.move_plan_limit(p_entry.user_id, -p_tokens);
  return p_entry;
end
$$;
comment on function tokenbook.claw_back is
  'Takes tokens back that should not have been given, their own grant first; what is not there becomes debt.';
