import { type Catalogue, catalogueOf } from "./catalogue.ts";
import type { Context } from "./database.ts";
import { errors } from "./errors.ts";
import type { Facts, SubscriptionFacts } from "./facts.ts";
import { isTemporary, refused } from "./parking.ts";
import { Refusal } from "./problem.ts";
import { callSql, type Client } from "./sql.ts";

export type * from "./facts.ts";

/** What a verified event comes to. */
export interface ProviderEvent {
  id: string;
  type: string;
  /** The provider's time of the event, ISO 8601 with its offset: it decides which of two facts is the later one. */
  occurredAt: string;
  /** What it says of payments, several facts of one too: nothing when the event is of a kind that does not concern us. */
  payments: { id: string; facts: Facts }[];
  subscriptions?: { id: string; facts: SubscriptionFacts }[] | undefined;
  /** Why it changes nothing, for the person who reads the answer in the provider's dashboard. */
  note?: string | undefined;
  /** Why it is not told as it should be: the answer, when the rest is recorded. */
  failure?: unknown;
}

/**
 * A handler for `gate` that records what a payment provider reports. Everything that
 * matters is one SQL call a fact, so that a process that dies between commit and answer, and
 * the delivery that follows, change nothing.
 *
 * It answers 200 only when everything is committed as it was told; anything else makes the provider send again. What
 * was paid and cannot be booked is parked before it answers, so that somebody is told.
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
    try {
      for (const { id, facts } of event.payments) {
        recorded.push(await recordPayment(supabaseAdmin, provider, event, id, facts));
      }
      for (const { id, facts } of event.subscriptions ?? []) {
        recorded.push(
          await record(supabaseAdmin, provider, event, "record_token_subscription_event", {
            p_provider_subscription_id: id,
            p_facts: { ...facts, occurred_at: facts.occurred_at ?? event.occurredAt },
          }),
        );
      }
    } catch (error) {
      throw inAnswer(error, event);
    }
    if (event.failure !== undefined) throw event.failure;
    const parked = recorded.flatMap(({ parked_reason }) => parked_reason ?? []);
    const disagrees = recorded.flatMap((it) => it.disagrees ?? []);
    return Response.json({
      received: true,
      outcomes: recorded.map(({ status }) => status),
      ...(parked.length > 0 && { parked }),
      ...(disagrees.length > 0 && { disagrees }),
      ...(event.note !== undefined && { note: event.note }),
    });
  };
}

/** How a payment or a subscription stands after a fact of it was recorded. */
interface Recorded {
  status: string;
  parked_reason?: string | null;
  /** What else is named than counts, by field: nothing is done about it. */
  disagrees?: object | null;
  /** Payments of the customer that wait still for their user, whom this fact names. */
  payments_waiting?: number;
}

/** One fact of a payment. What was paid and the books refuse is parked, and refused all the same. */
async function recordPayment(
  client: Client,
  provider: string,
  event: ProviderEvent,
  id: string,
  facts: Facts,
): Promise<Recorded> {
  const recordAs = (told: Facts) =>
    record(client, provider, event, "record_token_payment_event", {
      p_provider_payment_id: id,
      p_facts: { ...told, occurred_at: told.occurred_at ?? event.occurredAt },
    });
  try {
    return await recordAs(facts);
  } catch (error) {
    if (facts.kind === "paid" && error instanceof Refusal && !isTemporary(error)) {
      await recordAs(refused(facts, error)).catch(() => {}); // what refuses this too is said by the first error
    }
    throw error;
  }
}

/** How often a fact is recorded again for the payments that wait: each time the next twenty are given. */
const portions = 50;

/** One fact of an event. The books know it by event, payment and content, so several of one event are each recorded once. */
async function record(
  client: Client,
  provider: string,
  event: ProviderEvent,
  name: Parameters<typeof callSql>[1],
  fact: Record<string, unknown>,
): Promise<Recorded> {
  const tell = () =>
    callSql<Recorded>(client, name, {
      p_provider: provider,
      p_event_id: event.id,
      p_event_type: event.type,
      ...fact,
    });
  let recorded = await tell();
  for (let more = portions; (recorded.payments_waiting ?? 0) > 0 && more > 0; more--) recorded = await tell();
  return recorded;
}

/** What the provider is answered when the books refuse. */
function inAnswer(error: unknown, { type, id }: ProviderEvent): unknown {
  if (!(error instanceof Refusal) || errors[error.slug].status >= 500) return error;
  const cause = new Error(`${type} ${id}: refused with ${error.slug} ${JSON.stringify(error.facts)}`);
  // What the books cannot keep no delivery can mend.
  if (error.slug === "invalid_provider_event") return new Refusal(error.slug, error.facts, { cause });
  // The provider cannot do anything about another refusal. It is ours to see: 500, and in the log.
  return cause;
}

/** The user's id, if that text is one: what is not is nobody's, and parks the payment. */
export function userId(text: string | null | undefined): string | undefined {
  return text != null && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text) ? text : undefined;
}
