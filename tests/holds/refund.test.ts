import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { grant } from "../support/books.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { storm } from "../support/storm.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const call = (name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));
const verify = async (user: string) =>
  (await db.admin.query("select * from public.verify_token_ledger($1)", [user])).rows;

/** A user whose 120 spent tokens came from three grants: 30, 50, 40 of 100. */
async function charged(): Promise<{ user: string; grants: string[]; charge: number }> {
  const user = await createUser(db);
  const grants = [await grant(db, user, 30), await grant(db, user, 50), await grant(db, user, 100)];
  const { transaction_id } = await call("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 120,
  });
  return { user, grants, charge: transaction_id };
}

test("tokens go back to the very grants that paid, last taken first, in as many parts as asked", async () => {
  const { user, grants, charge } = await charged();
  const refund = (tokens: number | null) =>
    call("refund_tokens", {
      p_user_id: user,
      p_transaction_id: charge,
      p_tokens: tokens,
      p_reason: "it failed",
    });

  expect(await refund(60)).toMatchObject({
    tokens_refunded: 60,
    restored: [
      { grant_id: grants[2], tokens: 40 },
      { grant_id: grants[1], tokens: 20 },
    ],
    forfeited: [],
    tokens_refundable: 60,
    tokens_remaining: 120,
    replayed: false,
  });
  expect(await refund(25)).toMatchObject({
    restored: [{ grant_id: grants[1], tokens: 25 }],
    tokens_refundable: 35,
  });
  expect(await refund(null)).toMatchObject({
    tokens_refunded: 35,
    restored: [
      { grant_id: grants[1], tokens: 5 },
      { grant_id: grants[0], tokens: 30 },
    ],
    tokens_refundable: 0,
    tokens_remaining: 180,
  });
  await expect(refund(null)).rejects.toMatchObject({
    code: "PT409",
    message: "refund_exceeds_charge",
    detail: '{"limit": 0}',
  });
  const account = await db.admin.query("select tokens_used from public.token_accounts where user_id = $1", [
    user,
  ]);
  expect(account.rows).toEqual([{ tokens_used: "0" }]);
  expect(await verify(user)).toEqual([]);
});

test("more than is left of the charge is refused, and says what is left", async () => {
  const { user, charge } = await charged();
  await call("refund_tokens", { p_user_id: user, p_transaction_id: charge, p_tokens: 100 });

  await expect(
    call("refund_tokens", { p_user_id: user, p_transaction_id: charge, p_tokens: 21 }),
  ).rejects.toMatchObject({ message: "refund_exceeds_charge", detail: '{"limit": 20}' });
});

test("what paid and has run out is forfeited: it expires at once, in the ledger", async () => {
  const user = await createUser(db);
  const trial = await grant(db, user, 50, { type: "trial", expires_in: "1 hour" });
  const pack = await grant(db, user, 100);
  const { transaction_id } = await call("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 80,
  });
  await letTimePass(db, user, 1);

  const receipt = await call("refund_tokens", { p_user_id: user, p_transaction_id: transaction_id });

  expect(receipt).toMatchObject({
    tokens_refunded: 80,
    restored: [{ grant_id: pack, grant_type: "purchase", tokens: 30 }],
    forfeited: [{ grant_id: trial, grant_type: "trial", tokens: 50 }],
    tokens_remaining: 100,
  });
  expect(await call("get_user_token_balance", { p_user_id: user })).toMatchObject({
    total_active: 100,
    total_expired: 50,
  });
  expect(await verify(user)).toEqual([]);
});

test("or reissued, as one new grant that lives as long as was said", async () => {
  const user = await createUser(db);
  await grant(db, user, 50, { type: "trial", expires_in: "1 hour" });
  const { transaction_id } = await call("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 50,
  });
  await letTimePass(db, user, 1);

  const receipt = await call("refund_tokens", {
    p_user_id: user,
    p_transaction_id: transaction_id,
    p_expired_policy: "reissue",
    p_lifetime_days: 30,
  });

  expect(receipt).toMatchObject({ restored: [{ grant_type: "trial", tokens: 50 }], forfeited: [] });
  const { grants } = await call("get_user_token_balance", { p_user_id: user });
  expect(grants).toMatchObject([
    { id: receipt.restored[0].grant_id, tokens_granted: 50, tokens_remaining: 50 },
  ]);
  expect(Date.parse(grants[0].expires_at) - Date.now()).toBeGreaterThan(29.99 * 86_400_000);
  expect(await verify(user)).toEqual([]);
});

test.each([
  ["a grant", 1, "grant"],
  ["a refund", 4, "refund"],
])("%s cannot be refunded", async (_what, id, entryType) => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await grant(db, user, 100);
  await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 20 });
  await call("refund_tokens", { p_user_id: user, p_transaction_id: 3 });

  await expect(call("refund_tokens", { p_user_id: user, p_transaction_id: id })).rejects.toMatchObject({
    code: "PT409",
    message: "not_refundable",
    detail: JSON.stringify({ entry_type: entryType }).replace(":", ": "),
  });
});

test("a charge is explained with its refunds", async () => {
  const { user, charge } = await charged();
  await call("refund_tokens", {
    p_user_id: user,
    p_transaction_id: charge,
    p_tokens: 45,
    p_reason: "half done",
  });

  expect(await call("explain_token_charge", { p_user_id: user, p_transaction_id: charge })).toMatchObject({
    transaction: { tokens: -120 },
    undone_by: [{ entry_type: "refund", tokens: 45, reason: "half done" }],
    tokens_net: -75,
  });
});

test("a replay answers what was answered first, whatever was refunded since", async () => {
  const { user, charge } = await charged();
  const args = { p_user_id: user, p_transaction_id: charge, p_tokens: 10, p_idempotency_key: "refund-1" };
  const first = await call("refund_tokens", args);
  await call("refund_tokens", { ...args, p_idempotency_key: "refund-2" });

  expect(await call("refund_tokens", args)).toEqual({ ...first, replayed: true });
  await expect(call("refund_tokens", { ...args, p_tokens: 11 })).rejects.toMatchObject({
    message: "idempotency_key_reused",
    detail: '{"differs": ["tokens"]}',
  });
});

test("40 connections refunding one charge give back no more than it was", async () => {
  const { user, charge } = await charged();

  const { mix } = await storm(db, {
    connections: 40,
    attempts: 200,
    run: async (client) => {
      await client.query("select public.refund_tokens($1, $2, 7)", [user, charge]);
      return "refunded";
    },
  });

  console.log(`refund storm: mix=${JSON.stringify(mix)}`);
  expect(mix["refunded"]).toBe(17); // 17 times 7 is 119 of 120
  expect((await call("get_user_token_balance", { p_user_id: user })).total_active).toBe(179);
  expect(await verify(user)).toEqual([]);
});

test("users may not refund themselves, admins may", async () => {
  const { user, charge } = await charged();
  const admin = await createUser(db, { admin: true });
  const args = { p_user_id: user, p_transaction_id: charge, p_tokens: 1 };

  await expect(asUser(db, user, (client) => rpc(client, "refund_tokens", args))).rejects.toMatchObject({
    code: "42501",
  });
  expect(await asAdmin(db, admin, (client) => rpc(client, "refund_tokens", args))).toMatchObject({
    tokens_refunded: 1,
  });
});

test.each([
  ["p_expired_policy", { p_expired_policy: "keep" }],
  ["p_lifetime_days", { p_expired_policy: "reissue" }],
  ["p_lifetime_days", { p_lifetime_days: 30 }],
  ["p_lifetime_days", { p_expired_policy: "reissue", p_lifetime_days: 0 }],
])("an ill-formed policy is refused, naming %s", async (field, policy) => {
  const { user, charge } = await charged();
  await expect(
    call("refund_tokens", { p_user_id: user, p_transaction_id: charge, ...policy }),
  ).rejects.toMatchObject({
    code: "PT400",
    message: "invalid_refund",
    detail: expect.stringContaining(field),
  });
});
