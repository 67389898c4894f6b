import type { Reconciliation } from "../client/answers.ts";

/** What is to be booked for a user, or why nothing is. */
export type Repair =
  | { userId: string; delta: number; reason: string; key: string; metadata: object }
  | { userId: string; delta: 0; why: string };

/**
 * The adjustment that brings a balance to what was recorded. It settles everything before it, so it
 * is for all of a user's findings at once, and it takes no more than there is.
 *
 * @example
 * ```ts
 * const repair = planRepair(await admin.reconcile(userId));
 * if ("why" in repair) show(repair.why);
 * else await books.adjust(repair.delta, { userId, reason: repair.reason, idempotencyKey: repair.key });
 * ```
 */
export function planRepair(found: Reconciliation): Repair {
  const userId = found.user_id;
  if (found.findings.some(({ cause }) => cause === "account_differs_from_ledger")) {
    return {
      userId,
      delta: 0,
      why: "account and ledger differ, which no adjustment repairs; see verify_token_ledger",
    };
  }
  const repairable = found.findings.filter((finding) => finding.is_repairable);
  const off = repairable.reduce((sum, finding) => sum + finding.off, 0);
  const delta = -Math.min(off, found.current_remaining);
  if (repairable.length === 0) {
    const named = [...new Set(found.findings.map(({ scenario }) => scenario))].join(", ");
    return {
      userId,
      delta: 0,
      why: `${named || "nothing"}: not repaired by itself, its advice says what to do`,
    };
  }
  if (delta === 0) {
    return {
      userId,
      delta: 0,
      why: off === 0 ? "its differences add up to nothing" : "the balance is 0 already",
    };
  }
  const named = [...new Set(repairable.map(({ scenario }) => scenario))].toSorted().join(", ");
  return {
    userId,
    delta,
    reason: `reconciliation: ${named}`,
    // Keys are a user's own. The ledger as it was looked at: a retry, or two at once, book it once.
    key: `reconciliation-${found.last_transaction_id}`,
    metadata: {
      reconciliation: { difference: found.remaining_difference, expected: found.expected_remaining },
    },
  };
}
