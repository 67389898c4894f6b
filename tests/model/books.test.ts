import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { booksWithAClock } from "./clock.ts";
import { command, type Mix, Run } from "./commands.ts";

/** How many sequences: a few here, 10,000 and more with MODEL_SEQUENCES. */
const SEQUENCES = Number(process.env["MODEL_SEQUENCES"] ?? 200);
const LANES = 3;
const seed = Number(process.env["MODEL_SEED"] ?? Date.now() % 2 ** 31);

let db: Database;
beforeAll(async () => {
  db = await booksWithAClock();
});
afterAll(() => db.drop());

/** Runs sequences in lanes side by side; the first difference is shrunk and thrown. */
async function check(books: Database, sequences: number, seedOf: number): Promise<Mix> {
  const mix: Mix = {};
  await Promise.all(
    Array.from({ length: LANES }, async (_, lane) => {
      const client: pg.PoolClient = await books.admin.connect();
      try {
        await fc.assert(
          fc.asyncProperty(
            fc.array(command, { minLength: 1, maxLength: 50, size: "max" }),
            async (commands) => {
              const user = await createUser(books);
              const run = new Run(client, user, mix);
              for (const one of commands) await run.execute(one);
              await run.look();
              const { rows } = await client.query("select * from public.verify_token_ledger($1)", [user]);
              if (rows.length > 0) throw new Error(`the ledger is broken: ${JSON.stringify(rows)}`);
            },
          ),
          { numRuns: Math.ceil(sequences / LANES), seed: seedOf + lane, endOnFailure: false },
        );
      } finally {
        client.release();
      }
    }),
  );
  return mix;
}

test(
  "random sequences of everything the books can do answer what the reference model says",
  async () => {
    const started = Date.now();
    const mix = await check(db, SEQUENCES, seed);

    const commands = Object.values(mix).reduce((total, count) => total + count, 0);
    console.log(
      `model: sequences=${SEQUENCES} commands=${commands} differences=0 seed=${seed} seconds=${Math.round((Date.now() - started) / 1000)}\n` +
        Object.entries(mix)
          .sort()
          .map(([what, count]) => `  ${what}: ${count}`)
          .join("\n"),
    );
    // a run in which nothing much happens proves nothing
    for (const outcome of [
      "deduct: deducted",
      "deduct: short",
      "deduct: replayed",
      "capture: less",
      "capture: more: deduct",
      "capture: was expired",
      "refund: restored",
      "refund: forfeited",
      "refund: reissued",
      "refund: refund_exceeds_charge",
      "void: owing",
      "track: partly",
    ])
      expect(mix[outcome], outcome).toBeGreaterThan(0);
  },
  60_000 + SEQUENCES * 500,
);

test.each([
  ["lifo", "the newest grant pays first"],
  ["refunds-give-back-what-was-paid-first", "a refund starts from the wrong end"],
  ["captures-keep-the-rest", "what a capture leaves does not come back"],
  ["holds-never-run-out", "a hold that ran out is not released"],
  ["refunds-forget-each-other", "a charge is refunded twice"],
  ["voids-forget-what-was-spent", "taking back leaves what was spent"],
])(
  "the test sees it: %s (%s)",
  async (mutant) => {
    const broken = await booksWithAClock();
    await applyMutant(broken, mutant);

    const found = await check(broken, 300, 7).then(
      () => null,
      (error: Error) => String((error.cause as Error | undefined)?.message ?? error.message),
    );
    await broken.drop();

    expect(found).toMatch(/the database|the ledger is broken|violates check constraint/);
  },
  120_000,
);
