/*
 * npm run bench:console [-- <users> [<times>] [--plans]]: how long the database takes for each request of the console's
 * pages for admins, in a project of 100,000 users with 1,000,000 entries in their ledgers unless told otherwise, each 20 times. On a
 * throwaway database. --plans writes how each is run to docs/console/plans.md. Ends with 1 when one takes more
 * than 300 ms of a processor, as a rule: what the clock says beside it is this machine's, with all that it does.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { superuser } from "local-platform/postgres/server";
import { projectRoot } from "../project.ts";
import { formatted } from "../schema/formatted.ts";
import { load, measureConsole, tableOf } from "./measure-console.ts";
import { onScratch } from "./on-scratch.ts";
import { pageOf } from "./plans-page.ts";

const most = 300;

await onScratch(
  async ({ client, say, print, printSetting }) => {
    const [users = "100000", times = "20"] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
    const hasPlans = process.argv.includes("--plans");
    const before = load();
    const { data, requests, breaches } = await measureConsole(
      client,
      { users: Number(users), heavy: Math.ceil(Number(users) / 5), times: Number(times) },
      { say, hasPlans },
    );
    await printSetting();
    print(`${data} breaches=${breaches}`);
    print(`load (1 and 5 minutes) before=${before} after=${load()}`);
    tableOf(requests).forEach(print);
    const slow = requests.filter(({ processor }) => processor > most);
    for (const { page, request } of slow) print(`over ${most} ms: ${page}, ${request}`);
    if (slow.length > 0 || breaches > 0) process.exitCode = 1;
    if (hasPlans) {
      const path = "docs/console/plans.md";
      writeFileSync(join(projectRoot, path), await formatted(path, pageOf(data, requests)));
      print(`Written: ${path}`);
    }
  },
  { as: superuser },
);
