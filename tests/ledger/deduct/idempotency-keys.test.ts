import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const deduct = (user: string, tokens: number, extra: Record<string, unknown> = {}) =>
  asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens, ...extra }),
  );

test("a replay answers what the first call answered, but for `replayed`", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await grant(db, user, 100);
  const first = await deduct(user, 150, { p_idempotency_key: "once" });
  await deduct(user, 10);

  const second = await deduct(user, 150, { p_idempotency_key: "once" });

  expect(second).toEqual({ ...first, replayed: true });
  await expectCleanBooks(db);
});

test("a replay succeeds although the balance would no longer cover it", async () => {
  const user = await createUser(db);
  await grant(db, user, 10);
  const first = await deduct(user, 10, { p_idempotency_key: "all" });

  expect(await deduct(user, 10, { p_idempotency_key: "all" })).toEqual({ ...first, replayed: true });
});

test.each([
  ["tokens", { p_tokens_to_deduct: 6 }, ["tokens"]],
  ["action type", { p_action_type: "image_generation" }, ["action_type"]],
  ["metadata", { p_metadata: { a: 2 } }, ["metadata"]],
  [
    "all of them",
    { p_tokens_to_deduct: 6, p_action_type: "image_generation", p_metadata: null },
    ["action_type", "metadata", "tokens"],
  ],
])(
  "a replay with another %s is refused, naming what differs and no value",
  async (_what, change, differs) => {
    const user = await createUser(db);
    await grant(db, user, 100);
    await deduct(user, 5, {
      p_idempotency_key: "k",
      p_action_type: "chat_conversation",
      p_metadata: { a: 1 },
    });

    await expect(
      deduct(user, 5, {
        p_idempotency_key: "k",
        p_action_type: "chat_conversation",
        p_metadata: { a: 1 },
        ...change,
      }),
    ).rejects.toMatchObject({
      code: "PT422",
      message: "idempotency_key_reused",
      detail: expect.toSatisfy(
        (detail: string) => JSON.stringify(JSON.parse(detail)) === JSON.stringify({ differs }),
      ),
    });
    await expectCleanBooks(db);
  },
);

test("a key that granted cannot deduct: the operation differs", async () => {
  const user = await createUser(db);
  await grant(db, user, 100, { key: "shared" });

  await expect(
    asService(db, (client) =>
      rpc(client, "deduct_tokens_with_fifo", {
        p_user_id: user,
        p_tokens_to_deduct: 100,
        p_idempotency_key: "shared",
      }),
    ),
  ).rejects.toMatchObject({
    message: "idempotency_key_reused",
    detail: expect.stringContaining('"operation"'),
  });
});

test("a user cannot use up a key that the server will need", async () => {
  const user = await createUser(db);
  const admin = await createUser(db, { admin: true });
  await grant(db, user, 100);
  await deduct(user, 1, { p_idempotency_key: "invoice-7" });

  const server = await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 2,
      p_idempotency_key: "invoice-7",
    }),
  );
  const replayedByAdmin = await asAdmin(db, admin, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 2,
      p_idempotency_key: "invoice-7",
    }),
  );

  expect(server).toMatchObject({ success: true, replayed: false, tokens_remaining: 97 });
  expect(replayedByAdmin).toMatchObject({ replayed: true, transaction_id: server.transaction_id });
});

test("the same key of two users has two effects", async () => {
  const [one, other] = [await createUser(db), await createUser(db)];
  await grant(db, one, 10);
  await grant(db, other, 10);

  await deduct(one, 1, { p_idempotency_key: "same" });

  expect(await deduct(other, 2, { p_idempotency_key: "same" })).toMatchObject({
    success: true,
    replayed: false,
  });
});
