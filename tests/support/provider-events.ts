/** What payment providers tell, as tests say it. */
import type { Database } from "./database.ts";
import { asService, rpc } from "./roles.ts";

let clock = Date.now();

/** The provider's time of what happens next: each a moment after the one before. */
export const moment = (): string => new Date((clock = Math.max(clock + 1, Date.now()))).toISOString();

/** A fact of just now, unless it says when. */
export const told = (facts: Record<string, unknown>): Record<string, unknown> => ({
  occurred_at: moment(),
  ...facts,
});

/** How a fact comes: from which provider, in which event. Each in an event of its own, and from Stripe, if it does not say. */
interface Sent {
  provider?: string | undefined;
  event?: string | undefined;
}

let events = 0;
const anEvent = () => `evt_told_${++events}`;

/** A fact of a payment, as the webhook records it. */
export const recordPaymentEvent = (
  db: Database,
  payment: string,
  facts: Record<string, unknown>,
  { provider = "stripe", event = anEvent() }: Sent = {},
) =>
  asService(db, (client) =>
    rpc(client, "record_token_payment_event", {
      p_provider: provider,
      p_event_id: event,
      p_event_type: "test",
      p_provider_payment_id: payment,
      p_facts: told(facts),
    }),
  );

/** A fact of a subscription, as the webhook records it. */
export const recordSubscriptionEvent = (
  db: Database,
  subscription: string,
  facts: Record<string, unknown>,
  { provider = "stripe", event = anEvent() }: Sent = {},
) =>
  asService(db, (client) =>
    rpc(client, "record_token_subscription_event", {
      p_provider: provider,
      p_event_id: event,
      p_event_type: "test",
      p_provider_subscription_id: subscription,
      p_facts: told({ kind: "subscription", ...facts }),
    }),
  );

/** One dispute as it stands now; or a reversal, by its own id. */
export const dispute = (
  status: "inquiry" | "reversed" | "open" | "won" | "lost",
  id = "dp_1",
  amountCents?: number,
) => ({
  kind: "dispute",
  dispute_id: id,
  status,
  ...(amountCents !== undefined && { amount_cents: amountCents }),
});

/** One refund as it stands now. */
export const refund = (
  id: string,
  amountCents: number,
  status: "pending" | "succeeded" | "failed" | "canceled" = "succeeded",
) => ({ kind: "refund", refund_id: id, status, amount_cents: amountCents });

/** What was credited for unused time of what was paid for. */
export const credit = (id: string, amountCents: number) => ({
  kind: "credit",
  credit_id: id,
  amount_cents: amountCents,
});
