/*
 * Takes tokens and storage out of user_profiles: many grants a user (token_balances, spent oldest
 * first), storage quotas (user_storage), and the counters of the profile archived, then dropped.
 *
 * Affected: token_balances and user_storage (created where missing, filled), user_profiles (four
 * columns dropped), tokenbook.archived_profile_counters (filled).
 *
 * This is the corrected form. The published one looked for negative grants (there are none: grants
 * are positive) and subtracted all usage from each grant. What it left behind is mended by
 * 20251114000001_hotfix_token_balances_data.sql; here its rows are left alone.
 */

create table if not exists public.token_balances (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  grant_type text not null,
  tokens_granted bigint not null,
  tokens_remaining bigint not null,
  granted_at timestamptz not null default now(),
  expires_at timestamptz,
  subscription_id uuid,
  metadata jsonb default '{}',
  created_at timestamptz default now()
);
alter table public.token_balances add column if not exists legacy_transaction_id text;
create index if not exists token_balances_user_idx on public.token_balances (user_id, granted_at);
alter table public.token_balances enable row level security;
revoke all on table public.token_balances from public, anon, authenticated, service_role;

create table if not exists public.user_storage (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null,
  quota_gb integer not null,
  granted_at timestamptz not null default now(),
  subscription_id uuid,
  metadata jsonb default '{}',
  created_at timestamptz default now()
);
alter table public.user_storage enable row level security;
revoke all on table public.user_storage from public, anon, authenticated, service_role;

-- Money outlives the user: no delete in auth.users may take grants with it.
do $$
declare
  v_key record;
begin
  for v_key in
    select c.conrelid::regclass as relation, c.conname
      from pg_constraint c
     where c.contype = 'f'
       and c.confrelid = 'auth.users'::regclass
       and c.conrelid in ('public.token_balances'::regclass, 'public.user_storage'::regclass)
  loop
    execute format('alter table %s drop constraint %I', v_key.relation, v_key.conname);
  end loop;
end
$$;

-- Grants ----------------------------------------------------------------------------------------

select tokenbook.move_legacy_grants('20251114000000_cleanup_user_profiles');

-- Counters and storage of the profiles ----------------------------------------------------------

do $$
declare
  v_archived bigint;
  v_quotas bigint;
  v_counter_only bigint;
begin
  -- to_jsonb reads a column that may be gone already, where naming it would not even parse
  create temporary table profile_counters on commit drop as
  select p.user_id,
         (p.fields ->> 'vibe_assistant_tokens_remaining')::numeric::bigint as tokens_remaining,
         (p.fields ->> 'vibe_assistant_tokens_used')::numeric::bigint as tokens_used,
         (p.fields ->> 'vibe_assistant_total_cost')::numeric as total_cost,
         (p.fields ->> 'storage_quota_gb')::numeric::integer as quota_gb,
         coalesce((p.fields ->> 'created_at')::timestamptz, now()) as created_at
    from (select u.user_id, to_jsonb(u) as fields from public.user_profiles u) p
   where p.user_id is not null
     and p.fields ?| array['vibe_assistant_tokens_remaining', 'vibe_assistant_tokens_used',
                           'vibe_assistant_total_cost', 'storage_quota_gb'];

  insert into tokenbook.archived_profile_counters
    (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost, storage_quota_gb)
  select c.user_id, c.tokens_remaining, c.tokens_used, c.total_cost, c.quota_gb
    from pg_temp.profile_counters c;
  get diagnostics v_archived = row_count;

  insert into public.user_storage (user_id, quota_gb, granted_at, metadata)
  select c.user_id, max(c.quota_gb), min(c.created_at), '{"source": "user_profiles"}'
    from pg_temp.profile_counters c
   where c.quota_gb > 0
     and not exists (select from public.user_storage s where s.user_id = c.user_id)
   group by c.user_id;
  get diagnostics v_quotas = row_count;

  select count(distinct c.user_id) into v_counter_only
    from pg_temp.profile_counters c
   where c.tokens_remaining > 0
     and not exists (select from public.token_balances b where b.user_id = c.user_id);

  perform tokenbook.report('20251114000000_cleanup_user_profiles', concat_ws(E'\n',
    'Profiles:',
    format('  - Archived the counters of %s profiles', v_archived),
    format('  - Created %s storage quotas', v_quotas),
    case when v_counter_only > 0 then format(
      '  - %s users had tokens on their counter and no grant at all: archived, not granted; see tokenbook.archived_profile_counters',
      v_counter_only) end));
  drop table pg_temp.profile_counters;
end
$$;

alter table public.user_profiles
  drop column if exists vibe_assistant_tokens_remaining,
  drop column if exists vibe_assistant_tokens_used,
  drop column if exists vibe_assistant_total_cost,
  drop column if exists storage_quota_gb;
