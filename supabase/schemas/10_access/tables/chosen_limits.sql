-- The bounds that a project has chosen for itself; without a row tokenbook.limits() says it.
create table tokenbook.chosen_limits (
  name text primary key,
  value integer not null,
  chosen_at timestamptz not null default clock_timestamp(),
  constraint chosen_limits_are_known check (name in ('open_holds', 'pending_payments')),
  constraint chosen_limits_are_bounded check (value between 1 and 10000)
);
comment on table tokenbook.chosen_limits is
  'What a user may have at a time, where the project has chosen another number than the default. Written by set_token_limit.';
comment on column tokenbook.chosen_limits.name is 'open_holds or pending_payments.';
comment on column tokenbook.chosen_limits.value is 'How many, 1 to 10000.';
comment on column tokenbook.chosen_limits.chosen_at is 'Since when.';
alter table tokenbook.chosen_limits enable row level security;
