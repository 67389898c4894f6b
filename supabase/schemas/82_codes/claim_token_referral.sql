/*
 * Records which user referred this one: once, and before their first payment. It gives nothing yet: that payment does.
 * A code that does not exist, or whose owner is deleted, frozen or has been rewarded as often as they may be, is a wrong code
 * (tokenbook.answer_wrong_code). What depends on the caller alone is refused before the code is looked at.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * Returns {success, referred_tokens, replayed}, or {success: false, code, message, details, hint}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_code, user_not_found, too_many_attempts, account_frozen,
 * referral_not_possible, busy; code_not_redeemable as an answer.   Keeps: I10, I11.
 */
-- Security definer: callers have no write access to the tables.
create function tokenbook.claim_token_referral(p_referral_code text, p_user_id uuid default tokenbook.caller_id())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_code text;
  v_account public.token_accounts;
  v_referrer tokenbook.referral_codes;
  v_had tokenbook.referrals;
  v_policy tokenbook.chosen_referral_policy;
  v_reason text;
  v_replayed boolean;
begin
  -- validate
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => true);
  v_code := tokenbook.normal_code(p_referral_code);

  -- lock
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_actor.actor_role);
    v_account := tokenbook.lock_account(p_user_id, p_create => true);
  end if;
  perform tokenbook.refuse_guessing(p_user_id);

  -- replay
  select c.* into v_referrer from tokenbook.referral_codes c where c.code = v_code;
  select r.* into v_had from tokenbook.referrals r where r.user_id = p_user_id;
  select p.* into v_policy from tokenbook.chosen_referral_policy p where p.is_current;

  v_replayed := (v_had.referrer_id = v_referrer.user_id) is true;
  if not v_replayed then
    -- act
    v_reason := case
      when v_had.user_id is not null then 'already_referred'
      when v_policy.is_current is null then 'off'
      when v_referrer.user_id = p_user_id then 'own_code'
      when exists (
        select 1 from public.token_payments p
         where p.user_id = p_user_id and p.status in ('approved', 'refunded') and p.amount_cents > 0) -- @before-one-pays
        then 'already_paid'
    end;
    if v_reason is not null then
      perform tokenbook.refuse('referral_not_possible', jsonb_build_object('reason', v_reason));
    end if;
    perform tokenbook.require_active(p_user_id, v_account);
    if not tokenbook.may_refer(v_referrer, v_policy) then
      return tokenbook.answer_wrong_code(p_user_id);
    end if;
    insert into tokenbook.referrals (user_id, referrer_id) values (p_user_id, v_referrer.user_id) returning * into v_had;

    -- record
    perform tokenbook.record_change(
      'claim_token_referral', p_user_id, v_actor.actor_role, v_actor.actor_id, null, jsonb_build_object('referral_id', v_had.id));
  end if;
  return jsonb_build_object(
    'success', true, 'referred_tokens', v_policy.referred_tokens, 'replayed', v_replayed);
end
$$;
comment on function tokenbook.claim_token_referral is
  'Says by whom a user was referred (p_referral_code, of get_token_referral_code): once, and before their first payment, which then gives both their tokens. For the user themself, an admin, or the server. The same code again changes nothing. A wrong code is counted and answered as by redeem_token_code. Returns {success, referred_tokens (what the first payment will give, as it stands), replayed}. Errors: code_not_redeemable (an answer), too_many_attempts, invalid_code, referral_not_possible (reason: off, own_code, already_referred, already_paid), user_not_found, account_frozen, forbidden, busy.';

/*
 * Whether the user with that code still exists, is active, and has not been rewarded as often as they may be.
 * Caller: internal, holding their account's lock where it is to stay true.
 */
create function tokenbook.may_refer(p_code tokenbook.referral_codes, p_policy tokenbook.chosen_referral_policy)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_code.user_id is not null and p_policy.is_current is not null
    and p_code.rewards < p_policy.rewards_per_referrer -- @rewards-are-bounded
    and tokenbook.may_be_rewarded(p_code.user_id);
end
$$;
comment on function tokenbook.may_refer is
  'Whether the owner of a referral code is there, active, and not rewarded as often as they may be.';

/*
 * Whether a side of a referral may be given something: they are a user, and their account is there and not frozen.
 * Caller: internal.
 */
create function tokenbook.may_be_rewarded(p_user_id uuid)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.is_user(p_user_id)
    and exists (select 1 from public.token_accounts a where a.user_id = p_user_id and a.state = 'active');
end
$$;
comment on function tokenbook.may_be_rewarded is 'Whether they are a user whose account is there and not frozen.';
