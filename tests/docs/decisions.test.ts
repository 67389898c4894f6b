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

test("the index of decisions lists them all (made anew with -u)", async () => {
  const rows = heads.map(({ file, number, title, status }) => {
    const [state, date] = status!.split(/, (?=\d{4})/);
    return `| ${number} | [${title}](${file}) | ${state} | ${date} |`;
  });
  const page = [
    "# Decisions",
    "Why things are as they are, a page each: what was weighed, and what it costs. A decision that is replaced says by which.",
    ["| | decision | status | date |", "|---|---|---|---|", ...rows].join("\n"),
  ].join("\n\n");

  await expect(`${page}\n`).toMatchFileSnapshot(join(folder, "README.md"));
});
