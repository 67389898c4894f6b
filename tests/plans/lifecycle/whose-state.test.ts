/** Which state counts for a period: that of the subscription that paid for it; none, where it was paid once. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { ordersOf } from "../../support/orders.ts";
import { createUser } from "../../support/roles.ts";
import { addPlans, breached, pay, say, server, tell } from "./readings.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await db.admin.query("update public.token_plans set is_default = false");
  await addPlans(db);
});
afterAll(async () => {
  expect(await breached(db)).toEqual([]);
  await db.drop();
}, 240_000);

const now = Date.now();
/** A moment so many minutes ago. */
const ago = (minutes: number) => new Date(now - minutes * 60_000).toISOString();
const isOver = "none inactive ended";
const hasNoGrace = "gold active active, without grace, not renewed";

/** How a subscription ends or pauses, and what is right for the period that it has paid for. */
const ends: Record<string, { provider?: string; facts: Record<string, unknown>; right: string }> = {
  "deleted at once": { facts: { status: "cancelled", cancel_at: ago(5) }, right: isOver },
  "cancelled at the end of its period": {
    facts: { status: "active", cancel_at: "the end", current_period_end: "the end" },
    right: hasNoGrace,
  },
  paused: { facts: { status: "paused" }, right: "none inactive paused" },
  "cancelled at PayPal": { provider: "paypal", facts: { status: "cancelled" }, right: hasNoGrace },
};

let nth = 0;
/** Somebody, and what a provider tells of them. */
async function somebody({ provider = "stripe", isKnown = true } = {}) {
  const user = await createUser(db);
  const subscription = `sub_whose_${++nth}`;
  const { rows } = await db.admin.query(
    "select to_json(tokenbook.period_end(p, $1)) as ends from public.token_plans p where plan_type = 'gold'",
    [ago(60)],
  );
  const them = isKnown ? { user_id: user, customer_id: `cus_whose_${nth}` } : {};
  return {
    user,
    provider,
    paid: (facts: Record<string, unknown> = {}, id = `pi_whose_${subscription}`) =>
      tell(
        db,
        id,
        {
          kind: "paid",
          ...them,
          amount_cents: 1000,
          period_start: ago(60),
          subscription_id: subscription,
          occurred_at: ago(60),
          ...facts,
        },
        { provider },
      ),
    says: (minutes: number, facts: Record<string, unknown>) =>
      say(
        db,
        subscription,
        {
          ...them,
          occurred_at: ago(minutes),
          ...Object.fromEntries(
            Object.entries(facts).map(([key, it]) => [key, it === "the end" ? rows[0].ends : it]),
          ),
        },
        { provider },
      ),
    assigned: () =>
      server(db, "assign_parked_token_payment", {
        p_provider: provider,
        p_provider_payment_id: `pi_whose_${subscription}`,
        p_user_id: user,
        p_plan_type: "gold",
      }),
  };
}

async function shown(user: string): Promise<string> {
  const { rows } = await db.admin.query(
    "select *, in_force_until = expires_at as has_no_grace from public.token_subscriptions where user_id = $1",
    [user],
  );
  const { plan_type, is_active, status, has_no_grace, auto_renew } = rows[0];
  const line = `${plan_type ?? "none"} ${is_active ? "active" : "inactive"} ${status}`;
  if (!is_active) return line;
  return `${line}, ${has_no_grace ? "without" : "with"} grace, ${auto_renew ? "renewed" : "not renewed"}`;
}

/** How often each state came of a story, told in each of these orders. */
async function told(story: () => Promise<{ user: string; steps: (() => Promise<unknown>)[][] }>) {
  const came: Record<string, number> = {};
  const { steps: first } = await story();
  for (const [n] of first.entries()) {
    const { user, steps } = await story();
    for (const step of steps[n]!) await step();
    const state = await shown(user);
    came[state] = (came[state] ?? 0) + 1;
  }
  console.log(came);
  return { states: Object.keys(came), orders: first.length };
}

describe.each(Object.entries(ends))("a subscription that is %s", (_how, { provider, facts, right }) => {
  test.each([
    ["a lower plan", { plan_type: "silver", price_id: "price_silver" }],
    ["nothing in the catalogue", { price_id: "price_unheard_of" }],
  ])("says it of the period that it has paid for, in every order: it is %s by then", async (_what, is) => {
    const { states, orders: tried } = await told(async () => {
      const { user, paid, says } = await somebody({ provider });
      const steps = [
        () => says(60, { status: "active", plan_type: "gold" }),
        async () => {
          await paid({ plan_type: "gold" });
          await paid(
            { parked_reason: "proration", amount_cents: 700, occurred_at: ago(30) },
            `pi_part_${user}`,
          );
        },
        () => says(30, { status: "active", ...is }),
        () => says(5, { ...is, ...facts }),
      ];
      return { user, steps: ordersOf(steps) };
    });

    expect(states).toEqual([right]);
    expect(tried).toBe(24);
  });

  test.each([
    ["the user is known", true],
    ["nobody is known", false],
  ])("says it of a payment of no known price that was assigned: %s", async (_what, isKnown) => {
    const { states, orders: tried } = await told(async () => {
      const { user, paid, says, assigned } = await somebody({ provider, isKnown });
      const pays = () => paid({ price_id: "price_x", parked_reason: "price_unknown" });
      const steps = [
        pays,
        () => says(60, { status: "active", price_id: "price_x" }),
        () => says(5, { price_id: "price_x", ...facts }),
        assigned,
      ];
      const possible = ordersOf(steps).filter((order) => order.indexOf(pays) < order.indexOf(assigned));
      return { user, steps: possible };
    });

    expect(states).toEqual([right]);
    expect(tried).toBe(12);
  });

  test("says nothing of what was paid once for the same plan, in every order, whether it has paid itself or not", async () => {
    for (const paysItself of [false, true]) {
      const { states } = await told(async () => {
        const { user, paid, says } = await somebody({ provider });
        const steps = [
          () => pay(db, user, "gold", { provider, occurred_at: ago(20) }),
          () => says(60, { status: "active", plan_type: "gold" }),
          () => says(5, { plan_type: "gold", ...facts }),
          ...(paysItself ? [() => paid({ plan_type: "gold" })] : []),
        ];
        return { user, steps: ordersOf(steps) };
      });

      expect(states, `it has paid itself: ${paysItself}`).toEqual([
        "gold active active, with grace, not renewed",
      ]);
    }
  });

  test("says it of its own period alone, in every order: another one to the plan has paid for nothing", async () => {
    const { states } = await told(async () => {
      const { user, paid, says } = await somebody({ provider });
      const steps = [
        () => paid({ plan_type: "gold" }),
        () => says(5, { plan_type: "gold", ...facts }),
        () =>
          say(
            db,
            `sub_other_${user}`,
            { user_id: user, plan_type: "gold", status: "active", occurred_at: ago(10) },
            { provider },
          ),
      ];
      return { user, steps: ordersOf(steps) };
    });

    expect(states).toEqual([right]);
  });

  test("says it of a period whose payment names no subscription, in every order", async () => {
    const { states } = await told(async () => {
      const { user, paid, says } = await somebody({ provider });
      const steps = [
        () => paid({ plan_type: "gold", subscription_id: undefined }),
        () => says(60, { status: "active", plan_type: "gold" }),
        () => says(5, { plan_type: "gold", ...facts }),
      ];
      return { user, steps: ordersOf(steps) };
    });

    expect(states).toEqual([right]);
  });
});
