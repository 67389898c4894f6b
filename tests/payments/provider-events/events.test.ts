import type { Socket } from "node:net";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { giveFreePlanAtRegistration, show, standing } from "../../support/plans.ts";
import { dispute, recordPaymentEvent, told } from "../../support/provider-events.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await giveFreePlanAtRegistration(db);
});
afterAll(() => db.drop());

const event = (payment: string, facts: Record<string, unknown>, id?: string) =>
  recordPaymentEvent(db, payment, facts, { event: id });
const paid = (user: string, plan = "professional") => ({
  kind: "paid",
  user_id: user,
  plan_type: plan,
  amount_cents: 3_900,
  currency: "usd",
});
const spend = (user: string, tokens: number) =>
  asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
  );

test("three different events about one payment credit it once", async () => {
  const user = await createUser(db);

  await event("pi_three", paid(user));
  await event("pi_three", paid(user));
  const last = await event("pi_three", { ...paid(user), period_start: "2026-11-01T00:00:00Z" });

  expect(last).toMatchObject({
    status: "approved",
    tokens_granted: 2_000_000,
    tokens_limit: 2_010_000,
    tokens_remaining: 2_010_000,
  });
  await expectCleanBooks(db);
});

test("a connection lost between commit and answer leaves one effect, when the event comes again", async () => {
  let unanswered = 0;
  let committed = 0;
  /** How long a call of a new connection takes here; the losses are spread over a third more. */
  let usual = 0;
  for (let round = 0; round <= 40; round++) {
    const user = await createUser(db);
    const payment = `pi_lost_${round}`;
    const lostFact = told(paid(user));
    const client = new pg.Client({ connectionString: db.url("authenticator") });
    await client.connect();
    client.on("error", () => {}); // the loss is the point
    await client.query("set role service_role");
    const begin = performance.now();
    const lost = client
      .query("select public.record_token_payment_event('stripe', $1, 'test', $2, $3)", [
        `evt_${payment}`,
        payment,
        JSON.stringify(lostFact),
      ])
      .catch(() => unanswered++);
    if (round > 0) {
      setTimeout(
        () => (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy(),
        (usual * 4 * (round % 8)) / 21,
      );
    }
    await lost;
    if (round === 0) {
      usual = performance.now() - begin;
      await client.end();
    }

    const again = await event(payment, lostFact, `evt_${payment}`);
    if (round > 0 && again.replayed) committed++;

    expect(await standing(db, user)).toEqual({
      plan: "professional",
      limit: 2_010_000,
      balance: 2_010_000,
      owed: 0,
    });
  }
  console.log(`connections lost=40 unanswered=${unanswered} committed all the same=${committed}`);
  expect(unanswered).toBeGreaterThan(0);
  expect(committed).toBeGreaterThan(0);
  await expectCleanBooks(db);
});

test("a refund before its payment is applied when the payment arrives", async () => {
  const user = await createUser(db);
  expect(await event("pi_early", { kind: "refunded", refunded_cents: 1_950 })).toMatchObject({
    status: "waiting",
  });

  await event("pi_early", paid(user));

  expect(await standing(db, user)).toMatchObject({
    plan: "professional",
    balance: 1_010_000,
    limit: 1_010_000,
  });
});

test("a clawback takes what is left and books the rest as debt, which the next grant repays first", async () => {
  const user = await createUser(db);
  await event("pi_debt", paid(user));
  await spend(user, 1_500_000);
  const before = await standing(db, user);

  await event("pi_debt", { kind: "refunded", refunded_cents: 3_900 });

  const after = await standing(db, user);
  show("full refund", before, after);
  expect(after).toEqual({ plan: "free", limit: 10_000, balance: 0, owed: 1_490_000 });
  await grant(db, user, 2_000_000);
  expect(await standing(db, user)).toMatchObject({ balance: 510_000, owed: 0 });
  const { rows } = await db.admin.query(
    "select entry_type, tokens::int, debt_change::int from public.token_transactions where user_id = $1 and entry_type <> 'usage' order by id desc limit 3",
    [user],
  );
  expect(rows).toEqual([
    { entry_type: "debt_repayment", tokens: -1_490_000, debt_change: -1_490_000 },
    { entry_type: "grant", tokens: 2_000_000, debt_change: 0 },
    { entry_type: "clawback", tokens: -510_000, debt_change: 1_490_000 },
  ]);
  await expectCleanBooks(db);
});

test("a dispute that is won gives everything back to where it came from", async () => {
  const user = await createUser(db);
  const other = await grant(db, user, 300_000);
  await event("pi_won", paid(user));
  await spend(user, 400_000);
  const grants = () =>
    db.admin
      .query("select id, tokens_remaining::int from public.token_balances where user_id = $1 order by id", [
        user,
      ])
      .then((result) => result.rows);
  const [before, grantsBefore] = [await standing(db, user), await grants()];

  await event("pi_won", dispute("open"));
  const during = await standing(db, user);
  await event("pi_won", dispute("won"));

  show("dispute", before, during);
  show("dispute won", during, await standing(db, user));
  expect(during).toMatchObject({ plan: "free", balance: 0 });
  expect(during.owed! + grantsBefore.reduce((sum, row) => sum + row.tokens_remaining, 0)).toBe(2_000_000);
  expect(await standing(db, user)).toEqual(before);
  expect(await grants()).toEqual(grantsBefore);
  expect(grantsBefore.map((row) => row.id)).toContain(other);
  await expectCleanBooks(db);
});

test("two payments that name one period are two grants, and refunding one leaves the other", async () => {
  const user = await createUser(db);
  const period = { period_start: "2026-11-01T00:00:00Z" };
  await event("pi_period_1", { ...paid(user), ...period });
  await event("pi_period_2", { ...paid(user), ...period });
  expect(await standing(db, user)).toMatchObject({ balance: 4_010_000, limit: 4_010_000 });

  await event("pi_period_2", { kind: "refunded", refunded_cents: 3_900 });

  expect(await standing(db, user)).toMatchObject({ balance: 2_010_000, limit: 2_010_000, owed: 0 });
  await expectCleanBooks(db);
});

test("a period that was renewed before its payment came is granted once, and is what a refund takes back", async () => {
  const user = await createUser(db);
  await event("pi_first", paid(user));
  const { rows } = await db.admin.query(
    `update tokenbook.subscriptions set period_start = period_start - interval '40 days', expires_at = clock_timestamp() - interval '1 second'
      where user_id = $1 returning expires_at::text as due`,
    [user],
  );
  await asService(db, (client) => rpc(client, "renew_token_subscription", { p_user_id: user }));

  await event("pi_renewal", { ...paid(user), period_start: rows[0].due });
  expect(await standing(db, user)).toMatchObject({ balance: 4_010_000 });
  await event("pi_renewal", { kind: "refunded", refunded_cents: 3_900 });

  expect(await standing(db, user)).toMatchObject({ balance: 2_010_000, owed: 0 });
  await expectCleanBooks(db);
});

test.each([
  ["another provider", { p_provider: "venmo" }],
  ["an empty event id", { p_event_id: "" }],
  ["an unknown kind", { p_facts: told({ kind: "gift" }) }],
  ["a negative amount", { p_facts: told({ kind: "paid", amount_cents: -1 }) }],
  ["no moment", { p_facts: { kind: "paid" } }],
  ["a moment without its offset", { p_facts: { kind: "paid", occurred_at: "2026-11-01T00:00:00" } }],
  ["a moment that is none", { p_facts: { kind: "paid", occurred_at: "2026-11-31T00:00:00Z" } }],
  ["a refund without its id", { p_facts: told({ kind: "refund", status: "failed", amount_cents: 1 }) }],
  ["a refund without its amount", { p_facts: told({ kind: "refund", status: "failed", refund_id: "re_1" }) }],
  ["a dispute of an unknown status", { p_facts: told({ ...dispute("open"), status: "closed" }) }],
  ["a credit without its id", { p_facts: told({ kind: "credit", amount_cents: 1 }) }],
  ["a credit without its amount", { p_facts: told({ kind: "credit", credit_id: "in_1" }) }],
  ["a payment with what was refunded", { p_facts: told({ kind: "paid", refunded_cents: 5 }) }],
  [
    "a credit with what was refunded",
    { p_facts: told({ kind: "credit", credit_id: "in_1", amount_cents: 1, refunded_cents: "x" }) },
  ],
  ["a payment with a refund's id", { p_facts: told({ kind: "paid", refund_id: "re_1" }) }],
  ["a payment with a status", { p_facts: told({ kind: "paid", status: "open" }) }],
  ["an offset of 99 hours", { p_facts: told({ kind: "paid", occurred_at: "2026-11-01T00:00:00+99" }) }],
  ["a plan and a pack", { p_facts: told({ kind: "paid", plan_type: "starter", pack_type: "small" }) }],
  ["a quantity of none", { p_facts: told({ kind: "paid", quantity: 0 }) }],
  ["a reason of nobody", { p_facts: told({ kind: "paid", parked_reason: "bad_weather" }) }],
  ["parts that are no ids", { p_facts: told({ kind: "paid", parts: ["pi_1", "no id"] }) }],
  ["a payment id of a million characters", { p_provider_payment_id: "p".repeat(1_000_000) }],
  ["an event id of ours", { p_event_id: "assigned:1" }],
  ["facts that are no object", { p_facts: [] }],
])("%s is refused", async (_what, change) => {
  await expect(
    asService(db, (client) =>
      rpc(client, "record_token_payment_event", {
        p_provider: "stripe",
        p_event_id: "evt_bad",
        p_event_type: "x",
        p_provider_payment_id: "pi_bad",
        p_facts: told({ kind: "paid" }),
        ...change,
      }),
    ),
  ).rejects.toMatchObject({ code: "PT400", message: "invalid_provider_event" });
});
