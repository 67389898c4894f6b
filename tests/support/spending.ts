/** Many connections spending from few users: the trial of overspending, at any isolation level. */
import type pg from "pg";
import { storm } from "./storm.ts";
import { createUser } from "./roles.ts";
import { grant } from "./books.ts";
import type { Database } from "./database.ts";
import { diceFor } from "./dice.ts";

/** The isolation levels of Postgres. */
export const isolationLevels = ["read committed", "repeatable read", "serializable"] as const;
export type Isolation = (typeof isolationLevels)[number];

export interface Spending {
  connections: number;
  attempts: number;
  /** How many users; half of all attempts are on the first of them. */
  users: number;
  /** Whether a user's tokens are in one grant; the known-bad variants know only one. Default three. */
  oneGrant?: boolean;
  /** Default `read committed`. */
  isolation?: Isolation;
}

export interface Spent {
  mix: Record<string, number>;
  /** What is wrong afterwards, in words: tokens spent that there were not, or that were lost. */
  wrong: string[];
}

/**
 * Spends 1 to 7 tokens at a time from users who have a little more than half of what is asked for, in
 * three grants each. A call that lost a race (40001) is sent again, as clients do.
 */
export async function spendDown(db: Database, spending: Spending): Promise<Spent> {
  const { connections, attempts, users, oneGrant = false, isolation = "read committed" } = spending;
  const asked = (share: number) => Math.round(share * attempts * 4);
  const purses = await Promise.all(
    Array.from({ length: users }, async (_, nth) => {
      const id = await createUser(db);
      const tokens = Math.ceil(asked(nth === 0 ? 0.5 : 0.5 / (users - 1)) * 0.55);
      const [first, second] = oneGrant ? [0, 0] : [Math.ceil(tokens * 0.4), Math.ceil(tokens * 0.35)];
      for (const part of [first, second, tokens - first - second]) if (part > 0) await grant(db, id, part);
      return { id, tokens, spent: 0 };
    }),
  );
  let retries = 0;
  const { mix } = await storm(db, {
    connections,
    attempts,
    async run(client, attempt) {
      const purse = attempt % 2 === 0 ? purses[0]! : purses[1 + (attempt % (purses.length - 1))]!;
      const tokens = 1 + diceFor(attempt).below(7);
      for (let again = 0; ; again++) {
        try {
          const success = await spend(client, purse.id, tokens, isolation);
          if (success) purse.spent += tokens;
          return success ? "spent" : "short";
        } catch (error) {
          if (
            (
              error as {
                code?: string;
              }
            ).code !== "40001"
          )
            throw error;
          retries++;
          if (again === 50) return "given up";
          await backOff(again);
        }
      }
    },
  });

  const { rows } = await db.admin.query(
    "select user_id, sum(tokens_remaining)::int as left from public.token_balances where user_id = any ($1) group by user_id",
    [purses.map(({ id }) => id)],
  );
  const left = new Map(rows.map((row) => [row.user_id as string, row.left as number]));
  const wrong = purses.flatMap(({ id, tokens, spent }) => [
    ...(spent > tokens ? [`${id} had ${tokens} and spent ${spent}`] : []),
    ...(tokens - spent !== left.get(id)
      ? [`${id} had ${tokens}, spent ${spent} and has ${left.get(id)}`]
      : []),
  ]);
  return { mix: { ...mix, ...(retries > 0 && { "lost a race, sent again": retries }) }, wrong };
}

/** Before a call that lost a race is sent again. When is left to chance: the seed says what is asked, not when. */
const backOff = (again: number) =>
  new Promise((go) => setTimeout(go, Math.random() * 4 * 2 ** Math.min(again, 6)));

async function spend(
  client: pg.Client,
  user: string,
  tokens: number,
  isolation: Isolation,
): Promise<boolean> {
  return at(client, isolation, async () => {
    const sql = "select public.deduct_tokens_with_fifo($1, $2) as receipt";
    return (await client.query(sql, [user, tokens])).rows[0].receipt.success as boolean;
  });
}

/** Does something in a transaction at that isolation level; at read committed as clients do, without one. */
async function at<T>(client: pg.Client, isolation: Isolation, work: () => Promise<T>): Promise<T> {
  if (isolation === "read committed") return work();
  await client.query(`begin isolation level ${isolation}`);
  try {
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

/** The same, sent again for as long as it loses races (40001). */
export async function sentAgain<T>(
  client: pg.Client,
  isolation: Isolation,
  work: () => Promise<T>,
): Promise<T> {
  for (let again = 0; ; again++) {
    try {
      return await at(client, isolation, work);
    } catch (error) {
      if ((error as { code?: string }).code !== "40001" || again === 50) throw error;
      await backOff(again);
    }
  }
}
