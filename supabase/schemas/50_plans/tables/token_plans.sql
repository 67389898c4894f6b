-- The catalogue: what each plan gives. Data of the project; no migration overwrites a row.
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
  rollover_tokens bigint,
  rollover_percent integer,
  rollover_lifetime_days integer,
  issue_every text,
  issue_on text not null default 'anniversary',
  refill_to bigint,
  tokens_per_period bigint generated always as (
    case when issue_every is null then tokens
         when refill_to is not null or issue_on = 'calendar' then null
         when billing_cycle = 'annual' then tokens * case issue_every when 'month' then 12 when 'week' then 53 end
         when billing_cycle = '28day' then tokens * case issue_every when 'week' then 4 when 'day' then 28 end end) stored,
  grace_days integer,
  overdraft_tokens bigint,
  rank integer not null default 0,
  features jsonb not null default '{}',
  stripe_price_id text unique,
  former_stripe_price_ids text[] not null default '{}',
  paypal_plan_id text unique,
  former_paypal_plan_ids text[] not null default '{}',
  is_offered boolean not null default true,
  is_default boolean not null default false,
  given_to_users_since timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint token_plans_default_is_dated check (not is_default or given_to_users_since is not null),
  constraint token_plans_name_is_plain check (plan_type ~ '^[a-z0-9][a-z0-9_]{0,63}$'),
  constraint token_plans_title_is_short check (length(name) between 1 and 200),
  constraint token_plans_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_plans_articles_are_never_negative check (articles_limit >= 0),
  constraint token_plans_storage_is_never_negative check (storage_gb >= 0),
  constraint token_plans_price_is_never_negative check (price_cents >= 0),
  constraint token_plans_currency_is_three_letters check (currency ~ '^[a-z]{3}$'),
  constraint token_plans_billing_cycle_is_known check (billing_cycle in ('none', '28day', 'monthly', 'annual')),
  constraint token_plans_grant_type_is_known
    check (tokenbook.built_in_grant_types() ? grant_type),
  constraint token_plans_lifetime_is_positive check (grant_lifetime_days between 1 and 36500),
  constraint token_plans_what_must_end_ends check (
    grant_lifetime_days is not null or not coalesce((tokenbook.built_in_grant_types() -> grant_type -> 'must_end')::boolean, false)),
  constraint token_plans_features_are_a_small_object
    check (jsonb_typeof(features) = 'object' and octet_length(features::text) <= 8192),
  constraint token_plans_stripe_price_id_is_short check (length(stripe_price_id) between 1 and 255),
  constraint token_plans_paypal_plan_id_is_short check (length(paypal_plan_id) between 1 and 255),
  constraint token_plans_former_stripe_price_ids_are_few check (cardinality(former_stripe_price_ids) <= 100),
  constraint token_plans_former_paypal_plan_ids_are_few check (cardinality(former_paypal_plan_ids) <= 100),
  constraint token_plans_grace_is_within_a_year check (grace_days between 0 and 365),
  constraint token_plans_overdraft_is_within_limits check (overdraft_tokens between 0 and 1000000000000),
  constraint token_plans_cap_is_positive check (balance_cap > 0),
  constraint token_plans_rollover_is_positive check (rollover_tokens > 0),
  constraint token_plans_rollover_is_a_part check (rollover_percent between 1 and 100),
  constraint token_plans_rollover_lifetime_is_positive check (rollover_lifetime_days between 1 and 36500),
  constraint token_plans_rollover_lifetime_is_of_a_rollover check (
    rollover_lifetime_days is null or coalesce(rollover_tokens, rollover_percent) is not null),
  constraint token_plans_issue_every_is_known check (issue_every in ('day', 'week', 'month')),
  constraint token_plans_issue_on_is_known check (issue_on in ('anniversary', 'calendar')),
  constraint token_plans_refill_is_positive check (refill_to is null or (refill_to > 0 and issue_every is not null)),
  constraint token_plans_slots_are_shorter_than_periods check (issue_every <> 'month' or billing_cycle in ('none', 'annual')),
  constraint token_plans_a_trial_is_given_at_once check (issue_every is null or grant_type <> 'trial'),
  constraint token_plans_schedules_have_their_own_cap check (issue_every is null or balance_cap is null),
  constraint token_plans_slots_are_not_carried_over check (issue_every is null or rollover_tokens is null),
  constraint token_plans_no_part_of_slots_is_carried_over check (issue_every is null or rollover_percent is null),
  constraint token_plans_slots_are_small check (
    issue_every is null or tokens <= (tokenbook.limits() -> 'slot_tokens')::bigint),
  constraint token_plans_few_slots_live_at_once check (
    issue_every is null or refill_to is not null or grant_lifetime_days is null
    or grant_lifetime_days <= case issue_every when 'day' then 400 when 'week' then 2800 else 12000 end)
);
create unique index token_plans_one_default_idx on public.token_plans (is_default) where is_default;

-- what set_token_plan answers when one is violated
comment on constraint token_plans_name_is_plain on public.token_plans is '1 to 64 characters of a-z 0-9 _, a letter or a digit first';
comment on constraint token_plans_title_is_short on public.token_plans is '1 to 200 characters';
comment on constraint token_plans_grace_is_within_a_year on public.token_plans is '0 to 365, or null for 3 where it costs something and 0 where not';
comment on constraint token_plans_tokens_are_within_limits on public.token_plans is '1 to 1000000000000';
comment on constraint token_plans_articles_are_never_negative on public.token_plans is '0 or more, or null for no limit';
comment on constraint token_plans_storage_is_never_negative on public.token_plans is '0 or more';
comment on constraint token_plans_price_is_never_negative on public.token_plans is '0 or more';
comment on constraint token_plans_currency_is_three_letters on public.token_plans is 'three lower-case letters (ISO 4217)';
comment on constraint token_plans_billing_cycle_is_known on public.token_plans is 'one of none, 28day, monthly, annual';
comment on constraint token_plans_grant_type_is_known on public.token_plans is 'a type of grants that every project has (Lists, in the reference)';
comment on constraint token_plans_lifetime_is_positive on public.token_plans is '1 to 36500, or null for ever';
comment on constraint token_plans_what_must_end_ends on public.token_plans is 'grant_lifetime_days: 1 to 36500: grants of this plan''s grant_type must end';
comment on constraint token_plans_features_are_a_small_object on public.token_plans is 'an object of at most 8192 bytes';
comment on constraint token_plans_stripe_price_id_is_short on public.token_plans is '1 to 255 characters';
comment on constraint token_plans_paypal_plan_id_is_short on public.token_plans is '1 to 255 characters';
comment on constraint token_plans_former_stripe_price_ids_are_few on public.token_plans is 'at most 100';
comment on constraint token_plans_former_paypal_plan_ids_are_few on public.token_plans is 'at most 100';
comment on constraint token_plans_cap_is_positive on public.token_plans is '1 or more, or null for no cap';
comment on constraint token_plans_rollover_is_positive on public.token_plans is '1 or more, or null for no such limit';
comment on constraint token_plans_rollover_is_a_part on public.token_plans is '1 to 100, or null for no such limit';
comment on constraint token_plans_rollover_lifetime_is_positive on public.token_plans is '1 to 36500 where something is carried over, else null';
comment on constraint token_plans_rollover_lifetime_is_of_a_rollover on public.token_plans is 'rollover_lifetime_days: 1 to 36500 where something is carried over, else null';
comment on constraint token_plans_issue_every_is_known on public.token_plans is 'one of day, week, month, or null for a whole period at once';
comment on constraint token_plans_issue_on_is_known on public.token_plans is 'anniversary or calendar';
comment on constraint token_plans_refill_is_positive on public.token_plans is 'refill_to: 1 or more with issue_every, else null';
comment on constraint token_plans_slots_are_shorter_than_periods on public.token_plans is 'issue_every: day or week: a period of this plan is no longer than a month';
comment on constraint token_plans_a_trial_is_given_at_once on public.token_plans is 'issue_every: null: a trial is given at once';
comment on constraint token_plans_schedules_have_their_own_cap on public.token_plans is 'balance_cap: null: what a slot fills up to is refill_to';
comment on constraint token_plans_slots_are_not_carried_over on public.token_plans is 'rollover_tokens: null: slots are not carried over, their tokens live as long as grant_lifetime_days says';
comment on constraint token_plans_no_part_of_slots_is_carried_over on public.token_plans is 'rollover_percent: null: slots are not carried over, their tokens live as long as grant_lifetime_days says';
comment on constraint token_plans_slots_are_small on public.token_plans is 'tokens: 1 to 100000000 for each day, week or month';
comment on constraint token_plans_few_slots_live_at_once on public.token_plans is 'grant_lifetime_days: at most 400 where issue_every is day, 2800 where week, 12000 where month; or null for ever';

comment on table public.token_plans is
  'The plans: what each gives, costs and is called by payment providers. The project''s own data, changed by set_token_plan; everyone may read it.';
comment on column public.token_plans.plan_type is 'The plan''s name in code.';
comment on column public.token_plans.name is 'The plan''s name for people.';
comment on column public.token_plans.tokens is 'Tokens that a period of it gives; with issue_every, that EACH day, week or month of it gives (tokens_per_period: all of them).';
comment on column public.token_plans.articles_limit is 'Articles a period; NULL = no limit.';
comment on column public.token_plans.storage_gb is 'Gigabytes of storage it comes with.';
comment on column public.token_plans.price_cents is 'Price of a period, in cents of the currency.';
comment on column public.token_plans.currency is 'ISO 4217, lower case.';
comment on column public.token_plans.billing_cycle is 'Length of a period: none (it does not end), 28day, monthly, annual. A plan whose grant_type is trial ends with its tokens, whatever it says here.';
comment on column public.token_plans.grant_type is 'Type of the grants it makes. trial: the plan is given once to a person, and ends with its tokens (grant_lifetime_days).';
comment on column public.token_plans.grant_lifetime_days is 'Days of 24 hours that its tokens live, counted from their slot''s start; NULL = for ever, which grants of a type that must end (Lists) may not.';
comment on column public.token_plans.balance_cap is 'A renewal gives no more than what fills the active balance up to this; NULL = no cap.';
comment on column public.token_plans.rollover_tokens is 'When a period closes, at most so many of its tokens are carried into the next; NULL = no such limit. Neither this nor rollover_percent: nothing is carried over.';
comment on column public.token_plans.rollover_percent is 'And at most so much of what the period gave, in percent; NULL = no such limit.';
comment on column public.token_plans.rollover_lifetime_days is 'Days of 24 hours that the tokens carried over live from then on; NULL = for ever.';
comment on column public.token_plans.issue_every is 'How often it gives its tokens: day, week or month, each a slot of the period. NULL = all of a period at once.';
comment on column public.token_plans.issue_on is 'When slots begin: anniversary (so many whole days, weeks or months after the period began; what began on the 31st is on the last day of a shorter month) or calendar (at midnight, on Mondays, on the first of the month). UTC. The first slot begins with the period in any case.';
comment on column public.token_plans.refill_to is 'A slot gives no more than what fills the plan''s own tokens up to this, and slots that were missed are not made up; NULL = each slot adds to the balance.';
comment on column public.token_plans.tokens_per_period is 'What a whole period gives: tokens, or with issue_every those of all its slots. NULL where that cannot be known: with refill_to; where periods are not equally long (days of a month), or have no end; on the calendar, where the first slot is a short one. Made from the others.';
comment on column public.token_plans.overdraft_tokens is 'How many tokens a user on it may owe by using more than they have (track_token_usage with overdraft); NULL = none; set_token_overdraft says it for one user. A change counts at once.';
comment on column public.token_plans.grace_days is 'Days of 24 hours that it stays in force after a period that nobody renews; NULL = 3 where it costs something, else none; a trial has none. Counts for periods that begin from now on.';
comment on column public.token_plans.rank is 'Order of the plans, default 0: to a higher or equal rank is an upgrade, to a lower one a downgrade, which waits while somebody pays for the higher one. Of plans that nobody pays for none keeps one back that somebody pays for.';
comment on column public.token_plans.features is 'What else it includes, for the app.';
comment on column public.token_plans.stripe_price_id is 'The price at Stripe.';
comment on column public.token_plans.former_stripe_price_ids is 'What the price was called at Stripe before: subscriptions that renew at one of these still get the plan.';
comment on column public.token_plans.paypal_plan_id is 'The plan at PayPal.';
comment on column public.token_plans.former_paypal_plan_ids is 'What the plan was called at PayPal before: subscriptions to one of these still get the plan.';
comment on column public.token_plans.is_offered is 'Whether it can be bought now.';
comment on column public.token_plans.is_default is 'Whether new users get it; at most one plan. None: registration gives nothing.';
comment on column public.token_plans.given_to_users_since is 'Of the default plan: a user who signed up before this moment does not get it automatically, so that a plan which is added to a project with users is not given to all of them. Left out: the moment at which is_default turns true; cleared when it turns false. ''-infinity'': everyone who never had a grant gets it.';
comment on column public.token_plans.created_at is 'When it was added.';
comment on column public.token_plans.updated_at is 'When it was last edited.';

alter table public.token_plans enable row level security;
create policy "Everyone reads the plans" on public.token_plans
  for select to anon, authenticated
  using (true);
