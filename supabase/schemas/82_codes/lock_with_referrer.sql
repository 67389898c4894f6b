/*
 * Locks an account together with that of its user's referrer, in the order of their ids, where a payment is about to be
 * booked that may move tokens of both: the first, or money that goes back of the first. Otherwise does nothing.
 * To be called before anything else of the account is locked. A payment whose referral was claimed
 * after that does not wait for the other account: tokenbook.settle_referral refuses with busy.
 * Caller: internal.   Locks: the accounts.   Errors: busy.
 */
create function tokenbook.lock_with_referrer(p_user_id uuid, p_payment_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_referrer_id uuid;
begin
  select r.referrer_id into v_referrer_id
    from tokenbook.referrals r
   where r.user_id = p_user_id
     and (r.payment_id is null or r.payment_id = p_payment_id and r.referrer_grant_id is not null and r.taken_back_at is null);
  if found then
    perform tokenbook.lock_accounts(array[p_user_id, v_referrer_id], p_away_too => true); -- @both-in-one-order
  end if;
end
$$;
comment on function tokenbook.lock_with_referrer is
  'Locks an account and that of its user''s referrer, in the order of their ids, where a payment may move tokens of both.';
