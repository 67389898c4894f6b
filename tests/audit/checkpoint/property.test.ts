// @module-tag proof
import type pg from "pg";
import { expect, test } from "vitest";
import type { Database } from "../../support/database.ts";
import { Dice, seed } from "../../support/dice.ts";
import { writeLongLedger } from "../../support/long-ledger.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { booksToCorrupt } from "../verify/books-to-corrupt.ts";
import { takeCheckpoint, tamper, verifyCheckpoint } from "./checkpoints.ts";

/** What anybody could do to the past of a user, with chance in it. Returns how many rows that changed. */
type Tampering = (client: pg.ClientBase, user: string, dice: Dice) => Promise<number>;

const columns: Record<string, string> = {
  entry_type: "x.entry_type || 'x'",
  action_type: "upper(x.action_type)",
  tokens: "x.tokens + $3",
  balance_after: "x.balance_after - $3",
  debt_change: "x.debt_change + $3",
  reserved_change: "x.reserved_change - $3",
  grant_ids: "array_prepend(gen_random_uuid(), x.grant_ids)",
  grant_tokens: "x.grant_tokens || $3::bigint",
  reason: "coalesce(x.reason, '') || repeat(' ', $3::integer)",
  actor_role: "x.actor_role || '.'",
  actor_id: "case when x.actor_id is null then gen_random_uuid() end",
  idempotency_key: "coalesce(x.idempotency_key, '') || $3",
  request: `case when x.request is null then '{}' else x.request || jsonb_build_object('more', $3::bigint) end`,
  usage_id: "gen_random_uuid()",
  hold_id: "case when x.hold_id is null then gen_random_uuid() end",
  payment_id: "gen_random_uuid()",
  original_id: "coalesce(x.original_id, 0) + $3",
  member_id: "x.user_id",
  metadata: "x.metadata || jsonb_build_object('n', $3::bigint)",
  created_at: "x.created_at - $3 * interval '1 microsecond'",
};

const anyEntry = async (client: pg.ClientBase, user: string, dice: Dice): Promise<string> => {
  const { rows } = await client.query(
    "select id from public.token_transactions where user_id = $1 order by id",
    [user],
  );
  return dice.any(rows).id;
};

const count = async (result: Promise<pg.QueryResult>) => (await result).rowCount ?? 0;

const tamperings: Record<string, Tampering> = {
  ...Object.fromEntries(
    Object.entries(columns).map(([column, to]): [string, Tampering] => [
      `${column} changed`,
      async (client, user, dice) =>
        count(
          // the number takes part in each of them, or it would have no type
          client.query(
            `update public.token_transactions x set ${column} = case when $3::bigint > 0 then ${to.replaceAll("$3", "$3::bigint")} end
              where user_id = $1 and id = $2`,
            [user, await anyEntry(client, user, dice), 1 + dice.below(1_000)],
          ),
        ),
    ]),
  ),
  "two fields exchanged": async (client, user, dice) =>
    count(
      client.query(
        `update public.token_transactions set tokens = balance_after, balance_after = tokens
          where user_id = $1 and id = $2 and tokens <> balance_after`,
        [user, await anyEntry(client, user, dice)],
      ),
    ),
  "text moved from one field to the next": async (client, user, dice) =>
    count(
      client.query(
        `update public.token_transactions set entry_type = entry_type || left(action_type, 1), action_type = substr(action_type, 2)
          where user_id = $1 and id = $2`,
        [user, await anyEntry(client, user, dice)],
      ),
    ),
  "an entry removed": async (client, user, dice) =>
    count(
      client.query("delete from public.token_transactions where user_id = $1 and id = $2", [
        user,
        await anyEntry(client, user, dice),
      ]),
    ),
  "an entry removed and the rest numbered anew": async (client, user, dice) => {
    const id = await anyEntry(client, user, dice);
    const removed = await count(
      client.query("delete from public.token_transactions where user_id = $1 and id = $2", [user, id]),
    );
    await shift(client, user, id, -1);
    return removed;
  },
  "an entry put in twice and the rest numbered anew": async (client, user, dice) => {
    const id = await anyEntry(client, user, dice);
    // a second last one comes after what was there: it is an addition, and not of the past
    const { rowCount } = await client.query(
      "select from public.token_transactions where user_id = $1 and id > $2 limit 1",
      [user, id],
    );
    if (rowCount === 0) return 0;
    await shift(client, user, id, 1);
    return await count(
      client.query(
        `insert into public.token_transactions
         select (jsonb_populate_record(t, jsonb_build_object('id', t.id + 1))).*
           from public.token_transactions t where t.user_id = $1 and t.id = $2`,
        [user, id],
      ),
    );
  },
  "an entry put in before the first": async (client, user, dice) =>
    count(
      client.query(
        `insert into public.token_transactions
         select (jsonb_populate_record(t, jsonb_build_object('id', -$2::bigint))).*
           from public.token_transactions t where t.user_id = $1 order by t.id limit 1`,
        [user, dice.below(3)],
      ),
    ),
  "two entries swapped": async (client, user, dice) => {
    const { rows } = await client.query(
      "select a.id as a, b.id as b from public.token_transactions a join public.token_transactions b on b.user_id = a.user_id and b.id > a.id where a.user_id = $1 order by 1, 2",
      [user],
    );
    if (rows.length === 0) return 0;
    const { a, b } = dice.any(rows);
    for (const [from, to] of [
      [a, 5_000_000],
      [b, a],
      [5_000_000, b],
    ]) {
      await client.query("update public.token_transactions set id = $3 where user_id = $1 and id = $2", [
        user,
        from,
        to,
      ]);
    }
    return 2;
  },
  "an entry given to another user": async (client, user, dice) =>
    count(
      client.query(
        `update public.token_transactions set user_id = gen_random_uuid() where user_id = $1 and id = $2`,
        [user, await anyEntry(client, user, dice)],
      ),
    ),
  "the last entries cut off": async (client, user, dice) =>
    count(
      client.query("delete from public.token_transactions where user_id = $1 and id >= $2", [
        user,
        await anyEntry(client, user, dice),
      ]),
    ),
};

async function shift(client: pg.ClientBase, user: string, after: string, by: number): Promise<void> {
  await client.query(
    "update public.token_transactions set id = id + 1000000 where user_id = $1 and id > $2",
    [user, after],
  );
  await client.query(
    "update public.token_transactions set id = id - 1000000 + $2 where user_id = $1 and id > 1000000",
    [user, by],
  );
}

/** Tampers so often, and counts what was not found, and who was blamed for another. */
async function tryIt(db: Database, users: string[], times: number) {
  const dice = new Dice(seed);
  const mix: Record<string, number> = {};
  const unseen: string[] = [];
  const blamed: string[] = [];
  await tamper(db, async (client) => {
    const kept = await takeCheckpoint(client);
    const kinds = Object.keys(tamperings);
    for (let done = 0; done < times;) {
      const kind = kinds[done % kinds.length]!;
      const user = dice.any(users);
      await client.query("savepoint before");
      if ((await tamperings[kind]!(client, user, dice)) > 0) {
        // half of them also put right what the database has kept, as far as one can
        if (dice.chance(0.5)) {
          await client.query("delete from tokenbook.ledger_checkpoints where user_id = $1", [user]);
          await takeCheckpoint(client);
        }
        const found = await verifyCheckpoint(client, kept);
        if (!found.some((row) => row.user_id === user)) unseen.push(kind);
        blamed.push(
          ...found.filter((row) => users.includes(row.user_id!) && row.user_id !== user).map(() => kind),
        );
        mix[kind] = (mix[kind] ?? 0) + 1;
        done++;
      }
      await client.query("rollback to before");
    }
  });
  return { mix, unseen, blamed };
}

async function books(mutant?: string) {
  const { db, users } = await booksToCorrupt();
  await db.admin.query("update public.token_plans set is_default = false where is_default");
  const long = await createUser(db);
  await writeLongLedger(db, long, 250);
  if (mutant !== undefined) await applyMutant(db, mutant);
  return { db, users: [...users, long] };
}

test("whatever is done to the past is found, and nobody else is blamed", async () => {
  const { db, users } = await books();
  const times = 450;
  const { mix, unseen, blamed } = await tryIt(db, users, times);
  await db.drop();

  console.log(
    `tampered=${times} unseen=${unseen.length} others blamed=${blamed.length} seed=${seed} mix=${JSON.stringify(mix)}`,
  );
  expect(Object.keys(mix)).toHaveLength(Object.keys(tamperings).length);
  expect(unseen).toEqual([]);
  expect(blamed).toEqual([]);
}, 120_000);

test.each([
  "checkpoint-leaves-a-column-out",
  "checkpoint-links-stand-alone",
  "checkpoint-trusts-what-is-kept",
])(
  "the test sees it: %s",
  async (mutant) => {
    const { db, users } = await books(mutant);
    const { unseen } = await tryIt(db, users, 200);
    await db.drop();

    console.log(`control ${mutant}: unseen=${unseen.length} of 200, seed=${seed}`);
    expect(unseen.length).toBeGreaterThan(0);
  },
  120_000,
);
