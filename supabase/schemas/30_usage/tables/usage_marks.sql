/*
 * How far the uses are added up in tokenbook.usage_totals. What is younger than counted_until is added up by the report that reads it.
 * A use is written some time after its created_at, and a transaction can stay open for as long as it likes: uses may
 * be added up only where no open transaction can bring another that is as old. So a moment is closed in two steps:
 * closing_until is chosen with the number that the next transaction will have, and is closed as soon as every
 * transaction with a lower number has ended.
 */
create table tokenbook.usage_marks (
  user_id uuid primary key,
  counted_until timestamptz not null default '-infinity',
  closed_until timestamptz not null default '-infinity',
  closing_until timestamptz,
  closing_xid xid8,
  constraint usage_marks_count_what_is_closed check (counted_until <= closed_until),
  constraint usage_marks_close_one_moment check ((closing_until is null) = (closing_xid is null))
);
comment on table tokenbook.usage_marks is
  'How far the uses are added up in tokenbook.usage_totals: for everyone, and for each user who has totals of their own. Written by tokenbook.count_usage.';
comment on column tokenbook.usage_marks.user_id is 'Whose; all zeros: everyone''s together.';
comment on column tokenbook.usage_marks.counted_until is 'Uses before this are in the totals.';
comment on column tokenbook.usage_marks.closed_until is 'No use will be written any more that is older than this.';
comment on column tokenbook.usage_marks.closing_until is 'What is closed next.';
comment on column tokenbook.usage_marks.closing_xid is 'When all transactions with a lower number have ended.';
alter table tokenbook.usage_marks enable row level security;
