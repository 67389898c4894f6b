/*
 * Takes tokens and storage out of user_profiles: many grants a user (token_balances, spent oldest
 * first), storage quotas (user_storage), and the counters of the profile archived, granted where
 * nothing else stands for their tokens, then dropped.
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

/*
 * A counter whose tokens nothing else stands for becomes a grant: of type plan, which never expires, as
 * the counter did not. Given are its tokens left, its tokens used and what admins deducted of it, so that
 * what was given less what was used is what is left. Who had spent everything has a grant with 0 left:
 * he was given his tokens once.
 *
 * Who has a grant keeps that one alone: the counter said the same tokens a second time, and giving them
 * twice is the worse failure.
 *
 * Several profiles of a user: the highest counter counts. NULL and below zero: 0. Fractions: rounded
 * down. Above 10^12, the most that a grant can have: 10^12. What is no number at all: refused. Every
 * counter is archived as it was.
 */
do $$
declare
  c_most constant bigint := 1000000000000;
  v_archived bigint;
  v_quotas bigint;
  v_no_number text;
  v_to_grant record;
  v_granted record;
  v_with_grants record;
begin
  -- to_jsonb reads a column that may be gone already, where naming it would not even parse
  select string_agg(format('%s of user %s is %s', w.name, w.user_id, w.value), ', ') into v_no_number
    from (
      select u.user_id, k.name, to_jsonb(u) ->> k.name as value
        from public.user_profiles u
       cross join unnest(array['vibe_assistant_tokens_remaining', 'vibe_assistant_tokens_used',
                               'vibe_assistant_total_cost', 'storage_quota_gb']) as k (name)
       where u.user_id is not null
         and to_jsonb(u) ->> k.name !~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$'
       order by u.user_id, k.name
       limit 20
    ) w;
  if v_no_number is not null then
    raise exception 'counters of user_profiles that are no numbers: %', v_no_number
      using hint = 'Put them right before you run this again. Nothing was changed.';
  end if;

  create temporary table profile_counters on commit drop as
  select p.user_id,
         (p.fields ->> 'vibe_assistant_tokens_remaining')::numeric as tokens_remaining,
         (p.fields ->> 'vibe_assistant_tokens_used')::numeric as tokens_used,
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

  create temporary table counters_to_grant on commit drop as
  select c.user_id, c.profiles, c.is_null, c.is_negative, c.has_fractions, c.is_huge, c.differ,
         r.tokens_remaining, r.tokens_used,
         least(r.tokens_remaining + r.tokens_used + coalesce(trail.deducted, 0), c_most)::bigint as tokens_granted,
         -- from the first that is known of the user on: recorded use cannot be older than the grant that paid it
         least(c.since, trail.since) as granted_at,
         exists (select from public.token_balances b where b.user_id = c.user_id) as has_grants
    from (
      select p.user_id, count(*) as profiles, min(p.created_at) as since,
             max(p.tokens_remaining) as remaining, max(p.tokens_used) as used,
             bool_and(p.tokens_remaining is null) as is_null,
             coalesce(max(p.tokens_remaining) < 0, false) as is_negative,
             coalesce(bool_or(p.tokens_remaining <> trunc(p.tokens_remaining) or p.tokens_used <> trunc(p.tokens_used)), false) as has_fractions,
             coalesce(greatest(max(p.tokens_remaining), max(p.tokens_used)) > c_most, false) as is_huge,
             count(distinct (p.tokens_remaining, p.tokens_used)) > 1 as differ
        from pg_temp.profile_counters p
       group by p.user_id
    ) c
   cross join lateral (
     select least(greatest(floor(coalesce(c.remaining, 0)), 0), c_most)::bigint as tokens_remaining,
            least(greatest(floor(coalesce(c.used, 0)), 0), c_most)::bigint as tokens_used) r
    left join (
      select u.user_id, min(u.created_at) as since,
             sum(abs(u.tokens_used::numeric)) filter (
               where u.action_type = 'admin_deduct' and coalesce((to_jsonb(u) ->> 'success')::boolean, true)) as deducted
        from public.token_usage u
       group by u.user_id
    ) trail on trail.user_id = c.user_id;

  with granted as (
    insert into public.token_balances
      (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, created_at, metadata)
    select c.user_id, 'plan', c.tokens_granted, c.tokens_remaining, c.granted_at, null, now(),
           -- as the counter had it: the app may spend of the grant before the books open
           jsonb_build_object('source', 'user_profiles', 'tokens_remaining', c.tokens_remaining, 'tokens_used', c.tokens_used)
      from pg_temp.counters_to_grant c
     where not c.has_grants and c.tokens_granted > 0
    returning user_id, tokens_remaining
  )
  select count(*) as users, coalesce(sum(g.tokens_remaining), 0) as tokens into v_granted from granted g;

  -- Count before believing.
  select count(*) filter (where c.tokens_granted > 0) as users,
         coalesce(sum(c.tokens_remaining), 0) as tokens,
         count(*) filter (where c.is_null) as nulls,
         count(*) filter (where c.is_negative) as negatives,
         count(*) filter (where c.has_fractions) as fractions,
         count(*) filter (where c.is_huge) as huge,
         count(*) filter (where c.differ) as differing
    into v_to_grant
    from pg_temp.counters_to_grant c
   where not c.has_grants;
  if v_granted.users <> v_to_grant.users or v_granted.tokens <> v_to_grant.tokens
    or exists (
      select from pg_temp.counters_to_grant c
       where c.tokens_remaining > 0
         and not exists (select from public.token_balances b where b.user_id = c.user_id))
  then
    raise exception 'counters of % users with % tokens were to become grants, and % with % did; nothing was changed',
      v_to_grant.users, v_to_grant.tokens, v_granted.users, v_granted.tokens;
  end if;

  select count(*) as users, sum(c.tokens_remaining) as counted, sum(b.granted) as granted
    into v_with_grants
    from pg_temp.counters_to_grant c
   cross join lateral (
     select sum(b.tokens_remaining) as granted from public.token_balances b where b.user_id = c.user_id) b
   where c.has_grants;

  perform tokenbook.report('20251114000000_cleanup_user_profiles', concat_ws(E'\n',
    'Profiles:',
    format('  - Archived the counters of %s profiles', v_archived),
    format('  - Created %s storage quotas', v_quotas),
    format('  - Granted %s users what their counter had, %s tokens: nothing else stood for them', v_granted.users, v_granted.tokens),
    case when v_to_grant.nulls > 0 then format('  - %s of the counters were NULL: taken for 0', v_to_grant.nulls) end,
    case when v_to_grant.negatives > 0 then format('  - %s of the counters were below zero: taken for 0', v_to_grant.negatives) end,
    case when v_to_grant.fractions > 0 then format('  - %s of the counters had fractions: rounded down', v_to_grant.fractions) end,
    case when v_to_grant.huge > 0 then format('  - %s of the counters were above 10^12, the most a grant can have: cut to that', v_to_grant.huge) end,
    case when v_to_grant.differing > 0 then format('  - %s of the users have several profiles that differ: the highest counter counts', v_to_grant.differing) end,
    case when v_with_grants.users > 0 then format(
      '  - %s users have grants, with %s tokens: these stand, and their counters, which say %s, are archived only',
      v_with_grants.users, v_with_grants.granted, v_with_grants.counted) end));
  drop table pg_temp.profile_counters, pg_temp.counters_to_grant;
end
$$;

alter table public.user_profiles
  drop column if exists vibe_assistant_tokens_remaining,
  drop column if exists vibe_assistant_tokens_used,
  drop column if exists vibe_assistant_total_cost,
  drop column if exists storage_quota_gb;
