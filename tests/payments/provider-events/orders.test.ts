/** Everything that a provider may tell of a payment, in every order: the money decides what is left, and nothing else. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyMutant } from "../../support/mutants.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { diceFor, seed } from "../../support/dice.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import {
  anyOrder,
  permutations,
  playAll,
  prepare,
  type Step,
  storiesByChance,
  tell,
  type Told,
} from "./stories.ts";

let db: Database;
beforeAll(async () => {
  db = await prepared();
});
afterAll(() => db.drop());

async function prepared(): Promise<Database> {
  const on = await createDatabase();
  await giveFreePlanAtRegistration(on);
  await prepare(on);
  return on;
}

const paid = (second: number, more: Record<string, unknown> = {}, payment = "a") =>
  tell(second, { kind: "paid", plan_type: "starter", currency: "usd", ...more }, payment);
const refund = (second: number, id: number, amount_cents: number, status: string, payment = "a") =>
  tell(second, { kind: "refund", refund_id: `re.${id}`, status, amount_cents }, payment);
const total = (second: number, refunded_cents: number, payment = "a") =>
  tell(second, { kind: "refunded", refunded_cents }, payment);
const dispute = (second: number, id: number, status: string, amount_cents?: number) =>
  tell(second, { kind: "dispute", dispute_id: `dp.${id}`, status, amount_cents });

/** Short ones, each of which is told in every order there is. */
const short: Record<string, Told[]> = {
  "one dispute lost, another won": [
    paid(0, { amount_cents: 900 }),
    dispute(1, 1, "open"),
    dispute(2, 2, "open"),
    dispute(3, 2, "lost"),
    dispute(4, 1, "won"),
  ],
  "refunds of which one fails": [
    paid(0, { amount_cents: 900 }),
    refund(1, 1, 300, "succeeded"),
    refund(2, 2, 600, "pending"),
    total(2, 900),
    refund(3, 2, 600, "failed"),
  ],
  "running totals, the last of which is the smaller one": [
    paid(0, { amount_cents: 900 }),
    total(1, 300),
    total(2, 900),
    total(3, 600),
  ],
  "two amounts and a refund": [
    paid(0),
    paid(1, { amount_cents: 900 }),
    paid(2, { amount_cents: 1_125 }),
    total(3, 225),
  ],
  "two payments of one invoice, both refunded": [
    paid(0, { amount_cents: 900, parts: ["b"] }),
    paid(1, { amount_cents: 900 }, "b"),
    total(2, 300),
    total(3, 600, "b"),
  ],
};

/** Every kind of fact, over two disputes and three refunds. */
const long: Told[] = [
  paid(0),
  paid(1, { amount_cents: 800 }),
  paid(2, { amount_cents: 900 }),
  refund(3, 1, 100, "pending"),
  refund(4, 1, 100, "succeeded"),
  refund(5, 2, 300, "pending"),
  total(5, 400),
  refund(6, 2, 300, "failed"),
  refund(7, 3, 225, "pending"),
  refund(8, 3, 225, "canceled"),
  total(9, 100),
  dispute(10, 1, "inquiry"),
  dispute(11, 1, "won"),
  dispute(12, 2, "open", 300),
  dispute(13, 2, "won", 300),
  dispute(14, 2, "open", 300),
  dispute(15, 2, "lost", 300),
];

test.each(Object.entries(short))(
  "every order ends in what the money asks: %s",
  { timeout: 60_000 },
  async (_what, story) => {
    const orders = permutations(story).map((order) => order.map((told): Step => ({ do: "tell", ...told })));

    const { orders: played, mix, wrong } = await playAll(db, [{ story, orders }]);

    console.log(`orders=${played} violations=${wrong.length} mix=${JSON.stringify(mix)}`);
    expect(wrong.slice(0, 3)).toEqual([]);
  },
);

/** The long story in so many orders, and so many stories by chance. */
async function tellThem(on: Database, ofLong: number, stories: number): Promise<string[]> {
  const orders = Array.from({ length: ofLong }, (_, nth) => anyOrder(long, diceFor(nth)));
  const played = await playAll(on, [{ story: long, orders }, ...storiesByChance(stories, 4, diceFor)]);
  console.log(
    `orders=${played.orders} violations=${played.wrong.length} seed=${seed} mix=${JSON.stringify(played.mix)}`,
  );
  return played.wrong;
}

test(
  "so does any order of two disputes and three refunds, repeated, with spending and grants in between",
  { timeout: 60_000 },
  async () => {
    expect((await tellThem(db, 8, 6)).slice(0, 3)).toEqual([]);
    await expectCleanBooks(db);
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
    expect(rows).toEqual([]);
  },
);

test("and so it is after a thousand", { tags: ["proof"], timeout: 300_000 }, async () => {
  expect((await tellThem(db, 200, 200)).slice(0, 3)).toEqual([]);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
});

test.each([
  ["disputes-kept-per-payment", "one state of all disputes"],
  ["failed-refunds-stay", "a refund that failed has taken the money"],
  ["totals-count-failed-refunds", "a running total has what failed since"],
  ["settle-by-the-last-event", "the running total that came last"],
  ["amount-by-order-of-arrival", "the amount that came last"],
  ["amounts-stay-as-booked", "the amount that came first"],
  ["shares-forget-disputes", "what is withheld is not lost"],
  ["parts-are-not-joined", "the parts of a payment by themselves"],
  ["won-disputes-give-nothing-back", "what comes back gives nothing back"],
])("the test sees it: %s (%s)", { tags: ["proof"], timeout: 120_000 }, async (variant) => {
  const broken = await prepared();
  await applyMutant(broken, variant);
  const orders = Object.values(short).map((story) => ({
    story,
    orders: permutations(story).map((order) => order.map((told): Step => ({ do: "tell", ...told }))),
  }));
  const { wrong } = await playAll(broken, orders).catch((error: Error) => ({ wrong: [error.message] }));
  await broken.drop();

  console.log(`${variant}: violations=${wrong.length}`);
  expect(wrong.length).toBeGreaterThan(0);
});
