/**
 * Stripe's objects, as far as they are read, in the shapes of all API versions since 2024: a webhook endpoint
 * keeps the version that it was made with. What moved with 2025-03-31 is read in both places.
 */
import { z } from "zod";
import { cents, currency, label, providerId } from "../_shared/provider-event.ts";
import { userId } from "../_shared/webhook.ts";

/** A moment in seconds since 1970, as ISO 8601. */
const moment = z
  .int("a moment in seconds")
  .min(0, "a moment after 1970")
  .max(7_000_000_000, "a moment before 2191")
  .transform((seconds) => new Date(seconds * 1000).toISOString());

/** An id, also where the object that it names is sent along. */
const reference = z
  .union([providerId, z.object({ id: providerId })], "an id")
  .transform((it) => (typeof it === "string" ? it : it.id));

/** As {@link reference}, of what a project may have named itself: customers, and prices that were plans once. */
const named = z
  .union([label, z.object({ id: label })], "an id")
  .transform((it) => (typeof it === "string" ? it : it.id));

/** The user in metadata, which our server alone can write. */
const buyer = z
  .object({ user_id: z.string("a text").nullish() })
  .nullish()
  .transform((it) => userId(it?.user_id));

const quantity = z
  .string("a text")
  .regex(/^[1-9]\d{0,8}$/, "a whole number")
  .transform(Number);

/** What `checkout` and `top-up` write into metadata of a purchase. */
const purchase = {
  plan_type: providerId.nullish(),
  pack_type: providerId.nullish(),
  quantity: quantity.nullish(),
};

/** The user, and what our server's checkout says of the purchase; what a project has written otherwise is none. */
const writtenIntoSession = z
  .looseObject({ user_id: z.string("a text").nullish() })
  .nullish()
  .transform((it) => ({ user: userId(it?.user_id), purchase: z.object(purchase).safeParse(it).data }));

const list = <T extends z.ZodType>(of: T) =>
  z.object({ data: z.array(of, "a list").max(1000, "at most 1000 items"), has_more: z.boolean().nullish() });

export const Event = z.object({
  id: z.string("an id").regex(/^evt_\w{1,251}$/, "evt_ and at most 251 letters, digits and _"),
  type: label,
  /** Left out where it cannot be read: `index.ts` refuses that when it knows what the event is about. */
  created: moment.optional().catch(undefined),
  livemode: z.boolean("true or false"),
  /** The connected account that it is about; left out for one's own. */
  account: label.nullish(),
  data: z.object({ object: z.unknown() }).catch({ object: undefined }),
});
export type Event = z.output<typeof Event> & { created: string };

export const LineItem = z.object({ price: named.nullish(), quantity: z.int("a whole number").nullish() });

export const Session = z.object({
  id: providerId,
  mode: label,
  payment_status: label,
  payment_intent: reference.nullish(),
  invoice: reference.nullish(),
  subscription: reference.nullish(),
  customer: named.nullish(),
  metadata: writtenIntoSession,
  amount_total: cents.nullish(),
  currency: currency.nullish(),
  line_items: list(LineItem).nullish(),
});
export type Session = z.output<typeof Session>;

/** Of a proration that credits: the invoice on which that was paid for which is credited now. */
const credited = z
  .object({ credited_items: z.object({ invoice: reference.nullish() }).nullish() })
  .nullish()
  .transform((it) => it?.credited_items?.invoice ?? undefined);

const proration = z
  .object({ proration: z.boolean("true or false").nullish(), proration_details: credited })
  .nullish();

export const InvoiceLine = z
  .object({
    amount: z.int("a whole number"),
    quantity: z.int("a whole number").nullish(),
    period: z.object({ start: moment }, "a period"),
    // until 2025-02-24
    price: named.nullish(),
    proration: z.boolean("true or false").nullish(),
    proration_details: credited,
    tax_amounts: z.array(z.object({ amount: z.int("a whole number"), inclusive: z.boolean() })).nullish(),
    // since 2025-03-31
    pricing: z.object({ price_details: z.object({ price: named }).nullish() }).nullish(),
    parent: z.object({ subscription_item_details: proration, invoice_item_details: proration }).nullish(),
    taxes: z.array(z.object({ amount: z.int("a whole number"), tax_behavior: label })).nullish(),
  })
  .transform(
    ({ price, pricing, proration: flag, proration_details, parent, tax_amounts, taxes, ...line }) => {
      const details = parent?.subscription_item_details ?? parent?.invoice_item_details;
      const onTop = [
        ...(tax_amounts ?? []).filter(({ inclusive }) => !inclusive),
        ...(taxes ?? []).filter(({ tax_behavior }) => tax_behavior === "exclusive"),
      ];
      return {
        ...line,
        price: pricing?.price_details?.price ?? price,
        isProration: flag ?? details?.proration ?? false,
        /** The invoice that this line credits something of. */
        credits: proration_details ?? details?.proration_details,
        /** With the taxes that come on top of it. */
        cost: onTop.reduce((sum, { amount }) => sum + amount, line.amount),
      };
    },
  );
export type InvoiceLine = z.output<typeof InvoiceLine>;

export const InvoicePayment = z.object({
  created: z.int("a moment in seconds"),
  status: label,
  payment: z.object({ payment_intent: reference.nullish(), charge: reference.nullish() }).nullish(),
});
export type InvoicePayment = z.output<typeof InvoicePayment>;

export const Invoice = z
  .object({
    id: providerId,
    billing_reason: label.nullish(),
    amount_paid: cents,
    total: z.int("a whole number"),
    /** What credit notes have taken off it before it was paid. */
    pre_payment_credit_notes_amount: cents.nullish(),
    /** The customer's balance before and after it: what they have is below 0. */
    starting_balance: z.int("a whole number").nullish(),
    ending_balance: z.int("a whole number").nullish(),
    currency,
    customer: named.nullish(),
    metadata: buyer,
    lines: list(InvoiceLine),
    // until 2025-02-24; null when nothing was paid
    payment_intent: reference.nullish(),
    charge: reference.nullish(),
    subscription: reference.nullish(),
    subscription_details: z.object({ metadata: buyer }).nullish(),
    // since 2025-03-31; the payments only where they were asked for
    parent: z
      .object({
        subscription_details: z.object({ subscription: reference.nullish(), metadata: buyer }).nullish(),
      })
      .nullish(),
    payments: list(InvoicePayment).nullish(),
  })
  .transform(
    ({ payment_intent, charge, subscription, subscription_details, parent, metadata, ...invoice }) => ({
      ...invoice,
      /** The payment that the invoice itself names: null = none paid it, undefined = it does not say. */
      paidBy: payment_intent ?? charge ?? (payment_intent === null ? null : undefined),
      subscription: parent?.subscription_details?.subscription ?? subscription,
      user: parent?.subscription_details?.metadata ?? subscription_details?.metadata ?? metadata,
    }),
  );
export type Invoice = z.output<typeof Invoice>;

/** What was taken off an invoice after it was made, before it was paid or of what had been paid. */
export const CreditNote = z
  .object({
    id: providerId,
    amount: cents,
    currency,
    customer: named.nullish(),
    invoice: reference,
    type: label,
    // until 2025-02-24
    refund: reference.nullish(),
    // since 2025-03-31
    post_payment_amount: cents.nullish(),
    refunds: z.array(z.object({ amount_refunded: cents })).nullish(),
  })
  .transform(({ amount, type, post_payment_amount, refunds, ...note }) => ({
    ...note,
    /** Of what had been paid: refunded, put into the customer's balance, or given back outside of Stripe. */
    paidBack: post_payment_amount ?? (type === "post_payment" ? amount : 0),
    /** Undefined: it does not say. */
    refunded: refunds?.reduce((sum, { amount_refunded }) => sum + amount_refunded, 0),
  }));
export type CreditNote = z.output<typeof CreditNote>;

/** A payment by itself: of a session or an invoice, which it no longer names; of our function `top-up`; or the app's own. */
export const Intent = z.object({
  id: providerId,
  amount_received: cents,
  currency,
  customer: named.nullish(),
  // until 2025-02-24
  invoice: reference.nullish(),
  metadata: z
    .looseObject({ top_up_request_id: z.string("a text").nullish(), user_id: z.string("a text").nullish() })
    .nullish(),
});
export type Intent = z.output<typeof Intent>;

/** What `top-up` writes into a payment of its own: what for, and which request it answers. */
export const TopUp = z.object(purchase);

/** What is left of what was paid, where not all of it can be read: each field by itself, or not at all. */
export const Remainder = z.object({
  id: providerId.optional().catch(undefined),
  payment_intent: reference.optional().catch(undefined),
  charge: reference.optional().catch(undefined),
  invoice: reference.optional().catch(undefined),
  mode: label.optional().catch(undefined),
  payment_status: label.optional().catch(undefined),
  customer: named.optional().catch(undefined),
  currency: currency.optional().catch(undefined),
  amount_total: cents.optional().catch(undefined),
  amount_paid: cents.optional().catch(undefined),
  amount_received: cents.optional().catch(undefined),
  total: z.int().optional().catch(undefined),
  metadata: buyer.catch(undefined),
  subscription_details: z.object({ metadata: buyer }).nullish().catch(undefined),
  parent: z
    .object({ subscription_details: z.object({ metadata: buyer }).nullish() })
    .nullish()
    .catch(undefined),
  lines: z
    .object({ data: z.array(InvoiceLine.optional().catch(undefined)) })
    .optional()
    .catch(undefined),
});
export type Remainder = z.output<typeof Remainder>;

export const Refund = z.object({
  id: providerId,
  amount: cents,
  currency,
  status: label.nullish(),
  charge: reference.nullish(),
  payment_intent: reference.nullish(),
});
export type Refund = z.output<typeof Refund>;

export const Charge = z.object({
  id: providerId,
  amount: cents,
  amount_refunded: cents,
  currency,
  customer: named.nullish(),
  payment_intent: reference.nullish(),
  /** Until 2022-08-01 always; later only where they were asked for. */
  refunds: list(Refund).nullish(),
});

export const Dispute = z.object({
  id: providerId,
  amount: cents,
  currency,
  status: label,
  charge: reference.nullish(),
  payment_intent: reference.nullish(),
  /** What the dispute took out of our balance at Stripe, negative, and what it put back. */
  balance_transactions: z.array(z.object({ amount: z.int("a whole number") }), "a list").nullish(),
});
export type Dispute = z.output<typeof Dispute>;

export const Subscription = z
  .object({
    id: providerId,
    status: label,
    customer: named.nullish(),
    metadata: buyer,
    cancel_at: moment.nullish(),
    cancel_at_period_end: z.boolean("true or false").nullish(),
    ended_at: moment.nullish(),
    /** Until 2025-02-24; since then each item has its own. */
    current_period_end: moment.nullish(),
    items: list(
      z.object({
        price: named.nullish(),
        quantity: z.int("a whole number").nullish(),
        current_period_end: moment.nullish(),
      }),
    ),
  })
  .transform(({ items, current_period_end, ...subscription }) => ({
    ...subscription,
    items: items.data.map((item) => ({
      ...item,
      current_period_end: item.current_period_end ?? current_period_end ?? undefined,
    })),
  }));
