-- One row a storage quota that a user was given; together, those that count are their quota.
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
  'Storage quotas given to a user. Their quota is the sum of those that count (get_user_storage_quota): what came with a plan counts while that plan is in force. Users see those alone. What they use of it is counted where the files are.';
comment on column public.token_storage_quotas.user_id is 'The user.';
comment on column public.token_storage_quotas.id is 'The quota; unique per user.';
comment on column public.token_storage_quotas.quota_gb is 'Gigabytes.';
comment on column public.token_storage_quotas.granted_at is 'Since when.';
comment on column public.token_storage_quotas.subscription_id is 'The subscription it came with.';
comment on column public.token_storage_quotas.metadata is 'Where it came from: plan, when it came with one.';
comment on column public.token_storage_quotas.created_at is 'When it was booked.';

-- which rows a user reads: tokenbook.is_storage_in_force
alter table public.token_storage_quotas enable row level security;
