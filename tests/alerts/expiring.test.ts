import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
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
