-- What admins and the server changed that is no change of tokens: those are in the ledger, which names who
-- made them. Rows of other tables say how things are; here is who made them so, and what was there before.
create table tokenbook.changes (
  id bigint generated always as identity primary key,
  user_id uuid,
  change text not null,
  actor_role text not null,
  actor_id uuid,
  reason text,
  details jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint changes_actor_is_known
    check (actor_role in ('admin', 'service') and (actor_id is not null) = (actor_role = 'admin')),
  constraint changes_reason_is_given check (length(reason) between 1 and 500)
);
comment on table tokenbook.changes is
  'What admins and the server changed beside the ledger: states of accounts, caps, alert rules, teams, payments, top-ups, plans, packs and prices. Append-only; read by list_token_changes.';
comment on column tokenbook.changes.id is 'The change; later ones have higher numbers.';
comment on column tokenbook.changes.user_id is 'Whom it is about; NULL = the project. No foreign key: what was done outlives the user.';
comment on column tokenbook.changes.change is 'The function that was called.';
comment on column tokenbook.changes.actor_role is 'Who did it: admin or service (the server). What users set for themselves is not here.';
comment on column tokenbook.changes.actor_id is 'Which admin.';
comment on column tokenbook.changes.reason is 'The reason given by the caller; NULL = none was given.';
comment on column tokenbook.changes.details is 'What was set, by name.';
comment on column tokenbook.changes.created_at is 'When it was done.';
create index changes_user_idx on tokenbook.changes (user_id, id);
create index changes_plan_idx on tokenbook.changes ((details ->> 'plan_type'), id) where change = 'set_token_plan';
alter table tokenbook.changes enable row level security;
