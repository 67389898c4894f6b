/** Stripe as the tests need it: its events, its signatures, and the places of its API that we ask. */
import { createHmac, randomUUID } from "node:crypto";
import { Stripe } from "stripe";
import type { Database } from "../../support/database.ts";
import { type Answer, type Fault, type Stack, startStack } from "../stack.ts";
import { startStandIn, type StandIn } from "../stand-in.ts";
import { packTokens, packType, prices } from "./cases.ts";
import {
  eventOf,
  invoiceOf,
  itemOf,
  type Line,
  list,
  type Parts,
  sessionOf,
  type StripeEvent,
  versions,
} from "./objects.ts";

export { prices };

export const secret = "whsec_of_the_tests";

/**
 * The stack with what Stripe sells in its catalogue, asking that Stripe, or with no key for any.
 *
 * @param fault makes it a known-bad variant
 */
export async function startShop(stripe?: StripeStandIn, fault?: Fault): Promise<Stack> {
  const stack = await startStack({ STRIPE_WEBHOOK_SECRET: secret, ...stripe?.settings }, fault);
  await sell(stack.db);
  return stack;
}

/** Two plans, one of which had another price id before, and a pack. */
async function sell(db: Database): Promise<void> {
  await db.admin.query(
    `update public.token_plans p
        set stripe_price_id = it.price_id, former_stripe_price_ids = it.former
       from (values ('starter', $1, array[$2]), ('professional', $3, '{}'::text[])) as it (plan_type, price_id, former)
      where p.plan_type = it.plan_type`,
    [prices.starter, prices.formerStarter, prices.professional],
  );
  await db.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, price_cents, stripe_price_id)
     values ($1, 'Boost', $2, 500, $3)`,
    [packType, packTokens, prices.pack],
  );
}

export interface StripeStandIn extends StandIn {
  /** What the functions' .env holds to ask it. */
  settings: Record<string, string>;
  /**
   * What a Checkout Session bought, the payments of an invoice (by its id) and its lines (`<id>/lines`), and of a
   * payment its sessions (`<id>/sessions`) and invoices (`<id>/invoice_payments`); and refunds by their id, one each.
   */
  lists: Map<string, object[]>;
  /** Makes every answer fail in that way; 200 ends it. */
  fail(status: number): void;
}

export async function startStripe(): Promise<StripeStandIn> {
  const lists = new Map<string, object[]>();
  let status = 200;
  const standIn = await startStandIn(({ path, query }) => {
    if (status !== 200) return { status, body: { error: { type: "api_error", message: "down" } } };
    const refund = /^\/v1\/refunds\/(\w+)$/.exec(path)?.[1];
    if (refund !== undefined) {
      const [found] = lists.get(refund) ?? [];
      return found === undefined ? { status: 404, body: { error: { message: path } } } : { body: found };
    }
    const id =
      path === "/v1/invoice_payments"
        ? (query.get("invoice") ?? `${query.get("payment[payment_intent]")}/invoice_payments`)
        : path === "/v1/checkout/sessions"
          ? `${query.get("payment_intent")}/sessions`
          : (/^\/v1\/checkout\/sessions\/(\w+)\/line_items$/.exec(path)?.[1] ??
            /^\/v1\/invoices\/(\w+\/lines)$/.exec(path)?.[1]);
    if (id == null) return { status: 404, body: { error: { message: path } } };
    return { body: list(lists.get(id) ?? [], path) };
  });
  return {
    ...standIn,
    settings: { STRIPE_SECRET_KEY: "rk_of_the_tests", STRIPE_API_BASE: standIn.url },
    lists,
    fail: (with_) => void (status = with_),
  };
}

let number = 0;

/** A short id, of its own in this run. */
export const fresh = (prefix: string) => `${prefix}_${++number}${randomUUID().slice(0, 6)}`;

/** An event in the newest version, each a second after the one that was made before. */
export const event = (type: string, object: Parts): StripeEvent =>
  eventOf(versions.october2026, type, object, fresh("evt"), ++number % 3000);

/** A Checkout Session of a single payment, as our server makes it. */
export const session = (user: string | null, intent: string | null, parts: Parts = {}) =>
  sessionOf(versions.october2026, fresh("cs"), user, { payment_intent: intent, ...parts });

/** What one Checkout Session bought, were Stripe to send it along. */
export const lineItems = (price: string, quantity = 1) => ({
  line_items: list([itemOf(price, quantity)], "/v1/checkout/sessions"),
});

/** An invoice of a subscription, whose payment Stripe is asked for. */
export const invoice = (user: string | null, lines: Line[], parts: Parts = {}) =>
  invoiceOf(versions.october2026, { id: fresh("in"), userId: user, lines }, parts);

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
