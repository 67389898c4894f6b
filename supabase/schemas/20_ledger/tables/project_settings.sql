/*
 * What a call that touches an account must know of the project's alert rules, its burn order and its caps, in one
 * row: so that it asks one question, not one of each table. Written with what it says, in the same transaction.
 * A project starts without the row, and one whose row was lost (a migration squash and a schema-only
 * dump leave it out) is treated the same: a call that finds no row takes its full path, on which
 * tokenbook.restore_settings makes the row from what the project has chosen. Until then nothing is
 * switched off, calls only take longer.
 * An account with another alerts_version has the thresholds of older alert rules; the next call that
 * touches it sets them anew.
 */
create table tokenbook.project_settings (
  is_current boolean primary key default true,
  alerts_version bigint not null,
  is_expiring_first boolean not null,
  has_common_caps boolean not null,
  constraint project_settings_has_one_row check (is_current)
);

comment on table tokenbook.project_settings is
  'What is asked of the project''s rules whenever an account is touched: one row, made by the first transaction, kept by the functions that change the rules.';
comment on column tokenbook.project_settings.is_current is 'Always true: there is one row.';
comment on column tokenbook.project_settings.alerts_version is 'Goes up with every change of token_alert_rules.';
comment on column tokenbook.project_settings.is_expiring_first is 'Whether the newest of burn_orders is expiring_first.';
comment on column tokenbook.project_settings.has_common_caps is 'Whether there are caps of plans or of everyone (token_default_spend_caps).';
alter table tokenbook.project_settings enable row level security;
