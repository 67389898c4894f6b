// @module-tag proof
import { breaches } from "../../support/books.ts";
import { createDatabase } from "../../support/database.ts";
import { diceFor } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import {
  anyOrder,
  playAll,
  prepare,
  storiesByChance,
  telling,
} from "../../payments/provider-events/stories.ts";
import { keep, type Tried } from "./promise.ts";

const variants = [
  "disputes-kept-per-payment",
  "failed-refunds-stay",
  "totals-count-failed-refunds",
  "amount-by-order-of-arrival",
  "shares-forget-disputes",
  "parts-are-not-joined",
  "credits-are-forgotten",
  "refunds-count-other-currencies",
  "disputes-swallow-reversals",
  "won-disputes-cover-reversals",
  "any-dispute-covers-reversals",
] as const;

keep({
  id: "P28",
  promise:
    "The tokens that a payment bought and has not had taken back equal what the provider kept of the money",
  trial:
    "Stories by chance of one payment, ten facts and more each: paid in one or several amounts or without one, by one or two payments, three refunds and two disputes from their beginning to some end, running totals, reversals in and out of disputes, credits, another currency, one event id with two contents; each story in several orders, with repetitions, spending and other grants in between, each order for a user of its own; after each, tokens, debt, plan and facts are compared with what the test computes from the story alone",
  run: (scale) =>
    tryIt(null, scale === "long" ? storiesByChance(500, 6, diceFor) : storiesByChance(30, 3, diceFor)),
  control: {
    variant:
      "keeps disputes per payment; a failed refund stays; a running total counts what failed; the amount that came last; a share that forgets disputes; parts that are not joined; credits forgotten; other currencies; a dispute that covers a reversal of more, or after it was won, or any",
    // all have to be seen through
    run: async () => {
      const tried: Tried[] = [];
      for (const variant of variants) tried.push(await tryIt(variant, shortOnes));
      return {
        times: tried.reduce((sum, { times }) => sum + times, 0),
        unit: "orders",
        mix: {},
        violations: Math.min(...tried.map(({ violations }) => violations)),
        examples: tried.map(({ examples }, i) => `${variants[i]}: ${examples![0] ?? "not seen"}`),
      };
    },
  },
});

/** Short stories that tell the variants apart, each in some orders. */
const shortOnes = Object.values(telling).map((story) => ({
  story,
  orders: Array.from({ length: 10 }, (_, nth) => anyOrder(story, diceFor(nth))),
}));

async function tryIt(mutant: string | null, stories: Parameters<typeof playAll>[1]): Promise<Tried> {
  const db = await createDatabase();
  try {
    await giveFreePlanAtRegistration(db);
    await prepare(db);
    if (mutant !== null) await applyMutant(db, mutant);
    const { orders, mix, wrong } = await playAll(db, stories);
    if (mutant === null) {
      wrong.push(...(await breaches(db)));
      const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
      wrong.push(...rows.map((row) => JSON.stringify(row)));
    }
    return { times: orders, unit: "orders", mix, violations: wrong.length, examples: wrong.slice(0, 3) };
  } finally {
    await db.drop();
  }
}
