import { afterAll, beforeAll, expect, test } from "vitest";
import { expectProblem } from "../problem.ts";
import { startStack, type Stack } from "../stack.ts";
import {
  capture,
  event,
  forgeries,
  fresh,
  type PaypalStandIn,
  startPaypal,
  transmission,
  without,
} from "./paypal.ts";

let paypal: PaypalStandIn;
let stack: Stack;
let user: string;
/** A payment worth forging. */
let body: string;

beforeAll(async () => {
  paypal = await startPaypal();
  stack = await startStack(paypal.settings);
  user = (await stack.user()).id;
  body = JSON.stringify(capture(fresh(), `${user}:starter`));
});
afterAll(async () => {
  await stack.close();
  await paypal.close();
});

const send = (payload: string, headers: Record<string, string>, to = stack) =>
  to.ask("paypal-webhook", { body: payload, headers });

async function payments(): Promise<number> {
  const { rows } = await stack.db.admin.query("select count(*)::int as n from public.token_payments");
  return rows[0].n;
}

test("a request that PayPal has not signed just so is refused, without a reason", async () => {
  const attempts = forgeries(body, user);
  const refused: string[] = [];
  const bodies = new Set<string>();
  for (const [name, [payload, headers]] of Object.entries(attempts)) {
    const answer = await send(payload, headers);
    if (answer.status === 400) refused.push(name);
    expectProblem(answer, "invalid_signature");
    bodies.add(JSON.stringify({ ...answer.body, instance: "" }));
  }
  console.log(`paypal-webhook: refused ${refused.length} of ${Object.keys(attempts).length} forgeries`);
  expect(refused).toEqual(Object.keys(attempts));
  expect(bodies.size).toBe(1); // a sender does not learn how far the check got
  expectProblem(await stack.ask("paypal-webhook", { body, caller: stack.server }), "invalid_signature");
  expect(await payments()).toBe(0);
  expect(await send(body, transmission(body))).toMatchObject({
    status: 200,
    body: { outcomes: ["approved"] },
  });
  expect(await payments()).toBe(1);
});

test.each([
  ["takes any answer for a yes", 'if (status !== "SUCCESS")', "if (status === undefined)", 12], // all that get as far as PayPal
  ["takes what is signed for another day", "if (isFromTheFuture(", "if (((_: unknown) => false)(", 1],
  ["lets a body write into its question", "const event = parse(body);", "const event = {};", 1],
])(
  "a function that %s would not get past these forgeries",
  { tags: ["proof"] },
  async (_, right, wrong, passed) => {
    const faulty = await startStack(paypal.settings, { file: "paypal-webhook/verify.ts", right, wrong });
    try {
      let verified = 0;
      for (const [payload, headers] of Object.values(forgeries(body, user))) {
        const { body: answer } = await send(payload, headers, faulty);
        if (answer.code !== "invalid_signature") verified++; // whatever is then made of it
      }
      expect(verified).toBe(passed);
    } finally {
      await faulty.close();
    }
  },
);

test("the body is verified by its very bytes, however it is written", async () => {
  const id = fresh();
  const odd = JSON.stringify(capture(id, `${user}:starter`), null, 3)
    .replace("starter", "st\\u0061rter")
    .replace('"9.00"', '"9.00" ');
  expect(await send(odd, transmission(odd))).toMatchObject({ status: 200, body: { outcomes: ["approved"] } });
});

// which settings it needs: tests/functions/shared/settings.test.ts
test("without PAYPAL_WEBHOOK_ID, everything is refused, and nothing is asked", async () => {
  const open = await startStack(without(paypal.settings, "PAYPAL_WEBHOOK_ID"));
  try {
    const before = paypal.requests.length;
    expectProblem(await send(body, transmission(body), open), "internal_error");
    expectProblem(await send(body, {}, open), "internal_error");
    expect(paypal.requests.length).toBe(before);
    await expect.poll(() => open.log.join("\n")).toContain("PAYPAL_WEBHOOK_ID is not set");
  } finally {
    await open.close();
  }
});

test("with a client that PayPal does not know, everything is refused", async () => {
  const stranger = await startStack({ ...paypal.settings, PAYPAL_CLIENT_SECRET: "guessed" });
  try {
    expectProblem(await send(body, transmission(body), stranger), "internal_error");
    expect(stranger.log.join("\n")).not.toContain("guessed");
  } finally {
    await stranger.close();
  }
});

test("while PayPal cannot verify, the event is to be sent again, and believed when it can", async () => {
  const payload = JSON.stringify(capture(fresh(), `${user}:starter`));
  const before = await payments();
  for (const status of [429, 500, 503]) {
    paypal.fail(status);
    expectProblem(await send(payload, transmission(payload)), "payment_provider_failed");
  }
  paypal.fail(200);
  expect(await payments()).toBe(before);
  expect((await send(payload, transmission(payload))).body.outcomes).toEqual(["approved"]);
});

test("an access token is used for many events, and replaced when PayPal takes it back", async () => {
  const signIns = () => paypal.requests.filter((it) => it === "POST /v1/oauth2/token").length;
  const before = signIns();
  const ask = () => {
    const payload = JSON.stringify(event("CHECKOUT.ORDER.APPROVED", { id: fresh() }));
    return send(payload, transmission(payload));
  };
  for (let i = 0; i < 5; i++) expect((await ask()).status).toBe(200);
  expect(signIns()).toBe(before);
  paypal.signOut();
  expect((await ask()).status).toBe(200);
  expect(signIns()).toBe(before + 1);
});
