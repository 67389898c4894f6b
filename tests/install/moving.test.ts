// @module-tag proof
/**
 * Books that are dumped and restored elsewhere, as docs/guides/moving-house.md says it, with the real pg_dump and the real
 * Supabase CLI: the scripts that `supabase db dump` would run in Docker are the ones that it prints with --dry-run.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrationUp, supabase } from "local-platform/project/supabase-cli";
import { projectRoot } from "../../scripts/project.ts";
import { breaches } from "../support/books.ts";
import { run } from "../support/command.ts";
import type { Database } from "../support/database.ts";
import { type DumpServer, startDumpServer } from "../support/dump-tools.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser, type PopulatedUser } from "../support/populated-user.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";

const app = `
  create table public.user_profiles (user_id uuid primary key references auth.users (id) on delete cascade, name text);
  alter table public.user_profiles enable row level security;`;

/** What a format of dumps could trip over. */
const hostile = 'zoë\'s \\ "reason",\t$1;\n\\.\n-- over';

let server: DumpServer;
/** The project's folder; its database as the migrations leave it, and the one that has been used. */
let root: string;
let installed: Database;
let source: Database;
let users: PopulatedUser[];
let before: Awaited<ReturnType<typeof books>>;
let checkpoint: string;
beforeAll(async () => {
  server = await startDumpServer();
  console.log(server.version);
  root = await mkdtemp(join(tmpdir(), "tokenbook-moving-"));
  await mkdir(join(root, "supabase/migrations"), { recursive: true });
  await writeFile(join(root, "supabase/config.toml"), 'project_id = "app"\n');
  await writeFile(join(root, "supabase/migrations/20260901000000_app.sql"), app);
  await symlink(join(projectRoot, "node_modules"), join(root, "node_modules"));
  installed = await server.database();
  await migrationUp({ url: installed.url(), workdir: root });
  expect(await tokenbook("install", installed, "--yes", "--functions", "none")).toMatchObject({ status: 0 });

  source = await server.database();
  await migrationUp({ url: source.url(), workdir: root });
  await setUp(source);
  users = [await populateUser(source), await populateUser(source)];
  await asService(source, (client) =>
    rpc(client, "adjust_tokens", { p_user_id: users[0]!.id, p_delta: 5, p_reason: hostile }),
  );
  await asService(source, (client) =>
    rpc(client, "set_token_account_state", {
      p_user_id: users[1]!.id,
      p_state: "frozen",
      p_reason: "a test",
    }),
  );
  await source.admin.query("delete from auth.users where id = $1", [users[1]!.member]);
  checkpoint = join(root, "checkpoint.txt");
  expect(await tokenbook("checkpoint", source, "--output", checkpoint)).toMatchObject({ status: 0 });
  before = await books(source);
}, 180_000);
afterAll(async () => {
  await installed?.drop();
  await source?.drop();
  await server?.stop();
  await rm(root, { recursive: true });
});

const tokenbook = (command: string, db: Database, ...args: string[]) =>
  run(command, [...args, "--db-url", db.url(), "--workdir", root]);

/** What a project chooses: a catalogue, a default plan, caps for everyone, a policy. */
async function setUp(db: Database): Promise<void> {
  const set = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const plan = (name: string, fields: Record<string, unknown>) =>
    set("set_token_plan", { p_plan_type: name, p_plan: { name, ...fields }, p_reason: "a catalogue" });
  await plan("professional", { tokens: 2_000_000, price_cents: 3_900, billing_cycle: "monthly", rank: 30 });
  await plan("annual", { tokens: 5_000_000, price_cents: 19_900, billing_cycle: "annual", rank: 40 });
  await plan("free", { tokens: 10_000, is_default: true });
  await set("set_token_spend_cap", { p_for_everyone: true, p_window: "month", p_tokens: 1_000_000_000 });
  await set("set_token_burn_order", { p_burn_order: "expiring_first" });
  await set("set_token_alert_rule", {
    p_for_everyone: true,
    p_rule: "low",
    p_kind: "dropped",
    p_threshold_tokens: 100,
  });
  await set("set_token_grant_type", {
    p_grant_type: "welcome",
    p_terms: { lifetime_hours: 24 },
    p_reason: "a type of our own",
  });
  await set("set_token_action_cost", {
    p_action_type: "chat_conversation",
    p_cost: { min_tokens: 1, max_tokens: 1_000_000 },
    p_reason: "a price",
  });
}

/** All rows of ours, and what is read of them. */
async function books(db: Database) {
  const { rows: tables } = await db.admin.query<{ name: string }>(
    `select oid::regclass::text as name from pg_class
      where relkind in ('r', 'p') and not relispartition and (relnamespace = 'tokenbook'::regnamespace
         or relnamespace = 'public'::regnamespace and relname = any (tokenbook.own_relations()))
      order by 1`,
  );
  const found: Record<string, unknown> = {};
  for (const { name } of tables.filter((one) => one.name !== "tokenbook.migration_reports")) {
    const { rows } = await db.admin.query(
      `select to_jsonb(t) as row from ${name} t order by to_jsonb(t)::text`,
    );
    found[name] = rows;
  }
  for (const { id } of users ?? []) {
    found[`balance of ${id}`] = await asService(db, (client) =>
      rpc(client, "get_user_token_balance", { p_user_id: id }),
    );
  }
  return found;
}

/** The script of `supabase db dump`, as the CLI prints it. */
async function dumpScript(db: Database, ...flags: string[]): Promise<string> {
  const { stdout, stderr, status } = await supabase(
    ["db", "dump", "--dry-run", ...flags, `--remote=${db.url()}?sslmode=disable`],
    { workdir: root },
  );
  expect([status, stdout.includes("pg_dump")], stderr).toEqual([0, true]);
  return stdout;
}

async function dump(db: Database, ...flags: string[]): Promise<string> {
  const file = join(root, `dump${flags.join("")}.sql`);
  await server.shell(`(${await dumpScript(db, ...flags)}) > '${file}'`);
  return file;
}

/** As the guide says it. */
const restore = (db: Database, ...files: string[]) =>
  server.shell(
    `psql "$NEW_DB_URL" --quiet --single-transaction --variable ON_ERROR_STOP=1 ${files.map((file) => `--file '${file}'`).join(" ")}`,
    { NEW_DB_URL: db.url() },
  );

/** What the real CLI finds between two databases. */
async function difference(from: Database, to: Database): Promise<string> {
  const file = join(root, "difference.sql");
  const sides = ["--from", `${from.url()}?sslmode=disable`, "--to", `${to.url()}?sslmode=disable`];
  const { status, stderr } = await supabase(["db", "diff", ...sides, "--output", file], { workdir: root });
  expect(status, stderr).toBe(0);
  return (await readFile(file, "utf8")).trim();
}

/** The books are as they were, they are right, and they go on. */
async function expectMoved(db: Database): Promise<void> {
  expect(await books(db)).toEqual(before);
  expect(await tokenbook("verify", db)).toMatchObject({ status: 0 });
  expect(await tokenbook("verify", db, "--checkpoint", checkpoint)).toMatchObject({ status: 0 });
  expect(await tokenbook("doctor", db)).toMatchObject({ status: 0 });
  const status = await tokenbook("status", db, "--json");
  expect([status.status, JSON.parse(status.stdout)]).toMatchObject([
    0,
    { accounts: 4, repair: null, faults: [] },
  ]);
  await expectToGoOn(db);
}

async function expectToGoOn(db: Database): Promise<void> {
  const user = users[0]!;
  const spent = await asUser(db, user.id, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user.id, p_tokens_to_deduct: 7 }),
  );
  expect(spent).toMatchObject({ success: true, tokens_deducted: 7 });
  const again = await asUser(db, user.id, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user.id,
      p_tokens_to_deduct: 40,
      p_idempotency_key: user.things.p_idempotency_key,
      p_metadata: { of: user.mark, article_id: user.mark },
    }),
  );
  expect(again).toMatchObject({ replayed: true });
  await asService(db, (client) =>
    rpc(client, "set_token_account_state", { p_user_id: users[1]!.id, p_state: "active", p_reason: "moved" }),
  );
  const newcomer = await createUser(db);
  const balance = await asUser(db, newcomer, (client) => rpc(client, "get_user_token_balance"));
  expect(balance).toMatchObject({ total_active: 10_000 });
  expect([
    await breaches(db),
    (await db.admin.query("select * from public.verify_token_ledger()")).rows,
  ]).toEqual([[], []]);
}

/** An installed database that nobody has used, after its jobs have run for a while. */
async function unused(): Promise<Database> {
  const db = await server.database(installed.name);
  await asService(db, (client) =>
    client.query("select public.expire_old_token_grants(), public.arm_token_alerts()"),
  );
  return db;
}

test("data only, as supabase db dump writes it, into a database where Tokenbook is installed", async () => {
  const db = await unused();
  await restore(db, await dump(source, "--data-only", "--use-copy"));
  await expectMoved(db);
  expect(await difference(installed, db)).toBe("");
  await db.drop();
}, 120_000);

const dumpData = async (db: Database): Promise<string> => {
  const file = join(root, "books.dump");
  await server.shell(
    `pg_dump '${db.url()}' --format=custom --data-only --schema=auth --schema=public --schema=tokenbook --exclude-table=auth.schema_migrations --file='${file}'`,
  );
  return file;
};
const restoreData = (db: Database, file: string) =>
  server.shell(
    `pg_restore --dbname='${db.url()}' --data-only --single-transaction --exit-on-error '${file}'`,
    {
      PGOPTIONS: "-c session_replication_role=replica",
    },
  );

test("data only, by pg_dump and pg_restore", async () => {
  const db = await unused();
  await restoreData(db, await dumpData(source));
  await expectMoved(db);
  await db.drop();
}, 120_000);

test.each([
  ["reports-are-counted-from-one", "migration_reports_pkey"],
  ["nobody-is-armed-all-the-same", "project_settings_pkey"],
])(
  "a known-bad variant of what an installation writes by itself is refused: %s",
  async (mutant, collides) => {
    const [from, to] = [await server.database(installed.name), await server.database(installed.name)];
    for (const db of [from, to]) {
      await applyMutant(db, mutant);
      await asService(db, (client) => client.query("select public.arm_token_alerts()"));
    }
    if (mutant !== "reports-are-counted-from-one")
      await from.admin.query("delete from tokenbook.migration_reports");
    await expect(restoreData(to, await dumpData(from))).rejects.toThrow(collides);
    await from.drop();
    await to.drop();
  },
  60_000,
);

test("what a project's own migrations wrote is emptied first, as the guide says it; books are not", async () => {
  const guide = await readFile(join(projectRoot, "docs/guides/moving-house.md"), "utf8");
  const [, statements] = /```sql\n([^]*?)```/.exec(guide)!;
  const db = await server.database(installed.name);
  await setUp(db);
  const empty = () =>
    server.shell(`psql "$NEW_DB_URL" --quiet --variable ON_ERROR_STOP=1 <<< "$SQL"`, {
      NEW_DB_URL: db.url(),
      SQL: statements,
    });
  await empty();
  await restoreData(db, await dumpData(source));
  await expectMoved(db);
  await expect(empty()).rejects.toThrow("there are books here");
  await db.drop();
}, 120_000);

test("whole: into a new project, whose default privileges a dump does not take back", async () => {
  const db = await server.database();
  await restore(db, await dump(source), await dump(source, "--data-only"));
  expect(await difference(source, db)).toMatch(/revoke .* from "?anon/i);

  const mended = await tokenbook("doctor", db, "--mend", "--yes");
  expect(mended).toMatchObject({ status: 0, stderr: expect.stringMatching(/\d+ statements run/) });
  const status = await tokenbook("status", db, "--json");
  const { repair } = JSON.parse(status.stdout) as { repair: string };
  expect([status.status, repair]).toEqual([
    1,
    expect.stringMatching(
      /^supabase migration repair --remote=<connection string> --status applied 20260901000000 \d{14} \d{14}$/,
    ),
  ]);
  expect(await tokenbook("uninstall", db, "--yes", "--no-export")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining(repair),
  });
  const typed = repair.replace("<connection string>", `${db.url()}?sslmode=disable`).split(" ").slice(1);
  const repaired = await supabase([...typed, "--yes"], { workdir: root });
  expect(repaired.status, repaired.stderr).toBe(0);
  expect(await migrationUp({ url: db.url(), workdir: root })).toEqual({ applied: [] });
  expect(await difference(source, db)).toBe("");
  await expectMoved(db);
  await db.drop();
}, 120_000);

test("the schema alone, in one file, as supabase migration squash writes it: a project that begins", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tokenbook-squashed-"));
  await cp(root, folder, { recursive: true, verbatimSymlinks: true });
  const migrations = join(folder, "supabase/migrations");
  const files = (await readdir(migrations)).toSorted();
  for (const file of files) await rm(join(migrations, file));
  await cp(await dump(installed), join(migrations, files.at(-1)!));
  const db = await server.database();
  await migrationUp({ url: db.url(), workdir: folder });

  const at = ["--db-url", db.url(), "--workdir", folder];
  const found = await run("doctor", at);
  expect(found).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/tokenbook_register_user .* is missing/),
  });
  expect(await run("doctor", [...at, "--mend", "--yes"])).toMatchObject({ status: 0 });
  const status = await run("status", at);
  expect(status).toMatchObject({ status: 0, stdout: expect.stringContaining("squashed") });
  expect(await difference(installed, db)).toBe("");
  await setUp(db);
  const newcomer = await createUser(db);
  const balance = await asUser(db, newcomer, (client) => rpc(client, "get_user_token_balance"));
  expect(balance).toMatchObject({ total_active: 10_000 });
  await db.drop();
  await rm(folder, { recursive: true });
}, 120_000);

test("use leaves no noise: db diff finds nothing, and db pull writes the same files", async () => {
  expect(await difference(installed, source)).toBe("");
  const pulled = await Promise.all(
    [installed, source].map(async (db) => {
      const folder = await mkdtemp(join(tmpdir(), "tokenbook-pulled-"));
      await mkdir(join(folder, "supabase"));
      await writeFile(join(folder, "supabase/config.toml"), 'project_id = "app"\n');
      const { status, stderr } = await supabase(
        ["db", "pull", "--declarative", "--yes", `--remote=${db.url()}?sslmode=disable`],
        { workdir: folder },
      );
      expect(status, stderr).toBe(0);
      const files = await readdir(join(folder, "supabase/schemas"), { recursive: true, withFileTypes: true });
      const texts = await Promise.all(
        files
          .filter((file) => file.isFile())
          .map(async (file) => [
            join(file.parentPath, file.name).slice(folder.length),
            await readFile(join(file.parentPath, file.name), "utf8"),
          ]),
      );
      await rm(folder, { recursive: true });
      return Object.fromEntries(texts) as Record<string, string>;
    }),
  );
  expect(Object.values(pulled[0]!).join("\n")).toContain("token_transactions");
  expect(pulled[1]).toEqual(pulled[0]);
}, 120_000);
