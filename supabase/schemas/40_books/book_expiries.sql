/*
 * Books what has run out: each due grant is closed, with one `expiry` transaction of its own, and
 * the account's totals and next_due_at follow. Set-based, for one user or a thousand; the same
 * code serves whoever touches an account and the sweeper, so the two cannot disagree.
 * The caller has locked these accounts. Nothing depends on it being run: what is due is neither
 * spent nor counted before it is booked either.
 * Caller: internal.   Returns how many grants were booked.   Keeps: I2, I3, I4, I7.
 */
create or replace function private.book_expiries(p_user_ids uuid[], p_now timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_booked bigint;
begin
  with due as (
    select b.user_id, b.id, b.tokens_remaining,
           row_number() over by_expiry as nth,
           sum(b.tokens_remaining) over by_expiry as lost_so_far
      from public.token_balances b
     where b.user_id = any (p_user_ids) and b.is_open and b.expires_at <= p_now
    window by_expiry as (partition by b.user_id order by b.expires_at, b.id)
  ), closed as (
    update public.token_balances b
       set tokens_remaining = 0, is_open = false
      from due
     where b.user_id = due.user_id and b.id = due.id
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
       reason, actor_role, created_at)
    select due.user_id, a.last_transaction_id + due.nth, 'expiry', 'expiry', -due.tokens_remaining,
           a.tokens_remaining + a.tokens_reserved - due.lost_so_far,
           array[due.id], array[due.tokens_remaining], 'expired', 'system', p_now
      from due
      join public.token_accounts a on a.user_id = due.user_id
  ), lost as (
    select due.user_id, count(*) as grants, sum(due.tokens_remaining)::bigint as tokens
      from due group by due.user_id
  ), settled as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining - coalesce(lost.tokens, 0),
           tokens_expired = a.tokens_expired + coalesce(lost.tokens, 0),
           last_transaction_id = a.last_transaction_id + coalesce(lost.grants, 0),
           next_due_at = (
             select min(b.expires_at) from public.token_balances b
              where b.user_id = a.user_id and b.is_open and b.expires_at > p_now),
           updated_at = p_now
      from unnest(p_user_ids) as asked (user_id)
      left join lost on lost.user_id = asked.user_id
     where a.user_id = asked.user_id
  )
  select count(*) into v_booked from due;
  return v_booked;
end
$$;
comment on function private.book_expiries(uuid[], timestamptz) is
  'Books every grant of these users that has run out by then, one expiry transaction each; the caller holds their accounts'' locks.';
revoke all on function private.book_expiries(uuid[], timestamptz) from public, anon, authenticated, service_role;
