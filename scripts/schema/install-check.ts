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

/** The check as SQL: one `do` block that changes nothing, and raises when anything stands in the way. */
export function installCheck(sources: readonly string[]): string {
  const { relations, functions } = ownNames(sources);
  return `-- Would this succeed here? Looks only; refuses with one list, before anything is changed -----------

do $$
declare
  c_relations constant text[] := array[
${list(relations)}];
  c_functions constant text[] := array[
${list(functions)}];
  v_list text;
begin
  select string_agg('  - ' || f.finding, E'\\n' order by f.nth, f.finding) into v_list
    from (
      select 1, format('PostgreSQL %s is too old: Tokenbook needs 15 or newer', current_setting('server_version'))
       where current_setting('server_version_num')::integer < 150000
      union all
      select 2, format('role %s is missing: this is not a Supabase database', r.name)
        from unnest(array['anon', 'authenticated', 'service_role']) as r (name)
       where to_regrole(r.name) is null
      union all
      select 2, format('%s is missing: this is not a Supabase database', p.name)
        from unnest(array['auth.uid()', 'auth.jwt()']) as p (name)
       where to_regprocedure(p.name) is null
      union all
      select 2, 'table auth.users is missing: this is not a Supabase database' where to_regclass('auth.users') is null
      union all
      select 3, format('%s may not make a schema in this database: grant create on database %I to %I',
                       current_user, current_database(), current_user)
       where not has_database_privilege(current_database(), 'create') and to_regnamespace('tokenbook') is null
      union all
      select 3, format('%s may not make tables and functions in schema public: grant create on schema public to %I',
                       current_user, current_user)
       where not has_schema_privilege('public', 'create')
      union all
      select 3, format('%s may not add a trigger to auth.users: grant trigger on auth.users to %I', current_user, current_user)
       where not has_table_privilege('auth.users', 'trigger')
      union all
      select 4, format('%s public.%I is there already: alter %s public.%I rename to …, and let what uses it follow%s',
                       kind.name, c.relname, kind.name, c.relname,
                       coalesce(' (used by ' || used.by || ')', ''))
        from pg_class c
       cross join lateral (
         select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                               when 'i' then 'index' when 'I' then 'index' when 'f' then 'foreign table' else 'table' end) as kind (name)
       cross join lateral (
         select string_agg(distinct d.what, ', ') as by
           from (
             select pg_describe_object(w.classid, w.objid, 0)
               from pg_depend w
              where w.refclassid = 'pg_class'::regclass and w.refobjid = c.oid and w.classid = 'pg_policy'::regclass
             union all
             select format('%s %s', case v.relkind when 'm' then 'materialized view' else 'view' end, v.oid::regclass)
               from pg_depend w
               join pg_rewrite r on r.oid = w.objid
               join pg_class v on v.oid = r.ev_class and v.oid <> c.oid
              where w.refclassid = 'pg_class'::regclass and w.refobjid = c.oid and w.classid = 'pg_rewrite'::regclass
             union all
             select format('foreign key %I of %s', k.conname, k.conrelid::regclass)
               from pg_constraint k where k.contype = 'f' and k.confrelid = c.oid
             union all
             select format('trigger %I', t.tgname) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal
             union all
             select format('function %s', p.oid::regprocedure)
               from pg_proc p
               join pg_namespace n on n.oid = p.pronamespace
              where n.nspname not in ('pg_catalog', 'information_schema') and p.prosrc ~ ('\\m' || c.relname || '\\M')
           ) d (what)) used
       where c.relnamespace = 'public'::regnamespace and c.relname = any (c_relations)
      union all
      select 4, format('type public.%I is there already: alter type public.%I rename to …', t.typname, t.typname)
        from pg_type t
       where t.typnamespace = 'public'::regnamespace and t.typname = any (c_relations) and t.typrelid = 0
      union all
      select 5, format('function %s returns %s, and is there already: alter function %s rename to …, and let what calls it follow',
                       p.oid::regprocedure, pg_get_function_result(p.oid), p.oid::regprocedure)
        from pg_proc p
       where p.pronamespace = 'public'::regnamespace and p.proname = any (c_functions)
      union all
      select 6, format('%s is there already: schema tokenbook has to be free, or this is installed', pg_describe_object(o.classid, o.objid, 0))
        from (
          select 'pg_class'::regclass, c.oid, c.relname from pg_class c
           where c.relnamespace = to_regnamespace('tokenbook') and c.relkind in ('r', 'p', 'v', 'm', 'f')
          union all
          select 'pg_proc'::regclass, p.oid, p.proname from pg_proc p where p.pronamespace = to_regnamespace('tokenbook')
        ) as o (classid, objid, name)
       -- what the migrations before this one make, in the project that has them
       where o.name not in ('migration_reports', 'archived_profile_counters', 'cleared_token_balances', 'report',
                            'move_legacy_grants', 'old_token_balances', 'old_token_usage', 'old_token_transactions',
                            'old_user_storage')
      union all
      select 7, format('trigger tokenbook_register_user on auth.users is there already: drop trigger tokenbook_register_user on auth.users')
       where exists (
         select from pg_trigger t
          where t.tgrelid = to_regclass('auth.users') and t.tgname = 'tokenbook_register_user')
    ) as f (nth, finding);

  if v_list is not null then
    raise exception E'Tokenbook cannot be installed here yet, and nothing was changed. In the way:\\n%', v_list;
  end if;
end
$$;
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
