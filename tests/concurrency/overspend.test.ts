import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { createUser } from "../support/roles.ts";
import { expectCleanBooks, grant } from "../support/books.ts";
import { applyMutant } from "../support/mutants.ts";
import { storm } from "../support/storm.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const POOL = 1_000;
const ATTEMPTS = 3_000;
const CONNECTIONS = 40;

/** Lets 40 connections spend one token at a time, 3,000 times, from a pool of 1,000 in three grants. */
async function spendDown(database: Database, userId: string) {
  const outcome = await storm(database, {
    connections: CONNECTIONS,
    attempts: ATTEMPTS,
    run: async (client) => {
      const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 1) as receipt", [
        userId,
      ]);
      return rows[0].receipt.success ? "spent" : "short";
    },
  });
  const { rows } = await database.admin.query(
    "select sum(tokens_remaining)::int as left from public.token_balances where user_id = $1",
    [userId],
  );
  return { ...outcome, left: rows[0].left as number, overspent: (outcome.mix.spent ?? 0) - POOL };
}

test("3,000 attempts by 40 connections on a pool of 1,000 give exactly 1,000 successes", async () => {
  const user = await createUser(db);
  await grant(db, user, 400);
  await grant(db, user, 350);
  await grant(db, user, 250);

  const result = await spendDown(db, user);

  console.log(
    `overspend=${result.overspent} attempts=${ATTEMPTS} connections=${CONNECTIONS} mix=${JSON.stringify(result.mix)}`,
  );
  expect(result.mix).toEqual({ spent: POOL, short: ATTEMPTS - POOL });
  expect(result.left).toBe(0);
  await expectCleanBooks(db);
});

test("the test sees it: reading, then writing what was read, overspends", async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "deduct-reads-then-writes");
  const user = await createUser(broken);
  await grant(broken, user, POOL);

  const result = await spendDown(broken, user);
  await broken.drop();

  console.log(
    `mutant deduct-reads-then-writes: overspend=${result.overspent} mix=${JSON.stringify(result.mix)}`,
  );
  expect(result.overspent).toBeGreaterThan(0);
});

test("1,000 replays of one key by 40 connections have one effect and one receipt", async () => {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const receipts = new Set<string>();

  const outcome = await storm(db, {
    connections: CONNECTIONS,
    attempts: 1_000,
    run: async (client) => {
      const { rows } = await client.query(
        "select public.deduct_tokens_with_fifo($1, 3, 'chat_conversation', 'one-key') as receipt",
        [user],
      );
      const { replayed, ...receipt } = rows[0].receipt;
      receipts.add(JSON.stringify(receipt));
      return replayed ? "replayed" : "effect";
    },
  });

  console.log(`effects=${outcome.mix.effect} receipts=${receipts.size} mix=${JSON.stringify(outcome.mix)}`);
  expect(outcome.mix).toEqual({ effect: 1, replayed: 999 });
  expect(receipts.size).toBe(1);
  await expectCleanBooks(db);
});

test("the test sees it: looking for the key before the lock has several effects", async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "replay-looked-up-before-the-lock");
  const user = await createUser(broken);
  await grant(broken, user, 1_000);

  const outcome = await storm(broken, {
    connections: CONNECTIONS,
    attempts: 200,
    run: async (client) => {
      const { rows } = await client.query(
        "select public.deduct_tokens_with_fifo($1, 3, 'chat_conversation', 'one-key') as receipt",
        [user],
      );
      return rows[0].receipt.replayed ? "replayed" : "effect";
    },
  });
  await broken.drop();

  console.log(`mutant replay-looked-up-before-the-lock: mix=${JSON.stringify(outcome.mix)}`);
  expect(outcome.mix["effect"]).toBeGreaterThan(1);
});

test("the first grants of one user, 40 at once, make one account and all arrive", async () => {
  const user = await createUser(db);

  const outcome = await storm(db, {
    connections: CONNECTIONS,
    attempts: 200,
    run: async (client) => {
      await client.query("select public.grant_tokens($1, 5, 'purchase')", [user]);
      return "granted";
    },
  });

  const { rows } = await db.admin.query(
    "select tokens_remaining::int as tokens from public.token_accounts where user_id = $1",
    [user],
  );
  expect(outcome.mix).toEqual({ granted: 200 });
  expect(rows).toEqual([{ tokens: 1_000 }]);
  await expectCleanBooks(db);
});
