import { select, takenBack } from "./client.ts";
import type { SqlClient } from "./client.ts";

/** Rows in which something was erased, by table. */
export type Erased = Record<string, number>;

/**
 * Erases what is personal of a user, a portion at a time.
 *
 * @returns the rows of each portion; the last one has none, and says that nothing is left.
 */
export async function* forgetUser(client: SqlClient, userId: string): AsyncGenerator<Erased> {
  for (let isDone = false; !isDone;) {
    const [row] = await select<{ answer: { erased: Erased; is_done: boolean } }>(
      client,
      "select public.forget_token_user($1) as answer",
      [userId],
    );
    isDone = row!.answer.is_done;
    yield row!.answer.erased;
  }
}

/** What that would be, in one transaction that is taken back. */
export async function whatIsPersonal(client: SqlClient, userId: string): Promise<Erased> {
  return await takenBack(client, async () => {
    let sum: Erased = {};
    for await (const erased of forgetUser(client, userId)) sum = added(sum, erased);
    return sum;
  });
}

export function added(sum: Erased, more: Erased): Erased {
  const tables = new Set([...Object.keys(sum), ...Object.keys(more)]);
  return Object.fromEntries([...tables].map((table) => [table, (sum[table] ?? 0) + (more[table] ?? 0)]));
}

/** Whether they can still sign in. */
export async function isSignedUp(client: SqlClient, userId: string): Promise<boolean> {
  const rows = await select(client, "select from auth.users where id = $1", [userId]);
  return rows.length > 0;
}
