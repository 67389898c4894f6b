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
  const exposed = [...all.matchAll(/tokenbook\.expose\(f, [^)]*\) from unnest\(array\[([^\]]*)\]/g)];
  const functions = [
    ...exposed.flatMap(([, quoted]) => [...quoted!.matchAll(/'(\w+)'/g)].map(([, name]) => name!)),
    ...names(/^create function public\.(\w+)/gm),
  ];
  return { relations: [...new Set(relations)].toSorted(), functions: [...new Set(functions)].toSorted() };
}

/**
 * The check as SQL, which changes nothing and raises when anything stands in the way: a function of the session, so
 * that what the Supabase CLI quotes beneath the list is the call and not two hundred lines. The list
 * has an entry for each thing: what it is, what uses it, and in a line of its own the statement that mends
 * it. The statements, run as they stand and in that order, make the install possible; they rename, and take
 * nothing away.
 */
export function installCheck(sources: readonly string[]): string {
  const { relations, functions } = ownNames(sources);
  return `-- Would this succeed here? Looks only; refuses with one list, before anything is changed -----------

create function pg_temp.refuse_if_in_the_way() returns void language plpgsql set search_path = pg_catalog, pg_temp as $check$
declare
  c_relations constant text[] := array[
${list(relations)}];
  c_functions constant text[] := array[
${list(functions)}];
  -- what the migrations before this one make, in the project that has them
  c_earlier constant text[] := array[
    'migration_reports', 'archived_profile_counters', 'cleared_token_balances', 'reconciled_profiles', 'report',
    'move_legacy_grants', 'old_token_balances', 'old_token_usage', 'old_token_transactions', 'old_user_storage'];
  v_prefix text := 'app_';
  v_taken text[];
  v_list text;
begin
  if to_regclass('public.token_accounts') is not null and to_regclass('tokenbook.project_settings') is not null then
    raise exception 'Tokenbook is installed here already, and nothing was changed.';
  end if;

  -- a prefix for new names under which everything in the way is free
  while exists (
    select from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relname in (select left(v_prefix || r, 63) from unnest(c_relations) r)
    union all
    select from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.proname in (select left(v_prefix || f, 63) from unnest(c_functions) f)
    union all
    select from pg_namespace n where n.nspname = v_prefix || 'tokenbook')
  loop
    v_prefix := v_prefix || 'own_';
  end loop;
  v_taken := array(
    select c.relname::text from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relname = any (c_relations) and c.relkind not in ('i', 'I')
    union
    select p.proname::text from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.proname = any (c_functions));

  with in_the_way (nth, what, classid, objid, mending) as (
    select 1, format('PostgreSQL %s is too old: Tokenbook needs 15 or newer', current_setting('server_version')), 0::oid, 0::oid, null
     where current_setting('server_version_num')::integer < 150000
    union all
    select 2, format('role %s is missing: this is not a Supabase database', r.name), 0, 0, null
      from unnest(array['anon', 'authenticated', 'service_role']) as r (name)
     where to_regrole(r.name) is null
    union all
    select 2, format('function %s is missing: this is not a Supabase database', p.name), 0, 0, null
      from unnest(array['auth.uid()', 'auth.jwt()']) as p (name)
     where to_regprocedure(p.name) is null
    union all
    select 2, 'table auth.users is missing: this is not a Supabase database', 0, 0, null where to_regclass('auth.users') is null
    union all
    select 3, format('%s may not make a schema in this database', current_user), 0, 0,
           format('grant create on database %I to %I', current_database(), current_user)
     where not has_database_privilege(current_database(), 'create') and to_regnamespace('tokenbook') is null
    union all
    select 3, format('%s may not make tables and functions in schema public', current_user), 0, 0,
           format('grant create on schema public to %I', current_user)
     where not has_schema_privilege('public', 'create')
    union all
    select 3, format('%s may not add a trigger to auth.users, nor refer to it', current_user), 0, 0,
           format('grant select, references, trigger on auth.users to %I', current_user)
     where to_regclass('auth.users') is not null
       and not (has_table_privilege('auth.users', 'trigger') and has_table_privilege('auth.users', 'select'))
    union all
    select 3, format('publication supabase_realtime belongs to %s, and %s may not add a table to it', p.pubowner::regrole, current_user), 0, 0,
           format('alter publication supabase_realtime owner to %I', current_user)
      from pg_publication p
     where p.pubname = 'supabase_realtime' and not p.puballtables and not pg_has_role(p.pubowner, 'usage')
    union all
    select 4, format('schema tokenbook is there already, with %s of somebody else''s', o.list), 'pg_namespace'::regclass,
           to_regnamespace('tokenbook')::oid, format('alter schema tokenbook rename to %I', v_prefix || 'tokenbook')
      from (
        select case when count(*) > 5 then count(*) || ' objects'
                    else string_agg(pg_describe_object(m.classid, m.objid, 0), ', ' order by m.name) end as list
          from (
            select 'pg_class'::regclass, c.oid, c.relname from pg_class c
             where c.relnamespace = to_regnamespace('tokenbook') and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
               and not exists ( -- an identity's sequence goes with its table
                 select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i'))
            union all
            select 'pg_proc'::regclass, p.oid, p.proname from pg_proc p where p.pronamespace = to_regnamespace('tokenbook')
            union all
            select 'pg_type'::regclass, t.oid, t.typname from pg_type t
             where t.typnamespace = to_regnamespace('tokenbook') and t.typrelid = 0 and t.typcategory <> 'A'
          ) as m (classid, objid, name)
         where m.name <> all (c_earlier)) o
     where o.list is not null
    union all
    select 4, format('schema tokenbook is there already, and %s may not make anything in it', current_user), 'pg_namespace'::regclass,
           to_regnamespace('tokenbook')::oid, format('alter schema tokenbook rename to %I', v_prefix || 'tokenbook')
     where to_regnamespace('tokenbook') is not null and not has_schema_privilege('tokenbook', 'create')
       and not exists (select from pg_class c where c.relnamespace = to_regnamespace('tokenbook'))
       and not exists (select from pg_proc p where p.pronamespace = to_regnamespace('tokenbook'))
    union all
    select 5, format('%s public.%I is there already', kind.name, c.relname), 'pg_class'::regclass, c.oid,
           format('alter %s public.%I rename to %I', kind.name, c.relname, left(v_prefix || c.relname, 63))
      from pg_class c
     cross join lateral (
       select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type'
                             when 'i' then 'index' when 'I' then 'index' when 'f' then 'foreign table' else 'table' end) as kind (name)
     where c.relnamespace = 'public'::regnamespace and c.relname = any (c_relations)
    union all
    select 5, format('type public.%I is there already', t.typname), 'pg_type'::regclass, t.oid,
           format('alter %s public.%I rename to %I', case t.typtype when 'd' then 'domain' else 'type' end, t.typname,
                  left(v_prefix || t.typname, 63))
      from pg_type t
     where t.typnamespace = 'public'::regnamespace and t.typname = any (c_relations) and t.typrelid = 0
       and not exists (select from pg_type e where e.typarray = t.oid) -- an array goes with its element
    union all
    select 6, format('function %s, which returns %s, is there already', p.oid::regprocedure, pg_get_function_result(p.oid)),
           'pg_proc'::regclass, p.oid,
           format('alter routine public.%I(%s) rename to %I', p.proname, pg_get_function_identity_arguments(p.oid),
                  left(v_prefix || p.proname, 63))
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.proname = any (c_functions)
    union all
    -- what is in the text of a function does not follow a new name by itself
    select 7, format('function %s says %s', p.oid::regprocedure, said.list), 0, 0,
           format('do $do$ begin execute regexp_replace(pg_get_functiondef(%L::regprocedure), %L, %L, ''g''); end $do$',
                  format('%I.%I(%s)', n.nspname,
                         case when n.nspname = 'public' and p.proname = any (c_functions) then left(v_prefix || p.proname, 63) else p.proname end,
                         oidvectortypes(p.proargtypes)),
                  '\\m(' || said.pattern || ')\\M', v_prefix || '\\1')
      from pg_proc p
      join pg_namespace n on n.oid = p.pronamespace
     cross join lateral (
       select string_agg(t.name, ', ' order by t.name) as list, string_agg(t.name, '|' order by t.name) as pattern
         from unnest(v_taken) as t (name)
        where p.prosrc ~ ('\\m' || t.name || '\\M')) said
     where said.list is not null and p.prosqlbody is null and p.prokind <> 'a'
       and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tokenbook')
       and not exists (
         select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select 8, 'trigger tokenbook_register_user on auth.users is there already', 0, 0,
           'drop trigger tokenbook_register_user on auth.users'
     where exists (
       select from pg_trigger t
        where t.tgrelid = to_regclass('auth.users') and t.tgname = 'tokenbook_register_user')
  )
  select string_agg(concat_ws(E'\\n',
           '  - ' || w.what,
           '      used by ' || used.by || case when w.nth < 8 then ', which follow' end,
           '      ' || w.mending || ';'), E'\\n' order by w.nth, w.what)
    into v_list
    from in_the_way w
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
    raise exception E'Tokenbook cannot be installed here yet, and nothing was changed. In the way:\\n%\\n%', v_list,
      'Each line that ends in a semicolon mends what stands above it, in this order. What clients call by an old name, they then have to call by the new one.';
  end if;
end
$check$;
select pg_temp.refuse_if_in_the_way();
drop function pg_temp.refuse_if_in_the_way();
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
