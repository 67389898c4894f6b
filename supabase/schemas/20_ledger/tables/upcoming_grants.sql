-- Grants that are still to come, one row each: which entry of the ledger says the grant to be, and when it begins. What it
-- is, the entry says alone (terms.upcoming). The row goes when the grant begins, or is called off.
create table tokenbook.upcoming_grants (
  user_id uuid not null,
  id uuid not null,
  starts_at timestamptz not null,
  transaction_id bigint not null,
  constraint upcoming_grants_pkey primary key (user_id, starts_at, id)
);
comment on table tokenbook.upcoming_grants is
  'Grants that are still to come: where in the ledger each is said, and when it begins. Written by grant_tokens and void_token_grant, and when what is due is booked.';
comment on column tokenbook.upcoming_grants.user_id is 'The user. No foreign key: money outlives the user.';
comment on column tokenbook.upcoming_grants.id is 'The id that the grant will have.';
comment on column tokenbook.upcoming_grants.starts_at is 'From when on it can be spent; its granted_at.';
comment on column tokenbook.upcoming_grants.transaction_id is 'The entry of the ledger that says what it will be.';
alter table tokenbook.upcoming_grants enable row level security;
