-- On which side of each threshold a user is, and whether an alert was raised for it.
create table tokenbook.token_alert_states (
  user_id uuid not null,
  rule text not null,
  threshold bigint,
  is_below boolean not null,
  is_raised boolean not null default false,
  epoch bigint not null default 0,
  changed_in xid8,
  changed_at timestamptz not null,
  constraint token_alert_states_pkey primary key (user_id, rule)
);
comment on table tokenbook.token_alert_states is
  'On which side of each threshold a user is, and whether an alert was raised for it. Written under the account''s lock.';
comment on column tokenbook.token_alert_states.user_id is 'The user.';
comment on column tokenbook.token_alert_states.rule is 'The rule''s name; auto_top_up for the top-up.';
comment on column tokenbook.token_alert_states.threshold is 'The threshold in tokens when this was noted; NULL = the rule did not apply.';
comment on column tokenbook.token_alert_states.is_below is 'Whether fewer tokens than that could be spent.';
comment on column tokenbook.token_alert_states.is_raised is 'Whether an alert was raised when it last went below.';
comment on column tokenbook.token_alert_states.epoch is 'How often an alert was raised: dropped and the recovered that ends it share the number.';
comment on column tokenbook.token_alert_states.changed_in is 'The database transaction that moved it to this side; what it moves back never happened.';
comment on column tokenbook.token_alert_states.changed_at is 'When.';
alter table tokenbook.token_alert_states enable row level security;
