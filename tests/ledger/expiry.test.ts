import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { expectCleanBooks, grant } from "../support/books.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

test("what is booked as expired at an instant is exactly what is due then", async () => {
  const user = await createUser(db);
  await grant(db, user, 10, { expires_at: "2030-06-30T12:00:00Z" });
  await grant(db, user, 5, { expires_at: "2030-06-30T12:00:00.000001Z" });
  const { rows } = await db.admin.query(
    "select tokenbook.record_expiries(array[$1::uuid], '2030-06-30T12:00:00Z')::int as booked",
    [user],
  );

  expect(rows[0].booked).toBe(1);
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  expect(balance).toMatchObject({ total_active: 5, total_expired: 10 });
  await expectCleanBooks(db);
});

test("an expired grant is neither counted nor spent, whether it is booked or not", async () => {
  const user = await createUser(db);
  await grant(db, user, 40, { type: "trial", expires_in: "1 hour" });
  const lasting = await grant(db, user, 10);
  await letTimePass(db, user, 1);

  const receipt = await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 10 }),
  );

  expect(receipt).toMatchObject({
    success: true,
    tokens_remaining: 0,
    deducted_from: [{ grant_id: lasting, deducted: 10 }],
  });
  const { rows } = await db.admin.query(
    "select entry_type, tokens::int, actor_role, reason from public.token_transactions where user_id = $1 order by id desc limit 2",
    [user],
  );
  expect(rows).toEqual([
    { entry_type: "deduction", tokens: -10, actor_role: "user", reason: "deduction" },
    { entry_type: "expiry", tokens: -40, actor_role: "system", reason: "expired" },
  ]);
  await expectCleanBooks(db);
});

test("the balance books what is due on its way, and the old names never count it", async () => {
  const user = await createUser(db);
  await grant(db, user, 40, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 10);
  await letTimePass(db, user, 1);

  const before = await asUser(db, user, (client) => client.query("select * from public.token_counters"));
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  const { rows } = await db.admin.query(
    "select tokens_remaining::int, tokens_expired::int from public.token_accounts where user_id = $1",
    [user],
  );

  expect(before.rows[0].vibe_assistant_tokens_remaining).toBe("10");
  expect(balance).toMatchObject({ total_active: 10, total_expired: 40 });
  expect(balance.grants).toHaveLength(1);
  expect(rows).toEqual([{ tokens_remaining: 10, tokens_expired: 40 }]);
  await expectCleanBooks(db);
});

test("a balance read never waits for a lock: what is due is left out unbooked", async () => {
  const user = await createUser(db);
  await grant(db, user, 40, { type: "trial", expires_in: "1 hour" });
  await grant(db, user, 10);
  await letTimePass(db, user, 1);
  const locker = await db.admin.connect();
  await locker.query("begin");
  await locker.query("select from public.token_accounts where user_id = $1 for update", [user]);

  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  await locker.query("rollback");
  locker.release();

  expect(balance).toMatchObject({ total_active: 10, total_expired: 40 });
});

test("the sweeper books every due grant once, a batch of users at a time", async () => {
  const users = await Promise.all(Array.from({ length: 25 }, () => createUser(db)));
  await db.admin.query("select public.expire_old_token_grants(10000)");
  for (const user of users) {
    await grant(db, user, 3, { type: "trial", expires_in: "1 hour" });
    await grant(db, user, 4, { type: "trial", expires_in: "1 hour" });
    await grant(db, user, 5);
  }
  for (const user of users) await letTimePass(db, user, 1);

  const booked: number[] = [];
  do {
    booked.push(
      await asService(db, (client) => rpc(client, "expire_old_token_grants", { p_max_accounts: 10 })),
    );
  } while (booked.at(-1)! > 0);

  expect(booked).toEqual([20, 20, 10, 0]);
  await expectCleanBooks(db);
});
