-- How often the rules have changed. An account whose own number is another has marks of older rules;
-- whoever touches it next sets them anew. No row: there never was a rule.
create table private.alert_rule_versions (
  is_current boolean primary key default true,
  version bigint not null,
  constraint alert_rule_versions_has_one_row check (is_current)
);
comment on table private.alert_rule_versions is
  'How often token_alert_rules has changed: one row, or none while there never was a rule.';
comment on column private.alert_rule_versions.is_current is 'Always true: there is one row.';
comment on column private.alert_rule_versions.version is 'Counts up with every change.';
alter table private.alert_rule_versions enable row level security;
