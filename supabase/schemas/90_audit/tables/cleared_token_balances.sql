-- See migration 20251114000001_hotfix_token_balances_data.
create table if not exists tokenbook.cleared_token_balances (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  grant_row jsonb not null,
  why text not null,
  cleared_at timestamptz not null default now()
);
comment on table tokenbook.cleared_token_balances is
  'Whole copies of token_balances rows that a migration cleared or changed. Never read by the books.';
comment on column tokenbook.cleared_token_balances.id is 'Order of copying.';
comment on column tokenbook.cleared_token_balances.user_id is 'The user.';
comment on column tokenbook.cleared_token_balances.grant_row is 'The row as it was, every column of it.';
comment on column tokenbook.cleared_token_balances.why is 'Why it was cleared or changed.';
comment on column tokenbook.cleared_token_balances.cleared_at is 'When it was copied.';
create index if not exists cleared_token_balances_user_idx on tokenbook.cleared_token_balances (user_id);
alter table tokenbook.cleared_token_balances enable row level security;
