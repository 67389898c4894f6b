// @module-tag proof
/** A read replica that answers while its primary is written to. */
import { setTimeout as sleep } from "node:timers/promises";
import { superuser } from "local-platform/postgres/server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyInPieces } from "../../packages/tokenbook/src/data/verification.ts";
import { type Database } from "../support/database.ts";
import { seed } from "../support/dice.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { type Replicated, startReplicated } from "../support/standby.ts";
import { connectAsOwner, connectAsServer } from "../support/storm.ts";
import { isRefusal, send, Workload } from "../support/workload.ts";

let both: Replicated;
beforeAll(async () => {
  both = await startReplicated();
});
afterAll(() => both.close());

interface Figures {
  /** Answers of the primary. */
  written: number;
  balances: number;
  /** Balances that no entry of the user's ledger left behind, or older ones than had been told. */
  untrue: string[];
  verified: number;
  /** What verify said of users. */
  alarms: string[];
  /** How long after its commit the replica had an entry, in milliseconds. */
  lags: number[];
}

/**
 * Eight connections write to the primary for so long; meanwhile balances and verify are asked of the replica.
 *
 * @param isEnough ends it earlier
 */
async function underLoad(
  { primary, standby }: Replicated,
  ms: number,
  series: number,
  isEnough: (found: Figures) => boolean = () => false,
): Promise<Figures> {
  const users = await Promise.all(Array.from({ length: 12 }, () => createUser(primary)));
  const work = new Workload(users, `work-${series}`, series);
  const found: Figures = { written: 0, balances: 0, untrue: [], verified: 0, alarms: [], lags: [] };
  const first = await connectAsServer(primary);
  for (const attempt of work.first()) work.learn(attempt, await send(first, attempt));
  await first.end();
  await both.caughtUp();

  const until = Date.now() + ms;
  const goesOn = () => Date.now() < until && !isEnough(found);
  const write = async () => {
    const client = await connectAsServer(primary);
    while (goesOn()) {
      const attempt = work.next();
      try {
        work.learn(attempt, await send(client, attempt));
      } catch (error) {
        if (!isRefusal(error)) throw error;
      }
      found.written++;
    }
    await client.end();
  };
  const told: { user: string; active: number; reserved: number }[] = [];
  const read = async () => {
    const client = await connectAsServer(standby);
    while (goesOn()) {
      const user = users[found.balances++ % users.length]!;
      const { rows } = await client.query("select public.get_user_token_balance($1) as balance", [user]);
      const {
        total_active: active,
        total_reserved: reserved,
        grants,
        has_more_grants: hasMore,
      } = rows[0].balance;
      told.push({ user, active, reserved });
      const listed = (grants as { tokens_remaining: number }[]).reduce(
        (sum, it) => sum + it.tokens_remaining,
        0,
      );
      if (!hasMore && listed !== active) found.untrue.push(`${user}: ${active}, and its grants ${listed}`);
    }
    await client.end();
  };
  const verify = async () => {
    const client = await connectAsOwner(standby);
    while (goesOn()) {
      for await (const { users: many, breaches } of verifyInPieces(client, null, 2_000)) {
        found.verified += many;
        found.alarms.push(...breaches.map((breach) => JSON.stringify(breach)));
      }
    }
    await client.end();
  };
  await Promise.all([
    ...Array.from({ length: 8 }, write),
    read(),
    read(),
    verify(),
    lagsWhile(goesOn, found.lags),
  ]);
  found.untrue.push(...(await neverTrue(primary, told)));
  return found;
}

/** How long after their commit entries are on the replica: in milliseconds, as a client sees it. */
async function lagsWhile(goesOn: (nth: number) => boolean, lags: number[]): Promise<void> {
  const [there, here] = [await connectAsServer(both.primary), await connectAsServer(both.standby)];
  const user = await createUser(both.primary);
  for (let nth = 0; goesOn(nth); nth++) {
    const { rows } = await there.query("select public.grant_tokens($1, 1, 'purchase') as receipt", [user]);
    const began = performance.now();
    await seen(here, user, rows[0].receipt.transaction_id);
    lags.push(performance.now() - began);
    await sleep(20);
  }
  await Promise.all([there.end(), here.end()]);
}

/** Waits as the guide says: until the account has come to that number. */
async function seen(here: Awaited<ReturnType<typeof connectAsServer>>, user: string, transaction: number) {
  for (;;) {
    const { rows } = await here.query(
      "select from public.token_accounts where user_id = $1 and last_transaction_id >= $2",
      [user, transaction],
    );
    if (rows.length === 1) return;
  }
}

/** What was told of a user that none of their entries left behind. */
async function neverTrue(
  primary: Database,
  told: readonly { user: string; active: number; reserved: number }[],
): Promise<string[]> {
  const { rows } = await primary.admin.query<{ user_id: string; active: number; reserved: number }>(
    `select t.user_id, t.balance_after::int as active,
            sum(t.reserved_change) over (partition by t.user_id order by t.id)::int as reserved
       from public.token_transactions t`,
  );
  const once = new Set(rows.map(({ user_id, active, reserved }) => `${user_id} ${active} ${reserved}`));
  return told
    .map(({ user, active, reserved }) => `${user} ${active} ${reserved}`)
    .filter((one) => !once.has(one));
}

const percentile = (all: readonly number[], part: number) =>
  all.toSorted((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * part))]!.toFixed(1);

test("while eight connections write to the primary, no balance of a replica was never true, and verify raises no false alarm", async () => {
  const idle: number[] = [];
  await lagsWhile((nth) => nth < 30, idle);
  const { written, balances, untrue, verified, alarms, lags } = await underLoad(both, 5_000, 1);

  console.log(
    `seed=${seed} written=${written} balances=${balances} never true=${untrue.length} users verified=${verified} false alarms=${alarms.length}; ` +
      `an entry was on the replica after ms: idle p50=${percentile(idle, 0.5)} most=${percentile(idle, 1)}, under load p50=${percentile(lags, 0.5)} most=${percentile(lags, 1)}`,
  );
  expect(untrue).toEqual([]);
  expect(alarms).toEqual([]);
  expect(balances).toBeGreaterThan(50);
  expect(verified).toBeGreaterThan(12);
});

test("the trial sees a balance that is read in two moments, and verify a breach that has come to the replica", async () => {
  await both.primary.admin.query(
    "update public.token_accounts set tokens_used = tokens_used + 1 where user_id = (select min(user_id::text)::uuid from public.token_accounts)",
  );
  await applyMutant(both.primary, "balance-read-in-two-moments");
  // the grants are chosen by that function where they are not in the order in which they are stored
  await both.primary.admin.query("select public.set_token_burn_order('expiring_first')");
  await both.caughtUp();
  const { balances, untrue, alarms } = await underLoad(
    both,
    20_000,
    2,
    (found) => found.untrue.length > 0 && found.alarms.length > 0,
  );

  console.log(
    `read in two moments: balances=${balances} never true=${untrue.length}; a breach: alarms=${alarms.length}`,
  );
  expect(untrue.length).toBeGreaterThan(0);
  expect(alarms.length).toBeGreaterThan(0);
});

/** Reads for long on a replica whose primary cleans up meanwhile; what is said of it. */
async function readForLong(feedback: "on" | "off"): Promise<string> {
  const admin = await connectAsOwner(both.standby, superuser);
  for (const [name, value] of [
    ["hot_standby_feedback", feedback],
    ["max_standby_streaming_delay", "100ms"],
    ["wal_receiver_status_interval", "1s"],
  ])
    await admin.query(`alter system set ${name} = '${value}'`);
  await admin.query("select pg_reload_conf()");
  const reader = await connectAsOwner(both.standby);
  let ended: string | undefined; // a transaction that waits for its client is not cancelled, but ended
  reader.on("error", (error: { code?: string } & Error) => void (ended ??= error.code));
  try {
    await reader.query("begin isolation level repeatable read");
    await reader.query("select count(*) from public.token_accounts");
    await sleep(1_500); // the primary is told what is still read
    await both.primary.admin.query("update public.token_accounts set tokens_used = tokens_used where true");
    await both.primary.admin.query("vacuum public.token_accounts");
    await both.caughtUp();
    await sleep(300);
    await reader.query("select count(*) from public.token_accounts");
    return "answered";
  } catch (error) {
    return ended ?? (error as { code: string }).code;
  } finally {
    await Promise.all([reader.end(), admin.end()]);
  }
}

test("a long read is cancelled with 40001 where the primary cleans up, and is not with hot_standby_feedback", async () => {
  const found = { off: await readForLong("off"), on: await readForLong("on") };
  console.log(`without feedback: ${found.off}; with it: ${found.on}`);
  expect(found).toEqual({ off: "40001", on: "answered" });
});
