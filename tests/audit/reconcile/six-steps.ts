/** The six steps of scripts/sql/reconcile-user-token-balance.sql, and an old project with each scenario. */
import { readFile } from "node:fs/promises";
import type pg from "pg";
import type { Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";

export const script = await readFile(
  new URL("../../../scripts/sql/reconcile-user-token-balance.sql", import.meta.url),
  "utf8",
);
export const [, ...parts] = script.split(/^(?=-- Step \d:? ?.*-{3,}$)/m);

export interface Settings {
  initialGrant?: string;
  repair?: string;
  threshold?: string;
}

/** The script with its settings filled in, as a person would: in step 0, and nowhere else. */
export function settings(
  user: string,
  { initialGrant = "", repair = "no", threshold = "100" }: Settings,
): string {
  return parts[0]!
    .replace("'USER_ID_HERE'", `'${user}'`)
    .replace("'reconcile.initial_grant', ''", `'reconcile.initial_grant', '${initialGrant}'`)
    .replace("'reconcile.repair', 'no'", `'reconcile.repair', '${repair}'`)
    .replace("'reconcile.threshold', '100'", `'reconcile.threshold', '${threshold}'`);
}

/** Step 0 and one other, on a connection of their own, as the SQL editor runs a selection: its last result. */
// A test reads what it expects out of the answer; what is not there shows up as undefined.
// oxlint-disable-next-line typescript/no-explicit-any
export async function step(db: Database, nth: number, user: string, options: Settings = {}): Promise<any[]> {
  const client = await db.admin.connect();
  try {
    const results = (await client.query(
      settings(user, options) + parts[nth]!,
    )) as unknown as pg.QueryResult[];
    return results.at(-1)!.rows;
  } finally {
    client.release(true);
  }
}

const profile = (db: Database, [id, remaining, used, dollars]: [string, number, number, number]) =>
  db.admin.query(
    `insert into public.user_profiles (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost)
     values ($1, $2, $3, $4)`,
    [id, remaining, used, dollars],
  );
const usage = (
  db: Database,
  id: string,
  tokens: number,
  { action = "chat_conversation", cents = 0, success = true, ago = "1 day" } = {},
) =>
  db.admin.query(
    `insert into public.token_usage (user_id, action_type, model_used, tokens_used, cost_estimate, success, error_message, created_at)
     values ($1, $2, 'gpt-4', $3, $4, $5, case when not $5 then 'timeout' end, date_trunc('day', now()) - $6::interval)`,
    [id, action, tokens, cents, success, ago],
  );

export const SCENARIOS = [
  "published",
  "higher",
  "lower",
  "cost",
  "none",
  "negative",
  "failed",
  "twice",
  "clean",
] as const;
export type Users = Record<(typeof SCENARIOS)[number], string>;

/** A user for each scenario of the guide, in a project as it was before the clean-up. */
export async function loadScenarios(db: Database): Promise<Users> {
  const before = await readFile(
    new URL("../../migrations/old-projects/legacy/before-cleanup.sql", import.meta.url),
    "utf8",
  );
  await db.admin.query(before);
  const users = {} as Users;
  for (const name of SCENARIOS) users[name] = await createUser(db, { email: `${name}@example.com` });
  const granted = (id: string, tokens = 600_000) =>
    db.admin.query(
      "insert into public.token_transactions (user_id, action_type, tokens_used, created_at) values ($1, 'subscription_grant', $2, now() - interval '20 days')",
      [id, tokens],
    );
  await granted(users.published);
  await profile(db, [users.published, 600_100, 0, 4]);
  await usage(db, users.published, 400_000, { action: "vision_generation", cents: 300, ago: "10 days" });
  await usage(db, users.published, 32_778, { cents: 100, ago: "9 days" });

  await granted(users.higher);
  await profile(db, [users.higher, 590_000, 20_000, 0]);
  await usage(db, users.higher, 20_000);

  // granted by an admin, as the trail alone has it
  await usage(db, users.lower, 50_000, { action: "admin_grant", ago: "30 days" });
  await usage(db, users.lower, 1_000, { action: "admin_deduct", ago: "20 days" });
  await profile(db, [users.lower, 30_000, 10_000, 0]);
  await usage(db, users.lower, 10_000);

  await granted(users.cost);
  await profile(db, [users.cost, 595_000, 5_000, 9.99]);
  await usage(db, users.cost, 5_000, { cents: 250 });

  await profile(db, [users.none, 50_000, 550_000, 12.5]);

  await granted(users.negative, 1_000);
  await profile(db, [users.negative, -400, 1_400, 0]);
  await usage(db, users.negative, 1_400);

  await granted(users.failed);
  await profile(db, [users.failed, 593_000, 7_000, 0]);
  await usage(db, users.failed, 2_000);
  await usage(db, users.failed, 5_000, { success: false, ago: "3 days" });

  await granted(users.twice);
  await profile(db, [users.twice, 592_000, 8_000, 0]);
  await usage(db, users.twice, 4_000, { ago: "2 days" });
  await usage(db, users.twice, 4_000, { ago: "2 days" });

  await granted(users.clean);
  await profile(db, [users.clean, 599_000, 1_000, 0]);
  await usage(db, users.clean, 1_000);
  return users;
}
