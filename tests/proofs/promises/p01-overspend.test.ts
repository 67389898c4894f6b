// @module-tag proof
import { breaches } from "../../support/books.ts";
import { createDatabase } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { firstOperations } from "../../support/first-operations.ts";
import { spendDown } from "../../support/spending.ts";
import { keep, type Tried } from "./promise.ts";

const variants = [
  "deduct-reads-then-writes",
  "deduct-adds-up-the-ledger",
  "deduct-locks-the-newest-entry",
] as const;

keep({
  id: "P1",
  promise: "No user ever spends more than they have",
  trial:
    "64 connections spending 1 to 7 tokens at a time from 8 users, half of it from one, who have a little more than half of what is asked for; and the first operations of users whom the books do not know yet, all at once",
  run: (scale) => tryIt(null, scale === "long" ? 25_600 : 1_600),
  control: {
    variant:
      "reads the balance and then writes it; adds the ledger up; locks the newest entry of the ledger; does not ask again under the lock who is new",
    // each of the four has to be seen through
    run: async () => {
      const tried: Tried[] = [];
      for (const variant of variants) tried.push(await tryIt(variant, 400));
      tried.push(await tryFirst("initial-plan-asks-once"));
      const missed = [...variants, "initial-plan-asks-once"].filter((_, nth) => tried[nth]!.violations === 0);
      return {
        times: tried.reduce((sum, { times }) => sum + times, 0),
        unit: "attempts",
        mix: {},
        violations: missed.length > 0 ? 0 : tried.reduce((sum, { violations }) => sum + violations, 0),
        examples: missed.map((variant) => `not seen: ${variant}`),
      };
    },
  },
});

async function tryIt(variant: string | null, attempts: number): Promise<Tried> {
  const db = await createDatabase();
  try {
    if (variant !== null) await applyMutant(db, variant);
    const { mix, wrong } = await spendDown(db, {
      connections: 64,
      attempts,
      users: 8,
      oneGrant: variant !== null,
    });
    // the variants keep no books at all: only what was spent counts against them
    if (variant !== null) {
      const spent = wrong.filter((one) => / and spent /.test(one));
      return { times: attempts, unit: "attempts", mix, violations: spent.length, examples: spent };
    }
    const share = (mix["spent"] ?? 0) / attempts;
    if (share < 0.2 || share > 0.8) wrong.push(`proves little: ${Math.round(share * 100)} % were spent`);
    const races = await firstOperations(db, Math.ceil(attempts / 400));
    wrong.push(...races.wrong, ...(await breaches(db)));
    for (const outcome of Object.keys(mix)) {
      if (!["spent", "short"].includes(outcome)) wrong.push(`${outcome}: ${mix[outcome]}`);
    }
    return {
      times: attempts + races.times,
      unit: "attempts",
      mix: {
        ...mix,
        ...races.mix,
      },
      violations: wrong.length,
      examples: wrong.slice(0, 5),
    };
  } finally {
    await db.drop();
  }
}

/** First operations on a variant: only what users were given counts against it. */
async function tryFirst(variant: string): Promise<Tried> {
  const db = await createDatabase();
  try {
    await applyMutant(db, variant);
    const { times, mix, wrong } = await firstOperations(db, 8);
    const twice = wrong.filter((one) => / was given the first tokens /.test(one));
    return { times, unit: "attempts", mix, violations: twice.length, examples: twice };
  } finally {
    await db.drop();
  }
}
