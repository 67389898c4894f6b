-- History from before the books opened, as it was. Numbered per user downwards from 0, so that
-- get_token_history pages from the ledger straight into it.
create table public.token_legacy_transactions (
  user_id uuid not null,
  id bigint not null,
  legacy_id text not null,
  action_type text not null,
  tokens bigint not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  constraint token_legacy_transactions_pkey primary key (user_id, id),
  constraint token_legacy_transactions_are_numbered_down_from_zero check (id <= 0)
);
comment on table public.token_legacy_transactions is
  'Transactions from before the books opened, unchanged and never counted: the books start with the opening balance. Empty in a project that started with Tokenbook.';
comment on column public.token_legacy_transactions.user_id is 'The user.';
comment on column public.token_legacy_transactions.id is 'Number among the user''s: 0 is the newest, then -1, -2, …';
comment on column public.token_legacy_transactions.legacy_id is 'The id it had.';
comment on column public.token_legacy_transactions.action_type is 'What it was for.';
comment on column public.token_legacy_transactions.tokens is 'Tokens: grants positive, deductions negative (it was called tokens_used).';
comment on column public.token_legacy_transactions.metadata is 'Everything else the row had.';
comment on column public.token_legacy_transactions.created_at is 'When it happened.';

alter table public.token_legacy_transactions enable row level security;
create policy "Users read their own old transactions" on public.token_legacy_transactions
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
