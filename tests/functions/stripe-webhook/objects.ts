/**
 * Stripe's events with every field that Stripe documents for them, in the shapes of two times: API versions until
 * 2025-02-24, and those since 2025-03-31, when an invoice lost its payment, its lines their price, and a subscription
 * its period. Made from the published field lists; a plan of 9.00 unless something else is said.
 */

/** What is different about an object. */
export type Parts = Record<string, unknown>;

/** An event with what it is about. */
export type StripeEvent = Parts & { id: string; type: string; data: { object: Parts } };

/** Versions of the API that the fixtures are written in. */
export const versions = {
  june2024: "2024-06-20",
  november2024: "2024-11-20.acacia",
  may2026: "2026-05-27.dahlia",
  october2026: "2026-10-28.endive",
} as const;
export type Version = (typeof versions)[keyof typeof versions];

/** Whether an object is of the earlier shape. */
const isEarly = (version: Version) => version < "2025-03-31";

/** When all that the fixtures speak of began: an hour ago. */
export const now = Math.floor(Date.now() / 1000) - 3600;

const days = 86_400;
const month = { start: now, end: now + 30 * days };

/** @param second when it happened, after {@link now} */
export function eventOf(
  version: Version,
  type: string,
  object: Parts,
  id: string,
  second: number,
): StripeEvent {
  return {
    id,
    object: "event",
    api_version: version,
    created: now + second,
    data: { object },
    livemode: true,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    type,
  };
}

export const list = (data: readonly object[], url: string, has_more = false) => ({
  object: "list",
  data,
  has_more,
  url,
});

/** A price, as it is sent along with what was sold at it. */
const priceOf = (id: string, amount: number, currency: string, interval: "month" | null) => ({
  id,
  object: "price",
  active: true,
  billing_scheme: "per_unit",
  created: now - 86_400,
  currency,
  custom_unit_amount: null,
  livemode: true,
  lookup_key: null,
  metadata: {},
  nickname: null,
  product: `prod_of_${id}`,
  recurring: interval && {
    interval,
    interval_count: 1,
    meter: null,
    trial_period_days: null,
    usage_type: "licensed",
  },
  tax_behavior: "unspecified",
  tiers_mode: null,
  transform_quantity: null,
  type: interval === null ? "one_time" : "recurring",
  unit_amount: amount,
  unit_amount_decimal: String(amount),
});

/** A line item of a Checkout Session. */
export const itemOf = (price: string, quantity: number | null = 1, amount = 900) => ({
  id: `li_${price}`,
  object: "item",
  adjustable_quantity: null,
  amount_discount: 0,
  amount_subtotal: amount * (quantity ?? 0),
  amount_tax: 0,
  amount_total: amount * (quantity ?? 0),
  currency: "usd",
  description: "What it is called",
  metadata: {},
  price: priceOf(price, amount, "usd", null),
  quantity,
});

/** A Checkout Session of a single payment, as our server makes it. */
export const sessionOf = (version: Version, id: string, userId: string | null, parts: Parts = {}): Parts => ({
  id,
  object: "checkout.session",
  after_expiration: null,
  allow_promotion_codes: null,
  amount_subtotal: 900,
  amount_total: 900,
  automatic_tax: { enabled: false, liability: null, status: null },
  billing_address_collection: null,
  cancel_url: "https://example.com/",
  client_reference_id: userId,
  client_secret: null,
  consent: null,
  consent_collection: null,
  created: now,
  currency: "usd",
  currency_conversion: null,
  custom_fields: [],
  custom_text: {
    after_submit: null,
    shipping_address: null,
    submit: null,
    terms_of_service_acceptance: null,
  },
  customer: null,
  customer_creation: "if_required",
  customer_details: {
    address: { city: null, country: "DE", line1: null, line2: null, postal_code: null, state: null },
    email: "buyer@example.com",
    name: "A Buyer",
    phone: null,
    tax_exempt: "none",
    tax_ids: [],
  },
  customer_email: null,
  expires_at: now + 86_400,
  invoice: null,
  invoice_creation: {
    enabled: false,
    invoice_data: {
      account_tax_ids: null,
      custom_fields: null,
      description: null,
      footer: null,
      issuer: null,
      metadata: {},
      rendering_options: null,
    },
  },
  livemode: true,
  locale: null,
  metadata: userId === null ? {} : { user_id: userId },
  mode: "payment",
  payment_intent: null,
  payment_link: null,
  payment_method_collection: "if_required",
  payment_method_configuration_details: null,
  payment_method_options: { card: { request_three_d_secure: "automatic" } },
  payment_method_types: ["card"],
  payment_status: "paid",
  phone_number_collection: { enabled: false },
  recovered_from: null,
  saved_payment_method_options: null,
  setup_intent: null,
  shipping_address_collection: null,
  shipping_cost: null,
  shipping_options: [],
  status: "complete",
  submit_type: null,
  subscription: null,
  success_url: "https://example.com/thanks",
  total_details: { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
  ui_mode: "hosted",
  url: null,
  ...(isEarly(version)
    ? { shipping_details: null }
    : {
        adaptive_pricing: { enabled: true },
        branding_settings: null,
        collected_information: { business_name: null, individual_name: null, shipping_details: null },
        customer_account: null,
        discounts: [],
        integration_identifier: null,
        managed_payments: null,
        name_collection: null,
        optional_items: [],
        origin_context: null,
        permissions: null,
        presentment_details: null,
        wallet_options: null,
      }),
  ...parts,
});

/** One line of an invoice, in words that both shapes have. */
export interface Line {
  price: string | null;
  amount?: number;
  quantity?: number | null;
  isProration?: boolean;
  /** The invoice that had what this line credits. */
  credits?: string;
  /** What a coupon took off; `amount` is without it. */
  discount?: number;
  /** For itself, and not a subscription's. */
  isOnce?: boolean;
  /** Of the period before. */
  isEarlier?: boolean;
}

function lineOf(
  version: Version,
  subscription: string | null,
  currency: string,
  line: Line,
  n: number,
): Parts {
  const {
    price,
    amount = 900,
    quantity = 1,
    isProration = false,
    credits,
    discount = 0,
    isOnce = false,
    isEarlier = false,
  } = line;
  const its = isOnce ? null : subscription;
  const proration_details = {
    credited_items: credits === undefined ? null : { invoice: credits, invoice_line_items: ["il_0"] },
  };
  const both = {
    id: `il_${n}`,
    object: "line_item",
    amount,
    currency,
    description: amount === 0 ? "Trial period for Starter" : "1 × Starter (at $9.00 / month)",
    discount_amounts: discount === 0 ? [] : [{ amount: discount, discount: "di_1" }],
    discountable: !isProration,
    discounts: discount === 0 ? [] : ["di_1"],
    invoice: "in_1",
    livemode: true,
    metadata: {},
    period: isEarlier ? { start: now - 30 * days, end: now } : month,
    quantity,
  };
  if (isEarly(version)) {
    const whole = price === null ? null : priceOf(price, amount, currency, isOnce ? null : "month");
    return {
      ...both,
      amount_excluding_tax: amount,
      plan: whole &&
        its && {
          id: price,
          object: "plan",
          active: true,
          amount,
          currency,
          interval: "month",
          interval_count: 1,
        },
      price: whole,
      proration: isProration,
      proration_details,
      subscription: its,
      ...(its !== null && { subscription_item: "si_1" }),
      tax_amounts: [],
      tax_rates: [],
      type: isOnce || isProration ? "invoiceitem" : "subscription",
      unit_amount_excluding_tax: String(amount),
    };
  }
  const details = {
    invoice_item: null,
    proration: isProration,
    proration_details: isProration ? proration_details : null,
    subscription: its,
  };
  return {
    ...both,
    parent: isOnce
      ? {
          invoice_item_details: { ...details, invoice_item: "ii_1" },
          subscription_item_details: null,
          type: "invoice_item_details",
        }
      : {
          invoice_item_details: null,
          subscription_item_details: { ...details, subscription_item: "si_1" },
          type: "subscription_item_details",
        },
    pretax_credit_amounts: [],
    pricing: price && {
      price_details: { price, product: `prod_of_${price}` },
      type: "price_details",
      unit_amount_decimal: String(amount),
    },
    quantity_decimal: quantity === null ? null : String(quantity),
    subscription: its,
    subtotal: amount,
    taxes: [],
  };
}

/** One payment of an invoice, since 2025-03-31. */
export const invoicePaymentOf = (
  invoice: string,
  intent: string,
  amount = 900,
  parts: Parts = {},
): Parts => ({
  id: `inpay_${intent}`,
  object: "invoice_payment",
  amount_paid: amount,
  amount_requested: amount,
  created: now,
  currency: "usd",
  invoice,
  is_default: true,
  livemode: true,
  payment: { payment_intent: intent, type: "payment_intent" },
  status: "paid",
  status_transitions: { canceled_at: null, paid_at: now },
  ...parts,
});

/** Lines, as they come in an invoice and from the API. */
export const linesOf = (
  version: Version,
  subscription: string | null,
  lines: readonly Line[],
  currency = "usd",
) => lines.map((line, n) => lineOf(version, subscription, currency, line, n));

/**
 * An invoice that was paid.
 *
 * @param intent what paid it, in versions that say so; null for none
 */
export function invoiceOf(
  version: Version,
  it: {
    id: string;
    userId: string | null;
    subscription?: string | null;
    intent?: string | null;
    lines: readonly Line[];
    currency?: string;
    /** What was paid: without it, what the lines come to. */
    paid?: number;
  },
  parts: Parts = {},
): Parts {
  const { id, userId, subscription = "sub_1", intent = null, lines, currency = "usd" } = it;
  const subtotal = lines.reduce((sum, { amount = 900 }) => sum + amount, 0);
  const total = subtotal - lines.reduce((sum, { discount = 0 }) => sum + discount, 0);
  const amount_paid = it.paid ?? Math.max(total, 0);
  const metadata = userId === null ? {} : { user_id: userId };
  return {
    id,
    object: "invoice",
    account_country: "DE",
    account_name: "The project",
    account_tax_ids: null,
    amount_due: amount_paid,
    amount_paid,
    amount_remaining: 0,
    amount_shipping: 0,
    application: null,
    attempt_count: 1,
    attempted: true,
    auto_advance: false,
    automatic_tax: { enabled: false, liability: null, status: null },
    billing_reason: subscription === null ? "manual" : "subscription_create",
    collection_method: "charge_automatically",
    created: now,
    currency,
    custom_fields: null,
    customer: null,
    customer_address: null,
    customer_email: "buyer@example.com",
    customer_name: "A Buyer",
    customer_phone: null,
    customer_shipping: null,
    customer_tax_exempt: "none",
    customer_tax_ids: [],
    default_payment_method: null,
    default_source: null,
    default_tax_rates: [],
    description: null,
    discounts: [],
    due_date: null,
    effective_at: now,
    ending_balance: 0,
    footer: null,
    from_invoice: null,
    hosted_invoice_url: "https://invoice.stripe.com/i/acct_1/live_1",
    invoice_pdf: "https://pay.stripe.com/invoice/acct_1/live_1/pdf",
    issuer: { type: "self" },
    last_finalization_error: null,
    latest_revision: null,
    lines: list(linesOf(version, subscription, lines, currency), `/v1/invoices/${id}/lines`),
    livemode: true,
    metadata: subscription === null ? metadata : {},
    next_payment_attempt: null,
    number: "ABCDEF-0001",
    on_behalf_of: null,
    payment_settings: { default_mandate: null, payment_method_options: null, payment_method_types: null },
    period_end: now,
    period_start: now,
    post_payment_credit_notes_amount: 0,
    pre_payment_credit_notes_amount: 0,
    receipt_number: null,
    rendering: null,
    shipping_cost: null,
    shipping_details: null,
    starting_balance: 0,
    statement_descriptor: null,
    status: "paid",
    status_transitions: { finalized_at: now, marked_uncollectible_at: null, paid_at: now, voided_at: null },
    subtotal,
    subtotal_excluding_tax: subtotal,
    test_clock: null,
    total,
    total_discount_amounts: [],
    total_excluding_tax: total,
    webhooks_delivered_at: now,
    ...(isEarly(version)
      ? {
          application_fee_amount: null,
          charge: intent === null ? null : `ch_of_${intent}`,
          discount: null,
          paid: true,
          paid_out_of_band: false,
          payment_intent: intent,
          quote: null,
          subscription,
          subscription_details: subscription === null ? { metadata: null } : { metadata },
          tax: null,
          total_tax_amounts: [],
          transfer_data: null,
        }
      : {
          amount_overpaid: 0,
          customer_account: null,
          parent:
            subscription === null
              ? null
              : {
                  quote_details: null,
                  subscription_details: { metadata, subscription, subscription_proration_date: null },
                  type: "subscription_details",
                },
          total_pretax_credit_amounts: [],
          total_taxes: [],
        }),
    ...parts,
  };
}

/** A payment that succeeded, with what our server wrote into it. */
export const paymentIntentOf = (version: Version, id: string, metadata: Parts, amount = 900): Parts => ({
  id,
  object: "payment_intent",
  amount,
  amount_capturable: 0,
  amount_details: { tip: {} },
  amount_received: amount,
  application: null,
  application_fee_amount: null,
  automatic_payment_methods: { allow_redirects: "never", enabled: true },
  canceled_at: null,
  cancellation_reason: null,
  capture_method: "automatic_async",
  client_secret: `${id}_secret_1`,
  confirmation_method: "automatic",
  created: now,
  currency: "usd",
  customer: null,
  description: null,
  last_payment_error: null,
  latest_charge: `ch_of_${id}`,
  livemode: true,
  metadata,
  next_action: null,
  on_behalf_of: null,
  payment_method: "pm_1",
  payment_method_configuration_details: null,
  payment_method_options: { card: { request_three_d_secure: "automatic" } },
  payment_method_types: ["card"],
  processing: null,
  receipt_email: null,
  review: null,
  setup_future_usage: null,
  shipping: null,
  source: null,
  statement_descriptor: null,
  statement_descriptor_suffix: null,
  status: "succeeded",
  transfer_data: null,
  transfer_group: null,
  ...(isEarly(version)
    ? { invoice: null }
    : {
        customer_account: null,
        excluded_payment_method_types: null,
        hooks: null,
        presentment_details: null,
      }),
});

export const refundOf = (
  version: Version,
  id: string,
  intent: string | null,
  status: string,
  amount: number,
  parts: Parts = {},
): Parts => ({
  id,
  object: "refund",
  amount,
  balance_transaction: "txn_1",
  charge: intent && `ch_of_${intent}`,
  created: now,
  currency: "usd",
  destination_details: {
    card: { reference_status: "pending", reference_type: "acquirer_reference_number", type: "refund" },
    type: "card",
  },
  ...(status === "failed" && {
    failure_balance_transaction: "txn_2",
    failure_reason: "expired_or_canceled_card",
  }),
  metadata: {},
  payment_intent: intent,
  reason: null,
  receipt_number: null,
  source_transfer_reversal: null,
  status,
  transfer_reversal: null,
  ...(!isEarly(version) && {
    customer: null,
    customer_account: null,
    payment_method: null,
    presentment_details: null,
  }),
  ...parts,
});

/** A credit note of an invoice that was paid: so much in all, of that so much in refunds, the rest into the balance. */
export const creditNoteOf = (
  version: Version,
  id: string,
  invoice: string,
  amount: number,
  { refunded = 0, refund = "re_1", outOfBand = 0 } = {},
): Parts => ({
  id,
  object: "credit_note",
  amount,
  amount_shipping: 0,
  created: now,
  currency: "usd",
  customer: `cus_of_${invoice}`,
  customer_balance_transaction: refunded + outOfBand < amount ? `cbtxn_of_${id}` : null,
  discount_amount: 0,
  discount_amounts: [],
  effective_at: now,
  invoice,
  lines: list([], `/v1/credit_notes/${id}/lines`),
  livemode: false,
  memo: null,
  metadata: {},
  number: "A-0001-CN-01",
  out_of_band_amount: outOfBand || null,
  pdf: "https://pay.stripe.com/credit_notes/pdf",
  pretax_credit_amounts: [],
  reason: "order_change",
  shipping_cost: null,
  status: "issued",
  subtotal: amount,
  subtotal_excluding_tax: amount,
  total: amount,
  total_excluding_tax: amount,
  type: "post_payment",
  voided_at: null,
  ...(isEarly(version)
    ? { refund: refunded > 0 ? refund : null, tax_amounts: [] }
    : {
        customer_account: null,
        post_payment_amount: amount,
        pre_payment_amount: 0,
        refunds:
          refunded > 0
            ? [{ amount_refunded: refunded, payment_record_refund: null, refund, type: "refund" }]
            : [],
        total_taxes: [],
      }),
});

/** A charge of which so much has been refunded. */
export const chargeOf = (version: Version, intent: string, refunded: number, parts: Parts = {}): Parts => ({
  id: `ch_of_${intent}`,
  object: "charge",
  amount: 900,
  amount_captured: 900,
  amount_refunded: refunded,
  application: null,
  application_fee: null,
  application_fee_amount: null,
  balance_transaction: "txn_1",
  billing_details: { address: {}, email: "buyer@example.com", name: "A Buyer", phone: null, tax_id: null },
  calculated_statement_descriptor: "THE PROJECT",
  captured: true,
  created: now,
  currency: "usd",
  customer: null,
  description: null,
  disputed: false,
  failure_balance_transaction: null,
  failure_code: null,
  failure_message: null,
  fraud_details: {},
  livemode: true,
  metadata: {},
  on_behalf_of: null,
  outcome: { network_status: "approved_by_network", reason: null, risk_level: "normal", type: "authorized" },
  paid: true,
  payment_intent: intent,
  payment_method: "pm_1",
  payment_method_details: { card: { brand: "visa", last4: "4242" }, type: "card" },
  receipt_email: null,
  receipt_number: null,
  receipt_url: "https://pay.stripe.com/receipts/1",
  refunded: refunded === 900,
  review: null,
  shipping: null,
  source: null,
  source_transfer: null,
  statement_descriptor: null,
  statement_descriptor_suffix: null,
  status: "succeeded",
  transfer_data: null,
  transfer_group: null,
  ...(isEarly(version) && {
    destination: null,
    dispute: null,
    failure_balance_transaction: null,
    invoice: "in_1",
    order: null,
  }),
  ...parts,
});

/** Money that a dispute moved. */
export const movementOf = (amount: number): Parts => ({
  id: `txn_${amount}`,
  object: "balance_transaction",
  amount,
  available_on: now,
  created: now,
  currency: "usd",
  description: "Chargeback withdrawal for ch_1",
  exchange_rate: null,
  fee: amount < 0 ? 1500 : 0,
  fee_details: [],
  net: amount < 0 ? amount - 1500 : amount,
  reporting_category: amount < 0 ? "dispute" : "dispute_reversal",
  source: "dp_1",
  status: "available",
  type: "adjustment",
});

export const disputeOf = (
  version: Version,
  id: string,
  intent: string,
  status: string,
  parts: Parts = {},
): Parts => ({
  id,
  object: "dispute",
  amount: 900,
  balance_transactions: [],
  charge: `ch_of_${intent}`,
  created: now,
  currency: "usd",
  evidence: { customer_email_address: "buyer@example.com", uncategorized_text: null },
  evidence_details: { due_by: now + 7 * 86_400, has_evidence: false, past_due: false, submission_count: 0 },
  is_charge_refundable: status.startsWith("warning_"),
  livemode: true,
  metadata: {},
  payment_intent: intent,
  payment_method_details: {
    card: { brand: "visa", case_type: "chargeback", network_reason_code: "10.4" },
    type: "card",
  },
  reason: "fraudulent",
  status,
  ...(!isEarly(version) && { enhanced_eligibility_types: [], intended_submission_method: null }),
  ...parts,
});

/** A subscription to one price. */
export function subscriptionOf(
  version: Version,
  it: { id: string; userId: string | null; price: string; status: string },
  parts: Parts = {},
): Parts {
  const period = { current_period_start: month.start, current_period_end: month.end };
  const item = {
    id: "si_1",
    object: "subscription_item",
    billing_thresholds: null,
    created: now,
    discounts: [],
    metadata: {},
    plan: {
      id: it.price,
      object: "plan",
      active: true,
      amount: 900,
      currency: "usd",
      interval: "month",
      interval_count: 1,
    },
    price: priceOf(it.price, 900, "usd", "month"),
    quantity: 1,
    subscription: it.id,
    tax_rates: [],
    ...(!isEarly(version) && period),
  };
  return {
    id: it.id,
    object: "subscription",
    application: null,
    application_fee_percent: null,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: now,
    billing_cycle_anchor_config: null,
    billing_thresholds: null,
    cancel_at: null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { comment: null, feedback: null, reason: null },
    collection_method: "charge_automatically",
    created: now,
    currency: "usd",
    customer: null,
    days_until_due: null,
    default_payment_method: "pm_1",
    default_source: null,
    default_tax_rates: [],
    description: null,
    discounts: [],
    ended_at: null,
    invoice_settings: { account_tax_ids: null, issuer: { type: "self" } },
    items: list([item], `/v1/subscription_items?subscription=${it.id}`),
    latest_invoice: "in_1",
    livemode: true,
    metadata: it.userId === null ? {} : { user_id: it.userId },
    next_pending_invoice_item_invoice: null,
    on_behalf_of: null,
    pause_collection: null,
    payment_settings: {
      payment_method_options: null,
      payment_method_types: null,
      save_default_payment_method: "off",
    },
    pending_invoice_item_interval: null,
    pending_setup_intent: null,
    pending_update: null,
    schedule: null,
    start_date: now,
    status: it.status,
    test_clock: null,
    transfer_data: null,
    trial_end: null,
    trial_settings: { end_behavior: { missing_payment_method: "create_invoice" } },
    trial_start: null,
    ...(isEarly(version)
      ? { ...period, discount: null, plan: item.plan, quantity: 1 }
      : {
          billing_mode: { flexible: null, type: "flexible" },
          billing_schedules: [],
          customer_account: null,
          managed_payments: null,
          presentment_details: null,
        }),
    ...parts,
  };
}

/** A thin event: what changed is to be asked for. */
export const thinOf = (id: string): Parts => ({
  id,
  object: "v2.core.event",
  context: null,
  created: new Date(now * 1000).toISOString(),
  livemode: true,
  reason: null,
  related_object: { id: "ch_1", type: "charge", url: "/v1/charges/ch_1" },
  type: "v1.charge.refunded",
});
