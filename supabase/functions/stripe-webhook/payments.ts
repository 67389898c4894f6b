/**
 * What Stripe's events say about payments.
 *
 * Every event about one payment must come to the same id, or it is credited twice: that is the
 * PaymentIntent's wherever there is one, because charges, refunds and disputes know no other.
 */
import type { Stripe } from "stripe";
import type { Catalogue } from "../_shared/catalogue.ts";
import { type DisputeFacts, type Facts, type ProviderEvent, userId } from "../_shared/webhook.ts";
import { stripeApi } from "./api.ts";

type Payments = ProviderEvent["payments"];

/** @returns none for an event that changes nothing for us */
export async function paymentsIn(event: Stripe.Event, catalogue: Catalogue): Promise<Payments> {
  switch (event.type) {
    case "checkout.session.completed":
    case "checkout.session.async_payment_succeeded":
      return await fromSession(event.data.object, catalogue);
    case "invoice.paid":
      return await fromInvoice(event.data.object, catalogue);
    case "charge.refunded":
      return fromRefundedCharge(event.data.object);
    case "charge.dispute.created":
    case "charge.dispute.funds_withdrawn":
    case "charge.dispute.closed":
      return fromDispute(event.data.object);
    default:
      return [];
  }
}

async function fromSession(session: Stripe.Checkout.Session, catalogue: Catalogue): Promise<Payments> {
  // Paid later (a bank transfer), it comes again as async_payment_succeeded; a setup is no payment.
  if (session.payment_status === "unpaid" || session.mode === "setup") return [];
  const paid = session.amount_total ?? 0;
  const lines = await lineItemsOf(session);
  const facts: Facts = {
    kind: "paid",
    user_id: userOf(session),
    plan_type:
      paid === 0
        ? undefined
        : await thePlan(
            lines.map((line) => ({ price: idOf(line.price), quantity: line.quantity })),
            catalogue,
          ),
    amount_cents: paid,
    currency: session.currency ?? undefined,
  };
  const invoice = idOf(session.invoice);
  const id = idOf(session.payment_intent) ?? (invoice === undefined ? session.id : await paymentOf(invoice));
  return [{ id, facts }];
}

/**
 * Who bought. Metadata is our server's alone. `client_reference_id` is too when our server made the
 * session; in the address of a payment link the buyer writes it, who might so put his chargeback
 * on somebody else's account.
 */
function userOf(session: Stripe.Checkout.Session): string | undefined {
  const named = userId(session.metadata?.["user_id"]);
  if (named !== undefined || session.payment_link !== null) return named;
  return userId(session.client_reference_id);
}

/**
 * What was bought in a single payment. Stripe does not send it along, so without a key nobody knows,
 * and the payment is parked. What a subscription buys, and for which period, its invoice says: were
 * it taken from whichever comes first, the period would depend on it.
 */
async function lineItemsOf(session: Stripe.Checkout.Session): Promise<Stripe.LineItem[]> {
  if (session.mode !== "payment") return [];
  if (session.line_items !== undefined) return session.line_items.data;
  const answer = await stripeApi()?.checkout.sessions.listLineItems(session.id, { limit: 100 });
  return answer?.data ?? [];
}

async function fromInvoice(invoice: Stripe.Invoice, catalogue: Catalogue): Promise<Payments> {
  const details = invoice.parent?.subscription_details;
  // Not what changing a plan in mid-period costs: a day's difference in price would buy a whole plan.
  const lines = invoice.lines.data.filter((line) => line.amount > 0 && !isProration(line));
  const facts: Facts = {
    kind: "paid",
    user_id: userId(details?.metadata?.["user_id"]) ?? userId(invoice.metadata?.["user_id"]),
    plan_type:
      invoice.amount_paid === 0
        ? undefined
        : await thePlan(
            lines.map((line) => ({
              price: idOf(line.pricing?.price_details?.price),
              quantity: line.quantity,
            })),
            catalogue,
          ),
    amount_cents: invoice.amount_paid,
    currency: invoice.currency,
    // The line's: an invoice's own period is the one before, for what is paid in arrears.
    period_start: details && lines[0] ? new Date(lines[0].period.start * 1000).toISOString() : undefined,
  };
  return [{ id: await paymentOf(invoice.id), facts }];
}

function isProration({ parent }: Stripe.InvoiceLineItem): boolean {
  return (parent?.subscription_item_details ?? parent?.invoice_item_details)?.proration ?? false;
}

/**
 * The id of the payment that paid an invoice. Since 2025 an invoice does not name it, and an event
 * cannot be made to.
 *
 * @returns the invoice's own where nothing was paid for it, or not through Stripe
 * @throws without a key: under the invoice's id the payment could be credited a second time, and
 *   a refund would never find it. Stripe sends the event again, for three days.
 */
async function paymentOf(invoiceId: string): Promise<string> {
  const api = stripeApi();
  if (api === undefined)
    throw new Error("STRIPE_SECRET_KEY is not set: without it no invoice can be recorded");
  const { data } = await api.invoicePayments.list({ invoice: invoiceId, status: "paid", limit: 100 });
  const [payment] = data.toSorted((a, b) => a.created - b.created).map((it) => it.payment);
  return idOf(payment?.payment_intent) ?? idOf(payment?.charge) ?? invoiceId;
}

function fromRefundedCharge(charge: Stripe.Charge): Payments {
  const facts: Facts = {
    kind: "refunded",
    amount_cents: charge.amount,
    currency: charge.currency,
    refunded_cents: charge.amount_refunded, // of all refunds so far
  };
  return [{ id: idOf(charge.payment_intent) ?? charge.id, facts }];
}

function fromDispute(dispute: Stripe.Dispute): Payments {
  const facts: Facts = {
    kind: "dispute",
    dispute_id: dispute.id,
    status: disputeStatus(dispute.status),
    amount_cents: dispute.amount,
    currency: dispute.currency,
  };
  return [{ id: idOf(dispute.payment_intent) ?? idOf(dispute.charge)!, facts }];
}

/** An inquiry takes no money yet. If it comes to that, the dispute is opened under the same id. */
function disputeStatus(status: Stripe.Dispute.Status): DisputeFacts["status"] {
  if (status === "won" || status === "lost") return status;
  return status.startsWith("warning_") ? "inquiry" : "open";
}

/**
 * The one plan of ours among what was bought, once. More than one, or several of it, is for an
 * admin to say: the price is not a plan's.
 */
async function thePlan(
  bought: { price: string | undefined; quantity: number | null }[],
  catalogue: Catalogue,
): Promise<string | undefined> {
  const prices = bought.flatMap(({ price }) => price ?? []);
  const sold = await catalogue.soldUnder("stripe", prices);
  const ours = bought.filter(({ price }) => price !== undefined && sold.has(price));
  const thing = ours.length === 1 && ours[0]!.quantity === 1 ? sold.get(ours[0]!.price!) : undefined;
  return thing !== undefined && "plan_type" in thing ? thing.plan_type : undefined;
}

/** The id of what Stripe sends as an id or, expanded, as an object. */
function idOf(it: string | { id: string } | null | undefined): string | undefined {
  return typeof it === "string" ? it : it?.id;
}
