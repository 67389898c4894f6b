/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/paypal-webhook: PayPal's events, verified by asking PayPal.
 *
 * PAYMENT.CAPTURE.COMPLETED and .REFUNDED, PAYMENT.SALE.COMPLETED and .REFUNDED,
 * CUSTOMER.DISPUTE.CREATED and .RESOLVED. Others are taken note of with 200.
 * docs/guides/payments.md says how to set it up.
 */
import { z } from "zod";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { webhook } from "../_shared/webhook.ts";
import { paypalApi } from "./api.ts";
import { paymentsIn } from "./payments.ts";
import { verify } from "./verify.ts";

/** PayPal states no limit; a dispute with its evidence has some tens of kilobytes. */
const maxBytes = 512 * 1024;

const Event = z.object({ id: z.string().min(1), event_type: z.string(), create_time: z.iso.datetime({ offset: true }), resource: z.unknown() });

export default {
  fetch: endpoint(
    {
      POST: gate(
        "none",
        webhook("paypal", async (request, catalogue) => {
          const api = paypalApi();
          const event = Event.parse(await verify(request, api));
          const payments = await paymentsIn(event.event_type, event.resource, catalogue, api);
          return { id: event.id, type: event.event_type, occurredAt: event.create_time, payments };
        }),
      ),
    },
    maxBytes,
  ),
};
