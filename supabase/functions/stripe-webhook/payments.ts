/**
 * What Stripe's events say about payments.
 *
 * Every event about one payment must come to the same id, or it is credited twice: that is the
 * PaymentIntent's wherever there is one, because charges, refunds and disputes know no other.
 */
import type { Catalogue } from "../_shared/catalogue.ts";
import { read, unreadable } from "../_shared/provider-event.ts";
import type { DisputeFacts, Facts, PaidFacts, RefundFacts } from "../_shared/webhook.ts";
import { userId } from "../_shared/webhook.ts";
import { requiredStripeApi, stripeApi } from "./api.ts";
import { asId, bought, type Line } from "./bought.ts";
import {
  Charge,
  Dispute,
  type Event,
  Invoice,
  InvoiceLine,
  InvoicePayment,
  LineItem,
  Refund,
  Session,
  TopUp,
} from "./objects.ts";
import { nothing, type Told, whence } from "./told.ts";

const inEvent = ["data", "object"];

const about = (id: string, ...facts: Facts[]): Told => ({ payments: facts.map((it) => ({ id, facts: it })) });

/** `checkout.session.completed` and `.async_payment_succeeded`. */
export async function fromSession(event: Event, catalogue: Catalogue): Promise<Told> {
  const session = read(Session, event.data.object, whence(event), inEvent);
  if (session.mode === "setup") return nothing("a way to pay was saved: nothing was bought");
  if (session.payment_status === "unpaid") {
    return nothing("not paid yet: checkout.session.async_payment_succeeded will say so");
  }
  const them = { user_id: userOf(session), customer_id: asId(session.customer) };
  if (session.mode === "subscription") return fromSubscribing(session, them);
  const facts: PaidFacts = {
    kind: "paid",
    ...them,
    ...(await bought(await itemsOf(session, event), catalogue)),
    amount_cents: session.amount_total ?? 0,
    currency: session.currency ?? undefined,
  };
  // Without a payment (a coupon for all of it) its invoice, if it has one, has the same.
  return about(session.payment_intent ?? session.invoice ?? session.id, facts);
}

/**
 * Who bought. Metadata is our server's alone. `client_reference_id` is too when our server made the
 * session; in the address of a payment link the buyer writes it, who might so put their chargeback
 * on somebody else's account.
 */
function userOf(session: Session): string | undefined {
  if (session.metadata !== undefined || session.payment_link !== null) return session.metadata;
  return userId(session.client_reference_id);
}

/**
 * A subscription that was begun. What it buys, and for which period, its invoice says: were it taken from whichever
 * comes first, the period would depend on it. What the session alone knows is whose the subscription and the
 * customer are.
 */
function fromSubscribing(
  { subscription }: Session,
  them: { user_id: string | undefined; customer_id: string | undefined },
): Told {
  if (subscription == null) return nothing("the session names no subscription");
  return {
    payments: [],
    subscriptions: [{ id: subscription, facts: { kind: "subscription", ...them, status: "active" } }],
  };
}

/** What was bought in a single payment. Stripe does not send it along, so without a key nobody knows. */
async function itemsOf(session: Session, event: Event): Promise<Line[]> {
  const { line_items: sent } = session;
  if (sent != null && sent.has_more !== true) return sent.data;
  const all = await stripeApi()
    ?.checkout.sessions.listLineItems(session.id, { limit: 100 })
    .autoPagingToArray({ limit: 1000 });
  return (all ?? []).map((item) => read(LineItem, item, `${whence(event)}, its items`));
}

/**
 * `invoice.paid`, with whatever it was paid: a customer's balance and a coupon are as good as money, for the
 * project gave them. A line of nothing is no purchase: a trial's.
 */
export async function fromInvoice(event: Event, catalogue: Catalogue): Promise<Told> {
  const invoice = read(Invoice, event.data.object, whence(event), inEvent);
  const lines = (await linesOf(invoice, event)).filter((line) => line.amount > 0);
  // Not what changing a plan in mid-period costs: a day's difference in price would buy a whole plan.
  const whole = lines.filter((line) => !line.isProration);
  if (whole.length === 0 && invoice.total <= 0) {
    return nothing("nothing was bought: a trial's invoice, or a change that credits the customer");
  }
  const what: Awaited<ReturnType<typeof bought>> =
    whole.length === 0 && lines.length > 0
      ? { price_id: asId(lines[0]!.price), parked_reason: "proration" }
      : await bought(whole, catalogue);
  const [id, ...parts] = await paymentsOf(invoice, event);
  const facts: PaidFacts = {
    kind: "paid",
    user_id: invoice.user,
    customer_id: asId(invoice.customer),
    ...what,
    amount_cents: invoice.amount_paid,
    currency: invoice.currency,
    // The line's: an invoice's own period is the one before, for what is paid in arrears.
    period_start:
      what.plan_type !== undefined && invoice.subscription != null
        ? whole.find(({ price }) => price === what.price_id)?.period.start
        : undefined,
    subscription_id: asId(invoice.subscription),
    parts: parts.length > 0 ? parts : undefined,
  };
  return about(id, facts);
}

/** The lines of an invoice: an event has ten of them at most. */
async function linesOf({ id, lines }: Invoice, event: Event): Promise<InvoiceLine[]> {
  if (lines.has_more !== true) return lines.data;
  const all = await requiredStripeApi("an invoice of more than ten lines cannot be read")
    .invoices.listLineItems(id, { limit: 100 })
    .autoPagingToArray({ limit: 1000 });
  return all.map((line) => read(InvoiceLine, line, `${whence(event)}, its lines`));
}

/**
 * The ids of the payments that paid an invoice, the first one first: all that is told of the others counts for it.
 * Since 2025-03-31 an event does not name them, so Stripe is asked.
 *
 * @returns the invoice's own where nothing was paid for it, or not through Stripe
 * @throws without a key: under the invoice's id the payment could be credited a second time, and
 *   a refund would never find it. Stripe sends the event again, for three days.
 */
async function paymentsOf(invoice: Invoice, event: Event): Promise<[string, ...string[]]> {
  if (invoice.paidBy !== undefined) return [invoice.paidBy ?? invoice.id];
  if (invoice.amount_paid === 0) return [invoice.id];
  const ids = (await allPaymentsOf(invoice, event))
    .filter(({ status }) => status === "paid")
    .flatMap(({ created, payment }) => {
      const id = payment?.payment_intent ?? payment?.charge;
      return id == null ? [] : [{ created, id }];
    })
    .toSorted((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id);
  const [first = invoice.id, ...others] = new Set(ids);
  if (others.length > 100) throw unreadable(whence(event), "payments", "at most 101 payments of one invoice");
  return [first, ...others];
}

async function allPaymentsOf({ id, payments }: Invoice, event: Event): Promise<InvoicePayment[]> {
  if (payments != null && payments.has_more !== true) return payments.data;
  const all = await requiredStripeApi("no invoice can be recorded")
    .invoicePayments.list({ invoice: id, status: "paid", limit: 100 })
    .autoPagingToArray({ limit: 1000 });
  return all.map((payment) => read(InvoicePayment, payment, `${whence(event)}, its payments`));
}

/**
 * `payment_intent.succeeded`: of a top-up, which has neither a session nor an invoice. `top-up` records it as well;
 * whichever comes first, it is one payment, and one whose run died is not lost.
 */
export function fromTopUp(event: Event): Told {
  const { metadata, ...intent } = read(TopUp, event.data.object, whence(event), inEvent);
  if (metadata.top_up_request_id == null) return nothing("its session or its invoice says what was bought");
  return about(intent.id, {
    kind: "paid",
    user_id: userId(metadata.user_id),
    customer_id: asId(intent.customer),
    ...(metadata.plan_type == null
      ? { pack_type: metadata.pack_type ?? undefined, quantity: metadata.quantity ?? undefined }
      : { plan_type: metadata.plan_type }),
    amount_cents: intent.amount_received,
    currency: intent.currency,
  });
}

/** `charge.refunded`: what has gone back in all, and each refund where the API version sends them along. */
export function fromRefundedCharge(event: Event): Told {
  const charge = read(Charge, event.data.object, whence(event), inEvent);
  return about(
    charge.payment_intent ?? charge.id,
    {
      kind: "refunded",
      customer_id: asId(charge.customer),
      amount_cents: charge.amount,
      currency: charge.currency,
      refunded_cents: charge.amount_refunded,
    },
    ...(charge.refunds?.data ?? []).map(refundFacts),
  );
}

/** `refund.created`, `.updated`, `.failed`, and `charge.refund.updated`, which has the same. */
export function fromRefund(event: Event): Told {
  const refund = read(Refund, event.data.object, whence(event), inEvent);
  const payment = refund.payment_intent ?? refund.charge;
  return payment == null ? nothing("the refund is of no payment") : about(payment, refundFacts(refund));
}

/** What Stripe has not said to be over is under way, and its money is gone. */
function refundFacts({ id, status, amount, currency }: Refund): RefundFacts {
  const isOver = status === "succeeded" || status === "failed" || status === "canceled";
  return {
    kind: "refund",
    refund_id: id,
    status: isOver ? status : "pending",
    amount_cents: amount,
    currency,
  };
}

/** `charge.dispute.*`: each has the whole dispute as it was at that moment. */
export function fromDispute(event: Event): Told {
  const dispute = read(Dispute, event.data.object, whence(event), inEvent);
  const payment = dispute.payment_intent ?? dispute.charge;
  if (payment == null) return nothing("the dispute is of no payment");
  return about(payment, {
    kind: "dispute",
    dispute_id: dispute.id,
    status: disputeStatus(dispute),
    amount_cents: dispute.amount,
    currency: dispute.currency,
  });
}

/**
 * An inquiry (`warning_…`) has taken no money, and may become a dispute under the same id. One that was prevented
 * was blocked, or settled by paying: its balance transactions say which. An appeal is of one that was lost: the money
 * is gone until it is won. A status that nobody has heard of has taken the money, until another one says otherwise.
 */
function disputeStatus({ status, balance_transactions }: Dispute): DisputeFacts["status"] {
  if (status === "won" || status === "lost") return status;
  if (status.startsWith("warning_")) return "inquiry";
  if (status !== "prevented") return "open";
  const taken = (balance_transactions ?? []).reduce((sum, { amount }) => sum - amount, 0);
  return taken > 0 ? "lost" : "inquiry";
}
