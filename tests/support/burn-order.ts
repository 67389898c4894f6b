/**
 * The order in which grants are spent, said once more and on its own, so that a test can tell when the
 * books (supabase/schemas/20_ledger/burn_order.sql) do otherwise.
 */

/** What a grant's place depends on; `expiresAt` is Infinity for a grant that never expires. */
export interface Placed {
  priority: number;
  grantedAt: number;
  expiresAt: number;
  id: string | number;
}

export type BurnOrder = "fifo" | "expiring_first";

/** Compares two grants for sorting: what is spent first comes first. */
export function inBurnOrder(order: BurnOrder): (a: Placed, b: Placed) => number {
  return (a, b) =>
    a.priority - b.priority ||
    (order === "expiring_first" && a.expiresAt !== b.expiresAt ? a.expiresAt - b.expiresAt : 0) ||
    a.grantedAt - b.grantedAt ||
    (a.id < b.id ? -1 : 1);
}
