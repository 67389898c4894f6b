/** Nobody is charged twice, or for nothing, whatever goes wrong between Stripe, the function and the books. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { Dice, seed } from "../../support/dice.ts";
import type { Fault, Stack } from "../stack.ts";
import { cards, type Card, startStripeApi, type StripeApi, type Trouble } from "../stripe-api.ts";
import { deliver, event } from "../stripe-webhook/stripe.ts";
import {
  agesAfter,
  diesAfterCharging,
  diesBetween,
  doesNotLook,
  intentsOf,
  keyless,
  later,
  outOfStep,
  run,
  runShort,
  settlesFirst,
  settlesUnasked,
  standing,
  startTopUps,
} from "./top-ups.ts";

let api: StripeApi;
beforeAll(async () => {
  api = await startStripeApi();
});
beforeEach(() => {
  api.ail = () => undefined;
});
afterAll(() => api.close());

const everyTrouble = [
  "slow",
  "silent before",
  "silent after",
  "hangs up after",
  "500 before",
  "500 after",
  "429",
] as const satisfies Trouble[];

/** Trouble at the first charge only. */
const atFirstCharge = (trouble: Trouble) => {
  api.asked.length = 0;
  api.ail = ({ method, path }, before) =>
    method === "POST" && path === "/v1/payment_intents" && before === 0 ? trouble : undefined;
};

/** One user whose first charge meets that trouble, then a second run when all is well. */
async function twoRuns(trouble: Trouble | undefined, ...faults: Fault[]) {
  const stack = await startTopUps(api, ...faults);
  try {
    const one = await runShort(stack, api);
    if (trouble !== undefined) atFirstCharge(trouble);
    const first = await run(stack);
    api.ail = () => undefined;
    await later(stack);
    await run(stack);
    if (trouble === "slow") await sleep(api.slowMs + 200); // what was asked for is carried out by now
    await later(stack);
    await run(stack);
    if (faults.length === 0) await expectCleanBooks(stack.db);
    return {
      first: first.body,
      ...(await standing(stack, one)),
      paid: intentsOf(api, one).filter(({ status }) => status === "succeeded").length,
    };
  } finally {
    await stack.close();
  }
}

describe("a charge whose answer is lost is asked for again, and made once", () => {
  test.each(everyTrouble)("%s", async (trouble) => {
    expect(await twoRuns(trouble)).toMatchObject({
      // a connection that breaks Deno mends itself, by asking again: under the same key
      first: trouble === "hangs up after" ? { done: 1 } : { waiting: 1 },
      attempts: { slow: 3, "hangs up after": 1 }[trouble as string] ?? 2,
      status: "done",
      paid: 1,
      tokens: 1_040,
      payments: 1,
    });
  });
});

test.each([
  ["after it has charged", diesAfterCharging],
  ["between the payment and the request", diesBetween],
])("a run that dies %s is followed by one that finds the same payment", async (_, fault) => {
  expect(await twoRuns(undefined, fault)).toMatchObject({
    first: { code: "WORKER_ERROR" },
    attempts: 2,
    status: "done",
    paid: 1,
    tokens: 1_040,
    payments: 1,
  });
});

test("a run dies after it has charged, and Stripe's own event comes first: the next run gives nothing twice", async () => {
  const stack = await startTopUps(api, diesAfterCharging);
  const one = await runShort(stack, api);
  expect((await run(stack)).status).toBe(500);
  expect((await deliver(stack, event("payment_intent.succeeded", intentsOf(api, one)[0]!))).status).toBe(200);
  expect(await standing(stack, one)).toMatchObject({ status: "pending", tokens: 1_040, payments: 1 });
  await later(stack);
  expect((await run(stack)).body.done).toBe(1);
  expect(await standing(stack, one)).toMatchObject({ status: "done", tokens: 1_040, payments: 1 });
  await stack.close();
});

test("after a day without an answer nothing is asked for under the old key; what was paid is found all the same", async () => {
  const stack = await startTopUps(api);
  const [lost, paid] = [await runShort(stack, api), await runShort(stack, api)];
  api.ail = ({ method, params }) => {
    if (method !== "POST") return undefined;
    return params["customer"] === lost.customer ? "silent before" : "silent after";
  };
  await run(stack);
  api.ail = () => undefined;
  api.forgetKeys();
  await agesAfter(stack, "21 hours");
  expect((await run(stack)).body).toEqual({ done: 1, failed: 1, waiting: 0 });
  expect(await standing(stack, lost)).toMatchObject({ status: "failed", reason: "no_answer", tokens: 40 });
  expect(await standing(stack, paid)).toMatchObject({ status: "done", tokens: 1_040 });
  await stack.close();
});

test("a payment that cannot be cancelled yet is not said to have failed", async () => {
  const stack = await startTopUps(api);
  const one = await runShort(stack, api, "empty");
  api.ail = ({ path }) => (path.endsWith("/cancel") ? "silent before" : undefined);
  expect((await run(stack)).body.waiting).toBe(1);
  api.ail = () => undefined;
  // somebody pays it in Stripe's dashboard meanwhile
  api.clear(intentsOf(api, one)[0]!, "succeeded");
  await later(stack);
  expect((await run(stack)).body.done).toBe(1);
  expect(await outOfStep(stack, api, [one])).toEqual([]);
  await stack.close();
});

describe("the tests see it", { tags: ["proof"] }, () => {
  test("without the key, a charge that takes its time is made twice", async () => {
    expect((await twoRuns("slow", keyless)).paid).toBe(2);
  });

  test("settled before the payment is booked, it is paid and not given", async () => {
    expect(await twoRuns(undefined, settlesFirst)).toMatchObject({ status: "done", paid: 1, tokens: 40 });
  });

  test("settled before it is charged, nothing is", async () => {
    expect(await twoRuns(undefined, settlesUnasked)).toMatchObject({ status: "done", paid: 0, tokens: 40 });
  });

  test("without looking first, a charge that Stripe says has failed is paid and never given", async () => {
    const stack = await startTopUps(api, doesNotLook);
    const one = await runShort(stack, api);
    atFirstCharge("500 after");
    for (let nth = 0; nth < 3; nth++) {
      await run(stack);
      await later(stack);
    }
    expect(await outOfStep(stack, api, [one])).toEqual(["pending, paid 1 times, given 0"]);
    await stack.close();
  });
});

/** 48 users with every card, through a Stripe that is unwell at much of what it is asked, until all is settled. */
async function storm(...faults: Fault[]) {
  const stack: Stack = await startTopUps(api, ...faults);
  const dice = new Dice(seed);
  const kinds = Object.keys(cards) as Card[];
  const all = await Promise.all(
    Array.from({ length: 48 }, (_, nth) => runShort(stack, api, kinds[nth % kinds.length]!)),
  );
  const met: Record<string, number> = {};
  api.slowMs = 8_000; // slower than a run: the next one does not see it yet
  api.ail = ({ method, path }) => {
    const isCharge = method === "POST" && path === "/v1/payment_intents";
    if (!dice.chance(isCharge ? 0.7 : 0.3)) return undefined;
    const trouble = isCharge && dice.chance(0.5) ? "slow" : dice.any(everyTrouble);
    met[trouble] = (met[trouble] ?? 0) + 1;
    return trouble;
  };
  for (let nth = 0; nth < 6; nth++) {
    await Promise.all([run(stack), run(stack)]);
    await later(stack);
  }
  api.ail = () => undefined;
  await sleep(api.slowMs + 200);
  let mix: Record<string, number> = {};
  for (let nth = 0; nth < 5 && (nth === 0 || mix["pending"] !== undefined); nth++) {
    for (const intent of api.intents) if (intent.status === "processing") api.clear(intent, "succeeded");
    await later(stack);
    await run(stack);
    mix = {};
    for (const one of all) {
      const { status } = await standing(stack, one);
      mix[status] = (mix[status] ?? 0) + 1;
    }
  }
  const violations = await outOfStep(stack, api, all);
  if (faults.length === 0) await expectCleanBooks(stack.db);
  await stack.close();
  console.log(
    `seed=${seed} users=48 asked=${api.asked.length} troubles=${JSON.stringify(met)} outcomes=${JSON.stringify(mix)} violations=${violations.length}`,
  );
  return { mix, violations };
}

describe("a storm", { tags: ["proof"] }, () => {
  test("through every trouble at once, money and tokens end in step", { timeout: 180_000 }, async () => {
    const { mix, violations } = await storm();
    expect(violations).toEqual([]);
    expect(mix["pending"]).toBeUndefined();
  });

  test("the test sees it: without the key", { timeout: 180_000 }, async () => {
    expect((await storm(keyless)).violations).not.toEqual([]);
  });
});
