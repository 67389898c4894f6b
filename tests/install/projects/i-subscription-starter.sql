-- A starter for subscriptions: users, customers, a catalogue that a webhook copies from the payment provider, enums of its
-- own, a publication of two tables, and messages that each user may send.
create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  full_name text,
  avatar_url text,
  billing_address jsonb,
  payment_method jsonb,
  message_credits integer not null default 25
);
alter table public.users enable row level security;
create policy "see own user" on public.users for select using ((select auth.uid()) = id);
create policy "change own user" on public.users for update using ((select auth.uid()) = id);
revoke update on public.users from authenticated, anon;
grant update (full_name, avatar_url) on public.users to authenticated;

create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.users (id, full_name, avatar_url)
  values (new.id, new.raw_user_meta_data ->> 'full_name', new.raw_user_meta_data ->> 'avatar_url');
  return new;
end $$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();

create table public.customers (id uuid primary key references auth.users (id), stripe_customer_id text);
alter table public.customers enable row level security;

create type public.pricing_type as enum ('one_time', 'recurring');
create type public.pricing_plan_interval as enum ('day', 'week', 'month', 'year');
create type public.subscription_status as enum ('trialing', 'active', 'canceled', 'past_due', 'unpaid', 'paused');
create table public.products (id text primary key, active boolean, name text, metadata jsonb);
create table public.prices (
  id text primary key,
  product_id text references public.products (id),
  active boolean,
  unit_amount bigint,
  currency text check (char_length(currency) = 3),
  type public.pricing_type,
  interval public.pricing_plan_interval
);
create table public.subscriptions (
  id text primary key,
  user_id uuid not null references auth.users (id),
  status public.subscription_status,
  price_id text references public.prices (id),
  current_period_end timestamptz not null default now()
);
alter table public.products enable row level security;
alter table public.prices enable row level security;
alter table public.subscriptions enable row level security;
create policy "everyone reads products" on public.products for select using (true);
create policy "everyone reads prices" on public.prices for select using (true);
create policy "own subscriptions" on public.subscriptions for select using ((select auth.uid()) = user_id);
drop publication if exists supabase_realtime;
create publication supabase_realtime for table public.products, public.prices;

create function public.send_message(p_text text) returns integer language plpgsql security definer set search_path = '' as $$
declare
  v_left integer;
begin
  update public.users set message_credits = message_credits - 1
   where id = auth.uid() and message_credits > 0
  returning message_credits into v_left;
  if not found then
    raise exception 'out of messages' using errcode = 'P0001';
  end if;
  return v_left;
end $$;

insert into auth.users (id, email, raw_user_meta_data)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n || '@example.com', jsonb_build_object('full_name', 'User ' || n)
  from generate_series(1, 40) n;
update public.users set message_credits = 1000 where id in (select id from auth.users order by id limit 10);
insert into public.products values ('prod_pro', true, 'Pro', '{"index": 0}');
insert into public.prices values ('price_pro', 'prod_pro', true, 1900, 'usd', 'recurring', 'month');
insert into public.subscriptions (id, user_id, status, price_id)
select 'sub_' || substr(id::text, 35), id, 'active', 'price_pro' from auth.users order by id limit 10;
insert into public.customers select user_id, 'cus_' || substr(id, 5) from public.subscriptions;
