-- The project's own types of grants, beside those that every project has. Data of the project; no migration overwrites a row.
create table public.token_grant_types (
  grant_type text primary key,
  lifetime_hours integer,
  priority smallint not null default 50,
  pays_for jsonb,
  created_at timestamptz not null default now(),
  constraint token_grant_types_name_is_plain check (grant_type ~ '^[a-z][a-z0-9_]{0,63}$'),
  constraint token_grant_types_are_their_own check (not tokenbook.built_in_grant_types() ? grant_type),
  constraint token_grant_types_lifetime_is_positive check (lifetime_hours between 1 and 876000),
  constraint token_grant_types_pays_for_is_plain check (tokenbook.broken_pays_for(pays_for) is null),
  constraint token_grant_types_priority_is_within_limits check (priority between 0 and 100)
);
comment on table public.token_grant_types is
  'The project''s own types of grants, beside those of Lists: what a grant of one has where nothing else is said. The project''s own data, changed by set_token_grant_type; a type stays, as grants of it do; any signed-in user may read it.';
comment on column public.token_grant_types.grant_type is 'The type, as grants name it.';
comment on column public.token_grant_types.lifetime_hours is 'How many hours a grant lives, 1 to 876,000; NULL = for ever.';
comment on column public.token_grant_types.priority is '0 to 100, default 50; grants with a lower number are spent first.';
comment on column public.token_grant_types.pays_for is 'What a grant pays for, as in token_balances: {actions, models}; NULL = everything.';
comment on column public.token_grant_types.created_at is 'When it was made.';

alter table public.token_grant_types enable row level security;
create policy "Everyone who is signed in reads which grants there are" on public.token_grant_types
  for select to authenticated
  using (true);
