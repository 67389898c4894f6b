/**
 * What check_token_installation finds: each made wrong, named, mended by its own remedy, and gone. The command too is
 * here: settings of roles are a whole server's, so this has a server of its own, which keeps what it answers.
 */
import pg from "pg";
import { superuser } from "local-platform/postgres/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkInstallation, type Finding } from "../../../scripts/data/installation.ts";
import { run, runHere } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { type DurableServer, startDurableServer } from "../../support/durable.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../../support/roles.ts";

let server: DurableServer;
let db: Database;
/** As who may change the server, and what is not postgres'. */
let platform: pg.Client;
beforeAll(async () => {
  server = await startDurableServer();
  db = server.db;
  platform = new pg.Client({ connectionString: db.url(superuser) });
  await platform.connect();
  await platform.query("create role reader nologin");
});
afterAll(async () => {
  await platform.end();
  await server.close();
});

const check = () => checkInstallation(db.admin);
const keyOf = ({ subject, status, finding }: Finding) => `${status}, ${subject}: ${finding}`;

test("a healthy installation has no fault, and says of each subject that it is sound", async () => {
  const found = await check();

  expect(found.filter(({ status }) => status === "fault")).toEqual([]);
  expect(found.filter(({ status }) => status === "ok").map(({ subject }) => subject)).toEqual([
    "durability",
    "rights",
    "row level security",
    "triggers",
    "functions",
  ]);
});

test("in a project with the legacy default privileges the doctor names them, and nothing else", async () => {
  const warnings = (await check()).filter(({ status }) => status === "warning");

  expect(warnings.map(({ finding }) => finding)).toEqual([
    "new functions that postgres makes can be called by everybody (Postgres' own default): not Tokenbook's to close",
    ...["functions", "sequences", "tables"].map(
      (kind) =>
        `new ${kind} that postgres makes in public are open to anon and authenticated (the legacy default privileges): not Tokenbook's to close`,
    ),
  ]);
});

/** What is made wrong, and what must then be said. */
const wrongs: { wrong: string; says: RegExp; asPlatform?: true }[] = [
  {
    wrong: "alter role authenticated set synchronous_commit = off",
    says: /^fault, durability: synchronous_commit is off for role authenticated:/,
    asPlatform: true,
  },
  {
    wrong:
      "do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
    says: /^fault, durability: synchronous_commit is off for database /,
    asPlatform: true,
  },
  {
    wrong: `do $$ begin execute format('alter role reader in database %I set synchronous_commit = off', current_database()); end $$`,
    says: /^fault, durability: synchronous_commit is off for role reader in database /,
    asPlatform: true,
  },
  {
    wrong: "alter function tokenbook.record_transaction set synchronous_commit = off",
    says: /^fault, durability: function tokenbook\.record_transaction\(.*\) sets synchronous_commit off$/,
  },
  {
    wrong: "grant select on public.token_accounts to anon",
    says: /^fault, rights: anon has select on table public\.token_accounts, which nobody declared$/,
  },
  {
    wrong: "grant update (tokens_remaining) on public.token_accounts to authenticated",
    says: /^fault, rights: authenticated has update \(tokens_remaining\) on table public\.token_accounts,/,
  },
  {
    wrong: "grant execute on function public.grant_tokens to public",
    says: /^fault, rights: public has execute on function public\.grant_tokens\(/,
  },
  {
    wrong: "grant usage on schema tokenbook to anon",
    says: /^fault, rights: anon has usage on schema tokenbook,/,
  },
  {
    wrong: `grant select on public.token_payments to reader`,
    says: /^warning, rights: reader has select on table public\.token_payments,/,
  },
  {
    wrong: "revoke select on public.token_plans from anon",
    says: /^fault, rights: anon lacks select on table public\.token_plans$/,
  },
  {
    wrong: "alter table public.token_transactions disable row level security",
    says: /^fault, row level security: row level security is off on public\.token_transactions:/,
  },
  {
    wrong: `create policy "for all" on public.token_balances for select to authenticated using (true)`,
    says: /^fault, row level security: policy "for all" on public\.token_balances lets clients in/,
  },
  {
    wrong: "drop trigger token_transactions_keep_append_only on public.token_transactions",
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is missing$/,
  },
  {
    wrong: "drop trigger acknowledged_findings_keep_append_only on tokenbook.acknowledged_findings",
    says: /^fault, triggers: trigger acknowledged_findings_keep_append_only on tokenbook\.\w+ is missing$/,
  },
  {
    wrong: "alter table public.token_transactions disable trigger token_transactions_keep_append_only",
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is disabled$/,
  },
  {
    wrong: `create or replace trigger token_transactions_keep_append_only before delete or update or truncate
      on public.token_transactions for each statement when (false) execute function tokenbook.keep_ledger_append_only()`,
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is not as it was made$/,
  },
  {
    wrong: `create or replace trigger token_transactions_keep_append_only before truncate
      on public.token_transactions for each statement execute function tokenbook.keep_ledger_append_only()`,
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is not as it was made$/,
  },
  {
    wrong: "grant service_role to authenticated",
    says: /^fault, rights: authenticated can act as service_role$/,
    asPlatform: true,
  },
  {
    wrong: "grant pg_read_all_data to anon",
    says: /^fault, rights: anon can act as pg_read_all_data$/,
    asPlatform: true,
  },
  {
    wrong: "alter role authenticated bypassrls",
    says: /^fault, row level security: authenticated passes row level security$/,
    asPlatform: true,
  },
  {
    wrong: "alter function tokenbook.authorize reset search_path",
    says: /^fault, functions: function tokenbook\.authorize\(.*\) has lost its search_path$/,
  },
  {
    wrong: "alter table public.token_plans disable trigger token_plans_date_default_plan",
    says: /^fault, triggers: trigger token_plans_date_default_plan on public\.token_plans is disabled$/,
  },
  {
    wrong: "alter table auth.users disable trigger tokenbook_register_user",
    says: /^fault, triggers: trigger tokenbook_register_user on auth\.users is disabled$/,
    asPlatform: true,
  },
  {
    wrong: "drop trigger tokenbook_register_user on auth.users",
    says: /^fault, triggers: trigger tokenbook_register_user on auth\.users is missing$/,
    asPlatform: true,
  },
  {
    wrong: "alter function tokenbook.grant_tokens reset search_path",
    says: /^fault, functions: function tokenbook\.grant_tokens\(.*\) runs with its owner's rights on its caller's/,
  },
  {
    wrong: "alter function public.grant_tokens security definer",
    says: /^fault, functions: function public\.grant_tokens\(.*\) is to run as its caller/,
  },
  {
    wrong: "create table public.app_notes (id integer)",
    says: /^warning, the project: public\.app_notes is read and written without row level security by anon and authenticated:/,
  },
  {
    wrong: "create view public.app_members as select id, email from auth.users",
    says: /^warning, the project: public\.app_members is read and written past row level security by /,
  },
  {
    wrong: "create materialized view public.app_totals as select 1 as total",
    says: /^warning, the project: public\.app_totals is read and written, a materialized view/,
  },
  {
    wrong: "create function public.app_all() returns integer language sql security definer return 1",
    says: /^warning, the project: function public\.app_all\(\) runs with its owner's rights for whoever asks:/,
  },
];

describe("made wrong, named, mended by its own remedy, gone:", () => {
  test.each(wrongs)("$wrong", async ({ wrong, says, asPlatform }) => {
    const before = (await check()).map(keyOf);
    const changer = asPlatform ? platform : db.admin;

    await changer.query(wrong);
    const found = (await check()).filter((one) => one.status !== "ok" && !before.includes(keyOf(one)));
    for (const { remedy } of found) await changer.query(remedy!);
    const after = (await check()).map(keyOf);

    expect(found.map(keyOf)).toEqual([expect.stringMatching(says)]);
    expect(after).toEqual(before);
  });
});

test("settings that are off on the whole server are named: those of the server that the tests run on are", async () => {
  const careless = await createDatabase();
  const found = (await checkInstallation(careless.admin)).filter(({ status }) => status === "fault");
  await careless.drop();

  expect(found.map(({ subject, remedy }) => `${subject}: ${remedy}`).sort()).toEqual([
    "durability: alter system reset synchronous_commit",
    "durability: alter system set fsync = on",
    "durability: alter system set full_page_writes = on",
  ]);
});

test("each trigger of Tokenbook's in the catalogue is one that the doctor looks for, as it is defined", async () => {
  const triggers = async () =>
    (
      await db.admin.query<{ name: string; table: string; definition: string }>(
        `select g.tgname as name, g.tgrelid::regclass::text as table, pg_get_triggerdef(g.oid) as definition
           from pg_trigger g join pg_proc p on p.oid = g.tgfoid
          where p.pronamespace = 'tokenbook'::regnamespace and not g.tgisinternal order by 1`,
      )
    ).rows;
  const before = await triggers();
  for (const { name, table } of before) await platform.query(`drop trigger ${name} on ${table}`);
  for (const { remedy, status } of await check()) if (status === "fault") await platform.query(remedy!);

  expect(before).toHaveLength(5);
  expect(await triggers()).toEqual(before);
});

test("only the server may ask", async () => {
  const admin = await createUser(db, { admin: true });
  const asked = (client: pg.ClientBase) => rpc(client, "check_token_installation");

  await expect(asAnon(db, asked)).rejects.toMatchObject({ code: "42501" });
  await expect(asUser(db, admin, asked)).rejects.toMatchObject({ code: "42501" });
  await expect(asAdmin(db, admin, asked)).rejects.toMatchObject({ code: "42501" });
  await expect(asService(db, (client) => checkInstallation(client))).resolves.toBeDefined();
});

test("of an installation without a fault it says so, and ends with 0", async () => {
  const { status, stdout, stderr } = await run("doctor", [], { SUPABASE_DB_URL: db.url() });

  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout).toContain(
    "ok       rights: nobody has a right on anything of Tokenbook's that was not declared",
  );
  expect(stdout).toContain("Tokenbook is as it was installed: 4 warnings, of what is the project's own");
});

test("a fault comes with its statement, for people and for machines, and ends with 1", async () => {
  await db.admin.query("grant select on public.token_accounts to anon");
  const words = await runHere("doctor", [], { SUPABASE_DB_URL: db.url() });
  const json = await runHere("doctor", ["--json"], { SUPABASE_DB_URL: db.url() });
  await db.admin.query("revoke select on public.token_accounts from anon");

  expect([words.status, json.status]).toEqual([1, 1]);
  expect(words.stdout).toContain(
    "FAULT    rights: anon has select on table public.token_accounts, which nobody declared\n" +
      "           revoke select on table public.token_accounts from anon;\n",
  );
  expect(words.stdout).toContain("The books are in danger: 1 fault, 4 warnings.");
  expect(JSON.parse(json.stdout).findings).toContainEqual({
    subject: "rights",
    status: "fault",
    finding: "anon has select on table public.token_accounts, which nobody declared",
    remedy: "revoke select on table public.token_accounts from anon",
  });
});

test("it says what it can't do, and ends with 2", async () => {
  const bare = await createDatabase({ template: "platform" });
  const unknown = await runHere("doctor", ["--all"]);
  const nothing = await runHere("doctor", [], { SUPABASE_DB_URL: bare.url() });
  await bare.drop();

  expect([unknown.status, nothing.status]).toEqual([2, 2]);
  expect(unknown.stderr).toContain("--all");
  expect(nothing.stderr).toContain("npm run migrate");
});

test("the default privileges are mended by their remedies, and what is made next is then closed", async () => {
  const found = (await check()).filter(({ status }) => status === "warning");
  for (const { remedy } of found) await db.admin.query(remedy!);
  await db.admin.query(`create table public.app_later (id integer);
    create function public.app_next() returns integer language sql security definer return 1`);

  expect(found).toHaveLength(4);
  expect((await check()).filter(({ status }) => status !== "ok")).toEqual([]);
  expect((await runHere("doctor", [], { SUPABASE_DB_URL: db.url() })).stdout).toContain(
    "Tokenbook is as it was installed, and nothing around it stands open.",
  );
});
