/**
 * A subscription's payments. PayPal calls each a sale; whose it is and what for, the subscription says,
 * which PayPal is asked for.
 */
import { z } from "zod";
import type { Catalogue } from "../_shared/catalogue.ts";
import { type PaidFacts, type ParkedReason, type ProviderEvent, userId } from "../_shared/webhook.ts";
import type { PaypalApi } from "./api.ts";
import { providerId as id } from "../_shared/provider-event.ts";
import { moment, type PaypalEvent } from "./event.ts";
import { money, type Money, paidMoney } from "./money.ts";

const Sale = z.object({
  id,
  amount: paidMoney,
  billing_agreement_id: id.optional(),
  create_time: moment.optional(),
});

/** What of it is the price itself, where PayPal says so: the rest is taxes and shipping. */
const Subtotal = z
  .object({
    amount: z.object({ currency: z.string(), details: z.object({ subtotal: z.string().optional() }).optional() }),
  })
  .transform(({ amount: { currency, details } }) =>
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
  payment_preferences: z.object({ setup_fee: money.optional() }).optional(),
});

/** It buys the subscription's plan where exactly the plan's price was paid, once. */
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
    : await differs(sale.amount, subtotal, price, () => setupFeeOf(plan_id, api)); // prettier-ignore
  Object.assign(facts, {
    user_id: userId(custom_id),
    customer_id: subscriber?.payer_id,
    price_id: plan_id,
    parked_reason: fault,
    ...(fault === undefined && plan),
  });
  return payments;
}

/**
 * Why what was paid is not the plan's price, if it is not. With it, the plan's setup fee may have been
 * paid: together they pay for one period. The fee by itself pays for none.
 */
async function differs(
  paid: Money,
  subtotal: Money | undefined,
  price: Money,
  setupFee: () => Promise<Money | undefined>,
): Promise<ParkedReason | undefined> {
  const sameCurrency = (other: Money) => other.currency.toLowerCase() === paid.currency.toLowerCase();
  if (!sameCurrency(price)) return "currency_differs";
  if (paid.cents === price.cents) return undefined;
  if (subtotal?.cents === price.cents && paid.cents > price.cents) return undefined;
  const fee = await setupFee();
  if (fee === undefined || fee.cents <= 0 || !sameCurrency(fee)) return "amount_differs";
  if (paid.cents === price.cents + fee.cents) return undefined;
  return paid.cents === fee.cents ? "setup_fee" : "amount_differs";
}

/** As the merchant has set it in the plan: what the subscription says of it, a buyer's page may have written. */
async function setupFeeOf(planId: string, api: PaypalApi): Promise<Money | undefined> {
  const answer = await api.find(`/v1/billing/plans/${planId}`);
  return answer && Plan.parse(answer).payment_preferences?.setup_fee;
}
