import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test("a deduction spends the oldest grant first and goes on to the next", async () => {
  const user = await createUser(db);
  const older = await grant(db, user, 100, { granted_at: "2026-01-01T00:00:00Z", type: "purchase" });
  const newer = await grant(db, user, 500, { granted_at: "2026-02-01T00:00:00Z", type: "purchase" });

  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 200 }),
  );

  expect(receipt).toMatchObject({
    success: true,
    tokens_deducted: 200,
    tokens_remaining_to_deduct: 0,
    tokens_remaining: 400,
    replayed: false,
    deducted_from: [
      { grant_id: older, grant_type: "purchase", deducted: 100 },
      { grant_id: newer, grant_type: "purchase", deducted: 100 },
    ],
  });
  await expectCleanBooks(db);
});

test("a lower priority number is spent before an older grant", async () => {
  const user = await createUser(db);
  const older = await grant(db, user, 10, { granted_at: "2026-01-01T00:00:00Z", type: "purchase" });
  const first = await grant(db, user, 10, {
    granted_at: "2026-03-01T00:00:00Z",
    type: "purchase",
    priority: 1,
  });

  const receipt = await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 15 }),
  );

  expect(receipt.deducted_from.map((part: { grant_id: string }) => part.grant_id)).toEqual([first, older]);
});

test("grants of the same moment are spent in the order of their ids, every time", async () => {
  const user = await createUser(db);
  const ids: string[] = [];
  for (let i = 0; i < 8; i++) {
    ids.push(await grant(db, user, 10, { granted_at: "2026-01-01T00:00:00Z", type: "purchase" }));
  }

  const paid: string[] = [];
  for (let i = 0; i < 16; i++) {
    const receipt = await asService(db, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 5 }),
    );
    paid.push(...receipt.deducted_from.map((part: { grant_id: string }) => part.grant_id));
  }

  expect(paid).toEqual([...ids].sort().flatMap((id) => [id, id]));
  await expectCleanBooks(db);
});

test("short of tokens, nothing changes and the shortfall is said", async () => {
  const user = await createUser(db);
  await grant(db, user, 30);
  // due to expire, not booked: not even that may be booked by a deduction that fails
  await grant(db, user, 20, { type: "trial", expires_in: "1 hour" });
  await letTimePass(db, user, 1);
  const digest = () =>
    db.admin
      .query(
        `select md5(string_agg(x, '|' order by x)) as digest from (
           select to_jsonb(a)::text x from public.token_accounts a where user_id = $1
           union all select to_jsonb(b)::text from public.token_balances b where user_id = $1
           union all select to_jsonb(t)::text from public.token_transactions t where user_id = $1) rows`,
        [user],
      )
      .then((result) => result.rows[0].digest as string);
  const before = await digest();

  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 31,
      p_idempotency_key: "short",
    }),
  );

  expect(receipt).toEqual({
    success: false,
    tokens_deducted: 0,
    tokens_remaining_to_deduct: 1,
    deducted_from: [],
    transaction_id: null,
    tokens_remaining: 30,
    replayed: false,
  });
  expect(await digest()).toBe(before);
});

test("a key that met a shortage is free for the retry after a top-up", async () => {
  const user = await createUser(db);
  await grant(db, user, 5);
  const spend = () =>
    asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", {
        p_user_id: user,
        p_tokens_to_deduct: 10,
        p_idempotency_key: "retry",
      }),
    );
  expect(await spend()).toMatchObject({ success: false, tokens_remaining_to_deduct: 5 });

  await grant(db, user, 5);

  expect(await spend()).toMatchObject({ success: true, replayed: false, tokens_remaining: 0 });
});

test("a user without any account is short of everything, and none is created", async () => {
  const user = await createUser(db);

  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 7 }),
  );

  expect(receipt).toMatchObject({ success: false, tokens_remaining_to_deduct: 7, tokens_remaining: 0 });
  const { rowCount } = await db.admin.query("select from public.token_accounts where user_id = $1", [user]);
  expect(rowCount).toBe(0);
});

test("exactly what there is can be spent, to the last token", async () => {
  const user = await createUser(db);
  await grant(db, user, 1);
  await grant(db, user, 1_000_000_000_000);

  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1_000_000_000_000 }),
  );

  expect(receipt).toMatchObject({ success: true, tokens_remaining: 1 });
  await expectCleanBooks(db);
});

test("an action type of the project's own is kept; a name of the ledger's is refused", async () => {
  const user = await createUser(db);
  await grant(db, user, 5);

  await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 1,
      p_action_type: "recipe_ideas",
    }),
  );
  const { rows } = await db.admin.query(
    "select action_type, reason from public.token_transactions where user_id = $1 and tokens < 0",
    [user],
  );

  expect(rows).toEqual([{ action_type: "recipe_ideas", reason: "recipe_ideas" }]);
  await expect(
    asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", {
        p_user_id: user,
        p_tokens_to_deduct: 1,
        p_action_type: "admin_grant",
      }),
    ),
  ).rejects.toMatchObject({ code: "PT400", message: "invalid_action_type" });
});
