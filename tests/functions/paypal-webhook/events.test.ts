import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { type Buyer, type Outcome, standing } from "../event-outcomes.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
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
async function buyer(): Promise<Buyer & { ids: Map<string, string> }> {
  const ids = new Map<string, string>();
  return {
    userId: (await stack.user()).id,
    ids,
    id(name) {
      if (!ids.has(name)) ids.set(name, fresh(`${name}-`));
      return ids.get(name)!;
    },
  };
}

/** Sends a case's events; how the last one is answered, and how things stand then. */
async function tried(it: PaypalCase): Promise<Outcome> {
  const them = await buyer();
  prepare(paypal, it, them);
  const before = (await standing(stack.db, { userId: them.userId, ids: [], before: 0 })).tokens ?? 0;
  const events = it.events(them);
  for (const event of events.slice(0, -1)) expect((await deliver(stack, event)).status).toBe(200);
  const answer = await deliver(stack, events.at(-1)!);
  const { outcomes, note } = (answer.body ?? {}) as Outcome;
  if (answer.status !== 200) expectProblem(answer, answer.body.code);
  return {
    ...(answer.status !== 200 && { refused: answer.body.code }),
    ...(outcomes !== undefined && outcomes.length > 0 && { outcomes }),
    ...(note !== undefined && { note }),
    ...(await standing(stack.db, { userId: them.userId, ids: [...them.ids.values()], before })),
  };
}

test.each(cases.map((it) => [it.type, it.version, it.story, it] as const))("%s (%s): %s", async (_type, _version, _story, it) => {
  expect(await tried(it)).toEqual(it.comes);
});

test("there are cases of both versions, and of every type that changes something", () => {
  const types = new Set(cases.map(({ type }) => type));
  const versions = Object.groupBy(cases, ({ version }) => version);
  console.log(`PayPal's events: ${cases.length} cases of ${types.size} types, v1 ${versions["v1"]?.length}, v2 ${versions["v2"]?.length}`); // prettier-ignore
  expect(cases.length).toBeGreaterThanOrEqual(25);
  expect(Object.keys(versions)).toEqual(expect.arrayContaining(["v1", "v2"]));
});
