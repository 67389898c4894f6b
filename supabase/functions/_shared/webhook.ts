import { type Catalogue, catalogueOf } from "./catalogue.ts";
import type { Context } from "./database.ts";
import { errors } from "./errors.ts";
import { Refusal } from "./problem.ts";
import { callSql, type Client } from "./sql.ts";

/** What one event says about one payment, as `record_token_payment_event` takes it. */
export interface Facts {
  kind: "paid" | "refunded" | "disputed" | "dispute_won";
  /** Left out when the event does not say it in a place that only our server can write. */
  user_id?: string | undefined;
  /** From our catalogue, never from the event's own words. */
  plan_type?: string | undefined;
  /** In the currency's smallest unit. */
  amount_cents?: number | undefined;
  currency?: string | undefined;
  /** All that was paid back so far, in the currency's smallest unit. */
  refunded_cents?: number | undefined;
  /** Start of the period that was paid for, ISO 8601; left out for what is not paid in periods. */
  period_start?: string | undefined;
}

/** What a verified event comes to. */
export interface ProviderEvent {
  id: string;
  type: string;
  /** The payments that it is about: none when the event is of a kind that does not concern us. */
  payments: { id: string; facts: Facts }[];
}

/**
 * A handler for `gate` that records what a payment provider reports. Everything that
 * matters is one SQL call a payment, so that a process that dies between commit and answer, and
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
    const outcomes: string[] = [];
    for (const { id, facts } of event.payments) {
      outcomes.push(await record(supabaseAdmin, provider, event, id, facts));
    }
    return Response.json({ received: true, outcomes });
  };
}

async function record(
  client: Client,
  provider: string,
  event: ProviderEvent,
  paymentId: string,
  facts: Facts,
): Promise<string> {
  try {
    const { status } = await callSql<{ status: string }>(client, "record_token_payment_event", {
      p_provider: provider,
      // One event about several payments is several facts, each recorded once.
      p_event_id: event.payments.length === 1 ? event.id : `${event.id}:${paymentId}`,
      p_event_type: event.type,
      p_provider_payment_id: paymentId,
      p_facts: facts,
    });
    return status;
  } catch (error) {
    // The provider cannot do anything about a refusal. It is ours to see: 500, and in the log.
    if (error instanceof Refusal && errors[error.slug].status < 500) {
      throw new Error(`${event.type} ${event.id}: refused with ${error.slug}`, { cause: error });
    }
    throw error;
  }
}

/** The user's id, if that text is one: what is not is nobody's, and parks the payment. */
export function userId(text: string | null | undefined): string | undefined {
  return text != null && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text) ? text : undefined;
}
