import { breaches, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { type Isolation, isolationLevels, spendDown } from "../support/spending.ts";
import { storm } from "../support/storm.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P24",
  promise: "The books are right at every isolation level that a caller may choose",
  trial:
    "At read committed, repeatable read and serializable: 24 connections spending down 4 users, and replays of one key at once; a call that lost a race is sent again",
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
    for (const isolation of isolationLevels) {
      const spent = await spendDown(db, {
        connections: 24,
        attempts,
        users: 4,
        isolation,
        oneGrant: variant !== null,
      });
      const replays = variant === null ? await replay(db, isolation, attempts / 3) : { mix: {}, wrong: [] };
      times += attempts + (variant === null ? attempts / 3 : 0);
      wrong.push(...[...spent.wrong, ...replays.wrong].map((one) => `${isolation}: ${one}`));
      for (const [outcome, count] of Object.entries({ ...spent.mix, ...replays.mix })) {
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

/** One key, many times at once: one effect, whatever each of them has seen. */
async function replay(db: Database, isolation: Isolation, attempts: number) {
  const user = await createUser(db);
  await grant(db, user, 1_000);
  const { mix } = await storm(db, {
    ...{ connections: 24, attempts },
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
          if ((error as { code?: string }).code !== "40001") throw error;
        }
      }
    },
  });
  return { mix, wrong: mix["effect"] === 1 ? [] : [`one key had ${mix["effect"] ?? 0} effects`] };
}
