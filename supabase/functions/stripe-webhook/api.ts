import { Stripe } from "stripe";
import { setting } from "../_shared/setting.ts";

/**
 * Stripe's API, if there is a key for it: a restricted one that may read invoices and Checkout
 * Sessions is enough. STRIPE_API_BASE is for tests.
 */
export function stripeApi(): Stripe | undefined {
  const key = setting("STRIPE_SECRET_KEY");
  if (key === undefined) return undefined;
  const base = setting("STRIPE_API_BASE");
  return new Stripe(key, {
    httpClient: Stripe.createFetchHttpClient(),
    timeout: 10_000, // Stripe itself waits some tens of seconds for our answer
    maxNetworkRetries: 1,
    ...(base !== undefined && address(new URL(base))),
  });
}

function address({ protocol, hostname, port }: URL): Stripe.StripeConfig {
  return { protocol: protocol === "http:" ? "http" : "https", host: hostname, ...(port && { port }) };
}
