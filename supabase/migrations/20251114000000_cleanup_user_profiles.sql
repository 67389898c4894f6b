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
 * they were given their tokens once.
 *
 * Of a user who has grants, the counter said the same tokens a second time, and giving them twice is the
 * worse failure: it is archived only. What it has beyond all that their grants ever gave cannot come from
 * these: that excess becomes a grant of its own, of type plan, which never expires. Recorded use that the
 * counter says nothing of is no excess: it was not deducted from the counter, and is taken off first.
 *
 * A counter of 0 is a fact too: its user begins with 0, and no plan is given to them for it
 * (tokenbook.grant_initial_plan). NULL says nothing: without use beside it, the user is as new.
 *
 * A profile without a user, with tokens or storage, is refused: nobody can be given them.
 *
 * Several profiles of a user: the highest counter counts. NULL and below zero: 0. Fractions: rounded
 * down. Above 10^12, the most that a grant can have: 10^12. What is no number at all: refused. Every
 * counter is archived as it was.
 */
do $$
declare
  c_most constant bigint := 1000000000000;
  c_columns constant text[] := array['vibe_assistant_tokens_remaining', 'vibe_assistant_tokens_used',
                                     'vibe_assistant_total_cost', 'storage_quota_gb'];
  v_archived bigint;
  v_quotas bigint;
  c_no_use constant text[] := array['admin_grant', 'admin_deduct', 'subscription_grant', 'renewal_grant',
                                    'trial_grant', 'token_pack_purchase', 'pack_purchase'];
  v_columns name[];
  v_user_type text;
  v_dependents text;
  v_no_number text;
  v_ownerless record;
  v_to_grant record;
  v_granted record;
  v_beyond record;
  v_with_grants record;
begin
  select array_agg(a.attname order by a.attnum) filter (where a.attname = any (c_columns)),
         max(format_type(a.atttypid, a.atttypmod)) filter (where a.attname = 'user_id')
    into v_columns, v_user_type
    from pg_attribute a
   where a.attrelid = 'public.user_profiles'::regclass and a.attnum > 0 and not a.attisdropped;
  if v_user_type is distinct from 'uuid' then
    if v_columns is null then
      return; -- the app's own table, and no counters in it
    end if;
    raise exception 'user_profiles has %, and % says whose they are', array_to_string(v_columns, ', '),
      coalesce('its user_id of type ' || v_user_type || ', not uuid,', 'no column user_id')
      using hint = 'Give user_profiles a column user_id of type uuid before you run this again. Nothing was changed.';
  end if;

  select string_agg(distinct coalesce('view ' || r.ev_class::regclass, pg_describe_object(d.classid, d.objid, d.objsubid)), ', ')
    into v_dependents
    from pg_depend d
    join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid and a.attname = any (v_columns)
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
   where d.refclassid = 'pg_class'::regclass and d.refobjid = 'public.user_profiles'::regclass and d.deptype = 'n';
  if v_dependents is not null then
    raise exception 'the counters of user_profiles are dropped here, and these use them: %', v_dependents
      using hint = 'Drop them, and make them anew from public.token_counters when all migrations have run. Nothing was changed.';
  end if;

  -- to_jsonb reads a column that may be gone already, where naming it would not even parse
  select string_agg(format('%s of user %s is %s', w.name, coalesce(w.user_id::text, 'NULL'), w.value), ', ') into v_no_number
    from (
      select u.user_id, k.name, to_jsonb(u) ->> k.name as value
        from public.user_profiles u
       cross join unnest(c_columns) as k (name)
       where to_jsonb(u) ->> k.name !~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$'
       order by u.user_id, k.name
       limit 20
    ) w;
  if v_no_number is not null then
    raise exception 'counters of user_profiles that are no numbers: %', v_no_number
      using hint = 'Put them right before you run this again. Nothing was changed.';
  end if;

  select count(*) as profiles,
         count(*) filter (where p.tokens > 0 or p.quota_gb > 0) as with_something,
         coalesce(sum(p.tokens) filter (where p.tokens > 0), 0) as tokens,
         coalesce(sum(p.quota_gb) filter (where p.quota_gb > 0), 0) as quota_gb
    into v_ownerless
    from (
      select (to_jsonb(u) ->> 'vibe_assistant_tokens_remaining')::numeric as tokens,
             (to_jsonb(u) ->> 'storage_quota_gb')::numeric as quota_gb
        from public.user_profiles u
       where u.user_id is null and to_jsonb(u) ?| c_columns
    ) p;
  if v_ownerless.with_something > 0 then
    raise exception '% profiles have no user_id, and % tokens and % GB of storage in their counters',
      v_ownerless.with_something, v_ownerless.tokens, v_ownerless.quota_gb
      using hint = 'Give each profile its user, or delete it, before you run this again. Nothing was changed.';
  end if;

  create temporary table profile_counters on commit drop as
  select p.user_id,
         (p.fields ->> 'vibe_assistant_tokens_remaining')::numeric as tokens_remaining,
         (p.fields ->> 'vibe_assistant_tokens_used')::numeric as tokens_used,
         (p.fields ->> 'vibe_assistant_total_cost')::numeric as total_cost,
         (p.fields ->> 'storage_quota_gb')::numeric::integer as quota_gb,
         coalesce((p.fields ->> 'created_at')::timestamptz, now()) as created_at
    from (select u.user_id, to_jsonb(u) as fields from public.user_profiles u) p
   where p.user_id is not null and p.fields ?| c_columns;

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
         g.has_grants,
         case when g.has_grants then greatest(r.tokens_remaining - n.tokens - g.tokens_granted, 0)::bigint else 0 end as tokens_beyond,
         n.tokens as tokens_not_deducted
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
   cross join lateral (
     select count(*) > 0 as has_grants,
            -- no grant can have another amount: such a row is left out when the books open
            coalesce(sum(b.tokens_granted) filter (where b.tokens_granted between 1 and c_most), 0) as tokens_granted
       from public.token_balances b
      where b.user_id = c.user_id) g
    left join (
      select u.user_id, min(u.created_at) as since,
             sum(abs(u.tokens_used::numeric)) filter (
               where u.action_type = 'admin_deduct' and coalesce((to_jsonb(u) ->> 'success')::boolean, true)) as deducted,
             sum(u.tokens_used::numeric) filter (
               where u.tokens_used > 0 and u.action_type <> all (c_no_use)
                 and coalesce((to_jsonb(u) ->> 'success')::boolean, true)) as used
        from public.token_usage u
       group by u.user_id
    ) trail on trail.user_id = c.user_id
    left join (
      select t.user_id, -sum(t.tokens_used::numeric) as used
        from public.token_transactions t
       where t.tokens_used < 0 and t.action_type <> all (c_no_use)
       group by t.user_id
    ) deductions on deductions.user_id = c.user_id
   cross join lateral (
     -- trail and transactions are two records of the same use
     select greatest(coalesce(greatest(trail.used, deductions.used), 0) - r.tokens_used, 0) as tokens) n;

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

  with granted as (
    insert into public.token_balances
      (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, created_at, metadata)
    select c.user_id, 'plan', c.tokens_beyond, c.tokens_beyond, now(), null, now(),
           jsonb_build_object('source', 'counter_beyond_grants', 'tokens_remaining', c.tokens_remaining, 'tokens_used', c.tokens_used)
      from pg_temp.counters_to_grant c
     where c.tokens_beyond > 0
    returning user_id, tokens_remaining
  )
  select count(*) as users, coalesce(sum(g.tokens_remaining), 0) as tokens into v_beyond from granted g;

  -- Count before believing.
  select count(*) filter (where c.tokens_granted > 0 and not c.has_grants) as users,
         coalesce(sum(c.tokens_remaining) filter (where not c.has_grants), 0) as tokens,
         count(*) filter (where c.tokens_beyond > 0) as users_beyond,
         coalesce(sum(c.tokens_beyond), 0) as tokens_beyond,
         count(*) filter (where c.tokens_granted = 0 and not c.is_null) as zeros,
         count(*) filter (where c.is_null) as nulls,
         count(*) filter (where c.is_negative) as negatives,
         count(*) filter (where c.has_fractions) as fractions,
         count(*) filter (where c.is_huge) as huge,
         count(*) filter (where c.differ) as differing
    into v_to_grant
    from pg_temp.counters_to_grant c
   where not c.has_grants or c.tokens_beyond > 0;
  if v_granted.users <> v_to_grant.users or v_granted.tokens <> v_to_grant.tokens then
    raise exception 'counters of % users with % tokens were to become grants, and % with % did; nothing was changed',
      v_to_grant.users, v_to_grant.tokens, v_granted.users, v_granted.tokens;
  end if;
  if v_beyond.users <> v_to_grant.users_beyond or v_beyond.tokens <> v_to_grant.tokens_beyond then
    raise exception '% users have counters with % tokens beyond their grants, and % with % were granted them; nothing was changed',
      v_to_grant.users_beyond, v_to_grant.tokens_beyond, v_beyond.users, v_beyond.tokens;
  end if;
  if exists (
    select from pg_temp.counters_to_grant c
     where c.tokens_remaining - c.tokens_not_deducted > (
       select coalesce(sum(b.tokens_granted) filter (where b.tokens_granted between 1 and c_most), 0)
         from public.token_balances b where b.user_id = c.user_id))
  then
    raise exception 'a counter has more than all grants of its user; nothing was changed';
  end if;

  select count(*) as users, sum(c.tokens_remaining) as counted, sum(b.granted) as granted
    into v_with_grants
    from pg_temp.counters_to_grant c
   cross join lateral (
     select sum(b.tokens_remaining) as granted from public.token_balances b where b.user_id = c.user_id) b
   where c.has_grants and c.tokens_beyond = 0;

  perform tokenbook.report('20251114000000_cleanup_user_profiles', concat_ws(E'\n',
    'Profiles:',
    format('  - Archived the counters of %s profiles', v_archived),
    format('  - Created %s storage quotas', v_quotas),
    format('  - Granted %s users what their counter had, %s tokens: nothing else stood for them', v_granted.users, v_granted.tokens),
    case when v_beyond.users > 0 then format(
      '  - Granted %s users what their counter had beyond all their grants, %s tokens', v_beyond.users, v_beyond.tokens) end,
    case when v_to_grant.zeros > 0 then format(
      '  - %s users have a counter with nothing in it and no grant: they begin with 0, and no plan is given to them', v_to_grant.zeros) end,
    case when v_ownerless.profiles > 0 then format('  - Left out %s profiles without a user: no tokens, no storage', v_ownerless.profiles) end,
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
