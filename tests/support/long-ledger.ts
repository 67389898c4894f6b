/** Ledgers longer than calls could make them in a test's time. */
import type { Database } from "./database.ts";
import { grant } from "./books.ts";

/**
 * Gives a user who has no account yet one grant and this many deductions of 1, written at once, as the
 * functions would have one by one.
 *
 * @param padding how many characters each of them has in its metadata, so that few of them are much
 */
export async function writeLongLedger(
  db: Database,
  userId: string,
  deductions: number,
  { padding = 0 } = {},
): Promise<void> {
  const grantId = await grant(db, userId, deductions + 1_000);
  await db.admin.query(
    `with entries as (
       insert into public.token_transactions
         (user_id, id, entry_type, action_type, tokens, balance_after, grant_ids, grant_tokens, reason, actor_role, actor_id, metadata)
       select $1, 1 + n, 'deduction', 'chat_conversation', -1, $3::bigint + 1000 - n, array[$2::uuid], array[1],
              'chat_conversation', 'user', $1, case when $4 > 0 then jsonb_build_object('padding', repeat('x', $4::integer)) else '{}' end
         from generate_series(1, $3::bigint) n
     ), account as (
       update public.token_accounts
          set tokens_remaining = 1000, tokens_used = $3::bigint, last_transaction_id = 1 + $3::bigint,
              spent_at = clock_timestamp(), spent_day = $3::bigint, spent_week = $3::bigint, spent_month = $3::bigint
        where user_id = $1
     )
     update public.token_balances set tokens_remaining = 1000 where user_id = $1 and id = $2`,
    [userId, grantId, deductions, padding],
  );
  await db.admin.query(
    `update public.token_accounts
        set spent_at = (select max(t.created_at) from public.token_transactions t where t.user_id = $1),
            spent_day = $2, spent_week = $2, spent_month = $2
      where user_id = $1`,
    [userId, deductions],
  );
}
