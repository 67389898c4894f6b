/** A trial ends with its tokens, and a trial that is over is over. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { moment } from "../support/provider-events.ts";
import { asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";
import { addPlans, pay, read, say, server, touch } from "./lifecycle/readings.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
  await db.admin.query("update public.token_plans set is_default = false");
  await addPlans(db);
  for (const [plan, fields] of Object.entries({
    try: { tokens: 1000, storage_gb: 3, rank: 20, grant_lifetime_days: 14 },
    paid_try: {
      tokens: 1000,
      rank: 20,
      grant_lifetime_days: 14,
      price_cents: 100,
      billing_cycle: "annual",
      grace_days: 30,
    },
  }))
    await server(db, "set_token_plan", {
      p_plan_type: plan,
      p_plan: { name: plan, grant_type: "trial", ...fields },
      p_reason: "a test",
    });
});
afterAll(async () => {
  await expectCleanBooks(db);
  await db.drop();
});

const SECOND = 1 / 86_400;
const change = (user: string, plan: string, of = db) =>
  server(of, "change_token_plan", { p_user_id: user, p_plan_type: plan });
const shown = async (user: string, of = db) => (await read(of, user)).shown;
const look = (user: string, of = db) => asUser(of, user, (client) => rpc(client, "get_user_token_balance"));

describe.each([
  ["with nothing beside it", "none inactive ended", []],
  ["with a free plan beside it", "free active active", ["free"]],
])("%s", (_what, afterwards, before) => {
  test("it is in force until its tokens end, whether anybody has touched the account or not", async () => {
    for (const touches of [true, false]) {
      const user = await createUser(db);
      for (const plan of before) await change(user, plan);
      await change(user, "try");
      const { rows } = await db.admin.query(
        `select s.expires_at = b.expires_at as ends_with_its_tokens, s.in_force_until = s.expires_at as has_no_grace, s.auto_renew
           from public.token_subscriptions s join public.token_balances b on b.user_id = s.user_id and b.grant_type = 'trial'
          where s.user_id = $1`,
        [user],
      );
      expect(rows).toEqual([{ ends_with_its_tokens: true, has_no_grace: true, auto_renew: false }]);

      await letTimePass(db, user, 14 - 60 * SECOND);
      const given = before.length > 0 ? 10_000 : 0;
      expect(await read(db, user)).toMatchObject({
        shown: "try active active",
        quota: 3,
        tokens: 1_000 + given,
      });
      await letTimePass(db, user, 60 * SECOND);
      if (touches) await touch(db);
      expect(await read(db, user)).toMatchObject({ shown: afterwards, quota: 0, tokens: given });
    }
  });

  test("bought within it, and cancelled: on the trial again while that lasts, never after it", async () => {
    for (const [days, is] of [
      [3, "try active active"],
      [13, "try active active"],
      [15, afterwards],
      [200, afterwards],
    ] as const) {
      const user = await createUser(db);
      for (const plan of before) await change(user, plan);
      await change(user, "try");
      await pay(db, user, "silver", { subscription_id: `sub_${user}` }); // a year, of a lower rank
      expect(await shown(user)).toBe("silver active active");
      await letTimePass(db, user, days);
      expect(await shown(user)).toBe("silver active active");

      await say(db, `sub_${user}`, {
        user_id: user,
        plan_type: "silver",
        status: "cancelled",
        cancel_at: moment(),
      });
      expect(await shown(user), `${days} days later`).toBe(is);
    }
  });
});

test("a default plan that is a trial ends, and is not given again; nor is the default plan after it", async () => {
  const of = await createDatabase();
  try {
    await addPlans(of);
    await server(of, "set_token_plan", {
      p_plan_type: "trial",
      p_plan: { is_default: true, given_to_users_since: "-infinity" },
      p_reason: "a test",
    });
    const user = await createUser(of);
    await look(user, of);
    expect(await shown(user, of)).toBe("trial active active");
    await letTimePass(of, user, 57);
    for (const _ of [1, 2]) {
      expect(await shown(user, of)).toBe("none inactive ended");
      expect(await look(user, of)).toMatchObject({ total_active: 0, plan_type: null });
    }
    await server(of, "set_token_plan", {
      p_plan_type: "free",
      p_plan: { is_default: true, given_to_users_since: "-infinity" },
      p_reason: "a test",
    });
    await look(user, of);
    expect(await shown(user, of)).toBe("none inactive ended");
    await expect(change(user, "trial", of)).rejects.toMatchObject({ message: "trial_already_taken" });
  } finally {
    await of.drop();
  }
});

test("a reduced trial lasts as long as a first one", async () => {
  const of = await createDatabase();
  try {
    await of.admin.query("update public.token_plans set is_default = false");
    await server(of, "set_token_trial_policy", { p_policy: "reduced", p_reduced_tokens: 10 });
    const user = await createUser(of);
    const lasts = async () => {
      await change(user, "trial", of);
      const { rows } = await of.admin.query(
        "select extract(epoch from expires_at - period_start)::int / 86400 as days from public.token_subscriptions where user_id = $1",
        [user],
      );
      return rows[0].days;
    };
    expect([await lasts(), await lasts()]).toEqual([56, 56]);
    await letTimePass(of, user, 57);
    expect(await server(of, "renew_token_subscription", { p_user_id: user })).toMatchObject({
      plan_type: "trial",
      tokens_granted: 10,
    });
  } finally {
    await of.drop();
  }
});

test("a trial that is paid for ends with its tokens too, whatever cycle and grace its plan says", async () => {
  const user = await createUser(db);
  await pay(db, user, "paid_try", { period_start: moment() });
  await letTimePass(db, user, 13);
  expect(await shown(user)).toBe("paid_try active active");
  await letTimePass(db, user, 1);
  expect(await read(db, user)).toMatchObject({ shown: "none inactive ended", tokens: 0 });
});

test("a free plan that is asked for within a trial follows it by itself", async () => {
  const user = await createUser(db);
  await change(user, "try");
  expect(await change(user, "free")).toMatchObject({ effective: "period_end" });
  expect(await shown(user)).toBe("try active active");
  await letTimePass(db, user, 14);
  expect(await shown(user)).toBe("free active active");
});

test("a trial that is to follow begins with its tokens, when it is renewed to, not by itself", async () => {
  const user = await createUser(db);
  await server(db, "set_token_plan", { p_plan_type: "later", p_plan: { name: "Later", tokens: 70, grant_type: "trial", grant_lifetime_days: 14, rank: 1 }, p_reason: "a test" }); // prettier-ignore
  await change(user, "strict");
  expect(await change(user, "later")).toMatchObject({ effective: "period_end" });
  await letTimePass(db, user, 40);
  expect(await read(db, user)).toMatchObject({ shown: "none inactive ended", tokens: 500 });

  await server(db, "renew_token_subscription", { p_user_id: user });

  expect(await read(db, user)).toMatchObject({ shown: "later active active", tokens: 570 });
  await letTimePass(db, user, 14);
  expect(await read(db, user)).toMatchObject({ shown: "none inactive ended", tokens: 500 });
});
