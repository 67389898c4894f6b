/** Payments that a provider tells of when the period that they paid for is long over. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { letTimePass } from "../../support/time.ts";
import { giveFreePlanAtRegistration, standing } from "../../support/plans.ts";
import { recordPaymentEvent } from "../../support/provider-events.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
});
afterAll(() => db.drop());

/** The first of a month, that many months ago. */
const monthsAgo = (months: number) => {
  const now = new Date();
  const first = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 1));
  return first.toISOString().replace(".000Z", "+00:00");
};
const [OLD, PRESENT] = [monthsAgo(5), monthsAgo(0)];

/** Someone on the free plan for a year. */
async function oldUser(): Promise<string> {
  const user = await createUser(db);
  await letTimePass(db, user, 365);
  return user;
}

const call = (name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));
const pay = (user: string, payment: string, plan: string, periodStart: string) =>
  event(user, payment, {
    kind: "paid",
    user_id: user,
    plan_type: plan,
    amount_cents: 900,
    currency: "usd",
    period_start: periodStart,
  });
const event = (user: string, payment: string, facts: Record<string, unknown>) =>
  recordPaymentEvent(db, `${payment}.${user}`, facts, {
    event: `${payment}.${String(facts["kind"])}.${user}`,
  });

async function subscription(user: string) {
  const { rows } = await db.admin.query(
    `select to_jsonb(s) - 'updated_at' - 'tokens_limit' as row from public.token_subscriptions s where s.user_id = $1`,
    [user],
  );
  return rows[0].row as Record<string, unknown>;
}

test("two late payments for one old period give their tokens and leave the present period as it is", async () => {
  const user = await oldUser();
  await pay(user, "present", "professional", PRESENT);
  const present = await subscription(user);

  await pay(user, "late-1", "starter", OLD);
  await pay(user, "late-2", "starter", OLD);

  expect(await subscription(user)).toEqual(present);
  expect(await standing(db, user)).toMatchObject({
    plan: "professional",
    balance: 2_810_000,
    limit: 2_810_000,
  });
  await expectCleanBooks(db);
});

test("nor do they when that period was renewed at its time, and the next renewal is the next period", async () => {
  const user = await oldUser();
  // as if each renewal had come at its time, and none after the plan had ended
  await db.admin.query("update public.token_plans set grace_days = 365 where plan_type = 'starter'");
  await pay(user, "first", "starter", OLD);
  for (let months = 0; months < 5; months++) await call("renew_token_subscription", { p_user_id: user });
  await db.admin.query("update public.token_plans set grace_days = null where plan_type = 'starter'");
  const present = await subscription(user);
  expect(present).toMatchObject({ period_start: PRESENT });

  await pay(user, "late-1", "starter", monthsAgo(2)); // what that renewal gave
  await pay(user, "late-2", "starter", monthsAgo(2)); // a grant of its own

  expect(await subscription(user)).toEqual(present);
  expect(await standing(db, user)).toMatchObject({ balance: 10_000 + 7 * 400_000 });
  await expect(call("renew_token_subscription", { p_user_id: user })).rejects.toMatchObject({
    message: "not_due_yet",
  });
  await expectCleanBooks(db);
});

test("a late payment does not bring back the plan of someone who has gone back to the free one", async () => {
  const user = await oldUser();
  await pay(user, "first", "starter", OLD);
  const present = await subscription(user);
  expect(present).toMatchObject({ plan_type: "free", expires_at: null });

  await pay(user, "late", "starter", OLD);

  expect(await subscription(user)).toEqual(present);
  expect(await standing(db, user)).toMatchObject({ plan: "free", balance: 810_000 });
});

test("a payment puts a new user on its plan although its period began before they registered", async () => {
  const user = await createUser(db);

  await pay(user, "first", "starter", PRESENT);

  expect(await subscription(user)).toMatchObject({ plan_type: "starter", period_start: PRESENT });
});

test("a late payment that is refunded takes its tokens along and leaves the present plan", async () => {
  const user = await oldUser();
  await pay(user, "present", "professional", PRESENT);
  const present = await subscription(user);
  await pay(user, "late", "starter", OLD);

  await event(user, "late", { kind: "refunded", refunded_cents: 900 });

  expect(await subscription(user)).toEqual(present);
  expect(await standing(db, user)).toMatchObject({ plan: "professional", balance: 2_010_000, owed: 0 });
  await expectCleanBooks(db);
});

test("payments of two periods end in one state, whichever is told of first", async () => {
  const states = await Promise.all(
    [
      [OLD, PRESENT],
      [PRESENT, OLD],
    ].map(async (starts) => {
      const user = await oldUser();
      for (const [nth, start] of starts.entries()) await pay(user, `pi_${nth}`, "starter", start);
      const { plan_type, period_start, expires_at, payment_method } = await subscription(user);
      return { plan_type, period_start, expires_at, payment_method, ...(await standing(db, user)) };
    }),
  );

  expect(states[0]).toMatchObject({ period_start: PRESENT, balance: 810_000 });
  expect(states[1]).toEqual(states[0]);
});

/** Pays a period ahead, has the money back, renews the period by hand, and pays for it again: what there is each time. */
async function paidAgain(on: Database) {
  const user = await createUser(on);
  const tell = (payment: string, facts: Record<string, unknown>) =>
    recordPaymentEvent(on, `${payment}.${user}`, { occurred_at: new Date().toISOString(), ...facts });
  const bought = { kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900, currency: "usd" };
  const ask = (name: string, args = {}) =>
    asService(on, (client) => rpc(client, name, { p_user_id: user, ...args }));
  const has = async () => (await ask("get_user_token_balance")).total_active as number;
  // a month that ended an hour ago, so that its plan is in force still
  const { rows } = await on.admin.query("select now() - interval '1 hour' - interval '1 month' as begins");
  await tell("before", { ...bought, period_start: rows[0].begins });
  const shown = await on.admin.query("select expires_at from public.token_subscriptions where user_id = $1", [
    user,
  ]);
  const paid = { ...bought, period_start: shown.rows[0].expires_at };
  const before = await has();
  await tell("first", paid);
  await tell("first", { kind: "refund", refund_id: "re", status: "succeeded", amount_cents: 900 });
  const refunded = await has();
  const first = await ask("renew_token_subscription");
  const second = await ask("renew_token_subscription", { p_period_start: paid.period_start }).catch(String);
  const renewed = await has();
  await tell("second", paid);
  const again = await has();
  await tell("second", { kind: "refund", refund_id: "re_2", status: "succeeded", amount_cents: 900 });
  return {
    gave: {
      refund: refunded - before,
      renewal: renewed - refunded,
      payment: again - renewed,
      refundAgain: (await has()) - again,
    },
    isRenewedOnce: second.transaction_id === first.transaction_id,
  };
}

const RENEWED = {
  gave: { refund: 0, renewal: 400_000, payment: 0, refundAgain: -400_000 },
  isRenewedOnce: true,
};

test("a period that was refunded, renewed by hand and paid for again gives once", async () => {
  expect(await paidAgain(db)).toEqual(RENEWED);
  await expectCleanBooks(db);
});

test("the test sees it: renewals-after-a-refund-are-forgotten", { tags: ["proof"] }, async () => {
  const bad = await createDatabase();
  await giveFreePlanAtRegistration(bad);
  await applyMutant(bad, "renewals-after-a-refund-are-forgotten");

  expect(await paidAgain(bad)).not.toEqual(RENEWED);
  await bad.drop();
});
