/*
 * npm run bench:revenue [-- <users> [<entries>] [--plans]]: how long get_token_revenue takes when nothing of the ledger is
 * counted yet, when all is, and after some uses. On a throwaway database; 100,000 buyers of 10 entries each unless told
 * otherwise.
 */
import { cpus } from "node:os";
import pg from "pg";
import { reportFailure } from "local-platform/terminal/failure";
import { createProgress } from "../../packages/tokenbook/src/terminal/progress.ts";
import { withInstalledDatabase } from "../schema/scratch-database.ts";
import { measureRevenue } from "./measure-revenue.ts";

const progress = createProgress(process.stderr, { inLogs: true });
try {
  const numbers = process.argv.slice(2).filter((word) => !word.startsWith("--"));
  const users = Number(numbers[0] ?? 100_000);
  const entries = Number(numbers[1] ?? 10);
  await withInstalledDatabase(async (_, server) => {
    const client = new pg.Client({ connectionString: server.url("postgres", "supabase_admin") });
    await client.connect();
    try {
      const { rows } = await client.query("show server_version");
      const { lines } = await measureRevenue(
        client,
        { users, entries },
        { say: (text) => progress.show(text), hasPlans: process.argv.includes("--plans") },
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
