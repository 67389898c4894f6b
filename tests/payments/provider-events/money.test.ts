/** Each thing that providers do with money, by itself: what is left of the tokens. Starter costs 9.00 and gives 400,000. */
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyMutant } from "../../support/mutants.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { credit, dispute, recordPaymentEvent, refund } from "../../support/provider-events.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { giveFreePlanAtRegistration, standing } from "../../support/plans.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
});
afterAll(async () => {
  await expectCleanBooks(db);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  await db.drop();
  expect(rows).toEqual([]);
});

const record = (payment: string, facts: Record<string, unknown>, event?: string, on = db) =>
  recordPaymentEvent(on, payment, facts, { event });

/** A user who has paid 9.00 for starter, and then what the provider tells. */
async function after(
  events: Record<string, unknown>[],
  paid: Record<string, unknown> = { amount_cents: 900, currency: "usd" },
) {
  const user = await createUser(db);
  const payment = `pi_${user}`;
  await record(payment, { kind: "paid", user_id: user, plan_type: "starter", ...paid });
  let answer: Record<string, unknown> = {};
  for (const facts of events) answer = await record(payment, facts);
  return { ...(await standing(db, user)), answer, user, payment };
}

const reversal = (id: string, amountCents: number) => dispute("reversed", id, amountCents);
const refunded = (cents: number) => ({ kind: "refunded", refunded_cents: cents });
const [FREE, ALL, HALF] = [10_000, 410_000, 210_000];

test.each<[string, Record<string, unknown>[], number]>([
  [
    "one dispute won, another lost",
    [dispute("open", "dp_1"), dispute("won", "dp_1"), dispute("open", "dp_2"), dispute("lost", "dp_2")],
    FREE,
  ],
  [
    "an inquiry closed, then a chargeback lost",
    [dispute("inquiry"), dispute("won"), dispute("open"), dispute("lost")],
    FREE,
  ],
  [
    "an inquiry withdrawn, then another dispute lost",
    [dispute("inquiry", "PP-1"), dispute("won", "PP-1"), dispute("lost", "PP-2")],
    FREE,
  ],
  ["an inquiry alone", [dispute("inquiry")], ALL],
  [
    "a dispute of a ninth withdrawn, and all of it taken back later",
    [dispute("open", "PP-1", 100), dispute("won", "PP-1", 100), reversal("rv_1", 900)],
    FREE,
  ],
  [
    "a dispute of the half lost, and that half taken back later",
    [dispute("lost", "PP-1", 450), reversal("rv_1", 450)],
    HALF,
  ],
  [
    "a dispute of a ninth lost, and more taken back later",
    [dispute("lost", "PP-1", 100), reversal("rv_1", 350)],
    HALF,
  ],
  [
    "half of it taken back because of a dispute of that half, which is won",
    [reversal("rv_1", 450), dispute("open", "PP-1", 450), dispute("won", "PP-1", 450)],
    ALL,
  ],
  [
    "all of it taken back while a dispute of the half is open, which is won",
    [dispute("open", "PP-1", 450), reversal("rv_1", 900), dispute("won", "PP-1", 450)],
    HALF,
  ],
  [
    "all of it disputed and taken back, of which the buyer gets the half",
    [dispute("open", "PP-1", 900), reversal("rv_1", 900), dispute("lost", "PP-1", 450)],
    HALF,
  ],
  ["half of it credited for unused time", [credit("in_2", 450)], HALF],
  [
    "credited in two steps, told twice",
    [credit("in_2", 225), credit("in_3", 225), credit("in_2", 225)],
    HALF,
  ],
  [
    "a refund of 5 yen, which nobody can compare with dollars, is one of all of it",
    [{ ...refund("re_1", 5), currency: "jpy" }],
    FREE,
  ],
  ["a total of 5 yen refunded is one of all of it", [{ ...refunded(5), currency: "jpy" }], FREE],
  ["won, reopened, lost", [dispute("open"), dispute("won"), dispute("open"), dispute("lost")], FREE],
  ["lost, and won in the second instance", [dispute("open"), dispute("lost"), dispute("won")], ALL],
  [
    "two open, one won",
    [dispute("open", "dp_1", 900), dispute("open", "dp_2", 900), dispute("won", "dp_1", 900)],
    FREE,
  ],
  [
    "two of the half open, one won",
    [dispute("open", "dp_1", 450), dispute("open", "dp_2", 450), dispute("won", "dp_1", 450)],
    HALF,
  ],
  ["a dispute of the half, lost", [dispute("lost", "dp_1", 450)], HALF],
  ["a dispute beside a refund", [refund("re_1", 225), dispute("open", "dp_1", 225)], HALF],
  ["a dispute of all beside a refund of the half", [refund("re_1", 450), dispute("open", "dp_1", 900)], FREE],
  [
    "a dispute in another currency is about all of it",
    [{ ...dispute("open", "dp_1", 100), currency: "eur" }],
    FREE,
  ],
  ["a refund that failed", [refunded(900), refund("re_1", 900, "failed")], ALL],
  [
    "a refund that failed, told of by its id before",
    [refund("re_1", 900), refunded(900), refund("re_1", 900, "failed")],
    ALL,
  ],
  ["a refund that was cancelled", [refund("re_1", 900, "pending"), refund("re_1", 900, "canceled")], ALL],
  [
    "3.00 refunded, 6.00 failed",
    [refund("re_1", 300), refund("re_2", 600, "pending"), refunded(900), refund("re_2", 600, "failed")],
    276_667,
  ],
  [
    "6.00 failed, then 3.00 refunded",
    [refund("re_2", 600), refunded(600), refund("re_2", 600, "failed"), refunded(300), refund("re_1", 300)],
    276_667,
  ],
  ["refunds in parts, by running totals", [refunded(100), refunded(450)], HALF],
  ["refunds in parts, by their ids", [refund("re_1", 200), refund("re_2", 250)], HALF],
  ["more refunded than was paid", [refund("re_1", 900), refund("re_2", 900)], FREE],
])("%s", async (_what, events, balance) => {
  const { user: _user, payment: _payment, answer, ...found } = await after(events);

  expect(found).toEqual({
    plan: balance === FREE ? "free" : "starter",
    limit: balance,
    balance,
    owed: 0,
  });
  expect(answer).toMatchObject({ tokens_granted: 400_000, tokens_clawed_back: ALL - balance });
});

test("what was spent of a payment that is lost is owed, and given back when it comes back", async () => {
  const { user, payment } = await after([]);
  await asService(db, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 300_000 }),
  );
  await record(payment, refund("re_1", 900));
  expect(await standing(db, user)).toEqual({ plan: "free", limit: 10_000, balance: 0, owed: 290_000 });

  await record(payment, refund("re_1", 900, "failed"));

  expect(await standing(db, user)).toMatchObject({ plan: "starter", balance: 110_000, owed: 0 });
});

test.each([
  [[9_00, 11_25], 225],
  [[11_25, 9_00], 225],
  [[null, 11_25], 225],
  [[11_25, null], 225],
])("of the amounts %j the larger one counts, for what a refund of %i takes", async (amounts, cents) => {
  const user = await createUser(db);
  const payment = `pi_${user}`;
  for (const [nth, amount_cents] of amounts.entries()) {
    await record(payment, { kind: "paid", user_id: user, plan_type: "starter", amount_cents });
    if (nth === 0) await record(payment, refunded(cents));
  }

  // 2.25 of 11.25: a fifth
  expect(await standing(db, user)).toMatchObject({ balance: FREE + 320_000 });
  const { rows } = await db.admin.query(
    "select amount_cents::int, refunded_cents::int from public.token_payments where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ amount_cents: 1_125, refunded_cents: 225 }]);
});

test("paid without an amount, the price in the catalogue is what a refund is a share of", async () => {
  expect(await after([refunded(450)], {})).toMatchObject({ balance: HALF });
});

test("a payment's amount can come with its refund", async () => {
  expect(await after([{ ...refunded(450), amount_cents: 1_800 }], {})).toMatchObject({
    balance: FREE + 300_000,
  });
});

test("an event with other content is another event, the same content a repetition", async () => {
  const user = await createUser(db);
  const payment = `pi_${user}`;
  const paid = { kind: "paid", user_id: user, plan_type: "starter", occurred_at: "2026-11-01T00:00:00Z" };

  const answers = [
    await record(payment, { ...paid, amount_cents: 900 }, "evt_same"),
    await record(payment, { amount_cents: 900, ...paid, currency: null }, "evt_same"),
    await record(payment, { ...paid, amount_cents: 1_000 }, "evt_same"),
  ];

  expect(answers.map(({ replayed }) => replayed)).toEqual([false, true, false]);
  expect(answers[2]).toMatchObject({ amount_cents: 1_000, tokens_granted: 400_000 });
});

test("two facts of one moment: what ends a refund or dispute is later than what begins it", async () => {
  const occurred_at = "2026-11-01T00:00:00Z";
  const { user, payment } = await after([]);
  for (const facts of [
    refund("re_1", 900, "failed"),
    refund("re_1", 900, "pending"),
    dispute("won"),
    dispute("open"),
  ])
    await record(payment, { ...facts, occurred_at });

  expect(await standing(db, user)).toMatchObject({ plan: "starter", balance: ALL });
});

test("two payments of one invoice buy one plan, and each refund takes its share", async () => {
  const user = await createUser(db);
  const [first, second] = [`pi_1_${user}`, `pi_2_${user}`];
  const refundedOf = (cents: number) => ({ kind: "refunded", refunded_cents: cents, amount_cents: cents });
  // one of them before the invoice
  expect(await record(second, refundedOf(600))).toMatchObject({ status: "waiting" });
  expect(
    await record(first, {
      kind: "paid",
      user_id: user,
      plan_type: "starter",
      amount_cents: 900,
      currency: "usd",
      parts: [second],
    }),
  ).toMatchObject({
    status: "approved",
    amount_cents: 900,
    refunded_cents: 600,
    tokens_clawed_back: 266_666,
  });

  const answer = await record(first, refundedOf(300));

  expect(answer).toMatchObject({ status: "refunded", refunded_cents: 900, tokens_clawed_back: 400_000 });
  expect(await standing(db, user)).toMatchObject({ plan: "free", balance: FREE });
});

test("what had been booked under a part's id, before it was known as one, is undone", async () => {
  const user = await createUser(db);
  const [first, second] = [`pi_1_${user}`, `pi_2_${user}`];
  const paid = { kind: "paid", user_id: user, plan_type: "starter", amount_cents: 900, currency: "usd" };
  await record(first, paid);
  await record(second, paid);
  expect(await standing(db, user)).toMatchObject({ balance: FREE + 800_000 });

  await record(first, { ...paid, parts: [second] });
  expect(await standing(db, user)).toMatchObject({ plan: "starter", balance: ALL, limit: ALL });
  await record(second, refund("re_1", 900));

  expect(await standing(db, user)).toMatchObject({ plan: "free", balance: FREE, limit: FREE });
});

/** Two payments, each booked to another user; then it is known that both have paid for the first one's plan. */
async function paidByTwo(on: Database) {
  const [first, second] = [await createUser(on), await createUser(on)];
  const payments = [`pi_1_${first}`, `pi_2_${first}`] as const;
  const paid = { kind: "paid", plan_type: "starter", amount_cents: 900, currency: "usd" };
  await record(payments[0], { ...paid, user_id: first }, undefined, on);
  await record(payments[1], { ...paid, user_id: second }, undefined, on);
  await record(payments[0], { ...paid, parts: [payments[1]] }, undefined, on);
  return { first, second, payments, left: (await standing(on, second)).balance };
}

test("a part that was booked to another user is undone there: their money bought what the first one has", async () => {
  const { first, second, payments, left } = await paidByTwo(db);
  expect(left).toBe(FREE);
  expect(await standing(db, first)).toMatchObject({ plan: "starter", balance: ALL });
  await record(payments[1], refund("re_1", 450));
  expect(await standing(db, first)).toMatchObject({ balance: HALF });
  await record(payments[0], refund("re_2", 450));

  for (const user of [first, second])
    expect(await standing(db, user)).toMatchObject({ plan: "free", balance: FREE, owed: 0 });
});

/** What an event comes to in a second, that undoes what another user was given, while somebody has their account. */
async function busyPart(on: Database) {
  const [first, second] = [await createUser(on), await createUser(on)];
  const paid = { kind: "paid", plan_type: "starter", amount_cents: 900, currency: "usd" };
  await record(`pi_1_${first}`, { ...paid, user_id: first }, undefined, on);
  await record(`pi_2_${first}`, { ...paid, user_id: second }, undefined, on);
  const other = await on.admin.connect();
  try {
    await other.query("begin");
    await other.query("select from public.token_accounts where user_id = $1 for update", [second]);
    const joined = record(`pi_1_${first}`, { ...paid, parts: [`pi_2_${first}`] }, undefined, on).then(
      () => "done",
      ({ message }: Error) => message,
    );
    const came = await Promise.race([joined, setTimeout(1_000, "it waits")]);
    await other.query("rollback");
    await joined;
    return { came, left: (await standing(on, second)).balance };
  } finally {
    other.release();
  }
}

test("another user's account is not waited for: nothing changes, and the event comes again", async () => {
  expect(await busyPart(db)).toEqual({ came: "busy", left: ALL });
});

test("the test sees it: a part that waits for another user's account", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await giveFreePlanAtRegistration(broken);
  await applyMutant(broken, "parts-wait-for-others");
  const { came } = await busyPart(broken);
  await broken.drop();

  expect(came).toBe("it waits");
});

test("the test sees it: a part of another user's that stays theirs", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await giveFreePlanAtRegistration(broken);
  await applyMutant(broken, "parts-of-others-stay");
  const { left } = await paidByTwo(broken);
  await broken.drop();

  expect(left).not.toBe(FREE);
});

/** A payment booked to one user; then an event that happened before names another user and another plan. */
async function contradicted(on: Database) {
  const [user, other] = [await createUser(on), await createUser(on)];
  const payment = `pi_${user}`;
  await record(payment, { kind: "paid", user_id: user, plan_type: "starter", currency: "usd" }, "evt_1", on);
  const answer = await record(
    payment,
    {
      kind: "paid",
      user_id: other,
      plan_type: "professional",
      currency: "eur",
      occurred_at: "2026-11-01T00:00:00Z",
    },
    "evt_2",
    on,
  );
  const { rows } = await on.admin.query(
    "select user_id, to_plan from public.token_payments where provider_payment_id = $1",
    [payment],
  );
  return { user, other, answer, payments: rows };
}

test("another user, plan or currency than what was booked is noted and shown, and books nothing", async () => {
  const { user, other, answer, payments } = await contradicted(db);

  expect(answer).toMatchObject({
    status: "approved",
    user_id: user,
    plan_type: "starter",
    disagrees: { user_id: [other], plan_type: ["professional"] },
  });
  expect(payments).toEqual([{ user_id: user, to_plan: "starter" }]);
  expect(await standing(db, other)).toMatchObject({ plan: "free", balance: FREE });
});

const contradictions = async (payment: string, on = db) =>
  (
    await on.admin.query(
      "select payload from public.token_alerts where kind = 'payment_contradicted' and payload ->> 'provider_payment_id' = $1 order by id",
      [payment],
    )
  ).rows.map(({ payload }) => payload);

/** The same again, a refund, and then a third user. */
async function contradictedMore(on: Database) {
  const { user, other } = await contradicted(on);
  const third = await createUser(on);
  const payment = `pi_${user}`;
  const paid = { kind: "paid", plan_type: "starter", currency: "usd" };
  await record(payment, { ...paid, user_id: other }, "evt_3", on);
  await record(payment, refund("re_1", 100), "evt_4", on);
  await record(payment, { ...paid, user_id: third }, "evt_5", on);
  return { user, other, third, told: await contradictions(payment, on) };
}

test("the project is told of it once, with what was booked and what else was named, and again when that is more", async () => {
  const { user, other, third, told: alerts } = await contradictedMore(db);
  const booked = {
    provider: "stripe",
    provider_payment_id: `pi_${user}`,
    payment_id: expect.any(String),
    paid_by: user,
    plan_type: "starter",
    quantity: 1,
  };

  expect(alerts).toHaveLength(2);
  expect(alerts[0]).toMatchObject({
    ...booked,
    disagrees: { user_id: [other], plan_type: ["professional"] },
  });
  expect(alerts[1]).toMatchObject({
    ...booked,
    disagrees: { user_id: [other, third].toSorted(), plan_type: ["professional"] },
  });
});

test("the first booking stays, in both orders, and the project is told in both", async () => {
  for (const [first, second] of [
    ["starter", "professional"],
    ["professional", "starter"],
  ]) {
    const user = await createUser(db);
    const payment = `pi_${user}`;
    for (const plan_type of [first, second])
      await record(payment, { kind: "paid", user_id: user, plan_type, occurred_at: "2026-11-01T00:00:00Z" }, "evt_same"); // prettier-ignore
    expect(await standing(db, user)).toMatchObject({ plan: first });
    expect(await contradictions(payment)).toMatchObject([
      { plan_type: first, disagrees: { plan_type: [second] } },
    ]);
  }
});

test("another currency alone is nobody's to look at", async () => {
  const { payment } = await after([{ kind: "paid", plan_type: "starter", currency: "eur" }]);
  expect(await contradictions(payment)).toEqual([]);
});

test("the server reads beside the payment what else was named, the user who paid does not", async () => {
  const { user, other } = await contradicted(db);
  const { rows } = await asService(db, (client) =>
    client.query("select p.token_payment_disagrees as it from public.token_payments p where user_id = $1", [
      user,
    ]),
  );
  expect(rows).toEqual([{ it: { user_id: [other], plan_type: ["professional"], currency: ["usd"] } }]);
  await expect(
    asUser(db, user, (client) =>
      client.query("select p.token_payment_disagrees from public.token_payments p"),
    ),
  ).rejects.toMatchObject({ code: "42501" });
});

test("the test sees it: a contradiction that is told with every event", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await giveFreePlanAtRegistration(broken);
  await applyMutant(broken, "contradictions-are-told-again");
  const { told: alerts } = await contradictedMore(broken);
  await broken.drop();

  expect(alerts.length).toBeGreaterThan(2);
});

test(
  "the test sees it: a booked payment that goes to whom an earlier event names",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    await giveFreePlanAtRegistration(broken);
    await applyMutant(broken, "booked-payments-change-hands");
    const { payments } = await contradicted(broken);
    await broken.drop();

    expect(payments).not.toHaveLength(1);
  },
);

/** How long the next event of a payment takes, of which so many were told: the quickest of three. */
async function nextAfter(events: number): Promise<number> {
  const user = await createUser(db);
  const payment = `pi_${user}`;
  await record(payment, {
    kind: "paid",
    user_id: user,
    plan_type: "starter",
    amount_cents: 900,
    currency: "usd",
  });
  await db.admin.query(
    `insert into tokenbook.provider_events (provider, provider_payment_id, event_id, digest, event_type, occurred_at, facts)
     select 'stripe', $1, 'evt_' || n, tokenbook.digest_of_fact('stripe', $1, 'evt_' || n, 'x', f.facts), 'x', (f.facts ->> 'occurred_at')::timestamptz, f.facts
       from generate_series(1, $2::integer) n
      cross join lateral (
        select jsonb_build_object('occurred_at', now() + n * interval '1 second', 'amount_cents', 1)
               || case n % 3 when 0 then jsonb_build_object('kind', 'refund', 'refund_id', 're_' || n / 2, 'status', case when n % 2 = 0 then 'succeeded' else 'failed' end)
                             when 1 then jsonb_build_object('kind', 'dispute', 'dispute_id', 'dp_' || n % 60, 'status', case when n % 2 = 0 then 'won' else 'reversed' end)
                             else jsonb_build_object('kind', 'refunded', 'refunded_cents', 0) end as facts) f`,
    [payment, events],
  );
  let quickest = Infinity;
  for (const nth of [1, 2, 3]) {
    const began = performance.now();
    const answer = await record(payment, refund(`re_last_${nth}`, 1));
    quickest = Math.min(quickest, performance.now() - began);
    expect(answer).toMatchObject({ status: "approved" });
  }
  return quickest;
}

test("the work of an event grows with those of its payment, and no faster", async () => {
  const [few, many] = [await nextAfter(400), await nextAfter(4_000)];

  console.log(`the next event after 400: ${Math.round(few)} ms, after 4,000: ${Math.round(many)} ms`);
  expect(many / few).toBeLessThan(20); // ten times as many; joined to each other they would be a hundred
});

/** The subscription of a user who was deleted goes on at the provider. */
async function paidByDeleted(on: Database) {
  const user = await createUser(on);
  await recordPaymentEvent(on, "pi_before", {
    kind: "paid",
    user_id: user,
    plan_type: "professional",
    amount_cents: 3_900,
    currency: "usd",
  });
  await on.admin.query("delete from auth.users where id = $1", [user]);
  for (const id of ["pi_after", "pi_after"]) {
    await recordPaymentEvent(on, id, {
      kind: "paid",
      user_id: user,
      plan_type: "professional",
      amount_cents: 3_900,
      currency: "usd",
    });
  }
  await recordPaymentEvent(on, "pi_before", refund("re_late", 3_900));
  const { rows } = await on.admin.query<{ payment: string; deleted: unknown }>(
    `select payload ->> 'provider_payment_id' as payment, payload -> 'disagrees' -> 'deleted' as deleted
       from public.token_alerts where kind = 'payment_contradicted' and payload ->> 'paid_by' = $1`,
    [user],
  );
  return rows;
}

test("what a deleted user is still charged is booked, and the project is told, once", async () => {
  expect(await paidByDeleted(db)).toEqual([{ payment: "pi_after", deleted: [true] }]);
});

test("the trial sees it: payments of deleted users of which nobody hears", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "deleted-payers-are-silent");
  const told = await paidByDeleted(broken);
  await broken.drop();

  expect(told).toEqual([]);
});

/** Five of a plan, which nobody sells: an admin says that it is one of it. And then another plan is named. */
async function assignedThough(on: Database) {
  const user = await createUser(on);
  const payment = `pi_${user}`;
  const paid = { kind: "paid", user_id: user, amount_cents: 4_500, currency: "usd" };
  await record(payment, { ...paid, plan_type: "starter", quantity: 5 }, undefined, on);
  const assigned = await asService(on, (client) =>
    rpc(client, "assign_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: payment,
      p_user_id: user,
      p_plan_type: "starter",
    }),
  );
  const atFirst = (await contradictions(payment, on)).length;
  await record(payment, { ...paid, plan_type: "professional" }, undefined, on);
  const later = (await contradictions(payment, on)).map(({ disagrees }) => disagrees);
  return { assigned, atFirst, later };
}

test("what an admin saw when they assigned a payment is no news; what is told of it after that is", async () => {
  expect(await assignedThough(db)).toMatchObject({
    assigned: { status: "approved", plan_type: "starter", quantity: 1, disagrees: { quantity: [5] } },
    atFirst: 0,
    later: [{ quantity: [5], plan_type: ["professional"] }],
  });
});

test(
  "the trial sees it: who assigns a payment is told that it is contradicted",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "assigned-payments-are-contradicted");
    const { atFirst } = await assignedThough(broken);
    await broken.drop();

    expect(atFirst).toBe(1);
  },
);
