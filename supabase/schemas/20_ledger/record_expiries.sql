/*
 * Books what time has changed: grants whose moment has come begin, what the schedules of plans give is given, and a plan that is over is recorded; then due
 * holds are released; then due grants are closed, with one `expiry` transaction each; the account's totals and
 * next_due_at follow; what is owed is repaid from what came in; and after a slot the plan limit is the balance, as after
 * a renewal. For one user or a thousand: the same code serves a call that touches an account and the sweeper, so the two
 * cannot disagree. Alerts that fall due by time alone are raised here too.
 *
 * Bounded (I11): of one account it books at most due_holds and due_grants of tokenbook.limits() (and no more holds
 * than give back to as many grants), and grants to come and what its plan's schedule gives, which are bounded by
 * themselves; of several together
 * at most ten times that, and no more of these and plans' ends than cost as much as due_grants, and what one account is due
 * beyond: an account that has to wait for these waits with all of it. A hold is by far the dearer. What is left stays
 * due. With p_in_portions the caller goes on with it; otherwise the call is refused with busy, because its caller would go on as
 * if nothing were due. tokenbook.settle_backlog, which is called before, prevents that.
 * The caller has locked these accounts. Nothing depends on it being run: what is due is neither
 * spent nor counted before it is booked either.
 * Caller: internal.   Returns how many holds, grants, slots and beginnings were booked.   Errors: busy.
 * Keeps: I2, I3, I4, I7, I11.
 */
create function tokenbook.record_expiries(p_user_ids uuid[], p_now timestamptz, p_in_portions boolean default false)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_grants constant integer := (tokenbook.limits() -> 'due_grants')::integer;
  v_holds constant integer := (tokenbook.limits() -> 'due_holds')::integer;
  v_next record;
  v_begun integer;
  v_slots integer;
  v_issued bigint := 0;
  v_work bigint := 0; -- of beginnings, slots and plans' ends, in grants
  v_postponed uuid[] := '{}';
  v_scheduled uuid[] := '{}';
  v_hold public.token_holds;
  v_released bigint := 0;
  v_due record;
  v_entry public.token_transactions;
  v_entries public.token_transactions[] := '{}';
  v_lifted uuid[] := '{}'; -- users who may have more than their plan limit now
  v_user_ids uuid[] := '{}'; -- one for each account; the next four are of the same
  v_lost bigint[] := '{}';
  v_counts bigint[] := '{}';
  v_grant_owners uuid[] := '{}'; -- one for each grant
  v_grant_ids uuid[] := '{}';
  v_nth integer := 0;
  v_account record;
begin
  -- first: what a slot gives depends on what there was when it began
  for v_next in
    select u.user_id, begins.grants as has_grants, begins.plan as has_plan
      from unnest(p_user_ids) as u (user_id)
     cross join lateral (
       select exists (
                select 1 from tokenbook.upcoming_grants g
                 where g.user_id = u.user_id and g.starts_at <= p_now) as grants, -- @begins-at-its-moment
              exists (
                select 1 from tokenbook.subscriptions s
                  join public.token_accounts a on a.user_id = s.user_id
                 where s.user_id = u.user_id and a.state = 'active'
                   and (least(s.next_slot_at, s.expires_at, s.cancel_at) <= p_now or s.beside <> '[]') -- as a rule not
                   and tokenbook.plan_due_at(s.user_id) <= p_now) as plan) begins
     where begins.grants or begins.plan
     order by u.user_id
  loop
    if v_work >= v_grants then
      v_postponed := v_postponed || v_next.user_id; -- whole: what has run out of it was there when its slots began
      continue;
    end if;
    if v_next.has_grants then
      v_begun := tokenbook.begin_grants(v_next.user_id, p_now);
      v_issued := v_issued + v_begun;
      v_work := v_work + 5 * v_begun; -- as tokenbook.due_work counts it
      v_lifted := v_lifted || v_next.user_id;
    end if;
    continue when not v_next.has_plan;
    v_slots := tokenbook.issue_slots(v_next.user_id, p_now);
    v_issued := v_issued + greatest(v_slots, 1); -- a slot that gave nothing is work done too: a sweep goes on
    v_work := v_work + 5 * v_slots + 10;
    if v_slots > 0 then
      v_scheduled := v_scheduled || v_next.user_id;
    end if;
  end loop;
  if v_postponed <> '{}' then -- @postponed-whole
    p_user_ids := array(select u.user_id from unnest(p_user_ids) as u (user_id) where u.user_id <> all (v_postponed));
  end if;

  for v_hold in
    select (due.hold).*
      from (
        select one.hold, one.parts_before,
               sum(cardinality((one.hold).grant_ids)) over (order by (one.hold).user_id, (one.hold).expires_at, (one.hold).id)
                 - cardinality((one.hold).grant_ids) as parts_before_of_all
          from unnest(p_user_ids) as u (user_id)
         cross join lateral (
           select row(h.*)::public.token_holds as hold,
                  sum(cardinality(h.grant_ids)) over (order by h.expires_at, h.id) - cardinality(h.grant_ids) as parts_before
             from (
               select o.* from public.token_holds o
                where o.user_id = u.user_id and o.status = 'open' and o.expires_at <= p_now -- @holds-run-out
                order by o.expires_at
                limit v_holds) h) one
         where one.parts_before < v_grants) due -- @holds-in-portions
     where due.parts_before_of_all < 10 * v_grants
     order by (due.hold).user_id, (due.hold).expires_at, (due.hold).id
     limit 10 * v_holds
  loop
    continue when tokenbook.settle_hold(v_hold.user_id, v_hold.id, 'expired', 'system', null, p_now => p_now) is null;
    v_released := v_released + 1;
    v_lifted := v_lifted || v_hold.user_id;
  end loop;

  v_entry.entry_type := 'expiry';
  v_entry.action_type := 'expiry';
  v_entry.debt_change := 0;
  v_entry.reserved_change := 0;
  v_entry.reason := 'expired';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  for v_due in
    select a.user_id, a.tokens_remaining, a.last_transaction_id, g.id as grant_id, g.tokens_remaining as lost
      from unnest(p_user_ids) as u (user_id)
      join public.token_accounts a on a.user_id = u.user_id
      left join lateral (
        select b.id, b.expires_at, b.tokens_remaining
          from public.token_balances b
         where b.user_id = u.user_id and b.is_open and b.expires_at <= p_now
         order by b.expires_at
         limit v_grants) g on true -- @grants-in-portions
     order by a.user_id, g.expires_at, g.id
     limit 10 * v_grants
  loop
    if v_due.user_id is distinct from v_user_ids[v_nth] then
      v_nth := v_nth + 1;
      v_user_ids[v_nth] := v_due.user_id;
      v_lost[v_nth] := 0;
      v_counts[v_nth] := 0;
      v_entry.user_id := v_due.user_id;
      v_entry.id := v_due.last_transaction_id;
      v_entry.balance_after := v_due.tokens_remaining;
    end if;
    continue when v_due.grant_id is null;
    v_entry.id := v_entry.id + 1;
    v_entry.tokens := -v_due.lost;
    v_entry.balance_after := v_entry.balance_after - v_due.lost;
    v_entry.grant_ids := array[v_due.grant_id];
    v_entry.grant_tokens := array[v_due.lost];
    v_entries := v_entries || v_entry;
    v_lost[v_nth] := v_lost[v_nth] + v_due.lost;
    v_counts[v_nth] := v_counts[v_nth] + 1;
    v_grant_owners := v_grant_owners || v_due.user_id;
    v_grant_ids := v_grant_ids || v_due.grant_id;
  end loop;
  update public.token_balances b
     set tokens_remaining = 0, is_open = false
    from unnest(v_grant_owners, v_grant_ids) as d (user_id, grant_id)
   where b.user_id = d.user_id and b.id = d.grant_id;
  perform tokenbook.append_transactions(v_entries);
  if cardinality(v_entries) > 0 and pg_relation_size('tokenbook.webhook_endpoints') > 0 then
    perform tokenbook.write_webhook('token_grant.expired', e.user_id, e.created_at, jsonb_build_object(
              'transaction_id', e.id, 'tokens', -e.tokens, 'tokens_remaining', e.balance_after, 'grant_id', e.grant_ids[1]))
       from unnest(v_entries) e;
  end if;

  for v_account in
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining - d.lost,
           tokens_expired = a.tokens_expired + d.lost,
           last_transaction_id = a.last_transaction_id + d.count,
           next_due_at = (
             select n.at
               from tokenbook.next_due(a.user_id, case when a.next_alert_at > p_now then a.next_alert_at end, null) as n),
           updated_at = p_now
      from unnest(v_user_ids, v_lost, v_counts) as d (user_id, lost, count)
     where a.user_id = d.user_id
    returning a.user_id, a.tokens_remaining + d.lost as before, a.next_due_at <= p_now as is_behind,
              a.tokens_owed > 0 and a.tokens_remaining > 0 as owes,
              a.tokens_remaining < a.alert_below or a.next_alert_at <= p_now
                or a.alerts_version is distinct from (select r.alerts_version from tokenbook.project_settings r) as has_passed
  loop
    if v_account.is_behind and not p_in_portions then
      perform tokenbook.refuse('busy', '{}');
    end if;
    if v_account.has_passed then
      perform tokenbook.raise_alerts(v_account.user_id, v_account.before, p_now);
    end if;
    -- while grants that are over count as the account's, what is there to repay from is not known
    if v_account.owes and v_account.is_behind is not true then
      perform tokenbook.repay_debt(v_account.user_id, p_now);
    end if;
  end loop;
  if v_lifted <> '{}' then
    perform tokenbook.move_plan_limit(r.user_id, 0)
       from (select distinct u.user_id from unnest(v_lifted) as u (user_id)) r;
  end if;
  if v_scheduled <> '{}' then
    update tokenbook.subscriptions s
       set tokens_limit = a.tokens_remaining, updated_at = p_now
      from public.token_accounts a
     where s.user_id = any (v_scheduled) and a.user_id = s.user_id;
    perform tokenbook.refresh_alert_thresholds(u.user_id) from unnest(v_scheduled) as u (user_id);
  end if;
  return v_released + cardinality(v_entries) + v_issued;
end
$$;
comment on function tokenbook.record_expiries is
  'Gives these users what was to begin and what the schedules of their plans give by then, releases holds that have run out, and books such grants, one expiry transaction each, at most a portion of an account; the caller holds their accounts'' locks. Returns how many; busy when more is due than that, unless p_in_portions.';
