/** What one event after another comes to is in outcomes.test.ts; here is what happens around them. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { withShortLockWaits } from "../../support/time.ts";
import { expectProblem } from "../problem.ts";
import type { Fault, Stack } from "../stack.ts";
import { packTokens, packType } from "./cases.ts";
import { invoicePaymentOf, itemOf, type Line, list, now as began, type Parts } from "./objects.ts";
import {
  deliver,
  event,
  fresh,
  invoice,
  lineItems,
  prices,
  session,
  startShop,
  startStripe,
  type StripeStandIn,
} from "./stripe.ts";

let stripe: StripeStandIn;
let stack: Stack;
let user: string;
let intent: string;
/** What a user has who never paid. */
let before: number;

const planTokens = 400_000;

beforeAll(async () => {
  stripe = await startStripe();
  stack = await startShop(stripe);
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await stripe.close();
});
beforeEach(async () => {
  user = (await stack.user()).id;
  intent = fresh("pi");
  before = await tokens();
});

async function tokens(of = user): Promise<number> {
  const { body } = await stack.ask("balance", { caller: stack.server, query: `userId=${of}` });
  return body.balance.total_active;
}

/** The payment in the books, and how many of it there are. */
async function booked(): Promise<{ status: string; refunded_cents: number }[]> {
  const { rows } = await stack.db.admin.query(
    "select status, refunded_cents::int from public.token_payments where provider = 'stripe' and provider_payment_id = $1",
    [intent],
  );
  return rows;
}

const completed = (parts: Parts = {}) =>
  event("checkout.session.completed", session(user, intent, { ...lineItems(prices.starter), ...parts }));

/** The event of an invoice that the payment paid. */
function paidInvoice(parts: Parts = {}) {
  const it = invoice(user, [{ price: prices.starter }], parts);
  const id = it["id"] as string;
  stripe.lists.set(id, [invoicePaymentOf(id, intent)]);
  return event("invoice.paid", it);
}

describe("a payment", () => {
  test("is spendable when Stripe has its answer", async () => {
    const answer = await deliver(stack, completed());
    expect(answer).toMatchObject({ status: 200, body: { received: true, outcomes: ["approved"] } });
    expect(await tokens()).toBe(before + planTokens);
    expect(await booked()).toEqual([{ status: "approved", refunded_cents: 0 }]);
  });

  test("is credited once though its event comes 30 times at once", async () => {
    const it = completed();
    const answers = await Promise.all(Array.from({ length: 30 }, () => deliver(stack, it)));
    const mix: Record<number, number> = {};
    for (const { status } of answers) mix[status] = (mix[status] ?? 0) + 1;
    // What could not be done at once is sent again, as Stripe would.
    const again = await Promise.all(answers.filter((a) => a.status !== 200).map(() => deliver(stack, it)));
    console.log(`one event 30 times at once: ${JSON.stringify(mix)}, credited ${(await tokens()) - before}`);
    for (const { status } of [...answers, ...again]) expect([200, 503]).toContain(status);
    expect(await tokens()).toBe(before + planTokens);
    expect(await booked()).toHaveLength(1);
  });

  test("is credited once though three different events tell of it, in every order, at once too", async () => {
    const three = () => {
      const bill = paidInvoice();
      return [
        completed({ invoice: bill.data.object["id"] }),
        event("checkout.session.async_payment_succeeded", session(user, intent, lineItems(prices.starter))),
        bill,
      ];
    };
    const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] as const; // prettier-ignore
    for (const order of orders) {
      user = (await stack.user()).id;
      intent = fresh("pi");
      const events = three();
      for (const i of order) expect((await deliver(stack, events[i]!)).status).toBe(200);
      expect([order, await tokens(), await booked()]).toEqual([
        order,
        before + planTokens,
        [{ status: "approved", refunded_cents: 0 }],
      ]);
    }
    user = (await stack.user()).id;
    intent = fresh("pi");
    const events = [...three(), ...three()];
    const answers = await Promise.all(events.map((it) => deliver(stack, it)));
    expect(answers.filter(({ status }) => ![200, 503].includes(status))).toEqual([]);
    // what was busy is sent again, as Stripe does
    for (const [nth, { status }] of answers.entries())
      if (status === 503) expect((await deliver(stack, events[nth]!)).status).toBe(200);
    expect([await tokens(), (await booked()).length]).toEqual([before + planTokens, 1]);
  });

  test("that waits for an admin says why, in the answer too", async () => {
    const answer = await deliver(stack, completed(lineItems("price_of_a_shirt")));
    expect(answer.body).toEqual({ received: true, outcomes: ["parked"], parked: ["price_unknown"] });
  });
});

/** When the period of the parked payment of such an invoice begins, once an admin has said what it was. */
async function assignedPeriod(on: Stack, lines: Line[]): Promise<unknown> {
  const it = invoice(user, lines);
  stripe.lists.set(it["id"] as string, [invoicePaymentOf(it["id"] as string, intent)]);
  expect((await deliver(on, event("invoice.paid", it))).body.outcomes).toEqual(["parked"]);
  const body = { action: "assign", provider: "stripe", providerPaymentId: intent, userId: user };
  const assigned = await on.ask("payments", { caller: on.server, body: { ...body, planType: "starter" } });
  expect(assigned).toMatchObject({ status: 200, body: { status: "approved" } });
  const { rows } = await on.db.admin.query(
    "select period_start from public.token_subscriptions where user_id = $1",
    [user],
  );
  return rows[0].period_start;
}

const oddLines: [string, Line[]][] = [
  ["an unknown price", [{ price: "price_gone" }]],
  ["two plans", [{ price: prices.starter }, { price: prices.professional }]],
  ["two of a plan", [{ price: prices.starter, quantity: 2 }]],
  ["a proration", [{ price: prices.starter, isProration: true }]],
];

test.each(oddLines)("an invoice of %s, assigned later, is for the invoice's period", async (_, lines) => {
  expect(await assignedPeriod(stack, lines)).toEqual(new Date(began * 1000));
});

test(
  "the test sees it: a variant that tells a period of known plans alone begins it at the assignment",
  { tags: ["proof"] },
  async () => {
    const late: Fault = {
      file: "stripe-webhook/payments.ts",
      right: "what.pack_type === undefined && invoice.subscription",
      wrong: "what.plan_type !== undefined && invoice.subscription",
    };
    const faulty = await startShop(stripe, late);
    user = (await faulty.user()).id;
    const period = await assignedPeriod(faulty, oddLines[0]![1]);
    await faulty.close();
    expect(period).not.toEqual(new Date(began * 1000));
  },
);

describe("what the buyer can write", () => {
  test("does not say whose account a payment, and its chargeback, is for", async () => {
    const victim = (await stack.user()).id;
    const it = session(victim, intent, {
      ...lineItems(prices.starter),
      payment_link: "plink_1", // whose address has ?client_reference_id=
      metadata: {},
      customer_details: { email: "victim@example.com", name: victim },
      custom_fields: [{ key: "user_id", text: { value: victim } }],
    });
    const answer = await deliver(stack, event("checkout.session.completed", it));
    expect(answer.body).toEqual({ received: true, outcomes: ["parked"], parked: ["user_unknown"] });
    expect(await tokens(victim)).toBe(before);
  });

  test("does not hide what the server wrote into a payment link", async () => {
    const victim = (await stack.user()).id;
    const it = session(victim, intent, {
      ...lineItems(prices.starter),
      payment_link: "plink_1",
      metadata: { user_id: user, tokens: "999999999", plan_type: "professional" },
    });
    await deliver(stack, event("checkout.session.completed", it));
    expect([await tokens(), await tokens(victim)]).toEqual([before + planTokens, before]);
  });

  test.each([
    ["a stranger", "00000000-0000-4000-8000-000000000000"],
    ["no uuid", "1 or 1=1"],
  ])("may be %s: the payment is parked and not lost", async (_, who) => {
    const answer = await deliver(
      stack,
      event("checkout.session.completed", session(who, intent, lineItems(prices.starter))),
    );
    expect(answer).toMatchObject({ status: 200, body: { outcomes: ["parked"], parked: ["user_unknown"] } });
  });
});

test("a customer's payments are all found by the event that names their user, however many wait", async () => {
  const customer = fresh("cus");
  const bill = async () => {
    const it = invoice(null, [{ price: prices.pack, isOnce: true, amount: 500 }], {
      subscription: null,
      customer,
    });
    const id = it["id"] as string;
    stripe.lists.set(id, [invoicePaymentOf(id, fresh("pi"))]);
    return deliver(stack, event("invoice.paid", it));
  };
  for (let nth = 0; nth < 45; nth++) expect((await bill()).body.outcomes).toEqual(["parked"]);
  await deliver(stack, completed({ customer }));
  expect(await tokens()).toBe(before + planTokens + 45 * 50_000);
});

test("names that a project gave to its customers and prices itself are no fault", async () => {
  const it = { ...lineItems("my old plan, 9 €"), customer: "Ärzte & Söhne" };
  const answer = await deliver(stack, event("checkout.session.completed", session(user, intent, it)));
  expect(answer).toMatchObject({ status: 200, body: { parked: ["price_unknown"] } });
});

describe("trouble", () => {
  test("with Stripe's API is told as such, to be sent again, and the next delivery does it all", async () => {
    const bill = paidInvoice();
    for (const status of [429, 500, 503]) {
      stripe.fail(status);
      const answer = await deliver(stack, bill);
      expectProblem(answer, "payment_provider_failed", { retryable: true, status: 502 });
      expect(answer.headers.get("retry-after")).toBe("1");
    }
    stripe.fail(200);
    expect(await tokens()).toBe(before);
    expect((await deliver(stack, bill)).status).toBe(200);
    expect(await tokens()).toBe(before + planTokens);
  });

  test("with the database, which gives the statement up, is a 503, and the next delivery does it all", async () => {
    const bill = paidInvoice();
    const { rows } = await stack.db.admin.query(
      "select pg_get_functiondef('public.record_token_payment_event'::regproc) as definition",
    );
    const definition = rows[0].definition as string;
    await stack.db.admin.query(
      definition.replace(/begin\n[^]*\nend/, "begin raise exception 'x' using errcode = '57014'; end"),
    );
    const answer = await deliver(stack, bill);
    await stack.db.admin.query(definition);
    expectProblem(answer, "unavailable");
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await tokens()).toBe(before);
    expect((await deliver(stack, bill)).status).toBe(200);
    expect(await tokens()).toBe(before + planTokens);
  });

  test("with the account, locked for long, is a 503, and the next delivery does it all", async () => {
    await deliver(stack, completed());
    intent = fresh("pi");
    const second = completed();
    const other = await stack.db.admin.connect();
    try {
      await other.query("begin");
      await other.query("select from public.token_accounts where user_id = $1 for update", [user]);
      expectProblem(await withShortLockWaits(stack.db, () => deliver(stack, second)), "busy");
    } finally {
      await other.query("rollback");
      other.release();
    }
    expect((await deliver(stack, second)).status).toBe(200);
    expect(await tokens()).toBe(before + 2 * planTokens);
  });

  test("with an answer that never arrived: the event comes again and changes nothing", async () => {
    const it = completed();
    await deliver(stack, it);
    expect((await deliver(stack, it)).body.outcomes).toEqual(["approved"]);
    expect(await tokens()).toBe(before + planTokens);
  });
});

describe("without a key for Stripe's API", () => {
  let keyless: Stack;
  let buyer: string;
  beforeAll(async () => {
    keyless = await startShop();
    buyer = (await keyless.user()).id;
  });
  afterAll(async () => {
    await expectCleanBooks(keyless.db);
    await keyless.close();
  });

  /** What `checkout` would have made, and what was paid. */
  const sold = (metadata: Parts, parts: Parts = {}) =>
    event(
      "checkout.session.completed",
      session(buyer, fresh("pi"), {
        metadata: { user_id: buyer, ...metadata },
        amount_total: 1_500,
        ...parts,
      }),
    );
  const three = { pack_type: packType, quantity: "3" };

  test("an invoice is refused until there is one, and the log names the setting", async () => {
    const bill = event("invoice.paid", invoice(buyer, [{ price: prices.starter }]));
    expectProblem(await deliver(keyless, bill), "internal_error");
    await expect.poll(() => keyless.log.join("\n")).toContain("STRIPE_SECRET_KEY is not set");
  });

  test("what our server wrote into a session counts, where exactly its price was paid", async () => {
    const tokensOf = async () =>
      (await keyless.ask("balance", { caller: keyless.server, query: `userId=${buyer}` })).body.balance
        .total_active as number;
    const had = await tokensOf();
    expect((await deliver(keyless, sold(three))).body).toEqual({ received: true, outcomes: ["approved"] });
    expect((await tokensOf()) - had).toBe(3 * packTokens);
    const plan = sold({ plan_type: "starter" }, { amount_total: 900 });
    expect((await deliver(keyless, plan)).body).toEqual({ received: true, outcomes: ["approved"] });
  });

  test.each([
    ["nothing is written", {}, {}, "items_unknown"],
    ["less was paid, with a coupon", three, { amount_total: 1_400 }, "items_unknown"],
    ["more was paid: the buyer has changed how many", three, { amount_total: 2_000 }, "items_unknown"],
    ["another currency was paid", three, { currency: "jpy" }, "items_unknown"],
    ["the pack is none", { ...three, pack_type: "none" }, {}, "items_unknown"],
    ["the quantity is none", { ...three, quantity: "-3" }, {}, "items_unknown"],
    ["a plan was bought twice", { plan_type: "starter", quantity: "2" }, { amount_total: 1_800 }, "quantity"],
  ])("a sale is parked when %s", async (_, metadata, parts, reason) => {
    const answer = await deliver(keyless, sold(metadata, parts));
    expect(answer.body).toEqual({ received: true, outcomes: ["parked"], parked: [reason] });
  });

  test("the admin reads in words what is missing, and the log names the event and the setting", async () => {
    const sale = sold({});
    await deliver(keyless, sale);
    await expect
      .poll(() => keyless.log.join("\n"))
      .toMatch(new RegExp(`${sale.id} is parked: STRIPE_SECRET_KEY is not set`));
    const { body } = await keyless.ask("payments", { caller: keyless.server });
    expect(body.parked.at(-1)).toMatchObject({
      provider_payment_id: sale.data.object["payment_intent"],
      parked_reason: "items_unknown",
      explanation: expect.stringContaining("STRIPE_SECRET_KEY"),
    });
  });

  test("once Stripe has told it, the same event gives what was bought", async () => {
    const sale = sold({});
    await deliver(keyless, sale);
    Object.assign(sale.data.object, { line_items: list([itemOf(prices.pack, 3)], "/v1/checkout/sessions") });
    expect((await deliver(keyless, sale)).body).toEqual({ received: true, outcomes: ["approved"] });
  });
});

test(
  "the test sees it: a variant that does not compare the amount gives ten packs for the price of three",
  { tags: ["proof"] },
  async () => {
    const blind: Fault = {
      file: "stripe-webhook/payments.ts",
      right: "price.cents * quantity === amount_total &&",
      wrong: "",
    };
    const faulty = await startShop(undefined, blind);
    const buyer = (await faulty.user()).id;
    const metadata = { user_id: buyer, pack_type: packType, quantity: "10" };
    const sale = session(buyer, fresh("pi"), { metadata, amount_total: 1_500 });
    const answer = await deliver(faulty, event("checkout.session.completed", sale));
    await faulty.close();
    expect(answer.body.outcomes).toEqual(["approved"]);
  },
);
