// @module-tag proof
import { afterAll, beforeAll, expect, test } from "vitest";
import { startApiUnderTest } from "./api-under-test.ts";
import type { ApiUnderTest } from "./api-under-test.ts";

let it: ApiUnderTest;

beforeAll(async () => {
  it = await startApiUnderTest(`
    comment on schema public is E'A shop\\n\\nIt sells\\nthings.';
    create type public.mood as enum ('sad', 'happy');
    create table public.makers (id bigint primary key);
    create table public.things (
      id int generated always as identity primary key,
      maker_id bigint not null references public.makers (id),
      owner uuid references auth.users (id),
      word varchar(30) not null default 'none',
      price numeric default 10.5,
      made_at timestamptz default now(),
      tags text[] default '{}',
      data jsonb,
      mood public.mood);
    comment on table public.things is E'Things\\n\\nOne by one.';
    comment on column public.things.id is 'Its number.';
    create view public.thing_count as select count(*) from public.things;
    create table public.hidden (id int);
    create table public.for_users (id int, word text);
    grant select, insert on public.things to service_role;
    grant select on public.makers, public.thing_count to service_role;
    grant select (word) on public.for_users to authenticated;

    create function public.reads(p_id int, p_words text[] default '{}') returns int language sql stable as 'select 1';
    comment on function public.reads is E'Reads.\\nSlowly.';
    create function public.many(variadic p_ids int[]) returns int language sql stable as 'select 1';
    create function public.writes() returns void language sql as '';
    create function public.secret() returns int language sql stable as 'select 1';
    create function public.on_thing() returns trigger language plpgsql as 'begin return new; end';
    revoke execute on function public.secret() from public;`);
});
afterAll(() => it?.close());

// What is asked for below is read off the answer; what is not there is undefined.
// oxlint-disable-next-line typescript/no-explicit-any
async function description(headers: Record<string, string> = {}): Promise<any> {
  const response = await it.fetch("/rest/v1/", { headers: { apikey: it.keys.secretKey, ...headers } });
  expect([response.status, response.headers.get("content-type")]).toEqual([
    200,
    "application/openapi+json; charset=utf-8",
  ]);
  return await response.json();
}

test("the schema's comment is the title, and the document says where it is served", async () => {
  const { swagger, info, host, basePath } = await description();
  expect({ swagger, info, host, basePath }).toEqual({
    swagger: "2.0",
    info: { title: "A shop", description: "It sells\nthings.", version: "14" },
    host: new URL(it.api.url).host,
    basePath: "/rest/v1/",
  });
});

test("a role sees the tables that it has any right to, and the functions that it may call", async () => {
  const own = await description();
  expect(Object.keys(own.paths).toSorted()).toEqual([
    "/",
    "/makers",
    "/rpc/many",
    "/rpc/reads",
    "/rpc/writes",
    "/thing_count",
    "/things",
  ]);
  expect(Object.keys(own.definitions)).toEqual(["makers", "thing_count", "things"]);

  const authorization = `Bearer ${await it.token({ role: "authenticated" })}`;
  const users = await description({ authorization });
  expect(Object.keys(users.definitions)).toEqual(["for_users"]);
  // As PostgREST: the right to one column shows the table whole.
  expect(Object.keys(users.definitions.for_users.properties)).toEqual(["id", "word"]);
});

test("a table's columns have their types, defaults, keys and comments", async () => {
  const { definitions } = await description();
  expect(definitions.things).toEqual({
    type: "object",
    description: "Things\n\nOne by one.",
    required: ["id", "maker_id", "word"],
    properties: {
      id: {
        type: "integer",
        format: "int32",
        description: "Its number.\n\nNote:\nThis is a Primary Key.<pk/>",
      },
      maker_id: {
        type: "integer",
        format: "int64",
        description: "Note:\nThis is a Foreign Key to `makers.id`.<fk table='makers' column='id'/>",
      },
      // What it refers to is in a schema that is not served.
      owner: { type: "string", format: "uuid" },
      word: { type: "string", format: "character varying", maxLength: 30, default: "none" },
      price: { type: "number", format: "numeric", default: 10.5 },
      made_at: { type: "string", format: "timestamp with time zone", default: "now()" },
      tags: { type: "array", items: { type: "string" }, format: "text[]" },
      data: { format: "jsonb" },
      mood: { type: "string", format: "public.mood", enum: ["sad", "happy"] },
    },
  });
});

test("what can be written has post, patch and delete; a view over a count can only be read", async () => {
  const { paths, parameters } = await description();
  expect(Object.keys(paths["/things"]).toSorted()).toEqual(["delete", "get", "patch", "post"]);
  expect(Object.keys(paths["/thing_count"])).toEqual(["get"]);
  expect(paths["/things"].get).toMatchObject({
    tags: ["things"],
    summary: "Things",
    description: "One by one.",
    responses: {
      200: { description: "OK", schema: { type: "array", items: { $ref: "#/definitions/things" } } },
      206: { description: "Partial Content" },
    },
  });
  expect(paths["/things"].post).toMatchObject({
    parameters: [
      { $ref: "#/parameters/body.things" },
      { $ref: "#/parameters/select" },
      { $ref: "#/parameters/preferPost" },
    ],
    responses: { 201: { description: "Created" } },
  });
  const references = [...JSON.stringify(paths).matchAll(/#\/parameters\/([^"]+)/g)].map(([, name]) => name!);
  expect(references.length).toBeGreaterThan(20);
  expect(references.filter((name) => !(name in parameters))).toEqual([]);
});

test("a function's parameters are in its body, and in the query where it may be called by GET", async () => {
  const { paths } = await description();
  expect(Object.keys(paths["/rpc/writes"])).toEqual(["post"]);
  const reads = paths["/rpc/reads"];
  expect(reads.get).toMatchObject({
    tags: ["(rpc) reads"],
    summary: "Reads.",
    description: "Slowly.",
    parameters: [
      { name: "p_id", in: "query", required: true, type: "integer", format: "int32" },
      { name: "p_words", in: "query", required: false, type: "string", format: "text[]" },
    ],
  });
  expect(reads.post.parameters).toEqual([
    {
      name: "args",
      in: "body",
      required: true,
      schema: {
        type: "object",
        description: "Reads.\nSlowly.",
        required: ["p_id"],
        properties: {
          p_id: { type: "integer", format: "int32" },
          p_words: { type: "array", items: { type: "string" }, format: "text[]" },
        },
      },
    },
    { $ref: "#/parameters/preferParams" },
  ]);
  expect(paths["/rpc/many"].get.parameters).toMatchObject([
    {
      name: "p_ids",
      type: "array",
      collectionFormat: "multi",
      items: { type: "integer", format: "int32" },
    },
  ]);
});

test("HEAD has the type and no body, and another type is 406", async () => {
  const apikey = it.keys.secretKey;
  const head = await it.fetch("/rest/v1/", { method: "HEAD", headers: { apikey } });
  expect([head.status, head.headers.get("content-type"), await head.text()]).toEqual([
    200,
    "application/openapi+json; charset=utf-8",
    "",
  ]);
  const csv = await it.fetch("/rest/v1/", { headers: { apikey, accept: "text/csv" } });
  expect([csv.status, await csv.json()]).toMatchObject([
    406,
    { code: "PGRST107", message: "None of these media types are available: text/csv" },
  ]);
});

test("a method that the root does not know is 405, and OPTIONS lists those it does", async () => {
  const apikey = it.keys.secretKey;
  const post = await it.fetch("/rest/v1/", { method: "POST", body: "{}", headers: { apikey } });
  expect([post.status, await post.json()]).toMatchObject([405, { code: "PGRST117" }]);
  const options = await it.fetch("/rest/v1/", { method: "OPTIONS", headers: { apikey } });
  expect([options.status, options.headers.get("allow")]).toEqual([200, "OPTIONS,GET,HEAD"]);
});
