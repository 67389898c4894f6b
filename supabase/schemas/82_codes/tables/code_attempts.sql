-- How many wrong codes a user has tried of late: one row a user who ever has, so that guessing cannot fill the disk.
create table tokenbook.code_attempts (
  user_id uuid primary key,
  failures integer not null,
  since timestamptz not null,
  constraint code_attempts_are_counted check (failures > 0)
);
comment on table tokenbook.code_attempts is
  'How many codes a user has tried in vain since a moment. Written by redeem_token_code and claim_token_referral; forgotten with the user.';
comment on column tokenbook.code_attempts.user_id is 'The user who tried.';
comment on column tokenbook.code_attempts.failures is 'How many since then.';
comment on column tokenbook.code_attempts.since is 'The first of these; code_attempt_seconds (Lists, in the reference) later they count no more.';
alter table tokenbook.code_attempts enable row level security;
