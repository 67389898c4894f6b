/** Types of grants of the project's own: what a grant of one has where nothing else is said. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

type Fields = Record<string, unknown>;
const set = (type: unknown, terms: unknown, of = db) =>
  asService(of, (client) =>
    rpc(client, "set_token_grant_type", { p_grant_type: type, p_terms: terms, p_reason: "a reason" }),
  );
const give = (user: string, args: Fields, of = db) =>
  asService(of, (client) => rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 10, ...args }));
const refusalOf = (asked: Promise<unknown>) =>
  asked.then(
    () => "not refused",
    (error: { message: string; detail: string }) => `${error.message} ${error.detail}`,
  );

test("a grant of an own type has its lifetime and its place, and is recorded as such", async () => {
  const user = await createUser(db);
  expect(await set("welcome", { lifetime_hours: 48, priority: 10 })).toMatchObject({
    success: true,
    is_new: true,
    changed: ["lifetime_hours", "priority"],
    terms: { grant_type: "welcome", lifetime_hours: 48, priority: 10 },
  });
  await give(user, { p_grant_type: "purchase" });
  await give(user, { p_grant_type: "welcome" });
  await give(user, { p_grant_type: "welcome", p_priority: 90, p_expires_at: "infinity" });
  const { rows } = await db.admin.query(
    `select grant_type, priority, extract(epoch from expires_at - granted_at)::int / 3600 as hours
       from public.token_balances where user_id = $1 order by granted_at`,
    [user],
  );
  expect(rows).toEqual([
    { grant_type: "purchase", priority: 50, hours: null },
    { grant_type: "welcome", priority: 10, hours: 48 },
    { grant_type: "welcome", priority: 90, hours: null },
  ]);
  const spent = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 25 }),
  );
  expect(spent.deducted_from.map((it: Fields) => [it.grant_type, it.deducted])).toEqual([
    ["welcome", 10],
    ["purchase", 10],
    ["welcome", 5],
  ]);
  const actions = await db.admin.query(
    "select distinct action_type from public.token_transactions where user_id = $1 and entry_type = 'grant' order by 1",
    [user],
  );
  expect(actions.rows.map((it) => it.action_type)).toEqual(["custom_grant", "token_pack_purchase"]);
  await expectCleanBooks(db);
});

test("a change counts from then on; what is left out stays, and the same again changes nothing", async () => {
  const user = await createUser(db);
  await set("gift", { lifetime_hours: 24 });
  const keyed = { p_grant_type: "gift", p_idempotency_key: "once" };
  const first = await give(user, keyed);
  expect(await set("gift", { priority: 5 })).toMatchObject({
    changed: ["priority"],
    terms: { lifetime_hours: 24, priority: 5 },
  });
  expect(await set("gift", { lifetime_hours: null })).toMatchObject({ terms: { lifetime_hours: null } });
  expect(await set("gift", { lifetime_hours: null, priority: 5.0 })).toMatchObject({
    is_new: false,
    changed: [],
  });
  expect(await give(user, keyed)).toEqual({ ...first, replayed: true });
  expect(await give(user, { p_grant_type: "gift" })).toMatchObject({ expires_at: null });
  const changes = await asAdmin(db, admin, (client) => rpc(client, "list_token_changes", {}));
  expect(JSON.stringify(changes)).toContain("set_token_grant_type");
  await expectCleanBooks(db);
});

test.each([
  ["annual", { priority: 1 }, "p_grant_type"],
  ["Gift", {}, "p_grant_type"],
  [null, {}, "p_grant_type"],
  ["fine", { lifetime_hours: 0 }, "lifetime_hours"],
  ["fine", { lifetime_hours: 1.5 }, "lifetime_hours"],
  ["fine", { lifetime_hours: "24" }, "lifetime_hours"],
  ["fine", { priority: 101 }, "priority"],
  ["fine", { priority: null }, "priority"],
  ["fine", { must_end: true }, "must_end"],
  ["fine", [], "p_terms"],
])("%s with %j is refused, and names %s", async (type, terms, field) => {
  expect(await refusalOf(set(type, Array.isArray(terms) ? JSON.stringify(terms) : terms))).toMatch(
    new RegExp(`^invalid_grant_type .*"field": "${field}"`),
  );
});

test("a type that is not there is refused, and the rule names what there is", async () => {
  const user = await createUser(db);
  await set("known", {});
  expect(await refusalOf(give(user, { p_grant_type: "unknown" }))).toMatch(
    /^invalid_grant_type .*annual.*known/,
  );
});

test("only admins and the server make types; every signed-in user reads them", async () => {
  const user = await createUser(db);
  const args = { p_grant_type: "mine", p_terms: {}, p_reason: "a reason" };
  expect(await refusalOf(asUser(db, user, (client) => rpc(client, "set_token_grant_type", args)))).toMatch(
    /^forbidden/,
  );
  expect(await refusalOf(asAnon(db, (client) => rpc(client, "set_token_grant_type", args)))).toMatch(
    /permission denied/,
  );
  await set("readable", {});
  const read = await asUser(db, user, (client) =>
    client.query("select grant_type from public.token_grant_types where grant_type = 'readable'"),
  );
  expect(read.rowCount).toBe(1);
});

const fill = async (of: Database) => {
  for (let nth = 0; nth < 101; nth += 1) await set(`type_${nth}`, {}, of);
};

test("a project has at most 100 of its own; without the rule it has more", async () => {
  const own = await createDatabase();
  const bad = await createDatabase();
  try {
    expect(await refusalOf(fill(own))).toMatch(/at most 100/);
    await applyMutant(bad, "grant-types-without-end");
    expect(await refusalOf(fill(bad))).toBe("not refused");
  } finally {
    await own.drop();
    await bad.drop();
  }
});
