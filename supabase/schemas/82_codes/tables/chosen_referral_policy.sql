-- What a project has chosen to give for a referral; without a row nothing.
create table tokenbook.chosen_referral_policy (
  is_current boolean primary key default true,
  referrer_tokens bigint not null,
  referred_tokens bigint not null,
  lifetime_days integer,
  rewards_per_referrer integer not null,
  chosen_at timestamptz not null default clock_timestamp(),
  constraint chosen_referral_policy_has_one_row check (is_current),
  constraint chosen_referral_policy_gives_both
    check (least(referrer_tokens, referred_tokens) >= 1
       and greatest(referrer_tokens, referred_tokens) <= (tokenbook.limits() -> 'tokens')::bigint),
  constraint chosen_referral_policy_lifetime_is_positive check (lifetime_days > 0),
  constraint chosen_referral_policy_has_a_limit check (rewards_per_referrer between 1 and 10000)
);
comment on table tokenbook.chosen_referral_policy is
  'What both sides of a referral are given, where the project has chosen: without a row nothing. Written by set_token_referral_policy.';
comment on column tokenbook.chosen_referral_policy.is_current is 'Always true: there is one row.';
comment on column tokenbook.chosen_referral_policy.referrer_tokens is 'For the referrer.';
comment on column tokenbook.chosen_referral_policy.referred_tokens is 'For the user who was referred.';
comment on column tokenbook.chosen_referral_policy.lifetime_days is 'How many days of 24 hours both grants live; NULL = as long as their type says: for ever.';
comment on column tokenbook.chosen_referral_policy.rewards_per_referrer is 'How many of their referrals are rewarded, taken back or not.';
comment on column tokenbook.chosen_referral_policy.chosen_at is 'Since when.';
alter table tokenbook.chosen_referral_policy enable row level security;
