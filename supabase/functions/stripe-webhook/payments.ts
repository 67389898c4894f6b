/**
 * What Stripe's events say about payments.
 *
 * Every event about one payment must come to the same id, or it is credited twice: that is the
 * PaymentIntent's wherever there is one, because charges, refunds and disputes know no other.
 */
import type { Catalogue } from "../_shared/catalogue.ts";
import { read, unreadable } from "../_shared/provider-event.ts";
import type { CreditFacts, DisputeFacts, Facts, PaidFacts, RefundFacts } from "../_shared/webhook.ts";
import { userId } from "../_shared/webhook.ts";
import { requiredStripeApi, stripeApi } from "../_shared/stripe-api.ts";
import { asId, bought, type Line } from "./bought.ts";
import {
  Charge,
  CreditNote,
  Dispute,
  type Event,
  Intent,
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
  // The user is in metadata, which our server alone writes. client_reference_id may be the buyer's word: in the address
  // of a payment link, or on a pricing table. They might so put their chargeback on somebody else's account.
  const them = { user_id: session.metadata.user, customer_id: asId(session.customer) };
  if (session.mode === "subscription") return fromSubscribing(session, them);
  const items = await itemsOf(session, event);
  const facts: PaidFacts = {
    kind: "paid",
    ...them,
    ...(items === undefined ? await asWritten(session, event, catalogue) : await bought(items, catalogue)),
    amount_cents: session.amount_total ?? 0,
    currency: session.currency ?? undefined,
  };
  // Without a payment (a coupon for all of it) its invoice, if it has one, has the same.
  return about(session.payment_intent ?? session.invoice ?? session.id, facts);
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

/** What was bought in a single payment. Stripe does not send it along; undefined: there is no key to ask with. */
async function itemsOf(session: Session, event: Event): Promise<Line[] | undefined> {
  const { line_items: sent } = session;
  if (sent != null && sent.has_more !== true) return sent.data;
  const all = await stripeApi()
    ?.checkout.sessions.listLineItems(session.id, { limit: 100 })
    .autoPagingToArray({ limit: 1000 });
  return all?.map((item) => read(LineItem, item, `${whence(event)}, its items`));
}

/**
 * What was bought, by what `checkout` has written into the session, where Stripe cannot be asked. Our server alone
 * writes it, but the buyer may have changed how many, or had a coupon: so it counts only where exactly its price in
 * the catalogue was paid.
 */
async function asWritten(
  { metadata: { purchase }, amount_total, currency }: Session,
  event: Event,
  catalogue: Catalogue,
): Promise<Pick<PaidFacts, "plan_type" | "pack_type" | "quantity" | "parked_reason">> {
  const { plan_type, pack_type } = purchase ?? {};
  const quantity = purchase?.quantity ?? 1;
  const thing = pack_type != null ? { pack_type } : plan_type != null ? { plan_type } : undefined;
  const price = thing && (await catalogue.priceOf(thing));
  const isPaid =
    price !== undefined &&
    price.cents * quantity === amount_total &&
    price.currency.toLowerCase() === currency?.toLowerCase();
  if (isPaid) return { ...thing, quantity };
  console.warn(
    `${whence(event)} is parked: STRIPE_SECRET_KEY is not set, so Stripe cannot be asked what was bought`,
  );
  return { parked_reason: "items_unknown" };
}

/**
 * `invoice.paid`, with whatever it was paid: a customer's balance and a coupon are as good as money, for the
 * project gave them, or took back what they had paid for. A line of nothing is no purchase: a trial's.
 */
export async function fromInvoice(event: Event, catalogue: Catalogue): Promise<Told> {
  const invoice = read(Invoice, event.data.object, whence(event), inEvent);
  const all = await linesOf(invoice, event);
  const credits = creditsOf(all);
  const credited = await creditFacts(credits, invoice, event);
  const lines = all.filter((line) => line.amount > 0);
  // Not what changing a plan in mid-period costs: a day's difference in price would buy a whole plan.
  const whole = lines.filter((line) => !line.isProration);
  if (whole.length === 0 && invoice.total <= 0 && credits.untraced === 0) {
    return credited.length > 0
      ? { payments: credited }
      : nothing("nothing was bought: a trial's invoice, or a change that costs nothing");
  }
  const what: Awaited<ReturnType<typeof bought>> =
    credits.untraced > 0
      ? {
          price_id: asId((whole[0] ?? all.find(({ amount }) => amount < 0))?.price),
          parked_reason: "credited",
        }
      : whole.length === 0 && lines.length > 0
        ? { price_id: asId(lines[0]!.price), parked_reason: "proration" }
        : await bought(whole, catalogue);
  const [id, ...parts] = await paymentsOf(invoice, event);
  const facts: PaidFacts = {
    kind: "paid",
    user_id: invoice.user,
    customer_id: asId(invoice.customer),
    ...what,
    amount_cents: costOf(invoice, credits),
    currency: invoice.currency,
    from_balance_cents: fromBalance(invoice),
    // The line's: an invoice's own period is the one before, for what is paid in arrears. Also of what nobody knows
    // yet: an admin who says it later says what it is, not when.
    period_start:
      what.pack_type === undefined && invoice.subscription != null
        ? (lines.find(({ price }) => asId(price) === what.price_id) ?? lines[0])?.period.start
        : undefined,
    subscription_id: asId(invoice.subscription),
    parts: parts.length > 0 ? parts : undefined,
  };
  return { payments: [{ id, facts }, ...credited] };
}

/** What an invoice credits. */
interface Credits {
  /** By the invoice on which it was paid for. */
  of: Map<string, number>;
  /** What names none: an amount that somebody has written into it. */
  untraced: number;
}

/**
 * What an invoice credits for unused time: that much of an earlier payment has gone back to the customer, who pays with
 * it here, or with their balance another time. It pays first for the rest of the period on another plan, for which
 * no tokens are given either.
 */
function creditsOf(lines: readonly InvoiceLine[]): Credits {
  let bySwitching = lines.reduce(
    (sum, { amount, isProration, cost }) => sum + (isProration && amount > 0 ? cost : 0),
    0,
  );
  const credits: Credits = { of: new Map(), untraced: 0 };
  for (const { amount, cost, credits: invoice } of lines) {
    if (amount >= 0) continue;
    const left = Math.max(-cost - bySwitching, 0);
    bySwitching -= -cost - left;
    if (left === 0) continue;
    if (invoice === undefined) credits.untraced += left;
    else credits.of.set(invoice, (credits.of.get(invoice) ?? 0) + left);
  }
  return credits;
}

/**
 * `credit_note.created`: what was paid and goes into the customer's balance, where it pays another time, or back to them
 * outside of Stripe. What it refunds its refunds say, and for what was not paid nothing was given.
 */
export async function fromCreditNote(event: Event): Promise<Told> {
  const note = read(CreditNote, event.data.object, whence(event), inEvent);
  const amount_cents = note.paidBack - (await refundedBy(note, event));
  if (amount_cents <= 0) return nothing("nothing went back but what its refunds say");
  const [id] = idsOf(await allPaymentsOf({ id: note.invoice }, event), note.invoice, event);
  return about(id, {
    kind: "credit",
    credit_id: note.id,
    customer_id: asId(note.customer),
    amount_cents,
    currency: note.currency,
  });
}

/** What a credit note has refunded: until 2025-02-24 it names the refund, and not how much that was. */
async function refundedBy({ refunded, refund }: CreditNote, event: Event): Promise<number> {
  if (refunded !== undefined) return refunded;
  if (refund == null) return 0;
  const made = await requiredStripeApi("what a credit note refunded is not known").refunds.retrieve(refund);
  return read(Refund, made, `${whence(event)}, its refund`).amount;
}

/** Each credit, told of the payment that had paid for what is credited. */
async function creditFacts({ of }: Credits, invoice: Invoice, event: Event): Promise<Told["payments"]> {
  const told: Told["payments"] = [];
  for (const [credited, amount_cents] of of) {
    const [id] = idsOf(await allPaymentsOf({ id: credited }, event), credited, event);
    const facts: CreditFacts = {
      kind: "credit",
      credit_id: invoice.id,
      customer_id: asId(invoice.customer),
      amount_cents,
      currency: invoice.currency,
    };
    told.push({ id, facts });
  }
  return told;
}

/** What was bought cost that much, in money, from the customer's balance, and in credits of the invoice itself. */
function costOf(invoice: Invoice, { of, untraced }: Credits): number {
  const credited = [...of.values()].reduce((sum, amount) => sum + amount, untraced);
  return Math.max(
    invoice.amount_paid,
    invoice.total + credited - (invoice.pre_payment_credit_notes_amount ?? 0),
  );
}

/** What the customer's balance paid of it; below 0: what it put there. Undefined: nothing, or it does not say. */
function fromBalance({ starting_balance: before, ending_balance: after }: Invoice): number | undefined {
  return before == null || after == null || before === after ? undefined : after - before;
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
 * @throws without a key: then it waits under the invoice's id, for under that no refund would find it. Stripe sends the
 *   event again, for three days.
 */
async function paymentsOf(invoice: Invoice, event: Event): Promise<[string, ...string[]]> {
  if (invoice.paidBy !== undefined) return [invoice.paidBy ?? invoice.id];
  if (invoice.amount_paid === 0) return [invoice.id];
  return idsOf(await allPaymentsOf(invoice, event), invoice.id, event);
}

function idsOf(payments: readonly InvoicePayment[], invoice: string, event: Event): [string, ...string[]] {
  const ids = payments
    .filter(({ status }) => status === "paid")
    .flatMap(({ created, payment }) => {
      const id = payment?.payment_intent ?? payment?.charge;
      return id == null ? [] : [{ created, id }];
    })
    .toSorted((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id);
  const [first = invoice, ...others] = new Set(ids);
  if (others.length > 99) throw unreadable(whence(event), "payments", "at most 100 payments of one invoice");
  // Under its own id it is parked while Stripe cannot be asked: what waits there is over then.
  return first === invoice ? [first] : [first, ...others, invoice];
}

async function allPaymentsOf(
  { id, payments }: Pick<Invoice, "id" | "payments">,
  event: Event,
): Promise<InvoicePayment[]> {
  if (payments != null && payments.has_more !== true) return payments.data;
  const all = await requiredStripeApi("no invoice can be recorded")
    .invoicePayments.list({ invoice: id, status: "paid", limit: 100 })
    .autoPagingToArray({ limit: 1000 });
  return all.map((payment) => read(InvoicePayment, payment, `${whence(event)}, its payments`));
}

/**
 * `payment_intent.succeeded`. A session or an invoice says itself what was bought. A top-up has neither: `top-up`
 * records it as well; whichever comes first, it is one payment, and one whose run died is not lost. What is left is a
 * payment that the app has made by itself.
 */
export async function fromIntent(event: Event): Promise<Told> {
  const { metadata, ...intent } = read(Intent, event.data.object, whence(event), inEvent);
  const facts: PaidFacts = {
    kind: "paid",
    user_id: userId(metadata?.user_id),
    customer_id: asId(intent.customer),
    amount_cents: intent.amount_received,
    currency: intent.currency,
  };
  if (metadata?.top_up_request_id != null) {
    const { plan_type, pack_type, quantity } = read(TopUp, metadata, whence(event), [...inEvent, "metadata"]);
    const thing =
      plan_type == null
        ? { pack_type: pack_type ?? undefined, quantity: quantity ?? undefined }
        : { plan_type };
    return about(intent.id, { ...facts, ...thing });
  }
  // What `checkout` has written stands in a session's payment too.
  const isCheckouts = metadata?.["plan_type"] != null || metadata?.["pack_type"] != null;
  const isToldElsewhere = intent.invoice != null || ((await isSessionsOrInvoices(intent)) ?? isCheckouts);
  if (isToldElsewhere) return nothing("its session or its invoice says what was bought");
  const parked_reason = stripeApi() === undefined ? "items_unknown" : "not_ours";
  return about(intent.id, { ...facts, parked_reason });
}

/** Whether a session or an invoice was paid with it, which Stripe is asked; undefined: there is no key to ask with. */
async function isSessionsOrInvoices({ id }: Intent): Promise<boolean | undefined> {
  const api = stripeApi();
  if (api === undefined) return undefined;
  const sessions = await api.checkout.sessions.list({ payment_intent: id, limit: 1 });
  if (sessions.data.length > 0) return true;
  const payments = await api.invoicePayments.list({
    payment: { type: "payment_intent", payment_intent: id },
    limit: 1,
  });
  return payments.data.length > 0;
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
