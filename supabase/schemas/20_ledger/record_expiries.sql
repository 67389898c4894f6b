/*
 * Books what has run out: each due hold is released; then each due grant is closed, with one
 * `expiry` transaction of its own, and the account's totals and next_due_at follow. For one user
 * or a thousand; the same code serves whoever touches an account and the sweeper, so the two
 * cannot disagree. Alerts that fall due by time alone are raised here too.
 * The caller has locked these accounts. Nothing depends on it being run: what is due is neither
 * spent nor counted before it is booked either.
 * Caller: internal.   Returns how many grants were booked.   Keeps: I2, I3, I4, I7.
 */
create function tokenbook.record_expiries(p_user_ids uuid[], p_now timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
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
    perform tokenbook.close_hold(v_hold, 0, 'expired', p_now, 'system', null);
    v_released := v_released || v_hold.user_id;
  end loop;

  -- Each part looks up what is due by the account's id, all in one snapshot: joining the parts to each
  -- other would be quadratic under a plan that does not know how many users there are.
  with settled as (
    update public.token_accounts a
       set (tokens_remaining, tokens_expired, last_transaction_id) = (
             select a.tokens_remaining - coalesce(sum(b.tokens_remaining), 0),
                    a.tokens_expired + coalesce(sum(b.tokens_remaining), 0),
                    a.last_transaction_id + count(*)
               from public.token_balances b
              where b.user_id = a.user_id and b.is_open and b.expires_at <= p_now),
           next_due_at = least(
             (select min(b.expires_at) from public.token_balances b
               where b.user_id = a.user_id and b.is_open and b.expires_at > p_now),
             (select min(h.expires_at) from public.token_holds h
               where h.user_id = a.user_id and h.status = 'open'),
             case when a.next_alert_at > p_now then a.next_alert_at end),
           updated_at = p_now
     where a.user_id = any (p_user_ids)
    returning a.user_id, a.tokens_remaining, a.last_transaction_id,
              a.tokens_remaining < a.alert_below or a.next_alert_at <= p_now
                or a.alerts_version is distinct from (select r.alerts_version from tokenbook.project_settings r) as has_passed
  ), due as (
    select s.user_id, b.id, b.tokens_remaining as lost,
           s.last_transaction_id + 1 - b.nth_last as transaction_id,
           s.tokens_remaining + b.lost_from_here - b.tokens_remaining as balance_after
      from settled s
     cross join lateral (
       select g.id, g.tokens_remaining,
              row_number() over from_the_last as nth_last,
              sum(g.tokens_remaining) over from_the_last as lost_from_here
         from public.token_balances g
        where g.user_id = s.user_id and g.is_open and g.expires_at <= p_now
       window from_the_last as (order by g.expires_at desc, g.id desc)) b
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
       reason, actor_role, created_at)
    select due.user_id, due.transaction_id, 'expiry', 'expiry', -due.lost, due.balance_after,
           array[due.id], array[due.lost], 'expired', 'system', p_now
      from due
  ), closed as (
    update public.token_balances b
       set tokens_remaining = 0, is_open = false
     where b.user_id = any (p_user_ids) and b.is_open and b.expires_at <= p_now
  ), passed as (
    select s.user_id,
           s.tokens_remaining + (
             select coalesce(sum(b.tokens_remaining), 0)::bigint from public.token_balances b
              where b.user_id = s.user_id and b.is_open and b.expires_at <= p_now) as before
      from settled s where s.has_passed
  )
  select (select count(*) from due),
         array_agg(passed.user_id order by passed.user_id), array_agg(passed.before order by passed.user_id)
    into v_booked, v_passed, v_before
    from passed;
  for v_nth in 1 .. coalesce(cardinality(v_passed), 0)
  loop
    perform tokenbook.raise_alerts(v_passed[v_nth], v_before[v_nth], p_now);
  end loop;

  if v_released <> '{}' then
    for v_user_id in select distinct r.user_id from unnest(v_released) as r (user_id)
    loop
      perform tokenbook.settle_incoming(v_user_id, p_now);
    end loop;
  end if;
  return v_booked;
end
$$;
comment on function tokenbook.record_expiries is
  'Releases every hold of these users that has run out by then, and books every such grant, one expiry transaction each; the caller holds their accounts'' locks.';
