import { dirname, relative, sep } from "node:path";
import Table from "cli-table3";
import { projectRoot } from "./project.ts";
import { isAllProofs } from "./test-files.ts";

/** What is read of vitest's JSON report. */
export interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    /** The file. */
    name: string;
    status: "passed" | "failed";
    /** When its first test began and its last one ended, in milliseconds. */
    startTime: number;
    endTime: number;
    assertionResults: { status: string; fullName: string; tags: string[] }[];
  }[];
}

/** The whole run in numbers. */
export interface Results {
  passed: number;
  failed: number;
  /** One line for each: the checks and tests that failed, and what counts as failed although no test says so. */
  complaints: string[];
  /** How many tests want a browser where there is none. */
  untried: number;
}

/**
 * Counts checks and tests. Whatever else went wrong counts as failed too: a file that could not be
 * read, a test that was skipped, an error outside of every test, a run without a report. "0 failed" beside
 * a run that proved less than it should is the one thing this must never say.
 *
 * What has the tag `browser` may be skipped, where no browser is found: that is told, and counts as neither.
 *
 * A file may hold tests of both kinds, and each of the two runs leaves the other's tests out: those alone
 * may be skipped.
 *
 * @param run `tests` (npm test) leaves out what has the tag `proof`; `proofs` (npm run test:proofs) leaves
 *   out what has none, in files where something has it and in no folder that holds proofs alone.
 * @param openedByProofs the files that the run of proofs opens: what `npm test` leaves out must be among them.
 */
export function countResults(
  checks: { name: string; passed: boolean }[],
  report: VitestReport | undefined,
  vitestSucceeded: boolean,
  run: "tests" | "proofs" = "tests",
  openedByProofs: readonly string[] = [],
): Results {
  const failedChecks = checks.filter((check) => !check.passed);
  const passed = checks.length - failedChecks.length + (report?.numPassedTests ?? 0);
  const failed = failedChecks.length + (report?.numFailedTests ?? 0);
  const failures = failedChecks.map(({ name }) => name);
  const complaints: string[] = [];
  let untried = 0;
  if (report === undefined) complaints.push("The tests did not run to their end.");
  for (const { name, status, assertionResults } of report?.testResults ?? []) {
    const isProof = ({ tags }: { tags: string[] }) => tags.includes("proof");
    const isMixed = !isAllProofs(relative(projectRoot, name)) && assertionResults.some(isProof);
    const leavesOut = run === "tests" && assertionResults.some((test) => isProof(test));
    if (leavesOut && !openedByProofs.some((file) => name.endsWith(file))) {
      complaints.push(`Has a proof that npm run test:proofs does not find: ${name}`);
    }
    for (const test of assertionResults) {
      if (test.status === "failed") failures.push(`${relative(projectRoot, name)} > ${test.fullName}`);
      const isOthers = run === "tests" ? isProof(test) : isMixed && !isProof(test);
      if (!isOthers && test.status === "skipped" && test.tags.includes("browser")) untried++;
      else if (!isOthers && !["passed", "failed"].includes(test.status)) {
        complaints.push(`Not run (${test.status}): ${test.fullName}`);
      }
    }
    if (status === "failed" && !assertionResults.some((test) => test.status === "failed")) {
      complaints.push(`Not run: ${name}`);
    }
  }
  if (report !== undefined && report.numPassedTests + report.numFailedTests === 0) {
    complaints.push("No test ran.");
  }
  if (!vitestSucceeded && complaints.length === 0 && !report?.numFailedTests) {
    complaints.push("An error happened outside of every test; see above.");
  }
  return { passed, failed: failed + complaints.length, complaints: [...failures, ...complaints], untried };
}

/**
 * What each folder of tests took, as a table: the time of its files added up, which is more than what the
 * clock says where several run side by side.
 */
export function timesOfParts(report: VitestReport | undefined, root: string): string {
  const parts = new Map<string, { tests: number; seconds: number }>();
  for (const { name, startTime, endTime, assertionResults } of report?.testResults ?? []) {
    const ran = assertionResults.filter(({ status }) => status === "passed" || status === "failed");
    if (ran.length === 0) continue;
    const folders = relative(root, dirname(name)).split(sep);
    const part = folders.slice(0, folders[1] === "proofs" ? 3 : 2).join("/");
    const known = parts.get(part) ?? { tests: 0, seconds: 0 };
    parts.set(part, {
      tests: known.tests + ran.length,
      seconds: known.seconds + (endTime - startTime) / 1000,
    });
  }
  const table = new Table({
    head: ["part", "tests", "seconds"],
    style: { head: [], border: [] },
    colAligns: ["left", "right", "right"],
    // no lines between lines: it is one list
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  const byTime = [...parts].toSorted(([, a], [, b]) => b.seconds - a.seconds);
  for (const [part, { tests, seconds }] of byTime) table.push([part, tests, seconds.toFixed(1)]);
  return table.toString();
}
