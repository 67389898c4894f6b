/** The three test cases of the document on token synchronisation, by name, as its users would run them. */
import { createClient } from "@supabase/supabase-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import ws from "ws";
import { createUser } from "../support/roles.ts";
import { expectCleanBooks } from "../support/books.ts";
import { giveFreePlanAtRegistration, standing } from "../support/plans.ts";
import { startStack, type Stack } from "./stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await giveFreePlanAtRegistration(stack.db);
});
afterAll(() => stack.close());

/** An unmodified client, as a browser has it; or one with that user's token. */
function client(token?: string) {
  return createClient(stack.url, stack.keys.publishableKey, {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: ws as never },
    ...(token && { global: { headers: { Authorization: `Bearer ${token}` } } }),
  });
}

test("Test Case 1: New User Registration", async () => {
  const supabase = client();
  const { data } = await supabase.auth.signUp({ email: "test@example.com", password: "Test123!@#" });
  const id = data.user!.id;

  const subscription = await supabase.from("token_subscriptions").select("plan_type, tokens_limit").single();
  const account = await supabase.from("token_accounts").select("tokens_remaining").single();
  const title = await supabase.rpc("deduct_tokens_with_fifo", {
    p_user_id: id,
    p_tokens_to_deduct: 300,
    p_action_type: "seo_title",
  });
  const balance = await supabase.rpc("get_user_token_balance");

  expect(account.data).toEqual({ tokens_remaining: 10_000 });
  expect(subscription.data).toEqual({ plan_type: "free", tokens_limit: 10_000 });
  expect(title.data).toMatchObject({ success: true, tokens_remaining: 9_700 });
  expect(balance.data).toMatchObject({ total_active: 9_700, tokens_limit: 10_000 });
});

test("Test Case 2: Admin Approves Payment", async () => {
  const user = await createUser(stack.db);
  const admin = await stack.user({ admin: true });
  const supabase = client(await stack.token(user));
  const asked = await supabase.functions.invoke("payments", {
    body: { action: "create", planType: "professional" },
  });

  const approved = await stack.ask("payments", {
    caller: admin,
    body: { action: "approve", userId: user, paymentId: asked.data.payment_id },
  });
  const rewrite = await supabase.rpc("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 2_000,
    p_action_type: "rewrite",
  });

  expect(approved.body).toMatchObject({
    success: true,
    tokens_limit: 2_010_000,
    tokens_remaining: 2_010_000,
  });
  expect(rewrite.data).toMatchObject({ success: true, tokens_remaining: 2_008_000 });
  expect(await standing(stack.db, user)).toEqual({
    plan: "professional",
    limit: 2_010_000,
    balance: 2_008_000,
    owed: 0,
  });
});

test("Test Case 3: Auto-Initialization Safety Net", async () => {
  // registration missed this user: a subscription, and no tokens
  await stack.db.admin.query("update public.token_plans set is_default = false where is_default");
  const user = await createUser(stack.db);
  await giveFreePlanAtRegistration(stack.db);
  await stack.db.admin.query(
    "insert into tokenbook.subscriptions (user_id, plan_type, billing_cycle, tokens_limit) values ($1, 'professional', 'monthly', 2000000)",
    [user],
  );
  const supabase = client(await stack.token(user));

  const title = await supabase.rpc("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: 300,
    p_action_type: "seo_title",
  });

  expect(title.data).toMatchObject({ success: true, tokens_remaining: 1_999_700 });
  expect(await standing(stack.db, user)).toEqual({
    plan: "professional",
    limit: 2_000_000,
    balance: 1_999_700,
    owed: 0,
  });
  await expectCleanBooks(stack.db);
});
