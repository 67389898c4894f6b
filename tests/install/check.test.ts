// @module-tag proof
import { appendFile, cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { superuser } from "local-platform/postgres/server";
import { migrationUp } from "local-platform/project/supabase-cli";
import { staleMigrations, tokenbookMigration } from "../../scripts/schema/generated-migrations.ts";
import type { Database } from "../support/database.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import {
  addMigration,
  answersOf,
  ben,
  factsOf,
  generated,
  type Guest,
  install,
  projects,
  rowsOfOurs,
  startProject,
  statementsOf,
  takenNames,
  touched,
} from "./guest.ts";
import { projectRoot } from "../../scripts/project.ts";

let guest: Guest;
/** Whether the real CLI applies the migrations. Where it is no part of the test, a connection of ours is quicker. */
let byCli = false;
beforeEach(async () => {
  guest = await startProject("e-own-private", { byCli });
});
afterEach(() => guest.remove());

const failure = (installing: Promise<void>): Promise<string> =>
  installing.then(
    () => "it installed",
    (error: Error) => error.message,
  );

/** What only the platform may do. */
async function asPlatform(db: Database, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: db.url(superuser) });
  await client.connect();
  await client.query(sql);
  await client.end();
}

/** The names in `public`, as the catalogue has them. */
async function namesInPublic(db: Database) {
  const { rows } = await db.admin.query<{ kind: "relations" | "functions"; name: string }>(
    `select 'relations' as kind, relname as name from pg_class where relnamespace = 'public'::regnamespace
     union select 'functions', proname from pg_proc where pronamespace = 'public'::regnamespace
     union select 'relations', typname from pg_type
      where typnamespace = 'public'::regnamespace and typrelid = 0 and typcategory <> 'A'`,
  );
  return rows;
}

test("the names that the check looks for are those that the install makes in public, every one and no other", async () => {
  const before = new Set((await namesInPublic(guest.db)).map(({ kind, name }) => `${kind} ${name}`));
  await install(guest);
  const made = (await namesInPublic(guest.db)).filter(({ kind, name }) => !before.has(`${kind} ${name}`));

  const { relations, functions } = await takenNames();
  console.log(`names made in public: ${made.length}, looked for: ${relations.length + functions.length}`);
  const of = (wanted: string) => made.filter(({ kind }) => kind === wanted).map(({ name }) => name);
  expect(of("relations").toSorted()).toEqual(relations);
  expect(of("functions").toSorted()).toEqual(functions);
});

test("a schema file that the generated migration does not have yet is noticed", async () => {
  const root = await mkdtemp(join(tmpdir(), "tokenbook-drift-"));
  await cp(join(projectRoot, "supabase"), join(root, "supabase"), {
    recursive: true,
    filter: (path) => !path.startsWith(join(projectRoot, "supabase", "functions")),
  });
  const before = await staleMigrations(root);
  await appendFile(
    join(root, "supabase/schemas/30_usage/tables/token_usage.sql"),
    "create table public.token_extras (id int);\n",
  );
  const after = await staleMigrations(root);
  await rm(root, { recursive: true });

  expect([...before.keys()]).toEqual([]);
  expect([...after.keys()]).toEqual([tokenbookMigration]);
  expect(after.get(tokenbookMigration)).toContain("'token_extras'");
});

test("a second install is refused in one line, and changes nothing", async () => {
  await install(guest);
  const before = await factsOf(guest.db);

  const refusal = await failure(install(guest, undefined, "20261128"));

  expect(refusal).toContain("Tokenbook is installed here already, and nothing was changed.");
  expect(refusal.split("\n").length).toBeLessThan(5);
  expect([...(await factsOf(guest.db))]).toEqual([...before]);
});

describe("applied by the CLI", () => {
  beforeAll(() => void (byCli = true));
  afterAll(() => void (byCli = false));

  test("a failure in the middle leaves nothing of it, and the next try installs", async () => {
    const before = await factsOf(guest.db);
    const breakAt = (sql: string) => {
      const lines = sql.split("\n-- from supabase/schemas/");
      return [
        ...lines.slice(0, lines.length / 2),
        "x\n\nselect 1 / 0;\n",
        ...lines.slice(lines.length / 2),
      ].join("\n-- from supabase/schemas/");
    };

    expect(await failure(install(guest, breakAt))).toContain("division by zero");
    const { rows } = await guest.db.admin.query("select version from supabase_migrations.schema_migrations");

    expect([...(await factsOf(guest.db))]).toEqual([...before]);
    expect(rows).toEqual([{ version: "20260901000000" }]);
    await install(guest);
    expect(await touched(before, await factsOf(guest.db))).toEqual([]);
  });

  test("an app's migration of the same moment as ours is neither run twice nor left out", async () => {
    await addMigration(guest, "20261127000002_later", "create table public.later (id int)");
    await install(guest);

    const { rows } = await guest.db.admin.query(
      "select version from supabase_migrations.schema_migrations order by 1",
    );
    expect(rows.map(({ version }) => version)).toEqual([
      "20260901000000",
      "20261127000000",
      "20261127000001",
      "20261127000002",
    ]);
    expect(await migrationUp({ url: guest.db.url(), workdir: guest.root })).toEqual({ applied: [] });
  });
});

describe("the comparison sees an install that", () => {
  const variants: Record<string, { sql: string; sees: (seen: Seen) => unknown }> = {
    "revokes on a schema of the app's": {
      sql: "revoke all on all functions in schema private from public, authenticated;",
      sees: ({ facts, answers }) => facts.some((fact) => fact.includes("private.is_admin()")) && answers > 0,
    },
    "replaces a function of the app's": {
      sql: "create or replace function private.is_admin() returns boolean language sql stable security definer set search_path = '' as 'select false';",
      sees: ({ facts, answers }) =>
        facts.some((fact) => fact.includes("private.is_admin() · definition")) && answers > 0,
    },
    "gives a default plan": {
      sql: `insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, grant_type, rank, is_default)
            values ('free', 'Free', 10000, 0, 'none', 'plan', 0, true);`,
      sees: ({ rows }) => "public.token_plans" in rows || "token_plans" in rows,
    },
    "gives every user an account": {
      sql: "insert into public.token_accounts (user_id) select id from auth.users;",
      sees: ({ rows }) => "public.token_accounts" in rows || "token_accounts" in rows,
    },
    "changes what new functions of the app are open to": {
      sql: "alter default privileges in schema public grant execute on functions to anon;",
      sees: ({ facts }) => facts.some((fact) => fact.startsWith("default acl ")),
    },
    "makes a table of another name": {
      sql: "create table public.plans (id int);",
      sees: ({ facts }) => facts.some((fact) => fact.includes("public.plans")),
    },
  };

  interface Seen {
    facts: string[];
    answers: number;
    rows: Record<string, number>;
  }

  test.each(Object.entries(variants))("%s", async (_what, { sql, sees }) => {
    const before = {
      facts: await factsOf(guest.db),
      answers: await answersOf(guest.db, projects["e-own-private"]!),
    };
    await install(guest, (text) => `${text}\n${sql}\n`);
    const after = await answersOf(guest.db, projects["e-own-private"]!);

    const seen: Seen = {
      facts: await touched(before.facts, await factsOf(guest.db)),
      answers: Object.keys(after).filter(
        (one) => JSON.stringify(after[one]) !== JSON.stringify(before.answers[one]),
      ).length,
      rows: await rowsOfOurs(guest.db),
    };
    console.log(`facts=${seen.facts.length} answers=${seen.answers} rows=${JSON.stringify(seen.rows)}`);
    expect(sees(seen)).toBe(true);
  });
});

describe("what stands in the way is said before anything is changed", () => {
  /** What a project has, done by the platform where it must be; what the list says; and who runs the mending. */
  const hindrances: Record<
    string,
    {
      sql: string;
      says: string | RegExp;
      mended?: "by the project" | "by the platform";
      byHand?: string;
      /** That a refused migration changes nothing is the transaction's doing: compared for one of each kind. */
      isCompared?: true;
    }
  > = {
    "a schema tokenbook of somebody else's": {
      sql: "create schema tokenbook; create table tokenbook.customers (id int); create function tokenbook.admins() returns int language sql as 'select 1'",
      says: "schema tokenbook is there already, and Tokenbook did not make function tokenbook.admins(), table tokenbook.customers\n",
      mended: "by the project",
      isCompared: true,
    },
    "a schema tokenbook that belongs to another role": {
      sql: "create schema tokenbook authorization supabase_admin",
      says: "Tokenbook did not make it\n      -- as supabase_admin:\n      alter schema tokenbook rename to app_tokenbook;",
      mended: "by the platform",
    },
    "a schema tokenbook with nothing but a collation and a grant": {
      sql: `create schema tokenbook; create collation tokenbook.german from "de-x-icu"; grant usage on schema tokenbook to anon`,
      says: "Tokenbook did not make collation tokenbook.german\n",
      mended: "by the project",
    },
    "a schema tokenbook with names of ours, and a function that names it": {
      sql: `create schema tokenbook; comment on schema tokenbook is 'Books of tokens';
            create table tokenbook.report (id int); grant select on tokenbook.report to anon;
            create table tokenbook.migration_reports (id int); create type tokenbook.burn_position as enum ('first');
            create function public.reports() returns bigint language sql as 'select count(*) from tokenbook.report'`,
      says: /did not make table tokenbook.migration_reports, table tokenbook.report, type tokenbook.burn_position\n[^]*function public.reports\(\) names schema tokenbook\n/,
      mended: "by the project",
      byHand: `create or replace function public.reports() returns bigint language sql as 'select count(*) from app_tokenbook.report'`,
    },
    "a schema that says it is ours, with something in it that is not": {
      sql: `create schema tokenbook; create table tokenbook.notes (id int);
            comment on schema tokenbook is 'Tokenbook''s internals. Not exposed by the API; functions in it are reached through public wrappers only.'`,
      says: "did not make table tokenbook.notes\n      -- move that out of the schema",
      mended: "by the project",
      byHand: "alter table tokenbook.notes set schema public",
    },
    "a table behind public on a role's search path": {
      sql: `create schema app; create table app.token_plans (id int);
            do $$ begin execute format('alter role postgres in database %I set search_path = public, app', current_database()); end $$`,
      says: /table app.token_plans would be hidden by ours: schema app stands after public on the search path of role postgres/,
      mended: "by the project",
      byHand: `do $$ begin execute format('alter role postgres in database %I set search_path = app, public', current_database()); end $$`,
    },
    "a function behind public on a function's search path, and a type behind it on the API's": {
      sql: `create schema app; create function app.tokens_used() returns int language sql as 'select 1';
            create function app.used() returns int language sql set search_path = "$user", public, app as 'select tokens_used()';
            grant create on schema extensions to postgres; set role postgres; create domain extensions.token_plans as int`,
      says: /function app.tokens_used\(\) would be hidden by ours: schema app stands after public on the search path of function app.used\(\)\n[^]*type extensions.token_plans would be hidden/,
      mended: "by the platform",
      byHand: `alter function app.used() set search_path = app, public; alter domain extensions.token_plans rename to plan`,
    },
    "a trigger of our name": {
      sql: `create function public.noop() returns trigger language plpgsql as 'begin return new; end';
            create trigger tokenbook_register_user after insert on auth.users for each row execute function public.noop()`,
      says: "      -- as supabase_auth_admin:\n      alter trigger tokenbook_register_user on auth.users rename to app_tokenbook_register_user;",
      mended: "by the platform",
    },
    "a table and a function of another role's": {
      sql: `create table public.token_plans (id int); create function public.plans() returns bigint language sql as 'select count(*) from public.token_plans'`,
      says: /-- as supabase_admin:\n {6}alter table public.token_plans rename[^]*-- as supabase_admin:\n {6}do /,
      mended: "by the platform",
    },
    "a table of an extension's": {
      sql: "create table public.token_plans (id int); alter extension plpgsql add table public.token_plans",
      says: /table public.token_plans is there already, and belongs to extension plpgsql\n {6}-- as supabase_admin:\n/,
      mended: "by the platform",
    },
    "a table, and its new name taken as well": {
      sql: "create table public.token_plans (id int); create table public.app_token_plans (id int)",
      says: "alter table public.token_plans rename to app_own_token_plans;",
      mended: "by the project",
      isCompared: true,
    },
    "a partitioned table, a sequence, a composite type, an enum, a domain and an array's name": {
      sql: `create table public.token_usage (id int) partition by range (id);
            create sequence public.token_plans;
            create type public.token_holds as (id int);
            create type public.token_alerts as enum ('a');
            create domain public.token_payments as int`,
      says: /alter domain public.token_payments rename to app_token_payments;/,
      mended: "by the project",
    },
    "a procedure and an aggregate of our names": {
      sql: `create procedure public.grant_tokens(int) language sql as 'select 1';
            create aggregate public.adjust_tokens(int) (sfunc = int4pl, stype = int, initcond = '0')`,
      says: "alter routine public.grant_tokens(IN integer) rename to app_grant_tokens;",
      mended: "by the project",
    },
    "a column of our name's text in a quoted, upper-case function": {
      sql: `create table public.token_holds (id int);
            create function public."Count Holds"("User" uuid) returns bigint language plpgsql as $$ begin return (select count(*) from token_holds); end $$`,
      says: `function public."Count Holds"(uuid) says token_holds`,
      mended: "by the project",
    },
    "no right to make anything in public": {
      sql: "alter schema public owner to supabase_admin; revoke create on schema public from postgres",
      says: "postgres may not make tables and functions in schema public",
      mended: "by the platform",
    },
    "no right to make a schema": {
      sql: `do $$ begin execute format('alter database %I owner to supabase_admin', current_database());
            execute format('revoke create on database %I from postgres', current_database()); end $$`,
      says: "postgres may not make a schema in this database",
      mended: "by the platform",
    },
    "no right to add a trigger to auth.users": {
      sql: "revoke trigger on auth.users from postgres",
      says: "grant select, references, trigger on auth.users to postgres;",
      mended: "by the platform",
    },
    "an auth server from before November 2023": {
      sql: "alter table auth.identities rename provider_id to id_there",
      says: "table auth.identities is missing, or has no provider_id",
      mended: "by the platform",
      byHand: "alter table auth.identities rename id_there to provider_id",
    },
    "a publication of another's": {
      sql: "alter publication supabase_realtime owner to supabase_admin",
      says: "publication supabase_realtime belongs to supabase_admin, and postgres may not add a table to it",
      mended: "by the platform",
    },
  };

  test.each(Object.entries(hindrances))("%s", async (_what, hindrance) => {
    const { sql, says, mended, byHand = "", isCompared = false } = hindrance;
    await asPlatform(guest.db, mended === "by the project" ? `set role postgres; ${sql}` : sql);
    const before = isCompared ? await factsOf(guest.db) : undefined;

    const refusal = await failure(install(guest));

    expect(refusal).toMatch(says);
    if (before !== undefined) expect([...(await factsOf(guest.db))]).toEqual([...before]);
    for (const statement of [...statementsOf(refusal), byHand]) {
      await asPlatform(guest.db, mended === "by the project" ? `set role postgres; ${statement}` : statement);
    }
    const ready = await factsOf(guest.db);
    await install(guest);
    expect(await touched(ready, await factsOf(guest.db))).toEqual([]);
  });

  /** Functions that say a name of ours, what they answer, and what an engineer makes of those left to them. */
  const app = `
    create table public.token_plans (id int);
    create table public."token_plans-old" (id int);
    create table public.token_usage (id int);
    create schema app;
    create table app.token_usage (id int);
    create table public.profiles (id int, tokens_used int);
    insert into public.token_plans values (1), (2);
    insert into public."token_plans-old" values (1);
    insert into app.token_usage values (1), (2), (3);
    insert into public.profiles values (1, 50);
    create function public.tokens_used(public.profiles) returns int language sql as 'select $1.tokens_used * 2';
    create function public.loud() returns bigint language sql as 'select count(*) from TOKEN_PLANS -- all of them';
    create function public.louder() returns bigint language plpgsql as $$ begin return (select count(*) from "public" . "token_plans") + (select count(*) from Public.Token_Plans); end $$;
    create function public.first_of(public.token_plans) returns int language sql as 'select id from token_plans order by id limit 1';
    create function public.twice() returns int language sql as 'select public.tokens_used(p) from profiles p';
    create function public.spent() returns int language sql as 'select tokens_used from profiles';
    create function public.as_json() returns jsonb language sql as $$ select jsonb_build_object('tokens_used', tokens_used) from profiles $$;
    create function public.old_plans() returns bigint language sql as 'select count(*) from public."token_plans-old"';
    create function app.uses() returns bigint language sql set search_path = app, public as 'select count(*) from token_usage';
    create function public.over(token_plans int) returns bigint language sql as 'select count(*) from public.token_plans p where p.id > token_plans';
    create function public.joined() returns bigint language sql as 'select count(*) from token_plans where token_plans.id > 1'`;
  const answers = `select public.loud(), public.louder(), public.first_of(null), public.twice(), public.spent(), public.as_json(),
    public.old_plans(), app.uses(), public.over(1), public.joined()`;
  const byHand = `
    create or replace function public.over(token_plans int) returns bigint language sql as 'select count(*) from public.app_token_plans p where p.id > token_plans';
    create or replace function public.joined() returns bigint language sql as 'select count(*) from app_token_plans where app_token_plans.id > 1'`;

  test("a function's text is rewritten where it is certain what a name is, and left to a person where it is not", async () => {
    await guest.db.admin.query(app);
    const { rows: before } = await guest.db.admin.query(answers);

    const refusal = await failure(install(guest));
    const functions = [...refusal.matchAll(/ {2}- function (\S+) says .*\n {6}(do|--)/g)];
    for (const statement of [...statementsOf(refusal), byHand]) await guest.db.admin.query(statement);
    await install(guest);

    const told = (how: string) => functions.filter(([, , line]) => line === how).map(([, name]) => name);
    console.log(`rewritten=${told("do").length} left to a person=${told("--").length}`);
    expect(told("do")).toEqual([
      "public.first_of(public.token_plans)",
      "public.loud()",
      "public.louder()",
      "public.twice()",
    ]);
    expect(told("--").toSorted()).toEqual([
      "app.uses()",
      "public.as_json()",
      "public.joined()",
      "public.old_plans()",
      "public.over(integer)",
      "public.spent()",
      "public.tokens_used(public.profiles)",
    ]);
    expect(refusal).toContain("names in SQL that is put together at run time");
    expect((await guest.db.admin.query(answers)).rows).toEqual(before);
  });

  test("no right to look into schema auth", async () => {
    const role = `stranger_${guest.db.name}`;
    await asPlatform(guest.db, `create role ${role}; grant ${role} to postgres`);
    const refusal = await failure(install(guest, (sql) => `set local role ${role};\n${sql}`));
    await asPlatform(guest.db, `drop role ${role}`);

    expect(refusal).toContain(
      `${role} may not use schema auth\n      -- as supabase_admin:\n      grant usage on schema auth to ${role};`,
    );
  });

  test("a database without the roles of Supabase", async () => {
    const { tokenbook } = await generated();
    const asked = tokenbook.replace(
      "unnest(array['anon', 'authenticated', 'service_role']) as r",
      "unnest(array['anon', 'nobody']) as r",
    );
    expect(asked).not.toBe(tokenbook);

    expect(await failure(install(guest, () => asked))).toContain(
      "role nobody is missing: this is not a Supabase database",
    );
  });
});

test("where a publication broadcasts all tables, it installs and the books are written", async () => {
  await asPlatform(
    guest.db,
    "drop publication supabase_realtime; create publication supabase_realtime for all tables; create publication everything for tables in schema public",
  );
  const before = await factsOf(guest.db);
  await install(guest);
  const user = await createUser(guest.db);

  const receipt = await asService(guest.db, async (client) => {
    await rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 100, p_grant_type: "purchase" });
    return rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 30 });
  });

  expect(await touched(before, await factsOf(guest.db))).toEqual([]);
  expect(receipt).toMatchObject({ success: true, tokens_remaining: 70 });
});

test("where a type of the app's own comes before that of Postgres, it installs with those of Postgres", async () => {
  await guest.db.admin.query(`
    create type public.text as enum ('short', 'long');
    do $$ begin execute format('alter role postgres in database %I set search_path = public, pg_catalog', current_database()); end $$`);

  expect(await failure(install(guest, (sql) => `set local search_path = public, pg_catalog;\n${sql}`))).toBe(
    "it installed",
  );
});

test("a default plan that the project makes afterwards gives to new users, and not to existing ones who look", async () => {
  await install(guest);
  await guest.db.admin.query(`
    insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, grant_type, rank, is_default)
    values ('free', 'Free', 300, 0, 'none', 'plan', 0, true)`);

  const given = await Promise.all(
    [ben, await createUser(guest.db)].map((user) =>
      asUser(guest.db, user, (client) => rpc(client, "get_user_token_balance")),
    ),
  );

  expect(given.map(({ total_active }) => total_active)).toEqual([0, 300]);
  expect(await rowsOfOurs(guest.db)).toMatchObject({ token_accounts: 1, token_balances: 1 });
});

test("the check is the head of the file: nothing comes before it", async () => {
  const sql = await readFile(join(projectRoot, tokenbookMigration), "utf8");
  const statements = sql
    .replace(/\/\*[^]*?\*\//g, "")
    .replaceAll(/^--.*$/gm, "")
    .trim();

  expect(statements.startsWith("create function pg_temp.in_the_way()")).toBe(true);
});
