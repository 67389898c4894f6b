import { describe, expect, test } from "vitest";
import { idempotencyKey } from "../../../supabase/functions/_shared/idempotency-key.ts";
import { wireName } from "../../../supabase/functions/_shared/names.ts";
import { problem, Refusal } from "../../../supabase/functions/_shared/problem.ts";

const requestId = "0b54a8f6-5f0e-4f0c-9a59-0a1f3f3c8f0a";

describe("a problem", () => {
  test("says what happened, with the facts as members of their own", async () => {
    const response = problem(
      new Refusal("insufficient_balance", { required: 500, available: 320 }),
      requestId,
    );
    expect(response.status).toBe(402);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toEqual({
      type: "docs/errors.md#insufficient_balance",
      title: "Insufficient balance",
      status: 402,
      detail: "500 tokens are needed, 320 are available. Nothing was changed. Add tokens, or ask for fewer.",
      instance: `urn:uuid:${requestId}`,
      code: "insufficient_balance",
      retryable: false,
      required: 500,
      available: 320,
    });
  });

  test("names the field at fault and what it must be", async () => {
    const response = problem(
      new Refusal("invalid_amount", { field: "delta", rule: "a whole number" }),
      requestId,
    );
    expect(await response.json()).toMatchObject({
      field: "delta",
      rule: "a whole number",
      detail: "delta: a whole number.",
    });
  });

  test("that is worth a retry says when", () => {
    expect(problem(new Refusal("busy"), requestId).headers.get("retry-after")).toBe("1");
    expect(problem(new Refusal("forbidden"), requestId).headers.get("retry-after")).toBeNull();
  });

  test("of an unknown caller says how to authenticate", () => {
    expect(problem(new Refusal("not_authenticated"), requestId).headers.get("www-authenticate")).toBe(
      "Bearer",
    );
  });
});

describe("an idempotency key", () => {
  test("comes from the header, quoted or bare, or from the body", () => {
    expect(idempotencyKey('"k-1"', undefined)).toBe("k-1");
    expect(idempotencyKey("k-1", undefined)).toBe("k-1");
    expect(idempotencyKey(null, "k-1")).toBe("k-1");
    expect(idempotencyKey('"k-1"', "k-1")).toBe("k-1");
    expect(idempotencyKey(null, undefined)).toBeUndefined();
  });

  test("that differs between header and body is refused", () => {
    expect(() => idempotencyKey("k-1", "k-2")).toThrow(
      expect.objectContaining({
        slug: "invalid_idempotency_key",
        facts: expect.objectContaining({ field: "idempotencyKey" }),
      }),
    );
    expect(() => idempotencyKey("", "k-2")).toThrow(Refusal);
  });
});

test("a name in SQL is known under its name in requests", () => {
  expect(["p_user_id", "p_idempotency_key", "tokens", "grant_type"].map(wireName)).toEqual([
    "userId",
    "idempotencyKey",
    "tokens",
    "grantType",
  ]);
});
