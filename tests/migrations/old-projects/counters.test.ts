/**
 * A project of the first age: counters on user_profiles, an audit trail beside them, and nothing that
 * says what was given. What a counter had is what its user has when the books open.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrationUp } from "local-platform/project/supabase-cli";
import { inOneTransaction } from "../../support/migrate.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { projectRoot } from "../../../scripts/project.ts";
import { migrationFiles } from "../../../scripts/schema/project-files.ts";

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
  "below zero, and nothing was used": { counters: [["-500", "0"]], has: 0 },
  "below zero, and use unknown": { counters: [["-500", null]], has: 0 },
  "zero, and nothing was used": { counters: [["0", "0"]], has: 0 },
  "zero, and use unknown": { counters: [["0", null]], has: 0 },
  "less than one token": { counters: [["0.5", "0.5"]], has: 0 },
  "zero in one profile and NULL in another": {
    counters: [
      [null, null],
      ["0", "0"],
    ],
    has: 0,
  },
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

/** With grants of its time beside the counters: old transactions, and grants that the app made. */
async function projectWithGrants(): Promise<Database> {
  const db = await projectOfCounters();
  await db.admin.query(`
    create table public.token_transactions (
      id uuid primary key default gen_random_uuid(), user_id uuid, action_type text not null,
      tokens_used integer not null, created_at timestamptz default now());
    create table public.token_balances (
      id uuid primary key default gen_random_uuid(), user_id uuid not null, grant_type text not null,
      tokens_granted bigint not null, tokens_remaining bigint not null, granted_at timestamptz not null default now(),
      expires_at timestamptz, subscription_id uuid, metadata jsonb default '{}', created_at timestamptz default now())`);
  return db;
}

const transaction = (db: Database, user: string, action: string, tokens: number, ago: string) =>
  db.admin.query(
    `insert into public.token_transactions (user_id, action_type, tokens_used, created_at)
     values ($1, $2, $3, now() - $4::interval)`,
    [user, action, tokens, ago],
  );

const use = (db: Database, user: string, action: string, tokens: number, success: boolean) =>
  db.admin.query(
    "insert into public.token_usage (user_id, action_type, tokens_used, success) values ($1, $2, $3, $4)",
    [user, action, tokens, success],
  );

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
      for (const [action, tokens, success = true] of trail)
        await use(db, user[name], action, tokens, success);
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
      `  - Granted ${Object.keys(cases).length - 7} users what their counter had, ${counted} tokens: nothing else stood for them`,
      "  - 6 users have a counter with nothing in it and no grant: they begin with 0, and no plan is given to them",
      "  - 2 of the counters were NULL: taken for 0",
      "  - 3 of the counters were below zero: taken for 0",
      "  - 2 of the counters had fractions: rounded down",
      "  - 1 of the counters were above 10^12, the most a grant can have: cut to that",
      "  - 2 of the users have several profiles that differ: the highest counter counts",
    ]);
    expect(archived.map(({ remaining }) => remaining)).toEqual(["-500", "10.9", "5000000000000000000000"]);
  });

  test("a user who begins with 0 is on the default plan, with 0 as its mark, and stays at 0", async () => {
    const zeros = Object.entries(cases)
      .filter(([, { counters, has }]) => has === 0 && counters.every(([, used]) => Number(used) < 1))
      .map(([name]) => user[name]);
    expect(zeros).toHaveLength(6);
    const { rows } = await asService(db, async (client) => {
      for (const zero of zeros) await rpc(client, "get_user_token_balance", { p_user_id: zero });
      return client.query(
        `select c.plan_type, c.tokens_limit::int, c.tokens_remaining::int, c.status
           from public.check_token_synchronization() c where c.user_id = any ($1)`,
        [zeros],
      );
    });
    const { rows: grants } = await db.admin.query(
      "select user_id from public.token_balances where user_id = any ($1)",
      [zeros],
    );

    expect(rows).toEqual(
      zeros.map(() => ({ plan_type: "free", tokens_limit: 0, tokens_remaining: 0, status: "synced" })),
    );
    expect(grants).toEqual([]);
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

describe("a counter beside grants", () => {
  interface BesideGrants {
    counter: Counter;
    /** Old transactions: action, tokens, how long ago. */
    transactions?: [action: string, tokens: number, ago: string][];
    /** Grants that the app made itself. */
    balances?: [granted: number, remaining: number][];
    trail?: Use[];
    /** What was granted beyond the grants. */
    beyond: number;
    has: number;
    expired?: number;
    /** What reconciliation finds too much. */
    off?: number;
  }
  const beside: Record<string, BesideGrants> = {
    "less than was granted: the grants stand": {
      counter: ["400", "0"],
      transactions: [["token_pack_purchase", 1_000, "3 days"]],
      beyond: 0,
      has: 1_000,
    },
    "as much as was granted": {
      counter: ["1000.9", "0"],
      transactions: [
        ["token_pack_purchase", 700, "3 days"],
        ["trial_grant", 300, "2 days"],
      ],
      beyond: 0,
      has: 1_000,
    },
    "one token more than was granted": {
      counter: ["1001", "0"],
      transactions: [
        ["token_pack_purchase", 700, "3 days"],
        ["trial_grant", 300, "2 days"],
      ],
      beyond: 1,
      has: 1_001,
    },
    "more than an expired trial": {
      counter: ["400000", "0"],
      transactions: [["trial_grant", 100, "100 days"]],
      beyond: 399_900,
      has: 399_900,
      expired: 100,
    },
    "more than an expired trial, and use that no grant was there for": {
      counter: ["400000", "50000"],
      transactions: [["trial_grant", 100, "100 days"]],
      trail: [
        ["chat_conversation", 50_000],
        ["admin_deduct", 1_000],
      ],
      beyond: 399_900,
      has: 399_900,
      expired: 100,
    },
    "more than an admin's grant, and use that it could have paid": {
      counter: ["400000", "100000"],
      transactions: [["admin_grant", 10, "20 days"]],
      trail: [["chat_conversation", 100_000]],
      beyond: 399_990,
      has: 400_000,
    },
    "more than an admin's grant, and use that the counter has not deducted": {
      counter: ["400000", "20000"],
      transactions: [["admin_grant", 10, "20 days"]],
      trail: [
        ["chat_conversation", 100_000],
        ["chat_conversation", 7, false],
        ["admin_deduct", 3_000],
      ],
      beyond: 319_990,
      has: 320_000,
    },
    "more than was granted, by use that the counter has not deducted: the grants stand, and are too high": {
      counter: ["600100", "0"],
      transactions: [["token_pack_purchase", 600_000, "20 days"]],
      trail: [["chat_conversation", 432_778]],
      beyond: 0,
      has: 600_000,
      off: 432_778,
    },
    "more than an admin's grant, and use that only the old transactions have": {
      counter: ["400000", "500"],
      transactions: [
        ["admin_grant", 10, "20 days"],
        ["chat_conversation", -500, "10 days"],
      ],
      beyond: 399_990,
      has: 400_000,
    },
    "more than a grant that the app made and spent of": {
      counter: ["5000", "400"],
      balances: [[1_000, 600]],
      trail: [["chat_conversation", 400]],
      beyond: 4_000,
      has: 4_600,
    },
    "an admin's grant that the counter has and no grant stands for": {
      counter: ["6000", "0"],
      transactions: [["token_pack_purchase", 1_000, "3 days"]],
      trail: [["admin_grant", 5_000]],
      beyond: 5_000,
      has: 6_000,
    },
    "beside a grant that none can be": {
      counter: ["70", "0"],
      balances: [[-5, -5]],
      beyond: 70,
      has: 70,
    },
    "more than a grant can have": {
      counter: ["5000000000000000000000", "0"],
      transactions: [["token_pack_purchase", 1_000, "3 days"]],
      beyond: 999_999_999_000,
      has: 1_000_000_000_000,
    },
  };

  let db: Database;
  const user: Record<string, string> = {};
  beforeAll(async () => {
    db = await projectWithGrants();
    for (const [name, { counter, transactions = [], balances = [], trail = [] }] of Object.entries(beside)) {
      user[name] = await createUser(db);
      await profile(db, user[name], counter);
      for (const [action, tokens, ago] of transactions)
        await transaction(db, user[name], action, tokens, ago);
      for (const [granted, remaining] of balances) {
        await db.admin.query(
          `insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, created_at)
           values ($1, 'purchase', $2, $3, now() - interval '20 days', now() - interval '20 days')`,
          [user[name], granted, remaining],
        );
      }
      for (const [action, tokens, success = true] of trail)
        await use(db, user[name], action, tokens, success);
    }
    await migrationUp({ url: db.url(), includeAll: true });
  });
  afterAll(() => db.drop());

  test.each(Object.entries(beside))("%s", async (name, { counter, beyond, has, expired = 0, off = 0 }) => {
    const { balance, found, replayed } = await asService(db, async (client) => ({
      balance: await rpc(client, "get_user_token_balance", { p_user_id: user[name] }),
      found: await rpc(client, "reconcile_user_token_balance", { p_user_id: user[name] }),
      replayed: (
        await client.query("select difference::int, uncovered::int from public.replay_token_balances($1)", [
          user[name],
        ])
      ).rows,
    }));
    const { rows: granted } = await db.admin.query(
      `select grant_type, tokens_granted::float as tokens, expires_at, metadata from public.token_balances
        where user_id = $1 and metadata ->> 'source' = 'counter_beyond_grants'`,
      [user[name]],
    );

    expect(balance.total_active).toBe(has);
    expect(granted.map(({ grant_type, tokens, expires_at }) => ({ grant_type, tokens, expires_at }))).toEqual(
      beyond > 0 ? [{ grant_type: "plan", tokens: beyond, expires_at: null }] : [],
    );
    if (beyond > 0) {
      expect(granted[0].metadata).toMatchObject({
        tokens_remaining: Math.min(Math.floor(Number(counter[0])), 1_000_000_000_000),
        tokens_used: Number(counter[1]),
      });
    }
    expect(found).toMatchObject({ remaining_difference: off, expected_remaining: has - off });
    expect(found.findings).toHaveLength(off > 0 ? 1 : 0);
    expect(found.formula.expired).toBe(expired);
    expect(
      replayed.filter((row) => row.difference !== 0 || row.uncovered !== 0),
      "what there is to restate, and use without a grant",
    ).toEqual(off > 0 ? [{ difference: off, uncovered: 0 }] : []);
  });

  test("the report has their sums, and the archive every counter as it was", async () => {
    const { rows } = await db.admin.query(
      "select report from tokenbook.migration_reports where report like 'Profiles:%'",
    );
    const { rows: archived } = await db.admin.query(
      "select vibe_assistant_tokens_remaining as remaining, user_id from tokenbook.archived_profile_counters",
    );
    const more = Object.values(beside).filter(({ beyond }) => beyond > 0);
    const tokens = more.reduce((sum, { beyond }) => sum + beyond, 0);

    expect(rows[0].report.split("\n")).toEqual([
      "Profiles:",
      `  - Archived the counters of ${Object.keys(beside).length} profiles`,
      "  - Created 0 storage quotas",
      "  - Granted 0 users what their counter had, 0 tokens: nothing else stood for them",
      `  - Granted ${more.length} users what their counter had beyond all their grants, ${tokens} tokens`,
      "  - 1 of the counters were above 10^12, the most a grant can have: cut to that",
      "  - 3 users have grants, with 602000 tokens: these stand, and their counters, which say 601500, are archived only",
    ]);
    expect(new Map(archived.map((row) => [row.user_id, row.remaining]))).toEqual(
      new Map(Object.entries(beside).map(([name, { counter }]) => [user[name], counter[0]])),
    );
  });

  test("no account has a token that is nobody's, and every invariant holds", async () => {
    const { rows } = await db.admin.query(
      "select sum(tokens_remaining)::float as tokens from public.token_accounts where user_id = any ($1)",
      [Object.values(user)],
    );
    const found = await asService(db, (client) =>
      client.query("select * from public.find_token_discrepancies(0)"),
    );

    expect(rows[0].tokens).toBe(Object.values(beside).reduce((sum, { has }) => sum + has, 0));
    expect(found.rows.map((row) => row.user_id)).toEqual(
      Object.entries(beside)
        .filter(([, { off = 0 }]) => off > 0)
        .map(([name]) => user[name]),
    );
    await expectCleanBooks(db);
  });
});

describe("a clean-up that would lose tokens raises and changes nothing", { tags: ["proof"] }, () => {
  // Only the clean-up is on trial: its first test has the CLI apply it, the others a connection.
  let [baseline, cleanup, rest]: [string, string, string[]] = ["", "", []];
  beforeAll(async () => {
    const files = await migrationFiles(projectRoot);
    [baseline, cleanup, ...rest] = (await Promise.all(
      files.map((file) => readFile(join(projectRoot, file), "utf8")),
    )) as [string, string, ...string[]];
    expect(files[1]).toContain(CLEANUP);
  });

  /** A project with the baseline, as the CLI leaves it when the next migration is refused. */
  const afterBaseline = async (db: Database) => {
    await inOneTransaction(db, baseline);
    return db;
  };

  const counters = async (db: Database) =>
    (await db.admin.query("select vibe_assistant_tokens_remaining::text as tokens from public.user_profiles"))
      .rows;

  const profiles = async (db: Database) =>
    (await db.admin.query("select to_jsonb(p) as profile from public.user_profiles p order by p.id")).rows;

  /** What the refused clean-up made and did not take back. */
  const leftBehind = async (db: Database) =>
    (
      await db.admin.query(
        `select 'counter of ' || user_id as what from tokenbook.archived_profile_counters
         union all select report from tokenbook.migration_reports
         union all select name from (values ('public.user_storage')) as tables (name) where to_regclass(name) is not null`,
      )
    ).rows;

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

  test.each([
    ["tokens", "7", null, "1 profiles have no user_id, and 7 tokens and 0 GB of storage in their counters"],
    ["a part of a token", "0.5", null, "1 profiles have no user_id, and 0.5 tokens and 0 GB"],
    ["storage", null, 5, "1 profiles have no user_id, and 0 tokens and 5 GB of storage in their counters"],
  ])("a profile without a user, with %s, is refused", async (_, remaining, quota, message) => {
    const db = await afterBaseline(await projectOfCounters());
    await db.admin.query(`
      alter table public.user_profiles alter column user_id drop not null, add column storage_quota_gb integer`);
    await profile(db, await createUser(db), ["400", "0"]);
    await db.admin.query(
      "insert into public.user_profiles (vibe_assistant_tokens_remaining, storage_quota_gb) values ($1, $2)",
      [remaining, quota],
    );
    const before = await profiles(db);

    await expect(inOneTransaction(db, cleanup)).rejects.toThrow(message);
    expect(await profiles(db)).toEqual(before);
    expect(await leftBehind(db)).toEqual([]);

    // and once it has its user, nothing is lost
    await db.admin.query("update public.user_profiles set user_id = $1 where user_id is null", [
      await createUser(db),
    ]);
    for (const migration of [cleanup, ...rest]) await inOneTransaction(db, migration);
    const { rows } = await db.admin.query(
      `select (select sum(tokens_remaining)::float from public.token_accounts) as tokens,
              (select sum(quota_gb)::int from public.token_storage_quotas) as quota`,
    );
    expect(rows).toEqual([
      { tokens: 400 + Math.floor(Number(remaining)) + (remaining === null ? 10_000 : 0), quota },
    ]);
    await db.drop();
  });

  test("a profile without a user and with nothing in it is left out, and the report says so", async () => {
    const db = await afterBaseline(await projectOfCounters());
    await db.admin.query("alter table public.user_profiles alter column user_id drop not null");
    await db.admin.query(
      "insert into public.user_profiles (vibe_assistant_tokens_remaining) values (0), (-3), (null)",
    );

    await inOneTransaction(db, cleanup);
    const { rows } = await db.admin.query(
      "select report from tokenbook.migration_reports where report like 'Profiles:%'",
    );
    expect(rows[0].report).toContain("Left out 3 profiles without a user: no tokens, no storage");
    await db.drop();
  });

  test.each([
    [
      "no user_id",
      "alter table public.user_profiles drop column user_id",
      "user_profiles has vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost, and no column user_id says whose they are",
    ],
    [
      "a user_id of another type",
      "alter table public.user_profiles alter column user_id type text",
      "its user_id of type text, not uuid, says whose they are",
    ],
    [
      "a view on a counter",
      "create view public.richest as select user_id, vibe_assistant_tokens_remaining from public.user_profiles",
      "the counters of user_profiles are dropped here, and these use them: view richest",
    ],
    [
      "a policy on a counter",
      "create policy rich on public.user_profiles using (vibe_assistant_tokens_remaining > 0)",
      "these use them: policy rich on table user_profiles",
    ],
  ])("profiles with %s are refused in words", async (_, change, message) => {
    const db = await afterBaseline(await projectOfCounters());
    await profile(db, await createUser(db), ["400", "0"]);
    await db.admin.query(change);

    await expect(inOneTransaction(db, cleanup)).rejects.toThrow(message);
    expect(await counters(db)).toEqual([{ tokens: "400" }]);
    expect(await leftBehind(db)).toEqual([]);
    await db.drop();
  });

  test("profiles of another kind, without counters, are left as they are", async () => {
    const db = await createDatabase({ template: "platform" });
    await db.admin.query("create table public.user_profiles (id text primary key, user_id text)");
    await afterBaseline(db);

    for (const migration of [cleanup, ...rest]) await inOneTransaction(db, migration);
    const { rows } = await db.admin.query("select to_regclass('public.token_accounts') as books");
    expect(rows[0].books).toBe("token_accounts");
    await db.drop();
  });

  test(
    "the test sees it: one that does not grant what a counter has beyond the grants",
    { tags: ["proof"] },
    async () => {
      const db = await afterBaseline(await projectWithGrants());
      const user = await createUser(db);
      await profile(db, user, ["400000", "0"]);
      await transaction(db, user, "admin_grant", 10, "3 days");
      for (const [part, bad, message] of [
        [
          "where c.tokens_beyond > 0\n",
          "where false\n",
          "1 users have counters with 399990 tokens beyond their grants, and 0 with 0 were granted them",
        ],
        [
          "then greatest(r.tokens_remaining - n.tokens - g.tokens_granted, 0)",
          "then greatest(0, 0)",
          "a counter has more than all grants of its user",
        ],
      ] as const) {
        expect(cleanup.split(part)).toHaveLength(2);
        await expect(inOneTransaction(db, cleanup.replace(part, bad))).rejects.toThrow(message);
        expect(await counters(db)).toEqual([{ tokens: "400000" }]);
        expect(await leftBehind(db)).toEqual([]);
      }
      await db.drop();
    },
  );

  test(
    "the test sees it: one that archives and does not grant, as the first did",
    { tags: ["proof"] },
    async () => {
      const bad = cleanup.replace("where not c.has_grants and c.tokens_granted > 0", "where false");
      expect(bad).not.toBe(cleanup);
      const db = await afterBaseline(await projectOfCounters());
      await profile(db, await createUser(db), ["400000", "0"]);

      await expect(inOneTransaction(db, bad)).rejects.toThrow(
        /counters of 1 users with 400000 tokens were to become grants, and 0 with 0 did/,
      );
      expect(await counters(db)).toEqual([{ tokens: "400000" }]);
      await db.drop();
    },
  );
});
