-- What a call is answered that asks again for a use that stands in an archive's file: under its key, or after its capture.
create table tokenbook.archived_usage_receipts (
  user_id uuid not null,
  usage_id uuid not null,
  tokens_used bigint not null,
  tokens_uncovered bigint not null,
  cost_estimate numeric,
  constraint archived_usage_receipts_pkey primary key (user_id, usage_id)
);
comment on table tokenbook.archived_usage_receipts is
  'Of archived uses with an idempotency key or a hold: what a repeated call is answered beside what the ledger has. Written by tokenbook.archive_uses and restore_uses.';
comment on column tokenbook.archived_usage_receipts.user_id is 'The user. No foreign key: the record outlives the user.';
comment on column tokenbook.archived_usage_receipts.usage_id is 'The usage.';
comment on column tokenbook.archived_usage_receipts.tokens_used is 'Tokens that the operation counted for.';
comment on column tokenbook.archived_usage_receipts.tokens_uncovered is 'Of these, those that no grant paid for.';
comment on column tokenbook.archived_usage_receipts.cost_estimate is 'Cost in cents; NULL when it is not known.';
alter table tokenbook.archived_usage_receipts enable row level security;
