-- Alerts, as users read them: one row for each crossing, written in the transaction that crosses. What is sent of them is
-- in the outbox (tokenbook.webhook_deliveries).
create table public.token_alerts (
  user_id uuid not null,
  id bigint not null,
  kind text not null,
  rule text not null,
  epoch bigint,
  grant_id uuid,
  request_id uuid,
  payload jsonb not null,
  created_at timestamptz not null,
  constraint token_alerts_pkey primary key (user_id, id),
  constraint token_alerts_are_numbered_from_one check (id >= 1),
  constraint token_alerts_say_what_about check (
    case tokenbook.alert_kinds() -> kind ->> 'about'
      when 'crossing' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'grant' then grant_id is not null and num_nonnulls(epoch, request_id) = 0
      when 'moment' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'request' then request_id is not null and num_nonnulls(epoch, grant_id) = 0
      else false
    end)
);
comment on table public.token_alerts is
  'Alerts, one row for each crossing, written in the transaction that crosses. Written by the functions only.';
comment on column public.token_alerts.user_id is 'The user; all zeros: the project itself. No foreign key: what somebody was told outlives them.';
comment on column public.token_alerts.id is 'The alert''s number among the user''s: 1, 2, 3, … token_accounts.last_alert_id names the newest.';
comment on column public.token_alerts.kind is 'What happened: dropped, depleted, recovered, … (all of them: Lists, in the reference).';
comment on column public.token_alerts.rule is 'The name of the rule; auto_top_up for a top-up; the kind for what no rule is of.';
comment on column public.token_alerts.epoch is 'Which time this rule was raised for them; a recovered has the number of what it ends. Of a subscription: the moment, in microseconds since 1970. Of a model: a digest of its name.';
comment on column public.token_alerts.grant_id is 'expiring_soon: the grant.';
comment on column public.token_alerts.request_id is 'top_up_…: the request.';
comment on column public.token_alerts.payload is 'What it says: tokens_remaining, tokens_limit, plan_type, transaction_id (the user''s newest then), and by kind threshold_tokens, threshold_percent, grant_id, grant_tokens, expires_at, request_id, tokens, top_up_plan_type, top_up_pack_type, top_up_quantity, amount_cents, currency, reason, ended_plan_type, past_due_plan_type, provider. Of payment_parked: provider, provider_payment_id, parked_reason, explanation, parked_details, price_id, customer_id, paid_by, amount_cents, currency; of its end: provider, provider_payment_id, part_of, paid_by, ended_alert_id. Of payment_contradicted: provider, provider_payment_id, payment_id, paid_by, plan_type, pack_type, quantity (as booked), disagrees (what else was named, by field), amount_cents, currency. Of model_unknown: model.';
comment on column public.token_alerts.created_at is 'When it was raised.';

-- a crossing is written once, and so is a warning about a grant
create unique index token_alerts_crossing_key
  on public.token_alerts (user_id, rule, epoch, (kind = 'recovered')) where epoch is not null;
create unique index token_alerts_grant_key
  on public.token_alerts (user_id, rule, grant_id) where grant_id is not null;

alter table public.token_alerts enable row level security;
create policy "Users read their own alerts" on public.token_alerts
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
