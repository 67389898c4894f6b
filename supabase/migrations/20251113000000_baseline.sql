/*
 * Baseline: the tables that the next two migrations take for granted, as production had them
 * before the clean-up of November 2025. Each is created only where it is missing, so this file
 * runs on an old project (where it changes none of them) and on an empty one.
 *
 * It also brings what the data migrations share: the schema `tokenbook` (never exposed by the API),
 * a place where they report what they did, archives for what they take away, and the one piece of
 * code that turns a grant transaction into a grant.
 *
 * A project that has applied later versions already runs this with
 * `supabase migration up --include-all`.
 */

create schema if not exists tokenbook;
comment on schema tokenbook is
  'Tokenbook''s internals. Not exposed by the API; functions in it are reached through public wrappers only.';
revoke all on schema tokenbook from public, anon, authenticated, service_role;

-- What the old project had ----------------------------------------------------------------------

do $$
begin
  if to_regclass('public.user_profiles') is null then
    create table public.user_profiles (
      user_id uuid primary key references auth.users (id) on delete cascade,
      vibe_assistant_tokens_remaining integer not null default 0,
      vibe_assistant_tokens_used integer not null default 0,
      vibe_assistant_total_cost numeric(12, 4) not null default 0,
      storage_quota_gb integer,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    comment on table public.user_profiles is 'What the app keeps of its users. The app''s own: Tokenbook neither reads nor writes it.';
    comment on column public.user_profiles.user_id is 'The user.';
    comment on column public.user_profiles.created_at is 'Since when.';
    comment on column public.user_profiles.updated_at is 'When the profile last changed.';
    alter table public.user_profiles enable row level security;
    create policy "Users read their own profile" on public.user_profiles
      for select to authenticated
      using ((select auth.uid()) = user_id);
    revoke all on table public.user_profiles from public, anon, authenticated, service_role;
    grant select on table public.user_profiles to authenticated, service_role;
  end if;

  if to_regclass('public.token_usage') is null then
    create table public.token_usage (
      id uuid primary key default gen_random_uuid(),
      user_id uuid not null,
      action_type text not null,
      model_used text,
      tokens_used integer not null default 0,
      input_tokens integer,
      output_tokens integer,
      cost_estimate numeric(12, 4),
      success boolean not null default true,
      error_message text,
      metadata jsonb default '{}',
      created_at timestamptz not null default now()
    );
    alter table public.token_usage enable row level security;
    revoke all on table public.token_usage from public, anon, authenticated, service_role;
  end if;

  if to_regclass('public.token_transactions') is null then
    create table public.token_transactions (
      id uuid primary key default gen_random_uuid(),
      user_id uuid not null,
      action_type text not null,
      tokens_used integer not null, -- grants and purchases positive, deductions negative
      tokens_remaining integer,
      subscription_id uuid,
      metadata jsonb default '{}',
      created_at timestamptz not null default now()
    );
    alter table public.token_transactions enable row level security;
    revoke all on table public.token_transactions from public, anon, authenticated, service_role;
  end if;
end
$$;

-- What data migrations have to say --------------------------------------------------------------

create table if not exists tokenbook.migration_reports (
  id bigint generated always as identity primary key,
  migration text not null,
  report text not null,
  created_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.migration_reports is
  'What each data migration did, in words: the same text as its notice, kept because the Supabase CLI shows no notices. `npm run migrate` prints it.';
comment on column tokenbook.migration_reports.id is 'Order of writing.';
comment on column tokenbook.migration_reports.migration is 'Name of the migration file, without its extension.';
comment on column tokenbook.migration_reports.report is 'The text of the notice.';
comment on column tokenbook.migration_reports.created_at is 'When it was written.';
alter table tokenbook.migration_reports enable row level security;
revoke all on table tokenbook.migration_reports from public, anon, authenticated, service_role;

create or replace function tokenbook.report(p_migration text, p_report text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise notice '%', p_report;
  insert into tokenbook.migration_reports (migration, report) values (p_migration, p_report);
end
$$;
comment on function tokenbook.report(text, text) is
  'Raises a notice and keeps its text in tokenbook.migration_reports. For migrations only; nobody may execute it through the API.';
revoke all on function tokenbook.report(text, text) from public, anon, authenticated, service_role;

-- Where the data migrations keep what they take away -------------------------------------------

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
  'The token counters and storage quota that user_profiles had, copied before their columns were dropped. Never read by the books; kept for reconciliation.';
comment on column tokenbook.archived_profile_counters.id is 'Order of copying; a user with several profiles has several rows.';
comment on column tokenbook.archived_profile_counters.user_id is 'The user.';
comment on column tokenbook.archived_profile_counters.vibe_assistant_tokens_remaining is 'Tokens, as the profile had them.';
comment on column tokenbook.archived_profile_counters.vibe_assistant_tokens_used is 'Lifetime tokens, as the profile had them.';
comment on column tokenbook.archived_profile_counters.vibe_assistant_total_cost is 'Dollars (not cents), as the profile had it.';
comment on column tokenbook.archived_profile_counters.storage_quota_gb is 'Gigabytes, as the profile had it.';
comment on column tokenbook.archived_profile_counters.archived_at is 'When it was copied.';
create index if not exists archived_profile_counters_user_idx on tokenbook.archived_profile_counters (user_id);
alter table tokenbook.archived_profile_counters enable row level security;
revoke all on table tokenbook.archived_profile_counters from public, anon, authenticated, service_role;

create table if not exists tokenbook.cleared_token_balances (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  grant_row jsonb not null,
  why text not null,
  cleared_at timestamptz not null default now()
);
comment on table tokenbook.cleared_token_balances is
  'Whole copies of token_balances rows that a migration cleared or changed. Never read by the books.';
comment on column tokenbook.cleared_token_balances.id is 'Order of copying.';
comment on column tokenbook.cleared_token_balances.user_id is 'The user.';
comment on column tokenbook.cleared_token_balances.grant_row is 'The row as it was, every column of it.';
comment on column tokenbook.cleared_token_balances.why is 'Why it was cleared or changed.';
comment on column tokenbook.cleared_token_balances.cleared_at is 'When it was copied.';
create index if not exists cleared_token_balances_user_idx on tokenbook.cleared_token_balances (user_id);
alter table tokenbook.cleared_token_balances enable row level security;
revoke all on table tokenbook.cleared_token_balances from public, anon, authenticated, service_role;

-- From a grant transaction to a grant -----------------------------------------------------------

/*
 * Creates the missing grants (rows of token_balances) of all positive grant transactions.
 * Remaining is deliberately simple: 0 when the grant has expired, otherwise the full amount.
 * (Subtracting all usage from every grant is what once gave 100000 granted, -363843 remaining.)
 *
 * A transaction has its grant already when a row names it (legacy_transaction_id), when the
 * transaction names the row (metadata.balance_id), or when the app wrote both within a minute:
 * creating a second one would pay the user twice, which is the worse failure.
 *
 * Raises when there was something to migrate and nothing was created: the first version of this
 * looked for negative amounts, inserted nothing, and reported success.
 */
create or replace function tokenbook.move_legacy_grants(p_migration text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found bigint;
  v_users bigint;
  v_created bigint;
  v_already bigint;
  v_negative bigint;
  v_unknown bigint;
  v_ownerless bigint;
  c_grant_actions constant text[] := array['subscription_grant', 'renewal_grant', 'trial_grant',
    'token_pack_purchase', 'pack_purchase', 'admin_grant'];
begin
  select count(*) filter (where t.tokens_used > 0 and t.action_type = any (c_grant_actions) and t.user_id is not null),
         count(distinct t.user_id) filter (where t.tokens_used > 0 and t.action_type = any (c_grant_actions)),
         count(*) filter (where t.tokens_used > 0 and t.action_type <> all (c_grant_actions)),
         count(*) filter (where t.tokens_used > 0 and t.action_type = any (c_grant_actions) and t.user_id is null)
    into v_found, v_users, v_unknown, v_ownerless
    from public.token_transactions t;

  create temporary table pending_grants on commit drop as
  select t.id::text as legacy_transaction_id,
         t.user_id,
         t.action_type,
         t.tokens_used::bigint as tokens,
         t.created_at,
         coalesce(to_jsonb(t) -> 'metadata', '{}'::jsonb) as metadata,
         (to_jsonb(t) ->> 'subscription_id')::uuid as subscription_id
    from public.token_transactions t
   where t.action_type = any (c_grant_actions)
     and t.tokens_used <> 0
     and t.user_id is not null
     and not exists (
       select from public.token_balances b
        where b.user_id = t.user_id
          and (b.legacy_transaction_id = t.id::text
               or b.id::text = to_jsonb(t) -> 'metadata' ->> 'balance_id'
               or (b.legacy_transaction_id is null
                   and b.tokens_granted = t.tokens_used
                   and b.granted_at between t.created_at - interval '1 minute' and t.created_at + interval '1 minute')));

  select count(*) filter (where p.tokens < 0) into v_negative from pg_temp.pending_grants p;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at,
     subscription_id, legacy_transaction_id, metadata)
  select g.user_id, g.grant_type, g.tokens,
         case when g.expires_at <= now() then 0 else g.tokens end,
         g.created_at, g.expires_at, g.subscription_id, g.legacy_transaction_id,
         case when jsonb_typeof(g.metadata) = 'object' then g.metadata else '{}' end
    from (
      select p.*, k.grant_type,
             -- a day is 24 hours: adding '365 days' would depend on the session's time zone
             p.created_at + case k.grant_type
               when 'annual' then interval '8760 hours'
               when '28day' then interval '2160 hours'
               when 'trial' then interval '1344 hours'
               when 'admin' then interval '8760 hours'
             end as expires_at
        from pg_temp.pending_grants p
       cross join lateral (
         select case
           when p.action_type in ('subscription_grant', 'renewal_grant') and p.tokens >= 5000000 then 'annual'
           when p.action_type in ('subscription_grant', 'renewal_grant') then '28day'
           when p.action_type = 'trial_grant' then 'trial'
           when p.action_type in ('token_pack_purchase', 'pack_purchase') then 'purchase'
           when p.action_type = 'admin_grant' then 'admin'
         end as grant_type) k
       where p.tokens > 0
    ) g
   order by g.created_at, g.legacy_transaction_id;
  get diagnostics v_created = row_count;

  if v_created = 0 and exists (select from pg_temp.pending_grants) then
    raise exception 'there were % grant transactions to migrate and none was created',
      (select count(*) from pg_temp.pending_grants)
      using detail = format('%s of them have a negative amount; grants are expected to be positive.', v_negative),
            hint = 'Look at the sign of tokens_used in token_transactions before you run this again. Nothing was changed.';
  end if;

  v_already := v_found - v_created;
  perform tokenbook.report(p_migration, concat_ws(E'\n',
    'Migration Complete:',
    format('  - Found %s grant transactions', v_found),
    format('  - Created %s token_balance records', v_created),
    format('  - Covering %s unique users', v_users),
    case when v_already > 0 then format('  - Skipped %s: their grant exists already', v_already) end,
    case when v_negative > 0 then format('  - Skipped %s: the name of a grant with a negative amount', v_negative) end,
    case when v_unknown > 0 then format('  - Skipped %s: a positive amount, but the action type is not one of a grant', v_unknown) end,
    case when v_ownerless > 0 then format('  - Skipped %s: no user_id', v_ownerless) end));
  drop table pg_temp.pending_grants;
end
$$;
comment on function tokenbook.move_legacy_grants(text) is
  'Creates the missing token_balances rows of old grant transactions and reports the counts. Used by two migrations and dropped once the books are open.';
revoke all on function tokenbook.move_legacy_grants(text) from public, anon, authenticated, service_role;
