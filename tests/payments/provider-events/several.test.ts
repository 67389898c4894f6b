import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { dispute, told } from "../../support/provider-events.ts";
import { giveFreePlanAtRegistration, standing } from "../../support/plans.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
});
afterAll(() => db.drop());

const FREE = 10_000;
const STARTER = 400_000;

type Step =
  | { kind: "paid" | "disputed" | "won" | "refunded"; payment: number }
  | { kind: "spend" | "gift"; tokens: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constantFrom("paid", "paid", "disputed", "won", "refunded"),
      payment: fc.integer({ min: 0, max: 2 }),
    }),
    fc.record({
      kind: fc.constantFrom("spend", "spend", "gift"),
      tokens: fc.integer({ min: 1, max: 300_000 }),
    }),
  ),
  { minLength: 5, maxLength: 25, size: "max" },
) as fc.Arbitrary<Step[]>;

/** Plays a sequence for a new user; fails when a token was lost on the way, or made. */
async function play(database: Database, sequence: Step[], mix: Record<string, number>): Promise<void> {
  const user = await createUser(database);
  const known = [0, 1, 2].map(() => ({ paid: false, disputed: false, refunded: false }));
  let given = FREE;
  let used = 0;
  for (const [i, step] of sequence.entries()) {
    mix[step.kind] = (mix[step.kind] ?? 0) + 1;
    if (step.kind === "gift") {
      await database.admin.query("select public.grant_tokens($1, $2, 'purchase')", [user, step.tokens]);
      given += step.tokens;
    } else if (step.kind === "spend") {
      const { rows } = await database.admin.query(
        "select (public.deduct_tokens_with_fifo($1, $2) ->> 'success')::boolean as done",
        [user, step.tokens],
      );
      if (rows[0].done) used += step.tokens;
    } else if ("payment" in step) {
      const payment = known[step.payment]!;
      if (step.kind === "paid") payment.paid = true;
      if (step.kind === "disputed") payment.disputed = true;
      if (step.kind === "won") payment.disputed = false;
      if (step.kind === "refunded") payment.refunded = true;
      const facts = {
        paid: { user_id: user, plan_type: "starter", amount_cents: 900 },
        disputed: dispute("open"),
        won: dispute("won"),
        refunded: { refunded_cents: 450 },
      }[step.kind];
      await database.admin.query("select public.record_token_payment_event('stripe', $1, 'x', $2, $3)", [
        `${user}.${i}`,
        `${user}.${step.payment}`,
        JSON.stringify(told({ kind: step.kind, ...facts })),
      ]);
    }
  }
  for (const { paid, disputed, refunded } of known) {
    if (!paid || disputed) continue;
    given += refunded ? STARTER / 2 : STARTER;
  }
  const { balance, owed } = await standing(database, user);
  expect(balance! - owed!).toBe(given - used);
}

/** Plays that many sequences, another each time. */
async function playSeveral(numRuns: number): Promise<void> {
  const mix: Record<string, number> = {};
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  let sequences = 0;

  await fc
    .assert(
      fc.asyncProperty(steps, (sequence) => {
        sequences++;
        return play(db, sequence, mix);
      }),
      { seed, numRuns, endOnFailure: false },
    )
    .finally(() => console.log(`sequences=${sequences} seed=${seed} mix=${JSON.stringify(mix)}`));

  await expectCleanBooks(db);
}

test("balance less debt is what was given and kept less what was used, for several payments at once", () =>
  playSeveral(40));

test("and so it is after 150 sequences", { tags: ["proof"], timeout: 120_000 }, () => playSeveral(150));

test(
  "the test sees it: a dispute that is won and gives nothing back loses tokens",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const broken = await createDatabase();
    await giveFreePlanAtRegistration(broken);
    await applyMutant(broken, "won-disputes-give-nothing-back");

    const result = await fc.check(
      fc.asyncProperty(steps, (sequence) => play(broken, sequence, {})),
      { numRuns: 100, seed: 1, endOnFailure: true },
    );
    await broken.drop();

    expect(result.failed).toBe(true);
  },
);
