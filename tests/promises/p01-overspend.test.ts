import { breaches } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { createUser } from "../support/roles.ts";
import { spendDown } from "../support/spending.ts";
import { storm } from "../support/storm.ts";
import { keep, type Tried } from "./promise.ts";

const variants = [
  "deduct-reads-then-writes",
  "deduct-adds-up-the-ledger",
  "deduct-locks-the-newest-entry",
] as const;

keep({
  id: "P1",
  promise: "No user ever spends more than he has",
  trial:
    "64 connections spending 1 to 7 tokens at a time from 8 users, half of it from one, who have a little more than half of what is asked for; and the first operations of users whom the books do not know yet, all at once",
  run: (scale) => tryIt(null, scale === "long" ? 25_600 : 1_600),
  control: {
    variant: "reads the balance and then writes it; adds the ledger up; locks the newest entry of the ledger",
    // each of the three has to be seen through
    run: async () => {
      const tried: Tried[] = [];
      for (const variant of variants) tried.push(await tryIt(variant, 400));
      const missed = variants.filter((_, nth) => tried[nth]!.violations === 0);
      return {
        ...{ times: tried.reduce((sum, { times }) => sum + times, 0), unit: "attempts", mix: {} },
        violations: missed.length > 0 ? 0 : tried.reduce((sum, { violations }) => sum + violations, 0),
        examples: missed.map((variant) => `not seen: ${variant}`),
      };
    },
  },
});

async function tryIt(variant: string | null, attempts: number): Promise<Tried> {
  const db = await createDatabase();
  try {
    if (variant !== null) await applyMutant(db, variant);
    const { mix, wrong } = await spendDown(db, {
      ...{ connections: 64, attempts, users: 8 },
      oneGrant: variant !== null,
    });
    // the variants keep no books at all: only what was spent counts against them
    if (variant !== null) {
      const spent = wrong.filter((one) => / and spent /.test(one));
      return { times: attempts, unit: "attempts", mix, violations: spent.length, examples: spent };
    }
    const share = (mix["spent"] ?? 0) / attempts;
    if (share < 0.2 || share > 0.8) wrong.push(`proves little: ${Math.round(share * 100)} % were spent`);
    const races = await firstOperations(db, Math.ceil(attempts / 400));
    wrong.push(...races.wrong, ...(await breaches(db)));
    for (const outcome of Object.keys(mix)) {
      if (!["spent", "short"].includes(outcome)) wrong.push(`${outcome}: ${mix[outcome]}`);
    }
    return {
      ...{ times: attempts + races.times, unit: "attempts" },
      mix: { ...mix, ...races.mix },
      ...{ violations: wrong.length, examples: wrong.slice(0, 5) },
    };
  } finally {
    await db.drop();
  }
}

/** Users with a plan, and nothing in the books: 16 ask, grant and spend at the same moment. */
async function firstOperations(db: Database, users: number) {
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  for (let nth = 0; nth < users; nth++) {
    const user = await createUser(db);
    await db.admin.query(
      "insert into public.user_subscriptions (user_id, plan_type, billing_cycle) values ($1, 'free', 'none')",
      [user],
    );
    const race = await storm(db, {
      connections: 16,
      attempts: 48,
      async run(client, attempt) {
        if (attempt % 3 === 0) {
          await client.query("select public.get_user_token_balance($1)", [user]);
          return "first: looked";
        }
        if (attempt % 3 === 1) {
          await client.query("select public.grant_tokens($1, 5, 'purchase')", [user]);
          return "first: granted";
        }
        const { rows } = await client.query("select public.deduct_tokens_with_fifo($1, 2) as receipt", [
          user,
        ]);
        return rows[0].receipt.success ? "first: spent" : "first: short";
      },
    });
    for (const [outcome, times] of Object.entries(race.mix)) mix[outcome] = (mix[outcome] ?? 0) + times;
    const { rows } = await db.admin.query(
      `select a.tokens_remaining::int as left, p.tokens::int as plan,
              (select count(*)::int from public.token_balances b where b.user_id = a.user_id and b.subscription_id is not null) as starts
         from public.token_accounts a
        cross join public.token_plans p
        where a.user_id = $1 and p.plan_type = 'free'`,
      [user],
    );
    const { left, plan, starts } = rows[0];
    const expected =
      starts * plan + 5 * (race.mix["first: granted"] ?? 0) - 2 * (race.mix["first: spent"] ?? 0);
    if (starts > 1) wrong.push(`${user} was given the first tokens of his plan ${starts} times`);
    if (left !== expected) wrong.push(`${user} has ${left}, not ${expected}`);
  }
  return { times: users * 48, mix, wrong };
}
