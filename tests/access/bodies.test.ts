/** What is booked of a request whose body is no JSON object: nothing, as far as SQL can see it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKeys, type Keys } from "local-platform/gateway/keys";
import { startApi, type Api } from "local-platform/gateway/api";
import { createTokens, userClaims } from "local-platform/gateway/tokens";
import { grant } from "../support/books.ts";
import { argumentsAbout, callablesOf, callOf } from "../support/calls.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { digestQuery } from "../support/digest.ts";
import { applyMutant } from "../support/mutants.ts";
import { populateUser } from "../support/populated-user.ts";
import { asService, createUser } from "../support/roles.ts";

let db: Database;
let keys: Keys;
let api: Api;
beforeAll(async () => {
  db = await createDatabase();
  keys = await createKeys();
  api = await startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** What PostgREST takes for a body, besides JSON. */
const otherTypes = [
  "text/csv",
  "application/x-www-form-urlencoded",
  "text/plain",
  "application/octet-stream",
  "text/xml",
];

/** Calls each function of the API as the server, in a request of that type, and says which ones ran. */
async function ranWith(of: Database, type: string | undefined, method = "POST"): Promise<string[]> {
  const life = await populateUser(of);
  const ran: string[] = [];
  const callables = (await callablesOf(of)).filter(({ schema }) => schema === "public");
  for (const callable of callables) {
    const { sql, values } = callOf(callable, argumentsAbout(life, callable));
    const message = await asService(of, async (client) => {
      const headers = { host: "api.example.com", ...(type !== undefined && { "content-type": type }) };
      await client.query(
        "select set_config('request.headers', $1, true), set_config('request.method', $2, true), set_config('request.path', $3, true)",
        [JSON.stringify(headers), method, `/rpc/${callable.name.replace("public.", "")}`],
      );
      await client.query(sql, values);
      throw new Error("it ran"); // and is taken back
    }).catch((error: Error & { code?: string }) => `${error.code ?? ""} ${error.message}`);
    if (!message.startsWith("PT415 unsupported_media_type")) ran.push(callable.name);
  }
  console.log(
    `${type ?? "no type"}, ${method}: refused ${callables.length - ran.length} of ${callables.length} functions`,
  );
  expect(callables.length).toBeGreaterThan(50);
  return ran;
}

test.each(otherTypes)("no function of the API runs for a body of %s", async (type) => {
  expect(await ranWith(db, type)).toEqual([]);
  expect(await ranWith(db, `${type}; charset=utf-8`)).toEqual([]);
});

test("each of them does for JSON, for a request that says nothing, and for one that has no body", async () => {
  const all = (await callablesOf(db)).filter(({ schema }) => schema === "public").map(({ name }) => name);
  for (const type of ["application/json", "Application/JSON", "application/json; charset=utf-8", undefined]) {
    expect(await ranWith(db, type)).toEqual(all);
  }
  expect(await ranWith(db, "text/plain", "GET")).toEqual(all);
});

test.each(["bodies-of-any-type", "bodies-are-not-looked-at"])(
  "the test sees it: %s",
  { tags: ["proof"] },
  async (mutant) => {
    const bad = await createDatabase();
    try {
      await applyMutant(bad, mutant);
      expect((await ranWith(bad, "text/csv")).length).toBeGreaterThan(50);
    } finally {
      await bad.drop();
    }
  },
);

const post = (path: string, headers: Record<string, string>, body: string) =>
  fetch(`${api.url}/rest/v1/rpc/${path}`, { method: "POST", headers, body });

test("through the API: a form, CSV, text and bytes are 415 for user and server, by whatever name, and change nothing", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  const { sign } = await createTokens(keys);
  const token = await sign(userClaims(api.url, user));
  const callers: Record<string, string>[] = [
    { apikey: keys.secretKey },
    { apikey: keys.publishableKey, authorization: `Bearer ${token}` },
  ];
  const digest = await digestQuery(db.admin);
  const before = (await db.admin.query(digest)).rows[0].digest;
  const names = ["deduct_tokens_with_fifo", "deduct%5Ftokens_with_fifo"];
  let asked = 0;
  for (const caller of callers) {
    for (const [type, body] of [
      ["text/csv", `p_user_id,p_tokens_to_deduct\n${user},1\n${user},2\n`],
      ["application/x-www-form-urlencoded", `p_user_id=${user}&p_tokens_to_deduct=1`],
    ] as const) {
      for (const name of names) {
        const answer = await post(name, { ...caller, "content-type": type }, body);
        expect([answer.status, await answer.json()]).toMatchObject([
          415,
          { message: "unsupported_media_type" },
        ]);
        asked++;
      }
    }
  }
  // What has defaults for everything would run without a word of the body.
  for (const name of ["expire_old_token_grants", "arm_token_alerts", "claim_token_top_ups"]) {
    for (const type of ["text/plain", "application/octet-stream"]) {
      const answer = await post(name, { apikey: keys.secretKey, "content-type": type }, "ignored");
      expect([name, answer.status]).toEqual([name, 415]);
      asked++;
    }
  }
  expect((await db.admin.query(digest)).rows[0].digest).toBe(before);
  console.log(`other bodies over HTTP: refused ${asked} of ${asked}`);

  for (const type of ["application/json", "application/json; charset=utf-8"]) {
    const body = JSON.stringify(args(user, 1));
    expect((await post(names[0]!, { ...callers[0]!, "content-type": type }, body)).status).toBe(200);
  }
});

test("a function of the project's own takes what it likes, and may call ours", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await db.admin.query(`
    create function public.receive_form(token_user uuid, amount bigint) returns jsonb language sql
    return public.deduct_tokens_with_fifo(token_user, amount);
    grant execute on function public.receive_form to service_role`);
  const type = { apikey: keys.secretKey, "content-type": "application/x-www-form-urlencoded" };
  await expect
    .poll(async () => (await post("receive_form", type, `token_user=${user}&amount=7`)).status)
    .toBe(200); // known to the API after a moment
  await db.admin.query("drop function public.receive_form");
});

/** What is left of 100 tokens when the server deducts with that body, and what the API answers. */
async function deductWith(of: Api, database: Database, bodyOf: (user: string) => string) {
  const user = await createUser(database);
  await grant(database, user, 100);
  const answer = await fetch(`${of.url}/rest/v1/rpc/deduct_tokens_with_fifo`, {
    method: "POST",
    headers: { apikey: keys.secretKey, "content-type": "application/json" },
    body: bodyOf(user),
  });
  const { rows } = await database.admin.query(
    "select tokens_remaining::int as left from public.token_accounts where user_id = $1",
    [user],
  );
  return { status: answer.status, body: await answer.json(), left: rows[0].left as number };
}

const args = (user: string, tokens: number) => ({ p_user_id: user, p_tokens_to_deduct: tokens });
const arrays: Record<string, (user: string) => string> = {
  "two objects": (user) => JSON.stringify([args(user, 1), args(user, 2)]),
  "one object": (user) => JSON.stringify([args(user, 1)]),
  "two objects, after a line's end": (user) =>
    `\n [${JSON.stringify(args(user, 1))},${JSON.stringify(args(user, 2))}]`,
};

test.each(Object.keys(arrays))("an array of %s is refused, and nothing is booked", async (name) => {
  const { status, body, left } = await deductWith(api, db, arrays[name]!);
  expect([status, body.message, JSON.parse(body.details)]).toEqual([
    400,
    "invalid_request",
    { field: "body", rule: "one JSON object" },
  ]);
  expect(left).toBe(100);
});

test("an object is taken, with blanks around it, or with json_to_recordset( in what it says", async () => {
  expect(await deductWith(api, db, (user) => `\n\t ${JSON.stringify(args(user, 1))}\n`)).toMatchObject({
    status: 200,
    left: 99,
  });
  const words = (user: string) =>
    JSON.stringify({ ...args(user, 1), p_metadata: { a: "json_to_recordset([])" } });
  expect(await deductWith(api, db, words)).toMatchObject({ status: 200, left: 99 });
});

test("the test sees it: of two objects the first is booked", { tags: ["proof"] }, async () => {
  const bad = await createDatabase();
  await applyMutant(bad, "bodies-of-several-rows");
  const badApi = await startApi({ databaseUrlFor: (role) => bad.url(role), keys, port: 0 });
  try {
    expect(await deductWith(badApi, bad, arrays["two objects"]!)).toMatchObject({ status: 200, left: 99 });
  } finally {
    await badApi.close();
    await bad.drop();
  }
});

/** May be called without a word: with `{}`, `null`, `[]` or nothing for a body, which SQL cannot tell apart. */
test("what runs without arguments does what its name says, and spends or gives nothing", async () => {
  const { rows } = await db.admin.query<{ name: string; writes: boolean }>(`
    select p.proname as name, p.provolatile = 'v' as writes from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.pronargs = p.pronargdefaults
       and exists (select from pg_proc h where h.pronamespace = 'tokenbook'::regnamespace and h.proname = p.proname)
     order by 1`);
  expect(rows.filter(({ writes }) => writes).map(({ name }) => name)).toEqual([
    "arm_token_alerts", // arms what is behind, as each minute
    "checkpoint_token_ledger", // reads on in the ledger, and keeps how far
    "claim_token_top_ups", // hands out what is due to be charged, and again when the lease is over
    "estimate_tokens", // refused without an action
    "expire_old_token_grants", // books what has run out, as each hour
    "get_token_referral_code", // the caller's own, made when there is none
    "get_token_revenue", // counts what is new
    "get_token_spend_caps", // the caller's own; reads
    "get_token_usage_by", // the caller's own; adds up what is many
    "get_user_token_balance", // the caller's own, with what was due of it
    "list_token_team_members", // the caller's own; reads
    "track_token_usage", // refused without an action
  ]);
  const life = await populateUser(db);
  const { sign } = await createTokens(keys);
  const token = await sign(userClaims(api.url, life.id));
  const books = async () => {
    const sums = "select count(*)::int as entries, sum(tokens)::int as tokens from public.token_transactions";
    return (await db.admin.query(sums)).rows[0];
  };
  const callers: Record<string, string>[] = [
    { apikey: keys.secretKey },
    { apikey: keys.publishableKey, authorization: `Bearer ${token}` },
  ];
  const before = await books();
  const mix: Record<number, number> = {};
  for (const { name } of rows) {
    for (const caller of callers) {
      for (const body of ["null", "[]", "{}", ""]) {
        const answer = await post(name, { ...caller, "content-type": "application/json" }, body);
        mix[answer.status] = (mix[answer.status] ?? 0) + 1;
        expect([name, body, answer.status < 500]).toEqual([name, body, true]);
      }
    }
  }
  console.log(`without arguments: ${rows.length} functions, ${JSON.stringify(mix)}`);
  expect(await books()).toEqual(before);
});
