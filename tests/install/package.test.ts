// @module-tag proof
/** The package as it is published: packed, installed into an empty folder, and used on a project from there. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import packageJson from "../../packages/tokenbook/package.json" with { type: "json" };
import { projectRoot } from "../../scripts/project.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { factsOf, type Guest, startProject, touched } from "./guest.ts";

const run = promisify(execFile);
const source = join(projectRoot, "packages/tokenbook");

/** Folders with the package in node_modules: as it is, and as the next release would be. */
let now: string;
let next: string;
beforeAll(async () => {
  const packed = await mkdtemp(join(tmpdir(), "tokenbook-pack-"));
  await run("npm", ["pack", "--silent", "--pack-destination", packed], { cwd: source });
  [now, next] = [await installed(packed), await installed(packed)];
  await rm(packed, { recursive: true });
  await makeNext(join(next, "node_modules/tokenbook/dist/supabase"));
}, 180_000);
afterAll(async () => {
  for (const folder of [now, next]) await rm(folder, { recursive: true });
});

async function installed(packed: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tokenbook-empty-"));
  await writeFile(join(folder, "package.json"), '{ "name": "app", "private": true }');
  const file = join(packed, `tokenbook-${packageJson.version}.tgz`);
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", file], { cwd: folder });
  return folder;
}

/** A release after this one: a column, another text of the version, and a change of an edge function. */
async function makeNext(supabase: string): Promise<void> {
  const releases = JSON.parse(await readFile(join(supabase, "releases.json"), "utf8")) as unknown[];
  const file = "20990101000000_tokenbook_next.sql";
  releases.push({
    version: "99.0.0",
    migrations: [{ name: "tokenbook_99_0_0", file }],
    changes: ["get_token_history says nothing new"],
  });
  await writeFile(join(supabase, "releases.json"), JSON.stringify(releases));
  await writeFile(
    join(supabase, "migrations", file),
    `alter table public.token_packs add column shelf text;
     create or replace function tokenbook.version() returns text language plpgsql immutable set search_path = pg_catalog, pg_temp as $$ begin return '99.0.0'; end $$;`,
  );
  const changed = join(supabase, "functions/grant/index.ts");
  await writeFile(changed, `${await readFile(changed, "utf8")}// of 99.0.0\n`);
}

/** `npx tokenbook …` in a project's folder, with the package of `from`. */
async function tokenbook(from: string, guest: Guest, ...args: string[]) {
  const program = join(from, "node_modules/.bin/tokenbook");
  try {
    const { stdout } = await run(program, [...args, "--db-url", guest.db.url()], { cwd: guest.root });
    return { status: 0, stdout, stderr: "" };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}

test("what is packed is what npm and its readers expect", async () => {
  const { stdout } = await run(join(projectRoot, "node_modules/.bin/publint"), ["--strict"], { cwd: source });
  expect(stdout).toContain("All good!");
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
