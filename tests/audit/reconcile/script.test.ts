import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrationUp } from "local-platform/project/supabase-cli";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { loadScenarios, parts, SCENARIOS, script, settings, step, type Users } from "./six-steps.ts";

const lines = (rows: { line: string; tokens: string }[]) =>
  Object.fromEntries(rows.map(({ line, tokens }) => [line, Number(tokens)]));

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
    expect((await db.admin.query("select to_regnamespace('tokenbook') as made")).rows).toEqual([
      { made: null },
    ]);
  });

  test("step 5, asked, copies the profile and writes the counters; then there is no discrepancy", async () => {
    const [row] = await step(db, 5, users.published, { repair: "yes" });
    const { rows: copies } = await db.admin.query(
      "select profile ->> 'vibe_assistant_tokens_remaining' as was from tokenbook.reconciled_profiles where user_id = $1",
      [users.published],
    );
    const { rows: others } = await db.admin.query("select count(*)::int from tokenbook.reconciled_profiles");

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
      ["higher@example.com", "20000", "balance_higher"],
      ["lower@example.com", "-9000", "balance_lower"],
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
