/*
 * private.rules_in_force is closed by name: in a project whose default privileges give every new table
 * to the API's roles, service_role could write it, for no migration had taken that away.
 * Whether there are common caps is asked of their table again: one that was written to it directly (in
 * the SQL editor) was passed over, and so was one that was set in the seconds of the migration before.
 * The usual deduction asks who it is as the usual balance does, of private.authorize.
 */
revoke all on table private.rules_in_force from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative, or 0 for use that costs nothing, or
 * 0 with reserved_change for a hold), action_type, reason, actor, key, request, metadata, links. The
 * rest is given here.
 * With p_partial it takes what there is and the shortfall is what remains uncovered. p_cost is
 * what the operation cost, in cents.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found.
 * A user who never had a grant is initialised first (private.initialise).
 * A member of a team spends from his payer's account: the transaction has the payer's user_id and the
 * member's member_id. An admin's correction stays on the account that it names.
 * Returns the transaction; or, without p_partial, shortfall > 0, in which case nothing was changed,
 * not even what was due to expire; tokens_remaining then says what there is. capped_by is the cap that
 * allowed less than was wanted: the shortfall counts from what it allows, and p_partial takes that.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend(
  p_entry public.token_transactions,
  p_partial boolean default false,
  p_cost numeric default 0,
  out transaction public.token_transactions,
  out replayed boolean,
  out shortfall bigint,
  out tokens_remaining bigint,
  out capped_by jsonb
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
  v_wanted bigint;
  v_allowed bigint;
  v_is_due boolean;
  v_payer_id uuid;
  v_cap record;
begin
  replayed := false;
  shortfall := 0;

  if p_entry.action_type <> 'admin_deduct' then
    select a.payer_id into v_payer_id from public.token_accounts a where a.user_id = p_entry.user_id;
    if v_payer_id is not null then
      p_entry.member_id := p_entry.user_id;
      p_entry.user_id := v_payer_id;
    end if;
  end if;

  -- lock
  v_account := private.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform private.require_user(p_entry.user_id, p_entry.actor_role);
    perform private.initialise(p_entry.user_id); -- whom registration missed
    v_account := private.lock_account(p_entry.user_id, p_create => p_partial or p_entry.tokens = 0);
  end if;
  if p_entry.action_type <> 'admin_deduct'
    and (v_account.payer_id is not null -- joined a team while we waited; or left it, or its payer
      or p_entry.member_id is not null and private.paying_account(p_entry.member_id) <> p_entry.user_id)
  then
    perform private.refuse('busy', '{}');
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
  v_wanted := coalesce(p_entry.reserved_change, 0) - p_entry.tokens;
  tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  if v_is_due then
    select tokens_remaining - due.lost + due.returned - due.repaid into tokens_remaining
      from private.tokens_due(p_entry.user_id, v_now) as due;
  end if;
  if tokens_remaining < v_wanted then
    if not exists (select from public.token_balances b where b.user_id = p_entry.user_id) then
      perform private.initialise(p_entry.user_id); -- an account, and still never a grant
      v_account := private.lock_account(p_entry.user_id);
      v_now := clock_timestamp(); -- what was just granted comes before what is now spent
      tokens_remaining := coalesce(v_account.tokens_remaining, 0);
    end if;
  end if;
  v_allowed := tokens_remaining;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct'
    and (p_entry.member_id is not null
      or exists (select from public.token_spend_caps c where c.user_id = p_entry.user_id)
      or exists (select from public.default_spend_caps))
  then
    v_cap := private.spend_headroom(v_account, p_entry.member_id, v_now);
    if v_cap.headroom < v_wanted then
      capped_by := v_cap.capped_by;
      v_allowed := least(v_allowed, v_cap.headroom);
    end if;
  end if;
  if v_allowed < v_wanted then
    shortfall := v_wanted - v_allowed;
    if not p_partial then
      return;
    end if;
    v_wanted := v_allowed;
    p_entry.tokens := -v_allowed;
  end if;
  if v_is_due then
    perform private.book_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from private.take_from_grants(p_entry.user_id, v_wanted, v_now) as taken;

  -- record
  p_entry.entry_type := case
    when p_entry.reserved_change > 0 then 'hold'
    when p_entry.tokens = 0 then 'usage'
    else 'deduction'
  end;
  p_entry.created_at := v_now;
  transaction := private.book(p_entry, p_cost);
  tokens_remaining := transaction.balance_after;
end
$$;
comment on function private.spend(public.token_transactions, boolean, numeric) is
  'Spends tokens oldest grant first, all or nothing (with p_partial what there is), under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed; capped_by where a cap allowed less.';
revoke all on function private.spend(public.token_transactions, boolean, numeric) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_books/spend_many.sql

/*
 * The usual deduction, for many accounts in one statement: nothing is due, the grant that is next in
 * burn order covers it, no cap applies, nobody wants to be told (private.book asks the same of the
 * marks), and the key is new. What is not so is left alone, and goes through private.spend; both come
 * to the same grants, totals, ledger rows and receipts.
 * p_entries are transactions to be, as of private.spend, no two of one account and none of a member;
 * their id is the caller's own number, handed back. The caller has locked the accounts and read the
 * clock.
 * Caller: internal.   Returns the receipt of each deduction that was made.   Keeps: I1 to I5, I7, I8, I10.
 */
create or replace function private.spend_many(p_entries public.token_transactions[], p_now timestamptz)
returns table (nth bigint, receipt jsonb)
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
  v_day timestamptz := date_trunc('day', p_now, 'UTC');
  v_week timestamptz := date_trunc('week', p_now, 'UTC');
  v_month timestamptz := date_trunc('month', p_now, 'UTC');
  v_expiring_first boolean := (select r.is_expiring_first from private.rules_in_force r);
begin
  -- Each step has all that it needs from the first: joining steps to each other would be quadratic
  -- under a plan that does not know how many items there are.
  return query
  with payable as (
    select e.id as nth, e.user_id, -e.tokens as tokens, e.action_type, e.reason, e.actor_role, e.idempotency_key,
           e.request, e.metadata, a.last_transaction_id + 1 as transaction_id,
           a.tokens_remaining + e.tokens as tokens_remaining, b.id as grant_id, b.grant_type, b.granted_at
      from unnest(p_entries) as e
      join public.token_accounts a on a.user_id = e.user_id
     cross join lateral ( -- the two orders of private.choose_grants, each with its index
       (select g.* from public.token_balances g
         where not v_expiring_first and g.user_id = e.user_id and g.is_open
         order by g.priority, g.granted_at, g.id limit 1)
       union all
       (select g.* from public.token_balances g
         where v_expiring_first and g.user_id = e.user_id and g.is_open
         order by g.priority, g.expires_at, g.granted_at, g.id limit 1)) b
     where a.tokens_remaining >= -e.tokens
       and b.tokens_remaining >= -e.tokens
       and (a.next_due_at > p_now or a.next_due_at is null)
       and not exists (
         select from public.token_transactions t
          where t.user_id = e.user_id and t.member_id is null and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not exists (
         select from public.token_transactions t -- of the time when he was in a team
          where t.member_id = e.user_id and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not exists (select from public.token_spend_caps c where c.user_id = e.user_id)
       and a.alerts_version = (select r.alerts_version from private.rules_in_force r)
       and not exists (select from public.default_spend_caps)
       and (a.tokens_remaining + e.tokens < a.alert_below or a.tokens_remaining + e.tokens >= a.alert_above) is not true
  ), taken as (
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p.tokens,
           is_open = b.tokens_remaining > p.tokens
      from payable p
     where b.user_id = p.user_id and b.id = p.grant_id
  ), accounts as (
    -- as private.book does it, for a deduction
    update public.token_accounts a
       set tokens_remaining = p.tokens_remaining,
           tokens_used = a.tokens_used + p.tokens,
           spent_at = greatest(a.spent_at, p_now),
           spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end + p.tokens,
           spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end + p.tokens,
           spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end + p.tokens,
           last_transaction_id = p.transaction_id,
           updated_at = p_now
      from payable p
     where a.user_id = p.user_id
  ), booked as (
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, idempotency_key, request, metadata, created_at)
    select p.user_id, p.transaction_id, 'deduction', p.action_type, -p.tokens, p.tokens_remaining,
           array[p.grant_id], array[p.tokens], p.reason, p.actor_role, p.idempotency_key,
           case when p.idempotency_key is not null then p.request end, p.metadata, p_now
      from payable p
  )
  select p.nth,
         private.deduction_receipt(
           p.tokens, p.transaction_id,
           jsonb_build_array(jsonb_build_object(
             'grant_id', p.grant_id, 'grant_type', p.grant_type, 'granted_at', p.granted_at, 'deducted', p.tokens)),
           0, p.tokens_remaining, false)
    from payable p;
end
$$;
comment on function private.spend_many(public.token_transactions[], timestamptz) is
  'Makes the deductions that need nothing but the next grant, one an account, in one statement, and returns their receipts; leaves the others alone. The accounts are locked.';
revoke all on function private.spend_many(public.token_transactions[], timestamptz) from public, anon, authenticated, service_role;

-- from supabase/schemas/40_functions/deduct_tokens_with_fifo.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from his payer's account.
 *
 * The usual deduction is made here, in as few statements as it can be: the account is free, nothing is
 * due, the oldest grant covers it, no cap applies, nobody wants to be told, and the key is new. Whatever
 * is not so is left to private.deduct; both come to the same grants, totals, ledger row and receipt.
 * What it saves: docs/performance.md.
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
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor_role text := 'service';
  v_actor_id uuid;
  v_account tid; -- where the row is, as long as it is locked
  v_id bigint;
  v_left bigint;
  v_now timestamptz;
  v_request jsonb;
  v_grant_id uuid;
  v_grant_type text;
  v_granted_at timestamptz;
begin
  <<usual>> -- left by whatever is not, with nothing changed
  begin
    -- validate: what is not plainly right here is looked at, and refused by name, by private.deduct
    if current_setting('role') <> 'service_role' then -- the server may deduct from anyone
      select w.actor_role, w.actor_id into v_actor_role, v_actor_id
        from private.authorize(p_user_id, p_self_may => true) w;
    end if;
    exit usual when (p_user_id is not null
      and p_tokens_to_deduct between 1 and 1000000000000
      and p_action_type ~ '^[a-z][a-z0-9_]{0,63}$'
      and p_action_type <> all (private.reserved_action_types())) is not true;
    if p_idempotency_key is not null or p_metadata is not null then
      perform private.check_request(p_idempotency_key, null, p_metadata);
    end if;

    -- lock: who has written something may have the row already, and must not stand behind who waits for it
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
      exit usual when pg_current_xact_id_if_assigned() is not null;
      perform private.queue_for_account(p_user_id);
    end if;
    select a.ctid, a.last_transaction_id + 1, a.tokens_remaining - p_tokens_to_deduct, clock_timestamp()
      into v_account, v_id, v_left, v_now
      from public.token_accounts a
     where a.user_id = p_user_id
       and a.payer_id is null -- else his payer's is to be locked
       and a.tokens_remaining >= p_tokens_to_deduct
       and (a.next_due_at <= clock_timestamp()
         or a.tokens_remaining - p_tokens_to_deduct < a.alert_below
         or a.tokens_remaining - p_tokens_to_deduct >= a.alert_above) is not true
       and a.alerts_version = (
         select r.alerts_version from private.rules_in_force r where not r.is_expiring_first)
       and not exists (select from public.token_spend_caps c where c.user_id = p_user_id)
       and not exists (select from public.default_spend_caps)
       for no key update skip locked;
    exit usual when v_id is null;

    -- replay
    if p_idempotency_key is not null then
      perform from public.token_transactions t
        where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
      union all
      select from public.token_transactions t -- of the time when he was in a team
        where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key;
      exit usual when found;
      v_request := private.deduction_request(p_tokens_to_deduct, p_action_type);
    end if;

    -- act: the oldest grant, if it covers all of it
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p_tokens_to_deduct,
           is_open = b.tokens_remaining > p_tokens_to_deduct
     where b.user_id = p_user_id
       and b.ctid = (
         select h.ctid from public.token_balances h
          where h.user_id = p_user_id and h.is_open
          order by h.priority, h.granted_at, h.id limit 1)
       and b.tokens_remaining >= p_tokens_to_deduct
    returning b.id, b.grant_type, b.granted_at into v_grant_id, v_grant_type, v_granted_at;
    exit usual when v_grant_id is null;

    -- record: as private.book does it
    update public.token_accounts a
       set tokens_remaining = v_left,
           tokens_used = a.tokens_used + p_tokens_to_deduct,
           spent_at = greatest(a.spent_at, v_now),
           spent_day = case when a.spent_at >= date_trunc('day', v_now, 'UTC') then a.spent_day else 0 end + p_tokens_to_deduct,
           spent_week = case when a.spent_at >= date_trunc('week', v_now, 'UTC') then a.spent_week else 0 end + p_tokens_to_deduct,
           spent_month = case when a.spent_at >= date_trunc('month', v_now, 'UTC') then a.spent_month else 0 end + p_tokens_to_deduct,
           last_transaction_id = v_id,
           updated_at = v_now
     where a.user_id = p_user_id and a.ctid = v_account;
    insert into public.token_transactions
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, actor_id, idempotency_key, request, metadata, created_at)
    values
      (p_user_id, v_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_left,
       array[v_grant_id], array[p_tokens_to_deduct], p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
       v_request, coalesce(p_metadata, '{}'), v_now);
    return jsonb_build_object( -- as private.deduction_receipt
      'success', true,
      'tokens_deducted', p_tokens_to_deduct,
      'tokens_remaining_to_deduct', 0,
      'deducted_from', jsonb_build_array(jsonb_build_object(
        'grant_id', v_grant_id, 'grant_type', v_grant_type, 'granted_at', v_granted_at, 'deducted', p_tokens_to_deduct)),
      'transaction_id', v_id,
      'tokens_remaining', v_left,
      'replayed', false);
  end;
  return private.deduct(p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
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

-- from supabase/schemas/40_functions/set_spend_cap.sql

/*
 * Caps what may be spent in a day, a week or a month: by one user, by each user on a plan, or by
 * everyone (neither is named). p_tokens NULL takes the cap away. The tightest cap holds.
 * Safe while traffic runs: a user's cap is set under his account's lock, so what begins afterwards
 * meets it; a common one holds for whatever takes its lock afterwards. What was spent in the present
 * window counts.
 * Caller: an admin, service_role.   Locks: the account, where one user is named.
 * Returns {success, scope, window, limit, used (of that user, in the present window)}.
 * Errors: not_authenticated, forbidden, invalid_cap, invalid_reason, plan_not_found, user_not_found,
 * busy.   Keeps: I10.
 */
-- Security definer: nobody may write the tables himself.
create or replace function private.set_spend_cap(
  p_window text,
  p_tokens bigint,
  p_user_id uuid,
  p_plan_type text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = ''
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_used bigint;
begin
  -- validate
  v_actor := private.authorize(
    coalesce(p_user_id, '00000000-0000-0000-0000-000000000000'), p_self_may => false);
  if p_window is null or p_window not in ('day', 'week', 'month') then
    perform private.refuse('invalid_cap', '{"field": "p_window", "rule": "day, week or month"}');
  elsif p_tokens not between 0 and 1000000000000 then
    perform private.refuse('invalid_cap', '{"field": "p_tokens", "rule": "0 to 1000000000000, or null for no cap"}');
  elsif p_user_id is not null and p_plan_type is not null then
    perform private.refuse('invalid_cap', '{"field": "p_plan_type", "rule": "a user or a plan, not both"}');
  end if;
  perform private.check_request(null, p_reason, null);
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform private.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  -- lock
  if p_user_id is not null then
    v_account := private.lock_account(p_user_id);
    if v_account.user_id is null then
      perform private.require_user(p_user_id, v_actor.actor_role);
      v_account := private.lock_account(p_user_id, p_create => true);
    end if;
  end if;

  -- act
  if p_user_id is not null and p_tokens is null then
    delete from public.token_spend_caps c where c.user_id = p_user_id and c.spend_window = p_window;
  elsif p_user_id is not null then
    insert into public.token_spend_caps as c (user_id, spend_window, tokens, reason, actor_role, actor_id)
    values (p_user_id, p_window, p_tokens, coalesce(p_reason, 'spend cap'), v_actor.actor_role, v_actor.actor_id)
    on conflict (user_id, spend_window) do update
       set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
           actor_id = excluded.actor_id, updated_at = clock_timestamp();
    select c.used into v_used
      from private.spend_caps_of(v_account, null, clock_timestamp()) as c
     where c.scope = 'user' and c.spend_window = p_window;
  else
    if p_tokens is null then
      delete from public.default_spend_caps d
       where d.plan_type is not distinct from p_plan_type and d.spend_window = p_window;
    else
      insert into public.default_spend_caps as d (plan_type, spend_window, tokens, reason, actor_role, actor_id)
      values (p_plan_type, p_window, p_tokens, coalesce(p_reason, 'spend cap'), v_actor.actor_role, v_actor.actor_id)
      on conflict (plan_type, spend_window) do update
         set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
             actor_id = excluded.actor_id, updated_at = clock_timestamp();
    end if;
  end if;

  return jsonb_build_object(
    'success', true,
    'scope', case when p_user_id is not null then 'user' when p_plan_type is not null then 'plan' else 'everyone' end,
    'window', p_window,
    'limit', p_tokens,
    'used', v_used);
end
$$;
comment on function private.set_spend_cap(text, bigint, uuid, text, text) is 'See public.set_spend_cap.';
revoke all on function private.set_spend_cap(text, bigint, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function private.set_spend_cap(text, bigint, uuid, text, text) to authenticated, service_role;

create or replace function public.set_spend_cap(
  p_window text,
  p_tokens bigint,
  p_user_id uuid default null,
  p_plan_type text default null,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
  return private.set_spend_cap(p_window, p_tokens, p_user_id, p_plan_type, p_reason);
end
$$;
comment on function public.set_spend_cap(text, bigint, uuid, text, text) is
  'Caps what may be spent in a window: by one user (p_user_id), by each user on a plan (p_plan_type), or by everyone (neither). For an admin or the server. p_window day, week (ISO) or month, in UTC; p_tokens 0 to 10^12, NULL takes the cap away; p_reason 1 to 500 characters. The tightest cap holds. Returns {success, scope (user, plan, everyone), window, limit, used (by that user, in the present window)}. Errors: invalid_cap, invalid_reason, plan_not_found, user_not_found, forbidden, busy.';
revoke all on function public.set_spend_cap(text, bigint, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_spend_cap(text, bigint, uuid, text, text) to authenticated, service_role;
