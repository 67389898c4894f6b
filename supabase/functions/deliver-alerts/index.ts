/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/deliver-alerts: sends what is due of the outbox as signed webhooks to
 * ALERT_WEBHOOK_URL, and says how many. For the server, with the secret key: a schedule calls it, or
 * whoever wants to. docs/guides/alerts.md says how to set it up and how to verify what it sends.
 */
import { configured } from "../_shared/configured.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { callSql } from "../_shared/sql.ts";
import { type Alert, receiver } from "./receiver.ts";

/** How many are under way at a time. */
const batch = 20;

/** How long a batch is ours. Longer than it can take, or somebody else would send it too. */
const leaseSeconds = 60;

/** When no further batch is begun: a hosted function has 150 s. */
const budgetMs = 60_000;

export default {
  fetch: endpoint({
    POST: gate("secret", async (_request, { supabaseAdmin }) => {
      const { send } = configured(receiver);
      const counts = { delivered: 0, failed: 0, given_up: 0 };
      const end = Date.now() + budgetMs;

      // What only a change of rules makes due is in the outbox after this.
      await callSql<number>(supabaseAdmin, "arm_token_alerts", {});
      await callSql<number>(supabaseAdmin, "expire_old_token_grants", {});
      while (Date.now() < end) {
        const alerts = await callSql<Alert[]>(supabaseAdmin, "claim_token_alerts", {
          p_limit: batch,
          p_lease_seconds: leaseSeconds,
        });
        const outcomes = await Promise.all(alerts.map(deliver));
        for (const outcome of outcomes) counts[outcome]++;
        // Nothing left, or nobody there: what failed is due again later.
        if (!outcomes.includes("delivered")) break;
      }
      return Response.json(counts);

      async function deliver(alert: Alert): Promise<keyof typeof counts> {
        const error = await send(alert);
        const { delivery } = await callSql<{ delivery: string }>(supabaseAdmin, "settle_token_alert", {
          p_user_id: alert.user_id,
          p_alert_id: alert.alert_id,
          p_claim_id: alert.claim_id,
          p_error: error,
        });
        if (delivery === "delivered" || delivery === "given_up") return delivery;
        return "failed";
      }
    }),
  }),
};
