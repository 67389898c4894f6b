import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { migrate } from "../../support/migrate.ts";
import { expectedGrants, legacyProject, loadBeforeCleanup } from "./legacy/project.ts";

let db: Database;
const project = legacyProject();
const user: Record<
  "published" | "counterOnly" | "trailOnly" | "withoutRecords" | "clean" | "expired",
  string
> = {
  published: "",
  counterOnly: "",
  trailOnly: "",
  withoutRecords: "",
  clean: "",
  expired: "",
};

beforeAll(async () => {
  db = await createDatabase({ template: "platform" });
  await loadBeforeCleanup(db, project);
  for (const name of Object.keys(user) as (keyof typeof user)[]) user[name] = await createUser(db);
  const profile = (id: string, remaining: number, used: number, dollars: number) =>
    db.admin.query(
      `insert into public.user_profiles (user_id, vibe_assistant_tokens_remaining, vibe_assistant_tokens_used, vibe_assistant_total_cost)
       values ($1, $2, $3, $4)`,
      [id, remaining, used, dollars],
    );
  const transaction = (id: string, action: string, tokens: number, ago: string) =>
    db.admin.query(
      "insert into public.token_transactions (user_id, action_type, tokens_used, created_at) values ($1, $2, $3, now() - $4::interval)",
      [id, action, tokens, ago],
    );
  const usage = (id: string, action: string, tokens: number, ago: string, success = true) =>
    db.admin.query(
      "insert into public.token_usage (user_id, action_type, model_used, tokens_used, cost_estimate, success, created_at) values ($1, $2, 'gpt-4', $3, 100, $4, now() - $5::interval)",
      [id, action, tokens, success, ago],
    );

  // the published example: granted 600,000, used 432,778, and a counter that says 600,100
  await profile(user.published, 600_100, 0, 0);
  await transaction(user.published, "subscription_grant", 600_000, "20 days");
  await usage(user.published, "vision_generation", 400_000, "10 days");
  await usage(user.published, "chat_conversation", 32_778, "9 days");
  await usage(user.published, "chat_conversation", 5_000, "8 days", false);
  // grants in the trail alone: the books never had them
  await profile(user.trailOnly, 167_222, 432_778, 1);
  await usage(user.trailOnly, "admin_grant", 600_000, "20 days");
  await usage(user.trailOnly, "vision_generation", 432_778, "10 days");
  // a counter, and nothing else
  await profile(user.counterOnly, 50_000, 0, 0);
  await profile(user.withoutRecords, 50_000, 550_000, 12.5);
  await transaction(user.withoutRecords, "subscription_grant", 600_000, "20 days");
  // nothing used
  await profile(user.clean, 600_000, 0, 0);
  await transaction(user.clean, "subscription_grant", 600_000, "20 days");
  // used up a grant that has run out, and half of one that has not
  await transaction(user.expired, "trial_grant", 100_000, "100 days");
  await transaction(user.expired, "subscription_grant", 600_000, "20 days");
  await usage(user.expired, "chat_conversation", 60_000, "90 days");
  await usage(user.expired, "chat_conversation", 300_000, "5 days");

  await migrate(db);
}, 120_000);
afterAll(() => db.drop());

const reconcile = (id: string) =>
  asService(db, (client) => rpc(client, "reconcile_user_token_balance", { p_user_id: id }));

test("the published example: granted 600,000, used 432,778, expected 167,222", async () => {
  const answer = await reconcile(user.published);

  expect(answer).toMatchObject({
    current_remaining: 600_000,
    expected_remaining: 167_222,
    remaining_difference: 432_778,
    calculated_used: 432_778,
    counters_before_the_books: { tokens_remaining: 600_100, tokens_used: 0 },
    formula: { since: "before the books", granted: 600_000, tokens_used: 432_778, expired: 0 },
  });
  expect(answer.findings).toMatchObject([
    {
      scenario: "balance_higher",
      cause: "use_before_the_books_not_deducted",
      tokens: 432_778,
      is_repairable: true,
    },
  ]);
  const tenDays = Date.now() - new Date(answer.since).getTime();
  expect(Math.round(tenDays / 86_400_000)).toBe(10);
});

test("a repair brings it to 167,222, and it is no discrepancy any more", async () => {
  await asService(db, (client) =>
    rpc(client, "adjust_tokens", {
      p_user_id: user.published,
      p_delta: -432_778,
      p_reason: "reconciliation: balance_higher",
    }),
  );

  expect(await reconcile(user.published)).toMatchObject({
    current_remaining: 167_222,
    expected_remaining: 167_222,
    findings: [],
  });
  await expectCleanBooks(db);
});

test("a balance known from counter and audit trail alone is the user's balance, without a discrepancy", async () => {
  const answer = await reconcile(user.trailOnly);

  expect(answer).toMatchObject({
    current_remaining: 167_222,
    expected_remaining: 167_222,
    formula: { granted: 0, admin_granted: 600_000, tokens_used: 432_778 },
    findings: [],
  });
});

test("a counter of used tokens that no record stands for is named", async () => {
  const answer = await reconcile(user.withoutRecords);

  expect(answer).toMatchObject({ current_used: 550_000, calculated_used: 0, remaining_difference: 0 });
  expect(answer.findings).toMatchObject([
    {
      scenario: "no_usage_records",
      tokens: 550_000,
      evidence: { tokens_remaining: 50_000, total_cost: 1_250 },
    },
  ]);
  expect((await reconcile(user.counterOnly)).findings).toEqual([]);
});

test("what was used of a grant that has run out is not asked for again", async () => {
  expect(await reconcile(user.expired)).toMatchObject({
    current_remaining: 600_000,
    expected_remaining: 300_000,
    formula: { granted: 700_000, tokens_used: 360_000, expired: 40_000 },
  });
});

/** Each use taken from the oldest grants that are live then; what has run out by now is gone. */
function overGranted(id: string, now = Date.now()): number {
  const grants = project.grants
    .filter((grant) => grant.user === id)
    .map((grant) => ({ ...grant, left: grant.tokens, ...lifetimeOf(grant.id) }))
    .toSorted((a, b) => a.at.getTime() - b.at.getTime());
  for (const use of project.usage
    .filter((row) => row.user === id && row.success)
    .toSorted((a, b) => a.at.getTime() - b.at.getTime())) {
    let needed = use.tokens;
    for (const grant of grants) {
      if (grant.expires <= use.at.getTime()) continue;
      const taken = Math.min(needed, grant.left);
      grant.left -= taken;
      needed -= taken;
    }
  }
  const live = grants.filter((grant) => grant.expires > now);
  return live.reduce((sum, grant) => sum + grant.tokens - grant.left, 0);
}

function lifetimeOf(grantId: string): { expires: number } {
  const expires = expectedGrants(project)[project.grants.findIndex((grant) => grant.id === grantId)]!.expires;
  return { expires: expires === null ? Infinity : new Date(expires).getTime() };
}

test("every user of an old project is over-granted by what they had used of live grants, and no other is found", async () => {
  const { rows } = await asService(db, (client) =>
    client.query(
      "select user_id, remaining_difference::int as off from public.find_token_discrepancies(0) where 'balance_higher' = any (scenarios)",
    ),
  );
  const found = new Map<string, number>(rows.map((row) => [row.user_id, row.off]));
  const expected = new Map(
    project.users.map((id) => [id, overGranted(id)] as const).filter(([, tokens]) => tokens > 0),
  );

  console.log(
    `upgraded project: users=${project.users.length} over-granted=${expected.size} found=${[...expected].filter(([id, tokens]) => found.get(id) === tokens).length} false alarms=${[...found.keys()].filter((id) => project.users.includes(id) && !expected.has(id)).length}`,
  );
  expect(found.has(user.clean)).toBe(false);
  expect(new Map([...found].filter(([id]) => project.users.includes(id)))).toEqual(expected);
  expect(expected.size).toBeGreaterThan(10);
});

test("an exact replay finds what was used of the active grants", async () => {
  const { rows } = await db.admin.query(
    `select user_id, sum(difference)::int as over_granted from public.replay_token_balances()
      where user_id = any ($1) group by user_id having sum(difference) <> 0`,
    [project.users],
  );

  const used = new Map<string, number>();
  for (const { user: id, tokens } of project.deductions) used.set(id, (used.get(id) ?? 0) + tokens);
  // what these two used was paid by grants that have run out since, or already had
  for (const n of [2, 9]) used.delete(project.users[n]!);
  console.log(
    `upgraded project, replayed: users=${rows.length} over_granted=${rows.reduce((sum, row) => sum + row.over_granted, 0)}`,
  );
  expect(new Map(rows.map((row) => [row.user_id, row.over_granted]))).toEqual(used);
});
