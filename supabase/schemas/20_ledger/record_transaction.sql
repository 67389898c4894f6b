/*
 * Writes one transaction: the account's totals and the ledger row, so that no code path can write one
 * without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here. p_cost is
 * what the operation behind it cost, in cents; p_due_at when something of it runs out (I7); p_taken_at,
 * where the caller knows it, when the tokens were taken that come back. What was spent is counted into its day, week and
 * month, the account's and the member's.
 * Alerts are only looked for when the balance has passed one of the account's alert thresholds, tokens came in
 * whose expiry somebody wants to know of, or the rules have changed since. A grant is sent to the webhook endpoints
 * that ask for it.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create function tokenbook.record_transaction(
  p_entry public.token_transactions,
  p_cost numeric default 0,
  p_due_at timestamptz default null,
  p_taken_at timestamptz default null
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_change bigint;
  v_has_passed boolean;
  v_used bigint := 0;
  v_spent bigint := 0;
  v_spending_time timestamptz := p_entry.created_at;
  v_day timestamptz := date_trunc('day', p_entry.created_at, 'UTC');
  v_week timestamptz := date_trunc('week', p_entry.created_at, 'UTC');
  v_month timestamptz := date_trunc('month', p_entry.created_at, 'UTC');
begin
  p_entry.debt_change := coalesce(p_entry.debt_change, 0);
  p_entry.reserved_change := coalesce(p_entry.reserved_change, 0);
  if p_entry.idempotency_key is null then
    p_entry.request := null;
  end if;
  v_change := p_entry.tokens - p_entry.reserved_change;
  -- an admin's correction takes tokens away, but nobody used them
  if p_entry.entry_type in ('deduction', 'hold', 'release', 'refund') and p_entry.action_type <> 'admin_deduct' then
    v_used := p_entry.debt_change - p_entry.tokens;
    v_spent := p_entry.reserved_change + v_used;
    if p_entry.entry_type in ('release', 'refund') then
      v_spending_time := coalesce(p_taken_at, tokenbook.spending_time(p_entry));
    end if;
  end if;
  update public.token_accounts a
     set tokens_remaining = a.tokens_remaining + v_change,
         tokens_reserved = a.tokens_reserved + p_entry.reserved_change,
         tokens_used = a.tokens_used + v_used,
         spent_at = greatest(a.spent_at, p_entry.created_at),
         spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end
           + case when v_spending_time >= v_day then v_spent else 0 end,
         spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end
           + case when v_spending_time >= v_week then v_spent else 0 end,
         spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end
           + case when v_spending_time >= v_month then v_spent else 0 end,
         tokens_owed = a.tokens_owed + p_entry.debt_change,
         total_cost = a.total_cost + p_cost,
         next_due_at = least(a.next_due_at, p_due_at),
         last_transaction_id = a.last_transaction_id + 1,
         updated_at = p_entry.created_at
   where a.user_id = p_entry.user_id
  returning a.last_transaction_id, a.tokens_remaining,
            a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above -- @alerts-when-passed
              or (a.warns_of_expiry and v_change > 0)
              or a.alerts_version is distinct from ( -- @alerts-without-settings
                select r.alerts_version from tokenbook.project_settings r)
    into p_entry.id, p_entry.balance_after, v_has_passed;
  perform tokenbook.append_transactions(array[p_entry]);
  if p_entry.entry_type = 'grant' then -- apart: others do not pay for the question
    if pg_relation_size('tokenbook.webhook_endpoints') > 0 then
      perform tokenbook.write_webhook('token_grant.made', p_entry.user_id, p_entry.created_at, jsonb_build_object(
        'transaction_id', p_entry.id, 'tokens', p_entry.tokens, 'tokens_remaining', p_entry.balance_after,
        'grant_id', p_entry.grant_ids[1], 'grant_type', p_entry.terms -> 'grants' -> 0 -> 'grant_type',
        'action_type', p_entry.action_type, 'expires_at', p_entry.terms -> 'grants' -> 0 -> 'expires_at',
        'payment_id', p_entry.payment_id));
    end if;
  end if;

  if p_entry.member_id is not null then
    perform tokenbook.count_for_member(
      p_entry.user_id, p_entry.member_id, v_used, v_spent, v_spending_time, p_entry.created_at);
  end if;
  if v_has_passed then
    perform tokenbook.raise_alerts(p_entry.user_id, p_entry.balance_after - v_change, p_entry.created_at);
  end if;
  return p_entry;
end
$$;
comment on function tokenbook.record_transaction is
  'Writes one transaction: account totals and ledger row. Takes the row to be, without id and balance_after, and what the operation cost in cents; the account is locked and the grants are changed by the caller.';
