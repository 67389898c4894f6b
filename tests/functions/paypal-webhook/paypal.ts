/**
 * PayPal as the tests need it: its events, signed as it signs them (RSA over
 * `transmission id|time|webhook id|crc32 of the body`), and the places of its API that we ask.
 */
import { generateKeyPairSync, randomUUID, sign, verify } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Answer, Stack } from "../stack.ts";
import { startStandIn, type StandIn } from "../stand-in.ts";

export const webhookId = "WH-OF-THE-TESTS";

const client = { PAYPAL_CLIENT_ID: "client", PAYPAL_CLIENT_SECRET: "secret of the client" };

const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

export interface PaypalStandIn extends StandIn {
  /** What supabase/functions/.env holds to ask it. */
  settings: Record<string, string>;
  /** Subscriptions by their id. */
  subscriptions: Map<string, { plan_id: string; custom_id?: string }>;
  /** Makes every answer but those of its sign-in fail in that way; 200 ends it. */
  fail(status: number): void;
  /** Takes every access token back. */
  signOut(): void;
}

export async function startPaypal(): Promise<PaypalStandIn> {
  const subscriptions: PaypalStandIn["subscriptions"] = new Map();
  const basic = Buffer.from(`${client.PAYPAL_CLIENT_ID}:${client.PAYPAL_CLIENT_SECRET}`).toString("base64");
  let token: string = randomUUID();
  let status = 200;
  const standIn = await startStandIn(({ path, headers, body }) => {
    if (path === "/v1/oauth2/token") {
      const mayEnter =
        headers["authorization"] === `Basic ${basic}` && body === "grant_type=client_credentials";
      return mayEnter
        ? { body: { access_token: token, token_type: "Bearer", expires_in: 32_400 } }
        : { status: 401, body: { error: "invalid_client" } };
    }
    if (headers["authorization"] !== `Bearer ${token}`) return { status: 401, body: {} };
    if (status !== 200) return { status, body: { name: "INTERNAL_SERVER_ERROR" } };
    if (path === "/v1/notifications/verify-webhook-signature") {
      return isReadable(body)
        ? { body: { verification_status: isMine(body) ? "SUCCESS" : "FAILURE" } }
        : { status: 400, body: { name: "VALIDATION_ERROR" } };
    }
    const subscription = subscriptions.get(/^\/v1\/billing\/subscriptions\/([\w-]+)$/.exec(path)?.[1] ?? "");
    return subscription === undefined ? { status: 404, body: {} } : { body: subscription };
  });
  return {
    ...standIn,
    subscriptions,
    settings: { ...client, PAYPAL_WEBHOOK_ID: webhookId, PAYPAL_API_BASE: standIn.url },
    fail: (with_) => void (status = with_),
    signOut: () => void (token = randomUUID()),
  };
}

/** Only webhooks that PayPal knows can be asked for: ours, and one that a forger has made for himself. */
const webhooks = [webhookId, "WH-OF-A-FORGER"];

function isReadable(question: string): boolean {
  try {
    return webhooks.includes((JSON.parse(question) as { webhook_id: string }).webhook_id);
  } catch {
    return false;
  }
}

/** Whether we sent that: by the very bytes of webhook_event, of which the last one of the name counts. */
function isMine(question: string): boolean {
  const asked = JSON.parse(question) as Record<string, string>;
  const bytes = /"webhook_event":(.*)\}$/s.exec(question)?.[1] ?? "";
  return (
    asked["auth_algo"] === "SHA256withRSA" &&
    asked["cert_url"] === certUrl &&
    verify(
      "sha256",
      Buffer.from(
        signedText(asked["transmission_id"]!, asked["transmission_time"]!, asked["webhook_id"]!, bytes),
      ),
      publicKey,
      Buffer.from(asked["transmission_sig"]!, "base64"),
    )
  );
}

const certUrl = "https://api.paypal.com/v1/notifications/certs/CERT-1";

const signedText = (id: string, time: string, webhook: string, body: string) =>
  `${id}|${time}|${webhook}|${crc32(body)}`;

/** The headers that PayPal would send with that body; `by` another key when somebody else does. */
export function transmission(
  body: string,
  to = webhookId,
  by = privateKey,
  at = Date.now(),
): Record<string, string> {
  const id = randomUUID();
  const time = new Date(at).toISOString();
  return {
    "paypal-auth-algo": "SHA256withRSA",
    "paypal-cert-url": certUrl,
    "paypal-transmission-id": id,
    "paypal-transmission-sig": sign("sha256", Buffer.from(signedText(id, time, to, body)), by).toString(
      "base64",
    ),
    "paypal-transmission-time": time,
  };
}

/** Sends an event as PayPal does. */
export async function deliver(stack: Stack, event: object): Promise<Answer> {
  const body = JSON.stringify(event);
  return await stack.ask("paypal-webhook", { body, headers: transmission(body) });
}

let number = 0;

/** An id as PayPal's are, of its own in this run. */
export const fresh = (prefix = "") => `${prefix}${++number}${randomUUID().slice(0, 8).toUpperCase()}`;

export const event = (type: string, resource: object) => ({
  id: fresh("WH-"),
  event_version: "1.0",
  event_type: type,
  create_time: new Date().toISOString(),
  resource,
});

export const usd = (value: string) => ({ value, currency_code: "USD" });

export const capture = (id: string, customId: string, value = "9.00", currency = "USD") =>
  event("PAYMENT.CAPTURE.COMPLETED", {
    id,
    status: "COMPLETED",
    amount: { value, currency_code: currency },
    custom_id: customId,
    final_capture: true,
  });

/** @param soFar of all refunds together, this one included */
export const captureRefund = (payment: string, amount: string, soFar: string) =>
  event("PAYMENT.CAPTURE.REFUNDED", {
    id: fresh(),
    status: "COMPLETED",
    amount: usd(amount),
    seller_payable_breakdown: { gross_amount: usd(amount), total_refunded_amount: usd(soFar) },
    links: [
      { rel: "self", method: "GET", href: "https://api-m.paypal.com/v2/payments/refunds/1" },
      { rel: "up", method: "GET", href: `https://api-m.paypal.com/v2/payments/captures/${payment}` },
    ],
  });

export const sale = (id: string, subscription: string, time = "2026-11-01T10:00:00Z") =>
  event("PAYMENT.SALE.COMPLETED", {
    id,
    state: "completed",
    amount: { total: "9.00", currency: "USD", details: { subtotal: "9.00" } },
    billing_agreement_id: subscription,
    create_time: time,
  });

export const dispute = (type: "CREATED" | "RESOLVED", payments: string[], outcome?: string) =>
  event(`CUSTOMER.DISPUTE.${type}`, {
    dispute_id: fresh("PP-D-"),
    disputed_transactions: payments.map((id) => ({ seller_transaction_id: id })),
    status: outcome === undefined ? "OPEN" : "RESOLVED",
    ...(outcome !== undefined && { dispute_outcome: { outcome_code: outcome } }),
  });

/** Headers, less one. */
export const without = (headers: Record<string, string>, name: string) =>
  Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));

/** Requests that PayPal has not signed, or not just so: `body` is a payment of `user`, worth forging. */
export function forgeries(
  body: string,
  user: string,
): Record<string, readonly [payload: string, headers: Record<string, string>]> {
  const good = transmission(body);
  const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const forgers = `${body},"webhook_id":"WH-OF-A-FORGER"`;
  const later = new Date(Date.now() + 1000).toISOString();
  return {
    "no headers": [body, {}],
    "a forged signature": [body, { ...good, "paypal-transmission-sig": "Zm9yZ2Vk" }],
    "an empty signature": [body, { ...good, "paypal-transmission-sig": "" }],
    "a stranger's key": [body, transmission(body, undefined, stranger)],
    "a stranger's certificate": [body, { ...good, "paypal-cert-url": "https://paypal.example.com/cert" }],
    "another algorithm": [body, { ...good, "paypal-auth-algo": "none" }],
    "another transmission": [body, { ...good, "paypal-transmission-id": randomUUID() }],
    "another time": [body, { ...good, "paypal-transmission-time": later }],
    "a time to come": [body, transmission(body, undefined, undefined, Date.now() + 3_600_000)],
    "another webhook": [body, transmission(body, "WH-OF-A-FORGER")],
    "another webhook, named in the body": [forgers, transmission(forgers, "WH-OF-A-FORGER")],
    "another user": [body.replace(user, randomUUID()), good],
    "a higher amount": [body.replace("9.00", "9000.00"), good],
    "the body written anew": [JSON.stringify(JSON.parse(body), null, 2), good],
    "the body and a line's end": [`${body}\n`, good],
    "no JSON": ["id=1", transmission("id=1")],
    "no body": ["", good],
    ...Object.fromEntries(
      Object.keys(good).map((name) => [`no ${name}`, [body, without(good, name)] as const]),
    ),
  };
}
