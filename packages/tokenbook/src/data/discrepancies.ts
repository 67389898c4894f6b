import type { Reconciliation } from "../client/answers.ts";
import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** The scenarios that a discrepancy can be; see docs/guides/reconciliation.md. */
export const scenarios = [
  "balance_higher",
  "balance_lower",
  "cost_mismatch",
  "no_usage_records",
  "negative_balance",
  "failed_operations_counted",
  "duplicate_usage",
] as const;

/** A user whose books and records differ. Costs in cents; differences positive where the books have more. */
export type Discrepancy = Omit<
  Reconciliation,
  "formula" | "counters_before_the_books" | "last_transaction_id"
> & { email: string | null };

/** How many accounts there are. */
export async function countAccounts(client: SqlClient): Promise<number> {
  const [row] = await select<{ count: string }>(client, "select count(*) from public.token_accounts");
  return Number(row!.count);
}

/** The user `size` accounts after that one; null when there are fewer. */
export async function userAfter(
  client: SqlClient,
  after: string | null,
  size: number,
): Promise<string | null> {
  const [row] = await select<{ user_id: string }>(
    client,
    `select user_id from public.token_accounts
      where $1::uuid is null or user_id > $1
      order by user_id limit 1 offset $2`,
    [after, size - 1],
  );
  return row?.user_id ?? null;
}

/** The discrepancies of the users after one up to another; null stands for no bound. */
export async function findDiscrepancies(
  client: SqlClient,
  { threshold, after, until }: { threshold: number; after: string | null; until: string | null },
): Promise<Discrepancy[]> {
  // As JSON: tokens are numbers, moments are ISO timestamps, and both are exact.
  const rows = await select<{ row: Discrepancy }>(
    client,
    "select to_jsonb(d) - 'scenarios' as row from public.find_token_discrepancies($1, $2, $3) d",
    [threshold, after, until],
  );
  return rows.map(({ row }) => row);
}

/** One user's books against their records, whatever the size of the difference. */
export async function reconcileUser(client: SqlClient, userId: string): Promise<Reconciliation> {
  const [row] = await select<{ answer: Reconciliation }>(
    client,
    "select public.reconcile_user_token_balance($1) as answer",
    [userId],
  );
  return row!.answer;
}

/** The users with that id or address, by id. */
export async function findUsers(
  client: SqlClient,
  idOrEmail: string,
): Promise<{ id: string; email: string | null }[]> {
  return await select(
    client,
    `select u.id, u.email from auth.users u where u.id::text = lower($1) or lower(u.email) = lower($1)
     union
     select a.user_id, u.email from public.token_accounts a left join auth.users u on u.id = a.user_id
      where a.user_id::text = lower($1)
     order by 1`,
    [idOrEmail],
  );
}

/** What an adjustment answers. */
export interface Adjustment {
  success: boolean;
  transaction_id: number | null;
  tokens_remaining: number;
  replayed: boolean;
}

/** Books a signed correction of a user's balance. */
export async function adjust(
  client: SqlClient,
  correction: { userId: string; delta: number; reason: string; key: string; metadata: object },
): Promise<Adjustment> {
  const [row] = await select<{ receipt: Adjustment }>(
    client,
    "select public.adjust_tokens($1, $2, $3, $4, $5) as receipt",
    [
      correction.userId,
      correction.delta,
      correction.reason,
      correction.key,
      JSON.stringify(correction.metadata),
    ],
  );
  return row!.receipt;
}
