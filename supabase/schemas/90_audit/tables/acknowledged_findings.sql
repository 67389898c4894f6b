/*
 * Findings of verify_token_ledger that somebody has looked into and nothing can mend: entries that a clock which
 * stepped back had booked before their predecessors. The ledger is append-only, so such an entry stays as it is.
 * Insert-only, as the ledger: an acknowledgement is never taken back or rewritten.
 */
create table tokenbook.acknowledged_findings (
  user_id uuid not null,
  transaction_id bigint not null,
  booked_at timestamptz not null,
  booked_before timestamptz,
  reason text not null,
  actor_role text not null,
  actor_id uuid,
  acknowledged_at timestamptz not null default clock_timestamp(),
  constraint acknowledged_findings_pkey primary key (user_id, transaction_id, booked_at),
  constraint acknowledged_findings_reason_is_given check (length(reason) between 1 and 500),
  constraint acknowledged_findings_actor_is_known check (
    actor_role in ('admin', 'service') and (actor_id is not null) = (actor_role = 'admin'))
);
comment on table tokenbook.acknowledged_findings is
  'Entries of the ledger that were booked out of the order of time, and that somebody has looked into: verify_token_ledger leaves them out, as long as they are as they were then. Written by acknowledge_token_finding, never changed.';
comment on column tokenbook.acknowledged_findings.user_id is 'Whose entry it is.';
comment on column tokenbook.acknowledged_findings.transaction_id is 'Its number.';
comment on column tokenbook.acknowledged_findings.booked_at is 'When it was booked, as it said then.';
comment on column tokenbook.acknowledged_findings.booked_before is 'When the entry before it was booked, as that said then; NULL = it is the first.';
comment on column tokenbook.acknowledged_findings.reason is 'What was found out, in words.';
comment on column tokenbook.acknowledged_findings.actor_role is 'Who acknowledged it: admin or service (the server).';
comment on column tokenbook.acknowledged_findings.actor_id is 'Which admin.';
comment on column tokenbook.acknowledged_findings.acknowledged_at is 'When.';
alter table tokenbook.acknowledged_findings enable row level security;
