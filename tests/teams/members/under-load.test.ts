// @module-tag proof
import pg from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { diceFor, seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { connectAsServer, storm } from "../../support/storm.ts";

async function expectRightBooks(db: Database) {
  await expectCleanBooks(db);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
}

test("five members at once: none beyond their cap, the pool never overspent", async () => {
  const db = await createDatabase();
  const payer = await createUser(db);
  await grant(db, payer, 330);
  const members = await Promise.all(Array.from({ length: 5 }, () => createUser(db)));
  for (const [nth, member] of members.entries())
    await db.admin.query("select public.add_token_team_member($1, $2, $3)", [
      payer,
      member,
      nth === 0 ? 20 : 100,
    ]);

  const { mix } = await storm(db, {
    connections: 40,
    attempts: 1_000,
    run: async (client, attempt) => {
      const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 1) as r", [
        members[attempt % 5],
      ]);
      return rows[0].r.success ? "spent" : rows[0].r.capped_by ? "capped" : "short";
    },
  });

  const { rows } = await db.admin.query(
    "select min(tokens_used)::int as least, max(tokens_used)::int as most, sum(tokens_used)::int as all from public.token_team_members",
  );
  console.log(
    `pool=330 spent=${rows[0].all} of one=${rows[0].least} of 20 of another=${rows[0].most} of 100 mix=${JSON.stringify(mix)}`,
  );
  expect(mix["spent"]).toBe(330);
  expect(rows[0].all).toBe(330);
  expect(rows[0].least).toBe(20);
  expect(rows[0].most).toBeLessThanOrEqual(100);
  await expectRightBooks(db);
  await db.drop();
});

/** Members join and leave while each of their requests comes five times; how many have two effects? */
async function comeAndGo(db: Database) {
  // accounts are locked in the order of their ids: the payer's first, where a member's could be kept
  const users = (await Promise.all(Array.from({ length: 4 }, () => createUser(db)))).sort();
  for (const user of users) await grant(db, user, 100_000);
  const [payer, ...members] = users;
  const { mix } = await storm(db, {
    connections: 40,
    attempts: 1_500,
    endsAt: /^error 40P01/,
    run: async (client, attempt) => {
      const member = members[attempt % 3];
      const dice = diceFor(attempt);
      if (dice.chance(0.2)) {
        const change = dice.chance(0.5) ? "add_token_team_member" : "remove_token_team_member";
        return client
          .query(`select public.${change}($1, $2)`, [payer, member])
          .then(() => change)
          .catch((error: { message: string }) => {
            if (error.message !== "member_not_found") throw error;
            return "was not in it";
          });
      }
      const key = `k${Math.floor(attempt / 15)}`;
      const sql =
        attempt % 4 === 0
          ? "select public.deduct_tokens_batch(jsonb_build_array(jsonb_build_object('user_id', $1::uuid, 'tokens', 1, 'idempotency_key', $2::text))) -> 'results' -> 0 as r"
          : "select public.deduct_tokens_with_fifo($1, 1, 'deduction', $2) as r";
      const { rows } = await client.query(sql, [member, key]);
      return rows[0].r.replayed ? "replayed" : rows[0].r.success ? "spent" : "short";
    },
  });
  const { rows } = await db.admin.query(
    `select count(*)::int as doubled from (
       select 1 from public.token_transactions where idempotency_key is not null
        group by coalesce(member_id, user_id), idempotency_key having count(*) > 1) d`,
  );
  return { mix, doubled: rows[0].doubled as number };
}

test("a member who joins and leaves under traffic has each key's effect once, and there is no deadlock", async () => {
  const db = await createDatabase();

  const { mix, doubled } = await comeAndGo(db);

  console.log(`keys with two effects=${doubled} seed=${seed} mix=${JSON.stringify(mix)}`);
  expect(doubled).toBe(0);
  const { spent, replayed, add_token_team_member: joined, remove_token_team_member: left, ...rest } = mix;
  expect(Math.min(spent!, replayed!, joined!, left!)).toBeGreaterThan(0);
  expect(Object.keys(rest).filter((it) => !["was not in it", "error PT503 busy"].includes(it))).toEqual([]);
  const { rows } = await db.admin.query(
    "select sum(tokens_remaining)::int as left, -sum(t.spent)::int as spent from public.token_accounts a left join (select user_id, sum(tokens)::int as spent from public.token_transactions where entry_type = 'deduction' group by user_id) t using (user_id)",
  );
  expect(rows[0].left + rows[0].spent).toBe(400_000);
  await expectRightBooks(db);
  await db.drop();
});

const ways = {
  deduct_tokens_with_fifo: "select public.deduct_tokens_with_fifo($1, 10)",
  track_token_usage: "select public.track_token_usage($1, 'chat', p_tokens_used => 10)",
};

/** Starts a call on that connection and returns when it waits for a lock, with what will come of it. */
async function waitingCall(db: Database, client: pg.Client, sql: string, values: unknown[]) {
  const { rows: backend } = await client.query("select pg_backend_pid() as pid");
  const outcome = client.query(sql, values).then(
    () => "done",
    (error: { message: string }) => error.message,
  );
  const untilWaiting = async () => {
    for (;;) {
      const { rows } = await db.admin.query("select cardinality(pg_blocking_pids($1)) > 0 as waits", [
        backend[0].pid,
      ]);
      // a call that never waits is over
      if (rows[0].waits || (await Promise.race([outcome, sleep(10)])) !== undefined) return;
    }
  };
  await untilWaiting();
  return { outcome, untilWaiting };
}

/** A member joins when a spending of theirs has read their account and not locked it, and leaves when it has: outcomes. */
async function joinAndLeaveAcross(db: Database) {
  // accounts are locked in the order of their ids: a payer's first, where the spending holds its member's
  const [payer, member] = [await createUser(db), await createUser(db)].sort();
  for (const user of [payer, member]) await grant(db, user!, 100);
  await applyMutant(db, "spending-waits-twice");
  const connections = await Promise.all(Array.from({ length: 3 }, () => connectAsServer(db)));
  const [spending, joining, leaving] = connections as [pg.Client, pg.Client, pg.Client];
  const holding = await db.admin.connect();
  await holding.query("select pg_advisory_lock(1), pg_advisory_lock(2)");
  const spent = await waitingCall(db, spending, ways.deduct_tokens_with_fifo, [member]);
  const join = "select public.add_token_team_member($1, $2)";
  const joined = await waitingCall(db, joining, join, [payer, member]);
  await holding.query("select pg_advisory_unlock(1)");
  await spent.untilWaiting();
  const leave = "select public.remove_token_team_member($1, $2)";
  const left = await waitingCall(db, leaving, leave, [payer, member]);
  await holding.query("select pg_advisory_unlock(2)");
  const outcomes = await Promise.all([spent, joined, left].map(({ outcome }) => outcome));
  holding.release();
  await Promise.all(connections.map((client) => client.end()));
  return outcomes;
}

test.each([
  ["", 0],
  ["joining-without-the-queue", 1],
])(
  "a member who joins and leaves while they spend causes no deadlock (variant %s: %i)",
  async (mutant, deadlocks) => {
    const db = await createDatabase();
    if (mutant !== "") await applyMutant(db, mutant);

    const outcomes = await joinAndLeaveAcross(db);

    expect(outcomes.toSorted()).toEqual([
      ...Array(deadlocks).fill("deadlock detected"),
      ...Array(3 - deadlocks).fill("done"),
    ]);
    await db.drop();
  },
);

/** Something is spent, waits for the account, and goes on when its user has joined or left. */
async function spendAcross(
  db: Database,
  change: "add_token_team_member" | "remove_token_team_member",
  { way = "track_token_usage", hasWritten = false }: { way?: keyof typeof ways; hasWritten?: boolean },
) {
  const [payer, member] = [await createUser(db), await createUser(db)];
  await grant(db, payer, 100);
  await grant(db, member, 100);
  if (change === "remove_token_team_member")
    await db.admin.query("select public.add_token_team_member($1, $2)", [payer, member]);
  const changer = new pg.Client({ connectionString: db.url() });
  await changer.connect();
  await changer.query("begin");
  await changer.query(`select public.${change}($1, $2)`, [payer, member]);
  const spender = new pg.Client({ connectionString: db.url() });
  await spender.connect();
  await spender.query("begin");
  if (hasWritten) await spender.query("select pg_current_xact_id()");
  const spending = await waitingCall(db, spender, ways[way], [member]);
  await changer.query("commit");
  await changer.end();
  const outcome = await spending.outcome;
  await spender.query("commit");
  await spender.end();
  const { rows } = await db.admin.query(
    "select tokens_remaining::int as left from public.token_accounts where user_id in ($1, $2) order by user_id = $1",
    [payer, member],
  );
  return { outcome, left: rows.map((row) => row.left as number) };
}

describe("what waited across a change", () => {
  let db: Database;
  beforeAll(async () => {
    db = await createDatabase();
  });
  afterAll(async () => {
    await expectRightBooks(db);
    await db.drop();
  });

  test.each(["add_token_team_member", "remove_token_team_member"] as const)(
    "a transaction that had written before, and waited across %s, is asked to come again, and spends from neither account",
    async (change) => {
      for (const way of Object.keys(ways) as (keyof typeof ways)[])
        expect(await spendAcross(db, change, { way, hasWritten: true }), way).toEqual({
          outcome: "busy",
          left: [100, 100],
        });
    },
  );

  test.each([
    ["add_token_team_member", [100, 90]],
    ["remove_token_team_member", [90, 100]],
  ] as const)(
    "a call that waited across %s spends from the member's present account",
    async (change, left) => {
      for (const way of Object.keys(ways) as (keyof typeof ways)[])
        expect(await spendAcross(db, change, { way }), way).toEqual({ outcome: "done", left });
    },
  );
});

test("the test sees it: asking once who pays spends from the wrong account", async () => {
  const db = await createDatabase();
  await applyMutant(db, "membership-looked-at-once");

  expect(await spendAcross(db, "add_token_team_member", { hasWritten: true })).toEqual({
    outcome: "done",
    left: [90, 100],
  });
  expect(await spendAcross(db, "remove_token_team_member", { hasWritten: true })).toEqual({
    outcome: "done",
    left: [100, 90],
  });
  await db.drop();
});
