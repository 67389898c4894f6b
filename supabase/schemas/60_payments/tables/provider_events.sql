-- What providers have told us, one fact a row, and what an admin has said of a parked payment: the one source of
-- all that is known of a provider's payment. Never changed: a fact counts for ever, whatever comes after it.
create table tokenbook.provider_events (
  provider text not null,
  provider_payment_id text not null,
  event_id text not null,
  digest bytea not null,
  event_type text not null,
  occurred_at timestamptz not null,
  facts jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  constraint provider_events_pkey primary key (provider, provider_payment_id, event_id, digest)
);
comment on table tokenbook.provider_events is
  'Facts that payment providers told us, and admins'' assignments: committed with their effect, or not at all. The same event with the same content is one row; with other content it is another.';
comment on column tokenbook.provider_events.provider is 'stripe or paypal.';
comment on column tokenbook.provider_events.provider_payment_id is 'The payment it is about.';
comment on column tokenbook.provider_events.event_id is 'The provider''s id of the event; assigned: and an id of ours for what an admin said.';
comment on column tokenbook.provider_events.digest is 'SHA-256 of the facts, with the payment, the event and its type: what makes a repetition one.';
comment on column tokenbook.provider_events.event_type is 'Its type there.';
comment on column tokenbook.provider_events.occurred_at is 'When it happened, by the provider''s clock: decides which of two facts is the later one.';
comment on column tokenbook.provider_events.facts is 'What it said, as far as we use it.';
comment on column tokenbook.provider_events.received_at is 'When it came first.';
alter table tokenbook.provider_events enable row level security;
