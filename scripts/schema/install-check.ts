/**
 * What stands at the head of the generated migration: it looks for everything in a project that the
 * install would meet, and refuses with one readable list before anything is changed.
 */

/** Names that the schema files make outside of schema `tokenbook`. */
export interface OwnNames {
  /** Tables, views, indexes and keys in `public`: relations share one space of names. */
  readonly relations: string[];
  /** Functions in `public`, by name: an overload beside ours would be called instead of it. */
  readonly functions: string[];
}

/** The names that these schema files make in `public`. */
export function ownNames(sources: readonly string[]): OwnNames {
  const all = sources.join("\n").replace(/\/\*[^]*?\*\//g, "");
  const names = (pattern: RegExp) => [...all.matchAll(pattern)].map((match) => match[1]!);
  const tables = [...all.matchAll(/^create table (?:if not exists )?public\.(\w+) \(([^]*?)^\)/gm)];
  const relations = [
    ...tables.flatMap(([, table, body]) => [
      table!,
      ...(/^ {2}\w+ \w+ primary key/m.test(body!) ? [`${table}_pkey`] : []),
      ...[...body!.matchAll(/^ {2}(\w+) .* unique\b(?! nulls)/gm)].map(
        ([, column]) => `${table}_${column}_key`,
      ),
      ...[...body!.matchAll(/constraint (\w+) (?:primary key|unique)/g)].map(([, name]) => name!),
    ]),
    ...names(/^create view public\.(\w+)/gm),
    ...[...all.matchAll(/^create (?:unique )?index (\w+)\s+on public\./gm)].map(([, name]) => name!),
  ];
  const exposed = [...all.matchAll(/c_for_\w+ constant text\[\] := array\[([^\]]*)\]/g)];
  const functions = [
    ...exposed.flatMap(([, quoted]) => [...quoted!.matchAll(/'(\w+)'/g)].map(([, name]) => name!)),
    ...names(/^create function public\.(\w+)/gm),
  ];
  return { relations: [...new Set(relations)].toSorted(), functions: [...new Set(functions)].toSorted() };
}

/**
 * The check as SQL, which changes nothing and raises when anything stands in the way: a function of the session, so
 * that what the Supabase CLI quotes beneath the list is the call and not three hundred lines. The list
 * has an entry for each thing: what it is, what uses it, and in a line of its own the statement that mends
 * it, or a comment where only a person can tell. The statements, run as they stand and in that order, rename
 * and take nothing away.
 *
 * The text of a function is rewritten only where each mention of a name is certain to be that thing: behind
 * `public.`, or behind a keyword that a table follows or before a parenthesis, where nothing else has the name.
 * A text of which one mention is not certain is left whole for a person: half rewritten, it would break.
 */
export function installCheck(sources: readonly string[]): string {
  const { relations, functions } = ownNames(sources);
  const words = /comment on schema tokenbook is\s+('(?:[^']|'')*')/.exec(sources.join("\n"))?.[1] ?? "null";
  return `-- Would this succeed here? Looks only; refuses with one list, before anything is changed -----------

-- An entry a thing, in the order in which the statements are to be run; mending begins with -- where only a person can tell.
create function pg_temp.in_the_way() returns table (
  what pg_catalog.text, used_by pg_catalog.text, run_as pg_catalog.text, mending pg_catalog.text)
language plpgsql set search_path = pg_catalog, pg_temp as $check$
declare
  c_relations constant text[] := array[
${list(relations)}];
  c_functions constant text[] := array[
${list(functions)}];
  -- what the migrations before this one make, in the project that has them, and what they say of the schema
  c_earlier constant text[] := array[
    'migration_reports', 'archived_profile_counters', 'cleared_token_balances', 'reconciled_profiles', 'report',
    'old_token_balances', 'old_token_usage', 'old_token_transactions', 'old_user_storage'];
  c_words constant text := ${words};
  v_public oid := (select oid from pg_namespace where nspname = 'public');
  v_tokenbook oid := (select oid from pg_namespace where nspname = 'tokenbook');
  v_users oid := (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'auth' and c.relname = 'users');
  v_identities oid := (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'auth' and c.relname = 'identities');
  v_not_ours text[];
  v_says_ours boolean;
  v_prefix text := 'app_';
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

  return query
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
           regexp_replace(p.prosrc, $re$('[^']*')|--[^\\n]*|/\\*(?:[^*]|\\*(?!/))*\\*/$re$, '\\1', 'g') as said,
           format('%I.%I(%s)',
                  case when p.pronamespace = v_tokenbook then v_prefix || 'tokenbook' else n.nspname end,
                  case when n.nspname = 'public' and p.proname = any (c_functions) then left(v_prefix || p.proname, 63) else p.proname end,
                  regexp_replace(oidvectortypes(p.proargtypes),
                    '\\mpublic\\.(' || coalesce((select string_agg(t.name, '|') from taken t where t.kind = 'relation'), 'tokenbook') || ')\\M',
                    'public.' || v_prefix || '\\1', 'g')) as signature
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
           (select count(*) from regexp_matches(f.said, '\\m' || t.name || '\\M', 'gi'))
             = (select count(*) from regexp_matches(regexp_replace(f.said, $re$'[^']*'$re$, ' ', 'g'), reference.pattern, 'gi'))
           -- with a dollar, or quoted in other case, it is another name
           and f.said !~* ('\\$' || t.name || '|' || t.name || '\\$')
           and (select count(*) from regexp_matches(f.said, '"' || t.name || '"', 'gi'))
             = (select count(*) from regexp_matches(f.said, '"' || t.name || '"', 'g')) as is_certain
      from text_of f
      join taken t on f.said ~* ('\\m' || t.name || '\\M')
     cross join lateral (
       select format(case t.kind when 'relation' then '(\\mpublic"?\\s*\\.\\s*%s)("?)\\m(%s)\\M\\2(?!")' else '(\\mpublic"?\\s*\\.\\s*%s)("?)\\m(%s)\\M\\2(?=\\s*\\()' end,
                     case when t.is_alone and t.name <> all (coalesce(f.proargnames, '{}')) then
                       case t.kind when 'relation' then '|\\m(?:from|join|insert\\s+into|update|only|table)\\s+' else '|(?<![.\\w"])' end end,
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
           and setting ~ '^(pgrst\\.db_extra_)?search_path='
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
    select 5, format('%s is there already', concat_ws(', ', case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end || ' ' || p.oid::regprocedure, 'which returns ' || pg_get_function_result(p.oid) || ',')),
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
                  m.signature, m.pattern, '\\1\\2' || v_prefix || '\\3\\2')
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
     where not v_says_ours and concat_ws(' ', f.said, f.settings) ~* '\\mtokenbook\\M'
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
  select w.what || coalesce(', and belongs to extension ' || extension.name, ''), used.by,
         case when not pg_has_role(w.owner, 'usage') then w.owner::regrole::text end, w.mending
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
       ) d (what)) used
   order by w.nth, w.what;
end
$check$;

create function pg_temp.refuse_if_in_the_way() returns void language plpgsql set search_path = pg_catalog, pg_temp as $check$
declare
  v_list text;
begin
  select string_agg(concat_ws(E'\\n',
           '  - ' || w.what,
           '      used by ' || w.used_by || ' (what uses it follows the new name by itself)',
           '      -- as ' || w.run_as || ':',
           '      ' || w.mending || case when w.mending like '--%' then '' else ';' end), E'\\n' order by w.nth)
    into v_list
    from pg_temp.in_the_way() with ordinality as w (what, used_by, run_as, mending, nth);
  if v_list is not null then
    raise exception E'Tokenbook cannot be installed here yet, and nothing was changed. In the way:\\n%\\n%', v_list, concat_ws(E'\\n',
      'Put the lines that end in a semicolon, in this order, into a migration of your own with a timestamp before this one; where "-- as" and a role stand above a line, that role must run it. A line that begins with -- and says what to do is for you.',
      'What cannot be seen from here has to be changed by hand as well: names in SQL that is put together at run time or scheduled, and in what the app sends itself. What was called by an old name is then called by the new one.');
  end if;
end
$check$;
select pg_temp.refuse_if_in_the_way();
drop function pg_temp.refuse_if_in_the_way(), pg_temp.in_the_way();

-- the types below are those of Postgres, whatever the project calls its own
set local search_path = pg_catalog, pg_temp;
`;
}

/** Names as lines of an SQL array. */
function list(names: readonly string[]): string {
  const lines: string[] = [];
  for (const name of names) {
    const last = lines.at(-1);
    const quoted = `'${name}'`;
    if (last !== undefined && last.length + quoted.length < 100)
      lines[lines.length - 1] = `${last} ${quoted},`;
    else lines.push(`    ${quoted},`);
  }
  return lines.join("\n").replace(/,$/, "");
}
