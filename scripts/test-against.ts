/*
 * npm run test:against -- <url> <publishable key> <secret key>: the HTTP trials against any Supabase project with
 * Tokenbook in it, hosted or `supabase start`. They know nothing of it but its API.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { projectRoot } from "./project.ts";

const [url, publishableKey, secretKey, ...more] = process.argv.slice(2);
if (secretKey === undefined || more.length > 0 || !URL.canParse(url!)) {
  console.error("npm run test:against -- <url> <publishable (anon) key> <secret (service_role) key>");
  process.exit(2);
}

console.log(`Trials against ${url}

This wants a project for trial, not one with customers. It makes:
- five users, tokenbook-trial-…@example.com, who are deleted at the end;
- a grant of 100 tokens and one of 60 in their books, 7 from the edge function grant, and some 45 deductions,
  which stay: the books outlive the user;
- a few hundred requests, most of them to be refused.
`);

const vitest = spawn(
  process.execPath,
  [
    join(projectRoot, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--config",
    join(projectRoot, "tests", "against", "vitest.config.ts"),
  ],
  {
    cwd: projectRoot,
    stdio: "inherit",
    env: { ...process.env, AGAINST: [url, publishableKey, secretKey].join(" ") },
  },
);
vitest.once("close", (status) => (process.exitCode = status ?? 1));
