/**
 * A production-like old project: 47 grant transactions of 23 users, with usage, deductions,
 * expired and never-expiring grants, ties in time, a user gone from auth, and rows that are no
 * grant. The rows are made here, and what must come of them is computed here too, from a
 * table of types and lifetimes of its own: independently of the migrations' SQL.
 */
import { readFile } from "node:fs/promises";
import type { Database } from "../../../support/database.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export interface LegacyGrant {
  id: string;
  user: string;
  action: string;
  tokens: number;
  at: Date;
}
export interface ExpectedGrant {
  user: string;
  type: string;
  tokens: number;
  remaining: number;
  at: string;
  expires: string | null;
}
export interface LegacyProject {
  users: string[];
  /** One of the users: the rows are there, the user is not in auth.users any more. */
  gone: string;
  grants: LegacyGrant[];
  usage: { user: string; tokens: number; cents: number; success: boolean; at: Date; action: string }[];
  deductions: { user: string; tokens: number; at: Date }[];
}

/** Lifetimes in days by grant type, as the hotfix document has them; `null` = never. */
const LIFETIME_DAYS: Record<string, number | null> = {
  annual: 365,
  "28day": 90,
  trial: 56,
  purchase: null,
  admin: 365,
};

function typeOf({ action, tokens }: LegacyGrant): string {
  if (action === "subscription_grant" || action === "renewal_grant")
    return tokens >= 5_000_000 ? "annual" : "28day";
  return { trial_grant: "trial", token_pack_purchase: "purchase", admin_grant: "admin" }[action]!;
}

/** What each grant must have become: expired 0, active full. */
export function expectedGrants(project: LegacyProject, now = Date.now()): ExpectedGrant[] {
  return project.grants.map((grant) => {
    const type = typeOf(grant);
    const days = LIFETIME_DAYS[type]!;
    const expires = days === null ? null : grant.at.getTime() + days * DAY;
    return {
      user: grant.user,
      type,
      tokens: grant.tokens,
      remaining: expires !== null && expires <= now ? 0 : grant.tokens,
      at: grant.at.toISOString(),
      expires: expires === null ? null : new Date(expires).toISOString(),
    };
  });
}

const uuid = (kind: string, n: number) => `${kind}-0000-4000-8000-${String(n).padStart(12, "0")}`;

/** The project's rows; deterministic but for the day, from which all moments are counted back. */
export function legacyProject(): LegacyProject {
  const today = Math.floor(Date.now() / DAY) * DAY;
  const ago = (days: number, hours = 0) => new Date(today - days * DAY + hours * HOUR);
  const users = Array.from({ length: 23 }, (_, i) => uuid("00000001", i + 1));
  const grants: LegacyGrant[] = [];
  const add = (user: number, action: string, tokens: number, at: Date) =>
    grants.push({ id: uuid("00000002", grants.length + 1), user: users[user]!, action, tokens, at });

  // members: annual (one of them long expired), renewed, and exactly at the border of 5,000,000
  add(0, "subscription_grant", 5_000_000, ago(400));
  add(0, "renewal_grant", 5_000_000, ago(35));
  add(1, "subscription_grant", 5_000_000, ago(200));
  add(1, "subscription_grant", 4_999_999, ago(60));
  add(2, "renewal_grant", 6_000_000, ago(366));
  add(2, "renewal_grant", 6_000_000, ago(364));
  // 28-day cycles around their 90 days
  for (let user = 3; user < 9; user++) {
    add(user, "subscription_grant", 600_000, ago(118));
    add(user, "renewal_grant", 600_000, ago(89));
    add(user, "renewal_grant", 600_000, ago(61));
  }
  // trials around their 56 days, and a tie: two grants of one moment, one of the same amount too
  for (let user = 9; user < 15; user++) add(user, "trial_grant", 100_000, ago(user === 9 ? 57 : 55));
  add(15, "trial_grant", 100_000, ago(10));
  add(15, "admin_grant", 50_000, ago(10));
  add(16, "admin_grant", 25_000, ago(20));
  add(16, "admin_grant", 25_000, ago(20));
  // packs never expire
  for (let user = 17; user < 21; user++) add(user, "token_pack_purchase", 1_000_000, ago(700));
  add(17, "token_pack_purchase", 250_000, ago(3));
  add(18, "admin_grant", 10_000, ago(366));
  // the user of the document: 100,000 on Oct 5, 500,000 on Nov 7, used more than the first
  add(21, "trial_grant", 100_000, ago(40));
  add(21, "token_pack_purchase", 500_000, ago(7));
  // the user is gone from auth, their money is not
  add(22, "token_pack_purchase", 2_000_000, ago(90));
  add(22, "trial_grant", 100_000, ago(80));
  add(14, "admin_grant", 1_000, ago(1));
  add(20, "trial_grant", 5_000, ago(30));
  add(19, "admin_grant", 7_000, ago(2));

  const usage: LegacyProject["usage"] = [];
  const deductions: LegacyProject["deductions"] = [];
  for (const [i, user] of users.slice(0, 22).entries()) {
    for (let n = 0; n < i % 4; n++) {
      const tokens = 1_000 * (i + 1) + n;
      usage.push({
        user,
        tokens,
        cents: i + n,
        success: n !== 2,
        at: ago(5 - n, i),
        action: "chat_conversation",
      });
      deductions.push({ user, tokens, at: ago(5 - n, i) });
    }
  }
  usage.push({
    user: users[21]!,
    tokens: 463_843,
    cents: 900,
    success: true,
    at: ago(4),
    action: "vision_generation",
  });
  usage.push({ user: users[21]!, tokens: 100, cents: 0, success: true, at: ago(3), action: "admin_deduct" });
  return { users, gone: users[22]!, grants, usage, deductions };
}

async function run(db: Database, file: string): Promise<void> {
  await db.admin.query(await readFile(new URL(file, import.meta.url), "utf8"));
}

/** Loads the project, in the state before any clean-up. */
export async function loadBeforeCleanup(db: Database, project: LegacyProject): Promise<void> {
  await run(db, "before-cleanup.sql");
  const { admin } = db;
  for (const [i, user] of project.users.entries()) {
    if (user === project.gone) continue;
    await admin.query("insert into auth.users (id, email) values ($1, $2)", [user, `user${i}@example.com`]);
    await admin.query(
      `insert into public.user_profiles (user_id, first_name, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used,
         vibe_assistant_total_cost, storage_quota_gb) values ($1, $2, $3, $4, $5, $6)`,
      [user, `User ${i}`, 1_000 * i, 10 * i, i / 4, i % 3 === 0 ? null : 25 * (i % 3)],
    );
  }
  for (const { id, user, action, tokens, at } of project.grants) {
    await admin.query(
      "insert into public.token_transactions (id, user_id, action_type, tokens_used, created_at) values ($1, $2, $3, $4, $5)",
      [id, user, action, tokens, at],
    );
  }
  for (const { user, tokens, at } of project.deductions) {
    await admin.query(
      "insert into public.token_transactions (user_id, action_type, tokens_used, created_at) values ($1, 'chat_conversation', $2, $3)",
      [user, -tokens, at],
    );
  }
  for (const { user, tokens, cents, success, at, action } of project.usage) {
    await admin.query(
      `insert into public.token_usage (user_id, action_type, model_used, tokens_used, cost_estimate, success, created_at)
       values ($1, $2, 'gpt-4', $3, $4, $5, $6)`,
      [user, action, tokens, cents, success, at],
    );
  }
}

/** Loads the project, after the first clean-up had run and created no grant at all. */
export async function loadWithNothingCreated(db: Database, project: LegacyProject): Promise<void> {
  await loadBeforeCleanup(db, project);
  await run(db, "after-first-cleanup.sql");
}

/** Loads the project, after the first clean-up had created impossible balances. */
export async function loadWithImpossibleBalances(db: Database, project: LegacyProject): Promise<void> {
  await loadWithNothingCreated(db, project);
  await run(db, "impossible-balances.sql");
}
