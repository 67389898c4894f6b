-- Users who signed up while something was wrong with the books.
create table tokenbook.failed_registrations (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  error text not null,
  failed_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.failed_registrations is
  'Sign-ups whose plan could not be given then; the sign-up itself went through. They are healed by their first balance read or deduction.';
comment on column tokenbook.failed_registrations.id is 'Order of writing.';
comment on column tokenbook.failed_registrations.user_id is 'The user.';
comment on column tokenbook.failed_registrations.error is 'SQLSTATE and message.';
comment on column tokenbook.failed_registrations.failed_at is 'When.';
alter table tokenbook.failed_registrations enable row level security;
