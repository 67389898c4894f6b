/*
 * What each data migration had to say; the CLI shows no notices. The installation itself writes here, so the numbers
 * are of the clock and not counted from 1: the rows of another database are restored beside those of this one.
 */
create table if not exists tokenbook.migration_reports (
  id bigint primary key default (extract(epoch from clock_timestamp()) * 1000000)::bigint,
  migration text not null,
  report text not null,
  created_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.migration_reports is
  'What each data migration did, in words: the same text as its notice, kept because the Supabase CLI shows no notices. `npm run migrate` prints it.';
comment on column tokenbook.migration_reports.id is 'Order of writing: microseconds since 1970.';
comment on column tokenbook.migration_reports.migration is 'Name of the migration file, without its extension.';
comment on column tokenbook.migration_reports.report is 'The text of the notice.';
comment on column tokenbook.migration_reports.created_at is 'When it was written.';
alter table tokenbook.migration_reports enable row level security;
