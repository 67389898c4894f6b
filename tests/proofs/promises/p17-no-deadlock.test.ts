// @module-tag proof
import type pg from "pg";
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { storm } from "../../support/storm.ts";
import { isRefusal, outcomeOf, send, Workload } from "../../support/workload.ts";
import { keep, type Tried } from "./promise.ts";
import { dispute, told } from "../../support/provider-events.ts";

keep({
  id: "P17",
  promise: "No two operations ever wait for each other in a circle",
  trial:
    "20 connections on 5 users: everything that spends, holds, refunds and corrects, sweepers over all of them, payments, reversals and upgrades, all at once; the deadlocks that Postgres counted",
  run: (scale) => tryIt(scale === "long" ? 60_000 : 4_000, anything),
  control: {
    variant: "one transaction spends for two users, in whatever order",
    run: () => tryIt(3_000, two),
  },
});

/** One thing done by one connection; returns the name of what came of it. */
type Act = (client: pg.Client, nth: number, users: readonly string[], work: Workload) => Promise<string>;

async function tryIt(milliseconds: number, act: Act): Promise<Tried> {
  const db = await createDatabase();
  try {
    const users = await Promise.all(Array.from({ length: 5 }, () => createUser(db)));
    const work = new Workload(users);
    for (const { sql, values } of work.first()) await db.admin.query(sql, values);
    const { mix } = await storm(db, {
      connections: 20,
      attempts: Infinity,
      until: AbortSignal.timeout(milliseconds),
      run: async (client, nth) => {
        try {
          return await act(client, nth, users, work);
        } catch (error) {
          if (isRefusal(error)) return `refused: ${error.message}`;
          throw error;
        }
      },
    });
    const deadlocks = await deadlocksOf(db);
    const wrong = [
      ...(deadlocks > 0 ? [`${deadlocks} deadlocks`] : []),
      ...Object.entries(mix)
        .filter(([outcome]) => outcome.startsWith("error") && outcome !== "error 40P01 deadlock detected")
        .map(([outcome, times]) => `${outcome}, ${times} times`),
      ...(await breaches(db)),
    ];
    return {
      times: Object.values(mix).reduce((sum, one) => sum + one, 0),
      unit: "operations",
      mix,
      violations: deadlocks + (deadlocks > 0 ? 0 : wrong.length),
      examples: wrong,
    };
  } finally {
    await db.drop();
  }
}

/** What Postgres counted. A backend tells it when it ends; all of the storm's have. */
async function deadlocksOf(db: Database): Promise<number> {
  await db.admin.query("select pg_sleep(0.2)");
  const { rows } = await db.admin.query(
    "select deadlocks::int from pg_stat_database where datname = current_database()",
  );
  return rows[0].deadlocks as number;
}

const anything: Act = async (client, nth, users, work) => {
  const user = users[nth % users.length]!;
  switch (nth % 12) {
    case 0: {
      const { rows } = await client.query("select public.expire_old_token_grants()::int as booked");
      return rows[0].booked > 0 ? "swept" : "nothing to sweep";
    }
    case 1:
    case 2:
      await client.query(
        "select public.grant_tokens($1, 20, 'purchase', clock_timestamp() + $2 * interval '1 millisecond')",
        [user, 100 + (nth % 200)],
      );
      return "granted, soon to run out";
    case 3: {
      // the same payments again and again, in every state, from several connections
      const turn = Math.floor(nth / 12);
      const payment = turn % 40;
      const facts =
        turn % 3 === 0
          ? { kind: "refunded", refunded_cents: 1_000 + (turn % 2_900) }
          : turn % 7 === 0
            ? dispute("open", `dp_${turn % 5}`)
            : {
                kind: "paid",
                user_id: users[payment % users.length],
                plan_type: "professional",
                // customers, and payments in several parts, whose locks have their own order
                customer_id: `cus_${payment % users.length}`,
                parts: turn % 2 === 0 ? [`pi_${payment}_part_${turn % 3}`] : undefined,
              };
      await client.query("select public.record_token_payment_event('stripe', $1, $2, $3, $4)", [
        `evt_${nth}`,
        facts.kind,
        `pi_${payment}`,
        JSON.stringify(told({ ...facts, amount_cents: 3_900, currency: "usd" })),
      ]);
      return `event: ${facts.kind}`;
    }
    case 4: {
      const { rows } = await client.query(
        "select public.create_token_payment($1, 'professional') as payment",
        [user],
      );
      await client.query("select public.approve_token_payment($1, $2)", [user, rows[0].payment.payment_id]);
      return "payment approved";
    }
    case 5:
      await client.query("select public.change_token_plan($1, 'professional')", [user]);
      return "upgraded";
    case 6:
      await client.query("select public.get_user_token_balance($1)", [user]);
      return "looked";
    default: {
      const attempt = work.next();
      const receipt = await send(client, attempt);
      work.learn(attempt, receipt);
      return outcomeOf(attempt, receipt);
    }
  }
};

const two: Act = async (client, nth, users) => {
  const [first, second] = [users[nth % 5]!, users[(nth * 3 + 1) % 5]!];
  await client.query("begin");
  try {
    for (const user of [first, second]) {
      await client.query("select public.deduct_tokens_with_fifo($1, 1)", [user]);
    }
    await client.query("commit");
    return "spent for two";
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
};
