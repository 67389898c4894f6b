/*
 * npm test [-- <file or name of vitest …>]: the checks, then what the product does.
 * npm run test:proofs [-- <file …>]: known-bad variants, long trials, faults and the local platform.
 *
 * Says at the end what each part took and, a line each, what failed. The last line is `N passed, N failed`,
 * for programs that count; the checks are counted with the tests.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printChecks, runChecks } from "./checks.ts";
import { projectRoot } from "./project.ts";
import { filesWithProofs } from "./test-files.ts";
import { countResults, timesOfParts } from "./test-results.ts";
import type { VitestReport } from "./test-results.ts";

const begin = performance.now();
const [kind, ...rest] = process.argv.slice(2);
const isProofs = kind === "--proofs";
const selection = isProofs
  ? ["--project=unit", "--project=behaviour", "--project=proofs", "--project=platform", "--tags-filter=proof"]
  : ["--project=unit", "--project=behaviour", "--tags-filter=!proof"];
const named = isProofs || kind === undefined ? rest : [kind, ...rest];
const withProofs = filesWithProofs(projectRoot);
const filters = isProofs ? requireProofs(named) : named;

const checks = isProofs ? [] : await runChecks();
printChecks(checks);
const checked = performance.now();

const directory = mkdtempSync(join(tmpdir(), "tokenbook-results-"));
const reportFile = join(directory, "vitest.json");
const vitest = spawn(
  process.execPath,
  [
    join(projectRoot, "node_modules", "vitest", "vitest.mjs"),
    "run",
    ...selection,
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${reportFile}`,
    ...filters,
  ],
  { cwd: projectRoot, stdio: ["ignore", "inherit", "inherit"] },
);
const status = await new Promise<number | null>((resolve, reject) => {
  vitest.once("error", reject);
  vitest.once("close", resolve);
});
const report = existsSync(reportFile)
  ? (JSON.parse(readFileSync(reportFile, "utf8")) as VitestReport)
  : undefined;
rmSync(directory, { recursive: true });

console.log(timesOfParts(report, projectRoot));
const results = countResults(checks, report, status === 0, isProofs ? "proofs" : "tests", withProofs);
for (const complaint of results.complaints) console.log(`Failed: ${complaint}`);
if (results.untried > 0)
  console.log(
    `Not tried: ${results.untried} tests, for want of a browser (Debian's chromium; CHROMIUM= says where one is).`,
  );
process.exitCode = results.failed === 0 ? 0 : 1;
const seconds = (from: number, to: number) => `${((to - from) / 1000).toFixed(0)} s`;
const now = performance.now();
console.log(
  `${seconds(begin, now)}${isProofs ? "" : `: ${seconds(begin, checked)} of checks, ${seconds(checked, now)} of tests`}`,
);
console.log(`${results.passed} passed, ${results.failed} failed`);

/** The files that a run of proofs opens. Without any, vitest would run everything. */
function requireProofs(parts: string[]): string[] {
  const files = withProofs.filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
  if (files.length === 0) throw new Error(`There is no proof in ${parts.join(", ")}.`);
  return files;
}
