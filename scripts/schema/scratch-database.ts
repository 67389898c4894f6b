import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareDatabase } from "local-platform/postgres/prepare";
import { choosePlace } from "local-platform/project/place";
import { type PostgresServer, startPostgres } from "local-platform/postgres/server";
import { migrationUp } from "local-platform/project/supabase-cli";
import { buildFromSchemas } from "./build-from-schemas.ts";
import { project } from "../project.ts";

/** What a throwaway server is told. It keeps nothing through a crash unless told to be durable. */
interface ServerOptions {
  durable?: boolean;
  settings?: Record<string, string | number>;
}

/** Work on a throwaway database. */
type Work<Result> = (databaseUrl: string, server: PostgresServer) => Promise<Result>;

/** Runs `work` on a throwaway database with every migration of this checkout applied. */
export const withMigratedDatabase = <Result>(work: Work<Result>, options: ServerOptions = {}) =>
  withPlatform(async (url, server) => {
    await migrationUp({ url });
    return work(url, server);
  }, options);

/** The same with what the schema files make and nothing else: what other projects get. */
export const withInstalledDatabase = <Result>(work: Work<Result>, options: ServerOptions = {}) =>
  withPlatform(async (url, server) => {
    await buildFromSchemas(url);
    return work(url, server);
  }, options);

/**
 * Runs `work` on a database with the platform in it and nothing of the books, on a server of its own: what is generated from it
 * does not depend on what runs on this machine, or how old it is.
 */
export async function withPlatform<Result>(work: Work<Result>, options: ServerOptions = {}): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "tokenbook-scratch-"));
  await chmod(directory, 0o755); // run by root, Postgres is another user and must get to its data
  try {
    const server = await startPostgres({
      dataDir: join(directory, "data"),
      port: 0,
      native: choosePlace(project).native,
      durable: false,
      ...options,
    });
    try {
      await prepareDatabase(server);
      return await work(server.url(), server);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
