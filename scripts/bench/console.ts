/*
 * npm run bench:console [-- <users> [<times>] [--plans]]: how long the database takes for each request of the console's
 * pages for admins, in a project of 100,000 users with 1,000,000 entries in their ledgers unless told otherwise, each 20 times. On a
 * throwaway database. --plans writes how each is run to docs/console/plans.md. Ends with 1 when the median of one is over
 * 300 ms.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { superuser } from "local-platform/postgres/server";
import { projectRoot } from "../project.ts";
import { formatted } from "../schema/formatted.ts";
import { load, measureConsole, type Request, tableOf } from "./measure-console.ts";
import { onScratch } from "./on-scratch.ts";

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
    const slow = requests.filter(({ median }) => median > most);
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

function pageOf(data: string, requests: readonly Request[]): string {
  const plans = requests.flatMap(({ page, request, plan }) =>
    plan === undefined
      ? []
      : [
          `## ${page}: ${request}`,
          "",
          `${plan.where === "" ? "The statement itself" : plan.where}:`,
          "",
          "```text",
          plan.plan.trimEnd(),
          "```",
          "",
        ],
  );
  return [
    "# How an admin's pages are read",
    "",
    "Made by `npm run bench:console -- --plans`: of each request of the console's pages for admins, its longest statement, as Postgres ran it for",
    `${data}.`,
    "",
    ...plans,
  ].join("\n");
}
