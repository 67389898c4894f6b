import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../../scripts/project.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { type Sender, told, tried } from "../event-outcomes.ts";
import type { Stack } from "../stack.ts";
import { cases, type PaypalCase, prepare, startShop } from "./cases.ts";
import { deliver, fresh, type PaypalStandIn, startPaypal } from "./paypal.ts";

let paypal: PaypalStandIn;
let stack: Stack;

beforeAll(async () => {
  paypal = await startPaypal();
  stack = await startShop(paypal);
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await paypal.close();
});

const sender: Sender<PaypalCase> = {
  deliver,
  fresh: (prefix) => fresh(`${prefix}-`),
  prepare: (it, them) => prepare(paypal, it, them),
};

test.each(cases.map((it) => [it.type, it.version, it.story, it] as const))(
  "%s (%s): %s",
  async (_type, _version, _story, it) => {
    expect(await tried(stack, it, sender)).toEqual(it.comes);
  },
);

test("there are cases of both versions, and of every type that changes something", () => {
  const types = new Set(cases.map(({ type }) => type));
  const of = (version: string) => cases.filter((it) => it.version === version).length;
  console.log(
    `PayPal's events: ${cases.length} cases of ${types.size} types, v1 ${of("v1")}, v2 ${of("v2")}`,
  );
  expect(cases.length).toBeGreaterThanOrEqual(25);
  expect([of("v1") > 10, of("v2") > 10]).toEqual([true, true]);
  expect(actedOn).toHaveLength(18);
  expect(actedOn.filter((type) => !types.has(type))).toEqual([]);
});

/** The types that have a reader. */
const actedOn = [
  ...readFileSync(join(projectRoot, "supabase/functions/paypal-webhook/facts.ts"), "utf8").matchAll(
    /^ {2}\["([A-Z.-]+)", \w+\],$/gm,
  ),
].map(([, type]) => type!);

test(
  "told backwards and twice, every case comes to the same",
  { tags: ["proof"], timeout: 120_000 },
  async () => {
    const readable = cases.filter(({ comes }) => comes.refused === undefined);
    for (const it of readable) {
      const { outcomes: _, note: __, ...comes } = it.comes;
      const { stands } = await told(stack, it, sender, (events) => [...events.toReversed(), ...events]);
      expect(stands, it.story).toEqual(comes);
    }
    console.log(`PayPal's events backwards and twice: ${readable.length} cases`);
  },
);

// each of them was so once, or would be easily
test.each([
  [
    "looks at no amounts of sales",
    "sales.ts",
    "if (prices.some(pays)) {",
    "if (prices.length > 0) {",
    "SALE",
  ],
  ["looks at no quantities", "sales.ts", "Number(quantity) !== 1", "Number(quantity) < 1", "SALE"],
  ["takes every dispute for a claim", "disputes.ts", 'stage === "INQUIRY"', 'stage === "NEVER"', "DISPUTE"],
  ["has lost what PayPal has denied", "disputes.ts", 'DENIED: "won"', 'DENIED: "lost"', "DISPUTE"],
  [
    "looks at no amounts of disputes",
    "disputes.ts",
    'return status === "lost" && isComparable ? got : wanted;',
    "return undefined;",
    "DISPUTE",
  ],
  [
    "keeps disputes by payment",
    "disputes.ts",
    "dispute_id: dispute.dispute_id",
    "dispute_id: seller_transaction_id",
    "DISPUTE",
  ],
  [
    "keeps an outcome when the dispute goes on",
    "disputes.ts",
    'status !== "RESOLVED"',
    'status === "NEVER"',
    "DISPUTE",
  ],
  ["leaves the minus", "refunds.ts", "Math.abs(cents)", "cents", "SALE"],
  [
    "takes a reversal for a refund",
    "facts.ts",
    '["PAYMENT.CAPTURE.REVERSED", reversal]',
    '["PAYMENT.CAPTURE.REVERSED", refund]',
    "DISPUTE|REVERSED",
  ],
  [
    "looks at no amounts of orders",
    "orders.ts",
    "isItsCurrency && cents === paid.cents",
    "isItsCurrency",
    "CAPTURE",
  ],
  [
    "looks at no currencies of orders",
    "orders.ts",
    "isItsCurrency && cents === paid.cents",
    "cents === paid.cents",
    "CAPTURE",
  ],
  [
    "looks at no currencies of sales",
    "sales.ts",
    "it.currency.toLowerCase() === paid.currency.toLowerCase()",
    "it.currency !== undefined",
    "SALE",
  ],
  [
    "gives a period for a setup fee",
    "sales.ts",
    '{ parked_reason: "setup_fee" } : another',
    "{} : another",
    "SALE",
  ],
  ["looks at no fees as high as the price", "sales.ts", "{ may_be_fee: true } : {}", "{} : {}", "SALE"],
  ["does not ask whose a fee is", "sales.ts", "isFeeKnown: !plan_overridden", "isFeeKnown: true", "SALE"],
  [
    "takes what PayPal counts later for what it counted then",
    "sales.ts",
    "Date.parse(newest) <= Date.parse(time) + clockDifferenceMs",
    "Date.parse(newest) > 0",
    "SALE",
  ],
  ["counts no periods", "sales.ts", "regular?.cycles_completed", "undefined", "SALE"],
  [
    "gives nothing where a setup fee comes with the price",
    "sales.ts",
    "paid.cents === cents + setupFee.cents",
    "paid.cents === cents",
    "SALE",
  ],
  ["gives back what PayPal has accepted", "disputes.ts", 'ACCEPTED: "lost"', 'ACCEPTED: "won"', "DISPUTE"],
  ["takes what was closed undecided", "disputes.ts", 'NONE: "won"', 'NONE: "lost"', "DISPUTE"],
  [
    "takes what the buyer has cancelled",
    "disputes.ts",
    'CANCELED_BY_BUYER: "won"',
    'CANCELED_BY_BUYER: "lost"',
    "DISPUTE",
  ],
  ["knows no reversals of sales", "facts.ts", '["PAYMENT.SALE.REVERSED", reversal],', "", "SALE"],
  [
    "reads no quantity that is a number",
    "sales.ts",
    'z.union([z.string(), z.number()], "a number")',
    "z.string()",
    "SALE",
  ],
  ["counts refunds that failed", "refunds.ts", 'FAILED: "failed"', 'FAILED: "succeeded"', "REFUND"],
])(
  "a function that %s fails these cases",
  { tags: ["proof"], timeout: 120_000 },
  async (_, file, right, wrong, types) => {
    const faulty = await startShop(paypal, { file: `paypal-webhook/${file}`, right, wrong });
    try {
      const about = cases.filter(({ type }) => new RegExp(types).test(type));
      const failed: string[] = [];
      for (const it of about) {
        const comes = await tried(faulty, it, sender).catch((error: unknown) => error);
        if (!isDeepStrictEqual(comes, it.comes)) failed.push(it.story);
      }
      console.log(`${wrong}: ${failed.length} of ${about.length} cases fail: ${failed.join("; ")}`);
      expect(failed).not.toEqual([]);
      expect(failed.length).toBeLessThan(about.length);
    } finally {
      await faulty.close();
    }
  },
);

test("books that count a reversal beside its dispute fail them too", { tags: ["proof"] }, async () => {
  const broken = await startShop(paypal);
  try {
    await applyMutant(broken.db, "reversals-beside-their-disputes");
    const about = cases.filter(({ story }) => /because of/.test(story));
    expect(about).toHaveLength(2);
    for (const it of about)
      expect((await tried(broken, it, sender)).tokens ?? 0, it.story).toBeLessThan(it.comes.tokens!);
  } finally {
    await broken.close();
  }
});
