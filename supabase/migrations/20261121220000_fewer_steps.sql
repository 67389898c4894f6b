/*
 * Speed (docs/performance.md): the usual deduction is made where it is asked for; what it must know of
 * the project's rules stands in one row; newcomers no longer go ahead of who waits for an account;
 * balances and pages of history are put together once; batches, the sweep and everything else on the
 * way of a call look rows up by their keys, with plans that are made once. Nothing else is allowed,
 * refused or answered than before.
 */

-- nobody changes the rules while they are read (in a block: a pipeline does not take the statement alone)
do $$
begin
  lock table private.alert_rule_versions, public.default_spend_caps, private.burn_orders in share row exclusive mode;
end
$$;

-- from supabase/schemas/20_tables/rules_in_force.sql

/*
 * What whoever touches an account must know of the project's rules, in one row: so that the usual
 * deduction asks one question, not one of each table. Written by whoever changes the rules, in the
 * same transaction.
 * An account whose alerts_version is another has marks of older alert rules; whoever touches it next
 * sets them anew.
 */
create table private.rules_in_force (
  is_current boolean primary key default true,
  alerts_version bigint not null default 0,
  has_common_caps boolean not null default false,
  is_expiring_first boolean not null default false,
  constraint rules_in_force_has_one_row check (is_current)
);
insert into private.rules_in_force (alerts_version, has_common_caps, is_expiring_first)
select coalesce((select v.version from private.alert_rule_versions v), 0),
       exists (select from public.default_spend_caps),
       coalesce((select o.burn_order = 'expiring_first' from private.burn_orders o order by o.since desc limit 1), false);
-- nobody but these functions ever read it
-- squawk-ignore ban-drop-table
drop table private.alert_rule_versions;

comment on table private.rules_in_force is
  'What is asked of the project''s rules whenever an account is touched: one row, kept by the functions that change the rules.';
comment on column private.rules_in_force.is_current is 'Always true: there is one row.';
comment on column private.rules_in_force.alerts_version is 'How often token_alert_rules has changed.';
comment on column private.rules_in_force.has_common_caps is 'Whether default_spend_caps has any.';
comment on column private.rules_in_force.is_expiring_first is 'Whether the newest of burn_orders is expiring_first.';
alter table private.rules_in_force enable row level security;

comment on column public.token_accounts.alerts_version is 'Of which rules these marks are; behind private.rules_in_force: unknown, and set anew by whoever touches the account next.';

drop function private.spend_at_once(uuid, bigint, text, text, uuid, text, jsonb);
drop function private.balance_at_once(uuid, timestamptz);
drop function private.batch_entry(jsonb);
drop function private.spend_many(public.token_transactions[], timestamptz);

-- from supabase/schemas/30_guards/check_action_type.sql

/*
 * Refuses an action type that is not a plain name, or that is a name of the ledger's own grants.
 * Caller: internal.   Errors: invalid_action_type.
 */
create or replace function private.check_action_type(p_action_type text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if p_action_type is null
    or octet_length(p_action_type) > 64
    or p_action_type !~ '^[a-z][a-z0-9_]*$'
    or p_action_type = any (private.reserved_action_types())
  then
    perform private.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
  return true;
end
$$;
comment on function private.check_action_type(text) is
  'Refuses an action type that is not a plain lower-case name, or one of the names that the ledger keeps for itself.';
revoke all on function private.check_action_type(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/is_admin.sql

/*
 * Whether the caller is an administrator: his token says so, and it is still true. Both, because
 * a token outlives the right it was issued with, and a row alone would make an admin of whoever
 * took over an old session. Never user_metadata: users write that themselves.
 * Caller: internal.
 */
create or replace function private.is_admin()
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return coalesce(auth.jwt() -> 'app_metadata' ->> 'role' = 'admin', false)
     and exists (select from private.admins a where a.user_id = auth.uid());
end
$$;
comment on function private.is_admin() is
  'True when the caller''s token has app_metadata.role = ''admin'' and private.admins still lists him.';
revoke all on function private.is_admin() from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/queue_for_account.sql

/*
 * Stands in the queue at an account, an advisory lock, for at most two seconds; then busy. Who is its
 * first finds the row free, unless somebody has it who does not queue, and what is right rests on the
 * row alone.
 * Those who wait for a row itself are all woken by each change of it and wait anew, and no timeout
 * bounds that: with 200 at one account the statement's own (8 s in a hosted project) came first, and
 * that is no answer.
 * Caller: internal.   Locks: the queue of that account.   Errors: busy.
 */
create or replace function private.queue_for_account(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '2s'
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0));
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.queue_for_account(uuid) is
  'Stands in the queue at the user''s account, for at most two seconds, then busy.';
revoke all on function private.queue_for_account(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/reserved_action_types.sql

/*
 * The action types that the ledger keeps for itself: no caller may name his own spending so.
 * Immutable, so that who asks it with nothing else is answered when his plan is made.
 * Caller: internal.
 */
create or replace function private.reserved_action_types()
returns text[]
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return array['subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase',
               'admin_grant', 'admin_deduct', 'opening_balance', 'expiry',
               'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover'];
end
$$;
comment on function private.reserved_action_types() is
  'The action types that the ledger keeps for itself.';
revoke all on function private.reserved_action_types() from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/wait_for_account.sql

/*
 * Locks an account that could not be locked at once: somebody has it, or there is none. Waits in its
 * queue (private.queue_for_account), and as its first at the row, for two seconds; then busy.
 * Each wait has a block of its own because a row that is locked in a block that can catch is locked
 * by another transaction number than the one that then changes it, which costs both writes and
 * readers; whoever comes out of the queue finds the row free, and takes it outside of any.
 * Caller: private.lock_account.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.wait_for_account(p_user_id uuid, p_create boolean)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_account public.token_accounts;
begin
  if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    -- this transaction may have the row already: then it must not stand behind who waits for it. One
    -- that has written nothing yet has not, and must not go ahead of them
    if pg_current_xact_id_if_assigned() is not null then
      select a.* into v_account
        from public.token_accounts a
       where a.user_id = p_user_id
         for no key update skip locked;
      if found then
        return v_account;
      end if;
    end if;
    perform private.queue_for_account(p_user_id);
  end if;

  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     for no key update skip locked;
  if found then
    return v_account;
  end if;

  -- there is none, or somebody has it who does not queue
  begin
    if p_create then
      insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
    end if;
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update;
  exception
    when lock_not_available then
      perform private.refuse('busy', '{}');
  end;
  return v_account;
end
$$;
comment on function private.wait_for_account(uuid, boolean) is
  'Locks an account that private.lock_account could not lock at once: at most four seconds, then busy.';
revoke all on function private.wait_for_account(uuid, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/balance_at_once.sql

/*
 * What get_user_token_balance says of an account to which nothing has to be done first, in one
 * statement: nothing is due, no plan waits for its time, the user pays for himself, has something
 * left, and grants are spent in the usual order. NULL for every other case. What it saves:
 * docs/performance.md.
 * Caller: private.get_user_token_balance.   Locks: nothing.   Keeps: I7.
 */
create or replace function private.balance_at_once(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_balance jsonb;
begin
  select jsonb_build_object(
    'user_id', a.user_id,
    'total_active', a.tokens_remaining,
    'total_expired', a.tokens_expired,
    'total_reserved', a.tokens_reserved,
    'total_owed', a.tokens_owed,
    'tokens_limit', s.tokens_limit,
    'plan_type', s.plan_type,
    'next_expiry', case when a.next_due_at is not null then (
      select min(b.expires_at) from public.token_balances b where b.user_id = a.user_id and b.is_open) end,
    'grants', array(
      select listed
        from (
          select b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at
            from public.token_balances b
           where b.user_id = a.user_id and b.is_open
           order by b.priority, b.granted_at, b.id
           limit 101) listed),
    'has_more_grants', false)
    into v_balance
    from public.token_accounts a
    left join public.user_subscriptions s on s.user_id = a.user_id
   where a.user_id = p_user_id
     and a.payer_id is null
     and a.tokens_remaining > 0
     and (a.next_due_at is null or a.next_due_at > clock_timestamp()) -- so nothing open has run out
     and s.next_plan_type is null
     and not (select r.is_expiring_first from private.rules_in_force r);
  if v_balance #> '{grants,100}' is not null then
    v_balance := v_balance || jsonb_build_object('grants', (v_balance -> 'grants') - 100, 'has_more_grants', true);
  end if;
  return v_balance;
end
$$;
comment on function private.balance_at_once(uuid) is
  'The answer of get_user_token_balance for an account to which nothing has to be done first; NULL for any other.';
revoke all on function private.balance_at_once(uuid) from public, anon, authenticated, service_role;

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

-- from supabase/schemas/40_books/book.sql

/*
 * Writes one transaction: the account's totals and the ledger row in one statement, so that no
 * code path can write one without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here. p_cost is
 * what the operation behind it cost, in cents. What was spent is counted into its day, week and
 * month, the account's and the member's.
 * Alerts are only looked for when the balance has passed one of the account's marks, tokens came in
 * whose expiry somebody wants to know of, or the rules have changed since.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create or replace function private.book(p_entry public.token_transactions, p_cost numeric default 0)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_change bigint := p_entry.tokens - coalesce(p_entry.reserved_change, 0);
  v_booked record;
  v_used bigint := 0;
  v_spent bigint := 0;
  v_taken_at timestamptz := p_entry.created_at;
  v_day timestamptz := date_trunc('day', p_entry.created_at, 'UTC');
  v_week timestamptz := date_trunc('week', p_entry.created_at, 'UTC');
  v_month timestamptz := date_trunc('month', p_entry.created_at, 'UTC');
begin
  -- an admin's correction takes tokens away, but nobody used them
  if p_entry.entry_type in ('deduction', 'hold', 'release', 'refund') and p_entry.action_type <> 'admin_deduct' then
    v_used := -p_entry.tokens;
    v_spent := coalesce(p_entry.reserved_change, 0) - p_entry.tokens;
    if p_entry.entry_type in ('release', 'refund') then
      v_taken_at := private.taken_at(p_entry);
    end if;
  end if;
  with account as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + v_change,
           tokens_reserved = a.tokens_reserved + coalesce(p_entry.reserved_change, 0),
           tokens_used = a.tokens_used + v_used,
           spent_at = greatest(a.spent_at, p_entry.created_at),
           spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end
             + case when v_taken_at >= v_day then v_spent else 0 end,
           spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end
             + case when v_taken_at >= v_week then v_spent else 0 end,
           spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end
             + case when v_taken_at >= v_month then v_spent else 0 end,
           tokens_owed = a.tokens_owed + coalesce(p_entry.debt_change, 0),
           total_cost = a.total_cost + p_cost,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_entry.created_at
     where a.user_id = p_entry.user_id
    returning a.last_transaction_id, a.tokens_remaining as balance,
              a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above
                or (a.warns_of_expiry and v_change > 0)
                or a.alerts_version <> (select r.alerts_version from private.rules_in_force r) as has_passed
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change,
     grant_ids, grant_tokens, reason, actor_role, actor_id, idempotency_key, request,
     usage_id, hold_id, payment_id, original_id, member_id, metadata, created_at)
  select p_entry.user_id, account.last_transaction_id, p_entry.entry_type, p_entry.action_type,
         p_entry.tokens, account.balance, coalesce(p_entry.debt_change, 0),
         coalesce(p_entry.reserved_change, 0), p_entry.grant_ids, p_entry.grant_tokens,
         p_entry.reason, p_entry.actor_role, p_entry.actor_id, p_entry.idempotency_key,
         case when p_entry.idempotency_key is not null then p_entry.request end,
         p_entry.usage_id, p_entry.hold_id, p_entry.payment_id, p_entry.original_id,
         p_entry.member_id, p_entry.metadata, p_entry.created_at
    from account
  returning t as transaction, (select account.has_passed from account) into v_booked;

  if p_entry.member_id is not null then
    update public.team_members m
       set tokens_used = m.tokens_used + v_used,
           spent_at = greatest(m.spent_at, p_entry.created_at),
           spent_day = case when m.spent_at >= v_day then m.spent_day else 0 end
             + case when v_taken_at >= v_day then v_spent else 0 end,
           spent_week = case when m.spent_at >= v_week then m.spent_week else 0 end
             + case when v_taken_at >= v_week then v_spent else 0 end,
           spent_month = case when m.spent_at >= v_month then m.spent_month else 0 end
             + case when v_taken_at >= v_month then v_spent else 0 end
     where m.user_id = p_entry.user_id and m.member_id = p_entry.member_id;
  end if;
  if v_booked.has_passed then
    perform private.raise_alerts(
      p_entry.user_id, (v_booked.transaction).balance_after - v_change, p_entry.created_at);
  end if;
  return v_booked.transaction;
end
$$;
comment on function private.book(public.token_transactions, numeric) is
  'Writes one transaction: account totals and ledger row in one statement. Takes the row to be, without id and balance_after, and what the operation cost in cents; the account is locked and the grants are changed by the caller.';
revoke all on function private.book(public.token_transactions, numeric) from public, anon, authenticated, service_role;

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
                or a.alerts_version <> (select r.alerts_version from private.rules_in_force r) as has_passed
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

-- from supabase/schemas/40_books/capped.sql

/*
 * What an answer adds when a cap allowed less than was wanted: {capped_by}; nothing otherwise.
 * Caller: internal.
 */
create or replace function private.capped(p_capped_by jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return case when p_capped_by is null then '{}' else jsonb_build_object('capped_by', p_capped_by) end;
end
$$;
comment on function private.capped(jsonb) is '{capped_by} where a cap allowed less than was wanted, else an empty object.';
revoke all on function private.capped(jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/choose_grants.sql

/*
 * Which grants would pay for that many tokens now, and how much each: in burn order, stopping at
 * the grant that covers the rest, or after p_limit grants. Adds up to less when there is less.
 * The one place that knows the order: a deduction takes what this says, a quote and the balance
 * show it. fifo: priority, granted_at, id. expiring_first: priority, expires_at (never last),
 * granted_at, id.
 * With p_count_due what holds that have run out will give back counts as if it were back, for who
 * only looks; a deduction books it first.
 * Caller: internal.   Keeps: I7, I8.
 */
create or replace function private.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_limit integer default null,
  p_count_due boolean default false,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_expiring_first boolean := (select r.is_expiring_first from private.rules_in_force r);
  v_grants refcursor;
  v_id uuid;
  v_remaining bigint;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  if p_count_due then
    open v_grants for
      select b.id, b.tokens_remaining + coalesce(back.tokens, 0)
        from public.token_balances b
        left join (
          select part.grant_id, sum(part.tokens)::bigint as tokens
            from public.token_holds h
           cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
           where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now
           group by part.grant_id) back on back.grant_id = b.id
       where b.user_id = p_user_id and (b.is_open or back.tokens > 0) and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, case when v_expiring_first then b.expires_at else '-infinity' end, b.granted_at, b.id;
  elsif v_expiring_first then
    open v_grants for
      select b.id, b.tokens_remaining
        from public.token_balances b
       where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, b.expires_at, b.granted_at, b.id;
  else
    open v_grants for
      select b.id, b.tokens_remaining
        from public.token_balances b
       where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
       order by b.priority, b.granted_at, b.id;
  end if;
  loop
    exit when v_needed <= 0 or cardinality(grant_ids) >= p_limit;
    fetch v_grants into v_id, v_remaining;
    exit when not found;
    grant_ids := grant_ids || v_id;
    grant_tokens := grant_tokens || least(v_remaining, v_needed);
    v_needed := v_needed - v_remaining;
  end loop;
  close v_grants;
end
$$;
comment on function private.choose_grants(uuid, bigint, timestamptz, integer, boolean) is
  'Which grants would pay for that many tokens now, and how much each, in burn order; at most p_limit grants; with p_count_due what holds that have run out give back counts too.';
revoke all on function private.choose_grants(uuid, bigint, timestamptz, integer, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/deduct.sql

/*
 * The general deduction: who asks and for what is looked at and refused by name, and private.spend
 * does what there is to do. The usual one, which needs none of that, is made by
 * private.deduct_tokens_with_fifo itself; both come to the same grants, totals, ledger row and receipt.
 * Caller: private.deduct_tokens_with_fifo, which says the rest.   Locks: the account.
 */
create or replace function private.deduct(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_actor record;
  v_entry public.token_transactions;
  v_spent record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  perform private.check_tokens('p_tokens_to_deduct', p_tokens);
  perform private.check_action_type(p_action_type);
  perform private.check_request(p_idempotency_key, null, p_metadata);

  v_entry.actor_role := v_actor.actor_role;
  v_entry.actor_id := v_actor.actor_id;
  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := private.deduction_request(p_tokens, p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);
  return private.deduction_receipt(
    p_tokens, (v_spent.transaction).id, private.allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
end
$$;
comment on function private.deduct(uuid, bigint, text, text, jsonb) is
  'The general deduction: checks who asks and for what, spends, and answers. The caller is private.deduct_tokens_with_fifo.';
revoke all on function private.deduct(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/finding.sql

/*
 * One finding of a reconciliation, with the advice that its scenario has. `off` is by how much the balance is
 * too high (negative: too low) because of it; an adjustment by the opposite puts it right, where is_repairable.
 * Caller: internal.
 */
create or replace function private.finding(
  p_scenario text,
  p_cause text,
  p_tokens bigint,
  p_off bigint,
  p_since timestamptz,
  p_evidence jsonb
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'scenario', p_scenario,
    'cause', p_cause,
    'tokens', p_tokens,
    'off', p_off,
    'is_repairable', p_off <> 0 and p_cause <> 'account_differs_from_ledger',
    'since', p_since,
    'advice', case
      when p_cause = 'account_differs_from_ledger' then
        'The account and its own ledger differ. No adjustment repairs that: run verify_token_ledger, and find who wrote past the functions.'
      when p_scenario = 'balance_higher' then
        'Review token_usage for gaps and for operations from before tokens were tracked. Then deduct the difference.'
      when p_scenario = 'balance_lower' then
        'Review failed operations, duplicate entries and adjustments made by hand. Then grant the difference.'
      when p_scenario = 'cost_mismatch' then
        'Review how costs were calculated and whether model prices have changed; token_usage is the record. No tokens are concerned, and nothing books a cost alone.'
      when p_scenario = 'no_usage_records' then
        'Check whether the user has any AI operations at all: he may have started before tokens were tracked. Then set the balance by hand, from his membership tier.'
      when p_scenario = 'negative_balance' then
        'More was used than was ever granted. Check for calculation errors, then grant tokens to bring the balance positive, or leave it at 0.'
      when p_scenario = 'failed_operations_counted' then
        'A failed operation deducts nothing. Grant back what these took.'
      when p_cause = 'recorded_twice' then
        'Written down twice and deducted once: the balance is right, and this sum counts it once.'
      when p_scenario = 'duplicate_usage' then
        'One operation was deducted twice. Grant back the second.'
    end,
    'evidence', p_evidence);
end
$$;
comment on function private.finding(text, text, bigint, bigint, timestamptz, jsonb) is 'A finding of a reconciliation as JSON, with its scenario''s advice.';
revoke all on function private.finding(text, text, bigint, bigint, timestamptz, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/give_back.sql

/*
 * Puts tokens back into the grants that they came from: what a release, a refund and a won dispute
 * are made of. A grant that has run out takes them too and is then due at once; the caller books
 * that. What no longer fits (something else has filled the grant meanwhile) becomes a grant of its
 * own with the same terms: nothing is lost, and no grant ever has more than it was granted.
 * The mark is lifted to the balance. The caller holds the lock, and books the entry afterwards.
 * Caller: internal.   Returns where the tokens went.   Keeps: I1, I4, I9.
 */
create or replace function private.give_back(
  p_user_id uuid,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_now timestamptz,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_part record;
  v_id uuid;
  v_due_at timestamptz;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_part in
    select b.id, b.expires_at, p.tokens, b.tokens_granted - b.tokens_remaining - coalesce(held.tokens, 0) as room
      from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
      left join lateral (
        select sum(part.tokens) as tokens
          from public.token_holds h
         cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
         where h.user_id = p_user_id and h.status = 'open' and part.grant_id = b.id) held on true
     order by p.nth
  loop
    if v_part.room > 0 then
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining + least(v_part.tokens, v_part.room), is_open = true
       where b.user_id = p_user_id and b.id = v_part.id;
      grant_ids := grant_ids || v_part.id;
      grant_tokens := grant_tokens || least(v_part.tokens, v_part.room);
    end if;
    if v_part.tokens > v_part.room then
      insert into public.token_balances
        (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, metadata, created_at)
      select b.user_id, b.grant_type, v_part.tokens - greatest(v_part.room, 0), v_part.tokens - greatest(v_part.room, 0),
             b.priority, b.granted_at, b.expires_at, jsonb_build_object('given_back_for', b.id), p_now
        from public.token_balances b
       where b.user_id = p_user_id and b.id = v_part.id
      returning id into v_id;
      grant_ids := grant_ids || v_id;
      grant_tokens := grant_tokens || (v_part.tokens - greatest(v_part.room, 0));
    end if;
    v_due_at := least(v_due_at, v_part.expires_at);
  end loop;

  perform private.due_by(p_user_id, v_due_at);
end
$$;
comment on function private.give_back(uuid, uuid[], bigint[], timestamptz) is
  'Puts tokens back into the grants that they came from; what does not fit becomes a grant with the same terms. Returns where they went.';
revoke all on function private.give_back(uuid, uuid[], bigint[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/grant_lifetime.sql

/*
 * How long a grant of that type lives when nothing else is said; NULL = for ever.
 * In hours, because adding '365 days' depends on the session's time zone and its summer time.
 * Caller: internal.
 */
create or replace function private.grant_lifetime(p_grant_type text)
returns interval
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return case p_grant_type
    when 'annual' then interval '8760 hours' -- 365 days
    when '28day' then interval '2160 hours' -- 90 days: three cycles
    when 'trial' then interval '1344 hours' -- 56 days
    when 'admin' then interval '8760 hours' -- 365 days
  end;
end
$$;
comment on function private.grant_lifetime(text) is
  'Lifetime of a grant of that type: annual 365 days, 28day 90, trial 56, admin 365, purchase and plan NULL (for ever).';
revoke all on function private.grant_lifetime(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/hold_receipt.sql

/*
 * The answer about a hold, from what is stored: the same for whoever settled it and for whoever asks
 * again.
 * Caller: internal.
 */
create or replace function private.hold_receipt(p_hold public.token_holds, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_capture public.token_transactions;
  v_overage public.token_transactions;
begin
  if p_hold.capture_id is not null then
    select t.* into v_capture from public.token_transactions t
     where t.user_id = p_hold.user_id and t.id = p_hold.capture_id;
  end if;
  if p_hold.overage_id is not null then
    select t.* into v_overage from public.token_transactions t
     where t.user_id = p_hold.user_id and t.id = p_hold.overage_id;
  end if;
  return jsonb_build_object(
    'success', p_hold.status = 'captured',
    'hold_id', p_hold.id,
    'status', p_hold.status,
    'tokens_reserved', p_hold.tokens,
    'tokens_captured', p_hold.tokens_captured,
    'tokens_released', p_hold.tokens - p_hold.tokens_captured,
    'tokens_deducted', -coalesce(v_capture.tokens, 0) - coalesce(v_overage.tokens, 0),
    'tokens_remaining_to_deduct', p_hold.tokens_uncovered,
    'deducted_from', private.allocations(v_capture) || private.allocations(v_overage),
    'transaction_id', p_hold.capture_id,
    'overage_transaction_id', p_hold.overage_id,
    'usage_id', p_hold.usage_id,
    'cost_estimate', (
      select u.cost_estimate from public.token_usage u
       where u.user_id = p_hold.user_id and u.id = p_hold.usage_id),
    'settled_at', p_hold.settled_at,
    'tokens_remaining', (
      select a.tokens_remaining from public.token_accounts a where a.user_id = p_hold.user_id),
    'replayed', p_replayed);
end
$$;
comment on function private.hold_receipt(public.token_holds, boolean) is
  'What came of a hold: status, tokens reserved, captured, released and deducted, the grants that paid, the usage.';
revoke all on function private.hold_receipt(public.token_holds, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/item_error.sql

/*
 * A refusal as the answer to one item of a batch: what would have been raised, had it come alone.
 * Fields have the names that they have in the item.
 * Caller: internal.
 */
create or replace function private.item_error(p_slug text, p_facts text, p_hint text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'success', false,
    'error', jsonb_build_object('code', p_slug, 'hint', p_hint)
      || replace(coalesce(nullif(p_facts, ''), '{}'), '"field": "p_', '"field": "')::jsonb);
end
$$;
comment on function private.item_error(text, text, text) is
  'A refusal as the answer to one item of a batch: {success: false, error: {code, hint, …facts}}.';
revoke all on function private.item_error(text, text, text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/period_end.sql

/*
 * When a period of that cycle ends; NULL = it does not. Months and years are the calendar's, in
 * UTC: what began on the 31st ends on the last day of a shorter month.
 * Caller: internal.
 */
create or replace function private.period_end(p_billing_cycle text, p_start timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return case p_billing_cycle
    when '28day' then p_start + interval '672 hours'
    when 'monthly' then (p_start at time zone 'utc' + interval '1 month') at time zone 'utc'
    when 'annual' then (p_start at time zone 'utc' + interval '1 year') at time zone 'utc'
  end;
end
$$;
comment on function private.period_end(text, timestamptz) is 'End of a billing period that begins then; NULL when the cycle has no end.';
revoke all on function private.period_end(text, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/raise_alerts.sql

/*
 * Looks at everything that may want to be told about a user's balance, writes the alerts, and sets the
 * account's marks anew, so that the next change that concerns nobody need not ask. Called in the
 * transaction that changed the balance: what is rolled back was never told.
 * p_before is the balance before the change.
 * Caller: internal, holding the account's lock.
 */
create or replace function private.raise_alerts(p_user_id uuid, p_before bigint, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  -- read before the rules: rules that are newer than the number cost another look, not a missed one
  v_version bigint := (select r.alerts_version from private.rules_in_force r);
  v_account public.token_accounts;
  v_marks record;
  v_warnings record;
  v_top_up record;
  v_next_at timestamptz;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  v_marks := private.cross_thresholds(v_account, p_before, p_at, v_account.alerts_version <> v_version);
  v_warnings := private.warn_of_expiry(v_account, p_at);
  v_top_up := private.request_top_up(v_account, p_at);
  v_next_at := least(v_warnings.next_at, v_top_up.next_at);

  update public.token_accounts a
     set alert_below = greatest(v_marks.alert_below, v_top_up.alert_below),
         alert_above = least(v_marks.alert_above, v_top_up.alert_above),
         next_alert_at = v_next_at,
         next_due_at = least(a.next_due_at, v_next_at),
         warns_of_expiry = v_warnings.is_watching,
         alerts_version = v_version,
         last_alert_id = coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_user_id), 0),
         updated_at = p_at
   where a.user_id = p_user_id;
end
$$;
comment on function private.raise_alerts(uuid, bigint, timestamptz) is
  'Writes the alerts that a change of the balance calls for, and sets the account''s marks anew; the caller holds the account''s lock.';
revoke all on function private.raise_alerts(uuid, bigint, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/renew_alert_marks.sql

/*
 * Sets an account's marks anew after something other than its balance has changed what they are made
 * of: the plan, the mark (tokens_limit), the top-up.
 * Caller: internal, holding the account's lock.
 */
create or replace function private.renew_alert_marks(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_tokens bigint;
begin
  select a.tokens_remaining into v_tokens
    from public.token_accounts a
   where a.user_id = p_user_id
     and (exists (select from private.rules_in_force r where r.alerts_version > 0)
       or exists (select from public.token_top_ups t where t.user_id = p_user_id));
  if v_tokens is not null then
    perform private.raise_alerts(p_user_id, v_tokens, clock_timestamp());
  end if;
end
$$;
comment on function private.renew_alert_marks(uuid) is
  'Sets an account''s alert marks anew after its plan, its mark or its top-up has changed; the caller holds the account''s lock.';
revoke all on function private.renew_alert_marks(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative, or 0 for use that costs nothing, or
 * 0 with reserved_change for a hold), action_type, reason, actor, key, request, metadata, links. The
 * rest is given here.
 * With p_partial it takes what there is and the shortfall is what remains uncovered. p_cost is
 * what the operation cost, in cents.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found.
 * A user who never had a grant is initialised first (private.initialise).
 * A member of a team spends from his payer's account: the transaction has the payer's user_id and the
 * member's member_id. An admin's correction stays on the account that it names.
 * Returns the transaction; or, without p_partial, shortfall > 0, in which case nothing was changed,
 * not even what was due to expire; tokens_remaining then says what there is. capped_by is the cap that
 * allowed less than was wanted: the shortfall counts from what it allows, and p_partial takes that.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend(
  p_entry public.token_transactions,
  p_partial boolean default false,
  p_cost numeric default 0,
  out transaction public.token_transactions,
  out replayed boolean,
  out shortfall bigint,
  out tokens_remaining bigint,
  out capped_by jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_wanted bigint;
  v_allowed bigint;
  v_is_due boolean;
  v_payer_id uuid;
  v_cap record;
begin
  replayed := false;
  shortfall := 0;

  if p_entry.action_type <> 'admin_deduct' then
    select a.payer_id into v_payer_id from public.token_accounts a where a.user_id = p_entry.user_id;
    if v_payer_id is not null then
      p_entry.member_id := p_entry.user_id;
      p_entry.user_id := v_payer_id;
    end if;
  end if;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    perform private.initialise(p_entry.user_id); -- whom registration missed
    v_account := private.lock_account(p_entry.user_id, p_create => p_partial or p_entry.tokens = 0);
  end if;
  if p_entry.action_type <> 'admin_deduct'
    and (v_account.payer_id is not null -- joined a team while we waited; or left it, or its payer
      or p_entry.member_id is not null and private.paying_account(p_entry.member_id) <> p_entry.user_id)
  then
    perform private.refuse('busy', '{}');
  end if;
  v_now := clock_timestamp();

  -- replay
  transaction := private.find_replay(p_entry);
  if transaction.id is not null then
    replayed := true;
    tokens_remaining := transaction.balance_after;
    return;
  end if;

  -- act
  v_wanted := coalesce(p_entry.reserved_change, 0) - p_entry.tokens;
  tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  if v_is_due then
    select tokens_remaining - due.lost + due.returned - due.repaid into tokens_remaining
      from private.tokens_due(p_entry.user_id, v_now) as due;
  end if;
  if tokens_remaining < v_wanted then
    if not exists (select from public.token_balances b where b.user_id = p_entry.user_id) then
      perform private.initialise(p_entry.user_id); -- an account, and still never a grant
      v_account := private.lock_account(p_entry.user_id);
      v_now := clock_timestamp(); -- what was just granted comes before what is now spent
      tokens_remaining := coalesce(v_account.tokens_remaining, 0);
    end if;
  end if;
  v_allowed := tokens_remaining;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct'
    and (p_entry.member_id is not null
      or exists (select from public.token_spend_caps c where c.user_id = p_entry.user_id)
      or (select r.has_common_caps from private.rules_in_force r))
  then
    v_cap := private.spend_headroom(v_account, p_entry.member_id, v_now);
    if v_cap.headroom < v_wanted then
      capped_by := v_cap.capped_by;
      v_allowed := least(v_allowed, v_cap.headroom);
    end if;
  end if;
  if v_allowed < v_wanted then
    shortfall := v_wanted - v_allowed;
    if not p_partial then
      return;
    end if;
    v_wanted := v_allowed;
    p_entry.tokens := -v_allowed;
  end if;
  if v_is_due then
    perform private.book_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.take_from_grants(p_entry.user_id, v_wanted, v_now) as taken;

  -- record
  p_entry.entry_type := case
    when p_entry.reserved_change > 0 then 'hold'
    when p_entry.tokens = 0 then 'usage'
    else 'deduction'
  end;
  p_entry.created_at := v_now;
  transaction := private.book(p_entry, p_cost);
  tokens_remaining := transaction.balance_after;
end
$$;
comment on function private.spend(public.token_transactions, boolean, numeric) is
  'Spends tokens oldest grant first, all or nothing (with p_partial what there is), under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed; capped_by where a cap allowed less.';
revoke all on function private.spend(public.token_transactions, boolean, numeric) from public, anon, authenticated, service_role;

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
  v_expiring_first boolean := (select r.is_expiring_first from private.rules_in_force r);
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
       and a.alerts_version = (select r.alerts_version from private.rules_in_force r where not r.has_common_caps)
       and (a.tokens_remaining + e.tokens < a.alert_below or a.tokens_remaining + e.tokens >= a.alert_above) is not true
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

-- from supabase/schemas/40_functions/arm_token_alerts.sql

/*
 * Brings accounts up to the present alert rules which nobody has touched since the rules changed, for
 * at most p_max_accounts users a call (call it until it returns 0). Needed for what time alone brings
 * (expiring_soon); a threshold cannot be crossed without a touch, and whoever touches an account arms
 * it himself.
 * Accounts that are locked are skipped: whoever holds the lock arms them, or the next run does.
 * Caller: service_role, a scheduled job.   Locks: these accounts.   Returns how many.
 * Errors: invalid_page.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.arm_token_alerts(p_max_accounts integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_user_ids uuid[];
begin
  if p_max_accounts is null or p_max_accounts not between 1 and 10000 then
    perform private.refuse('invalid_page', '{"field": "p_max_accounts", "rule": "1 to 10000"}');
  end if;
  select array_agg(behind.user_id) into v_user_ids
    from (
      select a.user_id from public.token_accounts a
       where a.alerts_version < (select r.alerts_version from private.rules_in_force r)
       limit p_max_accounts
         for no key update skip locked
    ) behind;
  perform private.book_expiries(v_user_ids, clock_timestamp());
  return coalesce(cardinality(v_user_ids), 0);
end
$$;
comment on function private.arm_token_alerts(integer) is 'See public.arm_token_alerts.';
revoke all on function private.arm_token_alerts(integer) from public, anon, authenticated, service_role;
grant execute on function private.arm_token_alerts(integer) to service_role;

create or replace function public.arm_token_alerts(p_max_accounts integer default 1000)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.arm_token_alerts(p_max_accounts);
end
$$;
comment on function public.arm_token_alerts(integer) is
  'After the alert rules have changed: brings accounts up to them that nobody has touched since, at most p_max_accounts a call; returns how many, 0 when all are. For the server and scheduled jobs.';
revoke all on function public.arm_token_alerts(integer) from public, anon, authenticated, service_role;
grant execute on function public.arm_token_alerts(integer) to service_role;

-- from supabase/schemas/40_functions/capture_tokens.sql

/*
 * Pays for what was really used out of a hold, and gives the rest back, last taken first. Once: a
 * second capture, or one of a hold that was released or ran out, changes nothing and answers what
 * happened (success false unless it was captured).
 *
 * How much: p_tokens; else what the usage fields count for, as in track_token_usage; else all of it.
 * Nothing when it failed, whatever was used: a failed call is recorded and gives everything back.
 * With usage fields the token_usage row is written in the same transaction.
 * More than was held: deduct takes the difference as an ordinary deduction, all or nothing (short
 * of tokens, or under a cap that allows less: success false, the hold stays open); cap takes no more than was held and records the
 * rest as uncovered; reject refuses.
 * A source grant that ran out meanwhile is honoured; what goes back into it expires at once.
 * Caller: the user for holds he made himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_usage,
 * invalid_metadata, user_not_found, hold_not_found, capture_exceeds_hold, busy.
 * Keeps: I1 to I4, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.capture_tokens(
  p_usage public.token_usage,
  p_hold_id uuid,
  p_tokens bigint,
  p_over_capture text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_usage public.token_usage := p_usage;
  v_has_usage boolean := not coalesce(p_usage.success, true) or num_nonnulls(p_usage.model_used, p_usage.input_tokens,
    p_usage.output_tokens, p_usage.images, p_usage.seconds, p_usage.error_message) > 0;
  v_entry public.token_transactions;
  v_locked record;
  v_hold public.token_holds;
  v_tokens bigint;
  v_over bigint;
  v_captured bigint;
  v_account public.token_accounts;
  v_cap record;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_usage.user_id, p_self_may => true);
  if p_tokens not between 0 and 1000000000000 then
    perform private.refuse('invalid_amount', '{"field": "p_tokens", "rule": "a whole number from 0 to 1000000000000"}');
  end if;
  if p_over_capture is null or p_over_capture not in ('deduct', 'cap', 'reject') then
    perform private.refuse('invalid_usage', '{"field": "p_over_capture", "rule": "deduct, cap or reject"}');
  end if;
  perform private.check_usage(p_usage);
  perform private.check_request(null, null, p_usage.metadata);

  -- lock, replay
  v_locked := private.lock_hold(p_usage.user_id, p_hold_id, v_entry.actor_role);
  v_hold := v_locked.hold;
  if v_hold.status <> 'open' then
    return private.hold_receipt(v_hold, p_replayed => true);
  end if;

  -- act: how much
  v_usage.success := coalesce(p_usage.success, true);
  v_usage.action_type := v_hold.action_type;
  v_usage.created_at := v_locked.locked_at;
  v_usage.tokens_used := p_tokens;
  if v_has_usage then
    v_usage := private.measure_usage(v_usage);
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, case when v_usage.success then v_hold.tokens else 0 end);
  v_tokens := case when v_usage.success then v_usage.tokens_used else 0 end;
  v_captured := least(v_tokens, v_hold.tokens);
  v_over := v_tokens - v_captured;
  if v_over > 0 and p_over_capture = 'reject' then
    perform private.refuse('capture_exceeds_hold', jsonb_build_object('limit', v_hold.tokens));
  elsif v_over > 0 and p_over_capture = 'cap' then
    v_hold.tokens_uncovered := v_over;
    v_over := 0;
  elsif v_over > 0 then
    select a.* into v_account from public.token_accounts a where a.user_id = v_hold.user_id;
    v_cap := private.spend_headroom(v_account, v_hold.member_id, v_locked.locked_at);
    if least(v_account.tokens_remaining, v_cap.headroom) < v_over then
      return private.hold_receipt(v_hold, p_replayed => false)
          || jsonb_build_object(
               'tokens_remaining_to_deduct', v_over - least(v_account.tokens_remaining, v_cap.headroom))
          || private.capped(case when v_cap.headroom < v_over then v_cap.capped_by end);
    end if;
  end if;

  -- act and record: the capture, what goes beyond it, the usage, the rest
  v_entry.user_id := v_hold.user_id;
  v_entry.action_type := v_hold.action_type;
  v_entry.reason := v_hold.action_type;
  v_entry.hold_id := v_hold.id;
  v_entry.member_id := v_hold.member_id;
  v_entry.metadata := coalesce(p_usage.metadata, '{}');
  v_entry.created_at := v_locked.locked_at;
  if v_has_usage then
    v_hold.usage_id := gen_random_uuid();
    v_entry.usage_id := v_hold.usage_id;
  end if;
  if v_captured > 0 or v_has_usage then
    select part.grant_ids, part.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from private.parts_between(v_hold.grant_ids, v_hold.grant_tokens, 0, v_captured) as part;
    v_entry.entry_type := case when v_captured > 0 then 'deduction' else 'usage' end;
    v_entry.tokens := -v_captured;
    v_entry.reserved_change := -v_captured;
    v_hold.capture_id := (private.book(
      v_entry, case when v_has_usage and v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end)).id;
  end if;
  if v_over > 0 then
    select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from private.take_from_grants(v_hold.user_id, v_over, v_locked.locked_at) as taken;
    v_entry.tokens := -v_over;
    v_entry.reserved_change := 0;
    v_hold.overage_id := (private.book(v_entry)).id;
  end if;
  if v_has_usage then
    v_usage.user_id := v_hold.user_id;
    v_usage.id := v_hold.usage_id;
    v_usage.member_id := v_hold.member_id;
    v_usage.transaction_id := v_hold.capture_id;
    v_usage.tokens_uncovered := v_hold.tokens_uncovered;
    v_usage.metadata := v_entry.metadata;
    insert into public.token_usage values (v_usage.*);
  end if;
  v_hold := private.release_hold(
    v_hold, v_captured, 'captured', v_locked.locked_at, v_entry.actor_role, v_entry.actor_id);
  return private.hold_receipt(v_hold, p_replayed => false);
end
$$;
comment on function private.capture_tokens(public.token_usage, uuid, bigint, text) is 'See public.capture_tokens.';
revoke all on function private.capture_tokens(public.token_usage, uuid, bigint, text) from public, anon, authenticated, service_role;
grant execute on function private.capture_tokens(public.token_usage, uuid, bigint, text) to authenticated, service_role;

create or replace function public.capture_tokens(
  p_user_id uuid,
  p_hold_id uuid,
  p_tokens bigint default null,
  p_over_capture text default 'deduct',
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_metadata jsonb default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_usage public.token_usage;
begin
  v_usage.user_id := p_user_id;
  v_usage.model_used := p_model_used;
  v_usage.input_tokens := p_input_tokens;
  v_usage.output_tokens := p_output_tokens;
  v_usage.success := p_success;
  v_usage.error_message := p_error_message;
  v_usage.metadata := p_metadata;
  v_usage.cached_tokens := p_cached_tokens;
  v_usage.reasoning_tokens := p_reasoning_tokens;
  v_usage.images := p_images;
  v_usage.seconds := p_seconds;
  return private.capture_tokens(v_usage, p_hold_id, p_tokens, p_over_capture);
end
$$;
comment on function public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric) is
  'Pays for what was really used out of a hold and gives the rest back; once, and a second time answers what happened the first time. For the user (holds that he made himself), an admin, or the server. p_tokens what to pay, left out: what the usage fields count for, else all of it; nothing when p_success is false; p_over_capture when that is more than was held: deduct (the difference as an ordinary deduction, all or nothing), cap or reject; the other arguments as of track_token_usage, and with any of them the usage is recorded in the same transaction. Returns {success, hold_id, status (open, captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), deducted_from, transaction_id, overage_transaction_id, usage_id, cost_estimate (cents), settled_at, tokens_remaining, replayed}. Short of tokens: success false, status open, nothing changed. Errors: invalid_amount, invalid_usage, invalid_metadata, hold_not_found, user_not_found, capture_exceeds_hold, forbidden, busy.';
revoke all on function public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric) to authenticated, service_role;

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
set plan_cache_mode = force_generic_plan -- decision 27
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

-- from supabase/schemas/40_functions/deduct_tokens_with_fifo.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from his payer's account.
 *
 * The usual deduction is made here, in as few statements as it can be: the account is free, nothing is
 * due, the oldest grant covers it, no cap applies, nobody wants to be told, and the key is new. Whatever
 * is not so is left to private.deduct; both come to the same grants, totals, ledger row and receipt.
 * What it saves: docs/performance.md.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_role text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  v_actor_role text;
  v_actor_id uuid;
  v_account tid; -- where the row is, as long as it is locked
  v_id bigint;
  v_left bigint;
  v_now timestamptz;
  v_request jsonb;
  v_grant_id uuid;
  v_grant_type text;
  v_granted_at timestamptz;
begin
  <<usual>> -- left by whatever is not, with nothing changed
  begin
    -- validate: as private.authorize and the checks do, which private.deduct asks where this does not do
    if v_role in ('service_role', 'postgres', 'supabase_admin') then
      v_actor_role := 'service';
    elsif v_role = 'authenticated' and auth.uid() = p_user_id then
      v_actor_role := 'user';
      v_actor_id := p_user_id;
    end if;
    exit usual when (v_actor_role is not null and p_user_id is not null
      and p_tokens_to_deduct between 1 and 1000000000000
      and p_action_type ~ '^[a-z][a-z0-9_]{0,63}$'
      and p_action_type <> all (private.reserved_action_types())) is not true;
    if p_idempotency_key is not null or p_metadata is not null then
      perform private.check_request(p_idempotency_key, null, p_metadata);
    end if;

    -- lock: who has written something may have the row already, and must not stand behind who waits for it
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
      exit usual when pg_current_xact_id_if_assigned() is not null;
      perform private.queue_for_account(p_user_id);
    end if;
    select a.ctid, a.last_transaction_id + 1, a.tokens_remaining - p_tokens_to_deduct, clock_timestamp()
      into v_account, v_id, v_left, v_now
      from public.token_accounts a
     where a.user_id = p_user_id
       and a.payer_id is null -- else his payer's is to be locked
       and a.tokens_remaining >= p_tokens_to_deduct
       and (a.next_due_at <= clock_timestamp()
         or a.tokens_remaining - p_tokens_to_deduct < a.alert_below
         or a.tokens_remaining - p_tokens_to_deduct >= a.alert_above) is not true
       and a.alerts_version = (
         select r.alerts_version from private.rules_in_force r where not r.has_common_caps and not r.is_expiring_first)
       and not exists (select from public.token_spend_caps c where c.user_id = p_user_id)
       for no key update skip locked;
    exit usual when v_id is null;

    -- replay
    if p_idempotency_key is not null then
      perform from public.token_transactions t
        where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
      union all
      select from public.token_transactions t -- of the time when he was in a team
        where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key;
      exit usual when found;
      v_request := private.deduction_request(p_tokens_to_deduct, p_action_type);
    end if;

    -- act: the oldest grant, if it covers all of it
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p_tokens_to_deduct,
           is_open = b.tokens_remaining > p_tokens_to_deduct
     where b.user_id = p_user_id
       and b.ctid = (
         select h.ctid from public.token_balances h
          where h.user_id = p_user_id and h.is_open
          order by h.priority, h.granted_at, h.id limit 1)
       and b.tokens_remaining >= p_tokens_to_deduct
    returning b.id, b.grant_type, b.granted_at into v_grant_id, v_grant_type, v_granted_at;
    exit usual when v_grant_id is null;

    -- record: as private.book does it
    update public.token_accounts a
       set tokens_remaining = v_left,
           tokens_used = a.tokens_used + p_tokens_to_deduct,
           spent_at = greatest(a.spent_at, v_now),
           spent_day = case when a.spent_at >= date_trunc('day', v_now, 'UTC') then a.spent_day else 0 end + p_tokens_to_deduct,
           spent_week = case when a.spent_at >= date_trunc('week', v_now, 'UTC') then a.spent_week else 0 end + p_tokens_to_deduct,
           spent_month = case when a.spent_at >= date_trunc('month', v_now, 'UTC') then a.spent_month else 0 end + p_tokens_to_deduct,
           last_transaction_id = v_id,
           updated_at = v_now
     where a.user_id = p_user_id and a.ctid = v_account;
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, actor_id, idempotency_key, request, metadata, created_at)
    values
      (p_user_id, v_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_left,
       array[v_grant_id], array[p_tokens_to_deduct], p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
       v_request, coalesce(p_metadata, '{}'), v_now);
    return jsonb_build_object( -- as private.deduction_receipt
      'success', true,
      'tokens_deducted', p_tokens_to_deduct,
      'tokens_remaining_to_deduct', 0,
      'deducted_from', jsonb_build_array(jsonb_build_object(
        'grant_id', v_grant_id, 'grant_type', v_grant_type, 'granted_at', v_granted_at, 'deducted', p_tokens_to_deduct)),
      'transaction_id', v_id,
      'tokens_remaining', v_left,
      'replayed', false);
  end;
  return private.deduct(p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is 'See public.deduct_tokens_with_fifo.';
revoke all on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.deduct_tokens_with_fifo(
    p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed; and so under a spend cap, which is then said in capped_by {scope, window, limit, used, resets_at}. A member of a team spends from his payer''s account. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_token_history.sql

/*
 * A user's transactions, newest first, a page at a time, on from the ledger into the history
 * from before the books opened (entry_type 'history', numbered downwards from 0, no balance).
 * Keyset paging by number: pages neither skip nor repeat while new transactions arrive.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_page, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.get_token_history(p_user_id uuid, p_limit integer, p_before bigint)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_page record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 200 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;

  -- rows stay rows until the page is made of them, once; columns in the order of a jsonb's keys
  -- (by length, then by name), or each of the rows would be sorted
  select exists (select from public.token_accounts a where a.user_id = p_user_id) as is_known,
         array(
           select entry
             from (
               (select t.id, t.reason, t.tokens, t.hold_id, t.actor_id, t.metadata, t.usage_id, t.member_id,
                       t.actor_role, t.created_at, t.entry_type, t.action_type,
                       array(
                         select part from unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)) as allocations,
                       t.original_id, t.balance_after, t.idempotency_key, t.reserved_change
                  from public.token_transactions t
                 where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
                 order by t.id desc
                 limit p_limit + 1)
               union all
               (select h.id, null, h.tokens, null, null, h.metadata, null, null,
                       null, h.created_at, 'history', h.action_type,
                       '{}',
                       null, null, null, 0
                  from public.legacy_token_transactions h
                 where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
                 order by h.id desc
                 limit p_limit + 1)
               order by id desc
               limit p_limit + 1) entry) as entries
    into v_page;
  if not v_page.is_known then
    perform private.require_user(p_user_id, v_actor.actor_role);
  end if;

  return jsonb_build_object(
    'transactions', v_page.entries[:p_limit],
    'next_before', case when cardinality(v_page.entries) > p_limit
                        then to_jsonb(v_page.entries[p_limit]) -> 'id' end);
end
$$;
comment on function private.get_token_history(uuid, integer, bigint) is 'See public.get_token_history.';
revoke all on function private.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function private.get_token_history(uuid, integer, bigint) to authenticated, service_role;

create or replace function public.get_token_history(
  p_user_id uuid default auth.uid(),
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.get_token_history(p_user_id, p_limit, p_before);
end
$$;
comment on function public.get_token_history(uuid, integer, bigint) is
  'The user''s transactions, newest first. For the user himself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), reserved_change (set aside by it), balance_after, allocations: [{grant_id, tokens}], reason, actor_role, actor_id, idempotency_key, usage_id, hold_id, original_id (the transaction that it undoes), member_id (the member of the team who spent it), metadata, created_at}], next_before (NULL on the last page)}. entry_type as in the ledger, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function public.get_token_history(uuid, integer, bigint) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_token_balance.sql

/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not; if something is due and the account
 * is free, it is booked on the way, so that the account row that frontends watch is right again.
 * A user who never had a grant and has a plan is given its tokens first, once; a downgrade whose
 * time has come is put into effect.
 * A member of a team is told of his payer's account, which is what he can spend.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.   Keeps: I7.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create or replace function private.get_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_account_id uuid;
  v_now timestamptz;
  v_is_due boolean;
  v_balance jsonb;
begin
  if current_setting('role') <> 'service_role' then -- the server may ask for anyone; of nobody, below
    perform private.authorize(p_user_id, p_self_may => true);
  end if;
  v_balance := private.balance_at_once(p_user_id);
  if v_balance is not null then
    return v_balance;
  end if;

  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_now := clock_timestamp();
  v_account_id := private.paying_account(p_user_id);

  if not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform private.initialise(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if exists (
    select from public.user_subscriptions s
     where s.user_id = v_account_id and s.next_plan_type is not null and s.expires_at <= v_now)
  then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.take_up_next_plan(v_account_id);
    end if;
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
  elsif v_is_due then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.book_expiries(array[v_account_id], v_now);
      v_is_due := false;
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0),
      'total_expired', coalesce(a.tokens_expired + due.lost + due.forfeited, 0),
      'total_reserved', coalesce(a.tokens_reserved - due.returned - due.forfeited, 0),
      'total_owed', coalesce(a.tokens_owed - due.repaid, 0),
      'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = v_account_id),
      'plan_type', (
        select coalesce(next.plan_type, s.plan_type)
          from public.user_subscriptions s
          left join public.token_plans next
            on next.plan_type = s.next_plan_type and next.price_cents = 0 and s.expires_at <= v_now
         where s.user_id = v_account_id),
      'next_expiry', (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = v_account_id and b.is_open and b.expires_at > v_now),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      || case when v_account_id <> p_user_id then jsonb_build_object('payer_id', v_account_id) else '{}' end
      from (values (v_account_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.repaid), 0)::bigint as repaid
         from private.tokens_due(v_account_id, v_now) as d
        where a.next_due_at <= v_now) due
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'id', g.id,
                  'grant_type', g.grant_type,
                  'tokens_granted', g.tokens_granted,
                  'tokens_remaining', chosen.tokens,
                  'priority', g.priority,
                  'granted_at', g.granted_at,
                  'expires_at', g.expires_at)
                order by chosen.nth) as grants
         from private.choose_grants(v_account_id, null, v_now, 101, p_count_due => v_is_due) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         join public.token_balances g on g.user_id = v_account_id and g.id = chosen.grant_id) listed);
end
$$;
comment on function private.get_user_token_balance(uuid) is 'See public.get_user_token_balance.';
revoke all on function private.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function private.get_user_token_balance(uuid) to authenticated, service_role;

create or replace function public.get_user_token_balance(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.get_user_token_balance(p_user_id);
end
$$;
comment on function public.get_user_token_balance(uuid) is
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the mark the plan filled up to), plan_type, next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}; for a member of a team of his payer''s account, with payer_id. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_token_balance(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/grant_tokens.sql

/*
 * Gives tokens to a user as one new grant.
 * Caller: an admin, service_role (only the latter may backdate).   Locks: the account.
 * p_expires_at left out: the grant type's own lifetime, counted from p_granted_at; 'infinity': never.
 * Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id,
 * tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_grant_type,
 * invalid_priority, invalid_granted_at, invalid_expiry, invalid_reason, invalid_idempotency_key,
 * invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.
 * Keeps: I2, I3, I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.grant_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text,
  p_expires_at timestamptz,
  p_priority integer,
  p_granted_at timestamptz,
  p_reason text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_issued record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_tokens('p_tokens', p_tokens);
  if p_grant_type is null or p_grant_type not in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan') then
    perform private.refuse('invalid_grant_type',
      '{"field": "p_grant_type", "rule": "annual, 28day, trial, purchase, admin or plan"}');
  end if;
  if p_priority is null or p_priority not between 0 and 100 then
    perform private.refuse('invalid_priority', '{"field": "p_priority", "rule": "0 to 100"}');
  end if;
  if not isfinite(p_granted_at) or (p_granted_at is not null and v_entry.actor_role <> 'service') then
    perform private.refuse('invalid_granted_at',
      '{"field": "p_granted_at", "rule": "a finite moment, and only the server may set it"}');
  end if;
  if p_expires_at = '-infinity' or p_expires_at <= p_granted_at then
    perform private.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "later than it was granted"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, p_metadata);

  v_grant.grant_type := p_grant_type;
  v_grant.tokens_granted := p_tokens;
  v_grant.priority := p_priority;
  v_grant.granted_at := p_granted_at;
  v_grant.expires_at := p_expires_at;
  v_grant.metadata := coalesce(p_metadata, '{}');
  v_entry.user_id := p_user_id;
  v_entry.action_type := case p_grant_type
    when 'trial' then 'trial_grant'
    when 'purchase' then 'token_pack_purchase'
    when 'admin' then 'admin_grant'
    else 'subscription_grant'
  end;
  v_entry.reason := coalesce(p_reason, p_grant_type || ' grant');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'grant', 'tokens', p_tokens, 'grant_type', p_grant_type, 'priority', p_priority,
    'reason', p_reason,
    'expires_at', (p_expires_at at time zone 'utc')::text, -- not in the session's time zone
    'granted_at', (p_granted_at at time zone 'utc')::text);
  v_entry.metadata := v_grant.metadata;
  v_issued := private.issue_grant(v_grant, v_entry);

  v_transaction := v_issued.transaction;
  select b.* into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.id = v_transaction.grant_ids[1];
  return jsonb_build_object(
    'success', true,
    'grant_id', v_grant.id,
    'tokens_granted', v_grant.tokens_granted,
    'grant_type', v_grant.grant_type,
    'granted_at', v_grant.granted_at,
    'expires_at', v_grant.expires_at,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_transaction.balance_after,
    'replayed', v_issued.replayed);
end
$$;
comment on function private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) is 'See public.grant_tokens.';
revoke all on function private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) to authenticated, service_role;

create or replace function public.grant_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text default 'admin',
  p_expires_at timestamptz default null,
  p_priority integer default 50,
  p_granted_at timestamptz default null,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.grant_tokens(
    p_user_id, p_tokens, p_grant_type, p_expires_at, p_priority, p_granted_at,
    p_reason, p_idempotency_key, p_metadata);
end
$$;
comment on function public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) is
  'Gives tokens to a user as one new grant. For an admin or the server. p_tokens 1 to 10^12; p_grant_type annual (365 days), 28day (90), trial (56), purchase (never), admin (365), plan (never); p_expires_at left out: the type''s own lifetime, ''infinity'': never; p_priority 0 (spent first) to 100; p_granted_at in the past, for the server only; p_idempotency_key makes a retry safe for ever. Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id, tokens_remaining, replayed}. Errors: invalid_amount, invalid_grant_type, invalid_priority, invalid_granted_at, invalid_expiry, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/refund_tokens.sql

/*
 * Undoes a deduction, in part or whole, as often as there is something left of it: the tokens go
 * back to the very grants that paid, last taken first.
 * Into a grant that has run out: forfeit (they expire at once, in the ledger) or reissue (one new
 * grant that lives p_lifetime_days). What is owed is repaid first, as from anything that comes in.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, tokens_refunded, restored: [{grant_id, grant_type, tokens}],
 * forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found,
 * not_refundable, refund_exceeds_charge, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.refund_tokens(
  p_user_id uuid,
  p_transaction_id bigint,
  p_tokens bigint,
  p_reason text,
  p_expired_policy text,
  p_idempotency_key text,
  p_lifetime_days integer
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_refund public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_charge public.token_transactions;
  v_before bigint;
  v_refundable bigint;
  v_part record;
  v_expired bigint := 0;
  v_expired_type text;
  v_new_id uuid;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_tokens is not null then
    perform private.check_tokens('p_tokens', p_tokens);
  end if;
  if p_expired_policy is null or p_expired_policy not in ('forfeit', 'reissue') then
    perform private.refuse('invalid_refund', '{"field": "p_expired_policy", "rule": "forfeit or reissue"}');
  elsif (p_expired_policy = 'reissue' and (p_lifetime_days between 1 and 36500) is not true)
    or (p_expired_policy = 'forfeit' and p_lifetime_days is not null)
  then
    perform private.refuse('invalid_refund',
      '{"field": "p_lifetime_days", "rule": "1 to 36500 with reissue, left out otherwise"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := coalesce(p_reason, 'refund');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'refund', 'transaction_id', p_transaction_id, 'tokens', p_tokens, 'reason', p_reason,
    'expired_policy', p_expired_policy, 'lifetime_days', p_lifetime_days));
  v_entry.metadata := '{}';
  v_refund := private.find_replay(v_entry);
  select t.* into v_charge from public.token_transactions t
   where t.user_id = p_user_id and t.id = p_transaction_id;
  if v_refund.id is null and p_idempotency_key is not null then
    -- what a member spent is refunded in his name, and the key is with it
    select t.member_id into v_entry.member_id
      from public.team_members m
      join public.token_transactions t on t.member_id = m.member_id and t.idempotency_key = p_idempotency_key
     where m.user_id = p_user_id and t.user_id = p_user_id and t.actor_role <> 'user'
       and (t.entry_type = 'refund' or t.member_id = v_charge.member_id)
     order by t.entry_type = 'refund' desc, t.id
     limit 1;
    if v_entry.member_id is not null then
      v_refund := private.find_replay(v_entry);
    end if;
  end if;
  if v_refund.id is not null then
    return private.refund_receipt(v_refund, p_replayed => true);
  end if;

  -- act: what is left of the charge
  if v_charge.id is null then
    perform private.refuse('charge_not_found', '{}');
  elsif v_charge.entry_type <> 'deduction' then
    perform private.refuse('not_refundable', jsonb_build_object('entry_type', v_charge.entry_type));
  end if;
  select coalesce(sum(t.tokens), 0)::bigint into v_before
    from public.token_transactions t
   where t.user_id = p_user_id and t.original_id = v_charge.id and t.entry_type = 'refund';
  v_refundable := -v_charge.tokens - v_before;
  v_entry.tokens := coalesce(p_tokens, v_refundable);
  if v_entry.tokens > v_refundable or v_refundable = 0 then
    perform private.refuse('refund_exceeds_charge', jsonb_build_object('limit', v_refundable));
  end if;
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_user_id], v_now);
  end if;

  -- act: back to the grants that paid, from the end of what they paid
  v_entry.grant_ids := '{}';
  v_entry.grant_tokens := '{}';
  for v_part in
    select p.grant_id, p.tokens, b.grant_type, coalesce(b.expires_at <= v_now, false) as has_expired
      from private.parts_between(v_charge.grant_ids, v_charge.grant_tokens,
             v_refundable - v_entry.tokens, v_refundable) as part
     cross join lateral unnest(part.grant_ids, part.grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
     order by p.nth desc
  loop
    if v_part.has_expired and p_expired_policy = 'reissue' then
      v_expired := v_expired + v_part.tokens;
      v_expired_type := coalesce(v_expired_type, v_part.grant_type);
    else
      v_entry.grant_ids := v_entry.grant_ids || v_part.grant_id;
      v_entry.grant_tokens := v_entry.grant_tokens || v_part.tokens;
    end if;
  end loop;
  select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from private.give_back(p_user_id, v_entry.grant_ids, v_entry.grant_tokens, v_now) as back;
  if v_expired > 0 then
    insert into public.token_balances
      (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, metadata, created_at)
    values
      (p_user_id, v_expired_type, v_expired, v_expired, v_now, v_now + p_lifetime_days * interval '24 hours',
       jsonb_build_object('reissued_for', v_charge.id), v_now)
    returning id into v_new_id;
    perform private.due_by(p_user_id, v_now + p_lifetime_days * interval '24 hours');
    v_entry.grant_ids := v_entry.grant_ids || v_new_id;
    v_entry.grant_tokens := v_entry.grant_tokens || v_expired;
  end if;

  -- record
  v_entry.entry_type := 'refund';
  v_entry.action_type := v_charge.action_type;
  v_entry.original_id := v_charge.id;
  v_entry.member_id := v_charge.member_id;
  v_entry.usage_id := v_charge.usage_id;
  v_entry.hold_id := v_charge.hold_id;
  v_entry.created_at := v_now;
  v_refund := private.book(v_entry);
  perform private.settle_incoming(p_user_id, v_now);
  return private.refund_receipt(v_refund, p_replayed => false);
end
$$;
comment on function private.refund_tokens(uuid, bigint, bigint, text, text, text, integer) is 'See public.refund_tokens.';
revoke all on function private.refund_tokens(uuid, bigint, bigint, text, text, text, integer) from public, anon, authenticated, service_role;
grant execute on function private.refund_tokens(uuid, bigint, bigint, text, text, text, integer) to authenticated, service_role;

create or replace function public.refund_tokens(
  p_user_id uuid,
  p_transaction_id bigint,
  p_tokens bigint default null,
  p_reason text default null,
  p_expired_policy text default 'forfeit',
  p_idempotency_key text default null,
  p_lifetime_days integer default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.refund_tokens(
    p_user_id, p_transaction_id, p_tokens, p_reason, p_expired_policy, p_idempotency_key, p_lifetime_days);
end
$$;
comment on function public.refund_tokens(uuid, bigint, bigint, text, text, text, integer) is
  'Undoes a deduction, in part (p_tokens) or what is left of it, back to the very grants that paid, last taken first. For an admin or the server. p_expired_policy for what paid and has run out since: forfeit (it expires at once) or reissue (a new grant that lives p_lifetime_days, 1 to 36500); p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, tokens_refunded, restored: [{grant_id, grant_type, tokens}], forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}. Errors: invalid_amount, invalid_reason, invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found, not_refundable, refund_exceeds_charge, forbidden, busy.';
revoke all on function public.refund_tokens(uuid, bigint, bigint, text, text, text, integer) from public, anon, authenticated, service_role;
grant execute on function public.refund_tokens(uuid, bigint, bigint, text, text, text, integer) to authenticated, service_role;

-- from supabase/schemas/40_functions/release_tokens.sql

/*
 * Gives back everything that a hold set aside. Once: a hold that has been captured, released or has
 * run out stays as it is, and the answer says how.
 * Caller: the user for holds he made himself, an admin, service_role.   Locks: the account.
 * Returns what private.hold_receipt says; success when the hold is now released, by whatever call.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, hold_not_found, busy.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.release_tokens(p_user_id uuid, p_hold_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_locked record;
  v_hold public.token_holds;
  v_is_open boolean;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_locked := private.lock_hold(p_user_id, p_hold_id, v_actor.actor_role);
  v_hold := v_locked.hold;
  v_is_open := v_hold.status = 'open';
  if v_is_open then
    v_hold := private.release_hold(v_hold, 0, 'released', v_locked.locked_at, v_actor.actor_role, v_actor.actor_id);
  end if;
  return private.hold_receipt(v_hold, p_replayed => not v_is_open)
      || jsonb_build_object('success', v_hold.status in ('released', 'expired'));
end
$$;
comment on function private.release_tokens(uuid, uuid) is 'See public.release_tokens.';
revoke all on function private.release_tokens(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.release_tokens(uuid, uuid) to authenticated, service_role;

create or replace function public.release_tokens(p_user_id uuid, p_hold_id uuid)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.release_tokens(p_user_id, p_hold_id);
end
$$;
comment on function public.release_tokens(uuid, uuid) is
  'Gives back everything that a hold set aside; once, and a second time answers what happened the first time. For the user (holds that he made himself), an admin, or the server. Returns {success (its tokens are back), hold_id, status (captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, settled_at, tokens_remaining, replayed, …} as capture_tokens does. Errors: hold_not_found, user_not_found, forbidden, busy.';
revoke all on function public.release_tokens(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.release_tokens(uuid, uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/remove_token_alert_rule.sql

/*
 * Removes one alert rule; the next wider one of its name, if there is one, holds instead. Alerts that
 * were raised by it stay. No longer there: no error.
 * Caller: an admin, service_role.   Locks: the rules' version.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.remove_token_alert_rule(p_rule text, p_plan_type text, p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  delete from public.token_alert_rules r
   where r.rule = p_rule
     and r.plan_type is not distinct from p_plan_type
     and r.user_id is not distinct from p_user_id;
  if not found then
    return jsonb_build_object('success', true, 'removed', false);
  end if;
  update private.rules_in_force r set alerts_version = r.alerts_version + 1 where r.is_current;
  return jsonb_build_object('success', true, 'removed', true);
end
$$;
comment on function private.remove_token_alert_rule(text, text, uuid) is 'See public.remove_token_alert_rule.';
revoke all on function private.remove_token_alert_rule(text, text, uuid) from public, anon, authenticated, service_role;
grant execute on function private.remove_token_alert_rule(text, text, uuid) to authenticated, service_role;

create or replace function public.remove_token_alert_rule(
  p_rule text,
  p_plan_type text default null,
  p_user_id uuid default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.remove_token_alert_rule(p_rule, p_plan_type, p_user_id);
end
$$;
comment on function public.remove_token_alert_rule(text, text, uuid) is
  'Removes the alert rule of that name for everyone, for a plan (p_plan_type) or for a user (p_user_id). For an admin or the server. Returns {success, removed (false: there was none)}. Errors: forbidden.';
revoke all on function public.remove_token_alert_rule(text, text, uuid) from public, anon, authenticated, service_role;
grant execute on function public.remove_token_alert_rule(text, text, uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/reserve_tokens.sql

/*
 * Sets tokens aside for a call that is about to run: taken from the grants in burn order at once,
 * all or nothing, and remembered grant by grant. To be captured or released; else it runs out after
 * p_ttl_seconds, and whoever touches the account next releases it.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct, reserved_from,
 * expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_ttl,
 * invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.reserve_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_spent record;
  v_hold public.token_holds;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => true);
  perform private.check_tokens('p_tokens', p_tokens);
  if p_ttl_seconds is null or p_ttl_seconds not between 1 and 86400 then
    perform private.refuse('invalid_ttl', '{"field": "p_ttl_seconds", "rule": "1 to 86400"}');
  end if;
  perform private.check_action_type(p_action_type);
  perform private.check_request(p_idempotency_key, null, p_metadata);

  -- lock, replay, act
  v_entry.user_id := p_user_id;
  v_entry.tokens := 0;
  v_entry.reserved_change := p_tokens;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'reserve', 'tokens', p_tokens, 'ttl_seconds', p_ttl_seconds, 'action_type', p_action_type);
  v_entry.hold_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);

  -- record
  if v_spent.replayed then
    select h.* into v_hold from public.token_holds h
     where h.user_id = (v_spent.transaction).user_id and h.id = (v_spent.transaction).hold_id;
  elsif v_spent.shortfall = 0 then
    insert into public.token_holds as h
      (user_id, id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role,
       transaction_id, member_id, metadata, created_at)
    values
      ((v_spent.transaction).user_id, v_entry.hold_id, p_tokens, (v_spent.transaction).grant_ids, (v_spent.transaction).grant_tokens,
       (v_spent.transaction).created_at + p_ttl_seconds * interval '1 second', p_action_type, v_entry.actor_role,
       (v_spent.transaction).id, (v_spent.transaction).member_id, v_entry.metadata, (v_spent.transaction).created_at)
    returning h.* into v_hold;
    perform private.due_by(v_hold.user_id, v_hold.expires_at);
  end if;

  return jsonb_build_object(
    'success', v_hold.id is not null,
    'hold_id', v_hold.id,
    'status', v_hold.status,
    'tokens_reserved', coalesce(v_hold.tokens, 0),
    'tokens_remaining_to_deduct', v_spent.shortfall,
    'reserved_from', private.allocations(v_spent.transaction),
    'expires_at', v_hold.expires_at,
    'transaction_id', (v_spent.transaction).id,
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed) || private.capped(v_spent.capped_by);
end
$$;
comment on function private.reserve_tokens(uuid, bigint, integer, text, text, jsonb) is 'See public.reserve_tokens.';
revoke all on function private.reserve_tokens(uuid, bigint, integer, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.reserve_tokens(uuid, bigint, integer, text, text, jsonb) to authenticated, service_role;

create or replace function public.reserve_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer default 900,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.reserve_tokens(p_user_id, p_tokens, p_ttl_seconds, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function public.reserve_tokens(uuid, bigint, integer, text, text, jsonb) is
  'Sets tokens aside for a call that is about to run, all or nothing. For the user himself, an admin, or the server. p_tokens 1 to 10^12; p_ttl_seconds 1 to 86400, after which the hold has run out and its tokens are back; p_action_type what for; p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct (the shortfall), reserved_from: [{grant_id, grant_type, granted_at, deducted}], expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_ttl, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.reserve_tokens(uuid, bigint, integer, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.reserve_tokens(uuid, bigint, integer, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/set_burn_order.sql

/*
 * Chooses in which order grants are spent, for the whole project, from now on: fifo (priority,
 * granted_at, id) or expiring_first (priority, expires_at, granted_at, id). Safe while traffic runs:
 * each deduction reads it once, under the account's lock.
 * Caller: service_role.   Locks: the rules in force.   Errors: invalid_burn_order.   Keeps: I8.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_burn_order(p_burn_order text)
returns text
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  if p_burn_order is null or p_burn_order not in ('fifo', 'expiring_first') then
    perform private.refuse('invalid_burn_order', '{"field": "p_burn_order", "rule": "fifo or expiring_first"}');
  end if;
  -- first, so that of two choices the one that holds is also the newest
  update private.rules_in_force r set is_expiring_first = p_burn_order = 'expiring_first' where r.is_current;
  insert into private.burn_orders (burn_order) values (p_burn_order);
  return p_burn_order;
end
$$;
comment on function private.set_burn_order(text) is 'See public.set_burn_order.';
revoke all on function private.set_burn_order(text) from public, anon, authenticated, service_role;
grant execute on function private.set_burn_order(text) to service_role;

create or replace function public.set_burn_order(p_burn_order text)
returns text
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.set_burn_order(p_burn_order);
end
$$;
comment on function public.set_burn_order(text) is
  'Chooses the order in which grants are spent from now on: fifo (the default) or expiring_first. For the server. Returns it. Errors: invalid_burn_order.';
revoke all on function public.set_burn_order(text) from public, anon, authenticated, service_role;
grant execute on function public.set_burn_order(text) to service_role;

-- from supabase/schemas/40_functions/set_spend_cap.sql

/*
 * Caps what may be spent in a day, a week or a month: by one user, by each user on a plan, or by
 * everyone (neither is named). p_tokens NULL takes the cap away. The tightest cap holds.
 * Safe while traffic runs: a user's cap is set under his account's lock, so what begins afterwards
 * meets it; a common one holds for whatever takes its lock afterwards. What was spent in the present
 * window counts.
 * Caller: an admin, service_role.   Locks: the account, where one user is named; else the rules
 * in force.
 * Returns {success, scope, window, limit, used (of that user, in the present window)}.
 * Errors: not_authenticated, forbidden, invalid_cap, invalid_reason, plan_not_found, user_not_found,
 * busy.   Keeps: I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_spend_cap(
  p_window text,
  p_tokens bigint,
  p_user_id uuid,
  p_plan_type text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_used bigint;
begin
  -- validate
  v_actor := private.authorize(
    coalesce(p_user_id, '00000000-0000-0000-0000-000000000000'), p_self_may => false);
  if p_window is null or p_window not in ('day', 'week', 'month') then
    perform private.refuse('invalid_cap', '{"field": "p_window", "rule": "day, week or month"}');
  elsif p_tokens not between 0 and 1000000000000 then
    perform private.refuse('invalid_cap', '{"field": "p_tokens", "rule": "0 to 1000000000000, or null for no cap"}');
  elsif p_user_id is not null and p_plan_type is not null then
    perform private.refuse('invalid_cap', '{"field": "p_plan_type", "rule": "a user or a plan, not both"}');
  end if;
  perform private.check_request(null, p_reason, null);
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  -- lock
  if p_user_id is not null then
    v_account := private.lock_account(p_user_id);
    if v_account.user_id is null then
      perform private.require_user(p_user_id, v_actor.actor_role);
      v_account := private.lock_account(p_user_id, p_create => true);
    end if;
  end if;

  -- act
  if p_user_id is not null and p_tokens is null then
    delete from public.token_spend_caps c where c.user_id = p_user_id and c.spend_window = p_window;
  elsif p_user_id is not null then
    insert into public.token_spend_caps as c (user_id, spend_window, tokens, reason, actor_role, actor_id)
    values (p_user_id, p_window, p_tokens, coalesce(p_reason, 'spend cap'), v_actor.actor_role, v_actor.actor_id)
    on conflict (user_id, spend_window) do update
       set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
           actor_id = excluded.actor_id, updated_at = clock_timestamp();
    select c.used into v_used
      from private.spend_caps_of(v_account, null, clock_timestamp()) as c
     where c.scope = 'user' and c.spend_window = p_window;
  else
    perform from private.rules_in_force r where r.is_current for update; -- one after the other
    if p_tokens is null then
      delete from public.default_spend_caps d
       where d.plan_type is not distinct from p_plan_type and d.spend_window = p_window;
    else
      insert into public.default_spend_caps as d (plan_type, spend_window, tokens, reason, actor_role, actor_id)
      values (p_plan_type, p_window, p_tokens, coalesce(p_reason, 'spend cap'), v_actor.actor_role, v_actor.actor_id)
      on conflict (plan_type, spend_window) do update
         set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
             actor_id = excluded.actor_id, updated_at = clock_timestamp();
    end if;
    update private.rules_in_force r
       set has_common_caps = exists (select from public.default_spend_caps)
     where r.is_current;
  end if;

  return jsonb_build_object(
    'success', true,
    'scope', case when p_user_id is not null then 'user' when p_plan_type is not null then 'plan' else 'everyone' end,
    'window', p_window,
    'limit', p_tokens,
    'used', v_used);
end
$$;
comment on function private.set_spend_cap(text, bigint, uuid, text, text) is 'See public.set_spend_cap.';
revoke all on function private.set_spend_cap(text, bigint, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.set_spend_cap(text, bigint, uuid, text, text) to authenticated, service_role;

create or replace function public.set_spend_cap(
  p_window text,
  p_tokens bigint,
  p_user_id uuid default null,
  p_plan_type text default null,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.set_spend_cap(p_window, p_tokens, p_user_id, p_plan_type, p_reason);
end
$$;
comment on function public.set_spend_cap(text, bigint, uuid, text, text) is
  'Caps what may be spent in a window: by one user (p_user_id), by each user on a plan (p_plan_type), or by everyone (neither). For an admin or the server. p_window day, week (ISO) or month, in UTC; p_tokens 0 to 10^12, NULL takes the cap away; p_reason 1 to 500 characters. The tightest cap holds. Returns {success, scope (user, plan, everyone), window, limit, used (by that user, in the present window)}. Errors: invalid_cap, invalid_reason, plan_not_found, user_not_found, forbidden, busy.';
revoke all on function public.set_spend_cap(text, bigint, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_spend_cap(text, bigint, uuid, text, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/set_token_alert_rule.sql

/*
 * Sets one alert rule: for a user, for a plan, or for everyone; what was set under that name for the
 * same ones is replaced. Holds from its commit on, while traffic runs: each account's marks are set
 * anew by whoever touches it next (arm_token_alerts for those whom nobody touches). Who is below the
 * threshold already is not told; from then on every crossing counts.
 * Caller: an admin, service_role.   Locks: the rules' version.
 * Errors: not_authenticated, forbidden, invalid_alert_rule, plan_not_found, user_not_found.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_token_alert_rule(p_rule public.token_alert_rules)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_fault text;
begin
  -- validate
  perform private.authorize_operator();
  v_fault := case
    when octet_length(p_rule.rule) > 64 or (p_rule.rule ~ '^[a-z][a-z0-9_]*$') is not true or p_rule.rule = 'auto_top_up'
      then '{"field": "p_rule", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not auto_top_up"}'
    when (p_rule.kind in ('dropped', 'depleted', 'expiring_soon')) is not true
      then '{"field": "p_kind", "rule": "dropped, depleted or expiring_soon"}'
    when p_rule.threshold_tokens not between 1 and 1000000000000
      then '{"field": "p_threshold_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when p_rule.threshold_percent not between 1 and 100
      then '{"field": "p_threshold_percent", "rule": "1 to 100"}'
    when num_nonnulls(p_rule.threshold_tokens, p_rule.threshold_percent) <> (p_rule.kind = 'dropped')::integer
      then '{"field": "p_threshold_tokens", "rule": "this or p_threshold_percent with dropped, neither otherwise"}'
    when (p_rule.kind = 'expiring_soon') <> coalesce(p_rule.hours between 1 and 8760, p_rule.hours is not null)
      then '{"field": "p_hours", "rule": "1 to 8760 with expiring_soon, left out otherwise"}'
    when p_rule.notify_recovered is null or (p_rule.notify_recovered and p_rule.kind = 'expiring_soon')
      then '{"field": "p_notify_recovered", "rule": "true or false, and false with expiring_soon"}'
    when p_rule.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
    when num_nonnulls(p_rule.user_id, p_rule.plan_type) > 1
      then '{"field": "p_plan_type", "rule": "this or p_user_id, not both"}'
  end;
  if v_fault is not null then
    perform private.refuse('invalid_alert_rule', v_fault::jsonb);
  end if;
  if p_rule.plan_type is not null
    and not exists (select from public.token_plans p where p.plan_type = p_rule.plan_type)
  then
    perform private.refuse('plan_not_found', '{}');
  end if;
  if p_rule.user_id is not null then
    perform private.require_user(p_rule.user_id, 'service');
  end if;

  -- act
  update private.rules_in_force r set alerts_version = r.alerts_version + 1 where r.is_current;
  insert into public.token_alert_rules as r
    (user_id, plan_type, rule, kind, threshold_tokens, threshold_percent, hours, notify_recovered, is_enabled)
  values
    (p_rule.user_id, p_rule.plan_type, p_rule.rule, p_rule.kind, p_rule.threshold_tokens,
     p_rule.threshold_percent, p_rule.hours, p_rule.notify_recovered, p_rule.is_enabled)
  on conflict on constraint token_alert_rules_key do update
     set kind = excluded.kind,
         threshold_tokens = excluded.threshold_tokens,
         threshold_percent = excluded.threshold_percent,
         hours = excluded.hours,
         notify_recovered = excluded.notify_recovered,
         is_enabled = excluded.is_enabled,
         updated_at = clock_timestamp()
  returning r.* into p_rule;
  return to_jsonb(p_rule);
end
$$;
comment on function private.set_token_alert_rule(public.token_alert_rules) is 'See public.set_token_alert_rule.';
revoke all on function private.set_token_alert_rule(public.token_alert_rules) from public, anon, authenticated, service_role;
grant execute on function private.set_token_alert_rule(public.token_alert_rules) to authenticated, service_role;

create or replace function public.set_token_alert_rule(
  p_rule text,
  p_kind text,
  p_threshold_tokens bigint default null,
  p_threshold_percent integer default null,
  p_hours integer default null,
  p_plan_type text default null,
  p_user_id uuid default null,
  p_notify_recovered boolean default false,
  p_is_enabled boolean default true
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_rule public.token_alert_rules;
begin
  v_rule.rule := p_rule;
  v_rule.kind := p_kind;
  v_rule.threshold_tokens := p_threshold_tokens;
  v_rule.threshold_percent := p_threshold_percent;
  v_rule.hours := p_hours;
  v_rule.plan_type := p_plan_type;
  v_rule.user_id := p_user_id;
  v_rule.notify_recovered := p_notify_recovered;
  v_rule.is_enabled := p_is_enabled;
  return private.set_token_alert_rule(v_rule);
end
$$;
comment on function public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean) is
  'Sets an alert rule for everyone, for a plan (p_plan_type) or for a user (p_user_id); of the rules of one name the closest holds. For an admin or the server. p_rule its name; p_kind dropped (fewer than p_threshold_tokens, or than p_threshold_percent of the mark), depleted (nothing left), expiring_soon (a grant runs out within p_hours); p_notify_recovered: the end of it is an alert too; p_is_enabled false: none for these, whatever a wider rule says. Returns the row of token_alert_rules. Errors: invalid_alert_rule, plan_not_found, user_not_found, forbidden.';
revoke all on function public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean) from public, anon, authenticated, service_role;
grant execute on function public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean) to authenticated, service_role;

-- from supabase/schemas/40_functions/track_token_usage.sql

/*
 * Records one AI operation and deducts for it, in one transaction: the token_usage row, the ledger
 * entry and the account's tokens and cost, or nothing.
 *
 * What it counts for: p_tokens_used when given; else input + output within what ai_action_costs
 * asks for the action. Cached tokens are part of the input and reasoning tokens part of the output.
 * A failed operation (p_success false) is recorded and deducts nothing.
 * Short of tokens: with p_on_shortage 'reject' success is false and nothing is recorded; with
 * 'partial' what is there is taken and the rest is recorded as uncovered. Under a spend cap it is the
 * same: what the cap allows counts as what is there, and the cap is said in capped_by.
 * A member's operation is recorded with his payer, whose tokens it takes, and names the member.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: the account.
 * Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted,
 * tokens_remaining_to_deduct, cost_estimate, deducted_from, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.track_token_usage(
  p_usage public.token_usage,
  p_on_shortage text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_usage public.token_usage;
  v_spent record;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_usage.user_id, p_self_may => true);
  perform private.check_action_type(p_usage.action_type);
  perform private.check_usage(p_usage);
  if p_on_shortage is null or p_on_shortage not in ('reject', 'partial') then
    perform private.refuse('invalid_usage', '{"field": "p_on_shortage", "rule": "reject or partial"}');
  end if;
  perform private.check_request(p_idempotency_key, null, p_usage.metadata);

  v_usage := p_usage;
  v_usage.id := gen_random_uuid();
  v_usage.success := coalesce(p_usage.success, true);
  v_usage.metadata := coalesce(p_usage.metadata, '{}');
  v_usage.created_at := clock_timestamp();
  v_usage := private.measure_usage(v_usage);
  if v_usage.success and v_usage.tokens_used is null then
    perform private.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, 0);

  -- lock, replay, act
  v_entry.user_id := v_usage.user_id;
  v_entry.tokens := case when v_usage.success then -v_usage.tokens_used else 0 end;
  v_entry.action_type := v_usage.action_type;
  v_entry.reason := v_usage.action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'track', 'on_shortage', p_on_shortage)
    || jsonb_strip_nulls(to_jsonb(p_usage) - array['user_id', 'metadata']);
  v_entry.usage_id := v_usage.id;
  v_entry.metadata := v_usage.metadata;
  v_spent := private.spend(
    v_entry,
    p_partial => p_on_shortage = 'partial',
    p_cost => case when v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end);

  -- record
  if v_spent.replayed then
    select u.* into v_usage from public.token_usage u
     where u.user_id = (v_spent.transaction).user_id and u.id = (v_spent.transaction).usage_id;
  elsif (v_spent.transaction).id is not null then
    v_usage.user_id := (v_spent.transaction).user_id;
    v_usage.member_id := (v_spent.transaction).member_id;
    v_usage.transaction_id := (v_spent.transaction).id;
    v_usage.created_at := (v_spent.transaction).created_at;
    v_usage.tokens_uncovered := v_spent.shortfall;
    insert into public.token_usage values (v_usage.*);
  else
    v_usage.id := null;
    v_usage.tokens_uncovered := v_spent.shortfall;
  end if;

  return jsonb_build_object(
    'success', (v_spent.transaction).id is not null,
    'usage_id', v_usage.id,
    'transaction_id', (v_spent.transaction).id,
    'tokens_used', v_usage.tokens_used,
    'tokens_deducted', -coalesce((v_spent.transaction).tokens, 0),
    'tokens_remaining_to_deduct', v_usage.tokens_uncovered,
    'cost_estimate', v_usage.cost_estimate,
    'deducted_from', private.allocations(v_spent.transaction),
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed) || private.capped(v_spent.capped_by);
end
$$;
comment on function private.track_token_usage(public.token_usage, text, text) is 'See public.track_token_usage.';
revoke all on function private.track_token_usage(public.token_usage, text, text) from public, anon, authenticated, service_role;
grant execute on function private.track_token_usage(public.token_usage, text, text) to authenticated, service_role;

create or replace function public.track_token_usage(
  p_user_id uuid default auth.uid(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_on_shortage text default 'reject',
  p_idempotency_key text default null,
  p_metadata jsonb default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_usage public.token_usage;
begin
  v_usage.user_id := p_user_id;
  v_usage.action_type := p_action_type;
  v_usage.model_used := p_model_used;
  v_usage.input_tokens := p_input_tokens;
  v_usage.output_tokens := p_output_tokens;
  v_usage.tokens_used := p_tokens_used;
  v_usage.success := p_success;
  v_usage.error_message := p_error_message;
  v_usage.metadata := p_metadata;
  v_usage.cached_tokens := p_cached_tokens;
  v_usage.reasoning_tokens := p_reasoning_tokens;
  v_usage.images := p_images;
  v_usage.seconds := p_seconds;
  return private.track_token_usage(v_usage, p_on_shortage, p_idempotency_key);
end
$$;
comment on function public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric) is
  'Records one AI operation and deducts for it in one transaction. For the user himself (leave p_user_id out), an admin, or the server. p_action_type what was done; p_model_used the model; p_input_tokens and p_output_tokens, or p_tokens_used as a fixed number; p_cached_tokens is part of the input, p_reasoning_tokens part of the output; p_images; p_seconds of audio; p_success false records and deducts nothing; p_error_message at most 2000 characters; p_on_shortage reject (nothing recorded, success false) or partial (takes what is there, records the rest as uncovered); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), cost_estimate (cents, NULL = unknown), deducted_from, tokens_remaining, replayed}, and capped_by {scope, window, limit, used, resets_at} where a spend cap allowed less than was wanted. Errors: invalid_action_type, invalid_usage, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric) to authenticated, service_role;
