import { afterAll, beforeAll, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { verify } from "./books-to-corrupt.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const outOfOrder = "I7 transactions are booked in the order of time";

/** A user of whom a clock that stepped back has booked entries 3 and 5 an hour before the ones before them. */
async function userOfASteppedClock(where = db): Promise<string> {
  const user = await createUser(where);
  await grant(where, user, 100);
  for (let n = 0; n < 5; n++)
    await asService(where, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }),
    );
  await move(where, user, [3, 5], "-1 hour");
  return user;
}

/** What nobody may do, as a clock did it; what counts the days follows, or it would fail in the first hour of one. */
async function move(where: Database, user: string, entries: number[], by: string): Promise<void> {
  const client = await where.admin.connect();
  await client.query("alter table public.token_transactions disable trigger user");
  await client.query(
    "update public.token_transactions set created_at = created_at + $3::interval where user_id = $1 and id = any ($2)",
    [user, entries, by],
  );
  await client.query("alter table public.token_transactions enable trigger user");
  await client.query("select tokenbook.move_past($1, '0')", [user]);
  client.release();
}

const acknowledge = (
  user: string,
  entry: number,
  where = db,
  reason: string | null = "NTP set the clock back",
) =>
  asService(where, (client) =>
    rpc(client, "acknowledge_token_finding", { p_user_id: user, p_transaction_id: entry, p_reason: reason }),
  );

/** The entries that are found out of order, and whatever else is found. */
async function found(user: string, where = db): Promise<string[]> {
  const { rows } = await where.admin.query<{ invariant: string; transaction_id: string | null }>(
    "select * from public.verify_token_ledger($1)",
    [user],
  );
  return rows.map((row) => (row.invariant === outOfOrder ? String(row.transaction_id) : row.invariant));
}

/** What an acknowledgement must leave as it is; empty, when it does. */
async function overreach(where: Database): Promise<string[]> {
  const wrong: string[] = [];
  const expectFound = async (user: string, entries: string[], when: string) => {
    const is = (await found(user, where)).filter((one) => !one.startsWith("I3 spent in"));
    if (String(is) !== String(entries)) wrong.push(`${when}: ${String(is)}, not ${String(entries)}`);
  };
  const [user, other] = [await userOfASteppedClock(where), await userOfASteppedClock(where)];
  // the other user's entry has the same number and the same moments
  await where.admin.query("alter table public.token_transactions disable trigger user");
  await where.admin.query(
    `update public.token_transactions t set created_at = o.created_at from public.token_transactions o
      where t.user_id = $1 and o.user_id = $2 and o.id = t.id and t.id > 1`,
    [other, user],
  );
  await where.admin.query("alter table public.token_transactions enable trigger user");
  await where.admin.query(
    `update public.token_accounts a
        set spent_at = (select max(t.created_at) from public.token_transactions t where t.user_id = a.user_id)
      where a.user_id = $1`,
    [other],
  );
  await expectFound(user, ["3", "5"], "before");

  const of4 = await acknowledge(user, 4, where).catch((error: Error) => error.message);
  if (of4 !== "finding_not_found") wrong.push("an entry that nothing is wrong with is acknowledged");
  await acknowledge(user, 3, where);
  await expectFound(user, ["5"], "another entry");
  await expectFound(other, ["3", "5"], "another user");
  await where.admin.query("update public.token_accounts set tokens_owed = 5 where user_id = $1", [user]);
  await expectFound(user, ["I3 debt", "5"], "another invariant");
  await where.admin.query("update public.token_accounts set tokens_owed = 0 where user_id = $1", [user]);
  await move(where, user, [3], "-1 day");
  await expectFound(user, ["3", "5"], "moved again");
  return wrong;
}

test("an entry that was acknowledged is left out; another entry, user or invariant is not, nor what becomes of it", async () => {
  expect(await overreach(db)).toEqual([]);
});

test.each([
  ["acknowledgements-hide-other-entries", "another entry"],
  ["acknowledgements-hide-other-users", "another user"],
  ["acknowledgements-outlive-the-finding", "moved again"],
  ["acknowledgements-of-anything", "an entry that nothing is wrong with"],
])("the test sees it: %s", { tags: ["proof"] }, async (mutant, seen) => {
  const broken = await createDatabase();
  await applyMutant(broken, mutant);
  const wrong = await overreach(broken);
  await broken.drop();

  expect(wrong.map((one) => one.startsWith(seen))).toContain(true);
});

test("the actor and the reason of an acknowledgement are recorded once and cannot be changed", async () => {
  const user = await userOfASteppedClock();
  const admin = await createUser(db, { admin: true });
  const by = (reason: string) =>
    asAdmin(db, admin, (client) =>
      rpc(client, "acknowledge_token_finding", { p_user_id: user, p_transaction_id: 5, p_reason: reason }),
    );
  const first = await by("the host was moved");
  const again = await by("another reason");
  const { rows } = await db.admin.query(
    "select transaction_id::int, reason, actor_role, actor_id from tokenbook.acknowledged_findings where user_id = $1",
    [user],
  );

  expect(first).toMatchObject({
    success: true,
    transaction_id: 5,
    reason: "the host was moved",
    replayed: false,
  });
  expect(again).toEqual({ ...first, replayed: true });
  expect(rows).toEqual([
    { transaction_id: 5, reason: "the host was moved", actor_role: "admin", actor_id: admin },
  ]);
  for (const sql of [
    "update tokenbook.acknowledged_findings set reason = 'x'",
    "delete from tokenbook.acknowledged_findings where true",
    "truncate tokenbook.acknowledged_findings",
  ])
    await expect(db.admin.query(sql)).rejects.toMatchObject({ message: "ledger_is_append_only" });
});

test("a transaction of the future can be acknowledged too", async () => {
  const user = await userOfASteppedClock();
  await move(db, user, [6], "2 days");
  await acknowledge(user, 6);

  expect(await found(user)).not.toContain("6");
});

test("without a reason, a right, or such a transaction nothing is acknowledged", async () => {
  const user = await userOfASteppedClock();

  await expect(acknowledge(user, 3, db, null)).rejects.toMatchObject({ message: "invalid_reason" });
  await expect(acknowledge(user, 3, db, "  ")).rejects.toMatchObject({ message: "invalid_reason" });
  for (const entry of [1, 4, 7, 0])
    await expect(acknowledge(user, entry)).rejects.toMatchObject({
      code: "PT404",
      message: "finding_not_found",
    });
  await expect(
    asUser(db, user, (client) =>
      rpc(client, "acknowledge_token_finding", { p_user_id: user, p_transaction_id: 3, p_reason: "mine" }),
    ),
  ).rejects.toMatchObject({ code: "42501" });
  expect(await asService(db, (client) => verify(client, user))).toMatchObject([
    { invariant: outOfOrder },
    { invariant: outOfOrder },
  ]);
});
