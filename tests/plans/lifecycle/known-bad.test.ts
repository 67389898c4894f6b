// @module-tag proof
/** What the tests of a subscription's life must be able to see: each rule broken once. */
import { describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { moment } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { addPlans, letPeriodEnd, pay, read, say, server, tell, touch } from "./readings.ts";

const GRACE = 3 * 86_400;
const subscribe = (db: Database, user: string) =>
  server(db, "change_token_plan", { p_user_id: user, p_plan_type: "gold", p_payment_method: "manual" });
const change = (db: Database, user: string, plan: string) =>
  server(db, "change_token_plan", { p_user_id: user, p_plan_type: plan });
const renews = async (db: Database, user: string) =>
  (await db.admin.query("select auto_renew from public.token_subscriptions where user_id = $1", [user]))
    .rows[0].auto_renew;
const shown = async (db: Database, user: string) => (await read(db, user)).shown;
const cancelled = (db: Database, user: string, facts: Record<string, unknown>) =>
  say(db, `sub_${user}`, { user_id: user, plan_type: "gold", ...facts });
const alerts = async (db: Database, kind: string) =>
  (await db.admin.query("select from public.token_alerts where kind = $1", [kind])).rowCount;

/** A rule, the variant that breaks it, what is done, and what is right. */
const rules: [
  rule: string,
  mutant: string,
  attempt: (db: Database, user: string) => Promise<unknown>,
  right: unknown,
][] = [
  [
    "a plan ends whether anybody has touched the account or not",
    "lapses-wait-for-a-touch",
    async (db, user) => {
      await subscribe(db, user);
      await letPeriodEnd(db, user, GRACE);
      const { shown: is, toServer, quota, balancePlan } = await read(db, user);
      return { is, toServer, quota, balancePlan };
    },
    { is: "none inactive ended", toServer: "none inactive ended", quota: 0, balancePlan: null },
  ],
  [
    "a plan has its grace",
    "grace-is-forgotten",
    async (db, user) => {
      await subscribe(db, user);
      await letPeriodEnd(db, user, 60);
      return shown(db, user);
    },
    "gold active past_due",
  ],
  [
    "a cancelled plan has no grace",
    "cancelled-plans-have-grace",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      await cancelled(db, user, { status: "cancelled", cancel_at: moment() });
      return shown(db, user);
    },
    "none inactive ended",
  ],
  [
    "a second subscription leaves the higher one",
    "second-subscriptions-replace-a-higher-one",
    async (db, user) => {
      await pay(db, user, "gold");
      await pay(db, user, "silver");
      const { shown: is, tokens } = await read(db, user);
      return { is, tokens };
    },
    { is: "gold active active", tokens: 3_000 },
  ],
  [
    "storage goes with the plan",
    "storage-stays",
    async (db, user) => {
      await subscribe(db, user);
      await letPeriodEnd(db, user, GRACE);
      const { quota, quotas, olderQuotas } = await read(db, user);
      return [quota, quotas, olderQuotas];
    },
    [0, 0, 0],
  ],
  [
    "what a higher plan took the place of goes on",
    "displaced-plans-are-lost",
    async (db, user) => {
      await pay(db, user, "silver");
      await pay(db, user, "gold");
      await letPeriodEnd(db, user, GRACE);
      return shown(db, user);
    },
    "silver active active",
  ],
  [
    "money that comes back brings the plan back",
    "plans-do-not-come-back",
    async (db, user) => {
      await pay(db, user, "silver");
      await pay(db, user, "gold", { id: "pi_back", amount_cents: 1000 });
      for (const status of ["open", "won"])
        await tell(db, "pi_back", { kind: "dispute", dispute_id: "dp_1", status });
      return shown(db, user);
    },
    "gold active active",
  ],
  [
    "a plan goes with its money",
    "plans-outlive-their-money",
    async (db, user) => {
      await pay(db, user, "gold", { id: "pi_gone", amount_cents: 1000 });
      await tell(db, "pi_gone", {
        kind: "refund",
        refund_id: "re_1",
        status: "succeeded",
        amount_cents: 1000,
      });
      const { shown: is, quota } = await read(db, user);
      return { is, quota };
    },
    { is: "none inactive ended", quota: 0 },
  ],
  [
    "of a subscription the event counts that happened last",
    "the-last-event-to-come-decides",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      const [paused, resumed] = [moment(), moment()];
      await cancelled(db, user, { status: "active", occurred_at: resumed });
      await cancelled(db, user, { status: "paused", occurred_at: paused });
      return shown(db, user);
    },
    "gold active active",
  ],
  [
    "what is paid after a cancellation is in force at once",
    "old-cancellations-end-new-periods",
    async (db, user) => {
      await pay(db, user, "gold", { period_start: moment() });
      await cancelled(db, user, { status: "cancelled", cancel_at: moment() });
      await pay(db, user, "gold", { period_start: moment() });
      return shown(db, user);
    },
    "gold active active",
  ],
  [
    "a renewal after the end begins now",
    "late-renewals-begin-in-the-past",
    async (db, user) => {
      await subscribe(db, user);
      await letPeriodEnd(db, user, 40 * 86_400);
      await server(db, "renew_token_subscription", { p_user_id: user });
      return shown(db, user);
    },
    "gold active active",
  ],
  [
    "the alert rules of a plan end with it",
    "plan-rules-outlive-the-plan",
    async (db, user) => {
      await server(db, "set_token_alert_rule", {
        p_rule: "low",
        p_kind: "dropped",
        p_threshold_tokens: 1_500,
        p_for_everyone: true,
      });
      await subscribe(db, user);
      await letPeriodEnd(db, user, GRACE);
      await server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 600 });
      return alerts(db, "dropped");
    },
    1,
  ],
  [
    "a failed payment is told once",
    "failed-payments-are-told-again",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      const failed = { status: "past_due", occurred_at: moment() };
      for (const _ of [1, 2]) await cancelled(db, user, failed);
      return alerts(db, "subscription_past_due");
    },
    1,
  ],
  [
    "what somebody pays for counts before what nobody does",
    "ranks-keep-paid-plans-back",
    async (db, user) => {
      await change(db, user, "trial");
      await pay(db, user, "unranked");
      return shown(db, user);
    },
    "unranked active active",
  ],
  [
    "a payment and a change come to the same plan",
    "changes-go-by-rank-alone",
    async (db, user) => {
      await change(db, user, "trial");
      await change(db, user, "unranked");
      return shown(db, user);
    },
    "unranked active active",
  ],
  [
    "the answer to a payment says which plan counts",
    "approvals-name-what-was-bought",
    async (db, user) => {
      await pay(db, user, "gold");
      return (await pay(db, user, "silver")).plan_in_force;
    },
    "gold",
  ],
  [
    "a trial ends with its tokens",
    "trials-never-end",
    async (db, user) => {
      await change(db, user, "trial");
      await letTimePass(db, user, 57);
      return shown(db, user);
    },
    "none inactive ended",
  ],
  [
    "a trial begins with its tokens",
    "trials-begin-without-tokens",
    async (db, user) => {
      await subscribe(db, user);
      await change(db, user, "trial");
      await letPeriodEnd(db, user, GRACE);
      return shown(db, user);
    },
    "none inactive ended",
  ],
  [
    "what was paid once is not charged again",
    "everything-renews-itself",
    async (db, user) => {
      await subscribe(db, user);
      return renews(db, user);
    },
    false,
  ],
  [
    "a provider says that it charges again",
    "nobody-hears-who-renews",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      await cancelled(db, user, { status: "active" });
      return renews(db, user);
    },
    true,
  ],
  [
    "a user who loses their plan with its money gets an alert",
    "refunds-end-plans-silently",
    async (db, user) => {
      await pay(db, user, "gold", { id: "pi_gone", amount_cents: 1000 });
      await tell(db, "pi_gone", { kind: "dispute", dispute_id: "dp_1", status: "lost" });
      return alerts(db, "subscription_ended");
    },
    1,
  ],
  [
    "a user gets an alert when the cancellation comes before its payment",
    "late-payments-end-silently",
    async (db, user) => {
      const start = moment();
      await cancelled(db, user, { status: "cancelled", cancel_at: moment() });
      await pay(db, user, "gold", { period_start: start });
      return alerts(db, "subscription_ended");
    },
    1,
  ],
  [
    "a user who asked for a lower plan gets no alert when the higher one ends",
    "followed-plans-have-ended",
    async (db, user) => {
      await subscribe(db, user);
      await change(db, user, "free");
      await letPeriodEnd(db, user, GRACE);
      await touch(db);
      return alerts(db, "subscription_ended");
    },
    0,
  ],
  [
    "plans that ended one after the other are told, each",
    "ends-in-between-are-not-told",
    async (db, user) => {
      await change(db, user, "lower");
      await change(db, user, "upper");
      await db.admin.query(
        "update tokenbook.subscriptions set expires_at = expires_at - interval '10 days' where user_id = $1",
        [user],
      );
      await letTimePass(db, user, 30);
      await touch(db);
      return alerts(db, "subscription_ended");
    },
    2,
  ],
  [
    "a user who only spends gets the alert that their plan ended",
    "ends-wait-to-be-read",
    async (db, user) => {
      await subscribe(db, user);
      await letPeriodEnd(db, user, GRACE);
      await server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 });
      return alerts(db, "subscription_ended");
    },
    1,
  ],
  [
    "what was paused before its end is not followed",
    "stopped-plans-are-followed",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      await change(db, user, "lower");
      await letPeriodEnd(db, user, 60);
      const paused = new Date(Date.now() - 3_600_000).toISOString();
      await cancelled(db, user, { status: "paused", occurred_at: paused });
      const deduct = () =>
        server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }).then(
          ({ success }) => success,
          ({ message }) => message,
        );
      return [await deduct(), await deduct(), await shown(db, user)];
    },
    [true, true, "none inactive paused"],
  ],
  [
    "what follows a plan is what the catalogue said when it ended",
    "plans-follow-as-they-are-now",
    async (db, user) => {
      await subscribe(db, user);
      await change(db, user, "free");
      await letPeriodEnd(db, user, 60);
      const priced = (cents: number) =>
        server(db, "set_token_plan", {
          p_plan_type: "free",
          p_plan: { price_cents: cents },
          p_reason: "a test",
        });
      await priced(100);
      const after = await shown(db, user);
      await priced(0);
      return [after, await shown(db, user)];
    },
    ["free active active", "free active active"],
  ],
  [
    "a user who is no longer the provider's customer keeps their plan when that customer is cancelled",
    "former-customers-stay-cancelled",
    async (db, user) => {
      const customer_id = `cus_${user}`;
      await pay(db, user, "gold", { customer_id, period_start: moment() });
      await say(db, `sub_${user}`, {
        customer_id,
        plan_type: "gold",
        status: "cancelled",
        cancel_at: moment(),
      });
      const before = await shown(db, user);
      await server(db, "set_token_customer", {
        p_user_id: await createUser(db),
        p_provider: "stripe",
        p_customer_id: customer_id,
        p_replace: true,
        p_reason: "it was a mistake",
      });
      return [before, await shown(db, user)];
    },
    ["none inactive ended", "gold active active"],
  ],
  [
    "a subscription's cancellation does not end the plan of a user who turns out not to be its user",
    "former-users-stay-cancelled",
    async (db, user) => {
      await pay(db, user, "gold", { period_start: moment() });
      await cancelled(db, user, { status: "cancelled", cancel_at: moment() });
      const before = await shown(db, user);
      const earlier = new Date(Date.now() - 3_600_000).toISOString();
      await cancelled(db, user, { user_id: await createUser(db), status: "active", occurred_at: earlier });
      return [before, await shown(db, user)];
    },
    ["none inactive ended", "gold active active"],
  ],
  [
    "a deleted user who is restored goes on, and gets an alert when their plan ends",
    "restored-users-are-never-due",
    async (db, user) => {
      await subscribe(db, user);
      const { rows } = await db.admin.query("select email from auth.users where id = $1", [user]);
      await db.admin.query("delete from auth.users where id = $1", [user]);
      await server(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 1 }); // nothing is due of somebody who is gone
      await letPeriodEnd(db, user, GRACE + 60);
      await touch(db);
      await db.admin.query("insert into auth.users (id, email) values ($1, $2)", [user, rows[0].email]);
      await touch(db);
      return alerts(db, "subscription_ended");
    },
    1,
  ],
  [
    "attempts to charge for one period are one failure",
    "each-attempt-is-told",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      for (const _ of [1, 2]) await cancelled(db, user, { status: "past_due" });
      return alerts(db, "subscription_past_due");
    },
    1,
  ],
  [
    "attempts to charge for what was never paid are one failure",
    "attempts-are-failures-each",
    async (db, user) => {
      await change(db, user, "free");
      const attempts = [moment(), moment()]; // told the later one first
      for (const at of attempts.toReversed())
        await cancelled(db, user, { status: "past_due", occurred_at: at });
      return alerts(db, "subscription_past_due");
    },
    1,
  ],
  [
    "a subscription that is cancelled as it begins is over",
    "cancelled-at-once-counts-for-nothing",
    async (db, user) => {
      const at = moment();
      await pay(db, user, "gold", { period_start: at, subscription_id: `sub_${user}` });
      await cancelled(db, user, { status: "cancelled", cancel_at: at });
      return shown(db, user);
    },
    "none inactive ended",
  ],
  [
    "a subscription that paid for a period ends it, whatever its plan is by then",
    "subscriptions-are-known-by-their-plan",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      await cancelled(db, user, { status: "active", plan_type: "silver" });
      await cancelled(db, user, { status: "cancelled", plan_type: "silver", cancel_at: moment() });
      return shown(db, user);
    },
    "none inactive ended",
  ],
  [
    "another subscription to the plan does not keep it in force",
    "any-subscription-to-the-plan-counts",
    async (db, user) => {
      await pay(db, user, "gold", { subscription_id: `sub_${user}` });
      await say(db, `sub_other_${user}`, { user_id: user, plan_type: "gold", status: "active" });
      await cancelled(db, user, { status: "cancelled", cancel_at: moment() });
      return shown(db, user);
    },
    "none inactive ended",
  ],
  [
    "a plan that was paid once stays when a subscription to the same plan ends",
    "single-payments-end-with-a-subscription",
    async (db, user) => {
      await pay(db, user, "gold");
      await cancelled(db, user, { status: "cancelled", cancel_at: moment() });
      return shown(db, user);
    },
    "gold active active",
  ],
  [
    "a refusal names the field that its rule is of",
    "refusals-name-another-field",
    (db) =>
      server(db, "set_token_plan", {
        p_plan_type: "endless",
        p_plan: { name: "Endless", tokens: 5, grant_type: "trial" },
        p_reason: "a test",
      }).catch(({ detail }) => JSON.parse(detail).field),
    "grant_lifetime_days",
  ],
];

describe.each(rules)("%s", (_rule, mutant, attempt, right) => {
  test.each([
    ["is so", false],
    [`is seen to be broken by ${mutant}`, true],
  ])("%s", async (_what, isBroken) => {
    const db = await createDatabase();
    try {
      await db.admin.query("update public.token_plans set is_default = false");
      await addPlans(db);
      await db.admin.query(
        `insert into public.token_plans (plan_type, name, tokens, price_cents, billing_cycle, grant_type, grant_lifetime_days, rank)
         values ('unranked', 'Unranked', 300, 700, 'monthly', 'plan', null, 0), ('lower', 'Lower', 30, 0, 'monthly', 'plan', null, 3),
                ('upper', 'Upper', 30, 0, 'monthly', 'plan', null, 4)`,
      );
      if (isBroken) await applyMutant(db, mutant);

      const came = await attempt(db, await createUser(db));

      if (isBroken) expect(came).not.toEqual(right);
      else expect(came).toEqual(right);
    } finally {
      await db.drop();
    }
  });
});
