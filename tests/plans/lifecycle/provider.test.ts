/** What a provider says of a subscription: cancelled, past due, paused; in whatever order it says so. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { moment } from "../../support/provider-events.ts";
import { ordersOf } from "../../support/orders.ts";
import { createUser } from "../../support/roles.ts";
import { addPlans, breached, letPeriodEnd, pay, read, recorded, say, server, tell } from "./readings.ts";

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

const hours = (n: number) => new Date(Date.now() + n * 3_600_000).toISOString();
let nth = 0;
/** Somebody on gold, paid at Stripe, whose customer is known. */
async function subscriber() {
  const user = await createUser(db);
  const [customer, subscription] = [`cus_${++nth}`, `sub_${nth}`];
  await pay(db, user, "gold", { customer_id: customer, subscription_id: subscription });
  const about = { customer_id: customer, plan_type: "gold" };
  return {
    user,
    subscription,
    says: (facts: Record<string, unknown>) => say(db, subscription, { ...about, ...facts }),
  };
}
const shown = async (user: string) => (await read(db, user)).shown;

test("cancelled at the end of the period: in force until then, and without grace", async () => {
  const { user, says } = await subscriber();
  const { rows } = await db.admin.query(
    "select to_json(expires_at) as ends from tokenbook.subscriptions where user_id = $1",
    [user],
  );

  const answer = await says({ status: "active", cancel_at: rows[0].ends });

  expect(answer).toMatchObject({
    status: "recorded",
    user_id: user,
    plan_type: "gold",
    subscription_status: "active",
    in_force_until: rows[0].ends,
  });
  const view = await db.admin.query(
    "select auto_renew, cancel_at = expires_at as is_cancelled from public.token_subscriptions where user_id = $1",
    [user],
  );
  expect(view.rows).toEqual([{ auto_renew: false, is_cancelled: true }]);
  expect(await recorded(db, user)).toEqual(["gold is cancelled"]);
});

test("a cancellation that was taken back is none", async () => {
  const { user, says } = await subscriber();
  await says({ status: "active", cancel_at: hours(1) });
  await says({ status: "active" });

  const { rows } = await db.admin.query(
    "select cancel_at, auto_renew from public.token_subscriptions where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ cancel_at: null, auto_renew: true }]);
});

test("cancelled at once is over at once; told after the fact, it was", async () => {
  const { user, says } = await subscriber();
  await says({ status: "cancelled", cancel_at: moment() });

  expect(await read(db, user)).toMatchObject({ shown: "none inactive ended", quota: 0, tokens: 2_000 });
});

test("cancelled without a moment: in force until the end of what was paid", async () => {
  const { user, says } = await subscriber();
  await says({ status: "cancelled" });
  expect(await shown(user)).toBe("gold active active");

  const { rows } = await db.admin.query(
    "select in_force_until = expires_at as has_no_grace from public.token_subscriptions where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ has_no_grace: true }]);
});

test("a payment that failed leaves the plan in its grace, and is told to the user, once", async () => {
  const { user, says } = await subscriber();
  await letPeriodEnd(db, user, 60);
  const failed = { status: "past_due", occurred_at: moment() };
  await says(failed);
  await says(failed);

  expect(await shown(user)).toBe("gold active past_due");
  const { rows } = await db.admin.query(
    "select kind, payload ->> 'past_due_plan_type' as plan, payload ->> 'provider' as provider from public.token_alerts where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ kind: "subscription_past_due", plan: "gold", provider: "stripe" }]);

  await pay(db, user, "gold");
  expect(await shown(user)).toBe("gold active active");
});

test("paused is not in force, with its storage, and goes on until its end when it is resumed", async () => {
  const { user, says } = await subscriber();
  const before = await read(db, user);
  await says({ status: "paused" });
  expect(await read(db, user)).toMatchObject({ shown: "none inactive paused", quota: 0, cap: null });

  await says({ status: "active" });
  expect(await read(db, user)).toEqual(before);
  expect(await recorded(db, user)).toEqual(["gold is paused", "gold goes on"]);
});

test("what is paid is in force at once, whatever was said of an earlier subscription", async () => {
  const { user, says } = await subscriber();
  await says({ status: "cancelled", cancel_at: moment() });
  expect(await shown(user)).toBe("none inactive ended");

  await pay(db, user, "gold", { period_start: moment() });

  expect(await shown(user)).toBe("gold active active");
});

test("of two subscriptions the higher one in force counts, and the other's payments give their tokens", async () => {
  const { user, says } = await subscriber();
  await pay(db, user, "silver", { customer_id: `second_${user}` });
  expect(await read(db, user)).toMatchObject({
    shown: "gold active active",
    tokens: 3_000,
    limit: 3_000,
    quota: 100,
  });
  await pay(db, user, "silver");
  expect(await read(db, user)).toMatchObject({ shown: "gold active active", tokens: 4_000 });

  await says({ status: "cancelled", cancel_at: moment() });
  expect(await read(db, user)).toMatchObject({ shown: "silver active active", quota: 10, tokens: 4_000 });

  await pay(db, user, "gold");
  expect(await shown(user)).toBe("gold active active");
});

test("a refund of the lower one beside takes its tokens, and the plan it would have been", async () => {
  const { user, says } = await subscriber();
  const id = `pi_beside_${user}`;
  await pay(db, user, "silver", { id, amount_cents: 500 });
  await tell(db, id, { kind: "refund", refund_id: "re_1", status: "succeeded", amount_cents: 500 });
  expect(await read(db, user)).toMatchObject({ shown: "gold active active", tokens: 2_000 });

  await says({ status: "cancelled", cancel_at: moment() });

  expect(await shown(user)).toBe("none inactive ended");
});

test("a subscription that names its customer alone finds its user, whichever is told first", async () => {
  const states = [];
  for (const paysFirst of [true, false]) {
    const user = await createUser(db);
    const customer = `cus_${++nth}`;
    const ends = hours(2);
    const steps = [
      () => pay(db, user, "gold", { customer_id: customer, subscription_id: `sub_${nth}` }),
      () =>
        say(db, `sub_${nth}`, {
          customer_id: customer,
          plan_type: "gold",
          status: "active",
          cancel_at: ends,
        }),
    ];
    for (const step of paysFirst ? steps : steps.toReversed()) await step();
    const { rows } = await db.admin.query(
      "select plan_type, cancel_at, in_force_until from public.token_subscriptions where user_id = $1",
      [user],
    );
    states.push({
      ...rows[0],
      isAt: rows[0].cancel_at.toISOString() === ends,
      cancel_at: 0,
      in_force_until: 0,
    });
  }

  expect(states[0]).toEqual({ plan_type: "gold", isAt: true, cancel_at: 0, in_force_until: 0 });
  expect(states[1]).toEqual(states[0]);
});

test(
  "events of a subscription and its payment, in every order and told twice, end in one state",
  { timeout: 240_000 },
  async () => {
    const at = (minute: number) => new Date(Date.UTC(2026, 10, 20, 10, minute)).toISOString();
    const stories: Record<string, { events: Record<string, unknown>[]; ends: string }> = {
      "paused and resumed, of one moment too": {
        events: [
          { status: "active", occurred_at: at(0) },
          { status: "past_due", occurred_at: at(5) },
          { status: "paused", occurred_at: at(6) },
          { status: "active", occurred_at: at(6) },
        ],
        ends: "none inactive paused",
      },
      "cancelled, taken back, failed": {
        events: [
          { status: "active", occurred_at: at(0), cancel_at: at(3) },
          { status: "active", occurred_at: at(1) },
          { status: "past_due", occurred_at: at(2) },
          { status: "paused", occurred_at: at(1) },
        ],
        ends: "gold active active",
      },
      "cancelled for good, and what came before it": {
        events: [
          { status: "active", occurred_at: at(0) },
          { status: "active", occurred_at: at(9) },
          { status: "cancelled", occurred_at: at(9), cancel_at: at(9) },
          { status: "paused", occurred_at: at(4) },
        ],
        ends: "none inactive ended",
      },
    };
    const start = at(-60);
    let tried = 0;
    for (const [story, { events, ends }] of Object.entries(stories)) {
      const ended = new Map<string, number>();
      for (const order of ordersOf([...events.keys(), -1])) {
        const user = await createUser(db);
        const [id, payment] = [`sub_order_${++nth}`, `pi_order_${nth}`];
        const step = (n: number) =>
          n === -1
            ? pay(db, user, "gold", {
                id: payment,
                customer_id: `cus_order_${payment}`,
                period_start: start,
                occurred_at: at(-60),
              })
            : say(
                db,
                id,
                { customer_id: `cus_order_${payment}`, plan_type: "gold", ...events[n] },
                { event: `evt_order_${id}_${n}` },
              );
        for (const n of order) await step(n);
        await step(order[0]!);
        await step(order[2]!);
        const { rows } = await db.admin.query(
          `select s.plan_type, s.is_active, s.status, s.cancel_at, s.expires_at, s.in_force_until, a.tokens_remaining::int as tokens,
                f.status as said, f.occurred_at
           from public.token_subscriptions s join public.token_accounts a using (user_id)
           join tokenbook.provider_subscriptions f on f.provider_subscription_id = $2 where s.user_id = $1`,
          [user, id],
        );
        const state = JSON.stringify(rows[0]);
        ended.set(state, (ended.get(state) ?? 0) + 1);
        tried++;
      }
      console.log(`${story}: ${[...ended].map(([state, times]) => `${times} × ${state}`).join("\n")}`);
      expect(ended.size, story).toBe(1);
      const { plan_type, is_active, status } = JSON.parse([...ended.keys()][0]!);
      expect(`${plan_type ?? "none"} ${is_active ? "active" : "inactive"} ${status}`).toBe(ends);
    }
    console.log(`orders=${tried} states=1 each`);
  },
);

test.each([
  ["another provider", { p_provider: "venmo" }, "p_provider"],
  ["an id of 300 characters", { p_provider_subscription_id: "s".repeat(300) }, "p_provider_subscription_id"],
  ["an event without an id", { p_event_id: "" }, "p_event_id"],
  ["a payment's fact", { p_facts: { kind: "paid", occurred_at: "2026-11-20T10:00:00Z" } }, "p_facts"],
  ["no time", { p_facts: { kind: "subscription", status: "active" } }, "occurred_at"],
  [
    "a time without its offset",
    { p_facts: { kind: "subscription", status: "active", occurred_at: "2026-11-20T10:00:00" } },
    "occurred_at",
  ],
  [
    "an unknown status",
    { p_facts: { kind: "subscription", status: "asleep", occurred_at: "2026-11-20T10:00:00Z" } },
    "status",
  ],
  [
    "a moment that is none",
    {
      p_facts: {
        kind: "subscription",
        status: "active",
        occurred_at: "2026-11-20T10:00:00Z",
        cancel_at: "soon",
      },
    },
    "cancel_at",
  ],
])("%s is refused", async (_what, change, fieldName) => {
  await expect(
    server(db, "record_token_subscription_event", {
      p_provider: "stripe",
      p_event_id: "evt_bad",
      p_event_type: "x",
      p_provider_subscription_id: "sub_bad",
      p_facts: { kind: "subscription", status: "active", occurred_at: "2026-11-20T10:00:00Z" },
      ...change,
    }),
  ).rejects.toMatchObject({
    code: "PT400",
    message: "invalid_provider_event",
    detail: expect.stringContaining(`"${fieldName}"`),
  });
});
