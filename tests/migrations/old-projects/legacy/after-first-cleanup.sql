-- What the first published clean-up left: its two tables (in integers, with keys that take grants
-- away with a deleted user), its functions, the counters dropped.
create table public.token_balances (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  grant_type text not null,
  tokens_granted integer not null,
  tokens_remaining integer not null,
  granted_at timestamptz not null default now(),
  expires_at timestamptz,
  subscription_id uuid references public.customer_subscriptions (id) on delete set null,
  token_pack_id text,
  metadata jsonb default '{}',
  created_at timestamptz default now()
);
create index idx_token_balances_user_id on public.token_balances (user_id);
create table public.user_storage (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  quota_gb integer not null,
  granted_at timestamptz not null default now(),
  subscription_id uuid,
  metadata jsonb default '{}',
  created_at timestamptz default now()
);
insert into public.user_storage (user_id, quota_gb)
select p.user_id, coalesce(p.storage_quota_gb, 25) from public.user_profiles p;
alter table public.user_profiles
  drop column vibe_assistant_tokens_remaining,
  drop column vibe_assistant_tokens_used,
  drop column vibe_assistant_total_cost,
  drop column storage_quota_gb;

create function public.get_user_token_balance(p_user_id uuid)
returns table (total_active integer, total_expired integer) language sql stable
as $$ select sum(tokens_remaining)::integer, 0 from public.token_balances where user_id = p_user_id $$;
create function public.deduct_tokens_with_fifo(p_user_id uuid, p_tokens_to_deduct integer)
returns jsonb language sql as $$ select '{"success": true}'::jsonb $$;
create function public.grant_annual_tokens(p_user_id uuid, p_subscription_id uuid)
returns void language sql security definer
as $$ insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining) values (p_user_id, 'annual', 5000000, 5000000) $$;
grant all on all tables in schema public to anon, authenticated, service_role;

-- the CLI's own record that this version has run
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key, statements text[], name text);
insert into supabase_migrations.schema_migrations (version, name) values ('20251114000000', 'cleanup_user_profiles');
