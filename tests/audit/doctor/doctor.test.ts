/**
 * What check_token_installation finds: each made wrong, named, mended by its own remedy, and gone. The command too is
 * here: settings of roles are a whole server's, so this has a server of its own, which keeps what it answers.
 */
import { readFile } from "node:fs/promises";
import pg from "pg";
import { superuser } from "local-platform/postgres/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkInstallation, type Finding } from "../../../packages/tokenbook/src/data/installation.ts";
import { run, runHere } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { type DurableServer, startDurableServer } from "../../support/durable.ts";
import { applyMutant } from "../../support/mutants.ts";
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
  await platform.query(theirTrigger);
});
afterAll(async () => {
  await platform.end();
  await server.close();
});

/** For a trigger of somebody's: beside public, where a function that can be called is a finding of its own. */
const theirTrigger = `create function auth.app_notices() returns trigger language plpgsql as 'begin return new; end';
  grant execute on function auth.app_notices() to postgres`;

const check = () => checkInstallation(db.admin);
const keyOf = ({ subject, status, finding }: Finding) => `${status}, ${subject}: ${finding}`;

test("a healthy installation has no fault, and says of each subject that it is sound", async () => {
  const found = await check();

  expect(found.filter(({ status }) => status === "fault")).toEqual([]);
  expect(found[0]).toMatchObject({
    subject: "version",
    finding: expect.stringMatching(/^Tokenbook \d+\.\d+\.\d+$/),
  });
  expect(found.filter(({ status }) => status === "ok").map(({ subject }) => subject)).toEqual([
    "version",
    "durability",
    "rights",
    "row level security",
    "triggers",
    "functions",
    "tables",
    "the shadow",
    "jobs",
    "moves",
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
interface Wrong {
  wrong: string;
  says: RegExp;
  asPlatform?: true;
  /** What else must be said. */
  also?: RegExp[];
  /** What puts it right where no remedy can be said: a statement, or the file that made it, run again. */
  mend?: string;
}
const wrongs: Wrong[] = [
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
    says: /^fault, functions: function tokenbook\.record_transaction\(.*\) is not as it was made: set synchronous_commit = 'off'$/,
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
    says: /^fault, row level security: policy "for all" on public\.token_balances is there, and nobody declared it: as permissive, for select, to authenticated, using \(true\)$/,
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
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is not as it was made: disabled$/,
  },
  {
    wrong: `create or replace trigger token_transactions_keep_append_only before delete or update or truncate
      on public.token_transactions for each statement when (false) execute function tokenbook.keep_ledger_append_only()`,
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is not as it was made: .*when \(false\)/i,
  },
  {
    wrong: `create or replace trigger token_transactions_keep_append_only before truncate
      on public.token_transactions for each statement execute function tokenbook.keep_ledger_append_only()`,
    says: /^fault, triggers: trigger token_transactions_keep_append_only on public\.token_transactions is not as it was made: .* BEFORE TRUNCATE .* instead of .* BEFORE DELETE OR /,
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
    says: /^fault, functions: function tokenbook\.authorize\(.*\) is not as it was made: without set search_path = pg_catalog, pg_temp$/,
  },
  {
    wrong: "alter table public.token_plans disable trigger token_plans_date_default_plan",
    says: /^fault, triggers: trigger token_plans_date_default_plan on public\.token_plans is not as it was made: disabled$/,
  },
  {
    wrong: "alter table auth.users disable trigger tokenbook_register_user",
    says: /^fault, triggers: trigger tokenbook_register_user on auth\.users is not as it was made: disabled$/,
    asPlatform: true,
  },
  {
    wrong: "drop trigger tokenbook_register_user on auth.users",
    says: /^fault, triggers: trigger tokenbook_register_user on auth\.users is missing$/,
    asPlatform: true,
  },
  {
    wrong: "alter function tokenbook.grant_tokens reset search_path",
    says: /^fault, functions: function tokenbook\.grant_tokens\(.*\) is not as it was made: without set search_path = pg_catalog, pg_temp$/,
  },
  {
    wrong: "alter function public.grant_tokens security definer",
    says: /^fault, functions: function public\.grant_tokens\(.*\) is not as it was made: security definer instead of security invoker$/,
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
    says: /^warning, the project: function public\.app_all\(\) runs with its owner's rights for any caller:/,
  },
  // everything else of ours, kind by kind
  {
    wrong: "alter function tokenbook.is_admin volatile strict",
    says: /^fault, functions: function tokenbook\.is_admin\(\) is not as it was made: volatile, strict instead of stable, called on null input$/,
  },
  {
    wrong: "alter function tokenbook.authorize set work_mem = '1MB'",
    says: /^fault, functions: function tokenbook\.authorize\(.*\) is not as it was made: set work_mem = '1MB'$/,
  },
  {
    wrong: `create or replace function tokenbook.is_own_request() returns boolean language plpgsql stable security invoker
      set search_path = pg_catalog, pg_temp as $$ begin return false; end $$`,
    says: /^fault, functions: function tokenbook\.is_own_request\(\) is not as it was made: another text$/,
    mend: "supabase/schemas/10_access/is_own_request.sql",
  },
  {
    wrong: "alter function tokenbook.is_own_request() rename to is_request",
    says: /^fault, functions: function tokenbook\.is_own_request\(\) is missing$/,
    also: [/^fault, functions: function tokenbook\.is_request\(\) is there, and nobody declared it$/],
    mend: "alter function tokenbook.is_request() rename to is_own_request",
  },
  {
    wrong: "alter function tokenbook.is_admin owner to supabase_admin",
    says: /^fault, functions: function tokenbook\.is_admin\(\) is not as it was made: owner to supabase_admin$/,
    asPlatform: true,
  },
  {
    wrong: `create function public.deduct_tokens_with_fifo(p_user_id text) returns integer language plpgsql as $$ begin return 1; end $$;
      revoke all on function public.deduct_tokens_with_fifo(text) from public, anon, authenticated, service_role`,
    says: /^fault, functions: function public\.deduct_tokens_with_fifo\(text\) is there, and nobody declared it$/,
  },
  {
    wrong: `alter policy "Users read their own grants" on public.token_balances using (true)`,
    says: /^fault, row level security: policy "Users read their own grants" on public\.token_balances is not as it was made: using \(true\) instead of using \(/,
  },
  {
    wrong: `alter policy "Users read their own grants" on public.token_balances to anon`,
    says: /^fault, row level security: policy .* is not as it was made: to anon instead of to authenticated$/,
  },
  {
    wrong: `drop policy "Users read their own grants" on public.token_balances`,
    says: /^fault, row level security: policy "Users read their own grants" on public\.token_balances is missing$/,
  },
  {
    wrong: `create trigger app_notices after insert on public.token_transactions for each row execute function auth.app_notices()`,
    says: /^fault, triggers: trigger app_notices on public\.token_transactions is there, and nobody declared it$/,
  },
  {
    wrong: "create rule app_nothing as on insert to public.token_usage do instead nothing",
    says: /^fault, triggers: rule app_nothing on public\.token_usage is there, and nobody declared it$/,
  },
  {
    wrong: "alter role authenticated set session_replication_role = replica",
    says: /^fault, triggers: session_replication_role is replica for role authenticated:/,
    asPlatform: true,
  },
  {
    wrong: `do $$ begin execute format('alter database %I set session_replication_role = replica', current_database()); end $$`,
    says: /^fault, triggers: session_replication_role is replica for database /,
    asPlatform: true,
  },
  {
    wrong:
      "alter default privileges for role supabase_admin in schema tokenbook grant select on tables to anon",
    says: /^warning, rights: new tables that supabase_admin makes in schema tokenbook are open to anon$/,
    asPlatform: true,
  },
  {
    wrong: "alter table public.token_storage_quotas drop constraint token_storage_quotas_quota_is_positive",
    says: /^fault, tables: constraint token_storage_quotas_quota_is_positive on public\.token_storage_quotas is missing$/,
  },
  {
    wrong: `alter table public.token_storage_quotas drop constraint token_storage_quotas_quota_is_positive,
      add constraint token_storage_quotas_quota_is_positive check (quota_gb > -1)`,
    says: /^fault, tables: constraint token_storage_quotas_quota_is_positive on .* is not as it was made: CHECK \(.*-1.* instead of CHECK /,
  },
  {
    wrong:
      "alter table public.token_balances add constraint app_user foreign key (user_id) references auth.users on delete cascade",
    says: /^fault, tables: constraint app_user on public\.token_balances is there, and nobody declared it: FOREIGN KEY .* ON DELETE CASCADE$/,
    asPlatform: true,
  },
  {
    wrong: "drop index public.token_balances_expiry_idx",
    says: /^fault, tables: index public\.token_balances_expiry_idx is missing$/,
  },
  {
    wrong:
      "update pg_index set indisvalid = false where indexrelid = 'public.token_balances_expiry_idx'::regclass",
    says: /^fault, tables: index public\.token_balances_expiry_idx is not as it was made: not valid$/,
    asPlatform: true,
  },
  {
    wrong: "create index app_usage_idx on public.token_usage (created_at)",
    says: /^warning, tables: index public\.app_usage_idx is there, and nobody declared it$/,
  },
  {
    wrong: "create unique index app_usage_idx on public.token_usage (created_at)",
    says: /^fault, tables: index public\.app_usage_idx is there, and nobody declared it$/,
  },
  {
    wrong: "alter table public.token_accounts alter column tokens_used drop default",
    says: /^fault, tables: column public\.token_accounts\.tokens_used is not as it was made: without default 0$/,
  },
  {
    wrong: "alter table public.token_accounts alter column tokens_used set default 5",
    says: /^fault, tables: column public\.token_accounts\.tokens_used is not as it was made: default 5 instead of default 0$/,
  },
  {
    wrong: "alter table public.token_balances alter column granted_at drop not null",
    says: /^fault, tables: column public\.token_balances\.granted_at is not as it was made: without not null$/,
  },
  {
    wrong: "alter table public.token_balances alter column expires_at set not null",
    says: /^fault, tables: column public\.token_balances\.expires_at is not as it was made: not null$/,
  },
  {
    wrong: "alter table tokenbook.failed_registrations alter column error type varchar",
    says: /^fault, tables: column tokenbook\.failed_registrations\.error is not as it was made: character varying instead of text$/,
    mend: "alter table tokenbook.failed_registrations alter column error type text",
  },
  {
    wrong: "alter table public.token_usage rename column model_used to model",
    says: /^fault, tables: column public\.token_usage\.model_used is missing$/,
    also: [/^warning, tables: column public\.token_usage\.model is there, and nobody declared it: text$/],
    mend: "alter table public.token_usage rename column model to model_used",
  },
  {
    wrong: "alter table public.token_usage add column app_note text",
    says: /^warning, tables: column public\.token_usage\.app_note is there, and nobody declared it: text$/,
    mend: "alter table public.token_usage drop column app_note",
  },
  {
    wrong: "alter table public.token_usage add column app_note text not null",
    says: /^fault, tables: column public\.token_usage\.app_note is there, and nobody declared it: text, not null$/,
    mend: "alter table public.token_usage drop column app_note",
  },
  {
    wrong: "alter table tokenbook.failed_registrations set unlogged",
    says: /^fault, tables: table tokenbook\.failed_registrations is not as it was made: unlogged$/,
  },
  {
    wrong: "alter table public.token_accounts replica identity full",
    says: /^warning, tables: table public\.token_accounts is not as it was made: replica identity full$/,
  },
  {
    wrong: "alter table public.token_accounts replica identity nothing",
    says: /^fault, tables: table public\.token_accounts is not as it was made: replica identity nothing$/,
  },
  {
    wrong: "alter table public.token_accounts force row level security",
    says: /^fault, tables: table public\.token_accounts is not as it was made: row level security forced$/,
  },
  {
    wrong: "create table auth.app_usage () inherits (public.token_alerts)",
    says: /^fault, tables: table public\.token_alerts is not as it was made: inherited by auth\.app_usage$/,
    asPlatform: true,
  },
  {
    wrong:
      "create table tokenbook.app_notes (id integer primary key); alter table tokenbook.app_notes enable row level security",
    says: /^warning, tables: table tokenbook\.app_notes is there, and nobody declared it$/,
    mend: "drop table tokenbook.app_notes",
  },
  {
    wrong: "alter sequence tokenbook.failed_registrations_id_seq cycle",
    says: /^fault, tables: sequence tokenbook\.failed_registrations_id_seq is not as it was made: .*, cycle instead of /,
    mend: "alter sequence tokenbook.failed_registrations_id_seq no cycle",
  },
  {
    wrong: "alter view public.token_counters reset (security_invoker)",
    says: /^fault, tables: view public\.token_counters is not as it was made: without security_invoker=true$/,
  },
  {
    wrong: `create or replace view public.token_counters with (security_invoker = true) as
      select a.user_id, 0::bigint as vibe_assistant_tokens_remaining, a.tokens_used as vibe_assistant_tokens_used, a.total_cost / 100 as vibe_assistant_total_cost
        from public.token_accounts a`,
    says: /^fault, tables: view public\.token_counters is not as it was made: reads public\.token_accounts instead of reads .*, another text$/,
    mend: "supabase/schemas/30_usage/token_counters.sql",
  },
  {
    wrong: "alter publication supabase_realtime drop table public.token_accounts",
    says: /^warning, tables: publication supabase_realtime of public\.token_accounts is missing$/,
    asPlatform: true,
  },
  {
    wrong: "alter publication supabase_realtime add table public.token_usage",
    says: /^warning, tables: publication supabase_realtime of public\.token_usage is there, and nobody declared it$/,
    asPlatform: true,
  },
];

/** A file of supabase/schemas says `create`: over what is there it is `create or replace`. */
const statementsOf = async (mend: string) =>
  mend.endsWith(".sql")
    ? (await readFile(mend, "utf8")).replace(/^create (function|view)/m, "create or replace $1")
    : mend;

describe("made wrong, named, mended by its own remedy, gone:", () => {
  test.each(wrongs)("$wrong", async ({ wrong, says, also = [], asPlatform, mend }) => {
    const before = (await check()).map(keyOf);
    const changer = asPlatform ? platform : db.admin;

    await changer.query(wrong);
    const found = (await check()).filter((one) => one.status !== "ok" && !before.includes(keyOf(one)));
    const remedies = found.flatMap(({ remedy }) => remedy ?? []);
    for (const statements of mend === undefined ? remedies : [await statementsOf(mend)])
      await changer.query(statements);
    const after = (await check()).map(keyOf);

    expect(found.map(keyOf)).toEqual([says, ...also].map((one) => expect.stringMatching(one)));
    expect(after).toEqual(before);
    expect(remedies.length === found.length, "a remedy for each").toBe(mend === undefined);
  });
});

test("what the server prints of ours says the same when it is run again: so does a dump that is restored", async () => {
  await platform.query("begin");
  const { rows } = await platform.query<{ statements: string }>(`
    select tokenbook.mend_shape(kind, relation, name, definition, '') as statements from tokenbook.present_shape()
     where kind in ('index', 'policy', 'trigger') or (kind = 'constraint' and definition ~ '^(CHECK|FOREIGN)')
    union all
    select format('alter table %s alter column %s set default null; ', relation, name)
             || tokenbook.mend_shape(kind, relation, name, definition, split_part(definition, E'\n', 1))
      from tokenbook.present_shape() where kind = 'column' and definition ~ '\ndefault ' and definition !~ 'generated'
    union all
    select format('create or replace view %s with (%s) as %s', v.oid::regclass, array_to_string(v.reloptions, ', '), pg_get_viewdef(v.oid))
      from pg_class v where v.oid in (select object from tokenbook.own_objects()) and v.relkind = 'v'`);
  for (const { statements } of rows) await platform.query(statements);
  const found = await platform.query("select finding from tokenbook.compare_shape()");
  await platform.query("rollback");

  console.log(
    `run again as printed: ${rows.length} things, ${found.rowCount} of them then printed otherwise`,
  );
  expect(rows.length).toBeGreaterThan(200);
  expect(found.rows).toEqual([]);
});

test.each([
  ["doctor-overlooks-changes", (finding: string) => finding.includes("is not as it was made")],
  ["doctor-overlooks-additions", (finding: string) => finding.includes("nobody declared it")],
])("the test sees it: %s", { tags: ["proof"] }, async (mutant, isOverlooked) => {
  const bad = await createDatabase();
  const platformOfBad = new pg.Client({ connectionString: bad.url(superuser) });
  await platformOfBad.connect();
  await platformOfBad.query(theirTrigger);
  const seen = async () => (await checkInstallation(bad.admin)).map(keyOf);
  const mutated = await applyMutant(bad, mutant).then(seen);
  let tried = 0;
  let overlooked = 0;
  for (const { wrong, says, also = [] } of wrongs) {
    if (![says, ...also].some(({ source }) => isOverlooked(source.replaceAll("\\", "")))) continue;
    await platformOfBad.query("begin");
    await platformOfBad.query(wrong);
    const { rows } = await platformOfBad.query<Finding>("select * from tokenbook.check_token_installation()");
    await platformOfBad.query("rollback");
    tried++;
    const said = rows.map(keyOf).filter((one) => !mutated.includes(one));
    if (!said.some(isOverlooked)) overlooked++;
  }
  await platformOfBad.end();
  await bad.drop();
  console.log(`${mutant}: overlooked ${overlooked} of ${tried} wrongs of its kind`);
  expect(tried).toBeGreaterThan(10);
  expect(overlooked).toBe(tried);
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

  expect(before).toHaveLength(13);
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

test("books that are wrong are a fault, with what is wrong; the version is said to machines", async () => {
  const user = await createUser(db);
  await asService(db, (client) =>
    rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 50, p_grant_type: "purchase" }),
  );
  const remaining = "select tokens_remaining from public.token_accounts where user_id = $1";
  const was = (await db.admin.query(remaining, [user])).rows[0].tokens_remaining;
  const set = (tokens: string) =>
    db.admin.query("update public.token_accounts set tokens_remaining = $2 where user_id = $1", [
      user,
      tokens,
    ]);
  await set("99999");
  const words = await runHere("doctor", [], { SUPABASE_DB_URL: db.url() });
  await set(was);
  const json = await runHere("doctor", ["--json"], { SUPABASE_DB_URL: db.url() });

  expect([words.status, json.status]).toEqual([1, 0]);
  expect(words.stdout).toMatch(new RegExp(`FAULT    the books: I\\d.*${user}, expected .*found`));
  const { version, findings } = JSON.parse(json.stdout);
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(findings.at(-1)).toMatchObject({ subject: "the books", status: "ok" });
});

test("it says what it can't do, and ends with 2", async () => {
  const bare = await createDatabase({ template: "platform" });
  const unknown = await runHere("doctor", ["--all"]);
  const nothing = await runHere("doctor", [], { SUPABASE_DB_URL: bare.url() });
  await bare.drop();

  expect([unknown.status, nothing.status]).toEqual([2, 2]);
  expect(unknown.stderr).toContain("--all");
  expect(nothing.stderr).toContain("npx tokenbook install");
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
