/*
 * Books what has run out: each due hold is released; then each due grant is closed, with one
 * `expiry` transaction of its own, and the account's totals and next_due_at follow. For one user
 * or a thousand; the same code serves whoever touches an account and the sweeper, so the two
 * cannot disagree. Alerts that fall due by time alone are raised here too.
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
  v_hold public.token_holds;
  v_released uuid[] := '{}';
  v_user_id uuid;
  v_passed uuid[];
  v_before bigint[];
begin
  for v_hold in
    select h.* from public.token_holds h
     where h.user_id = any (p_user_ids) and h.status = 'open' and h.expires_at <= p_now
     order by h.user_id, h.expires_at, h.id
  loop
    perform private.release_hold(v_hold, 0, 'expired', p_now, 'system', null);
    v_released := v_released || v_hold.user_id;
  end loop;

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
           a.tokens_remaining - due.lost_so_far,
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
           next_due_at = least(
             (select min(b.expires_at) from public.token_balances b
               where b.user_id = a.user_id and b.is_open and b.expires_at > p_now),
             (select min(h.expires_at) from public.token_holds h
               where h.user_id = a.user_id and h.status = 'open'),
             case when a.next_alert_at > p_now then a.next_alert_at end),
           updated_at = p_now
      from unnest(p_user_ids) as asked (user_id)
      left join lost on lost.user_id = asked.user_id
     where a.user_id = asked.user_id
    returning a.user_id, a.tokens_remaining + coalesce(lost.tokens, 0) as before,
              a.tokens_remaining < a.alert_below or a.next_alert_at <= p_now
                or a.alerts_version <> (select r.alerts_version from private.rules_in_force r) as has_passed
  )
  select (select count(*) from due),
         array_agg(settled.user_id order by settled.user_id), array_agg(settled.before order by settled.user_id)
    into v_booked, v_passed, v_before
    from settled where settled.has_passed;
  for v_nth in 1 .. coalesce(cardinality(v_passed), 0)
  loop
    perform private.raise_alerts(v_passed[v_nth], v_before[v_nth], p_now);
  end loop;

  for v_user_id in select distinct r.user_id from unnest(v_released) as r (user_id)
  loop
    perform private.settle_incoming(v_user_id, p_now);
  end loop;
  return v_booked;
end
$$;
comment on function private.book_expiries(uuid[], timestamptz) is
  'Releases every hold of these users that has run out by then, and books every such grant, one expiry transaction each; the caller holds their accounts'' locks.';
revoke all on function private.book_expiries(uuid[], timestamptz) from public, anon, authenticated, service_role;
