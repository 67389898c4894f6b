import { expect, test } from "vitest";
import type { Breach } from "../../packages/tokenbook/src/data/verification.ts";
import { createVerifyReport } from "../../packages/tokenbook/src/reports/verify.ts";

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const breach = (n: number): Breach => ({
  invariant: "I4 a grant is what its history left",
  user_id: id(n),
  grant_id: id(n + 1),
  transaction_id: null,
  expected: `payment ${id(n + 2)}`,
  found: "none",
});

/** What a terminal that wide shows. */
function terminal(columns: number): { out: NodeJS.WriteStream; said: () => string } {
  let said = "";
  const out = { isTTY: true, columns, write: (text: string) => ((said += text), true) };
  return { out: out as unknown as NodeJS.WriteStream, said: () => said };
}

test.each([80, 100, 140, 200])(
  "a table on %i columns has every id and number, and no line is cut",
  (columns) => {
    const { out, said } = terminal(columns);
    const report = createVerifyReport(out, false);
    report.add([breach(1), breach(5)]);
    report.end({ users: 9, finished: true, after: null });

    const lines = said().split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(Math.max(columns, 91));
    expect(said()).not.toContain("…");
    for (const n of [1, 2, 5, 6]) expect(said()).toContain(id(n));
    expect(said()).toContain("2 breaches in the books of 2 of 9 users");
  },
);

test("what is wrong with the project is in nobody's books", () => {
  const { out, said } = terminal(150);
  const report = createVerifyReport(out, false);
  report.add([breach(1), { ...breach(2), user_id: null, grant_id: null }]);
  report.end({ users: 9, finished: true, after: null });

  expect(said()).toContain("the project");
  expect(said()).toContain("2 breaches in the books of 1 of 9 users");
});

test("a table has a hundred rows at most and says how many more there are", () => {
  const { out, said } = terminal(150);
  const report = createVerifyReport(out, false);
  for (let n = 0; n < 1_234; n++) report.add([breach(n)]);
  report.end({ users: 2_000, finished: true, after: null });

  expect(said().split("I4 a grant is what").length - 1).toBe(100);
  expect(said()).toContain("and 1,134 more; --json has them all");
  expect(said()).toContain("1,234 breaches in the books of 1,234 of 2,000 users");
});
