/** Everything that a provider may tell of a payment, in every order: the money decides what is left, and nothing else. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyMutant } from "../../support/mutants.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { diceFor, seed } from "../../support/dice.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import {
  anyOrder,
  everyOrder,
  fact,
  playAll,
  prepare,
  storiesByChance,
  telling,
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

const { paid, refund, total, credit, dispute, reversal } = fact;

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
  reversal(12, 1, 300),
  reversal(16, 2, 50),
  credit(17, 1, 75),
];

test.each(Object.entries(telling))(
  "every order ends in what the money asks: %s",
  { timeout: 60_000 },
  async (_what, story) => {
    const { wrong, ...walked } = await everyOrder(db, story);

    console.log(`${JSON.stringify(walked)} violations=${wrong.length}`);
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

/** Eleven kinds of facts, over two disputes, what was taken back because of one of them, and three refunds. */
const ofElevenKinds: Told[] = [
  paid(1, { amount_cents: 900 }),
  refund(3, 1, 100, "succeeded"),
  refund(4, 2, 300, "pending"),
  total(5, 400),
  refund(6, 2, 300, "failed"),
  refund(7, 3, 225, "canceled"),
  dispute(10, 1, "inquiry"),
  dispute(11, 1, "won"),
  dispute(12, 2, "open", 300),
  dispute(13, 2, "lost", 300),
  reversal(12, 1, 300),
];

test(
  "all 39,916,800 orders of eleven kinds of facts over two disputes and three refunds end in one state, and each may be repeated at any time",
  { tags: ["proof"], timeout: 900_000 },
  async () => {
    const { wrong, ...walked } = await everyOrder(db, ofElevenKinds);

    console.log(`${JSON.stringify(walked)} violations=${wrong.length}`);
    expect(wrong.slice(0, 3)).toEqual([]);
    expect(walked).toEqual({ orders: 39_916_800, sets: 2_048, told: 11_264, repeated: 11_264 });
  },
);

test("and so it is after a thousand", { tags: ["proof"], timeout: 900_000 }, async () => {
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
  ["credits-are-forgotten", "what is credited is money once more"],
  ["refunds-count-other-currencies", "five yen are five cents"],
  ["reversals-beside-their-disputes", "one loss is two"],
  ["disputes-swallow-reversals", "a small dispute is all that is taken back"],
  ["won-disputes-cover-reversals", "a dispute that is over is about what comes after it"],
  ["any-dispute-covers-reversals", "any dispute is about what is taken back"],
  ["refunds-beside-lost-disputes", "PayPal's refund and dispute of one loss are two"],
  ["refunds-within-disputes-everywhere", "Stripe's refund is a part of the dispute that follows"],
  ["won-disputes-give-nothing-back", "what comes back gives nothing back"],
])("the test sees it: %s (%s)", { tags: ["proof"], timeout: 120_000 }, async (variant) => {
  const broken = await prepared();
  await applyMutant(broken, variant);
  let violations = 0;
  for (const story of Object.values(telling)) {
    const { wrong } = await everyOrder(broken, story).catch((error: Error) => ({ wrong: [error.message] }));
    violations += wrong.length;
  }
  await broken.drop();

  console.log(`${variant}: violations=${violations}`);
  expect(violations).toBeGreaterThan(0);
});
