-- Codes that give tokens to a user who redeems them. Only a digest of a code is stored: somebody who reads the table, or
-- a backup of it, can redeem no code that was made at random.
create table tokenbook.codes (
  id uuid primary key default gen_random_uuid(),
  number bigint generated always as identity unique,
  digest bytea not null unique,
  name text not null,
  tokens bigint not null,
  grant_type text not null,
  lifetime_days integer,
  max_redemptions integer not null,
  max_per_user integer not null,
  redemptions integer not null default 0,
  valid_from timestamptz not null default clock_timestamp(),
  valid_until timestamptz,
  ended_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  constraint codes_are_digests check (length(digest) = 32),
  constraint codes_name_is_given check (length(name) between 1 and 100),
  constraint codes_tokens_are_within_the_limit check (tokens between 1 and (tokenbook.limits() -> 'tokens')::bigint),
  constraint codes_lifetime_is_positive check (lifetime_days > 0),
  constraint codes_are_redeemed_as_often_as_they_may check (redemptions between 0 and max_redemptions),
  constraint codes_per_user_is_positive check (max_per_user between 1 and max_redemptions),
  constraint codes_end_after_they_begin check (valid_until > valid_from)
);
comment on table tokenbook.codes is
  'Codes that give tokens: what each gives, to how many, and until when. Of the code itself only a digest. Written by create_token_code, redeem_token_code and end_token_code; read by list_token_codes.';
comment on column tokenbook.codes.id is 'The code, as the ledger''s entries name it (terms.code).';
comment on column tokenbook.codes.number is 'In the order in which they were made: what pages go by.';
comment on column tokenbook.codes.digest is 'SHA-256 of the code in capitals, without blanks and hyphens.';
comment on column tokenbook.codes.name is 'What the code is for, in the words of the caller who made it; users do not see it.';
comment on column tokenbook.codes.tokens is 'What one redemption gives.';
comment on column tokenbook.codes.grant_type is 'The type of its grants.';
comment on column tokenbook.codes.lifetime_days is 'How many days of 24 hours its grants live; NULL = as long as their type says.';
comment on column tokenbook.codes.max_redemptions is 'How often it may be redeemed in all.';
comment on column tokenbook.codes.max_per_user is 'How often by one user.';
comment on column tokenbook.codes.redemptions is 'How often it has been: as many rows of code_redemptions as there are.';
comment on column tokenbook.codes.valid_from is 'From when on it can be redeemed.';
comment on column tokenbook.codes.valid_until is 'The first moment at which it cannot any more; NULL = none.';
comment on column tokenbook.codes.ended_at is 'When somebody ended it early.';
comment on column tokenbook.codes.created_at is 'When it was made.';
alter table tokenbook.codes enable row level security;
