import { expect, test } from "vitest";
import { countResults } from "../../scripts/test-results.ts";
import type { VitestReport } from "../../scripts/test-results.ts";

const checks = [{ passed: true }, { passed: true }];
const report = (over: Partial<VitestReport> = {}): VitestReport => ({
  numPassedTests: 3,
  numFailedTests: 0,
  testResults: [
    { name: "a.test.ts", status: "passed", assertionResults: [{ status: "passed", fullName: "a" }] },
  ],
  ...over,
});

test("checks and tests are counted together", () => {
  expect(countResults(checks, report(), true)).toEqual({ passed: 5, failed: 0, complaints: [] });
  expect(countResults([{ passed: false }], report({ numFailedTests: 2 }), false)).toMatchObject({
    passed: 3,
    failed: 3,
  });
});

test("a skipped test counts as failed and is named", () => {
  const skipped = report({
    testResults: [
      {
        name: "a.test.ts",
        status: "passed",
        assertionResults: [{ status: "skipped", fullName: "a promise" }],
      },
    ],
  });

  expect(countResults(checks, skipped, true)).toMatchObject({
    failed: 1,
    complaints: ["Not run (skipped): a promise"],
  });
});

test("a file that could not be read counts as failed", () => {
  const unreadable = report({ testResults: [{ name: "b.test.ts", status: "failed", assertionResults: [] }] });

  expect(countResults(checks, unreadable, false)).toMatchObject({
    failed: 1,
    complaints: ["Not run: b.test.ts"],
  });
});

test("an error outside of every test, or a run without a report, counts as failed", () => {
  expect(countResults(checks, report(), false).failed).toBe(1);
  expect(countResults(checks, undefined, false).failed).toBe(1);
});
