/*
 * Writes one transaction: the account's totals and the ledger row in one statement, so that no
 * code path can write one without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here. p_cost is
 * what the operation behind it cost, in cents.
 * Alerts are only looked for when the balance has passed one of the account's marks, tokens came in
 * whose expiry somebody wants to know of, or the rules have changed since.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create or replace function private.book(p_entry public.token_transactions, p_cost numeric default 0)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_change bigint := p_entry.tokens - coalesce(p_entry.reserved_change, 0);
  v_booked record;
begin
  with account as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + v_change,
           tokens_reserved = a.tokens_reserved + coalesce(p_entry.reserved_change, 0),
           -- an admin's correction takes tokens away, but nobody used them
           tokens_used = a.tokens_used
             - case when p_entry.entry_type in ('deduction', 'refund') and p_entry.action_type <> 'admin_deduct'
                 then p_entry.tokens else 0 end,
           tokens_owed = a.tokens_owed + coalesce(p_entry.debt_change, 0),
           total_cost = a.total_cost + p_cost,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_entry.created_at
     where a.user_id = p_entry.user_id
    returning a.last_transaction_id, a.tokens_remaining as balance,
              a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above
                or (a.warns_of_expiry and v_change > 0)
                or a.alerts_version <> (select v.version from private.alert_rule_versions v) as has_passed
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change,
     grant_ids, grant_tokens, reason, actor_role, actor_id, idempotency_key, request,
     usage_id, hold_id, payment_id, original_id, metadata, created_at)
  select p_entry.user_id, account.last_transaction_id, p_entry.entry_type, p_entry.action_type,
         p_entry.tokens, account.balance, coalesce(p_entry.debt_change, 0),
         coalesce(p_entry.reserved_change, 0), p_entry.grant_ids, p_entry.grant_tokens,
         p_entry.reason, p_entry.actor_role, p_entry.actor_id, p_entry.idempotency_key,
         case when p_entry.idempotency_key is not null then p_entry.request end,
         p_entry.usage_id, p_entry.hold_id, p_entry.payment_id, p_entry.original_id,
         p_entry.metadata, p_entry.created_at
    from account
  returning t as transaction, (select account.has_passed from account) into v_booked;
  if v_booked.has_passed then
    perform private.raise_alerts(
      p_entry.user_id, (v_booked.transaction).balance_after - v_change, p_entry.created_at);
  end if;
  return v_booked.transaction;
end
$$;
comment on function private.book(public.token_transactions, numeric) is
  'Writes one transaction: account totals and ledger row in one statement. Takes the row to be, without id and balance_after, and what the operation cost in cents; the account is locked and the grants are changed by the caller.';
revoke all on function private.book(public.token_transactions, numeric) from public, anon, authenticated, service_role;
