-- What providers have told us of subscriptions, one fact a row: the one source of all that is known of them.
create table tokenbook.provider_subscription_events (
  provider text not null,
  provider_subscription_id text not null,
  event_id text not null,
  digest bytea not null,
  event_type text not null,
  occurred_at timestamptz not null,
  facts jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  constraint provider_subscription_events_pkey primary key (provider, provider_subscription_id, event_id, digest)
);
comment on table tokenbook.provider_subscription_events is
  'Facts of subscriptions that payment providers told us, committed with their effect or not at all. The same event with the same content is one row; with other content it is another.';
comment on column tokenbook.provider_subscription_events.provider is 'stripe or paypal.';
comment on column tokenbook.provider_subscription_events.provider_subscription_id is 'The subscription it is about.';
comment on column tokenbook.provider_subscription_events.event_id is 'The provider''s id of the event.';
comment on column tokenbook.provider_subscription_events.digest is 'SHA-256 of the facts, with the subscription, the event and its type: what makes a repetition one.';
comment on column tokenbook.provider_subscription_events.event_type is 'Its type there.';
comment on column tokenbook.provider_subscription_events.occurred_at is 'When it happened, by the provider''s clock: decides which of two facts is the later one.';
comment on column tokenbook.provider_subscription_events.facts is 'What it said, as far as we use it.';
comment on column tokenbook.provider_subscription_events.received_at is 'When it came first.';
alter table tokenbook.provider_subscription_events enable row level security;
