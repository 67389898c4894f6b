/// <reference types="npm:@supabase/functions-js@2.109.0/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/stripe-webhook: Stripe's events, signed with STRIPE_WEBHOOK_SECRET.
 *
 * checkout.session.completed, checkout.session.async_payment_succeeded, invoice.paid,
 * charge.refunded, charge.dispute.created, .funds_withdrawn and .closed. Others are taken note of
 * with 200. docs/guides/payments.md says how to set it up.
 */
import { withSupabase } from "@supabase/server";
import { Stripe } from "stripe";
import type { Catalogue } from "../_shared/catalogue.ts";
import type { Database } from "../_shared/database.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { callers } from "../_shared/operation.ts";
import { Refusal } from "../_shared/problem.ts";
import { requiredSetting } from "../_shared/setting.ts";
import { type ProviderEvent, webhook } from "../_shared/webhook.ts";
import { paymentsIn } from "./payments.ts";

/** How old a signature may be, in seconds: what Stripe itself recommends. */
const tolerance = 300;

/** Stripe states no limit; an invoice with its lines has some tens of kilobytes. */
const maxBytes = 512 * 1024;

const cryptoProvider = Stripe.createSubtleCryptoProvider();

async function read(request: Request, catalogue: Catalogue): Promise<ProviderEvent> {
  const secret = requiredSetting("STRIPE_WEBHOOK_SECRET");
  const event = await verified(request, secret);
  return { id: event.id, type: event.type, payments: await paymentsIn(event, catalogue) };
}

/** The event, from the body as it was sent: parsed and written anew, it has another signature. */
async function verified(request: Request, secret: string): Promise<Stripe.Event> {
  const signature = request.headers.get("stripe-signature");
  const body = await request.text();
  try {
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

export default {
  fetch: endpoint(
    { POST: withSupabase<Database>({ ...callers, auth: "none" }, webhook("stripe", read)) },
    maxBytes,
  ),
};
