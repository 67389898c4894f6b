import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { asService, rpc } from "../../support/roles.ts";
import { expectProblem } from "../problem.ts";
import { type Caller, type Fault, startStack, type Stack } from "../stack.ts";
import { startStripeApi, type StripeApi } from "../stripe-api.ts";
import { deliver, event, secret } from "../stripe-webhook/stripe.ts";

const app = "https://app.example.com";

let api: StripeApi;
let stack: Stack;
let user: Caller & { id: string };
beforeAll(async () => {
  api = await startStripeApi();
  api.price("price_starter", 900, { type: "recurring" });
  api.price("price_small", 500);
  stack = await startStack({
    ...api.settings,
    STRIPE_WEBHOOK_SECRET: secret,
    CHECKOUT_ORIGINS: `${app} http://localhost:3000`,
  });
  await stack.db.admin.query(
    "update public.token_plans set stripe_price_id = 'price_starter', price_cents = 900 where plan_type = 'starter'",
  );
  await setPack({ name: "Small", tokens: 1_000, price_cents: 500, stripe_price_id: "price_small" });
});
beforeEach(async () => {
  api.ail = () => undefined;
  api.asked.length = 0;
  api.sessions.length = 0;
  api.portals.length = 0;
  user = await stack.user();
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await api.close();
});

const setPack = (pack: Record<string, unknown>) =>
  asService(stack.db, (client) =>
    rpc(client, "set_token_pack", { p_pack_type: "small", p_pack: pack, p_reason: "a test" }),
  );

const addresses = { successUrl: `${app}/thanks?session={CHECKOUT_SESSION_ID}`, cancelUrl: `${app}/plans` };

const checkout = (body: object, caller: Caller = user, headers: Record<string, string> = {}) =>
  stack.ask("checkout", { caller, body, headers });

const buy = (what: object, caller?: Caller) => checkout({ action: "buy", ...addresses, ...what }, caller);

const portal = (more: object = {}, caller?: Caller) =>
  checkout({ action: "portal", returnUrl: `${app}/account`, ...more }, caller);

/** The customer that a user is, by the books. */
async function customerOf(id: string): Promise<string | undefined> {
  const { rows } = await stack.db.admin.query(
    "select customer_id from tokenbook.provider_customers where user_id = $1 order by created_at desc",
    [id],
  );
  return rows[0]?.customer_id;
}

describe("a page to pay at", () => {
  test("a plan is a subscription at the catalogue's price, with its user where every event can find it", async () => {
    const answer = await buy({ planType: "starter" });
    expect(answer).toMatchObject({ status: 200 });
    const metadata = { user_id: user.id, plan_type: "starter" };
    expect(api.sessions).toMatchObject([
      {
        url: answer.body.url,
        mode: "subscription",
        customer: await customerOf(user.id),
        client_reference_id: user.id,
        line_items: { 0: { price: "price_starter", quantity: "1" } },
        metadata,
        subscription_data: { metadata },
        success_url: addresses.successUrl,
        cancel_url: addresses.cancelUrl,
      },
    ]);
    expect(api.sessions[0]).not.toHaveProperty("payment_intent_data");
    expect(api.customers.get((await customerOf(user.id))!)).toMatchObject({
      metadata: { user_id: user.id },
      email: null, // nothing of the person is sent
    });
  });

  test("packs are paid once, as many as were asked for", async () => {
    expect((await buy({ packType: "small", quantity: 3 })).status).toBe(200);
    const metadata = { user_id: user.id, pack_type: "small", quantity: "3" };
    expect(api.sessions).toMatchObject([
      {
        mode: "payment",
        line_items: { 0: { price: "price_small", quantity: "3" } },
        metadata,
        payment_intent_data: { metadata },
      },
    ]);
    expect(api.sessions[0]).not.toHaveProperty("subscription_data");
    expect(api.sessions[0]!["payment_intent_data"]).not.toHaveProperty("setup_future_usage");
  });

  test("a card is kept for top-ups when the user wants it", async () => {
    await buy({ packType: "small", saveCard: true });
    expect(api.sessions[0]).toMatchObject({ payment_intent_data: { setup_future_usage: "off_session" } });
  });

  test("a plan whose price is paid once is a single payment", async () => {
    api.price("price_grow", 1_900);
    await stack.db.admin.query(
      "update public.token_plans set stripe_price_id = 'price_grow', price_cents = 1900 where plan_type = 'grow'",
    );
    await buy({ planType: "grow" });
    expect(api.sessions[0]).toMatchObject({
      mode: "payment",
      payment_intent_data: { metadata: { plan_type: "grow" } },
    });
  });

  test("a user is one customer, also of two pages at once", async () => {
    const answers = await Promise.all([buy({ packType: "small" }), buy({ packType: "small", quantity: 2 })]);
    await portal();
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const theirs = [...api.customers.values()].filter(
      ({ metadata }) => (metadata as { user_id?: string }).user_id === user.id,
    );
    expect(theirs).toHaveLength(1);
    expect(new Set(api.sessions.map(({ customer }) => customer))).toEqual(new Set([theirs[0]!.id]));
  });

  test("a customer that Stripe does not know (any more) is replaced", async () => {
    await buy({ packType: "small" });
    const former = (await customerOf(user.id))!;
    api.customers.get(former)!["deleted"] = true;
    expect((await buy({ packType: "small" })).status).toBe(200);
    const now = (await customerOf(user.id))!;
    expect(now).not.toBe(former);
    expect(api.sessions.at(-1)).toMatchObject({ customer: now });
    expect((await buy({ planType: "starter" })).status).toBe(200);
    expect(api.sessions.at(-1)).toMatchObject({ customer: now });
  });

  test("the same request again gets the same page; other words under its key are refused", async () => {
    const key = { idempotencyKey: `once-${randomUUID()}` };
    const first = await buy({ packType: "small", ...key });
    const again = await checkout({ action: "buy", packType: "small", ...addresses }, user, {
      "idempotency-key": key.idempotencyKey,
    });
    expect(again.body).toEqual(first.body);
    expect(first.headers.get("idempotency-replayed")).toBeNull();
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expectProblem(await buy({ packType: "small", quantity: 2, ...key }), "idempotency_key_reused");
    // a user's keys and the server's for that user never meet
    expect((await buy({ packType: "small", userId: user.id, ...key }, stack.server)).body).not.toEqual(
      first.body,
    );
    expectProblem(await buy({ packType: "small", idempotencyKey: "no good" }), "invalid_idempotency_key");
  });
});

test("what was bought is there once Stripe says that it was paid: the success page needs nothing but the balance", async () => {
  await buy({ packType: "small", quantity: 3 });
  const [session] = api.sessions;
  const paid = event("checkout.session.completed", {
    ...session,
    line_items: undefined, // Stripe does not send them along
    payment_status: "paid",
    payment_intent: "pi_of_the_page",
    payment_link: null,
    invoice: null,
    amount_total: 1_500,
    currency: "usd",
  });
  const tokens = async () =>
    (await stack.ask("balance", { caller: user })).body.balance.total_active as number;
  const before = await tokens();
  for (let nth = 0; nth < 2; nth++)
    expect(await deliver(stack, paid)).toMatchObject({ status: 200, body: { outcomes: ["approved"] } });
  expect((await tokens()) - before).toBe(3_000);
});

describe("who may", () => {
  test("the server and an admin for anyone, a user for themself alone", async () => {
    expect((await buy({ packType: "small", userId: user.id }, stack.server)).status).toBe(200);
    expect(
      (await buy({ packType: "small", userId: user.id }, await stack.user({ admin: true }))).status,
    ).toBe(200);
    expect(api.sessions.map((it) => it["client_reference_id"])).toEqual([user.id, user.id]);
    const stranger = await stack.user();
    for (const answer of [
      await buy({ packType: "small", userId: user.id }, stranger),
      await portal({ userId: user.id }, stranger),
    ]) {
      expectProblem(answer, "forbidden");
    }
    expectProblem(await buy({ packType: "small" }, stack.server), "invalid_user_id");
    expectProblem(await buy({ packType: "small", userId: randomUUID() }, stack.server), "user_not_found");
    expect(api.sessions).toHaveLength(2);
  });

  test("the portal is the page of the user's own customer, and leads back to the app", async () => {
    await buy({ packType: "small" });
    const answer = await portal();
    const customer = await customerOf(user.id);
    expect(customer).toEqual(expect.any(String));
    expect(api.portals).toMatchObject([{ customer, return_url: `${app}/account` }]);
    expect(answer).toMatchObject({ status: 200, body: { url: api.portals[0]!["url"] } });
    expect(Object.keys(answer.body)).toEqual(["url"]);
  });

  test("a frozen account buys nothing, and may still end what it pays for", async () => {
    await asService(stack.db, (client) =>
      rpc(client, "set_token_account_state", { p_user_id: user.id, p_state: "frozen", p_reason: "a test" }),
    );
    expectProblem(await buy({ packType: "small" }), "account_frozen");
    expect((await portal()).status).toBe(200);
  });
});

describe("what is refused, before anything is begun", () => {
  test.each([
    [{}, "invalid_purchase", {}],
    [{ planType: "starter", packType: "small" }, "invalid_purchase", {}],
    [{ planType: "starter", quantity: 2 }, "invalid_purchase", { field: "quantity" }],
    [{ packType: "small", quantity: 0 }, "invalid_purchase", { field: "quantity" }],
    [{ packType: "small", quantity: 1_001 }, "invalid_purchase", { field: "quantity" }],
    [{ packType: "small", quantity: 1.5 }, "invalid_purchase", { field: "quantity" }],
    [{ planType: "nope" }, "plan_not_found", { field: "planType" }],
    [{ packType: "nope" }, "pack_not_found", { field: "packType" }],
    [{ planType: "free" }, "not_for_sale", {}],
    [{ planType: "professional" }, "not_for_sale", {}],
    [{ packType: "small", priceId: "price_other" }, "invalid_request", { field: "priceId" }],
    [{ packType: "small", amount: 1 }, "invalid_request", { field: "amount" }],
    [{ packType: "small", metadata: { user_id: "x" } }, "invalid_request", { field: "metadata" }],
    [{ packType: "small", saveCard: "yes" }, "invalid_request", { field: "saveCard" }],
  ] as const)("%j", async (what, slug, facts) => {
    expectProblem(await buy(what), slug, facts);
    expect(api.sessions).toEqual([]);
  });

  test("what is not offered any more", async () => {
    await setPack({ is_offered: false });
    expectProblem(await buy({ packType: "small" }), "pack_not_found");
    await setPack({ is_offered: true });
  });

  test.each([
    ["costs something else there", { unit_amount: 400 }],
    ["costs another currency there", { currency: "eur" }],
    ["is archived there", { active: false }],
    ["recurs there", { type: "recurring" }],
    ["has tiers there", { unit_amount: null }],
  ])("a pack whose price %s", async (_, other) => {
    api.price("price_small", 500, other);
    expectProblem(await buy({ packType: "small" }), "not_for_sale");
    api.price("price_small", 500);
    expect(api.sessions).toEqual([]);
  });

  test("a pack whose price is not there", async () => {
    api.prices.delete("price_small");
    expectProblem(await buy({ packType: "small" }), "not_for_sale");
    api.price("price_small", 500);
  });

  test.each([
    ["none", ["1 month", "1 year"], []],
    ["28day", ["1 month", "27 day", "3 week", "28 month"], ["28 day", "4 week"]],
    ["monthly", ["1 year", "2 month", "28 day", "4 week"], ["1 month"]],
    ["annual", ["1 month", "2 year", "365 day"], ["1 year", "12 month"]],
  ] as const)("a plan of %s periods that Stripe would charge every %j", async (cycle, bad, good) => {
    const plan = `of_${cycle}`;
    await asService(stack.db, (client) =>
      rpc(client, "set_token_plan", {
        p_plan_type: plan,
        p_plan: {
          name: plan,
          tokens: 1,
          price_cents: 700,
          billing_cycle: cycle,
          stripe_price_id: `price_${plan}`,
        },
        p_reason: "a test",
      }),
    );
    const recurs = (every: string) => {
      const [interval_count, interval] = every.split(" ");
      const recurring = { interval, interval_count: Number(interval_count) };
      api.price(`price_${plan}`, 700, { type: "recurring", recurring });
    };
    for (const every of bad) {
      recurs(every);
      expectProblem(await buy({ planType: plan }), "not_for_sale");
      await expect.poll(() => stack.log.join("\n")).toContain(`price_${plan}: 700 usd ${every}, not 700 usd`);
    }
    expect(api.sessions).toEqual([]);
    for (const every of good) {
      recurs(every);
      expect([every, (await buy({ planType: plan })).status]).toEqual([every, 200]);
    }
    api.price(`price_${plan}`, 700); // one period, paid once
    expect((await buy({ planType: plan })).status).toBe(200);
    expect(api.sessions.map(({ mode }) => mode)).toEqual([...good.map(() => "subscription"), "payment"]);
  });

  test("what has no price at Stripe, or costs nothing, is named in the log", async () => {
    expectProblem(await buy({ planType: "professional" }), "not_for_sale", { field: "planType" });
    await expect.poll(() => stack.log.join("\n")).toMatch(/professional is not for sale: .*stripe_price_id/);
  });

  test.each(["active", "trialing", "past_due", "unpaid", "paused"])(
    "a plan for whom a subscription is %s: it is the portal's to change; packs are sold",
    async (status) => {
      await portal();
      api.subscribe((await customerOf(user.id))!, status);
      expectProblem(await buy({ planType: "starter" }), "already_subscribed");
      expect((await buy({ packType: "small" })).status).toBe(200);
    },
  );

  test.each(["canceled", "incomplete", "incomplete_expired"])(
    "not a plan for whom a subscription is %s",
    async (status) => {
      await portal();
      api.subscribe((await customerOf(user.id))!, status);
      expect((await buy({ planType: "starter" })).status).toBe(200);
    },
  );

  test.each([
    ["another origin", "https://evil.example.com/thanks"],
    ["an origin that begins alike", `${app}.evil.example.com/thanks`],
    ["ours as somebody's name", `${app}@evil.example.com/`],
    ["a name in it", "https://user@app.example.com/"],
    ["a password in it", "https://user:password@app.example.com/"],
    ["ours without its s", "http://app.example.com/"],
    ["another port", `${app}:8443/`],
    ["a backslash", "https://evil.example.com\\@app.example.com/"],
    ["a script", "javascript:alert(1)"],
    ["a page that a browser has made of ours", `blob:${app}/0a1b2c3d-0000-4000-8000-000000000000`],
    ["a file that a browser has kept for ours", `filesystem:${app}/temporary/thanks`],
    ["no address", "thanks"],
    ["a long one", `${app}/${"x".repeat(2_000)}`],
  ])("an address to come back to that is %s", async (_, address) => {
    for (const field of ["successUrl", "cancelUrl"]) {
      expectProblem(await buy({ packType: "small", [field]: address }), "invalid_request", { field });
    }
    expectProblem(await portal({ returnUrl: address }), "invalid_request", { field: "returnUrl" });
    expect(api.asked).toEqual([]);
  });

  test.each([
    ["no action", { packType: "small", ...addresses }],
    ["an action of its own", { action: "refund" }],
    ["a portal with a plan", { action: "portal", returnUrl: app, planType: "starter" }],
    ["no way back", { action: "buy", packType: "small" }],
  ])("%s", async (_, body) => {
    expectProblem(await checkout(body), "invalid_request");
  });
});

test(
  "the test sees it: a variant that takes any address sends users anywhere",
  { tags: ["proof"] },
  async () => {
    const open: Fault = {
      file: "checkout/addresses.ts",
      right: "origins.includes(`${url.protocol}//${url.host}`) &&",
      wrong: "",
    };
    const faulty = await startStack({ ...api.settings, CHECKOUT_ORIGINS: app }, open);
    const caller = await faulty.user();
    const body = { action: "portal", returnUrl: "https://evil.example.com/" };
    expect((await faulty.ask("checkout", { caller, body })).status).toBe(200);
    await faulty.close();
  },
);

test(
  "the test sees it: a variant that compares origins alone sends users to a blob:",
  { tags: ["proof"] },
  async () => {
    const faulty = await startStack(
      { ...api.settings, CHECKOUT_ORIGINS: app },
      { file: "checkout/addresses.ts", right: "`${url.protocol}//${url.host}`", wrong: "url.origin" },
    );
    const caller = await faulty.user();
    const body = { action: "portal", returnUrl: `blob:${app}/x` };
    expect((await faulty.ask("checkout", { caller, body })).status).toBe(200);
    await faulty.close();
  },
);

test(
  "the test sees it: a variant that does not compare intervals sells a year for a month",
  { tags: ["proof"] },
  async () => {
    const blind: Fault = {
      file: "checkout/sessions.ts",
      right: "recursAsSaid(price, offer);",
      wrong: "true;",
    };
    const faulty = await startStack({ ...api.settings, CHECKOUT_ORIGINS: app }, blind);
    await faulty.db.admin.query(
      "update public.token_plans set stripe_price_id = 'price_year', price_cents = 900 where plan_type = 'starter'",
    );
    api.price("price_year", 900, { type: "recurring", recurring: { interval: "year", interval_count: 1 } });
    const body = { action: "buy", planType: "starter", ...addresses };
    expect((await faulty.ask("checkout", { caller: await faulty.user(), body })).status).toBe(200);
    await faulty.close();
  },
);

test(
  "the test sees it: a variant that does not compare prices charges another",
  { tags: ["proof"] },
  async () => {
    const blind: Fault = { file: "checkout/sessions.ts", right: "if (!isAsSaid) {", wrong: "if (false) {" };
    const faulty = await startStack({ ...api.settings, CHECKOUT_ORIGINS: app }, blind);
    await asService(faulty.db, (client) =>
      rpc(client, "set_token_pack", {
        p_pack_type: "small",
        p_pack: { name: "Small", tokens: 1_000, price_cents: 400, stripe_price_id: "price_small" },
        p_reason: "a test",
      }),
    );
    const body = { action: "buy", packType: "small", ...addresses };
    expect((await faulty.ask("checkout", { caller: await faulty.user(), body })).status).toBe(200);
    await faulty.close();
  },
);

describe("Stripe", () => {
  test("out of order, it is not the caller's fault, and the same request may be sent again", async () => {
    api.ail = () => "500 before";
    expectProblem(await buy({ packType: "small" }), "payment_provider_failed");
    expectProblem(await portal(), "payment_provider_failed");
    api.ail = () => "429";
    expectProblem(await buy({ packType: "small" }), "payment_provider_failed");
    api.ail = () => "hangs up after";
    expectProblem(await buy({ packType: "small" }), "payment_provider_failed");
    api.ail = () => undefined;
    expect((await buy({ packType: "small" })).status).toBe(200);
  });

  test("that does not take our key is named as a setting; the key is not", async () => {
    api.ail = () => "401";
    expectProblem(await buy({ packType: "small" }), "not_configured", { setting: "STRIPE_SECRET_KEY" });
    expect(stack.log.join("\n")).not.toContain(api.settings.STRIPE_SECRET_KEY);
  });
});

describe("the settings", () => {
  /** A stack with those; asked by a user. */
  async function askedWith(settings: Record<string, string>) {
    const lame = await startStack(settings);
    try {
      const caller = await lame.user();
      return {
        buy: await lame.ask("checkout", { caller, body: { action: "buy", packType: "small", ...addresses } }),
        nothing: await lame.ask("checkout", { caller, body: { action: "buy", ...addresses } }),
        portal: await lame.ask("checkout", { caller, body: { action: "portal", returnUrl: app } }),
      };
    } finally {
      await lame.close();
    }
  }

  test("without any, as `npm start` comes, a bad request is told what is wrong with it, a good one the setting", async () => {
    for (const [settings, setting] of [
      [{}, "CHECKOUT_ORIGINS"],
      [{ CHECKOUT_ORIGINS: app }, "STRIPE_SECRET_KEY"],
    ] as const) {
      const answers = await askedWith(settings);
      expectProblem(answers.nothing, "invalid_purchase");
      expectProblem(answers.buy, "pack_not_found", { field: "packType" });
      expectProblem(answers.portal, "not_configured", { setting });
    }
  });

  test.each([
    ["none", ""],
    ["a path", `${app}/thanks`],
    ["no https", "http://app.example.com"],
    ["a pattern", "https://*.example.com/x"],
  ])("origins that are %s are named", async (_, CHECKOUT_ORIGINS) => {
    const { portal: answer } = await askedWith({ ...api.settings, CHECKOUT_ORIGINS });
    expectProblem(answer, "not_configured", { setting: "CHECKOUT_ORIGINS" });
  });
});
