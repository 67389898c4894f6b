import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asUser, createUser } from "../support/roles.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { storm } from "../support/storm.ts";
import { alertBreaches, call, deduct, setRule, told } from "./alerts.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
});
beforeEach(async () => {
  user = await createUser(db);
  await grant(db, user, 100);
});
afterAll(async () => {
  expect(await alertBreaches(db)).toEqual([]);
  await expectCleanBooks(db);
  await db.drop();
});

test("a rule holds from its commit on: a user below it already gets no alert, every later crossing raises one", async () => {
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 150, user_id: user });
  await deduct(db, user, 10);
  expect(await told(db, user)).toEqual([]);
  await grant(db, user, 100);
  await deduct(db, user, 50);
  expect(await told(db, user)).toEqual(["dropped low 140"]);
});

test("the first change after a new rule can cross it", async () => {
  await setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50, user_id: user });
  await deduct(db, user, 60);
  expect(await told(db, user)).toEqual(["dropped low 40"]);
});

test("of the rules of one name the closest holds: the user's, the plan's, everyone's", async () => {
  const [plain, gold, muted] = await Promise.all([1, 2, 3].map(() => createUser(db)));
  await setRule(db, { rule: "closest", kind: "dropped", threshold_tokens: 60 });
  await setRule(db, { rule: "closest", kind: "dropped", threshold_tokens: 300_000, plan_type: "starter" });
  await setRule(db, { rule: "closest", kind: "depleted", user_id: muted!, is_enabled: false });
  await call(db, "change_token_plan", { p_user_id: gold, p_plan_type: "starter" });
  for (const one of [plain, muted]) await grant(db, one!, 100);
  await deduct(db, plain!, 41);
  await deduct(db, gold!, 100_001);
  await deduct(db, muted!, 100);
  expect(await told(db, plain!)).toEqual(["dropped closest 59"]);
  expect(await told(db, gold!)).toEqual(["dropped closest 299999"]);
  expect(await told(db, muted!)).toEqual([]);

  // a wider rule takes over when the closer one goes
  await call(db, "remove_token_alert_rule", { p_rule: "closest", p_user_id: muted });
  await grant(db, muted!, 70);
  await deduct(db, muted!, 20);
  expect(await told(db, muted!)).toEqual(["dropped closest 50"]);
  await call(db, "remove_token_alert_rule", { p_rule: "closest", p_for_everyone: true });
  await call(db, "remove_token_alert_rule", { p_rule: "closest", p_plan_type: "starter" });
});

test("a percentage is of the plan limit, and moves with it", async () => {
  await setRule(db, {
    rule: "fifth",
    kind: "dropped",
    threshold_percent: 20,
    user_id: user,
    notify_recovered: true,
  });
  await deduct(db, user, 90);
  expect(await told(db, user)).toEqual([]); // no subscription, no plan limit
  await call(db, "change_token_plan", { p_user_id: user, p_plan_type: "starter" }); // 400,010
  await deduct(db, user, 320_008);
  expect(await told(db, user)).toEqual([]); // 80,002 of 400,010: a fifth
  await deduct(db, user, 1);
  expect(await told(db, user)).toEqual(["dropped fifth 80001"]);
  await call(db, "change_token_plan", { p_user_id: user, p_plan_type: "professional" }); // 2,080,001
  await deduct(db, user, 1_700_000);
  expect((await told(db, user)).slice(1)).toEqual(["recovered fifth 2080001", "dropped fifth 380001"]);
});

test("a renewal that books the old period's expiry first tells of nothing", async () => {
  await db.admin.query("update public.token_plans set grant_lifetime_days = 28 where plan_type = 'starter'");
  await setRule(db, { rule: "empty", kind: "depleted", user_id: user, notify_recovered: true });
  await deduct(db, user, 100);
  await call(db, "change_token_plan", { p_user_id: user, p_plan_type: "starter" });
  const before = await told(db, user);
  expect(before).toEqual(["depleted empty 0", "recovered empty 400000"]);
  // a month later, nobody having looked
  await db.admin.query(
    `update public.token_balances set granted_at = granted_at - interval '31 days', expires_at = expires_at - interval '31 days'
      where user_id = $1 and is_open`,
    [user],
  );
  await db.admin.query(
    "update public.token_accounts set next_due_at = now() - interval '3 days' where user_id = $1",
    [user],
  );
  await db.admin.query(
    "update tokenbook.subscriptions set period_start = period_start - interval '1 month', expires_at = now() - interval '1 minute' where user_id = $1",
    [user],
  );
  const renewed = await call(db, "renew_token_subscription", { p_user_id: user });
  expect(renewed).toMatchObject({ success: true, tokens_granted: 400_000, tokens_remaining: 400_000 });
  expect(await told(db, user)).toEqual(before);
});

test("users read the rules that concern them", async () => {
  await setRule(db, { rule: "theirs", kind: "depleted", user_id: user });
  const other = await createUser(db);
  const rules = (of: string) =>
    asUser(db, of, (client) =>
      client.query("select rule from public.token_alert_rules where rule = 'theirs'"),
    );
  expect((await rules(user)).rows).toEqual([{ rule: "theirs" }]);
  expect((await rules(other)).rows).toEqual([]);
});

test("accounts that nobody touches are armed in pieces, past those that are locked", async () => {
  const users = await Promise.all(Array.from({ length: 5 }, () => createUser(db)));
  for (const one of users) await grant(db, one, 10, { type: "trial", expires_in: "5 hours" });
  while ((await call(db, "arm_token_alerts")) > 0);
  await setRule(db, { rule: "ends", kind: "expiring_soon", hours: 6 });
  const locker = await db.admin.connect();
  await locker.query("begin");
  await locker.query("select from public.token_accounts where user_id = $1 for update", [users[0]]);
  const armed = [];
  for (let n = 1; n > 0; armed.push(n)) n = await call(db, "arm_token_alerts", { p_max_accounts: 3 });
  const whileLocked = await told(db, users[0]!);
  await locker.query("rollback");
  locker.release();
  expect(await call(db, "arm_token_alerts")).toBe(1);
  expect(whileLocked).toEqual([]);
  expect(armed.at(-1)).toBe(0);
  expect(Math.max(...armed)).toBe(3);
  for (const one of users) expect(await told(db, one)).toEqual(["expiring_soon ends 10"]);
  await call(db, "remove_token_alert_rule", { p_rule: "ends", p_for_everyone: true });
});

/**
 * 20 users spend one token at a time from 300 to 100 while a rule of 200 is set and reset around them,
 * and nothing ever comes in: each must be told exactly once.
 */
async function changeUnderTraffic(database: Database) {
  const users = await Promise.all(Array.from({ length: 20 }, () => createUser(database)));
  await setRule(database, { rule: "middle", kind: "dropped", threshold_tokens: 200 });
  for (const one of users) await grant(database, one, 300);
  const traffic = { runs: true };
  const editing = (async () => {
    let edits = 0;
    for (; traffic.runs; edits++) {
      await setRule(database, {
        rule: `other_${edits % 3}`,
        kind: "dropped",
        threshold_tokens: 1_000 + edits,
      });
      await setRule(database, {
        rule: "middle",
        kind: "dropped",
        threshold_tokens: 200,
        notify_recovered: edits % 2 === 0,
      });
      await call(database, "arm_token_alerts");
    }
    return edits;
  })();
  const { mix } = await storm(database, {
    connections: 20,
    attempts: 4_000,
    run: async (client, attempt) => {
      const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 1) as receipt", [
        users[attempt % users.length],
      ]);
      return rows[0].receipt.success ? "spent" : "short";
    },
  });
  traffic.runs = false;
  const edits = await editing;
  const { rows } = await database.admin.query(
    `select count(*)::int as alerts, count(distinct user_id)::int as users, count(*) filter (where payload ->> 'tokens_remaining' <> '199')::int as wrong
       from public.token_alerts where rule = 'middle' and user_id = any ($1)`,
    [users],
  );
  const others = await database.admin.query(
    "select count(*)::int as n from public.token_alerts where rule like 'other%'",
  );
  return {
    edits,
    mix,
    others: others.rows[0].n as number,
    ...(rows[0] as { alerts: number; users: number; wrong: number }),
  };
}

test("rules change while 20 users cross one: each is told once, at the token that crosses", async () => {
  const result = await changeUnderTraffic(db);
  console.log(`under traffic: ${JSON.stringify(result)}`);
  expect(result).toMatchObject({ alerts: 20, users: 20, wrong: 0, others: 0, mix: { spent: 4_000 } });
  expect(result.edits).toBeGreaterThan(3);
  await call(db, "remove_token_alert_rule", { p_rule: "middle", p_for_everyone: true });
  for (const n of [0, 1, 2])
    await call(db, "remove_token_alert_rule", { p_rule: `other_${n}`, p_for_everyone: true });
});

test("the test sees it: a change of rule that is told as a crossing", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "alerts-of-changed-rules");
  const result = await changeUnderTraffic(broken);
  await broken.drop();
  console.log(`mutant alerts-of-changed-rules: ${JSON.stringify(result)}`);
  expect(result.others).toBeGreaterThan(0);
});

test.each([
  [{ rule: "x", kind: "dropped" }, "p_threshold_tokens"],
  [{ rule: "x", kind: "dropped", threshold_tokens: 1, threshold_percent: 1 }, "p_threshold_tokens"],
  [{ rule: "x", kind: "dropped", threshold_tokens: 0 }, "p_threshold_tokens"],
  [{ rule: "x", kind: "dropped", threshold_percent: 101 }, "p_threshold_percent"],
  [{ rule: "x", kind: "dropped", threshold_tokens: 1, hours: 1 }, "p_hours"],
  [{ rule: "x", kind: "dropped", threshold_tokens: 1, hours: 0 }, "p_hours"],
  [{ rule: "x", kind: "depleted", hours: 8761 }, "p_hours"],
  [{ rule: "x", kind: "depleted", threshold_tokens: 1 }, "p_threshold_tokens"],
  [{ rule: "x", kind: "expiring_soon" }, "p_hours"],
  [{ rule: "x", kind: "expiring_soon", hours: 8761 }, "p_hours"],
  [{ rule: "x", kind: "expiring_soon", hours: 1, notify_recovered: true }, "p_notify_recovered"],
  [{ rule: "x", kind: "recovered" }, "p_kind"],
  [{ rule: "x", kind: null }, "p_kind"],
  [{ rule: "auto_top_up", kind: "depleted" }, "p_rule"],
  [{ rule: "Two Words", kind: "depleted" }, "p_rule"],
  [{ rule: "r".repeat(1_000_000), kind: "depleted" }, "p_rule"],
  [{ rule: null, kind: "depleted" }, "p_rule"],
  [{ rule: "x", kind: "depleted", is_enabled: null }, "p_is_enabled"],
  [{ rule: "x", kind: "depleted", notify_recovered: null }, "p_notify_recovered"],
])("a rule that cannot be is refused: %j", async (rule, field) => {
  const error = await setRule(db, rule as never).catch((it: { message: string; detail: string }) => it);
  expect(error).toMatchObject({ code: "PT400", message: "invalid_alert_rule" });
  expect(JSON.parse((error as { detail: string }).detail)).toMatchObject({ field, rule: expect.any(String) });
});

test("a rule for a plan or a user that is not there is refused", async () => {
  await expect(setRule(db, { rule: "x", kind: "depleted", plan_type: "nope" })).rejects.toMatchObject({
    message: "plan_not_found",
  });
  await expect(
    setRule(db, { rule: "x", kind: "depleted", user_id: "00000000-0000-4000-8000-00000000dead" }),
  ).rejects.toMatchObject({ message: "user_not_found" });
  expect(await call(db, "remove_token_alert_rule", { p_rule: "x", p_for_everyone: true })).toEqual({
    success: true,
    removed: false,
  });
});
