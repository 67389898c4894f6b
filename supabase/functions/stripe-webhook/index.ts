/// <reference types="npm:@supabase/functions-js@2.119.1/src/edge-runtime.d.ts" />
/**
 * POST /functions/v1/stripe-webhook: Stripe's events, signed with STRIPE_WEBHOOK_SECRET.
 *
 * What is done with which event: `tellers` below, and docs/guides/payment-events.md. Others are taken note of with
 * 200. docs/guides/payments.md says how to set it up.
 */
import { Stripe } from "stripe";
import type { Catalogue } from "../_shared/catalogue.ts";
import { endpoint } from "../_shared/endpoint.ts";
import { gate } from "../_shared/gate.ts";
import { orParked, unknownMoment } from "../_shared/parking.ts";
import { Refusal } from "../_shared/problem.ts";
import { read, unreadable } from "../_shared/provider-event.ts";
import { requiredSetting } from "../_shared/setting.ts";
import { type ProviderEvent, webhook } from "../_shared/webhook.ts";
import { asking, expectsLive, isStripeError } from "../_shared/stripe-api.ts";
import { Event } from "./objects.ts";
import {
  fromCreditNote,
  fromDispute,
  fromIntent,
  fromInvoice,
  fromRefund,
  fromRefundedCharge,
  fromSession,
} from "./payments.ts";
import { remainderOf } from "./remainder.ts";
import { fromFailedPayment, fromSubscription } from "./subscriptions.ts";
import { nothing, type Told, whence } from "./told.ts";

/** How far a signature may be from now, in seconds: what Stripe itself recommends for an old one. */
const tolerance = 300;

/** Stripe states no limit; an invoice with its lines has some tens of kilobytes. */
const maxBytes = 512 * 1024;

const cryptoProvider = Stripe.createSubtleCryptoProvider();

/** What says what an event tells, by its type. */
const tellers: Record<string, (event: Event, catalogue: Catalogue) => Told | Promise<Told>> = {
  "checkout.session.completed": fromSession,
  "checkout.session.async_payment_succeeded": fromSession,
  "invoice.paid": fromInvoice,
  "invoice.payment_failed": fromFailedPayment,
  "payment_intent.succeeded": fromIntent,
  "credit_note.created": fromCreditNote,
  "charge.refunded": fromRefundedCharge,
  "charge.refund.updated": fromRefund,
  "refund.created": fromRefund,
  "refund.updated": fromRefund,
  "refund.failed": fromRefund,
  "charge.dispute.created": fromDispute,
  "charge.dispute.updated": fromDispute,
  "charge.dispute.funds_withdrawn": fromDispute,
  "charge.dispute.funds_reinstated": fromDispute,
  "charge.dispute.closed": fromDispute,
  "customer.subscription.created": fromSubscription,
  "customer.subscription.updated": fromSubscription,
  "customer.subscription.deleted": fromSubscription,
  "customer.subscription.paused": fromSubscription,
  "customer.subscription.resumed": fromSubscription,
};

async function readEvent(request: Request, catalogue: Catalogue): Promise<ProviderEvent> {
  const secret = requiredSetting("STRIPE_WEBHOOK_SECRET");
  const { created, ...event } = eventIn(await verified(request, secret));
  const told = await orParked(
    async () => {
      if (created === undefined) throw unreadable(whence(event), "created", "a moment in seconds");
      return await asking(() => toldBy({ ...event, created }, catalogue));
    },
    (why) => (event.account == null ? remainderOf(event, why) : undefined),
    (error) => isStripeError(error, "StripeAuthenticationError", "StripePermissionError"),
  );
  return { id: event.id, type: event.type, occurredAt: created ?? unknownMoment, ...told };
}

async function toldBy(event: Event, catalogue: Catalogue): Promise<Told> {
  // The owner of a connected account makes its prices, and may give one the name of ours.
  if (event.account != null) return nothing("it is about a connected account, not about this one");
  const tell = Object.hasOwn(tellers, event.type) ? tellers[event.type] : undefined;
  return tell === undefined ? nothing("events of this type change nothing") : await tell(event, catalogue);
}

/** The body as it was sent, once it is known to be Stripe's: parsed and written anew, it has another signature. */
async function verified(request: Request, secret: string): Promise<string> {
  const signature = request.headers.get("stripe-signature");
  const body = await request.text();
  try {
    if (isFromTheFuture(signature)) throw new Error("its time has not come");
    await Stripe.webhooks.signature!.verifyHeaderAsync(
      body,
      signature ?? "",
      secret,
      tolerance,
      cryptoProvider,
    );
    return body;
  } catch {
    // No reason: it would tell a forger how far they have come.
    throw new Refusal("invalid_signature");
  }
}

/** Stripe's own code takes a signature of any time to come: one made today could be kept for next year. */
function isFromTheFuture(signature: string | null): boolean {
  const times = (signature ?? "").split(",").filter((part) => part.startsWith("t="));
  return times.some((part) => Number.parseInt(part.slice(2), 10) > Date.now() / 1000 + tolerance);
}

/** @throws {Refusal} for what is signed and is yet no event that may count here */
function eventIn(body: string): Omit<Event, "created"> & { created?: string | undefined } {
  const value = parsed(body);
  if (isThin(value)) {
    const cause = new Error("Stripe sends thin events here, which do not say what happened");
    throw new Refusal("thin_event", {}, { cause });
  }
  const event = read(Event, value, "Stripe's event");
  if (event.livemode !== expectsLive()) {
    const modes = event.livemode ? "live mode, and test mode" : "test mode, and live mode";
    const cause = new Error(`${whence(event)} is of ${modes} is expected here (STRIPE_MODE)`);
    throw new Refusal("wrong_event_mode", { setting: "STRIPE_MODE" }, { cause });
  }
  return event;
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw unreadable("Stripe's event", "body", "JSON");
  }
}

/** Events of the v2 API, and of v1 objects sent in its manner: an id of what changed, and not what. */
function isThin(value: unknown): boolean {
  return (value as { object?: unknown } | null)?.object === "v2.core.event";
}

export default {
  fetch: endpoint({ POST: gate("none", webhook("stripe", readEvent)) }, maxBytes),
};
