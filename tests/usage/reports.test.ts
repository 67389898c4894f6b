import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
let little: string;
let much: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  [little, much] = [await createUser(db), await createUser(db)];
  await grant(db, little, 10_000);
  await grant(db, much, 700_000);
  for (const [user, tokens] of [
    [much, 500_000],
    [little, 1],
  ] as const) {
    await asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
    );
  }
  await expectCleanBooks(db);
});
afterAll(() => db.drop());

const report = async (call: string) =>
  (await asAdmin(db, admin, (client) => client.query(`select * from public.${call}`))).rows;

test("recent usage is told with what is left, the newest first", async () => {
  expect(await report("get_recent_token_usage()")).toMatchObject([
    { user_id: little, action: "deduction", tokens_used: "1", current_balance: "9999" },
    { user_id: much, action: "deduction", tokens_used: "500000", current_balance: "200000" },
  ]);
});

test("users with few tokens left are found by the limit that is asked for", async () => {
  const low = async (limit: number) =>
    (await report(`get_users_with_low_token_balance(${limit})`)).map((row) => row.user_id);

  expect(await low(10_000)).toContain(little);
  expect(await low(10_000)).not.toContain(much);
  expect(await low(9_999)).not.toContain(little);
});

test("the user who has used the most comes first, and no more users are listed than asked for", async () => {
  expect(await report("get_users_with_high_token_usage(1)")).toMatchObject([
    { user_id: much, tokens_used: "500000" },
  ]);
});

test.each(["get_recent_token_usage", "get_users_with_low_token_balance", "get_users_with_high_token_usage"])(
  "%s is for admins and the server",
  async (name) => {
    await expect(
      asUser(db, little, (client) => client.query(`select * from public.${name}()`)),
    ).rejects.toMatchObject({ code: "42501" });
  },
);
