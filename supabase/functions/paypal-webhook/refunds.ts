/**
 * Money that goes back. A merchant's refund and a reversal by PayPal look alike: a transaction of its own,
 * with an id, that names the payment. PayPal reverses a payment because of a dispute, or because the
 * buyer's bank wants it back; which of them, it does not say.
 */
import { z } from "zod";
import { providerId as id, read } from "../_shared/provider-event.ts";
import type { DisputeFacts, ProviderEvent, RefundFacts } from "../_shared/webhook.ts";
import type { PaypalApi } from "./api.ts";
import { money, type PaypalEvent } from "./event.ts";

const Refund = z.object({
  id,
  amount: money,
  status: z.string().optional(), // v2
  state: z.string().optional(), // v1
  sale_id: id.optional(),
  capture_id: id.optional(),
  links: z.array(z.object({ href: z.string() })).default([]),
});

type Refund = z.infer<typeof Refund>;

const statuses: Record<string, RefundFacts["status"]> = {
  COMPLETED: "succeeded",
  PENDING: "pending",
  FAILED: "failed",
  CANCELLED: "canceled",
};

/** What the type of the event says where the resource has no status. */
const usual: Record<string, RefundFacts["status"]> = {
  "PAYMENT.REFUND.PENDING": "pending",
  "PAYMENT.REFUND.FAILED": "failed",
};

export async function fromRefund(event: PaypalEvent, api: PaypalApi): Promise<ProviderEvent["payments"]> {
  const refund = event.resource(Refund);
  const { payment, itself } = await idsOf(refund, event, api);
  const facts: RefundFacts = {
    kind: "refund",
    refund_id: itself,
    status: statusOf(refund, event),
    ...lost(refund),
  };
  return [{ id: payment, facts }];
}

/** The money is gone, unless it is a dispute's, which says how that went: then it is one loss, not two. */
export async function fromReversal(event: PaypalEvent, api: PaypalApi): Promise<ProviderEvent["payments"]> {
  const reversal = event.resource(Refund);
  const { payment, itself } = await idsOf(reversal, event, api);
  const facts: DisputeFacts = { kind: "dispute", dispute_id: itself, status: "reversed", ...lost(reversal) };
  return [{ id: payment, facts }];
}

/** v1 writes what is paid back with a minus. */
const lost = ({ amount: { cents, currency } }: Refund) => ({ amount_cents: Math.abs(cents), currency });

function statusOf({ status, state }: Refund, event: PaypalEvent): RefundFacts["status"] {
  const said = status ?? state;
  const known = said === undefined ? (usual[event.type] ?? "succeeded") : statuses[said.toUpperCase()];
  if (known === undefined) throw event.unreadable("status", "completed, pending, failed or cancelled");
  return known;
}

/**
 * The payment's id, and that of the refund or reversal itself. Reversals of sales come in two shapes: the
 * resource's id is the sale's and only its link names the reversal, or it is the reversal's and the sale
 * is not named at all.
 *
 * @throws {Refusal} when nothing says which payment it was
 */
async function idsOf(
  refund: Refund,
  event: PaypalEvent,
  api: PaypalApi,
): Promise<{ payment: string; itself: string }> {
  const link = linked(refund, /\/refunds?\/([\w-]{1,255})$/);
  const payment = paymentOf(refund);
  if (payment !== undefined)
    return { payment, itself: payment === refund.id ? (link ?? refund.id) : refund.id };
  if (link !== undefined && link !== refund.id) return { payment: refund.id, itself: link };
  const isSale = event.type.startsWith("PAYMENT.SALE.");
  const answer = isSale ? await api.find(`/v1/payments/refund/${refund.id}`) : undefined;
  const told =
    answer === undefined
      ? undefined
      : paymentOf(read(Refund, answer, `refund ${refund.id}, as it is told when asked for`, ["refund"]));
  if (told === undefined) throw event.unreadable("links", "a link to the payment that was refunded");
  return { payment: told, itself: refund.id };
}

const paymentOf = (refund: Refund) =>
  refund.sale_id ?? refund.capture_id ?? linked(refund, /\/(?:captures?|sales?)\/([\w-]{1,255})$/);

function linked({ links: all }: Refund, place: RegExp): string | undefined {
  return all.flatMap(({ href }) => place.exec(href)?.[1] ?? [])[0];
}
