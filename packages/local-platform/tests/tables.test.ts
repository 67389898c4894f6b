// @module-tag proof
import { afterAll, beforeAll, expect, test } from "vitest";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

const alice = "aaaaaaaa-0000-4000-8000-000000000001";
const bob = "bbbbbbbb-0000-4000-8000-000000000002";

let it: ApiUnderTest;

beforeAll(async () => {
  it = await startApiUnderTest(`
    create table public.notes (
      id bigint generated always as identity primary key,
      owner uuid not null default auth.uid(),
      words text not null check (words <> ''),
      tag text unique,
      data jsonb,
      price numeric default 10.50,
      made_by text default current_user,
      made_in text default session_user,
      made_at timestamptz not null default '2026-01-02 03:04:05.678+00',
      gone_at timestamptz default 'infinity');
    alter table public.notes enable row level security;
    grant select, insert, update, delete on public.notes to authenticated;
    grant select on public.notes to service_role;
    create policy "own notes are seen" on public.notes for select to authenticated using (owner = (select auth.uid()));
    create policy "own notes are added" on public.notes for insert to authenticated with check (owner = (select auth.uid()));
    create policy "own notes are changed" on public.notes for update to authenticated using (owner = (select auth.uid()));
    create view public.note_words with (security_invoker = true) as select id, words from public.notes;
    grant select on public.note_words to authenticated;
    create schema private;
    create table private.secrets (word text);
    insert into private.secrets values ('hidden');
    insert into public.notes (owner, words, tag, data)
      select '${alice}', 'a' || i, 'tag-a' || i, jsonb_build_object('n', i, 'list', jsonb_build_array(i)) from generate_series(1, 5) i;
    insert into public.notes (owner, words, data) values ('${bob}', 'b1', null);`);
});
afterAll(() => it?.close());

async function signedInAs(sub: string) {
  const token = await it.token({ role: "authenticated", sub });
  const client = it.clientAs(token);
  return {
    notes: () => client.from("notes"),
    words: () => client.from("note_words"),
    headers: { authorization: `Bearer ${token}` },
  };
}

test("row level security shows each user its own rows, service_role all, anon none", async () => {
  const [a, b] = [await signedInAs(alice), await signedInAs(bob)];
  expect((await a.notes().select("words").order("words")).data).toEqual(
    [1, 2, 3, 4, 5].map((i) => ({ words: `a${i}` })),
  );
  expect((await b.notes().select("words")).data).toEqual([{ words: "b1" }]);
  expect((await b.words().select("words")).data).toEqual([{ words: "b1" }]);
  expect((await it.client(it.keys.secretKey).from("notes").select("id")).data).toHaveLength(6);
  const { status, error } = await it.client().from("notes").select();
  expect([status, error?.code]).toEqual([401, "42501"]);
});

test("filters, order, paging and counting work under row level security", async () => {
  const { notes } = await signedInAs(alice);
  const words = async (query: PromiseLike<{ data: { words: string }[] | null }>) =>
    (await query).data?.map((row) => row.words);
  expect(await words(notes().select("words").eq("words", "a2"))).toEqual(["a2"]);
  expect(await words(notes().select("words").in("words", ["a1", "a3", "b1"]).order("id"))).toEqual([
    "a1",
    "a3",
  ]);
  expect(await words(notes().select("words").gt("data->n", 3).order("id"))).toEqual(["a4", "a5"]);
  expect(await words(notes().select("words").or("words.eq.a1,words.eq.a5").order("id"))).toEqual([
    "a1",
    "a5",
  ]);
  expect(await words(notes().select("words").order("id", { ascending: false }).range(1, 2))).toEqual([
    "a4",
    "a3",
  ]);
  const counted = await notes().select("id", { count: "exact", head: true });
  expect(counted.count).toBe(5);
  expect((await notes().select("words").eq("words", "a1").single()).data).toEqual({ words: "a1" });
  expect((await notes().select("words").eq("words", "zzz").maybeSingle()).data).toBeNull();
});

test("the role is really switched: the row says authenticated, connected as authenticator", async () => {
  const { notes } = await signedInAs(alice);
  const { data } = await notes().insert({ words: "written" }).select("made_by, made_in, owner").single();
  expect(data).toEqual({ made_by: "authenticated", made_in: "authenticator", owner: alice });
  await it.db.admin.query("delete from public.notes where words = 'written'");
});

test("a write that a policy forbids is 403, and writes nothing", async () => {
  const { notes } = await signedInAs(bob);
  const { status, error } = await notes().insert({ words: "for alice", owner: alice });
  expect([status, error?.code]).toEqual([403, "42501"]);
  // Not granted by any policy: no row is seen, so none is changed.
  expect((await notes().update({ words: "mine" }).eq("owner", alice).select()).data).toEqual([]);
});

test("values are as PostgREST has them: ISO times, numbers as numbers, jsonb as sent", async () => {
  const { notes, headers } = await signedInAs(alice);
  const data = { a: 1, b: ["x", null], c: { d: "text" } };
  const { error } = await notes().insert({ words: "typed", data });
  expect(error).toBeNull();
  const { rows } = await it.db.admin.query(
    "select jsonb_typeof(data) as kind from public.notes where words = 'typed'",
  );
  expect(rows).toEqual([{ kind: "object" }]);
  const response = await it.fetch("/rest/v1/notes?words=eq.typed&select=data,price,made_at,gone_at", {
    headers,
  });
  expect(await response.json()).toEqual([
    { data, price: 10.5, made_at: "2026-01-02T03:04:05.678+00:00", gone_at: "infinity" },
  ]);
  await it.db.admin.query("delete from public.notes where words = 'typed'");
});

test("errors have PostgREST's status, code, details and hint", async () => {
  // Without row level security: Postgres keeps the row out of its details otherwise.
  await it.db.admin.query(`create table public.plain (id int primary key check (id > 0));
    insert into public.plain values (1); grant select, insert on public.plain to anon`);
  const plain = () => it.client().from("plain");
  expect(await plain().insert({ id: 0 })).toMatchObject({
    status: 400,
    error: { code: "23514", details: "Failing row contains (0).", hint: null },
  });
  expect(await plain().insert({ id: 1 })).toMatchObject({
    status: 409,
    error: { code: "23505", details: "Key (id)=(1) already exists." },
  });
  expect(await plain().select().eq("id", "x")).toMatchObject({ status: 400, error: { code: "22P02" } });
  expect(await plain().select("nope")).toMatchObject({ status: 400, error: { code: "42703" } });
  expect(await plain().select().filter("id", "nonsense", 1)).toMatchObject({
    status: 400,
    error: { code: "PGRST100" },
  });
  expect(await plain().delete().eq("id", 1)).toMatchObject({ status: 401, error: { code: "42501" } });
  expect(await it.client().from("nope").select()).toMatchObject({
    status: 404,
    error: { code: "PGRST205" },
  });
});

test("a statement that outlives its role's timeout is cancelled", async () => {
  await it.db.admin.query(`
    create view public.slow with (security_invoker = true) as select pg_sleep(10)::text as nap;
    grant select on public.slow to anon;`);
  const started = Date.now();
  const { status, error } = await it.client().from("slow").select();
  expect([status, error?.code]).toEqual([500, "57014"]);
  expect(Date.now() - started).toBeLessThan(6000);
}, 20_000);

test("what is not in schema public doesn't exist", async () => {
  for (const path of ["secrets", "private.secrets", "users", "auth.users", "schema_migrations"]) {
    const response = await it.fetch(`/rest/v1/${path}`, { headers: { apikey: it.keys.secretKey } });
    expect([path, response.status]).toEqual([path, 404]);
  }
  const response = await it.fetch("/rest/v1/secrets", {
    headers: { apikey: it.keys.secretKey, "accept-profile": "private" },
  });
  expect(response.status).toBe(406);
});

test("a table and a column made a moment ago are seen", async () => {
  const client = it.client();
  expect((await client.from("young").select()).status).toBe(404);
  await it.db.admin.query("create table public.young (id int); grant select on public.young to anon");
  expect((await client.from("young").select()).data).toEqual([]);
  await it.db.admin.query("alter table public.young add column age int");
  await expect.poll(async () => (await client.from("young").select("age")).status).toBe(200);
});

test("hundreds of requests of different users at once never see each other's rows", async () => {
  const users = [await signedInAs(alice), await signedInAs(bob)];
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const { data } = await users[i % 2]!.notes().select("owner");
      return (data ?? []).every((row) => row.owner === (i % 2 === 0 ? alice : bob)) && data!.length > 0;
    }),
  );
  expect(answers.filter((right) => !right)).toEqual([]);
});

test("names and values are never SQL, however they are quoted", async () => {
  await it.db.admin.query(`create table public."we""ird; --" ("co""l" text, "sp ace" int);
    grant all on public."we""ird; --" to anon; insert into public."we""ird; --" values ('it''s', 1)`);
  const path = (name: string, query: string) => `/rest/v1/${encodeURIComponent(name)}?${query}`;
  const odd = path('we"ird; --', "");
  const text = async (query: string) => {
    const response = await it.fetch(odd + query);
    return [response.status, await response.text()];
  };
  const quoted = encodeURIComponent('"co\\"l"');
  expect(await text(`select=${quoted},"sp ace"::text&${quoted}=eq.it's`)).toEqual([
    200,
    '[{"co\\"l":"it\'s","sp ace":"1"}]',
  ]);
  const attacks = [
    `select=${encodeURIComponent('x:"co\\"l\\" from pg_authid; --"')}`,
    `select=${encodeURIComponent('"a\\"; drop table public.notes; --":"sp ace"')}`,
    `${quoted}=eq.${encodeURIComponent("' or true; drop table public.notes; --")}`,
    `select=${quoted}::${encodeURIComponent("int) from pg_authid; --")}`,
    `select=${quoted}::$$,"sp ace"::$$`,
    `order=${encodeURIComponent('"sp ace\\" desc; drop table public.notes; --"')}`,
    `limit=1;drop table public.notes`,
    `select=${encodeURIComponent('"sp ace\0\\" from pg_authid"')}`,
    `select=data->>${encodeURIComponent("' from pg_authid; --")}`,
  ];
  for (const attack of attacks) {
    const [status, body] = await text(attack);
    expect([attack, status, body]).toEqual([attack, expect.toSatisfy((s) => s === 200 || s === 400), body]);
    expect(body).not.toMatch(/rolname|scram-sha/i);
  }
  const { rows } = await it.db.admin.query("select to_regclass('public.notes') is not null as there");
  expect(rows).toEqual([{ there: true }]);
  const post = (body: string, columns: string) =>
    it.fetch(path('we"ird; --', `columns=${encodeURIComponent(columns)}`), { method: "POST", body });
  expect((await post("{}", '"sp ace) values (1); --"')).status).toBe(400);
  expect((await post('[{"sp ace": 2}]', '"sp ace"')).status).toBe(201);
});

test("numbers keep every digit, in rows and in filters", async () => {
  await it.db.admin.query(`create table public.large (n bigint primary key, d numeric);
    grant all on public.large to anon`);
  const body = '[{"n": 9223372036854775807, "d": 0.10000000000000000000000000001}]';
  const written = await it.fetch("/rest/v1/large", {
    method: "POST",
    body,
    headers: { prefer: "return=representation" },
  });
  expect(await written.text()).toBe('[{"n":9223372036854775807,"d":0.10000000000000000000000000001}]');
  const found = await it.fetch("/rest/v1/large?n=eq.9223372036854775807&select=n");
  expect(await found.text()).toBe('[{"n":9223372036854775807}]');
});

test("a column that was renamed, and a foreign key that was made, are seen", async () => {
  await it.db.admin.query(`create table public.parents (id int primary key);
    create table public.children (id int primary key, parent_id int, name text);
    insert into public.parents values (1); insert into public.children values (1, 1, 'x');
    grant all on public.parents, public.children to anon`);
  expect((await it.fetch("/rest/v1/parents?select=id,children(name)")).status).toBe(400);
  await it.db.admin.query(`alter table public.children rename column name to title;
    alter table public.children add foreign key (parent_id) references public.parents`);
  const embedded = await it.fetch("/rest/v1/parents?select=id,children(title)");
  expect(await embedded.json()).toEqual([{ id: 1, children: [{ title: "x" }] }]);
  const insert = await it.fetch("/rest/v1/children", { method: "POST", body: '{"id": 2, "title": "y"}' });
  expect(insert.status).toBe(201);
});

test("a column whose type has changed is filtered by its new type, on connections that knew the old one", async () => {
  await it.db.admin.query(`create table public.codes (code int); insert into public.codes values (1);
    grant all on public.codes to anon`);
  const ask = async (value: string) => {
    const answers = Array.from({ length: 30 }, () => it.fetch(`/rest/v1/codes?code=eq.${value}`));
    const texts = (await Promise.all(answers)).map((response) => response.text());
    return new Set(await Promise.all(texts));
  };
  expect(await ask("1")).toEqual(new Set(['[{"code":1}]']));
  await it.db.admin.query("alter table public.codes alter column code type text using 'c' || code");
  await expect.poll(() => ask("c1")).toEqual(new Set(['[{"code":"c1"}]']));
});

test("no answer has more rows than the project's max_rows, embedded ones included", async () => {
  const few = await startApiUnderTest(
    `create table public.owners (id int primary key);
     create table public.items (id int primary key, owner_id int references public.owners);
     insert into public.owners select generate_series(1, 9);
     insert into public.items select i, 1 from generate_series(1, 9) i;
     create function public.counted() returns setof int language sql stable as 'select generate_series(1, 9)';
     grant all on public.owners, public.items to anon`,
    { maxRows: 4 },
  );
  try {
    const rows = async (path: string) => (await (await few.fetch(`/rest/v1${path}`)).json()) as unknown[];
    expect(await rows("/items")).toHaveLength(4);
    expect(await rows("/items?limit=6&offset=7")).toHaveLength(2);
    expect(await rows("/rpc/counted")).toHaveLength(4);
    const [first] = await rows("/owners?select=id,items(id)&order=id");
    expect(first).toMatchObject({ id: 1, items: { length: 4 } });
    const written = await few.fetch("/rest/v1/items?id=gt.0", {
      method: "PATCH",
      body: '{"owner_id": 2}',
      headers: { prefer: "return=representation" },
    });
    expect(await written.json()).toHaveLength(9);
  } finally {
    await few.close();
  }
});

test("what a refused result had written is undone, functions included", async () => {
  await it.db.admin
    .query(`create table public.ledgerish (id int primary key); grant all on public.ledgerish to anon;
    create function public.adds_two() returns setof int language sql volatile as
      'insert into public.ledgerish values (1), (2) returning id'`);
  const single = { accept: "application/vnd.pgrst.object+json" };
  const strict = { prefer: "handling=strict, max-affected=1" };
  for (const headers of [single, strict]) {
    const called = await it.fetch("/rest/v1/rpc/adds_two", { method: "POST", headers });
    expect([406, 400]).toContain(called.status);
  }
  const inserted = await it.fetch("/rest/v1/ledgerish", {
    method: "POST",
    body: '[{"id": 1}, {"id": 2}]',
    headers: { ...single, prefer: "return=representation" },
  });
  expect(inserted.status).toBe(406);
  const { rows } = await it.db.admin.query("select count(*)::int as rows from public.ledgerish");
  expect(rows).toEqual([{ rows: 0 }]);
  // Control.
  expect((await it.fetch("/rest/v1/rpc/adds_two", { method: "POST" })).status).toBe(200);
  const after = await it.db.admin.query("select count(*)::int as rows from public.ledgerish");
  expect(after.rows).toEqual([{ rows: 2 }]);
});

test("supabase-js writes, merges, embeds and counts", async () => {
  await it.db.admin.query(`create table public.shelves (id int primary key, name text unique);
    create table public.books (id int primary key, shelf_id int references public.shelves, title text, copies int default 1);
    grant all on public.shelves, public.books to service_role`);
  const db = it.client(it.keys.secretKey);
  expect(
    (
      await db.from("shelves").insert([
        { id: 1, name: "a" },
        { id: 2, name: "b" },
      ])
    ).status,
  ).toBe(201);
  const books = [
    { id: 1, shelf_id: 1, title: "x" },
    { id: 2, shelf_id: 1, title: "y" },
  ];
  // supabase-js names the columns itself.
  expect((await db.from("books").insert(books).select("id, copies")).data).toEqual([
    { id: 1, copies: 1 },
    { id: 2, copies: 1 },
  ]);
  const merged = await db
    .from("books")
    .upsert({ id: 2, title: "z", copies: 3 })
    .select("title, copies, shelves(name)")
    .single();
  expect(merged.data).toEqual({ title: "z", copies: 3, shelves: { name: "a" } });
  const shelves = await db
    .from("shelves")
    .select("name, books(title)", { count: "exact" })
    .order("title", { referencedTable: "books", ascending: false })
    .order("id");
  expect(shelves).toMatchObject({
    count: 2,
    data: [
      { name: "a", books: [{ title: "z" }, { title: "x" }] },
      { name: "b", books: [] },
    ],
  });
  expect((await db.from("books").update({ copies: 9 }, { count: "exact" }).gt("id", 0)).count).toBe(2);
  expect((await db.from("books").delete().in("id", [1, 2]).select("id")).data).toHaveLength(2);
  expect((await db.from("books").select("*", { count: "planned", head: true })).count).toBeGreaterThan(0);
  expect(await db.from("books").select().eq("id", 1).single()).toMatchObject({
    status: 406,
    error: { code: "PGRST116", details: "The result contains 0 rows" },
  });
});
