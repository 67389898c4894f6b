/**
 * What becomes of each event of Stripe's: sent to the running function by outcomes.test.ts, shown to people in
 * docs/guides/payment-events.md.
 */
import type { Buyer, EventCase, Outcome } from "../event-outcomes.ts";
import {
  chargeOf,
  creditNoteOf,
  disputeOf,
  eventOf,
  invoiceOf,
  invoicePaymentOf,
  itemOf,
  type Line,
  linesOf,
  list,
  movementOf,
  type Parts,
  paymentIntentOf,
  refundOf,
  sessionOf,
  subscriptionOf,
  thinOf,
  type Version,
  versions,
} from "./objects.ts";

/** What is sold: the plan of 400,000 tokens, that plan under the price's former id, a pack of 50,000. */
export const prices = {
  starter: "price_starter",
  formerStarter: "price_starter_of_last_year",
  professional: "price_professional",
  pack: "price_pack",
};
export const packType = "boost_of_the_tests";
export const packTokens = 50_000;

export interface StripeCase extends EventCase {
  /** What Stripe answers when it is asked: lists by the id of what has them. */
  lists?: (them: Buyer) => Record<string, object[]>;
}

/** A buyer, and the events of one version of the API about them. */
interface Kit extends Buyer {
  version: Version;
  /** An event, a second after the one before. */
  event: (type: string, object: Parts) => Parts;
  session: (parts?: Parts) => Parts;
  /** A session's event: they bought that in a single payment. */
  bought: (items: object[], parts?: Parts) => Parts;
  /** The event of an invoice that the payment `pi` paid. */
  billed: (lines: Line[], parts?: Parts, about?: Partial<Parameters<typeof invoiceOf>[1]>) => Parts;
  /** The event of the payment `pi` by itself. */
  intent: (metadata: Parts, parts?: Parts) => Parts;
  charge: (refunded: number, parts?: Parts) => Parts;
  refund: (name: string, status: string, amount: number) => Parts;
  dispute: (name: string, status: string, parts?: Parts) => Parts;
  subscription: (status: string, parts?: Parts) => Parts;
}

function kit(version: Version, them: Buyer): Kit {
  const { userId, id } = them;
  let second = 0;
  const event = (type: string, object: Parts) =>
    eventOf(version, type, object, id(`evt_${++second}`), second);
  const session = (parts: Parts = {}) =>
    sessionOf(version, id("cs"), userId, { payment_intent: id("pi"), ...parts });
  return {
    ...them,
    version,
    event,
    session,
    bought: (items, parts) =>
      event(
        "checkout.session.completed",
        session({ line_items: list(items, "/v1/checkout/sessions"), ...parts }),
      ),
    billed: (lines, parts, about) =>
      event(
        "invoice.paid",
        invoiceOf(
          version,
          { id: id("in"), userId, subscription: id("sub"), intent: id("pi"), lines, ...about },
          parts,
        ),
      ),
    intent: (metadata, parts) =>
      event("payment_intent.succeeded", { ...paymentIntentOf(version, id("pi"), metadata), ...parts }),
    charge: (refunded, parts) => chargeOf(version, id("pi"), refunded, parts),
    refund: (name, status, amount) => refundOf(version, id(name), id("pi"), status, amount),
    dispute: (name, status, parts) => disputeOf(version, id(name), id("pi"), status, parts),
    subscription: (status, parts) =>
      subscriptionOf(version, { id: id("sub"), userId, price: prices.starter, status }, parts),
  };
}

const { june2024, november2024, may2026, october2026 } = versions;

/** One row of the table. The last of the events is what it is about. */
function row(
  version: Version,
  type: string,
  story: string,
  comes: Outcome,
  events: (kit: Kit) => object[],
  lists?: StripeCase["lists"],
  backwards?: StripeCase["backwards"],
): StripeCase {
  return {
    version,
    type,
    story,
    comes,
    events: (them) => events(kit(version, them)),
    ...(lists && { lists }),
    ...(backwards && { backwards }),
  };
}

const plan = [itemOf(prices.starter)];
const planLine: Line = { price: prices.starter };
const completed = "checkout.session.completed";
const approved = (tokens: number): Outcome => ({ outcomes: ["approved"], tokens });
const gone: Outcome = { outcomes: ["refunded"] };
/** The payment stands; what it gave is withheld. */
const withheld: Outcome = { outcomes: ["approved"] };
const parked = (reason: Outcome["parked"]): Outcome => ({ outcomes: ["parked"], parked: reason! });
const is = (subscription: Outcome["subscription"], tokens = 0): Outcome => ({
  outcomes: ["recorded"],
  subscription: subscription!,
  ...(tokens > 0 && { tokens }),
});

/** What paid an invoice, when Stripe is asked. */
const paidBy =
  (...intents: [name: string, amount?: number][]): StripeCase["lists"] =>
  ({ id }) => ({
    [id("in")]: intents.map(([name, amount], n) =>
      invoicePaymentOf(id("in"), id(name), amount, { created: 1_700_000_000 + n, is_default: n === 0 }),
    ),
  });
const byOne = paidBy(["pi"]);
/** The same of several invoices: `in`, `in_2` and so on, each by a payment of its own. */
const eachByOne =
  (...names: string[]): StripeCase["lists"] =>
  ({ id }) =>
    Object.fromEntries(
      ["", ...names].map((name) => [id(`in${name}`), [invoicePaymentOf(id(`in${name}`), id(`pi${name}`))]]),
    );

const notBegun = "the subscription has not begun: its first payment was not made";
const noPurchase = "nothing was bought: a trial's invoice, or a change that costs nothing";

const singlePayments: StripeCase[] = [
  row(
    june2024,
    completed,
    "a pack, and what was bought is asked of Stripe",
    approved(50_000),
    ({ event, session }) => [event(completed, session())],
    ({ id }) => ({ [id("cs")]: [itemOf(prices.pack)] }),
  ),
  row(
    october2026,
    completed,
    "the same pack three times",
    approved(150_000),
    ({ event, session }) => [event(completed, session({ amount_total: 2700 }))],
    ({ id }) => ({ [id("cs")]: [itemOf(prices.pack, 3)] }),
  ),
  row(october2026, completed, "a plan, paid once", approved(400_000), ({ bought }) => [bought(plan)]),
  row(
    october2026,
    completed,
    "a pack and something else that is not in the catalogue",
    approved(50_000),
    ({ bought }) => [bought([itemOf("price_of_a_shirt"), itemOf(prices.pack)])],
  ),
  row(october2026, completed, "a pack, with a coupon for all of it", approved(50_000), ({ bought }) => [
    bought([itemOf(prices.pack)], {
      payment_intent: null,
      amount_total: 0,
      payment_status: "no_payment_required",
    }),
  ]),
  row(
    october2026,
    completed,
    "a bank transfer that is under way",
    { note: "not paid yet: checkout.session.async_payment_succeeded will say so" },
    ({ bought }) => [bought(plan, { payment_status: "unpaid" })],
  ),
  row(
    october2026,
    "checkout.session.async_payment_succeeded",
    "the bank transfer has arrived",
    approved(400_000),
    ({ bought, event, session }) => [
      bought(plan, { payment_status: "unpaid" }),
      event(
        "checkout.session.async_payment_succeeded",
        session({ line_items: list(plan, "/v1/checkout/sessions") }),
      ),
    ],
  ),
  row(
    october2026,
    completed,
    "a card was saved for later",
    { note: "a way to pay was saved: nothing was bought" },
    ({ bought }) => [
      bought([], { mode: "setup", payment_intent: null, payment_status: "no_payment_required" }),
    ],
  ),
  row(
    october2026,
    completed,
    "by a payment link, where the buyer can write `client_reference_id`",
    parked("user_unknown"),
    ({ bought }) => [bought(plan, { payment_link: "plink_1", metadata: {} })],
  ),
  row(
    october2026,
    completed,
    "by a pricing table, whose page can write `client_reference_id`, and our server no metadata",
    parked("user_unknown"),
    ({ bought }) => [bought(plan, { metadata: {} })],
  ),
  row(october2026, completed, "a plan three times", parked("quantity"), ({ bought }) => [
    bought([itemOf(prices.starter, 3)]),
  ]),
  row(october2026, completed, "two packs, in two lines", approved(100_000), ({ bought }) => [
    bought([itemOf(prices.pack), itemOf(prices.pack)]),
  ]),
  row(october2026, completed, "a plan and a pack", parked("several_things"), ({ bought }) => [
    bought([itemOf(prices.starter), itemOf(prices.pack)]),
  ]),
  row(
    june2024,
    completed,
    "at a price that is not in the catalogue",
    parked("price_unknown"),
    ({ bought }) => [bought([itemOf("price_of_a_shirt")])],
  ),
  row(october2026, completed, "nothing that has a price", parked("nothing_named"), ({ bought }) => [
    bought([]),
  ]),
  row(
    october2026,
    completed,
    "as many packs as were used, which is not said",
    parked("quantity_unknown"),
    ({ bought }) => [bought([itemOf(prices.pack, null)])],
  ),
];

const elsewhere: Outcome = { note: "its session or its invoice says what was bought" };

const topUps: StripeCase[] = [
  row(
    october2026,
    "payment_intent.succeeded",
    "an automatic top-up with two packs was paid",
    approved(100_000),
    ({ event, version, id, userId }) => [
      event(
        "payment_intent.succeeded",
        paymentIntentOf(
          version,
          id("pi"),
          {
            user_id: userId,
            pack_type: packType,
            quantity: "2",
            top_up_request_id: "0a1b2c3d-0000-4000-8000-000000000001",
          },
          1000,
        ),
      ),
    ],
  ),
  row(
    october2026,
    "payment_intent.succeeded",
    "the payment of a Checkout Session",
    elsewhere,
    ({ intent }) => [intent({ plan_type: "starter" })],
    ({ id }) => ({ [`${id("pi")}/sessions`]: [{ id: "cs_1", object: "checkout.session" }] }),
  ),
  row(
    october2026,
    "payment_intent.succeeded",
    "the payment of an invoice, which it does not name",
    elsewhere,
    ({ intent }) => [intent({})],
    ({ id }) => ({ [`${id("pi")}/invoice_payments`]: [{ id: "inpay_1", object: "invoice_payment" }] }),
  ),
  row(
    june2024,
    "payment_intent.succeeded",
    "the payment of an invoice, which it names",
    elsewhere,
    ({ intent }) => [intent({}, { invoice: "in_1" })],
  ),
  row(
    october2026,
    "payment_intent.succeeded",
    "a payment that the app has made by itself",
    parked("not_ours"),
    ({ intent, userId }) => [intent({ user_id: userId, quantity: "many" })],
  ),
];

/** Almost all of a plan's period, on the invoice that credits it. */
const unused = (credits: string): Line => ({
  price: prices.starter,
  amount: -890,
  isProration: true,
  credits,
});
const trial: Line = { price: prices.starter, amount: 0 };
const changed: Line[] = [
  { price: prices.starter, amount: -450, isProration: true },
  { price: prices.professional, amount: 2000, isProration: true },
];
const eleven: Line[] = [
  ...Array.from({ length: 10 }, (): Line => ({ price: "price_of_a_call", amount: 10, isOnce: true })),
  planLine,
];

const invoices: StripeCase[] = [
  row(june2024, "invoice.paid", "a subscription's first period", approved(400_000), ({ billed }) => [
    billed([planLine]),
  ]),
  row(
    october2026,
    "invoice.paid",
    "a subscription's first period; Stripe is asked which payment it was",
    approved(400_000),
    ({ billed }) => [billed([planLine])],
    byOne,
  ),
  row(
    may2026,
    "invoice.paid",
    "the same, with its payments sent along",
    approved(400_000),
    ({ billed, id }) => [
      billed([planLine], { payments: list([invoicePaymentOf(id("in"), id("pi"))], "/v1/invoice_payments") }),
    ],
  ),
  row(june2024, "invoice.paid", "the next period", approved(800_000), ({ billed, id }) => [
    billed([{ ...planLine, isEarlier: true }]),
    billed([planLine], { billing_reason: "subscription_cycle" }, { id: id("in_2"), intent: id("pi_2") }),
  ]),
  row(june2024, "invoice.paid", "a renewal at the price's former id", approved(400_000), ({ billed }) => [
    billed([{ price: prices.formerStarter, amount: 700 }], { billing_reason: "subscription_cycle" }),
  ]),
  row(
    october2026,
    "invoice.paid",
    "a renewal at the price's former id",
    approved(400_000),
    ({ billed }) => [
      billed([{ price: prices.formerStarter, amount: 700 }], { billing_reason: "subscription_cycle" }),
    ],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "two payments paid it, 3.00 and 6.00",
    approved(400_000),
    ({ billed }) => [billed([planLine])],
    paidBy(["pi", 300], ["pi_2", 600]),
  ),
  row(
    november2024,
    "invoice.paid",
    "from the customer's balance: `amount_paid` is 0",
    approved(400_000),
    ({ billed }) => [billed([planLine], { starting_balance: -900 }, { paid: 0, intent: null })],
  ),
  row(
    october2026,
    "invoice.paid",
    "from the customer's balance: `amount_paid` is 0",
    approved(400_000),
    ({ billed }) => [billed([planLine], { starting_balance: -900 }, { paid: 0 })],
  ),
  row(october2026, "invoice.paid", "with a coupon for all of it", approved(400_000), ({ billed }) => [
    billed([{ ...planLine, discount: 900 }]),
  ]),
  row(
    november2024,
    "invoice.paid",
    "a trial begins: an invoice of nothing",
    { note: noPurchase },
    ({ billed }) => [billed([trial], {}, { intent: null })],
  ),
  row(
    october2026,
    "invoice.paid",
    "a trial begins: an invoice of nothing",
    { note: noPurchase },
    ({ billed }) => [billed([trial])],
  ),
  row(
    june2024,
    "invoice.paid",
    "a change to a better plan in mid-period, paid by the day",
    parked("proration"),
    ({ billed }) => [billed(changed, { billing_reason: "subscription_update" })],
  ),
  row(
    october2026,
    "invoice.paid",
    "a change to a better plan in mid-period, paid by the day",
    parked("proration"),
    ({ billed }) => [billed(changed, { billing_reason: "subscription_update" })],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "the next period on the better plan, and the days before it",
    approved(2_000_000),
    ({ billed }) => [
      billed([...changed, { price: prices.professional, amount: 3900 }], {
        billing_reason: "subscription_cycle",
      }),
    ],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "the subscription is ended at once, and 8.90 of the 9.00 go to the customer's balance: their tokens are taken back",
    approved(4_445),
    ({ billed, id }) => [billed([planLine]), billed([unused(id("in"))], {}, { id: id("in_2") })],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "and begun again, from that balance, and ended at once again, three times: each time what is paid with is what was taken back",
    approved(4_445 * 3),
    ({ billed, id }) =>
      ["", "_2", "_3"].flatMap((nth) => [
        billed([planLine], nth === "" ? {} : { starting_balance: -890 }, {
          id: id(`in${nth}`),
          ...(nth !== "" && { paid: 10, intent: id(`pi${nth}`) }),
        }),
        billed([unused(id(`in${nth}`))], {}, { id: id(`credit${nth}`) }),
      ]),
    eachByOne("_2", "_3"),
  ),
  row(
    june2024,
    "invoice.paid",
    "the subscription is ended at once, of which a third was paid by card and the rest from the customer's balance: all of that is credited",
    gone,
    ({ billed, id }) => [
      billed([planLine], { starting_balance: -600 }, { paid: 300 }),
      billed([{ ...unused(id("in")), amount: -900 }], {}, { id: id("in_2"), intent: null }),
    ],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "a change to a smaller plan in mid-period: of the 20.00 that are unused, 4.50 pay for its days, and the tokens of the rest are taken back",
    approved(1_205_129),
    ({ billed, id }) => [
      billed([{ price: prices.professional, amount: 3900 }]),
      billed(
        [
          { price: prices.professional, amount: -2000, isProration: true, credits: id("in") },
          { price: prices.starter, amount: 450, isProration: true },
        ],
        { billing_reason: "subscription_update" },
        { id: id("in_2") },
      ),
    ],
    byOne,
  ),
  row(
    june2024,
    "invoice.paid",
    "a change to a smaller plan with a period of its own, paid with 20.00 that are unused: their tokens are taken back",
    { outcomes: ["approved", "approved"], tokens: 1_374_359 },
    ({ billed, id }) => [
      billed([{ price: prices.professional, amount: 3900 }]),
      billed(
        [{ price: prices.professional, amount: -2000, isProration: true, credits: id("in") }, planLine],
        { billing_reason: "subscription_update" },
        { id: id("in_2"), intent: null },
      ),
    ],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "a period, and a credit of 4.50 that somebody wrote into the invoice",
    parked("credited"),
    ({ billed }) => [billed([planLine, { price: null, amount: -450, isOnce: true }])],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "a credit of unused time that does not name what it had been paid with",
    parked("credited"),
    ({ billed }) => [billed([{ price: prices.starter, amount: -890, isProration: true }])],
  ),
  row(
    october2026,
    "invoice.paid",
    "a renewal for which 8.90 come from the customer's balance, where such a credit has put them and nobody has decided on it",
    { ...parked("paid_with_credit"), tokens: 400_000 },
    ({ billed, id }) => [
      billed([planLine], { customer: id("cus") }),
      billed([{ price: prices.starter, amount: -890, isProration: true }], { customer: id("cus"), ending_balance: -890 }, { id: `${id("in")}_credit`, intent: null, paid: 0 }), // prettier-ignore
      billed(
        [planLine],
        { customer: id("cus"), starting_balance: -890 },
        { id: id("in_2"), intent: id("pi_2"), paid: 10 },
      ),
    ],
    eachByOne("_2"),
    { tokens: 800_000 }, // booked before the credit was heard of
  ),
  row(
    october2026,
    "invoice.paid",
    "a renewal by card alone, while such a credit waits",
    approved(800_000),
    ({ billed, id }) => [
      billed([planLine], { customer: id("cus") }),
      billed([{ price: prices.starter, amount: -890, isProration: true }], { customer: id("cus"), ending_balance: -890 }, { id: `${id("in")}_credit`, intent: null, paid: 0 }), // prettier-ignore
      billed(
        [planLine],
        { customer: id("cus"), starting_balance: -890, ending_balance: -890 },
        { id: id("in_2"), intent: id("pi_2") },
      ),
    ],
    eachByOne("_2"),
  ),
  row(
    october2026,
    "invoice.paid",
    "a fee for setting up, and the first period",
    approved(400_000),
    ({ billed }) => [billed([{ price: "price_of_setting_up", amount: 5000, isOnce: true }, planLine])],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "five seats of a plan",
    parked("quantity"),
    ({ billed }) => [billed([{ ...planLine, amount: 4500, quantity: 5 }])],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "a plan, and a pack with its first period",
    parked("several_things"),
    ({ billed }) => [billed([planLine, { price: prices.pack, amount: 500, isOnce: true }])],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "two packs, without a subscription",
    approved(100_000),
    ({ billed }) => [
      billed([{ price: prices.pack, amount: 1000, quantity: 2, isOnce: true }], {}, { subscription: null }),
    ],
    byOne,
  ),
  row(june2024, "invoice.paid", "in yen, which have no cents: 1,400", approved(400_000), ({ billed }) => [
    billed([{ ...planLine, amount: 1400 }], {}, { currency: "jpy" }),
  ]),
  row(
    october2026,
    "invoice.paid",
    "paid outside of Stripe",
    approved(400_000),
    ({ billed }) => [billed([planLine])],
    ({ id }) => ({ [id("in")]: [] }),
  ),
  row(
    october2026,
    "invoice.paid",
    "more lines than an event has room for: Stripe is asked for them",
    approved(400_000),
    ({ billed, version, id }) => [
      billed(eleven, {
        lines: list(linesOf(version, id("sub"), eleven.slice(0, 10)), "/v1/invoices/in_1/lines", true),
      }),
    ],
    (them) => ({ ...byOne!(them), [`${them.id("in")}/lines`]: linesOf(october2026, them.id("sub"), eleven) }),
  ),
  row(
    october2026,
    "invoice.paid",
    "nothing names the user, and the customer is known from a session",
    approved(450_000),
    ({ bought, billed, id }) => [
      bought([itemOf(prices.pack)], { customer: id("cus"), payment_intent: id("pi_0") }),
      billed([planLine], { customer: id("cus") }, { userId: null }),
    ],
    byOne,
  ),
  row(
    october2026,
    completed,
    "a customer becomes known whose invoice has waited for it",
    approved(450_000),
    ({ bought, billed, id }) => [
      billed([planLine], { customer: id("cus") }, { userId: null }),
      bought([itemOf(prices.pack)], { customer: id("cus"), payment_intent: id("pi_0") }),
    ],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "nothing names the user",
    parked("user_unknown"),
    ({ billed, id }) => [billed([planLine], { customer: id("cus") }, { userId: null })],
    byOne,
  ),
];

const creditNotes: StripeCase[] = [
  row(
    october2026,
    "credit_note.created",
    "all that was paid goes into the customer's balance",
    gone,
    ({ version, billed, event, id }) => [
      billed([planLine]),
      event("credit_note.created", creditNoteOf(version, id("cn"), id("in"), 900)),
    ],
    byOne,
  ),
  row(
    october2026,
    "invoice.paid",
    "and the next period is paid with that: the tokens of one period are the user's",
    approved(400_000),
    ({ version, billed, event, id }) => [
      billed([planLine]),
      event("credit_note.created", creditNoteOf(version, id("cn"), id("in"), 900)),
      billed(
        [planLine],
        { billing_reason: "subscription_cycle", starting_balance: -900, ending_balance: 0 },
        { id: id("in_2"), intent: null, paid: 0 },
      ),
    ],
    byOne,
  ),
  row(
    may2026,
    "credit_note.created",
    "3.00 are refunded, 3.00 go into the balance, and 3.00 come back outside of Stripe",
    gone,
    ({ version, billed, event, refund, id }) => [
      billed([planLine]),
      event("refund.created", refund("re", "succeeded", 300)),
      event(
        "credit_note.created",
        creditNoteOf(version, id("cn"), id("in"), 900, { refunded: 300, refund: id("re"), outOfBand: 300 }),
      ),
    ],
    byOne,
  ),
  row(
    june2024,
    "credit_note.created",
    "4.50 are refunded and 4.50 go into the balance; Stripe is asked how much was refunded",
    gone,
    ({ version, billed, event, refund, id }) => [
      billed([planLine]),
      event("refund.created", refund("re", "succeeded", 450)),
      event(
        "credit_note.created",
        creditNoteOf(version, id("cn"), id("in"), 900, { refunded: 450, refund: id("re") }),
      ),
    ],
    ({ id, ...them }) => ({
      ...byOne!({ id, ...them }),
      [id("re")]: [refundOf(june2024, id("re"), id("pi"), "succeeded", 450)],
    }),
  ),
  row(
    october2026,
    "credit_note.created",
    "all of it is refunded, which the refund says",
    { note: "nothing went back but what its refunds say", tokens: 400_000 },
    ({ version, billed, event, id }) => [
      billed([planLine]),
      event("credit_note.created", creditNoteOf(version, id("cn"), id("in"), 900, { refunded: 900 })),
    ],
    byOne,
  ),
];

const refunds: StripeCase[] = [
  row(june2024, "charge.refunded", "half of it", approved(200_000), ({ billed, event, charge }) => [
    billed([planLine]),
    event("charge.refunded", charge(450)),
  ]),
  row(june2024, "charge.refunded", "all of it", gone, ({ billed, event, charge }) => [
    billed([planLine]),
    event("charge.refunded", charge(900)),
  ]),
  row(
    june2024,
    "charge.refunded",
    "half of it, with the refund itself sent along",
    { outcomes: ["approved", "approved"], tokens: 200_000 },
    ({ billed, event, charge, refund }) => [
      billed([planLine]),
      event(
        "charge.refunded",
        charge(450, { refunds: list([refund("re", "succeeded", 450)], "/v1/charges/ch_1/refunds") }),
      ),
    ],
  ),
  row(june2024, "charge.refunded", "700 of 1,400 yen", approved(200_000), ({ billed, event, charge }) => [
    billed([{ ...planLine, amount: 1400 }], {}, { currency: "jpy" }),
    event("charge.refunded", charge(700, { amount: 1400, currency: "jpy" })),
  ]),
  row(november2024, "refund.created", "all of it, under way", gone, ({ bought, event, refund }) => [
    bought(plan),
    event("refund.created", refund("re", "pending", 900)),
  ]),
  row(november2024, "refund.updated", "it has arrived", gone, ({ bought, event, refund }) => [
    bought(plan),
    event("refund.created", refund("re", "pending", 900)),
    event("refund.updated", refund("re", "succeeded", 900)),
  ]),
  row(
    november2024,
    "refund.failed",
    "it came back",
    approved(400_000),
    ({ bought, event, charge, refund }) => [
      bought(plan),
      event("refund.created", refund("re", "pending", 900)),
      event("charge.refunded", charge(900)),
      event("refund.failed", refund("re", "failed", 900)),
    ],
  ),
  row(
    june2024,
    "charge.refund.updated",
    "it came back",
    approved(400_000),
    ({ bought, event, charge, refund }) => [
      bought(plan),
      event("charge.refunded", charge(900)),
      event("charge.refund.updated", refund("re", "failed", 900)),
    ],
  ),
  row(
    october2026,
    "refund.failed",
    "3.00 and 6.00 of 9.00, and the 6.00 came back",
    approved(266_667),
    ({ bought, event, charge, refund }) => [
      bought(plan),
      event("refund.created", refund("re_1", "succeeded", 300)),
      event("refund.created", refund("re_2", "pending", 600)),
      event("charge.refunded", charge(900)),
      event("refund.failed", refund("re_2", "failed", 600)),
    ],
  ),
  row(october2026, "refund.updated", "it was canceled", approved(400_000), ({ bought, event, refund }) => [
    bought(plan),
    event("refund.created", refund("re", "requires_action", 900)),
    event("refund.updated", refund("re", "canceled", 900)),
  ]),
  row(
    october2026,
    completed,
    "the payment of which a refund was heard before",
    gone,
    ({ bought, event, refund }) => [event("refund.created", refund("re", "succeeded", 900)), bought(plan)],
  ),
  row(
    october2026,
    "refund.created",
    "both payments of one invoice, all of each",
    gone,
    ({ billed, event, refund, version, id }) => [
      billed([planLine]),
      event("refund.created", refund("re_1", "succeeded", 300)),
      event("refund.created", refundOf(version, id("re_2"), id("pi_2"), "succeeded", 600)),
    ],
    paidBy(["pi", 300], ["pi_2", 600]),
  ),
  row(
    october2026,
    "refund.created",
    "one of the two payments of an invoice, before the invoice is heard of",
    approved(266_667),
    ({ billed, event, version, id }) => [
      event("refund.created", refundOf(version, id("re"), id("pi_2"), "succeeded", 300)),
      billed([planLine]),
      event("refund.created", refundOf(version, id("re"), id("pi_2"), "succeeded", 300)),
    ],
    paidBy(["pi", 600], ["pi_2", 300]),
  ),
  row(
    october2026,
    "refund.created",
    "5 yen of a payment in dollars, which nobody can compare: all of it",
    gone,
    ({ bought, event, version, id }) => [
      bought(plan),
      event("refund.created", { ...refundOf(version, id("re"), id("pi"), "succeeded", 5), currency: "jpy" }),
    ],
  ),
  row(
    october2026,
    "refund.created",
    "money that was in no payment of ours",
    { note: "the refund is of no payment" },
    ({ event, version, id }) => [
      event("refund.created", refundOf(version, id("re"), null, "succeeded", 900)),
    ],
  ),
];

const disputes: StripeCase[] = [
  row(june2024, "charge.dispute.created", "a chargeback", withheld, ({ bought, event, dispute }) => [
    bought(plan),
    event("charge.dispute.created", dispute("dp", "needs_response")),
  ]),
  row(
    october2026,
    "charge.dispute.created",
    "a chargeback of 3.00 of 9.00",
    approved(266_667),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "needs_response", { amount: 300 })),
    ],
  ),
  row(
    june2024,
    "charge.dispute.created",
    "an inquiry, which takes no money",
    approved(400_000),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "warning_needs_response")),
    ],
  ),
  row(
    october2026,
    "charge.dispute.funds_withdrawn",
    "the inquiry has become a chargeback",
    withheld,
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "warning_needs_response")),
      event(
        "charge.dispute.funds_withdrawn",
        dispute("dp", "needs_response", { balance_transactions: [movementOf(-900)] }),
      ),
    ],
  ),
  row(
    october2026,
    "charge.dispute.updated",
    "our answer to the chargeback was sent",
    withheld,
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "needs_response")),
      event("charge.dispute.updated", dispute("dp", "under_review")),
    ],
  ),
  row(
    june2024,
    "charge.dispute.closed",
    "the chargeback is won",
    approved(400_000),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "needs_response")),
      event("charge.dispute.closed", dispute("dp", "won")),
    ],
  ),
  row(
    october2026,
    "charge.dispute.funds_reinstated",
    "the chargeback is won: the money is back",
    approved(400_000),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "needs_response")),
      event(
        "charge.dispute.funds_reinstated",
        dispute("dp", "won", { balance_transactions: [movementOf(-900), movementOf(900)] }),
      ),
    ],
  ),
  row(
    october2026,
    "charge.dispute.closed",
    "the chargeback is lost",
    withheld,
    ({ bought, event, dispute }) => [bought(plan), event("charge.dispute.closed", dispute("dp", "lost"))],
  ),
  row(
    june2024,
    "charge.dispute.closed",
    "a second chargeback is lost, after the first was won",
    withheld,
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp_1", "needs_response")),
      event("charge.dispute.closed", dispute("dp_1", "won")),
      event("charge.dispute.created", dispute("dp_2", "needs_response")),
      event("charge.dispute.closed", dispute("dp_2", "lost")),
    ],
  ),
  row(
    october2026,
    "charge.dispute.closed",
    "a second chargeback, of 6.00, is won, after the first, of 3.00, was lost",
    approved(266_667),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.closed", dispute("dp_1", "lost", { amount: 300 })),
      event("charge.dispute.created", dispute("dp_2", "needs_response", { amount: 600 })),
      event("charge.dispute.closed", dispute("dp_2", "won", { amount: 600 })),
    ],
  ),
  row(
    october2026,
    "charge.dispute.closed",
    "an inquiry was closed, and a chargeback came and is lost",
    withheld,
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.closed", dispute("dp_1", "warning_closed")),
      event("charge.dispute.created", dispute("dp_2", "needs_response")),
      event("charge.dispute.closed", dispute("dp_2", "lost")),
    ],
  ),
  row(
    october2026,
    "charge.dispute.closed",
    "won at last, by an appeal of one that was lost",
    approved(400_000),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.closed", dispute("dp", "lost")),
      event("charge.dispute.updated", dispute("dp", "appeal_under_review")),
      event("charge.dispute.closed", dispute("dp", "won")),
    ],
  ),
  row(
    october2026,
    "charge.dispute.created",
    "prevented, by paying the money back",
    withheld,
    ({ bought, event, dispute }) => [
      bought(plan),
      event(
        "charge.dispute.created",
        dispute("dp", "prevented", { balance_transactions: [movementOf(-900)] }),
      ),
    ],
  ),
  row(
    october2026,
    "charge.dispute.created",
    "prevented, by turning it away",
    approved(400_000),
    ({ bought, event, dispute }) => [
      bought(plan),
      event("charge.dispute.created", dispute("dp", "prevented")),
    ],
  ),
  row(
    october2026,
    "charge.dispute.created",
    "a chargeback of what half has been refunded of",
    withheld,
    ({ bought, event, refund, dispute }) => [
      bought(plan),
      event("refund.created", refund("re", "succeeded", 450)),
      event("charge.dispute.created", dispute("dp", "needs_response")),
    ],
  ),
];

const subscriptions: StripeCase[] = [
  row(june2024, "customer.subscription.created", "it begins", is("active"), ({ event, subscription }) => [
    event("customer.subscription.created", subscription("active")),
  ]),
  row(
    october2026,
    "customer.subscription.created",
    "it begins with a trial",
    is("active"),
    ({ event, subscription }) => [event("customer.subscription.created", subscription("trialing"))],
  ),
  row(
    october2026,
    "customer.subscription.created",
    "its first payment is to come",
    { note: notBegun },
    ({ event, subscription }) => [event("customer.subscription.created", subscription("incomplete"))],
  ),
  row(
    october2026,
    completed,
    "a subscription was begun; which plan it is of, its own events say",
    { outcomes: ["waiting"], subscription: "active" },
    ({ event, session, id }) => [
      event(
        completed,
        session({
          mode: "subscription",
          payment_intent: null,
          invoice: id("in"),
          subscription: id("sub"),
          customer: id("cus"),
        }),
      ),
    ],
  ),
  row(
    october2026,
    completed,
    "a subscription was begun by a user whom its first invoice did not name, and who has waited since",
    { outcomes: ["recorded"], subscription: "active", tokens: 400_000 },
    ({ billed, event, session, id }) => [
      billed([planLine], { customer: id("cus") }, { userId: null }),
      event(
        completed,
        session({
          mode: "subscription",
          payment_intent: null,
          invoice: id("in"),
          subscription: id("sub"),
          customer: id("cus"),
        }),
      ),
    ],
    byOne,
  ),
  row(
    june2024,
    "customer.subscription.updated",
    "a payment is late",
    is("past_due"),
    ({ event, subscription }) => [
      event("customer.subscription.created", subscription("active")),
      event("customer.subscription.updated", subscription("past_due")),
    ],
  ),
  row(
    october2026,
    "customer.subscription.updated",
    "a payment is late, and will not be tried again",
    is("past_due"),
    ({ event, subscription }) => [
      event("customer.subscription.created", subscription("active")),
      event("customer.subscription.updated", subscription("unpaid")),
    ],
  ),
  row(
    june2024,
    "invoice.payment_failed",
    "a renewal could not be paid",
    is("past_due"),
    ({ event, subscription, version, id, userId }) => [
      event("customer.subscription.created", subscription("active")),
      event(
        "invoice.payment_failed",
        invoiceOf(
          version,
          { id: id("in"), userId, subscription: id("sub"), intent: id("pi"), lines: [planLine], paid: 0 },
          { billing_reason: "subscription_cycle", status: "open" },
        ),
      ),
    ],
  ),
  row(
    october2026,
    "invoice.payment_failed",
    "a renewal could not be paid",
    is("past_due"),
    ({ event, subscription, version, id, userId }) => [
      event("customer.subscription.created", subscription("active")),
      event(
        "invoice.payment_failed",
        invoiceOf(
          version,
          { id: id("in"), userId, subscription: id("sub"), lines: [planLine], paid: 0 },
          { billing_reason: "subscription_cycle", status: "open" },
        ),
      ),
    ],
  ),
  row(
    october2026,
    "invoice.payment_failed",
    "the first payment could not be made",
    { note: notBegun },
    ({ event, version, id, userId }) => [
      event(
        "invoice.payment_failed",
        invoiceOf(
          version,
          { id: id("in"), userId, subscription: id("sub"), lines: [planLine], paid: 0 },
          { status: "open" },
        ),
      ),
    ],
  ),
  row(
    june2024,
    "customer.subscription.updated",
    "it is to end with its period",
    is("active"),
    ({ event, subscription }) => [
      event("customer.subscription.created", subscription("active")),
      event("customer.subscription.updated", subscription("active", { cancel_at_period_end: true })),
    ],
  ),
  row(
    october2026,
    "customer.subscription.updated",
    "payments are not collected for now (`pause_collection`): they keep what they have",
    is("active"),
    ({ event, subscription }) => [
      event("customer.subscription.created", subscription("active")),
      event(
        "customer.subscription.updated",
        subscription("active", { pause_collection: { behavior: "void", resumes_at: null } }),
      ),
    ],
  ),
  row(
    october2026,
    "customer.subscription.paused",
    "it is paused",
    is("paused"),
    ({ event, subscription }) => [
      event("customer.subscription.created", subscription("active")),
      event("customer.subscription.paused", subscription("paused")),
    ],
  ),
  row(october2026, "customer.subscription.resumed", "it goes on", is("active"), ({ event, subscription }) => [
    event("customer.subscription.created", subscription("active")),
    event("customer.subscription.paused", subscription("paused")),
    event("customer.subscription.resumed", subscription("active")),
  ]),
  row(june2024, "customer.subscription.deleted", "it is over", is("cancelled"), ({ event, subscription }) => [
    event("customer.subscription.created", subscription("active")),
    event("customer.subscription.deleted", subscription("canceled")),
  ]),
  row(
    october2026,
    "customer.subscription.deleted",
    "it is over; what its payment gave stays",
    is("cancelled", 400_000),
    ({ billed, event, subscription }) => [
      billed([planLine]),
      event("customer.subscription.deleted", subscription("canceled")),
    ],
    byOne,
  ),
];

const others: StripeCase[] = [
  row(
    october2026,
    "invoice_payment.paid",
    "a part of an invoice was paid; `invoice.paid` comes when all of it is",
    { note: "events of this type change nothing" },
    ({ event, id }) => [event("invoice_payment.paid", invoicePaymentOf(id("in"), id("pi"), 300))],
  ),
  row(
    october2026,
    completed,
    "at a connected account, whose events Stripe sends to platforms",
    { note: "it is about a connected account, not about this one" },
    ({ bought }) => [{ ...bought(plan), account: "acct_2" }],
  ),
  row(
    october2026,
    completed,
    "in test mode, where live events are expected",
    { refused: "wrong_event_mode" },
    ({ bought }) => [{ ...bought(plan), livemode: false }],
  ),
  row(october2026, "v1.charge.refunded", "a thin event", { refused: "thin_event" }, ({ id }) => [
    thinOf(id("evt")),
  ]),
  row(
    october2026,
    "charge.refunded",
    "without `amount_refunded`",
    { refused: "invalid_provider_event" },
    ({ event, charge }) => [event("charge.refunded", { ...charge(900), amount_refunded: undefined })],
  ),
  row(
    june2024,
    "charge.refunded",
    "of a payment whose id has 300 characters",
    { refused: "invalid_provider_event" },
    ({ event, charge }) => [
      event("charge.refunded", charge(900, { payment_intent: `pi_${"x".repeat(297)}` })),
    ],
  ),
];

/** All of them, by the heading under which they are shown. */
export const stripeCases: Record<string, StripeCase[]> = {
  "Single payments": [...singlePayments, ...topUps],
  Invoices: invoices,
  "Credit notes": creditNotes,
  Refunds: refunds,
  Disputes: disputes,
  Subscriptions: subscriptions,
  "Other events": others,
};
