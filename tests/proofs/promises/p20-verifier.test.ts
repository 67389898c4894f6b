// @module-tag proof
import type pg from "pg";
import { createDatabase, type Database } from "../../support/database.ts";
import { diceFor } from "../../support/dice.ts";
import { createUser } from "../../support/roles.ts";
import { storm } from "../../support/storm.ts";
import {
  booksToCorrupt,
  dropConstraints,
  inject,
  type Injection,
  injectionsFor,
  sumsDiffer,
  verify,
} from "../../audit/verify/books-to-corrupt.ts";
import { anyCorruptions, type Tally, tryAttempt } from "../../audit/verify/any-corruption.ts";
import { saidOfOthers } from "../../audit/verify/whose.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P20",
  promise: "The verifier finds every fault of the books, names it and its user, and raises no false alarm",
  trial:
    "Each field of the books made wrong in each way that is known of it, one at a time, with no constraint left; whether the right invariant and the right user are named. Then every column in every way that its type allows, in a row of each kind, with the constraints in force: seen, refused, or free for a reason that the list gives. Clean books verified before, and others again and again while 12 connections write them",
  run: (scale) =>
    scale === "long"
      ? tryIt(byInvariants, { rowsEach: 2, most: Infinity, any: 2_500, calls: 4_000 })
      : tryIt(byInvariants, { rowsEach: 1, most: 100, any: 600, calls: 450 }),
  control: {
    variant: "compares sums: the account, its grants, its ledger",
    run: () => tryIt(bySums, { rowsEach: 1, most: 30, any: 0, calls: 0 }),
  },
});

/** Verifies the books with something wrong in them; says what it missed. */
type Verifier = (client: pg.ClientBase, injection: Injection, owners: string[]) => Promise<string | null>;

const byInvariants: Verifier = async (client, { table, way, owners, n }, ownersNow) => {
  const breached = await verify(client);
  const names = JSON.stringify(breached.map((row) => row.invariant));
  if (!breached.some((row) => way.named.test(row.invariant)))
    return `not found, or not named right: ${names}`;
  // a row that is moved to another user is a breach of both users' books
  const ofOthers = await saidOfOthers(client, table, [...owners, ...ownersNow], breached);
  if (ofOthers.length > 0) return `blamed on others: ${JSON.stringify(ofOthers)}`;
  // a breach is found for its user alone, too
  const [user] = owners;
  if (n > 1 || user === undefined) return null;
  const own = breached.filter((row) => row.user_id === user).map((row) => row.invariant);
  const alone = (await verify(client, user)).map((row) => row.invariant);
  return String(alone.sort()) === String(own.sort()) ? null : `alone: ${String(alone)}, not ${String(own)}`;
};

const bySums: Verifier = async (client) => ((await sumsDiffer(client)) ? null : "not found");

interface Size {
  /** In how many rows each way that is known is tried. */
  rowsEach: number;
  /** How many of those at most, and how many in any way. */
  most: number;
  any: number;
  /** How many calls write while others verify. */
  calls: number;
}

async function tryIt(verifier: Verifier, { rowsEach, most, any, calls }: Size): Promise<Tried> {
  const { db, users } = await booksToCorrupt({ constraints: "in force" });
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  try {
    const alarms = await db.admin.query("select * from public.verify_token_ledger()");
    if (alarms.rowCount! > 0) wrong.push(`false alarm: ${JSON.stringify(alarms.rows[0])}`);
    mix["clean accounts"] = users.length;
    const tally = any > 0 ? await inAnyWay(db, any, mix, wrong) : 0;

    await dropConstraints(db);
    const { injections, nowhere } = await injectionsFor(db, rowsEach);
    wrong.push(...nowhere.map((what) => `${what}: there is no such row`));
    const dice = diceFor(0);
    while (injections.length > most) injections.splice(dice.below(injections.length), 1);
    mix["single fields made wrong"] = injections.length;
    mix["ways and fields"] = new Set(injections.map(({ what }) => what)).size;
    await eachOf(db, [...injections], async (client, injection) => {
      const missed = await inject(client, injection, (owners) => verifier(client, injection, owners));
      if (missed !== null) wrong.push(`${injection.what}: ${missed}`);
    });
    if (calls > 0) await underLoad(calls, mix, wrong);
    return {
      times: injections.length + tally + (mix["verified under load"] ?? 0),
      unit: "faults and clean books",
      mix,
      violations: wrong.length,
      examples: wrong.slice(0, 5),
    };
  } finally {
    await db.drop();
  }
}

/** Every column in any way, with the constraints in force. */
async function inAnyWay(
  db: Database,
  most: number,
  mix: Record<string, number>,
  wrong: string[],
): Promise<number> {
  const tally: Tally = { attempts: 0, seen: 0, refused: 0, free: 0, unseen: [], blamed: [] };
  const dice = diceFor(1);
  const attempts = await anyCorruptions(db, most, (below) => dice.below(below));
  await eachOf(db, attempts, (client, attempt) => tryAttempt(client, attempt, tally));
  mix["in any way: attempts"] = tally.attempts;
  mix["in any way: seen"] = tally.seen;
  mix["in any way: refused by a constraint"] = tally.refused;
  mix["in any way: free, by a reason of the list"] = tally.free;
  mix["in any way: unseen"] = tally.unseen.length;
  wrong.push(...tally.unseen.map((what) => `${what}: not found`), ...tally.blamed);
  return tally.attempts;
}

/** Works through a list on three connections. */
async function eachOf<T>(
  db: Database,
  queue: T[],
  work: (client: pg.ClientBase, one: T) => Promise<void>,
): Promise<void> {
  await Promise.all(
    Array.from({ length: 3 }, async () => {
      const client = await db.admin.connect();
      try {
        // planning is most of it, and once is enough
        await client.query("set plan_cache_mode = force_generic_plan; set jit = off");
        for (let next = queue.pop(); next !== undefined; next = queue.pop()) await work(client, next);
      } finally {
        client.release(true); // whatever state a failure left it in
      }
    }),
  );
}

const writes = [
  "select public.grant_tokens($1, 40, 'purchase')",
  "select public.grant_tokens($1, 15, 'trial', clock_timestamp() + interval '1 second')",
  "select public.deduct_tokens_with_fifo($1, 7)",
  "select public.track_token_usage($1, 'chat_conversation', null, null, null, 9, true, null, 'partial')",
  "select public.track_token_usage($1, 'chat_conversation', null, null, null, 9, false)",
  "select public.reserve_tokens($1, 3, 1)",
  "select public.adjust_tokens($1, -1, 'correction')",
  "select public.get_user_token_balance($1)",
];

/** No alarm while the books are being written. */
async function underLoad(calls: number, mix: Record<string, number>, wrong: string[]): Promise<void> {
  const db = await createDatabase();
  try {
    const users = await Promise.all(Array.from({ length: 6 }, () => createUser(db)));
    const { mix: outcomes } = await storm(db, {
      connections: 12,
      attempts: calls,
      async run(client, attempt) {
        if (attempt % 15 > 0) {
          await client.query(writes[attempt % writes.length]!, [users[attempt % users.length]]);
          return "written under load";
        }
        await client.query("set statement_timeout = 0");
        const found = await verify(client);
        if (found.length > 0) wrong.push(`false alarm: ${JSON.stringify(found[0])}`);
        return "verified under load";
      },
    });
    for (const [outcome, times] of Object.entries(outcomes)) {
      mix[outcome] = times;
      if (outcome.startsWith("error")) wrong.push(outcome);
    }
  } finally {
    await db.drop();
  }
}
