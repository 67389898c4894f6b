// @module-tag proof
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { withTarget } from "../../packages/tokenbook/src/database/target.ts";
import { freePort } from "local-platform/postgres/ports";
import { migrationUp, supabase } from "local-platform/project/supabase-cli";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { projectRoot } from "../../scripts/project.ts";

let db: Database;
let workdir: string;
beforeAll(async () => {
  db = await createDatabase();
  workdir = mkdtempSync(join(tmpdir(), "tokenbook-workdir-"));
  mkdirSync(join(workdir, "supabase", "migrations"), { recursive: true });
  cpSync(join(projectRoot, "supabase", "config.toml"), join(workdir, "supabase", "config.toml"));
});
afterAll(async () => {
  rmSync(workdir, { recursive: true });
  await db.drop();
});

/** Runs one of the project's commands as npm would. */
async function command(script: "admin" | "migrate", args: string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "packages/tokenbook/src/cli.ts", script, ...args],
    {
      cwd: projectRoot,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (text: Buffer) => (output += text.toString()));
  const status = await new Promise((resolve) => child.once("close", resolve));
  return { status, output };
}

function writeMigration(name: string, sql: string): void {
  writeFileSync(join(workdir, "supabase", "migrations", name), sql);
}

test("tokenbook admin adds, lists and removes an administrator", async () => {
  const id = await createUser(db, { email: "carol@example.com" });
  const env = { SUPABASE_DB_URL: db.url() };

  expect(await command("admin", ["add", "Carol@example.com"], env)).toMatchObject({
    status: 0,
    output: expect.stringContaining(`(${id}) is an administrator now`),
  });
  expect((await command("admin", ["list", "--db-url", db.url()])).output).toMatch(
    /carol@example\.com.*tokenbook admin/,
  );
  const { rows } = await db.admin.query("select raw_app_meta_data from auth.users where id = $1", [id]);
  expect(rows[0].raw_app_meta_data).toEqual({ provider: "email", providers: ["email"], role: "admin" });
  expect((await command("admin", ["remove", "carol@example.com"], env)).output).toContain(
    "no administrator of Tokenbook's any more",
  );
  expect((await db.admin.query("select * from tokenbook.admins where user_id = $1", [id])).rows).toEqual([]);
});

test("tokenbook admin does not replace a role of the app's unasked", async () => {
  const id = await createUser(db, { email: "erin@example.com" });
  await db.admin.query("update auth.users set raw_app_meta_data = $2 where id = $1", [
    id,
    { role: "editor" },
  ]);
  const env = { SUPABASE_DB_URL: db.url() };
  const role = async () =>
    (await db.admin.query("select raw_app_meta_data ->> 'role' as role from auth.users where id = $1", [id]))
      .rows[0].role;

  const refused = await command("admin", ["add", "erin@example.com"], env);
  expect(refused).toMatchObject({ status: 1, output: expect.stringContaining("--replace-role") });
  expect(await role()).toBe("editor");
  const added = await command("admin", ["add", "erin@example.com", "--replace-role"], env);
  expect(added).toMatchObject({
    status: 0,
    output: expect.stringContaining("policies and code of your own"),
  });
  expect(await role()).toBe("admin");
  const removed = await command("admin", ["remove", id], env);
  expect(removed).toMatchObject({
    status: 0,
    output: expect.stringContaining('app_metadata.role is "editor"'),
  });
  expect(await role()).toBe("editor");
});

test("tokenbook admin says what it can't do, and fails", async () => {
  const platform = await createDatabase({ template: "platform" });
  const nobodyThere = { SUPABASE_DB_URL: "", TOKENBOOK_DB_PORT: String(await freePort()) };
  await createUser(platform, { email: "dave@example.com" });

  const said = await Promise.all([
    command("admin", ["add", "nobody@example.com"], { SUPABASE_DB_URL: db.url() }),
    command("admin", ["add", "dave@example.com"], { SUPABASE_DB_URL: platform.url() }),
    command("admin", ["list"], nobodyThere),
    command("admin", ["promote"], { SUPABASE_DB_URL: db.url() }),
    command("admin", ["add"], { SUPABASE_DB_URL: db.url() }),
  ]);
  await platform.drop();

  expect(said.map(({ status }) => status)).toEqual([2, 2, 2, 2, 2]);
  expect(said[0]!.output).toContain("Nobody has signed up with the address nobody@example.com");
  expect(said[1]!.output).toContain("npx tokenbook install");
  expect(said[2]!.output).toContain("npm start");
  expect(said[3]!.output).toContain("unknown command");
  for (const { output } of said) {
    expect(output).not.toMatch(/postgres:postgres|^ +at /m);
  }
});

test("a local default is refused where it is no Supabase, or another project's by its history", async () => {
  const theirs = await createDatabase({ template: "platform" });
  const look = (url: string) =>
    withTarget({ url, name: "here", isOwn: () => true, root: workdir }, async () => "connected").catch(
      (error: Error) => error.message,
    );
  const plain = new URL(theirs.url());
  plain.pathname = "/template1";
  expect(await look(plain.href)).toMatch(/here runs a Postgres \d.* that is no Supabase/);
  expect(await look(theirs.url())).toBe("connected"); // it says nothing of whose it is
  await theirs.admin.query(
    "create schema supabase_migrations; create table supabase_migrations.schema_migrations (version text); insert into supabase_migrations.schema_migrations values ('20200101000000')",
  );
  expect(await look(theirs.url())).toContain("the database of another project: of the 1 migrations");
  writeMigration("20200101000000_ours.sql", "select 1;");
  expect(await look(theirs.url())).toBe("connected");
  rmSync(join(workdir, "supabase/migrations/20200101000000_ours.sql"));
  await theirs.drop();
});

test("tokenbook migrate names each file, its reports and their number; again, there is nothing to do", async () => {
  const fresh = await createDatabase({ template: "platform" });

  const first = await command("migrate", ["--db-url", fresh.url()]);
  const second = await command("migrate", ["--db-url", fresh.url()]);
  const { rows } = await fresh.admin.query("select report from tokenbook.migration_reports order by id");
  await fresh.drop();

  expect(first.status).toBe(0);
  expect(first.output).toContain("20251113000000_baseline.sql");
  expect(first.output).toMatch(new RegExp(`migrations applied in \\d+\\.\\d s, ${rows.length} report`));
  expect(rows.length).toBeGreaterThan(0);
  for (const { report } of rows) expect(first.output).toContain(report.split("\n")[0]);
  expect(second).toMatchObject({ status: 0, output: expect.stringContaining("up to date") });
});

test("tokenbook migrate does not push this project's migrations into somebody else's", async () => {
  const theirs = await createDatabase({ template: "platform" });
  await theirs.admin.query("create table public.user_profiles (id uuid primary key)");

  const refused = await command("migrate", ["--db-url", theirs.url()]);
  const { rows } = await theirs.admin.query(
    "select to_regnamespace('tokenbook') as ours, to_regnamespace('supabase_migrations') as history",
  );
  await theirs.admin.query("alter table public.user_profiles rename id to user_id");
  const wanted = await command("migrate", ["--db-url", theirs.url(), "--this-project"]);
  await theirs.drop();

  expect(refused.status).toBe(1);
  expect(refused.output).toContain("npx tokenbook install");
  expect(rows).toEqual([{ ours: null, history: null }]);
  expect(wanted.status).toBe(0);
});

test("tokenbook migrate says that the database isn't up", async () => {
  const { status, output } = await command("migrate", [], { TOKENBOOK_DB_PORT: String(await freePort()) });

  expect(status).toBe(2);
  expect(output).toContain("npm start");
});

test("a migration that fails is named with its reason; those before it stay", async () => {
  const fresh = await createDatabase({ template: "platform" });
  writeMigration("20260101000000_good.sql", "create table public.good (id int);");
  writeMigration("20260102000000_bad.sql", "create table public.half (id int); select 1 / 0;");
  const begun: string[] = [];

  const migrating = migrationUp({ url: fresh.url(), workdir, onFile: (file) => begun.push(file) });

  await expect(migrating).rejects.toThrow(/division by zero/);
  const { rows } = await fresh.admin.query(
    "select to_regclass('public.good') is not null as good, to_regclass('public.half') is not null as half",
  );
  await fresh.drop();
  expect(begun).toEqual(["20260101000000_good.sql", "20260102000000_bad.sql"]);
  expect(rows).toEqual([{ good: true, half: false }]);
});

test("`supabase migration up`, as typed by a developer, finds the database by the port in config.toml", async () => {
  const { stderr } = await supabase(["migration", "list"], { workdir });

  expect(stderr).toContain("127.0.0.1:54322");
});
