// @module-tag proof
/** The package as it is published: packed, installed into an empty folder, and used on a project from there. */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import packageJson from "../../packages/tokenbook/package.json" with { type: "json" };
import { projectRoot } from "../../scripts/project.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { ann, factsOf, startProject, touched } from "./guest.ts";
import { pack, type Packed, source, tokenbook } from "./packed.ts";

const run = promisify(execFile);

let packed: Packed;
let [now, next]: [now: string, next: string] = ["", ""];
beforeAll(async () => {
  packed = await pack();
  ({ now, next } = packed);
}, 180_000);
afterAll(() => packed.remove());

test("what is packed is what npm and its readers expect", async () => {
  const { stdout } = await run(join(projectRoot, "node_modules/.bin/publint"), ["--strict"], { cwd: source });
  expect(stdout).toContain("All good!");
  // of what can be imported: ends with 1 where types and code do not belong together
  await run(join(projectRoot, "node_modules/.bin/attw"), [packed.archive, "--profile", "esm-only"]);
  const { stdout: version } = await run(join(now, "node_modules/.bin/tokenbook"), ["--version"]);
  expect(version.trim()).toBe(packageJson.version);
});

test("checked, installed, used, upgraded, and out again, from an empty folder", async () => {
  const guest = await startProject("a-credits");
  const times: Record<string, number> = {};
  const step = async (from: string, ...args: string[]) => {
    const begin = performance.now();
    const said = await tokenbook(from, guest, ...args);
    times[args[0]!] = Math.round(performance.now() - begin) / 1000;
    return said;
  };
  try {
    expect(await step(now, "status")).toMatchObject({ status: 1 });
    const facts = await factsOf(guest.db);
    expect(await step(now, "check")).toMatchObject({ status: 0 });
    expect(await step(now, "install", "--yes", "--functions", "balance,grant")).toMatchObject({ status: 0 });
    const imported = await step(now, "import", "--from", "profiles.credits", "--book");
    expect(imported).toMatchObject({ status: 0, stdout: expect.stringContaining("booked") });
    const followed = await step(now, "shadow", "--from", "profiles.credits", "--start");
    expect(followed).toMatchObject({ status: 0, stdout: expect.stringContaining("No difference") });
    const user = await createUser(guest.db);
    await asService(guest.db, (client) =>
      rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 9, p_grant_type: "purchase" }),
    );
    expect(await step(now, "verify")).toMatchObject({ status: 0 });
    expect(await step(now, "upgrade", "--yes")).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("that is this version"),
    });

    await mkdir(join(guest.root, "supabase/functions/balance"), { recursive: true });
    await writeFile(join(guest.root, "supabase/functions/balance/index.ts"), "// ours now\n");
    const upgraded = await step(next, "upgrade", "--yes");
    expect(upgraded).toMatchObject({ status: 0, stdout: expect.stringContaining("99.0.0 now") });
    expect(upgraded.stdout).toContain("says nothing new");
    expect(upgraded.stdout).toContain("index.ts.new");
    expect(await readFile(join(guest.root, "supabase/functions/grant/index.ts"), "utf8")).toContain(
      "of 99.0.0",
    );
    await guest.db.admin.query("update public.profiles set credits = credits + 3 where id = $1", [ann]);
    const shadow = await step(next, "shadow");
    expect(shadow.stdout).toContain("booked      1 change: 3 tokens granted");
    expect(shadow.stdout).toContain("1 user differs"); // whom the table does not know
    const old = await step(now, "upgrade", "--yes");
    expect(old).toMatchObject({ status: 1, stderr: expect.stringContaining("none that it knows") });

    const removed = await step(next, "uninstall", "--yes", "--export", join(guest.root, "books"));
    expect(removed).toMatchObject({ status: 0, stdout: expect.stringContaining("nothing else has changed") });
    expect(removed.stdout).toContain("supabase/functions/balance/index.ts");
    await guest.db.admin.query("delete from auth.users where id = $1", [user]);
    expect(await touched(facts, await factsOf(guest.db))).toEqual([]);
  } finally {
    console.log(`seconds=${JSON.stringify(times)}`);
    await guest.remove();
  }
}, 180_000);
