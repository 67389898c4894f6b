// @module-tag proof
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { run } from "../support/command.ts";
import { factsOf, startProject, touched } from "./guest.ts";

test("try", { timeout: 300_000 }, async () => {
  const guest = await startProject("e-own-private");
  const at = ["--db-url", guest.db.url(), "--workdir", guest.root];
  await writeFile(
    join(guest.root, "supabase/config.toml"),
    `# theirs\nproject_id = "app" # kept\n[db]\nport = 54322\n`,
  );
  const before = await factsOf(guest.db);
  for (const args of [
    ["check"],
    ["check", "--json", "--import", "documents.title"],
    ["install", "--yes"],
    ["check"],
    ["doctor"],
    ["uninstall", "--yes", "--export", join(guest.root, "books")],
  ]) {
    const t = Date.now();
    const said = await run(args[0]!, [...args.slice(1), ...at]);
    console.log(
      args.join(" "),
      said.status,
      `${Date.now() - t} ms`,
      "\n",
      said.stdout.slice(0, 3000),
      "\n",
      said.stderr,
    );
  }
  console.log(
    (await import("node:child_process"))
      .execSync(
        `cd ${guest.root}; find supabase books -type f; cat supabase/config.toml; head -c 3000 supabase/migrations/*remove*`,
      )
      .toString(),
  );
  console.log(await touched(before, await factsOf(guest.db)));
  await guest.remove();
  expect(1).toBe(1);
});
