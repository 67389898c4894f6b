-- A boilerplate that has `credits` in its profiles, a table of its own of each movement, and a guard so that nobody writes
-- their own credits.
create type public.credit_kind as enum ('bonus', 'purchase', 'usage', 'refund');
create table public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  email text unique,
  credits integer not null default 0 check (credits >= 0),
  updated_at timestamptz not null default now()
);
create table public.credit_transactions (
  id bigint generated always as identity primary key,
  user_id uuid not null references public.profiles (id) on delete cascade,
  amount integer not null check (amount <> 0),
  kind public.credit_kind not null,
  balance_after integer not null,
  description text,
  created_at timestamptz not null default now()
);
create index credit_transactions_user_idx on public.credit_transactions (user_id, created_at desc);
alter table public.profiles enable row level security;
alter table public.credit_transactions enable row level security;
create policy "own profile" on public.profiles for select to authenticated using (auth.uid() = id);
create policy "own profile, written" on public.profiles for update to authenticated using (auth.uid() = id) with check (auth.uid() = id);
create policy "own movements" on public.credit_transactions for select to authenticated using (auth.uid() = user_id);

create function public.protect_credits() returns trigger language plpgsql as $$
begin
  if new.credits is distinct from old.credits and current_user in ('authenticated', 'anon') then
    raise exception 'credits are not yours to write';
  end if;
  new.updated_at := now();
  return new;
end $$;
create trigger protect_credits before update on public.profiles for each row execute function public.protect_credits();

create function public.move_credits(p_user uuid, p_amount integer, p_kind public.credit_kind, p_description text default null)
returns integer language plpgsql security definer set search_path = public as $$
declare
  v_left integer;
begin
  select credits into v_left from profiles where id = p_user for update;
  if v_left is null or v_left + p_amount < 0 then
    return null;
  end if;
  update profiles set credits = credits + p_amount where id = p_user;
  insert into credit_transactions (user_id, amount, kind, balance_after, description)
  values (p_user, p_amount, p_kind, v_left + p_amount, p_description);
  return v_left + p_amount;
end $$;
revoke execute on function public.move_credits from public, anon, authenticated;
grant execute on function public.move_credits to service_role;
create function public.use_credits(p_amount integer) returns integer language sql security definer set search_path = public as
  'select move_credits(auth.uid(), -abs(p_amount), ''usage'')';

insert into auth.users (id, email)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n || '@example.com' from generate_series(1, 60) n;
insert into public.profiles (id, email) select id, email from auth.users;
select public.move_credits(id, 50, 'bonus', 'welcome') from auth.users order by id;
select public.move_credits(id, 500, 'purchase', 'pack') from auth.users order by id limit 20;
select public.move_credits(id, -37, 'usage') from auth.users order by id limit 30;
