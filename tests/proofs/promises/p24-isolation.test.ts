// @module-tag proof
import { breaches, grant } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { firstOperations } from "../../support/first-operations.ts";
import { type Isolation, isolationLevels, sentAgain, spendDown } from "../../support/spending.ts";
import { storm } from "../../support/storm.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P24",
  promise: "The books are right at every isolation level that a caller may choose",
  trial:
    "At read committed, repeatable read and serializable: 24 connections spending down 4 users, half of it from one, while two others spend what is running out, one sweeps it, and one asks verify_token_ledger(); the first operations of new users; replays of one key at once. A call that lost a race is sent again",
  run: (scale) => tryIt(null, scale === "long" ? 3_000 : 300),
  control: {
    variant: "reads the balance and then writes it",
    run: () => tryIt("deduct-reads-then-writes", 300),
  },
});

async function tryIt(variant: string | null, attempts: number): Promise<Tried> {
  const db = await createDatabase();
  const wrong: string[] = [];
  const mix: Record<string, number> = {};
  let times = 0;
  try {
    if (variant !== null) await applyMutant(db, variant);
    // the variant breaks it at read committed, and one level is enough to see that
    for (const isolation of variant === null ? isolationLevels : (["read committed"] as const)) {
      const isOver = new AbortController();
      const beside = variant === null ? sweepAndRead(db, isolation, isOver.signal) : undefined;
      const spent = await spendDown(db, {
        connections: 24,
        attempts,
        users: 4,
        isolation,
        oneGrant: variant !== null,
      }).finally(() => isOver.abort());
      const swept = (await beside) ?? { mix: {}, wrong: [] };
      const races =
        variant === null ? await firstOperations(db, 2, isolation) : { times: 0, mix: {}, wrong: [] };
      const replays = variant === null ? await replay(db, isolation, attempts / 3) : { mix: {}, wrong: [] };
      times += attempts + (variant === null ? attempts / 3 : 0) + races.times;
      const found = [...spent.wrong, ...replays.wrong, ...swept.wrong, ...races.wrong];
      wrong.push(...found.map((one) => `${isolation}: ${one}`));
      const all = { ...spent.mix, ...replays.mix, ...swept.mix, ...races.mix };
      for (const [outcome, count] of Object.entries(all)) {
        mix[`${isolation}: ${outcome}`] = count;
        // 40001 sent again fifty times in vain is no breach, and anything else is an answer nobody expects
        if (outcome.startsWith("error")) wrong.push(`${isolation}: ${outcome}`);
      }
    }
    if (variant === null) wrong.push(...(await breaches(db)));
    return { times, unit: "calls", mix, violations: wrong.length, examples: wrong.slice(0, 5) };
  } finally {
    await db.drop();
  }
}

/** Two users whose tokens run out while they are spent and swept, and everybody's books read: until the others are done. */
async function sweepAndRead(db: Database, isolation: Isolation, until: AbortSignal) {
  const users = [await createUser(db), await createUser(db)];
  const wrong: string[] = [];
  const { mix } = await storm(db, {
    connections: 4,
    attempts: Infinity,
    until,
    run: (client, nth) =>
      sentAgain(client, isolation, async () => {
        if (nth % 8 === 0) {
          await client.query("select public.expire_old_token_grants()");
          return "swept";
        }
        if (nth % 8 === 4) {
          const { rows } = await client.query("select * from public.verify_token_ledger()");
          wrong.push(...rows.map((row) => JSON.stringify(row)));
          return "read";
        }
        const user = users[nth % 2];
        if (nth % 8 === 1 || nth % 8 === 2) {
          await client.query(
            "select public.grant_tokens($1, 20, 'purchase', clock_timestamp() + interval '30 milliseconds')",
            [user],
          );
          return "granted, to run out";
        }
        const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 3) as receipt", [
          user,
        ]);
        return rows[0].receipt.success ? "spent of what runs out" : "short of what ran out";
      }).catch((error: Error) => {
        if (error.message !== "invalid_expiry") throw error;
        return "waited until it had run out";
      }),
  });
  return { mix, wrong };
}

/** One key, many times at once: one effect, whatever each of them has seen. */
async function replay(db: Database, isolation: Isolation, attempts: number) {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const { mix } = await storm(db, {
    connections: 24,
    attempts,
    async run(client) {
      for (;;) {
        await client.query(`begin isolation level ${isolation}`);
        try {
          const { rows } = await client.query(
            "select public.deduct_tokens_with_fifo($1, 3, 'chat_conversation', 'one-key') as receipt",
            [user],
          );
          await client.query("commit");
          return rows[0].receipt.replayed ? "replayed" : "effect";
        } catch (error) {
          await client.query("rollback");
          if (
            (
              error as {
                code?: string;
              }
            ).code !== "40001"
          )
            throw error;
        }
      }
    },
  });
  return { mix, wrong: mix["effect"] === 1 ? [] : [`one key had ${mix["effect"] ?? 0} effects`] };
}
