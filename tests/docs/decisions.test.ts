import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";

const folder = join(projectRoot, "docs", "decisions");
const files = readdirSync(folder).filter((name) => /^\d{4}-.*\.md$/.test(name));

/** What stands at the head of a decision. */
const heads = files.map((file) => {
  const [title = "", , status = ""] = readFileSync(join(folder, file), "utf8").split("\n");
  return {
    file,
    number: /^# (\d+)\. /.exec(title)?.[1],
    title: title.replace(/^# \d+\. /, ""),
    status: /^Status: (?:accepted|replaced by \[\d+\]\(.*\)), \d{4}-\d{2}-\d{2}(?:; .*)?$/.test(status)
      ? status.replace("Status: ", "")
      : undefined,
  };
});

test("every decision says its number, its status and its date", () => {
  for (const { file, number, status } of heads) {
    expect({ file, number, status }).toEqual({
      file,
      number: String(Number(file.slice(0, 4))),
      status: expect.any(String),
    });
  }
});

/** The page that lists them, made from their heads. */
function indexOf(decisions: readonly (typeof heads)[number][]): string {
  const rows = decisions.map(({ file, number, title, status }) => {
    const [, state, date, later] = /^(.*), (\d{4}-\d{2}-\d{2})(?:; (.*))?$/.exec(status ?? "") ?? [];
    return `| ${number} | [${title}](${file}) | ${date} | ${state} | ${later ?? ""} |`;
  });
  const page = [
    "# Decisions",
    "Why things are as they are, a page each: what was weighed, and what it costs. A decision that is replaced says by which. The table is made from the heads of the files by `npx vitest run tests/docs -u`; `tests/docs/decisions.test.ts` fails where they disagree.",
    ["| number | title | date | status | changed since |", "|---|---|---|---|---|", ...rows].join("\n"),
  ].join("\n\n");
  return `${page}\n`;
}

test("no number is given twice, and the index is in their order", () => {
  const numbers = heads.map(({ number }) => Number(number));

  expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
});

test("the index of decisions says what each file says (made anew with -u)", async () => {
  await expect(indexOf(heads)).toMatchFileSnapshot(join(folder, "README.md"));
});

test.each([
  ["date", { status: "accepted, 2020-01-01" }],
  ["status", { status: "replaced by [2](0002-local-platform.md), 2026-11-21" }],
  ["title", { title: "Another" }],
])("the index is seen to disagree with a file that has another %s", (_, changed) => {
  const [first, ...rest] = heads;

  expect(indexOf([{ ...first!, ...changed }, ...rest])).not.toBe(
    readFileSync(join(folder, "README.md"), "utf8"),
  );
});

test("the index is seen to miss a decision", () => {
  expect(indexOf(heads.slice(1))).not.toBe(readFileSync(join(folder, "README.md"), "utf8"));
});
