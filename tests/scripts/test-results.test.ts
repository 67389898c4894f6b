import { expect, test } from "vitest";
import { countResults, timesOfParts } from "../../scripts/test-results.ts";
import type { VitestReport } from "../../scripts/test-results.ts";

const checks = [{ passed: true }, { passed: true }];
type File = VitestReport["testResults"][number];
const file = (
  name: string,
  assertionResults: File["assertionResults"],
  status: File["status"] = "passed",
): File => ({
  name,
  status,
  startTime: 1_000,
  endTime: 3_500,
  assertionResults,
});
const report = (over: Partial<VitestReport> = {}): VitestReport => ({
  numPassedTests: 3,
  numFailedTests: 0,
  testResults: [file("a.test.ts", [{ status: "passed", fullName: "a", tags: [] }])],
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
    testResults: [file("a.test.ts", [{ status: "skipped", fullName: "a promise", tags: [] }])],
  });

  expect(countResults(checks, skipped, true)).toMatchObject({
    failed: 1,
    complaints: ["Not run (skipped): a promise"],
  });
});

test("a file that could not be read counts as failed", () => {
  const unreadable = report({ testResults: [file("b.test.ts", [], "failed")] });

  expect(countResults(checks, unreadable, false)).toMatchObject({
    failed: 1,
    complaints: ["Not run: b.test.ts"],
  });
});

test("an error outside of every test, or a run without a report, counts as failed", () => {
  expect(countResults(checks, report(), false).failed).toBe(1);
  expect(countResults(checks, undefined, false).failed).toBe(1);
});

test("each of the two runs leaves out the other's tests, and nothing else", () => {
  const passed = (fullName: string, ...tags: string[]) => ({ status: "passed", fullName, tags });
  const skipped = (fullName: string, ...tags: string[]) => ({ status: "skipped", fullName, tags });
  const complaints = (run: "tests" | "proofs", ...results: File["assertionResults"]) =>
    countResults([], report({ testResults: [file("a.test.ts", results)] }), true, run).complaints;

  expect(complaints("tests", passed("a rule"), skipped("it can fail", "proof"))).toEqual([]);
  expect(complaints("proofs", skipped("a rule"), passed("it can fail", "proof"))).toEqual([]);
  expect(complaints("proofs", skipped("a rule"), skipped("it can fail", "proof"))).toEqual([
    "Not run (skipped): it can fail",
  ]);
  // A file of proofs alone has no tags: all of it is to run.
  expect(complaints("proofs", skipped("a promise"))).toEqual(["Not run (skipped): a promise"]);
});

test("what each part took is added up by folder, the longest first", () => {
  const ran = [{ status: "passed", fullName: "a", tags: [] }];
  const table = timesOfParts(
    report({
      testResults: [
        file("/p/tests/ledger/a.test.ts", ran),
        file("/p/tests/proofs/faults/b.test.ts", ran),
        file("/p/tests/proofs/faults/c.test.ts", ran),
        file("/p/tests/plans/left-out.test.ts", [{ status: "skipped", fullName: "d", tags: [] }]),
      ],
    }),
    "/p",
  );

  const rows = table.split("\n").map((line) => line.replaceAll(/[^a-z0-9./]+/g, " ").trim());
  expect(rows.filter(Boolean)).toEqual([
    "part tests seconds",
    "tests/proofs/faults 2 5.0",
    "tests/ledger 1 2.5",
  ]);
});
