/*
 * Tokenbook, whole: made from supabase/schemas by `npm run migration:build`. Read those files, not this
 * one; change those, and make this anew.
 *
 * It takes nothing of the project that it is installed into and changes nothing of it: it makes schema
 * `tokenbook`, and in `public` the relations and functions that the check below lists. No user gets a
 * plan, a grant or a row by it.
 *
 * The tables are made here, empty: no lock on them is waited for, and there is nothing to validate.
 */

-- Would this succeed here? Looks only; refuses with one list, before anything is changed -----------

create function pg_temp.refuse_if_in_the_way() returns void language plpgsql set search_path = pg_catalog, pg_temp as $check$
declare
  c_relations constant text[] := array[
    'token_accounts', 'token_accounts_alerts_version_idx', 'token_accounts_due_idx',
    'token_accounts_pkey', 'token_action_costs', 'token_action_costs_pkey', 'token_alert_rules',
    'token_alert_rules_key', 'token_alert_rules_pkey', 'token_alert_rules_plan_idx', 'token_alerts',
    'token_alerts_crossing_key', 'token_alerts_given_up_idx', 'token_alerts_grant_key',
    'token_alerts_outbox_idx', 'token_alerts_pkey', 'token_balances',
    'token_balances_burn_order_idx', 'token_balances_expiring_first_idx',
    'token_balances_expiry_idx', 'token_balances_payment_key', 'token_balances_period_key',
    'token_balances_pkey', 'token_balances_rollover_key', 'token_balances_subscription_idx',
    'token_counters', 'token_default_spend_caps', 'token_default_spend_caps_key',
    'token_default_spend_caps_pkey', 'token_holds', 'token_holds_due_idx', 'token_holds_member_idx',
    'token_holds_pkey', 'token_holds_spender_idx', 'token_legacy_transactions',
    'token_legacy_transactions_pkey', 'token_model_prices', 'token_model_prices_pkey', 'token_packs',
    'token_packs_pkey', 'token_packs_stripe_price_id_key', 'token_payments',
    'token_payments_from_plan_idx', 'token_payments_idempotency_key', 'token_payments_pack_idx',
    'token_payments_pending_idx', 'token_payments_pkey', 'token_payments_provider_key',
    'token_payments_to_plan_idx', 'token_payments_user_pending_idx', 'token_plans',
    'token_plans_one_default_idx', 'token_plans_paypal_plan_id_key', 'token_plans_pkey',
    'token_plans_stripe_price_id_key', 'token_price_ids', 'token_spend_caps',
    'token_spend_caps_pkey', 'token_storage_quotas', 'token_storage_quotas_pkey',
    'token_subscriptions', 'token_team_members', 'token_team_members_member_idx',
    'token_team_members_page_idx', 'token_team_members_pkey', 'token_top_up_requests',
    'token_top_up_requests_due_idx', 'token_top_up_requests_one_pending_key',
    'token_top_up_requests_pack_idx', 'token_top_up_requests_pkey', 'token_top_up_requests_plan_idx',
    'token_top_up_requests_time_idx', 'token_top_ups', 'token_top_ups_pack_idx',
    'token_top_ups_pkey', 'token_top_ups_plan_idx', 'token_transactions',
    'token_transactions_idempotency_key', 'token_transactions_member_idx',
    'token_transactions_member_key', 'token_transactions_original_idx', 'token_transactions_pkey',
    'token_usage', 'token_usage_history', 'token_usage_member_idx', 'token_usage_pkey',
    'token_usage_user_idx'];
  c_functions constant text[] := array[
    'acknowledge_token_finding', 'add_token_team_member', 'adjust_tokens', 'approve_token_payment',
    'arm_token_alerts', 'assign_parked_token_payment', 'capture_tokens', 'change_token_plan',
    'check_token_installation', 'check_token_synchronization', 'check_token_trial',
    'checkpoint_token_ledger', 'claim_token_alerts', 'claim_token_top_ups', 'create_token_payment',
    'deduct_tokens_batch', 'deduct_tokens_with_fifo', 'dismiss_parked_token_payment',
    'estimate_tokens', 'expire_old_token_grants', 'explain_token_charge', 'find_token_discrepancies',
    'get_recent_token_usage', 'get_token_balance_as_of', 'get_token_customer', 'get_token_history',
    'get_token_spend_caps', 'get_user_storage_quota', 'get_user_token_balance',
    'get_users_with_high_token_usage', 'get_users_with_low_token_balance',
    'get_users_without_token_balance', 'grant_tokens', 'list_parked_token_payments',
    'list_token_changes', 'list_token_team_members', 'prepare_token_checkout',
    'reconcile_user_token_balance', 'record_token_payment_event', 'record_token_subscription_event',
    'refund_token_payment', 'refund_tokens', 'reject_token_payment', 'release_tokens',
    'remove_token_alert_rule', 'remove_token_team_member', 'renew_token_subscription',
    'replay_token_balances', 'reserve_tokens', 'restate_token_balances', 'retry_token_alerts',
    'reverse_token_restatement', 'set_token_account_state', 'set_token_alert_rule',
    'set_token_burn_order', 'set_token_customer', 'set_token_limit', 'set_token_pack',
    'set_token_plan', 'set_token_spend_cap', 'set_token_top_up', 'set_token_trial_policy',
    'settle_token_alert', 'settle_token_top_up', 'token_offer_now', 'tokens_used',
    'track_token_usage', 'verify_token_checkpoint', 'verify_token_ledger', 'void_token_grant'];
  -- what the migrations before this one make, in the project that has them, and what they say of the schema
  c_earlier constant text[] := array[
    'migration_reports', 'archived_profile_counters', 'cleared_token_balances', 'reconciled_profiles', 'report',
    'old_token_balances', 'old_token_usage', 'old_token_transactions', 'old_user_storage'];
  c_words constant text := 'Tokenbook''s internals. Not exposed by the API; functions in it are reached through public wrappers only.';
  v_public oid := (select oid from pg_namespace where nspname = 'public');
  v_tokenbook oid := (select oid from pg_namespace where nspname = 'tokenbook');
  v_users oid := (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'auth' and c.relname = 'users');
  v_identities oid := (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'auth' and c.relname = 'identities');
  v_not_ours text[];
  v_says_ours boolean;
  v_prefix text := 'app_';
  v_list text;
begin
  if exists (select from pg_class where relnamespace = v_public and relname = 'token_accounts')
     and exists (select from pg_class where relnamespace = v_tokenbook and relname = 'project_settings') then
    raise exception 'Tokenbook is installed here already, and nothing was changed.';
  end if;

  -- whose a schema tokenbook is: its comment, its owner and everything in it must say that it is ours
  v_says_ours := v_tokenbook is null or coalesce(
    (select obj_description(n.oid, 'pg_namespace') = c_words and pg_has_role(n.nspowner, 'usage') from pg_namespace n where n.oid = v_tokenbook), false);
  v_not_ours := array(
    select pg_describe_object(d.classid, d.objid, 0)
      from pg_depend d
     cross join lateral (select name[cardinality(name)] from pg_identify_object_as_address(d.classid, d.objid, 0) as a (type, name, args)) as o (name)
     where d.refclassid = 'pg_namespace'::regclass and d.refobjid = v_tokenbook
       and not (v_says_ours and d.classid in ('pg_class'::regclass, 'pg_proc'::regclass) and o.name = any (c_earlier))
       and not exists ( -- an identity's sequence goes with its table
         select from pg_depend i where i.classid = d.classid and i.objid = d.objid and i.refclassid = 'pg_class'::regclass and i.deptype in ('a', 'i'))
     order by 1);

  -- a prefix for new names under which everything in the way is free
  while exists (
    select from pg_class c where c.relnamespace = v_public and c.relname in (select left(v_prefix || r, 63) from unnest(c_relations) r)
    union all
    select from pg_type t where t.typnamespace = v_public and t.typname in (select left(v_prefix || r, 63) from unnest(c_relations) r)
    union all
    select from pg_proc p where p.pronamespace = v_public and p.proname in (select left(v_prefix || f, 63) from unnest(c_functions) f)
    union all
    select from pg_namespace n where n.nspname = v_prefix || 'tokenbook')
  loop
    v_prefix := v_prefix || 'own_';
  end loop;

  with object (classid, oid, schema, name, owner, kind) as (
    select 'pg_class'::regclass, c.oid, c.relnamespace, c.relname::text, c.relowner, 'relation' from pg_class c where c.relkind not in ('i', 'I', 't')
    union all
    select 'pg_type'::regclass, t.oid, t.typnamespace, t.typname::text, t.typowner, 'relation'
      from pg_type t
     where t.typrelid = 0 and not exists (select from pg_type e where e.typarray = t.oid) -- an array goes with its element
    union all
    select 'pg_proc'::regclass, p.oid, p.pronamespace, p.proname::text, p.proowner, 'function' from pg_proc p
  ), taken (name, kind, is_alone, is_one_kind) as materialized (
    select t.name, t.kind,
           not exists (select from object o where o.name = t.name and (o.schema <> v_public or o.kind <> t.kind))
             and not exists (select from pg_attribute a where a.attname = t.name and not a.attisdropped),
           not exists (select from object o where o.name = t.name and o.schema = v_public and o.kind <> t.kind)
      from (
        select distinct o.name, o.kind from object o
         where o.schema = v_public and o.name = any (case o.kind when 'relation' then c_relations else c_functions end)) t
  ), text_of as (
    select p.oid, p.oid::regprocedure::text as title, p.proowner, p.proargnames, l.lanname in ('sql', 'plpgsql') as is_sql,
           array_to_string(p.proconfig, ' ') as settings,
           regexp_replace(p.prosrc, $re$('[^']*')|--[^\n]*|/\*(?:[^*]|\*(?!/))*\*/$re$, '\1', 'g') as said,
           format('%I.%I(%s)',
                  case when p.pronamespace = v_tokenbook then v_prefix || 'tokenbook' else n.nspname end,
                  case when n.nspname = 'public' and p.proname = any (c_functions) then left(v_prefix || p.proname, 63) else p.proname end,
                  regexp_replace(oidvectortypes(p.proargtypes),
                    '\mpublic\.(' || coalesce((select string_agg(t.name, '|') from taken t where t.kind = 'relation'), 'tokenbook') || ')\M',
                    'public.' || v_prefix || '\1', 'g')) as signature
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
      join pg_language l on l.oid = p.prolang
     where p.prosqlbody is null and p.prokind <> 'a' and l.lanname not in ('c', 'internal')
       and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
       and (p.pronamespace is distinct from v_tokenbook or not v_says_ours)
       and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  ), mention as (
    select f.oid, f.title, f.proowner, f.signature, t.name, reference.pattern,
           f.is_sql and t.is_one_kind and
           (select count(*) from regexp_matches(f.said, '\m' || t.name || '\M', 'gi'))
             = (select count(*) from regexp_matches(regexp_replace(f.said, $re$'[^']*'$re$, ' ', 'g'), reference.pattern, 'gi'))
           -- with a dollar, or quoted in other case, it is another name
           and f.said !~* ('\$' || t.name || '|' || t.name || '\$')
           and (select count(*) from regexp_matches(f.said, '"' || t.name || '"', 'gi'))
             = (select count(*) from regexp_matches(f.said, '"' || t.name || '"', 'g')) as is_certain
      from text_of f
      join taken t on f.said ~* ('\m' || t.name || '\M')
     cross join lateral (
       select format(case t.kind when 'relation' then '(\mpublic"?\s*\.\s*%s)("?)\m(%s)\M\2(?!")' else '(\mpublic"?\s*\.\s*%s)("?)\m(%s)\M\2(?=\s*\()' end,
                     case when t.is_alone and t.name <> all (coalesce(f.proargnames, '{}')) then
                       case t.kind when 'relation' then '|\m(?:from|join|insert\s+into|update|only|table)\s+' else '|(?<![.\w"])' end end,
                     t.name)) as reference (pattern)
  ), search_path (whose, schemas) as materialized (
    select p.whose, array(select btrim(s, ' "') from unnest(string_to_array(p.setting, ',')) s)
      from (
        select 'the API', 'public, extensions'
        union all
        select 'this connection', s.reset_val from pg_settings s where s.name = 'search_path'
        union all
        select case when r.setrole = 0 then 'the database' else 'role ' || r.setrole::regrole end, substr(setting, strpos(setting, '=') + 1)
          from pg_db_role_setting r cross join unnest(r.setconfig) as setting
         where r.setdatabase in (0, (select oid from pg_database where datname = current_database()))
           and setting ~ '^(pgrst\.db_extra_)?search_path='
        union all
        select 'function ' || p.oid::regprocedure, substr(setting, strpos(setting, '=') + 1)
          from pg_proc p cross join unnest(p.proconfig) as setting where setting ~ '^search_path='
      ) as p (whose, setting)
  ), in_the_way (nth, what, classid, objid, owner, mending) as (
    select 1, format('PostgreSQL %s is too old: Tokenbook needs 15 or newer', current_setting('server_version')), 0::oid, 0::oid, null::oid, null
     where current_setting('server_version_num')::integer < 150000
    union all
    select 2, format('role %s is missing: this is not a Supabase database', r.name), 0, 0, null, null
      from unnest(array['anon', 'authenticated', 'service_role']) as r (name)
     where to_regrole(r.name) is null
    union all
    select 2, format('function auth.%s() is missing: this is not a Supabase database', f.name), 0, 0, null, null
      from unnest(array['uid', 'jwt']) as f (name)
     where not exists (
       select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'auth' and p.proname = f.name and p.pronargs = 0)
    union all
    select 2, 'table auth.users is missing: this is not a Supabase database', 0, 0, null, null where v_users is null
    union all
    select 2, 'table auth.identities is missing, or has no provider_id: the auth server is older than November 2023', 0, 0, null, null
     where not exists (
       select from pg_attribute a where a.attrelid = v_identities and a.attname = 'provider_id' and not a.attisdropped)
    union all
    select 3, format('%s may not make a schema in this database', current_user), 0, 0, d.datdba,
           format('grant create on database %I to %I', current_database(), current_user)
      from pg_database d
     where d.datname = current_database() and not has_database_privilege(current_database(), 'create') and v_tokenbook is null
    union all
    select 3, format('%s may not make tables and functions in schema public', current_user), 0, 0, n.nspowner,
           format('grant create on schema public to %I', current_user)
      from pg_namespace n
     where n.oid = v_public and not has_schema_privilege(n.oid, 'create')
    union all
    select 3, format('%s may not use schema auth', current_user), 0, 0, n.nspowner, format('grant usage on schema auth to %I', current_user)
      from pg_namespace n
     where n.nspname = 'auth' and not has_schema_privilege(n.oid, 'usage')
    union all
    select 3, format('%s may not add a trigger to auth.users, nor refer to it', current_user), 0, 0, c.relowner,
           format('grant select, references, trigger on auth.users to %I', current_user)
      from pg_class c
     where c.oid = v_users and not (has_table_privilege(c.oid, 'trigger') and has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'references'))
    union all
    select 3, format('%s may not read auth.identities', current_user), 0, 0, c.relowner,
           format('grant select on auth.identities to %I', current_user)
      from pg_class c
     where c.oid = v_identities and not has_table_privilege(c.oid, 'select')
    union all
    select 3, format('publication supabase_realtime belongs to %s, and %s may not add a table to it', p.pubowner::regrole, current_user), 0, 0, p.pubowner,
           format('alter publication supabase_realtime owner to %I', current_user)
      from pg_publication p
     where p.pubname = 'supabase_realtime' and not p.puballtables and not pg_has_role(p.pubowner, 'usage')
    union all
    select 4, format('schema tokenbook is there already, and Tokenbook did not make %s',
                     case cardinality(v_not_ours) when 0 then 'it' else array_to_string(v_not_ours[:5], ', ') end
                     || case when cardinality(v_not_ours) > 5 then format(' and %s more', cardinality(v_not_ours) - 5) else '' end),
           'pg_namespace'::regclass, n.oid, n.nspowner,
           case when v_says_ours then '-- move that out of the schema: the rest is what earlier migrations of Tokenbook made'
                else format('alter schema tokenbook rename to %I', v_prefix || 'tokenbook') end
      from pg_namespace n
     where n.oid = v_tokenbook and (not v_says_ours or v_not_ours <> '{}')
    union all
    -- before the tables: a table's name can be the type of an argument
    select 5, format('function %s, which returns %s, is there already', p.oid::regprocedure, pg_get_function_result(p.oid)),
           'pg_proc'::regclass, p.oid, p.proowner,
           format('alter routine public.%I(%s) rename to %I', p.proname, pg_get_function_identity_arguments(p.oid),
                  left(v_prefix || p.proname, 63))
      from pg_proc p
     where p.pronamespace = v_public and p.proname = any (c_functions)
    union all
    select 6, format('%s public.%I is there already', kind.name, c.relname), 'pg_class'::regclass, c.oid, c.relowner,
           format('alter %s public.%I rename to %I', kind.name, c.relname, left(v_prefix || c.relname, 63))
      from pg_class c
     cross join lateral (
       select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type'
                             when 'i' then 'index' when 'I' then 'index' when 'f' then 'foreign table' else 'table' end) as kind (name)
     where c.relnamespace = v_public and c.relname = any (c_relations)
    union all
    select 6, format('type public.%I is there already', t.typname), 'pg_type'::regclass, t.oid, t.typowner,
           format('alter %s public.%I rename to %I', case t.typtype when 'd' then 'domain' else 'type' end, t.typname,
                  left(v_prefix || t.typname, 63))
      from pg_type t
     where t.typnamespace = v_public and t.typname = any (c_relations) and t.typrelid = 0
       and not exists (select from pg_type e where e.typarray = t.oid)
    union all
    -- what is in the text of a function does not follow a new name by itself
    select 7, format('function %s says %s', m.title, m.name), 0, 0, m.proowner,
           format('do $do$ begin execute regexp_replace(pg_get_functiondef(%L::regprocedure), %L, %L, ''gi''); end $do$',
                  m.signature, m.pattern, '\1\2' || v_prefix || '\3\2')
      from mention m
     where m.is_certain
    union all
    select 8, format('function %s says %s, and it is not certain what that is', m.title, string_agg(m.name, ', ' order by m.name)),
           0, 0, null, '-- look at it, and change it by hand where it means what is renamed above'
      from mention m
     where not m.is_certain
     group by m.oid, m.title
    union all
    select 8, format('function %s names schema tokenbook', f.title), 0, 0, null, '-- look at it, and change it by hand'
      from text_of f
     where not v_says_ours and concat_ws(' ', f.said, f.settings) ~* '\mtokenbook\M'
    union all
    select 9, format('%s would be hidden by ours: schema %s stands after public on the search path of %s',
                     pg_describe_object(o.classid, o.oid, 0), o.schema::regnamespace,
                     array_to_string(found.whose[:3], ', ')
                     || case when cardinality(found.whose) > 3 then format(' and %s more', cardinality(found.whose) - 3) else '' end),
           0, 0, null, format('-- put %s before public there, or rename it', o.schema::regnamespace)
      from object o
      join pg_namespace n on n.oid = o.schema
     cross join lateral (
       select array_agg(distinct s.whose order by s.whose) as whose from search_path s
        where array_position(s.schemas, n.nspname::text) > array_position(s.schemas, 'public')) found
     where o.name = any (case o.kind when 'relation' then c_relations else c_functions end) and found.whose is not null
    union all
    select 10, 'trigger tokenbook_register_user on auth.users is there already', 0, 0, c.relowner,
           format('alter trigger tokenbook_register_user on auth.users rename to %I', v_prefix || 'tokenbook_register_user')
      from pg_class c
     where c.oid = v_users and exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'tokenbook_register_user')
  )
  select string_agg(concat_ws(E'\n',
           '  - ' || w.what || ', and belongs to extension ' || extension.name,
           case when extension.name is null then '  - ' || w.what end,
           '      used by ' || used.by || ' (what uses it follows the new name by itself)',
           case when not pg_has_role(w.owner, 'usage') then '      -- as ' || w.owner::regrole || ':' end,
           '      ' || w.mending || case when w.mending like '--%' then '' else ';' end), E'\n' order by w.nth, w.what)
    into v_list
    from in_the_way w
    left join lateral (
      select e.extname as name from pg_depend d join pg_extension e on e.oid = d.refobjid
       where d.classid = w.classid and d.objid = w.objid and d.deptype = 'e') extension on true
   cross join lateral (
     select string_agg(distinct d.what, ', ') as by
       from (
         -- a view's query is its rule
         select case when v.oid is null then pg_describe_object(d.classid, d.objid, 0) else pg_describe_object('pg_class'::regclass, v.oid, 0) end
           from pg_depend d
           left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
           left join pg_class v on v.oid = r.ev_class
          where d.refclassid = w.classid and d.refobjid = w.objid
            and d.deptype in ('n', 'a') and d.classid <> all (array['pg_attrdef'::regclass, 'pg_namespace'::regclass]::oid[])
            and v.oid is distinct from w.objid
            and w.classid <> 'pg_namespace'::regclass
            -- its own indexes and keys are entries of the list, or nobody's concern
            and not exists (select from pg_index i where d.classid = 'pg_class'::regclass and i.indexrelid = d.objid)
            and not exists (
              select from pg_constraint k
               where d.classid = 'pg_constraint'::regclass and k.oid = d.objid and k.conrelid = w.objid)
       ) d (what)) used;

  if v_list is not null then
    raise exception E'Tokenbook cannot be installed here yet, and nothing was changed. In the way:\n%\n%', v_list, concat_ws(E'\n',
      'Put the lines that end in a semicolon, in this order, into a migration of your own with a timestamp before this one; where "-- as" and a role stand above a line, that role must run it. A line that begins with -- and says what to do is for you.',
      'What cannot be seen from here has to be changed by hand as well: names in SQL that is put together at run time or scheduled, and in what the app sends itself. What was called by an old name is then called by the new one.');
  end if;
end
$check$;
select pg_temp.refuse_if_in_the_way();
drop function pg_temp.refuse_if_in_the_way();

-- the types below are those of Postgres, whatever the project calls its own
set local search_path = pg_catalog, pg_temp;

-- from supabase/schemas/00_schema.sql

-- The schema of Tokenbook's internals. A client can use it (the public wrappers call into it as
-- the caller), but not through the API, which does not expose it.
create schema if not exists tokenbook;
comment on schema tokenbook is
  'Tokenbook''s internals. Not exposed by the API; functions in it are reached through public wrappers only.';

-- from supabase/schemas/10_access/tables/admins.sql

-- Who is an administrator right now. A token says so too (app_metadata.role), but a token lives
-- on for up to an hour after a right is taken away; this row is gone at once.
create table tokenbook.admins (
  user_id uuid primary key,
  added_at timestamptz not null default now(),
  added_by text not null default current_user
);
comment on table tokenbook.admins is
  'Users who may grant and correct tokens, together with app_metadata.role = ''admin'' in their token. Kept by `npm run admin`.';
comment on column tokenbook.admins.user_id is 'The administrator, a user of auth.users.';
comment on column tokenbook.admins.added_at is 'Since when.';
comment on column tokenbook.admins.added_by is 'The database role, or a name, that made him one.';
alter table tokenbook.admins enable row level security;

-- from supabase/schemas/10_access/tables/changes.sql

-- What admins and the server changed that is no change of tokens: those are in the ledger, which names who
-- made them. Rows of other tables say how things are; here is who made them so, and what was there before.
create table tokenbook.changes (
  id bigint generated always as identity primary key,
  user_id uuid,
  change text not null,
  actor_role text not null,
  actor_id uuid,
  reason text,
  details jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint changes_actor_is_known
    check (actor_role in ('admin', 'service') and (actor_id is not null) = (actor_role = 'admin')),
  constraint changes_reason_is_given check (length(reason) between 1 and 500)
);
comment on table tokenbook.changes is
  'What admins and the server changed beside the ledger: states of accounts, caps, alert rules, teams, payments, top-ups, plans and packs. Append-only; read by list_token_changes.';
comment on column tokenbook.changes.id is 'The change; later ones have higher numbers.';
comment on column tokenbook.changes.user_id is 'Whom it is about; NULL = the project. No foreign key: what was done outlives the user.';
comment on column tokenbook.changes.change is 'The function that was called.';
comment on column tokenbook.changes.actor_role is 'Who did it: admin or service (the server). What users set for themselves is not here.';
comment on column tokenbook.changes.actor_id is 'Which admin.';
comment on column tokenbook.changes.reason is 'Why, in the words of whoever did it; NULL = they gave no reason.';
comment on column tokenbook.changes.details is 'What was set, by name.';
comment on column tokenbook.changes.created_at is 'When it was done.';
create index changes_user_idx on tokenbook.changes (user_id, id);
alter table tokenbook.changes enable row level security;

-- from supabase/schemas/10_access/tables/chosen_limits.sql

-- The bounds that a project has chosen for itself; without a row tokenbook.limits() says it.
create table tokenbook.chosen_limits (
  name text primary key,
  value integer not null,
  chosen_at timestamptz not null default clock_timestamp(),
  constraint chosen_limits_are_known check (name in ('open_holds', 'pending_payments')),
  constraint chosen_limits_are_bounded check (value between 1 and 10000)
);
comment on table tokenbook.chosen_limits is
  'What a user may have at a time, where the project has chosen another number than the default. Written by set_token_limit.';
comment on column tokenbook.chosen_limits.name is 'open_holds or pending_payments.';
comment on column tokenbook.chosen_limits.value is 'How many, 1 to 10000.';
comment on column tokenbook.chosen_limits.chosen_at is 'Since when.';
alter table tokenbook.chosen_limits enable row level security;

-- from supabase/schemas/10_access/tables/limits.sql

/*
 * The numbers that more than one place has to know: at most so many tokens in one movement, so many items
 * and bytes in a batch, so many seconds of a hold, and how many when nothing is said; how much of what
 * time has changed one call books (due_grants, due_holds), and how many grants may pay for one entry. pack_tokens
 * times pack_quantity, what one may buy at once, is no more than a movement may have; nor is slot_tokens, what one
 * slot of a schedule may give, times slots_in_one_grant. open_holds and
 * pending_payments are what a user may have at a time unless the project has chosen otherwise
 * (set_token_limit, tokenbook.limit_of).
 * The edge functions have them from here too (_shared/lists.ts), and the reference. Immutable, so that
 * an expression that asks for one is a constant when its plan is made.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.limits()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"tokens": 1000000000000,
           "batch_items": 1000, "batch_bytes": 1048576,
           "hold_seconds": 900, "hold_seconds_at_most": 86400,
           "due_grants": 1000, "due_holds": 200, "grants_in_one_entry": 10000,
           "pack_tokens": 1000000000, "pack_quantity": 1000,
           "slot_tokens": 100000000, "slots_in_one_grant": 10000,
           "open_holds": 200, "pending_payments": 20}';
end
$$;
comment on function tokenbook.limits is
  'The numbers that more than one place has to know, by name.';

-- from supabase/schemas/20_ledger/tables/burn_orders.sql

-- In which order grants are spent, and since when: the newest row holds; none means fifo.
create table tokenbook.burn_orders (
  since timestamptz primary key default clock_timestamp(),
  burn_order text not null,
  constraint burn_orders_are_known check (burn_order in ('fifo', 'expiring_first'))
);
comment on table tokenbook.burn_orders is
  'The project''s choices of a burn order, by the moment of each. The newest holds. Written by set_token_burn_order.';
comment on column tokenbook.burn_orders.since is 'When it was chosen.';
comment on column tokenbook.burn_orders.burn_order is 'fifo or expiring_first, as burn_order.sql says them.';
alter table tokenbook.burn_orders enable row level security;

-- from supabase/schemas/20_ledger/tables/grant_types.sql

/*
 * The types of grants: how many hours one lives when nothing else is said (null: for ever), whether it
 * must run out at some time, and the action_type of its transaction. The one list: everything that knows a type has it from here, the
 * edge functions (_shared/lists.ts) and the reference too.
 * In hours, because adding '365 days' depends on the session's time zone and its summer time. Immutable,
 * so that an expression that asks is answered when its plan is made.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.grant_types()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"annual":   {"lifetime_hours": 8760, "must_end": true, "action_type": "subscription_grant"},
           "28day":    {"lifetime_hours": 2160, "must_end": true, "action_type": "subscription_grant"},
           "trial":    {"lifetime_hours": 1344, "must_end": true, "action_type": "trial_grant"},
           "purchase": {"lifetime_hours": null, "must_end": false, "action_type": "token_pack_purchase"},
           "admin":    {"lifetime_hours": 8760, "must_end": false, "action_type": "admin_grant"},
           "plan":     {"lifetime_hours": null, "must_end": false, "action_type": "subscription_grant"}}';
end
$$;
comment on function tokenbook.grant_types is
  'The types of grants: {type: {lifetime_hours (null: for ever), must_end, action_type}}.';

-- The action types under which a grant is recorded: those of the types, a renewal's, and that of a slot.
create function tokenbook.grant_action_types()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct g.type ->> 'action_type' from jsonb_each(tokenbook.grant_types()) as g (name, type) order by 1)
    || array['renewal_grant', 'scheduled_grant'];
end
$$;
comment on function tokenbook.grant_action_types is
  'The action types under which a grant is recorded.';

-- from supabase/schemas/20_ledger/tables/project_settings.sql

/*
 * What whoever touches an account must know of the project's alert rules and its burn order, in one
 * row: so that it asks one question, not one of each table. Written by the functions that change
 * them, in the same transaction.
 * A project starts without the row, and one whose row was lost (a migration squash and a schema-only
 * dump leave it out) is as one that starts: whoever finds none takes its full path, on which
 * tokenbook.restore_settings makes the row of what the project has chosen. Until then nothing is
 * switched off, it only takes longer.
 * An account whose alerts_version is another has thresholds of older alert rules; whoever touches it
 * next sets them anew.
 */
create table tokenbook.project_settings (
  is_current boolean primary key default true,
  alerts_version bigint not null,
  is_expiring_first boolean not null,
  constraint project_settings_has_one_row check (is_current)
);

comment on table tokenbook.project_settings is
  'What is asked of the project''s rules whenever an account is touched: one row, made by the first transaction, kept by the functions that change the rules.';
comment on column tokenbook.project_settings.is_current is 'Always true: there is one row.';
comment on column tokenbook.project_settings.alerts_version is 'Goes up with every change of token_alert_rules.';
comment on column tokenbook.project_settings.is_expiring_first is 'Whether the newest of burn_orders is expiring_first.';
alter table tokenbook.project_settings enable row level security;

-- from supabase/schemas/20_ledger/tables/set_aside_accounts.sql

-- Accounts that a sweep could not bring up to date, because their books are damaged: left out of the sweeps
-- for an hour, so that they keep nobody else waiting. Whoever touches such an account is told by name.
create table tokenbook.set_aside_accounts (
  user_id uuid primary key,
  reason text not null,
  set_aside_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.set_aside_accounts is
  'Accounts that a sweep could not bring up to date; tried again after an hour. verify_token_ledger says what is wrong with their books.';
comment on column tokenbook.set_aside_accounts.user_id is 'The user.';
comment on column tokenbook.set_aside_accounts.reason is 'What the database said: SQLSTATE and message.';
comment on column tokenbook.set_aside_accounts.set_aside_at is 'When it last failed.';
alter table tokenbook.set_aside_accounts enable row level security;

-- from supabase/schemas/20_ledger/tables/token_accounts.sql

/*
 * What every account must be, whatever wrote it: no total below zero, nobody their own payer, a known
 * state, and totals within 2^53 - 1, the largest integer that JSON carries exactly. One function and not a
 * constraint each, as tokenbook.check_transaction_rules.
 * Caller: the constraint.   Errors: check_violation, with the broken rule for its constraint.
 */
create function tokenbook.check_account_rules(
  p_user_id uuid,
  p_payer_id uuid,
  p_state text,
  p_tokens_remaining bigint,
  p_tokens_reserved bigint,
  p_tokens_used bigint,
  p_tokens_expired bigint,
  p_tokens_owed bigint
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_broken_rule constant text := case
    when p_tokens_remaining < 0 then 'remaining_is_never_negative'
    when p_tokens_reserved < 0 then 'reserved_is_never_negative'
    when p_tokens_used < 0 then 'used_is_never_negative'
    when p_tokens_expired < 0 then 'expired_is_never_negative'
    when p_tokens_owed < 0 then 'owed_is_never_negative'
    when p_tokens_remaining + p_tokens_reserved + p_tokens_used > 9007199254740991 then 'totals_stay_exact_in_json'
    when p_payer_id = p_user_id then 'are_not_their_own_payers'
    when p_state not in ('active', 'frozen') then 'state_is_known'
  end;
begin
  if v_broken_rule is null then
    return true;
  end if;
  perform tokenbook.refuse_row('token_accounts', v_broken_rule, jsonb_build_object(
    'user_id', p_user_id, 'payer_id', p_payer_id, 'state', p_state, 'tokens_remaining', p_tokens_remaining,
    'tokens_reserved', p_tokens_reserved, 'tokens_used', p_tokens_used, 'tokens_expired', p_tokens_expired,
    'tokens_owed', p_tokens_owed));
  return false;
end
$$;
comment on function tokenbook.check_account_rules is
  'What every account must be: no total below zero, totals exact in JSON, nobody their own payer, a known state. The error names the rule that a row breaks.';

-- One row a user: the lock that every change of his books takes first, and the only running
-- totals. Whoever wants a live balance subscribes to this row.
-- Who may change what of it, each under its lock:
--   tokens_remaining, last_transaction_id  record_transaction, record_expiries, spend_tokens_batch, the
--                                          fast path of deduct_tokens_with_fifo: with the ledger row
--   tokens_used, spent_…                   the same without record_expiries
--   tokens_reserved, tokens_owed, total_cost  record_transaction
--   tokens_expired                         record_expiries, and roll_over where it takes an expiry back
--   next_due_at                            bring_due_forward, record_expiries, raise_alerts
--   alert_…, next_alert_at, warns_of_expiry, alerts_version, last_alert_id  raise_alerts
--   payer_id                               add_token_team_member, remove_token_team_member
--   state                                  set_token_account_state
create table public.token_accounts (
  user_id uuid primary key,
  tokens_remaining bigint not null default 0,
  tokens_reserved bigint not null default 0,
  tokens_used bigint not null default 0,
  tokens_expired bigint not null default 0,
  tokens_owed bigint not null default 0,
  total_cost numeric not null default 0,
  last_transaction_id bigint not null default 0,
  next_due_at timestamptz,
  spent_at timestamptz,
  spent_day bigint not null default 0,
  spent_week bigint not null default 0,
  spent_month bigint not null default 0,
  payer_id uuid,
  state text not null default 'active',
  alert_below bigint,
  alert_above bigint,
  next_alert_at timestamptz,
  warns_of_expiry boolean not null default false,
  alerts_version bigint not null default 0,
  last_alert_id bigint not null default 0,
  updated_at timestamptz not null default now(),
  constraint token_accounts_are_sound check (tokenbook.check_account_rules(
    user_id, payer_id, state, tokens_remaining, tokens_reserved, tokens_used, tokens_expired, tokens_owed))
) with (fillfactor = 80); -- room for HOT updates: this row changes with every transaction

comment on table public.token_accounts is
  'A user''s running totals, and the row that every change of his books locks first. Equal to his grants and his ledger at every commit. Written by the functions only.';
comment on column public.token_accounts.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_accounts.tokens_remaining is 'Tokens he can spend: the sum over his grants. A grant that has expired and is not booked yet is still in it until next_due_at is acted on; get_user_token_balance never counts it.';
comment on column public.token_accounts.tokens_reserved is 'Tokens set aside by open holds.';
comment on column public.token_accounts.tokens_used is 'Tokens used in his lifetime; an admin''s corrections are not use.';
comment on column public.token_accounts.tokens_expired is 'Tokens lost to expiry since the books opened.';
comment on column public.token_accounts.tokens_owed is 'Debt: tokens that were to be taken back and had been spent. The next grant repays it first.';
comment on column public.token_accounts.total_cost is 'Cost of his usage in his lifetime, in cents.';
comment on column public.token_accounts.last_transaction_id is 'Number of his newest transaction; numbers have no gaps.';
comment on column public.token_accounts.spent_at is 'In which day, week and month (UTC) the next three were counted; in a later one they count for nothing.';
comment on column public.token_accounts.spent_day is 'Tokens spent or set aside in that day, less what came back of them: what a cap looks at.';
comment on column public.token_accounts.spent_week is 'In that week (ISO, from Monday).';
comment on column public.token_accounts.spent_month is 'In that month.';
comment on column public.token_accounts.payer_id is 'The account that he spends from while he is in a team; NULL: his own.';
comment on column public.token_accounts.state is 'active, or frozen: nothing is spent, held or topped up (set_token_account_state).';
comment on column public.token_accounts.next_due_at is 'Nothing changes by itself before this moment: no grant or hold of his runs out, no slot of his plan begins, and no alert falls due. NULL when nothing will. May be early, never late.';
comment on column public.token_accounts.alert_below is 'The next threshold below: an alert, or a top-up, is looked for when fewer tokens than this remain. NULL = none.';
comment on column public.token_accounts.alert_above is 'The next threshold above: something is armed again when this many remain. NULL = none.';
comment on column public.token_accounts.next_alert_at is 'When the next alert falls due by time alone: a warning of an expiry, or the end of a cooldown. NULL = none.';
comment on column public.token_accounts.warns_of_expiry is 'Whether a rule wants to know of grants that run out.';
comment on column public.token_accounts.alerts_version is 'Of which rules these thresholds are; other than that of tokenbook.project_settings: unknown, and set anew by whoever touches the account next.';
comment on column public.token_accounts.last_alert_id is 'Number of his newest alert (token_alerts); whoever watches this row sees it in the commit that raises it.';
comment on column public.token_accounts.updated_at is 'When the row last changed.';

create index token_accounts_due_idx on public.token_accounts (next_due_at) where next_due_at is not null;
create index token_accounts_alerts_version_idx on public.token_accounts (alerts_version);

alter table public.token_accounts enable row level security;
create policy "Users read their own account" on public.token_accounts
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_ledger/tables/token_balances.sql

/*
 * What every grant must be, whatever wrote it. One function and not a constraint each, as
 * tokenbook.check_transaction_rules.
 * Caller: the constraint.   Errors: check_violation, with the broken rule for its constraint.
 */
create function tokenbook.check_grant_rules(
  p_grant_type text,
  p_tokens_granted bigint,
  p_tokens_remaining bigint,
  p_is_open boolean,
  p_priority smallint,
  p_granted_at timestamptz,
  p_expires_at timestamptz
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_broken_rule constant text := case
    when p_tokens_granted not between 1 and (tokenbook.limits() -> 'tokens')::bigint then 'granted_is_within_the_limit'
    when p_tokens_remaining not between 0 and p_tokens_granted then 'remaining_is_between_zero_and_granted'
    when p_is_open <> (p_tokens_remaining > 0) then 'open_means_tokens_remain'
    when p_priority not between 0 and 100 then 'priority_is_between_0_and_100'
    when p_expires_at <= p_granted_at then 'expires_after_it_was_granted'
    when not isfinite(p_expires_at) then 'expiry_is_finite'
    when not tokenbook.grant_types() ? p_grant_type then 'grant_type_is_known'
  end;
begin
  if v_broken_rule is null then
    return true;
  end if;
  perform tokenbook.refuse_row('token_balances', v_broken_rule, jsonb_build_object(
    'grant_type', p_grant_type, 'tokens_granted', p_tokens_granted, 'tokens_remaining', p_tokens_remaining,
    'is_open', p_is_open, 'priority', p_priority, 'granted_at', p_granted_at, 'expires_at', p_expires_at));
  return false;
end
$$;
comment on function tokenbook.check_grant_rules is
  'What every grant must be: 1 to 10^12 tokens given, none below zero or above what was given remaining, open while tokens remain, a known type and priority, a finite expiry after it was given. The error names the rule that a row breaks.';

-- One row a grant. Many rows a user are right: each is spent, and expires, by itself.
create table public.token_balances (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  grant_type text not null,
  tokens_granted bigint not null,
  tokens_remaining bigint not null,
  priority smallint not null default 50,
  granted_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  -- Beside tokens_remaining, not derived from it: the indexes below look at this flag only, so a
  -- deduction stays a HOT update until the one that empties the grant.
  is_open boolean not null default true,
  payment_id uuid,
  subscription_id uuid,
  period_start timestamptz,
  legacy_transaction_id text,
  voided_at timestamptz,
  rolled_over_from uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint token_balances_pkey primary key (user_id, id),
  constraint token_balances_are_sound check (tokenbook.check_grant_rules(
    grant_type, tokens_granted, tokens_remaining, is_open, priority, granted_at, expires_at))
) with (fillfactor = 85);

comment on table public.token_balances is
  'Grants: tokens given to a user, each row spent oldest first and expiring by itself. Written by the functions only.';
comment on column public.token_balances.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_balances.id is 'The grant; unique per user.';
comment on column public.token_balances.grant_type is 'What it was given for, and how long it lives when nothing else is said: annual, trial, purchase, … (all of them: Lists, in the reference).';
comment on column public.token_balances.tokens_granted is 'Tokens given, 1 to 10^12. Never changes.';
comment on column public.token_balances.tokens_remaining is 'Tokens left to spend.';
comment on column public.token_balances.priority is '0 to 100, default 50; a lower number is spent first.';
comment on column public.token_balances.granted_at is 'When it counts as given; its place in the queue. Earlier than created_at when the server backdated it.';
comment on column public.token_balances.expires_at is 'The first moment at which it cannot be spent any more; NULL = never.';
comment on column public.token_balances.is_open is 'Whether tokens remain.';
comment on column public.token_balances.payment_id is 'The payment it came from.';
comment on column public.token_balances.subscription_id is 'The subscription it came from.';
comment on column public.token_balances.period_start is 'The period of that subscription; each period is granted once.';
comment on column public.token_balances.legacy_transaction_id is 'The old grant transaction it was made from, by migration.';
comment on column public.token_balances.voided_at is 'When an admin ended it; expires_at is then no later.';
comment on column public.token_balances.rolled_over_from is 'The grant of the closed period that its tokens were carried over from.';
comment on column public.token_balances.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_balances.created_at is 'When it was booked.';

-- the indexes of the burn order are in burn_order.sql
create index token_balances_expiry_idx
  on public.token_balances (user_id, expires_at) where is_open and expires_at is not null;

-- what a user has left of their plan's own tokens, however many others they have
create index token_balances_subscription_idx
  on public.token_balances (user_id, subscription_id) where is_open and subscription_id is not null;

-- a payment grants once, and so does a period, whatever calls come and however often
create unique index token_balances_payment_key
  on public.token_balances (user_id, payment_id) where payment_id is not null;
create unique index token_balances_period_key
  on public.token_balances (user_id, subscription_id, period_start) where period_start is not null;
-- and what a period had left is carried over once
create unique index token_balances_rollover_key
  on public.token_balances (user_id, rolled_over_from) where rolled_over_from is not null;

alter table public.token_balances enable row level security;
create policy "Users read their own grants" on public.token_balances
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_ledger/tables/token_legacy_transactions.sql

-- History from before the books opened, as it was. Numbered per user downwards from 0, so that
-- get_token_history pages from the ledger straight into it.
create table public.token_legacy_transactions (
  user_id uuid not null,
  id bigint not null,
  legacy_id text not null,
  action_type text not null,
  tokens bigint not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  constraint token_legacy_transactions_pkey primary key (user_id, id),
  constraint token_legacy_transactions_are_numbered_down_from_zero check (id <= 0)
);
comment on table public.token_legacy_transactions is
  'Transactions from before the books opened, unchanged and never counted: the books start with the opening balance. Empty in a project that started with Tokenbook.';
comment on column public.token_legacy_transactions.user_id is 'The user.';
comment on column public.token_legacy_transactions.id is 'Number among the user''s: 0 is the newest, then -1, -2, …';
comment on column public.token_legacy_transactions.legacy_id is 'The id it had.';
comment on column public.token_legacy_transactions.action_type is 'What it was for.';
comment on column public.token_legacy_transactions.tokens is 'Tokens: grants positive, deductions negative (it was called tokens_used).';
comment on column public.token_legacy_transactions.metadata is 'Everything else the row had.';
comment on column public.token_legacy_transactions.created_at is 'When it happened.';

alter table public.token_legacy_transactions enable row level security;
create policy "Users read their own old transactions" on public.token_legacy_transactions
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/20_ledger/tables/token_transactions.sql

/*
 * What every row of the ledger must be, whatever wrote it. One function and not a constraint each:
 * Postgres reads and plans every CHECK anew for every statement, and of a deduction that was a fifth
 * (docs/performance.md). One expression finds the rule that is broken; as in a CHECK of its own, a rule
 * that comes to NULL is kept.
 * Caller: the constraint.   Errors: check_violation, with the broken rule for its constraint.
 */
create function tokenbook.check_transaction_rules(
  p_id bigint,
  p_entry_type text,
  p_action_type text,
  p_tokens bigint,
  p_balance_after bigint,
  p_debt_change bigint,
  p_reserved_change bigint,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_reason text,
  p_actor_role text,
  p_actor_id uuid,
  p_idempotency_key text,
  p_request jsonb,
  p_original_id bigint
)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_broken_rule constant text := case
    -- the sign follows the kind of entry, and so does what else it may change
    when not case
      when p_entry_type in ('deduction', 'expiry', 'debt_repayment') then p_tokens < 0
      when p_entry_type in ('grant', 'refund') then p_tokens > 0
      when p_entry_type in ('usage', 'hold', 'release') then p_tokens = 0
      when p_entry_type in ('void', 'clawback') then p_tokens <= 0
      when p_entry_type in ('opening_balance', 'restoration') then p_tokens >= 0
      when p_entry_type in ('rollover', 'restatement') then p_tokens <> 0
      else false
    end then 'sign_follows_entry_type'
    when not case p_entry_type
      when 'clawback' then p_debt_change >= 0
      when 'restoration' then p_debt_change <= 0
      when 'debt_repayment' then p_debt_change = p_tokens
      else p_debt_change = 0
    end then 'debt_follows_entry_type'
    when not case p_entry_type
      when 'deduction' then p_reserved_change in (0, p_tokens)
      when 'hold' then p_reserved_change > 0
      when 'release' then p_reserved_change < 0
      else p_reserved_change = 0
    end then 'reserve_follows_entry_type'
    when p_id < 1 then 'are_numbered_from_one'
    when p_balance_after < 0 then 'balance_is_never_negative'
    when p_original_id >= p_id then 'undo_what_came_before'
    when cardinality(p_grant_ids) <> cardinality(p_grant_tokens) then 'each_grant_has_its_tokens'
    when (p_entry_type = 'grant') <> (p_action_type = any (tokenbook.grant_action_types()))
      then 'action_of_a_grant_is_a_grant'
    when length(p_reason) not between 1 and 500 then 'reason_is_given'
    when p_actor_role not in ('service', 'user', 'admin', 'system')
      or (p_actor_id is not null) <> (p_actor_role in ('user', 'admin')) then 'actor_is_known'
    when (p_idempotency_key is null) <> (p_request is null) then 'key_keeps_its_request'
  end;
begin
  if v_broken_rule is null then
    return true;
  end if;
  perform tokenbook.refuse_row('token_transactions', v_broken_rule, jsonb_build_object(
    'id', p_id, 'entry_type', p_entry_type, 'action_type', p_action_type, 'tokens', p_tokens,
    'balance_after', p_balance_after, 'debt_change', p_debt_change, 'reserved_change', p_reserved_change,
    'grant_ids', p_grant_ids, 'grant_tokens', p_grant_tokens, 'reason', p_reason, 'actor_role', p_actor_role,
    'actor_id', p_actor_id, 'idempotency_key', p_idempotency_key, 'request', p_request, 'original_id', p_original_id));
  return false;
end
$$;
comment on function tokenbook.check_transaction_rules is
  'What every row of the ledger must be: the sign, the debt and the reserve follow the kind of entry; numbered from one; never below zero; each grant with its tokens; a known actor; a key with its request. The error names the rule that a row breaks.';

-- The ledger. Append-only: no role may update, delete or truncate it, service_role included.
create table public.token_transactions (
  user_id uuid not null,
  id bigint not null,
  entry_type text not null,
  action_type text not null,
  tokens bigint not null,
  balance_after bigint not null,
  debt_change bigint not null default 0,
  reserved_change bigint not null default 0,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  reason text,
  actor_role text not null,
  actor_id uuid,
  idempotency_key text,
  request jsonb,
  usage_id uuid,
  hold_id uuid,
  payment_id uuid,
  original_id bigint,
  member_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  terms jsonb,
  constraint token_transactions_pkey primary key (user_id, id),
  constraint token_transactions_are_sound check (tokenbook.check_transaction_rules(
    id, entry_type, action_type, tokens, balance_after, debt_change, reserved_change, grant_ids, grant_tokens,
    reason, actor_role, actor_id, idempotency_key, request, original_id))
) with (fillfactor = 100);

comment on table public.token_transactions is
  'The ledger: every change of a user''s tokens, numbered per user without gaps, append-only. Grants are positive, deductions negative. Written by the functions only.';
comment on column public.token_transactions.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_transactions.id is 'The transaction''s number among the user''s: 1, 2, 3, …';
comment on column public.token_transactions.entry_type is 'What it is to the books: opening_balance, grant, deduction, expiry; clawback (a payment was refunded or disputed), restoration (a dispute was won), debt_repayment (a grant paid a debt first); usage (an operation that cost nothing), restatement (history was replayed exactly, and this is the difference); hold (tokens set aside) and release (given back); refund (undoes a deduction), void (what was left of a grant); rollover (carried out of a closing period, negative, and into the grant that it lives on in, positive).';
comment on column public.token_transactions.action_type is 'What it was for: the kind of grant (admin_grant, …), or the AI action that was paid for (chat_conversation, …; projects add their own).';
comment on column public.token_transactions.tokens is 'Tokens, signed: positive into the account, negative out of it.';
comment on column public.token_transactions.balance_after is 'Tokens that could be spent after it.';
comment on column public.token_transactions.debt_change is 'Tokens added to the account''s debt, or taken off it.';
comment on column public.token_transactions.reserved_change is 'Tokens set aside by it (negative: no longer set aside). tokens - reserved_change is what it did to the grants.';
comment on column public.token_transactions.grant_ids is 'The grants it touched, in the order in which they paid.';
comment on column public.token_transactions.grant_tokens is 'How many tokens each of them gave or received: positive, in the same order; they add up to tokens.';
comment on column public.token_transactions.reason is 'Why: what an admin or the server said, or the action type, or what the books do by themselves. NULL: it could have been said (an adjustment, a grant, a refund, a void, an approval), and was not.';
comment on column public.token_transactions.actor_role is 'Who did it: user, admin, service (the server), system (the books themselves).';
comment on column public.token_transactions.actor_id is 'Which user or admin.';
comment on column public.token_transactions.idempotency_key is 'The caller''s key; one effect, for ever.';
comment on column public.token_transactions.request is 'What was asked under that key, to tell a replay from a reuse. Without the metadata, which stands beside it.';
comment on column public.token_transactions.usage_id is 'The usage that was paid for.';
comment on column public.token_transactions.hold_id is 'The hold that was captured.';
comment on column public.token_transactions.payment_id is 'The payment that bought it.';
comment on column public.token_transactions.original_id is 'The transaction that this one undoes, whole or in part; of a rollover, the one that the tokens came from.';
comment on column public.token_transactions.member_id is 'The member of the user''s team who spent it; NULL: the user himself.';
comment on column public.token_transactions.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_transactions.created_at is 'When it was booked.';
comment on column public.token_transactions.terms is 'What else began or ended with it, as it was then: {grants: [rows], payment, subscription, storage, slots: {first, count, schedule, had, payment_id}, voids (a grant''s id), refund: {amount_cents, refunded_cents, disputed_cents}}. verify_token_ledger compares with it what may not change since. NULL: nothing; of a deduction always.';

-- A user's keys and the server's keys for him never meet: he must not be able to use up a key
-- that the server will need. Nor do the keys of two members of a team.
create unique index token_transactions_idempotency_key
  on public.token_transactions (user_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is null;
create unique index token_transactions_member_key
  on public.token_transactions (user_id, member_id, idempotency_key, (actor_role = 'user'))
  where idempotency_key is not null and member_id is not null;

-- what a member spent, whoever paid
create index token_transactions_member_idx
  on public.token_transactions (member_id, idempotency_key) where member_id is not null;

create index token_transactions_original_idx
  on public.token_transactions (user_id, original_id) where original_id is not null;

alter table public.token_transactions enable row level security;
create policy "Users read their own transactions" on public.token_transactions
  for select to authenticated
  using ((select auth.uid()) in (user_id, member_id));

-- from supabase/schemas/30_usage/tables/token_action_costs.sql

-- What actions cost users, in tokens. Data of the project: edit it; no migration overwrites a row.
create table public.token_action_costs (
  action_type text primary key,
  min_tokens bigint not null,
  max_tokens bigint not null,
  constraint token_action_costs_name_is_plain check (action_type ~ '^[a-z][a-z0-9_]{0,63}$'),
  constraint token_action_costs_are_within_limits
    check (min_tokens >= 0 and min_tokens <= max_tokens and max_tokens <= 1000000000000)
);
comment on table public.token_action_costs is
  'What each action costs a user: the tokens counted, at least min_tokens and at most max_tokens; a fixed price has both the same. An action that is not listed costs what was counted. The project''s own data; whoever is signed in may read it.';
comment on column public.token_action_costs.action_type is 'The action.';
comment on column public.token_action_costs.min_tokens is 'Tokens that it costs at least.';
comment on column public.token_action_costs.max_tokens is 'Tokens that it costs at most.';

alter table public.token_action_costs enable row level security;
create policy "Everyone who is signed in reads what actions cost" on public.token_action_costs
  for select to authenticated
  using (true);

-- from supabase/schemas/30_usage/tables/token_model_prices.sql

-- What models cost the project, by date. Data of the project: edit it; no migration overwrites a row.
create table public.token_model_prices (
  model text not null,
  valid_from timestamptz not null default '-infinity',
  input_cents_per_million numeric,
  cached_input_cents_per_million numeric,
  output_cents_per_million numeric,
  cents_per_image numeric,
  cents_per_minute numeric,
  constraint token_model_prices_pkey primary key (model, valid_from),
  constraint token_model_prices_are_never_negative check (
    input_cents_per_million >= 0 and cached_input_cents_per_million >= 0 and output_cents_per_million >= 0
    and cents_per_image >= 0 and cents_per_minute >= 0),
  constraint token_model_prices_are_numbers check (
    coalesce(input_cents_per_million, 0) + coalesce(cached_input_cents_per_million, 0)
    + coalesce(output_cents_per_million, 0) + coalesce(cents_per_image, 0) + coalesce(cents_per_minute, 0)
    < 'infinity')
);
comment on table public.token_model_prices is
  'What each model costs the project, in cents, from a date on. The project''s own data. A price that is NULL is not known, and neither is then the cost of what uses it.';
comment on column public.token_model_prices.model is 'The model, as token_usage.model_used names it.';
comment on column public.token_model_prices.valid_from is 'From when these prices hold, until a later row''s moment.';
comment on column public.token_model_prices.input_cents_per_million is 'Cents per million input tokens.';
comment on column public.token_model_prices.cached_input_cents_per_million is 'Cents per million of the input tokens that the provider had cached; NULL = as other input.';
comment on column public.token_model_prices.output_cents_per_million is 'Cents per million output tokens, reasoning included.';
comment on column public.token_model_prices.cents_per_image is 'Cents per image made.';
comment on column public.token_model_prices.cents_per_minute is 'Cents per minute of audio.';

alter table public.token_model_prices enable row level security;
create policy "Everyone who is signed in reads the prices" on public.token_model_prices
  for select to authenticated
  using (true);

-- from supabase/schemas/30_usage/tables/token_usage.sql

-- One row an AI operation, or an admin's correction: the audit trail.
create table public.token_usage (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  action_type text not null,
  model_used text,
  tokens_used bigint not null default 0,
  input_tokens bigint,
  output_tokens bigint,
  cost_estimate numeric,
  success boolean not null default true,
  error_message text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  cached_tokens bigint,
  reasoning_tokens bigint,
  images integer,
  seconds numeric,
  tokens_uncovered bigint not null default 0,
  transaction_id bigint,
  member_id uuid,
  constraint token_usage_pkey primary key (user_id, id),
  constraint token_usage_uncovered_is_part_of_used check (tokens_uncovered = 0 or tokens_uncovered between 1 and tokens_used)
);
comment on table public.token_usage is
  'The audit trail: one row for each AI operation, and for each grant or deduction by an admin (admin_grant, admin_deduct). Written by the functions only.';
comment on column public.token_usage.user_id is 'The user. No foreign key: the record outlives the user.';
comment on column public.token_usage.id is 'The usage; unique per user.';
comment on column public.token_usage.action_type is 'What was done: assessment_scoring, vision_generation, vision_refinement, blueprint_generation, chat_conversation, audio_generation, image_generation, life_vision_category_summary, life_vision_master_assembly, prompt_suggestions, frequency_flip, admin_grant, admin_deduct, or one of the project''s own.';
comment on column public.token_usage.model_used is 'The AI model.';
comment on column public.token_usage.tokens_used is 'Tokens that the operation counts for, never negative: deducted when it succeeded, less tokens_uncovered. Of an adjustment the number granted or deducted.';
comment on column public.token_usage.input_tokens is 'Of these, the prompt''s.';
comment on column public.token_usage.output_tokens is 'Of these, the answer''s.';
comment on column public.token_usage.cost_estimate is 'Cost in cents, rounded up to 0.0001; NULL when it is not known.';
comment on column public.token_usage.success is 'Whether the operation succeeded; a failed one is recorded and costs no tokens.';
comment on column public.token_usage.error_message is 'Why it failed.';
comment on column public.token_usage.metadata is 'Anything else about it.';
comment on column public.token_usage.created_at is 'When it happened.';
comment on column public.token_usage.cached_tokens is 'Of the input tokens, those that the provider had cached.';
comment on column public.token_usage.reasoning_tokens is 'Of the output tokens, those that the model thought with.';
comment on column public.token_usage.images is 'Images made.';
comment on column public.token_usage.seconds is 'Seconds of audio.';
comment on column public.token_usage.tokens_uncovered is 'Of the tokens used, those that no grant paid for: the balance did not reach.';
comment on column public.token_usage.transaction_id is 'Its transaction in the ledger; NULL for what happened before the books opened.';
comment on column public.token_usage.member_id is 'The member of the user''s team whose operation it was; NULL: the user himself.';

create index token_usage_member_idx on public.token_usage (member_id, created_at) where member_id is not null;
create index token_usage_user_idx on public.token_usage (user_id, created_at);

alter table public.token_usage enable row level security;
create policy "Users read their own usage" on public.token_usage
  for select to authenticated
  using ((select auth.uid()) in (user_id, member_id));

-- from supabase/schemas/40_holds/tables/token_holds.sql

-- One row a hold: tokens set aside for a call that is still running.
create table public.token_holds (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'open',
  tokens bigint not null,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  expires_at timestamptz not null,
  action_type text not null,
  actor_role text not null,
  transaction_id bigint not null,
  tokens_captured bigint,
  tokens_uncovered bigint not null default 0,
  capture_id bigint,
  overage_id bigint,
  usage_id uuid,
  member_id uuid,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint token_holds_pkey primary key (user_id, id),
  constraint token_holds_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_holds_live_at_most_a_day check (expires_at > created_at and expires_at <= created_at + interval '24 hours'),
  constraint token_holds_are_settled_once check (
    case status
      when 'open' then settled_at is null and tokens_captured is null
      when 'captured' then settled_at is not null and tokens_captured between 0 and tokens
      when 'released' then settled_at is not null and tokens_captured = 0
      when 'expired' then settled_at >= expires_at and tokens_captured = 0
      else false
    end)
) with (fillfactor = 90);

comment on table public.token_holds is
  'Holds: tokens set aside for a call that is still running, and what came of them. Written by the functions only.';
comment on column public.token_holds.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_holds.id is 'The hold; unique per user.';
comment on column public.token_holds.status is 'open; then once and for ever captured, released, or expired (it ran out).';
comment on column public.token_holds.tokens is 'Tokens set aside.';
comment on column public.token_holds.grant_ids is 'The grants that they were taken from, in burn order.';
comment on column public.token_holds.grant_tokens is 'How much from each.';
comment on column public.token_holds.expires_at is 'The first moment at which it holds nothing any more; at most 24 hours after created_at.';
comment on column public.token_holds.action_type is 'What they were set aside for.';
comment on column public.token_holds.actor_role is 'Who made it: user, admin or service. A user settles no hold that he did not make.';
comment on column public.token_holds.transaction_id is 'Its entry in the ledger.';
comment on column public.token_holds.tokens_captured is 'Of these, paid; the rest went back. NULL while open.';
comment on column public.token_holds.tokens_uncovered is 'Used beyond the hold and not paid: the capture was capped.';
comment on column public.token_holds.capture_id is 'The ledger entry of the capture.';
comment on column public.token_holds.overage_id is 'The deduction of what was captured beyond the hold.';
comment on column public.token_holds.usage_id is 'The usage that was recorded with the capture.';
comment on column public.token_holds.member_id is 'The member of the user''s team whom it is for; NULL: the user himself.';
comment on column public.token_holds.metadata is 'What the caller attached: an object of at most 8 KiB.';
comment on column public.token_holds.created_at is 'Since when.';
comment on column public.token_holds.settled_at is 'When it was captured, released or found to have run out.';

create index token_holds_due_idx on public.token_holds (user_id, expires_at) where status = 'open';
-- how many one spender has: a member's are counted apart from the payer's and from other members'
create index token_holds_spender_idx
  on public.token_holds (user_id, (coalesce(member_id, user_id)), expires_at) where status = 'open';
create index token_holds_member_idx on public.token_holds (member_id, id) where member_id is not null;

alter table public.token_holds enable row level security;
create policy "Users read their own holds" on public.token_holds
  for select to authenticated
  using ((select auth.uid()) in (user_id, member_id));

-- from supabase/schemas/50_plans/tables/chosen_trial_policy.sql

-- What a project has chosen for whoever had a trial before; without a row they are refused another.
create table tokenbook.chosen_trial_policy (
  is_current boolean primary key default true,
  policy text not null,
  reduced_percent integer,
  reduced_tokens bigint,
  chosen_at timestamptz not null default clock_timestamp(),
  constraint chosen_trial_policy_has_one_row check (is_current),
  constraint chosen_trial_policy_is_known check (policy in ('allow', 'refuse', 'reduced')),
  constraint chosen_trial_policy_says_how_much
    check (num_nonnulls(reduced_percent, reduced_tokens) = case policy when 'reduced' then 1 else 0 end),
  constraint chosen_trial_policy_percent_is_a_part check (reduced_percent between 1 and 99),
  constraint chosen_trial_policy_tokens_are_positive check (reduced_tokens > 0)
);
comment on table tokenbook.chosen_trial_policy is
  'What whoever had a trial gets of another, where the project has chosen: without a row nothing. Written by set_token_trial_policy.';
comment on column tokenbook.chosen_trial_policy.is_current is 'Always true: there is one row.';
comment on column tokenbook.chosen_trial_policy.policy is 'allow, refuse or reduced.';
comment on column tokenbook.chosen_trial_policy.reduced_percent is 'Of reduced: so much of what the trial gives, in percent; or reduced_tokens.';
comment on column tokenbook.chosen_trial_policy.reduced_tokens is 'Of reduced: so many tokens, and no more than the trial gives; or reduced_percent.';
comment on column tokenbook.chosen_trial_policy.chosen_at is 'Since when.';
alter table tokenbook.chosen_trial_policy enable row level security;

-- from supabase/schemas/50_plans/tables/failed_registrations.sql

-- Users who signed up while something was wrong with the books.
create table tokenbook.failed_registrations (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  error text not null,
  failed_at timestamptz not null default clock_timestamp()
);
comment on table tokenbook.failed_registrations is
  'Sign-ups whose plan could not be given then; the sign-up itself went through. They are healed by their first balance read or deduction.';
comment on column tokenbook.failed_registrations.id is 'Order of writing.';
comment on column tokenbook.failed_registrations.user_id is 'The user.';
comment on column tokenbook.failed_registrations.error is 'SQLSTATE and message.';
comment on column tokenbook.failed_registrations.failed_at is 'When.';
alter table tokenbook.failed_registrations enable row level security;

-- from supabase/schemas/50_plans/tables/slot_types.sql

-- What is said of slots that are not booked; no table has it.
create type tokenbook.scheduled_slot as (slot public.token_balances, kept jsonb, refill_to bigint, filled_at timestamptz, payment_id uuid);
comment on type tokenbook.scheduled_slot is
  'What a schedule gives at most for a slot, or for several that were missed: the grant to be, what its entry keeps, up to what it fills and when that is looked at, and the payment that paid for the plan.';

create type tokenbook.due_slot as (slot public.token_balances, kept jsonb, payment_id uuid, taken_back bigint);
comment on type tokenbook.due_slot is
  'What an account is due by the schedule of its plan: the grant to be, what its entry keeps, the payment that paid for it, and how much of it is taken back at once.';

-- from supabase/schemas/50_plans/tables/token_packs.sql

-- The catalogue's other half: tokens to buy once, beside any plan. Data of the project, as token_plans is.
create table public.token_packs (
  pack_type text primary key,
  name text not null,
  tokens bigint not null,
  lifetime_days integer,
  priority smallint not null default 50,
  price_cents bigint not null,
  currency text not null default 'usd',
  stripe_price_id text unique,
  former_stripe_price_ids text[] not null default '{}',
  is_offered boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint token_packs_name_is_plain check (pack_type ~ '^[a-z0-9][a-z0-9_]{0,63}$'),
  constraint token_packs_title_is_short check (length(name) between 1 and 200),
  -- as many as can be bought at once are one grant, and a grant has its limit
  constraint token_packs_tokens_are_within_limits
    check (tokens between 1 and (tokenbook.limits() -> 'pack_tokens')::bigint),
  constraint token_packs_lifetime_is_positive check (lifetime_days between 1 and 36500),
  constraint token_packs_priority_is_between_0_and_100 check (priority between 0 and 100),
  constraint token_packs_cost_something check (price_cents between 1 and 1000000000000),
  constraint token_packs_currency_is_three_letters check (currency ~ '^[a-z]{3}$'),
  constraint token_packs_stripe_price_id_is_short check (length(stripe_price_id) between 1 and 255),
  constraint token_packs_former_stripe_price_ids_are_few check (cardinality(former_stripe_price_ids) <= 100)
);

-- what set_token_pack answers whoever breaks one
comment on constraint token_packs_name_is_plain on public.token_packs is '1 to 64 characters of a-z 0-9 _, a letter or a digit first';
comment on constraint token_packs_title_is_short on public.token_packs is '1 to 200 characters';
comment on constraint token_packs_tokens_are_within_limits on public.token_packs is '1 to 1000000000';
comment on constraint token_packs_lifetime_is_positive on public.token_packs is '1 to 36500, or null for ever';
comment on constraint token_packs_priority_is_between_0_and_100 on public.token_packs is '0 to 100';
comment on constraint token_packs_cost_something on public.token_packs is '1 to 1000000000000: what costs nothing is given by grant_tokens';
comment on constraint token_packs_currency_is_three_letters on public.token_packs is 'three lower-case letters (ISO 4217)';
comment on constraint token_packs_stripe_price_id_is_short on public.token_packs is '1 to 255 characters';
comment on constraint token_packs_former_stripe_price_ids_are_few on public.token_packs is 'at most 100';

comment on table public.token_packs is
  'The packs: tokens that are bought once, beside any plan. The project''s own data, changed by set_token_pack; everyone may read it.';
comment on column public.token_packs.pack_type is 'The pack''s name in code.';
comment on column public.token_packs.name is 'The pack''s name for people.';
comment on column public.token_packs.tokens is 'Tokens that one of it gives, 1 to 10^9.';
comment on column public.token_packs.lifetime_days is 'Days of 24 hours that its tokens live; NULL = for ever.';
comment on column public.token_packs.priority is '0 to 100, default 50; its tokens are spent before those of a higher number.';
comment on column public.token_packs.price_cents is 'Price of one, in cents of the currency.';
comment on column public.token_packs.currency is 'ISO 4217, lower case.';
comment on column public.token_packs.stripe_price_id is 'The price at Stripe. At PayPal a pack needs none: the order names it.';
comment on column public.token_packs.former_stripe_price_ids is 'What the price was called at Stripe before: who pays at one of these still gets the pack.';
comment on column public.token_packs.is_offered is 'Whether it can be bought now.';
comment on column public.token_packs.created_at is 'When it was added.';
comment on column public.token_packs.updated_at is 'When it was last changed.';

alter table public.token_packs enable row level security;
create policy "Everyone reads the packs" on public.token_packs
  for select to anon, authenticated
  using (true);

-- from supabase/schemas/50_plans/tables/token_plans.sql

-- The catalogue: what each plan gives. Data of the project; no migration overwrites a row.
create table public.token_plans (
  plan_type text primary key,
  name text not null,
  tokens bigint not null,
  articles_limit integer,
  storage_gb integer not null default 0,
  price_cents bigint not null default 0,
  currency text not null default 'usd',
  billing_cycle text not null default 'none',
  grant_type text not null default 'plan',
  grant_lifetime_days integer,
  balance_cap bigint,
  rollover_tokens bigint,
  rollover_percent integer,
  rollover_lifetime_days integer,
  issue_every text,
  issue_on text not null default 'anniversary',
  refill_to bigint,
  grace_days integer,
  rank integer not null default 0,
  features jsonb not null default '{}',
  stripe_price_id text unique,
  former_stripe_price_ids text[] not null default '{}',
  paypal_plan_id text unique,
  former_paypal_plan_ids text[] not null default '{}',
  is_offered boolean not null default true,
  is_default boolean not null default false,
  given_to_users_since timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint token_plans_default_is_dated check (not is_default or given_to_users_since is not null),
  constraint token_plans_name_is_plain check (plan_type ~ '^[a-z0-9][a-z0-9_]{0,63}$'),
  constraint token_plans_title_is_short check (length(name) between 1 and 200),
  constraint token_plans_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_plans_articles_are_never_negative check (articles_limit >= 0),
  constraint token_plans_storage_is_never_negative check (storage_gb >= 0),
  constraint token_plans_price_is_never_negative check (price_cents >= 0),
  constraint token_plans_currency_is_three_letters check (currency ~ '^[a-z]{3}$'),
  constraint token_plans_billing_cycle_is_known check (billing_cycle in ('none', '28day', 'monthly', 'annual')),
  constraint token_plans_grant_type_is_known
    check (tokenbook.grant_types() ? grant_type),
  constraint token_plans_lifetime_is_positive check (grant_lifetime_days between 1 and 36500),
  constraint token_plans_what_must_end_ends check (
    grant_lifetime_days is not null or not coalesce((tokenbook.grant_types() -> grant_type -> 'must_end')::boolean, false)),
  constraint token_plans_features_are_a_small_object
    check (jsonb_typeof(features) = 'object' and octet_length(features::text) <= 8192),
  constraint token_plans_stripe_price_id_is_short check (length(stripe_price_id) between 1 and 255),
  constraint token_plans_paypal_plan_id_is_short check (length(paypal_plan_id) between 1 and 255),
  constraint token_plans_former_stripe_price_ids_are_few check (cardinality(former_stripe_price_ids) <= 100),
  constraint token_plans_former_paypal_plan_ids_are_few check (cardinality(former_paypal_plan_ids) <= 100),
  constraint token_plans_grace_is_within_a_year check (grace_days between 0 and 365),
  constraint token_plans_cap_is_positive check (balance_cap > 0),
  constraint token_plans_rollover_is_positive check (rollover_tokens > 0),
  constraint token_plans_rollover_is_a_part check (rollover_percent between 1 and 100),
  constraint token_plans_rollover_lifetime_is_positive check (rollover_lifetime_days between 1 and 36500),
  constraint token_plans_rollover_lifetime_is_of_a_rollover check (
    rollover_lifetime_days is null or coalesce(rollover_tokens, rollover_percent) is not null),
  constraint token_plans_issue_every_is_known check (issue_every in ('day', 'week', 'month')),
  constraint token_plans_issue_on_is_known check (issue_on in ('anniversary', 'calendar')),
  constraint token_plans_refill_is_positive check (refill_to is null or (refill_to > 0 and issue_every is not null)),
  constraint token_plans_slots_are_shorter_than_periods check (issue_every <> 'month' or billing_cycle in ('none', 'annual')),
  constraint token_plans_a_trial_is_given_at_once check (issue_every is null or grant_type <> 'trial'),
  constraint token_plans_schedules_have_their_own_cap check (issue_every is null or balance_cap is null),
  constraint token_plans_slots_are_not_carried_over check (
    issue_every is null or coalesce(rollover_tokens, rollover_percent) is null),
  constraint token_plans_slots_are_small check (
    issue_every is null or tokens <= (tokenbook.limits() -> 'slot_tokens')::bigint),
  constraint token_plans_few_slots_live_at_once check (
    issue_every is null or refill_to is not null or grant_lifetime_days is null
    or grant_lifetime_days <= case issue_every when 'day' then 400 when 'week' then 2800 else 12000 end)
);
create unique index token_plans_one_default_idx on public.token_plans (is_default) where is_default;

-- what set_token_plan answers whoever breaks one
comment on constraint token_plans_name_is_plain on public.token_plans is '1 to 64 characters of a-z 0-9 _, a letter or a digit first';
comment on constraint token_plans_title_is_short on public.token_plans is '1 to 200 characters';
comment on constraint token_plans_grace_is_within_a_year on public.token_plans is '0 to 365, or null for 3 where it costs something and 0 where not';
comment on constraint token_plans_tokens_are_within_limits on public.token_plans is '1 to 1000000000000';
comment on constraint token_plans_articles_are_never_negative on public.token_plans is '0 or more, or null for no limit';
comment on constraint token_plans_storage_is_never_negative on public.token_plans is '0 or more';
comment on constraint token_plans_price_is_never_negative on public.token_plans is '0 or more';
comment on constraint token_plans_currency_is_three_letters on public.token_plans is 'three lower-case letters (ISO 4217)';
comment on constraint token_plans_billing_cycle_is_known on public.token_plans is 'one of none, 28day, monthly, annual';
comment on constraint token_plans_grant_type_is_known on public.token_plans is 'a type of grants (Lists, in the reference)';
comment on constraint token_plans_lifetime_is_positive on public.token_plans is '1 to 36500, or null for ever';
comment on constraint token_plans_what_must_end_ends on public.token_plans is '1 to 36500: grants of this plan''s grant_type must end';
comment on constraint token_plans_features_are_a_small_object on public.token_plans is 'an object of at most 8192 bytes';
comment on constraint token_plans_stripe_price_id_is_short on public.token_plans is '1 to 255 characters';
comment on constraint token_plans_paypal_plan_id_is_short on public.token_plans is '1 to 255 characters';
comment on constraint token_plans_former_stripe_price_ids_are_few on public.token_plans is 'at most 100';
comment on constraint token_plans_former_paypal_plan_ids_are_few on public.token_plans is 'at most 100';
comment on constraint token_plans_cap_is_positive on public.token_plans is '1 or more, or null for no cap';
comment on constraint token_plans_rollover_is_positive on public.token_plans is '1 or more, or null for no such limit';
comment on constraint token_plans_rollover_is_a_part on public.token_plans is '1 to 100, or null for no such limit';
comment on constraint token_plans_rollover_lifetime_is_positive on public.token_plans is '1 to 36500 where something is carried over, else null';
comment on constraint token_plans_rollover_lifetime_is_of_a_rollover on public.token_plans is '1 to 36500 where something is carried over, else null';
comment on constraint token_plans_issue_every_is_known on public.token_plans is 'one of day, week, month, or null for a whole period at once';
comment on constraint token_plans_issue_on_is_known on public.token_plans is 'anniversary or calendar';
comment on constraint token_plans_refill_is_positive on public.token_plans is '1 or more with issue_every, else null';
comment on constraint token_plans_slots_are_shorter_than_periods on public.token_plans is 'day or week: a period of this plan is no longer than a month';
comment on constraint token_plans_a_trial_is_given_at_once on public.token_plans is 'null: a trial is given at once';
comment on constraint token_plans_schedules_have_their_own_cap on public.token_plans is 'null: what a slot fills up to is refill_to';
comment on constraint token_plans_slots_are_not_carried_over on public.token_plans is 'null: slots are not carried over, their tokens live as long as grant_lifetime_days says';
comment on constraint token_plans_slots_are_small on public.token_plans is '1 to 100000000 for each day, week or month';
comment on constraint token_plans_few_slots_live_at_once on public.token_plans is 'at most 400 where issue_every is day, 2800 where week, 12000 where month; or null for ever';

comment on table public.token_plans is
  'The plans: what each gives, costs and is called by payment providers. The project''s own data, changed by set_token_plan; everyone may read it.';
comment on column public.token_plans.plan_type is 'The plan''s name in code.';
comment on column public.token_plans.name is 'The plan''s name for people.';
comment on column public.token_plans.tokens is 'Tokens that a period of it gives; with issue_every, that each day, week or month of it gives.';
comment on column public.token_plans.articles_limit is 'Articles a period; NULL = no limit.';
comment on column public.token_plans.storage_gb is 'Gigabytes of storage it comes with.';
comment on column public.token_plans.price_cents is 'Price of a period, in cents of the currency.';
comment on column public.token_plans.currency is 'ISO 4217, lower case.';
comment on column public.token_plans.billing_cycle is 'Length of a period: none (it does not end), 28day, monthly, annual.';
comment on column public.token_plans.grant_type is 'Type of the grants it makes.';
comment on column public.token_plans.grant_lifetime_days is 'Days of 24 hours that its tokens live, counted from their slot''s start; NULL = for ever, which grants of a type that must end (Lists) may not.';
comment on column public.token_plans.balance_cap is 'A renewal gives no more than what fills the active balance up to this; NULL = no cap.';
comment on column public.token_plans.rollover_tokens is 'When a period closes, at most so many of its tokens are carried into the next; NULL = no such limit. Neither this nor rollover_percent: nothing is carried over.';
comment on column public.token_plans.rollover_percent is 'And at most so much of what the period gave, in percent; NULL = no such limit.';
comment on column public.token_plans.rollover_lifetime_days is 'Days of 24 hours that the tokens carried over live from then on; NULL = for ever.';
comment on column public.token_plans.issue_every is 'How often it gives its tokens: day, week or month, each a slot of the period. NULL = all of a period at once.';
comment on column public.token_plans.issue_on is 'When slots begin: anniversary (so many whole days, weeks or months after the period began; what began on the 31st is on the last day of a shorter month) or calendar (at midnight, on Mondays, on the first of the month). UTC. The first slot begins with the period in any case.';
comment on column public.token_plans.refill_to is 'A slot gives no more than what fills the plan''s own tokens up to this, and slots that were missed are not made up; NULL = each slot adds to the balance.';
comment on column public.token_plans.grace_days is 'Days of 24 hours that it stays in force after a period that nobody renews; NULL = 3 where it costs something, else none. Counts for periods that begin from now on.';
comment on column public.token_plans.rank is 'Order of the plans: to a higher or equal rank is an upgrade, to a lower one a downgrade.';
comment on column public.token_plans.features is 'What else it includes, for the app.';
comment on column public.token_plans.stripe_price_id is 'The price at Stripe.';
comment on column public.token_plans.former_stripe_price_ids is 'What the price was called at Stripe before: subscriptions that renew at one of these still get the plan.';
comment on column public.token_plans.paypal_plan_id is 'The plan at PayPal.';
comment on column public.token_plans.former_paypal_plan_ids is 'What the plan was called at PayPal before: subscriptions to one of these still get the plan.';
comment on column public.token_plans.is_offered is 'Whether it can be bought now.';
comment on column public.token_plans.is_default is 'Whether new users get it; at most one plan. None: registration gives nothing.';
comment on column public.token_plans.given_to_users_since is 'Of the default plan: who signed up before this moment does not get it by themselves, so that a plan which is added to a project with users is not given to all of them. Left out: the moment at which is_default turns true; cleared when it turns false. ''-infinity'': everyone who never had a grant gets it.';
comment on column public.token_plans.created_at is 'When it was added.';
comment on column public.token_plans.updated_at is 'When it was last edited.';

alter table public.token_plans enable row level security;
create policy "Everyone reads the plans" on public.token_plans
  for select to anon, authenticated
  using (true);

-- from supabase/schemas/50_plans/tables/token_storage_quotas.sql

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

-- who reads what of it: tokenbook.is_storage_in_force
alter table public.token_storage_quotas enable row level security;

-- from supabase/schemas/50_plans/tables/token_subscriptions.sql

-- Behind token_subscriptions: what plans a user has. One row a user; its own columns are the plan that was in force when somebody last touched
-- the account; beside it are others that go on until their own end. Which of them is in force at a moment says
-- tokenbook.subscription_at; what everybody reads is the view public.token_subscriptions. Its periods are grants.
create table tokenbook.subscriptions (
  user_id uuid primary key,
  id uuid not null default gen_random_uuid(),
  plan_type text not null references public.token_plans (plan_type),
  tokens_limit bigint not null default 0,
  articles_limit integer,
  features jsonb not null default '{}',
  billing_cycle text not null,
  auto_renew boolean not null default true,
  payment_method text,
  payment_id text,
  period_start timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  grace_days integer not null default 0,
  next_plan_type text references public.token_plans (plan_type),
  schedule jsonb,
  next_slot_at timestamptz,
  cancel_at timestamptz,
  paused_at timestamptz,
  taken_back_at timestamptz,
  ended_at timestamptz,
  beside jsonb not null default '[]',
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint subscriptions_billing_cycle_is_known check (billing_cycle in ('none', '28day', 'monthly', 'annual')),
  constraint subscriptions_limit_is_never_negative check (tokens_limit >= 0),
  constraint subscriptions_expires_after_it_started check (expires_at > period_start),
  constraint subscriptions_grace_is_within_a_year check (grace_days between 0 and 365),
  constraint subscriptions_beside_is_a_list check (jsonb_typeof(beside) = 'array'),
  constraint subscriptions_slots_have_a_schedule check (next_slot_at is null or schedule is not null)
);
comment on table tokenbook.subscriptions is
  'The plans a user has, as whoever touched the account last has recorded them. Changed in the same transaction as the balance, by the functions only. What is in force now: token_subscriptions.';
comment on column tokenbook.subscriptions.user_id is 'The user.';
comment on column tokenbook.subscriptions.id is 'The subscription; stays the same through upgrades and renewals.';
comment on column tokenbook.subscriptions.plan_type is 'The plan.';
comment on column tokenbook.subscriptions.tokens_limit is 'The plan limit: what the balance was last filled up to. Does not move with usage, nor with the end of a plan.';
comment on column tokenbook.subscriptions.articles_limit is 'Articles a period; NULL = no limit.';
comment on column tokenbook.subscriptions.features is 'What else the plan includes.';
comment on column tokenbook.subscriptions.billing_cycle is 'none, 28day, monthly or annual.';
comment on column tokenbook.subscriptions.auto_renew is 'Whether it is meant to be renewed.';
comment on column tokenbook.subscriptions.payment_method is 'How it is paid: card, paypal, manual, …';
comment on column tokenbook.subscriptions.payment_id is 'The payment that the present plan came from: payments.id, or the provider''s name for it.';
comment on column tokenbook.subscriptions.period_start is 'When the present period began.';
comment on column tokenbook.subscriptions.expires_at is 'Until when it is paid; NULL = it does not end.';
comment on column tokenbook.subscriptions.grace_days is 'Days of 24 hours that it stays in force after that when nobody renews it: as the plan said when the period began.';
comment on column tokenbook.subscriptions.next_plan_type is 'The plan from the next period on, after a downgrade.';
comment on column tokenbook.subscriptions.schedule is 'On which terms it gives tokens while the period lasts, as the plan said when it began: {every, on, tokens, refill_to, lifetime_days, grant_type}; NULL = all at once.';
comment on column tokenbook.subscriptions.next_slot_at is 'When the first slot of that begins which is not booked yet; NULL = none in this period.';
comment on column tokenbook.subscriptions.cancel_at is 'When it ends for good, by the word of its provider; NULL = it is not cancelled.';
comment on column tokenbook.subscriptions.paused_at is 'Since when its provider has paused it; NULL = it is not paused.';
comment on column tokenbook.subscriptions.taken_back_at is 'Since when all the money that it was paid with is gone, in refunds or disputes; NULL = it is not.';
comment on column tokenbook.subscriptions.ended_at is 'Since when no plan is in force: it was not renewed, was cancelled, or its money was taken back. NULL = one is, or nobody has recorded it yet.';
comment on column tokenbook.subscriptions.beside is 'Plans that it took the place of, or that were paid for beside a higher one: at most one a plan, each with the columns of a plan above. The highest rank in force counts.';
comment on column tokenbook.subscriptions.created_at is 'Since when they have one.';
comment on column tokenbook.subscriptions.updated_at is 'When it last changed.';

create index subscriptions_plan_idx on tokenbook.subscriptions (plan_type);
create index subscriptions_next_plan_idx on tokenbook.subscriptions (next_plan_type) where next_plan_type is not null;

-- what the view reads with its caller's rights
alter table tokenbook.subscriptions enable row level security;
create policy "Users read their own subscription" on tokenbook.subscriptions
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/50_plans/tables/trial_keys.sql

/*
 * The key of the digests in trials_taken. One row, made by the first who needs it (tokenbook.trial_key), so that a
 * database that was made from a schema alone has a key of its own. No function gives it to a caller.
 */
create table tokenbook.trial_keys (
  is_current boolean primary key default true,
  key bytea not null,
  made_at timestamptz not null default clock_timestamp(),
  constraint trial_keys_has_one_row check (is_current),
  constraint trial_keys_are_long check (length(key) = 32)
);
comment on table tokenbook.trial_keys is
  'The key of the digests of trials_taken. It never leaves the database but in a backup of all of it; who loses it loses the memory of every trial.';
comment on column tokenbook.trial_keys.is_current is 'Always true: there is one row.';
comment on column tokenbook.trial_keys.key is 'The key: 32 random bytes.';
comment on column tokenbook.trial_keys.made_at is 'When it was made.';
alter table tokenbook.trial_keys enable row level security;

-- from supabase/schemas/50_plans/tables/trials_taken.sql

-- Who has had a trial, as nobody can read it: a keyed digest of each thing that a person is known by. It names no
-- user, so that it outlives them; and without the key, which is beside it, no guess can be tried.
create table tokenbook.trials_taken (
  identifier bytea primary key,
  taken_at timestamptz not null default clock_timestamp(),
  constraint trials_taken_are_digests check (length(identifier) = 32)
);
comment on table tokenbook.trials_taken is
  'Who has had a trial: HMAC-SHA256 of the user''s id, normalised address, phone number and identities at providers. Written at the moment a trial is given; nobody may read it.';
comment on column tokenbook.trials_taken.identifier is 'HMAC-SHA256 under tokenbook.trial_keys of one thing that the person is known by (tokenbook.trial_identifiers).';
comment on column tokenbook.trials_taken.taken_at is 'When it was first remembered.';
alter table tokenbook.trials_taken enable row level security;

-- from supabase/schemas/60_payments/tables/parked_reasons.sql

/*
 * Why a payment may wait for an admin, each reason with a sentence for people. A new one is added here, and to
 * ParkedReason in supabase/functions/_shared/facts.ts.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.parked_reasons()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{
    "user_unknown": "Nothing says which user paid, or there is no such user.",
    "price_unknown": "What was paid for is nothing in the catalogue: no plan and no pack has that price id or name.",
    "quantity": "A plan was bought more than once, or more packs than one payment may buy.",
    "proration": "It is the difference that a change in mid-period costs, not the price of a plan.",
    "amount_differs": "The amount is not the price of what was named.",
    "currency_differs": "The currency is not the one of what was named.",
    "credited": "Part of it is a credit that names nothing which was paid for before: what it was bought with is not known to be money.",
    "several_things": "Several things were bought in one payment.",
    "nothing_paid": "Nothing was paid.",
    "setup_fee": "It is the setup fee of a subscription, which pays for no period.",
    "nothing_named": "Nothing says what was bought.",
    "items_unknown": "Stripe could not be asked what was bought: stripe-webhook has no STRIPE_SECRET_KEY. Set it and let Stripe send the event again, or assign the payment."
  }';
end
$$;
comment on function tokenbook.parked_reasons is
  'Why a provider''s payment may wait for an admin: {reason: a sentence for people}.';

-- from supabase/schemas/60_payments/tables/provider_customers.sql

-- Whose a provider's customer is: so that a payment that names its customer alone finds its user.
create table tokenbook.provider_customers (
  provider text not null,
  customer_id text not null,
  user_id uuid,
  told_at timestamptz not null default clock_timestamp(),
  event_id text not null default '',
  created_at timestamptz not null default clock_timestamp(),
  constraint provider_customers_pkey primary key (provider, customer_id)
);
comment on table tokenbook.provider_customers is
  'Customers of payment providers and the users they are, learned from whatever named both. The row is the lock of a customer, too.';
comment on column tokenbook.provider_customers.provider is 'stripe or paypal.';
comment on column tokenbook.provider_customers.customer_id is 'The provider''s id of the customer.';
comment on column tokenbook.provider_customers.user_id is 'The user; NULL = nothing has named one yet.';
comment on column tokenbook.provider_customers.told_at is 'When that happened which named them, by the provider''s clock: the first one counts. -infinity: our own server or an admin said it, before whatever an event says; infinity: an admin assigned a payment, after whatever.';
comment on column tokenbook.provider_customers.event_id is 'Which event that was; empty = our own server or an admin; assigned: and an id of ours = an assigned payment.';
comment on column tokenbook.provider_customers.created_at is 'When we first heard of the customer.';
create index provider_customers_user_idx on tokenbook.provider_customers (user_id);
alter table tokenbook.provider_customers enable row level security;

-- from supabase/schemas/60_payments/tables/provider_events.sql

-- What providers have told us, one fact a row, and what an admin has said of a parked payment: the one source of
-- all that is known of a provider's payment. Never changed: a fact counts for ever, whatever comes after it.
create table tokenbook.provider_events (
  provider text not null,
  provider_payment_id text not null,
  event_id text not null,
  digest bytea not null,
  event_type text not null,
  occurred_at timestamptz not null,
  facts jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  constraint provider_events_pkey primary key (provider, provider_payment_id, event_id, digest)
);
comment on table tokenbook.provider_events is
  'Facts that payment providers told us, and admins'' assignments: committed with their effect, or not at all. The same event with the same content is one row; with other content it is another.';
comment on column tokenbook.provider_events.provider is 'stripe or paypal.';
comment on column tokenbook.provider_events.provider_payment_id is 'The payment it is about.';
comment on column tokenbook.provider_events.event_id is 'The provider''s id of the event; assigned: and an id of ours for what an admin said.';
comment on column tokenbook.provider_events.digest is 'SHA-256 of the facts: what makes a repetition one.';
comment on column tokenbook.provider_events.event_type is 'Its type there.';
comment on column tokenbook.provider_events.occurred_at is 'When it happened, by the provider''s clock: decides which of two facts is the later one.';
comment on column tokenbook.provider_events.facts is 'What it said, as far as we use it.';
comment on column tokenbook.provider_events.received_at is 'When it came first.';
alter table tokenbook.provider_events enable row level security;

-- from supabase/schemas/60_payments/tables/provider_payments.sql

-- What is known of a provider's payment: computed from all of its events by tokenbook.facts_of_payment, so that the
-- same events in any order, any number of times, make the same row. It is also what makes a provider's payment id
-- unique, the lock of its events, and where a payment waits whose user is not known, or what was bought.
create table tokenbook.provider_payments (
  provider text not null,
  provider_payment_id text not null,
  part_of text,
  user_id uuid,
  customer_id text,
  plan_type text,
  pack_type text,
  quantity integer,
  price_id text,
  is_paid boolean not null default false,
  amount_cents bigint,
  currency text,
  refunded_cents bigint not null default 0,
  disputed_cents bigint not null default 0,
  period_start timestamptz,
  parked_reason text,
  disagrees jsonb,
  told_as text,
  dismissed_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint provider_payments_pkey primary key (provider, provider_payment_id),
  constraint provider_payments_park_for_a_known_reason check (tokenbook.parked_reasons() ? parked_reason),
  constraint provider_payments_lose_no_more_than_was_paid
    check (refunded_cents >= 0 and disputed_cents >= 0 and refunded_cents + disputed_cents <= amount_cents)
);
comment on table tokenbook.provider_payments is
  'What is known of a provider''s payments, computed from all that was told of each. One that was paid and has a parked_reason waits for an admin.';
comment on column tokenbook.provider_payments.provider is 'stripe or paypal.';
comment on column tokenbook.provider_payments.provider_payment_id is 'The provider''s id of the payment.';
comment on column tokenbook.provider_payments.part_of is 'The payment whose facts have what is told of this one: both paid for the same. NULL = it is one by itself.';
comment on column tokenbook.provider_payments.user_id is 'The user, by our own mapping; NULL = not known yet. Once it is booked: whom it was booked to.';
comment on column tokenbook.provider_payments.customer_id is 'The provider''s id of who paid.';
comment on column tokenbook.provider_payments.plan_type is 'The plan that was bought, by our own catalogue; NULL = a pack, or not known yet. Once it is booked: what was.';
comment on column tokenbook.provider_payments.pack_type is 'The pack that was bought, by our own catalogue; NULL = a plan, or not known yet.';
comment on column tokenbook.provider_payments.quantity is 'How many; of a plan always 1.';
comment on column tokenbook.provider_payments.price_id is 'The provider''s id of the price that was paid, for whoever has to say what was bought.';
comment on column tokenbook.provider_payments.is_paid is 'Whether it was paid.';
comment on column tokenbook.provider_payments.amount_cents is 'The most that any event says was paid, in cents; where none says it, the price in the catalogue.';
comment on column tokenbook.provider_payments.currency is 'ISO 4217, lower case.';
comment on column tokenbook.provider_payments.refunded_cents is 'What went back in refunds that have not failed, or was credited to the customer for unused time, at most the amount.';
comment on column tokenbook.provider_payments.disputed_cents is 'What disputes withhold that are open or lost, at most what refunds have left.';
comment on column tokenbook.provider_payments.period_start is 'The period it pays for, when the provider says so.';
comment on column tokenbook.provider_payments.parked_reason is 'Why a payment waits that was paid: see tokenbook.parked_reasons; NULL = it does not.';
comment on column tokenbook.provider_payments.disagrees is 'What else was told of user, plan, pack, quantity or currency than what counts, by field: noted, never booked.';
comment on column tokenbook.provider_payments.told_as is 'A digest of what was known when the project was told that it is parked: other news are told again.';
comment on column tokenbook.provider_payments.dismissed_at is 'When an admin or the server took it off the list of what is parked; NULL = not, or something else has become known since.';
comment on column tokenbook.provider_payments.created_at is 'When we first heard of it.';
comment on column tokenbook.provider_payments.updated_at is 'When we last heard of it.';
create index provider_payments_parked_idx
  on tokenbook.provider_payments (created_at, provider, provider_payment_id) where parked_reason is not null and dismissed_at is null;
create index provider_payments_parts_idx on tokenbook.provider_payments (provider, part_of) where part_of is not null;
create index provider_payments_waiting_customer_idx
  on tokenbook.provider_payments (provider, customer_id, created_at) where user_id is null and customer_id is not null;
create index provider_payments_user_idx on tokenbook.provider_payments (user_id);
alter table tokenbook.provider_payments enable row level security;

-- from supabase/schemas/60_payments/tables/provider_subscription_events.sql

-- What providers have told us of subscriptions, one fact a row: the one source of all that is known of them.
create table tokenbook.provider_subscription_events (
  provider text not null,
  provider_subscription_id text not null,
  event_id text not null,
  digest bytea not null,
  event_type text not null,
  occurred_at timestamptz not null,
  facts jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  constraint provider_subscription_events_pkey primary key (provider, provider_subscription_id, event_id, digest)
);
comment on table tokenbook.provider_subscription_events is
  'Facts of subscriptions that payment providers told us, committed with their effect or not at all. The same event with the same content is one row; with other content it is another.';
comment on column tokenbook.provider_subscription_events.provider is 'stripe or paypal.';
comment on column tokenbook.provider_subscription_events.provider_subscription_id is 'The subscription it is about.';
comment on column tokenbook.provider_subscription_events.event_id is 'The provider''s id of the event.';
comment on column tokenbook.provider_subscription_events.digest is 'SHA-256 of the facts: what makes a repetition one.';
comment on column tokenbook.provider_subscription_events.event_type is 'Its type there.';
comment on column tokenbook.provider_subscription_events.occurred_at is 'When it happened, by the provider''s clock: decides which of two facts is the later one.';
comment on column tokenbook.provider_subscription_events.facts is 'What it said, as far as we use it.';
comment on column tokenbook.provider_subscription_events.received_at is 'When it came first.';
alter table tokenbook.provider_subscription_events enable row level security;

-- from supabase/schemas/60_payments/tables/provider_subscriptions.sql

-- What is known of a provider's subscription: computed from all of its events by tokenbook.facts_of_subscription, so
-- that the same events in any order, any number of times, make the same row. It gives no plan, a payment does that;
-- it says whether the plan that was paid for is paused, or ends.
create table tokenbook.provider_subscriptions (
  provider text not null,
  provider_subscription_id text not null,
  user_id uuid,
  customer_id text,
  plan_type text,
  price_id text,
  status text,
  cancel_at timestamptz,
  current_period_end timestamptz,
  occurred_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint provider_subscriptions_pkey primary key (provider, provider_subscription_id),
  constraint provider_subscriptions_status_is_known check (status in ('active', 'past_due', 'paused', 'cancelled'))
);
comment on table tokenbook.provider_subscriptions is
  'What is known of a provider''s subscriptions, each by its own id, computed from all that was told of it.';
comment on column tokenbook.provider_subscriptions.provider is 'stripe or paypal.';
comment on column tokenbook.provider_subscriptions.provider_subscription_id is 'The provider''s id of the subscription.';
comment on column tokenbook.provider_subscriptions.user_id is 'The user that an event names; NULL = none does: whose its customer is counts.';
comment on column tokenbook.provider_subscriptions.customer_id is 'The provider''s id of who pays.';
comment on column tokenbook.provider_subscriptions.plan_type is 'Its plan, by our own catalogue, as it was told last; NULL = not known.';
comment on column tokenbook.provider_subscriptions.price_id is 'The provider''s id of its price, as it was told last.';
comment on column tokenbook.provider_subscriptions.status is 'active, past_due, paused or cancelled, as it was told last.';
comment on column tokenbook.provider_subscriptions.cancel_at is 'When it ends, by the same event; NULL = that says nothing of an end.';
comment on column tokenbook.provider_subscriptions.current_period_end is 'When its period ends, by the same event.';
comment on column tokenbook.provider_subscriptions.occurred_at is 'When that happened, by the provider''s clock.';
comment on column tokenbook.provider_subscriptions.created_at is 'When we first heard of it.';
comment on column tokenbook.provider_subscriptions.updated_at is 'When we last heard of it.';
create index provider_subscriptions_user_idx on tokenbook.provider_subscriptions (user_id);
create index provider_subscriptions_customer_idx on tokenbook.provider_subscriptions (provider, customer_id);
alter table tokenbook.provider_subscriptions enable row level security;

-- from supabase/schemas/60_payments/tables/token_payments.sql

-- One row a payment, asked for or made.
create table public.token_payments (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'pending',
  provider text not null default 'manual',
  provider_payment_id text,
  from_plan text references public.token_plans (plan_type),
  to_plan text references public.token_plans (plan_type),
  pack_type text references public.token_packs (pack_type),
  quantity integer not null default 1,
  amount_cents bigint not null,
  currency text not null,
  terms jsonb not null,
  tokens bigint,
  refunded_cents bigint not null default 0,
  disputed_cents bigint not null default 0,
  tokens_clawed_back bigint not null default 0,
  idempotency_key text,
  reason text,
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  decided_by uuid,
  constraint token_payments_pkey primary key (user_id, id),
  constraint token_payments_status_is_known check (status in ('pending', 'approved', 'rejected', 'refunded')),
  constraint token_payments_decided_when_not_pending check ((status = 'pending') = (decided_at is null)),
  constraint token_payments_are_for_a_plan_or_a_pack check (num_nonnulls(to_plan, pack_type) = 1),
  constraint token_payments_buy_a_plan_once check (
    quantity between 1 and case when to_plan is not null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end),
  constraint token_payments_have_terms check (jsonb_typeof(terms) = 'object'),
  constraint token_payments_amounts_are_never_negative check (amount_cents >= 0 and refunded_cents >= 0 and disputed_cents >= 0),
  constraint token_payments_clawed_back_is_within_tokens
    check (tokens_clawed_back between 0 and coalesce(tokens, 0))
);
comment on table public.token_payments is
  'Payments: pending until an admin or the provider decides; an approved one has given its tokens in the same commit. Written by the functions only.';
comment on column public.token_payments.user_id is 'Who pays.';
comment on column public.token_payments.id is 'The payment; unique per user.';
comment on column public.token_payments.status is 'pending, approved, rejected, refunded.';
comment on column public.token_payments.provider is 'manual, stripe or paypal.';
comment on column public.token_payments.provider_payment_id is 'The provider''s id of it, unique per provider (see tokenbook.provider_payments).';
comment on column public.token_payments.from_plan is 'The plan they were on; NULL = none, or a pack was bought, which leaves it alone.';
comment on column public.token_payments.to_plan is 'The plan they pay for; or a pack.';
comment on column public.token_payments.pack_type is 'The pack they pay for; or a plan.';
comment on column public.token_payments.quantity is 'How many packs; of a plan always 1.';
comment on column public.token_payments.amount_cents is 'The price of all of them, in cents of the currency; of a provider''s payment what was paid.';
comment on column public.token_payments.currency is 'ISO 4217, lower case.';
comment on column public.token_payments.terms is 'What is given for it, as the catalogue said when it was asked for, or when it was booked: of a pack {name, tokens (of one), lifetime_days, priority}, of a plan {name, tokens, grant_lifetime_days, issue_every, issue_on, refill_to, articles_limit, storage_gb, features}. What the catalogue says now: token_offer_now.';
comment on column public.token_payments.tokens is 'Tokens it gave, up to now where its plan gives them over time; NULL until approved.';
comment on column public.token_payments.refunded_cents is 'Of the amount, how much has been refunded, or credited to the customer for unused time.';
comment on column public.token_payments.disputed_cents is 'Of the amount, how much disputes withhold that are open or lost.';
comment on column public.token_payments.tokens_clawed_back is 'Of its tokens, how many were taken back or became debt.';
comment on column public.token_payments.idempotency_key is 'The key it was asked for with, after user: or server:, whose it is.';
comment on column public.token_payments.reason is 'Why it was approved or rejected; NULL = whoever did it gave no reason, or nobody has yet.';
comment on column public.token_payments.created_at is 'When it was asked for.';
comment on column public.token_payments.decided_at is 'When it was decided.';
comment on column public.token_payments.decided_by is 'The admin who decided, or who said whose a parked payment is; NULL = the server.';

create unique index token_payments_provider_key on public.token_payments (user_id, provider, provider_payment_id)
  where provider_payment_id is not null;
create unique index token_payments_idempotency_key on public.token_payments (user_id, idempotency_key)
  where idempotency_key is not null;
create index token_payments_pending_idx on public.token_payments (created_at) where status = 'pending';
create index token_payments_user_pending_idx on public.token_payments (user_id) where status = 'pending';
create index token_payments_from_plan_idx on public.token_payments (from_plan);
create index token_payments_to_plan_idx on public.token_payments (to_plan);
create index token_payments_pack_idx on public.token_payments (pack_type) where pack_type is not null;

alter table public.token_payments enable row level security;
create policy "Users read their own payments" on public.token_payments
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/70_alerts/tables/alert_kinds.sql

/*
 * The kinds of alerts. asks: what a rule of that kind says (a threshold; hours; nothing), null for a
 * kind that no rule is of. about: what an alert of it is about (a crossing, counted by epoch; a grant;
 * a request; a moment of a subscription, or of the project: its epoch says which). ends: whether its end can be an alert too.
 * The one list: the CHECKs, set_token_alert_rule and the reference have it from here, and the edge
 * functions (_shared/lists.ts). A kind that is added here is a rule that can be set and an alert that
 * can be kept; who writes it is code of its own.
 * Caller: internal, and CHECKs.
 */
create function tokenbook.alert_kinds()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"dropped":             {"asks": "threshold", "about": "crossing", "ends": true},
           "depleted":            {"asks": "nothing",   "about": "crossing", "ends": true},
           "expiring_soon":       {"asks": "hours",     "about": "grant",    "ends": false},
           "recovered":           {"asks": null,        "about": "crossing", "ends": false},
           "top_up_requested":    {"asks": null,        "about": "request",  "ends": false},
           "top_up_needs_action": {"asks": null,        "about": "request",  "ends": false},
           "top_up_failed":       {"asks": null,        "about": "request",  "ends": false},
           "subscription_past_due": {"asks": null,     "about": "moment",   "ends": false},
           "subscription_ended":  {"asks": null,       "about": "moment",   "ends": false},
           "payment_parked":      {"asks": null,       "about": "moment",   "ends": false}}';
end
$$;
comment on function tokenbook.alert_kinds is
  'The kinds of alerts: {kind: {asks (threshold, hours, nothing; null: no rule), about (crossing, grant, request, moment), ends}}.';

-- from supabase/schemas/70_alerts/tables/project_alert_numbers.sql

-- The numbers of the project's own alerts (token_alerts of the user that is all zeros). They may have gaps: nobody
-- waits for another to be told.
create sequence tokenbook.project_alert_numbers as bigint;
comment on sequence tokenbook.project_alert_numbers is
  'Numbers of the alerts that are the project''s and no user''s.';

-- from supabase/schemas/70_alerts/tables/token_alert_rules.sql

-- When to raise an alert, and for whom: for everyone, for a plan, or for one user. Of the rules of one
-- name the closest holds for a user: his own, else his plan's, else everyone's.
create table public.token_alert_rules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid,
  plan_type text references public.token_plans (plan_type),
  rule text not null,
  kind text not null,
  threshold_tokens bigint,
  threshold_percent integer,
  hours integer,
  notify_recovered boolean not null default false,
  is_enabled boolean not null default true,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_alert_rules_key unique nulls not distinct (user_id, plan_type, rule),
  constraint token_alert_rules_concern_a_user_or_a_plan check (num_nonnulls(user_id, plan_type) <= 1),
  constraint token_alert_rules_name_is_plain check (rule ~ '^[a-z][a-z0-9_]{0,63}$' and rule <> 'auto_top_up'),
  constraint token_alert_rules_tokens_are_within_limits check (threshold_tokens between 1 and 1000000000000),
  constraint token_alert_rules_percent_is_one check (threshold_percent between 1 and 100),
  constraint token_alert_rules_hours_are_within_a_year check (hours between 1 and 8760),
  constraint token_alert_rules_say_what_their_kind_needs check (
    case tokenbook.alert_kinds() -> kind ->> 'asks'
      when 'threshold' then num_nonnulls(threshold_tokens, threshold_percent) = 1 and hours is null
      when 'nothing' then num_nonnulls(threshold_tokens, threshold_percent, hours) = 0
      when 'hours' then num_nonnulls(threshold_tokens, threshold_percent) = 0 and hours is not null
      else false
    end
    and (not notify_recovered or (tokenbook.alert_kinds() -> kind -> 'ends')::boolean))
);
comment on table public.token_alert_rules is
  'When to raise an alert, for everyone, a plan or a user; of the rules of one name the closest holds. Written by set_token_alert_rule and remove_token_alert_rule.';
comment on column public.token_alert_rules.id is 'The rule as a row.';
comment on column public.token_alert_rules.user_id is 'The user whom it is for; NULL = not for one alone.';
comment on column public.token_alert_rules.plan_type is 'The plan whose users it is for; NULL = any.';
comment on column public.token_alert_rules.rule is 'Its name: what an alert says, and what one rule replaces another by.';
comment on column public.token_alert_rules.kind is 'dropped (below a threshold), depleted (at 0), expiring_soon (a grant runs out within hours).';
comment on column public.token_alert_rules.threshold_tokens is 'dropped: raised when fewer tokens than this can be spent.';
comment on column public.token_alert_rules.threshold_percent is 'dropped: the same as a share of the plan limit (token_subscriptions.tokens_limit); without a subscription the rule does not apply.';
comment on column public.token_alert_rules.hours is 'expiring_soon: how long before a grant''s expiry.';
comment on column public.token_alert_rules.notify_recovered is 'Whether the end of an alert is an alert too.';
comment on column public.token_alert_rules.is_enabled is 'False: nothing is raised; a user''s or a plan''s own rule mutes the wider one of its name so.';
comment on column public.token_alert_rules.updated_at is 'When it was last set.';

create index token_alert_rules_plan_idx on public.token_alert_rules (plan_type) where plan_type is not null;

alter table public.token_alert_rules enable row level security;
create policy "Users read the rules that may concern them" on public.token_alert_rules
  for select to authenticated
  using (user_id is null or (select auth.uid()) = user_id);

-- from supabase/schemas/70_alerts/tables/token_alert_states.sql

-- On which side of each threshold a user is, and whether he was told.
create table tokenbook.token_alert_states (
  user_id uuid not null,
  rule text not null,
  threshold bigint,
  is_below boolean not null,
  is_raised boolean not null default false,
  epoch bigint not null default 0,
  changed_in xid8,
  changed_at timestamptz not null,
  constraint token_alert_states_pkey primary key (user_id, rule)
);
comment on table tokenbook.token_alert_states is
  'On which side of each threshold a user is, and whether he was told. Written under his account''s lock.';
comment on column tokenbook.token_alert_states.user_id is 'The user.';
comment on column tokenbook.token_alert_states.rule is 'The rule''s name; auto_top_up for the top-up.';
comment on column tokenbook.token_alert_states.threshold is 'The threshold in tokens when this was noted; NULL = the rule did not apply.';
comment on column tokenbook.token_alert_states.is_below is 'Whether fewer tokens than that could be spent.';
comment on column tokenbook.token_alert_states.is_raised is 'Whether an alert was raised when it last went below.';
comment on column tokenbook.token_alert_states.epoch is 'How often an alert was raised: dropped and the recovered that ends it share the number.';
comment on column tokenbook.token_alert_states.changed_in is 'The database transaction that moved it to this side; what it moves back never happened.';
comment on column tokenbook.token_alert_states.changed_at is 'When.';
alter table tokenbook.token_alert_states enable row level security;

-- from supabase/schemas/70_alerts/tables/token_alerts.sql

-- Alerts, and the outbox that they are delivered from: one row for each crossing, written in the
-- transaction that crosses.
create table public.token_alerts (
  user_id uuid not null,
  id bigint not null,
  kind text not null,
  rule text not null,
  epoch bigint,
  grant_id uuid,
  request_id uuid,
  payload jsonb not null,
  created_at timestamptz not null,
  delivery text not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  claim_id uuid,
  last_error text,
  settled_at timestamptz,
  constraint token_alerts_pkey primary key (user_id, id),
  constraint token_alerts_are_numbered_from_one check (id >= 1),
  constraint token_alerts_say_what_about check (
    case tokenbook.alert_kinds() -> kind ->> 'about'
      when 'crossing' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'grant' then grant_id is not null and num_nonnulls(epoch, request_id) = 0
      when 'moment' then epoch is not null and num_nonnulls(grant_id, request_id) = 0
      when 'request' then request_id is not null and num_nonnulls(epoch, grant_id) = 0
      else false
    end),
  constraint token_alerts_delivery_is_known check (
    case delivery
      when 'pending' then next_attempt_at is not null and settled_at is null
      when 'delivered' then next_attempt_at is null and settled_at is not null
      when 'given_up' then next_attempt_at is null and settled_at is not null
      else false
    end)
) with (fillfactor = 90);
comment on table public.token_alerts is
  'Alerts, one row for each crossing, written in the transaction that crosses; and how far their delivery has come. Written by the functions only.';
comment on column public.token_alerts.user_id is 'The user; all zeros: the project itself. No foreign key: what somebody was told outlives them.';
comment on column public.token_alerts.id is 'The alert''s number among the user''s: 1, 2, 3, … token_accounts.last_alert_id names the newest.';
comment on column public.token_alerts.kind is 'What happened: dropped, depleted, recovered, … (all of them: Lists, in the reference).';
comment on column public.token_alerts.rule is 'The name of the rule; auto_top_up for a top-up; the kind for what no rule is of.';
comment on column public.token_alerts.epoch is 'Which time this rule was raised for them; a recovered has the number of what it ends. Of a subscription: the moment, in microseconds since 1970.';
comment on column public.token_alerts.grant_id is 'expiring_soon: the grant.';
comment on column public.token_alerts.request_id is 'top_up_…: the request.';
comment on column public.token_alerts.payload is 'What is delivered: tokens_remaining, tokens_limit, plan_type, transaction_id (his newest then), and by kind threshold_tokens, threshold_percent, grant_id, grant_tokens, expires_at, request_id, tokens, top_up_plan_type, top_up_pack_type, top_up_quantity, amount_cents, currency, reason, ended_plan_type, past_due_plan_type, provider. Of payment_parked: provider, provider_payment_id, parked_reason, explanation, price_id, amount_cents, currency.';
comment on column public.token_alerts.created_at is 'When it was raised.';
comment on column public.token_alerts.delivery is 'pending; delivered (the receiver has said so); given_up (too many attempts, or too old).';
comment on column public.token_alerts.attempts is 'How often its delivery was begun.';
comment on column public.token_alerts.next_attempt_at is 'When it is due to be sent (again); while it is being sent, when that counts as lost.';
comment on column public.token_alerts.claim_id is 'Who is sending it, or sent it last.';
comment on column public.token_alerts.last_error is 'Why the last attempt failed.';
comment on column public.token_alerts.settled_at is 'When it was delivered or given up.';

-- a crossing is written once, and so is a warning about a grant
create unique index token_alerts_crossing_key
  on public.token_alerts (user_id, rule, epoch, (kind = 'recovered')) where epoch is not null;
create unique index token_alerts_grant_key
  on public.token_alerts (user_id, rule, grant_id) where grant_id is not null;
create index token_alerts_outbox_idx on public.token_alerts (next_attempt_at) where delivery = 'pending';
create index token_alerts_given_up_idx on public.token_alerts (created_at) where delivery = 'given_up';

alter table public.token_alerts enable row level security;
create policy "Users read their own alerts" on public.token_alerts
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/70_alerts/tables/token_top_up_requests.sql

-- One row a request for more tokens: what was asked for, at which price, and what came of it. The charge itself
-- is made by whoever has claimed it (claim_token_top_ups), and kept where payments are.
create table public.token_top_up_requests (
  user_id uuid not null,
  id uuid not null default gen_random_uuid(),
  status text not null default 'pending',
  tokens bigint,
  plan_type text references public.token_plans (plan_type),
  pack_type text references public.token_packs (pack_type),
  quantity integer not null default 1,
  amount_cents bigint,
  currency text,
  customer_id text,
  attempts integer not null default 0,
  first_attempt_at timestamptz,
  next_attempt_at timestamptz,
  reason text,
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint token_top_up_requests_pkey primary key (user_id, id),
  constraint token_top_up_requests_ask_for_tokens_a_plan_or_packs check (num_nonnulls(tokens, plan_type, pack_type) = 1),
  constraint token_top_up_requests_count_packs check (
    quantity between 1 and case when pack_type is null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end),
  constraint token_top_up_requests_reason_is_given check (length(reason) between 1 and 500),
  constraint token_top_up_requests_are_settled_once check (
    case status
      when 'pending' then settled_at is null and next_attempt_at is not null
      when 'done' then settled_at is not null and next_attempt_at is null
      when 'failed' then settled_at is not null and next_attempt_at is null
      else false
    end),
  constraint token_top_up_requests_attempts_have_a_first check ((attempts = 0) = (first_attempt_at is null))
);
comment on table public.token_top_up_requests is
  'Requests for more tokens, one at a time per user; settled by the server that charges. Written by the functions only.';
comment on column public.token_top_up_requests.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_top_up_requests.id is 'The request; unique per user. A good idempotency key for the charge.';
comment on column public.token_top_up_requests.status is 'pending; then once and for ever done or failed.';
comment on column public.token_top_up_requests.tokens is 'Tokens to buy; or a plan, or packs.';
comment on column public.token_top_up_requests.plan_type is 'The plan to buy; or tokens, or packs.';
comment on column public.token_top_up_requests.pack_type is 'The pack to buy; or tokens, or a plan.';
comment on column public.token_top_up_requests.quantity is 'How many packs to buy; of anything else 1.';
comment on column public.token_top_up_requests.amount_cents is 'What it costs, by the catalogue when the charge was first begun; NULL = it was not, or there is no price for it.';
comment on column public.token_top_up_requests.currency is 'ISO 4217, lower case.';
comment on column public.token_top_up_requests.customer_id is 'The customer at Stripe who pays, as known when the charge was first begun.';
comment on column public.token_top_up_requests.attempts is 'How often a charge was begun; all of them under one key.';
comment on column public.token_top_up_requests.first_attempt_at is 'When that was first.';
comment on column public.token_top_up_requests.next_attempt_at is 'When it is due to be charged (again); while somebody does, when that counts as lost. NULL = settled.';
comment on column public.token_top_up_requests.reason is 'What the server said of its outcome.';
comment on column public.token_top_up_requests.created_at is 'When it was asked for.';
comment on column public.token_top_up_requests.settled_at is 'When the server said what came of it.';

-- whatever else goes wrong, nobody is charged twice at a time
create unique index token_top_up_requests_one_pending_key
  on public.token_top_up_requests (user_id) where status = 'pending';
create index token_top_up_requests_due_idx
  on public.token_top_up_requests (next_attempt_at) where status = 'pending';
create index token_top_up_requests_time_idx on public.token_top_up_requests (user_id, created_at);
create index token_top_up_requests_plan_idx
  on public.token_top_up_requests (plan_type) where plan_type is not null;
create index token_top_up_requests_pack_idx
  on public.token_top_up_requests (pack_type) where pack_type is not null;

alter table public.token_top_up_requests enable row level security;
create policy "Users read their own top-up requests" on public.token_top_up_requests
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/70_alerts/tables/token_top_ups.sql

-- Whether and how a user's tokens are to be topped up by themselves. One row a user.
create table public.token_top_ups (
  user_id uuid primary key,
  is_enabled boolean not null,
  below_tokens bigint not null,
  tokens bigint,
  plan_type text references public.token_plans (plan_type),
  pack_type text references public.token_packs (pack_type),
  quantity integer not null default 1,
  cooldown_seconds integer not null,
  max_requests integer not null,
  window_seconds integer not null,
  paused_at timestamptz,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_top_ups_threshold_is_within_limits check (below_tokens between 1 and 1000000000000),
  constraint token_top_ups_tokens_are_within_limits check (tokens between 1 and 1000000000000),
  constraint token_top_ups_buy_tokens_a_plan_or_packs check (num_nonnulls(tokens, plan_type, pack_type) = 1),
  constraint token_top_ups_count_packs check (
    quantity between 1 and case when pack_type is null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end),
  constraint token_top_ups_cooldown_is_within_limits check (cooldown_seconds between 30 and 2592000),
  constraint token_top_ups_cap_is_within_limits check (max_requests between 1 and 100),
  constraint token_top_ups_window_is_within_limits check (window_seconds between 60 and 2592000)
);
comment on table public.token_top_ups is
  'Automatic top-up: when to ask for more tokens, for how many, and how often at most. Written by the functions only.';
comment on column public.token_top_ups.user_id is 'The user. No foreign key: money outlives the user.';
comment on column public.token_top_ups.is_enabled is 'Whether he wants it.';
comment on column public.token_top_ups.below_tokens is 'Asked for when fewer tokens than this can be spent.';
comment on column public.token_top_ups.tokens is 'Tokens to buy; or a plan, or packs.';
comment on column public.token_top_ups.plan_type is 'The plan to buy; or tokens, or packs.';
comment on column public.token_top_ups.pack_type is 'The pack to buy; or tokens, or a plan.';
comment on column public.token_top_ups.quantity is 'How many packs to buy; of anything else 1.';
comment on column public.token_top_ups.cooldown_seconds is 'Seconds from the last request, or from its outcome, to the next at least.';
comment on column public.token_top_ups.max_requests is 'Requests in window_seconds at most.';
comment on column public.token_top_ups.window_seconds is 'The window of max_requests.';
comment on column public.token_top_ups.paused_at is 'Since when nothing is asked for, because a charge has failed; until it is set anew.';
comment on column public.token_top_ups.updated_at is 'When it was last set, or paused.';

create index token_top_ups_plan_idx on public.token_top_ups (plan_type) where plan_type is not null;
create index token_top_ups_pack_idx on public.token_top_ups (pack_type) where pack_type is not null;

alter table public.token_top_ups enable row level security;
create policy "Users read their own top-up" on public.token_top_ups
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/80_teams/tables/token_default_spend_caps.sql

-- Caps of whole plans and of everyone. Not a user's rows, so a table of their own.
create table public.token_default_spend_caps (
  id uuid primary key default gen_random_uuid(), -- a publication takes no change of a table without one
  plan_type text references public.token_plans (plan_type),
  spend_window text not null,
  tokens bigint not null,
  reason text,
  actor_role text not null,
  actor_id uuid,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_default_spend_caps_key unique nulls not distinct (plan_type, spend_window),
  constraint token_default_spend_caps_window_is_known check (spend_window in ('day', 'week', 'month')),
  constraint token_default_spend_caps_are_within_limits check (tokens between 0 and 1000000000000)
);
comment on table public.token_default_spend_caps is
  'Caps of plans and of everyone: tokens that each user may spend in a window. Written by set_token_spend_cap.';
comment on column public.token_default_spend_caps.id is 'The cap.';
comment on column public.token_default_spend_caps.plan_type is 'For users on this plan; NULL = for everyone.';
comment on column public.token_default_spend_caps.spend_window is 'day, week (ISO, from Monday) or month; in UTC, from midnight to midnight.';
comment on column public.token_default_spend_caps.tokens is 'Tokens that each of them may spend in it, 0 to 10^12.';
comment on column public.token_default_spend_caps.reason is 'Why, in the words of whoever set it; NULL = they gave no reason.';
comment on column public.token_default_spend_caps.actor_role is 'Who set it: admin or service.';
comment on column public.token_default_spend_caps.actor_id is 'Which admin.';
comment on column public.token_default_spend_caps.updated_at is 'Since when it is as it is.';

alter table public.token_default_spend_caps enable row level security;
create policy "Signed-in users read the common caps" on public.token_default_spend_caps
  for select to authenticated
  using (true);

-- from supabase/schemas/80_teams/tables/token_spend_caps.sql

-- How much a user may spend in a day, a week or a month: caps of single users, one row each.
create table public.token_spend_caps (
  user_id uuid not null,
  spend_window text not null,
  tokens bigint not null,
  reason text,
  actor_role text not null,
  actor_id uuid,
  updated_at timestamptz not null default clock_timestamp(),
  constraint token_spend_caps_pkey primary key (user_id, spend_window),
  constraint token_spend_caps_window_is_known check (spend_window in ('day', 'week', 'month')),
  constraint token_spend_caps_are_within_limits check (tokens between 0 and 1000000000000)
);
comment on table public.token_spend_caps is
  'Caps of single users: tokens that one may spend in a window. The tightest of these, his plan''s and everyone''s holds. Written by set_token_spend_cap.';
comment on column public.token_spend_caps.user_id is 'The user.';
comment on column public.token_spend_caps.spend_window is 'day, week (ISO, from Monday) or month; in UTC, from midnight to midnight.';
comment on column public.token_spend_caps.tokens is 'Tokens that may be spent in it, 0 to 10^12.';
comment on column public.token_spend_caps.reason is 'Why, in the words of whoever set it; NULL = they gave no reason.';
comment on column public.token_spend_caps.actor_role is 'Who set it: admin or service.';
comment on column public.token_spend_caps.actor_id is 'Which admin.';
comment on column public.token_spend_caps.updated_at is 'Since when it is as it is.';

alter table public.token_spend_caps enable row level security;
create policy "Users read their own caps" on public.token_spend_caps
  for select to authenticated
  using ((select auth.uid()) = user_id);

-- from supabase/schemas/80_teams/tables/token_team_members.sql

-- Who draws from whose account, or did: one row a payer and member. On the payer's side, so that his
-- account's lock covers it.
create table public.token_team_members (
  user_id uuid not null,
  member_id uuid not null,
  cap_day bigint,
  cap_week bigint,
  cap_month bigint,
  tokens_used bigint not null default 0,
  spent_at timestamptz,
  spent_day bigint not null default 0,
  spent_week bigint not null default 0,
  spent_month bigint not null default 0,
  since timestamptz not null default clock_timestamp(),
  until timestamptz,
  constraint token_team_members_pkey primary key (user_id, member_id),
  constraint token_team_members_are_not_their_payers check (user_id <> member_id),
  constraint token_team_members_caps_are_within_limits check (
    least(cap_day, cap_week, cap_month) >= 0 and greatest(cap_day, cap_week, cap_month) <= 1000000000000),
  constraint token_team_members_leave_after_they_came check (until >= since)
) with (fillfactor = 80); -- room for HOT updates: a row changes with all that its member spends

comment on table public.token_team_members is
  'Teams: who draws from whose account, how much of it at most, and how much so far. token_accounts.payer_id says the same of the present, on the member''s side. Written by the functions only.';
comment on column public.token_team_members.user_id is 'The payer, whose account it is.';
comment on column public.token_team_members.member_id is 'The member.';
comment on column public.token_team_members.cap_day is 'Tokens that he may spend of it in a day (UTC); NULL = no cap.';
comment on column public.token_team_members.cap_week is 'In a week (ISO, from Monday).';
comment on column public.token_team_members.cap_month is 'In a month.';
comment on column public.token_team_members.tokens_used is 'Tokens of it that he has used, less what was refunded.';
comment on column public.token_team_members.spent_at is 'In which day, week and month the next three were counted.';
comment on column public.token_team_members.spent_day is 'Tokens spent or set aside in that day.';
comment on column public.token_team_members.spent_week is 'In that week.';
comment on column public.token_team_members.spent_month is 'In that month.';
comment on column public.token_team_members.since is 'When he joined, the last time.';
comment on column public.token_team_members.until is 'When he left; NULL = he is in it.';

create index token_team_members_member_idx on public.token_team_members (member_id);
-- a page of a team, those of today first
create index token_team_members_page_idx on public.token_team_members (user_id, (until is not null), member_id);

alter table public.token_team_members enable row level security;
create policy "Payers and members read their own" on public.token_team_members
  for select to authenticated
  using ((select auth.uid()) in (user_id, member_id));

-- from supabase/schemas/90_audit/tables/acknowledged_findings.sql

/*
 * Findings of verify_token_ledger that somebody has looked into and nothing can mend: entries that a clock which
 * stepped back had booked before their predecessors. The ledger is append-only, so such an entry stays as it is.
 * Insert-only, as the ledger: an acknowledgement is never taken back or rewritten.
 */
create table tokenbook.acknowledged_findings (
  user_id uuid not null,
  transaction_id bigint not null,
  booked_at timestamptz not null,
  booked_before timestamptz,
  reason text not null,
  actor_role text not null,
  actor_id uuid,
  acknowledged_at timestamptz not null default clock_timestamp(),
  constraint acknowledged_findings_pkey primary key (user_id, transaction_id, booked_at),
  constraint acknowledged_findings_reason_is_given check (length(reason) between 1 and 500),
  constraint acknowledged_findings_actor_is_known check (
    actor_role in ('admin', 'service') and (actor_id is not null) = (actor_role = 'admin'))
);
comment on table tokenbook.acknowledged_findings is
  'Entries of the ledger that were booked out of the order of time, and that somebody has looked into: verify_token_ledger leaves them out, as long as they are as they were then. Written by acknowledge_token_finding, never changed.';
comment on column tokenbook.acknowledged_findings.user_id is 'Whose entry it is.';
comment on column tokenbook.acknowledged_findings.transaction_id is 'Its number.';
comment on column tokenbook.acknowledged_findings.booked_at is 'When it was booked, as it said then.';
comment on column tokenbook.acknowledged_findings.booked_before is 'When the entry before it was booked, as that said then; NULL = it is the first.';
comment on column tokenbook.acknowledged_findings.reason is 'What was found out, in words.';
comment on column tokenbook.acknowledged_findings.actor_role is 'Who acknowledged it: admin or service (the server).';
comment on column tokenbook.acknowledged_findings.actor_id is 'Which admin.';
comment on column tokenbook.acknowledged_findings.acknowledged_at is 'When.';
alter table tokenbook.acknowledged_findings enable row level security;

-- from supabase/schemas/90_audit/tables/archived_profile_counters.sql

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

-- from supabase/schemas/90_audit/tables/cleared_token_balances.sql

-- See migration 20251114000001_hotfix_token_balances_data.
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

-- from supabase/schemas/90_audit/tables/ledger_checkpoints.sql

/*
 * How far the chain over each user's ledger has been computed, and its digests there: at every hundredth
 * entry, and at the last one that a checkpoint has seen. So a checkpoint reads only what is new, and a
 * verification can say between which entries something was changed.
 * Nothing is proved by it: whoever can change the ledger can change this too. What proves is the checkpoint
 * that is kept elsewhere. A user's rows may be deleted at any time; the next checkpoint makes them anew,
 * from all of their ledger.
 */
create table tokenbook.ledger_checkpoints (
  user_id uuid not null,
  id bigint not null,
  numbers bytea not null,
  words bytea not null,
  constraint ledger_checkpoints_pkey primary key (user_id, id)
);
comment on table tokenbook.ledger_checkpoints is
  'How far the chain over each user''s ledger has been computed, with its digests at every hundredth entry and at the last. Proves nothing by itself: that does what checkpoint_token_ledger returned and was kept elsewhere.';
comment on column tokenbook.ledger_checkpoints.user_id is 'The user.';
comment on column tokenbook.ledger_checkpoints.id is 'The number of the entry, among the user''s.';
comment on column tokenbook.ledger_checkpoints.numbers is 'SHA-256 over the numbers of all the user''s entries up to this one: tokens, grants, kinds, ids, moments.';
comment on column tokenbook.ledger_checkpoints.words is 'The same over what callers wrote: reason, idempotency_key, request, metadata.';
alter table tokenbook.ledger_checkpoints enable row level security;

-- from supabase/schemas/90_audit/tables/migration_reports.sql

-- What each data migration had to say; the CLI shows no notices.
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

-- from supabase/schemas/10_access/answer_busy.sql

/*
 * The refusal `busy` as an answer instead of an exception, for a call that has booked a portion of what
 * was due and must keep it. Through the API it is the very response of the refusal: status 503,
 * Retry-After, the same body. In SQL it is that body with success false; and to a function of the project's
 * that was asked and called ours, whose own status it is: what it wrote stays, so its caller must not hear 503.
 * Caller: internal.   Returns {success, code, message, details, hint}.
 */
create function tokenbook.answer_busy()
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tokenbook.is_own_request() then -- @status-of-own-requests
    perform set_config('response.status', '503', true),
            set_config('response.headers', '[{"Retry-After": "1"}]', true);
  end if;
  return jsonb_build_object('success', false) || tokenbook.describe_refusal('busy', '{}');
end
$$;
comment on function tokenbook.answer_busy is
  'The refusal busy as an answer that keeps what the call has booked: {success: false, code, message, details, hint}, with status 503 where the API was asked for one of Tokenbook''s functions.';

-- from supabase/schemas/10_access/authorize.sql

/*
 * Who is calling, and may they do this for that user? The first beat of every function.
 * Returns the actor: ('user', their id), ('admin', their id), or ('service', null).
 * Of a signed-in caller it is asked whether they still are a user: a token outlives who was deleted.
 * Looks at the role the session has taken on, which a security definer function does not change;
 * a role that is not known is refused. "Not yours" and "does not exist" are the same answer.
 * Caller: internal.   Errors: not_authenticated, forbidden, unsupported_media_type, invalid_request, invalid_user_id.
 */
create function tokenbook.authorize(
  p_user_id uuid,
  p_self_may boolean,
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role text := current_setting('role');
begin
  if v_role = 'none' then -- @caller-must-be-known
    v_role := session_user; -- psql, a migration, a scheduled job
  end if;

  if v_role = 'authenticated' then
    actor_id := auth.uid();
    if actor_id is null then -- an API key is a valid token too, without a subject
      perform tokenbook.refuse('not_authenticated');
    elsif not tokenbook.is_user(actor_id) then -- @caller-still-exists
      perform tokenbook.refuse('not_authenticated');
    elsif p_self_may and actor_id is not distinct from p_user_id then
      actor_role := 'user';
    elsif tokenbook.is_admin() then
      actor_role := 'admin'; -- @admin-is-the-subject
    else
      perform tokenbook.refuse('forbidden');
    end if;
  elsif v_role in ('service_role', 'postgres', 'supabase_admin') then
    actor_role := 'service';
  else
    perform tokenbook.refuse('not_authenticated');
  end if;

  perform tokenbook.check_body(); -- @callers-send-one-object

  if p_user_id is null then
    perform tokenbook.refuse('invalid_user_id', '{"field": "p_user_id", "rule": "not null"}');
  end if;
end
$$;
comment on function tokenbook.authorize is
  'The caller as an actor (user, admin or service), or a refusal: only the user themself where p_self_may, an admin, or the server. NULL-safe.';

-- from supabase/schemas/10_access/authorize_operator.sql

/*
 * Lets an administrator or the server through, where no one user is concerned, and says which.
 * Caller: internal.   Errors: not_authenticated, forbidden.
 */
create function tokenbook.authorize_operator(
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- a user that is nobody: only who may act for anyone passes
  select a.actor_role, a.actor_id into actor_role, actor_id
    from tokenbook.authorize('00000000-0000-0000-0000-000000000000', p_self_may => false) a;
end
$$;
comment on function tokenbook.authorize_operator is 'Refuses everyone but administrators and the server; says which of them it is.';

-- from supabase/schemas/10_access/check_action_type.sql

/*
 * Refuses an action type that is not a plain name, or that is a name of the ledger's own grants.
 * Caller: internal.   Errors: invalid_action_type.
 */
create function tokenbook.check_action_type(p_action_type text)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_action_type is null
    or octet_length(p_action_type) > 64
    or p_action_type !~ '^[a-z][a-z0-9_]*$'
    or p_action_type = any (tokenbook.reserved_action_types())
  then
    perform tokenbook.refuse('invalid_action_type',
      '{"field": "p_action_type", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not a reserved name"}');
  end if;
  return true;
end
$$;
comment on function tokenbook.check_action_type is
  'Refuses an action type that is not a plain lower-case name, or one of the names that the ledger keeps for itself.';

-- from supabase/schemas/10_access/check_body.sql

/*
 * Refuses a request to one of our functions whose body is not one JSON object. PostgREST takes more than that:
 * of an array of objects, and of CSV, the first row, and drops the others without a word; forms; and of text and
 * bytes nothing at all, so that the function would run with its defaults and book what nobody has asked for.
 *
 * The body itself is not to be seen here, but what it was declared as, and the statement that PostgREST has
 * made of it (versions 12 to 14): json_to_record for an object, json_to_recordset for anything else.
 * A body `null` or `[]` leaves no trace: it counts as {}.   docs/guides/calling.md
 * Looks at requests to our own functions only: a project's function that takes a form may call ours.
 * Caller: internal.   Errors: unsupported_media_type, invalid_request.
 */
create function tokenbook.check_body()
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_headers constant text := current_setting('request.headers', true); -- PostgREST's
begin
  if v_headers is null or v_headers = '' then
    return; -- plain SQL
  end if;
  -- nearly every request, quickly
  if current_query() not like '%json_to_recordset(%' -- @one-object-only
    and v_headers like '%"content-type":"application/json%' -- @json-bodies-only
  then
    return;
  end if;

  if current_setting('request.method', true) is distinct from 'POST' or not tokenbook.is_own_request() then
    return;
  end if;
  if split_part(lower(v_headers::jsonb ->> 'content-type'), ';', 1) <> 'application/json' then
    perform tokenbook.refuse('unsupported_media_type');
  elsif current_query() like '%json_to_recordset(%' then
    perform tokenbook.refuse('invalid_request', '{"field": "body", "rule": "one JSON object"}');
  end if;
end
$$;
comment on function tokenbook.check_body is
  'Refuses an API request to one of our functions whose body is not one JSON object, as far as that can be seen. Plain SQL passes.';

-- from supabase/schemas/10_access/check_request.sql

/*
 * Refuses a malformed key, reason or metadata. Bounded before they meet an index or a parser:
 * a key that is too long for a btree would otherwise be a server error.
 * Caller: internal.   Errors: invalid_idempotency_key, invalid_reason, invalid_metadata.
 */
create function tokenbook.check_request(p_idempotency_key text, p_reason text, p_metadata jsonb)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- the length first: it costs nothing, where matching a million bytes would
  if octet_length(p_idempotency_key) > 255 -- @keys-fit-an-index
    or p_idempotency_key !~ '^[A-Za-z0-9._:-]+$'
  then
    perform tokenbook.refuse('invalid_idempotency_key',
      '{"field": "p_idempotency_key", "rule": "1 to 255 characters of A-Z a-z 0-9 . _ : -"}');
  end if;
  if length(p_reason) > 500 or p_reason !~ '[^[:space:]]' then
    perform tokenbook.refuse('invalid_reason',
      '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  if jsonb_typeof(p_metadata) <> 'object' or octet_length(p_metadata::text) > 8192 then
    perform tokenbook.refuse('invalid_metadata',
      '{"field": "p_metadata", "rule": "an object of at most 8192 bytes"}');
  end if;
  return true;
end
$$;
comment on function tokenbook.check_request is
  'Refuses a malformed idempotency key, reason or metadata, naming the field; NULL is always fine.';

-- from supabase/schemas/10_access/check_scope.sql

/*
 * Refuses a setting that does not say for whom it is: one user, the users of a plan, or, in a word of its
 * own, everyone. Clients drop fields that are undefined; one left out by mistake must not widen the
 * setting from one user to all of them.
 * Caller: internal.   Returns user, plan or everyone.   Errors: invalid_scope.
 */
create function tokenbook.check_scope(p_user_id uuid, p_plan_type text, p_for_everyone boolean)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if num_nonnulls(p_user_id, p_plan_type, nullif(p_for_everyone, false)) <> 1 then -- @everyone-is-said
    perform tokenbook.refuse('invalid_scope',
      '{"field": "p_user_id", "rule": "a user, or a plan where there may be one, or p_for_everyone true; one of them"}');
  end if;
  return case when p_user_id is not null then 'user' when p_plan_type is not null then 'plan' else 'everyone' end;
end
$$;
comment on function tokenbook.check_scope is
  'Refuses with invalid_scope unless exactly one of user, plan and p_for_everyone is said; user, plan or everyone.';

-- from supabase/schemas/10_access/check_tokens.sql

/*
 * Refuses a number of tokens outside 1 to 10^12, NULL included.
 * Caller: internal.   Errors: invalid_amount.
 */
create function tokenbook.check_tokens(p_field text, p_tokens bigint)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_tokens is null or p_tokens not between 1 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount',
      jsonb_build_object('field', p_field, 'rule', 'a whole number from 1 to 1000000000000'));
  end if;
  return true;
end
$$;
comment on function tokenbook.check_tokens is 'Refuses a number of tokens outside 1 to 10^12 with invalid_amount, naming the field.';

-- from supabase/schemas/10_access/describe_refusal.sql

/*
 * A registered error as a value: what tokenbook.refuse would raise, as the API would answer it.
 * Caller: internal.   Returns {code (the SQLSTATE), message (the slug), details, hint}.
 */
create function tokenbook.describe_refusal(p_slug text, p_facts jsonb default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_code text;
  v_slug text;
  v_facts text;
  v_hint text;
begin
  perform tokenbook.refuse(p_slug, p_facts);
  return null;
exception
  when sqlstate 'PT503' or sqlstate 'PT500' then
    get stacked diagnostics v_code = returned_sqlstate, v_slug = message_text,
      v_facts = pg_exception_detail, v_hint = pg_exception_hint;
    return jsonb_build_object('code', v_code, 'message', v_slug, 'details', v_facts, 'hint', v_hint);
end
$$;
comment on function tokenbook.describe_refusal is
  'A registered error of the server (5xx) as a value: {code, message, details, hint}.';

-- from supabase/schemas/10_access/expose.sql

/*
 * Makes an internal function callable by clients: a wrapper of the same name, arguments, defaults,
 * result and comment in `public`, which runs as its caller and does nothing but call it. So the
 * signature and its words are written once, and the privilege is visible before the logic.
 * The roles may execute both; nobody else may.
 * Caller: migrations (95_privileges.sql).
 */
create function tokenbook.expose(p_function text, variadic p_roles text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function record;
  v_roles text := (select string_agg(quote_ident(r), ', ') from unnest(p_roles) r);
begin
  select p.oid::regprocedure as signature,
         pg_get_function_identity_arguments(p.oid) as types,
         pg_get_function_arguments(p.oid) as arguments,
         pg_get_function_result(p.oid) as result,
         case p.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end as volatility,
         array_to_string(p.proargnames[:p.pronargs], ', ') as names,
         p.proretset as returns_rows,
         obj_description(p.oid, 'pg_proc') as words
    into v_function
    from pg_proc p
   where p.pronamespace = 'tokenbook'::regnamespace and p.proname = p_function;

  execute format(
    $create$
create function public.%I(%s)
returns %s
language plpgsql
%s
security invoker
set search_path = pg_catalog, pg_temp
as $body$
begin
  return %stokenbook.%I(%s);
end
$body$
    $create$,
    p_function, v_function.arguments, v_function.result, v_function.volatility,
    case when v_function.returns_rows then 'query select * from ' else '' end, p_function, v_function.names);
  execute format('comment on function public.%I is %L', p_function, v_function.words);
  perform tokenbook.withdraw_rights('function', p.oid)
     from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = p_function;
  execute format('grant execute on function public.%I, %s to %s', p_function, v_function.signature, v_roles);
end
$$;
comment on function tokenbook.expose is
  'Makes an internal function callable by these roles: a wrapper of the same signature and comment in public, which runs as its caller. For migrations.';

-- from supabase/schemas/10_access/find_replay.sql

/*
 * The transaction that this entry's key already made, or NULL (as when it has no key). The same
 * key with another request is refused, naming the fields that differ and never their values. A
 * user's keys are his own wherever he spends: a retry finds what it did before he joined a team, or
 * while he was in one. To be called with the account locked: two first uses of a key are then one
 * after the other. Metadata of NULL: the caller can attach none, and what stands there is the
 * books' own.
 * Caller: internal.   Errors: idempotency_key_reused.   Keeps: I5.
 */
create function tokenbook.find_replay(p_entry public.token_transactions)
returns public.token_transactions
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_transaction public.token_transactions;
  v_differs jsonb;
begin
  if p_entry.idempotency_key is null then
    return null;
  end if;
  select t.* into v_transaction
    from public.token_transactions t
   where t.user_id = coalesce(p_entry.member_id, p_entry.user_id) and t.member_id is null
     and t.idempotency_key = p_entry.idempotency_key
     and (t.actor_role = 'user') = (p_entry.actor_role = 'user')
  union all
  select t.*
    from public.token_transactions t
   where t.member_id = coalesce(p_entry.member_id, p_entry.user_id)
     and t.idempotency_key = p_entry.idempotency_key
     and (t.actor_role = 'user') = (p_entry.actor_role = 'user');
  if v_transaction.id is null then
    return null;
  end if;

  select jsonb_agg(f.field order by f.field) into v_differs
    from (
      select coalesce(was.key, asked.key) as field
        from jsonb_each(v_transaction.request) was
        full join jsonb_each(p_entry.request) asked on asked.key = was.key
       where was.value is distinct from asked.value
      union all
      select 'metadata' where v_transaction.metadata <> p_entry.metadata
    ) f;
  if v_differs is not null then
    perform tokenbook.refuse('idempotency_key_reused', jsonb_build_object('differs', v_differs));
  end if;
  return v_transaction;
end
$$;
comment on function tokenbook.find_replay is
  'The transaction made under this entry''s key, or NULL; refuses the key when it stands for another request. A user''s keys and the server''s are apart.';

-- from supabase/schemas/10_access/is_account_lost.sql

/*
 * Whether a user's account row is gone while the rest of their books is there: grants, transactions, or
 * a team that they are in. That is never so of itself; a restore that left a table out makes it so. To
 * go on with a new, empty account would be a balance of 0 beside open grants, and numbers of
 * transactions that are taken already.
 * One statement, or an account made meanwhile would look lost.
 * Caller: internal.
 */
create function tokenbook.is_account_lost(p_user_id uuid)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return not exists (select from public.token_accounts a where a.user_id = p_user_id) -- @books-without-account
    and (exists (select from public.token_balances b where b.user_id = p_user_id)
      or exists (select from public.token_transactions t where t.user_id = p_user_id)
      or exists (select from public.token_team_members m where m.member_id = p_user_id and m.until is null));
end
$$;
comment on function tokenbook.is_account_lost is
  'Whether the user''s account row is gone while the rest of their books is there.';

-- from supabase/schemas/10_access/is_admin.sql

/*
 * Whether the caller is an administrator: their token says so, and it is still true. Both, because
 * a token outlives the right it was issued with, and a row alone would make an admin of whoever
 * took over an old session. Never user_metadata: users write that themselves.
 * Caller: tokenbook.authorize, which has looked that they still are a user at all.
 */
create function tokenbook.is_admin()
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(auth.jwt() -> 'app_metadata' ->> 'role' = 'admin', false)
     and exists (select from tokenbook.admins a where a.user_id = auth.uid());
end
$$;
comment on function tokenbook.is_admin is
  'True when the caller''s token has app_metadata.role = ''admin'' and tokenbook.admins still lists him.';

-- from supabase/schemas/10_access/is_ledger_lost.sql

/*
 * Whether a user's account counts transactions that are not in the ledger. That is never so of itself; a
 * restore that left the ledger out makes it so.
 * Caller: internal.
 */
create function tokenbook.is_ledger_lost(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from public.token_accounts a
     where a.user_id = p_user_id and a.last_transaction_id > 0
       and not exists (
         select from public.token_transactions t where t.user_id = a.user_id and t.id = a.last_transaction_id));
end
$$;
comment on function tokenbook.is_ledger_lost is
  'Whether the user''s account counts transactions that are not in the ledger.';

-- from supabase/schemas/10_access/is_own_request.sql

/*
 * Whether the API was asked for one of our functions, and not for one of the project's that calls ours: a status,
 * and what a body may be, are for whoever was asked to say.
 * A path with something escaped may be one of ours, and counts as one.
 * Caller: internal.   Reads the settings that PostgREST makes; false in plain SQL.
 */
create function tokenbook.is_own_request()
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_function constant text := substring(current_setting('request.path', true) from '^/rpc/(.*)$');
begin
  return coalesce(position('%' in v_function) > 0 or v_function = any (tokenbook.own_functions()), false);
end
$$;
comment on function tokenbook.is_own_request is
  'Whether the API was asked for one of Tokenbook''s functions by its name. False in plain SQL, and where a function of the project''s was asked for that calls one.';

-- from supabase/schemas/10_access/is_user.sql

/*
 * Whether there is such a user now: auth.users has them, and not as deleted (the auth server can keep the
 * row of whom it deletes). A token lives on for up to an hour after its user
 * was deleted, and so do the books; neither makes a user.
 * Caller: internal.
 */
create function tokenbook.is_user(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from auth.users u where u.id = p_user_id and u.deleted_at is null);
end
$$;
comment on function tokenbook.is_user is 'Whether auth.users has that user now.';

-- from supabase/schemas/10_access/limit_of.sql

/*
 * How many of these a user may have at a time: what the project has chosen, else the default.
 * Caller: internal.
 */
create function tokenbook.limit_of(p_name text)
returns integer
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select c.value from tokenbook.chosen_limits c where c.name = p_name),
    (tokenbook.limits() -> p_name)::integer);
end
$$;
comment on function tokenbook.limit_of is
  'How many of these (open_holds, pending_payments) a user may have at a time.';

-- from supabase/schemas/10_access/lock_account.sql

/*
 * Locks a user's account and returns it; NULL when he has none (with p_create it is made first).
 * Every change of a user's books takes this lock first, and nothing else is locked before it: so
 * two changes never wait for each other in a circle.
 * Whoever finds it taken stands in a queue, an advisory lock, and only the first in it waits for the
 * row (tokenbook.wait_for_account). What is right rests on the row alone.
 * Read the clock after this, not before: whoever waited across an expiry must not spend the grant.
 * Caller: internal.   Locks: the token_accounts row.   Errors: busy, account_lost.
 */
create function tokenbook.lock_account(p_user_id uuid, p_create boolean default false)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
begin
  if pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update skip locked;
    if found then
      return v_account;
    end if;
  end if;
  return tokenbook.wait_for_account(p_user_id, p_create);
end
$$;
comment on function tokenbook.lock_account is
  'Locks the user''s account row (at most four seconds, then busy) and returns it; NULL when there is none, unless p_create.';

-- from supabase/schemas/10_access/lock_accounts.sql

/*
 * Locks the accounts of many users at once, in the order of their ids, and returns those that there
 * are. Whoever needs several accounts takes them so, all in one go and before anything else: two
 * that want the same ones then meet at the lowest and never wait for each other in a circle. Waits
 * at most five seconds for each, then says busy.
 * Read the clock after this, not before.
 * Caller: internal.   Locks: the token_accounts rows.   Errors: busy.
 */
create function tokenbook.lock_accounts(p_user_ids uuid[])
returns setof public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
  return query
  select a.*
    from public.token_accounts a
   where a.user_id = any (p_user_ids)
   order by a.user_id -- @accounts-in-one-order
     for no key update;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_accounts is
  'Locks the account rows of these users in the order of their ids (at most five seconds each, then busy) and returns those that there are.';

-- from supabase/schemas/10_access/own_objects.sql

/*
 * What is ours in the catalogue: everything in tokenbook, and in public what own_relations and own_functions name.
 * A function of the project's that has the name of one of those is among them: the API would take either for the other.
 * Caller: present_rights, present_shape, check_token_installation.
 */
create function tokenbook.own_objects()
returns table (class regclass, object oid)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select 'pg_class'::regclass, c.oid
    from pg_class c
   where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
     and (c.relnamespace = 'tokenbook'::regnamespace
       or (c.relnamespace = 'public'::regnamespace and c.relname = any (tokenbook.own_relations())))
  union all
  select 'pg_proc'::regclass, p.oid
    from pg_proc p
   where p.pronamespace = 'tokenbook'::regnamespace
      or (p.pronamespace = 'public'::regnamespace and p.proname = any (tokenbook.own_functions()));
end
$$;
comment on function tokenbook.own_objects is
  'The relations and functions of Tokenbook: in schema tokenbook all, in public those of own_relations and own_functions. Returns class, object.';

-- from supabase/schemas/10_access/present_rights.sql

/*
 * Who else but their owners has which right on what is ours: the schema, relations and their columns, sequences,
 * functions.
 * Caller: 95_privileges.sql, which keeps it as tokenbook.declared_rights; check_token_installation.
 */
create function tokenbook.present_rights()
returns table (kind text, object text, grantee text, privilege text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with own as (
    select * from tokenbook.own_objects()
  ), relations as (
    select c.* from own o join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object
  )
  select o.kind, o.object, case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end, lower(a.privilege_type) || o.part
    from (
      select 'schema' as kind, n.nspname::text as object, '' as part, n.nspowner as owner,
             coalesce(n.nspacl, acldefault('n', n.nspowner)) as rights
        from pg_namespace n where n.nspname = 'tokenbook'
      union all
      select case c.relkind when 'S' then 'sequence' else 'table' end, c.oid::regclass::text, '', c.relowner, c.relacl from relations c
      union all
      select 'table', c.oid::regclass::text, format(' (%I)', t.attname), c.relowner, t.attacl
        from relations c join pg_attribute t on t.attrelid = c.oid and t.attacl is not null and not t.attisdropped
      union all
      select 'function', p.oid::regprocedure::text, '', p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
        from own join pg_proc p on own.class = 'pg_proc'::regclass and p.oid = own.object) o
   cross join lateral aclexplode(o.rights) a
   where a.grantee <> o.owner;
end
$$;
comment on function tokenbook.present_rights is
  'Who has which right on what is Tokenbook''s, beside the owners: kind, object, grantee, privilege.';

-- from supabase/schemas/10_access/present_shape.sql

/*
 * What is ours, as it is now: a row for each thing, and its definition in lines, so that what differs can be said.
 * A table's columns, constraints, indexes, triggers, rules, policies and publications have rows of their own.
 * Only what changes what is computed, who sees it and whether it lasts: not comments, costs or storage.
 * What is as usual has no line: a line "disabled" or "owned by …" is there where that is so.
 *
 * The server prints the expressions, and names are as this function's search_path makes them: compare only with what
 * this function has said. PostgreSQL 15 to 18 print all of ours alike, and alike again when a dump is restored: a check
 * that has one `and` in another is not printed as it was written (write `between` alone, or comparisons). NOT NULL, which
 * is a constraint since 18, is a line of its column.
 * Leaves out: declared_shape, which would have to hold itself; the tables of before the books, kept as old_….
 * Caller: 96_shape.sql, which keeps it as tokenbook.declared_shape; check_token_installation.
 * Returns kind; relation (its own name, where it is one; empty for a function); name; definition.
 */
create function tokenbook.present_shape()
returns table (kind text, relation text, name text, definition text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant oid := (select n.nspowner from pg_namespace n where n.nspname = 'tokenbook');
begin
  return query
  with own as (
    select * from tokenbook.own_objects()
  ), relations as (
    select c.*, c.oid::regclass::text as name
      from own o
      join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object
     where not (c.relnamespace = 'tokenbook'::regnamespace and starts_with(c.relname, 'old_'))
  ), functions as (
    select p.*, p.oid::regprocedure::text as name
      from own o
      join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object
     where p.oid::regprocedure::text <> 'tokenbook.declared_shape()'
  )
  -- what can be changed by `alter function` comes first, in the words of that statement
  select 'function', '', f.name, concat_ws(chr(10),
           case f.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end,
           case when f.prosecdef then 'security definer' else 'security invoker' end,
           case when f.proisstrict then 'strict' else 'called on null input' end,
           (select string_agg(format('set %s = %s', s.name,
                     case s.name when 'search_path' then s.value else quote_literal(s.value) end), chr(10) order by s.name)
              from unnest(f.proconfig) c
             cross join lateral (select split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)) as s (name, value)),
           case when f.proowner <> v_owner then format('owner to %I', pg_get_userbyid(f.proowner)) end,
           'in ' || (select l.lanname from pg_language l where l.oid = f.prolang),
           'from ' || pg_get_function_arguments(f.oid),
           'to ' || pg_get_function_result(f.oid),
           'text ' || encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(f.oid), f.prosrc), 'utf8')), 'hex'))
    from functions f
  union all
  select case when r.relkind in ('r', 'p') then 'table' when r.relkind = 'S' then 'sequence' when r.relkind = 'f' then 'foreign table' else 'view' end,
         r.name, r.name, concat_ws(chr(10),
           case when r.relkind = 'r' and r.relpersistence = 'u' then 'unlogged' end,
           case when r.relkind in ('r', 'p') and r.relreplident <> 'd' then
             'replica identity ' || case r.relreplident when 'f' then 'full' when 'n' then 'nothing' else 'using an index' end end,
           case when r.relforcerowsecurity then 'row level security forced' end,
           (select string_agg('inherited by ' || i.inhrelid::regclass, chr(10) order by i.inhrelid::regclass::text)
              from pg_inherits i where i.inhparent = r.oid),
           case when r.relkind in ('v', 'm') then (select string_agg(o, chr(10) order by o) from unnest(r.reloptions) o) end,
           -- since PostgreSQL 16 columns of a single relation are printed without its name: so without any, and beside them what is read
           case when r.relkind in ('v', 'm') then
             'text ' || encode(sha256(convert_to(regexp_replace(pg_get_viewdef(r.oid), '[[:<:]][a-z_][a-z0-9_]*[.](?=[a-z_])', '', 'g'), 'utf8')), 'hex') end,
           (select 'reads ' || string_agg(distinct d.refobjid::regclass::text, ', ' order by d.refobjid::regclass::text)
              from pg_rewrite w
              join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
                              and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.oid
             where w.ev_class = r.oid and w.rulename = '_RETURN'),
           (select format('%s from %s to %s by %s, start %s%s', format_type(s.seqtypid, null), s.seqmin, s.seqmax, s.seqincrement, s.seqstart,
                          case when s.seqcycle then ', cycle' end) from pg_sequence s where s.seqrelid = r.oid),
           case when r.relowner <> v_owner then format('owner to %I', pg_get_userbyid(r.relowner)) end)
    from relations r
  union all
  select 'column', r.name, quote_ident(a.attname), concat_ws(chr(10),
           format_type(a.atttypid, a.atttypmod) || case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation else '' end,
           case a.attidentity when 'a' then 'generated always as identity' when 'd' then 'generated by default as identity' end,
           case when a.attnotnull then 'not null' end,
           case when a.attgenerated = '' then 'default ' || pg_get_expr(d.adbin, d.adrelid)
                else format('generated always as (%s)', pg_get_expr(d.adbin, d.adrelid)) end)
    from relations r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where r.relkind in ('r', 'p')
  union all
  select 'constraint', r.name, quote_ident(c.conname), pg_get_constraintdef(c.oid)
    from relations r
    join pg_constraint c on c.conrelid = r.oid and c.contype in ('c', 'p', 'u', 'x', 'f')
  union all
  select 'index', r.name, i.indexrelid::regclass::text, concat_ws(chr(10),
           pg_get_indexdef(i.indexrelid), case when not (i.indisvalid and i.indisready and i.indislive) then 'not valid' end)
    from relations r
    join pg_index i on i.indrelid = r.oid
   where not (i.indisvalid and exists (
     select from pg_constraint c where c.conindid = i.indexrelid and c.conrelid = r.oid and c.contype in ('p', 'u', 'x')))
  union all
  select 'trigger', g.tgrelid::regclass::text, quote_ident(g.tgname), concat_ws(chr(10),
           pg_get_triggerdef(g.oid), case g.tgenabled when 'D' then 'disabled' when 'R' then 'for replicas only' end)
    from pg_trigger g
   where not g.tgisinternal
     -- on auth.users too
     and (g.tgrelid in (select r.oid from relations r) or g.tgfoid in (select f.oid from functions f))
  union all
  select 'rule', r.name, quote_ident(w.rulename), pg_get_ruledef(w.oid)
    from relations r
    join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN'
  union all
  select 'policy', r.name, quote_ident(p.polname), concat_ws(chr(10),
           case when p.polpermissive then 'as permissive' else 'as restrictive' end,
           'for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
           'to ' || (select string_agg(case u when 0 then 'public' else quote_ident(pg_get_userbyid(u)) end, ', ' order by pg_get_userbyid(u))
                       from unnest(p.polroles) u),
           'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
           'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    from relations r
    join pg_policy p on p.polrelid = r.oid
  union all
  select 'publication', r.name, quote_ident(b.pubname), concat_ws(chr(10),
           'columns ' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                            from pg_attribute a where a.attrelid = r.oid and a.attnum = any (pr.prattrs)),
           'where ' || pg_get_expr(pr.prqual, pr.prrelid))
    from relations r
    join pg_publication_rel pr on pr.prrelid = r.oid
    join pg_publication b on b.oid = pr.prpubid;
end
$$;
comment on function tokenbook.present_shape is
  'What is Tokenbook''s, as it is now: kind (function, table, view, sequence, column, constraint, index, trigger, rule, policy, publication), relation, name, definition in lines. To compare with declared_shape.';

-- from supabase/schemas/10_access/queue_for_account.sql

/*
 * Stands in the queue at an account, an advisory lock, for at most two seconds; then busy. Who is its
 * first finds the row free, unless somebody has it who does not queue, and what is right rests on the
 * row alone.
 * Those who wait for a row itself are all woken by each change of it and wait anew, and no timeout
 * bounds that: with 200 at one account the statement's own (8 s in a hosted project) came first, and
 * that is no answer.
 * Caller: internal.   Locks: the queue of that account.   Errors: busy.
 */
create function tokenbook.queue_for_account(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0));
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.queue_for_account is
  'Stands in the queue at the user''s account, for at most two seconds, then busy.';

-- from supabase/schemas/10_access/record_change.sql

/*
 * Keeps who changed something beside the ledger, in the transaction that changes it. What users do for
 * themselves is not kept: the row that it made is theirs.
 * Caller: internal.   Keeps: I10.
 */
create function tokenbook.record_change(
  p_change text,
  p_user_id uuid,
  p_actor_role text,
  p_actor_id uuid,
  p_reason text,
  p_details jsonb
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into tokenbook.changes (user_id, change, actor_role, actor_id, reason, details)
  select p_user_id, p_change, p_actor_role, p_actor_id, p_reason, jsonb_strip_nulls(p_details) -- @changes-name-who
   where p_actor_role <> 'user';
end
$$;
comment on function tokenbook.record_change is
  'Keeps what an admin or the server changed beside the ledger: who, what, why, about whom.';

-- from supabase/schemas/10_access/refuse.sql

/*
 * Refuses: raises a registered error, with the SQLSTATE and the hint of its slug.
 * The slug is the message (a constant: PostgREST makes it the HTTP reason phrase), the facts are
 * one JSON object in the detail, the advice is the hint. The registry: supabase/errors.toml.
 * Caller: internal.   Errors: all of them.
 */
create function tokenbook.refuse(p_slug text, p_facts jsonb default null)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sqlstate text;
  v_hint text;
begin
  select r.sqlstate, r.hint into v_sqlstate, v_hint
    from (values
      -- made from supabase/errors.toml: npm run errors
      ('not_authenticated', '42501', 'Sign in.'),
      ('forbidden', '42501', 'You may not do this for that user.'),
      ('unsupported_media_type', 'PT415', 'Send the body as application/json.'),
      ('invalid_request', 'PT400', 'Send what the function''s reference lists, and nothing else.'),
      ('invalid_user_id', 'PT400', 'Say which user.'),
      ('invalid_amount', 'PT400', 'Give a whole number of tokens within the stated limits.'),
      ('invalid_grant_type', 'PT400', 'Use one of the types that the rule names.'),
      ('invalid_action_type', 'PT400', 'Use 1 to 64 characters of a-z 0-9 _, starting with a letter; names of grants are reserved.'),
      ('invalid_priority', 'PT400', 'Use 0 (spent first) to 100 (spent last).'),
      ('invalid_granted_at', 'PT400', 'Give a moment that is not in the future, or leave it out.'),
      ('invalid_expiry', 'PT400', 'Give a moment in the future, ''infinity'' for never, or leave it out.'),
      ('invalid_reason', 'PT400', 'Use 1 to 500 characters that are not all blank.'),
      ('invalid_idempotency_key', 'PT400', 'Use 1 to 255 characters of A-Z a-z 0-9 . _ : -'),
      ('invalid_metadata', 'PT400', 'Give a JSON object of at most 8192 bytes.'),
      ('invalid_usage', 'PT400', 'Say what was used: whole numbers from 0, parts no larger than the whole.'),
      ('invalid_ttl', 'PT400', 'Hold for as many seconds as the rule allows.'),
      ('invalid_refund', 'PT400', 'Use forfeit, or reissue with a lifetime in days.'),
      ('invalid_burn_order', 'PT400', 'Use fifo or expiring_first.'),
      ('invalid_batch', 'PT400', 'Send no more items and bytes than the rule says, and at least one item.'),
      ('invalid_cap', 'PT400', 'Use day, week or month, and 0 to 1000000000000 tokens.'),
      ('invalid_member', 'PT400', 'Name a user other than the payer.'),
      ('invalid_alert_rule', 'PT400', 'Say what the rule''s kind needs, and nothing else.'),
      ('invalid_top_up', 'PT400', 'Say below how many tokens to ask, and for how many tokens, which plan or how many of which pack.'),
      ('invalid_customer', 'PT400', 'Give the provider and its id of the customer.'),
      ('invalid_moment', 'PT400', 'Give a moment that has passed.'),
      ('invalid_page', 'PT400', 'Ask for 1 to 200 entries, and pass next_before on as it was given.'),
      ('invalid_state', 'PT400', 'Use active or frozen.'),
      ('invalid_scope', 'PT400', 'Name a user, or a plan, or say p_for_everyone true.'),
      ('invalid_payment', 'PT400', 'Name the payment and how it was made in a few characters, or leave both out.'),
      ('invalid_purchase', 'PT400', 'Name one plan, or one pack and how many of it.'),
      ('invalid_plan', 'PT400', 'Send the fields of a plan, each with a value that it can have.'),
      ('invalid_pack', 'PT400', 'Send the fields of a pack, each with a value that it can have.'),
      ('invalid_checkpoint', 'PT400', 'Give the lines and next of a checkpoint as they were given.'),
      ('idempotency_key_reused', 'PT422', 'That key was used for another request. Use a new key for a new request.'),
      ('user_not_found', 'PT404', 'There is no such user.'),
      ('payment_not_found', 'PT404', 'There is no such payment.'),
      ('plan_not_found', 'PT404', 'Use a plan of the catalogue (token_plans).'),
      ('pack_not_found', 'PT404', 'Use a pack of the catalogue (token_packs).'),
      ('plan_in_use', 'PT409', 'Make another plan with what is to be different, and take this one out of the offer.'),
      ('subscription_not_found', 'PT404', 'The user has no active subscription.'),
      ('charge_not_found', 'PT404', 'There is no such usage or transaction of that user.'),
      ('hold_not_found', 'PT404', 'There is no such hold of that user.'),
      ('grant_not_found', 'PT404', 'There is no such grant of that user.'),
      ('member_not_found', 'PT404', 'There is no such member of that user''s team.'),
      ('top_up_request_not_found', 'PT404', 'There is no such top-up request of that user.'),
      ('account_frozen', 'PT403', 'The account is frozen: nothing can be spent, held or topped up until an admin makes it active again.'),
      ('not_for_sale', 'PT409', 'It has no price at the payment provider, or a wrong one. Nothing was begun.'),
      ('already_subscribed', 'PT409', 'The user has a subscription at the payment provider: change it there.'),
      ('top_up_already_settled', 'PT409', 'The request has been settled otherwise. Nothing was changed.'),
      ('grant_already_voided', 'PT409', 'The grant has been ended before. Nothing was changed.'),
      ('capture_exceeds_hold', 'PT409', 'Capture no more than was held, or choose deduct or cap.'),
      ('not_refundable', 'PT409', 'Only deductions can be refunded.'),
      ('refund_exceeds_charge', 'PT409', 'No more can be refunded than is left of the charge.'),
      ('before_the_books', 'PT404', 'The books of that user were not open yet.'),
      ('restatement_not_found', 'PT404', 'There is no such restatement of that user.'),
      ('finding_not_found', 'PT404', 'That transaction is not booked out of the order of time.'),
      ('restatement_already_reversed', 'PT409', 'The restatement has been reversed before. Nothing was changed.'),
      ('restatement_spent', 'PT409', 'What it gave has been spent or has run out. Nothing was changed.'),
      ('payment_already_decided', 'PT409', 'The payment has been decided otherwise. Nothing was changed.'),
      ('paid_at_provider', 'PT409', 'Refund it at the provider, in Stripe''s or PayPal''s dashboard: the books follow by its webhook. Nothing was changed.'),
      ('trial_already_taken', 'PT409', 'One trial a person. Nothing was changed.'),
      ('trial_needs_identity', 'PT409', 'Add an address, a phone number or a sign-in with a provider first. Nothing was changed.'),
      ('not_due_yet', 'PT409', 'The next period has not begun.'),
      ('not_applied', 'PT424', 'Another item of the batch failed, and it was to be all or nothing. Send the batch again without it.'),
      ('already_in_team', 'PT409', 'A member has one payer, and teams do not nest. Nothing was changed.'),
      ('invalid_provider_event', 'PT400', 'Send what the provider''s event says, in the stated form.'),
      ('balance_limit_exceeded', 'PT409', 'The account cannot hold that many tokens.'),
      ('ledger_is_append_only', '42501', 'Book a correction instead.'),
      ('account_lost', 'PT500', 'Restore the user''s rows of the books from the backup that the rest came from.'),
      ('account_damaged', 'PT500', 'Ask verify_token_ledger what is wrong with this user''s books, and mend it.'),
      ('too_many_holds', 'PT429', 'Capture or release a hold first, or wait until one runs out.'),
      ('too_many_payments', 'PT429', 'Wait until a payment has been decided.'),
      ('too_many_grants', 'PT409', 'Spend at most as many tokens at once as the fact says.'),
      ('invalid_limit', 'PT400', 'Use open_holds or pending_payments, and 1 to 10000.'),
      ('invalid_trial_policy', 'PT400', 'Use allow, refuse, or reduced with either a percentage or a number of tokens.'),
      ('busy', 'PT503', 'The account is locked by other work. Try again with the same key.')
    ) as r (slug, sqlstate, hint)
   where r.slug = p_slug;

  if p_facts is null then
    raise exception using errcode = v_sqlstate, message = p_slug, hint = v_hint;
  end if;
  raise exception using errcode = v_sqlstate, message = p_slug, detail = p_facts::text, hint = v_hint;
end
$$;
comment on function tokenbook.refuse is
  'Raises the registered error of that slug: SQLSTATE and hint from the registry, facts as JSON in the detail. See docs/errors.md.';

-- from supabase/schemas/10_access/refuse_row.sql

/*
 * Refuses a row that breaks a rule of its table, as Postgres would if the rule were a constraint of its
 * own: check_violation, with the rule's name in the message and in the error's fields. The rule's name
 * goes on from the table's and reads as a sentence (token_accounts_owed_is_never_negative).
 * Caller: the check_…_rules of the tables.   Errors: check_violation, always.
 */
create function tokenbook.refuse_row(p_table text, p_rule text, p_row jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_constraint constant text := p_table || '_' || p_rule;
begin
  raise exception using
    errcode = 'check_violation',
    schema = 'public',
    table = p_table,
    constraint = v_constraint,
    message = format('new row for relation "%s" violates check constraint "%s"', p_table, v_constraint),
    detail = format('Failing row contains %s.', p_row);
end
$$;
comment on function tokenbook.refuse_row is
  'Refuses a row that breaks a rule of its table: check_violation, with the rule for its constraint and the row in the detail.';

-- from supabase/schemas/10_access/refuse_view_write.sql

/*
 * What to answer to a write to a view that cannot be written to: what a table answers. Nobody has the right to
 * write to them, but Postgres asks of a view whether it can be written to at all before it asks who may; the
 * API would answer that with a 500.
 */
create function tokenbook.refuse_view_write()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.refuse('forbidden');
  return null;
end
$$;
comment on function tokenbook.refuse_view_write is 'Trigger: refuses a write to a view, for whoever has the right to write to everything.';

-- from supabase/schemas/10_access/require_user.sql

/*
 * Refuses a user whom neither the books nor auth.users know. A user who was deleted keeps his
 * account. To the user himself, and to nobody else, he always exists. And whose account is lost is
 * refused to everyone.
 * Caller: internal, and only where no account was found.   Errors: user_not_found, account_lost.
 */
create function tokenbook.require_user(p_user_id uuid, p_actor_role text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from public.token_accounts a where a.user_id = p_user_id) then
    return;
  elsif tokenbook.is_account_lost(p_user_id) then
    perform tokenbook.refuse('account_lost', '{}');
  elsif p_actor_role <> 'user'
    and not exists (select from auth.users u where u.id = p_user_id)
  then
    perform tokenbook.refuse('user_not_found', '{}');
  end if;
end
$$;
comment on function tokenbook.require_user is
  'Refuses with user_not_found, to admins and the server only, a user whom neither the books nor auth.users know; with account_lost one whose account row is gone.';

-- from supabase/schemas/10_access/reserved_action_types.sql

/*
 * The action types that the ledger keeps for itself: no caller may name his own spending so.
 * Immutable, so that who asks it with nothing else is answered when his plan is made.
 * Caller: internal.
 */
create function tokenbook.reserved_action_types()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.grant_action_types()
    || array['admin_deduct', 'opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover'];
end
$$;
comment on function tokenbook.reserved_action_types is
  'The action types that the ledger keeps for itself.';

-- from supabase/schemas/10_access/say_one_of.sql

/*
 * The names of a list as a refusal says them: "admin, plan or trial".
 * Caller: internal.
 */
create function tokenbook.say_one_of(p_list jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := array(
    select n.name from jsonb_object_keys(p_list) as n (name) order by n.name collate "C");
begin
  return concat_ws(' or ',
    nullif(array_to_string(v_names[:cardinality(v_names) - 1], ', '), ''), v_names[cardinality(v_names)]);
end
$$;
comment on function tokenbook.say_one_of is 'The names of a list in words: a, b or c.';

-- from supabase/schemas/10_access/set_token_limit.sql

/*
 * Chooses how many open holds or pending payments a user may have at a time, for the whole project, from
 * now on. What is there already stays; only new ones are refused. p_value NULL: the default again.
 * Caller: service_role.   Locks: nothing.   Errors: invalid_limit, unsupported_media_type, invalid_request.   Keeps: I10, I11.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.set_token_limit(p_name text, p_value integer)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_name is null or p_name not in ('open_holds', 'pending_payments') then
    perform tokenbook.refuse('invalid_limit', '{"field": "p_name", "rule": "open_holds or pending_payments"}');
  elsif p_value not between 1 and 10000 then
    perform tokenbook.refuse('invalid_limit', '{"field": "p_value", "rule": "1 to 10000, or null for the default"}');
  end if;
  if p_value is null then
    delete from tokenbook.chosen_limits c where c.name = p_name;
  else
    insert into tokenbook.chosen_limits as c (name, value) values (p_name, p_value)
    on conflict (name) do update set value = excluded.value, chosen_at = clock_timestamp();
  end if;
  perform tokenbook.record_change(
    'set_token_limit', null, 'service', null, null, jsonb_build_object('name', p_name, 'value', tokenbook.limit_of(p_name)));
  return jsonb_build_object('success', true, 'name', p_name, 'value', tokenbook.limit_of(p_name));
end
$$;
comment on function tokenbook.set_token_limit is
  'Chooses how many open_holds or pending_payments (p_name) a user may have at a time: p_value 1 to 10000, NULL the default again (Lists, in the reference). For the server. Returns {success, name, value}. Errors: invalid_limit.';

-- from supabase/schemas/10_access/wait_for_account.sql

/*
 * Locks an account that could not be locked at once: somebody has it, or there is none. Waits in its
 * queue (tokenbook.queue_for_account), and as its first at the row, for two seconds; then busy.
 * Each wait has a block of its own because a row that is locked in a block that can catch is locked
 * by another transaction number than the one that then changes it, which costs both writes and
 * readers; whoever comes out of the queue finds the row free, and takes it outside of any.
 * Caller: tokenbook.lock_account.   Locks: the token_accounts row.   Errors: busy, account_lost.
 */
create function tokenbook.wait_for_account(p_user_id uuid, p_create boolean)
returns public.token_accounts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_account public.token_accounts;
begin
  if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then
    -- this transaction may have the row already: then it must not stand behind who waits for it. One
    -- that has written nothing yet has not, and must not go ahead of them
    if pg_current_xact_id_if_assigned() is not null then
      select a.* into v_account
        from public.token_accounts a
       where a.user_id = p_user_id
         for no key update skip locked;
      if found then
        return v_account;
      end if;
    end if;
    perform tokenbook.queue_for_account(p_user_id);
  end if;

  select a.* into v_account
    from public.token_accounts a
   where a.user_id = p_user_id
     for no key update skip locked;
  if found then
    return v_account;
  end if;

  -- there is none, or somebody has it who does not queue
  if tokenbook.is_account_lost(p_user_id) then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  begin
    if p_create then
      insert into public.token_accounts (user_id) values (p_user_id) on conflict do nothing;
    end if;
    select a.* into v_account
      from public.token_accounts a
     where a.user_id = p_user_id
       for no key update;
  exception
    when lock_not_available then
      perform tokenbook.refuse('busy', '{}');
  end;
  return v_account;
end
$$;
comment on function tokenbook.wait_for_account is
  'Locks an account that tokenbook.lock_account could not lock at once: at most four seconds, then busy.';

-- from supabase/schemas/10_access/withdraw_rights.sql

/*
 * Takes every right on one object from everybody but its owner: from whoever is in its list, not from
 * names that are known here. A project may have default privileges for roles of its own, and a role that
 * service_role or authenticated is a member of would open the books to them.
 * Caller: migrations (95_privileges.sql, tokenbook.expose).
 */
create function tokenbook.withdraw_rights(p_kind text, p_object oid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_right record;
begin
  for v_right in
    select distinct o.name, a.grantee
      from (
        select quote_ident(n.nspname) as name, n.nspowner as owner, coalesce(n.nspacl, acldefault('n', n.nspowner)) as rights
          from pg_namespace n where p_kind = 'schema' and n.oid = p_object
        union all
        select c.oid::regclass::text, c.relowner, c.relacl -- nobody has any, where there is no list
          from pg_class c where p_kind in ('table', 'sequence') and c.oid = p_object
        union all
        select p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
          from pg_proc p where p_kind = 'function' and p.oid = p_object) o
     cross join lateral aclexplode(o.rights) a
     where a.grantee <> o.owner
  loop
    execute format('revoke all on %s %s from %s cascade', p_kind, v_right.name,
      case v_right.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(v_right.grantee)) end);
  end loop;
end
$$;
comment on function tokenbook.withdraw_rights is
  'Takes every right on one object (p_kind schema, table, sequence or function) from everybody but its owner. For migrations.';

-- from supabase/schemas/20_ledger/adjust_tokens.sql

/*
 * A signed correction by an admin: an admin grant when positive, a deduction oldest first when
 * negative. Also writes the token_usage row (admin_grant or admin_deduct) that the audit trail has
 * of every correction.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id,
 * transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found,
 * balance_limit_exceeded, too_many_grants, busy.   Keeps: I1 to I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.adjust_tokens(
  p_user_id uuid,
  p_delta bigint,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_done record;
  v_transaction public.token_transactions;
  v_shortfall bigint := 0;
  v_remaining bigint;
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_delta is null or p_delta = 0 or p_delta not between -1000000000000 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount',
      '{"field": "p_delta", "rule": "a whole number from -1000000000000 to 1000000000000, not 0"}');
  end if;
  perform tokenbook.check_request(p_idempotency_key, p_reason, p_metadata);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  v_entry.user_id := p_user_id;
  v_entry.tokens := p_delta;
  v_entry.action_type := case when p_delta > 0 then 'admin_grant' else 'admin_deduct' end;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'adjust', 'delta', p_delta, 'reason', p_reason);
  v_entry.usage_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');

  if p_delta > 0 then
    v_grant.grant_type := 'admin';
    v_grant.tokens_granted := p_delta;
    v_grant.priority := 50;
    v_grant.metadata := v_entry.metadata;
    v_done := tokenbook.issue_grant(v_grant, v_entry);
    v_transaction := v_done.transaction;
    v_remaining := v_transaction.balance_after;
  else
    v_done := tokenbook.spend_tokens(v_entry);
    v_transaction := v_done.transaction;
    v_shortfall := v_done.shortfall;
    v_remaining := v_done.tokens_remaining;
  end if;

  if v_transaction.id is not null and not v_done.replayed then
    insert into public.token_usage
      (user_id, id, action_type, tokens_used, cost_estimate, metadata, created_at, transaction_id)
    values
      (p_user_id, v_entry.usage_id, v_entry.action_type, abs(p_delta), 0,
       v_entry.metadata || jsonb_build_object('reason', v_entry.reason, 'transaction_id', v_transaction.id),
       v_transaction.created_at, v_transaction.id);
  end if;

  return jsonb_build_object(
    'success', v_shortfall = 0,
    'delta', p_delta,
    'tokens_remaining_to_deduct', v_shortfall,
    'grant_id', case when p_delta > 0 then v_transaction.grant_ids[1] end,
    'deducted_from', case when p_delta > 0 then '[]' else tokenbook.describe_allocations(v_transaction) end,
    'usage_id', v_transaction.usage_id,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_remaining,
    'replayed', v_done.replayed);
end
$$;
comment on function tokenbook.adjust_tokens is
  'Corrects a balance: an admin grant (365 days) when p_delta is positive, a deduction oldest first when it is negative. For an admin or the server. p_delta -10^12 to 10^12, not 0; p_reason 1 to 500 characters, and NULL in the ledger where it is left out; p_idempotency_key makes a retry safe for ever. Also writes the token_usage row admin_grant or admin_deduct. Returns {success, delta, tokens_remaining_to_deduct, grant_id, deducted_from, usage_id, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, too_many_grants, forbidden, busy.';

-- from supabase/schemas/20_ledger/append_transactions.sql

/*
 * Appends transactions to the ledger: the one INSERT into it, which a lint proves, but for the copy that
 * the fast path of tokenbook.deduct_tokens_with_fifo has for speed. Takes complete rows: the caller has
 * locked their accounts, numbered them, and changes grants and totals in the same transaction.
 * Caller: internal.   Keeps: I3.
 */
create function tokenbook.append_transactions(p_transactions public.token_transactions[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.token_transactions select t.* from unnest(p_transactions) as t;
end
$$;
comment on function tokenbook.append_transactions is
  'Appends complete transactions to the ledger; the caller has locked their accounts and changes grants and totals with them.';

-- from supabase/schemas/20_ledger/bring_due_forward.sql

/*
 * Makes the account due by that moment at the latest: something of it, a grant or a hold, runs out
 * then. NULL is never. The caller holds the account's lock.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.bring_due_forward(p_user_id uuid, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update public.token_accounts a
     set next_due_at = p_at
   where a.user_id = p_user_id and p_at < coalesce(a.next_due_at, 'infinity');
end
$$;
comment on function tokenbook.bring_due_forward is
  'Makes the account due by that moment at the latest; NULL is never. The caller holds its lock.';

-- from supabase/schemas/20_ledger/burn_order.sql

/*
 * The order in which grants are spent: the one place that says it. Everything else calls what is here.
 *
 *   fifo            priority, granted_at, id
 *   expiring_first  priority, expires_at (never last), granted_at, id
 *
 * It is said twice, because Postgres needs it in two forms: as two indexes and what reads them
 * (open_grants_…), and as a key for rows that no index holds (burn_key). A change of the order is a
 * change of this file, of tests/support/burn-order.ts, which says it once more so that a test can tell, and
 * of the known-bad variant ties-by-chance.
 *
 * Which of the two a project has chosen, and since when, is in tokenbook.burn_orders; what holds now is also
 * in tokenbook.project_settings, in the one row that every touch of an account reads.
 */
create index token_balances_burn_order_idx
  on public.token_balances (user_id, priority, granted_at, id) where is_open;
create index token_balances_expiring_first_idx
  on public.token_balances (user_id, priority, expires_at, granted_at, id) where is_open;

/*
 * A user's grants that can be spent at p_now, in that order, from its index: whoever takes the first one, or some,
 * reads no more than that. A caller that sorts or joins the rows must order them again. grant_ctid is where the
 * row is, for who changes it in the same statement.
 * These have no search_path of their own, so that Postgres writes them into the statement that calls them (decision
 * 22); their callers have set theirs, and no client may call them.
 * Caller: internal.   Keeps: I7, I8.
 */
create function tokenbook.open_grants_fifo(p_user_id uuid, p_now timestamptz)
returns table (
  grant_ctid tid, id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, priority smallint,
  granted_at timestamptz, expires_at timestamptz
)
language sql
stable
security invoker
as $$
  select b.ctid, b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
   order by b.priority, b.granted_at, b.id -- @oldest-first
$$;
comment on function tokenbook.open_grants_fifo is
  'A user''s grants that can be spent at p_now, first in, first out, from its index.';

create function tokenbook.open_grants_expiring_first(p_user_id uuid, p_now timestamptz)
returns table (
  grant_ctid tid, id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, priority smallint,
  granted_at timestamptz, expires_at timestamptz
)
language sql
stable
security invoker
as $$
  select b.ctid, b.id, b.grant_type, b.tokens_granted, b.tokens_remaining, b.priority, b.granted_at, b.expires_at
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and (b.expires_at > p_now or b.expires_at is null)
   order by b.priority, b.expires_at, b.granted_at, b.id -- @soonest-first
$$;
comment on function tokenbook.open_grants_expiring_first is
  'A user''s grants that can be spent at p_now, what expires first before the rest, from its index.';

-- The same in the order that the caller says. Who knows it beforehand calls the one: that is quicker.
create function tokenbook.open_grants_in_order(p_user_id uuid, p_now timestamptz, p_expiring_first boolean)
returns table (
  grant_ctid tid, id uuid, grant_type text, tokens_granted bigint, tokens_remaining bigint, priority smallint,
  granted_at timestamptz, expires_at timestamptz
)
language sql
stable
security invoker
as $$
  select f.* from tokenbook.open_grants_fifo(p_user_id, p_now) f where not p_expiring_first
  union all
  select e.* from tokenbook.open_grants_expiring_first(p_user_id, p_now) e where p_expiring_first
$$;
comment on function tokenbook.open_grants_in_order is
  'A user''s grants that can be spent at p_now, in burn order, from its index.';

create type tokenbook.burn_position as (priority smallint, expires_at timestamptz, granted_at timestamptz, id uuid);
comment on type tokenbook.burn_position is 'A grant''s place in the burn order: what comes first is spent first.';

/*
 * A grant's place in that order, to sort by: order by tokenbook.burn_key(…). Without a search_path, as above.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.burn_key(
  p_priority smallint,
  p_granted_at timestamptz,
  p_expires_at timestamptz,
  p_id uuid,
  p_expiring_first boolean
)
returns tokenbook.burn_position
language sql
immutable
security invoker
as $$
  select row(p_priority, case when p_expiring_first then coalesce(p_expires_at, 'infinity') end, p_granted_at, p_id)::tokenbook.burn_position
$$;
comment on function tokenbook.burn_key is
  'A grant''s place in the burn order, to sort by.';

/*
 * Whether grants were spent by expiring_first at that moment. Before the first choice, and before the books,
 * it was fifo.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.is_expiring_first_at(p_at timestamptz)
returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select o.burn_order = 'expiring_first' from tokenbook.burn_orders o where o.since <= p_at order by o.since desc limit 1), false)
$$;
comment on function tokenbook.is_expiring_first_at is
  'Whether grants were spent by expiring_first, not fifo, at that moment.';

-- from supabase/schemas/20_ledger/choose_grants.sql

/*
 * Which grants would pay for that many tokens now, and how much each: in burn order, stopping at
 * the grant that covers the rest, or after p_limit grants. Adds up to less when there is less. p_tokens
 * NULL is as many as there are; p_skip leaves out that many tokens at the front.
 * A deduction takes what this says, a quote and the balance show it; the order itself is in burn_order.sql.
 * With p_count_due what holds that have run out will give back counts as if it were back, and what the account is due
 * by its plan's schedule as if it were given, for who only looks; a deduction books it first.
 * Reads no more open grants than it chooses (I11), and all of those holds and slots.
 * Caller: internal.   Keeps: I7, I8, I11.
 */
create function tokenbook.choose_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_limit integer default null,
  p_count_due boolean default false,
  p_skip bigint default 0,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_needed bigint := p_tokens + p_skip;
  v_skip bigint := p_skip;
  v_expiring_first boolean := (select r.is_expiring_first from tokenbook.project_settings r);
  v_grants refcursor;
  v_open record; -- the next of the open grants, once it is fetched
  v_is_fetched boolean := false;
  v_back_ids uuid[] := '{}'; -- what holds give back to, and what is due, in burn order too
  v_back_tokens bigint[];
  v_back_keys tokenbook.burn_position[];
  v_nth integer := 1; -- the next of those
  v_is_open boolean;
  v_id uuid;
  v_tokens bigint;
begin
  if v_expiring_first is null then
    v_expiring_first := tokenbook.is_expiring_first_at('infinity'); -- the settings are not there
  end if;
  grant_ids := '{}';
  grant_tokens := '{}';
  if p_count_due then
    select coalesce(array_agg(back.id order by back.place), '{}'), array_agg(back.tokens order by back.place),
           array_agg(back.place order by back.place)
      into v_back_ids, v_back_tokens, v_back_keys
      from (
        select b.id, sum(part.tokens)::bigint as tokens,
               tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, v_expiring_first) as place
          from public.token_holds h
         cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
          join public.token_balances b on b.user_id = h.user_id and b.id = part.grant_id
         where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now
           and (b.expires_at > p_now or b.expires_at is null)
         group by b.user_id, b.id
        union all
        select (d.slot).id, (d.slot).tokens_remaining,
               tokenbook.burn_key((d.slot).priority, (d.slot).granted_at, (d.slot).expires_at, (d.slot).id, v_expiring_first)
          from tokenbook.due_slots(p_user_id, p_now) d) back;
  end if;

  open v_grants for select g.* from tokenbook.open_grants_in_order(p_user_id, p_now, v_expiring_first) g;
  loop
    exit when v_needed <= 0 or cardinality(grant_ids) >= p_limit;
    if not v_is_fetched then
      fetch v_grants into v_open;
      v_is_fetched := true;
    end if;
    v_is_open := v_open.id is not null
      and (v_nth > cardinality(v_back_ids)
        or tokenbook.burn_key(v_open.priority, v_open.granted_at, v_open.expires_at, v_open.id, v_expiring_first)
           <= v_back_keys[v_nth]);
    exit when not v_is_open and v_nth > cardinality(v_back_ids);
    v_tokens := 0;
    if v_is_open then
      v_id := v_open.id;
      v_tokens := v_open.tokens_remaining;
      v_is_fetched := false;
    end if;
    if v_nth <= cardinality(v_back_ids) and (not v_is_open or v_id = v_back_ids[v_nth]) then
      v_id := v_back_ids[v_nth];
      v_tokens := v_tokens + v_back_tokens[v_nth];
      v_nth := v_nth + 1;
    end if;
    v_tokens := least(v_tokens, v_needed);
    v_needed := v_needed - v_tokens;
    if v_tokens > v_skip then
      grant_ids := grant_ids || v_id;
      grant_tokens := grant_tokens || v_tokens - v_skip;
    end if;
    v_skip := greatest(v_skip - v_tokens, 0);
  end loop;
  close v_grants;
end
$$;
comment on function tokenbook.choose_grants is
  'Which grants would pay for that many tokens now, after the first p_skip, and how much each, in burn order; at most p_limit grants; with p_count_due what holds that have run out give back, and what the plan''s schedule gives, counts too.';

-- from supabase/schemas/20_ledger/claw_back.sql

/*
 * Takes tokens back that should not have been given (a refunded or disputed payment, a grant made
 * by mistake): from their own grant first, then from the others in burn order, at most what is
 * left. What could not be taken becomes the account's debt, repaid first by what comes in next, and what is
 * in more grants than one entry may name by them, from the next touch on. The plan limit goes down by all of it.
 * p_entry is the transaction to be: user_id, reason, actor, key, request, links, metadata.
 * Locks: the account (again).   Returns the transaction.   Keeps: I1 to I4, I9.
 */
create function tokenbook.claw_back(
  p_entry public.token_transactions,
  p_own_grant_id uuid,
  p_tokens bigint
)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_from_own bigint;
  v_from_others bigint;
begin
  v_account := tokenbook.lock_account(p_entry.user_id);
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;

  select least(p_tokens, b.tokens_remaining) into v_from_own
    from public.token_balances b where b.user_id = p_entry.user_id and b.id = p_own_grant_id;
  v_from_own := coalesce(v_from_own, 0);
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - v_from_own, is_open = b.tokens_remaining > v_from_own
   where b.user_id = p_entry.user_id and b.id = p_own_grant_id;
  v_from_others := least(p_tokens, v_account.tokens_remaining) - v_from_own;
  if v_from_others > 0 then
    select taken.grant_ids, taken.grant_tokens, taken.tokens
      into p_entry.grant_ids, p_entry.grant_tokens, v_from_others
      from tokenbook.take_from_grants(p_entry.user_id, v_from_others, v_now, p_partial => true) as taken;
  end if;
  if v_from_own > 0 then
    p_entry.grant_ids := p_own_grant_id || p_entry.grant_ids;
    p_entry.grant_tokens := v_from_own || p_entry.grant_tokens;
  end if;

  p_entry.entry_type := 'clawback';
  p_entry.action_type := 'clawback';
  p_entry.tokens := -(v_from_own + v_from_others);
  p_entry.debt_change := p_tokens + p_entry.tokens;
  p_entry.grant_ids := coalesce(p_entry.grant_ids, '{}');
  p_entry.grant_tokens := coalesce(p_entry.grant_tokens, '{}');
  p_entry.created_at := v_now;
  p_entry := tokenbook.record_transaction(p_entry);
  if p_entry.debt_change > 0 and p_entry.balance_after > 0 then
    perform tokenbook.bring_due_forward(p_entry.user_id, v_now);
  end if;
  perform tokenbook.move_plan_limit(p_entry.user_id, -p_tokens);
  return p_entry;
end
$$;
comment on function tokenbook.claw_back is
  'Takes tokens back that should not have been given, their own grant first; what is not there becomes debt.';

-- from supabase/schemas/20_ledger/deduct_full_path.sql

/*
 * The full path of a deduction: who asks and for what is looked at and refused by name, and tokenbook.spend_tokens
 * does what there is to do. The fast path, which needs none of that, is in
 * tokenbook.deduct_tokens_with_fifo itself; both come to the same grants, totals, ledger row and receipt.
 * Caller: tokenbook.deduct_tokens_with_fifo, which says the rest.   Locks: the account.
 */
create function tokenbook.deduct_full_path(
  p_user_id uuid,
  p_tokens bigint,
  p_action_type text,
  p_idempotency_key text,
  p_metadata jsonb
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_entry public.token_transactions;
  v_spent record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_tokens('p_tokens_to_deduct', p_tokens);
  perform tokenbook.check_action_type(p_action_type);
  perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
  if tokenbook.settle_backlog(tokenbook.paying_account(p_user_id)) then
    return tokenbook.answer_busy();
  end if;

  v_entry.actor_role := v_actor.actor_role;
  v_entry.actor_id := v_actor.actor_id;
  v_entry.user_id := p_user_id;
  v_entry.tokens := -p_tokens;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := tokenbook.deduction_request(p_tokens, p_action_type);
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := tokenbook.spend_tokens(v_entry);
  return tokenbook.deduction_receipt(
    p_tokens, (v_spent.transaction).id, tokenbook.describe_allocations(v_spent.transaction),
    v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
end
$$;
comment on function tokenbook.deduct_full_path is
  'The full path of a deduction: checks who asks and for what, spends, and answers. The caller is tokenbook.deduct_tokens_with_fifo.';

-- from supabase/schemas/20_ledger/deduct_tokens_batch.sql

/*
 * Many deductions in one call, for metering workers: many users, each item with its own key and its
 * own answer. Items of one user are applied in the order given; a key that comes twice is a replay
 * the second time. An item that is refused or finds too few tokens does not touch the others; with
 * p_all_or_nothing it undoes all of them, and the answer says which it was.
 *
 * The accounts are locked in one order before anything is done, so batches that overlap never wait
 * for each other in a circle. The items that need nothing but tokens go through tokenbook.spend_tokens_batch, the rest one by one
 * through tokenbook.spend_tokens: the same receipts either way.
 * A member of a team spends from his payer's account, as everywhere.
 * Caller: service_role.   Locks: the accounts, in the order of their ids.
 * Returns {success, deducted, replayed, short, failed, results: [{index, …receipt} or {index,
 * success, error: {code, hint, …facts}}]}, one result an item, in the order of the items.
 * Errors: invalid_batch, busy; in the results those of a single deduction, busy (of an account of which more
 * is due than one call books) and account_damaged, and not_applied.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: the server may not write the tables itself.
create function tokenbook.deduct_tokens_batch(p_items jsonb, p_all_or_nothing boolean default false)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entries public.token_transactions[] := '{}';
  v_user_ids uuid[]; -- of the entries; NULL where the item was refused
  v_account_ids uuid[]; -- whose tokens they take: a member's are his payer's
  v_results jsonb[];
  v_receipts jsonb[];
  v_behind uuid[] := '{}'; -- accounts of which more is due than one call books, or this one has books left for
  v_work bigint; -- what is due on an account
  v_work_left bigint := 2 * (tokenbook.limits() -> 'due_grants')::bigint;
  v_unknown uuid[]; -- who has no account yet
  v_locked uuid[];
  v_has_joined boolean;
  v_made record;
  v_spent record;
  v_user_id uuid;
  v_counts record;
  v_slug text;
  v_facts text;
  v_hint text;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  -- validate
  if jsonb_typeof(p_items) is distinct from 'array'
    or octet_length(p_items::text) > (tokenbook.limits() -> 'batch_bytes')::integer
    or (case jsonb_typeof(p_items) when 'array' then jsonb_array_length(p_items) end)
       not between 1 and (tokenbook.limits() -> 'batch_items')::integer
  then
    perform tokenbook.refuse('invalid_batch', jsonb_build_object(
      'field', 'p_items',
      'rule', format('an array of 1 to %s items, at most %s bytes',
                     tokenbook.limits() -> 'batch_items', tokenbook.limits() -> 'batch_bytes')));
  end if;
  v_results := array_fill(null::jsonb, array[jsonb_array_length(p_items)]);
  begin -- as a rule all of them are well-formed
    v_entries := array(
      select tokenbook.parse_batch_item(i.item, i.nth)
        from jsonb_array_elements(p_items) with ordinality as i (item, nth)
       order by i.nth);
  exception
    when sqlstate 'PT400' then -- one of them is refused: each by itself, in a block of its own
      for i in 1..jsonb_array_length(p_items)
      loop
        v_entries[i] := null;
        begin
          v_entries[i] := tokenbook.parse_batch_item(p_items -> (i - 1), i);
        exception
          when sqlstate 'PT400' then
            get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
            v_results[i] := tokenbook.describe_item_error(v_slug, v_facts, v_hint);
        end;
      end loop;
  end;
  v_user_ids := array(select e.user_id from unnest(v_entries) with ordinality as e order by e.ordinality);

  begin -- what all-or-nothing undoes

    -- lock: who has no account yet is given his plan, if he has one; then all accounts, in order
    select array_agg(coalesce(a.payer_id, u.user_id) order by u.nth),
           array_agg(distinct u.user_id) filter (
             where a.user_id is null and u.user_id is not null and not tokenbook.is_account_lost(u.user_id))
      into v_account_ids, v_unknown
      from unnest(v_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id;
    foreach v_user_id in array coalesce(v_unknown, '{}')
    loop
      perform tokenbook.grant_initial_plan(v_user_id);
    end loop;
    select array_agg(a.user_id), bool_or(a.payer_id is not null) into v_locked, v_has_joined
      from tokenbook.lock_accounts(v_account_ids) as a;
    if v_has_joined
      or v_account_ids <> v_user_ids and tokenbook.paying_accounts(v_user_ids) is distinct from v_account_ids
    then
      perform tokenbook.refuse('busy', '{}'); -- somebody joined or left a team meanwhile
    end if;

    -- replay, act, record: what is alone on its account and needs nothing but tokens, in the order of
    -- the accounts: neighbours are in the same pages
    v_receipts := v_results;
    begin
      for v_made in
        select m.nth, m.receipt
          from tokenbook.spend_tokens_batch(
                 array(
                   select v_entries[alone.nth]
                     from (
                       select a.nth, a.account_id, count(*) over (partition by a.account_id) as items
                         from unnest(v_account_ids) with ordinality as a (account_id, nth)) alone
                    where alone.items = 1 and alone.account_id = v_user_ids[alone.nth]
                    order by alone.account_id),
                 clock_timestamp()) as m
      loop
        v_receipts[v_made.nth] := v_made.receipt;
      end loop;
      v_results := v_receipts;
    exception
      when integrity_constraint_violation or data_exception then
        null; -- the books of one are damaged: each by itself, below
    end;

    -- and the rest
    for i in 1..cardinality(v_entries)
    loop
      continue when v_results[i] is not null;
      begin
        v_work := tokenbook.due_work(v_account_ids[i]);
        if v_account_ids[i] = any (v_behind) or v_work > v_work_left then
          v_behind := array_remove(v_behind, v_account_ids[i]) || v_account_ids[i];
          perform tokenbook.refuse('busy', '{}');
        end if;
        v_work_left := v_work_left - v_work;
        if v_account_ids[i] = any (v_locked) then
          v_spent := tokenbook.spend_tokens(v_entries[i]);
          v_results[i] := tokenbook.deduction_receipt(
            -(v_entries[i]).tokens, (v_spent.transaction).id, tokenbook.describe_allocations(v_spent.transaction),
            v_spent.shortfall, v_spent.tokens_remaining, v_spent.replayed, v_spent.capped_by);
        else
          -- an account made meanwhile would be locked out of order: to this batch there is none
          perform tokenbook.require_user(v_account_ids[i], 'service');
          v_results[i] := tokenbook.deduction_receipt(
            -(v_entries[i]).tokens, null, '[]', -(v_entries[i]).tokens, 0, false);
        end if;
      exception
        when sqlstate 'PT403' or sqlstate 'PT404' or sqlstate 'PT409' or sqlstate 'PT422' or sqlstate 'PT500' or sqlstate 'PT503' then
          get stacked diagnostics v_slug = message_text, v_facts = pg_exception_detail, v_hint = pg_exception_hint;
          v_results[i] := tokenbook.describe_item_error(v_slug, v_facts, v_hint);
        when integrity_constraint_violation or data_exception then
          v_results[i] := tokenbook.describe_item_error(
            'account_damaged', null, tokenbook.describe_refusal('account_damaged') ->> 'hint');
      end;
    end loop;

    if p_all_or_nothing -- @all-or-nothing
      and exists (select from unnest(v_results) as r (result) where r.result -> 'success' = 'false')
    then
      perform tokenbook.refuse('not_applied');
    end if;
  exception
    when sqlstate 'PT424' then
      get stacked diagnostics v_slug = message_text, v_hint = pg_exception_hint;
      v_results := array(
        select case when r.result -> 'success' = 'false' then r.result else tokenbook.describe_item_error(v_slug, null, v_hint) end
          from unnest(v_results) with ordinality as r (result, nth)
         order by r.nth);
  end;

  -- what more than this call has to book, as a sweep does it: outside of what all-or-nothing undoes
  if v_behind <> '{}' then
    perform tokenbook.lock_accounts(v_behind);
    perform tokenbook.sweep_accounts(v_behind, clock_timestamp()); -- @batches-settle-backlogs
  end if;

  select count(*) filter (where r.result -> 'success' = 'true' and r.result -> 'replayed' = 'false') as deducted,
         count(*) filter (where r.result -> 'replayed' = 'true') as replayed,
         count(*) filter (where r.result -> 'success' = 'false' and not r.result ? 'error') as short,
         count(*) filter (where r.result ? 'error') as failed,
         jsonb_agg(jsonb_build_object('index', r.nth - 1) || r.result order by r.nth) as results
    into v_counts
    from unnest(v_results) with ordinality as r (result, nth);
  return jsonb_build_object(
    'success', v_counts.short = 0 and v_counts.failed = 0,
    'deducted', v_counts.deducted,
    'replayed', v_counts.replayed,
    'short', v_counts.short,
    'failed', v_counts.failed,
    'results', v_counts.results);
end
$$;
comment on function tokenbook.deduct_tokens_batch is
  'Many deductions in one call, for the server. p_items an array of {user_id, tokens, action_type, idempotency_key, metadata} (only the first two required), no more of them than Lists in the reference says (batch_items, batch_bytes); items of one user are applied in the order given. Each item is answered by itself and does not touch the others; with p_all_or_nothing any item that is refused or short undoes all. Returns {success (every item), deducted, replayed, short, failed (counts), results: [{index, success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed} as deduct_tokens_with_fifo answers, or {index, success, error: {code, hint, …facts}}] in the order of the items}. Errors: invalid_batch, busy; of an item those of deduct_tokens_with_fifo, user_not_found, account_damaged, not_applied.';

-- from supabase/schemas/20_ledger/deduct_tokens_with_fifo.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id,
 * grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of
 * tokens, or under a cap that allows less: success false, tokens_remaining_to_deduct the shortfall,
 * nothing changed, no error; the cap is said in capped_by {scope, window, limit, used, resets_at}.
 * A member of a team spends from his payer's account.
 *
 * The fast path is here, in as few statements as it can be: the account is free, nothing is
 * due, the oldest grant covers it, no cap applies, nobody wants to be told, and the key is new. Whatever
 * is not so is left to tokenbook.deduct_full_path; both come to the same grants, totals, ledger row and receipt.
 * What it saves: docs/performance.md.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, account_frozen, too_many_grants, busy   (docs/errors.md)
 * Keeps: I1 no overspend, I4 allocations = deduction, I5 one key one effect, I7, I8 FIFO exactly.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.deduct_tokens_with_fifo(
  p_user_id uuid,
  p_tokens_to_deduct bigint,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor_role text := 'service';
  v_actor_id uuid;
  v_account tid; -- where the row is, as long as it is locked
  v_id bigint;
  v_left bigint;
  v_now timestamptz;
  v_request jsonb;
  v_grant_id uuid;
  v_grant_type text;
  v_granted_at timestamptz;
begin
  <<fast_path>> -- left by whatever is not for it, with nothing changed
  begin
    -- validate: what is not plainly right here is looked at, and refused by name, by tokenbook.deduct_full_path
    if current_setting('role') <> 'service_role' then -- @deduction-asks-who: the server may deduct from anyone
      select w.actor_role, w.actor_id into v_actor_role, v_actor_id
        from tokenbook.authorize(p_user_id, p_self_may => true) w;
    else
      perform tokenbook.check_body(); -- @server-sends-one-object
    end if;
    exit fast_path when (p_user_id is not null -- @fast-path-if-plain
      and p_tokens_to_deduct between 1 and 1000000000000
      and p_action_type ~ '^[a-z][a-z0-9_]{0,63}$'
      and p_action_type <> all (tokenbook.reserved_action_types())) is not true;
    if p_idempotency_key is not null or p_metadata is not null then
      perform tokenbook.check_request(p_idempotency_key, null, p_metadata);
    end if;

    -- lock: who has written something may have the row already, and must not stand behind who waits for it
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.uuid_hash_extended(p_user_id, 0)) then -- @fast-path-locks-first
      exit fast_path when pg_current_xact_id_if_assigned() is not null;
      perform tokenbook.queue_for_account(p_user_id);
    end if;
    select a.ctid, a.last_transaction_id + 1, a.tokens_remaining - p_tokens_to_deduct, clock_timestamp()
      into v_account, v_id, v_left, v_now
      from public.token_accounts a
     where a.user_id = p_user_id
       and a.payer_id is null -- @fast-path-own-account: else his payer's is to be locked
       and a.tokens_remaining >= p_tokens_to_deduct
       and a.state = 'active' -- @fast-path-not-frozen
       and (a.next_due_at <= clock_timestamp()
         or a.tokens_remaining - p_tokens_to_deduct < a.alert_below -- @fast-path-tells-nobody
         or a.tokens_remaining - p_tokens_to_deduct >= a.alert_above) is not true
       and a.alerts_version = (
         select r.alerts_version from tokenbook.project_settings r where not r.is_expiring_first)
       and not exists (select from public.token_spend_caps c where c.user_id = p_user_id)
       and not exists (select from public.token_default_spend_caps) -- @fast-path-common-caps
       for no key update skip locked;
    exit fast_path when v_id is null;

    -- replay
    if p_idempotency_key is not null then
      perform from public.token_transactions t
        where t.user_id = p_user_id and t.member_id is null and t.idempotency_key = p_idempotency_key
      union all
      select from public.token_transactions t -- of the time when he was in a team
        where t.member_id = p_user_id and t.idempotency_key = p_idempotency_key;
      exit fast_path when found; -- @fast-replay-after-lock
      v_request := tokenbook.deduction_request(p_tokens_to_deduct, p_action_type);
    end if;

    -- act: the oldest grant, if it covers all of it
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p_tokens_to_deduct,
           is_open = b.tokens_remaining > p_tokens_to_deduct
     where b.user_id = p_user_id
       and b.ctid = (
         select g.grant_ctid from tokenbook.open_grants_fifo(p_user_id, v_now) g limit 1) -- @fast-path-oldest-first
       and b.tokens_remaining >= p_tokens_to_deduct
    returning b.id, b.grant_type, b.granted_at into v_grant_id, v_grant_type, v_granted_at;
    exit fast_path when v_grant_id is null;

    -- record: as tokenbook.record_transaction does it
    update public.token_accounts a
       set tokens_remaining = v_left,
           tokens_used = a.tokens_used + p_tokens_to_deduct,
           spent_at = greatest(a.spent_at, v_now),
           spent_day = case when a.spent_at >= date_trunc('day', v_now, 'UTC') then a.spent_day else 0 end
             + p_tokens_to_deduct, -- @fast-path-counts-day
           spent_week = case when a.spent_at >= date_trunc('week', v_now, 'UTC') then a.spent_week else 0 end
             + p_tokens_to_deduct,
           spent_month = case when a.spent_at >= date_trunc('month', v_now, 'UTC') then a.spent_month else 0 end
             + p_tokens_to_deduct,
           last_transaction_id = v_id,
           updated_at = v_now
     where a.user_id = p_user_id and a.ctid = v_account;
    -- the one copy of tokenbook.append_transactions: to call it here takes a tenth more (decision 34)
    insert into public.token_transactions -- @faults-are-told begin
      (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason,
       actor_role, actor_id, idempotency_key, request, metadata, created_at)
    values
      (p_user_id, v_id, 'deduction', p_action_type, -p_tokens_to_deduct, v_left,
       array[v_grant_id], array[p_tokens_to_deduct], p_action_type, v_actor_role, v_actor_id, p_idempotency_key,
       v_request, coalesce(p_metadata, '{}'), v_now); -- @faults-are-told end
    return tokenbook.deduction_receipt(
      p_tokens_to_deduct, v_id,
      jsonb_build_array(tokenbook.describe_allocation(v_grant_id, v_grant_type, v_granted_at, p_tokens_to_deduct)),
      0, v_left, false);
  end;
  return tokenbook.deduct_full_path(p_user_id, p_tokens_to_deduct, p_action_type, p_idempotency_key, p_metadata);
end
$$;
comment on function tokenbook.deduct_tokens_with_fifo is
  'Spends tokens from the user''s grants, oldest first, all or nothing. For the user himself, an admin, or the server. p_tokens_to_deduct 1 to 10^12; p_action_type what for (chat_conversation, …); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from: [{grant_id, grant_type, granted_at, deducted}], transaction_id, tokens_remaining, replayed}. Short of tokens: success false, tokens_remaining_to_deduct the shortfall, nothing changed; and so under a spend cap, which is then said in capped_by {scope, window, limit, used, resets_at}. A member of a team spends from his payer''s account. Errors: invalid_amount, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, account_frozen, too_many_grants, forbidden, busy.';

-- from supabase/schemas/20_ledger/deduction_receipt.sql

/*
 * The answer to a deduction of p_tokens: its transaction (new or replayed) and which grants paid, or a
 * shortfall and no transaction. The same for one deduction and for one of a batch.
 * Caller: internal.
 */
create function tokenbook.deduction_receipt(
  p_tokens bigint,
  p_transaction_id bigint,
  p_deducted_from jsonb,
  p_shortfall bigint,
  p_tokens_remaining bigint,
  p_replayed boolean,
  p_capped_by jsonb default null
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'success', p_shortfall = 0,
    'tokens_deducted', case when p_shortfall = 0 then p_tokens else 0 end, -- @receipts-are-exact
    'tokens_remaining_to_deduct', p_shortfall,
    'deducted_from', p_deducted_from,
    'transaction_id', p_transaction_id,
    'tokens_remaining', p_tokens_remaining,
    'replayed', p_replayed)
    || case when p_capped_by is null then '{}' else tokenbook.describe_cap(p_capped_by) end;
end
$$;
comment on function tokenbook.deduction_receipt is
  'The answer to a deduction: {success, tokens_deducted, tokens_remaining_to_deduct, deducted_from, transaction_id, tokens_remaining, replayed}, and capped_by where a cap allowed less.';

-- from supabase/schemas/20_ledger/deduction_request.sql

/*
 * What a deduction asked for, as the ledger keeps it under its key: alone or in a batch it is the same
 * request.
 * Caller: internal.
 */
create function tokenbook.deduction_request(p_tokens bigint, p_action_type text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object('operation', 'deduct', 'tokens', p_tokens, 'action_type', p_action_type);
end
$$;
comment on function tokenbook.deduction_request is
  'What a deduction asked for, as the ledger keeps it under its key.';

-- from supabase/schemas/20_ledger/describe_allocation.sql

/*
 * What one grant paid, as receipts and quotes say it.
 * Caller: internal.
 */
create function tokenbook.describe_allocation(
  p_grant_id uuid,
  p_grant_type text,
  p_granted_at timestamptz,
  p_tokens bigint
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'grant_id', p_grant_id, 'grant_type', p_grant_type, 'granted_at', p_granted_at, 'deducted', p_tokens);
end
$$;
comment on function tokenbook.describe_allocation is
  'What one grant paid: {grant_id, grant_type, granted_at, deducted}.';

-- from supabase/schemas/20_ledger/describe_allocations.sql

/*
 * Which grants a transaction touched and how much each, in the order in which they paid:
 * [{grant_id, grant_type, granted_at, deducted}]. From what is stored, for a new transaction and
 * for a replay of it alike, so that both get the same receipt.
 * Caller: internal.
 */
create function tokenbook.describe_allocations(p_transaction public.token_transactions)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
    select jsonb_agg(
             tokenbook.describe_allocation(b.id, b.grant_type, b.granted_at, paid.tokens) order by paid.nth)
      from unnest(p_transaction.grant_ids, p_transaction.grant_tokens)
           with ordinality as paid (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_transaction.user_id and b.id = paid.grant_id), '[]');
end
$$;
comment on function tokenbook.describe_allocations is
  'The grants that a transaction touched: [{grant_id, grant_type, granted_at, deducted}] in the order in which they paid.';

-- from supabase/schemas/20_ledger/describe_grant.sql

/*
 * A grant as a balance lists it, with what is left of it then.
 * Caller: internal. tokenbook.get_balance_fast_path lists the same columns as they stand in the table: to
 * call this for each of three grants takes a quarter more (decision 34).
 */
create function tokenbook.describe_grant(p_grant public.token_balances, p_tokens_remaining bigint)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'id', p_grant.id,
    'grant_type', p_grant.grant_type,
    'tokens_granted', p_grant.tokens_granted,
    'tokens_remaining', p_tokens_remaining,
    'priority', p_grant.priority,
    'granted_at', p_grant.granted_at,
    'expires_at', p_grant.expires_at);
end
$$;
comment on function tokenbook.describe_grant is
  'A grant as a balance lists it: {id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}.';

-- from supabase/schemas/20_ledger/describe_item_error.sql

/*
 * A refusal as the answer to one item of a batch: what would have been raised, had it come alone.
 * Fields have the names that they have in the item.
 * Caller: internal.
 */
create function tokenbook.describe_item_error(p_slug text, p_facts text, p_hint text)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'success', false,
    'error', jsonb_build_object('code', p_slug, 'hint', p_hint)
      || replace(coalesce(nullif(p_facts, ''), '{}'), '"field": "p_', '"field": "')::jsonb);
end
$$;
comment on function tokenbook.describe_item_error is
  'A refusal as the answer to one item of a batch: {success: false, error: {code, hint, …facts}}.';

-- from supabase/schemas/20_ledger/due_work.sql

/*
 * How much there is to book on an account now, counted in grants (a hold, or a slot of a plan, is as much as five); more than any call
 * books where it is behind. For who goes through many accounts in one call, and has a bound for all of them.
 * Caller: internal.   Keeps: I11.
 */
create function tokenbook.due_work(p_user_id uuid)
returns bigint
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
begin
  if not exists (select from public.token_accounts a where a.user_id = p_user_id and a.next_due_at <= v_now) then
    return 0; -- as a rule
  elsif tokenbook.has_backlog(p_user_id) then
    return 1000000;
  end if;
  return (
    select count(*) from public.token_balances b
     where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now) + (
    select 5 * count(*) + coalesce(sum(cardinality(h.grant_ids)), 0) from public.token_holds h
     where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= v_now) + (
    select 5 * count(*) from tokenbook.due_slots(p_user_id, v_now));
end
$$;
comment on function tokenbook.due_work is
  'How much there is to book on an account now, counted in grants.';

-- from supabase/schemas/20_ledger/expire_old_token_grants.sql

/*
 * The sweeper: books what has run out and what the schedules of plans give, for at most p_max_accounts users a call and
 * of each no more than a portion (call it until it returns 0). A convenience that keeps the ledger's dates close to the
 * truth and the watched account rows fresh; nothing is spent or counted after its expiry without it.
 * Accounts that are locked are skipped, so it never waits and nobody waits long for it; whoever
 * holds the lock books them, or the next run does. So are, for an hour, those that the last run could not
 * bring up to date (tokenbook.sweep_accounts).
 * Caller: service_role, a scheduled job.   Locks: the due accounts.   Returns holds, grants and slots booked.
 * Errors: invalid_page.   Keeps: I11.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.expire_old_token_grants(p_max_accounts integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_user_ids uuid[];
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_max_accounts is null or p_max_accounts not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_max_accounts", "rule": "1 to 10000"}');
  end if;
  select array_agg(due.user_id) into v_user_ids
    from (
      select a.user_id from public.token_accounts a
       where a.next_due_at <= v_now
         and not tokenbook.is_set_aside(a.user_id)
       order by a.next_due_at
       limit p_max_accounts
         for no key update skip locked
    ) due;
  if v_user_ids is null then
    return 0;
  end if;
  return tokenbook.sweep_accounts(v_user_ids, v_now);
end
$$;
comment on function tokenbook.expire_old_token_grants is
  'Books grants and holds that have run out, for at most p_max_accounts users a call; returns how many, 0 when nothing more is due. For the server and scheduled jobs. Correctness does not need it.';

-- from supabase/schemas/20_ledger/get_balance_fast_path.sql

/*
 * What get_user_token_balance says of an account to which nothing has to be done first, in one
 * statement: nothing is due, no plan waits for its time, the user pays for himself, has something
 * left, and grants are spent first in, first out. NULL for every other case. What it saves:
 * docs/performance.md.
 * Caller: tokenbook.get_user_token_balance.   Locks: nothing.   Keeps: I7.
 */
create function tokenbook.get_balance_fast_path(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_balance jsonb;
begin
  select jsonb_build_object(
    'user_id', a.user_id,
    'state', a.state,
    'total_active', a.tokens_remaining, -- @fast-balance-is-bigint
    'total_expired', a.tokens_expired,
    'total_reserved', a.tokens_reserved,
    'total_owed', a.tokens_owed,
    'tokens_limit', s.tokens_limit,
    'plan_type', s.plan_type,
    'next_expiry', case when a.next_due_at is not null then (
      select min(b.expires_at) from public.token_balances b where b.user_id = a.user_id and b.is_open) end,
    'grants', array(
      select listed
        from (
          select g.id, g.grant_type, g.tokens_granted, g.tokens_remaining, g.priority, g.granted_at, g.expires_at
            from tokenbook.open_grants_fifo(a.user_id, statement_timestamp()) g
           limit 101) listed),
    'has_more_grants', false)
    into v_balance
    from public.token_accounts a
    left join tokenbook.subscriptions s on s.user_id = a.user_id
   where a.user_id = p_user_id
     and a.payer_id is null
     and a.tokens_remaining > 0
     and (a.next_due_at is null or a.next_due_at > clock_timestamp()) -- @nothing-open-has-expired
     -- the plan in the row is the one in force
     and coalesce(s.expires_at, 'infinity') > clock_timestamp() -- @fast-plan-in-force
     and coalesce(s.cancel_at, 'infinity') > clock_timestamp()
     and s.ended_at is null and s.paused_at is null and s.taken_back_at is null
     and not (select r.is_expiring_first from tokenbook.project_settings r);
  if v_balance #> '{grants,0}' is null then
    return null; -- tokens, and no grant: not for this path to say
  end if;
  if v_balance #> '{grants,100}' is not null then
    v_balance := v_balance || jsonb_build_object('grants', (v_balance -> 'grants') - 100, 'has_more_grants', true);
  end if;
  return v_balance;
end
$$;
comment on function tokenbook.get_balance_fast_path is
  'The answer of get_user_token_balance for an account to which nothing has to be done first; NULL for any other.';

-- from supabase/schemas/20_ledger/get_token_balance_as_of.sql

/*
 * A user's balance as it was at a moment: from the ledger up to then, with what had run out by then
 * (booked or not) not counted, and what the plan's schedule gave by then (booked or not) counted. In one pass over the
 * user's ledger.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_moment, user_not_found,
 * before_the_books, account_lost.   Keeps: I7.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.get_token_balance_as_of(
  p_user_id uuid default auth.uid(),
  p_at timestamptz default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_opened_at timestamptz;
  v_expiring_first boolean;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if p_at is null or p_at > clock_timestamp() then
    perform tokenbook.refuse('invalid_moment', '{"field": "p_at", "rule": "not in the future"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if tokenbook.is_ledger_lost(p_user_id) then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  select t.created_at into v_opened_at
    from public.token_transactions t
   where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
  if p_at < v_opened_at then
    perform tokenbook.refuse('before_the_books', jsonb_build_object('opened_at', v_opened_at));
  end if;
  v_expiring_first := tokenbook.is_expiring_first_at(p_at);

  return (
    with ledger as materialized (
      select t.entry_type, t.tokens, t.debt_change, t.reserved_change, t.grant_ids, t.grant_tokens
        from public.token_transactions t
       where t.user_id = p_user_id and t.created_at <= p_at
    ), totals as (
      select coalesce(sum(t.debt_change), 0)::bigint as owed,
             coalesce(sum(t.reserved_change), 0)::bigint as reserved,
             coalesce(-sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')), 0)::bigint as expired -- what was carried over is not lost
        from ledger t
    ), allocated as (
      select part.grant_id,
             sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from ledger t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       where t.tokens <> t.reserved_change -- a capture spends what the hold had taken
       group by part.grant_id
    ), came_back as ( -- from holds that had run out, and nobody had booked it
      select part.grant_id, sum(part.tokens)::bigint as tokens
        from public.token_holds h
       cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
       where h.user_id = p_user_id and h.created_at <= p_at and h.expires_at <= p_at -- @past-holds-run-out
         and (h.settled_at is null or h.settled_at > p_at)
       group by part.grant_id
    ), known as (
      select b.id, b.grant_type, b.tokens_granted, b.priority, b.granted_at, b.expires_at,
             tokenbook.expiry_as_granted(b) as granted_until, a.tokens, coalesce(c.tokens, 0) as back
        from allocated a
        join public.token_balances b on b.user_id = p_user_id and b.id = a.grant_id
        left join came_back c on c.grant_id = a.grant_id
      union all
      select d.id, d.grant_type, d.tokens_granted, d.priority, d.granted_at, d.expires_at, d.expires_at, d.tokens_remaining, 0
        from tokenbook.due_slots_as_of(p_user_id, p_at) d -- @past-slots-count
    ), grants as (
      select k.*,
             coalesce(k.expires_at > p_at, true) as is_alive, -- @past-grants-run-out
             row_number() over (
               partition by coalesce(k.expires_at > p_at, true) and k.tokens + k.back > 0
               order by tokenbook.burn_key(k.priority, k.granted_at, k.granted_until, k.id, v_expiring_first)) as nth
        from known k
    ), sums as (
      select coalesce(sum(g.tokens + g.back) filter (where g.is_alive), 0)::bigint as active,
             coalesce(sum(g.tokens + g.back) filter (where not g.is_alive), 0)::bigint as lost,
             coalesce(sum(g.back), 0)::bigint as back
        from grants g
    ), due as (
      select least(totals.owed, sums.active) as repaid from totals cross join sums
    ), left_over as ( -- of the grants that could be spent, after what repays the debt, first in burn order
      select g.*, row_number() over (order by g.nth) as place
        from (
          select a.*, least(a.tokens + a.back, sum(a.tokens + a.back) over (order by a.nth) - due.repaid)::bigint as tokens_left
            from grants a
           cross join due
           where a.is_alive and a.tokens + a.back > 0) g
       where g.tokens_left > 0
    ), listed as (
      select min(g.expires_at) as next_expiry,
             count(*) > 100 as has_more,
             jsonb_agg(
               jsonb_build_object(
                 'id', g.id,
                 'grant_type', g.grant_type,
                 'tokens_granted', g.tokens_granted,
                 'tokens_remaining', g.tokens_left,
                 'priority', g.priority,
                 'granted_at', g.granted_at,
                 'expires_at', g.expires_at)
               order by g.place) filter (where g.place <= 100) as grants
        from left_over g
    )
    select jsonb_build_object(
      'user_id', p_user_id,
      'at', p_at,
      'total_active', sums.active - due.repaid,
      'total_expired', totals.expired + sums.lost,
      'total_reserved', totals.reserved - sums.back,
      'total_owed', totals.owed - due.repaid,
      'next_expiry', listed.next_expiry,
      'grants', coalesce(listed.grants, '[]'),
      'has_more_grants', listed.has_more)
      from totals
     cross join sums
     cross join due
     cross join listed);
end
$$;
comment on function tokenbook.get_token_balance_as_of is
  'What the user could spend at a moment that has passed, from the ledger up to then. For the user himself (leave p_user_id out), an admin, or the server. p_at is that moment. Returns {user_id, at, total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they would have been spent, at most 100, has_more_grants}. Errors: not_authenticated, forbidden, invalid_moment, before_the_books (facts: opened_at).';

-- from supabase/schemas/20_ledger/get_token_history.sql

/*
 * A user's transactions, newest first, a page at a time, on from the ledger into the history
 * from before the books opened (entry_type 'history', numbered downwards from 0, no balance).
 * Keyset paging by number: pages neither skip nor repeat while new transactions arrive.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_page, user_not_found,
 * account_lost.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.get_token_history(
  p_user_id uuid default auth.uid(),
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_page record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;

  -- rows stay rows until the page is made of them, once; columns in the order of a jsonb's keys
  -- (by length, then by name), or each of the rows would be sorted
  select exists (select from public.token_accounts a where a.user_id = p_user_id) as is_known,
         tokenbook.is_ledger_lost(p_user_id) as is_lost,
         array(
           select entry
             from (
               (select t.id, t.reason, t.tokens, t.hold_id, t.actor_id, t.metadata, t.usage_id, t.member_id,
                       t.actor_role, t.created_at, t.entry_type, t.action_type,
                       array(
                         select part from unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)) as allocations,
                       t.original_id, t.balance_after, t.idempotency_key, t.reserved_change
                  from public.token_transactions t
                 where t.user_id = p_user_id and t.id < coalesce(p_before, 9223372036854775807)
                 order by t.id desc
                 limit p_limit + 1)
               union all
               (select h.id, null, h.tokens, null, null, h.metadata, null, null,
                       null, h.created_at, 'history', h.action_type,
                       '{}',
                       null, null, null, 0
                  from public.token_legacy_transactions h
                 where h.user_id = p_user_id and h.id < coalesce(p_before, 9223372036854775807)
                 order by h.id desc
                 limit p_limit + 1)
               order by id desc
               limit p_limit + 1) entry) as entries
    into v_page;
  if not v_page.is_known then
    perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  elsif v_page.is_lost then
    perform tokenbook.refuse('account_lost', '{}');
  end if;

  return jsonb_build_object(
    'transactions', v_page.entries[:p_limit],
    'next_before', case when cardinality(v_page.entries) > p_limit
                        then to_jsonb(v_page.entries[p_limit]) -> 'id' end);
end
$$;
comment on function tokenbook.get_token_history is
  'The user''s transactions, newest first. For the user himself (leave p_user_id out), an admin, or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {transactions: [{id, entry_type, action_type, tokens (signed), reserved_change (set aside by it), balance_after, allocations: [{grant_id, tokens}], reason, actor_role, actor_id, idempotency_key, usage_id, hold_id, original_id (the transaction that it undoes), member_id (the member of the team who spent it), metadata, created_at}], next_before (NULL on the last page)}. entry_type as in the ledger, and history for what is older than the books. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/20_ledger/get_user_token_balance.sql

/*
 * What a user can spend now, grant by grant in the order in which they will be spent (at most 100
 * are listed). What has run out is not counted, booked or not, and what the plan's schedule gives is; if something is
 * due and the account is free, it is booked on the way, so that the account row that frontends watch is right again (but
 * not in a transaction that is read-only). A user who never had a grant and has a plan is given its tokens first, once;
 * a plan that has ended, or a downgrade whose time has come, is recorded.
 * A member of a team is told of his payer's account, which is what he can spend.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.
 * Locks: the account, only when something is due and only if it need not wait.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, busy.   Keeps: I7, I11.
 */
-- Security definer: it books expiries, and an admin reads other users' rows.
create function tokenbook.get_user_token_balance(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_account_id uuid;
  v_now timestamptz;
  v_is_due boolean;
  v_may_book boolean;
  v_balance jsonb;
begin
  if current_setting('role') <> 'service_role' then -- @balance-asks-who: the server may ask for anyone; of nobody, below
    perform tokenbook.authorize(p_user_id, p_self_may => true);
  else
    perform tokenbook.check_body(); -- @server-sends-one-object
  end if;
  v_balance := tokenbook.get_balance_fast_path(p_user_id);
  if v_balance is not null then -- @balance-fast-path
    return v_balance;
  end if;

  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  v_now := clock_timestamp();
  v_account_id := tokenbook.paying_account(p_user_id);
  if tokenbook.settle_backlog(v_account_id, p_portions => 10) then
    return tokenbook.answer_busy();
  end if;

  v_may_book := not current_setting('transaction_read_only')::boolean;
  if v_may_book and not exists (select from public.token_balances b where b.user_id = v_account_id) then
    perform tokenbook.grant_initial_plan(v_account_id); -- whom registration missed
    v_now := clock_timestamp();
  end if;
  if v_may_book and exists (
    select from tokenbook.subscriptions s
     where s.user_id = v_account_id and (s.expires_at <= v_now or s.cancel_at <= v_now)
       and tokenbook.subscription_at(s, v_now) is distinct from s)
  then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform tokenbook.settle_subscription(v_account_id);
    end if;
  end if;
  select coalesce(a.next_due_at <= v_now, false) into v_is_due
    from public.token_accounts a where a.user_id = v_account_id;
  if v_is_due is null then
    perform tokenbook.require_user(v_account_id, v_actor.actor_role);
  elsif v_is_due and v_may_book then
    perform from public.token_accounts a where a.user_id = v_account_id for no key update skip locked;
    if found then
      perform tokenbook.record_expiries(array[v_account_id], v_now, p_in_portions => true);
    end if;
  end if;

  -- one statement, or what changes between two would be counted twice or not at all; what is still due, because
  -- somebody has the account or because it is more than a portion, counts as if it were booked
  return (
    select jsonb_build_object(
      'user_id', p_user_id,
      'state', case when tokenbook.is_frozen(a, nullif(p_user_id, v_account_id)) then 'frozen' else 'active' end,
      'total_active', coalesce(a.tokens_remaining - due.lost + due.returned + due.given - due.repaid, 0), -- @balance-is-bigint
      'total_expired', coalesce(a.tokens_expired + due.lost + due.forfeited, 0),
      'total_reserved', coalesce(a.tokens_reserved - due.returned - due.forfeited, 0),
      'total_owed', coalesce(a.tokens_owed - due.repaid, 0),
      'tokens_limit', case
        when due.given > 0 then a.tokens_remaining - due.lost + due.returned + due.given - due.repaid -- as a slot sets it
        else (select s.tokens_limit from public.token_subscriptions s where s.user_id = v_account_id) end,
      'plan_type', (select s.plan_type from public.token_subscriptions s where s.user_id = v_account_id),
      'next_expiry', (
        select least(
                 (select min(b.expires_at) from public.token_balances b
                   where b.user_id = v_account_id and b.is_open and b.expires_at > v_now),
                 (select min((d.slot).expires_at) from tokenbook.due_slots(v_account_id, v_now) d where a.next_due_at <= v_now))),
      'grants', coalesce(listed.grants - 100, '[]'),
      'has_more_grants', coalesce(jsonb_array_length(listed.grants) > 100, false))
      || case when v_account_id <> p_user_id then jsonb_build_object('payer_id', v_account_id) else '{}' end
      from (values (v_account_id)) as asked (user_id)
      left join public.token_accounts a on a.user_id = asked.user_id
     cross join lateral (
       select coalesce(sum(d.lost), 0)::bigint as lost, coalesce(sum(d.returned), 0)::bigint as returned,
              coalesce(sum(d.forfeited), 0)::bigint as forfeited, coalesce(sum(d.given), 0)::bigint as given,
              coalesce(sum(d.repaid), 0)::bigint as repaid
         from tokenbook.tokens_due(v_account_id, v_now) as d
        where a.next_due_at <= v_now) due
     cross join lateral (
       select jsonb_agg(tokenbook.describe_grant(case when g.id is not null then g else d.slot end, chosen.tokens) order by chosen.nth) as grants
         from tokenbook.choose_grants(v_account_id, null, v_now, 101, a.next_due_at <= v_now, due.repaid) as next
        cross join lateral unnest(next.grant_ids, next.grant_tokens) with ordinality as chosen (grant_id, tokens, nth)
         left join public.token_balances g on g.user_id = v_account_id and g.id = chosen.grant_id
         left join tokenbook.due_slots(v_account_id, case when a.next_due_at <= v_now then v_now end) d -- not booked yet
           on (d.slot).id = chosen.grant_id and g.id is null) listed);
end
$$;
comment on function tokenbook.get_user_token_balance is
  'What the user can spend now. For the user himself (leave p_user_id out), an admin, or the server. Returns {user_id, state (active, or frozen: nothing can be spent), total_active, total_expired (lost to expiry since the books opened), total_reserved (in holds), total_owed (debt), tokens_limit (the plan limit: what the plan filled the balance up to), plan_type (the plan that is in force; null = none), next_expiry, grants: [{id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at}] in the order in which they will be spent, at most 100, has_more_grants}; for a member of a team of his payer''s account, with payer_id. Errors: not_authenticated, forbidden, busy (more has run out than ten calls book).';

-- from supabase/schemas/20_ledger/grant_lifetime.sql

/*
 * How long a grant of that type lives when nothing else is said; NULL = for ever.
 * Caller: internal.
 */
create function tokenbook.grant_lifetime(p_grant_type text)
returns interval
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (tokenbook.grant_types() -> p_grant_type ->> 'lifetime_hours')::integer * interval '1 hour';
end
$$;
comment on function tokenbook.grant_lifetime is
  'Lifetime of a grant of that type when nothing else is said; NULL = for ever.';

-- from supabase/schemas/20_ledger/grant_terms.sql

/*
 * What never changes of a grant, as the entry that gives it keeps it: so that the ledger, which nobody can change,
 * says when a grant runs out and in which order it is spent, and verify_token_ledger has a second record to compare
 * with.
 * Caller: internal.
 */
create function tokenbook.grant_terms(p_grant public.token_balances)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'id', p_grant.id, 'grant_type', p_grant.grant_type, 'tokens_granted', p_grant.tokens_granted,
    'priority', p_grant.priority, 'granted_at', p_grant.granted_at, 'expires_at', p_grant.expires_at,
    'subscription_id', p_grant.subscription_id, 'period_start', p_grant.period_start,
    'rolled_over_from', p_grant.rolled_over_from, 'legacy_transaction_id', p_grant.legacy_transaction_id,
    'created_at', p_grant.created_at));
end
$$;
comment on function tokenbook.grant_terms is
  'What never changes of a grant, as JSON: what the entry that gives it keeps of it.';

-- from supabase/schemas/20_ledger/grant_tokens.sql

/*
 * Gives tokens to a user as one new grant. An admin's grant, and whoever makes one of type admin, also writes
 * the token_usage row admin_grant that the audit trail has of it; it is no use, and costs nothing.
 * Caller: an admin, service_role (only the latter may backdate).   Locks: the account.
 * p_expires_at left out: the grant type's own lifetime, counted from p_granted_at; 'infinity': never, which
 * a trial, a 28day and an annual grant may not be.
 * A trial that is granted so is somebody's decision: the policy is not asked, and it is remembered.
 * Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id,
 * tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_grant_type,
 * invalid_priority, invalid_granted_at, invalid_expiry, invalid_reason, invalid_idempotency_key,
 * invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, busy.
 * Keeps: I2, I3, I5, I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.grant_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_grant_type text default 'admin',
  p_expires_at timestamptz default null,
  p_priority integer default 50,
  p_granted_at timestamptz default null,
  p_reason text default null,
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_grant public.token_balances;
  v_issued record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_tokens('p_tokens', p_tokens);
  if (tokenbook.grant_types() ? p_grant_type) is not true then
    perform tokenbook.refuse('invalid_grant_type', jsonb_build_object(
      'field', 'p_grant_type', 'rule', tokenbook.say_one_of(tokenbook.grant_types())));
  end if;
  if p_priority is null or p_priority not between 0 and 100 then
    perform tokenbook.refuse('invalid_priority', '{"field": "p_priority", "rule": "0 to 100"}');
  end if;
  if not isfinite(p_granted_at) or (p_granted_at is not null and v_entry.actor_role <> 'service') then
    perform tokenbook.refuse('invalid_granted_at',
      '{"field": "p_granted_at", "rule": "a finite moment, and only the server may set it"}');
  end if;
  if p_expires_at = '-infinity' or p_expires_at <= p_granted_at then
    perform tokenbook.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "later than it was granted"}');
  end if;
  if p_expires_at = 'infinity' and (tokenbook.grant_types() -> p_grant_type -> 'must_end')::boolean then
    perform tokenbook.refuse('invalid_expiry', jsonb_build_object(
      'field', 'p_expires_at', 'rule', format('a moment: a grant of type %s ends', p_grant_type)));
  end if;
  perform tokenbook.check_request(p_idempotency_key, p_reason, p_metadata);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  v_grant.grant_type := p_grant_type;
  v_grant.tokens_granted := p_tokens;
  v_grant.priority := p_priority;
  v_grant.granted_at := p_granted_at;
  v_grant.expires_at := p_expires_at;
  v_grant.metadata := coalesce(p_metadata, '{}');
  v_entry.user_id := p_user_id;
  v_entry.action_type := tokenbook.grant_types() -> p_grant_type ->> 'action_type';
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'grant', 'tokens', p_tokens, 'grant_type', p_grant_type, 'priority', p_priority,
    'reason', p_reason,
    'expires_at', (p_expires_at at time zone 'utc')::text, -- not in the session's time zone
    'granted_at', (p_granted_at at time zone 'utc')::text);
  v_entry.metadata := v_grant.metadata;
  if p_grant_type = 'admin' or v_entry.actor_role = 'admin' then
    v_entry.usage_id := gen_random_uuid();
  end if;
  v_issued := tokenbook.issue_grant(v_grant, v_entry);
  if p_grant_type = 'trial' and not v_issued.replayed then
    perform tokenbook.remember_trial(p_user_id); -- @granted-trials-remembered
  end if;

  v_transaction := v_issued.transaction;
  if v_entry.usage_id is not null and not v_issued.replayed then
    insert into public.token_usage
      (user_id, id, action_type, tokens_used, cost_estimate, metadata, created_at, transaction_id)
    values
      (p_user_id, v_entry.usage_id, 'admin_grant', p_tokens, 0,
       v_entry.metadata || jsonb_build_object('reason', v_entry.reason, 'transaction_id', v_transaction.id),
       v_transaction.created_at, v_transaction.id);
  end if;
  select b.* into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.id = v_transaction.grant_ids[1];
  return jsonb_build_object(
    'success', true,
    'grant_id', v_grant.id,
    'tokens_granted', v_grant.tokens_granted,
    'grant_type', v_grant.grant_type,
    'granted_at', v_grant.granted_at,
    'expires_at', v_grant.expires_at,
    'transaction_id', v_transaction.id,
    'tokens_remaining', v_transaction.balance_after,
    'replayed', v_issued.replayed);
end
$$;
comment on function tokenbook.grant_tokens is
  'Gives tokens to a user as one new grant. For an admin or the server. p_tokens 1 to 10^12; p_grant_type annual, 28day, trial, purchase, admin, … (Lists, with the lifetime of each); p_expires_at left out: the type''s own lifetime, ''infinity'': never (where must_end of Lists is false); p_priority 0 (spent first) to 100; p_granted_at in the past, for the server only; p_idempotency_key makes a retry safe for ever. A grant by an admin, or of type admin, also writes the token_usage row admin_grant. One of type trial is given whatever set_token_trial_policy says, and is remembered as a trial. Returns {success, grant_id, tokens_granted, grant_type, granted_at, expires_at, transaction_id, tokens_remaining, replayed}. Errors: invalid_amount, invalid_grant_type, invalid_priority, invalid_granted_at, invalid_expiry, invalid_reason, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, balance_limit_exceeded, forbidden, busy.';

-- from supabase/schemas/20_ledger/has_backlog.sql

/*
 * Whether more is due on an account than one call books (due_grants and due_holds of tokenbook.limits()), or
 * than so many portions of that: grants that have run out, with those that holds which have run out give back to,
 * and such holds. Counts no further than that.
 * Caller: internal.   Keeps: I11.
 */
create function tokenbook.has_backlog(p_user_id uuid, p_portions integer default 1)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_grants constant integer := p_portions * (tokenbook.limits() -> 'due_grants')::integer;
  v_holds constant integer := p_portions * (tokenbook.limits() -> 'due_holds')::integer;
  v_due record;
begin
  if not exists (select from public.token_accounts a where a.user_id = p_user_id and a.next_due_at <= v_now) then
    return false; -- as a rule
  end if;
  select (
           select count(*) from (
             select from public.token_balances b
              where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now
              limit v_grants + 1) g) as grants,
         holds.count as holds, holds.parts
    into v_due
    from (
      select count(*) as count, coalesce(sum(cardinality(h.grant_ids)), 0) as parts
        from (
          select o.grant_ids from public.token_holds o
           where o.user_id = p_user_id and o.status = 'open' and o.expires_at <= v_now
           limit v_holds + 1) h) holds;
  return v_due.grants + v_due.parts > v_grants or v_due.holds > v_holds;
end
$$;
comment on function tokenbook.has_backlog is
  'Whether more is due on the account than one call books, or than p_portions calls do.';

-- from supabase/schemas/20_ledger/is_frozen.sql

/*
 * Whether nothing is spent from this account now: it is frozen, or the member of its team is who would
 * spend. Takes the account row, so that who has locked it asks of what they have locked; a member's
 * state changes under the payer's lock too (tokenbook.set_token_account_state).
 * Caller: internal.
 */
create function tokenbook.is_frozen(p_account public.token_accounts, p_member_id uuid)
returns boolean
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(p_account.state = 'frozen', false)
    or p_member_id is not null -- @frozen-members-too
       and exists (select from public.token_accounts a where a.user_id = p_member_id and a.state = 'frozen');
end
$$;
comment on function tokenbook.is_frozen is
  'Whether nothing is spent from this account now, by its user or by that member of its team.';

-- from supabase/schemas/20_ledger/is_set_aside.sql

/*
 * Whether whoever goes through many accounts leaves this one out: its books were found damaged within the last
 * hour (tokenbook.sweep_accounts).
 * Caller: internal.
 */
create function tokenbook.is_set_aside(p_user_id uuid)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from tokenbook.set_aside_accounts s
     where s.user_id = p_user_id and s.set_aside_at > clock_timestamp() - interval '1 hour');
end
$$;
comment on function tokenbook.is_set_aside is
  'Whether sweeps leave this account out: its books were found damaged within the last hour.';

-- from supabase/schemas/20_ledger/issue_grant.sql

/*
 * Gives tokens to a user as one new grant: what every way of granting is made of. The caller has
 * checked who asks and what for.
 * p_grant is the grant to be: grant_type, tokens_granted, priority, granted_at (NULL: now),
 * expires_at (NULL: p_lifetime, or else the type's own; 'infinity': never), where it came from,
 * metadata.
 * p_entry is its transaction: user_id, action_type, reason, actor, key, request, links.
 * Locks: the account, made first where there is none.
 * Errors: user_not_found, busy, idempotency_key_reused, invalid_granted_at, invalid_expiry,
 * balance_limit_exceeded.   What depends on the clock is checked after the replay: a replay a
 * year later must still get the first answer.
 * Keeps: I2 to I5, I9, I10.
 */
create function tokenbook.issue_grant(
  p_grant public.token_balances,
  p_entry public.token_transactions,
  p_lifetime interval default null,
  out transaction public.token_transactions,
  out replayed boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
begin
  replayed := false;

  -- lock
  v_account := tokenbook.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := tokenbook.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();

  -- replay
  transaction := tokenbook.find_replay(p_entry);
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act
  p_grant.granted_at := coalesce(p_grant.granted_at, v_now);
  p_grant.expires_at := nullif(
    coalesce(
      p_grant.expires_at,
      p_grant.granted_at + coalesce(p_lifetime, tokenbook.grant_lifetime(p_grant.grant_type))),
    'infinity');
  if p_grant.granted_at > v_now then
    perform tokenbook.refuse('invalid_granted_at', '{"field": "p_granted_at", "rule": "not in the future"}');
  end if;
  if p_grant.expires_at <= v_now then
    perform tokenbook.refuse('invalid_expiry', '{"field": "p_expires_at", "rule": "in the future"}');
  end if;

  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;
  if v_account.tokens_remaining + v_account.tokens_reserved + v_account.tokens_used
     + p_grant.tokens_granted > 9007199254740991
  then
    perform tokenbook.refuse('balance_limit_exceeded', '{"limit": 9007199254740991}');
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     payment_id, subscription_id, period_start, metadata, created_at)
  values
    (p_entry.user_id, p_grant.grant_type, p_grant.tokens_granted, p_grant.tokens_granted,
     p_grant.priority, p_grant.granted_at, p_grant.expires_at,
     p_grant.payment_id, p_grant.subscription_id, p_grant.period_start, p_grant.metadata, v_now)
  returning * into p_grant;
  perform tokenbook.bring_due_forward(p_entry.user_id, p_grant.expires_at);

  -- record
  p_entry.entry_type := 'grant';
  p_entry.tokens := p_grant.tokens_granted;
  p_entry.grant_ids := array[p_grant.id];
  p_entry.grant_tokens := array[p_grant.tokens_granted];
  p_entry.metadata := p_grant.metadata;
  p_entry.terms := coalesce(p_entry.terms, '{}') || jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(p_grant)));
  if p_entry.payment_id is not null then
    p_entry.terms := p_entry.terms || jsonb_build_object('payment', (
      select jsonb_strip_nulls(to_jsonb(p)
               - array['user_id', 'status', 'tokens', 'refunded_cents', 'disputed_cents', 'tokens_clawed_back'])
        from public.token_payments p where p.user_id = p_entry.user_id and p.id = p_entry.payment_id));
  end if;
  p_entry.created_at := v_now;
  transaction := tokenbook.record_transaction(p_entry);

  perform tokenbook.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function tokenbook.issue_grant is
  'Gives tokens as one new grant under the account''s lock; its transaction, new or replayed. grant_ids[1] of it is the grant.';

-- from supabase/schemas/20_ledger/keep_ledger_append_only.sql

/*
 * The second line behind the privileges: whoever owns the ledger (a migration, the SQL editor)
 * cannot change it by accident either. Correctness does not rest on it; where the tables are
 * distributed over machines, which allows no triggers, drop it.
 */
create function tokenbook.keep_ledger_append_only()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.refuse('ledger_is_append_only');
  return null;
end
$$;
comment on function tokenbook.keep_ledger_append_only is 'Trigger: refuses update, delete and truncate of the ledger, and of what was changed beside it.';

create trigger changes_keep_append_only
  before update or delete or truncate on tokenbook.changes
  for each statement execute function tokenbook.keep_ledger_append_only();

create trigger token_transactions_keep_append_only
  before update or delete or truncate on public.token_transactions
  for each statement execute function tokenbook.keep_ledger_append_only();

-- from supabase/schemas/20_ledger/lock_settings.sql

/*
 * Locks the project's settings for who is about to change one of them; their row is made first where
 * there is none.
 * Caller: internal, holding no account's lock.   Locks: the settings.
 */
create function tokenbook.lock_settings()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(tokenbook.settings_lock());
  perform tokenbook.restore_settings();
end
$$;
comment on function tokenbook.lock_settings is
  'Locks the project''s settings, whose row is made where there is none.';

-- from supabase/schemas/20_ledger/parse_batch_item.sql

/*
 * One item of a batch as the transaction to be; the same entry, and the same refusals, as of a
 * single deduction. A field that is not known is refused: a misspelt idempotency_key would
 * otherwise be a deduction that a retry makes twice. NULL is as good as left out. Until it is booked
 * its id is p_nth, its place in the batch.
 * Caller: internal.   Errors: invalid_batch, invalid_user_id, invalid_amount, invalid_action_type,
 * invalid_idempotency_key, invalid_metadata.
 */
create function tokenbook.parse_batch_item(p_item jsonb, p_nth bigint)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_tokens numeric;
  v_is_sound boolean;
begin
  if jsonb_typeof(p_item) <> 'object' then
    perform tokenbook.refuse('invalid_batch', '{"field": "p_items", "rule": "each item an object"}');
  elsif p_item - array['user_id', 'tokens', 'action_type', 'idempotency_key', 'metadata'] <> '{}' then
    perform tokenbook.refuse('invalid_batch',
      '{"field": "p_items", "rule": "user_id, tokens, action_type, idempotency_key, metadata and nothing else"}');
  elsif jsonb_typeof(p_item -> 'action_type') not in ('string', 'null') then
    perform tokenbook.check_action_type(null);
  elsif jsonb_typeof(p_item -> 'idempotency_key') not in ('string', 'null') then
    perform tokenbook.check_request('', null, null);
  elsif (p_item ->> 'user_id' like '________-____-____-____-____________'
    and p_item ->> 'user_id' ~ '^[0-9a-fA-F]+(-[0-9a-fA-F]+){4}$') is not true -- counting with {8} is 3 µs slower
  then
    perform tokenbook.refuse('invalid_user_id', '{"field": "user_id", "rule": "a uuid"}');
  end if;
  if jsonb_typeof(p_item -> 'tokens') = 'number' then
    v_tokens := p_item ->> 'tokens';
    if v_tokens <> trunc(v_tokens) or v_tokens > 1000000000000 then
      v_tokens := null; -- bigint would round the one and not hold the other
    end if;
  end if;
  v_entry.user_id := p_item ->> 'user_id';
  v_entry.id := p_nth;
  v_entry.tokens := -v_tokens;
  v_entry.action_type := coalesce(p_item ->> 'action_type', 'deduction');
  v_entry.reason := v_entry.action_type;
  v_entry.actor_role := 'service';
  v_entry.idempotency_key := p_item ->> 'idempotency_key';
  v_entry.metadata := coalesce(nullif(p_item -> 'metadata', 'null'), '{}');
  -- one expression: as three statements they are 10 µs more
  v_is_sound := tokenbook.check_tokens('tokens', -v_entry.tokens)
    and tokenbook.check_action_type(v_entry.action_type)
    and tokenbook.check_request(v_entry.idempotency_key, null, v_entry.metadata);
  if v_entry.idempotency_key is not null then
    v_entry.request := tokenbook.deduction_request(-v_entry.tokens, v_entry.action_type);
  end if;
  return v_entry;
end
$$;
comment on function tokenbook.parse_batch_item is
  'One item of a batch, {user_id, tokens, action_type, idempotency_key, metadata}, as the transaction to be, with its place in the batch for its id; refuses what a single deduction would.';

-- from supabase/schemas/20_ledger/record_expiries.sql

/*
 * Books what time has changed: what the schedules of plans give is given; then due holds are released; then due grants
 * are closed, with one `expiry` transaction each; the account's totals and next_due_at follow; what is owed is repaid
 * from what came in; and after a slot the plan limit is the balance, as after a renewal. For one user or a thousand:
 * the same code serves whoever touches an account and the sweeper, so the two cannot disagree. Alerts that fall due by
 * time alone are raised here too.
 *
 * Bounded (I11): of one account it books at most due_holds and due_grants of tokenbook.limits() (and no more holds
 * than give back to as many grants), and what its plan's schedule gives, which is bounded by itself; of several together
 * at most ten times that, and no more slots than due_grants and what one account is due beyond. A hold is by far the
 * dearer. What is left stays due. With p_in_portions that is the caller's to go on with; otherwise it is busy, because the caller goes on as
 * if nothing were due: tokenbook.settle_backlog has looked before that it does not come to this.
 * The caller has locked these accounts. Nothing depends on it being run: what is due is neither
 * spent nor counted before it is booked either.
 * Caller: internal.   Returns how many holds, grants and slots were booked.   Errors: busy.
 * Keeps: I2, I3, I4, I7, I11.
 */
create function tokenbook.record_expiries(p_user_ids uuid[], p_now timestamptz, p_in_portions boolean default false)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_grants constant integer := (tokenbook.limits() -> 'due_grants')::integer;
  v_holds constant integer := (tokenbook.limits() -> 'due_holds')::integer;
  v_user_id uuid;
  v_slots integer;
  v_issued bigint := 0;
  v_scheduled uuid[] := '{}';
  v_hold public.token_holds;
  v_due record;
  v_entry public.token_transactions;
  v_entries public.token_transactions[] := '{}';
  v_released uuid[] := '{}';
  v_user_ids uuid[] := '{}'; -- one for each account; the next four are of the same
  v_lost bigint[] := '{}';
  v_counts bigint[] := '{}';
  v_grant_owners uuid[] := '{}'; -- one for each grant
  v_grant_ids uuid[] := '{}';
  v_nth integer := 0;
  v_account record;
begin
  -- first: what a slot gives depends on what there was when it began
  for v_user_id in
    select s.user_id
      from unnest(p_user_ids) as u (user_id)
      join tokenbook.subscriptions s on s.user_id = u.user_id
      join public.token_accounts a on a.user_id = u.user_id
     where a.state = 'active'
       and (s.next_slot_at <= p_now
         or (s.next_plan_type is not null or s.beside <> '[]') and (s.expires_at <= p_now or s.cancel_at <= p_now))
     order by s.user_id
  loop
    exit when v_issued >= v_grants;
    v_slots := tokenbook.issue_slots(v_user_id, p_now);
    v_issued := v_issued + greatest(v_slots, 1); -- a slot that gave nothing is work done too: a sweep goes on
    if v_slots > 0 then
      v_scheduled := v_scheduled || v_user_id;
    end if;
  end loop;

  for v_hold in
    select (due.hold).*
      from (
        select one.hold, one.parts_before,
               sum(cardinality((one.hold).grant_ids)) over (order by (one.hold).user_id, (one.hold).expires_at, (one.hold).id)
                 - cardinality((one.hold).grant_ids) as parts_before_of_all
          from unnest(p_user_ids) as u (user_id)
         cross join lateral (
           select h as hold,
                  sum(cardinality(h.grant_ids)) over (order by h.expires_at, h.id) - cardinality(h.grant_ids) as parts_before
             from (
               select o.* from public.token_holds o
                where o.user_id = u.user_id and o.status = 'open' and o.expires_at <= p_now -- @holds-run-out
                order by o.expires_at
                limit v_holds) h) one
         where one.parts_before < v_grants) due -- @holds-in-portions
     where due.parts_before_of_all < 10 * v_grants
     order by (due.hold).user_id, (due.hold).expires_at, (due.hold).id
     limit 10 * v_holds
  loop
    perform tokenbook.close_hold(v_hold, 0, 'expired', p_now, 'system', null);
    v_released := v_released || v_hold.user_id;
  end loop;

  v_entry.entry_type := 'expiry';
  v_entry.action_type := 'expiry';
  v_entry.debt_change := 0;
  v_entry.reserved_change := 0;
  v_entry.reason := 'expired';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  for v_due in
    select a.user_id, a.tokens_remaining, a.last_transaction_id, g.id as grant_id, g.tokens_remaining as lost
      from unnest(p_user_ids) as u (user_id)
      join public.token_accounts a on a.user_id = u.user_id
      left join lateral (
        select b.id, b.expires_at, b.tokens_remaining
          from public.token_balances b
         where b.user_id = u.user_id and b.is_open and b.expires_at <= p_now
         order by b.expires_at
         limit v_grants) g on true -- @grants-in-portions
     order by a.user_id, g.expires_at, g.id
     limit 10 * v_grants
  loop
    if v_due.user_id is distinct from v_user_ids[v_nth] then
      v_nth := v_nth + 1;
      v_user_ids[v_nth] := v_due.user_id;
      v_lost[v_nth] := 0;
      v_counts[v_nth] := 0;
      v_entry.user_id := v_due.user_id;
      v_entry.id := v_due.last_transaction_id;
      v_entry.balance_after := v_due.tokens_remaining;
    end if;
    continue when v_due.grant_id is null;
    v_entry.id := v_entry.id + 1;
    v_entry.tokens := -v_due.lost;
    v_entry.balance_after := v_entry.balance_after - v_due.lost;
    v_entry.grant_ids := array[v_due.grant_id];
    v_entry.grant_tokens := array[v_due.lost];
    v_entries := v_entries || v_entry;
    v_lost[v_nth] := v_lost[v_nth] + v_due.lost;
    v_counts[v_nth] := v_counts[v_nth] + 1;
    v_grant_owners := v_grant_owners || v_due.user_id;
    v_grant_ids := v_grant_ids || v_due.grant_id;
  end loop;
  update public.token_balances b
     set tokens_remaining = 0, is_open = false
    from unnest(v_grant_owners, v_grant_ids) as d (user_id, grant_id)
   where b.user_id = d.user_id and b.id = d.grant_id;
  perform tokenbook.append_transactions(v_entries);

  for v_account in
    update public.token_accounts a
       set tokens_remaining = a.tokens_remaining - d.lost,
           tokens_expired = a.tokens_expired + d.lost,
           last_transaction_id = a.last_transaction_id + d.count,
           next_due_at = least(
             (select b.expires_at from public.token_balances b
               where b.user_id = a.user_id and b.is_open and b.expires_at is not null
               order by b.expires_at limit 1),
             (select h.expires_at from public.token_holds h
               where h.user_id = a.user_id and h.status = 'open'
               order by h.expires_at limit 1),
             case when a.next_alert_at > p_now then a.next_alert_at end,
             tokenbook.schedule_due_at(a.user_id)),
           updated_at = p_now
      from unnest(v_user_ids, v_lost, v_counts) as d (user_id, lost, count)
     where a.user_id = d.user_id
    returning a.user_id, a.tokens_remaining + d.lost as before, a.next_due_at <= p_now as is_behind,
              a.tokens_owed > 0 and a.tokens_remaining > 0 as owes,
              a.tokens_remaining < a.alert_below or a.next_alert_at <= p_now
                or a.alerts_version is distinct from (select r.alerts_version from tokenbook.project_settings r) as has_passed
  loop
    if v_account.is_behind and not p_in_portions then
      perform tokenbook.refuse('busy', '{}');
    end if;
    if v_account.has_passed then
      perform tokenbook.raise_alerts(v_account.user_id, v_account.before, p_now);
    end if;
    -- while grants that are over count as the account's, what is there to repay from is not known
    if v_account.owes and v_account.is_behind is not true then
      perform tokenbook.repay_debt(v_account.user_id, p_now);
    end if;
  end loop;
  if v_released <> '{}' then
    perform tokenbook.move_plan_limit(r.user_id, 0)
       from (select distinct u.user_id from unnest(v_released) as u (user_id)) r;
  end if;
  if v_scheduled <> '{}' then
    update tokenbook.subscriptions s
       set tokens_limit = a.tokens_remaining, updated_at = p_now
      from public.token_accounts a
     where s.user_id = any (v_scheduled) and a.user_id = s.user_id;
    perform tokenbook.refresh_alert_thresholds(u.user_id) from unnest(v_scheduled) as u (user_id);
  end if;
  return cardinality(v_released) + cardinality(v_entries) + v_issued;
end
$$;
comment on function tokenbook.record_expiries is
  'Gives these users what the schedules of their plans give by then, releases holds that have run out, and books such grants, one expiry transaction each, at most a portion of an account; the caller holds their accounts'' locks. Returns how many; busy when more is due than that, unless p_in_portions.';

-- from supabase/schemas/20_ledger/record_transaction.sql

/*
 * Writes one transaction: the account's totals and the ledger row, so that no code path can write one
 * without the other. The caller has locked the account and changed the
 * grants that the entry names.
 * p_entry is the row to be: everything but id and balance_after, which are given here. p_cost is
 * what the operation behind it cost, in cents. What was spent is counted into its day, week and
 * month, the account's and the member's.
 * Alerts are only looked for when the balance has passed one of the account's alert thresholds, tokens came in
 * whose expiry somebody wants to know of, or the rules have changed since.
 * Caller: internal.   Returns the ledger row.   Keeps: I2, I3, I10.
 */
create function tokenbook.record_transaction(p_entry public.token_transactions, p_cost numeric default 0)
returns public.token_transactions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_change bigint;
  v_has_passed boolean;
  v_used bigint := 0;
  v_spent bigint := 0;
  v_spending_time timestamptz := p_entry.created_at;
  v_day timestamptz := date_trunc('day', p_entry.created_at, 'UTC');
  v_week timestamptz := date_trunc('week', p_entry.created_at, 'UTC');
  v_month timestamptz := date_trunc('month', p_entry.created_at, 'UTC');
begin
  p_entry.debt_change := coalesce(p_entry.debt_change, 0);
  p_entry.reserved_change := coalesce(p_entry.reserved_change, 0);
  if p_entry.idempotency_key is null then
    p_entry.request := null;
  end if;
  v_change := p_entry.tokens - p_entry.reserved_change;
  -- an admin's correction takes tokens away, but nobody used them
  if p_entry.entry_type in ('deduction', 'hold', 'release', 'refund') and p_entry.action_type <> 'admin_deduct' then
    v_used := -p_entry.tokens;
    v_spent := p_entry.reserved_change - p_entry.tokens;
    if p_entry.entry_type in ('release', 'refund') then
      v_spending_time := tokenbook.spending_time(p_entry);
    end if;
  end if;
  update public.token_accounts a
     set tokens_remaining = a.tokens_remaining + v_change,
         tokens_reserved = a.tokens_reserved + p_entry.reserved_change,
         tokens_used = a.tokens_used + v_used,
         spent_at = greatest(a.spent_at, p_entry.created_at),
         spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end
           + case when v_spending_time >= v_day then v_spent else 0 end,
         spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end
           + case when v_spending_time >= v_week then v_spent else 0 end,
         spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end
           + case when v_spending_time >= v_month then v_spent else 0 end,
         tokens_owed = a.tokens_owed + p_entry.debt_change,
         total_cost = a.total_cost + p_cost,
         last_transaction_id = a.last_transaction_id + 1,
         updated_at = p_entry.created_at
   where a.user_id = p_entry.user_id
  returning a.last_transaction_id, a.tokens_remaining,
            a.tokens_remaining < a.alert_below or a.tokens_remaining >= a.alert_above -- @alerts-when-passed
              or (a.warns_of_expiry and v_change > 0)
              or a.alerts_version is distinct from ( -- @alerts-without-settings
                select r.alerts_version from tokenbook.project_settings r)
    into p_entry.id, p_entry.balance_after, v_has_passed;
  perform tokenbook.append_transactions(array[p_entry]);

  if p_entry.member_id is not null then
    update public.token_team_members m
       set tokens_used = m.tokens_used + v_used,
           spent_at = greatest(m.spent_at, p_entry.created_at),
           spent_day = case when m.spent_at >= v_day then m.spent_day else 0 end
             + case when v_spending_time >= v_day then v_spent else 0 end,
           spent_week = case when m.spent_at >= v_week then m.spent_week else 0 end
             + case when v_spending_time >= v_week then v_spent else 0 end,
           spent_month = case when m.spent_at >= v_month then m.spent_month else 0 end
             + case when v_spending_time >= v_month then v_spent else 0 end
     where m.user_id = p_entry.user_id and m.member_id = p_entry.member_id;
  end if;
  if v_has_passed then
    perform tokenbook.raise_alerts(p_entry.user_id, p_entry.balance_after - v_change, p_entry.created_at);
  end if;
  return p_entry;
end
$$;
comment on function tokenbook.record_transaction is
  'Writes one transaction: account totals and ledger row. Takes the row to be, without id and balance_after, and what the operation cost in cents; the account is locked and the grants are changed by the caller.';

-- from supabase/schemas/20_ledger/repay_debt.sql

/*
 * Lets what has come in repay what the account owes, as far as it goes, and from as many grants as one
 * entry may name; what could be repaid still makes the account due at once. The caller holds the lock, and
 * nothing is due.
 * Caller: internal.   Keeps: I2, I3, I4, I11.
 */
create function tokenbook.repay_debt(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_wanted bigint;
begin
  select least(a.tokens_owed, a.tokens_remaining) into v_wanted
    from public.token_accounts a where a.user_id = p_user_id;
  if v_wanted = 0 then
    return;
  end if;
  select taken.grant_ids, taken.grant_tokens, -taken.tokens into v_entry.grant_ids, v_entry.grant_tokens, v_entry.tokens
    from tokenbook.take_from_grants(p_user_id, v_wanted, p_now, p_partial => true) as taken;

  v_entry.user_id := p_user_id;
  v_entry.entry_type := 'debt_repayment';
  v_entry.action_type := 'debt_repayment';
  v_entry.debt_change := v_entry.tokens;
  v_entry.reason := 'debt is repaid first';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform tokenbook.record_transaction(v_entry);
  if v_wanted > -v_entry.tokens then
    perform tokenbook.bring_due_forward(p_user_id, p_now);
  end if;
end
$$;
comment on function tokenbook.repay_debt is
  'Takes what the account owes from what it has, as one debt_repayment; the caller holds the account''s lock.';

-- from supabase/schemas/20_ledger/require_active.sql

/*
 * Refuses what would begin something new with an account: a payment to ask for, a top-up, another plan.
 * A frozen account begins nothing, and nor does one whose user was deleted. What began before goes on.
 * Caller: internal, holding the account's lock.   Errors: account_frozen, user_not_found.
 */
create function tokenbook.require_active(p_user_id uuid, p_account public.token_accounts)
returns void
language plpgsql
volatile -- as tokenbook.is_frozen
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if tokenbook.is_frozen(p_account, null) then -- @frozen-begins-nothing
    perform tokenbook.refuse('account_frozen', '{}');
  elsif not tokenbook.is_user(p_user_id) then
    perform tokenbook.refuse('user_not_found', '{}');
  end if;
end
$$;
comment on function tokenbook.require_active is
  'Refuses with account_frozen where the account is frozen, with user_not_found where its user was deleted.';

-- from supabase/schemas/20_ledger/restore_settings.sql

/*
 * Makes the row of the project's settings where there is none: in a new project, or after it was lost.
 * It says what the project has chosen, as far as that can still be seen: the newest burn order, and,
 * where there are or were alert rules, a version that no account has, so that each account is armed
 * anew by whoever touches it next.
 * Waits for nobody: who finds that somebody else is making it goes on without, as before. The caller
 * may hold an account's lock, before which nothing is waited for.
 * Caller: internal.   Locks: the settings, if they can be made.
 */
create function tokenbook.restore_settings()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest bigint;
begin
  if pg_catalog.pg_try_advisory_xact_lock(tokenbook.settings_lock()) then
    v_newest := coalesce((select max(a.alerts_version) from public.token_accounts a), 0);
    insert into tokenbook.project_settings (alerts_version, is_expiring_first)
    values (
      case when v_newest > 0 or exists (select from public.token_alert_rules) then v_newest + 1 else 0 end,
      tokenbook.is_expiring_first_at('infinity'))
    on conflict do nothing;
  end if;
end
$$;
comment on function tokenbook.restore_settings is
  'Makes the row of the project''s settings where there is none, of what the project has chosen; waits for nobody.';

-- from supabase/schemas/20_ledger/return_tokens.sql

/*
 * Puts tokens back into the grants that they came from: what a release, a refund and a won dispute
 * are made of. A grant that has run out takes them too and is then due at once; the caller books
 * that. What no longer fits (something else has filled the grant meanwhile) becomes a grant of its
 * own with the same terms: nothing is lost, and no grant ever has more than it was granted.
 * The plan limit is lifted to the balance. The caller holds the lock, and records the entry afterwards.
 * Caller: internal.   Returns where the tokens went.   Keeps: I1, I4, I9.
 */
create function tokenbook.return_tokens(
  p_user_id uuid,
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_now timestamptz,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_part record;
  v_id uuid;
  v_due_at timestamptz;
begin
  grant_ids := '{}';
  grant_tokens := '{}';
  for v_part in
    select b.id, b.expires_at, p.tokens, b.tokens_granted - b.tokens_remaining as room
      from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
     order by p.nth
  loop
    if v_part.room > 0 then
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining + least(v_part.tokens, v_part.room), is_open = true
       where b.user_id = p_user_id and b.id = v_part.id;
      grant_ids := grant_ids || v_part.id;
      grant_tokens := grant_tokens || least(v_part.tokens, v_part.room);
    end if;
    if v_part.tokens > v_part.room then
      insert into public.token_balances
        (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at, metadata, created_at)
      select b.user_id, b.grant_type, v_part.tokens - v_part.room, v_part.tokens - v_part.room,
             b.priority, b.granted_at, b.expires_at, jsonb_build_object('given_back_for', b.id), p_now
        from public.token_balances b
       where b.user_id = p_user_id and b.id = v_part.id
      returning id into v_id;
      grant_ids := grant_ids || v_id;
      grant_tokens := grant_tokens || (v_part.tokens - v_part.room);
    end if;
    v_due_at := least(v_due_at, v_part.expires_at);
  end loop;

  perform tokenbook.bring_due_forward(p_user_id, v_due_at);
end
$$;
comment on function tokenbook.return_tokens is
  'Puts tokens back into the grants that they came from; what does not fit becomes a grant with the same terms. Returns where they went.';

-- from supabase/schemas/20_ledger/set_token_account_state.sql

/*
 * Freezes a user's account, or makes it active again. From a frozen account nothing is spent, held or
 * topped up; reading it and settling what began before go on (docs/guides/frozen-accounts.md). The same
 * state again changes nothing and answers when and why it was set.
 * Of a member of a team the payer's account is locked too: what they spend is spent under that lock, so
 * whatever began before has ended when this answers, and whatever comes after it is refused.
 * A user without an account is given one when it is frozen.
 * Caller: an admin, service_role.   Locks: the account, and the payer's, in the order of their ids.
 * Returns {success, user_id, state, reason, actor_role, actor_id, changed_at, replayed}; of an account that
 * was always active the middle ones are NULL.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_state, invalid_reason, user_not_found,
 * busy.   Keeps: I10.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.set_token_account_state(
  p_user_id uuid,
  p_state text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_payer_id uuid;
  v_account public.token_accounts;
  v_change tokenbook.changes;
  v_replayed boolean;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_state in ('active', 'frozen')) is not true then
    perform tokenbook.refuse('invalid_state', '{"field": "p_state", "rule": "active or frozen"}');
  elsif p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  v_payer_id := tokenbook.paying_account(p_user_id);
  if v_payer_id <> p_user_id then
    perform tokenbook.lock_accounts(array[p_user_id, v_payer_id]); -- @freezes-under-both-locks
    select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  else
    v_account := tokenbook.lock_account(p_user_id);
    if v_account.user_id is null then
      perform tokenbook.require_user(p_user_id, v_actor.actor_role);
      v_account := tokenbook.lock_account(p_user_id, p_create => p_state = 'frozen');
    end if;
  end if;
  if coalesce(v_account.payer_id, p_user_id) <> v_payer_id then
    perform tokenbook.refuse('busy', '{}'); -- joined or left a team meanwhile
  end if;

  -- replay
  v_replayed := coalesce(v_account.state, 'active') = p_state;

  -- act, record
  if not v_replayed then
    if p_state = 'frozen' and v_account.next_due_at <= clock_timestamp() then
      perform tokenbook.record_expiries(array[p_user_id], clock_timestamp(), p_in_portions => true);
    end if;
    update public.token_accounts a
       set state = p_state, updated_at = clock_timestamp()
     where a.user_id = p_user_id;
    if p_state = 'active' then
      perform tokenbook.skip_missed_slots(p_user_id, clock_timestamp());
    end if;
    perform tokenbook.record_change(
      'set_token_account_state', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('state', p_state));
    perform tokenbook.refresh_alert_thresholds(p_user_id); -- who is below their top-up's threshold is asked for now
  end if;
  select c.* into v_change
    from tokenbook.changes c
   where c.user_id = p_user_id and c.change = 'set_token_account_state'
   order by c.id desc
   limit 1;
  return jsonb_build_object(
    'success', true,
    'user_id', p_user_id,
    'state', p_state,
    'reason', v_change.reason,
    'actor_role', v_change.actor_role,
    'actor_id', v_change.actor_id,
    'changed_at', v_change.created_at,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.set_token_account_state is
  'Freezes a user''s account (p_state frozen), or makes it active again (active). For an admin or the server. From a frozen account nothing is spent, held or topped up; reading it goes on, and so does what began before: captures of what was held, releases, refunds, expiry, corrections, payments that were made. p_reason 1 to 500 characters. The same state again changes nothing. list_token_changes has the history. Returns {success, user_id, state, reason, actor_role, actor_id, changed_at (of what set it; NULL where it was never set), replayed}. Errors: invalid_state, invalid_reason, user_not_found, forbidden, busy.';

-- from supabase/schemas/20_ledger/set_token_burn_order.sql

/*
 * Chooses in which order grants are spent, for the whole project, from now on: one of the two that
 * burn_order.sql says. Safe while traffic runs: each deduction reads it once, under the account's lock.
 * Caller: service_role.   Locks: the settings.   Errors: invalid_burn_order.   Keeps: I8.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.set_token_burn_order(p_burn_order text)
returns text
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_burn_order is null or p_burn_order not in ('fifo', 'expiring_first') then
    perform tokenbook.refuse('invalid_burn_order', '{"field": "p_burn_order", "rule": "fifo or expiring_first"}');
  end if;
  perform tokenbook.lock_settings(); -- first, so that of two choices the one that holds is also the newest
  update tokenbook.project_settings r
     set is_expiring_first = p_burn_order = 'expiring_first' -- @burn-order-is-kept
   where r.is_current;
  insert into tokenbook.burn_orders (burn_order) values (p_burn_order);
  perform tokenbook.record_change(
    'set_token_burn_order', null, 'service', null, null, jsonb_build_object('burn_order', p_burn_order));
  return p_burn_order;
end
$$;
comment on function tokenbook.set_token_burn_order is
  'Chooses the order in which grants are spent from now on: fifo (the default) or expiring_first. For the server. Returns it. Errors: invalid_burn_order.';

-- from supabase/schemas/20_ledger/settings_lock.sql

/*
 * The advisory lock of whoever makes or changes the project's settings: their row may not be there yet.
 * Caller: internal.
 */
create function tokenbook.settings_lock()
returns bigint
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_catalog.hashtextextended('tokenbook.project_settings', 0);
end
$$;
comment on function tokenbook.settings_lock is
  'The number of the advisory lock of whoever makes or changes the project''s settings.';

-- from supabase/schemas/20_ledger/settle_backlog.sql

/*
 * Where more is due on an account than one call books, books one portion of it and says so: the caller
 * then does nothing else and answers tokenbook.answer_busy(), which keeps the portion, where a refusal
 * would undo it. So an account with however much behind it is up to date after so many calls, whoever
 * makes them, and none of them takes longer than a portion does.
 * To be asked before anything else of the account is looked at. Costs nothing when nothing is due. Who only looks
 * counts what is due as if it were booked, and says of how many portions it can.
 * Caller: internal.   Locks: the account, when there is a backlog.   Errors: busy.   Keeps: I11.
 */
create function tokenbook.settle_backlog(p_user_id uuid, p_portions integer default 1)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not tokenbook.has_backlog(p_user_id, p_portions) then -- @backlogs-settled-first
    return false;
  end if;
  if current_setting('transaction_read_only')::boolean then
    perform tokenbook.refuse('busy', '{}');
  end if;
  perform tokenbook.lock_account(p_user_id);
  perform tokenbook.record_expiries(array[p_user_id], clock_timestamp(), p_in_portions => true);
  return true;
end
$$;
comment on function tokenbook.settle_backlog is
  'Books a portion of what is due where more is due than one call books (or than p_portions), and returns true: the caller then answers tokenbook.answer_busy().';

-- from supabase/schemas/20_ledger/settle_incoming.sql

/*
 * What follows when tokens have come in and their entry is recorded: what came back too late expires
 * at once, in the ledger, a portion of it (the rest is due, for whoever comes next); what is owed is repaid first,
 * once nothing is due any more (tokenbook.record_expiries does both); the plan limit is no lower than the balance.
 * Caller: internal, holding the account's lock.   Keeps: I2, I3, I4, I7, I9.
 */
create function tokenbook.settle_incoming(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if v_account.next_due_at <= p_now then
    perform tokenbook.record_expiries(array[p_user_id], p_now, p_in_portions => true); -- @late-returns-in-portions
  elsif v_account.tokens_owed > 0 then
    perform tokenbook.repay_debt(p_user_id, p_now);
  end if;
  perform tokenbook.move_plan_limit(p_user_id, 0);
end
$$;
comment on function tokenbook.settle_incoming is
  'After tokens have come in: expires what came too late, repays what is owed, lifts the plan limit to the balance.';

-- from supabase/schemas/20_ledger/slice_allocations.sql

/*
 * The parts of an allocation that lie between two points of it, in order: of 30 from A and 20 from
 * B, what lies between 10 and 40 is 20 from A and 10 from B. A capture is the front of a hold;
 * what is released is its back, and so is what a refund gives back of a deduction.
 * Caller: internal.
 */
create function tokenbook.slice_allocations(
  p_grant_ids uuid[],
  p_grant_tokens bigint[],
  p_from bigint,
  p_to bigint,
  out grant_ids uuid[],
  out grant_tokens bigint[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(array_agg(part.grant_id order by part.nth), '{}'),
         coalesce(array_agg(least(part.upto, p_to) - greatest(part.upto - part.tokens, p_from) order by part.nth), '{}')
    into grant_ids, grant_tokens
    from (
      select p.grant_id, p.tokens, p.nth, (sum(p.tokens) over (order by p.nth))::bigint as upto
        from unnest(p_grant_ids, p_grant_tokens) with ordinality as p (grant_id, tokens, nth)) part
   where part.upto > p_from and part.upto - part.tokens < p_to;
end
$$;
comment on function tokenbook.slice_allocations is
  'The parts of an allocation between two points of it, counted in tokens from its front.';

-- from supabase/schemas/20_ledger/spend_tokens.sql

/*
 * Spends tokens from a user's grants, oldest first, all or nothing: what every deduction is made
 * of. The caller has checked who asks and what for.
 * p_entry is the transaction to be: user_id, tokens (negative, or 0 for use that costs nothing, or
 * 0 with reserved_change for a hold), action_type, reason, actor, key, request, metadata, links. The
 * rest is given here.
 * With p_partial it takes what there is and the shortfall is what remains uncovered. p_cost is
 * what the operation cost, in cents.
 * Locks: the account.   Errors: busy, idempotency_key_reused, user_not_found, account_frozen,
 * too_many_holds, too_many_grants.
 * From a frozen account nothing is spent: refused, or with p_partial all of it is uncovered, so that a use
 * that has happened is recorded. Nothing is held for a user who was deleted.
 * A user who never had a grant is given the initial plan first (tokenbook.grant_initial_plan).
 * A member of a team spends from his payer's account: the transaction has the payer's user_id and the
 * member's member_id. An admin's correction stays on the account that it names.
 * Returns the transaction; or, without p_partial, shortfall > 0, in which case nothing was changed,
 * not even what was due to expire; tokens_remaining then says what there is. capped_by is the cap that
 * allowed less than was wanted: the shortfall counts from what it allows, and p_partial takes that.
 * Keeps: I1 to I5, I7, I8, I10.
 */
create function tokenbook.spend_tokens(
  p_entry public.token_transactions,
  p_partial boolean default false,
  p_cost numeric default 0,
  out transaction public.token_transactions,
  out replayed boolean,
  out shortfall bigint,
  out tokens_remaining bigint,
  out capped_by jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_wanted bigint;
  v_allowed bigint;
  v_is_due boolean;
  v_is_frozen boolean := false;
  v_payer_id uuid;
  v_cap record;
begin
  replayed := false;
  shortfall := 0;

  if p_entry.action_type <> 'admin_deduct' then
    select a.payer_id into v_payer_id from public.token_accounts a where a.user_id = p_entry.user_id;
    if v_payer_id is not null then
      p_entry.member_id := p_entry.user_id;
      p_entry.user_id := v_payer_id;
    end if;
  end if;

  -- lock
  v_account := tokenbook.lock_account(p_entry.user_id); -- @spend-locks-first
  if v_account.user_id is null then
    perform tokenbook.require_user(p_entry.user_id, p_entry.actor_role);
    perform tokenbook.grant_initial_plan(p_entry.user_id); -- whom registration missed
    v_account := tokenbook.lock_account(p_entry.user_id, p_create => p_partial or p_entry.tokens = 0);
  end if;
  if p_entry.action_type <> 'admin_deduct' -- @payer-asked-again
    and (v_account.payer_id is not null -- joined a team while we waited; or left it, or its payer
      or p_entry.member_id is not null and tokenbook.paying_account(p_entry.member_id) <> p_entry.user_id)
  then
    perform tokenbook.refuse('busy', '{}');
  end if;
  v_now := clock_timestamp(); -- @clock-after-lock

  -- replay
  transaction := tokenbook.find_replay(p_entry); -- @replay-after-lock
  if transaction.id is not null then
    replayed := true;
    tokens_remaining := transaction.balance_after;
    return;
  end if;

  -- act
  v_wanted := coalesce(p_entry.reserved_change, 0) - p_entry.tokens;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct' then
    v_is_frozen := tokenbook.is_frozen(v_account, p_entry.member_id); -- @frozen-after-lock
  end if;
  if v_is_frozen and not p_partial then
    perform tokenbook.refuse('account_frozen', '{}');
  elsif p_entry.reserved_change > 0
    and not (tokenbook.is_user(p_entry.user_id) and (p_entry.member_id is null or tokenbook.is_user(p_entry.member_id)))
  then
    perform tokenbook.refuse('user_not_found', '{}');
  end if;
  if p_entry.reserved_change > 0 then
    perform tokenbook.check_open_holds(coalesce(p_entry.member_id, p_entry.user_id), p_entry.user_id, v_now);
  end if;
  tokens_remaining := coalesce(v_account.tokens_remaining, 0);
  v_is_due := coalesce(v_account.next_due_at <= v_now, false);
  if v_is_due then
    select tokens_remaining - due.lost + due.returned + due.given - due.repaid into tokens_remaining
      from tokenbook.tokens_due(p_entry.user_id, v_now) as due;
  end if;
  if tokens_remaining < v_wanted then
    if not exists (select from public.token_balances b where b.user_id = p_entry.user_id) then
      perform tokenbook.grant_initial_plan(p_entry.user_id); -- an account, and still never a grant
      v_account := tokenbook.lock_account(p_entry.user_id);
      v_now := clock_timestamp(); -- what was just granted comes before what is now spent
      tokens_remaining := coalesce(v_account.tokens_remaining, 0);
    end if;
  end if;
  v_allowed := case when v_is_frozen then 0 else tokens_remaining end;
  if v_wanted > 0 and p_entry.action_type <> 'admin_deduct'
    and (p_entry.member_id is not null
      or exists (select from public.token_spend_caps c where c.user_id = p_entry.user_id)
      or exists (select from public.token_default_spend_caps))
  then
    v_cap := tokenbook.spend_headroom(v_account, p_entry.member_id, v_now); -- @caps-after-lock
    if v_cap.headroom < v_wanted then
      capped_by := v_cap.capped_by;
      v_allowed := least(v_allowed, v_cap.headroom);
    end if;
  end if;
  if v_allowed < v_wanted then
    shortfall := v_wanted - v_allowed;
    if not p_partial then
      return; -- @short-takes-nothing
    end if;
    v_wanted := v_allowed;
    p_entry.tokens := -v_allowed;
  end if;
  if v_is_due then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
  end if;
  select taken.grant_ids, taken.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from tokenbook.take_from_grants(p_entry.user_id, v_wanted, v_now) as taken;

  -- record
  p_entry.entry_type := case
    when p_entry.reserved_change > 0 then 'hold'
    when p_entry.tokens = 0 then 'usage'
    else 'deduction'
  end;
  p_entry.created_at := v_now;
  transaction := tokenbook.record_transaction(p_entry, p_cost);
  tokens_remaining := transaction.balance_after; -- @balance-has-its-entry
end
$$;
comment on function tokenbook.spend_tokens is
  'Spends tokens oldest grant first, all or nothing (with p_partial what there is), under the account''s lock; the transaction (new or replayed), or the shortfall with nothing changed; capped_by where a cap allowed less.';

-- from supabase/schemas/20_ledger/spend_tokens_batch.sql

/*
 * The fast path of a deduction, for many accounts in one statement: nothing is due, the grant that is next in
 * burn order covers it, no cap applies, nobody wants to be told (tokenbook.record_transaction asks the same of the
 * alert thresholds), and the key is new. What is not so is left alone, and goes through tokenbook.spend_tokens; both come
 * to the same grants, totals, ledger rows and receipts.
 * p_entries are transactions to be, as of tokenbook.spend_tokens, no two of one account and none of a member;
 * their id is the caller's own number, handed back. The caller has locked the accounts and read the
 * clock.
 * Caller: internal.   Returns the receipt of each deduction that was made.   Keeps: I1 to I5, I7, I8, I10.
 */
create function tokenbook.spend_tokens_batch(p_entries public.token_transactions[], p_now timestamptz)
returns table (nth bigint, receipt jsonb)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day timestamptz := date_trunc('day', p_now, 'UTC');
  v_week timestamptz := date_trunc('week', p_now, 'UTC');
  v_month timestamptz := date_trunc('month', p_now, 'UTC');
  v_paid record;
  v_entry public.token_transactions;
  v_entries public.token_transactions[] := '{}';
  v_expiring_first boolean := (select r.is_expiring_first from tokenbook.project_settings r);
begin
  -- Each step has all that it needs from the first: joining steps to each other would be quadratic
  -- under a plan that does not know how many items there are.
  for v_paid in
  with payable as (
    select e.ordinality as place, e.id as nth, e.user_id, -e.tokens as tokens, a.last_transaction_id + 1 as transaction_id,
           a.tokens_remaining + e.tokens as tokens_remaining, b.id as grant_id, b.grant_type, b.granted_at
      from unnest(p_entries) with ordinality as e
      join public.token_accounts a on a.user_id = e.user_id
     cross join lateral (
       select g.* from tokenbook.open_grants_in_order(e.user_id, p_now, v_expiring_first) g -- @batch-spends-what-lives
        limit 1) b
     where a.tokens_remaining >= -e.tokens -- @batch-covers-each
       and a.state = 'active' -- @batch-not-frozen
       and b.tokens_remaining >= -e.tokens
       and (a.next_due_at > p_now or a.next_due_at is null) -- @batch-has-nothing-due
       and not exists (
         select from public.token_transactions t
          where t.user_id = e.user_id and t.member_id is null and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not exists (
         select from public.token_transactions t -- of the time when he was in a team
          where t.member_id = e.user_id and t.idempotency_key = e.idempotency_key
            and (t.actor_role = 'user') = (e.actor_role = 'user'))
       and not exists (select from public.token_spend_caps c where c.user_id = e.user_id)
       and a.alerts_version = (select r.alerts_version from tokenbook.project_settings r)
       and not exists (select from public.token_default_spend_caps) -- @batch-common-caps
       and (a.tokens_remaining + e.tokens < a.alert_below or a.tokens_remaining + e.tokens >= a.alert_above) is not true
  ), taken as (
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - p.tokens,
           is_open = b.tokens_remaining > p.tokens
      from payable p
     where b.user_id = p.user_id and b.id = p.grant_id
  ), accounts as (
    -- as tokenbook.record_transaction does it, for a deduction
    update public.token_accounts a
       set tokens_remaining = p.tokens_remaining,
           tokens_used = a.tokens_used + p.tokens,
           spent_at = greatest(a.spent_at, p_now),
           spent_day = case when a.spent_at >= v_day then a.spent_day else 0 end + p.tokens,
           spent_week = case when a.spent_at >= v_week then a.spent_week else 0 end + p.tokens,
           spent_month = case when a.spent_at >= v_month then a.spent_month else 0 end + p.tokens,
           last_transaction_id = p.transaction_id,
           updated_at = p_now
      from payable p
     where a.user_id = p.user_id
  )
  select p.* from payable p
  loop
    v_entry := p_entries[v_paid.place];
    v_entry.id := v_paid.transaction_id;
    v_entry.entry_type := 'deduction';
    v_entry.balance_after := v_paid.tokens_remaining;
    v_entry.debt_change := 0;
    v_entry.reserved_change := 0;
    v_entry.grant_ids := array[v_paid.grant_id];
    v_entry.grant_tokens := array[v_paid.tokens];
    v_entry.created_at := p_now;
    v_entries := v_entries || v_entry;
    nth := v_paid.nth;
    receipt := tokenbook.deduction_receipt(
      v_paid.tokens, v_paid.transaction_id,
      jsonb_build_array(tokenbook.describe_allocation(
        v_paid.grant_id, v_paid.grant_type, v_paid.granted_at, v_paid.tokens)),
      0, v_paid.tokens_remaining, false);
    return next;
  end loop;
  perform tokenbook.append_transactions(v_entries);
end
$$;
comment on function tokenbook.spend_tokens_batch is
  'Makes the deductions that need nothing but the next grant, one an account, in one statement, and returns their receipts; leaves the others alone. The accounts are locked.';

-- from supabase/schemas/20_ledger/sweep_accounts.sql

/*
 * Books what is due on these accounts, in portions, for who goes through many: an account whose books are
 * damaged is set aside (tokenbook.set_aside_accounts) and keeps the others from nothing. All of them in one
 * statement as a rule; one by one only when that fails.
 * The caller has locked them.
 * Caller: internal.   Returns how many holds and grants were booked, and accounts set aside.   Keeps: I7, I11.
 */
create function tokenbook.sweep_accounts(p_user_ids uuid[], p_now timestamptz)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
  v_booked bigint := 0;
begin
  begin
    return tokenbook.record_expiries(p_user_ids, p_now, p_in_portions => true);
  exception
    when integrity_constraint_violation or data_exception or sqlstate 'PT500' then -- @damaged-accounts-set-aside
      null;
  end;
  foreach v_user_id in array p_user_ids
  loop
    exit when v_booked >= 10 * (tokenbook.limits() -> 'due_holds')::integer; -- @sweeps-are-bounded
    begin
      v_booked := v_booked + tokenbook.record_expiries(array[v_user_id], p_now, p_in_portions => true);
    exception
      when integrity_constraint_violation or data_exception or sqlstate 'PT500' then
        v_booked := v_booked + 1; -- there may be more behind it
        insert into tokenbook.set_aside_accounts as s (user_id, reason)
        values (v_user_id, left(sqlstate || ' ' || sqlerrm, 500))
        on conflict (user_id) do update set reason = excluded.reason, set_aside_at = clock_timestamp();
    end;
  end loop;
  return v_booked;
end
$$;
comment on function tokenbook.sweep_accounts is
  'Books a portion of what is due on each of these accounts, and sets aside those whose books are damaged; the caller holds their locks.';

-- from supabase/schemas/20_ledger/take_from_grants.sql

/*
 * Takes tokens from a user's grants in burn order and says which gave how much. The caller has
 * locked the account, booked what was due, and knows that there is enough: where the grants have less
 * than the account says, some of them are lost.
 * From no more grants than one entry may name (grants_in_one_entry of tokenbook.limits()): more is
 * refused, or with p_partial left.
 * Caller: internal.   Errors: account_lost, too_many_grants.   Keeps: I1, I4, I8, I11.
 */
create function tokenbook.take_from_grants(
  p_user_id uuid,
  p_tokens bigint,
  p_now timestamptz,
  p_partial boolean default false,
  out grant_ids uuid[],
  out grant_tokens bigint[],
  out tokens bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := (tokenbook.limits() -> 'grants_in_one_entry')::integer;
begin
  select chosen.grant_ids, chosen.grant_tokens into grant_ids, grant_tokens
    from tokenbook.choose_grants(p_user_id, p_tokens, p_now, v_limit) as chosen;
  tokens := coalesce((select sum(part) from unnest(grant_tokens) part), 0);
  if tokens < p_tokens then
    if cardinality(grant_ids) < v_limit then
      perform tokenbook.refuse('account_lost', '{}');
    elsif not p_partial then
      perform tokenbook.refuse('too_many_grants', jsonb_build_object('limit', tokens));
    end if;
  end if;
  update public.token_balances b
     set tokens_remaining = b.tokens_remaining - taken.tokens,
         is_open = b.tokens_remaining > taken.tokens
    from unnest(grant_ids, grant_tokens) as taken (grant_id, tokens)
   where b.user_id = p_user_id and b.id = taken.grant_id;
end
$$;
comment on function tokenbook.take_from_grants is
  'Takes tokens from the user''s grants in burn order; returns which grants paid, how much each, and how much together: less than asked only with p_partial, where it would take more grants than one entry may name.';

-- from supabase/schemas/20_ledger/tokens_due.sql

/*
 * What time has changed and nobody has booked yet: tokens that the account still counts although
 * their grants have run out (lost), tokens of holds that have run out, by whether they come back
 * to a grant that lives (returned) or to one that does not (forfeited), what the schedule of their plan gives
 * (given), and what of all there is repays a debt at once (repaid).
 * What can be spent is tokens_remaining - lost + returned + given - repaid.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.tokens_due(
  p_user_id uuid,
  p_now timestamptz,
  out lost bigint,
  out returned bigint,
  out forfeited bigint,
  out given bigint,
  out repaid bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select coalesce(sum(b.tokens_remaining), 0) into lost
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and b.expires_at <= p_now; -- @gone-at-expires-at
  select coalesce(sum(part.tokens) filter (where b.expires_at > p_now or b.expires_at is null), 0),
         coalesce(sum(part.tokens) filter (where not (b.expires_at > p_now or b.expires_at is null)), 0)
    into returned, forfeited
    from public.token_holds h
   cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
    join public.token_balances b on b.user_id = h.user_id and b.id = part.grant_id
   where h.user_id = p_user_id and h.status = 'open' and h.expires_at <= p_now;
  given := coalesce((select sum((d.slot).tokens_remaining) from tokenbook.due_slots(p_user_id, p_now) d), 0); -- @reads-count-slots
  repaid := coalesce((
    select least(a.tokens_owed, a.tokens_remaining - lost + returned + given)
      from public.token_accounts a where a.user_id = p_user_id and a.tokens_owed > 0), 0);
end
$$;
comment on function tokenbook.tokens_due is
  'What time has changed and nobody has booked yet: tokens lost with their grants, and tokens of holds that have run out, returned or forfeited, what its plan''s schedule gives, and what of those repays a debt.';

-- from supabase/schemas/20_ledger/tokens_used.sql

/*
 * A computed field: what a client that was written for the older table selects as `tokens_used`, with the same sign
 * (grants positive, deductions negative). In SQL `t.tokens_used`, over the API `select=tokens_used`.
 * Its parameter has no name, so that it is a field and no rpc.
 * Caller: authenticated, service_role; it sees no more than the row it is given.
 */
create function public.tokens_used(public.token_transactions)
returns bigint
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select $1.tokens
$$;
comment on function public.tokens_used is
  'The tokens of a transaction under their older name: select tokens_used from token_transactions. Grants positive, deductions negative.';

-- from supabase/schemas/20_ledger/void_token_grant.sql

/*
 * Ends a grant now: what is left of it is taken away, and what comes back to it later expires at
 * once. With p_take_back, for a grant made by mistake, what was spent of it is taken from the other
 * grants too, and what is not there becomes debt, repaid first by what comes in next.
 * Tokens of it that a hold has set aside stay with the hold.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, grant_id, tokens_voided, tokens_owed, transaction_id, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, busy.
 * Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.void_token_grant(
  p_user_id uuid,
  p_grant_id uuid,
  p_reason text default null,
  p_take_back boolean default false,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_voided public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_grant public.token_balances;
  v_tokens bigint;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(p_idempotency_key, p_reason, null);

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'void_token_grant', 'grant_id', p_grant_id, 'reason', p_reason, 'take_back', coalesce(p_take_back, false)));
  -- until now its place in the burn order was by the expiry that it had; in UTC, not in the session's time zone
  select jsonb_strip_nulls(jsonb_build_object('expires_at', (tokenbook.expiry_as_granted(b) at time zone 'utc')::text || 'Z'))
    into v_entry.metadata
    from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id;
  v_entry.metadata := coalesce(v_entry.metadata, '{}');
  v_entry.terms := jsonb_build_object('voids', p_grant_id);
  v_voided := tokenbook.find_replay(v_entry);
  if v_voided.id is null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
    end if;
    select b.* into v_grant from public.token_balances b where b.user_id = p_user_id and b.id = p_grant_id;
    if v_grant.id is null then
      perform tokenbook.refuse('grant_not_found', '{}');
    end if;
    if v_grant.voided_at is not null then
      perform tokenbook.refuse('grant_already_voided', '{}');
    end if;
    select g.id into v_entry.original_id
      from public.token_transactions g
     where g.user_id = p_user_id and g.grant_ids @> array[p_grant_id]
     order by g.id
     limit 1;

    -- record
    if coalesce(p_take_back, false) then -- @mistakes-taken-back-whole
      -- what he has had of it: left, spent, or held; what ran out, was taken back before, or was carried
      -- over into another he has not. What made the grant is none of these
      select v_grant.tokens_granted - coalesce(sum(case when t.tokens > 0 then -a.tokens else a.tokens end), 0)::bigint
        into v_tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
       where t.user_id = p_user_id and a.grant_id = p_grant_id
         and t.entry_type in ('expiry', 'clawback', 'restoration', 'restatement', 'rollover') -- @carried-over-stays
         and t.id is distinct from v_entry.original_id;
      v_voided := tokenbook.claw_back(v_entry, p_grant_id, v_tokens);
    else
      v_entry.entry_type := 'void';
      v_entry.action_type := 'void';
      v_entry.tokens := -v_grant.tokens_remaining;
      v_entry.grant_ids := case when v_grant.is_open then array[p_grant_id] else '{}' end;
      v_entry.grant_tokens := case when v_grant.is_open then array[v_grant.tokens_remaining] else '{}' end;
      v_entry.created_at := v_now;
      update public.token_balances b
         set tokens_remaining = 0, is_open = false
       where b.user_id = p_user_id and b.id = p_grant_id;
      v_voided := tokenbook.record_transaction(v_entry);
    end if;
    update public.token_balances b
       set voided_at = v_voided.created_at,
           expires_at = least(b.expires_at, greatest(v_voided.created_at, b.granted_at + interval '1 microsecond'))
     where b.user_id = p_user_id and b.id = p_grant_id;
  end if;

  return jsonb_build_object(
    'success', true,
    'grant_id', p_grant_id,
    'tokens_voided', -v_voided.tokens,
    'tokens_owed', v_voided.debt_change,
    'transaction_id', v_voided.id,
    'tokens_remaining', v_voided.balance_after,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.void_token_grant is
  'Ends a grant now: what is left of it is taken away. With p_take_back, for a grant made by mistake, what was spent of it is taken back too: from the other grants, and what is not there becomes debt. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, grant_id, tokens_voided, tokens_owed (added to the debt), transaction_id, tokens_remaining, replayed}. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, grant_not_found, grant_already_voided, forbidden, busy.';

-- from supabase/schemas/30_usage/check_usage.sql

/*
 * Refuses a usage row to be that no operation can have had, naming the field.
 * Caller: internal.   Errors: invalid_usage.
 */
create function tokenbook.check_usage(p_usage public.token_usage)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_field text;
begin
  select f.field into v_field
    from (values
      ('p_input_tokens', p_usage.input_tokens),
      ('p_output_tokens', p_usage.output_tokens),
      ('p_tokens_used', p_usage.tokens_used),
      ('p_cached_tokens', p_usage.cached_tokens),
      ('p_reasoning_tokens', p_usage.reasoning_tokens)) as f (field, tokens)
   where f.tokens not between 0 and 1000000000000
   limit 1;
  if v_field is not null then
    perform tokenbook.refuse('invalid_usage',
      jsonb_build_object('field', v_field, 'rule', 'a whole number from 0 to 1000000000000'));
  elsif p_usage.cached_tokens > coalesce(p_usage.input_tokens, 0) then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_cached_tokens", "rule": "part of p_input_tokens, so no more than that"}');
  elsif p_usage.reasoning_tokens > coalesce(p_usage.output_tokens, 0) then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_reasoning_tokens", "rule": "part of p_output_tokens, so no more than that"}');
  elsif p_usage.images not between 0 and 1000000 then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_images", "rule": "a whole number from 0 to 1000000"}');
  elsif p_usage.seconds not between 0 and 1000000 then -- NaN is greater than any number
    perform tokenbook.refuse('invalid_usage', '{"field": "p_seconds", "rule": "a number from 0 to 1000000"}');
  elsif octet_length(p_usage.model_used) > 200 or p_usage.model_used !~ '[^[:space:]]' then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_model_used", "rule": "1 to 200 bytes, not all blank"}');
  elsif length(p_usage.error_message) > 2000 then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_error_message", "rule": "at most 2000 characters"}');
  end if;
end
$$;
comment on function tokenbook.check_usage is
  'Refuses amounts of use that cannot be, with invalid_usage, naming the field.';

-- from supabase/schemas/30_usage/estimate_tokens.sql

/*
 * A quote: what an operation would deduct and cost, and which grants would pay, by the same code
 * that tracking runs. Promises nothing: who asks next may be faster.
 * A user who never had a grant and has a plan is given its tokens first, as when he asks for his balance.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {tokens, cost_estimate, sufficient, tokens_short, tokens_remaining, would_be_deducted_from:
 * [{grant_id, grant_type, granted_at, deducted}]}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage, user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.estimate_tokens(
  p_user_id uuid default auth.uid(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_asked public.token_usage;
  v_actor record;
  v_usage public.token_usage;
  v_payers jsonb;
  v_remaining bigint;
  v_account public.token_accounts;
  v_cap record;
  v_is_frozen boolean;
  v_now timestamptz;
begin
  v_asked.user_id := p_user_id;
  v_asked.action_type := p_action_type;
  v_asked.model_used := p_model_used;
  v_asked.input_tokens := p_input_tokens;
  v_asked.output_tokens := p_output_tokens;
  v_asked.tokens_used := p_tokens_used;
  v_asked.cached_tokens := p_cached_tokens;
  v_asked.reasoning_tokens := p_reasoning_tokens;
  v_asked.images := p_images;
  v_asked.seconds := p_seconds;
  v_actor := tokenbook.authorize(v_asked.user_id, p_self_may => true);
  perform tokenbook.check_action_type(v_asked.action_type);
  perform tokenbook.check_usage(v_asked);
  perform tokenbook.require_user(v_asked.user_id, v_actor.actor_role);
  v_usage := v_asked;
  v_usage.created_at := clock_timestamp();
  v_usage := tokenbook.measure_usage(v_usage);
  if v_usage.tokens_used is null then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  v_usage.user_id := tokenbook.paying_account(v_asked.user_id);
  perform tokenbook.require_user(v_usage.user_id, 'user'); -- the payer's account may be lost
  if tokenbook.settle_backlog(v_usage.user_id, p_portions => 10) then
    return tokenbook.answer_busy();
  end if;
  if not current_setting('transaction_read_only')::boolean then
    perform tokenbook.grant_initial_plan(v_usage.user_id); -- whom registration missed
  end if;
  v_now := clock_timestamp();

  -- one statement: what there is and who would pay are of one moment
  select coalesce(a.tokens_remaining - due.lost + due.returned + due.given - due.repaid, 0),
         (select coalesce(jsonb_agg(tokenbook.describe_allocation(
                   paid.grant_id, coalesce(b.grant_type, (d.slot).grant_type), coalesce(b.granted_at, (d.slot).granted_at),
                   paid.tokens) order by paid.nth), '[]')
            from unnest(chosen.grant_ids, chosen.grant_tokens) with ordinality as paid (grant_id, tokens, nth)
            left join public.token_balances b on b.user_id = v_usage.user_id and b.id = paid.grant_id
            left join tokenbook.due_slots(v_usage.user_id, v_now) d -- not booked yet
              on (d.slot).id = paid.grant_id and b.id is null)
    into v_remaining, v_payers
    from tokenbook.tokens_due(v_usage.user_id, v_now) as due
   cross join lateral tokenbook.choose_grants(
       v_usage.user_id, v_usage.tokens_used, v_now, (tokenbook.limits() -> 'grants_in_one_entry')::integer, true, due.repaid) as chosen
    left join public.token_accounts a on a.user_id = v_usage.user_id;
  select a.* into v_account from public.token_accounts a where a.user_id = v_usage.user_id;
  v_cap := tokenbook.spend_headroom(v_account, nullif(v_asked.user_id, v_usage.user_id), v_now);
  v_is_frozen := tokenbook.is_frozen(v_account, nullif(v_asked.user_id, v_usage.user_id));
  return jsonb_build_object(
    'state', case when v_is_frozen then 'frozen' else 'active' end,
    'tokens', v_usage.tokens_used,
    'cost_estimate', v_usage.cost_estimate,
    'sufficient', not v_is_frozen and least(v_remaining, v_cap.headroom) >= v_usage.tokens_used,
    'tokens_short', greatest(v_usage.tokens_used - least(v_remaining, v_cap.headroom), 0),
    'tokens_remaining', v_remaining,
    'would_be_deducted_from', v_payers)
    || tokenbook.describe_cap(case when v_cap.headroom < v_usage.tokens_used then v_cap.capped_by end);
end
$$;
comment on function tokenbook.estimate_tokens is
  'A quote: what an operation would deduct and cost, and which grants would pay; nothing is changed. For the user himself (leave p_user_id out), an admin, or the server. Arguments as of track_token_usage. Returns {state (active, or frozen: not sufficient, however many there are), tokens, cost_estimate (cents, NULL = unknown), sufficient, tokens_short, tokens_remaining, would_be_deducted_from: [{grant_id, grant_type, granted_at, deducted}]}, and capped_by {scope, window, limit, used, resets_at} where a spend cap allows less. Errors: invalid_action_type, invalid_usage, user_not_found, forbidden.';

-- from supabase/schemas/30_usage/explain_token_charge.sql

/*
 * Explains a charge: the operation, its ledger entry, the grants that paid and where those came
 * from, and what was given back since. Asked by usage or by transaction.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_usage, charge_not_found,
 * user_not_found.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.explain_token_charge(
  p_user_id uuid default auth.uid(),
  p_usage_id uuid default null,
  p_transaction_id bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_usage public.token_usage;
  v_transaction public.token_transactions;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if num_nonnulls(p_usage_id, p_transaction_id) <> 1 then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_usage_id", "rule": "either a usage or a transaction, not both"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);

  if p_usage_id is not null then
    select u.* into v_usage from public.token_usage u
     where u.user_id = p_user_id and u.id = p_usage_id; -- @explains-own-usage
  end if;
  select t.* into v_transaction from public.token_transactions t
   where t.user_id = p_user_id and t.id = coalesce(p_transaction_id, v_usage.transaction_id);
  if p_usage_id is null then
    select u.* into v_usage from public.token_usage u where u.user_id = p_user_id and u.id = v_transaction.usage_id;
  end if;
  if v_usage.id is null and v_transaction.id is null then
    perform tokenbook.refuse('charge_not_found', '{}');
  end if;

  return jsonb_build_object(
    'usage', case when v_usage.id is not null then to_jsonb(v_usage) - 'user_id' end,
    'transaction', case when v_transaction.id is not null then
      to_jsonb(v_transaction) - array['user_id', 'grant_ids', 'grant_tokens', 'request', 'terms'] end,
    'paid_by', coalesce((
      select jsonb_agg(
               jsonb_build_object(
                 'grant_id', b.id,
                 'grant_type', b.grant_type,
                 'tokens', paid.tokens,
                 'granted_at', b.granted_at,
                 'expires_at', b.expires_at,
                 'payment_id', b.payment_id,
                 'subscription_id', b.subscription_id)
               order by paid.nth)
        from unnest(v_transaction.grant_ids, v_transaction.grant_tokens)
             with ordinality as paid (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_user_id and b.id = paid.grant_id), '[]'),
    'undone_by', coalesce((
      select jsonb_agg(
               jsonb_build_object(
                 'transaction_id', t.id,
                 'entry_type', t.entry_type,
                 'tokens', t.tokens,
                 'reason', t.reason,
                 'created_at', t.created_at)
               order by t.id)
        from (
          select u.* from public.token_transactions u
           where u.user_id = p_user_id and u.original_id = v_transaction.id
           order by u.id desc
           limit 1000) t), '[]'),
    'tokens_net', v_transaction.tokens + coalesce((
      select sum(t.tokens) from public.token_transactions t
       where t.user_id = p_user_id and t.original_id = v_transaction.id), 0));
end
$$;
comment on function tokenbook.explain_token_charge is
  'Explains a charge, by usage or by transaction. For the user himself (leave p_user_id out), an admin, or the server. Returns {usage (NULL when there was none), transaction (NULL for what happened before the books opened), paid_by: [{grant_id, grant_type, tokens, granted_at, expires_at, payment_id, subscription_id}], undone_by: [{transaction_id, entry_type, tokens, reason, created_at}] (the newest 1000), tokens_net (signed: the charge less what was given back)}. Errors: invalid_usage, charge_not_found, user_not_found, forbidden.';

-- from supabase/schemas/30_usage/get_recent_token_usage.sql

/*
 * What was spent in the last hours, newest first, with the balance of now.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.get_recent_token_usage(
  p_hours integer default 24,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, action text, tokens_used bigint, created_at timestamptz, current_balance bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_hours is null or p_hours not between 1 and 8760 or p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_hours", "rule": "1 to 8760 hours, 1 to 10000 rows"}');
  end if;
  return query
  select t.user_id, u.email::text, t.action_type, -t.tokens, t.created_at, a.tokens_remaining
    from public.token_transactions t
    join public.token_accounts a on a.user_id = t.user_id
    left join auth.users u on u.id = t.user_id
   where t.entry_type = 'deduction' and t.created_at >= clock_timestamp() - p_hours * interval '1 hour'
   order by t.created_at desc, t.user_id, t.id desc
   limit p_limit;
end
$$;
comment on function tokenbook.get_recent_token_usage is
  'What was spent in the last p_hours (1 to 8760), newest first, at most p_limit (1 to 10000) rows, with the balance of now. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/30_usage/get_users_with_high_token_usage.sql

/*
 * Users who used the most in their lifetime, the highest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.get_users_with_high_token_usage(
  p_limit integer default 20
)
returns table (user_id uuid, email text, tokens_used bigint, total_cost_cents numeric)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select a.user_id, u.email::text, a.tokens_used, a.total_cost
    from public.token_accounts a
    left join auth.users u on u.id = a.user_id
   order by a.tokens_used desc, a.user_id
   limit p_limit;
end
$$;
comment on function tokenbook.get_users_with_high_token_usage is
  'The p_limit (1 to 10000) users who used the most tokens in their lifetime. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/30_usage/get_users_with_low_token_balance.sql

/*
 * Users who have less than that to spend, the lowest first.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.get_users_with_low_token_balance(
  p_below bigint default 10000,
  p_limit integer default 1000
)
returns table (user_id uuid, email text, tokens_remaining bigint, tokens_used bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select c.user_id, u.email::text, c.vibe_assistant_tokens_remaining, c.vibe_assistant_tokens_used
    from public.token_counters c
    left join auth.users u on u.id = c.user_id
   where c.vibe_assistant_tokens_remaining < p_below
   order by 3, 1
   limit p_limit;
end
$$;
comment on function tokenbook.get_users_with_low_token_balance is
  'Users with fewer than p_below tokens to spend, the lowest first, at most p_limit (1 to 10000). For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/30_usage/measure_usage.sql

/*
 * What an operation counts for: tokens_used and cost_estimate of the usage row to be.
 *
 * Tokens: the number that was given; else input + output, brought within what token_action_costs asks
 * for that action at least and at most; NULL when neither says anything. Cached tokens are part of
 * the input, reasoning tokens part of the output: neither counts twice.
 * Cost: cents by the model's prices at created_at, rounded up to 0.0001 once. NULL, never 0, when
 * the model, a price that is needed, or what was used is not known.
 * Caller: internal: tracking, quotes and captures alike.
 */
create function tokenbook.measure_usage(p_usage public.token_usage)
returns public.token_usage
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counted bigint := coalesce(p_usage.input_tokens, 0) + coalesce(p_usage.output_tokens, 0);
  v_price public.token_model_prices;
begin
  if p_usage.tokens_used is null then
    select least(greatest(v_counted, c.min_tokens), c.max_tokens) into p_usage.tokens_used
      from public.token_action_costs c where c.action_type = p_usage.action_type;
  end if;
  if p_usage.tokens_used is null and (p_usage.input_tokens is not null or p_usage.output_tokens is not null) then
    p_usage.tokens_used := v_counted;
  end if;

  p_usage.cost_estimate := null;
  if coalesce(p_usage.input_tokens, p_usage.output_tokens, p_usage.images, p_usage.seconds) is not null then
    select p.* into v_price
      from public.token_model_prices p
     where p.model = p_usage.model_used and p.valid_from <= p_usage.created_at
     order by p.valid_from desc
     limit 1;
    -- what was not used costs nothing even where its price is not known
    p_usage.cost_estimate := ceil(10000 * (
        case when p_usage.input_tokens > coalesce(p_usage.cached_tokens, 0)
          then (p_usage.input_tokens - coalesce(p_usage.cached_tokens, 0)) * v_price.input_cents_per_million / 1000000 else 0 end
      + case when p_usage.cached_tokens > 0
          then p_usage.cached_tokens
               * coalesce(v_price.cached_input_cents_per_million, v_price.input_cents_per_million) / 1000000 else 0 end
      + case when p_usage.output_tokens > 0
          then p_usage.output_tokens * v_price.output_cents_per_million / 1000000 else 0 end
      + case when p_usage.images > 0 then p_usage.images * v_price.cents_per_image else 0 end
      + case when p_usage.seconds > 0 then p_usage.seconds * v_price.cents_per_minute / 60 else 0 end)) / 10000;
    if v_price.model is null then
      p_usage.cost_estimate := null;
    end if;
  end if;
  return p_usage;
end
$$;
comment on function tokenbook.measure_usage is
  'Fills tokens_used and cost_estimate (cents, rounded up to 0.0001, NULL = unknown) of a usage row to be, from what was used and the two price lists.';

-- from supabase/schemas/30_usage/slot_tokens_due.sql

/*
 * What an account is due now by the schedule of its plan, and has not been booked: for the view token_counters, which
 * reads with its caller's rights. Of somebody else a user is told 0.
 * Caller: whoever reads token_counters.
 */
-- Security definer: what is due depends on whether there still is such a user, which clients may not ask.
create function tokenbook.slot_tokens_due(p_user_id uuid)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('role') = 'authenticated' and auth.uid() is distinct from p_user_id and not tokenbook.is_admin() then
    return 0;
  end if;
  return coalesce((
    select sum((d.slot).tokens_remaining) from tokenbook.due_slots(p_user_id, clock_timestamp()) d), 0);
end
$$;
comment on function tokenbook.slot_tokens_due is
  'What an account is due now by the schedule of its plan, and has not been booked; of somebody else 0.';

-- from supabase/schemas/30_usage/token_counters.sql

/*
 * The old names, readable: what user_profiles had before tokens moved out of it. Dollars, where
 * everything else counts cents. Does not count what has run out, booked or
 * not, and does what the plan's schedule has given.
 */
create view public.token_counters
with (security_invoker = true)
as
select a.user_id,
       a.tokens_remaining - coalesce((
         select sum(b.tokens_remaining) from public.token_balances b
          where b.user_id = a.user_id and b.is_open and b.expires_at <= clock_timestamp()), 0)::bigint
         + case when a.next_due_at <= clock_timestamp() then tokenbook.slot_tokens_due(a.user_id) else 0 end
         as vibe_assistant_tokens_remaining,
       a.tokens_used as vibe_assistant_tokens_used,
       a.total_cost / 100 as vibe_assistant_total_cost
  from public.token_accounts a;
comment on view public.token_counters is
  'The counters under the names that user_profiles had them by. Read-only; users see their own.';
comment on column public.token_counters.user_id is 'The user.';
comment on column public.token_counters.vibe_assistant_tokens_remaining is 'Tokens he can spend now.';
comment on column public.token_counters.vibe_assistant_tokens_used is 'Tokens used in his lifetime.';
comment on column public.token_counters.vibe_assistant_total_cost is 'Cost in his lifetime, in dollars.';

-- from supabase/schemas/30_usage/token_usage_history.sql

/*
 * Spending under the names of an older table: one row a deduction.
 */
create view public.token_usage_history
with (security_invoker = true)
as
select t.id, t.user_id, t.metadata ->> 'article_id' as article_id, -t.tokens as tokens_used,
       t.action_type as action, t.created_at
  from public.token_transactions t
 where t.entry_type = 'deduction';
comment on view public.token_usage_history is 'Deductions under older names. Read-only; users see their own.';
comment on column public.token_usage_history.id is 'Number of the transaction among the user''s.';
comment on column public.token_usage_history.user_id is 'The user.';
comment on column public.token_usage_history.article_id is 'The article it was for, when the caller said so in the metadata.';
comment on column public.token_usage_history.tokens_used is 'Tokens, positive.';
comment on column public.token_usage_history.action is 'What they were spent on.';
comment on column public.token_usage_history.created_at is 'When.';

-- from supabase/schemas/30_usage/track_token_usage.sql

/*
 * Records one AI operation and deducts for it, in one transaction: the token_usage row, the ledger
 * entry and the account's tokens and cost, or nothing.
 *
 * What it counts for: p_tokens_used when given; else input + output within what token_action_costs
 * asks for the action. Cached tokens are part of the input and reasoning tokens part of the output.
 * A failed operation (p_success false) is recorded and deducts nothing.
 * Short of tokens: with p_on_shortage 'reject' success is false and nothing is recorded; with
 * 'partial' what is there is taken and the rest is recorded as uncovered. Under a spend cap it is the
 * same: what the cap allows counts as what is there, and the cap is said in capped_by.
 * From a frozen account: with 'reject' account_frozen, and with 'partial' all of it is recorded as uncovered;
 * what costs nothing is recorded as ever.
 * A member's operation is recorded with his payer, whose tokens it takes, and names the member.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: the account.
 * Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted,
 * tokens_remaining_to_deduct, cost_estimate, deducted_from, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_action_type, invalid_usage,
 * invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, account_frozen, too_many_grants, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.track_token_usage(
  p_user_id uuid default auth.uid(),
  p_action_type text default null,
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_tokens_used bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_on_shortage text default 'reject',
  p_idempotency_key text default null,
  p_metadata jsonb default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_asked public.token_usage;
  v_entry public.token_transactions;
  v_usage public.token_usage;
  v_spent record;
begin
  -- validate
  v_asked.user_id := p_user_id;
  v_asked.action_type := p_action_type;
  v_asked.model_used := p_model_used;
  v_asked.input_tokens := p_input_tokens;
  v_asked.output_tokens := p_output_tokens;
  v_asked.tokens_used := p_tokens_used;
  v_asked.success := p_success;
  v_asked.error_message := p_error_message;
  v_asked.metadata := p_metadata;
  v_asked.cached_tokens := p_cached_tokens;
  v_asked.reasoning_tokens := p_reasoning_tokens;
  v_asked.images := p_images;
  v_asked.seconds := p_seconds;
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(v_asked.user_id, p_self_may => true);
  perform tokenbook.check_action_type(v_asked.action_type);
  perform tokenbook.check_usage(v_asked);
  if p_on_shortage is null or p_on_shortage not in ('reject', 'partial') then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_on_shortage", "rule": "reject or partial"}');
  end if;
  perform tokenbook.check_request(p_idempotency_key, null, v_asked.metadata);

  v_usage := v_asked;
  v_usage.id := gen_random_uuid();
  v_usage.success := coalesce(v_asked.success, true);
  v_usage.metadata := coalesce(v_asked.metadata, '{}');
  v_usage.created_at := clock_timestamp();
  v_usage := tokenbook.measure_usage(v_usage);
  if v_usage.success and v_usage.tokens_used is null then
    perform tokenbook.refuse('invalid_usage',
      '{"field": "p_tokens_used", "rule": "needed where neither tokens nor a cost of the action say what to deduct"}');
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, 0);

  -- lock, replay, act
  if tokenbook.settle_backlog(tokenbook.paying_account(v_usage.user_id)) then
    return tokenbook.answer_busy();
  end if;
  v_entry.user_id := v_usage.user_id;
  v_entry.tokens := case when v_usage.success then -v_usage.tokens_used else 0 end; -- @failed-costs-nothing
  v_entry.action_type := v_usage.action_type;
  v_entry.reason := v_usage.action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'track', 'on_shortage', p_on_shortage)
    || jsonb_strip_nulls(to_jsonb(v_asked) - array['user_id', 'metadata']);
  v_entry.usage_id := v_usage.id;
  v_entry.metadata := v_usage.metadata;
  v_spent := tokenbook.spend_tokens(
    v_entry,
    p_partial => p_on_shortage = 'partial',
    p_cost => case when v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end);

  -- record
  if v_spent.replayed then
    select u.* into v_usage from public.token_usage u
     where u.user_id = (v_spent.transaction).user_id and u.id = (v_spent.transaction).usage_id;
  elsif (v_spent.transaction).id is not null then
    v_usage.user_id := (v_spent.transaction).user_id;
    v_usage.member_id := (v_spent.transaction).member_id;
    v_usage.transaction_id := (v_spent.transaction).id;
    v_usage.created_at := (v_spent.transaction).created_at;
    v_usage.tokens_uncovered := v_spent.shortfall;
    insert into public.token_usage values (v_usage.*);
  else
    v_usage.id := null;
    v_usage.tokens_uncovered := v_spent.shortfall;
  end if;

  return jsonb_build_object(
    'success', (v_spent.transaction).id is not null,
    'usage_id', v_usage.id,
    'transaction_id', (v_spent.transaction).id,
    'tokens_used', v_usage.tokens_used,
    'tokens_deducted', -coalesce((v_spent.transaction).tokens, 0),
    'tokens_remaining_to_deduct', v_usage.tokens_uncovered,
    'cost_estimate', v_usage.cost_estimate,
    'deducted_from', tokenbook.describe_allocations(v_spent.transaction),
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed) || tokenbook.describe_cap(v_spent.capped_by);
end
$$;
comment on function tokenbook.track_token_usage is
  'Records one AI operation and deducts for it in one transaction. For the user himself (leave p_user_id out), an admin, or the server. p_action_type what was done; p_model_used the model; p_input_tokens and p_output_tokens, or p_tokens_used as a fixed number; p_cached_tokens is part of the input, p_reasoning_tokens part of the output; p_images; p_seconds of audio; p_success false records and deducts nothing; p_error_message at most 2000 characters; p_on_shortage reject (nothing recorded, success false) or partial (takes what is there, of a frozen account nothing, and records the rest as uncovered); p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, usage_id, transaction_id, tokens_used, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), cost_estimate (cents, NULL = unknown), deducted_from, tokens_remaining, replayed}, and capped_by {scope, window, limit, used, resets_at} where a spend cap allowed less than was wanted. Errors: invalid_action_type, invalid_usage, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, account_frozen (with reject), too_many_grants, forbidden, busy.';

-- from supabase/schemas/40_holds/capture_tokens.sql

/*
 * Pays for what was really used out of a hold, and gives the rest back, last taken first. Once: a
 * second capture, or one of a hold that was released or ran out, changes nothing and answers what
 * happened (success false unless it was captured).
 *
 * How much: p_tokens; else what the usage fields count for, as in track_token_usage; else all of it.
 * Nothing when it failed, whatever was used: a failed call is recorded and gives everything back.
 * With usage fields the token_usage row is written in the same transaction.
 * More than was held: deduct takes the difference as a new deduction, as of now, all or nothing (short
 * of tokens, under a cap that allows less, or where the spender draws from another account now: they left the team,
 * or joined one; success false, the hold stays open); cap takes no more than was held and records the rest as uncovered; reject refuses.
 * A source grant that ran out meanwhile is honoured; what goes back into it expires at once.
 * Caller: the user for holds he made himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_usage,
 * invalid_metadata, user_not_found, hold_not_found, account_frozen, capture_exceeds_hold, busy.
 * Keeps: I1 to I4, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.capture_tokens(
  p_user_id uuid,
  p_hold_id uuid,
  p_tokens bigint default null,
  p_over_capture text default 'deduct',
  p_model_used text default null,
  p_input_tokens bigint default null,
  p_output_tokens bigint default null,
  p_success boolean default true,
  p_error_message text default null,
  p_metadata jsonb default null,
  p_cached_tokens bigint default null,
  p_reasoning_tokens bigint default null,
  p_images integer default null,
  p_seconds numeric default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_asked public.token_usage;
  v_usage public.token_usage;
  v_has_usage boolean := not coalesce(p_success, true) or num_nonnulls(p_model_used, p_input_tokens,
    p_output_tokens, p_images, p_seconds, p_error_message) > 0;
  v_entry public.token_transactions;
  v_locked record;
  v_hold public.token_holds;
  v_tokens bigint;
  v_over bigint;
  v_captured bigint;
  v_account public.token_accounts;
  v_cap record;
  v_has_left boolean; -- the member the team; or a user their own account, for a team
  v_allowed bigint;
begin
  -- validate
  v_asked.user_id := p_user_id;
  v_asked.model_used := p_model_used;
  v_asked.input_tokens := p_input_tokens;
  v_asked.output_tokens := p_output_tokens;
  v_asked.success := p_success;
  v_asked.error_message := p_error_message;
  v_asked.metadata := p_metadata;
  v_asked.cached_tokens := p_cached_tokens;
  v_asked.reasoning_tokens := p_reasoning_tokens;
  v_asked.images := p_images;
  v_asked.seconds := p_seconds;
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(v_asked.user_id, p_self_may => true);
  if p_tokens not between 0 and 1000000000000 then
    perform tokenbook.refuse('invalid_amount', '{"field": "p_tokens", "rule": "a whole number from 0 to 1000000000000"}');
  end if;
  if p_over_capture is null or p_over_capture not in ('deduct', 'cap', 'reject') then
    perform tokenbook.refuse('invalid_usage', '{"field": "p_over_capture", "rule": "deduct, cap or reject"}');
  end if;
  perform tokenbook.check_usage(v_asked);
  perform tokenbook.check_request(null, null, v_asked.metadata);

  -- lock, replay
  v_locked := tokenbook.lock_hold(v_asked.user_id, p_hold_id, v_entry.actor_role);
  if v_locked.is_behind then
    return tokenbook.answer_busy();
  end if;
  v_hold := v_locked.hold;
  if v_hold.status <> 'open' then
    return tokenbook.hold_receipt(v_hold, p_replayed => true);
  end if;

  -- act: how much
  v_usage := v_asked;
  v_usage.success := coalesce(v_asked.success, true);
  v_usage.action_type := v_hold.action_type;
  v_usage.created_at := v_locked.locked_at;
  v_usage.tokens_used := p_tokens;
  if v_has_usage then
    v_usage := tokenbook.measure_usage(v_usage);
  end if;
  v_usage.tokens_used := coalesce(v_usage.tokens_used, case when v_usage.success then v_hold.tokens else 0 end);
  v_tokens := case when v_usage.success then v_usage.tokens_used else 0 end;
  v_captured := least(v_tokens, v_hold.tokens); -- @captures-what-was-used
  v_over := v_tokens - v_captured;
  if v_over > 0 and p_over_capture = 'reject' then
    perform tokenbook.refuse('capture_exceeds_hold', jsonb_build_object('limit', v_hold.tokens));
  elsif v_over > 0 and p_over_capture = 'cap' then
    v_hold.tokens_uncovered := v_over;
    v_over := 0;
  elsif v_over > 0 then
    select a.* into v_account from public.token_accounts a where a.user_id = v_hold.user_id;
    v_cap := tokenbook.spend_headroom(v_account, v_hold.member_id, v_locked.locked_at);
    if tokenbook.is_frozen(v_account, v_hold.member_id) then -- @frozen-beyond-the-hold
      perform tokenbook.refuse('account_frozen', '{}');
    end if;
    v_has_left := tokenbook.paying_account(coalesce(v_hold.member_id, v_hold.user_id)) <> v_hold.user_id; -- @beyond-holds-is-new
    v_allowed := case when v_has_left then 0 else least(v_account.tokens_remaining, v_cap.headroom) end;
    if v_allowed < v_over then
      return tokenbook.hold_receipt(v_hold, p_replayed => false)
          || jsonb_build_object('tokens_remaining_to_deduct', v_over - v_allowed)
          || tokenbook.describe_cap(case when not v_has_left and v_cap.headroom < v_over then v_cap.capped_by end);
    end if;
  end if;

  -- act and record: the capture, what goes beyond it, the usage, the rest
  v_entry.user_id := v_hold.user_id;
  v_entry.action_type := v_hold.action_type;
  v_entry.reason := v_hold.action_type;
  v_entry.hold_id := v_hold.id;
  v_entry.member_id := v_hold.member_id;
  v_entry.metadata := coalesce(v_asked.metadata, '{}');
  v_entry.created_at := v_locked.locked_at;
  if v_has_usage then
    v_hold.usage_id := gen_random_uuid();
    v_entry.usage_id := v_hold.usage_id;
  end if;
  if v_captured > 0 or v_has_usage then
    select part.grant_ids, part.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from tokenbook.slice_allocations(v_hold.grant_ids, v_hold.grant_tokens, 0, v_captured) as part;
    v_entry.entry_type := case when v_captured > 0 then 'deduction' else 'usage' end;
    v_entry.tokens := -v_captured;
    v_entry.reserved_change := -v_captured;
    v_hold.capture_id := (tokenbook.record_transaction(
      v_entry, case when v_has_usage and v_usage.success then coalesce(v_usage.cost_estimate, 0) else 0 end)).id;
  end if;
  if v_over > 0 then
    select taken.grant_ids, taken.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
      from tokenbook.take_from_grants(v_hold.user_id, v_over, v_locked.locked_at) as taken;
    v_entry.tokens := -v_over;
    v_entry.reserved_change := 0;
    v_hold.overage_id := (tokenbook.record_transaction(v_entry)).id;
  end if;
  if v_has_usage then
    v_usage.user_id := v_hold.user_id;
    v_usage.id := v_hold.usage_id;
    v_usage.member_id := v_hold.member_id;
    v_usage.transaction_id := v_hold.capture_id;
    v_usage.tokens_uncovered := v_hold.tokens_uncovered;
    v_usage.metadata := v_entry.metadata;
    insert into public.token_usage values (v_usage.*);
  end if;
  v_hold := tokenbook.close_hold(
    v_hold, v_captured, 'captured', v_locked.locked_at, v_entry.actor_role, v_entry.actor_id);
  return tokenbook.hold_receipt(v_hold, p_replayed => false);
end
$$;
comment on function tokenbook.capture_tokens is
  'Pays for what was really used out of a hold and gives the rest back; once, and a second time answers what happened the first time. For the user (holds that he made himself), an admin, or the server. p_tokens what to pay, left out: what the usage fields count for, else all of it; nothing when p_success is false; p_over_capture when that is more than was held: deduct (the difference as an ordinary deduction, all or nothing), cap or reject; the other arguments as of track_token_usage, and with any of them the usage is recorded in the same transaction. Returns {success, hold_id, status (open, captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, tokens_remaining_to_deduct (shortfall or uncovered), deducted_from, transaction_id, overage_transaction_id, usage_id, cost_estimate (cents), settled_at, tokens_remaining, replayed}. Short of tokens: success false, status open, nothing changed. Errors: invalid_amount, invalid_usage, invalid_metadata, hold_not_found, user_not_found, account_frozen (beyond the hold), capture_exceeds_hold, forbidden, busy.';

-- from supabase/schemas/40_holds/check_open_holds.sql

/*
 * Refuses one more hold to who has as many open ones as a user may have at a time (tokenbook.limit_of):
 * the payer and each member of a team by themselves, so that none takes the others' place. What has run
 * out counts no more, booked or not.
 * Caller: internal, holding the account's lock.   Errors: too_many_holds.   Keeps: I11.
 */
create function tokenbook.check_open_holds(p_spender_id uuid, p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit integer := tokenbook.limit_of('open_holds');
begin
  if exists (
    select from public.token_holds h
     where h.user_id = p_user_id and coalesce(h.member_id, h.user_id) = p_spender_id
       and h.status = 'open' and h.expires_at > p_now
    offset v_limit - 1) -- @holds-are-bounded
  then
    perform tokenbook.refuse('too_many_holds', jsonb_build_object('limit', v_limit));
  end if;
end
$$;
comment on function tokenbook.check_open_holds is
  'Refuses one more hold to a spender who has as many open ones as a user may have.';

-- from supabase/schemas/40_holds/close_hold.sql

/*
 * Settles a hold: what lies behind the captured front of it goes back, last taken first. The caller
 * holds the account's lock, has found the hold open, and has booked the capture.
 * p_status: captured, released, or expired.
 * Caller: internal.   Returns the hold.   Keeps: I1 to I4.
 */
create function tokenbook.close_hold(
  p_hold public.token_holds,
  p_captured bigint,
  p_status text,
  p_now timestamptz,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_holds
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
begin
  update public.token_holds h
     set status = p_status, tokens_captured = p_captured, settled_at = p_now,
         tokens_uncovered = p_hold.tokens_uncovered,
         capture_id = p_hold.capture_id, overage_id = p_hold.overage_id, usage_id = p_hold.usage_id
   where h.user_id = p_hold.user_id and h.id = p_hold.id
  returning h.* into p_hold;
  if p_captured = p_hold.tokens then
    return p_hold;
  end if;

  select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from tokenbook.slice_allocations(p_hold.grant_ids, p_hold.grant_tokens, p_captured, p_hold.tokens) as part
   cross join lateral tokenbook.return_tokens(p_hold.user_id, part.grant_ids, part.grant_tokens, p_now) as back;
  v_entry.user_id := p_hold.user_id;
  v_entry.entry_type := 'release';
  v_entry.action_type := p_hold.action_type;
  v_entry.tokens := 0;
  v_entry.reserved_change := p_captured - p_hold.tokens;
  v_entry.hold_id := p_hold.id;
  v_entry.member_id := p_hold.member_id;
  v_entry.original_id := p_hold.transaction_id;
  v_entry.reason := case p_status when 'expired' then 'the hold ran out' when 'captured' then 'not needed' else 'released' end;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  v_entry.created_at := p_now;
  perform tokenbook.record_transaction(v_entry);
  if p_status <> 'expired' then -- what has run out is being booked by whoever found it
    perform tokenbook.settle_incoming(p_hold.user_id, p_now);
  end if;
  return p_hold;
end
$$;
comment on function tokenbook.close_hold is
  'Settles a hold of which that many tokens were captured: the rest goes back to its grants, last taken first.';

-- from supabase/schemas/40_holds/hold_receipt.sql

/*
 * The answer about a hold, from what is stored: the same for whoever settled it and for whoever asks
 * again.
 * Caller: internal.
 */
create function tokenbook.hold_receipt(p_hold public.token_holds, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_capture public.token_transactions;
  v_overage public.token_transactions;
begin
  if p_hold.capture_id is not null then
    select t.* into v_capture from public.token_transactions t
     where t.user_id = p_hold.user_id and t.id = p_hold.capture_id;
  end if;
  if p_hold.overage_id is not null then
    select t.* into v_overage from public.token_transactions t
     where t.user_id = p_hold.user_id and t.id = p_hold.overage_id;
  end if;
  return jsonb_build_object(
    'success', p_hold.status = 'captured',
    'hold_id', p_hold.id,
    'status', p_hold.status,
    'tokens_reserved', p_hold.tokens,
    'tokens_captured', p_hold.tokens_captured,
    'tokens_released', p_hold.tokens - p_hold.tokens_captured,
    'tokens_deducted', -coalesce(v_capture.tokens, 0) - coalesce(v_overage.tokens, 0),
    'tokens_remaining_to_deduct', p_hold.tokens_uncovered,
    'deducted_from', tokenbook.describe_allocations(v_capture) || tokenbook.describe_allocations(v_overage),
    'transaction_id', p_hold.capture_id,
    'overage_transaction_id', p_hold.overage_id,
    'usage_id', p_hold.usage_id,
    'cost_estimate', (
      select u.cost_estimate from public.token_usage u
       where u.user_id = p_hold.user_id and u.id = p_hold.usage_id),
    'settled_at', p_hold.settled_at,
    'tokens_remaining', (
      select a.tokens_remaining from public.token_accounts a where a.user_id = p_hold.user_id),
    'replayed', p_replayed);
end
$$;
comment on function tokenbook.hold_receipt is
  'What came of a hold: status, tokens reserved, captured, released and deducted, the grants that paid, the usage.';

-- from supabase/schemas/40_holds/lock_hold.sql

/*
 * Locks the account, books what is due on it (the hold too, when it has run out), and returns the
 * hold as it then is; with is_behind, and no hold, where more was due than one call books. A user settles no hold that an admin or the server made for him: he could
 * take back what a running call is about to cost; nor does a payer settle a member's.
 * A member's hold is on the account that it was taken from, whether he is still in the team or not.
 * Caller: internal.   Errors: busy, user_not_found, hold_not_found, forbidden.
 */
create function tokenbook.lock_hold(
  p_user_id uuid,
  p_hold_id uuid,
  p_actor_role text,
  out locked_at timestamptz,
  out hold public.token_holds,
  out is_behind boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account_id uuid := coalesce(
    (select h.user_id from public.token_holds h where h.member_id = p_user_id and h.id = p_hold_id), p_user_id);
  v_account public.token_accounts;
begin
  is_behind := tokenbook.settle_backlog(v_account_id);
  if is_behind then
    return;
  end if;
  v_account := tokenbook.lock_account(v_account_id); -- @hold-read-after-lock
  if v_account.user_id is null then
    perform tokenbook.require_user(v_account_id, p_actor_role);
  end if;
  locked_at := clock_timestamp();
  if v_account.next_due_at <= locked_at then
    perform tokenbook.record_expiries(array[v_account_id], locked_at);
  end if;
  select h.* into hold from public.token_holds h where h.user_id = v_account_id and h.id = p_hold_id;
  if hold.id is null then
    perform tokenbook.refuse('hold_not_found', '{}');
  end if;
  if p_actor_role = 'user' and (hold.actor_role <> 'user' or coalesce(hold.member_id, hold.user_id) <> p_user_id) then
    perform tokenbook.refuse('forbidden');
  end if;
end
$$;
comment on function tokenbook.lock_hold is
  'Locks the account, books what is due, and returns the clock and the hold; a user gets no hold that he did not make.';

-- from supabase/schemas/40_holds/refund_receipt.sql

/*
 * The answer about a refund, from what is stored. Forfeited is what went into a grant that had run
 * out by then.
 * Caller: internal.
 */
create function tokenbook.refund_receipt(p_refund public.token_transactions, p_replayed boolean)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_restored jsonb;
  v_forfeited jsonb;
begin
  select coalesce(jsonb_agg(p.part order by p.nth) filter (where not p.is_forfeited), '[]'),
         coalesce(jsonb_agg(p.part order by p.nth) filter (where p.is_forfeited), '[]')
    into v_restored, v_forfeited
    from (
      select jsonb_build_object('grant_id', b.id, 'grant_type', b.grant_type, 'tokens', a.tokens) as part,
             a.nth, coalesce(b.expires_at <= p_refund.created_at, false) as is_forfeited
        from unnest(p_refund.grant_ids, p_refund.grant_tokens) with ordinality as a (grant_id, tokens, nth)
        join public.token_balances b on b.user_id = p_refund.user_id and b.id = a.grant_id) p;
  return jsonb_build_object(
    'success', true,
    'transaction_id', p_refund.id,
    'tokens_refunded', p_refund.tokens,
    'restored', v_restored,
    'forfeited', v_forfeited,
    'tokens_refundable', (
      select -t.tokens - (
        select sum(r.tokens) from public.token_transactions r
         where r.user_id = t.user_id and r.original_id = t.id and r.entry_type = 'refund' and r.id <= p_refund.id)
        from public.token_transactions t
       where t.user_id = p_refund.user_id and t.id = p_refund.original_id),
    'tokens_remaining', (
      select t.balance_after
        from public.token_transactions t
       where t.user_id = p_refund.user_id and t.created_at = p_refund.created_at
         -- what was forfeited and what repaid a debt follows it at once
         and t.id between p_refund.id and p_refund.id + cardinality(p_refund.grant_ids) + 1
       order by t.id desc
       limit 1),
    'replayed', p_replayed);
end
$$;
comment on function tokenbook.refund_receipt is
  'What a refund gave back and what of it was forfeited, grant by grant.';

-- from supabase/schemas/40_holds/refund_tokens.sql

/*
 * Undoes a deduction, in part or whole, as often as there is something left of it: the tokens go
 * back to the very grants that paid, last taken first.
 * Into a grant that has run out: forfeit (they expire at once, in the ledger) or reissue (one new
 * grant that lives p_lifetime_days). What is owed is repaid first, as from anything that comes in.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, tokens_refunded, restored: [{grant_id, grant_type, tokens}],
 * forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_reason,
 * invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found,
 * not_refundable, refund_exceeds_charge, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.refund_tokens(
  p_user_id uuid,
  p_transaction_id bigint,
  p_tokens bigint default null,
  p_reason text default null,
  p_expired_policy text default 'forfeit',
  p_idempotency_key text default null,
  p_lifetime_days integer default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_refund public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_charge public.token_transactions;
  v_before bigint;
  v_refundable bigint;
  v_part record;
  v_expired bigint := 0;
  v_expired_type text;
  v_new public.token_balances;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_tokens is not null then
    perform tokenbook.check_tokens('p_tokens', p_tokens);
  end if;
  if p_expired_policy is null or p_expired_policy not in ('forfeit', 'reissue') then
    perform tokenbook.refuse('invalid_refund', '{"field": "p_expired_policy", "rule": "forfeit or reissue"}');
  elsif (p_expired_policy = 'reissue' and (p_lifetime_days between 1 and 36500) is not true)
    or (p_expired_policy = 'forfeit' and p_lifetime_days is not null)
  then
    perform tokenbook.refuse('invalid_refund',
      '{"field": "p_lifetime_days", "rule": "1 to 36500 with reissue, left out otherwise"}');
  end if;
  perform tokenbook.check_request(p_idempotency_key, p_reason, null);

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_strip_nulls(jsonb_build_object(
    'operation', 'refund', 'transaction_id', p_transaction_id, 'tokens', p_tokens, 'reason', p_reason,
    'expired_policy', p_expired_policy, 'lifetime_days', p_lifetime_days));
  v_entry.metadata := '{}';
  v_refund := tokenbook.find_replay(v_entry);
  select t.* into v_charge from public.token_transactions t
   where t.user_id = p_user_id and t.id = p_transaction_id;
  if v_refund.id is null and p_idempotency_key is not null then
    -- what a member spent is refunded in his name, and the key is with it
    select t.member_id into v_entry.member_id
      from public.token_team_members m
      join public.token_transactions t on t.member_id = m.member_id and t.idempotency_key = p_idempotency_key
     where m.user_id = p_user_id and t.user_id = p_user_id and t.actor_role <> 'user'
       and (t.entry_type = 'refund' or t.member_id = v_charge.member_id)
     order by t.entry_type = 'refund' desc, t.id
     limit 1;
    if v_entry.member_id is not null then
      v_refund := tokenbook.find_replay(v_entry);
    end if;
  end if;
  if v_refund.id is not null then
    return tokenbook.refund_receipt(v_refund, p_replayed => true);
  end if;

  -- act: what is left of the charge
  if v_charge.id is null then
    perform tokenbook.refuse('charge_not_found', '{}');
  elsif v_charge.entry_type <> 'deduction' then
    perform tokenbook.refuse('not_refundable', jsonb_build_object('entry_type', v_charge.entry_type));
  end if;
  select coalesce(sum(t.tokens), 0)::bigint into v_before
    from public.token_transactions t
   where t.user_id = p_user_id and t.original_id = v_charge.id and t.entry_type = 'refund';
  v_refundable := -v_charge.tokens - v_before; -- @refunded-only-once
  v_entry.tokens := coalesce(p_tokens, v_refundable);
  if v_entry.tokens > v_refundable or v_refundable = 0 then
    perform tokenbook.refuse('refund_exceeds_charge', jsonb_build_object('limit', v_refundable));
  end if;
  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_user_id], v_now);
  end if;

  -- act: back to the grants that paid, from the end of what they paid
  v_entry.grant_ids := '{}';
  v_entry.grant_tokens := '{}';
  for v_part in
    select p.grant_id, p.tokens, b.grant_type, coalesce(b.expires_at <= v_now, false) as has_expired
      from tokenbook.slice_allocations(v_charge.grant_ids, v_charge.grant_tokens,
             v_refundable - v_entry.tokens, v_refundable) as part -- @refunds-from-the-end
     cross join lateral unnest(part.grant_ids, part.grant_tokens) with ordinality as p (grant_id, tokens, nth)
      join public.token_balances b on b.user_id = p_user_id and b.id = p.grant_id
     order by p.nth desc
  loop
    if v_part.has_expired and p_expired_policy = 'reissue' then
      v_expired := v_expired + v_part.tokens;
      v_expired_type := coalesce(v_expired_type, v_part.grant_type);
    else
      v_entry.grant_ids := v_entry.grant_ids || v_part.grant_id;
      v_entry.grant_tokens := v_entry.grant_tokens || v_part.tokens;
    end if;
  end loop;
  select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
    from tokenbook.return_tokens(p_user_id, v_entry.grant_ids, v_entry.grant_tokens, v_now) as back;
  if v_expired > 0 then
    insert into public.token_balances
      (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at, metadata, created_at)
    values
      (p_user_id, v_expired_type, v_expired, v_expired, v_now, v_now + p_lifetime_days * interval '24 hours',
       jsonb_build_object('reissued_for', v_charge.id), v_now)
    returning * into v_new;
    perform tokenbook.bring_due_forward(p_user_id, v_now + p_lifetime_days * interval '24 hours');
    v_entry.grant_ids := v_entry.grant_ids || v_new.id;
    v_entry.grant_tokens := v_entry.grant_tokens || v_expired;
    v_entry.terms := jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(v_new)));
  end if;

  -- record
  v_entry.entry_type := 'refund';
  v_entry.action_type := v_charge.action_type;
  v_entry.original_id := v_charge.id;
  v_entry.member_id := v_charge.member_id;
  v_entry.usage_id := v_charge.usage_id;
  v_entry.hold_id := v_charge.hold_id;
  v_entry.created_at := v_now;
  v_refund := tokenbook.record_transaction(v_entry);
  perform tokenbook.settle_incoming(p_user_id, v_now);
  return tokenbook.refund_receipt(v_refund, p_replayed => false);
end
$$;
comment on function tokenbook.refund_tokens is
  'Undoes a deduction, in part (p_tokens) or what is left of it, back to the very grants that paid, last taken first. For an admin or the server. p_expired_policy for what paid and has run out since: forfeit (it expires at once) or reissue (a new grant that lives p_lifetime_days, 1 to 36500); p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, tokens_refunded, restored: [{grant_id, grant_type, tokens}], forfeited: [the same], tokens_refundable (what is left of the charge), tokens_remaining, replayed}. Errors: invalid_amount, invalid_reason, invalid_refund, invalid_idempotency_key, idempotency_key_reused, user_not_found, charge_not_found, not_refundable, refund_exceeds_charge, forbidden, busy.';

-- from supabase/schemas/40_holds/release_tokens.sql

/*
 * Gives back everything that a hold set aside. Once: a hold that has been captured, released or has
 * run out stays as it is, and the answer says how.
 * Caller: the user for holds he made himself, an admin, service_role.   Locks: the account.
 * Returns what tokenbook.hold_receipt says; success when the hold is now released, by whatever call.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, hold_not_found, busy.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.release_tokens(p_user_id uuid, p_hold_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_actor record;
  v_locked record;
  v_hold public.token_holds;
  v_is_open boolean;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  v_locked := tokenbook.lock_hold(p_user_id, p_hold_id, v_actor.actor_role);
  if v_locked.is_behind then
    return tokenbook.answer_busy();
  end if;
  v_hold := v_locked.hold;
  v_is_open := v_hold.status = 'open';
  if v_is_open then
    v_hold := tokenbook.close_hold(v_hold, 0, 'released', v_locked.locked_at, v_actor.actor_role, v_actor.actor_id);
  end if;
  return tokenbook.hold_receipt(v_hold, p_replayed => not v_is_open)
      || jsonb_build_object('success', v_hold.status in ('released', 'expired'));
end
$$;
comment on function tokenbook.release_tokens is
  'Gives back everything that a hold set aside; once, and a second time answers what happened the first time. For the user (holds that he made himself), an admin, or the server. Returns {success (its tokens are back), hold_id, status (captured, released, expired), tokens_reserved, tokens_captured, tokens_released, tokens_deducted, settled_at, tokens_remaining, replayed, …} as capture_tokens does. Errors: hold_not_found, user_not_found, forbidden, busy.';

-- from supabase/schemas/40_holds/reserve_tokens.sql

/*
 * Sets tokens aside for a call that is about to run: taken from the grants in burn order at once,
 * all or nothing, and remembered grant by grant. To be captured or released; else it runs out after
 * p_ttl_seconds, and whoever touches the account next releases it.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct, reserved_from,
 * expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_amount, invalid_ttl,
 * invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused,
 * user_not_found, account_frozen, too_many_holds, too_many_grants, busy.
 * Keeps: I1 to I5, I7, I8, I10.
 */
-- Security definer: clients and the server may not write the tables themselves.
create function tokenbook.reserve_tokens(
  p_user_id uuid,
  p_tokens bigint,
  p_ttl_seconds integer default null,
  p_action_type text default 'deduction',
  p_idempotency_key text default null,
  p_metadata jsonb default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- decision 27
as $$
declare
  v_entry public.token_transactions;
  v_spent record;
  v_hold public.token_holds;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_tokens('p_tokens', p_tokens);
  p_ttl_seconds := coalesce(p_ttl_seconds, (tokenbook.limits() -> 'hold_seconds')::integer);
  if p_ttl_seconds not between 1 and (tokenbook.limits() -> 'hold_seconds_at_most')::integer then
    perform tokenbook.refuse('invalid_ttl', jsonb_build_object(
      'field', 'p_ttl_seconds', 'rule', format('1 to %s', tokenbook.limits() -> 'hold_seconds_at_most')));
  end if;
  perform tokenbook.check_action_type(p_action_type);
  perform tokenbook.check_request(p_idempotency_key, null, p_metadata);

  -- lock, replay, act
  if tokenbook.settle_backlog(tokenbook.paying_account(p_user_id)) then
    return tokenbook.answer_busy();
  end if;
  v_entry.user_id := p_user_id;
  v_entry.tokens := 0;
  v_entry.reserved_change := p_tokens;
  v_entry.action_type := p_action_type;
  v_entry.reason := p_action_type;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'reserve', 'tokens', p_tokens, 'ttl_seconds', p_ttl_seconds, 'action_type', p_action_type);
  v_entry.hold_id := gen_random_uuid();
  v_entry.metadata := coalesce(p_metadata, '{}');
  v_spent := tokenbook.spend_tokens(v_entry);

  -- record
  if v_spent.replayed then
    select h.* into v_hold from public.token_holds h
     where h.user_id = (v_spent.transaction).user_id and h.id = (v_spent.transaction).hold_id;
  elsif v_spent.shortfall = 0 then
    insert into public.token_holds as h
      (user_id, id, tokens, grant_ids, grant_tokens, expires_at, action_type, actor_role,
       transaction_id, member_id, metadata, created_at)
    values
      ((v_spent.transaction).user_id, v_entry.hold_id, p_tokens, (v_spent.transaction).grant_ids, (v_spent.transaction).grant_tokens,
       (v_spent.transaction).created_at + p_ttl_seconds * interval '1 second', p_action_type, v_entry.actor_role,
       (v_spent.transaction).id, (v_spent.transaction).member_id, v_entry.metadata, (v_spent.transaction).created_at)
    returning h.* into v_hold;
    perform tokenbook.bring_due_forward(v_hold.user_id, v_hold.expires_at);
  end if;

  return jsonb_build_object(
    'success', v_hold.id is not null,
    'hold_id', v_hold.id,
    'status', v_hold.status,
    'tokens_reserved', coalesce(v_hold.tokens, 0),
    'tokens_remaining_to_deduct', v_spent.shortfall,
    'reserved_from', tokenbook.describe_allocations(v_spent.transaction),
    'expires_at', v_hold.expires_at,
    'transaction_id', (v_spent.transaction).id,
    'tokens_remaining', v_spent.tokens_remaining,
    'replayed', v_spent.replayed) || tokenbook.describe_cap(v_spent.capped_by);
end
$$;
comment on function tokenbook.reserve_tokens is
  'Sets tokens aside for a call that is about to run, all or nothing. For the user himself, an admin, or the server. p_tokens 1 to 10^12; p_ttl_seconds (left out: hold_seconds of Lists; at most hold_seconds_at_most), after which the hold has run out and its tokens are back; p_action_type what for; p_idempotency_key makes a retry safe for ever; p_metadata an object of at most 8 KiB. Returns {success, hold_id, status, tokens_reserved, tokens_remaining_to_deduct (the shortfall), reserved_from: [{grant_id, grant_type, granted_at, deducted}], expires_at, transaction_id, tokens_remaining, replayed}. Short of tokens: success false, nothing changed. Errors: invalid_amount, invalid_ttl, invalid_action_type, invalid_idempotency_key, invalid_metadata, idempotency_key_reused, user_not_found, account_frozen, too_many_holds, too_many_grants, forbidden, busy.';

-- from supabase/schemas/50_plans/ask_trial.sql

/*
 * What the policy would give of a trial to this user now. Nothing is remembered, so that it decides nothing: that
 * does tokenbook.take_trial. Where there is no key yet nobody has had a trial, and any will do.
 * Caller: internal.
 */
create function tokenbook.ask_trial(
  p_user_id uuid,
  out share text,
  out refusal text,
  out reduced_percent integer,
  out reduced_tokens bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_identifiers constant bytea[] := tokenbook.trial_identifiers(
    p_user_id, coalesce((select k.key from tokenbook.trial_keys k where k.is_current), ''));
begin
  select j.share, j.refusal, j.reduced_percent, j.reduced_tokens
    into share, refusal, reduced_percent, reduced_tokens
    from tokenbook.judge_trial(tokenbook.had_trial(v_identifiers), cardinality(v_identifiers) > 1) j;
end
$$;
comment on function tokenbook.ask_trial is 'What the policy would give of a trial to this user now; remembers nothing.';

-- from supabase/schemas/50_plans/begin_plan.sql

/*
 * A user's subscription with a period of that plan: in the place of the plan that was in force, or beside it. What
 * it takes the place of is kept beside it while its time is not over, when it is of no higher rank, or not in force
 * for a reason that may pass (paused; money that may come back): so whoever had a plan without an end before has it
 * again when this one ends. What provider and time say of each counts at once.
 * p_was is the row that there is, with what was due recorded; null: there is none.
 * Caller: internal, holding the account's lock.   Returns the row to be.
 */
create function tokenbook.begin_plan(
  p_was tokenbook.subscriptions,
  p_plan public.token_plans,
  p_start timestamptz,
  p_payment_method text,
  p_payment_id text,
  p_user_id uuid,
  p_is_beside boolean,
  p_now timestamptz
)
returns tokenbook.subscriptions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := p_was;
  v_beside jsonb := coalesce(p_was.beside, '[]');
begin
  if v_is.user_id is null then
    v_is.user_id := p_user_id;
    v_is.id := gen_random_uuid();
    v_is.tokens_limit := 0;
    v_is.created_at := p_now;
  elsif p_was.plan_type <> p_plan.plan_type
    and (p_was.ended_at is not null or p_was.paused_at is not null
      or (select p.rank from public.token_plans p where p.plan_type = p_was.plan_type) <= p_plan.rank)
  then
    v_beside := v_beside || tokenbook.plan_beside(p_was); -- @lower-plans-go-on
  end if;
  v_is.plan_type := p_plan.plan_type;
  v_is.articles_limit := p_plan.articles_limit;
  v_is.features := p_plan.features;
  v_is.billing_cycle := p_plan.billing_cycle;
  v_is.auto_renew := p_plan.billing_cycle <> 'none';
  v_is.payment_method := coalesce(p_payment_method, case when not p_is_beside then p_was.payment_method end);
  v_is.payment_id := p_payment_id; -- @plan-knows-its-payment
  v_is.period_start := p_start;
  v_is.expires_at := tokenbook.period_end(p_plan.billing_cycle, p_start);
  v_is.grace_days := tokenbook.grace_of(p_plan);
  v_is.next_plan_type := null;
  v_is.cancel_at := null;
  v_is.paused_at := null;
  v_is.taken_back_at := null;
  v_is.ended_at := null;
  v_is.schedule := tokenbook.plan_schedule(p_plan);
  v_is.next_slot_at := tokenbook.next_slot_at(v_is, p_start);
  v_is.updated_at := p_now;

  if p_is_beside then
    if exists (
      select from jsonb_array_elements(v_beside) e
       where e ->> 'plan_type' = p_plan.plan_type and (e ->> 'period_start')::timestamptz > p_start)
    then
      return p_was; -- a later period of it is there
    end if;
    v_beside := p_was.beside || tokenbook.plan_beside(v_is);
    v_is := p_was;
    v_is.updated_at := p_now;
  end if;
  -- of each plan the newest; of the one that is in force none
  v_is.beside := (
    select coalesce(jsonb_agg(newest.plan order by newest.plan ->> 'plan_type'), '[]')
      from (
        select distinct on (e.plan ->> 'plan_type') e.plan
          from jsonb_array_elements(v_beside) with ordinality as e (plan, nth)
         where e.plan ->> 'plan_type' <> v_is.plan_type
           and tokenbook.is_kept_beside(jsonb_populate_record(v_is, e.plan), p_now)
         order by e.plan ->> 'plan_type', e.nth desc) newest);
  return tokenbook.subscription_at(tokenbook.apply_provider_terms(v_is), p_now);
end
$$;
comment on function tokenbook.begin_plan is
  'A user''s subscription with a period of that plan, in the place of the one that was in force or beside it.';

-- from supabase/schemas/50_plans/change_subscription.sql

/*
 * Brings a subscription to that row, with an entry of 0 tokens in the ledger that keeps it: who or what changed the
 * plan, why, and what it is since then (terms). Whoever changes it together with tokens keeps it in their entry.
 * p_entry is the transaction to be: reason, actor, metadata.
 * Does nothing where the row is that already.
 * Caller: internal, holding the account's lock.   Keeps: I3, I9, I10.
 */
create function tokenbook.change_subscription(
  p_subscription tokenbook.subscriptions,
  p_entry public.token_transactions
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was tokenbook.subscriptions;
begin
  select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_subscription.user_id;
  p_subscription.updated_at := v_was.updated_at;
  if v_was is not distinct from p_subscription then
    return;
  end if;
  p_subscription.updated_at := clock_timestamp();
  perform tokenbook.keep_subscription(p_subscription);
  perform tokenbook.bring_due_forward(p_subscription.user_id, tokenbook.schedule_due_at(p_subscription.user_id));
  p_entry.user_id := p_subscription.user_id;
  p_entry.entry_type := 'usage';
  p_entry.action_type := 'plan_change';
  p_entry.tokens := 0;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  p_entry.metadata := coalesce(p_entry.metadata, '{}');
  p_entry.terms := jsonb_build_object('standing', tokenbook.subscription_terms(p_subscription));
  p_entry.created_at := clock_timestamp();
  perform tokenbook.record_transaction(p_entry);
  perform tokenbook.refresh_alert_thresholds(p_subscription.user_id);
end
$$;
comment on function tokenbook.change_subscription is
  'Brings a subscription to that row, with an entry of 0 tokens that keeps it and says why; nothing where it is that already.';

-- from supabase/schemas/50_plans/change_token_plan.sql

/*
 * Changes a user's plan, for the server. To a plan of a higher or equal rank at once, with its tokens
 * added in this commit; to a lower one at the end of the period, and no token is taken away.
 * A change to a lower plan has an entry of 0 tokens: the ledger says who made it, and keeps its key
 * and what it answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, invalid_payment, plan_not_found,
 * idempotency_key_reused, user_not_found, account_frozen (without a payment), trial_already_taken,
 * trial_needs_identity, balance_limit_exceeded, busy.
 * Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.change_token_plan(
  p_user_id uuid,
  p_plan_type text,
  p_payment_method text default null,
  p_payment_id text default null,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_now timestamptz;
  v_plan public.token_plans;
  v_subscription tokenbook.subscriptions;
  v_transaction public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  if octet_length(p_payment_method) > 64 or p_payment_method !~ '[^[:space:]]' then
    perform tokenbook.refuse('invalid_payment', '{"field": "p_payment_method", "rule": "1 to 64 bytes, not all blank"}');
  elsif octet_length(p_payment_id) > 255 or p_payment_id !~ '[^[:space:]]' then -- @payment-ids-are-bounded
    perform tokenbook.refuse('invalid_payment', '{"field": "p_payment_id", "rule": "1 to 255 bytes, not all blank"}');
  end if;

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay: before the catalogue is asked, which may have changed since
  v_entry.user_id := p_user_id;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'upgrade', 'plan_type', p_plan_type,
    'payment_method', p_payment_method, 'payment_id', p_payment_id);
  v_transaction := tokenbook.find_replay(v_entry);
  if v_transaction.id is null then
    v_replayed := false;
    if p_payment_id is null then -- what was paid is given
      perform tokenbook.require_active(p_user_id, v_account);
    end if;

    -- act
    perform tokenbook.settle_subscription(p_user_id);
    select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
    if v_plan.plan_type is null then
      perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
    end if;
    select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
    if v_subscription.ended_at is null and v_subscription.paused_at is null and v_subscription.expires_at > v_now
      and v_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_subscription.plan_type)
    then
      perform tokenbook.require_trial(p_user_id, p_plan_type);
      if v_account.user_id is null then
        v_account := tokenbook.lock_account(p_user_id, p_create => true);
      end if;
      if v_account.next_due_at <= v_now then
        perform tokenbook.record_expiries(array[p_user_id], v_now);
      end if;
      update tokenbook.subscriptions s
         set next_plan_type = p_plan_type, updated_at = v_now
       where s.user_id = p_user_id
      returning s.* into v_subscription;
      perform tokenbook.bring_due_forward(p_user_id, tokenbook.schedule_due_at(p_user_id));
      v_entry.reason := 'downgrade to ' || p_plan_type;
      v_entry.metadata := jsonb_build_object('plan_type', p_plan_type,
        'effective_at', v_subscription.expires_at, 'tokens_limit', v_subscription.tokens_limit);
    else
      v_entry.reason := 'upgrade to ' || p_plan_type;
      select (started.transaction).* into v_transaction
        from tokenbook.start_period(v_plan, null, p_payment_method, p_payment_id, v_entry) as started;
      v_entry.metadata := jsonb_build_object('plan_type', p_plan_type);
    end if;

    -- record: what gave no tokens
    if v_transaction.id is null then
      v_entry.entry_type := 'usage'; -- @plan-change-keeps-key
      v_entry.action_type := 'plan_change';
      v_entry.tokens := 0;
      v_entry.grant_ids := '{}';
      v_entry.grant_tokens := '{}';
      v_entry.created_at := clock_timestamp();
      v_transaction := tokenbook.record_transaction(v_entry);
    end if;
  end if;

  -- what it answers is read off its entry, so that a retry is told the same
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'effective', case when v_transaction.metadata ? 'effective_at' then 'period_end' else 'now' end,
    'effective_at', coalesce((v_transaction.metadata ->> 'effective_at')::timestamptz, v_transaction.created_at),
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', coalesce(
      (v_transaction.metadata ->> 'tokens_limit')::bigint,
      -- a debt is repaid from what came in before the plan limit is set
      (select r.balance_after from public.token_transactions r
        where r.user_id = p_user_id and r.id = v_transaction.id + 1
          and r.entry_type = 'debt_repayment' and r.created_at = v_transaction.created_at),
      v_transaction.balance_after),
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.change_token_plan is
  'Changes a user''s plan. For an admin or the server. To a plan of a higher or equal rank at once, its tokens added in the same commit; to a lower one at the end of the period, taking no token away, with an entry of 0 tokens. p_payment_method (card, paypal, …; 1 to 64 bytes) and p_payment_id (1 to 255 bytes) are kept with the subscription; p_idempotency_key makes a retry safe for ever. Returns {success, plan_type, effective (now or period_end), effective_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: plan_not_found, invalid_payment, invalid_idempotency_key, idempotency_key_reused, user_not_found, account_frozen (without p_payment_id), trial_already_taken, trial_needs_identity (of a plan whose grants are trials), balance_limit_exceeded, forbidden, busy.';

-- from supabase/schemas/50_plans/check_offer.sql

/*
 * What set_token_plan and set_token_pack have in common before they write: who asks, why, and that the fields are
 * one object. Locks the settings: catalogue changes are one after the other.
 * Caller: internal.   Returns the actor.
 * Errors: not_authenticated, forbidden, invalid_reason, p_slug (invalid_plan, invalid_pack).
 */
create function tokenbook.check_offer(
  p_slug text,
  p_field text,
  p_given jsonb,
  p_reason text,
  out actor_role text,
  out actor_id uuid
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select a.actor_role, a.actor_id into actor_role, actor_id from tokenbook.authorize_operator() a;
  if (jsonb_typeof(p_given) = 'object' and octet_length(p_given::text) <= 65536) is not true then
    perform tokenbook.refuse(p_slug, jsonb_build_object('field', p_field, 'rule', 'an object of at most 65536 bytes'));
  elsif p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  perform tokenbook.lock_settings();
end
$$;
comment on function tokenbook.check_offer is
  'Refuses who may not change the catalogue, no object and no reason; locks the settings and returns the actor.';

-- from supabase/schemas/50_plans/check_price_ids.sql

/*
 * Refuses a catalogue in which one id of a provider stands for two things, or twice for one: what was paid at it
 * would be anybody's guess. Called when it has been written, under the settings' lock.
 * Caller: internal.   Errors: p_slug (invalid_plan, invalid_pack).
 */
create function tokenbook.check_price_ids(p_slug text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text;
begin
  select i.provider into v_provider
    from public.token_price_ids i
   group by i.provider, i.price_id
  having count(*) > 1
   limit 1;
  if v_provider is not null then
    perform tokenbook.refuse(p_slug, jsonb_build_object(
      'field', case v_provider when 'stripe' then 'stripe_price_id' else 'paypal_plan_id' end,
      'rule', 'an id, now or formerly, of nothing else'));
  end if;
end
$$;
comment on function tokenbook.check_price_ids is
  'Refuses a catalogue in which one id of a provider stands for more than one thing.';

-- from supabase/schemas/50_plans/check_purchase.sql

/*
 * Refuses what nobody can buy: not exactly one of a plan and a pack, or another quantity than one may buy at
 * once. A plan is bought once.
 * Caller: internal.   Errors: invalid_purchase.
 */
create function tokenbook.check_purchase(p_plan_type text, p_pack_type text, p_quantity integer)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant integer := tokenbook.limits() -> 'pack_quantity';
begin
  if num_nonnulls(p_plan_type, p_pack_type) <> 1 then
    perform tokenbook.refuse('invalid_purchase', '{"field": "p_pack_type", "rule": "a plan or a pack, one of them"}');
  elsif p_quantity is null or p_quantity not between 1 and v_limit then
    perform tokenbook.refuse('invalid_purchase', jsonb_build_object(
      'field', 'p_quantity', 'rule', format('a whole number from 1 to %s', v_limit)));
  elsif p_plan_type is not null and p_quantity <> 1 then
    perform tokenbook.refuse('invalid_purchase', '{"field": "p_quantity", "rule": "1: a plan is bought once"}');
  end if;
end
$$;
comment on function tokenbook.check_purchase is
  'Refuses with invalid_purchase what is not exactly one plan, or 1 to 1000 of one pack.';

-- from supabase/schemas/50_plans/check_token_synchronization.sql

/*
 * Limit and balance of everyone with an active subscription, the largest difference first:
 * synced, used some, no tokens yet, mismatch (never: the balance above the plan limit), or lost: the
 * user's account is gone while the rest of their books is there. At most p_limit of them, the worst.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.check_token_synchronization(p_limit integer default 10000)
returns table (user_id uuid, email text, plan_type text, tokens_remaining bigint, tokens_limit bigint, difference bigint, status text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select s.user_id, u.email::text, s.plan_type, a.tokens_remaining, s.tokens_limit,
         s.tokens_limit - a.tokens_remaining,
         case
           when a.user_id is null and tokenbook.is_account_lost(s.user_id) then 'lost'
           when a.user_id is null
             or (not exists (select from public.token_balances b where b.user_id = s.user_id)
                 -- who begins with 0: tokenbook.grant_initial_plan
                 and not exists (
                   select from tokenbook.archived_profile_counters c
                    where c.user_id = s.user_id and c.vibe_assistant_tokens_remaining < 1)) then 'no tokens yet'
           when a.tokens_remaining = s.tokens_limit then 'synced'
           when a.tokens_remaining < s.tokens_limit then 'used some'
           else 'mismatch'
         end
    from public.token_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active
   order by 6 desc nulls first, 1
   limit p_limit;
end
$$;
comment on function tokenbook.check_token_synchronization is
  'Limit and balance of everyone with an active subscription, the largest difference first, at most p_limit (1 to 10000); status synced, used some, no tokens yet, mismatch or lost (the account is gone, the rest of the books is there). For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/50_plans/check_token_trial.sql

/*
 * Whether a user may have a trial, by the project's policy: for a page that offers one. It promises nothing: whoever
 * is faster has it (tokenbook.take_trial).
 * Of oneself only; nobody is told of somebody else's trial but admins and the server.
 * Caller: the user for themself, an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: nobody may read who had a trial.
create function tokenbook.check_token_trial(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_asked record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true); -- @trials-of-oneself
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  v_asked := tokenbook.ask_trial(p_user_id);
  return jsonb_build_object(
    'user_id', p_user_id,
    'trial', v_asked.share,
    'reason', v_asked.refusal,
    'reduced_percent', v_asked.reduced_percent,
    'reduced_tokens', v_asked.reduced_tokens);
end
$$;
comment on function tokenbook.check_token_trial is
  'Whether a user may have a trial. For the user themself, an admin, or the server. Returns {user_id, trial (full, reduced or none), reason (of none: trial_already_taken, or trial_needs_identity: they have neither an address nor a phone number nor an identity at a provider), reduced_percent, reduced_tokens (of reduced, one of the two)}. Errors: user_not_found, forbidden.';

-- from supabase/schemas/50_plans/date_default_plan.sql

/*
 * Dates the default plan: given_to_users_since is the moment at which is_default turns true, unless the
 * writer says another, and is cleared when it turns false. A plan that has been in the catalogue for a
 * year is then not given to everybody who signed up in that year.
 * Caller: a trigger on token_plans.
 */
create function tokenbook.date_default_plan()
returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.is_default then
    new.given_to_users_since := coalesce(new.given_to_users_since, now());
  elsif tg_op = 'UPDATE' and old.is_default and new.given_to_users_since = old.given_to_users_since then
    new.given_to_users_since := null;
  end if;
  return new;
end
$$;
comment on function tokenbook.date_default_plan is
  'Trigger on token_plans: given_to_users_since is when is_default turned true, unless the writer says another.';

create trigger token_plans_date_default_plan
  before insert or update on public.token_plans
  for each row execute function tokenbook.date_default_plan();

-- from supabase/schemas/50_plans/due_slots.sql

/*
 * What an account is due at p_at by the schedules of its plans, one row a grant, in the order in which they are booked:
 * the grant to be. The one answer for who looks (tokenbook.tokens_due, tokenbook.choose_grants) and for who
 * books (tokenbook.issue_slots). What a refill gives is what there was room for when its slot began: nothing was spent
 * since, or it would be booked. So it makes no difference when it is.
 * Nothing while the account is frozen, after its user was deleted, or when all the money of the plan is gone; no
 * more than an account may hold.
 * A part of the plan's money that is gone takes its part of each slot: taken_back, and the grant has that much less left.
 * Caller: internal.   Keeps: I7, I11, I12.
 */
create function tokenbook.due_slots(p_user_id uuid, p_at timestamptz)
returns setof tokenbook.due_slot
language plpgsql
stable -- sees what the statement that asks sees: a balance and its grants are of one moment
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription tokenbook.subscriptions;
  v_account public.token_accounts;
  v_payment public.token_payments;
  v_scheduled tokenbook.scheduled_slot;
  v_grant public.token_balances;
  v_grants public.token_balances[] := '{}';
  v_had bigint;
  v_room bigint;
  v_slot tokenbook.due_slot;
begin
  select s.* into v_subscription
    from tokenbook.subscriptions s
   where s.user_id = p_user_id
     and (s.next_slot_at <= p_at
       or (s.next_plan_type is not null or s.beside <> '[]') and (s.expires_at <= p_at or s.cancel_at <= p_at));
  if v_subscription.user_id is null then
    return; -- as a rule
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  if (v_account.state = 'active') is not true -- @frozen-gets-no-slots
    or not tokenbook.is_user(p_user_id)
  then
    return;
  end if;
  v_room := 9007199254740991 - v_account.tokens_remaining - v_account.tokens_reserved - v_account.tokens_used;

  for v_scheduled in select s.* from tokenbook.scheduled_slots(v_subscription, p_at) s
  loop
    v_grant := v_scheduled.slot;
    v_slot.kept := v_scheduled.kept;
    if v_scheduled.refill_to is not null then
      v_had := tokenbook.plan_tokens_at(p_user_id, v_grant.subscription_id, v_scheduled.filled_at) + coalesce((
        select sum(g.tokens_remaining) from unnest(v_grants) g -- what an earlier plan gives in this very answer
         where g.expires_at > v_scheduled.filled_at or g.expires_at is null), 0);
      v_grant.tokens_granted := least(v_grant.tokens_granted, v_scheduled.refill_to - v_had);
      v_slot.kept := v_slot.kept || jsonb_build_object('had', v_had);
    end if;
    v_grant.tokens_granted := least(v_grant.tokens_granted, v_room);
    if v_payment.id is distinct from v_scheduled.payment_id then
      select p.* into v_payment
        from public.token_payments p where p.user_id = p_user_id and p.id = v_scheduled.payment_id;
    end if;
    v_slot.payment_id := v_payment.id;
    v_slot.taken_back := tokenbook.slot_share(
      v_payment.tokens, v_grant.tokens_granted, v_payment.refunded_cents + v_payment.disputed_cents, v_payment.amount_cents);
    continue when v_grant.tokens_granted < 1 or v_grant.tokens_granted <= v_slot.taken_back;
    v_grant.tokens_remaining := v_grant.tokens_granted - v_slot.taken_back;
    if exists (
      select from public.token_balances b
       where b.user_id = p_user_id and b.subscription_id = v_grant.subscription_id and b.period_start = v_grant.period_start)
    then
      v_grant.period_start := null; -- a period of a plan that is kept beside began at the same moment
    end if;
    v_slot.slot := v_grant;
    return next v_slot;
    v_grants := v_grants || v_grant;
    v_room := v_room - v_grant.tokens_granted;
    v_payment.tokens := v_payment.tokens + v_grant.tokens_granted;
  end loop;
end
$$;
comment on function tokenbook.due_slots is
  'What an account is due at p_at by the schedules of its plans, in the order in which it is booked.';

-- from supabase/schemas/50_plans/due_slots_as_of.sql

/*
 * What an account was due at a moment that has passed by the schedules of its plans, and had not been booked by then:
 * what tokenbook.due_slots said at that moment, from the ledger up to then. The subscription is the one that the newest
 * entry keeps; what there was when a slot began is what the entries before it had left; and an account that was frozen
 * got nothing, and the newest slot once it was not any more.
 * In passes over the user's ledger.
 * Caller: tokenbook.get_token_balance_as_of.   Returns the grants that were to be.   Keeps: I7.
 */
create function tokenbook.due_slots_as_of(p_user_id uuid, p_at timestamptz)
returns setof public.token_balances
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest record; -- the entry that keeps the subscription
  v_subscription tokenbook.subscriptions;
  v_state record;
  v_scheduled tokenbook.scheduled_slot;
  v_grant public.token_balances;
  v_grants public.token_balances[] := '{}';
  v_payment record;
  v_taken_back bigint;
begin
  select t.id, t.created_at, coalesce(t.terms -> 'subscription', t.terms -> 'standing') as kept into v_newest
    from public.token_transactions t
   where t.user_id = p_user_id and t.created_at <= p_at and (t.terms ? 'subscription' or t.terms ? 'standing')
   order by t.id desc
   limit 1;
  if v_newest.kept ->> 'schedule' is null and v_newest.kept ->> 'beside' = '[]' and v_newest.kept ->> 'next_plan_type' is null
    or v_newest.id is null
    or not tokenbook.is_user(p_user_id)
  then
    return; -- as a rule
  end if;
  v_subscription := jsonb_populate_record(null::tokenbook.subscriptions, v_newest.kept);
  v_subscription.user_id := p_user_id;
  -- an entry keeps no NULLs, and a plan beside has those that it says
  v_subscription.beside := (
    select coalesce(jsonb_agg(tokenbook.plan_beside(jsonb_populate_record(null::tokenbook.subscriptions, '{}')) || e.plan order by e.nth), '[]')
      from jsonb_array_elements(v_subscription.beside) with ordinality as e (plan, nth));
  -- who asked for a lower plan since
  select t.metadata ->> 'plan_type' into v_subscription.next_plan_type
    from public.token_transactions t
   where t.user_id = p_user_id and t.id > v_newest.id and t.created_at <= p_at
     and t.action_type = 'plan_change' and t.metadata ? 'effective_at'
   order by t.id desc
   limit 1;
  v_subscription.next_plan_type := coalesce(v_subscription.next_plan_type, v_newest.kept ->> 'next_plan_type');
  select c.details ->> 'state' as state, c.created_at into v_state
    from tokenbook.changes c
   where c.user_id = p_user_id and c.change = 'set_token_account_state' and c.created_at <= p_at
   order by c.id desc
   limit 1;
  if v_state.state = 'frozen' then
    return;
  elsif v_state.created_at >= v_subscription.next_slot_at then
    v_subscription.next_slot_at := tokenbook.newest_slot_at(v_subscription, v_state.created_at);
  end if;

  for v_scheduled in select s.* from tokenbook.scheduled_slots(v_subscription, p_at) s
  loop
    v_grant := v_scheduled.slot;
    if v_scheduled.refill_to is not null then
      v_grant.tokens_granted := least(v_grant.tokens_granted, v_scheduled.refill_to - coalesce((
        select sum(part.tokens * sign(t.tokens))
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
          join public.token_balances b on b.user_id = t.user_id and b.id = part.grant_id
         where t.user_id = p_user_id and t.created_at <= p_at
           -- who renews late, or was frozen, has what there is since then
           and (t.created_at < v_scheduled.filled_at or t.id <= v_newest.id or t.created_at <= v_state.created_at)
           and b.subscription_id = v_grant.subscription_id
           and coalesce(tokenbook.expiry_as_granted(b) > v_scheduled.filled_at, true)), 0) - coalesce((
        select sum(g.tokens_remaining) from unnest(v_grants) g
         where g.expires_at > v_scheduled.filled_at or g.expires_at is null), 0));
    end if;
    select (sum(t.tokens) filter (where t.entry_type = 'grant'))::bigint as given,
           (array_agg(t.terms -> 'refund' order by t.id desc) filter (where t.terms ? 'refund'))[1] as refund
      into v_payment
      from public.token_transactions t
     where t.user_id = p_user_id and t.created_at <= p_at
       and v_scheduled.payment_id::text in (t.payment_id::text, t.terms -> 'slots' ->> 'payment_id');
    v_taken_back := tokenbook.slot_share(
      v_payment.given + coalesce((select sum(g.tokens_granted) from unnest(v_grants) g), 0)::bigint, v_grant.tokens_granted,
      (v_payment.refund ->> 'refunded_cents')::bigint + (v_payment.refund ->> 'disputed_cents')::bigint,
      (v_payment.refund ->> 'amount_cents')::bigint);
    continue when v_grant.tokens_granted < 1 or v_grant.tokens_granted <= v_taken_back;
    v_grant.tokens_remaining := v_grant.tokens_granted - v_taken_back;
    return next v_grant;
    v_grants := v_grants || v_grant;
  end loop;
end
$$;
comment on function tokenbook.due_slots_as_of is
  'What an account was due at a moment by the schedules of its plans, and had not been booked by then: grants that were to be.';

-- from supabase/schemas/50_plans/find_offer.sql

/*
 * A plan or a pack as the catalogue sells it now: what so many of it cost, and what it gives. Exactly one of
 * the two is named. NULL where there is none; one that is not offered any more is found too, and is_offered says so.
 * terms: what a payment keeps of it from the moment it was asked for (token_payments.terms), by the names of the
 * catalogue's columns, which is what token_offer_now looks them up by.
 * Caller: internal.
 */
create function tokenbook.find_offer(
  p_plan_type text,
  p_pack_type text,
  p_quantity integer default 1,
  out amount_cents bigint,
  out currency text,
  out is_offered boolean,
  out terms jsonb
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select o.price_cents * p_quantity, o.currency, o.is_offered, o.terms
    into amount_cents, currency, is_offered, terms
    from (
      select p.price_cents, p.currency, p.is_offered, jsonb_build_object(
               'name', p.name, 'tokens', p.tokens, 'grant_lifetime_days', p.grant_lifetime_days,
               'issue_every', p.issue_every, 'issue_on', p.issue_on, 'refill_to', p.refill_to,
               'articles_limit', p.articles_limit, 'storage_gb', p.storage_gb, 'features', p.features) as terms
        from public.token_plans p
       where p.plan_type = p_plan_type
      union all
      select p.price_cents, p.currency, p.is_offered, jsonb_build_object(
               'name', p.name, 'tokens', p.tokens, 'lifetime_days', p.lifetime_days, 'priority', p.priority)
        from public.token_packs p
       where p.pack_type = p_pack_type) o;
end
$$;
comment on function tokenbook.find_offer is
  'A plan or a pack as the catalogue sells it now: what so many cost, whether it is offered, and its terms.';

-- from supabase/schemas/50_plans/get_user_storage_quota.sql

/*
 * A user's storage quota: the sum of what they were given, what came with a plan while that plan is in force.
 * Caller: the user for themselves (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Returns {total_quota_gb}.   Errors: not_authenticated, forbidden, invalid_user_id.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.get_user_storage_quota(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize(p_user_id, p_self_may => true);
  return jsonb_build_object('total_quota_gb', (
    select coalesce(sum(q.quota_gb), 0) from public.token_storage_quotas q
     where q.user_id = p_user_id and tokenbook.is_storage_in_force(q)));
end
$$;
comment on function tokenbook.get_user_storage_quota is
  'The user''s storage quota in gigabytes, the sum of what they were given; what came with a plan counts while that plan is in force: {total_quota_gb}. For the user themself (leave p_user_id out), an admin, or the server. Errors: not_authenticated, forbidden.';

-- from supabase/schemas/50_plans/get_users_without_token_balance.sql

/*
 * Users with an active subscription and no account: always none, or registration is broken. In pages,
 * by user: the next begins after the last user_id.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.get_users_without_token_balance(p_limit integer default 1000, p_after uuid default null)
returns table (user_id uuid, email text, plan_type text, tokens_limit bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  return query
  select s.user_id, u.email::text, s.plan_type, s.tokens_limit
    from public.token_subscriptions s
    left join public.token_accounts a on a.user_id = s.user_id
    left join auth.users u on u.id = s.user_id
   where s.is_active and a.user_id is null and (p_after is null or s.user_id > p_after)
   order by s.user_id
   limit p_limit;
end
$$;
comment on function tokenbook.get_users_without_token_balance is
  'Users with an active subscription and no account: always 0 rows. In the order of users, p_limit (1 to 10000) a page; the next page begins after p_after. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/50_plans/grace_of.sql

/*
 * Days of grace that a period of that plan begins with: what the plan says, else 3 where it costs something.
 * Caller: internal.
 */
create function tokenbook.grace_of(p_plan public.token_plans)
returns integer
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(p_plan.grace_days, case when p_plan.price_cents > 0 then 3 else 0 end);
end
$$;
comment on function tokenbook.grace_of is
  'Days of grace that a period of that plan begins with: its own, else 3 where it costs something and 0 where not.';

-- from supabase/schemas/50_plans/grant_initial_plan.sql

/*
 * Gives the plan's tokens to a user who never had a grant: at registration, and by whoever
 * touches the books of one whom registration missed. Once, under any concurrency: "never had a
 * grant" is asked again under the lock, and it is a fact of the books, not a reading of the
 * balance. Who spent everything stays at zero.
 * A user without a subscription gets the default plan; where there is none, or they signed up before
 * it is given (given_to_users_since), nothing: a default plan that is added to a project in
 * production is for whoever comes, not for everyone who is there. Who has no date of sign-up is new only
 * while they sign up.
 * A default plan whose grants are trials is given as the policy says (tokenbook.take_trial): where that is nothing,
 * no plan begins either. While somebody signs up it is not known yet who they are: their first touch gives it.
 * Nor does it give anything to a frozen account, or where grants have been and are gone: the account or the ledger says so.
 * Caller: internal.   Locks: the account.   Errors: account_lost.   Keeps: I5, I9.
 */
create function tokenbook.grant_initial_plan(p_user_id uuid, p_is_new boolean default false)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
  v_subscription tokenbook.subscriptions;
  v_user record;
  v_entry public.token_transactions;
begin
  if exists (select from public.token_balances b where b.user_id = p_user_id)
    -- a counter from before the books that says 0: a fact, as a grant with 0 left is
    or exists (select from tokenbook.archived_profile_counters c where c.user_id = p_user_id and c.vibe_assistant_tokens_remaining < 1)
  then
    return;
  end if;
  if exists (
    select from public.token_accounts a
     where a.user_id = p_user_id and a.tokens_remaining + a.tokens_reserved > 0
       and not exists (select from public.token_balances b where b.user_id = a.user_id))
  then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  select u.id, coalesce(u.created_at, case when p_is_new then now() else '-infinity' end) as signed_up_at into v_user
    from auth.users u where u.id = p_user_id and tokenbook.is_user(u.id);
  select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
  if v_subscription.user_id is not null then
    v_subscription := tokenbook.subscription_at(v_subscription, clock_timestamp());
  end if;
  select p.* into v_plan
    from public.token_plans p
   where case when v_subscription.user_id is null then p.is_default and v_user.signed_up_at >= p.given_to_users_since
              else p.plan_type = v_subscription.plan_type and v_subscription.ended_at is null and v_subscription.paused_at is null end;
  if v_plan.plan_type is null or v_user.id is null or (p_is_new and v_plan.grant_type = 'trial') then -- @trials-know-identities
    return;
  end if;

  if tokenbook.is_frozen(tokenbook.lock_account(p_user_id, p_create => true), null) then -- @no-plan-while-frozen
    return;
  end if;
  if exists (select from public.token_balances b where b.user_id = p_user_id) then -- @initial-plan-after-lock
    return; -- somebody was faster
  end if;
  if exists (select from public.token_transactions t where t.user_id = p_user_id and t.grant_ids <> '{}') -- @ledger-asked-too
    or tokenbook.is_ledger_lost(p_user_id)
  then
    perform tokenbook.refuse('account_lost', '{}');
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := v_plan.plan_type || ' plan';
  v_entry.actor_role := 'system';
  v_entry.metadata := '{}';
  perform tokenbook.start_period(v_plan, v_subscription.period_start, null, null, v_entry);
end
$$;
comment on function tokenbook.grant_initial_plan is
  'Gives a user who never had a grant the tokens of their plan, or of the default plan; once. p_is_new: they sign up just now.';

-- from supabase/schemas/50_plans/grant_of_period.sql

/*
 * The grant of a period of that plan, NULL when it has none: of two plans beside each other one may begin in the
 * moment in which the other does. Which plan a grant is of says its payment, else the entry that gave it.
 * A slot of a plan's schedule is no period.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.grant_of_period(
  p_user_id uuid,
  p_subscription_id uuid,
  p_plan_type text,
  p_period_start timestamptz
)
returns public.token_balances
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant public.token_balances;
begin
  select b.* into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.subscription_id = p_subscription_id and b.period_start = p_period_start
     and b.id <> tokenbook.slot_grant_id(p_subscription_id, p_period_start) -- what a schedule gave is of no period
     and coalesce(
       (select p.to_plan from public.token_payments p where p.user_id = b.user_id and p.id = b.payment_id),
       (select t.terms -> 'subscription' ->> 'plan_type' from public.token_transactions t
         where t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id),
       p_plan_type) = p_plan_type;
  return v_grant;
end
$$;
comment on function tokenbook.grant_of_period is
  'The grant of a period of that plan, NULL when it has none.';

-- from supabase/schemas/50_plans/had_trial.sql

/*
 * Whether a trial was given to whoever is known by one of these.
 * Caller: internal.
 */
create function tokenbook.had_trial(p_identifiers bytea[])
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (select from tokenbook.trials_taken t where t.identifier = any (p_identifiers));
end
$$;
comment on function tokenbook.had_trial is 'Whether somebody who is known by one of these digests has had a trial.';

-- from supabase/schemas/50_plans/hand_plan_over.sql

/*
 * Makes the plan that a payment began the plan of another: one that was booked before it was known as a part of that.
 * Caller: internal, holding the account's lock.   Keeps: I9, I10.
 */
create function tokenbook.hand_plan_over(
  p_from public.token_payments,
  p_to public.token_payments,
  p_actor_role text,
  p_actor_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions;
  v_entry public.token_transactions;
begin
  select s.* into v_is from tokenbook.subscriptions s where s.user_id = p_from.user_id;
  if v_is.user_id is null then
    return;
  end if;
  if v_is.payment_id = p_from.id::text then
    v_is.payment_id := p_to.id;
  end if;
  v_is.beside := (
    select coalesce(jsonb_agg(
             case when e.plan ->> 'payment_id' = p_from.id::text
                  then e.plan || jsonb_build_object('payment_id', p_to.id) else e.plan end
             order by e.nth), '[]')
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth));
  v_entry.reason := 'a payment was part of another';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  perform tokenbook.change_subscription(v_is, v_entry);
end
$$;
comment on function tokenbook.hand_plan_over is
  'Makes the plan that one payment began the plan of another, of which that one was a part.';

-- from supabase/schemas/50_plans/hmac_sha256.sql

/*
 * HMAC-SHA256 (RFC 2104) out of what Postgres brings: pgcrypto, which has it, is not in every project, and where
 * it is, it is in a schema of the project's choice.
 * Caller: internal.
 */
create function tokenbook.hmac_sha256(p_key bytea, p_message bytea)
returns bytea
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key constant bytea := case when length(p_key) > 64 then sha256(p_key) else p_key end;
  v_inner bytea := decode(repeat('36', 64), 'hex');
  v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
  for i in 0 .. length(v_key) - 1 loop
    v_inner := set_byte(v_inner, i, get_byte(v_inner, i) # get_byte(v_key, i));
    v_outer := set_byte(v_outer, i, get_byte(v_outer, i) # get_byte(v_key, i));
  end loop;
  return sha256(v_outer || sha256(v_inner || p_message));
end
$$;
comment on function tokenbook.hmac_sha256 is 'HMAC-SHA256 of a message under a key (RFC 2104).';

-- from supabase/schemas/50_plans/is_kept_beside.sql

/*
 * Whether a plan is worth keeping beside another: its time is not over, so it may be in force again. One that is
 * cancelled counts as if it were not: until its period ends, its provider may say otherwise.
 * Caller: internal, and whoever reads token_subscriptions.
 */
create function tokenbook.is_kept_beside(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (p_subscription.expires_at + p_subscription.grace_days * interval '24 hours' <= p_at) is not true;
end
$$;
comment on function tokenbook.is_kept_beside is
  'Whether a plan''s time is not over at that moment, so that it may be in force again.';

-- from supabase/schemas/50_plans/is_storage_in_force.sql

/*
 * Whether a storage quota counts now: what came with a plan does while that plan is in force, what was given beside
 * one always. So storage goes and comes with the plan, whatever ends it, and with the payment that bought it.
 * Caller: internal, and whoever reads token_storage_quotas.
 */
create function tokenbook.is_storage_in_force(p_quota public.token_storage_quotas)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return not p_quota.metadata ? 'plan' -- @storage-follows-the-plan
    or exists (
      select from public.token_subscriptions s
       where s.user_id = p_quota.user_id and s.id = p_quota.subscription_id
         and s.plan_type = p_quota.metadata ->> 'plan');
end
$$;
comment on function tokenbook.is_storage_in_force is
  'Whether a storage quota counts now: what came with a plan does while that plan is in force.';

create policy "Users read their own storage quotas" on public.token_storage_quotas
  for select to authenticated
  using ((select auth.uid()) = user_id and tokenbook.is_storage_in_force(token_storage_quotas));

-- from supabase/schemas/50_plans/issue_slots.sql

/*
 * Books what an account is due by the schedules of its plans (tokenbook.due_slots), one grant and entry each, and moves
 * the subscription on to its next slot. Before anything else that is due is booked: what a slot gives depends on
 * what there was when it began, and what has run out since was there.
 * A plan without an end that nobody paid for follows the catalogue: after a slot its terms are today's.
 * Caller: tokenbook.record_expiries, holding the account's lock, which sets what the account is due next and the plan
 * limit.   Returns how many grants.   Keeps: I2, I3, I4, I9, I10, I11, I12.
 */
create function tokenbook.issue_slots(p_user_id uuid, p_now timestamptz)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_slots tokenbook.due_slot[] := array(select d from tokenbook.due_slots(p_user_id, p_now) d);
  v_slot tokenbook.due_slot;
  v_grant public.token_balances;
  v_subscription tokenbook.subscriptions;
  v_schedule jsonb;
  v_entry public.token_transactions;
begin
  perform tokenbook.record_subscription(p_user_id, p_now);
  select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
  if (v_subscription.next_slot_at <= p_now) is true then
    v_schedule := v_subscription.schedule;
    if v_subscription.expires_at is null and v_subscription.payment_id is null then
      v_subscription.schedule := (
        select tokenbook.plan_schedule(p) from public.token_plans p where p.plan_type = v_subscription.plan_type);
    end if;
    -- what is not in force any more keeps its place: it may be again
    v_subscription.next_slot_at := tokenbook.next_slot_at(
      v_subscription, least(p_now, tokenbook.slots_until(v_subscription) - interval '1 microsecond')); -- @each-slot-once
    if v_slots = '{}' and v_subscription.schedule is distinct from v_schedule then
      v_entry.reason := v_subscription.plan_type || ' has another schedule';
      v_entry.actor_role := 'system';
      perform tokenbook.change_subscription(v_subscription, v_entry);
    else
      update tokenbook.subscriptions s
         set schedule = v_subscription.schedule, next_slot_at = v_subscription.next_slot_at
       where s.user_id = p_user_id;
    end if;
  end if;

  foreach v_slot in array v_slots
  loop
    v_grant := v_slot.slot;
    insert into public.token_balances
      (user_id, id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
       subscription_id, period_start, metadata, created_at)
    values
      (p_user_id, v_grant.id, v_grant.grant_type, v_grant.tokens_granted, v_grant.tokens_remaining,
       v_grant.priority, v_grant.granted_at, v_grant.expires_at,
       v_grant.subscription_id, v_grant.period_start, v_grant.metadata, p_now);
    v_entry := null;
    v_entry.user_id := p_user_id;
    v_entry.entry_type := 'grant';
    v_entry.action_type := 'scheduled_grant';
    v_entry.tokens := v_grant.tokens_granted;
    v_entry.grant_ids := array[v_grant.id];
    v_entry.grant_tokens := array[v_grant.tokens_granted];
    v_entry.reason := 'the plan''s schedule';
    v_entry.actor_role := 'system';
    v_entry.metadata := v_grant.metadata;
    v_entry.created_at := p_now;
    v_entry.terms := jsonb_build_object(
      'grants', jsonb_build_array(tokenbook.grant_terms(v_grant)),
      'slots', v_slot.kept,
      'subscription', tokenbook.subscription_terms(v_subscription));
    perform tokenbook.record_transaction(v_entry);

    if v_slot.payment_id is not null then
      -- a refund takes its share of this slot too
      update public.token_payments p
         set tokens = p.tokens + v_grant.tokens_granted,
             tokens_clawed_back = p.tokens_clawed_back + v_slot.taken_back
       where p.user_id = p_user_id and p.id = v_slot.payment_id;
    end if;
    if v_slot.taken_back > 0 then
      v_entry.entry_type := 'clawback';
      v_entry.action_type := 'clawback';
      v_entry.tokens := -v_slot.taken_back;
      v_entry.grant_tokens := array[v_slot.taken_back];
      v_entry.reason := 'the share of a slot whose money is gone';
      v_entry.payment_id := v_slot.payment_id;
      v_entry.terms := jsonb_build_object('refund', (
        select jsonb_build_object('amount_cents', p.amount_cents, 'refunded_cents', p.refunded_cents, 'disputed_cents', p.disputed_cents)
          from public.token_payments p where p.user_id = p_user_id and p.id = v_slot.payment_id));
      perform tokenbook.record_transaction(v_entry);
    end if;
  end loop;
  return cardinality(v_slots);
end
$$;
comment on function tokenbook.issue_slots is
  'Books what an account is due by the schedules of its plans, and moves its subscription on to the next slot; the caller holds its lock.';

-- from supabase/schemas/50_plans/judge_trial.sql

/*
 * What the project's policy gives of a trial: all of it (full), a part (reduced), or nothing (none) and why.
 * A first trial is given in full to whoever can be recognised the next time. Who is known by nothing but their id is
 * treated like who had one: else each anonymous sign-in would be another person.
 * Caller: internal.
 */
create function tokenbook.judge_trial(
  p_had_one boolean,
  p_is_recognisable boolean,
  out share text,
  out refusal text,
  out reduced_percent integer,
  out reduced_tokens bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chosen tokenbook.chosen_trial_policy;
begin
  select c.* into v_chosen from tokenbook.chosen_trial_policy c where c.is_current;
  if v_chosen.policy = 'allow' or (p_is_recognisable and not p_had_one) then
    share := 'full';
  elsif v_chosen.policy = 'reduced' then
    share := 'reduced';
    reduced_percent := v_chosen.reduced_percent;
    reduced_tokens := v_chosen.reduced_tokens;
  else
    share := 'none';
    refusal := case when p_had_one then 'trial_already_taken' else 'trial_needs_identity' end;
  end if;
end
$$;
comment on function tokenbook.judge_trial is
  'What the policy gives of a trial to somebody who had one or not, and whom one can recognise or not: full, reduced or none, with the refusal.';

-- from supabase/schemas/50_plans/keep_former_ids.sql

/*
 * Fields to be written to the catalogue, and what they call differently: the id that a provider had for it until
 * now joins the former ones, and one that is back leaves them. So a subscription that goes on at an old price
 * still gets what it pays for, and nobody has to think of it.
 * Caller: internal.
 */
create function tokenbook.keep_former_ids(p_given jsonb, p_row jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_former text;
  v_ids jsonb;
begin
  foreach v_name in array array['stripe_price_id', 'paypal_plan_id'] loop
    v_former := format('former_%ss', v_name);
    v_ids := coalesce(p_given -> v_former, p_row -> v_former);
    if p_given ? v_name and jsonb_typeof(v_ids) = 'array'
      and p_row ->> v_name is distinct from p_given ->> v_name
    then
      v_ids := v_ids - coalesce(p_given ->> v_name, '');
      if p_row ->> v_name is not null then
        v_ids := v_ids - (p_row ->> v_name) || (p_row -> v_name);
      end if;
      p_given := p_given || jsonb_build_object(v_former, v_ids);
    end if;
  end loop;
  return p_given;
end
$$;
comment on function tokenbook.keep_former_ids is
  'Fields to be written to the catalogue, with the ids that they replace among the former ones.';

-- from supabase/schemas/50_plans/keep_subscription.sql

/*
 * Writes a subscription's row, a new one or in the place of the one that there is. What its
 * schedule makes the account due then is the caller's to say (tokenbook.bring_due_forward).
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.keep_subscription(p_subscription tokenbook.subscriptions)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into tokenbook.subscriptions as s select p_subscription.*
  on conflict (user_id) do update
     set plan_type = excluded.plan_type,
         articles_limit = excluded.articles_limit,
         features = excluded.features,
         billing_cycle = excluded.billing_cycle,
         auto_renew = excluded.auto_renew,
         payment_method = excluded.payment_method,
         payment_id = excluded.payment_id,
         period_start = excluded.period_start,
         expires_at = excluded.expires_at,
         grace_days = excluded.grace_days,
         next_plan_type = excluded.next_plan_type,
         schedule = excluded.schedule,
         next_slot_at = excluded.next_slot_at,
         cancel_at = excluded.cancel_at,
         paused_at = excluded.paused_at,
         taken_back_at = excluded.taken_back_at,
         ended_at = excluded.ended_at,
         beside = excluded.beside,
         updated_at = excluded.updated_at;
end
$$;
comment on function tokenbook.keep_subscription is
  'Writes a subscription''s row: all but the plan limit, and what never changes of it.';

-- from supabase/schemas/50_plans/move_plan_limit.sql

/*
 * Moves the plan limit by what a clawback took or gave back, or by nothing; never below the balance.
 * Caller: internal, holding the account's lock.   Keeps: I9.
 */
create function tokenbook.move_plan_limit(p_user_id uuid, p_by bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update tokenbook.subscriptions s
     set tokens_limit = greatest(s.tokens_limit + p_by, a.tokens_remaining), updated_at = clock_timestamp()
    from public.token_accounts a
   where s.user_id = p_user_id and a.user_id = s.user_id
     and (p_by <> 0 or a.tokens_remaining > s.tokens_limit);
  if found then
    perform tokenbook.refresh_alert_thresholds(p_user_id);
  end if;
end
$$;
comment on function tokenbook.move_plan_limit is 'Moves tokens_limit of a subscription by that many tokens, never below the balance.';

-- from supabase/schemas/50_plans/newest_slot_at.sql

/*
 * Which slot of a subscription is due first when nothing is made up of what began before p_at: the one in which that
 * lies, or the next one that is not booked, if that comes later. NULL = none in this period.
 * Caller: internal, and whoever reads token_subscriptions.
 */
create function tokenbook.newest_slot_at(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  if p_subscription.next_slot_at is null then
    return null; -- as a rule
  end if;
  v_at := greatest(p_subscription.next_slot_at, tokenbook.slot_start( -- @frozen-time-is-lost
    p_subscription.schedule, p_subscription.period_start,
    tokenbook.slot_number(p_subscription.schedule, p_subscription.period_start, greatest(p_at, p_subscription.period_start))));
  return case when v_at < coalesce(p_subscription.expires_at, 'infinity') then v_at end;
end
$$;
comment on function tokenbook.newest_slot_at is
  'Which slot of a subscription is due first when nothing is made up of what began before p_at; NULL = none.';

-- from supabase/schemas/50_plans/next_slot_at.sql

/*
 * When a subscription's next slot begins after that moment; NULL = its plan has no schedule, or is over before.
 * Caller: internal.
 */
create function tokenbook.next_slot_at(p_subscription tokenbook.subscriptions, p_after timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  if p_subscription.schedule is null then
    return null; -- as a rule
  end if;
  v_at := tokenbook.slot_start(
    p_subscription.schedule, p_subscription.period_start,
    tokenbook.slot_number(p_subscription.schedule, p_subscription.period_start, p_after) + 1);
  return case when v_at < coalesce(p_subscription.expires_at, 'infinity') then v_at end;
end
$$;
comment on function tokenbook.next_slot_at is
  'When a subscription''s next slot begins after that moment; NULL = there is none.';

-- from supabase/schemas/50_plans/normal_address.sql

/*
 * One form for all the ways of writing one mailbox: without blanks around it, in Unicode's compatibility form
 * (NFKC: full-width letters, ligatures, letters with a separate accent), in lower case, without what follows a plus
 * sign; at Gmail without dots, and googlemail.com is gmail.com. Lower case is ASCII's: the auth server writes every
 * address in lower case itself, and what more a collation would do depends on the server.
 * A plus sign at the start is part of the name (a phone number). Quotes that a name does not need are no part of it; one
 * that needs them is left as it is, and so is a domain, in letters or in their punycode (xn--): the auth server takes
 * neither. Dots count
 * everywhere but at Gmail. The guide (docs/guides/trials.md) says where each rule is documented.
 * Caller: internal.
 */
create function tokenbook.normal_address(p_email text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_blanks constant text := ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13);
  v_address constant text := lower(btrim(normalize(p_email, nfkc), v_blanks) collate "C");
  v_domain text := rtrim(substring(v_address from '@([^@]*)$'), '.');
  v_name text := substring(v_address from '^(.*)@');
begin
  v_name := coalesce(substring(v_name from '^"([^]"(),:;<>@[\\. [:cntrl:]]+([.][^]"(),:;<>@[\\. [:cntrl:]]+)*)"$'), v_name); -- @needless-quotes-go
  if v_name is null or v_name like '"%' then
    return v_address;
  end if;
  if strpos(v_name, '+') > 1 then
    v_name := split_part(v_name, '+', 1); -- @tags-are-no-names
  end if;
  if v_domain in ('gmail.com', 'googlemail.com') then
    v_domain := 'gmail.com';
    v_name := replace(v_name, '.', '');
  end if;
  return v_name || '@' || v_domain;
end
$$;
comment on function tokenbook.normal_address is 'An e-mail address in the one form that all ways of writing its mailbox have in common.';

-- from supabase/schemas/50_plans/period_end.sql

/*
 * When a period of that cycle ends; NULL = it does not. Months and years are the calendar's, in
 * UTC: what began on the 31st ends on the last day of a shorter month.
 * Caller: internal.
 */
create function tokenbook.period_end(p_billing_cycle text, p_start timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case p_billing_cycle
    when '28day' then p_start + interval '672 hours'
    when 'monthly' then (p_start at time zone 'utc' + interval '1 month') at time zone 'utc' -- @months-in-utc
    when 'annual' then (p_start at time zone 'utc' + interval '1 year') at time zone 'utc'
  end;
end
$$;
comment on function tokenbook.period_end is 'End of a billing period that begins then; NULL when the cycle has no end.';

-- from supabase/schemas/50_plans/plan_beside.sql

/*
 * The plan of a subscription's row as it is kept beside another: the columns that are the plan's and not the user's.
 * Caller: internal, and whoever reads token_subscriptions.
 */
create function tokenbook.plan_beside(p_subscription tokenbook.subscriptions)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- how a moment is written must not make it another
as $$
begin
  return to_jsonb(p_subscription)
    - array['user_id', 'id', 'tokens_limit', 'ended_at', 'beside', 'created_at', 'updated_at'];
end
$$;
comment on function tokenbook.plan_beside is
  'The plan of a subscription''s row as it is kept beside another, as JSON.';

-- from supabase/schemas/50_plans/plan_ends_at.sql

/*
 * When a plan that nobody renews is over: at the end of what was paid and its days of grace, or when it was
 * cancelled for, whichever comes first; NULL = never.
 * Caller: internal, and whoever reads token_subscriptions.
 */
create function tokenbook.plan_ends_at(p_subscription tokenbook.subscriptions)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(
    p_subscription.cancel_at, -- @cancelled-has-no-grace
    p_subscription.expires_at + p_subscription.grace_days * interval '24 hours'); -- @grace-after-the-end
end
$$;
comment on function tokenbook.plan_ends_at is
  'When a plan that nobody renews is over: the end of its grace, or its cancellation; NULL = never.';

-- from supabase/schemas/50_plans/plan_schedule.sql

/*
 * The schedule on which a plan gives its tokens, as a subscription keeps it from the moment that its period begins:
 * {every, on, tokens (of a slot), refill_to, lifetime_days, grant_type}. NULL: the period's tokens are given at once.
 * Caller: internal.
 */
create function tokenbook.plan_schedule(p_plan public.token_plans)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_plan.issue_every is not null then jsonb_strip_nulls(jsonb_build_object(
    'every', p_plan.issue_every, 'on', p_plan.issue_on, 'tokens', p_plan.tokens, 'refill_to', p_plan.refill_to,
    'lifetime_days', p_plan.grant_lifetime_days, 'grant_type', p_plan.grant_type)) end;
end
$$;
comment on function tokenbook.plan_schedule is
  'The schedule on which a plan gives its tokens, as a subscription keeps it; NULL: all of a period at once.';

-- from supabase/schemas/50_plans/plan_tokens_at.sql

/*
 * What a user has of their plan at that moment, which nothing was spent since: what is left of the subscription's
 * grants that live then, and what holds have set aside of them. That is not spent: who holds tokens while a slot
 * begins would otherwise have them twice.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.plan_tokens_at(p_user_id uuid, p_subscription_id uuid, p_at timestamptz)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((
      select sum(b.tokens_remaining)
        from public.token_balances b
       where b.user_id = p_user_id and b.subscription_id = p_subscription_id and b.is_open
         and (b.expires_at > p_at or b.expires_at is null)), 0) -- @what-there-was-then
    + coalesce((
      select sum(part.tokens)
        from public.token_holds h
       cross join lateral unnest(h.grant_ids, h.grant_tokens) as part (grant_id, tokens)
        join public.token_balances b on b.user_id = h.user_id and b.id = part.grant_id
       where h.user_id = p_user_id and h.status = 'open' -- @held-is-not-spent
         and b.subscription_id = p_subscription_id and (b.expires_at > p_at or b.expires_at is null)), 0);
end
$$;
comment on function tokenbook.plan_tokens_at is
  'What a user has at that moment of the tokens that came with their subscription, held ones included.';

-- from supabase/schemas/50_plans/record_subscription.sql

/*
 * Records what is due of a user's subscription: a downgrade to a plan that costs nothing, a plan that ended, another
 * that goes on in its place; and what its provider says of it (tokenbook.apply_provider_terms). Nothing may depend on
 * a job, and nothing depends on this: what is in force is shown whether it has been recorded or not
 * (tokenbook.subscription_at). Gives no tokens and takes none; an entry of 0 tokens keeps it.
 * Caller: tokenbook.settle_subscription and tokenbook.issue_slots, which have booked what the plan had given until then.
 * Locks: the account.   Keeps: I9, I10.
 */
create function tokenbook.record_subscription(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_was tokenbook.subscriptions;
  v_is tokenbook.subscriptions;
  v_told tokenbook.subscriptions;
  v_ended_at timestamptz;
  v_entry public.token_transactions;
begin
  v_account := tokenbook.lock_account(p_user_id);
  select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_user_id;
  if v_account.user_id is null or v_was.user_id is null then
    return;
  end if;
  v_told := tokenbook.apply_provider_terms(v_was);
  v_is := tokenbook.subscription_at(v_told, p_now);
  if v_is is not distinct from v_was then -- as a rule
    return;
  end if;

  v_entry.reason := case
    when v_is.ended_at is not null then v_is.plan_type || ' ended'
    when v_is.plan_type = v_was.next_plan_type then 'downgrade to ' || v_is.plan_type
    when v_is.plan_type <> v_was.plan_type then v_is.plan_type || ' instead of ' || v_was.plan_type
    when v_is.paused_at is not null then v_is.plan_type || ' is paused'
    when v_is.cancel_at is not null then v_is.plan_type || ' is cancelled'
    else v_is.plan_type || ' goes on'
  end;
  v_entry.actor_role := 'system';
  perform tokenbook.change_subscription(v_is, v_entry);

  v_ended_at := tokenbook.plan_ends_at(v_told);
  if v_ended_at <= p_now and v_was.ended_at is null and v_was.taken_back_at is null
    and v_is.plan_type is distinct from v_was.next_plan_type
  then
    perform tokenbook.tell_of_subscription(
      p_user_id, 'subscription_ended', v_ended_at, jsonb_build_object('ended_plan_type', v_was.plan_type));
  end if;
end
$$;
comment on function tokenbook.record_subscription is
  'Records what is due of a user''s subscription: which plan is in force now; changes no tokens.';

-- from supabase/schemas/50_plans/register_user.sql

/*
 * Gives a new user the default plan in the commit that makes them. A fault of ours must not keep
 * anybody from signing up: whole classes of errors are caught by name, the attempt is rolled back
 * and noted, and the user is healed by their first balance read or deduction (tokenbook.grant_initial_plan).
 * Where the note cannot be written either, the warning in the log is what is left. Waits for locks are
 * bounded, and a wait that was in vain is a fault like any other.
 * What cannot be caught (the server going down, a cancelled statement) fails the sign-up as a
 * whole, as it would without us. See docs/decisions/0015-registration.md.
 * A default plan that is a trial waits for that first touch: the auth server writes the user first, and then their
 * identity at a provider, which says too whether they had one before.
 */
create function tokenbook.register_user()
returns trigger
language plpgsql
volatile
security definer -- sign-up runs as a role that may not write the books
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- or an open change of the catalogue would hold sign-ups up
as $$
declare
  v_error text;
begin
  loop
    begin
      if v_error is null then
        perform tokenbook.grant_initial_plan(new.id, p_is_new => true);
      else
        insert into tokenbook.failed_registrations (user_id, error) values (new.id, v_error);
      end if;
      return new;
    exception
      when sqlstate 'PT000' -- every refusal of ours
        or data_exception or integrity_constraint_violation or syntax_error_or_access_rule_violation
        or transaction_rollback or object_not_in_prerequisite_state or insufficient_resources
        or program_limit_exceeded or plpgsql_error or invalid_transaction_state
        or feature_not_supported or sql_routine_exception or external_routine_exception
        or external_routine_invocation_exception or cardinality_violation or case_not_found
        or invalid_schema_name or invalid_catalog_name or invalid_grantor or invalid_role_specification
        or invalid_authorization_specification or dependent_privilege_descriptors_still_exist
        or triggered_action_exception or triggered_data_change_violation or with_check_option_violation
        or invalid_cursor_state or invalid_cursor_name or invalid_sql_statement_name
        or invalid_transaction_initiation or invalid_transaction_termination or savepoint_exception
        or locator_exception or diagnostics_exception or connection_exception or fdw_error
        or sql_statement_not_yet_complete or system_error or config_file_error or internal_error
      then
        raise warning 'user % could not be given a plan: % %', new.id, sqlstate, sqlerrm;
        if v_error is not null then -- not even noted
          return new;
        end if;
        v_error := sqlstate || ' ' || sqlerrm;
    end;
  end loop;
end
$$;
comment on function tokenbook.register_user is
  'Trigger on auth.users: gives a new user the default plan. Its faults never block the sign-up.';

create trigger tokenbook_register_user
  after insert on auth.users
  for each row execute function tokenbook.register_user();

-- from supabase/schemas/50_plans/remember_trial.sql

/*
 * Remembers that a user has had a trial, by everything that they are known by now. Of two who are known by the same
 * thing, whoever comes second waits for the first's commit, two seconds at most; then busy.
 * Caller: internal, holding the account's lock (but in the trigger on auth.users).   Locks: the digests.
 * Returns by how many things they are known, and how many of these were remembered before.   Errors: busy.
 */
create function tokenbook.remember_trial(
  p_user_id uuid,
  out identifiers integer,
  out known_before integer
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_identifiers constant bytea[] := tokenbook.trial_identifiers(p_user_id, tokenbook.trial_key());
  v_new integer;
begin
  insert into tokenbook.trials_taken (identifier) -- @first-digest-decides begin
  select i.identifier from unnest(v_identifiers) as i (identifier)
   order by i.identifier
  on conflict do nothing;
  get diagnostics v_new = row_count; -- @first-digest-decides end
  identifiers := cardinality(v_identifiers);
  known_before := identifiers - v_new;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.remember_trial is
  'Remembers that a user has had a trial, by everything that they are known by now; by how many things, and how many of them were remembered before.';

-- from supabase/schemas/50_plans/renew_token_subscription.sql

/*
 * Starts the next period of a user's subscription: a new grant, never a reset, made once per period.
 * After a downgrade it is the period of the lower plan. Left out, p_period_start is the end of the
 * present period; of a plan that has ended, now. Nothing changes before that moment.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, subscription_not_found, not_due_yet,
 * trial_already_taken, trial_needs_identity, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.renew_token_subscription(
  p_user_id uuid,
  p_period_start timestamptz default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_account public.token_accounts;
  v_subscription tokenbook.subscriptions;
  v_plan public.token_plans;
  v_start timestamptz;
  v_present public.token_balances;
  v_started record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_account(p_user_id);
  perform tokenbook.settle_subscription(p_user_id); -- @due-downgrade-first
  select s.* into v_subscription from tokenbook.subscriptions s where s.user_id = p_user_id;
  if v_subscription.user_id is null or v_subscription.paused_at is not null then
    perform tokenbook.refuse('subscription_not_found', '{}');
  end if;
  -- nobody pays for time in which no plan was in force
  v_start := coalesce(
    p_period_start,
    case when v_subscription.ended_at is not null then clock_timestamp() else v_subscription.expires_at end); -- @renewed-after-the-end
  v_present := tokenbook.grant_of_period(p_user_id, v_subscription.id, v_subscription.plan_type, v_start);
  if v_present.id is null
    and (v_start >= v_subscription.expires_at and v_start <= clock_timestamp()) is not true
  then
    perform tokenbook.refuse('not_due_yet', jsonb_build_object('due_at', v_subscription.expires_at));
  end if;

  select p.* into v_plan from public.token_plans p
   where p.plan_type = case when v_present.id is null then coalesce(v_subscription.next_plan_type, v_subscription.plan_type)
                            else v_subscription.plan_type end;
  v_entry.user_id := p_user_id;
  v_entry.action_type := 'renewal_grant';
  v_entry.reason := v_plan.plan_type || ' renewal';
  v_entry.metadata := '{}';
  v_started := tokenbook.start_period(v_plan, v_start, v_subscription.payment_method, null, v_entry);
  v_transaction := v_started.transaction;
  v_subscription := v_started.subscription;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'plan_type', v_subscription.plan_type,
    'period_start', v_start,
    'expires_at', v_subscription.expires_at,
    'tokens_granted', coalesce(v_transaction.tokens, 0),
    'tokens_limit', v_subscription.tokens_limit,
    'tokens_remaining', coalesce(v_transaction.balance_after, v_account.tokens_remaining),
    'transaction_id', v_transaction.id,
    'replayed', v_started.replayed);
end
$$;
comment on function tokenbook.renew_token_subscription is
  'Starts the next period of a subscription: a new grant, once per period; after a downgrade, of the lower plan. For an admin or the server. p_period_start left out: the end of the present period, or now when the plan has ended meanwhile (and no other has taken its place). Returns {success, plan_type, period_start, expires_at, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: subscription_not_found, not_due_yet, trial_already_taken, trial_needs_identity, balance_limit_exceeded, forbidden, busy.';

-- from supabase/schemas/50_plans/require_trial.sql

/*
 * Refuses what would lead to a trial that the policy does not give: a payment to ask for, a checkout, a downgrade at
 * the end of the period. So that nobody is asked for money, or waits, for what they will not get.
 * Caller: internal.   Errors: trial_already_taken, trial_needs_identity.
 */
create function tokenbook.require_trial(p_user_id uuid, p_plan_type text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_refusal text;
begin
  if exists (select from public.token_plans p where p.plan_type = p_plan_type and p.grant_type = 'trial') then
    v_refusal := (tokenbook.ask_trial(p_user_id)).refusal;
    if v_refusal is not null then
      perform tokenbook.refuse(v_refusal, '{}');
    end if;
  end if;
end
$$;
comment on function tokenbook.require_trial is
  'Refuses a plan whose grants are trials to whom the policy gives none.';

-- from supabase/schemas/50_plans/roll_over.sql

/*
 * Carries what a closing period has left into a new grant, as far as the plan that it was on allows
 * (token_plans.rollover_…). Called when the next period begins, under the account's lock, with what
 * was due booked.
 *
 * What carries over is what the period's own grant has left; or, when it ran out no earlier than
 * the next period began, what it lost then: that takes back a part of its expiry. What is above the
 * limit stays where it is and keeps its own terms. A rollover never shortens the life of a token:
 * a grant that outlives what it would be carried into keeps everything.
 * A period is carried over once, and what was carried over is not carried over again.
 * Caller: internal.   Keeps: I1 to I5, I7, I10.
 */
create function tokenbook.roll_over(
  p_subscription tokenbook.subscriptions,
  p_next_start timestamptz,
  p_actor_role text,
  p_actor_id uuid,
  p_now timestamptz
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
  v_closing public.token_balances;
  v_expires_at timestamptz;
  v_entry public.token_transactions;
  v_source public.token_transactions;
  v_left bigint;
  v_tokens bigint;
  v_carried public.token_balances;
begin
  select p.* into v_plan from public.token_plans p where p.plan_type = p_subscription.plan_type;
  if coalesce(v_plan.rollover_tokens, v_plan.rollover_percent) is null then
    return;
  end if;
  v_closing := tokenbook.grant_of_period(
    p_subscription.user_id, p_subscription.id, p_subscription.plan_type, p_subscription.period_start);
  v_expires_at := p_now + v_plan.rollover_lifetime_days * interval '24 hours';
  if v_closing.id is null or v_closing.voided_at is not null
    or coalesce(v_closing.expires_at, 'infinity') >= coalesce(v_expires_at, 'infinity')
    or exists (
      select from public.token_balances b
       where b.user_id = v_closing.user_id and b.rolled_over_from = v_closing.id) -- @carried-over-once
  then
    return;
  end if;

  v_left := v_closing.tokens_remaining;
  if v_closing.expires_at <= p_now and v_closing.expires_at >= p_next_start then
    -- its running out is its first expiry; a later one is of what came back too late
    select t.* into v_source
      from public.token_transactions t
     where t.user_id = v_closing.user_id and t.entry_type = 'expiry' and t.grant_ids[1] = v_closing.id
     order by t.id
     limit 1;
    v_left := coalesce(-v_source.tokens, 0);
  end if;
  v_tokens := least(v_left, v_plan.rollover_tokens, v_closing.tokens_granted * v_plan.rollover_percent / 100);
  if v_tokens = 0 then
    return;
  end if;

  v_entry.user_id := v_closing.user_id;
  v_entry.entry_type := 'rollover';
  v_entry.action_type := 'rollover';
  v_entry.reason := 'left of the period before';
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := jsonb_build_object('period_start', v_closing.period_start);
  v_entry.created_at := p_now;

  if v_source.id is null then
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining - v_tokens, is_open = b.tokens_remaining > v_tokens -- @carried-over-comes-out
     where b.user_id = v_closing.user_id and b.id = v_closing.id;
    v_entry.tokens := -v_tokens;
    v_entry.grant_ids := array[v_closing.id];
    v_entry.grant_tokens := array[v_tokens];
    v_source := tokenbook.record_transaction(v_entry);
  else
    update public.token_accounts a
       set tokens_expired = a.tokens_expired - v_tokens
     where a.user_id = v_closing.user_id;
  end if;

  insert into public.token_balances
    (user_id, grant_type, tokens_granted, tokens_remaining, priority, granted_at, expires_at,
     subscription_id, rolled_over_from, metadata, created_at)
  values
    (v_closing.user_id, v_closing.grant_type, v_tokens, v_tokens, v_closing.priority, p_now, v_expires_at,
     v_closing.subscription_id, v_closing.id, v_entry.metadata, p_now)
  returning * into v_carried;
  perform tokenbook.bring_due_forward(v_closing.user_id, v_expires_at);
  v_entry.tokens := v_tokens;
  v_entry.grant_ids := array[v_carried.id];
  v_entry.grant_tokens := array[v_tokens];
  v_entry.original_id := v_source.id;
  v_entry.terms := jsonb_build_object('grants', jsonb_build_array(tokenbook.grant_terms(v_carried)));
  perform tokenbook.record_transaction(v_entry);
  perform tokenbook.settle_incoming(v_closing.user_id, p_now);
end
$$;
comment on function tokenbook.roll_over is
  'Carries what a closing period has left into a new grant, within the limits of its plan; once a period. The caller holds the account''s lock.';

-- from supabase/schemas/50_plans/schedule_due_at.sql

/*
 * When the schedule of a user's plan makes their account due: when its next slot begins, or when another plan takes its
 * place that has a schedule. NULL = never; a frozen account and one whose user was deleted get nothing.
 * Caller: internal.   Keeps: I7.
 */
create function tokenbook.schedule_due_at(p_user_id uuid)
returns timestamptz
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at timestamptz;
begin
  select least(
           case when s.next_slot_at < coalesce(tokenbook.slots_until(s), 'infinity') then s.next_slot_at end,
           case when s.ended_at is null and exists (
             select from public.token_plans p
              where p.plan_type = s.next_plan_type and p.price_cents = 0 and p.issue_every is not null)
             then s.expires_at end,
           case when s.ended_at is null and exists (
             select from jsonb_array_elements(s.beside) as e (plan) where jsonb_typeof(e.plan -> 'schedule') = 'object')
             then tokenbook.plan_ends_at(s) end)
    into v_at
    from tokenbook.subscriptions s
    join public.token_accounts a on a.user_id = s.user_id
   where s.user_id = p_user_id and a.state = 'active'
     and (num_nonnulls(s.next_slot_at, s.next_plan_type) > 0 or s.beside <> '[]');
  return case when v_at is not null and tokenbook.is_user(p_user_id) then v_at end;
end
$$;
comment on function tokenbook.schedule_due_at is
  'When the schedule of a user''s plan makes their account due; NULL = never.';

-- from supabase/schemas/50_plans/scheduled_slots.sql

/*
 * What the schedules of a subscription's plans give at most that is not booked by p_at, one row a grant, in the order in
 * which they are booked. A plan that has ended gives what began before, and the one that follows it what begins then.
 * How much of it there is room and money for, tokenbook.due_slots says, and tokenbook.due_slots_as_of for a moment
 * that has passed.
 * Caller: internal.   Keeps: I11.
 */
create function tokenbook.scheduled_slots(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns setof tokenbook.scheduled_slot
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan record;
  v_due record;
  v_slot tokenbook.scheduled_slot;
  v_grant public.token_balances;
begin
  for v_plan in
    select (c.kept).*, c.since, tokenbook.slots_until(c.kept) as slots_until
      from tokenbook.subscription_course(p_subscription, p_at) c
     where (c.kept).next_slot_at <= p_at
  loop
    v_slot.refill_to := v_plan.schedule -> 'refill_to';
    v_slot.payment_id := case
      when v_plan.payment_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_plan.payment_id::uuid end;
    for v_due in
      select d.* from tokenbook.slots_between(
        v_plan.schedule, v_plan.period_start, v_plan.slots_until, v_plan.next_slot_at, p_at) d
    loop
      v_slot.kept := jsonb_strip_nulls(jsonb_build_object(
        'first', v_due.first_start, 'count', v_due.slots, 'schedule', v_plan.schedule,
        'period_start', v_plan.period_start, 'until', v_plan.slots_until, 'payment_id', v_slot.payment_id));
      v_slot.filled_at := greatest(v_due.slot_start, v_plan.since);
      v_grant.user_id := v_plan.user_id;
      v_grant.id := tokenbook.slot_grant_id(v_plan.id, v_due.slot_start); -- @one-slot-one-grant
      v_grant.grant_type := v_plan.schedule ->> 'grant_type';
      v_grant.tokens_granted := v_due.tokens;
      v_grant.tokens_remaining := v_due.tokens;
      v_grant.is_open := true;
      v_grant.priority := 50;
      v_grant.granted_at := v_due.slot_start;
      v_grant.expires_at := v_due.expires_at;
      v_grant.subscription_id := v_plan.id;
      v_grant.period_start := v_due.slot_start;
      v_grant.metadata := '{}';
      v_grant.created_at := p_at;
      v_slot.slot := v_grant;
      return next v_slot;
    end loop;
  end loop;
end
$$;
comment on function tokenbook.scheduled_slots is
  'What the schedules of a subscription''s plans give at most that is not booked by p_at, in the order in which it is booked.';

-- from supabase/schemas/50_plans/set_token_pack.sql

/*
 * Makes a pack, or changes the fields that are given of one that is there. It counts for whoever buys from now on:
 * what was bought stays as it was given, and payments that wait keep the terms they were asked for at. A former
 * name at Stripe still counts for the pack. The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_pack, invalid_reason.   Keeps: I10.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.set_token_pack(
  p_pack_type text,
  p_pack jsonb,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_pack public.token_packs;
  v_written record;
begin
  v_actor := tokenbook.check_offer('invalid_pack', 'p_pack', p_pack, p_reason);

  select p.* into v_pack from public.token_packs p where p.pack_type = p_pack_type;
  v_written := tokenbook.write_offer(
    'invalid_pack', 'token_packs', 'pack_type', p_pack_type, tokenbook.keep_former_ids(p_pack, to_jsonb(v_pack)),
    case when v_pack.pack_type is not null then to_jsonb(v_pack) end);
  perform tokenbook.check_price_ids('invalid_pack');

  if v_written.changed <> '{}' then
    perform tokenbook.record_change(
      'set_token_pack', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'pack_type', p_pack_type, 'is_new', v_written.before is null, 'changed', v_written.changed,
        'before', (select jsonb_object_agg(c, v_written.before -> c) from unnest(v_written.changed) c
                    where v_written.before is not null),
        'after', (select jsonb_object_agg(c, v_written.after -> c) from unnest(v_written.changed) c)));
  end if;
  return jsonb_build_object(
    'success', true,
    'pack_type', p_pack_type,
    'is_new', v_written.before is null,
    'changed', v_written.changed,
    'pack', v_written.after);
end
$$;
comment on function tokenbook.set_token_pack is
  'Makes a pack, or changes those of its fields that are given. For an admin or the server. p_pack {name, tokens (1 to 10^9), price_cents, lifetime_days (null: for ever), priority, currency, stripe_price_id, is_offered, …}: fields of token_packs by name; a new one needs name, tokens and price_cents. p_reason 1 to 500 characters. It counts for whoever buys from now on; payments that wait keep the terms they were asked for at. A stripe_price_id that is replaced joins the former ones, which still count for the pack. list_token_changes has the history. Returns {success, pack_type, is_new, changed: [field, …], pack (the row)}. Errors: invalid_pack, invalid_reason, forbidden.';

-- from supabase/schemas/50_plans/set_token_plan.sql

/*
 * Makes a plan, or changes the fields that are given of one that is there. What changed counts from the next
 * period of each user on (rank, price, offer, names at providers: at once); payments that wait keep the terms they
 * were asked for at. The length of periods and the type of grants are what a plan is: they stay while anybody
 * is on it, is to be, or has asked for it.
 * A former name at a provider still counts for the plan. is_default true takes it from the plan that had it.
 * The same again changes nothing.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_plan, invalid_reason, plan_in_use.   Keeps: I10.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.set_token_plan(
  p_plan_type text,
  p_plan jsonb,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_plan public.token_plans;
  v_fixed text;
  v_default_before text;
  v_written record;
begin
  v_actor := tokenbook.check_offer('invalid_plan', 'p_plan', p_plan, p_reason);

  select p.* into v_plan from public.token_plans p where p.plan_type = p_plan_type;
  select f.name into v_fixed
    from (values ('billing_cycle', v_plan.billing_cycle), ('grant_type', v_plan.grant_type)) as f (name, value)
   where v_plan.plan_type is not null and p_plan ? f.name and p_plan ->> f.name is distinct from f.value
   limit 1;
  if v_fixed is not null then
    perform from public.token_plans p where p.plan_type = p_plan_type for update; -- whoever is about to join waits
    if exists (
      select from tokenbook.subscriptions s
       where (p_plan_type in (s.plan_type, s.next_plan_type) and s.ended_at is null)
          or s.beside @> jsonb_build_array(jsonb_build_object('plan_type', p_plan_type))
      union all
      select from public.token_payments p where p.to_plan = p_plan_type and p.status = 'pending') -- @plans-in-use-stay
    then
      perform tokenbook.refuse('plan_in_use', jsonb_build_object('field', v_fixed));
    end if;
  end if;

  if p_plan -> 'is_default' = 'true' then
    update public.token_plans p
       set is_default = false, updated_at = clock_timestamp()
     where p.is_default and p.plan_type is distinct from p_plan_type
    returning p.plan_type into v_default_before;
  end if;
  v_written := tokenbook.write_offer(
    'invalid_plan', 'token_plans', 'plan_type', p_plan_type, tokenbook.keep_former_ids(p_plan, to_jsonb(v_plan)),
    case when v_plan.plan_type is not null then to_jsonb(v_plan) end);
  perform tokenbook.check_price_ids('invalid_plan');

  if v_written.changed <> '{}' or v_default_before is not null then
    perform tokenbook.record_change(
      'set_token_plan', null, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'plan_type', p_plan_type, 'is_new', v_written.before is null, 'changed', v_written.changed,
        'default_before', v_default_before,
        'before', (select jsonb_object_agg(c, v_written.before -> c) from unnest(v_written.changed) c
                    where v_written.before is not null),
        'after', (select jsonb_object_agg(c, v_written.after -> c) from unnest(v_written.changed) c)));
  end if;
  return jsonb_build_object(
    'success', true,
    'plan_type', p_plan_type,
    'is_new', v_written.before is null,
    'changed', v_written.changed,
    'plan', v_written.after);
end
$$;
comment on function tokenbook.set_token_plan is
  'Makes a plan, or changes those of its fields that are given. For an admin or the server. p_plan {name, tokens, …}: fields of token_plans by name; a new one needs name and tokens. p_reason 1 to 500 characters. It counts from each user''s next period on; rank, price, offer and names at providers at once; payments that wait keep the terms they were asked for at. billing_cycle and grant_type stay while anybody is on the plan, is to be, or has asked for it. A stripe_price_id or paypal_plan_id that is replaced joins the former ones, which still count for the plan. is_default true takes it from the plan that had it. list_token_changes has the history. Returns {success, plan_type, is_new, changed: [field, …], plan (the row)}. Errors: invalid_plan, invalid_reason, plan_in_use, forbidden.';

-- from supabase/schemas/50_plans/set_token_trial_policy.sql

/*
 * Chooses what whoever had a trial gets of another, for the whole project, from now on: all of it (allow), nothing
 * (refuse, the default), or a part (reduced): p_reduced_percent of its tokens or p_reduced_tokens. Trials are
 * remembered whichever it is.
 * Caller: service_role.   Locks: nothing.
 * Errors: invalid_trial_policy, unsupported_media_type, invalid_request.   Keeps: I10.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.set_token_trial_policy(
  p_policy text,
  p_reduced_percent integer default null,
  p_reduced_tokens bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit constant bigint := tokenbook.limits() -> 'tokens';
  v_chosen jsonb;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_policy is null or p_policy not in ('allow', 'refuse', 'reduced') then
    perform tokenbook.refuse('invalid_trial_policy', '{"field": "p_policy", "rule": "allow, refuse or reduced"}');
  elsif num_nonnulls(p_reduced_percent, p_reduced_tokens) <> (case p_policy when 'reduced' then 1 else 0 end) then
    perform tokenbook.refuse('invalid_trial_policy', jsonb_build_object(
      'field', 'p_reduced_percent',
      'rule', case p_policy when 'reduced' then 'this or p_reduced_tokens, one of the two'
                            else 'neither this nor p_reduced_tokens: they are for reduced' end));
  elsif p_reduced_percent not between 1 and 99 then
    perform tokenbook.refuse('invalid_trial_policy', '{"field": "p_reduced_percent", "rule": "1 to 99"}');
  elsif p_reduced_tokens not between 1 and v_limit then
    perform tokenbook.refuse('invalid_trial_policy', jsonb_build_object(
      'field', 'p_reduced_tokens', 'rule', format('1 to %s', v_limit)));
  end if;
  insert into tokenbook.chosen_trial_policy as c (policy, reduced_percent, reduced_tokens)
  values (p_policy, p_reduced_percent, p_reduced_tokens)
  on conflict (is_current) do update
     set policy = excluded.policy, reduced_percent = excluded.reduced_percent,
         reduced_tokens = excluded.reduced_tokens, chosen_at = clock_timestamp();
  v_chosen := jsonb_build_object(
    'policy', p_policy, 'reduced_percent', p_reduced_percent, 'reduced_tokens', p_reduced_tokens);
  perform tokenbook.record_change('set_token_trial_policy', null, 'service', null, null, v_chosen);
  return jsonb_build_object('success', true) || v_chosen;
end
$$;
comment on function tokenbook.set_token_trial_policy is
  'Chooses what whoever had a trial gets of another, from now on: p_policy allow (all of it), refuse (nothing; the default) or reduced (p_reduced_percent of its tokens, 1 to 99, or p_reduced_tokens). For the server. Returns {success, policy, reduced_percent, reduced_tokens}. Errors: invalid_trial_policy.';

-- from supabase/schemas/50_plans/settle_plan_of_payment.sql

/*
 * Takes the plan that a payment bought out of force when all of its money is gone, and puts it back in when not all
 * is any more: with its period, its storage, and what was beside it. A plan that a later payment has renewed is that
 * one's.
 * Caller: internal, holding the account's lock.   Keeps: I9, I10.
 */
create function tokenbook.settle_plan_of_payment(
  p_payment public.token_payments,
  p_is_taken_back boolean,
  p_actor_role text,
  p_actor_id uuid
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- how a moment is written must not make it another
as $$
declare
  v_is tokenbook.subscriptions;
  v_taken_back_at timestamptz := case when p_is_taken_back then clock_timestamp() end; -- @plan-follows-the-money
  v_entry public.token_transactions;
begin
  select s.* into v_is from tokenbook.subscriptions s where s.user_id = p_payment.user_id;
  if v_is.user_id is null then
    return;
  end if;
  if v_is.payment_id = p_payment.id::text and (v_is.taken_back_at is not null) <> p_is_taken_back then
    v_is.taken_back_at := v_taken_back_at;
  end if;
  v_is.beside := (
    select coalesce(jsonb_agg(
             case when e.plan ->> 'payment_id' = p_payment.id::text
                       and (e.plan ->> 'taken_back_at' is not null) <> p_is_taken_back
                  then e.plan || jsonb_build_object('taken_back_at', v_taken_back_at) else e.plan end
             order by e.nth), '[]')
      from jsonb_array_elements(v_is.beside) with ordinality as e (plan, nth));
  v_entry.reason := case when p_is_taken_back then 'the money for ' || p_payment.to_plan || ' is gone'
                         else 'the money for ' || p_payment.to_plan || ' came back' end;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  perform tokenbook.change_subscription(tokenbook.subscription_at(v_is, clock_timestamp()), v_entry);
end
$$;
comment on function tokenbook.settle_plan_of_payment is
  'Takes the plan that a payment bought out of force when all of its money is gone, and back in when not all is any more.';

-- from supabase/schemas/50_plans/settle_subscription.sql

/*
 * Brings a user's subscription up to date: books what its schedule gave while the plan was in force, and then records what
 * is due of the plan itself (tokenbook.record_subscription). For whoever touches the account and looks at its plan.
 * Caller: internal.   Locks: the account.   Keeps: I9, I10.
 */
create function tokenbook.settle_subscription(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.lock_account(p_user_id);
  if tokenbook.schedule_due_at(p_user_id) <= clock_timestamp() then
    perform tokenbook.record_expiries(array[p_user_id], clock_timestamp(), p_in_portions => true);
  end if;
  perform tokenbook.record_subscription(p_user_id, clock_timestamp());
end
$$;
comment on function tokenbook.settle_subscription is
  'Books what the schedule of a user''s plan gave, and records what is due of their subscription.';

-- from supabase/schemas/50_plans/skip_missed_slots.sql

/*
 * Of the slots that began while an account got none, leaves the newest: that one is due now, what came before
 * it is not made up.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.skip_missed_slots(p_user_id uuid, p_now timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update tokenbook.subscriptions s
     set next_slot_at = tokenbook.newest_slot_at(s, p_now)
   where s.user_id = p_user_id and s.next_slot_at <= p_now;
  perform tokenbook.bring_due_forward(p_user_id, tokenbook.schedule_due_at(p_user_id));
end
$$;
comment on function tokenbook.skip_missed_slots is
  'Of the slots that began while an account got none, leaves the newest; the caller holds its lock.';

-- from supabase/schemas/50_plans/slot_grant_id.sql

/*
 * The id of the grant of a slot: made from the subscription and the slot's start, so that what is due has it before
 * it is booked, one slot has one grant, and a slot's grant is told from a period's.
 * Caller: internal.
 */
create function tokenbook.slot_grant_id(p_subscription_id uuid, p_slot_start timestamptz)
returns uuid
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return left(encode(sha256(convert_to(
    format('slot %s %s', p_subscription_id, extract(epoch from p_slot_start)), 'UTF8')), 'hex'), 32)::uuid;
end
$$;
comment on function tokenbook.slot_grant_id is
  'The id of the grant of a subscription''s slot.';

-- from supabase/schemas/50_plans/slot_number.sql

/*
 * In which slot of a period a moment lies: a slot lasts from its start until the next one's, which is not of it.
 * Negative before the period.
 * Caller: internal.
 */
create function tokenbook.slot_number(p_schedule jsonb, p_period_start timestamptz, p_at timestamptz)
returns integer
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from timestamp := p_period_start at time zone 'utc';
  v_at timestamp := p_at at time zone 'utc';
  v_months integer;
begin
  if p_at < p_period_start then
    return -1;
  end if;
  if p_schedule ->> 'on' = 'calendar' then
    v_from := date_trunc(p_schedule ->> 'every', v_from);
  end if;
  if p_schedule ->> 'every' <> 'month' then
    return floor(extract(epoch from v_at - v_from) / case p_schedule ->> 'every' when 'day' then 86400 else 604800 end);
  end if;
  v_months := 12 * (extract(year from v_at) - extract(year from v_from)) + extract(month from v_at) - extract(month from v_from);
  return v_months - (v_from + make_interval(months => v_months) > v_at)::integer;
end
$$;
comment on function tokenbook.slot_number is
  'The number, from 0, of the slot of a period in which a moment lies; negative before the period.';

-- from supabase/schemas/50_plans/slot_share.sql

/*
 * How much of a slot's tokens is taken back at once, because a part of the money that paid for them is gone: so that of
 * all that the payment has given, this slot included, the share that is lost is taken back, rounded down.
 * p_given is what the payment has given before.
 * Caller: internal.   Keeps: I12.
 */
create function tokenbook.slot_share(p_given bigint, p_tokens bigint, p_lost_cents bigint, p_amount_cents bigint)
returns bigint
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when coalesce(p_lost_cents, 0) <= 0 then 0
    when p_lost_cents >= p_amount_cents then p_tokens
    else floor((p_given + p_tokens)::numeric * p_lost_cents / p_amount_cents)
       - floor(p_given::numeric * p_lost_cents / p_amount_cents)
  end;
end
$$;
comment on function tokenbook.slot_share is
  'How much of a slot''s tokens is taken back because a part of the money that paid for them is gone.';

-- from supabase/schemas/50_plans/slot_start.sql

/*
 * When the slot of that number begins. A period's slots are numbered from 0, which begins with the period. On the
 * anniversary the others are whole days, weeks or months after that, counted from the period's start and not from
 * the slot before: what began on the 31st is on the last day of a shorter month and on the 31st again. On the
 * calendar they are at midnight, on Mondays, on the first of the month. All in UTC.
 * Caller: internal.
 */
create function tokenbook.slot_start(p_schedule jsonb, p_period_start timestamptz, p_number integer)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from timestamp := p_period_start at time zone 'utc';
begin
  if p_number = 0 then
    return p_period_start;
  end if;
  if p_schedule ->> 'on' = 'calendar' then
    v_from := date_trunc(p_schedule ->> 'every', v_from);
  end if;
  return (v_from + case p_schedule ->> 'every'
    when 'day' then make_interval(days => p_number)
    when 'week' then make_interval(weeks => p_number)
    else make_interval(months => p_number)
  end) at time zone 'utc';
end
$$;
comment on function tokenbook.slot_start is
  'When the slot of that number, from 0, of a period that began then begins.';

-- from supabase/schemas/50_plans/slots_between.sql

/*
 * Which slots give something at p_at, of those that began from p_from on: the calendar's part of what is due. One row
 * a grant:
 * - of a schedule that fills up, the newest slot, and no other;
 * - of one whose tokens live for ever, all of them in one grant, of the newest slot: however many there are;
 * - of one whose tokens run out, each slot whose tokens would still live. What would have run out by now is
 *   not made up.
 * The life of a slot's tokens begins with the slot, whenever it is booked.
 * Caller: internal.   Returns first_start of slots slots, slot_start of the newest, its tokens and their expiry.
 * Keeps: I7, I11.
 */
create function tokenbook.slots_between(
  p_schedule jsonb,
  p_period_start timestamptz,
  p_until timestamptz,
  p_from timestamptz,
  p_at timestamptz
)
returns table (first_start timestamptz, slot_start timestamptz, slots integer, tokens bigint, expires_at timestamptz)
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens constant bigint := p_schedule -> 'tokens';
  v_lifetime constant interval := (p_schedule ->> 'lifetime_days')::integer * interval '24 hours';
  v_first integer;
  v_last integer;
begin
  if (p_from <= p_at) is not true then
    return;
  end if;
  v_first := tokenbook.slot_number(p_schedule, p_period_start, p_from); -- @slots-from-the-next
  v_last := tokenbook.slot_number(p_schedule, p_period_start, least(p_at, p_until - interval '1 microsecond')); -- @slots-within-the-plan
  if p_schedule ? 'refill_to' then
    v_first := greatest(v_first, v_last); -- @refills-make-nothing-up
  elsif v_lifetime is not null then
    v_first := greatest(v_first, tokenbook.slot_number(p_schedule, p_period_start, p_at - v_lifetime) + 1);
  else
    v_first := greatest(v_first, v_last + 1 - (tokenbook.limits() -> 'slots_in_one_grant')::integer);
  end if;
  if v_lifetime is null and v_first <= v_last then
    first_start := tokenbook.slot_start(p_schedule, p_period_start, v_first);
    slot_start := tokenbook.slot_start(p_schedule, p_period_start, v_last);
    slots := v_last - v_first + 1;
    tokens := v_tokens * slots;
    return next;
  elsif v_lifetime is not null then
    slots := 1;
    tokens := v_tokens;
    for v_number in v_first .. v_last
    loop
      slot_start := tokenbook.slot_start(p_schedule, p_period_start, v_number);
      first_start := slot_start;
      expires_at := slot_start + v_lifetime; -- @lives-from-the-slot
      continue when expires_at <= p_at;
      return next;
    end loop;
  end if;
end
$$;
comment on function tokenbook.slots_between is
  'Which slots from p_from on give something at p_at, one row a grant.';

-- from supabase/schemas/50_plans/slots_until.sql

/*
 * Until when a subscription's plan gives slots: as long as it is in force and paid. NULL = without an end. Days of grace
 * are not paid for: the renewal begins with what they would have given. Nor is a pause, or a plan whose money is gone.
 * Caller: internal.
 */
create function tokenbook.slots_until(p_subscription tokenbook.subscriptions)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(
    p_subscription.expires_at, p_subscription.cancel_at, p_subscription.paused_at, p_subscription.taken_back_at,
    p_subscription.ended_at);
end
$$;
comment on function tokenbook.slots_until is
  'Until when a subscription''s plan gives slots; NULL = without an end.';

-- from supabase/schemas/50_plans/start_period.sql

/*
 * Puts a user on a plan and gives a period's tokens, in one transaction: subscription, grant, plan limit
 * and storage, or nothing. What every flow is made of (registration, approval, upgrade, renewal,
 * initial plan), so that limit and balance cannot disagree whichever way a user came.
 *
 * p_entry is the transaction to be (user_id, actor, reason, key, request, payment_id). A payment is
 * granted once, and so is a period without one; a second time answers replayed and changes no
 * tokens. A renewal of a plan with a balance cap gives what fills the balance up to it; where that is
 * nothing, no grant is made and transaction is NULL; an entry of 0 tokens says that the period began.
 * The entry keeps the subscription and the storage that came with it (terms).
 * When the period before closes with it, what that has left is carried over first, within the limits of
 * its plan (tokenbook.roll_over).
 * A payment for a period that is over (one of its own began since, or it ended before the present plan
 * began) gives its tokens; the subscription never goes back to it. Nor does one for a plan of a lower rank than
 * the one that is in force, unless that was to follow it: it is kept beside it, and is in force when the higher one
 * is not any more.
 * What a higher plan takes the place of is kept beside it in the same way, until its own end.
 * Of a plan with a schedule the period's grant is its first slot; the others follow as they begin
 * (tokenbook.issue_slots). A payment for a period that is over gives all of its slots at once.
 * Tokens are added, never reset. The plan limit (tokens_limit) becomes the balance after it.
 * Of a plan whose grants are trials it gives what the policy allows this person (tokenbook.take_trial); an initial
 * plan of which that is nothing does not begin: transaction is NULL, and the subscription is as it was.
 * Locks: the account.   Errors: as issue_grant, trial_already_taken, trial_needs_identity.   Keeps: I2 to I5, I9, I10.
 */
create function tokenbook.start_period(
  p_plan public.token_plans,
  p_period_start timestamptz,
  p_payment_method text,
  p_provider_payment_id text,
  p_entry public.token_transactions,
  out transaction public.token_transactions,
  out replayed boolean,
  out subscription tokenbook.subscriptions
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_start timestamptz;
  v_grant public.token_balances;
  v_of_period public.token_balances;
  v_issued record;
  v_was tokenbook.subscriptions;
  v_is_over boolean;
  v_is_beside boolean;
  v_storage public.token_storage_quotas;
  v_terms jsonb;
begin
  replayed := false;

  -- lock
  v_account := tokenbook.lock_account(p_entry.user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_entry.user_id, p_entry.actor_role);
    v_account := tokenbook.lock_account(p_entry.user_id, p_create => true);
  end if;
  v_now := clock_timestamp();
  if v_account.next_due_at <= v_now then
    perform tokenbook.record_expiries(array[p_entry.user_id], v_now);
    v_account := tokenbook.lock_account(p_entry.user_id);
  end if;
  v_start := coalesce(p_period_start, v_now);

  -- replay: by key, by payment, by period
  select s.* into subscription from tokenbook.subscriptions s where s.user_id = p_entry.user_id;
  transaction := tokenbook.find_replay(p_entry);
  if transaction.id is null then
    if p_period_start is not null then
      v_of_period := tokenbook.grant_of_period(p_entry.user_id, subscription.id, p_plan.plan_type, p_period_start);
      -- a period that was renewed before its payment came is what that payment paid for
      update public.token_balances b
         set payment_id = p_entry.payment_id
       where b.user_id = p_entry.user_id and b.id = v_of_period.id
         and b.payment_id is null and p_entry.payment_id is not null;
    end if;
    select t.* into transaction
      from public.token_balances b
      join public.token_transactions t
        on t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id
     where b.user_id = p_entry.user_id
       and case when p_entry.payment_id is not null then b.payment_id = p_entry.payment_id
                else b.id = v_of_period.id end; -- @period-given-once
  end if;
  if transaction.id is not null then
    replayed := true;
    return;
  end if;

  -- act: of a trial as much as the policy gives; an initial plan that it does not give does not begin
  if p_plan.grant_type = 'trial' then
    p_plan.tokens := tokenbook.take_trial(p_plan, p_provider_payment_id, p_entry);
    if p_plan.tokens is null then
      return;
    end if;
  end if;

  -- act: the subscription, unless a later period has taken this one's place
  perform tokenbook.settle_subscription(p_entry.user_id); -- @due-downgrade-first
  select s.* into v_was from tokenbook.subscriptions s where s.user_id = p_entry.user_id;
  subscription := v_was;
  v_is_over := p_period_start is not null and v_was.period_start > v_start -- @bought-now-counts-now
    and ((v_was.plan_type = p_plan.plan_type and v_was.expires_at is not null)
      or coalesce(tokenbook.period_end(p_plan.billing_cycle, v_start) <= v_was.period_start, false));
  v_is_beside := p_entry.payment_id is not null
    and v_was.plan_type <> p_plan.plan_type and v_was.ended_at is null and v_was.paused_at is null
    and (v_was.next_plan_type = p_plan.plan_type and v_was.expires_at <= v_start) is not true
    and p_plan.rank < (select p.rank from public.token_plans p where p.plan_type = v_was.plan_type); -- @higher-rank-stays
  if v_is_over is not true then
    if v_is_beside is not true and v_was.period_start < v_start and v_was.ended_at is null then
      -- the period that closes
      perform tokenbook.roll_over(v_was, v_start, p_entry.actor_role, p_entry.actor_id, v_now);
      v_account := tokenbook.lock_account(p_entry.user_id);
    end if;
    subscription := tokenbook.begin_plan(
      v_was, p_plan, v_start, p_payment_method, coalesce(p_entry.payment_id::text, p_provider_payment_id),
      p_entry.user_id, v_is_beside is true, v_now);
    if p_entry.actor_role = 'system' then -- who is given their first plan late was not promised what came before
      subscription.next_slot_at := tokenbook.next_slot_at(subscription, v_now);
    end if;
    perform tokenbook.keep_subscription(subscription);
  end if;

  -- act: its storage
  if p_plan.storage_gb > 0 then
    insert into public.token_storage_quotas (user_id, quota_gb, subscription_id, metadata)
    select p_entry.user_id, p_plan.storage_gb, subscription.id, jsonb_build_object('plan', p_plan.plan_type)
     where not exists (
       select from public.token_storage_quotas q
        where q.user_id = p_entry.user_id and q.subscription_id = subscription.id
          and q.metadata ->> 'plan' = p_plan.plan_type)
    returning * into v_storage;
  end if;
  v_terms := jsonb_strip_nulls(jsonb_build_object(
    'subscription', tokenbook.subscription_terms(subscription),
    'storage', case when v_storage.id is not null then to_jsonb(v_storage) - 'user_id' end));

  -- act: the tokens
  v_grant.tokens_granted := p_plan.tokens;
  if p_plan.balance_cap is not null and p_entry.action_type = 'renewal_grant' then -- @cap-on-renewals-only
    v_grant.tokens_granted := least(p_plan.tokens, p_plan.balance_cap - v_account.tokens_remaining);
  elsif p_plan.refill_to is not null and p_entry.action_type = 'renewal_grant' then
    v_grant.tokens_granted := least(
      p_plan.tokens, p_plan.refill_to - tokenbook.plan_tokens_at(p_entry.user_id, subscription.id, v_now));
  elsif v_is_over and p_plan.issue_every is not null and p_plan.refill_to is null then
    v_grant.tokens_granted := p_plan.tokens * (1 + tokenbook.slot_number(
      tokenbook.plan_schedule(p_plan), v_start,
      coalesce(tokenbook.period_end(p_plan.billing_cycle, v_start), v_now) - interval '1 microsecond'));
  end if;
  if v_grant.tokens_granted > 0 then
    v_grant.grant_type := p_plan.grant_type;
    v_grant.priority := 50;
    v_grant.expires_at := case when p_plan.grant_lifetime_days is null then 'infinity' end;
    if p_plan.issue_every is not null and not v_is_over is true
      and coalesce(v_start + p_plan.grant_lifetime_days * interval '24 hours' > v_now, true)
    then
      v_grant.granted_at := least(v_start, v_now); -- the life of a slot's tokens begins with the slot
    end if;
    v_grant.payment_id := p_entry.payment_id;
    v_grant.subscription_id := subscription.id;
    -- a second payment in one period is a grant of its own, beside the period's
    if not exists (
      select from public.token_balances b
       where b.user_id = p_entry.user_id and b.subscription_id = subscription.id and b.period_start = v_start)
    then
      v_grant.period_start := v_start;
    end if;
    v_grant.metadata := coalesce(p_entry.metadata, '{}');
    p_entry.terms := v_terms;
    p_entry.action_type := case
      when p_plan.grant_type = 'trial' then 'trial_grant'
      else coalesce(p_entry.action_type, 'subscription_grant')
    end;
    v_issued := tokenbook.issue_grant(v_grant, p_entry, p_plan.grant_lifetime_days * interval '24 hours');
    transaction := v_issued.transaction;
  else
    -- the period begins without tokens: the ledger says who began it
    p_entry.terms := v_terms;
    p_entry.entry_type := 'usage';
    p_entry.action_type := 'plan_change';
    p_entry.tokens := 0;
    p_entry.grant_ids := '{}';
    p_entry.grant_tokens := '{}';
    p_entry.created_at := clock_timestamp();
    perform tokenbook.record_transaction(p_entry);
  end if;

  -- record: the plan limit is the balance
  update tokenbook.subscriptions s
     set tokens_limit = a.tokens_remaining
    from public.token_accounts a
   where s.user_id = p_entry.user_id and a.user_id = s.user_id
  returning s.* into subscription;
  perform tokenbook.bring_due_forward(p_entry.user_id, tokenbook.schedule_due_at(p_entry.user_id));
  perform tokenbook.refresh_alert_thresholds(p_entry.user_id);
end
$$;
comment on function tokenbook.start_period is
  'Puts a user on a plan and gives a period''s tokens in one transaction; once per payment, and once per subscription and period.';

-- from supabase/schemas/50_plans/subscription_at.sql

/*
 * A subscription as it is at that moment, whether anybody has touched the account since or not: what is due of it.
 * In the order of time, until nothing more is due:
 * - A downgrade to a plan that costs nothing is in force when the period ends: no payment could begin it.
 * - A plan that has ended, is paused, or whose money was taken back is not in force. Of those beside it that were in
 *   force then, the highest rank takes its place; where there is none, no plan is in force (ended_at).
 * - A higher one that is in force again takes its place back.
 * What time is not over for is kept beside: a plan that is paused may go on, and money may come back.
 * The one rule of what is in force: token_subscriptions shows what it says, and what is recorded
 * (tokenbook.settle_subscription) is what it says. So a touch changes nothing that anybody can see.
 * Tokens stay as they are.
 * Caller: internal, and whoever reads token_subscriptions.   Keeps: I9.
 */
create function tokenbook.subscription_at(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns tokenbook.subscriptions
language plpgsql
stable
strict
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := p_subscription;
  v_next public.token_plans;
  v_best tokenbook.subscriptions;
  v_stopped_at timestamptz;
begin
  loop
    v_stopped_at := least(v_is.taken_back_at, v_is.paused_at, tokenbook.plan_ends_at(v_is));
    if v_is.next_plan_type is not null and v_is.expires_at <= p_at and (v_stopped_at < v_is.expires_at) is not true then
      select p.* into v_next
        from public.token_plans p where p.plan_type = v_is.next_plan_type and p.price_cents = 0;
      if v_next.plan_type is not null then
        v_is.plan_type := v_next.plan_type;
        v_is.articles_limit := v_next.articles_limit;
        v_is.features := v_next.features;
        v_is.billing_cycle := v_next.billing_cycle;
        v_is.auto_renew := v_next.billing_cycle <> 'none';
        v_is.payment_method := null;
        v_is.payment_id := null;
        v_is.period_start := v_is.expires_at;
        v_is.expires_at := tokenbook.period_end(v_next.billing_cycle, v_is.period_start);
        v_is.grace_days := tokenbook.grace_of(v_next);
        v_is.next_plan_type := null;
        v_is.cancel_at := null;
        v_is.paused_at := null;
        v_is.taken_back_at := null;
        v_is.schedule := tokenbook.plan_schedule(v_next);
        v_is.next_slot_at := case when v_is.schedule is not null then v_is.period_start end;
        v_stopped_at := tokenbook.plan_ends_at(v_is);
      end if;
    end if;

    if v_stopped_at > p_at then
      v_stopped_at := null;
    end if;
    select one.* into v_best
      from jsonb_array_elements(v_is.beside) as e (plan)
     cross join lateral jsonb_populate_record(v_is, e.plan) one
      join public.token_plans p on p.plan_type = one.plan_type -- one that has left the catalogue has no rank
     where one.taken_back_at is null and one.paused_at is null
       and (tokenbook.plan_ends_at(one) <= coalesce(v_stopped_at, p_at)) is not true
       and (v_stopped_at is not null
         or p.rank > (select m.rank from public.token_plans m where m.plan_type = v_is.plan_type)) -- @highest-rank-counts
     order by p.rank desc, one.expires_at desc nulls first, one.plan_type
     limit 1;
    exit when v_best.plan_type is null;

    if v_best.payment_id is null then
      -- what nobody paid for gave nothing while it was not in force; what somebody did is made up
      v_best.next_slot_at := tokenbook.newest_slot_at(v_best, coalesce(v_stopped_at, p_at));
    end if;
    v_best.beside := (
      select coalesce(jsonb_agg(e.plan order by e.plan ->> 'plan_type'), '[]')
        from jsonb_array_elements(v_is.beside || tokenbook.plan_beside(v_is)) as e (plan)
       where e.plan ->> 'plan_type' <> v_best.plan_type
         and tokenbook.is_kept_beside(jsonb_populate_record(v_is, e.plan), coalesce(v_stopped_at, p_at)));
    v_is := v_best;
  end loop;

  v_is.ended_at := case when v_is.paused_at is null then v_stopped_at else least(v_is.taken_back_at, tokenbook.plan_ends_at(v_is)) end;
  if v_is.ended_at > p_at then
    v_is.ended_at := null;
  end if;
  return v_is;
end
$$;
comment on function tokenbook.subscription_at is
  'A subscription as it is at that moment, what is due of it included: which plan is in force, or since when none is.';

-- from supabase/schemas/50_plans/subscription_course.sql

/*
 * Which plans a subscription has had since it was recorded, and since when each (NULL: the one that is recorded): what
 * followed by itself until p_at, one after the other. A plan that has no schedule is one of them too.
 * Caller: internal.
 */
create function tokenbook.subscription_course(p_subscription tokenbook.subscriptions, p_at timestamptz)
returns table (kept tokenbook.subscriptions, since timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is tokenbook.subscriptions := p_subscription;
  v_at timestamptz := '-infinity';
  v_next tokenbook.subscriptions;
begin
  kept := p_subscription;
  return next;
  loop
    v_at := least(
      case when v_is.next_plan_type is not null and v_is.expires_at > v_at then v_is.expires_at end,
      case when tokenbook.plan_ends_at(v_is) > v_at then tokenbook.plan_ends_at(v_is) end);
    exit when v_is.ended_at is not null or (v_at <= p_at) is not true;
    v_next := tokenbook.subscription_at(v_is, v_at);
    if (v_next.plan_type, v_next.period_start) is distinct from (v_is.plan_type, v_is.period_start) then
      kept := v_next;
      since := v_at;
      return next;
    end if;
    v_is := v_next;
  end loop;
end
$$;
comment on function tokenbook.subscription_course is
  'Which plans a subscription has had since it was recorded, and since when each, until p_at.';

-- from supabase/schemas/50_plans/subscription_terms.sql

/*
 * What an entry keeps of the subscription that it began or changed: all of it but the plan limit, which moves with
 * tokens.
 * Caller: internal.
 */
create function tokenbook.subscription_terms(p_subscription tokenbook.subscriptions)
returns jsonb
language plpgsql
stable -- how moments are written is the session's
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_strip_nulls(to_jsonb(p_subscription) - array['user_id', 'tokens_limit', 'updated_at']);
end
$$;
comment on function tokenbook.subscription_terms is
  'What an entry keeps of the subscription that it began or changed, as JSON.';

-- from supabase/schemas/50_plans/take_trial.sql

/*
 * Takes a trial: remembers it, and says how many of its tokens the user may have. One person, one trial, also where
 * two of their accounts ask at the same time: the digests are a unique key, and whoever writes them first has it.
 * What was paid for, or bought at a provider, is given whole, whatever the policy, and remembered: the policy stops a
 * second one before money moves (tokenbook.require_trial). What nobody asked for, the initial plan, does not begin:
 * NULL. What was asked for is refused.
 * p_entry is the transaction to be: user_id, actor_role, payment_id.
 * Caller: tokenbook.start_period, holding the account's lock.   Locks: the digests.
 * Errors: trial_already_taken, trial_needs_identity, busy.
 */
create function tokenbook.take_trial(
  p_plan public.token_plans,
  p_provider_payment_id text,
  p_entry public.token_transactions
)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_paid boolean := p_provider_payment_id is not null and p_plan.price_cents > 0;
  v_identifiers constant bytea[] := tokenbook.trial_identifiers(p_entry.user_id, tokenbook.trial_key());
  v_remembered record;
  v_judged record;
begin
  if p_entry.payment_id is not null then
    select p.amount_cents > 0 or p.provider <> 'manual' into v_is_paid
      from public.token_payments p
     where p.user_id = p_entry.user_id and p.id = p_entry.payment_id;
  end if;

  -- of a trial that is not given to somebody whom nobody can recognise, nothing is remembered
  v_judged := tokenbook.judge_trial(tokenbook.had_trial(v_identifiers), cardinality(v_identifiers) > 1);
  if v_is_paid or v_judged.refusal is distinct from 'trial_needs_identity' then
    v_remembered := tokenbook.remember_trial(p_entry.user_id);
    v_judged := tokenbook.judge_trial(v_remembered.known_before > 0, v_remembered.identifiers > 1);
  end if;

  if v_is_paid or v_judged.share = 'full' then -- @paid-trials-are-given
    return p_plan.tokens;
  elsif v_judged.share = 'reduced' then
    return least(p_plan.tokens,
      coalesce(v_judged.reduced_tokens, greatest(p_plan.tokens * v_judged.reduced_percent / 100, 1)));
  elsif p_entry.actor_role <> 'system' then
    perform tokenbook.refuse(v_judged.refusal, '{}');
  end if;
  return null;
end
$$;
comment on function tokenbook.take_trial is
  'Remembers a trial, and returns how many of its tokens the user may have; NULL where nobody asked for it and the policy gives none, a refusal where somebody did.';

-- from supabase/schemas/50_plans/token_price_ids.sql

/*
 * What is sold under which name of a provider, present and former ones: one row a name. What webhooks
 * ask; so what a price stands for is said once, for plans and packs and for both providers.
 */
create view public.token_price_ids
with (security_invoker = true)
as
select 'stripe' as provider, p.stripe_price_id as price_id, p.plan_type, null::text as pack_type, true as is_current
  from public.token_plans p
 where p.stripe_price_id is not null
union all
select 'stripe', former.id, p.plan_type, null, false
  from public.token_plans p cross join lateral unnest(p.former_stripe_price_ids) as former (id)
union all
select 'paypal', p.paypal_plan_id, p.plan_type, null, true
  from public.token_plans p
 where p.paypal_plan_id is not null
union all
select 'paypal', former.id, p.plan_type, null, false
  from public.token_plans p cross join lateral unnest(p.former_paypal_plan_ids) as former (id)
union all
select 'stripe', p.stripe_price_id, null, p.pack_type, true
  from public.token_packs p
 where p.stripe_price_id is not null
union all
select 'stripe', former.id, null, p.pack_type, false
  from public.token_packs p cross join lateral unnest(p.former_stripe_price_ids) as former (id);
comment on view public.token_price_ids is
  'What is sold under which id of a payment provider, present and former ones. Read-only.';
comment on column public.token_price_ids.provider is 'stripe or paypal.';
comment on column public.token_price_ids.price_id is 'The price at Stripe, the plan at PayPal.';
comment on column public.token_price_ids.plan_type is 'The plan that it is; or a pack.';
comment on column public.token_price_ids.pack_type is 'The pack that it is; or a plan.';
comment on column public.token_price_ids.is_current is 'Whether it is what the price is called now; false: what it was called before.';

create trigger token_price_ids_refuse_writes
  instead of insert or update or delete on public.token_price_ids
  for each row execute function tokenbook.refuse_view_write();

-- from supabase/schemas/50_plans/token_subscriptions.sql

/*
 * The subscription of each user as it is now: which plan is in force. Right at every moment, whether anybody has
 * touched the account since or not; what is due is asked of tokenbook.subscription_at, and only of rows that have
 * something due. Reads with its caller's rights: users see their own.
 */
create view public.token_subscriptions
with (security_invoker = true)
as
select s.user_id,
       s.id,
       case when shown.is_active then (shown.kept).plan_type end as plan_type,
       s.tokens_limit,
       case when shown.is_active then (shown.kept).articles_limit else 0 end as articles_limit,
       case when shown.is_active then (shown.kept).features else '{}' end as features,
       (shown.kept).billing_cycle,
       shown.is_active,
       case when (shown.kept).ended_at is not null then 'ended'
            when (shown.kept).paused_at is not null then 'paused'
            when (shown.kept).expires_at <= now() then 'past_due'
            else 'active' end as status,
       (shown.kept).auto_renew and shown.is_active and (shown.kept).cancel_at is null as auto_renew,
       (shown.kept).payment_method,
       (shown.kept).payment_id,
       (shown.kept).period_start,
       (shown.kept).expires_at,
       tokenbook.plan_ends_at(shown.kept) as in_force_until,
       case when shown.is_active then (shown.kept).next_plan_type end as next_plan_type,
       case when shown.is_active then (shown.kept).schedule end as schedule,
       case when shown.is_active then tokenbook.next_slot_at(shown.kept, now()) end as next_slot_at,
       (shown.kept).cancel_at,
       s.created_at,
       s.updated_at
  from tokenbook.subscriptions s
 -- of a row of which nothing is due, nothing is asked
 cross join lateral tokenbook.subscription_at(
   case when s.expires_at <= now() or s.cancel_at <= now() or s.paused_at is not null or s.taken_back_at is not null then s end,
   now()) due
 cross join lateral (select case when due.user_id is null then s else due end as kept) latest
 cross join lateral (
   select latest.kept, (latest.kept).ended_at is null and (latest.kept).paused_at is null as is_active) shown;
comment on view public.token_subscriptions is
  'The subscription of each user as it is now: which plan is in force, and until when. Read-only; users see their own.';
comment on column public.token_subscriptions.user_id is 'The user.';
comment on column public.token_subscriptions.id is 'The subscription; stays the same through upgrades and renewals.';
comment on column public.token_subscriptions.plan_type is 'The plan that is in force; NULL = none.';
comment on column public.token_subscriptions.tokens_limit is 'The plan limit: what the balance was last filled up to. Does not move with usage, nor when the plan ends.';
comment on column public.token_subscriptions.articles_limit is 'Articles a period; NULL = no limit; 0 when no plan is in force.';
comment on column public.token_subscriptions.features is 'What else the plan includes; nothing when none is in force.';
comment on column public.token_subscriptions.billing_cycle is 'none, 28day, monthly or annual; of the plan that ended when none is in force, as are the columns below.';
comment on column public.token_subscriptions.is_active is 'Whether a plan is in force.';
comment on column public.token_subscriptions.status is 'active; past_due: in force, but the period is over and nobody has renewed it; paused: not in force until its provider says it goes on; ended: over.';
comment on column public.token_subscriptions.auto_renew is 'Whether it is meant to be renewed.';
comment on column public.token_subscriptions.payment_method is 'How it is paid: card, paypal, manual, …';
comment on column public.token_subscriptions.payment_id is 'The payment that the present plan came from: payments.id, or the provider''s name for it.';
comment on column public.token_subscriptions.period_start is 'When the present period began.';
comment on column public.token_subscriptions.expires_at is 'Until when it is paid; NULL = it does not end.';
comment on column public.token_subscriptions.in_force_until is 'When it is over if nobody renews it: the end of its days of grace, or its cancellation; NULL = never.';
comment on column public.token_subscriptions.next_plan_type is 'The plan from the next period on, after a downgrade.';
comment on column public.token_subscriptions.schedule is 'On which terms it gives tokens while the period lasts: {every (day, week, month), on (anniversary, calendar), tokens (of a slot), refill_to, lifetime_days, grant_type}; NULL = all at once.';
comment on column public.token_subscriptions.next_slot_at is 'When it gives tokens next; NULL = not in this period.';
comment on column public.token_subscriptions.cancel_at is 'When it ends for good, by the word of its provider; NULL = it is not cancelled.';
comment on column public.token_subscriptions.created_at is 'Since when they have one.';
comment on column public.token_subscriptions.updated_at is 'When the record last changed. A plan that ends by itself is shown as ended before that is recorded.';

create trigger token_subscriptions_refuse_writes
  instead of insert or update or delete on public.token_subscriptions
  for each row execute function tokenbook.refuse_view_write();

-- from supabase/schemas/50_plans/trial_identifiers.sql

/*
 * What a user is known by, as digests under a key: their id, and as long as they are a user their normalised address, their
 * phone number and each identity at a provider. One digest is their id alone: nobody can tell such a user from
 * another (an anonymous sign-in).
 * An identity of the providers email and phone says nothing more than the user's row. What users can write
 * themselves (user_metadata, an address that is not confirmed yet to change to) is not looked at.
 * Caller: internal.   Returns them in one order, so that two who write them never wait for each other in a circle.
 */
create function tokenbook.trial_identifiers(p_user_id uuid, p_key bytea)
returns bytea[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select array_agg(d.digest order by d.digest)
      from (
        select distinct tokenbook.hmac_sha256(p_key, convert_to(known.by::text, 'UTF8')) as digest
          from (
            select jsonb_build_array('user', p_user_id) as by
            union all
            select jsonb_build_array('email', tokenbook.normal_address(u.email)) -- @trials-by-address
              from auth.users u where u.id = p_user_id and u.deleted_at is null and u.email <> ''
            union all
            select jsonb_build_array('phone', u.phone)
              from auth.users u where u.id = p_user_id and u.deleted_at is null and u.phone <> ''
            union all
            select jsonb_build_array('identity', i.provider, i.provider_id)
              from auth.users u
              join auth.identities i on i.user_id = u.id
             where u.id = p_user_id and u.deleted_at is null and i.provider not in ('email', 'phone') -- @trials-by-identity
          ) known) d);
end
$$;
comment on function tokenbook.trial_identifiers is
  'HMAC-SHA256 under a key of everything that the user is known by: id, normalised address, phone number, identities at providers; sorted.';

-- from supabase/schemas/50_plans/trial_key.sql

/*
 * The key of the digests of trials, made where there is none yet: 32 bytes out of 366 random bits.
 * Nobody but the functions that make digests may call it, and none of them gives it on.
 * Caller: internal.   Locks: nothing; of two that make it at once, one waits for the other.
 */
create function tokenbook.trial_key()
returns bytea
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key bytea;
begin
  select k.key into v_key from tokenbook.trial_keys k where k.is_current;
  if v_key is null then
    insert into tokenbook.trial_keys (key)
    values (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
    on conflict do nothing;
    select k.key into v_key from tokenbook.trial_keys k where k.is_current;
  end if;
  return v_key;
end
$$;
comment on function tokenbook.trial_key is 'The key of the digests of trials; made where there is none. Never given to a caller.';

-- from supabase/schemas/50_plans/write_offer.sql

/*
 * Writes a row of the catalogue, a plan or a pack: of one that is there the fields that are given, or a new one.
 * A field's type is its column's, and its bounds are the table's constraints: a refusal says the comment of the
 * constraint that a value breaks, and the field; so there is no second list of either.
 * Caller: set_token_plan, set_token_pack, holding the settings' lock.
 * before is the row as it is, NULL where there is none. Returns it, the row after and the fields that have changed.
 * Errors: p_slug (invalid_plan, invalid_pack).
 */
create function tokenbook.write_offer(
  p_slug text,
  p_table text,
  p_key text,
  p_name text,
  p_given jsonb,
  inout before jsonb,
  out after jsonb,
  out changed text[]
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_field record;
  v_fault text;
  v_constraint text;
  v_column text;
  v_columns text;
begin
  -- validate: the types; NULL only where there may be none
  for v_field in
    select g.name, g.value, jsonb_typeof(g.value) as kind, c.attnotnull as must,
           case when c.attname not in (p_key, 'created_at', 'updated_at') then format_type(c.atttypid, c.atttypmod) end as type
      from jsonb_each(p_given) as g (name, value)
      left join pg_attribute c
        on c.attrelid = format('public.%I', p_table)::regclass and c.attname = g.name and c.attnum > 0 and not c.attisdropped
  loop
    v_fault := case
      when v_field.type is null then 'a field that can be set'
      when v_field.kind = 'null' then case when v_field.must then 'not null' end
      when v_field.type = 'text' and v_field.kind <> 'string' then 'a text'
      when v_field.type = 'boolean' and v_field.kind <> 'boolean' then 'true or false'
      when v_field.type = 'jsonb' and v_field.kind <> 'object' then 'an object'
      when v_field.type = 'timestamp with time zone' and v_field.kind <> 'string' then 'a moment'
      when v_field.type = 'text[]' and (v_field.kind <> 'array' or exists (
             select from jsonb_array_elements(case when v_field.kind = 'array' then v_field.value else '[]' end) e
              where jsonb_typeof(e) <> 'string' or length(e #>> '{}') not between 1 and 255))
        then 'an array of texts of 1 to 255 characters'
      when v_field.type in ('bigint', 'integer', 'smallint') and (
             v_field.kind <> 'number'
             or case when v_field.kind = 'number' then v_field.value::numeric else 0 end not between
                  case v_field.type when 'bigint' then -9223372036854775808 when 'integer' then -2147483648 else -32768 end
                  and case v_field.type when 'bigint' then 9223372036854775807 when 'integer' then 2147483647 else 32767 end
             or case when v_field.kind = 'number' then v_field.value::numeric % 1 else 0 end <> 0) then 'a whole number'
    end;
    if v_fault is not null then
      perform tokenbook.refuse(p_slug, jsonb_build_object('field', left(v_field.name, 64), 'rule', v_fault));
    elsif v_field.kind = 'number' then
      p_given := p_given || jsonb_build_object(v_field.name, trunc(v_field.value::numeric)); -- 5.0 is 5
    end if;
  end loop;

  -- act
  p_given := p_given || case when before is null then jsonb_build_object(p_key, p_name) else '{}' end;
  begin
    if before is null then
      v_columns := (select string_agg(quote_ident(g), ', ') from jsonb_object_keys(p_given) g);
      if p_table = 'token_plans' then
        execute format(
          'insert into public.token_plans as t (%1$s) select %1$s from jsonb_populate_record(null::public.token_plans, $1) returning to_jsonb(t)',
          v_columns) into after using p_given;
      else
        execute format(
          'insert into public.token_packs as t (%1$s) select %1$s from jsonb_populate_record(null::public.token_packs, $1) returning to_jsonb(t)',
          v_columns) into after using p_given;
      end if;
    elsif p_given <> '{}' then
      v_columns := (select string_agg(format('%1$I = r.%1$I', g), ', ') from jsonb_object_keys(p_given) g);
      if p_table = 'token_plans' then
        execute format(
          'update public.token_plans t set %s, updated_at = clock_timestamp() from jsonb_populate_record(null::public.token_plans, $1) r '
          'where t.plan_type = $2 and to_jsonb(jsonb_populate_record(t, $1)) <> to_jsonb(t) returning to_jsonb(t)',
          v_columns) into after using p_given, p_name;
      else
        execute format(
          'update public.token_packs t set %s, updated_at = clock_timestamp() from jsonb_populate_record(null::public.token_packs, $1) r '
          'where t.pack_type = $2 and to_jsonb(jsonb_populate_record(t, $1)) <> to_jsonb(t) returning to_jsonb(t)',
          v_columns) into after using p_given, p_name;
      end if;
    end if;
  exception
    when check_violation then
      get stacked diagnostics v_constraint = constraint_name;
      select coalesce(obj_description(c.oid, 'pg_constraint'), replace(substr(c.conname, length(p_table) + 2), '_', ' ')),
             (select a.attname
                from unnest(c.conkey) with ordinality as k (attnum, nth)
                join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
               order by p_given ? a.attname desc, k.nth
               limit 1)
        into v_fault, v_column
        from pg_constraint c
       where c.conrelid = format('public.%I', p_table)::regclass and c.conname = v_constraint;
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'field', case when v_column = p_key then 'p_' || p_key else v_column end, 'rule', v_fault));
    when not_null_violation then
      get stacked diagnostics v_column = column_name;
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'field', case when v_column = p_key then 'p_' || p_key else v_column end, 'rule', 'given when it is made'));
    when unique_violation then
      get stacked diagnostics v_constraint = constraint_name;
      perform tokenbook.refuse(p_slug, jsonb_build_object(
        'field', regexp_replace(v_constraint, format('^%s_|_key$', p_table), '', 'g'), 'rule', 'not another''s'));
    when invalid_datetime_format or datetime_field_overflow then
      perform tokenbook.refuse(p_slug, '{"field": "given_to_users_since", "rule": "a moment, or -infinity"}');
  end;
  after := coalesce(after, before);
  changed := array(
    select a.name from jsonb_each(after) as a (name, value)
     where a.name not in (p_key, 'created_at', 'updated_at') and a.value is distinct from coalesce(before -> a.name, 'null')
     order by 1);
end
$$;
comment on function tokenbook.write_offer is
  'Writes a plan or a pack: the fields that are given of one that is there, or a new one; refuses what its columns and constraints do.';

-- from supabase/schemas/60_payments/apply_provider_terms.sql

/*
 * A subscription's row with what providers say of each of its plans: since when it is paused, and when it ends. Says
 * it anew each time, from what is known now, so that it does not matter which event came first, or a payment before
 * them.
 * Caller: internal.
 */
create function tokenbook.apply_provider_terms(p_subscription tokenbook.subscriptions)
returns tokenbook.subscriptions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- how a moment is written must not make it another
as $$
declare
  v_was_paused constant boolean := p_subscription.paused_at is not null;
begin
  if not exists ( -- as a rule
    select from tokenbook.provider_subscriptions f where f.user_id = p_subscription.user_id
    union all
    select from tokenbook.provider_customers c
      join tokenbook.provider_subscriptions f on f.provider = c.provider and f.customer_id = c.customer_id
     where c.user_id = p_subscription.user_id)
  then
    return p_subscription;
  end if;
  select t.cancel_at, t.paused_at into p_subscription.cancel_at, p_subscription.paused_at
    from tokenbook.provider_terms(
      p_subscription.user_id, p_subscription.payment_method, p_subscription.plan_type,
      p_subscription.period_start, p_subscription.expires_at) t;
  if v_was_paused and p_subscription.paused_at is null then
    -- what a pause left out is not made up; the newest slot is given
    p_subscription.next_slot_at := tokenbook.newest_slot_at(p_subscription, clock_timestamp());
  end if;
  p_subscription.beside := (
    select coalesce(jsonb_agg(
             e.plan || jsonb_build_object('cancel_at', t.cancel_at, 'paused_at', t.paused_at) order by e.nth), '[]')
      from jsonb_array_elements(p_subscription.beside) with ordinality as e (plan, nth)
     cross join lateral jsonb_populate_record(p_subscription, e.plan) one
     cross join lateral tokenbook.provider_terms(
       one.user_id, one.payment_method, one.plan_type, one.period_start, one.expires_at) t);
  return p_subscription;
end
$$;
comment on function tokenbook.apply_provider_terms is
  'A subscription''s row with what providers say of each of its plans now: paused, cancelled.';

-- from supabase/schemas/60_payments/approve_token_payment.sql

/*
 * Approves a pending payment: its plan and tokens, or its packs, in this commit, on the terms it was asked for
 * at: what the catalogue says since is shown (token_offer_now) and does not count, nor whether it is still
 * offered. Tokens are added to what the user has; the plan limit becomes the new total, and by a pack no lower
 * than that. The payment is its own key: approving twice answers what the first time answered.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, trial_already_taken, trial_needs_identity, balance_limit_exceeded, busy.   Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.approve_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry public.token_transactions;
  v_payment public.token_payments;
  v_given record;
  v_transaction public.token_transactions;
begin
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.check_request(null, p_reason, null);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  perform tokenbook.lock_account(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'approved') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  if v_payment.status = 'pending' then
    update public.token_payments p
       set status = 'approved', reason = p_reason, decided_at = clock_timestamp(), decided_by = v_entry.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
  end if;
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.metadata := '{}';
  v_given := tokenbook.give_what_was_bought(v_payment, null, v_entry);
  v_transaction := v_given.transaction;

  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', 'approved',
    'plan_type', v_payment.to_plan,
    'pack_type', v_payment.pack_type,
    'quantity', v_payment.quantity,
    'tokens_granted', v_transaction.tokens,
    'tokens_limit', case when v_given.replayed and v_payment.to_plan is not null
      -- the plan limit as it was then: what came in, less what it repaid at once
      then v_transaction.balance_after + coalesce((
        select t.tokens from public.token_transactions t
         where t.user_id = p_user_id and t.id = v_transaction.id + 1 and t.entry_type = 'debt_repayment'), 0)
      else (select s.tokens_limit from public.token_subscriptions s where s.user_id = p_user_id)
    end,
    'tokens_remaining', v_transaction.balance_after,
    'transaction_id', v_transaction.id,
    'replayed', v_given.replayed);
end
$$;
comment on function tokenbook.approve_token_payment is
  'Approves a pending payment: the plan and its tokens, or the packs, in one commit, added to what the user has, at the price and on the terms that it was asked for at (token_payments.terms; token_offer_now says what the catalogue says now). The plan limit becomes the new total; a pack leaves the plan as it is. For an admin or the server. Approving twice changes nothing and answers replayed. Returns {success, payment_id, status, plan_type, pack_type, quantity, tokens_granted, tokens_limit, tokens_remaining, transaction_id, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, trial_already_taken, trial_needs_identity, balance_limit_exceeded, forbidden, busy.';

-- from supabase/schemas/60_payments/assign_parked_token_payment.sql

/*
 * Says whose a parked payment is, and what was bought, and brings the books to it. What an admin says is a fact like
 * an event's, kept with them; it counts where no event names one. What is left out stays as it is known.
 * Where nobody is known to be the payment's customer, the user is from now on, so that their next payment finds them,
 * and is given what else has waited for that (tokenbook.release_waiting). Whose a customer is already stays.
 * Caller: an admin, service_role.   Locks: the customer, then the payment's facts and those of the customer's waiting
 * payments, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, plan_not_found, pack_not_found,
 * invalid_purchase, payment_not_found, payment_already_decided, balance_limit_exceeded, busy.   Keeps: I9, I10, I12.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.assign_parked_token_payment(
  p_provider text,
  p_provider_payment_id text,
  p_user_id uuid,
  p_plan_type text default null,
  p_pack_type text default null,
  p_quantity integer default 1
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_fact_id constant text := 'assigned:' || gen_random_uuid();
  v_customer_id text;
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
  v_ids text[];
  v_facts tokenbook.provider_payments;
  v_said jsonb;
  v_answer jsonb;
begin
  -- validate
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if num_nonnulls(p_plan_type, p_pack_type) > 0 then
    perform tokenbook.check_purchase(p_plan_type, p_pack_type, p_quantity);
  end if;
  if p_plan_type is not null and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  elsif p_pack_type is not null and not exists (select from public.token_packs p where p.pack_type = p_pack_type) then
    perform tokenbook.refuse('pack_not_found', '{"field": "p_pack_type"}');
  end if;
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  -- lock
  select f.customer_id into v_customer_id
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.part_of is null
     and f.provider_payment_id = any (tokenbook.joined_payments(p_provider, array[p_provider_payment_id]));
  if v_customer_id is not null then
    select c.user_id into v_customer_user_id
      from tokenbook.lock_customer(p_provider, v_customer_id, null, null, null) c;
    v_waiting := array_remove(tokenbook.waiting_payments(p_provider, v_customer_id), p_provider_payment_id);
  end if;
  perform tokenbook.lock_provider_payment(p_provider, p_provider_payment_id, v_waiting);
  v_ids := tokenbook.joined_payments(p_provider, array[p_provider_payment_id]);
  if v_ids is null then
    perform tokenbook.refuse('payment_not_found', tokenbook.say_payment_id());
  end if;
  v_facts := tokenbook.facts_of_payment(p_provider, v_ids); -- the row may be of before its customer was known
  if v_facts.customer_id is distinct from v_customer_id then -- learned while this waited: it is another lock
    perform tokenbook.refuse('busy', '{}');
  elsif v_facts.user_id <> p_user_id and tokenbook.standing_of_payment(v_facts) = 'parked' and v_facts.user_id = v_customer_user_id then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object(
      'status', 'parked', 'differs', array['user_id'], 'field', 'p_user_id',
      'rule', 'its customer is known to be another user: if that is wrong, set_token_customer with p_replace first'));
  elsif v_facts.user_id <> p_user_id
    or num_nonnulls(p_plan_type, p_pack_type) = 1 and num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 1
      and (v_facts.plan_type, v_facts.pack_type, v_facts.quantity) is distinct from (p_plan_type, p_pack_type, p_quantity)
  then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object(
      'status', tokenbook.standing_of_payment(v_facts),
      'differs', array_remove(array[
        case when v_facts.user_id <> p_user_id then 'user_id' end,
        case when p_plan_type <> v_facts.plan_type or num_nonnulls(p_plan_type, v_facts.pack_type) = 2 then 'plan_type' end,
        case when p_pack_type <> v_facts.pack_type or num_nonnulls(p_pack_type, v_facts.plan_type) = 2 then 'pack_type' end,
        case when p_pack_type = v_facts.pack_type and p_quantity <> v_facts.quantity then 'quantity' end], null)));
  elsif v_facts.is_paid and num_nonnulls(p_plan_type, p_pack_type, v_facts.plan_type, v_facts.pack_type) = 0 then -- @assigned-to-something
    perform tokenbook.refuse('invalid_purchase',
      '{"field": "p_plan_type", "rule": "a plan, or p_pack_type and p_quantity: nothing else says what was bought"}');
  end if;

  -- record
  v_said := jsonb_strip_nulls(jsonb_build_object(
    'user_id', case when v_facts.user_id is null then p_user_id end,
    'plan_type', case when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then p_plan_type end,
    'pack_type', case when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then p_pack_type end));
  if v_customer_id is not null and v_customer_user_id is null then
    select c.user_id, c.is_new into v_customer_user_id, v_is_new -- @assigned-customers-are-known begin
      from tokenbook.lock_customer(p_provider, v_customer_id, p_user_id, 'infinity', v_fact_id) c; -- @assigned-customers-are-known end
  end if;
  if v_said <> '{}' then
    v_said := v_said || jsonb_build_object('kind', 'assigned')
      || case when v_said ?| array['plan_type', 'pack_type'] then jsonb_build_object('quantity', p_quantity) else '{}' end;
    insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
    values (p_provider, v_facts.provider_payment_id, v_fact_id, sha256(convert_to(v_said::text, 'UTF8')),
            'assign_parked_token_payment', clock_timestamp(), v_said);
  end if;
  v_facts := tokenbook.keep_payment_facts(p_provider, v_ids);
  if v_said <> '{}' or v_is_new then
    perform tokenbook.record_change(
      'assign_parked_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object(
        'provider', p_provider, 'provider_payment_id', v_facts.provider_payment_id,
        'plan_type', v_facts.plan_type, 'pack_type', v_facts.pack_type, 'quantity', v_facts.quantity,
        'customer_id', case when v_is_new then v_customer_id end));
  end if;

  -- act
  v_answer := tokenbook.settle_and_describe_payment(v_facts, v_actor.actor_role, v_actor.actor_id);
  v_waiting := array(select unnest(v_waiting) except select unnest(v_ids));
  if v_is_new or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, v_customer_id, v_customer_user_id, v_waiting, v_actor.actor_role, v_actor.actor_id);
  end if;
  return v_answer || jsonb_build_object(
    'customer_id', v_customer_id, 'customer_user_id', v_customer_user_id, 'payments_released', cardinality(v_waiting),
    'payments_waiting', v_still_waiting);
end
$$;
comment on function tokenbook.assign_parked_token_payment is
  'Says whose a parked payment is (and which plan or how many of which pack was bought, where that is not known) and brings the books to it. For an admin or the server. The payment''s customer is that user from then on, where nobody was known to be, and what else waited for the customer is theirs, payments at most 20 a call. Returns what record_token_payment_event returns, without replayed, and {customer_id, customer_user_id (whose the customer is), payments_released, payments_waiting (that the same call again gives)}. Errors: payment_not_found, payment_already_decided, plan_not_found, pack_not_found, invalid_purchase, user_not_found, balance_limit_exceeded, forbidden, busy.';

-- from supabase/schemas/60_payments/check_payment_event.sql

/*
 * Refuses what is no fact of a payment, with what it must be: every text has its bound, every kind what it cannot
 * do without. Returns when it happened.
 * Caller: internal.   Errors: invalid_provider_event.
 */
create function tokenbook.check_payment_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
  p_facts jsonb
)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id constant text := '^[A-Za-z0-9._:-]{1,255}$';
  v_cents constant text := '^[0-9]{1,15}$';
  -- with its offset: without one it would be another moment in another session
  v_moment constant text := '^(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$';
  v_kind constant text := case jsonb_typeof(p_facts) when 'object' then p_facts ->> 'kind' end;
  v_field text;
begin
  v_field := case
    when p_provider is null or p_provider not in ('stripe', 'paypal') then 'p_provider'
    when coalesce(p_event_id, '') !~ v_id or p_event_id like 'assigned:%' then 'p_event_id'
    when coalesce(length(p_event_type), 0) not between 1 and 255 then 'p_event_type'
    when coalesce(p_provider_payment_id, '') !~ v_id then 'p_provider_payment_id'
    when coalesce(v_kind, '') not in ('paid', 'refund', 'refunded', 'credit', 'dispute') or octet_length(p_facts::text) > 8192 then 'p_facts'
    when coalesce(p_facts ->> 'occurred_at', '') !~ v_moment then 'occurred_at'
    when p_facts ->> 'currency' !~ '^[A-Za-z]{3}$' then 'currency'
    when p_facts ->> 'customer_id' !~ v_id then 'customer_id'
    when coalesce(p_facts ->> 'amount_cents', case when v_kind in ('refund', 'credit') then '' else '0' end) !~ v_cents then 'amount_cents'
    when v_kind = 'refunded' and coalesce(p_facts ->> 'refunded_cents', '') !~ v_cents then 'refunded_cents'
    when v_kind = 'refund' and coalesce(p_facts ->> 'refund_id', '') !~ v_id then 'refund_id'
    when v_kind = 'refund' and coalesce(p_facts ->> 'status', '') not in ('pending', 'succeeded', 'failed', 'canceled')
      or v_kind = 'dispute' and coalesce(p_facts ->> 'status', '') not in ('inquiry', 'reversed', 'open', 'won', 'lost') then 'status'
    when v_kind = 'dispute' and coalesce(p_facts ->> 'dispute_id', '') !~ v_id then 'dispute_id'
    when v_kind = 'credit' and coalesce(p_facts ->> 'credit_id', '') !~ v_id then 'credit_id'
    when p_facts ->> 'user_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'user_id'
    when num_nonnulls(p_facts -> 'plan_type', p_facts -> 'pack_type') > 1
      or p_facts ->> 'plan_type' !~ v_id then 'plan_type'
    when p_facts ->> 'pack_type' !~ v_id then 'pack_type'
    when p_facts ->> 'quantity' !~ '^[1-9][0-9]{0,8}$' then 'quantity'
    when p_facts ->> 'price_id' !~ v_id then 'price_id'
    when p_facts ->> 'period_start' !~ v_moment then 'period_start'
    when not tokenbook.parked_reasons() ? (p_facts ->> 'parked_reason') then 'parked_reason'
    when case jsonb_typeof(p_facts -> 'parts')
           when 'array' then jsonb_array_length(p_facts -> 'parts') > 100
             or exists (select from jsonb_array_elements(p_facts -> 'parts') part where coalesce(part #>> '{}', '') !~ v_id)
           else p_facts ? 'parts'
         end then 'parts'
  end;
  if v_field is null then
    begin
      perform (p_facts ->> 'period_start')::timestamptz;
      return (p_facts ->> 'occurred_at')::timestamptz;
    exception
      when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
        v_field := 'occurred_at, period_start';
    end;
  end if;
  perform tokenbook.refuse('invalid_provider_event', jsonb_build_object('field', v_field, 'rule',
    'a known provider, kind, status and reason; ids of 1 to 255 letters, digits and . _ : -; whole amounts of at most 15 digits; a currency of three letters; moments of 1900 to 2199 with their offset; a plan or a pack; at most 100 parts and 8,192 bytes'));
end
$$;
comment on function tokenbook.check_payment_event is
  'Refuses what is no fact of a payment; returns when it happened.';

-- from supabase/schemas/60_payments/check_subscription_event.sql

/*
 * Refuses what is no fact of a subscription, with what it must be: every text has its bound. Returns when it
 * happened.
 * Caller: internal.   Errors: invalid_provider_event.
 */
create function tokenbook.check_subscription_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_subscription_id text,
  p_facts jsonb
)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id constant text := '^[A-Za-z0-9._:-]{1,255}$';
  -- with its offset: without one it would be another moment in another session
  v_moment constant text := '^(19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$';
  v_kind constant text := case jsonb_typeof(p_facts) when 'object' then p_facts ->> 'kind' end;
  v_field text;
begin
  v_field := case
    when p_provider is null or p_provider not in ('stripe', 'paypal') then 'p_provider'
    when coalesce(p_event_id, '') !~ v_id then 'p_event_id'
    when coalesce(length(p_event_type), 0) not between 1 and 255 then 'p_event_type'
    when coalesce(p_provider_subscription_id, '') !~ v_id then 'p_provider_subscription_id'
    when coalesce(v_kind, '') <> 'subscription' or octet_length(p_facts::text) > 8192 then 'p_facts'
    when coalesce(p_facts ->> 'occurred_at', '') !~ v_moment then 'occurred_at'
    when coalesce(p_facts ->> 'status', '') not in ('active', 'past_due', 'paused', 'cancelled') then 'status'
    when p_facts ->> 'user_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'user_id'
    when p_facts ->> 'customer_id' !~ v_id then 'customer_id'
    when p_facts ->> 'plan_type' !~ v_id then 'plan_type'
    when p_facts ->> 'price_id' !~ v_id then 'price_id'
    when p_facts ->> 'cancel_at' !~ v_moment then 'cancel_at'
    when p_facts ->> 'current_period_end' !~ v_moment then 'current_period_end'
  end;
  if v_field is null then
    begin
      perform (p_facts ->> 'cancel_at')::timestamptz, (p_facts ->> 'current_period_end')::timestamptz;
      return (p_facts ->> 'occurred_at')::timestamptz;
    exception
      when datetime_field_overflow or invalid_datetime_format then
        v_field := 'occurred_at, cancel_at, current_period_end';
    end;
  end if;
  perform tokenbook.refuse('invalid_provider_event', jsonb_build_object('field', v_field, 'rule',
    'a known provider, kind and status; ids of 1 to 255 letters, digits and . _ : -; moments of 1900 to 2199 with their offset; at most 8,192 bytes'));
end
$$;
comment on function tokenbook.check_subscription_event is
  'Refuses what is no fact of a subscription; returns when it happened.';

-- from supabase/schemas/60_payments/create_token_payment.sql

/*
 * Asks for a plan, or for packs: a payment that waits for an administrator. Price, currency and terms are the
 * catalogue's, never the caller's, and the payment keeps them: what is asked for now is given then. A user has no
 * more of them waiting than tokenbook.limit_of says.
 * Caller: the user for themself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, invalid_purchase, plan_not_found,
 * pack_not_found, idempotency_key_reused, user_not_found, account_frozen, trial_already_taken, trial_needs_identity,
 * too_many_payments, busy.   Keeps: I11.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.create_token_payment(
  p_user_id uuid,
  p_to_plan text default null,
  p_idempotency_key text default null,
  p_pack_type text default null,
  p_quantity integer default 1
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_offer record;
  v_payment public.token_payments;
  v_key text;
  v_limit integer;
  v_replayed boolean;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  perform tokenbook.check_purchase(p_to_plan, p_pack_type, p_quantity);
  -- as in the ledger: a user's keys and the server's for him never meet
  v_key := case when v_actor.actor_role = 'user' then 'user:' else 'server:' end || p_idempotency_key;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_actor.actor_role);
    perform tokenbook.lock_account(p_user_id, p_create => true);
  end if;

  select p.* into v_payment
    from public.token_payments p
   where p.user_id = p_user_id and p.idempotency_key = v_key;
  v_replayed := v_payment.id is not null;
  if v_replayed and (v_payment.to_plan, v_payment.pack_type, v_payment.quantity)
                    is distinct from (p_to_plan, p_pack_type, p_quantity)
  then
    perform tokenbook.refuse('idempotency_key_reused', jsonb_build_object('differs', array_remove(array[
      case when v_payment.to_plan is distinct from p_to_plan then 'to_plan' end,
      case when v_payment.pack_type is distinct from p_pack_type then 'pack_type' end,
      case when v_payment.quantity <> p_quantity then 'quantity' end], null)));
  end if;
  if not v_replayed then
    perform tokenbook.require_active(p_user_id, v_account);
    perform tokenbook.settle_subscription(p_user_id);
    v_offer := tokenbook.find_offer(p_to_plan, p_pack_type, p_quantity);
    if v_offer.is_offered is not true and p_to_plan is not null then
      perform tokenbook.refuse('plan_not_found', '{"field": "p_to_plan"}');
    elsif v_offer.is_offered is not true then
      perform tokenbook.refuse('pack_not_found', '{"field": "p_pack_type"}');
    end if;
    perform tokenbook.require_trial(p_user_id, p_to_plan);
    v_limit := tokenbook.limit_of('pending_payments');
    if exists (
      select from public.token_payments p where p.user_id = p_user_id and p.status = 'pending'
      offset v_limit - 1) -- @payments-are-bounded
    then
      perform tokenbook.refuse('too_many_payments', jsonb_build_object('limit', v_limit));
    end if;
    insert into public.token_payments as p
      (user_id, from_plan, to_plan, pack_type, quantity, amount_cents, currency, terms, idempotency_key)
    values
      (p_user_id,
       case when p_to_plan is not null then (
         select s.plan_type from public.token_subscriptions s where s.user_id = p_user_id) end,
       p_to_plan, p_pack_type, p_quantity, v_offer.amount_cents, v_offer.currency, v_offer.terms, v_key)
    returning p.* into v_payment;
    perform tokenbook.record_change(
      'create_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
      jsonb_build_object(
        'payment_id', v_payment.id, 'to_plan', v_payment.to_plan, 'pack_type', v_payment.pack_type,
        'quantity', case when v_payment.pack_type is not null then v_payment.quantity end));
  end if;
  return jsonb_build_object(
    'success', true,
    'payment_id', v_payment.id,
    'status', v_payment.status,
    'from_plan', v_payment.from_plan,
    'to_plan', v_payment.to_plan,
    'pack_type', v_payment.pack_type,
    'quantity', v_payment.quantity,
    'terms', v_payment.terms,
    'amount_cents', v_payment.amount_cents,
    'currency', v_payment.currency,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.create_token_payment is
  'Asks for a plan (p_to_plan), or for p_quantity (1 to 1000) of a pack (p_pack_type): a pending payment for an admin to approve. For the user themself, an admin, or the server. Price, currency and terms are the catalogue''s, and are kept: a change of the catalogue before the approval does not count. Returns {success, payment_id, status, from_plan, to_plan, pack_type, quantity, terms, amount_cents, currency, replayed}. Errors: invalid_purchase, plan_not_found, pack_not_found, invalid_idempotency_key, idempotency_key_reused, user_not_found, account_frozen, trial_already_taken, trial_needs_identity, too_many_payments, forbidden, busy.';

-- from supabase/schemas/60_payments/customer_of.sql

/*
 * The customer that a user is at a payment provider; of several the one that was learned last, NULL when none
 * is known.
 * Caller: internal.
 */
create function tokenbook.customer_of(p_provider text, p_user_id uuid)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select c.customer_id
      from tokenbook.provider_customers c
     where c.provider = p_provider and c.user_id = p_user_id
     order by c.created_at desc, c.customer_id desc
     limit 1);
end
$$;
comment on function tokenbook.customer_of is
  'The customer that a user is at a payment provider: of several the one learned last, NULL when none is known.';

-- from supabase/schemas/60_payments/dismiss_parked_token_payment.sql

/*
 * Takes a parked payment off the list of those that wait, with a reason: it is nobody's, or it is settled elsewhere.
 * It gives nothing. It comes back, and is told of again, when something else becomes known of it. It can still be
 * assigned. Dismissing twice changes nothing.
 * Caller: an admin, service_role.   Locks: the payment's facts.
 * Errors: not_authenticated, forbidden, invalid_reason, payment_not_found, payment_already_decided, busy.   Keeps: I10.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.dismiss_parked_token_payment(
  p_provider text,
  p_provider_payment_id text,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_ids text[];
  v_facts tokenbook.provider_payments;
begin
  v_actor := tokenbook.authorize_operator();
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  v_ids := tokenbook.lock_provider_payment(p_provider, p_provider_payment_id);
  select f.* into v_facts
    from tokenbook.provider_payments f
   where f.provider = p_provider and f.provider_payment_id = any (v_ids) and f.part_of is null;
  if v_facts.provider is null then
    perform tokenbook.refuse('payment_not_found', tokenbook.say_payment_id());
  elsif v_facts.parked_reason is null then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', tokenbook.standing_of_payment(v_facts)));
  end if;
  if v_facts.dismissed_at is null then
    update tokenbook.provider_payments f
       set dismissed_at = clock_timestamp()
     where f.provider = p_provider and f.provider_payment_id = v_facts.provider_payment_id;
    perform tokenbook.record_change(
      'dismiss_parked_token_payment', v_facts.user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'provider', p_provider, 'provider_payment_id', v_facts.provider_payment_id, 'parked_reason', v_facts.parked_reason,
        'amount_cents', v_facts.amount_cents, 'currency', v_facts.currency));
  end if;
  return jsonb_build_object(
    'success', true,
    'provider', p_provider,
    'provider_payment_id', v_facts.provider_payment_id,
    'status', 'dismissed',
    'parked_reason', v_facts.parked_reason,
    'replayed', v_facts.dismissed_at is not null);
end
$$;
comment on function tokenbook.dismiss_parked_token_payment is
  'Takes a parked payment off the list, with a reason (1 to 500 characters); it gives nothing, and comes back when something else becomes known of it. For an admin or the server. Dismissing twice changes nothing and answers replayed. Returns {success, provider, provider_payment_id, status (dismissed), parked_reason, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, forbidden, busy.';

-- from supabase/schemas/60_payments/facts_of_payment.sql

/*
 * What is known of a provider's payment, from everything that was told of it and of its parts (p_ids), in one place:
 * nothing is added to what was known before, so the order in which events came can decide nothing. Its work grows
 * with the events of this payment, and with nothing else (I11).
 *
 * - User, plan or pack with its quantity, currency, period, price and customer: the first that names one which we
 *   know, by when it happened, then by its event's id. What an admin assigned counts where no event names one, the
 *   customer's user where neither does. What is booked stays: the user, the plan or pack, and under which id.
 * - Amount: the largest that was told; without one, the price in the catalogue.
 * - Refunds: of each, by its own id, what was told last; pending and succeeded have gone. Or the provider's running
 *   total, less what failed since, where that is more. Of parts, each by itself, then together.
 * - Credits: what the provider credited to the customer for unused time of what was paid for, each by its own id: it
 *   has gone as a refund has, and pays for something else.
 * - Disputes: of each, by its own id, what was told last; open and lost withhold its amount.
 * - Reversals: what a provider took back by itself, each by its own id. One is a dispute's, if that was open when it
 *   came, or has its amount and was not won before; then the dispute says whether the money is gone, up to the most
 *   that it was about. What is more than that, and a reversal that is no dispute's, is gone by itself.
 * An amount in another currency than the payment's cannot be compared: it is all of the payment; so is a dispute's
 * that is not told.
 * Two facts of one moment: what ends a refund or dispute is later than what begins it.
 * Caller: internal, holding the locks of these ids.   Keeps: I12.
 */
create function tokenbook.facts_of_payment(p_provider text, p_ids text[])
returns tokenbook.provider_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_payments;
  v_booked public.token_payments;
  v_reason text;
  v_charged bigint;
begin
  select p.* into v_booked
    from tokenbook.provider_payments f
    join public.token_payments p
      on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
   where f.provider = p_provider and f.provider_payment_id = any (p_ids)
   order by p.decided_at, p.id
   limit 1;

  with told as materialized (
    select e.facts as f, e.facts ->> 'kind' as kind, e.provider_payment_id as part,
           row_number() over (
             order by e.facts ->> 'kind' = 'assigned', e.occurred_at, e.event_id, e.provider_payment_id, e.digest) as nth
      from tokenbook.provider_events e
     where e.provider = p_provider and e.provider_payment_id = any (p_ids)
  ), users as (
    select (t.f ->> 'user_id')::uuid as user_id, t.kind = 'assigned' as is_assigned, min(t.nth) as nth
      from told t where t.f ? 'user_id' group by 1, 2
  ), things as (
    select t.f ->> 'plan_type' as plan_type, t.f ->> 'pack_type' as pack_type,
           coalesce((t.f ->> 'quantity')::integer, 1) as quantity, min(t.nth) as nth
      from told t
     where t.kind in ('paid', 'assigned') and num_nonnulls(t.f -> 'plan_type', t.f -> 'pack_type') = 1
       and not t.f ? 'parked_reason' -- that one gives nothing by itself
     group by 1, 2, 3
  ), known as (
    select th.*, th.quantity > case when p.plan_type is not null then 1 else (tokenbook.limits() -> 'pack_quantity')::integer end as is_too_many
      from things th
      left join public.token_plans p on p.plan_type = th.plan_type
      left join public.token_packs k on k.pack_type = th.pack_type
     where p.plan_type is not null or k.pack_type is not null
  )
  select one.is_paid, one.whole, one.customer_id, one.currency, one.period_start, one.price_id,
         bought.plan_type, bought.pack_type, bought.quantity,
         (select u.user_id from users u
           where exists (select from auth.users a where a.id = u.user_id)
              or exists (select from public.token_accounts a where a.user_id = u.user_id)
           order by u.nth limit 1),
         coalesce(
           one.reason,
           case when exists (select from known n where n.is_too_many) then 'quantity'
                when one.price_id is not null or exists (select from things) then 'price_unknown'
                else 'nothing_named' end)
    into v_facts.is_paid, v_facts.provider_payment_id, v_facts.customer_id, v_facts.currency, v_facts.period_start,
         v_facts.price_id, v_facts.plan_type, v_facts.pack_type, v_facts.quantity, v_facts.user_id, v_reason
    from (
      select coalesce(bool_or(t.kind = 'paid'), false) as is_paid,
             (array_agg(t.part order by t.nth) filter (where t.kind = 'paid' and t.f ? 'parts'))[1] as whole,
             (array_agg(t.f ->> 'customer_id' order by t.nth) filter (where t.f ? 'customer_id'))[1] as customer_id,
             (array_agg(lower(t.f ->> 'currency') order by t.kind <> 'paid', t.nth) filter (where t.f ? 'currency'))[1] as currency,
             (array_agg((t.f ->> 'period_start')::timestamptz order by t.nth) filter (where t.f ? 'period_start'))[1] as period_start,
             (array_agg(t.f ->> 'price_id' order by t.nth) filter (where t.f ? 'price_id'))[1] as price_id,
             (array_agg(t.f ->> 'parked_reason' order by t.nth) filter (where t.f ? 'parked_reason'))[1] as reason
        from told t) one
    left join lateral (
      select n.plan_type, n.pack_type, n.quantity from known n where not n.is_too_many order by n.nth limit 1) bought on true;

  v_facts.provider := p_provider;
  v_facts.user_id := coalesce(v_facts.user_id, (
    select c.user_id from tokenbook.provider_customers c
     where c.provider = p_provider and c.customer_id = v_facts.customer_id -- @customers-find-users
  ));
  if v_booked.id is not null then
    v_facts.provider_payment_id := v_booked.provider_payment_id;
    v_facts.user_id := v_booked.user_id; -- @booked-once-stays
    v_facts.plan_type := v_booked.to_plan;
    v_facts.pack_type := v_booked.pack_type;
    v_facts.quantity := v_booked.quantity;
  end if;
  v_facts.provider_payment_id := coalesce(v_facts.provider_payment_id, p_ids[1]);
  v_facts.parked_reason := case
    when not v_facts.is_paid then null -- nobody waits for anything
    when num_nonnulls(v_facts.plan_type, v_facts.pack_type) = 0 then v_reason
    when v_facts.user_id is null then 'user_unknown'
  end;

  -- the amount
  select max((e.facts ->> 'amount_cents')::bigint) -- @largest-amount-counts
    into v_facts.amount_cents
    from tokenbook.provider_events e
   where e.provider = p_provider and e.provider_payment_id = any (p_ids)
     and e.facts ->> 'kind' = 'paid' and (lower(e.facts ->> 'currency') <> v_facts.currency) is not true;
  -- what each part was charged says it of all together, where each is told
  select sum(part.amount_cents) into v_charged
    from (select max((e.facts ->> 'amount_cents')::bigint) as amount_cents
            from tokenbook.provider_events e
           where e.provider = p_provider and e.provider_payment_id = any (p_ids)
             and e.facts ->> 'kind' = 'refunded' and (lower(e.facts ->> 'currency') <> v_facts.currency) is not true
           group by e.provider_payment_id) part
  having count(part.amount_cents) = cardinality(p_ids);
  v_facts.amount_cents := coalesce(
    greatest(v_facts.amount_cents, v_charged),
    v_booked.amount_cents,
    (select p.price_cents from public.token_plans p where p.plan_type = v_facts.plan_type),
    (select p.price_cents * v_facts.quantity from public.token_packs p where p.pack_type = v_facts.pack_type));

  -- what went back
  with told as materialized (
    select e.*, e.facts ->> 'kind' as kind, e.provider_payment_id as part,
           -- what cannot be compared is all of it
           case when (lower(e.facts ->> 'currency') <> v_facts.currency) is true then v_facts.amount_cents -- @other-currencies-are-all begin
                else coalesce(e.facts ->> 'refunded_cents', e.facts ->> 'amount_cents')::bigint end as cents -- @other-currencies-are-all end
      from tokenbook.provider_events e
     where e.provider = p_provider and e.provider_payment_id = any (p_ids)
       and e.facts ->> 'kind' in ('refund', 'refunded', 'credit')
  ), refunds as (
    select distinct on (t.facts ->> 'refund_id')
           t.part, t.occurred_at, t.cents,
           t.facts ->> 'status' in ('pending', 'succeeded') as has_gone -- @failed-refunds-come-back
      from told t
     where t.kind = 'refund'
     order by t.facts ->> 'refund_id', t.occurred_at desc,
              array_position(array['pending', 'succeeded', 'canceled', 'failed'], t.facts ->> 'status') desc,
              t.cents desc, t.part
  ), totals as (
    select distinct on (t.part) t.part, t.occurred_at, t.cents
      from told t
     where t.kind = 'refunded'
     order by t.part, t.occurred_at desc, -- @latest-total-counts
              t.cents desc
  ), credits as (
    select max(t.cents) as cents from told t where t.kind = 'credit' group by t.facts ->> 'credit_id'
  )
  select least(
           coalesce(sum(greatest(
             r.gone_cents,
             t.cents - r.failed_since_cents, -- @totals-less-what-failed
             0)), 0)
             + (select coalesce(sum(c.cents), 0) from credits c), -- @credits-take-their-share
           v_facts.amount_cents)
    into v_facts.refunded_cents
    from unnest(p_ids) as part (id)
    left join totals t on t.part = part.id
   cross join lateral (
     select sum(r.cents) filter (where r.has_gone) as gone_cents,
            coalesce(sum(r.cents) filter (where not r.has_gone and r.occurred_at >= t.occurred_at), 0) as failed_since_cents
       from refunds r where r.part = part.id) r;

  -- what is withheld
  with told as materialized (
    select e.facts ->> 'dispute_id' as id, -- @disputes-by-id
           e.facts ->> 'status' as status, e.occurred_at,
           coalesce(
             case when (lower(e.facts ->> 'currency') <> v_facts.currency) is not true then (e.facts ->> 'amount_cents')::bigint end,
             v_facts.amount_cents) as cents,
           row_number() over (
             order by e.occurred_at, array_position(array['inquiry', 'reversed', 'open', 'won', 'lost'], e.facts ->> 'status'),
                      (e.facts ->> 'amount_cents')::bigint, e.facts ->> 'currency' desc) as nth
      from tokenbook.provider_events e
     where e.provider = p_provider and e.provider_payment_id = any (p_ids) and e.facts ->> 'kind' = 'dispute'
  ), ends as (
    select distinct on (t.id) t.* from told t order by t.id, t.nth desc
  ), courses as materialized (
    -- what each dispute was, from its beginning on, how it ended, and the most that it was about
    select t.id, t.status, t.occurred_at, t.nth, e.cents,
           min(t.occurred_at) over (partition by t.id) as since, max(t.cents) over (partition by t.id) as most_cents
      from told t
      join ends e on e.id = t.id and e.status <> 'reversed'
     where t.status in ('open', 'won', 'lost')
  ), reversals as (
    -- each, and whose it is: of several disputes, the one that has its amount, then the one that was first
    select distinct on (r.id) r.id, r.cents, r.dispute_id, r.most_cents
      from (
        select d.*
          from (
            select r.id, r.cents, c.id as dispute_id, c.most_cents, c.since, r.cents in (c.cents, c.most_cents) as is_alike,
                   -- how the dispute stood when the reversal came, and whether it went on
                   (array_agg(c.status order by c.nth desc) filter (where c.occurred_at <= r.occurred_at))[1] as was,
                   bool_or(c.occurred_at > r.occurred_at and c.status <> 'won') as goes_on
              from ends r
             cross join courses c
             where r.status = 'reversed'
             group by r.id, r.cents, r.occurred_at, c.id, c.cents, c.most_cents, c.since) d
         where d.was = 'open' -- @reversals-of-open-disputes
            or d.is_alike
               and (d.was = 'won' and not d.goes_on) is not true -- @won-disputes-are-over
        union all
        select r.id, r.cents, null, null, null, null, null, null from ends r where r.status = 'reversed') r
     order by r.id, r.is_alike desc nulls last, r.since, r.dispute_id
  ), own as (
    -- what of them no dispute says the end of
    select greatest(sum(r.cents) - coalesce(max(r.most_cents), 0), 0) as cents -- @no-more-than-disputed
      from reversals r
     group by r.dispute_id
  )
  select least(
           coalesce((select sum(e.cents) from ends e where e.status in ('open', 'lost')), 0)
             + coalesce((select sum(o.cents) from own o), 0),
           v_facts.amount_cents - v_facts.refunded_cents)
    into v_facts.disputed_cents;

  -- what else was told
  select nullif(jsonb_strip_nulls(jsonb_build_object(
           'user_id', jsonb_agg(distinct (e.facts ->> 'user_id')::uuid) filter (where (e.facts ->> 'user_id')::uuid <> v_facts.user_id),
           'plan_type', jsonb_agg(distinct e.facts ->> 'plan_type') filter (where e.facts ->> 'plan_type' is distinct from v_facts.plan_type and e.facts ? 'plan_type'),
           'pack_type', jsonb_agg(distinct e.facts ->> 'pack_type') filter (where e.facts ->> 'pack_type' is distinct from v_facts.pack_type and e.facts ? 'pack_type'),
           'quantity', jsonb_agg(distinct (e.facts ->> 'quantity')::integer) filter (where (e.facts ->> 'quantity')::integer <> v_facts.quantity),
           'currency', jsonb_agg(distinct lower(e.facts ->> 'currency')) filter (where lower(e.facts ->> 'currency') <> v_facts.currency))), '{}')
    into v_facts.disagrees
    from tokenbook.provider_events e
   where e.provider = p_provider and e.provider_payment_id = any (p_ids);
  return v_facts;
end
$$;
comment on function tokenbook.facts_of_payment is
  'What is known of a provider''s payment, computed from all that was told of it and of its parts.';

-- from supabase/schemas/60_payments/facts_of_subscription.sql

/*
 * What is known of a provider's subscription, from everything that was told of it: nothing is added to what was
 * known before, so the order in which events came can decide nothing. Its work grows with the events of this
 * subscription, and with nothing else (I11).
 * - Status, with the end and the period that the same event names: what was told last. Of two facts of one moment,
 *   what ends a subscription is later than what pauses it, that later than a failed payment, that than all is well.
 * - Plan and price: the last that were named; a subscription may change its plan. Of plans, those we know.
 * - User and customer: the first that were named.
 * Caller: internal, holding the subscription's lock.
 */
create function tokenbook.facts_of_subscription(p_provider text, p_provider_subscription_id text)
returns tokenbook.provider_subscriptions
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_subscriptions;
begin
  with told as materialized (
    select e.facts as f, e.occurred_at,
           row_number() over (
             order by e.occurred_at, -- @latest-of-a-subscription
                      array_position(array['active', 'past_due', 'paused', 'cancelled'], e.facts ->> 'status'),
                      e.event_id, e.digest) as nth
      from tokenbook.provider_subscription_events e
     where e.provider = p_provider and e.provider_subscription_id = p_provider_subscription_id
  )
  select (array_agg(t.f ->> 'status' order by t.nth desc))[1],
         (array_agg((t.f ->> 'cancel_at')::timestamptz order by t.nth desc))[1],
         (array_agg((t.f ->> 'current_period_end')::timestamptz order by t.nth desc))[1],
         (array_agg(t.occurred_at order by t.nth desc))[1],
         (array_agg(t.f ->> 'plan_type' order by t.nth desc) filter (
           where exists (select from public.token_plans p where p.plan_type = t.f ->> 'plan_type')))[1],
         (array_agg(t.f ->> 'price_id' order by t.nth desc) filter (where t.f ? 'price_id'))[1],
         (array_agg(t.f ->> 'customer_id' order by t.nth) filter (where t.f ? 'customer_id'))[1],
         (array_agg((t.f ->> 'user_id')::uuid order by t.nth) filter (
           where exists (select from auth.users a where a.id = (t.f ->> 'user_id')::uuid)
              or exists (select from public.token_accounts a where a.user_id = (t.f ->> 'user_id')::uuid)))[1]
    into v_facts.status, v_facts.cancel_at, v_facts.current_period_end, v_facts.occurred_at, v_facts.plan_type,
         v_facts.price_id, v_facts.customer_id, v_facts.user_id
    from told t;
  v_facts.provider := p_provider;
  v_facts.provider_subscription_id := p_provider_subscription_id;
  return v_facts;
end
$$;
comment on function tokenbook.facts_of_subscription is
  'What is known of a provider''s subscription, computed from all that was told of it.';

-- from supabase/schemas/60_payments/get_token_customer.sql

/*
 * Says which customer a user is at a payment provider: what the customer portal is opened for. A frozen
 * account has one too: whoever pays may end what they pay for.
 * Caller: the user for themself, an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_customer, user_not_found.
 */
-- Security definer: nobody reads the table themselves.
create function tokenbook.get_token_customer(p_user_id uuid, p_provider text default 'stripe')
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if (p_provider in ('stripe', 'paypal')) is not true then
    perform tokenbook.refuse('invalid_customer', '{"field": "p_provider", "rule": "stripe or paypal"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  return jsonb_build_object(
    'user_id', p_user_id, 'provider', p_provider, 'customer_id', tokenbook.customer_of(p_provider, p_user_id));
end
$$;
comment on function tokenbook.get_token_customer is
  'Which customer a user is at a payment provider (p_provider stripe or paypal). For the user themself, an admin, or the server. Returns {user_id, provider, customer_id (NULL = none is known)}. Errors: invalid_customer, user_not_found, forbidden.';

-- from supabase/schemas/60_payments/give_what_was_bought.sql

/*
 * Gives what a payment bought, once, on the terms it was asked for at, whatever the catalogue says since: of a plan
 * its period (tokenbook.start_period); of a pack its tokens, as many as were bought in one grant, and the
 * subscription stays as it is. What approval and the providers' events have in common.
 * p_entry is the transaction to be: user_id, reason, actor, metadata.
 * Locks: the account.   Returns the payment, which says what it gave; its transaction, replayed where it had
 * been given before.   Errors: as issue_grant.   Keeps: I2 to I5, I9, I10, I12.
 */
create function tokenbook.give_what_was_bought(
  p_payment public.token_payments,
  p_period_start timestamptz,
  p_entry public.token_transactions,
  out payment public.token_payments,
  out transaction public.token_transactions,
  out replayed boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plan public.token_plans;
  v_grant public.token_balances;
  v_given record;
begin
  p_entry.payment_id := p_payment.id;
  if p_payment.to_plan is not null then
    select p.* into v_plan from public.token_plans p where p.plan_type = p_payment.to_plan;
    v_plan.tokens := p_payment.terms ->> 'tokens'; -- @tokens-as-asked
    v_plan.grant_lifetime_days := p_payment.terms ->> 'grant_lifetime_days';
    v_plan.articles_limit := p_payment.terms ->> 'articles_limit';
    v_plan.storage_gb := p_payment.terms ->> 'storage_gb';
    v_plan.features := p_payment.terms -> 'features';
    v_plan.issue_every := p_payment.terms ->> 'issue_every';
    v_plan.issue_on := coalesce(p_payment.terms ->> 'issue_on', v_plan.issue_on);
    v_plan.refill_to := p_payment.terms ->> 'refill_to';
    v_given := tokenbook.start_period(
      v_plan, p_period_start, p_payment.provider, p_payment.provider_payment_id, p_entry);
    transaction := v_given.transaction;
    replayed := v_given.replayed;
  else
    perform tokenbook.lock_account(p_entry.user_id);
    perform tokenbook.settle_subscription(p_entry.user_id);
    select t.* into transaction
      from public.token_balances b
      join public.token_transactions t
        on t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id
     where b.user_id = p_entry.user_id and b.payment_id = p_payment.id;
    replayed := transaction.id is not null;
    if not replayed then
      v_grant.grant_type := 'purchase';
      v_grant.tokens_granted := (p_payment.terms ->> 'tokens')::bigint * p_payment.quantity; -- @packs-as-asked
      v_grant.priority := p_payment.terms ->> 'priority';
      v_grant.expires_at := case when p_payment.terms ->> 'lifetime_days' is null then 'infinity' end;
      v_grant.payment_id := p_payment.id;
      v_grant.metadata := p_entry.metadata;
      p_entry.action_type := tokenbook.grant_types() -> v_grant.grant_type ->> 'action_type';
      v_given := tokenbook.issue_grant( -- @packs-leave-the-plan begin
        v_grant, p_entry, (p_payment.terms ->> 'lifetime_days')::integer * interval '24 hours'); -- @packs-leave-the-plan end
      transaction := v_given.transaction;
    end if;
  end if;

  -- what it gave, for what a refund takes back
  update public.token_payments p
     set tokens = b.tokens_granted
    from public.token_balances b
   where p.user_id = p_entry.user_id and p.id = p_payment.id
     and b.user_id = p.user_id and b.payment_id = p.id and p.tokens is null
  returning p.* into payment;
  if payment.id is null then
    payment := p_payment; -- what it has given since is more
  end if;
end
$$;
comment on function tokenbook.give_what_was_bought is
  'Gives the plan or the packs of a payment, once, on the terms it was asked for at.';

-- from supabase/schemas/60_payments/joined_payments.sql

/*
 * The ids of all payments that are parts of the same as one of these, in order; NULL when none is known.
 * Caller: internal.   Locks: nothing.
 */
create function tokenbook.joined_payments(p_provider text, p_ids text[])
returns text[]
language plpgsql
volatile -- sees what was committed while its caller waited for a lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    with named as (
      select coalesce(f.part_of, f.provider_payment_id) as whole
        from tokenbook.provider_payments f
       where f.provider = p_provider and f.provider_payment_id = any (p_ids))
    select array_agg(joined.id order by joined.id) from (
      select n.whole as id from named n
      union
      select f.provider_payment_id from tokenbook.provider_payments f
       where f.provider = p_provider and f.part_of in (select n.whole from named n)) joined); -- @parts-are-joined
end
$$;
comment on function tokenbook.joined_payments is
  'The ids of all payments that are parts of the same as one of these.';

-- from supabase/schemas/60_payments/keep_payment_facts.sql

/*
 * Computes anew what is known of a provider's payment and keeps it: in one row, to which those of its other parts
 * point. A part that was booked by itself before it was known as one keeps whose it is, so that it can be undone.
 * Caller: internal, holding the locks of these ids.   Returns the row.
 */
create function tokenbook.keep_payment_facts(p_provider text, p_ids text[])
returns tokenbook.provider_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_payments := tokenbook.facts_of_payment(p_provider, p_ids);
begin
  update tokenbook.provider_payments f
     set part_of = v_facts.provider_payment_id,
         user_id = (select p.user_id from public.token_payments p
                     where p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id),
         customer_id = null, plan_type = null, pack_type = null, quantity = null, price_id = null, is_paid = false,
         amount_cents = null, currency = null, refunded_cents = 0, disputed_cents = 0, period_start = null,
         parked_reason = null, disagrees = null,
         updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = any (p_ids)
     and f.provider_payment_id <> v_facts.provider_payment_id;
  update tokenbook.provider_payments f
     set part_of = null,
         user_id = v_facts.user_id,
         customer_id = v_facts.customer_id,
         plan_type = v_facts.plan_type,
         pack_type = v_facts.pack_type,
         quantity = v_facts.quantity,
         price_id = v_facts.price_id,
         is_paid = v_facts.is_paid,
         amount_cents = v_facts.amount_cents,
         currency = v_facts.currency,
         refunded_cents = v_facts.refunded_cents,
         disputed_cents = v_facts.disputed_cents,
         period_start = v_facts.period_start,
         parked_reason = v_facts.parked_reason,
         disagrees = v_facts.disagrees,
         updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_payment_id = v_facts.provider_payment_id
  returning f.* into v_facts;
  return v_facts;
end
$$;
comment on function tokenbook.keep_payment_facts is
  'Computes anew what is known of a provider''s payment, and keeps and returns it.';

-- from supabase/schemas/60_payments/list_parked_token_payments.sql

/*
 * Payments that were paid at a provider and give nothing yet, because their user is not known or what was bought,
 * oldest first, each with its reason, in pages: for the next one give the created_at, provider and
 * provider_payment_id of the last row.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_page.
 * Keeps: I11.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_parked_token_payments(
  p_limit integer default 1000,
  p_after_created_at timestamptz default null,
  p_after_provider text default null,
  p_after_payment_id text default null
)
returns table (
  provider text, provider_payment_id text, user_id uuid, customer_id text, plan_type text, pack_type text, quantity integer,
  price_id text, amount_cents bigint, currency text, refunded_cents bigint, disputed_cents bigint,
  parked_reason text, explanation text, created_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 1000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 1000"}');
  elsif num_nonnulls(p_after_created_at, p_after_provider, p_after_payment_id) not in (0, 3) then
    perform tokenbook.refuse('invalid_page', '{"field": "p_after_created_at", "rule": "all three of the last row, or none"}');
  end if;
  return query
  select f.provider, f.provider_payment_id, f.user_id, f.customer_id, f.plan_type, f.pack_type, f.quantity, f.price_id,
         f.amount_cents, f.currency, f.refunded_cents, f.disputed_cents,
         f.parked_reason, tokenbook.parked_reasons() ->> f.parked_reason, f.created_at
    from tokenbook.provider_payments f
   where f.parked_reason is not null and f.dismissed_at is null
     and (p_after_provider is null
       or (f.created_at, f.provider, f.provider_payment_id) > (p_after_created_at, p_after_provider, p_after_payment_id))
   order by f.created_at, f.provider, f.provider_payment_id
   limit p_limit;
end
$$;
comment on function tokenbook.list_parked_token_payments is
  'Payments that were paid at a provider and give nothing yet, because their user is not known or what was bought, oldest first: parked_reason, and explanation for people. p_limit (1 to 1000) a page; for the next page p_after_created_at, p_after_provider and p_after_payment_id of the last row. See assign_parked_token_payment and dismiss_parked_token_payment. For an admin or the server. Errors: not_authenticated, forbidden, invalid_page.';

-- from supabase/schemas/60_payments/lock_customer.sql

/*
 * Locks a provider's customer, made first where there is none, and learns whose they are where p_user_id says it:
 * of the provider's events the earliest that names a user counts, by when it happened, then by its event's id, though it
 * may be heard of later. What our own server or an admin has said of the customer (no event's id) stays, whatever events
 * say; an admin's assignment of a payment counts while no event names a user. Taken before any payment's lock: so a
 * payment that names its customer alone, and the event that names the customer's user, never miss each other.
 * Returns whose the customer is, NULL where nothing says it, and whether that is another than before.
 * Caller: internal.   Errors: busy.
 */
create function tokenbook.lock_customer(
  p_provider text,
  p_customer_id text,
  p_user_id uuid,
  p_told_at timestamptz,
  p_event_id text,
  out user_id uuid,
  out is_new boolean
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '700ms' -- twice, then twice for the payment, and the account's: together less than the statement may take
as $$
declare
  v_customer tokenbook.provider_customers;
begin
  insert into tokenbook.provider_customers (provider, customer_id) values (p_provider, p_customer_id) on conflict do nothing;
  select c.* into v_customer
    from tokenbook.provider_customers c
   where c.provider = p_provider and c.customer_id = p_customer_id
     for no key update;
  user_id := v_customer.user_id;
  is_new := false;
  if p_user_id is null
    or v_customer.user_id is not null and (v_customer.told_at, v_customer.event_id) <= (p_told_at, p_event_id) -- @first-user-counts
  then
    return;
  end if;
  update tokenbook.provider_customers c
     set user_id = p_user_id,
         told_at = case when p_event_id = '' then '-infinity' else p_told_at end, -- @said-by-us-stays
         event_id = p_event_id
   where c.provider = p_provider and c.customer_id = p_customer_id;
  user_id := p_user_id;
  is_new := p_user_id is distinct from v_customer.user_id;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_customer is
  'Locks a provider''s customer and learns whose they are; says who that is, and whether it is new.';

-- from supabase/schemas/60_payments/lock_provider_payment.sql

/*
 * Locks what is known of a provider's payment: its row, and those of all payments that are parts of the same or
 * are named in p_parts. With p_create those that are not there are made first. Taken before the account's lock,
 * always, and in the order of their ids; waits a second and a half at most, then says busy.
 * Returns their ids; NULL when nothing is known of the payment.
 * Caller: internal.   Errors: busy.
 */
create function tokenbook.lock_provider_payment(
  p_provider text,
  p_provider_payment_id text,
  p_parts text[] default '{}',
  p_create boolean default false
)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '700ms' -- twice, as the customer's before it, and the account's after: together less than the statement may take
as $$
declare
  v_ids text[];
begin
  if p_create then
    insert into tokenbook.provider_payments (provider, provider_payment_id)
    select p_provider, named.id from unnest(p_provider_payment_id || p_parts) as named (id) order by named.id
    on conflict do nothing;
  end if;
  v_ids := tokenbook.joined_payments(p_provider, p_provider_payment_id || p_parts);
  perform 1 from tokenbook.provider_payments f
    where f.provider = p_provider and f.provider_payment_id = any (v_ids)
    order by f.provider_payment_id
      for no key update;
  -- joined to others while this waited: those have to be locked in their order, by whoever comes again
  if tokenbook.joined_payments(p_provider, p_provider_payment_id || p_parts) is distinct from v_ids then
    perform tokenbook.refuse('busy', '{}');
  end if;
  return v_ids;
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.lock_provider_payment is
  'Locks the facts of a provider''s payment and of its parts (at most a second and a half, then busy) and returns their ids.';

-- from supabase/schemas/60_payments/prepare_token_checkout.sql

/*
 * Says what a checkout page at Stripe is made of: the price there and the amount here, and which customer the
 * user is. Everything is from the catalogue and the books; the caller says only what they want. Nothing is written:
 * nothing is bought until the provider says so.
 * idempotency_key is the caller's key as it is sent to the provider, of a bounded length, a user's and the server's
 * apart.
 * Caller: the user for themself, an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_idempotency_key, invalid_purchase, user_not_found,
 * account_frozen, plan_not_found, pack_not_found, not_for_sale, trial_already_taken,
 * trial_needs_identity, already_subscribed (at PayPal).
 */
-- Security definer: nobody reads the customers themselves, and an admin reads other users' rows.
create function tokenbook.prepare_token_checkout(
  p_user_id uuid,
  p_plan_type text default null,
  p_pack_type text default null,
  p_quantity integer default 1,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile -- as tokenbook.require_active
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_offer record;
  v_price_id text;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.check_request(p_idempotency_key, null, null);
  perform tokenbook.check_purchase(p_plan_type, p_pack_type, p_quantity);
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_active(p_user_id, v_account);

  -- act
  v_offer := tokenbook.find_offer(p_plan_type, p_pack_type, p_quantity);
  if v_offer.is_offered is not true then
    perform tokenbook.refuse(
      case when p_plan_type is null then 'pack_not_found' else 'plan_not_found' end,
      jsonb_build_object('field', case when p_plan_type is null then 'p_pack_type' else 'p_plan_type' end));
  end if;
  select i.price_id into v_price_id
    from public.token_price_ids i
   where i.provider = 'stripe' and i.is_current and (i.plan_type = p_plan_type or i.pack_type = p_pack_type);
  if v_price_id is null or v_offer.amount_cents = 0 then
    perform tokenbook.refuse('not_for_sale', jsonb_build_object(
      'field', case when p_plan_type is null then 'p_pack_type' else 'p_plan_type' end,
      'rule', case when v_price_id is null then 'one that has a stripe_price_id in the catalogue' else 'one that costs something' end));
  end if;
  perform tokenbook.require_trial(p_user_id, p_plan_type);
  -- at Stripe it is Stripe that is asked, which knows it at once; of PayPal the books are all there is to ask
  if p_plan_type is not null and exists (
    select from tokenbook.provider_subscriptions f
     where f.provider = 'paypal' and f.status <> 'cancelled' and (f.cancel_at <= clock_timestamp()) is not true
       and (f.user_id = p_user_id
         or f.user_id is null and f.customer_id in (
           select c.customer_id from tokenbook.provider_customers c
            where c.provider = f.provider and c.user_id = p_user_id)))
  then
    perform tokenbook.refuse('already_subscribed', '{}');
  end if;
  return jsonb_build_object(
    'user_id', p_user_id,
    'plan_type', p_plan_type,
    'pack_type', p_pack_type,
    'quantity', p_quantity,
    'price_id', v_price_id,
    'amount_cents', v_offer.amount_cents,
    'currency', v_offer.currency,
    'billing_cycle', (select p.billing_cycle from public.token_plans p where p.plan_type = p_plan_type),
    'customer_id', tokenbook.customer_of('stripe', p_user_id),
    'idempotency_key', encode(sha256(convert_to(
      p_user_id || case when v_actor.actor_role = 'user' then ':user:' else ':server:' end || p_idempotency_key, 'UTF8')), 'hex'));
end
$$;
comment on function tokenbook.prepare_token_checkout is
  'What a checkout page at Stripe is made of, for a plan (p_plan_type) or p_quantity of a pack (p_pack_type): for the user themself, an admin, or the server. Writes nothing. Returns {user_id, plan_type, pack_type, quantity, price_id (at Stripe), amount_cents (of all of them), currency, billing_cycle (of a plan; NULL = a pack), customer_id (NULL = none yet), idempotency_key (NULL without p_idempotency_key)}. Errors: invalid_purchase, invalid_idempotency_key, plan_not_found, pack_not_found, not_for_sale, trial_already_taken, trial_needs_identity, already_subscribed (at PayPal; who asks Stripe learns of Stripe''s), account_frozen, user_not_found, forbidden.';

-- from supabase/schemas/60_payments/provider_terms.sql

/*
 * What a provider says of a period of a plan that was paid there: since when it is paused, and when it ends. Of
 * several subscriptions to the plan, what is best for the user: one that runs and has no end is enough. What was
 * over when the period began, or was paused before it was paid, says nothing of it: whoever pays again has what they
 * paid for at once.
 * Caller: internal.
 */
create function tokenbook.provider_terms(
  p_user_id uuid,
  p_provider text,
  p_plan_type text,
  p_period_start timestamptz,
  p_expires_at timestamptz,
  out cancel_at timestamptz,
  out paused_at timestamptz
)
returns record
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select case when bool_or(s.is_running and s.ends_at is null) then null
              else max(s.ends_at) filter (where s.is_running) end,
         case when bool_or(s.is_running) then null else min(s.since) end
    into cancel_at, paused_at
    from (
      select f.occurred_at as since,
             f.status <> 'paused' or f.occurred_at < p_period_start as is_running,
             coalesce(f.cancel_at, case when f.status = 'cancelled' then coalesce(f.current_period_end, p_expires_at, f.occurred_at) end) as ends_at
        from tokenbook.provider_subscriptions f
       where f.provider = p_provider and f.plan_type = p_plan_type
         and (f.user_id = p_user_id
           or f.user_id is null and f.customer_id in (
             select c.customer_id from tokenbook.provider_customers c
              where c.provider = p_provider and c.user_id = p_user_id))) s
   where (s.ends_at <= p_period_start) is not true; -- @the-past-says-nothing
end
$$;
comment on function tokenbook.provider_terms is
  'What a provider says of a period that was paid there: since when it is paused, and when it ends.';

-- from supabase/schemas/60_payments/record_token_payment_event.sql

/*
 * Takes one fact that a payment provider's event tells of a payment: keeps it, computes anew what is known of the
 * payment from all that was told of it (tokenbook.facts_of_payment), and brings the books to that, in one commit.
 * The same event with the same content changes nothing; with other content it is another, and both count. So events
 * in any order, any number of times, end in one state. A payment that was paid and whose user is not known, or what
 * was bought, is parked, never dropped. What waits for a customer's user is given to them by the event that names
 * both (tokenbook.release_waiting); payments a portion at a time, the rest by the customer's next events.
 * p_facts, always with occurred_at (the provider's time) and, where known, customer_id and currency:
 * {kind: paid, user_id, plan_type | pack_type, quantity, price_id, amount_cents, period_start, parts, parked_reason},
 * {kind: refund, refund_id, status: pending | succeeded | failed | canceled, amount_cents},
 * {kind: refunded, refunded_cents (in all so far), amount_cents (of the payment)},
 * {kind: credit, credit_id, amount_cents (credited to the customer for what they had paid here)},
 * {kind: dispute, dispute_id, status: inquiry | reversed | open | won | lost, amount_cents (left out: all of it)}.
 * Caller: service_role, after it has verified the signature.   Locks: the customer, then the payment's facts, then
 * the account.
 * Errors: invalid_provider_event, balance_limit_exceeded, busy.
 * Keeps: I1 to I5, I9, I10, I12.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.record_token_payment_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_payment_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_facts tokenbook.provider_payments;
  v_occurred_at timestamptz;
  v_user_id uuid;
  v_parts text[];
  v_ids text[];
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
  v_replayed boolean;
  v_answer jsonb;
begin
  -- validate
  perform tokenbook.check_body(); -- @server-sends-one-object
  p_facts := jsonb_strip_nulls(p_facts);
  v_occurred_at := tokenbook.check_payment_event(p_provider, p_event_id, p_event_type, p_provider_payment_id, p_facts);
  v_parts := array(select jsonb_array_elements_text(p_facts -> 'parts'));
  select known.id into v_user_id
    from (select u.id from auth.users u where u.id = (p_facts ->> 'user_id')::uuid
          union all
          select a.user_id from public.token_accounts a where a.user_id = (p_facts ->> 'user_id')::uuid) known
   limit 1;
  if tokenbook.settle_backlog(coalesce( -- before anything is written that would stay
    (select f.user_id from tokenbook.provider_payments f
      where f.provider = p_provider and f.provider_payment_id = p_provider_payment_id),
    v_user_id,
    (select c.user_id from tokenbook.provider_customers c
      where c.provider = p_provider and c.customer_id = p_facts ->> 'customer_id')))
  then
    return tokenbook.answer_busy();
  end if;

  -- lock
  if p_facts ? 'customer_id' then
    select c.user_id, c.is_new into v_customer_user_id, v_is_new
      from tokenbook.lock_customer(p_provider, p_facts ->> 'customer_id', v_user_id, v_occurred_at, p_event_id) c;
    if v_customer_user_id is not null then -- @rest-of-a-customer
      v_waiting := array_remove(tokenbook.waiting_payments(p_provider, p_facts ->> 'customer_id'), p_provider_payment_id);
    end if;
  end if;
  v_ids := tokenbook.lock_provider_payment(p_provider, p_provider_payment_id, v_parts || v_waiting, p_create => true);

  v_ids := tokenbook.joined_payments(p_provider, p_provider_payment_id || v_parts);

  -- record
  insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
  values (p_provider, p_provider_payment_id, p_event_id, sha256(convert_to(p_facts::text, 'UTF8')), p_event_type, v_occurred_at, p_facts)
  on conflict do nothing;
  v_replayed := not found;

  -- act
  v_facts := tokenbook.keep_payment_facts(p_provider, v_ids);
  v_answer := tokenbook.settle_and_describe_payment(v_facts, 'service', null);
  if v_is_new or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, p_facts ->> 'customer_id', v_customer_user_id,
      array(select unnest(v_waiting) except select unnest(v_ids)), 'service', null);
  end if;
  return v_answer || jsonb_build_object('payments_waiting', v_still_waiting, 'replayed', v_replayed);
end
$$;
comment on function tokenbook.record_token_payment_event is
  'Takes one fact of a verified event of a payment provider (stripe or paypal) and brings the books to all that was told of the payment; the same again changes nothing, and any order ends in the same state. For the server only. p_facts, with occurred_at, and customer_id and currency where known: {kind: paid, user_id, plan_type or pack_type, quantity, price_id, amount_cents, period_start, parts, parked_reason}, {kind: refund, refund_id, status: pending, succeeded, failed or canceled, amount_cents}, {kind: refunded, refunded_cents (in all so far), amount_cents (of the payment)}, {kind: credit, credit_id, amount_cents (credited to the customer for what they had paid here)}, {kind: dispute, dispute_id, status: inquiry, reversed, open, won or lost, amount_cents (left out: all of it)}. Returns {success, status (parked, waiting, approved, refunded), parked_reason, payment_id, user_id, plan_type, pack_type, quantity, amount_cents, refunded_cents, disputed_cents, disagrees, tokens_granted, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, payments_waiting (of the customer''s, that wait still to be given to their user: the same event again gives the next 20), replayed}. Errors: invalid_provider_event, balance_limit_exceeded, busy.';

-- from supabase/schemas/60_payments/record_token_subscription_event.sql

/*
 * Takes one fact that a payment provider's event tells of a subscription: keeps it, computes anew what is known of
 * the subscription from all that was told of it (tokenbook.facts_of_subscription), and brings the user's plan to
 * that, in one commit. The same again changes nothing, and events in any order end in one state. A subscription gives
 * no plan and no tokens: its payments do. It takes a plan out of force, when it is paused or ends, and puts it back.
 * One that names a customer and their user gives them what waits for the customer's user (tokenbook.release_waiting).
 * A payment that failed is told to the user (an alert subscription_past_due).
 * p_facts: {kind: subscription, occurred_at (the provider's time), status: active | past_due | paused | cancelled,
 * user_id, customer_id, plan_type, price_id, cancel_at, current_period_end}; what is not known is left out.
 * Caller: service_role, after it has verified the signature.   Locks: the customer, then the facts of their waiting
 * payments, then the subscription's, then the account.
 * Errors: invalid_provider_event, busy.
 * Keeps: I5, I9, I10.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.record_token_subscription_event(
  p_provider text,
  p_event_id text,
  p_event_type text,
  p_provider_subscription_id text,
  p_facts jsonb
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '700ms' -- as the locks of payments: together less than the statement may take
as $$
declare
  v_occurred_at timestamptz;
  v_named uuid;
  v_user_id uuid;
  v_facts tokenbook.provider_subscriptions;
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
  v_replayed boolean;
  v_shown record;
begin
  -- validate
  perform tokenbook.check_body(); -- @server-sends-one-object
  p_facts := jsonb_strip_nulls(p_facts);
  v_occurred_at := tokenbook.check_subscription_event(p_provider, p_event_id, p_event_type, p_provider_subscription_id, p_facts);
  select known.id into v_named
    from (select u.id from auth.users u where u.id = (p_facts ->> 'user_id')::uuid
          union all
          select a.user_id from public.token_accounts a where a.user_id = (p_facts ->> 'user_id')::uuid) known
   limit 1;
  if tokenbook.settle_backlog(coalesce( -- before anything is written that would stay
    (select f.user_id from tokenbook.provider_subscriptions f
      where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id),
    v_named,
    (select c.user_id from tokenbook.provider_customers c
      where c.provider = p_provider and c.customer_id = p_facts ->> 'customer_id')))
  then
    return tokenbook.answer_busy();
  end if;

  -- lock
  if p_facts ? 'customer_id' then
    select c.user_id, c.is_new into v_customer_user_id, v_is_new
      from tokenbook.lock_customer(p_provider, p_facts ->> 'customer_id', v_named, v_occurred_at, p_event_id) c;
    if v_customer_user_id is not null then
      v_waiting := tokenbook.waiting_payments(p_provider, p_facts ->> 'customer_id');
    end if;
    if cardinality(v_waiting) > 0 then
      perform tokenbook.lock_provider_payment(p_provider, v_waiting[1], v_waiting[2:]);
    end if;
  end if;
  insert into tokenbook.provider_subscriptions (provider, provider_subscription_id)
  values (p_provider, p_provider_subscription_id)
  on conflict do nothing;
  perform 1
    from tokenbook.provider_subscriptions f
   where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id
     for no key update;

  -- record
  insert into tokenbook.provider_subscription_events
    (provider, provider_subscription_id, event_id, digest, event_type, occurred_at, facts)
  values
    (p_provider, p_provider_subscription_id, p_event_id, sha256(convert_to(p_facts::text, 'UTF8')), p_event_type,
     v_occurred_at, p_facts)
  on conflict do nothing;
  v_replayed := not found;
  v_facts := tokenbook.facts_of_subscription(p_provider, p_provider_subscription_id);
  update tokenbook.provider_subscriptions f
     set user_id = v_facts.user_id,
         customer_id = v_facts.customer_id,
         plan_type = v_facts.plan_type,
         price_id = v_facts.price_id,
         status = v_facts.status,
         cancel_at = v_facts.cancel_at,
         current_period_end = v_facts.current_period_end,
         occurred_at = v_facts.occurred_at,
         updated_at = clock_timestamp()
   where f.provider = p_provider and f.provider_subscription_id = p_provider_subscription_id;

  -- act
  if v_is_new or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, p_facts ->> 'customer_id', v_customer_user_id, v_waiting, 'service', null);
  end if;
  v_user_id := coalesce(v_facts.user_id, (
    select c.user_id from tokenbook.provider_customers c
     where c.provider = p_provider and c.customer_id = v_facts.customer_id));
  if v_user_id is not null then
    perform tokenbook.settle_subscription(v_user_id);
    if v_facts.status = 'past_due' then
      perform tokenbook.tell_of_subscription(
        v_user_id, 'subscription_past_due', v_facts.occurred_at,
        jsonb_build_object('provider', p_provider, 'past_due_plan_type', v_facts.plan_type));
    end if;
  end if;

  select s.plan_type, s.status, s.in_force_until into v_shown
    from public.token_subscriptions s where s.user_id = v_user_id;
  return jsonb_build_object(
    'success', true,
    'status', case when v_user_id is null or v_facts.plan_type is null then 'waiting' else 'recorded' end,
    'user_id', v_user_id,
    'provider_status', v_facts.status,
    'provider_plan_type', v_facts.plan_type,
    'plan_type', v_shown.plan_type,
    'subscription_status', v_shown.status,
    'in_force_until', v_shown.in_force_until,
    'payments_waiting', v_still_waiting,
    'replayed', v_replayed);
exception
  when lock_not_available then
    perform tokenbook.refuse('busy', '{}');
end
$$;
comment on function tokenbook.record_token_subscription_event is
  'Takes one fact of a verified event of a payment provider (stripe or paypal) about a subscription, and brings the user''s plan to all that was told of it: paused, or ending. The same again changes nothing, and any order ends in the same state. Gives no plan: payments do. For the server only. p_facts, with occurred_at: {kind: subscription, status: active, past_due, paused or cancelled, user_id, customer_id, plan_type, price_id, cancel_at, current_period_end}. Returns {success, status (recorded; waiting: its user or plan is not known yet), user_id, provider_status, provider_plan_type, plan_type, subscription_status, in_force_until, payments_waiting (of the customer''s, that wait still to be given to their user: the same event again gives the next 20), replayed}. Errors: invalid_provider_event, busy.';

-- from supabase/schemas/60_payments/refund_token_payment.sql

/*
 * Books that money of a manual payment went back: that share of its tokens is taken back, or becomes
 * debt; all of it, and the plan goes back to the one before. p_refunded_cents is what has been
 * refunded in all (left out: everything), so a repetition changes nothing. Less than before (a transfer that
 * bounced, a mistake) gives back; 0 undoes the refund. What Stripe or PayPal refunds comes by their webhooks.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_amount,
 * payment_not_found, paid_at_provider, payment_already_decided, busy.   Keeps: I1 to I5, I9, I10.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.refund_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text,
  p_refunded_cents bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
  v_payment public.token_payments;
  v_refunded bigint;
  v_replayed boolean;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.next_due_at <= clock_timestamp() then
    perform tokenbook.record_expiries(array[p_user_id], clock_timestamp());
  end if;
  perform tokenbook.settle_subscription(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.provider <> 'manual' then
    perform tokenbook.refuse('paid_at_provider', '{}');
  elsif v_payment.status not in ('approved', 'refunded') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;
  v_refunded := coalesce(p_refunded_cents, greatest(v_payment.amount_cents, 1));
  if v_refunded not between 0 and greatest(v_payment.amount_cents, 1) then
    perform tokenbook.refuse('invalid_amount',
      '{"field": "p_refunded_cents", "rule": "what has been refunded in all: from 0 to what was paid"}');
  end if;

  v_replayed := v_refunded = v_payment.refunded_cents;
  v_payment := tokenbook.settle_refunds(
    v_payment, v_refunded, 0, p_reason, v_actor.actor_role, v_actor.actor_id);
  if not v_replayed then -- a refund of a few cents takes no token, and has no entry
    perform tokenbook.record_change(
      'refund_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('payment_id', p_payment_id, 'refunded_cents', v_refunded));
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'payment_id', p_payment_id,
    'status', v_payment.status,
    'refunded_cents', v_payment.refunded_cents,
    'tokens_clawed_back', v_payment.tokens_clawed_back,
    'tokens_owed', v_account.tokens_owed,
    'tokens_limit', (select s.tokens_limit from public.token_subscriptions s where s.user_id = p_user_id),
    'tokens_remaining', v_account.tokens_remaining,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.refund_token_payment is
  'Books that money of a manual payment went back: that share of its tokens is taken back, what was spent of them becomes debt; in full, the plan goes back to the one before. For an admin or the server. p_refunded_cents is what has been refunded in all, left out: everything; less than before gives back, 0 undoes it. Returns {success, payment_id, status, refunded_cents, tokens_clawed_back, tokens_owed, tokens_limit, tokens_remaining, replayed}. Errors: payment_not_found, paid_at_provider, payment_already_decided, invalid_amount, invalid_reason, forbidden, busy.';

-- from supabase/schemas/60_payments/reject_token_payment.sql

/*
 * Rejects a pending payment, with a reason. Rejecting twice changes nothing.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, payment_not_found,
 * payment_already_decided, busy.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.reject_token_payment(
  p_user_id uuid,
  p_payment_id uuid,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_payment public.token_payments;
begin
  select * into v_actor from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  perform tokenbook.lock_account(p_user_id);
  select p.* into v_payment from public.token_payments p where p.user_id = p_user_id and p.id = p_payment_id;
  if v_payment.id is null then
    perform tokenbook.refuse('payment_not_found', '{}');
  elsif v_payment.status not in ('pending', 'rejected') then
    perform tokenbook.refuse('payment_already_decided', jsonb_build_object('status', v_payment.status));
  end if;

  if v_payment.status = 'pending' then
    update public.token_payments p
       set status = 'rejected', reason = p_reason, decided_at = clock_timestamp(), decided_by = v_actor.actor_id
     where p.user_id = p_user_id and p.id = p_payment_id;
    perform tokenbook.record_change(
      'reject_token_payment', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('payment_id', p_payment_id));
  end if;
  return jsonb_build_object(
    'success', true, 'payment_id', p_payment_id, 'status', 'rejected', 'replayed', v_payment.status = 'rejected');
end
$$;
comment on function tokenbook.reject_token_payment is
  'Rejects a pending payment with a reason. For an admin or the server. Rejecting twice changes nothing and answers replayed. Returns {success, payment_id, status, replayed}. Errors: payment_not_found, payment_already_decided, invalid_reason, forbidden, busy.';

-- from supabase/schemas/60_payments/release_waiting.sql

/*
 * Gives what waited for a customer's user to that user: their payments (p_ids), and what the provider has said of
 * subscriptions of theirs that name no user, one that is past due with its alert.
 * p_actor_role and p_actor_id: who said whose the customer is.
 * Caller: internal, holding the locks of the customer and of these payments, when a customer's user became known or
 * payments were left waiting.   Locks: the account.   Keeps: I9 to I12.
 * Returns how many payments wait still, at most 1,000: whoever calls again with the same gives the next ones.
 */
create function tokenbook.release_waiting(
  p_provider text,
  p_customer_id text,
  p_user_id uuid,
  p_ids text[],
  p_actor_role text,
  p_actor_id uuid
)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_late record;
  v_is_subscribed boolean := false;
begin
  perform tokenbook.settle_payments(p_provider, p_ids, p_actor_role, p_actor_id); -- @waiting-payments-are-settled
  for v_late in
    select f.status, f.occurred_at, f.plan_type
      from tokenbook.provider_subscriptions f
     where f.provider = p_provider and f.customer_id = p_customer_id and f.user_id is null
     order by f.occurred_at desc
     limit 20
  loop
    if not v_is_subscribed then
      perform tokenbook.settle_subscription(p_user_id); -- @waiting-subscriptions-are-settled
      v_is_subscribed := true;
    end if;
    if v_late.status = 'past_due' then
      perform tokenbook.tell_of_subscription(
        p_user_id, 'subscription_past_due', v_late.occurred_at,
        jsonb_build_object('provider', p_provider, 'past_due_plan_type', v_late.plan_type));
    end if;
  end loop;
  return (
    select count(*) from (
      select from tokenbook.provider_payments f
       where f.provider = p_provider and f.customer_id = p_customer_id and f.user_id is null
       limit 1000) f);
end
$$;
comment on function tokenbook.release_waiting is
  'Gives what waited for a customer''s user to that user: payments, and what is known of subscriptions. Returns how many payments wait still.';

-- from supabase/schemas/60_payments/restore_clawback.sql

/*
 * Gives back what a dispute or a refund had taken, when it was won or has failed: the debt first, then the tokens, to the
 * grants that they came from, last taken first; what a later grant repaid goes to the payment's
 * own grant. Into a grant that has run out meanwhile it expires at once, in the ledger.
 * p_entry is the transaction to be: user_id, payment_id, reason, actor, metadata.
 * Locks: the account.   Keeps: I1 to I4, I9.
 */
create function tokenbook.restore_clawback(p_entry public.token_transactions, p_tokens bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_left bigint;
  v_part record;
begin
  v_account := tokenbook.lock_account(p_entry.user_id); -- @won-disputes-give-back
  v_now := clock_timestamp();

  p_entry.debt_change := -least(p_tokens, v_account.tokens_owed);
  p_entry.tokens := p_tokens + p_entry.debt_change;
  p_entry.grant_ids := '{}';
  p_entry.grant_tokens := '{}';
  v_left := p_entry.tokens;
  for v_part in
    select b.id, taken.tokens, b.payment_id is not distinct from p_entry.payment_id as is_own
      from public.token_balances b
      left join (
        select a.grant_id, sum(case t.entry_type when 'clawback' then a.tokens else -a.tokens end)::bigint as tokens
          from public.token_transactions t
         cross join lateral unnest(t.grant_ids, t.grant_tokens) as a (grant_id, tokens)
         where t.user_id = p_entry.user_id and t.payment_id = p_entry.payment_id
           and t.entry_type in ('clawback', 'restoration')
         group by a.grant_id) taken on taken.grant_id = b.id
     where b.user_id = p_entry.user_id
       and (taken.tokens > 0 or b.payment_id = p_entry.payment_id)
     order by is_own, tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, tokenbook.is_expiring_first_at(v_now)) desc
  loop
    -- the payment's own grant comes last and takes what the others did not give
    continue when v_left = 0;
    p_entry.grant_ids := p_entry.grant_ids || v_part.id;
    p_entry.grant_tokens := p_entry.grant_tokens || case when v_part.is_own then v_left else least(v_left, v_part.tokens) end;
    v_left := v_left - case when v_part.is_own then v_left else least(v_left, v_part.tokens) end;
  end loop;
  select back.grant_ids, back.grant_tokens into p_entry.grant_ids, p_entry.grant_tokens
    from tokenbook.return_tokens(p_entry.user_id, p_entry.grant_ids, p_entry.grant_tokens, v_now) as back;

  p_entry.entry_type := 'restoration';
  p_entry.action_type := 'restoration';
  p_entry.created_at := v_now;
  perform tokenbook.record_transaction(p_entry);
  perform tokenbook.move_plan_limit(p_entry.user_id, p_tokens);
  perform tokenbook.settle_incoming(p_entry.user_id, v_now);
end
$$;
comment on function tokenbook.restore_clawback is
  'Gives clawed-back tokens of a payment back: debt first, then the grants they came from.';

-- from supabase/schemas/60_payments/say_payment_id.sql

/*
 * Which field is at fault where no payment of that name is known, and what it must be. Events have ids of their own
 * in the same dashboards.
 * Caller: internal.   Returns the facts of payment_not_found.
 */
create function tokenbook.say_payment_id()
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{"field": "p_provider_payment_id", "rule": "the provider_payment_id of a payment that the provider has told of (not the id of an event)"}';
end
$$;
comment on function tokenbook.say_payment_id is 'What p_provider_payment_id must be, as the facts of payment_not_found.';

-- from supabase/schemas/60_payments/set_token_customer.sql

/*
 * Keeps that a user is this customer at a payment provider, so that what is said there of the customer finds
 * its user, and gives them what has waited for that: payments, a portion at a time, and subscriptions
 * (tokenbook.release_waiting). A customer is one user's for ever: whose it was first, by this or by the provider's
 * events, stays. The same again changes nothing, but gives the next portion.
 * p_replace is for a mistake: the customer is this user's from now on, whatever events have said or will say; what
 * was booked to the other one stays booked.
 * Caller: an admin, service_role.   Locks: the customer, then the facts of their waiting payments, then the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_customer, invalid_reason, user_not_found,
 * balance_limit_exceeded, busy.   Keeps: I9, I10, I12.
 */
-- Security definer: nobody may write the table themselves.
create function tokenbook.set_token_customer(
  p_user_id uuid,
  p_provider text,
  p_customer_id text,
  p_replace boolean default false,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_customer_user_id uuid;
  v_is_new boolean := false;
  v_is_replaced boolean;
  v_waiting text[] := '{}';
  v_still_waiting integer := 0;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_provider in ('stripe', 'paypal')) is not true then
    perform tokenbook.refuse('invalid_customer', '{"field": "p_provider", "rule": "stripe or paypal"}');
  elsif octet_length(p_customer_id) > 255 or (p_customer_id ~ '^[A-Za-z0-9._:-]+$') is not true then
    perform tokenbook.refuse('invalid_customer',
      '{"field": "p_customer_id", "rule": "1 to 255 characters of A-Z a-z 0-9 . _ : -"}');
  elsif p_replace and p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;

  -- lock
  select c.user_id into v_customer_user_id
    from tokenbook.lock_customer(p_provider, p_customer_id, null, null, null) c;
  v_is_replaced := (p_replace and v_customer_user_id <> p_user_id) is true;
  if coalesce(v_customer_user_id, p_user_id) = p_user_id or v_is_replaced then
    v_waiting := tokenbook.waiting_payments(p_provider, p_customer_id);
  end if;
  if cardinality(v_waiting) > 0 then
    perform tokenbook.lock_provider_payment(p_provider, v_waiting[1], v_waiting[2:]);
  end if;

  -- record
  if v_customer_user_id is null then -- @set-customers-stay
    select c.user_id, c.is_new into v_customer_user_id, v_is_new
      from tokenbook.lock_customer(p_provider, p_customer_id, p_user_id, clock_timestamp(), '') c;
  elsif v_is_replaced then
    update tokenbook.provider_customers c
       set user_id = p_user_id, event_id = '',
           told_at = '-infinity' -- @replaced-for-good: before whatever an event says
     where c.provider = p_provider and c.customer_id = p_customer_id;
  end if;
  if v_is_replaced or v_is_new and v_actor.actor_role = 'admin' then
    perform tokenbook.record_change(
      'set_token_customer', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object(
        'provider', p_provider, 'customer_id', p_customer_id,
        'instead_of', case when v_is_replaced then v_customer_user_id end));
  end if;

  -- act
  if v_is_new or v_is_replaced or cardinality(v_waiting) > 0 then
    v_still_waiting := tokenbook.release_waiting(
      p_provider, p_customer_id, p_user_id, v_waiting, v_actor.actor_role, v_actor.actor_id);
  end if;
  return jsonb_build_object(
    'success', v_is_replaced or v_customer_user_id = p_user_id,
    'user_id', case when v_is_replaced then p_user_id else v_customer_user_id end,
    'provider', p_provider,
    'customer_id', p_customer_id,
    'payments_released', cardinality(v_waiting),
    'payments_waiting', v_still_waiting,
    'replayed', not v_is_new and not v_is_replaced);
end
$$;
comment on function tokenbook.set_token_customer is
  'Keeps that a user is this customer at a payment provider (p_provider stripe or paypal), and gives them what has waited for that: parked payments, at most 20 a call, and what is known of subscriptions. For an admin or the server. Whose a customer was first stays, unless p_replace, with a p_reason, puts a mistake right: from then on the customer is this user''s, and what was booked before stays booked. Returns {success (false: the customer is another user''s), user_id (whose it is), provider, customer_id, payments_released, payments_waiting (that the same call again gives), replayed}. Errors: invalid_customer, invalid_reason, user_not_found, balance_limit_exceeded, forbidden, busy.';

-- from supabase/schemas/60_payments/settle_and_describe_payment.sql

/*
 * Settles a provider's payment and says how it stands: what events and admins are answered.
 * Caller: internal, holding the facts' lock.
 */
create function tokenbook.settle_and_describe_payment(
  p_facts tokenbook.provider_payments,
  p_actor_role text,
  p_actor_id uuid
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_payment public.token_payments;
  v_account public.token_accounts;
begin
  perform tokenbook.tell_of_parked_payment(p_facts);
  v_payment := tokenbook.settle_payment(p_facts, p_actor_role, p_actor_id);
  select a.* into v_account from public.token_accounts a where a.user_id = v_payment.user_id;
  return jsonb_build_object(
    'success', true,
    'status', tokenbook.standing_of_payment(p_facts),
    'parked_reason', p_facts.parked_reason,
    'payment_id', v_payment.id,
    'user_id', p_facts.user_id,
    'plan_type', p_facts.plan_type,
    'pack_type', p_facts.pack_type,
    'quantity', p_facts.quantity,
    'amount_cents', p_facts.amount_cents,
    'refunded_cents', p_facts.refunded_cents,
    'disputed_cents', p_facts.disputed_cents,
    'disagrees', p_facts.disagrees,
    'tokens_granted', coalesce(v_payment.tokens, 0),
    'tokens_clawed_back', coalesce(v_payment.tokens_clawed_back, 0),
    'tokens_owed', coalesce(v_account.tokens_owed, 0),
    'tokens_limit', (select s.tokens_limit from public.token_subscriptions s where s.user_id = v_payment.user_id),
    'tokens_remaining', v_account.tokens_remaining);
end
$$;
comment on function tokenbook.settle_and_describe_payment is 'Settles a provider''s payment and returns how it stands, as JSON.';

-- from supabase/schemas/60_payments/settle_payment.sql

/*
 * Brings the books to what is known of a provider's payment. Looks at the facts only, not at the event that came
 * last: so any order of events, and any number of times, ends in the same state. The caller has locked the facts'
 * rows; then the account is locked, always in this order.
 * Paid, with user and plan or pack known: what was bought, once: what a payment gave never changes after it was
 * booked. Amount, currency, refunds and disputes follow the facts: tokenbook.settle_refunds.
 * What had been booked under the id of a part, before it was known to be one, is taken back; from another user too:
 * their money bought this. Their account is not waited for, so that nobody waits in a circle: it is busy.
 * p_actor_role and p_actor_id: the server that was told by the provider, or the admin who said whose it is.
 * Returns the payment; NULL while user, plan and pack, or the payment itself is missing.
 * Keeps: I1 to I5, I9, I12.
 */
create function tokenbook.settle_payment(
  p_facts tokenbook.provider_payments,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_payment public.token_payments;
  v_part public.token_payments;
  v_offer record;
  v_entry public.token_transactions;
  v_given record;
begin
  if p_facts.parked_reason is not null or not p_facts.is_paid then
    return null;
  end if;

  v_account := tokenbook.lock_account(p_facts.user_id, p_create => true);
  if v_account.next_due_at <= clock_timestamp() then
    perform tokenbook.record_expiries(array[p_facts.user_id], clock_timestamp());
  end if;
  perform tokenbook.settle_subscription(p_facts.user_id);
  select p.* into v_payment
    from public.token_payments p
   where p.user_id = p_facts.user_id and p.provider = p_facts.provider
     and p.provider_payment_id = p_facts.provider_payment_id; -- @payment-known-by-id
  if v_payment.id is null then
    v_offer := tokenbook.find_offer(p_facts.plan_type, p_facts.pack_type, p_facts.quantity);
    insert into public.token_payments as p
      (user_id, status, provider, provider_payment_id, from_plan, to_plan, pack_type, quantity, amount_cents, currency,
       terms, reason, decided_at, decided_by)
    values
      (p_facts.user_id, 'approved', p_facts.provider, p_facts.provider_payment_id,
       case when p_facts.plan_type is not null then
         (select s.plan_type from public.token_subscriptions s where s.user_id = p_facts.user_id) end,
       p_facts.plan_type, p_facts.pack_type, p_facts.quantity, p_facts.amount_cents,
       coalesce(p_facts.currency, v_offer.currency), v_offer.terms,
       'paid at ' || p_facts.provider, clock_timestamp(), p_actor_id)
    returning p.* into v_payment;
    v_entry.user_id := p_facts.user_id;
    v_entry.reason := 'paid at ' || p_facts.provider;
    v_entry.actor_role := p_actor_role; -- @assigned-by-whom
    v_entry.actor_id := p_actor_id;
    v_entry.metadata := '{}';
    v_given := tokenbook.give_what_was_bought(v_payment, p_facts.period_start, v_entry);
    v_payment := v_given.payment;
  end if;

  -- what was booked under the id of a part, before it was known to be one: undone, and its plan is this payment's
  for v_part in
    select p.*
      from tokenbook.provider_payments f
      join public.token_payments p
        on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
     where f.provider = p_facts.provider and f.part_of = p_facts.provider_payment_id -- @parts-of-anybody
     order by p.user_id, p.provider_payment_id
  loop
    if v_part.user_id = p_facts.user_id then
      perform tokenbook.hand_plan_over(v_part, v_payment, p_actor_role, p_actor_id);
    elsif v_part.refunded_cents >= greatest(v_part.amount_cents, 1) then
      continue;
    else
      perform 1 from public.token_accounts a where a.user_id = v_part.user_id for no key update skip locked; -- @parts-wait-for-nobody
      if not found then
        perform tokenbook.refuse('busy', '{}');
      end if;
      perform tokenbook.record_expiries(array[v_part.user_id], clock_timestamp());
      perform tokenbook.settle_subscription(v_part.user_id);
    end if;
    perform tokenbook.settle_refunds(
      v_part, greatest(v_part.amount_cents, 1), 0, 'as part of another payment at ' || p_facts.provider,
      p_actor_role, p_actor_id);
  end loop;

  v_payment.amount_cents := p_facts.amount_cents; -- @amount-follows-facts
  v_payment.currency := coalesce(p_facts.currency, v_payment.currency);
  return tokenbook.settle_refunds(
    v_payment, p_facts.refunded_cents, p_facts.disputed_cents, 'at ' || p_facts.provider, p_actor_role, p_actor_id);
end
$$;
comment on function tokenbook.settle_payment is
  'Brings subscription, balance and debt to what is known of a provider''s payment; the same for every order of its events.';

-- from supabase/schemas/60_payments/settle_payments.sql

/*
 * Computes anew what is known of these payments and brings the books to it: those of a customer whose user became
 * known. p_actor_role and p_actor_id: who said whose the customer is.
 * Caller: internal, holding the locks of these payments.   Locks: the accounts.
 */
create function tokenbook.settle_payments(p_provider text, p_ids text[], p_actor_role text, p_actor_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id text;
begin
  foreach v_id in array p_ids loop
    perform tokenbook.settle_and_describe_payment(
      tokenbook.keep_payment_facts(p_provider, tokenbook.joined_payments(p_provider, array[v_id])), p_actor_role, p_actor_id);
  end loop;
end
$$;
comment on function tokenbook.settle_payments is
  'Brings the books to what is known of these payments of a provider.';

-- from supabase/schemas/60_payments/settle_refunds.sql

/*
 * Brings tokens and plan to what is left of a payment's money. Lost is what went back in refunds and what disputes
 * withhold; that share of its tokens is taken back, rounded down; all of them when all of the money is lost, and
 * then the plan it bought is not in force any more, nor its storage. What comes back (a refund that bounced, a dispute that was won) gives
 * its tokens back, and the plan when not all is lost any more. The same state again changes nothing.
 * p_payment is the payment with the amount and currency that it is to have.
 * Caller: internal, holding the account's lock.   Returns the payment.   Keeps: I1 to I5, I9, I10, I12.
 */
create function tokenbook.settle_refunds(
  p_payment public.token_payments,
  p_refunded_cents bigint,
  p_disputed_cents bigint,
  p_reason text,
  p_actor_role text,
  p_actor_id uuid
)
returns public.token_payments
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lost bigint := p_refunded_cents + p_disputed_cents; -- @lost-is-both
  v_is_all_lost boolean := v_lost > 0 and v_lost >= p_payment.amount_cents;
  v_to_claw bigint;
  v_entry public.token_transactions;
begin
  v_to_claw := case
    when v_is_all_lost then p_payment.tokens
    when v_lost > 0 then floor(p_payment.tokens::numeric * v_lost / p_payment.amount_cents)::bigint
    else 0
  end;
  v_entry.user_id := p_payment.user_id;
  v_entry.payment_id := p_payment.id;
  v_entry.actor_role := p_actor_role;
  v_entry.actor_id := p_actor_id;
  v_entry.metadata := '{}';
  v_entry.terms := jsonb_build_object('refund', jsonb_build_object(
    'amount_cents', p_payment.amount_cents, 'refunded_cents', p_refunded_cents, 'disputed_cents', p_disputed_cents));
  if v_to_claw > p_payment.tokens_clawed_back then
    v_entry.reason := case when p_disputed_cents > 0 then 'disputed ' else 'refunded ' end || p_reason;
    perform tokenbook.claw_back(
      v_entry,
      (select b.id from public.token_balances b
        where b.user_id = p_payment.user_id and b.payment_id = p_payment.id),
      v_to_claw - p_payment.tokens_clawed_back); -- @clawed-back-only-once
  elsif v_to_claw < p_payment.tokens_clawed_back then
    v_entry.reason := 'given back ' || p_reason;
    perform tokenbook.restore_clawback(v_entry, p_payment.tokens_clawed_back - v_to_claw);
  end if;

  update public.token_payments p
     set status = case when p_refunded_cents > 0 and p_refunded_cents >= p_payment.amount_cents then 'refunded' else 'approved' end,
         amount_cents = p_payment.amount_cents,
         currency = p_payment.currency,
         refunded_cents = p_refunded_cents,
         disputed_cents = p_disputed_cents,
         tokens_clawed_back = v_to_claw
   where p.user_id = p_payment.user_id and p.id = p_payment.id
  returning p.* into p_payment;

  if p_payment.to_plan is not null then
    perform tokenbook.settle_plan_of_payment(p_payment, v_is_all_lost, p_actor_role, p_actor_id);
  end if;
  return p_payment;
end
$$;
comment on function tokenbook.settle_refunds is
  'Brings tokens, debt, plan limit and plan to what refunds and disputes have left of a payment''s money.';

-- from supabase/schemas/60_payments/standing_of_payment.sql

/*
 * How a provider's payment stands, in one word: approved or refunded, once it is booked; parked, while it waits for
 * an admin; waiting, while nothing says that it was paid.
 * Caller: internal.
 */
create function tokenbook.standing_of_payment(p_facts tokenbook.provider_payments)
returns text
language plpgsql
volatile -- sees what its caller has booked
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select p.status from public.token_payments p
      where p.user_id = p_facts.user_id and p.provider = p_facts.provider
        and p.provider_payment_id = p_facts.provider_payment_id
      limit 1),
    case when p_facts.parked_reason is not null then 'parked' else 'waiting' end);
end
$$;
comment on function tokenbook.standing_of_payment is
  'How a provider''s payment stands: approved, refunded, parked or waiting.';

-- from supabase/schemas/60_payments/token_offer_now.sql

/*
 * A computed field: what the catalogue says now of what a payment is for, beside the payment's own amount_cents,
 * currency and terms; for whoever is about to approve it. differs names what has changed since it was asked for.
 * In SQL `p.token_offer_now`, over the API `select=token_offer_now`.
 * Its parameter has no name, so that it is a field and no rpc.
 * Caller: authenticated, service_role; it sees no more than the row it is given, and the catalogue.
 * Returns {amount_cents, currency, is_offered, terms, differs: [name, …]}.
 */
create function public.token_offer_now(public.token_payments)
returns jsonb
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select now.offer || jsonb_build_object('differs', array(
           select asked.name
             from jsonb_each($1.terms || jsonb_build_object('amount_cents', $1.amount_cents, 'currency', $1.currency))
                  as asked (name, value)
            where asked.value is distinct from (now.offer || (now.offer -> 'terms')) -> asked.name
            order by asked.name))
    from (
      select to_jsonb(p) as row from public.token_plans p where p.plan_type = $1.to_plan
      union all
      select to_jsonb(p) from public.token_packs p where p.pack_type = $1.pack_type) catalogue
   cross join lateral (
     select jsonb_build_object(
              'amount_cents', (catalogue.row ->> 'price_cents')::bigint * $1.quantity,
              'currency', catalogue.row -> 'currency',
              'is_offered', catalogue.row -> 'is_offered',
              'terms', coalesce(jsonb_object_agg(term.name, catalogue.row -> term.name), '{}')) as offer
       from jsonb_object_keys($1.terms) as term (name)) now
$$;
comment on function public.token_offer_now is
  'What the catalogue says now of what a payment is for: select token_offer_now from token_payments. {amount_cents, currency, is_offered, terms, differs: the names of what has changed since it was asked for}.';

-- from supabase/schemas/60_payments/waiting_payments.sql

/*
 * The oldest payments of a provider's customer that have no user yet: a portion, so that nobody's work grows with
 * what others have left waiting (I11).
 * Caller: internal, holding the customer's lock.
 */
create function tokenbook.waiting_payments(p_provider text, p_customer_id text)
returns text[]
language plpgsql
volatile -- sees what was committed while its caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select f.provider_payment_id from tokenbook.provider_payments f
     where f.provider = p_provider and f.customer_id = p_customer_id and f.user_id is null
     order by f.created_at, f.provider_payment_id
     limit 20); -- @waiting-of-a-customer
end
$$;
comment on function tokenbook.waiting_payments is
  'The oldest payments of a provider''s customer that have no user yet, at most 20.';

-- from supabase/schemas/70_alerts/alert_rules_of.sql

/*
 * The rules that hold for a user now: of each name the closest one (his own, his plan's, everyone's),
 * unless that one is switched off. threshold is in tokens: a share of the plan limit is brought to the next
 * whole token above, so that "fewer than" means the same; NULL for expiring_soon.
 * Caller: internal.
 */
create function tokenbook.alert_rules_of(p_user_id uuid)
returns table (rule text, kind text, threshold bigint, threshold_percent integer, hours integer, notify_recovered boolean)
language plpgsql
volatile -- it must see rules that were changed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_subscription public.token_subscriptions;
begin
  select s.* into v_subscription from public.token_subscriptions s where s.user_id = p_user_id;
  return query
  select closest.rule, closest.kind,
         case closest.kind
           when 'depleted' then 1
           when 'dropped' then
             coalesce(closest.threshold_tokens,
                      ceil(v_subscription.tokens_limit * closest.threshold_percent / 100.0)::bigint)
         end,
         closest.threshold_percent, closest.hours, closest.notify_recovered
    from (
      select distinct on (r.rule) r.*
        from public.token_alert_rules r
       where r.user_id = p_user_id
          or (r.user_id is null and (r.plan_type is null or r.plan_type = v_subscription.plan_type))
       order by r.rule, r.user_id nulls last, r.plan_type nulls last) closest
   where closest.is_enabled
     -- without a subscription there is no plan limit to have a share of
     and (closest.threshold_percent is null or v_subscription.user_id is not null);
end
$$;
comment on function tokenbook.alert_rules_of is
  'The alert rules that hold for a user, the closest of each name, with its threshold in tokens.';

-- from supabase/schemas/70_alerts/arm_token_alerts.sql

/*
 * Brings accounts up to the present alert rules which nobody has touched since the rules changed, for
 * at most p_max_accounts users a call (call it until it returns 0). Needed for what time alone brings
 * (expiring_soon); a threshold cannot be crossed without a touch, and whoever touches an account arms
 * it himself.
 * Accounts that are locked are skipped: whoever holds the lock arms them, or the next run does.
 * Caller: service_role, a scheduled job.   Locks: these accounts.   Returns how many.
 * Errors: invalid_page.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.arm_token_alerts(p_max_accounts integer default 1000)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version bigint;
  v_user_ids uuid[];
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_max_accounts is null or p_max_accounts not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_max_accounts", "rule": "1 to 10000"}');
  end if;
  perform tokenbook.restore_settings();
  v_version := (select r.alerts_version from tokenbook.project_settings r);
  select array_agg(behind.user_id) into v_user_ids
    from (
      select a.user_id from public.token_accounts a
       where (a.alerts_version < v_version or a.alerts_version > v_version) -- each by the index
         and not tokenbook.is_set_aside(a.user_id)
       limit p_max_accounts
         for no key update skip locked
    ) behind;
  if v_user_ids is not null then
    perform tokenbook.sweep_accounts(v_user_ids, clock_timestamp());
  end if;
  return coalesce(cardinality(v_user_ids), 0);
end
$$;
comment on function tokenbook.arm_token_alerts is
  'After the alert rules have changed: brings accounts up to them that nobody has touched since, at most p_max_accounts a call; returns how many, 0 when all are. For the server and scheduled jobs.';

-- from supabase/schemas/70_alerts/claim_token_alerts.sql

/*
 * Hands out alerts that are due to be sent, at most p_limit of them, each to one caller only for
 * p_lease_seconds. Whoever dies with some loses them to the next one when the lease ends: at least
 * once, under an id that stays the same. What was begun ten times or is three days old is given up,
 * and says so. Looks at the 1,000 that are due first; of these what is given up makes room for the next.
 * Caller: service_role.   Locks: these rows of the outbox, skipping those that others hold.
 * Errors: invalid_page.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.claim_token_alerts(p_limit integer default 20, p_lease_seconds integer default 60)
returns table (user_id uuid, alert_id bigint, claim_id uuid, kind text, rule text, payload jsonb, created_at timestamptz, attempt integer)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_claim_id uuid := gen_random_uuid();
  v_hopeless bigint;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_lease_seconds", "rule": "1 to 3600"}');
  end if;

  -- until something is left of the first 1,000 to hand out, but not without end
  for i in 1..10
  loop
    update public.token_alerts t
       set delivery = 'given_up', next_attempt_at = null, settled_at = v_now,
           last_error = coalesce(t.last_error, case when t.attempts >= 10 then 'no answer' else 'too old' end)
      from (
        select o.user_id, o.id
          from tokenbook.first_due_alerts(v_now) first
          join public.token_alerts o on o.user_id = first.user_id and o.id = first.id
         where o.delivery = 'pending' and o.next_attempt_at <= v_now
           and (o.attempts >= 10 or o.created_at < v_now - interval '72 hours')
           for no key update of o skip locked) hopeless
     where t.user_id = hopeless.user_id and t.id = hopeless.id;
    get diagnostics v_hopeless = row_count;
    exit when v_hopeless < 1000;
  end loop;

  return query
  with due as (
    select o.user_id, o.id
      from tokenbook.first_due_alerts(v_now) first
      join public.token_alerts o on o.user_id = first.user_id and o.id = first.id
     where o.delivery = 'pending' and o.next_attempt_at <= v_now
       and o.attempts < 10 and o.created_at >= v_now - interval '72 hours'
     order by first.next_attempt_at
     limit p_limit
       for no key update of o skip locked
  ), claimed as (
    update public.token_alerts t
       set attempts = t.attempts + 1, claim_id = v_claim_id,
           next_attempt_at = v_now + p_lease_seconds * interval '1 second' -- @claimed-by-one
      from due
     where t.user_id = due.user_id and t.id = due.id
    returning t.*
  )
  select c.user_id, c.id, c.claim_id, c.kind, c.rule, c.payload, c.created_at, c.attempts
    from claimed c
   order by c.created_at, c.user_id, c.id;
end
$$;
comment on function tokenbook.claim_token_alerts is
  'Hands out at most p_limit (1 to 200) alerts that are due to be sent, to this caller only for p_lease_seconds (1 to 3600); to be settled with settle_token_alert. For the server: what deliver-alerts calls. Gives up what was begun ten times or is three days old. Returns user_id, alert_id, claim_id, kind, rule, payload, created_at, attempt. Errors: invalid_page.';

-- from supabase/schemas/70_alerts/claim_token_top_ups.sql

/*
 * Hands out top-up requests that are due to be charged, at most p_limit of them, each to one caller only while the
 * lease lasts. Whoever settles none of it, because they died or do not know what came of the charge, leaves
 * it to the next one when the lease ends; each lease is longer than the one before.
 * What a request costs, and which customer pays, is what the catalogue and the books say at the first claim, and
 * stays: the charge is asked for again in the same words, or the provider could not tell that it is the same.
 *
 * fault says why nothing is to be charged (any more), NULL where it may be:
 *   switched_off, account_frozen, user_not_found    the user does not want it, or may not
 *   no_price         for tokens without a pack; or what it is for costs nothing
 *   not_offered      the plan or pack is not sold any more
 *   no_customer      the user has never paid at Stripe, so that there is no card
 *   too_old          asked for three days ago, and nobody has charged it
 *   no_answer        first tried 20 hours ago: the provider forgets after 24 what it was asked for under a key
 * Whoever has tried before looks first whether the charge was made.
 * Caller: service_role.   Locks: these requests, skipping those that others hold.   Errors: invalid_page.   Keeps: I11.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.claim_token_top_ups(p_limit integer default 10, p_lease_seconds integer default 120)
returns table (user_id uuid, request_id uuid, plan_type text, pack_type text, quantity integer, amount_cents bigint, currency text, customer_id text, created_at timestamptz, attempt integer, first_attempt_at timestamptz, fault text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_lease_seconds", "rule": "1 to 3600"}');
  end if;

  return query
  with due as (
    select r.user_id, r.id
      from public.token_top_up_requests r
     where r.status = 'pending' and r.next_attempt_at <= v_now
     order by r.next_attempt_at
     limit p_limit
       for no key update skip locked
  ), claimed as (
    update public.token_top_up_requests r
       set attempts = r.attempts + 1,
           first_attempt_at = coalesce(r.first_attempt_at, v_now),
           next_attempt_at = v_now + p_lease_seconds * 2 ^ least(r.attempts, 6) * interval '1 second', -- @charged-by-one-run
           amount_cents = case when r.attempts = 0 then o.amount_cents else r.amount_cents end, -- @price-of-first-claim
           currency = case when r.attempts = 0 then o.currency else r.currency end,
           customer_id = case when r.attempts = 0 then tokenbook.customer_of('stripe', r.user_id) else r.customer_id end
      from due
      join public.token_top_up_requests asked on asked.user_id = due.user_id and asked.id = due.id
     cross join lateral tokenbook.find_offer(asked.plan_type, asked.pack_type, asked.quantity) o
     where r.user_id = due.user_id and r.id = due.id
    returning r.*, o.is_offered
  )
  select c.user_id, c.id, c.plan_type, c.pack_type, c.quantity, c.amount_cents, c.currency, c.customer_id,
         c.created_at, c.attempts, c.first_attempt_at,
         case
           when not tokenbook.is_user(c.user_id) then 'user_not_found'
           when tokenbook.is_frozen(a, null) then 'account_frozen'
           when t.is_enabled is not true then 'switched_off' -- @switched-off-pays-nothing
           when coalesce(c.amount_cents, 0) = 0 then 'no_price'
           when c.is_offered is not true then 'not_offered'
           when c.customer_id is null then 'no_customer'
           when c.attempts = 1 and c.created_at < v_now - interval '72 hours' then 'too_old'
           when c.first_attempt_at < v_now - interval '20 hours' then 'no_answer'
         end
    from claimed c
    join public.token_accounts a on a.user_id = c.user_id
    left join public.token_top_ups t on t.user_id = c.user_id
   order by c.created_at, c.user_id;
end
$$;
comment on function tokenbook.claim_token_top_ups is
  'Hands out at most p_limit (1 to 200) top-up requests that are due to be charged, to this caller only for p_lease_seconds (1 to 3600; twice as long with each attempt); to be settled with settle_token_top_up. For the server: what the edge function top-up calls. Price and customer are those of the first claim. Returns user_id, request_id, plan_type, pack_type, quantity, amount_cents, currency, customer_id, created_at, attempt, first_attempt_at, fault (why nothing is to be charged: user_not_found, account_frozen, switched_off, no_price, not_offered, no_customer, too_old, no_answer; NULL = charge it). Errors: invalid_page.';

-- from supabase/schemas/70_alerts/cross_thresholds.sql

/*
 * Finds which thresholds a user's balance has crossed, and writes an alert for each: dropped or
 * depleted when fewer tokens than the threshold remain and there were not fewer before; recovered,
 * where the rule asks for it, when that ends. p_before is the balance before the entry that called;
 * p_rules_changed: the rules are others than when this account was last looked at.
 *
 * What counts is where the balance was at the last commit. A crossing that the same transaction takes
 * back (a renewal books an expiry, then the grant) is taken out of the outbox again: nobody ever had
 * that balance.
 * A rule that is new or was changed, and a plan limit that moved, raise nothing by themselves; from then on
 * they count.
 * Caller: internal, holding the account's lock.   Returns the next thresholds on either side.
 */
create function tokenbook.cross_thresholds(
  p_account public.token_accounts,
  p_before bigint,
  p_at timestamptz,
  p_rules_changed boolean,
  out alert_below bigint,
  out alert_above bigint
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
  v_rules text[] := '{}';
  v_state tokenbook.token_alert_states;
  v_stood tokenbook.token_alert_states;
  v_alert public.token_alerts;
  v_was_below boolean;
  v_taken_back_id bigint;
  v_later record;
begin
  for v_rule in
    select r.* from tokenbook.alert_rules_of(p_account.user_id) as r
     where r.threshold is not null
     -- in the order in which they were passed
     order by case when p_account.tokens_remaining < p_before then -r.threshold else r.threshold end, r.rule
  loop
    v_rules := v_rules || v_rule.rule;
    select s.* into v_stood from tokenbook.token_alert_states s
     where s.user_id = p_account.user_id and s.rule = v_rule.rule;
    v_state := v_stood;
    v_state.threshold := v_rule.threshold;
    v_state.is_below := p_account.tokens_remaining < v_rule.threshold;
    v_was_below := case when v_stood.threshold = v_rule.threshold then v_stood.is_below
                        else p_before < v_rule.threshold end; -- @new-rules-tell-nothing
    v_alert := null;

    if v_state.is_below <> v_stood.is_below
      and v_stood.changed_in = pg_current_xact_id() and v_stood.changed_at >= now() -- @last-commit-counts
    then
      -- taken back
      if v_stood.is_raised then
        delete from public.token_alerts t
         where t.user_id = p_account.user_id and t.rule = v_rule.rule and t.epoch = v_stood.epoch
           and (t.kind = 'recovered') = not v_stood.is_below
        returning t.id into v_taken_back_id;
        -- numbers have no gaps; what was written after it, was in this transaction too
        for v_later in
          select t.id from public.token_alerts t
           where t.user_id = p_account.user_id and t.id > v_taken_back_id -- @alerts-have-no-gaps
           order by t.id
        loop
          update public.token_alerts t set id = v_later.id - 1
           where t.user_id = p_account.user_id and t.id = v_later.id;
        end loop;
        v_state.epoch := v_stood.epoch - v_stood.is_below::integer;
      end if;
      v_state.changed_in := null;
    elsif v_state.is_below and not v_was_below then -- @only-crossings-tell
      v_state.epoch := coalesce(v_stood.epoch, 0) + 1;
      v_state.is_raised := true;
      v_state.changed_in := pg_current_xact_id();
      v_alert.kind := v_rule.kind;
    elsif v_was_below and not v_state.is_below then
      v_state.changed_in := pg_current_xact_id();
      -- below by a rule that is new: nobody was told, whatever he was told of the one before
      v_state.is_raised := v_stood.is_below and v_stood.is_raised;
      if v_rule.notify_recovered and v_state.is_raised then
        v_alert.kind := 'recovered';
      end if;
    elsif v_state.is_below and v_stood.is_below is distinct from true then
      v_state.is_raised := false; -- it was not the balance that moved, but the threshold: now, or at some time before
      v_state.changed_in := case when not p_rules_changed then pg_current_xact_id() end;
    end if;

    if v_alert.kind is not null then
      v_alert.user_id := p_account.user_id;
      v_alert.rule := v_rule.rule;
      v_alert.epoch := v_state.epoch;
      v_alert.created_at := p_at;
      v_alert.payload := jsonb_build_object(
        'threshold_tokens', v_rule.threshold, 'threshold_percent', v_rule.threshold_percent);
      perform tokenbook.write_alert(v_alert);
    end if;
    -- who is above, and always was, needs no row
    if v_state is distinct from v_stood -- @alerts-armed-again
      and (v_stood.rule is not null or v_state.is_below or v_state.changed_in is not null)
    then
      insert into tokenbook.token_alert_states as s
        (user_id, rule, threshold, is_below, is_raised, epoch, changed_in, changed_at)
      values
        (p_account.user_id, v_rule.rule, v_state.threshold, v_state.is_below, coalesce(v_state.is_raised, false),
         coalesce(v_state.epoch, 0), v_state.changed_in, clock_timestamp())
      on conflict (user_id, rule) do update
         set threshold = excluded.threshold, is_below = excluded.is_below, is_raised = excluded.is_raised,
             epoch = excluded.epoch, changed_in = excluded.changed_in, changed_at = excluded.changed_at;
    end if;

    if v_state.is_below then
      alert_above := least(alert_above, v_rule.threshold);
    else
      alert_below := greatest(alert_below, v_rule.threshold);
    end if;
  end loop;

  -- what no longer holds is forgotten, but for the count: a rule of that name may come back
  update tokenbook.token_alert_states s
     set threshold = null, is_raised = false, changed_in = null
   where s.user_id = p_account.user_id and s.rule <> all (v_rules) and s.rule <> 'auto_top_up'
     and s.threshold is not null;
end
$$;
comment on function tokenbook.cross_thresholds is
  'Writes an alert for each threshold that the balance has crossed since the last commit, once; returns the next thresholds below and above.';

-- from supabase/schemas/70_alerts/first_due_alerts.sql

/*
 * The 1,000 alerts that are due first: as far as one call looks (I11), however many are undelivered.
 * Caller: internal.   Locks: nothing: whoever takes one locks it, and asks again whether it is due.
 */
create function tokenbook.first_due_alerts(p_now timestamptz)
returns table (user_id uuid, id bigint, next_attempt_at timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select t.user_id, t.id, t.next_attempt_at
    from public.token_alerts t
   where t.delivery = 'pending' and t.next_attempt_at <= p_now
   order by t.next_attempt_at
   limit 1000;
end
$$;
comment on function tokenbook.first_due_alerts is
  'The 1,000 alerts that are due to be sent first, as far as one call of claim_token_alerts looks.';

-- from supabase/schemas/70_alerts/next_plan_change.sql

/*
 * When the rules that hold for a user change by time alone: when their plan ends, and rules are of plans. NULL: not.
 * Caller: internal.
 */
create function tokenbook.next_plan_change(p_user_id uuid, p_at timestamptz)
returns timestamptz
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select least(
             case when s.next_plan_type is not null and s.expires_at > p_at then s.expires_at end,
             case when tokenbook.plan_ends_at(s) > p_at then tokenbook.plan_ends_at(s) end)
      from tokenbook.subscriptions s
     where s.user_id = p_user_id and s.ended_at is null
       and exists (select from public.token_alert_rules r where r.plan_type is not null)); -- @rules-follow-the-plan
end
$$;
comment on function tokenbook.next_plan_change is
  'When the alert rules that hold for a user change because their plan ends; NULL when they do not.';

-- from supabase/schemas/70_alerts/outdate_alert_thresholds.sql

/*
 * From the commit on the thresholds of every account are of older rules, and are set anew by whoever
 * touches it next: for who changes the alert rules.
 * Caller: internal.   Locks: the settings.
 */
create function tokenbook.outdate_alert_thresholds()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.lock_settings();
  update tokenbook.project_settings s set alerts_version = s.alerts_version + 1 where s.is_current;
end
$$;
comment on function tokenbook.outdate_alert_thresholds is
  'Makes every account''s alert thresholds ones of older rules, to be set anew by whoever touches it next.';

-- from supabase/schemas/70_alerts/raise_alerts.sql

/*
 * Looks at everything that may want to be told about a user's balance, writes the alerts, and sets the
 * account's thresholds anew, so that the next change that concerns nobody need not ask. Called in the
 * transaction that changed the balance: what is rolled back was never told.
 * p_before is the balance before the change.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.raise_alerts(p_user_id uuid, p_before bigint, p_at timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  -- read before the rules: rules that are newer than the number cost another look, not a missed one
  v_version bigint := (select r.alerts_version from tokenbook.project_settings r);
  v_account public.token_accounts;
  v_thresholds record;
  v_warnings record;
  v_top_up record;
  v_next_at timestamptz;
begin
  if v_version is null then
    perform tokenbook.restore_settings();
    v_version := (select r.alerts_version from tokenbook.project_settings r);
  end if;
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  v_thresholds := tokenbook.cross_thresholds(v_account, p_before, p_at, v_account.alerts_version is distinct from v_version);
  v_warnings := tokenbook.warn_of_expiry(v_account, p_at);
  v_top_up := tokenbook.request_top_up(v_account, p_at);
  v_next_at := least(v_warnings.next_at, v_top_up.next_at, tokenbook.next_plan_change(p_user_id, p_at));

  update public.token_accounts a
     set alert_below = greatest(v_thresholds.alert_below, v_top_up.alert_below),
         alert_above = least(v_thresholds.alert_above, v_top_up.alert_above),
         next_alert_at = v_next_at,
         next_due_at = least(a.next_due_at, v_next_at),
         warns_of_expiry = v_warnings.is_watching,
         alerts_version = coalesce(v_version, a.alerts_version),
         last_alert_id = coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_user_id), 0),
         updated_at = p_at
   where a.user_id = p_user_id;
end
$$;
comment on function tokenbook.raise_alerts is
  'Writes the alerts that a change of the balance calls for, and sets the account''s thresholds anew; the caller holds the account''s lock.';

-- from supabase/schemas/70_alerts/refresh_alert_thresholds.sql

/*
 * Sets an account's alert thresholds anew after something other than its balance has changed what they are made
 * of: the plan, the plan limit (tokens_limit), the top-up.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.refresh_alert_thresholds(p_user_id uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tokens bigint;
begin
  select a.tokens_remaining into v_tokens
    from public.token_accounts a
   where a.user_id = p_user_id
     and ((select r.alerts_version from tokenbook.project_settings r) is distinct from 0 -- 0: there never was a rule
       or exists (select from public.token_top_ups t where t.user_id = p_user_id));
  if v_tokens is not null then
    perform tokenbook.raise_alerts(p_user_id, v_tokens, clock_timestamp());
  end if;
end
$$;
comment on function tokenbook.refresh_alert_thresholds is
  'Sets an account''s alert thresholds anew after its plan, its plan limit or its top-up has changed; the caller holds the account''s lock.';

-- from supabase/schemas/70_alerts/remove_token_alert_rule.sql

/*
 * Removes one alert rule; the next wider one of its name, if there is one, holds instead. Alerts that
 * were raised by it stay. No longer there: no error.
 * Caller: an admin, service_role.   Locks: the settings.   Errors: not_authenticated, forbidden, invalid_scope.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.remove_token_alert_rule(
  p_rule text,
  p_plan_type text default null,
  p_user_id uuid default null,
  p_for_everyone boolean default false
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_scope(p_user_id, p_plan_type, p_for_everyone);
  delete from public.token_alert_rules r
   where r.rule = p_rule
     and r.plan_type is not distinct from p_plan_type
     and r.user_id is not distinct from p_user_id;
  if not found then
    return jsonb_build_object('success', true, 'removed', false);
  end if;
  perform tokenbook.outdate_alert_thresholds();
  perform tokenbook.record_change(
    'remove_token_alert_rule', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object('rule', p_rule, 'plan_type', p_plan_type));
  return jsonb_build_object('success', true, 'removed', true);
end
$$;
comment on function tokenbook.remove_token_alert_rule is
  'Removes the alert rule of that name for a user (p_user_id), for a plan (p_plan_type) or for everyone (p_for_everyone true); one of the three has to be said. For an admin or the server. Returns {success, removed (false: there was none)}. Errors: invalid_scope, forbidden.';

-- from supabase/schemas/70_alerts/request_top_up.sql

/*
 * Asks for more tokens when the user wants that and fewer than his threshold remain; unless a request
 * is pending, a charge has failed, the last one is too recent, or there were too many. What time will
 * lift is looked at again then: so a threshold that was crossed during a cooldown is not forgotten.
 * Nor for a frozen account, or a user who was deleted.
 * A request of this very transaction is withdrawn when the balance comes back in it.
 * Caller: internal, holding the account's lock.   Returns the next thresholds on either side, and when
 * to look again.
 */
create function tokenbook.request_top_up(
  p_account public.token_accounts,
  p_at timestamptz,
  out alert_below bigint,
  out alert_above bigint,
  out next_at timestamptz
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_top_up public.token_top_ups;
  v_request public.token_top_up_requests;
  v_state tokenbook.token_alert_states;
  v_alert public.token_alerts;
begin
  select t.* into v_top_up from public.token_top_ups t where t.user_id = p_account.user_id;
  if v_top_up.user_id is null or not v_top_up.is_enabled then
    return;
  end if;
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_account.user_id and r.status = 'pending';

  if p_account.tokens_remaining >= v_top_up.below_tokens then
    alert_below := v_top_up.below_tokens;
    select s.* into v_state from tokenbook.token_alert_states s
     where s.user_id = p_account.user_id and s.rule = 'auto_top_up';
    if v_request.id is not null and v_state.changed_in = pg_current_xact_id() and v_state.changed_at >= now() then
      delete from public.token_alerts t where t.user_id = v_request.user_id and t.request_id = v_request.id;
      delete from public.token_top_up_requests r where r.user_id = v_request.user_id and r.id = v_request.id;
    end if;
    return;
  end if;

  alert_above := v_top_up.below_tokens;
  if v_request.id is not null or v_top_up.paused_at is not null then -- @one-request-pending
    return;
  end if;
  if tokenbook.is_frozen(p_account, null) or not tokenbook.is_user(p_account.user_id) then -- @frozen-asks-for-nothing
    return;
  end if;
  next_at := greatest(
    (select coalesce(r.settled_at, r.created_at) from public.token_top_up_requests r
      where r.user_id = p_account.user_id
      order by r.created_at desc
      limit 1) + v_top_up.cooldown_seconds * interval '1 second', -- one at a time: the newest was settled last
    (select r.created_at from public.token_top_up_requests r
      where r.user_id = p_account.user_id
      order by r.created_at desc
     offset v_top_up.max_requests - 1 limit 1) + v_top_up.window_seconds * interval '1 second');
  if next_at > p_at then -- @requests-cool-down
    return;
  end if;

  next_at := null;
  insert into public.token_top_up_requests as r (user_id, tokens, plan_type, pack_type, quantity, created_at, next_attempt_at)
  values (p_account.user_id, v_top_up.tokens, v_top_up.plan_type, v_top_up.pack_type, v_top_up.quantity, p_at, p_at)
  returning r.* into v_request;
  insert into tokenbook.token_alert_states (user_id, rule, is_below, changed_in, changed_at)
  values (p_account.user_id, 'auto_top_up', true, pg_current_xact_id(), clock_timestamp())
  on conflict (user_id, rule) do update
     set changed_in = excluded.changed_in, changed_at = excluded.changed_at;
  v_alert.user_id := p_account.user_id;
  v_alert.kind := 'top_up_requested';
  v_alert.rule := 'auto_top_up';
  v_alert.request_id := v_request.id;
  v_alert.created_at := p_at;
  v_alert.payload := jsonb_build_object(
    'request_id', v_request.id, 'threshold_tokens', v_top_up.below_tokens,
    'tokens', v_request.tokens, 'top_up_plan_type', v_request.plan_type,
    'top_up_pack_type', v_request.pack_type, 'top_up_quantity', v_request.quantity);
  perform tokenbook.write_alert(v_alert);
end
$$;
comment on function tokenbook.request_top_up is
  'Writes a request for more tokens when the user''s top-up asks for one and no guard forbids it; returns the next thresholds, and when to look again.';

-- from supabase/schemas/70_alerts/retry_token_alerts.sql

/*
 * Puts alerts that were given up back into the outbox, as if new: for when the receiver works again.
 * Those of the last three days; older news is none. At most p_limit a call: call it until it returns 0.
 * Caller: an admin, service_role.   Locks: these alerts.   Returns how many.
 * Errors: not_authenticated, forbidden, invalid_scope, invalid_page.
 */
-- Security definer: nobody may write the tables themselves.
create function tokenbook.retry_token_alerts(
  p_user_id uuid default null,
  p_for_everyone boolean default false,
  p_limit integer default 1000
)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_retried bigint;
begin
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_scope(p_user_id, null, p_for_everyone);
  if p_limit is null or p_limit not between 1 and 10000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 10000"}');
  end if;
  update public.token_alerts t
     set delivery = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = null
    from (
      select o.user_id, o.id from public.token_alerts o
       where o.delivery = 'given_up' and o.created_at >= clock_timestamp() - interval '72 hours'
         and (p_user_id is null or o.user_id = p_user_id)
       order by o.created_at
       limit p_limit
         for no key update skip locked) given_up
   where t.user_id = given_up.user_id and t.id = given_up.id;
  get diagnostics v_retried = row_count;
  if v_retried > 0 then
    perform tokenbook.record_change(
      'retry_token_alerts', p_user_id, v_actor.actor_role, v_actor.actor_id, null, jsonb_build_object('alerts', v_retried));
  end if;
  return v_retried;
end
$$;
comment on function tokenbook.retry_token_alerts is
  'Sends alerts of the last three days again that were given up, of one user (p_user_id) or of all (p_for_everyone true), and one of the two has to be said; at most p_limit (1 to 10000) a call, returns how many, 0 when all are. For an admin or the server. Errors: invalid_scope, invalid_page, forbidden.';

-- from supabase/schemas/70_alerts/set_token_alert_rule.sql

/*
 * Sets one alert rule: for a user, for a plan, or (p_for_everyone) for everyone; what was set under that name for the
 * same ones is replaced. Holds from its commit on, while traffic runs: each account's thresholds are set
 * anew by whoever touches it next (arm_token_alerts for those whom nobody touches). Who is below the
 * threshold already is not told; from then on every crossing counts.
 * Caller: an admin, service_role.   Locks: the settings.
 * Errors: not_authenticated, forbidden, invalid_scope, invalid_alert_rule, plan_not_found, user_not_found.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.set_token_alert_rule(
  p_rule text,
  p_kind text,
  p_threshold_tokens bigint default null,
  p_threshold_percent integer default null,
  p_hours integer default null,
  p_plan_type text default null,
  p_user_id uuid default null,
  p_notify_recovered boolean default false,
  p_is_enabled boolean default true,
  p_for_everyone boolean default false
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_asked public.token_alert_rules;
  v_asks text := tokenbook.alert_kinds() -> p_kind ->> 'asks';
  v_fault text;
begin
  -- validate
  v_asked.rule := p_rule;
  v_asked.kind := p_kind;
  v_asked.threshold_tokens := p_threshold_tokens;
  v_asked.threshold_percent := p_threshold_percent;
  v_asked.hours := p_hours;
  v_asked.plan_type := p_plan_type;
  v_asked.user_id := p_user_id;
  v_asked.notify_recovered := p_notify_recovered;
  v_asked.is_enabled := p_is_enabled;
  v_actor := tokenbook.authorize_operator();
  perform tokenbook.check_scope(v_asked.user_id, v_asked.plan_type, p_for_everyone);
  v_fault := case
    when octet_length(v_asked.rule) > 64 or (v_asked.rule ~ '^[a-z][a-z0-9_]*$') is not true or v_asked.rule = 'auto_top_up'
      then '{"field": "p_rule", "rule": "1 to 64 characters of a-z 0-9 _, a letter first, not auto_top_up"}'
    when v_asks is null
      then jsonb_build_object('field', 'p_kind', 'rule', tokenbook.say_one_of((
             select jsonb_object_agg(k.name, null)
               from jsonb_each(tokenbook.alert_kinds()) as k (name, kind) where k.kind ->> 'asks' is not null)))::text
    when v_asked.threshold_tokens not between 1 and 1000000000000
      then '{"field": "p_threshold_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when v_asked.threshold_percent not between 1 and 100
      then '{"field": "p_threshold_percent", "rule": "1 to 100"}'
    when num_nonnulls(v_asked.threshold_tokens, v_asked.threshold_percent) <> (v_asks = 'threshold')::integer
      then '{"field": "p_threshold_tokens", "rule": "this or p_threshold_percent where the kind asks for a threshold, neither otherwise"}'
    when (v_asks = 'hours') <> coalesce(v_asked.hours between 1 and 8760, v_asked.hours is not null)
      then '{"field": "p_hours", "rule": "1 to 8760 where the kind asks for hours, left out otherwise"}'
    when v_asked.notify_recovered is null or (v_asked.notify_recovered and not (tokenbook.alert_kinds() -> v_asked.kind -> 'ends')::boolean)
      then '{"field": "p_notify_recovered", "rule": "true or false, and false where the kind has no end"}'
    when v_asked.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_alert_rule', v_fault::jsonb);
  end if;
  if (select count(*) from public.token_alert_rules r
       where r.user_id is not distinct from v_asked.user_id and r.plan_type is not distinct from v_asked.plan_type
         and r.rule <> v_asked.rule) >= 100 -- each is looked at whenever a threshold is passed
  then
    perform tokenbook.refuse('invalid_alert_rule', '{"field": "p_rule", "rule": "at most 100 for the same users"}');
  end if;
  if v_asked.plan_type is not null
    and not exists (select from public.token_plans p where p.plan_type = v_asked.plan_type)
  then
    perform tokenbook.refuse('plan_not_found', '{}');
  end if;
  if v_asked.user_id is not null then
    perform tokenbook.require_user(v_asked.user_id, 'service');
  end if;

  -- act
  perform tokenbook.outdate_alert_thresholds();
  insert into public.token_alert_rules as r
    (user_id, plan_type, rule, kind, threshold_tokens, threshold_percent, hours, notify_recovered, is_enabled)
  values
    (v_asked.user_id, v_asked.plan_type, v_asked.rule, v_asked.kind, v_asked.threshold_tokens,
     v_asked.threshold_percent, v_asked.hours, v_asked.notify_recovered, v_asked.is_enabled)
  on conflict on constraint token_alert_rules_key do update
     set kind = excluded.kind,
         threshold_tokens = excluded.threshold_tokens,
         threshold_percent = excluded.threshold_percent,
         hours = excluded.hours,
         notify_recovered = excluded.notify_recovered,
         is_enabled = excluded.is_enabled,
         updated_at = clock_timestamp()
  returning r.* into v_asked;

  -- record
  perform tokenbook.record_change(
    'set_token_alert_rule', v_asked.user_id, v_actor.actor_role, v_actor.actor_id, null,
    to_jsonb(v_asked) - array['id', 'user_id', 'updated_at']);
  return to_jsonb(v_asked);
end
$$;
comment on function tokenbook.set_token_alert_rule is
  'Sets an alert rule for a user (p_user_id), for a plan (p_plan_type) or for everyone (p_for_everyone true); one of the three has to be said. Of the rules of one name the closest holds. For an admin or the server. p_rule its name; p_kind dropped (fewer than p_threshold_tokens, or than p_threshold_percent of the plan limit), depleted (nothing left), expiring_soon (a grant runs out within p_hours); p_notify_recovered: the end of it is an alert too; p_is_enabled false: none for these, whatever a wider rule says. Returns the row of token_alert_rules. Errors: invalid_scope, invalid_alert_rule, plan_not_found, user_not_found, forbidden.';

-- from supabase/schemas/70_alerts/set_token_top_up.sql

/*
 * Sets a user's automatic top-up: below which balance to ask for more, for how many tokens, which plan or
 * how many of which pack, and how often at most. Sets it going again when a failed charge had paused it. Who is below
 * the threshold already is asked for at once. Nothing is charged here: a request is written, and the
 * server that takes money answers it with settle_token_top_up.
 * Caller: the user for himself, an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, plan_not_found,
 * pack_not_found, user_not_found, account_frozen (only to switch it off goes on), busy.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.set_token_top_up(
  p_user_id uuid,
  p_is_enabled boolean default true,
  p_below_tokens bigint default null,
  p_tokens bigint default null,
  p_plan_type text default null,
  p_cooldown_seconds integer default 60,
  p_max_requests integer default 3,
  p_window_seconds integer default 86400,
  p_pack_type text default null,
  p_quantity integer default 1
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_asked public.token_top_ups;
  v_actor record;
  v_account public.token_accounts;
  v_fault text;
begin
  -- validate
  v_asked.user_id := p_user_id;
  v_asked.is_enabled := p_is_enabled;
  v_asked.below_tokens := p_below_tokens;
  v_asked.tokens := p_tokens;
  v_asked.plan_type := p_plan_type;
  v_asked.pack_type := p_pack_type;
  v_asked.quantity := p_quantity;
  v_asked.cooldown_seconds := p_cooldown_seconds;
  v_asked.max_requests := p_max_requests;
  v_asked.window_seconds := p_window_seconds;
  v_actor := tokenbook.authorize(v_asked.user_id, p_self_may => true);
  v_fault := case
    when v_asked.is_enabled is null
      then '{"field": "p_is_enabled", "rule": "true or false"}'
    when not v_asked.is_enabled
      then null
    when (v_asked.below_tokens between 1 and 1000000000000) is not true
      then '{"field": "p_below_tokens", "rule": "a whole number from 1 to 1000000000000"}'
    when num_nonnulls(v_asked.tokens, v_asked.plan_type, v_asked.pack_type) <> 1 or v_asked.tokens not between 1 and 1000000000000
      then '{"field": "p_tokens", "rule": "a whole number from 1 to 1000000000000, or p_plan_type or p_pack_type instead"}'
    when v_asked.pack_type is null and v_asked.quantity is distinct from 1
      then '{"field": "p_quantity", "rule": "1, where no pack is named"}'
    when (v_asked.quantity between 1 and (tokenbook.limits() -> 'pack_quantity')::integer) is not true
      then jsonb_build_object('field', 'p_quantity', 'rule', format('1 to %s', tokenbook.limits() -> 'pack_quantity'))::text
    when (v_asked.cooldown_seconds between 30 and 2592000) is not true
      then '{"field": "p_cooldown_seconds", "rule": "30 to 2592000"}'
    when (v_asked.max_requests between 1 and 100) is not true
      then '{"field": "p_max_requests", "rule": "1 to 100"}'
    when (v_asked.window_seconds between 60 and 2592000) is not true
      then '{"field": "p_window_seconds", "rule": "60 to 2592000"}'
  end;
  if v_fault is not null then
    perform tokenbook.refuse('invalid_top_up', v_fault::jsonb);
  end if;
  if v_asked.is_enabled and v_asked.tokens is null
    and (tokenbook.find_offer(v_asked.plan_type, v_asked.pack_type)).is_offered is not true
  then
    perform tokenbook.refuse(case when v_asked.plan_type is not null then 'plan_not_found' else 'pack_not_found' end, '{}');
  end if;

  -- lock
  v_account := tokenbook.lock_account(v_asked.user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(v_asked.user_id, v_actor.actor_role);
    v_account := tokenbook.lock_account(v_asked.user_id, p_create => true);
  end if;

  -- act
  if v_asked.is_enabled then
    perform tokenbook.require_active(v_asked.user_id, v_account);
    insert into public.token_top_ups as t
      (user_id, is_enabled, below_tokens, tokens, plan_type, pack_type, quantity, cooldown_seconds, max_requests, window_seconds)
    values
      (v_asked.user_id, true, v_asked.below_tokens, v_asked.tokens, v_asked.plan_type, v_asked.pack_type, v_asked.quantity,
       v_asked.cooldown_seconds, v_asked.max_requests, v_asked.window_seconds)
    on conflict (user_id) do update
       set is_enabled = true,
           below_tokens = excluded.below_tokens,
           tokens = excluded.tokens,
           plan_type = excluded.plan_type,
           pack_type = excluded.pack_type,
           quantity = excluded.quantity,
           cooldown_seconds = excluded.cooldown_seconds,
           max_requests = excluded.max_requests,
           window_seconds = excluded.window_seconds,
           paused_at = null,
           updated_at = clock_timestamp();
  else
    update public.token_top_ups t
       set is_enabled = false, updated_at = clock_timestamp()
     where t.user_id = v_asked.user_id;
  end if;

  -- record
  perform tokenbook.record_change(
    'set_token_top_up', v_asked.user_id, v_actor.actor_role, v_actor.actor_id, null,
    to_jsonb(v_asked) - array['user_id', 'updated_at']);
  perform tokenbook.refresh_alert_thresholds(v_asked.user_id);
  return jsonb_build_object(
    'success', true,
    'is_enabled', v_asked.is_enabled,
    'top_up', (select to_jsonb(t) from public.token_top_ups t where t.user_id = v_asked.user_id),
    'pending_request_id', (
      select r.id from public.token_top_up_requests r
       where r.user_id = v_asked.user_id and r.status = 'pending'));
end
$$;
comment on function tokenbook.set_token_top_up is
  'Sets a user''s automatic top-up, and sets it going again after a failed charge. For the user themself, an admin, or the server. p_is_enabled false switches it off and looks at nothing else. Asks for p_tokens, for p_plan_type, or for p_quantity (1 to 1000) of p_pack_type, when fewer than p_below_tokens can be spent; at least p_cooldown_seconds (30 to 2592000) apart, at most p_max_requests (1 to 100) in p_window_seconds (60 to 2592000). Charges nothing. Returns {success, is_enabled, top_up (the row of token_top_ups), pending_request_id}. Errors: invalid_top_up, plan_not_found, pack_not_found, user_not_found, account_frozen, forbidden, busy.';

-- from supabase/schemas/70_alerts/settle_token_alert.sql

/*
 * Says what came of sending an alert. Without p_error it is delivered. With one it is due again after
 * a pause that is four times as long as the one before (10 s, 40 s, … at most 6 hours), a quarter
 * more or less so that many do not come back at once; after the tenth attempt it is given up.
 * Of two who sent it, because one was slow, the word of whoever delivered it counts.
 * Caller: service_role.   Locks: the alert.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.settle_token_alert(
  p_user_id uuid,
  p_alert_id bigint,
  p_claim_id uuid,
  p_error text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_alert public.token_alerts;
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  update public.token_alerts t
     set delivery = case when p_error is null then 'delivered' when t.attempts >= 10 then 'given_up' else 'pending' end,
         next_attempt_at = case when p_error is not null and t.attempts < 10
           then v_now + least(10 * 4 ^ (t.attempts - 1), 21600) * (0.75 + random() / 2) * interval '1 second' end,
         settled_at = case when p_error is null or t.attempts >= 10 then v_now end,
         last_error = coalesce(left(p_error, 200), t.last_error)
   where t.user_id = p_user_id and t.id = p_alert_id and t.attempts > 0 -- what nobody was given, nobody has sent
     and case when p_error is null then t.delivery <> 'delivered'
              else t.delivery = 'pending' and t.claim_id = p_claim_id end;
  select t.* into v_alert from public.token_alerts t where t.user_id = p_user_id and t.id = p_alert_id;
  return jsonb_build_object(
    'delivery', v_alert.delivery, 'attempts', v_alert.attempts, 'next_attempt_at', v_alert.next_attempt_at);
end
$$;
comment on function tokenbook.settle_token_alert is
  'Says what came of sending an alert that claim_token_alerts handed out: delivered, or p_error (its first 200 characters are kept) and it is sent again later, ten times in all. For the server. Returns {delivery (pending, delivered, given_up; NULL = no such alert), attempts, next_attempt_at}.';

-- from supabase/schemas/70_alerts/settle_token_top_up.sql

/*
 * Says what came of a top-up request: done (charged, and the tokens granted by whoever charged), or
 * failed, which pauses the top-up until it is set anew: a card that was declined is not tried again
 * by itself. needs_action is a failure that the user can mend: their bank asks them to confirm the payment,
 * which they do by buying the same once themselves. Of a failure the user is told by an alert, in the same
 * commit, unless they have switched the top-up off meanwhile. The same word again changes nothing; another one
 * is refused.
 * Grant the tokens first, or in the same database transaction: who is still below his threshold after
 * it and its cooldown is asked for again.
 * Caller: an admin, service_role.   Locks: the account.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_top_up, invalid_reason,
 * top_up_request_not_found, top_up_already_settled, busy.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.settle_token_top_up(
  p_user_id uuid,
  p_request_id uuid,
  p_outcome text,
  p_reason text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_status text := case p_outcome when 'needs_action' then 'failed' else p_outcome end;
  v_request public.token_top_up_requests;
  v_alert public.token_alerts;
  v_replayed boolean;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if (p_outcome in ('done', 'failed', 'needs_action')) is not true then
    perform tokenbook.refuse('invalid_top_up', '{"field": "p_outcome", "rule": "done, failed or needs_action"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- lock
  perform tokenbook.lock_account(p_user_id);

  -- replay
  select r.* into v_request from public.token_top_up_requests r
   where r.user_id = p_user_id and r.id = p_request_id;
  if v_request.id is null then
    perform tokenbook.refuse('top_up_request_not_found', '{}');
  elsif v_request.status not in ('pending', v_status) then
    perform tokenbook.refuse('top_up_already_settled', '{}');
  end if;
  v_replayed := v_request.status <> 'pending';

  if not v_replayed then
    -- act
    update public.token_top_up_requests r
       set status = v_status, reason = p_reason, settled_at = clock_timestamp(), next_attempt_at = null
     where r.user_id = p_user_id and r.id = p_request_id
    returning r.* into v_request;
    if v_status = 'failed' then
      update public.token_top_ups t
         set paused_at = v_request.settled_at, updated_at = v_request.settled_at
       where t.user_id = p_user_id;
      if exists (select from public.token_top_ups t where t.user_id = p_user_id and t.is_enabled) then
        v_alert.user_id := p_user_id;
        v_alert.kind := 'top_up_' || p_outcome;
        v_alert.rule := 'auto_top_up';
        v_alert.request_id := p_request_id;
        v_alert.created_at := v_request.settled_at;
        v_alert.payload := jsonb_build_object(
          'request_id', p_request_id, 'tokens', v_request.tokens, 'top_up_plan_type', v_request.plan_type,
          'top_up_pack_type', v_request.pack_type, 'top_up_quantity', v_request.quantity,
          'amount_cents', v_request.amount_cents, 'currency', v_request.currency, 'reason', p_reason);
        perform tokenbook.write_alert(v_alert);
      end if;
    end if;

    -- record
    perform tokenbook.record_change(
      'settle_token_top_up', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
      jsonb_build_object('request_id', p_request_id, 'outcome', p_outcome));
    perform tokenbook.refresh_alert_thresholds(p_user_id);
  end if;
  return jsonb_build_object(
    'success', true,
    'request_id', v_request.id,
    'status', v_request.status,
    'settled_at', v_request.settled_at,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.settle_token_top_up is
  'Says what came of a top-up request: p_outcome done (grant the tokens first), failed, or needs_action (it failed because the user must confirm it themself); the latter two pause the user''s top-up until it is set anew, and the user is told by an alert of that name. For an admin or the server. The same outcome again changes nothing. Returns {success, request_id, status, settled_at, replayed}. Errors: invalid_top_up, invalid_reason, top_up_request_not_found, top_up_already_settled, forbidden, busy.';

-- from supabase/schemas/70_alerts/tell_of_parked_payment.sql

/*
 * Tells the project that a payment waits for an admin: when it is parked, and again when something else is known of
 * it, which brings back one that was dismissed too. An alert payment_parked of nobody's (user_id is all zeros).
 * Caller: internal, holding the facts' lock.
 */
create function tokenbook.tell_of_parked_payment(p_facts tokenbook.provider_payments)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set timezone = 'UTC' -- how a moment is written must not make it another
as $$
declare
  v_known constant text := md5((to_jsonb(p_facts) - array['told_as', 'dismissed_at', 'created_at', 'updated_at'])::text);
  v_id bigint;
begin
  if p_facts.parked_reason is null or p_facts.told_as = v_known then -- @parked-told-once
    return;
  end if;
  update tokenbook.provider_payments f
     set told_as = v_known, dismissed_at = null -- @dismissed-until-news
   where f.provider = p_facts.provider and f.provider_payment_id = p_facts.provider_payment_id;
  v_id := nextval('tokenbook.project_alert_numbers');
  insert into public.token_alerts (user_id, id, kind, rule, epoch, payload, created_at, next_attempt_at)
  values
    ('00000000-0000-0000-0000-000000000000', v_id, 'payment_parked', 'payment_parked', v_id,
     jsonb_strip_nulls(jsonb_build_object(
       'provider', p_facts.provider,
       'provider_payment_id', p_facts.provider_payment_id,
       'parked_reason', p_facts.parked_reason,
       'explanation', tokenbook.parked_reasons() ->> p_facts.parked_reason,
       'price_id', p_facts.price_id,
       'customer_id', p_facts.customer_id,
       'paid_by', p_facts.user_id,
       'amount_cents', p_facts.amount_cents,
       'currency', p_facts.currency)),
     clock_timestamp(), clock_timestamp());
end
$$;
comment on function tokenbook.tell_of_parked_payment is
  'Writes an alert of the project''s that a payment waits for an admin; again when something else is known of it.';

-- from supabase/schemas/70_alerts/tell_of_subscription.sql

/*
 * Tells a user what became of their subscription, once for each kind and moment (the plan's end, or when its provider
 * says that a payment failed).
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.tell_of_subscription(p_user_id uuid, p_kind text, p_at timestamptz, p_facts jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert public.token_alerts;
begin
  v_alert.user_id := p_user_id;
  v_alert.kind := p_kind;
  v_alert.rule := p_kind;
  v_alert.epoch := (extract(epoch from p_at) * 1000000)::bigint; -- @told-once-a-moment
  v_alert.created_at := clock_timestamp();
  v_alert.payload := p_facts;
  perform tokenbook.write_alert(v_alert);
  update public.token_accounts a
     set last_alert_id = coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_user_id), 0)
   where a.user_id = p_user_id;
end
$$;
comment on function tokenbook.tell_of_subscription is
  'Writes an alert about a user''s subscription into the outbox, once for each kind and moment.';

-- from supabase/schemas/70_alerts/warn_of_expiry.sql

/*
 * Writes an alert for each grant with tokens left that runs out within the hours that a rule asks for;
 * once for a rule and a grant, whatever becomes of either. Of the 100 that run out first: who has more of
 * them is warned of the next when one of these is gone (I11).
 * Caller: internal, holding the account's lock.   Returns whether a rule watches at all, and when the
 * next grant is to be warned of.
 */
create function tokenbook.warn_of_expiry(
  p_account public.token_accounts,
  p_at timestamptz,
  out is_watching boolean,
  out next_at timestamptz
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_rule record;
  v_grant record;
  v_alert public.token_alerts;
begin
  is_watching := false;
  for v_rule in
    select r.rule, r.hours * interval '1 hour' as notice
      from tokenbook.alert_rules_of(p_account.user_id) as r
     where r.kind = 'expiring_soon'
  loop
    is_watching := true;
    for v_grant in
      select soon.*
        from (
          select b.id, b.tokens_remaining, b.expires_at
            from public.token_balances b
           where b.user_id = p_account.user_id and b.is_open
             and b.expires_at > p_at and b.expires_at <= p_at + v_rule.notice
           order by b.expires_at
           limit 100) soon -- @warnings-are-bounded
       where not exists (
         select from public.token_alerts t
          where t.user_id = p_account.user_id and t.rule = v_rule.rule and t.grant_id = soon.id)
       order by soon.expires_at, soon.id
    loop
      v_alert.user_id := p_account.user_id;
      v_alert.kind := 'expiring_soon';
      v_alert.rule := v_rule.rule;
      v_alert.grant_id := v_grant.id;
      v_alert.created_at := p_at;
      v_alert.payload := jsonb_build_object(
        'grant_id', v_grant.id, 'grant_tokens', v_grant.tokens_remaining, 'expires_at', v_grant.expires_at);
      perform tokenbook.write_alert(v_alert);
    end loop;
    next_at := least(
      next_at,
      (select min(b.expires_at) - v_rule.notice
         from public.token_balances b
        where b.user_id = p_account.user_id and b.is_open and b.expires_at > p_at + v_rule.notice),
      -- the 101st is within the notice already: its turn comes when the first has run out
      (select min(b.expires_at)
         from public.token_balances b
        where b.user_id = p_account.user_id and b.is_open and b.expires_at > p_at
          and exists (
            select from public.token_balances o
             where o.user_id = b.user_id and o.is_open
               and o.expires_at > p_at and o.expires_at <= p_at + v_rule.notice
            offset 100)));
  end loop;
end
$$;
comment on function tokenbook.warn_of_expiry is
  'Writes an alert for each grant that is about to run out, once; returns whether a rule watches, and when the next is due.';

-- from supabase/schemas/70_alerts/write_alert.sql

/*
 * Writes one alert into the outbox, in the transaction of what it tells. p_alert says kind, rule, what
 * about (epoch, grant_id or request_id), created_at, and in payload what its kind adds.
 * An alert that is there already is not written again, and is no error: an alert must not keep anybody
 * from spending.
 * Caller: internal, holding the account's lock.
 */
create function tokenbook.write_alert(p_alert public.token_alerts)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into public.token_alerts
    (user_id, id, kind, rule, epoch, grant_id, request_id, payload, created_at, next_attempt_at)
  select p_alert.user_id,
         coalesce((select max(t.id) from public.token_alerts t where t.user_id = p_alert.user_id), 0) + 1,
         p_alert.kind, p_alert.rule, p_alert.epoch, p_alert.grant_id, p_alert.request_id,
         jsonb_build_object(
           'tokens_remaining', a.tokens_remaining,
           'tokens_limit', s.tokens_limit,
           'plan_type', s.plan_type,
           'transaction_id', a.last_transaction_id)
         || coalesce(jsonb_strip_nulls(p_alert.payload), '{}'),
         p_alert.created_at, p_alert.created_at
    from public.token_accounts a
    left join public.token_subscriptions s on s.user_id = a.user_id
   where a.user_id = p_alert.user_id
      on conflict do nothing;
end
$$;
comment on function tokenbook.write_alert is
  'Writes one alert into the outbox, with the account as it is; once for each crossing, grant or request.';

-- from supabase/schemas/80_teams/add_token_team_member.sql

/*
 * Lets a member spend from a payer's account, within caps of his own; for one who is in the team
 * already, sets those of their caps that are given. Moves no tokens: what the member has on his own account waits there.
 * A member has one payer, and teams do not nest. For the server, which knows who agreed to it.
 * Caller: an admin, service_role.   Locks: the member's queue; both accounts, in the order of their ids.
 * Returns what list_token_team_members says of the member.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_cap, invalid_member,
 * user_not_found, already_in_team, busy.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.add_token_team_member(
  p_user_id uuid,
  p_member_id uuid,
  p_cap_day bigint default null,
  p_cap_week bigint default null,
  p_cap_month bigint default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_payer public.token_accounts;
  v_member public.token_accounts;
begin
  -- validate
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  if p_member_id is null or p_member_id = p_user_id then
    perform tokenbook.refuse('invalid_member', '{"field": "p_member_id", "rule": "a user other than the payer"}');
  elsif least(p_cap_day, p_cap_week, p_cap_month) < 0 or greatest(p_cap_day, p_cap_week, p_cap_month) > 1000000000000 then
    perform tokenbook.refuse('invalid_cap', '{"field": "p_cap_day", "rule": "0 to 1000000000000, or null for no cap"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_user(p_member_id, v_actor.actor_role);

  -- lock: his queue first, so that no deduction of his looks whose account is his while that changes
  perform tokenbook.queue_for_account(p_member_id); -- @member-queues-first
  insert into public.token_accounts (user_id)
  select u.user_id from unnest(array[p_user_id, p_member_id]) as u (user_id) order by u.user_id
  on conflict do nothing;
  perform tokenbook.lock_accounts(array[p_user_id, p_member_id]);
  select a.* into v_payer from public.token_accounts a where a.user_id = p_user_id;
  select a.* into v_member from public.token_accounts a where a.user_id = p_member_id;

  -- act
  if v_payer.payer_id is not null then
    perform tokenbook.refuse('already_in_team', '{"reason": "the payer is a member of another team"}');
  elsif v_member.payer_id is distinct from p_user_id and v_member.payer_id is not null then
    perform tokenbook.refuse('already_in_team', '{"reason": "the member is in another team"}');
  elsif exists (select from public.token_team_members m where m.user_id = p_member_id and m.until is null) then
    perform tokenbook.refuse('already_in_team', '{"reason": "the member pays for a team himself"}');
  end if;
  insert into public.token_team_members as m (user_id, member_id, cap_day, cap_week, cap_month)
  values (p_user_id, p_member_id, p_cap_day, p_cap_week, p_cap_month)
  on conflict (user_id, member_id) do update
     set cap_day = coalesce(excluded.cap_day, m.cap_day), -- @caps-are-kept begin
         cap_week = coalesce(excluded.cap_week, m.cap_week),
         cap_month = coalesce(excluded.cap_month, m.cap_month), -- @caps-are-kept end
         -- who comes back on the same day has spent what he has spent
         since = case when m.until is null then m.since else excluded.since end,
         until = null;
  update public.token_accounts a
     set payer_id = p_user_id, updated_at = clock_timestamp()
   where a.user_id = p_member_id and a.payer_id is null;

  -- record
  perform tokenbook.record_change(
    'add_token_team_member', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object('member_id', p_member_id, 'cap_day', p_cap_day, 'cap_week', p_cap_week, 'cap_month', p_cap_month));
  return tokenbook.describe_team(p_user_id, p_member_id) -> 0;
end
$$;
comment on function tokenbook.add_token_team_member is
  'Lets a member spend from the account of p_user_id, the payer; of one who is in the team already, sets the caps. For an admin or the server. p_cap_day, p_cap_week, p_cap_month 0 to 10^12; left out, a new member has no cap and one who is or was in the team keeps theirs (10^12 is as good as none). Moves no tokens; a member has one payer and teams do not nest. Returns {member_id, since, until, tokens_used, caps: [{window, limit, used, resets_at}]}. Errors: invalid_member, invalid_cap, user_not_found, already_in_team, forbidden, busy.';

-- from supabase/schemas/80_teams/describe_cap.sql

/*
 * What an answer adds when a cap allowed less than was wanted: {capped_by}; nothing otherwise.
 * Caller: internal.
 */
create function tokenbook.describe_cap(p_capped_by jsonb)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_capped_by is null then '{}' else jsonb_build_object('capped_by', p_capped_by) end;
end
$$;
comment on function tokenbook.describe_cap is '{capped_by} where a cap allowed less than was wanted, else an empty object.';

-- from supabase/schemas/80_teams/describe_team.sql

/*
 * A payer's members, those of today first: [{member_id, since, until, tokens_used, caps}]; or one; or
 * p_limit of them after p_after.
 * Caller: internal.
 */
create function tokenbook.describe_team(
  p_user_id uuid,
  p_member_id uuid default null,
  p_limit integer default 1,
  p_after uuid default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'member_id', m.member_id, 'since', m.since, 'until', m.until, 'tokens_used', m.tokens_used,
                 'caps', (
                   select coalesce(
                            jsonb_agg(
                              jsonb_build_object(
                                'window', c.spend_window, 'limit', c.tokens, 'used', c.used, 'resets_at', c.resets_at)
                              order by c.resets_at),
                            '[]')
                     from tokenbook.spend_caps_of(v_account, m.member_id, clock_timestamp()) as c
                    where c.scope = 'member'))
               order by m.has_left, m.member_id),
             '[]')
      from (
        select t.*, t.until is not null as has_left
          from public.token_team_members t
         where t.user_id = p_user_id and (p_member_id is null or t.member_id = p_member_id)
           and (p_after is null or (t.until is not null, t.member_id) > (
             select l.until is not null, l.member_id
               from public.token_team_members l where l.user_id = p_user_id and l.member_id = p_after))
         order by t.until is not null, t.member_id
         limit p_limit) m);
end
$$;
comment on function tokenbook.describe_team is 'The members of a payer''s team, or one of them, with what each has spent and may spend.';

-- from supabase/schemas/80_teams/get_token_spend_caps.sql

/*
 * The caps that a user's next spending meets, tightest first: his own, his plan's, everyone's; in a
 * team those of the payer's account, and the member's.
 * Caller: the user for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: an admin reads other users' rows, and a member his payer's.
create function tokenbook.get_token_spend_caps(p_user_id uuid default auth.uid())
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_account public.token_accounts;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  perform tokenbook.require_user(tokenbook.paying_account(p_user_id), 'user'); -- the payer's account may be lost
  if tokenbook.settle_backlog(tokenbook.paying_account(p_user_id), p_portions => 10) then
    return tokenbook.answer_busy();
  end if;
  select a.* into v_account
    from public.token_accounts a where a.user_id = tokenbook.paying_account(p_user_id);
  v_account.user_id := coalesce(v_account.user_id, p_user_id);
  return jsonb_build_object('caps', (
    select coalesce(
             jsonb_agg(
               jsonb_build_object(
                 'scope', c.scope, 'window', c.spend_window, 'limit', c.tokens, 'used', c.used,
                 'resets_at', c.resets_at)
               order by c.tokens - c.used, c.resets_at desc),
             '[]')
      from tokenbook.spend_caps_of(v_account, nullif(p_user_id, v_account.user_id), clock_timestamp()) as c));
end
$$;
comment on function tokenbook.get_token_spend_caps is
  'The spend caps that a user is under now, tightest first. For the user himself (leave p_user_id out), an admin, or the server. Returns {caps: [{scope (user, plan, everyone, member), window (day, week, month), limit, used, resets_at}]}. Errors: user_not_found, forbidden.';

-- from supabase/schemas/80_teams/list_token_team_members.sql

/*
 * Who draws, or drew, from a payer's account, and how much each has spent of it: those of today first, in
 * pages; the next begins after the last member_id.
 * Caller: the payer for himself (p_user_id left out), an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found, invalid_page, busy.   Keeps: I11.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.list_token_team_members(
  p_user_id uuid default auth.uid(),
  p_limit integer default 100,
  p_after uuid default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => true);
  if p_limit is null or p_limit not between 1 and 1000 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 1000"}');
  end if;
  perform tokenbook.require_user(p_user_id, v_actor.actor_role);
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  return jsonb_build_object('members', tokenbook.describe_team(p_user_id, null, p_limit, p_after));
end
$$;
comment on function tokenbook.list_token_team_members is
  'Who draws, or drew, from the account of a payer. For the payer himself (leave p_user_id out), an admin, or the server. Returns {members: [{member_id, since, until (NULL: still in it), tokens_used, caps: [{window, limit, used, resets_at}]}]}, those of today first, p_limit (1 to 1000) a page; the next page begins after p_after, a member_id. Errors: user_not_found, invalid_page, forbidden, busy.';

-- from supabase/schemas/80_teams/paying_account.sql

/*
 * Whose account a user spends from: his payer's while he is in a team, else his own. To be asked
 * again once the account is locked (tokenbook.spend_tokens does): joining and leaving lock both accounts.
 * Caller: internal.
 */
create function tokenbook.paying_account(p_user_id uuid)
returns uuid
language plpgsql
volatile -- it must see what was committed while the caller waited for the lock
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((select a.payer_id from public.token_accounts a where a.user_id = p_user_id), p_user_id);
end
$$;
comment on function tokenbook.paying_account is 'The account that a user spends from: his payer''s while he is in a team, else his own.';

-- from supabase/schemas/80_teams/paying_accounts.sql

/*
 * Whose accounts these users spend from, in the same order: tokenbook.paying_account for many.
 * Caller: internal.
 */
create function tokenbook.paying_accounts(p_user_ids uuid[])
returns uuid[]
language plpgsql
volatile -- as tokenbook.paying_account
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select coalesce(a.payer_id, u.user_id)
      from unnest(p_user_ids) with ordinality as u (user_id, nth)
      left join public.token_accounts a on a.user_id = u.user_id
     order by u.nth);
end
$$;
comment on function tokenbook.paying_accounts is 'The accounts that these users spend from, in the same order.';

-- from supabase/schemas/80_teams/remove_token_team_member.sql

/*
 * Ends a membership: from now on the member spends from his own account again. Moves no tokens. A
 * hold that he has open stays on the payer's account and is settled there.
 * Caller: an admin, service_role.   Locks: the member's queue; both accounts, in the order of their ids.
 * Returns what list_token_team_members says of the member.
 * Errors: not_authenticated, forbidden, invalid_user_id, member_not_found, busy.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.remove_token_team_member(p_user_id uuid, p_member_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
begin
  v_actor := tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.queue_for_account(p_member_id); -- @member-queues-first
  perform tokenbook.lock_accounts(array[p_user_id, p_member_id]);
  update public.token_team_members m
     set until = clock_timestamp()
   where m.user_id = p_user_id and m.member_id = p_member_id and m.until is null;
  if not found then
    perform tokenbook.refuse('member_not_found', '{}');
  end if;
  update public.token_accounts a
     set payer_id = null, updated_at = clock_timestamp()
   where a.user_id = p_member_id and a.payer_id = p_user_id;
  perform tokenbook.record_change(
    'remove_token_team_member', p_user_id, v_actor.actor_role, v_actor.actor_id, null,
    jsonb_build_object('member_id', p_member_id));
  return tokenbook.describe_team(p_user_id, p_member_id) -> 0;
end
$$;
comment on function tokenbook.remove_token_team_member is
  'Ends a membership in the team of p_user_id, the payer; the member spends from his own account again, and no tokens move. For an admin or the server. Returns {member_id, since, until, tokens_used, caps}. Errors: member_not_found, forbidden, busy.';

-- from supabase/schemas/80_teams/set_token_spend_cap.sql

/*
 * Caps what may be spent in a day, a week or a month: by one user, by each user on a plan, or by
 * everyone (p_for_everyone, said in so many words). p_tokens NULL takes the cap away. The tightest cap holds.
 * Safe while traffic runs: a user's cap is set under his account's lock, so what begins afterwards
 * meets it; a common one holds for whatever takes its lock afterwards. What was spent in the present
 * window counts.
 * Caller: an admin, service_role.   Locks: the account, where one user is named.
 * Returns {success, scope, window, limit, used (of that user, in the present window)}.
 * Errors: not_authenticated, forbidden, invalid_scope, invalid_cap, invalid_reason, plan_not_found, user_not_found,
 * busy.   Keeps: I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.set_token_spend_cap(
  p_window text,
  p_tokens bigint,
  p_user_id uuid default null,
  p_plan_type text default null,
  p_reason text default null,
  p_for_everyone boolean default false
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor record;
  v_scope text;
  v_account public.token_accounts;
  v_used bigint;
begin
  -- validate
  v_actor := tokenbook.authorize_operator();
  v_scope := tokenbook.check_scope(p_user_id, p_plan_type, p_for_everyone);
  if p_window is null or p_window not in ('day', 'week', 'month') then
    perform tokenbook.refuse('invalid_cap', '{"field": "p_window", "rule": "day, week or month"}');
  elsif p_tokens not between 0 and 1000000000000 then
    perform tokenbook.refuse('invalid_cap', '{"field": "p_tokens", "rule": "0 to 1000000000000, or null for no cap"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);
  if v_scope = 'plan' and not exists (select from public.token_plans p where p.plan_type = p_plan_type) then
    perform tokenbook.refuse('plan_not_found', '{"field": "p_plan_type"}');
  end if;

  -- lock
  if v_scope = 'user' then
    v_account := tokenbook.lock_account(p_user_id);
    if v_account.user_id is null then
      perform tokenbook.require_user(p_user_id, v_actor.actor_role);
      v_account := tokenbook.lock_account(p_user_id, p_create => true);
    end if;
  end if;

  -- act
  if v_scope = 'user' and p_tokens is null then
    delete from public.token_spend_caps c where c.user_id = p_user_id and c.spend_window = p_window;
  elsif v_scope = 'user' then
    insert into public.token_spend_caps as c (user_id, spend_window, tokens, reason, actor_role, actor_id)
    values (p_user_id, p_window, p_tokens, p_reason, v_actor.actor_role, v_actor.actor_id)
    on conflict (user_id, spend_window) do update
       set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
           actor_id = excluded.actor_id, updated_at = clock_timestamp();
    select c.used into v_used
      from tokenbook.spend_caps_of(v_account, null, clock_timestamp()) as c
     where c.scope = 'user' and c.spend_window = p_window;
  else
    if p_tokens is null then
      delete from public.token_default_spend_caps d
       where d.plan_type is not distinct from p_plan_type and d.spend_window = p_window;
    else
      insert into public.token_default_spend_caps as d (plan_type, spend_window, tokens, reason, actor_role, actor_id)
      values (p_plan_type, p_window, p_tokens, p_reason, v_actor.actor_role, v_actor.actor_id)
      on conflict (plan_type, spend_window) do update
         set tokens = excluded.tokens, reason = excluded.reason, actor_role = excluded.actor_role,
             actor_id = excluded.actor_id, updated_at = clock_timestamp();
    end if;
  end if;

  -- record
  perform tokenbook.record_change(
    'set_token_spend_cap', p_user_id, v_actor.actor_role, v_actor.actor_id, p_reason,
    jsonb_build_object('scope', v_scope, 'plan_type', p_plan_type, 'window', p_window, 'tokens', coalesce(p_tokens::text, 'none')));
  return jsonb_build_object(
    'success', true,
    'scope', v_scope,
    'window', p_window,
    'limit', p_tokens,
    'used', v_used);
end
$$;
comment on function tokenbook.set_token_spend_cap is
  'Caps what may be spent in a window: by one user (p_user_id), by each user on a plan (p_plan_type), or by each user there is (p_for_everyone true); one of the three has to be said. For an admin or the server. p_window day, week (ISO) or month, in UTC; p_tokens 0 to 10^12, NULL takes the cap away; p_reason 1 to 500 characters. The tightest cap holds. Returns {success, scope (user, plan, everyone), window, limit, used (by that user, in the present window)}. Errors: invalid_scope, invalid_cap, invalid_reason, plan_not_found, user_not_found, forbidden, busy.';

-- from supabase/schemas/80_teams/spend_caps_of.sql

/*
 * The caps that an account's next spending meets, and how much of each is used: the user's own,
 * his plan's, everyone's; and for a member of his team the member's. Windows are UTC, half-open,
 * weeks ISO. A hold that has run out counts no more, whether it has been released yet or not.
 * Takes the account row, so that who has locked it asks of what he has locked.
 * Caller: internal.
 */
create function tokenbook.spend_caps_of(
  p_account public.token_accounts,
  p_member_id uuid,
  p_now timestamptz
)
returns table (scope text, spend_window text, tokens bigint, used bigint, resets_at timestamptz)
language plpgsql
volatile -- a cap that was set while the caller waited for the lock holds
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with caps as (
    select 'user' as scope, c.spend_window, c.tokens
      from public.token_spend_caps c where c.user_id = p_account.user_id
    union all
    select case when d.plan_type is null then 'everyone' else 'plan' end, d.spend_window, d.tokens
      from public.token_default_spend_caps d
     where d.plan_type is null
        or d.plan_type = (
          select s.plan_type from public.token_subscriptions s where s.user_id = p_account.user_id)
    union all
    select 'member', c.spend_window, c.tokens
      from public.token_team_members m
     cross join lateral (
       values ('day', m.cap_day), ('week', m.cap_week), ('month', m.cap_month)) as c (spend_window, tokens)
     where m.user_id = p_account.user_id and m.member_id = p_member_id and c.tokens is not null
  ), spent as (
    select false as is_member, p_account.spent_at as at,
           p_account.spent_day as in_day, p_account.spent_week as in_week, p_account.spent_month as in_month
    union all
    select true, m.spent_at, m.spent_day, m.spent_week, m.spent_month
      from public.token_team_members m where m.user_id = p_account.user_id and m.member_id = p_member_id
  )
  select c.scope, c.spend_window, c.tokens,
         case when s.at >= date_trunc(c.spend_window, p_now, 'UTC') -- @caps-begin-at-midnight
           then case c.spend_window when 'day' then s.in_day when 'week' then s.in_week else s.in_month end
             - coalesce((
                 select sum(h.tokens)
                   from public.token_holds h
                  where p_account.next_due_at <= p_now
                    and h.user_id = p_account.user_id and h.status = 'open' and h.expires_at <= p_now
                    and h.created_at >= date_trunc(c.spend_window, p_now, 'UTC')
                    and (c.scope <> 'member' or h.member_id = p_member_id)), 0)::bigint
           else 0 end,
         (date_trunc(c.spend_window, p_now at time zone 'utc') + ('1 ' || c.spend_window)::interval) at time zone 'utc'
    from caps c
    join spent s on s.is_member = (c.scope = 'member');
end
$$;
comment on function tokenbook.spend_caps_of is
  'The caps that an account (and a member of its team) is under now: scope (user, plan, everyone, member), window, tokens, used, resets_at.';

-- from supabase/schemas/80_teams/spend_headroom.sql

/*
 * How much may be spent before a cap is met, and which cap that is: the tightest, the one with the
 * least left. NULL where there is none.
 * Caller: internal.   Returns capped_by {scope, window, limit, used, resets_at}.
 */
create function tokenbook.spend_headroom(
  p_account public.token_accounts,
  p_member_id uuid,
  p_now timestamptz,
  out headroom bigint,
  out capped_by jsonb
)
returns record
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  select greatest(c.tokens - c.used, 0),
         jsonb_build_object(
           'scope', c.scope, 'window', c.spend_window, 'limit', c.tokens, 'used', c.used, 'resets_at', c.resets_at)
    into headroom, capped_by
    from tokenbook.spend_caps_of(p_account, p_member_id, p_now) as c
   order by c.tokens - c.used, c.resets_at desc
   limit 1;
end
$$;
comment on function tokenbook.spend_headroom is
  'Tokens that may be spent before the tightest cap is met, and that cap; NULL when there is none.';

-- from supabase/schemas/80_teams/spending_time.sql

/*
 * When the tokens were taken that an entry spends or gives back: its own moment; of a release that
 * of the hold; of a refund that of the charge, or of the hold that the charge captured. What comes
 * back comes back into the window that it was taken from.
 * Caller: internal.
 */
create function tokenbook.spending_time(p_entry public.token_transactions)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_original public.token_transactions;
begin
  if p_entry.entry_type not in ('release', 'refund') then
    return p_entry.created_at;
  end if;
  select t.* into v_original from public.token_transactions t
   where t.user_id = p_entry.user_id and t.id = p_entry.original_id;
  if v_original.reserved_change < 0 then
    return (select h.created_at from public.token_holds h
             where h.user_id = p_entry.user_id and h.id = v_original.hold_id);
  end if;
  return v_original.created_at;
end
$$;
comment on function tokenbook.spending_time is
  'When the tokens were taken that an entry spends or gives back.';

-- from supabase/schemas/90_audit/acknowledge_token_finding.sql

/*
 * Says that a transaction which was booked out of the order of time has been looked into: a clock stepped back, and
 * the ledger cannot be changed. verify_token_ledger leaves that one entry out from then on, as long as it and the
 * one before it say what they say now. No other invariant can be acknowledged: what else it finds can be mended.
 * Caller: an admin, service_role.   Locks: nothing; of two at once the first holds.
 * Returns {success, transaction_id, booked_at, reason, acknowledged_at, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, finding_not_found.   Keeps: I10.
 */
-- Security definer: nobody may write the table themselves, and an admin reads other users' rows.
create function tokenbook.acknowledge_token_finding(
  p_user_id uuid,
  p_transaction_id bigint,
  p_reason text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_finding tokenbook.acknowledged_findings;
  v_replayed boolean;
begin
  -- validate
  select * into v_finding.actor_role, v_finding.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(null, p_reason, null);

  -- act: the finding as it is now, asked of the ledger itself; one that is acknowledged already is still there
  select t.created_at, before.created_at into v_finding.booked_at, v_finding.booked_before
    from public.token_transactions t
    left join public.token_transactions before on before.user_id = t.user_id and before.id = t.id - 1
   where t.user_id = p_user_id and t.id = p_transaction_id
     and (t.created_at < before.created_at - interval '1 minute' -- @acknowledged-if-found
       or t.created_at > clock_timestamp() + interval '1 minute');
  if v_finding.booked_at is null then
    perform tokenbook.refuse('finding_not_found', '{}');
  end if;

  -- record
  insert into tokenbook.acknowledged_findings
    (user_id, transaction_id, booked_at, booked_before, reason, actor_role, actor_id)
  values
    (p_user_id, p_transaction_id, v_finding.booked_at, v_finding.booked_before, p_reason,
     v_finding.actor_role, v_finding.actor_id)
  on conflict do nothing;
  v_replayed := not found;
  select f.* into v_finding from tokenbook.acknowledged_findings f
   where f.user_id = p_user_id and f.transaction_id = p_transaction_id and f.booked_at = v_finding.booked_at;
  return jsonb_build_object(
    'success', true,
    'transaction_id', v_finding.transaction_id,
    'booked_at', v_finding.booked_at,
    'reason', v_finding.reason,
    'acknowledged_at', v_finding.acknowledged_at,
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.acknowledge_token_finding is
  'Says that a transaction which verify_token_ledger finds booked out of the order of time has been looked into: a clock stepped back. That one entry is left out from then on, as long as it says what it says now; nothing else can be acknowledged. For an admin or the server. p_transaction_id the entry''s number; p_reason 1 to 500 characters. Twice changes nothing and answers replayed. Returns {success, transaction_id, booked_at, reason, acknowledged_at, replayed}. Errors: invalid_reason, finding_not_found, forbidden.';

-- from supabase/schemas/90_audit/audit_trail.sql

/*
 * What the audit trail says of a user, a row each, beside what the ledger has of it: the one side of a
 * reconciliation. Reads the tables alone.
 *
 * `tokens` is what the balance should have moved by: an operation that succeeded less what was uncovered,
 * negative; a failed one 0; an admin's grant positive, his deduction negative.
 * `transaction_id` is its ledger entry, or the first of them: the entry that names the row, else the one that the row names; an
 * entry belongs to one row.
 * A row is a copy (`copy_of`) when another stands for the same ledger entry; when it has none and another
 * equals it in everything but the id, within the same second; or, with an entry or without, when another
 * that used as much has the same metadata.request_id. Two equal operations in one second, each deducted,
 * are two operations: only their request can tell that they were one.
 * Caller: internal.
 */
create function tokenbook.audit_trail(p_user_id uuid)
returns table (
  usage_id uuid, transaction_id bigint, action_type text, tokens bigint, cost numeric,
  is_operation boolean, success boolean, copy_of uuid, created_at timestamptz
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_nestloop = off -- a user with a hundred thousand rows is joined with himself
as $$
begin
  return query
  with charges as (
    -- a capture beyond its hold books two entries for one operation, a refund names it too
    select t.usage_id, min(t.id) as id
      from public.token_transactions t
     where t.user_id = p_user_id and t.usage_id is not null and t.entry_type in ('deduction', 'usage', 'grant')
     group by t.usage_id
  ), linked as (
    select u.*, coalesce(named.id, naming.id) as entry, named.id is not null as is_named,
           coalesce(u.metadata ->> 'request_id', u.metadata ->> 'requestId') as request
      from public.token_usage u
      left join charges named on named.usage_id = u.id
      left join public.token_transactions naming on naming.user_id = u.user_id and naming.id = u.transaction_id
       and naming.entry_type in ('deduction', 'usage', 'grant')
     where u.user_id = p_user_id
  ), compared as (
    select l.*,
           case when l.entry is not null then
             first_value(l.id) over (partition by l.entry order by l.is_named desc, l.created_at, l.id) end as first_of_entry,
           first_value(l.id) over (
             partition by l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens,
                          l.cost_estimate, l.success, l.error_message, l.request, date_trunc('second', l.created_at)
             order by l.entry is null, l.created_at, l.id) as first_of_equals,
           case when l.request is not null and l.success and l.action_type not in ('admin_grant', 'admin_deduct') then
             first_value(l.id) over (
               partition by l.request, l.action_type, l.model_used, l.tokens_used, l.input_tokens, l.output_tokens, l.success
               order by l.entry is null, l.created_at, l.id) end as first_of_request
      from linked l
  )
  select c.id,
         case when c.first_of_entry = c.id then c.entry end,
         c.action_type,
         case
           when c.action_type = any (tokenbook.recorded_grant_actions()) then abs(c.tokens_used)
           when not c.success then 0 -- @failed-moved-nothing
           else -(abs(c.tokens_used) - c.tokens_uncovered) -- @uncovered-not-deducted
         end,
         -- a second row for the same entry, or for none, costs nothing more
         case
           when not c.success then 0
           when c.copied is not null and c.first_of_entry is distinct from c.id then 0
           else coalesce(c.cost_estimate, 0)
         end,
         c.action_type <> all (tokenbook.recorded_grant_actions() || 'admin_deduct'::text),
         c.success, c.copied, c.created_at
    from (
      select x.*,
             case
               when x.tokens_used = 0 then null
               when x.first_of_entry <> x.id then x.first_of_entry
               when x.entry is null and x.first_of_equals <> x.id then x.first_of_equals
               when x.first_of_request <> x.id then x.first_of_request
             end as copied
        from compared x) c;
end
$$;
comment on function tokenbook.audit_trail is
  'The rows of token_usage of a user: what each should have moved the balance by, its ledger entry if it has one, and whether it is a copy of another.';

-- from supabase/schemas/90_audit/chain_ledger.sql

/*
 * The chain over a user's ledger: each digest is SHA-256 of the one before and the entry, so that the last
 * one says what every entry was, and in which order they stood. Two of them: the numbers, and the words
 * that callers wrote, so that words about a person may be erased one day and the numbers still be proved
 * (decision 39). Goes on after an entry whose digests are known, or begins before the first.
 *
 * An entry is its columns as Postgres sends a row: each with its type, its length and its bytes. That is
 * without ambiguity, and the same in every session: no time zone, date style or encoding of a client takes
 * part. A column that is added to the ledger later goes to the end of a list, and only into entries that
 * have it, or no earlier checkpoint would fit any more.
 *
 * Caller: internal.   Returns the digests at each hundredth entry, and at the last one that was read.
 */
create function tokenbook.chain_ledger(
  p_user_id uuid,
  p_after tokenbook.ledger_checkpoints default null, -- where to go on; NULL: from the beginning
  p_until bigint default 9223372036854775807,
  p_limit bigint default null
)
returns setof tokenbook.ledger_checkpoints
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_at tokenbook.ledger_checkpoints := p_after;
begin
  if v_at.id is null then
    -- its own beginning for each user and each of the two: no chain can be taken for another
    v_at.user_id := p_user_id;
    v_at.numbers := sha256(convert_to('tokenbook checkpoint 1: numbers of ' || p_user_id, 'UTF8'));
    v_at.words := sha256(convert_to('tokenbook checkpoint 1: words of ' || p_user_id, 'UTF8'));
  end if;
  for v_entry in
    select t.id,
           record_send(row(
             t.id, convert_to(t.entry_type, 'UTF8'), convert_to(t.action_type, 'UTF8'),
             t.tokens, t.balance_after, t.debt_change, t.reserved_change, -- @every-column-chained
             t.grant_ids, t.grant_tokens, convert_to(t.actor_role, 'UTF8'), t.actor_id,
             t.usage_id, t.hold_id, t.payment_id, t.original_id, t.member_id, t.created_at,
             convert_to(t.terms::text, 'UTF8'))) as numbers,
           record_send(row(
             convert_to(t.reason, 'UTF8'), convert_to(t.idempotency_key, 'UTF8'),
             convert_to(t.request::text, 'UTF8'), convert_to(t.metadata::text, 'UTF8'))) as words
      from public.token_transactions t
     where t.user_id = p_user_id
       and t.id >= coalesce(v_at.id + 1, -9223372036854775808) and t.id <= p_until
     order by t.id
     limit p_limit
  loop
    v_at.id := v_entry.id;
    v_at.numbers := sha256(v_at.numbers || v_entry.numbers); -- @chain-goes-on
    v_at.words := sha256(v_at.words || v_entry.words);
    if v_at.id % 100 = 0 then
      return next v_at;
    end if;
  end loop;
  if v_at.id % 100 <> 0 and v_at.id is distinct from p_after.id then
    return next v_at;
  end if;
end
$$;
comment on function tokenbook.chain_ledger is
  'The chain over a user''s ledger: SHA-256 of the digest before and the entry, one for the numbers and one for the words. p_after goes on from there, p_until is the last entry, p_limit the most entries. Returns the digests at each hundredth entry and at the last.';

-- from supabase/schemas/90_audit/check_token_installation.sql

/*
 * What threatens the books from outside of them: settings that lose commits or switch triggers off, rights that were
 * not declared, row level security switched off, and anything of ours that is not as it was made (compare_shape); and
 * what stands open beside them in the project, which is not Tokenbook's to close: that it names, with the statement
 * that closes it. A row for each finding; and a row for each subject of which there is none, with the status ok.
 *
 * Compares with what the install found in the catalogue, as the server printed it. That stays the same in a dump that
 * is restored, also to another version from PostgreSQL 15 to 18. Who may change our functions may change
 * what they are compared with: this finds what was changed unawares, not what somebody who owns the database hides.
 * Caller: service_role, and whoever owns the database (`npm run doctor`).   Locks: nothing.
 * Returns subject, status (ok, warning, fault), finding, remedy (statements, separated by ;). It is NULL where no statement
 * mends it without a loss: run again what the migrations say of it.
 */
-- Security definer: what was declared is internal.
create function tokenbook.check_token_installation()
returns table (subject text, status text, finding text, remedy text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.check_body(); -- @server-sends-one-object
  return query
  with own as (
    select * from tokenbook.own_objects()
  ), settings as (
    select o.setting, o.whose, format('alter %s reset %s', o.whose_statement, o.setting) as remedy
      from (
        select split_part(lower(setting), '=', 1) as setting,
               case when s.setdatabase = 0 then format('role %s', pg_get_userbyid(s.setrole))
                    when s.setrole = 0 then format('database %s', current_database())
                    else format('role %s in database %s', pg_get_userbyid(s.setrole), current_database()) end as whose,
               case when s.setdatabase = 0 then format('role %I', pg_get_userbyid(s.setrole))
                    when s.setrole = 0 then format('database %I', current_database())
                    else format('role %I in database %I', pg_get_userbyid(s.setrole), current_database()) end as whose_statement
          from pg_db_role_setting s
         cross join unnest(s.setconfig) as setting
         where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
           and lower(setting) ~ '^(synchronous_commit=(off|false|no|0)|session_replication_role=replica)$') o
  ), present as (
    select * from tokenbook.present_rights()
  ), declared as (
    select d.* from jsonb_to_recordset(tokenbook.declared_rights()) as d (kind text, object text, grantee text, privilege text)
  ), shape as (
    select * from tokenbook.compare_shape()
  ), theirs as (
    -- of the project, in the schema that the API shows; what an extension brings is the extension's
    select c.oid, c.relkind, c.oid::regclass::text as name, c.relrowsecurity,
           (select string_agg(distinct r.role, ' and ') from unnest(array['anon', 'authenticated']) r (role)
             where has_table_privilege(r.role, c.oid, 'select')) as readers,
           (select string_agg(distinct r.role, ' and ') from unnest(array['anon', 'authenticated']) r (role)
             where has_table_privilege(r.role, c.oid, 'insert, update, delete, truncate')) as writers,
           c.relkind = 'v' and exists (
             select from pg_options_to_table(c.reloptions) o where o.option_name = 'security_invoker' and o.option_value::boolean) as asks_as_caller
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
       and c.relname <> all (tokenbook.own_relations())
       and not exists (
         select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  ), kinds (type, name) as (values
    ('r', 'tables'), ('f', 'functions'), ('S', 'sequences'), ('T', 'types')
  ), subjects (place, subject, sound) as (values
    (1, 'durability', 'what was answered outlives a crash, as far as settings say'),
    (2, 'rights', 'nobody has a right on anything of Tokenbook''s that was not declared, and none is missing'),
    (3, 'row level security', 'it is on for every table of Tokenbook''s, with the policies that were made and no other'),
    (4, 'triggers', 'all are there and enabled, as they were made, and no other'),
    (5, 'functions', 'each has the text, the rights and the settings that it was made with'),
    (6, 'tables', 'columns, constraints, indexes and views are as they were made'),
    (7, 'the project', 'nothing beside Tokenbook in public stands open')
  ), findings (place, subject, status, finding, remedy) as (
    -- what is answered must outlive a crash
    select 1, 'durability', 'fault', format('%s is off on the server: a crash loses or breaks what was answered', s.name),
           format('alter system set %I = on', s.name)
      from pg_settings s
     where s.name in ('fsync', 'full_page_writes') and s.setting = 'off'
    union all
    select 1, 'durability', 'fault', 'synchronous_commit is off on the server: a crash loses the last commits, which callers believe in',
           'alter system reset synchronous_commit'
      from pg_settings s
     where s.name = 'synchronous_commit' and s.reset_val = 'off' and s.source in ('configuration file', 'command line', 'environment variable', 'global')
    union all
    select 1, 'durability', 'fault', format('synchronous_commit is off for %s: a crash loses their last commits, which callers believe in', s.whose), s.remedy
      from settings s where s.setting = 'synchronous_commit'
    union all
    -- rights
    select 2, 'rights', case when p.grantee in ('public', 'anon', 'authenticated', 'service_role') or p.privilege !~ '^select' then 'fault' else 'warning' end,
           format('%s has %s on %s %s, which nobody declared', p.grantee, p.privilege, p.kind, p.object),
           format('revoke %s on %s %s from %s', p.privilege, p.kind, p.object, case p.grantee when 'public' then 'public' else quote_ident(p.grantee) end)
      from present p
     where not exists (
       select from declared d
        where (d.kind, d.object, d.grantee, d.privilege) = (p.kind, p.object, p.grantee, p.privilege))
    union all
    select 2, 'rights', 'fault', format('%s lacks %s on %s %s', d.grantee, d.privilege, d.kind, d.object),
           format('grant %s on %s %s to %s', d.privilege, d.kind, d.object, quote_ident(d.grantee))
      from declared d
     where not exists (
       select from present p
        where (d.kind, d.object, d.grantee, d.privilege) = (p.kind, p.object, p.grantee, p.privilege))
    union all
    select 2, 'rights', 'fault', format('%s can act as %s', m.member::regrole, m.roleid::regrole),
           format('revoke %s from %s', m.roleid::regrole, m.member::regrole)
      from pg_auth_members m
      join pg_roles r on r.oid = m.roleid
     where pg_get_userbyid(m.member) in ('anon', 'authenticated')
       and (r.rolsuper or r.rolbypassrls or r.rolname in ('postgres', 'pg_read_all_data', 'pg_write_all_data', 'pg_maintain'))
    union all
    select 2, 'rights', 'warning',
           format('new %s that %s makes in schema tokenbook are open to %s', kinds.name, pg_get_userbyid(d.defaclrole), a.grantee),
           format('alter default privileges for role %I in schema tokenbook revoke all on %s from %s', pg_get_userbyid(d.defaclrole), kinds.name, a.grantee)
      from pg_default_acl d
      join kinds on kinds.type = d.defaclobjtype::text
     cross join lateral (
       select distinct case x.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end as grantee
         from aclexplode(d.defaclacl) x where x.grantee <> d.defaclrole) a
     where d.defaclnamespace = 'tokenbook'::regnamespace
    union all
    -- row level security
    select 3, 'row level security', 'fault', format('%I passes row level security', r.rolname), format('alter role %I nobypassrls', r.rolname)
      from pg_roles r where r.rolname in ('anon', 'authenticated') and (r.rolbypassrls or r.rolsuper)
    union all
    select 3, 'row level security', 'fault', format('row level security is off on %s: whoever may read it reads everybody''s rows', c.oid::regclass),
           format('alter table %s enable row level security', c.oid::regclass)
      from own o
      join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object and c.relkind in ('r', 'p') and not c.relrowsecurity
    union all
    -- triggers
    select 4, 'triggers', 'fault', format('session_replication_role is replica for %s: their calls pass every trigger and foreign key', s.whose), s.remedy
      from settings s where s.setting = 'session_replication_role'
    union all
    select 4, 'triggers', 'fault', 'session_replication_role is replica on the server: every call passes every trigger and foreign key',
           'alter system reset session_replication_role'
      from pg_settings s
     where s.name = 'session_replication_role' and s.reset_val = 'replica' and s.source in ('configuration file', 'command line', 'environment variable', 'global')
    union all
    -- policies, triggers, functions, tables
    select p.place, p.subject, s.status, s.finding, s.remedy
      from shape s
     cross join lateral (
       select * from subjects where subjects.subject = case s.kind
         when 'policy' then 'row level security' when 'trigger' then 'triggers' when 'rule' then 'triggers'
         when 'function' then 'functions' else 'tables' end) p
    union all
    -- the project around it
    select 7, 'the project', 'warning',
           format('%s %s by %s: not Tokenbook''s to close', t.name,
             case when t.writers is not null and t.readers is not null then 'is read and written'
                  when t.writers is not null then 'is written' else 'is read' end
             || case t.relkind when 'v' then ' past row level security' when 'm' then ', a materialized view without row level security'
                     when 'f' then ', a foreign table without row level security' else ' without row level security' end,
             coalesce(t.writers, t.readers)),
           case when t.relkind in ('r', 'p') then format('alter table %s enable row level security', t.name)
                when t.relkind = 'v' then format('alter view %s set (security_invoker = true)', t.name)
                else format('revoke all on table %s from anon, authenticated', t.name) end
      from theirs t
     where coalesce(t.readers, t.writers) is not null and not t.relrowsecurity and not t.asks_as_caller
    union all
    select 7, 'the project', 'warning',
           format('function %s runs with its owner''s rights for %s: not Tokenbook''s to close', p.oid::regprocedure,
             case when has_function_privilege('anon', p.oid, 'execute') then 'whoever asks' else 'whoever is signed in' end),
           format('revoke execute on function %s from public, anon, authenticated', p.oid::regprocedure)
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prosecdef and p.prokind = 'f'
       and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
       and p.oid not in (select o.object from own o where o.class = 'pg_proc'::regclass)
       and (has_function_privilege('anon', p.oid, 'execute') or has_function_privilege('authenticated', p.oid, 'execute'))
       and not exists (
         select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select 7, 'the project', 'warning',
           format('new %s that %s makes in public are open to %s (the legacy default privileges): not Tokenbook''s to close',
             kinds.name, pg_get_userbyid(d.defaclrole), string_agg(distinct a.grantee::regrole::text, ' and ')),
           format('alter default privileges for role %I %srevoke all on %s from anon, authenticated',
             pg_get_userbyid(d.defaclrole), case when d.defaclnamespace <> 0 then 'in schema public ' else '' end, kinds.name)
      from pg_default_acl d
      join kinds on kinds.type = d.defaclobjtype::text
     cross join lateral aclexplode(d.defaclacl) a
     where d.defaclnamespace in (0, 'public'::regnamespace) and kinds.type <> 'T'
       and a.grantee in ('anon'::regrole, 'authenticated'::regrole)
       -- as whom migrations and the SQL editor make things; what the platform makes for itself is its own
       and pg_get_userbyid(d.defaclrole) = current_user
     group by d.defaclrole, d.defaclnamespace, kinds.name
    union all
    -- anon is part of public: what is revoked from anon alone stays open through it
    select 7, 'the project', 'warning',
           format('new functions that %s makes can be called by everybody (Postgres'' own default): not Tokenbook''s to close', current_user),
           format('alter default privileges for role %I revoke execute on functions from public', current_user)
     where not exists (
       select from pg_default_acl d
        where d.defaclrole = current_user::regrole and d.defaclobjtype = 'f' and d.defaclnamespace = 0
          and not exists (select from aclexplode(d.defaclacl) a where a.grantee = 0))
  )
  select all_of.subject, all_of.status, all_of.finding, all_of.remedy
    from (
      select f.* from findings f
      union all
      select s.place, s.subject, 'ok', s.sound, null from subjects s
       where not exists (select from findings f where f.place = s.place)) all_of
   order by all_of.place, all_of.status, all_of.finding;
end
$$;
comment on function tokenbook.check_token_installation is
  'What threatens the books from outside of them: settings that lose commits or switch triggers off, rights that nobody declared, row level security that is off, and whatever of Tokenbook''s is not as it was made; and, as warnings, what stands open beside them in the project, which is not Tokenbook''s to close. For the server. Returns subject, status (ok, warning, fault), finding, remedy (statements that mend it; NULL where none does without a loss, and the migrations say how it was made); a row with ok for a subject of which there is no finding.';

-- from supabase/schemas/90_audit/checkpoint_line.sql

/*
 * A user's line of a checkpoint: who, the number of the last entry, and the digests up to it.
 * Caller: internal.   Returns NULL where there is nothing.
 */
create function tokenbook.checkpoint_line(p_last tokenbook.ledger_checkpoints)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_last.user_id || ' ' || p_last.id || ' ' || encode(p_last.numbers, 'hex') || ' ' || encode(p_last.words, 'hex');
end
$$;
comment on function tokenbook.checkpoint_line is
  'A user''s line of a checkpoint: user_id, number of the last entry, digest of the numbers, digest of the words.';

-- from supabase/schemas/90_audit/checkpoint_token_ledger.sql

/*
 * Says in a few bytes what the ledger is now, to be kept where nobody who can write it can: a line for each
 * user with the number of their last entry and the digests of the chain up to it, and one digest over
 * all lines. verify_token_checkpoint compares the ledger with it later.
 * For one user, or for everyone in pages: p_limit is how many entries it reads, at most, and a user counts
 * as one more. Reads only what no checkpoint has read (tokenbook.ledger_checkpoints); no deduction notices.
 * A user's entries are seen by number, and one who is booked for meanwhile has in the line what came before.
 * Caller: an admin, service_role.   Locks: other checkpoints, for at most two seconds.
 * Errors: not_authenticated, forbidden, invalid_checkpoint, busy.
 */
-- Security definer: nobody may write the table, and an admin reads other users' rows.
create function tokenbook.checkpoint_token_ledger(
  p_user_id uuid default null,
  p_after uuid default null,
  p_digest text default null,
  p_limit integer default 50000
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_user record;
  v_last tokenbook.ledger_checkpoints;
  v_room bigint := p_limit;
  v_read bigint := 0;
  v_entries bigint := 0;
  v_users bigint := 0;
  v_after uuid := p_after;
  v_is_cut boolean := false;
  v_lines text[] := '{}';
  v_line text;
  v_digest bytea;
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 1000000 then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_limit", "rule": "1 to 1000000"}');
  end if;
  if p_digest !~ '^[0-9a-f]{64}$' or p_digest is null and p_after is not null then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_digest", "rule": "that of next, as it was given"}');
  end if;
  if p_user_id is not null and p_after is not null then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_after", "rule": "left out, where it is of one user"}');
  end if;

  begin
    perform pg_advisory_xact_lock(hashtextextended('tokenbook.ledger_checkpoints', 0));
  exception
    when lock_not_available then
      perform tokenbook.refuse('busy', '{}');
  end;

  v_digest := decode(p_digest, 'hex');
  if v_digest is null then
    v_line := format('tokenbook checkpoint 1 of %s at %s', coalesce(p_user_id::text, 'everyone'),
      to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
    v_lines := array[v_line];
    v_digest := sha256(convert_to(v_line || chr(10), 'UTF8'));
  end if;

  -- Whoever is in the ledger, from one to the next in the index: not the accounts, which can be lost.
  for v_user in
    with recursive users as (
      select coalesce(p_user_id, tokenbook.next_ledger_user(p_after)) as user_id
      union all
      select n.user_id
        from users u
       cross join lateral (select tokenbook.next_ledger_user(u.user_id) as user_id) n
       where p_user_id is null and n.user_id is not null
    )
    select u.user_id, l.last_id, k.kept
      from users u
     cross join lateral (
       select t.id as last_id from public.token_transactions t
        where t.user_id = u.user_id order by t.id desc limit 1) l
      left join lateral (
       select c as kept from tokenbook.ledger_checkpoints c
        where c.user_id = u.user_id order by c.id desc limit 1) k on true
  loop
    if v_room <= 0 then
      v_is_cut := true;
      exit;
    end if;
    v_last := v_user.kept;
    if v_last.id is null or v_last.id < v_user.last_id then
      with chain as materialized (
        select c.* from tokenbook.chain_ledger(v_user.user_id, v_user.kept, v_user.last_id, v_room) c
      ), kept as (
        insert into tokenbook.ledger_checkpoints select c.* from chain c
      )
      select c.* into v_last from chain c order by c.id desc limit 1;
      -- the last one of before is no hundredth, and of no more use
      delete from tokenbook.ledger_checkpoints c
       where c.user_id = v_user.user_id and c.id = (v_user.kept).id and c.id % 100 <> 0;
      v_read := v_read + v_last.id - coalesce((v_user.kept).id, 0);
      v_room := v_room - (v_last.id - coalesce((v_user.kept).id, 0));
      if v_last.id < v_user.last_id then
        v_is_cut := true;
        exit;
      end if;
    end if;
    v_room := v_room - 1;
    v_line := tokenbook.checkpoint_line(v_last);
    v_lines := v_lines || v_line;
    v_digest := sha256(v_digest || convert_to(v_line || chr(10), 'UTF8'));
    v_users := v_users + 1;
    v_entries := v_entries + v_last.id;
    v_after := v_last.user_id;
  end loop;

  return jsonb_build_object(
    'digest', encode(v_digest, 'hex'),
    'users', v_users,
    'entries', v_entries,
    'entries_read', v_read,
    'lines', v_lines,
    'next', case when v_is_cut then jsonb_build_object('p_after', v_after, 'p_digest', encode(v_digest, 'hex')) end);
end
$$;
comment on function tokenbook.checkpoint_token_ledger is
  'Says in a few bytes what the ledger is now, to be kept elsewhere: verify_token_checkpoint finds what was changed since, whoever did it. For an admin or the server. For one user (p_user_id), or for everyone in pages: call it again with what next says until next is NULL. p_limit: how many entries a page reads at most, 1 to 1,000,000. Reads only what is new since the last checkpoint. Returns {digest (of this page''s lines and all before, SHA-256 in hex: on the last page that of the checkpoint), users, entries, entries_read (of them, now), lines (the first of all says of whom and when, then one for each user: user_id, number of the last entry, digest of the numbers, digest of the words), next: {p_after, p_digest}}. Keep all lines, and the last digest apart from them. Errors: not_authenticated, forbidden, invalid_checkpoint, busy.';

-- from supabase/schemas/90_audit/compare_shape.sql

/*
 * What of ours is not as it was made: missing, otherwise, or there though nobody declared it. A fault is what changes
 * what is computed, who sees it or whether it lasts; a warning what a project may have added to our tables without
 * changing that (an index, a column that may be left out, a table in our schema), and a publication.
 * Of what nobody declared, only the thing itself is named, and not its parts.
 * Caller: internal (check_token_installation).   Returns kind, status, finding, remedy.
 */
create function tokenbook.compare_shape()
returns table (kind text, status text, finding text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with present as (
    select * from tokenbook.present_shape()
  ), declared as (
    select * from tokenbook.declared_shape()
  ), differences as (
    select coalesce(d.kind, p.kind) as kind, coalesce(d.relation, p.relation) as relation, coalesce(d.name, p.name) as name,
           d.definition as declared, p.definition as present
      from declared d
      full join present p on (p.kind, p.relation, p.name) = (d.kind, d.relation, d.name)
     where d.definition is distinct from p.definition -- @shape-is-compared
  ), lines as (
    -- what differs line by line, but for texts, of which only digests are kept
    select s.*,
           (select string_agg(line, ', ' order by n) from unnest(string_to_array(s.present, chr(10))) with ordinality as l (line, n)
             where line <> all (coalesce(string_to_array(s.declared, chr(10)), '{}')) and not (s.kind in ('function', 'view') and line like 'text %')) as added,
           (select string_agg(line, ', ' order by n) from unnest(string_to_array(s.declared, chr(10))) with ordinality as l (line, n)
             where line <> all (coalesce(string_to_array(s.present, chr(10)), '{}')) and not (s.kind in ('function', 'view') and line like 'text %')) as lost,
           case when s.kind in ('function', 'view') and substring(s.present from '(?n)^text [0-9a-f]+$') <> substring(s.declared from '(?n)^text [0-9a-f]+$')
             then 'another text' end as other_text,
           case when s.kind in ('table', 'foreign table', 'view', 'sequence', 'function', 'index') then format('%s %s', s.kind, s.name)
                when s.kind = 'column' then format('column %s.%s', s.relation, s.name)
                when s.kind = 'publication' then format('publication %s of %s', s.name, s.relation)
                else format('%s %s on %s', s.kind, s.name, s.relation) end as thing
      from differences s
     -- the parts of what is missing, or nobody declared, go without saying
     where s.name = s.relation or s.relation = ''
        or (exists (select from present p where p.relation = s.relation and p.name = s.relation)
              = exists (select from declared d where d.relation = s.relation and d.name = s.relation))
  )
  select l.kind,
         case
           when l.kind = 'publication' then 'warning'
           when l.declared is null then
             case when l.kind in ('table', 'foreign table', 'view', 'sequence')
                    or (l.kind = 'index' and l.present !~ '^CREATE UNIQUE')
                    -- one that must be given is given by none of ours
                    or (l.kind = 'column' and not (l.present ~ '(?n)^not null$' and l.present !~ '(?n)^(default|generated) '))
                  then 'warning' else 'fault' end
           when l.kind = 'table' and l.added = 'replica identity full' and l.lost is null then 'warning'
           else 'fault'
         end,
         l.thing || case
           when l.present is null then ' is missing'
           when l.declared is null then ' is there, and nobody declared it' || case when l.kind in ('column', 'constraint', 'policy') then ': ' || l.added else '' end
           else ' is not as it was made: ' || concat_ws(', ',
             case when l.lost is null then l.added else concat_ws(' ', l.added, case when l.added is null then 'without' else 'instead of' end, l.lost) end,
             l.other_text)
         end,
         tokenbook.mend_shape(l.kind, l.relation, l.name, l.declared, l.present)
    from lines l;
end
$$;
comment on function tokenbook.compare_shape is
  'What of Tokenbook''s is missing, otherwise than it was made, or there though nobody declared it. Returns kind, status (warning, fault), finding, remedy (statements; NULL where none mends it without a loss).';

-- from supabase/schemas/90_audit/counter_at_opening.sql

/*
 * What the counter of a profile says was given, where it became a user's grant (migration
 * 20251114000000_cleanup_user_profiles): what was left, what was used, and what admins deducted of it.
 *
 * Nothing recorded what a counter began with, so it is what makes the counter's own numbers add up, and
 * no less than the trail's admin grants. A use that the counter did not deduct shows as a balance too high;
 * one that it deducted for failed or repeated operations as too low. Use that it has and no record stands for
 * (`unrecorded`) was before tracking: it was deducted rightly, and nothing is to be given back for it.
 * No row for a user whose counter became no grant.
 * Caller: internal.
 */
create function tokenbook.counter_at_opening(p_user_id uuid, p_opening public.token_transactions)
returns table (grant_id uuid, counted_at timestamptz, tokens_granted bigint, admin_granted bigint, unrecorded bigint)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_grant record;
  v_use record;
  v_admin_granted bigint;
  v_not_use bigint;
  v_used bigint;
begin
  select b.id, b.created_at, (b.metadata ->> 'tokens_remaining')::bigint as tokens_remaining,
         (b.metadata ->> 'tokens_used')::bigint as tokens_used
    into v_grant
    from public.token_balances b
   where b.user_id = p_user_id and b.metadata ->> 'source' = 'user_profiles' and b.grant_type = 'plan'
     and b.created_at <= p_opening.created_at
     -- what was granted since the books opened says so in the ledger, whatever its metadata say
     and not exists (
       select from public.token_transactions t
        where t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id);
  if v_grant.id is null then
    return;
  end if;

  select coalesce(sum(u.tokens) filter (where u.is_operation), 0)::bigint as tokens,
         coalesce(sum(u.tokens) filter (where not u.is_operation), 0)::bigint as deducted
    into v_use
    from tokenbook.usage_before_books(p_user_id, p_opening) u
   where u.created_at <= v_grant.created_at;
  select coalesce(sum(u.tokens) filter (where u.action_type = 'admin_grant' and u.copy_of is null), 0)::bigint,
         coalesce(sum(abs(r.tokens_used)) filter (where u.is_operation and (u.copy_of is not null or not u.success)), 0)::bigint
    into v_admin_granted, v_not_use
    from tokenbook.audit_trail(p_user_id) u
    join public.token_usage r on r.user_id = p_user_id and r.id = u.usage_id
   where u.transaction_id is null and u.created_at <= v_grant.created_at;

  v_used := least(v_grant.tokens_used, v_use.tokens + v_not_use);
  return query
  select v_grant.id, v_grant.created_at,
         greatest(v_grant.tokens_remaining + v_used + v_use.deducted, v_admin_granted),
         v_admin_granted, v_grant.tokens_used - v_used;
end
$$;
comment on function tokenbook.counter_at_opening is
  'What the counter that became a user''s grant says was given before the books opened, and the use in it that no record stands for.';

-- from supabase/schemas/90_audit/describe_finding.sql

/*
 * One finding of a reconciliation, with the advice that its scenario has. `off` is by how much the balance is
 * too high (negative: too low) because of it; an adjustment by the opposite puts it right, where is_repairable.
 * Caller: internal.
 */
create function tokenbook.describe_finding(
  p_scenario text,
  p_cause text,
  p_tokens bigint,
  p_off bigint,
  p_since timestamptz,
  p_evidence jsonb
)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'scenario', p_scenario,
    'cause', p_cause,
    'tokens', p_tokens,
    'off', p_off,
    'is_repairable', p_off <> 0 and p_cause <> 'account_differs_from_ledger',
    'since', p_since,
    'advice', case
      when p_cause = 'account_differs_from_ledger' then
        'The account and its own ledger differ. No adjustment repairs that: run verify_token_ledger, and find who wrote past the functions.'
      when p_scenario = 'balance_higher' then
        'Review token_usage for gaps and for operations from before tokens were tracked. Then deduct the difference.'
      when p_scenario = 'balance_lower' then
        'Review failed operations, duplicate entries and adjustments made by hand. Then grant the difference.'
      when p_scenario = 'cost_mismatch' then
        'Review how costs were calculated and whether model prices have changed; token_usage is the record. No tokens are concerned, and nothing books a cost alone.'
      when p_scenario = 'no_usage_records' then
        'Check whether the user has any AI operations at all: he may have started before tokens were tracked. Then set the balance by hand, from his membership tier.'
      when p_scenario = 'negative_balance' then
        'More was used than was ever granted. Check for calculation errors, then grant tokens to bring the balance positive, or leave it at 0.'
      when p_scenario = 'failed_operations_counted' then
        'A failed operation deducts nothing. Grant back what these took.'
      when p_cause = 'recorded_twice' then
        'Written down twice and deducted once: the balance is right, and this sum counts it once.'
      when p_scenario = 'duplicate_usage' then
        'One operation was deducted twice. Grant back the second.'
    end,
    'evidence', p_evidence);
end
$$;
comment on function tokenbook.describe_finding is 'A finding of a reconciliation as JSON, with its scenario''s advice.';

-- from supabase/schemas/90_audit/expiry_as_granted.sql

/*
 * When a grant would have run out had it not been voided: its place in the burn order, until then, was by that.
 * Caller: internal.
 */
create function tokenbook.expiry_as_granted(p_grant public.token_balances)
returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_grant.voided_at is null then
    return p_grant.expires_at;
  end if;
  return (
    select (t.metadata ->> 'expires_at')::timestamptz
      from public.token_transactions t
     where t.user_id = p_grant.user_id and t.created_at = p_grant.voided_at
       and t.entry_type in ('void', 'clawback'));
end
$$;
comment on function tokenbook.expiry_as_granted is
  'When a grant would have run out had it not been voided; NULL = never.';

-- from supabase/schemas/90_audit/find_breaches.sql

/*
 * The breaches of the invariants, for one user, for everyone, or for the users after p_after up to p_until: what
 * tokenbook.verify_token_ledger says, which also answers for books that cannot even be read.
 * It reads the tables alone and calls none of the functions that write them: a fault in those cannot hide itself.
 * What types of grants there are and when a period ends, it has from the one place that says so: that is
 * what it compares with, not what it looks into.
 * Left out is what was acknowledged: an entry that a clock which stepped back had booked out of the order of time
 * (acknowledge_token_finding), and nothing else.
 * Caller: internal.   Locks: nothing.
 */
create function tokenbook.find_breaches(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan -- one for any range of users takes each for a handful, and joins them all row by row
as $$
begin
  return query
  with accounts as (
    select a.* from public.token_accounts a
     where (p_user_id is null or a.user_id = p_user_id)
       and (p_after is null or a.user_id > p_after)
       and (p_until is null or a.user_id <= p_until)
  ), grants as (
    select b.* from public.token_balances b
     where (p_user_id is null or b.user_id = p_user_id)
       and (p_after is null or b.user_id > p_after)
       and (p_until is null or b.user_id <= p_until)
  ), ledger as (
    select t.*,
           sum(t.tokens - t.reserved_change) over by_number as running,
           row_number() over by_number as nth,
           lag(t.created_at) over by_number as at_before,
           -- what follows of itself when tokens come in is booked at the same moment, before the plan limit is moved
           (lead(t.created_at) over by_number = t.created_at
             and (lead(t.entry_type) over by_number in ('release', 'expiry', 'debt_repayment')
               or (t.action_type = 'scheduled_grant' and lead(t.entry_type) over by_number = 'clawback'))) is not true as is_settled
      from public.token_transactions t
     where (p_user_id is null or t.user_id = p_user_id)
       and (p_after is null or t.user_id > p_after)
       and (p_until is null or t.user_id <= p_until)
    window by_number as (partition by t.user_id order by t.id)
  ), usages as (
    select u.* from public.token_usage u
     where u.transaction_id is not null
       and (p_user_id is null or u.user_id = p_user_id)
       and (p_after is null or u.user_id > p_after)
       and (p_until is null or u.user_id <= p_until)
  ), of_usage as (
    select u.user_id, sum(u.cost_estimate) filter (where u.success) as cost from usages u group by u.user_id
  ), allocated as (
    select t.user_id, t.id as transaction_id, t.entry_type, t.created_at, part.grant_id, part.tokens,
           part.tokens * sign(t.tokens - t.reserved_change) as signed
      from ledger t
     cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
  ), recorded as (
    -- each grant as the entry keeps it that gave it
    select t.user_id, t.id as transaction_id, case when t.entry_type in ('grant', 'rollover') then t.metadata end as attached,
           b.id as grant_id, b.grant_type, b.tokens_granted, b.priority, b.granted_at, b.expires_at, b.subscription_id,
           b.period_start, b.rolled_over_from, b.legacy_transaction_id, b.created_at
      from ledger t
     cross join lateral jsonb_populate_recordset(null::public.token_balances,
       case jsonb_typeof(t.terms -> 'grants') when 'array' then t.terms -> 'grants' else '[]' end) b
     where t.terms ? 'grants'
  ), voids as (
    select t.user_id, t.terms ->> 'voids' as grant_id, t.id as transaction_id, t.created_at, t.original_id, t.metadata
      from ledger t where t.terms ? 'voids'
  ), given as (
    select r.* from recorded r
    union all
    -- what came back into a grant that was full: another on the same terms
    select g.user_id, first.transaction_id, g.metadata, g.id, o.grant_type, first.tokens, o.priority, o.granted_at,
           case when o.voided_at > g.created_at then r.expires_at else o.expires_at end, null, null, null, null, first.created_at
      from grants g
      join grants o on o.user_id = g.user_id and o.id::text = g.metadata ->> 'given_back_for'
      left join recorded r on r.user_id = o.user_id and r.grant_id = o.id
      left join lateral (
        select a.transaction_id, a.tokens, a.created_at from allocated a
         where a.user_id = g.user_id and a.grant_id = g.id order by a.transaction_id limit 1) first on true
     where not exists (select from recorded r where r.user_id = g.user_id and r.grant_id = g.id)
  ), subscriptions as (
    select s.* from tokenbook.subscriptions s
     where (p_user_id is null or s.user_id = p_user_id)
       and (p_after is null or s.user_id > p_after)
       and (p_until is null or s.user_id <= p_until)
  ), periods as (
    -- the newest period of each subscription
    select t.user_id, max(t.id) as transaction_id
      from ledger t where jsonb_typeof(t.terms -> 'subscription') = 'object' group by t.user_id
  ), standings as (
    -- each subscription as the newest entry keeps it that began a period or changed what is in force
    select distinct on (t.user_id) t.user_id, t.id as transaction_id, b as kept
      from ledger t
     cross join lateral jsonb_populate_record(
       null::tokenbook.subscriptions, coalesce(t.terms -> 'subscription', t.terms -> 'standing')) b
     where jsonb_typeof(coalesce(t.terms -> 'subscription', t.terms -> 'standing')) = 'object'
     order by t.user_id, t.id desc
  ), slots as (
    -- what the schedule of a plan gave, and what the subscription was before, as entries keep it
    select e.user_id, e.id as transaction_id, e.tokens, e.created_at, e.given -> 'id' as grant_id,
           (e.given ->> 'granted_at')::timestamptz as slot_start, (e.given ->> 'expires_at')::timestamptz as expires_at,
           (e.kept ->> 'first')::timestamptz as first_start, (e.kept ->> 'count')::integer as count,
           (e.kept ->> 'had')::bigint as had, e.kept ->> 'payment_id' as payment_id, e.kept -> 'schedule' as schedule,
           (e.kept ->> 'period_start')::timestamptz as period_start, (e.kept ->> 'until')::timestamptz as until,
           case when e.before ->> 'period_start' = e.kept ->> 'period_start' then e.before -> 'schedule' end as schedule_before,
           lag((e.given ->> 'granted_at')::timestamptz)
             over (partition by e.user_id, e.kept ->> 'period_start'
                   order by (e.given ->> 'granted_at')::timestamptz, e.id) as start_before
      from (
        select t.user_id, t.id, t.tokens, t.created_at, t.terms -> 'grants' -> 0 as given, t.terms -> 'slots' as kept,
               lag(coalesce(t.terms -> 'subscription', t.terms -> 'standing')) over (partition by t.user_id order by t.id) as before
          from ledger t where jsonb_typeof(coalesce(t.terms -> 'subscription', t.terms -> 'standing')) = 'object') e
     where jsonb_typeof(e.kept) = 'object'
  ), of_slots as (
    select s.user_id, s.payment_id, sum(s.tokens) as tokens from slots s group by s.user_id, s.payment_id
  ), downgrades as (
    select distinct on (t.user_id) t.user_id, t.metadata ->> 'plan_type' as plan_type, t.metadata ->> 'effective_at' as effective_at
      from ledger t
      join standings p on p.user_id = t.user_id and p.transaction_id < t.id
     where t.action_type = 'plan_change' and t.metadata ? 'effective_at'
     order by t.user_id, t.id desc
  ), limit_moves as (
    -- since that period began: what moved the plan limit, and the balances that it was lifted to
    select t.user_id, t.is_settled, t.balance_after - sum(moved.by) over (partition by t.user_id order by t.id) as base, moved.by
      from ledger t
      join periods p on p.user_id = t.user_id and p.transaction_id <= t.id
     cross join lateral (select case when t.id > p.transaction_id and t.entry_type in ('clawback', 'restoration')
                                     then t.tokens - t.debt_change else 0 end as by) moved
  ), plan_limits as (
    select m.user_id, sum(m.by) + max(m.base) filter (where m.is_settled) as tokens
      from limit_moves m group by m.user_id
  ), payments as (
    select p.* from public.token_payments p
     where (p_user_id is null or p.user_id = p_user_id)
       and (p_after is null or p.user_id > p_after)
       and (p_until is null or p.user_id <= p_until)
  ), of_payments as (
    select t.user_id, t.payment_id,
           coalesce(sum(t.debt_change - t.tokens) filter (where t.entry_type in ('clawback', 'restoration')), 0) as clawed_back,
           (array_agg(t.terms -> 'refund' order by t.id desc) filter (where t.terms ? 'refund'))[1] as refund,
           (array_agg(t.terms -> 'payment' order by t.id) filter (where t.terms ? 'payment'))[1] as payment
      from ledger t where t.payment_id is not null group by t.user_id, t.payment_id
  ), refund_changes as (
    -- of payments by hand, the last that was said to have gone back
    select distinct on (c.user_id, c.details ->> 'payment_id') c.user_id, c.details ->> 'payment_id' as payment_id,
           (c.details ->> 'refunded_cents')::bigint as refunded_cents
      from tokenbook.changes c
     where c.change = 'refund_token_payment'
       and (p_user_id is null or c.user_id = p_user_id)
       and (p_after is null or c.user_id > p_after)
       and (p_until is null or c.user_id <= p_until)
     order by c.user_id, c.details ->> 'payment_id', c.id desc
  ), facts as (
    -- of a payment whose user is not known yet: said when all are asked about, or the first of them
    select f.* from tokenbook.provider_payments f
     where (p_user_id is null or f.user_id = p_user_id)
       and (p_after is null or f.user_id > p_after)
       and (p_until is null or f.user_id is null or f.user_id <= p_until)
  ), parts as (
    -- each payment is a part of itself
    select f.provider, f.provider_payment_id as whole, f.provider_payment_id as part from facts f where f.part_of is null
    union all
    select m.provider, m.part_of, m.provider_payment_id
      from facts f
      join tokenbook.provider_payments m on m.provider = f.provider and m.part_of = f.provider_payment_id
     where f.part_of is null
  ), events as (
    select o.provider, o.whole, o.part, e.event_id, e.facts as fact, e.facts ->> 'kind' as kind, e.occurred_at, e.received_at,
           (e.facts ->> 'amount_cents')::bigint as cents, (e.facts ->> 'refunded_cents')::bigint as refunded, lower(e.facts ->> 'currency') as currency,
           row_number() over (
             partition by o.provider, o.whole
             order by e.facts ->> 'kind' = 'assigned', e.occurred_at, e.event_id, e.provider_payment_id, e.digest) as nth
      from parts o
      join tokenbook.provider_events e on e.provider = o.provider and e.provider_payment_id = o.part
  ), said as (
    select e.provider, e.whole, count(*) as events, bool_or(e.kind = 'paid') as is_paid,
           (array_agg(e.currency order by e.kind <> 'paid', e.nth) filter (where e.currency is not null))[1] as currency,
           (array_agg(e.fact ->> 'customer_id' order by e.nth) filter (where e.fact ? 'customer_id'))[1] as customer_id,
           (array_agg(e.fact ->> 'price_id' order by e.nth) filter (where e.fact ? 'price_id'))[1] as price_id,
           (array_agg(e.fact ->> 'parked_reason' order by e.nth) filter (where e.fact ? 'parked_reason'))[1] as reason,
           (array_agg((e.fact ->> 'period_start')::timestamptz order by e.nth) filter (where e.fact ? 'period_start'))[1] as period_start,
           array_agg(coalesce(e.fact ->> 'plan_type', 'pack ' || (e.fact ->> 'pack_type'))) filter (where e.fact ?| array['plan_type', 'pack_type']) as things,
           bool_or((e.fact ->> 'quantity')::integer > 1) as are_several,
           -- what it may have been booked at: one of these, unless the price in the catalogue or a sum of parts
           case when bool_and(e.part = e.whole and (e.kind <> 'paid' or e.cents is not null)) then array_agg(e.cents) filter (where e.kind in ('paid', 'refunded') and e.cents is not null) end as amounts,
           min(e.received_at) filter (where e.part = e.whole) as first_at, max(e.received_at) as last_at
      from events e group by e.provider, e.whole
  ), of_parts as (
    select o.provider, o.whole, o.part,
           max(e.cents) filter (where e.kind = 'refunded' and (e.currency <> s.currency) is not true) as charged
      from parts o
      left join said s on s.provider = o.provider and s.whole = o.whole
      left join events e on e.provider = o.provider and e.whole = o.whole and e.part = o.part
     group by o.provider, o.whole, o.part
  ), paid as (
    select s.*, greatest(m.cents, c.cents) as amount_cents,
           coalesce(greatest(m.cents, c.cents), f.amount_cents) as effective
      from said s
      join facts f on f.provider = s.provider and f.provider_payment_id = s.whole
      left join (
        select o.provider, o.whole, case when count(o.charged) = count(*) then sum(o.charged) end as cents
          from of_parts o group by o.provider, o.whole) c on c.provider = s.provider and c.whole = s.whole
      left join (
        select e.provider, e.whole, max(e.cents) as cents
          from events e
          join said n on n.provider = e.provider and n.whole = e.whole
         where e.kind = 'paid' and (e.currency <> n.currency) is not true
         group by e.provider, e.whole) m on m.provider = s.provider and m.whole = s.whole
  ), moves as (
    -- what was told of money that left, in the payment's currency: all of it where it is in another
    select e.*,
           case when e.currency <> n.currency then n.effective
                when e.kind = 'refunded' then e.refunded
                when e.kind = 'dispute' then coalesce(e.cents, n.effective)
                else e.cents end as moved
      from events e
      join paid n on n.provider = e.provider and n.whole = e.whole
     where e.kind not in ('paid', 'assigned')
  ), refunds as (
    -- each refund as it was told last: what ends it after what begins it
    select l.* from (
      select e.*, row_number() over (
               partition by e.provider, e.whole, e.fact ->> 'refund_id'
               order by e.occurred_at desc,
                        case e.fact ->> 'status' when 'failed' then 1 when 'canceled' then 2 when 'succeeded' then 3 else 4 end,
                        e.moved desc, e.part) as place
        from moves e where e.kind = 'refund') l
     where l.place = 1
  ), totals as (
    select distinct on (e.provider, e.whole, e.part) e.*
      from moves e where e.kind = 'refunded'
     order by e.provider, e.whole, e.part, e.occurred_at desc, e.moved desc
  ), refunded as (
    -- of each part, and what was credited besides
    select o.provider, o.whole, sum(o.cents) as cents
      from (
        select p.provider, p.whole,
               greatest(coalesce(sum(r.moved) filter (where r.fact ->> 'status' in ('succeeded', 'pending')), 0),
                        t.moved - coalesce(sum(r.moved) filter (where r.fact ->> 'status' in ('failed', 'canceled') and r.occurred_at >= t.occurred_at), 0),
                        0) as cents
          from parts p
          left join totals t on t.provider = p.provider and t.whole = p.whole and t.part = p.part
          left join refunds r on r.provider = p.provider and r.whole = p.whole and r.part = p.part
         group by p.provider, p.whole, p.part, t.moved
        union all
        select c.provider, c.whole, max(c.moved) from moves c where c.kind = 'credit' group by c.provider, c.whole, c.fact ->> 'credit_id') o
     group by o.provider, o.whole
  ), disputes as (
    select l.* from (
      select e.*, e.fact ->> 'dispute_id' as id, row_number() over (
               partition by e.provider, e.whole, e.fact ->> 'dispute_id'
               order by e.occurred_at desc,
                        case e.fact ->> 'status' when 'lost' then 1 when 'won' then 2 when 'open' then 3 when 'reversed' then 4 else 5 end,
                        e.cents desc nulls first, e.currency) as place
        from moves e where e.kind = 'dispute') l
     where l.place = 1
  ), courses as (
    -- of each dispute that was more than an inquiry, from when to when it was in which state, and the most it was about
    select e.provider, e.whole, e.fact ->> 'dispute_id' as id, e.fact ->> 'status' as state, e.occurred_at as since,
           lead(e.occurred_at) over of_one as until,
           min(e.occurred_at) over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as begun,
           max(e.moved) over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as most, d.moved as finally,
           max(e.occurred_at) filter (where e.fact ->> 'status' <> 'won') over (partition by e.provider, e.whole, e.fact ->> 'dispute_id') as last_against_us
      from moves e
      join disputes d on d.provider = e.provider and d.whole = e.whole and d.id = e.fact ->> 'dispute_id' and d.fact ->> 'status' <> 'reversed'
     where e.kind = 'dispute' and e.fact ->> 'status' in ('open', 'won', 'lost')
    window of_one as (
      partition by e.provider, e.whole, e.fact ->> 'dispute_id'
      order by e.occurred_at, case e.fact ->> 'status' when 'open' then 1 when 'won' then 2 else 3 end, e.cents, e.currency desc)
  ), reversals as (
    -- and of which dispute each reversal is
    select distinct on (r.provider, r.whole, r.id) r.provider, r.whole, r.moved, c.id, c.most
      from disputes r
      left join (
        -- a dispute is what it was last; before it began, it is nothing yet
        select k.*, false as is_to_come from courses k
        union all
        (select distinct on (k.provider, k.whole, k.id) k.*, true from courses k order by k.provider, k.whole, k.id, k.since)) c
        on c.provider = r.provider and c.whole = r.whole
       and case when c.is_to_come then r.occurred_at < c.since and r.moved in (c.most, c.finally)
                when r.occurred_at >= c.since and (r.occurred_at >= c.until) is not true
                then case c.state when 'open' then true
                                  when 'lost' then r.moved in (c.most, c.finally)
                                  else r.moved in (c.most, c.finally) and c.last_against_us > r.occurred_at end end
     where r.fact ->> 'status' = 'reversed'
     order by r.provider, r.whole, r.id, (r.moved in (c.most, c.finally)) is true desc, c.begun, c.id
  ), withheld as (
    select w.provider, w.whole, sum(w.cents) as cents
      from (
        select d.provider, d.whole, d.moved as cents from disputes d where d.fact ->> 'status' in ('lost', 'open')
        union all
        select r.provider, r.whole, greatest(sum(r.moved) - coalesce(max(r.most), 0), 0)
          from reversals r group by r.provider, r.whole, r.id) w
     group by w.provider, w.whole
  ), told as (
    select p.*, least(r.cents, p.effective) as refunded_cents,
           least(coalesce(w.cents, 0), p.effective - least(r.cents, p.effective)) as disputed_cents
      from paid p
      left join refunded r on r.provider = p.provider and r.whole = p.whole
      left join withheld w on w.provider = p.provider and w.whole = p.whole
  ), differing as (
    select f.provider, f.provider_payment_id as whole, nullif(jsonb_strip_nulls(jsonb_build_object(
             'user_id', jsonb_agg(distinct (e.fact ->> 'user_id')::uuid) filter (where (e.fact ->> 'user_id')::uuid <> f.user_id),
             'plan_type', jsonb_agg(distinct e.fact ->> 'plan_type') filter (where e.fact ->> 'plan_type' is distinct from f.plan_type and e.fact ? 'plan_type'),
             'pack_type', jsonb_agg(distinct e.fact ->> 'pack_type') filter (where e.fact ->> 'pack_type' is distinct from f.pack_type and e.fact ? 'pack_type'),
             'quantity', jsonb_agg(distinct (e.fact ->> 'quantity')::integer) filter (where (e.fact ->> 'quantity')::integer <> f.quantity),
             'currency', jsonb_agg(distinct e.currency) filter (where e.currency <> f.currency))), '{}') as others
      from facts f
      join events e on e.provider = f.provider and e.whole = f.provider_payment_id
     group by f.provider, f.provider_payment_id
  ), alerts as (
    select t.*, row_number() over (partition by t.user_id order by t.id) as nth
      from public.token_alerts t
     where (p_user_id is null or t.user_id = p_user_id)
       and (p_after is null or t.user_id > p_after)
       and (p_until is null or t.user_id <= p_until)
  ), holds as (
    select h.* from public.token_holds h
     where (p_user_id is null or h.user_id = p_user_id)
       and (p_after is null or h.user_id > p_after)
       and (p_until is null or h.user_id <= p_until)
  ), of_holds as (
    select h.user_id, sum(h.tokens) as tokens, min(h.expires_at) as due
      from holds h where h.status = 'open' group by h.user_id
  ), of_hold_entries as (
    select t.user_id, t.hold_id, sum(t.reserved_change) as reserved,
           -sum(t.tokens) filter (where t.entry_type = 'deduction' and t.reserved_change < 0) as captured,
           min(t.id) filter (where t.entry_type = 'usage' or (t.entry_type = 'deduction' and t.reserved_change < 0)) as capture_id,
           min(t.id) filter (where t.entry_type = 'deduction' and t.reserved_change = 0) as overage_id,
           max(t.created_at) filter (where t.reserved_change < 0) as settled_at,
           max(t.reason) filter (where t.entry_type = 'release') as release_reason
      from ledger t where t.hold_id is not null group by t.user_id, t.hold_id
  ), charged as (
    select t.user_id, t.usage_id, abs(sum(t.tokens)) as tokens
      from ledger t where t.usage_id is not null and t.entry_type <> 'refund' group by t.user_id, t.usage_id
  ), of_grants as (
    select g.user_id, sum(g.tokens_remaining) as tokens, min(g.expires_at) filter (where g.is_open) as due
      from grants g group by g.user_id
  ), of_ledger as (
    select t.user_id, sum(t.tokens) as tokens, sum(t.debt_change) as debt, sum(t.reserved_change) as reserved, max(t.id) as last_id,
           max(t.created_at) filter (where t.entry_type not in ('opening_balance', 'expiry')) as spent_at,
           -- a rollover into a grant without one out of a grant is what was lost and came back
           -sum(t.tokens) filter (where t.entry_type in ('expiry', 'rollover')) as expired,
           coalesce(sum((t.metadata ->> 'total_cost')::numeric) filter (where t.entry_type = 'opening_balance'), 0) as opening_cost,
           coalesce(sum((t.metadata ->> 'tokens_used')::numeric) filter (where t.entry_type = 'opening_balance'), 0)
             - coalesce(sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0) as used
      from ledger t group by t.user_id
  ), spending as (
    -- what was spent or came back, and the moment it was taken: a cap's window is that one's
    select t.user_id, t.member_id, t.reserved_change - t.tokens as tokens, -t.tokens as used,
           case when o.id is null then t.created_at when o.reserved_change < 0 then h.created_at else o.created_at end as at
      from ledger t
      left join ledger o on o.user_id = t.user_id and o.id = t.original_id and t.entry_type in ('release', 'refund')
      left join holds h on h.user_id = o.user_id and h.id = o.hold_id
     where t.entry_type in ('deduction', 'hold', 'release', 'refund') and t.action_type <> 'admin_deduct'
  ), members as (
    select m.* from public.token_team_members m
     where (p_user_id is null or m.user_id = p_user_id)
       and (p_after is null or m.user_id > p_after)
       and (p_until is null or m.user_id <= p_until)
  ), counters as (
    select a.user_id, null::uuid as member_id, a.spent_at, null::bigint as tokens_used, a.spent_day, a.spent_week, a.spent_month
      from accounts a
    union all
    select m.user_id, m.member_id, m.spent_at, m.tokens_used, m.spent_day, m.spent_week, m.spent_month from members m
  ), spent as (
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id
     where c.member_id is null
    union all
    select c.*, s.tokens, s.used, s.at
      from counters c left join spending s on s.user_id = c.user_id and s.member_id = c.member_id
     where c.member_id is not null
  ), counted as (
    select s.user_id, s.member_id, s.tokens_used, s.spent_at, s.spent_day, s.spent_week, s.spent_month,
           coalesce(sum(s.used), 0) as used,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('day', s.spent_at, 'UTC')), 0) as in_day,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('week', s.spent_at, 'UTC')), 0) as in_week,
           coalesce(sum(s.tokens) filter (where s.at >= date_trunc('month', s.spent_at, 'UTC')), 0) as in_month
      from spent s
     group by s.user_id, s.member_id, s.tokens_used, s.spent_at, s.spent_day, s.spent_week, s.spent_month
  )
  -- each grant by itself
  select 'I1 no overspend', g.user_id, g.id, null::bigint,
         'remaining between 0 and ' || g.tokens_granted, g.tokens_remaining::text
    from grants g where g.tokens_remaining not between 0 and g.tokens_granted
  union all
  select 'I1 an open grant has tokens', g.user_id, g.id, null,
         'open = ' || (g.tokens_remaining > 0), 'open = ' || g.is_open
    from grants g where g.is_open <> (g.tokens_remaining > 0)
  union all
  -- account and grants
  select 'I2 account = its grants', coalesce(a.user_id, g.user_id), null, null,
         coalesce(g.tokens, 0)::text, coalesce(a.tokens_remaining::text, 'no account')
    from accounts a full join of_grants g on g.user_id = a.user_id
   where coalesce(g.tokens, 0) is distinct from a.tokens_remaining
  union all
  -- account and ledger
  select 'I3 ledger = account', coalesce(a.user_id, t.user_id), null, null,
         coalesce(t.tokens, 0)::text, coalesce((a.tokens_remaining + a.tokens_reserved)::text, 'no account')
    from accounts a full join of_ledger t on t.user_id = a.user_id
   where coalesce(t.tokens, 0) is distinct from a.tokens_remaining + a.tokens_reserved
  union all
  select 'I3 balance after each transaction', t.user_id, null, t.id, t.running::text, t.balance_after::text
    from ledger t where t.balance_after <> t.running
  union all
  select 'I3 transactions are numbered without gaps', t.user_id, null, t.id, t.nth::text, t.id::text
    from ledger t where t.id <> t.nth
  union all
  select 'I3 the account knows its last transaction', a.user_id, null, null,
         coalesce(t.last_id, 0)::text, a.last_transaction_id::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.last_transaction_id <> coalesce(t.last_id, 0)
  union all
  select 'I3 tokens used', a.user_id, null, null, coalesce(t.used, 0)::text, a.tokens_used::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_used <> coalesce(t.used, 0)
  union all
  select 'I3 tokens expired', a.user_id, null, null, coalesce(t.expired, 0)::text, a.tokens_expired::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_expired <> coalesce(t.expired, 0)
  union all
  select 'I3 debt', a.user_id, null, null, coalesce(t.debt, 0)::text, a.tokens_owed::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_owed <> coalesce(t.debt, 0)
  union all
  select 'I3 total cost', a.user_id, null, null,
         (coalesce(t.opening_cost, 0) + coalesce(u.cost, 0))::text, a.total_cost::text
    from accounts a
    left join of_ledger t on t.user_id = a.user_id
    left join of_usage u on u.user_id = a.user_id
   where a.total_cost <> coalesce(t.opening_cost, 0) + coalesce(u.cost, 0)
  union all
  select 'I3 a rollover makes no tokens', t.user_id, t.grant_ids[1], t.id,
         case when t.tokens < 0 then 'carried on as ' || -t.tokens
              else 'out of ' || coalesce(o.entry_type || ' ' || o.tokens, 'nothing') end,
         coalesce(o.tokens, 0)::text
    from ledger t
    left join ledger o on o.user_id = t.user_id
     and case when t.tokens < 0 then o.original_id = t.id and o.entry_type = 'rollover' else o.id = t.original_id end
   where t.entry_type = 'rollover'
     and case o.entry_type when 'rollover' then o.tokens <> -t.tokens when 'expiry' then o.tokens > -t.tokens else true end
  union all
  select 'I3 spent in this day, week and month', c.user_id, null, null,
         concat_ws(', ', 'member ' || c.member_id, c.in_day, c.in_week, c.in_month),
         concat_ws(', ', 'member ' || c.member_id, c.spent_day, c.spent_week, c.spent_month)
    from counted c
   where (c.spent_day, c.spent_week, c.spent_month) is distinct from (c.in_day, c.in_week, c.in_month)
  union all
  select 'I3 when something was last spent', c.user_id, null, null,
         concat_ws(', ', 'member ' || c.member_id, coalesce(t.spent_at::text, 'never')),
         concat_ws(', ', 'member ' || c.member_id, coalesce(c.spent_at::text, 'never'))
    from counted c
    left join (
      select l.user_id, null::uuid as member_id, l.spent_at from of_ledger l
      union all
      select l.user_id, l.member_id, max(l.created_at) from ledger l where l.member_id is not null group by l.user_id, l.member_id
    ) t on t.user_id = c.user_id and t.member_id is not distinct from c.member_id
   where c.spent_at is distinct from t.spent_at
  union all
  select 'I3 what a member used', c.user_id, null, null, 'member ' || c.member_id || ', ' || c.used, c.tokens_used::text
    from counted c
   where c.tokens_used <> c.used
  union all
  select 'I3 a member has one payer', m.user_id, null, null, m.user_id::text, coalesce(a.payer_id::text, 'none')
    from members m
    left join public.token_accounts a on a.user_id = m.member_id
   where (m.until is null) <> coalesce(a.payer_id = m.user_id, false)
  union all
  select 'I3 a member has one payer', a.user_id, null, null, 'in the team of ' || a.payer_id, 'none'
    from accounts a
   where a.payer_id is not null
     and not exists (
       select from public.token_team_members m
        where m.user_id = a.payer_id and m.member_id = a.user_id and m.until is null)
  union all
  select 'I4 who spent is of the team', t.user_id, null, t.id, 'a member', t.member_id::text
    from ledger t
    left join members m on m.user_id = t.user_id and m.member_id = t.member_id
   where t.member_id is not null
     -- a hold of theirs may be settled after they left
     and (m.member_id is null or (t.created_at >= m.until and t.hold_id is null and t.entry_type = 'deduction'))
  union all
  select 'I3 alerts are numbered without gaps', t.user_id, null, null, t.nth::text, t.id::text
    from alerts t
   where t.id <> t.nth and t.user_id <> '00000000-0000-0000-0000-000000000000' -- the project's own may have gaps
  union all
  select 'I3 the account knows its last alert', a.user_id, null, null, coalesce(t.last_id, 0)::text, a.last_alert_id::text
    from accounts a
    left join (select t.user_id, max(t.id) as last_id from alerts t group by t.user_id) t on t.user_id = a.user_id
   where a.last_alert_id <> coalesce(t.last_id, 0)
  union all
  select 'I3 an alert is of what is there', t.user_id, t.grant_id, null,
         coalesce('grant ' || t.grant_id, 'request ' || t.request_id), 'none'
    from alerts t
   where not exists (select from grants g where g.user_id = t.user_id and g.id = t.grant_id)
     and t.grant_id is not null
      or not exists (select from public.token_top_up_requests r where r.user_id = t.user_id and r.id = t.request_id)
     and t.request_id is not null
  union all
  select 'I3 a top-up asks for what its alert says', r.user_id, null, null,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from public.token_top_up_requests r
    left join alerts t on t.user_id = r.user_id and t.request_id = r.id and t.kind = 'top_up_requested'
   cross join lateral (values
     ('id', t.request_id::text, r.id::text),
     ('tokens', t.payload ->> 'tokens', r.tokens::text),
     ('plan_type', t.payload ->> 'top_up_plan_type', r.plan_type),
     ('pack_type', t.payload ->> 'top_up_pack_type', r.pack_type),
     ('quantity', t.payload ->> 'top_up_quantity', r.quantity::text),
     ('created_at', t.created_at::text, r.created_at::text)) as differs (field, expected, found)
   where (p_user_id is null or r.user_id = p_user_id)
     and (p_after is null or r.user_id > p_after)
     and (p_until is null or r.user_id <= p_until)
     and differs.expected is distinct from differs.found
  union all
  select 'I3 old transactions are numbered down from 0', t.user_id, null, min(t.id), (1 - count(*)) || ' to 0', min(t.id) || ' to ' || max(t.id)
    from public.token_legacy_transactions t
   where (p_user_id is null or t.user_id = p_user_id)
     and (p_after is null or t.user_id > p_after)
     and (p_until is null or t.user_id <= p_until)
   group by t.user_id
  having max(t.id) <> 0 or min(t.id) <> 1 - count(*)
  union all
  -- holds
  select 'I3 reserved = open holds', coalesce(a.user_id, h.user_id), null, null,
         coalesce(h.tokens, 0)::text, coalesce(a.tokens_reserved::text, 'no account')
    from accounts a full join of_holds h on h.user_id = a.user_id
   where coalesce(h.tokens, 0) is distinct from a.tokens_reserved
  union all
  select 'I3 reserved = its ledger', a.user_id, null, null, coalesce(t.reserved, 0)::text, a.tokens_reserved::text
    from accounts a left join of_ledger t on t.user_id = a.user_id
   where a.tokens_reserved <> coalesce(t.reserved, 0)
  union all
  select 'I4 a hold is what its history says', h.user_id, null, h.transaction_id,
         format('%s reserved, %s captured', case when h.status = 'open' then h.tokens else 0 end, coalesce(h.tokens_captured, 0)),
         format('%s reserved, %s captured', coalesce(t.reserved, 0), coalesce(t.captured, 0))
    from holds h
    left join of_hold_entries t on t.user_id = h.user_id and t.hold_id = h.id
   where coalesce(t.reserved, 0) <> case when h.status = 'open' then h.tokens else 0 end
      or coalesce(t.captured, 0) <> coalesce(h.tokens_captured, 0)
      or h.tokens <> (select sum(part) from unnest(h.grant_tokens) part)
  union all
  select 'I7 the account is due no later than its holds', a.user_id, null, null,
         'at ' || h.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a join of_holds h on h.user_id = a.user_id
   where h.due < coalesce(a.next_due_at, 'infinity')
  union all
  select 'I7 the account is due no later than its next alert', a.user_id, null, null,
         'at ' || a.next_alert_at || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
   where a.next_alert_at < coalesce(a.next_due_at, 'infinity')
  union all
  -- usage and its transaction
  select 'I4 usage = its transaction', u.user_id, null, u.transaction_id,
         (case when u.success then u.tokens_used - u.tokens_uncovered else 0 end)::text,
         coalesce(t.tokens::text, 'no transaction')
    from usages u
    left join charged t on t.user_id = u.user_id and t.usage_id = u.id
   where t.tokens is distinct from case when u.success then u.tokens_used - u.tokens_uncovered else 0 end
  union all
  select 'I4 a transaction for a usage has it', t.user_id, null, t.id, 'usage ' || t.usage_id, 'none'
    from ledger t
    left join usages u on u.user_id = t.user_id and u.id = t.usage_id
   where t.usage_id is not null
     -- what goes beyond a hold is a second entry for one usage
     and (u.id is null or (t.id <> u.transaction_id and t.entry_type <> 'refund' and t.hold_id is null))
  union all
  -- allocations
  select 'I4 allocations = transaction', t.user_id, null, t.id, greatest(abs(t.tokens), abs(t.reserved_change))::text,
         (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)::text
    from ledger t
   where greatest(abs(t.tokens), abs(t.reserved_change))
         <> (select coalesce(sum(part), 0) from unnest(t.grant_tokens) part)
  union all
  select 'I4 a grant is what its history left', g.user_id, g.id, null,
         coalesce(h.tokens, 0)::text, g.tokens_remaining::text
    from grants g
    left join (
      select a.user_id, a.grant_id, sum(a.signed) as tokens from allocated a group by a.user_id, a.grant_id) h
      on h.user_id = g.user_id and h.grant_id = g.id
   where g.tokens_remaining <> coalesce(h.tokens, 0)
  union all
  select 'I4 an allocation names a grant', a.user_id, a.grant_id, a.transaction_id, 'a grant of the user', 'none'
    from allocated a
    left join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where g.id is null
  union all
  -- time
  select 'I7 nothing is spent at or after its expiry', a.user_id, a.grant_id, a.transaction_id,
         'before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type in ('deduction', 'hold') and a.signed < 0 -- what a hold set aside in time is paid later
     and a.created_at >= g.expires_at
  union all
  select 'I7 an expiry is booked when it is due', a.user_id, a.grant_id, a.transaction_id,
         'not before ' || g.expires_at, a.created_at::text
    from allocated a
    join grants g on g.user_id = a.user_id and g.id = a.grant_id
   where a.entry_type = 'expiry' and (a.created_at >= g.expires_at) is not true
  union all
  select 'I7 the account is due no later than its grants', a.user_id, null, null,
         'at ' || g.due || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join of_grants g on g.user_id = a.user_id
   where g.due < coalesce(a.next_due_at, 'infinity')
  union all
  select 'I7 the account is due no later than its next slot', a.user_id, null, null,
         'at ' || s.next_slot_at || ' or before', coalesce(a.next_due_at::text, 'never')
    from accounts a
    join subscriptions s on s.user_id = a.user_id
   where a.state = 'active' and s.next_slot_at < coalesce(a.next_due_at, 'infinity') and tokenbook.is_user(a.user_id)
     -- what is not in force gives nothing
     and (s.next_slot_at < least(s.expires_at, s.cancel_at, s.paused_at, s.taken_back_at, s.ended_at)) is not false
  union all
  -- the project's: said once, when all are asked about
  select 'I8 the settings say the burn order that was chosen', null, null, null, o.chosen,
         case when s.is_expiring_first then 'expiring_first' else 'fifo' end
    from tokenbook.project_settings s
   cross join lateral (
     select coalesce((select o.burn_order from tokenbook.burn_orders o order by o.since desc limit 1), 'fifo') as chosen) o
   where p_user_id is null and p_after is null and s.is_expiring_first <> (o.chosen = 'expiring_first')
  union all
  -- plan
  select 'I9 the balance is never above the plan limit', a.user_id, null, null,
         s.tokens_limit || ' or less', a.tokens_remaining::text
    from accounts a
    join tokenbook.subscriptions s on s.user_id = a.user_id
   where a.tokens_remaining > s.tokens_limit
  union all
  -- of a subscription from before the books no entry says what its limit was
  select 'I9 the plan limit is what the ledger made it', s.user_id, null, null, l.tokens::text, s.tokens_limit::text
    from subscriptions s
    join plan_limits l on l.user_id = s.user_id
   where s.tokens_limit <> l.tokens
  union all
  select 'I9 a subscription is what its newest entry says', coalesce(s.user_id, newest.user_id), null, newest.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from standings newest
    left join subscriptions s on s.user_id = newest.user_id
    left join downgrades d on d.user_id = s.user_id
   cross join lateral (select (newest.kept).*) k
   cross join lateral (values
     ('user', newest.user_id::text, s.user_id::text),
     ('id', k.id::text, s.id::text),
     ('created_at', k.created_at::text, s.created_at::text),
     ('plan_type', k.plan_type, s.plan_type),
     ('next_plan_type', coalesce(d.plan_type, k.next_plan_type), s.next_plan_type),
     ('period_start', k.period_start::text, s.period_start::text),
     ('expires_at', k.expires_at::text, s.expires_at::text),
     ('grace_days', k.grace_days::text, s.grace_days::text),
     ('payment_method', k.payment_method, s.payment_method),
     ('payment_id', k.payment_id, s.payment_id),
     ('billing_cycle', k.billing_cycle, s.billing_cycle),
     ('auto_renew', k.auto_renew::text, s.auto_renew::text),
     ('articles_limit', k.articles_limit::text, s.articles_limit::text),
     ('features', jsonb_strip_nulls(k.features)::text, jsonb_strip_nulls(s.features)::text),
     ('schedule', k.schedule::text, s.schedule::text),
     -- a slot's start, not before the one that the entry names, and not after the first that is to come
     ('next_slot_at', case
        when s.schedule is null then null
        when s.next_slot_at is null and tokenbook.next_slot_at(s, clock_timestamp()) is null then null
        when s.next_slot_at = tokenbook.slot_start(
               s.schedule, s.period_start, tokenbook.slot_number(s.schedule, s.period_start, s.next_slot_at))
          and (s.next_slot_at < k.next_slot_at) is not true
          and (s.next_slot_at > tokenbook.next_slot_at(s, clock_timestamp())) is not true
          and s.next_slot_at < coalesce(s.expires_at, 'infinity') then s.next_slot_at
        else coalesce(k.next_slot_at, tokenbook.next_slot_at(s, clock_timestamp()), s.period_start) end::text, s.next_slot_at::text),
     ('cancel_at', k.cancel_at::text, s.cancel_at::text),
     ('paused_at', k.paused_at::text, s.paused_at::text),
     ('taken_back_at', k.taken_back_at::text, s.taken_back_at::text),
     ('ended_at', k.ended_at::text, s.ended_at::text),
     -- and no sooner than what it says of itself
     ('ended_at', case when s.ended_at is not null
                       then least(s.taken_back_at, s.cancel_at, s.expires_at + s.grace_days * interval '24 hours') end::text, s.ended_at::text),
     ('beside', jsonb_strip_nulls(k.beside)::text, jsonb_strip_nulls(s.beside)::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I9 a slot is what its schedule gives, once', s.user_id, (s.grant_id #>> '{}')::uuid, s.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from slots s
   cross join lateral (
     select tokenbook.slot_number(s.schedule, s.period_start, s.slot_start) as number,
            (s.schedule ->> 'tokens')::bigint as tokens, (s.schedule ->> 'refill_to')::bigint as refill_to,
            (s.schedule ->> 'lifetime_days')::integer * interval '24 hours' as lifetime) as says
   cross join lateral (values
     ('schedule', coalesce(s.schedule_before, s.schedule)::text, s.schedule::text),
     ('start', tokenbook.slot_start(s.schedule, s.period_start, greatest(says.number, 0))::text, s.slot_start::text),
     ('begun', 'before ' || least(s.until, s.created_at + interval '1 microsecond'),
               case when s.slot_start < least(s.until, s.created_at + interval '1 microsecond')
                    then 'before ' || least(s.until, s.created_at + interval '1 microsecond') else s.slot_start::text end),
     ('count', case when says.refill_to is not null or says.lifetime is not null then 1 else greatest(s.count, 1) end::text, s.count::text),
     ('first', tokenbook.slot_start(s.schedule, s.period_start, greatest(says.number - s.count + 1, 0))::text, s.first_start::text),
     ('once', 'after ' || s.start_before, case when s.first_start > s.start_before then 'after ' || s.start_before else s.first_start::text end),
     ('tokens', case when says.refill_to is null then says.tokens * s.count else least(says.tokens, says.refill_to - s.had) end::text, s.tokens::text),
     ('expires_at', (s.slot_start + says.lifetime)::text, s.expires_at::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
     -- the first of a period has none before it
     and (differs.field <> 'once' or s.start_before is not null)
  union all
  select 'I9 storage is what its plan gave', coalesce(t.user_id, q.user_id), null, t.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from (
      select l.user_id, l.id as transaction_id, b.id as storage_id, b.quota_gb, b.granted_at, b.subscription_id, b.metadata, b.created_at
        from ledger l
       cross join lateral jsonb_populate_record(null::public.token_storage_quotas, l.terms -> 'storage') b
       where jsonb_typeof(l.terms -> 'storage') = 'object') t
    full join (
      select q.* from public.token_storage_quotas q
       where (p_user_id is null or q.user_id = p_user_id)
         and (p_after is null or q.user_id > p_after)
         and (p_until is null or q.user_id <= p_until)) q on q.user_id = t.user_id and q.id = t.storage_id
   cross join lateral (values
     ('id', t.storage_id::text, q.id::text),
     ('quota_gb', t.quota_gb::text, q.quota_gb::text),
     ('granted_at', t.granted_at::text, q.granted_at::text),
     ('subscription_id', t.subscription_id::text, q.subscription_id::text),
     ('metadata', t.metadata::text, q.metadata::text),
     ('created_at', t.created_at::text, q.created_at::text)
   ) as differs (field, expected, found)
   -- what a user had before the books, or was given beside a plan, no entry has
   where (t.storage_id is not null or q.metadata ? 'plan') and differs.expected is distinct from differs.found
  union all
  -- payments: what was paid and taken back, what it gave, and what its provider said
  select 'I12 tokens follow the money', p.user_id, g.id, null,
         concat_ws(' ', 'payment', p.id, differs.field, coalesce(differs.expected, 'none')),
         concat_ws(' ', differs.field, coalesce(differs.found, 'none'))
    from payments p
    left join grants g on g.user_id = p.user_id and g.payment_id = p.id
    left join of_payments t on t.user_id = p.user_id and t.payment_id = p.id
    left join of_slots o on o.user_id = p.user_id and o.payment_id = p.id::text
    left join refund_changes c on c.user_id = p.user_id and c.payment_id = p.id::text
    left join facts f on f.user_id = p.user_id and f.provider = p.provider and f.provider_payment_id = p.provider_payment_id
   cross join lateral (
     select p.status in ('approved', 'refunded') as is_paid,
            p.refunded_cents > 0 and p.refunded_cents >= p.amount_cents as is_refunded,
            p.refunded_cents + p.disputed_cents as lost,
            -- what the last entry took or gave back for
            (t.refund ->> 'refunded_cents')::bigint + (t.refund ->> 'disputed_cents')::bigint as lost_then,
            (t.refund ->> 'amount_cents')::bigint as amount_then) as how
   cross join lateral (values
     -- with what the schedule of its plan has given since
     ('tokens', case when how.is_paid then coalesce(g.tokens_granted, -1) + coalesce(o.tokens, 0) else g.tokens_granted end::text, p.tokens::text),
     ('tokens_clawed_back', coalesce(t.clawed_back, 0)::text, p.tokens_clawed_back::text),
     ('share', case when not how.is_paid or how.lost = 0 then 0
                    when how.lost >= p.amount_cents then p.tokens
                    else floor(p.tokens::numeric * how.lost / p.amount_cents) end::text, p.tokens_clawed_back::text),
     ('share by its entry', case when not how.is_paid or coalesce(how.lost_then, 0) = 0 then 0
                                 when how.lost_then >= how.amount_then then p.tokens
                                 else floor(p.tokens::numeric * how.lost_then / how.amount_then) end::text, p.tokens_clawed_back::text),
     ('status', case when not how.is_paid then case when g.id is null then p.status end
                     when how.is_refunded then 'refunded' else 'approved' end, p.status),
     ('provider', case when p.provider <> 'manual' then f.provider else 'manual' end, p.provider),
     -- what was booked before it was known as a part of another payment is undone; by hand counts what was said last
     ('refunded_cents', case when not how.is_paid then 0
                             when p.provider = 'manual' then coalesce(c.refunded_cents, 0)
                             when f.part_of is not null then greatest(p.amount_cents, 1)
                             else f.refunded_cents end::text, p.refunded_cents::text),
     ('disputed_cents', case when how.is_paid and p.provider <> 'manual' then f.disputed_cents else 0 end::text, p.disputed_cents::text),
     ('to_plan', case when f.part_of is null then coalesce(f.plan_type, case when f.pack_type is null then p.to_plan end) else p.to_plan end, p.to_plan),
     ('pack_type', case when f.part_of is null then coalesce(f.pack_type, case when f.plan_type is null then p.pack_type end) else p.pack_type end, p.pack_type),
     ('quantity', coalesce(case when f.part_of is null then f.quantity end, p.quantity)::text, p.quantity::text),
     -- a pack gives what it was asked for at, as often as it was bought
     ('terms', case when how.is_paid and p.pack_type is not null
                    then coalesce((p.terms ->> 'tokens')::bigint * p.quantity, -1) else p.tokens end::text, p.tokens::text),
     ('decided_at', case when p.status = 'pending' then null else coalesce(p.decided_at::text, 'a moment') end, p.decided_at::text),
     ('reason', case p.status when 'pending' then null when 'rejected' then coalesce(p.reason, 'one') else p.reason end, p.reason)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I12 a payment is what its entry says', coalesce(p.user_id, t.user_id), null, t.transaction_id,
         concat_ws(' ', 'payment', b.id, differs.field, coalesce(differs.expected, 'none')),
         concat_ws(' ', differs.field, coalesce(differs.found, 'none'))
    from (
      select l.user_id, l.id as transaction_id, l.payment_id, l.terms -> 'payment' as payment
        from ledger l where l.entry_type = 'grant' and (l.payment_id is not null or l.terms ? 'payment')) t
   cross join lateral jsonb_populate_record(null::public.token_payments,
     case jsonb_typeof(t.payment) when 'object' then t.payment else '{}' end) b
    left join payments p on p.user_id = t.user_id and p.id = b.id
    left join facts f on f.user_id = p.user_id and f.provider = p.provider and f.provider_payment_id = p.provider_payment_id
    left join told o on o.provider = p.provider and o.whole = p.provider_payment_id
   cross join lateral (values
     ('id', b.id::text, p.id::text),
     ('entry', b.id::text, t.payment_id::text),
     ('provider', b.provider, p.provider),
     ('provider_payment_id', b.provider_payment_id, p.provider_payment_id),
     ('from_plan', b.from_plan, p.from_plan),
     ('to_plan', b.to_plan, p.to_plan),
     ('pack_type', b.pack_type, p.pack_type),
     ('quantity', b.quantity::text, p.quantity::text),
     ('terms', b.terms::text, jsonb_strip_nulls(p.terms)::text),
     -- more may have been told since than what was booked first
     ('amount_cents', case when f.part_of is null then coalesce(o.amount_cents, b.amount_cents) else p.amount_cents end::text, p.amount_cents::text),
     ('amount_cents then', case when b.amount_cents = any (o.amounts) is not false then b.amount_cents else o.amount_cents end::text, b.amount_cents::text),
     ('currency', case when f.part_of is null then coalesce(o.currency, b.currency) else p.currency end, p.currency),
     ('idempotency_key', b.idempotency_key, p.idempotency_key),
     ('reason', b.reason, p.reason),
     ('created_at', b.created_at::text, p.created_at::text),
     ('decided_at', b.decided_at::text, p.decided_at::text),
     ('decided_by', b.decided_by::text, p.decided_by::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I12 what is known of a payment is what was told', f.user_id, null, null,
         concat_ws(' ', f.provider, f.provider_payment_id, differs.field, coalesce(differs.expected, 'none')),
         concat_ws(' ', differs.field, coalesce(differs.found, 'none'))
    from facts f
    left join told t on t.provider = f.provider and t.whole = f.provider_payment_id
    left join differing x on x.provider = f.provider and x.whole = f.provider_payment_id
    left join tokenbook.provider_payments w on w.provider = f.provider and w.provider_payment_id = f.part_of
    left join payments p on p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id
   cross join lateral (values
     ('part_of', case when w.part_of is null and f.part_of <> f.provider_payment_id then w.provider_payment_id end, f.part_of),
     ('events', case when f.part_of is null then greatest(t.events, 1) else 0 end::text, coalesce(t.events, 0)::text),
     ('is_paid', coalesce(t.is_paid, false)::text, f.is_paid::text),
     ('amount_cents', case when f.part_of is null then coalesce(t.amount_cents, p.amount_cents, f.amount_cents) end::text, f.amount_cents::text),
     ('currency', t.currency, f.currency),
     ('refunded_cents', coalesce(t.refunded_cents, 0)::text, f.refunded_cents::text),
     ('disputed_cents', coalesce(t.disputed_cents, 0)::text, f.disputed_cents::text),
     ('period_start', t.period_start::text, f.period_start::text),
     ('customer_id', t.customer_id, f.customer_id),
     ('price_id', t.price_id, f.price_id),
     -- of what was told, one; none where none of it is in the catalogue
     ('what was bought', case when num_nonnulls(f.plan_type, f.pack_type) < 2 and coalesce(f.plan_type, 'pack ' || f.pack_type) = any (t.things)
                              then coalesce(f.plan_type, 'pack ' || f.pack_type) end, coalesce(f.plan_type, 'pack ' || f.pack_type)),
     ('quantity', case when num_nonnulls(f.plan_type, f.pack_type) = 1 then coalesce(f.quantity, 1) end::text, f.quantity::text),
     ('parked_reason', case when t.is_paid is not true then null
                            when num_nonnulls(f.plan_type, f.pack_type) > 0 then case when f.user_id is null then 'user_unknown' end
                            when t.reason is not null then t.reason
                            when t.are_several and f.parked_reason = 'quantity' then 'quantity'
                            when t.price_id is not null or t.things is not null then 'price_unknown'
                            else 'nothing_named' end, f.parked_reason),
     ('disagrees', x.others::text, f.disagrees::text),
     ('created_at', least(f.created_at, t.first_at)::text, f.created_at::text),
     ('updated_at', greatest(f.updated_at, t.last_at)::text, f.updated_at::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I12 the parts of a payment are together', f.user_id, null, null,
         concat_ws(' ', e.provider, e.whole, 'with', named.part), 'apart'
    from events e
    join facts f on f.provider = e.provider and f.provider_payment_id = e.whole
   cross join lateral jsonb_array_elements_text(case jsonb_typeof(e.fact -> 'parts') when 'array' then e.fact -> 'parts' else '[]' end) as named (part)
   where not exists (select from parts o where o.provider = e.provider and o.whole = e.whole and o.part = named.part)
  union all
  select 'I12 what was paid is booked', f.user_id, null, null, concat_ws(' ', f.provider, f.provider_payment_id), 'no payment'
    from facts f
   where f.is_paid and f.user_id is not null and num_nonnulls(f.plan_type, f.pack_type) > 0
     and not exists (
       select from payments p
        where p.user_id = f.user_id and p.provider = f.provider and p.provider_payment_id = f.provider_payment_id)
  union all
  select 'I12 an event is of a payment', null, null, null, concat_ws(' ', e.provider, e.provider_payment_id), 'nothing known of it'
    from tokenbook.provider_events e
   where p_user_id is null and p_after is null
     and not exists (
       select from tokenbook.provider_payments f
        where f.provider = e.provider and f.provider_payment_id = e.provider_payment_id)
  union all
  select 'I12 a fact is as it was told', null, null, null,
         concat_ws(' ', e.provider, e.provider_payment_id, e.event_id, sha256(convert_to(e.facts::text, 'UTF8')), e.facts ->> 'occurred_at'),
         concat_ws(' ', e.digest, e.occurred_at)
    from tokenbook.provider_events e
   where p_user_id is null and p_after is null
     and (e.digest <> sha256(convert_to(e.facts::text, 'UTF8'))
       or e.occurred_at <> coalesce((e.facts ->> 'occurred_at')::timestamptz, e.occurred_at))
  union all
  -- a grant and the transaction that gave it; grants from before the books have none
  select 'I4 a grant is what its transaction gave', g.user_id, g.id, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'another'),
         differs.field || ' ' || coalesce(differs.found, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
   cross join lateral (values
     ('tokens_granted', t.tokens::text, g.tokens_granted::text),
     ('created_at', t.created_at::text, g.created_at::text),
     ('granted_at', least(g.granted_at, t.created_at)::text, g.granted_at::text),
     -- an action of one type alone says the type; a plan's grants are of any, but a trial is called one
     ('grant_type', coalesce((
                      select of.name from jsonb_each(tokenbook.grant_types()) as of (name, type)
                       where of.type ->> 'action_type' = t.action_type and t.action_type <> 'subscription_grant'),
                      nullif(g.grant_type, 'trial')), g.grant_type),
     -- a payment that came after its period had been granted stands in the grant alone
     ('payment_id', coalesce(t.payment_id, g.payment_id)::text, g.payment_id::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant keeps the terms it was given on', coalesce(g.user_id, o.user_id), coalesce(g.id, o.grant_id), o.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from grants g
    full join given o on o.user_id = g.user_id and o.grant_id = g.id
    left join voids v on v.user_id = g.user_id and v.grant_id = g.id::text
   cross join lateral (values
     ('id', o.grant_id::text, g.id::text),
     ('grant_type', o.grant_type, g.grant_type),
     ('tokens_granted', o.tokens_granted::text, g.tokens_granted::text),
     ('priority', o.priority::text, g.priority::text),
     ('granted_at', o.granted_at::text, g.granted_at::text),
     ('expires_at', case when v.grant_id is null then o.expires_at
                         else least(o.expires_at, greatest(v.created_at, o.granted_at + interval '1 microsecond')) end::text,
                    g.expires_at::text),
     ('voided_at', v.created_at::text, g.voided_at::text),
     ('subscription_id', o.subscription_id::text, g.subscription_id::text),
     ('period_start', o.period_start::text, g.period_start::text),
     ('rolled_over_from', o.rolled_over_from::text, g.rolled_over_from::text),
     ('legacy_transaction_id', o.legacy_transaction_id, g.legacy_transaction_id),
     ('created_at', o.created_at::text, g.created_at::text),
     -- what a grant has attached that is from before the books, or was reissued, no entry has
     ('metadata', coalesce(o.attached, g.metadata)::text, g.metadata::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 a grant is voided by its entry', v.user_id, null, v.transaction_id,
         concat_ws(' ', 'grant', v.grant_id, 'given by', given.by, 'until', (o.expires_at at time zone 'utc')::text || 'Z'),
         concat_ws(' ', 'grant', coalesce(o.grant_id::text, 'none'), 'given by', v.original_id, 'until', v.metadata ->> 'expires_at')
    from voids v
    left join given o on o.user_id = v.user_id and o.grant_id::text = v.grant_id
    left join lateral (
      select min(a.transaction_id) as by from allocated a
       where a.user_id = v.user_id and a.grant_id = o.grant_id and a.transaction_id < v.transaction_id) given on true
   where o.grant_id is null or given.by is distinct from v.original_id
      or (o.expires_at at time zone 'utc')::text || 'Z' is distinct from v.metadata ->> 'expires_at'
  union all
  select 'I4 a grant begins with the one transaction that gave it', h.user_id, h.grant_id, h.first_id,
         'one transaction that gives it, the first',
         h.times || ' that give it, from ' || coalesce(h.given_id::text, 'none') || ' on'
    from (
      select a.user_id, a.grant_id, min(a.transaction_id) as first_id,
             min(a.transaction_id) filter (where a.entry_type in ('grant', 'opening_balance', 'restatement', 'refund', 'restoration', 'release', 'rollover')) as given_id,
             count(*) filter (where a.entry_type in ('grant', 'opening_balance')) as times
        from allocated a group by a.user_id, a.grant_id) h
   where h.given_id is distinct from h.first_id or h.times > 1
  union all
  select 'I9 a grant''s subscription is the user''s', g.user_id, g.id, t.id,
         coalesce(s.id::text, 'none'), coalesce(g.subscription_id::text, 'none')
    from grants g
    join ledger t on t.user_id = g.user_id and t.entry_type = 'grant' and t.grant_ids[1] = g.id
    left join tokenbook.subscriptions s on s.user_id = g.user_id
   where g.subscription_id is distinct from s.id
     and (g.subscription_id is not null or g.period_start is not null)
  union all
  select 'I9 a payment is the user''s', n.user_id, n.grant_id, n.transaction_id, 'payment ' || n.payment_id, 'none'
    from (
      select g.user_id, g.id as grant_id, null::bigint as transaction_id, g.payment_id from grants g
      union all
      select t.user_id, null, t.id, t.payment_id from ledger t) n
    left join public.token_payments p on p.user_id = n.user_id and p.id = n.payment_id
   where n.payment_id is not null and p.id is null
  union all
  -- each transaction by itself: what the constraints say, asked again of what is there
  select 'I4 an entry is of one kind', t.user_id, null, t.id,
         'sign, reserve, debt, links, terms and action of ' || t.entry_type,
         concat_ws(' ', t.tokens, 'tokens', t.reserved_change, 'reserved', t.debt_change, 'debt', t.action_type,
           array(select jsonb_object_keys(case jsonb_typeof(t.terms) when 'object' then t.terms end)))
    from ledger t
   where (case t.entry_type
            when 'opening_balance' then t.id = 1 and t.tokens >= 0
            when 'grant' then t.tokens > 0
            when 'deduction' then t.tokens < 0 and t.reserved_change in (0, t.tokens)
            when 'expiry' then t.tokens < 0
            when 'clawback' then t.tokens <= 0 and t.debt_change >= 0 and (t.payment_id is null) = coalesce(t.terms ? 'voids', false)
            when 'restoration' then t.tokens >= 0 and t.debt_change <= 0 and t.payment_id is not null
            when 'debt_repayment' then t.tokens < 0 and t.debt_change = t.tokens
            when 'usage' then t.tokens = 0
            when 'restatement' then t.tokens <> 0
            when 'hold' then t.tokens = 0 and t.reserved_change > 0
            when 'release' then t.tokens = 0 and t.reserved_change < 0
            when 'refund' then t.tokens > 0
            when 'void' then t.tokens <= 0
            when 'rollover' then t.tokens <> 0
          end
          and (t.usage_id is null or t.entry_type in ('grant', 'deduction', 'usage', 'refund'))
          and (t.payment_id is null or t.entry_type in ('grant', 'clawback', 'restoration'))
          and (t.original_id is null or t.entry_type in ('release', 'refund', 'void', 'restatement', 'rollover') or t.terms ? 'voids')
          -- and what it keeps of what began or ended with it
          and (jsonb_typeof(t.terms) = 'object' and t.terms <> '{}') is distinct from false
          and case when t.terms is null then '{}'
                   else array(select jsonb_object_keys(case jsonb_typeof(t.terms) when 'object' then t.terms end) order by 1) end = case
                when t.entry_type = 'opening_balance' then array['grants']
                when t.entry_type = 'rollover' and t.tokens > 0 then array['grants']
                when t.entry_type = 'refund' and t.terms ? 'grants' then array['grants'] -- what was reissued
                when t.entry_type = 'void' or (t.entry_type = 'clawback' and t.payment_id is null) then array['voids']
                when t.entry_type in ('clawback', 'restoration') then array['refund']
                when t.entry_type = 'grant' then
                  array['grants'] || case when t.payment_id is not null then array['payment'] end
                    || case when t.terms ? 'storage' then array['storage'] end
                    || case when t.action_type = 'scheduled_grant' then array['slots'] end
                    || case when t.terms -> 'grants' -> 0 ? 'subscription_id' then array['subscription'] end
                when t.action_type = 'plan_change' and t.usage_id is null and t.terms ? 'standing' then array['standing']
                when t.action_type = 'plan_change' and t.usage_id is null and not t.metadata ? 'effective_at' then
                  case when t.terms ? 'storage' then array['storage'] end || array['subscription']
                else '{}' end
          and (t.metadata = '{}' or t.entry_type not in ('expiry', 'debt_repayment', 'release', 'restoration', 'clawback')
            or (t.entry_type = 'clawback' and t.terms ? 'voids'))
          and (t.debt_change = 0 or t.entry_type in ('clawback', 'restoration', 'debt_repayment'))
          and (t.reserved_change = 0 or t.entry_type in ('deduction', 'hold', 'release'))
          and case
                when t.entry_type in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
                  then t.action_type = t.entry_type
                when t.action_type = any (tokenbook.grant_action_types())
                  then t.entry_type = 'grant'
                else t.entry_type <> 'grant'
                  and t.action_type not in ('opening_balance', 'expiry', 'clawback', 'restoration', 'debt_repayment', 'restatement', 'void', 'rollover')
              end) is not true
  union all
  select 'I4 an entry undoes what came before', t.user_id, null, t.id, 'before ' || t.id, t.original_id::text
    from ledger t
    left join ledger o on o.user_id = t.user_id and o.id = t.original_id
   where t.original_id not between 1 and t.id - 1
      or (t.entry_type = 'restatement' and t.original_id is not null and (o.entry_type, o.tokens) is distinct from ('restatement', -t.tokens))
  union all
  select 'I4 usage and transaction say the same', u.user_id, null, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from usages u
    left join ledger t on t.user_id = u.user_id and t.id = u.transaction_id
   cross join lateral (
     select jsonb_strip_nulls(jsonb_build_object(
              'model_used', u.model_used, 'input_tokens', u.input_tokens, 'output_tokens', u.output_tokens,
              'cached_tokens', u.cached_tokens, 'reasoning_tokens', u.reasoning_tokens, 'images', u.images,
              'seconds', u.seconds, 'error_message', u.error_message)) as found,
            t.request - array['operation', 'on_shortage', 'action_type', 'tokens_used', 'success'] as asked) measured
   cross join lateral (values
     ('usage_id', coalesce(t.usage_id::text, 'none'), u.id::text),
     -- an admin's grant of whatever type is an admin_grant in the trail
     ('action_type', case when t.entry_type = 'grant' then 'admin_grant' else t.action_type end, u.action_type),
     ('created_at', t.created_at::text, u.created_at::text),
     ('member_id', t.member_id::text, u.member_id::text),
     -- of a correction the trail has the reason too
     ('metadata', (case when u.action_type in ('admin_grant', 'admin_deduct')
                        then t.metadata || jsonb_build_object('reason', t.reason, 'transaction_id', t.id) else t.metadata end)::text,
                  u.metadata::text),
     -- what was measured stands in the request too, where there was a key
     ('measured', case when t.request ->> 'operation' = 'track' then measured.asked else measured.found end::text,
                  measured.found::text)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  -- a hold and its entries
  select 'I4 a hold is what its entry says', h.user_id, null, h.transaction_id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from holds h
    left join ledger t on t.user_id = h.user_id and t.id = h.transaction_id and t.entry_type = 'hold'
    left join of_hold_entries e on e.user_id = h.user_id and e.hold_id = h.id
    left join ledger c on c.user_id = h.user_id and c.id = e.capture_id
    left join usages u on u.user_id = h.user_id and u.id = h.usage_id
   cross join lateral (values
     ('hold_id', t.hold_id::text, h.id::text),
     ('tokens', t.reserved_change::text, h.tokens::text),
     ('grant_ids', t.grant_ids::text, h.grant_ids::text),
     ('grant_tokens', t.grant_tokens::text, h.grant_tokens::text),
     ('action_type', t.action_type, h.action_type),
     ('actor_role', t.actor_role, h.actor_role),
     ('created_at', t.created_at::text, h.created_at::text),
     ('member_id', t.member_id::text, h.member_id::text),
     ('metadata', t.metadata::text, h.metadata::text),
     -- how long it lives stands in the request, where there was a key
     ('expires_at', coalesce(t.created_at + (t.request ->> 'ttl_seconds')::integer * interval '1 second', h.expires_at)::text,
                    h.expires_at::text),
     ('capture_id', e.capture_id::text, h.capture_id::text),
     ('captured_from', coalesce(h.grant_ids[:cardinality(c.grant_ids)]::text, 'none'), coalesce(c.grant_ids::text, 'none')),
     ('tokens_captured', case when e.settled_at is not null then coalesce(e.captured, 0) end::text, h.tokens_captured::text),
     ('overage_id', e.overage_id::text, h.overage_id::text),
     ('usage_id', c.usage_id::text, h.usage_id::text),
     ('tokens_uncovered', coalesce(u.tokens_uncovered, h.tokens_uncovered)::text, h.tokens_uncovered::text),
     ('settled_at', e.settled_at::text, h.settled_at::text),
     ('status', case when e.settled_at is null then 'open'
                     else case e.release_reason when 'the hold ran out' then 'expired' when 'released' then 'released'
                                                when 'not needed' then 'captured' else coalesce('released: ' || e.release_reason, 'captured') end end,
                h.status)
   ) as differs (field, expected, found)
   where differs.expected is distinct from differs.found
  union all
  select 'I4 an entry of a hold is like it', t.user_id, null, t.id,
         coalesce('for ' || h.action_type, 'no hold'), concat_ws(' ', 'for', t.action_type, 'of hold', t.hold_id)
    from ledger t
    left join holds h on h.user_id = t.user_id and h.id = t.hold_id
   where case when t.hold_id is not null then (h.action_type, h.member_id) is distinct from (t.action_type, t.member_id)
                or (t.entry_type = 'release' and t.original_id is distinct from h.transaction_id)
              else t.entry_type in ('hold', 'release') end
  union all
  select 'I4 a refund is of its charge', t.user_id, null, t.id,
         concat_ws(' ', 'a deduction', o.action_type, o.usage_id, o.hold_id),
         concat_ws(' ', coalesce(o.entry_type, 'none'), t.action_type, t.usage_id, t.hold_id)
    from ledger t
    left join ledger o on o.user_id = t.user_id and o.id = t.original_id
   where t.entry_type = 'refund'
     and (o.entry_type, o.action_type, o.usage_id, o.hold_id, o.member_id)
         is distinct from ('deduction', t.action_type, t.usage_id, t.hold_id, t.member_id)
  union all
  -- keys
  select 'I5 one key, one effect', t.user_id, null, max(t.id), '1 for key ' || t.idempotency_key, count(*)::text
    from ledger t where t.idempotency_key is not null
   group by t.user_id, t.member_id, t.idempotency_key, (t.actor_role = 'user')
  having count(*) > 1
  union all
  select 'I5 a key keeps its request', t.user_id, null, t.id,
         case when t.idempotency_key is null then 'no request' else 'a request' end,
         case when t.request is null then 'no request' else 'a request' end
    from ledger t where (t.idempotency_key is null) <> (t.request is null)
  union all
  select 'I5 a request is what was done', t.user_id, null, t.id,
         differs.field || ' ' || coalesce(differs.expected, 'none'), differs.field || ' ' || coalesce(differs.found, 'none')
    from ledger t
   cross join lateral (values
     ('operation', coalesce(t.request ->> 'operation', 'one'), t.request ->> 'operation'),
     ('tokens', case when t.request ->> 'operation' in ('deduct', 'reserve', 'grant') then greatest(abs(t.tokens), t.reserved_change)
                     when t.request ->> 'operation' = 'adjust' then t.tokens end::text,
                case when t.request ->> 'operation' in ('deduct', 'reserve', 'grant') then t.request ->> 'tokens'
                     when t.request ->> 'operation' = 'adjust' then t.request ->> 'delta' end),
     ('action_type', case when t.request ->> 'operation' in ('deduct', 'reserve', 'track') then t.action_type end,
                     case when t.request ->> 'operation' in ('deduct', 'reserve', 'track') then t.request ->> 'action_type' end),
     ('reason', case when t.request ->> 'reason' is not null then t.reason end, t.request ->> 'reason')
   ) as differs (field, expected, found)
   where t.request is not null and differs.expected is distinct from differs.found
  union all
  -- the order of time; a minute is left to a clock that was set back, or a standby's that was behind
  select 'I7 transactions are booked in the order of time', t.user_id, null, t.id,
         'from ' || coalesce(t.at_before, '-infinity') || ' to now', t.created_at::text
    from ledger t
   where (t.created_at < t.at_before - interval '1 minute'
       or t.created_at > clock_timestamp() + interval '1 minute')
     -- what was acknowledged, as it was then
     and not exists (
       select from tokenbook.acknowledged_findings f
        where f.user_id = t.user_id -- @acknowledged-user-only
          and f.transaction_id = t.id -- @acknowledged-entry-only
          and f.booked_at = t.created_at and f.booked_before is not distinct from t.at_before) -- @acknowledged-as-it-was
  union all
  -- who and why
  select 'I10 a change has an actor', t.user_id, null, t.id,
         'the user himself, an admin by his id, service or system without one',
         concat_ws(' ', t.actor_role, coalesce(t.actor_id::text, 'without an id'))
    from ledger t
   where (case t.actor_role
            when 'user' then t.actor_id = coalesce(t.member_id, t.user_id)
            when 'admin' then t.actor_id is not null
            when 'service' then t.actor_id is null
            when 'system' then t.actor_id is null
          end) is not true
  union all
  select 'I10 a change has a reason', t.user_id, null, t.id, '1 to 500 characters', coalesce(length(t.reason), 0)::text
    from ledger t
   where (length(t.reason) between 1 and 500) is not true
     -- what an admin or the server may do without giving one
     and not (t.reason is null and (t.entry_type in ('grant', 'refund', 'void', 'clawback') or t.action_type = 'admin_deduct'))
   order by 2, 1, 4, 3;
end
$$;
comment on function tokenbook.find_breaches is
  'The breaches of the invariants, a row each: for one user, for everyone, or for the users after p_after up to p_until.';

-- from supabase/schemas/90_audit/find_token_discrepancies.sql

/*
 * Users whose balance or cost is not what the records say, the largest difference first: everyone, or the
 * users after p_after up to p_until, so that a large database is gone through in pieces. A finding counts
 * when it is of more than p_threshold tokens, a cost when it is a cent or more. One snapshot. A user whose records
 * cannot be read has a finding unreadable, last, and no figures.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden, invalid_amount.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.find_token_discrepancies(
  p_threshold bigint default 100,
  p_after uuid default null,
  p_until uuid default null
)
returns table (
  user_id uuid, email text, current_remaining bigint, expected_remaining bigint, remaining_difference bigint,
  current_used bigint, calculated_used bigint, used_difference bigint,
  current_cost numeric, calculated_cost numeric, cost_difference numeric,
  since timestamptz, scenarios text[], findings jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  if p_threshold is null or p_threshold < 0 then
    perform tokenbook.refuse('invalid_amount', '{"field": "p_threshold", "rule": "a whole number of tokens, 0 or more"}');
  end if;
  return query
  select u.user_id, au.email::text,
         (r.answer ->> 'current_remaining')::bigint, (r.answer ->> 'expected_remaining')::bigint,
         (r.answer ->> 'remaining_difference')::bigint,
         (r.answer ->> 'current_used')::bigint, (r.answer ->> 'calculated_used')::bigint, (r.answer ->> 'used_difference')::bigint,
         (r.answer ->> 'current_cost')::numeric, (r.answer ->> 'calculated_cost')::numeric, (r.answer ->> 'cost_difference')::numeric,
         (r.answer ->> 'since')::timestamptz, counted.scenarios, counted.findings
    from (
      select a.user_id from public.token_accounts a
       where (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
      union
      select b.user_id from public.token_balances b -- whose account is lost
       where (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
         and not exists (select from public.token_accounts a where a.user_id = b.user_id)
      union
      select t.user_id from public.token_usage t -- whom something was written down for, and no account made
       where (p_after is null or t.user_id > p_after) and (p_until is null or t.user_id <= p_until)
         and not exists (select from public.token_accounts a where a.user_id = t.user_id)
    ) u
   cross join lateral (select tokenbook.try_reconcile(u.user_id) as answer offset 0) r
   cross join lateral (
      select array_agg(distinct f.finding ->> 'scenario') as scenarios,
             jsonb_agg(f.finding order by (f.finding ->> 'tokens')::bigint desc, f.finding ->> 'scenario') as findings
        from jsonb_array_elements(r.answer -> 'findings') f (finding)
       where (f.finding ->> 'tokens')::bigint > p_threshold or f.finding ? 'cents'
          or f.finding ->> 'scenario' = 'unreadable') counted
    left join auth.users au on au.id = u.user_id
   where counted.findings is not null
   order by abs((r.answer ->> 'remaining_difference')::bigint) desc nulls last,
            abs((r.answer ->> 'used_difference')::bigint) desc nulls last, u.user_id;
end
$$;
comment on function tokenbook.find_token_discrepancies is
  'Users whose balance or cost is not what the records say, the largest difference first. For an admin or the server. p_threshold leaves out what is of so many tokens or fewer; a cost counts from one cent on. Everyone, or the users after p_after up to p_until, so that a large database is gone through in pieces. Returns user_id, email, the figures of reconcile_user_token_balance (costs in cents, differences positive where the books have more), since, scenarios (unreadable: the records of this user cannot be read, and there are no figures) and findings. Errors: invalid_amount, not_authenticated, forbidden.';

-- from supabase/schemas/90_audit/grants_at_opening.sql

/*
 * What each grant should have had left when the books opened: the recorded use before that moment,
 * allocated over the grants in burn order, each use to grants that had not run out by then. The migrations
 * gave every active grant its full amount (decision 9); the difference is what they over-granted.
 *
 * Grants are those that the books took over, and admin_grant rows of the trail that no grant stands for:
 * the counter had them, the books never did. A counter that became a grant stands for all that was given
 * before it, the trail's admin_grant rows among it (tokenbook.counter_at_opening). Use is what the trail has;
 * older than its first row, what the old transactions have. Use that no grant was there for is a row of its
 * own, negative, without a grant.
 * A counter that had more than all grants of its user (granted beside them, as `counter_beyond_grants`) is
 * taken as right, and each grant with it: it was after the use, as what it had not deducted was taken off,
 * and nothing says what of it they paid. So all are expected to have what they opened with, and that grant
 * stands for the use that the others did not pay.
 * Between two expiries the order of use does not matter, so the loop runs over expiries, not over rows.
 * Caller: internal.
 */
create function tokenbook.grants_at_opening(p_user_id uuid, p_opening public.token_transactions)
returns table (
  grant_id uuid, is_booked boolean, priority smallint, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, opened_with bigint, expected bigint
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[];
  v_granted bigint[];
  v_expires timestamptz[];
  v_booked boolean[];
  v_priority smallint[];
  v_at timestamptz[];
  v_left bigint[];
  v_span record;
  v_needed bigint;
  v_taken bigint;
  v_uncovered bigint := 0;
  v_counter record;
  v_beyond_id uuid;
begin
  select b.id into v_beyond_id
    from public.token_balances b
   where b.user_id = p_user_id and b.metadata ->> 'source' = 'counter_beyond_grants' and b.grant_type = 'plan'
     and b.created_at <= p_opening.created_at
     and not exists (
       select from public.token_transactions t
        where t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id);
  if v_beyond_id is not null then
    return query
    with booked as (
      select b.id, b.priority, b.granted_at, b.expires_at, b.tokens_granted,
             coalesce((
               select sum(a.tokens) from unnest(p_opening.grant_ids, p_opening.grant_tokens) a (id, tokens)
                where a.id = b.id), 0)::bigint as opened_with
        from public.token_balances b
       where b.user_id = p_user_id
         and not exists (
           select from public.token_transactions t
            where t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id)
    )
    select b.id, true, b.priority, b.granted_at, b.expires_at,
           case when b.id <> v_beyond_id then b.tokens_granted
                else greatest(b.tokens_granted, b.opened_with
                  + (select coalesce(sum(u.tokens), 0) from tokenbook.usage_before_books(p_user_id, p_opening) u)
                  - (select coalesce(sum(o.tokens_granted - o.opened_with), 0) from booked o
                      where o.id <> v_beyond_id and (o.expires_at <= p_opening.created_at) is not true))::bigint end,
           b.opened_with, b.opened_with
      from booked b;
    return;
  end if;

  select c.* into v_counter from tokenbook.counter_at_opening(p_user_id, p_opening) c;
  select array_agg(g.id order by g.nth), array_agg(g.tokens order by g.nth),
         array_agg(g.ends order by g.nth), array_agg(g.booked order by g.nth),
         array_agg(g.priority order by g.nth), array_agg(g.at order by g.nth)
    into v_ids, v_granted, v_expires, v_booked, v_priority, v_at
    from (
      select x.*, row_number() over (order by tokenbook.burn_key(x.priority, x.at, x.ends, x.id, false)) as nth
        from (
          select b.id, case when b.id = v_counter.grant_id then v_counter.tokens_granted else b.tokens_granted end as tokens,
                 coalesce(b.expires_at, 'infinity') as ends, true as booked, b.priority, b.granted_at as at
            from public.token_balances b
           where b.user_id = p_user_id
             and not exists (
               select from public.token_transactions t
                where t.user_id = b.user_id and t.entry_type = 'grant' and t.grant_ids[1] = b.id)
          union all
          select u.usage_id, u.tokens, u.created_at + tokenbook.grant_lifetime('admin'), false, 50::smallint, u.created_at
            from tokenbook.audit_trail(p_user_id) u
           where u.action_type = 'admin_grant' and u.transaction_id is null and u.copy_of is null and u.tokens > 0
             and u.created_at < p_opening.created_at
             and (u.created_at <= v_counter.counted_at) is not true
             -- the app wrote the grant and its record within a minute, as the migrations take it
             and not exists (
               select from public.token_balances b
                where b.user_id = p_user_id and b.tokens_granted = u.tokens
                  and b.granted_at between u.created_at - interval '1 minute' and u.created_at + interval '1 minute')
        ) x
    ) g;
  v_left := v_granted;

  for v_span in
    select coalesce(ends.at, 'infinity') as ends_at, sum(used.tokens)::bigint as tokens
      from tokenbook.usage_before_books(p_user_id, p_opening) used
      left join lateral (
        select min(e) as at from unnest(v_expires) e where e > used.created_at and e <= p_opening.created_at) ends on true
     group by 1
     order by 1
  loop
    v_needed := v_span.tokens;
    for i in 1 .. coalesce(cardinality(v_ids), 0) loop
      exit when v_needed = 0;
      continue when v_expires[i] < v_span.ends_at and v_expires[i] <= p_opening.created_at;
      v_taken := least(v_needed, v_left[i]);
      v_left[i] := v_left[i] - v_taken;
      v_needed := v_needed - v_taken;
    end loop;
    v_uncovered := v_uncovered + v_needed;
  end loop;

  return query
  select g.id, g.booked, g.priority, g.at, nullif(g.ends, 'infinity'),
         g.granted - case when g.id = v_counter.grant_id then v_counter.admin_granted else 0 end,
         coalesce((
           select sum(a.tokens) from unnest(p_opening.grant_ids, p_opening.grant_tokens) a (id, tokens)
            where a.id = g.id), 0)::bigint,
         case when g.ends <= p_opening.created_at then 0 else g.left_over end
    from unnest(v_ids, v_booked, v_priority, v_at, v_expires, v_granted, v_left)
      as g (id, booked, priority, at, ends, granted, left_over)
  union all
  select null, false, 0::smallint, v_counter.counted_at, null, v_counter.admin_granted, 0, 0
   where v_counter.admin_granted > 0
  union all
  select null, false, 0::smallint, '-infinity', null, 0, 0, -v_uncovered
   where v_uncovered > 0;
end
$$;
comment on function tokenbook.grants_at_opening is
  'What each grant from before the books opened with, and what it should have had left by the recorded use.';

-- from supabase/schemas/90_audit/keep_acknowledgements.sql

/*
 * The second line behind the privileges, as keep_ledger_append_only: an acknowledgement is not rewritten, not even
 * by accident and by the owner.
 */
create trigger acknowledged_findings_keep_append_only
  before update or delete or truncate on tokenbook.acknowledged_findings
  for each statement execute function tokenbook.keep_ledger_append_only();

-- from supabase/schemas/90_audit/last_repair.sql

/*
 * The entry at which a user's balance was last taken as right; what was before it is settled. The latest of:
 * the opening balance (which is checked itself); a restatement; an admin's grant or deduction whose reason begins
 * with `reconciliation`, whole or not; and one, whatever its reason, that closed what was off
 * (tokenbook.live_difference).
 * Caller: internal.   Returns no entry (all NULL) when the books began empty and nothing was repaired.
 */
create function tokenbook.last_repair(p_user_id uuid, p_now timestamptz)
returns public.token_transactions
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_opening public.token_transactions;
  v_base public.token_transactions;
  v_differences jsonb;
  v_settled_id bigint;
begin
  select t.* into v_base
    from public.token_transactions t
   where t.user_id = p_user_id
     and (t.entry_type in ('opening_balance', 'restatement')
          or (t.action_type in ('admin_grant', 'admin_deduct') and t.reason ~* '^[[:space:]]*reconciliation'))
   order by t.id desc
   limit 1;
  if exists (
    select from public.token_transactions t
     where t.user_id = p_user_id and t.id > coalesce(v_base.id, 0) and t.action_type in ('admin_grant', 'admin_deduct'))
  then
    select t.* into v_opening
      from public.token_transactions t
     where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
    select jsonb_agg(jsonb_build_object(
             'at', greatest(d.created_at, v_opening.created_at), 'tokens', d.tokens, 'grant_id', d.grant_id))
      into v_differences
      from tokenbook.token_differences(p_user_id, v_opening, v_base) d
     where not d.is_settled and d.tokens <> 0;
    if v_differences is not null then
      v_settled_id := (tokenbook.live_difference(p_user_id, v_differences, p_now)).settled_id;
      if v_settled_id is not null then
        select t.* into v_base from public.token_transactions t where t.user_id = p_user_id and t.id = v_settled_id;
      end if;
    end if;
  end if;
  return v_base;
end
$$;
comment on function tokenbook.last_repair is
  'The entry at which a user''s balance was last taken as right: the opening, a restatement, or a repair.';

-- from supabase/schemas/90_audit/list_token_changes.sql

/*
 * What admins and the server changed beside the ledger, newest first: who, what, why, about whom.
 * Caller: an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_page.
 */
-- Security definer: nobody may read the table themselves.
create function tokenbook.list_token_changes(
  p_user_id uuid default null,
  p_limit integer default 50,
  p_before bigint default null
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes tokenbook.changes[];
begin
  perform tokenbook.authorize_operator();
  if p_limit is null or p_limit not between 1 and 200 then
    perform tokenbook.refuse('invalid_page', '{"field": "p_limit", "rule": "1 to 200"}');
  end if;
  v_changes := array(
    select c from tokenbook.changes c
     where (p_user_id is null or c.user_id = p_user_id)
       and c.id < coalesce(p_before, 9223372036854775807)
     order by c.id desc
     limit p_limit + 1);
  return jsonb_build_object(
    'changes', to_jsonb(v_changes[:p_limit]),
    'next_before', case when cardinality(v_changes) > p_limit then v_changes[p_limit].id end);
end
$$;
comment on function tokenbook.list_token_changes is
  'What admins and the server changed beside the ledger, newest first: states of accounts, caps, alert rules, teams, payments, top-ups; about one user, or (p_user_id left out) about everyone and the project. For an admin or the server. p_limit 1 to 200; p_before the next_before of the page before. Returns {changes: [{id, user_id, change (the function), actor_role, actor_id, reason, details, created_at}], next_before (NULL on the last page)}. Errors: invalid_page, forbidden.';

-- from supabase/schemas/90_audit/live_difference.sql

/*
 * What is left today of what the books have too much of (negative: too little). A difference runs out with the
 * grant that it sits in, and moves on when that grant is spent. So what has happened since the first of them is
 * gone through once more, as it would have been without them: every deduction from what was first then, in the
 * burn order of that moment. What the books have now, less what they would have, is the answer.
 *
 * An admin's grant or deduction that makes what is off at that moment smaller is a repair of it, as far as it does:
 * it moves the books towards the records, and is no grant and no deduction of its own. One whose reason begins with
 * `goodwill` never is. `repaired` is what was repaired without closing it, `settled_id` the last entry that closed it,
 * which settles whatever was before it.
 *
 * p_differences: [{at, tokens, grant_id}]. What sits in a grant counts there first. Without one, too much is use
 * that what was next in burn order would have paid for, or else the first that came in; too little is a grant
 * that was never booked, which stays what it is.
 * Caller: internal.   Keeps: I8.
 */
create function tokenbook.live_difference(
  p_user_id uuid,
  p_differences jsonb,
  p_now timestamptz,
  out off bigint,
  out repaired bigint,
  out settled_id bigint
)
returns record
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz := (select min((d ->> 'at')::timestamptz) from jsonb_array_elements(p_differences) d);
  -- the user's grants, each at its place first in, first out
  v_ids uuid[];
  v_granted bigint[];
  v_ends timestamptz[]; -- 'infinity': never
  v_by_expiry integer[]; -- the places in the other order
  v_left bigint[]; -- what each would have
  v_has bigint[]; -- what each has in the books
  v_uncovered bigint := 0; -- what no grant would have paid for
  v_head integer := 1; -- what comes before it has nothing left
  v_was_expiring_first boolean;
  v_event record;
  v_needed bigint;
  v_repair bigint;
  v_part bigint;
  v_nth integer;
  v_place integer;
begin
  select array_agg(g.id order by g.nth), array_agg(g.tokens_granted order by g.nth),
         array_agg(coalesce(g.expires_at, 'infinity') order by g.nth),
         array_agg(g.nth order by tokenbook.burn_key(g.priority, g.granted_at, g.granted_until, g.id, true)),
         array_agg(coalesce(booked.tokens, 0) order by g.nth)
    into v_ids, v_granted, v_ends, v_by_expiry, v_left
    from (
      select b.*, tokenbook.expiry_as_granted(b) as granted_until, (row_number() over (
               order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false)))::integer as nth
        from public.token_balances b
       where b.user_id = p_user_id) g
    left join (
      select part.grant_id, sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from public.token_transactions t
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       where t.user_id = p_user_id and t.created_at <= v_since and t.tokens <> t.reserved_change -- a capture spends what the hold had taken
       group by part.grant_id) booked on booked.grant_id = g.id;
  v_has := v_left;
  repaired := 0;

  for v_event in
    select e.*, tokenbook.is_expiring_first_at(e.at) as is_expiring_first, b.rolled_over_from -- @order-then-in-force
      from (
        select t.created_at as at, t.id, t.entry_type as kind, t.tokens - t.reserved_change as tokens,
               t.grant_ids, t.grant_tokens,
               t.entry_type in ('grant', 'deduction') and t.action_type in ('admin_grant', 'admin_deduct')
                 and (t.reason ~* '^[[:space:]]*goodwill') is not true as is_correction -- @corrections-are-repairs
          from public.token_transactions t
         where t.user_id = p_user_id and t.created_at > v_since and t.tokens <> t.reserved_change
           and t.entry_type not in ('expiry', 'void') -- whose grants have run out here too
        union all
        select (d ->> 'at')::timestamptz, null, 'difference', -(d ->> 'tokens')::bigint,
               array_remove(array[(d ->> 'grant_id')::uuid], null), array[abs((d ->> 'tokens')::bigint)], false
          from jsonb_array_elements(p_differences) d) e
      left join public.token_balances b
        on e.kind = 'rollover' and e.tokens > 0 and b.user_id = p_user_id and b.id = e.grant_ids[1]
     order by e.at, e.id -- a difference comes after the entry that it is of
  loop
    v_needed := 0;
    v_repair := 0;
    if v_event.is_correction then
      select v_uncovered + coalesce(sum(g.has - g.tokens), 0) into off
        from unnest(v_has, v_left, v_ends) as g (has, tokens, ends) where g.ends > v_event.at;
      v_repair := case when sign(off) = -sign(v_event.tokens) then least(abs(off), abs(v_event.tokens)) else 0 end;
    end if;
    if v_event.kind <> 'difference' then
      for i in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[i]);
        v_has[v_nth] := v_has[v_nth] + sign(v_event.tokens) * v_event.grant_tokens[i];
      end loop;
    end if;

    if v_repair > 0 and v_repair = abs(off) then
      v_left := v_has;
      v_uncovered := 0;
      v_head := 1;
      settled_id := v_event.id;
      repaired := 0;

    elsif v_repair > 0 then
      -- what is off is off by less, grant by grant, and then what no grant was there for
      repaired := repaired + sign(v_event.tokens) * v_repair;
      for i in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[i]);
        v_left[v_nth] := v_left[v_nth] + sign(v_event.tokens) * v_event.grant_tokens[i];
      end loop;
      for i in 1 .. cardinality(v_ids) loop
        v_part := least(greatest(sign(off) * (v_has[i] - v_left[i]), 0), v_repair);
        v_left[i] := v_left[i] + sign(off) * v_part;
        v_repair := v_repair - v_part;
        v_needed := v_needed + greatest(-v_left[i], 0);
        v_left[i] := greatest(v_left[i], 0);
      end loop;
      v_uncovered := v_uncovered - sign(off) * v_repair;
      v_head := 1;

    elsif v_event.kind = 'rollover' then
      -- out of the grant that closed, as far as it has it; the entry into the new one stands for both
      continue when v_event.tokens < 0;
      v_place := array_position(v_ids, v_event.rolled_over_from);
      v_nth := array_position(v_ids, v_event.grant_ids[1]);
      v_part := least(v_left[v_place], v_event.tokens);
      v_left[v_place] := v_left[v_place] - v_part;
      v_left[v_nth] := v_left[v_nth] + v_part;
      v_head := 1;

    elsif v_event.tokens < 0 then
      v_needed := -v_event.tokens;
      if v_event.kind not in ('deduction', 'hold') then
        for i in 1 .. cardinality(v_event.grant_ids) loop
          v_nth := array_position(v_ids, v_event.grant_ids[i]);
          v_part := least(v_left[v_nth], v_event.grant_tokens[i]);
          v_left[v_nth] := v_left[v_nth] - v_part;
          v_needed := v_needed - v_part;
        end loop;
      end if;

    else
      v_uncovered := v_uncovered - v_event.tokens;
      for i in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := array_position(v_ids, v_event.grant_ids[i]);
        v_part := least(v_event.grant_tokens[i], v_granted[v_nth] - v_left[v_nth]);
        v_left[v_nth] := v_left[v_nth] + v_part;
        v_uncovered := v_uncovered + v_part;
      end loop;
      v_head := 1;
      v_needed := greatest(v_uncovered, 0);
      v_uncovered := v_uncovered - v_needed;
    end if;

    if v_needed > 0 then
      if v_event.is_expiring_first is distinct from v_was_expiring_first then
        v_was_expiring_first := v_event.is_expiring_first;
        v_head := 1;
      end if;
      v_place := v_head;
      while v_needed > 0 and v_place <= coalesce(cardinality(v_ids), 0) loop
        v_nth := case when v_event.is_expiring_first then v_by_expiry[v_place] else v_place end;
        if v_left[v_nth] > 0 and v_ends[v_nth] > v_event.at then
          v_part := least(v_left[v_nth], v_needed);
          v_left[v_nth] := v_left[v_nth] - v_part;
          v_needed := v_needed - v_part;
        elsif v_place = v_head then
          v_head := v_head + 1;
        end if;
        v_place := v_place + 1;
      end loop;
      v_uncovered := v_uncovered + v_needed;
    end if;
  end loop;

  select v_uncovered + coalesce(sum(g.has - g.tokens), 0) into off
    from unnest(v_has, v_left, v_ends) as g (has, tokens, ends) where g.ends > p_now;
end
$$;
comment on function tokenbook.live_difference is
  'Of differences between books and trail, what has neither run out with its grant nor been repaired: what the books have less what they would have without them; and which entry repaired them.';

-- from supabase/schemas/90_audit/mend_shape.sql

/*
 * The statements that make one thing of ours again what it was declared to be, where statements can: NULL for what is
 * found in the migration that made it (the text of a function or view, a column), and for what holds somebody's rows.
 * Caller: internal (compare_shape), which says the definitions; NULL is one that there is not.
 */
create function tokenbook.mend_shape(p_kind text, p_relation text, p_name text, p_declared text, p_present text)
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_declared constant text[] := coalesce(string_to_array(p_declared, chr(10)), '{}');
  v_added constant text[] := array(
    select line from unnest(string_to_array(p_present, chr(10))) line where line <> all (v_declared));
  v_lost constant text[] := array(
    select line from unnest(v_declared) line where line <> all (coalesce(string_to_array(p_present, chr(10)), '{}')));
  v_on constant text := format('%s on %s', p_name, p_relation);
  v_table constant text := format('alter table %s ', p_relation);
  v_column constant text := format('%salter column %s ', v_table, p_name);
begin
  if p_kind = 'function' then
    if p_declared is null then
      return 'drop function ' || p_name;
    end if;
    if p_present is null or exists (select from unnest(v_added || v_lost) line where line ~ '^(in|from|to|text) ') then
      return null;
    end if;
    return concat_ws('; ',
      (select format('alter function %s owner to %s', p_name, o.owner) from unnest(v_added) line
        cross join lateral (select n.nspowner::regrole from pg_namespace n where n.nspname = 'tokenbook') o (owner)
        where line like 'owner to %'),
      (select format('alter function %s %s', p_name, string_agg(case when line like 'set %' and n = 1 then 'reset all ' || line else line end, ' ' order by is_set, n))
         from (select line, line like 'set %' as is_set, row_number() over (partition by line like 'set %' order by place) as n
                 from unnest(v_declared) with ordinality as d (line, place)
                where line ~ '^(volatile|stable|immutable|security|strict|called|set)( |$)') d
       having exists (select from unnest(v_added || v_lost) line where line not like 'owner to %')));

  elsif p_kind = 'trigger' then
    return case
      when p_declared is null then 'drop trigger ' || v_on
      when v_added <@ array['disabled', 'for replicas only'] and v_lost = '{}' then v_table || 'enable trigger ' || p_name
      else regexp_replace(p_declared, '^CREATE TRIGGER', 'create or replace trigger')
    end;
  elsif p_kind = 'policy' then
    return concat_ws('; ',
      'drop policy ' || case when p_present is not null then v_on end,
      'create policy ' || v_on || ' ' || replace(p_declared, chr(10), ' '));
  elsif p_kind = 'rule' then
    return 'drop rule ' || v_on;
  elsif p_kind = 'constraint' then
    return concat_ws('; ',
      v_table || 'drop constraint ' || case when p_present is not null then p_name end,
      v_table || 'add constraint ' || p_name || ' ' || p_declared);
  elsif p_kind = 'index' then
    return case when p_present = p_declared || chr(10) || 'not valid' then 'reindex index ' || p_name
      else concat_ws('; ', 'drop index ' || case when p_present is not null then p_name end, p_declared) end;
  elsif p_kind = 'publication' then
    return format('alter publication %s %s table %s', p_name, case when p_declared is null then 'drop' when p_present is null then 'add' else 'set' end, p_relation);

  -- what follows may hold rows: only what takes none away
  elsif p_declared is null or p_present is null then
    return null;
  elsif p_kind = 'column' then
    -- the type is the first line; how it is generated is for the migration to say
    if exists (select from unnest(v_added || v_lost) line where line <> 'not null' and line not like 'default %') then
      return null;
    end if;
    return (
      select string_agg(statement, '; ')
        from (
          select v_column || 'drop ' || case when line = 'not null' then line else 'default' end from unnest(v_added) line
           where line = 'not null' or not exists (select from unnest(v_lost) l where l like 'default %')
          union all
          select v_column || 'set ' || line from unnest(v_lost) line) s (statement));
  elsif p_kind in ('table', 'view', 'sequence') then
    return (
      select case when count(*) = count(statement) then string_agg(statement, '; ') end
        from (
          select case
                   when line = 'unlogged' then v_table || 'set logged'
                   when line like 'replica identity %' then v_table || 'replica identity default'
                   when line = 'row level security forced' then v_table || 'no force row level security'
                   when line like 'inherited by %' then format('alter table %s no inherit %s', substr(line, 14), p_relation)
                   when line like 'owner to %' then v_table || format('owner to %s', (select n.nspowner::regrole from pg_namespace n where n.nspname = 'tokenbook'))
                   when p_kind = 'view' and line ~ '^[a-z_]+=' then format('alter view %s reset (%s)', p_relation, split_part(line, '=', 1))
                 end as statement
            from unnest(v_added) line
           where not (p_kind = 'view' and split_part(line, '=', 1) in (select split_part(l, '=', 1) from unnest(v_lost) l where l ~ '^[a-z_]+='))
          union all
          select case when p_kind = 'view' and line ~ '^[a-z_]+=' then format('alter view %s set (%s)', p_relation, line) end
            from unnest(v_lost) line) s);
  end if;
  return null;
end
$$;
comment on function tokenbook.mend_shape is
  'The statements that make one thing of Tokenbook''s what it was declared to be; NULL where the migration that made it says how, and where rows could be lost.';

-- from supabase/schemas/90_audit/next_ledger_user.sql

/*
 * The first user in the ledger after that one, by the index alone: who goes through everyone like this misses
 * nobody, also not those whose account is lost, and reads one entry of each.
 * Caller: internal.   Returns NULL after the last; the first for NULL.
 */
create function tokenbook.next_ledger_user(p_after uuid)
returns uuid
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_after is null then
    return (select t.user_id from public.token_transactions t order by t.user_id, t.id limit 1);
  end if;
  return (
    select t.user_id
      from public.token_transactions t
     where (t.user_id, t.id) > (p_after, 9223372036854775807)
     order by t.user_id, t.id
     limit 1);
end
$$;
comment on function tokenbook.next_ledger_user is
  'The first user in the ledger after that one, in the order of their ids; the first of all for NULL, NULL after the last.';

-- from supabase/schemas/90_audit/reconcile.sql

/*
 * Compares the two records of a user: the books (account and ledger) and the audit trail, and for what lies
 * before the books opened the old grants and their recorded use. One snapshot; changes nothing.
 *
 * It starts from the last moment at which the balance was taken as right: nothing, when the books began
 * empty; else the opening balance, which is checked itself; else the last repair (tokenbook.last_repair). A
 * repair is somebody's decision after having looked: what was before it is settled, or each repair would be a
 * discrepancy of its own.
 * Caller: internal.   Returns the answer of public.reconcile_user_token_balance.
 */
create function tokenbook.reconcile(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_account public.token_accounts;
  v_opening public.token_transactions;
  v_base public.token_transactions;
  v_due bigint;
  v_ledger record;
  v_old record;
  v_old_grants record;
  v_corrected record;
  v_difference record;
  v_parts jsonb := '[]';
  v_all record;
  v_repaired bigint := 0; -- in part, by adjustments
  v_live bigint;
  v_off bigint := 0;
  v_remaining bigint;
  v_expected bigint;
  v_used bigint;
  v_cost numeric;
  v_counters jsonb;
  v_unrecorded bigint;
  v_findings jsonb := '[]';
  v_formula jsonb;
begin
  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  select t.* into v_opening
    from public.token_transactions t
   where t.user_id = p_user_id and t.id = 1 and t.entry_type = 'opening_balance';
  v_base := tokenbook.last_repair(p_user_id, v_now);
  select coalesce(sum(b.tokens_remaining), 0)::bigint into v_due
    from public.token_balances b
   where b.user_id = p_user_id and b.is_open and b.expires_at <= v_now;
  v_remaining := coalesce(v_account.tokens_remaining, 0) - v_due;

  -- token by token
  for v_difference in
    with differences as materialized (
      select d.*, d.cause = 'recorded_twice' as is_harmless
        from tokenbook.token_differences(p_user_id, v_opening, v_base) d
       where not d.is_settled
    )
    select d.scenario, d.is_harmless, sum(d.size)::bigint as size, count(*) as rows, min(d.created_at) as since,
           coalesce(jsonb_agg(jsonb_build_object(
             'at', greatest(d.created_at, v_opening.created_at), 'tokens', d.tokens, 'grant_id', d.grant_id))
             filter (where d.tokens <> 0), '[]') as parts,
           (array_agg(d.cause order by d.size desc, d.cause))[1] as cause,
           (array_agg(d.usage_id order by d.created_at) filter (where d.usage_id is not null))[1] as first_usage_id,
           min(d.transaction_id) as first_transaction_id
      from differences d
     group by d.scenario, d.is_harmless
     order by d.scenario, d.is_harmless
  loop
    -- with those before it: what one grant could have paid for, it could not have paid for twice
    v_parts := v_parts || v_difference.parts;
    v_live := 0;
    if v_difference.parts <> '[]' then
      v_all := tokenbook.live_difference(p_user_id, v_parts, v_now);
      v_live := v_all.off - v_off;
      v_off := v_all.off;
      v_repaired := v_all.repaired;
    end if;
    if v_live <> 0 or v_difference.is_harmless then
      v_findings := v_findings || tokenbook.describe_finding(
        v_difference.scenario, v_difference.cause,
        case when v_difference.is_harmless then v_difference.size else abs(v_live) end,
        v_live, v_difference.since,
        jsonb_strip_nulls(jsonb_build_object('rows', v_difference.rows, 'first_usage_id', v_difference.first_usage_id,
                                             'first_transaction_id', v_difference.first_transaction_id)));
    end if;
  end loop;

  -- an account that its own ledger does not agree with
  select coalesce(sum(t.tokens), 0)::bigint as tokens,
         coalesce(-sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0)::bigint as used
    into v_ledger
    from public.token_transactions t
   where t.user_id = p_user_id;
  v_live := coalesce(v_account.tokens_remaining + v_account.tokens_reserved, 0) - v_ledger.tokens;
  if v_live <> 0 then
    v_off := v_off + v_live;
    v_findings := v_findings || tokenbook.describe_finding(
      case when v_live > 0 then 'balance_higher' else 'balance_lower' end, 'account_differs_from_ledger',
      abs(v_live), v_live, null, jsonb_build_object('ledger', v_ledger.tokens));
  end if;
  v_expected := v_remaining - v_off;
  if least(v_expected, v_remaining) < 0 then
    v_findings := v_findings || tokenbook.describe_finding(
      'negative_balance', case when v_remaining < 0 then 'balance_below_zero' else 'used_more_than_was_granted' end,
      -least(v_expected, v_remaining), 0, null, '{}');
  end if;

  -- lifetime use and its cost
  select coalesce(sum(u.tokens) filter (where u.is_operation), 0)::bigint as used,
         coalesce(sum(u.tokens) filter (where not u.is_operation), 0)::bigint as deducted,
         coalesce(sum(u.cost) filter (where u.is_operation), 0) as cost,
         count(*) filter (where u.is_operation) as rows
    into v_old
    from tokenbook.usage_before_books(p_user_id, v_opening) u;
  select v_old.cost + coalesce(sum(u.cost) filter (
           where u.is_operation and (u.transaction_id is not null or v_opening.id is null or u.created_at > v_opening.created_at)), 0)
    into v_cost
    from tokenbook.audit_trail(p_user_id) u;
  select coalesce(sum(d.tokens) filter (where d.line = 'used'), 0)::bigint as all_used,
         coalesce(sum(d.tokens) filter (where d.line = 'used' and not d.is_settled), 0)::bigint as used,
         coalesce(-sum(d.tokens) filter (where d.line = 'admin_granted' and not d.is_settled), 0)::bigint as admin_granted,
         coalesce(sum(d.tokens) filter (where d.line = 'admin_deducted' and not d.is_settled), 0)::bigint as admin_deducted
    into v_corrected
    from tokenbook.token_differences(p_user_id, v_opening, v_base) d;
  v_used := v_old.used + v_ledger.used + v_corrected.all_used;

  select jsonb_build_object(
           'tokens_remaining', max(c.vibe_assistant_tokens_remaining), 'tokens_used', max(c.vibe_assistant_tokens_used),
           'total_cost', max(c.vibe_assistant_total_cost) * 100)
    into v_counters
    from tokenbook.archived_profile_counters c
   where c.user_id = p_user_id
  having count(*) > 0;
  select case when v_old.rows = 0 then (v_base.metadata ->> 'tokens_used')::bigint else max(c.unrecorded) end
    into v_unrecorded
    from tokenbook.counter_at_opening(p_user_id, v_opening) c;
  if v_base.entry_type = 'opening_balance' and v_unrecorded > 0 then
    v_findings := v_findings || tokenbook.describe_finding(
      'no_usage_records', 'a_counter_without_records', v_unrecorded, 0, null, coalesce(v_counters, '{}'));
  elsif abs(coalesce(v_account.total_cost, 0) - v_cost) >= 1 then
    v_findings := v_findings || jsonb_build_array(
      tokenbook.describe_finding('cost_mismatch', 'cost_differs_from_usage', 0, 0, null, '{}')
      || jsonb_build_object('cents', coalesce(v_account.total_cost, 0) - v_cost));
  end if;

  -- the sum, line by line
  select coalesce(sum(g.tokens_granted) filter (where g.is_booked), 0)::bigint as granted,
         coalesce(sum(g.tokens_granted) filter (where not g.is_booked), 0)::bigint as admin_granted
    into v_old_grants
    from tokenbook.grants_at_opening(p_user_id, v_opening) g
   where v_base.entry_type = 'opening_balance';
  select jsonb_build_object(
           'since', case when v_base.id is null then 'the beginning' when v_base.entry_type = 'opening_balance' then 'before the books'
                         else 'repair ' || v_base.id end,
           -- with what was set aside, which balance_after leaves out
           'start', case when v_base.entry_type <> 'opening_balance' then (
             select sum(b.tokens) from public.token_transactions b
              where b.user_id = p_user_id and b.id <= v_base.id) else 0 end,
           'granted', v_old_grants.granted
             + coalesce(sum(t.tokens) filter (where t.entry_type = 'grant' and t.action_type <> 'admin_grant'), 0),
           'admin_granted', v_old_grants.admin_granted + v_corrected.admin_granted
             + coalesce(sum(t.tokens) filter (where t.action_type = 'admin_grant'), 0) - greatest(v_repaired, 0),
           'tokens_used', v_corrected.used
             + case when v_base.entry_type = 'opening_balance' then v_old.used else 0 end
             - coalesce(sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund') and t.action_type <> 'admin_deduct'), 0),
           'admin_deducted', v_corrected.admin_deducted
             + case when v_base.entry_type = 'opening_balance' then v_old.deducted else 0 end
             - coalesce(sum(t.tokens) filter (where t.action_type = 'admin_deduct'), 0) + least(v_repaired, 0),
           'clawed_back', -coalesce(sum(t.tokens) filter (where t.entry_type in ('clawback', 'restoration', 'debt_repayment')), 0),
           'other', coalesce(sum(t.tokens) filter (
             where t.entry_type not in ('grant', 'deduction', 'refund', 'expiry', 'clawback', 'restoration', 'debt_repayment')), 0),
           'reserved', coalesce(v_account.tokens_reserved, 0))
    into v_formula
    from public.token_transactions t
   where t.user_id = p_user_id and t.id > coalesce(v_base.id, 0);
  v_formula := v_formula || jsonb_build_object('expired',
    (v_formula ->> 'start')::bigint + (v_formula ->> 'granted')::bigint + (v_formula ->> 'admin_granted')::bigint
    - (v_formula ->> 'tokens_used')::bigint - (v_formula ->> 'admin_deducted')::bigint - (v_formula ->> 'clawed_back')::bigint
    + (v_formula ->> 'other')::bigint - (v_formula ->> 'reserved')::bigint - v_expected);

  return jsonb_build_object(
    'user_id', p_user_id,
    'current_remaining', v_remaining,
    'current_used', coalesce(v_account.tokens_used, 0),
    'current_cost', coalesce(v_account.total_cost, 0),
    'calculated_used', v_used,
    'calculated_cost', v_cost,
    'expected_remaining', v_expected,
    'remaining_difference', v_off,
    'used_difference', coalesce(v_account.tokens_used, 0) - v_used,
    'cost_difference', coalesce(v_account.total_cost, 0) - v_cost,
    'since', (select min((f ->> 'since')::timestamptz) from jsonb_array_elements(v_findings) f),
    'formula', v_formula,
    'counters_before_the_books', v_counters,
    'last_transaction_id', coalesce(v_account.last_transaction_id, 0),
    'findings', v_findings);
end
$$;
comment on function tokenbook.reconcile is 'Compares a user''s books with his audit trail; the answer of public.reconcile_user_token_balance.';

-- from supabase/schemas/90_audit/reconcile_user_token_balance.sql

/*
 * Whether a user's balance is what the records say it should be, and if not, since when, by how much, and
 * which of the known scenarios it is. See docs/guides/reconciliation.md.
 * Caller: an admin, service_role.   Locks: nothing.
 * Returns {user_id, current_remaining, current_used, current_cost, calculated_used, calculated_cost,
 * expected_remaining, remaining_difference, used_difference, cost_difference, since, formula,
 * counters_before_the_books, last_transaction_id, findings: [{scenario, cause, tokens, off, is_repairable,
 * since, advice, evidence, cents?}]}; costs in cents; differences positive where the books have more.
 * Errors: not_authenticated, forbidden, invalid_user_id, user_not_found.
 */
-- Security definer: nobody may write the tables himself, and an admin reads other users' rows.
create function tokenbook.reconcile_user_token_balance(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize(p_user_id, p_self_may => false);
  perform tokenbook.require_user(p_user_id, 'service');
  return tokenbook.reconcile(p_user_id);
end
$$;
comment on function tokenbook.reconcile_user_token_balance is
  'Compares a user''s books with his audit trail (token_usage), and what lies before the books with the old records. For an admin or the server. Returns {user_id, current_remaining, current_used, current_cost (cents), calculated_used, calculated_cost, expected_remaining, remaining_difference, used_difference, cost_difference (positive: the books have more), since, formula (the lines of expected_remaining: start + granted + admin_granted - tokens_used - admin_deducted - expired - clawed_back + other - reserved), counters_before_the_books, last_transaction_id, findings: [{scenario, cause, tokens, off, is_repairable, since, advice, evidence, cents (of cost_mismatch)}]}. scenario is balance_higher, balance_lower, cost_mismatch, no_usage_records, negative_balance, failed_operations_counted or duplicate_usage. An admin''s grant or deduction repairs what is off at that moment as far as it makes it smaller (never with a reason that begins with "goodwill"); one that closes it, or whose reason begins with "reconciliation", settles what was before it. Errors: invalid_user_id, user_not_found, not_authenticated, forbidden.';

-- from supabase/schemas/90_audit/recorded_grant_actions.sql

/*
 * The names that grants have in what was recorded, before the books and since: those of the ledger, and
 * the one that packs had before.
 * Caller: internal.
 */
create function tokenbook.recorded_grant_actions()
returns text[]
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.grant_action_types() || 'pack_purchase'::text;
end
$$;
comment on function tokenbook.recorded_grant_actions is
  'The names that grants have in what was recorded, before the books and since.';

-- from supabase/schemas/90_audit/replay.sql

/*
 * What each grant would have now if every deduction had been spread over the grants exactly: in burn
 * order, and over what had not run out at that moment. One ordered stream of everything that
 * happened, one user after the other, his grants in arrays; no query per user.
 *
 * Before the books opened: grants that came from an old transaction begin whole, and the old
 * deductions are spread over them. A grant of unknown history (the app made it, beside its
 * transactions) takes part with what it is known to have paid, and opens with what the opening
 * balance says it had. So does every grant of a user whose counter had more than all of them
 * (tokenbook.grants_at_opening); no old deduction is spread over those.
 * Since then, the ledger: deductions and holds are spread anew; what is given back goes to where the
 * replay took it from; a clawback and a repaid debt take from the grants they name, then in burn
 * order; what was carried over comes out of the grant that closed, as far as it has it. A restatement changes what is stored, never what is exact: so nothing is left to restate
 * after one, and all of it is there again after its reversal. A repair by reconciliation is somebody's
 * decision and settles what was before it: from there on, what was stored then is exact.
 *
 * Where rows were lost, it goes by what is there: grants without an account are replayed, a grant that is
 * gone pays nothing, and who has neither account nor grants is left out.
 *
 * What has run out by p_now counts on neither side, booked or not. What found no grant to pay it is
 * uncovered: one row more for that user, without a grant.
 * For one user, for everyone, or for the users after p_after up to p_until.
 * Caller: internal.   Locks: nothing; one snapshot.   Keeps: I8.
 */
create function tokenbook.replay(
  p_user_id uuid,
  p_after uuid,
  p_until uuid,
  p_now timestamptz
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set work_mem = '64MB' -- the stream is sorted once
as $$
declare
  -- rows of the old project with these names are grants, whatever their sign
  c_grants constant text[] := tokenbook.recorded_grant_actions();
  v_order_since timestamptz[];
  v_order_names text[];
  v_event record;
  v_user_id uuid; -- whose begin it was
  -- the user's grants, each at its place in burn order
  v_ids uuid[];
  v_types text[];
  v_granted bigint[];
  v_granted_at timestamptz[];
  v_expires_at timestamptz[]; -- 'infinity': never
  v_stored bigint[];
  v_opening bigint[];
  v_settled bigint[]; -- what was stored after the last repair, which is this transaction
  v_settled_id bigint;
  v_left bigint[]; -- NULL: not granted yet; a grant that is gone has the place behind the last
  v_count integer;
  v_order integer[]; -- the places in the other burn order, while that is in force
  v_by_expiry integer[];
  v_head integer; -- what comes before it has nothing left
  v_uncovered bigint;
  v_moved jsonb; -- what was not taken as the ledger says, by transaction or hold: {of, ids, tokens}
  -- of one event
  v_needed bigint;
  v_nth integer;
  v_place integer;
  v_part bigint;
  v_part_ids uuid[];
  v_part_tokens bigint[];
  v_key text;
  v_of bigint;
  v_homeless bigint;
begin
  select array_agg(o.since order by o.since), array_agg(o.burn_order order by o.since)
    into v_order_since, v_order_names
    from tokenbook.burn_orders o;

  for v_event in
    with accounts as (
      select a.user_id from public.token_accounts a
       where (p_user_id is null or a.user_id = p_user_id)
         and (p_after is null or a.user_id > p_after)
         and (p_until is null or a.user_id <= p_until)
      union
      select b.user_id from public.token_balances b
       where (p_user_id is null or b.user_id = p_user_id)
         and (p_after is null or b.user_id > p_after)
         and (p_until is null or b.user_id <= p_until)
    ), ledger as not materialized (
      select t.*
        from public.token_transactions t
       where (p_user_id is null or t.user_id = p_user_id)
         and (p_after is null or t.user_id > p_after)
         and (p_until is null or t.user_id <= p_until)
    ), openings as (
      select t.user_id, t.grant_ids, t.grant_tokens, t.created_at
        from ledger t where t.entry_type = 'opening_balance' and t.id = 1
    ), opened as (
      select o.user_id, part.grant_id, part.tokens
        from openings o
       cross join lateral unnest(o.grant_ids, o.grant_tokens) as part (grant_id, tokens)
    ), repairs as (
      select r.user_id, max(r.id) as id
        from (
          select t.user_id, t.id
            from ledger t
           where t.action_type in ('admin_grant', 'admin_deduct') and t.reason ~* '^[[:space:]]*reconciliation'
          union all
          -- what closed a difference without saying so; only what is from before the books can be one here
          select o.user_id, (tokenbook.last_repair(o.user_id, p_now)).id
            from openings o
           where exists (
             select from ledger t
              where t.user_id = o.user_id and t.action_type in ('admin_grant', 'admin_deduct') and (t.reason ~* '^[[:space:]]*reconciliation') is not true)) r
        join ledger t on t.user_id = r.user_id and t.id = r.id and t.action_type in ('admin_grant', 'admin_deduct')
       group by r.user_id
    ), settled as (
      select t.user_id, part.grant_id,
             sum(case when t.tokens < t.reserved_change then -part.tokens else part.tokens end)::bigint as tokens
        from repairs r
        join ledger t on t.user_id = r.user_id and t.id <= r.id and t.tokens <> t.reserved_change
       cross join lateral unnest(t.grant_ids, t.grant_tokens) as part (grant_id, tokens)
       group by t.user_id, part.grant_id
    ), counted as (
      select distinct b.user_id
        from openings o
        join public.token_balances b on b.user_id = o.user_id and b.created_at <= o.created_at
       where b.metadata ->> 'source' = 'counter_beyond_grants'
    ), grants as (
      select b.*, counted.user_id is not null as is_counted, tokenbook.expiry_as_granted(b) as granted_until, o.created_at as opened_at, opened.tokens as tokens_opened, settled.tokens as tokens_settled,
             (row_number() over (
               partition by b.user_id
               order by tokenbook.burn_key(b.priority, b.granted_at, b.expires_at, b.id, false) -- @replay-oldest-first
             ))::integer as nth
        from public.token_balances b
        left join openings o on o.user_id = b.user_id and b.created_at <= o.created_at -- @old-grants-begin-whole
        left join opened on opened.user_id = o.user_id and opened.grant_id = b.id
        left join settled on settled.user_id = b.user_id and settled.grant_id = b.id
        left join counted on counted.user_id = b.user_id
       where (p_user_id is null or b.user_id = p_user_id)
         and (p_after is null or b.user_id > p_after)
         and (p_until is null or b.user_id <= p_until)
    ), queues as (
      select g.user_id,
             array_agg(g.id order by g.nth) as ids,
             array_agg(g.grant_type order by g.nth) as types,
             array_agg(g.tokens_granted order by g.nth) as granted,
             array_agg(g.granted_at order by g.nth) as granted_at,
             array_agg(coalesce(g.expires_at, 'infinity') order by g.nth) as expires_at,
             array_agg(g.tokens_remaining order by g.nth) as stored,
             array_agg(case when g.opened_at is null then null
                            when g.legacy_transaction_id is null then g.tokens_granted - coalesce(g.tokens_opened, 0)
                            else g.tokens_granted end order by g.nth) as at_first,
             array_agg(case when g.opened_at is not null and (g.legacy_transaction_id is null or g.is_counted)
                            then coalesce(g.tokens_opened, 0) end order by g.nth) as opening,
             array_agg(g.tokens_settled order by g.nth) as settled,
             array_agg(g.nth order by tokenbook.burn_key(g.priority, g.granted_at, g.granted_until, g.id, true))
               filter (where v_order_since is not null) as by_expiry
        from grants g
       group by g.user_id
    ), old_deductions as (
      select h.user_id, -h.tokens as tokens, h.created_at
        from public.token_legacy_transactions h
       where h.tokens < 0 and h.action_type <> all (c_grants)
         and not exists (select from counted c where c.user_id = h.user_id)
         and (p_user_id is null or h.user_id = p_user_id)
         and (p_after is null or h.user_id > p_after)
         and (p_until is null or h.user_id <= p_until)
      union all
      -- who has no old transactions may have a trail of usage
      select u.user_id, u.tokens_used, u.created_at
        from public.token_usage u
        join openings o on o.user_id = u.user_id and u.created_at <= o.created_at
       where u.success and u.tokens_used > 0 and u.action_type <> all (c_grants)
         and not exists (select from counted c where c.user_id = u.user_id)
         and not exists (
           select from public.token_legacy_transactions h
            where h.user_id = u.user_id and h.tokens < 0 and h.action_type <> all (c_grants))
    ), refunded as (
      select distinct t.user_id, t.original_id
        from ledger t where t.original_id is not null and t.entry_type = 'refund'
    )
    select a.user_id, 0 as stage, null::timestamptz as at, null::bigint as id, 'begin' as kind,
           null::bigint as tokens, null::boolean as is_refunded, null::uuid as hold_id, r.id as original_id,
           q.ids as grant_ids, q.at_first as grant_tokens, q.types, q.granted, q.granted_at, q.expires_at,
           q.stored, q.opening, q.settled, q.by_expiry
      from accounts a
      left join queues q on q.user_id = a.user_id
      left join repairs r on r.user_id = a.user_id
    union all
    select d.user_id, 1, d.created_at, null, 'old deduction', d.tokens, null, null, null,
           null, null, null, null, null, null, null, null, null, null
      from old_deductions d
    union all
    select t.user_id, 2, t.created_at, t.id,
           case when t.entry_type = 'deduction' and t.reserved_change <> 0 then 'capture' else t.entry_type end,
           greatest(abs(t.tokens), abs(t.reserved_change)), r.user_id is not null, t.hold_id, t.original_id,
           -- most are deductions, and what they took is only asked for when some of it comes back
           case when t.entry_type = 'rollover' then (
                  select array[b.rolled_over_from, b.id] from public.token_balances b
                   where b.user_id = t.user_id and b.id = t.grant_ids[1])
                when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_ids end,
           case when t.entry_type <> 'deduction' or r.user_id is not null then t.grant_tokens end,
           null, null, null, null, null, null, null, null
      from ledger t
      left join refunded r on r.user_id = t.user_id and r.original_id = t.id
     where t.entry_type not in ('restatement', 'expiry', 'void', 'usage') -- @replay-knows-releases
       and (t.entry_type <> 'rollover' or t.tokens > 0) -- the one into the new grant stands for both
    union all
    select a.user_id, 3, null, null, 'end', null, null, null, null,
           null, null, null, null, null, null, null, null, null, null
      from accounts a
    order by 1, 2, 3, 4
  loop
    v_needed := 0;
    v_key := null;

    if v_event.kind = 'begin' then
      v_user_id := v_event.user_id;
    elsif v_event.user_id is distinct from v_user_id then
      continue;
    end if;

    if v_event.id = v_settled_id then -- @repairs-settle
      v_left := v_settled;
      v_head := 1;
      v_uncovered := 0;
      v_moved := null;

    elsif v_event.kind = 'deduction' then
      v_needed := v_event.tokens;
      if v_event.is_refunded then
        v_key := v_event.id;
      end if;

    elsif v_event.kind = 'old deduction' then
      v_needed := v_event.tokens;

    elsif v_event.kind = 'grant' then
      v_nth := coalesce(array_position(v_ids, v_event.grant_ids[1]), v_count + 1);
      v_left[v_nth] := v_event.tokens;
      v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));

    elsif v_event.kind = 'begin' then
      v_ids := v_event.grant_ids;
      v_types := v_event.types;
      v_granted := v_event.granted;
      v_granted_at := v_event.granted_at;
      v_expires_at := v_event.expires_at;
      v_stored := v_event.stored;
      v_opening := v_event.opening;
      v_settled := v_event.settled;
      v_settled_id := v_event.original_id;
      v_left := v_event.grant_tokens;
      v_count := coalesce(cardinality(v_ids), 0);
      v_order := null;
      v_by_expiry := v_event.by_expiry;
      v_head := 1;
      v_uncovered := 0;
      v_moved := null;

    elsif v_event.kind = 'end' then
      return query
        select v_event.user_id, g.id, g.type, g.granted_at, nullif(g.expires_at, 'infinity'), g.granted,
               now.exact, now.stored, now.stored - now.exact, 0::bigint
          from unnest(v_ids, v_types, v_granted_at, v_expires_at, v_granted, v_left, v_stored)
               as g (id, type, granted_at, expires_at, granted, left_over, stored)
         cross join lateral (
           select case when g.expires_at > p_now then coalesce(g.left_over, 0) else 0 end as exact,
                  case when g.expires_at > p_now then g.stored else 0 end as stored) now
         where g.id is not null;
      if v_uncovered > 0 then
        return query
          select v_event.user_id, null::uuid, null::text, null::timestamptz, null::timestamptz, null::bigint,
                 0::bigint, 0::bigint, 0::bigint, v_uncovered;
      end if;

    elsif v_event.kind = 'opening_balance' then
      for v_nth in 1 .. v_count loop
        v_left[v_nth] := coalesce(v_opening[v_nth], v_left[v_nth]);
      end loop;
      v_head := 1;

    elsif v_event.kind = 'hold' then
      v_needed := v_event.tokens;
      v_key := v_event.hold_id;

    elsif v_event.kind in ('clawback', 'debt_repayment') then
      v_needed := v_event.tokens;
      for v_place in 1 .. cardinality(v_event.grant_ids) loop
        v_nth := coalesce(array_position(v_ids, v_event.grant_ids[v_place]), v_count + 1);
        v_part := least(coalesce(v_left[v_nth], 0), v_event.grant_tokens[v_place]);
        v_left[v_nth] := v_left[v_nth] - v_part;
        v_needed := v_needed - v_part;
      end loop;

    elsif v_event.kind = 'rollover' then
      -- out of the grant that closed, as far as it has it
      v_nth := coalesce(array_position(v_ids, v_event.grant_ids[1]), v_count + 1);
      v_part := least(coalesce(v_left[v_nth], 0), v_event.tokens);
      v_left[v_nth] := v_left[v_nth] - v_part;
      v_nth := coalesce(array_position(v_ids, v_event.grant_ids[2]), v_count + 1);
      v_left[v_nth] := v_part;
      v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));

    elsif v_event.kind = 'capture' then
      v_key := v_event.hold_id;
      if v_moved ? v_key then
        v_of := (v_moved -> v_key ->> 'of')::bigint;
        if v_event.is_refunded then
          v_moved := jsonb_set(v_moved, array[v_event.id::text],
                               (v_moved -> v_key) || jsonb_build_object('of', v_event.tokens));
        end if;
        if v_event.tokens = v_of then
          v_moved := v_moved - v_key;
        end if;
      end if;
      v_key := null;

    else -- release, refund, restoration: back to where it was taken from
      v_key := case v_event.kind when 'release' then v_event.hold_id::text when 'refund' then v_event.original_id::text end;
      v_part_ids := v_event.grant_ids;
      v_part_tokens := v_event.grant_tokens;
      v_homeless := 0;
      if v_moved ? v_key then
        v_of := (v_moved -> v_key ->> 'of')::bigint;
        select part.grant_ids, part.grant_tokens into v_part_ids, v_part_tokens
          from tokenbook.slice_allocations(
                 array(select jsonb_array_elements_text(v_moved -> v_key -> 'ids')::uuid),
                 array(select jsonb_array_elements_text(v_moved -> v_key -> 'tokens')::bigint),
                 v_of - v_event.tokens, v_of) as part;
        v_moved := case when v_event.kind = 'release' or v_of = v_event.tokens then v_moved - v_key
                        else jsonb_set(v_moved, array[v_key, 'of'], to_jsonb(v_of - v_event.tokens)) end;
        for v_place in 1 .. cardinality(v_part_ids) loop
          v_nth := coalesce(array_position(v_ids, v_part_ids[v_place]), v_count + 1);
          if v_expires_at[v_nth] <= v_event.at then
            v_homeless := v_homeless + v_part_tokens[v_place];
          end if;
        end loop;
        -- what this refund reissued instead of forfeiting, as far as the replay has it to give back, be it
        -- nothing: whatever names that grant later gives it nothing new
        for v_place in 1 .. cardinality(v_event.grant_ids) loop
          v_nth := coalesce(array_position(v_ids, v_event.grant_ids[v_place]), v_count + 1);
          if v_event.kind = 'refund' and v_left[v_nth] is null then -- @reissued-be-it-nothing
            v_left[v_nth] := least(v_homeless, v_event.grant_tokens[v_place]);
            v_homeless := v_homeless - v_left[v_nth];
            v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));
          end if;
        end loop;
      end if;
      for v_place in 1 .. cardinality(v_part_ids) loop
        v_nth := coalesce(array_position(v_ids, v_part_ids[v_place]), v_count + 1);
        v_left[v_nth] := least(coalesce(v_left[v_nth], 0) + v_part_tokens[v_place], v_granted[v_nth]);
        v_head := least(v_head, coalesce(array_position(v_order, v_nth), v_nth));
      end loop;
      v_key := null;
    end if;

    if v_needed > 0 then
      if v_event.stage = 2 and v_order_since is not null
        and coalesce(v_order_names[width_bucket(v_event.at, v_order_since)] = 'expiring_first', false) <> (v_order is not null)
      then
        v_order := case when v_order is null then v_by_expiry end;
        v_head := 1;
      end if;
      v_part_ids := '{}';
      v_part_tokens := '{}';
      v_place := v_head;
      while v_needed > 0 and v_place <= v_count loop
        v_nth := coalesce(v_order[v_place], v_place);
        if v_left[v_nth] > 0 and v_expires_at[v_nth] > v_event.at then -- @expired-pays-nothing
          if v_event.stage = 2 or v_granted_at[v_nth] <= v_event.at then -- @granted-before-it-pays
            v_part := least(v_left[v_nth], v_needed);
            v_left[v_nth] := v_left[v_nth] - v_part;
            v_needed := v_needed - v_part;
            if v_key is not null then
              v_part_ids := v_part_ids || v_ids[v_nth];
              v_part_tokens := v_part_tokens || v_part;
            end if;
          end if;
        elsif v_place = v_head then
          v_head := v_head + 1;
        end if;
        v_place := v_place + 1;
      end loop;
      v_uncovered := v_uncovered + v_needed;
      if v_key is not null
        and (v_part_ids, v_part_tokens) is distinct from (v_event.grant_ids, v_event.grant_tokens) -- @returned-where-taken
      then
        v_moved := coalesce(v_moved, '{}') || jsonb_build_object(v_key, jsonb_build_object(
          'of', v_event.tokens, 'ids', v_part_ids, 'tokens', v_part_tokens));
      end if;
    end if;
  end loop;
end
$$;
comment on function tokenbook.replay is
  'What each grant would have at p_now if all deductions had been spread over the grants exactly, beside what it has; and what found no grant to pay it.';

-- from supabase/schemas/90_audit/replay_token_balances.sql

/*
 * What each grant would have now if all deductions had been spread over the grants exactly (oldest
 * first, each by its own expiry at that moment), beside what it has: what the simple hotfix of 2025
 * left behind, and whether the right grants have paid since. For one user, for everyone, or for the
 * users after p_after up to p_until, so that a large database is gone through in pieces.
 * One snapshot; changes nothing. How it is done: tokenbook.replay.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.replay_token_balances(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (
  user_id uuid, grant_id uuid, grant_type text, granted_at timestamptz, expires_at timestamptz,
  tokens_granted bigint, exact bigint, stored bigint, difference bigint, uncovered bigint
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform tokenbook.authorize_operator();
  return query select * from tokenbook.replay(p_user_id, p_after, p_until, clock_timestamp());
end
$$;
comment on function tokenbook.replay_token_balances is
  'Replays past grants and past use exactly: a row for each grant with exact (what it would have now), stored (what it has) and difference (stored - exact: over-granted tokens). What has run out counts on neither side. A user whose deductions found no grant to pay them has one row more, without a grant, that says how many tokens (uncovered). For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. Changes nothing. Returns user_id, grant_id, grant_type, granted_at, expires_at, tokens_granted, exact, stored, difference, uncovered. Errors: not_authenticated, forbidden.';

-- from supabase/schemas/90_audit/report.sql

-- Lets a data migration say what it did where the CLI shows no notices.
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
comment on function tokenbook.report is
  'Raises a notice and keeps its text in tokenbook.migration_reports. For migrations only; nobody may execute it through the API.';

-- from supabase/schemas/90_audit/restate_token_balances.sql

/*
 * Brings a user's grants to what an exact replay of his history says: at most two `restatement`
 * entries, one for what is taken and one for what is given, each of which reverse_token_restatement can
 * undo. Nothing to restate is a success with 0; under a key, an entry of 0 tokens keeps the key.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}],
 * transaction_ids, tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.restate_token_balances(
  p_user_id uuid,
  p_reason text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_first public.token_transactions; -- the one with the key
  v_taken public.token_transactions;
  v_given public.token_transactions;
  v_replayed boolean := true;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(p_idempotency_key, p_reason, null);

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id); -- @restates-after-lock
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
    if p_idempotency_key is not null then
      v_account := tokenbook.lock_account(p_user_id, p_create => true);
    end if;
  end if;
  v_now := clock_timestamp();

  -- replay of the key; who took and gave kept the key with what was taken
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object('operation', 'restate', 'reason', p_reason);
  v_entry.metadata := '{}';
  v_first := tokenbook.find_replay(v_entry);
  if v_first.tokens > 0 then
    v_given := v_first;
  elsif v_first.tokens < 0 then
    v_taken := v_first;
    select t.* into v_given from public.token_transactions t
     where t.user_id = p_user_id and t.id = v_taken.id + 1
       and t.metadata = jsonb_build_object('beside', v_taken.id);
  elsif v_first.id is not null then
    null; -- there was nothing to restate
  elsif v_account.user_id is not null then
    v_replayed := false;

    -- act
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
    end if;
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.created_at := v_now;
    select array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           array_agg(r.difference order by r.granted_at, r.grant_id) filter (where r.difference > 0),
           -sum(r.difference) filter (where r.difference > 0),
           array_agg(r.grant_id order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           array_agg(-r.difference order by r.granted_at, r.grant_id) filter (where r.difference < 0),
           -sum(r.difference) filter (where r.difference < 0)
      into v_taken.grant_ids, v_taken.grant_tokens, v_taken.tokens,
           v_given.grant_ids, v_given.grant_tokens, v_given.tokens
      from tokenbook.replay(p_user_id, null, null, v_now) as r
     where r.difference <> 0;
    update public.token_balances b
       set tokens_remaining = b.tokens_remaining + restated.tokens,
           is_open = b.tokens_remaining + restated.tokens > 0
      from (
        select t.id, -t.tokens as tokens from unnest(v_taken.grant_ids, v_taken.grant_tokens) as t (id, tokens)
        union all
        select g.id, g.tokens from unnest(v_given.grant_ids, v_given.grant_tokens) as g (id, tokens)) restated
     where b.user_id = p_user_id and b.id = restated.id;
    perform tokenbook.bring_due_forward(p_user_id, (
      select min(b.expires_at) from public.token_balances b
       where b.user_id = p_user_id and b.id = any (v_given.grant_ids)));

    -- record: first what is taken, or the total could pass its limit
    if v_taken.tokens <> 0 then
      v_entry.grant_ids := v_taken.grant_ids;
      v_entry.grant_tokens := v_taken.grant_tokens;
      v_entry.tokens := v_taken.tokens;
      v_taken := tokenbook.record_transaction(v_entry);
      v_entry.idempotency_key := null;
      v_entry.metadata := jsonb_build_object('beside', v_taken.id);
    end if;
    if v_given.tokens <> 0 then
      v_entry.grant_ids := v_given.grant_ids;
      v_entry.grant_tokens := v_given.grant_tokens;
      v_entry.tokens := v_given.tokens;
      v_given := tokenbook.record_transaction(v_entry);
      perform tokenbook.settle_incoming(p_user_id, v_now);
    end if;
    v_first := case when v_taken.id is not null then v_taken else v_given end;
    if v_first.id is null and p_idempotency_key is not null then
      v_entry.entry_type := 'usage';
      v_entry.action_type := 'restating';
      v_entry.tokens := 0;
      v_entry.grant_ids := '{}';
      v_entry.grant_tokens := '{}';
      v_first := tokenbook.record_transaction(v_entry);
    end if;
  else
    v_replayed := false;
  end if;

  select a.* into v_account from public.token_accounts a where a.user_id = p_user_id;
  return jsonb_build_object(
    'success', true,
    'tokens_taken', coalesce(-v_taken.tokens, 0),
    'tokens_given', coalesce(v_given.tokens, 0),
    'restated', coalesce((
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', part.tokens) order by part.nth)
        from (
          select t.grant_id, -t.tokens as tokens, t.nth
            from unnest(v_taken.grant_ids, v_taken.grant_tokens) with ordinality as t (grant_id, tokens, nth)
          union all
          select g.grant_id, g.tokens, g.nth + 1000000
            from unnest(v_given.grant_ids, v_given.grant_tokens) with ordinality as g (grant_id, tokens, nth)) part), '[]'),
    'transaction_ids', to_jsonb(array_remove(array[v_taken.id, v_given.id], null)),
    'tokens_remaining', coalesce(
      (select t.balance_after
         from public.token_transactions t
        where t.user_id = p_user_id and t.created_at = v_first.created_at
          -- what is given stands beside what is taken, and what repaid a debt follows it at once
          and t.id between v_first.id and v_first.id + 2
        order by t.id desc
        limit 1),
      v_account.tokens_remaining, 0),
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.restate_token_balances is
  'Brings a user''s grants to what replay_token_balances says they would have, with at most two restatement entries: what is taken, and what is given. For an admin or the server. p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, tokens_taken, tokens_given, restated: [{grant_id, tokens (signed)}], transaction_ids, tokens_remaining, replayed}; nothing to restate: 0 and 0. reverse_token_restatement undoes each. Errors: invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';

-- from supabase/schemas/90_audit/reverse_token_restatement.sql

/*
 * Undoes a restatement, whole and once: the same tokens, the other way. What was taken goes back to
 * its grants (into one that has run out meanwhile it expires at once, in the ledger; what is owed is
 * repaid first). What was given is taken back, and only if all of it is still there.
 * Caller: an admin, service_role.   Locks: the account.
 * Returns {success, transaction_id, original_id, tokens (signed), restated: [{grant_id, tokens
 * (signed)}], tokens_remaining, replayed}.
 * Errors: not_authenticated, forbidden, invalid_user_id, invalid_reason, invalid_idempotency_key,
 * idempotency_key_reused, user_not_found, restatement_not_found, restatement_already_reversed,
 * restatement_spent, busy.   Keeps: I1 to I5, I7, I9, I10.
 */
-- Security definer: nobody may write the tables himself.
create function tokenbook.reverse_token_restatement(
  p_user_id uuid,
  p_transaction_id bigint,
  p_reason text,
  p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account public.token_accounts;
  v_now timestamptz;
  v_entry public.token_transactions;
  v_original public.token_transactions;
  v_reversal public.token_transactions;
  v_replayed boolean := true;
  v_there bigint;
begin
  -- validate
  select * into v_entry.actor_role, v_entry.actor_id from tokenbook.authorize(p_user_id, p_self_may => false);
  if p_reason is null then
    perform tokenbook.refuse('invalid_reason', '{"field": "p_reason", "rule": "1 to 500 characters, not all blank"}');
  end if;
  perform tokenbook.check_request(p_idempotency_key, p_reason, null);

  -- lock
  if tokenbook.settle_backlog(p_user_id) then
    return tokenbook.answer_busy();
  end if;
  v_account := tokenbook.lock_account(p_user_id);
  if v_account.user_id is null then
    perform tokenbook.require_user(p_user_id, v_entry.actor_role);
  end if;
  v_now := clock_timestamp();

  -- replay
  v_entry.user_id := p_user_id;
  v_entry.reason := p_reason;
  v_entry.idempotency_key := p_idempotency_key;
  v_entry.request := jsonb_build_object(
    'operation', 'reverse_token_restatement', 'transaction_id', p_transaction_id, 'reason', p_reason);
  v_entry.metadata := '{}';
  v_reversal := tokenbook.find_replay(v_entry);
  if v_reversal.id is null then
    v_replayed := false;

    -- act
    select t.* into v_original from public.token_transactions t
     where t.user_id = p_user_id and t.id = p_transaction_id
       and t.entry_type = 'restatement' and t.original_id is null;
    if v_original.id is null then
      perform tokenbook.refuse('restatement_not_found', '{}');
    end if;
    select t.* into v_reversal from public.token_transactions t
     where t.user_id = p_user_id and t.original_id = p_transaction_id;
    if v_reversal.id is not null then
      perform tokenbook.refuse('restatement_already_reversed', jsonb_build_object('transaction_id', v_reversal.id));
    end if;
    if v_account.next_due_at <= v_now then
      perform tokenbook.record_expiries(array[p_user_id], v_now);
    end if;
    if v_original.tokens < 0 then
      select back.grant_ids, back.grant_tokens into v_entry.grant_ids, v_entry.grant_tokens
        from tokenbook.return_tokens(p_user_id, v_original.grant_ids, v_original.grant_tokens, v_now) as back;
    else
      select sum(least(b.tokens_remaining, given.tokens)) into v_there
        from unnest(v_original.grant_ids, v_original.grant_tokens) as given (grant_id, tokens)
        join public.token_balances b on b.user_id = p_user_id and b.id = given.grant_id;
      if v_there < v_original.tokens then
        perform tokenbook.refuse('restatement_spent',
          jsonb_build_object('required', v_original.tokens, 'available', v_there));
      end if;
      update public.token_balances b
         set tokens_remaining = b.tokens_remaining - given.tokens, is_open = b.tokens_remaining > given.tokens
        from unnest(v_original.grant_ids, v_original.grant_tokens) as given (grant_id, tokens)
       where b.user_id = p_user_id and b.id = given.grant_id;
      v_entry.grant_ids := v_original.grant_ids;
      v_entry.grant_tokens := v_original.grant_tokens;
    end if;

    -- record
    v_entry.entry_type := 'restatement';
    v_entry.action_type := 'restatement';
    v_entry.tokens := -v_original.tokens;
    v_entry.original_id := v_original.id;
    v_entry.created_at := v_now;
    v_reversal := tokenbook.record_transaction(v_entry);
    if v_reversal.tokens > 0 then
      perform tokenbook.settle_incoming(p_user_id, v_now);
    end if;
  end if;

  return jsonb_build_object(
    'success', true,
    'transaction_id', v_reversal.id,
    'original_id', v_reversal.original_id,
    'tokens', v_reversal.tokens,
    'restated', (
      select jsonb_agg(jsonb_build_object('grant_id', part.grant_id, 'tokens', sign(v_reversal.tokens)::integer * part.tokens)
                       order by part.nth)
        from unnest(v_reversal.grant_ids, v_reversal.grant_tokens) with ordinality as part (grant_id, tokens, nth)),
    'tokens_remaining', (
      select t.balance_after
        from public.token_transactions t
       where t.user_id = p_user_id and t.created_at = v_reversal.created_at
         -- what came back too late and what repaid a debt follows it at once
         and t.id between v_reversal.id and v_reversal.id + cardinality(v_reversal.grant_ids) + 1
       order by t.id desc
       limit 1),
    'replayed', v_replayed);
end
$$;
comment on function tokenbook.reverse_token_restatement is
  'Undoes a restatement, whole and once. What it took goes back to its grants (into one that has run out it expires at once); what it gave is taken back if all of it is still there. For an admin or the server. p_transaction_id one of restate_token_balances'' transaction_ids; p_reason 1 to 500 characters; p_idempotency_key makes a retry safe for ever. Returns {success, transaction_id, original_id, tokens (signed), restated: [{grant_id, tokens (signed)}], tokens_remaining, replayed}. Errors: restatement_not_found, restatement_already_reversed, restatement_spent, invalid_reason, invalid_idempotency_key, idempotency_key_reused, user_not_found, forbidden, busy.';

-- from supabase/schemas/90_audit/token_differences.sql

/*
 * Where a user's ledger and his audit trail differ, a row each. `tokens` is what the books have too much of
 * (negative: too little), `grant_id` the grant that it sits in (NULL: what was next in burn order then), `line`
 * the line of the sum that it belongs to.
 * `is_settled` says that a repair came after it (tokenbook.reconcile).
 *
 * A ledger entry that no usage row belongs to is the record itself. An entry that another one undoes is
 * not compared: what was undone was somebody's decision.
 * Caller: internal.
 */
create function tokenbook.token_differences(
  p_user_id uuid,
  p_opening public.token_transactions,
  p_base public.token_transactions
)
returns table (
  scenario text, cause text, line text, tokens bigint, size bigint, grant_id uuid, is_settled boolean,
  usage_id uuid, transaction_id bigint, created_at timestamptz
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_nestloop = off -- a user with a hundred thousand rows is joined with himself
as $$
begin
  return query
  with trail as materialized (
    select u.* from tokenbook.audit_trail(p_user_id) u
  ), entries as (
    -- the entries of one operation are one charge
    select min(t.id) as id, sum(t.tokens)::bigint as tokens,
           (array_agg(t.grant_ids[cardinality(t.grant_ids)] order by t.id desc))[1] as grant_id,
           min(t.created_at) as created_at,
           min(t.id) <= coalesce(p_base.id, 0) as is_settled,
           bool_or(undone.id is not null) as is_undone
      from public.token_transactions t
      left join (
        select distinct later.original_id as id
          from public.token_transactions later
         where later.user_id = p_user_id and later.original_id is not null) undone on undone.id = t.id
     where t.user_id = p_user_id and t.entry_type in ('deduction', 'usage', 'grant')
     group by coalesce(t.usage_id::text, t.id::text)
  )
  -- the opening balance, and what the recorded use had left of it
  select case when g.opened_with > g.expected then 'balance_higher' else 'balance_lower' end,
         case
           when g.grant_id is null then 'used_more_than_was_granted'
           when not g.is_booked then 'granted_before_the_books_and_never_booked'
           when g.opened_with > g.expected then 'use_before_the_books_not_deducted'
           else 'less_than_was_granted_when_the_books_opened'
         end,
         'opening', g.opened_with - g.expected, abs(g.opened_with - g.expected),
         case when g.is_booked then g.grant_id end, false,
         null::uuid, p_opening.id,
         case when g.opened_with > g.expected then coalesce(used.first_at, p_opening.created_at) else g.granted_at end
    from tokenbook.grants_at_opening(p_user_id, p_opening) g
   cross join (select min(u.created_at) as first_at from tokenbook.usage_before_books(p_user_id, p_opening) u) used
   where p_base.entry_type = 'opening_balance' and g.opened_with <> g.expected
     -- a grant that was never booked would have run out by itself
     and (g.is_booked or (g.expires_at <= clock_timestamp()) is not true)
  union all
  -- an entry, and its usage row that says otherwise
  select case when e.tokens > u.tokens then 'balance_higher'
              when not u.success then 'failed_operations_counted'
              else 'balance_lower' end,
         case when not u.success then 'failed_and_deducted' else 'entry_differs_from_usage' end,
         case u.action_type when 'admin_grant' then 'admin_granted' when 'admin_deduct' then 'admin_deducted' else 'used' end,
         e.tokens - u.tokens, abs(e.tokens - u.tokens), e.grant_id, e.is_settled, u.usage_id, e.id, e.created_at
    from trail u
    join entries e on e.id = u.transaction_id
   where u.copy_of is null and e.tokens <> u.tokens and not e.is_undone
  union all
  -- one operation, deducted twice
  select 'duplicate_usage', 'deducted_twice', 'used', e.tokens, abs(e.tokens), e.grant_id, e.is_settled,
         u.usage_id, e.id, e.created_at
    from trail u
    join entries e on e.id = u.transaction_id
   where u.copy_of is not null and e.tokens <> 0 and not e.is_undone
  union all
  -- one operation, written down twice and deducted once: the balance is right
  select 'duplicate_usage', 'recorded_twice', 'none', 0, abs(u.tokens), null,
         coalesce(p_base.entry_type <> 'opening_balance' and u.created_at <= p_base.created_at, false),
         u.usage_id, null, u.created_at
    from trail u
   where u.copy_of is not null and u.transaction_id is null and u.tokens <> 0
  union all
  -- a usage row that nothing was booked for
  select case when u.tokens < 0 then 'balance_higher' else 'balance_lower' end,
         case when u.is_operation then 'used_and_not_deducted' else 'adjusted_and_not_booked' end,
         case when u.is_operation then 'used' when u.tokens > 0 then 'admin_granted' else 'admin_deducted' end,
         -u.tokens, abs(u.tokens), null,
         coalesce(p_base.entry_type <> 'opening_balance' and u.created_at <= p_base.created_at, false),
         u.usage_id, null, u.created_at
    from trail u
   where u.copy_of is null and u.transaction_id is null and u.tokens <> 0
     and u.created_at > coalesce(p_opening.created_at, '-infinity');
end
$$;
comment on function tokenbook.token_differences is
  'Where a user''s ledger and audit trail differ: by how many tokens, why, in which grant, and whether a repair has settled it.';

-- from supabase/schemas/90_audit/try_reconcile.sql

/*
 * What tokenbook.reconcile says of a user, or, where their records cannot even be read, a finding that
 * says so: one such user keeps the report of the others from nothing.
 * Caller: tokenbook.find_token_discrepancies.
 */
create function tokenbook.try_reconcile(p_user_id uuid)
returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return tokenbook.reconcile(p_user_id);
exception
  when data_exception or integrity_constraint_violation or sqlstate 'PT500' then -- @one-report-a-user
    return jsonb_build_object('findings', jsonb_build_array(jsonb_build_object(
      'scenario', 'unreadable', 'cause', sqlstate || ' ' || sqlerrm, 'is_repairable', false,
      'advice', 'Run verify_token_ledger for this user.')));
end
$$;
comment on function tokenbook.try_reconcile is
  'What tokenbook.reconcile says of a user, or a finding unreadable where it cannot.';

-- from supabase/schemas/90_audit/usage_before_books.sql

/*
 * The use recorded before a user's books opened: the trail's rows, and older than the first of them the
 * deductions among the old transactions. An admin's deductions are in it; tokens are positive.
 * Caller: internal.
 */
create function tokenbook.usage_before_books(p_user_id uuid, p_opening public.token_transactions)
returns table (tokens bigint, cost numeric, is_operation boolean, created_at timestamptz)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with trail as (
    select -u.tokens as tokens, u.cost, u.is_operation, u.success, u.created_at
      from tokenbook.audit_trail(p_user_id) u
     where u.created_at < p_opening.created_at and u.transaction_id is null and u.copy_of is null
       and (u.is_operation or u.action_type = 'admin_deduct')
  )
  select t.tokens, t.cost, t.is_operation, t.created_at from trail t where t.success
  union all
  select -h.tokens, 0, h.action_type <> 'admin_deduct', h.created_at
    from public.token_legacy_transactions h
   where p_opening.id is not null and h.user_id = p_user_id and h.tokens < 0
     -- the name of a grant with a negative amount is a fault of its sign, not use
     and h.action_type <> all (tokenbook.recorded_grant_actions())
     and h.created_at < coalesce((select min(t.created_at) from trail t), 'infinity') - interval '1 minute';
end
$$;
comment on function tokenbook.usage_before_books is
  'The use recorded before the books opened: the audit trail''s, and before its first row the old transactions''.';

-- from supabase/schemas/90_audit/verify_token_checkpoint.sql

/*
 * Whether the ledger still has what a checkpoint says: a row for each difference, with its user and the entries
 * among which it is. Everything is computed from the ledger's rows; what tokenbook.ledger_checkpoints has
 * only helps to say where. Entries that were added since are fine, unless they are dated back.
 * p_lines: a JSON array of the lines of a checkpoint as they were given, its first line first. A large one is gone through
 * in pieces: the first line, and those of the users after p_after up to p_until.
 * One snapshot; changes nothing.
 * Caller: an admin, service_role.   Locks: nothing.
 * Errors: not_authenticated, forbidden, invalid_checkpoint.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.verify_token_checkpoint(
  p_lines jsonb,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  c_user constant text := '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
  v_lines text[];
  v_head text[];
  v_made_at timestamptz;
  v_line text;
  v_parts text[];
  v_then tokenbook.ledger_checkpoints;
  v_now tokenbook.ledger_checkpoints;
  v_changed text;
  v_place record;
  v_users uuid[] := '{}';
begin
  perform tokenbook.authorize_operator();
  if jsonb_typeof(p_lines) = 'array' then
    v_lines := array(select l.line from jsonb_array_elements_text(p_lines) with ordinality l (line, nth) order by l.nth);
  end if;
  v_head := regexp_match(v_lines[1], '^tokenbook checkpoint 1 of (everyone|' || c_user || ') at ([0-9TZ:.-]{27})$');
  begin
    v_made_at := v_head[2]::timestamptz;
  exception
    when invalid_datetime_format or datetime_field_overflow then
      v_made_at := null;
  end;
  if v_made_at is null then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_lines", "rule": "the first line of a checkpoint, first"}');
  end if;
  if cardinality(v_lines) > 100001 then
    perform tokenbook.refuse('invalid_checkpoint', '{"field": "p_lines", "rule": "100000 users at most"}');
  end if;
  -- what was booked before the checkpoint may have been committed after it
  v_made_at := v_made_at - interval '1 hour';

  foreach v_line in array v_lines[2:] loop
    v_parts := string_to_array(v_line, ' ');
    begin
      v_then := row(v_parts[1]::uuid, v_parts[2]::bigint, decode(v_parts[3], 'hex'), decode(v_parts[4], 'hex'));
    exception
      when invalid_text_representation or numeric_value_out_of_range or invalid_parameter_value then
        v_then := null;
    end;
    -- said back it is the same, or it was no line of a checkpoint
    if (tokenbook.checkpoint_line(v_then) = v_line) is not true then
      perform tokenbook.refuse('invalid_checkpoint', jsonb_build_object(
        'field', 'p_lines', 'rule', 'lines of a checkpoint as they were given', 'line', left(v_line, 200)));
    end if;
    v_users := v_users || v_then.user_id;

    select c.* into v_now
      from tokenbook.chain_ledger(v_then.user_id, p_until => v_then.id) c -- @from-the-rows
     order by c.id desc
     limit 1;
    if v_now.id is distinct from v_then.id then
      return query select 'I6 entries are still there', v_then.user_id, null::uuid, coalesce(v_now.id, 0) + 1,
        'entries up to ' || v_then.id, coalesce('entries up to ' || v_now.id, 'none');
    else
      foreach v_changed in array array_remove(array[
        case when v_now.numbers <> v_then.numbers then 'numbers' end,
        case when v_now.words <> v_then.words then 'words' end], null)
      loop
        with now as materialized (
          select c.* from tokenbook.chain_ledger(v_then.user_id, p_until => v_then.id) c
        ), kept as (
          select c.id, case v_changed when 'numbers' then n.numbers = c.numbers else n.words = c.words end as is_same
            from tokenbook.ledger_checkpoints c
            left join now n on n.id = c.id
           where c.user_id = v_then.user_id and c.id < v_then.id and c.id % 100 = 0
        ), first as (
          select coalesce(min(k.id), v_then.id) as id from kept k where k.is_same is distinct from true
        )
        select f.id as until, coalesce((select max(k.id) from kept k where k.id < f.id), 0) + 1 as since
          into v_place from first f;
        return query select 'I6 entries are as they were: ' || v_changed, v_then.user_id, null::uuid, v_place.until,
          format('entries %s to %s as at the checkpoint', v_place.since, v_place.until), 'changed, removed or inserted';
      end loop;
    end if;

    -- the first of those that were added and are older than the checkpoint
    return query
      select 'I6 no entry is dated back', t.user_id, null::uuid, t.id, 'after ' || v_made_at, t.created_at::text
        from (select n.* from public.token_transactions n
               where n.user_id = v_then.user_id and n.id > v_then.id and n.created_at < v_made_at
               order by n.id limit 1) t;
  end loop;

  -- users of whom the checkpoint knows nothing, and who have entries from before it
  if v_head[1] = 'everyone' then
    return query
      with recursive users as (
        select tokenbook.next_ledger_user(p_after) as user_id
        union all
        select n.user_id
          from users u
         cross join lateral (select tokenbook.next_ledger_user(u.user_id) as user_id) n
         where u.user_id < coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and n.user_id is not null
      ), unknown as (
        select u.user_id from users u
         where u.user_id <= coalesce(p_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        except select unnest(v_users)
      )
      select 'I6 no entry is dated back', u.user_id, null::uuid, t.id, 'after ' || v_made_at, t.created_at::text
        from unknown u
       cross join lateral (
         select n.id, n.created_at from public.token_transactions n where n.user_id = u.user_id order by n.id limit 1) t
       where t.created_at < v_made_at; -- @users-in-no-line
  end if;
end
$$;
comment on function tokenbook.verify_token_checkpoint is
  'Whether the ledger still has what a checkpoint says. For an admin or the server. p_lines: a JSON array of the lines of checkpoint_token_ledger as they were given, at most 100,001; for a large one in pieces its first line and those of the users after p_after up to p_until. Recomputes everything from the ledger''s rows and changes nothing; entries that were added since are fine. A row for each difference, none when there is none, in the columns of verify_token_ledger: invariant, user_id, grant_id (NULL), transaction_id (the last of the entries among which it is), expected, found. Errors: not_authenticated, forbidden, invalid_checkpoint.';

-- from supabase/schemas/90_audit/verify_token_ledger.sql

/*
 * Whether the books are right: a row for each breach, and no row when there is none. For one user, for
 * everyone, or for the users after p_after up to p_until, so that a large database is gone through in
 * pieces and a run that was stopped goes on where it was.
 * All of it sees one snapshot, so it runs while the system is used without false alarms. What is compared:
 * tokenbook.find_breaches. Where a row holds what cannot even be read, that is the finding about its user, and the
 * others are looked at one by one.
 * Caller: an admin, service_role.   Locks: nothing.   Errors: not_authenticated, forbidden.
 */
-- Security definer: an admin reads other users' rows.
create function tokenbook.verify_token_ledger(
  p_user_id uuid default null,
  p_after uuid default null,
  p_until uuid default null
)
returns table (invariant text, user_id uuid, grant_id uuid, transaction_id bigint, expected text, found text)
language plpgsql
stable -- one snapshot for all that it asks
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user_id uuid;
begin
  perform tokenbook.authorize_operator();
  begin
    return query select b.* from tokenbook.find_breaches(p_user_id, p_after, p_until) b;
    return;
  exception
    when data_exception then -- @unreadable-users-apart
      null; -- it gives its rows when it has them all: none has been given
  end;
  for v_user_id in
    select a.user_id from public.token_accounts a
     where p_user_id is null and (p_after is null or a.user_id > p_after) and (p_until is null or a.user_id <= p_until)
    union
    select b.user_id from public.token_balances b
     where p_user_id is null and (p_after is null or b.user_id > p_after) and (p_until is null or b.user_id <= p_until)
    union
    select p_user_id where p_user_id is not null
     order by 1
  loop
    begin
      return query select b.* from tokenbook.find_breaches(v_user_id, null, null) b;
    exception
      when data_exception then
        return query select 'I3 the books can be read', v_user_id, null::uuid, null::bigint, 'values that are what they are to be', sqlerrm;
    end;
  end loop;
end
$$;
comment on function tokenbook.verify_token_ledger is
  'Whether the books are right: a row for each breach of an invariant, no row when there is none. For an admin or the server. For one user (p_user_id), for everyone, or for the users after p_after up to p_until. One snapshot: no false alarms while the system is used. Returns invariant, user_id, grant_id, transaction_id, expected, found. Errors: not_authenticated, forbidden.';

-- from supabase/schemas/95_privileges.sql

/*
 * Who may do what: the whole matrix. Nothing is inherited from default privileges, which differ
 * between projects; everything of ours is taken away first, then given by name. Nothing here names
 * an object of the project that Tokenbook is installed into.
 *
 * "Self" and "admins" below are decided in tokenbook.authorize: a signed-in user may act for
 * themselves, an admin for anyone. No role writes a table except through the functions.
 */
select tokenbook.withdraw_rights('schema', 'tokenbook'::regnamespace);
select tokenbook.withdraw_rights(case c.relkind when 'S' then 'sequence' else 'table' end, c.oid)
  from pg_class c where c.relnamespace = 'tokenbook'::regnamespace and c.relkind in ('r', 'p', 'v', 'S');
select tokenbook.withdraw_rights('function', p.oid)
  from pg_proc p where p.pronamespace = 'tokenbook'::regnamespace;
grant usage on schema tokenbook to authenticated, service_role;

-- Tables and views in public: signed-in users read the rows that the policies give them, the server
-- reads all, nobody writes.
do $$
declare
  c_relations constant text[] := array[
    'token_accounts', 'token_balances', 'token_transactions', 'token_legacy_transactions',
    'token_usage', 'token_usage_history', 'token_counters', 'token_model_prices', 'token_action_costs',
    'token_holds',
    'token_plans', 'token_packs', 'token_price_ids', 'token_subscriptions', 'token_storage_quotas',
    'token_payments',
    'token_alerts', 'token_alert_rules', 'token_top_ups', 'token_top_up_requests',
    'token_spend_caps', 'token_default_spend_caps', 'token_team_members'];
  v_relation text;
begin
  foreach v_relation in array c_relations loop
    perform tokenbook.withdraw_rights('table', format('public.%I', v_relation)::regclass);
    execute format('grant select on table public.%I to authenticated, service_role', v_relation);
  end loop;
  execute format( -- for whoever asks what is ours
    'create or replace function tokenbook.own_relations() returns text[] language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L::text[]; end $body$', c_relations);
  perform tokenbook.withdraw_rights('function', 'tokenbook.own_relations()'::regprocedure);
end
$$;
grant select on table public.token_plans, public.token_packs to anon; -- the price list

-- What token_subscriptions, a view, reads with its caller's rights; no client can name it.
grant select on table tokenbook.subscriptions to authenticated, service_role;
grant execute on function
    tokenbook.subscription_at(tokenbook.subscriptions, timestamptz), tokenbook.plan_ends_at(tokenbook.subscriptions),
    tokenbook.plan_beside(tokenbook.subscriptions), tokenbook.is_kept_beside(tokenbook.subscriptions, timestamptz),
    tokenbook.grace_of(public.token_plans), tokenbook.period_end(text, timestamptz),
    tokenbook.plan_schedule(public.token_plans), tokenbook.next_slot_at(tokenbook.subscriptions, timestamptz),
    tokenbook.newest_slot_at(tokenbook.subscriptions, timestamptz),
    tokenbook.slot_start(jsonb, timestamptz, integer), tokenbook.slot_number(jsonb, timestamptz, timestamptz),
    tokenbook.slot_tokens_due(uuid),
    tokenbook.is_storage_in_force(public.token_storage_quotas)
  to authenticated, service_role;

-- Computed fields: whoever may read the row may read them.
select tokenbook.withdraw_rights('function', 'public.tokens_used(public.token_transactions)'::regprocedure);
select tokenbook.withdraw_rights('function', 'public.token_offer_now(public.token_payments)'::regprocedure);
grant execute on function public.tokens_used(public.token_transactions) to authenticated, service_role;
grant execute on function public.token_offer_now(public.token_payments) to authenticated, service_role;

-- Functions.
do $$
declare
  -- a user for themselves, an admin for anyone, the server
  c_for_self constant text[] := array[
    'get_user_token_balance', 'get_token_history', 'get_token_balance_as_of',
    'deduct_tokens_with_fifo',
    'track_token_usage', 'estimate_tokens', 'explain_token_charge',
    'reserve_tokens', 'capture_tokens', 'release_tokens',
    'get_user_storage_quota', 'check_token_trial', 'create_token_payment',
    'set_token_top_up', 'prepare_token_checkout', 'get_token_customer',
    'get_token_spend_caps', 'list_token_team_members'];
  c_for_admins constant text[] := array[
    'grant_tokens', 'adjust_tokens', 'void_token_grant', 'refund_tokens',
    'set_token_account_state', 'list_token_changes',
    'set_token_plan', 'set_token_pack',
    'change_token_plan', 'renew_token_subscription',
    'approve_token_payment', 'reject_token_payment', 'refund_token_payment',
    'list_parked_token_payments', 'assign_parked_token_payment', 'dismiss_parked_token_payment',
    'set_token_customer',
    'set_token_alert_rule', 'remove_token_alert_rule', 'retry_token_alerts', 'settle_token_top_up',
    'set_token_spend_cap', 'add_token_team_member', 'remove_token_team_member',
    'verify_token_ledger', 'acknowledge_token_finding', 'checkpoint_token_ledger', 'verify_token_checkpoint',
    'reconcile_user_token_balance', 'find_token_discrepancies',
    'replay_token_balances', 'restate_token_balances', 'reverse_token_restatement',
    'check_token_synchronization', 'get_recent_token_usage', 'get_users_with_high_token_usage',
    'get_users_with_low_token_balance', 'get_users_without_token_balance'];
  c_for_server constant text[] := array[
    'deduct_tokens_batch', 'expire_old_token_grants', 'set_token_burn_order', 'set_token_limit',
    'set_token_trial_policy',
    'record_token_payment_event', 'record_token_subscription_event',
    'arm_token_alerts', 'claim_token_alerts', 'settle_token_alert', 'claim_token_top_ups',
    'check_token_installation'];
begin
  perform tokenbook.expose(f, 'authenticated', 'service_role') from unnest(c_for_self || c_for_admins) f;
  perform tokenbook.expose(f, 'service_role') from unnest(c_for_server) f;
  execute format( -- for whoever asks what is ours
    'create or replace function tokenbook.own_functions() returns text[] language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L::text[]; end $body$',
    c_for_self || c_for_admins || c_for_server || array['tokens_used', 'token_offer_now']);
  perform tokenbook.withdraw_rights('function', 'tokenbook.own_functions()'::regprocedure);
end
$$;

/*
 * What has been given above, as a function: check_token_installation compares with it what is given now. Taken from
 * the catalogue, so that nothing is written twice; a function and not rows, so that a dump of the schema alone has it.
 */
do $$
begin
  execute format(
    'create or replace function tokenbook.declared_rights() returns jsonb language plpgsql immutable security invoker '
    'set search_path = pg_catalog, pg_temp as $body$ begin return %L; end $body$',
    (select jsonb_agg(to_jsonb(r) order by r.kind, r.object, r.grantee, r.privilege) from tokenbook.present_rights() r));
end
$$;
comment on function tokenbook.declared_rights is
  'The rights that 95_privileges.sql gave, as tokenbook.present_rights said them then: [{kind, object, grantee, privilege}].';
comment on function tokenbook.own_relations is 'The tables and views of Tokenbook in public, by name.';
comment on function tokenbook.own_functions is 'The functions of Tokenbook in public, by name.';
select tokenbook.withdraw_rights('function', 'tokenbook.declared_rights()'::regprocedure);

-- from supabase/schemas/96_realtime.sql

/*
 * Lets a signed-in user watch his own account row (row level security applies) for a live balance.
 */
do $$
begin
  if exists (select from pg_publication p where p.pubname = 'supabase_realtime' and not p.puballtables)
    and not exists (
      select from pg_publication_tables t
       where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'token_accounts')
  then
    alter publication supabase_realtime add table public.token_accounts;
  end if;
end
$$;

-- from supabase/schemas/96_shape.sql

/*
 * Everything of ours as it has been made, as a function: check_token_installation compares with it what is there later.
 * As with the rights (95_privileges.sql) it is taken from the catalogue, and a dump of the schema has it. A release
 * that changes anything of ours makes it anew at its end.
 */
do $$
begin
  execute format(
    'create or replace function tokenbook.declared_shape() returns table (kind text, relation text, name text, definition text) '
    'language plpgsql immutable security invoker set search_path = pg_catalog, pg_temp as %L',
    format('begin return query values %s; end',
      (select string_agg(format('(%L, %L, %L, %L)', s.kind, s.relation, s.name, s.definition), ', '
                         order by s.kind collate "C", s.relation collate "C", s.name collate "C")
         from tokenbook.present_shape() s)));
end
$$;
comment on function tokenbook.declared_shape is
  'What is Tokenbook''s, as tokenbook.present_shape said it when it was made: kind, relation, name, definition.';
select tokenbook.withdraw_rights('function', 'tokenbook.declared_shape()'::regprocedure);
