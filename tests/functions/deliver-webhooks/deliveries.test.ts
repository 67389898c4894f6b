import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { deduct, setRule } from "../../alerts/alerts.ts";
import { grant } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Fault, type Stack } from "../stack.ts";
import {
  formerSecret,
  type Receiver,
  secret,
  setEndpoint,
  signatureOf,
  startReceiver,
  verify,
} from "./webhooks.ts";

let receiver: Receiver;
let stack: Stack;
beforeAll(async () => {
  receiver = await startReceiver();
  stack = await start();
});
beforeEach(async () => {
  receiver.deliveries.length = 0;
  receiver.behave = () => 200;
  receiver.delayMs = 0;
});
afterEach(async () => {
  await stack.db.admin.query("delete from tokenbook.webhook_deliveries");
  await stack.db.admin.query("delete from public.token_alerts");
  await stack.db.admin.query("update public.token_accounts set last_alert_id = 0");
});
afterAll(async () => {
  await stack.close();
  await receiver.close();
});

/** Of grants tests/functions/deliver-webhooks/events.test.ts has to tell. */
const kinds = ["token_alert.dropped", "token_alert.recovered", "token_alert.expiring_soon"];

/** A stack with a rule, and the receiver as its one endpoint, `app`. */
async function start(secrets = secret, fault?: Fault): Promise<Stack> {
  const started = await startStack({ TOKEN_WEBHOOK_SECRET_APP: secrets }, fault);
  await setRule(started.db, { rule: "low", kind: "dropped", threshold_tokens: 50, notify_recovered: true });
  await setEndpoint(started.db, "app", receiver.url, { kinds });
  return started;
}

/** Users whose balance has just dropped, one alert each. */
async function dropped(of: Stack, users: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < users; i++) {
    const id = await createUser(of.db);
    await grant(of.db, id, 100);
    await deduct(of.db, id, 60);
    ids.push(id);
  }
  return ids;
}

const run = (of = stack) => of.ask("deliver-webhooks", { method: "POST", caller: of.server });

/** How the outbox stands. */
async function outbox(of = stack) {
  const { rows } = await of.db.admin.query(
    `select status, attempts, last_error as error, round(extract(epoch from next_attempt_at - clock_timestamp()))::int as due_in
       from tokenbook.webhook_deliveries order by id`,
  );
  return rows as { status: string; attempts: number; error: string | null; due_in: number | null }[];
}

/** Lets a pause, or a lease, be over. */
const later = (of = stack) =>
  of.db.admin.query(
    "update tokenbook.webhook_deliveries set next_attempt_at = clock_timestamp() where status = 'pending'",
  );

/** A stack of functions with one thing done otherwise, and what is asked of it. */
async function withFault(fault: Fault, ask: (faulty: Stack) => Promise<void>) {
  const faulty = await start(secret, fault);
  try {
    await ask(faulty);
  } finally {
    await faulty.close();
  }
}

test("an alert arrives once, signed as the standard says, and says what happened", async () => {
  const [user] = await dropped(stack, 1);

  expect(await run()).toMatchObject({ status: 200, body: { delivered: 1, failed: 0, given_up: 0 } });
  expect(await run()).toMatchObject({ status: 200, body: { delivered: 0, failed: 0, given_up: 0 } });

  expect(receiver.deliveries).toHaveLength(1);
  const delivery = receiver.deliveries[0]!;
  await verify(delivery);
  expect(delivery.headers["webhook-signature"]).toBe(signatureOf(delivery));
  await expect(verify({ ...delivery, body: delivery.body.replace("40", "41") })).rejects.toThrow("signature");
  await expect(verify(delivery, formerSecret)).rejects.toThrow("signature");
  expect(delivery.id).toMatch(/^event_[0-9a-f-]{36}$/);
  expect(delivery.event).toEqual({
    type: "token_alert.dropped",
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    data: {
      user_id: user,
      alert_id: 1,
      kind: "dropped",
      rule: "low",
      tokens_remaining: 40,
      tokens_limit: null,
      plan_type: null,
      transaction_id: 2,
      threshold_tokens: 50,
    },
  });
  expect(await outbox()).toEqual([{ status: "delivered", attempts: 1, error: null, due_in: null }]);
});

test("a receiver that fails gets it again after ever longer pauses, under the same id, until it is given up", async () => {
  await dropped(stack, 1);
  receiver.behave = () => 500;
  const pauses: number[] = [];
  for (let attempt = 1; attempt <= 10; attempt++) {
    const { body } = await run();
    expect(body).toEqual({ delivered: 0, failed: attempt < 10 ? 1 : 0, given_up: attempt < 10 ? 0 : 1 });
    const [now] = await outbox();
    expect(now).toMatchObject({ attempts: attempt, error: "HTTP 500" });
    if (now!.due_in !== null) pauses.push(now!.due_in);
    expect(await run()).toMatchObject({ body: { delivered: 0, failed: 0, given_up: 0 } }); // not due yet
    await later();
  }
  console.log(`pauses in seconds: ${pauses.join(", ")}`);
  for (const [nth, pause] of pauses.entries()) {
    const middle = Math.min(10 * 4 ** nth, 21_600);
    expect(pause).toBeGreaterThanOrEqual(middle * 0.75 - 3);
    expect(pause).toBeLessThanOrEqual(middle * 1.25 + 1);
  }
  expect(await outbox()).toEqual([{ status: "given_up", attempts: 10, error: "HTTP 500", due_in: null }]);
  expect(receiver.deliveries).toHaveLength(10);
  expect(new Set(receiver.deliveries.map(({ id, body }) => id + body)).size).toBe(1);
  for (const delivery of receiver.deliveries) await verify(delivery);

  receiver.behave = () => 200;
  await stack.db.admin.query("select public.retry_token_webhooks('app')");
  expect((await run()).body.delivered).toBe(1);
});

test.each([
  ["404", 404, "HTTP 404"],
  ["a redirect, which is not followed", 307, "HTTP 307"],
  ["a broken connection", "hang up", "not reached"],
] as const)("%s is a failure, and says nothing of the address", async (_, answer, error) => {
  await dropped(stack, 1);
  receiver.behave = () => answer;
  expect((await run()).body).toEqual({ delivered: 0, failed: 1, given_up: 0 });
  expect(await outbox()).toMatchObject([{ status: "pending", attempts: 1, error }]);
  // Deno itself tries a broken connection twice
  expect(new Set(receiver.deliveries.map(({ id }) => id)).size).toBe(1);
});

test("a receiver that stalls for one holds up no other", async () => {
  await withFault(
    {
      file: "deliver-webhooks/sender.ts",
      right: "const timeoutMs = 10_000;",
      wrong: "const timeoutMs = 500;",
    },
    async (impatient) => {
      const users = await dropped(impatient, 3);
      receiver.behave = ({ event }) => (event.data.user_id === users[1] ? "stall" : 200);
      expect((await run(impatient)).body).toEqual({ delivered: 2, failed: 1, given_up: 0 });
      expect((await outbox(impatient)).map(({ status, error }) => `${status} ${error}`)).toEqual([
        "delivered null",
        "pending timed out",
        "delivered null",
      ]);
    },
  );
});

/** Dies between sending and saying so, the first time. */
const mortal: Fault = {
  file: "deliver-webhooks/index.ts",
  right: "const error = await send(delivery);",
  wrong: "const error = await send(delivery); if (delivery.attempt === 1) Deno.exit(1);",
};

test("killed between sending and saying so, it is sent again when the lease ends, under the same id", async () => {
  await withFault(mortal, async (of) => {
    await dropped(of, 1);
    receiver.behave = (_, nth) => (nth === 1 ? 500 : 200);
    expect((await run(of)).status).toBe(500);
    expect(await outbox(of)).toMatchObject([{ status: "pending", attempts: 1, error: null }]);
    expect((await run(of)).body).toEqual({ delivered: 0, failed: 0, given_up: 0 }); // still leased
    await later(of);
    expect((await run(of)).body).toEqual({ delivered: 1, failed: 0, given_up: 0 });
    expect(receiver.deliveries.map(({ id }) => id)).toEqual(Array(2).fill(receiver.deliveries[0]!.id));
    expect(receiver.deliveries[1]!.body).toBe(receiver.deliveries[0]!.body);
  });
});

test("five runs at once send each of 100 alerts once", async () => {
  await dropped(stack, 100);
  receiver.delayMs = 200;
  const answers = await Promise.all(Array.from({ length: 5 }, () => run()));
  const sent = answers.map(({ body }) => body.delivered as number);
  console.log(`delivered by five runs: ${sent.join(" + ")}; deliveries=${receiver.deliveries.length}`);
  expect(sent.reduce((a, b) => a + b)).toBe(100);
  expect(new Set(receiver.deliveries.map(({ id }) => id)).size).toBe(100);
  expect(receiver.deliveries).toHaveLength(100);
});

test("the test sees it: claims that do not say so are sent by several", { tags: ["proof"] }, async () => {
  const broken = await start();
  await applyMutant(broken.db, "webhooks-claimed-by-several");
  await dropped(broken, 20);
  receiver.delayMs = 500;
  await Promise.all(Array.from({ length: 5 }, () => run(broken)));
  await broken.close();
  expect(receiver.deliveries.length).toBeGreaterThan(20);
});

test("while a secret is changed, both sign", async () => {
  const both = await start(`${secret} ${formerSecret}`);
  await dropped(both, 1);
  await run(both);
  await both.close();
  await verify(receiver.deliveries[0]!);
  await verify(receiver.deliveries[0]!, formerSecret);
});

test("what an expiry and changed rules make due is sent in the same run", async () => {
  const user = await createUser(stack.db);
  await grant(stack.db, user, 100, { type: "trial", expires_in: "2 hours" });
  await setRule(stack.db, { rule: "ends", kind: "expiring_soon", hours: 3, user_id: user });
  await run();
  expect(receiver.deliveries.map(({ event }) => event.type)).toEqual(["token_alert.expiring_soon"]);
});

test("nobody but the server may call it", async () => {
  const user = await stack.user();
  const admin = await stack.user({ admin: true });
  for (const caller of [undefined, user, admin]) {
    expectProblem(
      await stack.ask("deliver-webhooks", { method: "POST", ...(caller && { caller }) }),
      "not_authenticated",
    );
  }
  expectProblem(await stack.ask("deliver-webhooks", { caller: stack.server }), "method_not_allowed");
});

// which settings those are: tests/functions/shared/settings.test.ts
test("with settings that are none, nothing is sent and nothing is lost, and the answer and the log say which", async () => {
  const lame = await start("whsec_c2VjcmV0");
  await dropped(lame, 1);
  expectProblem(await run(lame), "not_configured", { setting: "TOKEN_WEBHOOK_SECRET_APP" });
  // Nobody else hears of it.
  expectProblem(
    await lame.ask("deliver-webhooks", { method: "POST", caller: await lame.user({ admin: true }) }),
    "not_authenticated",
  );
  expect(await outbox(lame)).toMatchObject([{ status: "pending", attempts: 0 }]);
  await expect.poll(() => lame.log.join("\n")).toContain("TOKEN_WEBHOOK_SECRET_APP is not whsec_");
  expect(lame.log.join("\n")).not.toContain("c2VjcmV0");
  await lame.close();
  expect(receiver.deliveries).toEqual([]);
});

test("a secret is one endpoint's, and an endpoint without one keeps nobody else from being told", async () => {
  const other = await startReceiver();
  const two = await startStack({ TOKEN_WEBHOOK_SECRET_APP: secret, TOKEN_WEBHOOK_SECRET_CRM: formerSecret });
  await setRule(two.db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  await setEndpoint(two.db, "app", receiver.url, { kinds: ["token_alert.dropped"] });
  await setEndpoint(two.db, "crm", other.url, { kinds });
  await setEndpoint(two.db, "bare", other.url, { kinds });
  await setEndpoint(two.db, "not_for_alerts", receiver.url, { kinds: ["token_alert.recovered"] });
  await setEndpoint(two.db, "off", receiver.url, { kinds, is_enabled: false });
  await dropped(two, 1);

  expectProblem(await run(two), "not_configured", { setting: "TOKEN_WEBHOOK_SECRET_BARE" });
  expect([receiver.deliveries.length, other.deliveries.length]).toEqual([1, 1]);
  await verify(receiver.deliveries[0]!, secret);
  await verify(other.deliveries[0]!, formerSecret);
  expect(other.deliveries[0]).toMatchObject({
    id: receiver.deliveries[0]!.id,
    body: receiver.deliveries[0]!.body,
  });
  const { rows } = await two.db.admin.query(
    "select endpoint, status, attempts from tokenbook.webhook_deliveries order by endpoint",
  );
  expect(rows).toEqual([
    { endpoint: "app", status: "delivered", attempts: 1 },
    { endpoint: "bare", status: "pending", attempts: 0 },
    { endpoint: "crm", status: "delivered", attempts: 1 },
  ]);
  await two.close();
  await other.close();
});

/** How long the good one waits for its 30 while the other takes no call at all, in ms. */
async function besideADeadOne(fault: Fault): Promise<number> {
  const dead = await startReceiver();
  dead.behave = () => "stall";
  const secrets = { TOKEN_WEBHOOK_SECRET_APP: secret, TOKEN_WEBHOOK_SECRET_A_DEAD_ONE: secret };
  const two = await startStack(secrets, fault);
  await setRule(two.db, { rule: "low", kind: "dropped", threshold_tokens: 50 });
  await setEndpoint(two.db, "app", receiver.url, { kinds });
  await setEndpoint(two.db, "a_dead_one", dead.url, { kinds });
  await dropped(two, 30);
  const begun = Date.now();
  const running = run(two);
  await expect.poll(() => receiver.deliveries.length, { timeout: 30_000, interval: 50 }).toBe(30);
  const waited = Date.now() - begun;
  expect((await running).body).toEqual({ delivered: 30, failed: 20, given_up: 0 });
  await two.close();
  await dead.close();
  return waited;
}

test("an endpoint that answers nothing holds up no other", async () => {
  const waited = await besideADeadOne({
    file: "deliver-webhooks/sender.ts",
    right: "const timeoutMs = 10_000;",
    wrong: "const timeoutMs = 4_000;",
  });
  console.log(`30 deliveries beside an endpoint that stalls for 4 s: ${waited} ms`);
  expect(waited).toBeLessThan(4_000);
});

test("the test sees it: one endpoint after the other", { tags: ["proof"] }, async () => {
  const waited = await besideADeadOne({
    file: "deliver-webhooks/index.ts",
    right: "const runs = await Promise.allSettled(endpoints.filter((it) => it.is_enabled).map(serve));",
    wrong:
      "const runs: PromiseSettledResult<void>[] = []; for (const it of endpoints) runs.push(...(await Promise.allSettled([serve(it)])));",
  });
  expect(waited).toBeGreaterThan(9_000);
});

test(
  "the test sees it: what counts as sent when it is handed out is lost when its sender dies",
  { tags: ["proof"] },
  async () => {
    await withFault(mortal, async (of) => {
      await applyMutant(of.db, "webhooks-settled-before-they-are-sent");
      await dropped(of, 1);
      receiver.behave = () => 500;
      await run(of);
      await later(of);
      expect((await run(of)).body).toEqual({ delivered: 0, failed: 0, given_up: 0 });
    });
  },
);
