/*
 * A project in production that has Tokenbook and now chooses a default plan: new users get it,
 * existing users do not, unless the project says so.
 */
import { randomUUID } from "node:crypto";
import { afterAll, beforeEach, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asUser, createUser, rpc } from "../../support/roles.ts";

const databases: Database[] = [];
afterAll(() => Promise.all(databases.map((db) => db.drop())));

let db: Database;
let there: string;
beforeEach(async () => {
  // as it is installed: without a plan
  db = await createDatabase();
  databases.push(db);
  await db.admin.query("delete from public.token_plans");
  there = await createUser(db);
  await db.admin.query("update auth.users set created_at = now() - interval '1 year'");
});

const choose = (since: string) =>
  db.admin.query(
    `insert into public.token_plans (plan_type, name, tokens, is_default${since && ", given_to_users_since"})
     values ('free', 'Free', 10000, true${since && `, '${since}'`})`,
  );
const balanceOf = async (user: string) =>
  (await asUser(db, user, (client) => rpc(client, "get_user_token_balance", { p_user_id: user })))
    .total_active;

test("a user who signs up from now on gets the default plan, an existing user gets nothing by any call", async () => {
  await choose("");
  const comes = await createUser(db);

  expect(await balanceOf(comes)).toBe(10_000);
  expect(await balanceOf(there)).toBe(0);
  const receipt = await asUser(db, there, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: there, p_tokens_to_deduct: 1 }),
  );
  expect(receipt).toMatchObject({ success: false, tokens_remaining_to_deduct: 1 });
  const { rows } = await db.admin.query("select user_id from public.token_accounts");
  expect(rows).toEqual([{ user_id: comes }]);
  await expectCleanBooks(db);
});

test("a plan that turns the default long after it was added is for users who sign up from then on", async () => {
  await db.admin.query(
    "insert into public.token_plans (plan_type, name, tokens) values ('free', 'Free', 10000)",
  );
  const between = await createUser(db);
  const turn = (is: boolean, also = "") =>
    db.admin.query(`update public.token_plans set is_default = $1 ${also} where plan_type = 'free'`, [is]);

  await turn(true);
  const comes = await createUser(db);
  expect(await balanceOf(between)).toBe(0);
  expect(await balanceOf(comes)).toBe(10_000);

  await turn(false);
  const later = await createUser(db);
  await turn(true);
  expect(await balanceOf(later)).toBe(0);
  await db.admin.query("update public.token_plans set name = 'Free plan'");
  expect(await balanceOf(await createUser(db))).toBe(10_000);

  await turn(false);
  await turn(true, ", given_to_users_since = '-infinity'");
  expect(await balanceOf(later)).toBe(10_000);
  await expectCleanBooks(db);
});

test("a user without a date of sign-up is new only while they sign up", async () => {
  await db.admin.query("update auth.users set created_at = null");
  await choose("");
  const comes = randomUUID();
  await db.admin.query("insert into auth.users (id, email, created_at) values ($1, 'a@example.com', null)", [
    comes,
  ]);

  expect(await balanceOf(there)).toBe(0);
  expect(await balanceOf(comes)).toBe(10_000);
  await db.admin.query("update public.token_plans set given_to_users_since = '-infinity'");
  expect(await balanceOf(there)).toBe(10_000);
});

test("the test sees it: given to everyone, it is given to existing users", { tags: ["proof"] }, async () => {
  await choose("-infinity");

  expect(await balanceOf(there)).toBe(10_000);
});
