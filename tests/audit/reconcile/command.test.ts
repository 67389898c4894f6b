import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "local-platform/postgres/ports";
import { repair } from "../../../packages/tokenbook/src/data/repair.ts";
import { planRepair } from "../../../packages/tokenbook/src/data/repair-plan.ts";
import { reconcileUser } from "../../../packages/tokenbook/src/data/discrepancies.ts";
import { run, runHere } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";

let db: Database;
let over: string;
let under: string;
let cost: string;
beforeAll(async () => {
  db = await createDatabase();
  over = await createUser(db, { email: "over@example.com" });
  under = await createUser(db, { email: '=HYPERLINK("https://example.com")@example.com' });
  cost = await createUser(db, { email: "cost@example.com" });
  for (const user of [over, under, cost]) await grant(db, user, 10_000);
  await grant(db, await createUser(db, { email: "clean@example.com" }), 10_000);
  await write(over, "chat_conversation", 5_000);
  await write(under, "admin_grant", 700);
  await db.admin.query("select public.track_token_usage($1, 'chat_conversation', p_tokens_used => 10)", [
    cost,
  ]);
  await db.admin.query("update public.token_usage set cost_estimate = 300 where user_id = $1", [cost]);
});
afterAll(() => db.drop());

const write = (user: string, action: string, tokens: number) =>
  db.admin.query("insert into public.token_usage (user_id, action_type, tokens_used) values ($1, $2, $3)", [
    user,
    action,
    tokens,
  ]);

const reconcile = (args: string[], env = { SUPABASE_DB_URL: db.url() }) => runHere("reconcile", args, env);

test("everyone with a discrepancy is listed, the worst first, and the status is 1", async () => {
  const { status, stdout: output } = await run("reconcile", [], { SUPABASE_DB_URL: db.url() });

  expect(status).toBe(1);
  expect(output.match(/over@example.com|=HYPERLINK|cost@example.com|clean@/g)).toEqual([
    "over@example.com",
    "=HYPERLINK",
    "cost@example.com",
  ]);
  expect(output).toMatch(/over@example.com.* 10,000 .* 5,000 .* \+5,000 .*balance_higher/);
  expect(output).toContain("4 users checked, 3 with a discrepancy above 100 tokens.");
});

test("JSON has it all, as numbers", async () => {
  const { status, stdout: output } = await reconcile(["--json"]);
  const report = JSON.parse(output);

  expect(status).toBe(1);
  expect(report).toMatchObject({ users: 4, threshold: 100, remaining: 3 });
  expect(report.discrepancies[0]).toMatchObject({
    user_id: over,
    remaining_difference: 5_000,
    findings: [{ scenario: "balance_higher", tokens: 5_000, is_repairable: true }],
  });
});

test("CSV keeps numbers as they are and texts from being formulas", async () => {
  const { stdout: output } = await reconcile(["--csv"]);
  const [header, , second] = output.split("\n");

  expect(header).toBe(
    "user_id,email,current_remaining,expected_remaining,remaining_difference,current_used,calculated_used,used_difference,current_cost,calculated_cost,cost_difference,since,scenarios",
  );
  expect(second).toContain(`,"'=HYPERLINK(""https://example.com"")@example.com",10000,10700,-700,`);
});

test("a threshold and a scenario leave out what is below or like it", async () => {
  expect((await reconcile(["--threshold", "1000"])).stdout).not.toContain("=HYPERLINK");
  const { status, stdout: output } = await reconcile(["--threshold", "5000", "--ignore", "cost_mismatch"]);
  expect({ status, output: output.trim() }).toEqual({
    status: 0,
    output: "4 users checked, no discrepancy above 5000 tokens.",
  });
});

test("one user, by address in any case or by id, line by line", async () => {
  const byAddress = await reconcile(["--user", "OVER@example.com"]);
  const byId = await reconcile(["--user", over]);
  const clean = await reconcile(["--user", "clean@example.com"]);

  expect(byAddress.stdout).toBe(byId.stdout);
  expect(byAddress.stdout).toMatch(/= expected +│ +5,000/);
  expect(byAddress.status).toBe(1);
  expect(clean.status).toBe(0);
  expect(clean.stdout).toContain("No discrepancy.");
});

test("what it can't do it says, and ends with status 2", async () => {
  const platform = await createDatabase({ template: "platform" });
  for (const [args, words, where] of [
    [["--fix"], "add --yes"],
    [["--threshold", "many"], "whole number of tokens"],
    [["--ignore", "everything"], "no scenario everything"],
    [["--json", "--csv"], "Either --json or --csv"],
    [["--yes"], "--yes answers"],
    [["--user", "nobody@example.com"], "no user nobody@example.com"],
    [[], "npx tokenbook install", { SUPABASE_DB_URL: platform.url() }],
  ] as [string[], string, { SUPABASE_DB_URL: string }?][]) {
    const { status, stdout, stderr } = await reconcile(args, where);
    expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: "" });
    expect(stderr).toContain(words);
  }
  await platform.drop();

  const nowhere = { SUPABASE_DB_URL: "", TOKENBOOK_DB_PORT: String(await freePort()) };
  const { status, stdout, stderr } = await run("reconcile", [], nowhere);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(stderr).toContain("npm start");
});

test("two repairs of the same state book once, and a repair looks again before it books", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  await write(user, "chat_conversation", 400);
  const client = await db.admin.connect();
  const found = await reconcileUser(client, user);
  const plan = planRepair(found);
  expect(plan).toMatchObject({
    delta: -400,
    key: "reconciliation-1",
    reason: "reconciliation: balance_higher",
  });

  // a retry whose first answer was lost
  const adjust = () =>
    client.query(
      "select public.adjust_tokens($1, -400, 'reconciliation: balance_higher', 'reconciliation-1', $2) as r",
      [user, JSON.stringify((plan as { metadata: object }).metadata)],
    );
  const first = await adjust();
  const second = await adjust();
  const third = await repair(client, user);
  client.release();

  expect(first.rows[0].r).toMatchObject({ success: true, replayed: false, tokens_remaining: 600 });
  expect(second.rows[0].r).toMatchObject({ success: true, replayed: true });
  expect(third).toMatchObject({
    delta: 0,
    tokens_remaining: 600,
    outcome: expect.stringContaining("not repaired"),
  });
});

test("nothing is booked for an account that its ledger contradicts, nor for more than there is", async () => {
  const user = await createUser(db);
  await grant(db, user, 300);
  await write(user, "chat_conversation", 900);
  const client = await db.admin.connect();
  const short = planRepair(await reconcileUser(client, user));
  await client.query("begin");
  await client.query("update public.token_accounts set tokens_remaining = 350 where user_id = $1", [user]);
  const contradicted = planRepair(await reconcileUser(client, user));
  await client.query("rollback");
  await repair(client, user);
  client.release();

  expect(short).toMatchObject({ delta: -300 });
  expect(contradicted).toMatchObject({ delta: 0, why: expect.stringContaining("verify_token_ledger") });
});

test("--fix --yes books each difference, says so, and leaves the rest to a person", async () => {
  const { status, stdout: output } = await reconcile(["--fix", "--yes"]);
  const { rows } = await db.admin.query(
    "select user_id, tokens::int, reason, actor_role from public.token_transactions where reason like 'reconciliation%' and user_id = any ($1) order by tokens",
    [[over, under, cost]],
  );
  const again = await reconcile(["--fix", "--yes", "--json"]);

  expect(status).toBe(1); // the cost is still another
  expect(output).toContain(
    'over@example.com: booked -5,000 as transaction 2, "reconciliation: balance_higher"',
  );
  expect(output).toContain(
    "cost@example.com: nothing (cost_mismatch: not repaired by itself, its advice says what to do)",
  );
  expect(output).toContain("2 adjustments booked, -4,300 tokens in all; 1 user with a discrepancy remains.");
  expect(rows).toEqual([
    { user_id: over, tokens: -5_000, reason: "reconciliation: balance_higher", actor_role: "service" },
    { user_id: under, tokens: 700, reason: "reconciliation: balance_lower", actor_role: "service" },
  ]);
  expect(again.status).toBe(1);
  expect(JSON.parse(again.stdout)).toMatchObject({ remaining: 1, discrepancies: [{ user_id: cost }] });
  expect((await reconcile(["--ignore", "cost_mismatch"])).status).toBe(0);
  await expectCleanBooks(db);
});
