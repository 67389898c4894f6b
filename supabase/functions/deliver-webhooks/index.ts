/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/deliver-webhooks: sends what is due of the outbox as signed webhooks to the endpoints that asked
 * for it, and says how many. For the server, with the secret key: a schedule calls it, or your own server.
 * docs/guides/webhooks.md says how to set it up and how to verify what it sends.
 */
import { configured } from "../_shared/configured.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { callSql } from "../_shared/sql.ts";
import { type Delivery, type Endpoint, sender } from "./sender.ts";

/** How many are under way to an endpoint at a time. */
const batch = 20;

/** How long a batch is ours. Longer than it can take, or somebody else would send it too. */
const leaseSeconds = 60;

/** When no further batch is begun: a hosted function has 150 s. */
const budgetMs = 60_000;

export default {
  fetch: endpoint({
    POST: gate("secret", async (_request, { supabaseAdmin }) => {
      const counts = { delivered: 0, failed: 0, given_up: 0 };
      const end = Date.now() + budgetMs;

      // What only a change of rules makes due is in the outbox after this.
      await callSql<number>(supabaseAdmin, "arm_token_alerts", {});
      await callSql<number>(supabaseAdmin, "expire_old_token_grants", {});
      const endpoints = await callSql<Endpoint[]>(supabaseAdmin, "list_token_webhook_endpoints", {});
      // Each by itself: one that is slow, or that cannot be sent to, holds up no other.
      const runs = await Promise.allSettled(endpoints.filter((it) => it.is_enabled).map(serve));
      for (const run of runs) if (run.status === "rejected") throw run.reason;
      return Response.json(counts);

      async function serve(to: Endpoint): Promise<void> {
        const send = configured(() => sender(to));
        while (Date.now() < end) {
          const deliveries = await callSql<Delivery[]>(supabaseAdmin, "claim_token_webhooks", {
            p_endpoint: to.name,
            p_limit: batch,
            p_lease_seconds: leaseSeconds,
          });
          const outcomes = await Promise.all(deliveries.map((delivery) => deliver(delivery, send)));
          for (const outcome of outcomes) counts[outcome]++;
          // Nothing left, or nobody there: what failed is due again later.
          if (!outcomes.includes("delivered")) break;
        }
      }

      async function deliver(
        delivery: Delivery,
        send: (delivery: Delivery) => Promise<string | undefined>,
      ): Promise<keyof typeof counts> {
        const error = await send(delivery);
        const { status } = await callSql<{ status: string }>(supabaseAdmin, "settle_token_webhook", {
          p_user_id: delivery.user_id,
          p_delivery_id: delivery.delivery_id,
          p_claim_id: delivery.claim_id,
          p_error: error,
        });
        if (status === "delivered" || status === "given_up") return status;
        return "failed";
      }
    }),
  }),
};
