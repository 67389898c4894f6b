-- Which user was referred by which: once, before their first payment, and what that payment gave for it.
create table tokenbook.referrals (
  user_id uuid primary key,
  id uuid not null default gen_random_uuid(),
  referrer_id uuid not null,
  claimed_at timestamptz not null default clock_timestamp(),
  payment_id uuid,
  referred_grant_id uuid,
  referrer_grant_id uuid,
  taken_back_at timestamptz,
  constraint referrals_are_of_two check (user_id <> referrer_id),
  constraint referrals_reward_both check (num_nonnulls(referred_grant_id, referrer_grant_id) in (0, 2)),
  constraint referrals_are_rewarded_by_a_payment check (payment_id is not null or referred_grant_id is null),
  constraint referrals_take_back_what_was_given check (taken_back_at is null or referred_grant_id is not null)
);
comment on table tokenbook.referrals is
  'Which user was referred by which, their first payment, and the two grants that it gave. Written by claim_token_referral and with that payment.';
comment on column tokenbook.referrals.user_id is 'The user who was referred.';
comment on column tokenbook.referrals.id is 'The referral, as both entries of the ledger name it (terms.referral): neither says who the other is.';
comment on column tokenbook.referrals.referrer_id is 'The referrer.';
comment on column tokenbook.referrals.claimed_at is 'When they said so.';
comment on column tokenbook.referrals.payment_id is 'Their first payment of more than nothing, whether it was rewarded or not; NULL = they have not paid yet.';
comment on column tokenbook.referrals.referred_grant_id is 'Their grant; NULL = it was not rewarded.';
comment on column tokenbook.referrals.referrer_grant_id is 'The referrer''s grant.';
comment on column tokenbook.referrals.taken_back_at is 'When both were taken back, because half of that payment''s money or more was lost.';
create index referrals_referrer_idx on tokenbook.referrals (referrer_id);
alter table tokenbook.referrals enable row level security;
