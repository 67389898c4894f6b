// @module-tag proof
import { expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsServer, storm } from "../../support/storm.ts";
import { type Checkpoint, takeCheckpoint, verifyCheckpoint } from "./checkpoints.ts";

const writes = [
  "select public.grant_tokens($1, 40, 'purchase')",
  "select public.deduct_tokens_with_fifo($1, 7)",
  "select public.track_token_usage($1, 'chat_conversation', null, null, null, 9, true, null, 'partial')",
  "select public.reserve_tokens($1, 3, 60)",
  "select public.adjust_tokens($1, -1, 'correction')",
];

/** Checkpoints are made and verified again and again while 8 connections write, and new users come. */
async function underLoad(db: Database, attempts: number) {
  const users = await Promise.all(Array.from({ length: 6 }, () => createUser(db)));
  const newcomers = await Promise.all(Array.from({ length: 40 }, () => createUser(db)));
  const over = new AbortController();
  const kept: Checkpoint[] = [];
  const alarms: unknown[] = [];
  let verified = 0;

  const watch = async () => {
    const client = await connectAsServer(db);
    await client.query("set statement_timeout = 0");
    while (!over.signal.aborted) {
      // small pages: a user is booked for between two of them
      kept.push(await takeCheckpoint(client, { limit: 40 }));
      for (const one of [kept.at(-1)!, kept[Math.floor(kept.length / 2)]!, kept[0]!]) {
        alarms.push(...(await verifyCheckpoint(client, one)));
        verified++;
      }
    }
    for (const one of kept) {
      alarms.push(...(await verifyCheckpoint(client, one)));
      verified++;
    }
    await client.end();
  };
  const watching = watch();
  const { mix } = await storm(db, {
    connections: 8,
    attempts,
    async run(client, attempt) {
      const user = attempt % 25 === 0 ? newcomers.pop() : undefined;
      await client.query(writes[user === undefined ? attempt % writes.length : 0]!, [
        user ?? users[attempt % users.length],
      ]);
      return "written";
    },
  }).finally(() => over.abort());
  await watching;
  return { mix, made: kept.length, verified, alarms };
}

test("no false alarm while 8 connections write", async () => {
  const db = await createDatabase();
  const { mix, made, verified, alarms } = await underLoad(db, 2_000);
  await db.drop();

  console.log(
    `checkpoints=${made} verified=${verified} false alarms=${alarms.length} writes=${JSON.stringify(mix)}`,
  );
  expect(alarms).toEqual([]);
  expect(mix).toEqual({ written: 2_000 });
  expect(made).toBeGreaterThan(3);
}, 120_000);

test("the test sees it: a verification that compares the whole ledger, what was added since included", async () => {
  const db = await createDatabase();
  await applyMutant(db, "checkpoint-verified-to-the-end");
  const { verified, alarms } = await underLoad(db, 300);
  await db.drop();

  console.log(`control checkpoint-verified-to-the-end: false alarms=${alarms.length} in ${verified}`);
  expect(alarms.length).toBeGreaterThan(0);
}, 120_000);
