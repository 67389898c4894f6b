import type { SqlClient } from "./client.ts";
import { adjust, reconcileUser } from "./discrepancies.ts";
import { planRepair } from "./repair-plan.ts";

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
