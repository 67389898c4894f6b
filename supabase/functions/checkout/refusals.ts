import { Refusal } from "../_shared/problem.ts";
import { asking, isStripeError } from "../_shared/stripe-api.ts";

/**
 * Asks Stripe, and says what it will not do as our own refusals. What it says besides is for the log: it is of our
 * account there, and nothing that a caller could mend.
 */
export async function inOurWords<Result>(ask: () => Promise<Result>): Promise<Result> {
  try {
    return await asking(ask);
  } catch (error) {
    if (isStripeError(error, "StripeIdempotencyError")) {
      throw new Refusal("idempotency_key_reused", {}, { cause: error });
    }
    if (isStripeError(error, "StripeAuthenticationError", "StripePermissionError")) {
      throw new Refusal("not_configured", { setting: "STRIPE_SECRET_KEY" }, { cause: error });
    }
    throw error;
  }
}
