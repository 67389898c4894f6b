// @module-tag proof
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asUser, createUser, rpc } from "../../support/roles.ts";
import { connectAsOwner, storm } from "../../support/storm.ts";
import { isRefusal, outcomeOf, send, Workload } from "../../support/workload.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P2",
  promise: "No token appears or disappears, in any read at any moment",
  trial:
    "Readers ask all the while that 16 connections grant, deduct, hold, capture, release, refund and correct and two sweep what runs out: granted = left + set aside + used + corrected + expired for each of 8 users, from the tables and by verify_token_ledger(); and whether the balance a user is told is the sum of the grants they are told",
  run: (scale) => tryIt(scale === "long" ? 15_000 : 600, null),
  control: {
    variant: "spends in two transactions; reads the total and then the grants",
    // both have to be seen through
    run: async () => {
      const inTwo = await tryIt(100, "spend-in-two-transactions");
      const moments = await tryIt(4_500, "balance-read-in-two-moments");
      return {
        times: inTwo.times + moments.times,
        unit: "reads",
        mix: {},
        violations: Math.min(inTwo.violations, moments.violations),
        examples: [...inTwo.examples!.slice(0, 1), ...moments.examples!.slice(0, 1)],
      };
    },
  },
});

/** Each account beside its grants, its holds and its ledger, in one statement. */
const conserved = `
  with grants as (
    select b.user_id, sum(b.tokens_granted) as granted, sum(b.tokens_remaining) as remaining
      from public.token_balances b where b.user_id = $1 group by b.user_id
  ), ledger as (
    select t.user_id,
           sum(t.tokens) filter (where t.tokens > 0 and t.entry_type = 'grant') as granted,
           sum(t.tokens) filter (where t.entry_type in ('deduction', 'refund')) as used,
           sum(t.tokens) filter (where t.entry_type = 'expiry') as expired
      from public.token_transactions t where t.user_id = $1 group by t.user_id
  ), holds as (
    select h.user_id, sum(h.tokens) as tokens from public.token_holds h where h.user_id = $1 and h.status = 'open' group by h.user_id
  )
  select a.user_id, a.tokens_remaining, a.tokens_reserved, g.granted, g.remaining, l.used, l.expired, h.tokens as held
    from public.token_accounts a
    left join grants g on g.user_id = a.user_id
    left join ledger l on l.user_id = a.user_id
    left join holds h on h.user_id = a.user_id
   where a.user_id = $1
     and (g.granted <> l.granted
      or a.tokens_remaining <> g.remaining
      or a.tokens_reserved <> coalesce(h.tokens, 0)
      or g.granted <> a.tokens_remaining + a.tokens_reserved - coalesce(l.used, 0) - coalesce(l.expired, 0)
      or a.tokens_remaining < 0)`;

async function tryIt(reads: number, mutant: string | null): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  let times = 0;
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    // new users now and then: a read of a long ledger takes its time, and little else would be tried
    for (let series = 0; times < reads && wrong.length === 0; series++) {
      const inTwo = mutant === "spend-in-two-transactions";
      times += await readAndWrite(db, { reads: Math.min(reads, 1_500), series, inTwo }, mix, wrong);
    }
    if (mutant === null) wrong.push(...(await breaches(db)));
    return { times, unit: "reads", mix, violations: wrong.length, examples: wrong.slice(0, 5) };
  } finally {
    await db.drop();
  }
}

/**
 * Eight new users, their writers, and so many reads, or those until one finds something; adds what came of it to
 * `mix` and `wrong`.
 *
 * @returns how many reads it were
 */
async function readAndWrite(
  db: Database,
  { reads, series, inTwo }: { reads: number; series: number; inTwo: boolean },
  mix: Record<string, number>,
  wrong: string[],
): Promise<number> {
  const users = await Promise.all(Array.from({ length: 8 }, () => createUser(db)));
  const done = new AbortController();
  const count = (outcome: string) => (mix[outcome] = (mix[outcome] ?? 0) + 1);
  const isDone = () => done.signal.aborted;
  let read = 0;
  const reading = async (what: string, ask: (user: string) => Promise<string[]>) => {
    while (!isDone()) {
      const found = await ask(users[read % users.length]!);
      wrong.push(...found.map((one) => `${what}: ${one}`));
      count(`read ${what}`);
      if (++read >= reads || found.length > 0) done.abort();
    }
  };
  const ask = (sql: string) => async (user: string) =>
    (await db.admin.query(sql, [user])).rows.map((row) => JSON.stringify(row));
  const check = "select * from public.verify_token_ledger($1)";
  try {
    await Promise.all([
      inTwo ? spendInTwo(db, users, done.signal) : write(db, { users, series }, done.signal, count),
      reading("the tables", ask(conserved)),
      reading("the check", ask(check)),
      ...Array.from({ length: 4 }, () => reading("a balance", (user) => toldBalance(db, user))),
    ]);
  } finally {
    done.abort();
  }
  return read;
}

/** What a user is told: the total is the sum of the grants beside it. */
async function toldBalance(db: Database, user: string): Promise<string[]> {
  const told = await asUser(db, user, (client) => rpc(client, "get_user_token_balance"));
  const sum = told.grants.reduce(
    (total: number, grant: { tokens_remaining: number }) => total + grant.tokens_remaining,
    0,
  );
  const isWhole = told.has_more_grants ? told.total_active >= sum : told.total_active === sum;
  return isWhole && told.total_active >= 0 && told.total_reserved >= 0
    ? []
    : [`${told.total_active} in all, ${sum} in the grants, ${told.total_reserved} set aside`];
}

/** Everything that the books can do, some of it with grants that run out while the others work. */
async function write(
  db: Database,
  { users, series }: { users: string[]; series: number },
  until: AbortSignal,
  count: (outcome: string) => void,
) {
  const work = new Workload(users, "work", series);
  const first = work.first();
  const { mix } = await storm(db, {
    connections: 18,
    attempts: Infinity,
    until,
    async run(client, nth) {
      try {
        if (nth % 40 === 7) {
          await client.query("select public.expire_old_token_grants()");
          count("swept");
        } else if (nth % 15 === 3) {
          await client.query(
            "select public.grant_tokens($1, 30, 'purchase', clock_timestamp() + $2 * interval '1 millisecond')",
            [users[nth % users.length], 100 + (nth % 300)],
          );
          count("grant: done, soon to run out");
        } else {
          const attempt = first.pop() ?? work.next();
          const receipt = await send(client, attempt);
          work.learn(attempt, receipt);
          count(outcomeOf(attempt, receipt));
        }
      } catch (error) {
        if (!isRefusal(error)) throw error;
        count(`refused: ${error.message}`);
      }
      return "answered";
    },
  });
  const failed = Object.keys(mix).filter((outcome) => outcome !== "answered");
  if (failed.length > 0) throw new Error(failed.join("; "));
}

async function spendInTwo(db: Database, users: string[], until: AbortSignal): Promise<void> {
  for (const user of users)
    await db.admin.query("select public.grant_tokens($1, 100000, 'purchase')", [user]);
  await Promise.all(
    users.map(async (user) => {
      const client = await connectAsOwner(db);
      while (!until.aborted) await client.query("call public.spend_in_two_transactions($1, 3)", [user]);
      await client.end();
    }),
  );
}
