/** What is paid for is given, whatever else is bought: one plan twice, renewed early, replaced, paused, refunded. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { takeTheClock } from "../../support/clock.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { recordSubscriptionEvent } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";
import { about, buy, findings, setPlan, tellOfPayment } from "./schedules.ts";

let db: Database;
let setClock: (at: string) => Promise<void>;
beforeAll(async () => {
  db = await createDatabase();
  setClock = await takeTheClock(db);
  const yearly = { billing_cycle: "annual", issue_every: "month" } as const;
  await setPlan(db, "y1", { tokens: 1_000, price_cents: 12_000, rank: 10, ...yearly });
  await setPlan(db, "y2", { tokens: 2_000, price_cents: 24_000, rank: 20, ...yearly });
  await setPlan(db, "filled", { tokens: 1_000, refill_to: 1_000, price_cents: 12_000, rank: 12, ...yearly });
  await setPlan(db, "m1", { tokens: 1_000, billing_cycle: "monthly", price_cents: 1_000, rank: 15 });
  await setPlan(db, "m3", { tokens: 3_000, billing_cycle: "monthly", price_cents: 3_000, rank: 30 });
  await setPlan(db, "unscheduled", { tokens: 100, rank: 1 });
  await setPlan(db, "scheduled", { tokens: 100, issue_every: "month", rank: 2 });
});
afterAll(() => db.drop());

const balance = async (user: string): Promise<number> =>
  (await about(db, user)("get_user_token_balance")).total_active;
const shown = async (user: string) =>
  (
    await db.admin.query(
      "select plan_type, status, period_start, next_slot_at from public.token_subscriptions where user_id = $1",
      [user],
    )
  ).rows[0];
let nth = 0;
const pay = async (user: string, plan: string, begins: string, id = `pi_${++nth}`) => {
  await tellOfPayment(db, id, { kind: "paid", user_id: user, plan_type: plan, period_start: begins });
  return id;
};
const refund = (id: string, cents: number, status = "succeeded", refund_id = `re_${++nth}`) =>
  tellOfPayment(db, id, {
    kind: "refund",
    refund_id,
    status,
    amount_cents: cents,
    occurred_at: "2027-01-16T00:00:00Z",
  });
const say = (user: string, facts: { status: string; occurred_at: string; cancel_at?: string }) =>
  recordSubscriptionEvent(db, `sub_${user}`, { user_id: user, plan_type: "y1", ...facts });

/** What a user does, and what they have a year and some later. */
const stories: [story: string, days: (user: string) => Promise<void>, tokens: number][] = [
  [
    "one plan twice, by hand",
    async (user) => {
      await buy(db, user, "y1");
      await setClock("2027-01-15T10:05:00Z");
      await buy(db, user, "y1");
    },
    24_000,
  ],
  [
    "renewed by hand after half a year",
    async (user) => {
      await buy(db, user, "y1");
      await setClock("2027-07-15T10:00:00Z");
      await buy(db, user, "y1");
    },
    24_000,
  ],
  [
    "renewed at the provider some days early",
    async (user) => {
      await pay(user, "y1", "2027-01-15T10:00:00Z");
      await setClock("2028-01-12T10:00:00Z");
      await pay(user, "y1", "2028-01-15T10:00:00Z");
    },
    24_000,
  ],
  [
    "a higher plan a month later",
    async (user) => {
      await buy(db, user, "y1");
      await setClock("2027-02-15T10:00:30Z");
      await buy(db, user, "y2");
    },
    36_000,
  ],
  [
    "a lower plan a month later",
    async (user) => {
      await buy(db, user, "y2");
      await setClock("2027-02-15T10:00:30Z");
      await buy(db, user, "y1");
    },
    36_000,
  ],
  [
    "a higher one month by month, for longer than the year",
    async (user) => {
      await pay(user, "y1", "2027-01-15T10:00:00Z");
      for (let month = 1; month <= 13; month++) {
        const begins = new Date(Date.UTC(2027, month, 16)).toISOString();
        await setClock(begins);
        await pay(user, "m3", begins);
      }
    },
    51_000,
  ],
  [
    "a higher one that is refunded",
    async (user) => {
      await pay(user, "y1", "2027-01-15T10:00:00Z");
      await setClock("2027-03-16T10:00:00Z");
      await refund(await pay(user, "m3", "2027-03-16T10:00:00Z"), 3_000);
    },
    12_000,
  ],
  [
    "half of one of two refunded, before its slots",
    async (user) => {
      await pay(user, "y1", "2027-01-15T10:00:00Z");
      await refund(await pay(user, "y1", "2027-01-15T10:00:00Z"), 6_000);
    },
    18_000,
  ],
];

describe.each(stories)("%s", (_story, live, tokens) => {
  test.each([["looked at each quarter"], ["not touched until the end"]])("%s", async (how) => {
    await setClock("2027-01-15T10:00:00Z");
    const user = await createUser(db);
    await live(user);
    if (how.startsWith("looked"))
      for (const at of ["2028-04-20T00:00:00Z", "2028-08-20T00:00:00Z", "2028-12-20T00:00:00Z"]) {
        await setClock(at);
        await balance(user);
      }
    await setClock("2029-03-20T00:00:00Z");
    expect(await balance(user)).toBe(tokens);
    expect(await findings(db, user)).toEqual([]);
  });
});

test("two payments for one plan come to the same in either order", async () => {
  const ended: unknown[] = [];
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    await setClock("2027-04-20T10:00:00Z");
    const user = await createUser(db);
    const begins = ["2027-01-15T10:00:00Z", "2027-03-15T10:00:00Z"];
    for (const one of order) await pay(user, "y1", begins[one]!);
    const then = [await balance(user), await shown(user)];
    await setClock("2029-03-20T00:00:00Z");
    ended.push([...then, await balance(user), await findings(db, user)]);
  }
  expect(ended[0]).toMatchObject([
    6_000,
    { plan_type: "y1", period_start: new Date("2027-03-15T10:00:00Z") },
    24_000,
    [],
  ]);
  expect(ended[1]).toEqual(ended[0]);
});

describe.each([["m1"], ["y1"]])("%s bought twice", (plan) => {
  test.each([
    ["by hand, the second refunded", "second"],
    ["by hand, the first refunded", "first"],
  ])("%s: the plan of the other goes on, with its period", async (_what, which) => {
    await setClock("2027-01-15T10:00:00Z");
    const user = await createUser(db);
    const first = await buy(db, user, plan);
    await setClock("2027-01-20T10:00:00Z");
    const second = await buy(db, user, plan);
    const [back, kept] = which === "first" ? [first, second] : [second, first];
    await about(db, user)("refund_token_payment", { p_payment_id: back.id, p_reason: "paid twice" });
    const { period_start, ...is } = await shown(user);
    expect(is).toMatchObject({ plan_type: plan, status: "active" });
    expect(period_start.getTime()).toBe(Math.floor(kept.begins));
    await setClock("2028-03-01T00:00:00Z");
    expect(await balance(user)).toBe(plan === "y1" ? 12_000 : 1_000);
    expect(await findings(db, user)).toEqual([]);
  });

  test("at the provider, refunded before or after the other is told", async () => {
    for (const order of [
      ["one", "two", "refund"],
      ["two", "refund", "one"],
      ["refund", "one", "two"],
    ]) {
      await setClock("2027-01-15T10:00:00Z");
      const user = await createUser(db);
      const [one, two] = [`pi_${++nth}`, `pi_${++nth}`];
      for (const step of order) {
        if (step === "refund") await refund(two, plan === "y1" ? 12_000 : 1_000);
        else await pay(user, plan, "2027-01-15T10:00:00Z", step === "one" ? one : two);
      }
      expect(await shown(user), order.join()).toMatchObject({ plan_type: plan, status: "active" });
      await setClock("2028-03-01T00:00:00Z");
      expect(await balance(user), order.join()).toBe(plan === "y1" ? 12_000 : 1_000);
      expect(await findings(db, user), order.join()).toEqual([]);
    }
  });
});

test.each([
  ["unscheduled", "paused", "2027-03-20T10:00:00Z", 3_100],
  ["unscheduled", "paused", "2027-04-20T10:00:00Z", 4_100],
  ["scheduled", "paused", "2027-03-20T10:00:00Z", 3_200],
  ["scheduled", "paused", "2027-04-20T10:00:00Z", 4_300],
  ["unscheduled", "cancelled", "2027-04-20T10:00:00Z", 4_100],
])(
  "over a free plan that is %s, %s as the first touch and active at %s: no slot is lost or given twice",
  async (free, stops, goesOn, tokens) => {
    await setClock("2027-01-15T09:59:00Z");
    const user = await createUser(db);
    await about(db, user)("change_token_plan", { p_plan_type: free });
    await setClock("2027-01-15T10:00:00Z");
    await pay(user, "y1", "2027-01-15T10:00:00Z");
    const stopped = "2027-03-16T10:00:00Z";
    await setClock(stopped);
    await say(
      user,
      stops === "paused"
        ? { status: "paused", occurred_at: stopped }
        : { status: "active", occurred_at: stopped, cancel_at: stopped },
    );
    await setClock(goesOn);
    await say(user, { status: "active", occurred_at: goesOn });
    expect(await balance(user)).toBe(tokens);
    expect(await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 })).toMatchObject({
      success: true,
    });
    expect(await shown(user)).toMatchObject({ plan_type: "y1", status: "active" });
    expect(await findings(db, user)).toEqual([]);
  },
);

test("a renewal begins a period that was paid ahead and refunded", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  await pay(user, "m1", "2027-01-15T10:00:00Z");
  await refund(await pay(user, "m1", "2027-02-15T10:00:00Z"), 1_000);
  await expect(about(db, user)("renew_token_subscription")).rejects.toMatchObject({ message: "not_due_yet" });
  await setClock("2027-02-15T10:00:30Z");
  expect(await about(db, user)("renew_token_subscription")).toMatchObject({
    replayed: false,
    tokens_granted: 1_000,
  });
  expect(await balance(user)).toBe(2_000);
  expect(await findings(db, user)).toEqual([]);
});

test("a slot is there from the microsecond at which it begins, looked back at and looked at", async () => {
  await setClock("2028-02-29T10:00:00Z");
  const user = await createUser(db);
  const { id } = await buy(db, user, "y1");
  await setClock("2028-04-29T10:00:10Z");
  const { rows } = await db.admin.query(
    `select to_char((period_start at time zone 'utc') + interval '2 months' + ago, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
       from public.token_balances, unnest('{-1 microsecond,0}'::interval[]) as ago
      where user_id = $1 and payment_id = $2 order by ago`,
    [user, id],
  );
  const before = await about(db, user)("get_token_balance_as_of", { p_at: rows[0].at });
  const then = await about(db, user)("get_token_balance_as_of", { p_at: rows[1].at });
  expect([before.total_active, then.total_active, await balance(user)]).toEqual([2_000, 3_000, 3_000]);
});

/** What somebody has of a year that costs a cent a token, of which six went back by and by: looked back at, and then. */
async function ofLostCents(on: Database, goTo: (at: string) => Promise<void>): Promise<unknown[]> {
  await goTo("2027-01-15T10:00:00Z");
  const user = await createUser(on);
  const call = about(on, user);
  const tell = (facts: object) => tellOfPayment(on, `pi_cents_${user}`, facts);
  await tell({ kind: "paid", user_id: user, plan_type: "y1", period_start: "2027-01-15T10:00:00Z" });
  for (const amount_cents of [5, 1])
    await tell({ kind: "refund", refund_id: `re_${amount_cents}`, status: "succeeded", amount_cents });
  await goTo("2027-12-20T10:00:00Z");
  const had: unknown[] = [];
  for (const at of ["2027-02-14T10:00:00Z", "2027-02-16T10:00:00Z", "2027-12-16T10:00:00Z"])
    had.push((await call("get_token_balance_as_of", { p_at: at })).total_active);
  return [...had, (await call("get_user_token_balance")).total_active, await findings(on, user)];
}

test("cents that are less than a token take their share of the slots that follow, looked back at too", async () => {
  expect(await ofLostCents(db, setClock)).toEqual([1_000, 1_999, 11_994, 11_994, []]);
});

test("and a loss without an entry is seen", { tags: ["proof"] }, async () => {
  const broken = await createDatabase();
  await applyMutant(broken, "small-losses-have-no-entry");
  const goTo = await takeTheClock(broken);
  await setPlan(broken, "y1", {
    tokens: 1_000,
    price_cents: 12_000,
    billing_cycle: "annual",
    issue_every: "month",
  });
  const had = await ofLostCents(broken, goTo);
  await broken.drop();
  expect(had).toEqual([1_000, 2_000, 12_000, 11_994, []]);
});

test("and so do cents that come back, and are less than a token", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  const id = await pay(user, "y1", "2027-01-15T10:00:00Z");
  await setClock("2027-02-20T10:00:00Z");
  await refund(id, 2, "succeeded", "re_fails");
  await refund(id, 6);
  expect(await balance(user)).toBe(1_999);
  await refund(id, 2, "failed", "re_fails");
  expect(await balance(user)).toBe(1_999);
  await setClock("2027-03-20T10:00:00Z");
  expect(await about(db, user)("get_token_balance_as_of", { p_at: "2027-03-16T10:00:00Z" })).toMatchObject({
    total_active: 2_999,
  });
  expect(await balance(user)).toBe(2_999);
  expect(await findings(db, user)).toEqual([]);
});

test("a refund of a period that was renewed before it was paid for takes its share of all its slots, looked back at too", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  await pay(user, "y1", "2027-01-15T10:00:00Z");
  await setClock("2028-01-15T10:00:10Z");
  await about(db, user)("renew_token_subscription");
  await setClock("2028-04-16T10:00:00Z");
  expect(await balance(user)).toBe(16_000);
  await refund(await pay(user, "y1", "2028-01-15T10:00:00Z"), 3_000);
  await setClock("2028-08-20T10:00:00Z");
  expect(await about(db, user)("get_token_balance_as_of", { p_at: "2028-06-16T10:00:00Z" })).toMatchObject({
    total_active: 16_500,
  });
  expect(await balance(user)).toBe(18_000);
  expect(await findings(db, user)).toEqual([]);
});

test("a renewal that gave nothing, slots after it, and then its payment: what the period gave is that payment's", async () => {
  const user = await createUser(db);
  await setClock("2027-01-15T10:00:00Z");
  await pay(user, "filled", "2027-01-15T10:00:00Z");
  await setClock("2028-01-15T10:00:10Z");
  expect(await about(db, user)("renew_token_subscription")).toMatchObject({ tokens_granted: 0 });
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 700 });
  await setClock("2028-02-16T10:00:00Z");
  expect(await balance(user)).toBe(1_000);
  const id = await pay(user, "filled", "2028-01-15T10:00:00Z");
  expect(await balance(user)).toBe(2_000);
  expect(await findings(db, user)).toEqual([]);
  await refund(id, 12_000);
  expect(await balance(user)).toBe(300);
  expect(await findings(db, user)).toEqual([]);
});

test("the slots of a renewal are not those of a payment for its period that had gone back before", async () => {
  const user = await createUser(db);
  await setClock("2027-01-15T10:00:00Z");
  await pay(user, "y1", "2027-01-15T10:00:00Z");
  await setClock("2028-01-12T10:00:00Z");
  await refund(await pay(user, "y1", "2028-01-15T10:00:00Z"), 12_000);
  await setClock("2028-01-15T10:00:10Z");
  await about(db, user)("renew_token_subscription");
  await setClock("2028-03-16T10:00:00Z");
  expect(await balance(user)).toBe(15_000);
  expect(await findings(db, user)).toEqual([]);
});

/** What no function does: a subscription that says something else than what was given. */
const broken: [what: string, change: string, named: RegExp][] = [
  [
    "a next slot that was given",
    "next_slot_at = next_slot_at - interval '1 month'",
    /I9 a subscription .* next_slot_at|I12 a paid period/,
  ],
  ["a next slot that is not the next", "next_slot_at = next_slot_at + interval '1 month'", /next_slot_at/],
  [
    "a slot of the one beside that was given",
    "beside = jsonb_set(beside, '{0,next_slot_at}', to_jsonb(period_start))",
    /next_slot_at|I12 a paid period/,
  ],
  ["a payment's period that is gone", "beside = '[]'", /I12 a paid period/],
  ["slots that nothing is due of", "next_slot_at = null", /I12 a paid period/],
];
test.each(broken)("%s is found, and locks nobody out", async (_what, change, named) => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  for (const plan of ["y1", "y2"]) await pay(user, plan, "2027-01-15T10:00:00Z");
  await setClock("2027-04-20T10:00:00Z");
  expect(await balance(user)).toBe(12_000);
  expect(await findings(db, user)).toEqual([]);

  await db.admin.query(`update tokenbook.subscriptions set ${change} where user_id = $1`, [user]);
  await db.admin.query("update public.token_accounts set next_due_at = '2027-01-01' where user_id = $1", [
    user,
  ]);

  expect((await findings(db, user)).some((found) => named.test(found))).toBe(true);
  await setClock("2027-04-21T10:00:00Z");
  expect(await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 })).toMatchObject({
    success: true,
  });
  await pay(user, "m3", "2027-04-21T10:00:00Z");
  expect(await balance(user)).toBe(14_999);
});
