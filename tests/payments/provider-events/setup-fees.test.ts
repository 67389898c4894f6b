/** A subscription's setup fee that is as high as its price: it buys no period, and nothing says which payment it is. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { recordPaymentEvent, refund } from "../../support/provider-events.ts";
import { ordersOf } from "../../support/orders.ts";
import { asAdmin, createUser, rpc } from "../../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const STARTER = 400_000;

/** One payment: the day, and how many periods PayPal counts with it, where it says so. */
interface Paid {
  day: number;
  cycles?: number;
  /** Left out: the starter plan. */
  plan?: string;
  /** Whether it is known to be the price. */
  isPrice?: boolean;
  /** Left out: the one of the story. */
  subscription?: string;
}

/** The first day is so long ago that all of it has happened. */
const onDay = (day: number) => new Date(Date.UTC(2026, 0, 1) + day * 86_400_000).toISOString();

let subscriptions = 0;

/** Somebody's subscription, of which payments are told. */
async function subscriber(on: Database = db) {
  const user = await createUser(on);
  const subscription = `I-${++subscriptions}`;
  const idOf = (nth: number) => `${subscription}.sale.${nth}`;
  return {
    user,
    idOf,
    pay: (nth: number, { day, cycles, plan = "starter", isPrice = false, ...paid }: Paid) =>
      recordPaymentEvent(
        on,
        idOf(nth),
        {
          kind: "paid",
          user_id: user,
          plan_type: plan,
          amount_cents: 900,
          currency: "usd",
          occurred_at: onDay(day),
          period_start: onDay(day),
          subscription_id: paid.subscription ?? subscription,
          ...(!isPrice && { may_be_fee: true }),
          ...(cycles !== undefined && { cycles_completed: cycles }),
        },
        { provider: "paypal", event: `WH-${subscription}.${nth}` },
      ),
    booked: async (): Promise<number> => {
      const { rows } = await on.admin.query(
        "select count(*)::int as booked, coalesce(sum(tokens), 0)::int as tokens from public.token_payments where user_id = $1",
        [user],
      );
      expect(rows[0].tokens).toBe(rows[0].booked * STARTER);
      return rows[0].booked as number;
    },
  };
}

const parkedOnes = async (subscription: { idOf: (nth: number) => string }, count: number) => {
  const admin = await createUser(db, { admin: true });
  const { rows } = await asAdmin(db, admin, (client) =>
    client.query("select * from public.list_parked_token_payments() where provider_payment_id = any ($1)", [
      Array.from({ length: count }, (_, nth) => subscription.idOf(nth)),
    ]),
  );
  return { admin, rows };
};

test("of two payments right after each other one is given, the other waits with what is booked, and is told", async () => {
  const they = await subscriber();

  expect(await they.pay(0, { day: 0, cycles: 1 })).toMatchObject({ status: "approved" });
  expect(await they.pay(1, { day: 0.001, cycles: 1 })).toMatchObject({
    status: "parked",
    parked_reason: "second_in_period",
    tokens_granted: 0,
  });

  expect(await they.booked()).toBe(1);
  const { rows } = await parkedOnes(they, 2);
  expect(rows).toMatchObject([
    {
      provider_payment_id: they.idOf(1),
      plan_type: "starter",
      parked_details: { other_payment_id: they.idOf(0), cycles_completed: 1 },
    },
  ]);
  expect(rows[0].explanation).toContain(
    `Booked: ${they.idOf(0)}, for the period from 2026-01-01T00:00:00+00:00. Payments for periods: 1`,
  );
  const { rows: alerts } = await db.admin.query(
    "select kind from public.token_alerts where payload ->> 'provider_payment_id' = $1",
    [they.idOf(1)],
  );
  expect(alerts).toEqual([{ kind: "payment_parked" }]);
});

test("an admin who assigns it says that it is a period's price, whatever is told of it again", async () => {
  const they = await subscriber();
  await they.pay(0, { day: 0 });
  await they.pay(1, { day: 3 });
  const { admin } = await parkedOnes(they, 2);
  const assign = () =>
    asAdmin(db, admin, (client) =>
      rpc(client, "assign_parked_token_payment", {
        p_provider: "paypal",
        p_provider_payment_id: they.idOf(1),
        p_user_id: they.user,
      }),
    );

  expect(await assign()).toMatchObject({ status: "approved", tokens_granted: STARTER });
  await assign();
  await they.pay(1, { day: 3 });

  expect(await they.booked()).toBe(2);
});

test("it cannot be assigned to anybody else", async () => {
  const they = await subscriber();
  await they.pay(0, { day: 0 });
  await they.pay(1, { day: 3 });
  const { admin } = await parkedOnes(they, 2);

  await expect(
    asAdmin(db, admin, (client) =>
      rpc(client, "assign_parked_token_payment", {
        p_provider: "paypal",
        p_provider_payment_id: they.idOf(1),
        p_user_id: admin,
      }),
    ),
  ).rejects.toMatchObject({ message: "payment_already_decided" });
});

test("an admin who dismisses it says that it is the fee: it gives nothing, and a refund of it takes nothing", async () => {
  const they = await subscriber();
  await they.pay(0, { day: 0 });
  await they.pay(1, { day: 3 });
  const { admin } = await parkedOnes(they, 2);

  await asAdmin(db, admin, (client) =>
    rpc(client, "dismiss_parked_token_payment", {
      p_provider: "paypal",
      p_provider_payment_id: they.idOf(1),
      p_reason: "the setup fee",
    }),
  );
  await recordPaymentEvent(db, they.idOf(1), refund(`R.${they.user}`, 900), { provider: "paypal" });

  expect(await they.booked()).toBe(1);
  const { rows } = await db.admin.query("select public.get_user_token_balance($1) as balance", [they.user]);
  expect(rows[0].balance.total_active).toBe(STARTER);
});

test.each<[string, Paid]>([
  ["of another plan", { day: 1, plan: "annual" }],
  ["of another subscription", { day: 1, subscription: "I-another" }],
  ["that is known to be the price", { day: 1, isPrice: true }],
  ["of the next period", { day: 16 }],
])("a payment %s is given", async (_, paid) => {
  const they = await subscriber();
  await they.pay(0, { day: 0 });

  expect(await they.pay(1, paid)).toMatchObject({ status: "approved" });
});

/** What is paid of one subscription, and for how many periods. */
const stories: Record<string, { payments: Paid[]; periods: number }> = {
  "the fee and the price at once, and two renewals": {
    payments: [{ day: 0 }, { day: 0, cycles: 1 }, { day: 31, cycles: 2 }, { day: 59 }],
    periods: 3,
  },
  "the fee, a week that costs nothing, the price, and a renewal": {
    payments: [
      { day: 0, cycles: 0 },
      { day: 7, cycles: 1 },
      { day: 38, cycles: 2 },
    ],
    periods: 2,
  },
  "the fee, the price, and a second payment in its period that PayPal counts": {
    payments: [
      { day: 0, cycles: 0 },
      { day: 0, cycles: 1 },
      { day: 10, cycles: 2 },
      { day: 41, cycles: 3 },
    ],
    periods: 3,
  },
  "a payment that failed is made up for ten days before the next, and PayPal counts both": {
    payments: [
      { day: 0, cycles: 1 },
      { day: 52, cycles: 2 },
      { day: 62, cycles: 3 },
      { day: 93, cycles: 4 },
    ],
    periods: 4,
  },
  "the same, and PayPal was asked about neither in time": {
    payments: [{ day: 0, cycles: 1 }, { day: 52 }, { day: 62 }, { day: 93 }],
    periods: 3,
  },
  "five, ten days after each other, of which PayPal says nothing": {
    payments: [{ day: 0 }, { day: 10 }, { day: 20 }, { day: 30 }, { day: 40 }],
    periods: 3,
  },
  "charged each week for a plan of a month, and PayPal counts each": {
    payments: [1, 2, 3, 4, 5].map((cycles) => ({ day: 7 * cycles, cycles })),
    periods: 5,
  },
};

/** In how many orders not so many were booked as there are periods. */
async function playAll(on: Database, { payments, periods }: (typeof stories)[string]) {
  const orders = ordersOf(payments.map((paid, nth) => ({ paid, nth })));
  const left = [...orders];
  let wrong = 0;
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let order = left.pop(); order !== undefined; order = left.pop()) {
        const they = await subscriber(on);
        for (const { paid, nth } of order) await they.pay(nth, paid);
        for (const { paid, nth } of order.slice(0, 2)) await they.pay(nth, paid);
        if ((await they.booked()) !== periods) wrong++;
      }
    }),
  );
  return { orders: orders.length, wrong };
}

const isLong = ({ payments }: (typeof stories)[string]) => payments.length > 4;
const all = Object.entries(stories);

test.each(all.filter(([, story]) => !isLong(story)))(
  "in every order, some told twice, as many are booked as there are periods: %s",
  { timeout: 60_000 },
  async (_, story) => {
    const { orders, wrong } = await playAll(db, story);

    console.log(`orders=${orders} periods=${story.periods} violations=${wrong}`);
    expect(wrong).toBe(0);
  },
);

test.each(all.filter(([, story]) => isLong(story)))(
  "in every order of five as many are booked as there are periods: %s",
  { tags: ["proof"], timeout: 300_000 },
  async (_, story) => {
    const { orders, wrong } = await playAll(db, story);

    console.log(`orders=${orders} periods=${story.periods} violations=${wrong}`);
    expect(wrong).toBe(0);
  },
);

/** Tells of so many payments of each of so many subscriptions at once: how many more were booked than one each. */
async function race(on: Database, rounds: number): Promise<number> {
  let excess = 0;
  for (let round = 0; round < rounds; round++) {
    const they = await subscriber(on);
    await on.admin.query("select public.grant_tokens($1, 1, 'purchase')", [they.user]);
    await Promise.all([0, 1, 2, 3].map((nth) => they.pay(nth, { day: nth }).catch(() => null)));
    excess += (await they.booked()) - 1;
  }
  return excess;
}

test("of four that come at once, of nobody's customer, one is booked", { timeout: 60_000 }, async () => {
  const excess = await race(db, 10);
  console.log(`rounds=10 payments=40 violations=${excess}`);
  expect(excess).toBe(0);
});

test.each([
  ["setup-fees-buy-periods", "the fee and the price at once, and two renewals"],
  [
    "counted-cycles-prove-nothing",
    "a payment that failed is made up for ten days before the next, and PayPal counts both",
  ],
])("the test sees it: %s", { tags: ["proof"], timeout: 60_000 }, async (variant, story) => {
  const broken = await createDatabase();
  await applyMutant(broken, variant);

  const { orders, wrong } = await playAll(broken, stories[story]!);

  console.log(`${variant}: orders=${orders} violations=${wrong}`);
  expect(wrong).toBeGreaterThan(0);
  if (variant === "setup-fees-buy-periods") {
    const { rows } = await broken.admin.query("select distinct invariant from public.verify_token_ledger()");
    expect(rows).toEqual([{ invariant: "I12 one payment a period" }]);
  }
  await broken.drop();
});

test.each(["assigned-periods-wait-again", "assignments-of-the-known-say-nothing"])(
  "the test sees it: %s",
  { tags: ["proof"] },
  async (variant) => {
    const broken = await createDatabase();
    await applyMutant(broken, variant);
    const they = await subscriber(broken);
    const admin = await createUser(broken, { admin: true });
    await they.pay(0, { day: 0 });
    await they.pay(1, { day: 3 });

    const answer = await asAdmin(broken, admin, (client) =>
      rpc(client, "assign_parked_token_payment", {
        p_provider: "paypal",
        p_provider_payment_id: they.idOf(1),
        p_user_id: they.user,
      }),
    );

    expect(answer).toMatchObject({ status: "parked" });
    await broken.drop();
  },
);

test(
  "the test sees it: periods-looked-up-before-the-lock",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "periods-looked-up-before-the-lock");

    const excess = await race(broken, 10);

    console.log(`periods-looked-up-before-the-lock: violations=${excess}`);
    expect(excess).toBeGreaterThan(0);
    await broken.drop();
  },
);
