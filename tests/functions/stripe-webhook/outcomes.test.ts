import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { tried } from "../event-outcomes.ts";
import { startStack, type Stack } from "../stack.ts";
import { stripeCases } from "./cases.ts";
import { deliver, fresh, sell, secret, startStripe, type StripeStandIn } from "./stripe.ts";

const cases = Object.values(stripeCases).flat();

let stripe: StripeStandIn;
let stack: Stack;

beforeAll(async () => {
  stripe = await startStripe();
  stack = await startStack({ STRIPE_WEBHOOK_SECRET: secret, ...stripe.settings });
  await sell(stack.db);
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await stripe.close();
});

test.each(cases.map((it) => [it.type, it.version, it.story, it] as const))(
  "%s (%s): %s",
  async (_, __, ___, it) => {
    const prepare = ({ lists }: typeof it, them: Parameters<typeof it.events>[0]) => {
      for (const [id, list] of Object.entries(lists?.(them) ?? {})) stripe.lists.set(id, list);
    };
    expect(await tried(stack, it, { deliver, fresh, prepare })).toEqual(it.comes);
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
  "charge.refunded", "refund.created", "refund.updated", "refund.failed", "charge.refund.updated",
  "charge.dispute.created", "charge.dispute.updated", "charge.dispute.funds_withdrawn",
  "charge.dispute.funds_reinstated", "charge.dispute.closed",
  "customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted",
  "customer.subscription.paused", "customer.subscription.resumed",
]; // prettier-ignore
