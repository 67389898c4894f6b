/*
 * One Postgres server for the whole run, with three databases to copy from:
 * template_platform (what a hosted project has before its first migration),
 * template_platform_closed (the same without default privileges, as newer projects are) and
 * template_tokenbook (the first with every migration, applied by the real Supabase CLI).
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { choosePlace } from "local-platform/project/place";
import { prepareDatabase } from "local-platform/postgres/prepare";
import { removeData, startPostgres, superuser } from "local-platform/postgres/server";
import type { PostgresServer } from "local-platform/postgres/server";
import { recordProcess } from "local-platform/postgres/processes";
import { migrationUp } from "local-platform/project/supabase-cli";
import { project } from "../../scripts/project.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Port of the test server on 127.0.0.1. */
    postgresPort: number;
  }
}

const prefix = "tokenbook-test-";

/** Each project of a run asks for the server; they share one. */
const shared = globalThis as {
  testServer?: Promise<{ port: number; stop: () => Promise<void> }>;
  users?: number;
};

export default async function setup(vitest: TestProject): Promise<() => Promise<void>> {
  shared.testServer ??= startTestServer();
  shared.users = (shared.users ?? 0) + 1;
  const { port, stop } = await shared.testServer;
  vitest.provide("postgresPort", port);
  return async () => {
    shared.users! -= 1;
    if (shared.users === 0) await stop();
  };
}

async function startTestServer(): Promise<{ port: number; stop: () => Promise<void> }> {
  await removeAbandoned();
  const directory = mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
  // Run by root, Postgres is another user and must get to its data.
  chmodSync(directory, 0o755);
  const server = await startPostgres({
    dataDir: join(directory, "data"),
    port: 0,
    native: choosePlace(project).native,
    durable: false,
    settings: { max_connections: 400 },
  });
  try {
    await createTemplate(server, "template_platform");
    await prepareDatabase(server, { database: "template_platform" });
    await createTemplate(server, "template_platform_closed");
    await prepareDatabase(server, {
      database: "template_platform_closed",
      defaultPrivileges: "none",
    });
    await createTemplate(server, "template_tokenbook", "template_platform");
    await migrationUp({ url: server.url("template_tokenbook") });
    await giveNothingAtRegistration(server);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port: server.port, stop };

  async function stop() {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function createTemplate(server: PostgresServer, name: string, from = "template0") {
  const client = new pg.Client({ connectionString: server.url("postgres", superuser) });
  await client.connect();
  try {
    await client.query(`create database ${name} template ${from}`);
    // A copy of a database does not copy who owns it.
    if (from !== "template0") await client.query(`alter database ${name} owner to postgres`);
  } finally {
    await client.end();
  }
}

/**
 * New users of most tests begin with nothing, so that a test sees only what it did itself. A project
 * says so by having no default plan; tests of registration make one the default again.
 */
async function giveNothingAtRegistration(server: PostgresServer) {
  const client = new pg.Client({ connectionString: server.url("template_tokenbook") });
  await client.connect();
  try {
    await client.query("update public.token_plans set is_default = false where is_default");
  } finally {
    await client.end();
  }
}

/** Clears away what a run that was killed has left. Its process number is in the folder's name. */
async function removeAbandoned() {
  for (const name of readdirSync(tmpdir())) {
    const owner = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : Number.NaN;
    if (Number.isNaN(owner) || recordProcess(owner) !== undefined) continue;
    const directory = join(tmpdir(), name);
    try {
      await removeData(join(directory, "data"));
      rmSync(directory, { recursive: true, force: true });
    } catch {
      // Another user's: not ours to clear.
    }
  }
}
