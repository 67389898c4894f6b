-- Whether and how a user's tokens are to be topped up by themselves. One row a user.
create table public.token_top_ups (
  user_id uuid primary key,
  is_enabled boolean not null,
  below_tokens bigint not null,
  tokens bigint,
  plan_type text references public.token_plans (plan_type),
  pack_type text references public.token_packs (pack_type),
  quantity integer not null default 1,
  cooldown_seconds integer not null,
  max_requests integer not null,
  window_seconds integer not null,
  paused_at timestamptz,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_top_ups_threshold_is_within_limits check (below_tokens between 1 and 1000000000000),
  constraint token_top_ups_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_top_ups_buy_tokens_a_plan_or_packs check (num_nonnulls(tokens, plan_type, pack_type) = 1),
  constraint token_top_ups_count_packs check (
    quantity between 1 and case when pack_type is null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end),
  constraint token_top_ups_cooldown_is_within_limits check (cooldown_seconds between 30 and 2592000),
  constraint token_top_ups_cap_is_within_limits check (max_requests between 1 and 100),
  constraint token_top_ups_window_is_within_limits check (window_seconds between 60 and 2592000)
);
comment on table public.token_top_ups is
  'Automatic top-up: when to ask for more tokens, for how many, and how often at most. Written by the functions only.';
comment on column public.token_top_ups.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_top_ups.is_enabled is 'Whether it is switched on.';
comment on column public.token_top_ups.below_tokens is 'Asked for when fewer tokens than this can be spent.';
comment on column public.token_top_ups.tokens is 'Tokens to buy; or a plan, or packs.';
comment on column public.token_top_ups.plan_type is 'The plan to buy; or tokens, or packs.';
comment on column public.token_top_ups.pack_type is 'The pack to buy; or tokens, or a plan.';
comment on column public.token_top_ups.quantity is 'How many packs to buy; of anything else 1.';
comment on column public.token_top_ups.cooldown_seconds is 'Seconds from the last request, or from its outcome, to the next at least.';
comment on column public.token_top_ups.max_requests is 'Requests in window_seconds at most.';
comment on column public.token_top_ups.window_seconds is 'The window of max_requests.';
comment on column public.token_top_ups.paused_at is 'Since when nothing is asked for, because a charge has failed; until it is set anew.';
comment on column public.token_top_ups.updated_at is 'When it was last set, or paused.';

create index token_top_ups_plan_idx on public.token_top_ups (plan_type) where plan_type is not null;
create index token_top_ups_pack_idx on public.token_top_ups (pack_type) where pack_type is not null;

alter table public.token_top_ups enable row level security;
create policy "Users read their own top-up" on public.token_top_ups
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
