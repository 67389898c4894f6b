-- One row a storage quota that a user was given; together they are his quota.
create table public.user_storage (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  quota_gb integer not null,
  granted_at timestamptz not null default clock_timestamp(),
  subscription_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint user_storage_pkey primary key (user_id, id),
  constraint user_storage_quota_is_positive check (quota_gb > 0)
);
comment on table public.user_storage is
  'Storage quotas given to a user; his quota is their sum. What he uses of it is counted where the files are.';
comment on column public.user_storage.user_id is 'The user.';
comment on column public.user_storage.id is 'The quota; unique per user.';
comment on column public.user_storage.quota_gb is 'Gigabytes.';
comment on column public.user_storage.granted_at is 'Since when.';
comment on column public.user_storage.subscription_id is 'The subscription it came with.';
comment on column public.user_storage.metadata is 'Where it came from.';
comment on column public.user_storage.created_at is 'When it was booked.';

alter table public.user_storage enable row level security;
create policy "Users read their own storage quotas" on public.user_storage
  for select to authenticated
  using ((select auth.uid()) = user_id);
