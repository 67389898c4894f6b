import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareDatabase } from "../local/database.ts";
import { choosePlace } from "../local/place.ts";
import { type PostgresServer, startPostgres } from "../local/postgres.ts";
import { migrationUp } from "../local/supabase-cli.ts";

/**
 * Runs `work` on a throwaway database with every migration of this checkout applied, on a server of
 * its own: what is generated from it does not depend on what runs on this machine, or how old it is.
 *
 * @param options of the server. It keeps nothing through a crash unless told to be durable
 */
export async function withMigratedDatabase<Result>(
  work: (databaseUrl: string, server: PostgresServer) => Promise<Result>,
  options: { durable?: boolean; settings?: Record<string, string | number> } = {},
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "tokenbook-scratch-"));
  await chmod(directory, 0o755); // run by root, Postgres is another user and must get to its data
  try {
    const server = await startPostgres({
      dataDir: join(directory, "data"),
      port: 0,
      native: choosePlace().native,
      durable: false,
      ...options,
    });
    try {
      await prepareDatabase(server);
      await migrationUp({ url: server.url() });
      return await work(server.url(), server);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
