/** The first operations of users whom the books do not know yet, all at the same moment. */
import type pg from "pg";
import type { Database } from "./database.ts";
import { createUser } from "./roles.ts";
import { type Isolation, sentAgain } from "./spending.ts";
import { storm } from "./storm.ts";

/**
 * Users with nothing in the books, half of them on a plan, half to be given the default one: 16
 * connections ask, grant and spend at once for each of them.
 *
 * @returns what is wrong afterwards, in words: the tokens of a plan given twice, or a balance that does
 *   not follow from what was done
 */
export async function firstOperations(
  db: Database,
  users: number,
  isolation: Isolation = "read committed",
): Promise<{ times: number; mix: Record<string, number>; wrong: string[] }> {
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const isDefault = (yes: boolean) =>
    db.admin.query(
      "update public.token_plans set is_default = $1, given_to_users_since = '-infinity' where plan_type = 'free'",
      [yes],
    );
  for (let nth = 0; nth < users; nth++) {
    const user = await createUser(db);
    if (nth % 2 === 0) {
      await db.admin.query(
        "insert into tokenbook.subscriptions (user_id, plan_type, billing_cycle) values ($1, 'free', 'none')",
        [user],
      );
    }
    await isDefault(true);
    const race = await storm(db, {
      connections: 16,
      attempts: 48,
      run: (client, attempt) => sentAgain(client, isolation, () => first(client, user, attempt)),
    });
    await isDefault(false);
    for (const [outcome, times] of Object.entries(race.mix)) mix[outcome] = (mix[outcome] ?? 0) + times;
    const { rows } = await db.admin.query(
      `select a.tokens_remaining::int as left, p.tokens::int as plan,
              (select count(*)::int from public.token_balances b where b.user_id = a.user_id and b.subscription_id is not null) as starts
         from public.token_accounts a
        cross join public.token_plans p
        where a.user_id = $1 and p.plan_type = 'free'`,
      [user],
    );
    const { left, plan, starts } = rows[0];
    const expected =
      starts * plan + 5 * (race.mix["first: granted"] ?? 0) - 2 * (race.mix["first: spent"] ?? 0);
    if (starts > 1) wrong.push(`${user} was given the first tokens of their plan ${starts} times`);
    if (left !== expected) wrong.push(`${user} has ${left}, not ${expected}`);
    const odd = Object.keys(race.mix).filter((outcome) => !outcome.startsWith("first: "));
    wrong.push(...odd.map((outcome) => `${outcome}: ${race.mix[outcome]}`));
  }
  return { times: users * 48, mix, wrong };
}

async function first(client: pg.Client, user: string, attempt: number): Promise<string> {
  if (attempt % 3 === 0) {
    await client.query("select public.get_user_token_balance($1)", [user]);
    return "first: looked";
  }
  if (attempt % 3 === 1) {
    await client.query("select public.grant_tokens($1, 5, 'purchase')", [user]);
    return "first: granted";
  }
  const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 2) as receipt", [user]);
  return rows[0].receipt.success ? "first: spent" : "first: short";
}
