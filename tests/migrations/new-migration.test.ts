import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { stampMigration } from "../../scripts/schema/migration-stamp.ts";
import { Failure } from "../../scripts/local/failure.ts";
import { projectRoot } from "../../scripts/local/settings.ts";
import { migrationFiles } from "../../scripts/schema/project-files.ts";

const later = new Date("2999-12-31T23:59:58.987Z");
const table = "supabase/schemas/20_tables/admins.sql";
const guard = "supabase/schemas/30_guards/is_admin.sql";
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stamp-"));
  await cp(join(projectRoot, "supabase"), join(root, "supabase"), { recursive: true });
});

afterEach(() => rm(root, { recursive: true }));

test("a new migration holds the named files verbatim, in the order in which they build", async () => {
  const migration = await stampMigration("revise_admins", [guard, `./${table}`], later, root);

  expect(migration).toBe("supabase/migrations/29991231235958_revise_admins.sql");
  const [tableText, guardText] = await Promise.all(
    [table, guard].map((file) => readFile(join(root, file), "utf8")),
  );
  expect(await readFile(join(root, migration), "utf8")).toBe(
    `-- from ${table}\n\n${tableText}\n-- from ${guard}\n\n${guardText}`,
  );
});

test("a name that is no snake_case, no file, and a file from elsewhere are refused", async () => {
  const before = await migrationFiles(root);

  for (const [slug, files] of [
    ["Revise-Admins", [table]],
    ["../escape", [table]],
    ["", [table]],
    ["revise_admins", []],
    ["revise_admins", ["supabase/schemas/none.sql"]],
    ["revise_admins", ["supabase/seed.sql"]],
    ["revise_admins", ["supabase/schemas/../seed.sql"]],
  ] as const) {
    await expect(stampMigration(slug, files, later, root)).rejects.toThrow(Failure);
  }
  expect(await migrationFiles(root)).toEqual(before);
});

test("a moment that is not after the newest migration is refused", async () => {
  const newest = "supabase/migrations/29991231235958_newest.sql";
  await writeFile(join(root, newest), "select 1;\n");

  await expect(stampMigration("revise_admins", [table], later, root)).rejects.toThrow(basename(newest));
});
