-- Every event that was acted on, once.
create table tokenbook.provider_events (
  provider text not null,
  event_id text not null,
  event_type text not null,
  provider_payment_id text not null,
  facts jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  constraint provider_events_pkey primary key (provider, event_id)
);
comment on table tokenbook.provider_events is
  'Events of payment providers that were acted on: committed with their effect, or not at all.';
comment on column tokenbook.provider_events.provider is 'stripe or paypal.';
comment on column tokenbook.provider_events.event_id is 'The provider''s id of the event.';
comment on column tokenbook.provider_events.event_type is 'Its type there.';
comment on column tokenbook.provider_events.provider_payment_id is 'The payment it is about.';
comment on column tokenbook.provider_events.facts is 'What it said, as far as we use it.';
comment on column tokenbook.provider_events.received_at is 'When it came first.';
alter table tokenbook.provider_events enable row level security;
