/**
 * What `Prefer: count=planned` tells a user of rows that they may not read: the planner's guess, which is made
 * before row level security is applied. The guess is all; SECURITY.md says it, and how to close it.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startApi, type Api } from "local-platform/gateway/api";
import { createKeys, type Keys } from "local-platform/gateway/keys";
import { createTokens, userClaims } from "local-platform/gateway/tokens";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { grant } from "../support/books.ts";

let db: Database;
let keys: Keys;
let api: Api;
let me: string;
let asker: Record<string, string>;
/** Two with as many entries, of very different sizes, and one with few. */
let busy: string;
let rich: string;
let quiet: string;

beforeAll(async () => {
  db = await createDatabase();
  keys = await createKeys();
  api = await startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 });
  const { sign } = await createTokens(keys);
  me = await createUser(db);
  asker = { apikey: keys.publishableKey, authorization: `Bearer ${await sign(userClaims(api.url, me))}` };
  [busy, rich, quiet] = [await createUser(db), await createUser(db), await createUser(db)];
  for (const [user, entries, tokens] of [
    [busy, 400, 1],
    [rich, 400, 1_000],
    [quiet, 20, 1],
    [me, 20, 1],
  ] as const) {
    await grant(db, user, entries * tokens);
    await db.admin.query("select count(public.deduct_tokens_with_fifo($1, $2)) from generate_series(1, $3)", [
      user,
      tokens,
      entries - 1,
    ]);
  }
  await db.admin.query("analyze public.token_transactions");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** What comes back for another's entries: rows, and how many there are said to be. */
async function ask(user: string, count: string, filter = "") {
  const response = await fetch(`${api.url}/rest/v1/token_transactions?user_id=eq.${user}${filter}`, {
    headers: { ...asker, prefer: `count=${count}` },
  });
  const total = response.headers.get("content-range")?.split("/")[1];
  return { status: response.status, rows: await response.json(), total: Number(total) };
}

test("another's rows are never shown, and counted exactly there are none", async () => {
  for (const user of [busy, rich, quiet]) {
    expect(await ask(user, "exact")).toEqual({ status: 200, rows: [], total: 0 });
    expect(await ask(user, "estimated")).toEqual({ status: 200, rows: [], total: 0 });
    expect((await ask(user, "planned")).rows).toEqual([]);
  }
});

test("the planner's guess tells about how many rows another has: this is known, and said", async () => {
  // A caller who knows how many rows they have can scale it.
  const own = await ask(me, "planned");
  expect(own.rows).toHaveLength(20);
  const told = async (user: string) => Math.round(((await ask(user, "planned")).total / own.total) * 20);
  const [ofBusy, ofQuiet] = [await told(busy), await told(quiet)];
  console.log(`count=planned: 400 entries are told as ${ofBusy}, 20 as ${ofQuiet}`);
  expect(ofBusy).toBeGreaterThan(300);
  expect(ofBusy).toBeLessThan(500);
  expect(ofQuiet).toBeLessThan(40);
});

test("it tells nothing of what is in them: users with as many rows get the same guess under any filter", async () => {
  const filters = [
    "&tokens=lt.-500",
    "&tokens=eq.-1000",
    "&balance_after=gt.100000",
    "&entry_type=eq.grant",
    "&action_type=eq.deduction",
    "&created_at=gt.2026-01-01",
    "&reason=like.d*",
    "&metadata=cs.{}",
    "&id=gt.300",
    "&or=(tokens.eq.-1,tokens.eq.1000)",
  ];
  const differing: string[] = [];
  for (const filter of filters) {
    const guesses = [(await ask(busy, "planned", filter)).total, (await ask(rich, "planned", filter)).total];
    if (guesses[0] !== guesses[1]) differing.push(`${filter}: ${guesses.join(" and ")}`);
  }
  console.log(`count=planned: ${filters.length} filters, ${differing.length} tell two users apart`);
  expect(differing).toEqual([]);

  // It sees what there is to see: to the owner of the rows the same filters tell them apart.
  const { rows } = await db.admin.query(
    `select count(*) filter (where user_id = $1)::int as busy, count(*) filter (where user_id = $2)::int as rich
       from public.token_transactions where tokens < -500`,
    [busy, rich],
  );
  expect(rows[0]).toEqual({ busy: 0, rich: 399 });
});

test("a project that does not want it takes the right to read the table away, and the functions go on", async () => {
  await db.admin.query("revoke select on public.token_transactions from authenticated");
  try {
    for (const count of ["planned", "exact"]) {
      expect(await ask(busy, count)).toMatchObject({
        status: 403,
        rows: { code: "42501" },
        total: Number.NaN,
      });
    }
    const history = await fetch(`${api.url}/rest/v1/rpc/get_token_history`, {
      method: "POST",
      headers: { ...asker, "content-type": "application/json" },
      body: "{}",
    });
    expect(history.status).toBe(200);
    expect(((await history.json()) as { transactions: unknown[] }).transactions).toHaveLength(20);
  } finally {
    await db.admin.query("grant select on public.token_transactions to authenticated");
  }
});
