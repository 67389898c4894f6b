-- What a provider has told us of a payment, merged: the same facts in any order, any number of
-- times, make the same row. It is also what makes a provider's payment id unique, and where a
-- payment waits whose user or plan is not known.
create table tokenbook.provider_payments (
  provider text not null,
  provider_payment_id text not null,
  user_id uuid,
  plan_type text,
  is_paid boolean not null default false,
  amount_cents bigint,
  currency text,
  refunded_cents bigint not null default 0,
  was_disputed boolean not null default false,
  dispute_was_won boolean not null default false,
  period_start timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint provider_payments_pkey primary key (provider, provider_payment_id)
);
comment on table tokenbook.provider_payments is
  'Facts about a provider''s payments, merged from its events. One without user or plan is parked for an admin.';
comment on column tokenbook.provider_payments.provider is 'stripe or paypal.';
comment on column tokenbook.provider_payments.provider_payment_id is 'The provider''s id of the payment.';
comment on column tokenbook.provider_payments.user_id is 'The user, by our own mapping; NULL = not known yet.';
comment on column tokenbook.provider_payments.plan_type is 'The plan, by our own catalogue; NULL = not known yet.';
comment on column tokenbook.provider_payments.is_paid is 'Whether it was paid.';
comment on column tokenbook.provider_payments.amount_cents is 'What was paid, in cents.';
comment on column tokenbook.provider_payments.currency is 'ISO 4217, lower case.';
comment on column tokenbook.provider_payments.refunded_cents is 'The most that has been reported refunded in all.';
comment on column tokenbook.provider_payments.was_disputed is 'Whether a dispute was ever opened.';
comment on column tokenbook.provider_payments.dispute_was_won is 'Whether it was won.';
comment on column tokenbook.provider_payments.period_start is 'The period it pays for, when the provider says so.';
comment on column tokenbook.provider_payments.created_at is 'When we first heard of it.';
comment on column tokenbook.provider_payments.updated_at is 'When we last heard of it.';
create index provider_payments_parked_idx
  on tokenbook.provider_payments (created_at, provider, provider_payment_id) where user_id is null or plan_type is null;
alter table tokenbook.provider_payments enable row level security;
