-- The app's own table: what is left of it once tokens and storage have moved out. A project that
-- had one keeps its columns, policies and grants as they are.
create table public.user_profiles (
  user_id uuid primary key references auth.users (id) on delete cascade,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.user_profiles is 'What the app keeps of its users. The app''s own: Tokenbook neither reads nor writes it.';
comment on column public.user_profiles.user_id is 'The user.';
comment on column public.user_profiles.created_at is 'Since when.';
comment on column public.user_profiles.updated_at is 'When the profile last changed.';
alter table public.user_profiles enable row level security;
create policy "Users read their own profile" on public.user_profiles
  for select to authenticated
  using ((select auth.uid()) = user_id);
revoke all on table public.user_profiles from public, anon, authenticated, service_role;
grant select on table public.user_profiles to authenticated, service_role;
