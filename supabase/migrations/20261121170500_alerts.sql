/*
 * Alerts and automatic top-up: rules, the marks on each account by which a change of the balance knows
 * whether it concerns anybody, an outbox that is written in the same transaction, and its delivery.
 *
 * Existing accounts begin without marks. As long as there is no rule, nothing looks for one; once there
 * is, each account is brought up to it by whoever touches it next, or by arm_token_alerts.
 */
-- squawk-ignore-file require-concurrent-index-creation

alter table public.token_accounts
  add column alert_below bigint,
  add column alert_above bigint,
  add column next_alert_at timestamptz,
  add column warns_of_expiry boolean not null default false,
  add column alerts_version bigint not null default 0,
  add column last_alert_id bigint not null default 0;
comment on column public.token_accounts.next_due_at is 'Nothing changes by itself before this moment: no grant or hold of his runs out, and no alert falls due. NULL when nothing will. May be early, never late.';
comment on column public.token_accounts.alert_below is 'The next threshold below: an alert, or a top-up, is looked for when fewer tokens than this remain. NULL = none.';
comment on column public.token_accounts.alert_above is 'The next threshold above: something is armed again when this many remain. NULL = none.';
comment on column public.token_accounts.next_alert_at is 'When the next alert falls due by time alone: a warning of an expiry, or the end of a cooldown. NULL = none.';
comment on column public.token_accounts.warns_of_expiry is 'Whether a rule wants to know of grants that run out.';
comment on column public.token_accounts.alerts_version is 'Of which rules these marks are; behind private.alert_rule_versions: unknown, and set anew by whoever touches the account next.';
comment on column public.token_accounts.last_alert_id is 'Number of his newest alert (token_alerts); whoever watches this row sees it in the commit that raises it.';
create index token_accounts_alerts_version_idx on public.token_accounts (alerts_version);

-- from supabase/schemas/20_tables/alert_rule_versions.sql

-- How often the rules have changed. An account whose own number is another has marks of older rules;
-- whoever touches it next sets them anew. No row: there never was a rule.
create table private.alert_rule_versions (
  is_current boolean primary key default true,
  version bigint not null,
  constraint alert_rule_versions_has_one_row check (is_current)
);
comment on table private.alert_rule_versions is
  'How often token_alert_rules has changed: one row, or none while there never was a rule.';
comment on column private.alert_rule_versions.is_current is 'Always true: there is one row.';
comment on column private.alert_rule_versions.version is 'Counts up with every change.';
alter table private.alert_rule_versions enable row level security;

-- from supabase/schemas/20_tables/token_alert_rules.sql

-- When to raise an alert, and for whom: for everyone, for a plan, or for one user. Of the rules of one
-- name the closest holds for a user: his own, else his plan's, else everyone's.
create table public.token_alert_rules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid,
  plan_type text references public.token_plans (plan_type),
  rule text not null,
  kind text not null,
  threshold_tokens bigint,
  threshold_percent integer,
  hours integer,
  notify_recovered boolean not null default false,
  is_enabled boolean not null default true,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_alert_rules_key unique nulls not distinct (user_id, plan_type, rule),
  constraint token_alert_rules_concern_a_user_or_a_plan check (num_nonnulls(user_id, plan_type) <= 1),
  constraint token_alert_rules_name_is_plain check (rule ~ '^[a-z][a-z0-9_]{0,63}$' and rule <> 'auto_top_up'),
  constraint token_alert_rules_tokens_are_within_limits check (threshold_tokens between 1 and 1000000000000),
  constraint token_alert_rules_percent_is_one check (threshold_percent between 1 and 100),
  constraint token_alert_rules_hours_are_within_a_year check (hours between 1 and 8760),
  constraint token_alert_rules_say_what_their_kind_needs check (
    case kind
      when 'dropped' then num_nonnulls(threshold_tokens, threshold_percent) = 1 and hours is null
      when 'depleted' then num_nonnulls(threshold_tokens, threshold_percent, hours) = 0
      when 'expiring_soon' then
        num_nonnulls(threshold_tokens, threshold_percent) = 0 and hours is not null and not notify_recovered
      else false
    end)
);
comment on table public.token_alert_rules is
  'When to raise an alert, for everyone, a plan or a user; of the rules of one name the closest holds. Written by set_token_alert_rule and remove_token_alert_rule.';
comment on column public.token_alert_rules.id is 'The rule as a row.';
comment on column public.token_alert_rules.user_id is 'The user whom it is for; NULL = not for one alone.';
comment on column public.token_alert_rules.plan_type is 'The plan whose users it is for; NULL = any.';
comment on column public.token_alert_rules.rule is 'Its name: what an alert says, and what one rule replaces another by.';
comment on column public.token_alert_rules.kind is 'dropped (below a threshold), depleted (at 0), expiring_soon (a grant runs out within hours).';
comment on column public.token_alert_rules.threshold_tokens is 'dropped: raised when fewer tokens than this can be spent.';
comment on column public.token_alert_rules.threshold_percent is 'dropped: the same as a share of the mark (user_subscriptions.tokens_limit); without a subscription the rule does not apply.';
comment on column public.token_alert_rules.hours is 'expiring_soon: how long before a grant''s expiry.';
comment on column public.token_alert_rules.notify_recovered is 'Whether the end of an alert is an alert too.';
comment on column public.token_alert_rules.is_enabled is 'False: nothing is raised; a user''s or a plan''s own rule mutes the wider one of its name so.';
comment on column public.token_alert_rules.updated_at is 'When it was last set.';

create index token_alert_rules_plan_idx on public.token_alert_rules (plan_type) where plan_type is not null;

alter table public.token_alert_rules enable row level security;
create policy "Users read the rules that may concern them" on public.token_alert_rules
  for select to authenticated
  using (user_id is null or (select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_alert_states.sql

-- On which side of each threshold a user is, and whether he was told.
create table private.token_alert_states (
  user_id uuid not null,
  rule text not null,
  threshold bigint,
  is_below boolean not null,
  is_raised boolean not null default false,
  epoch bigint not null default 0,
  changed_in xid8,
  changed_at timestamptz not null,
  constraint token_alert_states_pkey primary key (user_id, rule)
);
comment on table private.token_alert_states is
  'On which side of each threshold a user is, and whether he was told. Written under his account''s lock.';
comment on column private.token_alert_states.user_id is 'The user.';
comment on column private.token_alert_states.rule is 'The rule''s name; auto_top_up for the top-up.';
comment on column private.token_alert_states.threshold is 'The threshold in tokens when this was noted; NULL = the rule did not apply.';
comment on column private.token_alert_states.is_below is 'Whether fewer tokens than that could be spent.';
comment on column private.token_alert_states.is_raised is 'Whether an alert was raised when it last went below.';
comment on column private.token_alert_states.epoch is 'How often an alert was raised: dropped and the recovered that ends it share the number.';
comment on column private.token_alert_states.changed_in is 'The database transaction that moved it to this side; what it moves back never happened.';
comment on column private.token_alert_states.changed_at is 'When.';
alter table private.token_alert_states enable row level security;

-- from supabase/schemas/20_tables/token_alerts.sql

-- Alerts, and the outbox that they are delivered from: one row for each crossing, written in the
-- transaction that crosses.
create table public.token_alerts (
  user_id uuid not null,
  id bigint not null,
  kind text not null,
  rule text not null,
  epoch bigint,
  grant_id uuid,
  request_id uuid,
  payload jsonb not null,
  created_at timestamptz not null,
  delivery text not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  claim_id uuid,
  last_error text,
  settled_at timestamptz,
  constraint token_alerts_pkey primary key (user_id, id),
  constraint token_alerts_are_numbered_from_one check (id >= 1),
  constraint token_alerts_say_what_about check (
    case kind
      when 'dropped' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'depleted' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'recovered' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'expiring_soon' then grant_id is not null and num_nonnulls(epoch, request_id) = 0
      when 'top_up_requested' then request_id is not null and num_nonnulls(epoch, grant_id) = 0
      else false
    end),
  constraint token_alerts_delivery_is_known check (
    case delivery
      when 'pending' then next_attempt_at is not null and settled_at is null
      when 'delivered' then next_attempt_at is null and settled_at is not null
      when 'given_up' then next_attempt_at is null and settled_at is not null
      else false
    end)
) with (fillfactor = 90);
comment on table public.token_alerts is
  'Alerts, one row for each crossing, written in the transaction that crosses; and how far their delivery has come. Written by the functions only.';
comment on column public.token_alerts.user_id is 'The user. No foreign key: what he was told outlives him.';
comment on column public.token_alerts.id is 'The alert''s number among the user''s: 1, 2, 3, … token_accounts.last_alert_id names the newest.';
comment on column public.token_alerts.kind is 'dropped, depleted, recovered, expiring_soon, or top_up_requested.';
comment on column public.token_alerts.rule is 'The name of the rule; auto_top_up for a top-up.';
comment on column public.token_alerts.epoch is 'Which time this rule was raised for him; a recovered has the number of what it ends.';
comment on column public.token_alerts.grant_id is 'expiring_soon: the grant.';
comment on column public.token_alerts.request_id is 'top_up_requested: the request.';
comment on column public.token_alerts.payload is 'What is delivered: tokens_remaining, tokens_limit, plan_type, transaction_id (his newest then), and by kind threshold_tokens, threshold_percent, grant_id, grant_tokens, expires_at, request_id, tokens.';
comment on column public.token_alerts.created_at is 'When it was raised.';
comment on column public.token_alerts.delivery is 'pending; delivered (the receiver has said so); given_up (too many attempts, or too old).';
comment on column public.token_alerts.attempts is 'How often its delivery was begun.';
comment on column public.token_alerts.next_attempt_at is 'When it is due to be sent (again); while it is being sent, when that counts as lost.';
comment on column public.token_alerts.claim_id is 'Who is sending it, or sent it last.';
comment on column public.token_alerts.last_error is 'Why the last attempt failed.';
comment on column public.token_alerts.settled_at is 'When it was delivered or given up.';

-- a crossing is written once, and so is a warning about a grant
create unique index token_alerts_crossing_key
  on public.token_alerts (user_id, rule, epoch, (kind = 'recovered')) where epoch is not null;
create unique index token_alerts_grant_key
  on public.token_alerts (user_id, rule, grant_id) where grant_id is not null;
create index token_alerts_outbox_idx on public.token_alerts (next_attempt_at) where delivery = 'pending';

alter table public.token_alerts enable row level security;
create policy "Users read their own alerts" on public.token_alerts
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_top_up_requests.sql

-- One row a request for more tokens. The charge is the server's business; here is what was asked for
-- and what came of it.
create table public.token_top_up_requests (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'pending',
  tokens bigint,
  plan_type text references public.token_plans (plan_type),
  reason text,
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint token_top_up_requests_pkey primary key (user_id, id),
  constraint token_top_up_requests_ask_for_tokens_or_a_plan check (num_nonnulls(tokens, plan_type) = 1),
  constraint token_top_up_requests_reason_is_given check (length(reason) between 1 and 500),
  constraint token_top_up_requests_are_settled_once check (
    case status
      when 'pending' then settled_at is null
      when 'done' then settled_at is not null
      when 'failed' then settled_at is not null
      else false
    end)
);
comment on table public.token_top_up_requests is
  'Requests for more tokens, one at a time per user; settled by the server that charges. Written by the functions only.';
comment on column public.token_top_up_requests.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_top_up_requests.id is 'The request; unique per user. A good idempotency key for the charge.';
comment on column public.token_top_up_requests.status is 'pending; then once and for ever done or failed.';
comment on column public.token_top_up_requests.tokens is 'Tokens to buy; or a plan.';
comment on column public.token_top_up_requests.plan_type is 'The plan to buy; or tokens.';
comment on column public.token_top_up_requests.reason is 'What the server said of its outcome.';
comment on column public.token_top_up_requests.created_at is 'When it was asked for.';
comment on column public.token_top_up_requests.settled_at is 'When the server said what came of it.';

-- whatever else goes wrong, nobody is charged twice at a time
create unique index token_top_up_requests_one_pending_key
  on public.token_top_up_requests (user_id) where status = 'pending';
create index token_top_up_requests_time_idx on public.token_top_up_requests (user_id, created_at);
create index token_top_up_requests_plan_idx
  on public.token_top_up_requests (plan_type) where plan_type is not null;

alter table public.token_top_up_requests enable row level security;
create policy "Users read their own top-up requests" on public.token_top_up_requests
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_top_ups.sql

-- Whether and how a user's tokens are to be topped up by themselves. One row a user.
create table public.token_top_ups (
  user_id uuid primary key,
  is_enabled boolean not null,
  below_tokens bigint not null,
  tokens bigint,
  plan_type text references public.token_plans (plan_type),
  cooldown_seconds integer not null,
  max_requests integer not null,
  window_seconds integer not null,
  paused_at timestamptz,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_top_ups_threshold_is_within_limits check (below_tokens between 1 and 1000000000000),
  constraint token_top_ups_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_top_ups_buy_tokens_or_a_plan check (num_nonnulls(tokens, plan_type) = 1),
  constraint token_top_ups_cooldown_is_within_limits check (cooldown_seconds between 30 and 2592000),
  constraint token_top_ups_cap_is_within_limits check (max_requests between 1 and 100),
  constraint token_top_ups_window_is_within_limits check (window_seconds between 60 and 2592000)
);
comment on table public.token_top_ups is
  'Automatic top-up: when to ask for more tokens, for how many, and how often at most. Written by the functions only.';
comment on column public.token_top_ups.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_top_ups.is_enabled is 'Whether he wants it.';
comment on column public.token_top_ups.below_tokens is 'Asked for when fewer tokens than this can be spent.';
comment on column public.token_top_ups.tokens is 'Tokens to buy; or a plan.';
comment on column public.token_top_ups.plan_type is 'The plan to buy; or tokens.';
comment on column public.token_top_ups.cooldown_seconds is 'Seconds from the last request, or from its outcome, to the next at least.';
comment on column public.token_top_ups.max_requests is 'Requests in window_seconds at most.';
comment on column public.token_top_ups.window_seconds is 'The window of max_requests.';
comment on column public.token_top_ups.paused_at is 'Since when nothing is asked for, because a charge has failed; until it is set anew.';
comment on column public.token_top_ups.updated_at is 'When it was last set, or paused.';

create index token_top_ups_plan_idx on public.token_top_ups (plan_type) where plan_type is not null;

alter table public.token_top_ups enable row level security;
create policy "Users read their own top-up" on public.token_top_ups
  for select to authenticated
  using ((select auth.uid()) = user_id);

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
      ('invalid_alert_rule', 'PT400', 'Say what the rule''s kind needs, and nothing else.'),
      ('invalid_top_up', 'PT400', 'Say below how many tokens to ask, and for how many tokens or which plan.'),
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
      ('top_up_request_not_found', 'PT404', 'There is no such top-up request of that user.'),
      ('top_up_already_settled', 'PT409', 'The request has been settled otherwise. Nothing was changed.'),
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

-- from supabase/schemas/40_books/alert_rules_of.sql

/*
 * The rules that hold for a user now: of each name the closest one (his own, his plan's, everyone's),
 * unless that one is switched off. threshold is in tokens: a share of the mark is brought to the next
 * whole token above, so that "fewer than" means the same; NULL for expiring_soon.
 * Caller: internal.
 */
create or replace function private.alert_rules_of(p_user_id uuid)
returns table (rule text, kind text, threshold bigint, threshold_percent integer, hours integer, notify_recovered boolean)
language plpgsql
volatile -- it must see rules that were changed while the caller waited for the lock
security invoker
set search_path = ''
as $$
declare
  v_subscription public.user_subscriptions;
begin
  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  return query
  select closest.rule, closest.kind,
         case closest.kind
           when 'depleted' then 1
           when 'dropped' then
             coalesce(closest.threshold_tokens,
                      ceil(v_subscription.tokens_limit * closest.threshold_percent / 100.0)::bigint)
         end,
         closest.threshold_percent, closest.hours, closest.notify_recovered
    from (
      select distinct on (r.rule) r.*
        from public.token_alert_rules r
       where r.user_id = p_user_id
          or (r.user_id is null and (r.plan_type is null or r.plan_type = v_subscription.plan_type))
       order by r.rule, r.user_id nulls last, r.plan_type nulls last) closest
   where closest.is_enabled
     -- without a subscription there is no mark to have a share of
     and (closest.threshold_percent is null or v_subscription.user_id is not null);
end
$$;
comment on function private.alert_rules_of(uuid) is
  'The alert rules that hold for a user, the closest of each name, with its threshold in tokens.';
revoke all on function private.alert_rules_of(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/book.sql

/*
 * Writes one transaction: the account's totals and the ledger row in one statement, so that no
 * code path can write one without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here. p_cost is
 * what the operation behind it cost, in cents.
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
begin
  with account as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + v_change,
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
    returning a.last_transaction_id, a.tokens_remaining as balance,
              a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above
                or (a.warns_of_expiry and v_change > 0)
                or a.alerts_version <> (select v.version from private.alert_rule_versions v) as has_passed
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
  returning t as transaction, (select account.has_passed from account) into v_booked;
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
                or a.alerts_version <> (select v.version from private.alert_rule_versions v) as has_passed
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

-- from supabase/schemas/40_books/cross_thresholds.sql

/*
 * Finds which thresholds a user's balance has crossed, and writes an alert for each: dropped or
 * depleted when fewer tokens than the threshold remain and there were not fewer before; recovered,
 * where the rule asks for it, when that ends. p_before is the balance before the entry that called;
 * p_rules_changed: the rules are others than when this account was last looked at.
 *
 * What counts is where the balance was at the last commit. A crossing that the same transaction takes
 * back (a renewal books an expiry, then the grant) is taken out of the outbox again: nobody ever had
 * that balance.
 * A rule that is new or was changed, and a mark that moved, raise nothing by themselves; from then on
 * they count.
 * Caller: internal, holding the account's lock.   Returns the next thresholds on either side.
 */
create or replace function private.cross_thresholds(
  p_account public.token_accounts,
  p_before bigint,
  p_at timestamptz,
  p_rules_changed boolean,
  out alert_below bigint,
  out alert_above bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_rule record;
  v_rules text[] := '{}';
  v_state private.token_alert_states;
  v_stood private.token_alert_states;
  v_alert public.token_alerts;
  v_was_below boolean;
begin
  for v_rule in
    select r.* from private.alert_rules_of(p_account.user_id) as r
     where r.threshold is not null
     -- in the order in which they were passed
     order by case when p_account.tokens_remaining < p_before then -r.threshold else r.threshold end, r.rule
  loop
    v_rules := v_rules || v_rule.rule;
    select s.* into v_stood from private.token_alert_states s
     where s.user_id = p_account.user_id and s.rule = v_rule.rule;
    v_state := v_stood;
    v_state.threshold := v_rule.threshold;
    v_state.is_below := p_account.tokens_remaining < v_rule.threshold;
    v_was_below := case when v_stood.threshold = v_rule.threshold then v_stood.is_below
                        else p_before < v_rule.threshold end;
    v_alert := null;

    if v_state.is_below <> v_stood.is_below
      and v_stood.changed_in = pg_current_xact_id() and v_stood.changed_at >= now()
    then
      -- taken back
      if v_stood.is_raised then
        delete from public.token_alerts t
         where t.user_id = p_account.user_id and t.rule = v_rule.rule and t.epoch = v_stood.epoch
           and (t.kind = 'recovered') = not v_stood.is_below;
        v_state.epoch := v_stood.epoch - v_stood.is_below::integer;
      end if;
      v_state.changed_in := null;
    elsif v_state.is_below and not v_was_below then
      v_state.epoch := coalesce(v_stood.epoch, 0) + 1;
      v_state.is_raised := true;
      v_state.changed_in := pg_current_xact_id();
      v_alert.kind := v_rule.kind;
    elsif v_was_below and not v_state.is_below then
      v_state.changed_in := pg_current_xact_id();
      -- below by a rule that is new: nobody was told, whatever he was told of the one before
      v_state.is_raised := v_stood.is_below and v_stood.is_raised;
      if v_rule.notify_recovered and v_state.is_raised then
        v_alert.kind := 'recovered';
      end if;
    elsif v_state.is_below and v_stood.is_below is distinct from true then
      v_state.is_raised := false; -- it was not the balance that moved, but the threshold: now, or at some time before
      v_state.changed_in := case when not p_rules_changed then pg_current_xact_id() end;
    end if;

    if v_alert.kind is not null then
      v_alert.user_id := p_account.user_id;
      v_alert.rule := v_rule.rule;
      v_alert.epoch := v_state.epoch;
      v_alert.created_at := p_at;
      v_alert.payload := jsonb_build_object(
        'threshold_tokens', v_rule.threshold, 'threshold_percent', v_rule.threshold_percent);
      perform private.write_alert(v_alert);
    end if;
    -- who is above, and always was, needs no row
    if v_state is distinct from v_stood
      and (v_stood.rule is not null or v_state.is_below or v_state.changed_in is not null)
    then
      insert into private.token_alert_states as s
        (user_id, rule, threshold, is_below, is_raised, epoch, changed_in, changed_at)
      values
        (p_account.user_id, v_rule.rule, v_state.threshold, v_state.is_below, coalesce(v_state.is_raised, false),
         coalesce(v_state.epoch, 0), v_state.changed_in, clock_timestamp())
      on conflict (user_id, rule) do update
         set threshold = excluded.threshold, is_below = excluded.is_below, is_raised = excluded.is_raised,
             epoch = excluded.epoch, changed_in = excluded.changed_in, changed_at = excluded.changed_at;
    end if;

    if v_state.is_below then
      alert_above := least(alert_above, v_rule.threshold);
    else
      alert_below := greatest(alert_below, v_rule.threshold);
    end if;
  end loop;

  -- what no longer holds is forgotten, but for the count: a rule of that name may come back
  update private.token_alert_states s
     set threshold = null, is_raised = false, changed_in = null
   where s.user_id = p_account.user_id and s.rule <> all (v_rules) and s.rule <> 'auto_top_up'
     and s.threshold is not null;
end
$$;
comment on function private.cross_thresholds(public.token_accounts, bigint, timestamptz, boolean) is
  'Writes an alert for each threshold that the balance has crossed since the last commit, once; returns the next thresholds below and above.';
revoke all on function private.cross_thresholds(public.token_accounts, bigint, timestamptz, boolean) from public, anon, authenticated, service_role;

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
  if found then
    perform private.renew_alert_marks(p_user_id);
  end if;
end
$$;
comment on function private.move_mark(uuid, bigint) is 'Moves user_subscriptions.tokens_limit by that many tokens, never below the balance.';
revoke all on function private.move_mark(uuid, bigint) from public, anon, authenticated, service_role;

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
  v_version bigint := coalesce((select v.version from private.alert_rule_versions v), 0);
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
     and (exists (select from private.alert_rule_versions v)
       or exists (select from public.token_top_ups t where t.user_id = p_user_id));
  if v_tokens is not null then
    perform private.raise_alerts(p_user_id, v_tokens, clock_timestamp());
  end if;
end
$$;
comment on function private.renew_alert_marks(uuid) is
  'Sets an account''s alert marks anew after its plan, its mark or its top-up has changed; the caller holds the account''s lock.';
revoke all on function private.renew_alert_marks(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/request_top_up.sql

/*
 * Asks for more tokens when the user wants that and fewer than his threshold remain; unless a request
 * is pending, a charge has failed, the last one is too recent, or there were too many. What time will
 * lift is looked at again then: so a threshold that was crossed during a cooldown is not forgotten.
 * A request of this very transaction is withdrawn when the balance comes back in it.
 * Caller: internal, holding the account's lock.   Returns the next thresholds on either side, and when
 * to look again.
 */
create or replace function private.request_top_up(
  p_account public.token_accounts,
  p_at timestamptz,
  out alert_below bigint,
  out alert_above bigint,
  out next_at timestamptz
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_top_up public.token_top_ups;
  v_request public.token_top_up_requests;
  v_state private.token_alert_states;
  v_alert public.token_alerts;
begin
  select t.* into v_top_up from public.token_top_ups t where t.user_id = p_account.user_id;
  if v_top_up.user_id is null or not v_top_up.is_enabled then
    return;
  end if;
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_account.user_id and r.status = 'pending';

  if p_account.tokens_remaining >= v_top_up.below_tokens then
    alert_below := v_top_up.below_tokens;
    select s.* into v_state from private.token_alert_states s
     where s.user_id = p_account.user_id and s.rule = 'auto_top_up';
    if v_request.id is not null and v_state.changed_in = pg_current_xact_id() and v_state.changed_at >= now() then
      delete from public.token_alerts t where t.user_id = v_request.user_id and t.request_id = v_request.id;
      delete from public.token_top_up_requests r where r.user_id = v_request.user_id and r.id = v_request.id;
    end if;
    return;
  end if;

  alert_above := v_top_up.below_tokens;
  if v_request.id is not null or v_top_up.paused_at is not null then
    return;
  end if;
  next_at := greatest(
    (select max(coalesce(r.settled_at, r.created_at)) from public.token_top_up_requests r
      where r.user_id = p_account.user_id) + v_top_up.cooldown_seconds * interval '1 second',
    (select r.created_at from public.token_top_up_requests r
      where r.user_id = p_account.user_id
      order by r.created_at desc
     offset v_top_up.max_requests - 1 limit 1) + v_top_up.window_seconds * interval '1 second');
  if next_at > p_at then
    return;
  end if;

  next_at := null;
  insert into public.token_top_up_requests as r (user_id, tokens, plan_type, created_at)
  values (p_account.user_id, v_top_up.tokens, v_top_up.plan_type, p_at)
  returning r.* into v_request;
  insert into private.token_alert_states (user_id, rule, is_below, changed_in, changed_at)
  values (p_account.user_id, 'auto_top_up', true, pg_current_xact_id(), clock_timestamp())
  on conflict (user_id, rule) do update
     set changed_in = excluded.changed_in, changed_at = excluded.changed_at;
  v_alert.user_id := p_account.user_id;
  v_alert.kind := 'top_up_requested';
  v_alert.rule := 'auto_top_up';
  v_alert.request_id := v_request.id;
  v_alert.created_at := p_at;
  v_alert.payload := jsonb_build_object(
    'request_id', v_request.id, 'threshold_tokens', v_top_up.below_tokens,
    'tokens', v_request.tokens, 'top_up_plan_type', v_request.plan_type);
  perform private.write_alert(v_alert);
end
$$;
comment on function private.request_top_up(public.token_accounts, timestamptz) is
  'Writes a request for more tokens when the user''s top-up asks for one and no guard forbids it; returns the next thresholds, and when to look again.';
revoke all on function private.request_top_up(public.token_accounts, timestamptz) from public, anon, authenticated, service_role;

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
  if found then
    perform private.renew_alert_marks(p_payment.user_id);
  end if;
  return p_payment;
end
$$;
comment on function private.settle_refunds(public.payments, bigint, boolean, text, text, uuid) is
  'Brings tokens, debt, mark and plan to what has been refunded of a payment in all, or to its dispute.';
revoke all on function private.settle_refunds(public.payments, bigint, boolean, text, text, uuid) from public, anon, authenticated, service_role;

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
  perform private.renew_alert_marks(p_entry.user_id);
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

-- from supabase/schemas/40_books/take_up_next_plan.sql

/*
 * Puts a downgrade into effect whose period has ended, when the lower plan costs nothing: there is
 * no payment that could do it, and nothing may depend on a job. Gives no tokens and takes none. A
 * plan that costs something begins with its payment or renewal.
 * Caller: internal.   Locks: the account.   Keeps: I9.
 */
create or replace function private.take_up_next_plan(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  perform private.lock_account(p_user_id);
  update public.user_subscriptions s
     set plan_type = p.plan_type,
         articles_limit = p.articles_limit,
         features = p.features,
         billing_cycle = p.billing_cycle,
         auto_renew = p.billing_cycle <> 'none',
         payment_method = null,
         payment_id = null,
         period_start = s.expires_at,
         expires_at = private.period_end(p.billing_cycle, s.expires_at),
         next_plan_type = null,
         updated_at = clock_timestamp()
    from public.token_plans p
   where s.user_id = p_user_id
     and p.plan_type = s.next_plan_type
     and p.price_cents = 0
     and s.expires_at <= clock_timestamp();
  if found then
    perform private.renew_alert_marks(p_user_id);
  end if;
end
$$;
comment on function private.take_up_next_plan(uuid) is
  'Puts a downgrade to a plan without a price into effect once its period has ended; changes no tokens.';
revoke all on function private.take_up_next_plan(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/warn_of_expiry.sql

/*
 * Writes an alert for each grant with tokens left that runs out within the hours that a rule asks for;
 * once for a rule and a grant, whatever becomes of either.
 * Caller: internal, holding the account's lock.   Returns whether a rule watches at all, and when the
 * next grant is to be warned of.
 */
create or replace function private.warn_of_expiry(
  p_account public.token_accounts,
  p_at timestamptz,
  out is_watching boolean,
  out next_at timestamptz
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_rule record;
  v_grant record;
  v_alert public.token_alerts;
begin
  is_watching := false;
  for v_rule in
    select r.rule, r.hours * interval '1 hour' as notice
      from private.alert_rules_of(p_account.user_id) as r
     where r.kind = 'expiring_soon'
  loop
    is_watching := true;
    for v_grant in
      select b.id, b.tokens_remaining, b.expires_at
        from public.token_balances b
       where b.user_id = p_account.user_id and b.is_open
         and b.expires_at > p_at and b.expires_at <= p_at + v_rule.notice
         and not exists (
           select from public.token_alerts t
            where t.user_id = b.user_id and t.rule = v_rule.rule and t.grant_id = b.id)
       order by b.expires_at, b.id
    loop
      v_alert.user_id := p_account.user_id;
      v_alert.kind := 'expiring_soon';
      v_alert.rule := v_rule.rule;
      v_alert.grant_id := v_grant.id;
      v_alert.created_at := p_at;
      v_alert.payload := jsonb_build_object(
        'grant_id', v_grant.id, 'grant_tokens', v_grant.tokens_remaining, 'expires_at', v_grant.expires_at);
      perform private.write_alert(v_alert);
    end loop;
    next_at := least(next_at, (
      select min(b.expires_at) - v_rule.notice
        from public.token_balances b
       where b.user_id = p_account.user_id and b.is_open and b.expires_at > p_at + v_rule.notice));
  end loop;
end
$$;
comment on function private.warn_of_expiry(public.token_accounts, timestamptz) is
  'Writes an alert for each grant that is about to run out, once; returns whether a rule watches, and when the next is due.';
revoke all on function private.warn_of_expiry(public.token_accounts, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/write_alert.sql

/*
 * Writes one alert into the outbox, in the transaction of what it tells. p_alert says kind, rule, what
 * about (epoch, grant_id or request_id), created_at, and in payload what its kind adds.
 * An alert that is there already is not written again, and is no error: an alert must not keep anybody
 * from spending.
 * Caller: internal, holding the account's lock.
 */
create or replace function private.write_alert(p_alert public.token_alerts)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  insert into public.token_alerts
    (user_id, id, kind, rule, epoch, grant_id, request_id, payload, created_at, next_attempt_at)
  select p_alert.user_id,
         coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_alert.user_id), 0) + 1,
         p_alert.kind, p_alert.rule, p_alert.epoch, p_alert.grant_id, p_alert.request_id,
         jsonb_build_object(
           'tokens_remaining', a.tokens_remaining,
           'tokens_limit', s.tokens_limit,
           'plan_type', s.plan_type,
           'transaction_id', a.last_transaction_id)
         || coalesce(jsonb_strip_nulls(p_alert.payload), '{}'),
         p_alert.created_at, p_alert.created_at
    from public.token_accounts a
    left join public.user_subscriptions s on s.user_id = a.user_id
   where a.user_id = p_alert.user_id
      on conflict do nothing;
end
$$;
comment on function private.write_alert(public.token_alerts) is
  'Writes one alert into the outbox, with the account as it is; once for each crossing, grant or request.';
revoke all on function private.write_alert(public.token_alerts) from public, anon, authenticated, service_role;

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
       where a.alerts_version < (select v.version from private.alert_rule_versions v)
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

-- from supabase/schemas/40_functions/claim_token_alerts.sql

/*
 * Hands out alerts that are due to be sent, at most p_limit of them, each to one caller only for
 * p_lease_seconds. Whoever dies with some loses them to the next one when the lease ends: at least
 * once, under an id that stays the same. What was begun ten times or is three days old is given up,
 * and says so.
 * Caller: service_role.   Locks: these rows of the outbox, skipping those that others hold.
 * Errors: invalid_page.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.claim_token_alerts(p_limit integer, p_lease_seconds integer)
returns table (user_id uuid, alert_id bigint, claim_id uuid, kind text, rule text, payload jsonb, created_at timestamptz, attempt integer)
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_claim_id uuid := gen_random_uuid();
begin
  if p_limit is null or p_limit not between 1 and 200 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
    perform private.refuse('invalid_page', '{"field": "p_lease_seconds", "rule": "1 to 3600"}');
  end if;

  update public.token_alerts t
     set delivery = 'given_up', next_attempt_at = null, settled_at = v_now,
         last_error = coalesce(t.last_error, case when t.attempts >= 10 then 'no answer' else 'too old' end)
    from (
      select o.user_id, o.id from public.token_alerts o
       where o.delivery = 'pending' and o.next_attempt_at <= v_now
         and (o.attempts >= 10 or o.created_at < v_now - interval '72 hours')
       limit 10000
         for no key update skip locked) hopeless
   where t.user_id = hopeless.user_id and t.id = hopeless.id;

  return query
  with due as (
    select o.user_id, o.id from public.token_alerts o
     where o.delivery = 'pending' and o.next_attempt_at <= v_now
       and o.attempts < 10 and o.created_at >= v_now - interval '72 hours'
     order by o.next_attempt_at
     limit p_limit
       for no key update skip locked
  ), claimed as (
    update public.token_alerts t
       set attempts = t.attempts + 1, claim_id = v_claim_id,
           next_attempt_at = v_now + p_lease_seconds * interval '1 second'
      from due
     where t.user_id = due.user_id and t.id = due.id
    returning t.*
  )
  select c.user_id, c.id, c.claim_id, c.kind, c.rule, c.payload, c.created_at, c.attempts
    from claimed c
   order by c.created_at, c.user_id, c.id;
end
$$;
comment on function private.claim_token_alerts(integer, integer) is 'See public.claim_token_alerts.';
revoke all on function private.claim_token_alerts(integer, integer) from public, anon, authenticated, service_role;
grant execute on function private.claim_token_alerts(integer, integer) to service_role;

create or replace function public.claim_token_alerts(p_limit integer default 20, p_lease_seconds integer default 60)
returns table (user_id uuid, alert_id bigint, claim_id uuid, kind text, rule text, payload jsonb, created_at timestamptz, attempt integer)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return query select * from private.claim_token_alerts(p_limit, p_lease_seconds);
end
$$;
comment on function public.claim_token_alerts(integer, integer) is
  'Hands out at most p_limit (1 to 200) alerts that are due to be sent, to this caller only for p_lease_seconds (1 to 3600); to be settled with settle_token_alert. For the server: what deliver-alerts calls. Gives up what was begun ten times or is three days old. Returns user_id, alert_id, claim_id, kind, rule, payload, created_at, attempt. Errors: invalid_page.';
revoke all on function public.claim_token_alerts(integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.claim_token_alerts(integer, integer) to service_role;

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
  update private.alert_rule_versions v set version = v.version + 1 where v.is_current;
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

-- from supabase/schemas/40_functions/retry_token_alerts.sql

/*
 * Puts alerts that were given up back into the outbox, as if new: for when the receiver works again.
 * Those of the last three days; older news is none.
 * Caller: an admin, service_role.   Locks: these alerts.   Returns how many.
 * Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.retry_token_alerts(p_user_id uuid)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_retried bigint;
begin
  perform private.authorize_operator();
  update public.token_alerts t
     set delivery = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = null
   where t.delivery = 'given_up' and t.created_at >= clock_timestamp() - interval '72 hours'
     and (p_user_id is null or t.user_id = p_user_id);
  get diagnostics v_retried = row_count;
  return v_retried;
end
$$;
comment on function private.retry_token_alerts(uuid) is 'See public.retry_token_alerts.';
revoke all on function private.retry_token_alerts(uuid) from public, anon, authenticated, service_role;
grant execute on function private.retry_token_alerts(uuid) to authenticated, service_role;

create or replace function public.retry_token_alerts(p_user_id uuid default null)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.retry_token_alerts(p_user_id);
end
$$;
comment on function public.retry_token_alerts(uuid) is
  'Sends alerts of the last three days again that were given up, of one user or (p_user_id left out) of all; returns how many. For an admin or the server. Errors: forbidden.';
revoke all on function public.retry_token_alerts(uuid) from public, anon, authenticated, service_role;
grant execute on function public.retry_token_alerts(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/set_auto_top_up.sql

/*
 * Sets a user's automatic top-up: below which balance to ask for more, for how many tokens or which
 * plan, and how often at most. Sets it going again when a failed charge had paused it. Who is below
 * the threshold already is asked for at once. Nothing is charged here: a request is written, and the
 * server that takes money answers it with settle_top_up.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, plan_not_found,
 * user_not_found, busy.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_auto_top_up(p_top_up public.token_top_ups)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_fault text;
begin
  -- validate
  v_actor := private.authorize(p_top_up.user_id, p_self_may => true);
  v_fault := case
    when p_top_up.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
    when not p_top_up.is_enabled
      then null
    when (p_top_up.below_tokens between 1 and 1000000000000) is not true
      then '{"field": "p_below_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when num_nonnulls(p_top_up.tokens, p_top_up.plan_type) <> 1 or p_top_up.tokens not between 1 and 1000000000000
      then '{"field": "p_tokens", "rule": "a whole number from 1 to 1000000000000, or p_plan_type instead"}'
    when (p_top_up.cooldown_seconds between 30 and 2592000) is not true
      then '{"field": "p_cooldown_seconds", "rule": "30 to 2592000"}'
    when (p_top_up.max_requests between 1 and 100) is not true
      then '{"field": "p_max_requests", "rule": "1 to 100"}'
    when (p_top_up.window_seconds between 60 and 2592000) is not true
      then '{"field": "p_window_seconds", "rule": "60 to 2592000"}'
  end;
  if v_fault is not null then
    perform private.refuse('invalid_top_up', v_fault::jsonb);
  end if;
  if p_top_up.is_enabled and p_top_up.plan_type is not null
    and not exists (
      select from public.token_plans p where p.plan_type = p_top_up.plan_type and p.is_offered)
  then
    perform private.refuse('plan_not_found', '{}');
  end if;

  -- lock
  v_account := private.lock_account(p_top_up.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_top_up.user_id, v_actor.actor_role);
    v_account := private.lock_account(p_top_up.user_id, p_create => true);
  end if;

  -- act
  if p_top_up.is_enabled then
    insert into public.token_top_ups as t
      (user_id, is_enabled, below_tokens, tokens, plan_type, cooldown_seconds, max_requests, window_seconds)
    values
      (p_top_up.user_id, true, p_top_up.below_tokens, p_top_up.tokens, p_top_up.plan_type,
       p_top_up.cooldown_seconds, p_top_up.max_requests, p_top_up.window_seconds)
    on conflict (user_id) do update
       set is_enabled = true,
           below_tokens = excluded.below_tokens,
           tokens = excluded.tokens,
           plan_type = excluded.plan_type,
           cooldown_seconds = excluded.cooldown_seconds,
           max_requests = excluded.max_requests,
           window_seconds = excluded.window_seconds,
           paused_at = null,
           updated_at = clock_timestamp();
  else
    update public.token_top_ups t
       set is_enabled = false, updated_at = clock_timestamp()
     where t.user_id = p_top_up.user_id;
  end if;

  -- record
  perform private.renew_alert_marks(p_top_up.user_id);
  return jsonb_build_object(
    'success', true,
    'is_enabled', p_top_up.is_enabled,
    'top_up', (select to_jsonb(t) from public.token_top_ups t where t.user_id = p_top_up.user_id),
    'pending_request_id', (
      select r.id from public.token_top_up_requests r
       where r.user_id = p_top_up.user_id and r.status = 'pending'));
end
$$;
comment on function private.set_auto_top_up(public.token_top_ups) is 'See public.set_auto_top_up.';
revoke all on function private.set_auto_top_up(public.token_top_ups) from public, anon, authenticated, service_role;
grant execute on function private.set_auto_top_up(public.token_top_ups) to authenticated, service_role;

create or replace function public.set_auto_top_up(
  p_user_id uuid,
  p_is_enabled boolean default true,
  p_below_tokens bigint default null,
  p_tokens bigint default null,
  p_plan_type text default null,
  p_cooldown_seconds integer default 60,
  p_max_requests integer default 3,
  p_window_seconds integer default 86400
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_top_up public.token_top_ups;
begin
  v_top_up.user_id := p_user_id;
  v_top_up.is_enabled := p_is_enabled;
  v_top_up.below_tokens := p_below_tokens;
  v_top_up.tokens := p_tokens;
  v_top_up.plan_type := p_plan_type;
  v_top_up.cooldown_seconds := p_cooldown_seconds;
  v_top_up.max_requests := p_max_requests;
  v_top_up.window_seconds := p_window_seconds;
  return private.set_auto_top_up(v_top_up);
end
$$;
comment on function public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer) is
  'Sets a user''s automatic top-up, and sets it going again after a failed charge. For the user himself, an admin, or the server. p_is_enabled false switches it off and looks at nothing else. Asks for p_tokens, or for p_plan_type, when fewer than p_below_tokens can be spent; at least p_cooldown_seconds (30 to 2592000) apart, at most p_max_requests (1 to 100) in p_window_seconds (60 to 2592000). Charges nothing. Returns {success, is_enabled, top_up (the row of token_top_ups), pending_request_id}. Errors: invalid_top_up, plan_not_found, user_not_found, forbidden, busy.';
revoke all on function public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.set_auto_top_up(uuid, boolean, bigint, bigint, text, integer, integer, integer) to authenticated, service_role;

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
  insert into private.alert_rule_versions as v (version) values (1)
  on conflict (is_current) do update set version = v.version + 1;
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

-- from supabase/schemas/40_functions/settle_token_alert.sql

/*
 * Says what came of sending an alert. Without p_error it is delivered. With one it is due again after
 * a pause that is four times as long as the one before (10 s, 40 s, … at most 6 hours), a quarter
 * more or less so that many do not come back at once; after the tenth attempt it is given up.
 * Of two who sent it, because one was slow, the word of whoever delivered it counts.
 * Caller: service_role.   Locks: the alert.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.settle_token_alert(p_user_id uuid, p_alert_id bigint, p_claim_id uuid, p_error text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_alert public.token_alerts;
begin
  update public.token_alerts t
     set delivery = case when p_error is null then 'delivered' when t.attempts >= 10 then 'given_up' else 'pending' end,
         next_attempt_at = case when p_error is not null and t.attempts < 10
           then v_now + least(10 * 4 ^ (t.attempts - 1), 21600) * (0.75 + random() / 2) * interval '1 second' end,
         settled_at = case when p_error is null or t.attempts >= 10 then v_now end,
         last_error = coalesce(left(p_error, 200), t.last_error)
   where t.user_id = p_user_id and t.id = p_alert_id
     and case when p_error is null then t.delivery <> 'delivered'
              else t.delivery = 'pending' and t.claim_id = p_claim_id end;
  select t.* into v_alert from public.token_alerts t where t.user_id = p_user_id and t.id = p_alert_id;
  return jsonb_build_object(
    'delivery', v_alert.delivery, 'attempts', v_alert.attempts, 'next_attempt_at', v_alert.next_attempt_at);
end
$$;
comment on function private.settle_token_alert(uuid, bigint, uuid, text) is 'See public.settle_token_alert.';
revoke all on function private.settle_token_alert(uuid, bigint, uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.settle_token_alert(uuid, bigint, uuid, text) to service_role;

create or replace function public.settle_token_alert(
  p_user_id uuid,
  p_alert_id bigint,
  p_claim_id uuid,
  p_error text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.settle_token_alert(p_user_id, p_alert_id, p_claim_id, p_error);
end
$$;
comment on function public.settle_token_alert(uuid, bigint, uuid, text) is
  'Says what came of sending an alert that claim_token_alerts handed out: delivered, or p_error (its first 200 characters are kept) and it is sent again later, ten times in all. For the server. Returns {delivery (pending, delivered, given_up; NULL = no such alert), attempts, next_attempt_at}.';
revoke all on function public.settle_token_alert(uuid, bigint, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.settle_token_alert(uuid, bigint, uuid, text) to service_role;

-- from supabase/schemas/40_functions/settle_top_up.sql

/*
 * Says what came of a top-up request: done (charged, and the tokens granted by whoever charged), or
 * failed, which pauses the top-up until it is set anew: a card that was declined is not tried again
 * by itself. The same word again changes nothing; another one is refused.
 * Grant the tokens first, or in the same database transaction: who is still below his threshold after
 * it and its cooldown is asked for again.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, invalid_reason,
 * top_up_request_not_found, top_up_already_settled, busy.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.settle_top_up(p_user_id uuid, p_request_id uuid, p_outcome text, p_reason text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_request public.token_top_up_requests;
  v_replayed boolean;
begin
  -- validate
  perform private.authorize(p_user_id, p_self_may => false);
  if (p_outcome in ('done', 'failed')) is not true then
    perform private.refuse('invalid_top_up', '{"field": "p_outcome", "rule": "done or failed"}');
  end if;
  perform private.check_request(null, p_reason, null);

  -- lock
  perform private.lock_account(p_user_id);

  -- replay
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_user_id and r.id = p_request_id;
  if v_request.id is null then
    perform private.refuse('top_up_request_not_found', '{}');
  elsif v_request.status not in ('pending', p_outcome) then
    perform private.refuse('top_up_already_settled', '{}');
  end if;
  v_replayed := v_request.status <> 'pending';

  if not v_replayed then
    -- act
    update public.token_top_up_requests r
       set status = p_outcome, reason = p_reason, settled_at = clock_timestamp()
     where r.user_id = p_user_id and r.id = p_request_id
    returning r.* into v_request;
    if p_outcome = 'failed' then
      update public.token_top_ups t
         set paused_at = v_request.settled_at, updated_at = v_request.settled_at
       where t.user_id = p_user_id;
    end if;

    -- record
    perform private.renew_alert_marks(p_user_id);
  end if;
  return jsonb_build_object(
    'success', true,
    'request_id', v_request.id,
    'status', v_request.status,
    'settled_at', v_request.settled_at,
    'replayed', v_replayed);
end
$$;
comment on function private.settle_top_up(uuid, uuid, text, text) is 'See public.settle_top_up.';
revoke all on function private.settle_top_up(uuid, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.settle_top_up(uuid, uuid, text, text) to authenticated, service_role;

create or replace function public.settle_top_up(
  p_user_id uuid,
  p_request_id uuid,
  p_outcome text,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.settle_top_up(p_user_id, p_request_id, p_outcome, p_reason);
end
$$;
comment on function public.settle_top_up(uuid, uuid, text, text) is
  'Says what came of a top-up request: p_outcome done (grant the tokens first) or failed (pauses the user''s top-up until it is set anew). For an admin or the server. The same outcome again changes nothing. Returns {success, request_id, status, settled_at, replayed}. Errors: invalid_top_up, invalid_reason, top_up_request_not_found, top_up_already_settled, forbidden, busy.';
revoke all on function public.settle_top_up(uuid, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.settle_top_up(uuid, uuid, text, text) to authenticated, service_role;

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
 *   get_token_history               -      execute (himself)    execute
 *   get_user_storage_quota          -      execute (himself)    execute
 *   create_payment                  -      execute (himself)    execute
 *   track_token_usage,              -      execute (himself)    execute
 *   estimate_tokens,
 *   explain_token_charge
 *   reserve_, capture_,             -      execute (himself)    execute
 *   release_tokens
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   refund_tokens, void_grant       -      execute (admins)     execute
 *   set_auto_top_up                 -      execute (himself)    execute
 *   settle_top_up                   -      execute (admins)     execute
 *   set_, remove_token_alert_rule,  -      execute (admins)     execute
 *   retry_token_alerts
 *   approve_, reject_, refund_pay.  -      execute (admins)     execute
 *   upgrade_plan, renew_subscr.     -      execute (admins)     execute
 *   parked payments, reports,       -      execute (admins)     execute
 *   verify_token_ledger,
 *   reconcile_, find_discrepancies
 *   expire_old_token_grants         -      -                    execute
 *   record_provider_event           -      -                    execute
 *   set_burn_order                  -      -                    execute
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
  private.reconcile_user_token_balance(uuid),
  private.find_token_discrepancies(bigint, uuid, uuid),
  private.get_users_without_balance(),
  private.get_recent_token_usage(integer, integer),
  private.get_users_with_low_balance(bigint, integer),
  private.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  private.set_burn_order(text),
  private.arm_token_alerts(integer),
  private.claim_token_alerts(integer, integer),
  private.settle_token_alert(uuid, bigint, uuid, text),
  private.expire_old_token_grants(integer),
  private.record_provider_event(text, text, text, text, jsonb)
to service_role;

revoke all on function
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
  public.set_burn_order(text),
  public.arm_token_alerts(integer),
  public.claim_token_alerts(integer, integer),
  public.settle_token_alert(uuid, bigint, uuid, text),
  public.expire_old_token_grants(integer),
  public.record_provider_event(text, text, text, text, jsonb)
to service_role;

-- from supabase/schemas/90_schedule.sql

/*
 * Where pg_cron is to be had, the sweeper runs every five minutes. Where it is not, nothing
 * breaks: what has run out is neither spent nor counted, and is booked by whoever comes next. The
 * second job does for changed alert rules what whoever touches an account would do.
 */
do $$
begin
  if exists (select from pg_available_extensions e where e.name = 'pg_cron') then
    create extension if not exists pg_cron;
    -- by name: running this again replaces the job
    execute $cron$
      select cron.schedule('tokenbook-expire-grants', '*/5 * * * *', 'select public.expire_old_token_grants()')
    $cron$;
    execute $cron$
      select cron.schedule('tokenbook-arm-alerts', '* * * * *', 'select public.arm_token_alerts()')
    $cron$;
  end if;
end
$$;
