// @module-tag proof
/** Out of a project that is in use: what is booked meanwhile, what else is there, and what waits, by the real CLI. */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { migrationUp } from "local-platform/project/supabase-cli";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runHere, start } from "../support/command.ts";
import { createDatabase } from "../support/database.ts";
import { asService, rpc } from "../support/roles.ts";
import { addMigration, ann, ben, factsOf, type Guest, startProject, touched } from "./guest.ts";

let guest: Guest;
beforeEach(async () => {
  guest = await startProject("a-credits");
  const installed = await tokenbook("install", "--yes", "--functions", "none");
  expect(installed.status, installed.stderr).toBe(0);
});
afterEach(() => guest.remove());

const at = () => ["--db-url", guest.db.url(), "--workdir", guest.root];
const tokenbook = (command: string, ...args: string[]) => runHere(command, [...args, ...at()]);
const up = (options: { includeAll?: boolean } = {}) =>
  migrationUp({ url: guest.db.url(), workdir: guest.root, ...options });
const grant = (user: string, tokens: number) =>
  asService(guest.db, (client) =>
    rpc(client, "grant_tokens", { p_user_id: user, p_tokens: tokens, p_grant_type: "purchase" }),
  );
const spend = (user: string, tokens: number) =>
  asService(guest.db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
  );
const credits = async (user: string) => {
  const { rows } = await guest.db.admin.query("select credits from public.profiles where id = $1", [user]);
  return Number(rows[0].credits);
};

/** The removal that is written, as it is. */
async function removal(): Promise<string> {
  const folder = join(guest.root, "supabase/migrations");
  const file = (await readdir(folder)).find((name) => name.endsWith("_remove_tokenbook.sql"));
  return await readFile(join(folder, file!), "utf8");
}

/** Runs it, asks, and takes all of it back. */
async function tried(sql: string, question = "select 1 as answer"): Promise<unknown> {
  const client = new pg.Client({ connectionString: guest.db.url() });
  await client.connect();
  try {
    await client.query("begin");
    await client.query(sql);
    return (await client.query(question)).rows[0].answer;
  } finally {
    await client.end();
  }
}

/** The history of migrations from the beginning, on a database where nothing else was ever done. */
async function runsAgain(): Promise<void> {
  const fresh = await createDatabase({ template: "platform" });
  const { applied } = await migrationUp({ url: fresh.url(), workdir: guest.root });
  expect(applied.at(-1)).toMatch(/_remove_tokenbook\.sql$/);
  await fresh.drop();
}

test("what is booked after the export keeps the books where they are, until they are exported again", async () => {
  await grant(ann, 70);
  const books = join(guest.root, "books");
  expect(await tokenbook("uninstall", "--write-only", "--yes", "--export", books)).toMatchObject({
    status: 0,
  });
  await grant(ann, 5_000);
  const facts = await factsOf(guest.db);
  await expect(up()).rejects.toThrow(/token_transactions has 2 rows, and had 1 when .*uninstall again/s);
  expect(await factsOf(guest.db)).toEqual(facts);
  // a known-bad variant: without the comparison the five thousand are in no file
  const sql = await removal();
  const blind = sql.replace(/ {2}for v_table, v_exported in [^]*? end loop;\n/, "");
  expect(blind).not.toBe(sql);
  expect(await tried(blind, "select to_regclass('public.token_transactions') as answer")).toBeNull();
  await rm(books, { recursive: true });

  // while a job grants, it ends with all of them in a file or with nothing removed
  let granted = 5_070;
  const over = new AbortController();
  const running = start("uninstall", ["--yes", "--export", books, ...at()]);
  const granting = (async () => {
    while (!over.signal.aborted) {
      await grant(ben, 1);
      granted++;
    }
  })();
  const refused = await running.finished;
  over.abort();
  await granting;
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("is in no file") });
  const removed = await tokenbook("uninstall", "--yes", "--export", books);
  expect(removed).toMatchObject({ status: 0, stdout: expect.stringContaining("nothing else has changed") });
  const [names, ...rows] = (await readFile(join(books, "public.token_balances.csv"), "utf8"))
    .trim()
    .split("\n");
  const nth = names!.split(",").indexOf("tokens_granted");
  const exported = rows.reduce((sum, row) => sum + Number(row.split(",")[nth]), 0);
  console.log(`granted=${granted} exported=${exported} lost=${granted - exported}`);
  expect(exported).toBe(granted);
  await runsAgain();
});

test("a column that follows the books has the balances of the end, and a running shadow is said", async () => {
  expect(await tokenbook("uninstall", "--write-only", "--yes", "--no-export")).toMatchObject({ status: 0 });
  expect(await tokenbook("import", "--from", "profiles.credits", "--book")).toMatchObject({ status: 0 });
  expect(await tokenbook("shadow", "--from", "profiles.credits", "--start")).toMatchObject({ status: 0 });
  const followed = await tokenbook("uninstall", "--write-only", "--yes", "--no-export");
  expect(followed.stdout).toContain("public.profiles.credits is followed by the books no more");
  expect(await tokenbook("switch", "--yes")).toMatchObject({ status: 0 });
  await expect(up()).rejects.toThrow(/follows the books, and this was written before.*uninstall again/s);

  const before = await credits(ann);
  const written = await tokenbook("uninstall", "--write-only", "--yes", "--no-export");
  expect(written.stdout).toContain("public.profiles.credits gets the balances of the books a last time");
  await spend(ann, 4);
  await grant(ann, 5_000);
  expect(await credits(ann)).toBe(before);
  const [sql, question] = [
    await removal(),
    `select credits as answer from public.profiles where id = '${ann}'`,
  ];
  // known-bad variants: what does not write leaves the old one, or says so
  const still = sql.replace(/ {4}execute \$write\$ with [^]*?\$write\$;\n/, "");
  await expect(tried(still)).rejects.toThrow(
    "balances of 1 users could not be written to public.profiles.credits",
  );
  const silent = still.replace("if v_rows > 0 then", "if false then");
  expect(Number(await tried(silent, question))).toBe(before);
  expect(Number(await tried(sql, question))).toBe(before - 4 + 5_000);

  const removed = await tokenbook("uninstall", "--yes", "--no-export");
  expect(removed.status, removed.stderr).toBe(0);
  expect(await credits(ann)).toBe(before - 4 + 5_000);
  await guest.db.admin.query("update public.profiles set credits = 1 where id = $1", [ann]);
  await runsAgain();
});

test("what the project made beside ours is named and stays, and what it made on ours does not keep the history from running again", async () => {
  await guest.db.admin.query(`
    create table tokenbook.my_notes (note text);
    insert into tokenbook.my_notes values ('mine');
    create view tokenbook.my_view as select 1 as one;
    create type tokenbook.my_type as enum ('a');
    create function tokenbook.my_fn() returns int language sql as 'select 1';
    create function public.grant_tokens(p_email text) returns int language sql as 'select 7';
    create schema app;
    create function app.grant_tokens() returns int language sql as 'select 8';
    create function app.caller() returns int language plpgsql as $$ begin return app.grant_tokens(); end $$;
    create function public.mine() returns int language plpgsql as $$ begin perform public.grant_tokens(null, 1, 'gift'); return 1; end $$;
    create schema cron;
    create table cron.job (jobname text, command text);
    insert into cron.job values ('sweep', 'select public.expire_old_token_grants()'), ('theirs', 'select 1');
    create function cron.unschedule(text) returns boolean language sql as 'select true';
    -- by hand, on ours
    create policy theirs on public.token_usage for select using (can_spend_tokens(1));
    alter table public.token_usage add column spendable boolean;
    alter table public.token_usage alter column spendable set default public.can_spend_tokens(1);
    alter table public.token_usage add constraint theirs check (public.can_spend_tokens(1) is not null) not valid;`);
  await mkdir(join(guest.root, "supabase/functions/hello"), { recursive: true });
  await writeFile(
    join(guest.root, "supabase/functions/hello/index.ts"),
    "import { problem } from '../_tokenbook/problem.ts'\n",
  );
  await addMigration(guest, "20991231000000_waits", "drop table public.does_wait;");
  await guest.db.admin.query("create table public.does_wait ()");
  const facts = await factsOf(guest.db);

  const refused = await tokenbook("uninstall", "--yes", "--no-export");
  expect(refused.status).toBe(1);
  for (const one of [
    "table tokenbook.my_notes",
    "view tokenbook.my_view",
    "type tokenbook.my_type",
    "function tokenbook.my_fn()",
  ]) {
    expect(refused.stderr).toContain(`${one} is yours`);
  }
  expect(refused.stderr).not.toContain("grant_tokens");
  expect(await touched(facts, await factsOf(guest.db))).toEqual([]);

  await guest.db.admin.query(`
    alter table tokenbook.my_notes set schema app;
    alter view tokenbook.my_view set schema app;
    alter type tokenbook.my_type set schema app;
    alter function tokenbook.my_fn() set schema app`);
  // one reads auth.users and does not end: nobody else waits for it because of us
  const reader = await guest.db.admin.connect();
  await reader.query("begin; select count(*) from auth.users");
  const running = start("uninstall", ["--yes", "--no-export", ...at()]);
  const over = new AbortController();
  const asking = (async () => {
    let longest = 0;
    while (!over.signal.aborted) {
      const begin = performance.now();
      await guest.db.admin.query("select count(*) from auth.users");
      longest = Math.max(longest, performance.now() - begin);
    }
    return longest;
  })();
  const waited = await running.finished;
  over.abort();
  const longest = Math.round(await asking);
  const { rows } = await reader.query("select pg_backend_pid() as pid");
  console.log(`longest_wait_ms=${longest}`);
  expect(waited).toMatchObject({
    status: 1,
    stderr: expect.stringContaining(`in use by process ${rows[0].pid} of`),
  });
  expect(longest).toBeLessThan(5_000);
  // what waited of the project's own was named before it was applied
  expect(waited.stdout).toContain("(20991231000000_waits.sql)");
  expect(waited.stderr).toContain("Of your own migrations 20991231000000 was applied, and stays");
  await reader.query("commit");
  reader.release();

  const removed = await tokenbook("uninstall", "--yes", "--no-export");
  expect(removed.status, removed.stderr).toBe(0);
  for (const one of [
    "function public.grant_tokens(text) is yours, though one of Tokenbook's is called the same, and stays",
    "function mine() names grant_tokens",
    "job sweep names expire_old_token_grants",
    "supabase/functions/hello/index.ts imports of",
  ]) {
    expect.soft(removed.stdout).toContain(one);
  }
  expect(removed.stdout).not.toMatch(/app\.caller|job theirs/);
  const { rows: left } = await guest.db.admin.query(
    "select public.grant_tokens('a@example.com'), (select note from app.my_notes), app.my_fn()",
  );
  expect(left).toEqual([{ grant_tokens: 7, note: "mine", my_fn: 1 }]);
  await writeFile(join(guest.root, "supabase/migrations/20991231000000_waits.sql"), "select 1;");
  await runsAgain();
});

test("what waits is told apart from what only the history does not know", async () => {
  await addMigration(guest, "20261001000000_branch", "create table public.from_branch (id int);");
  const status = await tokenbook("status");
  expect(status.stdout).toMatch(/waiting +20261001000000_branch\.sql, older .*--include-all/);
  expect(status.stdout).not.toContain("repair");
  const late = await tokenbook("uninstall", "--yes", "--no-export");
  expect(late).toMatchObject({ status: 1, stderr: expect.stringContaining("--include-all") });
  expect(late.stderr).not.toContain("repair");
  const upgraded = await tokenbook("upgrade", "--yes");
  expect(upgraded.stderr).not.toContain("repair");
  await up({ includeAll: true });
  await guest.db.admin.query("select from public.from_branch");

  // half installed: the jobs were not applied
  const { rows } = await guest.db.admin.query(
    "delete from supabase_migrations.schema_migrations where name like '%jobs' returning version",
  );
  const half = JSON.parse((await tokenbook("status", "--json")).stdout);
  expect(half).toMatchObject({
    repair: null,
    waiting: [{ file: `${rows[0].version}_tokenbook_jobs.sql`, is_late: false }],
  });
  for (const [command, ...args] of [
    ["uninstall", "--yes", "--no-export"],
    ["upgrade", "--yes"],
  ] as const) {
    const said = await tokenbook(command, ...args);
    expect([said.status, /supabase migration up/.test(said.stderr)]).toEqual([1, true]);
    expect(said.stderr).not.toContain("repair");
  }
  expect((await up()).applied).toEqual([`${rows[0].version}_tokenbook_jobs.sql`]);

  // as after a dump: then all of them are there
  await guest.db.admin.query("delete from supabase_migrations.schema_migrations");
  const lost = JSON.parse((await tokenbook("status", "--json")).stdout);
  expect(lost.repair).toMatch(/applied 20260901000000 20261001000000 \d{14} \d{14}$/);

  // and what is left of it when its schema is dropped by hand
  await guest.db.admin.query("drop schema tokenbook cascade");
  const left = await tokenbook("uninstall", "--yes", "--no-export");
  expect(left).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/tables are there still.*public\.token_usage/s),
  });
  const said = await tokenbook("status");
  expect(said).toMatchObject({ status: 1, stdout: expect.stringContaining("tables are there still") });
});
