/** The statements that take Tokenbook out of a database again: by name what was made, and nothing else. */
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import type { Obstacle } from "./obstacles.ts";

/** What is taken out, in words, as `pg_describe_object` says it, and by which statements. */
export interface Removal {
  objects: string[];
  /** What of them stands in `public`, by name, with its indexes. */
  names: string[];
  statements: string[];
}

/**
 * What of the project depends on Tokenbook's: it has to be changed first, or `drop … restrict` would refuse.
 */
export async function dependents(client: SqlClient): Promise<Obstacle[]> {
  const rows = await select<{ what: string; uses: string }>(
    client,
    `with own as (select class, object from tokenbook.own_objects()),
          owned as (
       select class::oid as class, object from own
       union select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace = 'tokenbook'::regnamespace
       union select 'pg_class'::regclass, c.oid from pg_class c where c.relnamespace = 'tokenbook'::regnamespace
       union select 'pg_type'::regclass, t.oid from pg_type t join own o on o.class = 'pg_class'::regclass and t.typrelid = o.object
       union select 'pg_type'::regclass, e.oid from pg_type t join own o on o.class = 'pg_class'::regclass and t.typrelid = o.object
                join pg_type e on e.oid = t.typarray)
     select coalesce(pg_describe_object('pg_class'::regclass, v.oid, 0), pg_describe_object(d.classid, d.objid, 0)) as what,
            string_agg(distinct pg_describe_object(d.refclassid, d.refobjid, 0), ', ') as uses
       from pg_depend d
       join owned o on o.class = d.refclassid and o.object = d.refobjid
       left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
       left join pg_class v on v.oid = r.ev_class
       left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
       left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid
       left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid
       left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
       left join pg_index i on d.classid = 'pg_class'::regclass and i.indexrelid = d.objid
      where d.deptype in ('n', 'a')
        and d.classid not in ('pg_amop'::regclass, 'pg_publication_rel'::regclass)
        and not exists (select from owned w where w.class = d.classid and w.object = d.objid)
        -- what is on a relation of ours goes with it
        and not exists (
          select from own w
           where w.class = 'pg_class'::regclass
             and w.object in (v.oid, k.conrelid, g.tgrelid, p.polrelid, f.adrelid, i.indrelid))
        -- those that are ours on tables that are not
        and g.tgname is distinct from 'tokenbook_register_user'
        and (g.tgname = 'tokenbook_charge' and d.refobjid = to_regprocedure('tokenbook.charge_for_row()')) is not true
        and (starts_with(g.tgname, 'tokenbook_shadow') and d.refobjid = to_regprocedure('tokenbook.note_shadow_change()')) is not true
      group by 1
      order by 1`,
  );
  return rows.map(({ what, uses }) => ({
    what: `${what} uses ${uses}`,
    usedBy: null,
    runAs: null,
    mending: "-- change or drop it first",
  }));
}

/** What of the project calls or stands on Tokenbook's, and no dependency says so: in words. Nothing refuses because of it. */
export async function mentions(client: SqlClient): Promise<string[]> {
  const rows = await select<{ what: string }>(
    client,
    `with own as (
       select c.relname::text as name from tokenbook.own_objects() o
         join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object where c.relnamespace = 'public'::regnamespace
       union
       select p.proname::text from tokenbook.own_objects() o
         join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object where p.pronamespace = 'public'::regnamespace
     )
     select format('function %s names %s, and fails afterwards', p.oid::regprocedure, string_agg(m.name, ', ' order by m.name)) as what
       from pg_proc p
      cross join lateral (
        select distinct coalesce(r[1], r[2]) as name
          from regexp_matches(p.prosrc, '\\m(tokenbook\\.\\w+)|\\m(\\w*token\\w*|get_user_storage_quota)\\M', 'g') as r
         where r[1] is not null or r[2] in (select own.name from own)) m
      where not exists (select from tokenbook.own_objects() o where o.class = 'pg_proc'::regclass and o.object = p.oid)
        and p.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        and p.pronamespace::regnamespace::text !~ '^pg_(temp|toast)'
        and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
      group by p.oid
     union all
     select format('trigger %I on %s goes, and what is inserted there is not paid for afterwards', g.tgname, g.tgrelid::regclass)
       from pg_trigger g
      where g.tgfoid = to_regprocedure('tokenbook.charge_for_row()')
     union all
     select s.kind || ' ' || split_part(s.finding, s.kind || ' ', 2) from (
       select kind, replace(finding, ' is there, and nobody declared it', ' is yours, and goes with it') as finding
         from tokenbook.compare_shape()
        where finding like '%is there, and nobody declared it%'
          and kind in ('index', 'trigger', 'policy', 'constraint', 'column', 'rule')) s
      order by 1`,
  );
  return rows.map(({ what }) => what);
}

/** What is there of ours now, and how it goes. */
export async function planRemoval(client: SqlClient): Promise<Removal> {
  const objects = await select<{ what: string }>(
    client,
    "select pg_describe_object(class, object, 0) as what from tokenbook.own_objects() order by 1",
  );
  const names = await select<{ name: string }>(
    client,
    `select c.relname::text as name
       from tokenbook.own_objects() o
       left join pg_index i on o.class = 'pg_class'::regclass and i.indrelid = o.object
       join pg_class c on o.class = 'pg_class'::regclass and c.oid in (o.object, i.indexrelid)
      where c.relnamespace = 'public'::regnamespace
     union
     select p.proname::text
       from tokenbook.own_objects() o
       join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object
      where p.pronamespace = 'public'::regnamespace`,
  );
  const statements = await select<{ statement: string }>(client, removalQuery);
  return {
    objects: objects.map(({ what }) => what),
    names: names.map(({ name }) => name),
    statements: statements.map(({ statement }) => statement),
  };
}

/** What the file is called behind its version. */
export const removalName = "remove_tokenbook";

/** The text of the migration. */
export function removalMigration(version: string, { objects, statements }: Removal): string {
  return [
    "/*",
    ` * Takes Tokenbook ${version} out again: ${objects.length} relations and functions, by name, and what is on them. Where anything`,
    " * of the project depends on one of them it refuses, and nothing is changed.",
    " */",
    unschedule,
    putRolesBack,
    ...statements.map((statement) => `${statement};`),
    "",
  ].join("\n");
}

/** Only jobs of ours, where there are jobs at all; the extension may have others. */
const unschedule = `
do $$
begin
  if to_regclass('cron.job') is not null then
    execute $jobs$select cron.unschedule(jobname) from cron.job where jobname in ('tokenbook-expire-grants', 'tokenbook-arm-alerts')$jobs$;
  end if;
end
$$;
`;

/** Of administrators whose app_metadata.role was set with the right: what it was. Elsewhere there is nobody. */
const putRolesBack = `
do $$
begin
  if exists (select from tokenbook.admins a where a.replaced_role is not null) then
    update auth.users u
       set raw_app_meta_data = (u.raw_app_meta_data - 'role') || a.replaced_role, updated_at = now()
      from tokenbook.admins a
     where a.user_id = u.id and a.replaced_role is not null and u.raw_app_meta_data ->> 'role' = 'admin';
  end if;
end
$$;
`;

/**
 * In this order: triggers; what on our own tables needs our functions, so that these can go; functions, row types, tables,
 * the rest, and the schema, which is empty then. Several in one statement may depend on one another.
 */
const removalQuery = `
  with own as materialized (
    select o.class, o.object from tokenbook.own_objects() o
  ), all_functions as (
    select p.oid, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name
      from own o join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object
      join pg_namespace n on n.oid = p.pronamespace
  ), abroad as (
    -- whose triggers are on tables of others, which only their owner can take off; they go with their function
    select distinct f.oid, f.name
      from pg_trigger g join all_functions f on f.oid = g.tgfoid
     where not exists (select from own o where o.class = 'pg_class'::regclass and o.object = g.tgrelid)
    union
    -- the same text is run where a shadow runs, where none does, in a restored database and in one that begins
    select to_regprocedure(name), name
      from unnest(array['tokenbook.charge_for_row()', 'tokenbook.note_shadow_change()', 'tokenbook.register_user()']) as name
  ), functions as (
    select f.* from all_functions f where f.oid not in (select a.oid from abroad a where a.oid is not null)
  ), relations as (
    select c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) as name
      from own o join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object
      join pg_namespace n on n.oid = c.relnamespace
     where not (c.relkind = 'S' and exists (
       select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')))
  ), needs as (
    select d.classid, d.objid from pg_depend d join functions f on d.refclassid = 'pg_proc'::regclass and d.refobjid = f.oid
  ), steps (place, statement) as (
    select 0, format('drop function if exists %s cascade', a.name) from abroad a
    union all
    select 1, format('drop trigger %I on %s', g.tgname, r.name)
      from pg_trigger g
      join functions f on f.oid = g.tgfoid
      join relations r on r.oid = g.tgrelid
     where not g.tgisinternal
    union all
    select 2, format('drop policy %I on %s', p.polname, r.name)
      from pg_policy p join relations r on r.oid = p.polrelid
     where exists (select from needs n where n.classid = 'pg_policy'::regclass and n.objid = p.oid)
    union all
    select 3, 'drop view ' || string_agg(r.name, ', ' order by r.name) from relations r where r.relkind = 'v' having count(*) > 0
    union all
    select 4, format('drop index %I.%I', s.nspname, c.relname)
      from pg_index i
      join relations r on r.oid = i.indrelid
      join pg_class c on c.oid = i.indexrelid
      join pg_namespace s on s.oid = c.relnamespace
     where exists (select from needs n where n.classid = 'pg_class'::regclass and n.objid = i.indexrelid)
    union all
    select 5, format('alter table %s drop constraint %I', r.name, k.conname)
      from pg_constraint k join relations r on r.oid = k.conrelid
     where exists (select from needs n where n.classid = 'pg_constraint'::regclass and n.objid = k.oid)
    union all
    select 6, format('alter table %s alter column %I drop default', r.name, a.attname)
      from pg_attrdef f
      join relations r on r.oid = f.adrelid
      join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
     where exists (select from needs n where n.classid = 'pg_attrdef'::regclass and n.objid = f.oid)
    union all
    select 7, E'drop function\\n  ' || string_agg(f.name, E',\\n  ' order by f.name) from functions f having count(*) > 0
    union all
    select 8, 'drop type ' || string_agg(format('%I.%I', n.nspname, c.relname), ', ' order by c.relname)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'tokenbook' and c.relkind = 'c' having count(*) > 0
    union all
    select 9, E'drop table\\n  ' || string_agg(r.name, E',\\n  ' order by r.name) from relations r where r.relkind in ('r', 'p') having count(*) > 0
    union all
    select 10, 'drop sequence ' || string_agg(r.name, ', ' order by r.name) from relations r where r.relkind = 'S' having count(*) > 0
    union all
    select 11, format('drop %s %s', case t.typtype when 'd' then 'domain' else 'type' end, format('%I.%I', n.nspname, t.typname))
      from pg_type t
      join pg_namespace n on n.oid = t.typnamespace
     where n.nspname = 'tokenbook' and t.typrelid = 0
       and not exists (select from pg_type e where e.typarray = t.oid)
    union all
    select 12, 'drop schema tokenbook'
  )
  select s.statement from steps s order by s.place, s.statement`;
