// @module-tag proof
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { migrationUp } from "local-platform/project/supabase-cli";
import { factsOf, startProject, touched } from "./guest.ts";
import { projectRoot } from "../../scripts/project.ts";

test("what the README says to copy is what installs", async () => {
  const readme = await readFile(join(projectRoot, "README.md"), "utf8");
  const section = readme.slice(readme.indexOf("## Into an existing project"), readme.indexOf("## Further"));
  const [, commands] = /```bash\n([^]*?)```/.exec(section)!;
  const guest = await startProject("h-newer-profiles");
  const before = await factsOf(guest.db);
  await mkdir(join(guest.root, "tokenbook"));
  await symlink(join(projectRoot, "supabase"), join(guest.root, "tokenbook/supabase"));

  execFileSync("bash", ["-euc", commands!], { cwd: guest.root });
  const files = await readdir(join(guest.root, "supabase/migrations"));
  const { applied } = await migrationUp({ url: guest.db.url(), workdir: guest.root });

  const changed = await touched(before, await factsOf(guest.db));
  await guest.remove();
  expect(files).toHaveLength(3);
  expect(applied).toEqual(files.filter((file) => !file.endsWith("_app.sql")).toSorted());
  expect(changed).toEqual([]);
});
