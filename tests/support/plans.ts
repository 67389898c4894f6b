/** What tests of plans and payments share. */
import type { Database } from "./database.ts";

/** Makes the free plan the one that new users get, as it is when Tokenbook is installed. */
export async function giveFreePlanAtRegistration(db: Database): Promise<void> {
  await db.admin.query(
    "update public.token_plans set is_default = true, given_to_users_since = '-infinity' where plan_type = 'free'",
  );
}

/** Limit and balance of a user side by side, with their plan and debt. */
export interface Standing {
  plan: string | null;
  limit: number | null;
  balance: number | null;
  owed: number | null;
}

/** How a user stands, read from the tables. */
export async function standing(db: Database, userId: string): Promise<Standing> {
  const { rows } = await db.admin.query(
    `select s.plan_type as plan, s.tokens_limit::float8 as limit, a.tokens_remaining::float8 as balance, a.tokens_owed::float8 as owed
       from (values ($1::uuid)) u (id)
       left join public.token_subscriptions s on s.user_id = u.id
       left join public.token_accounts a on a.user_id = u.id`,
    [userId],
  );
  return rows[0] as Standing;
}

/** Prints one line of the table "before and after" that a flow is judged by. */
export function show(flow: string, before: Standing, after: Standing): void {
  const cell = (at: Standing) =>
    `${at.plan ?? "-"} limit=${at.limit ?? "-"} balance=${at.balance ?? "-"} owed=${at.owed ?? "-"}`;
  console.log(`${flow}: ${cell(before)} -> ${cell(after)}`);
}
