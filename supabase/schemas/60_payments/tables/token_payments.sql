-- One row a payment, asked for or made.
create table public.token_payments (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'pending',
  provider text not null default 'manual',
  provider_payment_id text,
  from_plan text references public.token_plans (plan_type),
  to_plan text references public.token_plans (plan_type),
  pack_type text references public.token_packs (pack_type),
  quantity integer not null default 1,
  amount_cents bigint not null,
  currency text not null,
  terms jsonb not null,
  tokens bigint,
  refunded_cents bigint not null default 0,
  disputed_cents bigint not null default 0,
  tokens_clawed_back bigint not null default 0,
  tokens_lapsed bigint not null default 0,
  idempotency_key text,
  reason text,
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  decided_by uuid,
  constraint token_payments_pkey primary key (user_id, id),
  constraint token_payments_status_is_known check (status in ('pending', 'approved', 'rejected', 'refunded')),
  constraint token_payments_decided_when_not_pending check ((status = 'pending') = (decided_at is null)),
  constraint token_payments_are_for_a_plan_or_a_pack check (num_nonnulls(to_plan, pack_type) = 1),
  constraint token_payments_buy_a_plan_once check (
    quantity between 1 and case when to_plan is not null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end),
  constraint token_payments_have_terms check (jsonb_typeof(terms) = 'object'),
  constraint token_payments_amounts_are_never_negative check (amount_cents >= 0 and refunded_cents >= 0 and disputed_cents >= 0),
  constraint token_payments_clawed_back_is_within_tokens
    check (tokens_clawed_back between 0 and coalesce(tokens, 0)),
  constraint token_payments_lapsed_is_within_clawed_back check (tokens_lapsed between 0 and tokens_clawed_back)
);
comment on table public.token_payments is
  'Payments: pending until an admin or the provider decides; an approved one has given its tokens in the same commit. Written by the functions only.';
comment on column public.token_payments.user_id is 'The user who pays.';
comment on column public.token_payments.id is 'The payment; unique per user.';
comment on column public.token_payments.status is 'pending, approved, rejected, refunded.';
comment on column public.token_payments.provider is 'manual, stripe or paypal.';
comment on column public.token_payments.provider_payment_id is 'The provider''s id of it, unique per provider (see tokenbook.provider_payments).';
comment on column public.token_payments.from_plan is 'The plan they were on; NULL = none, or a pack was bought, which leaves it alone.';
comment on column public.token_payments.to_plan is 'The plan they pay for; or a pack.';
comment on column public.token_payments.pack_type is 'The pack they pay for; or a plan.';
comment on column public.token_payments.quantity is 'How many packs; of a plan always 1.';
comment on column public.token_payments.amount_cents is 'The price of all of them, in cents of the currency; of a provider''s payment what was paid.';
comment on column public.token_payments.currency is 'ISO 4217, lower case.';
comment on column public.token_payments.terms is 'What is given for it, as the catalogue said when it was asked for, or when it was booked: of a pack {name, tokens (of one), lifetime_days, priority}, of a plan {name, tokens, grant_lifetime_days, issue_every, issue_on, refill_to, articles_limit, storage_gb, features}. What the catalogue says now: token_offer_now.';
comment on column public.token_payments.tokens is 'Tokens it gave, up to now where its plan gives them over time; NULL until approved.';
comment on column public.token_payments.refunded_cents is 'Of the amount, how much has been refunded, or credited to the customer for unused time.';
comment on column public.token_payments.disputed_cents is 'Of the amount, how much disputes withhold that are open or lost.';
comment on column public.token_payments.tokens_clawed_back is 'Of its tokens, how many went with the money: taken back, become debt, or lapsed.';
comment on column public.token_payments.tokens_lapsed is 'Of these, how many nobody had any more: they had run out unspent, or been voided, before the money went back.';
comment on column public.token_payments.idempotency_key is 'The key it was asked for with, after user: or server:, whose it is.';
comment on column public.token_payments.reason is 'Why it was approved or rejected; NULL = no reason was given, or it is not decided yet.';
comment on column public.token_payments.created_at is 'When it was asked for.';
comment on column public.token_payments.decided_at is 'When it was decided.';
comment on column public.token_payments.decided_by is 'The admin who decided, or who said whose a parked payment is; NULL = the server.';

create unique index token_payments_provider_key on public.token_payments (user_id, provider, provider_payment_id)
  where provider_payment_id is not null;
create unique index token_payments_idempotency_key on public.token_payments (user_id, idempotency_key)
  where idempotency_key is not null;
create index token_payments_pending_idx on public.token_payments (created_at) where status = 'pending';
create index token_payments_user_pending_idx on public.token_payments (user_id) where status = 'pending';
create index token_payments_from_plan_idx on public.token_payments (from_plan);
create index token_payments_to_plan_idx on public.token_payments (to_plan);
create index token_payments_pack_idx on public.token_payments (pack_type) where pack_type is not null;

alter table public.token_payments enable row level security;
create policy "Users read their own payments" on public.token_payments
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
