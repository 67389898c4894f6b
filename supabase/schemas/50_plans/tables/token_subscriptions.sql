-- Which plan a user is on. One row a user; its periods are grants.
create table public.token_subscriptions (
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
  schedule jsonb,
  next_slot_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_subscriptions_limit_is_never_negative check (tokens_limit >= 0),
  constraint token_subscriptions_expires_after_it_started check (expires_at > period_start),
  constraint token_subscriptions_slots_have_a_schedule check (next_slot_at is null or schedule is not null)
);
comment on table public.token_subscriptions is
  'The plan a user is on. Changed in the same transaction as his balance, by the functions only.';
comment on column public.token_subscriptions.user_id is 'The user.';
comment on column public.token_subscriptions.id is 'The subscription; stays the same through upgrades and renewals.';
comment on column public.token_subscriptions.plan_type is 'The plan.';
comment on column public.token_subscriptions.tokens_limit is 'The plan limit: what the balance was last filled up to. Does not move with usage.';
comment on column public.token_subscriptions.articles_limit is 'Articles a period; NULL = no limit.';
comment on column public.token_subscriptions.features is 'What else the plan includes.';
comment on column public.token_subscriptions.billing_cycle is 'none, 28day, monthly or annual.';
comment on column public.token_subscriptions.is_active is 'Whether it is in force.';
comment on column public.token_subscriptions.auto_renew is 'Whether it is meant to be renewed.';
comment on column public.token_subscriptions.payment_method is 'How it is paid: card, paypal, manual, …';
comment on column public.token_subscriptions.payment_id is 'The payment that the present plan came from: payments.id, or the provider''s name for it.';
comment on column public.token_subscriptions.period_start is 'When the present period began.';
comment on column public.token_subscriptions.expires_at is 'When it ends; NULL = it does not.';
comment on column public.token_subscriptions.next_plan_type is 'The plan from the next period on, after a downgrade.';
comment on column public.token_subscriptions.schedule is 'On which terms it gives tokens while the period lasts, as the plan said when it began: {every, on, tokens, refill_to, lifetime_days, grant_type}; NULL = all at once.';
comment on column public.token_subscriptions.next_slot_at is 'When the next slot of that begins which is not booked yet: what has begun is in the balance, booked or not. NULL = none in this period.';
comment on column public.token_subscriptions.created_at is 'Since when he has one.';
comment on column public.token_subscriptions.updated_at is 'When it last changed.';

create index token_subscriptions_plan_idx on public.token_subscriptions (plan_type);
create index token_subscriptions_next_plan_idx on public.token_subscriptions (next_plan_type) where next_plan_type is not null;

alter table public.token_subscriptions enable row level security;
create policy "Users read their own subscription" on public.token_subscriptions
  for select to authenticated
  using ((select auth.uid()) = user_id);
