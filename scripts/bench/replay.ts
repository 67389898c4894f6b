/*
 * npm run bench:replay [-- <users>]: how long a replay of everyone takes, and how that compares with
 * writing the very same rows once: past three times as long, the exit code is 1. On a throwaway database; 50,000 users with 20 transactions each
 * unless told otherwise.
 */
import { withMigratedDatabase } from "../schema/scratch-database.ts";
import { measureReplay } from "./measure-replay.ts";
import { onScratch } from "./on-scratch.ts";

await onScratch(
  async ({ client, print }) => {
    const { lines, ratio } = await measureReplay(client, Number(process.argv[2] ?? 50_000));
    lines.forEach(print);
    if (ratio > 3) process.exitCode = 1;
  },
  { having: withMigratedDatabase },
);
