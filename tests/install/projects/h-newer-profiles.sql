-- user_profiles with the seeds' counters, in a project whose migrations are newer than November 2025.
create table public.user_profiles (
  user_id uuid primary key references auth.users (id) on delete cascade,
  vibe_assistant_tokens_remaining integer not null default 5000000,
  vibe_assistant_tokens_used integer not null default 0,
  vibe_assistant_total_cost numeric(10, 4) default 0,
  storage_quota_gb integer default 25
);
alter table public.user_profiles enable row level security;
create policy "own" on public.user_profiles for select using (auth.uid() = user_id);
create function public.use_some(p_amount integer) returns integer language sql security definer set search_path = '' as
  'update public.user_profiles set vibe_assistant_tokens_remaining = vibe_assistant_tokens_remaining - $1,
          vibe_assistant_tokens_used = vibe_assistant_tokens_used + $1
    where user_id = auth.uid() returning vibe_assistant_tokens_remaining';
create function public.new_profile() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.user_profiles (user_id) values (new.id);
  return new;
end $$;
create trigger new_profile after insert on auth.users for each row execute function public.new_profile();
insert into auth.users (id, email) values
  ('00000000-0000-4000-8000-000000000001', 'a@example.com'), ('00000000-0000-4000-8000-000000000002', 'b@example.com');
