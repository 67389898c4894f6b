/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative, or 0 for use that costs nothing, or
 * 0 with reserved_change for a hold), action_type, reason, actor, key, request, metadata, links. The
 * rest is given here.
 * With p_partial it takes what there is and the shortfall is what remains uncovered. p_cost is
 * what the operation cost, in cents.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found, account_frozen,
 * too_many_holds, too_many_grants.
 * From a frozen account nothing is spent: refused, or with p_partial all of it is uncovered, so that a use
 * that has happened is recorded. Nothing is held for a user who was deleted.
 * A user who never had a grant is given the initial plan first (tokenbook.grant_initial_plan).
 * A member of a team spends from his payer's account: the transaction has the payer's user_id and the
 * member's member_id. An admin's correction stays on the account that it names.
 * Returns the transaction; or, without p_partial, shortfall > 0, in which case nothing was changed,
 * not even what was due to expire; tokens_remaining then says what there is. capped_by is the cap that
 * allowed less than was wanted: the shortfall counts from what it allows, and p_partial takes that.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create function tokenbook.spend_tokens(
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
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_wanted bigint;
  v_allowed bigint;
  v_is_due boolean;
  v_is_frozen boolean := false;
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
  v_account := tokenbook.lock_account(p_entry.user_id); -- @spend-locks-first
  if v_account.user_id is null then
    perform tokenbook.require_user(p_entry.user_id, p_entry.actor_role);
    perform tokenbook.grant_initial_plan(p_entry.user_id); -- whom registration missed
    v_account := tokenbook.lock_account(p_entry.user_id, p_create => p_partial or p_entry.tokens = 0);
  end if;
  if p_entry.action_type <> 'admin_deduct' -- @payer-asked-again
    and (v_account.payer_id is not null -- joined a team while we waited; or left it, or its payer
      or p_entry.member_id is not null and tokenbook.paying_account(p_entry.member_id) <> p_entry.user_id)
  then
    perform tokenbook.refuse('busy', '{}');
  end if;
  v_now := clock_timestamp(); -- @clock-after-lock

  -- replay
  transaction := tokenbook.find_replay(p_entry); -- @replay-after-lock
  if transaction.id is not null then
    replayed := true;
    tokens_remaining := transaction.balance_after;
    return;
  end if;

  -- act
  v_wanted := coalesce(p_entry.reserved_change, 0) - p_entry.tokens;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct' then
    v_is_frozen := tokenbook.is_frozen(v_account, p_entry.member_id); -- @frozen-after-lock
  end if;
  if v_is_frozen and not p_partial then
    perform tokenbook.refuse('account_frozen', '{}');
  elsif p_entry.reserved_change > 0
    and not (tokenbook.is_user(p_entry.user_id) and (p_entry.member_id is null or tokenbook.is_user(p_entry.member_id)))
  then
    perform tokenbook.refuse('user_not_found', '{}');
  end if;
  if p_entry.reserved_change > 0 then
    perform tokenbook.check_open_holds(coalesce(p_entry.member_id, p_entry.user_id), p_entry.user_id, v_now);
  end if;
  tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  if v_is_due then
    select tokens_remaining - due.lost + due.returned + due.given - due.repaid into tokens_remaining
      from tokenbook.tokens_due(p_entry.user_id, v_now) as due;
  end if;
  if tokens_remaining < v_wanted then
    if not exists (select from public.token_balances b where b.user_id = p_entry.user_id) then
      perform tokenbook.grant_initial_plan(p_entry.user_id); -- an account, and still never a grant
      v_account := tokenbook.lock_account(p_entry.user_id);
      v_now := clock_timestamp(); -- what was just granted comes before what is now spent
      tokens_remaining := coalesce(v_account.tokens_remaining, 0);
    end if;
  end if;
  v_allowed := case when v_is_frozen then 0 else tokens_remaining end;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct'
    and (p_entry.member_id is not null
      or exists (select from public.token_spend_caps c where c.user_id = p_entry.user_id)
      or exists (select from public.token_default_spend_caps))
  then
    v_cap := tokenbook.spend_headroom(v_account, p_entry.member_id, v_now); -- @caps-after-lock
    if v_cap.headroom < v_wanted then
      capped_by := v_cap.capped_by;
      v_allowed := least(v_allowed, v_cap.headroom);
    end if;
  end if;
  if v_allowed < v_wanted then
    shortfall := v_wanted - v_allowed;
    if not p_partial then
      return; -- @short-takes-nothing
    end if;
    v_wanted := v_allowed;
    p_entry.tokens := -v_allowed;
  end if;
  if v_is_due then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from tokenbook.take_from_grants(p_entry.user_id, v_wanted, v_now) as taken;

  -- record
  p_entry.entry_type := case
    when p_entry.reserved_change > 0 then 'hold'
    when p_entry.tokens = 0 then 'usage'
    else 'deduction'
  end;
  p_entry.created_at := v_now;
  transaction := tokenbook.record_transaction(p_entry, p_cost);
  tokens_remaining := transaction.balance_after; -- @balance-has-its-entry
end
$$;
comment on function tokenbook.spend_tokens is
  'Spends tokens oldest grant first, all or nothing (with p_partial what there is), under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed; capped_by where a cap allowed less.';
