/** The users of scripts/sql/broken-books.sql: what is wrong with each, and what finds it. Local use only. */
export const brokenBooks: {
  email: string;
  /** What was done behind the functions' back. */
  done: string;
  /** The scenario that `npm run reconcile` names. */
  scenario: string;
  /** The invariants that `npm run verify` names; left out: none, the ledger agrees with itself. */
  verify?: string[];
}[] = [
  {
    email: "published-example@example.com",
    done: "the clean-up of the older project gave a grant back that had been used",
    scenario: "balance_higher",
  },
  {
    email: "balance-higher@example.com",
    done: "the app wrote down a use and did not deduct it",
    scenario: "balance_higher",
  },
  {
    email: "balance-lower@example.com",
    done: "an admin's grant was written down and never booked",
    scenario: "balance_lower",
  },
  {
    email: "cost-mismatch@example.com",
    done: "the cost of a use was changed afterwards",
    scenario: "cost_mismatch",
    verify: ["I3 total cost"],
  },
  {
    email: "no-usage-records@example.com",
    done: "a counter says how much was used, and no row does",
    scenario: "no_usage_records",
  },
  {
    email: "negative-balance@example.com",
    done: "more was used than was ever granted",
    scenario: "negative_balance",
  },
  {
    email: "failed-operations@example.com",
    done: "a use that was deducted was marked as failed",
    scenario: "failed_operations_counted",
    verify: ["I4 usage = its transaction"],
  },
  {
    email: "duplicate-usage@example.com",
    done: "one request was sent twice, without an idempotency key",
    scenario: "duplicate_usage",
  },
];
