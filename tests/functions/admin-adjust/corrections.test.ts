import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { asService, rpc } from "../../support/roles.ts";
import { expectProblem, withoutInstance } from "../problem.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";

let stack: Stack;
let admin: Caller & { id: string };

beforeAll(async () => {
  stack = await startStack();
  admin = await stack.user({ admin: true });
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
});

const adjust = (body: unknown, caller: Caller = admin, headers: Record<string, string> = {}) =>
  stack.ask("admin-adjust", { caller, body, headers });

async function usageOf(userId: string) {
  const { rows } = await stack.db.admin.query(
    "select action_type, tokens_used, metadata from public.token_usage where user_id = $1 order by created_at",
    [userId],
  );
  return rows;
}

async function remaining(userId: string): Promise<number> {
  const { rows } = await stack.db.admin.query(
    "select tokens_remaining from public.token_accounts where user_id = $1",
    [userId],
  );
  return Number(rows[0]?.tokens_remaining ?? 0);
}

describe("an adjustment", () => {
  test("of {userId, delta} grants when positive and deducts when negative, and writes the usage row of each", async () => {
    const user = await stack.user();
    const up = await adjust({ userId: user.id, delta: 10000 });
    expect(up.status).toBe(200);
    expect(up.body).toMatchObject({
      success: true,
      delta: 10000,
      tokens_remaining: 10000,
      transaction_id: 1,
      deducted_from: [],
    });
    const down = await adjust({
      userId: user.id,
      delta: -4000,
      reason: "granted twice",
      metadata: { ticket: 7 },
    });
    expect(down.status).toBe(200);
    expect(down.body).toMatchObject({
      success: true,
      delta: -4000,
      tokens_remaining: 6000,
      grant_id: null,
      deducted_from: [{ grant_id: up.body.grant_id, deducted: 4000 }],
    });
    expect(await usageOf(user.id)).toMatchObject([
      { action_type: "admin_grant", tokens_used: "10000" },
      {
        action_type: "admin_deduct",
        tokens_used: "4000",
        metadata: { reason: "granted twice", ticket: 7 },
      },
    ]);
  });

  test("is booked in the name of the admin, or of the server", async () => {
    const user = await stack.user();
    await adjust({ userId: user.id, delta: 1 });
    await adjust({ userId: user.id, delta: 2 }, stack.server);
    const { rows } = await stack.db.admin.query(
      "select actor_role, actor_id from public.token_transactions where user_id = $1 order by id",
      [user.id],
    );
    expect(rows).toEqual([
      { actor_role: "admin", actor_id: admin.id },
      { actor_role: "service", actor_id: null },
    ]);
  });

  test("for which there are too few tokens is 402 with required and available, and changes nothing", async () => {
    const user = await stack.user();
    await grant(stack.db, user.id, 320);
    const answer = await adjust({ userId: user.id, delta: -500, idempotencyKey: "short" });
    expectProblem(answer, "insufficient_balance", { required: 500, available: 320 });
    expect(await remaining(user.id)).toBe(320);
    expect(await usageOf(user.id)).toEqual([]);
  });

  test("that was short does not use up its key: the same request succeeds after a top-up", async () => {
    const user = await stack.user();
    const request = { userId: user.id, delta: -500, idempotencyKey: randomUUID() };
    expectProblem(await adjust(request), "insufficient_balance", { required: 500, available: 0 });
    await grant(stack.db, user.id, 600);
    expect(await adjust(request)).toMatchObject({ status: 200, body: { tokens_remaining: 100 } });
  });
});

describe("a spend cap", () => {
  test("does not limit an admin, who can take all that is there", async () => {
    const user = await stack.user();
    await grant(stack.db, user.id, 320);
    await asService(stack.db, (client) =>
      rpc(client, "set_token_spend_cap", { p_window: "day", p_tokens: 0, p_user_id: user.id, p_reason: "x" }),
    );
    expect(await adjust({ userId: user.id, delta: -20 })).toMatchObject({ status: 200 });
    expectProblem(await adjust({ userId: user.id, delta: -500 }), "insufficient_balance", {
      required: 500,
      available: 300,
    });
  });
});

describe("a replay", () => {
  test("answers the first status and body, and says that it is one", async () => {
    const user = await stack.user();
    for (const delta of [700, -300]) {
      const request = { userId: user.id, delta, idempotencyKey: randomUUID() };
      const first = await adjust(request);
      await adjust({ userId: user.id, delta: 11 });
      const second = await adjust(request);
      expect([second.status, second.text]).toEqual([first.status, first.text]);
      expect(first.headers.get("idempotency-replayed")).toBeNull();
      expect(second.headers.get("idempotency-replayed")).toBe("true");
      expect(second.headers.get("access-control-expose-headers")).toContain("Idempotency-Replayed");
      expect(second.body).not.toHaveProperty("replayed");
    }
    expect(await remaining(user.id)).toBe(700 - 300 + 22);
  });

  test("is recognised by the header too, quoted or bare, as by the body", async () => {
    const user = await stack.user();
    const key = randomUUID();
    const request = { userId: user.id, delta: 5 };
    const answers = [
      await adjust(request, admin, { "idempotency-key": `"${key}"` }),
      await adjust(request, admin, { "idempotency-key": key }),
      await adjust({ ...request, idempotencyKey: key }),
      await adjust({ ...request, idempotencyKey: key }, admin, { "idempotency-key": `"${key}"` }),
    ];
    expect(answers.map((a) => [a.status, a.headers.get("idempotency-replayed")])).toEqual([
      [200, null],
      [200, "true"],
      [200, "true"],
      [200, "true"],
    ]);
    expect(await remaining(user.id)).toBe(5);
  });

  test("twenty at once have one effect", async () => {
    const user = await stack.user();
    const request = { userId: user.id, delta: 9, idempotencyKey: randomUUID() };
    const answers = await Promise.all(Array.from({ length: 20 }, () => adjust(request)));
    expect(new Set(answers.map((a) => a.text)).size).toBe(1);
    expect(answers.filter((a) => a.headers.get("idempotency-replayed") === null)).toHaveLength(1);
    expect(await remaining(user.id)).toBe(9);
  });

  test("with another request is 422 and names the fields that differ, never their values", async () => {
    const user = await stack.user();
    const request = {
      userId: user.id,
      delta: 700,
      reason: "first words",
      idempotencyKey: randomUUID(),
    };
    await adjust(request);
    const answer = await adjust({
      ...request,
      delta: 701,
      reason: "other words",
      metadata: { a: 1 },
    });
    expectProblem(answer, "idempotency_key_reused", { differs: ["delta", "metadata", "reason"] });
    const { instance, ...said } = answer.body; // the instance is a random uuid
    expect(instance).toMatch(/^urn:uuid:/);
    expect(JSON.stringify(said)).not.toMatch(/70[01]|words/);
    expect(await remaining(user.id)).toBe(700);
  });

  test("under a key that a grant has used is 422, across the functions", async () => {
    const user = await stack.user();
    const key = randomUUID();
    await stack.ask("grant", {
      caller: admin,
      body: { userId: user.id, tokens: 5, idempotencyKey: key },
    });
    const answer = await adjust({ userId: user.id, delta: 5, idempotencyKey: key });
    expectProblem(answer, "idempotency_key_reused", {
      differs: expect.arrayContaining(["operation"]),
    });
  });

  test("with one key in the body and another in the header is refused", async () => {
    const user = await stack.user();
    const answer = await adjust({ userId: user.id, delta: 5, idempotencyKey: "a" }, admin, {
      "idempotency-key": "b",
    });
    expectProblem(answer, "invalid_idempotency_key", { field: "idempotencyKey" });
    expect(await remaining(user.id)).toBe(0);
  });
});

describe("a bad body is 400 and names the field", () => {
  const user = randomUUID(); // nobody: a bad body is noticed before that
  const long = "x".repeat(501);
  test.each<[string, string, unknown]>([
    ["invalid_user_id", "userId", { delta: 1 }],
    ["invalid_user_id", "userId", { userId: "42", delta: 1 }],
    ["invalid_user_id", "userId", { userId: null, delta: 1 }],
    ["invalid_amount", "delta", { userId: user }],
    ["invalid_amount", "delta", { userId: user, delta: 0 }],
    ["invalid_amount", "delta", { userId: user, delta: -0.0 }],
    ["invalid_amount", "delta", { userId: user, delta: 1.5 }],
    ["invalid_amount", "delta", { userId: user, delta: "5" }],
    ["invalid_amount", "delta", { userId: user, delta: null }],
    ["invalid_amount", "delta", { userId: user, delta: true }],
    ["invalid_amount", "delta", { userId: user, delta: [1] }],
    ["invalid_amount", "delta", { userId: user, delta: 1e12 + 1 }],
    ["invalid_amount", "delta", { userId: user, delta: -1e12 - 1 }],
    ["invalid_amount", "delta", `{"userId":"${user}","delta":9007199254740993}`],
    ["invalid_amount", "delta", `{"userId":"${user}","delta":1e999}`],
    ["invalid_reason", "reason", { userId: user, delta: 1, reason: "" }],
    ["invalid_reason", "reason", { userId: user, delta: 1, reason: " \n" }],
    ["invalid_reason", "reason", { userId: user, delta: 1, reason: long }],
    ["invalid_reason", "reason", { userId: user, delta: 1, reason: "a\0b" }],
    ["invalid_reason", "reason", `{"userId":"${user}","delta":1,"reason":"\\ud800"}`],
    ["invalid_reason", "reason", { userId: user, delta: 1, reason: 5 }],
    ["invalid_idempotency_key", "idempotencyKey", { userId: user, delta: 1, idempotencyKey: "" }],
    ["invalid_idempotency_key", "idempotencyKey", { userId: user, delta: 1, idempotencyKey: "a b" }],
    [
      "invalid_idempotency_key",
      "idempotencyKey",
      { userId: user, delta: 1, idempotencyKey: "k".repeat(256) },
    ],
    ["invalid_idempotency_key", "idempotencyKey", { userId: user, delta: 1, idempotencyKey: null }],
    ["invalid_metadata", "metadata", { userId: user, delta: 1, metadata: [] }],
    ["invalid_metadata", "metadata", { userId: user, delta: 1, metadata: "x" }],
    ["invalid_metadata", "metadata", { userId: user, delta: 1, metadata: null }],
    ["invalid_metadata", "metadata", { userId: user, delta: 1, metadata: { a: "x".repeat(8192) } }],
    ["invalid_metadata", "metadata", { userId: user, delta: 1, metadata: { a: "\0" } }],
    ["invalid_metadata", "metadata", `{"userId":"${user}","delta":1,"metadata":{"\\udc00":1}}`],
    ["invalid_metadata", "metadata", `{"userId":"${user}","delta":1,"metadata":{"a":9007199254740993}}`],
    [
      "invalid_metadata",
      "metadata",
      `{"userId":"${user}","delta":1,"metadata":{"a":${"[".repeat(5000)}${"]".repeat(5000)}}}`,
    ],
    ["invalid_request", "deltas", { userId: user, delta: 1, deltas: 1 }],
    ["invalid_request", "__proto__", `{"userId":"${user}","delta":1,"__proto__":{"admin":true}}`],
    ["invalid_request", "body", []],
    ["invalid_request", "body", "null"],
    ["invalid_request", "body", "{"],
    ["invalid_request", "body", ""],
    ["invalid_request", "body", new Uint8Array([0x7b, 0xff, 0x7d])],
    ["invalid_request", "body", "[".repeat(60000)],
  ])("%s: %s", async (slug, field, body) => {
    expectProblem(await adjust(body), slug as "invalid_request", { field });
  });

  test("and what is noticed first is the caller: a stranger with a bad body is 403", async () => {
    expectProblem(await adjust({}, await stack.user()), "forbidden");
  });
});

describe("the user", () => {
  test("a user who does not exist is 404 to admins and the server", async () => {
    const request = { userId: randomUUID(), delta: 1 };
    expectProblem(await adjust(request), "user_not_found");
    expectProblem(await adjust(request, stack.server), "user_not_found");
  });

  test("is 403 to everybody else, the same whether the user exists or not, and to the user", async () => {
    const [caller, other] = [await stack.user(), await stack.user()];
    const answers = await Promise.all(
      [caller.id, other.id, randomUUID()].map((userId) => adjust({ userId, delta: 1 }, caller)),
    );
    for (const answer of answers) expectProblem(answer, "forbidden");
    expect(withoutInstance(answers[1]!)).toEqual(withoutInstance(answers[2]!));
    expect(await remaining(caller.id)).toBe(0);
  });

  test("a balance beyond what JSON can count is 409", async () => {
    const user = await stack.user();
    await adjust({ userId: user.id, delta: 1 });
    await stack.db.admin.query(
      "update public.token_accounts set tokens_used = 9007199254740990 where user_id = $1",
      [user.id],
    );
    const answer = await adjust({ userId: user.id, delta: 1 });
    expectProblem(answer, "balance_limit_exceeded", { limit: 9007199254740991 });
  });
});
