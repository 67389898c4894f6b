import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../../scripts/project.ts";

const security = readFileSync(join(projectRoot, "SECURITY.md"), "utf8");
const threats = security
  .split("## Threats")[1]!
  .split(/^## /m)[0]!
  .split("\n")
  .filter((line) => line.startsWith("| "))
  .slice(1)
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map(([, who, what, stops, tried]) => ({ who, what, stops, tried: tried! }));

test("every threat in SECURITY.md names who, what stops them, and a promise or a test that is there", () => {
  expect(threats.length).toBeGreaterThan(20);
  for (const { who, what, stops, tried } of threats) {
    expect([who, what, stops].every(Boolean), what).toBe(true);
    const promises = [...tried.matchAll(/\[P(\d+)\]\(docs\/PROMISES\.md\)/g)].map(([, id]) => Number(id));
    const files = [...tried.matchAll(/`(tests\/[^`]+)`/g)].map(([, file]) => file!);
    expect(promises.length + files.length, what).toBeGreaterThan(0);
    expect(promises.filter((id) => id < 1 || id > 27)).toEqual([]);
    expect(files.filter((file) => !existsSync(join(projectRoot, file)))).toEqual([]);
  }
});
