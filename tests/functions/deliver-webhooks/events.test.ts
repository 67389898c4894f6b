/** Every kind of event that is not an alert: sent once to each endpoint that asks for it, written in the commit of its cause. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, deduct } from "../../alerts/alerts.ts";
import { createDatabase, type Database } from "../../support/database.ts";
import { applyMutant } from "../../support/mutants.ts";
import { dispute, refund, told } from "../../support/provider-events.ts";
import { createUser } from "../../support/roles.ts";
import { startStack, type Stack } from "../stack.ts";
import { formerSecret, type Receiver, secret, setEndpoint, startReceiver, verify } from "./webhooks.ts";

let everything: Receiver;
let payments: Receiver;
let stack: Stack;
beforeAll(async () => {
  [everything, payments] = [await startReceiver(), await startReceiver()];
  stack = await startStack({ TOKEN_WEBHOOK_SECRET_APP: secret, TOKEN_WEBHOOK_SECRET_BILLING: formerSecret });
  await setEndpoint(stack.db, "app", everything.url);
  await setEndpoint(stack.db, "billing", payments.url, {
    kinds: ["token_payment.approved", "token_payment.refunded", "token_payment.restored"],
  });
});
afterAll(async () => {
  await stack.close();
  await everything.close();
  await payments.close();
});

interface Event {
  type: string;
  data: Record<string, unknown>;
}

/** What both are sent of a user by one run, in the order in which it happened. */
async function sentOf(user: string): Promise<{ app: Event[]; billing: Event[] }> {
  expect((await stack.ask("deliver-webhooks", { method: "POST", caller: stack.server })).status).toBe(200);
  const { deliveries } = await call(stack.db, "list_token_webhook_deliveries", { p_limit: 200 });
  const order = new Map<string, number>(
    deliveries.map(({ id, event_id }: { id: number; event_id: string }) => [event_id, id]),
  );
  const of = async ({ deliveries: all }: Receiver, by: string) => {
    const mine = all.filter(({ event }) => event.data.user_id === user);
    for (const one of mine) await verify(one, by);
    expect(new Set(mine.map(({ id }) => id)).size).toBe(mine.length);
    return mine
      .toSorted((a, b) => order.get(a.id)! - order.get(b.id)!)
      .map(({ event: { type, data } }) => ({ type, data }) as Event);
  };
  return { app: await of(everything, secret), billing: await of(payments, formerSecret) };
}

const types = (events: Event[]) => events.map(({ type }) => type);

test("a grant is told when it is made and when it has run out, with numbers, ids and no words", async () => {
  const user = await createUser(stack.db);
  const words = "words about a person";
  const grant = await call(stack.db, "grant_tokens", {
    p_user_id: user,
    p_tokens: 100,
    p_grant_type: "trial",
    p_reason: words,
    p_metadata: { of: words },
    p_idempotency_key: "once",
  });
  await call(stack.db, "grant_tokens", {
    p_user_id: user,
    p_tokens: 100,
    p_grant_type: "trial",
    p_reason: words,
    p_metadata: { of: words },
    p_idempotency_key: "once",
  });
  await deduct(stack.db, user, 30);
  await stack.db.admin.query(
    `update public.token_balances set expires_at = clock_timestamp() where user_id = '${user}';
     update public.token_accounts set next_due_at = clock_timestamp() where user_id = '${user}'`,
  );
  const { app, billing } = await sentOf(user); // the run books what has run out, and sends it
  expect(app).toEqual([
    {
      type: "token_grant.made",
      data: {
        user_id: user,
        transaction_id: 1,
        tokens: 100,
        tokens_remaining: 100,
        grant_id: grant.grant_id,
        grant_type: "trial",
        action_type: "trial_grant",
        expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      },
    },
    {
      type: "token_grant.expired",
      data: { user_id: user, transaction_id: 3, tokens: 70, tokens_remaining: 0, grant_id: grant.grant_id },
    },
  ]);
  expect(billing).toEqual([]);
  expect(everything.deliveries.map(({ body }) => body).join()).not.toContain(words);
});

test("a payment is told when it is approved, refunded in part, refunded in full and restored, to those who asked", async () => {
  const user = await createUser(stack.db);
  const event = (id: string, facts: Record<string, unknown>): Promise<unknown> =>
    call(stack.db, "record_token_payment_event", {
      p_provider: "stripe",
      p_event_id: id,
      p_event_type: "event",
      p_provider_payment_id: "pi_told",
      p_facts: facts,
    });
  const paid = told({
    kind: "paid",
    user_id: user,
    plan_type: "starter",
    amount_cents: 900,
    currency: "usd",
  });
  const part = told(refund("re_1", 300));
  for (const _ of [1, 2]) await event("evt_paid", paid);
  for (const _ of [1, 2]) await event("evt_part", part);
  await event("evt_dispute", told(dispute("open", "dp_1", 600)));
  await event("evt_won", told(dispute("won", "dp_1", 600)));
  const { app, billing } = await sentOf(user);
  expect(types(billing)).toEqual([
    "token_payment.approved",
    "token_payment.refunded",
    "token_payment.refunded",
    "token_payment.restored",
  ]);
  expect(billing[0]!.data).toMatchObject({
    user_id: user,
    provider: "stripe",
    provider_payment_id: "pi_told",
    plan_type: "starter",
    quantity: 1,
    amount_cents: 900,
    currency: "usd",
  });
  expect(billing[1]!.data).toMatchObject({ status: "approved", refunded_cents: 300, disputed_cents: 0 });
  expect(billing[2]!.data).toMatchObject({ refunded_cents: 300, disputed_cents: 600 });
  expect(billing[3]!.data).toMatchObject({ refunded_cents: 300, disputed_cents: 0 });
  for (const one of billing) expect(app).toContainEqual(one);
  expect(types(app)).toEqual(
    expect.arrayContaining(["token_plan.changed", "token_grant.made", "token_alert.subscription_ended"]),
  );
});

test("a payment by hand is told when it is approved, not when it is asked for or approved again", async () => {
  const user = await createUser(stack.db);
  const asked = await call(stack.db, "create_token_payment", { p_user_id: user, p_to_plan: "starter" });
  expect((await sentOf(user)).billing).toEqual([]);
  for (const _ of [1, 2])
    await call(stack.db, "approve_token_payment", { p_user_id: user, p_payment_id: asked.payment_id });
  const { billing } = await sentOf(user);
  expect(billing).toMatchObject([
    { type: "token_payment.approved", data: { payment_id: asked.payment_id, plan_type: "starter" } },
  ]);
});

test("a plan is told when another is in force than before; a lower one when its turn comes", async () => {
  const user = await createUser(stack.db);
  const change = (plan: string) =>
    call(stack.db, "change_token_plan", { p_user_id: user, p_plan_type: plan });
  await change("starter");
  await change("professional");
  await change("starter"); // at the end of the period
  await deduct(stack.db, user, 1);
  const { app } = await sentOf(user);
  expect(app.filter(({ type }) => type === "token_plan.changed").map(({ data }) => data)).toEqual([
    { user_id: user, plan_type: "starter", expires_at: expect.any(String) },
    {
      user_id: user,
      plan_type: "professional",
      previous_plan_type: "starter",
      expires_at: expect.any(String),
    },
  ]);
});

test("a freeze is told once, and its end", async () => {
  const user = await createUser(stack.db);
  for (const state of ["frozen", "frozen", "active"])
    await call(stack.db, "set_token_account_state", {
      p_user_id: user,
      p_state: state,
      p_reason: "a reason",
    });
  const { app } = await sentOf(user);
  expect(app).toEqual([
    { type: "token_account.frozen", data: { user_id: user, actor_role: "service" } },
    { type: "token_account.unfrozen", data: { user_id: user, actor_role: "service" } },
  ]);
});

/** What is told of a cap of 50: a spending that is below it, one that wants more, once more, and another cap. */
async function toldOfCaps(db: Database): Promise<string[]> {
  const user = await createUser(db);
  await db.admin.query("select public.grant_tokens($1, 1000)", [user]);
  const cap = (tokens: number) =>
    call(db, "set_token_spend_cap", { p_user_id: user, p_window: "month", p_tokens: tokens });
  const spend = (tokens: number) =>
    call(db, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens });
  await cap(50);
  await spend(40);
  for (const _ of [1, 2, 3]) expect((await spend(20)).success).toBe(false);
  await cap(60);
  expect((await spend(20)).success).toBe(true); // nothing is left of it
  expect((await spend(1)).success).toBe(false);
  const { rows } = await db.admin.query(
    `select payload ->> 'limit' || ': ' || (payload ->> 'used') || ' and ' || (payload ->> 'tokens') as cap
       from tokenbook.webhook_deliveries where user_id = $1 and kind = 'token_cap.reached' and endpoint = 'app' order by id`,
    [user],
  );
  return rows.map((row) => row.cap as string);
}

test("a cap is told once a window when it is reached, also by a spending that it refuses", async () => {
  expect(await toldOfCaps(stack.db)).toEqual(["50: 40 and 20", "60: 40 and 20"]);
});

test("the test sees it: a cap is told with every spending", { tags: ["proof"] }, async () => {
  const own = await createDatabase();
  await setEndpoint(own, "app", "https://example.com/tokens");
  await applyMutant(own, "caps-told-with-every-spending");
  expect((await toldOfCaps(own)).length).toBeGreaterThan(2);
  await own.drop();
});

test("a change that is rolled back is not told", async () => {
  const user = await createUser(stack.db);
  const client = await stack.db.admin.connect();
  await client.query("begin");
  await client.query("select public.grant_tokens($1, 100)", [user]);
  await client.query("select public.change_token_plan($1, 'starter')", [user]);
  await client.query("select public.set_token_account_state($1, 'frozen', 'a reason')", [user]);
  await client.query("rollback");
  client.release();
  expect((await sentOf(user)).app).toEqual([]);
});

test("where nobody asks, nothing is written", async () => {
  const own = await createDatabase();
  const count = async () =>
    (await own.admin.query("select count(*)::int as n from tokenbook.webhook_deliveries")).rows[0]
      .n as number;
  await setEndpoint(own, "app", "https://example.com/tokens", { kinds: ["token_alert.top_up_failed"] });
  const user = await createUser(own);
  await own.admin.query("select public.grant_tokens($1, 100)", [user]);
  await call(own, "change_token_plan", { p_user_id: user, p_plan_type: "starter" });
  expect(await count()).toBe(0);
  await call(own, "remove_token_webhook_endpoint", { p_name: "app" });
  await own.admin.query("vacuum tokenbook.webhook_endpoints");
  await own.admin.query("select public.grant_tokens($1, 100)", [user]);
  expect(await count()).toBe(0);
  await own.drop();
});
