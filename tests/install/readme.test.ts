// @module-tag proof
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { run } from "../support/command.ts";
import { factsOf, startProject, touched } from "./guest.ts";
import { projectRoot } from "../../scripts/project.ts";

test("what the README says to type is what installs", { timeout: 120_000 }, async () => {
  const readme = await readFile(join(projectRoot, "README.md"), "utf8");
  const section = readme.slice(readme.indexOf("## Into your project"), readme.indexOf("## From your server"));
  const [, commands] = /```bash\n([^]*?)```/.exec(section)!;
  const typed = [...commands!.matchAll(/^npx tokenbook (\w+)(.*)$/gm)].map(
    ([, name, rest]) => [name!, rest!.trim().split(/\s+/).filter(Boolean)] as const,
  );
  const guest = await startProject("h-newer-profiles");
  const before = await factsOf(guest.db);

  const said = [];
  for (const [name, args] of typed) {
    // a test has nobody to ask
    const yes = name === "install" ? ["--yes"] : [];
    said.push(await run(name, [...args, ...yes, "--db-url", guest.db.url(), "--workdir", guest.root]));
  }
  const changed = await touched(before, await factsOf(guest.db));
  await guest.remove();

  expect(typed.map(([name]) => name)).toEqual(["check", "install", "status"]);
  expect(said.slice(0, 2).map(({ status }) => status)).toEqual([0, 0]);
  expect(said[2]!.stdout).toContain("is installed");
  expect(changed).toEqual([]);
});
