import { expect, test } from "vitest";
import { applyMutant } from "../support/mutants.ts";
import { booksWithAClock, check } from "./check.ts";

// The comparison itself is promise P19; here is what it must be able to see.

test.each([
  ["lifo", "the newest grant pays first"],
  ["refunds-give-back-what-was-paid-first", "a refund starts from the wrong end"],
  ["captures-keep-the-rest", "what a capture leaves does not come back"],
  ["holds-never-run-out", "a hold that ran out is not released"],
  ["refunds-forget-each-other", "a charge is refunded twice"],
  ["voids-forget-what-was-spent", "taking back leaves what was spent"],
])(
  "the test sees it: %s (%s)",
  async (mutant) => {
    const broken = await booksWithAClock();
    await applyMutant(broken, mutant);

    const found = await check(broken, 300, 7).then(
      () => null,
      (error: Error) => String((error.cause as Error | undefined)?.message ?? error.message),
    );
    await broken.drop();

    expect(found).toMatch(/the database|the ledger is broken|violates check constraint/);
  },
  120_000,
);
