/** Nobody pays and gets nothing without somebody being told: whatever a signed event that says so looks like. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { expectProblem, problemFaults } from "../problem.ts";
import type { Fault, Stack } from "../stack.ts";
import { alertsOf, listed } from "../told.ts";
import { invoicePaymentOf, paymentIntentOf, type StripeEvent, versions } from "./objects.ts";
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
  stripe.fail(200);
  user = (await stack.user()).id;
});

/** A way in which an event cannot be read: what is changed, which field is named, and under which id it waits. */
const unreadables: [
  name: string,
  type: string,
  change: (object: Record<string, unknown>, it: StripeEvent) => void,
  field: string,
][] = [
  [
    "a currency of seven letters",
    "checkout.session.completed",
    (it) => (it["currency"] = "dollars"),
    "data.object.currency",
  ],
  [
    "half a cent",
    "checkout.session.completed",
    (it) => (it["amount_total"] = 0.5),
    "data.object.amount_total",
  ],
  ["no mode", "checkout.session.async_payment_succeeded", (it) => delete it["mode"], "data.object.mode"],
  ["no moment", "checkout.session.completed", (_, it) => (it["created"] = "now"), "created"],
  ["no lines", "invoice.paid", (it) => delete it["lines"], "data.object.lines"],
  [
    "a customer that is a list",
    "payment_intent.succeeded",
    (it) => (it["customer"] = []),
    "data.object.customer",
  ],
];

function eventOf(type: string, intent: string): StripeEvent {
  if (type === "payment_intent.succeeded") {
    return event(type, paymentIntentOf(versions.october2026, intent, { user_id: user }));
  }
  if (type === "invoice.paid") {
    return event(type, { ...invoice(user, [{ price: prices.starter }]), payment_intent: intent });
  }
  return event(type, session(user, intent, lineItems(prices.starter)));
}

test.each(unreadables)(
  "%s in %s: the payment waits, and one alert says why",
  async (_, type, change, field) => {
    const intent = fresh("pi");
    const it = eventOf(type, intent);
    change(it.data.object, it);

    for (const answer of [await deliver(stack, it), await deliver(stack, it), await deliver(stack, it)]) {
      expectProblem(answer, "invalid_provider_event", { field });
    }

    expect(await listed(stack.db, intent)).toMatchObject([
      {
        parked_reason: "unreadable",
        explanation: expect.stringContaining(`${field} must be:`),
        parked_details: { field, rule: expect.any(String) },
        user_id: user,
      },
    ]);
    expect(await alertsOf(stack.db, intent)).toMatchObject([
      { kind: "payment_parked", payload: { parked_reason: "unreadable", parked_details: { field } } },
    ]);
  },
);

test("an id that cannot be read leaves the event's own, or the session's", async () => {
  const it = session(user, `pi_${"x".repeat(300)}`, lineItems(prices.starter));
  await deliver(stack, event("checkout.session.completed", it));
  expect(await alertsOf(stack.db, String(it["id"]))).toHaveLength(1);

  const nothing = event("payment_intent.succeeded", [] as never);
  await deliver(stack, nothing);
  expect(await alertsOf(stack.db, nothing.id)).toHaveLength(1);
});

test.each([
  [
    "a session that is not paid",
    "checkout.session.completed",
    { payment_status: "unpaid", currency: "dollars" },
  ],
  ["a way to pay that was saved", "checkout.session.completed", { mode: "setup", currency: "dollars" }],
  ["a subscription's session", "checkout.session.completed", { mode: "subscription", currency: "dollars" }],
  ["an invoice of nothing", "invoice.paid", { amount_paid: 0, total: 0, currency: "dollars" }],
  ["a refund", "charge.refunded", { currency: "dollars" }],
  ["a payment of a connected account", "checkout.session.completed", { currency: "dollars" }],
])(
  "%s that cannot be read is refused, and waits for nobody: no money came by it",
  async (name, type, parts) => {
    const intent = fresh("pi");
    const it = eventOf(type, intent);
    Object.assign(it.data.object, parts, { payment_intent: intent });
    if (name.includes("connected")) it["account"] = "acct_1";
    const answer = await deliver(stack, it);
    expect([200, 400]).toContain(answer.status);
    expect(await listed(stack.db, intent)).toEqual([]);
  },
);

test("while Stripe lets nobody ask, an invoice waits and is sent again; then it is booked, and that is told once", async () => {
  const bill = event("invoice.paid", invoice(user, [{ price: prices.starter }]));
  const id = String(bill.data.object["id"]);
  const intent = fresh("pi");
  stripe.lists.set(id, [invoicePaymentOf(id, intent)]);
  stripe.fail(401);
  for (const answer of [await deliver(stack, bill), await deliver(stack, bill)])
    expectProblem(answer, "internal_error");

  expect(await listed(stack.db, id)).toMatchObject([
    { parked_reason: "items_unknown", amount_cents: 900, user_id: user },
  ]);
  stripe.fail(200);
  for (const _ of [1, 2]) expect((await deliver(stack, bill)).body.outcomes).toEqual(["approved"]);

  expect(await listed(stack.db, id)).toEqual([]);
  expect(await alertsOf(stack.db, id)).toMatchObject([
    { kind: "payment_parked", payload: { parked_reason: "items_unknown", price_id: prices.starter } },
    { kind: "recovered", payload: { part_of: intent, paid_by: user } },
  ]);
});

test("what passes by itself is sent again, and nobody is told", async () => {
  const bill = event("invoice.paid", invoice(user, [{ price: prices.starter }]));
  const id = String(bill.data.object["id"]);
  stripe.lists.set(id, [invoicePaymentOf(id, fresh("pi"))]);
  stripe.fail(500);
  expectProblem(await deliver(stack, bill), "payment_provider_failed");
  stripe.fail(200);
  expect((await deliver(stack, bill)).body.outcomes).toEqual(["approved"]);
  expect(await alertsOf(stack.db, id)).toEqual([]);
});

/** Does it while an account may hold no more than a plan gives, so that the books refuse what is bought. */
async function withFullAccounts<T>(of: Stack, act: () => Promise<T>): Promise<T> {
  const { rows } = await of.db.admin.query(
    "select pg_get_functiondef(p.oid) as definition from pg_proc p where p.oid = 'tokenbook.issue_grant'::regproc",
  );
  const definition = rows[0].definition as string;
  await of.db.admin.query(definition.replace("9007199254740991", "1000"));
  try {
    return await act();
  } finally {
    await of.db.admin.query(definition);
  }
}

test("what the books refuse waits with their error, and is booked once they no longer do", async () => {
  const intent = fresh("pi");
  const paid = event("checkout.session.completed", session(user, intent, lineItems(prices.starter)));
  for (const _ of [1, 2]) {
    expectProblem(await withFullAccounts(stack, () => deliver(stack, paid)), "internal_error");
  }
  expect(await alertsOf(stack.db, intent)).toMatchObject([
    {
      kind: "payment_parked",
      payload: { parked_reason: "refused", parked_details: { error: "balance_limit_exceeded" } },
    },
  ]);

  expect((await deliver(stack, paid)).body.outcomes).toEqual(["approved"]);
  expect((await alertsOf(stack.db, intent)).map(({ kind }) => kind)).toEqual(["payment_parked", "recovered"]);
});

/** Whether somebody is told of each of these, once. */
async function heard(of: Stack): Promise<Record<string, string[]>> {
  const whose = (await of.user()).id;
  user = whose;
  const told: Record<string, string[]> = {};
  const kinds = async (id: string) =>
    (await alertsOf(of.db, id)).map(({ kind, payload }) => String(payload["parked_reason"] ?? kind));

  const unreadable = fresh("pi");
  const odd = eventOf("checkout.session.completed", unreadable);
  odd.data.object["currency"] = "dollars";
  for (const _ of [1, 2]) await deliver(of, odd);
  told["unreadable"] = await kinds(unreadable);

  const own = fresh("pi");
  await deliver(of, eventOf("payment_intent.succeeded", own));
  told["its own"] = await kinds(own);

  const bill = event("invoice.paid", invoice(whose, [{ price: prices.starter }]));
  const id = String(bill.data.object["id"]);
  stripe.lists.set(id, [invoicePaymentOf(id, fresh("pi"))]);
  stripe.fail(401);
  await deliver(of, bill);
  stripe.fail(200);
  await deliver(of, bill);
  told["not to be asked"] = await kinds(id);

  const refused = fresh("pi");
  await withFullAccounts(of, () => deliver(of, eventOf("checkout.session.completed", refused)));
  told["refused"] = await kinds(refused);
  return told;
}

const right = {
  unreadable: ["unreadable"],
  "its own": ["not_ours"],
  "not to be asked": ["items_unknown", "recovered"],
  refused: ["refused"],
};

test("each of these is told once", async () => {
  expect(await heard(stack)).toEqual(right);
});

test.each<[string, Fault]>([
  [
    "parks nothing that cannot be read",
    { file: "_shared/parking.ts", right: "if (left === undefined) throw error;", wrong: "throw error;" },
  ],
  [
    "says that payments of the app's own are told elsewhere",
    {
      file: "stripe-webhook/payments.ts",
      right: "if (isToldElsewhere)",
      wrong: "if (isToldElsewhere || true)",
    },
  ],
  [
    "leaves what waited under the invoice's id there",
    { file: "stripe-webhook/payments.ts", right: "[first, ...others, invoice]", wrong: "[first, ...others]" },
  ],
  [
    "takes a key that may not ask for trouble that passes",
    {
      file: "stripe-webhook/index.ts",
      right: '"StripeAuthenticationError", "StripePermissionError"',
      wrong: '"StripeRateLimitError"',
    },
  ],
  [
    "leaves alone what the books refuse",
    {
      file: "_shared/webhook.ts",
      right: 'facts.kind === "paid" && error instanceof Refusal',
      wrong: 'facts.kind === "refund" && error instanceof Refusal',
    },
  ],
  [
    "answers 200 to what it could not read",
    { file: "_shared/webhook.ts", right: "if (event.failure !== undefined) throw event.failure;", wrong: "" },
  ],
])("a function that %s is caught", { tags: ["proof"] }, async (_, fault) => {
  const faulty = await startShop(stripe, fault);
  try {
    const told = await heard(faulty);
    const odd = eventOf("checkout.session.completed", fresh("pi"));
    odd.data.object["currency"] = "dollars";
    const { status } = await deliver(faulty, odd);
    console.log(`${fault.wrong || "without it"}: ${JSON.stringify({ told, status })}`);
    expect({ told, status }).not.toEqual({ told: right, status: 400 });
  } finally {
    await faulty.close();
  }
});

test("a function that lets a schema speak for itself is caught", { tags: ["proof"] }, async () => {
  const faulty = await startShop(stripe, {
    file: "_shared/faults.ts",
    right: "schema.safeParse(value, { error: inWords })",
    wrong: "schema.safeParse(value)",
  });
  try {
    const it = { ...eventOf("charge.refunded", fresh("pi")), data: { object: "none" } };
    const answers = [await deliver(stack, it), await deliver(faulty, it)];
    console.log(`what an object must be: ${JSON.stringify(answers.map(({ body }) => body.rule))}`);
    expect(answers.map((answer) => problemFaults(answer).length > 0)).toEqual([false, true]);
  } finally {
    await faulty.close();
  }
});
