/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/paypal-webhook: PayPal's events, verified by asking PayPal.
 *
 * Payments, refunds and reversals, disputes, and how subscriptions stand: facts.ts lists them. Others
 * are taken note of with 200. docs/guides/payments.md says how to set it up, and
 * docs/guides/payment-events.md what becomes of each event.
 */
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { webhook } from "../_shared/webhook.ts";
import { paypalApi } from "./api.ts";
import { factsIn } from "./facts.ts";
import { verify } from "./verify.ts";

/** PayPal states no limit; a dispute with its evidence has some tens of kilobytes. */
const maxBytes = 512 * 1024;

export default {
  fetch: endpoint(
    {
      POST: gate(
        "none",
        webhook("paypal", async (request, catalogue) => {
          const api = paypalApi();
          return await factsIn(await verify(request, api), catalogue, api);
        }),
      ),
    },
    maxBytes,
  ),
};
