// @module-tag proof
/** The edge functions, from outside. `npm run test:against` runs it anywhere; where they are not deployed, it says so. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTarget, type Person, type Target } from "./target.ts";

let target: Target;
let user: Person;
let isServed: boolean;
beforeAll(async () => {
  target = await openTarget();
  user = await target.user();
  const { status, body } = await target.ask("/functions/v1/plans");
  isServed = status === 200 && Array.isArray(body?.plans);
  if (!isServed) console.log(`no edge functions at ${target.url}: HTTP ${status}; each trial of them fails`);
}, 120_000);
afterAll(() => target.close());

const grant = (body: unknown, headers: Record<string, string> = {}) =>
  target.ask("/functions/v1/grant", { as: target.server, body, headers });

test("a caller without a token is 401, a user without the right 403, and the server is let in", async () => {
  expect(isServed).toBe(true);
  expect(await target.ask("/functions/v1/balance")).toMatchObject({
    status: 401,
    body: { code: "not_authenticated" },
  });
  expect(
    await target.ask("/functions/v1/grant", { as: user.headers, body: { userId: user.id, tokens: 1 } }),
  ).toMatchObject({ status: 403, body: { code: "forbidden" } });
  expect(await grant({ userId: user.id, tokens: 7 })).toMatchObject({ status: 200 });
  const seen = await target.ask("/functions/v1/balance", { as: user.headers });
  expect(seen).toMatchObject({ status: 200, body: { balance: { user_id: user.id } } });
});

test.each([
  [
    "a member twice",
    (id: string) => `{"userId":"${id}","tokens":1,"\\u0074okens":1000}`,
    "application/json",
    400,
  ],
  ["a byte order mark", (id: string) => `\ufeff{"userId":"${id}","tokens":1}`, "application/json", 400],
  ["an array", (id: string) => `[{"userId":"${id}","tokens":1}]`, "application/json", 400],
  ["a form", (id: string) => `userId=${id}&tokens=1`, "application/x-www-form-urlencoded", 415],
  [
    "10 MB",
    (id: string) => JSON.stringify({ userId: id, tokens: 1, reason: "x".repeat(10_000_000) }),
    "application/json",
    413,
  ],
] as const)("a body of %s is refused, and gives nothing", async (_, body, type, status) => {
  const before = (await target.rpc("get_user_token_balance", { p_user_id: user.id })).body.total_active;
  const answer = await grant(body(user.id), { "content-type": type });
  expect(answer.status, answer.text.slice(0, 300)).toBe(status);
  expect((await target.rpc("get_user_token_balance", { p_user_id: user.id })).body.total_active).toBe(before);
});

test("a page of another origin may send what supabase-js sends", async () => {
  const sent = [
    "authorization",
    "apikey",
    "content-type",
    "traceparent",
    "tracestate",
    "baggage",
    "idempotency-key",
  ];
  const { headers } = await target.ask("/functions/v1/balance", {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example.com",
      "access-control-request-method": "GET",
      "access-control-request-headers": sent.join(", "),
    },
  });
  const allowed = headers.get("access-control-allow-headers")?.toLowerCase().split(/, */) ?? [];
  expect(sent.filter((header) => !allowed.includes(header))).toEqual([]);
});
