// @module-tag proof
/**
 * The ledger by SQL: `npm run test:against -- postgres://…` runs it against any database with Tokenbook in it, a Citus
 * coordinator among them. Without one it runs against two of our own, the second with what distribute.sql changes of
 * the functions.
 */
import { exec } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grant } from "../support/books.ts";
import type { Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { connectAsServer, storm } from "../support/storm.ts";
import { namedDatabase, openTargets, type TargetDatabase } from "./database-target.ts";
import { callEveryFunction } from "./every-function.ts";

describe.each(openTargets)("$what", ({ open }) => {
  let db: TargetDatabase;
  const made: string[] = [];
  const newUser = async (tokens = 0) => {
    const user = await createUser(db);
    made.push(user);
    const given = await balanceOf(user); // by the default plan of whose database it is
    if (given > 0) await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: given });
    if (tokens > 0) await grant(db, user, tokens);
    return user;
  };
  const call = (name: string, args: Record<string, unknown>) =>
    asService(db, (client) => rpc(client, name, args));
  const balanceOf = async (user: string): Promise<number> =>
    (await call("get_user_token_balance", { p_user_id: user })).total_active;

  beforeAll(async () => {
    db = await open();
  });
  afterAll(() => db.drop());

  test("every public function answers, or refuses by name", async () => {
    const { answered, refused, failed } = await callEveryFunction(db);
    console.log(
      [
        `functions=${answered.length + refused.length + failed.length} answered=${answered.length} refused=${refused.length} failed=${failed.length}`,
        ...refused,
        ...failed,
      ].join("\n"),
    );
    expect(failed).toEqual([]);
    expect(answered.length).toBeGreaterThan(90);
  });

  test("3,000 attempts on 1,000 tokens from 32 connections spend exactly 1,000", async () => {
    const user = await newUser(1_000);
    const { mix } = await storm(db, { connections: 32, attempts: 3_000, run: spendOne(user) });
    console.log(`attempts=3000 ${JSON.stringify(mix)} left=${await balanceOf(user)}`);
    expect(mix).toEqual({ spent: 1_000, short: 2_000 });
    expect(await balanceOf(user)).toBe(0);
  });

  test("a team on several nodes spends exactly what its payer has", async () => {
    const payer = await newUser(500);
    const member = await userOnAnotherNode(payer);
    await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
    const { mix } = await storm(db, {
      connections: 32,
      attempts: 1_200,
      run: (client, nth) => spendOne(nth % 2 === 0 ? payer : member)(client),
    });
    console.log(
      `team: nodes=${[await nodeOf(payer), await nodeOf(member)].join(" ")} attempts=1200 ${JSON.stringify(mix)}`,
    );
    expect(mix).toEqual({ spent: 500, short: 700 });
    expect(await balanceOf(payer)).toBe(0);
  });

  test("a call whose connection ended is made again with its key, and has one effect", async () => {
    const users = await Promise.all(Array.from({ length: 16 }, () => newUser(1_000)));
    const keys = 240;
    const mix: Record<string, number> = {};
    const failures: Record<string, number> = {};
    const count = (counts: Record<string, number>, what: string) => (counts[what] = (counts[what] ?? 0) + 1);
    const waiting = Array.from({ length: 2 * keys }, (_, nth) => nth);
    let interrupted: Promise<string> | undefined;

    /** One connection after the other: a call that failed is made again on the next one. */
    async function lane(): Promise<void> {
      let client: pg.Client | undefined;
      for (let nth = waiting.shift(); nth !== undefined; nth = waiting.shift()) {
        if (waiting.length === keys) interrupted = interrupt();
        const values = [users[nth % users.length], 1 + ((nth % keys) % 7), `key-${nth % keys}`];
        for (let times = 1; ; times++) {
          try {
            client ??= await connectAsServer(db);
            const { rows } = await client.query(deduct, values);
            count(mix, rows[0].value.replayed ? "replayed" : "spent");
            break;
          } catch (error) {
            count(failures, (error as { code?: string }).code ?? "connection lost");
            await client?.end().catch(() => {});
            client = undefined;
            if (times > 100) throw error;
            await sleep(100);
          }
        }
      }
      await client?.end();
    }
    const deduct =
      "select public.deduct_tokens_with_fifo(p_user_id => $1, p_tokens_to_deduct => $2, p_idempotency_key => $3) as value";
    await Promise.all(Array.from({ length: 16 }, lane));
    const how = await interrupted;
    const { rows } = await db.admin.query(
      `select count(*)::int as entries, sum(-tokens)::int as tokens
         from public.token_transactions where user_id = any ($1) and entry_type = 'deduction'`,
      [users],
    );
    const expected = Array.from({ length: keys }, (_, nth) => 1 + (nth % 7)).reduce((a, b) => a + b);
    console.log(
      `${how}: calls=${2 * keys} keys=${keys} ${JSON.stringify(mix)} failed and made again=${JSON.stringify(failures)} effects=${rows[0].entries}`,
    );
    expect(rows[0]).toEqual({ entries: keys, tokens: expected });
    if (db.isForeign) {
      await db.drop(); // connections from before fail once more
      db = await open();
    }
    expect(failures).not.toEqual({});
    expect(mix["spent"]! + mix["replayed"]!).toBe(2 * keys);
    expect(mix["spent"]).toBeLessThanOrEqual(keys); // more: what was said to be spent was lost
  });

  test("a batch, the sweeper and a checkpoint work on many users at once", async () => {
    const users = await Promise.all(Array.from({ length: 20 }, () => newUser(10)));
    const batch = await call("deduct_tokens_batch", {
      p_items: users.flatMap((user, nth) => [
        { user_id: user, tokens: 3, idempotency_key: `batch-${nth}` },
        { user_id: user, tokens: 20, idempotency_key: `short-${nth}` },
      ]),
    });
    expect(batch).toMatchObject({ deducted: 20, replayed: 0, short: 20, failed: 0 });
    await Promise.all(users.slice(0, 10).map((user) => grant(db, user, 5, { expires_in: "4 seconds" })));
    await sleep(4_500);
    let booked = 0;
    for (let portion = 1; portion > 0; booked += portion)
      portion = Number(await call("expire_old_token_grants", { p_max_accounts: 7 }));
    const left = await Promise.all(users.map(balanceOf));
    const checkpoint = await call("checkpoint_token_ledger", { p_user_id: users[0] });
    expect(checkpoint).toMatchObject({ users: 1, next: null });
    const { rows: wrong } = await asService(db, (client) =>
      client.query("select * from public.verify_token_checkpoint($1)", [JSON.stringify(checkpoint.lines)]),
    );
    console.log(`batch: items=40 deducted=${batch.deducted}; swept=${booked}; left=${left.join(" ")}`);
    expect(wrong).toEqual([]);
    expect(booked).toBeGreaterThanOrEqual(10);
    expect(left.every((tokens) => tokens === 7)).toBe(true);
  });

  test("what was sold is counted, and taken back", async () => {
    const user = await createUser(db);
    made.push(user);
    await grant(db, user, 100, { cost: 1_000 });
    await call("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 40 });
    let report: { as_of: string | null } = { as_of: null };
    for (let nth = 0; nth < 20 && report.as_of === null; nth++) report = await call("get_token_revenue", {});
    const { rows } = await db.admin.query(
      "select sold_cents::int, recognised_cents::int, tokens_used::int from tokenbook.sales where user_id = $1",
      [user],
    );
    console.log(`revenue: ${JSON.stringify(rows[0])}`);
    expect(rows).toEqual([{ sold_cents: 1_000, recognised_cents: 400, tokens_used: 40 }]);
  });

  test("the books are right: of every user that was made here, and asked for all at once", async () => {
    const { rows } = await db.admin.query("select * from public.verify_token_ledger()"); // as long as it takes
    const ours = rows.filter(({ user_id: user }) => made.includes(user as string));
    console.log(
      `verify: users=${made.length} breaches=${ours.length} of others=${rows.length - ours.length}`,
    );
    expect(ours).toEqual([]);
    for (const user of made.slice(0, 5)) {
      const { rows: breaches } = await asService(db, (client) =>
        client.query("select * from public.verify_token_ledger($1)", [user]),
      );
      expect(breaches).toEqual([]);
    }
  });

  test("verifying finds an account that says too much, and a member whose account knows no payer", async () => {
    const [rich, payer, member] = [await createUser(db), await createUser(db), await createUser(db)];
    for (const user of [rich, payer]) await grant(db, user, 10);
    await call("add_token_team_member", { p_user_id: payer, p_member_id: member });
    const found = async (user: string) =>
      (
        await asService(db, (client) =>
          client.query("select invariant from public.verify_token_ledger($1)", [user]),
        )
      ).rows.map((row) => row.invariant as string);
    expect([...(await found(rich)), ...(await found(payer))]).toEqual([]);
    const change = (sql: string, user: string) => db.admin.query(sql, [user]);
    await change(
      "update public.token_accounts set tokens_remaining = tokens_remaining + 1 where user_id = $1",
      rich,
    );
    await change("update public.token_accounts set payer_id = null where user_id = $1", member);
    const breaches = [await found(rich), await found(payer)];
    await change(
      "update public.token_accounts set tokens_remaining = tokens_remaining - 1 where user_id = $1",
      rich,
    );
    await db.admin.query("update public.token_accounts set payer_id = $2 where user_id = $1", [
      member,
      payer,
    ]);
    expect(
      breaches[0]!.some((it) => it.startsWith("I2")) && breaches[0]!.some((it) => it.startsWith("I3")),
    ).toBe(true);
    expect(breaches[1]).toEqual(["I3 a member has one payer"]);
  });

  /** The node that a user is on; of one machine there is one. */
  async function nodeOf(user: string): Promise<string> {
    if (!db.isDistributed) return "one";
    const { rows } = await db.admin.query(
      `select p.nodeport::text as node from pg_dist_shard_placement p
        where p.shardid = get_shard_id_for_distribution_column('public.token_accounts', $1::uuid)`,
      [user],
    );
    return rows[0].node as string;
  }

  async function userOnAnotherNode(other: string): Promise<string> {
    for (let nth = 0; nth < 50; nth++) {
      const user = await newUser();
      if (!db.isDistributed || (await nodeOf(user)) !== (await nodeOf(other))) return user;
    }
    throw new Error("50 users are on one node");
  }

  /** Ends every connection of this database, or what INTERRUPT says: a worker that is killed and comes back. */
  async function interrupt(): Promise<string> {
    const command = process.env["INTERRUPT"];
    if (db.isForeign && command) {
      await promisify(exec)(command);
      return command;
    }
    await db.admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and usename in (current_user, 'authenticator')",
    );
    return "connections ended";
  }
});

const spendOne =
  (user: string) =>
  async (client: {
    query: (sql: string, values: unknown[]) => Promise<{ rows: { value: { success: boolean } }[] }>;
  }) => {
    const { rows } = await client.query(
      "select public.deduct_tokens_with_fifo(p_user_id => $1, p_tokens_to_deduct => 1) as value",
      [user],
    );
    return rows[0]!.value.success ? "spent" : "short";
  };

test.skipIf(namedDatabase() !== undefined)(
  "the trial sees a deduction that reads before it writes",
  async () => {
    const db: Database = await openTargets[0]!.open();
    await applyMutant(db, "deduct-reads-then-writes");
    const user = await createUser(db);
    await grant(db, user, 100);
    const { mix } = await storm(db, { connections: 32, attempts: 1_000, run: spendOne(user) });
    await db.drop();
    console.log(`reads, then writes: ${JSON.stringify(mix)} of 100`);
    expect(mix["spent"]).toBeGreaterThan(100);
  },
);
