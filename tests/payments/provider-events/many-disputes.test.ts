/** Very many disputes of one payment: how the work of its next event grows. */
import { expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { recordPaymentEvent } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";

/** A payment with that many disputes: of each four an open one, a lost one, and two reversals; and as many refunds. */
async function disputed(db: Database, count: number): Promise<string> {
  const user = await createUser(db);
  const payment = `pi.${user}`;
  await recordPaymentEvent(
    db,
    payment,
    { kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900_000, currency: "usd" },
    { provider: "paypal" },
  );
  await db.admin.query(
    `with facts as (
       select n, now() + n * interval '1 second' as at,
              case when n > $2 then jsonb_build_object('kind', 'refund', 'refund_id', 're.' || n, 'status', 'succeeded', 'amount_cents', 1)
                   else jsonb_build_object('kind', 'dispute', 'dispute_id', 'dp.' || n, 'amount_cents', n % 7,
                          'status', (array['open', 'lost', 'reversed', 'reversed'])[1 + n % 4]) end as f
         from generate_series(1, 2 * $2::integer) n),
     told as (select n, at, f || jsonb_build_object('occurred_at', at) as f from facts)
     insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
     select 'paypal', $1, 'evt.' || n, tokenbook.digest_of_fact('paypal', $1, 'evt.' || n, 'test', f), 'test', at, f from told`,
    [payment, count],
  );
  await db.admin.query("analyze tokenbook.provider_events");
  return payment;
}

/** What the next event takes, at best of three, in milliseconds. */
async function timeOf(db: Database, payment: string): Promise<number> {
  const times: number[] = [];
  for (const nth of [1, 2, 3]) {
    const began = performance.now();
    await recordPaymentEvent(
      db,
      payment,
      { kind: "dispute", dispute_id: "dp.1", status: "open", amount_cents: nth },
      { provider: "paypal" },
    );
    times.push(performance.now() - began);
  }
  return Math.min(...times);
}

const stands = async (db: Database, payment: string) => {
  const { rows } = await db.admin.query(
    `select f.amount_cents::int as amount, (f.refunded_cents + f.disputed_cents)::int as lost, f.disagrees -> 'disputes' as disputes,
            (select count(*)::int from public.token_alerts a
              where a.kind = 'payment_contradicted' and a.payload ->> 'provider_payment_id' = $1) as told
       from tokenbook.provider_payments f where f.provider_payment_id = $1`,
    [payment],
  );
  return rows[0] as { amount: number; lost: number; disputes: string[] | null; told: number };
};

test("up to 200 are weighed, with more of them all of the payment is lost, and the project is told once", async () => {
  const db = await createDatabase();
  const [few, many] = [await disputed(db, 200), await disputed(db, 201)];
  for (const payment of [few, many]) await timeOf(db, payment);

  expect(await stands(db, few)).toMatchObject({ disputes: null, told: 0 });
  expect((await stands(db, few)).lost).toBeLessThan(2_000);
  expect(await stands(db, many)).toEqual({
    amount: 900_000,
    lost: 900_000,
    disputes: ["more than 200"],
    told: 1,
  });
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
  await db.drop();
});

/** How many times as long the next event takes with four times as many disputes and refunds: linear is 4, square 16. */
async function growth(mutant?: string): Promise<number> {
  const db = await createDatabase();
  if (mutant !== undefined) await applyMutant(db, mutant);
  const [few, many] = [
    await timeOf(db, await disputed(db, 500)),
    await timeOf(db, await disputed(db, 2_000)),
  ];
  await db.drop();
  console.log(
    `${mutant ?? "disputes and as many refunds, the next event"}: 500: ${few.toFixed(0)} ms, 2,000: ${many.toFixed(0)} ms`,
  );
  return many / few;
}

test("the next event takes no more than in proportion", { tags: ["proof"], timeout: 120_000 }, async () => {
  expect(await growth()).toBeLessThan(8);
});

test("the test sees it: disputes-without-a-bound", { tags: ["proof"], timeout: 120_000 }, async () => {
  expect(await growth("disputes-without-a-bound")).toBeGreaterThan(8);
});
