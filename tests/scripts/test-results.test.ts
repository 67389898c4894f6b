import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";
import { isAllProofs, testFiles } from "../../scripts/test-files.ts";
import { countResults, timesOfParts } from "../../scripts/test-results.ts";
import type { VitestReport } from "../../scripts/test-results.ts";

const checks = [
  { name: "formatted", passed: true },
  { name: "typed", passed: true },
];
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
  expect(countResults(checks, report(), true)).toEqual({ passed: 5, failed: 0, complaints: [], untried: 0 });
  expect(
    countResults([{ name: "formatted", passed: false }], report({ numFailedTests: 2 }), false),
  ).toMatchObject({ passed: 3, failed: 3 });
});

test("what failed is named at the end, where a long log is still read", () => {
  const failing = report({
    numFailedTests: 1,
    testResults: [
      file(join(projectRoot, "a.test.ts"), [{ status: "failed", fullName: "a", tags: [] }], "failed"),
    ],
  });

  expect(countResults([{ name: "formatted", passed: false }], failing, false)).toMatchObject({
    passed: 3,
    failed: 2,
    complaints: ["formatted", "a.test.ts > a"],
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
    countResults([], report({ testResults: [file("tests/plans/a.test.ts", results)] }), true, run, [
      "tests/plans/a.test.ts",
    ]).complaints;

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

test("a file of a folder of proofs has nothing else in it", () => {
  const results = [
    { status: "passed", fullName: "it can fail", tags: ["proof"] },
    { status: "skipped", fullName: "has lost its tag", tags: [] },
  ];
  const path = join(projectRoot, "tests/proofs/a.test.ts");

  expect(countResults([], report({ testResults: [file(path, results)] }), true, "proofs").complaints).toEqual(
    ["Not run (skipped): has lost its tag"],
  );
});

test("what npm test leaves out must be what the run of proofs opens", () => {
  const results = [{ status: "skipped", fullName: "it can fail", tags: ["proof"] }];
  const complaints = (...opened: string[]) =>
    countResults(
      [],
      report({ testResults: [file("/p/tests/plans/a.test.ts", results)] }),
      true,
      "tests",
      opened,
    ).complaints;

  expect(complaints("tests/plans/a.test.ts")).toEqual([]);
  expect(complaints("tests/plans/b.test.ts")).toEqual([
    "Has a proof that npm run test:proofs does not find: /p/tests/plans/a.test.ts",
  ]);
});

test("a run in which no test ran has failed", () => {
  expect(countResults(checks, report({ numPassedTests: 0, testResults: [] }), true)).toMatchObject({
    failed: 1,
    complaints: ["No test ran."],
  });
});

test("every file that calls itself a test is one of a run's", () => {
  const found = testFiles(projectRoot);

  expect(found.length).toBeGreaterThan(100);
  expect(
    found.filter((path) => !/^(tests|packages\/local-platform\/tests)\/.*\.test\.ts$/.test(path)),
  ).toEqual([]);
  // Each of a folder of proofs says so, as the run of proofs wants it.
  const untagged = found.filter(
    (path) =>
      isAllProofs(path) &&
      !readFileSync(join(projectRoot, path), "utf8").startsWith("// @module-tag proof\n"),
  );
  expect(untagged).toEqual([]);
});

test("what wants a browser may be skipped, and is counted apart", () => {
  const skipped = (tags: string[]) =>
    countResults(
      checks,
      report({ testResults: [file("a.test.ts", [{ status: "skipped", fullName: "a", tags }])] }),
      true,
      "proofs",
    );
  expect(skipped(["proof", "browser"])).toMatchObject({ failed: 0, untried: 1, complaints: [] });
  expect(skipped(["proof"])).toMatchObject({ failed: 1, untried: 0, complaints: ["Not run (skipped): a"] });
});
