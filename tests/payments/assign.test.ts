/** What an assignment does besides: the customer is known from then on, and what waited for them is theirs. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { giveFreePlanAtRegistration, standing } from "../support/plans.ts";
import { recordPaymentEvent, recordSubscriptionEvent, told } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { storm } from "../support/storm.ts";

const free = 10_000;
const starter = 400_000;

let db: Database;
let admin: string;
let nth = 0;
beforeAll(async () => {
  db = await prepared();
  admin = await createUser(db, { admin: true });
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

async function prepared(variant?: string): Promise<Database> {
  const on = await createDatabase();
  await giveFreePlanAtRegistration(on);
  if (variant !== undefined) await applyMutant(on, variant);
  return on;
}

const fresh = (prefix: string) => `${prefix}_${++nth}_${randomUUID().slice(0, 8)}`;

const pay = (payment: string, facts: Record<string, unknown>, on = db) =>
  recordPaymentEvent(on, payment, {
    kind: "paid",
    plan_type: "starter",
    amount_cents: 900,
    currency: "usd",
    ...facts,
  });

const subscription = (id: string, facts: Record<string, unknown>, on = db) =>
  recordSubscriptionEvent(on, id, {
    occurred_at: "2026-11-02T00:00:00Z",
    plan_type: "starter",
    ...facts,
  });

/** As an admin; on a variant's database as the server, which has no admin. */
const assign = (payment: string, userId: string, what: Record<string, unknown> = {}, on = db) =>
  (on === db ? (work: Work) => asAdmin(db, admin, work) : (work: Work) => asService(on, work))((client) =>
    rpc(client, "assign_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: payment,
      p_user_id: userId,
      ...what,
    }),
  );
type Work = Parameters<typeof asService>[1];

const setCustomer = (customer: string, userId: string, more: Record<string, unknown> = {}, on = db) =>
  (on === db ? (work: Work) => asAdmin(db, admin, work) : (work: Work) => asService(on, work))((client) =>
    rpc(client, "set_token_customer", {
      p_user_id: userId,
      p_provider: "stripe",
      p_customer_id: customer,
      ...more,
    }),
  );

const dismiss = (payment: string) =>
  asAdmin(db, admin, (client) =>
    rpc(client, "dismiss_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: payment,
      p_reason: "a test",
    }),
  );

const parkedOf = async (customer: string, on = db) =>
  (
    await on.admin.query(
      "select provider_payment_id as id from tokenbook.provider_payments where customer_id = $1 and parked_reason is not null order by 1",
      [customer],
    )
  ).rows.map(({ id }) => id as string);

/** A subscription without metadata: its first month is assigned, then the second one comes. */
async function secondMonth(on: Database) {
  const user = await createUser(on);
  const customer_id = fresh("cus");
  const first = fresh("pi");
  await pay(first, { customer_id }, on);
  await assign(first, user, {}, on);
  return { user, answer: await pay(fresh("pi"), { customer_id }, on) };
}

/** A customer of whom several things wait; then one of the payments is assigned. */
async function waitingCustomer(on: Database, payments = 3) {
  const user = await createUser(on);
  const customer_id = fresh("cus");
  const ids = Array.from({ length: payments }, () => fresh("pi"));
  for (const id of ids) await pay(id, { customer_id }, on);
  await subscription(fresh("sub"), { customer_id, status: "past_due" }, on);
  const answer = await assign(ids.at(-1)!, user, {}, on);
  const { rows: alerts } = await on.admin.query(
    "select kind, payload from public.token_alerts where user_id = $1 and kind = 'subscription_past_due'",
    [user],
  );
  return { user, customer_id, ids, answer, alerts, parked: await parkedOf(customer_id, on) };
}

/** A subscription that was over before anybody said whose it was; then its payment is assigned, and another one. */
async function endedSubscription(on: Database) {
  const user = await createUser(on);
  const customer_id = fresh("cus");
  const payment = fresh("pi");
  await pay(payment, { user_id: user, period_start: new Date(Date.now() - 86_400_000).toISOString() }, on);
  await subscription(
    fresh("sub"),
    { customer_id, status: "cancelled", cancel_at: new Date(Date.now() - 1_000).toISOString() },
    on,
  );
  const before = await standing(on, user);
  await setCustomer(customer_id, user, {}, on);
  const { rows } = await on.admin.query(
    "select reason from public.token_transactions where user_id = $1 and tokens = 0 order by id desc limit 1",
    [user],
  );
  return { before: before.plan, recorded: rows[0]?.reason as string | undefined };
}

describe("the customer of an assigned payment", () => {
  test("is that user from then on: the next month finds them by itself", async () => {
    const { user, answer } = await secondMonth(db);
    expect(answer).toMatchObject({ status: "approved", user_id: user, tokens_granted: starter });
    expect(await standing(db, user)).toMatchObject({ balance: free + 2 * starter });
  });

  test("brings what waited for them: payments, and a subscription that is past due with its alert", async () => {
    const { user, answer, alerts, parked } = await waitingCustomer(db);
    expect(answer).toMatchObject({ status: "approved", customer_user_id: user, payments_released: 2 });
    expect(parked).toEqual([]);
    expect(await standing(db, user)).toMatchObject({ balance: free + 3 * starter });
    expect(alerts).toMatchObject([{ payload: { past_due_plan_type: "starter" } }]);
  });

  test("brings twenty payments at once, and each event after that the next twenty", async () => {
    const { user, customer_id, answer, parked } = await waitingCustomer(db, 45);
    expect(answer).toMatchObject({ payments_released: 20, payments_waiting: 24 });
    expect(parked).toHaveLength(24);
    await pay(fresh("pi"), { customer_id });
    expect(await parkedOf(customer_id)).toHaveLength(4);
    await subscription(fresh("sub"), { customer_id, status: "active" });
    expect(await parkedOf(customer_id)).toEqual([]);
    expect(await standing(db, user)).toMatchObject({ balance: free + 46 * starter });
  });

  test("is named by the admin in every grant that came of it", async () => {
    const { user } = await waitingCustomer(db);
    const { rows } = await db.admin.query(
      "select distinct actor_role, actor_id from public.token_transactions where user_id = $1 and payment_id is not null",
      [user],
    );
    expect(rows).toEqual([{ actor_role: "admin", actor_id: admin }]);
  });

  test("stays whose it is: a payment that names another user says so, and changes no customer", async () => {
    const [owner, payer] = [await createUser(db), await createUser(db)];
    const customer_id = fresh("cus");
    await setCustomer(customer_id, owner);
    const payment = fresh("pi");
    await pay(payment, { customer_id, user_id: payer, plan_type: undefined, price_id: "price_gone" });
    const answer = await assign(payment, payer, { p_plan_type: "starter" });
    expect(answer).toMatchObject({
      status: "approved",
      user_id: payer,
      customer_id,
      customer_user_id: owner,
    });
    expect(await pay(fresh("pi"), { customer_id })).toMatchObject({ user_id: owner });
  });

  test("that is another user is said, and nothing is changed", async () => {
    const [owner, other] = [await createUser(db), await createUser(db)];
    const customer_id = fresh("cus");
    await setCustomer(customer_id, owner);
    const payment = fresh("pi");
    await pay(payment, { customer_id, plan_type: undefined, price_id: "price_gone" });
    await expect(assign(payment, other, { p_plan_type: "starter" })).rejects.toMatchObject({
      message: "payment_already_decided",
      detail: expect.stringMatching(/set_token_customer with p_replace/),
    });
    expect(await parkedOf(customer_id)).toEqual([payment]);
  });

  test("yields to what the provider says later, as every assignment does", async () => {
    const [guessed, named] = [await createUser(db), await createUser(db)];
    const customer_id = fresh("cus");
    const payment = fresh("pi");
    await pay(payment, { customer_id });
    await assign(payment, guessed);
    await pay(fresh("pi"), { customer_id, user_id: named });
    expect(await pay(fresh("pi"), { customer_id })).toMatchObject({ user_id: named });
  });

  test("assigned at once by many, and paid meanwhile, is one user's, and nothing is left waiting", async () => {
    const users = await Promise.all(Array.from({ length: 8 }, () => createUser(db)));
    const customers = users.map(() => fresh("cus"));
    const ids = users.map(() => [fresh("pi"), fresh("pi"), fresh("pi")]);
    for (const [of, payments] of ids.entries())
      for (const id of payments) await pay(id, { customer_id: customers[of]! });
    const { mix } = await storm(db, {
      connections: 8,
      attempts: 64,
      async run(client, attempt) {
        const of = attempt % users.length;
        const what = Math.floor(attempt / users.length);
        if (what % 2 === 0) {
          const { rows } = await client.query(
            "select public.assign_parked_token_payment('stripe', $1, $2) ->> 'status' as status",
            [ids[of]![what % 3], users[of]],
          );
          return rows[0].status as string;
        }
        const { rows } = await client.query(
          "select public.record_token_payment_event('stripe', $1, 'x', $2, $3) ->> 'status' as status",
          [
            `evt_${randomUUID()}`,
            `pi_${what}_${customers[of]}`,
            JSON.stringify(told({ kind: "paid", plan_type: "starter", customer_id: customers[of] })),
          ],
        );
        return rows[0].status as string;
      },
    });
    const left = (await Promise.all(customers.map((customer) => parkedOf(customer)))).flat();
    console.log(`customers=${users.length} calls=64 mix=${JSON.stringify(mix)} still parked=${left.length}`);
    expect(left).toEqual([]);
    for (const user of users) expect(await standing(db, user)).toMatchObject({ balance: free + 7 * starter });
  });
});

describe("set_token_customer", () => {
  test("by an admin gives the user what waited, says how much, and is kept with who did it", async () => {
    const user = await createUser(db);
    const customer = fresh("cus");
    for (let n = 0; n < 2; n++) await pay(fresh("pi"), { customer_id: customer });
    expect(await setCustomer(customer, user)).toMatchObject({
      success: true,
      payments_released: 2,
      replayed: false,
    });
    expect(await setCustomer(customer, user)).toMatchObject({
      success: true,
      payments_released: 0,
      payments_waiting: 0,
      replayed: true,
    });
    expect(await standing(db, user)).toMatchObject({ balance: free + 2 * starter });
    const { rows } = await db.admin.query(
      "select actor_id, details from tokenbook.changes where user_id = $1 and change = 'set_token_customer'",
      [user],
    );
    expect(rows).toEqual([{ actor_id: admin, details: { provider: "stripe", customer_id: customer } }]);
  });

  test("records what the provider had said of the customer's subscription", async () => {
    expect(await endedSubscription(db)).toEqual({
      before: "starter",
      recorded: expect.stringMatching(/free|ended/),
    });
  });

  test("with p_replace puts a wrong assignment right for the payments to come, whatever events say, with a reason", async () => {
    const [wrong, right] = [await createUser(db), await createUser(db)];
    const customer_id = fresh("cus");
    const first = fresh("pi");
    await pay(first, { customer_id });
    await assign(first, wrong);

    await expect(setCustomer(customer_id, right, { p_replace: true })).rejects.toMatchObject({
      message: "invalid_reason",
    });
    expect(await setCustomer(customer_id, right)).toMatchObject({ success: false, user_id: wrong });
    const p_reason = "assigned to the wrong one";
    expect(
      await setCustomer(fresh("cus"), right, { p_replace: true, p_reason: "there is none to replace" }),
    ).toMatchObject({ success: true, replayed: false });
    expect(await setCustomer(customer_id, right, { p_replace: true, p_reason })).toMatchObject({
      success: true,
      user_id: right,
      replayed: false,
    });
    expect(await pay(fresh("pi"), { customer_id })).toMatchObject({ user_id: right });
    // what was booked stays booked, and an event from before does not take the customer back
    expect(
      await pay(first, { customer_id, user_id: wrong, occurred_at: "2020-01-01T00:00:00Z" }),
    ).toMatchObject({
      user_id: wrong,
    });
    expect(await pay(fresh("pi"), { customer_id })).toMatchObject({ user_id: right });
    const { rows } = await db.admin.query(
      "select reason, details from tokenbook.changes where user_id = $1 and details ->> 'customer_id' = $2",
      [right, customer_id],
    );
    expect(rows).toEqual([
      { reason: p_reason, details: { provider: "stripe", customer_id, instead_of: wrong } },
    ]);
  });

  test("is not for users", async () => {
    const user = await createUser(db);
    await expect(
      asUser(db, user, (client) =>
        rpc(client, "set_token_customer", {
          p_user_id: user,
          p_provider: "stripe",
          p_customer_id: fresh("cus"),
        }),
      ),
    ).rejects.toMatchObject({ code: "42501", message: "forbidden" });
  });
});

describe("an assignment", () => {
  const priceUnknown = { plan_type: undefined, price_id: "price_gone", parked_reason: "price_unknown" };

  test.each(["price_unknown", "nothing_named", "several_things", "items_unknown", "proration"])(
    "of a payment parked as %s that says no plan and no pack is refused, and changes nothing",
    async (parked_reason) => {
      const user = await createUser(db);
      const payment = fresh("pi");
      const customer_id = fresh("cus");
      await pay(payment, { customer_id, plan_type: undefined, parked_reason });
      const look = async () =>
        (
          await db.admin.query(
            `select (select json_agg(e order by e.event_id) from tokenbook.provider_events e where provider_payment_id = $1) as events,
                    (select to_json(f) from tokenbook.provider_payments f where provider_payment_id = $1) as facts,
                    (select to_json(c) from tokenbook.provider_customers c where customer_id = $2) as customer`,
            [payment, customer_id],
          )
        ).rows;
      const before = await look();
      await expect(assign(payment, user)).rejects.toMatchObject({
        code: "PT400",
        message: "invalid_purchase",
        detail: expect.stringMatching(/(?=.*"p_plan_type")(?=.*p_pack_type and p_quantity)/),
      });
      expect(await look()).toEqual(before);
      expect(await assign(payment, user, { p_plan_type: "starter" })).toMatchObject({ status: "approved" });
    },
  );

  test.each([
    ["of an unknown user", {}, {}],
    ["of an unknown price", priceUnknown, { p_plan_type: "starter" }],
  ])("%s is for the invoice's period, whenever it is made", async (_, facts, what) => {
    const user = await createUser(db);
    const payment = fresh("pi");
    const period_start = new Date(Date.now() - 4 * 86_400_000).toISOString();
    await pay(payment, { period_start, ...facts });
    await assign(payment, user, what);
    const { rows } = await db.admin.query(
      "select period_start from public.token_subscriptions where user_id = $1",
      [user],
    );
    expect(rows).toEqual([{ period_start: new Date(period_start) }]);
  });

  test("under an event's id is told that a payment's is wanted", async () => {
    const refused = {
      message: "payment_not_found",
      detail: expect.stringMatching(/(?=.*"p_provider_payment_id")(?=.*not the id of an event)/),
    };
    await expect(assign("evt_1", admin)).rejects.toMatchObject(refused);
    await expect(dismiss("evt_1")).rejects.toMatchObject(refused);
  });

  test("to somebody else afterwards, and a dismissal, say how the payment stands", async () => {
    const [user, other] = [await createUser(db), await createUser(db)];
    const payment = fresh("pi");
    await pay(payment, {});
    await assign(payment, user);
    const detailOf = async (refused: Promise<unknown>) =>
      refused.then(
        () => expect.unreachable(),
        ({ message, detail }) => [message, JSON.parse(detail)],
      );
    const decided = "payment_already_decided";
    expect(await detailOf(assign(payment, other))).toEqual([
      decided,
      { status: "approved", differs: ["user_id"] },
    ]);
    expect(await detailOf(assign(payment, user, { p_plan_type: "professional" }))).toEqual([
      decided,
      { status: "approved", differs: ["plan_type"] },
    ]);
    expect(await detailOf(dismiss(payment))).toEqual([decided, { status: "approved" }]);
    expect(await assign(payment, user)).toMatchObject({ status: "approved" }); // the same again
    const { rows } = await db.admin.query(
      "select id from public.token_payments where provider_payment_id = $1",
      [payment],
    );
    await expect(
      asAdmin(db, admin, (client) =>
        rpc(client, "refund_token_payment", {
          p_user_id: user,
          p_payment_id: rows[0].id,
          p_reason: "a test",
        }),
      ),
    ).rejects.toMatchObject({
      code: "PT409",
      message: "paid_at_provider",
      hint: expect.stringContaining("at the provider"),
    });
  });
});

test.each([
  [
    "assigned-customers-are-forgotten",
    async (on: Database) => (await secondMonth(on)).answer.status === "approved",
  ],
  ["waiting-payments-stay", async (on: Database) => (await waitingCustomer(on)).parked.length === 0],
  [
    "rest-of-a-customer-stays",
    async (on: Database) => {
      const { customer_id } = await waitingCustomer(on, 22);
      await pay(fresh("pi"), { customer_id }, on);
      return (await parkedOf(customer_id, on)).length === 0;
    },
  ],
  [
    "waiting-subscriptions-stay",
    async (on: Database) => {
      const { recorded } = await endedSubscription(on);
      return /free|ended/.test(recorded ?? "");
    },
  ],
  [
    "assigned-to-nothing",
    async (on: Database) => {
      const payment = fresh("pi");
      await pay(payment, { plan_type: undefined, price_id: "price_gone" }, on);
      return assign(payment, await createUser(on), {}, on).then(
        () => false,
        () => true,
      );
    },
  ],
  [
    "set-customers-change-hands",
    async (on: Database) => {
      const [first, second] = [await createUser(on), await createUser(on)];
      const [payment, customer_id] = [fresh("pi"), fresh("cus")];
      await pay(payment, { customer_id }, on);
      await assign(payment, first, {}, on);
      await setCustomer(customer_id, second, {}, on);
      return (await pay(fresh("pi"), { customer_id }, on)).user_id === first;
    },
  ],
  [
    "replaced-customers-go-back",
    async (on: Database) => {
      const [wrong, right] = [await createUser(on), await createUser(on)];
      const customer_id = fresh("cus");
      await setCustomer(customer_id, wrong, {}, on);
      await setCustomer(customer_id, right, { p_replace: true, p_reason: "a test" }, on);
      await pay(fresh("pi"), { customer_id, user_id: wrong, occurred_at: "2020-01-01T00:00:00Z" }, on);
      return (await pay(fresh("pi"), { customer_id }, on)).user_id === right;
    },
  ],
] as const)("the test sees it: %s", { tags: ["proof"] }, async (variant, holds) => {
  const broken = await prepared(variant);
  const held = await holds(broken);
  await broken.drop();

  expect(held).toBe(false);
  expect(await holds(db)).toBe(true);
});
