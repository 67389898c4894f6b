/*
 * What of changed rows only Postgres knows: what a table is at this moment, whether a value meets a condition, and a
 * value's JSON. Nothing is remembered between two questions, so that a right that was taken away counts at once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { isDatabaseError } from "../rest/errors.ts";
import type { ApiDatabase } from "../rest/database.ts";
import { MOST_VALUES, OPERATORS } from "./filters.ts";
import type { Asked, Condition } from "./filters.ts";
import { PUBLICATION } from "./replication.ts";
import type { Relation, Tuple } from "./replication.ts";

export interface ColumnNow {
  name: string;
  /** As `columns` of a change says it: `int8`, `_text`. */
  type: string;
  /** As a cast says it. */
  cast: string;
  isKey: boolean;
  /** Roles that may select it. */
  readers: Set<string>;
}

/** A table as it is now, with the columns that it had when a change was committed. */
export interface TableNow {
  sqlName: string;
  /** Whether row level security is on. */
  isSecured: boolean;
  columns: ColumnNow[];
  /** Of the primary key. */
  keys: ColumnNow[];
}

/** Every name of a type is written out. */
const QUALIFIED = [["search_path", ""]] as const;

/** Operators of a project's types are in its schemas. */
const OPERATORS_OF_ALL = [["search_path", "pg_catalog, public, extensions"]] as const;

/** @returns undefined when the table is gone. */
export async function describeTable(
  database: ApiDatabase,
  relation: Relation,
  roles: string[],
): Promise<TableNow | undefined> {
  const names = relation.columns.map(({ name }) => name);
  const types = relation.columns.map(({ typeOid }) => typeOid);
  const rows = await database.run(
    QUALIFIED,
    { text: DESCRIBE, values: [relation.oid, names, types, roles] },
    true,
  );
  if (rows.length === 0) return undefined;
  const columns = rows.map(({ name, type, cast, is_key, readers }): ColumnNow => ({
    name: name!,
    type: type!,
    cast: cast!,
    isKey: is_key === "t",
    readers: new Set(JSON.parse(readers!) as string[]),
  }));
  return {
    sqlName: `${pg.escapeIdentifier(relation.schema)}.${pg.escapeIdentifier(relation.table)}`,
    isSecured: rows[0]!["is_secured"] === "t",
    columns,
    keys: columns.filter(({ isKey }) => isKey),
  };
}

/** A role that the API can't become reads nothing. */
const DESCRIBE = `
  select c.relrowsecurity as is_secured, r.name, coalesce(t.typname, 'text') as type,
         coalesce(pg_catalog.format_type(t.oid, -1), 'text') as cast,
         coalesce(a.attnum = any (k.conkey), false) as is_key,
         pg_catalog.array_to_json(array(
           select p.rolname from pg_catalog.pg_roles p
            where p.rolname = any ($4::text[]) and pg_catalog.pg_has_role('authenticator', p.oid, 'member')
              and pg_catalog.has_column_privilege(p.oid, c.oid, a.attnum, 'select')))::text as readers
    from pg_catalog.pg_class c
   cross join unnest($2::text[], $3::oid[]) with ordinality as r(name, type_oid, n)
    left join pg_catalog.pg_attribute a
      on a.attrelid = c.oid and a.attname = r.name and a.attnum > 0 and not a.attisdropped
    left join pg_catalog.pg_type t on t.oid = r.type_oid
    left join pg_catalog.pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
   where c.oid = $1
   order by r.n`;

/**
 * Waits until others see what these transactions did: the log has a commit a moment before that, and a query in
 * between finds no row.
 */
export async function untilSeen(database: ApiDatabase, transactions: Iterable<number>): Promise<void> {
  const asked = [...new Set(transactions)];
  const deadline = Date.now() + 1_000;
  while (Date.now() < deadline) {
    const text = "select pg_catalog.pg_current_snapshot()::text as snapshot";
    const [row] = await database.run(QUALIFIED, { text, values: [] }, true);
    const [, next, open] = row!["snapshot"]!.split(":");
    const running = new Set(open!.split(",").map(low32));
    // numbers of transactions begin anew after 32 bits
    if (asked.every((one) => ((one - low32(next!)) | 0) < 0 && !running.has(one))) return;
    await sleep(1);
  }
}

function low32(xid: string): number {
  return Number(BigInt(xid) & 0xffffffffn);
}

/**
 * Which of a column's values meet which conditions.
 *
 * @param conditions of one column, operator and negation.
 * @returns for each condition, numbers of the values that meet it, from 0. A condition that can't be asked, because
 *   its column's type has changed, is met by none.
 */
export async function meeting(
  database: ApiDatabase,
  cast: string,
  values: string[],
  conditions: Condition[],
): Promise<Set<number>[]> {
  const { operator, negated, value } = conditions[0]!;
  const test = comparison(cast, operator, value);
  const text = `
    select f.m, pg_catalog.json_agg(v.n)::text as met
      from unnest($1::text[]) with ordinality as v(x, n), unnest($2::text[]) with ordinality as f(y, m)
     where ${negated ? `not (${test})` : test}
     group by f.m`;
  const met = conditions.map(() => new Set<number>());
  try {
    const rights = conditions.map((one) => one.value);
    const rows = await database.run(OPERATORS_OF_ALL, { text, values: [values, rights] }, true);
    for (const row of rows) {
      met[Number(row["m"]) - 1] = new Set((JSON.parse(row["met"]!) as number[]).map((n) => n - 1));
    }
    return met;
  } catch (error) {
    if (!isDatabaseError(error) || conditions.length === 1) return met;
    // One that can't be asked must not silence the others.
    const alone = await Promise.all(conditions.map((one) => meeting(database, cast, values, [one])));
    return alone.flat();
  }
}

/** SQL that compares `v.x` with `f.y`. @param value of `is` only, where it is a word of SQL. */
function comparison(cast: string, operator: Condition["operator"], value: string): string {
  const left = `v.x::${cast} ${OPERATORS[operator]}`;
  if (operator === "is") return `${left} ${keywordOf(value)}`;
  return operator === "in" ? `${left} (f.y::${cast}[])` : `${left} f.y::${cast}`;
}

const KEYWORDS = new Set(["null", "true", "false", "unknown"]);

/** Anything else was refused when the channel asked for it, and could be SQL. */
function keywordOf(value: string): string {
  if (!KEYWORDS.has(value)) throw new Error("no keyword of `is`");
  return value;
}

/** JSON of each column of each row, as `to_jsonb` makes it. */
export async function encodeRows(
  database: ApiDatabase,
  columns: ColumnNow[],
  rows: Tuple[],
): Promise<Map<string, string>[]> {
  const names = columns.map((_, i) => `c${i}`);
  const encoded = columns.map(({ cast }, i) => `pg_catalog.to_jsonb(r.c${i}::${cast})::text as c${i}`);
  const text = `
    select ${encoded.join(", ")}
      from unnest(${columns.map((_, i) => `$${i + 1}::text[]`).join(", ")}) with ordinality as r(${names.join(", ")}, n)
     order by r.n`;
  const values = columns.map(({ name }) => rows.map((row) => row[name] ?? null));
  const answer = await database.run(OPERATORS_OF_ALL, { text, values }, true);
  return answer.map((row, n) => {
    const held = columns.map(({ name }, i) => [name, row[`c${i}`] ?? "null"] as const);
    return new Map(held.filter(([name]) => rows[n]![name] !== undefined));
  });
}

/**
 * Whether it can be subscribed to.
 *
 * @returns undefined, or why not, in the words of hosted Realtime.
 */
export async function refusalOf(
  database: ApiDatabase,
  role: string,
  asked: Asked,
): Promise<string | undefined> {
  const values = [PUBLICATION, asked.schema, asked.table, role];
  const rows = await database.run(QUALIFIED, { text: PUBLISHED, values }, true);
  if (rows.length === 0) {
    return `Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: [${wordsOf(asked)}]`;
  }
  const problem = (await Promise.all(rows.map(({ columns }) => problemIn(database, asked, columns!)))).find(
    Boolean,
  );
  if (problem === undefined) return undefined;
  return `Unable to subscribe to changes with given parameters. An exception happened so please check your connect parameters: [${wordsOf(asked)}]. Exception: ${problem}`;
}

const PUBLISHED = `
  select coalesce((
    select pg_catalog.json_object_agg(a.attname, pg_catalog.format_type(a.atttypid, -1))
      from pg_catalog.pg_attribute a
      join pg_catalog.pg_roles r on r.rolname = $4
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       and pg_catalog.has_column_privilege(r.oid, c.oid, a.attnum, 'select')), '{}')::text as columns
    from pg_catalog.pg_publication_tables p
    join pg_catalog.pg_namespace n on n.nspname = p.schemaname
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
   where p.pubname = $1 and $2::text in ('*', p.schemaname::text) and $3::text in ('*', p.tablename::text)`;

/** @param columns JSON: the type of each column that the role may select. */
async function problemIn(database: ApiDatabase, asked: Asked, columns: string): Promise<string | undefined> {
  const types = JSON.parse(columns) as Record<string, string>;
  for (const condition of asked.conditions) {
    const { column, operator, value } = condition;
    if (!Object.hasOwn(types, column)) return raised(`invalid column for filter ${column}`);
    if (operator === "is" && !KEYWORDS.has(value)) {
      return raised("invalid value for is filter: must be null, true, false, or unknown");
    }
    const problem = await problemOf(database, types[column]!, condition);
    if (problem !== undefined) return problem;
  }
  const unknown = asked.select?.find((name) => !Object.hasOwn(types, name));
  return unknown === undefined ? undefined : raised(`invalid column for select ${unknown}`);
}

async function problemOf(
  database: ApiDatabase,
  cast: string,
  condition: Condition,
): Promise<string | undefined> {
  const { operator, value } = condition;
  // Asked of a value as it is with every change, but of none: with NULL no regular expression is read.
  const count =
    operator === "in"
      ? `pg_catalog.cardinality(f.y::${cast}[])`
      : operator.endsWith("match")
        ? "case when '' ~ f.y then 1 else 1 end"
        : "1";
  const text = `
    select ${count} as count, ${comparison(cast, operator, value)} as met
      from unnest($1::text[]) as v(x), unnest($2::text[]) as f(y)`;
  try {
    const [row] = await database.run(OPERATORS_OF_ALL, { text, values: [[null], [value]] }, true);
    return Number(row!["count"]) > MOST_VALUES
      ? raised(`too many values for \`in\` filter. Maximum ${MOST_VALUES}`)
      : undefined;
  } catch (error) {
    if (!isDatabaseError(error)) throw error;
    return `ERROR ${error.code} ${error.message}`;
  }
}

function raised(words: string): string {
  return `ERROR P0001 (raise_exception) ${words}`;
}

function wordsOf({ event, schema, table, conditions, select }: Asked): string {
  const filters = conditions.map(
    ({ column, operator, value, negated }) =>
      `{${[column, operator, value].map((part) => JSON.stringify(part)).join(", ")}, ${negated}}`,
  );
  const columns = select === undefined ? "nil" : JSON.stringify(select);
  return `event: ${event}, schema: ${schema}, table: ${table}, filters: [${filters.join(", ")}], select: ${columns}`;
}
