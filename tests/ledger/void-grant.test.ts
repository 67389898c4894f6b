import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { grant } from "../support/books.ts";
import { asService, createUser, rpc } from "../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const call = (name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));
const verify = async (user: string) =>
  (await db.admin.query("select * from public.verify_token_ledger($1)", [user])).rows;

test("voiding a grant takes what is left of it and leaves what was spent", async () => {
  const user = await createUser(db);
  const [voided, other] = [await grant(db, user, 100), await grant(db, user, 50)];
  await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 30 });

  const receipt = await call("void_token_grant", {
    p_user_id: user,
    p_grant_id: voided,
    p_reason: "charged back",
  });

  expect(receipt).toMatchObject({ tokens_voided: 70, tokens_owed: 0, tokens_remaining: 50, replayed: false });
  expect((await call("get_user_token_balance", { p_user_id: user })).grants).toMatchObject([{ id: other }]);
  expect(await verify(user)).toEqual([]);
});

test("what comes back to a voided grant expires at once", async () => {
  const user = await createUser(db);
  const voided = await grant(db, user, 100);
  const { transaction_id } = await call("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 30,
  });
  await call("void_token_grant", { p_user_id: user, p_grant_id: voided });

  expect(await call("refund_tokens", { p_user_id: user, p_transaction_id: transaction_id })).toMatchObject({
    restored: [],
    forfeited: [{ grant_id: voided, tokens: 30 }],
    tokens_remaining: 0,
  });
  expect(await verify(user)).toEqual([]);
});

test("a grant made by mistake is taken back whole: left, spent from others, and the rest as debt", async () => {
  const user = await createUser(db);
  const mistake = await grant(db, user, 100);
  await grant(db, user, 50);
  await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 120 });

  const receipt = await call("void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true });

  expect(receipt).toMatchObject({ tokens_voided: 30, tokens_owed: 70, tokens_remaining: 0 });
  expect(await grant(db, user, 100)).toBeTypeOf("string");
  expect(await call("get_user_token_balance", { p_user_id: user })).toMatchObject({
    total_active: 30,
    total_owed: 0,
  });
  expect(await verify(user)).toEqual([]);
});

test("a grant ends once", async () => {
  const user = await createUser(db);
  const voided = await grant(db, user, 100);
  const first = await call("void_token_grant", {
    p_user_id: user,
    p_grant_id: voided,
    p_idempotency_key: "v",
  });

  expect(
    await call("void_token_grant", { p_user_id: user, p_grant_id: voided, p_idempotency_key: "v" }),
  ).toEqual({
    ...first,
    replayed: true,
  });
  await expect(call("void_token_grant", { p_user_id: user, p_grant_id: voided })).rejects.toMatchObject({
    code: "PT409",
    message: "grant_already_voided",
  });
  await expect(call("void_token_grant", { p_user_id: user, p_grant_id: user })).rejects.toMatchObject({
    code: "PT404",
    message: "grant_not_found",
  });
});
