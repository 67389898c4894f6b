import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { type Sender, told, tried } from "../event-outcomes.ts";
import type { Stack } from "../stack.ts";
import { type StripeCase, stripeCases } from "./cases.ts";
import { deliver, fresh, startShop, startStripe, type StripeStandIn } from "./stripe.ts";

const cases = Object.values(stripeCases).flat();

let stripe: StripeStandIn;
let stack: Stack;

beforeAll(async () => {
  stripe = await startStripe();
  stack = await startShop(stripe);
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await stripe.close();
});

const sender: Sender<StripeCase> = {
  deliver,
  fresh,
  prepare({ lists }, them) {
    for (const [id, list] of Object.entries(lists?.(them) ?? {})) stripe.lists.set(id, list);
  },
};

test.each(cases.map((it) => [it.type, it.version, it.story, it] as const))(
  "%s (%s): %s",
  async (_, __, ___, it) => {
    expect(await tried(stack, it, sender)).toEqual(it.comes);
  },
);

test("there are cases of the API versions before and after 2025, and of every type that the function reads", () => {
  const of = (year: string) => cases.filter(({ version }) => version.startsWith(year)).length;
  const types = new Set(cases.map(({ type }) => type));
  console.log(
    `Stripe's events: ${cases.length} cases of ${types.size} types, ${of("2024")} of 2024, ${of("2026")} of 2026`,
  );
  expect(cases.length).toBeGreaterThanOrEqual(40);
  expect([of("2024") > 20, of("2026") > 20]).toEqual([true, true]);
  expect(types).toEqual(new Set([...types, ...actedOn]));
});

/** What docs/guides/payments.md tells people to choose in Stripe's dashboard. */
const actedOn = [
  "checkout.session.completed", "checkout.session.async_payment_succeeded", "invoice.paid", "invoice.payment_failed",
  "payment_intent.succeeded", "charge.refunded", "refund.created", "refund.updated", "refund.failed", "charge.refund.updated",
  "charge.dispute.created", "charge.dispute.updated", "charge.dispute.funds_withdrawn",
  "charge.dispute.funds_reinstated", "charge.dispute.closed",
  "customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted",
  "customer.subscription.paused", "customer.subscription.resumed",
]; // prettier-ignore

test(
  "told backwards and twice, every case comes to the same",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const readable = cases.filter(({ comes }) => comes.refused === undefined);
    for (const it of readable) {
      const { outcomes: _, note: __, ...comes } = it.comes;
      const { stands } = await told(stack, it, sender, (events) => [...events.toReversed(), ...events]);
      expect(stands, `${it.type}: ${it.story}`).toEqual(it.backwards ?? comes);
    }
    console.log(`Stripe's events backwards and twice: ${readable.length} cases`);
  },
);

test.each([
  ["keeps disputes by payment", "payments.ts", "dispute_id: dispute.id,", "dispute_id: payment,"],
  ["takes an inquiry for a dispute", "payments.ts", 'status.startsWith("warning_")', 'status === "warning_"'],
  ["has every prevented dispute lost", "payments.ts", "return taken > 0 ?", "return taken >= 0 ?"],
  [
    "looks at no amounts of disputes",
    "payments.ts",
    "amount_cents: dispute.amount,",
    "amount_cents: undefined,",
  ],
  [
    "counts refunds that failed",
    "payments.ts",
    "status: isOver ? status : ",
    'status: isOver ? "succeeded" : ',
  ],
  [
    "gives back nothing that was credited",
    "payments.ts",
    "const left = Math.max(-cost - bySwitching, 0);",
    "const left = 0;",
  ],
  ["takes any credit for money", "payments.ts", "credits.untraced += left;", "continue;"],
  ["has a change's days paid twice", "payments.ts", "isProration && amount > 0 ? cost : 0", "0 * cost"],
  [
    "knows money only",
    "payments.ts",
    "invoice.total + credited - (invoice.pre_payment_credit_notes_amount ?? 0),",
    "0 * credited,",
  ],
  [
    "takes what was refunded a second time, as a credit",
    "payments.ts",
    "note.paidBack - (await refundedBy(note, event))",
    "note.paidBack",
  ],
  ["hears of no credit notes", "index.ts", '"credit_note.created": fromCreditNote,', ""],
  ["joins no payments of an invoice", "payments.ts", "parts: parts.length > 0 ? parts : undefined,", ""],
  [
    "gives a plan for a proration",
    "payments.ts",
    "filter((line) => !line.isProration)",
    "filter(() => true)",
  ],
  [
    "gives a plan for a trial's invoice",
    "payments.ts",
    "filter((line) => line.amount > 0)",
    "filter(() => true)",
  ],
  [
    "gives nothing for what costs nothing",
    "payments.ts",
    "if (whole.length === 0 && invoice.total",
    "if (invoice.amount_paid === 0 || whole.length === 0 && invoice.total",
  ],
  [
    "reads the lines of an event only",
    "payments.ts",
    "if (lines.has_more !== true)",
    "if (lines.has_more !== undefined)",
  ],
  [
    "counts one line of several",
    "bought.ts",
    "ours.reduce((sum, line) => sum + line.quantity, 0)",
    "first.quantity",
  ],
  [
    "gives one of several packs",
    "bought.ts",
    "return { ...first.thing, quantity, price_id }",
    "return { ...first.thing, quantity: 1, price_id }",
  ],
  ["gives the first of several things", "bought.ts", ".size > 1)", ".size > 9)"],
  [
    "believes a session's reference",
    "payments.ts",
    "user_id: session.metadata.user,",
    "user_id: session.metadata.user ?? (event.data.object as { client_reference_id?: string }).client_reference_id,",
  ],
  ["takes a thin event for a broken one", "index.ts", "if (isThin(value))", "if (isThin(value) && !value)"],
  ["believes connected accounts", "index.ts", "if (event.account != null)", "if (event.account === null)"],
  [
    "takes events of test mode",
    "index.ts",
    "if (event.livemode !== expectsLive())",
    "if (event.livemode !== expectsLive() && event.livemode)",
  ],
  [
    "reads no lines of 2024",
    "objects.ts",
    "price: pricing?.price_details?.price ?? price,",
    "price: pricing?.price_details?.price,",
  ],
  ["reads no prorations of 2024", "objects.ts", "flag ?? details", "details"],
  ["reads no customers", "payments.ts", "customer_id: asId(session.customer) }", "customer_id: undefined }"],
])("a function that %s fails these cases", { tags: ["proof"] }, async (_, file, right, wrong) => {
  const faulty = await startShop(stripe, { file: `stripe-webhook/${file}`, right, wrong });
  try {
    // one that fails, and one that does not: it is not the function that has stopped working
    let [failed, passed]: [failed?: string, passed?: string] = [];
    for (const it of cases) {
      const comes = await tried(faulty, it, sender).catch((error: unknown) => error);
      if (isDeepStrictEqual(comes, it.comes)) passed ??= `${it.type}, ${it.story}`;
      else failed ??= `${it.type}, ${it.story}`;
      if (failed !== undefined && passed !== undefined) break;
    }
    console.log(`${wrong}: fails ${failed}; passes ${passed}`);
    expect(failed).toBeDefined();
    expect(passed).toBeDefined();
  } finally {
    await faulty.close();
  }
});
