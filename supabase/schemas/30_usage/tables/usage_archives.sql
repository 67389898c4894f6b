-- A row a file of uses that were taken out of token_usage.
create table tokenbook.usage_archives (
  digest text primary key,
  name text not null,
  used_before timestamptz not null,
  uses bigint not null,
  tokens bigint not null,
  cost_cents numeric not null,
  first_used_at timestamptz not null,
  last_used_at timestamptz not null,
  uses_archived bigint not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
comment on table tokenbook.usage_archives is
  'The files of uses that were taken out of token_usage: what is in each, to know it again. Written by npx tokenbook archive.';
comment on column tokenbook.usage_archives.digest is 'SHA-256 of all its lines but the last.';
comment on column tokenbook.usage_archives.name is 'What the file was called.';
comment on column tokenbook.usage_archives.used_before is 'Its uses are older than this.';
comment on column tokenbook.usage_archives.uses is 'How many uses are in it.';
comment on column tokenbook.usage_archives.tokens is 'Tokens that they used.';
comment on column tokenbook.usage_archives.cost_cents is 'What they cost, in cents, as far as it is known.';
comment on column tokenbook.usage_archives.first_used_at is 'When the first of them happened.';
comment on column tokenbook.usage_archives.last_used_at is 'When the last of them happened.';
comment on column tokenbook.usage_archives.uses_archived is 'How many of them have been taken out of token_usage. One that had changed since the file was written stays there.';
comment on column tokenbook.usage_archives.created_at is 'When the file was written and read back.';
comment on column tokenbook.usage_archives.finished_at is 'When all of it had been gone through; NULL: not yet.';
alter table tokenbook.usage_archives enable row level security;
