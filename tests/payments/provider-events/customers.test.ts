/** Payments that name their customer alone. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyMutant } from "../../support/mutants.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { moment, recordPaymentEvent, told } from "../../support/provider-events.ts";
import { giveFreePlanAtRegistration, standing } from "../../support/plans.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { storm } from "../../support/storm.ts";

let db: Database;
beforeAll(async () => {
  db = await prepared();
});
afterAll(() => db.drop());

async function prepared(variant?: string): Promise<Database> {
  const on = await createDatabase();
  await giveFreePlanAtRegistration(on);
  if (variant !== undefined) await applyMutant(on, variant);
  return on;
}

const record = (on: Database, payment: string, facts: Record<string, unknown>, event?: string) =>
  recordPaymentEvent(
    on,
    payment,
    { kind: "paid", plan_type: "starter", amount_cents: 900, currency: "usd", ...facts },
    { event },
  );

/** A payment that names user and customer, and then one that names the customer alone. */
async function known(on: Database) {
  const user = await createUser(on);
  await record(on, `pi_1_${user}`, { user_id: user, customer_id: `cus_${user}` });
  return record(on, `pi_2_${user}`, { customer_id: `cus_${user}` });
}

/** The other way round. */
async function learned(on: Database) {
  const user = await createUser(on);
  const first = await record(on, `pi_1_${user}`, { customer_id: `cus_${user}` });
  await record(on, `pi_2_${user}`, { user_id: user, customer_id: `cus_${user}` });
  return { first, ...(await standing(on, user)) };
}

/** Two events that name different users of one customer, in that order; then one that names neither. */
async function disputedCustomer(on: Database, days = [1, 2]) {
  const users = [await createUser(on), await createUser(on)];
  const customer_id = `cus_${users[0]}`;
  const at = (day: number) => ({ occurred_at: `2026-11-0${day}T00:00:00Z`, customer_id });
  for (const day of days) await record(on, `pi_${day}_${users[0]}`, { user_id: users[day - 1], ...at(day) });
  const { user_id } = await record(on, `pi_3_${users[0]}`, at(3));
  return { users, isTheFirst: user_id === users[0] };
}

/** Our server says whose a customer is; then an event of before that names another user, and one that names neither. */
async function saidByUs(on: Database) {
  const [ours, theirs] = [await createUser(on), await createUser(on)];
  const customer_id = `cus_${ours}`;
  await asService(on, (client) =>
    rpc(client, "set_token_customer", { p_user_id: ours, p_provider: "stripe", p_customer_id: customer_id }),
  );
  await record(on, `pi_1_${ours}`, { user_id: theirs, customer_id, occurred_at: "2026-11-01T00:00:00Z" });
  const { user_id } = await record(on, `pi_2_${ours}`, { customer_id });
  return user_id === ours;
}

test("a payment that names its customer alone finds the user whom an earlier event named", async () => {
  expect(await known(db)).toMatchObject({ status: "approved", tokens_granted: 400_000 });
});

test("one that waits for its user finds them when a later event names them", async () => {
  expect(await learned(db)).toMatchObject({
    first: { status: "parked", parked_reason: "user_unknown" },
    plan: "starter",
    balance: 810_000,
  });
});

test("of two users of one customer the one that was named first counts, though it is heard of later; what was booked stays", async () => {
  expect(await disputedCustomer(db)).toMatchObject({ isTheFirst: true });
  const { users, isTheFirst } = await disputedCustomer(db, [2, 1]);
  expect(isTheFirst).toBe(true);
  expect(await standing(db, users[1]!)).toMatchObject({ balance: 410_000 });
});

test("a customer stays with the user whom our own server set, whatever an earlier event says", async () => {
  expect(await saidByUs(db)).toBe(true);
});

test("an answer says how many payments wait still, and the same event again gives the next twenty", async () => {
  const user = await createUser(db);
  const customer_id = `cus_${user}`;
  for (let nth = 0; nth < 45; nth++) await record(db, `pi_${nth}_${user}`, { customer_id });
  const facts = { customer_id, user_id: user, occurred_at: moment() };
  const again = () => record(db, `pi_named_${user}`, facts, `evt_${user}`);
  const waiting = [];
  for (let times = 0; times < 4; times++) waiting.push((await again()).payments_waiting);

  expect(waiting).toEqual([25, 5, 0, 0]);
  expect(await standing(db, user)).toMatchObject({ balance: 10_000 + 46 * 400_000 });
});

test("told at once by many, every payment of a customer finds its user", async () => {
  const users = await Promise.all(Array.from({ length: 12 }, () => createUser(db)));
  const { mix } = await storm(db, {
    connections: 12,
    attempts: 60,
    async run(client, attempt) {
      const user = users[attempt % users.length]!;
      const nth = Math.floor(attempt / users.length);
      const { rows } = await client.query(
        "select public.record_token_payment_event('stripe', $1, 'x', $2, $3) ->> 'status' as status",
        [
          `evt_${user}_${nth}`,
          `pi_${nth}_${user}`,
          JSON.stringify(
            told({
              kind: "paid",
              plan_type: "starter",
              customer_id: `cus_${user}`,
              ...(nth === 3 && { user_id: user }),
            }),
          ),
        ],
      );
      return rows[0].status as string;
    },
  });
  const { rows } = await db.admin.query(
    "select count(*)::int as parked from tokenbook.provider_payments where parked_reason is not null and customer_id = any ($1)",
    [users.map((user) => `cus_${user}`)],
  );

  console.log(
    `customers=${users.length} payments=60 mix=${JSON.stringify(mix)} still parked=${rows[0].parked}`,
  );
  expect(rows[0].parked).toBe(0);
  for (const user of users) expect(await standing(db, user)).toMatchObject({ balance: 2_010_000 });
});

test.each([
  ["customers-find-nobody", async (on: Database) => (await known(on)).status === "approved"],
  ["waiting-customers-are-forgotten", async (on: Database) => (await learned(on)).balance === 810_000],
  ["customers-change-hands", async (on: Database) => (await disputedCustomer(on)).isTheFirst],
  ["events-take-customers-from-us", saidByUs],
] as const)("the test sees it: %s", { tags: ["proof"] }, async (variant, holds) => {
  const broken = await prepared(variant);
  const held = await holds(broken);
  await broken.drop();

  expect(held).toBe(false);
});
