/** Time for tests: what was to come has come, and nobody waits for seconds. */
import type { Database } from "./database.ts";

/**
 * Lets time pass for one user: everything that their books, plan and holds remember is that much longer ago. Books
 * nothing of it: that is for the next call that locks the account.
 *
 * @param days - of 24 hours.
 */
export async function letTimePass(db: Database, userId: string, days: number): Promise<void> {
  await db.admin.query("select tokenbook.move_past($1, $2 * interval '1 microsecond')", [
    userId,
    Math.round(days * 86_400_000_000),
  ]);
}

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
