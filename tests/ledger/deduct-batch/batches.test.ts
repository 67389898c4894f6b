import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../../supabase/functions/_shared/lists.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import { asAdmin, asAnon, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { storm } from "../../support/storm.ts";
import { letTimePass, withShortLockWaits } from "../../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const send = (items: unknown, allOrNothing = false) =>
  asService(db, (client) =>
    rpc(client, "deduct_tokens_batch", { p_items: items, p_all_or_nothing: allOrNothing }),
  );
async function userWith(...grants: number[]): Promise<string> {
  const user = await createUser(db);
  for (const tokens of grants) await grant(db, user, tokens);
  return user;
}
const balanceOf = async (user: string) => {
  const { rows } = await db.admin.query(
    "select tokens_remaining::float8 as left from public.token_accounts where user_id = $1",
    [user],
  );
  return rows[0]?.left as number | undefined;
};

test("each item is answered by itself, in the order of the items", async () => {
  const [rich, poor, several] = [await userWith(100), await userWith(5), await userWith(10, 10)];
  const nobody = randomUUID();

  const answer = await send([
    { user_id: rich, tokens: 30, action_type: "chat_conversation", idempotency_key: "a", metadata: { m: 1 } },
    { user_id: poor, tokens: 8 },
    { user_id: nobody, tokens: 1 },
    { user_id: several, tokens: 15 },
    { user_id: "me", tokens: 1 },
  ]);

  expect(answer).toMatchObject({ success: false, deducted: 2, replayed: 0, short: 1, failed: 2 });
  expect(answer.results).toMatchObject([
    { index: 0, success: true, tokens_deducted: 30, tokens_remaining: 70, transaction_id: 2 },
    { index: 1, success: false, tokens_deducted: 0, tokens_remaining_to_deduct: 3, tokens_remaining: 5 },
    { index: 2, success: false, error: { code: "user_not_found" } },
    { index: 3, success: true, deducted_from: [{ deducted: 10 }, { deducted: 5 }] },
    { index: 4, success: false, error: { code: "invalid_user_id", field: "user_id" } },
  ]);
  expect(await balanceOf(poor)).toBe(5);
  expect(await balanceOf(nobody)).toBeUndefined();
  await expectCleanBooks(db);
});

test("items of one user are applied in the order given, each seeing the one before", async () => {
  const user = await userWith(10);

  const answer = await send([4, 7, 6, 1].map((tokens) => ({ user_id: user, tokens })));

  expect(answer.results).toMatchObject([
    { success: true, tokens_remaining: 6 },
    { success: false, tokens_remaining_to_deduct: 1 },
    { success: true, tokens_remaining: 0 },
    { success: false, tokens_remaining_to_deduct: 1 },
  ]);
  await expectCleanBooks(db);
});

test("a key that comes twice is a replay the second time, within a batch and beyond it", async () => {
  const [user, other] = [await userWith(10), await userWith(10)];
  const item = { user_id: user, tokens: 3, idempotency_key: "twice" };

  const first = await send([item, item, { ...item, tokens: 4 }, { ...item, user_id: other }]);
  const again = await send([item, { ...item, user_id: other }]);
  const single = await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 3,
      p_idempotency_key: "twice",
    }),
  );

  expect(first).toMatchObject({ deducted: 2, replayed: 1, failed: 1 });
  expect(first.results[2]).toMatchObject({ error: { code: "idempotency_key_reused", differs: ["tokens"] } });
  const { index: _, replayed: __, ...receipt } = first.results[0];
  expect(first.results[1]).toEqual({ ...receipt, index: 1, replayed: true });
  expect(again).toMatchObject({ success: true, deducted: 0, replayed: 2 });
  expect(again.results[0]).toEqual({ ...receipt, index: 0, replayed: true });
  expect(single).toEqual({ ...receipt, replayed: true });
  expect([await balanceOf(user), await balanceOf(other)]).toEqual([7, 7]);
});

describe("all or nothing", () => {
  test("a shortage undoes everything and says which it was", async () => {
    const [rich, several, poor] = [await userWith(100), await userWith(50), await userWith(5)];
    const item = { user_id: rich, tokens: 10, idempotency_key: "batch-1" };
    const items = [item, { user_id: several, tokens: 1 }, { user_id: several, tokens: 1 }];

    const answer = await send([...items, { user_id: poor, tokens: 6 }], true);

    expect(answer).toMatchObject({ success: false, deducted: 0, short: 1, failed: 3 });
    expect(answer.results).toMatchObject([
      { success: false, error: { code: "not_applied" } },
      { success: false, error: { code: "not_applied" } },
      { success: false, error: { code: "not_applied" } },
      { success: false, tokens_remaining_to_deduct: 1 },
    ]);
    expect([await balanceOf(rich), await balanceOf(several), await balanceOf(poor)]).toEqual([100, 50, 5]);

    // and the keys are as good as new
    expect(await send(items, true)).toMatchObject({ success: true, deducted: 3, failed: 0 });
    expect(await balanceOf(rich)).toBe(90);
    await expectCleanBooks(db);
  });

  test("an item that is refused undoes everything too", async () => {
    const user = await userWith(100);

    const answer = await send(
      [
        { user_id: user, tokens: 10 },
        { user_id: user, tokens: 0 },
      ],
      true,
    );

    expect(answer.results).toMatchObject([
      { error: { code: "not_applied" } },
      { error: { code: "invalid_amount" } },
    ]);
    expect(await balanceOf(user)).toBe(100);
  });
});

test.each([
  ["no array", { user_id: randomUUID() }],
  ["nothing", []],
  ["null", null],
  [
    "one item more than a batch may have",
    Array.from({ length: limits.batch_items + 1 }, () => ({ user_id: randomUUID(), tokens: 1 })),
  ],
  [
    "more bytes than a batch may have",
    [{ user_id: randomUUID(), tokens: 1, metadata: { x: "x".repeat(limits.batch_bytes) } }],
  ],
])("%s is refused as a whole", async (_what, items) => {
  await expect(send(items)).rejects.toMatchObject({ code: "PT400", message: "invalid_batch" });
});

test.each([
  ["a misspelt field, which would be a key that is lost", { idempotencyKey: "k" }, "invalid_batch"],
  ["half a token", { tokens: 1.5 }, "invalid_amount"],
  ["tokens as text", { tokens: "5" }, "invalid_amount"],
  ["more tokens than fit", { tokens: 1e30 }, "invalid_amount"],
  ["no tokens", { tokens: null }, "invalid_amount"],
  ["no user", { user_id: null }, "invalid_user_id"],
  ["a key that is a number", { idempotency_key: 5 }, "invalid_idempotency_key"],
  ["a name of the ledger's own", { action_type: "admin_grant" }, "invalid_action_type"],
  ["metadata that is a list", { metadata: [] }, "invalid_metadata"],
])("%s is refused as an item, and its neighbour goes through", async (_what, wrong, code) => {
  const user = await userWith(10);
  const item = { user_id: user, tokens: 1 };

  const answer = await send([{ ...item, ...wrong }, item]);

  expect(answer.results).toMatchObject([{ success: false, error: { code } }, { success: true }]);
  expect(await balanceOf(user)).toBe(9);
});

test("an item that is no object is refused as an item", async () => {
  const user = await userWith(10);

  const answer = await send([5, null, "x", { user_id: user, tokens: 1, action_type: null, metadata: null }]);

  expect(answer.results.map((it: { error?: { code: string } }) => it.error?.code)).toEqual([
    "invalid_batch",
    "invalid_batch",
    "invalid_batch",
    undefined,
  ]);
});

test("due changes are booked first, and expired grants are not spent", async () => {
  const user = await createUser(db);
  await grant(db, user, 20, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 10);
  await letTimePass(db, user, 1);

  const answer = await send([{ user_id: user, tokens: 5 }]);

  expect(answer.results[0]).toMatchObject({ success: true, tokens_remaining: 5 });
  await expectCleanBooks(db);
});

test("an alert that a batch calls for is raised in it", async () => {
  const [told, quiet] = [await userWith(100), await userWith(100)];
  await asService(db, (client) =>
    rpc(client, "set_token_alert_rule", {
      p_user_id: told,
      p_rule: "low",
      p_kind: "dropped",
      p_threshold_tokens: 50,
    }),
  );

  await send([told, quiet].map((user_id) => ({ user_id, tokens: 40 })));
  await send([told, quiet].map((user_id) => ({ user_id, tokens: 20 })));

  const { rows } = await db.admin.query("select user_id from public.token_alerts");
  expect(rows).toEqual([{ user_id: told }]);
  await expectCleanBooks(db);
});

test("a user whom registration missed is given their plan first", async () => {
  const own = await createDatabase();
  const user = await createUser(own);
  await giveFreePlanAtRegistration(own);

  const answer = await asService(own, (client) =>
    rpc(client, "deduct_tokens_batch", { p_items: [{ user_id: user, tokens: 5 }] }),
  );

  expect(answer.results[0]).toMatchObject({ success: true, tokens_deducted: 5 });
  await expectCleanBooks(own);
  await own.drop();
});

test("only the server may call it", async () => {
  const user = await userWith(10);
  const admin = await createUser(db, { admin: true });
  const call = { p_items: [{ user_id: user, tokens: 1 }] };

  for (const attempt of [
    () => asAnon(db, (client) => rpc(client, "deduct_tokens_batch", call)),
    () => asUser(db, user, (client) => rpc(client, "deduct_tokens_batch", call)),
    () => asAdmin(db, admin, (client) => rpc(client, "deduct_tokens_batch", call)),
  ]) {
    await expect(attempt()).rejects.toMatchObject({ code: "42501" });
  }
});

test("an account that stays locked makes the batch busy, and nothing is changed", async () => {
  const [free, taken] = [await userWith(10), await userWith(10)];
  const holder = await db.admin.connect();
  await holder.query("begin");
  await holder.query("select from public.token_accounts where user_id = $1 for no key update", [taken]);

  const items = [free, taken].map((user_id) => ({ user_id, tokens: 1 }));
  const refused = withShortLockWaits(db, () => send(items));
  await expect(refused).rejects.toMatchObject({ code: "PT503", message: "busy" });
  await holder.query("rollback");
  holder.release();

  expect([await balanceOf(free), await balanceOf(taken)]).toEqual([10, 10]);
});

test("100 copies of one batch from 20 connections have one effect", async () => {
  const users = await Promise.all(Array.from({ length: 20 }, () => userWith(100)));
  const items = JSON.stringify(users.map((user_id) => ({ user_id, tokens: 3, idempotency_key: "once" })));

  const { mix } = await storm(db, {
    connections: 20,
    attempts: 100,
    run: async (client) => {
      const { rows } = await client.query("select public.deduct_tokens_batch($1) as answer", [items]);
      return `deducted ${rows[0].answer.deducted} replayed ${rows[0].answer.replayed}`;
    },
  });

  console.log(`one batch 100 times: mix=${JSON.stringify(mix)}`);
  expect(mix).toEqual({ "deducted 20 replayed 0": 1, "deducted 0 replayed 20": 99 });
  await expectCleanBooks(db);
});
