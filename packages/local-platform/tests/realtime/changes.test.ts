// @module-tag proof
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { SupabaseClient } from "@supabase/supabase-js";
import { startApiUnderTest } from "../api-under-test.ts";
import type { ApiUnderTest } from "../api-under-test.ts";
import { ALICE, BOB, brief, clientOf, commitAtOnce, hears, join, listen, says, SQL } from "./listening.ts";
import type { Heard } from "./listening.ts";

let api: ApiUnderTest;
const clients: SupabaseClient[] = [];

beforeAll(async () => {
  api = await startApiUnderTest(SQL);
  await commitAtOnce(api);
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.removeAllChannels()));
  await run("truncate public.accounts, public.posts, public.whole, public.keyless, public.withheld");
});
afterAll(() => api.close());

const run = (sql: string, values: unknown[] = []) => api.db.admin.query(sql, values);
async function as(user?: string): Promise<SupabaseClient> {
  const client = await clientOf(api, user);
  clients.push(client);
  return client;
}

test("a change comes whole: values, types, what was before, when", async () => {
  await run("insert into public.accounts (user_id) values ($1)", [ALICE]);
  const alice = await listen(await as(ALICE), { table: "accounts" });
  await run(
    `update public.accounts set balance = 9007199254740991, note = 'ü "quoted"', mood = 'glad', tags = '{a,"b,c"}',
            facts = '{"n": [1]}'`,
  );
  await hears(alice, 1);
  expect(alice.changes[0]).toEqual({
    schema: "public",
    table: "accounts",
    commit_timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    eventType: "UPDATE",
    new: {
      user_id: ALICE,
      balance: 9007199254740991,
      note: 'ü "quoted"',
      mood: "glad",
      tags: ["a", "b,c"],
      facts: { n: [1] },
      changed_at: "2026-01-31T12:00:00.123456+00:00",
    },
    old: { user_id: ALICE },
    errors: null,
  });
  expect(alice.statuses).toEqual(["SUBSCRIBED"]);
});

describe("row level security", () => {
  /** What Alice hears when they ask for all there is. */
  async function ofAlice(of: ApiUnderTest): Promise<string[]> {
    const alice = await listen(await clientOf(of, ALICE), { table: "accounts" });
    for (const user of [BOB, ALICE]) {
      await of.db.admin.query("insert into public.accounts (user_id) values ($1)", [user]);
      await of.db.admin.query("update public.accounts set balance = balance + 1 where user_id = $1", [user]);
    }
    await expect.poll(() => brief(alice, "user_id").at(-1), { timeout: 15_000 }).toBe(`UPDATE ${ALICE}`);
    await alice.client.removeAllChannels();
    return brief(alice, "user_id");
  }

  test("a user hears of their own row, and of nobody else's", async () => {
    expect(await ofAlice(api)).toEqual([`INSERT ${ALICE}`, `UPDATE ${ALICE}`]);
  });

  test("known-bad: where nobody is asked who sees a row, another's is heard", async () => {
    vi.resetModules();
    vi.doMock("../../src/realtime/visibility.ts", () => ({
      rowsSeenBy: async (_: unknown, __: unknown, ___: unknown, keys: unknown[]) => new Set(keys.keys()),
    }));
    const { startApiUnderTest: startFaulty } = await import("../api-under-test.ts");
    const faulty = await startFaulty(SQL);
    expect(await ofAlice(faulty)).toContain(`INSERT ${BOB}`);
    await faulty.close();
    vi.doUnmock("../../src/realtime/visibility.ts");
    vi.resetModules();
  });

  test("nobody without a token hears of a row, and a server hears of each, with every column", async () => {
    const nobody = await listen(await as(), { table: "accounts" });
    const client = api.client(api.keys.secretKey);
    clients.push(client);
    const server = await listen(client, { table: "accounts" });
    await run("insert into public.accounts (user_id) values ($1)", [ALICE]);
    await hears(server, 1);
    expect(server.changes[0].new).toMatchObject({ user_id: ALICE, secret: "hidden" });
    // anon may not even select the key
    await hears(nobody, 1);
    expect(nobody.changes[0]).toMatchObject({ new: {}, old: {}, errors: ["Error 401: Unauthorized"] });
  });

  test("a policy that is changed, and a right that is taken away, count for the next change", async () => {
    await run("insert into public.accounts (user_id) values ($1), ($2)", [ALICE, BOB]);
    const alice = await listen(await as(ALICE), { table: "accounts" });
    await run("create policy everybody on public.accounts for select to authenticated using (true)");
    await run("update public.accounts set balance = 1 where user_id = $1", [BOB]);
    await hears(alice, 1);
    await run("drop policy everybody on public.accounts");
    await run("update public.accounts set balance = 2 where user_id = $1", [BOB]);
    await run("revoke select (note) on public.accounts from authenticated");
    await run("update public.accounts set balance = 3");
    await hears(alice, 2);
    expect(alice.changes.map(({ new: now }) => [now.user_id, now.balance, "note" in now])).toEqual([
      [BOB, 1, true],
      [ALICE, 3, false],
    ]);
    await run("grant select (note) on public.accounts to authenticated");
  });

  test("a policy that fails shows nothing", async () => {
    const said = vi.spyOn(console, "error").mockImplementation(() => {});
    await run(
      `create policy failing on public.accounts as restrictive for select to authenticated using (1 / balance > 0)`,
    );
    const alice = await listen(await as(ALICE), { table: "accounts" });
    await run("insert into public.accounts (user_id, balance) values ($1, 0)", [ALICE]);
    await run("drop policy failing on public.accounts");
    await run("update public.accounts set balance = 1");
    await expect.poll(() => alice.changes.at(-1)?.new.balance, { timeout: 15_000 }).toBe(1);
    said.mockRestore();
  });
});

describe("deletions", () => {
  test("carry the key and nothing else where rows are secured, whoever's they were", async () => {
    await run("alter table public.accounts replica identity full");
    await run("insert into public.accounts (user_id, note) values ($1, 'private')", [BOB]);
    const alice = await listen(await as(ALICE), { table: "accounts" });
    await run("delete from public.accounts");
    await hears(alice, 1);
    expect(alice.changes[0]).toMatchObject({ eventType: "DELETE", new: {}, old: { user_id: BOB } });
    expect(Object.keys(alice.changes[0].old)).toEqual(["user_id"]);
    await run("alter table public.accounts replica identity default");
  });

  test("carry what the replica identity holds where they are not", async () => {
    await run("insert into public.posts values (1, 'one', 1); insert into public.whole values (2, 'two')");
    const anon = await listen(await as(), { table: "posts" }, { table: "whole" });
    await run("delete from public.posts");
    await run("delete from public.whole");
    await hears(anon, 2);
    expect(anon.changes.map(({ old }) => old)).toEqual([{ id: 1 }, { id: 2, word: "two" }]);
  });

  test("are filtered by what they carry", async () => {
    await run("insert into public.posts values (1, 'one', 1), (2, 'two', 2)");
    const byKey = await listen(await as(), { table: "posts", filter: "id=eq.2" });
    const byRest = await listen(await as(), { table: "posts", filter: "likes=gt.0" });
    await run("delete from public.posts");
    await hears(byKey, 1);
    expect([brief(byKey), brief(byRest)]).toEqual([["DELETE 2"], []]);
  });
});

describe("what a channel asks for", () => {
  const filters: [filter: string, ids: number[]][] = [
    ["id=eq.2", [2]],
    ["id=neq.2", [1, 3, 4, 5]],
    ["likes=lt.10", [1]],
    ["likes=lte.10", [1, 2]],
    ["likes=gt.10", [3, 4]],
    ["likes=gte.10", [2, 3, 4]],
    ["id=in.(1,3,99)", [1, 3]],
    ['title=in.("a,b",x)', [4]],
    ['title=eq."a,b"', [4]],
    ["title=eq.a=b.c", [3]],
    ["id=gt.1,likes=lt.100", [2, 3]],
    ["title=like.%n%", [1, 5]],
    ["title=ilike.O%", [1]],
    ["title=match.^t", [2]],
    ["title=imatch.^T", [2]],
    ["likes=is.null", [5]],
    ["likes=not.is.null", [1, 2, 3, 4]],
    ["likes=isdistinct.9", [2, 3, 4, 5]],
    ["id=not.in.(1,2)", [3, 4, 5]],
    ["likes=not.gt.10", [1, 2]],
    ["", [1, 2, 3, 4, 5]],
  ];
  const rows = "(1, 'one', 9), (2, 'two', 10), (3, 'a=b.c', 11), (4, 'a,b', 100), (5, 'none', null)";

  async function idsHeard(of: ApiUnderTest): Promise<[string, number[]][]> {
    const client = await clientOf(of);
    const heard: [string, Heard][] = [];
    for (const [filter] of filters) heard.push([filter, await listen(client, { table: "posts", filter })]);
    await of.db.admin.query(`insert into public.posts values ${rows}`);
    await hears(heard.at(-1)![1], 5);
    await client.removeAllChannels();
    return heard.map(([filter, { changes }]) => [filter, changes.map(({ new: now }) => now.id)]);
  }

  test("every filter, on one socket", async () => {
    expect(await idsHeard(api)).toEqual(filters);
  });

  test("known-bad: where conditions are not asked, filters let everything through", async () => {
    vi.resetModules();
    vi.doMock("../../src/realtime/tables.ts", async (original) => ({
      ...(await original<object>()),
      meeting: async (_: unknown, __: unknown, values: unknown[], conditions: unknown[]) =>
        conditions.map(() => new Set(values.keys())),
    }));
    const { startApiUnderTest: startFaulty } = await import("../api-under-test.ts");
    const faulty = await startFaulty(SQL);
    expect(await idsHeard(faulty)).not.toEqual(filters);
    await faulty.close();
    vi.doUnmock("../../src/realtime/tables.ts");
    vi.resetModules();
  });

  test("events, and several entries of one channel", async () => {
    const client = await as();
    const [inserts, updates, deletes] = await Promise.all(
      ["INSERT", "UPDATE", "DELETE"].map((event) => listen(client, { event, table: "posts" })),
    );
    const twice = await listen(
      client,
      { table: "posts", event: "INSERT" },
      { table: "posts", filter: "id=eq.1" },
    );
    await run("insert into public.posts values (1)");
    await run("update public.posts set likes = 1");
    await run("delete from public.posts");
    await hears(twice, 4);
    expect([inserts, updates, deletes].map((it) => brief(it!))).toEqual([
      ["INSERT 1"],
      ["UPDATE 1"],
      ["DELETE 1"],
    ]);
    expect(brief(twice)).toEqual(["INSERT 1", "INSERT 1", "UPDATE 1", "DELETE 1"]);
  });

  test("every table of a schema, and of every schema", async () => {
    const client = await as();
    const ofSchema = await listen(client, { table: undefined });
    const ofAll = await listen(client, { schema: "*", table: "*" });
    await run("insert into public.posts values (1)");
    await run("insert into public.whole values (2)");
    await hears(ofAll, 2);
    expect([brief(ofSchema), brief(ofAll)]).toEqual([
      ["INSERT 1", "INSERT 2"],
      ["INSERT 1", "INSERT 2"],
    ]);
  });

  test("columns: those that it selects, and the key", async () => {
    const anon = await listen(await as(), { table: "posts", select: ["title"] });
    await run("insert into public.posts values (1, 'one', 1)");
    await hears(anon, 1);
    expect(anon.changes[0].new).toEqual({ id: 1, title: "one" });
  });

  test.each([
    [
      { table: "unpublished" },
      /^error: Unable to subscribe to changes with given parameters\. Please check Realtime is enabled .*table: unpublished/,
    ],
    [{ table: "posts", filter: "nothing=eq.1" }, /invalid column for filter nothing$/],
    [
      { table: "posts", filter: "id=eq.one" },
      /Exception: ERROR 22P02 invalid input syntax for type integer: "one"$/,
    ],
    [{ table: "posts", filter: "id=like.1%" }, /ERROR 42883 operator does not exist/],
    [{ table: "posts", filter: "title=match.(" }, /ERROR 2201B invalid regular expression/],
    [{ table: "posts", filter: "likes=is.1" }, /invalid value for is filter/],
    [
      { table: "posts", filter: `id=in.(${Array.from({ length: 101 }, (_, n) => n).join(",")})` },
      /too many values for `in` filter\. Maximum 100$/,
    ],
    [{ table: "posts", filter: "id=foo.1" }, /^error: Error parsing `filter` params: \["foo", "1"\]$/],
    [{ table: "posts", filter: "undefined" }, /^error: Error parsing `filter` params: \["undefined"\]$/],
    [{ table: "posts", filter: "id=eq.1,," }, /empty segments/],
    [{ table: "posts", filter: "id=in.1" }, /must be wrapped by parentheses$/],
    [{ table: "*", select: ["id"] }, /Column selection is not supported for wildcard/],
    [{ table: "posts", select: ["nothing"] }, /invalid column for select nothing$/],
    [{ schema: undefined, table: undefined }, /No subscription params provided/],
  ])("%j is told why not, after a join that went well, as on hosted projects", async (asked, why) => {
    const heard = join(await as(), asked);
    await says(heard, why);
    expect(heard.statuses).toEqual(["SUBSCRIBED"]);
  });

  test("a column that the role may not select is none to filter by", async () => {
    const heard = join(await as(ALICE), { table: "accounts", filter: "secret=eq.hidden" });
    await says(heard, /invalid column for filter secret$/);
  });
});

describe("what can't be checked or carried", () => {
  test("a table without a key, and a key that the role may not select, are errors as on hosted projects", async () => {
    const anon = await listen(await as(), { table: "keyless" }, { table: "withheld" });
    await run("insert into public.keyless values ('one')");
    await run("insert into public.withheld values (1, 'two')");
    await hears(anon, 2);
    expect(anon.changes.map(({ new: now, errors }) => [now, errors])).toEqual([
      [{}, ["Error 400: Bad Request, no primary key"]],
      [{}, ["Error 401: Unauthorized"]],
    ]);
  });

  test("a large value that an update left alone is left out, and so are values over 64 bytes of more than 1 MB", async () => {
    await run("alter table public.posts alter body set storage external");
    await run("insert into public.posts values (1, 'one', 1, repeat('x', 10000))");
    // of the row that was made just before the log may be read just after
    const anon = await listen(await as(), { table: "posts", event: "UPDATE" });
    await run("update public.posts set likes = 2");
    await run("update public.posts set likes = 3, body = repeat('x', 1100000)");
    await hears(anon, 2);
    expect(anon.changes.map(({ new: now, errors }) => [now, errors])).toEqual([
      [{ id: 1, title: "one", likes: 2 }, null],
      [{ id: 1, title: "one", likes: 3 }, ["Error 413: Payload Too Large"]],
    ]);
  });
});

test("the schema may change under a channel", async () => {
  await run("create table public.things (id int primary key, size int, word text)");
  await run(
    "grant select on public.things to anon; alter publication supabase_realtime add table public.things",
  );
  const client = await as();
  const all = await listen(client, { table: "things" });
  const large = await listen(client, { table: "things", filter: "size=gt.5" });
  const changes = [
    "select",
    "alter table public.things add colour text default 'red'",
    "alter table public.things rename word to name",
    "alter table public.things drop colour, alter size type text",
    "alter table public.things drop size",
  ];
  const rows = ["1, 9, 'a'", "2, 9, 'b'", "3, 9, 'c'", "4, 'huge', 'd'", "5, 'e'"];
  for (const [n, change] of changes.entries()) {
    await run(change);
    await run(`insert into public.things values (${rows[n]})`);
    await hears(all, n + 1);
  }
  expect(all.changes.map(({ new: now }) => now)).toEqual([
    { id: 1, size: 9, word: "a" },
    { id: 2, size: 9, word: "b", colour: "red" },
    { id: 3, size: 9, name: "c", colour: "red" },
    { id: 4, size: "huge", name: "d" },
    { id: 5, name: "e" },
  ]);
  // as texts 'huge' is more than '5', and 9 was; of a column that is gone nothing can be asked
  expect(brief(large)).toEqual(["INSERT 1", "INSERT 2", "INSERT 3", "INSERT 4"]);
  await run("drop table public.things");
  const later = join(client, { table: "things" });
  await says(later, /^error: Unable to subscribe/);
});
