-- One row a request for more tokens: what was asked for, at which price, and what came of it. The charge itself
-- is made by the caller that has claimed it (claim_token_top_ups), and kept where payments are.
create table public.token_top_up_requests (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'pending',
  tokens bigint,
  plan_type text references public.token_plans (plan_type),
  pack_type text references public.token_packs (pack_type),
  quantity integer not null default 1,
  amount_cents bigint,
  currency text,
  customer_id text,
  attempts integer not null default 0,
  first_attempt_at timestamptz,
  next_attempt_at timestamptz,
  reason text,
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint token_top_up_requests_pkey primary key (user_id, id),
  constraint token_top_up_requests_ask_for_tokens_a_plan_or_packs check (num_nonnulls(tokens, plan_type, pack_type) = 1),
  constraint token_top_up_requests_count_packs check (
    quantity between 1 and case when pack_type is null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end),
  constraint token_top_up_requests_reason_is_given check (length(reason) between 1 and 500),
  constraint token_top_up_requests_are_settled_once check (
    case status
      when 'pending' then settled_at is null and next_attempt_at is not null
      when 'done' then settled_at is not null and next_attempt_at is null
      when 'failed' then settled_at is not null and next_attempt_at is null
      else false
    end),
  constraint token_top_up_requests_attempts_have_a_first check ((attempts = 0) = (first_attempt_at is null))
);
comment on table public.token_top_up_requests is
  'Requests for more tokens, one at a time per user; settled by the server that charges. Written by the functions only.';
comment on column public.token_top_up_requests.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_top_up_requests.id is 'The request; unique per user. A good idempotency key for the charge.';
comment on column public.token_top_up_requests.status is 'pending; then once and for ever done or failed.';
comment on column public.token_top_up_requests.tokens is 'Tokens to buy; or a plan, or packs.';
comment on column public.token_top_up_requests.plan_type is 'The plan to buy; or tokens, or packs.';
comment on column public.token_top_up_requests.pack_type is 'The pack to buy; or tokens, or a plan.';
comment on column public.token_top_up_requests.quantity is 'How many packs to buy; of anything else 1.';
comment on column public.token_top_up_requests.amount_cents is 'What it costs, by the catalogue when the charge was first begun; NULL = it was not, or there is no price for it.';
comment on column public.token_top_up_requests.currency is 'ISO 4217, lower case.';
comment on column public.token_top_up_requests.customer_id is 'The customer at Stripe who pays, as known when the charge was first begun.';
comment on column public.token_top_up_requests.attempts is 'How often a charge was begun; all of them under one key.';
comment on column public.token_top_up_requests.first_attempt_at is 'When that was first.';
comment on column public.token_top_up_requests.next_attempt_at is 'When it is due to be charged (again); while somebody does, when that counts as lost. NULL = settled.';
comment on column public.token_top_up_requests.reason is 'What the server said of its outcome.';
comment on column public.token_top_up_requests.created_at is 'When it was asked for.';
comment on column public.token_top_up_requests.settled_at is 'When the server said what came of it.';

-- at most one pending request a user: whatever else goes wrong, no user is charged twice at a time
create unique index token_top_up_requests_one_pending_key
  on public.token_top_up_requests (user_id) where status = 'pending';
create index token_top_up_requests_due_idx
  on public.token_top_up_requests (next_attempt_at) where status = 'pending';
create index token_top_up_requests_time_idx on public.token_top_up_requests (user_id, created_at);
create index token_top_up_requests_plan_idx
  on public.token_top_up_requests (plan_type) where plan_type is not null;
create index token_top_up_requests_pack_idx
  on public.token_top_up_requests (pack_type) where pack_type is not null;

alter table public.token_top_up_requests enable row level security;
create policy "Users read their own top-up requests" on public.token_top_up_requests
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
