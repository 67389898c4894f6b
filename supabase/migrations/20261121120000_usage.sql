/*
 * Usage and its cost: what models cost the project and actions cost users, one call that records
 * an operation and deducts for it, a quote before and an explanation after.
 *
 * Adds to the ledger: entries that move no tokens (usage), the difference that an exact replay of
 * history finds (restatement), and which transaction an entry undoes. Adds to token_usage what
 * costs are made of. Rows that are there stay as they are.
 *
 * Both tables are locked while their rows are checked; the new columns have no value to check.
 */
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation

alter table public.token_transactions
  add column original_id bigint,
  add constraint token_transactions_undo_what_came_before check (original_id < id),
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
      else false
    end);
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry; clawback (a payment was refunded or disputed), restoration (a dispute was won), debt_repayment (a grant paid a debt first); usage (an operation that cost nothing), restatement (history was replayed exactly, and this is the difference).';
comment on column public.token_transactions.original_id is 'The transaction that this one undoes, whole or in part.';

alter table public.token_usage
  add column cached_tokens bigint,
  add column reasoning_tokens bigint,
  add column images integer,
  add column seconds numeric,
  add column tokens_uncovered bigint not null default 0,
  add column transaction_id bigint,
  add constraint token_usage_uncovered_is_part_of_used
    check (tokens_uncovered = 0 or tokens_uncovered between 1 and tokens_used);
comment on column public.token_usage.tokens_used is 'Tokens that the operation counts for, never negative: deducted when it succeeded, less tokens_uncovered. Of an adjustment the number granted or deducted.';
comment on column public.token_usage.cost_estimate is 'Cost in cents, rounded up to 0.0001; NULL when it is not known.';
comment on column public.token_usage.cached_tokens is 'Of the input tokens, those that the provider had cached.';
comment on column public.token_usage.reasoning_tokens is 'Of the output tokens, those that the model thought with.';
comment on column public.token_usage.images is 'Images made.';
comment on column public.token_usage.seconds is 'Seconds of audio.';
comment on column public.token_usage.tokens_uncovered is 'Of the tokens used, those that no grant paid for: the balance did not reach.';
comment on column public.token_usage.transaction_id is 'Its transaction in the ledger; NULL for what happened before the books opened.';
create index token_transactions_original_idx
  on public.token_transactions (user_id, original_id) where original_id is not null;

-- they get another parameter each
drop function private.book(public.token_transactions);
drop function private.spend(public.token_transactions);
drop function private.take_from_grants(uuid, bigint);

-- from supabase/schemas/15_catalogue/ai_action_costs.sql

-- What actions cost users, in tokens. Data of the project: edit it; no migration overwrites a row.
create table public.ai_action_costs (
  action_type text primary key,
  min_tokens bigint not null,
  max_tokens bigint not null,
  constraint ai_action_costs_name_is_plain check (action_type ~ '^[a-z][a-z0-9_]{0,63}$'),
  constraint ai_action_costs_are_within_limits
    check (min_tokens >= 0 and min_tokens <= max_tokens and max_tokens <= 1000000000000)
);
comment on table public.ai_action_costs is
  'What each action costs a user: the tokens counted, at least min_tokens and at most max_tokens; a fixed price has both the same. An action that is not listed costs what was counted. The project''s own data; whoever is signed in may read it.';
comment on column public.ai_action_costs.action_type is 'The action.';
comment on column public.ai_action_costs.min_tokens is 'Tokens that it costs at least.';
comment on column public.ai_action_costs.max_tokens is 'Tokens that it costs at most.';

alter table public.ai_action_costs enable row level security;
create policy "Everyone who is signed in reads what actions cost" on public.ai_action_costs
  for select to authenticated
  using (true);

-- from supabase/schemas/15_catalogue/ai_model_prices.sql

-- What models cost the project, by date. Data of the project: edit it; no migration overwrites a row.
create table public.ai_model_prices (
  model text not null,
  valid_from timestamptz not null default '-infinity',
  input_cents_per_million numeric,
  cached_input_cents_per_million numeric,
  output_cents_per_million numeric,
  cents_per_image numeric,
  cents_per_minute numeric,
  constraint ai_model_prices_pkey primary key (model, valid_from),
  constraint ai_model_prices_are_never_negative check (
    input_cents_per_million >= 0 and cached_input_cents_per_million >= 0 and output_cents_per_million >= 0
    and cents_per_image >= 0 and cents_per_minute >= 0),
  constraint ai_model_prices_are_numbers check (
    coalesce(input_cents_per_million, 0) + coalesce(cached_input_cents_per_million, 0)
    + coalesce(output_cents_per_million, 0) + coalesce(cents_per_image, 0) + coalesce(cents_per_minute, 0)
    < 'infinity')
);
comment on table public.ai_model_prices is
  'What each model costs the project, in cents, from a date on. The project''s own data. A price that is NULL is not known, and neither is then the cost of what uses it.';
comment on column public.ai_model_prices.model is 'The model, as token_usage.model_used names it.';
comment on column public.ai_model_prices.valid_from is 'From when these prices hold, until a later row''s moment.';
comment on column public.ai_model_prices.input_cents_per_million is 'Cents per million input tokens.';
comment on column public.ai_model_prices.cached_input_cents_per_million is 'Cents per million of the input tokens that the provider had cached; NULL = as other input.';
comment on column public.ai_model_prices.output_cents_per_million is 'Cents per million output tokens, reasoning included.';
comment on column public.ai_model_prices.cents_per_image is 'Cents per image made.';
comment on column public.ai_model_prices.cents_per_minute is 'Cents per minute of audio.';

alter table public.ai_model_prices enable row level security;
create policy "Everyone who is signed in reads the prices" on public.ai_model_prices
  for select to authenticated
  using (true);

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
                         'clawback', 'restoration', 'debt_repayment', 'restatement')
  then
    perform private.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
end
$$;
comment on function private.check_action_type(text) is
  'Refuses an action type that is not a plain lower-case name, or one of the names that the ledger keeps for itself.';
revoke all on function private.check_action_type(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/check_usage.sql

/*
 * Refuses a usage row to be that no operation can have had, naming the field.
 * Caller: internal.   Errors: invalid_usage.
 */
create or replace function private.check_usage(p_usage public.token_usage)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_field text;
begin
  select f.field into v_field
    from (values
      ('p_input_tokens', p_usage.input_tokens),
      ('p_output_tokens', p_usage.output_tokens),
      ('p_tokens_used', p_usage.tokens_used),
      ('p_cached_tokens', p_usage.cached_tokens),
      ('p_reasoning_tokens', p_usage.reasoning_tokens)) as f (field, tokens)
   where f.tokens not between 0 and 1000000000000
   limit 1;
  if v_field is not null then
    perform private.refuse('invalid_usage',
      jsonb_build_object('field', v_field, 'rule', 'a whole number from 0 to 1000000000000'));
  elsif p_usage.cached_tokens > coalesce(p_usage.input_tokens, 0) then
    perform private.refuse('invalid_usage',
      '{"field": "p_cached_tokens", "rule": "part of p_input_tokens, so no more than that"}');
  elsif p_usage.reasoning_tokens > coalesce(p_usage.output_tokens, 0) then
    perform private.refuse('invalid_usage',
      '{"field": "p_reasoning_tokens", "rule": "part of p_output_tokens, so no more than that"}');
  elsif p_usage.images not between 0 and 1000000 then
    perform private.refuse('invalid_usage', '{"field": "p_images", "rule": "a whole number from 0 to 1000000"}');
  elsif p_usage.seconds not between 0 and 1000000 then -- NaN is greater than any number
    perform private.refuse('invalid_usage', '{"field": "p_seconds", "rule": "a number from 0 to 1000000"}');
  elsif octet_length(p_usage.model_used) > 200 or p_usage.model_used !~ '\S' then
    perform private.refuse('invalid_usage',
      '{"field": "p_model_used", "rule": "1 to 200 bytes, not all blank"}');
  elsif length(p_usage.error_message) > 2000 then
    perform private.refuse('invalid_usage', '{"field": "p_error_message", "rule": "at most 2000 characters"}');
  end if;
end
$$;
comment on function private.check_usage(public.token_usage) is
  'Refuses amounts of use that cannot be, with invalid_usage, naming the field.';
revoke all on function private.check_usage(public.token_usage) from public, anon, authenticated, service_role;

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
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('payment_not_found', 'PT404', 'There is no such payment of that user.'),
      ('plan_not_found', 'PT404', 'Use a plan of the catalogue (token_plans).'),
      ('subscription_not_found', 'PT404', 'The user has no active subscription.'),
      ('charge_not_found', 'PT404', 'There is no such usage or transaction of that user.'),
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
       set tokens_remaining = a.tokens_remaining + p_entry.tokens,
           -- an admin's correction takes tokens away, but nobody used them
           tokens_used = a.tokens_used
             - case when p_entry.entry_type = 'deduction' and p_entry.action_type <> 'admin_deduct'
                 then p_entry.tokens else 0 end,
           tokens_owed = a.tokens_owed + coalesce(p_entry.debt_change, 0),
           total_cost = a.total_cost + p_cost,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_entry.created_at
     where a.user_id = p_entry.user_id
    returning a.last_transaction_id, a.tokens_remaining + a.tokens_reserved as balance
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, grant_ids, grant_tokens,
     reason, actor_role, actor_id, idempotency_key, request, usage_id, hold_id, payment_id,
     original_id, metadata, created_at)
  select p_entry.user_id, account.last_transaction_id, p_entry.entry_type, p_entry.action_type,
         p_entry.tokens, account.balance, coalesce(p_entry.debt_change, 0), p_entry.grant_ids, p_entry.grant_tokens,
         p_entry.reason, p_entry.actor_role, p_entry.actor_id, p_entry.idempotency_key,
         case when p_entry.idempotency_key is not null then p_entry.request end,
         p_entry.usage_id, p_entry.hold_id, p_entry.payment_id,
         p_entry.original_id, p_entry.metadata, p_entry.created_at
    from account
  returning t.* into v_transaction;
  return v_transaction;
end
$$;
comment on function private.book(public.token_transactions, numeric) is
  'Writes one transaction: account totals and ledger row in one statement. Takes the row to be, without id and balance_after, and what the operation cost in cents; the account is locked and the grants are changed by the caller.';
revoke all on function private.book(public.token_transactions, numeric) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/choose_grants.sql

/*
 * Which grants would pay for that many tokens now, and how much each: in burn order (priority,
 * granted_at, id), stopping at the grant that covers the rest. Adds up to less when there is less.
 * The one place that knows the order: a deduction takes what this says, and a quote shows it.
 * Caller: internal.   Keeps: I7, I8.
 */
create or replace function private.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
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
  v_needed bigint := p_tokens;
  v_grant record;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_grant in
    select b.id, b.tokens_remaining
      from public.token_balances b
     where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
     order by b.priority, b.granted_at, b.id
  loop
    exit when v_needed <= 0;
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || least(v_grant.tokens_remaining, v_needed);
    v_needed := v_needed - v_grant.tokens_remaining;
  end loop;
end
$$;
comment on function private.choose_grants(uuid, bigint, timestamptz) is
  'Which grants would pay for that many tokens now, and how much each, in burn order.';
revoke all on function private.choose_grants(uuid, bigint, timestamptz) from public, anon, authenticated, service_role;

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
      from private.take_from_grants(p_payment.user_id, v_from_others, v_now) as taken;
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

-- from supabase/schemas/40_books/measure_usage.sql

/*
 * What an operation counts for: tokens_used and cost_estimate of the usage row to be.
 *
 * Tokens: the number that was given; else input + output, brought within what ai_action_costs asks
 * for that action at least and at most; NULL when neither says anything. Cached tokens are part of
 * the input, reasoning tokens part of the output: neither counts twice.
 * Cost: cents by the model's prices at created_at, rounded up to 0.0001 once. NULL, never 0, when
 * the model, a price that is needed, or what was used is not known.
 * Caller: internal: tracking, quotes and captures alike.
 */
create or replace function private.measure_usage(p_usage public.token_usage)
returns public.token_usage
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_counted bigint := coalesce(p_usage.input_tokens, 0) + coalesce(p_usage.output_tokens, 0);
  v_price public.ai_model_prices;
begin
  if p_usage.tokens_used is null then
    select least(greatest(v_counted, c.min_tokens), c.max_tokens) into p_usage.tokens_used
      from public.ai_action_costs c where c.action_type = p_usage.action_type;
  end if;
  if p_usage.tokens_used is null and (p_usage.input_tokens is not null or p_usage.output_tokens is not null) then
    p_usage.tokens_used := v_counted;
  end if;

  p_usage.cost_estimate := null;
  if coalesce(p_usage.input_tokens, p_usage.output_tokens, p_usage.images, p_usage.seconds) is not null then
    select p.* into v_price
      from public.ai_model_prices p
     where p.model = p_usage.model_used and p.valid_from <= p_usage.created_at
     order by p.valid_from desc
     limit 1;
    -- what was not used costs nothing even where its price is not known
    p_usage.cost_estimate := ceil(10000 * (
        case when p_usage.input_tokens > coalesce(p_usage.cached_tokens, 0)
          then (p_usage.input_tokens - coalesce(p_usage.cached_tokens, 0)) * v_price.input_cents_per_million / 1000000 else 0 end
      + case when p_usage.cached_tokens > 0
          then p_usage.cached_tokens
               * coalesce(v_price.cached_input_cents_per_million, v_price.input_cents_per_million) / 1000000 else 0 end
      + case when p_usage.output_tokens > 0
          then p_usage.output_tokens * v_price.output_cents_per_million / 1000000 else 0 end
      + case when p_usage.images > 0 then p_usage.images * v_price.cents_per_image else 0 end
      + case when p_usage.seconds > 0 then p_usage.seconds * v_price.cents_per_minute / 60 else 0 end)) / 10000;
    if v_price.model is null then
      p_usage.cost_estimate := null;
    end if;
  end if;
  return p_usage;
end
$$;
comment on function private.measure_usage(public.token_usage) is
  'Fills tokens_used and cost_estimate (cents, rounded up to 0.0001, NULL = unknown) of a usage row to be, from what was used and the two price lists.';
revoke all on function private.measure_usage(public.token_usage) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative, or 0 for use that costs nothing),
 * action_type, reason, actor, key, request, metadata, links. The rest is given here.
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
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  tokens_remaining := coalesce(v_account.tokens_remaining, 0)
    - case when v_is_due then private.tokens_due(p_entry.user_id, v_now) else 0 end;
  if tokens_remaining < -p_entry.tokens
    and not exists (select from public.token_balances b where b.user_id = p_entry.user_id)
  then
    perform private.initialise(p_entry.user_id); -- an account, and still never a grant
    v_account := private.lock_account(p_entry.user_id);
    v_now := clock_timestamp(); -- what was just granted comes before what is now spent
    tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  end if;
  if tokens_remaining < -p_entry.tokens then
    shortfall := -p_entry.tokens - tokens_remaining;
    if not p_partial then
      return;
    end if;
    p_entry.tokens := -tokens_remaining;
  end if;
  if v_is_due then
    perform private.book_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.take_from_grants(p_entry.user_id, -p_entry.tokens, v_now) as taken;

  -- record
  p_entry.entry_type := case when p_entry.tokens = 0 then 'usage' else 'deduction' end;
  p_entry.created_at := v_now;
  transaction := private.book(p_entry, p_cost);
  tokens_remaining := transaction.balance_after;
end
$$;
comment on function private.spend(public.token_transactions, boolean, numeric) is
  'Spends tokens oldest grant first, all or nothing (with p_partial what there is), under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed.';
revoke all on function private.spend(public.token_transactions, boolean, numeric) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/take_from_grants.sql

/*
 * Takes tokens from a user's grants in burn order and says which gave how much. The caller has
 * locked the account, booked what was due, and knows that there is enough.
 * Caller: internal.   Keeps: I1, I4, I8.
 */
create or replace function private.take_from_grants(
  p_user_id uuid,
  p_tokens bigint,
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
begin
  select chosen.grant_ids, chosen.grant_tokens into grant_ids, grant_tokens
    from private.choose_grants(p_user_id, p_tokens, p_now) as chosen;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - taken.tokens,
         is_open = b.tokens_remaining > taken.tokens
    from unnest(grant_ids, grant_tokens) as taken (grant_id, tokens)
   where b.user_id = p_user_id and b.id = taken.grant_id;
end
$$;
comment on function private.take_from_grants(uuid, bigint, timestamptz) is
  'Takes tokens from the user''s grants in burn order; returns which grants paid and how much each.';
revoke all on function private.take_from_grants(uuid, bigint, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/adjust_tokens.sql

/*
 * A signed correction by an admin: an admin grant when positive, a deduction oldest first when
 * negative. Also writes the token_usage row (admin_grant or admin_deduct) that the audit trail has
 * of every correction.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id,
 * transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found,
 * balance_limit_exceeded, busy.   Keeps: I1 to I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text,
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
  v_grant public.token_balances;
  v_done record;
  v_transaction public.token_transactions;
  v_shortfall bigint := 0;
  v_remaining bigint;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_delta is null or p_delta = 0 or p_delta not between -1000000000000 and 1000000000000 then
    perform private.refuse('invalid_amount',
      '{"field": "p_delta", "rule": "a whole number from -1000000000000 to 1000000000000, not 0"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, p_metadata);

  v_entry.user_id := p_user_id;
  v_entry.tokens := p_delta;
  v_entry.action_type := case when p_delta > 0 then 'admin_grant' else 'admin_deduct' end;
  v_entry.reason := coalesce(p_reason, 'admin adjustment');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'adjust', 'delta', p_delta, 'reason', p_reason);
  v_entry.usage_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');

  if p_delta > 0 then
    v_grant.grant_type := 'admin';
    v_grant.tokens_granted := p_delta;
    v_grant.priority := 50;
    v_grant.metadata := v_entry.metadata;
    v_done := private.issue_grant(v_grant, v_entry);
    v_transaction := v_done.transaction;
    v_remaining := v_transaction.balance_after;
  else
    v_done := private.spend(v_entry);
    v_transaction := v_done.transaction;
    v_shortfall := v_done.shortfall;
    v_remaining := v_done.tokens_remaining;
  end if;

  if v_transaction.id is not null and not v_done.replayed then
    insert into public.token_usage
      (user_id, id, action_type, tokens_used, cost_estimate, metadata, created_at, transaction_id)
    values
      (p_user_id, v_entry.usage_id, v_entry.action_type, abs(p_delta), 0,
       v_entry.metadata || jsonb_build_object('reason', v_entry.reason, 'transaction_id', v_transaction.id),
       v_transaction.created_at, v_transaction.id);
  end if;

  return jsonb_build_object(
    'success', v_shortfall = 0,
    'delta', p_delta,
    'tokens_remaining_to_deduct', v_shortfall,
    'grant_id', case when p_delta > 0 then v_transaction.grant_ids[1] end,
    'deducted_from', case when p_delta > 0 then '[]' else private.allocations(v_transaction) end,
    'usage_id', v_transaction.usage_id,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_remaining,
    'replayed', v_done.replayed);
end
$$;
comment on function private.adjust_tokens(uuid, bigint, text, text, jsonb) is 'See public.adjust_tokens.';
revoke all on function private.adjust_tokens(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.adjust_tokens(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
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
  return private.adjust_tokens(p_user_id, p_delta, p_reason, p_idempotency_key, p_metadata);
end
$$;
comment on function public.adjust_tokens(uuid, bigint, text, text, jsonb) is
  'Corrects a balance: an admin grant (365 days) when p_delta is positive, a deduction oldest first when it is negative. For an admin or the server. p_delta -10^12 to 10^12, not 0; p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Also writes the token_usage row admin_grant or admin_deduct. Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.adjust_tokens(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.adjust_tokens(uuid, bigint, text, text, jsonb) to authenticated, service_role;

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

  v_quote.user_id := v_usage.user_id;
  select chosen.grant_ids, chosen.grant_tokens into v_quote.grant_ids, v_quote.grant_tokens
    from private.choose_grants(v_usage.user_id, v_usage.tokens_used, clock_timestamp()) as chosen;
  select coalesce(sum(b.tokens_remaining), 0) into v_remaining
    from public.token_balances b
   where b.user_id = v_usage.user_id and b.is_open and (b.expires_at > v_usage.created_at or b.expires_at is null);
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

-- from supabase/schemas/40_functions/explain_token_charge.sql

/*
 * Explains a charge: the operation, its ledger entry, the grants that paid and where those came
 * from, and what was given back since. Asked by usage or by transaction.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_usage, charge_not_found,
 * user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.explain_token_charge(p_user_id uuid, p_usage_id uuid, p_transaction_id bigint)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_usage public.token_usage;
  v_transaction public.token_transactions;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if num_nonnulls(p_usage_id, p_transaction_id) <> 1 then
    perform private.refuse('invalid_usage',
      '{"field": "p_usage_id", "rule": "either a usage or a transaction, not both"}');
  end if;
  perform private.require_user(p_user_id, v_actor.actor_role);

  if p_usage_id is not null then
    select u.* into v_usage from public.token_usage u where u.user_id = p_user_id and u.id = p_usage_id;
  end if;
  select t.* into v_transaction from public.token_transactions t
   where t.user_id = p_user_id and t.id = coalesce(p_transaction_id, v_usage.transaction_id);
  if p_usage_id is null then
    select u.* into v_usage from public.token_usage u where u.user_id = p_user_id and u.id = v_transaction.usage_id;
  end if;
  if v_usage.id is null and v_transaction.id is null then
    perform private.refuse('charge_not_found', '{}');
  end if;

  return jsonb_build_object(
    'usage', case when v_usage.id is not null then to_jsonb(v_usage) - 'user_id' end,
    'transaction', case when v_transaction.id is not null then
      to_jsonb(v_transaction) - array['user_id', 'grant_ids', 'grant_tokens', 'request'] end,
    'paid_by', coalesce((
      select jsonb_agg(
               jsonb_build_object(
                 'grant_id', b.id,
                 'grant_type', b.grant_type,
                 'tokens', paid.tokens,
                 'granted_at', b.granted_at,
                 'expires_at', b.expires_at,
                 'payment_id', b.payment_id,
                 'subscription_id', b.subscription_id)
               order by paid.nth)
        from unnest(v_transaction.grant_ids, v_transaction.grant_tokens)
             with ordinality as paid (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_user_id and b.id = paid.grant_id), '[]'),
    'undone_by', coalesce((
      select jsonb_agg(
               jsonb_build_object(
                 'transaction_id', t.id,
                 'entry_type', t.entry_type,
                 'tokens', t.tokens,
                 'reason', t.reason,
                 'created_at', t.created_at)
               order by t.id)
        from public.token_transactions t
       where t.user_id = p_user_id and t.original_id = v_transaction.id), '[]'),
    'tokens_net', v_transaction.tokens + coalesce((
      select sum(t.tokens) from public.token_transactions t
       where t.user_id = p_user_id and t.original_id = v_transaction.id), 0));
end
$$;
comment on function private.explain_token_charge(uuid, uuid, bigint) is 'See public.explain_token_charge.';
revoke all on function private.explain_token_charge(uuid, uuid, bigint) from public, anon, authenticated, service_role;
grant execute on function private.explain_token_charge(uuid, uuid, bigint) to authenticated, service_role;

create or replace function public.explain_token_charge(
  p_user_id uuid default auth.uid(),
  p_usage_id uuid default null,
  p_transaction_id bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.explain_token_charge(p_user_id, p_usage_id, p_transaction_id);
end
$$;
comment on function public.explain_token_charge(uuid, uuid, bigint) is
  'Explains a charge, by usage or by transaction. For the user himself (leave p_user_id out), an admin, or the server. Returns {usage (NULL when there was none), transaction (NULL for what happened before the books opened), paid_by: [{grant_id, grant_type, tokens, granted_at, expires_at, payment_id, subscription_id}], undone_by: [{transaction_id, entry_type, tokens, reason, created_at}], tokens_net (signed: the charge less what was given back)}. Errors: invalid_usage, charge_not_found, user_not_found, forbidden.';
revoke all on function public.explain_token_charge(uuid, uuid, bigint) from public, anon, authenticated, service_role;
grant execute on function public.explain_token_charge(uuid, uuid, bigint) to authenticated, service_role;

-- from supabase/schemas/40_functions/track_token_usage.sql

/*
 * Records one AI operation and deducts for it, in one transaction: the token_usage row, the ledger
 * entry and the account's tokens and cost, or nothing.
 *
 * What it counts for: p_tokens_used when given; else input + output within what ai_action_costs
 * asks for the action. Cached tokens are part of the input and reasoning tokens part of the output.
 * A failed operation (p_success false) is recorded and deducts nothing.
 * Short of tokens: with p_on_shortage 'reject' success is false and nothing is recorded; with
 * 'partial' what is there is taken and the rest is recorded as uncovered.
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
     where u.user_id = v_usage.user_id and u.id = (v_spent.transaction).usage_id;
  elsif (v_spent.transaction).id is not null then
    insert into public.token_usage
      (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate,
       success, error_message, metadata, created_at, cached_tokens, reasoning_tokens, images, seconds,
       tokens_uncovered, transaction_id)
    values
      (v_usage.user_id, v_usage.id, v_usage.action_type, v_usage.model_used, v_usage.tokens_used,
       v_usage.input_tokens, v_usage.output_tokens, v_usage.cost_estimate,
       v_usage.success, v_usage.error_message, v_usage.metadata, (v_spent.transaction).created_at,
       v_usage.cached_tokens, v_usage.reasoning_tokens, v_usage.images, v_usage.seconds,
       v_spent.shortfall, (v_spent.transaction).id)
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
    'replayed', v_spent.replayed);
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
  'Records one AI operation and deducts for it in one transaction. For the user himself (leave p_user_id out), an admin, or the server. p_action_type what was done; p_model_used the model; p_input_tokens and p_output_tokens, or p_tokens_used as a fixed number; p_cached_tokens is part of the input, p_reasoning_tokens part of the output; p_images; p_seconds of audio; p_success false records and deducts nothing; p_error_message at most 2000 characters; p_on_shortage reject (nothing recorded, success false) or partial (takes what is there, records the rest as uncovered); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), cost_estimate (cents, NULL = unknown), deducted_from, tokens_remaining, replayed}. Errors: invalid_action_type, invalid_usage, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, forbidden, busy.';
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
           sum(t.tokens) over by_number as running,
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
           case when t.tokens < 0 then -part.tokens else part.tokens end as signed
      from ledger t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
  ), of_grants as (
    select g.user_id, sum(g.tokens_remaining) as tokens, min(g.expires_at) filter (where g.is_open) as due
      from grants g group by g.user_id
  ), of_ledger as (
    select t.user_id, sum(t.tokens) as tokens, sum(t.debt_change) as debt, max(t.id) as last_id,
           -sum(t.tokens) filter (where t.entry_type = 'expiry') as expired,
           coalesce(sum((t.metadata ->> 'total_cost')::numeric) filter (where t.entry_type = 'opening_balance'), 0) as opening_cost,
           coalesce(sum((t.metadata ->> 'tokens_used')::numeric) filter (where t.entry_type = 'opening_balance'), 0)
             - coalesce(sum(t.tokens) filter (where t.entry_type = 'deduction' and t.action_type <> 'admin_deduct'), 0) as used
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
  -- usage and its transaction
  select 'I4 usage = its transaction', u.user_id, null, u.transaction_id,
         (case when u.success then u.tokens_used - u.tokens_uncovered else 0 end)::text,
         coalesce(abs(t.tokens)::text, 'no transaction')
    from usages u
    left join ledger t on t.user_id = u.user_id and t.id = u.transaction_id and t.usage_id = u.id
   where abs(t.tokens) is distinct from case when u.success then u.tokens_used - u.tokens_uncovered else 0 end
  union all
  select 'I4 a transaction for a usage has it', t.user_id, null, t.id, 'usage ' || t.usage_id, 'none'
    from ledger t
    left join usages u on u.user_id = t.user_id and u.id = t.usage_id
   where t.usage_id is not null and u.id is null
  union all
  -- allocations
  select 'I4 allocations = transaction', t.user_id, null, t.id, abs(t.tokens)::text,
         (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)::text
    from ledger t
   where abs(t.tokens) <> (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)
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
   where a.entry_type = 'deduction' and a.created_at >= g.expires_at
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

-- The audit rows of corrections that were made before usage knew its transaction.
update public.token_usage u
   set transaction_id = t.id
  from public.token_transactions t
 where t.user_id = u.user_id and t.usage_id = u.id and u.transaction_id is null;

-- from supabase/schemas/70_privileges.sql

revoke all on table public.ai_model_prices, public.ai_action_costs from public, anon, authenticated, service_role;
grant select on table public.ai_model_prices, public.ai_action_costs to authenticated, service_role;

-- What to start from: the project's to edit. Actions that are not listed cost what was counted.
insert into public.ai_action_costs (action_type, min_tokens, max_tokens)
values ('seo_title', 300, 300), ('rewrite', 500, 2000)
on conflict do nothing;
