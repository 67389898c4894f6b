-- Takes the time when the transaction began, as now() does: whoever waited for the lock spends a
-- grant that ran out while he waited.
create or replace function private.spend(
  p_entry public.token_transactions,
  out transaction public.token_transactions, out replayed boolean, out shortfall bigint, out tokens_remaining bigint
)
returns record language plpgsql volatile security invoker set search_path = ''
as $$
declare
  v_account public.token_accounts;
begin
  replayed := false;
  shortfall := 0;
  v_account := private.lock_account(p_entry.user_id);
  tokens_remaining := v_account.tokens_remaining
    - case when v_account.next_due_at <= now() then private.tokens_due(p_entry.user_id, now()) else 0 end;
  if tokens_remaining < -p_entry.tokens then
    shortfall := -p_entry.tokens - tokens_remaining;
    return;
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.take_from_grants(p_entry.user_id, -p_entry.tokens) as taken;
  p_entry.entry_type := 'deduction';
  p_entry.created_at := now();
  transaction := private.book(p_entry);
  tokens_remaining := transaction.balance_after;
end
$$;
