import { randomBytes } from "node:crypto";
import pg from "pg";
import { superuser } from "../postgres/server.ts";
import { localPassword } from "../project/running.ts";

/** A database of its own for a test file. */
export interface Database {
  name: string;
  /**
   * A connection string, for `postgres` unless another role is named: `authenticator` (as the API
   * connects), `supabase_auth_admin`, `supabase_admin` (the superuser).
   */
  url(role?: string): string;
  /** Connections as `postgres`: owner of the database and of what migrations make, not a superuser. */
  admin: pg.Pool;
  /** Connections as `authenticator`, which can do nothing until it becomes another role. */
  api: pg.Pool;
  /** Closes the pools and removes the database, even while clients are connected to it. */
  drop(): Promise<void>;
}

/**
 * Makes a database, as a copy of a template; takes about 0.03 s.
 *
 * @param port of the server that `startTestServer` has started.
 * @param template `template_platform`, `template_platform_closed` or one of the caller's own.
 */
export async function createDatabase(port: number, template: string): Promise<Database> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  const urlFor = (database: string, role: string) =>
    `postgresql://${role}:${localPassword}@127.0.0.1:${port}/${database}`;
  const asSuperuser = (sql: string) => run(urlFor("postgres", superuser), sql);
  // Files are copied as they are: six times faster than page by page through the log, as Postgres would.
  await asSuperuser(
    `create database ${name} template ${pg.escapeIdentifier(template)} owner postgres strategy file_copy`,
  );
  return openDatabase(
    name,
    (role) => urlFor(name, role),
    () => asSuperuser(`drop database ${name} with (force)`),
  );
}

/**
 * A database that is there, on whatever server.
 *
 * @param remove what {@link Database.drop} does once the pools are closed
 */
export function openDatabase(
  name: string,
  urlFor: (role: string) => string,
  remove: () => Promise<void>,
): Database {
  const url = (role = "postgres") => urlFor(role);
  const [admin, api] = [pool(url(), 10), pool(url("authenticator"), 60)];
  return {
    name,
    url,
    admin,
    api,
    drop: async () => {
      await Promise.all([admin.end(), api.end()]);
      await remove();
    },
  };
}

/** Runs SQL on a connection of its own. */
export async function run(connectionString: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function pool(connectionString: string, max: number): pg.Pool {
  const connections = new pg.Pool({ connectionString, max });
  // A test may end connections by force; an idle one must not take the test process with it.
  connections.on("error", () => {});
  return connections;
}
