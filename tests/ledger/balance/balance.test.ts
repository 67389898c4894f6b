import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { grant } from "../../support/books.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test("a user who never had a grant has nothing, and reading the balance creates no account", async () => {
  const user = await createUser(db);

  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));

  expect(balance).toEqual({
    user_id: user,
    state: "active",
    total_active: 0,
    total_expired: 0,
    total_reserved: 0,
    total_owed: 0,
    tokens_limit: null,
    plan_type: null,
    next_expiry: null,
    grants: [],
    has_more_grants: false,
  });
  const { rowCount } = await db.admin.query("select from public.token_accounts where user_id = $1", [user]);
  expect(rowCount).toBe(0);
});

test("the grants are listed in the order in which they will be spent, the spent ones left out", async () => {
  const user = await createUser(db);
  const second = await grant(db, user, 20, {
    granted_at: "2026-10-01T00:00:00Z",
    expires_at: "2031-01-01T00:00:00Z",
  });
  const third = await grant(db, user, 30, { expires_at: "2030-01-01T00:00:00Z" });
  const first = await grant(db, user, 10, { priority: 0 });
  await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 12 }),
  );

  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));

  expect(balance).toMatchObject({
    total_active: 48,
    next_expiry: "2030-01-01T00:00:00+00:00",
    grants: [
      {
        id: second,
        grant_type: "purchase",
        tokens_granted: 20,
        tokens_remaining: 18,
        priority: 50,
        expires_at: "2031-01-01T00:00:00+00:00",
      },
      { id: third, tokens_granted: 30, tokens_remaining: 30 },
    ],
  });
  expect(JSON.stringify(balance)).not.toContain(first);
});

test("a hundred grants are listed, and more are said to be there", async () => {
  const user = await createUser(db);
  await db.admin.query("select public.grant_tokens($1, n, 'purchase') from generate_series(1, 101) n", [
    user,
  ]);

  const balance = await asService(db, (client) => rpc(client, "get_user_token_balance", { p_user_id: user }));

  expect(balance.grants).toHaveLength(100);
  expect(balance).toMatchObject({ has_more_grants: true, total_active: 5_151 });
});

test("the old names stay readable, in dollars", async () => {
  const user = await createUser(db);
  await grant(db, user, 100);
  await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 30 }),
  );
  await db.admin.query("update public.token_accounts set total_cost = 150 where user_id = $1", [user]);

  const { rows } = await asUser(db, user, (client) => client.query("select * from public.token_counters"));

  expect(rows).toMatchObject([
    { user_id: user, vibe_assistant_tokens_remaining: "70", vibe_assistant_tokens_used: "30" },
  ]);
  expect(Number(rows[0].vibe_assistant_total_cost)).toBe(1.5);
});
