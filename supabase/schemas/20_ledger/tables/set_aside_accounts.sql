-- Accounts that a sweep could not bring up to date, because their books are damaged: left out of the sweeps
-- for an hour, so that they hold up no other account. A call for such an account itself fails with the error that names the damage.
create table tokenbook.set_aside_accounts (
  user_id uuid primary key,
  reason text not null,
  set_aside_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.set_aside_accounts is
  'Accounts that a sweep could not bring up to date; tried again after an hour. verify_token_ledger says what is wrong with their books.';
comment on column tokenbook.set_aside_accounts.user_id is 'The user.';
comment on column tokenbook.set_aside_accounts.reason is 'What the database said: SQLSTATE and message.';
comment on column tokenbook.set_aside_accounts.set_aside_at is 'When it last failed.';
alter table tokenbook.set_aside_accounts enable row level security;
