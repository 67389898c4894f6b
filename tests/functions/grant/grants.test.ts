import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { expectProblem } from "../problem.ts";
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

const give = (body: unknown, caller: Caller = admin, headers: Record<string, string> = {}) =>
  stack.ask("grant", { caller, body, headers });

const day = 86_400_000;

describe("a grant", () => {
  test("of {userId, tokens} is an admin's gift for a year", async () => {
    const user = await stack.user();
    const answer = await give({ userId: user.id, tokens: 1000 });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      success: true,
      grant_id: expect.any(String),
      tokens_granted: 1000,
      grant_type: "admin",
      granted_at: expect.any(String),
      expires_at: expect.any(String),
      pays_for: null,
      transaction_id: 1,
      tokens_remaining: 1000,
    });
    expect(Date.parse(answer.body.expires_at) - Date.parse(answer.body.granted_at)).toBe(365 * day);
  });

  test("has everything that the server says about it", async () => {
    const user = await stack.user();
    const answer = await give(
      {
        userId: user.id,
        tokens: 5_000_000,
        grantType: "annual",
        grantedAt: "2026-11-01T10:00:00.123456+02:00",
        expiresAt: "2999-01-01T00:00:00Z",
        priority: 10,
        reason: "invoice 17",
        metadata: { invoice: 17 },
      },
      stack.server,
    );
    expect(answer.body).toMatchObject({ grant_type: "annual", tokens_granted: 5_000_000 });
    const { rows } = await stack.db.admin.query(
      `select b.priority, b.metadata, t.reason, t.actor_role,
              b.granted_at = '2026-11-01T08:00:00.123456Z' as granted, b.expires_at = '2999-01-01T00:00:00Z' as expires
         from public.token_balances b join public.token_transactions t using (user_id) where b.user_id = $1`,
      [user.id],
    );
    expect(rows).toEqual([
      {
        priority: 10,
        metadata: { invoice: 17 },
        reason: "invoice 17",
        actor_role: "service",
        granted: true,
        expires: true,
      },
    ]);
  });

  test("that expires at infinity never does", async () => {
    const user = await stack.user();
    const answer = await give({ userId: user.id, tokens: 1, expiresAt: "infinity" });
    expect(answer.body.expires_at).toBeNull();
  });

  test("is replayed with the same status and body, and one effect", async () => {
    const user = await stack.user();
    const request = { userId: user.id, tokens: 70, grantType: "purchase" };
    const headers = { "idempotency-key": '"order-17"' };
    const first = await give(request, admin, headers);
    const second = await give(request, admin, headers);
    expect([second.status, second.text]).toEqual([first.status, first.text]);
    expect(first.headers.get("idempotency-replayed")).toBeNull();
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    expect(second.body.tokens_remaining).toBe(70);
  });

  test("under a key that stands for another is 422, naming what differs as the body names it", async () => {
    const user = await stack.user();
    const request = { userId: user.id, tokens: 70, idempotencyKey: randomUUID() };
    await give(request);
    const answer = await give({
      ...request,
      grantType: "trial",
      expiresAt: "2999-01-01T00:00:00Z",
    });
    expectProblem(answer, "idempotency_key_reused", { differs: ["expiresAt", "grantType"] });
  });
});

test("only the server may backdate: an admin who does is 400 on grantedAt", async () => {
  const user = await stack.user();
  const request = {
    userId: user.id,
    tokens: 1,
    grantedAt: "2026-01-01T00:00:00Z",
    expiresAt: "infinity",
  };
  expectProblem(await give(request), "invalid_granted_at", { field: "grantedAt" });
  expect((await give(request, stack.server)).status).toBe(200);
});

describe("a bad body is 400 and names the field", () => {
  const nobody = randomUUID();
  test.each<[string, string, object]>([
    ["invalid_user_id", "userId", { userId: undefined }],
    ["invalid_amount", "tokens", { tokens: undefined }],
    ["invalid_amount", "tokens", { tokens: 0 }],
    ["invalid_amount", "tokens", { tokens: -1 }],
    ["invalid_amount", "tokens", { tokens: 0.5 }],
    ["invalid_amount", "tokens", { tokens: 1e12 + 1 }],
    ["invalid_grant_type", "grantType", { grantType: "gift" }],
    ["invalid_grant_type", "grantType", { grantType: 1 }],
    ["invalid_grant_type", "grantType", { grantType: "x".repeat(50_000) }],
    ["invalid_priority", "priority", { priority: 101 }],
    ["invalid_priority", "priority", { priority: -1 }],
    ["invalid_priority", "priority", { priority: 3e9 }],
    ["invalid_priority", "priority", { priority: 0.5 }],
    ["invalid_expiry", "expiresAt", { expiresAt: "tomorrow" }],
    ["invalid_expiry", "expiresAt", { expiresAt: "2999-01-01" }],
    ["invalid_expiry", "expiresAt", { expiresAt: "2999-01-01T00:00:00" }],
    ["invalid_expiry", "expiresAt", { expiresAt: "2999-02-30T00:00:00Z" }],
    ["invalid_expiry", "expiresAt", { expiresAt: "2999-01-01T00:00:00+23:00" }],
    ["invalid_expiry", "expiresAt", { expiresAt: "0000-01-01T00:00:00Z" }],
    ["invalid_expiry", "expiresAt", { expiresAt: "-infinity" }],
    ["invalid_expiry", "expiresAt", { expiresAt: null }],
    ["invalid_expiry", "expiresAt", { expiresAt: 4102444800 }],
    ["invalid_granted_at", "grantedAt", { grantedAt: "infinity" }],
    ["invalid_starts_at", "startsAt", { startsAt: "infinity" }],
    ["invalid_starts_at", "startsAt", { startsAt: "soon" }],
    ["invalid_granted_at", "grantedAt", { grantedAt: "now" }],
    ["invalid_reason", "reason", { reason: "" }],
    ["invalid_idempotency_key", "idempotencyKey", { idempotencyKey: "ü" }],
    ["invalid_metadata", "metadata", { metadata: [1] }],
    ["invalid_request", "expiresAT", { expiresAT: "infinity" }],
  ])("%s: %s %o", async (slug, field, change) => {
    const answer = await give({ userId: nobody, tokens: 1, ...change });
    expectProblem(answer, slug as "invalid_request", { field });
  });

  test("also where only the books can know: an expiry that has passed, a start that has not come", async () => {
    const user = await stack.user();
    const past = { userId: user.id, tokens: 1, expiresAt: "2020-01-01T00:00:00Z" };
    expectProblem(await give(past), "invalid_expiry", {
      field: "expiresAt",
      rule: "in the future",
    });
    const future = {
      userId: user.id,
      tokens: 1,
      grantedAt: "2999-01-01T00:00:00Z",
      expiresAt: "infinity",
    };
    expectProblem(await give(future, stack.server), "invalid_granted_at", {
      field: "grantedAt",
      rule: "not in the future",
    });
  });
});

test("an unknown user is 404 to admins and the server, 403 to everybody else", async () => {
  const request = { userId: randomUUID(), tokens: 1 };
  expectProblem(await give(request), "user_not_found");
  expectProblem(await give(request, stack.server), "user_not_found");
  expectProblem(await give(request, await stack.user()), "forbidden");
});
