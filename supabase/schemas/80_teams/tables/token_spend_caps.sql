-- How much a user may spend in a day, a week or a month: caps of single users, one row each.
create table public.token_spend_caps (
  user_id uuid not null,
  spend_window text not null,
  tokens bigint not null,
  reason text,
  actor_role text not null,
  actor_id uuid,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_spend_caps_pkey primary key (user_id, spend_window),
  constraint token_spend_caps_window_is_known check (spend_window in ('day', 'week', 'month')),
  constraint token_spend_caps_are_within_limits check (tokens between 0 and 1000000000000)
);
comment on table public.token_spend_caps is
  'Caps of single users: tokens that one may spend in a window. The tightest of these, the plan''s and everyone''s holds. Written by set_token_spend_cap.';
comment on column public.token_spend_caps.user_id is 'The user.';
comment on column public.token_spend_caps.spend_window is 'day, week (ISO, from Monday) or month; in UTC, from midnight to midnight.';
comment on column public.token_spend_caps.tokens is 'Tokens that may be spent in it, 0 to 10^12.';
comment on column public.token_spend_caps.reason is 'The reason given by the caller who set it; NULL = none was given.';
comment on column public.token_spend_caps.actor_role is 'Who set it: admin or service.';
comment on column public.token_spend_caps.actor_id is 'Which admin.';
comment on column public.token_spend_caps.updated_at is 'Since when it is as it is.';

alter table public.token_spend_caps enable row level security;
create policy "Users read their own caps" on public.token_spend_caps
  for select to authenticated
  using ((select tokenbook.caller_id()) = user_id);
