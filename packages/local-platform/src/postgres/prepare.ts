import { readFileSync } from "node:fs";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import pg from "pg";
import { superuser } from "./server.ts";
import type { PostgresServer } from "./server.ts";

/** What may differ between two hosted projects. */
export interface DatabaseOptions {
  /** Default `postgres`. It must exist. */
  database?: string;
  /**
   * What the API's roles may do with a new table or function of schema public: everything (`legacy`,
   * projects made before 2026-05-30; the default, because it is the one that leaves doors open) or
   * `none`. Takes effect when the database is prepared for the first time.
   */
  defaultPrivileges?: "legacy" | "none";
}

/** Makes the roles of a hosted project, once for a server. {@link prepareDatabase} does so too. */
export async function prepareServer(server: PostgresServer): Promise<void> {
  const client = new pg.Client({ connectionString: server.url("postgres", superuser) });
  await client.connect();
  try {
    await makeRoles(client);
  } finally {
    await client.end();
  }
}

async function makeRoles(client: pg.Client): Promise<void> {
  if (await isMissing(client, "to_regrole('dashboard_user')")) {
    await client.query(`begin; ${platformSql("cluster")}; commit`);
  }
}

/**
 * Makes a database look as a hosted Supabase project looks before its first migration: roles, schemas,
 * extensions, default privileges, `auth.uid()` and the tables of schema auth.
 *
 * Does only what is missing, so that a start that was interrupted is finished by the next one.
 */
export async function prepareDatabase(
  server: PostgresServer,
  { database = "postgres", defaultPrivileges = "legacy" }: DatabaseOptions = {},
): Promise<void> {
  const client = new pg.Client({ connectionString: server.url(database, superuser) });
  await client.connect();
  try {
    await makeRoles(client);
    if (await isMissing(client, "to_regnamespace('extensions')")) {
      const owner = `alter database ${pg.escapeIdentifier(database)} owner to postgres`;
      const privileges = defaultPrivileges === "legacy" ? platformSql("default-privileges-legacy") : "";
      await client.query(`begin; ${owner}; ${platformSql("database")}; ${privileges}; commit`);
    }
    if (await isMissing(client, newestAuthTables)) {
      await createAuthTables(server.url(database, "supabase_auth_admin"));
      if (await isMissing(client, newestAuthTables)) {
        throw new Error(`@supabase/lite did not make the tables of schema auth in ${database}.`);
      }
    }
  } finally {
    await client.end();
  }
}

/** The tables that the API and the seed rest on; null when one of them is missing. */
const newestAuthTables = ["users", "identities", "sessions", "refresh_tokens", "audit_log_entries"]
  .map((table) => `to_regclass('auth.${table}')::text`)
  .join(" || ");

/**
 * Schema auth as @supabase/lite keeps it, in the place of the hosted auth server's. Connected as that
 * server's role, for two reasons: the tables get the right owner, and lite's older versions of
 * auth.uid() and its kin, which belong to supabase_admin by now, can't be put in place of ours.
 * Lite passes over what fails without a word; the caller looks afterwards.
 */
async function createAuthTables(url: string): Promise<void> {
  const connection = createPostgresConnection({ url });
  try {
    const app = new App({
      connection,
      // Nothing is signed here; lite wants a secret of this length whenever auth is on.
      auth: { enabled: true, jwt_secret: "x".repeat(40) },
      // The Supabase CLI keeps the books of migrations.
      db: { migrations: { enabled: false } },
    });
    await app.ensureSystemSchema();
  } finally {
    await connection.close();
  }
}

async function isMissing(client: pg.Client, expression: string): Promise<boolean> {
  const { rows } = await client.query<{ missing: boolean }>(`select (${expression}) is null as missing`);
  return rows[0]!.missing;
}

function platformSql(name: string): string {
  return readFileSync(new URL(`sql/${name}.sql`, import.meta.url), "utf8");
}
