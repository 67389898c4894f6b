/** Time for tests: what was to come has come, and nobody waits for seconds. */
import type { Database } from "./database.ts";
import { followThePast } from "./past.ts";

/**
 * Lets time pass for one user: everything that their books, plan and holds remember is that much longer
 * ago. The ledger too, which nobody may change; so its trigger is off for a moment.
 *
 * @param days - of 24 hours.
 */
export async function letTimePass(db: Database, userId: string, days: number): Promise<void> {
  const client = await db.admin.connect();
  try {
    await client.query("begin");
    await client.query("alter table public.token_transactions disable trigger user");
    // by way of another century: a period moved by its own length would be in the way of the one before
    const century = 40_000 * dayInMicroseconds;
    const passed = Math.round(days * dayInMicroseconds);
    for (const by of [century + passed, -century]) {
      for (const [table, columns] of Object.entries(moments)) {
        const sets = columns
          .map((column) => `${column} = ${column} - $2 * interval '1 microsecond'`)
          .join(", ");
        await client.query(`update ${table} set ${sets} where user_id = $1`, [userId, by]);
      }
    }
    // and what the ledger keeps of it; what was spent in this week may be of last week now
    await client.query(followThePast("pg_temp"));
    await client.query("select pg_temp.follow_the_past($1, $2 * interval '1 microsecond')", [userId, passed]);
    await client.query("alter table public.token_transactions enable trigger user");
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
}

const dayInMicroseconds = 86_400_000_000;

const moments: Record<string, string[]> = {
  "public.token_accounts": ["next_due_at", "next_alert_at", "updated_at"],
  "public.token_balances": ["granted_at", "expires_at", "period_start", "voided_at", "created_at"],
  "public.token_transactions": ["created_at"],
  "public.token_holds": ["created_at", "expires_at", "settled_at"],
  "public.token_usage": ["created_at"],
  "tokenbook.subscriptions": [
    "period_start",
    "expires_at",
    "next_slot_at",
    "cancel_at",
    "paused_at",
    "taken_back_at",
    "ended_at",
    "created_at",
  ],
};

/**
 * Does work during which a call gives an account up that another holds after 0.1 s, and not after seconds. For
 * tests of what "busy" leads to: how long the wait may be at most is another's matter (P18).
 */
export async function withShortLockWaits<T>(db: Database, work: () => Promise<T>): Promise<T> {
  const { rows } = await db.admin.query<{ name: string; definition: string }>(
    `select oid::regprocedure as name, pg_get_functiondef(oid) as definition from pg_proc
      where pronamespace = 'tokenbook'::regnamespace
        and proname in ('lock_accounts', 'queue_for_account', 'wait_for_account')`,
  );
  if (rows.length !== 3) throw new Error(`of the functions that wait, ${rows.length} are there`);
  try {
    for (const { name } of rows) await db.admin.query(`alter function ${name} set lock_timeout = '100ms'`);
    return await work();
  } finally {
    for (const { definition } of rows) await db.admin.query(definition);
  }
}
