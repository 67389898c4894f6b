-- A counter on the profile, and a function that takes from it: what most templates start with.
create table public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  full_name text,
  credits integer default 100
);
alter table public.profiles enable row level security;
create policy "own profile" on public.profiles for select using (auth.uid() = id);
create policy "own profile, written" on public.profiles for update using (auth.uid() = id) with check (auth.uid() = id);

create function public.decrement_credits(amount integer) returns integer language plpgsql security definer set search_path = public as $$
declare
  v_left integer;
begin
  update profiles set credits = credits - amount where id = auth.uid() and credits >= amount returning credits into v_left;
  if v_left is null then
    raise exception 'not enough credits';
  end if;
  return v_left;
end $$;

insert into auth.users (id, email)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user' || n || '@example.com' from generate_series(1, 500) n;
insert into public.profiles (id, full_name, credits)
select u.id, 'User', case when n % 7 = 0 then null when n % 11 = 0 then -n else n * 10 end
  from (select id, row_number() over (order by id)::integer as n from auth.users) u;
