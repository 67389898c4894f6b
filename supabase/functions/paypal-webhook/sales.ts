/**
 * A subscription's payments. PayPal calls each a sale; whose it is and what for, the subscription says,
 * which PayPal is asked for.
 */
import { z } from "zod";
import type { Catalogue } from "../_shared/catalogue.ts";
import type { Why } from "../_shared/parking.ts";
import { providerId as id, read } from "../_shared/provider-event.ts";
import { type PaidFacts, type ProviderEvent, userId } from "../_shared/webhook.ts";
import type { PaypalApi } from "./api.ts";
import { money, moment, paidMoney, type PaypalEvent } from "./event.ts";
import type { Money } from "./money.ts";

const Sale = z.object({
  id,
  amount: paidMoney,
  billing_agreement_id: id.optional(),
  create_time: moment.optional(),
});

/** What of it is the price itself, where PayPal says so: the rest is taxes and shipping. */
const Subtotal = z
  .object({
    amount: z.object({
      currency: z.string(),
      details: z.object({ subtotal: z.string().optional() }).optional(),
    }),
  })
  .transform(({ amount: { currency, details } }): z.input<typeof money> | undefined =>
    details?.subtotal === undefined ? undefined : { total: details.subtotal, currency },
  )
  .pipe(money.optional());

const Subscription = z.object({
  plan_id: id,
  /** A text; a number has been seen too. */
  quantity: z.union([z.string(), z.number()], "a number").default("1"),
  custom_id: z.string().optional(),
  subscriber: z.object({ payer_id: id.optional() }).optional(),
  /** Whether it has prices and fees of its own, instead of its plan's. */
  plan_overridden: z.boolean("true or false").default(false),
  billing_info: z
    .object({
      cycle_executions: z
        .array(z.object({ tenure_type: z.string(), cycles_completed: z.int("a whole number").min(0) }))
        .default([]),
      last_payment: z.object({ time: moment }).optional(),
    })
    .optional(),
});
type Subscription = z.output<typeof Subscription>;

const Plan = z.object({
  billing_cycles: z
    .array(
      z.object({
        tenure_type: z.string(),
        pricing_scheme: z.object({ fixed_price: money.optional() }).optional(),
      }),
    )
    .default([]),
  payment_preferences: z.object({ setup_fee: money.optional() }).optional(),
});

/** It buys the subscription's plan, once, where exactly the plan's price was paid. */
export async function fromSale(
  event: PaypalEvent,
  catalogue: Catalogue,
  api: PaypalApi,
): Promise<ProviderEvent["payments"]> {
  const sale = event.resource(Sale);
  const facts: PaidFacts = {
    kind: "paid",
    price_id: sale.billing_agreement_id,
    amount_cents: sale.amount.cents,
    currency: sale.amount.currency,
    period_start: sale.create_time,
    subscription_id: sale.billing_agreement_id,
    parked_reason: "nothing_named",
  };
  const payments = [{ id: sale.id, facts }];
  if (sale.billing_agreement_id === undefined) return payments;
  // An agreement of the kind before 2019 is no subscription: PayPal answers 404.
  const answer = await api.find(`/v1/billing/subscriptions/${sale.billing_agreement_id}`);
  if (answer === undefined) return payments;

  const whence = `subscription ${sale.billing_agreement_id}, as it is told when asked for`;
  const subscription = read(Subscription, answer, whence, ["subscription"]);
  const { plan_id, quantity, custom_id, subscriber } = subscription;
  const plan = (await catalogue.soldUnder("paypal", [plan_id])).get(plan_id);
  const price = plan && (await catalogue.priceOf(plan));
  const subtotal = event.resource(Subtotal);
  const paid =
    price === undefined ? { parked_reason: "price_unknown" as const }
    : Number(quantity) !== 1 ? miscounted(Number(quantity))
    : judged(sale.amount, subtotal, price, await pricesOf(subscription, api)); // prettier-ignore
  Object.assign(facts, {
    user_id: userId(custom_id),
    customer_id: subscriber?.payer_id,
    price_id: plan_id,
    parked_reason: undefined,
    ...("parked_reason" in paid ? paid : { ...plan, ...paid }),
    ...("may_be_fee" in paid && { cycles_completed: cyclesAt(sale.create_time, subscription) }),
  });
  return payments;
}

/**
 * How many periods were paid for when this was the subscription's newest payment. Asked later, PayPal counts the
 * payments since.
 */
function cyclesAt(time: string | undefined, { billing_info: billing }: Subscription): number | undefined {
  const regular = billing?.cycle_executions.find(({ tenure_type }) => tenure_type === "REGULAR");
  const newest = billing?.last_payment?.time;
  if (time === undefined || newest === undefined) return undefined;
  return Date.parse(newest) <= Date.parse(time) + clockDifferenceMs ? regular?.cycles_completed : undefined;
}

/** So much the moments may differ that PayPal names for one payment: no subscription is paid that often. */
const clockDifferenceMs = 3_600_000;

/** So many of a plan as nobody buys in one payment. */
function miscounted(quantity: number): Why {
  return Number.isSafeInteger(quantity) && quantity > 1
    ? { parked_reason: "quantity", parked_details: { quantity, at_most: 1 } }
    : { parked_reason: "quantity_unknown" };
}

/** What a subscription's plan costs at PayPal, as the merchant has set it there. */
interface PaypalPrices {
  regular?: Money | undefined;
  setupFee?: Money | undefined;
  /** Whether the buyer's page has set no other one. */
  isFeeKnown: boolean;
}

/**
 * Whether what was paid is the plan's price. That is the catalogue's, or the one that the
 * plan has at PayPal, for subscriptions to what it was called before. Taxes may come on top; or the plan's
 * setup fee: together they pay for one period. The fee by itself pays for none; one that is as high as the price is
 * told from it by the books, which know what else was paid.
 */
function judged(
  paid: Money,
  subtotal: Money | undefined,
  price: Money,
  { regular, setupFee, isFeeKnown }: PaypalPrices,
): Why | Pick<PaidFacts, "may_be_fee"> {
  const isComparable = (it: Money) => it.currency.toLowerCase() === paid.currency.toLowerCase();
  const pays = (it: Money) =>
    isComparable(it) && (paid.cents === it.cents || (subtotal?.cents === it.cents && paid.cents > it.cents));
  const prices = [price, regular].filter((it) => it !== undefined).filter(isComparable);
  const expected = { expected_cents: price.cents, expected_currency: price.currency };
  if (prices.length === 0) return { parked_reason: "currency_differs", parked_details: expected };
  if (prices.some(pays)) {
    return !isFeeKnown || (setupFee !== undefined && pays(setupFee)) ? { may_be_fee: true } : {};
  }
  const another: Why = { parked_reason: "amount_differs", parked_details: expected };
  if (setupFee === undefined || !isComparable(setupFee)) return another;
  if (prices.some(({ cents }) => paid.cents === cents + setupFee.cents)) return {};
  return paid.cents === setupFee.cents ? { parked_reason: "setup_fee" } : another;
}

/**
 * What a subscription says of its plan, a buyer's page may have overridden. What the plan says, it may not; but then
 * that may not be the fee that was paid.
 */
async function pricesOf({ plan_id, plan_overridden }: Subscription, api: PaypalApi): Promise<PaypalPrices> {
  const answer = await api.find(`/v1/billing/plans/${plan_id}`);
  if (answer === undefined) return { isFeeKnown: false };
  const whence = `plan ${plan_id}, as it is told when asked for`;
  const { billing_cycles: cycles, payment_preferences: preferences } = read(Plan, answer, whence, ["plan"]);
  return {
    regular: cycles.find(({ tenure_type }) => tenure_type === "REGULAR")?.pricing_scheme?.fixed_price,
    setupFee: preferences?.setup_fee,
    isFeeKnown: !plan_overridden,
  };
}
