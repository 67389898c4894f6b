/*
 * Redeems a code: gives its tokens to the user, as one grant, as often as the code allows each. A user who has redeemed it as
 * often as they may and does so again gets the answer of the last redemption, replayed.
 * What there is no code for, is over, used up, ended or not begun has one answer, code_not_redeemable. It is counted,
 * and after so many (code_attempts of tokenbook.limits()) everything is refused for an hour. The key is looked at before
 * the code, so that a used key does not say which codes there are either.
 * A member of a team redeems for their own account, as they buy.
 * Caller: the user for themself, an admin, service_role.   Locks: the account, then the code.
 * Returns {success, code_id, grant_id, tokens_granted, grant_type, granted_at, expires_at, pays_for, transaction_id,
 * tokens_remaining, replayed}, or {success: false, code, message, details, hint}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_code, invalid_idempotency_key, user_not_found,
 * too_many_attempts, idempotency_key_reused, account_frozen, balance_limit_exceeded, busy; code_not_redeemable as an answer.
 * Keeps: I2 to I5, I10, I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.redeem_token_code(
  p_code text,
  p_user_id uuid default tokenbook.caller_id(),
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_digest bytea;
  v_code tokenbook.codes;
  v_had integer;
  v_grant public.token_balances;
  v_issued record;
  v_transaction public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => true);
  v_digest := sha256(convert_to(tokenbook.normal_code(p_code), 'UTF8'));
  perform tokenbook.check_request(p_idempotency_key, null, null);

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id); -- @guesses-one-by-one
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
    v_account := tokenbook.lock_account(p_user_id, p_create => true);
  end if;
  perform tokenbook.refuse_guessing(p_user_id);

  -- replay: by key, then by having redeemed it as often as one may
  select c.* into v_code from tokenbook.codes c where c.digest = v_digest;
  v_entry.user_id := p_user_id;
  v_entry.idempotency_key := p_idempotency_key;
  if p_idempotency_key is not null then
    v_entry.request := jsonb_build_object('operation', 'redeem_token_code', 'code_id', v_code.id);
  end if;
  v_entry.metadata := '{}';
  v_transaction := tokenbook.find_replay(v_entry);
  if v_transaction.id is null then
    select count(*), max(r.transaction_id) into v_had, v_transaction.id
      from tokenbook.code_redemptions r
     where r.user_id = p_user_id and r.code_id = v_code.id;
    if v_had >= v_code.max_per_user then -- @codes-per-user
      select t.* into v_transaction
        from public.token_transactions t where t.user_id = p_user_id and t.id = v_transaction.id;
    else
      v_replayed := false;
    end if;
  end if;

  if not v_replayed then
    -- act
    perform tokenbook.require_active(p_user_id, v_account);
    if tokenbook.state_of_code(v_code) = 'open' then
      v_code := tokenbook.lock_code(v_code.id);
    end if;
    if v_code.id is null or tokenbook.state_of_code(v_code) <> 'open' then
      return tokenbook.answer_wrong_code(p_user_id);
    end if;
    update tokenbook.codes c set redemptions = c.redemptions + 1 where c.id = v_code.id;
    v_grant.grant_type := v_code.grant_type;
    v_grant.tokens_granted := v_code.tokens;
    v_grant.metadata := v_entry.metadata;
    v_entry.reason := 'redeemed a code';
    v_entry.terms := jsonb_build_object('code', v_code.id);
    v_issued := tokenbook.issue_grant(v_grant, v_entry, v_code.lifetime_days * interval '24 hours');
    if v_issued.is_behind then
      perform tokenbook.refuse('busy', '{}');
    end if;
    v_transaction := v_issued.transaction;

    -- record
    insert into tokenbook.code_redemptions (user_id, code_id, nth, transaction_id, redeemed_at)
    values (p_user_id, v_code.id, v_had + 1, v_transaction.id, v_transaction.created_at);
  end if;

  select b.* into v_grant
    from public.token_balances b where b.user_id = p_user_id and b.id = v_transaction.grant_ids[1];
  return jsonb_build_object(
    'success', true,
    'code_id', v_transaction.terms -> 'code',
    'grant_id', v_grant.id,
    'tokens_granted', v_grant.tokens_granted,
    'grant_type', v_grant.grant_type,
    'granted_at', v_grant.granted_at,
    'expires_at', v_grant.expires_at,
    'pays_for', v_grant.pays_for,
    'transaction_id', v_transaction.id,
    'tokens_remaining', tokenbook.remaining_after(v_transaction),
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.redeem_token_code is
  'Redeems a code (p_code; capitals, blanks and hyphens do not count): its tokens, as one grant of the user''s own account. For the user themself, an admin, or the server. As often as the code allows each user; once more answers the last one, replayed. p_idempotency_key makes a retry safe where that is more than once. A code that there is not, or that is over, used up, ended or not begun, has one answer: {success: false, code, message: code_not_redeemable, details, hint}, through the API with status 404. After so many of these (code_attempts of Lists) in an hour everything is refused with too_many_attempts. Returns {success, code_id, grant_id, tokens_granted, grant_type, granted_at, expires_at, pays_for, transaction_id, tokens_remaining, replayed}. Errors: code_not_redeemable, too_many_attempts, invalid_code, invalid_idempotency_key, idempotency_key_reused, user_not_found, account_frozen, balance_limit_exceeded, forbidden, busy.';
