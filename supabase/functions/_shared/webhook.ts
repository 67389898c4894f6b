import { type Catalogue, catalogueOf } from "./catalogue.ts";
import type { Context } from "./database.ts";
import { errors } from "./errors.ts";
import { Refusal } from "./problem.ts";
import { callSql, type Client } from "./sql.ts";

/** What every fact may say. */
interface Told {
  /** The provider's own time of what it tells, ISO 8601; left out: the event's. */
  occurred_at?: string | undefined;
  /** The provider's id of who pays: finds the user where no event names them. */
  customer_id?: string | undefined;
  /** ISO 4217. */
  currency?: string | undefined;
}

/** A payment was made. */
export interface PaidFacts extends Told {
  kind: "paid";
  /** Left out when the event does not say it in a place that only our server can write. */
  user_id?: string | undefined;
  /** From our catalogue, never from the event's own words: a plan or a pack, never both. */
  plan_type?: string | undefined;
  pack_type?: string | undefined;
  /** Of the pack; a plan is bought once. Left out: 1. */
  quantity?: number | undefined;
  /** The provider's id of the price, for whoever has to say what was bought. */
  price_id?: string | undefined;
  /** All that was paid, in the currency's smallest unit. */
  amount_cents?: number | undefined;
  /** Start of the period that was paid for, ISO 8601; left out for what is not paid in periods. */
  period_start?: string | undefined;
  /** Ids of the other payments that paid for the same: what is told of them counts for this one. */
  parts?: string[] | undefined;
  /** Why this gives nothing by itself, but waits for an admin to say what was bought. */
  parked_reason?: ParkedReason | undefined;
}

/** One refund, by its own id. Pending and succeeded have taken the money; failed and canceled have not. */
export interface RefundFacts extends Told {
  kind: "refund";
  refund_id: string;
  status: "pending" | "succeeded" | "failed" | "canceled";
  amount_cents: number;
}

/** All that was refunded of a payment at that moment, where no ids are told. */
export interface RefundedFacts extends Told {
  kind: "refunded";
  refunded_cents: number;
  /** Of the payment. */
  amount_cents?: number | undefined;
}

/**
 * One dispute, by its own id. Open and lost withhold its amount; an inquiry and a dispute that is won do not.
 * Reversed is what the provider took back by itself, by its own id too: that withholds its amount as long as no
 * dispute of the payment is known, for a dispute is why, and says how it goes on.
 */
export interface DisputeFacts extends Told {
  kind: "dispute";
  dispute_id: string;
  status: "inquiry" | "reversed" | "open" | "won" | "lost";
  /** Left out: all of the payment. */
  amount_cents?: number | undefined;
}

/** What one event says about one payment, as `record_token_payment_event` takes it. */
export type Facts = PaidFacts | RefundFacts | RefundedFacts | DisputeFacts;

/** Why a payment waits for an admin: the slugs of `tokenbook.parked_reasons()`, which has a sentence for each. */
export type ParkedReason =
  | "user_unknown"
  | "price_unknown"
  | "quantity"
  | "proration"
  | "amount_differs"
  | "currency_differs"
  | "several_things"
  | "nothing_paid"
  | "setup_fee"
  | "nothing_named";

/** What one event says about one subscription, as `record_token_subscription_event` takes it. */
export interface SubscriptionFacts {
  kind: "subscription";
  /** Left out: the event's. */
  occurred_at?: string | undefined;
  user_id?: string | undefined;
  customer_id?: string | undefined;
  plan_type?: string | undefined;
  price_id?: string | undefined;
  status: "active" | "past_due" | "paused" | "cancelled";
  /** ISO 8601. */
  cancel_at?: string | undefined;
  current_period_end?: string | undefined;
}

/** What a verified event comes to. */
export interface ProviderEvent {
  id: string;
  type: string;
  /** The provider's time of the event, ISO 8601 with its offset: it decides which of two facts is the later one. */
  occurredAt: string;
  /** What it says of payments, several facts of one too: nothing when the event is of a kind that does not concern us. */
  payments: { id: string; facts: Facts }[];
  subscriptions?: { id: string; facts: SubscriptionFacts }[] | undefined;
  /** Why it changes nothing, for whoever reads the answer in the provider's dashboard. */
  note?: string | undefined;
}

/**
 * A handler for `gate` that records what a payment provider reports. Everything that
 * matters is one SQL call a fact, so that a process that dies between commit and answer, and
 * the delivery that follows, change nothing.
 *
 * It answers 200 only when everything is committed; anything else makes the provider send again.
 *
 * @param read verifies the request and says what it means
 */
export function webhook(
  provider: "stripe" | "paypal",
  read: (request: Request, catalogue: Catalogue) => Promise<ProviderEvent>,
): (request: Request, context: Context) => Promise<Response> {
  return async (request, { supabaseAdmin }) => {
    const event = await read(request, catalogueOf(supabaseAdmin));
    const recorded: Recorded[] = [];
    for (const { id, facts } of event.payments) {
      recorded.push(
        await record(supabaseAdmin, provider, event, "record_token_payment_event", {
          p_provider_payment_id: id,
          p_facts: { ...facts, occurred_at: facts.occurred_at ?? event.occurredAt },
        }),
      );
    }
    for (const { id, facts } of event.subscriptions ?? []) {
      recorded.push(
        await record(supabaseAdmin, provider, event, "record_token_subscription_event" as never, {
          p_provider_subscription_id: id,
          p_facts: { ...facts, occurred_at: facts.occurred_at ?? event.occurredAt },
        }),
      );
    }
    const parked = recorded.flatMap(({ parked_reason }) => parked_reason ?? []);
    return Response.json({
      received: true,
      outcomes: recorded.map(({ status }) => status),
      ...(parked.length > 0 && { parked }),
      ...(event.note !== undefined && { note: event.note }),
    });
  };
}

/** How a payment or a subscription stands after a fact of it was recorded. */
interface Recorded {
  status: string;
  parked_reason?: string | null;
}

/** One fact of an event. The books know it by event, payment and content, so several of one event are each recorded once. */
async function record(
  client: Client,
  provider: string,
  event: ProviderEvent,
  name: Parameters<typeof callSql>[1],
  fact: Record<string, unknown>,
): Promise<Recorded> {
  try {
    return await callSql<Recorded>(client, name, {
      p_provider: provider,
      p_event_id: event.id,
      p_event_type: event.type,
      ...fact,
    });
  } catch (error) {
    if (!(error instanceof Refusal) || errors[error.slug].status >= 500) throw error;
    const cause = new Error(
      `${event.type} ${event.id}: refused with ${error.slug} ${JSON.stringify(error.facts)}`,
    );
    // What the books cannot keep no delivery can mend.
    if (error.slug === "invalid_provider_event") throw new Refusal(error.slug, error.facts, { cause });
    // The provider cannot do anything about another refusal. It is ours to see: 500, and in the log.
    throw cause;
  }
}

/** The user's id, if that text is one: what is not is nobody's, and parks the payment. */
export function userId(text: string | null | undefined): string | undefined {
  return text != null && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text) ? text : undefined;
}
