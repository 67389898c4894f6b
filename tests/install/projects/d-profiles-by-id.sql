-- Profiles whose key is `id`; there is no user_id.
create table public.user_profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  first_name text,
  vibe_assistant_tokens_remaining integer default 5000
);
alter table public.user_profiles enable row level security;
create policy "own" on public.user_profiles using (auth.uid() = id);
create function public.rename_me(p_name text) returns text language sql security invoker as
  'update public.user_profiles set first_name = $1 where id = auth.uid() returning first_name';
insert into auth.users (id, email) values
  ('00000000-0000-4000-8000-000000000001', 'a@example.com'), ('00000000-0000-4000-8000-000000000002', 'b@example.com');
insert into public.user_profiles (id, first_name) select id, 'Ann' from auth.users;
