/** What a user is told of their plan: that it ended, once whatever the reason; that a payment failed, once a period. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { moment } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { addPlans, breached, letPeriodEnd, pay, recorded, say, server, tell, touch } from "./readings.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await db.admin.query("update public.token_plans set is_default = false");
  await addPlans(db);
});
afterAll(async () => {
  expect(await breached(db)).toEqual([]);
  await db.drop();
});

const GRACE = 3 * 86_400;
const change = (user: string, plan: string) =>
  server(db, "change_token_plan", { p_user_id: user, p_plan_type: plan });
const cancel = (user: string, facts: Record<string, unknown> = {}) =>
  say(db, `sub_${user}`, {
    user_id: user,
    plan_type: "gold",
    status: "cancelled",
    cancel_at: moment(),
    ...facts,
  });
const payGold = (user: string, more: Record<string, unknown> = {}) =>
  pay(db, user, "gold", { id: `pi_${user}`, amount_cents: 1000, subscription_id: `sub_${user}`, ...more });
const refund = (user: string, cents = 1000, status = "succeeded") =>
  tell(db, `pi_${user}`, { kind: "refund", refund_id: "re_1", status, amount_cents: cents });
const dispute = (user: string, status: string) =>
  tell(db, `pi_${user}`, { kind: "dispute", dispute_id: "dp_1", status });
async function byHand(user: string) {
  const { payment_id: id } = await server(db, "create_token_payment", { p_user_id: user, p_to_plan: "gold" });
  await server(db, "approve_token_payment", { p_user_id: user, p_payment_id: id });
  return (cents?: number) =>
    server(db, "refund_token_payment", {
      p_user_id: user,
      p_payment_id: id,
      p_reason: "asked for it",
      ...(cents !== undefined && { p_refunded_cents: cents }),
    });
}

/** What they were told, in the order in which it was. */
async function told(user: string, kind = "subscription_ended"): Promise<string[]> {
  for (const _ of [1, 2]) await touch(db);
  const { rows } = await db.admin.query(
    "select payload ->> coalesce($3, 'ended_plan_type') as plan from public.token_alerts where user_id = $1 and kind = $2 order by id",
    [user, kind, kind === "subscription_past_due" ? "past_due_plan_type" : null],
  );
  return rows.map(({ plan }) => plan as string);
}

describe("that a plan ended", () => {
  test.each<[way: string, ends: (user: string) => Promise<unknown>, told: string[]]>([
    [
      "nobody renewed it",
      async (user) => {
        await payGold(user);
        await letPeriodEnd(db, user, GRACE);
      },
      ["gold"],
    ],
    [
      "a trial's tokens ended",
      async (user) => {
        await change(user, "trial");
        await letTimePass(db, user, 57);
      },
      ["trial"],
    ],
    [
      "cancelled at once",
      async (user) => {
        await payGold(user);
        await cancel(user);
      },
      ["gold"],
    ],
    [
      "cancelled before its payment was told",
      async (user) => {
        const start = moment();
        await cancel(user);
        await payGold(user, { period_start: start });
      },
      ["gold"],
    ],
    [
      "cancelled before its payment was told, with a free plan beside",
      async (user) => {
        await change(user, "free");
        const start = moment();
        await cancel(user);
        await payGold(user, { period_start: start });
      },
      ["gold"],
    ],
    [
      "cancelled at the end of its period, which came",
      async (user) => {
        await payGold(user);
        await cancel(user, { cancel_at: undefined });
        await letPeriodEnd(db, user, 0);
      },
      ["gold"],
    ],
    [
      "refunded in full",
      async (user) => {
        await payGold(user);
        await refund(user);
      },
      ["gold"],
    ],
    [
      "refunded in full, in two refunds",
      async (user) => {
        await payGold(user);
        await refund(user, 400);
        await tell(db, `pi_${user}`, {
          kind: "refund",
          refund_id: "re_2",
          status: "succeeded",
          amount_cents: 600,
        });
      },
      ["gold"],
    ],
    [
      "refunded before the payment was told",
      async (user) => {
        await refund(user);
        await payGold(user);
      },
      ["gold"],
    ],
    [
      "disputed, and the dispute was lost",
      async (user) => {
        await payGold(user);
        await dispute(user, "open");
        await dispute(user, "lost");
      },
      ["gold"],
    ],
    [
      "disputed, won, and disputed again: it ended twice",
      async (user) => {
        await payGold(user);
        await dispute(user, "open");
        await dispute(user, "won");
        await tell(db, `pi_${user}`, { kind: "dispute", dispute_id: "dp_2", status: "lost" });
      },
      ["gold", "gold"],
    ],
    [
      "refunded by hand, with a free plan beside",
      async (user) => {
        await change(user, "free");
        await (
          await byHand(user)
        )();
      },
      ["gold"],
    ],
    [
      "one after the other, before anybody looked",
      async (user) => {
        await pay(db, user, "strict", { period_start: moment() });
        await payGold(user, { period_start: moment() });
        await db.admin.query(
          // gold's period is the shorter one
          `update tokenbook.subscriptions set expires_at = expires_at - interval '10 days' where user_id = $1`,
          [user],
        );
        await letTimePass(db, user, 40);
      },
      ["gold", "strict"],
    ],
    [
      "ended by time, and refunded after that: once",
      async (user) => {
        await payGold(user);
        await letPeriodEnd(db, user, GRACE);
        await refund(user);
      },
      ["gold"],
    ],
    [
      "paused, and cancelled then",
      async (user) => {
        await payGold(user);
        await cancel(user, { status: "paused", cancel_at: undefined });
        await cancel(user);
      },
      ["gold"],
    ],
  ])("is told: %s", async (_way, ends, expected) => {
    const user = await createUser(db);
    await ends(user);
    expect(await told(user)).toEqual(expected);
  });

  test.each<[way: string, happens: (user: string) => Promise<unknown>]>([
    [
      "a higher plan took its place",
      async (user) => {
        await pay(db, user, "silver");
        await payGold(user);
      },
    ],
    [
      "a lower one followed, as asked for",
      async (user) => {
        await payGold(user);
        await change(user, "free");
        await letPeriodEnd(db, user, GRACE);
      },
    ],
    [
      "paused",
      async (user) => {
        await payGold(user);
        await cancel(user, { status: "paused", cancel_at: undefined });
      },
    ],
    [
      "refunded in part",
      async (user) => {
        await payGold(user);
        await refund(user, 999);
      },
    ],
    [
      "refunded, and renewed by a later payment before",
      async (user) => {
        await payGold(user);
        await pay(db, user, "gold");
        await refund(user);
      },
    ],
    [
      "a trial that another plan took the place of is over",
      async (user) => {
        await change(user, "trial");
        await pay(db, user, "silver");
        await letTimePass(db, user, 57);
      },
    ],
  ])("is not told: %s", async (_way, happens) => {
    const user = await createUser(db);
    await happens(user);
    expect(await told(user)).toEqual([]);
  });
});

/** Of everything that touches an account, how: with a hold and a deduction from before the plan's end. */
const touches: Record<
  string,
  (user: string, before: { hold_id: string; transaction_id: number }) => Promise<unknown>
> = {
  deduct: (user) => server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }),
  track: (user) =>
    server(db, "track_token_usage", {
      p_user_id: user,
      p_action_type: "chat",
      p_model_used: "small",
      p_tokens_used: 1,
    }),
  reserve: (user) => server(db, "reserve_tokens", { p_user_id: user, p_tokens: 1 }),
  capture: (user, { hold_id }) => server(db, "capture_tokens", { p_user_id: user, p_hold_id: hold_id }),
  release: (user, { hold_id }) => server(db, "release_tokens", { p_user_id: user, p_hold_id: hold_id }),
  refund: (user, { transaction_id }) =>
    server(db, "refund_tokens", { p_user_id: user, p_transaction_id: transaction_id, p_tokens: 1 }),
  grant: (user) => server(db, "grant_tokens", { p_user_id: user, p_tokens: 1 }),
  adjust: (user) => server(db, "adjust_tokens", { p_user_id: user, p_delta: -1, p_reason: "a test" }),
  batch: (user) => server(db, "deduct_tokens_batch", { p_items: [{ user_id: user, tokens: 1 }] }),
  balance: (user) => server(db, "get_user_token_balance", { p_user_id: user }),
  sweep: () => touch(db),
};

describe("the next call that locks the account writes the alert that its plan ended", () => {
  test.each(Object.keys(touches))("%s", async (way) => {
    const user = await createUser(db);
    await change(user, "gold");
    await letPeriodEnd(db, user, -10);
    const before = await server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 5 });
    const { hold_id } = await server(db, "reserve_tokens", { p_user_id: user, p_tokens: 5 });
    await letPeriodEnd(db, user, GRACE);
    expect(await recorded(db, user)).toEqual([]);

    for (const _ of [1, 2]) {
      await touches[way]!(user, { hold_id, transaction_id: before.transaction_id });
      expect(await recorded(db, user)).toEqual(["gold ended"]);
    }

    const { rows } = await db.admin.query(
      "select kind from public.token_alerts where user_id = $1 and kind = 'subscription_ended'",
      [user],
    );
    expect(rows).toHaveLength(1);
  });
});

test("a plan that was paused before its end is not followed, and its user goes on spending", async () => {
  await server(db, "set_token_plan", {
    p_plan_type: "drip",
    p_plan: { name: "Drip", tokens: 10, issue_every: "day", price_cents: 0, rank: 1 },
    p_reason: "a test",
  });
  for (const [seconds, then] of [
    [-3_600, "gold is paused"],
    [60, "gold is paused"],
    [GRACE - 60, "gold is paused"],
    [GRACE + 60, "gold ended"],
  ] as const) {
    const user = await createUser(db);
    await payGold(user);
    await change(user, "drip");
    await letPeriodEnd(db, user, seconds);
    const paused = new Date(Date.now() - (seconds + 7_200) * 1_000).toISOString();
    await cancel(user, { status: "paused", cancel_at: undefined, occurred_at: paused });

    for (const _ of [1, 2]) {
      const spent = await server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 });
      expect(spent, `${seconds} s after the end`).toMatchObject({ success: true, tokens_deducted: 1 });
    }
    expect(await recorded(db, user)).toEqual([then]);
  }
});

describe("that a payment failed", () => {
  const fails = (user: string, facts: Record<string, unknown> = {}) =>
    say(db, `sub_${user}`, { user_id: user, status: "past_due", ...facts });
  const pastDue = (user: string) => told(user, "subscription_past_due");

  test("once, however often the provider tries, and also when its grace is over", async () => {
    const user = await createUser(db);
    await change(user, "free");
    await payGold(user);
    await letPeriodEnd(db, user, 60);
    for (const plan of [undefined, "gold", undefined]) await fails(user, { plan_type: plan });
    await letPeriodEnd(db, user, GRACE);
    await fails(user, { plan_type: "gold" });

    expect(await pastDue(user)).toEqual(["gold"]);
    expect(await told(user)).toEqual(["gold"]);
  });

  test("by one failure's two events, of a subscription that nobody had told of before: once, with the plan", async () => {
    const user = await createUser(db);
    await payGold(user, { customer_id: `cus_${user}` });
    await letPeriodEnd(db, user, 60);
    await say(db, `sub_${user}`, { customer_id: `cus_${user}`, status: "past_due" });
    await say(db, `sub_${user}`, { customer_id: `cus_${user}`, status: "past_due", plan_type: "gold" });

    expect(await pastDue(user)).toEqual(["gold"]);
  });

  test("of the next period again, whether the provider said that all was well between or not", async () => {
    for (const saysSo of [true, false]) {
      const user = await createUser(db);
      await payGold(user);
      await letPeriodEnd(db, user, 60);
      await fails(user, { plan_type: "gold" });
      await pay(db, user, "gold");
      if (saysSo) await say(db, `sub_${user}`, { user_id: user, plan_type: "gold", status: "active" });
      await letPeriodEnd(db, user, 60);
      await fails(user, { plan_type: "gold" });
      await fails(user, { plan_type: "gold" });

      expect(await pastDue(user), `says so: ${saysSo}`).toEqual(["gold", "gold"]);
    }
  });

  test("of what was never paid for here: once, until the provider says that all is well", async () => {
    const user = await createUser(db);
    await change(user, "free");
    for (const _ of [1, 2]) await fails(user, { plan_type: "gold" });
    expect(await pastDue(user)).toEqual(["gold"]);

    await say(db, `sub_${user}`, { user_id: user, plan_type: "gold", status: "active" });
    for (const _ of [1, 2]) await fails(user, { plan_type: "gold" });
    expect(await pastDue(user)).toEqual(["gold", "gold"]);
  });
});
