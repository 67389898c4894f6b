-- Caps of whole plans and of everyone. Not a user's rows, so a table of their own.
create table public.token_default_spend_caps (
  id uuid primary key default gen_random_uuid(), -- a publication takes no change of a table without one
  plan_type text references public.token_plans (plan_type),
  spend_window text not null,
  tokens bigint not null,
  reason text,
  actor_role text not null,
  actor_id uuid,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_default_spend_caps_key unique nulls not distinct (plan_type, spend_window),
  constraint token_default_spend_caps_window_is_known check (spend_window in ('day', 'week', 'month')),
  constraint token_default_spend_caps_are_within_limits check (tokens between 0 and 1000000000000)
);
comment on table public.token_default_spend_caps is
  'Caps of plans and of everyone: tokens that each user may spend in a window. Written by set_token_spend_cap.';
comment on column public.token_default_spend_caps.id is 'The cap.';
comment on column public.token_default_spend_caps.plan_type is 'For users on this plan; NULL = for everyone.';
comment on column public.token_default_spend_caps.spend_window is 'day, week (ISO, from Monday) or month; in UTC, from midnight to midnight.';
comment on column public.token_default_spend_caps.tokens is 'Tokens that each of them may spend in it, 0 to 10^12.';
comment on column public.token_default_spend_caps.reason is 'The reason given by the caller who set it; NULL = none was given.';
comment on column public.token_default_spend_caps.actor_role is 'Who set it: admin or service.';
comment on column public.token_default_spend_caps.actor_id is 'Which admin.';
comment on column public.token_default_spend_caps.updated_at is 'Since when it is as it is.';

alter table public.token_default_spend_caps enable row level security;
create policy "Signed-in users read the common caps" on public.token_default_spend_caps
  for select to authenticated
  using (true);
