/*
 * Brings a referral up to date with a payment of the user who was referred. The first payment of more than nothing
 * rewards both users, in this commit, once, however often it is reported. Both or none: none where the project gives
 * nothing now, the referrer has been rewarded as often as they may be, has their books elsewhere, or one of the two is frozen or deleted; a later
 * payment then rewards nobody either.
 * When half of that payment's money or more is lost, refunded or disputed, both grants are ended and taken back, what was
 * spent of them too, as debt; once, and for good: money that comes back gives tokens back that it bought, not these.
 * Looks at the payment as it is, so that the order of a provider's events makes no difference.
 * The other account is locked already (tokenbook.lock_with_referrer), or is not waited for.
 * Caller: internal, holding the account's lock.   Locks: the referrer's account.   Errors: busy.
 * Keeps: I1 to I5, I10, I12: no bonus without money that stays.
 */
create function tokenbook.settle_referral(p_payment public.token_payments, p_actor_role text, p_actor_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_referral tokenbook.referrals;
  v_policy tokenbook.chosen_referral_policy;
  v_own tokenbook.referral_codes;
  v_lost constant bigint := p_payment.refunded_cents + p_payment.disputed_cents;
  v_is_first boolean;
  v_is_taken_back boolean;
  v_at timestamptz; -- the clock, for statements that many machines run
begin
  select r.* into v_referral
    from tokenbook.referrals r
   where r.user_id = p_payment.user_id
     and (r.payment_id is null or r.payment_id = p_payment.id) and r.taken_back_at is null;
  if not found or p_payment.amount_cents = 0 or p_payment.status not in ('approved', 'refunded') then
    return;
  end if;
  v_is_first := v_referral.payment_id is null; -- @rewarded-once
  if v_is_first then
    update tokenbook.referrals r set payment_id = p_payment.id where r.user_id = p_payment.user_id;
  end if;
  v_is_taken_back := 2 * v_lost >= p_payment.amount_cents; -- @rewards-follow-the-money
  if not v_is_first and (v_referral.referrer_grant_id is null or not v_is_taken_back) then
    return;
  end if;

  -- lock
  perform 1 from public.token_accounts a where a.user_id = v_referral.referrer_id and a.state in ('active', 'frozen')
    for no key update skip locked;
  if not found then
    if exists (select 1 from public.token_accounts a where a.user_id = v_referral.referrer_id and a.state <> 'moved') then
      perform tokenbook.refuse('busy', '{}');
    end if;
    return;
  end if;

  -- act, record
  if v_is_first then
    select p.* into v_policy from tokenbook.chosen_referral_policy p where p.is_current;
    select c.* into v_own from tokenbook.referral_codes c where c.user_id = v_referral.referrer_id;
    if not tokenbook.may_refer(v_own, v_policy) or not tokenbook.may_be_rewarded(p_payment.user_id) then
      return;
    end if;
    update tokenbook.referral_codes c set rewards = c.rewards + 1 where c.user_id = v_referral.referrer_id;
    v_referral.referred_grant_id := tokenbook.give_reward(
      p_payment.user_id, v_policy.referred_tokens, v_policy.lifetime_days, v_referral.id, p_actor_role, p_actor_id);
    v_referral.referrer_grant_id := tokenbook.give_reward(
      v_referral.referrer_id, v_policy.referrer_tokens, v_policy.lifetime_days, v_referral.id, p_actor_role, p_actor_id);
    update tokenbook.referrals r
       set referred_grant_id = v_referral.referred_grant_id, referrer_grant_id = v_referral.referrer_grant_id
     where r.user_id = p_payment.user_id;
  end if;
  if v_is_taken_back then
    perform tokenbook.take_reward_back(p_payment.user_id, v_referral.referred_grant_id, p_actor_role, p_actor_id);
    perform tokenbook.take_reward_back(v_referral.referrer_id, v_referral.referrer_grant_id, p_actor_role, p_actor_id); -- @both-give-back
    v_at := clock_timestamp();
    update tokenbook.referrals r set taken_back_at = v_at where r.user_id = p_payment.user_id;
  end if;
end
$$;
comment on function tokenbook.settle_referral is
  'Rewards both sides of a referral at the first payment, once, and takes both rewards back when half of its money or more is lost, once.';

/*
 * Gives one side of a referral its tokens.   Caller: internal, holding the account's lock.
 * Returns the grant.   Errors: balance_limit_exceeded, busy: more is due on the account than one call books.
 */
create function tokenbook.give_reward(
  p_user_id uuid,
  p_tokens bigint,
  p_lifetime_days integer,
  p_referral_id uuid,
  p_actor_role text,
  p_actor_id uuid
)
returns uuid
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant public.token_balances;
  v_entry public.token_transactions;
  v_issued record;
begin
  v_grant.grant_type := 'bonus';
  v_grant.tokens_granted := p_tokens;
  v_grant.metadata := '{}';
  v_entry.user_id := p_user_id;
  v_entry.reason := 'a referral';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := v_grant.metadata;
  v_entry.terms := jsonb_build_object('referral', p_referral_id);
  v_issued := tokenbook.issue_grant(v_grant, v_entry, p_lifetime_days * interval '24 hours');
  if v_issued.is_behind then
    perform tokenbook.refuse('busy', '{}');
  end if;
  return (v_issued.granted).id;
end
$$;
comment on function tokenbook.give_reward is 'Gives one side of a referral its tokens and returns the grant.';

/*
 * Ends a grant of a referral and takes back what its user has had of it; one that was voided before stays as it is.
 * Caller: internal, holding the account's lock.   Errors: busy.
 */
create function tokenbook.take_reward_back(p_user_id uuid, p_grant_id uuid, p_actor_role text, p_actor_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_now constant timestamptz := clock_timestamp();
begin
  if exists (select 1 from public.token_accounts a where a.user_id = p_user_id and a.next_due_at <= v_now) then
    perform tokenbook.record_expiries(array[p_user_id], v_now);
  end if;
  if not exists (
    select 1 from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id and b.voided_at is null)
  then
    return;
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := 'a referral whose payment went back';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  perform tokenbook.void_grant(tokenbook.as_void(v_entry, p_grant_id), p_grant_id, p_take_back => true, p_now => v_now); -- @spent-rewards-are-owed
end
$$;
comment on function tokenbook.take_reward_back is 'Ends a grant of a referral and takes back what was had of it, what was spent as debt.';
