-- See migration 20251114000000_cleanup_user_profiles.
create table if not exists tokenbook.archived_profile_counters (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  vibe_assistant_tokens_remaining numeric,
  vibe_assistant_tokens_used numeric,
  vibe_assistant_total_cost numeric,
  storage_quota_gb integer,
  archived_at timestamptz not null default now()
);
comment on table tokenbook.archived_profile_counters is
  'The token counters and storage quota that user_profiles had, copied before their columns were dropped. Kept for reconciliation; a counter of 0 says that its user had tokens once, and no plan is given to them for it.';
comment on column tokenbook.archived_profile_counters.id is 'Order of copying; a user with several profiles has several rows.';
comment on column tokenbook.archived_profile_counters.user_id is 'The user.';
comment on column tokenbook.archived_profile_counters.vibe_assistant_tokens_remaining is 'Tokens, as the profile had them.';
comment on column tokenbook.archived_profile_counters.vibe_assistant_tokens_used is 'Lifetime tokens, as the profile had them.';
comment on column tokenbook.archived_profile_counters.vibe_assistant_total_cost is 'Dollars (not cents), as the profile had it.';
comment on column tokenbook.archived_profile_counters.storage_quota_gb is 'Gigabytes, as the profile had it.';
comment on column tokenbook.archived_profile_counters.archived_at is 'When it was copied.';
create index if not exists archived_profile_counters_user_idx on tokenbook.archived_profile_counters (user_id);
alter table tokenbook.archived_profile_counters enable row level security;
