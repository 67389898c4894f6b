/*
 * npm run bench:replay [-- <users>]: how long a replay of everyone takes, and how that compares with
 * writing the very same rows once. On a throwaway database; 50,000 users with 20 transactions each
 * unless told otherwise.
 */
import pg from "pg";
import { reportFailure } from "local-platform/terminal/failure";
import { withMigratedDatabase } from "../schema/scratch-database.ts";
import { measureReplay } from "./measure-replay.ts";

try {
  const users = Number(process.argv[2] ?? 50_000);
  await withMigratedDatabase(async (url) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const { lines } = await measureReplay(client, users);
      for (const line of lines) console.log(line);
    } finally {
      await client.end();
    }
  });
} catch (error) {
  reportFailure(error);
}
