import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { deduct, setRule } from "../../alerts/alerts.ts";
import { grant } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { createUser } from "../../support/roles.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Fault, type Stack } from "../stack.ts";
import { formerSecret, type Receiver, secret, signatureOf, startReceiver, verify } from "./webhooks.ts";

let receiver: Receiver;
let stack: Stack;
beforeAll(async () => {
  receiver = await startReceiver();
  stack = await startStack(receiver.settings);
  await rules(stack);
});
beforeEach(async () => {
  receiver.deliveries.length = 0;
  receiver.behave = () => 200;
  receiver.delayMs = 0;
});
afterEach(async () => {
  await stack.db.admin.query("delete from public.token_alerts");
  await stack.db.admin.query("update public.token_accounts set last_alert_id = 0");
});
afterAll(async () => {
  await stack.close();
  await receiver.close();
});

const rules = ({ db }: Stack) =>
  setRule(db, { rule: "low", kind: "dropped", threshold_tokens: 50, notify_recovered: true });

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

const run = (of = stack) => of.ask("deliver-alerts", { method: "POST", caller: of.server });

/** How the outbox stands. */
async function outbox(of = stack) {
  const { rows } = await of.db.admin.query(
    `select delivery, attempts, last_error as error, round(extract(epoch from next_attempt_at - clock_timestamp()))::int as due_in
       from public.token_alerts order by created_at, user_id, id`,
  );
  return rows as { delivery: string; attempts: number; error: string | null; due_in: number | null }[];
}

/** Lets a pause, or a lease, be over. */
const later = (of = stack) =>
  of.db.admin.query(
    "update public.token_alerts set next_attempt_at = clock_timestamp() where delivery = 'pending'",
  );

/** A stack of functions with one thing done otherwise, and what is asked of it. */
async function withFault(fault: Fault, ask: (faulty: Stack) => Promise<void>) {
  const faulty = await startStack(receiver.settings, fault);
  try {
    await rules(faulty);
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
  verify(delivery);
  expect(delivery.headers["webhook-signature"]).toBe(signatureOf(delivery));
  expect(() => verify({ ...delivery, body: delivery.body.replace("40", "41") })).toThrow("signature");
  expect(() => verify(delivery, formerSecret)).toThrow("signature");
  expect(delivery.id).toBe(`alert_${user}_1`);
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
  expect(await outbox()).toEqual([{ delivery: "delivered", attempts: 1, error: null, due_in: null }]);
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
  expect(await outbox()).toEqual([{ delivery: "given_up", attempts: 10, error: "HTTP 500", due_in: null }]);
  expect(receiver.deliveries).toHaveLength(10);
  expect(new Set(receiver.deliveries.map(({ id, body }) => id + body)).size).toBe(1);
  for (const delivery of receiver.deliveries) verify(delivery);

  receiver.behave = () => 200;
  await stack.db.admin.query("select public.retry_token_alerts(p_for_everyone => true)");
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
  expect(await outbox()).toMatchObject([{ delivery: "pending", attempts: 1, error }]);
  // Deno itself tries a broken connection twice
  expect(new Set(receiver.deliveries.map(({ id }) => id)).size).toBe(1);
});

test("a receiver that stalls for one holds up no other", async () => {
  await withFault(
    {
      file: "deliver-alerts/receiver.ts",
      right: "const timeoutMs = 10_000;",
      wrong: "const timeoutMs = 500;",
    },
    async (impatient) => {
      const users = await dropped(impatient, 3);
      receiver.behave = ({ event }) => (event.data.user_id === users[1] ? "stall" : 200);
      expect((await run(impatient)).body).toEqual({ delivered: 2, failed: 1, given_up: 0 });
      expect((await outbox(impatient)).map(({ delivery, error }) => `${delivery} ${error}`)).toEqual([
        "delivered null",
        "pending timed out",
        "delivered null",
      ]);
    },
  );
});

test("killed between sending and saying so, it is sent again when the lease ends, under the same id", async () => {
  await withFault(
    {
      file: "deliver-alerts/index.ts",
      right: "const error = await send(alert);",
      wrong: "const error = await send(alert); if (alert.attempt === 1) Deno.exit(1);",
    },
    async (mortal) => {
      await dropped(mortal, 1);
      expect((await run(mortal)).status).toBe(500);
      expect(await outbox(mortal)).toMatchObject([{ delivery: "pending", attempts: 1, error: null }]);
      expect((await run(mortal)).body).toEqual({ delivered: 0, failed: 0, given_up: 0 }); // still leased
      await later(mortal);
      expect((await run(mortal)).body).toEqual({ delivered: 1, failed: 0, given_up: 0 });
      expect(receiver.deliveries.map(({ id }) => id)).toEqual(Array(2).fill(receiver.deliveries[0]!.id));
      expect(receiver.deliveries[1]!.body).toBe(receiver.deliveries[0]!.body);
    },
  );
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
  const broken = await startStack(receiver.settings);
  await rules(broken);
  await applyMutant(broken.db, "alerts-claimed-by-several");
  await dropped(broken, 20);
  receiver.delayMs = 500;
  await Promise.all(Array.from({ length: 5 }, () => run(broken)));
  await broken.close();
  expect(receiver.deliveries.length).toBeGreaterThan(20);
});

test("while a secret is changed, both sign", async () => {
  const both = await startStack({ ...receiver.settings, ALERT_WEBHOOK_SECRET: `${secret} ${formerSecret}` });
  await rules(both);
  await dropped(both, 1);
  await run(both);
  await both.close();
  verify(receiver.deliveries[0]!);
  verify(receiver.deliveries[0]!, formerSecret);
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
      await stack.ask("deliver-alerts", { method: "POST", ...(caller && { caller }) }),
      "not_authenticated",
    );
  }
  expectProblem(await stack.ask("deliver-alerts", { caller: stack.server }), "method_not_allowed");
});

// which settings those are: tests/functions/shared/settings.test.ts
test("with settings that are none, nothing is sent and nothing is lost, and the answer and the log say which", async () => {
  const lame = await startStack({ ...receiver.settings, ALERT_WEBHOOK_SECRET: "whsec_c2VjcmV0" });
  await rules(lame);
  await dropped(lame, 1);
  expectProblem(await run(lame), "not_configured", { setting: "ALERT_WEBHOOK_SECRET" });
  // Nobody else hears of it.
  expectProblem(
    await lame.ask("deliver-alerts", { method: "POST", caller: await lame.user({ admin: true }) }),
    "not_authenticated",
  );
  expect(await outbox(lame)).toMatchObject([{ delivery: "pending", attempts: 0 }]);
  await expect.poll(() => lame.log.join("\n")).toContain("ALERT_WEBHOOK_SECRET is not whsec_");
  expect(lame.log.join("\n")).not.toContain("c2VjcmV0");
  await lame.close();
  expect(receiver.deliveries).toEqual([]);
});
