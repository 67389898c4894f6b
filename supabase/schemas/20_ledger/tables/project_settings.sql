/*
 * What whoever touches an account must know of the project's alert rules and its burn order, in one
 * row: so that it asks one question, not one of each table. Written by the functions that change
 * them, in the same transaction.
 * An account whose alerts_version is another has marks of older alert rules; whoever touches it next
 * sets them anew.
 */
create table tokenbook.project_settings (
  is_current boolean primary key default true,
  alerts_version bigint not null default 0,
  is_expiring_first boolean not null default false,
  constraint rules_in_force_has_one_row check (is_current)
);
insert into tokenbook.project_settings default values;

comment on table tokenbook.project_settings is
  'What is asked of the project''s rules whenever an account is touched: one row, kept by the functions that change the rules.';
comment on column tokenbook.project_settings.is_current is 'Always true: there is one row.';
comment on column tokenbook.project_settings.alerts_version is 'How often token_alert_rules has changed.';
comment on column tokenbook.project_settings.is_expiring_first is 'Whether the newest of burn_orders is expiring_first.';
alter table tokenbook.project_settings enable row level security;
