/*
 * Holds and refunds: tokens set aside for a call that is still running, a charge undone to the
 * very grants it came from, a grant ended before its time, and the order in which grants are spent.
 *
 * Adds to the ledger what was set aside (reserved_change) and four kinds of entries. balance_after
 * is from here on what can be spent, without what holds have set aside; there was none until now,
 * so no row says anything else. Rows that are there stay as they are.
 *
 * Both tables are locked while their rows are checked; the new columns have no value to check.
 */
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation

alter table public.token_transactions
  add column reserved_change bigint not null default 0,
  drop constraint token_transactions_sign_follows_entry_type,
  add constraint token_transactions_sign_follows_entry_type check (
    case entry_type
      when 'opening_balance' then tokens >= 0
      when 'grant' then tokens > 0
      when 'deduction' then tokens < 0
      when 'expiry' then tokens < 0
      when 'clawback' then tokens <= 0
      when 'restoration' then tokens >= 0
      when 'debt_repayment' then tokens < 0
      when 'usage' then tokens = 0
      when 'restatement' then tokens <> 0
      when 'hold' then tokens = 0
      when 'release' then tokens = 0
      when 'refund' then tokens > 0
      when 'void' then tokens <= 0
      else false
    end),
  add constraint token_transactions_reserve_follows_entry_type check (
    case entry_type
      when 'hold' then reserved_change > 0
      when 'release' then reserved_change < 0
      when 'deduction' then reserved_change in (0, tokens)
      else reserved_change = 0
    end);
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry; clawback (a payment was refunded or disputed), restoration (a dispute was won), debt_repayment (a grant paid a debt first); usage (an operation that cost nothing), restatement (history was replayed exactly, and this is the difference); hold (tokens set aside) and release (given back); refund (undoes a deduction), void (what was left of a grant).';
comment on column public.token_transactions.balance_after is 'Tokens that could be spent after it.';
comment on column public.token_transactions.reserved_change is 'Tokens set aside by it (negative: no longer set aside). tokens - reserved_change is what it did to the grants.';

alter table public.token_balances add column voided_at timestamptz;
comment on column public.token_balances.voided_at is 'When an admin ended it; expires_at is then no later.';
create index token_balances_expiring_first_idx
  on public.token_balances (user_id, priority, expires_at, granted_at, id) where is_open;

-- they take something else now
drop function private.choose_grants(uuid, bigint, timestamptz);
drop function private.repay_debt(uuid, uuid, timestamptz);
drop function private.claw_back(public.payments, bigint, text, text, uuid);
drop function private.restore_clawback(public.payments, bigint, text, text, uuid);
drop function private.tokens_due(uuid, timestamptz);

-- from supabase/schemas/20_tables/burn_orders.sql

-- In which order grants are spent, and since when: the newest row holds; none means fifo.
create table private.burn_orders (
  since timestamptz primary key default clock_timestamp(),
  burn_order text not null,
  constraint burn_orders_are_known check (burn_order in ('fifo', 'expiring_first'))
);
comment on table private.burn_orders is
  'The project''s choices of a burn order, by the moment of each. The newest holds. Written by set_burn_order.';
comment on column private.burn_orders.since is 'When it was chosen.';
comment on column private.burn_orders.burn_order is 'fifo: priority, granted_at, id. expiring_first: priority, expires_at (never last), granted_at, id.';
alter table private.burn_orders enable row level security;

-- from supabase/schemas/20_tables/token_holds.sql

-- One row a hold: tokens set aside for a call that is still running.
create table public.token_holds (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'open',
  tokens bigint not null,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  expires_at timestamptz not null,
  action_type text not null,
  actor_role text not null,
  transaction_id bigint not null,
  tokens_captured bigint,
  tokens_uncovered bigint not null default 0,
  capture_id bigint,
  overage_id bigint,
  usage_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint token_holds_pkey primary key (user_id, id),
  constraint token_holds_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_holds_live_at_most_a_day check (expires_at > created_at and expires_at <= created_at + interval '24 hours'),
  constraint token_holds_are_settled_once check (
    case status
      when 'open' then settled_at is null and tokens_captured is null
      when 'captured' then settled_at is not null and tokens_captured between 0 and tokens
      when 'released' then settled_at is not null and tokens_captured = 0
      when 'expired' then settled_at >= expires_at and tokens_captured = 0
      else false
    end)
) with (fillfactor = 90);

comment on table public.token_holds is
  'Holds: tokens set aside for a call that is still running, and what came of them. Written by the functions only.';
comment on column public.token_holds.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_holds.id is 'The hold; unique per user.';
comment on column public.token_holds.status is 'open; then once and for ever captured, released, or expired (it ran out).';
comment on column public.token_holds.tokens is 'Tokens set aside.';
comment on column public.token_holds.grant_ids is 'The grants that they were taken from, in burn order.';
comment on column public.token_holds.grant_tokens is 'How much from each.';
comment on column public.token_holds.expires_at is 'The first moment at which it holds nothing any more; at most 24 hours after created_at.';
comment on column public.token_holds.action_type is 'What they were set aside for.';
comment on column public.token_holds.actor_role is 'Who made it: user, admin or service. A user settles no hold that he did not make.';
comment on column public.token_holds.transaction_id is 'Its entry in the ledger.';
comment on column public.token_holds.tokens_captured is 'Of these, paid; the rest went back. NULL while open.';
comment on column public.token_holds.tokens_uncovered is 'Used beyond the hold and not paid: the capture was capped.';
comment on column public.token_holds.capture_id is 'The ledger entry of the capture.';
comment on column public.token_holds.overage_id is 'The deduction of what was captured beyond the hold.';
comment on column public.token_holds.usage_id is 'The usage that was recorded with the capture.';
comment on column public.token_holds.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_holds.created_at is 'Since when.';
comment on column public.token_holds.settled_at is 'When it was captured, released or found to have run out.';

create index token_holds_due_idx on public.token_holds (user_id, expires_at) where status = 'open';

alter table public.token_holds enable row level security;
create policy "Users read their own holds" on public.token_holds
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/30_guards/check_action_type.sql

/*
 * Refuses an action type that is not a plain name, or that is a name of the ledger's own grants.
 * Caller: internal.   Errors: invalid_action_type.
 */
create or replace function private.check_action_type(p_action_type text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if p_action_type is null
    or octet_length(p_action_type) > 64
    or p_action_type !~ '^[a-z][a-z0-9_]*$'
    or p_action_type in ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase',
                         'admin_grant', 'admin_deduct', 'opening_balance', 'expiry',
                         'clawback', 'restoration', 'debt_repayment', 'restatement', 'void')
  then
    perform private.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
end
$$;
comment on function private.check_action_type(text) is
  'Refuses an action type that is not a plain lower-case name, or one of the names that the ledger keeps for itself.';
revoke all on function private.check_action_type(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/refuse.sql

/*
 * Refuses: raises a registered error. The one place where a slug meets its SQLSTATE and hint.
 * The slug is the message (a constant: PostgREST makes it the HTTP reason phrase), the facts are
 * one JSON object in the detail, the advice is the hint. The same registry: docs/errors.md.
 * Caller: internal.   Errors: all of them.
 */
create or replace function private.refuse(p_slug text, p_facts jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_sqlstate text;
  v_hint text;
begin
  select r.sqlstate, r.hint into v_sqlstate, v_hint
    from (values
      ('invalid_amount', 'PT400', 'Give a whole number of tokens within the stated limits.'),
      ('invalid_idempotency_key', 'PT400', 'Use 1 to 255 characters of A-Z a-z 0-9 . _ : -'),
      ('invalid_expiry', 'PT400', 'Give a moment in the future, ''infinity'' for never, or leave it out.'),
      ('invalid_reason', 'PT400', 'Use 1 to 500 characters that are not all blank.'),
      ('invalid_metadata', 'PT400', 'Give a JSON object of at most 8192 bytes.'),
      ('invalid_grant_type', 'PT400', 'Use annual, 28day, trial, purchase, admin or plan.'),
      ('invalid_action_type', 'PT400', 'Use 1 to 64 characters of a-z 0-9 _, starting with a letter; names of grants are reserved.'),
      ('invalid_priority', 'PT400', 'Use 0 (spent first) to 100 (spent last).'),
      ('invalid_granted_at', 'PT400', 'Give a moment that is not in the future, or leave it out.'),
      ('invalid_user_id', 'PT400', 'Say which user.'),
      ('invalid_usage', 'PT400', 'Say what was used: whole numbers from 0, parts no larger than the whole.'),
      ('invalid_ttl', 'PT400', 'Hold for 1 to 86400 seconds.'),
      ('invalid_refund', 'PT400', 'Use forfeit, or reissue with a lifetime in days.'),
      ('invalid_burn_order', 'PT400', 'Use fifo or expiring_first.'),
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('payment_not_found', 'PT404', 'There is no such payment of that user.'),
      ('plan_not_found', 'PT404', 'Use a plan of the catalogue (token_plans).'),
      ('subscription_not_found', 'PT404', 'The user has no active subscription.'),
      ('charge_not_found', 'PT404', 'There is no such usage or transaction of that user.'),
      ('hold_not_found', 'PT404', 'There is no such hold of that user.'),
      ('grant_not_found', 'PT404', 'There is no such grant of that user.'),
      ('grant_already_voided', 'PT409', 'The grant has been ended before. Nothing was changed.'),
      ('capture_exceeds_hold', 'PT409', 'Capture no more than was held, or choose deduct or cap.'),
      ('not_refundable', 'PT409', 'Only deductions can be refunded.'),
      ('refund_exceeds_charge', 'PT409', 'No more can be refunded than is left of the charge.'),
      ('payment_already_decided', 'PT409', 'The payment has been decided otherwise. Nothing was changed.'),
      ('not_due_yet', 'PT409', 'The next period has not begun.'),
      ('invalid_provider_event', 'PT400', 'Send what the provider''s event says, in the stated form.'),
      ('balance_limit_exceeded', 'PT409', 'The account cannot hold that many tokens.'),
      ('idempotency_key_reused', 'PT422', 'That key was used for another request. Use a new key for a new request.'),
      ('busy', 'PT503', 'The account is locked by other work. Try again with the same key.')
    ) as r (slug, sqlstate, hint)
   where r.slug = p_slug;

  if p_facts is null then
    raise exception using errcode = v_sqlstate, message = p_slug, hint = v_hint;
  end if;
  raise exception using errcode = v_sqlstate, message = p_slug, detail = p_facts::text, hint = v_hint;
end
$$;
comment on function private.refuse(text, jsonb) is
  'Raises the registered error of that slug: SQLSTATE and hint from the registry, facts as JSON in the detail. See docs/errors.md.';
revoke all on function private.refuse(text, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/book.sql

/*
 * Writes one transaction: the account's totals and the ledger row in one statement, so that no
 * code path can write one without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here. p_cost is
 * what the operation behind it cost, in cents.
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
  v_transaction public.token_transactions;
begin
  with account as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + p_entry.tokens - coalesce(p_entry.reserved_change, 0),
           tokens_reserved = a.tokens_reserved + coalesce(p_entry.reserved_change, 0),
           -- an admin's correction takes tokens away, but nobody used them
           tokens_used = a.tokens_used
             - case when p_entry.entry_type in ('deduction', 'refund') and p_entry.action_type <> 'admin_deduct'
                 then p_entry.tokens else 0 end,
           tokens_owed = a.tokens_owed + coalesce(p_entry.debt_change, 0),
           total_cost = a.total_cost + p_cost,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_entry.created_at
     where a.user_id = p_entry.user_id
    returning a.last_transaction_id, a.tokens_remaining as balance
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change,
     grant_ids, grant_tokens, reason, actor_role, actor_id, idempotency_key, request,
     usage_id, hold_id, payment_id, original_id, metadata, created_at)
  select p_entry.user_id, account.last_transaction_id, p_entry.entry_type, p_entry.action_type,
         p_entry.tokens, account.balance, coalesce(p_entry.debt_change, 0),
         coalesce(p_entry.reserved_change, 0), p_entry.grant_ids, p_entry.grant_tokens,
         p_entry.reason, p_entry.actor_role, p_entry.actor_id, p_entry.idempotency_key,
         case when p_entry.idempotency_key is not null then p_entry.request end,
         p_entry.usage_id, p_entry.hold_id, p_entry.payment_id, p_entry.original_id,
         p_entry.metadata, p_entry.created_at
    from account
  returning t.* into v_transaction;
  return v_transaction;
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
 * cannot disagree.
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
               where h.user_id = a.user_id and h.status = 'open')),
           updated_at = p_now
      from unnest(p_user_ids) as asked (user_id)
      left join lost on lost.user_id = asked.user_id
     where a.user_id = asked.user_id
  )
  select count(*) into v_booked from due;

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
volatile
security invoker
set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_expiring_first boolean := coalesce(
    (select o.burn_order = 'expiring_first' from private.burn_orders o order by o.since desc limit 1), false);
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

-- from supabase/schemas/40_books/claw_back.sql

/*
 * Takes tokens back that should not have been given (a refunded or disputed payment, a grant made
 * by mistake): from their own grant first, then from the others in burn order, at most what is
 * left. What could not be taken becomes the account's debt, repaid first by what comes in next. The
 * mark goes down by all of it.
 * p_entry is the transaction to be: user_id, reason, actor, key, request, links, metadata.
 * Locks: the account (again).   Returns the transaction.   Keeps: I1 to I4, I9.
 */
create or replace function private.claw_back(
  p_entry public.token_transactions,
  p_own_grant_id uuid,
  p_tokens bigint
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_from_own bigint;
  v_from_others bigint;
begin
  v_account := private.lock_account(p_entry.user_id);
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_entry.user_id], v_now);
    v_account := private.lock_account(p_entry.user_id);
  end if;

  select least(p_tokens, b.tokens_remaining) into v_from_own
    from public.token_balances b where b.user_id = p_entry.user_id and b.id = p_own_grant_id;
  v_from_own := coalesce(v_from_own, 0);
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - v_from_own, is_open = b.tokens_remaining > v_from_own
   where b.user_id = p_entry.user_id and b.id = p_own_grant_id;
  v_from_others := least(p_tokens, v_account.tokens_remaining) - v_from_own;
  if v_from_others > 0 then
    select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
      from private.take_from_grants(p_entry.user_id, v_from_others, v_now) as taken;
  end if;
  if v_from_own > 0 then
    p_entry.grant_ids := p_own_grant_id || p_entry.grant_ids;
    p_entry.grant_tokens := v_from_own || p_entry.grant_tokens;
  end if;

  p_entry.entry_type := 'clawback';
  p_entry.action_type := 'clawback';
  p_entry.tokens := -(v_from_own + v_from_others);
  p_entry.debt_change := p_tokens + p_entry.tokens;
  p_entry.grant_ids := coalesce(p_entry.grant_ids, '{}');
  p_entry.grant_tokens := coalesce(p_entry.grant_tokens, '{}');
  p_entry.created_at := v_now;
  p_entry := private.book(p_entry);
  perform private.move_mark(p_entry.user_id, -p_tokens);
  return p_entry;
end
$$;
comment on function private.claw_back(public.token_transactions, uuid, bigint) is
  'Takes tokens back that should not have been given, their own grant first; what is not there becomes debt.';
revoke all on function private.claw_back(public.token_transactions, uuid, bigint) from public, anon, authenticated, service_role;

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
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_part in
    select b.id, p.tokens, b.tokens_granted - b.tokens_remaining - coalesce(held.tokens, 0) as room
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
  end loop;

  update public.token_accounts a
     set next_due_at = due.at
    from (
      select min(b.expires_at) as at from public.token_balances b
       where b.user_id = p_user_id and b.id = any (grant_ids)) due
   where a.user_id = p_user_id and due.at < coalesce(a.next_due_at, 'infinity');
end
$$;
comment on function private.give_back(uuid, uuid[], bigint[], timestamptz) is
  'Puts tokens back into the grants that they came from; what does not fit becomes a grant with the same terms. Returns where they went.';
revoke all on function private.give_back(uuid, uuid[], bigint[], timestamptz) from public, anon, authenticated, service_role;

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
  select t.* into v_capture from public.token_transactions t
   where t.user_id = p_hold.user_id and t.id = p_hold.capture_id;
  select t.* into v_overage from public.token_transactions t
   where t.user_id = p_hold.user_id and t.id = p_hold.overage_id;
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

-- from supabase/schemas/40_books/issue_grant.sql

/*
 * Gives tokens to a user as one new grant: what every way of granting is made of. The caller has
 * checked who asks and what for.
 * p_grant is the grant to be: grant_type, tokens_granted, priority, granted_at (NULL: now),
 * expires_at (NULL: p_lifetime, or else the type's own; 'infinity': never), where it came from,
 * metadata.
 * p_entry is its transaction: user_id, action_type, reason, actor, key, request, links.
 * Locks: the account, made first where there is none.
 * Errors: user_not_found, busy, idempotency_key_reused, invalid_granted_at, invalid_expiry,
 * balance_limit_exceeded.   What depends on the clock is checked after the replay: a replay a
 * year later must still get the first answer.
 * Keeps: I2 to I5, I9, I10.
 */
create or replace function private.issue_grant(
  p_grant public.token_balances,
  p_entry public.token_transactions,
  p_lifetime interval default null,
  out transaction public.token_transactions,
  out replayed boolean
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
begin
  replayed := false;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := private.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();

  -- replay
  transaction := private.find_replay(p_entry);
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act
  p_grant.granted_at := coalesce(p_grant.granted_at, v_now);
  p_grant.expires_at := nullif(
    coalesce(
      p_grant.expires_at,
      p_grant.granted_at + coalesce(p_lifetime, private.grant_lifetime(p_grant.grant_type))),
    'infinity');
  if p_grant.granted_at > v_now then
    perform private.refuse('invalid_granted_at', '{"field": "p_granted_at", "rule": "not in the future"}');
  end if;
  if p_grant.expires_at <= v_now then
    perform private.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "in the future"}');
  end if;

  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_entry.user_id], v_now);
    v_account := private.lock_account(p_entry.user_id);
  end if;
  if v_account.tokens_remaining + v_account.tokens_reserved + v_account.tokens_used
     + p_grant.tokens_granted > 9007199254740991
  then
    perform private.refuse('balance_limit_exceeded', '{"limit": 9007199254740991}');
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     payment_id, subscription_id, period_start, metadata, created_at)
  values
    (p_entry.user_id, p_grant.grant_type, p_grant.tokens_granted, p_grant.tokens_granted,
     p_grant.priority, p_grant.granted_at, p_grant.expires_at,
     p_grant.payment_id, p_grant.subscription_id, p_grant.period_start, p_grant.metadata, v_now)
  returning id into p_grant.id;
  update public.token_accounts a
     set next_due_at = p_grant.expires_at
   where a.user_id = p_entry.user_id and p_grant.expires_at < coalesce(a.next_due_at, 'infinity');

  -- record
  p_entry.entry_type := 'grant';
  p_entry.tokens := p_grant.tokens_granted;
  p_entry.grant_ids := array[p_grant.id];
  p_entry.grant_tokens := array[p_grant.tokens_granted];
  p_entry.metadata := p_grant.metadata;
  p_entry.created_at := v_now;
  transaction := private.book(p_entry);

  perform private.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function private.issue_grant(public.token_balances, public.token_transactions, interval) is
  'Gives tokens as one new grant under the account''s lock; its transaction, new or replayed. grant_ids[1] of it is the grant.';
revoke all on function private.issue_grant(public.token_balances, public.token_transactions, interval) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/lock_hold.sql

/*
 * Locks the account, books what is due on it (the hold too, when it has run out), and returns the
 * hold as it then is. A user settles no hold that an admin or the server made for him: he could
 * take back what a running call is about to cost.
 * Caller: internal.   Errors: busy, user_not_found, hold_not_found, forbidden.
 */
create or replace function private.lock_hold(
  p_user_id uuid,
  p_hold_id uuid,
  p_actor_role text,
  out locked_at timestamptz,
  out hold public.token_holds
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
begin
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, p_actor_role);
  end if;
  locked_at := clock_timestamp();
  if v_account.next_due_at <= locked_at then
    perform private.book_expiries(array[p_user_id], locked_at);
  end if;
  select h.* into hold from public.token_holds h where h.user_id = p_user_id and h.id = p_hold_id;
  if hold.id is null then
    perform private.refuse('hold_not_found', '{}');
  end if;
  if p_actor_role = 'user' and hold.actor_role <> 'user' then
    perform private.refuse('forbidden');
  end if;
end
$$;
comment on function private.lock_hold(uuid, uuid, text) is
  'Locks the account, books what is due, and returns the clock and the hold; a user gets no hold that he did not make.';
revoke all on function private.lock_hold(uuid, uuid, text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/move_mark.sql

/*
 * Moves the plan's mark by what a clawback took or gave back, or by nothing; never below the balance.
 * Caller: internal, holding the account's lock.   Keeps: I9.
 */
create or replace function private.move_mark(p_user_id uuid, p_by bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  update public.user_subscriptions s
     set tokens_limit = greatest(s.tokens_limit + p_by, a.tokens_remaining), updated_at = clock_timestamp()
    from public.token_accounts a
   where s.user_id = p_user_id and a.user_id = s.user_id
     and (p_by <> 0 or a.tokens_remaining > s.tokens_limit);
end
$$;
comment on function private.move_mark(uuid, bigint) is 'Moves user_subscriptions.tokens_limit by that many tokens, never below the balance.';
revoke all on function private.move_mark(uuid, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/parts_between.sql

/*
 * The parts of an allocation that lie between two points of it, in order: of 30 from A and 20 from
 * B, what lies between 10 and 40 is 20 from A and 10 from B. A capture is the front of a hold;
 * what is released is its back, and so is what a refund gives back of a deduction.
 * Caller: internal.
 */
create or replace function private.parts_between(
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_from bigint,
  p_to bigint,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  select coalesce(array_agg(part.grant_id order by part.nth), '{}'),
         coalesce(array_agg(least(part.upto, p_to) - greatest(part.upto - part.tokens, p_from) order by part.nth), '{}')
    into grant_ids, grant_tokens
    from (
      select p.grant_id, p.tokens, p.nth, (sum(p.tokens) over (order by p.nth))::bigint as upto
        from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)) part
   where part.upto > p_from and part.upto - part.tokens < p_to;
end
$$;
comment on function private.parts_between(uuid[], bigint[], bigint, bigint) is
  'The parts of an allocation between two points of it, counted in tokens from its front.';
revoke all on function private.parts_between(uuid[], bigint[], bigint, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/refund_receipt.sql

/*
 * The answer about a refund, from what is stored. Forfeited is what went into a grant that had run
 * out by then.
 * Caller: internal.
 */
create or replace function private.refund_receipt(p_refund public.token_transactions, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_restored jsonb;
  v_forfeited jsonb;
begin
  select coalesce(jsonb_agg(p.part order by p.nth) filter (where not p.is_forfeited), '[]'),
         coalesce(jsonb_agg(p.part order by p.nth) filter (where p.is_forfeited), '[]')
    into v_restored, v_forfeited
    from (
      select jsonb_build_object('grant_id', b.id, 'grant_type', b.grant_type, 'tokens', a.tokens) as part,
             a.nth, coalesce(b.expires_at <= p_refund.created_at, false) as is_forfeited
        from unnest(p_refund.grant_ids, p_refund.grant_tokens) with ordinality as a (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_refund.user_id and b.id = a.grant_id) p;
  return jsonb_build_object(
    'success', true,
    'transaction_id', p_refund.id,
    'tokens_refunded', p_refund.tokens,
    'restored', v_restored,
    'forfeited', v_forfeited,
    'tokens_refundable', (
      select -t.tokens - (
        select sum(r.tokens) from public.token_transactions r
         where r.user_id = t.user_id and r.original_id = t.id and r.entry_type = 'refund' and r.id <= p_refund.id)
        from public.token_transactions t
       where t.user_id = p_refund.user_id and t.id = p_refund.original_id),
    'tokens_remaining', (
      select t.balance_after
        from public.token_transactions t
       where t.user_id = p_refund.user_id and t.created_at = p_refund.created_at
         -- what was forfeited and what repaid a debt follows it at once
         and t.id between p_refund.id and p_refund.id + cardinality(p_refund.grant_ids) + 1
       order by t.id desc
       limit 1),
    'replayed', p_replayed);
end
$$;
comment on function private.refund_receipt(public.token_transactions, boolean) is
  'What a refund gave back and what of it was forfeited, grant by grant.';
revoke all on function private.refund_receipt(public.token_transactions, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/release_hold.sql

/*
 * Settles a hold: what lies behind the captured front of it goes back, last taken first. The caller
 * holds the account's lock, has found the hold open, and has booked the capture.
 * p_status: captured, released, or expired.
 * Caller: internal.   Returns the hold.   Keeps: I1 to I4.
 */
create or replace function private.release_hold(
  p_hold public.token_holds,
  p_captured bigint,
  p_status text,
  p_now timestamptz,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_holds
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
begin
  update public.token_holds h
     set status = p_status, tokens_captured = p_captured, settled_at = p_now,
         tokens_uncovered = p_hold.tokens_uncovered,
         capture_id = p_hold.capture_id, overage_id = p_hold.overage_id, usage_id = p_hold.usage_id
   where h.user_id = p_hold.user_id and h.id = p_hold.id
  returning h.* into p_hold;
  if p_captured = p_hold.tokens then
    return p_hold;
  end if;

  select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from private.parts_between(p_hold.grant_ids, p_hold.grant_tokens, p_captured, p_hold.tokens) as part
   cross join lateral private.give_back(p_hold.user_id, part.grant_ids, part.grant_tokens, p_now) as back;
  v_entry.user_id := p_hold.user_id;
  v_entry.entry_type := 'release';
  v_entry.action_type := p_hold.action_type;
  v_entry.tokens := 0;
  v_entry.reserved_change := p_captured - p_hold.tokens;
  v_entry.hold_id := p_hold.id;
  v_entry.original_id := p_hold.transaction_id;
  v_entry.reason := case p_status when 'expired' then 'the hold ran out' when 'captured' then 'not needed' else 'released' end;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform private.book(v_entry);
  if p_status <> 'expired' then -- what has run out is being booked by whoever found it
    perform private.settle_incoming(p_hold.user_id, p_now);
  end if;
  return p_hold;
end
$$;
comment on function private.release_hold(public.token_holds, bigint, text, timestamptz, text, uuid) is
  'Settles a hold of which that many tokens were captured: the rest goes back to its grants, last taken first.';
revoke all on function private.release_hold(public.token_holds, bigint, text, timestamptz, text, uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/repay_debt.sql

/*
 * Lets what has come in repay what the account owes, as far as it goes. The caller holds the lock.
 * Caller: internal.   Keeps: I2, I3, I4.
 */
create or replace function private.repay_debt(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
begin
  select -least(a.tokens_owed, a.tokens_remaining) into v_entry.tokens
    from public.token_accounts a where a.user_id = p_user_id;
  if v_entry.tokens = 0 then
    return;
  end if;
  select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from private.take_from_grants(p_user_id, -v_entry.tokens, p_now) as taken;

  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'debt_repayment';
  v_entry.action_type := 'debt_repayment';
  v_entry.debt_change := v_entry.tokens;
  v_entry.reason := 'debt is repaid first';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform private.book(v_entry);
end
$$;
comment on function private.repay_debt(uuid, timestamptz) is
  'Takes what the account owes from what it has, as one debt_repayment; the caller holds the account''s lock.';
revoke all on function private.repay_debt(uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/restore_clawback.sql

/*
 * Gives back what a dispute had taken, when it was won: the debt first, then the tokens, to the
 * grants that they came from, last taken first; what a later grant repaid goes to the payment's
 * own grant. Into a grant that has run out meanwhile it expires at once, in the ledger.
 * p_entry is the transaction to be: user_id, payment_id, reason, actor, metadata.
 * Locks: the account.   Keeps: I1 to I4, I9.
 */
create or replace function private.restore_clawback(p_entry public.token_transactions, p_tokens bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_left bigint;
  v_part record;
begin
  v_account := private.lock_account(p_entry.user_id);
  v_now := clock_timestamp();

  p_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  p_entry.tokens := p_tokens + p_entry.debt_change;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  v_left := p_entry.tokens;
  for v_part in
    select b.id, taken.tokens, b.payment_id is not distinct from p_entry.payment_id as is_own
      from public.token_balances b
      left join (
        select a.grant_id, sum(case t.entry_type when 'clawback' then a.tokens else -a.tokens end)::bigint as tokens
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
         where t.user_id = p_entry.user_id and t.payment_id = p_entry.payment_id
           and t.entry_type in ('clawback', 'restoration')
         group by a.grant_id) taken on taken.grant_id = b.id
     where b.user_id = p_entry.user_id
       and (taken.tokens > 0 or b.payment_id = p_entry.payment_id)
     order by is_own, b.priority desc, b.granted_at desc, b.id desc
  loop
    -- the payment's own grant comes last and takes what the others did not give
    continue when v_left = 0;
    p_entry.grant_ids := p_entry.grant_ids || v_part.id;
    p_entry.grant_tokens := p_entry.grant_tokens || case when v_part.is_own then v_left else least(v_left, v_part.tokens) end;
    v_left := v_left - case when v_part.is_own then v_left else least(v_left, v_part.tokens) end;
  end loop;
  select back.grant_ids, back.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.give_back(p_entry.user_id, p_entry.grant_ids, p_entry.grant_tokens, v_now) as back;

  p_entry.entry_type := 'restoration';
  p_entry.action_type := 'restoration';
  p_entry.created_at := v_now;
  perform private.book(p_entry);
  perform private.move_mark(p_entry.user_id, p_tokens);
  perform private.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function private.restore_clawback(public.token_transactions, bigint) is
  'Gives clawed-back tokens of a payment back: debt first, then the grants they came from.';
revoke all on function private.restore_clawback(public.token_transactions, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/settle_incoming.sql

/*
 * What follows when tokens have come in and their entry is booked: what came back too late expires
 * at once, in the ledger; what is owed is repaid first; the mark is no lower than the balance.
 * Caller: internal, holding the account's lock.   Keeps: I2, I3, I4, I7, I9.
 */
create or replace function private.settle_incoming(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if v_account.next_due_at <= p_now then
    perform private.book_expiries(array[p_user_id], p_now);
  end if;
  if v_account.tokens_owed > 0 then
    perform private.repay_debt(p_user_id, p_now);
  end if;
  perform private.move_mark(p_user_id, 0);
end
$$;
comment on function private.settle_incoming(uuid, timestamptz) is
  'After tokens have come in: expires what came too late, repays what is owed, lifts the mark to the balance.';
revoke all on function private.settle_incoming(uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/settle_refunds.sql

/*
 * Brings tokens and plan to what has been refunded of a payment in all. In part: that share of its
 * tokens taken back; in full, or disputed: all of them, and the plan goes back to the one before.
 * Less than before (a dispute was won): given back. The same state again changes nothing.
 * Caller: internal, holding the account's lock.   Returns the payment.   Keeps: I1 to I5, I9, I10.
 */
create or replace function private.settle_refunds(
  p_payment public.payments,
  p_refunded_cents bigint,
  p_is_disputed boolean,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns public.payments
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_is_refunded boolean := p_refunded_cents > 0 and p_refunded_cents >= p_payment.amount_cents;
  v_to_claw bigint;
  v_entry public.token_transactions;
begin
  v_to_claw := case
    when p_is_disputed or v_is_refunded then p_payment.tokens
    when p_refunded_cents > 0 then floor(p_payment.tokens::numeric * p_refunded_cents / p_payment.amount_cents)::bigint
    else 0
  end;
  v_entry.user_id := p_payment.user_id;
  v_entry.payment_id := p_payment.id;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  if v_to_claw > p_payment.tokens_clawed_back then
    v_entry.reason := case when p_is_disputed then 'disputed ' else 'refunded ' end || p_reason;
    perform private.claw_back(
      v_entry,
      (select b.id from public.token_balances b
        where b.user_id = p_payment.user_id and b.payment_id = p_payment.id),
      v_to_claw - p_payment.tokens_clawed_back);
  elsif v_to_claw < p_payment.tokens_clawed_back then
    v_entry.reason := 'dispute won ' || p_reason;
    perform private.restore_clawback(v_entry, p_payment.tokens_clawed_back - v_to_claw);
  end if;

  update public.payments p
     set status = case when v_is_refunded then 'refunded' else 'approved' end,
         refunded_cents = p_refunded_cents,
         is_disputed = p_is_disputed,
         tokens_clawed_back = v_to_claw
   where p.user_id = p_payment.user_id and p.id = p_payment.id
  returning p.* into p_payment;

  -- the plan that it bought is in force unless all of it was taken back
  update public.user_subscriptions s
     set plan_type = plan.plan_type,
         articles_limit = plan.articles_limit,
         features = plan.features,
         billing_cycle = plan.billing_cycle,
         auto_renew = plan.billing_cycle <> 'none',
         expires_at = private.period_end(plan.billing_cycle, s.period_start),
         updated_at = clock_timestamp()
    from public.token_plans plan
   where s.user_id = p_payment.user_id
     and s.payment_id = p_payment.id::text
     and plan.plan_type = case when v_to_claw = p_payment.tokens
                               then coalesce(p_payment.from_plan, p_payment.to_plan) else p_payment.to_plan end
     and s.plan_type <> plan.plan_type;
  return p_payment;
end
$$;
comment on function private.settle_refunds(public.payments, bigint, boolean, text, text, uuid) is
  'Brings tokens, debt, mark and plan to what has been refunded of a payment in all, or to its dispute.';
revoke all on function private.settle_refunds(public.payments, bigint, boolean, text, text, uuid) from public, anon, authenticated, service_role;

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
 * Returns the transaction; or, without p_partial, shortfall > 0, in which case nothing was changed,
 * not even what was due to expire; tokens_remaining then says what there is.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend(
  p_entry public.token_transactions,
  p_partial boolean default false,
  p_cost numeric default 0,
  out transaction public.token_transactions,
  out replayed boolean,
  out shortfall bigint,
  out tokens_remaining bigint
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
  v_is_due boolean;
begin
  replayed := false;
  shortfall := 0;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    perform private.initialise(p_entry.user_id); -- whom registration missed
    v_account := private.lock_account(p_entry.user_id, p_create => p_partial or p_entry.tokens = 0);
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
  if tokens_remaining < v_wanted
    and not exists (select from public.token_balances b where b.user_id = p_entry.user_id)
  then
    perform private.initialise(p_entry.user_id); -- an account, and still never a grant
    v_account := private.lock_account(p_entry.user_id);
    v_now := clock_timestamp(); -- what was just granted comes before what is now spent
    tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  end if;
  if tokens_remaining < v_wanted then
    shortfall := v_wanted - tokens_remaining;
    if not p_partial then
      return;
    end if;
    v_wanted := tokens_remaining;
    p_entry.tokens := -tokens_remaining;
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
  'Spends tokens oldest grant first, all or nothing (with p_partial what there is), under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed.';
revoke all on function private.spend(public.token_transactions, boolean, numeric) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/start_period.sql

/*
 * Puts a user on a plan and gives a period's tokens, in one transaction: subscription, grant, mark
 * and storage, or nothing. What every flow is made of (registration, approval, upgrade, renewal,
 * initialisation), so that limit and balance cannot disagree whichever way a user came.
 *
 * p_entry is the transaction to be (user_id, actor, reason, key, request, payment_id). A payment is
 * granted once, and so is a period without one; a second time answers replayed and changes no
 * tokens. A plan with a balance cap gives what fills the balance up to it; where that is nothing,
 * no grant is made and transaction is NULL.
 * Tokens are added, never reset. The mark (tokens_limit) becomes the balance after it.
 * Locks: the account.   Errors: as issue_grant.   Keeps: I2 to I5, I9, I10.
 */
create or replace function private.start_period(
  p_plan public.token_plans,
  p_period_start timestamptz,
  p_payment_method text,
  p_provider_payment_id text,
  p_entry public.token_transactions,
  out transaction public.token_transactions,
  out replayed boolean,
  out subscription public.user_subscriptions
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
  v_start timestamptz;
  v_grant public.token_balances;
  v_issued record;
begin
  replayed := false;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := private.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_entry.user_id], v_now);
    v_account := private.lock_account(p_entry.user_id);
  end if;
  v_start := coalesce(p_period_start, v_now);

  -- replay: by key, by payment, by period
  select s.* into subscription from public.user_subscriptions s where s.user_id = p_entry.user_id;
  transaction := private.find_replay(p_entry);
  if transaction.id is null then
    -- a period that was renewed before its payment came is what that payment paid for
    update public.token_balances b
       set payment_id = p_entry.payment_id
     where b.user_id = p_entry.user_id and b.subscription_id = subscription.id
       and b.period_start = p_period_start and b.payment_id is null and p_entry.payment_id is not null;
    select t.* into transaction
      from public.token_balances b
      join public.token_transactions t
        on t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id
     where b.user_id = p_entry.user_id
       and case when p_entry.payment_id is not null then b.payment_id = p_entry.payment_id
                else b.subscription_id = subscription.id and b.period_start = p_period_start end;
  end if;
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act: the subscription
  insert into public.user_subscriptions as s
    (user_id, plan_type, articles_limit, features, billing_cycle, payment_method, payment_id,
     period_start, expires_at, auto_renew)
  values
    (p_entry.user_id, p_plan.plan_type, p_plan.articles_limit, p_plan.features, p_plan.billing_cycle,
     p_payment_method, coalesce(p_entry.payment_id::text, p_provider_payment_id),
     v_start, private.period_end(p_plan.billing_cycle, v_start), p_plan.billing_cycle <> 'none')
  on conflict (user_id) do update
     set plan_type = excluded.plan_type,
         articles_limit = excluded.articles_limit,
         features = excluded.features,
         billing_cycle = excluded.billing_cycle,
         is_active = true,
         auto_renew = excluded.auto_renew,
         payment_method = coalesce(excluded.payment_method, s.payment_method),
         payment_id = coalesce(excluded.payment_id, s.payment_id),
         period_start = excluded.period_start,
         expires_at = excluded.expires_at,
         next_plan_type = null,
         updated_at = v_now
  returning s.* into subscription;

  -- act: the tokens
  v_grant.tokens_granted := p_plan.tokens;
  if p_plan.balance_cap is not null and p_entry.payment_id is null then
    v_grant.tokens_granted := least(p_plan.tokens, p_plan.balance_cap - v_account.tokens_remaining);
  end if;
  if v_grant.tokens_granted > 0 then
    v_grant.grant_type := p_plan.grant_type;
    v_grant.priority := 50;
    v_grant.expires_at := case when p_plan.grant_lifetime_days is null then 'infinity' end;
    v_grant.payment_id := p_entry.payment_id;
    v_grant.subscription_id := subscription.id;
    -- a second payment in one period is a grant of its own, beside the period's
    if not exists (
      select from public.token_balances b
       where b.user_id = p_entry.user_id and b.subscription_id = subscription.id and b.period_start = v_start)
    then
      v_grant.period_start := v_start;
    end if;
    v_grant.metadata := coalesce(p_entry.metadata, '{}');
    p_entry.action_type := case
      when p_plan.grant_type = 'trial' then 'trial_grant'
      else coalesce(p_entry.action_type, 'subscription_grant')
    end;
    v_issued := private.issue_grant(v_grant, p_entry, p_plan.grant_lifetime_days * interval '24 hours');
    transaction := v_issued.transaction;
  end if;

  -- record: the mark is the balance
  update public.user_subscriptions s
     set tokens_limit = a.tokens_remaining
    from public.token_accounts a
   where s.user_id = p_entry.user_id and a.user_id = s.user_id
  returning s.* into subscription;
  if p_plan.storage_gb > 0 then
    insert into public.user_storage (user_id, quota_gb, subscription_id, metadata)
    select p_entry.user_id, p_plan.storage_gb, subscription.id, jsonb_build_object('plan', p_plan.plan_type)
     where not exists (
       select from public.user_storage q
        where q.user_id = p_entry.user_id and q.subscription_id = subscription.id
          and q.metadata ->> 'plan' = p_plan.plan_type);
  end if;
end
$$;
comment on function private.start_period(public.token_plans, timestamptz, text, text, public.token_transactions) is
  'Puts a user on a plan and gives a period''s tokens in one transaction; once per payment, and once per subscription and period.';
revoke all on function private.start_period(public.token_plans, timestamptz, text, text, public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/tokens_due.sql

/*
 * What time has changed and nobody has booked yet: tokens that the account still counts although
 * their grants have run out (lost), tokens of holds that have run out, by whether they come back
 * to a grant that lives (returned) or to one that does not (forfeited), and what of that repays a
 * debt at once (repaid).
 * What can be spent is tokens_remaining - lost + returned - repaid.
 * Caller: internal.   Keeps: I7.
 */
create or replace function private.tokens_due(
  p_user_id uuid,
  p_now timestamptz,
  out lost bigint,
  out returned bigint,
  out forfeited bigint,
  out repaid bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  select coalesce(sum(b.tokens_remaining), 0) into lost
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and b.expires_at <= p_now;
  select coalesce(sum(part.tokens) filter (where b.expires_at > p_now or b.expires_at is null), 0),
         coalesce(sum(part.tokens) filter (where not (b.expires_at > p_now or b.expires_at is null)), 0)
    into returned, forfeited
    from public.token_holds h
   cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
    join public.token_balances b on b.user_id = h.user_id and b.id = part.grant_id
   where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now;
  repaid := 0;
  if returned > 0 then
    select least(a.tokens_owed, a.tokens_remaining - lost + returned) into repaid
      from public.token_accounts a where a.user_id = p_user_id;
  end if;
end
$$;
comment on function private.tokens_due(uuid, timestamptz) is
  'What time has changed and nobody has booked yet: tokens lost with their grants, and tokens of holds that have run out, returned or forfeited, and what of those repays a debt.';
revoke all on function private.tokens_due(uuid, timestamptz) from public, anon, authenticated, service_role;

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
 * of tokens: success false, the hold stays open); cap takes no more than was held and records the
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
  v_available bigint;
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
    select a.tokens_remaining into v_available
      from public.token_accounts a where a.user_id = v_hold.user_id;
    if v_available < v_over then
      return private.hold_receipt(v_hold, p_replayed => false)
          || jsonb_build_object('tokens_remaining_to_deduct', v_over - v_available);
    end if;
  end if;

  -- act and record: the capture, what goes beyond it, the usage, the rest
  v_entry.user_id := v_hold.user_id;
  v_entry.action_type := v_hold.action_type;
  v_entry.reason := v_hold.action_type;
  v_entry.hold_id := v_hold.id;
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
    insert into public.token_usage
      (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate,
       success, error_message, metadata, created_at, cached_tokens, reasoning_tokens, images, seconds,
       tokens_uncovered, transaction_id)
    values
      (v_hold.user_id, v_hold.usage_id, v_usage.action_type, v_usage.model_used, v_usage.tokens_used,
       v_usage.input_tokens, v_usage.output_tokens, v_usage.cost_estimate,
       v_usage.success, v_usage.error_message, v_entry.metadata, v_locked.locked_at,
       v_usage.cached_tokens, v_usage.reasoning_tokens, v_usage.images, v_usage.seconds,
       v_hold.tokens_uncovered, v_hold.capture_id);
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

-- from supabase/schemas/40_functions/estimate_tokens.sql

/*
 * A quote: what an operation would deduct and cost, and which grants would pay, by the same code
 * that tracking runs. Promises nothing: who asks next may be faster.
 * A user who never had a grant and has a plan is given its tokens first, as when he asks for his balance.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {tokens, cost_estimate, sufficient, tokens_short, tokens_remaining, would_be_deducted_from:
 * [{grant_id, grant_type, granted_at, deducted}]}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.estimate_tokens(p_usage public.token_usage)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_usage public.token_usage;
  v_quote public.token_transactions;
  v_remaining bigint;
  v_now timestamptz;
begin
  v_actor := private.authorize(p_usage.user_id, p_self_may => true);
  perform private.check_action_type(p_usage.action_type);
  perform private.check_usage(p_usage);
  perform private.require_user(p_usage.user_id, v_actor.actor_role);
  v_usage := p_usage;
  v_usage.created_at := clock_timestamp();
  v_usage := private.measure_usage(v_usage);
  if v_usage.tokens_used is null then
    perform private.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  perform private.initialise(v_usage.user_id); -- whom registration missed
  v_now := clock_timestamp();

  v_quote.user_id := v_usage.user_id;
  select chosen.grant_ids, chosen.grant_tokens into v_quote.grant_ids, v_quote.grant_tokens
    from private.choose_grants(v_usage.user_id, v_usage.tokens_used, v_now, p_count_due => true) as chosen;
  select coalesce(sum(a.tokens_remaining - due.lost + due.returned - due.repaid), 0) into v_remaining
    from public.token_accounts a
   cross join lateral private.tokens_due(a.user_id, v_now) as due
   where a.user_id = v_usage.user_id;
  return jsonb_build_object(
    'tokens', v_usage.tokens_used,
    'cost_estimate', v_usage.cost_estimate,
    'sufficient', v_remaining >= v_usage.tokens_used,
    'tokens_short', greatest(v_usage.tokens_used - v_remaining, 0),
    'tokens_remaining', v_remaining,
    'would_be_deducted_from', private.allocations(v_quote));
end
$$;
comment on function private.estimate_tokens(public.token_usage) is 'See public.estimate_tokens.';
revoke all on function private.estimate_tokens(public.token_usage) from public, anon, authenticated, service_role;
grant execute on function private.estimate_tokens(public.token_usage) to authenticated, service_role;

create or replace function public.estimate_tokens(
  p_user_id uuid default auth.uid(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
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
  v_usage.cached_tokens := p_cached_tokens;
  v_usage.reasoning_tokens := p_reasoning_tokens;
  v_usage.images := p_images;
  v_usage.seconds := p_seconds;
  return private.estimate_tokens(v_usage);
end
$$;
comment on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) is
  'A quote: what an operation would deduct and cost, and which grants would pay; nothing is changed. For the user himself (leave p_user_id out), an admin, or the server. Arguments as of track_token_usage. Returns {tokens, cost_estimate (cents, NULL = unknown), sufficient, tokens_short, tokens_remaining, would_be_deducted_from: [{grant_id, grant_type, granted_at, deducted}]}. Errors: invalid_action_type, invalid_usage, user_not_found, forbidden.';
revoke all on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) to authenticated, service_role;

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
as $$
declare
  v_actor record;
  v_entries jsonb;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 200 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  perform private.require_user(p_user_id, v_actor.actor_role);

  select jsonb_agg(e.entry order by e.id desc) into v_entries
    from (
      (select t.id, jsonb_build_object(
         'id', t.id, 'entry_type', t.entry_type, 'action_type', t.action_type,
         'tokens', t.tokens, 'reserved_change', t.reserved_change, 'balance_after', t.balance_after,
         'allocations', (
           select coalesce(jsonb_agg(jsonb_build_object('grant_id', a.grant_id, 'tokens', a.tokens) order by a.nth), '[]')
             from unnest(t.grant_ids, t.grant_tokens) with ordinality as a (grant_id, tokens, nth)),
         'reason', t.reason, 'actor_role', t.actor_role, 'actor_id', t.actor_id,
         'idempotency_key', t.idempotency_key, 'usage_id', t.usage_id, 'hold_id', t.hold_id,
         'original_id', t.original_id, 'metadata', t.metadata, 'created_at', t.created_at) as entry
         from public.token_transactions t
        where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
        order by t.id desc
        limit p_limit + 1)
      union all
      (select h.id, jsonb_build_object(
         'id', h.id, 'entry_type', 'history', 'action_type', h.action_type,
         'tokens', h.tokens, 'reserved_change', 0, 'balance_after', null, 'allocations', '[]'::jsonb,
         'reason', null, 'actor_role', null, 'actor_id', null,
         'idempotency_key', null, 'usage_id', null, 'hold_id', null,
         'original_id', null, 'metadata', h.metadata, 'created_at', h.created_at)
         from public.legacy_token_transactions h
        where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
        order by h.id desc
        limit p_limit + 1)
      order by id desc
      limit p_limit + 1
    ) e;

  return jsonb_build_object(
    'transactions', coalesce(v_entries - p_limit, '[]'),
    'next_before', case when jsonb_array_length(v_entries) > p_limit
                        then v_entries -> (p_limit - 1) -> 'id' end);
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
  'The user''s transactions, newest first. For the user himself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), reserved_change (set aside by it), balance_after, allocations: [{grant_id, tokens}], reason, actor_role, actor_id, idempotency_key, usage_id, hold_id, original_id (the transaction that it undoes), metadata, created_at}], next_before (NULL on the last page)}. entry_type as in the ledger, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function public.get_token_history(uuid, integer, bigint) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_token_balance.sql

/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not; if something is due and the account
 * is free, it is booked on the way, so that the account row that frontends watch is right again.
 * A user who never had a grant and has a plan is given its tokens first, once; a downgrade whose
 * time has come is put into effect.
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
as $$
declare
  v_actor record;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);

  if not exists (select from public.token_balances b where b.user_id = p_user_id) then
    perform private.initialise(p_user_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if exists (
    select from public.user_subscriptions s
     where s.user_id = p_user_id and s.next_plan_type is not null and s.expires_at <= v_now)
  then
    perform private.take_up_next_plan(p_user_id);
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = p_user_id;
  if v_is_due is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
  elsif v_is_due then
    perform from public.token_accounts a where a.user_id = p_user_id for no key update skip locked;
    if found then
      perform private.book_expiries(array[p_user_id], v_now);
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
      'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = p_user_id),
      'plan_type', (select s.plan_type from public.user_subscriptions s where s.user_id = p_user_id),
      'next_expiry', (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = p_user_id and b.is_open and b.expires_at > v_now),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      from (values (p_user_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.repaid), 0)::bigint as repaid
         from private.tokens_due(p_user_id, v_now) as d
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
         from private.choose_grants(p_user_id, null, v_now, 101, p_count_due => v_is_due) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         join public.token_balances g on g.user_id = p_user_id and g.id = chosen.grant_id) listed);
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
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the mark the plan filled up to), plan_type, next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_token_balance(uuid) to authenticated, service_role;

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
  if v_refund.id is not null then
    return private.refund_receipt(v_refund, p_replayed => true);
  end if;

  -- act: what is left of the charge
  select t.* into v_charge from public.token_transactions t
   where t.user_id = p_user_id and t.id = p_transaction_id;
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
    update public.token_accounts a
       set next_due_at = v_now + p_lifetime_days * interval '24 hours'
     where a.user_id = p_user_id
       and v_now + p_lifetime_days * interval '24 hours' < coalesce(a.next_due_at, 'infinity');
    v_entry.grant_ids := v_entry.grant_ids || v_new_id;
    v_entry.grant_tokens := v_entry.grant_tokens || v_expired;
  end if;

  -- record
  v_entry.entry_type := 'refund';
  v_entry.action_type := v_charge.action_type;
  v_entry.original_id := v_charge.id;
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
     where h.user_id = p_user_id and h.id = (v_spent.transaction).hold_id;
  elsif v_spent.shortfall = 0 then
    insert into public.token_holds as h
      (user_id, id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role,
       transaction_id, metadata, created_at)
    values
      (p_user_id, v_entry.hold_id, p_tokens, (v_spent.transaction).grant_ids, (v_spent.transaction).grant_tokens,
       (v_spent.transaction).created_at + p_ttl_seconds * interval '1 second', p_action_type, v_entry.actor_role,
       (v_spent.transaction).id, v_entry.metadata, (v_spent.transaction).created_at)
    returning h.* into v_hold;
    update public.token_accounts a
       set next_due_at = v_hold.expires_at
     where a.user_id = p_user_id and v_hold.expires_at < coalesce(a.next_due_at, 'infinity');
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
    'replayed', v_spent.replayed);
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
 * Caller: service_role.   Locks: nothing.   Errors: invalid_burn_order.   Keeps: I8.
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

-- from supabase/schemas/40_functions/verify_token_ledger.sql

/*
 * Whether the books are right: a row for each breach, and no row when there is none. For one user, for
 * everyone, or for the users after p_after up to p_until, so that a large database is gone through in
 * pieces and a run that was stopped goes on where it was.
 * All of it sees one snapshot, so it runs while the system is used without false alarms. It reads the
 * tables alone and calls none of the functions that write them: a fault in those cannot hide itself.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.verify_token_ledger(
  p_user_id uuid,
  p_after uuid,
  p_until uuid
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  return query
  with accounts as (
    select a.* from public.token_accounts a
     where (p_user_id is null or a.user_id = p_user_id)
       and (p_after is null or a.user_id > p_after)
       and (p_until is null or a.user_id <= p_until)
  ), grants as (
    select b.* from public.token_balances b
     where (p_user_id is null or b.user_id = p_user_id)
       and (p_after is null or b.user_id > p_after)
       and (p_until is null or b.user_id <= p_until)
  ), ledger as (
    select t.*,
           sum(t.tokens - t.reserved_change) over by_number as running,
           row_number() over by_number as nth
      from public.token_transactions t
     where (p_user_id is null or t.user_id = p_user_id)
       and (p_after is null or t.user_id > p_after)
       and (p_until is null or t.user_id <= p_until)
    window by_number as (partition by t.user_id order by t.id)
  ), usages as (
    select u.* from public.token_usage u
     where u.transaction_id is not null
       and (p_user_id is null or u.user_id = p_user_id)
       and (p_after is null or u.user_id > p_after)
       and (p_until is null or u.user_id <= p_until)
  ), of_usage as (
    select u.user_id, sum(u.cost_estimate) filter (where u.success) as cost from usages u group by u.user_id
  ), allocated as (
    select t.user_id, t.id as transaction_id, t.entry_type, t.created_at, part.grant_id, part.tokens,
           part.tokens * sign(t.tokens - t.reserved_change) as signed
      from ledger t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
  ), holds as (
    select h.* from public.token_holds h
     where (p_user_id is null or h.user_id = p_user_id)
       and (p_after is null or h.user_id > p_after)
       and (p_until is null or h.user_id <= p_until)
  ), of_holds as (
    select h.user_id, sum(h.tokens) as tokens, min(h.expires_at) as due
      from holds h where h.status = 'open' group by h.user_id
  ), of_hold_entries as (
    select t.user_id, t.hold_id, sum(t.reserved_change) as reserved,
           -sum(t.tokens) filter (where t.entry_type = 'deduction' and t.reserved_change < 0) as captured
      from ledger t where t.hold_id is not null group by t.user_id, t.hold_id
  ), charged as (
    select t.user_id, t.usage_id, abs(sum(t.tokens)) as tokens
      from ledger t where t.usage_id is not null and t.entry_type <> 'refund' group by t.user_id, t.usage_id
  ), of_grants as (
    select g.user_id, sum(g.tokens_remaining) as tokens, min(g.expires_at) filter (where g.is_open) as due
      from grants g group by g.user_id
  ), of_ledger as (
    select t.user_id, sum(t.tokens) as tokens, sum(t.debt_change) as debt, sum(t.reserved_change) as reserved, max(t.id) as last_id,
           -sum(t.tokens) filter (where t.entry_type = 'expiry') as expired,
           coalesce(sum((t.metadata ->> 'total_cost')::numeric) filter (where t.entry_type = 'opening_balance'), 0) as opening_cost,
           coalesce(sum((t.metadata ->> 'tokens_used')::numeric) filter (where t.entry_type = 'opening_balance'), 0)
             - coalesce(sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0) as used
      from ledger t group by t.user_id
  )
  -- each grant by itself
  select 'I1 no overspend', g.user_id, g.id, null::bigint,
         'remaining between 0 and ' || g.tokens_granted, g.tokens_remaining::text
    from grants g where g.tokens_remaining not between 0 and g.tokens_granted
  union all
  select 'I1 an open grant has tokens', g.user_id, g.id, null,
         'open = ' || (g.tokens_remaining > 0), 'open = ' || g.is_open
    from grants g where g.is_open <> (g.tokens_remaining > 0)
  union all
  -- account and grants
  select 'I2 account = its grants', coalesce(a.user_id, g.user_id), null, null,
         coalesce(g.tokens, 0)::text, coalesce(a.tokens_remaining::text, 'no account')
    from accounts a full join of_grants g on g.user_id = a.user_id
   where coalesce(g.tokens, 0) is distinct from a.tokens_remaining
  union all
  -- account and ledger
  select 'I3 ledger = account', coalesce(a.user_id, t.user_id), null, null,
         coalesce(t.tokens, 0)::text, coalesce((a.tokens_remaining + a.tokens_reserved)::text, 'no account')
    from accounts a full join of_ledger t on t.user_id = a.user_id
   where coalesce(t.tokens, 0) is distinct from a.tokens_remaining + a.tokens_reserved
  union all
  select 'I3 balance after each transaction', t.user_id, null, t.id, t.running::text, t.balance_after::text
    from ledger t where t.balance_after <> t.running
  union all
  select 'I3 transactions are numbered without gaps', t.user_id, null, t.id, t.nth::text, t.id::text
    from ledger t where t.id <> t.nth
  union all
  select 'I3 the account knows its last transaction', a.user_id, null, null,
         coalesce(t.last_id, 0)::text, a.last_transaction_id::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.last_transaction_id <> coalesce(t.last_id, 0)
  union all
  select 'I3 tokens used', a.user_id, null, null, coalesce(t.used, 0)::text, a.tokens_used::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_used <> coalesce(t.used, 0)
  union all
  select 'I3 tokens expired', a.user_id, null, null, coalesce(t.expired, 0)::text, a.tokens_expired::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_expired <> coalesce(t.expired, 0)
  union all
  select 'I3 debt', a.user_id, null, null, coalesce(t.debt, 0)::text, a.tokens_owed::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_owed <> coalesce(t.debt, 0)
  union all
  select 'I3 total cost', a.user_id, null, null,
         (coalesce(t.opening_cost, 0) + coalesce(u.cost, 0))::text, a.total_cost::text
    from accounts a
    left join of_ledger t on t.user_id = a.user_id
    left join of_usage u on u.user_id = a.user_id
   where a.total_cost <> coalesce(t.opening_cost, 0) + coalesce(u.cost, 0)
  union all
  -- holds
  select 'I3 reserved = open holds', coalesce(a.user_id, h.user_id), null, null,
         coalesce(h.tokens, 0)::text, coalesce(a.tokens_reserved::text, 'no account')
    from accounts a full join of_holds h on h.user_id = a.user_id
   where coalesce(h.tokens, 0) is distinct from a.tokens_reserved
  union all
  select 'I3 reserved = its ledger', a.user_id, null, null, coalesce(t.reserved, 0)::text, a.tokens_reserved::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_reserved <> coalesce(t.reserved, 0)
  union all
  select 'I4 a hold is what its history says', h.user_id, null, h.transaction_id,
         format('%s reserved, %s captured', case when h.status = 'open' then h.tokens else 0 end, coalesce(h.tokens_captured, 0)),
         format('%s reserved, %s captured', coalesce(t.reserved, 0), coalesce(t.captured, 0))
    from holds h
    left join of_hold_entries t on t.user_id = h.user_id and t.hold_id = h.id
   where coalesce(t.reserved, 0) <> case when h.status = 'open' then h.tokens else 0 end
      or coalesce(t.captured, 0) <> coalesce(h.tokens_captured, 0)
      or h.tokens <> (select sum(part) from unnest(h.grant_tokens) part)
  union all
  select 'I7 the account is due no later than its holds', a.user_id, null, null,
         'at ' || h.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a join of_holds h on h.user_id = a.user_id
   where h.due < coalesce(a.next_due_at, 'infinity')
  union all
  -- usage and its transaction
  select 'I4 usage = its transaction', u.user_id, null, u.transaction_id,
         (case when u.success then u.tokens_used - u.tokens_uncovered else 0 end)::text,
         coalesce(t.tokens::text, 'no transaction')
    from usages u
    left join charged t on t.user_id = u.user_id and t.usage_id = u.id
   where t.tokens is distinct from case when u.success then u.tokens_used - u.tokens_uncovered else 0 end
  union all
  select 'I4 a transaction for a usage has it', t.user_id, null, t.id, 'usage ' || t.usage_id, 'none'
    from ledger t
    left join usages u on u.user_id = t.user_id and u.id = t.usage_id
   where t.usage_id is not null and u.id is null
  union all
  -- allocations
  select 'I4 allocations = transaction', t.user_id, null, t.id, greatest(abs(t.tokens), abs(t.reserved_change))::text,
         (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)::text
    from ledger t
   where greatest(abs(t.tokens), abs(t.reserved_change))
         <> (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)
  union all
  select 'I4 a grant is what its history left', g.user_id, g.id, null,
         coalesce(h.tokens, 0)::text, g.tokens_remaining::text
    from grants g
    left join (
      select a.user_id, a.grant_id, sum(a.signed) as tokens from allocated a group by a.user_id, a.grant_id) h
      on h.user_id = g.user_id and h.grant_id = g.id
   where g.tokens_remaining <> coalesce(h.tokens, 0)
  union all
  select 'I4 an allocation names a grant', a.user_id, a.grant_id, a.transaction_id, 'a grant of the user', 'none'
    from allocated a
    left join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where g.id is null
  union all
  -- time
  select 'I7 nothing is spent at or after its expiry', a.user_id, a.grant_id, a.transaction_id,
         'before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type in ('deduction', 'hold') and a.signed < 0 -- what a hold set aside in time is paid later
     and a.created_at >= g.expires_at
  union all
  select 'I7 an expiry is booked when it is due', a.user_id, a.grant_id, a.transaction_id,
         'not before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type = 'expiry' and (a.created_at >= g.expires_at) is not true
  union all
  select 'I7 the account is due no later than its grants', a.user_id, null, null,
         'at ' || g.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join of_grants g on g.user_id = a.user_id
   where g.due < coalesce(a.next_due_at, 'infinity')
  union all
  -- plan
  select 'I9 the balance is never above the mark', a.user_id, null, null,
         s.tokens_limit || ' or less', a.tokens_remaining::text
    from accounts a
    join public.user_subscriptions s on s.user_id = a.user_id
   where a.tokens_remaining > s.tokens_limit
   order by 2, 1, 4, 3;
end
$$;
comment on function private.verify_token_ledger(uuid, uuid, uuid) is 'See public.verify_token_ledger.';
revoke all on function private.verify_token_ledger(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.verify_token_ledger(uuid, uuid, uuid) to authenticated, service_role;

create or replace function public.verify_token_ledger(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.verify_token_ledger(p_user_id, p_after, p_until);
end
$$;
comment on function public.verify_token_ledger(uuid, uuid, uuid) is
  'Whether the books are right: a row for each breach of an invariant, no row when there is none. For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. One snapshot: no false alarms while the system is used. Returns invariant, user_id, grant_id, transaction_id, expected, found. Errors: not_authenticated, forbidden.';
revoke all on function public.verify_token_ledger(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.verify_token_ledger(uuid, uuid, uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/void_grant.sql

/*
 * Ends a grant now: what is left of it is taken away, and what comes back to it later expires at
 * once. With p_take_back, for a grant made by mistake, what was spent of it is taken from the other
 * grants too, and what is not there becomes debt, repaid first by what comes in next.
 * Tokens of it that a hold has set aside stay with the hold.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, grant_id, tokens_voided, tokens_owed, transaction_id, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, busy.
 * Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.void_grant(
  p_user_id uuid,
  p_grant_id uuid,
  p_reason text,
  p_take_back boolean,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_voided public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_grant public.token_balances;
  v_tokens bigint;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := coalesce(p_reason, 'voided');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'void_grant', 'grant_id', p_grant_id, 'reason', p_reason, 'take_back', coalesce(p_take_back, false)));
  v_entry.metadata := '{}';
  v_voided := private.find_replay(v_entry);
  if v_voided.id is null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform private.book_expiries(array[p_user_id], v_now);
    end if;
    select b.* into v_grant from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id;
    if v_grant.id is null then
      perform private.refuse('grant_not_found', '{}');
    end if;
    if v_grant.voided_at is not null then
      perform private.refuse('grant_already_voided', '{}');
    end if;
    select g.id into v_entry.original_id
      from public.token_transactions g
     where g.user_id = p_user_id and g.grant_ids @> array[p_grant_id]
     order by g.id
     limit 1;

    -- record
    if coalesce(p_take_back, false) then
      -- what he has had of it: left, spent, or held; what ran out or was taken back before he has not
      select v_grant.tokens_granted - coalesce(sum(case when t.tokens > 0 then -a.tokens else a.tokens end), 0)::bigint
        into v_tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
       where t.user_id = p_user_id and a.grant_id = p_grant_id
         and t.entry_type in ('expiry', 'clawback', 'restoration', 'restatement');
      v_voided := private.claw_back(v_entry, p_grant_id, v_tokens);
    else
      v_entry.entry_type := 'void';
      v_entry.action_type := 'void';
      v_entry.tokens := -v_grant.tokens_remaining;
      v_entry.grant_ids := case when v_grant.is_open then array[p_grant_id] else '{}' end;
      v_entry.grant_tokens := case when v_grant.is_open then array[v_grant.tokens_remaining] else '{}' end;
      v_entry.created_at := v_now;
      update public.token_balances b
         set tokens_remaining = 0, is_open = false
       where b.user_id = p_user_id and b.id = p_grant_id;
      v_voided := private.book(v_entry);
    end if;
    update public.token_balances b
       set voided_at = v_voided.created_at,
           expires_at = least(b.expires_at, greatest(v_voided.created_at, b.granted_at + interval '1 microsecond'))
     where b.user_id = p_user_id and b.id = p_grant_id;
  end if;

  return jsonb_build_object(
    'success', true,
    'grant_id', p_grant_id,
    'tokens_voided', -v_voided.tokens,
    'tokens_owed', v_voided.debt_change,
    'transaction_id', v_voided.id,
    'tokens_remaining', v_voided.balance_after,
    'replayed', v_replayed);
end
$$;
comment on function private.void_grant(uuid, uuid, text, boolean, text) is 'See public.void_grant.';
revoke all on function private.void_grant(uuid, uuid, text, boolean, text) from public, anon, authenticated, service_role;
grant execute on function private.void_grant(uuid, uuid, text, boolean, text) to authenticated, service_role;

create or replace function public.void_grant(
  p_user_id uuid,
  p_grant_id uuid,
  p_reason text default null,
  p_take_back boolean default false,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.void_grant(p_user_id, p_grant_id, p_reason, p_take_back, p_idempotency_key);
end
$$;
comment on function public.void_grant(uuid, uuid, text, boolean, text) is
  'Ends a grant now: what is left of it is taken away. With p_take_back, for a grant made by mistake, what was spent of it is taken back too: from the other grants, and what is not there becomes debt. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, grant_id, tokens_voided, tokens_owed (added to the debt), transaction_id, tokens_remaining, replayed}. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, forbidden, busy.';
revoke all on function public.void_grant(uuid, uuid, text, boolean, text) from public, anon, authenticated, service_role;
grant execute on function public.void_grant(uuid, uuid, text, boolean, text) to authenticated, service_role;

-- from supabase/schemas/70_privileges.sql

revoke all on table private.burn_orders, public.token_holds from public, anon, authenticated, service_role;
grant select on table public.token_holds to authenticated, service_role;
