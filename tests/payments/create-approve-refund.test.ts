import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { giveFreePlanAtRegistration, show, standing } from "../support/plans.ts";
import { storm } from "../support/storm.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

const asksFor = (user: string, plan: string, key?: string, on = db) =>
  asUser(on, user, (client) =>
    rpc(client, "create_token_payment", {
      p_user_id: user,
      p_to_plan: plan,
      ...(key && { p_idempotency_key: key }),
    }),
  );
const decide = (name: string, user: string, payment: string, reason?: string) =>
  asAdmin(db, admin, (client) =>
    rpc(client, name, { p_user_id: user, p_payment_id: payment, ...(reason && { p_reason: reason }) }),
  );

test("an approved payment adds the plan's tokens, and limit and balance are 2,010,000 both", async () => {
  const user = await createUser(db);
  const { payment_id, amount_cents, status } = await asksFor(user, "professional");
  const before = await standing(db, user);

  const receipt = await decide("approve_token_payment", user, payment_id, "bank transfer of 20 November");

  const after = await standing(db, user);
  show("approval", before, after);
  expect({ amount_cents, status }).toEqual({ amount_cents: 3_900, status: "pending" });
  expect(receipt).toMatchObject({
    success: true,
    status: "approved",
    plan_type: "professional",
    tokens_granted: 2_000_000,
    tokens_limit: 2_010_000,
    tokens_remaining: 2_010_000,
    replayed: false,
  });
  expect(after).toEqual({ plan: "professional", limit: 2_010_000, balance: 2_010_000, owed: 0 });
  const { rows } = await db.admin.query(
    "select reason, actor_role, actor_id, payment_id from public.token_transactions where user_id = $1 and id = 2",
    [user],
  );
  expect(rows).toEqual([
    { reason: "bank transfer of 20 November", actor_role: "admin", actor_id: admin, payment_id },
  ]);
});

test("approving twice changes nothing and says so", async () => {
  const user = await createUser(db);
  const { payment_id } = await asksFor(user, "starter");
  const first = await decide("approve_token_payment", user, payment_id);

  expect(await decide("approve_token_payment", user, payment_id)).toEqual({ ...first, replayed: true });
  expect(await standing(db, user)).toMatchObject({ balance: 410_000 });
});

test("what was rejected cannot be approved, nor the other way round", async () => {
  const user = await createUser(db);
  const rejected = (await asksFor(user, "starter")).payment_id;
  const approved = (await asksFor(user, "starter")).payment_id;
  expect(await decide("reject_token_payment", user, rejected, "no money came")).toMatchObject({
    status: "rejected",
    replayed: false,
  });
  expect(await decide("reject_token_payment", user, rejected, "no money came")).toMatchObject({
    status: "rejected",
    replayed: true,
  });
  await decide("approve_token_payment", user, approved);

  await expect(decide("approve_token_payment", user, rejected)).rejects.toMatchObject({
    code: "PT409",
    message: "payment_already_decided",
    detail: '{"status": "rejected"}',
  });
  await expect(decide("reject_token_payment", user, approved, "too late")).rejects.toMatchObject({
    code: "PT409",
    message: "payment_already_decided",
  });
  expect(await standing(db, user)).toMatchObject({ plan: "starter", balance: 410_000 });
});

test("a rejection needs a reason, and an unknown payment is said to be unknown", async () => {
  const user = await createUser(db);
  const { payment_id } = await asksFor(user, "starter");

  await expect(
    asAdmin(db, admin, (client) =>
      rpc(client, "reject_token_payment", { p_user_id: user, p_payment_id: payment_id, p_reason: null }),
    ),
  ).rejects.toMatchObject({ message: "invalid_reason" });
  await expect(
    decide("approve_token_payment", user, "00000000-0000-4000-8000-00000000dead"),
  ).rejects.toMatchObject({ code: "PT404", message: "payment_not_found" });
});

test("asking twice with one key is one payment; a user neither approves nor sees another's", async () => {
  const [user, other] = [await createUser(db), await createUser(db)];
  const first = await asksFor(user, "grow", "ask-1");
  expect(await asksFor(user, "grow", "ask-1")).toEqual({ ...first, replayed: true });
  await expect(asksFor(user, "starter", "ask-1")).rejects.toMatchObject({
    message: "idempotency_key_reused",
  });

  await expect(
    asUser(db, user, (client) =>
      rpc(client, "approve_token_payment", { p_user_id: user, p_payment_id: first.payment_id }),
    ),
  ).rejects.toMatchObject({ code: "42501" });
  const { rows } = await asUser(db, other, (client) => client.query("select * from public.token_payments"));
  expect(rows).toEqual([]);
});

test("a refund of a manual payment takes its share back, in full the plan too, and a repetition nothing", async () => {
  const user = await createUser(db);
  const { payment_id } = await asksFor(user, "professional");
  await decide("approve_token_payment", user, payment_id);
  const refund = (cents?: number) =>
    asAdmin(db, admin, (client) =>
      rpc(client, "refund_token_payment", {
        p_user_id: user,
        p_payment_id: payment_id,
        p_reason: "asked for it",
        ...(cents !== undefined && { p_refunded_cents: cents }),
      }),
    );
  const before = await standing(db, user);

  expect(await refund(1_950)).toMatchObject({
    status: "approved",
    tokens_clawed_back: 1_000_000,
    replayed: false,
  });
  expect(await standing(db, user)).toEqual({
    plan: "professional",
    limit: 1_010_000,
    balance: 1_010_000,
    owed: 0,
  });
  expect(await refund(1_950)).toMatchObject({ tokens_remaining: 1_010_000, replayed: true });
  await expect(refund(-1)).rejects.toMatchObject({ message: "invalid_amount" });
  await expect(refund(3_901)).rejects.toMatchObject({ message: "invalid_amount" });
  expect(await refund()).toMatchObject({
    status: "refunded",
    tokens_clawed_back: 2_000_000,
    replayed: false,
  });

  const after = await standing(db, user);
  show("refund of a manual payment", before, after);
  expect(after).toEqual({ plan: "free", limit: 10_000, balance: 10_000, owed: 0 });
  await expect(decide("approve_token_payment", user, payment_id)).rejects.toMatchObject({
    message: "payment_already_decided",
  });
  const { rows } = await db.admin.query(
    "select actor_role, actor_id, reason from public.token_transactions where user_id = $1 and entry_type = 'clawback' limit 1",
    [user],
  );
  expect(rows).toEqual([{ actor_role: "admin", actor_id: admin, reason: "refunded asked for it" }]);
  await expectCleanBooks(db);
});

describe("a refund of a manual payment that bounced", () => {
  /** All of it is refunded by hand, half of that bounces, and then the rest: what the user has at each step. */
  async function bounced(on: Database) {
    const user = await createUser(on);
    const { payment_id } = await asksFor(user, "professional", undefined, on);
    const call = (name: string, more: object = {}) =>
      asService(on, (client) => rpc(client, name, { p_user_id: user, p_payment_id: payment_id, ...more }));
    await call("approve_token_payment");
    const steps = [{ receipt: {}, ...(await standing(on, user)) }];
    for (const cents of [0, 3_900, 1_950, 0]) {
      const { status, refunded_cents, replayed } = await call("refund_token_payment", {
        p_reason: "by transfer",
        p_refunded_cents: cents,
      });
      steps.push({ receipt: { status, refunded_cents, replayed }, ...(await standing(on, user)) });
    }
    const { rows } = await on.admin.query("select * from public.verify_token_ledger($1)", [user]);
    return { steps, rows };
  }
  const paid = { plan: "professional", limit: 2_010_000, balance: 2_010_000, owed: 0 };
  const half = { plan: "professional", limit: 1_010_000, balance: 1_010_000, owed: 0 };
  const none = { plan: "free", limit: 10_000, balance: 10_000, owed: 0 };
  const right = {
    steps: [
      { receipt: {}, ...paid },
      { receipt: { status: "approved", refunded_cents: 0, replayed: true }, ...paid },
      { receipt: { status: "refunded", refunded_cents: 3_900, replayed: false }, ...none },
      { receipt: { status: "approved", refunded_cents: 1_950, replayed: false }, ...half },
      { receipt: { status: "approved", refunded_cents: 0, replayed: false }, ...paid },
    ],
    rows: [],
  };

  test("is undone, in part or to 0, and the plan is in force again", async () => {
    expect(await bounced(db)).toEqual(right);
  });

  test("the test sees it: refunds-by-hand-only-grow", { tags: ["proof"] }, async () => {
    const bad = await createDatabase();
    try {
      await giveFreePlanAtRegistration(bad);
      await applyMutant(bad, "refunds-by-hand-only-grow");
      const { steps } = await bounced(bad);
      expect(steps.slice(0, 3)).toEqual(right.steps.slice(0, 3));
      expect(steps.slice(3)).not.toEqual(right.steps.slice(3));
    } finally {
      await bad.drop();
    }
  });
});

test("40 connections approving the same payment have one effect", async () => {
  const user = await createUser(db);
  const { payment_id } = await asksFor(user, "professional");

  const outcome = await storm(db, {
    connections: 40,
    attempts: 400,
    run: async (client) => {
      const { rows } = await client.query(
        "select public.approve_token_payment($1, $2) ->> 'replayed' as replayed",
        [user, payment_id],
      );
      return rows[0].replayed === "true" ? "replayed" : "effect";
    },
  });

  console.log(`approvals: mix=${JSON.stringify(outcome.mix)}`);
  expect(outcome.mix).toEqual({ effect: 1, replayed: 399 });
  expect(await standing(db, user)).toMatchObject({ limit: 2_010_000, balance: 2_010_000 });
  await expectCleanBooks(db);
});
