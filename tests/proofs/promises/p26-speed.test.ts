// @module-tag proof
import { setTimeout as sleep } from "node:timers/promises";
import { createDatabase, type Database } from "../../support/database.ts";
import { Latencies } from "../../support/latency.ts";
import { applyMutant } from "../../support/mutants.ts";
import { storm } from "../../support/storm.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P26",
  promise: "A deduction and a balance take milliseconds, however many grants a user has",
  trial:
    "Users with 1,000 open grants and 1,000 spent ones each, among many with one: 4 connections deduct and ask for balances. A deduction reads no more than 20 rows of grants on average; 95 % of the deductions take at most 50 ms, of the balances 100 ms",
  run: (scale) =>
    scale === "long"
      ? tryIt({ rich: 300, poor: 100_000, calls: 20_000, mutant: null })
      : tryIt({ rich: 20, poor: 2_000, calls: 1_000, mutant: null }),
  control: {
    variant: "the partial indexes of open grants are missing",
    run: () => tryIt({ rich: 20, poor: 2_000, calls: 300, mutant: "no-index-of-open-grants" }),
  },
});

interface Size {
  /** Users with 2,000 grants each. */
  rich: number;
  /** Users with one. */
  poor: number;
  calls: number;
  mutant: string | null;
}

async function tryIt({ rich, poor, calls, mutant }: Size): Promise<Tried> {
  const db = await createDatabase();
  try {
    const users = await fill(db, rich, poor);
    if (mutant !== null) await applyMutant(db, mutant);
    await db.admin.query("vacuum analyze public.token_balances, public.token_accounts");

    const [deductions, balances] = [new Latencies(), new Latencies()];
    const began = performance.now();
    const before = await rowsRead(db);
    const spent = await storm(db, {
      connections: 4,
      attempts: calls,
      run: async (client, nth) => {
        const { rows } = await deductions.of(() =>
          client.query("select public.deduct_tokens_with_fifo($1, $2) as receipt", [
            users[nth % users.length],
            1 + (nth % 30),
          ]),
        );
        return rows[0].receipt.success ? "deducted" : "short";
      },
    });
    const perDeduction = ((await rowsRead(db)) - before) / calls;
    const perSecond = Math.round((calls * 1_000) / (performance.now() - began));
    const looked = await storm(db, {
      connections: 4,
      attempts: calls / 2,
      run: async (client, nth) => {
        await balances.of(() =>
          client.query("select public.get_user_token_balance($1)", [users[nth % users.length]]),
        );
        return "balance";
      },
    });

    const mix = { ...spent.mix, ...looked.mix };
    const wrong = [
      ...(perDeduction > 20 ? [`a deduction reads ${Math.round(perDeduction)} rows of grants`] : []),
      ...(deductions.at(0.95) > 50 ? [`deductions: ${deductions}`] : []),
      ...(balances.at(0.95) > 100 ? [`balances: ${balances}`] : []),
      ...Object.keys(mix).filter((outcome) => outcome.startsWith("error") || outcome === "short"),
    ];
    console.log(
      `P26 ${(rich * 2_000 + poor).toLocaleString("en")} grants${mutant === null ? "" : `, ${mutant}`}: deduct ${deductions}, ${perSecond}/s, ${perDeduction.toFixed(1)} rows read each; balance ${balances}`,
    );
    return {
      times: calls * 1.5,
      unit: `calls, ${(rich * 2e3 + poor).toLocaleString("en")} grants`,
      mix: {
        ...mix,
        ...msOf("deduct", deductions),
        ...msOf("balance", balances),
        "rows read by a deduction": Math.round(perDeduction * 10) / 10,
        "deductions per second": perSecond,
      },
      violations: wrong.length,
      examples: wrong,
    };
  } finally {
    await db.drop();
  }
}

function msOf(what: string, latencies: Latencies): Record<string, number> {
  return Object.fromEntries(
    [50, 95, 99].map((share) => [`${what} p${share}, ms`, Math.round(latencies.at(share / 100) * 10) / 10]),
  );
}

/**
 * Fills the tables directly: hundreds of thousands of calls would take minutes, and the ledger behind
 * these grants is not read by what is measured.
 *
 * @returns the users with many grants, each with 30 tokens in every open one
 */
async function fill(db: Database, rich: number, poor: number): Promise<string[]> {
  await db.admin.query(
    `create table public.test_users as
       select gen_random_uuid() as id, n <= $1 as is_rich from generate_series(1, $1::integer + $2::integer) n`,
    [rich, poor],
  );
  await db.admin.query(`
    insert into public.token_accounts (user_id, tokens_remaining)
    select u.id, case when u.is_rich then 30000 else 30 end from public.test_users u;
    insert into public.token_balances (user_id, grant_type, tokens_granted, tokens_remaining, is_open, granted_at, expires_at)
    select u.id, 'purchase', 30, case when g.n > 1000 or not u.is_rich then 30 else 0 end, g.n > 1000 or not u.is_rich,
           now() - (3000 - g.n) * interval '1 hour', case when g.n % 2 = 0 then now() + (100 + g.n) * interval '1 day' end
      from public.test_users u
     cross join lateral generate_series(1, case when u.is_rich then 2000 else 1 end) g (n)`);
  const { rows } = await db.admin.query("select id from public.test_users where is_rich");
  return rows.map(({ id }) => id as string);
}

/** How many rows of grants have been read so far. A backend tells it when it ends. */
async function rowsRead(db: Database): Promise<number> {
  await sleep(300);
  const { rows } = await db.admin.query(
    "select (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows from pg_stat_user_tables where relid = 'public.token_balances'::regclass",
  );
  return rows[0].rows as number;
}
