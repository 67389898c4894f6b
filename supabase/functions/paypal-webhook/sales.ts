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
});

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
  const { plan_id, quantity, custom_id, subscriber } = read(Subscription, answer, whence, ["subscription"]);
  const plan = (await catalogue.soldUnder("paypal", [plan_id])).get(plan_id);
  const price = plan && (await catalogue.priceOf(plan));
  const subtotal = event.resource(Subtotal);
  const fault =
    price === undefined ? { parked_reason: "price_unknown" as const }
    : Number(quantity) !== 1 ? miscounted(Number(quantity))
    : await differs(sale.amount, subtotal, price, () => pricesOf(plan_id, api)); // prettier-ignore
  Object.assign(facts, {
    user_id: userId(custom_id),
    customer_id: subscriber?.payer_id,
    price_id: plan_id,
    parked_reason: undefined,
    ...(fault ?? plan),
  });
  return payments;
}

/** So many of a plan as nobody buys in one payment. */
function miscounted(quantity: number): Why {
  return Number.isSafeInteger(quantity) && quantity > 1
    ? { parked_reason: "quantity", parked_details: { quantity, at_most: 1 } }
    : { parked_reason: "quantity_unknown" };
}

/** What a plan costs at PayPal, as the merchant has set it there. */
interface PaypalPrices {
  regular?: Money | undefined;
  setupFee?: Money | undefined;
}

/**
 * Why what was paid is not the plan's price, if it is not. That is the catalogue's, or the one that the
 * plan has at PayPal, for subscriptions to what it was called before. Taxes may come on top; or the plan's
 * setup fee: together they pay for one period. The fee by itself pays for none.
 */
async function differs(
  paid: Money,
  subtotal: Money | undefined,
  price: Money,
  atPaypal: () => Promise<PaypalPrices>,
): Promise<Why | undefined> {
  const isComparable = (it: Money | undefined) => it?.currency.toLowerCase() === paid.currency.toLowerCase();
  const pays = (it: Money) =>
    isComparable(it) && (paid.cents === it.cents || (subtotal?.cents === it.cents && paid.cents > it.cents));
  if (pays(price)) return undefined;

  const { regular, setupFee } = await atPaypal();
  const prices = [price, regular].filter((it) => it !== undefined).filter(isComparable);
  const expected = { expected_cents: price.cents, expected_currency: price.currency };
  if (prices.length === 0) return { parked_reason: "currency_differs", parked_details: expected };
  if (prices.some(pays)) return undefined;
  const another: Why = { parked_reason: "amount_differs", parked_details: expected };
  if (setupFee === undefined || !isComparable(setupFee)) return another;
  if (prices.some(({ cents }) => paid.cents === cents + setupFee.cents)) return undefined;
  return paid.cents === setupFee.cents ? { parked_reason: "setup_fee" } : another;
}

/** What a subscription says of its plan, a buyer's page may have overridden. What the plan says, it may not. */
async function pricesOf(planId: string, api: PaypalApi): Promise<PaypalPrices> {
  const answer = await api.find(`/v1/billing/plans/${planId}`);
  if (answer === undefined) return {};
  const whence = `plan ${planId}, as it is told when asked for`;
  const { billing_cycles: cycles, payment_preferences: preferences } = read(Plan, answer, whence, ["plan"]);
  return {
    regular: cycles.find(({ tenure_type }) => tenure_type === "REGULAR")?.pricing_scheme?.fixed_price,
    setupFee: preferences?.setup_fee,
  };
}
