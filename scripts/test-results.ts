/** What is read of vitest's JSON report. */
export interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: {
    /** The file. */
    name: string;
    status: "passed" | "failed";
    assertionResults: { status: string; fullName: string }[];
  }[];
}

/** The whole run in numbers. */
export interface Results {
  passed: number;
  failed: number;
  /** What is counted as failed although no test says so. */
  complaints: string[];
}

/**
 * Counts checks and tests. Whatever else went wrong counts as failed too: a file that could not be
 * read, a test that was skipped, an error outside of every test, a run without a report. "0 failed" beside
 * a run that proved less than it should is the one thing this must never say.
 */
export function countResults(
  checks: { passed: boolean }[],
  report: VitestReport | undefined,
  vitestSucceeded: boolean,
): Results {
  const passed = checks.filter((check) => check.passed).length + (report?.numPassedTests ?? 0);
  const failed =
    checks.length - checks.filter((check) => check.passed).length + (report?.numFailedTests ?? 0);
  const complaints: string[] = [];
  if (report === undefined) complaints.push("The tests did not run to their end.");
  for (const { name, status, assertionResults } of report?.testResults ?? []) {
    for (const test of assertionResults) {
      if (!["passed", "failed"].includes(test.status)) {
        complaints.push(`Not run (${test.status}): ${test.fullName}`);
      }
    }
    if (status === "failed" && !assertionResults.some((test) => test.status === "failed")) {
      complaints.push(`Not run: ${name}`);
    }
  }
  if (!vitestSucceeded && complaints.length === 0 && !report?.numFailedTests) {
    complaints.push("An error happened outside of every test; see above.");
  }
  return { passed, failed: failed + complaints.length, complaints };
}
