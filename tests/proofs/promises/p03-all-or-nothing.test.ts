// @module-tag proof
import type pg from "pg";
import { breaches } from "../../support/books.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { keep, type Tried } from "./promise.ts";

keep({
  id: "P3",
  promise: "An operation happens as a whole, or not at all",
  trial:
    "Spending more than there is, in every way there is; and each operation made to fail at its first write, its second, and so on to its last: afterwards every row of every table is as it was",
  run: (scale) => tryIt(null, scale === "long" ? 5_000 : 400),
  control: {
    variant: "a short deduction drains what there is; a fault in the ledger is swallowed",
    // both have to be seen through
    run: async () => {
      const drained = await tryIt("short-deductions-drain", 100);
      const swallowed = await tryIt("faults-are-swallowed", 100);
      return {
        times: drained.times + swallowed.times,
        unit: "attempts",
        mix: {},
        violations: Math.min(drained.violations, swallowed.violations),
        examples: [...drained.examples!.slice(0, 1), ...swallowed.examples!.slice(0, 1)],
      };
    },
  },
});

/** Every operation that changes the books: a call, with what it is to be done to. */
const operations: Record<string, { sql: string; of?: keyof Things }> = {
  grant: { sql: "public.grant_tokens($1, 100, 'purchase')" },
  "a usual deduction": {
    sql: "(select public.deduct_tokens_with_fifo($2, 5) from (select $1::uuid) somebody_else)",
    of: "settled",
  },
  "deduct from two grants": { sql: "public.deduct_tokens_with_fifo($1, 150)" },
  track: { sql: "public.track_token_usage($1, 'chat_conversation', 'gpt-4o', 60, 40)" },
  reserve: { sql: "public.reserve_tokens($1, 130)" },
  capture: { sql: "public.capture_tokens($1, $2, 90)", of: "hold" },
  "capture of more": {
    sql: "public.capture_tokens($1, $2, 200, 'deduct', 'gpt-4o', 150, 50)",
    of: "hold",
  },
  release: { sql: "public.release_tokens($1, $2)", of: "hold" },
  refund: { sql: "public.refund_tokens($1, $2, 20)", of: "charge" },
  "refund into what has run out": {
    sql: "public.refund_tokens($1, $2, 20, null, 'reissue', null, 30)",
    of: "charge",
  },
  "change of a grant's expiry": {
    sql: "public.set_token_grant_expiry($1, $2, '2999-01-01', 'a promise')",
    of: "grant",
  },
  "grant to come": {
    sql: "public.grant_tokens($1, 100, 'purchase', p_starts_at => clock_timestamp() + interval '1 day')",
  },
  "void of a grant": { sql: "public.void_token_grant($1, $2)", of: "grant" },
  "void, taking back what was spent": {
    sql: "public.void_token_grant($1, $2, null, true)",
    of: "spentGrant",
  },
  "correction up": { sql: "public.adjust_tokens($1, 40)" },
  "correction down": { sql: "public.adjust_tokens($1, -140)" },
  upgrade: { sql: "public.change_token_plan($1, 'professional')" },
  approval: { sql: "public.approve_token_payment($1, $2)", of: "payment" },
  "a provider's payment": {
    sql: `public.record_token_payment_event('stripe', 'evt_fault', 'paid', 'pi_fault',
            jsonb_build_object('kind', 'paid', 'occurred_at', now(), 'user_id', $1::uuid, 'plan_type', 'professional', 'amount_cents', 3900, 'currency', 'usd'))`,
  },
  expiry: { sql: "(select public.expire_old_token_grants() from (select $1::uuid) due)" },
};

/** Ways to ask for more than there is; each answers that it is short, and names no transaction. */
const shortages = [
  "public.deduct_tokens_with_fifo($1, $2)",
  "public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2)",
  "public.reserve_tokens($1, $2)",
  "public.adjust_tokens($1, -$2::bigint)",
];

async function tryIt(mutant: string | null, short: number): Promise<Tried> {
  const db = await createDatabase();
  const mix: Record<string, number> = {};
  const wrong: string[] = [];
  const count = (outcome: string, times = 1) => (mix[outcome] = (mix[outcome] ?? 0) + times);
  try {
    if (mutant !== null) await applyMutant(db, mutant);
    await addFaults(db);
    const { user, things } = await someone(db);
    const client = await db.admin.connect();
    try {
      const before = await digest(client);
      for (let nth = 0; nth < short; nth++) {
        const { rows } = await client.query(`select ${shortages[nth % shortages.length]} as receipt`, [
          user,
          1_000_000 + nth,
        ]);
        const { success, transaction_id: booked } = rows[0].receipt;
        count("short of tokens");
        if (success || booked !== null)
          wrong.push(`asked for too much and got ${JSON.stringify(rows[0].receipt)}`);
      }
      const isUnchanged = (await digest(client)) === before;
      if (!isUnchanged) wrong.push("asking for too much changed a row");

      for (const [name, { sql, of }] of Object.entries(isUnchanged ? operations : {})) {
        const writes = await failAtEachWrite(
          client,
          sql,
          of === undefined ? [user] : [user, things[of]],
          (at) => wrong.push(`${name}, failed at its write ${at}: something stayed`),
        );
        count("failed at a write", writes);
        if (wrong.length > 0) break; // what follows would begin with what stayed
        if (writes === 0) wrong.push(`${name} writes nothing: it was not tried`);
      }
    } finally {
      client.release();
    }
    if (mutant === null) wrong.push(...(await breaches(db)));
    const times = Object.values(mix).reduce((sum, one) => sum + one, 0);
    mix["operations"] = Object.keys(operations).length;
    return { times, unit: "attempts", mix, violations: wrong.length, examples: wrong.slice(0, 5) };
  } finally {
    await db.drop();
  }
}

/**
 * Lets one operation fail at its first write, its second, …, until it gets through; that one is undone,
 * so that every operation begins where the others did.
 *
 * @returns how many writes it has
 */
async function failAtEachWrite(
  client: pg.ClientBase,
  sql: string,
  values: unknown[],
  stayed: (at: number) => void,
): Promise<number> {
  const failAt = (at: number) =>
    client.query("select set_config('test.fault_at', $1, false), setval('test_writes', 1, false)", [
      String(at),
    ]);
  const before = await digest(client);
  for (let at = 1; at < 200; at++) {
    await failAt(at);
    await client.query("begin");
    const failed = await client.query(`select ${sql} as receipt`, values).then(
      () => false,
      (error: Error) => {
        if (error.message !== "a fault") throw error;
        return true;
      },
    );
    if (!failed) {
      const { rows } = await client.query("select nextval('test_writes')::int - 1 as writes");
      if (rows[0].writes < at) {
        await client.query("rollback");
        await failAt(0);
        return at - 1;
      }
      // the fault was swallowed: what the caller is told has happened is committed
    }
    await client.query("commit");
    if ((await digest(client)) !== before) {
      stayed(at);
      await failAt(0);
      return at;
    }
  }
  throw new Error(`${sql} has no end`);
}

/** Makes every table count what is written to it, and fail at the write that a test chose. */
async function addFaults(db: Database): Promise<void> {
  await db.admin.query(`
    create sequence public.test_writes; -- not undone by code that swallows the fault
    create function public.test_fault() returns trigger language plpgsql as $$
    begin
      if nextval('public.test_writes') = nullif(current_setting('test.fault_at', true), '')::bigint then
        raise exception 'a fault';
      end if;
      return case when tg_op = 'DELETE' then old else new end;
    end
    $$;
    do $$
    declare
      v_table regclass;
    begin
      for v_table in
        select c.oid from pg_class c where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'tokenbook'::regnamespace)
      loop
        execute format('create trigger test_fault before insert or update or delete on %s for each row execute function public.test_fault()', v_table);
      end loop;
    end
    $$`);
}

/** What every row of every table of the books says. */
async function digest(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query(`
    select string_agg(md5(query_to_xml(format('select t::text from %s t order by t::text', c.oid::regclass), false, false, '')::text), ' ' order by c.oid::regclass::text) as digest
      from pg_class c where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'tokenbook'::regnamespace)`);
  return rows[0].digest as string;
}

interface Things {
  hold: string;
  charge: number;
  grant: string;
  spentGrant: string;
  payment: string;
  /** A user to whom nothing is due. */
  settled: string;
}

/** A user with something of everything: grants, one of them due, a plan, a hold, a charge, a payment. */
async function someone(db: Database): Promise<{ user: string; things: Things }> {
  const user = await createUser(db);
  const settled = await createUser(db);
  await db.admin.query("select public.grant_tokens($1, 60, 'purchase')", [settled]);
  const one = async (sql: string, ...values: unknown[]) =>
    (await db.admin.query(`select ${sql} as receipt`, [user, ...values])).rows[0].receipt;
  await db.admin.query(
    "insert into tokenbook.subscriptions (user_id, plan_type, billing_cycle) values ($1, 'free', 'none')",
    [user],
  );
  const spent = await one("public.grant_tokens($1, 60, 'purchase')");
  const grant = await one("public.grant_tokens($1, 300, 'purchase')");
  const charge = await one("public.deduct_tokens_with_fifo($1, 70)");
  const hold = await one("public.reserve_tokens($1, 110)");
  const payment = await one("public.create_token_payment($1, 'professional', 'manual')");
  // one that has run out and is not booked: whatever touches the account books it on the way
  await one("public.grant_tokens($1, 25, 'purchase', clock_timestamp() + interval '50 milliseconds')");
  await db.admin.query("select pg_sleep(0.06)");
  return {
    user,
    things: {
      hold: hold.hold_id,
      charge: charge.transaction_id,
      grant: grant.grant_id,
      spentGrant: spent.grant_id,
      payment: payment.payment_id,
      settled,
    },
  };
}
