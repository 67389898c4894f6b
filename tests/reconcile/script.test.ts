import { readFile } from "node:fs/promises";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrationUp } from "../../scripts/local/supabase-cli.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";

const script = await readFile(
  new URL("../../scripts/sql/reconcile-user-token-balance.sql", import.meta.url),
  "utf8",
);
const [, ...parts] = script.split(/^(?=-- Step \d:? ?.*-{3,}$)/m);

interface Settings {
  initialGrant?: string;
  repair?: string;
  threshold?: string;
}

/** The script with its settings filled in, as a person would: in step 0, and nowhere else. */
function settings(user: string, { initialGrant = "", repair = "no", threshold = "100" }: Settings): string {
  return parts[0]!
    .replace("'USER_ID_HERE'", `'${user}'`)
    .replace("'reconcile.initial_grant', ''", `'reconcile.initial_grant', '${initialGrant}'`)
    .replace("'reconcile.repair', 'no'", `'reconcile.repair', '${repair}'`)
    .replace("'reconcile.threshold', '100'", `'reconcile.threshold', '${threshold}'`);
}

/** Step 0 and one other, on a connection of their own, as the SQL editor runs a selection: its last result. */
// A test reads what it expects out of the answer; what is not there shows up as undefined.
// oxlint-disable-next-line typescript/no-explicit-any
async function step(db: Database, nth: number, user: string, options: Settings = {}): Promise<any[]> {
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

const lines = (rows: { line: string; tokens: string }[]) =>
  Object.fromEntries(rows.map(({ line, tokens }) => [line, Number(tokens)]));

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

const SCENARIOS = [
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
type Users = Record<(typeof SCENARIOS)[number], string>;

/** A user for each scenario of the guide, in a project as it was before the clean-up. */
async function loadScenarios(db: Database): Promise<Users> {
  const before = await readFile(new URL("../migrations/legacy/before-cleanup.sql", import.meta.url), "utf8");
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

test("the script has the six steps, and none of psql's own commands", () => {
  expect(parts.map((part) => /^-- Step \d/.exec(part)?.[0])).toEqual(
    [0, 1, 2, 3, 4, 5, 6].map((nth) => `-- Step ${nth}`),
  );
  expect(script).not.toMatch(/^\s*\\/m);
});

describe("before the clean-up", () => {
  let db: Database;
  let users: Users;
  beforeAll(async () => {
    db = await createDatabase({ template: "platform" });
    users = await loadScenarios(db);
  });
  afterAll(() => db.drop());

  test("it asks for the user's id where none was put in", async () => {
    await expect(db.admin.query(parts[0]! + parts[1]!)).rejects.toThrow(
      /Put the user's id in place of USER_ID_HERE/,
    );
  });

  test("step 1 names each scenario", async () => {
    const found: Record<string, string> = {};
    for (const name of SCENARIOS) {
      const [row] = await step(db, 1, users[name]);
      found[name] = `${row.remaining_discrepancy} ${row.findings}`;
    }

    expect(found).toEqual({
      published: "432878 balance_higher",
      higher: "10000 balance_higher",
      lower: "-9000 balance_lower",
      cost: "0 cost_mismatch",
      none: "50000 balance_higher, no_usage_records",
      negative: "0 negative_balance",
      failed: "-5000 failed_operations_counted",
      twice: "-4000 duplicate_usage",
      clean: "0 none",
    });
  });

  test("step 1 of the published example", async () => {
    const [row] = await step(db, 1, users.published);

    expect(row).toMatchObject({
      current_remaining: "600100",
      expected_remaining: "167222",
      current_used: "0",
      calculated_used: "432778",
      used_discrepancy: "-432778",
      current_cost: "4.0000",
      calculated_cost: "4.0000",
      cost_discrepancy: "0.0000",
      advice: expect.stringContaining("Review token_usage for gaps"),
    });
  });

  test("steps 2, 3 and 4: the breakdown, the last operations, the sum", async () => {
    expect(await step(db, 2, users.failed)).toMatchObject([
      {
        action_type: "chat_conversation",
        model_used: "gpt-4",
        succeeded: "1",
        failed: "1",
        tokens_used: "2000",
      },
    ]);
    expect(await step(db, 3, users.failed)).toMatchObject([
      { tokens_used: 2_000, success: true },
      { tokens_used: 5_000, success: false, error_message: "timeout" },
    ]);
    expect(lines(await step(db, 4, users.published))).toEqual({
      "+ initial grant": 600_000,
      "+ admin grants": 0,
      "- tokens used": -432_778,
      "- admin deductions": 0,
      "= expected": 167_222,
      current: 600_100,
      discrepancy: 432_878,
    });
    expect(lines(await step(db, 4, users.lower))).toMatchObject({
      "+ admin grants": 50_000,
      "- admin deductions": -1_000,
      "= expected": 39_000,
    });
  });

  test("step 4 takes the initial grant from step 0 where no record has it", async () => {
    expect(lines(await step(db, 4, users.none, { initialGrant: "600000" }))).toMatchObject({
      "+ initial grant": 600_000,
      "= expected": 600_000,
    });
  });

  test("step 5 is a dry run until it is asked", async () => {
    const [row] = await step(db, 5, users.published);
    const { rows } = await db.admin.query(
      "select vibe_assistant_tokens_remaining as left from public.user_profiles where user_id = $1",
      [users.published],
    );

    expect(row).toMatchObject({
      what: "dry run: would write remaining 167222, used 432778, cost 4.0000",
      tokens_before: "600100",
      tokens_after: "167222",
    });
    expect(rows).toEqual([{ left: 600_100 }]);
    expect((await db.admin.query("select to_regnamespace('private') as made")).rows).toEqual([
      { made: null },
    ]);
  });

  test("step 5, asked, copies the profile and writes the counters; then there is no discrepancy", async () => {
    const [row] = await step(db, 5, users.published, { repair: "yes" });
    const { rows: copies } = await db.admin.query(
      "select profile ->> 'vibe_assistant_tokens_remaining' as was from private.reconciled_profiles where user_id = $1",
      [users.published],
    );
    const { rows: others } = await db.admin.query("select count(*)::int from private.reconciled_profiles");

    expect(row.what).toMatch(/^wrote the counters/);
    expect(copies).toEqual([{ was: "600100" }]);
    expect(others).toEqual([{ count: 1 }]);
    expect((await step(db, 1, users.published))[0]).toMatchObject({
      findings: "none",
      current_remaining: "167222",
    });
  });

  test("step 6 lists everybody with a discrepancy, the worst first", async () => {
    const rows = await step(db, 6, users.clean);

    expect(rows.map((row) => [row.email, row.remaining_discrepancy, row.findings])).toEqual([
      ["none@example.com", "50000", "balance_higher, no_usage_records"],
      ["higher@example.com", "10000", "balance_higher"],
      ["lower@example.com", "-9000", "balance_lower"],
      ["failed@example.com", "-5000", "failed_operations_counted"],
      ["twice@example.com", "-4000", "duplicate_usage"],
      ["cost@example.com", "0", "cost_mismatch"],
    ]);
    expect(await step(db, 6, users.clean, { threshold: "9500" })).toHaveLength(3);
  });

  test("pasted whole, it answers every step", async () => {
    const results = (await db.admin.query(
      settings(users.higher, {}) + parts.slice(1).join(""),
    )) as unknown as pg.QueryResult[];

    expect(results.filter((result) => result.command === "SELECT")).toHaveLength(7);
  });

  test("a project that never had token_transactions", async () => {
    const older = await createDatabase({ template: "platform" });
    const those = await loadScenarios(older);
    await older.admin.query("drop table public.token_transactions");

    const [row] = await step(older, 1, those.lower);
    const [given] = await step(older, 1, those.published, { initialGrant: "600000" });
    await older.drop();

    expect(row).toMatchObject({ expected_remaining: "39000", findings: "balance_lower" });
    expect(given).toMatchObject({ expected_remaining: "167222" });
  });
});

describe("after the clean-up", () => {
  let db: Database;
  let users: Users;
  beforeAll(async () => {
    db = await createDatabase({ template: "platform" });
    users = await loadScenarios(db);
    await migrationUp({ url: db.url("postgres"), includeAll: true });
  }, 120_000);
  afterAll(() => db.drop());

  test("steps 1 and 4 of the published example", async () => {
    expect((await step(db, 1, users.published))[0]).toMatchObject({
      current_remaining: "600000",
      expected_remaining: "167222",
      remaining_discrepancy: "432778",
      current_used: "432778",
      calculated_used: "432778",
      current_cost: "4.0000",
      calculated_cost: "4.0000",
      findings: "balance_higher",
    });
    expect(lines(await step(db, 4, users.published))).toEqual({
      "+ initial grant": 600_000,
      "+ admin grants": 0,
      "- tokens used": -432_778,
      "- admin deductions": 0,
      "- expired": 0,
      "- clawed back": 0,
      "= expected": 167_222,
      current: 600_000,
      discrepancy: 432_778,
    });
  });

  test("steps 2 and 3 read the same trail as before", async () => {
    expect(await step(db, 2, users.published)).toMatchObject([
      { action_type: "vision_generation", tokens_used: "400000", cost: "3.0000" },
      { action_type: "chat_conversation", tokens_used: "32778", cost: "1.0000" },
    ]);
    expect(await step(db, 3, users.published)).toHaveLength(2);
  });

  test("step 5 is a dry run until it is asked, and then books an adjustment with its sign", async () => {
    const count = async () =>
      (
        await db.admin.query("select count(*)::int from public.token_transactions where user_id = $1", [
          users.published,
        ])
      ).rows[0].count;
    const before = await count();
    const [dry] = await step(db, 5, users.published);
    expect(dry).toMatchObject({
      what: 'dry run: would book -432778 tokens as "reconciliation: balance_higher"',
      tokens_after: "167222",
    });
    expect(await count()).toBe(before);

    const [done] = await step(db, 5, users.published, { repair: "yes" });
    const again = await step(db, 5, users.published, { repair: "yes" });
    const { rows } = await db.admin.query(
      "select entry_type, action_type, tokens::int, reason, metadata from public.token_transactions where user_id = $1 order by id desc limit 1",
      [users.published],
    );

    expect(done).toMatchObject({
      what: "booked -432778 tokens as transaction 2",
      tokens_before: "600000",
      tokens_after: "167222",
    });
    expect(again[0]).toMatchObject({ what: "nothing to book" });
    expect(rows).toEqual([
      {
        entry_type: "deduction",
        action_type: "admin_deduct",
        tokens: -432_778,
        reason: "reconciliation: balance_higher",
        metadata: { reconciliation: { difference: 432_778, expected: 167_222 } },
      },
    ]);
    expect((await step(db, 1, users.published))[0]).toMatchObject({
      findings: "none",
      expected_remaining: "167222",
    });
    expect(lines(await step(db, 4, users.published))).toMatchObject({
      "settled by the last repair": 167_222,
    });
    await expectCleanBooks(db);
  });

  test("step 5 takes no more than there is", async () => {
    const [dry] = await step(db, 5, users.negative);
    expect(dry).toMatchObject({ tokens_before: "1000", tokens_after: "0" });
    await step(db, 5, users.negative, { repair: "yes" });
    expect((await step(db, 1, users.negative))[0]).toMatchObject({
      current_remaining: "0",
      findings: "none",
    });
  });

  test("step 6 lists everybody with a discrepancy, the worst first", async () => {
    const rows = await step(db, 6, users.clean);

    expect(rows.map((row) => [row.email, row.remaining_discrepancy, row.findings])).toEqual([
      ["lower@example.com", "-39000", "balance_lower"],
      ["higher@example.com", "20000", "balance_higher"],
      ["cost@example.com", "5000", "balance_higher"],
      ["twice@example.com", "4000", "balance_higher, duplicate_usage"],
      ["failed@example.com", "2000", "balance_higher"],
      ["clean@example.com", "1000", "balance_higher"],
      ["none@example.com", "0", "no_usage_records"],
    ]);
  });
});

test("where there are neither counters nor books, it says so", async () => {
  const empty = await createDatabase({ template: "platform" });
  const user = await createUser(empty);

  await expect(step(empty, 1, user)).rejects.toThrow(/Apply the migrations first/);
  await empty.drop();
});
