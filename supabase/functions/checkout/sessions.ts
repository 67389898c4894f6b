import type { Stripe } from "stripe";
import { Refusal } from "../_shared/problem.ts";
import { isStripeError } from "../_shared/stripe-api.ts";

/** What `prepare_token_checkout` says. */
export interface Offer {
  user_id: string;
  plan_type: string | null;
  pack_type: string | null;
  quantity: number;
  price_id: string;
  /** Of all of them. */
  amount_cents: number;
  currency: string;
  /** How long a period of the plan is; null: a pack. */
  billing_cycle: "none" | "28day" | "monthly" | "annual" | null;
  customer_id: string | null;
  idempotency_key: string | null;
}

/** What the caller may choose. */
export interface Choices {
  success_url: string;
  cancel_url: string;
  /** Whether the card is kept for automatic top-ups. A subscription keeps it anyway. */
  saveCard: boolean;
}

/**
 * Opens a page of Stripe's where the customer pays for an offer.
 *
 * @throws {Refusal} already_subscribed, not_for_sale
 */
export async function openCheckout(
  api: Stripe,
  customer: string,
  offer: Offer,
  { saveCard, ...addresses }: Choices,
): Promise<{ url: string; replayed: boolean }> {
  if (offer.plan_type !== null && (await isSubscribed(api, customer))) {
    throw new Refusal("already_subscribed");
  }
  const { type } = await priceOf(api, offer);
  const mode = type === "one_time" ? "payment" : "subscription";
  // Whose it is and what was bought: where every later event of it can be found to say so.
  const metadata = {
    user_id: offer.user_id,
    ...(offer.plan_type === null
      ? { pack_type: offer.pack_type!, quantity: String(offer.quantity) }
      : { plan_type: offer.plan_type }),
  };
  const session = await api.checkout.sessions.create(
    {
      mode,
      customer,
      client_reference_id: offer.user_id,
      line_items: [{ price: offer.price_id, quantity: offer.quantity }],
      metadata,
      ...(mode === "subscription"
        ? { subscription_data: { metadata } }
        : { payment_intent_data: { metadata, ...(saveCard && { setup_future_usage: "off_session" }) } }),
      ...addresses,
    },
    offer.idempotency_key === null ? {} : { idempotencyKey: `tokenbook-checkout-${offer.idempotency_key}` },
  );
  return {
    url: session.url!, // there is one on a page that Stripe hosts
    replayed: isReplayed(session),
  };
}

/** With `fetch` underneath it is that answer itself, whatever the types say. */
function isReplayed({ lastResponse }: { lastResponse: unknown }): boolean {
  return (lastResponse as Response).headers.get("idempotent-replayed") === "true";
}

/** Whether Stripe charges that customer again and again, or would once their card works. */
async function isSubscribed(api: Stripe, customer: string): Promise<boolean> {
  // without those that have ended
  const { data } = await api.subscriptions.list({ customer, limit: 100 });
  return data.some(({ status }) => ["active", "trialing", "past_due", "unpaid", "paused"].includes(status));
}

/** @throws {Refusal} not_for_sale, unless the price is there and just as the catalogue says */
async function priceOf(api: Stripe, offer: Offer): Promise<Stripe.Price> {
  let price: Stripe.Price;
  try {
    price = await api.prices.retrieve(offer.price_id);
  } catch (error) {
    if (isStripeError(error, "StripeInvalidRequestError")) {
      throw new Refusal("not_for_sale", {}, { cause: error });
    }
    throw error;
  }
  const { active, unit_amount, currency } = price;
  const isAsSaid =
    active &&
    unit_amount !== null &&
    unit_amount * offer.quantity === offer.amount_cents &&
    currency === offer.currency &&
    recursAsSaid(price, offer);
  if (!isAsSaid) {
    const there = `${active ? "" : "archived, "}${unit_amount} ${currency} ${intervalOf(price) ?? "once"}`;
    const here = `${offer.amount_cents / offer.quantity} ${offer.currency}, a ${offer.billing_cycle ?? "pack"}`;
    throw new Refusal("not_for_sale", {}, { cause: new Error(`${offer.price_id}: ${there}, not ${here}`) });
  }
  return price;
}

/** The intervals at Stripe in which a plan may be paid again: those of its periods. */
const intervals = {
  none: [], // it does not end: paid again, it would give nothing that it has not given
  "28day": ["28 day", "4 week"],
  monthly: ["1 month"],
  annual: ["1 year", "12 month"],
};

const intervalOf = ({ recurring }: Stripe.Price): string | undefined =>
  recurring == null ? undefined : `${recurring.interval_count} ${recurring.interval}`;

/** What is paid once buys a pack, or one period of a plan. */
function recursAsSaid(price: Stripe.Price, { billing_cycle }: Offer): boolean {
  if (price.type === "one_time") return true;
  return billing_cycle !== null && (intervals[billing_cycle] as string[]).includes(intervalOf(price) ?? "");
}
