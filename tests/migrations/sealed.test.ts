import { appendFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Failure } from "local-platform/terminal/failure";
import { migrationFiles } from "../../scripts/schema/project-files.ts";
import { checkSeals, firstUnreleased, lockFile, sealMigrations } from "../../scripts/schema/seals.ts";
import { projectRoot } from "../../scripts/project.ts";

test("every released migration agrees with its seal: the three of November 2025", async () => {
  const broken = await checkSeals();

  expect(broken).toEqual([]);
  expect((await migrationFiles()).filter(isReleased)).toHaveLength(3);
});

/** Whether a migration is one that has run somewhere. */
const isReleased = (file: string) => basename(file) < firstUnreleased;

describe("on a copy of the migrations", () => {
  let root: string;
  let files: string[];
  let last: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "seals-"));
    await cp(join(projectRoot, "supabase/migrations"), join(root, "supabase/migrations"), {
      recursive: true,
    });
    files = (await migrationFiles(root)).filter(isReleased);
    last = files.at(-1)!;
    await sealMigrations([], root);
  });

  afterEach(() => rm(root, { recursive: true }));

  test("a migration that is gone breaks its seal", async () => {
    await rm(join(root, last));

    expect(await checkSeals(root)).toEqual([{ file: last, problem: "missing" }]);
  });

  test("a migration that was not sealed is named", async () => {
    const added = "supabase/migrations/20251201000000_new.sql";
    await writeFile(join(root, added), "select 1;\n");

    expect(await checkSeals(root)).toEqual([{ file: added, problem: "unsealed" }]);
  });

  test("one that has not been released has no seal: it is made anew", async () => {
    for (const file of (await migrationFiles(root)).filter((one) => !isReleased(one))) {
      await appendFile(join(root, file), "\n");
    }

    expect(await checkSeals(root)).toEqual([]);
  });

  test("sealing adds what is new and refuses what was sealed and changed", async () => {
    const added = "supabase/migrations/20251201000000_new.sql";
    await writeFile(join(root, added), "select 1;\n");
    expect(await sealMigrations([], root)).toEqual({
      sealed: [added],
      resealed: [],
      forgotten: [],
    });
    const lock = await readFile(join(root, lockFile), "utf8");

    await appendFile(join(root, added), "\n");

    await expect(sealMigrations([], root)).rejects.toThrow(Failure);
    expect(await readFile(join(root, lockFile), "utf8")).toBe(lock);
  });

  test("only a file named for it is sealed again, or forgotten", async () => {
    const [first, second] = files as [string, string];
    await appendFile(join(root, first), "\n");
    await rm(join(root, second));

    await expect(sealMigrations([first], root)).rejects.toThrow(second);
    expect(await sealMigrations([first, second], root)).toEqual({
      sealed: [],
      resealed: [first],
      forgotten: [second],
    });
    expect(await checkSeals(root)).toEqual([]);
    await expect(sealMigrations([first], root)).rejects.toThrow("Nothing to reseal");
  });
});
