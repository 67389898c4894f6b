// @module-tag proof
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { createUser } from "../../support/roles.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { moment } from "../../support/provider-events.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

type Step = [kind: (typeof KINDS)[number], tokens: number];
const KINDS = [
  "grant",
  "pack",
  "short-lived",
  "track",
  "partial",
  "failed",
  "deduct",
  "adjust up",
  "adjust down",
  "plan",
  "payment",
  "refund",
  "expire",
  "repair",
  "hold",
  "capture",
  "release",
  "undo",
  "void",
] as const;
const life = fc.array(
  fc.tuple(fc.constantFrom(...KINDS, "track" as const, "partial" as const), fc.integer({ min: 1, max: 900 })),
  { minLength: 8, maxLength: 25, size: "max" },
) as fc.Arbitrary<Step[]>;

/** Lives one user's life through the functions alone. What is refused or short is part of it. */
async function live(where: Database, user: string, steps: Step[]): Promise<void> {
  const call = (sql: string, ...values: unknown[]) => where.admin.query(`select ${sql}`, [user, ...values]);
  const paid: string[] = [];
  const held: string[] = [];
  for (const [i, [kind, tokens]] of steps.entries()) {
    if (kind === "grant") await call("public.grant_tokens($1, $2, 'admin')", tokens);
    if (kind === "pack")
      await call(
        "public.grant_tokens($1, $2, 'purchase', p_priority => $3)",
        tokens * 5,
        tokens % 3 === 0 ? 10 : 50,
      );
    if (kind === "short-lived")
      await call(
        "public.grant_tokens($1, $2, 'trial', clock_timestamp() + interval '20 milliseconds')",
        tokens,
      ).catch((error: Error) => {
        if (error.message !== "invalid_expiry") throw error; // a busy machine took longer to get there
      });
    if (kind === "track")
      await call(
        "public.track_token_usage($1, 'chat_conversation', 'gpt-4', p_tokens_used => $2, p_metadata => $3)",
        tokens,
        { request_id: `r${i}` },
      );
    if (kind === "partial")
      await call(
        "public.track_token_usage($1, 'vision_generation', p_tokens_used => $2, p_on_shortage => 'partial')",
        tokens * 3,
      );
    if (kind === "failed")
      await call(
        "public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2, p_success => false)",
        tokens,
      );
    if (kind === "deduct") await call("public.deduct_tokens_with_fifo($1, $2)", tokens);
    if (kind === "adjust up") await call("public.adjust_tokens($1, $2)", tokens);
    if (kind === "adjust down") await call("public.adjust_tokens($1, $2)", -tokens);
    if (kind === "repair")
      await call("public.adjust_tokens($1, $2, 'reconciliation: balance_lower')", tokens);
    if (kind === "plan") await call("public.change_token_plan($1, 'starter', 'card', 'x')");
    if (kind === "payment") {
      paid.push(`pi-${user}-${i}`);
      await call(
        "public.record_token_payment_event('stripe', $2, 'paid', $2, $3) from (values ($1::uuid)) u",
        paid.at(-1),
        {
          kind: "paid",
          occurred_at: moment(),
          user_id: user,
          plan_type: "starter",
          amount_cents: 900,
        },
      );
    }
    if (kind === "refund" && paid.length > 0)
      await call(
        "public.record_token_payment_event('stripe', $2, 'refunded', $3, $4) from (values ($1::uuid)) u",
        `re-${user}-${i}`,
        paid.pop(),
        {
          kind: "refunded",
          occurred_at: moment(),
          refunded_cents: 100 + tokens,
        },
      );
    if (kind === "hold") {
      const { rows } = await call("public.reserve_tokens($1, $2) as r", tokens);
      if (rows[0].r.success) held.push(rows[0].r.hold_id);
    }
    if (kind === "capture" && held.length > 0)
      await call("public.capture_tokens($1, $2, $3)", held.pop(), tokens);
    if (kind === "release" && held.length > 0) await call("public.release_tokens($1, $2)", held.pop());
    if (kind === "undo")
      await call(
        `public.refund_tokens($1, t.id, greatest(-t.tokens / $2, 1)) from public.token_transactions t
          where t.user_id = $1 and t.entry_type = 'deduction'
            and not exists (select from public.token_transactions r where r.user_id = $1 and r.original_id = t.id)
          order by t.id limit 1`,
        1 + (tokens % 2),
      );
    if (kind === "void")
      await call(
        "public.void_token_grant($1, b.id, 'test') from public.token_balances b where b.user_id = $1 and b.is_open order by b.granted_at desc limit 1",
      );
    if (kind === "expire") {
      await new Promise((resolve) => setTimeout(resolve, 25));
      await call("public.get_user_token_balance($1)");
    }
  }
}

const alarms = async (where: Database) =>
  (
    await where.admin.query(
      "select user_id, remaining_difference, scenarios, findings from public.find_token_discrepancies(0)",
    )
  ).rows;

/** `users` lives, four at a time, in one database; returns how many steps there were. */
async function population(
  where: Database,
  users: number,
  seed: number,
): Promise<{ users: string[]; steps: number }> {
  const lives = fc.sample(life, { numRuns: users, seed });
  const waiting = [...lives];
  const ids: string[] = [];
  const lane = async () => {
    for (let steps = waiting.pop(); steps !== undefined; steps = waiting.pop()) {
      const user = await createUser(where);
      ids.push(user);
      await live(where, user, [["pack", 500], ...steps]);
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  return { users: ids, steps: lives.reduce((sum, steps) => sum + steps.length, 0) };
}

test("whatever is done through the functions is no discrepancy", async () => {
  const { users, steps } = await population(db, 120, 20261121);

  const found = await alarms(db);
  const { rows } = await db.admin.query(
    "select entry_type, count(*)::int from public.token_transactions group by 1 order by 1",
  );
  console.log(
    `clean lives: users=${users.length} steps=${steps} alarms=${found.length} entries=${JSON.stringify(Object.fromEntries(rows.map((row) => [row.entry_type, row.count])))}`,
  );
  expect(found).toEqual([]);
  const { rows: sums } = await db.admin.query(
    `select count(*)::int as wrong
       from public.token_accounts a
      cross join lateral (select public.reconcile_user_token_balance(a.user_id) as r offset 0) r
      where (r -> 'formula' ->> 'since') = 'the beginning'
        and ((r -> 'formula' ->> 'expired')::bigint <> a.tokens_expired + coalesce((
               select sum(b.tokens_remaining) from public.token_balances b
                where b.user_id = a.user_id and b.is_open and b.expires_at <= clock_timestamp()), 0)
             or (r ->> 'used_difference')::bigint <> 0)`,
  );
  expect(sums).toEqual([{ wrong: 0 }]);
  await expectCleanBooks(db);
});

/** What can go wrong behind the functions' back, and by how much the balance is then off. */
const FAULTS: [scenario: string, sql: string][] = [
  [
    "balance_higher",
    "insert into public.token_usage (user_id, action_type, tokens_used) values ($1, 'frequency_flip', $2) returning tokens_used as off",
  ],
  [
    "balance_lower",
    "insert into public.token_usage (user_id, action_type, tokens_used) values ($1, 'admin_grant', $2) returning -tokens_used as off",
  ],
  [
    "failed_operations_counted",
    `update public.token_usage u set success = false from (select $2::bigint) n
      where user_id = $1 and id = (select id from public.token_usage where user_id = $1 and success and transaction_id is not null
                                      and tokens_used > tokens_uncovered and action_type in ('chat_conversation', 'vision_generation') order by id limit 1)
      returning -(tokens_used - tokens_uncovered) as off`,
  ],
  [
    "duplicate_usage", // shown: that two name one request does not prove that one was too many
    `with two as (
       select id, row_number() over (order by id) nth from public.token_usage
        where user_id = $1 and success and tokens_used = $2 and transaction_id is not null and action_type = 'blueprint_generation' limit 2)
     update public.token_usage u set metadata = '{"request_id": "the same"}' from two
      where u.user_id = $1 and u.id = two.id returning 0 as off`,
  ],
];

test("every fault behind the functions' back is found, named, and right by the token; a repair closes it", async () => {
  const other = await createDatabase();
  const client = await other.admin.connect();
  let injected = 0;
  const wrong: unknown[] = [];
  try {
    for (let i = 0; i < 60; i++) {
      const user = await createUser(other);
      await client.query("select public.grant_tokens($1, 100000, 'purchase')", [user]);
      for (let n = 0; n < 1 + (i % 3); n++)
        await client.query("select public.track_token_usage($1, 'chat_conversation', p_tokens_used => $2)", [
          user,
          100 + i,
        ]);
      for (let n = 0; n < 2; n++)
        await client.query(
          "select public.track_token_usage($1, 'blueprint_generation', p_tokens_used => $2)",
          [user, 500 + i],
        );
      const faults = FAULTS.filter((_, n) => (i + 1) & (1 << n));
      let off = 0;
      for (const [, sql] of faults) {
        const { rows } = await client.query(sql, [user, 500 + i]);
        off += rows.reduce((sum, row) => sum + Number(row.off), 0);
        injected++;
      }
      const { rows } = await client.query("select public.reconcile_user_token_balance($1) as r", [user]);
      const { r } = rows[0];
      const named = r.findings.map((finding: { scenario: string }) => finding.scenario).sort();
      const expected = faults.map(([scenario]) => scenario).sort();
      if (r.remaining_difference !== off || JSON.stringify(named) !== JSON.stringify(expected))
        wrong.push({ user, expected, off, named, found: r.remaining_difference });
      if (off !== 0) {
        await client.query("select public.adjust_tokens($1, $2, 'reconciliation: test')", [user, -off]);
        const { rows: after } = await client.query("select public.reconcile_user_token_balance($1) as r", [
          user,
        ]);
        if (after[0].r.findings.length > 0) wrong.push({ user, left: after[0].r.findings });
      }
    }
  } finally {
    client.release();
  }
  await expectCleanBooks(other);
  await other.drop();

  console.log(`faults injected=${injected} users=60 wrong=${wrong.length}`);
  expect(wrong).toEqual([]);
  expect(injected).toBeGreaterThan(100);
});

test("it raises no alarm while the books are being written", async () => {
  const busy = await createDatabase();
  const users = await Promise.all(Array.from({ length: 4 }, () => createUser(busy)));
  const RUNS = 10;
  let alarmed = 0;
  let entries = 0;
  const writers = { goOn: true };
  const writing = users.map(async (user) => {
    while (writers.goOn) {
      await busy.admin.query("select public.grant_tokens($1, 40, 'purchase')", [user]);
      await busy.admin.query(
        "select public.track_token_usage($1, 'chat_conversation', p_tokens_used => 30)",
        [user],
      );
      await busy.admin.query("select public.adjust_tokens($1, -3)", [user]);
      entries += 3;
    }
  });
  for (let run = 0; run < RUNS; run++) alarmed += (await alarms(busy)).length;
  writers.goOn = false;
  await Promise.all(writing);
  await busy.drop();

  console.log(`under load: runs=${RUNS} entries written meanwhile=${entries} alarms=${alarmed}`);
  expect(alarmed).toBe(0);
  expect(entries).toBeGreaterThan(RUNS);
});

test("the tests see it: a reconciliation that forgets what was uncovered raises alarms on clean lives", async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "reconciliation-forgets-what-was-uncovered");
  await population(broken, 20, 1);
  const found = await alarms(broken);
  await broken.drop();

  expect(found.length).toBeGreaterThan(0);
});

test("the tests see it: a reconciliation that believes failed operations does not find one that was deducted", async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "reconciliation-believes-failed-operations");
  const user = await createUser(broken);
  await broken.admin.query("select public.grant_tokens($1, 1000, 'purchase')", [user]);
  await broken.admin.query("select public.track_token_usage($1, 'chat_conversation', p_tokens_used => 700)", [
    user,
  ]);
  await broken.admin.query("update public.token_usage set success = false where user_id = $1", [user]);
  const found = await alarms(broken);
  await broken.drop();

  expect(found).toEqual([]);
});
