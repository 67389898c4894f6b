import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { localPassword, superuser } from "local-platform/postgres/server";

/** A database of its own for a test file. */
export interface Database {
  name: string;
  /**
   * A connection string, for `postgres` unless another role is named: `authenticator` (as the API
   * connects), `supabase_auth_admin`, `supabase_admin` (the superuser).
   */
  url(role?: string): string;
  /** Connections as `postgres`: owner of everything in public and tokenbook, not a superuser. */
  admin: pg.Pool;
  /** Connections as `authenticator`, which can do nothing until it becomes another role; see roles.ts. */
  api: pg.Pool;
  /** Closes the pools and removes the database, whoever is still connected to it. */
  drop(): Promise<void>;
}

/**
 * What a new database starts with. `tokenbook` (the default): every migration applied, to a project
 * with the legacy default privileges. `platform`: a hosted project without any migration; with
 * `defaultPrivileges: "none"` one of those made since 2026-05-30.
 */
export type DatabaseOptions =
  | { template?: "tokenbook" }
  | { template: "platform"; defaultPrivileges?: "legacy" | "none" };

/** Makes a database, as a copy of a template; takes about 0.1 s. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<Database> {
  const name = `test_${randomBytes(6).toString("hex")}`;
  await asSuperuser(`create database ${name} template ${templateOf(options)} owner postgres`);
  return openDatabase(
    name,
    (role) => urlOf(name, role),
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

function templateOf(options: DatabaseOptions): string {
  if (options.template !== "platform") return "template_tokenbook";
  return options.defaultPrivileges === "none" ? "template_platform_closed" : "template_platform";
}

function pool(connectionString: string, max: number): pg.Pool {
  const connections = new pg.Pool({ connectionString, max });
  // A test may end connections by force; an idle one must not take the test process with it.
  connections.on("error", () => {});
  return connections;
}

function urlOf(database: string, role: string): string {
  return `postgresql://${role}:${localPassword}@127.0.0.1:${inject("postgresPort")}/${database}`;
}

async function asSuperuser(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: urlOf("postgres", superuser) });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
