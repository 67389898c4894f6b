-- Whose time may be advanced: users that the owner of the database has named, by a row here. There is none in production.
create table tokenbook.test_users (
  user_id uuid primary key,
  ahead interval not null default '0',
  added_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.test_users is
  'The users whose clock a test may advance. Written by the owner of the database alone, and by advance_test_clock.';
comment on column tokenbook.test_users.user_id is 'The test user.';
comment on column tokenbook.test_users.ahead is 'How far their clock is ahead of everybody''s: to what any moment of theirs says, add this.';
comment on column tokenbook.test_users.added_at is 'Since when they are a test user.';
alter table tokenbook.test_users enable row level security;
