import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const DAY = 24 * 3600 * 1000;
const grant = (args: Record<string, unknown>) => asService(db, (client) => rpc(client, "grant_tokens", args));

test.each([
  ["annual", 365],
  ["28day", 90],
  ["trial", 56],
  ["admin", 365],
])("a grant of type %s lives %i days when nothing else is said", async (type, days) => {
  const user = await createUser(db);

  const receipt = await grant({ p_user_id: user, p_tokens: 5, p_grant_type: type });

  expect(Date.parse(receipt.expires_at) - Date.parse(receipt.granted_at)).toBe(days * DAY);
});

test.each(["purchase", "plan"])("a grant of type %s lives for ever", async (type) => {
  const user = await createUser(db);

  const receipt = await grant({ p_user_id: user, p_tokens: 5, p_grant_type: type });

  expect(receipt.expires_at).toBeNull();
});

test.each(["purchase", "plan", "admin"])("'infinity' means never, for a grant of type %s", async (type) => {
  const user = await createUser(db);

  const receipt = await grant({
    p_user_id: user,
    p_tokens: 5,
    p_grant_type: type,
    p_expires_at: "infinity",
  });

  expect(receipt.expires_at).toBeNull();
  const { rows } = await db.admin.query("select expires_at from public.token_balances where user_id = $1", [
    user,
  ]);
  expect(rows).toEqual([{ expires_at: null }]);
});

test.each(["trial", "28day", "annual"])("a grant of type %s ends: 'infinity' is refused", async (type) => {
  const user = await createUser(db);
  await expect(
    grant({ p_user_id: user, p_tokens: 5, p_grant_type: type, p_expires_at: "infinity" }),
  ).rejects.toMatchObject({ code: "PT400", message: "invalid_expiry" });
});

test("a plan whose grants are of a type that ends says when", async () => {
  const set = (plan: string, change: string) =>
    db.admin.query(`update public.token_plans set ${change} where plan_type = $1`, [plan]);
  const refused = { constraint: "token_plans_what_must_end_ends" };
  await expect(set("trial", "grant_lifetime_days = null")).rejects.toMatchObject(refused);
  await expect(set("annual", "grant_lifetime_days = null")).rejects.toMatchObject(refused);
  await set("starter", "grant_lifetime_days = null");
});

test("an expiry that is given is kept to the microsecond", async () => {
  const user = await createUser(db);

  const receipt = await grant({
    p_user_id: user,
    p_tokens: 5,
    p_grant_type: "trial",
    p_expires_at: "2031-02-03T04:05:06.789012Z",
  });

  expect(receipt.expires_at).toBe("2031-02-03T04:05:06.789012+00:00");
});

test("each type has its name in the ledger, and every change an actor and a reason", async () => {
  const user = await createUser(db);
  const admin = await createUser(db, { admin: true });
  for (const type of ["annual", "28day", "trial", "purchase", "plan"]) {
    await grant({ p_user_id: user, p_tokens: 5, p_grant_type: type });
  }
  await asAdmin(db, admin, (client) =>
    rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 5, p_reason: "sorry" }),
  );

  const { rows } = await db.admin.query(
    "select action_type, reason, actor_role, actor_id from public.token_transactions where user_id = $1 order by id",
    [user],
  );

  expect(rows).toEqual([
    { action_type: "subscription_grant", reason: null, actor_role: "service", actor_id: null },
    { action_type: "subscription_grant", reason: null, actor_role: "service", actor_id: null },
    { action_type: "trial_grant", reason: null, actor_role: "service", actor_id: null },
    { action_type: "token_pack_purchase", reason: null, actor_role: "service", actor_id: null },
    { action_type: "subscription_grant", reason: null, actor_role: "service", actor_id: null },
    { action_type: "admin_grant", reason: "sorry", actor_role: "admin", actor_id: admin },
  ]);
  await expectCleanBooks(db);
});

test("the server may backdate a grant, recorded as such: its lifetime counts from then", async () => {
  const user = await createUser(db);
  const lastMonth = new Date(Date.now() - 30 * DAY).toISOString();

  const receipt = await grant({
    p_user_id: user,
    p_tokens: 5,
    p_grant_type: "trial",
    p_granted_at: lastMonth,
  });

  expect(Date.parse(receipt.granted_at)).toBe(Date.parse(lastMonth));
  expect(Date.parse(receipt.expires_at)).toBe(Date.parse(lastMonth) + 56 * DAY);
  const { rows } = await db.admin.query(
    `select b.granted_at < b.created_at as backdated, t.created_at = b.created_at as booked_now
       from public.token_balances b join public.token_transactions t on t.user_id = b.user_id
      where b.user_id = $1`,
    [user],
  );
  expect(rows).toEqual([{ backdated: true, booked_now: true }]);
});

test("a backdated grant that would have run out already is refused", async () => {
  const user = await createUser(db);

  await expect(
    grant({
      p_user_id: user,
      p_tokens: 5,
      p_grant_type: "trial",
      p_granted_at: new Date(Date.now() - 57 * DAY).toISOString(),
    }),
  ).rejects.toMatchObject({ code: "PT400", message: "invalid_expiry" });
});

test("an admin may not backdate", async () => {
  const user = await createUser(db);
  const admin = await createUser(db, { admin: true });

  await expect(
    asAdmin(db, admin, (client) =>
      rpc(client, "grant_tokens", { p_user_id: user, p_tokens: 5, p_granted_at: "2026-01-01T00:00:00Z" }),
    ),
  ).rejects.toMatchObject({ code: "PT400", message: "invalid_granted_at" });
});

test("a replay answers what the first call answered, even when the grant is spent and its expiry is past", async () => {
  const user = await createUser(db);
  const { rows } = await db.admin.query("select (clock_timestamp() + interval '1 second')::text as at");
  const args = {
    p_user_id: user,
    p_tokens: 5,
    p_grant_type: "trial",
    p_expires_at: rows[0].at,
    p_idempotency_key: "webhook-1",
  };
  const first = await grant(args);
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  await asService(db, (client) => rpc(client, "expire_old_token_grants", {}));

  const second = await grant(args);

  expect(second).toEqual({ ...first, replayed: true });
  await expectCleanBooks(db);
});

test("the same moment written in another time zone is the same request", async () => {
  const user = await createUser(db);
  const args = { p_user_id: user, p_tokens: 5, p_idempotency_key: "zones" };
  await grant({ ...args, p_expires_at: "2031-01-01T00:00:00+00" });

  const again = await asService(db, async (client) => {
    await client.query("set local time zone 'Asia/Tokyo'");
    return rpc(client, "grant_tokens", { ...args, p_expires_at: "2031-01-01T09:00:00+09" });
  });

  expect(again).toMatchObject({ replayed: true });
});

test.each([
  ["tokens", { p_tokens: 6 }],
  ["grant_type", { p_grant_type: "annual" }],
  ["expires_at", { p_expires_at: "2040-01-01T00:00:00Z" }],
  ["priority", { p_priority: 1 }],
  ["granted_at", { p_granted_at: "2026-11-01T00:00:00Z" }],
  ["reason", { p_reason: "another" }],
  ["metadata", { p_metadata: { other: true } }],
])("a replay with another %s is refused and says so", async (field, change) => {
  const user = await createUser(db);
  const args = { p_user_id: user, p_tokens: 5, p_grant_type: "trial", p_idempotency_key: "k" };
  await grant(args);

  await expect(grant({ ...args, ...change })).rejects.toMatchObject({
    code: "PT422",
    message: "idempotency_key_reused",
    detail: JSON.stringify({ differs: [field] }).replace(":", ": "),
  });
});
