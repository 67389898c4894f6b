// @module-tag proof
import type pg from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { breaches, grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { Latencies } from "../../support/latency.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsOwner, connectAsServer } from "../../support/storm.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P18",
  promise: "Nobody waits long: a busy account says so within seconds, and other users notice nothing",
  trial:
    "Somebody keeps one user's account locked while 200 clients want to spend from it: each is answered within 5 seconds, with its tokens or with busy; 4 other users spend all the while, and their slowest calls are compared with those before",
  run: (scale) => tryIt({ clients: 200, heldFor: scale === "long" ? 10_000 : 4_500, mutant: null }),
  control: {
    variant: "waits for the lock as long as it takes",
    run: () => tryIt({ clients: 20, heldFor: 5_600, mutant: "locks-waited-for-without-end" }),
  },
});

/** Four seconds for the lock; the rest is for a machine that is busy with 200 answers at once. */
const longestWait = 5_000;

interface Load {
  clients: number;
  /** Milliseconds. */
  heldFor: number;
  mutant: string | null;
}

async function tryIt({ clients, heldFor, mutant }: Load): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    const hot = await createUser(db);
    await grant(db, hot, 100_000);
    const others = await Promise.all(Array.from({ length: 4 }, () => someoneElse(db)));
    const crowd = await Promise.all(Array.from({ length: clients }, () => connectAsServer(db)));
    const holder = await connectAsOwner(db);

    // the variant lets nobody but the crowd wait: the others are compared where they have to be as quick
    const before = mutant === null ? await measure(others, sleep(1_500)) : undefined;
    await holder.query("begin");
    await holder.query("select 1 from public.token_accounts where user_id = $1 for update", [hot]);
    const released = sleep(heldFor).then(() => holder.query("commit"));
    const isReleased = whetherOver(released);
    const waits = new Latencies();
    const crowding = Promise.all(
      crowd.map(async (client) => {
        do {
          const outcome = await waits.of(() => spend(client, hot));
          mix[outcome] = (mix[outcome] ?? 0) + 1;
        } while (!isReleased());
      }),
    );
    const during = await measure(others, released);
    await crowding;

    await Promise.all(
      [...crowd, holder, ...others.map(({ client }) => client)].map((client) => client.end()),
    );
    if (waits.at(1) > longestWait) wrong.push(`somebody waited ${Math.round(waits.at(1))} ms`);
    for (const outcome of Object.keys(mix)) {
      if (outcome !== "spent" && outcome !== "PT503 busy") wrong.push(`${outcome}: ${mix[outcome]} times`);
    }
    if (mutant === null && !mix["PT503 busy"]) wrong.push("nobody found it busy: nothing was tried");
    // what is quick anyway may double without anybody noticing: a call that waited for the lock waited for
    // twenty times as long
    if (before !== undefined && during.at(0.99) > Math.max(2 * before.at(0.99), 100)) {
      wrong.push(`other users: ${before} before, ${during} meanwhile`);
    }
    wrong.push(...(await breaches(db)));
    console.log(
      `P18 one account locked for ${heldFor} ms, ${clients} clients: longest wait ${Math.round(waits.at(1))} ms; other users ${before ?? "not measured"} before, ${during} meanwhile`,
    );
    return {
      times: waits.count,
      unit: `calls of ${clients} clients`,
      mix: {
        ...mix,
        "longest wait, ms": Math.round(waits.at(1)),
        ...(before !== undefined && { "others' p99 before, ms": Math.round(before.at(0.99)) }),
        "others' p99 meanwhile, ms": Math.round(during.at(0.99)),
      },
      violations: wrong.length,
      examples: wrong.slice(0, 5),
    };
  } finally {
    await db.drop();
  }
}

async function spend(client: pg.Client, user: string): Promise<string> {
  try {
    await client.query("select public.deduct_tokens_with_fifo($1, 1)", [user]);
    return "spent";
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code} ${message}`;
  }
}

interface Someone {
  user: string;
  client: pg.Client;
}

async function someoneElse(db: Database): Promise<Someone> {
  const user = await createUser(db);
  await grant(db, user, 1_000_000);
  const client = await connectAsServer(db);
  await client.query("select public.deduct_tokens_with_fifo($1, 1)", [user]);
  return { user, client };
}

/** Asks whether something has come to its end by now. */
function whetherOver(something: Promise<unknown>): () => boolean {
  let isOver = false;
  void something.then(() => (isOver = true));
  return () => isOver;
}

/** Lets them spend, a pause after each call, until it is over. */
async function measure(people: readonly Someone[], over: Promise<unknown>): Promise<Latencies> {
  const times = new Latencies();
  const isOver = whetherOver(over);
  await Promise.all(
    people.map(async ({ client, user }) => {
      while (!isOver()) {
        await times.of(() => client.query("select public.deduct_tokens_with_fifo($1, 1)", [user]));
        await sleep(5);
      }
    }),
  );
  return times;
}
