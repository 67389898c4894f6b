/*
 * npm run bench:revenue [-- <users> [<entries>] [--plans]]: how long get_token_revenue takes when nothing of the ledger is
 * counted yet, when all is, and after some uses. On a throwaway database; 100,000 buyers of 10 entries each unless told
 * otherwise.
 */
import { superuser } from "local-platform/postgres/server";
import { measureRevenue } from "./measure-revenue.ts";
import { onScratch } from "./on-scratch.ts";

await onScratch(
  async ({ client, say, print, printSetting }) => {
    const numbers = process.argv.slice(2).filter((word) => !word.startsWith("--"));
    const users = Number(numbers[0] ?? 100_000);
    const entries = Number(numbers[1] ?? 10);
    const { lines } = await measureRevenue(
      client,
      { users, entries },
      { say, hasPlans: process.argv.includes("--plans") },
    );
    await printSetting();
    lines.forEach(print);
  },
  { as: superuser },
);
