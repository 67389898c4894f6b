-- Which user has redeemed which code, and by which entry of the ledger.
create table tokenbook.code_redemptions (
  user_id uuid not null,
  code_id uuid not null,
  nth integer not null,
  transaction_id bigint not null,
  redeemed_at timestamptz not null default clock_timestamp(),
  constraint code_redemptions_pkey primary key (user_id, code_id, nth),
  constraint code_redemptions_transaction_key unique (user_id, transaction_id),
  constraint code_redemptions_are_numbered_from_one check (nth > 0)
);
comment on table tokenbook.code_redemptions is
  'Each redemption of a code: by whom, the how manieth of theirs, and the entry of the ledger that gave its tokens. Written by redeem_token_code.';
comment on column tokenbook.code_redemptions.user_id is 'The user who redeemed it. No foreign key: money outlives the user.';
comment on column tokenbook.code_redemptions.code_id is 'The code; codes are never deleted.';
comment on column tokenbook.code_redemptions.nth is 'The how manieth redemption of it by this user, from 1.';
comment on column tokenbook.code_redemptions.transaction_id is 'The entry of the ledger that gave its tokens.';
comment on column tokenbook.code_redemptions.redeemed_at is 'When.';
alter table tokenbook.code_redemptions enable row level security;
