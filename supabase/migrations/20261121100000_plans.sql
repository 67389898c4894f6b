/*
 * Plans, subscriptions and payments: limit and balance move in the same commit.
 *
 * Adds to the books: a debt (tokens_owed, debt_change), the period that a grant belongs to, and
 * three kinds of entries. Fills the catalogue with plans to start from: they are the project's to
 * edit, and a row that is there is left as it is. Puts every user who has none on the default
 * plan; who never had a grant gets its tokens.
 *
 * A table of one of these names that a project has already is set aside whole in `private`
 * (old_user_subscriptions, old_payments, old_token_plans); subscriptions to a plan of the
 * catalogue are copied.
 *
 * The checks and indexes are added to tables that the migration before this one has just filled;
 * in one transaction they could not be validated later anyway.
 */
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation

do $$
declare
  v_table text;
begin
  foreach v_table in array array['user_subscriptions', 'payments', 'token_plans'] loop
    if to_regclass('public.' || v_table) is not null then
      execute format('alter table public.%I set schema private', v_table);
      execute format('alter table private.%I rename to %I', v_table, 'old_' || v_table);
    end if;
  end loop;
end
$$;

-- it gets a lifetime
drop function private.issue_grant(public.token_balances, public.token_transactions);

alter table public.token_accounts
  add column tokens_owed bigint not null default 0,
  add constraint token_accounts_owed_is_never_negative check (tokens_owed >= 0);
comment on column public.token_accounts.tokens_owed is 'Debt: tokens that were to be taken back and had been spent. The next grant repays it first.';

alter table public.token_balances add column period_start timestamptz;
comment on column public.token_balances.period_start is 'The period of that subscription; each period is granted once.';
create unique index token_balances_payment_key
  on public.token_balances (user_id, payment_id) where payment_id is not null;
create unique index token_balances_period_key
  on public.token_balances (user_id, subscription_id, period_start) where period_start is not null;

alter table public.token_transactions
  add column debt_change bigint not null default 0,
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
      else false
    end),
  add constraint token_transactions_debt_follows_entry_type check (
    case entry_type
      when 'clawback' then debt_change >= 0
      when 'restoration' then debt_change <= 0
      when 'debt_repayment' then debt_change = tokens
      else debt_change = 0
    end);
comment on column public.token_transactions.debt_change is 'Tokens added to the account''s debt, or taken off it.';
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry; clawback (a payment was refunded or disputed), restoration (a dispute was won), debt_repayment (a grant paid a debt first).';

-- from supabase/schemas/15_catalogue/token_plans.sql

-- The catalogue: what each plan gives. Data of the project: edit it; no migration overwrites a row.
create table public.token_plans (
  plan_type text primary key,
  name text not null,
  tokens bigint not null,
  articles_limit integer,
  storage_gb integer not null default 0,
  price_cents bigint not null default 0,
  currency text not null default 'usd',
  billing_cycle text not null default 'none',
  grant_type text not null default 'plan',
  grant_lifetime_days integer,
  balance_cap bigint,
  rank integer not null default 0,
  features jsonb not null default '{}',
  stripe_price_id text unique,
  paypal_plan_id text unique,
  is_offered boolean not null default true,
  is_default boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint token_plans_name_is_plain check (plan_type ~ '^[a-z0-9][a-z0-9_]{0,63}$'),
  constraint token_plans_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_plans_articles_are_never_negative check (articles_limit >= 0),
  constraint token_plans_storage_is_never_negative check (storage_gb >= 0),
  constraint token_plans_price_is_never_negative check (price_cents >= 0),
  constraint token_plans_currency_is_three_letters check (currency ~ '^[a-z]{3}$'),
  constraint token_plans_billing_cycle_is_known check (billing_cycle in ('none', '28day', 'monthly', 'annual')),
  constraint token_plans_grant_type_is_known
    check (grant_type in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan')),
  constraint token_plans_lifetime_is_positive check (grant_lifetime_days between 1 and 36500),
  constraint token_plans_cap_is_positive check (balance_cap > 0)
);
create unique index token_plans_one_default_idx on public.token_plans (is_default) where is_default;

comment on table public.token_plans is
  'The plans: what each gives, costs and is called by payment providers. The project''s own data; everyone may read it.';
comment on column public.token_plans.plan_type is 'The plan''s name in code.';
comment on column public.token_plans.name is 'The plan''s name for people.';
comment on column public.token_plans.tokens is 'Tokens that a period of it gives.';
comment on column public.token_plans.articles_limit is 'Articles a period; NULL = no limit.';
comment on column public.token_plans.storage_gb is 'Gigabytes of storage it comes with.';
comment on column public.token_plans.price_cents is 'Price of a period, in cents of the currency.';
comment on column public.token_plans.currency is 'ISO 4217, lower case.';
comment on column public.token_plans.billing_cycle is 'Length of a period: none (it does not end), 28day, monthly, annual.';
comment on column public.token_plans.grant_type is 'Type of the grants it makes.';
comment on column public.token_plans.grant_lifetime_days is 'Days of 24 hours that its tokens live; NULL = for ever.';
comment on column public.token_plans.balance_cap is 'A renewal gives no more than what fills the active balance up to this; NULL = no cap.';
comment on column public.token_plans.rank is 'Order of the plans: to a higher or equal rank is an upgrade, to a lower one a downgrade.';
comment on column public.token_plans.features is 'What else it includes, for the app.';
comment on column public.token_plans.stripe_price_id is 'The price at Stripe.';
comment on column public.token_plans.paypal_plan_id is 'The plan at PayPal.';
comment on column public.token_plans.is_offered is 'Whether it can be bought now.';
comment on column public.token_plans.is_default is 'Whether new users get it; at most one plan. None: registration gives nothing.';
comment on column public.token_plans.created_at is 'When it was added.';
comment on column public.token_plans.updated_at is 'When it was last edited.';

alter table public.token_plans enable row level security;
create policy "Everyone reads the plans" on public.token_plans
  for select to anon, authenticated
  using (true);

-- from supabase/schemas/20_tables/user_subscriptions.sql

-- Which plan a user is on. One row a user; its periods are grants.
create table public.user_subscriptions (
  user_id uuid primary key,
  id uuid not null default gen_random_uuid(),
  plan_type text not null references public.token_plans (plan_type),
  tokens_limit bigint not null default 0,
  articles_limit integer,
  features jsonb not null default '{}',
  billing_cycle text not null,
  is_active boolean not null default true,
  auto_renew boolean not null default true,
  payment_method text,
  payment_id text,
  period_start timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  next_plan_type text references public.token_plans (plan_type),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint user_subscriptions_limit_is_never_negative check (tokens_limit >= 0),
  constraint user_subscriptions_expires_after_it_started check (expires_at > period_start)
);
comment on table public.user_subscriptions is
  'The plan a user is on. Changed in the same transaction as his balance, by the functions only.';
comment on column public.user_subscriptions.user_id is 'The user.';
comment on column public.user_subscriptions.id is 'The subscription; stays the same through upgrades and renewals.';
comment on column public.user_subscriptions.plan_type is 'The plan.';
comment on column public.user_subscriptions.tokens_limit is 'The mark up to which the balance was last filled. Does not move with usage.';
comment on column public.user_subscriptions.articles_limit is 'Articles a period; NULL = no limit.';
comment on column public.user_subscriptions.features is 'What else the plan includes.';
comment on column public.user_subscriptions.billing_cycle is 'none, 28day, monthly or annual.';
comment on column public.user_subscriptions.is_active is 'Whether it is in force.';
comment on column public.user_subscriptions.auto_renew is 'Whether it is meant to be renewed.';
comment on column public.user_subscriptions.payment_method is 'How it is paid: card, paypal, manual, …';
comment on column public.user_subscriptions.payment_id is 'The payment that the present plan came from: payments.id, or the provider''s name for it.';
comment on column public.user_subscriptions.period_start is 'When the present period began.';
comment on column public.user_subscriptions.expires_at is 'When it ends; NULL = it does not.';
comment on column public.user_subscriptions.next_plan_type is 'The plan from the next period on, after a downgrade.';
comment on column public.user_subscriptions.created_at is 'Since when he has one.';
comment on column public.user_subscriptions.updated_at is 'When it last changed.';

create index user_subscriptions_plan_idx on public.user_subscriptions (plan_type);
create index user_subscriptions_next_plan_idx on public.user_subscriptions (next_plan_type) where next_plan_type is not null;

alter table public.user_subscriptions enable row level security;
create policy "Users read their own subscription" on public.user_subscriptions
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/payments.sql

-- One row a payment, asked for or made.
create table public.payments (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'pending',
  provider text not null default 'manual',
  provider_payment_id text,
  from_plan text references public.token_plans (plan_type),
  to_plan text not null references public.token_plans (plan_type),
  amount_cents bigint not null,
  currency text not null,
  tokens bigint,
  refunded_cents bigint not null default 0,
  is_disputed boolean not null default false,
  tokens_clawed_back bigint not null default 0,
  idempotency_key text,
  reason text,
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  decided_by uuid,
  constraint payments_pkey primary key (user_id, id),
  constraint payments_status_is_known check (status in ('pending', 'approved', 'rejected', 'refunded')),
  constraint payments_decided_when_not_pending check ((status = 'pending') = (decided_at is null)),
  constraint payments_amounts_are_never_negative check (amount_cents >= 0 and refunded_cents >= 0),
  constraint payments_clawed_back_is_within_tokens
    check (tokens_clawed_back between 0 and coalesce(tokens, 0))
);
comment on table public.payments is
  'Payments: pending until an admin or the provider decides; an approved one has given its tokens in the same commit. Written by the functions only.';
comment on column public.payments.user_id is 'Who pays.';
comment on column public.payments.id is 'The payment; unique per user.';
comment on column public.payments.status is 'pending, approved, rejected, refunded.';
comment on column public.payments.provider is 'manual, stripe or paypal.';
comment on column public.payments.provider_payment_id is 'The provider''s id of it, unique per provider (see private.provider_payments).';
comment on column public.payments.from_plan is 'The plan he was on.';
comment on column public.payments.to_plan is 'The plan he pays for.';
comment on column public.payments.amount_cents is 'The price, in cents of the currency.';
comment on column public.payments.currency is 'ISO 4217, lower case.';
comment on column public.payments.tokens is 'Tokens it gave; NULL until approved.';
comment on column public.payments.refunded_cents is 'Of the amount, how much has been refunded.';
comment on column public.payments.is_disputed is 'Whether a dispute is open or lost.';
comment on column public.payments.tokens_clawed_back is 'Of its tokens, how many were taken back or became debt.';
comment on column public.payments.idempotency_key is 'The key it was asked for with, after user: or server:, whose it is.';
comment on column public.payments.reason is 'Why it was approved or rejected.';
comment on column public.payments.created_at is 'When it was asked for.';
comment on column public.payments.decided_at is 'When it was decided.';
comment on column public.payments.decided_by is 'The admin who decided; NULL = the server.';

create unique index payments_provider_key on public.payments (user_id, provider, provider_payment_id)
  where provider_payment_id is not null;
create unique index payments_idempotency_key on public.payments (user_id, idempotency_key)
  where idempotency_key is not null;
create index payments_pending_idx on public.payments (created_at) where status = 'pending';
create index payments_from_plan_idx on public.payments (from_plan);
create index payments_to_plan_idx on public.payments (to_plan);

alter table public.payments enable row level security;
create policy "Users read their own payments" on public.payments
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/provider_payments.sql

-- What a provider has told us of a payment, merged: the same facts in any order, any number of
-- times, make the same row. It is also what makes a provider's payment id unique, and where a
-- payment waits whose user or plan is not known.
create table private.provider_payments (
  provider text not null,
  provider_payment_id text not null,
  user_id uuid,
  plan_type text,
  is_paid boolean not null default false,
  amount_cents bigint,
  currency text,
  refunded_cents bigint not null default 0,
  was_disputed boolean not null default false,
  dispute_was_won boolean not null default false,
  period_start timestamptz,
  payment_id uuid,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint provider_payments_pkey primary key (provider, provider_payment_id)
);
comment on table private.provider_payments is
  'Facts about a provider''s payments, merged from its events. One without user or plan is parked for an admin.';
comment on column private.provider_payments.provider is 'stripe or paypal.';
comment on column private.provider_payments.provider_payment_id is 'The provider''s id of the payment.';
comment on column private.provider_payments.user_id is 'The user, by our own mapping; NULL = not known yet.';
comment on column private.provider_payments.plan_type is 'The plan, by our own catalogue; NULL = not known yet.';
comment on column private.provider_payments.is_paid is 'Whether it was paid.';
comment on column private.provider_payments.amount_cents is 'What was paid, in cents.';
comment on column private.provider_payments.currency is 'ISO 4217, lower case.';
comment on column private.provider_payments.refunded_cents is 'The most that has been reported refunded in all.';
comment on column private.provider_payments.was_disputed is 'Whether a dispute was ever opened.';
comment on column private.provider_payments.dispute_was_won is 'Whether it was won.';
comment on column private.provider_payments.period_start is 'The period it pays for, when the provider says so.';
comment on column private.provider_payments.payment_id is 'The row in payments, once there is one.';
comment on column private.provider_payments.created_at is 'When we first heard of it.';
comment on column private.provider_payments.updated_at is 'When we last heard of it.';
alter table private.provider_payments enable row level security;

-- from supabase/schemas/20_tables/provider_events.sql

-- Every event that was acted on, once.
create table private.provider_events (
  provider text not null,
  event_id text not null,
  event_type text not null,
  provider_payment_id text not null,
  facts jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  constraint provider_events_pkey primary key (provider, event_id)
);
comment on table private.provider_events is
  'Events of payment providers that were acted on: committed with their effect, or not at all.';
comment on column private.provider_events.provider is 'stripe or paypal.';
comment on column private.provider_events.event_id is 'The provider''s id of the event.';
comment on column private.provider_events.event_type is 'Its type there.';
comment on column private.provider_events.provider_payment_id is 'The payment it is about.';
comment on column private.provider_events.facts is 'What it said, as far as we use it.';
comment on column private.provider_events.received_at is 'When it came first.';
alter table private.provider_events enable row level security;

-- from supabase/schemas/20_tables/failed_registrations.sql

-- Users who signed up while something was wrong with the books.
create table private.failed_registrations (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  error text not null,
  failed_at timestamptz not null default clock_timestamp()
);
comment on table private.failed_registrations is
  'Sign-ups whose plan could not be given then; the sign-up itself went through. They are healed by their first balance read or deduction.';
comment on column private.failed_registrations.id is 'Order of writing.';
comment on column private.failed_registrations.user_id is 'The user.';
comment on column private.failed_registrations.error is 'SQLSTATE and message.';
comment on column private.failed_registrations.failed_at is 'When.';
alter table private.failed_registrations enable row level security;

-- from supabase/schemas/30_guards/authorize_operator.sql

/*
 * Lets an administrator or the server through, where no one user is concerned.
 * Caller: internal.   Errors: not_authenticated, forbidden.
 */
create or replace function private.authorize_operator()
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  -- a user that is nobody: only who may act for anyone passes
  perform private.authorize('00000000-0000-0000-0000-000000000000', p_self_may => false);
end
$$;
comment on function private.authorize_operator() is 'Refuses everyone but administrators and the server.';
revoke all on function private.authorize_operator() from public, anon, authenticated, service_role;

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
                         'clawback', 'restoration', 'debt_repayment')
  then
    perform private.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
end
$$;
comment on function private.check_action_type(text) is
  'Refuses an action type that is not a plain lower-case name, or one of the names that the ledger keeps for itself.';
revoke all on function private.check_action_type(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/lock_provider_payment.sql

/*
 * Locks what is known of a provider's payment, and returns it; NULL when nothing is (with p_create
 * it is made first). Taken before the account's lock, always; waits at most five seconds, then
 * says busy.
 * Caller: internal.   Errors: busy.
 */
create or replace function private.lock_provider_payment(
  p_provider text,
  p_provider_payment_id text,
  p_create boolean default false
)
returns private.provider_payments
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '5s'
as $$
declare
  v_facts private.provider_payments;
begin
  if p_create then
    insert into private.provider_payments (provider, provider_payment_id)
    values (p_provider, p_provider_payment_id)
    on conflict do nothing;
  end if;
  select f.* into v_facts
    from private.provider_payments f
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
     for no key update;
  return v_facts;
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.lock_provider_payment(text, text, boolean) is
  'Locks the facts of a provider''s payment (at most five seconds, then busy) and returns them.';
revoke all on function private.lock_provider_payment(text, text, boolean) from public, anon, authenticated, service_role;

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
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('payment_not_found', 'PT404', 'There is no such payment of that user.'),
      ('plan_not_found', 'PT404', 'Use a plan of the catalogue (token_plans).'),
      ('subscription_not_found', 'PT404', 'The user has no active subscription.'),
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
 * p_entry is the row to be: everything but id and balance_after, which are given here.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create or replace function private.book(p_entry public.token_transactions)
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
       set tokens_remaining = a.tokens_remaining + p_entry.tokens,
           -- an admin's correction takes tokens away, but nobody used them
           tokens_used = a.tokens_used
             - case when p_entry.entry_type = 'deduction' and p_entry.action_type <> 'admin_deduct'
                 then p_entry.tokens else 0 end,
           tokens_owed = a.tokens_owed + coalesce(p_entry.debt_change, 0),
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_entry.created_at
     where a.user_id = p_entry.user_id
    returning a.last_transaction_id, a.tokens_remaining + a.tokens_reserved as balance
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, grant_ids, grant_tokens,
     reason, actor_role, actor_id, idempotency_key, request, usage_id, hold_id, payment_id,
     metadata, created_at)
  select p_entry.user_id, account.last_transaction_id, p_entry.entry_type, p_entry.action_type,
         p_entry.tokens, account.balance, coalesce(p_entry.debt_change, 0), p_entry.grant_ids, p_entry.grant_tokens,
         p_entry.reason, p_entry.actor_role, p_entry.actor_id, p_entry.idempotency_key,
         case when p_entry.idempotency_key is not null then p_entry.request end,
         p_entry.usage_id, p_entry.hold_id, p_entry.payment_id, p_entry.metadata, p_entry.created_at
    from account
  returning t.* into v_transaction;
  return v_transaction;
end
$$;
comment on function private.book(public.token_transactions) is
  'Writes one transaction: account totals and ledger row in one statement. Takes the row to be, without id and balance_after; the account is locked and the grants are changed by the caller.';
revoke all on function private.book(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/claw_back.sql

/*
 * Takes tokens of a refunded or disputed payment back: from its own grant first, then from the
 * others in burn order, at most what is left. What could not be taken becomes the account's debt,
 * repaid first by the next grant. The mark goes down by all of it. Caller holds the lock.
 * Locks: the account (again).   Keeps: I1 to I4, I9.
 */
create or replace function private.claw_back(
  p_payment public.payments,
  p_tokens bigint,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_own public.token_balances;
  v_from_own bigint;
  v_from_others bigint;
begin
  v_account := private.lock_account(p_payment.user_id);
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_payment.user_id], v_now);
    v_account := private.lock_account(p_payment.user_id);
  end if;

  select b.* into v_own from public.token_balances b
   where b.user_id = p_payment.user_id and b.payment_id = p_payment.id;
  v_from_own := least(p_tokens, coalesce(v_own.tokens_remaining, 0));
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - v_from_own, is_open = b.tokens_remaining > v_from_own
   where b.user_id = p_payment.user_id and b.id = v_own.id;
  v_from_others := least(p_tokens, v_account.tokens_remaining) - v_from_own;
  if v_from_others > 0 then
    select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from private.take_from_grants(p_payment.user_id, v_from_others) as taken;
  end if;
  if v_from_own > 0 then
    v_entry.grant_ids := v_own.id || v_entry.grant_ids;
    v_entry.grant_tokens := v_from_own || v_entry.grant_tokens;
  end if;

  v_entry.user_id := p_payment.user_id;
  v_entry.entry_type := 'clawback';
  v_entry.action_type := 'clawback';
  v_entry.tokens := -(v_from_own + v_from_others);
  v_entry.debt_change := p_tokens + v_entry.tokens;
  v_entry.grant_ids := coalesce(v_entry.grant_ids, '{}');
  v_entry.grant_tokens := coalesce(v_entry.grant_tokens, '{}');
  v_entry.reason := p_reason;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.payment_id := p_payment.id;
  v_entry.metadata := '{}';
  v_entry.created_at := v_now;
  perform private.book(v_entry);
  perform private.move_mark(p_payment.user_id, -p_tokens);
end
$$;
comment on function private.claw_back(public.payments, bigint, text, text, uuid) is
  'Takes tokens of a payment back, its own grant first; what is not there becomes debt.';
revoke all on function private.claw_back(public.payments, bigint, text, text, uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/initialise.sql

/*
 * Gives the plan's tokens to a user who never had a grant: at registration, and by whoever
 * touches the books of one whom registration missed. Once, under any concurrency: "never had a
 * grant" is asked again under the lock, and it is a fact of the books, not a reading of the
 * balance. Who spent everything stays at zero.
 * A user without a subscription gets the default plan; where there is none, nothing.
 * Caller: internal.   Locks: the account.   Keeps: I5, I9.
 */
create or replace function private.initialise(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_plan public.token_plans;
  v_subscription public.user_subscriptions;
  v_entry public.token_transactions;
begin
  if exists (select from public.token_balances b where b.user_id = p_user_id) then
    return;
  end if;
  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  select p.* into v_plan
    from public.token_plans p
   where case when v_subscription.user_id is null then p.is_default
              else p.plan_type = v_subscription.plan_type and v_subscription.is_active end;
  if v_plan.plan_type is null or not exists (select from auth.users u where u.id = p_user_id) then
    return;
  end if;

  perform private.lock_account(p_user_id, p_create => true);
  if exists (select from public.token_balances b where b.user_id = p_user_id) then
    return; -- somebody was faster
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := v_plan.plan_type || ' plan';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  perform private.start_period(v_plan, v_subscription.period_start, null, null, v_entry);
end
$$;
comment on function private.initialise(uuid) is
  'Gives a user who never had a grant the tokens of his plan, or of the default plan; once.';
revoke all on function private.initialise(uuid) from public, anon, authenticated, service_role;

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

  -- what is owed is repaid first; then the plan's mark is no lower than the balance
  if v_account.tokens_owed > 0 then
    perform private.repay_debt(p_entry.user_id, p_grant.id, v_now);
  end if;
  update public.user_subscriptions s
     set tokens_limit = a.tokens_remaining, updated_at = v_now
    from public.token_accounts a
   where s.user_id = p_entry.user_id and a.user_id = s.user_id and a.tokens_remaining > s.tokens_limit;
end
$$;
comment on function private.issue_grant(public.token_balances, public.token_transactions, interval) is
  'Gives tokens as one new grant under the account''s lock; its transaction, new or replayed. grant_ids[1] of it is the grant.';
revoke all on function private.issue_grant(public.token_balances, public.token_transactions, interval) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/move_mark.sql

/*
 * Moves the plan's mark by what a clawback took or gave back; never below the balance.
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
   where s.user_id = p_user_id and a.user_id = s.user_id;
end
$$;
comment on function private.move_mark(uuid, bigint) is 'Moves user_subscriptions.tokens_limit by that many tokens, never below the balance.';
revoke all on function private.move_mark(uuid, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/period_end.sql

/*
 * When a period of that cycle ends; NULL = it does not. Months and years are the calendar's, in
 * UTC: what began on the 31st ends on the last day of a shorter month.
 * Caller: internal.
 */
create or replace function private.period_end(p_billing_cycle text, p_start timestamptz)
returns timestamptz
language sql
immutable
security invoker
set search_path = ''
as $$
  select case p_billing_cycle
    when '28day' then p_start + interval '672 hours'
    when 'monthly' then (p_start at time zone 'utc' + interval '1 month') at time zone 'utc'
    when 'annual' then (p_start at time zone 'utc' + interval '1 year') at time zone 'utc'
  end
$$;
comment on function private.period_end(text, timestamptz) is 'End of a billing period that begins then; NULL when the cycle has no end.';
revoke all on function private.period_end(text, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/register_user.sql

/*
 * Gives a new user the default plan in the commit that makes him. A fault of ours must not keep
 * anybody from signing up: whole classes of errors are caught by name, the attempt is rolled back
 * and noted, and the user is healed by his first balance read or deduction (private.initialise).
 * What cannot be caught (the server going down, a cancelled statement) fails the sign-up as a
 * whole, as it would without us. See docs/decisions/0015-registration.md.
 */
create or replace function private.register_user()
returns trigger
language plpgsql
volatile
security definer -- sign-up runs as a role that may not write the books
set search_path = ''
as $$
begin
  begin
    perform private.initialise(new.id);
  exception
    when data_exception or integrity_constraint_violation or syntax_error_or_access_rule_violation
      or transaction_rollback or object_not_in_prerequisite_state or insufficient_resources
      or program_limit_exceeded or plpgsql_error or invalid_transaction_state
      or feature_not_supported or sql_routine_exception or external_routine_exception
      or internal_error
      or sqlstate 'PT400' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' or sqlstate 'PT503'
    then
      raise warning 'user % could not be given his plan: % %', new.id, sqlstate, sqlerrm;
      insert into private.failed_registrations (user_id, error) values (new.id, sqlstate || ' ' || sqlerrm);
  end;
  return new;
end
$$;
comment on function private.register_user() is
  'Trigger on auth.users: gives a new user the default plan. Its faults never block the sign-up.';
revoke all on function private.register_user() from public, anon, authenticated, service_role;

create or replace trigger tokenbook_register_user
  after insert on auth.users
  for each row execute function private.register_user();

-- from supabase/schemas/40_books/repay_debt.sql

/*
 * Lets a new grant repay what the account owes, as far as it goes. The caller holds the lock.
 * Caller: internal.   Keeps: I2, I3, I4.
 */
create or replace function private.repay_debt(p_user_id uuid, p_grant_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
begin
  select -least(a.tokens_owed, b.tokens_remaining) into v_entry.tokens
    from public.token_accounts a
    join public.token_balances b on b.user_id = a.user_id and b.id = p_grant_id
   where a.user_id = p_user_id;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining + v_entry.tokens,
         is_open = b.tokens_remaining + v_entry.tokens > 0
   where b.user_id = p_user_id and b.id = p_grant_id;

  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'debt_repayment';
  v_entry.action_type := 'debt_repayment';
  v_entry.debt_change := v_entry.tokens;
  v_entry.grant_ids := array[p_grant_id];
  v_entry.grant_tokens := array[-v_entry.tokens];
  v_entry.reason := 'debt is repaid first';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform private.book(v_entry);
end
$$;
comment on function private.repay_debt(uuid, uuid, timestamptz) is
  'Takes from a new grant what the account owes, as one debt_repayment; the caller holds the account''s lock.';
revoke all on function private.repay_debt(uuid, uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/restore_clawback.sql

/*
 * Gives back what a dispute had taken, when it was won: the debt first, then the tokens, to the
 * grants that they came from, last taken first; what a later grant repaid goes to the payment's
 * own grant. Into a grant that has run out meanwhile it expires at once, in the ledger.
 * Locks: the account.   Keeps: I1 to I4, I9.
 */
create or replace function private.restore_clawback(
  p_payment public.payments,
  p_tokens bigint,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_left bigint;
  v_part record;
  v_back bigint;
begin
  v_account := private.lock_account(p_payment.user_id);
  v_now := clock_timestamp();

  v_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  v_entry.tokens := p_tokens + v_entry.debt_change;
  v_entry.grant_ids := '{}';
  v_entry.grant_tokens := '{}';
  v_left := v_entry.tokens;
  for v_part in
    select b.id, b.tokens_granted - b.tokens_remaining as room, taken.tokens,
           b.payment_id is not distinct from p_payment.id as is_own
      from public.token_balances b
      left join (
        select a.grant_id, sum(case t.entry_type when 'clawback' then a.tokens else -a.tokens end)::bigint as tokens
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
         where t.user_id = p_payment.user_id and t.payment_id = p_payment.id
           and t.entry_type in ('clawback', 'restoration')
         group by a.grant_id) taken on taken.grant_id = b.id
     where b.user_id = p_payment.user_id
       and (taken.tokens > 0 or b.payment_id = p_payment.id)
     order by is_own, b.priority desc, b.granted_at desc, b.id desc
  loop
    -- the payment's own grant comes last and takes what the others did not give
    v_back := least(v_left, v_part.room, case when v_part.is_own then v_left else v_part.tokens end);
    continue when v_back <= 0;
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + v_back, is_open = true
     where b.user_id = p_payment.user_id and b.id = v_part.id;
    v_entry.grant_ids := v_entry.grant_ids || v_part.id;
    v_entry.grant_tokens := v_entry.grant_tokens || v_back;
    v_left := v_left - v_back;
  end loop;
  v_entry.tokens := v_entry.tokens - v_left;

  v_entry.user_id := p_payment.user_id;
  v_entry.entry_type := 'restoration';
  v_entry.action_type := 'restoration';
  v_entry.reason := p_reason;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.payment_id := p_payment.id;
  v_entry.metadata := '{}';
  v_entry.created_at := v_now;
  perform private.book(v_entry);
  perform private.move_mark(p_payment.user_id, p_tokens);
  perform private.book_expiries(array[p_payment.user_id], v_now); -- also sets next_due_at anew
end
$$;
comment on function private.restore_clawback(public.payments, bigint, text, text, uuid) is
  'Gives clawed-back tokens of a payment back: debt first, then the grants they came from.';
revoke all on function private.restore_clawback(public.payments, bigint, text, text, uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/settle_payment.sql

/*
 * Brings the books to what is known of a provider's payment. Looks at the merged facts only, not
 * at the event that came last: so any order of events, and any number of times, ends in the same
 * state. The caller has locked the facts row; then the account is locked, always in this order.
 * Paid, with user and plan known: the plan and its tokens, once. Refunds and disputes:
 * private.settle_refunds.
 * Returns the payment; NULL while user, plan or the payment itself is missing.
 * Keeps: I1 to I5, I9.
 */
create or replace function private.settle_payment(p_facts private.provider_payments)
returns public.payments
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_payment public.payments;
  v_plan public.token_plans;
  v_entry public.token_transactions;
begin
  if p_facts.user_id is null or p_facts.plan_type is null or not p_facts.is_paid then
    return null;
  end if;

  perform private.lock_account(p_facts.user_id, p_create => true);
  select p.* into v_payment
    from public.payments p
   where p.user_id = p_facts.user_id and p.provider = p_facts.provider
     and p.provider_payment_id = p_facts.provider_payment_id;
  if v_payment.id is null then
    select p.* into v_plan from public.token_plans p where p.plan_type = p_facts.plan_type;
    insert into public.payments as p
      (user_id, status, provider, provider_payment_id, from_plan, to_plan, amount_cents, currency,
       tokens, reason, decided_at)
    values
      (p_facts.user_id, 'approved', p_facts.provider, p_facts.provider_payment_id,
       (select s.plan_type from public.user_subscriptions s where s.user_id = p_facts.user_id),
       v_plan.plan_type, coalesce(p_facts.amount_cents, v_plan.price_cents),
       coalesce(p_facts.currency, v_plan.currency), v_plan.tokens,
       'paid at ' || p_facts.provider, clock_timestamp())
    returning p.* into v_payment;
    v_entry.user_id := p_facts.user_id;
    v_entry.reason := 'paid at ' || p_facts.provider;
    v_entry.actor_role := 'service';
    v_entry.payment_id := v_payment.id;
    v_entry.metadata := '{}';
    perform private.start_period(
      v_plan, p_facts.period_start, p_facts.provider, p_facts.provider_payment_id, v_entry);
    -- what it gave, for what a refund takes back
    update public.payments p
       set tokens = b.tokens_granted
      from public.token_balances b
     where p.user_id = v_payment.user_id and p.id = v_payment.id
       and b.user_id = p.user_id and b.payment_id = p.id
    returning p.* into v_payment;
  end if;

  return private.settle_refunds(
    v_payment, p_facts.refunded_cents, p_facts.was_disputed and not p_facts.dispute_was_won,
    'at ' || p_facts.provider, 'service', null);
end
$$;
comment on function private.settle_payment(private.provider_payments) is
  'Brings subscription, balance and debt to what the merged facts of a provider''s payment say; the same for every order of its events.';
revoke all on function private.settle_payment(private.provider_payments) from public, anon, authenticated, service_role;

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
begin
  v_to_claw := case
    when p_is_disputed or v_is_refunded then p_payment.tokens
    when p_refunded_cents > 0 then floor(p_payment.tokens::numeric * p_refunded_cents / p_payment.amount_cents)::bigint
    else 0
  end;
  if v_to_claw > p_payment.tokens_clawed_back then
    perform private.claw_back(p_payment, v_to_claw - p_payment.tokens_clawed_back,
      case when p_is_disputed then 'disputed ' else 'refunded ' end || p_reason, p_actor_role, p_actor_id);
  elsif v_to_claw < p_payment.tokens_clawed_back then
    perform private.restore_clawback(p_payment, p_payment.tokens_clawed_back - v_to_claw,
      'dispute won ' || p_reason, p_actor_role, p_actor_id);
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

-- from supabase/schemas/40_books/settled.sql

/*
 * Settles a provider's payment and says how it stands: what events and admins are answered.
 * Caller: internal, holding the facts' lock.
 */
create or replace function private.settled(p_facts private.provider_payments)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_payment public.payments;
  v_account public.token_accounts;
begin
  v_payment := private.settle_payment(p_facts);
  select a.* into v_account from public.token_accounts a where a.user_id = v_payment.user_id;
  return jsonb_build_object(
    'success', true,
    'status', case
      when v_payment.id is not null then v_payment.status
      when p_facts.user_id is null or p_facts.plan_type is null then 'parked'
      else 'waiting'
    end,
    'payment_id', v_payment.id,
    'user_id', p_facts.user_id,
    'plan_type', p_facts.plan_type,
    'tokens_granted', coalesce(v_payment.tokens, 0),
    'tokens_clawed_back', coalesce(v_payment.tokens_clawed_back, 0),
    'tokens_owed', coalesce(v_account.tokens_owed, 0),
    'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = v_payment.user_id),
    'tokens_remaining', v_account.tokens_remaining);
end
$$;
comment on function private.settled(private.provider_payments) is 'Settles a provider''s payment and returns how it stands, as JSON.';
revoke all on function private.settled(private.provider_payments) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative), action_type, reason, actor, key,
 * request, metadata, links. The rest is given here.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found.
 * A user who never had a grant is initialised first (private.initialise).
 * Returns the transaction; or shortfall > 0, in which case nothing was changed, not even what
 * was due to expire; tokens_remaining then says what there is.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend(
  p_entry public.token_transactions,
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
  v_is_due boolean;
begin
  replayed := false;
  shortfall := 0;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
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
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  tokens_remaining := coalesce(v_account.tokens_remaining, 0)
    - case when v_is_due then private.tokens_due(p_entry.user_id, v_now) else 0 end;
  if tokens_remaining < -p_entry.tokens
    and not exists (select from public.token_balances b where b.user_id = p_entry.user_id)
  then
    perform private.initialise(p_entry.user_id); -- whom registration missed
    v_account := private.lock_account(p_entry.user_id);
    v_now := clock_timestamp(); -- what was just granted comes before what is now spent
    tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  end if;
  if tokens_remaining < -p_entry.tokens then
    shortfall := -p_entry.tokens - tokens_remaining;
    return;
  end if;
  if v_is_due then
    perform private.book_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.take_from_grants(p_entry.user_id, -p_entry.tokens) as taken;

  -- record
  p_entry.entry_type := 'deduction';
  p_entry.created_at := v_now;
  transaction := private.book(p_entry);
  tokens_remaining := transaction.balance_after;
end
$$;
comment on function private.spend(public.token_transactions) is
  'Spends tokens oldest grant first, all or nothing, under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed.';
revoke all on function private.spend(public.token_transactions) from public, anon, authenticated, service_role;

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
    v_grant.tokens_granted := least(p_plan.tokens, p_plan.balance_cap
      - (v_account.tokens_remaining - private.tokens_due(p_entry.user_id, v_now)));
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
end
$$;
comment on function private.take_up_next_plan(uuid) is
  'Puts a downgrade to a plan without a price into effect once its period has ended; changes no tokens.';
revoke all on function private.take_up_next_plan(uuid) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/approve_payment.sql

/*
 * Approves a pending payment: its plan and tokens, in this commit. Tokens are added to what the user
 * has, and the plan's mark becomes the new total. The payment is its own key: approving twice
 * answers what the first time answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.approve_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_payment public.payments;
  v_plan public.token_plans;
  v_started record;
  v_transaction public.token_transactions;
  v_subscription public.user_subscriptions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(null, p_reason, null);
  perform private.lock_account(p_user_id);
  select p.* into v_payment from public.payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'approved') then
    perform private.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  select p.* into v_plan from public.token_plans p where p.plan_type = v_payment.to_plan;
  if v_payment.status = 'pending' then
    update public.payments p
       set status = 'approved', tokens = v_plan.tokens, reason = coalesce(p_reason, 'approved'),
           decided_at = clock_timestamp(), decided_by = v_entry.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := coalesce(p_reason, 'payment approved');
  v_entry.payment_id := p_payment_id;
  v_entry.metadata := '{}';
  v_started := private.start_period(v_plan, null, v_payment.provider, v_payment.provider_payment_id, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;

  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', 'approved',
    'plan_type', v_payment.to_plan,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_started.replayed then v_transaction.balance_after else v_subscription.tokens_limit end,
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.approve_payment(uuid, uuid, text) is 'See public.approve_payment.';
revoke all on function private.approve_payment(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.approve_payment(uuid, uuid, text) to authenticated, service_role;

create or replace function public.approve_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.approve_payment(p_user_id, p_payment_id, p_reason);
end
$$;
comment on function public.approve_payment(uuid, uuid, text) is
  'Approves a pending payment: the plan and its tokens in one commit, added to what the user has; the plan''s mark becomes the new total. For an admin or the server. Approving twice changes nothing and answers replayed. Returns {success, payment_id, status, plan_type, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.approve_payment(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.approve_payment(uuid, uuid, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/assign_parked_payment.sql

/*
 * Says whose a parked payment is, and for which plan, and brings the books to it.
 * Caller: an admin, service_role.   Locks: the payment's facts, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, plan_not_found,
 * payment_not_found, payment_already_decided, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.assign_parked_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_facts private.provider_payments;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => false);
  perform private.require_user(p_user_id, v_actor.actor_role);
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;
  v_facts := private.lock_provider_payment(p_provider, p_provider_payment_id);
  if v_facts.provider is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_facts.user_id <> p_user_id or v_facts.plan_type <> p_plan_type then
    perform private.refuse('payment_already_decided', '{"status": "assigned"}');
  end if;
  update private.provider_payments f
     set user_id = p_user_id, plan_type = coalesce(f.plan_type, p_plan_type), updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
  returning f.* into v_facts;
  return private.settled(v_facts);
end
$$;
comment on function private.assign_parked_payment(text, text, uuid, text) is 'See public.assign_parked_payment.';
revoke all on function private.assign_parked_payment(text, text, uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.assign_parked_payment(text, text, uuid, text) to authenticated, service_role;

create or replace function public.assign_parked_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.assign_parked_payment(p_provider, p_provider_payment_id, p_user_id, p_plan_type);
end
$$;
comment on function public.assign_parked_payment(text, text, uuid, text) is
  'Says whose a parked payment is (and for which plan, where that is not known) and brings the books to it. For an admin or the server. Returns what record_provider_event returns, without replayed. Errors: payment_not_found, payment_already_decided, plan_not_found, user_not_found, forbidden, busy.';
revoke all on function public.assign_parked_payment(text, text, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.assign_parked_payment(text, text, uuid, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/check_token_synchronization.sql

/*
 * Limit and balance of everyone with an active subscription, the largest difference first:
 * synced, used some, not initialised, or mismatch (never: the balance above the mark).
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.check_token_synchronization()
returns table (user_id uuid, email text, plan_type text, tokens_remaining bigint, tokens_limit bigint, difference bigint, status text)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  return query
  select s.user_id, u.email::text, s.plan_type, a.tokens_remaining, s.tokens_limit,
         s.tokens_limit - a.tokens_remaining,
         case
           when a.user_id is null
             or not exists (select from public.token_balances b where b.user_id = s.user_id) then 'not initialised'
           when a.tokens_remaining = s.tokens_limit then 'synced'
           when a.tokens_remaining < s.tokens_limit then 'used some'
           else 'mismatch'
         end
    from public.user_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active
   order by 6 desc nulls first, 1;
end
$$;
comment on function private.check_token_synchronization() is 'See public.check_token_synchronization.';
revoke all on function private.check_token_synchronization() from public, anon, authenticated, service_role;
grant execute on function private.check_token_synchronization() to authenticated, service_role;

create or replace function public.check_token_synchronization()
returns table (user_id uuid, email text, plan_type text, tokens_remaining bigint, tokens_limit bigint, difference bigint, status text)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.check_token_synchronization();
end
$$;
comment on function public.check_token_synchronization() is
  'Limit and balance of everyone with an active subscription, the largest difference first; status synced, used some, not initialised or mismatch. For an admin or the server. Errors: not_authenticated, forbidden.';
revoke all on function public.check_token_synchronization() from public, anon, authenticated, service_role;
grant execute on function public.check_token_synchronization() to authenticated, service_role;

-- from supabase/schemas/40_functions/create_payment.sql

/*
 * Asks for a plan: a payment that waits for an administrator. Price and currency are the
 * catalogue's, never the caller's.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.create_payment(
  p_user_id uuid,
  p_to_plan text,
  p_idempotency_key text
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
  v_plan public.token_plans;
  v_payment public.payments;
  v_key text;
  v_replayed boolean;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => true);
  perform private.check_request(p_idempotency_key, null, null);
  -- as in the ledger: a user's keys and the server's for him never meet
  v_key := case when v_actor.actor_role = 'user' then 'user:' else 'server:' end || p_idempotency_key;
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
    perform private.lock_account(p_user_id, p_create => true);
  end if;

  select p.* into v_payment
    from public.payments p
   where p.user_id = p_user_id and p.idempotency_key = v_key;
  v_replayed := v_payment.id is not null;
  if v_replayed and v_payment.to_plan is distinct from p_to_plan then
    perform private.refuse('idempotency_key_reused', '{"differs": ["to_plan"]}');
  end if;
  if not v_replayed then
    select p.* into v_plan from public.token_plans p where p.plan_type = p_to_plan and p.is_offered;
    if v_plan.plan_type is null then
      perform private.refuse('plan_not_found', '{"field": "p_to_plan"}');
    end if;
    insert into public.payments as p (user_id, from_plan, to_plan, amount_cents, currency, idempotency_key)
    values (p_user_id,
            (select s.plan_type from public.user_subscriptions s where s.user_id = p_user_id),
            v_plan.plan_type, v_plan.price_cents, v_plan.currency,
            v_key)
    returning p.* into v_payment;
  end if;
  return jsonb_build_object(
    'success', true,
    'payment_id', v_payment.id,
    'status', v_payment.status,
    'from_plan', v_payment.from_plan,
    'to_plan', v_payment.to_plan,
    'amount_cents', v_payment.amount_cents,
    'currency', v_payment.currency,
    'replayed', v_replayed);
end
$$;
comment on function private.create_payment(uuid, text, text) is 'See public.create_payment.';
revoke all on function private.create_payment(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.create_payment(uuid, text, text) to authenticated, service_role;

create or replace function public.create_payment(
  p_user_id uuid,
  p_to_plan text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.create_payment(p_user_id, p_to_plan, p_idempotency_key);
end
$$;
comment on function public.create_payment(uuid, text, text) is
  'Asks for a plan: a pending payment for an admin to approve. For the user himself, an admin, or the server. Price and currency are the catalogue''s. Returns {success, payment_id, status, from_plan, to_plan, amount_cents, currency, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.create_payment(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.create_payment(uuid, text, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_recent_token_usage.sql

/*
 * What was spent in the last hours, newest first, with the balance of now.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.get_recent_token_usage(
  p_hours integer,
  p_limit integer
)
returns table (user_id uuid, email text, action text, tokens_used bigint, created_at timestamptz, current_balance bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  if p_hours is null or p_hours not between 1 and 8760 or p_limit is null or p_limit not between 1 and 10000 then
    perform private.refuse('invalid_page', '{"field": "p_hours", "rule": "1 to 8760 hours, 1 to 10000 rows"}');
  end if;
  return query
  select t.user_id, u.email::text, t.action_type, -t.tokens, t.created_at, a.tokens_remaining
    from public.token_transactions t
    join public.token_accounts a on a.user_id = t.user_id
    left join auth.users u on u.id = t.user_id
   where t.entry_type = 'deduction' and t.created_at >= clock_timestamp() - p_hours * interval '1 hour'
   order by t.created_at desc, t.user_id, t.id desc
   limit p_limit;
end
$$;
comment on function private.get_recent_token_usage(integer, integer) is 'See public.get_recent_token_usage.';
revoke all on function private.get_recent_token_usage(integer, integer) from public, anon, authenticated, service_role;
grant execute on function private.get_recent_token_usage(integer, integer) to authenticated, service_role;

create or replace function public.get_recent_token_usage(
  p_hours integer default 24,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, action text, tokens_used bigint, created_at timestamptz, current_balance bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.get_recent_token_usage(p_hours, p_limit);
end
$$;
comment on function public.get_recent_token_usage(integer, integer) is
  'What was spent in the last p_hours (1 to 8760), newest first, at most p_limit (1 to 10000) rows, with the balance of now. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_recent_token_usage(integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.get_recent_token_usage(integer, integer) to authenticated, service_role;

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
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', coalesce(a.tokens_remaining, 0) - due.tokens,
      'total_expired', coalesce(a.tokens_expired, 0) + due.tokens,
      'total_reserved', coalesce(a.tokens_reserved, 0),
      'total_owed', coalesce(a.tokens_owed, 0),
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
       select case when a.next_due_at <= v_now then private.tokens_due(p_user_id, v_now) else 0 end as tokens) due
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'id', g.id,
                  'grant_type', g.grant_type,
                  'tokens_granted', g.tokens_granted,
                  'tokens_remaining', g.tokens_remaining,
                  'priority', g.priority,
                  'granted_at', g.granted_at,
                  'expires_at', g.expires_at)
                order by g.priority, g.granted_at, g.id) as grants
         from (
           select b.* from public.token_balances b
            where b.user_id = p_user_id and b.is_open and (b.expires_at > v_now or b.expires_at is null)
            order by b.priority, b.granted_at, b.id
            limit 101) g) listed);
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

-- from supabase/schemas/40_functions/get_users_with_high_usage.sql

/*
 * Users who used the most in their lifetime, the highest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.get_users_with_high_usage(
  p_limit integer
)
returns table (user_id uuid, email text, tokens_used bigint, total_cost_cents numeric)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select a.user_id, u.email::text, a.tokens_used, a.total_cost
    from public.token_accounts a
    left join auth.users u on u.id = a.user_id
   order by a.tokens_used desc, a.user_id
   limit p_limit;
end
$$;
comment on function private.get_users_with_high_usage(integer) is 'See public.get_users_with_high_usage.';
revoke all on function private.get_users_with_high_usage(integer) from public, anon, authenticated, service_role;
grant execute on function private.get_users_with_high_usage(integer) to authenticated, service_role;

create or replace function public.get_users_with_high_usage(
  p_limit integer default 20
)
returns table (user_id uuid, email text, tokens_used bigint, total_cost_cents numeric)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.get_users_with_high_usage(p_limit);
end
$$;
comment on function public.get_users_with_high_usage(integer) is
  'The p_limit (1 to 10000) users who used the most tokens in their lifetime. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_users_with_high_usage(integer) from public, anon, authenticated, service_role;
grant execute on function public.get_users_with_high_usage(integer) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_users_with_low_balance.sql

/*
 * Users who have less than that to spend, the lowest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.get_users_with_low_balance(
  p_below bigint,
  p_limit integer
)
returns table (user_id uuid, email text, tokens_remaining bigint, tokens_used bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select c.user_id, u.email::text, c.vibe_assistant_tokens_remaining, c.vibe_assistant_tokens_used
    from public.user_token_counters c
    left join auth.users u on u.id = c.user_id
   where c.vibe_assistant_tokens_remaining < p_below
   order by 3, 1
   limit p_limit;
end
$$;
comment on function private.get_users_with_low_balance(bigint, integer) is 'See public.get_users_with_low_balance.';
revoke all on function private.get_users_with_low_balance(bigint, integer) from public, anon, authenticated, service_role;
grant execute on function private.get_users_with_low_balance(bigint, integer) to authenticated, service_role;

create or replace function public.get_users_with_low_balance(
  p_below bigint default 10000,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, tokens_remaining bigint, tokens_used bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.get_users_with_low_balance(p_below, p_limit);
end
$$;
comment on function public.get_users_with_low_balance(bigint, integer) is
  'Users with fewer than p_below tokens to spend, the lowest first, at most p_limit (1 to 10000). For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_users_with_low_balance(bigint, integer) from public, anon, authenticated, service_role;
grant execute on function public.get_users_with_low_balance(bigint, integer) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_users_without_balance.sql

/*
 * Users with an active subscription and no account: always none, or registration is broken.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.get_users_without_balance()
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  return query
  select s.user_id, u.email::text, s.plan_type, s.tokens_limit
    from public.user_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active and a.user_id is null
   order by s.user_id;
end
$$;
comment on function private.get_users_without_balance() is 'See public.get_users_without_balance.';
revoke all on function private.get_users_without_balance() from public, anon, authenticated, service_role;
grant execute on function private.get_users_without_balance() to authenticated, service_role;

create or replace function public.get_users_without_balance()
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.get_users_without_balance();
end
$$;
comment on function public.get_users_without_balance() is
  'Users with an active subscription and no account: always 0 rows. For an admin or the server. Errors: not_authenticated, forbidden.';
revoke all on function public.get_users_without_balance() from public, anon, authenticated, service_role;
grant execute on function public.get_users_without_balance() to authenticated, service_role;

-- from supabase/schemas/40_functions/list_parked_payments.sql

/*
 * Payments that providers told us of whose user or plan is not known, oldest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.list_parked_payments()
returns table (provider text, provider_payment_id text, user_id uuid, plan_type text, is_paid boolean, amount_cents bigint, currency text, refunded_cents bigint, created_at timestamptz)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize_operator();
  return query
  select f.provider, f.provider_payment_id, f.user_id, f.plan_type, f.is_paid, f.amount_cents, f.currency,
         f.refunded_cents, f.created_at
    from private.provider_payments f
   where f.user_id is null or f.plan_type is null
   order by f.created_at;
end
$$;
comment on function private.list_parked_payments() is 'See public.list_parked_payments.';
revoke all on function private.list_parked_payments() from public, anon, authenticated, service_role;
grant execute on function private.list_parked_payments() to authenticated, service_role;

create or replace function public.list_parked_payments()
returns table (provider text, provider_payment_id text, user_id uuid, plan_type text, is_paid boolean, amount_cents bigint, currency text, refunded_cents bigint, created_at timestamptz)
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return query select * from private.list_parked_payments();
end
$$;
comment on function public.list_parked_payments() is
  'Payments of providers whose user or plan is not known yet, oldest first; see assign_parked_payment. For an admin or the server. Errors: not_authenticated, forbidden.';
revoke all on function public.list_parked_payments() from public, anon, authenticated, service_role;
grant execute on function public.list_parked_payments() to authenticated, service_role;

-- from supabase/schemas/40_functions/record_provider_event.sql

/*
 * Takes one event of a payment provider: merges what it says into what is known of the payment, and
 * brings the books to it, in one commit. The same event again changes nothing, and different events
 * in any order end in the same state (private.settle_payment). A payment whose user or plan is not
 * known is parked, never dropped.
 * p_facts: {kind: paid | refunded | disputed | dispute_won, user_id, plan_type, amount_cents, currency,
 * refunded_cents (in all), period_start}; what is not known is left out.
 * Caller: service_role, after it has verified the signature.   Locks: the payment's facts, then the
 * account.
 * Errors: invalid_provider_event, idempotency_key_reused, balance_limit_exceeded, busy.
 * Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.record_provider_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_facts private.provider_payments;
  v_replayed boolean;
  v_other text;
begin
  if p_provider is null or p_provider not in ('stripe', 'paypal')
    or coalesce(p_event_id, '') !~ '^[A-Za-z0-9._:-]{1,255}$'
    or coalesce(p_provider_payment_id, '') !~ '^[A-Za-z0-9._:-]{1,255}$'
    or coalesce(length(p_event_type), 0) not between 1 and 255
    or coalesce(jsonb_typeof(p_facts), '') <> 'object'
    or coalesce(p_facts ->> 'kind', '') not in ('paid', 'refunded', 'disputed', 'dispute_won')
    or octet_length(p_facts::text) > 8192
    or (p_facts ->> 'amount_cents')::bigint < 0
    or (p_facts ->> 'refunded_cents')::bigint < 0
  then
    perform private.refuse('invalid_provider_event', '{"field": "p_facts", "rule": "a known provider, ids of at most 255 characters, a known kind, amounts that are not negative"}');
  end if;

  perform private.lock_provider_payment(p_provider, p_provider_payment_id, p_create => true);
  insert into private.provider_events (provider, event_id, event_type, provider_payment_id, facts)
  values (p_provider, p_event_id, p_event_type, p_provider_payment_id, p_facts)
  on conflict do nothing;
  v_replayed := not found;
  if v_replayed then
    select e.provider_payment_id into v_other
      from private.provider_events e where e.provider = p_provider and e.event_id = p_event_id;
    if v_other <> p_provider_payment_id then
      perform private.refuse('idempotency_key_reused', '{"differs": ["provider_payment_id"]}');
    end if;
  end if;

  -- merge: every line is a maximum, an "or", or "the first that is known"
  update private.provider_payments f
     set user_id = coalesce(f.user_id, (
           select known.id from (
             select u.id from auth.users u where u.id = (p_facts ->> 'user_id')::uuid
             union all
             select a.user_id from public.token_accounts a where a.user_id = (p_facts ->> 'user_id')::uuid) known
            limit 1)),
         plan_type = coalesce(f.plan_type, (
           select p.plan_type from public.token_plans p where p.plan_type = p_facts ->> 'plan_type')),
         is_paid = f.is_paid or p_facts ->> 'kind' = 'paid',
         amount_cents = greatest(f.amount_cents, (p_facts ->> 'amount_cents')::bigint),
         currency = coalesce(f.currency, lower(p_facts ->> 'currency')),
         refunded_cents = greatest(f.refunded_cents, (p_facts ->> 'refunded_cents')::bigint),
         was_disputed = f.was_disputed or p_facts ->> 'kind' = 'disputed',
         dispute_was_won = f.dispute_was_won or p_facts ->> 'kind' = 'dispute_won',
         period_start = coalesce(f.period_start, (p_facts ->> 'period_start')::timestamptz),
         updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id
  returning f.* into v_facts;
  return private.settled(v_facts) || jsonb_build_object('replayed', v_replayed);
end
$$;
comment on function private.record_provider_event(text, text, text, text, jsonb) is 'See public.record_provider_event.';
revoke all on function private.record_provider_event(text, text, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.record_provider_event(text, text, text, text, jsonb) to service_role;

create or replace function public.record_provider_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.record_provider_event(p_provider, p_event_id, p_event_type, p_provider_payment_id, p_facts);
end
$$;
comment on function public.record_provider_event(text, text, text, text, jsonb) is
  'Takes one verified event of a payment provider (stripe or paypal) and brings the books to it; the same event again changes nothing, and any order of events ends in the same state. For the server only. p_facts {kind: paid | refunded | disputed | dispute_won, user_id, plan_type, amount_cents, currency, refunded_cents (in all), period_start}. Returns {success, status (parked, waiting, approved, refunded), payment_id, user_id, plan_type, tokens_granted, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, replayed}. Errors: invalid_provider_event, idempotency_key_reused, balance_limit_exceeded, busy.';
revoke all on function public.record_provider_event(text, text, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.record_provider_event(text, text, text, text, jsonb) to service_role;

-- from supabase/schemas/40_functions/refund_payment.sql

/*
 * Books that money of a manual payment went back: that share of its tokens is taken back, or becomes
 * debt; all of it, and the plan goes back to the one before. p_refunded_cents is what has been
 * refunded in all (left out: everything), so a repetition changes nothing. What Stripe or PayPal
 * refunds comes by their webhooks.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_amount,
 * payment_not_found, payment_already_decided, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.refund_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text,
  p_refunded_cents bigint
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
  v_payment public.payments;
  v_refunded bigint;
  v_replayed boolean;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform private.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform private.check_request(null, p_reason, null);
  v_account := private.lock_account(p_user_id);
  select p.* into v_payment from public.payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('approved', 'refunded') or v_payment.provider <> 'manual' then
    perform private.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;
  v_refunded := coalesce(p_refunded_cents, greatest(v_payment.amount_cents, 1));
  if v_refunded not between greatest(v_payment.refunded_cents, 1) and greatest(v_payment.amount_cents, 1) then
    perform private.refuse('invalid_amount',
      '{"field": "p_refunded_cents", "rule": "what has been refunded in all: no less than before, no more than was paid"}');
  end if;

  v_replayed := v_refunded = v_payment.refunded_cents;
  v_payment := private.settle_refunds(
    v_payment, v_refunded, false, p_reason, v_actor.actor_role, v_actor.actor_id);
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', v_payment.status,
    'refunded_cents', v_payment.refunded_cents,
    'tokens_clawed_back', v_payment.tokens_clawed_back,
    'tokens_owed', v_account.tokens_owed,
    'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = p_user_id),
    'tokens_remaining', v_account.tokens_remaining,
    'replayed', v_replayed);
end
$$;
comment on function private.refund_payment(uuid, uuid, text, bigint) is 'See public.refund_payment.';
revoke all on function private.refund_payment(uuid, uuid, text, bigint) from public, anon, authenticated, service_role;
grant execute on function private.refund_payment(uuid, uuid, text, bigint) to authenticated, service_role;

create or replace function public.refund_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text,
  p_refunded_cents bigint default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.refund_payment(p_user_id, p_payment_id, p_reason, p_refunded_cents);
end
$$;
comment on function public.refund_payment(uuid, uuid, text, bigint) is
  'Books that money of a manual payment went back: that share of its tokens is taken back, what was spent of them becomes debt; in full, the plan goes back to the one before. For an admin or the server. p_refunded_cents is what has been refunded in all, left out: everything. Returns {success, payment_id, status, refunded_cents, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, replayed}. Errors: payment_not_found, payment_already_decided, invalid_amount, invalid_reason, forbidden, busy.';
revoke all on function public.refund_payment(uuid, uuid, text, bigint) from public, anon, authenticated, service_role;
grant execute on function public.refund_payment(uuid, uuid, text, bigint) to authenticated, service_role;

-- from supabase/schemas/40_functions/reject_payment.sql

/*
 * Rejects a pending payment, with a reason. Rejecting twice changes nothing.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.reject_payment(
  p_user_id uuid,
  p_payment_id uuid,
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
  v_payment public.payments;
begin
  select * into v_actor from private.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform private.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform private.check_request(null, p_reason, null);
  perform private.lock_account(p_user_id);
  select p.* into v_payment from public.payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform private.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'rejected') then
    perform private.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  update public.payments p
     set status = 'rejected', reason = p_reason, decided_at = clock_timestamp(), decided_by = v_actor.actor_id
   where p.user_id = p_user_id and p.id = p_payment_id and p.status = 'pending';
  return jsonb_build_object(
    'success', true, 'payment_id', p_payment_id, 'status', 'rejected', 'replayed', v_payment.status = 'rejected');
end
$$;
comment on function private.reject_payment(uuid, uuid, text) is 'See public.reject_payment.';
revoke all on function private.reject_payment(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.reject_payment(uuid, uuid, text) to authenticated, service_role;

create or replace function public.reject_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.reject_payment(p_user_id, p_payment_id, p_reason);
end
$$;
comment on function public.reject_payment(uuid, uuid, text) is
  'Rejects a pending payment with a reason. For an admin or the server. Rejecting twice changes nothing and answers replayed. Returns {success, payment_id, status, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, forbidden, busy.';
revoke all on function public.reject_payment(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.reject_payment(uuid, uuid, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/renew_subscription.sql

/*
 * Starts the next period of a user's subscription: a new grant, never a reset, made once per period.
 * After a downgrade it is the period of the lower plan. Left out, p_period_start is the end of the
 * present period. Nothing changes before that moment.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, subscription_not_found, not_due_yet,
 * balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.renew_subscription(
  p_user_id uuid,
  p_period_start timestamptz
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_subscription public.user_subscriptions;
  v_plan public.token_plans;
  v_start timestamptz;
  v_started record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  v_account := private.lock_account(p_user_id);
  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  if v_subscription.user_id is null or not v_subscription.is_active then
    perform private.refuse('subscription_not_found', '{}');
  end if;
  v_start := coalesce(p_period_start, v_subscription.expires_at);
  if not exists (
    select from public.token_balances b
     where b.user_id = p_user_id and b.subscription_id = v_subscription.id and b.period_start = v_start)
    and (v_start is null or v_start > clock_timestamp() or v_start < v_subscription.expires_at)
  then
    perform private.refuse('not_due_yet', jsonb_build_object('due_at', v_subscription.expires_at));
  end if;

  select p.* into v_plan from public.token_plans p
   where p.plan_type = coalesce(v_subscription.next_plan_type, v_subscription.plan_type);
  v_entry.user_id := p_user_id;
  v_entry.action_type := 'renewal_grant';
  v_entry.reason := v_plan.plan_type || ' renewal';
  v_entry.metadata := '{}';
  v_started := private.start_period(v_plan, v_start, v_subscription.payment_method, null, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  return jsonb_build_object(
    'success', true,
    'plan_type', v_subscription.plan_type,
    'period_start', v_start,
    'expires_at', v_subscription.expires_at,
    'tokens_granted', coalesce(v_transaction.tokens, 0),
    'tokens_limit', v_subscription.tokens_limit,
    'tokens_remaining', coalesce(v_transaction.balance_after, v_account.tokens_remaining),
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.renew_subscription(uuid, timestamptz) is 'See public.renew_subscription.';
revoke all on function private.renew_subscription(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function private.renew_subscription(uuid, timestamptz) to authenticated, service_role;

create or replace function public.renew_subscription(
  p_user_id uuid,
  p_period_start timestamptz default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.renew_subscription(p_user_id, p_period_start);
end
$$;
comment on function public.renew_subscription(uuid, timestamptz) is
  'Starts the next period of a subscription: a new grant, once per period; after a downgrade, of the lower plan. For an admin or the server. p_period_start left out: the end of the present period. Returns {success, plan_type, period_start, expires_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: subscription_not_found, not_due_yet, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.renew_subscription(uuid, timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.renew_subscription(uuid, timestamptz) to authenticated, service_role;

-- from supabase/schemas/40_functions/upgrade_plan.sql

/*
 * Changes a user's plan, for the server. To a plan of a higher or equal rank at once, with its tokens
 * added in this commit; to a lower one at the end of the period, and no token is taken away.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text,
  p_payment_id text,
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
  v_account public.token_accounts;
  v_plan public.token_plans;
  v_subscription public.user_subscriptions;
  v_is_scheduled boolean;
  v_transaction public.token_transactions;
  v_started record;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(p_idempotency_key, null, null);
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
  if v_plan.plan_type is null then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  v_entry.user_id := p_user_id;
  v_entry.reason := 'upgrade to ' || p_plan_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'upgrade', 'plan_type', p_plan_type,
    'payment_method', p_payment_method, 'payment_id', p_payment_id);
  v_entry.metadata := '{}';
  v_transaction := private.find_replay(v_entry);

  select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
  if v_transaction.id is null and v_subscription.is_active and v_subscription.expires_at > clock_timestamp()
    and v_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_subscription.plan_type)
  then
    v_is_scheduled := v_subscription.next_plan_type is not distinct from p_plan_type;
    update public.user_subscriptions s
       set next_plan_type = p_plan_type, updated_at = clock_timestamp()
     where s.user_id = p_user_id
    returning s.* into v_subscription;
    return jsonb_build_object(
      'success', true, 'plan_type', p_plan_type, 'effective', 'period_end',
      'effective_at', v_subscription.expires_at, 'tokens_granted', 0,
      'tokens_limit', v_subscription.tokens_limit, 'tokens_remaining', v_account.tokens_remaining,
      'transaction_id', null, 'replayed', v_is_scheduled);
  end if;

  v_started := private.start_period(v_plan, null, p_payment_method, p_payment_id, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'effective', 'now',
    'effective_at', v_transaction.created_at,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_started.replayed then v_transaction.balance_after else v_subscription.tokens_limit end,
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function private.upgrade_plan(uuid, text, text, text, text) is 'See public.upgrade_plan.';
revoke all on function private.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function private.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;

create or replace function public.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text default null,
  p_payment_id text default null,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.upgrade_plan(p_user_id, p_plan_type, p_payment_method, p_payment_id, p_idempotency_key);
end
$$;
comment on function public.upgrade_plan(uuid, text, text, text, text) is
  'Changes a user''s plan. For an admin or the server. To a plan of a higher or equal rank at once, its tokens added in the same commit; to a lower one at the end of the period, taking no token away. p_payment_method (card, paypal, …) and p_payment_id are kept with the subscription. Returns {success, plan_type, effective (now or period_end), effective_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;

-- from supabase/schemas/50_views/token_usage_history.sql

/*
 * Spending under the names of an older table: one row a deduction.
 */
create view public.token_usage_history
with (security_invoker = true)
as
select t.id, t.user_id, t.metadata ->> 'article_id' as article_id, -t.tokens as tokens_used,
       t.action_type as action, t.created_at
  from public.token_transactions t
 where t.entry_type = 'deduction';
comment on view public.token_usage_history is 'Deductions under older names. Read-only; users see their own.';
comment on column public.token_usage_history.id is 'Number of the transaction among the user''s.';
comment on column public.token_usage_history.user_id is 'The user.';
comment on column public.token_usage_history.article_id is 'The article it was for, when the caller said so in the metadata.';
comment on column public.token_usage_history.tokens_used is 'Tokens, positive.';
comment on column public.token_usage_history.action is 'What they were spent on.';
comment on column public.token_usage_history.created_at is 'When.';

-- from supabase/schemas/70_privileges.sql

/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything is taken away by name first, then given.
 *
 *                                   anon   authenticated        service_role
 *   tables and views (public)       -      select (own rows)    select
 *   token_plans                     select select               select
 *   tables (private)                -      -                    -
 *   deduct_tokens_with_fifo         -      execute (himself)    execute
 *   get_user_token_balance          -      execute (himself)    execute
 *   get_token_history               -      execute (himself)    execute
 *   get_user_storage_quota          -      execute (himself)    execute
 *   create_payment                  -      execute (himself)    execute
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   approve_, reject_, refund_pay.  -      execute (admins)     execute
 *   upgrade_plan, renew_subscr.     -      execute (admins)     execute
 *   parked payments, reports        -      execute (admins)     execute
 *   expire_old_token_grants         -      -                    execute
 *   record_provider_event           -      -                    execute
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
  public.user_storage,
  public.token_plans,
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
  public.user_storage,
  public.token_plans,
  public.user_subscriptions,
  public.payments,
  public.user_token_counters,
  public.token_usage_history
to authenticated, service_role;
grant select on table public.token_plans to anon;

-- the security definer halves of the public functions
grant execute on function
  private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
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
  private.get_users_without_balance(),
  private.get_recent_token_usage(integer, integer),
  private.get_users_with_low_balance(bigint, integer),
  private.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  private.expire_old_token_grants(integer),
  private.record_provider_event(text, text, text, text, jsonb)
to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
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
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer),
  public.record_provider_event(text, text, text, text, jsonb)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
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
  public.get_users_without_balance(),
  public.get_recent_token_usage(integer, integer),
  public.get_users_with_low_balance(bigint, integer),
  public.get_users_with_high_usage(integer)
to authenticated, service_role;
grant execute on function
  public.expire_old_token_grants(integer),
  public.record_provider_event(text, text, text, text, jsonb)
to service_role;

-- The plans to start from. What the seeds leave open has a sensible value; edit it all.
insert into public.token_plans
  (plan_type, name, tokens, articles_limit, storage_gb, price_cents, billing_cycle, grant_type,
   grant_lifetime_days, rank, is_default)
values
  ('free', 'Free', 10000, 2, 0, 0, 'none', 'plan', null, 0, true),
  ('trial', 'Trial', 100000, 5, 25, 0, 'none', 'trial', 56, 5, false),
  ('starter', 'Starter', 400000, 20, 0, 900, 'monthly', 'plan', null, 10, false),
  ('28day', '28-day membership', 600000, 30, 25, 1900, '28day', '28day', 90, 15, false),
  ('grow', 'Grow', 1000000, 60, 0, 1900, 'monthly', 'plan', null, 20, false),
  ('professional', 'Professional', 2000000, 200, 0, 3900, 'monthly', 'plan', null, 30, false),
  ('annual', 'Annual membership', 5000000, null, 100, 19900, 'annual', 'annual', 365, 40, false)
on conflict do nothing;

do $$
declare
  v_copied bigint := 0;
  v_given bigint := 0;
  v_placed bigint;
  v_user record;
begin
  if to_regclass('private.old_user_subscriptions') is not null then
    execute $copy$
      insert into public.user_subscriptions
        (user_id, plan_type, tokens_limit, articles_limit, features, billing_cycle, is_active, auto_renew,
         payment_method, payment_id, period_start, expires_at, created_at)
      select r.user_id, p.plan_type, coalesce(r.tokens_limit, p.tokens), coalesce(r.articles_limit, p.articles_limit),
             case when jsonb_typeof(r.features) = 'object' then r.features else p.features end, p.billing_cycle,
             coalesce(r.is_active, true), coalesce(r.auto_renew, true), r.payment_method, r.payment_id,
             coalesce(r.created_at, now()),
             case when r.expires_at > coalesce(r.created_at, now()) then r.expires_at end, coalesce(r.created_at, now())
        from private.old_user_subscriptions o
       cross join lateral jsonb_populate_record(null::public.user_subscriptions, to_jsonb(o) - 'id') r
        join public.token_plans p on p.plan_type = r.plan_type
       where r.user_id is not null
    $copy$;
    get diagnostics v_copied = row_count;
  end if;

  -- who has grants keeps them and is put on the default plan, his balance its mark
  insert into public.user_subscriptions
    (user_id, plan_type, tokens_limit, articles_limit, features, billing_cycle, auto_renew)
  select u.id, p.plan_type, a.tokens_remaining, p.articles_limit, p.features, p.billing_cycle, p.billing_cycle <> 'none'
    from auth.users u
    join public.token_accounts a on a.user_id = u.id
    join public.token_plans p on p.is_default
   where exists (select from public.token_balances b where b.user_id = u.id)
  on conflict do nothing;
  get diagnostics v_placed = row_count;

  -- who never had one gets his plan's tokens
  for v_user in
    select u.id from auth.users u
     where not exists (select from public.token_balances b where b.user_id = u.id)
     order by u.id
  loop
    perform private.initialise(v_user.id);
    v_given := v_given + 1;
  end loop;
  -- the balance is never above the mark
  update public.user_subscriptions s
     set tokens_limit = a.tokens_remaining
    from public.token_accounts a
   where a.user_id = s.user_id and a.tokens_remaining > s.tokens_limit;

  if exists (
    select from auth.users u
     where exists (select from public.token_plans p where p.is_default)
       and not exists (select from public.user_subscriptions s where s.user_id = u.id))
  then
    raise exception 'a user was left without a plan; nothing was changed';
  end if;
  perform private.report('20261121100000_plans', concat_ws(E'\n',
    'Plans:',
    format('  - %s plans in the catalogue', (select count(*) from public.token_plans)),
    format('  - Put %s users with tokens on the default plan, their balances unchanged', v_placed),
    format('  - Gave %s users who never had a grant their plan''s tokens', v_given),
    case when v_copied > 0 then format('  - Copied %s subscriptions', v_copied) end));
end
$$;
