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

const CONNECTIONS = 40;

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
