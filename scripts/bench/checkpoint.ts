/*
 * npm run bench:checkpoint [-- <entries> [<users>]]: what checkpoints of a long ledger cost, and comparing it
 * with one. On a throwaway database; a million entries unless told otherwise, and a user for each hundred.
 */
import { cpus } from "node:os";
import pg from "pg";
import { reportFailure } from "local-platform/terminal/failure";
import { createProgress } from "../../packages/tokenbook/src/terminal/progress.ts";
import { withInstalledDatabase } from "../schema/scratch-database.ts";
import { cpuSeconds } from "./pgbench.ts";
import { measureCheckpoint } from "./measure-checkpoint.ts";

const progress = createProgress(process.stderr, { inLogs: true });
try {
  const entries = Number(process.argv[2] ?? 1_000_000);
  const users = Number(process.argv[3] ?? Math.ceil(entries / 100));
  await withInstalledDatabase(async (url, server) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const { rows } = await client.query("show server_version");
      const { lines } = await measureCheckpoint(
        client,
        { entries, users },
        {
          say: (text) => progress.show(text),
          cpuSeconds: () => cpuSeconds(server.pid),
        },
      );
      progress.clear();
      console.log(
        `${new Date().toISOString().slice(0, 10)}, PostgreSQL ${rows[0].server_version}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"})`,
      );
      for (const line of lines) console.log(line);
    } finally {
      await client.end();
    }
  });
} catch (error) {
  progress.clear();
  reportFailure(error);
}
