import { randomUUID } from "node:crypto";
import { createClient, FunctionsHttpError, type SupabaseClient } from "@supabase/supabase-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import ws from "ws";
import { startStack, type Caller, type Stack } from "../stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack.close());

/** An unmodified client, signed in as the caller. */
function client({ headers }: Caller): SupabaseClient {
  const { apikey, ...global } = headers;
  return createClient(stack.url, apikey!, {
    auth: { persistSession: false, autoRefreshToken: false },
    global: { headers: global },
    realtime: { transport: ws as never }, // Node 20 has no WebSocket
  });
}

test("an admin grants and adjusts, and the user sees it, all through functions.invoke", async () => {
  const [admin, user] = [client(await stack.user({ admin: true })), await stack.user()];
  const granted = await admin.functions.invoke("grant", { body: { userId: user.id, tokens: 100 } });
  expect(granted).toMatchObject({ error: null, data: { tokens_remaining: 100 } });
  const adjusted = await admin.functions.invoke("admin-adjust", {
    body: { userId: user.id, delta: -30 },
    headers: { "Idempotency-Key": randomUUID() },
  });
  expect(adjusted).toMatchObject({ error: null, data: { tokens_remaining: 70 } });
  const seen = await client(user).functions.invoke("balance?limit=1", { method: "GET" });
  expect(seen).toMatchObject({
    error: null,
    data: {
      balance: { total_active: 70 },
      history: { transactions: [{ tokens: -30, actor_role: "admin" }] },
    },
  });
});

test("the secret key works as it does for the rest of the API", async () => {
  const user = await stack.user();
  const { data, error } = await client(stack.server).functions.invoke("grant", {
    body: { userId: user.id, tokens: 1 },
  });
  expect([error, data.tokens_remaining]).toEqual([null, 1]);
});

test("a refusal arrives as a FunctionsHttpError whose context is the problem", async () => {
  const admin = client(await stack.user({ admin: true }));
  const user = await stack.user();
  const { error } = await admin.functions.invoke("admin-adjust", {
    body: { userId: user.id, delta: -5 },
  });
  expect(error).toBeInstanceOf(FunctionsHttpError);
  expect(await error.context.json()).toMatchObject({
    code: "insufficient_balance",
    required: 5,
    available: 0,
  });
});

test("a client that is not signed in is 401, though it sends its publishable key as bearer too", async () => {
  const anonymous = client({ headers: { apikey: stack.keys.publishableKey } });
  const { error } = await anonymous.functions.invoke("balance", { method: "GET" });
  expect(error.context.status).toBe(401);
  expect(await error.context.json()).toMatchObject({ code: "not_authenticated" });
});
