-- One row a storage quota that a user was given; together they are his quota.
create table public.token_storage_quotas (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  quota_gb integer not null,
  granted_at timestamptz not null default clock_timestamp(),
  subscription_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint token_storage_quotas_pkey primary key (user_id, id),
  constraint token_storage_quotas_quota_is_positive check (quota_gb > 0)
);
comment on table public.token_storage_quotas is
  'Storage quotas given to a user; his quota is their sum. What he uses of it is counted where the files are.';
comment on column public.token_storage_quotas.user_id is 'The user.';
comment on column public.token_storage_quotas.id is 'The quota; unique per user.';
comment on column public.token_storage_quotas.quota_gb is 'Gigabytes.';
comment on column public.token_storage_quotas.granted_at is 'Since when.';
comment on column public.token_storage_quotas.subscription_id is 'The subscription it came with.';
comment on column public.token_storage_quotas.metadata is 'Where it came from.';
comment on column public.token_storage_quotas.created_at is 'When it was booked.';

alter table public.token_storage_quotas enable row level security;
create policy "Users read their own storage quotas" on public.token_storage_quotas
  for select to authenticated
  using ((select auth.uid()) = user_id);
