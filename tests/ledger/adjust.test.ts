import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asAdmin, asService, createUser, rpc } from "../support/roles.ts";
import { expectCleanBooks, grant } from "../support/books.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

const adjust = (args: Record<string, unknown>) =>
  asAdmin(db, admin, (client) => rpc(client, "adjust_tokens", args));

/** The usage rows of a user, without what differs from run to run. */
const usage = (user: string) =>
  db.admin
    .query(
      "select id, action_type, tokens_used::int, cost_estimate::int, success, metadata from public.token_usage where user_id = $1",
      [user],
    )
    .then((result) => result.rows);

test("a positive delta is an admin grant of 365 days with its usage row", async () => {
  const user = await createUser(db);

  const receipt = await adjust({
    p_user_id: user,
    p_delta: 10_000,
    p_reason: "goodwill",
    p_metadata: { ticket: 7 },
  });

  expect(receipt).toMatchObject({
    success: true,
    delta: 10_000,
    tokens_remaining_to_deduct: 0,
    deducted_from: [],
    tokens_remaining: 10_000,
    transaction_id: 1,
    replayed: false,
  });
  const { rows } = await db.admin.query(
    "select id, grant_type, extract(epoch from expires_at - granted_at)::int / 86400 as days from public.token_balances where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ id: receipt.grant_id, grant_type: "admin", days: 365 }]);
  expect(await usage(user)).toEqual([
    {
      id: receipt.usage_id,
      action_type: "admin_grant",
      tokens_used: 10_000,
      cost_estimate: 0,
      success: true,
      metadata: { ticket: 7, reason: "goodwill", transaction_id: 1 },
    },
  ]);
  await expectCleanBooks(db);
});

test("a negative delta spends oldest first and is not counted as use", async () => {
  const user = await createUser(db);
  const older = await grant(db, user, 100);
  const newer = await grant(db, user, 100);

  const receipt = await adjust({ p_user_id: user, p_delta: -150, p_reason: "double charge elsewhere" });

  expect(receipt).toMatchObject({
    success: true,
    delta: -150,
    grant_id: null,
    tokens_remaining: 50,
    deducted_from: [
      { grant_id: older, deducted: 100 },
      { grant_id: newer, deducted: 50 },
    ],
  });
  expect(await usage(user)).toMatchObject([{ action_type: "admin_deduct", tokens_used: 150 }]);
  const { rows } = await db.admin.query(
    "select tokens_used::int from public.token_accounts where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ tokens_used: 0 }]);
  await expectCleanBooks(db);
});

test("a correction of more than there is changes nothing, usage row included", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);

  const receipt = await adjust({ p_user_id: user, p_delta: -101 });

  expect(receipt).toMatchObject({
    success: false,
    tokens_remaining_to_deduct: 1,
    tokens_remaining: 100,
    transaction_id: null,
    usage_id: null,
  });
  expect(await usage(user)).toEqual([]);
});

test.each([25, -25])("a replay of %i has one effect, one usage row and the same receipt", async (delta) => {
  const user = await createUser(db);
  await grant(db, user, 100);
  const args = { p_user_id: user, p_delta: delta, p_reason: "once", p_idempotency_key: `adjust${delta}` };
  const first = await adjust(args);

  expect(await adjust(args)).toEqual({ ...first, replayed: true });
  expect(await usage(user)).toHaveLength(1);
  await expectCleanBooks(db);
});

test("a replay with another delta or sign is refused", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await adjust({ p_user_id: user, p_delta: 5, p_idempotency_key: "sign" });

  for (const delta of [6, -5]) {
    await expect(
      adjust({ p_user_id: user, p_delta: delta, p_idempotency_key: "sign" }),
    ).rejects.toMatchObject({
      message: "idempotency_key_reused",
      detail: '{"differs": ["delta"]}',
    });
  }
});

test("the actor is recorded, the admin or the server, and a missing reason as NULL", async () => {
  const user = await createUser(db);
  await adjust({ p_user_id: user, p_delta: 5 });
  await asService(db, (client) => rpc(client, "adjust_tokens", { p_user_id: user, p_delta: 5 }));

  const { rows } = await db.admin.query(
    "select actor_role, actor_id, reason from public.token_transactions where user_id = $1 order by id",
    [user],
  );
  expect(rows).toEqual([
    { actor_role: "admin", actor_id: admin, reason: null },
    { actor_role: "service", actor_id: null, reason: null },
  ]);
});

describe("a reason that nobody gave is not one that somebody did", () => {
  /** What may be done without a reason. */
  const ways: Record<string, (user: string) => Promise<[name: string, args: Record<string, unknown>]>> = {
    "a grant": async () => ["grant_tokens", { p_tokens: 1 }],
    "an addition": async () => ["adjust_tokens", { p_delta: 1 }],
    "a deduction": async () => ["adjust_tokens", { p_delta: -1 }],
    "a refund": async (user) => {
      const { transaction_id } = await call("deduct_tokens_with_fifo", {
        p_user_id: user,
        p_tokens_to_deduct: 5,
      });
      return ["refund_tokens", { p_transaction_id: transaction_id }];
    },
    "a void": async (user) => {
      const { grant_id } = await call("grant_tokens", { p_user_id: user, p_tokens: 9 });
      return ["void_token_grant", { p_grant_id: grant_id }];
    },
    "an approval": async (user) => {
      const { payment_id } = await call("create_token_payment", { p_user_id: user, p_to_plan: "starter" });
      return ["approve_token_payment", { p_payment_id: payment_id }];
    },
  };
  const call = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));

  test.each(Object.keys(ways))("%s", async (way) => {
    const user = await createUser(db);
    await call("adjust_tokens", { p_user_id: user, p_delta: 50, p_reason: "to begin with" });
    const newest = async () =>
      (
        await db.admin.query(
          "select reason from public.token_transactions where user_id = $1 order by id desc limit 1",
          [user],
        )
      ).rows[0].reason;

    const [name, args] = await ways[way]!(user);
    await call(name, { p_user_id: user, ...args });
    expect(await newest()).toBeNull();

    const [again, others] = await ways[way]!(user);
    await call(again, { p_user_id: user, ...others, p_reason: "admin adjustment" });
    expect(await newest()).toBe("admin adjustment");
    expect((await db.admin.query("select * from public.verify_token_ledger()")).rows).toEqual([]);
  });

  test("the seed's body {userId, delta} has none, and stays valid", async () => {
    const user = await createUser(db);
    expect(await adjust({ p_user_id: user, p_delta: 7 })).toMatchObject({ success: true });
    const { rows } = await db.admin.query(
      "select metadata ? 'reason' as is_said, metadata ->> 'reason' as reason from public.token_usage where user_id = $1",
      [user],
    );
    expect(rows).toEqual([{ is_said: true, reason: null }]);
  });
});
