/** Which of a user's plans counts: what somebody pays for before what nobody does, then the rank; by whichever way it came. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { moment } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";
import { addPlans, breached, letPeriodEnd, pay, read, say, server } from "./readings.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await db.admin.query("update public.token_plans set is_default = false");
  await addPlans(db); // strict 11, silver 12, gold 14: each costs something; free 0 and trial 5 cost nothing
  for (const [plan, fields] of Object.entries({
    unranked: { tokens: 300, price_cents: 700, billing_cycle: "monthly" },
    yearly: { tokens: 100, price_cents: 7000, billing_cycle: "annual", issue_every: "month" },
    vip: { tokens: 50, rank: 50 },
    week: { tokens: 20, rank: 60, grant_type: "trial", grant_lifetime_days: 7 },
  }))
    await server(db, "set_token_plan", {
      p_plan_type: plan,
      p_plan: { name: plan, ...fields },
      p_reason: "a test",
    });
});
afterAll(async () => {
  expect(await breached(db)).toEqual([]);
  await db.drop();
});

const shown = async (user: string) => (await read(db, user)).shown;
const change = (user: string, plan: string, more = {}) =>
  server(db, "change_token_plan", { p_user_id: user, p_plan_type: plan, ...more });
const approve = async (user: string, plan: string) => {
  const { payment_id } = await server(db, "create_token_payment", { p_user_id: user, p_to_plan: plan });
  return server(db, "approve_token_payment", { p_user_id: user, p_payment_id: payment_id });
};

const ways: Record<string, (user: string, plan: string) => Promise<{ plan_in_force?: string }>> = {
  "paid at Stripe": (user, plan) => pay(db, user, plan),
  "paid at Stripe, with its period": (user, plan) => pay(db, user, plan, { period_start: moment() }),
  "approved by an admin": approve,
  "changed by the server": (user, plan) => change(user, plan),
};

describe.each(Object.entries(ways))("%s", (_way, buy) => {
  test.each([
    ["free", "unranked"],
    ["trial", "unranked"],
    ["week", "yearly"],
    ["vip", "unranked"],
    ["vip", "yearly"],
    ["vip", "gold"],
  ])("who is on %s, for which nobody pays, and pays for %s is on that at once", async (was, bought) => {
    const user = await createUser(db);
    await change(user, was);

    const answer = await buy(user, bought);

    expect(await shown(user)).toBe(`${bought} active active`);
    if ("plan_in_force" in answer) expect(answer.plan_in_force).toBe(bought);
    const { rows } = await db.admin.query(
      "select schedule is not null as gives_more, next_slot_at is not null as at from public.token_subscriptions where user_id = $1",
      [user],
    );
    const isScheduled = bought === "yearly";
    expect(rows).toEqual([{ gives_more: isScheduled, at: isScheduled }]);
  });

  test("a lower rank waits for a higher one that somebody pays for, and the answer says which counts", async () => {
    const user = await createUser(db);
    await pay(db, user, "gold");

    const answer = await buy(user, "unranked");

    expect(await shown(user)).toBe("gold active active");
    expect(answer).toMatchObject(
      "effective" in answer ? { effective: "period_end" } : { plan_type: "unranked", plan_in_force: "gold" },
    );
  });
});

test("a payment and a change come to the same plan, whatever was in force and is bought", async () => {
  const before = ["none", "free", "trial", "week", "vip", "unranked", "silver", "gold", "gold then vip"];
  const bought = ["free", "vip", "unranked", "yearly", "strict", "gold"];
  const disagreeing: string[] = [];
  for (const was of before)
    for (const plan of bought) {
      const came: string[] = [];
      for (const buy of [approve, change]) {
        const user = await createUser(db);
        if (was === "gold then vip") {
          await pay(db, user, "gold");
          await change(user, "vip", { p_payment_id: "contract-7" });
        } else if (["unranked", "silver", "gold"].includes(was)) await pay(db, user, was);
        else if (was !== "none") await change(user, was);
        await buy(user, plan);
        came.push(await shown(user));
      }
      // what has no end, its own server may end
      const isLeft = (was === "vip" && plan === "free") || was === "gold then vip";
      if (came[0] !== came[1] && !isLeft) disagreeing.push(`${was}, ${plan}: ${came.join(" or ")}`);
    }
  console.log(`combinations=${before.length * bought.length} disagreeing=${disagreeing.length}`);
  expect(disagreeing).toEqual([]);
});

test("what nobody pays for waits for the end of what somebody does, whatever its rank", async () => {
  const user = await createUser(db);
  await pay(db, user, "gold");

  expect(await change(user, "vip")).toMatchObject({ effective: "period_end" });
  await approve(user, "free"); // a payment of nothing
  expect(await shown(user)).toBe("gold active active");

  await letPeriodEnd(db, user, 0);
  expect(await shown(user)).toBe("vip active active");
});

test("with a number of what it is paid by (a contract), a plan without a price counts by its rank", async () => {
  const user = await createUser(db);
  await pay(db, user, "gold");

  expect(await change(user, "vip", { p_payment_id: "contract-7" })).toMatchObject({ effective: "now" });
  await pay(db, user, "gold");

  expect(await shown(user)).toBe("vip active active");
});

test("a paid plan that was paused takes its place back from a trial of a higher rank", async () => {
  const user = await createUser(db);
  const says = (status: string) => say(db, `sub_${user}`, { user_id: user, plan_type: "unranked", status });
  await change(user, "week");
  await pay(db, user, "unranked", { subscription_id: `sub_${user}` });
  await says("paused");
  expect(await shown(user)).toBe("week active active");

  await says("active");
  expect(await shown(user)).toBe("unranked active active");
});

describe("auto_renew: somebody has said that they will charge again", () => {
  const renews = async (user: string) =>
    (
      await db.admin.query(
        "select auto_renew, in_force_until = expires_at as has_no_grace from public.token_subscriptions where user_id = $1",
        [user],
      )
    ).rows[0];

  test.each<[string, (user: string) => Promise<unknown>, boolean]>([
    ["a subscription's payment at Stripe", (user) => pay(db, user, "gold", { period_start: moment() }), true],
    [
      "a subscription's payment at PayPal",
      (user) => pay(db, user, "gold", { provider: "paypal", period_start: moment() }),
      true,
    ],
    ["a single order", (user) => pay(db, user, "gold", { provider: "paypal" }), false],
    ["a payment by hand", (user) => approve(user, "gold"), false],
    ["a change by the server", (user) => change(user, "gold", { p_payment_method: "card" }), false],
    ["a plan without an end", (user) => change(user, "free"), false],
    [
      "a subscription's payment, and then one by hand",
      async (user) => {
        await pay(db, user, "gold", { period_start: moment() });
        await approve(user, "gold");
      },
      false,
    ],
    [
      "a payment, and a subscription that its provider tells of",
      async (user) => {
        await pay(db, user, "gold", { subscription_id: `sub_${user}` });
        await say(db, `sub_${user}`, { user_id: user, plan_type: "gold", status: "active" });
      },
      true,
    ],
    [
      "a single order, and a subscription to the same plan that nothing was paid for",
      async (user) => {
        await pay(db, user, "gold");
        await say(db, `sub_${user}`, { user_id: user, plan_type: "gold", status: "active" });
      },
      false,
    ],
    [
      "one that was cancelled, and then paid by hand",
      async (user) => {
        await pay(db, user, "gold", { period_start: moment() });
        await say(db, `sub_${user}`, {
          user_id: user,
          plan_type: "gold",
          status: "cancelled",
          cancel_at: moment(),
        });
        await approve(user, "gold");
      },
      false,
    ],
    [
      "a renewal of a subscription's period before its payment came",
      async (user) => {
        await pay(db, user, "gold", { period_start: moment() });
        await letPeriodEnd(db, user, 60);
        await server(db, "renew_token_subscription", { p_user_id: user });
      },
      true,
    ],
  ])("%s", async (_what, begin, is) => {
    const user = await createUser(db);
    await begin(user);
    expect((await renews(user)).auto_renew).toBe(is);
  });

  test("where a plan follows that begins by itself, the higher one has no grace, and nobody renews either", async () => {
    const user = await createUser(db);
    await approve(user, "gold");
    expect(await renews(user)).toEqual({ auto_renew: false, has_no_grace: false });
    await change(user, "free");
    expect(await renews(user)).toEqual({ auto_renew: false, has_no_grace: true });

    await letPeriodEnd(db, user, 0);
    expect(await shown(user)).toBe("free active active");
    expect(await renews(user)).toEqual({ auto_renew: false, has_no_grace: null });
  });
});

describe("cancelled in the second in which the period began", () => {
  const at = "2026-11-26T10:00:00Z";
  const cancelled = (user: string, id: string) =>
    say(db, id, { user_id: user, plan_type: "gold", status: "cancelled", cancel_at: at, occurred_at: at });

  test.each([
    ["by the subscription that paid for it: over", "own", "none inactive ended"],
    ["by another one: that was before", "other", "gold active active"],
    ["where no payment names its subscription: that was before", undefined, "gold active active"],
  ])("%s, in either order", async (_what, named, is) => {
    for (const paysFirst of [true, false]) {
      const user = await createUser(db);
      const steps = [
        () =>
          pay(db, user, "gold", {
            period_start: at,
            ...(named !== undefined && { subscription_id: `sub_${named}_${user}` }),
          }),
        () => cancelled(user, `sub_own_${user}`),
      ];
      for (const step of paysFirst ? steps : steps.toReversed()) await step();
      expect(await shown(user), `pays first: ${paysFirst}`).toBe(is);
    }
  });
});
