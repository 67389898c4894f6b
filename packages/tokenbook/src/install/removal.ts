/** The statements that take Tokenbook out of a database again: by name what was made, and nothing else. */
import pg from "pg";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";
import { areBooksRight, readShadow, type Shadow } from "../data/shadow.ts";
import type { Counter } from "../shadow/counter.ts";
import { counterAsItIs } from "../shadow/follow.ts";
import { lastWrite, stillBehind } from "../shadow/keep-in-step.ts";
import type { Obstacle } from "./obstacles.ts";
import { ownTypes } from "./release.ts";
import type { TableFile } from "./table-files.ts";

/** What is taken out, in words, as `pg_describe_object` says it, and by which statements. */
export interface Removal {
  objects: string[];
  /** What of them stands in `public`, by name, with its indexes. */
  names: string[];
  /** Functions whose triggers may be on tables of others, which only their owner could take off. */
  abroad: string[];
  tables: string[];
  statements: string[];
}

/** What the project has made that looks like Tokenbook's and is not what a release made. */
export interface Strangers {
  /** In schema tokenbook, or in the place of a relation of ours: it has to be moved first. */
  inTheWay: Obstacle[];
  /** Functions in public that are called as one of ours and take something else: they stay. By oid, and in words. */
  staying: { oid: number; name: string }[];
}

/** What of the project's has the schema or a name of ours. */
export async function findStrangers(client: SqlClient): Promise<Strangers> {
  const found = await select<{ what: string; oid: number | null; stays: boolean }>(
    client,
    `select p.kind || ' ' || p.name as what, to_regprocedure(case when p.kind = 'function' then p.name end)::oid as oid,
            p.kind = 'function' and starts_with(p.name, 'public.') as stays
       from tokenbook.present_shape() p
      where p.kind in ('function', 'table', 'foreign table', 'view', 'sequence')
        and not exists (select from tokenbook.declared_shape() d where (d.kind, d.name) = (p.kind, p.name))
     union all
     select 'type tokenbook.' || quote_ident(t.typname), null, false
       from pg_type t
       left join pg_class c on c.oid = t.typrelid
      where t.typnamespace = 'tokenbook'::regnamespace and t.typname <> all ($1::text[])
        and (t.typrelid = 0 or c.relkind = 'c')
        and not exists (select from pg_type e where e.typarray = t.oid)
        and not exists (select from pg_range r where r.rngmultitypid = t.oid)
     union all
     select pg_describe_object(d.classid, d.objid, 0), null, false
       from pg_depend d
      where d.refclassid = 'pg_namespace'::regclass and d.refobjid = 'tokenbook'::regnamespace and d.deptype = 'n'
        and d.classid not in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
      order by 1`,
    [await ownTypes()],
  );
  return {
    inTheWay: found
      .filter(({ stays }) => !stays)
      .map(({ what }) => ({
        what: `${what} is yours: no release of Tokenbook made it`,
        usedBy: null,
        runAs: null,
        mending: "-- another schema or name: alter … set schema, alter … rename to",
      })),
    staying: found.flatMap(({ what, oid, stays }) =>
      stays && oid !== null ? [{ oid: Number(oid), name: what.slice("function ".length) }] : [],
    ),
  };
}

/** What is ours, by class and object: $1 are the oids of functions that only share a name. */
const own = `(select o.class, o.object from tokenbook.own_objects() o
        where not (o.class = 'pg_proc'::regclass and o.object = any ($1::oid[])))`;

const oidsOf = ({ staying }: Strangers): number[] => staying.map(({ oid }) => oid);

/**
 * What of the project depends on Tokenbook's: it has to be changed first, or `drop … restrict` would refuse.
 */
export async function dependents(client: SqlClient, strangers: Strangers): Promise<Obstacle[]> {
  const rows = await select<{ what: string; uses: string }>(
    client,
    `with own as ${own},
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
    [oidsOf(strangers)],
  );
  return rows.map(({ what, uses }) => ({
    what: `${what} uses ${uses}`,
    usedBy: null,
    runAs: null,
    mending: "-- change or drop it first",
  }));
}

/** What of the project calls or stands on Tokenbook's, and no dependency says so: in words. Nothing refuses because of it. */
export async function mentions(client: SqlClient, strangers: Strangers): Promise<string[]> {
  const rows = await select<{ what: string }>(
    client,
    `with own as ${own}, names as (
       select c.relname::text as name from own o
         join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object where c.relnamespace = 'public'::regnamespace
       union
       select p.proname::text from own o
         join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object where p.pronamespace = 'public'::regnamespace
     )
     select format('function %s names %s: what of it is Tokenbook''s is gone afterwards', p.oid::regprocedure, m.names) as what
       from pg_proc p
      cross join lateral (${namedIn("p.prosrc")}) as m (names)
      where not exists (select from own o where o.class = 'pg_proc'::regclass and o.object = p.oid)
        and m.names is not null
        and p.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
        and p.pronamespace::regnamespace::text !~ '^pg_(temp|toast)'
        and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
     union all
     select format('job %s names %s, and fails afterwards: cron.unschedule', j.name, m.names)
       from ${await jobsOf(client)} j
      cross join lateral (${namedIn("j.command")}) as m (names)
      where m.names is not null
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
    [oidsOf(strangers)],
  );
  const shadow = await readShadow(client);
  return [
    ...rows.map(({ what }) => what),
    ...strangers.staying.map(
      ({ name }) => `function ${name} is yours, though one of Tokenbook's is called the same, and stays`,
    ),
    ...(shadow === undefined
      ? []
      : [
          areBooksRight(shadow.mode)
            ? `${shadow.source} gets the balances of the books a last time, and nothing writes them there afterwards`
            : `${shadow.source} is followed by the books no more: the triggers on ${shadow.schema}.${shadow.table} go`,
        ]),
  ];
}

/** What a text names of ours, of `names` or of schema tokenbook; what another schema has under such a name is not meant. */
const namedIn = (text: string): string => `
        select string_agg(distinct coalesce(r[1], r[3]), ', ' order by coalesce(r[1], r[3]))
          from regexp_matches(${text}, '\\m(tokenbook\\.\\w+)|(?:\\m(\\w+)\\s*\\.\\s*)?\\m(\\w*token\\w*|get_user_storage_quota)\\M', 'g') as r
         where r[1] is not null
            or (r[3] in (select n.name from names n)
              and (coalesce(r[2], 'public') = 'public' or to_regnamespace(quote_ident(r[2])) is null))`;

/** The jobs of pg_cron that are not ours, as a relation. */
async function jobsOf(client: SqlClient): Promise<string> {
  const [cron] = await select<{ is: boolean }>(client, "select to_regclass('cron.job') is not null as is");
  const none = "(select null::text as name, null::text as command where false)";
  return cron!.is
    ? `(select coalesce(jobname, '') as name, command from cron.job where coalesce(jobname, '') <> all (array[${ownJobs}]))`
    : none;
}

/** What is there of ours now, and how it goes. */
export async function planRemoval(client: SqlClient, strangers: Strangers): Promise<Removal> {
  const oids = oidsOf(strangers);
  const objects = await select<{ what: string }>(
    client,
    `select pg_describe_object(o.class, o.object, 0) as what from ${own} o order by 1`,
    [oids],
  );
  const names = await select<{ name: string }>(
    client,
    `select c.relname::text as name
       from ${own} o
       left join pg_index i on o.class = 'pg_class'::regclass and i.indrelid = o.object
       join pg_class c on o.class = 'pg_class'::regclass and c.oid in (o.object, i.indexrelid)
      where c.relnamespace = 'public'::regnamespace
     union
     select p.proname::text
       from ${own} o
       join pg_proc p on o.class = 'pg_proc'::regclass and p.oid = o.object
      where p.pronamespace = 'public'::regnamespace`,
    [oids],
  );
  const statements = await select<{ place: number; statement: string }>(client, removalQuery, [oids]);
  const tables = await select<{ name: string }>(
    client,
    `select format('%I.%I', n.nspname, c.relname) as name
       from ${own} o
       join pg_class c on o.class = 'pg_class'::regclass and c.oid = o.object and c.relkind in ('r', 'p')
       join pg_namespace n on n.oid = c.relnamespace
      order by 1`,
    [oids],
  );
  return {
    tables: tables.map(({ name }) => name),
    objects: objects.map(({ what }) => what),
    names: names.map(({ name }) => name),
    abroad: statements.filter(({ place }) => place === 0).map(({ statement }) => statement),
    statements: statements.filter(({ place }) => place > 0).map(({ statement }) => statement),
  };
}

/** What the file is called behind its version. */
export const removalName = "remove_tokenbook";

/** What a removal is written for. */
export interface Written {
  version: string;
  removal: Removal;
  /** What was exported; undefined, where nobody wants the books. */
  exported: readonly TableFile[] | undefined;
  /** The counter of the project's own that follows the books. */
  switched: { shadow: Shadow; counter: Counter } | undefined;
}

/** The counter that follows the books, and is still there. */
export async function findSwitched(client: SqlClient): Promise<Written["switched"]> {
  const shadow = await readShadow(client);
  if (shadow === undefined || !areBooksRight(shadow.mode)) return undefined;
  const counter = await counterAsItIs(client, shadow);
  return counter && { shadow, counter };
}

/** The text of the migration. */
export function removalMigration({ version, removal, exported, switched }: Written): string {
  const { objects, abroad, tables, statements } = removal;
  return [
    "/*",
    ` * Takes Tokenbook ${version} out again: ${objects.length} relations and functions, by name, and what is on them. Where anything of`,
    " * the project depends on one of them it refuses, and nothing is changed; but a trigger on a table of the project's goes with",
    ` * the function that it calls, one of the ${abroad.length} that are dropped with cascade.`,
    " */",
    `do $remove$
declare
  v_table text;
  v_exported bigint;
  v_rows bigint;
  v_who text;
begin
  -- sooner than Postgres looks for a deadlock: this gives way, and not who signs up or spends
  perform set_config('lock_timeout', '500ms', true);
${[compareBooks(exported), writeLast(switched), unschedule, putRolesBack, `  -- with their triggers on tables that are not ours\n${abroad.map((one) => `  ${one};`).join("\n")}`, `  lock table ${tables.join(", ")} in access exclusive mode;`].join("\n")}
exception
  when lock_not_available then
${sayWhoWaits}
end
$remove$;
`,
    ...statements.map((statement) => `${statement};`),
    "",
  ].join("\n");
}

/** What must not be more than when it was exported: whatever changes a balance, is charged or paid adds a row to one. */
const compared = ["public.token_transactions", "public.token_usage", "public.token_payments"];

/** Nobody writes from here on; and nothing was booked that is in no file. */
function compareBooks(exported: Written["exported"]): string {
  // in the order in which the booking functions lock them
  const lock = `  lock table public.token_accounts, ${compared.join(", ")} in share row exclusive mode;`;
  if (exported === undefined) return lock;
  const rows = exported.filter(({ table }) => compared.includes(table));
  return `${lock}
  for v_table, v_exported in values ${rows.map(({ table, rows: many }) => `('${table}', ${many}::bigint)`).join(", ")} loop
    execute format('select count(*) from %s', v_table) into v_rows;
    if v_rows > v_exported then
      raise exception using errcode = 'object_not_in_prerequisite_state', message = format(
        '%s has %s rows, and had %s when the books were exported: what has come since is in no file. Nothing was removed. Stop what books, and run npx tokenbook uninstall again: it exports once more.',
        v_table, v_rows, v_exported);
    end if;
  end loop;`;
}

/** A counter of the project's own that follows the books is left as they are at the end. */
function writeLast(switched: Written["switched"]): string {
  const others = `  if exists (select from tokenbook.shadow s where s.mode <> 'shadow'${switched === undefined ? "" : ` and s.source <> ${literal(switched.shadow.source)}`}) then
    raise exception using errcode = 'object_not_in_prerequisite_state', message =
      'A counter of the project''s follows the books, and this was written before: its balances would stay as they were. Nothing was removed. Run npx tokenbook uninstall again.';
  end if;`;
  if (switched === undefined) return others;
  const { shadow, counter } = switched;
  return `${others}
  -- in a database that begins there is no shadow, and the column may be gone
  if exists (
    select from tokenbook.shadow s
      join pg_attribute a on a.attrelid = to_regclass(${literal(counter.table)}) and a.attname = ${literal(shadow.amountColumn)} and not a.attisdropped
     where s.mode <> 'shadow')
  then
    lock table ${counter.table} in share row exclusive mode;
    update tokenbook.shadow set written_by = pg_current_xact_id() where is_only;
    execute $write$ ${lastWrite(counter)} $write$;
    execute $write$ ${stillBehind(counter)} $write$ into v_rows;
    if v_rows > 0 then
      raise exception using errcode = 'object_not_in_prerequisite_state', message = format(
        'The balances of %s users could not be written to %s, which follows the books. Nothing was removed. npx tokenbook shadow says why; npx tokenbook shadow --stop leaves it as it is.',
        v_rows, ${literal(shadow.source)});
    end if;
  end if;`;
}

const literal = (text: string): string => pg.escapeLiteral(text);

/** The processes that have held one of the tables for as long as was waited. */
const sayWhoWaits = `    select string_agg(distinct format('process %s of %s (%s, %s), whose transaction began at %s', a.pid, a.usename,
                      coalesce(nullif(a.application_name, ''), 'without a name'), a.state, a.xact_start::timestamptz(0)), '; ')
      into v_who
      from pg_locks l
      join pg_stat_activity a on a.pid = l.pid and a.xact_start < clock_timestamp() - interval '500 milliseconds'
     where l.granted and l.pid <> pg_backend_pid()
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and (l.relation = 'auth.users'::regclass
         or l.relation in (select o.object from tokenbook.own_objects() o)
         or l.relation in (select g.tgrelid from pg_trigger g join pg_proc p on p.oid = g.tgfoid where p.pronamespace = to_regnamespace('tokenbook')));
    raise exception using errcode = 'lock_not_available', message = format(
      'A table that this needs is in use by %s. Nothing was removed, and nobody waits for it: try again once that has ended.',
      coalesce(v_who, 'a transaction that has ended since'));`;

const ownJobs = "'tokenbook-expire-grants', 'tokenbook-arm-alerts'";

/** Only jobs of ours, where there are jobs at all; the extension may have others. */
const unschedule = `  if to_regclass('cron.job') is not null then
    execute $jobs$select cron.unschedule(jobname) from cron.job where jobname in (${ownJobs})$jobs$;
  end if;`;

/** Of administrators whose app_metadata.role was set with the right: what it was. Elsewhere there is nobody. */
const putRolesBack = `  if exists (select from tokenbook.admins a where a.replaced_role is not null) then
    update auth.users u
       set raw_app_meta_data = (u.raw_app_meta_data - 'role') || a.replaced_role, updated_at = now()
      from tokenbook.admins a
     where a.user_id = u.id and a.replaced_role is not null and u.raw_app_meta_data ->> 'role' = 'admin';
  end if;`;

/**
 * In this order: the functions that go with their triggers abroad, triggers; what on our own tables needs our functions, so that these can go; functions, row types, tables,
 * the rest, and the schema, which is empty then. What may have been made by hand is dropped where it is there. Several in one statement may depend on one another.
 */
const removalQuery = `
  with own as materialized (
    select o.class, o.object from ${own} o
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
    select 1, format('drop trigger if exists %I on %s', g.tgname, r.name)
      from pg_trigger g
      join functions f on f.oid = g.tgfoid
      join relations r on r.oid = g.tgrelid
     where not g.tgisinternal
    union all
    select 2, format('drop policy if exists %I on %s', p.polname, r.name)
      from pg_policy p join relations r on r.oid = p.polrelid
     where exists (select from needs n where n.classid = 'pg_policy'::regclass and n.objid = p.oid)
    union all
    select 3, 'drop view ' || string_agg(r.name, ', ' order by r.name) from relations r where r.relkind = 'v' having count(*) > 0
    union all
    select 4, format('drop index if exists %I.%I', s.nspname, c.relname)
      from pg_index i
      join relations r on r.oid = i.indrelid
      join pg_class c on c.oid = i.indexrelid
      join pg_namespace s on s.oid = c.relnamespace
     where exists (select from needs n where n.classid = 'pg_class'::regclass and n.objid = i.indexrelid)
    union all
    select 5, format('alter table %s drop constraint if exists %I', r.name, k.conname)
      from pg_constraint k join relations r on r.oid = k.conrelid
     where exists (select from needs n where n.classid = 'pg_constraint'::regclass and n.objid = k.oid)
    union all
    select 6, case
             when exists (select from tokenbook.declared_shape() d
                           where d.kind = 'column' and d.relation = r.oid::regclass::text and d.name = quote_ident(a.attname))
               then format('alter table %s alter column %I drop default', r.name, a.attname)
             -- made elsewhere than in a migration: where this runs from the beginning it is not there
             else format('alter table %s drop column if exists %I', r.name, a.attname) end
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
  select s.place, s.statement from steps s order by s.place, s.statement`;
