/** Stripe as the tests need it: its events, its signatures, and the two places of its API that we ask. */
import { createHmac, randomUUID } from "node:crypto";
import { Stripe } from "stripe";
import type { Answer, Stack } from "../stack.ts";
import { startStandIn, type StandIn } from "../stand-in.ts";

export const secret = "whsec_of_the_tests";

export const prices = { starter: "price_starter", professional: "price_professional" };

export interface StripeStandIn extends StandIn {
  /** PaymentIntents by the invoice that they paid. */
  paidBy: Map<string, string>;
  /** Prices by the Checkout Session that they were bought in. */
  bought: Map<string, string>;
  /** Makes every answer fail in that way; 200 ends it. */
  fail(status: number): void;
}

export async function startStripe(): Promise<StripeStandIn> {
  const paidBy = new Map<string, string>();
  const bought = new Map<string, string>();
  let status = 200;
  const list = (data: object[]) => ({ body: { object: "list", data, has_more: false } });
  const standIn = await startStandIn(({ path, query }) => {
    if (status !== 200) return { status, body: { error: { type: "api_error", message: "down" } } };
    const session = /^\/v1\/checkout\/sessions\/(\w+)\/line_items$/.exec(path)?.[1];
    if (session !== undefined) {
      const price = bought.get(session);
      return list(price === undefined ? [] : [lineItem(price)]);
    }
    if (path !== "/v1/invoice_payments") return { status: 404, body: { error: { message: path } } };
    const intent = paidBy.get(query.get("invoice") ?? "");
    return list(
      intent === undefined
        ? []
        : [{ id: "inpay_1", created: 1, payment: { type: "payment_intent", payment_intent: intent } }],
    );
  });
  return { ...standIn, paidBy, bought, fail: (with_) => void (status = with_) };
}

const lineItem = (price: string, quantity = 1) => ({ id: "li_1", price: { id: price }, quantity });

/** What is different about an event; everything else is as Stripe has it for a plan of 19.00. */
type Parts = Record<string, unknown>;

let number = 0;

/** A short id, of its own in this run. */
export const fresh = (prefix: string) => `${prefix}_${++number}${randomUUID().slice(0, 6)}`;

export function event(
  type: string,
  object: Parts,
): { id: string; type: string; data: { object: Parts } } & Parts {
  return {
    id: fresh("evt"),
    object: "event",
    api_version: "2026-10-28.endive",
    created: now(),
    livemode: false,
    type,
    data: { object },
  };
}

/** A Checkout Session of a single payment, as our server makes it. */
export const session = (user: string | null, intent: string | null, parts: Parts = {}) => ({
  id: fresh("cs"),
  object: "checkout.session",
  mode: "payment",
  payment_status: "paid",
  payment_intent: intent,
  payment_link: null,
  invoice: null,
  client_reference_id: user,
  metadata: {},
  amount_total: 1900,
  currency: "usd",
  ...parts,
});

/** What one Checkout Session bought, were Stripe to send it along. */
export const lineItems = (price: string, quantity = 1) => ({
  line_items: { object: "list", data: [lineItem(price, quantity)], has_more: false },
});

export const invoiceLine = (price: string, parts: Parts = {}) => ({
  id: "il_1",
  amount: 1900,
  quantity: 1,
  period: { start: Date.UTC(2026, 10, 1) / 1000, end: Date.UTC(2026, 11, 1) / 1000 },
  pricing: { type: "price_details", price_details: { price, product: "prod_1" } },
  parent: { type: "subscription_item_details", subscription_item_details: { proration: false } },
  ...parts,
});

/** An invoice of a subscription. */
export const invoice = (user: string | null, lines: object[], parts: Parts = {}) => ({
  id: fresh("in"),
  object: "invoice",
  billing_reason: "subscription_create",
  amount_paid: 1900,
  currency: "usd",
  metadata: {},
  parent: {
    type: "subscription_details",
    subscription_details: { subscription: "sub_1", metadata: user === null ? {} : { user_id: user } },
  },
  lines: { object: "list", data: lines, has_more: false },
  ...parts,
});

export const charge = (intent: string, refunded: number) => ({
  id: fresh("ch"),
  object: "charge",
  amount: 1900,
  amount_refunded: refunded,
  currency: "usd",
  payment_intent: intent,
});

export const dispute = (intent: string, status: string) => ({
  id: fresh("dp"),
  object: "dispute",
  amount: 1900,
  currency: "usd",
  charge: "ch_1",
  payment_intent: intent,
  status,
});

const now = () => Math.floor(Date.now() / 1000);

/** The header that Stripe would send with that body. */
export function signature(
  payload: string,
  options: { secret?: string; timestamp?: number; scheme?: string } = {},
): Promise<string> {
  return Stripe.webhooks.generateTestHeaderStringAsync({ payload, secret, ...options });
}

/** Sends an event as Stripe does. */
export async function deliver(stack: Stack, it: object): Promise<Answer> {
  const body = JSON.stringify(it, null, 2); // Stripe's are indented
  return await stack.ask("stripe-webhook", {
    body,
    headers: { "stripe-signature": await signature(body) },
  });
}

/** What a function that takes an unset secret for an empty one would believe. */
export function signedWithNothing(payload: string): string {
  const time = now();
  return `t=${time},v1=${createHmac("sha256", "").update(`${time}.${payload}`).digest("hex")}`;
}

/** Requests that Stripe has not signed, or not just so: `body` is a payment of `user`, worth forging. */
export async function forgeries(
  body: string,
  user: string,
): Promise<Record<string, [payload: string, header: string | undefined]>> {
  const time = now();
  const good = await signature(body);
  const v1 = good.split("v1=")[1]!;
  const forged = "0".repeat(64);
  return {
    "no header": [body, undefined],
    "an empty header": [body, ""],
    "a header that is none": [body, "let-me-in"],
    "a forged signature": [body, `t=${time},v1=${forged}`],
    "a signature of no length": [body, `t=${time},v1=`],
    "half a signature": [body, `t=${time},v1=${v1.slice(0, 32)}`],
    "a signature in capitals": [body, `t=${time},v1=${v1.toUpperCase()}`],
    "two forged signatures": [body, `t=${time},v1=${forged},v1=${"f".repeat(64)}`],
    "a good signature and another time": [body, `t=${time + 1},v1=${v1}`],
    "a good signature and no time": [body, `v1=${v1}`],
    "a good signature under the scheme of tests": [body, `t=${time},v0=${v1}`],
    "a signature made for the scheme of tests": [body, await signature(body, { scheme: "v0" })],
    "a good signature six minutes old": [body, await signature(body, { timestamp: time - 360 })],
    "a good signature of last year": [body, await signature(body, { timestamp: time - 31_536_000 })],
    "a good signature of an hour to come": [body, await signature(body, { timestamp: time + 3_600 })],
    "a good signature of next year": [body, await signature(body, { timestamp: time + 31_536_000 })],
    "a good signature of tomorrow, and the time now before it": [
      body,
      `t=${time},${await signature(body, { timestamp: time + 86_400 })}`,
    ],
    "the empty secret": [body, signedWithNothing(body)],
    "another secret": [body, await signature(body, { secret: "whsec_of_somebody_else" })],
    "the secret without its beginning": [body, await signature(body, { secret: secret.slice(6) })],
    "another body": [body.replace(user, randomUUID()), good],
    "the body parsed and written anew": [JSON.stringify(JSON.parse(body)), good],
    "the body and a line's end": [`${body}\n`, good],
    "no body": ["", good],
    "an event's id as signature": [body, `t=${time},v1=evt_1`],
    "the secret as signature": [body, `t=${time},v1=${secret}`],
  };
}
