-- An old project as it was before the clean-up of November 2025: several profiles a user are
-- possible, counters are integers, policies let users write their own rows.
create table public.customer_subscriptions (id uuid primary key default gen_random_uuid());

create table public.user_profiles (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  first_name text,
  is_active boolean default true,
  vibe_assistant_tokens_remaining integer default 0,
  vibe_assistant_tokens_used integer default 0,
  vibe_assistant_total_cost numeric(10, 4) default 0,
  storage_quota_gb integer,
  created_at timestamptz default now()
);
alter table public.user_profiles enable row level security;
create policy "own profile" on public.user_profiles for all using (auth.uid() = user_id);

create table public.token_usage (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id) on delete cascade,
  action_type text not null check (action_type in ('chat_conversation', 'vision_generation', 'image_generation', 'admin_grant', 'admin_deduct')),
  model_used text,
  tokens_used integer not null,
  input_tokens integer,
  output_tokens integer,
  cost_estimate integer,
  success boolean default true,
  error_message text,
  metadata jsonb,
  created_at timestamptz default now()
);
alter table public.token_usage enable row level security;
create policy "own usage" on public.token_usage for all using (auth.uid() = user_id);

create table public.token_transactions (
  id uuid primary key default gen_random_uuid(),
  user_id uuid, -- no foreign key: rows outlived their users
  action_type text not null,
  tokens_used integer not null,
  tokens_remaining integer,
  estimated_cost_usd numeric(10, 6),
  openai_model text,
  subscription_id uuid references public.customer_subscriptions (id),
  token_pack_id text,
  metadata jsonb default '{}',
  created_at timestamptz default now()
);
grant all on all tables in schema public to anon, authenticated, service_role;
