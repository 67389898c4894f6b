/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction, every use, every hold and
 * every correction downwards is made of. The caller has checked who asks and what for.
 *
 *   lock     the account, once, if nothing about it is unusual
 *   replay   what the key has done before
 *   decide   how much: as a rule all of it. What is unusual (a team, what is due, a cap, a frozen account, a first
 *            touch, too few tokens, a key that is known) is looked at by tokenbook.decide_spending
 *   act      the oldest grant pays; what it has too little for is taken from several
 *   record   the account's totals and the ledger row
 *
 * p_tokens is what to take, 0 for a use that costs nothing. With p_hold_id it is set aside for that hold, which runs
 * out after p_hold_seconds. p_on_shortage 'reject' takes all or nothing; 'partial' what there is, and the shortfall is what
 * remains uncovered; 'overdraft' what there is, and lets the account owe the rest (tokens_overdrawn) within its limit, or
 * nothing.
 * p_model_used is the model that it is for: some grants pay only for some actions and models.
 * p_cost is what the operation cost, in cents. A correction by an admin ('admin_deduct') is on the account that it
 * names, whatever its team, its caps or its state, and is no use.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found, account_frozen, account_lost,
 * too_many_holds, too_many_grants.
 * Returns the account (user_id), the member who spent from it (member_id) and the entry: id, tokens, grants, created_at,
 * usage_id, hold_id, and deducted_from as receipts say it; with replayed all of that is as it was then. Or there is no entry:
 * is_behind, where more was due than one call books, a portion of which is booked now (the caller answers
 * tokenbook.answer_busy()); or, but for 'partial', a shortfall, and nothing was changed, not even what was due to
 * expire; tokens_remaining then says what there is. capped_by is the cap that allowed less than was wanted: the
 * shortfall counts from what it allows, and 'partial' takes that; tokens_restricted is how many there are that do not pay
 * for this.
 * Keeps: I1 to I5, I7, I8, I10, I11.
 */
create function tokenbook.spend_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_request jsonb,
  p_metadata jsonb,
  p_usage_id uuid default null,
  p_hold_id uuid default null,
  p_hold_seconds integer default null,
  p_cost numeric default 0,
  p_on_shortage text default 'reject',
  p_model_used text default null,
  out user_id uuid,
  out member_id uuid,
  out id bigint,
  out tokens bigint,
  out grant_ids uuid[],
  out grant_tokens bigint[],
  out created_at timestamptz,
  out usage_id uuid,
  out hold_id uuid,
  out deducted_from jsonb,
  out tokens_remaining bigint,
  out tokens_overdrawn bigint,
  out shortfall bigint,
  out capped_by jsonb,
  out tokens_restricted bigint,
  out replayed boolean,
  out is_behind boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_place tid; -- where the account is, as long as it is locked
  v_due_at timestamptz;
  v_spent_at timestamptz;
  v_day timestamptz; -- where the day, the week and the month begin, where they are others than those of the last spending
  v_week timestamptz;
  v_month timestamptz;
  v_runs_out_at timestamptz; -- the hold
  v_is_fifo boolean := true;
  v_has_passed boolean; -- an alert threshold
  v_has_new_rules boolean := false;
  v_terms jsonb;
  v_used bigint;
  v_spent bigint;
  v_grant_id uuid;
  v_grant_type text;
  v_granted_at timestamptz;
begin
  user_id := p_user_id;
  tokens := p_tokens;
  usage_id := p_usage_id;
  hold_id := p_hold_id;
  tokens_overdrawn := 0;
  shortfall := 0;
  replayed := false;

  -- lock: a transaction that has written before may hold the row; to queue behind its own waiters would be a deadlock
  if not pg_try_advisory_xact_lock(uuid_hash_extended(p_user_id, 0)) -- @spend-locks-first
    and pg_current_xact_id_if_assigned() is null
  then
    perform tokenbook.queue_for_account(p_user_id);
  end if;
  select a.ctid, a.next_due_at, a.spent_at, clock_timestamp() -- @clock-after-lock
    into v_place, v_due_at, v_spent_at, created_at
    from public.token_accounts a
   where a.user_id = p_user_id
     and not a.was_member -- @usual-own-account
     and not a.has_caps -- @usual-no-caps
     and a.restricted_until is null -- @usual-pays-for-everything
     and a.tokens_remaining >= p_tokens
     and a.state = 'active' -- @usual-not-frozen
     and a.alerts_version = (
       select r.alerts_version from tokenbook.project_settings r
        where not r.is_expiring_first
          and not r.has_common_caps) -- @usual-no-common-caps
     for no key update skip locked;
  if v_due_at <= created_at then -- @usual-nothing-due
    v_place := null;
  end if;

  -- replay
  if v_place is not null and p_idempotency_key is not null then
    perform 1 from public.token_transactions t
      where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key;
    if found then -- @replay-after-lock
      v_place := null;
    end if;
  end if;

  -- decide
  if v_place is null then
    declare
      v_decided constant record := tokenbook.decide_spending(
        p_user_id, p_tokens, p_action_type, p_actor_role, p_idempotency_key, p_request, p_metadata,
        p_hold_id is not null, p_on_shortage, p_model_used);
      v_was constant public.token_transactions := v_decided.was;
    begin
      is_behind := v_decided.is_behind;
      user_id := v_decided.user_id;
      member_id := v_decided.member_id;
      tokens_remaining := v_decided.tokens_remaining;
      tokens_overdrawn := v_decided.tokens_overdrawn;
      shortfall := v_decided.shortfall;
      replayed := v_was.id is not null;
      capped_by := v_decided.capped_by;
      tokens_restricted := v_decided.tokens_restricted;
      if replayed then
        user_id := v_was.user_id; -- @replayed-where-it-was
        member_id := v_was.member_id;
        id := v_was.id;
        tokens := v_was.reserved_change - v_was.tokens;
        tokens_overdrawn := v_was.debt_change;
        grant_ids := v_was.grant_ids;
        grant_tokens := v_was.grant_tokens;
        created_at := v_was.created_at;
        usage_id := v_was.usage_id;
        hold_id := v_was.hold_id;
        deducted_from := tokenbook.describe_allocations(v_was.user_id, v_was.grant_ids, v_was.grant_tokens);
        return;
      elsif is_behind or shortfall > 0 and p_on_shortage <> 'partial' then
        tokens := 0;
        deducted_from := '[]';
        return; -- @short-takes-nothing
      end if;
      tokens := v_decided.tokens;
      created_at := v_decided.decided_at;
      v_place := v_decided.place;
      v_is_fifo := v_decided.is_fifo;
      v_has_new_rules := v_decided.has_new_rules;
      v_terms := v_decided.terms;
      v_spent_at := null;
      v_runs_out_at := created_at + p_hold_seconds * interval '1 second';
    end;
  elsif p_hold_id is not null then
    perform tokenbook.check_open_holds(p_user_id, null, created_at);
    v_runs_out_at := created_at + p_hold_seconds * interval '1 second';
    if p_model_used is not null then -- what goes beyond it may be paid by a grant that is still to come
      v_terms := jsonb_build_object('model', p_model_used);
    end if;
  end if;

  -- act
  if v_is_fifo and tokens > 0 then
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - tokens,
           is_open = b.tokens_remaining > tokens
     where b.ctid = (select g.grant_ctid from tokenbook.oldest_open_grant(spend_tokens.user_id, spend_tokens.created_at) g)
       and b.tokens_remaining >= tokens
    returning b.id, b.grant_type, b.granted_at into v_grant_id, v_grant_type, v_granted_at;
  end if;
  if v_grant_id is not null then
    grant_ids := array[v_grant_id];
    grant_tokens := array[tokens];
    deducted_from := jsonb_build_array(tokenbook.describe_allocation(v_grant_id, v_grant_type, v_granted_at, tokens));
  elsif tokens = 0 then
    grant_ids := '{}';
    grant_tokens := '{}';
    deducted_from := '[]';
  else
    select t.grant_ids, t.grant_tokens into grant_ids, grant_tokens
      from tokenbook.take_from_grants(
             user_id, tokens, created_at,
             p_action_type => nullif(p_action_type, 'admin_deduct'), p_model_used => p_model_used) t;
    deducted_from := tokenbook.describe_allocations(user_id, grant_ids, grant_tokens);
  end if;

  -- record: what tokenbook.record_transaction does for everything else; to call it here takes a third more (decision 26)
  v_spent := case when p_action_type = 'admin_deduct' then 0 else tokens + tokens_overdrawn end; -- a correction is no use
  v_used := case when p_hold_id is null then v_spent else 0 end;
  if (v_spent_at >= date_trunc('day', created_at, 'UTC')) is not true then -- @days-turn
    v_day := date_trunc('day', created_at, 'UTC');
    v_week := date_trunc('week', created_at, 'UTC');
    v_month := date_trunc('month', created_at, 'UTC');
  end if;
  update public.token_accounts a
     set tokens_remaining = a.tokens_remaining - tokens,
         tokens_reserved = a.tokens_reserved + case when p_hold_id is null then 0 else tokens end,
         tokens_used = a.tokens_used + v_used,
         tokens_owed = a.tokens_owed + tokens_overdrawn,
         spent_at = greatest(a.spent_at, spend_tokens.created_at),
         spent_day = case when a.spent_at < v_day then 0 else a.spent_day end + v_spent, -- @counts-by-day
         spent_week = case when a.spent_at < v_week then 0 else a.spent_week end + v_spent,
         spent_month = case when a.spent_at < v_month then 0 else a.spent_month end + v_spent,
         total_cost = a.total_cost + p_cost,
         next_due_at = least(a.next_due_at, v_runs_out_at),
         last_transaction_id = a.last_transaction_id + 1,
         updated_at = spend_tokens.created_at
   where a.user_id = spend_tokens.user_id and a.ctid = v_place
  returning a.last_transaction_id, a.tokens_remaining,
            a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above -- @spending-tells
    into id, tokens_remaining, v_has_passed;
  -- a copy of tokenbook.append_transactions: to call it here takes a tenth more (decision 34)
  insert into public.token_transactions -- @faults-are-told begin
    (user_id, id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change, grant_ids, grant_tokens, reason,
     actor_role, actor_id, idempotency_key, request, usage_id, hold_id, member_id, metadata, terms, created_at)
  values
    (user_id, id, case when p_hold_id is not null then 'hold' when tokens + tokens_overdrawn = 0 then 'usage' else 'deduction' end, p_action_type,
     case when p_hold_id is null then -tokens else 0 end, tokens_remaining, tokens_overdrawn,
     case when p_hold_id is null then 0 else tokens end, grant_ids, grant_tokens, p_reason,
     p_actor_role, p_actor_id, p_idempotency_key, p_request, p_usage_id, p_hold_id, member_id, p_metadata, v_terms, created_at); -- @faults-are-told end
  if member_id is not null then
    perform tokenbook.count_for_member(user_id, member_id, v_used, v_spent, created_at, created_at);
  end if;
  if v_has_passed or v_has_new_rules then
    perform tokenbook.raise_alerts(user_id, tokens_remaining + tokens, created_at);
  end if; -- @balance-has-its-entry
end
$$;
comment on function tokenbook.spend_tokens is
  'Spends tokens oldest grant first, all or nothing (with partial what there is, with overdraft the rest is owed), under the account''s lock: the entry (new or replayed), or the shortfall with nothing changed; capped_by where a cap allowed less; is_behind where more was due than one call books.';
