-- The outbox: one row for each event and endpoint that asked for it, written in the transaction of what it tells; and how
-- far its delivery has come. Kept for 30 days.
create table tokenbook.webhook_deliveries (
  user_id uuid not null,
  event_id text not null,
  endpoint text not null,
  id bigint generated always as identity,
  kind text not null,
  alert_id bigint,
  payload jsonb,
  created_at timestamptz not null,
  status text not null default 'pending',
  attempts integer not null default 0,
  queued_at timestamptz not null,
  next_attempt_at timestamptz,
  claim_id uuid,
  last_error text,
  settled_at timestamptz,
  constraint webhook_deliveries_pkey primary key (user_id, event_id, endpoint),
  constraint webhook_deliveries_tell_of_an_alert_or_say_what check ((alert_id is null) = (payload is not null)),
  constraint webhook_deliveries_status_is_known check (
    case status
      when 'pending' then next_attempt_at is not null and settled_at is null
      when 'delivered' then next_attempt_at is null and settled_at is not null
      when 'given_up' then next_attempt_at is null and settled_at is not null
      else false
    end)
) with (fillfactor = 90);
comment on table tokenbook.webhook_deliveries is
  'The outbox: one row for each event and endpoint that asked for it, written in the transaction of what it tells, and how far its delivery has come. Written by the functions only; read by list_token_webhook_deliveries.';
comment on column tokenbook.webhook_deliveries.user_id is 'Whom it is about; all zeros: the project itself. No foreign key: what was told outlives them.';
comment on column tokenbook.webhook_deliveries.event_id is 'The webhook-id: the same for every attempt, and for every endpoint.';
comment on column tokenbook.webhook_deliveries.endpoint is 'The endpoint that it is sent to (webhook_endpoints). No foreign key: what was sent stays when the endpoint goes.';
comment on column tokenbook.webhook_deliveries.id is 'The delivery; later ones have higher numbers.';
comment on column tokenbook.webhook_deliveries.kind is 'What happened (tokenbook.event_kinds).';
comment on column tokenbook.webhook_deliveries.alert_id is 'Of an alert: its number; what is told is read from its row (kept in step by withdraw_alert).';
comment on column tokenbook.webhook_deliveries.payload is 'Of anything else: what is told beside user_id. Numbers, ids and names of lists: no words.';
comment on column tokenbook.webhook_deliveries.created_at is 'When it happened.';
comment on column tokenbook.webhook_deliveries.status is 'pending; delivered (the receiver has said so); given_up (too many attempts, or too old).';
comment on column tokenbook.webhook_deliveries.attempts is 'How often its delivery was begun, since it was queued.';
comment on column tokenbook.webhook_deliveries.queued_at is 'When it was to be sent first, or was repeated.';
comment on column tokenbook.webhook_deliveries.next_attempt_at is 'When it is due to be sent (again); while it is being sent, when that counts as lost.';
comment on column tokenbook.webhook_deliveries.claim_id is 'The claim under which it is being sent; NULL = none.';
comment on column tokenbook.webhook_deliveries.last_error is 'Why the last attempt failed.';
comment on column tokenbook.webhook_deliveries.settled_at is 'When it was delivered or given up.';

create index webhook_deliveries_id_idx on tokenbook.webhook_deliveries (id);
create index webhook_deliveries_outbox_idx on tokenbook.webhook_deliveries (endpoint, next_attempt_at) where status = 'pending';
create index webhook_deliveries_page_idx on tokenbook.webhook_deliveries (endpoint, status, id);
create index webhook_deliveries_alert_idx on tokenbook.webhook_deliveries (user_id, alert_id) where alert_id is not null;

alter table tokenbook.webhook_deliveries enable row level security;
