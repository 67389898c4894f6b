import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { withGrants } from "../support/accumulated.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { alertBreaches, call, deduct, setRule, told } from "./alerts.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  await setRule(db, { rule: "day", kind: "expiring_soon", hours: 24 });
  await setRule(db, { rule: "week", kind: "expiring_soon", hours: 168 });
});
beforeEach(async () => {
  user = await createUser(db);
});
afterAll(async () => {
  expect(await alertBreaches(db)).toEqual([]);
  await expectCleanBooks(db);
  await db.drop();
});

/** The sweeper, as if it ran at that moment. */
const sweepAt = (moment: string) =>
  db.admin.query("select tokenbook.record_expiries(array[$1::uuid], clock_timestamp() + $2::interval)", [
    user,
    moment,
  ]);

test("a grant is warned of when its time comes, once for each rule, and the next one is waited for", async () => {
  await grant(db, user, 50, { type: "trial", expires_in: "30 days" });
  await grant(db, user, 70, { type: "trial", expires_in: "40 days" });
  const due = await db.admin.query(
    `select round(extract(epoch from next_due_at - clock_timestamp()) / 86400)::int as days from public.token_accounts where user_id = $1`,
    [user],
  );
  expect(due.rows).toEqual([{ days: 23 }]);
  expect(await told(db, user)).toEqual([]);
  await sweepAt("22 days");
  expect(await told(db, user)).toEqual([]);
  await sweepAt("24 days");
  await sweepAt("25 days");
  expect(await told(db, user)).toEqual(["expiring_soon week 120"]);
  await sweepAt("29 days 12 hours");
  await sweepAt("34 days");
  await sweepAt("39 days 12 hours");
  expect(await told(db, user)).toEqual([
    "expiring_soon week 120",
    "expiring_soon day 120",
    "expiring_soon week 70",
    "expiring_soon day 70",
  ]);
  const { rows } = await db.admin.query(
    "select payload ->> 'grant_tokens' as tokens from public.token_alerts where user_id = $1 order by id",
    [user],
  );
  expect(rows.map(({ tokens }) => tokens)).toEqual(["50", "50", "70", "70"]);
});

test("the schedule's sweeper finds it without anybody touching the account, and nothing is due afterwards", async () => {
  await grant(db, user, 50, { type: "trial", expires_in: "169 hours" });
  expect(await told(db, user)).toEqual([]);
  await letTimePass(db, user, 2 / 24);
  expect(await call(db, "expire_old_token_grants")).toBe(0); // no grant ran out
  expect(await told(db, user)).toEqual(["expiring_soon week 50"]);
  const { rows } = await db.admin.query(
    "select next_due_at > clock_timestamp() as later from public.token_accounts where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ later: true }]);
});

test("a balance read finds it too, and what is granted so short of its end is warned of at once", async () => {
  await grant(db, user, 50, { type: "trial", expires_in: "169 hours" });
  await letTimePass(db, user, 2 / 24);
  await call(db, "get_user_token_balance", { p_user_id: user });
  await grant(db, user, 5, { type: "trial", expires_in: "1 hour" });
  expect(await told(db, user)).toEqual([
    "expiring_soon week 50",
    "expiring_soon day 55",
    "expiring_soon week 55",
  ]);
});

test("a grant that is used up, or never ends, is not warned of", async () => {
  await grant(db, user, 50, { type: "trial", expires_in: "30 days" });
  await grant(db, user, 10);
  await deduct(db, user, 50);
  await sweepAt("29 days 23 hours");
  expect(await told(db, user)).toEqual([]);
});

test("what a refund puts back is watched again", async () => {
  await grant(db, user, 50, { type: "trial", expires_in: "8 days" });
  const { transaction_id: id } = await call(db, "deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 50,
  });
  await sweepAt("1 hour");
  await call(db, "refund_tokens", { p_user_id: user, p_transaction_id: id, p_reason: "x" });
  await sweepAt("2 days");
  expect(await told(db, user)).toEqual(["expiring_soon week 50"]);
});

test("of very many the 100 that run out first are warned of, and the next when these are gone", async () => {
  const many = await withGrants(db, 150, { due: false });
  await db.admin.query(
    `update public.token_balances b set expires_at = now() + (2 + 2 * (g.nth > 60)::int) * interval '1 hour'
       from (select id, row_number() over () as nth from public.token_balances where user_id = $1) g
      where b.user_id = $1 and b.id = g.id`,
    [many],
  );
  await db.admin.query(
    "update public.token_accounts set next_due_at = now() + interval '2 hours' where user_id = $1",
    [many],
  );
  const warnings = async () =>
    (
      await db.admin.query(
        "select count(*)::int as n from public.token_alerts where user_id = $1 and rule = 'day'",
        [many],
      )
    ).rows[0].n as number;
  await deduct(db, many, 1);
  expect(await warnings()).toBe(100);
  await db.admin.query(
    "select tokenbook.record_expiries(array[$1::uuid], clock_timestamp() + interval '3 hours')",
    [many],
  );
  expect(await warnings()).toBe(149);
});

test("the test sees it: warnings without a bound", async () => {
  const bad = await createDatabase();
  await applyMutant(bad, "warnings-without-a-bound");
  await setRule(bad, { rule: "day", kind: "expiring_soon", hours: 24 });
  const many = await withGrants(bad, 150, { due: false });
  await bad.admin.query(
    "update public.token_balances set expires_at = now() + interval '2 hours' where user_id = $1",
    [many],
  );
  await bad.admin.query(
    "update public.token_accounts set next_due_at = now() + interval '2 hours' where user_id = $1",
    [many],
  );
  await deduct(bad, many, 1);
  const { rows } = await bad.admin.query(
    "select count(*)::int as n from public.token_alerts where user_id = $1",
    [many],
  );
  expect(rows[0].n).toBe(149);
  await bad.drop();
});
