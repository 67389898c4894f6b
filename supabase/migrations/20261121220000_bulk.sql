-- Batches and the sweep: fewer statements, and none that joins its own steps.

-- other parameters, and another answer
drop function private.batch_entry(jsonb);
drop function private.spend_many(public.token_transactions[], timestamptz);

-- from supabase/schemas/40_books/batch_entry.sql
/*
 * One item of a batch as the transaction to be; the same entry, and the same refusals, as of a
 * single deduction. A field that is not known is refused: a misspelt idempotency_key would
 * otherwise be a deduction that a retry makes twice. NULL is as good as left out. Until it is booked
 * its id is p_nth, its place in the batch.
 * Caller: internal.   Errors: invalid_batch, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata.
 */
create or replace function private.batch_entry(p_item jsonb, p_nth bigint)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_tokens numeric;
  v_is_sound boolean;
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform private.refuse('invalid_batch', '{"field": "p_items", "rule": "each item an object"}');
  elsif p_item - array['user_id', 'tokens', 'action_type', 'idempotency_key', 'metadata'] <> '{}' then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "user_id, tokens, action_type, idempotency_key, metadata and nothing else"}');
  elsif jsonb_typeof(p_item -> 'action_type') not in ('string', 'null') then
    perform private.check_action_type(null);
  elsif jsonb_typeof(p_item -> 'idempotency_key') not in ('string', 'null') then
    perform private.check_request('', null, null);
  elsif (p_item ->> 'user_id' like '________-____-____-____-____________'
    and p_item ->> 'user_id' ~ '^[0-9a-fA-F]+(-[0-9a-fA-F]+){4}$') is not true -- counting with {8} is 3 µs slower
  then
    perform private.refuse('invalid_user_id', '{"field": "user_id", "rule": "a uuid"}');
  end if;
  if jsonb_typeof(p_item -> 'tokens') = 'number' then
    v_tokens := p_item ->> 'tokens';
    if v_tokens <> trunc(v_tokens) or v_tokens > 1000000000000 then
      v_tokens := null; -- bigint would round the one and not hold the other
    end if;
  end if;
  v_entry.user_id := p_item ->> 'user_id';
  v_entry.id := p_nth;
  v_entry.tokens := -v_tokens;
  v_entry.action_type := coalesce(p_item ->> 'action_type', 'deduction');
  v_entry.reason := v_entry.action_type;
  v_entry.actor_role := 'service';
  v_entry.idempotency_key := p_item ->> 'idempotency_key';
  v_entry.metadata := coalesce(nullif(p_item -> 'metadata', 'null'), '{}');
  -- one expression: as three statements they are 10 µs more
  v_is_sound := private.check_tokens('tokens', -v_entry.tokens)
    and private.check_action_type(v_entry.action_type)
    and private.check_request(v_entry.idempotency_key, null, v_entry.metadata);
  if v_entry.idempotency_key is not null then
    v_entry.request := private.deduction_request(-v_entry.tokens, v_entry.action_type);
  end if;
  return v_entry;
end
$$;
comment on function private.batch_entry(jsonb, bigint) is
  'One item of a batch, {user_id, tokens, action_type, idempotency_key, metadata}, as the transaction to be, with its place in the batch for its id; refuses what a single deduction would.';
revoke all on function private.batch_entry(jsonb, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/book_expiries.sql
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
set plan_cache_mode = force_generic_plan -- else the big statement is planned in every call: 0.7 ms a user
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
                or a.alerts_version <> (select v.version from private.alert_rule_versions v) as has_passed
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
    perform private.raise_alerts(v_passed[v_nth], v_before[v_nth], p_now);
  end loop;

  if v_released <> '{}' then
    for v_user_id in select distinct r.user_id from unnest(v_released) as r (user_id)
    loop
      perform private.settle_incoming(v_user_id, p_now);
    end loop;
  end if;
  return v_booked;
end
$$;
comment on function private.book_expiries(uuid[], timestamptz) is
  'Releases every hold of these users that has run out by then, and books every such grant, one expiry transaction each; the caller holds their accounts'' locks.';
revoke all on function private.book_expiries(uuid[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend_many.sql
/*
 * The usual deduction, for many accounts in one statement: nothing is due, the grant that is next in
 * burn order covers it, no cap applies, nobody wants to be told (private.book asks the same of the
 * marks), and the key is new. What is not so is left alone, and goes through private.spend; both come
 * to the same grants, totals, ledger rows and receipts.
 * p_entries are transactions to be, as of private.spend, no two of one account and none of a member; their id is the
 * caller's own number, handed back. The caller has locked the accounts and read the clock.
 * Caller: internal.   Returns the receipt of each deduction that was made.   Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend_many(p_entries public.token_transactions[], p_now timestamptz)
returns table (nth bigint, receipt jsonb)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_day timestamptz := date_trunc('day', p_now, 'UTC');
  v_week timestamptz := date_trunc('week', p_now, 'UTC');
  v_month timestamptz := date_trunc('month', p_now, 'UTC');
  v_expiring_first boolean := coalesce(
    (select o.burn_order = 'expiring_first' from private.burn_orders o order by o.since desc limit 1), false);
begin
  -- Each step has all that it needs from the first: joining steps to each other would be quadratic
  -- under a plan that does not know how many items there are.
  return query
  with payable as (
    select e.id as nth, e.user_id, -e.tokens as tokens, e.action_type, e.reason, e.actor_role, e.idempotency_key,
           e.request, e.metadata, a.last_transaction_id + 1 as transaction_id,
           a.tokens_remaining + e.tokens as tokens_remaining, b.id as grant_id, b.grant_type, b.granted_at
      from unnest(p_entries) as e
      join public.token_accounts a on a.user_id = e.user_id
     cross join lateral ( -- the two orders of private.choose_grants, each with its index
       (select g.* from public.token_balances g
         where not v_expiring_first and g.user_id = e.user_id and g.is_open
         order by g.priority, g.granted_at, g.id limit 1)
       union all
       (select g.* from public.token_balances g
         where v_expiring_first and g.user_id = e.user_id and g.is_open
         order by g.priority, g.expires_at, g.granted_at, g.id limit 1)) b
     where a.tokens_remaining >= -e.tokens
       and b.tokens_remaining >= -e.tokens
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
         or a.alerts_version <> (select v.version from private.alert_rule_versions v)) is not true
  ), taken as (
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p.tokens,
           is_open = b.tokens_remaining > p.tokens
      from payable p
     where b.user_id = p.user_id and b.id = p.grant_id
  ), accounts as (
    -- as private.book does it, for a deduction
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
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, idempotency_key, request, metadata, created_at)
    select p.user_id, p.transaction_id, 'deduction', p.action_type, -p.tokens, p.tokens_remaining,
           array[p.grant_id], array[p.tokens], p.reason, p.actor_role, p.idempotency_key,
           case when p.idempotency_key is not null then p.request end, p.metadata, p_now
      from payable p
  )
  select p.nth,
         private.deduction_receipt(
           p.tokens, p.transaction_id,
           jsonb_build_array(jsonb_build_object(
             'grant_id', p.grant_id, 'grant_type', p.grant_type, 'granted_at', p.granted_at, 'deducted', p.tokens)),
           0, p.tokens_remaining, false)
    from payable p;
end
$$;
comment on function private.spend_many(public.token_transactions[], timestamptz) is
  'Makes the deductions that need nothing but the next grant, one an account, in one statement, and returns their receipts; leaves the others alone. The accounts are locked.';
revoke all on function private.spend_many(public.token_transactions[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/deduct_tokens_batch.sql
/*
 * Many deductions in one call, for metering workers: many users, each item with its own key and its
 * own answer. Items of one user are applied in the order given; a key that comes twice is a replay
 * the second time. An item that is refused or finds too few tokens does not touch the others; with
 * p_all_or_nothing it undoes all of them, and the answer says which it was.
 *
 * The accounts are locked in one order before anything is done, so batches that overlap never wait
 * for each other in a circle. The usual items go through private.spend_many, the rest one by one
 * through private.spend: the same receipts either way.
 * A member of a team spends from his payer's account, as everywhere.
 * Caller: service_role.   Locks: the accounts, in the order of their ids.
 * Returns {success, deducted, replayed, short, failed, results: [{index, …receipt} or {index,
 * success, error: {code, hint, …facts}}]}, one result an item, in the order of the items.
 * Errors: invalid_batch, busy; in the results those of a single deduction, and not_applied.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: the server may not write the tables itself.
create or replace function private.deduct_tokens_batch(p_items jsonb, p_all_or_nothing boolean)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- by keys: for a thousand ids the planner would read whole tables
as $$
declare
  v_entries public.token_transactions[] := '{}';
  v_user_ids uuid[]; -- of the entries; NULL where the item was refused
  v_account_ids uuid[]; -- whose tokens they take: a member's are his payer's
  v_results jsonb[];
  v_unknown uuid[]; -- who has no account yet
  v_locked uuid[];
  v_has_joined boolean;
  v_made record;
  v_spent record;
  v_user_id uuid;
  v_counts record;
  v_slug text;
  v_facts text;
  v_hint text;
begin
  -- validate
  if jsonb_typeof(p_items) is distinct from 'array' or octet_length(p_items::text) > 1048576 then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "an array of 1 to 1000 items, at most 1048576 bytes"}');
  elsif jsonb_array_length(p_items) not between 1 and 1000 then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "an array of 1 to 1000 items, at most 1048576 bytes"}');
  end if;
  v_results := array_fill(null::jsonb, array[jsonb_array_length(p_items)]);
  begin -- as a rule all of them are well-formed
    v_entries := array(
      select private.batch_entry(i.item, i.nth)
        from jsonb_array_elements(p_items) with ordinality as i (item, nth)
       order by i.nth);
  exception
    when sqlstate 'PT400' then -- one of them is refused: each by itself, in a block of its own
      for i in 1..jsonb_array_length(p_items)
      loop
        v_entries[i] := null;
        begin
          v_entries[i] := private.batch_entry(p_items -> (i - 1), i);
        exception
          when sqlstate 'PT400' then
            get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
            v_results[i] := private.item_error(v_slug, v_facts, v_hint);
        end;
      end loop;
  end;
  v_user_ids := array(select e.user_id from unnest(v_entries) with ordinality as e order by e.ordinality);

  begin -- what all-or-nothing undoes

    -- lock: who has no account yet is given his plan, if he has one; then all accounts, in order
    select array_agg(coalesce(a.payer_id, u.user_id) order by u.nth),
           array_agg(distinct u.user_id) filter (where a.user_id is null and u.user_id is not null)
      into v_account_ids, v_unknown
      from unnest(v_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id;
    foreach v_user_id in array coalesce(v_unknown, '{}')
    loop
      perform private.initialise(v_user_id);
    end loop;
    select array_agg(a.user_id), bool_or(a.payer_id is not null) into v_locked, v_has_joined
      from private.lock_accounts(v_account_ids) as a;
    if v_has_joined
      or v_account_ids <> v_user_ids and private.paying_accounts(v_user_ids) is distinct from v_account_ids
    then
      perform private.refuse('busy', '{}'); -- somebody joined or left a team meanwhile
    end if;

    -- replay, act, record: what is alone on its account and needs nothing but tokens, in the order of
    -- the accounts: neighbours are in the same pages
    for v_made in
      select m.nth, m.receipt
        from private.spend_many(
               array(
                 select v_entries[alone.nth]
                   from (
                     select a.nth, a.account_id, count(*) over (partition by a.account_id) as items
                       from unnest(v_account_ids) with ordinality as a (account_id, nth)) alone
                  where alone.items = 1 and alone.account_id = v_user_ids[alone.nth]
                  order by alone.account_id),
               clock_timestamp()) as m
    loop
      v_results[v_made.nth] := v_made.receipt;
    end loop;

    -- and the rest
    for i in 1..cardinality(v_entries)
    loop
      continue when v_results[i] is not null;
      begin
        if v_account_ids[i] = any (v_locked) then
          v_spent := private.spend(v_entries[i]);
          v_results[i] := private.deduction_receipt(
            -(v_entries[i]).tokens, (v_spent.transaction).id, private.allocations(v_spent.transaction),
            v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
        else
          -- an account made meanwhile would be locked out of order: to this batch there is none
          perform private.require_user(v_user_ids[i], 'service');
          v_results[i] := private.deduction_receipt(
            -(v_entries[i]).tokens, null, '[]', -(v_entries[i]).tokens, 0, false);
        end if;
      exception
        when sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' then
          get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
          v_results[i] := private.item_error(v_slug, v_facts, v_hint);
      end;
    end loop;

    if p_all_or_nothing and exists (select from unnest(v_results) as r (result) where r.result -> 'success' = 'false') then
      perform private.refuse('not_applied');
    end if;
  exception
    when sqlstate 'PT424' then
      get stacked diagnostics v_slug = message_text, v_hint = pg_exception_hint;
      v_results := array(
        select case when r.result -> 'success' = 'false' then r.result else private.item_error(v_slug, null, v_hint) end
          from unnest(v_results) with ordinality as r (result, nth)
         order by r.nth);
  end;

  select count(*) filter (where r.result -> 'success' = 'true' and r.result -> 'replayed' = 'false') as deducted,
         count(*) filter (where r.result -> 'replayed' = 'true') as replayed,
         count(*) filter (where r.result -> 'success' = 'false' and not r.result ? 'error') as short,
         count(*) filter (where r.result ? 'error') as failed,
         jsonb_agg(jsonb_build_object('index', r.nth - 1) || r.result order by r.nth) as results
    into v_counts
    from unnest(v_results) with ordinality as r (result, nth);
  return jsonb_build_object(
    'success', v_counts.short = 0 and v_counts.failed = 0,
    'deducted', v_counts.deducted,
    'replayed', v_counts.replayed,
    'short', v_counts.short,
    'failed', v_counts.failed,
    'results', v_counts.results);
end
$$;
comment on function private.deduct_tokens_batch(jsonb, boolean) is 'See public.deduct_tokens_batch.';
revoke all on function private.deduct_tokens_batch(jsonb, boolean) from public, anon, authenticated, service_role;
grant execute on function private.deduct_tokens_batch(jsonb, boolean) to service_role;

create or replace function public.deduct_tokens_batch(p_items jsonb, p_all_or_nothing boolean default false)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.deduct_tokens_batch(p_items, p_all_or_nothing);
end
$$;
comment on function public.deduct_tokens_batch(jsonb, boolean) is
  'Many deductions in one call, for the server. p_items 1 to 1000 of {user_id, tokens, action_type, idempotency_key, metadata} (only the first two required), at most 1 MiB; items of one user are applied in the order given. Each item is answered by itself and does not touch the others; with p_all_or_nothing any item that is refused or short undoes all. Returns {success (every item), deducted, replayed, short, failed (counts), results: [{index, success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed} as deduct_tokens_with_fifo answers, or {index, success, error: {code, hint, …facts}}] in the order of the items}. Errors: invalid_batch, busy; of an item those of deduct_tokens_with_fifo, user_not_found, not_applied.';
revoke all on function public.deduct_tokens_batch(jsonb, boolean) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_batch(jsonb, boolean) to service_role;
