-- The ledger. Append-only: no role may update, delete or truncate it, service_role included.
create table public.token_transactions (
  user_id uuid not null,
  id bigint not null,
  entry_type text not null,
  action_type text not null,
  tokens bigint not null,
  balance_after bigint not null,
  debt_change bigint not null default 0,
  reserved_change bigint not null default 0,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  reason text not null,
  actor_role text not null,
  actor_id uuid,
  idempotency_key text,
  request jsonb,
  usage_id uuid,
  hold_id uuid,
  payment_id uuid,
  original_id bigint,
  member_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint token_transactions_pkey primary key (user_id, id),
  constraint token_transactions_are_numbered_from_one check (id >= 1),
  constraint token_transactions_sign_follows_entry_type check (
    case entry_type
      when 'opening_balance' then tokens >= 0
      when 'grant' then tokens > 0
      when 'deduction' then tokens < 0
      when 'expiry' then tokens < 0
      when 'clawback' then tokens <= 0
      when 'restoration' then tokens >= 0
      when 'debt_repayment' then tokens < 0
      when 'usage' then tokens = 0
      when 'restatement' then tokens <> 0
      when 'hold' then tokens = 0
      when 'release' then tokens = 0
      when 'refund' then tokens > 0
      when 'void' then tokens <= 0
      when 'rollover' then tokens <> 0
      else false
    end),
  constraint token_transactions_action_of_a_grant_is_positive check (
    (entry_type = 'grant') = (action_type in
      ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant'))),
  constraint token_transactions_balance_is_never_negative check (balance_after >= 0),
  constraint token_transactions_debt_follows_entry_type check (
    case entry_type
      when 'clawback' then debt_change >= 0
      when 'restoration' then debt_change <= 0
      when 'debt_repayment' then debt_change = tokens
      else debt_change = 0
    end),
  constraint token_transactions_reserve_follows_entry_type check (
    case entry_type
      when 'hold' then reserved_change > 0
      when 'release' then reserved_change < 0
      when 'deduction' then reserved_change in (0, tokens)
      else reserved_change = 0
    end),
  constraint token_transactions_undo_what_came_before check (original_id < id),
  constraint token_transactions_each_grant_has_its_tokens
    check (cardinality(grant_ids) = cardinality(grant_tokens)),
  constraint token_transactions_reason_is_given check (length(reason) between 1 and 500),
  constraint token_transactions_actor_is_known check (
    case actor_role
      when 'user' then actor_id is not null
      when 'admin' then actor_id is not null
      when 'service' then actor_id is null
      when 'system' then actor_id is null
      else false
    end),
  constraint token_transactions_key_keeps_its_request check ((idempotency_key is null) = (request is null))
) with (fillfactor = 100);

comment on table public.token_transactions is
  'The ledger: every change of a user''s tokens, numbered per user without gaps, append-only. Grants are positive, deductions negative. Written by the functions only.';
comment on column public.token_transactions.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_transactions.id is 'The transaction''s number among the user''s: 1, 2, 3, …';
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry; clawback (a payment was refunded or disputed), restoration (a dispute was won), debt_repayment (a grant paid a debt first); usage (an operation that cost nothing), restatement (history was replayed exactly, and this is the difference); hold (tokens set aside) and release (given back); refund (undoes a deduction), void (what was left of a grant); rollover (carried out of a closing period, negative, and into the grant that it lives on in, positive).';
comment on column public.token_transactions.action_type is 'What it was for: the kind of grant (admin_grant, …), or the AI action that was paid for (chat_conversation, …; projects add their own).';
comment on column public.token_transactions.tokens is 'Tokens, signed: positive into the account, negative out of it.';
comment on column public.token_transactions.balance_after is 'Tokens that could be spent after it.';
comment on column public.token_transactions.debt_change is 'Tokens added to the account''s debt, or taken off it.';
comment on column public.token_transactions.reserved_change is 'Tokens set aside by it (negative: no longer set aside). tokens - reserved_change is what it did to the grants.';
comment on column public.token_transactions.grant_ids is 'The grants it touched, in the order in which they paid.';
comment on column public.token_transactions.grant_tokens is 'How many tokens each of them gave or received: positive, in the same order; they add up to tokens.';
comment on column public.token_transactions.reason is 'Why, in words or as the action type.';
comment on column public.token_transactions.actor_role is 'Who did it: user, admin, service (the server), system (the books themselves).';
comment on column public.token_transactions.actor_id is 'Which user or admin.';
comment on column public.token_transactions.idempotency_key is 'The caller''s key; one effect, for ever.';
comment on column public.token_transactions.request is 'What was asked under that key, to tell a replay from a reuse. Without the metadata, which stands beside it.';
comment on column public.token_transactions.usage_id is 'The usage that was paid for.';
comment on column public.token_transactions.hold_id is 'The hold that was captured.';
comment on column public.token_transactions.payment_id is 'The payment that bought it.';
comment on column public.token_transactions.original_id is 'The transaction that this one undoes, whole or in part; of a rollover, the one that the tokens came from.';
comment on column public.token_transactions.member_id is 'The member of the user''s team who spent it; NULL: the user himself.';
comment on column public.token_transactions.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_transactions.created_at is 'When it was booked.';

-- A user's keys and the server's keys for him never meet: he must not be able to use up a key
-- that the server will need. Nor do the keys of two members of a team.
create unique index token_transactions_idempotency_key
  on public.token_transactions (user_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is null;
create unique index token_transactions_member_key
  on public.token_transactions (user_id, member_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is not null;

-- what a member spent, whoever paid
create index token_transactions_member_idx
  on public.token_transactions (member_id, idempotency_key) where member_id is not null;

create index token_transactions_original_idx
  on public.token_transactions (user_id, original_id) where original_id is not null;

alter table public.token_transactions enable row level security;
create policy "Users read their own transactions" on public.token_transactions
  for select to authenticated
  using ((select auth.uid()) in (user_id, member_id));
