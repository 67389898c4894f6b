-- The people who have had a trial, unreadable: a keyed digest of each thing that a person is known by. It names no
-- user, so that it outlives them; and without the key, which is beside it, no guess can be tried.
create table tokenbook.trials_taken (
  identifier bytea primary key,
  taken_at timestamptz not null default clock_timestamp(),
  constraint trials_taken_are_digests check (length(identifier) = 32)
);
comment on table tokenbook.trials_taken is
  'The people who have had a trial: HMAC-SHA256 of the user''s id, normalised address, phone number and identities at providers. Written at the moment a trial is given; nobody may read it.';
comment on column tokenbook.trials_taken.identifier is 'HMAC-SHA256 under tokenbook.trial_keys of one thing that the person is known by (tokenbook.trial_identifiers).';
comment on column tokenbook.trials_taken.taken_at is 'When it was first remembered.';
alter table tokenbook.trials_taken enable row level security;
