-- The ledger. Append-only: no role may update, delete or truncate it, service_role included.
-- In partitions by user: of one at first, so that a project that grows can have more of them without a pause
-- (npx tokenbook partition, decision 79).
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
  reason text,
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
  terms jsonb,
  constraint token_transactions_pkey primary key (user_id, id)
) partition by hash (user_id);

comment on table public.token_transactions is
  'The ledger: every change of a user''s tokens, numbered per user without gaps, append-only. Grants are positive, deductions negative. Written by the functions only.';
comment on column public.token_transactions.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_transactions.id is 'The transaction''s number among the user''s: 1, 2, 3, …';
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry; clawback (a payment was refunded or disputed), restoration (a dispute was won), debt_repayment (a grant paid a debt first); usage (an operation that cost nothing; a change of plan, or of a grant''s expiry; a grant to come; tokens that moved between a hold and its child), restatement (history was replayed exactly, and this is the difference); hold (tokens set aside) and release (given back); refund (undoes a deduction), void (what was left of a grant; a grant to come was called off); rollover (carried out of a closing period, negative, and into the grant that it lives on in, positive).';
comment on column public.token_transactions.action_type is 'What it was for: the kind of grant (admin_grant, …), or the AI action that was paid for (chat_conversation, …; projects add their own).';
comment on column public.token_transactions.tokens is 'Tokens, signed: positive into the account, negative out of it.';
comment on column public.token_transactions.balance_after is 'Tokens that could be spent after it.';
comment on column public.token_transactions.debt_change is 'Tokens added to the account''s debt, or taken off it. Of a deduction: what it took too little for, and the account owes (an overdraft).';
comment on column public.token_transactions.reserved_change is 'Tokens set aside by it (negative: no longer set aside). tokens - reserved_change is what it did to the grants.';
comment on column public.token_transactions.grant_ids is 'The grants it touched, in the order in which they paid.';
comment on column public.token_transactions.grant_tokens is 'How many tokens each of them gave or received: positive, in the same order; they add up to tokens.';
comment on column public.token_transactions.reason is 'Why: what an admin or the server said, or the action type, or what the books do by themselves. NULL: it could have been said (an adjustment, a grant, a refund, a void, an approval), and was not.';
comment on column public.token_transactions.actor_role is 'Who did it: user, admin, service (the server), system (the books themselves).';
comment on column public.token_transactions.actor_id is 'Which user or admin.';
comment on column public.token_transactions.idempotency_key is 'The caller''s key; one effect, for ever.';
comment on column public.token_transactions.request is 'What was asked under that key, to tell a replay from a reuse. Without the metadata, which stands beside it.';
comment on column public.token_transactions.usage_id is 'The usage that was paid for.';
comment on column public.token_transactions.hold_id is 'The hold that was captured; of a move between a hold and its child, the child.';
comment on column public.token_transactions.payment_id is 'The payment that bought it.';
comment on column public.token_transactions.original_id is 'The transaction that this one undoes, whole or in part; of a rollover, the one that the tokens came from; of a grant that was to come, the one that said so.';
comment on column public.token_transactions.member_id is 'The member of the user''s team who spent it; NULL: the user.';
comment on column public.token_transactions.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_transactions.created_at is 'When it was booked.';
comment on column public.token_transactions.terms is 'What else began or ended with it, as it was then: {grants: [rows], payment, subscription, storage, slots: {first, count, schedule, had, payment_id}, voids (a grant''s id), expiry: {grant_id, before, after}, upcoming (the grant to be), move: {from, to, grant_ids, grant_tokens} (between a hold and its child), refund: {amount_cents, refunded_cents, disputed_cents}, repaid: {grant_ids, grant_tokens} (of a refund: the grants that had repaid what was owed for it), model (of a deduction, a hold or a move: which model was called, where it decided which grants pay)}. verify_token_ledger compares with it what may not change since. NULL: nothing.';

-- A user's keys and the server's keys for that user are separate: a user must not be able to use up a key
-- that the server will need. So are the keys of two members of a team.
create unique index token_transactions_idempotency_key
  on public.token_transactions (user_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is null;
create unique index token_transactions_member_key
  on public.token_transactions (user_id, member_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is not null;

-- what a member spent, from any payer's account
create index token_transactions_member_idx
  on public.token_transactions (member_id, idempotency_key) where member_id is not null;

create index token_transactions_original_idx
  on public.token_transactions (user_id, original_id) where original_id is not null;

-- which entry gave a grant (it has the grant's moment), which slots there were since a moment, what ran out since (I11)
create index token_transactions_grants_idx
  on public.token_transactions (user_id, action_type, created_at) where entry_type in ('grant', 'expiry');

-- named after how many partitions there are, and which of them it is
create table tokenbook.token_transactions_1_0 partition of public.token_transactions
  for values with (modulus 1, remainder 0);
comment on table tokenbook.token_transactions_1_0 is 'The only partition of the ledger.';
alter table tokenbook.token_transactions_1_0 enable row level security; -- without a policy: read token_transactions

alter table public.token_transactions enable row level security;
create policy "Users read their own transactions" on public.token_transactions
  for select to authenticated
  using ((select tokenbook.caller_id()) in (user_id, member_id));

/*
 * The rule that an entry of the ledger breaks, whatever wrote it: NULL, none. The form of an entry follows from its kind.
 * Asked by the one that appends entries (tokenbook.append_transactions), which refuses, and by the verifier of every row
 * there is. Not a CHECK of the table: Postgres reads and plans a CHECK anew for every statement, and of a deduction
 * these were a fifth (decision 26); what a deduction writes is of one form (tokenbook.spend_tokens).
 * No search_path of its own, so that Postgres inlines it into the calling statement (decision 22).
 * Caller: internal.
 */
create function tokenbook.broken_transaction_rule(p_entry public.token_transactions)
returns text
language sql
immutable
security invoker
as $$
  select case
    -- the sign follows the kind of entry, and so does what else it may change; as few words as can be: each of them is
    -- made ready for every statement. 0 is the sign of what was owed whole, and of a refund of that
    when not case
      when p_entry.entry_type in ('deduction', 'expiry', 'debt_repayment') then p_entry.tokens < (p_entry.debt_change <> 0)::integer
      when p_entry.entry_type in ('grant', 'refund') then p_entry.tokens > -(p_entry.debt_change <> 0)::integer
      when p_entry.entry_type in ('usage', 'hold', 'release') then p_entry.tokens = 0
      when p_entry.entry_type in ('void', 'clawback') then p_entry.tokens <= 0
      when p_entry.entry_type in ('opening_balance', 'restoration') then p_entry.tokens >= 0
      when p_entry.entry_type in ('rollover', 'restatement') then p_entry.tokens <> 0
      else false
    end then 'sign_follows_entry_type'
    when not case
      -- an overdraft; what was taken back and is not there; owed already where the balance comes from
      when p_entry.entry_type in ('deduction', 'clawback', 'opening_balance') then p_entry.debt_change >= 0
      when p_entry.entry_type in ('refund', 'restoration') then p_entry.debt_change <= 0
      when p_entry.entry_type = 'debt_repayment' then p_entry.debt_change = p_entry.tokens
      else p_entry.debt_change = 0
    end then 'debt_follows_entry_type'
    when not case p_entry.entry_type
      when 'deduction' then p_entry.reserved_change in (0, p_entry.tokens)
      when 'hold' then p_entry.reserved_change > 0
      when 'release' then p_entry.reserved_change < 0
      else p_entry.reserved_change = 0
    end then 'reserve_follows_entry_type'
    when p_entry.id < 1 then 'are_numbered_from_one'
    when p_entry.balance_after < 0 then 'balance_is_never_negative'
    when p_entry.original_id >= p_entry.id then 'undo_what_came_before'
    when cardinality(p_entry.grant_ids) <> cardinality(p_entry.grant_tokens) then 'each_grant_has_its_tokens'
    when (p_entry.entry_type = 'grant') <> (p_entry.action_type = any (tokenbook.grant_action_types()))
      then 'action_of_a_grant_is_a_grant'
    when length(p_entry.reason) not between 1 and 500 then 'reason_is_given'
    when p_entry.actor_role not in ('service', 'user', 'admin', 'system')
      or (p_entry.actor_id is not null) <> (p_entry.actor_role in ('user', 'admin')) then 'actor_is_known'
    when (p_entry.idempotency_key is null) <> (p_entry.request is null) then 'key_keeps_its_request'
  end
$$;
comment on function tokenbook.broken_transaction_rule is
  'The rule that an entry of the ledger breaks, NULL when none: the sign, the debt and the reserve follow the kind of entry; numbered from one; never below zero; each grant with its tokens; a known actor; a key with its request.';
