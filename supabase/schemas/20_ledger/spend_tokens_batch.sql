/*
 * The fast path of a deduction, for many accounts in one statement: nothing is due, the grant that is next in
 * burn order covers it, no cap applies, no alert threshold is crossed (tokenbook.record_transaction makes the same check), and the key is new.
 * Every other entry is left to tokenbook.spend_tokens, the full path; both make the same grants, totals, ledger rows and
 * receipts. Costs half as much per user as tokenbook.spend_tokens (decision 26).
 * p_entries are transactions to be, as of tokenbook.spend_tokens, no two of one account and none of a member;
 * their id is the caller's own number, handed back. The caller has locked the accounts and read the
 * clock.
 * Caller: internal.   Returns the receipt of each deduction that was made.   Keeps: I1 to I5, I7, I8, I10.
 */
create function tokenbook.spend_tokens_batch(p_entries public.token_transactions[], p_now timestamptz)
returns table (nth bigint, receipt jsonb)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day timestamptz := date_trunc('day', p_now, 'UTC');
  v_week timestamptz := date_trunc('week', p_now, 'UTC');
  v_month timestamptz := date_trunc('month', p_now, 'UTC');
  v_paid record;
  v_entry public.token_transactions;
  v_entries public.token_transactions[] := '{}';
  v_expiring_first boolean := (select r.is_expiring_first from tokenbook.project_settings r);
begin
  -- Each step has all that it needs from the first: joining steps to each other would be quadratic
  -- under a plan that does not know how many items there are.
  for v_paid in
  with payable as (
    select e.ordinality as place, e.id as nth, e.user_id, -e.tokens as tokens, a.last_transaction_id + 1 as transaction_id,
           a.tokens_remaining + e.tokens as tokens_remaining, b.id as grant_id, b.grant_type, b.granted_at
      from unnest(p_entries) with ordinality as e
      join public.token_accounts a on a.user_id = e.user_id
     cross join lateral (
       select g.* from tokenbook.open_grants_in_order(e.user_id, p_now, v_expiring_first) g -- @batch-spends-what-lives
        limit 1) b
     where a.tokens_remaining >= -e.tokens -- @batch-covers-each
       and a.state = 'active' -- @batch-not-frozen
       and not a.was_member -- @batch-own-keys
       and b.tokens_remaining >= -e.tokens
       and (a.next_due_at > p_now or a.next_due_at is null) -- @batch-has-nothing-due
       and not exists (
         select 1 from public.token_transactions t
          where t.user_id = e.user_id and t.member_id is null and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not a.has_caps -- @batch-no-caps
       and a.restricted_until is null -- @batch-pays-for-everything
       and a.alerts_version = (
         select r.alerts_version from tokenbook.project_settings r
          where not r.has_common_caps) -- @batch-common-caps
       and (a.tokens_remaining + e.tokens < a.alert_below or a.tokens_remaining + e.tokens >= a.alert_above) is not true
  ), taken as (
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p.tokens,
           is_open = b.tokens_remaining > p.tokens
      from payable p
     where b.user_id = p.user_id and b.id = p.grant_id
  ), accounts as (
    -- as tokenbook.record_transaction does it, for a deduction
    update public.token_accounts a
       set tokens_remaining = p.tokens_remaining,
           tokens_used = a.tokens_used + p.tokens,
           spent_at = greatest(a.spent_at, p_now),
           spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end + p.tokens,
           spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end + p.tokens,
           spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end + p.tokens,
           last_transaction_id = p.transaction_id,
           updated_at = p_now
      from payable p
     where a.user_id = p.user_id
  )
  select p.* from payable p
  loop
    v_entry := p_entries[v_paid.place];
    v_entry.id := v_paid.transaction_id;
    v_entry.entry_type := 'deduction';
    v_entry.balance_after := v_paid.tokens_remaining;
    v_entry.debt_change := 0;
    v_entry.reserved_change := 0;
    v_entry.grant_ids := array[v_paid.grant_id];
    v_entry.grant_tokens := array[v_paid.tokens];
    v_entry.created_at := p_now;
    v_entries := v_entries || v_entry;
    nth := v_paid.nth;
    receipt := tokenbook.deduction_receipt(
      v_paid.tokens, v_paid.transaction_id,
      jsonb_build_array(tokenbook.describe_allocation(
        v_paid.grant_id, v_paid.grant_type, v_paid.granted_at, v_paid.tokens)),
      0, v_paid.tokens_remaining, false);
    return next;
  end loop;
  perform tokenbook.append_transactions(v_entries);
end
$$;
comment on function tokenbook.spend_tokens_batch is
  'Makes the deductions that need nothing but the next grant, one an account, in one statement, and returns their receipts; leaves the others alone. The accounts are locked.';
