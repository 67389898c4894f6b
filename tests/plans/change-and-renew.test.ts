import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { giveFreePlanAtRegistration, show, standing } from "../support/plans.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

const call = (name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));
const upgrade = (user: string, plan: string, key?: string) =>
  call("change_token_plan", {
    p_user_id: user,
    p_plan_type: plan,
    p_payment_method: "card",
    ...(key && { p_idempotency_key: key }),
  });

/** Moves a user's present period into the past, so that the next one is due. */
async function letPeriodEnd(user: string, database = db): Promise<void> {
  await database.admin.query(
    `update tokenbook.subscriptions
        set period_start = period_start - interval '40 days', expires_at = clock_timestamp() - interval '1 second'
      where user_id = $1`,
    [user],
  );
}

test("the catalogue comes with plans to start from, and everyone reads it", async () => {
  const { rows } = await asAnon(db, (client) =>
    client.query(
      "select plan_type, tokens::int, articles_limit, storage_gb, grant_type, grant_lifetime_days from public.token_plans order by rank",
    ),
  );

  expect(rows).toMatchObject([
    { plan_type: "free", tokens: 10_000, articles_limit: 2 },
    { plan_type: "trial", grant_type: "trial", grant_lifetime_days: 56 },
    { plan_type: "starter", tokens: 400_000 },
    { plan_type: "28day", tokens: 600_000, storage_gb: 25, grant_type: "28day", grant_lifetime_days: 90 },
    { plan_type: "grow", tokens: 1_000_000 },
    { plan_type: "professional", tokens: 2_000_000 },
    {
      plan_type: "annual",
      tokens: 5_000_000,
      storage_gb: 100,
      grant_type: "annual",
      grant_lifetime_days: 365,
    },
  ]);
});

test("an upgrade is spendable in the commit that changes the plan, and adds to what there is", async () => {
  const user = await createUser(db);
  const before = await standing(db, user);

  const receipt = await upgrade(user, "grow");

  const after = await standing(db, user);
  show("upgrade", before, after);
  expect(receipt).toMatchObject({
    success: true,
    effective: "now",
    tokens_granted: 1_000_000,
    tokens_limit: 1_010_000,
    tokens_remaining: 1_010_000,
    replayed: false,
  });
  expect(after).toEqual({ plan: "grow", limit: 1_010_000, balance: 1_010_000, owed: 0 });
  await expectCleanBooks(db);
});

test("an upgrade with the same key happens once; with another plan the key is refused", async () => {
  const user = await createUser(db);
  const first = await upgrade(user, "starter", "checkout-1");

  expect(await upgrade(user, "starter", "checkout-1")).toEqual({ ...first, replayed: true });
  await expect(upgrade(user, "grow", "checkout-1")).rejects.toMatchObject({
    message: "idempotency_key_reused",
    detail: expect.stringContaining("plan_type"),
  });
  expect(await standing(db, user)).toMatchObject({ plan: "starter", balance: 410_000 });
});

test("a downgrade takes effect at the end of the period and takes no token away", async () => {
  const user = await createUser(db);
  await upgrade(user, "professional");
  const before = await standing(db, user);

  const receipt = await upgrade(user, "starter");

  show("downgrade", before, await standing(db, user));
  expect(receipt).toMatchObject({ effective: "period_end", tokens_granted: 0, tokens_remaining: 2_010_000 });
  expect(await standing(db, user)).toEqual(before);

  await letPeriodEnd(user);
  await call("renew_token_subscription", { p_user_id: user });
  const after = await standing(db, user);
  show("renewal after the downgrade", before, after);
  expect(after).toEqual({ plan: "starter", limit: 2_410_000, balance: 2_410_000, owed: 0 });
});

test("a downgrade keeps its key: a retry is told the same, whatever has happened since, and changes nothing", async () => {
  const user = await createUser(db);
  await upgrade(user, "professional");
  const first = await upgrade(user, "starter", "checkout-1");
  const retry = async () => {
    const before = await standing(db, user);
    expect(await upgrade(user, "starter", "checkout-1")).toEqual({ ...first, replayed: true });
    expect(await standing(db, user)).toEqual(before);
  };

  await retry();
  await grant(db, user, 5_000);
  await upgrade(user, "annual", "checkout-2");
  await retry();
  await letPeriodEnd(user);
  await retry();

  expect(first).toMatchObject({ effective: "period_end", tokens_limit: 2_010_000, replayed: false });
  const { rows } = await db.admin.query(
    "select next_plan_type from public.token_subscriptions where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ next_plan_type: null }]);
  await expectCleanBooks(db);
});

test("the key of a downgrade is refused for anything else, and the key of anything else for a downgrade", async () => {
  const user = await createUser(db);
  await upgrade(user, "professional", "up");
  await upgrade(user, "starter", "down");
  const refused = (differs: string) =>
    expect.objectContaining({ message: "idempotency_key_reused", detail: expect.stringContaining(differs) });

  await expect(upgrade(user, "grow", "down")).rejects.toEqual(refused("plan_type"));
  await expect(upgrade(user, "starter", "up")).rejects.toEqual(refused("plan_type"));
  await expect(grant(db, user, 5, { key: "down" })).rejects.toEqual(refused("operation"));
  await expect(
    call("deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 5,
      p_idempotency_key: "down",
    }),
  ).rejects.toEqual(refused("operation"));
});

test("a downgrade is in the ledger, by whom and to what, and moves no token", async () => {
  const user = await createUser(db);
  await upgrade(user, "professional");
  const receipt = await asAdmin(db, admin, (client) =>
    rpc(client, "change_token_plan", { p_user_id: user, p_plan_type: "starter" }),
  );

  const { transactions } = await call("get_token_history", { p_user_id: user });
  expect(transactions[0]).toMatchObject({
    id: receipt.transaction_id,
    entry_type: "usage",
    action_type: "plan_change",
    tokens: 0,
    balance_after: 2_010_000,
    allocations: [],
    reason: "downgrade to starter",
    actor_role: "admin",
    actor_id: admin,
    metadata: { plan_type: "starter", effective_at: receipt.effective_at, tokens_limit: 2_010_000 },
  });
});

test("an upgrade gives all its tokens, whatever the cap of renewals, and once under a key", async () => {
  const user = await createUser(db);
  await db.admin.query("update public.token_plans set balance_cap = 10000 where plan_type = 'starter'");
  const period = async () => {
    const { rows } = await db.admin.query(
      "select plan_type, period_start, expires_at from public.token_subscriptions where user_id = $1",
      [user],
    );
    return rows[0];
  };

  const first = await upgrade(user, "starter", "checkout-1");
  const begun = await period();
  await db.admin.query("update public.token_plans set balance_cap = null");
  const again = await upgrade(user, "starter", "checkout-1");

  expect(first).toMatchObject({
    effective: "now",
    effective_at: expect.any(String),
    tokens_granted: 400_000,
    tokens_limit: 410_000,
    tokens_remaining: 410_000,
    transaction_id: expect.any(Number),
    replayed: false,
  });
  expect(again).toEqual({ ...first, replayed: true });
  expect(begun.plan_type).toBe("starter");
  expect(await period()).toEqual(begun);
  await expectCleanBooks(db);
});

test("a retry of an upgrade that repaid a debt, or whose plan is gone, is told the same", async () => {
  const user = await createUser(db);
  const mistake = await grant(db, user, 5_000);
  await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 12_000 }),
  );
  await call("void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true });
  await db.admin.query(
    "insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, rank) values ('brief', 'Brief', 7000, 100, 'monthly', 25)",
  );
  const first = await upgrade(user, "brief", "checkout-1");
  const stands = await standing(db, user);
  await upgrade(user, "professional");
  await db.admin.query("delete from public.token_plans where plan_type = 'brief'");

  expect(first.tokens_limit).toBe(stands.limit);
  expect(first.tokens_remaining).toBe(stands.balance);
  expect(first.tokens_granted).toBeGreaterThan(first.tokens_remaining);
  expect(await upgrade(user, "brief", "checkout-1")).toEqual({ ...first, replayed: true });
  await expectCleanBooks(db);
});

test("a downgrade to a plan without a price needs nobody: the first read after the period puts it into effect", async () => {
  const user = await createUser(db);
  await upgrade(user, "professional");
  await upgrade(user, "free");
  const read = () => asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  expect(await read()).toMatchObject({ plan_type: "professional" });
  await letPeriodEnd(user);

  expect(await read()).toMatchObject({ plan_type: "free", total_active: 2_010_000, tokens_limit: 2_010_000 });
  const { rows } = await db.admin.query(
    "select expires_at, next_plan_type, auto_renew from public.token_subscriptions where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ expires_at: null, next_plan_type: null, auto_renew: false }]);
});

test("a renewal is a new grant, once a period, and not before it is due", async () => {
  const user = await createUser(db);
  await upgrade(user, "28day");
  await expect(call("renew_token_subscription", { p_user_id: user })).rejects.toMatchObject({
    code: "PT409",
    message: "not_due_yet",
  });
  await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 500_000 }),
  );
  await letPeriodEnd(user);
  const before = await standing(db, user);

  const { rows } = await db.admin.query(
    "select expires_at::text as due from public.token_subscriptions where user_id = $1",
    [user],
  );
  const first = await call("renew_token_subscription", { p_user_id: user, p_period_start: rows[0].due });
  const again = await call("renew_token_subscription", { p_user_id: user, p_period_start: rows[0].due });

  const after = await standing(db, user);
  show("renewal", before, after);
  expect(first).toMatchObject({ tokens_granted: 600_000, tokens_remaining: 710_000, replayed: false });
  expect(again).toMatchObject({ transaction_id: first.transaction_id, replayed: true });
  expect(after).toEqual({ plan: "28day", limit: 710_000, balance: 710_000, owed: 0 });
  const { rows: grants } = await db.admin.query(
    "select count(*)::int as grants, bool_and(expires_at - granted_at = interval '2160 hours') as ninety_days from public.token_balances where user_id = $1 and grant_type = '28day'",
    [user],
  );
  expect(grants).toEqual([{ grants: 2, ninety_days: true }]);
  await expectCleanBooks(db);
});

test("a plan's cap lets a renewal fill the balance up to it and no further", async () => {
  const user = await createUser(db);
  await upgrade(user, "28day");
  await db.admin.query("update public.token_plans set balance_cap = 1000000 where plan_type = '28day'");
  await letPeriodEnd(user);

  const receipt = await call("renew_token_subscription", { p_user_id: user });
  await letPeriodEnd(user);
  const none = await call("renew_token_subscription", { p_user_id: user });
  await db.admin.query("update public.token_plans set balance_cap = null");

  expect(receipt).toMatchObject({ tokens_granted: 390_000, tokens_remaining: 1_000_000 });
  expect(none).toMatchObject({ tokens_granted: 0, tokens_remaining: 1_000_000, transaction_id: null });
  await expectCleanBooks(db);
});

test("a plan with storage adds its quota once", async () => {
  const user = await createUser(db);
  await upgrade(user, "annual");
  await letPeriodEnd(user);
  await call("renew_token_subscription", { p_user_id: user });

  const quota = await asUser(db, user, (client) => rpc(client, "get_user_storage_quota"));

  expect(quota).toEqual({ total_quota_gb: 100 });
});

test("a gift lifts the plan limit, so that the balance is never above it", async () => {
  const user = await createUser(db);
  await grant(db, user, 5_000);

  expect(await standing(db, user)).toMatchObject({ limit: 15_000, balance: 15_000 });
  await expectCleanBooks(db);
});

test("an unknown plan is refused, and users may not upgrade themselves", async () => {
  const user = await createUser(db);

  await expect(upgrade(user, "platinum")).rejects.toMatchObject({ code: "PT404", message: "plan_not_found" });
  await expect(
    asUser(db, user, (client) =>
      rpc(client, "change_token_plan", { p_user_id: user, p_plan_type: "annual" }),
    ),
  ).rejects.toMatchObject({ code: "42501" });
});

/** Puts a user whose downgrade to the free plan is due on it by a renewal that nobody should make. */
async function renewAfterDowngrade(database: Database): Promise<string> {
  const user = await createUser(database);
  const ask = (name: string, args: object) =>
    asService(database, (client) => rpc(client, name, { p_user_id: user, ...args }));
  await ask("change_token_plan", { p_plan_type: "starter" });
  await ask("change_token_plan", { p_plan_type: "free" });
  await letPeriodEnd(user, database);
  return ask("renew_token_subscription", {}).then(
    (receipt) => `gave ${receipt.tokens_granted}`,
    (error: Error) => error.message,
  );
}

test("a downgrade to a plan without a price is in force when its time has come, whether anybody has looked or not", async () => {
  expect(await renewAfterDowngrade(db)).toBe("not_due_yet");

  const broken = await createDatabase();
  await applyMutant(broken, "downgrades-wait-to-be-looked-at");
  const seen = await renewAfterDowngrade(broken);
  await broken.drop();
  expect(seen, "the test sees it").toMatch(/^gave/);
});

test("a balance read does not wait for a lock to put a downgrade into effect, and tells of it all the same", async () => {
  const user = await createUser(db);
  await upgrade(user, "starter");
  await upgrade(user, "free");
  await letPeriodEnd(user);
  const locker = await db.admin.connect();
  await locker.query("begin");
  await locker.query("select from public.token_accounts where user_id = $1 for update", [user]);

  const began = Date.now();
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  const waited = Date.now() - began;
  await locker.query("rollback");
  locker.release();

  expect(balance).toMatchObject({ plan_type: "free", total_active: 410_000 });
  expect(waited).toBeLessThan(2_000);
});

test("a payment's event that comes again does not undo an upgrade that came after it", async () => {
  const user = await createUser(db);
  const event = {
    p_provider: "stripe",
    p_event_id: `again.${user}`,
    p_event_type: "x",
    p_provider_payment_id: `again.${user}`,
    p_facts: {
      kind: "paid",
      occurred_at: "2026-11-01T00:00:00Z",
      user_id: user,
      plan_type: "starter",
      amount_cents: 900,
      currency: "usd",
    },
  };
  await call("record_token_payment_event", event);
  await upgrade(user, "professional");

  await call("record_token_payment_event", event);

  expect(await standing(db, user)).toMatchObject({ plan: "professional" });
});
