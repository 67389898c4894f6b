import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { cents } from "../../../supabase/functions/paypal-webhook/money.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
import {
  capture,
  captureRefund,
  deliver,
  dispute,
  event,
  fresh,
  type PaypalStandIn,
  sale,
  startPaypal,
} from "./paypal.ts";

let paypal: PaypalStandIn;
let stack: Stack;
let user: string;
let id: string;

const planTokens = 400_000;

beforeAll(async () => {
  paypal = await startPaypal();
  stack = await startStack(paypal.settings);
  await stack.db.admin.query(
    "update public.token_plans set paypal_plan_id = 'P-STARTER' where plan_type = 'starter'",
  );
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await paypal.close();
});
beforeEach(async () => {
  user = (await stack.user()).id;
  id = fresh();
});

async function tokens(of = user): Promise<number> {
  const { body } = await stack.ask("balance", { caller: stack.server, query: `userId=${of}` });
  return body.balance.total_active;
}

const bought = () => capture(id, `${user}:starter`);

describe("an order", () => {
  test("is spendable when PayPal has its answer", async () => {
    expect(await deliver(stack, bought())).toMatchObject({
      status: 200,
      body: { received: true, outcomes: ["approved"] },
    });
    expect(await tokens()).toBe(planTokens);
  });

  test("is credited once though its event comes 30 times at once", async () => {
    const it = bought();
    const answers = await Promise.all(Array.from({ length: 30 }, () => deliver(stack, it)));
    const mix: Record<number, number> = {};
    for (const { status } of answers) mix[status] = (mix[status] ?? 0) + 1;
    const again = await Promise.all(answers.filter((a) => a.status !== 200).map(() => deliver(stack, it)));
    console.log(`one event 30 times at once: ${JSON.stringify(mix)}, credited ${await tokens()}`);
    for (const { status } of [...answers, ...again]) expect([200, 503]).toContain(status);
    expect(await tokens()).toBe(planTokens);
  });

  test.each([
    ["a cent", "0.01", "USD"],
    ["the price in a weaker currency", "9.00", "MXN"],
    ["the price of another plan", "19.00", "USD"],
  ])("for %s does not buy the plan that its page has written into it", async (_, value, currency) => {
    const answer = await deliver(stack, capture(id, `${user}:starter`, value, currency));
    expect(answer.body.outcomes).toEqual(["parked"]);
    expect(await tokens()).toBe(0);
  });

  test.each([
    ["no user", ""],
    ["a user who is none", "somebody:starter"],
    ["no plan", undefined],
    ["a plan that is none", "gold"],
  ])("with %s is parked and not lost", async (_, custom) => {
    const written = custom === undefined ? user : custom === "gold" ? `${user}:gold` : custom;
    const answer = await deliver(stack, capture(id, written));
    expect(answer).toMatchObject({ status: 200, body: { outcomes: ["parked"] } });
  });
});

describe("a subscription", () => {
  beforeEach(() => void paypal.subscriptions.set("I-1", { plan_id: "P-STARTER", custom_id: user }));

  test("is paid anew each period", async () => {
    await deliver(stack, sale(id, "I-1"));
    await deliver(stack, sale(fresh(), "I-1", "2026-12-01T10:00:00Z"));
    expect(await tokens()).toBe(2 * planTokens);
  });

  test("to a plan that is not ours, or none at all, is parked", async () => {
    paypal.subscriptions.set("I-2", { plan_id: "P-OF-A-SHOP", custom_id: user });
    expect((await deliver(stack, sale(id, "I-2"))).body.outcomes).toEqual(["parked"]);
    const other = event("PAYMENT.SALE.COMPLETED", {
      id: fresh(),
      amount: { total: "9.00", currency: "USD" },
      create_time: "2026-11-01T10:00:00Z",
    });
    expect((await deliver(stack, other)).body.outcomes).toEqual(["parked"]);
  });

  test("that PayPal cannot tell now is a 500, and the next delivery does it all", async () => {
    const paid = sale(id, "I-3");
    expectProblem(await deliver(stack, paid), "internal_error");
    paypal.subscriptions.set("I-3", { plan_id: "P-STARTER", custom_id: user });
    expect((await deliver(stack, paid)).body.outcomes).toEqual(["approved"]);
    expect(await tokens()).toBe(planTokens);
  });

  test("takes its tokens along when its payment is refunded", async () => {
    await deliver(stack, sale(id, "I-1"));
    const total = { value: "9.00", currency: "USD" };
    await deliver(
      stack,
      event("PAYMENT.SALE.REFUNDED", { id: fresh(), sale_id: id, total_refunded_amount: total }),
    );
    expect(await tokens()).toBe(0);
  });
});

describe("money that goes back", () => {
  test("takes the tokens along, in any order of events", async () => {
    expect((await deliver(stack, captureRefund(id, "9.00", "9.00"))).status).toBe(200); // before the payment
    expect((await deliver(stack, bought())).body.outcomes).toEqual(["refunded"]);
    expect(await tokens()).toBe(0);
  });

  test("in parts is counted up by PayPal, so an older event changes nothing", async () => {
    await deliver(stack, bought());
    await deliver(stack, captureRefund(id, "2.25", "4.50"));
    await deliver(stack, captureRefund(id, "2.25", "2.25"));
    expect(await tokens()).toBe(planTokens / 2);
  });

  test.each(["RESOLVED_SELLER_FAVOUR", "RESOLVED_WITH_PAYOUT", "CANCELED_BY_BUYER"])(
    "in a dispute comes back when it ends with %s",
    async (outcome) => {
      await deliver(stack, bought());
      await deliver(stack, dispute("CREATED", [id]));
      expect(await tokens()).toBe(0);
      await deliver(stack, dispute("RESOLVED", [id], outcome));
      expect(await tokens()).toBe(planTokens);
    },
  );

  test.each(["RESOLVED_BUYER_FAVOUR", "ACCEPTED", "SOMETHING_NEW"])(
    "in a dispute stays away when it ends with %s",
    async (outcome) => {
      await deliver(stack, bought());
      await deliver(stack, dispute("RESOLVED", [id], outcome));
      await deliver(stack, dispute("CREATED", [id]));
      expect(await tokens()).toBe(0);
    },
  );

  test("in one dispute about two payments goes for both, once", async () => {
    const first = id;
    await deliver(stack, bought());
    id = fresh();
    await deliver(stack, bought());
    const both = dispute("CREATED", [first, id]);
    expect((await deliver(stack, both)).body.outcomes).toHaveLength(2);
    expect(await tokens()).toBe(0);
    await deliver(stack, both);
    await deliver(stack, dispute("RESOLVED", [first, id], "RESOLVED_SELLER_FAVOUR"));
    expect(await tokens()).toBe(2 * planTokens);
  });
});

test("an event of a kind that nobody has heard of is taken note of, so that PayPal stops sending it", async () => {
  const answer = await deliver(stack, event("CATALOG.PRODUCT.CREATED", { id: "1" }));
  expect(answer).toMatchObject({ status: 200, body: { received: true, outcomes: [] } });
});

test("an event that is not as PayPal documents it is a 500, and nothing is guessed", async () => {
  const odd = event("PAYMENT.CAPTURE.REFUNDED", { id: "1", amount: { value: "9.00", currency_code: "USD" } });
  expectProblem(await deliver(stack, odd), "internal_error");
  await deliver(stack, bought());
  expect(await tokens()).toBe(planTokens);
});

test("an amount is exact in its currency's smallest unit, or none at all", () => {
  const amounts = [["19.00", "USD"], ["0.01", "eur"], ["4.5", "USD"], ["500", "JPY"], ["500.00", "JPY"], ["9007199.99", "USD"]] as const; // prettier-ignore
  expect(amounts.map(([value, currency]) => cents(value, currency))).toEqual([
    1900, 1, 450, 500, 500, 900719999,
  ]);
  for (const [value, currency] of [
    ["1.001", "USD"],
    ["-1.00", "USD"],
    ["1e3", "USD"],
    ["", "USD"],
    ["1,00", "USD"],
    ["5.5", "JPY"],
  ] as const) {
    // prettier-ignore
    expect(() => cents(value, currency), value).toThrow();
  }
});
