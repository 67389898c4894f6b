import { readFile } from "node:fs/promises";
import type { Client } from "pg";
import { withConnection } from "../database/connection.ts";

/** The schemas that are Tokenbook's: the API's and the internals. */
const ownSchemas = ["public", "tokenbook"] as const;

/**
 * What a database holds, one entry a fact: `table column public.token_storage_quotas.quota_gb · definition`
 * → `integer not null`. The order in which objects and columns were made plays no part.
 */
export type Catalog = ReadonlyMap<string, string>;

/** One fact in which two catalogs differ; `undefined` where a catalog does not have it at all. */
export interface Difference {
  readonly fact: string;
  readonly first: string | undefined;
  readonly second: string | undefined;
}

/**
 * Whether a fact is about something of Tokenbook's: schema `tokenbook`, its trigger, what the naming rule says of `public`,
 * and the ground that both stand on (the schemas themselves, default privileges). What a project's app has
 * beside it is not.
 */
export function isOwn(fact: string): boolean {
  const object = fact.slice(0, fact.indexOf(" · "));
  return (
    /tokenbook/.test(object) ||
    /^(schema|default acl) /.test(object) ||
    [...object.matchAll(/\bpublic\.(\w+)/g)].some(([, name]) => /token|^get_user_storage_quota$/.test(name!))
  );
}

/** The facts of a catalog that are Tokenbook's own; see {@link isOwn}. */
export function ownFacts(catalog: Catalog): Catalog {
  return new Map([...catalog].filter(([fact]) => isOwn(fact)));
}

/**
 * Reads the catalog of the schemas `public` and `tokenbook`, default privileges and publication
 * memberships included.
 *
 * @param databaseUrl - any role that may connect: Postgres' catalogs are readable by all.
 */
export async function readCatalog(databaseUrl: string): Promise<Catalog> {
  return withConnection(databaseUrl, catalogOf);
}

/** The catalog as a connection of {@link withConnection} sees it, inside a transaction too. */
export async function catalogOf(client: Client, schemas: readonly string[] = ownSchemas): Promise<Catalog> {
  const query = await readFile(new URL("catalog.sql", import.meta.url), "utf8");
  const { rows } = await client.query<{ object: string; fact: string; value: string }>(query, [schemas]);
  return new Map(rows.map((row) => [`${row.object} · ${row.fact}`, row.value]));
}

/** Everything of a database, of whomever: all schemas but Postgres' own and the history of migrations, and what is in none. */
export async function allFacts(client: Client): Promise<Catalog> {
  const { rows } = await client.query<{ schemas: string[] }>(
    `select array_agg(nspname::text) as schemas from pg_namespace
      where nspname !~ '^pg_' and nspname not in ('information_schema', 'supabase_migrations')`,
  );
  const before = await client.query<{ path: string }>("select current_setting('search_path') as path");
  await client.query("set search_path = ''"); // every name is qualified then, for any role that reads
  try {
    const facts = new Map(await catalogOf(client, rows[0]!.schemas));
    const others = await client.query<{ fact: string; value: string }>(`
      select 'extension ' || extname || ' · version' as fact, extversion as value from pg_extension
      union all select 'event trigger ' || evtname || ' · definition', evtevent || evtfoid::regproc from pg_event_trigger
      union all select 'publication ' || pubname || ' · definition', (to_jsonb(p) - 'oid')::text from pg_publication p`);
    for (const { fact, value } of others.rows) facts.set(fact, value);
    return facts;
  } finally {
    await client.query("select set_config('search_path', $1, false)", [before.rows[0]!.path]);
  }
}

/** Every fact that only one of two catalogs has, or that they have differently, sorted by fact. */
export function compareCatalogs(first: Catalog, second: Catalog): Difference[] {
  return [...new Set([...first.keys(), ...second.keys()])]
    .toSorted()
    .map((fact) => ({ fact, first: first.get(fact), second: second.get(fact) }))
    .filter((difference) => difference.first !== difference.second);
}

/** A difference in words for a person, over two or three lines. */
export function describeDifference(difference: Difference, firstName: string, secondName: string): string {
  return [
    difference.fact,
    describeSide(firstName, difference.first),
    describeSide(secondName, difference.second),
  ].join("\n");
}

function describeSide(name: string, value: string | undefined): string {
  return `  ${name}: ${value === undefined ? "(none)" : value.replaceAll("\n", "\n    ")}`;
}
