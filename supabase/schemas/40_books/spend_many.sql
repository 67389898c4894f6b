/*
 * The usual deduction, for many accounts in one statement: nothing is due, there is enough, no cap
 * applies, nobody wants to be told (private.book asks the same of the marks), and the key is new. What is not so is left alone, and goes through private.spend; both come to the same
 * grants, totals and ledger rows.
 * p_entries are transactions to be, as of private.spend, no two of one account and none of a member; their id is the
 * caller's own number, handed back. The caller has locked the accounts and read the clock.
 * Caller: internal.   Returns of each deduction that was made what its receipt says, deducted_from as
 * private.allocations gives it.   Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend_many(p_entries public.token_transactions[], p_now timestamptz)
returns table (nth bigint, transaction_id bigint, tokens_remaining bigint, deducted_from jsonb)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_day timestamptz := date_trunc('day', p_now, 'UTC');
  v_week timestamptz := date_trunc('week', p_now, 'UTC');
  v_month timestamptz := date_trunc('month', p_now, 'UTC');
begin
  -- Each step hands on all that the next one needs: joining steps to each other would be quadratic
  -- under a plan that does not know how many items there are.
  return query
  with payable as (
    select e.id as nth, e.user_id, e.tokens, e.action_type, e.reason, e.actor_role, e.idempotency_key, e.request,
           e.metadata, chosen.grant_ids, chosen.grant_tokens, paid.deducted_from
      from unnest(p_entries) as e
      join public.token_accounts a on a.user_id = e.user_id
     cross join lateral private.choose_grants(e.user_id, -e.tokens, p_now) as chosen
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'grant_id', b.id, 'grant_type', b.grant_type, 'granted_at', b.granted_at, 'deducted', part.tokens)
                order by part.nth) as deducted_from
         from unnest(chosen.grant_ids, chosen.grant_tokens) with ordinality as part (grant_id, tokens, nth)
         join public.token_balances b on b.user_id = e.user_id and b.id = part.grant_id) paid
     where a.tokens_remaining >= -e.tokens
       and (a.next_due_at > p_now or a.next_due_at is null)
       and not exists (
         select from public.token_transactions t
          where t.user_id = e.user_id and t.member_id is null and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not exists (
         select from public.token_transactions t -- of the time when he was in a team
          where t.member_id = e.user_id and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not exists (select from public.token_spend_caps c where c.user_id = e.user_id)
       and not exists (select from public.default_spend_caps d)
       and (a.tokens_remaining + e.tokens < a.alert_below or a.tokens_remaining + e.tokens >= a.alert_above
         or a.alerts_version <> (select r.alerts_version from private.rules_in_force r)) is not true
  ), taken as (
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - part.tokens,
           is_open = b.tokens_remaining > part.tokens
      from payable p
     cross join lateral unnest(p.grant_ids, p.grant_tokens) as part (grant_id, tokens)
     where b.user_id = p.user_id and b.id = part.grant_id
  ), accounts as (
    -- as private.book does it, for a deduction
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + p.tokens,
           tokens_used = a.tokens_used - p.tokens,
           spent_at = greatest(a.spent_at, p_now),
           spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end - p.tokens,
           spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end - p.tokens,
           spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end - p.tokens,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_now
      from payable p
     where a.user_id = p.user_id
    returning p.*, a.last_transaction_id, a.tokens_remaining as balance
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, idempotency_key, request, metadata, created_at)
    select a.user_id, a.last_transaction_id, 'deduction', a.action_type, a.tokens, a.balance,
           a.grant_ids, a.grant_tokens, a.reason, a.actor_role, a.idempotency_key,
           case when a.idempotency_key is not null then a.request end, a.metadata, p_now
      from accounts a
  )
  select a.nth, a.last_transaction_id, a.balance, a.deducted_from from accounts a;
end
$$;
comment on function private.spend_many(public.token_transactions[], timestamptz) is
  'Makes the deductions that need nothing but tokens, one an account, in one statement, and returns what their receipts say; leaves the others alone. The accounts are locked.';
revoke all on function private.spend_many(public.token_transactions[], timestamptz) from public, anon, authenticated, service_role;
