/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/stripe-webhook: Stripe's events, signed with STRIPE_WEBHOOK_SECRET.
 *
 * checkout.session.completed, checkout.session.async_payment_succeeded, invoice.paid,
 * charge.refunded, charge.dispute.created, .funds_withdrawn and .closed. Others are taken note of
 * with 200. docs/guides/payments.md says how to set it up.
 */
import { Stripe } from "stripe";
import type { Catalogue } from "../_shared/catalogue.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { Refusal } from "../_shared/problem.ts";
import { requiredSetting } from "../_shared/setting.ts";
import { type ProviderEvent, webhook } from "../_shared/webhook.ts";
import { paymentsIn } from "./payments.ts";

/** How far a signature may be from now, in seconds: what Stripe itself recommends for an old one. */
const tolerance = 300;

/** Stripe states no limit; an invoice with its lines has some tens of kilobytes. */
const maxBytes = 512 * 1024;

const cryptoProvider = Stripe.createSubtleCryptoProvider();

async function read(request: Request, catalogue: Catalogue): Promise<ProviderEvent> {
  const secret = requiredSetting("STRIPE_WEBHOOK_SECRET");
  const event = await verified(request, secret);
  return {
    id: event.id,
    type: event.type,
    occurredAt: new Date(event.created * 1_000).toISOString(),
    payments: await paymentsIn(event, catalogue),
  };
}

/** The event, from the body as it was sent: parsed and written anew, it has another signature. */
async function verified(request: Request, secret: string): Promise<Stripe.Event> {
  const signature = request.headers.get("stripe-signature");
  const body = await request.text();
  try {
    if (isFromTheFuture(signature)) throw new Error("its time has not come");
    return await Stripe.webhooks.constructEventAsync(
      body,
      signature ?? "",
      secret,
      tolerance,
      cryptoProvider,
    );
  } catch {
    // No reason: it would tell a forger how far he has come.
    throw new Refusal("invalid_signature");
  }
}

/** Stripe's own code takes a signature of any time to come: one made today could be kept for next year. */
function isFromTheFuture(signature: string | null): boolean {
  const times = (signature ?? "").split(",").filter((part) => part.startsWith("t="));
  return times.some((part) => Number.parseInt(part.slice(2), 10) > Date.now() / 1000 + tolerance);
}

export default {
  fetch: endpoint({ POST: gate("none", webhook("stripe", read)) }, maxBytes),
};
