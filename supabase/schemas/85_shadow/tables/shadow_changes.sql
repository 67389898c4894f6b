-- What has happened to the counter and is not booked yet. Written by the triggers on the project's table, in the
-- transaction that changes it; a row goes in the transaction that books it, so each is booked once. No index but the
-- key, no foreign key and no check of what is written: nothing here may make the project's own write fail or wait.
create table tokenbook.shadow_changes (
  id bigint generated always as identity primary key,
  kind text not null,
  whose text,
  amount_before numeric,
  amount_after numeric,
  changed_at timestamptz not null default clock_timestamp(),
  transaction_id xid8 not null default pg_current_xact_id(),
  error text
);
comment on table tokenbook.shadow_changes is
  'Changes of the project''s counter that are not booked yet. Empty while no shadow runs.';
comment on column tokenbook.shadow_changes.id is 'The change; of what happened to one row, later changes have higher numbers.';
comment on column tokenbook.shadow_changes.kind is 'change; truncate: all rows went at once; truncated: what of this user went with them; catch_up: bring the books of this user to what the counter has.';
comment on column tokenbook.shadow_changes.whose is 'The user, as the project''s row says it; NULL of truncate.';
comment on column tokenbook.shadow_changes.amount_before is 'What the rows of this user that the statement touched had together, in the counter''s unit.';
comment on column tokenbook.shadow_changes.amount_after is 'What they have since.';
comment on column tokenbook.shadow_changes.changed_at is 'When it was written.';
comment on column tokenbook.shadow_changes.transaction_id is 'In which transaction of the project''s.';
comment on column tokenbook.shadow_changes.error is 'Why it could not be booked: SQLSTATE and message. Tried again by the next run; NULL = not tried.';
alter table tokenbook.shadow_changes enable row level security;
