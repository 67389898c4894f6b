import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { told } from "../../alerts/alerts.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { asService, asUser, rpc } from "../../support/roles.ts";
import { applyMutant } from "../../support/mutants.ts";
import { expectProblem } from "../problem.ts";
import { type Stack, startStack } from "../stack.ts";
import { startStripeApi, type StripeApi } from "../stripe-api.ts";
import { deliver, event } from "../stripe-webhook/stripe.ts";
import {
  agesAfter,
  intentsOf,
  later,
  outOfStep,
  pack,
  run,
  runShort,
  setPack,
  standing,
  startTopUps,
} from "./top-ups.ts";

let api: StripeApi;
let stack: Stack;
beforeAll(async () => {
  api = await startStripeApi();
  stack = await startTopUps(api);
});
beforeEach(() => {
  api.ail = () => undefined;
  api.asked.length = 0;
});
afterEach(() =>
  stack.db.admin.query(
    "update public.token_top_up_requests set next_attempt_at = 'infinity' where status = 'pending'",
  ),
);
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await api.close();
});

/** What Stripe was asked to charge. */
const charges = () =>
  api.asked.filter(({ method, path }) => method === "POST" && path === "/v1/payment_intents");

test("a user who has run short is charged the pack's price once, and has its tokens", async () => {
  const one = await runShort(stack, api);

  expect(await run(stack)).toMatchObject({ status: 200, body: { done: 1, failed: 0, waiting: 0 } });
  expect(await run(stack)).toMatchObject({ status: 200, body: { done: 0, failed: 0, waiting: 0 } });

  expect(await standing(stack, one)).toMatchObject({ status: "done", tokens: 1_040, payments: 1 });
  const [intent] = intentsOf(api, one);
  expect(intent).toMatchObject({ status: "succeeded", amount: 500, currency: "usd", customer: one.customer });
  expect(charges()).toMatchObject([
    {
      key: `tokenbook-top-up-${one.request}`,
      params: {
        off_session: "true",
        confirm: "true",
        metadata: {
          user_id: one.user,
          pack_type: "small",
          quantity: "1",
          top_up_request_id: one.request,
        },
      },
    },
  ]);
  expect((await standing(stack, one)).reason).toBe(`paid: ${intent!.id}`);
});

test("several packs, and a plan, cost what the catalogue says", async () => {
  await stack.db.admin.query("update public.token_plans set price_cents = 900 where plan_type = 'starter'");
  const packs = await runShort(stack, api, "good", { p_pack_type: "small", p_quantity: 3 });
  const plan = await runShort(stack, api, "good", { p_plan_type: "starter" });
  expect((await run(stack)).body).toEqual({ done: 2, failed: 0, waiting: 0 });
  expect(intentsOf(api, packs)[0]!.amount).toBe(1_500);
  expect(intentsOf(api, plan)[0]!.amount).toBe(900);
  expect((await standing(stack, packs)).tokens).toBe(3_040);
  const { rows } = await stack.db.admin.query(
    "select plan_type from public.token_subscriptions where user_id = $1",
    [plan.user],
  );
  expect(rows).toEqual([{ plan_type: "starter" }]);
});

test("what Stripe's own event says of it gives nothing twice", async () => {
  const one = await runShort(stack, api);
  await run(stack);
  const paid = event("payment_intent.succeeded", intentsOf(api, one)[0]!);
  for (let nth = 0; nth < 2; nth++) expect((await deliver(stack, paid)).status).toBe(200);
  expect(await standing(stack, one)).toMatchObject({ status: "done", tokens: 1_040, payments: 1 });
});

test("a refund at Stripe of what was topped up takes the tokens back", async () => {
  const one = await runShort(stack, api);
  await run(stack);
  const [intent] = intentsOf(api, one);
  const refunded = event("charge.refunded", {
    id: "ch_of_a_top_up",
    object: "charge",
    amount: 500,
    amount_refunded: 500,
    currency: "usd",
    payment_intent: intent!.id,
    refunds: null,
  });
  expect((await deliver(stack, refunded)).status).toBe(200);
  expect(await standing(stack, one)).toMatchObject({ status: "done", tokens: 40, payments: 1 });
});

test.each([
  ["empty", "insufficient_funds", "top_up_failed"],
  ["lost", "lost_card", "top_up_failed"],
  ["cautious", "authentication_required", "top_up_needs_action"],
  ["redirecting", "requires_action", "top_up_needs_action"],
  ["none", "no_payment_method", "top_up_failed"],
  ["no customer", "no_customer", "top_up_failed"],
] as const)(
  "a card that is %s: the request has failed with its word, the user is told, and nothing can be taken later",
  async (card, reason, kind) => {
    const one = await runShort(stack, api, card);
    expect((await run(stack)).body).toEqual({ done: 0, failed: 1, waiting: 0 });
    expect(await standing(stack, one)).toMatchObject({
      status: "failed",
      reason,
      tokens: 40,
      payments: 0,
      is_paused: true,
    });
    expect(intentsOf(api, one).every(({ status }) => status === "canceled")).toBe(true);
    expect(await told(stack.db, one.user)).toEqual([
      "top_up_requested auto_top_up 40",
      `${kind} auto_top_up 40`,
    ]);
    const { rows } = await stack.db.admin.query(
      "select payload from public.token_alerts where user_id = $1 and kind = $2",
      [one.user, kind],
    );
    // what the app needs to let them buy it themselves
    expect(rows[0].payload).toMatchObject({
      request_id: one.request,
      reason,
      top_up_pack_type: "small",
      top_up_quantity: 1,
      amount_cents: 500,
      currency: "usd",
    });
  },
);

test("the card that the customer has chosen pays, not the one that they saved last", async () => {
  const one = await runShort(stack, api, "none");
  const chosen = api.save(one.customer!, "good");
  api.save(one.customer!, "empty");
  api.customers.get(one.customer!)!["invoice_settings"] = { default_payment_method: chosen };
  expect((await run(stack)).body.done).toBe(1);
});

test.each([
  ["switched off", "switched_off", (user: string) => topUpOf(user, { p_is_enabled: false })],
  [
    "frozen",
    "account_frozen",
    (user: string) =>
      asService(stack.db, (client) =>
        rpc(client, "set_token_account_state", { p_user_id: user, p_state: "frozen", p_reason: "a test" }),
      ),
  ],
  [
    "gone",
    "user_not_found",
    (user: string) => stack.db.admin.query("update auth.users set deleted_at = now() where id = $1", [user]),
  ],
])("who is %s by now is not charged", async (_, reason, change) => {
  const one = await runShort(stack, api);
  await change(one.user);
  expect((await run(stack)).body).toEqual({ done: 0, failed: 1, waiting: 0 });
  expect(await standing(stack, one)).toMatchObject({ status: "failed", reason, tokens: 40 });
  expect(api.asked).toEqual([]);
});

const topUpOf = (user: string, args: Record<string, unknown>) =>
  asUser(stack.db, user, (client) => rpc(client, "set_token_top_up", { p_user_id: user, ...args }));

test("a user who has switched it off gets no alert that it failed", async () => {
  const one = await runShort(stack, api);
  await topUpOf(one.user, { p_is_enabled: false });
  await run(stack);
  expect(await told(stack.db, one.user)).toEqual(["top_up_requested auto_top_up 40"]);
});

test("tokens without a pack have no price, and what is not sold any more is not charged", async () => {
  const tokens = await runShort(stack, api, "good", { p_tokens: 500 });
  const withdrawn = await runShort(stack, api);
  await setPack(stack, { is_offered: false });
  expect((await run(stack)).body).toEqual({ done: 0, failed: 2, waiting: 0 });
  await setPack(stack, { is_offered: true });
  expect((await standing(stack, tokens)).reason).toBe("no_price");
  expect((await standing(stack, withdrawn)).reason).toBe("not_offered");
  expect(api.asked).toEqual([]);
});

test("a request that nobody has charged for three days is not charged out of the blue", async () => {
  const one = await runShort(stack, api);
  await stack.db.admin.query(
    `with old as (update public.token_top_up_requests set created_at = created_at - interval '73 hours' where id = $1)
     update public.token_alerts set created_at = created_at - interval '73 hours' where request_id = $1`,
    [one.request],
  );
  expect((await run(stack)).body.failed).toBe(1);
  expect((await standing(stack, one)).reason).toBe("too_old");
});

test("a debit that takes days waits, charges nothing meanwhile, and is done when it has come through", async () => {
  const [good, bad] = [await runShort(stack, api, "slow"), await runShort(stack, api, "slow")];
  for (let day = 0; day < 3; day++) {
    expect((await run(stack)).body).toEqual({ done: 0, failed: 0, waiting: 2 });
    await agesAfter(stack, "1 day");
    api.forgetKeys();
  }
  api.clear(intentsOf(api, good)[0]!, "succeeded");
  api.clear(intentsOf(api, bad)[0]!, "requires_payment_method");
  expect((await run(stack)).body).toEqual({ done: 1, failed: 1, waiting: 0 });
  expect(charges()).toHaveLength(2);
  expect(await outOfStep(stack, api, [good, bad])).toEqual([]);
});

test("the price is the one at which it was first begun, however the catalogue changes before it is asked again", async () => {
  const one = await runShort(stack, api);
  api.ail = ({ method }) => (method === "POST" ? "429" : undefined);
  expect((await run(stack)).body.waiting).toBe(1);
  api.ail = () => undefined;
  await setPack(stack, { price_cents: 700 });
  await later(stack);
  expect((await run(stack)).body.done).toBe(1);
  await setPack(stack, { price_cents: pack.price_cents });
  expect(intentsOf(api, one)[0]!.amount).toBe(500);
});

test("the test sees it: a variant that asks again at today's price", { tags: ["proof"] }, async () => {
  const broken = await startTopUps(api);
  await applyMutant(broken.db, "top-ups-at-todays-price");
  const one = await runShort(broken, api);
  api.ail = ({ method }) => (method === "POST" ? "429" : undefined);
  await run(broken);
  api.ail = () => undefined;
  await setPack(broken, { price_cents: 700 });
  await later(broken);
  await run(broken);
  await broken.close();
  expect(intentsOf(api, one)[0]!.amount).toBe(700);
});

test("the test sees it: a variant that charges who has switched it off", { tags: ["proof"] }, async () => {
  const broken = await startTopUps(api);
  await applyMutant(broken.db, "top-ups-of-whom-switched-off");
  const one = await runShort(broken, api);
  await asUser(broken.db, one.user, (client) =>
    rpc(client, "set_token_top_up", { p_user_id: one.user, p_is_enabled: false }),
  );
  expect((await run(broken)).body.done).toBe(1);
  await broken.close();
});

test("five runs at once charge each of 20 users once, and each is one run's", async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => runShort(stack, api)));
  const answers = await Promise.all(Array.from({ length: 5 }, () => run(stack)));
  const done = answers.map(({ body }) => body.done as number);
  console.log(`done by five runs: ${done.join(" + ")}; charges=${charges().length}`);
  expect(done.reduce((a, b) => a + b)).toBe(20);
  expect(charges()).toHaveLength(20);
  expect(await outOfStep(stack, api, all)).toEqual([]);
});

test(
  "the test sees it: claims that do not say so are charged by several runs",
  { tags: ["proof"] },
  async () => {
    const broken = await startTopUps(api);
    await applyMutant(broken.db, "top-ups-claimed-by-several");
    const all: Awaited<ReturnType<typeof runShort>>[] = [];
    // whether two meet is for chance to say: a few times, until they have
    for (let round = 0; round < 5 && charges().length <= all.length; round++) {
      all.push(...(await Promise.all(Array.from({ length: 20 }, () => runShort(broken, api)))));
      await Promise.all(Array.from({ length: 5 }, () => run(broken)));
    }
    // and even so nobody pays twice: the key is theirs
    expect(charges().length).toBeGreaterThan(all.length);
    expect(all.map((one) => intentsOf(api, one).length)).toEqual(all.map(() => 1));
    await broken.close();
  },
);

test("nobody but the server may call it", async () => {
  for (const caller of [undefined, await stack.user(), await stack.user({ admin: true })]) {
    expectProblem(
      await stack.ask("top-up", { method: "POST", ...(caller && { caller }) }),
      "not_authenticated",
    );
  }
});

test("without a key, or with one that Stripe does not take, nothing is lost and the answer says which setting", async () => {
  const keyless = await startStack({});
  expectProblem(await run(keyless), "not_configured", { setting: "STRIPE_SECRET_KEY" });
  await keyless.close();

  const one = await runShort(stack, api);
  api.ail = () => "401";
  expectProblem(await run(stack), "not_configured", { setting: "STRIPE_SECRET_KEY" });
  expect(await standing(stack, one)).toMatchObject({ status: "pending", attempts: 1 });
  api.ail = () => undefined;
  await later(stack);
  expect((await run(stack)).body.done).toBe(1);
  expect(stack.log.join("\n")).not.toContain(api.settings.STRIPE_SECRET_KEY);
});
