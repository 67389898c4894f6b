/*
 * Spend caps and teams.
 *
 * Every account counts from here on what is spent in the present day, week and month; the counts
 * begin with what the ledger says of the present ones. Entries, usage and holds can name the member
 * of a team who spent; a team's rows are its payer's. Rows that are there stay as they are.
 *
 * The columns have no value to check; the ledger's unique index of keys is built again, without the
 * keys of members.
 */
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation, require-concurrent-index-deletion

alter table public.token_accounts
  add column spent_at timestamptz,
  add column spent_day bigint not null default 0,
  add column spent_week bigint not null default 0,
  add column spent_month bigint not null default 0,
  add column payer_id uuid,
  add constraint token_accounts_are_not_their_own_payers check (payer_id <> user_id);
comment on column public.token_accounts.spent_at is 'In which day, week and month (UTC) the next three were counted; in a later one they count for nothing.';
comment on column public.token_accounts.spent_day is 'Tokens spent or set aside in that day, less what came back of them: what a cap looks at.';
comment on column public.token_accounts.spent_week is 'In that week (ISO, from Monday).';
comment on column public.token_accounts.spent_month is 'In that month.';
comment on column public.token_accounts.payer_id is 'The account that he spends from while he is in a team; NULL: his own.';

alter table public.token_transactions add column member_id uuid;
comment on column public.token_transactions.member_id is 'The member of the user''s team who spent it; NULL: the user himself.';
drop index public.token_transactions_idempotency_key;
create unique index token_transactions_idempotency_key
  on public.token_transactions (user_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is null;
create unique index token_transactions_member_key
  on public.token_transactions (user_id, member_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is not null;

-- what a member spent, whoever paid
create index token_transactions_member_idx
  on public.token_transactions (member_id, idempotency_key) where member_id is not null;

alter policy "Users read their own transactions" on public.token_transactions
  using ((select auth.uid()) in (user_id, member_id));

alter table public.token_usage add column member_id uuid;
comment on column public.token_usage.member_id is 'The member of the user''s team whose operation it was; NULL: the user himself.';
create index token_usage_member_idx on public.token_usage (member_id, created_at) where member_id is not null;
alter policy "Users read their own usage" on public.token_usage
  using ((select auth.uid()) in (user_id, member_id));

alter table public.token_holds add column member_id uuid;
comment on column public.token_holds.member_id is 'The member of the user''s team whom it is for; NULL: the user himself.';
create index token_holds_member_idx on public.token_holds (member_id, id) where member_id is not null;
alter policy "Users read their own holds" on public.token_holds
  using ((select auth.uid()) in (user_id, member_id));

-- they answer more now
drop function private.spend(public.token_transactions, boolean, numeric);
drop function private.deduction_receipt(bigint, bigint, jsonb, bigint, bigint, boolean);

-- from supabase/schemas/20_tables/default_spend_caps.sql

-- Caps of whole plans and of everyone. Not a user's rows, so a table of their own.
create table public.default_spend_caps (
  plan_type text references public.token_plans (plan_type),
  spend_window text not null,
  tokens bigint not null,
  reason text not null,
  actor_role text not null,
  actor_id uuid,
  updated_at timestamptz not null default clock_timestamp(),
  constraint default_spend_caps_key unique nulls not distinct (plan_type, spend_window),
  constraint default_spend_caps_window_is_known check (spend_window in ('day', 'week', 'month')),
  constraint default_spend_caps_are_within_limits check (tokens between 0 and 1000000000000)
);
comment on table public.default_spend_caps is
  'Caps of plans and of everyone: tokens that each user may spend in a window. Written by set_spend_cap.';
comment on column public.default_spend_caps.plan_type is 'For users on this plan; NULL = for everyone.';
comment on column public.default_spend_caps.spend_window is 'day, week (ISO, from Monday) or month; in UTC, from midnight to midnight.';
comment on column public.default_spend_caps.tokens is 'Tokens that each of them may spend in it, 0 to 10^12.';
comment on column public.default_spend_caps.reason is 'Why.';
comment on column public.default_spend_caps.actor_role is 'Who set it: admin or service.';
comment on column public.default_spend_caps.actor_id is 'Which admin.';
comment on column public.default_spend_caps.updated_at is 'Since when it is as it is.';

alter table public.default_spend_caps enable row level security;
create policy "Signed-in users read the common caps" on public.default_spend_caps
  for select to authenticated
  using (true);

-- from supabase/schemas/20_tables/team_members.sql

-- Who draws from whose account, or did: one row a payer and member. On the payer's side, so that his
-- account's lock covers it.
create table public.team_members (
  user_id uuid not null,
  member_id uuid not null,
  cap_day bigint,
  cap_week bigint,
  cap_month bigint,
  tokens_used bigint not null default 0,
  spent_at timestamptz,
  spent_day bigint not null default 0,
  spent_week bigint not null default 0,
  spent_month bigint not null default 0,
  since timestamptz not null default clock_timestamp(),
  until timestamptz,
  constraint team_members_pkey primary key (user_id, member_id),
  constraint team_members_are_not_their_payers check (user_id <> member_id),
  constraint team_members_caps_are_within_limits check (
    coalesce(cap_day, 0) between 0 and 1000000000000
    and coalesce(cap_week, 0) between 0 and 1000000000000
    and coalesce(cap_month, 0) between 0 and 1000000000000),
  constraint team_members_leave_after_they_came check (until >= since)
) with (fillfactor = 80); -- room for HOT updates: a row changes with all that its member spends

comment on table public.team_members is
  'Teams: who draws from whose account, how much of it at most, and how much so far. token_accounts.payer_id says the same of the present, on the member''s side. Written by the functions only.';
comment on column public.team_members.user_id is 'The payer, whose account it is.';
comment on column public.team_members.member_id is 'The member.';
comment on column public.team_members.cap_day is 'Tokens that he may spend of it in a day (UTC); NULL = no cap.';
comment on column public.team_members.cap_week is 'In a week (ISO, from Monday).';
comment on column public.team_members.cap_month is 'In a month.';
comment on column public.team_members.tokens_used is 'Tokens of it that he has used, less what was refunded.';
comment on column public.team_members.spent_at is 'In which day, week and month the next three were counted.';
comment on column public.team_members.spent_day is 'Tokens spent or set aside in that day.';
comment on column public.team_members.spent_week is 'In that week.';
comment on column public.team_members.spent_month is 'In that month.';
comment on column public.team_members.since is 'When he joined, the last time.';
comment on column public.team_members.until is 'When he left; NULL = he is in it.';

create index team_members_member_idx on public.team_members (member_id);

alter table public.team_members enable row level security;
create policy "Payers and members read their own" on public.team_members
  for select to authenticated
  using ((select auth.uid()) in (user_id, member_id));

-- from supabase/schemas/20_tables/token_spend_caps.sql

-- How much a user may spend in a day, a week or a month: caps of single users, one row each.
create table public.token_spend_caps (
  user_id uuid not null,
  spend_window text not null,
  tokens bigint not null,
  reason text not null,
  actor_role text not null,
  actor_id uuid,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_spend_caps_pkey primary key (user_id, spend_window),
  constraint token_spend_caps_window_is_known check (spend_window in ('day', 'week', 'month')),
  constraint token_spend_caps_are_within_limits check (tokens between 0 and 1000000000000)
);
comment on table public.token_spend_caps is
  'Caps of single users: tokens that one may spend in a window. The tightest of these, his plan''s and everyone''s holds. Written by set_spend_cap.';
comment on column public.token_spend_caps.user_id is 'The user.';
comment on column public.token_spend_caps.spend_window is 'day, week (ISO, from Monday) or month; in UTC, from midnight to midnight.';
comment on column public.token_spend_caps.tokens is 'Tokens that may be spent in it, 0 to 10^12.';
comment on column public.token_spend_caps.reason is 'Why.';
comment on column public.token_spend_caps.actor_role is 'Who set it: admin or service.';
comment on column public.token_spend_caps.actor_id is 'Which admin.';
comment on column public.token_spend_caps.updated_at is 'Since when it is as it is.';

alter table public.token_spend_caps enable row level security;
create policy "Users read their own caps" on public.token_spend_caps
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/30_guards/find_replay.sql

/*
 * The transaction that this entry's key already made, or NULL (as when it has no key). The same
 * key with another request is refused, naming the fields that differ and never their values. A
 * user's keys are his own wherever he spends: a retry finds what it did before he joined a team, or
 * while he was in one. To
 * be called with the account locked: two first uses of a key are then one after the other.
 * Caller: internal.   Errors: idempotency_key_reused.   Keeps: I5.
 */
create or replace function private.find_replay(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = ''
as $$
declare
  v_transaction public.token_transactions;
  v_differs jsonb;
begin
  if p_entry.idempotency_key is null then
    return null;
  end if;
  select t.* into v_transaction
    from public.token_transactions t
   where t.user_id = coalesce(p_entry.member_id, p_entry.user_id) and t.member_id is null
     and t.idempotency_key = p_entry.idempotency_key
     and (t.actor_role = 'user') = (p_entry.actor_role = 'user')
  union all
  select t.*
    from public.token_transactions t
   where t.member_id = coalesce(p_entry.member_id, p_entry.user_id)
     and t.idempotency_key = p_entry.idempotency_key
     and (t.actor_role = 'user') = (p_entry.actor_role = 'user');
  if v_transaction.id is null then
    return null;
  end if;

  select jsonb_agg(f.field order by f.field) into v_differs
    from (
      select coalesce(was.key, asked.key) as field
        from jsonb_each(v_transaction.request) was
        full join jsonb_each(p_entry.request) asked on asked.key = was.key
       where was.value is distinct from asked.value
      union all
      select 'metadata' where v_transaction.metadata is distinct from p_entry.metadata
    ) f;
  if v_differs is not null then
    perform private.refuse('idempotency_key_reused', jsonb_build_object('differs', v_differs));
  end if;
  return v_transaction;
end
$$;
comment on function private.find_replay(public.token_transactions) is
  'The transaction made under this entry''s key, or NULL; refuses the key when it stands for another request. A user''s keys and the server''s are apart.';
revoke all on function private.find_replay(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/paying_account.sql

/*
 * Whose account a user spends from: his payer's while he is in a team, else his own. To be asked
 * again once the account is locked (private.spend does): joining and leaving lock both accounts.
 * Caller: internal.
 */
create or replace function private.paying_account(p_user_id uuid)
returns uuid
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = ''
as $$
begin
  return coalesce((select a.payer_id from public.token_accounts a where a.user_id = p_user_id), p_user_id);
end
$$;
comment on function private.paying_account(uuid) is 'The account that a user spends from: his payer''s while he is in a team, else his own.';
revoke all on function private.paying_account(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/paying_accounts.sql

/*
 * Whose accounts these users spend from, in the same order: private.paying_account for many.
 * Caller: internal.
 */
create or replace function private.paying_accounts(p_user_ids uuid[])
returns uuid[]
language plpgsql
volatile -- as private.paying_account
security invoker
set search_path = ''
as $$
begin
  return array(
    select coalesce(a.payer_id, u.user_id)
      from unnest(p_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id
     order by u.nth);
end
$$;
comment on function private.paying_accounts(uuid[]) is 'The accounts that these users spend from, in the same order.';
revoke all on function private.paying_accounts(uuid[]) from public, anon, authenticated, service_role;

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
      ('invalid_batch', 'PT400', 'Send an array of 1 to 1000 items, at most 1 MiB in all.'),
      ('invalid_cap', 'PT400', 'Use day, week or month, and 0 to 1000000000000 tokens.'),
      ('invalid_member', 'PT400', 'Name a user other than the payer.'),
      ('invalid_alert_rule', 'PT400', 'Say what the rule''s kind needs, and nothing else.'),
      ('invalid_top_up', 'PT400', 'Say below how many tokens to ask, and for how many tokens or which plan.'),
      ('invalid_moment', 'PT400', 'Give a moment that has passed.'),
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
      ('member_not_found', 'PT404', 'There is no such member of that user''s team.'),
      ('top_up_request_not_found', 'PT404', 'There is no such top-up request of that user.'),
      ('top_up_already_settled', 'PT409', 'The request has been settled otherwise. Nothing was changed.'),
      ('grant_already_voided', 'PT409', 'The grant has been ended before. Nothing was changed.'),
      ('capture_exceeds_hold', 'PT409', 'Capture no more than was held, or choose deduct or cap.'),
      ('not_refundable', 'PT409', 'Only deductions can be refunded.'),
      ('refund_exceeds_charge', 'PT409', 'No more can be refunded than is left of the charge.'),
      ('before_the_books', 'PT404', 'The books of that user were not open yet.'),
      ('restatement_not_found', 'PT404', 'There is no such restatement of that user.'),
      ('restatement_already_reversed', 'PT409', 'The restatement has been reversed before. Nothing was changed.'),
      ('restatement_spent', 'PT409', 'What it gave has been spent or has run out. Nothing was changed.'),
      ('payment_already_decided', 'PT409', 'The payment has been decided otherwise. Nothing was changed.'),
      ('not_due_yet', 'PT409', 'The next period has not begun.'),
      ('invalid_provider_event', 'PT400', 'Send what the provider''s event says, in the stated form.'),
      ('not_applied', 'PT424', 'Another item of the batch failed, and it was to be all or nothing. Send the batch again without it.'),
      ('already_in_team', 'PT409', 'A member has one payer, and teams do not nest. Nothing was changed.'),
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
                or a.alerts_version <> (select v.version from private.alert_rule_versions v) as has_passed
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

-- from supabase/schemas/40_books/capped.sql

/*
 * What an answer adds when a cap allowed less than was wanted: {capped_by}; nothing otherwise.
 * Caller: internal.
 */
create or replace function private.capped(p_capped_by jsonb)
returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
  select case when p_capped_by is null then '{}' else jsonb_build_object('capped_by', p_capped_by) end
$$;
comment on function private.capped(jsonb) is '{capped_by} where a cap allowed less than was wanted, else an empty object.';
revoke all on function private.capped(jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/count_spending.sql

/*
 * Counts again, from the ledger, what these users and the members of their teams have spent in the
 * present day, week and month. private.book keeps the counts; this is for whoever begins to count.
 * The caller holds the accounts' locks.
 * Caller: internal.
 */
create or replace function private.count_spending(p_user_ids uuid[], p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  with spent as (
    select t.user_id, t.member_id, t.reserved_change - t.tokens as tokens, private.taken_at(t) as at
      from public.token_transactions t
     where t.user_id = any (p_user_ids)
       and t.created_at >= least(date_trunc('month', p_now, 'UTC'), date_trunc('week', p_now, 'UTC'))
       and t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct'
  ), counted as (
    select s.user_id, s.member_id, grouping(s.member_id) = 1 as is_account,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', p_now, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', p_now, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', p_now, 'UTC')), 0) as in_month
      from spent s
     group by grouping sets ((s.user_id), (s.user_id, s.member_id))
  ), members as (
    update public.team_members m
       set spent_at = p_now, spent_day = coalesce(c.in_day, 0), spent_week = coalesce(c.in_week, 0), spent_month = coalesce(c.in_month, 0)
      from public.team_members of
      left join counted c on c.user_id = of.user_id and c.member_id = of.member_id and not c.is_account
     where m.user_id = any (p_user_ids) and of.user_id = m.user_id and of.member_id = m.member_id
  )
  update public.token_accounts a
     set spent_at = p_now, spent_day = coalesce(c.in_day, 0), spent_week = coalesce(c.in_week, 0), spent_month = coalesce(c.in_month, 0)
    from unnest(p_user_ids) as asked (user_id)
    left join counted c on c.user_id = asked.user_id and c.is_account
   where a.user_id = asked.user_id;
end
$$;
comment on function private.count_spending(uuid[], timestamptz) is
  'Counts from the ledger what these users and their members have spent in the present day, week and month.';
revoke all on function private.count_spending(uuid[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/deduction_receipt.sql

/*
 * The answer to a deduction of p_tokens: its transaction (new or replayed) and which grants paid, or a
 * shortfall and no transaction. The same for one deduction and for one of a batch.
 * Caller: internal.
 */
create or replace function private.deduction_receipt(
  p_tokens bigint,
  p_transaction_id bigint,
  p_deducted_from jsonb,
  p_shortfall bigint,
  p_tokens_remaining bigint,
  p_replayed boolean,
  p_capped_by jsonb default null
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'success', p_shortfall = 0,
    'tokens_deducted', case when p_shortfall = 0 then p_tokens else 0 end,
    'tokens_remaining_to_deduct', p_shortfall,
    'deducted_from', p_deducted_from,
    'transaction_id', p_transaction_id,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed)
    || case when p_capped_by is null then '{}' else private.capped(p_capped_by) end;
end
$$;
comment on function private.deduction_receipt(bigint, bigint, jsonb, bigint, bigint, boolean, jsonb) is
  'The answer to a deduction: {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed}, and capped_by where a cap allowed less.';
revoke all on function private.deduction_receipt(bigint, bigint, jsonb, bigint, bigint, boolean, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/lock_hold.sql

/*
 * Locks the account, books what is due on it (the hold too, when it has run out), and returns the
 * hold as it then is. A user settles no hold that an admin or the server made for him: he could
 * take back what a running call is about to cost; nor does a payer settle a member's.
 * A member's hold is on the account that it was taken from, whether he is still in the team or not.
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
  v_account_id uuid := coalesce(
    (select h.user_id from public.token_holds h where h.member_id = p_user_id and h.id = p_hold_id), p_user_id);
  v_account public.token_accounts;
begin
  v_account := private.lock_account(v_account_id);
  if v_account.user_id is null then
    perform private.require_user(v_account_id, p_actor_role);
  end if;
  locked_at := clock_timestamp();
  if v_account.next_due_at <= locked_at then
    perform private.book_expiries(array[v_account_id], locked_at);
  end if;
  select h.* into hold from public.token_holds h where h.user_id = v_account_id and h.id = p_hold_id;
  if hold.id is null then
    perform private.refuse('hold_not_found', '{}');
  end if;
  if p_actor_role = 'user' and (hold.actor_role <> 'user' or coalesce(hold.member_id, hold.user_id) <> p_user_id) then
    perform private.refuse('forbidden');
  end if;
end
$$;
comment on function private.lock_hold(uuid, uuid, text) is
  'Locks the account, books what is due, and returns the clock and the hold; a user gets no hold that he did not make.';
revoke all on function private.lock_hold(uuid, uuid, text) from public, anon, authenticated, service_role;

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
  v_entry.member_id := p_hold.member_id;
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
  if tokens_remaining < v_wanted
    and not exists (select from public.token_balances b where b.user_id = p_entry.user_id)
  then
    perform private.initialise(p_entry.user_id); -- an account, and still never a grant
    v_account := private.lock_account(p_entry.user_id);
    v_now := clock_timestamp(); -- what was just granted comes before what is now spent
    tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  end if;
  v_allowed := tokens_remaining;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct'
    and (p_entry.member_id is not null
      or exists (select from public.token_spend_caps c where c.user_id = p_entry.user_id)
      or exists (select from public.default_spend_caps d))
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

-- from supabase/schemas/40_books/spend_caps_of.sql

/*
 * The caps that an account's next spending meets, and how much of each is used: the user's own,
 * his plan's, everyone's; and for a member of his team the member's. Windows are UTC, half-open,
 * weeks ISO. A hold that has run out counts no more, whether it has been released yet or not.
 * Takes the account row, so that who has locked it asks of what he has locked.
 * Caller: internal.
 */
create or replace function private.spend_caps_of(
  p_account public.token_accounts,
  p_member_id uuid,
  p_now timestamptz
)
returns table (scope text, spend_window text, tokens bigint, used bigint, resets_at timestamptz)
language plpgsql
volatile -- a cap that was set while the caller waited for the lock holds
security invoker
set search_path = ''
as $$
begin
  return query
  with caps as (
    select 'user' as scope, c.spend_window, c.tokens
      from public.token_spend_caps c where c.user_id = p_account.user_id
    union all
    select case when d.plan_type is null then 'everyone' else 'plan' end, d.spend_window, d.tokens
      from public.default_spend_caps d
     where d.plan_type is null
        or d.plan_type = (
          select s.plan_type from public.user_subscriptions s where s.user_id = p_account.user_id and s.is_active)
    union all
    select 'member', c.spend_window, c.tokens
      from public.team_members m
     cross join lateral (
       values ('day', m.cap_day), ('week', m.cap_week), ('month', m.cap_month)) as c (spend_window, tokens)
     where m.user_id = p_account.user_id and m.member_id = p_member_id and c.tokens is not null
  ), spent as (
    select false as is_member, p_account.spent_at as at,
           p_account.spent_day as in_day, p_account.spent_week as in_week, p_account.spent_month as in_month
    union all
    select true, m.spent_at, m.spent_day, m.spent_week, m.spent_month
      from public.team_members m where m.user_id = p_account.user_id and m.member_id = p_member_id
  )
  select c.scope, c.spend_window, c.tokens,
         case when s.at >= date_trunc(c.spend_window, p_now, 'UTC')
           then case c.spend_window when 'day' then s.in_day when 'week' then s.in_week else s.in_month end
             - coalesce((
                 select sum(h.tokens)
                   from public.token_holds h
                  where p_account.next_due_at <= p_now
                    and h.user_id = p_account.user_id and h.status = 'open' and h.expires_at <= p_now
                    and h.created_at >= date_trunc(c.spend_window, p_now, 'UTC')
                    and (c.scope <> 'member' or h.member_id = p_member_id)), 0)::bigint
           else 0 end,
         (date_trunc(c.spend_window, p_now at time zone 'utc') + ('1 ' || c.spend_window)::interval) at time zone 'utc'
    from caps c
    join spent s on s.is_member = (c.scope = 'member');
end
$$;
comment on function private.spend_caps_of(public.token_accounts, uuid, timestamptz) is
  'The caps that an account (and a member of its team) is under now: scope (user, plan, everyone, member), window, tokens, used, resets_at.';
revoke all on function private.spend_caps_of(public.token_accounts, uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend_headroom.sql

/*
 * How much may be spent before a cap is met, and which cap that is: the tightest, the one with the
 * least left. NULL where there is none.
 * Caller: internal.   Returns capped_by {scope, window, limit, used, resets_at}.
 */
create or replace function private.spend_headroom(
  p_account public.token_accounts,
  p_member_id uuid,
  p_now timestamptz,
  out headroom bigint,
  out capped_by jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  select greatest(c.tokens - c.used, 0),
         jsonb_build_object(
           'scope', c.scope, 'window', c.spend_window, 'limit', c.tokens, 'used', c.used, 'resets_at', c.resets_at)
    into headroom, capped_by
    from private.spend_caps_of(p_account, p_member_id, p_now) as c
   order by c.tokens - c.used, c.resets_at desc
   limit 1;
end
$$;
comment on function private.spend_headroom(public.token_accounts, uuid, timestamptz) is
  'Tokens that may be spent before the tightest cap is met, and that cap; NULL when there is none.';
revoke all on function private.spend_headroom(public.token_accounts, uuid, timestamptz) from public, anon, authenticated, service_role;

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
         or a.alerts_version <> (select v.version from private.alert_rule_versions v)) is not true
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

-- from supabase/schemas/40_books/taken_at.sql

/*
 * When the tokens were taken that an entry spends or gives back: its own moment; of a release that
 * of the hold; of a refund that of the charge, or of the hold that the charge captured. What comes
 * back comes back into the window that it was taken from.
 * Caller: internal.
 */
create or replace function private.taken_at(p_entry public.token_transactions)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_original public.token_transactions;
begin
  if p_entry.entry_type not in ('release', 'refund') then
    return p_entry.created_at;
  end if;
  select t.* into v_original from public.token_transactions t
   where t.user_id = p_entry.user_id and t.id = p_entry.original_id;
  if v_original.reserved_change < 0 then
    return (select h.created_at from public.token_holds h
             where h.user_id = p_entry.user_id and h.id = v_original.hold_id);
  end if;
  return v_original.created_at;
end
$$;
comment on function private.taken_at(public.token_transactions) is
  'When the tokens were taken that an entry spends or gives back.';
revoke all on function private.taken_at(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/team_of.sql

/*
 * A payer's members, those of today first: [{member_id, since, until, tokens_used, caps}]; or one.
 * Caller: internal.
 */
create or replace function private.team_of(p_user_id uuid, p_member_id uuid default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'member_id', m.member_id, 'since', m.since, 'until', m.until, 'tokens_used', m.tokens_used,
                 'caps', (
                   select coalesce(
                            jsonb_agg(
                              jsonb_build_object(
                                'window', c.spend_window, 'limit', c.tokens, 'used', c.used, 'resets_at', c.resets_at)
                              order by c.resets_at),
                            '[]')
                     from private.spend_caps_of(v_account, m.member_id, clock_timestamp()) as c
                    where c.scope = 'member'))
               order by m.until desc nulls first, m.since),
             '[]')
      from public.team_members m
     where m.user_id = p_user_id and m.member_id = coalesce(p_member_id, m.member_id));
end
$$;
comment on function private.team_of(uuid, uuid) is 'The members of a payer''s team, or one of them, with what each has spent and may spend.';
revoke all on function private.team_of(uuid, uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/add_team_member.sql

/*
 * Lets a member spend from a payer's account, within caps of his own; for one who is in the team
 * already, sets his caps. Moves no tokens: what the member has on his own account waits there.
 * A member has one payer, and teams do not nest. For the server, which knows who agreed to it.
 * Caller: an admin, service_role.   Locks: both accounts, in the order of their ids.
 * Returns what list_team_members says of the member.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_cap, invalid_member,
 * user_not_found, already_in_team, busy.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.add_team_member(
  p_user_id uuid,
  p_member_id uuid,
  p_cap_day bigint,
  p_cap_week bigint,
  p_cap_month bigint
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_payer public.token_accounts;
  v_member public.token_accounts;
begin
  -- validate
  v_actor := private.authorize(p_user_id, p_self_may => false);
  if p_member_id is null or p_member_id = p_user_id then
    perform private.refuse('invalid_member', '{"field": "p_member_id", "rule": "a user other than the payer"}');
  elsif least(p_cap_day, p_cap_week, p_cap_month) < 0 or greatest(p_cap_day, p_cap_week, p_cap_month) > 1000000000000 then
    perform private.refuse('invalid_cap', '{"field": "p_cap_day", "rule": "0 to 1000000000000, or null for no cap"}');
  end if;
  perform private.require_user(p_user_id, v_actor.actor_role);
  perform private.require_user(p_member_id, v_actor.actor_role);

  -- lock
  insert into public.token_accounts (user_id)
  select u.user_id from unnest(array[p_user_id, p_member_id]) as u (user_id) order by u.user_id
  on conflict do nothing;
  perform private.lock_accounts(array[p_user_id, p_member_id]);
  select a.* into v_payer from public.token_accounts a where a.user_id = p_user_id;
  select a.* into v_member from public.token_accounts a where a.user_id = p_member_id;

  -- act
  if v_payer.payer_id is not null then
    perform private.refuse('already_in_team', '{"reason": "the payer is a member of another team"}');
  elsif v_member.payer_id is distinct from p_user_id and v_member.payer_id is not null then
    perform private.refuse('already_in_team', '{"reason": "the member is in another team"}');
  elsif exists (select from public.team_members m where m.user_id = p_member_id and m.until is null) then
    perform private.refuse('already_in_team', '{"reason": "the member pays for a team himself"}');
  end if;
  insert into public.team_members as m (user_id, member_id, cap_day, cap_week, cap_month)
  values (p_user_id, p_member_id, p_cap_day, p_cap_week, p_cap_month)
  on conflict (user_id, member_id) do update
     set cap_day = excluded.cap_day, cap_week = excluded.cap_week, cap_month = excluded.cap_month,
         -- who comes back on the same day has spent what he has spent
         since = case when m.until is null then m.since else excluded.since end,
         until = null;
  update public.token_accounts a
     set payer_id = p_user_id, updated_at = clock_timestamp()
   where a.user_id = p_member_id and a.payer_id is null;
  return private.team_of(p_user_id, p_member_id) -> 0;
end
$$;
comment on function private.add_team_member(uuid, uuid, bigint, bigint, bigint) is 'See public.add_team_member.';
revoke all on function private.add_team_member(uuid, uuid, bigint, bigint, bigint) from public, anon, authenticated, service_role;
grant execute on function private.add_team_member(uuid, uuid, bigint, bigint, bigint) to authenticated, service_role;

create or replace function public.add_team_member(
  p_user_id uuid,
  p_member_id uuid,
  p_cap_day bigint default null,
  p_cap_week bigint default null,
  p_cap_month bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.add_team_member(p_user_id, p_member_id, p_cap_day, p_cap_week, p_cap_month);
end
$$;
comment on function public.add_team_member(uuid, uuid, bigint, bigint, bigint) is
  'Lets a member spend from the account of p_user_id, the payer; of one who is in the team already, sets the caps. For an admin or the server. p_cap_day, p_cap_week, p_cap_month 0 to 10^12, NULL = no cap. Moves no tokens; a member has one payer and teams do not nest. Returns {member_id, since, until, tokens_used, caps: [{window, limit, used, resets_at}]}. Errors: invalid_member, invalid_cap, user_not_found, already_in_team, forbidden, busy.';
revoke all on function public.add_team_member(uuid, uuid, bigint, bigint, bigint) from public, anon, authenticated, service_role;
grant execute on function public.add_team_member(uuid, uuid, bigint, bigint, bigint) to authenticated, service_role;

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
    insert into public.token_usage
      (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate,
       success, error_message, metadata, created_at, cached_tokens, reasoning_tokens, images, seconds,
       tokens_uncovered, transaction_id, member_id)
    values
      (v_hold.user_id, v_hold.usage_id, v_usage.action_type, v_usage.model_used, v_usage.tokens_used,
       v_usage.input_tokens, v_usage.output_tokens, v_usage.cost_estimate,
       v_usage.success, v_usage.error_message, v_entry.metadata, v_locked.locked_at,
       v_usage.cached_tokens, v_usage.reasoning_tokens, v_usage.images, v_usage.seconds,
       v_hold.tokens_uncovered, v_hold.capture_id, v_hold.member_id);
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
as $$
declare
  v_entries public.token_transactions[] := '{}';
  v_user_ids uuid[] := '{}'; -- of the entries; NULL where the item was refused
  v_account_ids uuid[]; -- whose tokens they take: a member's are his payer's
  v_results jsonb[] := '{}';
  v_locked uuid[];
  v_entry public.token_transactions;
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
  for i in 1..jsonb_array_length(p_items)
  loop
    v_results[i] := null;
    begin
      v_entry := private.batch_entry(p_items -> (i - 1));
      v_entry.id := i;
      v_entries[i] := v_entry;
      v_user_ids[i] := v_entry.user_id;
    exception
      when sqlstate 'PT400' then
        get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
        v_results[i] := private.item_error(v_slug, v_facts, v_hint);
        v_entries[i] := null;
        v_user_ids[i] := null;
    end;
  end loop;

  begin -- what all-or-nothing undoes

    -- lock: who has no account yet is given his plan, if he has one; then all accounts, in order
    for v_user_id in
      select distinct u.user_id from unnest(v_user_ids) as u (user_id)
       where u.user_id is not null
         and not exists (select from public.token_accounts a where a.user_id = u.user_id)
       order by u.user_id
    loop
      perform private.initialise(v_user_id);
    end loop;
    v_account_ids := private.paying_accounts(v_user_ids);
    v_locked := array(select a.user_id from private.lock_accounts(v_account_ids) as a);
    if private.paying_accounts(v_user_ids) is distinct from v_account_ids then
      perform private.refuse('busy', '{}'); -- somebody joined or left a team meanwhile
    end if;

    -- replay, act, record: what is alone on its account and needs nothing but tokens
    for v_made in
      select m.*
        from private.spend_many(
               array(
                 select alone.entry
                   from (
                     select e as entry, a.account_id, count(*) over (partition by a.account_id) as items
                       from unnest(v_entries) as e
                       join unnest(v_account_ids) with ordinality as a (account_id, nth) on a.nth = e.id) alone
                  where alone.items = 1 and (alone.entry).user_id = alone.account_id),
               clock_timestamp()) as m
    loop
      v_results[v_made.nth] := private.deduction_receipt(
        -(v_entries[v_made.nth]).tokens, v_made.transaction_id, v_made.deducted_from, 0, v_made.tokens_remaining, false);
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
  v_entry public.token_transactions;
  v_spent record;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => true);
  perform private.check_tokens('p_tokens_to_deduct', p_tokens_to_deduct);
  perform private.check_action_type(p_action_type);
  perform private.check_request(p_idempotency_key, null, p_metadata);

  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens_to_deduct;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'deduct', 'tokens', p_tokens_to_deduct, 'action_type', p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);

  return private.deduction_receipt(
    p_tokens_to_deduct, (v_spent.transaction).id, private.allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
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
  v_account public.token_accounts;
  v_cap record;
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
  v_usage.user_id := private.paying_account(p_usage.user_id);
  perform private.initialise(v_usage.user_id); -- whom registration missed
  v_now := clock_timestamp();

  v_quote.user_id := v_usage.user_id;
  -- one statement: what there is and who would pay are of one moment
  select chosen.grant_ids, chosen.grant_tokens,
         coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0)
    into v_quote.grant_ids, v_quote.grant_tokens, v_remaining
    from private.choose_grants(v_usage.user_id, v_usage.tokens_used, v_now, p_count_due => true) as chosen
    left join public.token_accounts a on a.user_id = v_usage.user_id
   cross join lateral private.tokens_due(v_usage.user_id, v_now) as due;
  select a.* into v_account from public.token_accounts a where a.user_id = v_usage.user_id;
  v_cap := private.spend_headroom(v_account, nullif(p_usage.user_id, v_usage.user_id), v_now);
  return jsonb_build_object(
    'tokens', v_usage.tokens_used,
    'cost_estimate', v_usage.cost_estimate,
    'sufficient', least(v_remaining, v_cap.headroom) >= v_usage.tokens_used,
    'tokens_short', greatest(v_usage.tokens_used - least(v_remaining, v_cap.headroom), 0),
    'tokens_remaining', v_remaining,
    'would_be_deducted_from', private.allocations(v_quote))
    || private.capped(case when v_cap.headroom < v_usage.tokens_used then v_cap.capped_by end);
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
  'A quote: what an operation would deduct and cost, and which grants would pay; nothing is changed. For the user himself (leave p_user_id out), an admin, or the server. Arguments as of track_token_usage. Returns {tokens, cost_estimate (cents, NULL = unknown), sufficient, tokens_short, tokens_remaining, would_be_deducted_from: [{grant_id, grant_type, granted_at, deducted}]}. and capped_by {scope, window, limit, used, resets_at} where a spend cap allows less. Errors: invalid_action_type, invalid_usage, user_not_found, forbidden.';
revoke all on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_spend_caps.sql

/*
 * The caps that a user's next spending meets, tightest first: his own, his plan's, everyone's; in a
 * team those of the payer's account, and the member's.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows, and a member his payer's.
create or replace function private.get_spend_caps(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  perform private.require_user(p_user_id, v_actor.actor_role);
  select a.* into v_account
    from public.token_accounts a where a.user_id = private.paying_account(p_user_id);
  v_account.user_id := coalesce(v_account.user_id, p_user_id);
  return jsonb_build_object('caps', (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'scope', c.scope, 'window', c.spend_window, 'limit', c.tokens, 'used', c.used,
                 'resets_at', c.resets_at)
               order by c.tokens - c.used, c.resets_at desc),
             '[]')
      from private.spend_caps_of(v_account, nullif(p_user_id, v_account.user_id), clock_timestamp()) as c));
end
$$;
comment on function private.get_spend_caps(uuid) is 'See public.get_spend_caps.';
revoke all on function private.get_spend_caps(uuid) from public, anon, authenticated, service_role;
grant execute on function private.get_spend_caps(uuid) to authenticated, service_role;

create or replace function public.get_spend_caps(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.get_spend_caps(p_user_id);
end
$$;
comment on function public.get_spend_caps(uuid) is
  'The spend caps that a user is under now, tightest first. For the user himself (leave p_user_id out), an admin, or the server. Returns {caps: [{scope (user, plan, everyone, member), window (day, week, month), limit, used, resets_at}]}. Errors: user_not_found, forbidden.';
revoke all on function public.get_spend_caps(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_spend_caps(uuid) to authenticated, service_role;

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
         'original_id', t.original_id, 'member_id', t.member_id, 'metadata', t.metadata, 'created_at', t.created_at) as entry
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
         'original_id', null, 'member_id', null, 'metadata', h.metadata, 'created_at', h.created_at)
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
as $$
declare
  v_actor record;
  v_account_id uuid;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_account_id := private.paying_account(p_user_id);

  if not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform private.initialise(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if exists (
    select from public.user_subscriptions s
     where s.user_id = v_account_id and s.next_plan_type is not null and s.expires_at <= v_now)
  then
    perform private.take_up_next_plan(v_account_id);
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
      'plan_type', (select s.plan_type from public.user_subscriptions s where s.user_id = v_account_id),
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

-- from supabase/schemas/40_functions/list_team_members.sql

/*
 * Who draws, or drew, from a payer's account, and how much each has spent of it.
 * Caller: the payer for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.list_team_members(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  perform private.require_user(p_user_id, v_actor.actor_role);
  return jsonb_build_object('members', private.team_of(p_user_id));
end
$$;
comment on function private.list_team_members(uuid) is 'See public.list_team_members.';
revoke all on function private.list_team_members(uuid) from public, anon, authenticated, service_role;
grant execute on function private.list_team_members(uuid) to authenticated, service_role;

create or replace function public.list_team_members(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.list_team_members(p_user_id);
end
$$;
comment on function public.list_team_members(uuid) is
  'Who draws, or drew, from the account of a payer. For the payer himself (leave p_user_id out), an admin, or the server. Returns {members: [{member_id, since, until (NULL: still in it), tokens_used, caps: [{window, limit, used, resets_at}]}]}. Errors: user_not_found, forbidden.';
revoke all on function public.list_team_members(uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_team_members(uuid) to authenticated, service_role;

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

-- from supabase/schemas/40_functions/remove_team_member.sql

/*
 * Ends a membership: from now on the member spends from his own account again. Moves no tokens. A
 * hold that he has open stays on the payer's account and is settled there.
 * Caller: an admin, service_role.   Locks: both accounts, in the order of their ids.
 * Returns what list_team_members says of the member.
 * Errors: not_authenticated, forbidden, invalid_user_id, member_not_found, busy.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.remove_team_member(p_user_id uuid, p_member_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
  perform private.authorize(p_user_id, p_self_may => false);
  perform private.lock_accounts(array[p_user_id, p_member_id]);
  update public.team_members m
     set until = clock_timestamp()
   where m.user_id = p_user_id and m.member_id = p_member_id and m.until is null;
  if not found then
    perform private.refuse('member_not_found', '{}');
  end if;
  update public.token_accounts a
     set payer_id = null, updated_at = clock_timestamp()
   where a.user_id = p_member_id and a.payer_id = p_user_id;
  return private.team_of(p_user_id, p_member_id) -> 0;
end
$$;
comment on function private.remove_team_member(uuid, uuid) is 'See public.remove_team_member.';
revoke all on function private.remove_team_member(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.remove_team_member(uuid, uuid) to authenticated, service_role;

create or replace function public.remove_team_member(p_user_id uuid, p_member_id uuid)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.remove_team_member(p_user_id, p_member_id);
end
$$;
comment on function public.remove_team_member(uuid, uuid) is
  'Ends a membership in the team of p_user_id, the payer; the member spends from his own account again, and no tokens move. For an admin or the server. Returns {member_id, since, until, tokens_used, caps}. Errors: member_not_found, forbidden, busy.';
revoke all on function public.remove_team_member(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.remove_team_member(uuid, uuid) to authenticated, service_role;

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
    update public.token_accounts a
       set next_due_at = v_hold.expires_at
     where a.user_id = v_hold.user_id and v_hold.expires_at < coalesce(a.next_due_at, 'infinity');
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

-- from supabase/schemas/40_functions/set_spend_cap.sql

/*
 * Caps what may be spent in a day, a week or a month: by one user, by each user on a plan, or by
 * everyone (neither is named). p_tokens NULL takes the cap away. The tightest cap holds.
 * Safe while traffic runs: a user's cap is set under his account's lock, so what begins afterwards
 * meets it; a common one holds for whatever takes its lock afterwards. What was spent in the present
 * window counts.
 * Caller: an admin, service_role.   Locks: the account, where one user is named.
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
  elsif p_tokens is null then
    delete from public.default_spend_caps d
     where d.plan_type is not distinct from p_plan_type and d.spend_window = p_window;
  else
    insert into public.default_spend_caps as d (plan_type, spend_window, tokens, reason, actor_role, actor_id)
    values (p_plan_type, p_window, p_tokens, coalesce(p_reason, 'spend cap'), v_actor.actor_role, v_actor.actor_id)
    on conflict (plan_type, spend_window) do update
       set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
           actor_id = excluded.actor_id, updated_at = clock_timestamp();
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
    insert into public.token_usage
      (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate,
       success, error_message, metadata, created_at, cached_tokens, reasoning_tokens, images, seconds,
       tokens_uncovered, transaction_id, member_id)
    values
      ((v_spent.transaction).user_id, v_usage.id, v_usage.action_type, v_usage.model_used, v_usage.tokens_used,
       v_usage.input_tokens, v_usage.output_tokens, v_usage.cost_estimate,
       v_usage.success, v_usage.error_message, v_usage.metadata, (v_spent.transaction).created_at,
       v_usage.cached_tokens, v_usage.reasoning_tokens, v_usage.images, v_usage.seconds,
       v_spent.shortfall, (v_spent.transaction).id, (v_spent.transaction).member_id)
    returning tokens_uncovered into v_usage.tokens_uncovered;
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
           row_number() over by_number as nth,
           lag(t.created_at) over by_number as at_before
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
           -- a rollover into a grant without one out of a grant is what was lost and came back
           -sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')) as expired,
           coalesce(sum((t.metadata ->> 'total_cost')::numeric) filter (where t.entry_type = 'opening_balance'), 0) as opening_cost,
           coalesce(sum((t.metadata ->> 'tokens_used')::numeric) filter (where t.entry_type = 'opening_balance'), 0)
             - coalesce(sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0) as used
      from ledger t group by t.user_id
  ), spending as (
    -- what was spent or came back, and the moment it was taken: a cap's window is that one's
    select t.user_id, t.member_id, t.reserved_change - t.tokens as tokens, -t.tokens as used,
           case when o.id is null then t.created_at when o.reserved_change < 0 then h.created_at else o.created_at end as at
      from ledger t
      left join ledger o on o.user_id = t.user_id and o.id = t.original_id and t.entry_type in ('release', 'refund')
      left join holds h on h.user_id = o.user_id and h.id = o.hold_id
     where t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct'
  ), members as (
    select m.* from public.team_members m
     where (p_user_id is null or m.user_id = p_user_id)
       and (p_after is null or m.user_id > p_after)
       and (p_until is null or m.user_id <= p_until)
  ), counters as (
    select a.user_id, null::uuid as member_id, a.spent_at, null::bigint as tokens_used, a.spent_day, a.spent_week, a.spent_month
      from accounts a
    union all
    select m.user_id, m.member_id, m.spent_at, m.tokens_used, m.spent_day, m.spent_week, m.spent_month from members m
  ), spent as (
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id
     where c.member_id is null
    union all
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id and s.member_id = c.member_id
     where c.member_id is not null
  ), counted as (
    select s.user_id, s.member_id, s.tokens_used, s.spent_day, s.spent_week, s.spent_month,
           coalesce(sum(s.used), 0) as used,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', s.spent_at, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', s.spent_at, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', s.spent_at, 'UTC')), 0) as in_month
      from spent s
     group by s.user_id, s.member_id, s.tokens_used, s.spent_day, s.spent_week, s.spent_month
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
  select 'I3 a rollover makes no tokens', t.user_id, t.grant_ids[1], t.id,
         case when t.tokens < 0 then 'carried on as ' || -t.tokens
              else 'out of ' || coalesce(o.entry_type || ' ' || o.tokens, 'nothing') end,
         coalesce(o.tokens, 0)::text
    from ledger t
    left join ledger o on o.user_id = t.user_id
     and case when t.tokens < 0 then o.original_id = t.id and o.entry_type = 'rollover' else o.id = t.original_id end
   where t.entry_type = 'rollover'
     and case o.entry_type when 'rollover' then o.tokens <> -t.tokens when 'expiry' then o.tokens > -t.tokens else true end
  union all
  select 'I3 spent in this day, week and month', c.user_id, null, null,
         concat_ws(', ', 'member ' || c.member_id, c.in_day, c.in_week, c.in_month),
         concat_ws(', ', 'member ' || c.member_id, c.spent_day, c.spent_week, c.spent_month)
    from counted c
   where (c.spent_day, c.spent_week, c.spent_month) is distinct from (c.in_day, c.in_week, c.in_month)
  union all
  select 'I3 what a member used', c.user_id, null, null, 'member ' || c.member_id || ', ' || c.used, c.tokens_used::text
    from counted c
   where c.tokens_used <> c.used
  union all
  select 'I3 a member has one payer', m.user_id, null, null, m.user_id::text, coalesce(a.payer_id::text, 'none')
    from members m
    left join public.token_accounts a on a.user_id = m.member_id
   where (m.until is null) <> coalesce(a.payer_id = m.user_id, false)
  union all
  select 'I3 a member has one payer', a.user_id, null, null, 'in the team of ' || a.payer_id, 'none'
    from accounts a
   where a.payer_id is not null
     and not exists (
       select from public.team_members m
        where m.user_id = a.payer_id and m.member_id = a.user_id and m.until is null)
  union all
  select 'I4 who spent is of the team', t.user_id, null, t.id, 'a member', t.member_id::text
    from ledger t
    left join members m on m.user_id = t.user_id and m.member_id = t.member_id
   where t.member_id is not null and m.member_id is null
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
  union all
  -- a grant and the transaction that gave it; grants from before the books have none
  select 'I4 a grant is what its transaction gave', g.user_id, g.id, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'another'),
         differs.field || ' ' || coalesce(differs.found, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
   cross join lateral (values
     ('tokens_granted', t.tokens::text, g.tokens_granted::text),
     ('created_at', t.created_at::text, g.created_at::text),
     ('granted_at', least(g.granted_at, t.created_at)::text, g.granted_at::text),
     ('grant_type', case t.action_type
                      when 'trial_grant' then 'trial'
                      when 'token_pack_purchase' then 'purchase'
                      when 'admin_grant' then 'admin'
                      else nullif(g.grant_type, 'trial')
                    end, g.grant_type),
     -- a payment that came after its period had been granted stands in the grant alone
     ('payment_id', coalesce(t.payment_id, g.payment_id)::text, g.payment_id::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant begins with the one transaction that gave it', h.user_id, h.grant_id, h.first_id,
         'one transaction that gives it, the first',
         h.times || ' that give it, from ' || coalesce(h.given_id::text, 'none') || ' on'
    from (
      select a.user_id, a.grant_id, min(a.transaction_id) as first_id,
             min(a.transaction_id) filter (where a.entry_type in ('grant', 'opening_balance', 'restatement', 'refund', 'restoration', 'release', 'rollover')) as given_id,
             count(*) filter (where a.entry_type in ('grant', 'opening_balance')) as times
        from allocated a group by a.user_id, a.grant_id) h
   where h.given_id is distinct from h.first_id or h.times > 1
  union all
  select 'I9 a grant''s subscription is the user''s', g.user_id, g.id, t.id,
         coalesce(s.id::text, 'none'), coalesce(g.subscription_id::text, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
    left join public.user_subscriptions s on s.user_id = g.user_id
   where g.subscription_id is distinct from s.id
     and (g.subscription_id is not null or g.period_start is not null)
  union all
  select 'I9 a payment is the user''s', n.user_id, n.grant_id, n.transaction_id, 'payment ' || n.payment_id, 'none'
    from (
      select g.user_id, g.id as grant_id, null::bigint as transaction_id, g.payment_id from grants g
      union all
      select t.user_id, null, t.id, t.payment_id from ledger t) n
    left join public.payments p on p.user_id = n.user_id and p.id = n.payment_id
   where n.payment_id is not null and p.id is null
  union all
  -- each transaction by itself: what the constraints say, asked again of what is there
  select 'I4 an entry is of one kind', t.user_id, null, t.id,
         'sign, reserve, debt and action of ' || t.entry_type,
         concat_ws(' ', t.tokens, 'tokens', t.reserved_change, 'reserved', t.debt_change, 'debt', t.action_type)
    from ledger t
   where (case t.entry_type
            when 'opening_balance' then t.id = 1 and t.tokens >= 0
            when 'grant' then t.tokens > 0
            when 'deduction' then t.tokens < 0 and t.reserved_change in (0, t.tokens)
            when 'expiry' then t.tokens < 0
            when 'clawback' then t.tokens <= 0 and t.debt_change >= 0
            when 'restoration' then t.tokens >= 0 and t.debt_change <= 0
            when 'debt_repayment' then t.tokens < 0 and t.debt_change = t.tokens
            when 'usage' then t.tokens = 0
            when 'restatement' then t.tokens <> 0
            when 'hold' then t.tokens = 0 and t.reserved_change > 0
            when 'release' then t.tokens = 0 and t.reserved_change < 0
            when 'refund' then t.tokens > 0
            when 'void' then t.tokens <= 0
            when 'rollover' then t.tokens <> 0
          end
          and (t.debt_change = 0 or t.entry_type in ('clawback', 'restoration', 'debt_repayment'))
          and (t.reserved_change = 0 or t.entry_type in ('deduction', 'hold', 'release'))
          and case
                when t.entry_type in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
                  then t.action_type = t.entry_type
                when t.action_type in ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant')
                  then t.entry_type = 'grant'
                else t.entry_type <> 'grant'
                  and t.action_type not in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
              end) is not true
  union all
  select 'I4 an entry undoes what came before', t.user_id, null, t.id, 'before ' || t.id, t.original_id::text
    from ledger t where t.original_id not between 1 and t.id - 1
  union all
  select 'I4 usage and transaction say the same', u.user_id, null, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from usages u
    left join ledger t on t.user_id = u.user_id and t.id = u.transaction_id
   cross join lateral (values
     ('usage_id', coalesce(t.usage_id::text, 'none'), u.id::text),
     ('action_type', t.action_type, u.action_type),
     ('created_at', t.created_at::text, u.created_at::text),
     ('member_id', t.member_id::text, u.member_id::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  -- a hold and its entries
  select 'I4 a hold is what its entry says', h.user_id, null, h.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from holds h
    left join ledger t on t.user_id = h.user_id and t.id = h.transaction_id and t.entry_type = 'hold'
    left join ledger c on c.user_id = h.user_id and c.id = h.capture_id
    left join ledger o on o.user_id = h.user_id and o.id = h.overage_id
   cross join lateral (values
     ('hold_id', t.hold_id::text, h.id::text),
     ('tokens', t.reserved_change::text, h.tokens::text),
     ('grant_ids', t.grant_ids::text, h.grant_ids::text),
     ('grant_tokens', t.grant_tokens::text, h.grant_tokens::text),
     ('action_type', t.action_type, h.action_type),
     ('actor_role', t.actor_role, h.actor_role),
     ('created_at', t.created_at::text, h.created_at::text),
     ('member_id', t.member_id::text, h.member_id::text),
     ('capture_id', case when h.capture_id is not null then coalesce(c.hold_id::text, 'another''s') end,
                    case when h.capture_id is not null then h.id::text end),
     ('captured_from', coalesce(h.grant_ids[:cardinality(c.grant_ids)]::text, 'none'), coalesce(c.grant_ids::text, 'none')),
     ('overage_id', case when h.overage_id is not null then coalesce(o.hold_id::text, 'another''s') end,
                    case when h.overage_id is not null then h.id::text end),
     ('usage_id', c.usage_id::text, h.usage_id::text),
     ('settled_at', case when h.status = 'open' then null else coalesce(c.created_at, h.settled_at)::text end,
                    h.settled_at::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 an entry of a hold is like it', t.user_id, null, t.id,
         coalesce('for ' || h.action_type, 'no hold'), concat_ws(' ', 'for', t.action_type, 'of hold', t.hold_id)
    from ledger t
    left join holds h on h.user_id = t.user_id and h.id = t.hold_id
   where case when t.hold_id is not null then (h.action_type, h.member_id) is distinct from (t.action_type, t.member_id)
              else t.entry_type in ('hold', 'release') end
  union all
  select 'I4 a refund is of its charge', t.user_id, null, t.id,
         concat_ws(' ', 'a deduction', o.action_type, o.usage_id, o.hold_id),
         concat_ws(' ', coalesce(o.entry_type, 'none'), t.action_type, t.usage_id, t.hold_id)
    from ledger t
    left join ledger o on o.user_id = t.user_id and o.id = t.original_id
   where t.entry_type = 'refund'
     and (o.entry_type, o.action_type, o.usage_id, o.hold_id, o.member_id)
         is distinct from ('deduction', t.action_type, t.usage_id, t.hold_id, t.member_id)
  union all
  -- keys
  select 'I5 one key, one effect', t.user_id, null, max(t.id), '1 for key ' || t.idempotency_key, count(*)::text
    from ledger t where t.idempotency_key is not null
   group by t.user_id, t.member_id, t.idempotency_key, (t.actor_role = 'user')
  having count(*) > 1
  union all
  select 'I5 a key keeps its request', t.user_id, null, t.id,
         case when t.idempotency_key is null then 'no request' else 'a request' end,
         case when t.request is null then 'no request' else 'a request' end
    from ledger t where (t.idempotency_key is null) <> (t.request is null)
  union all
  -- the order of time; a minute is left to a clock that was set back, or a standby's that was behind
  select 'I7 transactions are booked in the order of time', t.user_id, null, t.id,
         'from ' || coalesce(t.at_before, '-infinity') || ' to now', t.created_at::text
    from ledger t
   where t.created_at < t.at_before - interval '1 minute'
      or t.created_at > clock_timestamp() + interval '1 minute'
  union all
  -- who and why
  select 'I10 a change has an actor', t.user_id, null, t.id,
         'the user himself, an admin by his id, service or system without one',
         concat_ws(' ', t.actor_role, coalesce(t.actor_id::text, 'without an id'))
    from ledger t
   where (case t.actor_role
            when 'user' then t.actor_id = coalesce(t.member_id, t.user_id)
            when 'admin' then t.actor_id is not null
            when 'service' then t.actor_id is null
            when 'system' then t.actor_id is null
          end) is not true
  union all
  select 'I10 a change has a reason', t.user_id, null, t.id, '1 to 500 characters', coalesce(length(t.reason), 0)::text
    from ledger t where (length(t.reason) between 1 and 500) is not true
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

-- from supabase/schemas/70_privileges.sql

/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything is taken away by name first, then given.
 *
 *                                   anon   authenticated        service_role
 *   tables and views (public)       -      select (own rows)    select
 *   token_plans                     select select               select
 *   ai_model_prices,                -      select               select
 *   ai_action_costs
 *   token_alert_rules               -      select (his, common) select
 *   tables (private)                -      -                    -
 *   deduct_tokens_with_fifo         -      execute (himself)    execute
 *   get_user_token_balance          -      execute (himself)    execute
 *   get_token_history,              -      execute (himself)    execute
 *   get_token_balance_as_of
 *   get_user_storage_quota          -      execute (himself)    execute
 *   create_payment                  -      execute (himself)    execute
 *   track_token_usage,              -      execute (himself)    execute
 *   estimate_tokens,
 *   explain_token_charge
 *   get_spend_caps,                 -      execute (himself)    execute
 *   list_team_members
 *   reserve_, capture_,             -      execute (himself)    execute
 *   release_tokens
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   refund_tokens, void_grant       -      execute (admins)     execute
 *   set_spend_cap                   -      execute (admins)     execute
 *   add_, remove_team_member        -      execute (admins)     execute
 *   set_auto_top_up                 -      execute (himself)    execute
 *   settle_top_up                   -      execute (admins)     execute
 *   set_, remove_token_alert_rule,  -      execute (admins)     execute
 *   retry_token_alerts
 *   approve_, reject_, refund_pay.  -      execute (admins)     execute
 *   upgrade_plan, renew_subscr.     -      execute (admins)     execute
 *   parked payments, reports,       -      execute (admins)     execute
 *   verify_token_ledger,
 *   reconcile_, find_discrepancies,
 *   replay_token_balances
 *   restate_token_balances,         -      execute (admins)     execute
 *   reverse_restatement
 *   expire_old_token_grants         -      -                    execute
 *   record_provider_event           -      -                    execute
 *   set_burn_order                  -      -                    execute
 *   deduct_tokens_batch             -      -                    execute
 *   arm_, claim_token_alerts,       -      -                    execute
 *   settle_token_alert
 *   all other functions (private)   -      -                    -
 *
 * "Himself" and "admins" are checked in private.authorize; an admin may do for anyone what a user
 * may do for himself. No role writes a table except through the functions. user_profiles belongs
 * to the app and is not in it.
 */
revoke all on schema private from public, anon, authenticated, service_role;
grant usage on schema private to authenticated, service_role;

revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on all functions in schema private from public, anon, authenticated, service_role;

revoke all on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.token_holds,
  public.token_spend_caps,
  public.default_spend_caps,
  public.team_members,
  public.token_alerts,
  public.token_alert_rules,
  public.token_top_ups,
  public.token_top_up_requests,
  public.user_storage,
  public.token_plans,
  public.ai_model_prices,
  public.ai_action_costs,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
from public, anon, authenticated, service_role;

grant select on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.token_holds,
  public.token_spend_caps,
  public.default_spend_caps,
  public.team_members,
  public.token_alerts,
  public.token_alert_rules,
  public.token_top_ups,
  public.token_top_up_requests,
  public.user_storage,
  public.token_plans,
  public.ai_model_prices,
  public.ai_action_costs,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
to authenticated, service_role;
grant select on table public.token_plans to anon;

-- the security definer halves of the public functions
grant execute on function
  private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  private.track_token_usage(public.token_usage, text, text),
  private.estimate_tokens(public.token_usage),
  private.explain_token_charge(uuid, uuid, bigint),
  private.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  private.capture_tokens(public.token_usage, uuid, bigint, text),
  private.release_tokens(uuid, uuid),
  private.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  private.void_grant(uuid, uuid, text, boolean, text),
  private.set_token_alert_rule(public.token_alert_rules),
  private.remove_token_alert_rule(text, text, uuid),
  private.retry_token_alerts(uuid),
  private.set_auto_top_up(public.token_top_ups),
  private.settle_top_up(uuid, uuid, text, text),
  private.get_user_token_balance(uuid),
  private.get_token_history(uuid, integer, bigint),
  private.get_token_balance_as_of(uuid, timestamptz),
  private.get_spend_caps(uuid),
  private.set_spend_cap(text, bigint, uuid, text, text),
  private.list_team_members(uuid),
  private.add_team_member(uuid, uuid, bigint, bigint, bigint),
  private.remove_team_member(uuid, uuid),
  private.get_user_storage_quota(uuid),
  private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  private.adjust_tokens(uuid, bigint, text, text, jsonb),
  private.create_payment(uuid, text, text),
  private.approve_payment(uuid, uuid, text),
  private.reject_payment(uuid, uuid, text),
  private.refund_payment(uuid, uuid, text, bigint),
  private.upgrade_plan(uuid, text, text, text, text),
  private.renew_subscription(uuid, timestamptz),
  private.assign_parked_payment(text, text, uuid, text),
  private.list_parked_payments(),
  private.check_token_synchronization(),
  private.verify_token_ledger(uuid, uuid, uuid),
  private.replay_token_balances(uuid, uuid, uuid),
  private.restate_token_balances(uuid, text, text),
  private.reverse_restatement(uuid, bigint, text, text),
  private.reconcile_user_token_balance(uuid),
  private.find_token_discrepancies(bigint, uuid, uuid),
  private.get_users_without_balance(),
  private.get_recent_token_usage(integer, integer),
  private.get_users_with_low_balance(bigint, integer),
  private.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  private.deduct_tokens_batch(jsonb, boolean),
  private.set_burn_order(text),
  private.arm_token_alerts(integer),
  private.claim_token_alerts(integer, integer),
  private.settle_token_alert(uuid, bigint, uuid, text),
  private.expire_old_token_grants(integer),
  private.record_provider_event(text, text, text, text, jsonb)
to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.deduct_tokens_batch(jsonb, boolean),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean),
  public.remove_token_alert_rule(text, text, uuid),
  public.retry_token_alerts(uuid),
  public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer),
  public.settle_top_up(uuid, uuid, text, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_token_balance_as_of(uuid, timestamptz),
  public.get_spend_caps(uuid),
  public.set_spend_cap(text, bigint, uuid, text, text),
  public.list_team_members(uuid),
  public.add_team_member(uuid, uuid, bigint, bigint, bigint),
  public.remove_team_member(uuid, uuid),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.replay_token_balances(uuid, uuid, uuid),
  public.restate_token_balances(uuid, text, text),
  public.reverse_restatement(uuid, bigint, text, text),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer),
  public.record_provider_event(text, text, text, text, jsonb)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean),
  public.remove_token_alert_rule(text, text, uuid),
  public.retry_token_alerts(uuid),
  public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer),
  public.settle_top_up(uuid, uuid, text, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_token_balance_as_of(uuid, timestamptz),
  public.get_spend_caps(uuid),
  public.set_spend_cap(text, bigint, uuid, text, text),
  public.list_team_members(uuid),
  public.add_team_member(uuid, uuid, bigint, bigint, bigint),
  public.remove_team_member(uuid, uuid),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.replay_token_balances(uuid, uuid, uuid),
  public.restate_token_balances(uuid, text, text),
  public.reverse_restatement(uuid, bigint, text, text),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  public.deduct_tokens_batch(jsonb, boolean),
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.record_provider_event(text, text, text, text, jsonb)
to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.deduct_tokens_batch(jsonb, boolean),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean),
  public.remove_token_alert_rule(text, text, uuid),
  public.retry_token_alerts(uuid),
  public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer),
  public.settle_top_up(uuid, uuid, text, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_spend_caps(uuid),
  public.set_spend_cap(text, bigint, uuid, text, text),
  public.list_team_members(uuid),
  public.add_team_member(uuid, uuid, bigint, bigint, bigint),
  public.remove_team_member(uuid, uuid),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer),
  public.record_provider_event(text, text, text, text, jsonb)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric),
  public.estimate_tokens(uuid, text, text, bigint, bigint, bigint, bigint, bigint, integer, numeric),
  public.explain_token_charge(uuid, uuid, bigint),
  public.reserve_tokens(uuid, bigint, integer, text, text, jsonb),
  public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric),
  public.release_tokens(uuid, uuid),
  public.refund_tokens(uuid, bigint, bigint, text, text, text, integer),
  public.void_grant(uuid, uuid, text, boolean, text),
  public.set_token_alert_rule(text, text, bigint, integer, integer, text, uuid, boolean, boolean),
  public.remove_token_alert_rule(text, text, uuid),
  public.retry_token_alerts(uuid),
  public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer),
  public.settle_top_up(uuid, uuid, text, text),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_spend_caps(uuid),
  public.set_spend_cap(text, bigint, uuid, text, text),
  public.list_team_members(uuid),
  public.add_team_member(uuid, uuid, bigint, bigint, bigint),
  public.remove_team_member(uuid, uuid),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.create_payment(uuid, text, text),
  public.approve_payment(uuid, uuid, text),
  public.reject_payment(uuid, uuid, text),
  public.refund_payment(uuid, uuid, text, bigint),
  public.upgrade_plan(uuid, text, text, text, text),
  public.renew_subscription(uuid, timestamptz),
  public.assign_parked_payment(text, text, uuid, text),
  public.list_parked_payments(),
  public.check_token_synchronization(),
  public.verify_token_ledger(uuid, uuid, uuid),
  public.reconcile_user_token_balance(uuid),
  public.find_token_discrepancies(bigint, uuid, uuid),
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  public.deduct_tokens_batch(jsonb, boolean),
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.record_provider_event(text, text, text, text, jsonb)
to service_role;

-- what has been spent in the present day, week and month; accounts first, as always
do $$
begin
  perform from public.token_accounts a order by a.user_id for no key update;
  perform private.count_spending(
    array(
      select distinct t.user_id from public.token_transactions t
       where t.created_at >= least(date_trunc('month', clock_timestamp(), 'UTC'), date_trunc('week', clock_timestamp(), 'UTC'))),
    clock_timestamp());
end
$$;
