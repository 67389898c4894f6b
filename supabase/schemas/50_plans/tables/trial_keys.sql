/*
 * The key of the digests in trials_taken. One row, made by the first call that needs it (tokenbook.trial_key), so that a
 * database that was made from a schema alone has a key of its own. No function gives it to a caller.
 */
create table tokenbook.trial_keys (
  is_current boolean primary key default true,
  key bytea not null,
  made_at timestamptz not null default clock_timestamp(),
  constraint trial_keys_has_one_row check (is_current),
  constraint trial_keys_are_long check (length(key) = 32)
);
comment on table tokenbook.trial_keys is
  'The key of the digests of trials_taken. It never leaves the database but in a backup of all of it; a project that loses it no longer recognises anybody who had a trial.';
comment on column tokenbook.trial_keys.is_current is 'Always true: there is one row.';
comment on column tokenbook.trial_keys.key is 'The key: 32 random bytes.';
comment on column tokenbook.trial_keys.made_at is 'When it was made.';
alter table tokenbook.trial_keys enable row level security;
