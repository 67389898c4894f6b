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
