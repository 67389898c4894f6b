/** What a correction will change, as far as can be said before: the database decides when it is done. */
import type { Grant, TokenBalance } from "tokenbook";

export interface Change {
  grant: Grant;
  now: number;
  after: number;
}

export interface Preview {
  /** Of the grants, those that will have less, in the order in which they pay. */
  changes: Change[];
  /** What can be spent now, and after it. */
  now: number;
  after: number;
  /** Of a correction upwards: what of it repays a debt. */
  repaid: number;
  /** So many tokens are not there: it would be refused. */
  missing: number;
  /** There are more grants than are known here, and they may pay too. */
  isPartial: boolean;
}

export function previewOf(balance: TokenBalance, delta: number): Preview {
  const now = balance.total_active;
  const repaid = Math.min(Math.max(delta, 0), balance.total_owed);
  const missing = Math.max(0, -delta - now);
  const changes: Change[] = [];
  let left = Math.max(0, -delta);
  for (const grant of missing > 0 ? [] : balance.grants) {
    if (left === 0) break;
    const paid = Math.min(left, grant.tokens_remaining);
    changes.push({ grant, now: grant.tokens_remaining, after: grant.tokens_remaining - paid });
    left -= paid;
  }
  return {
    changes,
    now,
    after: missing > 0 ? now : now + delta - repaid,
    repaid,
    missing,
    isPartial: left > 0 && missing === 0,
  };
}
