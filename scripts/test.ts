/*
 * npm test [-- <file or name of vitest …>]: the checks, then what the product does.
 * npm run test:proofs [-- <file …>]: known-bad variants, long trials, faults and the local platform.
 *
 * Says at the end what each part took. The last line is `N passed, N failed`, for programs that count;
 * the checks are counted with the tests.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printChecks, runChecks } from "./checks.ts";
import { projectRoot } from "./project.ts";
import { countResults, timesOfParts } from "./test-results.ts";
import type { VitestReport } from "./test-results.ts";

const begin = performance.now();
const [kind, ...rest] = process.argv.slice(2);
const isProofs = kind === "--proofs";
const selection = isProofs
  ? ["--project=behaviour", "--project=proofs", "--project=platform", "--tags-filter=proof"]
  : ["--project=unit", "--project=behaviour", "--tags-filter=!proof"];
const named = isProofs || kind === undefined ? rest : [kind, ...rest];
const filters = isProofs ? filesWithProofs(named) : named;

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
const results = countResults(checks, report, status === 0, isProofs ? "proofs" : "tests");
for (const complaint of results.complaints) console.log(complaint);
process.exitCode = results.failed === 0 ? 0 : 1;
const seconds = (from: number, to: number) => `${((to - from) / 1000).toFixed(0)} s`;
const now = performance.now();
console.log(
  `${seconds(begin, now)}${isProofs ? "" : `: ${seconds(begin, checked)} of checks, ${seconds(checked, now)} of tests`}`,
);
console.log(`${results.passed} passed, ${results.failed} failed`);

/**
 * The test files that a run of proofs opens: those that say anywhere that they have a proof in them, and all of
 * the folders that hold nothing else, so that a file there which says nothing is missed by the count.
 *
 * @param named parts of paths; none means all files.
 */
function filesWithProofs(named: string[]): string[] {
  const files = ["tests", "packages"]
    .flatMap((folder) =>
      readdirSync(join(projectRoot, folder), { recursive: true, encoding: "utf8" }).map((file) =>
        join(folder, file),
      ),
    )
    .filter((file) => file.endsWith(".test.ts") && !file.includes("node_modules"))
    .filter((file) => named.length === 0 || named.some((part) => file.includes(part)))
    .filter(
      (file) =>
        /^(packages|tests\/(commands|install|model|proofs))\//.test(file) ||
        /tags: \["proof"\]|@module-tag proof/.test(readFileSync(join(projectRoot, file), "utf8")),
    );
  // Without any, vitest would run everything.
  if (files.length === 0) throw new Error(`There is no proof in ${named.join(", ")}.`);
  return files;
}
