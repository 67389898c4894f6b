import { spawnSync } from "node:child_process";
import { appendFile, cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { superuser } from "../../scripts/local/postgres.ts";
import { projectRoot } from "../../scripts/local/settings.ts";
import { migrationUp } from "../../scripts/local/supabase-cli.ts";
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

let guest: Guest;
beforeEach(async () => {
  guest = await startProject("e-own-private", { byCli: false });
});
afterEach(() => guest.remove());

/** The same project, its migrations applied by the real CLI. */
async function byTheCli(): Promise<Guest> {
  await guest.remove();
  return (guest = await startProject("e-own-private"));
}

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
  const { status, stdout } = spawnSync("npx", ["tsx", "scripts/build-migrations.ts", "--check"], {
    cwd: projectRoot,
    encoding: "utf8",
  });
  expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining("is current") });
});

test("a second install is refused in one line, and changes nothing", async () => {
  await byTheCli();
  await install(guest);
  const before = await factsOf(guest.db);

  const refusal = await failure(install(guest, undefined, "20261128"));

  expect(refusal).toContain("Tokenbook is installed here already, and nothing was changed.");
  expect(refusal.split("\n").length).toBeLessThan(5);
  expect([...(await factsOf(guest.db))]).toEqual([...before]);
});

test("a failure in the middle leaves nothing of it, and the next try installs", async () => {
  await byTheCli();
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
    { sql: string; says: string | RegExp; mended?: "by the project" | "by the platform"; undo?: string }
  > = {
    "a schema tokenbook of somebody else's": {
      sql: "create schema tokenbook; create table tokenbook.customers (id int); create function tokenbook.admins() returns int language sql as 'select 1'",
      says: "schema tokenbook is there already, with function tokenbook.admins(), table tokenbook.customers of somebody else's",
      mended: "by the project",
    },
    "a schema tokenbook that belongs to another role": {
      sql: "create schema tokenbook authorization supabase_admin",
      says: "schema tokenbook is there already, and postgres may not make anything in it",
      mended: "by the platform",
    },
    "a table, and its new name taken as well": {
      sql: "create table public.token_plans (id int); create table public.app_token_plans (id int)",
      says: "alter table public.token_plans rename to app_own_token_plans;",
      mended: "by the project",
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
    "a publication of another's": {
      sql: "alter publication supabase_realtime owner to supabase_admin",
      says: "publication supabase_realtime belongs to supabase_admin, and postgres may not add a table to it",
      mended: "by the platform",
    },
  };

  test.each(Object.entries(hindrances))("%s", async (_what, { sql, says, mended }) => {
    await asPlatform(guest.db, mended === "by the project" ? `set role postgres; ${sql}` : sql);
    const before = await factsOf(guest.db);

    const refusal = await failure(install(guest));

    expect(refusal).toMatch(says);
    expect([...(await factsOf(guest.db))]).toEqual([...before]);
    for (const statement of statementsOf(refusal)) {
      await asPlatform(guest.db, mended === "by the project" ? `set role postgres; ${statement}` : statement);
    }
    const ready = await factsOf(guest.db);
    await install(guest);
    expect(await touched(ready, await factsOf(guest.db))).toEqual([]);
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

test("a default plan that the project makes afterwards is what gives: to who signs up, and to who was there and looks", async () => {
  await install(guest);
  await guest.db.admin.query(`
    insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, grant_type, rank, is_default)
    values ('free', 'Free', 300, 0, 'none', 'plan', 0, true)`);

  const given = await Promise.all(
    [ben, await createUser(guest.db)].map((user) =>
      asUser(guest.db, user, (client) => rpc(client, "get_user_token_balance")),
    ),
  );

  expect(given.map(({ total_active }) => total_active)).toEqual([300, 300]);
  expect(await rowsOfOurs(guest.db), "nobody who did not look").toMatchObject({
    token_accounts: 2,
    token_balances: 2,
  });
});

test("an app's migration of the same moment as ours is neither run twice nor left out", async () => {
  await byTheCli();
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

test("the check is the head of the file: nothing comes before it", async () => {
  const sql = await readFile(join(projectRoot, tokenbookMigration), "utf8");
  const statements = sql
    .replace(/\/\*[^]*?\*\//g, "")
    .replaceAll(/^--.*$/gm, "")
    .trim();

  expect(statements.startsWith("create function pg_temp.refuse_if_in_the_way()")).toBe(true);
});
