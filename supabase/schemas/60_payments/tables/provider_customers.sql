-- The user of each provider's customer: so that a payment that names only its customer finds its user.
create table tokenbook.provider_customers (
  provider text not null,
  customer_id text not null,
  user_id uuid,
  told_at timestamptz not null default clock_timestamp(),
  event_id text not null default '',
  created_at timestamptz not null default clock_timestamp(),
  constraint provider_customers_pkey primary key (provider, customer_id)
);
comment on table tokenbook.provider_customers is
  'Customers of payment providers and the users they are, learned from whatever named both. The row is the lock of a customer, too.';
comment on column tokenbook.provider_customers.provider is 'stripe or paypal.';
comment on column tokenbook.provider_customers.customer_id is 'The provider''s id of the customer.';
comment on column tokenbook.provider_customers.user_id is 'The user; NULL = nothing has named one yet.';
comment on column tokenbook.provider_customers.told_at is 'When that happened which named them, by the provider''s clock: the first one counts. -infinity: our own server or an admin said it, before whatever an event says; infinity: an admin assigned a payment, after whatever.';
comment on column tokenbook.provider_customers.event_id is 'Which event that was; empty = our own server or an admin; assigned: and an id of ours = an assigned payment.';
comment on column tokenbook.provider_customers.created_at is 'When we first heard of the customer.';
create index provider_customers_user_idx on tokenbook.provider_customers (user_id);
alter table tokenbook.provider_customers enable row level security;
