// @module-tag proof
import { expect, test } from "vitest";
import { createDatabase } from "../../support/database.ts";
import { seed } from "../../support/dice.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { alertBreaches } from "../alerts.ts";
import { takeWalks, type Walks } from "./walks.ts";

/** `npm run promises` goes the whole way. */
const count = process.env["PROMISES"] === "long" ? 10_000 : 1_000;

test("random walks across thresholds: each crossing is told exactly once", async () => {
  const db = await createDatabase();

  const { walks, mix, violations, examples } = await takeWalks(db, { count, seed });

  console.log(`walks=${walks} seed=${seed} violations=${violations} mix=${JSON.stringify(mix)}`);
  expect(examples).toEqual([]);
  expect(violations).toBe(0);
  for (const outcome of ["dropped", "depleted", "recovered", "undone", "rule changes"]) {
    expect(mix[outcome] ?? 0, outcome).toBeGreaterThan(walks / 50);
  }
  expect(await alertBreaches(db)).toEqual([]);
  await expectCleanBooks(db);
  await db.drop();
}, 600_000);

/** The one walk of its seed that takes an alert back which another of its transaction came after. */
const TAKEN_BACK_IN_THE_MIDDLE = { seed: 416527294, from: 275, count: 276 };

test("an alert that is taken back leaves no gap in the numbers", async () => {
  const db = await createDatabase();
  const { violations, examples } = await takeWalks(db, TAKEN_BACK_IN_THE_MIDDLE);
  const breaches = await alertBreaches(db);
  await db.drop();

  expect(examples).toEqual([]);
  expect({ violations, breaches }).toEqual({ violations: 0, breaches: [] });
}, 120_000);

test.each([
  ["alerts-on-every-deduction-below", "raised on every deduction below the threshold"],
  ["alerts-never-armed-again", "not armed again when the balance comes back"],
  ["alerts-of-what-was-taken-back", "told of what the same transaction took back"],
  ["alerts-of-changed-rules", "a change of rule is told as a crossing"],
  ["alerts-with-gaps", "a number is left out", TAKEN_BACK_IN_THE_MIDDLE],
])(
  "the walks see it: %s (%s)",
  async (mutant, _fault, walks: Walks = { seed: 7, count: 300 }) => {
    const broken = await createDatabase();
    await applyMutant(broken, mutant);

    const taken = await takeWalks(broken, { ...walks, stopAtFirst: true });
    await broken.drop();

    const { violations, examples } = taken;
    console.log(`mutant ${mutant}: seen after ${taken.walks} walks, ${examples[0]?.split("\n")[0]}`);
    expect(violations).toBeGreaterThan(0);
  },
  120_000,
);
