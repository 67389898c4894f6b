import { Failure } from "local-platform/terminal/failure";
import { select } from "../data/client.ts";
import type { SqlClient } from "../data/client.ts";

/** A table and the column of it that keeps balances. */
export interface Source {
  schema: string;
  table: string;
  column: string;
}

/** What in a project uses a column that an import reads. */
export interface Uses {
  /** As it is quoted: `public.profiles.credits`. */
  source: string;
  table: string;
  by: string[];
}

/**
 * Reads `profiles.credits` or `billing.wallets.amount`; a name with a point or a quotation mark in it is written as in SQL,
 * `"a.b"."c""d"`.
 *
 * @throws Failure when it is no name of a column.
 */
export function readSource(text: string): Source {
  const parts: string[] = [];
  const part = /\s*(?:"((?:[^"]|"")+)"|([^".][^.]*?))\s*(\.|$)/y;
  for (let end = "."; end === ".";) {
    const match = part.exec(text);
    if (match === null) throw noSource(text);
    parts.push(match[1]?.replaceAll('""', '"') ?? match[2]!);
    end = match[3]!;
  }
  if (parts.length < 2 || parts.length > 3) throw noSource(text);
  const [schema, table, column] = parts.length === 3 ? parts : ["public", ...parts];
  return { schema: schema!, table: table!, column: column! };
}

const noSource = (text: string) =>
  new Failure(`${text} is no column: it is written <table>.<column>, or <schema>.<table>.<column>.`);

/** A column, or a table, as {@link readSource} reads it. */
export const asSource = ({ schema, table, column }: Omit<Source, "column"> & Partial<Source>): string =>
  [schema, table, ...(column === undefined ? [] : [column])]
    .map((part) => (/[."]|^\s|\s$/.test(part) ? `"${part.replaceAll('"', '""')}"` : part))
    .join(".");

/** An argument as a shell takes it. */
export const inShell = (text: string): string =>
  /^[\w.,=@%:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** That there is no such column, and which there is that may be meant: written otherwise, or in another schema. */
export async function noColumn(client: SqlClient, source: Source): Promise<Failure> {
  const similar = await select<Source>(
    client,
    `select n.nspname as schema, c.relname as table, a.attname as column
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where lower(c.relname) = lower($1) and lower(a.attname) = lower($2) and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and n.nspname not in ('pg_catalog', 'information_schema')
      order by lower(n.nspname) = lower($3) desc, 1, 2, 3 limit 3`,
    [source.table, source.column, source.schema],
  );
  const meant =
    similar.length === 0
      ? ""
      : ` There is ${similar.map(asSource).join(", ")}: upper and lower case count, and so does the schema.`;
  return new Failure(`There is no column ${asSource(source)}.${meant}`);
}

/**
 * Views, materialized views, foreign keys, indexes, policies, triggers and generated columns that depend on it, and
 * functions whose text names the table.
 *
 * @throws Failure when there is no such column.
 */
export async function usesOf(client: SqlClient, source: Source): Promise<Uses> {
  const [column] = await select<{ relation: number; attribute: number; name: string; whole: string }>(
    client,
    `select c.oid::integer as relation, a.attnum::integer as attribute, c.oid::regclass::text as name,
            format('%I.%I.%I', n.nspname, c.relname, a.attname) as whole
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where n.nspname = $1 and c.relname = $2 and a.attname = $3 and c.relkind in ('r', 'p', 'v', 'm', 'f')`,
    [source.schema, source.table, source.column],
  );
  if (column === undefined) throw await noColumn(client, source);
  const rows = await select<{ what: string }>(
    client,
    `select distinct case when v.oid is null then pg_describe_object(d.classid, d.objid, 0)
                          else pg_describe_object('pg_class'::regclass, v.oid, 0) end as what
       from pg_depend d
       left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
       left join pg_class v on v.oid = r.ev_class
      where d.refclassid = 'pg_class'::regclass and d.refobjid = $1 and d.refobjsubid in (0, $2)
        and d.classid in ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_constraint'::regclass,
                          'pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_proc'::regclass)
        and d.deptype in ('n', 'a') and v.oid is distinct from $1::oid
        and not (d.classid = 'pg_constraint'::regclass and d.refobjsubid = 0)
     union
     select format('function %s, whose text names %s', p.oid::regprocedure, $3::text)
       from pg_proc p
       join pg_namespace n on n.oid = p.pronamespace
      where p.prosrc ~* ('\\m' || regexp_replace($4, '([.*+?(){}|^$\\[\\]\\\\])', '\\\\\\1', 'g') || '\\M')
        and n.nspname not in ('pg_catalog', 'information_schema', 'tokenbook')
        and not exists (select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
      order by 1`,
    [column.relation, column.attribute, column.name, source.table],
  );
  return { source: column.whole, table: column.name, by: rows.map(({ what }) => what) };
}
