// @module-tag proof
import fc from "fast-check";
import { expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { breaches } from "../../support/books.ts";
import { createUser } from "../../support/roles.ts";
import { applyMutant } from "../../support/mutants.ts";
import { letTimePass } from "../../support/time.ts";

const PLANS = ["short", "long", "endless"] as const;

const command = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("spend" as const), tokens: fc.integer({ min: 1, max: 900 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom({ kind: "renew" as const, late: 0 }, { kind: "renew" as const, late: 2 }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("plan" as const), plan: fc.constantFrom(...PLANS) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "sweep" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), days: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "refund" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "old payment" as const }) },
);
type Step = (typeof command extends fc.Arbitrary<infer T> ? T : never) | { kind: "set back" };
const sequences = fc.array(command, { minLength: 4, maxLength: 18, size: "max" });

async function prepare(db: Database): Promise<void> {
  await db.admin.query(`
    insert into public.token_plans (plan_type, name, tokens, billing_cycle, grant_type, grant_lifetime_days, price_cents, rank,
                                    rollover_tokens, rollover_percent, rollover_lifetime_days)
    values ('short', 'Short', 1000, '28day', '28day', 28, 100, 10, 300, 50, 28),
           ('long', 'Long', 1000, '28day', '28day', 60, 100, 20, null, 20, 90),
           ('endless', 'Endless', 2000, '28day', 'plan', null, 100, 30, 500, null, null)`);
}

/**
 * Runs a sequence and then asks: do the books agree, was anything made or lost, did any period carry
 * over more than its plan allows or more than once?
 */
async function follow(db: Database, sequence: readonly Step[], mix: Record<string, number>) {
  const user = await createUser(db);
  const ask = (sql: string, ...values: unknown[]) => db.admin.query(sql, [user, ...values]);
  await ask("select public.change_token_plan($1, 'short')");
  let payments = 0;
  for (const step of sequence) {
    const done = await (async () => {
      switch (step.kind) {
        case "spend":
          return ask("select public.deduct_tokens_with_fifo($1, $2)", step.tokens);
        case "renew":
          await letTimePass(db, user, 28 + step.late);
          return ask("select public.renew_token_subscription($1)");
        case "plan":
          return ask("select public.change_token_plan($1, $2)", step.plan);
        case "sweep":
          return ask("select public.expire_old_token_grants(), $1::uuid");
        case "wait":
          return letTimePass(db, user, step.days);
        case "refund":
          return ask(
            `select public.refund_tokens($1, t.id) from (
               select id from public.token_transactions where user_id = $1 and entry_type = 'deduction' order by id desc limit 1) t`,
          );
        case "set back":
          // no function does it; a late payment once did, and there are subscriptions that remember
          return ask(
            `update tokenbook.subscriptions set period_start = period_start - interval '28 days',
                    expires_at = expires_at - interval '28 days' where user_id = $1`,
          );
        case "old payment":
          // a payment that is told late: for the period before this one
          return ask(
            `select public.record_token_payment_event('stripe', $2, 'paid', $2, jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', $1::uuid,
               'plan_type', s.plan_type, 'amount_cents', 100, 'period_start', s.period_start - interval '28 days'))
               from public.token_subscriptions s where s.user_id = $1`,
            `pi-${user}-${payments++}`,
          );
      }
    })().then(
      () => step.kind,
      (error: { code: string; message: string }) => {
        if (!["not_due_yet", "refund_exceeds_charge"].includes(error.message)) throw error;
        return error.message;
      },
    );
    mix[done] = (mix[done] ?? 0) + 1;
  }

  const { rows: verified } = await ask("select * from public.verify_token_ledger($1)");
  expect(verified).toEqual([]);
  const { rows: sums } = await ask(
    `select a.tokens_remaining::int as left,
            (select sum(t.tokens) filter (where t.entry_type = 'grant') - a.tokens_used - a.tokens_expired
               from public.token_transactions t where t.user_id = $1)::int as expected,
            (select count(*) from public.token_balances b where b.user_id = $1 and b.rolled_over_from is not null)::int as carried
       from public.token_accounts a where a.user_id = $1`,
  );
  expect(sums[0].left).toBe(sums[0].expected);
  mix["carried over"] = (mix["carried over"] ?? 0) + sums[0].carried;
  const { rows: beyond } = await ask(
    `select b.tokens_granted, c.tokens_granted as of, c.grant_type, c.expires_at
       from public.token_balances b
       join public.token_balances c on c.user_id = b.user_id and c.id = b.rolled_over_from
      where b.user_id = $1
        and (b.tokens_granted > case when c.expires_at is null then 0
                                     when c.expires_at - c.granted_at < interval '30 days' then 300 else 200 end
             or (c.voided_at is null and b.expires_at <= c.expires_at)
             or c.rolled_over_from is not null)`,
  );
  expect(beyond).toEqual([]);
  const { rows: twice } = await ask(
    "select rolled_over_from from public.token_balances where user_id = $1 and rolled_over_from is not null group by 1 having count(*) > 1",
  );
  expect(twice).toEqual([]);
}

test("whatever happens around it, rollover makes no token and loses none", async () => {
  const db = await createDatabase();
  await prepare(db);
  const mix: Record<string, number> = {};
  let runs = 0;
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);

  await fc
    .assert(
      fc.asyncProperty(sequences, async (sequence) => {
        runs++;
        await follow(db, sequence, mix);
      }),
      { seed, numRuns: 60, endOnFailure: true },
    )
    .finally(() => console.log(`sequences=${runs} seed=${seed} mix=${JSON.stringify(mix)}`));

  expect(mix["carried over"]).toBeGreaterThan(0);
  expect(await breaches(db)).toEqual([]);
  await db.drop();
}, 180_000);

/** A period that has been carried over is the present one again; then it closes again. */
const closesTwice: Step[] = [
  { kind: "plan", plan: "long" },
  { kind: "renew", late: 0 },
  { kind: "set back" },
  { kind: "plan", plan: "long" },
];

test("a period that closes twice is carried over once", async () => {
  const db = await createDatabase();
  await prepare(db);

  const mix: Record<string, number> = {};
  await follow(db, closesTwice, mix);
  await db.drop();

  expect(mix["carried over"]).toBe(2); // of short, and of long's first period
});

test("the test sees it: rollover that forgets that it was done", async () => {
  const db = await createDatabase();
  await prepare(db);
  await applyMutant(db, "rollover-forgets-that-it-was-done");

  await expect(follow(db, closesTwice, {})).rejects.toThrow();
  await db.drop();
});

test("the test sees it: rollover that leaves the old grant as it was", async () => {
  const db = await createDatabase();
  await prepare(db);
  await applyMutant(db, "rollover-leaves-the-old-grant-as-it-was");

  const result = await fc.check(
    fc.asyncProperty(sequences, (sequence) => follow(db, sequence, {})),
    { numRuns: 100, seed: 1, endOnFailure: true },
  );
  await db.drop();

  expect(result.failed).toBe(true);
}, 180_000);
