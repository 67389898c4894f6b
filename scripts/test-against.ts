/*
 * npm run test:against -- <url> <publishable key> <secret key>: the HTTP trials against any Supabase project with
 * Tokenbook in it, hosted or `supabase start`. They know nothing of it but its API.
 * npm run test:against -- postgres://…: the trials of the ledger against any database with Tokenbook in it, a Citus
 * coordinator among them, as its owner. INTERRUPT says which command kills a worker and brings it back; without it
 * connections are ended.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { projectRoot } from "./project.ts";

const [url = "", ...keys] = process.argv.slice(2);
const isDatabase = /^postgres(ql)?:\/\//.test(url);
if (!URL.canParse(url) || keys.length !== (isDatabase ? 0 : 2)) {
  console.error(
    "npm run test:against -- <url> <publishable (anon) key> <secret (service_role) key>\n" +
      "npm run test:against -- postgres://<owner>:<password>@<host>:<port>/<database>",
  );
  process.exit(2);
}

console.log(
  isDatabase
    ? `Trials against the database at ${new URL(url).host}

This wants a database for trial, not one with customers. It makes:
- some 70 users in auth.users, with grants and about 2,500 entries in their books; all of it stays;
- plans professional and annual, where there are none of these names; a webhook endpoint app, an alert rule and a code;
- one user whose books are wrong on purpose: verifying finds them.
`
    : `Trials against ${url}

This wants a project for trial, not one with customers. It makes:
- five users, tokenbook-trial-…@example.com, who are deleted at the end;
- a grant of 100 tokens and one of 60 in their books, 7 from the edge function grant, and some 45 deductions,
  which stay: the books outlive the user;
- a few hundred requests, most of them to be refused.
`,
);

const vitest = spawn(
  process.execPath,
  [
    join(projectRoot, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--config",
    join(projectRoot, "tests", "against", "vitest.config.ts"),
    ...(isDatabase ? ["tests/against/ledger"] : ["tests/against/api", "tests/against/edge"]),
  ],
  {
    cwd: projectRoot,
    stdio: "inherit",
    env: { ...process.env, AGAINST: [url, ...keys].join(" ") },
  },
);
vitest.once("close", (status) => (process.exitCode = status ?? 1));
