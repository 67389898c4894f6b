import { afterAll, beforeAll, expect, test } from "vitest";
import { expectProblem } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
import {
  deliver,
  event,
  forgeries,
  fresh,
  lineItems,
  prices,
  secret,
  session,
  signature,
  signedWithNothing,
} from "./stripe.ts";

let stack: Stack;
let user: string;
/** A payment worth forging, and not a byte of it sent otherwise than Stripe would. */
let body: string;

beforeAll(async () => {
  stack = await startStack({ STRIPE_WEBHOOK_SECRET: secret });
  await stack.db.admin.query(
    "update public.token_plans set stripe_price_id = $1 where plan_type = 'professional'",
    [prices.professional],
  );
  user = (await stack.user()).id;
  const bought = session(user, fresh("pi"), lineItems(prices.professional));
  body = JSON.stringify(event("checkout.session.completed", bought), null, 2);
});
afterAll(() => stack.close());

const send = (payload: string, header: string | undefined, to = stack) =>
  to.ask("stripe-webhook", {
    body: payload,
    headers: header === undefined ? {} : { "stripe-signature": header },
  });

async function payments(of = stack): Promise<number> {
  const { rows } = await of.db.admin.query("select count(*)::int as n from public.token_payments");
  return rows[0].n;
}

test("a request that Stripe has not signed just so is refused, without a reason", async () => {
  const attempts = await forgeries(body, user);
  const refused: string[] = [];
  const bodies = new Set<string>();
  for (const [name, [payload, header]] of Object.entries(attempts)) {
    const answer = await send(payload, header);
    if (answer.status === 400) refused.push(name);
    expectProblem(answer, "invalid_signature");
    bodies.add(JSON.stringify({ ...answer.body, instance: "" }));
  }
  console.log(`stripe-webhook: refused ${refused.length} of ${Object.keys(attempts).length} forgeries`);
  expect(refused).toEqual(Object.keys(attempts));
  expect(bodies.size).toBe(1); // a sender does not learn how far the check got
  expect(await payments()).toBe(0);
  expectProblem(await stack.ask("stripe-webhook", { body, caller: stack.server }), "invalid_signature");
  expect(await payments()).toBe(0);
  const good = await signature(body);
  expect(await send(body, good)).toMatchObject({ status: 200, body: { outcomes: ["approved"] } });
  expect(await payments()).toBe(1);
});

test.each([
  ["believes everyone", "    await Stripe", "    if (body) return body;\n    await Stripe", 22], // all that have a body, and a time that has come,
  [
    "takes what is signed for another day",
    "if (isFromTheFuture(signature))",
    "if (signature === undefined)",
    3,
  ],
  ["forgets the time", "const tolerance = 300;", "const tolerance = 0;", 2],
  [
    "reads the body before it verifies",
    "await request.text();",
    "JSON.stringify(JSON.parse(await request.text() || '{}'), null, 2);",
    2,
  ],
])(
  "a function that %s would not get past these forgeries",
  { tags: ["proof"] },
  async (_, right, wrong, taken) => {
    const faulty = await startStack(
      { STRIPE_WEBHOOK_SECRET: secret },
      { file: "stripe-webhook/index.ts", right, wrong },
    );
    try {
      let accepted = 0;
      for (const [payload, header] of Object.values(await forgeries(body, user))) {
        const { status } = await send(payload, header, faulty);
        if (status === 200) accepted++;
      }
      expect(accepted).toBe(taken);
    } finally {
      await faulty.close();
    }
  },
);

// that an unset or a blank one is no other: tests/functions/shared/settings.test.ts
test("with the secret empty, everything is refused, even what is signed with it", async () => {
  const open = await startStack({ STRIPE_WEBHOOK_SECRET: "" });
  try {
    const headers = [undefined, signedWithNothing(body), await signature(body)];
    for (const blank of ["undefined", "null", " ", "  "])
      headers.push(await signature(body, { secret: blank }));
    for (const header of headers) expectProblem(await send(body, header, open), "internal_error");
    await expect.poll(() => open.log.join("\n")).toContain("STRIPE_WEBHOOK_SECRET is not set");
    expect(await payments(open)).toBe(0);
    console.log(`stripe-webhook without a secret: refused ${headers.length} of ${headers.length}`);
  } finally {
    await open.close();
  }
});

test("while a secret is being replaced, Stripe signs with both, and one good signature will do", async () => {
  const mine = event("checkout.session.completed", session((await stack.user()).id, fresh("pi")));
  const payload = JSON.stringify(mine);
  const [time, good] = (await signature(payload)).split(",") as [string, string];
  const answer = await send(payload, `${time},v1=${"0".repeat(64)},${good}`);
  expect(answer).toMatchObject({ status: 200, body: { outcomes: ["parked"] } });
});

test("an event of a kind that nobody has heard of is taken note of, so that Stripe stops sending it", async () => {
  const unknown = event("radar.early_fraud_warning.created", { id: "issfr_1" });
  expect(await deliver(stack, unknown)).toMatchObject({
    status: 200,
    body: { received: true, outcomes: [] },
  });
});

test("an event larger than other requests may be is read, and one beyond all measure is not", async () => {
  const large = { ...event("price.created", { id: "price_1", note: "x".repeat(300_000) }) };
  expect(await deliver(stack, large)).toMatchObject({ status: 200 });
  const huge = { ...event("price.created", { id: "price_1", note: "x".repeat(600_000) }) };
  expectProblem(await deliver(stack, huge), "payload_too_large", {
    limit: 524_288,
    detail: "Send at most 524288 bytes.",
  });
});
