import { afterAll, beforeAll, expect, test } from "vitest";
import { takeTheClock } from "../../support/clock.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { asService, rpc } from "../../support/roles.ts";
import { about, findings, given, looks, type PlanFields, setPlan, userOn } from "./schedules.ts";

let db: Database;
let setClock: (at: string) => Promise<void>;
beforeAll(async () => {
  db = await createDatabase();
  setClock = await takeTheClock(db);
});
afterAll(() => db.drop());

interface Moment {
  name: string;
  plan: PlanFields;
  begins: string;
  /** What is spent, and when. */
  spent?: [at: string, tokens: number][];
  at: string;
  /** What can be spent then. */
  balance: number;
  /** What the schedule has given when it is booked then: [slot, count, tokens, until]. */
  gives: [slot: string, count: number, tokens: number, until: string | null][];
}

const yearly: PlanFields = { tokens: 100, billing_cycle: "annual", issue_every: "month", price_cents: 900 };
const refilled: PlanFields = { tokens: 100, refill_to: 100, issue_every: "month", issue_on: "calendar" };
const daily: PlanFields = { tokens: 10, issue_every: "day", issue_on: "calendar", grant_lifetime_days: 3 };
const drip: PlanFields = { tokens: 10, issue_every: "day" };

const moments: Moment[] = [
  {
    name: "a month before it is over",
    plan: yearly,
    begins: "2027-01-31T10:00Z",
    at: "2027-02-28T09:59:55Z",
    balance: 100,
    gives: [],
  },
  {
    name: "the instant after a month that began on the 31st",
    plan: yearly,
    begins: "2027-01-31T10:00Z",
    at: "2027-02-28T10:00:20Z",
    balance: 200,
    gives: [["2027-02-28 10:00", 1, 100, null]],
  },
  {
    name: "two months late",
    plan: yearly,
    begins: "2027-01-31T10:00Z",
    spent: [["2027-02-01T00:00Z", 70]],
    at: "2027-04-30T09:00Z",
    balance: 230,
    gives: [["2027-03-31 10:00", 2, 200, null]],
  },
  {
    name: "after the last month of a year that nobody renewed",
    plan: yearly,
    begins: "2028-02-29T10:00Z",
    at: "2029-06-30T00:00Z",
    balance: 1_200,
    gives: [["2029-01-29 10:00", 11, 1_100, null]],
  },
  {
    name: "a free plan before the first of the month",
    plan: refilled,
    begins: "2027-01-31T10:00Z",
    spent: [["2027-01-31T12:00Z", 60]],
    at: "2027-01-31T23:59:55Z",
    balance: 40,
    gives: [],
  },
  {
    name: "a free plan on the first of the month",
    plan: refilled,
    begins: "2027-01-31T10:00Z",
    spent: [["2027-01-31T12:00Z", 60]],
    at: "2027-02-01T00:00Z",
    balance: 100,
    gives: [["2027-02-01 00:00", 1, 60, null]],
  },
  {
    name: "a free plan of which nothing was used",
    plan: refilled,
    begins: "2027-01-31T10:00Z",
    at: "2027-02-01T00:00Z",
    balance: 100,
    gives: [],
  },
  {
    name: "a free plan a year late",
    plan: refilled,
    begins: "2027-01-31T10:00Z",
    spent: [["2027-01-31T12:00Z", 60]],
    at: "2028-01-15T00:00Z",
    balance: 100,
    gives: [["2028-01-01 00:00", 1, 60, null]],
  },
  {
    name: "ten a month, and no more than 100",
    plan: { ...refilled, tokens: 10 },
    begins: "2027-01-31T10:00Z",
    spent: [["2027-01-31T12:00Z", 10]],
    at: "2027-05-01T00:00Z",
    balance: 10,
    gives: [["2027-05-01 00:00", 1, 10, null]],
  },
  {
    name: "a day's tokens that live for three, at midnight",
    plan: daily,
    begins: "2028-02-27T10:00Z",
    at: "2028-02-28T00:00Z",
    balance: 20,
    gives: [["2028-02-28 00:00", 1, 10, "2028-03-02 00:00"]],
  },
  {
    name: "a day's tokens touched late have the rest of their life, and what has run out is not made up",
    plan: daily,
    begins: "2028-02-27T10:00Z",
    at: "2028-03-10T18:00Z",
    balance: 30,
    gives: [
      ["2028-03-08 00:00", 1, 10, "2028-03-11 00:00"],
      ["2028-03-09 00:00", 1, 10, "2028-03-12 00:00"],
      ["2028-03-10 00:00", 1, 10, "2028-03-13 00:00"],
    ],
  },
  {
    name: "the instant at which a day's tokens run out that nobody has booked",
    plan: daily,
    begins: "2028-02-27T10:00Z",
    at: "2028-03-11T00:00Z",
    balance: 30,
    gives: [
      ["2028-03-09 00:00", 1, 10, "2028-03-12 00:00"],
      ["2028-03-10 00:00", 1, 10, "2028-03-13 00:00"],
      ["2028-03-11 00:00", 1, 10, "2028-03-14 00:00"],
    ],
  },
  {
    name: "a year of days that nobody touched, in one grant",
    plan: drip,
    begins: "2027-03-01T10:00Z",
    at: "2028-03-01T10:00:20Z",
    balance: 3_670,
    gives: [["2028-03-01 10:00", 366, 3_660, null]],
  },
  {
    name: "weeks on Mondays",
    plan: { tokens: 7, issue_every: "week", issue_on: "calendar" },
    begins: "2027-01-31T10:00Z", // a Sunday
    at: "2027-02-08T00:00:00Z",
    balance: 21,
    gives: [["2027-02-08 00:00", 2, 14, null]],
  },
];

/** What somebody may do with an account, and by how much that changes the balance. */
const touches: Record<string, { by: number; how: (user: string) => Promise<unknown> }> = {
  "a balance": { by: 0, how: (user) => about(db, user)("get_user_token_balance") },
  "the sweep": { by: 0, how: () => asService(db, (client) => rpc(client, "expire_old_token_grants")) },
  "a deduction": {
    by: -1,
    how: (user) => about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 }),
  },
  "a tracked use": {
    by: -1,
    how: (user) =>
      about(db, user)("track_token_usage", { p_action_type: "chat_conversation", p_tokens_used: 1 }),
  },
  "a hold": { by: -1, how: (user) => about(db, user)("reserve_tokens", { p_tokens: 1 }) },
  "a batch": {
    by: -1,
    how: (user) =>
      asService(db, (client) =>
        rpc(client, "deduct_tokens_batch", { p_items: [{ user_id: user, tokens: 1 }] }),
      ),
  },
  "a correction": {
    by: -1,
    how: (user) => about(db, user)("adjust_tokens", { p_delta: -1, p_reason: "a test" }),
  },
  "a grant": {
    by: 5,
    how: (user) => about(db, user)("grant_tokens", { p_tokens: 5, p_grant_type: "purchase" }),
  },
};

for (const [nth, moment] of moments.entries()) {
  test(`${moment.name}: every read says so before anybody touched it, and every touch books it once`, async () => {
    const plan = `plan_${nth}`;
    await setPlan(db, plan, moment.plan);
    await setClock(moment.begins);
    const users: Record<string, string> = {};
    for (const touch of Object.keys(touches)) users[touch] = await userOn(db, plan);
    for (const [at, tokens] of moment.spent ?? []) {
      await setClock(at);
      for (const user of Object.values(users)) {
        await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: tokens });
      }
    }

    await setClock(moment.at);
    const totals = async (user: string) => {
      const seen = await looks(db, user);
      const balance = seen["balance"] as { total_active: number; grants: { tokens_remaining: number }[] };
      const asOf = seen["as of now"] as typeof balance;
      const payers = seen["estimate"] as { deducted: number }[];
      const { rows } = await db.admin.query(
        "select vibe_assistant_tokens_remaining::int as counter from public.token_counters where user_id = $1",
        [user],
      );
      const sum = (of: typeof balance) =>
        of.grants.reduce((all, { tokens_remaining }) => all + tokens_remaining, 0);
      return {
        balance: balance.total_active,
        listed: sum(balance),
        "as of now": asOf.total_active,
        "listed as of now": sum(asOf),
        estimate: payers.reduce((all, { deducted }) => all + deducted, 0),
        counter: rows[0].counter,
      };
    };
    const all = (tokens: number) => ({
      balance: tokens,
      listed: tokens,
      "as of now": tokens,
      "listed as of now": tokens,
      estimate: tokens,
      counter: tokens,
    });
    for (const [touch, { by, how }] of Object.entries(touches)) {
      const user = users[touch]!;
      const before = await looks(db, user);
      expect(await totals(user), `before ${touch}`).toEqual(all(moment.balance));
      await how(user);
      expect(await totals(user), `after ${touch}`).toEqual(all(moment.balance + by));
      if (by === 0) expect(await looks(db, user), `after ${touch}`).toEqual(before);
      await how(user); // and a second time gives no more
      expect(await totals(user), `after ${touch} again`).toEqual(all(moment.balance + 2 * by));
      expect(
        (await given(db, user)).map(({ slot, count, tokens, until }) => [slot, count, tokens, until]),
        touch,
      ).toEqual(moment.gives);
      expect(await findings(db, user), touch).toEqual([]);
    }
  });
}
