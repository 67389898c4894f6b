import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { withShortLockWaits } from "../../support/time.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
import {
  charge,
  deliver,
  dispute,
  event,
  fresh,
  invoice,
  invoiceLine,
  lineItems,
  prices,
  secret,
  session,
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
  stack = await startStack({
    STRIPE_WEBHOOK_SECRET: secret,
    STRIPE_SECRET_KEY: "rk_test_of_the_tests",
    STRIPE_API_BASE: stripe.url,
  });
  for (const [plan, price] of Object.entries(prices)) {
    await stack.db.admin.query("update public.token_plans set stripe_price_id = $2 where plan_type = $1", [
      plan,
      price,
    ]);
  }
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

const completed = (parts = {}) =>
  event("checkout.session.completed", session(user, intent, { ...lineItems(prices.starter), ...parts }));

/** The invoice that the payment paid. */
function paidInvoice(lines = [invoiceLine(prices.starter)], parts: Record<string, unknown> = {}) {
  const it = invoice(user, lines, parts);
  stripe.paidBy.set(it.id, intent);
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
      const parts = { mode: "subscription", payment_intent: null, invoice: bill.data.object["id"] };
      return [
        event("checkout.session.completed", session(user, null, parts)),
        event("checkout.session.async_payment_succeeded", session(user, intent)),
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
    const answers = await Promise.all([...three(), ...three()].map((it) => deliver(stack, it)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 200));
    expect([await tokens(), (await booked()).length]).toEqual([before + planTokens, 1]);
  });

  test("in a single sale has its plan looked up, because Stripe does not send it along", async () => {
    const it = session(user, intent);
    stripe.bought.set(it.id, prices.professional);
    expect((await deliver(stack, event("checkout.session.completed", it))).body.outcomes).toEqual([
      "approved",
    ]);
    expect(await tokens()).toBe(before + 2_000_000);
  });

  test("that is still under way is not one", async () => {
    const answer = await deliver(stack, completed({ payment_status: "unpaid" }));
    expect(answer.body.outcomes).toEqual([]);
    expect([await tokens(), await booked()]).toEqual([before, []]);
  });

  test("of the next period is another one", async () => {
    await deliver(stack, paidInvoice());
    intent = fresh("pi");
    const line = invoiceLine(prices.starter, {
      period: { start: Date.UTC(2026, 11, 1) / 1000, end: Date.UTC(2027, 0, 1) / 1000 },
    });
    await deliver(stack, paidInvoice([line], { billing_reason: "subscription_cycle" }));
    expect(await tokens()).toBe(before + 2 * planTokens);
  });
});

describe("what the buyer can write", () => {
  test("does not say whose account a payment, and its chargeback, is for", async () => {
    const victim = (await stack.user()).id;
    const it = session(victim, intent, {
      ...lineItems(prices.starter),
      payment_link: "plink_1", // whose address has ?client_reference_id=
      customer_details: { email: "victim@example.com", name: victim },
      custom_fields: [{ key: "user_id", text: { value: victim } }],
    });
    const answer = await deliver(stack, event("checkout.session.completed", it));
    expect(answer.body.outcomes).toEqual(["parked"]);
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
    ["several of a plan", () => completed(lineItems(prices.starter, 3))],
    ["nothing, with a coupon", () => completed({ amount_total: 0, payment_status: "no_payment_required" })],
    ["a price that is not ours", () => paidInvoice([invoiceLine("price_of_a_shirt")])],
    ["two plans", () => paidInvoice([invoiceLine(prices.starter), invoiceLine(prices.professional)])],
    [
      "the rest of a period on a better plan",
      () => {
        const parent = { subscription_item_details: { proration: true } };
        const lines = [
          invoiceLine(prices.starter, { amount: -100, parent }),
          invoiceLine(prices.professional, { amount: 300, parent }),
        ];
        return paidInvoice(lines, { billing_reason: "subscription_update", amount_paid: 200 });
      },
    ],
  ])("%s is no plan, and is parked for an admin", async (_, it) => {
    expect((await deliver(stack, it())).body.outcomes).toEqual(["parked"]);
    expect(await tokens()).toBe(before);
  });
});

describe("a payment that nobody can be found for", () => {
  test.each([
    ["nobody", null],
    ["a stranger", randomUUID()],
    ["no uuid", "1 or 1=1"],
  ])("(%s) is parked and not lost", async (_, who) => {
    const it = session(who, intent, lineItems(prices.starter));
    const answer = await deliver(stack, event("checkout.session.completed", it));
    expect(answer).toMatchObject({ status: 200, body: { outcomes: ["parked"] } });
  });
});

describe("money that goes back", () => {
  test("takes the tokens along, in any order of events", async () => {
    const refunded = event("charge.refunded", charge(intent, 1900));
    expect((await deliver(stack, refunded)).status).toBe(200); // before the payment
    await deliver(stack, completed());
    expect(await booked()).toEqual([{ status: "refunded", refunded_cents: 1900 }]);
    expect(await tokens()).toBe(before);
  });

  test("in parts is counted up by Stripe, so an older event changes nothing", async () => {
    await deliver(stack, completed());
    await deliver(stack, event("charge.refunded", charge(intent, 950)));
    await deliver(stack, event("charge.refunded", charge(intent, 475)));
    expect(await booked()).toEqual([{ status: "approved", refunded_cents: 950 }]);
    expect(await tokens()).toBe(before + planTokens / 2);
  });

  test("in a dispute takes them while it lasts, and gives them back when it is won", async () => {
    await deliver(stack, completed());
    await deliver(stack, event("charge.dispute.created", dispute(intent, "needs_response")));
    expect(await tokens()).toBe(before);
    await deliver(stack, event("charge.dispute.closed", dispute(intent, "won")));
    expect(await tokens()).toBe(before + planTokens);
  });

  test("in a dispute that is lost stays away", async () => {
    await deliver(stack, completed());
    await deliver(stack, event("charge.dispute.closed", dispute(intent, "lost")));
    await deliver(stack, event("charge.dispute.created", dispute(intent, "needs_response")));
    expect(await tokens()).toBe(before);
  });

  test("has not gone yet in an inquiry, until Stripe takes it", async () => {
    await deliver(stack, completed());
    await deliver(stack, event("charge.dispute.created", dispute(intent, "warning_needs_response")));
    expect(await tokens()).toBe(before + planTokens);
    await deliver(stack, event("charge.dispute.funds_withdrawn", dispute(intent, "needs_response")));
    expect(await tokens()).toBe(before);
  });
});

describe("trouble", () => {
  test("with Stripe's API is a 500, and the next delivery does it all", async () => {
    const bill = paidInvoice();
    stripe.fail(500);
    const answer = await deliver(stack, bill);
    stripe.fail(200);
    expectProblem(answer, "internal_error");
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

test("without a key for Stripe's API, an invoice is refused until there is one, and a sale is parked", async () => {
  const keyless = await startStack({ STRIPE_WEBHOOK_SECRET: secret });
  try {
    const buyer = (await keyless.user()).id;
    expectProblem(
      await deliver(keyless, event("invoice.paid", invoice(buyer, [invoiceLine(prices.starter)]))),
      "internal_error",
    );
    await expect.poll(() => keyless.log.join("\n")).toContain("STRIPE_SECRET_KEY is not set");
    const sale = await deliver(keyless, event("checkout.session.completed", session(buyer, fresh("pi"))));
    expect(sale.body.outcomes).toEqual(["parked"]);
  } finally {
    await keyless.close();
  }
});
