/**
 * What PayPal's events say. One payment is one capture (an order) or one sale (a subscription's);
 * refunds and disputes name its id.
 */
import type { Catalogue } from "../_shared/catalogue.ts";
import { orParked } from "../_shared/parking.ts";
import type { ProviderEvent } from "../_shared/webhook.ts";
import type { PaypalApi } from "./api.ts";
import { fromDispute } from "./disputes.ts";
import { contentsOf, envelopeOf, type PaypalEvent } from "./event.ts";
import { fromCapture } from "./orders.ts";
import { remainderOf } from "./remainder.ts";
import { fromRefund, fromReversal } from "./refunds.ts";
import { fromSale } from "./sales.ts";
import { fromSubscription } from "./subscriptions.ts";

type Said = Pick<ProviderEvent, "payments" | "subscriptions" | "note">;

type Reader = (event: PaypalEvent, catalogue: Catalogue, api: PaypalApi) => Said | Promise<Said>;

const order: Reader = async (event, catalogue) => ({ payments: await fromCapture(event, catalogue) });
const sale: Reader = async (event, catalogue, api) => ({ payments: await fromSale(event, catalogue, api) });
const refund: Reader = async (event, _, api) => ({ payments: await fromRefund(event, api) });
const reversal: Reader = async (event, _, api) => ({ payments: await fromReversal(event, api) });
const dispute: Reader = (event) => ({ payments: fromDispute(event) });
const subscription: Reader = async (event, catalogue) => {
  const subscriptions = await fromSubscription(event, catalogue);
  return {
    payments: [],
    subscriptions,
    ...(subscriptions.length === 0 && { note: "nobody has agreed to it yet" }),
  };
};

/** The events that change something, and the function that reads each. */
const readers = new Map<string, Reader>([
  ["PAYMENT.CAPTURE.COMPLETED", order],
  ["PAYMENT.SALE.COMPLETED", sale],
  ["PAYMENT.CAPTURE.REFUNDED", refund],
  ["PAYMENT.CAPTURE.REVERSED", reversal],
  ["PAYMENT.SALE.REFUNDED", refund],
  ["PAYMENT.SALE.REVERSED", reversal],
  ["PAYMENT.REFUND.PENDING", refund],
  ["PAYMENT.REFUND.FAILED", refund],
  ["CUSTOMER.DISPUTE.CREATED", dispute],
  ["CUSTOMER.DISPUTE.UPDATED", dispute],
  ["CUSTOMER.DISPUTE.RESOLVED", dispute],
  ["BILLING.SUBSCRIPTION.ACTIVATED", subscription],
  ["BILLING.SUBSCRIPTION.RE-ACTIVATED", subscription],
  ["BILLING.SUBSCRIPTION.UPDATED", subscription],
  ["BILLING.SUBSCRIPTION.SUSPENDED", subscription],
  ["BILLING.SUBSCRIPTION.CANCELLED", subscription],
  ["BILLING.SUBSCRIPTION.EXPIRED", subscription],
  ["BILLING.SUBSCRIPTION.PAYMENT.FAILED", subscription],
]);

/** Why some of the others change nothing. */
const notes = new Map([
  ["PAYMENT.CAPTURE.PENDING", "nothing is paid yet"],
  ["PAYMENT.CAPTURE.DECLINED", "nothing was paid"],
  ["PAYMENT.CAPTURE.DENIED", "nothing was paid"],
  ["PAYMENT.SALE.PENDING", "nothing is paid yet"],
  ["PAYMENT.SALE.DENIED", "nothing was paid"],
]);

/**
 * @param body an event that PayPal has sent
 * @throws {Refusal} invalid_provider_event, when it is not as PayPal documents it
 */
export async function factsIn(body: unknown, catalogue: Catalogue, api: PaypalApi): Promise<ProviderEvent> {
  const { id, type } = envelopeOf(body);
  const reader = readers.get(type);
  if (reader === undefined) {
    const note = notes.get(type) ?? "events of this type change nothing";
    return { id, type, occurredAt: new Date().toISOString(), payments: [], note };
  }
  const { occurredAt, ...told } = await orParked<Said & { occurredAt: string }>(
    async () => {
      const { occurredAt: at, event } = contentsOf(body);
      return { occurredAt: at, ...(await reader(event, catalogue, api)) };
    },
    (why) => remainderOf(id, type, body, why),
  );
  return { id, type, occurredAt, ...told };
}
