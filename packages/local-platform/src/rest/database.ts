import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { isDatabaseError } from "./errors.ts";
import type { RoleSettings, Setting } from "./request-settings.ts";

/** One statement of a request. `values` are texts; Postgres decodes and encodes everything itself. */
export interface Statement {
  text: string;
  values: unknown[];
}

/** The API's connections to its database, as the role `authenticator`, which may become the API's roles and nothing more. */
export interface ApiDatabase {
  /**
   * Runs one statement in a transaction of its own, under a request's settings. Where Postgres gave
   * the transaction up because of another one (40001, 40P01), it runs again, at most {@link MAX_RUNS} times.
   *
   * @returns its rows, each an object of texts.
   * @throws what Postgres said first (an SQLSTATE in `code`), or {@link Unreachable}.
   */
  run(settings: readonly Setting[], statement: Statement, readOnly: boolean): Promise<Row[]>;
  close(): Promise<void>;
}

/**
 * PostgREST has no limit, and no pause: a function that always raises 40001 is never answered there and
 * keeps its connection, also after the caller has gone. A real conflict has passed long before this many.
 */
export const MAX_RUNS = 20;

/** Longest pause before another run, in milliseconds; a random part of it, so that two that met do not meet again. */
const PAUSE_MS = 10;

/** Postgres could not be asked, or went away before it had answered. */
export class Unreachable extends Error {
  override name = "Unreachable";
  /** Every connection was busy for as long as a request waits. */
  readonly busy: boolean;

  constructor(cause: unknown) {
    super("the database can't be reached", { cause });
    this.busy = cause instanceof Error && cause.message.startsWith("timeout exceeded");
  }
}

/** Values by column name, all of them text. */
export type Row = Record<string, string | null>;

/**
 * Opens the API's pool.
 *
 * @param url connection string of `authenticator`.
 * @param connections at most so many at once; further requests wait up to ten seconds, as PostgREST's do.
 */
export function openApiDatabase(url: string, connections: number): ApiDatabase {
  const config: pg.PoolConfig & { pipeline: boolean } = {
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 30_000,
    // A test's process may end without closing; an idle pool must not keep it alive.
    allowExitOnIdle: true,
    // begin, settings, statement and commit leave in one go and cost one round trip.
    pipeline: true,
  };
  const pool = new pg.Pool(config);
  // An idle connection that breaks (Postgres stopped) is replaced by the next request, which reports its own error.
  pool.on("error", () => {});
  // And one in use (Postgres crashed): its statements fail with it, and say so.
  pool.on("connect", (client) => client.on("error", () => {}));

  return {
    async run(settings, statement, readOnly) {
      const client = await pool.connect().catch((error: unknown) => {
        throw new Unreachable(error);
      });
      let clean = false;
      try {
        for (let run = 1; ; run++) {
          try {
            const rows = await runOnce(client, settings, statement, readOnly);
            clean = true;
            return rows;
          } catch (error) {
            // An ERROR of Postgres leaves a connection that has answered all four; after anything else the connection's state is unknown.
            clean = (error as { severity?: unknown }).severity === "ERROR";
            if (!isDatabaseError(error)) throw new Unreachable(error);
            if (!clean || !IN_CONFLICT.has(error.code) || run === MAX_RUNS) throw error;
          }
          await sleep(Math.random() * PAUSE_MS);
        }
      } finally {
        client.release(!clean);
      }
    },
    close: () => pool.end(),
  };
}

/** serialization_failure and deadlock_detected: nothing was done, and done again it may succeed. */
const IN_CONFLICT = new Set(["40001", "40P01"]);

async function runOnce(
  client: pg.PoolClient,
  settings: readonly Setting[],
  statement: Statement,
  readOnly: boolean,
): Promise<Row[]> {
  // Inside an aborted transaction `commit` rolls back: it is right after a failure as well.
  const [, , answer] = await firstFailure([
    client.query(readOnly ? "begin read only" : "begin read write"),
    client.query(setAll(settings)),
    client.query({ ...named(statement), types: AS_TEXT }),
    client.query("commit"),
  ]);
  return answer!.rows as Row[];
}

/** The settings of the roles that the API can become. */
export const ROLE_SETTINGS: Statement = {
  text: `
    select r.rolname as role, split_part(one, '=', 1) as name,
           substr(one, strpos(one, '=') + 1) as value
      from pg_catalog.pg_db_role_setting s
      join pg_catalog.pg_roles r on r.oid = s.setrole
     cross join lateral unnest(s.setconfig) as one
      join pg_catalog.pg_settings p on p.name = split_part(one, '=', 1)
     where p.context = 'user' and p.name <> 'search_path'
       and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
       and pg_catalog.pg_has_role('authenticator', r.oid, 'member') and r.rolname <> 'authenticator'
     order by s.setdatabase`,
  values: [],
};

/** Puts the rows of {@link ROLE_SETTINGS} into a map. */
export function roleSettingsOf(rows: readonly Row[]): RoleSettings {
  const settings = new Map<string, Setting[]>();
  for (const { role, name, value } of rows) {
    const known = settings.get(role!) ?? [];
    settings.set(role!, [...known, [name!, value!]]);
  }
  return settings;
}

function setAll(settings: readonly Setting[]): pg.QueryConfig {
  const calls = settings.map((_, i) => `pg_catalog.set_config($${2 * i + 1}, $${2 * i + 2}, true)`);
  // As parameters, never as literals: a failing statement's text goes to the database's log.
  return named({ text: `select ${calls.join(", ")}`, values: settings.flat() });
}

const names = new Map<string, string>();

/** So many statements are prepared, at most: a connection keeps each for as long as it lives. */
const PREPARED = 1000;

/** Prepared once a connection: planning `json_to_record` and the call costs more than most calls. */
function named({ text, values }: Statement): pg.QueryConfig {
  let name = names.get(text);
  if (name === undefined) {
    if (names.size >= PREPARED) return { text, values };
    name = createHash("sha256").update(text).digest("hex").slice(0, 32);
    names.set(text, name);
  }
  return { name, text, values };
}

const AS_TEXT = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;

async function firstFailure(queries: Promise<pg.QueryResult>[]): Promise<pg.QueryResult[]> {
  const outcomes = await Promise.allSettled(queries);
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<pg.QueryResult>).value);
}
