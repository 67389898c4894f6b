import { select } from "./client.ts";
import type { SqlClient } from "./client.ts";
import { pageSize, type HistoryPage } from "../../../../supabase/functions/balance/ledger-csv.ts";

/** How many transactions a user has; 0 when they have no account. */
export async function countTransactions(client: SqlClient, userId: string): Promise<number> {
  const [account] = await select<{ last: string }>(
    client,
    "select last_transaction_id as last from public.token_accounts where user_id = $1",
    [userId],
  );
  return Number(account?.last ?? 0);
}

/** The page of a user's transactions before that number; the newest for null. */
export async function readHistory(
  client: SqlClient,
  userId: string,
  before: number | null,
): Promise<HistoryPage> {
  const [row] = await select<{ page: HistoryPage }>(
    client,
    "select public.get_token_history($1, $2, $3) as page",
    [userId, pageSize, before],
  );
  return row!.page;
}
