/*
 * Opens the books: the ledger, the accounts and the functions, and every existing user's opening
 * balance. One file, so one transaction: a project has either its old tables or its opened books.
 *
 * The old tables are set aside whole in schema `private` (old_token_balances, old_token_usage,
 * old_token_transactions, old_user_storage), with their triggers, indexes and extra columns, and
 * their rows are copied. Functions of the same names are dropped, whatever their signatures: a
 * second overload would be callable beside the new one. Drop the old_ tables when you no longer
 * want them; nothing reads them.
 */

-- Set aside what is there ------------------------------------------------------------------------

do $$
declare
  v_table text;
  v_function regprocedure;
begin
  foreach v_table in array array['token_balances', 'token_usage', 'token_transactions', 'user_storage'] loop
    execute format('alter table public.%I set schema private', v_table);
    execute format('alter table private.%I rename to %I', v_table, 'old_' || v_table);
  end loop;

  for v_function in
    select p.oid::regprocedure from pg_proc p
     where p.pronamespace = 'public'::regnamespace
       and p.proname in ('deduct_tokens_with_fifo', 'get_user_token_balance', 'grant_tokens', 'adjust_tokens',
                         'get_token_history', 'expire_old_token_grants', 'get_user_storage_quota')
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- from supabase/schemas/20_tables/admins.sql

-- Who is an administrator right now. A token says so too (app_metadata.role), but a token lives
-- on for up to an hour after a right is taken away; this row is gone at once.
create table private.admins (
  user_id uuid primary key,
  added_at timestamptz not null default now(),
  added_by text not null default current_user
);
comment on table private.admins is
  'Users who may grant and correct tokens, together with app_metadata.role = ''admin'' in their token. Kept by `npm run admin`.';
comment on column private.admins.user_id is 'The administrator, a user of auth.users.';
comment on column private.admins.added_at is 'Since when.';
comment on column private.admins.added_by is 'The database role, or a name, that made him one.';
alter table private.admins enable row level security;

-- from supabase/schemas/20_tables/legacy_token_transactions.sql

-- History from before the books opened, as it was. Numbered per user downwards from 0, so that
-- get_token_history pages from the ledger straight into it.
create table public.legacy_token_transactions (
  user_id uuid not null,
  id bigint not null,
  legacy_id text not null,
  action_type text not null,
  tokens bigint not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  constraint legacy_token_transactions_pkey primary key (user_id, id),
  constraint legacy_token_transactions_are_numbered_down_from_zero check (id <= 0)
);
comment on table public.legacy_token_transactions is
  'Transactions from before the books opened, unchanged and never counted: the books start with the opening balance. Empty in a project that started with Tokenbook.';
comment on column public.legacy_token_transactions.user_id is 'The user.';
comment on column public.legacy_token_transactions.id is 'Number among the user''s: 0 is the newest, then -1, -2, …';
comment on column public.legacy_token_transactions.legacy_id is 'The id it had.';
comment on column public.legacy_token_transactions.action_type is 'What it was for.';
comment on column public.legacy_token_transactions.tokens is 'Tokens: grants positive, deductions negative (it was called tokens_used).';
comment on column public.legacy_token_transactions.metadata is 'Everything else the row had.';
comment on column public.legacy_token_transactions.created_at is 'When it happened.';

alter table public.legacy_token_transactions enable row level security;
create policy "Users read their own old transactions" on public.legacy_token_transactions
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_accounts.sql

-- One row a user: the lock that every change of his books takes first, and the only running
-- totals. Whoever wants a live balance subscribes to this row.
create table public.token_accounts (
  user_id uuid primary key,
  tokens_remaining bigint not null default 0,
  tokens_reserved bigint not null default 0,
  tokens_used bigint not null default 0,
  tokens_expired bigint not null default 0,
  total_cost numeric not null default 0,
  last_transaction_id bigint not null default 0,
  next_due_at timestamptz,
  updated_at timestamptz not null default now(),
  constraint token_accounts_remaining_is_never_negative check (tokens_remaining >= 0),
  constraint token_accounts_reserved_is_never_negative check (tokens_reserved >= 0),
  constraint token_accounts_used_is_never_negative check (tokens_used >= 0),
  constraint token_accounts_expired_is_never_negative check (tokens_expired >= 0),
  -- 2^53 - 1: the largest integer that JSON carries exactly
  constraint token_accounts_totals_stay_exact_in_json
    check (tokens_remaining + tokens_reserved + tokens_used <= 9007199254740991)
) with (fillfactor = 80); -- room for HOT updates: this row changes with every transaction

comment on table public.token_accounts is
  'A user''s running totals, and the row that every change of his books locks first. Equal to his grants and his ledger at every commit. Written by the functions only.';
comment on column public.token_accounts.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_accounts.tokens_remaining is 'Tokens he can spend: the sum over his grants. A grant that has expired and is not booked yet is still in it until next_due_at is acted on; get_user_token_balance never counts it.';
comment on column public.token_accounts.tokens_reserved is 'Tokens set aside by open holds.';
comment on column public.token_accounts.tokens_used is 'Tokens used in his lifetime; an admin''s corrections are not use.';
comment on column public.token_accounts.tokens_expired is 'Tokens lost to expiry since the books opened.';
comment on column public.token_accounts.total_cost is 'Cost of his usage in his lifetime, in cents.';
comment on column public.token_accounts.last_transaction_id is 'Number of his newest transaction; numbers have no gaps.';
comment on column public.token_accounts.next_due_at is 'No grant of his runs out before this moment; NULL when none will. May be early, never late.';
comment on column public.token_accounts.updated_at is 'When the row last changed.';

create index token_accounts_due_idx on public.token_accounts (next_due_at) where next_due_at is not null;

alter table public.token_accounts enable row level security;
create policy "Users read their own account" on public.token_accounts
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_balances.sql

-- One row a grant. Many rows a user are right: each is spent, and expires, by itself.
create table public.token_balances (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  grant_type text not null,
  tokens_granted bigint not null,
  tokens_remaining bigint not null,
  priority smallint not null default 50,
  granted_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  -- Beside tokens_remaining, not derived from it: the indexes below look at this flag only, so a
  -- deduction stays a HOT update until the one that empties the grant.
  is_open boolean not null default true,
  payment_id uuid,
  subscription_id uuid,
  legacy_transaction_id text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint token_balances_pkey primary key (user_id, id),
  constraint token_balances_grant_type_is_known
    check (grant_type in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan')),
  constraint token_balances_granted_is_positive check (tokens_granted between 1 and 1000000000000),
  constraint token_balances_remaining_is_between_zero_and_granted
    check (tokens_remaining between 0 and tokens_granted),
  constraint token_balances_open_means_tokens_remain check (is_open = (tokens_remaining > 0)),
  constraint token_balances_expires_after_it_was_granted check (expires_at > granted_at),
  constraint token_balances_expiry_is_finite check (isfinite(expires_at)),
  constraint token_balances_priority_is_between_0_and_100 check (priority between 0 and 100)
) with (fillfactor = 85);

comment on table public.token_balances is
  'Grants: tokens given to a user, each row spent oldest first and expiring by itself. Written by the functions only.';
comment on column public.token_balances.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_balances.id is 'The grant; unique per user.';
comment on column public.token_balances.grant_type is 'annual (365 days), 28day (90), trial (56), purchase (never), admin (365), plan (never): the lifetime when none is given.';
comment on column public.token_balances.tokens_granted is 'Tokens given, 1 to 10^12. Never changes.';
comment on column public.token_balances.tokens_remaining is 'Tokens left to spend.';
comment on column public.token_balances.priority is '0 to 100, default 50; a lower number is spent first.';
comment on column public.token_balances.granted_at is 'When it counts as given; its place in the queue. Earlier than created_at when the server backdated it.';
comment on column public.token_balances.expires_at is 'The first moment at which it cannot be spent any more; NULL = never.';
comment on column public.token_balances.is_open is 'Whether tokens remain.';
comment on column public.token_balances.payment_id is 'The payment it came from.';
comment on column public.token_balances.subscription_id is 'The subscription it came from.';
comment on column public.token_balances.legacy_transaction_id is 'The old grant transaction it was made from, by migration.';
comment on column public.token_balances.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_balances.created_at is 'When it was booked.';

-- the order in which grants are spent
create index token_balances_burn_order_idx
  on public.token_balances (user_id, priority, granted_at, id) where is_open;
create index token_balances_expiry_idx
  on public.token_balances (user_id, expires_at) where is_open and expires_at is not null;

alter table public.token_balances enable row level security;
create policy "Users read their own grants" on public.token_balances
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_transactions.sql

-- The ledger. Append-only: no role may update, delete or truncate it, service_role included.
create table public.token_transactions (
  user_id uuid not null,
  id bigint not null,
  entry_type text not null,
  action_type text not null,
  tokens bigint not null,
  balance_after bigint not null,
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
      else false
    end),
  constraint token_transactions_action_of_a_grant_is_positive check (
    (entry_type = 'grant') = (action_type in
      ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant'))),
  constraint token_transactions_balance_is_never_negative check (balance_after >= 0),
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
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry.';
comment on column public.token_transactions.action_type is 'What it was for: the kind of grant (admin_grant, …), or the AI action that was paid for (chat_conversation, …; projects add their own).';
comment on column public.token_transactions.tokens is 'Tokens, signed: positive into the account, negative out of it.';
comment on column public.token_transactions.balance_after is 'Tokens in the account after it, those set aside by holds included.';
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
comment on column public.token_transactions.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_transactions.created_at is 'When it was booked.';

-- A user's keys and the server's keys for him never meet: he must not be able to use up a key
-- that the server will need.
create unique index token_transactions_idempotency_key
  on public.token_transactions (user_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null;

alter table public.token_transactions enable row level security;
create policy "Users read their own transactions" on public.token_transactions
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/token_usage.sql

-- One row an AI operation, or an admin's correction: the audit trail.
create table public.token_usage (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  action_type text not null,
  model_used text,
  tokens_used bigint not null default 0,
  input_tokens bigint,
  output_tokens bigint,
  cost_estimate numeric,
  success boolean not null default true,
  error_message text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint token_usage_pkey primary key (user_id, id)
);
comment on table public.token_usage is
  'The audit trail: one row for each AI operation, and for each admin adjustment (admin_grant, admin_deduct). Written by the functions only.';
comment on column public.token_usage.user_id is 'The user. No foreign key: the record outlives the user.';
comment on column public.token_usage.id is 'The usage; unique per user.';
comment on column public.token_usage.action_type is 'What was done: assessment_scoring, vision_generation, vision_refinement, blueprint_generation, chat_conversation, audio_generation, image_generation, life_vision_category_summary, life_vision_master_assembly, prompt_suggestions, frequency_flip, admin_grant, admin_deduct, or one of the project''s own.';
comment on column public.token_usage.model_used is 'The AI model.';
comment on column public.token_usage.tokens_used is 'Tokens used, never negative: of an adjustment the number granted or deducted.';
comment on column public.token_usage.input_tokens is 'Of these, the prompt''s.';
comment on column public.token_usage.output_tokens is 'Of these, the answer''s.';
comment on column public.token_usage.cost_estimate is 'Cost in cents; NULL when it is not known.';
comment on column public.token_usage.success is 'Whether the operation succeeded; a failed one is recorded and costs no tokens.';
comment on column public.token_usage.error_message is 'Why it failed.';
comment on column public.token_usage.metadata is 'Anything else about it.';
comment on column public.token_usage.created_at is 'When it happened.';

create index token_usage_user_idx on public.token_usage (user_id, created_at);

alter table public.token_usage enable row level security;
create policy "Users read their own usage" on public.token_usage
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_tables/user_storage.sql

-- One row a storage quota that a user was given; together they are his quota.
create table public.user_storage (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  quota_gb integer not null,
  granted_at timestamptz not null default clock_timestamp(),
  subscription_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint user_storage_pkey primary key (user_id, id),
  constraint user_storage_quota_is_positive check (quota_gb > 0)
);
comment on table public.user_storage is
  'Storage quotas given to a user; his quota is their sum. What he uses of it is counted where the files are.';
comment on column public.user_storage.user_id is 'The user.';
comment on column public.user_storage.id is 'The quota; unique per user.';
comment on column public.user_storage.quota_gb is 'Gigabytes.';
comment on column public.user_storage.granted_at is 'Since when.';
comment on column public.user_storage.subscription_id is 'The subscription it came with.';
comment on column public.user_storage.metadata is 'Where it came from.';
comment on column public.user_storage.created_at is 'When it was booked.';

alter table public.user_storage enable row level security;
create policy "Users read their own storage quotas" on public.user_storage
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/30_guards/authorize.sql

/*
 * Who is calling, and may he do this for that user? The first beat of every function.
 * Returns the actor: ('user', his id), ('admin', his id), or ('service', null).
 * Looks at the role the session has taken on, which a security definer function does not change;
 * a role that is not known is refused. "Not yours" and "does not exist" are the same answer.
 * Caller: internal.   Errors: not_authenticated, forbidden, invalid_user_id.
 */
create or replace function private.authorize(
  p_user_id uuid,
  p_self_may boolean,
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_role text := current_setting('role');
begin
  if v_role = 'none' then
    v_role := session_user; -- psql, a migration, a scheduled job
  end if;

  if v_role = 'authenticated' then
    actor_id := auth.uid();
    if actor_id is null then -- an API key is a valid token too, without a subject
      perform private.refuse('not_authenticated');
    elsif p_self_may and actor_id is not distinct from p_user_id then
      actor_role := 'user';
    elsif private.is_admin() then
      actor_role := 'admin';
    else
      perform private.refuse('forbidden');
    end if;
  elsif v_role in ('service_role', 'postgres', 'supabase_admin') then
    actor_role := 'service';
  else
    perform private.refuse('not_authenticated');
  end if;

  if p_user_id is null then
    perform private.refuse('invalid_user_id', '{"field": "p_user_id", "rule": "not null"}');
  end if;
end
$$;
comment on function private.authorize(uuid, boolean) is
  'The caller as an actor (user, admin or service), or a refusal: only the user himself where p_self_may, an admin, or the server. NULL-safe.';
revoke all on function private.authorize(uuid, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/check_action_type.sql

/*
 * Refuses an action type that is not a plain name, or that is a name of the ledger's own grants.
 * Caller: internal.   Errors: invalid_action_type.
 */
create or replace function private.check_action_type(p_action_type text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if p_action_type is null
    or octet_length(p_action_type) > 64
    or p_action_type !~ '^[a-z][a-z0-9_]*$'
    or p_action_type in ('subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase',
                         'admin_grant', 'admin_deduct', 'opening_balance', 'expiry')
  then
    perform private.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
end
$$;
comment on function private.check_action_type(text) is
  'Refuses an action type that is not a plain lower-case name, or one of the names that the ledger keeps for itself.';
revoke all on function private.check_action_type(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/check_request.sql

/*
 * Refuses a malformed key, reason or metadata. Bounded before they meet an index or a parser:
 * a key that is too long for a btree would otherwise be a server error.
 * Caller: internal.   Errors: invalid_idempotency_key, invalid_reason, invalid_metadata.
 */
create or replace function private.check_request(p_idempotency_key text, p_reason text, p_metadata jsonb)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  -- the length first: it costs nothing, where matching a million bytes would
  if octet_length(p_idempotency_key) > 255 or p_idempotency_key !~ '^[A-Za-z0-9._:-]+$' then
    perform private.refuse('invalid_idempotency_key',
      '{"field": "p_idempotency_key", "rule": "1 to 255 characters of A-Z a-z 0-9 . _ : -"}');
  end if;
  if length(p_reason) > 500 or p_reason !~ '\S' then
    perform private.refuse('invalid_reason',
      '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  if jsonb_typeof(p_metadata) <> 'object' or octet_length(p_metadata::text) > 8192 then
    perform private.refuse('invalid_metadata',
      '{"field": "p_metadata", "rule": "an object of at most 8192 bytes"}');
  end if;
end
$$;
comment on function private.check_request(text, text, jsonb) is
  'Refuses a malformed idempotency key, reason or metadata, naming the field; NULL is always fine.';
revoke all on function private.check_request(text, text, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/check_tokens.sql

/*
 * Refuses a number of tokens outside 1 to 10^12, NULL included.
 * Caller: internal.   Errors: invalid_amount.
 */
create or replace function private.check_tokens(p_field text, p_tokens bigint)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if p_tokens is null or p_tokens not between 1 and 1000000000000 then
    perform private.refuse('invalid_amount',
      jsonb_build_object('field', p_field, 'rule', 'a whole number from 1 to 1000000000000'));
  end if;
end
$$;
comment on function private.check_tokens(text, bigint) is 'Refuses a number of tokens outside 1 to 10^12 with invalid_amount, naming the field.';
revoke all on function private.check_tokens(text, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/find_replay.sql

/*
 * The transaction that this entry's key already made, or NULL (as when it has no key). The same
 * key with another request is refused, naming the fields that differ and never their values. To
 * be called with the account locked: two first uses of a key are then one after the other.
 * Caller: internal.   Errors: idempotency_key_reused.   Keeps: I5.
 */
create or replace function private.find_replay(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = ''
as $$
declare
  v_transaction public.token_transactions;
  v_differs jsonb;
begin
  if p_entry.idempotency_key is null then
    return null;
  end if;
  select t.* into v_transaction
    from public.token_transactions t
   where t.user_id = p_entry.user_id
     and t.idempotency_key = p_entry.idempotency_key
     and (t.actor_role = 'user') = (p_entry.actor_role = 'user');
  if v_transaction.id is null then
    return null;
  end if;

  select jsonb_agg(f.field order by f.field) into v_differs
    from (
      select coalesce(was.key, asked.key) as field
        from jsonb_each(v_transaction.request) was
        full join jsonb_each(p_entry.request) asked on asked.key = was.key
       where was.value is distinct from asked.value
      union all
      select 'metadata' where v_transaction.metadata is distinct from p_entry.metadata
    ) f;
  if v_differs is not null then
    perform private.refuse('idempotency_key_reused', jsonb_build_object('differs', v_differs));
  end if;
  return v_transaction;
end
$$;
comment on function private.find_replay(public.token_transactions) is
  'The transaction made under this entry''s key, or NULL; refuses the key when it stands for another request. A user''s keys and the server''s are apart.';
revoke all on function private.find_replay(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/is_admin.sql

/*
 * Whether the caller is an administrator: his token says so, and it is still true. Both, because
 * a token outlives the right it was issued with, and a row alone would make an admin of whoever
 * took over an old session. Never user_metadata: users write that themselves.
 * Caller: internal.
 */
create or replace function private.is_admin()
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
  select coalesce(auth.jwt() -> 'app_metadata' ->> 'role' = 'admin', false)
     and exists (select from private.admins a where a.user_id = auth.uid())
$$;
comment on function private.is_admin() is
  'True when the caller''s token has app_metadata.role = ''admin'' and private.admins still lists him.';
revoke all on function private.is_admin() from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/keep_ledger_append_only.sql

/*
 * The second line behind the privileges: whoever owns the ledger (a migration, the SQL editor)
 * cannot change it by accident either. Correctness does not rest on it; where the tables are
 * distributed over machines, which allows no triggers, drop it.
 */
create or replace function private.keep_ledger_append_only()
returns trigger
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  perform private.refuse('ledger_is_append_only');
  return null;
end
$$;
comment on function private.keep_ledger_append_only() is 'Trigger: refuses update, delete and truncate of the ledger.';
revoke all on function private.keep_ledger_append_only() from public, anon, authenticated, service_role;

create trigger token_transactions_keep_append_only
  before update or delete or truncate on public.token_transactions
  for each statement execute function private.keep_ledger_append_only();

-- from supabase/schemas/30_guards/lock_account.sql

/*
 * Locks a user's account and returns it; NULL when he has none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: so
 * two changes never wait for each other in a circle. Waits at most five seconds, then says busy.
 * Read the clock after this, not before: whoever waited across an expiry must not spend the grant.
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '5s'
as $$
declare
  v_account public.token_accounts;
begin
  if p_create then
    insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
  end if;
  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     for no key update;
  return v_account;
exception
  when lock_not_available then
    perform private.refuse('busy', '{}');
end
$$;
comment on function private.lock_account(uuid, boolean) is
  'Locks the user''s account row (at most five seconds, then busy) and returns it; NULL when there is none, unless p_create.';
revoke all on function private.lock_account(uuid, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/refuse.sql

/*
 * Refuses: raises a registered error. The one place where a slug meets its SQLSTATE and hint.
 * The slug is the message (a constant: PostgREST makes it the HTTP reason phrase), the facts are
 * one JSON object in the detail, the advice is the hint. The same registry: docs/errors.md.
 * Caller: internal.   Errors: all of them.
 */
create or replace function private.refuse(p_slug text, p_facts jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_sqlstate text;
  v_hint text;
begin
  select r.sqlstate, r.hint into v_sqlstate, v_hint
    from (values
      ('invalid_amount', 'PT400', 'Give a whole number of tokens within the stated limits.'),
      ('invalid_idempotency_key', 'PT400', 'Use 1 to 255 characters of A-Z a-z 0-9 . _ : -'),
      ('invalid_expiry', 'PT400', 'Give a moment in the future, ''infinity'' for never, or leave it out.'),
      ('invalid_reason', 'PT400', 'Use 1 to 500 characters that are not all blank.'),
      ('invalid_metadata', 'PT400', 'Give a JSON object of at most 8192 bytes.'),
      ('invalid_grant_type', 'PT400', 'Use annual, 28day, trial, purchase, admin or plan.'),
      ('invalid_action_type', 'PT400', 'Use 1 to 64 characters of a-z 0-9 _, starting with a letter; names of grants are reserved.'),
      ('invalid_priority', 'PT400', 'Use 0 (spent first) to 100 (spent last).'),
      ('invalid_granted_at', 'PT400', 'Give a moment that is not in the future, or leave it out.'),
      ('invalid_user_id', 'PT400', 'Say which user.'),
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('balance_limit_exceeded', 'PT409', 'The account cannot hold that many tokens.'),
      ('idempotency_key_reused', 'PT422', 'That key was used for another request. Use a new key for a new request.'),
      ('busy', 'PT503', 'The account is locked by other work. Try again with the same key.')
    ) as r (slug, sqlstate, hint)
   where r.slug = p_slug;

  if p_facts is null then
    raise exception using errcode = v_sqlstate, message = p_slug, hint = v_hint;
  end if;
  raise exception using errcode = v_sqlstate, message = p_slug, detail = p_facts::text, hint = v_hint;
end
$$;
comment on function private.refuse(text, jsonb) is
  'Raises the registered error of that slug: SQLSTATE and hint from the registry, facts as JSON in the detail. See docs/errors.md.';
revoke all on function private.refuse(text, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/require_user.sql

/*
 * Refuses a user whom neither the books nor auth.users know. A user who was deleted keeps his
 * account. To the user himself, and to nobody else, he always exists.
 * Caller: internal, and only where no account was found.   Errors: user_not_found.
 */
create or replace function private.require_user(p_user_id uuid, p_actor_role text)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  if p_actor_role <> 'user'
    and not exists (select from public.token_accounts a where a.user_id = p_user_id)
    and not exists (select from auth.users u where u.id = p_user_id)
  then
    perform private.refuse('user_not_found', '{}');
  end if;
end
$$;
comment on function private.require_user(uuid, text) is
  'Refuses with user_not_found, to admins and the server only, a user whom neither the books nor auth.users know.';
revoke all on function private.require_user(uuid, text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/allocations.sql

/*
 * Which grants a transaction touched and how much each, in the order in which they paid:
 * [{grant_id, grant_type, granted_at, deducted}]. From what is stored, for a new transaction and
 * for a replay of it alike, so that both get the same receipt.
 * Caller: internal.
 */
create or replace function private.allocations(p_transaction public.token_transactions)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
             jsonb_build_object(
               'grant_id', b.id,
               'grant_type', b.grant_type,
               'granted_at', b.granted_at,
               'deducted', paid.tokens)
             order by paid.nth)
      from unnest(p_transaction.grant_ids, p_transaction.grant_tokens)
           with ordinality as paid (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_transaction.user_id and b.id = paid.grant_id), '[]');
end
$$;
comment on function private.allocations(public.token_transactions) is
  'The grants that a transaction touched: [{grant_id, grant_type, granted_at, deducted}] in the order in which they paid.';
revoke all on function private.allocations(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/book.sql

/*
 * Writes one transaction: the account's totals and the ledger row in one statement, so that no
 * code path can write one without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create or replace function private.book(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_transaction public.token_transactions;
begin
  with account as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining + p_entry.tokens,
           -- an admin's correction takes tokens away, but nobody used them
           tokens_used = a.tokens_used
             - case when p_entry.entry_type = 'deduction' and p_entry.action_type <> 'admin_deduct'
                 then p_entry.tokens else 0 end,
           last_transaction_id = a.last_transaction_id + 1,
           updated_at = p_entry.created_at
     where a.user_id = p_entry.user_id
    returning a.last_transaction_id, a.tokens_remaining + a.tokens_reserved as balance
  )
  insert into public.token_transactions as t
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
     reason, actor_role, actor_id, idempotency_key, request, usage_id, hold_id, payment_id,
     metadata, created_at)
  select p_entry.user_id, account.last_transaction_id, p_entry.entry_type, p_entry.action_type,
         p_entry.tokens, account.balance, p_entry.grant_ids, p_entry.grant_tokens,
         p_entry.reason, p_entry.actor_role, p_entry.actor_id, p_entry.idempotency_key,
         case when p_entry.idempotency_key is not null then p_entry.request end,
         p_entry.usage_id, p_entry.hold_id, p_entry.payment_id, p_entry.metadata, p_entry.created_at
    from account
  returning t.* into v_transaction;
  return v_transaction;
end
$$;
comment on function private.book(public.token_transactions) is
  'Writes one transaction: account totals and ledger row in one statement. Takes the row to be, without id and balance_after; the account is locked and the grants are changed by the caller.';
revoke all on function private.book(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/book_expiries.sql

/*
 * Books what has run out: each due grant is closed, with one `expiry` transaction of its own, and
 * the account's totals and next_due_at follow. Set-based, for one user or a thousand; the same
 * code serves whoever touches an account and the sweeper, so the two cannot disagree.
 * The caller has locked these accounts. Nothing depends on it being run: what is due is neither
 * spent nor counted before it is booked either.
 * Caller: internal.   Returns how many grants were booked.   Keeps: I2, I3, I4, I7.
 */
create or replace function private.book_expiries(p_user_ids uuid[], p_now timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_booked bigint;
begin
  with due as (
    select b.user_id, b.id, b.tokens_remaining,
           row_number() over by_expiry as nth,
           sum(b.tokens_remaining) over by_expiry as lost_so_far
      from public.token_balances b
     where b.user_id = any (p_user_ids) and b.is_open and b.expires_at <= p_now
    window by_expiry as (partition by b.user_id order by b.expires_at, b.id)
  ), closed as (
    update public.token_balances b
       set tokens_remaining = 0, is_open = false
      from due
     where b.user_id = due.user_id and b.id = due.id
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
       reason, actor_role, created_at)
    select due.user_id, a.last_transaction_id + due.nth, 'expiry', 'expiry', -due.tokens_remaining,
           a.tokens_remaining + a.tokens_reserved - due.lost_so_far,
           array[due.id], array[due.tokens_remaining], 'expired', 'system', p_now
      from due
      join public.token_accounts a on a.user_id = due.user_id
  ), lost as (
    select due.user_id, count(*) as grants, sum(due.tokens_remaining)::bigint as tokens
      from due group by due.user_id
  ), settled as (
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining - coalesce(lost.tokens, 0),
           tokens_expired = a.tokens_expired + coalesce(lost.tokens, 0),
           last_transaction_id = a.last_transaction_id + coalesce(lost.grants, 0),
           next_due_at = (
             select min(b.expires_at) from public.token_balances b
              where b.user_id = a.user_id and b.is_open and b.expires_at > p_now),
           updated_at = p_now
      from unnest(p_user_ids) as asked (user_id)
      left join lost on lost.user_id = asked.user_id
     where a.user_id = asked.user_id
  )
  select count(*) into v_booked from due;
  return v_booked;
end
$$;
comment on function private.book_expiries(uuid[], timestamptz) is
  'Books every grant of these users that has run out by then, one expiry transaction each; the caller holds their accounts'' locks.';
revoke all on function private.book_expiries(uuid[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/grant_lifetime.sql

/*
 * How long a grant of that type lives when nothing else is said; NULL = for ever.
 * In hours, because adding '365 days' depends on the session's time zone and its summer time.
 * Caller: internal.
 */
create or replace function private.grant_lifetime(p_grant_type text)
returns interval
language sql
immutable
security invoker
set search_path = ''
as $$
  select case p_grant_type
    when 'annual' then interval '8760 hours' -- 365 days
    when '28day' then interval '2160 hours' -- 90 days: three cycles
    when 'trial' then interval '1344 hours' -- 56 days
    when 'admin' then interval '8760 hours' -- 365 days
  end
$$;
comment on function private.grant_lifetime(text) is
  'Lifetime of a grant of that type: annual 365 days, 28day 90, trial 56, admin 365, purchase and plan NULL (for ever).';
revoke all on function private.grant_lifetime(text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/issue_grant.sql

/*
 * Gives tokens to a user as one new grant: what every way of granting is made of. The caller has
 * checked who asks and what for.
 * p_grant is the grant to be: grant_type, tokens_granted, priority, granted_at (NULL: now),
 * expires_at (NULL: the type's own lifetime, 'infinity': never), where it came from, metadata.
 * p_entry is its transaction: user_id, action_type, reason, actor, key, request, links.
 * Locks: the account, made first where there is none.
 * Errors: user_not_found, busy, idempotency_key_reused, invalid_granted_at, invalid_expiry,
 * balance_limit_exceeded.   What depends on the clock is checked after the replay: a replay a
 * year later must still get the first answer.
 * Keeps: I2 to I5, I10.
 */
create or replace function private.issue_grant(
  p_grant public.token_balances,
  p_entry public.token_transactions,
  out transaction public.token_transactions,
  out replayed boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
begin
  replayed := false;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := private.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();

  -- replay
  transaction := private.find_replay(p_entry);
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act
  p_grant.granted_at := coalesce(p_grant.granted_at, v_now);
  p_grant.expires_at := nullif(
    coalesce(p_grant.expires_at, p_grant.granted_at + private.grant_lifetime(p_grant.grant_type)), 'infinity');
  if p_grant.granted_at > v_now then
    perform private.refuse('invalid_granted_at', '{"field": "p_granted_at", "rule": "not in the future"}');
  end if;
  if p_grant.expires_at <= v_now then
    perform private.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "in the future"}');
  end if;

  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_entry.user_id], v_now);
    v_account := private.lock_account(p_entry.user_id);
  end if;
  if v_account.tokens_remaining + v_account.tokens_reserved + v_account.tokens_used
     + p_grant.tokens_granted > 9007199254740991
  then
    perform private.refuse('balance_limit_exceeded', '{"limit": 9007199254740991}');
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     payment_id, subscription_id, metadata, created_at)
  values
    (p_entry.user_id, p_grant.grant_type, p_grant.tokens_granted, p_grant.tokens_granted,
     p_grant.priority, p_grant.granted_at, p_grant.expires_at,
     p_grant.payment_id, p_grant.subscription_id, p_grant.metadata, v_now)
  returning id into p_grant.id;
  update public.token_accounts a
     set next_due_at = p_grant.expires_at
   where a.user_id = p_entry.user_id and p_grant.expires_at < coalesce(a.next_due_at, 'infinity');

  -- record
  p_entry.entry_type := 'grant';
  p_entry.tokens := p_grant.tokens_granted;
  p_entry.grant_ids := array[p_grant.id];
  p_entry.grant_tokens := array[p_grant.tokens_granted];
  p_entry.metadata := p_grant.metadata;
  p_entry.created_at := v_now;
  transaction := private.book(p_entry);
end
$$;
comment on function private.issue_grant(public.token_balances, public.token_transactions) is
  'Gives tokens as one new grant under the account''s lock; its transaction, new or replayed. grant_ids[1] of it is the grant.';
revoke all on function private.issue_grant(public.token_balances, public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative), action_type, reason, actor, key,
 * request, metadata, links. The rest is given here.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found.
 * Returns the transaction; or shortfall > 0, in which case nothing was changed, not even what
 * was due to expire; tokens_remaining then says what there is.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend(
  p_entry public.token_transactions,
  out transaction public.token_transactions,
  out replayed boolean,
  out shortfall bigint,
  out tokens_remaining bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_is_due boolean;
begin
  replayed := false;
  shortfall := 0;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  transaction := private.find_replay(p_entry);
  if transaction.id is not null then
    replayed := true;
    tokens_remaining := transaction.balance_after;
    return;
  end if;

  -- act
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  tokens_remaining := coalesce(v_account.tokens_remaining, 0)
    - case when v_is_due then private.tokens_due(p_entry.user_id, v_now) else 0 end;
  if tokens_remaining < -p_entry.tokens then
    shortfall := -p_entry.tokens - tokens_remaining;
    return;
  end if;
  if v_is_due then
    perform private.book_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.take_from_grants(p_entry.user_id, -p_entry.tokens) as taken;

  -- record
  p_entry.entry_type := 'deduction';
  p_entry.created_at := v_now;
  transaction := private.book(p_entry);
  tokens_remaining := transaction.balance_after;
end
$$;
comment on function private.spend(public.token_transactions) is
  'Spends tokens oldest grant first, all or nothing, under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed.';
revoke all on function private.spend(public.token_transactions) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/take_from_grants.sql

/*
 * Takes tokens from a user's open grants in burn order (priority, granted_at, id) and says which
 * gave how much. Stops reading at the grant that covers the rest. The caller has locked the
 * account, booked what was due, and knows that there is enough.
 * Caller: internal.   Keeps: I1, I4, I8.
 */
create or replace function private.take_from_grants(
  p_user_id uuid,
  p_tokens bigint,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_needed bigint := p_tokens;
  v_grant record;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_grant in
    select b.id, b.tokens_remaining
      from public.token_balances b
     where b.user_id = p_user_id and b.is_open
     order by b.priority, b.granted_at, b.id
  loop
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || least(v_grant.tokens_remaining, v_needed);
    v_needed := v_needed - v_grant.tokens_remaining;
    exit when v_needed <= 0;
  end loop;

  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - taken.tokens,
         is_open = b.tokens_remaining > taken.tokens
    from unnest(grant_ids, grant_tokens) as taken (grant_id, tokens)
   where b.user_id = p_user_id and b.id = taken.grant_id;
end
$$;
comment on function private.take_from_grants(uuid, bigint) is
  'Takes tokens from the user''s open grants in burn order; returns which grants paid and how much each.';
revoke all on function private.take_from_grants(uuid, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/tokens_due.sql

/*
 * Tokens that a user's account still counts although their grants have run out by then.
 * Caller: internal.   Keeps: I7.
 */
create or replace function private.tokens_due(p_user_id uuid, p_now timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return coalesce((
    select sum(b.tokens_remaining) from public.token_balances b
     where b.user_id = p_user_id and b.is_open and b.expires_at <= p_now), 0)::bigint;
end
$$;
comment on function private.tokens_due(uuid, timestamptz) is 'Tokens in grants of this user that have run out by then and are not booked yet.';
revoke all on function private.tokens_due(uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/adjust_tokens.sql

/*
 * A signed correction by an admin: an admin grant when positive, a deduction oldest first when
 * negative. Also writes the token_usage row (admin_grant or admin_deduct) that the audit trail has
 * of every correction.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id,
 * transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found,
 * balance_limit_exceeded, busy.   Keeps: I1 to I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_done record;
  v_transaction public.token_transactions;
  v_shortfall bigint := 0;
  v_remaining bigint;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_delta is null or p_delta = 0 or p_delta not between -1000000000000 and 1000000000000 then
    perform private.refuse('invalid_amount',
      '{"field": "p_delta", "rule": "a whole number from -1000000000000 to 1000000000000, not 0"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, p_metadata);

  v_entry.user_id := p_user_id;
  v_entry.tokens := p_delta;
  v_entry.action_type := case when p_delta > 0 then 'admin_grant' else 'admin_deduct' end;
  v_entry.reason := coalesce(p_reason, 'admin adjustment');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'adjust', 'delta', p_delta, 'reason', p_reason);
  v_entry.usage_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');

  if p_delta > 0 then
    v_grant.grant_type := 'admin';
    v_grant.tokens_granted := p_delta;
    v_grant.priority := 50;
    v_grant.metadata := v_entry.metadata;
    v_done := private.issue_grant(v_grant, v_entry);
    v_transaction := v_done.transaction;
    v_remaining := v_transaction.balance_after;
  else
    v_done := private.spend(v_entry);
    v_transaction := v_done.transaction;
    v_shortfall := v_done.shortfall;
    v_remaining := v_done.tokens_remaining;
  end if;

  if v_transaction.id is not null and not v_done.replayed then
    insert into public.token_usage (user_id, id, action_type, tokens_used, cost_estimate, metadata, created_at)
    values (p_user_id, v_entry.usage_id, v_entry.action_type, abs(p_delta), 0,
            v_entry.metadata || jsonb_build_object('reason', v_entry.reason, 'transaction_id', v_transaction.id),
            v_transaction.created_at);
  end if;

  return jsonb_build_object(
    'success', v_shortfall = 0,
    'delta', p_delta,
    'tokens_remaining_to_deduct', v_shortfall,
    'grant_id', case when p_delta > 0 then v_transaction.grant_ids[1] end,
    'deducted_from', case when p_delta > 0 then '[]' else private.allocations(v_transaction) end,
    'usage_id', v_transaction.usage_id,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_remaining,
    'replayed', v_done.replayed);
end
$$;
comment on function private.adjust_tokens(uuid, bigint, text, text, jsonb) is 'See public.adjust_tokens.';
revoke all on function private.adjust_tokens(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.adjust_tokens(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.adjust_tokens(p_user_id, p_delta, p_reason, p_idempotency_key, p_metadata);
end
$$;
comment on function public.adjust_tokens(uuid, bigint, text, text, jsonb) is
  'Corrects a balance: an admin grant (365 days) when p_delta is positive, a deduction oldest first when it is negative. For an admin or the server. p_delta -10^12 to 10^12, not 0; p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Also writes the token_usage row admin_grant or admin_deduct. Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.adjust_tokens(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.adjust_tokens(uuid, bigint, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/deduct_tokens_with_fifo.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed, no error.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_spent record;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => true);
  perform private.check_tokens('p_tokens_to_deduct', p_tokens_to_deduct);
  perform private.check_action_type(p_action_type);
  perform private.check_request(p_idempotency_key, null, p_metadata);

  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens_to_deduct;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'deduct', 'tokens', p_tokens_to_deduct, 'action_type', p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);

  return jsonb_build_object(
    'success', v_spent.shortfall = 0,
    'tokens_deducted', case when v_spent.shortfall = 0 then p_tokens_to_deduct else 0 end,
    'tokens_remaining_to_deduct', v_spent.shortfall,
    'deducted_from', private.allocations(v_spent.transaction),
    'transaction_id', (v_spent.transaction).id,
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed);
end
$$;
comment on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is 'See public.deduct_tokens_with_fifo.';
revoke all on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

create or replace function public.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.deduct_tokens_with_fifo(
    p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/expire_old_token_grants.sql

/*
 * The sweeper: books what has run out, for at most p_max_accounts users a call (call it until it
 * returns 0). A convenience that keeps the ledger's dates close to the truth and the watched
 * account rows fresh; nothing is spent or counted after its expiry without it.
 * Accounts that are locked are skipped, so it never waits and nobody waits long for it; whoever
 * holds the lock books them, or the next run does.
 * Caller: service_role, a scheduled job.   Locks: the due accounts.   Returns grants booked.
 * Errors: invalid_page.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.expire_old_token_grants(p_max_accounts integer)
returns bigint
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_user_ids uuid[];
begin
  if p_max_accounts is null or p_max_accounts not between 1 and 10000 then
    perform private.refuse('invalid_page', '{"field": "p_max_accounts", "rule": "1 to 10000"}');
  end if;
  select array_agg(due.user_id) into v_user_ids
    from (
      select a.user_id from public.token_accounts a
       where a.next_due_at <= v_now
       order by a.next_due_at
       limit p_max_accounts
         for no key update skip locked
    ) due;
  if v_user_ids is null then
    return 0;
  end if;
  return private.book_expiries(v_user_ids, v_now);
end
$$;
comment on function private.expire_old_token_grants(integer) is 'See public.expire_old_token_grants.';
revoke all on function private.expire_old_token_grants(integer) from public, anon, authenticated, service_role;
grant execute on function private.expire_old_token_grants(integer) to service_role;

create or replace function public.expire_old_token_grants(p_max_accounts integer default 1000)
returns bigint
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.expire_old_token_grants(p_max_accounts);
end
$$;
comment on function public.expire_old_token_grants(integer) is
  'Books grants that have run out, for at most p_max_accounts users a call; returns how many grants. For the server and scheduled jobs. Correctness does not need it.';
revoke all on function public.expire_old_token_grants(integer) from public, anon, authenticated, service_role;
grant execute on function public.expire_old_token_grants(integer) to service_role;

-- from supabase/schemas/40_functions/get_token_history.sql

/*
 * A user's transactions, newest first, a page at a time, on from the ledger into the history
 * from before the books opened (entry_type 'history', numbered downwards from 0, no balance).
 * Keyset paging by number: pages neither skip nor repeat while new transactions arrive.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_page, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.get_token_history(p_user_id uuid, p_limit integer, p_before bigint)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_entries jsonb;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 200 then
    perform private.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  perform private.require_user(p_user_id, v_actor.actor_role);

  select jsonb_agg(e.entry order by e.id desc) into v_entries
    from (
      (select t.id, jsonb_build_object(
         'id', t.id, 'entry_type', t.entry_type, 'action_type', t.action_type,
         'tokens', t.tokens, 'balance_after', t.balance_after,
         'allocations', (
           select coalesce(jsonb_agg(jsonb_build_object('grant_id', a.grant_id, 'tokens', a.tokens) order by a.nth), '[]')
             from unnest(t.grant_ids, t.grant_tokens) with ordinality as a (grant_id, tokens, nth)),
         'reason', t.reason, 'actor_role', t.actor_role, 'actor_id', t.actor_id,
         'idempotency_key', t.idempotency_key, 'metadata', t.metadata, 'created_at', t.created_at) as entry
         from public.token_transactions t
        where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
        order by t.id desc
        limit p_limit + 1)
      union all
      (select h.id, jsonb_build_object(
         'id', h.id, 'entry_type', 'history', 'action_type', h.action_type,
         'tokens', h.tokens, 'balance_after', null, 'allocations', '[]'::jsonb,
         'reason', null, 'actor_role', null, 'actor_id', null,
         'idempotency_key', null, 'metadata', h.metadata, 'created_at', h.created_at)
         from public.legacy_token_transactions h
        where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
        order by h.id desc
        limit p_limit + 1)
      order by id desc
      limit p_limit + 1
    ) e;

  return jsonb_build_object(
    'transactions', coalesce(v_entries - p_limit, '[]'),
    'next_before', case when jsonb_array_length(v_entries) > p_limit
                        then v_entries -> (p_limit - 1) -> 'id' end);
end
$$;
comment on function private.get_token_history(uuid, integer, bigint) is 'See public.get_token_history.';
revoke all on function private.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function private.get_token_history(uuid, integer, bigint) to authenticated, service_role;

create or replace function public.get_token_history(
  p_user_id uuid default auth.uid(),
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.get_token_history(p_user_id, p_limit, p_before);
end
$$;
comment on function public.get_token_history(uuid, integer, bigint) is
  'The user''s transactions, newest first. For the user himself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), balance_after, allocations: [{grant_id, tokens}], reason, actor_role, actor_id, idempotency_key, metadata, created_at}], next_before (NULL on the last page)}. entry_type is opening_balance, grant, deduction or expiry, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';
revoke all on function public.get_token_history(uuid, integer, bigint) from public, anon, authenticated, service_role;
grant execute on function public.get_token_history(uuid, integer, bigint) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_storage_quota.sql

/*
 * A user's storage quota: the sum of what he was given.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {total_quota_gb}.   Errors: not_authenticated, forbidden, invalid_user_id.
 */
-- Security definer: an admin reads other users' rows.
create or replace function private.get_user_storage_quota(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  perform private.authorize(p_user_id, p_self_may => true);
  return jsonb_build_object('total_quota_gb', (
    select coalesce(sum(s.quota_gb), 0) from public.user_storage s where s.user_id = p_user_id));
end
$$;
comment on function private.get_user_storage_quota(uuid) is 'See public.get_user_storage_quota.';
revoke all on function private.get_user_storage_quota(uuid) from public, anon, authenticated, service_role;
grant execute on function private.get_user_storage_quota(uuid) to authenticated, service_role;

create or replace function public.get_user_storage_quota(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return private.get_user_storage_quota(p_user_id);
end
$$;
comment on function public.get_user_storage_quota(uuid) is
  'The user''s storage quota in gigabytes, the sum of what he was given: {total_quota_gb}. For the user himself (leave p_user_id out), an admin, or the server. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_storage_quota(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_storage_quota(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_token_balance.sql

/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not; if something is due and the account
 * is free, it is booked on the way, so that the account row that frontends watch is right again.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.   Keeps: I7.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create or replace function private.get_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);

  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = p_user_id;
  if v_is_due is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
  elsif v_is_due then
    perform from public.token_accounts a where a.user_id = p_user_id for no key update skip locked;
    if found then
      perform private.book_expiries(array[p_user_id], v_now);
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', coalesce(a.tokens_remaining, 0) - due.tokens,
      'total_expired', coalesce(a.tokens_expired, 0) + due.tokens,
      'total_reserved', coalesce(a.tokens_reserved, 0),
      'tokens_limit', null,
      'next_expiry', (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = p_user_id and b.is_open and b.expires_at > v_now),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      from (values (p_user_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select case when a.next_due_at <= v_now then private.tokens_due(p_user_id, v_now) else 0 end as tokens) due
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'id', g.id,
                  'grant_type', g.grant_type,
                  'tokens_granted', g.tokens_granted,
                  'tokens_remaining', g.tokens_remaining,
                  'priority', g.priority,
                  'granted_at', g.granted_at,
                  'expires_at', g.expires_at)
                order by g.priority, g.granted_at, g.id) as grants
         from (
           select b.* from public.token_balances b
            where b.user_id = p_user_id and b.is_open and (b.expires_at > v_now or b.expires_at is null)
            order by b.priority, b.granted_at, b.id
            limit 101) g) listed);
end
$$;
comment on function private.get_user_token_balance(uuid) is 'See public.get_user_token_balance.';
revoke all on function private.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function private.get_user_token_balance(uuid) to authenticated, service_role;

create or replace function public.get_user_token_balance(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.get_user_token_balance(p_user_id);
end
$$;
comment on function public.get_user_token_balance(uuid) is
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), tokens_limit, next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_token_balance(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/grant_tokens.sql

/*
 * Gives tokens to a user as one new grant.
 * Caller: an admin, service_role (only the latter may backdate).   Locks: the account.
 * p_expires_at left out: the grant type's own lifetime, counted from p_granted_at; 'infinity': never.
 * Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id,
 * tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_grant_type,
 * invalid_priority, invalid_granted_at, invalid_expiry, invalid_reason, invalid_idempotency_key,
 * invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.
 * Keeps: I2, I3, I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.grant_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text,
  p_expires_at timestamptz,
  p_priority integer,
  p_granted_at timestamptz,
  p_reason text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_issued record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_tokens('p_tokens', p_tokens);
  if p_grant_type is null or p_grant_type not in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan') then
    perform private.refuse('invalid_grant_type',
      '{"field": "p_grant_type", "rule": "annual, 28day, trial, purchase, admin or plan"}');
  end if;
  if p_priority is null or p_priority not between 0 and 100 then
    perform private.refuse('invalid_priority', '{"field": "p_priority", "rule": "0 to 100"}');
  end if;
  if not isfinite(p_granted_at) or (p_granted_at is not null and v_entry.actor_role <> 'service') then
    perform private.refuse('invalid_granted_at',
      '{"field": "p_granted_at", "rule": "a finite moment, and only the server may set it"}');
  end if;
  if p_expires_at = '-infinity' or p_expires_at <= p_granted_at then
    perform private.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "later than it was granted"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, p_metadata);

  v_grant.grant_type := p_grant_type;
  v_grant.tokens_granted := p_tokens;
  v_grant.priority := p_priority;
  v_grant.granted_at := p_granted_at;
  v_grant.expires_at := p_expires_at;
  v_grant.metadata := coalesce(p_metadata, '{}');
  v_entry.user_id := p_user_id;
  v_entry.action_type := case p_grant_type
    when 'trial' then 'trial_grant'
    when 'purchase' then 'token_pack_purchase'
    when 'admin' then 'admin_grant'
    else 'subscription_grant'
  end;
  v_entry.reason := coalesce(p_reason, p_grant_type || ' grant');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'grant', 'tokens', p_tokens, 'grant_type', p_grant_type, 'priority', p_priority,
    'reason', p_reason,
    'expires_at', (p_expires_at at time zone 'utc')::text, -- not in the session's time zone
    'granted_at', (p_granted_at at time zone 'utc')::text);
  v_entry.metadata := v_grant.metadata;
  v_issued := private.issue_grant(v_grant, v_entry);

  v_transaction := v_issued.transaction;
  select b.* into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.id = v_transaction.grant_ids[1];
  return jsonb_build_object(
    'success', true,
    'grant_id', v_grant.id,
    'tokens_granted', v_grant.tokens_granted,
    'grant_type', v_grant.grant_type,
    'granted_at', v_grant.granted_at,
    'expires_at', v_grant.expires_at,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_transaction.balance_after,
    'replayed', v_issued.replayed);
end
$$;
comment on function private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) is 'See public.grant_tokens.';
revoke all on function private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) to authenticated, service_role;

create or replace function public.grant_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text default 'admin',
  p_expires_at timestamptz default null,
  p_priority integer default 50,
  p_granted_at timestamptz default null,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.grant_tokens(
    p_user_id, p_tokens, p_grant_type, p_expires_at, p_priority, p_granted_at,
    p_reason, p_idempotency_key, p_metadata);
end
$$;
comment on function public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) is
  'Gives tokens to a user as one new grant. For an admin or the server. p_tokens 1 to 10^12; p_grant_type annual (365 days), 28day (90), trial (56), purchase (never), admin (365), plan (never); p_expires_at left out: the type''s own lifetime, ''infinity'': never; p_priority 0 (spent first) to 100; p_granted_at in the past, for the server only; p_idempotency_key makes a retry safe for ever. Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id, tokens_remaining, replayed}. Errors: invalid_amount, invalid_grant_type, invalid_priority, invalid_granted_at, invalid_expiry, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/50_views/user_token_counters.sql

/*
 * The old names, readable: what user_profiles had before tokens moved out of it. Dollars, where
 * everything else counts cents. Does not count what has run out, booked or not.
 */
create view public.user_token_counters
with (security_invoker = true)
as
select a.user_id,
       a.tokens_remaining - coalesce((
         select sum(b.tokens_remaining) from public.token_balances b
          where b.user_id = a.user_id and b.is_open and b.expires_at <= clock_timestamp()), 0)::bigint
         as vibe_assistant_tokens_remaining,
       a.tokens_used as vibe_assistant_tokens_used,
       a.total_cost / 100 as vibe_assistant_total_cost
  from public.token_accounts a;
comment on view public.user_token_counters is
  'The counters under the names that user_profiles had them by. Read-only; users see their own.';
comment on column public.user_token_counters.user_id is 'The user.';
comment on column public.user_token_counters.vibe_assistant_tokens_remaining is 'Tokens he can spend now.';
comment on column public.user_token_counters.vibe_assistant_tokens_used is 'Tokens used in his lifetime.';
comment on column public.user_token_counters.vibe_assistant_total_cost is 'Cost in his lifetime, in dollars.';

-- from supabase/schemas/70_privileges.sql

/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything is taken away by name first, then given.
 *
 *                                   anon   authenticated        service_role
 *   tables and the view (public)    -      select (own rows)    select
 *   tables (private)                -      -                    -
 *   deduct_tokens_with_fifo         -      execute (himself)    execute
 *   get_user_token_balance          -      execute (himself)    execute
 *   get_token_history               -      execute (himself)    execute
 *   get_user_storage_quota          -      execute (himself)    execute
 *   grant_tokens, adjust_tokens     -      execute (admins)     execute
 *   expire_old_token_grants         -      -                    execute
 *   all other functions (private)   -      -                    -
 *
 * "Himself" and "admins" are checked in private.authorize; an admin may do for anyone what a user
 * may do for himself. No role writes a table except through the functions. user_profiles belongs
 * to the app and is not in it.
 */
revoke all on schema private from public, anon, authenticated, service_role;
grant usage on schema private to authenticated, service_role;

revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on all functions in schema private from public, anon, authenticated, service_role;

revoke all on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.user_storage,
  public.user_token_counters
from public, anon, authenticated, service_role;

grant select on table
  public.token_accounts,
  public.token_balances,
  public.token_transactions,
  public.legacy_token_transactions,
  public.token_usage,
  public.user_storage,
  public.user_token_counters
to authenticated, service_role;

-- the security definer halves of the public functions
grant execute on function
  private.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  private.get_user_token_balance(uuid),
  private.get_token_history(uuid, integer, bigint),
  private.get_user_storage_quota(uuid),
  private.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  private.adjust_tokens(uuid, bigint, text, text, jsonb)
to authenticated, service_role;
grant execute on function private.expire_old_token_grants(integer) to service_role;

revoke all on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb),
  public.expire_old_token_grants(integer)
from public, anon, authenticated, service_role;

grant execute on function
  public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb),
  public.get_user_token_balance(uuid),
  public.get_token_history(uuid, integer, bigint),
  public.get_user_storage_quota(uuid),
  public.grant_tokens(uuid, bigint, text, timestamptz, integer, timestamptz, text, text, jsonb),
  public.adjust_tokens(uuid, bigint, text, text, jsonb)
to authenticated, service_role;
grant execute on function public.expire_old_token_grants(integer) to service_role;

-- from supabase/schemas/80_realtime.sql

/*
 * Lets a signed-in user watch his own account row (row level security applies) for a live balance.
 */
do $$
begin
  if exists (select from pg_publication p where p.pubname = 'supabase_realtime' and not p.puballtables)
    and not exists (
      select from pg_publication_tables t
       where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'token_accounts')
  then
    alter publication supabase_realtime add table public.token_accounts;
  end if;
end
$$;

-- Copy what was there, and open the books --------------------------------------------------------

do $$
declare
  c_migration constant text := '20261121090000_ledger';
  v_grants_left_out bigint;
  v_grants_changed bigint;
  v_accounts bigint;
  v_tokens numeric;
  v_functions text;
begin
  -- Grants. What no grant can be is left out, what is out of range is put right; copies of both are kept.
  create temporary table grants_to_copy on commit drop as
  select r.user_id, r.id, r.grant_type, r.tokens_granted, r.tokens_remaining,
         coalesce(r.granted_at, r.created_at, now()) as granted_at,
         nullif(r.expires_at, 'infinity') as expires_at,
         r.subscription_id, r.legacy_transaction_id,
         case when jsonb_typeof(r.metadata) = 'object' then r.metadata else '{}' end as metadata,
         coalesce(r.created_at, r.granted_at, now()) as created_at,
         to_jsonb(o) as grant_row,
         case
           when r.user_id is null then 'no user'
           when r.tokens_granted is null or r.tokens_granted not between 1 and 1000000000000 then 'an impossible amount'
           when nullif(r.expires_at, 'infinity') <= coalesce(r.granted_at, r.created_at, now()) then 'expired before it was granted'
         end as left_out_because,
         case
           when r.tokens_remaining is null or r.tokens_remaining not between 0 and r.tokens_granted then 'an impossible balance'
           when r.grant_type is null or r.grant_type not in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan') then 'an unknown type'
         end as changed_because
    from private.old_token_balances o
   cross join lateral jsonb_populate_record(null::public.token_balances, to_jsonb(o)) r;

  insert into private.cleared_token_balances (user_id, grant_row, why)
  select coalesce(g.user_id, '00000000-0000-0000-0000-000000000000'), g.grant_row,
         case when g.left_out_because is not null then 'left out when the books opened: ' || g.left_out_because
              else 'put right when the books opened: ' || g.changed_because end
    from pg_temp.grants_to_copy g
   where g.left_out_because is not null or g.changed_because is not null;

  insert into public.token_balances
    (user_id, id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, is_open,
     subscription_id, legacy_transaction_id, metadata, created_at)
  select g.user_id, g.id,
         case when g.grant_type in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan') then g.grant_type else 'admin' end,
         g.tokens_granted, r.tokens_remaining, g.granted_at, g.expires_at, r.tokens_remaining > 0,
         g.subscription_id, g.legacy_transaction_id, g.metadata, g.created_at
    from pg_temp.grants_to_copy g
   cross join lateral (
     select least(greatest(coalesce(g.tokens_remaining, 0), 0), g.tokens_granted) as tokens_remaining) r
   where g.left_out_because is null;

  select count(*) filter (where g.left_out_because is not null),
         count(*) filter (where g.left_out_because is null and g.changed_because is not null)
    into v_grants_left_out, v_grants_changed
    from pg_temp.grants_to_copy g;

  -- Usage, old transactions, storage: all rows that name a user.
  insert into public.token_usage
    (user_id, id, action_type, model_used, tokens_used, input_tokens, output_tokens, cost_estimate,
     success, error_message, metadata, created_at)
  select r.user_id, coalesce(r.id, gen_random_uuid()), coalesce(r.action_type, 'unknown'), r.model_used,
         coalesce(r.tokens_used, 0), r.input_tokens, r.output_tokens, r.cost_estimate,
         coalesce(r.success, true), r.error_message, coalesce(r.metadata, '{}'), coalesce(r.created_at, now())
    from private.old_token_usage o
   cross join lateral jsonb_populate_record(null::public.token_usage, to_jsonb(o)) r
   where r.user_id is not null;

  insert into public.legacy_token_transactions (user_id, id, legacy_id, action_type, tokens, metadata, created_at)
  select o.user_id,
         1 - row_number() over (partition by o.user_id order by o.created_at desc, o.id desc),
         o.id::text, coalesce(o.action_type, 'unknown'), coalesce(o.tokens_used, 0),
         jsonb_strip_nulls(to_jsonb(o) - array['user_id', 'id', 'action_type', 'tokens_used', 'created_at']),
         coalesce(o.created_at, '-infinity')
    from private.old_token_transactions o
   where o.user_id is not null;

  insert into public.user_storage (user_id, id, quota_gb, granted_at, subscription_id, metadata, created_at)
  select r.user_id, r.id, r.quota_gb, coalesce(r.granted_at, r.created_at, now()), r.subscription_id,
         coalesce(r.metadata, '{}'), coalesce(r.created_at, now())
    from private.old_user_storage o
   cross join lateral jsonb_populate_record(null::public.user_storage, to_jsonb(o)) r
   where r.user_id is not null and r.quota_gb > 0;

  -- One account and one opening balance for each user that anything is known of. Lifetime use comes
  -- from the audit trail; from the old counter only where there is no trail.
  insert into public.token_accounts
    (user_id, tokens_remaining, tokens_used, total_cost, last_transaction_id, next_due_at)
  select u.user_id,
         coalesce(g.tokens_remaining, 0),
         greatest(coalesce(s.tokens_used, c.tokens_used, 0), 0),
         coalesce(s.total_cost, c.total_cost, 0),
         1, g.next_due_at
    from (
      select b.user_id from public.token_balances b
      union select t.user_id from public.token_usage t
      union select a.user_id from private.archived_profile_counters a
    ) u
    left join (
      select b.user_id, sum(b.tokens_remaining) as tokens_remaining,
             min(b.expires_at) filter (where b.is_open) as next_due_at
        from public.token_balances b group by b.user_id
    ) g on g.user_id = u.user_id
    left join (
      select t.user_id, sum(t.tokens_used) as tokens_used, sum(coalesce(t.cost_estimate, 0)) as total_cost
        from public.token_usage t
       where t.success
         and t.action_type not in ('admin_grant', 'admin_deduct', 'subscription_grant', 'renewal_grant',
                                   'trial_grant', 'token_pack_purchase', 'pack_purchase')
       group by t.user_id
    ) s on s.user_id = u.user_id
    left join (
      select a.user_id, max(a.vibe_assistant_tokens_used) as tokens_used,
             max(a.vibe_assistant_total_cost) * 100 as total_cost
        from private.archived_profile_counters a group by a.user_id
    ) c on c.user_id = u.user_id;

  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens,
     reason, actor_role, metadata)
  select a.user_id, 1, 'opening_balance', 'opening_balance', a.tokens_remaining, a.tokens_remaining,
         coalesce(g.grant_ids, '{}'), coalesce(g.grant_tokens, '{}'), 'the books open', 'system',
         jsonb_build_object('tokens_used', a.tokens_used, 'total_cost', a.total_cost)
    from public.token_accounts a
    left join (
      select b.user_id,
             array_agg(b.id order by b.priority, b.granted_at, b.id) as grant_ids,
             array_agg(b.tokens_remaining order by b.priority, b.granted_at, b.id) as grant_tokens
        from public.token_balances b where b.is_open group by b.user_id
    ) g on g.user_id = a.user_id;

  -- Count before believing.
  if (select count(*) from private.old_token_balances)
     <> (select count(*) from public.token_balances) + v_grants_left_out
    or (select count(*) from private.old_token_usage o where o.user_id is not null)
     <> (select count(*) from public.token_usage)
    or (select count(*) from private.old_token_transactions o where o.user_id is not null)
     <> (select count(*) from public.legacy_token_transactions)
  then
    raise exception 'not every row was copied; nothing was changed';
  end if;
  if exists (
    select from public.token_accounts a
     where a.tokens_remaining <> (select t.tokens from public.token_transactions t where t.user_id = a.user_id)
        or a.tokens_remaining <> (select coalesce(sum(b.tokens_remaining), 0) from public.token_balances b where b.user_id = a.user_id))
  then
    raise exception 'an opening balance differs from its grants; nothing was changed';
  end if;

  select count(*), coalesce(sum(a.tokens_remaining), 0) into v_accounts, v_tokens from public.token_accounts a;
  -- a function that runs as its owner writes past the ledger, and no privilege stops it
  select string_agg(p.oid::regprocedure::text, ', ' order by p.oid::regprocedure::text) into v_functions
    from pg_proc p
   where p.pronamespace = 'public'::regnamespace
     and p.proname not in ('deduct_tokens_with_fifo', 'get_user_token_balance', 'grant_tokens', 'adjust_tokens',
                           'get_token_history', 'expire_old_token_grants', 'get_user_storage_quota')
     and p.prosrc ~* '\m(token_balances|token_transactions|token_usage|user_storage|vibe_assistant_)';

  perform private.report(c_migration, concat_ws(E'\n',
    'The books are open:',
    format('  - %s accounts with %s tokens in %s grants', v_accounts, v_tokens,
      (select count(*) from public.token_balances b where b.is_open)),
    format('  - %s old transactions kept as history, %s usage records',
      (select count(*) from public.legacy_token_transactions), (select count(*) from public.token_usage)),
    case when v_grants_changed > 0 then format('  - Put right %s grants out of range, copies in private.cleared_token_balances', v_grants_changed) end,
    case when v_grants_left_out > 0 then format('  - Left out %s grants that no rule can hold, copies in private.cleared_token_balances', v_grants_left_out) end,
    case when v_functions is not null then format('  - Functions of yours that use the old tables or columns; change them to call the functions: %s', v_functions) end));

  drop table pg_temp.grants_to_copy;
end
$$;

-- What has served ---------------------------------------------------------------------------------

drop function private.move_legacy_grants(text);

do $$
declare
  v_table text;
  v_is_empty boolean;
begin
  foreach v_table in array array['old_token_balances', 'old_token_usage', 'old_token_transactions', 'old_user_storage'] loop
    execute format('select not exists (select from private.%I)', v_table) into v_is_empty;
    if v_is_empty then
      execute format('drop table private.%I', v_table);
    end if;
  end loop;
end
$$;
