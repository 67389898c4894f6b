-- The code that each user refers others with, made when they first ask for it. It is there to be passed on, and is kept as
-- it is.
create table tokenbook.referral_codes (
  user_id uuid primary key,
  code text not null unique,
  rewards integer not null default 0,
  made_at timestamptz not null default clock_timestamp(),
  constraint referral_codes_rewards_are_never_negative check (rewards >= 0)
);
comment on table tokenbook.referral_codes is
  'The code that each user refers others with, and how often it was rewarded. Written by get_token_referral_code and with the payments that are rewarded; forgotten with the user.';
comment on column tokenbook.referral_codes.user_id is 'Whose it is.';
comment on column tokenbook.referral_codes.code is 'The code, in capitals, without hyphens.';
comment on column tokenbook.referral_codes.rewards is 'How many referrals by it were rewarded; one that was taken back stays counted.';
comment on column tokenbook.referral_codes.made_at is 'When it was made.';
alter table tokenbook.referral_codes enable row level security;
