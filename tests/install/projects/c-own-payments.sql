-- Payments, subscriptions, storage and teams of the app's own, a function of our name with another result, and
-- a trigger on registration.
create table public.payments (id uuid primary key default gen_random_uuid(), user_id uuid references auth.users (id), amount numeric, status text default 'paid');
create table public.user_subscriptions (user_id uuid primary key references auth.users (id) on delete cascade, plan text not null default 'free', tokens integer default 0);
create table public.user_storage (user_id uuid primary key references auth.users (id), bytes bigint default 0);
create table public.teams (id bigint primary key, name text);
create table public.team_members (team_id bigint references public.teams (id) on delete cascade, user_id uuid references auth.users (id), primary key (team_id, user_id));
alter table public.payments enable row level security;
alter table public.user_subscriptions enable row level security;
alter table public.user_storage enable row level security;
alter table public.teams enable row level security;
alter table public.team_members enable row level security;
create policy "own payments" on public.payments for select using (auth.uid() = user_id);
create policy "own subscription" on public.user_subscriptions for select using (auth.uid() = user_id);
create policy "own storage" on public.user_storage for all using (auth.uid() = user_id);
create policy "members" on public.team_members for select using (auth.uid() = user_id);

create function public.get_user_token_balance(uuid) returns integer language sql stable security definer set search_path = public as
  'select tokens from user_subscriptions where user_id = $1';
create function public.can_ask(p_user uuid) returns boolean language plpgsql stable as $$
begin
  return public.get_user_token_balance(p_user) > 0;
end $$;
-- by its identity, not by its name
create policy "teams of those who can pay" on public.teams for select using (public.get_user_token_balance(auth.uid()) > 0);
create view public.paying as select user_id, public.get_user_token_balance(user_id) as tokens from public.user_subscriptions where plan <> 'free';

create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = public as $$
begin
  insert into user_subscriptions (user_id, tokens) values (new.id, 50);
  insert into user_storage (user_id) values (new.id);
  return new;
end $$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();

insert into auth.users (id, email) select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n || '@example.com' from generate_series(1, 20) n;
update public.user_subscriptions set plan = 'pro', tokens = 5000 where user_id in (select id from auth.users order by id limit 12);
insert into public.payments (user_id, amount) select user_id, 29 from public.user_subscriptions where plan = 'pro';
insert into public.teams values (1, 'First'), (2, 'Second');
insert into public.team_members select 1, id from auth.users order by id limit 5;
