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
  /** What it tells by GET, by path: subscriptions, their plans, refunds. */
  places: Map<string, object>;
  /** Makes every answer but those of its sign-in fail in that way, or those of one place; 200 ends it. */
  fail(status: number, place?: string): void;
  /** Takes every access token back. */
  signOut(): void;
}

export async function startPaypal(): Promise<PaypalStandIn> {
  const places: PaypalStandIn["places"] = new Map();
  const basic = Buffer.from(`${client.PAYPAL_CLIENT_ID}:${client.PAYPAL_CLIENT_SECRET}`).toString("base64");
  let token: string = randomUUID();
  let failing = { status: 200, place: "/" };
  const standIn = await startStandIn(({ method, path, headers, body }) => {
    if (path === "/v1/oauth2/token") {
      const mayEnter =
        headers["authorization"] === `Basic ${basic}` && body === "grant_type=client_credentials";
      return mayEnter
        ? { body: { access_token: token, token_type: "Bearer", expires_in: 32_400 } }
        : { status: 401, body: { error: "invalid_client" } };
    }
    if (headers["authorization"] !== `Bearer ${token}`) return { status: 401, body: {} };
    if (failing.status !== 200 && path.startsWith(failing.place)) {
      return { status: failing.status, body: { name: "INTERNAL_SERVER_ERROR" } };
    }
    if (path === "/v1/notifications/verify-webhook-signature") {
      return isReadable(body)
        ? { body: { verification_status: isMine(body) ? "SUCCESS" : "FAILURE" } }
        : { status: 400, body: { name: "VALIDATION_ERROR" } };
    }
    const found = method === "GET" ? places.get(path) : undefined;
    return found === undefined ? { status: 404, body: { name: "RESOURCE_NOT_FOUND" } } : { body: found };
  });
  return {
    ...standIn,
    places,
    settings: { ...client, PAYPAL_WEBHOOK_ID: webhookId, PAYPAL_API_BASE: standIn.url },
    fail: (status, place = "/") => void (failing = { status, place }),
    signOut: () => void (token = randomUUID()),
  };
}

/** Only webhooks that PayPal knows can be asked for: ours, and one that a forger has made. */
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

/** An event as PayPal sends it. `at` is when it happened: what is told last counts. */
export const event = (type: string, resource: object, { id = fresh("WH-"), at = moment() } = {}) => ({
  id,
  event_version: "1.0",
  create_time: at,
  resource_type: type.split(".")[1]!.toLowerCase(),
  event_type: type,
  summary: type,
  resource,
  links: [
    { href: `${api}/v1/notifications/webhooks-events/${id}`, rel: "self", method: "GET" },
    { href: `${api}/v1/notifications/webhooks-events/${id}/resend`, rel: "resend", method: "POST" },
  ],
});

const api = "https://api.paypal.com";

let seconds = 0;

/** A moment of this year, later than those before. */
export const moment = () => new Date(Date.UTC(2026, 10, 1) + 1000 * ++seconds).toISOString();

export const usd = (value: string, currency = "USD") => ({ currency_code: currency, value });

/** A capture (v2): one payment of an order. */
export const capture = (
  id: string,
  customId?: string,
  value = "9.00",
  currency = "USD",
  type = "COMPLETED",
  status = type,
) =>
  event(`PAYMENT.CAPTURE.${type}`, {
    id,
    status,
    amount: usd(value, currency),
    final_capture: true,
    disbursement_mode: "INSTANT",
    seller_protection: {
      status: "ELIGIBLE",
      dispute_categories: ["ITEM_NOT_RECEIVED", "UNAUTHORIZED_TRANSACTION"],
    },
    seller_receivable_breakdown: { gross_amount: usd(value, currency), net_amount: usd(value, currency) },
    ...(customId !== undefined && { custom_id: customId }),
    supplementary_data: { related_ids: { order_id: "1AB234567A1234567" } },
    create_time: "2026-11-01T10:00:00Z",
    update_time: "2026-11-01T10:00:00Z",
    links: [
      { href: `${api}/v2/payments/captures/${id}`, rel: "self", method: "GET" },
      { href: `${api}/v2/payments/captures/${id}/refund`, rel: "refund", method: "POST" },
      { href: `${api}/v2/checkout/orders/1AB234567A1234567`, rel: "up", method: "GET" },
    ],
  });

/** A capture as it was before 2018 (v1). */
export const captureV1 = (id: string, total = "9.00") =>
  event("PAYMENT.CAPTURE.COMPLETED", {
    id,
    state: "completed",
    amount: { total, currency: "USD", details: { subtotal: total } },
    is_final_capture: true,
    parent_payment: "PAY-1PA12106FU478450MKRETS4A",
    create_time: "2026-11-01T10:00:00Z",
    links: [{ href: `${api}/v1/payments/capture/${id}`, rel: "self", method: "GET" }],
  });

interface RefundOptions {
  refund?: string;
  type?: string;
  status?: string;
  at?: string;
  currency?: string;
}

/** A refund of a capture (v2), or its reversal. */
export const captureRefund = (
  payment: string,
  amount: string,
  {
    refund = fresh(),
    type = "CAPTURE.REFUNDED",
    status = "COMPLETED",
    at = moment(),
    currency = "USD",
  }: RefundOptions = {},
) =>
  event(
    `PAYMENT.${type}`,
    {
      id: refund,
      status,
      amount: usd(amount, currency),
      seller_payable_breakdown: {
        gross_amount: usd(amount, currency),
        paypal_fee: usd("0.00", currency),
        net_amount: usd(amount, currency),
        total_refunded_amount: usd(amount, currency),
      },
      create_time: at,
      update_time: at,
      links: [
        { href: `${api}/v2/payments/refunds/${refund}`, rel: "self", method: "GET" },
        { href: `${api}/v2/payments/captures/${payment}`, rel: "up", method: "GET" },
      ],
    },
    { at },
  );

export const captureReversal = (payment: string, amount: string, options: RefundOptions = {}) =>
  captureRefund(payment, amount, { ...options, type: "CAPTURE.REVERSED" });

interface SaleOptions {
  total?: string;
  currency?: string;
  details?: Record<string, string>;
  time?: string;
  type?: string;
}

/** A sale (v1): one payment of a subscription, by the subscription's id. */
export const sale = (
  id: string,
  subscription: string | undefined,
  {
    total = "9.00",
    currency = "USD",
    details,
    time = "2026-11-01T10:00:00Z",
    type = "COMPLETED",
  }: SaleOptions = {},
) =>
  event(`PAYMENT.SALE.${type}`, {
    id,
    state: type.toLowerCase(),
    amount: { total, currency, details: details ?? { subtotal: total } },
    payment_mode: "INSTANT_TRANSFER",
    protection_eligibility: "ELIGIBLE",
    transaction_fee: { value: "0.56", currency },
    invoice_number: "",
    ...(subscription !== undefined && { billing_agreement_id: subscription }),
    create_time: time,
    update_time: time,
    links: [
      { href: `${api}/v1/payments/sale/${id}`, rel: "self", method: "GET" },
      { href: `${api}/v1/payments/sale/${id}/refund`, rel: "refund", method: "POST" },
    ],
  });

/** A refund of a sale (v1): the amount has a minus, and nothing says what was refunded in all. */
export const saleRefund = (
  payment: string,
  total: string,
  { refund = fresh(), status = "completed", at = moment() }: RefundOptions = {},
) =>
  event(
    "PAYMENT.SALE.REFUNDED",
    {
      id: refund,
      sale_id: payment,
      state: status,
      amount: { total: `-${total}`, currency: "USD" },
      create_time: at,
      update_time: at,
      links: [
        { href: `${api}/v1/payments/refund/${refund}`, rel: "self", method: "GET" },
        { href: `${api}/v1/payments/sale/${payment}`, rel: "sale", method: "GET" },
      ],
    },
    { at },
  );

/** The reversal of a sale (v1). `id` is what the resource is called by: the sale's own id, or the reversal's. */
export const saleReversal = (id: string, total: string, reversal = fresh()) =>
  event("PAYMENT.SALE.REVERSED", {
    id,
    state: "completed",
    amount: { total: `-${total}`, currency: "USD", details: { subtotal: `-${total}` } },
    create_time: "2026-11-20T10:00:00Z",
    links: [{ href: `${api}/v1/payments/refund/${reversal}`, rel: "self", method: "GET" }],
  });

interface DisputeOptions {
  /** Default: one of its own. */
  dispute?: string;
  outcome?: string;
  stage?: "INQUIRY" | "CHARGEBACK" | "PRE_ARBITRATION" | "ARBITRATION";
  /** In all. */
  amount?: string;
  /** Of each payment. */
  gross?: string;
  /** What the buyer got in the end. */
  refunded?: string;
  status?: string;
  at?: string;
}

export const dispute = (
  type: "CREATED" | "UPDATED" | "RESOLVED",
  payments: string[],
  {
    dispute: id = fresh("PP-D-"),
    outcome,
    stage = "CHARGEBACK",
    gross = "9.00",
    amount = gross,
    refunded,
    status = outcome === undefined ? "UNDER_REVIEW" : "RESOLVED",
    at = moment(),
  }: DisputeOptions = {},
) =>
  event(
    `CUSTOMER.DISPUTE.${type}`,
    {
      dispute_id: id,
      create_time: at,
      update_time: at,
      disputed_transactions: payments.map((payment) => ({
        buyer_transaction_id: `B-${payment}`,
        seller_transaction_id: payment,
        create_time: "2026-11-01T10:00:00Z",
        transaction_status: "COMPLETED",
        gross_amount: usd(gross),
        seller: { merchant_id: "5U29WL78XSAEL", name: "Merchant" },
      })),
      reason: "UNAUTHORISED",
      status,
      dispute_amount: usd(amount),
      dispute_life_cycle_stage: stage,
      dispute_channel: "INTERNAL",
      ...(outcome !== undefined && {
        dispute_outcome: {
          outcome_code: outcome,
          ...(refunded !== undefined && { amount_refunded: usd(refunded) }),
        },
      }),
      links: [{ href: `${api}/v1/customer/disputes/${id}`, rel: "self", method: "GET" }],
    },
    { at },
  );

interface SubscriptionOptions {
  plan?: string;
  custom?: string;
  payer?: string;
  status?: string;
  quantity?: string | number;
  failures?: number;
  nextBilling?: string;
  /** Whether it has prices and fees of its own. */
  isOverridden?: boolean;
  /** How many regular periods have been paid for, and when the last payment was. */
  cycles?: number;
  lastPayment?: string;
}

/** A subscription (v2), as PayPal tells it when asked and in its events. */
export const subscription = (
  id: string,
  {
    plan = "P-STARTER",
    custom,
    payer = "2J6QB8YJQSJRJ",
    status = "ACTIVE",
    quantity = "1",
    failures = 0,
    nextBilling = "2026-12-01T10:00:00Z",
    isOverridden = false,
    cycles = 1,
    lastPayment = "2026-11-01T10:00:00Z",
  }: SubscriptionOptions = {},
) => ({
  id,
  status,
  status_update_time: "2026-11-01T10:00:00Z",
  plan_id: plan,
  plan_overridden: isOverridden,
  start_time: "2026-11-01T10:00:00Z",
  quantity,
  subscriber: {
    name: { given_name: "John", surname: "Doe" },
    email_address: "buyer@example.com",
    payer_id: payer,
  },
  billing_info: {
    outstanding_balance: usd("0.00"),
    cycle_executions: [
      { tenure_type: "TRIAL", sequence: 1, cycles_completed: 1, cycles_remaining: 0, total_cycles: 1 },
      { tenure_type: "REGULAR", sequence: 2, cycles_completed: cycles, cycles_remaining: 0, total_cycles: 0 },
    ],
    last_payment: { amount: usd("9.00"), time: lastPayment },
    next_billing_time: nextBilling,
    failed_payments_count: failures,
  },
  ...(custom !== undefined && { custom_id: custom }),
  create_time: "2026-11-01T10:00:00Z",
  update_time: "2026-11-01T10:00:00Z",
  links: [{ href: `${api}/v1/billing/subscriptions/${id}`, rel: "self", method: "GET" }],
});

/** How a subscription stands now. */
export const subscriptionEvent = (type: string, id: string, options: SubscriptionOptions) =>
  event(`BILLING.SUBSCRIPTION.${type}`, subscription(id, options));

/** An agreement, as subscriptions were called before (v1). */
export const agreementEvent = (type: string, id: string, state: string, payer: string) =>
  event(`BILLING.SUBSCRIPTION.${type}`, {
    id,
    state,
    description: "An agreement",
    plan: {
      curr_code: "USD",
      payment_definitions: [{ type: "REGULAR", frequency: "Month", amount: { value: "9.00" } }],
    },
    payer: {
      payment_method: "paypal",
      status: "verified",
      payer_info: { email: "buyer@example.com", payer_id: payer },
    },
    agreement_details: { outstanding_balance: { value: "0.00" }, last_payment_date: "2026-11-01T10:00:00Z" },
    start_date: "2026-11-01T10:00:00Z",
    links: [{ href: `${api}/v1/payments/billing-agreements/${id}`, rel: "self", method: "GET" }],
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
    "an event of the sandbox": [
      body.replaceAll("api.paypal.com", "api.sandbox.paypal.com"),
      {
        ...transmission(body, "WH-OF-THE-SANDBOX"),
        "paypal-cert-url": certUrl.replace("api.", "api.sandbox."),
      },
    ],
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
