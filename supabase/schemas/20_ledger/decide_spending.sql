/*
 * The full path of a deduction, for tokenbook.spend_tokens: how many tokens may be taken, and from which account.
 * Locks that account and books what is due on it, unless too little is there: then nothing is changed, not even that.
 *
 * A user who never had a grant is given the initial plan first (tokenbook.grant_initial_plan).
 * A member of a team spends from their payer's account; user_id is the payer's, member_id the member's. An admin's
 * correction stays on the account that it names, and no cap and no freeze keeps it from there.
 * A cap that allows less, or of which nothing is left then, is sent to the webhook endpoints that ask for it: the only
 * thing that a deduction which the cap refused leaves behind.
 * Where some of the account's grants do not pay for everything, only what pays for this action and this model counts; what
 * has too little for it is said in tokens_restricted.
 * With p_on_shortage 'overdraft' what the account has too little for may be owed, as far as its limit goes
 * (tokenbook.overdraft_left): only once nothing is left, because what is there would repay it at once.
 * From a frozen account nothing is spent: refused, or with p_on_shortage 'partial' all of it is uncovered, so that a use
 * that has happened is recorded. Nothing is held for a user who was deleted.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found, account_frozen, account_lost,
 * too_many_holds.
 * Returns, as tokenbook.spend_tokens says them: user_id, member_id, tokens (what to take), tokens_overdrawn, shortfall,
 * tokens_remaining, capped_by, tokens_restricted, is_behind, and was, what the key had done; for what it goes on with: place (where the
 * account's row is), decided_at (the clock under the lock), is_fifo (the oldest grant is the next), terms (what the entry
 * keeps of the use, where grants ask for that), has_new_rules
 * (the account's alert thresholds are of older rules).
 */
create function tokenbook.decide_spending(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_actor_role text,
  p_idempotency_key text,
  p_request jsonb,
  p_metadata jsonb,
  p_is_hold boolean,
  p_on_shortage text,
  p_model_used text,
  out user_id uuid,
  out member_id uuid,
  out tokens bigint,
  out tokens_overdrawn bigint,
  out shortfall bigint,
  out tokens_remaining bigint,
  out capped_by jsonb,
  out tokens_restricted bigint,
  out terms jsonb,
  out is_behind boolean,
  out was public.token_transactions,
  out place tid,
  out decided_at timestamptz,
  out is_fifo boolean,
  out has_new_rules boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_correction constant boolean := p_action_type = 'admin_deduct';
  v_payer_id uuid;
  v_account public.token_accounts;
  v_asked public.token_transactions;
  v_is_due boolean;
  v_repaid bigint := 0;
  v_is_frozen boolean := false;
  v_is_restricted boolean;
  v_payable bigint;
  v_cap record;
begin
  user_id := p_user_id;
  tokens_overdrawn := 0;
  shortfall := 0;
  if not v_is_correction then
    select a.payer_id into v_payer_id from public.token_accounts a where a.user_id = p_user_id;
    if v_payer_id is not null then
      member_id := p_user_id;
      user_id := v_payer_id;
    end if;
  end if;

  -- lock
  is_behind := tokenbook.settle_backlog(user_id);
  if is_behind then
    return;
  end if;
  v_account := tokenbook.lock_account(user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(user_id, p_actor_role);
    perform tokenbook.grant_initial_plan(user_id); -- whom registration missed
    v_account := tokenbook.lock_account(user_id, p_create => p_on_shortage = 'partial' or p_tokens = 0);
  end if;
  if not v_is_correction -- @payer-asked-again
    and (v_account.payer_id is not null -- joined a team while we waited; or left it, or its payer
      or member_id is not null and tokenbook.paying_account(member_id) <> user_id)
  then
    perform tokenbook.refuse('busy', '{}');
  end if;
  decided_at := clock_timestamp(); -- @decides-after-lock

  -- replay
  if p_idempotency_key is not null then
    v_asked.user_id := user_id;
    v_asked.member_id := member_id;
    v_asked.actor_role := p_actor_role;
    v_asked.idempotency_key := p_idempotency_key;
    v_asked.request := p_request;
    v_asked.metadata := p_metadata;
    was := tokenbook.find_replay(v_asked); -- @decides-after-replay
    if was.id is not null then
      tokens_remaining := was.balance_after;
      return;
    end if;
  end if;

  -- decide
  if p_tokens > 0 and not v_is_correction then
    v_is_frozen := tokenbook.is_frozen(v_account, member_id); -- @frozen-after-lock
    if v_is_frozen and p_on_shortage <> 'partial' then
      perform tokenbook.refuse('account_frozen', '{}');
    end if;
  end if;
  if p_is_hold then
    perform tokenbook.check_open_holds(user_id, member_id, decided_at);
  end if;
  if coalesce(v_account.tokens_remaining, 0) < p_tokens
    and not exists (select 1 from public.token_balances b where b.user_id = decide_spending.user_id)
  then
    perform tokenbook.grant_initial_plan(user_id); -- an account, and still never a grant
    v_account := tokenbook.lock_account(user_id);
    decided_at := clock_timestamp(); -- what was just granted comes before what is now spent
  end if;
  tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  v_is_due := coalesce(v_account.next_due_at <= decided_at, false);
  if v_is_due then
    select tokens_remaining - due.lost + due.returned + due.given - due.repaid, due.repaid into tokens_remaining, v_repaid
      from tokenbook.tokens_due(user_id, decided_at) as due;
  end if;
  tokens := least(p_tokens, case when v_is_frozen then 0 else tokens_remaining end);
  v_is_restricted := coalesce(v_account.restricted_until > decided_at, false) and not v_is_correction;
  if v_is_restricted then
    v_payable := tokenbook.tokens_payable(user_id, tokens, decided_at, v_is_due, v_repaid, p_action_type, p_model_used);
    if v_payable < tokens then -- @restricted-do-not-count
      tokens := v_payable;
      tokens_restricted := tokens_remaining - v_payable;
    end if;
  end if;
  if p_on_shortage = 'overdraft' and tokens = tokens_remaining and tokens < p_tokens then -- @owed-when-nothing-left
    tokens_overdrawn := least(p_tokens - tokens, tokenbook.overdraft_left(v_account, v_repaid)); -- @owed-within-the-limit
  end if;
  if p_tokens > 0 and not v_is_correction
    and (member_id is not null
      or v_account.has_caps
      or (select r.has_common_caps from tokenbook.project_settings r) is not false)
  then
    v_cap := tokenbook.spend_headroom(v_account, member_id, decided_at); -- @caps-after-lock
    if v_cap.headroom < p_tokens then
      capped_by := v_cap.capped_by;
      tokens := least(tokens, v_cap.headroom);
      tokens_overdrawn := least(tokens_overdrawn, v_cap.headroom - tokens); -- @caps-count-the-owed
    end if;
    if (v_cap.headroom < p_tokens or tokens + tokens_overdrawn = v_cap.headroom) and pg_relation_size('tokenbook.webhook_endpoints') > 0 then
      perform tokenbook.tell_of_cap(user_id, member_id, p_tokens, decided_at, v_cap.capped_by);
    end if;
  end if;
  shortfall := p_tokens - tokens - tokens_overdrawn;
  if shortfall > 0 and p_on_shortage <> 'partial' then
    return;
  end if;
  if v_is_due then
    perform tokenbook.record_expiries(array[user_id], decided_at);
  end if;

  if v_account.restricted_until <= decided_at then -- none of them lives: usual again
    update public.token_accounts a set restricted_until = null where a.user_id = decide_spending.user_id;
  end if;
  if (v_is_restricted or p_is_hold) and tokens > 0 and p_model_used is not null then
    terms := jsonb_build_object('model', p_model_used); -- @terms-name-the-model
  end if;

  select a.ctid, not coalesce(r.is_expiring_first, tokenbook.is_expiring_first_at('infinity')) and not v_is_restricted,
         a.alerts_version is distinct from r.alerts_version -- @alerts-without-settings
    into place, is_fifo, has_new_rules
    from public.token_accounts a
    left join tokenbook.project_settings r on true
   where a.user_id = decide_spending.user_id;
end
$$;
comment on function tokenbook.decide_spending is
  'What is unusual about a spending: whose account it is from, how much of it may be taken, what the key has done before; locks the account and books what is due on it, unless too little is there.';
