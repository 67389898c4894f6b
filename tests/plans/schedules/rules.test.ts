import { afterAll, beforeAll, expect, test } from "vitest";
import { takeTheClock } from "../../support/clock.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { recordSubscriptionEvent } from "../../support/provider-events.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";
import { about, findings, given, setPlan, tellOfPayment, userOn } from "./schedules.ts";

let db: Database;
let setClock: (at: string) => Promise<void>;
beforeAll(async () => {
  db = await createDatabase();
  setClock = await takeTheClock(db);
  await setPlan(db, "yearly", {
    tokens: 100,
    billing_cycle: "annual",
    issue_every: "month",
    price_cents: 1_200,
    rank: 50,
  });
  await setPlan(db, "refilled", {
    tokens: 100,
    refill_to: 100,
    issue_every: "month",
    issue_on: "calendar",
    rank: 1,
  });
  await setPlan(db, "drip", { tokens: 10, issue_every: "day", rank: 1 });
  await setPlan(db, "gold", { tokens: 1_000, billing_cycle: "monthly", price_cents: 1_000, rank: 14 });
});
afterAll(() => db.drop());

const balance = async (user: string) =>
  (await about(db, user)("get_user_token_balance")).total_active as number;
const pay = (id: string, facts: object) =>
  tellOfPayment(db, id, { occurred_at: "2027-01-15T00:00:00Z", ...facts });
const subscription = async (user: string) =>
  (await db.admin.query("select * from public.token_subscriptions where user_id = $1", [user])).rows[0];

test("a slot repays what is owed first", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "yearly");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 100 });
  const mistake = await about(db, user)("grant_tokens", { p_tokens: 30, p_grant_type: "purchase" });
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 30 });
  await about(db, user)("void_token_grant", { p_grant_id: mistake.grant_id, p_take_back: true });

  await setClock("2027-02-15T10:00:10Z");
  expect(await about(db, user)("get_user_token_balance")).toMatchObject({ total_active: 70, total_owed: 0 });
  expect(await findings(db, user)).toEqual([]);
});

test("the plan limit is the balance after a slot, as after a renewal", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "yearly");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 80 });
  await setClock("2027-02-15T10:00:10Z");
  expect(await about(db, user)("get_user_token_balance")).toMatchObject({
    total_active: 120,
    tokens_limit: 120,
  });
  expect(await findings(db, user)).toEqual([]);
});

test("an alert that was raised is armed again by the slot that fills the balance", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "refilled");
  await asService(db, (client) =>
    rpc(client, "set_token_alert_rule", {
      p_rule: "low",
      p_kind: "dropped",
      p_threshold_tokens: 50,
      p_notify_recovered: true,
      p_user_id: user,
    }),
  );
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 80 });
  await setClock("2027-02-01T00:00:01Z");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1 });
  const { rows } = await db.admin.query(
    "select kind, (payload ->> 'tokens_remaining')::int as tokens from public.token_alerts where user_id = $1 order by id",
    [user],
  );
  expect(rows.map(({ kind }) => kind)).toEqual(["dropped", "recovered"]);
});

test("tokens that a hold has set aside when a slot begins are not filled up, so nobody has them twice", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "refilled");
  await setClock("2027-01-31T23:59:00Z");
  const hold = await about(db, user)("reserve_tokens", { p_tokens: 70, p_ttl_seconds: 3_600 });
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 20 });
  await setClock("2027-02-01T00:01:00Z");
  await about(db, user)("release_tokens", { p_hold_id: hold.hold_id });
  expect(await balance(user)).toBe(100);
  expect(await findings(db, user)).toEqual([]);
});

test("a pack does not count against what the plan fills up to", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "refilled");
  await about(db, user)("grant_tokens", { p_tokens: 500, p_grant_type: "purchase" });
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 90 });
  await setClock("2027-02-01T00:00:01Z");
  expect(await balance(user)).toBe(600);
});

test("a frozen account gets nothing, and the newest slot once it is not any more", async () => {
  for (const plan of ["refilled", "drip"]) {
    await setClock("2027-01-15T10:00:00Z");
    const user = await userOn(db, plan);
    await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 10 });
    const was = await balance(user);
    await about(db, user)("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
    await setClock("2027-04-20T12:00:00Z");
    expect(await balance(user), plan).toBe(was);
    await asService(db, (client) => rpc(client, "expire_old_token_grants"));
    expect(await given(db, user), plan).toEqual([]);

    await about(db, user)("set_token_account_state", { p_state: "active", p_reason: "a test" });
    expect(await balance(user), plan).toBe(was + 10);
    expect(await given(db, user), plan).toMatchObject([
      { slot: plan === "drip" ? "2027-04-20 10:00" : "2027-04-01 00:00", count: 1 },
    ]);
    expect(await findings(db, user), plan).toEqual([]);
  }
});

test.each([
  ["a downgrade", ["gold", "drip"]],
  ["a free plan that was there before", ["drip", "gold"]],
])("frozen while %s takes over: its newest slot, and not those before", async (_, plans) => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, plans[0]!);
  await about(db, user)("change_token_plan", { p_plan_type: plans[1] });
  const was = await balance(user);
  await about(db, user)("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
  await setClock("2027-03-17T12:00:00Z");
  expect(await balance(user)).toBe(was);

  await about(db, user)("set_token_account_state", { p_state: "active", p_reason: "a test" });
  expect(await subscription(user)).toMatchObject({ plan_type: "drip" });
  await setClock("2027-03-17T12:00:10Z");
  const back = await about(db, user)("get_token_balance_as_of", { p_at: "2027-03-17T12:00:05Z" });
  expect([back.total_active, await balance(user)]).toEqual([was + 10, was + 10]);
  expect(await given(db, user)).toMatchObject([{ slot: "2027-03-17 10:00", count: 1, tokens: 10 }]);
  expect(await findings(db, user)).toEqual([]);
});

test("what a year paid for owes is made up when a free plan took over while the account was frozen", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  await pay(`pi_f_${user}`, { kind: "paid", user_id: user, plan_type: "yearly", amount_cents: 1_200 });
  await setClock("2027-11-16T10:00:00Z");
  await about(db, user)("change_token_plan", { p_plan_type: "drip" });
  expect(await balance(user)).toBe(1_100);
  await about(db, user)("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
  await setClock("2028-02-20T12:00:00Z");
  await about(db, user)("set_token_account_state", { p_state: "active", p_reason: "a test" });
  await setClock("2028-02-20T12:00:10Z");
  const back = await about(db, user)("get_token_balance_as_of", { p_at: "2028-02-20T12:00:05Z" });
  expect([back.total_active, await balance(user)]).toEqual([1_210, 1_210]);
  expect(await findings(db, user)).toEqual([]);
});

test("a downgrade is looked back at before anybody has recorded it, and after", async () => {
  for (const isPaid of [false, true]) {
    await setClock("2027-01-15T10:00:00Z");
    const user = await createUser(db);
    const facts = { kind: "paid", user_id: user, plan_type: "gold", amount_cents: 1_000 };
    if (isPaid) await pay(`pi_d_${user}`, { ...facts, period_start: "2027-01-15T10:00:00Z" });
    else await about(db, user)("change_token_plan", { p_plan_type: "gold" });
    await setClock("2027-01-16T10:00:00Z");
    await about(db, user)("change_token_plan", { p_plan_type: "drip" });
    const looked = async (p_at: string) =>
      (await about(db, user)("get_token_balance_as_of", { p_at })).total_active as number;

    await setClock("2027-02-19T12:00:10Z");
    const at = "2027-02-19T12:00:05Z"; // five slots since the month was over
    const before = await looked(at);
    expect([before, await balance(user), await looked(at)]).toEqual([1_050, 1_050, 1_050]);
    expect(await findings(db, user)).toEqual([]);
  }
});

test("what was due before an account was frozen is its own, booked or not", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "drip");
  await setClock("2027-01-18T11:00:00Z");
  await about(db, user)("set_token_account_state", { p_state: "frozen", p_reason: "a test" });
  expect(await balance(user)).toBe(40);
  expect(await findings(db, user)).toEqual([]);
});

test("a sweep goes on while there are slots that give nothing, and comes back to none of them", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const users = await Promise.all(Array.from({ length: 5 }, () => userOn(db, "refilled")));
  await setClock("2027-02-01T00:00:10Z");
  const sweep = () =>
    asService(db, (client) => rpc(client, "expire_old_token_grants", { p_max_accounts: 2 }));
  let calls = 0;
  while (Number(await sweep()) > 0) calls++;
  expect(calls).toBeGreaterThanOrEqual(3);
  const { rows } = await db.admin.query(
    `select count(*) filter (where a.next_due_at > '2027-02-28')::int as moved_on, sum(a.last_transaction_id)::int as entries
       from public.token_accounts a where a.user_id = any ($1)`,
    [users],
  );
  expect(rows).toEqual([{ moved_on: 5, entries: 5 }]);
});

/** What users of a refill have after sweeps that cannot book all at once, beside users whose slots are many. */
async function sweptTogether(mutant?: string): Promise<number[]> {
  const on = await createDatabase();
  try {
    const set = await takeTheClock(on);
    if (mutant !== undefined) await applyMutant(on, mutant);
    await setPlan(on, "kept", { tokens: 10, issue_every: "day", grant_lifetime_days: 60, rank: 1 });
    await setPlan(on, "topped", {
      tokens: 100,
      refill_to: 100,
      issue_every: "month",
      grant_lifetime_days: 40,
      rank: 1,
    });
    await set("2027-01-15T10:00:00Z");
    const topped: string[] = [];
    for (let nth = 0; nth < 12; nth++) {
      for (const plan of ["kept", "kept"]) await userOn(on, plan);
      topped.push(await userOn(on, "topped"));
    }
    // the slot of the 31st day finds 100 tokens, and these run out on the 40th
    await set("2027-03-01T10:00:00Z");
    let sweeps = 0;
    while (Number(await asService(on, (client) => rpc(client, "expire_old_token_grants"))) > 0) sweeps++;
    expect(sweeps).toBeGreaterThan(2);
    const { rows } = await on.admin.query(
      "select distinct tokens_remaining::int as tokens from public.token_accounts where user_id = any ($1) order by 1",
      [topped],
    );
    return rows.map(({ tokens }) => tokens as number);
  } finally {
    await on.drop();
  }
}

test("an account that a sweep has no room for waits whole: its slots come before its expiries", async () => {
  expect(await sweptTogether()).toEqual([0]);
});

test("the trial sees it: expiries that are booked before slots", { tags: ["proof"] }, async () => {
  expect(await sweptTogether("postponed-accounts-lose-first")).toContain(100);
});

test("after its user was deleted an account gets nothing, and no sweep comes back to it", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "drip");
  await db.admin.query("delete from auth.users where id = $1", [user]);
  await setClock("2027-02-15T10:00:10Z");
  await asService(db, (client) => rpc(client, "expire_old_token_grants"));
  const { rows } = await db.admin.query(
    "select tokens_remaining::int as tokens, next_due_at from public.token_accounts where user_id = $1",
    [user],
  );
  expect(rows).toEqual([{ tokens: 10, next_due_at: null }]);
  expect(await findings(db, user)).toEqual([]);
});

test("a plan whose money was taken back gives no more slots; its share of those that it gave goes back too", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  await pay(`pi_${user}`, { kind: "paid", user_id: user, plan_type: "yearly", amount_cents: 1_200 });
  await setClock("2027-03-20T10:00:10Z");
  expect(await balance(user)).toBe(300);

  await pay(`pi_${user}`, {
    kind: "refund",
    refund_id: "re_1",
    status: "succeeded",
    amount_cents: 300,
    occurred_at: "2027-03-20T10:00:00Z",
  });
  expect(await balance(user)).toBe(225);
  // a quarter of the money is gone: and so is a quarter of what is still to come
  await setClock("2027-04-20T10:00:10Z");
  expect(await about(db, user)("get_token_balance_as_of", { p_at: "2027-04-20T10:00:05Z" })).toMatchObject({
    total_active: 300,
  });
  expect(await balance(user)).toBe(300);
  expect(await findings(db, user)).toEqual([]);

  await pay(`pi_${user}`, {
    kind: "refund",
    refund_id: "re_2",
    status: "succeeded",
    amount_cents: 900,
    occurred_at: "2027-04-20T10:00:00Z",
  });
  expect(await balance(user)).toBe(0);
  await setClock("2027-06-20T10:00:10Z");
  expect(await balance(user)).toBe(0);
  expect(await findings(db, user)).toEqual([]);

  // and when the second refund bounces, what was missed meanwhile is made up
  await pay(`pi_${user}`, {
    kind: "refund",
    refund_id: "re_2",
    status: "failed",
    amount_cents: 900,
    occurred_at: "2027-06-20T10:00:00Z",
  });
  expect(await balance(user)).toBe(450);
  expect(await findings(db, user)).toEqual([]);
});

test("when a plan ends, its last slots are given and a free plan that follows begins with its own", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "yearly");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 100 });
  await about(db, user)("change_token_plan", { p_plan_type: "refilled" });
  await setClock("2027-11-20T00:00:00Z");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1_000 });
  // one slot more before the end, and then the free plan's first and newest
  await setClock("2028-03-10T00:00:00Z");
  const before = await about(db, user)("get_token_balance_as_of", { p_at: "2028-03-10T00:00:00Z" });
  expect(await balance(user)).toBe(100);
  expect(before.total_active).toBe(100);
  expect(await given(db, user)).toMatchObject([
    { slot: "2027-11-15 10:00", count: 10, tokens: 1_000 },
    { slot: "2027-12-15 10:00", count: 1, tokens: 100 },
  ]);
  expect(await subscription(user)).toMatchObject({
    plan_type: "refilled",
    next_slot_at: new Date("2028-04-01T00:00:00Z"),
  });
  expect(await findings(db, user)).toEqual([]);
});

test("a free plan that follows a paid one is filled up at once", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "yearly");
  await about(db, user)("change_token_plan", { p_plan_type: "refilled" });
  await setClock("2028-01-15T09:00:00Z");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1_190 });
  await setClock("2028-01-15T10:00:10Z");
  expect(await balance(user)).toBe(100);
  expect(await given(db, user)).toMatchObject([{ tokens: 1_100 }, { slot: "2028-01-15 10:00", tokens: 90 }]);
  expect(await findings(db, user)).toEqual([]);
});

test("a free plan that waited beside a paid one gives its newest slot when it is in force again, and not those before", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "refilled");
  await about(db, user)("change_token_plan", { p_plan_type: "yearly" });
  await setClock("2028-01-14T10:00:00Z");
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 1_300 });
  await setClock("2028-01-18T09:59:00Z"); // the last day of grace
  expect(await balance(user)).toBe(0);
  await setClock("2028-01-18T10:00:30Z");
  const back = await about(db, user)("get_token_balance_as_of", { p_at: "2028-01-18T10:00:30Z" });
  expect([back.total_active, await balance(user)]).toEqual([100, 100]);
  expect((await given(db, user)).at(-1)).toMatchObject({ slot: "2028-01-01 00:00", count: 1, tokens: 100 });
  expect(await subscription(user)).toMatchObject({
    plan_type: "refilled",
    next_slot_at: new Date("2028-02-01T00:00:00Z"),
  });
  await about(db, user)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 30 });
  await setClock("2028-02-01T00:00:10Z");
  expect(await balance(user)).toBe(100);
  expect(await findings(db, user)).toEqual([]);
});

test("what was paid for comes while the plan is paused, and after it was cancelled at once: the money is kept", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  await pay(`pi_p_${user}`, {
    kind: "paid",
    user_id: user,
    plan_type: "yearly",
    amount_cents: 1_200,
  });
  const say = (status: string, occurred_at: string) =>
    recordSubscriptionEvent(db, `sub_${user}`, { user_id: user, plan_type: "yearly", status, occurred_at });
  await setClock("2027-03-20T10:00:00Z");
  await say("paused", "2027-03-20T10:00:00Z");
  expect(await balance(user)).toBe(300);
  await setClock("2027-04-20T10:00:00Z");
  expect(await balance(user)).toBe(400);
  await setClock("2027-05-20T10:00:10Z");
  await say("active", "2027-05-20T10:00:00Z");
  expect(await balance(user)).toBe(500);
  await setClock("2027-06-15T10:00:10Z");
  expect(await balance(user)).toBe(600);
  await say("cancelled", "2027-06-15T10:00:10Z");
  await setClock("2028-06-15T10:00:10Z");
  expect(await balance(user)).toBe(1_200);
  expect(await findings(db, user)).toEqual([]);
});

test("days of grace give no slots; a renewal begins with its own, once, and a payment for it later changes nothing", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const user = await userOn(db, "yearly");
  await setClock("2028-01-16T10:00:10Z");
  expect(await balance(user)).toBe(1_200);
  const { period_start: began } = await about(db, user)("renew_token_subscription");
  expect(await balance(user)).toBe(1_300);
  expect(
    await about(db, user)("renew_token_subscription", { p_period_start: began }).catch(String),
  ).toMatchObject({
    replayed: true,
  });
  await setClock("2028-02-15T10:00:10Z");
  expect(await balance(user)).toBe(1_400);
  expect(await findings(db, user)).toEqual([]);
});

test("a plan without an end that nobody paid for follows the catalogue after its next slot; one with an end keeps its terms", async () => {
  await setPlan(db, "endless", { tokens: 10, issue_every: "day" });
  await setPlan(db, "bought", { tokens: 10, issue_every: "day", billing_cycle: "annual", price_cents: 100 });
  await setClock("2027-01-15T10:00:00Z");
  const [endless, bought] = [await userOn(db, "endless"), await userOn(db, "bought")];
  await setPlan(db, "endless", { tokens: 50 });
  await setPlan(db, "bought", { tokens: 50 });
  await setClock("2027-01-16T10:00:10Z");
  expect([await balance(endless), await balance(bought)]).toEqual([20, 20]);
  await setClock("2027-01-17T10:00:10Z");
  expect([await balance(endless), await balance(bought)]).toEqual([70, 30]);
  await setPlan(db, "endless", { tokens: 50, issue_every: null });
  await setClock("2027-01-18T10:00:10Z");
  expect(await balance(endless)).toBe(120);
  await setClock("2027-02-18T10:00:10Z");
  expect(await balance(endless)).toBe(120);
  expect([...(await findings(db, endless)), ...(await findings(db, bought))]).toEqual([]);
});

test("what a user asked for keeps the schedule that it was asked for at", async () => {
  await setPlan(db, "asked", { tokens: 10, issue_every: "week", billing_cycle: "annual", price_cents: 100 });
  await setClock("2027-01-15T10:00:00Z");
  const user = await createUser(db);
  const { payment_id } = await asUser(db, user, (client) =>
    rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: "asked" }),
  );
  await setPlan(db, "asked", { tokens: 99, issue_every: "month" });
  await about(db, user)("approve_token_payment", { p_payment_id: payment_id });
  await setClock("2027-01-22T10:00:10Z");
  expect(await balance(user)).toBe(20);
  expect(await subscription(user)).toMatchObject({ schedule: { every: "week", tokens: 10 } });
});

test("a member of a team spends what their payer's plan has just given", async () => {
  await setClock("2027-01-15T10:00:00Z");
  const [payer, member] = [await userOn(db, "drip"), await createUser(db)];
  await asService(db, (client) =>
    rpc(client, "add_token_team_member", { p_user_id: payer, p_member_id: member }),
  );
  await setClock("2027-01-16T10:00:10Z");
  expect(await balance(member)).toBe(20);
  expect(await about(db, member)("deduct_tokens_with_fifo", { p_tokens_to_deduct: 20 })).toMatchObject({
    success: true,
  });
  expect(await findings(db, payer)).toEqual([]);
});

test.each([
  [
    { tokens: 10, issue_every: "month", billing_cycle: "monthly" },
    "issue_every",
    "day or week: a period of this plan is no longer than a month",
  ],
  [
    { tokens: 10, issue_every: "hour" },
    "issue_every",
    "one of day, week, month, or null for a whole period at once",
  ],
  [{ tokens: 10, issue_every: "day", issue_on: "noon" }, "issue_on", "anniversary or calendar"],
  [{ tokens: 10, refill_to: 5 }, "refill_to", "1 or more with issue_every, else null"],
  [{ tokens: 10, issue_every: "day", refill_to: 0 }, "refill_to", "1 or more with issue_every, else null"],
  [
    { tokens: 10, issue_every: "day", balance_cap: 50 },
    "balance_cap",
    "null: what a slot fills up to is refill_to",
  ],
  [
    { tokens: 10, issue_every: "day", rollover_percent: 50 },
    "rollover_percent",
    "null: slots are not carried over, their tokens live as long as grant_lifetime_days says",
  ],
  [
    { tokens: 10, issue_every: "day", grant_type: "trial", grant_lifetime_days: 5 },
    "issue_every",
    "null: a trial is given at once",
  ],
  [
    { tokens: 10, grant_type: "trial" },
    "grant_lifetime_days",
    "1 to 36500: grants of this plan's grant_type must end",
  ],
  [{ tokens: 100_000_001, issue_every: "day" }, "tokens", "1 to 100000000 for each day, week or month"],
  [
    { tokens: 10, issue_every: "day", grant_lifetime_days: 401 },
    "grant_lifetime_days",
    "at most 400 where issue_every is day, 2800 where week, 12000 where month; or null for ever",
  ],
])("a schedule that does not fit is refused by the field: %o", async (fields, field, rule) => {
  await expect(setPlan(db, "refused", fields as never)).rejects.toMatchObject({ message: "invalid_plan" });
  const told = await setPlan(db, "refused", fields as never).catch(({ detail }) => JSON.parse(detail));
  expect(told).toEqual({ field, rule });
});
