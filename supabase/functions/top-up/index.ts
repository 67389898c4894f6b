/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/top-up: charges the automatic top-ups that are due, from the cards that users have saved at
 * Stripe, and books what was paid. For the server, with the secret key: a schedule calls it, or your server when it receives
 * `top_up_requested`. Any number of runs at once, and any that die, charge nobody twice.
 * Answers { done, failed, waiting }: waiting is what will be asked again, because nobody knows yet what came of it.
 * docs/guides/checkout.md says how to set it up.
 */
import { configured } from "../_shared/configured.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { Refusal } from "../_shared/problem.ts";
import { callSql, type Client } from "../_shared/sql.ts";
import { isStripeError, requiredStripeApi } from "../_shared/stripe-api.ts";
import { charge, type Outcome, type Request } from "./charge.ts";

/** How many are under way at a time. */
const batch = 10;

/** How long a batch is ours: longer than its charges can take. */
const leaseSeconds = 120;

/** When no further batch is begun: a hosted function has 150 s. */
const budgetMs = 45_000;

/** A bank may take its time. We ask once a run: the next one asks again under the same key. */
const patience = { timeout: 30_000, maxNetworkRetries: 0 };

export default {
  fetch: endpoint({
    POST: gate("secret", async (_request, { supabaseAdmin }) => {
      const api = configured(() => requiredStripeApi("nothing can be charged", patience));
      const counts = { done: 0, failed: 0, waiting: 0 };
      const end = Date.now() + budgetMs;

      // What time alone makes due is asked for after this: a cooldown that is over, tokens that ran out.
      await callSql<number>(supabaseAdmin, "expire_old_token_grants", {});
      while (Date.now() < end) {
        const requests = await callSql<Request[]>(supabaseAdmin, "claim_token_top_ups", {
          p_limit: batch,
          p_lease_seconds: leaseSeconds,
        });
        if (requests.length === 0) break;
        const outcomes = await Promise.all(requests.map(handle));
        for (const outcome of outcomes) counts[outcome.status]++;
        const locked = outcomes.find(({ refusal }) => refusal !== undefined)?.refusal;
        if (locked !== undefined) throw locked; // the others would fare no better
      }
      return Response.json(counts);

      /** One request; what goes wrong with it is no matter of the others. */
      async function handle(request: Request): Promise<{ status: keyof typeof counts; refusal?: Refusal }> {
        try {
          return { status: await settle(supabaseAdmin, request, await charge(api, request)) };
        } catch (error) {
          console.error(`top-up ${request.request_id}: ${String(error)}`);
          const isLocked = isStripeError(error, "StripeAuthenticationError", "StripePermissionError");
          const setting = "STRIPE_SECRET_KEY";
          return {
            status: "waiting",
            ...(isLocked && { refusal: new Refusal("not_configured", { setting }, { cause: error }) }),
          };
        }
      }
    }),
  }),
};

/**
 * Records in the books what came of it. The payment first: a user who is told that it is done has the tokens, and a run that
 * dies in between is followed by one that finds the same payment.
 */
async function settle(
  server: Client,
  request: Request,
  outcome: Outcome,
): Promise<"done" | "failed" | "waiting"> {
  if (outcome.kind === "unknown") return "waiting";
  if (outcome.kind === "paid") await record(server, request, outcome);
  const status = outcome.kind === "paid" ? "done" : "failed";
  await callSql(server, "settle_token_top_up", {
    p_user_id: request.user_id,
    p_request_id: request.request_id,
    p_outcome: outcome.kind === "failed" && outcome.needsAction ? "needs_action" : status,
    p_reason: outcome.kind === "paid" ? `paid: ${outcome.paymentId}` : outcome.reason,
  });
  return status;
}

/** Under an id that is the request's: recorded twice it is one event, and with stripe-webhook's one payment. */
async function record(
  server: Client,
  request: Request,
  { paymentId, amount, currency, at }: Outcome & { kind: "paid" },
): Promise<void> {
  await callSql(server, "record_token_payment_event", {
    p_provider: "stripe",
    p_event_id: `top-up:${request.request_id}`,
    p_event_type: "top-up",
    p_provider_payment_id: paymentId,
    p_facts: {
      kind: "paid",
      occurred_at: at.toISOString(),
      user_id: request.user_id,
      customer_id: request.customer_id,
      ...(request.plan_type === null
        ? { pack_type: request.pack_type, quantity: request.quantity }
        : { plan_type: request.plan_type }),
      amount_cents: amount,
      currency,
    },
  });
}
