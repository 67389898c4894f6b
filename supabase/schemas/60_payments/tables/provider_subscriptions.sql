-- What is known of a provider's subscription: computed from all of its events by tokenbook.facts_of_subscription, so
-- that the same events in any order, any number of times, make the same row. It gives no plan, a payment does that;
-- it says whether the plan that was paid for is paused, or ends.
create table tokenbook.provider_subscriptions (
  provider text not null,
  provider_subscription_id text not null,
  user_id uuid,
  customer_id text,
  plan_type text,
  price_id text,
  status text,
  cancel_at timestamptz,
  current_period_end timestamptz,
  occurred_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint provider_subscriptions_pkey primary key (provider, provider_subscription_id),
  constraint provider_subscriptions_status_is_known check (status in ('active', 'past_due', 'paused', 'cancelled'))
);
comment on table tokenbook.provider_subscriptions is
  'What is known of a provider''s subscriptions, each by its own id, computed from all that was told of it.';
comment on column tokenbook.provider_subscriptions.provider is 'stripe or paypal.';
comment on column tokenbook.provider_subscriptions.provider_subscription_id is 'The provider''s id of the subscription.';
comment on column tokenbook.provider_subscriptions.user_id is 'The user that an event names; NULL = none does: whose its customer is counts.';
comment on column tokenbook.provider_subscriptions.customer_id is 'The provider''s id of the customer who pays.';
comment on column tokenbook.provider_subscriptions.plan_type is 'Its plan, by our own catalogue, as it was told last; NULL = not known.';
comment on column tokenbook.provider_subscriptions.price_id is 'The provider''s id of its price, as it was told last.';
comment on column tokenbook.provider_subscriptions.status is 'active, past_due, paused or cancelled, as it was told last.';
comment on column tokenbook.provider_subscriptions.cancel_at is 'When it ends, by the same event; NULL = that says nothing of an end.';
comment on column tokenbook.provider_subscriptions.current_period_end is 'When its period ends, by the same event.';
comment on column tokenbook.provider_subscriptions.occurred_at is 'When that happened, by the provider''s clock.';
comment on column tokenbook.provider_subscriptions.created_at is 'When we first heard of it.';
comment on column tokenbook.provider_subscriptions.updated_at is 'When we last heard of it.';
create index provider_subscriptions_user_idx on tokenbook.provider_subscriptions (user_id);
create index provider_subscriptions_customer_idx on tokenbook.provider_subscriptions (provider, customer_id);
alter table tokenbook.provider_subscriptions enable row level security;
