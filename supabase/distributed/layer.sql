/*
 * What of the functions is otherwise where users' rows are on several machines: several accounts are locked, swept and
 * verified one after the other, and each statement says whose rows it means. The answers are the same, on one machine too:
 * tests/against/distribute.test.ts compares them.
 * A piece that is not there as it was when this was written is an error: so a change of such a function is noticed here.
 * Read by distribute.sql.
 */

-- Locks those of these accounts that nobody else has locked, and returns them; NULL, none.
create function tokenbook.lock_free_accounts(p_user_ids uuid[])
returns uuid[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
  v_locked uuid[];
begin
  for v_user_id in select u.user_id from unnest(p_user_ids) as u (user_id) order by u.user_id loop
    perform 1 from public.token_accounts a where a.user_id = v_user_id for no key update skip locked;
    if found then
      v_locked := v_locked || v_user_id;
    end if;
  end loop;
  return v_locked;
end
$$;

-- Whether it could lock this delivery, which nobody else had locked.
create function tokenbook.lock_free_delivery(p_user_id uuid, p_id bigint)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform 1 from tokenbook.webhook_deliveries d where d.user_id = p_user_id and d.id = p_id for update skip locked;
  return found;
end
$$;

-- A user's account, for a statement about another user: it is on another machine, perhaps.
create function tokenbook.account_of(p_user_id uuid)
returns setof public.token_accounts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select a.* from public.token_accounts a where a.user_id = p_user_id;
end
$$;

-- The same of a member's place in the team of p_user_id.
create function tokenbook.membership_in(p_user_id uuid, p_member_id uuid)
returns setof public.token_team_members
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query select m.* from public.token_team_members m where m.user_id = p_user_id and m.member_id = p_member_id;
end
$$;

-- Whether a user has never had a grant, and no counter that was used up before the books.
create function tokenbook.had_no_tokens(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return not exists (select 1 from public.token_balances b where b.user_id = p_user_id)
    and not exists (
      select 1 from tokenbook.archived_profile_counters c
       where c.user_id = p_user_id and c.vibe_assistant_tokens_remaining < 1);
end
$$;

-- The deliveries of an endpoint in a state, the newest first, before p_before.
create function tokenbook.newest_deliveries(p_endpoint text, p_status text, p_before bigint, p_limit integer)
returns setof tokenbook.webhook_deliveries
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select w.*
    from tokenbook.webhook_deliveries w
   where w.endpoint = p_endpoint and w.status = p_status and w.id < coalesce(p_before, 9223372036854775807)
   order by w.id desc
   limit p_limit;
end
$$;

-- The pieces of functions that differ: as they are for one machine, and as they are for many.
create temp table pieces as
select row_number() over () as nth, p.*
  from (values
      ('lock_accounts', $o$  v_account public.token_accounts;
begin
  for v_account in
    select a.*
      from public.token_accounts a
     where a.user_id = any (p_user_ids)
     order by a.user_id -- @accounts-in-one-order
       for no key update
  loop
$o$, $n$  v_account public.token_accounts;
  v_user_id uuid;
begin
  for v_user_id in
    select distinct u.user_id from unnest(p_user_ids) as u (user_id) where u.user_id is not null order by u.user_id
  loop
    select a.* into v_account from public.token_accounts a where a.user_id = v_user_id for no key update;
    continue when not found;
$n$),
      ('expire_old_token_grants', $o$
         for no key update skip locked
    ) due;
$o$, $n$
    ) due;
  v_user_ids := tokenbook.lock_free_accounts(v_user_ids);
$n$),
      ('arm_token_alerts', $o$
         for no key update skip locked
    ) behind;
$o$, $n$
    ) behind;
  v_user_ids := tokenbook.lock_free_accounts(v_user_ids);
$n$),
      ('sweep_accounts', $o$  begin
    return tokenbook.record_expiries(p_user_ids, p_now, p_in_portions => true);
  exception
    when integrity_constraint_violation or data_exception or sqlstate 'PT500' then -- @damaged-accounts-set-aside
      null;
  end;
$o$, ''),
      ('claim_token_webhooks', $o$  v_hopeless bigint;
$o$, $n$  v_hopeless bigint;
  v_one record;
  v_delivery tokenbook.webhook_deliveries;
  v_claimed tokenbook.webhook_deliveries[] := '{}';
$n$),
      ('claim_token_webhooks', $o$  delete from tokenbook.webhook_deliveries d
   using (
     select o.id
       from tokenbook.webhook_deliveries o
      where o.id in (select f.id from tokenbook.webhook_deliveries f order by f.id limit 1000)
        and greatest(o.created_at, o.queued_at) < v_now - interval '30 days'
        for update skip locked) old
   where d.id = old.id;
$o$, $n$  for v_one in
    select o.user_id, o.id
      from tokenbook.webhook_deliveries o
     where o.id in (select f.id from tokenbook.webhook_deliveries f order by f.id limit 1000)
       and greatest(o.created_at, o.queued_at) < v_now - interval '30 days'
  loop
    continue when not tokenbook.lock_free_delivery(v_one.user_id, v_one.id);
    delete from tokenbook.webhook_deliveries d where d.user_id = v_one.user_id and d.id = v_one.id;
  end loop;
$n$),
      ('claim_token_webhooks', $o$    update tokenbook.webhook_deliveries d
       set status = 'given_up', next_attempt_at = null, claim_id = null, settled_at = v_now,
           last_error = coalesce(d.last_error, case when d.attempts >= 10 then 'no answer' else 'too old' end)
      from (
        select o.id
          from tokenbook.first_due_webhooks(p_endpoint, v_now) first
          join tokenbook.webhook_deliveries o on o.id = first.id
         where o.status = 'pending' and o.next_attempt_at <= v_now
           and (o.attempts >= 10 or o.queued_at < v_now - interval '72 hours')
           for no key update of o skip locked) hopeless
     where d.id = hopeless.id;
    get diagnostics v_hopeless = row_count;
$o$, $n$    v_hopeless := 0;
    for v_one in
      select o.user_id, o.id
        from tokenbook.first_due_webhooks(p_endpoint, v_now) first
        join tokenbook.webhook_deliveries o on o.id = first.id
       where o.status = 'pending' and o.next_attempt_at <= v_now
         and (o.attempts >= 10 or o.queued_at < v_now - interval '72 hours')
    loop
      continue when not tokenbook.lock_free_delivery(v_one.user_id, v_one.id);
      update tokenbook.webhook_deliveries d
         set status = 'given_up', next_attempt_at = null, claim_id = null, settled_at = v_now,
             last_error = coalesce(d.last_error, case when d.attempts >= 10 then 'no answer' else 'too old' end)
       where d.user_id = v_one.user_id and d.id = v_one.id and d.status = 'pending' and d.next_attempt_at <= v_now;
      v_hopeless := v_hopeless + 1;
    end loop;
$n$),
      ('claim_token_webhooks', $o$  return query
  with due as (
    select o.id
      from$o$, $n$  for v_one in
    select o.user_id, o.id
      from$n$),
      ('claim_token_webhooks', $o$
     limit p_limit
       for no key update of o skip locked
  ), claimed as (
    update tokenbook.webhook_deliveries d
       set attempts = d.attempts + 1, claim_id = v_claim_id,
           next_attempt_at = v_now + p_lease_seconds * interval '1 second' -- @claimed-by-one
      from due
     where d.id = due.id
    returning d as delivery
  )
  select (c.delivery).user_id, (c.delivery).id, (c.delivery).claim_id, (c.delivery).event_id, (c.delivery).kind,
         tokenbook.webhook_data(c.delivery), (c.delivery).created_at, (c.delivery).attempts
    from claimed c
   order by (c.delivery).id;
$o$, $n$
     limit p_limit
  loop
    continue when not tokenbook.lock_free_delivery(v_one.user_id, v_one.id);
    update tokenbook.webhook_deliveries d
       set attempts = d.attempts + 1, claim_id = v_claim_id,
           next_attempt_at = v_now + p_lease_seconds * interval '1 second'
     where d.user_id = v_one.user_id and d.id = v_one.id and d.status = 'pending' and d.next_attempt_at <= v_now
    returning d.* into v_delivery;
    if found then
      v_claimed := v_claimed || v_delivery;
    end if;
  end loop;
  for v_delivery in select c.* from unnest(v_claimed) c order by c.id loop
    user_id := v_delivery.user_id;
    delivery_id := v_delivery.id;
    claim_id := v_delivery.claim_id;
    event_id := v_delivery.event_id;
    kind := v_delivery.kind;
    data := tokenbook.webhook_data(v_delivery);
    created_at := v_delivery.created_at;
    attempt := v_delivery.attempts;
    return next;
  end loop;
$n$),
      ('retry_token_webhooks', $o$  v_retried bigint;
$o$, $n$  v_retried bigint := 0;
  v_one record;
$n$),
      ('retry_token_webhooks', $o$  update tokenbook.webhook_deliveries d
     set status = 'pending', attempts = 0, queued_at = v_now, next_attempt_at = v_now, settled_at = null
    from (
      select o.id
        from$o$, $n$  for v_one in
      select o.user_id, o.id
        from$n$),
      ('retry_token_webhooks', $o$
         for no key update skip locked) given_up
   where d.id = given_up.id;
  get diagnostics v_retried = row_count;
$o$, $n$
  loop
    continue when not tokenbook.lock_free_delivery(v_one.user_id, v_one.id);
    update tokenbook.webhook_deliveries d
       set status = 'pending', attempts = 0, queued_at = v_now, next_attempt_at = v_now, settled_at = null
     where d.user_id = v_one.user_id and d.id = v_one.id and d.status = 'given_up';
    v_retried := v_retried + found::integer;
  end loop;
$n$),
      ('repeat_token_webhook_delivery', $o$  v_now timestamptz;
begin
$o$, $n$  v_now timestamptz;
  v_user_id uuid;
begin
$n$),
      ('repeat_token_webhook_delivery', $o$  select d.* into v_delivery
    from tokenbook.webhook_deliveries d where d.id = p_delivery_id for no key update;
$o$, $n$  v_user_id := (select d.user_id from tokenbook.webhook_deliveries d where d.id = p_delivery_id);
  select d.* into v_delivery
    from tokenbook.webhook_deliveries d where d.user_id = v_user_id and d.id = p_delivery_id for no key update;
$n$),
      ('list_token_webhook_deliveries', $o$       select w as delivery
         from tokenbook.webhook_deliveries w
        where w.endpoint = of_endpoint.name and w.status = of_status.status
          and w.id < coalesce(p_before, 9223372036854775807)
        order by w.id desc
        limit p_limit + 1) d
$o$, $n$       select row(w.*)::tokenbook.webhook_deliveries as delivery
         from tokenbook.newest_deliveries(of_endpoint.name, of_status.status, p_before, p_limit + 1) w) d
$n$),
      -- one account at a time: every statement says whose rows it means
      ('record_expiries', $o$  v_account record;
begin
  -- first:$o$, $n$  v_account record;
  v_user_id constant uuid := p_user_ids[1];
  v_has_grants constant boolean := exists (
    select 1 from tokenbook.upcoming_grants g where g.user_id = v_user_id and g.starts_at <= p_now);
  v_has_plan constant boolean := exists (
    select 1 from tokenbook.subscriptions s
      join public.token_accounts a on a.user_id = s.user_id
     where s.user_id = v_user_id and a.user_id = v_user_id and a.state = 'active'
       and (least(s.next_slot_at, s.expires_at, s.cancel_at) <= p_now or s.beside <> '[]'))
    and tokenbook.plan_due_at(v_user_id) <= p_now;
  v_alert_at timestamptz;
  v_due_at timestamptz;
begin
  -- first:$n$),
      ('record_expiries', $o$
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
$o$, $n$
    select v_user_id as user_id, v_has_grants as has_grants, v_has_plan as has_plan where v_has_grants or v_has_plan
$n$),
      ('record_expiries', $o$          from unnest(p_user_ids) as u (user_id)
         cross join lateral (
           select row(h.*)$o$, $n$          from (
           select row(h.*)$n$),
      ('record_expiries', $o$o.user_id = u.user_id and o.status$o$, $n$o.user_id = v_user_id and o.status$n$),
      ('record_expiries', $o$      from unnest(p_user_ids) as u (user_id)
      join public.token_accounts a on a.user_id = u.user_id
      left join lateral (
        select b.id, b.expires_at, b.tokens_remaining
          from public.token_balances b
         where b.user_id = u.user_id and$o$, $n$      from public.token_accounts a
      left join lateral (
        select b.id, b.expires_at, b.tokens_remaining
          from public.token_balances b
         where b.user_id = v_user_id and$n$),
      ('record_expiries', $o$
     order by a.user_id, g.expires_at, g.id
$o$, $n$
     where a.user_id = v_user_id
     order by a.user_id, g.expires_at, g.id
$n$),
      ('record_expiries', $o$
    from unnest(v_grant_owners, v_grant_ids) as d (user_id, grant_id)
   where b.user_id = d.user_id and b.id = d.grant_id;
$o$, $n$
   where b.user_id = v_user_id and b.id = any (v_grant_ids);
$n$),
      ('record_expiries', $o$  for v_account in
    update$o$, $n$  v_alert_at := (select a.next_alert_at from public.token_accounts a where a.user_id = v_user_id);
  v_due_at := (select n.at from tokenbook.next_due(v_user_id, case when v_alert_at > p_now then v_alert_at end, null) as n);
  for v_account in
    update$n$),
      ('record_expiries', $o$       set tokens_remaining = a.tokens_remaining - d.lost,
           tokens_expired = a.tokens_expired + d.lost,
           last_transaction_id = a.last_transaction_id + d.count,
           next_due_at = (
             select n.at
               from tokenbook.next_due(a.user_id, case when a.next_alert_at > p_now then a.next_alert_at end, null) as n),
           updated_at = p_now
      from unnest(v_user_ids, v_lost, v_counts) as d (user_id, lost, count)
     where a.user_id = d.user_id
    returning a.user_id, a.tokens_remaining + d.lost as before,$o$, $n$       set tokens_remaining = a.tokens_remaining - v_lost[1],
           tokens_expired = a.tokens_expired + v_lost[1],
           last_transaction_id = a.last_transaction_id + v_counts[1],
           next_due_at = v_due_at,
           updated_at = p_now
     where a.user_id = v_user_ids[1]
    returning a.user_id, a.tokens_remaining + v_lost[1] as before,$n$),
      ('settle_token_webhook', $o$  v_now timestamptz := clock_timestamp();
$o$, $n$  v_now timestamptz := clock_timestamp();
  v_seconds double precision := date_part('epoch', v_now);
$n$),
      ('settle_token_webhook', $o$v_now + least(10 * 4 ^ (d.attempts - 1), 21600) * v_spread * interval '1 second' end$o$,
       $n$to_timestamp(v_seconds + least(10 * 4 ^ (d.attempts - 1), 21600) * v_spread) end$n$),
      ('claim_token_top_ups', $o$  v_now timestamptz := clock_timestamp();
$o$, $n$  v_now timestamptz := clock_timestamp();
  v_one record;
  v_asked public.token_top_up_requests;
  v_offer record;
  v_customer_id text;
  v_account public.token_accounts;
  v_is_enabled boolean;
$n$),
      ('claim_token_top_ups', $o$  return query
  with due as (
    select r.user_id, r.id
$o$, $n$  for v_one in
    select r.user_id, r.id
$n$),
      ('claim_token_top_ups', $o$
     limit p_limit
       for no key update skip locked
  ), claimed as (
    update public.token_top_up_requests r
       set attempts = r.attempts + 1,
           first_attempt_at = coalesce(r.first_attempt_at, v_now),
           next_attempt_at = v_now + p_lease_seconds * 2 ^ least(r.attempts, 6) * interval '1 second', -- @charged-by-one-run
           amount_cents = case when r.attempts = 0 then o.amount_cents else r.amount_cents end, -- @price-of-first-claim
           currency = case when r.attempts = 0 then o.currency else r.currency end,
           customer_id = case when r.attempts = 0 then tokenbook.customer_of('stripe', r.user_id) else r.customer_id end
      from due
      join public.token_top_up_requests asked on asked.user_id = due.user_id and asked.id = due.id
     cross join lateral tokenbook.find_offer(asked.plan_type, asked.pack_type, asked.quantity) o
     where r.user_id = due.user_id and r.id = due.id
    returning r.*, o.is_offered
  )
  select c.user_id, c.id, c.plan_type, c.pack_type, c.quantity, c.amount_cents, c.currency, c.customer_id,
         c.created_at, c.attempts, c.first_attempt_at,
         case
           when not tokenbook.is_user(c.user_id) then 'user_not_found'
           when tokenbook.is_frozen(row(a.*)::public.token_accounts, null) then 'account_frozen'
           when t.is_enabled is not true then 'switched_off' -- @switched-off-pays-nothing
           when coalesce(c.amount_cents, 0) = 0 then 'no_price'
           when c.is_offered is not true then 'not_offered'
           when c.customer_id is null then 'no_customer'
           when c.attempts = 1 and c.created_at < v_now - interval '72 hours' then 'too_old'
           when c.first_attempt_at < v_now - interval '20 hours' then 'no_answer'
         end
    from claimed c
    join public.token_accounts a on a.user_id = c.user_id
    left join public.token_top_ups t on t.user_id = c.user_id
   order by c.created_at, c.user_id;
$o$, $n$
     limit p_limit
  loop
    select r.* into v_asked
      from public.token_top_up_requests r
     where r.user_id = v_one.user_id and r.id = v_one.id and r.status = 'pending' and r.next_attempt_at <= v_now
       for no key update skip locked;
    continue when not found;
    select o.* into v_offer from tokenbook.find_offer(v_asked.plan_type, v_asked.pack_type, v_asked.quantity) o;
    continue when not found;
    v_customer_id := tokenbook.customer_of('stripe', v_asked.user_id);
    if v_asked.attempts = 0 then
      v_asked.amount_cents := v_offer.amount_cents;
      v_asked.currency := v_offer.currency;
      v_asked.customer_id := v_customer_id;
    end if;
    v_asked.next_attempt_at := v_now + p_lease_seconds * 2 ^ least(v_asked.attempts, 6) * interval '1 second';
    v_asked.first_attempt_at := coalesce(v_asked.first_attempt_at, v_now);
    v_asked.attempts := v_asked.attempts + 1;
    update public.token_top_up_requests r
       set attempts = v_asked.attempts, first_attempt_at = v_asked.first_attempt_at, next_attempt_at = v_asked.next_attempt_at,
           amount_cents = v_asked.amount_cents, currency = v_asked.currency, customer_id = v_asked.customer_id
     where r.user_id = v_asked.user_id and r.id = v_asked.id;
    select a.* into v_account from public.token_accounts a where a.user_id = v_asked.user_id;
    v_is_enabled := (select t.is_enabled from public.token_top_ups t where t.user_id = v_asked.user_id);
    user_id := v_asked.user_id;
    request_id := v_asked.id;
    plan_type := v_asked.plan_type;
    pack_type := v_asked.pack_type;
    quantity := v_asked.quantity;
    amount_cents := v_asked.amount_cents;
    currency := v_asked.currency;
    customer_id := v_asked.customer_id;
    created_at := v_asked.created_at;
    attempt := v_asked.attempts;
    first_attempt_at := v_asked.first_attempt_at;
    fault := case
      when not tokenbook.is_user(v_asked.user_id) then 'user_not_found'
      when tokenbook.is_frozen(v_account, null) then 'account_frozen'
      when v_is_enabled is not true then 'switched_off'
      when coalesce(v_asked.amount_cents, 0) = 0 then 'no_price'
      when v_offer.is_offered is not true then 'not_offered'
      when v_asked.customer_id is null then 'no_customer'
      when v_asked.attempts = 1 and v_asked.created_at < v_now - interval '72 hours' then 'too_old'
      when v_asked.first_attempt_at < v_now - interval '20 hours' then 'no_answer'
    end;
    return next;
  end loop;
$n$),
      ('forget_token_user', $o$  v_erased jsonb := '{}';
$o$, $n$  v_erased jsonb := '{}';
  v_one record;
  v_trail jsonb;
$n$),
      ('forget_token_user', $o$    with found as (
      select t.user_id, t.id, w.reason, w.request, w.metadata
$o$, $n$    v_found := 0;
    v_users := '{}';
    for v_one in
      select t.user_id, t.id, t.entry_type, t.grant_ids[1] as grant_id, t.usage_id, t.hold_id, t.payment_id,
             t.terms ? 'move' as moves, w.reason, w.request, w.metadata
$n$),
      ('forget_token_user', $o$
       limit p_limit - v_total
    ), erased as (
      update public.token_transactions t
         set reason = f.reason, request = f.request, metadata = f.metadata
        from found f
       where t.user_id = f.user_id and t.id = f.id
      returning t.user_id, t.id, t.entry_type, t.grant_ids[1] as grant_id, t.usage_id, t.hold_id, t.payment_id, t.reason, t.metadata, t.terms ? 'move' as moves
    ), grants as (
      update public.token_balances b set metadata = e.metadata
        from erased e where e.entry_type = 'grant' and b.user_id = e.user_id and b.id = e.grant_id
    ), usages as (
      update public.token_usage u
         set error_message = null,
             metadata = case when u.action_type in ('admin_grant', 'admin_deduct')
                             then e.metadata || jsonb_build_object('reason', e.reason, 'transaction_id', e.id) else e.metadata end
        from erased e where u.user_id = e.user_id and u.id = e.usage_id and u.transaction_id = e.id -- @trail-goes-along
    ), holds as (
      update public.token_holds h set metadata = e.metadata
        from erased e where (e.entry_type = 'hold' or e.moves) and h.user_id = e.user_id and h.id = e.hold_id
    ), payments as (
      update public.token_payments p set reason = e.reason
        from erased e where e.entry_type = 'grant' and p.user_id = e.user_id and p.id = e.payment_id and p.reason is not null
    )
    select count(*), array_agg(distinct e.user_id) into v_found, v_users from erased e;
$o$, $n$
       limit p_limit - v_total
    loop
      v_found := v_found + 1;
      v_users := v_users || v_one.user_id;
      update public.token_transactions t set reason = v_one.reason, request = v_one.request, metadata = v_one.metadata
       where t.user_id = v_one.user_id and t.id = v_one.id;
      if v_one.entry_type = 'grant' then
        update public.token_balances b set metadata = v_one.metadata where b.user_id = v_one.user_id and b.id = v_one.grant_id;
        update public.token_payments p set reason = v_one.reason
         where p.user_id = v_one.user_id and p.id = v_one.payment_id and p.reason is not null;
      end if;
      if v_one.entry_type = 'hold' or v_one.moves then
        update public.token_holds h set metadata = v_one.metadata where h.user_id = v_one.user_id and h.id = v_one.hold_id;
      end if;
      v_trail := v_one.metadata || jsonb_build_object('reason', v_one.reason, 'transaction_id', v_one.id);
      update public.token_usage u
         set error_message = null,
             metadata = case when u.action_type in ('admin_grant', 'admin_deduct') then v_trail else v_one.metadata end
       where u.user_id = v_one.user_id and u.id = v_one.usage_id and u.transaction_id = v_one.id;
    end loop;
$n$),
      ('forget_token_user', $o$'with found as (select x.tableoid, x.ctid from %1$s x where x.user_id = $1 and (%2$s) limit $2), '
        'erased as (update %1$s x set %3$s from found f where x.ctid = f.ctid and x.tableoid = f.tableoid returning 1) select count(*) from erased',
        v_table, v_where, v_set)
        into v_rows using$o$, $n$'update %1$s x set %3$s where x.user_id = $1 and (x.tableoid, x.ctid) in ('
        'select x.tableoid, x.ctid from %1$s x where x.user_id = $1 and (%2$s) limit $2)',
        v_table, v_where, v_set)
        using$n$),
      ('forget_token_user', $o$p_user_id, p_limit - v_total;
      v_erased :=$o$, $n$p_user_id, p_limit - v_total;
      get diagnostics v_rows = row_count;
      v_erased :=$n$),
      ('check_token_synchronization', $o$ or (not exists (select 1 from public.token_balances b where b.user_id = s.user_id)
                 -- a user whose old counter was 0 begins with 0: tokenbook.grant_initial_plan
                 and not exists (
                   select 1 from tokenbook.archived_profile_counters c
                    where c.user_id = s.user_id and c.vibe_assistant_tokens_remaining < 1)) then$o$,
       $n$ or tokenbook.had_no_tokens(s.user_id) then$n$),
      -- in the statement itself: a function there would be planned by the worker for each call
      ('spend_tokens', $o$     where b.ctid = (select g.grant_ctid from tokenbook.oldest_open_grant(spend_tokens.user_id, spend_tokens.created_at) g)
$o$, $n$     where b.user_id = spend_tokens.user_id
       and b.ctid = (
         select g.ctid
           from public.token_balances g
          where g.user_id = spend_tokens.user_id and g.is_open and (g.expires_at > spend_tokens.created_at or g.expires_at is null)
          order by g.priority, g.granted_at, g.id
          limit 1)
$n$),
      -- what two triggers do on one machine; of a table that every machine has a copy of, each would do it for itself
      ('set_token_plan', $o$       set is_default = false, updated_at = v_at
$o$, $n$       set is_default = false, given_to_users_since = null, updated_at = v_at
$n$),
      ('set_token_plan', $o$  v_written := tokenbook.write_offer($o$, $n$  if p_plan -> 'is_default' = 'true' or not p_plan ? 'is_default' and v_plan.is_default then
    if (case when p_plan ? 'given_to_users_since' then p_plan -> 'given_to_users_since' = 'null' else v_plan.given_to_users_since is null end) then
      p_plan := p_plan || jsonb_build_object('given_to_users_since', now());
    end if;
  elsif p_plan -> 'is_default' = 'false' and v_plan.is_default and not p_plan ? 'given_to_users_since' then
    p_plan := p_plan || '{"given_to_users_since": null}';
  end if;
  v_written := tokenbook.write_offer($n$),
      ('set_token_spend_cap', $o$actor_id = excluded.actor_id, updated_at = v_at;
    end if;
  end if;
$o$, $n$actor_id = excluded.actor_id, updated_at = v_at;
    end if;
    perform tokenbook.lock_settings();
    update tokenbook.project_settings r
       set has_common_caps = exists (select 1 from public.token_default_spend_caps)
     where r.is_current;
  end if;
$n$),
      ('find_token_discrepancies', $o$begin
  perform$o$, $n$declare
  v_user_ids uuid[];
begin
  perform$n$),
      ('find_token_discrepancies', $o$  return query
  select u.user_id,$o$, $n$  v_user_ids := array(
    select a.user_id from public.token_accounts a
     where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
    union
    select b.user_id from public.token_balances b
     where (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
    union
    select t.user_id from public.token_usage t
     where (p_after is null or t.user_id > p_after) and (p_until is null or t.user_id <= p_until));
  return query
  select u.user_id,$n$),
      ('find_token_discrepancies', $o$    from (
      select a.user_id from public.token_accounts a
       where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
      union
      select b.user_id from public.token_balances b -- whose account is lost
       where (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
         and not exists (select 1 from public.token_accounts a where a.user_id = b.user_id)
      union
      select t.user_id from public.token_usage t -- users with records and no account
       where (p_after is null or t.user_id > p_after) and (p_until is null or t.user_id <= p_until)
         and not exists (select 1 from public.token_accounts a where a.user_id = t.user_id)
    ) u
$o$, $n$    from unnest(v_user_ids) as u (user_id)
$n$),
      ('count_sales', $o$  v_locked_ids uuid[];
$o$, $n$  v_locked_ids uuid[] := '{}';
  v_user_id uuid;
$n$),
      ('count_sales', $o$  v_locked_ids := array(
    select c.user_id from tokenbook.sale_accounts c
      join unnest(v_user_ids) as u (user_id) on u.user_id = c.user_id
     order by c.user_id for update of c skip locked); -- @marks-are-locked
$o$, $n$  foreach v_user_id in array coalesce(v_user_ids, '{}') loop
    perform 1 from tokenbook.sale_accounts c where c.user_id = v_user_id for update skip locked;
    if found then
      v_locked_ids := v_locked_ids || v_user_id;
    end if;
  end loop;
$n$),
      ('find_breaches', $o$    left join public.token_accounts a on a.user_id = m.member_id
$o$, $n$    left join lateral tokenbook.account_of(m.member_id) a on true
$n$),
      ('find_breaches', $o$       select 1 from public.token_team_members m
        where m.user_id = a.payer_id and m.member_id = a.user_id and m.until is null)
$o$, $n$       select 1 from tokenbook.membership_in(a.payer_id, a.user_id) m where m.until is null)
$n$),
      ('find_breaches', $o$(exists (select 1 from public.token_accounts a where a.user_id = one.user_id)
$o$, $n$(exists (select 1 from tokenbook.account_of(one.user_id) a)
$n$),
      ('find_breaches', $o$constant uuid[] := tokenbook.users_between(p_user_id, p_after, p_until);
$o$, $n$constant uuid[] := case when p_user_id is null then '{}' else array[p_user_id] end;
$n$),
      ('checkpoint_token_ledger', $o$  v_digest bytea;
$o$, $n$  v_digest bytea;
  v_next uuid := coalesce(p_user_id, tokenbook.next_ledger_user(p_after));
  v_kept tokenbook.ledger_checkpoints;
  v_chain tokenbook.ledger_checkpoints[];
$n$),
      ('checkpoint_token_ledger', $o$  for v_user in
    with recursive users as (
      select coalesce(p_user_id, tokenbook.next_ledger_user(p_after)) as user_id
      union all
      select n.user_id
        from users u
       cross join lateral (select tokenbook.next_ledger_user(u.user_id) as user_id) n
       where p_user_id is null and n.user_id is not null
    )
    select u.user_id, l.last_id, k.kept
      from users u
     cross join lateral (
       select t.id as last_id from public.token_transactions t
        where t.user_id = u.user_id order by t.id desc limit 1) l
      left join lateral (
       select row(c.*)::tokenbook.ledger_checkpoints as kept from tokenbook.ledger_checkpoints c
        where c.user_id = u.user_id order by c.id desc limit 1) k on true
  loop
$o$, $n$  while v_next is not null
  loop
    select t.user_id, t.id as last_id, null::tokenbook.ledger_checkpoints as kept into v_user
      from public.token_transactions t where t.user_id = v_next order by t.id desc limit 1;
    exit when not found;
    select c.* into v_kept from tokenbook.ledger_checkpoints c where c.user_id = v_next order by c.id desc limit 1;
    v_user.kept := v_kept;
    v_next := case when p_user_id is null then tokenbook.next_ledger_user(v_next) end;
$n$),
      ('checkpoint_token_ledger', $o$        with chain as materialized (
          select c.* from tokenbook.chain_ledger(v_user.user_id, v_user.kept, v_user.last_id, v_room) c
        ), kept as (
          insert into tokenbook.ledger_checkpoints select c.* from chain c
        )
        select c.* into v_last from chain c order by c.id desc limit 1;
$o$, $n$        v_chain := array(
          select row(c.*)::tokenbook.ledger_checkpoints
            from tokenbook.chain_ledger(v_user.user_id, v_user.kept, v_user.last_id, v_room) c);
        insert into tokenbook.ledger_checkpoints select c.* from unnest(v_chain) c;
        select c.* into v_last from unnest(v_chain) c order by c.id desc limit 1;
$n$),
      ('verify_token_checkpoint', $o$  v_users uuid[] := '{}';
$o$, $n$  v_users uuid[] := '{}';
  v_next uuid;
$n$),
      ('verify_token_checkpoint', $o$    return query
      with recursive users as (
        select tokenbook.next_ledger_user(p_after) as user_id
        union all
        select n.user_id
          from users u
         cross join lateral (select tokenbook.next_ledger_user(u.user_id) as user_id) n
         where u.user_id < coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and n.user_id is not null
      ), unknown as (
        select u.user_id from users u
         where u.user_id <= coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        except select unnest(v_users)
      )
      select 'I6 no entry is dated back', u.user_id, null::uuid, t.id, 'after ' || v_made_at, t.created_at::text
        from unknown u
       cross join lateral (
         select n.id, n.created_at from public.token_transactions n where n.user_id = u.user_id order by n.id limit 1) t
       where t.created_at < v_made_at; -- @users-in-no-line
$o$, $n$    v_next := tokenbook.next_ledger_user(p_after);
    while v_next <= coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff') loop
      if v_next <> all (v_users) then
        return query
          select 'I6 no entry is dated back', t.user_id, null::uuid, t.id, 'after ' || v_made_at, t.created_at::text
            from (
              select n.user_id, n.id, n.created_at from public.token_transactions n
               where n.user_id = v_next order by n.id limit 1) t
           where t.created_at < v_made_at;
      end if;
      v_next := tokenbook.next_ledger_user(v_next);
    end loop;
$n$),
      ('people_of_team', $o$begin
  return (
    with recursive people as (
      select p_user_id as id
      union
      select m.other
        from people p
       cross join lateral (
         select t.member_id as other from public.token_team_members t where t.user_id = p.id
         union all
         select t.user_id from public.token_team_members t where t.member_id = p.id -- @members-bring-their-payer
       ) m
    )
    select array_agg(p.id order by p.id) from people p);
$o$, $n$declare
  v_people uuid[] := array[p_user_id];
  v_more uuid[];
begin
  loop
    v_more := array(
      select t.member_id from public.token_team_members t where t.user_id = any (v_people) and t.member_id <> all (v_people)
      union
      select t.user_id from public.token_team_members t where t.member_id = any (v_people) and t.user_id <> all (v_people));
    exit when v_more = '{}';
    v_people := v_people || v_more;
  end loop;
  return (select array_agg(p.id order by p.id) from unnest(v_people) as p (id));
$n$),
      ('verify_token_ledger', $o$  begin
    return query select b.* from tokenbook.find_breaches(p_user_id, p_after, p_until) b;
    return;
  exception
    when data_exception then -- @unreadable-users-apart
      null; -- it gives its rows when it has them all: none has been given
  end;
  for v_user_id in
    select a.user_id from public.token_accounts a
     where p_user_id is null and (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
    union
    select b.user_id from public.token_balances b
     where p_user_id is null and (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
    union
    select p_user_id where p_user_id is not null
     order by 1
  loop
$o$, $n$  for v_user_id in
    select u.user_id
      from unnest(tokenbook.users_between(p_user_id, coalesce(p_after, '00000000-0000-0000-0000-000000000000'), p_until)) as u (user_id)
  loop
$n$)
    ) as p (name, of_one, of_many);

do $layer$
declare
  v_piece record;
  v_function record;
  v_definition text;
begin
  for v_function in
    select f.name, pg_get_functiondef(p.oid) as definition
      from (select distinct c.name from pieces c) f
      left join pg_proc p on p.pronamespace = 'tokenbook'::regnamespace and p.proname = f.name
  loop
    v_definition := v_function.definition;
    for v_piece in select c.* from pieces c where c.name = v_function.name order by c.nth loop
      if (length(v_definition) - length(replace(v_definition, v_piece.of_one, '')) = length(v_piece.of_one)) is not true then
        raise exception 'tokenbook.% is not as it was when this was written: it does not have once: %', v_piece.name, v_piece.of_one;
      end if;
      v_definition := replace(v_definition, v_piece.of_one, v_piece.of_many);
    end loop;
    execute v_definition;
  end loop;

  -- what joins all rows of many users asks for one user after the other, and says of each table whose rows it means
  for v_function in
    select p.proname as name, p.prosrc, pg_get_functiondef(p.oid) as definition,
           array_to_string(p.proargnames[:p.pronargs], ', ') as arguments
      from pg_proc p where p.pronamespace = 'tokenbook'::regnamespace and p.proname in ('find_breaches', 'replay')
  loop
    execute regexp_replace(
      replace(v_function.definition, 'tokenbook.' || v_function.name || '(', 'tokenbook.' || v_function.name || '_of_one('),
      '\(v_users is null or ([\w.]+) = any \(v_users\)\)', '\1 = p_user_id', 'g');
    execute replace(v_function.definition, v_function.prosrc, format($body$
declare
  v_user_id uuid;
begin
  for v_user_id in
    select u.user_id
      from unnest(tokenbook.users_between(p_user_id, coalesce(p_after, '00000000-0000-0000-0000-000000000000'), p_until)) as u (user_id)
  loop
    return query select r.* from tokenbook.%1$I(%2$s) r;
  end loop;
  if p_user_id is null and p_after is null then -- what is of nobody
    return query select r.* from tokenbook.%1$I(%3$s) r;
  end if;
end
$body$, v_function.name || '_of_one', replace(v_function.arguments, 'p_user_id', 'v_user_id'), v_function.arguments));
  end loop;

  -- every item of a batch goes the full path
  select p.prosrc, pg_get_functiondef(p.oid) as definition into v_function
    from pg_proc p where p.oid = 'tokenbook.spend_tokens_batch'::regproc;
  execute replace(v_function.definition, v_function.prosrc, E'\nbegin\n  return;\nend\n');

  -- a table that is distributed has no size where it is named
  for v_function in
    select pg_get_functiondef(p.oid) as definition
      from pg_proc p where p.pronamespace = 'tokenbook'::regnamespace and p.prosrc ~ 'pg_relation_size\('
  loop
    execute regexp_replace(
      regexp_replace(v_function.definition, 'pg_relation_size\(''([\w.]+)''\) > 0', '(exists (select 1 from \1))', 'g'),
      'pg_relation_size\(''([\w.]+)''\) = 0', '(not exists (select 1 from \1))', 'g');
  end loop;

  -- a function that Postgres writes into the statement that calls it would read the table of the coordinator, which is empty
  for v_function in
    select p.prosrc, p.proretset, regexp_replace(pg_get_functiondef(p.oid), 'LANGUAGE sql', 'LANGUAGE plpgsql') as definition
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
     where (n.nspname = 'tokenbook' or n.nspname = 'public' and p.proname = any (tokenbook.own_functions()))
       and p.prolang = (select l.oid from pg_language l where l.lanname = 'sql')
       and p.prosrc ~ '\m(from|join)\s+(public|tokenbook)\.\w+\s*[^(\w]'
  loop
    execute replace(v_function.definition, v_function.prosrc, format(
      case when v_function.proretset then E'\n#variable_conflict use_column\nbegin\n  return query%s;\nend\n'
        else E'\n#variable_conflict use_column\nbegin\n  return (%s);\nend\n' end,
      rtrim(v_function.prosrc, E' \n;') || E'\n'));
  end loop;

  -- a plan for whichever user asks every machine
  for v_function in
    select p.oid::regprocedure as name from pg_proc p
     where p.pronamespace = 'tokenbook'::regnamespace and 'plan_cache_mode=force_generic_plan' = any (p.proconfig)
  loop
    execute format('alter function %s reset plan_cache_mode', v_function.name);
  end loop;

  -- Citus runs no stable function for the rows of a table in its FROM. These are asked of a row, and of the moment that they are given
  for v_function in
    select p.oid::regprocedure as name from pg_proc p
     where p.pronamespace = 'tokenbook'::regnamespace and p.proname in ('subscription_at', 'plans_of', 'without_words')
  loop
    execute format('alter function %s immutable', v_function.name);
  end loop;
end
$layer$;
drop table pieces;
