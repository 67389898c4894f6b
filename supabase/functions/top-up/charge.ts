/**
 * One top-up's charge at Stripe: made at most once, however often it is asked for.
 *
 * Three things keep it so. The request's id is the key of the one question that charges, and what is asked under it
 * never changes (claim_token_top_ups keeps price and customer). A run that asks again looks first whether the payment
 * is there: Stripe keeps a failure of its own under the key as well, and forgets the key after a day. And what is
 * given up is cancelled at Stripe before the books say so, so that it cannot take money later.
 */
import type { Stripe } from "stripe";
import { isStripeError } from "../_shared/stripe-api.ts";

/** A request as `claim_token_top_ups` hands it out. */
export interface Request {
  user_id: string;
  request_id: string;
  plan_type: string | null;
  pack_type: string | null;
  quantity: number | null;
  amount_cents: number | null;
  currency: string | null;
  customer_id: string | null;
  attempt: number;
  first_attempt_at: string;
  /** Why nothing is to be charged. */
  fault: string | null;
}

/** What came of it. */
export type Outcome =
  | { kind: "paid"; paymentId: string; amount: number; currency: string; at: Date }
  /** Nothing was taken, and nothing will be. */
  | { kind: "failed"; reason: string; needsAction: boolean }
  /** It is to be asked again later. */
  | { kind: "unknown" };

const failed = (reason: string, needsAction = false): Outcome => ({ kind: "failed", reason, needsAction });

/**
 * @throws what Stripe says when nobody knows what came of it: no answer, too many requests, trouble there; or that
 *   our key is none
 */
export async function charge(api: Stripe, request: Request): Promise<Outcome> {
  const made = request.attempt > 1 ? await madeBefore(api, request) : undefined;
  if (made !== undefined) return await outcomeOf(api, made);
  if (request.fault !== null) return failed(request.fault);
  let intent: Stripe.PaymentIntent;
  try {
    const card = await cardOf(api, request.customer_id!);
    if (card === undefined) return failed("no_payment_method");
    intent = await ask(api, request, card);
  } catch (error) {
    if (!isStripeError(error, "StripeCardError", "StripeInvalidRequestError")) throw error;
    // without a payment it is refused before there was anything to pay
    if (error.payment_intent === undefined) return failed(error.decline_code ?? error.code ?? "refused");
    intent = error.payment_intent;
  }
  return await outcomeOf(api, intent);
}

/** The payment that an earlier attempt has made; its answer got lost, or the run that asked died. */
async function madeBefore(api: Stripe, request: Request): Promise<Stripe.PaymentIntent | undefined> {
  if (request.customer_id === null) return undefined;
  const since = Math.floor(Date.parse(request.first_attempt_at) / 1000) - 3_600; // two clocks
  const theirs = api.paymentIntents.list({
    customer: request.customer_id,
    created: { gte: since },
    limit: 100,
  });
  try {
    for await (const intent of theirs) {
      if (intent.metadata["top_up_request_id"] === request.request_id) return intent;
    }
  } catch (error) {
    const isGone = isStripeError(error, "StripeInvalidRequestError") && error.code === "resource_missing";
    if (!isGone) throw error; // a customer who is not there has paid nothing
  }
  return undefined;
}

/** What the customer pays with: what they or we have chosen, else what they have saved last. */
async function cardOf(api: Stripe, customer: string): Promise<string | undefined> {
  const found = await api.customers.retrieve(customer);
  if (found.deleted) return undefined;
  const chosen = found.invoice_settings.default_payment_method;
  if (chosen !== null) return typeof chosen === "string" ? chosen : chosen.id;
  const { data } = await api.customers.listPaymentMethods(customer, { limit: 1 });
  return data[0]?.id;
}

/** The one question that charges. */
function ask(api: Stripe, request: Request, card: string): Promise<Stripe.PaymentIntent> {
  return api.paymentIntents.create(
    {
      amount: request.amount_cents!,
      currency: request.currency!,
      customer: request.customer_id!,
      payment_method: card,
      off_session: true,
      confirm: true,
      // nobody is there to be sent to a bank's page
      automatic_payment_methods: { enabled: true, allow_redirects: "never" },
      metadata: {
        user_id: request.user_id,
        ...(request.plan_type === null
          ? { pack_type: request.pack_type!, quantity: String(request.quantity) }
          : { plan_type: request.plan_type }),
        top_up_request_id: request.request_id,
      },
    },
    { idempotencyKey: `tokenbook-top-up-${request.request_id}` },
  );
}

/** What a payment has come to. One that takes no money now takes none later either, after this. */
async function outcomeOf(api: Stripe, intent: Stripe.PaymentIntent): Promise<Outcome> {
  switch (intent.status) {
    case "succeeded":
      return {
        kind: "paid",
        paymentId: intent.id,
        amount: intent.amount_received,
        currency: intent.currency,
        at: new Date(intent.created * 1000),
      };
    case "processing": // a debit takes days
      return { kind: "unknown" };
    case "canceled":
      return refusalOf(intent);
    default:
      return await cancelled(api, intent);
  }
}

async function cancelled(api: Stripe, intent: Stripe.PaymentIntent): Promise<Outcome> {
  try {
    await api.paymentIntents.cancel(intent.id);
    return refusalOf(intent);
  } catch (error) {
    if (!isStripeError(error, "StripeInvalidRequestError")) throw error;
    // It has moved on meanwhile: by another run, or by somebody in Stripe's dashboard.
    const now = await api.paymentIntents.retrieve(intent.id);
    if (now.status === "succeeded" || now.status === "canceled") return await outcomeOf(api, now);
    return { kind: "unknown" };
  }
}

/** Why nothing was paid, in the card network's own word where there is one. */
function refusalOf({ last_payment_error, status }: Stripe.PaymentIntent): Outcome {
  const { code, decline_code } = last_payment_error ?? {};
  const reason = decline_code ?? code ?? status;
  return failed(reason, code === "authentication_required" || status === "requires_action");
}
