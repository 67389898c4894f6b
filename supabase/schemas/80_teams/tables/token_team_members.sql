-- Which members spend from which payer's account, or did: one row a payer and member. On the payer's side, so that
-- the lock of the payer's account covers it.
create table public.token_team_members (
  user_id uuid not null,
  member_id uuid not null,
  cap_day bigint,
  cap_week bigint,
  cap_month bigint,
  tokens_used bigint not null default 0,
  spent_at timestamptz,
  spent_day bigint not null default 0,
  spent_week bigint not null default 0,
  spent_month bigint not null default 0,
  since timestamptz not null default clock_timestamp(),
  until timestamptz,
  constraint token_team_members_pkey primary key (user_id, member_id),
  constraint token_team_members_are_not_their_payers check (user_id <> member_id),
  constraint token_team_members_caps_are_within_limits check (
    least(cap_day, cap_week, cap_month) >= 0 and greatest(cap_day, cap_week, cap_month) <= 1000000000000),
  constraint token_team_members_leave_after_they_came check (until >= since)
) with (fillfactor = 80); -- room for HOT updates: a row changes with all that its member spends

comment on table public.token_team_members is
  'Teams: which members spend from which payer''s account, how much of it at most, and how much so far. token_accounts.payer_id says the same of the present, on the member''s side. Written by the functions only.';
comment on column public.token_team_members.user_id is 'The payer, whose account it is.';
comment on column public.token_team_members.member_id is 'The member.';
comment on column public.token_team_members.cap_day is 'Tokens that the member may spend of it in a day (UTC); NULL = no cap.';
comment on column public.token_team_members.cap_week is 'In a week (ISO, from Monday).';
comment on column public.token_team_members.cap_month is 'In a month.';
comment on column public.token_team_members.tokens_used is 'Tokens of it that the member has used, less what was refunded.';
comment on column public.token_team_members.spent_at is 'In which day, week and month the next three were counted.';
comment on column public.token_team_members.spent_day is 'Tokens spent or set aside in that day.';
comment on column public.token_team_members.spent_week is 'In that week.';
comment on column public.token_team_members.spent_month is 'In that month.';
comment on column public.token_team_members.since is 'When the member joined, the last time.';
comment on column public.token_team_members.until is 'When the member left; NULL = still in it.';

create index token_team_members_member_idx on public.token_team_members (member_id);
-- a page of a team, those of today first
create index token_team_members_page_idx on public.token_team_members (user_id, (until is not null), member_id);

alter table public.token_team_members enable row level security;
create policy "Payers and members read their own" on public.token_team_members
  for select to authenticated
  using ((select tokenbook.caller_id()) in (user_id, member_id));
