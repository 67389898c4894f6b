/** A subscription's states by moment: what each way of reading says, before anybody has recorded it and after. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { grant } from "../../support/books.ts";
import { giveFreePlanAtRegistration } from "../../support/plans.ts";
import { asUser, createUser, rpc } from "../../support/roles.ts";
import {
  addPlans,
  breached,
  letPeriodEnd,
  pay,
  read,
  type Reading,
  recorded,
  server,
  tell,
  touch,
} from "./readings.ts";

let bare: Database;
let withFree: Database;
beforeAll(async () => {
  [bare, withFree] = await Promise.all([createDatabase(), createDatabase()]);
  await giveFreePlanAtRegistration(withFree);
  await bare.admin.query("update public.token_plans set is_default = false");
  for (const db of [bare, withFree]) await addPlans(db);
});
afterAll(async () => {
  for (const db of [bare, withFree]) expect(await breached(db)).toEqual([]);
  await Promise.all([bare.drop(), withFree.drop()]);
});

const GRACE = 3 * 86_400;
const inForce = (status: string): Partial<Reading> => ({
  shown: `gold active ${status}`,
  older: `gold active ${status}`,
  toServer: `gold active ${status}`,
  articles: 50,
  features: { export: true },
  quota: 100,
  quotas: 100,
  olderQuotas: 100,
  alertBelow: 200,
  cap: 20_000,
  listed: true,
  balancePlan: "gold",
});
const over = {
  none: {
    shown: "none inactive ended",
    older: "none inactive ended",
    toServer: "none inactive ended",
    articles: 0,
    features: {},
    quota: 0,
    quotas: 0,
    olderQuotas: 0,
    alertBelow: null,
    cap: null,
    listed: false,
    balancePlan: null,
  },
  free: {
    shown: "free active active",
    older: "free active active",
    toServer: "free active active",
    articles: 2,
    features: {},
    quota: 0,
    quotas: 0,
    olderQuotas: 0,
    alertBelow: null,
    cap: null,
    listed: true,
    balancePlan: "free",
  },
} satisfies Record<string, Partial<Reading>>;

/** Seconds from the end of the period. */
const moments: [moment: string, secondsAfterEnd: number, is: "active" | "past_due" | "over"][] = [
  ["a day before the end", -86_400, "active"],
  ["the second before the end", -2, "active"],
  ["the instant after the end, in grace", 0, "past_due"],
  ["a second before the end of grace", GRACE - 2, "past_due"],
  ["the instant after grace", GRACE, "over"],
  ["a year later", 365 * 86_400, "over"],
];

describe.each([
  ["without a plan before", () => bare, over.none],
  ["with a free plan before", () => withFree, over.free],
] as const)("%s", (_what, database, afterwards) => {
  test.each(moments)("%s", async (_moment, seconds, is) => {
    const db = database();
    const user = await createUser(db);
    await server(db, "change_token_plan", {
      p_user_id: user,
      p_plan_type: "gold",
      p_payment_method: "manual",
    });
    await letPeriodEnd(db, user, seconds);
    const expected = is === "over" ? afterwards : inForce(is);

    const before = await read(db, user);
    const untouched = before.balancePlan;
    await touch(db);
    const after = await read(db, user);

    console.log(
      `${seconds} s after the end: ${before.shown}, ${before.quota} GB; recorded: ${await recorded(db, user)}`,
    );
    expect(before).toMatchObject(expected);
    expect(after).toEqual(before);
    expect(untouched).toBe(expected.balancePlan);
    expect(await recorded(db, user)).toHaveLength(is === "over" ? 1 : 0);
  });

  test("no token is taken by the end of a plan, and the plan limit stays", async () => {
    const db = database();
    const user = await createUser(db);
    await server(db, "change_token_plan", { p_user_id: user, p_plan_type: "gold" });
    const { tokens, limit } = await read(db, user);
    await letPeriodEnd(db, user, GRACE);

    expect(await read(db, user)).toMatchObject({ tokens, limit });
    await asUser(db, user, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 10 }),
    );
    expect(await read(db, user)).toMatchObject({ tokens: tokens - 10, limit });
  });

  test.each([
    ["by payment", (db: Database, user: string) => pay(db, user, "gold")],
    [
      "by the server",
      (db: Database, user: string) =>
        server(db, "change_token_plan", { p_user_id: user, p_plan_type: "gold" }),
    ],
  ])("who subscribes again %s has everything again at once", async (_how, subscribe) => {
    const db = database();
    for (const touches of [true, false]) {
      const user = await createUser(db);
      await server(db, "change_token_plan", { p_user_id: user, p_plan_type: "gold" });
      await letPeriodEnd(db, user, GRACE + 60);
      if (touches) await touch(db);

      await subscribe(db, user);

      expect(await read(db, user)).toMatchObject(inForce("active"));
      expect(await recorded(db, user)).toHaveLength(1);
    }
  });
});

test("a plan without grace is over with its period, and one without an end never is", async () => {
  const [strict, lasting] = [await createUser(bare), await createUser(bare)];
  await server(bare, "change_token_plan", { p_user_id: strict, p_plan_type: "strict" });
  await letPeriodEnd(bare, strict, 0);
  await server(bare, "change_token_plan", { p_user_id: lasting, p_plan_type: "free" });

  expect(await read(bare, strict)).toMatchObject(over.none);
  expect(await read(bare, lasting)).toMatchObject({ shown: "free active active" });
  const { rows } = await bare.admin.query(
    "select in_force_until, expires_at from public.token_subscriptions where user_id = any ($1) order by expires_at nulls last",
    [[strict, lasting]],
  );
  expect(rows).toEqual([
    { in_force_until: rows[0].expires_at, expires_at: expect.any(Date) },
    { in_force_until: null, expires_at: null },
  ]);
});

test("grace counts as the plan said when the period began; a change counts from the next one on", async () => {
  const user = await createUser(bare);
  await server(bare, "change_token_plan", { p_user_id: user, p_plan_type: "gold" });
  await server(bare, "set_token_plan", { p_plan_type: "gold", p_plan: { grace_days: 0 }, p_reason: "a try" });
  try {
    await letPeriodEnd(bare, user, 60);
    expect(await read(bare, user)).toMatchObject({ shown: "gold active past_due" });

    await server(bare, "renew_token_subscription", { p_user_id: user });
    await letPeriodEnd(bare, user, 0);
    expect(await read(bare, user)).toMatchObject({ shown: "none inactive ended" });
  } finally {
    await server(bare, "set_token_plan", {
      p_plan_type: "gold",
      p_plan: { grace_days: null },
      p_reason: "undone",
    });
  }
});

test("a renewal in grace goes on where the period ended; after the end it begins now", async () => {
  const [inTime, late] = [await createUser(bare), await createUser(bare)];
  for (const [user, seconds] of [
    [inTime, 86_400],
    [late, 40 * 86_400],
  ] as const) {
    await server(bare, "change_token_plan", { p_user_id: user, p_plan_type: "gold" });
    await letPeriodEnd(bare, user, seconds);
  }
  const { rows } = await bare.admin.query(
    "select to_json(expires_at) as ended from tokenbook.subscriptions where user_id = $1",
    [inTime],
  );

  const renewed = await server(bare, "renew_token_subscription", { p_user_id: inTime });
  const anew = await server(bare, "renew_token_subscription", { p_user_id: late });

  expect(renewed.period_start).toBe(rows[0].ended);
  expect(Math.abs(Date.parse(anew.period_start) - Date.now())).toBeLessThan(10_000);
  for (const user of [inTime, late]) expect(await read(bare, user)).toMatchObject(inForce("active"));
  await expect(server(bare, "renew_token_subscription", { p_user_id: late })).rejects.toMatchObject({
    message: "not_due_yet",
  });
});

test("a user who buys a higher plan for a month has the lower one again for the rest of their year", async () => {
  const user = await createUser(bare);
  await pay(bare, user, "silver", { period_start: new Date().toISOString() });
  await pay(bare, user, "gold");
  expect(await read(bare, user)).toMatchObject({ ...inForce("active"), tokens: 3_000 });
  await letPeriodEnd(bare, user, GRACE);

  const before = await read(bare, user);
  await touch(bare);

  expect(before).toMatchObject({ shown: "silver active active", quota: 10, alertBelow: 100, cap: 10_000 });
  expect(await read(bare, user)).toEqual(before);
});

test("a refund in full takes the plan and its storage, and money that comes back brings both back", async () => {
  for (const db of [bare, withFree]) {
    const user = await createUser(db);
    const id = `pi_refunded_${user}`;
    await pay(db, user, "gold", { id, amount_cents: 1000 });
    const bought = await read(db, user);
    expect(bought).toMatchObject(inForce("active"));

    await tell(db, id, { kind: "refund", refund_id: "re_1", status: "succeeded", amount_cents: 400 });
    expect(await read(db, user)).toMatchObject(inForce("active"));
    await tell(db, id, { kind: "dispute", dispute_id: "dp_1", status: "open", amount_cents: 600 });
    expect(await read(db, user)).toMatchObject(db === bare ? over.none : over.free);
    await tell(db, id, { kind: "dispute", dispute_id: "dp_1", status: "won", amount_cents: 600 });
    await tell(db, id, { kind: "refund", refund_id: "re_1", status: "failed", amount_cents: 400 });

    expect(await read(db, user)).toEqual(bought);
  }
});

test("an annual refund takes its storage too", async () => {
  for (const db of [bare, withFree]) {
    const user = await createUser(db);
    const id = `pi_annual_${user}`;
    await pay(db, user, "silver", { id, amount_cents: 500, period_start: new Date().toISOString() });
    expect(await read(db, user)).toMatchObject({
      shown: "silver active active",
      quota: 10,
      quotas: 10,
      olderQuotas: 10,
    });

    await tell(db, id, { kind: "refund", refund_id: "re_1", status: "succeeded", amount_cents: 500 });
    expect(await read(db, user)).toMatchObject(db === bare ? over.none : over.free);
  }
});

test("money that comes back after the plan's time is over brings no plan back", async () => {
  const user = await createUser(bare);
  const id = `pi_late_${user}`;
  await pay(bare, user, "gold", { id, amount_cents: 1000 });
  await tell(bare, id, { kind: "dispute", dispute_id: "dp_1", status: "open" });
  await letPeriodEnd(bare, user, GRACE);

  await tell(bare, id, { kind: "dispute", dispute_id: "dp_1", status: "won" });

  expect(await read(bare, user)).toMatchObject({ ...over.none, tokens: 2_000 });
});

test("a refund leaves the plan that a later payment has renewed, and storage that was given beside plans", async () => {
  const user = await createUser(bare);
  const id = `pi_first_${user}`;
  await pay(bare, user, "gold", { id, amount_cents: 1000 });
  await bare.admin.query("insert into public.token_storage_quotas (user_id, quota_gb) values ($1, 7)", [
    user,
  ]);
  await pay(bare, user, "gold");

  await tell(bare, id, { kind: "refund", refund_id: "re_1", status: "succeeded", amount_cents: 1000 });
  expect(await read(bare, user)).toMatchObject({
    ...inForce("active"),
    quota: 107,
    quotas: 107,
    olderQuotas: 107,
  });

  await letPeriodEnd(bare, user, GRACE);
  expect(await read(bare, user)).toMatchObject({ ...over.none, quota: 7, quotas: 7, olderQuotas: 7 });
});

test("an alert rule of a plan holds no longer than the plan, also for a user who only spends", async () => {
  const user = await createUser(bare);
  await server(bare, "set_token_alert_rule", {
    p_rule: "low",
    p_kind: "dropped",
    p_threshold_tokens: 1_500,
    p_for_everyone: true,
  });
  try {
    await server(bare, "change_token_plan", { p_user_id: user, p_plan_type: "gold" }); // 2,000; its rule says 200
    await letPeriodEnd(bare, user, GRACE);

    await server(bare, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 600 });

    const { rows } = await bare.admin.query(
      "select kind, payload ->> 'threshold_tokens' as threshold from public.token_alerts where user_id = $1 and kind = 'dropped'",
      [user],
    );
    expect(rows).toEqual([{ kind: "dropped", threshold: "1500" }]);
  } finally {
    await server(bare, "remove_token_alert_rule", { p_rule: "low", p_for_everyone: true });
  }
});

test("a user gets one alert that their plan ended, with the plan's name", async () => {
  const user = await createUser(bare);
  await grant(bare, user, 5);
  await server(bare, "change_token_plan", { p_user_id: user, p_plan_type: "gold" });
  await letPeriodEnd(bare, user, GRACE);
  for (const _ of [1, 2]) await touch(bare);

  const { rows } = await bare.admin.query(
    `select t.kind, t.payload ->> 'ended_plan_type' as ended, t.payload ? 'plan_type' and t.payload ->> 'plan_type' is not null as has_plan, a.last_alert_id = t.id as is_newest
       from public.token_alerts t join public.token_accounts a using (user_id) where user_id = $1`,
    [user],
  );
  expect(rows).toEqual([{ kind: "subscription_ended", ended: "gold", has_plan: false, is_newest: true }]);
});
