import { Stripe } from "stripe";
import { Refusal } from "./problem.ts";
import { setting, SettingError } from "./setting.ts";

// Those of the functions that have `stripe` in their import map import this: stripe-webhook, checkout and top-up.

/** How patient a client is. */
interface Patience {
  /** Milliseconds that one request may take. */
  timeout: number;
  /** How often it is sent again by itself, under the same key. */
  maxNetworkRetries: number;
}

/** Stripe itself waits some tens of seconds for a webhook's answer, and a user looks at a page meanwhile. */
const usual: Patience = { timeout: 10_000, maxNetworkRetries: 1 };

/** Stripe's API, if there is a key for it; with STRIPE_API_BASE, what stands in for it there. */
export function stripeApi(patience = usual): Stripe | undefined {
  const key = setting("STRIPE_SECRET_KEY");
  if (key === undefined) return undefined;
  const base = setting("STRIPE_API_BASE");
  return new Stripe(key, {
    httpClient: Stripe.createFetchHttpClient(),
    ...patience,
    ...(base !== undefined && address(new URL(base))),
  });
}

/**
 * Stripe's API, where there must be a key for it.
 *
 * @param otherwise what cannot be done without
 */
export function requiredStripeApi(otherwise: string, patience = usual): Stripe {
  const api = stripeApi(patience);
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

/** Whether that is an error of Stripe's of one of those kinds. */
export function isStripeError(
  error: unknown,
  ...types: (
    | "StripeCardError"
    | "StripeInvalidRequestError"
    | "StripeIdempotencyError"
    | "StripeAuthenticationError"
    | "StripePermissionError"
    | "StripeConnectionError"
    | "StripeAPIError"
    | "StripeRateLimitError"
  )[]
): error is Stripe.errors.StripeError {
  return error instanceof Stripe.errors.StripeError && types.some((type) => type === error.type);
}

/**
 * Asks Stripe. The caller is refused when Stripe cannot answer now: no answer, trouble there, too many requests. For an
 * event the caller is Stripe itself, which sends it again.
 *
 * @throws {Refusal} payment_provider_failed
 */
export async function asking<Result>(ask: () => Promise<Result>): Promise<Result> {
  try {
    return await ask();
  } catch (error) {
    if (!isStripeError(error, "StripeConnectionError", "StripeAPIError", "StripeRateLimitError")) throw error;
    throw new Refusal("payment_provider_failed", {}, { cause: error });
  }
}
