/** Nobody pays at PayPal and gets nothing without somebody being told: whatever an event, or an answer about it, looks like. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { expectProblem } from "../problem.ts";
import type { Fault, Stack } from "../stack.ts";
import { alertsOf, listed } from "../told.ts";
import { startShop } from "./cases.ts";
import { capture, deliver, fresh, type PaypalStandIn, sale, startPaypal, subscription } from "./paypal.ts";

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
  paypal.fail(200);
  user = (await stack.user()).id;
  id = fresh();
});

/** A subscription's payment, about which PayPal answers that. */
function soldWith(parts: Record<string, unknown>): object {
  const agreement = fresh("I-");
  paypal.places.set(`/v1/billing/subscriptions/${agreement}`, {
    ...subscription(agreement, { custom: user }),
    ...parts,
  });
  return sale(id, agreement);
}

test.each<[string, () => object, string]>([
  ["an amount that is none", () => capture(id, `${user}:starter`, "9,00"), "resource.amount"],
  ["a currency that is none", () => capture(id, `${user}:starter`, "9.00", "dollars"), "resource.amount"],
  ["no moment", () => ({ ...capture(id, `${user}:starter`), create_time: undefined }), "create_time"],
  ["an answer without a plan", () => soldWith({ plan_id: undefined }), "subscription.plan_id"],
  ["an answer with a list for a quantity", () => soldWith({ quantity: [] }), "subscription.quantity"],
])("%s: the payment waits, and one alert says why", async (_, made, field) => {
  const it = made();
  for (const answer of [await deliver(stack, it), await deliver(stack, it)]) {
    expectProblem(answer, "invalid_provider_event", { field });
  }
  expect(await listed(stack.db, id)).toMatchObject([
    { parked_reason: "unreadable", explanation: expect.stringContaining(`${field} must be:`) },
  ]);
  expect(await alertsOf(stack.db, id)).toMatchObject([{ kind: "payment_parked" }]);
});

test("an event without an id of the payment waits under its own", async () => {
  const it = { ...capture("C".repeat(300), `${user}:starter`) };
  await deliver(stack, it);
  expect(await alertsOf(stack.db, it.id)).toHaveLength(1);
});

test("a quantity is read though it is a number", async () => {
  expect((await deliver(stack, soldWith({ quantity: 1 }))).body).toEqual({
    received: true,
    outcomes: ["approved"],
  });
});

test("while PayPal shows it to nobody, a payment waits and is sent again; then it is booked, and that is told", async () => {
  const it = soldWith({});
  paypal.fail(403, "/v1/billing/");
  for (const _ of [1, 2]) expectProblem(await deliver(stack, it), "internal_error");
  paypal.fail(200);
  expect((await deliver(stack, it)).body.outcomes).toEqual(["approved"]);
  expect(await alertsOf(stack.db, id)).toMatchObject([
    { kind: "payment_parked", payload: { parked_reason: "items_unknown", amount_cents: 900 } },
    { kind: "recovered", payload: { paid_by: user } },
  ]);
});

test("what passes by itself is sent again, and nobody is told", async () => {
  const it = soldWith({});
  paypal.fail(503, "/v1/billing/");
  expectProblem(await deliver(stack, it), "payment_provider_failed");
  expect(await alertsOf(stack.db, id)).toEqual([]);
});

test.each([
  ["9.00", "USD", 5, "amount_differs", { expected_cents: 2500, expected_currency: "usd" }],
  ["25.00", "EUR", 5, "currency_differs", { expected_cents: 2500, expected_currency: "usd" }],
  ["9.00", "USD", 1_001, "quantity", { quantity: 1_001, at_most: 1_000 }],
])(
  "%s %s for %i packs: %s, and what would have been right",
  async (value, currency, count, reason, details) => {
    await deliver(stack, capture(id, `${user}:pack:small:${count}`, value, currency));
    expect(await listed(stack.db, id)).toMatchObject([{ parked_reason: reason, parked_details: details }]);
  },
);

test.each<[string, Fault]>([
  [
    "parks nothing that cannot be read",
    { file: "_shared/parking.ts", right: "if (left === undefined) throw error;", wrong: "throw error;" },
  ],
  [
    "takes what PayPal will not show for trouble that passes",
    {
      file: "paypal-webhook/api.ts",
      right: "answer.status === 401 || answer.status === 403",
      wrong: "answer.status === 999",
    },
  ],
  [
    "says nothing of what would have been right",
    {
      file: "paypal-webhook/orders.ts",
      right: "parked_details: { expected_cents: cents, expected_currency: price.currency }",
      wrong: "parked_details: {}",
    },
  ],
])("a function that %s is caught", { tags: ["proof"] }, async (_, fault) => {
  const faulty = await startShop(paypal, fault);
  try {
    const told: unknown[] = [];
    const tell = async (it: object) => {
      await deliver(faulty, it);
      told.push((await listed(faulty.db, id)).map((row) => [row["parked_reason"], row["parked_details"]]));
      id = fresh();
    };
    await tell(soldWith({ plan_id: undefined }));
    paypal.fail(403, "/v1/billing/");
    await tell(soldWith({}));
    paypal.fail(200);
    await tell(capture(id, `${user}:starter`, "0.01"));
    console.log(`${fault.wrong}: ${JSON.stringify(told)}`);
    expect(told).not.toEqual([
      [["unreadable", { field: "subscription.plan_id", rule: "an id" }]],
      [["items_unknown", null]],
      [["amount_differs", { expected_cents: 900, expected_currency: "usd" }]],
    ]);
  } finally {
    await faulty.close();
  }
});
