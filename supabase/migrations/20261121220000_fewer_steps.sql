/*
 * Speed (docs/performance.md): the usual deduction is made where it is asked for, what it must know of
 * the project's rules stands in one row, and who waits for an account no longer lets newcomers go
 * ahead. Nothing else is allowed or refused than before.
 */

-- one row, always, with what is asked at every touch of an account
alter table private.alert_rule_versions rename to rules_in_force;
alter table private.rules_in_force rename constraint alert_rule_versions_pkey to rules_in_force_pkey;
alter table private.rules_in_force rename constraint alert_rule_versions_has_one_row to rules_in_force_has_one_row;
alter table private.rules_in_force rename column version to alerts_version;
alter table private.rules_in_force alter column alerts_version set default 0;
alter table private.rules_in_force add column has_common_caps boolean not null default false;
alter table private.rules_in_force add column is_expiring_first boolean not null default false;
insert into private.rules_in_force default values on conflict do nothing;
update private.rules_in_force r
   set has_common_caps = exists (select from public.default_spend_caps),
       is_expiring_first = coalesce(
         (select o.burn_order = 'expiring_first' from private.burn_orders o order by o.since desc limit 1), false)
 where r.is_current;
comment on table private.rules_in_force is
  'What is asked of the project''s rules whenever an account is touched: one row, kept by the functions that change the rules.';
comment on column private.rules_in_force.alerts_version is 'How often token_alert_rules has changed.';
comment on column private.rules_in_force.has_common_caps is 'Whether default_spend_caps has any.';
comment on column private.rules_in_force.is_expiring_first is 'Whether the newest of burn_orders is expiring_first.';
comment on column public.token_accounts.alerts_version is 'Of which rules these marks are; behind private.rules_in_force: unknown, and set anew by whoever touches the account next.';

drop function private.spend_at_once(uuid, bigint, text, text, uuid, text, jsonb);

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

-- from supabase/schemas/40_books/spend_many.sql

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
as $$
declare
  v_role text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  v_actor_role text;
  v_actor_id uuid;
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

    -- lock: the account of whoever pays for himself; of a member, his payer's comes first
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
      -- and who has written something may have the row himself: he must not stand behind who waits for it
      exit usual when private.paying_account(p_user_id) <> p_user_id or pg_current_xact_id_if_assigned() is not null;
      perform private.queue_for_account(p_user_id);
      if private.paying_account(p_user_id) <> p_user_id then -- joined a team while we waited
        perform private.refuse('busy', '{}');
      end if;
    end if;
    select a.last_transaction_id + 1, a.tokens_remaining - p_tokens_to_deduct, clock_timestamp()
      into v_id, v_left, v_now
      from public.token_accounts a
     where a.user_id = p_user_id
       and a.payer_id is null
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
       and b.id = (
         select h.id from public.token_balances h
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
     where a.user_id = p_user_id;
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
