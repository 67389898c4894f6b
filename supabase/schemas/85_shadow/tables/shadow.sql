/*
 * The counter of the project's own that runs beside the books, in one row; none, as a rule. Made, changed and taken away by
 * `tokenbook shadow` and `tokenbook switch`, which also put the triggers on the project's table: no other command, no
 * function and no migration does. Names and not an oid, because a dump keeps names.
 */
create table tokenbook.shadow (
  is_only boolean primary key default true,
  source text not null,
  schema_name text not null,
  table_name text not null,
  user_column text not null,
  amount_column text not null,
  times numeric not null,
  grant_type text not null,
  lifetime_days integer,
  mode text not null default 'shadow',
  started_at timestamptz not null default clock_timestamp(),
  switched_at timestamptz,
  written_by xid8,
  kept_at timestamptz,
  is_begun boolean not null default false,
  constraint shadow_has_one_row check (is_only),
  constraint shadow_times_is_positive check (times > 0),
  constraint shadow_lives_a_day check (lifetime_days > 0),
  constraint shadow_mode_is_known check (mode in ('shadow', 'writable', 'read_only'))
);
comment on table tokenbook.shadow is
  'The counter of the project''s own that runs beside the books: one row, or none. Written by tokenbook shadow and tokenbook switch.';
comment on column tokenbook.shadow.is_only is 'Always true: there is one row.';
comment on column tokenbook.shadow.source is 'What the counter is called in the ledger, as its import called it.';
comment on column tokenbook.shadow.schema_name is 'Where its table is.';
comment on column tokenbook.shadow.table_name is 'Its table.';
comment on column tokenbook.shadow.user_column is 'The column that says whose a row is.';
comment on column tokenbook.shadow.amount_column is 'The column that is the counter.';
comment on column tokenbook.shadow.times is 'How many tokens one of its units is.';
comment on column tokenbook.shadow.grant_type is 'Of the grants that its increases become.';
comment on column tokenbook.shadow.lifetime_days is 'How long these last; NULL = as long as their type.';
comment on column tokenbook.shadow.mode is 'shadow: the counter is right, and the books follow it. writable: the books are right, the counter is kept in step with them, and what the app still writes there is booked. read_only: the same, and what the app writes there is refused.';
comment on column tokenbook.shadow.started_at is 'Since when it is followed.';
comment on column tokenbook.shadow.switched_at is 'Since when the books are right; NULL = they follow.';
comment on column tokenbook.shadow.written_by is 'The transaction that wrote the counter last, to keep it in step: what it writes is nothing new to the books.';
comment on column tokenbook.shadow.kept_at is 'When a run last went through all balances to write them to the counter; NULL = none has.';
comment on column tokenbook.shadow.is_begun is 'Whether what the books have of it is written down since its triggers were last put on: until then nothing is booked, and the next run ends what another one began.';
alter table tokenbook.shadow enable row level security;
