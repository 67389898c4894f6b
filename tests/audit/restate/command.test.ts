import { afterAll, beforeAll, expect, test } from "vitest";
import { oldUser, type OldUser } from "../replay/old-user.ts";
import { run, runHere } from "../../support/command.ts";
import { createDatabase, type Database } from "../../support/database.ts";

let db: Database;
let worst: OldUser;
beforeAll(async () => {
  db = await createDatabase();
  worst = await oldUser(db, {
    grants: [
      { tokens: 100_000, granted: "40 days" },
      { tokens: 500_000, granted: "30 days" },
    ],
    deductions: [[432_778, "10 days"]],
  });
  await oldUser(db, { grants: [{ tokens: 100, granted: "9 days", stored: 30 }] });
  await oldUser(db, { grants: [{ tokens: 100, granted: "9 days" }], deductions: [[5, "20 days"]] });
});
afterAll(() => db.drop());

const restate = (...args: string[]) => runHere("restate", args, { SUPABASE_DB_URL: db.url() });

const entries = async () =>
  (
    await db.admin.query(
      "select count(*)::int from public.token_transactions where entry_type = 'restatement'",
    )
  ).rows[0].count;

test("a dry run shows what was given too much and to whom, writes nothing, and ends with 1", async () => {
  const { status, stdout: out, stderr } = await run("restate", [], { SUPABASE_DB_URL: db.url() });

  expect(status).toBe(1);
  expect(stderr).toBe("");
  expect(out).toMatch(/^History replay of 3 users of .*: 2 with a difference\./);
  expect(out).toContain("over-granted:   432,778 tokens of 1 user");
  expect(out).toContain("under-granted:  70 tokens of 1 user");
  expect(out).toContain("uncovered:      5 tokens of 1 user");
  expect(out).toMatch(new RegExp(`${worst.user}@example.com +│ +167,222 │ +600,000 │ +432,778 │ +0 │`));
  expect(out).toContain("Nothing was changed.");
  // for a pipe there is nothing that moves
  expect(out).not.toContain("\u001b");
  expect(await entries()).toBe(0);
});

test("one user is shown grant by grant", async () => {
  const { status, stdout: out } = await restate("--user", worst.user);

  expect(status).toBe(1);
  expect(out).toMatch(/never +│ purchase │ 100,000 │ +0 │ 100,000 │ +100,000 │/);
  expect(out).toMatch(/never +│ purchase │ 500,000 │ 167,222 │ 500,000 │ +332,778 │/);
});

test("for machines it is JSON", async () => {
  const { status, stdout: out } = await restate("--json");

  expect(status).toBe(1);
  const json = JSON.parse(out);
  expect(json).toMatchObject({
    users: 3,
    differing: 2,
    over_granted: 432_778,
    under_granted: 70,
    uncovered: 5,
    remaining: 2,
  });
  expect(json.found[0]).toEqual({
    user_id: worst.user,
    email: `${worst.user}@example.com`,
    exact: 167_222,
    stored: 600_000,
    over_granted: 432_778,
    under_granted: 0,
    uncovered: 0,
  });
});

test("it books nothing without a reason, nor unasked, nor for an unknown user", async () => {
  for (const [args, why] of [
    [["--book"], /Say why/],
    [["--book", "--reason", "why"], /nobody to ask/],
    [["--yes"], /go with --book/],
    [["--user", "nobody@example.com"], /Nobody has signed up with the address nobody@example.com/],
    [["--worst", "many"], /whole number/],
    [["--what"], /unknown option/],
  ] as [string[], RegExp][]) {
    const { status, stderr } = await restate(...args);
    expect(status, args.join(" ")).toBe(2);
    expect(stderr, args.join(" ")).toMatch(why);
  }
  expect(await entries()).toBe(0);
});

test("told to, it books every difference, says what it wrote, and ends with 0; again there is none", async () => {
  const { status, stdout: out } = await restate("--book", "--reason", "exact history", "--yes");

  expect(status).toBe(0);
  expect(out).toContain("2 restatements booked for 2 users: 432,778 tokens taken, 70 tokens given.");
  expect(out).toContain("No difference remains.");
  expect(out).toMatch(/To undo one: select reverse_token_restatement\('[0-9a-f-]{36}', 2, 'why'\);/);
  expect(await entries()).toBe(2);

  const again = await restate("--book", "--reason", "exact history", "--yes");
  expect(again.status).toBe(0);
  expect(again.stdout).toMatch(/: none with a difference\./);
  expect(await entries()).toBe(2);
});
