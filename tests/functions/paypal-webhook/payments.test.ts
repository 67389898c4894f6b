import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { cents } from "../../../supabase/functions/paypal-webhook/money.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { expectProblem } from "../problem.ts";
import type { Stack } from "../stack.ts";
import { packTokens, planTokens, startShop } from "./cases.ts";
import {
  capture,
  captureRefund,
  captureReversal,
  deliver,
  dispute,
  event,
  fresh,
  type PaypalStandIn,
  sale,
  startPaypal,
  subscription,
  subscriptionEvent,
} from "./paypal.ts";

// what becomes of each kind of event: outcomes.test.ts

let paypal: PaypalStandIn;
let stack: Stack;
let user: string;
let id: string;

beforeAll(async () => {
  paypal = await startPaypal();
  stack = await startShop(paypal);
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

/** What waits for an admin of these payments. */
async function parked(...ids: string[]): Promise<{ reason: string; price_id: string }[]> {
  const { rows } = await stack.db.admin.query(
    "select parked_reason as reason, price_id from tokenbook.provider_payments where provider_payment_id = any ($1) and parked_reason is not null",
    [ids],
  );
  return rows;
}

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

  test("for packs leaves the plan and its period alone", async () => {
    await deliver(stack, bought());
    const subscribed = async () =>
      (await stack.db.admin.query("select plan_type, period_start, expires_at from public.token_subscriptions where user_id = $1", [user])).rows; // prettier-ignore
    const before = await subscribed();
    await deliver(stack, capture(fresh(), `${user}:pack:small:2`, "10.00"));
    expect(await tokens()).toBe(planTokens + 2 * packTokens);
    expect(await subscribed()).toEqual(before);
  });

  test("that another event says is another user's stays, and the answer and the admins' list say so", async () => {
    await deliver(stack, bought());
    const other = (await stack.user()).id;

    const answer = await deliver(stack, capture(id, `${other}:starter`));

    const disagrees = { user_id: [other] };
    expect(answer.body).toMatchObject({ outcomes: ["approved"], disagrees: [disagrees] });
    expect([await tokens(), await tokens(other)]).toEqual([planTokens, 0]);
    const listed = async (caller: Stack["server"]) =>
      (await stack.ask("payments", { caller, query: `userId=${user}` })).body.payments;
    expect(await listed(stack.server)).toMatchObject([{ provider_payment_id: id, disagrees }]);
  });

  test("that is parked says what it names, and why", async () => {
    await deliver(stack, capture(id, `${user}:pack:small:5`, "5.00"));
    expect(await parked(id)).toEqual([{ reason: "amount_differs", price_id: "pack:small:5" }]);
  });
});

describe("a subscription", () => {
  const subscribe = (name: string, options = {}) =>
    paypal.places.set(`/v1/billing/subscriptions/${name}`, subscription(name, { custom: user, payer: `P${user.slice(0, 8)}`, ...options })); // prettier-ignore

  test("is paid anew each period", async () => {
    subscribe("I-1");
    await deliver(stack, sale(id, "I-1"));
    await deliver(stack, sale(fresh(), "I-1", { time: "2026-12-01T10:00:00Z" }));
    expect(await tokens()).toBe(2 * planTokens);
  });

  test("that PayPal cannot tell now is told as such, and the next delivery does it all", async () => {
    subscribe("I-2");
    const paid = sale(id, "I-2");
    paypal.fail(503, "/v1/billing/");
    expectProblem(await deliver(stack, paid), "payment_provider_failed", { retryable: true, status: 502 });
    paypal.fail(200);
    expect((await deliver(stack, paid)).body.outcomes).toEqual(["approved"]);
    expect(await tokens()).toBe(planTokens);
  });

  test("whose setup fee and price are paid apart is one period", async () => {
    subscribe("I-3");
    paypal.places.set("/v1/billing/plans/P-STARTER", {
      payment_preferences: { setup_fee: { currency_code: "USD", value: "10.00" } },
    });
    const fee = fresh();
    await deliver(stack, sale(fee, "I-3", { total: "10.00" }));
    await deliver(stack, sale(id, "I-3"));
    expect(await tokens()).toBe(planTokens);
    expect(await parked(fee, id)).toEqual([{ reason: "setup_fee", price_id: "P-STARTER" }]);
  });

  test("without a user's id in it is of whom the payer's other subscription is", async () => {
    subscribe("I-4");
    await deliver(stack, sale(id, "I-4"));
    subscribe("I-5", { custom: undefined });
    await deliver(stack, sale(fresh(), "I-5"));
    expect(await tokens()).toBe(2 * planTokens);
  });

  test("that has failed and is paid again is active", async () => {
    const at = (type: string, options = {}) =>
      subscriptionEvent(type, "I-6", { custom: user, payer: "P6", ...options });
    const failed = at("PAYMENT.FAILED", { failures: 1 });
    const paid = at("UPDATED");
    for (const it of [paid, failed, paid])
      expect((await deliver(stack, it)).body.outcomes).toEqual(["recorded"]);
    const { rows } = await stack.db.admin.query(
      "select status from tokenbook.provider_subscriptions where provider_subscription_id = 'I-6'",
    );
    expect(rows).toEqual([{ status: "active" }]); // whichever is heard of last
  });
});

describe("money that goes back", () => {
  test("in parts takes each part once, in any order", async () => {
    const parts = [captureRefund(id, "2.25"), captureRefund(id, "2.25")];
    await deliver(stack, parts[1]!);
    await deliver(stack, bought());
    await deliver(stack, parts[0]!);
    for (const part of parts) await deliver(stack, part);
    expect(await tokens()).toBe(planTokens / 2);
  });

  test("in one dispute about two payments goes for both, once", async () => {
    const first = id;
    await deliver(stack, bought());
    id = fresh();
    await deliver(stack, bought());
    const name = fresh("PP-D-");
    const both = dispute("CREATED", [first, id], { dispute: name, amount: "18.00" });
    expect((await deliver(stack, both)).body.outcomes).toHaveLength(2);
    expect(await tokens()).toBe(0);
    await deliver(stack, both);
    await deliver(stack, dispute("RESOLVED", [first, id], { dispute: name, amount: "18.00", outcome: "RESOLVED_SELLER_FAVOUR" })); // prettier-ignore
    expect(await tokens()).toBe(2 * planTokens);
  });

  test("by a dispute about payments whose sizes are not told takes all of each", async () => {
    await deliver(stack, bought());
    const unsized = dispute("CREATED", [id, fresh()], { amount: "9.00" });
    for (const it of (unsized.resource as { disputed_transactions: object[] }).disputed_transactions) {
      Reflect.deleteProperty(it, "gross_amount");
    }
    await deliver(stack, unsized);
    expect(await tokens()).toBe(0);
  });

  test("by a reversal, and by the dispute that caused it, is one loss, whichever is heard of first", async () => {
    const name = fresh("PP-D-");
    const story = () => [
      bought(),
      dispute("CREATED", [id], { dispute: name, amount: "3.00" }),
      captureReversal(id, "3.00"),
    ];
    const left: number[] = [];
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
      [2, 1, 0],
      [1, 0, 2],
    ]) {
      user = (await stack.user()).id;
      id = fresh();
      const events = story();
      for (const index of order) await deliver(stack, events[index]!);
      left.push(await tokens());
    }
    expect(left).toEqual(left.map(() => Math.ceil((planTokens * 2) / 3)));
  });
});

describe("an event that is signed and cannot be read", () => {
  test("is refused with what is wrong with it, in the answer and in the log, and changes nothing", async () => {
    const odd = event("PAYMENT.CAPTURE.REFUNDED", { id: "1", status: "COMPLETED", amount: { value: "9.00", currency_code: "USD" } }); // prettier-ignore
    expectProblem(await deliver(stack, odd), "invalid_provider_event", { field: "resource.links" });
    await expect.poll(() => stack.log.join("\n")).toContain(`PAYMENT.CAPTURE.REFUNDED ${odd.id} cannot be read: resource.links`); // prettier-ignore
    await deliver(stack, bought());
    expect(await tokens()).toBe(planTokens);
  });

  test.each<[string, () => object, string]>([
    ["no id", () => ({ ...bought(), id: undefined }), "id"],
    ["an id that is too long", () => ({ ...bought(), id: "W".repeat(300) }), "id"],
    ["a type that is none", () => ({ ...bought(), event_type: 7 }), "event_type"],
    ["no resource", () => ({ ...bought(), resource: undefined }), "resource"],
    ["a day that never was", () => ({ ...bought(), create_time: "2018-19-12T22:20:32.000Z" }), "create_time"],
    [
      "a year that the books have not",
      () => ({ ...bought(), create_time: "3018-01-12T22:20:32.000Z" }),
      "create_time",
    ],
    ["a payment's id that is too long", () => capture("C".repeat(300), `${user}:starter`), "resource.id"],
    ["no currency", () => capture(id, `${user}:starter`, "9.00", ""), "resource.amount"],
    ["a payment of less than nothing", () => capture(id, `${user}:starter`, "-9.00"), "resource.amount"],
    [
      "a refund in a state that is none",
      () => captureRefund(id, "9.00", { status: "LOST" }),
      "resource.status",
    ],
    ["a list for an event", () => [bought()], "body"],
  ])("with %s is a 4xx", async (_, made, field) => {
    expectProblem(await deliver(stack, made()), "invalid_provider_event", { field });
  });

  test("for whatever its order is called, is not: that only parks it", async () => {
    for (const custom of [
      "x".repeat(100_000),
      `${user}:${"x".repeat(300)}`,
      `${user}:\0`,
      "\ud800",
      `${user}::`,
    ]) {
      expect((await deliver(stack, capture(fresh(), custom))).body).toMatchObject({ outcomes: ["parked"] });
    }
  });
});

test("an amount is exact in its currency's smallest unit, or none at all", () => {
  const amounts = [
    ["19.00", "USD", 1900],
    ["0.01", "eur", 1],
    ["4.5", "USD", 450],
    ["-9.00", "USD", -900],
    ["-0.00", "USD", 0],
    ["500", "JPY", 500],
    ["500.00", "JPY", 500],
    ["-500", "JPY", -500],
    ["1.234", "TND", 1234],
    ["70368744177.65", "USD", 7036874417765], // as a double, times 100, this is a fraction
    ["999999999999.99", "USD", 99999999999999],
  ] as const;
  expect(amounts.map(([value, currency]) => cents(value, currency))).toEqual(
    amounts.map(([, , count]) => count),
  );
  for (const [value, currency] of [
    ["1.001", "USD"],
    ["--1.00", "USD"],
    ["+1.00", "USD"],
    ["1e3", "USD"],
    ["", "USD"],
    ["-", "USD"],
    ["1,00", "USD"],
    ["5.5", "JPY"],
    ["9999999999999.00", "USD"],
    ["1.00", "US"],
    ["1.00", ""],
  ] as const) {
    expect(() => cents(value, currency), `${value} ${currency}`).toThrow();
  }
});
