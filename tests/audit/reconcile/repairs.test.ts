import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import { asAdmin, createUser, rpc } from "../../support/roles.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

const ask = async (where: Database, sql: string, ...values: unknown[]) =>
  (await where.admin.query(`select ${sql} as answer`, values)).rows[0].answer;
const reconcile = (user: string, where = db) => ask(where, "public.reconcile_user_token_balance($1)", user);
/** As POST /functions/v1/admin-adjust calls it for the guide's body, {userId, delta}. */
const adjust = (user: string, delta: number, reason?: string, where = db, by = admin) =>
  asAdmin(where, by, (client) =>
    rpc(client, "adjust_tokens", {
      p_user_id: user,
      p_delta: delta,
      ...(reason === undefined ? {} : { p_reason: reason }),
    }),
  );
const track = (user: string, tokens: number, where = db) =>
  ask(
    where,
    "public.track_token_usage($1, 'chat_conversation', 'gpt-4', p_tokens_used => $2, p_metadata => jsonb_build_object('request_id', gen_random_uuid()))",
    user,
    tokens,
  );
const forget = (user: string, tokens: number, where = db) =>
  where.admin.query(
    "insert into public.token_usage (user_id, action_type, model_used, tokens_used, metadata) values ($1, 'chat_conversation', 'gpt-4', $2, jsonb_build_object('request_id', gen_random_uuid()))",
    [user, tokens],
  );
const fail = async (user: string, usage: { usage_id: string }, where = db) =>
  where.admin.query("update public.token_usage set success = false where user_id = $1 and id = $2", [
    user,
    usage.usage_id,
  ]);
async function userWith(tokens: number, where = db): Promise<string> {
  const user = await createUser(where);
  await ask(where, "public.grant_tokens($1, $2, 'purchase')", user, tokens);
  return user;
}
const RIGHT = { remaining_difference: 0, findings: [] };

test("scenario 1: the balance is higher than it should be; {userId, delta: -7500} and no reason clears it", async () => {
  const user = await userWith(58_000);
  await forget(user, 7_500);
  expect(await reconcile(user)).toMatchObject({ current_remaining: 58_000, remaining_difference: 7_500 });

  await adjust(user, -7_500);

  expect(await reconcile(user)).toMatchObject({
    ...RIGHT,
    current_remaining: 50_500,
    expected_remaining: 50_500,
    calculated_used: 7_500,
    formula: { since: "repair 2", expired: 0 },
  });
});

test("scenario 2: the balance is lower than it should be; {userId, delta: 4000} and no reason clears it", async () => {
  const user = await userWith(10_000);
  await fail(user, await track(user, 4_000));
  expect(await reconcile(user)).toMatchObject({ current_remaining: 6_000, remaining_difference: -4_000 });

  await adjust(user, 4_000);

  expect(await reconcile(user)).toMatchObject({
    ...RIGHT,
    current_remaining: 10_000,
    expected_remaining: 10_000,
  });
});

test("a goodwill grant to a user who is right is a grant, and no discrepancy", async () => {
  const user = await userWith(1_000);
  await track(user, 100);
  await adjust(user, 10_000);
  await adjust(user, -50);

  expect(await reconcile(user)).toMatchObject({
    ...RIGHT,
    current_remaining: 10_850,
    formula: { granted: 1_000, admin_granted: 10_000, admin_deducted: 50, tokens_used: 100, expired: 0 },
  });
});

test("what goes the other way, or says that it is goodwill, repairs nothing", async () => {
  const user = await userWith(1_000);
  await forget(user, 250);

  await adjust(user, 100);
  expect(await reconcile(user)).toMatchObject({ remaining_difference: 250, formula: { admin_granted: 100 } });
  await adjust(user, -250, " Goodwill the other way round");
  expect(await reconcile(user)).toMatchObject({
    remaining_difference: 250,
    formula: { admin_deducted: 250 },
  });
});

test("a repair in part leaves the rest, and what is beyond it is a deduction of its own", async () => {
  const user = await userWith(1_000);
  await forget(user, 250);

  await adjust(user, -100);
  expect(await reconcile(user)).toMatchObject({
    current_remaining: 900,
    expected_remaining: 750,
    remaining_difference: 150,
    formula: { granted: 1_000, tokens_used: 250, admin_deducted: 0, expired: 0 },
  });
  await adjust(user, -200);
  expect(await reconcile(user)).toMatchObject({ ...RIGHT, current_remaining: 700, expected_remaining: 700 });
  await adjust(user, 50);
  expect(await reconcile(user)).toMatchObject({ ...RIGHT, current_remaining: 750 });
});

test("a repair settles all of it, although what is off the one way and the other was more", async () => {
  const user = await userWith(10_000);
  await fail(user, await track(user, 400));
  await forget(user, 1_000);
  expect(await reconcile(user)).toMatchObject({ remaining_difference: 600 });

  await adjust(user, -600);

  expect(await reconcile(user)).toMatchObject(RIGHT);
});

test("what a repair gave back stays right when the grant that had been short runs out", async () => {
  const user = await createUser(db);
  const end = Date.now() + 500;
  await ask(db, "public.grant_tokens($1, 100, 'trial', $2::timestamptz)", user, new Date(end));
  await fail(user, await track(user, 40));
  await adjust(user, 40);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, end + 20 - Date.now())));

  expect(await reconcile(user)).toMatchObject({ ...RIGHT, current_remaining: 40 });
});

test("so is use from before the books that was never deducted, and a replay takes it no second time", async () => {
  const demo = await createDatabase();
  await giveFreePlanAtRegistration(demo);
  await demo.admin.query(
    await readFile(fileURLToPath(new URL("../../../scripts/sql/broken-books.sql", import.meta.url)), "utf8"),
  );
  const by = await createUser(demo, { admin: true });
  const user = "d15c0000-0000-4000-8000-000000000001"; // published-example
  expect(await reconcile(user, demo)).toMatchObject({ remaining_difference: 432_778 });

  await adjust(user, -432_778, undefined, demo, by);

  expect(await reconcile(user, demo)).toMatchObject({ ...RIGHT, current_remaining: 167_222 });
  const { rows } = await demo.admin.query(
    "select grant_id, difference::int from public.replay_token_balances($1) where difference <> 0",
    [user],
  );
  await demo.drop();
  expect(rows).toEqual([]);
});

test("an admin's grant is found in token_usage, whichever way it was made, and counts once", async () => {
  const user = await createUser(db);
  const give = (tokens: number, type: string) =>
    asAdmin(db, admin, (client) =>
      rpc(client, "grant_tokens", {
        p_user_id: user,
        p_tokens: tokens,
        p_grant_type: type,
        p_idempotency_key: type,
      }),
    );
  await give(5_000_000, "annual");
  const granted = await give(700, "admin");
  await give(700, "admin"); // again
  await adjust(user, 30);
  await ask(db, "public.grant_tokens($1, 4, 'admin')", user); // the server
  await ask(db, "public.grant_tokens($1, 2, 'purchase')", user); // not an admin's

  const { rows } = await db.admin.query(
    "select tokens_used::int, cost_estimate::int as cents from public.token_usage where user_id = $1 and action_type = 'admin_grant' order by created_at",
    [user],
  );
  expect(rows.map((row) => row.tokens_used)).toEqual([5_000_000, 700, 30, 4]);
  expect(await reconcile(user)).toMatchObject({
    ...RIGHT,
    current_remaining: 5_000_736,
    current_used: 0,
    calculated_used: 0,
    calculated_cost: 0,
    formula: { granted: 5_000_002, admin_granted: 734 },
  });
  expect(granted.tokens_remaining).toBe(5_000_700);
  await expectCleanBooks(db);
});

// -- every scenario, whatever happened ------------------------------------------------------------------

type Step = [kind: "forget" | "fail" | "track" | "goodwill", tokens: number];
const history = fc.array(
  fc.tuple(
    fc.constantFrom("forget", "forget", "fail", "track", "goodwill"),
    fc.integer({ min: 1, max: 5_000 }),
  ),
  { minLength: 1, maxLength: 6 },
) as fc.Arbitrary<Step[]>;

/** Lives histories, following the guide after each: the difference is booked with the other sign, and no reason. */
async function follow(where: Database, runs: number): Promise<{ cleared: number; left: unknown[] }> {
  const by = await createUser(where, { admin: true });
  let cleared = 0;
  const left: unknown[] = [];
  for (const [i, steps] of fc.sample(history, { numRuns: runs, seed: 20261126 }).entries()) {
    const user = await userWith(100_000, where);
    for (const part of [steps, steps.toReversed()]) {
      for (const [kind, tokens] of part) {
        if (kind === "forget") await forget(user, tokens, where);
        if (kind === "fail") await fail(user, await track(user, tokens, where), where);
        if (kind === "track") await track(user, tokens, where);
        if (kind === "goodwill") await adjust(user, tokens, "goodwill", where, by);
      }
      const { remaining_difference: off } = await reconcile(user, where);
      if (off === 0) continue;
      await adjust(user, -off, undefined, where, by);
      const after = await reconcile(user, where);
      if (after.remaining_difference !== 0 || after.findings.length > 0)
        left.push({ i, steps, off, after: after.findings });
      else cleared++;
    }
  }
  return { cleared, left };
}

test("following the guide to the letter clears every discrepancy of tokens", async () => {
  const { cleared, left } = await follow(db, 40);

  console.log(`followed to the letter: cleared=${cleared} left=${left.length}`);
  expect(left).toEqual([]);
  expect(cleared).toBeGreaterThan(40);
  await expectCleanBooks(db);
}, 60_000);

test(
  "the test sees it: where a correction is a grant or a deduction, whatever it corrects",
  { tags: ["proof"], timeout: 60_000 },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "corrections-are-never-repairs");
    const { left } = await follow(broken, 5);
    await broken.drop();

    expect(left.length).toBeGreaterThan(0);
  },
);
