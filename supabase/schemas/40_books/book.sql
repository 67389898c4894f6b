/*
 * Writes one transaction: the account's totals and the ledger row in one statement, so that no
 * code path can write one without the other. The caller has locked the account and changed the
 * grants that the allocations name.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create or replace function private.book(
  p_user_id uuid,
  p_entry_type text,
  p_action_type text,
  p_tokens bigint,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_reason text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_request jsonb,
  p_metadata jsonb,
  p_usage_id uuid,
  p_at timestamptz
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_transaction public.token_transactions;
begin
  with account as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + p_tokens,
           -- an admin's correction takes tokens away, but nobody used them
           tokens_used = a.tokens_used
             - case when p_entry_type = 'deduction' and p_action_type <> 'admin_deduct' then p_tokens else 0 end,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_at
     where a.user_id = p_user_id
    returning a.last_transaction_id, a.tokens_remaining + a.tokens_reserved as balance
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
     reason, actor_role, actor_id, idempotency_key, request, metadata, usage_id, created_at)
  select p_user_id, account.last_transaction_id, p_entry_type, p_action_type, p_tokens,
         account.balance, p_grant_ids, p_grant_tokens, p_reason, p_actor_role, p_actor_id,
         p_idempotency_key, p_request, p_metadata, p_usage_id, p_at
    from account
  returning t.* into v_transaction;
  return v_transaction;
end
$$;
comment on function private.book(uuid, text, text, bigint, uuid[], bigint[], text, text, uuid, text, jsonb, jsonb, uuid, timestamptz) is
  'Writes one transaction: account totals and ledger row in one statement. The account is locked and the grants are changed by the caller.';
revoke all on function private.book(uuid, text, text, bigint, uuid[], bigint[], text, text, uuid, text, jsonb, jsonb, uuid, timestamptz) from public, anon, authenticated, service_role;
