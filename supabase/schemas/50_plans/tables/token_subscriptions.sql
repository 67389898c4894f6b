-- Behind token_subscriptions: what plans a user has. One row a user; its own columns are the plan that was in force when somebody last touched
-- the account; beside it are others that go on until their own end. Which of them is in force at a moment says
-- tokenbook.subscription_at; what everybody reads is the view public.token_subscriptions. Its periods are grants.
create table tokenbook.subscriptions (
  user_id uuid primary key,
  id uuid not null default gen_random_uuid(),
  plan_type text not null references public.token_plans (plan_type),
  tokens_limit bigint not null default 0,
  articles_limit integer,
  features jsonb not null default '{}',
  billing_cycle text not null,
  auto_renew boolean not null default false,
  payment_method text,
  payment_id text,
  period_start timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  grace_days integer not null default 0,
  next_plan_type text references public.token_plans (plan_type),
  schedule jsonb,
  next_slot_at timestamptz,
  cancel_at timestamptz,
  paused_at timestamptz,
  taken_back_at timestamptz,
  ended_at timestamptz,
  beside jsonb not null default '[]',
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint subscriptions_billing_cycle_is_known check (billing_cycle in ('none', '28day', 'monthly', 'annual')),
  constraint subscriptions_limit_is_never_negative check (tokens_limit >= 0),
  constraint subscriptions_expires_after_it_started check (expires_at > period_start),
  constraint subscriptions_grace_is_within_a_year check (grace_days between 0 and 365),
  constraint subscriptions_beside_is_a_list check (jsonb_typeof(beside) = 'array'),
  constraint subscriptions_slots_have_a_schedule check (next_slot_at is null or schedule is not null)
);
comment on table tokenbook.subscriptions is
  'The plans a user has, as the last call that touched the account recorded them. Changed in the same transaction as the balance, by the functions only. What is in force now: token_subscriptions.';
comment on column tokenbook.subscriptions.user_id is 'The user.';
comment on column tokenbook.subscriptions.id is 'The subscription; stays the same through upgrades and renewals.';
comment on column tokenbook.subscriptions.plan_type is 'The plan.';
comment on column tokenbook.subscriptions.tokens_limit is 'The plan limit: what the balance was last filled up to. Does not move with usage, nor with the end of a plan.';
comment on column tokenbook.subscriptions.articles_limit is 'Articles a period; NULL = no limit.';
comment on column tokenbook.subscriptions.features is 'What else the plan includes.';
comment on column tokenbook.subscriptions.billing_cycle is 'none, 28day, monthly or annual.';
comment on column tokenbook.subscriptions.auto_renew is 'Whether somebody has said that they will charge for another period: a subscription at a provider.';
comment on column tokenbook.subscriptions.payment_method is 'How it is paid: card, paypal, manual, …';
comment on column tokenbook.subscriptions.payment_id is 'The payment that the present plan came from: payments.id, or the provider''s name for it.';
comment on column tokenbook.subscriptions.period_start is 'When the present period began.';
comment on column tokenbook.subscriptions.expires_at is 'Until when it is paid; NULL = it does not end.';
comment on column tokenbook.subscriptions.grace_days is 'Days of 24 hours that it stays in force after that when nobody renews it: as the plan said when the period began.';
comment on column tokenbook.subscriptions.next_plan_type is 'The plan from the next period on, after a downgrade.';
comment on column tokenbook.subscriptions.schedule is 'On which terms it gives tokens while the period lasts, as the plan said when it began: {every, on, tokens (of a slot, before a refund takes its share), refill_to, lifetime_days, grant_type}, of a test user also moved: {seconds, id} (tokenbook.move_past); NULL = all at once.';
comment on column tokenbook.subscriptions.next_slot_at is 'When the first slot of that begins which is not booked yet, so that all before it are; NULL = none in this period.';
comment on column tokenbook.subscriptions.cancel_at is 'When it ends for good, by the word of its provider; NULL = it is not cancelled.';
comment on column tokenbook.subscriptions.paused_at is 'Since when its provider has paused it; NULL = it is not paused.';
comment on column tokenbook.subscriptions.taken_back_at is 'Since when all the money that it was paid with is gone, in refunds or disputes; NULL = it is not.';
comment on column tokenbook.subscriptions.ended_at is 'Since when no plan is in force: it was not renewed, was cancelled, or its money was taken back. NULL = one is, or nobody has recorded it yet.';
comment on column tokenbook.subscriptions.beside is 'Plans that it took the place of, or that were paid for beside a higher one: one for each payment, and of what nobody paid for at most one a plan; each with the columns of a plan above. With ended_at it is not in force any more, and is here for the slots that it owes. The highest in force counts (tokenbook.plan_precedence).';
comment on column tokenbook.subscriptions.created_at is 'Since when they have one.';
comment on column tokenbook.subscriptions.updated_at is 'When it last changed.';

create index subscriptions_plan_idx on tokenbook.subscriptions (plan_type);
create index subscriptions_next_plan_idx on tokenbook.subscriptions (next_plan_type) where next_plan_type is not null;

-- what the view reads with its caller's rights
alter table tokenbook.subscriptions enable row level security;
create policy "Users read their own subscription" on tokenbook.subscriptions
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
