/** What tests of the test clock share. */
import type { Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";

/** What `tokenbook.advance_test_clock` answers. */
export interface Advanced {
  user_id: string;
  advanced_seconds: number;
  seconds_left: number;
  ahead_seconds: number;
  transactions: number;
  alerts: number;
  is_done: boolean;
}

/** A user whose clock may be advanced. */
export async function testUser(db: Database): Promise<string> {
  const user = await createUser(db);
  await db.admin.query("insert into tokenbook.test_users (user_id) values ($1)", [user]);
  return user;
}

/** One call. */
export async function advanceOnce(db: Database, user: string, by: string): Promise<Advanced> {
  const { rows } = await db.admin.query<{ said: Advanced }>(
    "select tokenbook.advance_test_clock($1, $2::interval) as said",
    [user, by],
  );
  return rows[0]!.said;
}

/** Advances a clock, in as many calls as it takes. */
export async function advance(db: Database, user: string, by: string): Promise<Advanced[]> {
  const calls = [await advanceOnce(db, user, by)];
  while (!calls.at(-1)!.is_done && calls.length < 100)
    calls.push(await advanceOnce(db, user, `${Math.max(1, calls.at(-1)!.seconds_left)} seconds`));
  return calls;
}
