import { Stripe } from "stripe";
import { setting, SettingError } from "../_shared/setting.ts";

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

/**
 * Stripe's API, where there must be a key for it.
 *
 * @param otherwise what cannot be done without
 */
export function requiredStripeApi(otherwise: string): Stripe {
  const api = stripeApi();
  if (api === undefined) throw new SettingError("STRIPE_SECRET_KEY", `is not set: without it ${otherwise}`);
  return api;
}

function address({ protocol, hostname, port }: URL): Stripe.StripeConfig {
  return { protocol: protocol === "http:" ? "http" : "https", host: hostname, ...(port && { port }) };
}

/**
 * Whether events of live mode are expected: what STRIPE_MODE says, and where it says nothing, what the key is of.
 * With neither, live: a payment in test mode costs nothing, and would give tokens all the same.
 */
export function expectsLive(): boolean {
  const isTestKey = /^[a-z]+_test_/.test(setting("STRIPE_SECRET_KEY") ?? "");
  const mode = setting("STRIPE_MODE") ?? (isTestKey ? "test" : "live");
  if (mode !== "live" && mode !== "test") throw new SettingError("STRIPE_MODE", "is neither live nor test");
  return mode === "live";
}
