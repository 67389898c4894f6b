/*
 * npm run bench:checkpoint [-- <entries> [<users>]]: what checkpoints of a long ledger cost, and comparing it
 * with one. On a throwaway database; a million entries unless told otherwise, and a user for each hundred.
 */
import { measureCheckpoint } from "./measure-checkpoint.ts";
import { onScratch } from "./on-scratch.ts";
import { cpuSeconds } from "./pgbench.ts";

await onScratch(async ({ client, server, say, print, printSetting }) => {
  const entries = Number(process.argv[2] ?? 1_000_000);
  const users = Number(process.argv[3] ?? Math.ceil(entries / 100));
  const { lines } = await measureCheckpoint(
    client,
    { entries, users },
    { say, cpuSeconds: () => cpuSeconds(server.pid) },
  );
  await printSetting();
  lines.forEach(print);
});
