// @module-tag proof
import { expect, test } from "vitest";
import { applyMutant } from "../support/mutants.ts";
import { booksWithAClock, check, spendInOrder } from "./check.ts";

// The comparison itself is promise P19; here is what it must be able to see.

test.each([
  ["lifo", "the newest grant pays first"],
  ["refunds-give-back-what-was-paid-first", "a refund starts from the wrong end"],
  ["captures-keep-the-rest", "what a capture leaves does not come back"],
  ["overruns-take-nothing", "what was used beyond a hold is not taken, though it is there"],
  ["children-release-to-the-grants", "what a child leaves goes to the grants"],
  ["children-get-what-does-not-pay", "a child gets grants that do not pay for it"],
  ["children-spend-beyond-their-budget", "what a child uses beyond itself is taken from the balance"],
  ["holds-never-run-out", "a hold that ran out is not released"],
  ["refunds-forget-each-other", "a charge is refunded twice"],
  ["grants-begin-before-their-moment", "a grant to come is there before its moment"],
  ["voids-forget-what-was-spent", "taking back leaves what was spent"],
  ["voids-take-what-was-carried-over", "taking back takes what another grant has now"],
  ["batches-undo-nothing", "all or nothing is whatever goes"],
  ["renewals-give-a-period-twice", "the same period is given again"],
  ["refunds-forget-what-was-clawed-back", "a refund in two parts takes the first part twice"],
  ["won-disputes-give-nothing-back", "a dispute that was won changes nothing"],
  ["settle-by-the-last-event", "a refund is what the last event said of it"],
  ["payments-keep-their-plan", "a payment sent again undoes a later upgrade"],
  ["what-is-bought-now-waits", "an upgrade does not come before a period that was paid ahead"],
  ["restricted-grants-pay-for-everything", "what grants pay for is not asked"],
  ["fast-path-forgets-restrictions", "a usual deduction takes from whatever grant"],
  ["batch-forgets-restrictions", "an item of a batch takes from whatever grant"],
  ["restricted-tokens-count", "tokens that do not pay for it count as there"],
  ["actions-are-not-asked", "a grant for some actions pays for all"],
  ["models-are-not-asked", "a grant for some models pays for all"],
  ["entries-forget-the-model", "the ledger does not say which model was called"],
  ["upgrades-fill-up", "an upgrade gives what a renewal would"],
  ["burn-order-is-not-kept", "the chosen order is not the order", "expiring_first"],
])(
  "the test sees it: %s (%s)",
  async (mutant, _what, order = "fifo") => {
    const broken = await booksWithAClock();
    await applyMutant(broken, mutant);
    if (order === "expiring_first") await spendInOrder(broken, order);

    const found = await check(broken, 600, 100, false).then(
      () => null,
      (error: Error) => String((error.cause as Error | undefined)?.message ?? error.message),
    );
    await broken.drop();

    expect(found).toMatch(
      /the database|the ledger is broken|violates (check|not-null) constraint|was refused: [a-z_]+/,
    );
  },
  120_000,
);
