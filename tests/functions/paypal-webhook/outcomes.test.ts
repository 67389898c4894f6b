import { afterAll, beforeAll, expect, test } from "vitest";
import { readers } from "../../../supabase/functions/paypal-webhook/facts.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { type Buyer, type Outcome, standing } from "../event-outcomes.ts";
import { expectProblem } from "../problem.ts";
import { type Answer, startStack, type Stack } from "../stack.ts";
import { cases, catalogue, type PaypalCase, prepare } from "./cases.ts";
import { deliver, fresh, type PaypalStandIn, startPaypal } from "./paypal.ts";

let paypal: PaypalStandIn;
let stack: Stack;

beforeAll(async () => {
  paypal = await startPaypal();
  stack = await startStack(paypal.settings);
  await stack.db.admin.query(catalogue);
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await paypal.close();
});

/** Somebody whom no other case is about, and every id that theirs has used. */
async function buyer(on: Stack): Promise<Buyer & { ids: Map<string, string> }> {
  const ids = new Map<string, string>();
  return {
    userId: (await on.user()).id,
    ids,
    id(name) {
      if (!ids.has(name)) ids.set(name, fresh(`${name}-`));
      return ids.get(name)!;
    },
  };
}

/** Sends a case's events in that order; every answer, and how things stand then. */
async function told(
  on: Stack,
  it: PaypalCase,
  order = (events: object[]) => events,
): Promise<{ answers: Answer[]; stands: Partial<Outcome> }> {
  const them = await buyer(on);
  prepare(paypal, it, them);
  const before = (await standing(on.db, { userId: them.userId, ids: [], before: 0 })).tokens ?? 0;
  const answers: Answer[] = [];
  for (const event of order(it.events(them))) answers.push(await deliver(on, event));
  const ids = [...them.ids.values()];
  return { answers, stands: await standing(on.db, { userId: them.userId, ids, before }) };
}

/** How the last event of a case is answered, and how things stand then. */
async function tried(on: Stack, it: PaypalCase): Promise<Outcome> {
  const { answers, stands } = await told(on, it);
  const { status, body } = answers.at(-1)!;
  if (status !== 200) {
    expectProblem(answers.at(-1)!, body.code);
    return { refused: body.code, ...stands };
  }
  const { outcomes, note } = body as Outcome;
  return { ...(outcomes!.length > 0 && { outcomes }), ...(note !== undefined && { note }), ...stands };
}

test.each(cases.map((it) => [it.type, it.version, it.story, it] as const))(
  "%s (%s): %s",
  async (_type, _version, _story, it) => {
    expect(await tried(stack, it)).toEqual(it.comes);
  },
);

test("there are cases of both versions, and of every type that changes something", () => {
  const types = new Set(cases.map(({ type }) => type));
  const versions = Object.groupBy(cases, ({ version }) => version);
  console.log(`PayPal's events: ${cases.length} cases of ${types.size} types, v1 ${versions["v1"]?.length}, v2 ${versions["v2"]?.length}`); // prettier-ignore
  expect(cases.length).toBeGreaterThanOrEqual(25);
  expect(Object.keys(versions)).toEqual(expect.arrayContaining(["v1", "v2"]));
  expect([...readers.keys()].filter((type) => !types.has(type))).toEqual([]);
});

test("told backwards and twice, every case comes to the same", { tags: ["proof"] }, async () => {
  const readable = cases.filter(({ comes }) => comes.refused === undefined);
  for (const it of readable) {
    const { outcomes: _, note: __, ...comes } = it.comes;
    const { stands } = await told(stack, it, (events) => [...events.toReversed(), ...events]);
    expect(stands, it.story).toEqual(comes);
  }
  console.log(`PayPal's events backwards and twice: ${readable.length} cases`);
});

// each of them was so once
test.each([
  ["looks at no amounts of sales", "sales.ts", "if (pays(price)) return undefined;", "return undefined;"],
  ["looks at no quantities", "sales.ts", "Number(quantity) !== 1", "Number(quantity) < 1"],
  ["takes every dispute for a claim", "disputes.ts", 'stage === "INQUIRY"', 'stage === "NEVER"'],
  ["has lost what PayPal has denied", "disputes.ts", 'DENIED: "won"', 'DENIED: "lost"'],
  [
    "looks at no amounts of disputes",
    "disputes.ts",
    'return status === "lost" && isComparable ? got : wanted;',
    "return undefined;",
  ],
  [
    "keeps disputes by payment",
    "disputes.ts",
    "dispute_id: dispute.dispute_id",
    "dispute_id: seller_transaction_id",
  ],
  ["keeps an outcome when the dispute goes on", "disputes.ts", 'status !== "RESOLVED"', 'status === "NEVER"'],
  ["leaves the minus", "refunds.ts", "Math.abs(cents)", "cents"],
  [
    "takes a reversal for a refund",
    "facts.ts",
    '["PAYMENT.CAPTURE.REVERSED", reversal]',
    '["PAYMENT.CAPTURE.REVERSED", refund]',
  ],
  ["counts refunds that failed", "refunds.ts", 'FAILED: "failed"', 'FAILED: "succeeded"'],
])("a function that %s fails these cases", { tags: ["proof"] }, async (_, file, right, wrong) => {
  const faulty = await startStack(paypal.settings, { file: `paypal-webhook/${file}`, right, wrong });
  try {
    await faulty.db.admin.query(catalogue);
    const failed: string[] = [];
    for (const it of cases) {
      const comes = await tried(faulty, it).catch((error: unknown) => error);
      if (JSON.stringify(comes) !== JSON.stringify(await tried(stack, it))) failed.push(it.story);
    }
    console.log(`${wrong}: ${failed.length} of ${cases.length} cases fail: ${failed.join("; ")}`);
    expect(failed).not.toEqual([]);
  } finally {
    await faulty.close();
  }
});

test("books that count a reversal beside its dispute fail them too", { tags: ["proof"] }, async () => {
  const broken = await startStack(paypal.settings);
  try {
    await broken.db.admin.query(catalogue);
    await applyMutant(broken.db, "reversals-beside-their-disputes");
    const about = cases.filter(({ story }) => /because of/.test(story));
    expect(about).toHaveLength(2);
    for (const it of about)
      expect((await tried(broken, it)).tokens ?? 0, it.story).toBeLessThan(it.comes.tokens!);
  } finally {
    await broken.close();
  }
});
