/**
 * A subscription's payments. PayPal calls each a sale; whose it is and what for, the subscription says,
 * which PayPal is asked for.
 */
import { z } from "zod";
import type { Catalogue } from "../_shared/catalogue.ts";
import { providerId as id } from "../_shared/provider-event.ts";
import { type PaidFacts, type ParkedReason, type ProviderEvent, userId } from "../_shared/webhook.ts";
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
  quantity: z.string().default("1"),
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

  const { plan_id, quantity, custom_id, subscriber } = Subscription.parse(answer);
  const plan = (await catalogue.soldUnder("paypal", [plan_id])).get(plan_id);
  const price = plan && (await catalogue.priceOf(plan));
  const subtotal = event.resource(Subtotal);
  const fault =
    price === undefined ? "price_unknown"
    : Number(quantity) !== 1 ? "quantity"
    : await differs(sale.amount, subtotal, price, () => pricesOf(plan_id, api)); // prettier-ignore
  Object.assign(facts, {
    user_id: userId(custom_id),
    customer_id: subscriber?.payer_id,
    price_id: plan_id,
    parked_reason: fault,
    ...(fault === undefined && plan),
  });
  return payments;
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
): Promise<ParkedReason | undefined> {
  const isComparable = (it: Money | undefined) => it?.currency.toLowerCase() === paid.currency.toLowerCase();
  const pays = (it: Money) =>
    isComparable(it) && (paid.cents === it.cents || (subtotal?.cents === it.cents && paid.cents > it.cents));
  if (pays(price)) return undefined;

  const { regular, setupFee } = await atPaypal();
  const prices = [price, regular].filter((it) => it !== undefined).filter(isComparable);
  if (prices.length === 0) return "currency_differs";
  if (prices.some(pays)) return undefined;
  if (setupFee === undefined || !isComparable(setupFee)) return "amount_differs";
  if (prices.some(({ cents }) => paid.cents === cents + setupFee.cents)) return undefined;
  return paid.cents === setupFee.cents ? "setup_fee" : "amount_differs";
}

/** What a subscription says of its plan, a buyer's page may have overridden. What the plan says, it may not. */
async function pricesOf(planId: string, api: PaypalApi): Promise<PaypalPrices> {
  const answer = await api.find(`/v1/billing/plans/${planId}`);
  if (answer === undefined) return {};
  const { billing_cycles: cycles, payment_preferences: preferences } = Plan.parse(answer);
  return {
    regular: cycles.find(({ tenure_type }) => tenure_type === "REGULAR")?.pricing_scheme?.fixed_price,
    setupFee: preferences?.setup_fee,
  };
}
