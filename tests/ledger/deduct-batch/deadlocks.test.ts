/* Longer: BATCH_SECONDS=60 npx vitest run tests/ledger/deduct-batch/deadlocks.test.ts */
import type pg from "pg";
import { expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { type Dice, diceFor, seed } from "../../support/dice.ts";
import { createUser } from "../../support/roles.ts";
import { findDeadlocksSoon, storm } from "../../support/storm.ts";

const SECONDS = Number(process.env["BATCH_SECONDS"] ?? 6);
const CONNECTIONS = 20;
const USERS = 120;

/** Overlapping batches in random order, with everything else that takes accounts beside them, until the first deadlock. */
async function hammer(db: Database, seconds: number) {
  const users: string[] = [];
  for (let i = 0; i < USERS; i++) {
    const user = await createUser(db);
    await grant(db, user, 1_000_000);
    if (i % 3 > 0) users.push(user);
    else users.unshift(user);
  }
  let key = 0;
  const work: [share: number, name: string, (client: pg.Client, dice: Dice) => Promise<unknown>][] = [
    [
      10,
      "batch",
      async (client, dice) => {
        const items = Array.from({ length: 40 }, () => ({
          user_id: dice.any(users),
          tokens: 1,
          ...(dice.chance(0.5) && { idempotency_key: `k${key++}` }),
        }));
        await client.query("select public.deduct_tokens_batch($1, $2)", [
          JSON.stringify(items),
          dice.chance(0.2),
        ]);
      },
    ],
    [
      2,
      "deduct",
      (client, dice) => client.query("select public.deduct_tokens_with_fifo($1, 1)", [dice.any(users)]),
    ],
    [
      1,
      "grant",
      (client, dice) =>
        client.query(
          "select public.grant_tokens($1, 5, 'trial', p_expires_at => clock_timestamp() + interval '2 seconds')",
          [dice.any(users)],
        ),
    ],
    [1, "sweep", (client) => client.query("select public.expire_old_token_grants(50)")],
    [
      1,
      "refund",
      async (client, dice) => {
        const user = dice.any(users);
        const { rows } = await client.query(
          `select t.id from public.token_transactions t
            where t.user_id = $1 and t.entry_type = 'deduction' order by t.id desc limit 1`,
          [user],
        );
        if (rows.length > 0) await client.query("select public.refund_tokens($1, $2)", [user, rows[0].id]);
      },
    ],
  ];
  const shares = work.flatMap(([share, ...rest]) => Array.from({ length: share }, () => rest));
  const end = Date.now() + seconds * 1_000;
  const mix: Record<string, number> = {};
  let nth = 0;
  await storm(db, {
    connections: CONNECTIONS,
    attempts: CONNECTIONS,
    run: async (client) => {
      while (Date.now() < end && mix["deadlock"] === undefined) {
        const dice = diceFor(nth++);
        const [name, act] = dice.any(shares);
        const outcome = await act(client, dice).then(
          () => name,
          (error: { code?: string; message: string }) =>
            error.code === "40P01" ? "deadlock" : `${error.code} ${error.message}`,
        );
        mix[outcome] = (mix[outcome] ?? 0) + 1;
      }
      return "done";
    },
  });
  return mix;
}

test(
  `overlapping shuffled batches from ${CONNECTIONS} connections never deadlock`,
  { tags: ["proof"], timeout: (SECONDS + 60) * 1_000 },
  async () => {
    const db = await createDatabase();

    const { deadlock = 0, ...mix } = await hammer(db, SECONDS);

    console.log(
      `deadlocks=${deadlock} seed=${seed} seconds=${SECONDS} connections=${CONNECTIONS} mix=${JSON.stringify(mix)}`,
    );
    expect(deadlock).toBe(0);
    // A refund may find that another one has been faster, a grant that it waited too long; and on a
    // slow machine twenty that want the same accounts may have to be sent again. No more.
    const expected = [
      "batch",
      "deduct",
      "grant",
      "sweep",
      "refund",
      "PT409 refund_exceeds_charge",
      "PT400 invalid_expiry",
      "PT503 busy",
      "57014 canceling statement due to statement timeout",
    ];
    expect(Object.keys(mix).filter((outcome) => !expected.includes(outcome))).toEqual([]);
    expect(mix["batch"]).toBeGreaterThan(SECONDS);
    await expectCleanBooks(db);
    await db.drop();
  },
);

test(
  "the test sees it: accounts locked in the order of the items deadlock",
  { tags: ["proof"], timeout: 90_000 },
  async () => {
    const db = await createDatabase();
    await applyMutant(db, "batch-locks-in-the-order-given");
    await findDeadlocksSoon(db);

    const { deadlock = 0, ...mix } = await hammer(db, 6);
    await db.drop();

    console.log(
      `mutant batch-locks-in-the-order-given: deadlocks=${deadlock} seed=${seed} mix=${JSON.stringify(mix)}`,
    );
    expect(deadlock).toBeGreaterThan(0);
  },
);
