import type { SqlClient } from "./client.ts";
import { adjust, reconcileUser } from "./discrepancies.ts";
import type { Reconciliation } from "./discrepancies.ts";

/** What is to be booked for a user, or why nothing is. */
export type Repair =
  | { userId: string; delta: number; reason: string; key: string; metadata: object }
  | { userId: string; delta: 0; why: string };

/** What came of it. */
export interface Repaired {
  user_id: string;
  /** Tokens booked, signed; 0 when nothing was. */
  delta: number;
  transaction_id: number | null;
  tokens_remaining: number;
  /** In words, for people. */
  outcome: string;
}

/**
 * The adjustment that brings a balance to what was recorded. It settles everything before it, so it
 * is for all of a user's findings at once, and it takes no more than there is.
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

/** Looks again, and books what is still needed. */
export async function repair(client: SqlClient, userId: string): Promise<Repaired> {
  const found = await reconcileUser(client, userId);
  const plan = planRepair(found);
  if (!("key" in plan)) {
    return {
      user_id: userId,
      delta: 0,
      transaction_id: null,
      tokens_remaining: found.current_remaining,
      outcome: `not repaired: ${plan.why}`,
    };
  }
  const receipt = await adjust(client, plan);
  return {
    user_id: userId,
    delta: receipt.success ? plan.delta : 0,
    transaction_id: receipt.transaction_id,
    tokens_remaining: receipt.tokens_remaining,
    outcome: receipt.success
      ? `booked ${plan.delta.toLocaleString("en")} as transaction ${receipt.transaction_id}, "${plan.reason}"`
      : "not repaired: tokens were spent meanwhile; run it again",
  };
}
