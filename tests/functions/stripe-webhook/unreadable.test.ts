/** Signed events that are not what is expected here: none may be a 500, and each says what is wrong with it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projectRoot } from "../../../scripts/project.ts";
import { expectCleanBooks } from "../../support/books.ts";
import type { Buyer } from "../event-outcomes.ts";
import { expectProblem, problemFaults } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
import { stripeCases } from "./cases.ts";
import type { StripeEvent } from "./objects.ts";
import {
  deliver,
  event,
  fresh,
  lineItems,
  prices,
  secret,
  session,
  signature,
  startShop,
  startStripe,
  type StripeStandIn,
} from "./stripe.ts";

let stripe: StripeStandIn;
let stack: Stack;
let user: string;

beforeAll(async () => {
  stripe = await startStripe();
  stack = await startShop(stripe);
  user = (await stack.user()).id;
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await stripe.close();
});

const send = async (body: string, to = stack) =>
  await to.ask("stripe-webhook", { body, headers: { "stripe-signature": await signature(body) } });

test.each([
  ["no JSON", "{", "body"],
  ["half of it", '{"id": "evt_1", "object": "event", "da', "body"],
  ["a list", "[]", "body"],
  ["nothing", "null", "body"],
  ["no id", '{"object": "event", "type": "charge.refunded"}', "id"],
  ["an id of the books' own", '{"id": "assigned:1", "type": "charge.refunded"}', "id"],
])("signed, and %s: 400, and what is wrong is in the answer and in the log", async (_, body, field) => {
  const answer = await send(body);
  expectProblem(answer, "invalid_provider_event", { status: 400, field });
  await expect.poll(() => stack.log.join("\n")).toContain(`cannot be read: ${field}: ${answer.body.rule}`);
});

test("an id of 4,000,000 characters is stored nowhere, nor is one of 300", async () => {
  const it = session(user, `pi_${"x".repeat(297)}`, lineItems(prices.starter));
  expectProblem(await deliver(stack, event("checkout.session.completed", it)), "invalid_provider_event", {
    field: "data.object.payment_intent",
  });
  const huge = session(user, `pi_${"x".repeat(4_000_000)}`, lineItems(prices.starter));
  expectProblem(await deliver(stack, event("checkout.session.completed", huge)), "payload_too_large");
});

/** What may stand where something else is expected. */
const strange = [undefined, null, "", "x".repeat(300), "\u0000", -1, 1.5, 1e300, true, [], {}, [null]];

/** The names of what is read of an event, from the code that says so. */
const source = readFileSync(join(projectRoot, "supabase/functions/stripe-webhook/objects.ts"), "utf8");
const read = new Set(Array.from(source.matchAll(/\b(\w+)(?:: |,$)/gm), ([, name]) => name!));

/** Each of those in an object, and in the objects in it: how to put another value there. */
function* places(value: unknown): Generator<(other: unknown) => void> {
  if (typeof value !== "object" || value === null) return;
  const holder = value as Record<string, unknown>;
  for (const [key, member] of Object.entries(holder)) {
    if (read.has(key)) yield (other) => void (holder[key] = other);
    if (read.has(key) || Array.isArray(value)) yield* places(member);
  }
}

test(
  "whatever stands in a field, the answer is 200 or 400, and never a 500",
  { tags: ["proof"], timeout: 300_000 },
  async () => {
    // one event of each type, and of each shape
    const cases = new Map(
      Object.values(stripeCases)
        .flat()
        .map((it) => [`${it.type} ${it.version.slice(0, 4)}`, it]),
    );
    const mix: Record<string, number> = {};
    const wrong: string[] = [];
    for (const [name, it] of cases) {
      const ids = new Map<string, string>();
      const them: Buyer = {
        userId: user,
        id: (prefix) => ids.get(prefix) ?? ids.set(prefix, fresh(prefix)).get(prefix)!,
      };
      for (const [id, list] of Object.entries(it.lists?.(them) ?? {})) stripe.lists.set(id, list);
      const whole = JSON.stringify(it.events(them).at(-1));
      const count = [...places(JSON.parse(whole))].length;
      const attempts = Array.from({ length: count }, (_, nth) => nth).flatMap((nth) =>
        // each place with a few of them, in turn, so that it ends
        [0, 1, 2].map((n) => ({ nth, other: strange[(nth + n * 4) % strange.length] })),
      );
      for (let from = 0; from < attempts.length; from += 20) {
        await Promise.all(
          attempts.slice(from, from + 20).map(async ({ nth, other }) => {
            const changed = JSON.parse(whole) as StripeEvent;
            [...places(changed)][nth]!(other);
            const answer = await deliver(stack, changed);
            mix[answer.status] = (mix[answer.status] ?? 0) + 1;
            const fine =
              answer.status === 200 || (answer.status === 400 && problemFaults(answer).length === 0);
            if (!fine && answer.status !== 503)
              wrong.push(`${name}, ${nth}: ${answer.status} ${answer.text}`);
          }),
        );
      }
    }
    console.log(`strange values in ${cases.size} events: ${JSON.stringify(mix)}, wrong ${wrong.length}`);
    expect(wrong).toEqual([]);
    expect([mix[200]! > 100, mix[400]! > 100]).toEqual([true, true]);
  },
);

test.each([
  ["nothing is set", {}, [true]],
  ["the key is of live mode", { STRIPE_SECRET_KEY: "rk_live_x" }, [true]],
  ["the key is of test mode", { STRIPE_SECRET_KEY: "rk_test_x" }, [false]],
  ["the setting says test", { STRIPE_MODE: "test" }, [false]],
  [
    "the setting says live and the key is of test mode",
    { STRIPE_MODE: "live", STRIPE_SECRET_KEY: "rk_test_x" },
    [true],
  ],
  ["the setting says neither", { STRIPE_MODE: "sandbox" }, []],
])("when %s, events of one mode count and those of the other are refused", async (_, settings, counting) => {
  const other = await startStack({ STRIPE_WEBHOOK_SECRET: secret, ...settings });
  try {
    for (const livemode of [true, false]) {
      const answer = await deliver(other, { ...event("price.created", { id: "price_1" }), livemode });
      if (counting.includes(livemode)) expect(answer.status).toBe(200);
      else if (counting.length === 0) expectProblem(answer, "internal_error");
      else expectProblem(answer, "wrong_event_mode", { status: 400, setting: "STRIPE_MODE" });
    }
    await expect
      .poll(() => other.log.join("\n"))
      .toMatch(/is of (live|test) mode, and|STRIPE_MODE is neither/);
  } finally {
    await other.close();
  }
});

test("a thin event is refused with what to do about it", async () => {
  const ping = {
    id: "evt_test_1",
    object: "v2.core.event",
    type: "v2.core.event_destination.ping",
    livemode: true,
    created: "2026-11-27T00:00:00.000Z",
  };
  const answer = await deliver(stack, ping);
  expectProblem(answer, "thin_event", { status: 400 });
  expect(answer.body.detail).toContain("snapshot");
});
