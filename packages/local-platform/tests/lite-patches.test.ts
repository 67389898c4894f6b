// @module-tag proof
/*
 * Each wrong that lite.ts shuts off: that it is shut off, and, as a control, that @supabase/lite left
 * alone still does it. A control that fails after an update means that its patch can go.
 */
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { decodeProtectedHeader } from "jose";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { askLite, createTableApp, openLite } from "local-platform/lite";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

const SETUP = `
  create schema private;
  create table private.secrets (word text);
  alter table private.secrets enable row level security;
  create table public.notes (id int primary key, price numeric default 1.10, data jsonb,
    made_at timestamptz default '2026-01-02 03:04:05+00', check (id > 0));
  alter table public.notes enable row level security;
  grant select, insert on public.notes to anon;
  create policy "all are seen" on public.notes for select to anon using (true);
  create policy "all may add" on public.notes for insert to anon with check (true);
  create table public.plain (id int primary key check (id > 0));
  grant insert on public.plain to anon;
  create function public.kind(p jsonb) returns text language sql stable as 'select jsonb_typeof(p)';`;

/** Every right on tables that the API's roles have, and the default rights on tables to come. */
const RIGHTS = `
  select n.nspname || '.' || c.relname as object, r.rolname as role, string_agg(p, ',' order by p) as rights
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   cross join pg_roles r
   cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
   where n.nspname in ('public', 'private') and c.relkind = 'r'
     and r.rolname in ('anon', 'authenticated', 'service_role') and has_table_privilege(r.oid, c.oid, p)
   group by 1, 2
   union all
  select defaclobjtype::text || coalesce(n.nspname::text, ''), 'default', defaclacl::text
    from pg_default_acl left join pg_namespace n on n.oid = defaclnamespace
   order by 1, 2`;

let it: ApiUnderTest;
let closing: (() => Promise<void>)[];

beforeEach(async () => {
  it = await startApiUnderTest(SETUP);
  closing = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closing) await close();
  await it.close();
});

const rights = async () => (await it.db.admin.query(RIGHTS)).rows as unknown[];

/** @supabase/lite as it comes, connected as it must be to see any table. */
function unpatched(role = "postgres") {
  // It prints each error that it meets.
  vi.spyOn(console, "error").mockImplementation(() => {});
  const connection = createPostgresConnection({
    url: it.db.url(role),
    postgresOptions: { onnotice: () => {} },
  });
  closing.push(() => connection.close());
  const app = new App({
    connection,
    api: { enabled: true, schemas: ["public"] },
    auth: {
      enabled: true,
      publishable_key: it.keys.publishableKey,
      secret_key: it.keys.secretKey,
      jwt_secret: "x".repeat(40),
    },
    db: { migrations: { enabled: false } },
  });
  return (path: string, init: RequestInit = {}) =>
    app.fetch(
      new Request(`http://127.0.0.1${path}`, {
        ...init,
        headers: { apikey: it.keys.publishableKey, "content-type": "application/json" },
      }),
    );
}

const insert = { method: "POST", body: '{"id": 1, "data": {"a": 1}}' };
const signUp = {
  method: "POST",
  body: JSON.stringify({ email: "a@example.com", password: "a-password", data: { a: 1 } }),
};

test("patch 1: no request changes a right", async () => {
  const before = await rights();
  expect((await it.fetch("/rest/v1/notes")).status).toBe(200);
  expect((await it.fetch("/rest/v1/notes", insert)).status).toBe(201);
  expect((await it.fetch("/rest/v1/rpc/kind", { method: "POST", body: `{"p":1}` })).status).toBe(200);
  expect((await it.fetch("/auth/v1/signup", signUp)).status).toBe(200);
  expect(await rights()).toEqual(before);
});

test("patch 1: not even connected as a role that could", async () => {
  const connection = openLite(it.db.url("postgres"), 1);
  closing.push(() => connection.close());
  const before = await rights();
  const request = new Request("http://127.0.0.1/rest/v1/notes", { headers: { apikey: "any" } });
  const response = await askLite(createTableApp(connection), request, {
    caller: { role: "anon", claims: { role: "anon" } },
    settings: [["role", "anon"]],
  });
  expect(response.status).toBe(200);
  expect(await rights()).toEqual(before);
});

test("patch 1, control: lite opens private tables to anon on its first request", async () => {
  const before = await rights();
  await unpatched()("/rest/v1/notes");
  expect(await rights()).not.toEqual(before);
  const { rows } = await it.db.admin.query(
    "select has_table_privilege('anon', 'private.secrets', 'select') as opened",
  );
  expect(rows).toEqual([{ opened: true }]);
});

test("patch 2: requests run connected as authenticator and with their role's timeout", async () => {
  await it.db.admin.query(`create view public.me with (security_invoker = true) as
    select session_user::text as session, current_user::text as role, current_setting('statement_timeout') as timeout,
           current_setting('request.method', true) as method;
    grant select on public.me to anon`);
  expect(await (await it.fetch("/rest/v1/me")).json()).toEqual([
    { session: "authenticator", role: "anon", timeout: "3s", method: "GET" },
  ]);
  // Control.
  expect(await (await unpatched()("/rest/v1/me")).json()).toEqual([
    { session: "postgres", role: "anon", timeout: "0", method: null },
  ]);
  expect((await unpatched("authenticator")("/rest/v1/notes")).status).toBe(404);
});

test("patch 3: errors have PostgREST's status, code and details", async () => {
  const bad = { method: "POST", body: '{"id": 0}' };
  const response = await it.fetch("/rest/v1/plain", bad);
  expect([response.status, await response.json()]).toMatchObject([
    400,
    { code: "23514", details: expect.stringContaining("Failing row contains") },
  ]);
  // Control.
  const left = await unpatched()("/rest/v1/plain", bad);
  expect([left.status, await left.json()]).toMatchObject([500, { code: "SUP", details: null }]);
});

test("patch 4: a jsonb value is stored as it was sent, from tables, functions and sign-up", async () => {
  const stored = async () => {
    const { rows } = await it.db.admin.query(`select
      (select jsonb_typeof(data) from public.notes where id = 1) as table_data,
      (select jsonb_typeof(raw_user_meta_data) from auth.users where email = 'a@example.com') as user_data`);
    return rows[0] as unknown;
  };
  const call = { method: "POST", body: '{"p": {"a": 1}}' };
  expect((await it.fetch("/rest/v1/notes", insert)).status).toBe(201);
  expect((await it.fetch("/auth/v1/signup", signUp)).status).toBe(200);
  expect(await (await it.fetch("/rest/v1/rpc/kind", call)).json()).toBe("object");
  expect(await stored()).toEqual({ table_data: "object", user_data: "object" });

  // Control.
  await it.db.admin.query("delete from public.notes; delete from auth.users");
  await unpatched("supabase_auth_admin")("/auth/v1/signup", signUp);
  expect(await (await unpatched()("/rest/v1/rpc/kind", call)).json()).toBe("string");
  expect(await stored()).toMatchObject({ user_data: "string" });
});

test("patch 4: times are ISO 8601 and numbers are numbers", async () => {
  await it.db.admin.query("insert into public.notes (id) values (1)");
  const select = "/rest/v1/notes?select=price,made_at";
  expect(await (await it.fetch(select)).json()).toEqual([
    { price: 1.1, made_at: "2026-01-02T03:04:05+00:00" },
  ]);
  // Control.
  expect(await (await unpatched()(select)).json()).toEqual([
    { price: "1.10", made_at: "2026-01-02 03:04:05+00" },
  ]);
});

test("patch 5: a refused request prints nothing", async () => {
  const bad = { method: "POST", body: '{"id": 0}' };
  // Before the API starts: it puts its filter around whatever console it finds.
  const printed = (["error", "warn", "info", "log"] as const).map((method) =>
    vi.spyOn(console, method).mockImplementation(() => {}),
  );
  const quiet = await startApiUnderTest(SETUP);
  closing.push(quiet.close);
  expect((await quiet.fetch("/rest/v1/plain", bad)).status).toBe(400);
  expect((await quiet.fetch("/rest/v1/plain?nope=eq.1")).status).toBe(400);
  expect((await quiet.fetch("/rest/v1/nope")).status).toBe(404);
  expect((await quiet.fetch("/auth/v1/token?grant_type=password", signUp)).status).toBe(400);
  // What mails its codes to the console when lite is left alone.
  expect((await quiet.fetch("/auth/v1/recover", signUp)).status).toBe(404);
  expect(printed.flatMap((spy) => spy.mock.calls)).toEqual([]);
  console.error("others may still print");
  expect(printed[0]!.mock.calls).toEqual([["others may still print"]]);
  // Control.
  await unpatched()("/rest/v1/plain", bad);
  expect(vi.mocked(console.error).mock.calls.join()).toContain("violates check constraint");
});

test("tokens leave as ES256 with a kid and all claims", async () => {
  const session = async (response: Response) => (await response.json()) as { access_token: string };
  const { access_token } = await session(await it.fetch("/auth/v1/signup", signUp));
  expect(decodeProtectedHeader(access_token)).toMatchObject({ alg: "ES256", kid: it.keys.signingJwk.kid });
  // Control.
  await it.db.admin.query("delete from auth.users");
  const left = await session(await unpatched("supabase_auth_admin")("/auth/v1/signup", signUp));
  expect(decodeProtectedHeader(left.access_token)).toEqual({ alg: "HS256", typ: "JWT" });
});
