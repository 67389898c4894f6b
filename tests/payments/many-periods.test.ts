/** A user of many paid periods: what their calls read with thirty of them and with five times as many. */
import { expect, test } from "vitest";
import { withPaidPeriods } from "../support/accumulated.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

const paid = (user: string, start: string) =>
  `select public.record_token_payment_event('stripe', 'evt.' || gen_random_uuid(), 'paid', 'pi.' || gen_random_uuid(),
     jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', '${user}', 'customer_id', 'cus.${user}', 'plan_type', 'starter',
       'amount_cents', 900, 'currency', 'usd', 'subscription_id', 'sub.${user}', 'may_be_fee', true, 'period_start', ${start}))`;

/** The calls, in the order in which they are made. */
const calls = (user: string): Record<string, string> => ({
  deduct: `select public.deduct_tokens_with_fifo('${user}', 1)`,
  balance: `select public.get_user_token_balance('${user}')`,
  "a renewal": paid(user, "now() - interval '1 hour'"),
  "a payment of long ago": paid(user, "now() - interval '2 years'"),
  "the subscription is cancelled": `select public.record_token_subscription_event('stripe', 'evt.' || gen_random_uuid(), 'gone', 'sub.${user}',
     jsonb_build_object('kind', 'subscription', 'occurred_at', now(), 'status', 'cancelled', 'user_id', '${user}', 'plan_type', 'starter'))`,
});

/** The rows that each call reads, for a user of so many periods; then the lapse. */
async function rowsWith(count: number, mutant?: string): Promise<Record<string, number>> {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const user = await withPaidPeriods(db, count, { over: true });
  await pay(db, user, 0); // and one that runs
  // who has spent them: what is open is told one by one
  await db.admin.query(
    "select public.deduct_tokens_with_fifo($1, tokens_remaining - 100) from public.token_accounts where user_id = $1",
    [user],
  );
  await db.admin.query("vacuum (analyze)");
  const rowsOf: Record<string, number> = {};
  const client = await db.admin.connect();
  // as in tables that have others' rows as well: nothing is read whole
  await client.query("set enable_seqscan = off; set enable_mergejoin = off; set enable_hashjoin = off");
  const counted = async (): Promise<number> => {
    const { rows } = await client.query(
      `select sum(seq_tup_read + idx_tup_fetch)::int as count from pg_stat_xact_user_tables
        where schemaname in ('tokenbook', 'public')`,
    );
    return rows[0].count as number;
  };
  const read = async (sql: string): Promise<number> => {
    await client.query("begin");
    const before = await counted();
    await client.query(sql);
    const since = (await counted()) - before;
    await client.query("commit");
    return since;
  };
  const nobody = await createUser(db);
  for (const sql of Object.values(calls(nobody))) await read(sql); // plans are made
  for (const [call, sql] of Object.entries(calls(user))) rowsOf[call] = await read(sql);
  await letTimePass(db, user, 40);
  await db.admin.query("vacuum (analyze)");
  rowsOf["the lapse"] = await read(calls(user)["deduct"]!);
  client.release();
  await db.drop();
  return rowsOf;
}

/** Calls that read more than half as many rows again, in the second of two. */
function grown(what: string, [before, after]: [Record<string, number>, Record<string, number>]): string[] {
  const figures = Object.keys(before).map((call) => `${call}: ${before[call]} and ${after[call]}`);
  console.log(`${what}: ${figures.join(", ")}`);
  return Object.keys(before).filter((call) => after[call]! > 1.5 * before[call]!);
}

/** As it is, with many; asked for once. */
let many: Promise<Record<string, number>> | undefined;
const withMany = () => (many ??= rowsWith(150));

test(
  "no call reads more rows for five times as many that are over",
  { tags: ["proof"], timeout: 300_000 },
  async () => {
    const rows: Parameters<typeof grown>[1] = [await rowsWith(30), await withMany()];
    expect(grown("rows read with 30 and with 150 paid periods", rows)).toEqual([]);
  },
);

test.each([
  ["payments-looked-up-as-text", "the subscription is cancelled"],
  ["slots-looked-up-in-the-ledger", "a renewal"],
])("the test sees it: %s", { tags: ["proof"], timeout: 300_000 }, async (mutant, call) => {
  expect(grown(`as it is, and ${mutant}`, [await withMany(), await rowsWith(150, mutant)])).toContain(call);
});

/** One payment more than may run at once. */
async function pay(db: Database, user: string, nth: number) {
  return asService(db, (client) =>
    rpc(client, "record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: `evt_${nth}`,
      p_event_type: "paid",
      p_provider_payment_id: `pi_${nth}`,
      p_facts: {
        kind: "paid",
        occurred_at: new Date().toISOString(),
        user_id: user,
        plan_type: "starter",
        amount_cents: 900,
        currency: "usd",
        period_start: new Date(Date.now() - 3_600_000).toISOString(),
      },
    }),
  );
}

test(
  "a hundred paid periods may run beside the one in force; what comes then is refused, until they are over",
  { timeout: 60_000 },
  async () => {
    const db = await createDatabase();
    const user = await withPaidPeriods(db, 101, { over: false });

    await expect(pay(db, user, 1)).rejects.toMatchObject({ message: "too_many_plans" });
    await letTimePass(db, user, 40);

    expect(await pay(db, user, 1)).toMatchObject({ status: "approved" });
    await db.drop();
  },
);

test("the test sees it: plans-beside-without-a-bound", { tags: ["proof"], timeout: 60_000 }, async () => {
  const db = await createDatabase();
  await applyMutant(db, "plans-beside-without-a-bound");
  const user = await withPaidPeriods(db, 101, { over: false });

  expect(await pay(db, user, 1)).toMatchObject({ status: "approved" });
  await db.drop();
});
