import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { writeLongLedger } from "../../support/long-ledger.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import {
  type Checkpoint,
  insertDeduction,
  removeDeduction,
  removeUser,
  takeCheckpoint,
  tamper,
  verifyCheckpoint,
} from "./checkpoints.ts";

/** Three users with 351 entries each. */
async function longBooks(mutant?: string) {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const users = (await Promise.all(Array.from({ length: 3 }, () => createUser(db)))).sort();
  for (const user of users) await writeLongLedger(db, user, 350);
  const client = await db.admin.connect();
  try {
    return { db, user: users[1]!, kept: await takeCheckpoint(client) };
  } finally {
    client.release();
  }
}

let db: Database;
let user: string;
let kept: Checkpoint;
beforeAll(async () => {
  ({ db, user, kept } = await longBooks());
});
afterAll(() => db.drop());

const change =
  (id: number, set: string) =>
  (client: pg.ClientBase, of: string): Promise<unknown> =>
    client.query(`update public.token_transactions set ${set} where user_id = $1 and id = $2`, [of, id]);

interface Tampering {
  what: string;
  as: (client: pg.ClientBase, user: string) => Promise<unknown>;
  /** What must be said of the user, or of the one that `as` returns, and of nobody else. */
  found: { invariant: string; transaction_id: string; expected?: string }[];
  /** Whether the books add up all the same, so that no invariant but this is broken. */
  addsUp?: boolean;
}

const numbers = "I6 entries are as they were: numbers";
const words = "I6 entries are as they were: words";

const tamperings: Tampering[] = [
  {
    what: "a number was changed",
    as: change(150, "tokens = -2"),
    found: [
      { invariant: numbers, transaction_id: "200", expected: "entries 101 to 200 as at the checkpoint" },
    ],
  },
  {
    what: "a moment was changed, in the newest stretch",
    as: change(320, "created_at = created_at + interval '1 microsecond'"),
    found: [
      { invariant: numbers, transaction_id: "351", expected: "entries 301 to 351 as at the checkpoint" },
    ],
    addsUp: true,
  },
  {
    what: "words were changed",
    as: change(7, `metadata = '{"for": "another"}'`),
    found: [{ invariant: words, transaction_id: "100", expected: "entries 1 to 100 as at the checkpoint" }],
    addsUp: true,
  },
  {
    what: "an entry was removed, and everything made to fit",
    as: (client, of) => removeDeduction(client, of, 250),
    found: [
      { invariant: "I6 entries are still there", transaction_id: "351", expected: "entries up to 351" },
    ],
    addsUp: true,
  },
  {
    what: "an entry was removed, everything made to fit, and others came after it",
    as: async (client, of) => {
      await removeDeduction(client, of, 250);
      for (const _ of "12") {
        await client.query("select public.deduct_tokens_with_fifo($1, 1, 'chat_conversation')", [of]);
      }
    },
    found: [
      { invariant: numbers, transaction_id: "300", expected: "entries 201 to 300 as at the checkpoint" },
    ],
    addsUp: true,
  },
  {
    what: "an entry was put in, and everything made to fit",
    as: (client, of) => insertDeduction(client, of, 50),
    found: [{ invariant: numbers, transaction_id: "100" }],
    addsUp: true,
  },
  {
    what: "two entries were swapped",
    as: (client, of) =>
      client.query(
        `update public.token_transactions t set created_at = o.created_at, metadata = o.metadata
           from public.token_transactions o
          where t.user_id = $1 and o.user_id = $1 and t.id in (110, 111) and o.id = 221 - t.id`,
        [of],
      ),
    found: [{ invariant: numbers, transaction_id: "200" }],
    addsUp: true,
  },
  {
    what: "the user was removed altogether",
    as: (client, of) => removeUser(client, of),
    found: [{ invariant: "I6 entries are still there", transaction_id: "1", expected: "entries up to 351" }],
    addsUp: true,
  },
  {
    what: "the user was removed and made anew",
    as: async (client, of) => {
      await removeUser(client, of);
      await client.query("select public.grant_tokens($1, 1350, 'purchase')", [of]);
      for (let i = 0; i < 350; i++) {
        await client.query("select public.deduct_tokens_with_fifo($1, 1, 'chat_conversation')", [of]);
      }
    },
    found: [{ invariant: numbers, transaction_id: "100" }], // the words are the same
    addsUp: true,
  },
  {
    what: "an entry was added and dated back",
    as: async (client, of) => {
      await client.query("select public.deduct_tokens_with_fifo($1, 1)", [of]);
      await change(352, "created_at = created_at - interval '2 hours'")(client, of);
    },
    found: [{ invariant: "I6 no entry is dated back", transaction_id: "352" }],
  },
  {
    what: "a user was put in and dated back",
    as: async (client) => {
      const other = "10000000-0000-4000-8000-000000000001";
      await client.query("insert into auth.users (id, email) values ($1, 'new@example.com')", [other]);
      await client.query("select public.grant_tokens($1, 5, 'purchase')", [other]);
      await change(1, "created_at = created_at - interval '2 hours'")(client, other);
      return other;
    },
    found: [{ invariant: "I6 no entry is dated back", transaction_id: "1" }],
  },
];

const ledger = async (client: pg.ClientBase) =>
  (await client.query("select * from public.verify_token_ledger()")).rows;

test.each(tamperings)("$what: found, and of whom", async ({ as, found, addsUp = false }) => {
  await tamper(db, async (client) => {
    const other = await as(client, user);
    const named = typeof other === "string" ? other : user;
    const seen = await verifyCheckpoint(client, kept);

    expect(seen).toMatchObject(found.map((row) => ({ ...row, user_id: named })));
    expect(seen).toHaveLength(found.length);
    // what adds up, the verifier of the books cannot see
    if (addsUp) expect(await ledger(client)).toEqual([]);
  });
});

test.each(tamperings)("$what, and what the database keeps of it too: found", async ({ as, found }) => {
  await tamper(db, async (client) => {
    await as(client, user);
    await client.query("delete from tokenbook.ledger_checkpoints where user_id is not null");
    const later = await takeCheckpoint(client);
    const seen = await verifyCheckpoint(client, kept);

    expect(seen.map((row) => row.invariant)).toEqual(found.map((row) => row.invariant));
    // the later checkpoint is of what was there then: it vouches for nothing before it
    expect(await verifyCheckpoint(client, later)).toEqual([]);
  });
});

test("a checkpoint that reads on from what was kept goes on saying what the entries were", async () => {
  await tamper(db, async (client) => {
    await change(150, "tokens = -2")(client, user);
    const later = await takeCheckpoint(client);

    expect(await verifyCheckpoint(client, later)).toMatchObject([{ invariant: numbers, user_id: user }]);
  });
});

test("what was added since is no difference", async () => {
  const client = await db.admin.connect();
  await client.query("begin");
  await client.query("select public.deduct_tokens_with_fifo($1, 5)", [user]);
  await client.query("select public.grant_tokens($1, 5, 'purchase')", [user]);
  const other = (
    await client.query(
      "insert into auth.users (id, email) values (gen_random_uuid(), 'b@example.com') returning id",
    )
  ).rows[0].id;
  await client.query("select public.grant_tokens($1, 5, 'purchase')", [other]);
  const seen = await verifyCheckpoint(client, kept);
  await client.query("rollback");
  client.release();

  expect(seen).toEqual([]);
});

test.each([
  ["checkpoint-leaves-a-column-out", "a number was changed"],
  ["checkpoint-links-stand-alone", "a number was changed"],
  [
    "checkpoint-trusts-what-is-kept",
    "an entry was removed, everything made to fit, and others came after it",
  ],
  ["checkpoint-asks-only-whom-it-knows", "a user was put in and dated back"],
])("the test sees it: %s", { tags: ["proof"] }, async (mutant, what) => {
  const bad = await longBooks(mutant);
  const { as } = tamperings.find((tampering) => tampering.what === what)!;
  const seen = await tamper(bad.db, async (client) => {
    await as(client, bad.user);
    return await verifyCheckpoint(client, bad.kept);
  });
  await bad.db.drop();

  expect(seen).toEqual([]);
});
