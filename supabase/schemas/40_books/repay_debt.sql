/*
 * Lets a new grant repay what the account owes, as far as it goes. The caller holds the lock.
 * Caller: internal.   Keeps: I2, I3, I4.
 */
create or replace function private.repay_debt(p_user_id uuid, p_grant_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
begin
  select -least(a.tokens_owed, b.tokens_remaining) into v_entry.tokens
    from public.token_accounts a
    join public.token_balances b on b.user_id = a.user_id and b.id = p_grant_id
   where a.user_id = p_user_id;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining + v_entry.tokens,
         is_open = b.tokens_remaining + v_entry.tokens > 0
   where b.user_id = p_user_id and b.id = p_grant_id;

  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'debt_repayment';
  v_entry.action_type := 'debt_repayment';
  v_entry.debt_change := v_entry.tokens;
  v_entry.grant_ids := array[p_grant_id];
  v_entry.grant_tokens := array[-v_entry.tokens];
  v_entry.reason := 'debt is repaid first';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform private.book(v_entry);
end
$$;
comment on function private.repay_debt(uuid, uuid, timestamptz) is
  'Takes from a new grant what the account owes, as one debt_repayment; the caller holds the account''s lock.';
revoke all on function private.repay_debt(uuid, uuid, timestamptz) from public, anon, authenticated, service_role;
