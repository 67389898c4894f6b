// @module-tag proof
/*
 * Each wrong that auth/lite.ts shuts off: that it is shut off, and, as a control, that @supabase/lite
 * left alone still does it. A control that fails after an update means that its patch can go.
 */
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { decodeProtectedHeader } from "jose";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

/** What runs when somebody signs up; a project may have such a trigger. */
const REFUSING = `
  create function public.refuse() returns trigger language plpgsql as
    $$ begin raise exception 'no more users, and certainly not %', new.email; end $$;
  create trigger refuse before insert on auth.users for each row execute function public.refuse();`;

let it: ApiUnderTest;
let closing: (() => Promise<void>)[];

beforeEach(async () => {
  it = await startApiUnderTest();
  closing = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  for (const close of closing) await close();
  await it.close();
});

/** @supabase/lite as it comes. */
function unpatched() {
  // It prints each error that it meets.
  vi.spyOn(console, "error").mockImplementation(() => {});
  const connection = createPostgresConnection({
    url: it.db.url("supabase_auth_admin"),
    postgresOptions: { onnotice: () => {} },
  });
  closing.push(() => connection.close());
  const app = new App({
    connection,
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

const signUp = {
  method: "POST",
  body: JSON.stringify({ email: "a@example.com", password: "a-password", data: { a: 1 } }),
};

/** Every right on tables of an app, and the default rights on tables to come. */
const RIGHTS = `
  select c.oid::regclass::text as object, c.relacl::text as rights from pg_class c where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
   union all
  select defaclobjtype::text || defaclnamespace::text, defaclacl::text from pg_default_acl
   order by 1, 2`;

test("no request changes a right, though lite would grant everything to everybody on tables that it serves", async () => {
  await it.db.admin.query(`
    create schema private;
    create table private.secrets (word text);
    alter table private.secrets enable row level security;
    create table public.notes (id int primary key);
    alter table public.notes enable row level security;
    grant select on public.notes to anon`);
  const rights = async () => (await it.db.admin.query(RIGHTS)).rows as unknown[];
  const before = await rights();

  expect((await it.fetch("/rest/v1/notes")).status).toBe(200);
  expect((await it.fetch("/auth/v1/signup", signUp)).status).toBe(200);

  expect(before).toHaveLength((await rights()).length);
  expect(await rights()).toEqual(before);
});

test("patch 1: metadata of a sign-up is stored as it was sent", async () => {
  const stored = async () => {
    const { rows } = await it.db.admin.query(
      "select jsonb_typeof(raw_user_meta_data) as kind from auth.users",
    );
    return rows as unknown;
  };
  expect((await it.fetch("/auth/v1/signup", signUp)).status).toBe(200);
  expect(await stored()).toEqual([{ kind: "object" }]);
  // Control.
  await it.db.admin.query("delete from auth.users");
  await unpatched()("/auth/v1/signup", signUp);
  expect(await stored()).toEqual([{ kind: "string" }]);
});

test("patch 2: a refused request prints nothing", async () => {
  // Before the API starts: it puts its filter around whatever console it finds.
  const printed = (["error", "warn", "info", "log"] as const).map((method) =>
    vi.spyOn(console, method).mockImplementation(() => {}),
  );
  const quiet = await startApiUnderTest(REFUSING);
  closing.push(quiet.close);
  expect((await quiet.fetch("/auth/v1/signup", signUp)).status).toBe(500);
  expect((await quiet.fetch("/auth/v1/token?grant_type=password", signUp)).status).toBe(400);
  // What mails its codes to the console when lite is left alone.
  expect((await quiet.fetch("/auth/v1/recover", signUp)).status).toBe(404);
  expect((await quiet.fetch("/rest/v1/nope")).status).toBe(404);
  expect(printed.flatMap((spy) => spy.mock.calls)).toEqual([]);
  console.error("others may still print");
  expect(printed[0]!.mock.calls).toEqual([["others may still print"]]);
  // Control.
  await it.db.admin.query(REFUSING);
  await unpatched()("/auth/v1/signup", signUp);
  expect(vi.mocked(console.error).mock.calls.join()).toContain("certainly not a@example.com");
});

test("tokens leave as ES256 with a kid and all claims", async () => {
  const session = async (response: Response) => (await response.json()) as { access_token: string };
  const { access_token } = await session(await it.fetch("/auth/v1/signup", signUp));
  expect(decodeProtectedHeader(access_token)).toMatchObject({ alg: "ES256", kid: it.keys.signingJwk.kid });
  // Control.
  await it.db.admin.query("delete from auth.users");
  const left = await session(await unpatched()("/auth/v1/signup", signUp));
  expect(decodeProtectedHeader(left.access_token)).toEqual({ alg: "HS256", typ: "JWT" });
});
