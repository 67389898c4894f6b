import { cp, mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrationUp } from "local-platform/project/supabase-cli";
import { expectSoundInstallation } from "../../support/installation.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { migrate } from "../../support/migrate.ts";
import { compareCatalogs, describeDifference } from "../../../packages/tokenbook/src/catalog/catalog.ts";
import { catalogOfTheBooks } from "./legacy/catalog.ts";
import {
  expectedGrants,
  legacyProject,
  loadBeforeCleanup,
  loadWithImpossibleBalances,
  loadWithNothingCreated,
} from "./legacy/project.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const BASELINE = "20251113000000_baseline.sql";
const CLEANUP = "20251114000000_cleanup_user_profiles.sql";
const HOTFIX = "20251114000001_hotfix_token_balances_data.sql";
const OPENING = "20261126090200_open_the_books.sql";

let workdir: string;
beforeAll(async () => {
  // the migrations up to the hotfix, so that a test can stop there
  workdir = await mkdtemp(join(tmpdir(), "tokenbook-upgrade-"));
  await mkdir(join(workdir, "supabase/migrations"), { recursive: true });
  await cp(join(root, "supabase/config.toml"), join(workdir, "supabase/config.toml"));
  for (const file of [BASELINE, CLEANUP, HOTFIX]) {
    await cp(join(root, "supabase/migrations", file), join(workdir, "supabase/migrations", file));
  }
});
afterAll(() => rm(workdir, { recursive: true, force: true }));

/** By the real CLI, which also knows what has been applied; the other states and cases go without its process. */
const byCli = {
  upToHotfix: (db: Database) => migrationUp({ url: db.url("postgres"), workdir, includeAll: true }),
  theRest: (db: Database) => migrationUp({ url: db.url("postgres"), includeAll: true }),
};
const withoutCli = {
  upToHotfix: (db: Database) => migrate(db, { to: HOTFIX }),
  theRest: (db: Database) => migrate(db),
};
const runAgain = async (db: Database, file: string) =>
  db.admin.query(await readFile(join(root, "supabase/migrations", file), "utf8"));

/** What a migration reported last, its lines. */
async function report(db: Database, migration: string): Promise<string[]> {
  const { rows } = await db.admin.query(
    "select report from tokenbook.migration_reports where migration = $1 order by id",
    [migration.replace(".sql", "")],
  );
  return rows.flatMap((row) => (row.report as string).split("\n"));
}

/** The grants as they are, in the shape of `expectedGrants`. */
async function storedGrants(db: Database) {
  const { rows } = await db.admin.query(
    `select user_id, grant_type, tokens_granted::bigint, tokens_remaining::bigint, granted_at, expires_at
       from public.token_balances`,
  );
  return rows.map((row) => ({
    user: row.user_id,
    type: row.grant_type,
    tokens: Number(row.tokens_granted),
    remaining: Number(row.tokens_remaining),
    at: row.granted_at.toISOString(),
    expires: row.expires_at?.toISOString() ?? null,
  }));
}

const sorted = <T>(rows: T[]) => rows.map((row) => JSON.stringify(row)).sort();

const STATES = [
  {
    state: "an old project that ran no clean-up",
    load: loadBeforeCleanup,
    migrations: withoutCli,
    by: CLEANUP,
    cleared: "0 grants of the first version (0 with",
  },
  {
    state: "a project where the first clean-up created nothing",
    load: loadWithNothingCreated,
    migrations: withoutCli,
    by: HOTFIX,
    cleared: "0 grants of the first version (0 with",
  },
  {
    state: "a project with impossible balances",
    load: loadWithImpossibleBalances,
    migrations: byCli,
    by: HOTFIX,
    cleared: /^ {2}- Cleared 45 grants of the first version \([1-9]\d* with/,
  },
] as const;

describe.each(STATES)("$state", ({ state, load, migrations, by, cleared }) => {
  let db: Database;
  const project = legacyProject();
  beforeAll(async () => {
    db = await createDatabase({ template: "platform" });
    await load(db, project);
    await migrations.upToHotfix(db);
  });
  afterAll(() => db.drop());

  test("47 grants of 23 users are migrated, and the notice says so", async () => {
    const lines = await report(db, by);

    console.log(
      `${state}: ${lines.filter((line) => /Found|Created \d+ token_balance|Covering/.test(line)).join(" ")}`,
    );
    expect(lines).toEqual(
      expect.arrayContaining([
        "Migration Complete:",
        "  - Found 47 grant transactions",
        "  - Created 47 token_balance records",
        "  - Covering 23 unique users",
      ]),
    );
    expect(await report(db, HOTFIX)).toContainEqual(
      typeof cleared === "string" ? expect.stringContaining(cleared) : expect.stringMatching(cleared),
    );
  });

  test("expired grants have 0, active ones are full, each with its type and expiry", async () => {
    expect(sorted(await storedGrants(db))).toEqual(sorted(expectedGrants(project)));
  });

  test("a second run of the data migrations changes nothing", async () => {
    const digest = () =>
      db.admin
        .query(
          `select md5(string_agg(x, '|' order by x)) as digest from (
             select to_jsonb(b)::text x from public.token_balances b
             union all select to_jsonb(s)::text from public.user_storage s
             union all select to_jsonb(p)::text from public.user_profiles p
             union all select to_jsonb(c)::text from tokenbook.cleared_token_balances c
             union all select to_jsonb(a)::text from tokenbook.archived_profile_counters a) rows`,
        )
        .then((result) => result.rows[0].digest as string);
    const before = await digest();

    await runAgain(db, CLEANUP);
    await runAgain(db, HOTFIX);

    expect(await digest()).toBe(before);
    expect((await report(db, HOTFIX)).slice(-4)).toEqual([
      "  - Found 47 grant transactions",
      "  - Created 0 token_balance records",
      "  - Covering 23 unique users",
      "  - Skipped 47: their grant exists already",
    ]);
  });

  test("the books open with one opening balance a user, and every invariant holds", async () => {
    await migrations.theRest(db);

    const { rows } = await db.admin.query(
      "select user_id, tokens::bigint, entry_type, id::int from public.token_transactions",
    );
    const expected = new Map(project.users.map((user) => [user, 0]));
    for (const grant of expectedGrants(project))
      expected.set(grant.user, expected.get(grant.user)! + grant.remaining);
    expect(sorted(rows.map((row) => ({ ...row, tokens: Number(row.tokens) })))).toEqual(
      sorted(
        [...expected].map(([user_id, tokens]) => ({ user_id, tokens, entry_type: "opening_balance", id: 1 })),
      ),
    );
    await expectCleanBooks(db);
  });

  test("it ends with the same tables, functions and rights as an empty one", async () => {
    const empty = await createDatabase();
    const expected = await catalogOfTheBooks(empty);
    const differences = compareCatalogs(expected, await catalogOfTheBooks(db));
    await empty.drop();

    console.log(`${state}: facts=${expected.size} differences=${differences.length}`);
    expect(differences.map((difference) => describeDifference(difference, "empty", "old"))).toEqual([]);
    await expectSoundInstallation(db);
  });

  test("every old row stays readable: transactions as history, usage, and its cost", async () => {
    const user = project.users[21]!;
    const history = await asUser(db, user, (client) => rpc(client, "get_token_history", { p_limit: 200 }));
    const usage = await asUser(db, user, (client) =>
      client.query("select count(*)::int from public.token_usage"),
    );
    const counters = await asUser(db, user, (client) => client.query("select * from public.token_counters"));

    const mine = {
      grants: project.grants.filter((row) => row.user === user),
      deductions: project.deductions.filter((row) => row.user === user),
    };
    expect(history.transactions).toHaveLength(1 + mine.grants.length + mine.deductions.length);
    expect(history.transactions.at(-1)).toMatchObject({
      entry_type: "history",
      action_type: "trial_grant",
      tokens: 100_000,
      balance_after: null,
    });
    const used = project.usage.filter(
      (row) => row.user === user && row.success && row.action !== "admin_deduct",
    );
    expect(usage.rows[0].count).toBe(project.usage.filter((row) => row.user === user).length);
    expect(counters.rows[0].vibe_assistant_tokens_used).toBe(
      String(used.reduce((sum, row) => sum + row.tokens, 0)),
    );
    expect(Number(counters.rows[0].vibe_assistant_total_cost)).toBe(
      used.reduce((sum, row) => sum + row.cents, 0) / 100,
    );
    const { rows } = await db.admin.query(
      "select (select count(*)::int from public.token_legacy_transactions) kept, (select count(*)::int from tokenbook.old_token_transactions) old",
    );
    expect(rows[0]).toEqual({ kept: 47 + project.deductions.length, old: 47 + project.deductions.length });
  });

  test("old users spend and are granted tokens at once, and old policies and functions are gone", async () => {
    const user = project.users[1]!;
    const before = expectedGrants(project)
      .filter((grant) => grant.user === user)
      .reduce((sum, grant) => sum + grant.remaining, 0);

    const receipt = await asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 5_000_001 }),
    );

    expect(receipt).toMatchObject({ success: true, tokens_remaining: before - 5_000_001, transaction_id: 2 });
    expect(receipt.deducted_from.map((part: { grant_type: string }) => part.grant_type)).toEqual([
      "annual",
      "28day",
    ]);
    await expect(
      asUser(db, user, (client) =>
        client.query("update public.token_usage set tokens_used = 0 where user_id = $1", [user]),
      ),
    ).rejects.toMatchObject({ code: "42501" });
    const { rows } = await db.admin.query(
      "select proname, count(*)::int from pg_proc where pronamespace = 'public'::regnamespace and proname in ('get_user_token_balance', 'deduct_tokens_with_fifo') group by 1",
    );
    expect(rows).toEqual(
      expect.arrayContaining([
        { proname: "get_user_token_balance", count: 1 },
        { proname: "deduct_tokens_with_fifo", count: 1 },
      ]),
    );
    await expectCleanBooks(db);
  });

  test("the user who is gone from auth keeps what they had", async () => {
    const balance = await asService(db, (client) =>
      rpc(client, "get_user_token_balance", { p_user_id: project.gone }),
    );

    expect(balance.total_active).toBe(2_000_000);
  });

  test("dropped counters are archived, storage has moved, the app's own columns are left", async () => {
    const { rows: columns } = await db.admin.query(
      "select attname from pg_attribute where attrelid = 'public.user_profiles'::regclass and attnum > 0 and not attisdropped order by attname",
    );
    const { rows: storage } = await db.admin.query(
      "select user_id, quota_gb from public.token_storage_quotas where user_id = any ($1) order by user_id",
      [[project.users[1], project.users[2]]],
    );

    expect(columns.map((row) => row.attname)).toEqual([
      "created_at",
      "first_name",
      "id",
      "is_active",
      "user_id",
    ]);
    expect(storage).toEqual([
      { user_id: project.users[1], quota_gb: 25 },
      { user_id: project.users[2], quota_gb: 50 },
    ]);
    if (load === loadBeforeCleanup) {
      const { rows: archived } = await db.admin.query(
        `select vibe_assistant_tokens_remaining::int remaining, vibe_assistant_tokens_used::int used, vibe_assistant_total_cost::float cost
           from tokenbook.archived_profile_counters where user_id = $1`,
        [project.users[5]],
      );
      expect(archived).toEqual([{ remaining: 5_000, used: 50, cost: 1.25 }]);
    }
  });
});

describe("an empty project", () => {
  test("all three counts are 0 and nothing old is left behind", async () => {
    // every test's database is one, by the real CLI
    const db = await createDatabase();

    const lines = await report(db, HOTFIX);
    console.log(`an empty project: ${lines.filter((line) => /Found|Created|Covering/.test(line)).join(" ")}`);
    expect(lines).toEqual(
      expect.arrayContaining([
        "  - Found 0 grant transactions",
        "  - Created 0 token_balance records",
        "  - Covering 0 unique users",
      ]),
    );
    const { rows } = await db.admin.query(
      "select relname from pg_class where relnamespace = 'tokenbook'::regnamespace and relname like 'old%'",
    );
    expect(rows).toEqual([]);
    await db.drop();
  });
});

describe("grants that the app made since", () => {
  let db: Database;
  const project = legacyProject();
  const [user] = project.users as [string];
  beforeAll(async () => {
    db = await createDatabase({ template: "platform" });
    await loadWithImpossibleBalances(db, project);
    // as the app's code wrote them: the grant first, its transaction a moment later
    await db.admin.query(
      `insert into public.token_balances (id, user_id, grant_type, tokens_granted, tokens_remaining, granted_at, created_at)
       values ('00000003-0000-4000-8000-000000000001', $1, 'purchase', 777, 700, now() - interval '1 hour', now() - interval '1 hour')`,
      [user],
    );
    await db.admin.query(
      `insert into public.token_transactions (user_id, action_type, tokens_used, created_at)
       values ($1, 'token_pack_purchase', 777, now() - interval '59 minutes 58 seconds')`,
      [user],
    );
    // as its SQL functions wrote them: one moment, and the transaction names the grant; its sign is wrong
    await db.admin.query(
      `insert into public.token_balances (id, user_id, grant_type, tokens_granted, tokens_remaining)
       values ('00000003-0000-4000-8000-000000000002', $1, 'annual', 5000000, 4000000)`,
      [user],
    );
    await db.admin.query(
      `insert into public.token_transactions (user_id, action_type, tokens_used, metadata)
       values ($1, 'subscription_grant', -5000000, '{"balance_id": "00000003-0000-4000-8000-000000000002"}')`,
      [user],
    );
    await migrate(db);
  });
  afterAll(() => db.drop());

  test("are left alone, and are not granted a second time", async () => {
    const { rows } = await db.admin.query(
      "select tokens_granted::int granted, tokens_remaining::int remaining from public.token_balances where user_id = $1 and legacy_transaction_id is null order by 1",
      [user],
    );

    expect(rows).toEqual([
      { granted: 777, remaining: 700 },
      { granted: 5_000_000, remaining: 4_000_000 },
    ]);
    const { rows: total } = await db.admin.query("select count(*)::int from public.token_balances");
    expect(total[0].count).toBe(49);
    expect(await report(db, HOTFIX)).toEqual(
      expect.arrayContaining([
        "  - Left 2 grants alone that were made since",
        "  - Found 48 grant transactions",
        "  - Created 47 token_balance records",
        "  - Skipped 1: their grant exists already",
      ]),
    );
    await expectCleanBooks(db);
  });

  test("a function of the project that writes past the ledger is named", async () => {
    expect(await report(db, OPENING)).toContainEqual(
      expect.stringContaining("grant_annual_tokens(uuid,uuid)"),
    );
  });
});

describe("a clean-up that migrates nothing where there was something", () => {
  test("raises and changes nothing: all grants negative", async () => {
    const db = await createDatabase({ template: "platform" });
    await loadBeforeCleanup(db, legacyProject());
    await db.admin.query("update public.token_transactions set tokens_used = -abs(tokens_used)");

    await expect(migrate(db)).rejects.toThrow(
      /there were 47 grant transactions to migrate and none was created/,
    );

    const { rows } = await db.admin.query("select to_regclass('public.token_balances') as made");
    expect(rows).toEqual([{ made: null }]);
    await db.drop();
  });

  test(
    "the test sees it: the first version, looking for the wrong sign, creates nothing and succeeds",
    { tags: ["proof"] },
    async () => {
      const db = await createDatabase({ template: "platform" });
      await loadWithNothingCreated(db, legacyProject());

      const { rowCount } = await db.admin.query(
        `insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining)
       select user_id, 'admin', abs(tokens_used), abs(tokens_used) from public.token_transactions
        where action_type like '%grant' and tokens_used < 0 -- negative means grant`,
      );

      expect(rowCount).toBe(0);
      await db.drop();
    },
  );
});

describe("rows that no rule can hold", () => {
  test("are put right or left out when the books open, with a copy and a report", async () => {
    const db = await createDatabase({ template: "platform" });
    const project = legacyProject();
    await loadWithNothingCreated(db, project);
    const user = await createUser(db);
    await db.admin.query(
      `insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, granted_at, expires_at) values
         ($1, 'purchase', 100, -5, now(), null),
         ($1, 'purchase', 100, 150, now(), null),
         ($1, 'gift', 10, 10, now(), null),
         ($1, 'purchase', 0, 0, now(), null),
         ($1, 'trial', 10, 10, now(), now() - interval '1 day')`,
      [user],
    );

    await migrate(db);

    const { rows } = await db.admin.query(
      "select grant_type, tokens_granted::int granted, tokens_remaining::int remaining from public.token_balances where user_id = $1 order by 1, 3",
      [user],
    );
    expect(rows).toEqual([
      { grant_type: "admin", granted: 10, remaining: 10 },
      { grant_type: "purchase", granted: 100, remaining: 0 },
      { grant_type: "purchase", granted: 100, remaining: 100 },
    ]);
    const { rows: copies } = await db.admin.query(
      "select why from tokenbook.cleared_token_balances where user_id = $1 order by 1",
      [user],
    );
    expect(copies.map((row) => row.why)).toEqual([
      "left out when the books opened: an impossible amount",
      "left out when the books opened: expired before it was granted",
      "put right when the books opened: an impossible balance",
      "put right when the books opened: an impossible balance",
      "put right when the books opened: an unknown type",
    ]);
    expect(await report(db, OPENING)).toEqual(
      expect.arrayContaining([
        "  - Put right 3 grants out of range, copies in tokenbook.cleared_token_balances",
        "  - Left out 2 grants that no rule can hold, copies in tokenbook.cleared_token_balances",
      ]),
    );
    await expectCleanBooks(db);
    await db.drop();
  });
});

test("the migrations that this file names are the ones there are", async () => {
  const files = await readdir(join(root, "supabase/migrations"));
  expect(files).toEqual(expect.arrayContaining([BASELINE, CLEANUP, HOTFIX, OPENING]));
});
