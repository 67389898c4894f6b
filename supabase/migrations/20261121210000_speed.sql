/*
 * Speed (docs/performance.md): the usual deduction and the usual balance in as few statements as they
 * can be, a lock that costs next to nothing while nobody else wants it, and one CHECK a table instead
 * of one a rule. Nothing is stored differently, and nothing else is allowed or refused. The rows that
 * are there are looked at in the next migration, without keeping anybody from writing.
 */

-- they answer now, so that several can stand in one condition
drop function private.check_tokens(text, bigint);
drop function private.check_action_type(text);
drop function private.check_request(text, text, jsonb);

-- from supabase/schemas/20_tables/token_transactions.sql

/*
 * What every row of the ledger must be, whatever wrote it. One function and not a constraint each:
 * Postgres reads and plans every CHECK anew for every statement, and of a deduction that was a fifth
 * (docs/performance.md).
 * Caller: the constraint.
 */
create or replace function private.is_sound_transaction(
  p_id bigint,
  p_entry_type text,
  p_action_type text,
  p_tokens bigint,
  p_balance_after bigint,
  p_debt_change bigint,
  p_reserved_change bigint,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_reason text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_request jsonb,
  p_original_id bigint
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
declare
  v_is_sound boolean;
begin
  -- the sign follows the kind, and so does what else it may change
  case p_entry_type
    when 'deduction' then v_is_sound := p_tokens < 0 and p_debt_change = 0 and p_reserved_change in (0, p_tokens);
    when 'usage' then v_is_sound := p_tokens = 0 and p_debt_change = 0 and p_reserved_change = 0;
    when 'hold' then v_is_sound := p_tokens = 0 and p_debt_change = 0 and p_reserved_change > 0;
    when 'release' then v_is_sound := p_tokens = 0 and p_debt_change = 0 and p_reserved_change < 0;
    when 'grant', 'refund' then v_is_sound := p_tokens > 0 and p_debt_change = 0 and p_reserved_change = 0;
    when 'expiry' then v_is_sound := p_tokens < 0 and p_debt_change = 0 and p_reserved_change = 0;
    when 'void' then v_is_sound := p_tokens <= 0 and p_debt_change = 0 and p_reserved_change = 0;
    when 'rollover', 'restatement' then
      v_is_sound := p_tokens <> 0 and p_debt_change = 0 and p_reserved_change = 0;
    when 'opening_balance' then v_is_sound := p_tokens >= 0 and p_debt_change = 0 and p_reserved_change = 0;
    when 'clawback' then v_is_sound := p_tokens <= 0 and p_debt_change >= 0 and p_reserved_change = 0;
    when 'restoration' then v_is_sound := p_tokens >= 0 and p_debt_change <= 0 and p_reserved_change = 0;
    when 'debt_repayment' then
      v_is_sound := p_tokens < 0 and p_debt_change = p_tokens and p_reserved_change = 0;
    else v_is_sound := false;
  end case;
  return v_is_sound
    and p_id >= 1
    and p_balance_after >= 0
    and (p_original_id is null or p_original_id < p_id) -- it undoes what came before
    and cardinality(p_grant_ids) = cardinality(p_grant_tokens)
    and (p_entry_type = 'grant') = (p_action_type in (
      'subscription_grant', 'renewal_grant', 'trial_grant', 'token_pack_purchase', 'admin_grant'))
    and length(p_reason) between 1 and 500
    and p_actor_role in ('service', 'user', 'admin', 'system')
    and (p_actor_id is not null) = (p_actor_role in ('user', 'admin'))
    and (p_idempotency_key is null) = (p_request is null); -- a key keeps its request
end
$$;
comment on function private.is_sound_transaction(bigint, text, text, bigint, bigint, bigint, bigint, uuid[], bigint[], text, text, uuid, text, jsonb, bigint) is
  'What every row of the ledger must be: the sign, the debt and the reserve follow the kind of entry; numbered from one; never below zero; each grant with its tokens; a known actor; a key with its request.';
revoke all on function private.is_sound_transaction(bigint, text, text, bigint, bigint, bigint, bigint, uuid[], bigint[], text, text, uuid, text, jsonb, bigint) from public, anon, authenticated, service_role;

alter table public.token_transactions
  drop constraint token_transactions_are_numbered_from_one,
  drop constraint token_transactions_sign_follows_entry_type,
  drop constraint token_transactions_action_of_a_grant_is_positive,
  drop constraint token_transactions_balance_is_never_negative,
  drop constraint token_transactions_debt_follows_entry_type,
  drop constraint token_transactions_reserve_follows_entry_type,
  drop constraint token_transactions_undo_what_came_before,
  drop constraint token_transactions_each_grant_has_its_tokens,
  drop constraint token_transactions_reason_is_given,
  drop constraint token_transactions_actor_is_known,
  drop constraint token_transactions_key_keeps_its_request,
  add constraint token_transactions_are_sound check (private.is_sound_transaction(
    id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change, grant_ids, grant_tokens,
    reason, actor_role, actor_id, idempotency_key, request, original_id)) not valid;

-- from supabase/schemas/20_tables/token_accounts.sql

/*
 * What every account must be, whatever wrote it: no total below zero, nobody his own payer, and
 * totals within 2^53 - 1, the largest integer that JSON carries exactly. One function and not a
 * constraint each, as private.is_sound_transaction.
 * Caller: the constraint.
 */
create or replace function private.is_sound_account(
  p_user_id uuid,
  p_payer_id uuid,
  p_tokens_remaining bigint,
  p_tokens_reserved bigint,
  p_tokens_used bigint,
  p_tokens_expired bigint,
  p_tokens_owed bigint
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return least(p_tokens_remaining, p_tokens_reserved, p_tokens_used, p_tokens_expired, p_tokens_owed) >= 0
    and p_tokens_remaining + p_tokens_reserved + p_tokens_used <= 9007199254740991
    and (p_payer_id is null or p_payer_id <> p_user_id);
end
$$;
comment on function private.is_sound_account(uuid, uuid, bigint, bigint, bigint, bigint, bigint) is
  'What every account must be: no total below zero, totals exact in JSON, nobody his own payer.';
revoke all on function private.is_sound_account(uuid, uuid, bigint, bigint, bigint, bigint, bigint) from public, anon, authenticated, service_role;

alter table public.token_accounts
  drop constraint token_accounts_reserved_is_never_negative,
  drop constraint token_accounts_remaining_is_never_negative,
  drop constraint token_accounts_used_is_never_negative,
  drop constraint token_accounts_expired_is_never_negative,
  drop constraint token_accounts_are_not_their_own_payers,
  drop constraint token_accounts_owed_is_never_negative,
  drop constraint token_accounts_totals_stay_exact_in_json,
  add constraint token_accounts_are_sound check (private.is_sound_account(
    user_id, payer_id, tokens_remaining, tokens_reserved, tokens_used, tokens_expired, tokens_owed)) not valid;

-- from supabase/schemas/20_tables/token_balances.sql

/*
 * What every grant must be, whatever wrote it. One function and not a constraint each, as
 * private.is_sound_transaction.
 * Caller: the constraint.
 */
create or replace function private.is_sound_grant(
  p_grant_type text,
  p_tokens_granted bigint,
  p_tokens_remaining bigint,
  p_is_open boolean,
  p_priority smallint,
  p_granted_at timestamptz,
  p_expires_at timestamptz
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return p_tokens_granted between 1 and 1000000000000
    and p_tokens_remaining between 0 and p_tokens_granted
    and p_is_open = (p_tokens_remaining > 0)
    and p_priority between 0 and 100
    and (p_expires_at is null or p_expires_at > p_granted_at and isfinite(p_expires_at))
    and p_grant_type in ('annual', '28day', 'trial', 'purchase', 'admin', 'plan');
end
$$;
comment on function private.is_sound_grant(text, bigint, bigint, boolean, smallint, timestamptz, timestamptz) is
  'What every grant must be: 1 to 10^12 tokens given, none below zero or above what was given remaining, open while tokens remain, a known type and priority, a finite expiry after it was given.';
revoke all on function private.is_sound_grant(text, bigint, bigint, boolean, smallint, timestamptz, timestamptz) from public, anon, authenticated, service_role;

alter table public.token_balances
  drop constraint token_balances_grant_type_is_known,
  drop constraint token_balances_granted_is_positive,
  drop constraint token_balances_remaining_is_between_zero_and_granted,
  drop constraint token_balances_open_means_tokens_remain,
  drop constraint token_balances_expires_after_it_was_granted,
  drop constraint token_balances_expiry_is_finite,
  drop constraint token_balances_priority_is_between_0_and_100,
  add constraint token_balances_are_sound check (private.is_sound_grant(
    grant_type, tokens_granted, tokens_remaining, is_open, priority, granted_at, expires_at)) not valid;

-- from supabase/schemas/30_guards/check_action_type.sql

/*
 * Refuses an action type that is not a plain name, or that is a name of the ledger's own grants.
 * Caller: internal.   Errors: invalid_action_type.
 */
create or replace function private.check_action_type(p_action_type text)
returns boolean
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
                         'admin_grant', 'admin_deduct', 'opening_balance', 'expiry',
                         'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
  then
    perform private.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
  return true;
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
returns boolean
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
  return true;
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
returns boolean
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
  return true;
end
$$;
comment on function private.check_tokens(text, bigint) is 'Refuses a number of tokens outside 1 to 10^12 with invalid_amount, naming the field.';
revoke all on function private.check_tokens(text, bigint) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/wait_for_account.sql

/*
 * Locks an account that could not be locked at once: somebody has it, or there is none.
 * Those who wait for a row itself are all woken by each change of it and wait anew, and no timeout
 * bounds that: with 200 at one account the statement's own (8 s in a hosted project) came first, and
 * that is no answer. So they wait in a queue, for two seconds, and its first at the row, for two; then
 * busy.
 * Each wait has a block of its own because a row that is locked in a block that can catch is locked
 * by another transaction number than the one that then changes it, which costs both writes and
 * readers; whoever comes out of the queue finds the row free, and takes it outside of any.
 * Caller: private.lock_account.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.wait_for_account(p_user_id uuid, p_create boolean)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_account public.token_accounts;
  v_queue bigint := pg_catalog.uuid_hash_extended(p_user_id, 0);
begin
  if not pg_catalog.pg_try_advisory_xact_lock(v_queue) then
    -- this transaction may have the row already: then it must not stand behind who waits for it
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update skip locked;
    if found then
      return v_account;
    end if;
    begin
      perform pg_catalog.pg_advisory_xact_lock(v_queue);
    exception
      when lock_not_available then
        perform private.refuse('busy', '{}');
    end;
  end if;

  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     for no key update skip locked;
  if found then
    return v_account;
  end if;

  -- there is none, or somebody has it who does not queue
  begin
    if p_create then
      insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
    end if;
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update;
  exception
    when lock_not_available then
      perform private.refuse('busy', '{}');
  end;
  return v_account;
end
$$;
comment on function private.wait_for_account(uuid, boolean) is
  'Locks an account that private.lock_account could not lock at once: at most four seconds, then busy.';
revoke all on function private.wait_for_account(uuid, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/30_guards/lock_account.sql

/*
 * Locks a user's account and returns it; NULL when he has none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: so
 * two changes never wait for each other in a circle.
 * Whoever finds it taken stands in a queue, an advisory lock, and only the first in it waits for the
 * row (private.wait_for_account). What is right rests on the row alone.
 * Read the clock after this, not before: whoever waited across an expiry must not spend the grant.
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy.
 */
create or replace function private.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
begin
  if pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update skip locked;
    if found then
      return v_account;
    end if;
  end if;
  return private.wait_for_account(p_user_id, p_create);
end
$$;
comment on function private.lock_account(uuid, boolean) is
  'Locks the user''s account row (at most four seconds, then busy) and returns it; NULL when there is none, unless p_create.';
revoke all on function private.lock_account(uuid, boolean) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/due_by.sql

/*
 * Makes the account due by that moment at the latest: something of it, a grant or a hold, runs out
 * then. NULL is never. The caller holds the account's lock.
 * Caller: internal.   Keeps: I7.
 */
create or replace function private.due_by(p_user_id uuid, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  update public.token_accounts a
     set next_due_at = p_at
   where a.user_id = p_user_id and p_at < coalesce(a.next_due_at, 'infinity');
end
$$;
comment on function private.due_by(uuid, timestamptz) is
  'Makes the account due by that moment at the latest; NULL is never. The caller holds its lock.';
revoke all on function private.due_by(uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/give_back.sql

/*
 * Puts tokens back into the grants that they came from: what a release, a refund and a won dispute
 * are made of. A grant that has run out takes them too and is then due at once; the caller books
 * that. What no longer fits (something else has filled the grant meanwhile) becomes a grant of its
 * own with the same terms: nothing is lost, and no grant ever has more than it was granted.
 * The mark is lifted to the balance. The caller holds the lock, and books the entry afterwards.
 * Caller: internal.   Returns where the tokens went.   Keeps: I1, I4, I9.
 */
create or replace function private.give_back(
  p_user_id uuid,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_now timestamptz,
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
  v_part record;
  v_id uuid;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_part in
    select b.id, p.tokens, b.tokens_granted - b.tokens_remaining - coalesce(held.tokens, 0) as room
      from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
      left join lateral (
        select sum(part.tokens) as tokens
          from public.token_holds h
         cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
         where h.user_id = p_user_id and h.status = 'open' and part.grant_id = b.id) held on true
     order by p.nth
  loop
    if v_part.room > 0 then
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining + least(v_part.tokens, v_part.room), is_open = true
       where b.user_id = p_user_id and b.id = v_part.id;
      grant_ids := grant_ids || v_part.id;
      grant_tokens := grant_tokens || least(v_part.tokens, v_part.room);
    end if;
    if v_part.tokens > v_part.room then
      insert into public.token_balances
        (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, metadata, created_at)
      select b.user_id, b.grant_type, v_part.tokens - greatest(v_part.room, 0), v_part.tokens - greatest(v_part.room, 0),
             b.priority, b.granted_at, b.expires_at, jsonb_build_object('given_back_for', b.id), p_now
        from public.token_balances b
       where b.user_id = p_user_id and b.id = v_part.id
      returning id into v_id;
      grant_ids := grant_ids || v_id;
      grant_tokens := grant_tokens || (v_part.tokens - greatest(v_part.room, 0));
    end if;
  end loop;

  perform private.due_by(p_user_id, (
    select min(b.expires_at) from public.token_balances b
     where b.user_id = p_user_id and b.id = any (grant_ids)));
end
$$;
comment on function private.give_back(uuid, uuid[], bigint[], timestamptz) is
  'Puts tokens back into the grants that they came from; what does not fit becomes a grant with the same terms. Returns where they went.';
revoke all on function private.give_back(uuid, uuid[], bigint[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/issue_grant.sql

/*
 * Gives tokens to a user as one new grant: what every way of granting is made of. The caller has
 * checked who asks and what for.
 * p_grant is the grant to be: grant_type, tokens_granted, priority, granted_at (NULL: now),
 * expires_at (NULL: p_lifetime, or else the type's own; 'infinity': never), where it came from,
 * metadata.
 * p_entry is its transaction: user_id, action_type, reason, actor, key, request, links.
 * Locks: the account, made first where there is none.
 * Errors: user_not_found, busy, idempotency_key_reused, invalid_granted_at, invalid_expiry,
 * balance_limit_exceeded.   What depends on the clock is checked after the replay: a replay a
 * year later must still get the first answer.
 * Keeps: I2 to I5, I9, I10.
 */
create or replace function private.issue_grant(
  p_grant public.token_balances,
  p_entry public.token_transactions,
  p_lifetime interval default null,
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
    coalesce(
      p_grant.expires_at,
      p_grant.granted_at + coalesce(p_lifetime, private.grant_lifetime(p_grant.grant_type))),
    'infinity');
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
     payment_id, subscription_id, period_start, metadata, created_at)
  values
    (p_entry.user_id, p_grant.grant_type, p_grant.tokens_granted, p_grant.tokens_granted,
     p_grant.priority, p_grant.granted_at, p_grant.expires_at,
     p_grant.payment_id, p_grant.subscription_id, p_grant.period_start, p_grant.metadata, v_now)
  returning id into p_grant.id;
  perform private.due_by(p_entry.user_id, p_grant.expires_at);

  -- record
  p_entry.entry_type := 'grant';
  p_entry.tokens := p_grant.tokens_granted;
  p_entry.grant_ids := array[p_grant.id];
  p_entry.grant_tokens := array[p_grant.tokens_granted];
  p_entry.metadata := p_grant.metadata;
  p_entry.created_at := v_now;
  transaction := private.book(p_entry);

  perform private.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function private.issue_grant(public.token_balances, public.token_transactions, interval) is
  'Gives tokens as one new grant under the account''s lock; its transaction, new or replayed. grant_ids[1] of it is the grant.';
revoke all on function private.issue_grant(public.token_balances, public.token_transactions, interval) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/roll_over.sql

/*
 * Carries what a closing period has left into a new grant, as far as the plan that it was on allows
 * (token_plans.rollover_…). Called when the next period begins, under the account's lock, with what
 * was due booked.
 *
 * What carries over is what the period's own grant has left; or, when it ran out no earlier than
 * the next period began, what it lost then: that takes back a part of its expiry. What is above the
 * limit stays where it is and keeps its own terms. A rollover never shortens the life of a token:
 * a grant that outlives what it would be carried into keeps everything.
 * A period is carried over once, and what was carried over is not carried over again.
 * Caller: internal.   Keeps: I1 to I5, I7, I10.
 */
create or replace function private.roll_over(
  p_subscription public.user_subscriptions,
  p_next_start timestamptz,
  p_actor_role text,
  p_actor_id uuid,
  p_now timestamptz
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_plan public.token_plans;
  v_closing public.token_balances;
  v_expires_at timestamptz;
  v_entry public.token_transactions;
  v_source public.token_transactions;
  v_left bigint;
  v_tokens bigint;
  v_id uuid;
begin
  select p.* into v_plan from public.token_plans p where p.plan_type = p_subscription.plan_type;
  if coalesce(v_plan.rollover_tokens, v_plan.rollover_percent) is null then
    return;
  end if;
  select b.* into v_closing
    from public.token_balances b
   where b.user_id = p_subscription.user_id and b.subscription_id = p_subscription.id
     and b.period_start = p_subscription.period_start;
  v_expires_at := p_now + v_plan.rollover_lifetime_days * interval '24 hours';
  if v_closing.id is null or v_closing.voided_at is not null
    or coalesce(v_closing.expires_at, 'infinity') >= coalesce(v_expires_at, 'infinity')
    or exists (
      select from public.token_balances b
       where b.user_id = v_closing.user_id and b.rolled_over_from = v_closing.id)
  then
    return;
  end if;

  v_left := v_closing.tokens_remaining;
  if v_closing.expires_at <= p_now and v_closing.expires_at >= p_next_start then
    -- its running out is its first expiry; a later one is of what came back too late
    select t.* into v_source
      from public.token_transactions t
     where t.user_id = v_closing.user_id and t.entry_type = 'expiry' and t.grant_ids[1] = v_closing.id
     order by t.id
     limit 1;
    v_left := coalesce(-v_source.tokens, 0);
  end if;
  v_tokens := least(v_left, v_plan.rollover_tokens, v_closing.tokens_granted * v_plan.rollover_percent / 100);
  if v_tokens = 0 then
    return;
  end if;

  v_entry.user_id := v_closing.user_id;
  v_entry.entry_type := 'rollover';
  v_entry.action_type := 'rollover';
  v_entry.reason := 'left of the period before';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := jsonb_build_object('period_start', v_closing.period_start);
  v_entry.created_at := p_now;

  if v_source.id is null then
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - v_tokens, is_open = b.tokens_remaining > v_tokens
     where b.user_id = v_closing.user_id and b.id = v_closing.id;
    v_entry.tokens := -v_tokens;
    v_entry.grant_ids := array[v_closing.id];
    v_entry.grant_tokens := array[v_tokens];
    v_source := private.book(v_entry);
  else
    update public.token_accounts a
       set tokens_expired = a.tokens_expired - v_tokens
     where a.user_id = v_closing.user_id;
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     subscription_id, rolled_over_from, metadata, created_at)
  values
    (v_closing.user_id, v_closing.grant_type, v_tokens, v_tokens, v_closing.priority, p_now, v_expires_at,
     v_closing.subscription_id, v_closing.id, v_entry.metadata, p_now)
  returning id into v_id;
  perform private.due_by(v_closing.user_id, v_expires_at);
  v_entry.tokens := v_tokens;
  v_entry.grant_ids := array[v_id];
  v_entry.grant_tokens := array[v_tokens];
  v_entry.original_id := v_source.id;
  perform private.book(v_entry);
  perform private.settle_incoming(v_closing.user_id, p_now);
end
$$;
comment on function private.roll_over(public.user_subscriptions, timestamptz, text, uuid, timestamptz) is
  'Carries what a closing period has left into a new grant, within the limits of its plan; once a period. The caller holds the account''s lock.';
revoke all on function private.roll_over(public.user_subscriptions, timestamptz, text, uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/deduction_request.sql

/*
 * What a deduction asked for, as the ledger keeps it under its key: alone or in a batch it is the same
 * request.
 * Caller: internal.
 */
create or replace function private.deduction_request(p_tokens bigint, p_action_type text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
  return jsonb_build_object('operation', 'deduct', 'tokens', p_tokens, 'action_type', p_action_type);
end
$$;
comment on function private.deduction_request(bigint, text) is
  'What a deduction asked for, as the ledger keeps it under its key.';
revoke all on function private.deduction_request(bigint, text) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/batch_entry.sql

/*
 * One item of a batch as the transaction to be; the same entry, and the same refusals, as of a
 * single deduction. A field that is not known is refused: a misspelt idempotency_key would
 * otherwise be a deduction that a retry makes twice. NULL is as good as left out.
 * Caller: internal.   Errors: invalid_batch, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata.
 */
create or replace function private.batch_entry(p_item jsonb)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_tokens numeric;
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform private.refuse('invalid_batch', '{"field": "p_items", "rule": "each item an object"}');
  elsif p_item - array['user_id', 'tokens', 'action_type', 'idempotency_key', 'metadata'] <> '{}' then
    perform private.refuse('invalid_batch',
      '{"field": "p_items", "rule": "user_id, tokens, action_type, idempotency_key, metadata and nothing else"}');
  elsif jsonb_typeof(p_item -> 'action_type') not in ('string', 'null') then
    perform private.check_action_type(null);
  elsif jsonb_typeof(p_item -> 'idempotency_key') not in ('string', 'null') then
    perform private.check_request('', null, null);
  elsif (p_item ->> 'user_id' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') is not true then
    perform private.refuse('invalid_user_id', '{"field": "user_id", "rule": "a uuid"}');
  end if;
  if jsonb_typeof(p_item -> 'tokens') = 'number' then
    v_tokens := p_item ->> 'tokens';
    if v_tokens <> trunc(v_tokens) or v_tokens > 1000000000000 then
      v_tokens := null; -- bigint would round the one and not hold the other
    end if;
  end if;
  v_entry.user_id := p_item ->> 'user_id';
  v_entry.tokens := -v_tokens;
  v_entry.action_type := coalesce(p_item ->> 'action_type', 'deduction');
  v_entry.reason := v_entry.action_type;
  v_entry.actor_role := 'service';
  v_entry.idempotency_key := p_item ->> 'idempotency_key';
  v_entry.metadata := coalesce(nullif(p_item -> 'metadata', 'null'), '{}');
  perform private.check_tokens('tokens', -v_entry.tokens);
  perform private.check_action_type(v_entry.action_type);
  perform private.check_request(v_entry.idempotency_key, null, v_entry.metadata);
  v_entry.request := private.deduction_request(-v_entry.tokens, v_entry.action_type);
  return v_entry;
end
$$;
comment on function private.batch_entry(jsonb) is
  'One item of a batch, {user_id, tokens, action_type, idempotency_key, metadata}, as the transaction to be; refuses what a single deduction would.';
revoke all on function private.batch_entry(jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend_at_once.sql

/*
 * The usual deduction, in as few statements as it can be: the account is free, nothing is due, the
 * oldest grant covers it, no cap applies, nobody wants to be told, and the key is new. NULL for
 * every other case, in which nothing was changed and private.spend does it; both come to the same
 * grants, totals, ledger row and receipt. What it saves: docs/performance.md.
 * The caller has checked who asks and what for.
 * Caller: private.deduct_tokens_with_fifo.   Locks: the account.   Errors: busy.
 * Returns the receipt.   Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend_at_once(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_left bigint;
  v_now timestamptz;
  v_grant record;
begin
  -- lock: the account of whoever pays for himself; of a member, his payer's comes first
  if pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id and a.payer_id is null
       for no key update skip locked;
  elsif private.paying_account(p_user_id) = p_user_id then
    v_account := private.lock_account(p_user_id);
    if v_account.payer_id is not null then -- joined a team while we waited
      perform private.refuse('busy', '{}');
    end if;
  end if;
  v_left := v_account.tokens_remaining - p_tokens;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now
    or v_left < v_account.alert_below
    or v_left >= v_account.alert_above
    or (v_left >= 0) is not true -- or there is no account
  then
    return null;
  end if;

  -- replay
  if p_idempotency_key is not null then
    perform from public.token_transactions t
      where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
    union all
    select from public.token_transactions t -- of the time when he was in a team
      where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key;
    if found then
      return null;
    end if;
  end if;

  -- act: the oldest grant, if it covers all of it and the order is the usual one
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - p_tokens,
         is_open = b.tokens_remaining > p_tokens
   where b.user_id = p_user_id
     and b.id = (
       select h.id from public.token_balances h
        where h.user_id = p_user_id and h.is_open
        order by h.priority, h.granted_at, h.id limit 1)
     and b.tokens_remaining >= p_tokens
     and not exists (select from public.token_spend_caps c where c.user_id = p_user_id)
     and not exists (select from public.default_spend_caps)
     and (select o.burn_order from private.burn_orders o order by o.since desc limit 1) is distinct from 'expiring_first'
     and v_account.alerts_version = coalesce((select v.version from private.alert_rule_versions v), 0)
  returning b.id, b.grant_type, b.granted_at into v_grant;
  if not found then
    return null;
  end if;

  -- record
  if (v_account.spent_at >= date_trunc('day', v_now, 'UTC')) is not true then -- counts begin anew
    v_account.spent_day := 0;
    if (v_account.spent_at >= date_trunc('week', v_now, 'UTC')) is not true then
      v_account.spent_week := 0;
    end if;
    if (v_account.spent_at >= date_trunc('month', v_now, 'UTC')) is not true then
      v_account.spent_month := 0;
    end if;
  end if;
  update public.token_accounts a
     set tokens_remaining = v_left,
         tokens_used = a.tokens_used + p_tokens,
         spent_at = greatest(a.spent_at, v_now),
         spent_day = v_account.spent_day + p_tokens,
         spent_week = v_account.spent_week + p_tokens,
         spent_month = v_account.spent_month + p_tokens,
         last_transaction_id = a.last_transaction_id + 1,
         updated_at = v_now
   where a.user_id = p_user_id;
  insert into public.token_transactions
    (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
     actor_role, actor_id, idempotency_key, request, metadata, created_at)
  values
    (p_user_id, v_account.last_transaction_id + 1, 'deduction', p_action_type, -p_tokens, v_left,
     array[v_grant.id], array[p_tokens], p_action_type, p_actor_role, p_actor_id, p_idempotency_key,
     case when p_idempotency_key is not null
       then private.deduction_request(p_tokens, p_action_type) end,
     coalesce(p_metadata, '{}'), v_now);
  return private.deduction_receipt(
    p_tokens, v_account.last_transaction_id + 1,
    jsonb_build_array(jsonb_build_object(
      'grant_id', v_grant.id, 'grant_type', v_grant.grant_type, 'granted_at', v_grant.granted_at, 'deducted', p_tokens)),
    0, v_left, false);
end
$$;
comment on function private.spend_at_once(uuid, bigint, text, text, uuid, text, jsonb) is
  'Makes a deduction that needs nothing but its oldest grant, and returns its receipt; NULL, with nothing changed, when it is not as simple as that.';
revoke all on function private.spend_at_once(uuid, bigint, text, text, uuid, text, jsonb) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/balance_at_once.sql

/*
 * What get_user_token_balance says of an account to which nothing has to be done first, in one
 * statement: nothing is due, the user pays for himself, has open grants, and they are spent in the
 * usual order. NULL for every other case. What it saves: docs/performance.md.
 * Caller: private.get_user_token_balance.   Locks: nothing.   Keeps: I7.
 */
create or replace function private.balance_at_once(p_user_id uuid, p_now timestamptz)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', a.tokens_remaining,
      'total_expired', a.tokens_expired,
      'total_reserved', a.tokens_reserved,
      'total_owed', a.tokens_owed,
      'tokens_limit', s.tokens_limit,
      'plan_type', s.plan_type,
      'next_expiry', case when listed.count <= 100 then listed.next_expiry else (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = p_user_id and b.is_open and b.expires_at > p_now) end,
      'grants', case when listed.count <= 100 then listed.grants else listed.grants - 100 end,
      'has_more_grants', listed.count > 100)
      from public.token_accounts a
      left join public.user_subscriptions s on s.user_id = p_user_id
     cross join lateral (
       select jsonb_agg(g) as grants,
              count(*) as count,
              min(g.expires_at) as next_expiry
         from (
           select b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at
             from public.token_balances b
            where b.user_id = p_user_id and b.is_open
            order by b.priority, b.granted_at, b.id
            limit 101) g) listed
     where a.user_id = p_user_id
       and a.payer_id is null
       and (a.next_due_at > p_now or a.next_due_at is null)
       and (s.next_plan_type is null or s.expires_at > p_now)
       and listed.count > 0
       and (select o.burn_order from private.burn_orders o order by o.since desc limit 1) is distinct from 'expiring_first');
end
$$;
comment on function private.balance_at_once(uuid, timestamptz) is
  'The answer of get_user_token_balance for an account to which nothing has to be done first; NULL for any other.';
revoke all on function private.balance_at_once(uuid, timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/capture_tokens.sql

/*
 * Pays for what was really used out of a hold, and gives the rest back, last taken first. Once: a
 * second capture, or one of a hold that was released or ran out, changes nothing and answers what
 * happened (success false unless it was captured).
 *
 * How much: p_tokens; else what the usage fields count for, as in track_token_usage; else all of it.
 * Nothing when it failed, whatever was used: a failed call is recorded and gives everything back.
 * With usage fields the token_usage row is written in the same transaction.
 * More than was held: deduct takes the difference as an ordinary deduction, all or nothing (short
 * of tokens, or under a cap that allows less: success false, the hold stays open); cap takes no more than was held and records the
 * rest as uncovered; reject refuses.
 * A source grant that ran out meanwhile is honoured; what goes back into it expires at once.
 * Caller: the user for holds he made himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_usage,
 * invalid_metadata, user_not_found, hold_not_found, capture_exceeds_hold, busy.
 * Keeps: I1 to I4, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.capture_tokens(
  p_usage public.token_usage,
  p_hold_id uuid,
  p_tokens bigint,
  p_over_capture text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_usage public.token_usage := p_usage;
  v_has_usage boolean := not coalesce(p_usage.success, true) or num_nonnulls(p_usage.model_used, p_usage.input_tokens,
    p_usage.output_tokens, p_usage.images, p_usage.seconds, p_usage.error_message) > 0;
  v_entry public.token_transactions;
  v_locked record;
  v_hold public.token_holds;
  v_tokens bigint;
  v_over bigint;
  v_captured bigint;
  v_account public.token_accounts;
  v_cap record;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_usage.user_id, p_self_may => true);
  if p_tokens not between 0 and 1000000000000 then
    perform private.refuse('invalid_amount', '{"field": "p_tokens", "rule": "a whole number from 0 to 1000000000000"}');
  end if;
  if p_over_capture is null or p_over_capture not in ('deduct', 'cap', 'reject') then
    perform private.refuse('invalid_usage', '{"field": "p_over_capture", "rule": "deduct, cap or reject"}');
  end if;
  perform private.check_usage(p_usage);
  perform private.check_request(null, null, p_usage.metadata);

  -- lock, replay
  v_locked := private.lock_hold(p_usage.user_id, p_hold_id, v_entry.actor_role);
  v_hold := v_locked.hold;
  if v_hold.status <> 'open' then
    return private.hold_receipt(v_hold, p_replayed => true);
  end if;

  -- act: how much
  v_usage.success := coalesce(p_usage.success, true);
  v_usage.action_type := v_hold.action_type;
  v_usage.created_at := v_locked.locked_at;
  v_usage.tokens_used := p_tokens;
  if v_has_usage then
    v_usage := private.measure_usage(v_usage);
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, case when v_usage.success then v_hold.tokens else 0 end);
  v_tokens := case when v_usage.success then v_usage.tokens_used else 0 end;
  v_captured := least(v_tokens, v_hold.tokens);
  v_over := v_tokens - v_captured;
  if v_over > 0 and p_over_capture = 'reject' then
    perform private.refuse('capture_exceeds_hold', jsonb_build_object('limit', v_hold.tokens));
  elsif v_over > 0 and p_over_capture = 'cap' then
    v_hold.tokens_uncovered := v_over;
    v_over := 0;
  elsif v_over > 0 then
    select a.* into v_account from public.token_accounts a where a.user_id = v_hold.user_id;
    v_cap := private.spend_headroom(v_account, v_hold.member_id, v_locked.locked_at);
    if least(v_account.tokens_remaining, v_cap.headroom) < v_over then
      return private.hold_receipt(v_hold, p_replayed => false)
          || jsonb_build_object(
               'tokens_remaining_to_deduct', v_over - least(v_account.tokens_remaining, v_cap.headroom))
          || private.capped(case when v_cap.headroom < v_over then v_cap.capped_by end);
    end if;
  end if;

  -- act and record: the capture, what goes beyond it, the usage, the rest
  v_entry.user_id := v_hold.user_id;
  v_entry.action_type := v_hold.action_type;
  v_entry.reason := v_hold.action_type;
  v_entry.hold_id := v_hold.id;
  v_entry.member_id := v_hold.member_id;
  v_entry.metadata := coalesce(p_usage.metadata, '{}');
  v_entry.created_at := v_locked.locked_at;
  if v_has_usage then
    v_hold.usage_id := gen_random_uuid();
    v_entry.usage_id := v_hold.usage_id;
  end if;
  if v_captured > 0 or v_has_usage then
    select part.grant_ids, part.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from private.parts_between(v_hold.grant_ids, v_hold.grant_tokens, 0, v_captured) as part;
    v_entry.entry_type := case when v_captured > 0 then 'deduction' else 'usage' end;
    v_entry.tokens := -v_captured;
    v_entry.reserved_change := -v_captured;
    v_hold.capture_id := (private.book(
      v_entry, case when v_has_usage and v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end)).id;
  end if;
  if v_over > 0 then
    select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from private.take_from_grants(v_hold.user_id, v_over, v_locked.locked_at) as taken;
    v_entry.tokens := -v_over;
    v_entry.reserved_change := 0;
    v_hold.overage_id := (private.book(v_entry)).id;
  end if;
  if v_has_usage then
    v_usage.user_id := v_hold.user_id;
    v_usage.id := v_hold.usage_id;
    v_usage.member_id := v_hold.member_id;
    v_usage.transaction_id := v_hold.capture_id;
    v_usage.tokens_uncovered := v_hold.tokens_uncovered;
    v_usage.metadata := v_entry.metadata;
    insert into public.token_usage values (v_usage.*);
  end if;
  v_hold := private.release_hold(
    v_hold, v_captured, 'captured', v_locked.locked_at, v_entry.actor_role, v_entry.actor_id);
  return private.hold_receipt(v_hold, p_replayed => false);
end
$$;
comment on function private.capture_tokens(public.token_usage, uuid, bigint, text) is 'See public.capture_tokens.';
revoke all on function private.capture_tokens(public.token_usage, uuid, bigint, text) from public, anon, authenticated, service_role;
grant execute on function private.capture_tokens(public.token_usage, uuid, bigint, text) to authenticated, service_role;

create or replace function public.capture_tokens(
  p_user_id uuid,
  p_hold_id uuid,
  p_tokens bigint default null,
  p_over_capture text default 'deduct',
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_metadata jsonb default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_usage public.token_usage;
begin
  v_usage.user_id := p_user_id;
  v_usage.model_used := p_model_used;
  v_usage.input_tokens := p_input_tokens;
  v_usage.output_tokens := p_output_tokens;
  v_usage.success := p_success;
  v_usage.error_message := p_error_message;
  v_usage.metadata := p_metadata;
  v_usage.cached_tokens := p_cached_tokens;
  v_usage.reasoning_tokens := p_reasoning_tokens;
  v_usage.images := p_images;
  v_usage.seconds := p_seconds;
  return private.capture_tokens(v_usage, p_hold_id, p_tokens, p_over_capture);
end
$$;
comment on function public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric) is
  'Pays for what was really used out of a hold and gives the rest back; once, and a second time answers what happened the first time. For the user (holds that he made himself), an admin, or the server. p_tokens what to pay, left out: what the usage fields count for, else all of it; nothing when p_success is false; p_over_capture when that is more than was held: deduct (the difference as an ordinary deduction, all or nothing), cap or reject; the other arguments as of track_token_usage, and with any of them the usage is recorded in the same transaction. Returns {success, hold_id, status (open, captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), deducted_from, transaction_id, overage_transaction_id, usage_id, cost_estimate (cents), settled_at, tokens_remaining, replayed}. Short of tokens: success false, status open, nothing changed. Errors: invalid_amount, invalid_usage, invalid_metadata, hold_not_found, user_not_found, capture_exceeds_hold, forbidden, busy.';
revoke all on function public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.capture_tokens(uuid, uuid, bigint, text, text, bigint, bigint, boolean, text, jsonb, bigint, bigint, integer, numeric) to authenticated, service_role;

-- from supabase/schemas/40_functions/deduct_tokens_with_fifo.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from his payer's account.
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
  v_actor record;
  v_is_sound boolean;
  v_receipt jsonb;
  v_entry public.token_transactions;
  v_spent record;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_is_sound := private.check_tokens('p_tokens_to_deduct', p_tokens_to_deduct)
    and private.check_action_type(p_action_type)
    and private.check_request(p_idempotency_key, null, p_metadata);

  v_receipt := private.spend_at_once(
    p_user_id, p_tokens_to_deduct, p_action_type, v_actor.actor_role, v_actor.actor_id,
    p_idempotency_key, p_metadata);
  if v_receipt is not null then
    return v_receipt;
  end if;

  v_entry.actor_role := v_actor.actor_role;
  v_entry.actor_id := v_actor.actor_id;
  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens_to_deduct;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := private.deduction_request(p_tokens_to_deduct, p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);
  return private.deduction_receipt(
    p_tokens_to_deduct, (v_spent.transaction).id, private.allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
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
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed; and so under a spend cap, which is then said in capped_by {scope, window, limit, used, resets_at}. A member of a team spends from his payer''s account. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.deduct_tokens_with_fifo(uuid, bigint, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/get_user_token_balance.sql

/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not; if something is due and the account
 * is free, it is booked on the way, so that the account row that frontends watch is right again.
 * A user who never had a grant and has a plan is given its tokens first, once; a downgrade whose
 * time has come is put into effect.
 * A member of a team is told of his payer's account, which is what he can spend.
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
  v_account_id uuid;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
  v_balance jsonb;
begin
  v_actor := private.authorize(p_user_id, p_self_may => true);
  v_balance := private.balance_at_once(p_user_id, v_now);
  if v_balance is not null then
    return v_balance;
  end if;

  v_account_id := private.paying_account(p_user_id);

  if not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform private.initialise(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if exists (
    select from public.user_subscriptions s
     where s.user_id = v_account_id and s.next_plan_type is not null and s.expires_at <= v_now)
  then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.take_up_next_plan(v_account_id);
    end if;
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform private.require_user(p_user_id, v_actor.actor_role);
  elsif v_is_due then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform private.book_expiries(array[v_account_id], v_now);
      v_is_due := false;
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'total_active', coalesce(a.tokens_remaining - due.lost + due.returned - due.repaid, 0),
      'total_expired', coalesce(a.tokens_expired + due.lost + due.forfeited, 0),
      'total_reserved', coalesce(a.tokens_reserved - due.returned - due.forfeited, 0),
      'total_owed', coalesce(a.tokens_owed - due.repaid, 0),
      'tokens_limit', (select s.tokens_limit from public.user_subscriptions s where s.user_id = v_account_id),
      'plan_type', (
        select coalesce(next.plan_type, s.plan_type)
          from public.user_subscriptions s
          left join public.token_plans next
            on next.plan_type = s.next_plan_type and next.price_cents = 0 and s.expires_at <= v_now
         where s.user_id = v_account_id),
      'next_expiry', (
        select min(b.expires_at) from public.token_balances b
         where b.user_id = v_account_id and b.is_open and b.expires_at > v_now),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      || case when v_account_id <> p_user_id then jsonb_build_object('payer_id', v_account_id) else '{}' end
      from (values (v_account_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.repaid), 0)::bigint as repaid
         from private.tokens_due(v_account_id, v_now) as d
        where a.next_due_at <= v_now) due
     cross join lateral (
       select jsonb_agg(
                jsonb_build_object(
                  'id', g.id,
                  'grant_type', g.grant_type,
                  'tokens_granted', g.tokens_granted,
                  'tokens_remaining', chosen.tokens,
                  'priority', g.priority,
                  'granted_at', g.granted_at,
                  'expires_at', g.expires_at)
                order by chosen.nth) as grants
         from private.choose_grants(v_account_id, null, v_now, 101, p_count_due => v_is_due) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         join public.token_balances g on g.user_id = v_account_id and g.id = chosen.grant_id) listed);
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
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the mark the plan filled up to), plan_type, next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}; for a member of a team of his payer''s account, with payer_id. Errors: not_authenticated, forbidden.';
revoke all on function public.get_user_token_balance(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_token_balance(uuid) to authenticated, service_role;

-- from supabase/schemas/40_functions/refund_tokens.sql

/*
 * Undoes a deduction, in part or whole, as often as there is something left of it: the tokens go
 * back to the very grants that paid, last taken first.
 * Into a grant that has run out: forfeit (they expire at once, in the ledger) or reissue (one new
 * grant that lives p_lifetime_days). What is owed is repaid first, as from anything that comes in.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, tokens_refunded, restored: [{grant_id, grant_type, tokens}],
 * forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found,
 * not_refundable, refund_exceeds_charge, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.refund_tokens(
  p_user_id uuid,
  p_transaction_id bigint,
  p_tokens bigint,
  p_reason text,
  p_expired_policy text,
  p_idempotency_key text,
  p_lifetime_days integer
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_refund public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_charge public.token_transactions;
  v_before bigint;
  v_refundable bigint;
  v_part record;
  v_expired bigint := 0;
  v_expired_type text;
  v_new_id uuid;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_tokens is not null then
    perform private.check_tokens('p_tokens', p_tokens);
  end if;
  if p_expired_policy is null or p_expired_policy not in ('forfeit', 'reissue') then
    perform private.refuse('invalid_refund', '{"field": "p_expired_policy", "rule": "forfeit or reissue"}');
  elsif (p_expired_policy = 'reissue' and (p_lifetime_days between 1 and 36500) is not true)
    or (p_expired_policy = 'forfeit' and p_lifetime_days is not null)
  then
    perform private.refuse('invalid_refund',
      '{"field": "p_lifetime_days", "rule": "1 to 36500 with reissue, left out otherwise"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := coalesce(p_reason, 'refund');
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'refund', 'transaction_id', p_transaction_id, 'tokens', p_tokens, 'reason', p_reason,
    'expired_policy', p_expired_policy, 'lifetime_days', p_lifetime_days));
  v_entry.metadata := '{}';
  v_refund := private.find_replay(v_entry);
  select t.* into v_charge from public.token_transactions t
   where t.user_id = p_user_id and t.id = p_transaction_id;
  if v_refund.id is null and p_idempotency_key is not null then
    -- what a member spent is refunded in his name, and the key is with it
    select t.member_id into v_entry.member_id
      from public.team_members m
      join public.token_transactions t on t.member_id = m.member_id and t.idempotency_key = p_idempotency_key
     where m.user_id = p_user_id and t.user_id = p_user_id and t.actor_role <> 'user'
       and (t.entry_type = 'refund' or t.member_id = v_charge.member_id)
     order by t.entry_type = 'refund' desc, t.id
     limit 1;
    if v_entry.member_id is not null then
      v_refund := private.find_replay(v_entry);
    end if;
  end if;
  if v_refund.id is not null then
    return private.refund_receipt(v_refund, p_replayed => true);
  end if;

  -- act: what is left of the charge
  if v_charge.id is null then
    perform private.refuse('charge_not_found', '{}');
  elsif v_charge.entry_type <> 'deduction' then
    perform private.refuse('not_refundable', jsonb_build_object('entry_type', v_charge.entry_type));
  end if;
  select coalesce(sum(t.tokens), 0)::bigint into v_before
    from public.token_transactions t
   where t.user_id = p_user_id and t.original_id = v_charge.id and t.entry_type = 'refund';
  v_refundable := -v_charge.tokens - v_before;
  v_entry.tokens := coalesce(p_tokens, v_refundable);
  if v_entry.tokens > v_refundable or v_refundable = 0 then
    perform private.refuse('refund_exceeds_charge', jsonb_build_object('limit', v_refundable));
  end if;
  if v_account.next_due_at <= v_now then
    perform private.book_expiries(array[p_user_id], v_now);
  end if;

  -- act: back to the grants that paid, from the end of what they paid
  v_entry.grant_ids := '{}';
  v_entry.grant_tokens := '{}';
  for v_part in
    select p.grant_id, p.tokens, b.grant_type, coalesce(b.expires_at <= v_now, false) as has_expired
      from private.parts_between(v_charge.grant_ids, v_charge.grant_tokens,
             v_refundable - v_entry.tokens, v_refundable) as part
     cross join lateral unnest(part.grant_ids, part.grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
     order by p.nth desc
  loop
    if v_part.has_expired and p_expired_policy = 'reissue' then
      v_expired := v_expired + v_part.tokens;
      v_expired_type := coalesce(v_expired_type, v_part.grant_type);
    else
      v_entry.grant_ids := v_entry.grant_ids || v_part.grant_id;
      v_entry.grant_tokens := v_entry.grant_tokens || v_part.tokens;
    end if;
  end loop;
  select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from private.give_back(p_user_id, v_entry.grant_ids, v_entry.grant_tokens, v_now) as back;
  if v_expired > 0 then
    insert into public.token_balances
      (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, metadata, created_at)
    values
      (p_user_id, v_expired_type, v_expired, v_expired, v_now, v_now + p_lifetime_days * interval '24 hours',
       jsonb_build_object('reissued_for', v_charge.id), v_now)
    returning id into v_new_id;
    perform private.due_by(p_user_id, v_now + p_lifetime_days * interval '24 hours');
    v_entry.grant_ids := v_entry.grant_ids || v_new_id;
    v_entry.grant_tokens := v_entry.grant_tokens || v_expired;
  end if;

  -- record
  v_entry.entry_type := 'refund';
  v_entry.action_type := v_charge.action_type;
  v_entry.original_id := v_charge.id;
  v_entry.member_id := v_charge.member_id;
  v_entry.usage_id := v_charge.usage_id;
  v_entry.hold_id := v_charge.hold_id;
  v_entry.created_at := v_now;
  v_refund := private.book(v_entry);
  perform private.settle_incoming(p_user_id, v_now);
  return private.refund_receipt(v_refund, p_replayed => false);
end
$$;
comment on function private.refund_tokens(uuid, bigint, bigint, text, text, text, integer) is 'See public.refund_tokens.';
revoke all on function private.refund_tokens(uuid, bigint, bigint, text, text, text, integer) from public, anon, authenticated, service_role;
grant execute on function private.refund_tokens(uuid, bigint, bigint, text, text, text, integer) to authenticated, service_role;

create or replace function public.refund_tokens(
  p_user_id uuid,
  p_transaction_id bigint,
  p_tokens bigint default null,
  p_reason text default null,
  p_expired_policy text default 'forfeit',
  p_idempotency_key text default null,
  p_lifetime_days integer default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.refund_tokens(
    p_user_id, p_transaction_id, p_tokens, p_reason, p_expired_policy, p_idempotency_key, p_lifetime_days);
end
$$;
comment on function public.refund_tokens(uuid, bigint, bigint, text, text, text, integer) is
  'Undoes a deduction, in part (p_tokens) or what is left of it, back to the very grants that paid, last taken first. For an admin or the server. p_expired_policy for what paid and has run out since: forfeit (it expires at once) or reissue (a new grant that lives p_lifetime_days, 1 to 36500); p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, tokens_refunded, restored: [{grant_id, grant_type, tokens}], forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}. Errors: invalid_amount, invalid_reason, invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found, not_refundable, refund_exceeds_charge, forbidden, busy.';
revoke all on function public.refund_tokens(uuid, bigint, bigint, text, text, text, integer) from public, anon, authenticated, service_role;
grant execute on function public.refund_tokens(uuid, bigint, bigint, text, text, text, integer) to authenticated, service_role;

-- from supabase/schemas/40_functions/reserve_tokens.sql

/*
 * Sets tokens aside for a call that is about to run: taken from the grants in burn order at once,
 * all or nothing, and remembered grant by grant. To be captured or released; else it runs out after
 * p_ttl_seconds, and whoever touches the account next releases it.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct, reserved_from,
 * expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_ttl,
 * invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.reserve_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer,
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
  v_hold public.token_holds;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => true);
  perform private.check_tokens('p_tokens', p_tokens);
  if p_ttl_seconds is null or p_ttl_seconds not between 1 and 86400 then
    perform private.refuse('invalid_ttl', '{"field": "p_ttl_seconds", "rule": "1 to 86400"}');
  end if;
  perform private.check_action_type(p_action_type);
  perform private.check_request(p_idempotency_key, null, p_metadata);

  -- lock, replay, act
  v_entry.user_id := p_user_id;
  v_entry.tokens := 0;
  v_entry.reserved_change := p_tokens;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'reserve', 'tokens', p_tokens, 'ttl_seconds', p_ttl_seconds, 'action_type', p_action_type);
  v_entry.hold_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := private.spend(v_entry);

  -- record
  if v_spent.replayed then
    select h.* into v_hold from public.token_holds h
     where h.user_id = (v_spent.transaction).user_id and h.id = (v_spent.transaction).hold_id;
  elsif v_spent.shortfall = 0 then
    insert into public.token_holds as h
      (user_id, id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role,
       transaction_id, member_id, metadata, created_at)
    values
      ((v_spent.transaction).user_id, v_entry.hold_id, p_tokens, (v_spent.transaction).grant_ids, (v_spent.transaction).grant_tokens,
       (v_spent.transaction).created_at + p_ttl_seconds * interval '1 second', p_action_type, v_entry.actor_role,
       (v_spent.transaction).id, (v_spent.transaction).member_id, v_entry.metadata, (v_spent.transaction).created_at)
    returning h.* into v_hold;
    perform private.due_by(v_hold.user_id, v_hold.expires_at);
  end if;

  return jsonb_build_object(
    'success', v_hold.id is not null,
    'hold_id', v_hold.id,
    'status', v_hold.status,
    'tokens_reserved', coalesce(v_hold.tokens, 0),
    'tokens_remaining_to_deduct', v_spent.shortfall,
    'reserved_from', private.allocations(v_spent.transaction),
    'expires_at', v_hold.expires_at,
    'transaction_id', (v_spent.transaction).id,
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed) || private.capped(v_spent.capped_by);
end
$$;
comment on function private.reserve_tokens(uuid, bigint, integer, text, text, jsonb) is 'See public.reserve_tokens.';
revoke all on function private.reserve_tokens(uuid, bigint, integer, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.reserve_tokens(uuid, bigint, integer, text, text, jsonb) to authenticated, service_role;

create or replace function public.reserve_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer default 900,
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
  return private.reserve_tokens(p_user_id, p_tokens, p_ttl_seconds, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function public.reserve_tokens(uuid, bigint, integer, text, text, jsonb) is
  'Sets tokens aside for a call that is about to run, all or nothing. For the user himself, an admin, or the server. p_tokens 1 to 10^12; p_ttl_seconds 1 to 86400, after which the hold has run out and its tokens are back; p_action_type what for; p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct (the shortfall), reserved_from: [{grant_id, grant_type, granted_at, deducted}], expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_ttl, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, forbidden, busy.';
revoke all on function public.reserve_tokens(uuid, bigint, integer, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.reserve_tokens(uuid, bigint, integer, text, text, jsonb) to authenticated, service_role;

-- from supabase/schemas/40_functions/restate_token_balances.sql

/*
 * Brings a user's grants to what an exact replay of his history says: at most two `restatement`
 * entries, one for what is taken and one for what is given, each of which reverse_restatement can
 * undo. Nothing to restate is a success with 0; under a key, an entry of 0 tokens keeps the key.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}],
 * transaction_ids, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.restate_token_balances(
  p_user_id uuid,
  p_reason text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_first public.token_transactions; -- the one with the key
  v_taken public.token_transactions;
  v_given public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform private.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform private.check_request(p_idempotency_key, p_reason, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
    if p_idempotency_key is not null then
      v_account := private.lock_account(p_user_id, p_create => true);
    end if;
  end if;
  v_now := clock_timestamp();

  -- replay of the key; who took and gave kept the key with what was taken
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'restate', 'reason', p_reason);
  v_entry.metadata := '{}';
  v_first := private.find_replay(v_entry);
  if v_first.tokens > 0 then
    v_given := v_first;
  elsif v_first.tokens < 0 then
    v_taken := v_first;
    select t.* into v_given from public.token_transactions t
     where t.user_id = p_user_id and t.id = v_taken.id + 1
       and t.metadata = jsonb_build_object('beside', v_taken.id);
  elsif v_first.id is not null then
    null; -- there was nothing to restate
  elsif v_account.user_id is not null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform private.book_expiries(array[p_user_id], v_now);
    end if;
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.created_at := v_now;
    select array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           array_agg(r.difference order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           -sum(r.difference) filter (where r.difference > 0),
           array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           array_agg(-r.difference order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           -sum(r.difference) filter (where r.difference < 0)
      into v_taken.grant_ids, v_taken.grant_tokens, v_taken.tokens,
           v_given.grant_ids, v_given.grant_tokens, v_given.tokens
      from private.replay(p_user_id, null, null, v_now) as r
     where r.difference <> 0;
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + restated.tokens,
           is_open = b.tokens_remaining + restated.tokens > 0
      from (
        select t.id, -t.tokens as tokens from unnest(v_taken.grant_ids, v_taken.grant_tokens) as t (id, tokens)
        union all
        select g.id, g.tokens from unnest(v_given.grant_ids, v_given.grant_tokens) as g (id, tokens)) restated
     where b.user_id = p_user_id and b.id = restated.id;
    perform private.due_by(p_user_id, (
      select min(b.expires_at) from public.token_balances b
       where b.user_id = p_user_id and b.id = any (v_given.grant_ids)));

    -- record: first what is taken, or the total could pass its limit
    if v_taken.tokens <> 0 then
      v_entry.grant_ids := v_taken.grant_ids;
      v_entry.grant_tokens := v_taken.grant_tokens;
      v_entry.tokens := v_taken.tokens;
      v_taken := private.book(v_entry);
      v_entry.idempotency_key := null;
      v_entry.metadata := jsonb_build_object('beside', v_taken.id);
    end if;
    if v_given.tokens <> 0 then
      v_entry.grant_ids := v_given.grant_ids;
      v_entry.grant_tokens := v_given.grant_tokens;
      v_entry.tokens := v_given.tokens;
      v_given := private.book(v_entry);
      perform private.settle_incoming(p_user_id, v_now);
    end if;
    v_first := case when v_taken.id is not null then v_taken else v_given end;
    if v_first.id is null and p_idempotency_key is not null then
      v_entry.entry_type := 'usage';
      v_entry.action_type := 'restating';
      v_entry.tokens := 0;
      v_entry.grant_ids := '{}';
      v_entry.grant_tokens := '{}';
      v_first := private.book(v_entry);
    end if;
  else
    v_replayed := false;
  end if;

  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'tokens_taken', coalesce(-v_taken.tokens, 0),
    'tokens_given', coalesce(v_given.tokens, 0),
    'restated', coalesce((
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', part.tokens) order by part.nth)
        from (
          select t.grant_id, -t.tokens as tokens, t.nth
            from unnest(v_taken.grant_ids, v_taken.grant_tokens) with ordinality as t (grant_id, tokens, nth)
          union all
          select g.grant_id, g.tokens, g.nth + 1000000
            from unnest(v_given.grant_ids, v_given.grant_tokens) with ordinality as g (grant_id, tokens, nth)) part), '[]'),
    'transaction_ids', to_jsonb(array_remove(array[v_taken.id, v_given.id], null)),
    'tokens_remaining', coalesce(
      (select t.balance_after
         from public.token_transactions t
        where t.user_id = p_user_id and t.created_at = v_first.created_at
          -- what is given stands beside what is taken, and what repaid a debt follows it at once
          and t.id between v_first.id and v_first.id + 2
        order by t.id desc
        limit 1),
      v_account.tokens_remaining, 0),
    'replayed', v_replayed);
end
$$;
comment on function private.restate_token_balances(uuid, text, text) is 'See public.restate_token_balances.';
revoke all on function private.restate_token_balances(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.restate_token_balances(uuid, text, text) to authenticated, service_role;

create or replace function public.restate_token_balances(
  p_user_id uuid,
  p_reason text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.restate_token_balances(p_user_id, p_reason, p_idempotency_key);
end
$$;
comment on function public.restate_token_balances(uuid, text, text) is
  'Brings a user''s grants to what replay_token_balances says they would have, with at most two restatement entries: what is taken, and what is given. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}], transaction_ids, tokens_remaining, replayed}; nothing to restate: 0 and 0. reverse_restatement undoes each. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.restate_token_balances(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.restate_token_balances(uuid, text, text) to authenticated, service_role;

-- from supabase/schemas/40_functions/track_token_usage.sql

/*
 * Records one AI operation and deducts for it, in one transaction: the token_usage row, the ledger
 * entry and the account's tokens and cost, or nothing.
 *
 * What it counts for: p_tokens_used when given; else input + output within what ai_action_costs
 * asks for the action. Cached tokens are part of the input and reasoning tokens part of the output.
 * A failed operation (p_success false) is recorded and deducts nothing.
 * Short of tokens: with p_on_shortage 'reject' success is false and nothing is recorded; with
 * 'partial' what is there is taken and the rest is recorded as uncovered. Under a spend cap it is the
 * same: what the cap allows counts as what is there, and the cap is said in capped_by.
 * A member's operation is recorded with his payer, whose tokens it takes, and names the member.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: the account.
 * Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted,
 * tokens_remaining_to_deduct, cost_estimate, deducted_from, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create or replace function private.track_token_usage(
  p_usage public.token_usage,
  p_on_shortage text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_usage public.token_usage;
  v_spent record;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_usage.user_id, p_self_may => true);
  perform private.check_action_type(p_usage.action_type);
  perform private.check_usage(p_usage);
  if p_on_shortage is null or p_on_shortage not in ('reject', 'partial') then
    perform private.refuse('invalid_usage', '{"field": "p_on_shortage", "rule": "reject or partial"}');
  end if;
  perform private.check_request(p_idempotency_key, null, p_usage.metadata);

  v_usage := p_usage;
  v_usage.id := gen_random_uuid();
  v_usage.success := coalesce(p_usage.success, true);
  v_usage.metadata := coalesce(p_usage.metadata, '{}');
  v_usage.created_at := clock_timestamp();
  v_usage := private.measure_usage(v_usage);
  if v_usage.success and v_usage.tokens_used is null then
    perform private.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, 0);

  -- lock, replay, act
  v_entry.user_id := v_usage.user_id;
  v_entry.tokens := case when v_usage.success then -v_usage.tokens_used else 0 end;
  v_entry.action_type := v_usage.action_type;
  v_entry.reason := v_usage.action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'track', 'on_shortage', p_on_shortage)
    || jsonb_strip_nulls(to_jsonb(p_usage) - array['user_id', 'metadata']);
  v_entry.usage_id := v_usage.id;
  v_entry.metadata := v_usage.metadata;
  v_spent := private.spend(
    v_entry,
    p_partial => p_on_shortage = 'partial',
    p_cost => case when v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end);

  -- record
  if v_spent.replayed then
    select u.* into v_usage from public.token_usage u
     where u.user_id = (v_spent.transaction).user_id and u.id = (v_spent.transaction).usage_id;
  elsif (v_spent.transaction).id is not null then
    v_usage.user_id := (v_spent.transaction).user_id;
    v_usage.member_id := (v_spent.transaction).member_id;
    v_usage.transaction_id := (v_spent.transaction).id;
    v_usage.created_at := (v_spent.transaction).created_at;
    v_usage.tokens_uncovered := v_spent.shortfall;
    insert into public.token_usage values (v_usage.*);
  else
    v_usage.id := null;
    v_usage.tokens_uncovered := v_spent.shortfall;
  end if;

  return jsonb_build_object(
    'success', (v_spent.transaction).id is not null,
    'usage_id', v_usage.id,
    'transaction_id', (v_spent.transaction).id,
    'tokens_used', v_usage.tokens_used,
    'tokens_deducted', -coalesce((v_spent.transaction).tokens, 0),
    'tokens_remaining_to_deduct', v_usage.tokens_uncovered,
    'cost_estimate', v_usage.cost_estimate,
    'deducted_from', private.allocations(v_spent.transaction),
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed) || private.capped(v_spent.capped_by);
end
$$;
comment on function private.track_token_usage(public.token_usage, text, text) is 'See public.track_token_usage.';
revoke all on function private.track_token_usage(public.token_usage, text, text) from public, anon, authenticated, service_role;
grant execute on function private.track_token_usage(public.token_usage, text, text) to authenticated, service_role;

create or replace function public.track_token_usage(
  p_user_id uuid default auth.uid(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_on_shortage text default 'reject',
  p_idempotency_key text default null,
  p_metadata jsonb default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_usage public.token_usage;
begin
  v_usage.user_id := p_user_id;
  v_usage.action_type := p_action_type;
  v_usage.model_used := p_model_used;
  v_usage.input_tokens := p_input_tokens;
  v_usage.output_tokens := p_output_tokens;
  v_usage.tokens_used := p_tokens_used;
  v_usage.success := p_success;
  v_usage.error_message := p_error_message;
  v_usage.metadata := p_metadata;
  v_usage.cached_tokens := p_cached_tokens;
  v_usage.reasoning_tokens := p_reasoning_tokens;
  v_usage.images := p_images;
  v_usage.seconds := p_seconds;
  return private.track_token_usage(v_usage, p_on_shortage, p_idempotency_key);
end
$$;
comment on function public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric) is
  'Records one AI operation and deducts for it in one transaction. For the user himself (leave p_user_id out), an admin, or the server. p_action_type what was done; p_model_used the model; p_input_tokens and p_output_tokens, or p_tokens_used as a fixed number; p_cached_tokens is part of the input, p_reasoning_tokens part of the output; p_images; p_seconds of audio; p_success false records and deducts nothing; p_error_message at most 2000 characters; p_on_shortage reject (nothing recorded, success false) or partial (takes what is there, records the rest as uncovered); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), cost_estimate (cents, NULL = unknown), deducted_from, tokens_remaining, replayed}, and capped_by {scope, window, limit, used, resets_at} where a spend cap allowed less than was wanted. Errors: invalid_action_type, invalid_usage, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, forbidden, busy.';
revoke all on function public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric) from public, anon, authenticated, service_role;
grant execute on function public.track_token_usage(uuid, text, text, bigint, bigint, bigint, boolean, text, text, text, jsonb, bigint, bigint, integer, numeric) to authenticated, service_role;

-- from supabase/schemas/40_functions/upgrade_plan.sql

/*
 * Changes a user's plan, for the server. To a plan of a higher or equal rank at once, with its tokens
 * added in this commit; to a lower one at the end of the period, and no token is taken away.
 * A change to a lower plan has an entry of 0 tokens: the ledger says who made it, and keeps its key
 * and what it answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, plan_not_found,
 * idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create or replace function private.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text,
  p_payment_id text,
  p_idempotency_key text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_plan public.token_plans;
  v_subscription public.user_subscriptions;
  v_transaction public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from private.authorize(p_user_id, p_self_may => false);
  perform private.check_request(p_idempotency_key, null, null);

  -- lock
  v_account := private.lock_account(p_user_id);
  if v_account.user_id is null then
    perform private.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay: before the catalogue is asked, which may have changed since
  v_entry.user_id := p_user_id;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'upgrade', 'plan_type', p_plan_type,
    'payment_method', p_payment_method, 'payment_id', p_payment_id);
  v_transaction := private.find_replay(v_entry);
  if v_transaction.id is null then
    v_replayed := false;

    -- act
    select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
    if v_plan.plan_type is null then
      perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
    end if;
    select s.* into v_subscription from public.user_subscriptions s where s.user_id = p_user_id;
    if v_subscription.is_active and v_subscription.expires_at > v_now
      and v_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_subscription.plan_type)
    then
      if v_account.user_id is null then
        v_account := private.lock_account(p_user_id, p_create => true);
      end if;
      if v_account.next_due_at <= v_now then
        perform private.book_expiries(array[p_user_id], v_now);
      end if;
      update public.user_subscriptions s
         set next_plan_type = p_plan_type, updated_at = v_now
       where s.user_id = p_user_id
      returning s.* into v_subscription;
      v_entry.reason := 'downgrade to ' || p_plan_type;
      v_entry.metadata := jsonb_build_object('plan_type', p_plan_type,
        'effective_at', v_subscription.expires_at, 'tokens_limit', v_subscription.tokens_limit);
    else
      v_entry.reason := 'upgrade to ' || p_plan_type;
      select (started.transaction).* into v_transaction
        from private.start_period(v_plan, null, p_payment_method, p_payment_id, v_entry) as started;
      v_entry.metadata := jsonb_build_object('plan_type', p_plan_type);
    end if;

    -- record: what gave no tokens
    if v_transaction.id is null then
      v_entry.entry_type := 'usage';
      v_entry.action_type := 'plan_change';
      v_entry.tokens := 0;
      v_entry.grant_ids := '{}';
      v_entry.grant_tokens := '{}';
      v_entry.created_at := clock_timestamp();
      v_transaction := private.book(v_entry);
    end if;
  end if;

  -- what it answers is read off its entry, so that a retry is told the same
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'effective', case when v_transaction.metadata ? 'effective_at' then 'period_end' else 'now' end,
    'effective_at', coalesce((v_transaction.metadata ->> 'effective_at')::timestamptz, v_transaction.created_at),
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', coalesce(
      (v_transaction.metadata ->> 'tokens_limit')::bigint,
      -- a debt is repaid from what came in before the mark is set
      (select r.balance_after from public.token_transactions r
        where r.user_id = p_user_id and r.id = v_transaction.id + 1
          and r.entry_type = 'debt_repayment' and r.created_at = v_transaction.created_at),
      v_transaction.balance_after),
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_replayed);
end
$$;
comment on function private.upgrade_plan(uuid, text, text, text, text) is 'See public.upgrade_plan.';
revoke all on function private.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function private.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;

create or replace function public.upgrade_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text default null,
  p_payment_id text default null,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.upgrade_plan(p_user_id, p_plan_type, p_payment_method, p_payment_id, p_idempotency_key);
end
$$;
comment on function public.upgrade_plan(uuid, text, text, text, text) is
  'Changes a user''s plan. For an admin or the server. To a plan of a higher or equal rank at once, its tokens added in the same commit; to a lower one at the end of the period, taking no token away, with an entry of 0 tokens. p_payment_method (card, paypal, …) and p_payment_id are kept with the subscription; p_idempotency_key makes a retry safe for ever. Returns {success, plan_type, effective (now or period_end), effective_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: plan_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';
revoke all on function public.upgrade_plan(uuid, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.upgrade_plan(uuid, text, text, text, text) to authenticated, service_role;
