/**
 * PayPal's events in the shapes that it documents, v1 and v2, and what becomes of each: for
 * outcomes.test.ts, and for docs/guides/payment-events.md.
 */
import type { Buyer, EventCase } from "../event-outcomes.ts";
import { type Fault, type Stack, startStack } from "../stack.ts";
import {
  agreementEvent,
  capture,
  captureRefund,
  captureReversal,
  captureV1,
  dispute,
  event,
  type PaypalStandIn,
  sale,
  saleRefund,
  saleReversal,
  subscription,
  subscriptionEvent,
  usd,
} from "./paypal.ts";

/** What a case's catalogue has: the plan starter for 9.00 USD, and packs of 50,000 tokens for 5.00 USD and 500 JPY. */
export const planTokens = 400_000;
export const packTokens = 50_000;
const catalogue = `
  update public.token_plans
     set paypal_plan_id = 'P-STARTER', former_paypal_plan_ids = '{P-OF-LAST-YEAR}' where plan_type = 'starter';
  insert into public.token_packs (pack_type, name, tokens, price_cents, currency)
  values ('small', 'Small', ${packTokens}, 500, 'usd'), ('yen', 'Yen', ${packTokens}, 500, 'jpy')`;

/**
 * The stack with that catalogue, asking that PayPal.
 *
 * @param fault makes it a known-bad variant
 */
export async function startShop(paypal: PaypalStandIn, fault?: Fault): Promise<Stack> {
  const stack = await startStack(paypal.settings, fault);
  await stack.db.admin.query(catalogue);
  return stack;
}

/** A case, and what PayPal tells by GET while it is tried. */
export interface PaypalCase extends EventCase {
  places?: (them: Buyer) => Record<string, object>;
}

const v1 = "v1";
const v2 = "v2";

/** A paid order for the plan, which most stories begin with. */
const ordered = (them: Buyer, name = "capture") => capture(them.id(name), `${them.userId}:starter`);

/** A paid sale of the buyer's subscription. */
const sold = (them: Buyer) => sale(them.id("sale"), them.id("I"));

const subscribed =
  (options: Parameters<typeof subscription>[1] = {}, fee?: string) =>
  (them: Buyer): Record<string, object> => ({
    [`/v1/billing/subscriptions/${them.id("I")}`]: subscription(them.id("I"), {
      custom: them.userId,
      payer: them.id("PAYER"),
      ...options,
    }),
    ...(fee !== undefined && {
      "/v1/billing/plans/P-STARTER": planAtPaypal("P-STARTER", "9.00", fee),
    }),
  });

/** Two sales of a subscription at the plan's price, ten days after each other. */
const twice = (
  story: string,
  fee: string,
  { comes, ...options }: { comes: PaypalCase["comes"] } & Parameters<typeof subscribed>[0],
): PaypalCase => ({
  version: v1,
  type: "PAYMENT.SALE.COMPLETED",
  story,
  places: subscribed(options, fee),
  events: (them) => [
    sale(them.id("fee"), them.id("I"), { time: "2026-11-01T10:00:00Z" }),
    sale(them.id("sale"), them.id("I"), { time: "2026-11-11T10:00:00Z" }),
  ],
  comes,
});

/** A plan of PayPal's, as PayPal tells it. */
const planAtPaypal = (id: string, price: string, fee = "0.00") => ({
  id,
  status: "ACTIVE",
  billing_cycles: [
    {
      tenure_type: "REGULAR",
      sequence: 1,
      total_cycles: 0,
      frequency: { interval_unit: "MONTH", interval_count: 1 },
      pricing_scheme: { version: 1, fixed_price: usd(price) },
    },
  ],
  payment_preferences: { auto_bill_outstanding: true, setup_fee: usd(fee), payment_failure_threshold: 3 },
});

/** A dispute about the order, its outcome, and what is left of the tokens. */
const resolved = (outcome: string, story: string, tokens: number): PaypalCase => ({
  version: v1,
  type: "CUSTOMER.DISPUTE.RESOLVED",
  story: `a claim about an order ends with \`${outcome}\`: ${story}`,
  events: (them) => [
    ordered(them),
    dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D") }),
    dispute("RESOLVED", [them.id("capture")], { dispute: them.id("PP-D"), outcome }),
  ],
  comes: { outcomes: ["approved"], ...(tokens > 0 && { tokens }) },
});

/** The state of a subscription. */
const stands = (
  type: string,
  story: string,
  status: NonNullable<EventCase["comes"]["subscription"]>,
  options = {},
): PaypalCase => ({
  version: v2,
  type: `BILLING.SUBSCRIPTION.${type}`,
  story,
  events: (them) => [
    subscriptionEvent(type, them.id("I"), { custom: them.userId, payer: them.id("PAYER"), ...options }),
  ],
  comes: { outcomes: ["recorded"], subscription: status },
});

const parkedOrder = (
  story: string,
  custom: (them: Buyer) => string | undefined,
  parked: NonNullable<EventCase["comes"]["parked"]>,
  value?: string,
  currency?: string,
): PaypalCase => ({
  version: v2,
  type: "PAYMENT.CAPTURE.COMPLETED",
  story,
  events: (them) => [capture(them.id("capture"), custom(them), value, currency)],
  comes: { outcomes: ["parked"], parked },
});

const parkedSale = (
  story: string,
  parked: NonNullable<EventCase["comes"]["parked"]>,
  options: Parameters<typeof sale>[2],
  places = subscribed(),
): PaypalCase => ({
  version: v1,
  type: "PAYMENT.SALE.COMPLETED",
  story,
  places,
  events: (them) => [sale(them.id("sale"), them.id("I"), options)],
  comes: { outcomes: ["parked"], parked },
});

const nothing = (
  version: string,
  type: string,
  story: string,
  made: (them: Buyer) => object,
  note: string,
): PaypalCase => ({
  version,
  type,
  story,
  events: (them) => [made(them)],
  comes: { note },
});

/** By heading. */
export const paypalCases: Readonly<Record<string, readonly PaypalCase[]>> = {
  Orders: [
    {
      version: v2,
      type: "PAYMENT.CAPTURE.COMPLETED",
      story: "an order for a plan, at its price",
      events: (them) => [ordered(them)],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.COMPLETED",
      story: "an order for three packs, at three times the price",
      events: (them) => [capture(them.id("capture"), `${them.userId}:pack:small:3`, "15.00")],
      comes: { outcomes: ["approved"], tokens: 3 * packTokens },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.COMPLETED",
      story: "an order for a pack, in a currency without decimals",
      events: (them) => [capture(them.id("capture"), `${them.userId}:pack:yen:1`, "500", "JPY")],
      comes: { outcomes: ["approved"], tokens: packTokens },
    },
    parkedOrder("a cent for a plan of 9.00", ({ userId }) => `${userId}:starter`, "amount_differs", "0.01"),
    parkedOrder(
      "the price of one pack for five",
      ({ userId }) => `${userId}:pack:small:5`,
      "amount_differs",
      "5.00",
    ),
    parkedOrder(
      "the price in a weaker currency",
      ({ userId }) => `${userId}:starter`,
      "currency_differs",
      "9.00",
      "MXN",
    ),
    parkedOrder("no packs at all", ({ userId }) => `${userId}:pack:small:0`, "quantity_unknown", "5.00"),
    parkedOrder(
      "more packs than one payment may buy",
      ({ userId }) => `${userId}:pack:small:1001`,
      "quantity",
      "1001.00",
    ),
    parkedOrder("a plan that is none", ({ userId }) => `${userId}:gold`, "price_unknown"),
    parkedOrder("an order that names nothing", () => undefined, "nothing_named"),
    parkedOrder("an order that names a user who is none", () => "somebody:starter", "user_unknown"),
    nothing(v2, "PAYMENT.CAPTURE.PENDING", "an order that PayPal still looks at", (them) => capture(them.id("capture"), `${them.userId}:starter`, "9.00", "USD", "PENDING"), "nothing is paid yet"), // prettier-ignore
    nothing(v2, "PAYMENT.CAPTURE.DENIED", "an order that PayPal denies", (them) => capture(them.id("capture"), `${them.userId}:starter`, "9.00", "USD", "DENIED", "DECLINED"), "nothing was paid"), // prettier-ignore
    nothing(v2, "PAYMENT.CAPTURE.DECLINED", "an order that is declined", (them) => capture(them.id("capture"), `${them.userId}:starter`, "9.00", "USD", "DECLINED"), "nothing was paid"), // prettier-ignore
    {
      version: v1,
      type: "PAYMENT.CAPTURE.COMPLETED",
      story: "an order of the kind before 2018, which has no `custom_id`",
      events: (them) => [captureV1(them.id("capture"))],
      comes: { outcomes: ["parked"], parked: "nothing_named" },
    },
  ],
  "Refunds and reversals of orders": [
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REFUNDED",
      story: "all of an order",
      events: (them) => [ordered(them), captureRefund(them.id("capture"), "9.00")],
      comes: { outcomes: ["refunded"] },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REFUNDED",
      story: "a quarter of an order, after another quarter",
      events: (them) => [
        ordered(them),
        captureRefund(them.id("capture"), "2.25"),
        captureRefund(them.id("capture"), "2.25"),
      ],
      comes: { outcomes: ["approved"], tokens: planTokens / 2 },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REFUNDED",
      story: "all of an order that is not heard of yet",
      events: (them) => [captureRefund(them.id("capture"), "9.00")],
      comes: { outcomes: ["waiting"] },
    },
    {
      version: v2,
      type: "PAYMENT.REFUND.PENDING",
      story: "a refund that has begun (an eCheck): the money counts as gone",
      events: (them) => [
        ordered(them),
        captureRefund(them.id("capture"), "9.00", { type: "REFUND.PENDING", status: "PENDING" }),
      ],
      comes: { outcomes: ["refunded"] },
    },
    {
      version: v2,
      type: "PAYMENT.REFUND.FAILED",
      story: "a refund that had begun comes back",
      events: (them) => [
        ordered(them),
        captureRefund(them.id("capture"), "9.00", {
          refund: them.id("refund"),
          type: "REFUND.PENDING",
          status: "PENDING",
        }),
        captureRefund(them.id("capture"), "9.00", {
          refund: them.id("refund"),
          type: "REFUND.FAILED",
          status: "FAILED",
        }),
      ],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REFUNDED",
      story: "a refund that was cancelled",
      events: (them) => [ordered(them), captureRefund(them.id("capture"), "9.00", { status: "CANCELLED" })],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REVERSED",
      story: "PayPal takes all of an order back, and no dispute is known",
      events: (them) => [ordered(them), captureReversal(them.id("capture"), "9.00")],
      comes: { outcomes: ["approved"] },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REVERSED",
      story: "a third of an order, because of a dispute about that third: taken once",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { amount: "3.00" }),
        captureReversal(them.id("capture"), "3.00"),
      ],
      comes: { outcomes: ["approved"], tokens: Math.ceil((planTokens * 2) / 3) },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REVERSED",
      story:
        "all of an order, after a dispute about a ninth of it was withdrawn: that is over, and this is other money",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D"), amount: "1.00" }),
        dispute("RESOLVED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          amount: "1.00",
          outcome: "CANCELED_BY_BUYER",
        }),
        captureReversal(them.id("capture"), "9.00"),
      ],
      comes: { outcomes: ["approved"] },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story:
        "a dispute about a third of an order is won, during which PayPal took back all of it: the third is back",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D"), amount: "3.00" }),
        captureReversal(them.id("capture"), "9.00"),
        dispute("RESOLVED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          amount: "3.00",
          outcome: "RESOLVED_SELLER_FAVOUR",
        }),
      ],
      comes: { outcomes: ["approved"], tokens: Math.ceil(planTokens / 3) },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "the dispute because of which PayPal took an order back is won: the money is back",
      events: (them) => [
        ordered(them),
        captureReversal(them.id("capture"), "9.00"),
        dispute("RESOLVED", [them.id("capture")], { outcome: "RESOLVED_SELLER_FAVOUR" }),
      ],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
  ],
  "Payments of subscriptions": [
    {
      version: v1,
      type: "PAYMENT.SALE.COMPLETED",
      story: "a subscription's payment, at the plan's price",
      places: subscribed(),
      events: (them) => [sold(them)],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v1,
      type: "PAYMENT.SALE.COMPLETED",
      story: "the plan's price and taxes on it",
      places: subscribed(),
      events: (them) => [
        sale(them.id("sale"), them.id("I"), { total: "10.71", details: { subtotal: "9.00", tax: "1.71" } }),
      ],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v1,
      type: "PAYMENT.SALE.COMPLETED",
      story: "the plan's setup fee and its price together: one period",
      places: subscribed({}, "10.00"),
      events: (them) => [sale(them.id("sale"), them.id("I"), { total: "19.00" })],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v1,
      type: "PAYMENT.SALE.COMPLETED",
      story: "a plan that PayPal calls otherwise now, at the price that it has there",
      places: (them) => ({
        ...subscribed({ plan: "P-OF-LAST-YEAR" })(them),
        "/v1/billing/plans/P-OF-LAST-YEAR": planAtPaypal("P-OF-LAST-YEAR", "7.00"),
      }),
      events: (them) => [sale(them.id("sale"), them.id("I"), { total: "7.00" })],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    parkedSale("the plan's setup fee by itself", "setup_fee", { total: "10.00" }, subscribed({}, "10.00")),
    twice("the plan's setup fee, as high as its price, and the price: one of the two is given", "9.00", {
      cycles: 1,
      lastPayment: "2026-11-11T10:00:00Z",
      comes: { outcomes: ["parked"], tokens: planTokens, parked: "second_in_period" },
    }),
    twice("the price twice within days, where PayPal cannot say what the setup fee was", "0.00", {
      isOverridden: true,
      comes: { outcomes: ["parked"], tokens: planTokens, parked: "second_in_period" },
    }),
    twice("the same, and since then another payment was made that PayPal counts", "9.00", {
      cycles: 2,
      lastPayment: "2026-12-01T10:00:00Z",
      comes: { outcomes: ["parked"], tokens: planTokens, parked: "second_in_period" },
    }),
    twice("the same, and PayPal counts two periods: one was made up for", "9.00", {
      cycles: 2,
      lastPayment: "2026-11-11T10:00:10Z",
      comes: { outcomes: ["approved"], tokens: 2 * planTokens },
    }),
    twice("the price twice within days, of a plan without a setup fee: money for two periods", "0.00", {
      comes: { outcomes: ["approved"], tokens: 2 * planTokens },
    }),
    parkedSale(
      "a cent, for a plan whose price the buyer's page has overridden",
      "amount_differs",
      { total: "0.01" },
      subscribed({}, "0.00"),
    ),
    parkedSale("twice the price: a payment that had failed and the next one", "amount_differs", {
      total: "18.00",
    }),
    parkedSale("the price in another currency", "currency_differs", { currency: "EUR" }),
    parkedSale("five of a plan", "quantity", { total: "45.00" }, subscribed({ quantity: "5" })),
    parkedSale("five of a plan, for the price of one", "quantity", {}, subscribed({ quantity: "5" })),
    {
      version: v1,
      type: "PAYMENT.SALE.COMPLETED",
      story: "a subscription whose quantity PayPal tells as a number",
      places: subscribed({ quantity: 1 }),
      events: (them) => [sold(them)],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    parkedSale(
      "as many of a plan as no number says",
      "quantity_unknown",
      {},
      subscribed({ quantity: "one" }),
    ),
    parkedSale("a plan of somebody's shop", "price_unknown", {}, subscribed({ plan: "P-OF-A-SHOP" })),
    parkedSale("a subscription without a user", "user_unknown", {}, subscribed({ custom: "order 17" })),
    parkedSale("an agreement that is no subscription", "nothing_named", {}, () => ({})),
    {
      version: v1,
      type: "PAYMENT.SALE.COMPLETED",
      story: "a sale without a subscription",
      events: (them) => [sale(them.id("sale"), undefined)],
      comes: { outcomes: ["parked"], parked: "nothing_named" },
    },
    nothing(v1, "PAYMENT.SALE.PENDING", "a subscription's payment on its way (an eCheck)", (them) => sale(them.id("sale"), them.id("I"), { type: "PENDING" }), "nothing is paid yet"), // prettier-ignore
    nothing(v1, "PAYMENT.SALE.DENIED", "a subscription's payment that PayPal denies", (them) => sale(them.id("sale"), them.id("I"), { type: "DENIED" }), "nothing was paid"), // prettier-ignore
    {
      version: v1,
      type: "PAYMENT.SALE.REFUNDED",
      story: "all of a subscription's payment",
      places: subscribed(),
      events: (them) => [sold(them), saleRefund(them.id("sale"), "9.00")],
      comes: { outcomes: ["refunded"] },
    },
    {
      version: v1,
      type: "PAYMENT.SALE.REFUNDED",
      story: "half of it",
      places: subscribed(),
      events: (them) => [sold(them), saleRefund(them.id("sale"), "4.50")],
      comes: { outcomes: ["approved"], tokens: planTokens / 2 },
    },
    {
      version: v1,
      type: "PAYMENT.SALE.REVERSED",
      story: "PayPal takes it back, and calls the sale by its id",
      places: subscribed(),
      events: (them) => [sold(them), saleReversal(them.id("sale"), "9.00")],
      comes: { outcomes: ["approved"] },
    },
    {
      version: v1,
      type: "PAYMENT.SALE.REVERSED",
      story: "PayPal takes it back, and names the sale only when it is asked",
      places: (them) => ({
        ...subscribed()(them),
        [`/v1/payments/refund/${them.id("reversal")}`]: {
          id: them.id("reversal"),
          sale_id: them.id("sale"),
          state: "completed",
          amount: { total: "-9.00", currency: "USD" },
        },
      }),
      events: (them) => [sold(them), saleReversal(them.id("reversal"), "9.00", them.id("reversal"))],
      comes: { outcomes: ["approved"] },
    },
  ],
  Disputes: [
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.CREATED",
      story: "the buyer asks the merchant (`INQUIRY`): nothing is withheld",
      events: (them) => [ordered(them), dispute("CREATED", [them.id("capture")], { stage: "INQUIRY" })],
      comes: { outcomes: ["approved"], tokens: planTokens },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.CREATED",
      story: "a claim, or a chargeback at a bank (`CHARGEBACK`)",
      events: (them) => [ordered(them), dispute("CREATED", [them.id("capture")])],
      comes: { outcomes: ["approved"] },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.CREATED",
      story: "a claim about a third of it",
      events: (them) => [ordered(them), dispute("CREATED", [them.id("capture")], { amount: "3.00" })],
      comes: { outcomes: ["approved"], tokens: Math.ceil((planTokens * 2) / 3) },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.CREATED",
      story: "one claim about two orders, each as a whole",
      events: (them) => [
        ordered(them),
        ordered(them, "another"),
        dispute("CREATED", [them.id("capture"), them.id("another")], { amount: "18.00" }),
      ],
      comes: { outcomes: ["approved", "approved"] },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.CREATED",
      story: "one claim about half of two orders: each bears its share",
      events: (them) => [
        ordered(them),
        ordered(them, "another"),
        dispute("CREATED", [them.id("capture"), them.id("another")], { amount: "9.00" }),
      ],
      comes: { outcomes: ["approved", "approved"], tokens: planTokens },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.UPDATED",
      story: "an inquiry becomes a claim",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D"), stage: "INQUIRY" }),
        dispute("UPDATED", [them.id("capture")], { dispute: them.id("PP-D") }),
      ],
      comes: { outcomes: ["approved"] },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.UPDATED",
      story: "a claim that was won is opened again, at the buyer's bank",
      events: (them) => [
        ordered(them),
        dispute("RESOLVED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          outcome: "RESOLVED_SELLER_FAVOUR",
        }),
        dispute("UPDATED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          outcome: "RESOLVED_SELLER_FAVOUR",
          status: "OPEN",
        }),
      ],
      comes: { outcomes: ["approved"] },
    },
    resolved("RESOLVED_BUYER_FAVOUR", "lost", 0),
    resolved("ACCEPTED", "PayPal accepts it, lost", 0),
    resolved("RESOLVED_SELLER_FAVOUR", "won", planTokens),
    resolved("RESOLVED_WITH_PAYOUT", "PayPal pays the buyer itself, won", planTokens),
    resolved("CANCELED_BY_BUYER", "won", planTokens),
    resolved("DENIED", "PayPal denies it, won", planTokens),
    resolved("NONE", "closed undecided, because another goes on about the same payment", planTokens),
    resolved("SOMETHING_NEW", "an outcome that nobody has heard of decides nothing", 0),
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "a claim about all of it is lost, the buyer gets a quarter",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D") }),
        dispute("RESOLVED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          outcome: "RESOLVED_BUYER_FAVOUR",
          refunded: "2.25",
        }),
      ],
      comes: { outcomes: ["approved"], tokens: (planTokens * 3) / 4 },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "an inquiry ends with a refund of a quarter that the merchant offers",
      events: (them) => [
        ordered(them),
        dispute("RESOLVED", [them.id("capture")], {
          stage: "INQUIRY",
          outcome: "RESOLVED_BUYER_FAVOUR",
          refunded: "2.25",
        }),
      ],
      comes: { outcomes: ["approved"], tokens: (planTokens * 3) / 4 },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "an inquiry ends with a refund of a third, told as a refund too: one loss",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D"), stage: "INQUIRY" }),
        captureRefund(them.id("capture"), "3.00"),
        dispute("RESOLVED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          stage: "INQUIRY",
          outcome: "RESOLVED_BUYER_FAVOUR",
          refunded: "3.00",
        }),
      ],
      comes: { outcomes: ["approved"], tokens: Math.ceil((planTokens * 2) / 3) },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "a claim about all of it ends with `ACCEPTED`, a quarter, told as a refund too: one loss",
      events: (them) => [
        ordered(them),
        dispute("CREATED", [them.id("capture")], { dispute: them.id("PP-D") }),
        captureRefund(them.id("capture"), "2.25"),
        dispute("RESOLVED", [them.id("capture")], {
          dispute: them.id("PP-D"),
          outcome: "ACCEPTED",
          refunded: "2.25",
        }),
      ],
      comes: { outcomes: ["approved"], tokens: (planTokens * 3) / 4 },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "a claim is won after another about the same order was lost, for a quarter: that stays lost",
      events: (them) => [
        ordered(them),
        dispute("RESOLVED", [them.id("capture")], { outcome: "RESOLVED_BUYER_FAVOUR", refunded: "2.25" }),
        dispute("RESOLVED", [them.id("capture")], { outcome: "RESOLVED_SELLER_FAVOUR" }),
      ],
      comes: { outcomes: ["approved"], tokens: (planTokens * 3) / 4 },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.RESOLVED",
      story: "an inquiry was cancelled by the buyer, and the claim after it is lost: each by its own id",
      events: (them) => [
        ordered(them),
        dispute("RESOLVED", [them.id("capture")], { stage: "INQUIRY", outcome: "CANCELED_BY_BUYER" }),
        dispute("RESOLVED", [them.id("capture")], { outcome: "RESOLVED_BUYER_FAVOUR" }),
      ],
      comes: { outcomes: ["approved"] },
    },
  ],
  "How subscriptions stand": [
    stands("ACTIVATED", "the buyer has subscribed", "active"),
    stands("RE-ACTIVATED", "it goes on after a pause", "active"),
    stands("UPDATED", "something of it has changed", "active"),
    stands("PAYMENT.FAILED", "a payment has failed; PayPal tries again", "past_due", { failures: 1 }),
    stands("SUSPENDED", "it is paused", "paused", { status: "SUSPENDED" }),
    stands("SUSPENDED", "too many payments have failed", "past_due", { status: "SUSPENDED", failures: 3 }),
    stands("CANCELLED", "buyer or merchant has ended it", "cancelled", { status: "CANCELLED" }),
    stands("EXPIRED", "it has had all its payments", "cancelled", { status: "EXPIRED" }),
    {
      version: v1,
      type: "BILLING.SUBSCRIPTION.CANCELLED",
      story: "an agreement of the kind before 2019 has been ended",
      events: (them) => [agreementEvent("CANCELLED", them.id("I"), "Cancelled", them.id("PAYER"))],
      comes: { outcomes: ["waiting"], subscription: "cancelled" },
    },
    nothing(v2, "BILLING.SUBSCRIPTION.UPDATED", "the buyer has not agreed yet", (them) => subscriptionEvent("UPDATED", them.id("I"), { status: "APPROVAL_PENDING" }), "nobody has agreed to it yet"), // prettier-ignore
  ],
  "What changes nothing, and what cannot be read": [
    nothing(v1, "CATALOG.PRODUCT.CREATED", "whatever else PayPal tells", () => event("CATALOG.PRODUCT.CREATED", { id: "PROD-1" }), "events of this type change nothing"), // prettier-ignore
    {
      version: v2,
      type: "PAYMENT.CAPTURE.REFUNDED",
      story: "a refund that names no payment",
      events: (them) => [
        event("PAYMENT.CAPTURE.REFUNDED", {
          id: them.id("refund"),
          status: "COMPLETED",
          amount: usd("9.00"),
        }),
      ],
      comes: { refused: "invalid_provider_event" },
    },
    {
      version: v2,
      type: "PAYMENT.CAPTURE.COMPLETED",
      story: "an amount that is none",
      events: (them) => [capture(them.id("capture"), `${them.userId}:starter`, "9,00")],
      comes: { refused: "invalid_provider_event", parked: "unreadable" },
    },
    {
      version: v1,
      type: "CUSTOMER.DISPUTE.CREATED",
      story: "an event that does not say when it happened",
      events: (them) => [{ ...dispute("CREATED", [them.id("capture")]), create_time: undefined }],
      comes: { refused: "invalid_provider_event" },
    },
  ],
};

export const cases = Object.values(paypalCases).flat();

/** What PayPal tells during a case. */
export function prepare(paypal: PaypalStandIn, { places }: PaypalCase, them: Buyer): void {
  paypal.places.clear();
  for (const [path, told] of Object.entries(places?.(them) ?? {})) paypal.places.set(path, told);
}
