// @module-tag proof
/** An upgrade that does not come to its end, and one that is elsewhere already, by the package as it is published. */
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { migrationUp } from "local-platform/project/supabase-cli";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { addMigration, type Guest, startProject } from "./guest.ts";
import { pack, type Packed, tokenbook } from "./packed.ts";

let packed: Packed;
let guest: Guest;
beforeAll(async () => {
  packed = await pack();
}, 180_000);
afterAll(() => packed.remove());
beforeEach(async () => {
  guest = await startProject("a-credits");
  const installed = await tokenbook(packed.now, guest, "install", "--yes", "--functions", "balance,grant");
  expect(installed.status, installed.stderr).toBe(0);
});
afterEach(() => guest.remove());

const next = (...args: string[]) => tokenbook(packed.next, guest, ...args);
const up = () => migrationUp({ url: guest.db.url(), workdir: guest.root });
const written = async () =>
  (await readdir(join(guest.root, "supabase/migrations"))).filter((file) => file.includes("99_0_0"));
const recordPath = () => join(guest.root, "supabase/tokenbook.json");
const folder = async () => ({
  version: JSON.parse(await readFile(recordPath(), "utf8")).version,
  functions: (await readFile(join(guest.root, "supabase/functions/grant/index.ts"), "utf8")).includes(
    "of 99.0.0",
  ),
});
const whole = { version: "99.0.0", functions: true };

test("refused in its second migration: once it is mended and applied, the same command ends it", async () => {
  await guest.db.admin.query("alter table public.token_packs add column shelf_note text");
  const functions = join(guest.root, "supabase/functions");
  await rm(join(functions, "balance"), { recursive: true });
  await writeFile(join(functions, "grant/index.ts"), "// ours now\n");
  await addMigration(guest, "20991231000000_waits", "create table public.has_waited (id int);");
  const refused = await next("upgrade", "--yes");
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("is applied, and stays") });
  expect(refused.stdout).toContain("1 of your own migrations is not applied yet");
  expect(refused.stdout).toContain("20991231000000_waits.sql");
  expect(await folder()).toEqual({ version: "0.1.0", functions: false });
  const half = await next("status");
  expect(half.stdout).toMatch(/waiting +\d{14}_tokenbook_99_0_0_shelves\.sql: supabase migration up/);

  await guest.db.admin.query("alter table public.token_packs drop column shelf_note");
  expect((await up()).applied).toHaveLength(1);
  const status = await next("status");
  expect(status.stdout).toContain("To bring the folder there: npx tokenbook upgrade");
  const ended = await next("upgrade", "--yes");
  expect(ended).toMatchObject({ status: 0, stdout: expect.stringContaining("99.0.0 now") });
  expect(ended.stdout).toContain("supabase/functions/balance was deleted here, and is not written again");
  expect(await folder()).toEqual({ version: "99.0.0", functions: false });
  expect([await written(), await readdir(functions)]).toMatchObject([{ length: 2 }, { length: 2 }]);
  expect(await readFile(join(functions, "grant/index.ts.new"), "utf8")).toContain("of 99.0.0");
  expect(await next("upgrade", "--yes")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("that is this version"),
  });
  const removed = await next("uninstall", "--yes", "--no-export");
  expect(removed.status, removed.stderr).toBe(0);
  expect(await readdir(join(functions, "grant"))).not.toContain("index.ts.new");
});

test("stopped between writing and applying: what is written is taken up, and not written twice", async () => {
  const supabase = join(guest.root, "supabase");
  const before = join(guest.root, "before");
  await cp(join(supabase, "functions"), before, { recursive: true });
  const record = await readFile(recordPath(), "utf8");
  expect(await next("upgrade", "--write-only")).toMatchObject({ status: 0 });
  // as a run leaves it that is killed there
  await writeFile(recordPath(), record);
  await rm(join(supabase, "functions"), { recursive: true });
  await cp(before, join(supabase, "functions"), { recursive: true });

  const uninstalled = await next("uninstall", "--yes", "--no-export");
  expect(uninstalled).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("own migrations these wait"),
  });
  const runs = await Promise.all([next("upgrade", "--yes"), next("upgrade", "--yes")]);
  expect(runs.map(({ status }) => status).toSorted()).toEqual([0, 1]);
  expect(runs.find(({ status }) => status === 1)!.stderr).toContain("is under way");
  expect(runs.find(({ status }) => status === 0)!.stdout).toContain("99.0.0 now");
  expect([await folder(), (await written()).length]).toEqual([whole, 2]);
});

test("the folder is on the newer version, and this database is not: it is looked at, and told what to do", async () => {
  expect(await next("upgrade", "--write-only")).toMatchObject({ status: 0 });
  const behind = await next("upgrade", "--yes");
  expect(behind).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("has 0.1.0: apply their migrations"),
  });
  const status = await next("status");
  expect(status).toMatchObject({ status: 1 });
  expect(status.stdout).toMatch(/waiting +\d{14}_tokenbook_99_0_0\.sql: supabase migration up/);
  expect(status.stdout).not.toContain("repair");
  const empty = await createDatabase({ template: "platform" });
  const none = await tokenbook(packed.next, { ...guest, db: empty }, "upgrade", "--yes");
  expect(none).toMatchObject({ status: 1, stderr: expect.stringContaining("has no Tokenbook") });
  await empty.drop();
  expect((await up()).applied).toHaveLength(2);
  expect(await next("upgrade", "--yes")).toMatchObject({ status: 0 });

  // one checkout has upgraded the database; the other has not even its files
  for (const file of await written()) await rm(join(guest.root, "supabase/migrations", file));
  const record = JSON.parse(await readFile(recordPath(), "utf8"));
  const migrations = record.migrations.slice(0, 2);
  await writeFile(recordPath(), JSON.stringify({ ...record, version: "0.1.0", migrations }));
  const elsewhere = await next("upgrade", "--yes");
  expect(elsewhere).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("pull the branch that has them"),
  });
});
