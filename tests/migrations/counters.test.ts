/**
 * A project of the first age: counters on user_profiles, an audit trail beside them, and nothing that
 * says what was given. What a counter had is what its user has when the books open.
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { projectRoot } from "../../scripts/local/settings.ts";
import { migrationUp } from "../../scripts/local/supabase-cli.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";

const CLEANUP = "20251114000000_cleanup_user_profiles";

type Counter = [remaining: string | null, used: string | null];
type Use = [action: string, tokens: number, success?: boolean];

interface Case {
  counters: Counter[];
  trail?: Use[];
  /** What the user has when the books are open. */
  has: number;
  /** What reconciliation says: how many tokens too many, and the scenarios. */
  off?: number;
  findings?: string[];
}

const cases: Record<string, Case> = {
  "a counter and nothing else": { counters: [["400000", "0"]], has: 400_000 },
  "counter and trail agree": {
    counters: [["166222", "432778"]],
    trail: [
      ["admin_grant", 600_000],
      ["vision_generation", 432_778],
      ["admin_deduct", 1_000],
      ["chat_conversation", 5_000, false],
    ],
    has: 166_222,
  },
  "counter and trail agree, what was given first is written nowhere": {
    counters: [["300", "200"]],
    trail: [["chat_conversation", 200]],
    has: 300,
  },
  "the trail has use that the counter has not": {
    counters: [["500", "100"]],
    trail: [["chat_conversation", 150]],
    has: 500,
    off: 50,
    findings: ["balance_higher"],
  },
  "the counter deducted a failed operation": {
    counters: [["450", "150"]],
    trail: [
      ["chat_conversation", 100],
      ["chat_conversation", 50, false],
    ],
    has: 450,
    off: -50,
    findings: ["balance_lower"],
  },
  "the counter is older than the trail": {
    counters: [["100", "1000"]],
    trail: [["chat_conversation", 10]],
    has: 100,
    findings: ["no_usage_records"],
  },
  "a counter of used tokens without any record": {
    counters: [["70", "30"]],
    has: 70,
    findings: ["no_usage_records"],
  },
  "an admin's grant that the counter never had": {
    counters: [["1000", "0"]],
    trail: [["admin_grant", 6_000]],
    has: 1_000,
    off: -5_000,
    findings: ["balance_lower"],
  },
  "everything is spent: no plan is given a second time": {
    counters: [["0", "10000"]],
    trail: [["chat_conversation", 10_000]],
    has: 0,
  },
  "NULL: as a new user, with the default plan": { counters: [[null, null]], has: 10_000 },
  "NULL, and something was used": { counters: [[null, "70"]], trail: [["chat_conversation", 70]], has: 0 },
  "below zero": { counters: [["-500", "700"]], trail: [["chat_conversation", 700]], has: 0 },
  "a fraction": { counters: [["10.9", "0.5"]], has: 10 },
  "more than a grant can have": { counters: [["5000000000000000000000", "0"]], has: 1_000_000_000_000 },
  "several profiles that differ": {
    counters: [
      ["100", "0"],
      ["250", "40"],
      [null, "7"],
    ],
    trail: [["chat_conversation", 40]],
    has: 250,
  },
};

async function projectOfCounters(): Promise<Database> {
  const db = await createDatabase({ template: "platform" });
  await db.admin.query(`
    create table public.user_profiles (
      id uuid primary key default gen_random_uuid(), user_id uuid not null, first_name text,
      vibe_assistant_tokens_remaining numeric, vibe_assistant_tokens_used numeric,
      vibe_assistant_total_cost numeric default 0, created_at timestamptz default now() - interval '5 days');
    create table public.token_usage (
      id uuid primary key default gen_random_uuid(), user_id uuid, action_type text not null, model_used text,
      tokens_used integer not null, input_tokens integer, output_tokens integer, cost_estimate integer,
      success boolean default true, error_message text, metadata jsonb, created_at timestamptz default now() - interval '9 days')`);
  return db;
}

const profile = (db: Database, user: string, [remaining, used]: Counter) =>
  db.admin.query(
    `insert into public.user_profiles (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used)
     values ($1, $2, $3)`,
    [user, remaining, used],
  );

describe("counters of every kind", () => {
  let db: Database;
  const user: Record<string, string> = {};
  beforeAll(async () => {
    db = await projectOfCounters();
    for (const [name, { counters, trail = [] }] of Object.entries(cases)) {
      user[name] = await createUser(db);
      for (const counter of counters) await profile(db, user[name], counter);
      for (const [action, tokens, success = true] of trail) {
        await db.admin.query(
          "insert into public.token_usage (user_id, action_type, tokens_used, success) values ($1, $2, $3, $4)",
          [user[name], action, tokens, success],
        );
      }
    }
    await migrationUp({ url: db.url(), includeAll: true });
  });
  afterAll(() => db.drop());

  test.each(Object.entries(cases))("%s", async (name, { has, off = 0, findings = [] }) => {
    const { balance, found, uncovered } = await asService(db, async (client) => ({
      balance: await rpc(client, "get_user_token_balance", { p_user_id: user[name] }),
      found: await rpc(client, "reconcile_user_token_balance", { p_user_id: user[name] }),
      uncovered: (
        await client.query("select sum(uncovered)::int as tokens from public.replay_token_balances($1)", [
          user[name],
        ])
      ).rows[0].tokens,
    }));

    expect(balance.total_active).toBe(has);
    expect(found).toMatchObject({ remaining_difference: off, expected_remaining: has - off });
    expect(found.findings.map((one: { scenario: string }) => one.scenario)).toEqual(findings);
    // the sum, line by line, ends where it says: nothing is called expired that was not
    expect(found.formula.expired).toBe(0);
    expect(uncovered ?? 0, "use that no grant was there for").toBe(Math.max(off, 0));
  });

  test("the sum says what was given by admins, and what else", async () => {
    const { formula } = await asService(db, (client) =>
      rpc(client, "reconcile_user_token_balance", { p_user_id: user["counter and trail agree"] }),
    );

    expect(formula).toMatchObject({
      granted: 0,
      admin_granted: 600_000,
      tokens_used: 432_778,
      admin_deducted: 1_000,
    });
  });

  test("given less used is what remains, in the grant itself", async () => {
    const { rows } = await db.admin.query(
      "select grant_type, tokens_granted::int as granted, tokens_remaining::int as remaining, expires_at from public.token_balances where user_id = $1",
      [user["counter and trail agree, what was given first is written nowhere"]],
    );

    expect(rows).toEqual([{ grant_type: "plan", granted: 500, remaining: 300, expires_at: null }]);
  });

  test("the report says how many of each, and the archive has each counter as it was", async () => {
    const { rows } = await db.admin.query(
      "select report from tokenbook.migration_reports where migration = $1 and report like 'Profiles:%'",
      [CLEANUP],
    );
    const { rows: archived } = await db.admin.query(
      "select vibe_assistant_tokens_remaining as remaining from tokenbook.archived_profile_counters where user_id = any ($1) order by 1",
      [[user["a fraction"], user["more than a grant can have"], user["below zero"]]],
    );
    const counted = Object.values(cases)
      .filter(({ has }) => has !== 10_000)
      .reduce((sum, { has }) => sum + has, 0);

    console.log(rows[0].report);
    expect(rows[0].report.split("\n")).toEqual([
      "Profiles:",
      `  - Archived the counters of ${Object.values(cases).flatMap(({ counters }) => counters).length} profiles`,
      "  - Created 0 storage quotas",
      `  - Granted ${Object.keys(cases).length - 1} users what their counter had, ${counted} tokens: nothing else stood for them`,
      "  - 2 of the counters were NULL: taken for 0",
      "  - 1 of the counters were below zero: taken for 0",
      "  - 1 of the counters had fractions: rounded down",
      "  - 1 of the counters were above 10^12, the most a grant can have: cut to that",
      "  - 1 of the users have several profiles that differ: the highest counter counts",
    ]);
    expect(archived.map(({ remaining }) => remaining)).toEqual(["-500", "10.9", "5000000000000000000000"]);
  });

  test("every invariant holds, and the differences are found by the search for all", async () => {
    await expectCleanBooks(db);
    const found = await asService(db, (client) =>
      client.query("select user_id from public.find_token_discrepancies(0)"),
    );
    const expected = Object.entries(cases).filter(([, { findings = [] }]) => findings.length > 0);

    expect(found.rows.map((row) => row.user_id).toSorted()).toEqual(
      expected.map(([name]) => user[name]).toSorted(),
    );
  });
});

test("who has a grant and a counter keeps the grant alone, and the report says what the counters said", async () => {
  const db = await projectOfCounters();
  const user = await createUser(db);
  await profile(db, user, ["5000", "0"]);
  await db.admin.query(`
    create table public.token_transactions (
      id uuid primary key default gen_random_uuid(), user_id uuid, action_type text not null,
      tokens_used integer not null, created_at timestamptz default now());
    insert into public.token_transactions (user_id, action_type, tokens_used) values ('${user}', 'token_pack_purchase', 1000)`);

  await migrationUp({ url: db.url(), includeAll: true });

  const { rows } = await db.admin.query(
    "select tokens_remaining::int as tokens from public.token_accounts where user_id = $1",
    [user],
  );
  const { rows: reports } = await db.admin.query(
    "select report from tokenbook.migration_reports where report like 'Profiles:%'",
  );
  await db.drop();
  expect(rows).toEqual([{ tokens: 1_000 }]);
  expect(reports[0].report).toContain(
    "1 users have grants, with 1000 tokens: these stand, and their counters, which say 5000, are archived only",
  );
});

describe("a clean-up that would lose tokens raises and changes nothing", () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "tokenbook-counters-"));
    await mkdir(join(root, "supabase"));
    await cp(join(projectRoot, "supabase/config.toml"), join(root, "supabase/config.toml"));
    await cp(join(projectRoot, "supabase/migrations"), join(root, "supabase/migrations"), {
      recursive: true,
    });
  });
  afterAll(() => rm(root, { recursive: true }));

  const counters = async (db: Database) =>
    (await db.admin.query("select vibe_assistant_tokens_remaining::text as tokens from public.user_profiles"))
      .rows;

  test("a counter that is no number is named", async () => {
    const db = await projectOfCounters();
    const user = await createUser(db);
    await profile(db, user, ["NaN", "0"]);

    await expect(migrationUp({ url: db.url(), includeAll: true })).rejects.toThrow(
      `vibe_assistant_tokens_remaining of user ${user} is NaN`,
    );
    expect(await counters(db)).toEqual([{ tokens: "NaN" }]);
    await db.drop();
  });

  test("the test sees it: one that archives and does not grant, as the first did", async () => {
    const file = join(root, "supabase/migrations", `${CLEANUP}.sql`);
    const sql = await readFile(file, "utf8");
    const bad = sql.replace("where not c.has_grants and c.tokens_granted > 0", "where false");
    expect(bad).not.toBe(sql);
    await writeFile(file, bad);
    const db = await projectOfCounters();
    await profile(db, await createUser(db), ["400000", "0"]);

    await expect(migrationUp({ url: db.url(), workdir: root, includeAll: true })).rejects.toThrow(
      /counters of 1 users with 400000 tokens were to become grants, and 0 with 0 did/,
    );
    expect(await counters(db)).toEqual([{ tokens: "400000" }]);
    await db.drop();
  });
});
