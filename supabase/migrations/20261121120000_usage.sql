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
-- squawk-ignore-file constraint-missing-not-valid

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

-- from supabase/schemas/70_privileges.sql

revoke all on table public.ai_model_prices, public.ai_action_costs from public, anon, authenticated, service_role;
grant select on table public.ai_model_prices, public.ai_action_costs to authenticated, service_role;
