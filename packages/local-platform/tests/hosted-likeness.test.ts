// @module-tag proof
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Database } from "local-platform/testing/database";
import { createDatabase } from "./database.ts";

let db: Database;
beforeAll(async () => (db = await createDatabase("legacy")));
afterAll(() => db.drop());

async function one<T>(sql: string, values: unknown[] = []): Promise<T> {
  return (await db.admin.query(sql, values)).rows[0] as T;
}

test("`postgres` owns the database, passes row level security, and is no superuser", async () => {
  expect(
    await one(`
      select current_user as name, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
             pg_get_userbyid(datdba) as owner
        from pg_roles, pg_database where rolname = current_user and datname = current_database()`),
  ).toEqual({
    name: "postgres",
    rolsuper: false,
    rolcreatedb: true,
    rolcreaterole: true,
    rolreplication: true,
    rolbypassrls: true,
    owner: "postgres",
  });
});

test.each([
  ["to change the tables of schema auth", "alter table auth.users add column mine text"],
  ["to create in schema auth", "create table auth.mine (id int)"],
  ["to change the server's settings", "alter system set work_mem = '1GB'"],
  ["to make an event trigger", "create event trigger t on ddl_command_end execute function pg_catalog.now()"],
  ["to become a superuser", "set role supabase_admin"],
])("`postgres` is not allowed %s", async (_what, sql) => {
  await expect(db.admin.query(sql)).rejects.toMatchObject({ code: expect.stringMatching(/^(42501|42P17)$/) });
});

test("`postgres` may do what migrations do: refer to auth.users, set triggers on it, publish tables, become a client", async () => {
  await db.admin.query(`
    begin;
    create table public.mine (user_id uuid references auth.users (id));
    create function public.on_user() returns trigger language plpgsql as 'begin return new; end';
    create or replace trigger on_user after insert on auth.users for each row execute function public.on_user();
    alter publication supabase_realtime add table public.mine;
    set local role authenticated;
    rollback`);
});

test("roles, their timeouts and their rights to pass row level security are the hosted ones", async () => {
  const { rows } = await db.admin.query(`
    select rolname, rolcanlogin, rolinherit, rolbypassrls, coalesce(rolconfig, '{}') as settings
      from pg_roles where rolname in ('anon', 'authenticated', 'service_role', 'authenticator') order by rolname`);

  expect(rows).toEqual([
    {
      rolname: "anon",
      rolcanlogin: false,
      rolinherit: true,
      rolbypassrls: false,
      settings: ["statement_timeout=3s"],
    },
    {
      rolname: "authenticated",
      rolcanlogin: false,
      rolinherit: true,
      rolbypassrls: false,
      settings: ["statement_timeout=8s"],
    },
    {
      rolname: "authenticator",
      rolcanlogin: true,
      rolinherit: false,
      rolbypassrls: false,
      settings: ["statement_timeout=8s", "lock_timeout=8s"],
    },
    { rolname: "service_role", rolcanlogin: false, rolinherit: true, rolbypassrls: true, settings: [] },
  ]);
});

test("a new table is open to anon in a legacy project, and closed in one made since", async () => {
  const closed = await createDatabase("none");
  const opens = async (database: Database) => {
    await database.admin.query("create table public.fresh (id int)");
    const { rows } = await database.admin.query(
      "select has_table_privilege('anon', 'public.fresh', 'select') as yes",
    );
    return rows[0].yes as boolean;
  };

  expect([await opens(db), await opens(closed)]).toEqual([true, false]);
  await closed.drop();
});

test("auth.uid() and its kin are the hosted ones, not those of the API's library", async () => {
  const { rows } = await db.admin.query(`
    select p.proname, pg_get_userbyid(p.proowner) as owner, p.prosrc ~ 'request.jwt.claims' as reads_claims
      from pg_proc p where p.pronamespace = 'auth'::regnamespace order by 1`);

  expect(rows).toEqual(
    ["email", "jwt", "role", "uid"].map((proname) => ({
      proname,
      owner: "supabase_admin",
      reads_claims: true,
    })),
  );
});

test("the tables of schema auth belong to the auth server's role, and `postgres` may write them", async () => {
  const { rows } = await db.admin.query(`
    select distinct tableowner, has_table_privilege('postgres', format('auth.%I', tablename), 'insert, update, delete') as writes
      from pg_tables where schemaname = 'auth'`);

  expect(rows).toEqual([{ tableowner: "supabase_auth_admin", writes: true }]);
});
