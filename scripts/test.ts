/*
 * npm test [-- <file or name of vitest …>]: the checks, then every test. The last line is
 * `N passed, N failed`, for whoever counts; the checks are counted with the tests.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printChecks, runChecks } from "./checks.ts";
import { countResults } from "./test-results.ts";
import type { VitestReport } from "./test-results.ts";
import { projectRoot } from "./project.ts";

const checks = await runChecks();
printChecks(checks);

const directory = mkdtempSync(join(tmpdir(), "tokenbook-results-"));
const reportFile = join(directory, "vitest.json");
const vitest = spawn(
  process.execPath,
  [
    join(projectRoot, "node_modules", "vitest", "vitest.mjs"),
    ...["run", "--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`],
    ...process.argv.slice(2),
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

const results = countResults(checks, report, status === 0);
for (const complaint of results.complaints) console.log(complaint);
process.exitCode = results.failed === 0 ? 0 : 1;
console.log(`${results.passed} passed, ${results.failed} failed`);
