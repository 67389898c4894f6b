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
  v_due record;
  v_entry public.token_transactions;
  v_entries public.token_transactions[] := '{}';
  v_hold public.token_holds;
  v_released uuid[] := '{}';
  v_user_id uuid;
  v_passed uuid[] := '{}';
  v_before bigint[] := '{}';
begin
  for v_hold in
    select h.* from public.token_holds h
     where h.user_id = any (p_user_ids) and h.status = 'open' and h.expires_at <= p_now -- @holds-run-out
     order by h.user_id, h.expires_at, h.id
  loop
    perform tokenbook.close_hold(v_hold, 0, 'expired', p_now, 'system', null);
    v_released := v_released || v_hold.user_id;
  end loop;

  v_entry.entry_type := 'expiry';
  v_entry.action_type := 'expiry';
  v_entry.debt_change := 0;
  v_entry.reserved_change := 0;
  v_entry.reason := 'expired';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;

  -- Each part of the statement looks up what is due by the account's id, all in one snapshot: joining
  -- the parts to each other would be quadratic under a plan that does not know how many users there are.
  for v_due in
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
  ), closed as (
    update public.token_balances b
       set tokens_remaining = 0, is_open = false
     where b.user_id = any (p_user_ids) and b.is_open and b.expires_at <= p_now
  )
  -- an account of which nothing is lost has one row; one that passes a threshold says so in its first
  select s.user_id, b.id as grant_id, b.tokens_remaining as lost,
         s.has_passed and b.nth_last is not distinct from b.of as has_passed,
         s.last_transaction_id + 1 - b.nth_last as transaction_id,
         s.tokens_remaining + b.lost_from_here - b.tokens_remaining as balance_after,
         s.tokens_remaining + coalesce(b.lost_from_here, 0) as before
    from settled s
    left join lateral (
      select g.id, g.tokens_remaining, count(*) over () as of,
             row_number() over from_the_last as nth_last,
             sum(g.tokens_remaining) over from_the_last as lost_from_here
        from public.token_balances g
       where g.user_id = s.user_id and g.is_open and g.expires_at <= p_now
     window from_the_last as (order by g.expires_at desc, g.id desc)) b on true
   order by s.user_id, transaction_id
  loop
    if v_due.grant_id is not null then
      v_entry.user_id := v_due.user_id;
      v_entry.id := v_due.transaction_id;
      v_entry.tokens := -v_due.lost;
      v_entry.balance_after := v_due.balance_after;
      v_entry.grant_ids := array[v_due.grant_id];
      v_entry.grant_tokens := array[v_due.lost];
      v_entries := v_entries || v_entry;
    end if;
    if v_due.has_passed then
      v_passed := v_passed || v_due.user_id;
      v_before := v_before || v_due.before::bigint;
    end if;
  end loop;
  perform tokenbook.append_transactions(v_entries);
  for v_nth in 1 .. cardinality(v_passed)
  loop
    perform tokenbook.raise_alerts(v_passed[v_nth], v_before[v_nth], p_now);
  end loop;

  if v_released <> '{}' then
    for v_user_id in select distinct r.user_id from unnest(v_released) as r (user_id)
    loop
      perform tokenbook.settle_incoming(v_user_id, p_now);
    end loop;
  end if;
  return cardinality(v_entries);
end
$$;
comment on function tokenbook.record_expiries is
  'Releases every hold of these users that has run out by then, and books every such grant, one expiry transaction each; the caller holds their accounts'' locks.';
