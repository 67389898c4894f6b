/** A payment, as its events say it. What is not known is left out. */
export interface TokenPaymentFacts {
  payment_id: string;
  provider?: string;
  provider_payment_id?: string;
  plan_type?: string;
  pack_type?: string;
  quantity: number;
  amount_cents?: number;
  currency?: string;
  tokens?: number;
}

/** What of a payment's money is gone, all of it together. */
export interface TokenPaymentLosses {
  status: string;
  refunded_cents: number;
  disputed_cents: number;
  tokens_clawed_back: number;
}

/** What `data` says beside `user_id`, by kind: docs/guides/webhooks.md. */
export interface TokenEvents {
  "token_grant.made": {
    transaction_id: number;
    tokens: number;
    tokens_remaining: number;
    grant_id: string;
    grant_type: string;
    action_type: string;
    expires_at?: string;
    payment_id?: string;
  };
  "token_grant.expired": {
    transaction_id: number;
    tokens: number;
    tokens_remaining: number;
    grant_id: string;
  };
  "token_payment.approved": TokenPaymentFacts;
  "token_payment.refunded": TokenPaymentFacts & TokenPaymentLosses;
  "token_payment.restored": TokenPaymentFacts & TokenPaymentLosses;
  "token_plan.changed": { plan_type: string; previous_plan_type?: string; expires_at?: string };
  "token_cap.reached": {
    scope: string;
    window: string;
    limit: number;
    used: number;
    resets_at: string;
    tokens: number;
    member_id?: string;
  };
  "token_account.frozen": { actor_role: string };
  "token_account.unfrozen": { actor_role: string };
}

/** An event as deliver-webhooks posts it, by its `type`. A later version may send others: leave those alone. */
export type TokenWebhook =
  | {
      [Kind in keyof TokenEvents]: TokenWebhookOf<Kind, { user_id: string } & TokenEvents[Kind]>;
    }[keyof TokenEvents]
  | TokenWebhookOf<`token_alert.${string}`, TokenAlertFacts>;

/** An event of one kind. */
export interface TokenWebhookOf<Kind extends string, Data> {
  type: Kind;
  /** When it happened, ISO 8601 in UTC; the same for every attempt. */
  timestamp: string;
  data: Data;
}

/** An alert. What else it says depends on its kind: docs/guides/alerts.md. */
export interface TokenAlertFacts {
  /** Null for an alert of the project itself. */
  user_id: string | null;
  alert_id: number;
  kind: string;
  rule: string;
  [fact: string]: unknown;
}

/** A `Headers`, or Node's `request.headers`. */
export type TokenWebhookHeaders = Pick<Headers, "get"> | Record<string, string | string[] | undefined>;

/**
 * What came was not signed with the secret, or not lately. Answer 400 and do nothing.
 *
 * @example
 * ```ts
 * try {
 *   await verifyTokenWebhook(await request.text(), request.headers, secret);
 * } catch (error) {
 *   if (!(error instanceof TokenWebhookError)) throw error;
 *   show(400, error.message);
 * }
 * ```
 */
export class TokenWebhookError extends Error {
  override name = "TokenWebhookError";
}

/** Before or after now, as Standard Webhooks has it. */
const toleranceSeconds = 300;

/**
 * Verifies an event that deliver-webhooks sent (Standard Webhooks), with web crypto alone.
 *
 * @param body - the body as it came: what was parsed and written again has another signature
 * @param headers - of the request
 * @param secret - TOKEN_WEBHOOK_SECRET_ and the endpoint's name: `whsec_…`, or several with spaces between while it changes
 * @returns the event. It may come twice: its `webhook-id` stays the same
 * @throws {TokenWebhookError} when it was not signed with any of the secrets, or more than 5 minutes from now
 * @throws {TypeError} when a secret is not one
 * @example
 * ```ts
 * const event = await verifyTokenWebhook(await request.text(), request.headers, secret);
 * if (event.type === "token_plan.changed") show(event.data.user_id, event.data.plan_type);
 * ```
 */
export async function verifyTokenWebhook(
  body: string,
  headers: TokenWebhookHeaders,
  secret: string,
): Promise<TokenWebhook> {
  const keys = await Promise.all(secret.trim().split(/\s+/).map(keyOf));
  const id = header(headers, "webhook-id");
  const time = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature").split(" ");

  if (!/^\d{1,12}$/.test(time)) throw new TokenWebhookError("webhook-timestamp is not a time");
  if (Math.abs(Date.now() / 1000 - Number(time)) > toleranceSeconds) {
    throw new TokenWebhookError("webhook-timestamp is more than 5 minutes from now");
  }
  const signed = new TextEncoder().encode(`${id}.${time}.${body}`);
  for (const signature of signatures) {
    const bytes = signature.startsWith("v1,") ? decoded(signature.slice(3)) : undefined;
    if (!bytes) continue;
    for (const key of keys) {
      // compares in constant time
      if (await crypto.subtle.verify("HMAC", key, bytes, signed)) return JSON.parse(body) as TokenWebhook;
    }
  }
  throw new TokenWebhookError("no signature is of this secret");
}

async function keyOf(secret: string): Promise<CryptoKey> {
  const bytes = secret.startsWith("whsec_") ? decoded(secret.slice(6)) : undefined;
  // an empty key would take what anybody signs
  if (!bytes || bytes.length < 24) throw new TypeError("a secret is whsec_ and at least 24 bytes in base64");
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

function header(headers: TokenWebhookHeaders, name: string): string {
  const value =
    typeof headers.get === "function" ? headers.get(name) : (headers as Record<string, unknown>)[name];
  if (typeof value !== "string" || !value) throw new TokenWebhookError(`${name} is missing`);
  return value;
}

function decoded(base64: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.replace(/=+$/, "").length % 4 === 1) return undefined;
  return Uint8Array.from(atob(base64), (it) => it.charCodeAt(0));
}
