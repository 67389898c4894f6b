-- What is known of a provider's payment: computed from all of its events by tokenbook.facts_of_payment, so that the
-- same events in any order, any number of times, make the same row. It is also what makes a provider's payment id
-- unique, the lock of its events, and where a payment waits whose user is not known, or what was bought.
create table tokenbook.provider_payments (
  provider text not null,
  provider_payment_id text not null,
  part_of text,
  user_id uuid,
  customer_id text,
  plan_type text,
  pack_type text,
  quantity integer,
  price_id text,
  subscription_id text,
  cycles_completed integer,
  is_paid boolean not null default false,
  amount_cents bigint,
  currency text,
  from_balance_cents bigint,
  refunded_cents bigint not null default 0,
  disputed_cents bigint not null default 0,
  period_start timestamptz,
  parked_reason text,
  parked_details jsonb,
  disagrees jsonb,
  told_as text,
  alert_id bigint,
  dismissed_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint provider_payments_pkey primary key (provider, provider_payment_id),
  constraint provider_payments_park_for_a_known_reason check (tokenbook.parked_reasons() ? parked_reason),
  constraint provider_payments_lose_no_more_than_was_paid
    check (refunded_cents >= 0 and disputed_cents >= 0 and refunded_cents + disputed_cents <= amount_cents)
);
comment on table tokenbook.provider_payments is
  'What is known of a provider''s payments, computed from all that was told of each. One that was paid and has a parked_reason waits for an admin.';
comment on column tokenbook.provider_payments.provider is 'stripe or paypal.';
comment on column tokenbook.provider_payments.provider_payment_id is 'The provider''s id of the payment.';
comment on column tokenbook.provider_payments.part_of is 'The payment whose facts have what is told of this one: both paid for the same. NULL = it is one by itself.';
comment on column tokenbook.provider_payments.user_id is 'The user, by our own mapping; NULL = not known yet. Once it is booked: whom it was booked to.';
comment on column tokenbook.provider_payments.customer_id is 'The provider''s id of the customer who paid.';
comment on column tokenbook.provider_payments.plan_type is 'The plan that was bought, by our own catalogue; NULL = a pack, or not known yet. Once it is booked: what was.';
comment on column tokenbook.provider_payments.pack_type is 'The pack that was bought, by our own catalogue; NULL = a plan, or not known yet.';
comment on column tokenbook.provider_payments.quantity is 'How many; of a plan always 1.';
comment on column tokenbook.provider_payments.price_id is 'The provider''s id of the price that was paid, for the admin who has to say what was bought.';
comment on column tokenbook.provider_payments.subscription_id is 'The provider''s id of the subscription that it was a payment of; NULL = none, or not told.';
comment on column tokenbook.provider_payments.cycles_completed is 'How many of the subscription''s periods had been paid for when this was its newest payment, as the provider says; NULL = it does not.';
comment on column tokenbook.provider_payments.is_paid is 'Whether it was paid.';
comment on column tokenbook.provider_payments.amount_cents is 'The most that any event says was paid, in cents; where none says it, the price in the catalogue.';
comment on column tokenbook.provider_payments.currency is 'ISO 4217, lower case.';
comment on column tokenbook.provider_payments.from_balance_cents is 'How much of it the customer''s balance at the provider paid; below 0: so much it put there instead; NULL = it says nothing of that.';
comment on column tokenbook.provider_payments.refunded_cents is 'What went back in refunds that have not failed, or was credited to the customer for unused time, at most the amount.';
comment on column tokenbook.provider_payments.disputed_cents is 'What disputes withhold that are open or lost, at most what refunds have left.';
comment on column tokenbook.provider_payments.period_start is 'The period it pays for, when the provider says so.';
comment on column tokenbook.provider_payments.parked_reason is 'Why a payment waits that was paid: see tokenbook.parked_reasons; NULL = it does not.';
comment on column tokenbook.provider_payments.parked_details is 'What the reason is in this case: expected_cents and expected_currency; quantity and at_most; field and rule; error; other_payment_id, other_period_start and cycles_completed; from_balance_cents and credited_payment_id; already_paid_with. tokenbook.explain_parking says it in words.';
comment on column tokenbook.provider_payments.disagrees is 'What else was told of user, plan, pack, quantity or currency than what counts, by field: noted, never booked.';
comment on column tokenbook.provider_payments.told_as is 'A digest of what was known when the project was told that it is parked, or of what else was named than is booked: other news are told again.';
comment on column tokenbook.provider_payments.alert_id is 'The newest alert that told the project of it; NULL = none, or it has been told that it is over.';
comment on column tokenbook.provider_payments.dismissed_at is 'When an admin or the server took it off the list of what is parked; NULL = not, or something else has become known since.';
comment on column tokenbook.provider_payments.created_at is 'When we first heard of it.';
comment on column tokenbook.provider_payments.updated_at is 'When we last heard of it.';
create index provider_payments_parked_idx
  on tokenbook.provider_payments (created_at, provider, provider_payment_id) where parked_reason is not null and dismissed_at is null;
create index provider_payments_parts_idx on tokenbook.provider_payments (provider, part_of) where part_of is not null;
create index provider_payments_waiting_customer_idx
  on tokenbook.provider_payments (provider, customer_id, created_at) where user_id is null and customer_id is not null;
create index provider_payments_subscription_idx
  on tokenbook.provider_payments (provider, subscription_id, period_start desc nulls last) where subscription_id is not null;
create index provider_payments_credited_idx
  on tokenbook.provider_payments (provider, customer_id) where parked_reason = 'credited' and dismissed_at is null;
create index provider_payments_from_balance_idx
  on tokenbook.provider_payments (provider, customer_id) where from_balance_cents > 0;
create index provider_payments_user_idx on tokenbook.provider_payments (user_id);
alter table tokenbook.provider_payments enable row level security;
