/* npm run demo:broken: books that are wrong on purpose, in the demo data of the stack that `npm start` runs. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Table from "cli-table3";
import pg from "pg";
import { localPassword, readRunning } from "local-platform/project/running";
import { Failure, reportFailure } from "local-platform/terminal/failure";
import { brokenBooks } from "./broken-books.ts";
import { project, projectRoot } from "./project.ts";

try {
  await load();
  console.log(report());
} catch (error) {
  reportFailure(error);
  process.exitCode = 1;
}

async function load(): Promise<void> {
  const running = readRunning(project);
  if (running === undefined)
    throw new Failure("Nothing runs here: npm start, and then this in another terminal.");
  const client = new pg.Client({
    connectionString: `postgresql://postgres:${localPassword}@127.0.0.1:${running.dbPort}/postgres`,
  });
  await client.connect();
  try {
    await client.query(readFileSync(join(projectRoot, "scripts", "sql", "broken-books.sql"), "utf8"));
  } finally {
    await client.end();
  }
}

function report(): string {
  const table = new Table({
    head: ["user", "what was done behind the functions' back", "reconcile says", "verify says"],
    style: { head: [], border: [] },
    wordWrap: true,
    colWidths: [31, 44, 28, 28],
  });
  for (const { email, done, scenario, verify = [] } of brokenBooks)
    table.push([email, done, scenario, verify.join(", ") || "nothing: the books agree with themselves"]);
  return `${brokenBooks.length} users whose books are wrong on purpose are there:

${table}

See it caught:

  npm run verify                                           # two of them, and ends with 1
  npm run reconcile                                        # everyone who has too much or too little, the worst first
  npm run reconcile -- --user balance-higher@example.com   # one of them, line by line

npm start -- --reset is the way back: it makes the demo data anew.`;
}
