// @module-tag proof
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

let it: ApiUnderTest;

beforeAll(async () => {
  it = await startApiUnderTest(`
    create table public.log (id bigint generated always as identity primary key, note text);
    grant all on public.log to anon, authenticated, service_role;

    create function public.typed(p_value jsonb) returns text language sql stable as 'select jsonb_typeof(p_value)';
    create function public.typed_json(p_value json) returns text language sql stable as 'select json_typeof(p_value)';
    create function public.sum_of(p_a int, p_b int default 10, p_c int default 100) returns int
      language sql immutable as 'select p_a + p_b + p_c';
    create function public.overloaded(p_a int) returns text language sql stable as $$ select 'int' $$;
    create function public.overloaded(p_a text) returns text language sql stable as $$ select 'text' $$;
    create function public.overloaded(p_a int, p_b int) returns text language sql stable as $$ select 'two' $$;
    create function public.exact() returns jsonb language sql stable as
      $$ select '{"big": 9007199254740993, "precise": 1.10, "tiny": 0.1000000000000000055511151231257827}'::jsonb $$;
    create function public.number(p_n numeric) returns numeric language sql stable as 'select p_n';
    create function public.large(p_n bigint) returns bigint language sql stable as 'select p_n';
    create function public.moment() returns timestamptz language sql stable as
      $$ select '2026-01-02 03:04:05.678+02'::timestamptz $$;
    create function public.never() returns timestamptz language sql stable as $$ select 'infinity'::timestamptz $$;
    create function public.nothing() returns int language sql stable as 'select null::int';
    create function public.silent() returns void language sql as $$ insert into public.log (note) values ('silent') $$;
    create function public.write(p_note text) returns bigint language sql as
      'insert into public.log (note) values (p_note) returning id';
    create function public.lies(p_note text) returns bigint language plpgsql stable as
      'begin return public.write(p_note); end';
    create function public.rows(p_n int) returns table (i int, word text) language sql stable as
      $$ select i, 'w' || i from generate_series(1, p_n) i $$;
    create function public.scalars(p_n int) returns setof int language sql stable as 'select generate_series(1, p_n)';
    create function public.one_row() returns public.log language sql stable as $$ select 7::bigint, 'x' $$;
    create function public.tags(p_tags text[], p_days date default '2026-01-01') returns jsonb language sql stable as
      $$ select jsonb_build_object('tags', p_tags, 'days', p_days) $$;
    create function public.fails(p_code text, p_message text default 'the message') returns int language plpgsql as $$
      begin raise exception using errcode = p_code, message = p_message, detail = 'the detail', hint = 'the hint'; end $$;
    create function public.divides() returns int language sql volatile as 'select 1/0';
    create function public.slow(p_seconds float) returns text language plpgsql volatile as
      $$ begin perform pg_sleep(p_seconds); return 'done'; end $$;
    create function public.timeouts() returns jsonb language sql stable as $$ select jsonb_build_object(
      'statement', current_setting('statement_timeout'), 'lock', current_setting('lock_timeout')) $$;
    create function public.context() returns jsonb language sql stable as $$ select jsonb_build_object(
      'user', current_user, 'session', session_user, 'claims', current_setting('request.jwt.claims')::jsonb,
      'method', current_setting('request.method'), 'path', current_setting('request.path'),
      'headers', current_setting('request.headers')::jsonb, 'path_of_names', current_setting('search_path')) $$;
    create function public.shapes_answer() returns text language plpgsql as $$ begin
      perform set_config('response.status', '202', true);
      perform set_config('response.headers', '[{"X-Made-By": "sql"}, {"Cache-Control": "no-store"}]', true);
      return 'shaped'; end $$;
    create function public.raises_response() returns int language plpgsql as $$ begin
      raise sqlstate 'PGRST' using
        message = '{"code":"slow_down","message":"wait","details":"d","hint":"h"}',
        detail = '{"status":429,"headers":{"Retry-After":"7"}}'; end $$;
    create function public.raises_badly() returns int language plpgsql as $$ begin
      raise sqlstate 'PGRST' using message = 'no json', detail = 'none'; end $$;
    create function public.admins_only() returns int language sql stable as 'select 1';
    revoke execute on function public.admins_only() from public;
    create function public."Odd name"("p ""q""" int) returns int language sql stable as 'select $1';
  `);
});
afterAll(() => it?.close());

const post = (name: string, args: unknown = {}, init: RequestInit = {}) =>
  it.fetch(`/rest/v1/rpc/${name}`, {
    method: "POST",
    body: typeof args === "string" ? args : JSON.stringify(args),
    ...init,
  });

async function asUser(): Promise<Record<string, string>> {
  const token = await it.token({ role: "authenticated", sub: crypto.randomUUID() });
  return { authorization: `Bearer ${token}` };
}

test("a json or jsonb argument arrives as the value it is, not as a string of it", async () => {
  const client = it.client();
  const kinds: [unknown, string][] = [
    [{ a: 1 }, "object"],
    [[1, 2], "array"],
    ["text", "string"],
    ['{"a":1}', "string"],
    [1.5, "number"],
    [true, "boolean"],
  ];
  for (const [value, kind] of kinds) {
    expect((await client.rpc("typed", { p_value: value })).data).toBe(kind);
    expect((await client.rpc("typed_json", { p_value: value })).data).toBe(kind);
  }
  expect((await client.rpc("typed", { p_value: null })).data).toBeNull();
});

test("arguments go by name, in any order, and defaults fill what is left out", async () => {
  const client = it.client();
  expect((await client.rpc("sum_of", { p_a: 1 })).data).toBe(111);
  expect((await client.rpc("sum_of", { p_c: 3, p_a: 1 })).data).toBe(14);
  expect((await client.rpc("sum_of", { p_b: 2, p_c: 3, p_a: 1 })).data).toBe(6);
  expect((await client.rpc("tags", { p_tags: ["a", "b,c"] })).data).toEqual({
    tags: ["a", "b,c"],
    days: "2026-01-01",
  });
  expect((await client.rpc("Odd name", { 'p "q"': 4 })).data).toBe(4);
});

test("what fits no function is 404 PGRST202 and says what was looked for", async () => {
  const misses: [string, Record<string, unknown>, string][] = [
    ["nope", {}, "public.nope without parameters"],
    ["sum_of", {}, "public.sum_of without parameters"],
    ["sum_of", { p_a: 1, p_x: 2 }, "public.sum_of(p_a, p_x)"],
    ["hasOwnProperty", { p_a: 1 }, "public.hasOwnProperty(p_a)"],
  ];
  for (const [name, args, called] of misses) {
    const { status, error } = await it.client().rpc(name, args);
    expect([name, status, error]).toMatchObject([
      name,
      404,
      { code: "PGRST202", message: `Could not find the function ${called} in the schema cache` },
    ]);
  }
});

test("what fits several is 300 PGRST203, and the number of arguments can decide", async () => {
  const { status, error } = await it.client().rpc("overloaded", { p_a: 1 });
  expect(status).toBe(300);
  expect(error).toMatchObject({
    code: "PGRST203",
    message: expect.stringContaining("public.overloaded(p_a => integer), public.overloaded(p_a => text)"),
  });
  expect((await it.client().rpc("overloaded", { p_a: 1, p_b: 2 })).data).toBe("two");
});

test("a function that was made, changed or dropped a moment ago is seen", async () => {
  const client = it.client();
  expect((await client.rpc("young")).status).toBe(404);
  await it.db.admin.query("create function public.young() returns int language sql stable as 'select 1'");
  expect((await client.rpc("young")).data).toBe(1);
  await it.db.admin.query(`drop function public.young();
    create function public.young() returns text language sql stable as $$ select 'two' $$`);
  expect((await client.rpc("young")).data).toBe("two");
  await it.db.admin.query("drop function public.young()");
  expect((await client.rpc("young")).status).toBe(404);
});

test("numbers keep every digit and times are ISO 8601", async () => {
  const text = async (name: string, args = "{}") => await (await post(name, args)).text();
  expect(await text("exact")).toBe(
    '{"big": 9007199254740993, "tiny": 0.1000000000000000055511151231257827, "precise": 1.10}',
  );
  expect(await text("number", '{"p_n": 12345678901234567890.12345678901234567890}')).toBe(
    "12345678901234567890.12345678901234567890",
  );
  expect(await text("large", '{"p_n": 9223372036854775807}')).toBe("9223372036854775807");
  expect(await text("moment")).toBe('"2026-01-02T01:04:05.678+00:00"');
  expect(await text("never")).toBe('"infinity"');
  expect(await text("nothing")).toBe("null");
});

test("rows, sets, one row and nothing at all have their JSON", async () => {
  const client = it.client();
  expect((await client.rpc("rows", { p_n: 2 })).data).toEqual([
    { i: 1, word: "w1" },
    { i: 2, word: "w2" },
  ]);
  expect((await client.rpc("rows", { p_n: 0 })).data).toEqual([]);
  expect((await client.rpc("scalars", { p_n: 3 })).data).toEqual([1, 2, 3]);
  expect((await client.rpc("one_row")).data).toEqual({ id: 7, note: "x" });
  expect(await client.rpc("silent")).toMatchObject({ status: 204, data: null, error: null });
  expect((await client.rpc("rows", { p_n: 1 }).single()).data).toEqual({ i: 1, word: "w1" });
  expect(await client.rpc("rows", { p_n: 2 }).single()).toMatchObject({
    status: 406,
    error: { code: "PGRST116" },
  });
});

test("filters, order, columns and limits work on what a function returns, by GET and by POST", async () => {
  for (const get of [true, false]) {
    const rows = () => it.client().rpc("rows", { p_n: 4 }, { get });
    expect((await rows().eq("i", 2)).data).toEqual([{ i: 2, word: "w2" }]);
    expect(
      (await rows().select("word").gt("i", 1).order("word", { ascending: false }).limit(2)).data,
    ).toEqual([{ word: "w4" }, { word: "w3" }]);
    expect((await rows().select("n:i::text").or("i.eq.1,word.eq.w4")).data).toEqual([{ n: "1" }, { n: "4" }]);
    expect((await rows().range(1, 2)).data).toEqual([
      { i: 2, word: "w2" },
      { i: 3, word: "w3" },
    ]);
    expect(await rows().select("nope")).toMatchObject({
      status: 400,
      error: { code: "42703", message: "column pgrst_call.nope does not exist" },
    });
  }
});

describe("GET", () => {
  test("calls stable and immutable functions, arguments in the query", async () => {
    const client = it.client();
    expect((await client.rpc("sum_of", { p_a: 1, p_b: 2 }, { get: true })).data).toBe(103);
    expect((await client.rpc("tags", { p_tags: ["a", "b"] }, { get: true })).data).toMatchObject({
      tags: ["a", "b"],
    });
    const response = await it.fetch(`/rest/v1/rpc/typed?p_value=${encodeURIComponent('{"a":1}')}`);
    expect(await response.json()).toBe("object");
    expect((await client.rpc("sum_of", { p_a: 1 }, { head: true })).status).toBe(200);
  });

  test("can't write: the transaction is read-only, 405", async () => {
    for (const name of ["write", "lies"]) {
      const { status, error } = await it.client().rpc(name, { p_note: "by get" }, { get: true });
      expect([name, status, error?.code]).toEqual([name, 405, "25006"]);
    }
    const { rows } = await it.db.admin.query("select from public.log where note = 'by get'");
    expect(rows).toHaveLength(0);
  });
});

test("a function that calls itself stable can't write by POST either", async () => {
  expect((await it.client().rpc("lies", { p_note: "x" })).status).toBe(405);
  expect((await it.client().rpc("write", { p_note: "x" })).status).toBe(200);
});

/** PostgREST v14, references/errors: SQLSTATE, status as anon, status as somebody signed in. */
const STATUSES: [code: string, anon: number, user?: number][] = [
  ["08006", 503],
  ["09000", 500],
  ["0L000", 403],
  ["0P000", 403],
  ["21000", 500],
  ["22023", 400],
  ["22P02", 400],
  ["22012", 400],
  ["23502", 400],
  ["23503", 409],
  ["23505", 409],
  ["23514", 400],
  ["25006", 405],
  ["25001", 500],
  ["28000", 403],
  ["2D000", 500],
  ["38000", 500],
  ["39000", 500],
  ["3B000", 500],
  ["40001", 500],
  ["40P01", 500],
  ["42501", 401, 403],
  ["42601", 400],
  ["42883", 404],
  ["42P01", 404],
  ["42P17", 500],
  ["53400", 500],
  ["53300", 503],
  ["54001", 500],
  ["55P03", 500],
  ["57014", 500],
  ["57P01", 503],
  ["58000", 500],
  ["F0000", 500],
  ["HV000", 500],
  ["P0001", 400],
  ["P0002", 500],
  ["P0004", 500],
  ["XX000", 500],
  ["ABCDE", 400],
  ["PT400", 400],
  ["PT402", 402],
  ["PT404", 404],
  ["PT409", 409],
  ["PT422", 422],
  ["PT503", 503],
  ["PTabc".toUpperCase(), 500],
];

test.each(STATUSES)(
  "SQLSTATE %s is answered with %i, and message, details and hint arrive",
  async (code, anon, user = anon) => {
    const headers = await asUser();
    for (const [init, status] of [
      [{}, anon],
      [{ headers }, user],
    ] as const) {
      const response = await post("fails", { p_code: code }, init);
      expect(response.status).toBe(status);
      expect(await response.json()).toEqual({
        code,
        message: "the message",
        details: "the detail",
        hint: "the hint",
      });
    }
  },
);

test("an UPDATE without WHERE, refused by safeupdate on hosted projects, is 400", async () => {
  const response = await post("fails", { p_code: "21000", p_message: "UPDATE requires a WHERE clause" });
  expect(response.status).toBe(400);
});

test("a missing right is 401 for anon and 403 for others, in Postgres' words", async () => {
  expect((await post("admins_only")).status).toBe(401);
  const response = await post("admins_only", {}, { headers: await asUser() });
  expect(response.status).toBe(403);
  expect(await response.json()).toEqual({
    code: "42501",
    message: "permission denied for function admins_only",
    details: null,
    hint: null,
  });
});

test("a function can raise a whole answer, and a broken one is 500 PGRST121", async () => {
  const response = await post("raises_response");
  expect([response.status, response.headers.get("retry-after")]).toEqual([429, "7"]);
  expect(await response.json()).toEqual({ code: "slow_down", message: "wait", details: "d", hint: "h" });
  const broken = await post("raises_badly");
  expect([broken.status, await broken.json()]).toMatchObject([500, { code: "PGRST121" }]);
});

test("a function can set status and headers of its answer, for this answer only", async () => {
  const response = await post("shapes_answer");
  expect(response.status).toBe(202);
  expect(response.headers.get("x-made-by")).toBe("sql");
  expect(response.headers.get("cache-control")).toBe("no-store");
  for (let i = 0; i < 25; i++) {
    const next = await post("nothing");
    expect([next.status, next.headers.get("x-made-by")]).toEqual([200, null]);
  }
});

test("a function sees its caller and its request as under PostgREST, keys and tokens excepted", async () => {
  const headers = { ...(await asUser()), "x-request-id": "r-1", cookie: "session=secret" };
  const context = (await (await post("context", {}, { headers })).json()) as Record<string, unknown>;
  expect(context).toMatchObject({
    user: "authenticated",
    session: "authenticator",
    claims: { role: "authenticated" },
    method: "POST",
    path: "/rpc/context",
    headers: { "x-request-id": "r-1" },
    path_of_names: "public, extensions",
  });
  expect(JSON.stringify(context["headers"])).not.toMatch(/sb_|Bearer|secret/);
});

test("each role has its timeouts, and nothing of a request stays behind on the connection", async () => {
  const timeouts = async (headers: Record<string, string>) =>
    await (await post("timeouts", {}, { headers })).json();
  for (let i = 0; i < 3; i++) {
    expect(await timeouts({})).toEqual({ statement: "3s", lock: "8s" });
    expect(await timeouts(await asUser())).toEqual({ statement: "8s", lock: "8s" });
    expect(await timeouts({ apikey: it.keys.secretKey })).toEqual({ statement: "8s", lock: "8s" });
  }
});

test("a call that outlives its role's timeout is cancelled, 500 57014", async () => {
  await it.db.admin.query(
    "create role stranger_in_a_hurry nologin; grant stranger_in_a_hurry to authenticator",
  );
  try {
    await it.db.admin.query("alter role stranger_in_a_hurry set statement_timeout = '100ms'");
    const headers = { authorization: `Bearer ${await it.token({ role: "stranger_in_a_hurry" })}` };
    // The settings of roles are part of what is looked at a few times a second.
    await expect.poll(async () => (await post("slow", { p_seconds: 0.5 }, { headers })).status).toBe(500);
    const response = await post("slow", { p_seconds: 0.5 }, { headers });
    expect(await response.json()).toMatchObject({ code: "57014" });
  } finally {
    await it.db.admin.query("drop role stranger_in_a_hurry");
  }
});

test("a failed call leaves a connection that works", async () => {
  const calls = Array.from({ length: 100 }, (_, i) =>
    i % 2 === 0 ? post("divides") : post("sum_of", { p_a: i }),
  );
  const statuses = (await Promise.all(calls)).map((response) => response.status);
  expect(statuses).toEqual(statuses.map((_, i) => (i % 2 === 0 ? 400 : 200)));
});
