/**
 * Every function that the client has, asked of the real database through the real data API, in each of its ways: what
 * it answers is what its type says, no field more and none less.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Tokenbook } from "../../packages/tokenbook/src/client/index.ts";
import { type Caller, startStack, type Stack } from "../functions/stack.ts";
import { startStripeApi, type StripeApi } from "../functions/stripe-api.ts";
import { expectCleanBooks } from "../support/books.ts";
import { asService, rpc } from "../support/roles.ts";
import { adminBooksOf, booksOf } from "./books.ts";
import { noting, type Schemas, schemasOfAnswers, type Seen } from "./schemas.ts";

const app = "https://app.example.com";
const seen: Seen = new Map();
let schemas: Schemas;
let api: StripeApi;
let stack: Stack;
let server: Tokenbook;
let admin: Tokenbook;
let user: Caller & { id: string };
let books: Tokenbook;

beforeAll(async () => {
  schemas = schemasOfAnswers();
  api = await startStripeApi();
  api.price("price_small", 500);
  stack = await startStack({ ...api.settings, CHECKOUT_ORIGINS: app });
  const by = noting(seen);
  server = booksOf(stack, stack.server, { by });
  admin = booksOf(stack, await stack.user({ admin: true }), { by });
  user = await stack.user();
  books = booksOf(stack, user, { by });
  await stack.db.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, price_cents, stripe_price_id)
       values ('small', 'Small', 1000, 500, 'price_small');
     insert into public.token_model_prices (model, valid_from, input_cents_per_million, output_cents_per_million)
       values ('gpt', '2026-01-01', 100, 200);
     select public.set_token_alert_rule('low', 'dropped', p_threshold_tokens => 9990, p_for_everyone => true)`,
  );
  await server.grant(10_000, { userId: user.id, grantType: "purchase" });
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
  await api.close();
});

const counts = { model: "gpt", inputTokens: 20, outputTokens: 10 };
const chat = { actionType: "chat_conversation", ...counts };

describe("the books of a user", () => {
  test("tell what they have, and had", async () => {
    expect(await books.balance()).toMatchObject({ user_id: user.id, total_active: 10_000 });
    expect(await books.balanceAt(new Date())).toMatchObject({ total_active: 10_000 });
    expect([await books.canSpend(), await books.canSpend(10_001), await books.hasPlan("starter")]).toEqual([
      true,
      false,
      false,
    ]);
    expect(await books.storageQuota()).toMatchObject({ total_quota_gb: expect.any(Number) });
    const nobody = await stack.user();
    expect(await booksOf(stack, nobody, { by: noting(seen) }).balance()).toMatchObject({ grants: [] });
  });

  test("spend, once under a key, and not more than there is", async () => {
    const key = crypto.randomUUID();
    const spent = await books.deduct(50, { actionType: "chat_conversation", idempotencyKey: key });
    expect(spent).toMatchObject({ success: true, tokens_deducted: 50, replayed: false });
    const again = await books.deduct(50, { actionType: "chat_conversation", idempotencyKey: key });
    expect(again).toMatchObject({ success: true, transaction_id: spent.transaction_id, replayed: true });
    const short = await books.deduct(1_000_000);
    expect(short).toMatchObject({ success: false, tokens_remaining_to_deduct: 990_050 });
  });

  test("record a use, quote one, and explain what it cost", async () => {
    expect(await books.quote(chat)).toMatchObject({ tokens: 30, sufficient: true, cost_estimate: 0.004 });
    expect(await books.quote({ actionType: "chat_conversation", tokens: 1_000_000 })).toMatchObject({
      sufficient: false,
    });
    const idempotencyKey = crypto.randomUUID();
    const used = await books.track({ ...chat, idempotencyKey });
    expect(used).toMatchObject({ success: true, tokens_deducted: 30, cost_estimate: 0.004 });
    expect(await books.track({ ...chat, idempotencyKey })).toMatchObject({ replayed: true });
    expect(await books.track({ ...chat, success: false, errorMessage: "down" })).toMatchObject({
      success: true,
      tokens_deducted: 0,
    });
    const much = { actionType: "chat_conversation", tokens: 1_000_000 };
    expect(await books.track(much)).toMatchObject({ success: false });
    expect(await books.explain({ usageId: used.usage_id! })).toMatchObject({ tokens_net: -30 });
    expect(await books.explain({ transactionId: used.transaction_id! })).toMatchObject({ tokens_net: -30 });
  });

  test("set tokens aside, pay out of them, and give them back", async () => {
    const hold = await books.reserve(100, { actionType: "chat_conversation" });
    expect(await books.capture(hold.hold_id!, counts)).toMatchObject({
      status: "captured",
      tokens_deducted: 30,
    });
    expect(await books.capture(hold.hold_id!, counts)).toMatchObject({ replayed: true });
    const small = await books.reserve(10);
    expect(await books.capture(small.hold_id!, { tokens: 1_000_000 })).toMatchObject({
      success: false,
      status: "open",
    });
    expect(await books.capture(small.hold_id!, { tokens: 25 })).toMatchObject({ tokens_deducted: 25 });
    const other = await books.reserve(10);
    expect(await books.release(other.hold_id!)).toMatchObject({ success: true, status: "released" });
    expect(await books.release(other.hold_id!)).toMatchObject({ replayed: true });
    expect(await books.capture(other.hold_id!)).toMatchObject({ success: false, status: "released" });
    expect(await books.release(hold.hold_id!)).toMatchObject({ success: false, status: "captured" });
    expect(await books.reserve(1_000_000)).toMatchObject({ success: false, hold_id: null });
  });

  test("hold tokens for a call, and for a stream", async () => {
    const { receipt } = await books.withTokenHold(
      { tokens: 100, actionType: "chat_conversation" },
      (hold) => {
        hold.report({ model: "gpt", inputTokens: 20, outputTokens: 10 });
        return Promise.resolve("Twice.");
      },
    );
    expect(receipt).toMatchObject({ outcome: "completed", tokensDeducted: 30 });
    const { stream, ended } = await books.streamWithTokenHold(
      { tokens: 100, actionType: "chat_conversation" },
      (hold) => {
        hold.report({ tokens: 7 });
        return Promise.resolve(new Response("Twice.").body!);
      },
    );
    expect(await new Response(stream).text()).toBe("Twice.");
    expect((await ended).receipt).toMatchObject({ tokensDeducted: 7 });
  });

  test("list their history, whole and by pages, and add up their use", async () => {
    const entries = [];
    for await (const entry of books.history({ limit: 2 })) entries.push(entry.id);
    expect(entries).toEqual(entries.toSorted((a, b) => b - a));
    expect(entries.at(-1)).toBe(1);
    const page = await books.history({ limit: 2 }).page();
    expect(page.transactions.map(({ id }) => id)).toEqual(entries.slice(0, 2));
    const next = await books.history({ limit: 2, before: page.next_before }).page();
    expect(next.transactions.map(({ id }) => id)).toEqual(entries.slice(2, 4));
    for (const by of ["none", "model", "action", "member"] as const) {
      expect((await books.usageBy({ by, bucket: "hour" })).rows.length).toBeGreaterThan(0);
    }
    const margin = { userId: user.id, by: "model", centsPerMillionTokens: 900 } as const;
    expect((await admin.usageBy(margin)).rows[0]).toMatchObject({ margin_cents: expect.any(Number) });
    expect((await server.usageBy({ forEveryone: true })).rows).toHaveLength(1);
    expect(await server.revenue({ bucket: "all" })).toMatchObject({ bucket: "all", rows: [], totals: [] });
  });
});

test("the catalogues are anybody's to read", async () => {
  const anon = booksOf(stack, { headers: { apikey: stack.keys.publishableKey } }, { by: noting(seen) });
  expect((await anon.plans.list()).length).toBeGreaterThan(2);
  expect(await anon.packs.list()).toMatchObject([{ pack_type: "small", tokens: 1_000 }]);
});

test("codes are redeemed, and who is referred says so", async () => {
  const byServer = (name: string, args: Record<string, unknown>) =>
    asService(stack.db, (client) => rpc(client, name, args));
  const { code } = await byServer("create_token_code", { p_tokens: 30, p_name: "a test" });
  const them = booksOf(stack, await stack.user(), { by: noting(seen) });
  expect(await them.codes.redeem(code)).toMatchObject({ tokens_granted: 30, replayed: false });
  expect(await them.codes.redeem(code)).toMatchObject({ tokens_granted: 30, replayed: true });
  await expect(them.codes.redeem("no-such-code")).rejects.toMatchObject({
    code: "code_not_redeemable",
    status: 404,
    retryable: false,
  });
  expect(await books.codes.referral()).toMatchObject({ is_on: false, referrer_tokens: null });
  await byServer("set_token_referral_policy", {
    p_referrer_tokens: 100,
    p_referred_tokens: 50,
  });
  const referral = await books.codes.referral();
  expect(referral).toMatchObject({ is_on: true, referrer_tokens: 100, rewards: 0 });
  expect(await them.codes.claimReferral(referral.code)).toMatchObject({
    referred_tokens: 50,
    replayed: false,
  });
  expect(await them.codes.claimReferral(referral.code)).toMatchObject({ replayed: true });
});

test("an admin and the server give, correct, undo and end", async () => {
  const { id } = await stack.user();
  const o = { userId: id, reason: "a test" };
  const grant = await admin.grant(500, {
    ...o,
    expiresAt: new Date(Date.now() + 86_400_000),
    idempotencyKey: "g",
  });
  expect(grant).toMatchObject({ success: true, tokens_granted: 500 });
  expect(await admin.grant(500, { ...o, expiresAt: grant.expires_at!, idempotencyKey: "g" })).toMatchObject({
    replayed: true,
  });
  expect(await server.grant(50, { ...o, grantType: "purchase", expiresAt: "infinity" })).toMatchObject({
    expires_at: null,
  });
  const sooner = new Date(Date.now() + 3_600_000);
  const key = { ...o, idempotencyKey: "e" };
  const shorter = await admin.setGrantExpiry(grant.grant_id, sooner, key);
  expect(shorter).toMatchObject({ success: true, replayed: false });
  expect(await admin.setGrantExpiry(grant.grant_id, sooner, key)).toMatchObject({ replayed: true });
  const later = { ...o, startsAt: new Date(Date.now() + 86_400_000) };
  const toCome = await admin.grant(70, later);
  const coming = await admin.upcomingGrants({ userId: id });
  expect(coming.grants).toMatchObject([
    { id: toCome.grant_id, tokens_granted: 70, starts_at: toCome.granted_at },
  ]);
  expect(await admin.voidGrant(toCome.grant_id, o)).toMatchObject({ success: true, tokens_voided: 0 });
  expect(await admin.adjust(100, o)).toMatchObject({ success: true, delta: 100 });
  expect(await admin.adjust(-100, o)).toMatchObject({ success: true, delta: -100 });
  expect(await admin.adjust(-100_000, o)).toMatchObject({ success: false });
  const { transaction_id } = await server.deduct(60, { userId: id });
  expect(await admin.refund(transaction_id!, { ...o, tokens: 10 })).toMatchObject({ tokens_refunded: 10 });
  const batch = await server.deductBatch([
    { userId: id, tokens: 5 },
    { userId: id, tokens: 1_000_000 },
    { userId: id, tokens: 5, actionType: "Not a name" },
  ]);
  expect(batch).toMatchObject({ success: false, deducted: 1, short: 1, failed: 1 });
  const { grants } = await server.balance({ userId: id });
  expect(await admin.voidGrant(grants[0]!.id, { ...o, takeBack: true })).toMatchObject({ success: true });
});

test("a frozen user spends nothing, and is told so", async () => {
  const { id } = await stack.user();
  const frozen = booksOf(stack, stack.server, { userId: id, by: noting(seen) });
  await frozen.grant(100);
  expect(await admin.setAccountState("frozen", { userId: id, reason: "a test" })).toMatchObject({
    state: "frozen",
  });
  expect(await frozen.balance()).toMatchObject({ state: "frozen", total_active: 100 });
  await expect(frozen.deduct(1)).rejects.toMatchObject({
    code: "account_frozen",
    status: 403,
    retryable: false,
  });
  expect(await frozen.quote({ actionType: "chat_conversation", tokens: 1 })).toMatchObject({
    state: "frozen",
  });
  expect(
    await frozen.track({ actionType: "chat_conversation", tokens: 1, onShortage: "partial" }),
  ).toMatchObject({
    success: true,
    tokens_remaining_to_deduct: 1,
  });
  await admin.setAccountState("active", { userId: id, reason: "a test" });
  expect(await admin.setOverdraft(20, { userId: id, reason: "a test" })).toMatchObject({
    limit_in_force: 20,
  });
  const used = await frozen.track({ actionType: "chat_conversation", tokens: 120, onShortage: "overdraft" });
  expect(used).toMatchObject({ success: true, tokens_overdrawn: 20 });
  expect(await frozen.balance()).toMatchObject({ total_owed: 20, overdraft_limit: 20 });
  expect(await admin.refund(used.transaction_id!, { userId: id, tokens: 5 })).toMatchObject({
    debt_cancelled: 5,
  });
});

test("caps are set, met and told", async () => {
  const { id } = await stack.user();
  const capped = booksOf(stack, stack.server, { userId: id, by: noting(seen) });
  await capped.grant(100);
  expect(await admin.caps.set("day", { userId: id, tokens: 10, reason: "a test" })).toMatchObject({
    limit: 10,
  });
  expect(await admin.caps.set("month", { planType: "starter", tokens: 1_000_000 })).toMatchObject({
    scope: "plan",
  });
  expect(await capped.caps.list()).toMatchObject({ caps: [{ scope: "user", window: "day", limit: 10 }] });
  const met = { success: false, capped_by: { scope: "user", limit: 10 } };
  expect(await capped.deduct(20)).toMatchObject(met);
  expect(await capped.reserve(20)).toMatchObject(met);
  expect(await capped.track({ actionType: "chat_conversation", tokens: 20 })).toMatchObject(met);
  expect(await capped.quote({ actionType: "chat_conversation", tokens: 20 })).toMatchObject({
    sufficient: false,
  });
  const part = { actionType: "chat_conversation", tokens: 20, onShortage: "partial" } as const;
  expect(await capped.track(part)).toMatchObject({ success: true, tokens_deducted: 10 });
  expect(await capped.deductBatch([{ userId: id, tokens: 20 }])).toMatchObject({ short: 1 });
  expect(await admin.caps.set("day", { userId: id, tokens: null })).toMatchObject({ limit: null });
  expect(await admin.caps.set("day", { forEveryone: true, tokens: null })).toMatchObject({
    scope: "everyone",
  });
});

test("a member of a team spends from the payer's account", async () => {
  const [payer, member] = [await stack.user(), await stack.user()];
  await server.grant(1_000, { userId: payer.id });
  const joined = await admin.team.add(member.id, { userId: payer.id, capDay: 100 });
  expect(joined).toMatchObject({ member_id: member.id, until: null, caps: [{ window: "day", limit: 100 }] });
  const theirs = booksOf(stack, member, { by: noting(seen) });
  expect(await theirs.balance()).toMatchObject({ payer_id: payer.id, total_active: 1_000 });
  const use = { actionType: "chat_conversation", tokens: 60 };
  expect(await theirs.track(use)).toMatchObject({ success: true, tokens_remaining: 940 });
  expect(await theirs.deduct(60)).toMatchObject({ success: false, capped_by: { scope: "member" } });
  expect(await theirs.quote(chat)).toMatchObject({ tokens: 30 });
  const own = booksOf(stack, payer, { by: noting(seen) });
  expect(await own.team.members({ limit: 10 })).toMatchObject({ members: [{ tokens_used: 60 }] });
  expect((await own.usageBy({ by: "member", bucket: "all" })).rows).toMatchObject([{ member_id: member.id }]);
  expect(await theirs.caps.list()).toMatchObject({ caps: [{ scope: "member" }] });
  expect(await admin.team.remove(member.id, { userId: payer.id })).toMatchObject({
    until: expect.any(String),
  });
});

test("a pack is paid for, and given back, where no plan limits anything", async () => {
  const { id: userId } = await stack.user();
  const asked = await server.payments.request({ packType: "small", userId });
  const approved = await admin.payments.approve(asked.payment_id, { userId, reason: "paid" });
  expect(approved).toMatchObject({ status: "approved", tokens_limit: null });
  const refunded = await admin.payments.refund(asked.payment_id, { userId, reason: "a test" });
  expect(refunded).toMatchObject({ status: "refunded", tokens_limit: null });
});

test("plans are taken, asked for, paid for by hand, and given back", async () => {
  const buyer = await stack.user();
  const theirs = booksOf(stack, buyer, { by: noting(seen) });
  expect(await theirs.plans.current()).toBeNull();
  expect(await theirs.plans.checkTrial()).toMatchObject({ trial: "full" });
  const change = await server.plans.change("starter", { userId: buyer.id, paymentMethod: "card" });
  expect(change).toMatchObject({ plan_type: "starter", effective: "now" });
  expect(await theirs.plans.current()).toMatchObject({ plan_type: "starter", is_active: true });
  expect(await theirs.hasPlan("starter")).toBe(true);

  const asked = await theirs.payments.request({ packType: "small", quantity: 2, idempotencyKey: "p" });
  expect(asked).toMatchObject({ status: "pending", amount_cents: 1_000 });
  const again = await theirs.payments.request({ packType: "small", quantity: 2, idempotencyKey: "p" });
  expect(again).toMatchObject({ payment_id: asked.payment_id, replayed: true });
  const approved = await admin.payments.approve(asked.payment_id, { userId: buyer.id, reason: "paid" });
  expect(approved).toMatchObject({ status: "approved", tokens_granted: 2_000 });
  expect(await admin.payments.approve(asked.payment_id, { userId: buyer.id })).toMatchObject({
    replayed: true,
  });
  const half = { userId: buyer.id, reason: "a test", refundedCents: 500 };
  expect(await admin.payments.refund(asked.payment_id, half)).toMatchObject({ tokens_clawed_back: 1_000 });
  const all = { userId: buyer.id, reason: "a test" };
  expect(await admin.payments.refund(asked.payment_id, all)).toMatchObject({ status: "refunded" });
  const plan = await theirs.payments.request({ planType: "starter" });
  expect(await admin.payments.reject(plan.payment_id, all)).toMatchObject({ status: "rejected" });
  expect(await theirs.payments.list({ limit: 10 })).toHaveLength(2);
});

test("pages to pay at are made", async () => {
  const addresses = { successUrl: `${app}/thanks`, cancelUrl: `${app}/plans` };
  expect(await books.checkout({ packType: "small", ...addresses })).toEqual({ url: expect.any(String) });
  expect(await books.portal({ returnUrl: app })).toEqual({ url: expect.any(String) });
  await expect(books.checkout({ packType: "none", ...addresses })).rejects.toMatchObject({
    code: "pack_not_found",
    status: 404,
  });
});

test("alerts are told, their rules set; a top-up too", async () => {
  await books.deduct(1);
  const [alert] = await books.alerts.list({ limit: 1 });
  expect(alert).toMatchObject({ kind: "dropped", rule: "low" });
  expect(await books.alerts.list({ before: alert!.id })).toEqual([]);
  const rule = { kind: "expiring_soon", hours: 24, userId: user.id } as const;
  expect(await admin.alerts.setRule("soon", rule)).toMatchObject({ rule: "soon", hours: 24 });
  expect(await admin.alerts.removeRule("soon", { userId: user.id })).toMatchObject({ removed: true });
  expect(await books.topUp.set({ isEnabled: false })).toMatchObject({ top_up: null });
  expect(await books.topUp.get()).toBeNull();
  expect(await books.topUp.set({ belowTokens: 10, packType: "small" })).toMatchObject({ is_enabled: true });
  expect(await books.topUp.get()).toMatchObject({ pack_type: "small" });
});

test("an admin sees everybody, and everything of one", async () => {
  const stripe = { p_provider: "stripe", p_provider_payment_id: "pi_parked" };
  await asService(stack.db, (client) =>
    rpc(client, "record_token_payment_event", {
      ...stripe,
      p_event_id: "evt_parked",
      p_event_type: "paid",
      p_facts: {
        kind: "paid",
        occurred_at: "2026-11-01T00:00:00Z",
        user_id: "00000000-0000-4000-8000-00000000dead",
        plan_type: "starter",
        amount_cents: 900,
        currency: "usd",
      },
    }),
  );
  await asService(stack.db, (client) => rpc(client, "create_token_code", { p_tokens: 5, p_name: "a code" }));
  const all = adminBooksOf(stack, await stack.user({ admin: true }), noting(seen));
  const { users, next_after } = await all.users({ search: user.id });
  expect([users[0]!.user_id, next_after]).toEqual([user.id, null]);
  expect((await all.users({ sort: "email", descending: false, limit: 1 })).next_after).toEqual(
    expect.any(String),
  );
  expect(await all.user(user.id)).toMatchObject({ is_user: true, alerts: expect.any(Array) });
  const forgotten = await stack.user();
  expect(await all.forget(forgotten.id)).toMatchObject({ is_done: true });
  await server.grant(50, { userId: user.id, expiresAt: new Date(Date.now() + 86_400_000 * 3) });
  expect((await all.expiries({ to: new Date(Date.now() + 86_400_000 * 5) })).length).toBeGreaterThan(0);
  expect(await all.discrepancies()).toEqual([]);
  expect(await all.reconcile(user.id)).toMatchObject({ remaining_difference: 0 });
  expect((await all.replay({ userId: user.id })).length).toBeGreaterThan(0);
  expect(await all.verify({ userId: user.id })).toEqual([]);
  const { payments, parked } = await all.payments({ limit: 10 });
  expect([payments.length > 0, parked.length]).toEqual([true, 1]);
  const first = await all.payments({ limit: 1, order: "oldest" });
  const second = await all.payments({ limit: 1, order: "oldest", after: first.next_after });
  expect([...first.payments, ...second.payments]).toEqual(payments.toReversed().slice(0, 2));
  expect(await all.parked()).toEqual(parked);
  expect(await all.parked({ limit: 1, after: parked[0]! })).toEqual([]);
  expect(await all.dismissParked("stripe", "pi_parked", { reason: "a test" })).toMatchObject({
    status: "dismissed",
  });
  expect((await all.codes({ limit: 1 })).codes).toMatchObject([{ name: "a code" }]);
  expect((await all.deliveries()).deliveries).toEqual([]);
});

test("an admin changes the catalogue, and reads what it costs", async () => {
  const all = adminBooksOf(stack, await stack.user({ admin: true }), noting(seen));
  const why = { reason: "a test" };
  expect(await all.setPlan("gold", { name: "Gold", tokens: 5_000 }, why)).toMatchObject({ is_new: true });
  expect(await all.setPlan("gold", { tokens: 6_000 }, why)).toMatchObject({ changed: ["tokens"] });
  expect(await all.setPack("small", { price_cents: 600 }, why)).toMatchObject({ changed: ["price_cents"] });
  const rate = { tokens_per_input: 0.25, markup_percent: 10 };
  expect(await all.setModelRate("gpt*", rate, why)).toMatchObject({ is_new: true, rate });
  expect(await all.setModelRate("gpt*", null, why)).toMatchObject({ rate: null });
  expect(await all.modelRates({ limit: 1 })).toMatchObject([
    { model_pattern: "gpt*", tokens_per_input: null },
  ]);
  expect(await all.modelRates({ after: "gpt*" })).toEqual([]);
  const validFrom = new Date(Date.now() + 86_400_000);
  const price = { output_cents_per_million: 300 };
  expect(await all.setModelPrice("gpt", price, { ...why, validFrom })).toMatchObject({ is_manual: false });
  expect(await all.modelPrices({ search: "PT" })).toMatchObject([
    { model: "gpt", input_cents_per_million: 100, ...price },
    { model: "gpt", output_cents_per_million: 200 },
  ]);
  expect(await all.modelPrices({ search: "g_t" })).toEqual([]);
  const cost = { min_tokens: 5, max_tokens: 5 };
  expect(await all.setActionCost("image", cost, why)).toMatchObject({ is_new: true });
  expect(await all.actionCosts({ limit: 100 })).toContainEqual({ action_type: "image", ...cost });
  expect(await all.setActionCost("image", null, why)).toMatchObject({ cost: null });
  const made = await all.createCode(5, { name: "spring", code: "SPRING-2026", maxRedemptions: 3 });
  expect(made).toMatchObject({ code: "SPRING-2026", max_redemptions: 3 });
  await expect(all.createCode(5, { name: "spring", code: "spring 2026" })).rejects.toMatchObject({
    code: "code_taken",
  });
  expect(await all.endCode(made.code_id, why)).toMatchObject({ state: "ended", replayed: false });
});

test("an admin says who is told by webhook, and sends again; and whose a parked payment is", async () => {
  const all = adminBooksOf(stack, await stack.user({ admin: true }), noting(seen));
  const kinds = ["token_alert.depleted", "token_grant.made"];
  const endpoint = await all.setEndpoint("ops", "https://hooks.example.com/secret", { kinds });
  expect(endpoint).toMatchObject({ kinds, secret_setting: "TOKEN_WEBHOOK_SECRET_OPS" });
  expect(await all.endpoints()).toEqual([endpoint]);
  expect((await all.alertRules()).map(({ rule }) => rule)).toContain("low");
  await server.grant(5, { userId: user.id });
  const { deliveries } = await all.deliveries({ endpoint: "ops", status: "pending" });
  expect(deliveries).toMatchObject([{ kind: "token_grant.made" }]);
  expect(await all.repeatDelivery(deliveries[0]!.id)).toMatchObject({ status: "pending" });
  expect(await all.retryDeliveries("ops")).toBe(0);
  expect(await all.removeEndpoint("ops")).toMatchObject({ removed: true });
  await asService(stack.db, (client) =>
    rpc(client, "record_token_payment_event", {
      p_provider: "stripe",
      p_provider_payment_id: "pi_whose",
      p_event_id: "evt_whose",
      p_event_type: "paid",
      p_facts: { kind: "paid", occurred_at: "2026-11-01T00:00:00Z", amount_cents: 600, currency: "usd" },
    }),
  );
  const whose = { userId: user.id, packType: "small", quantity: 1 };
  expect(await all.assignParked("stripe", "pi_whose", whose)).toMatchObject({
    status: "approved",
    tokens_granted: 1_000,
  });
});

describe("what was answered", () => {
  test("is of every function and every table that the client has", () => {
    const expected = [...schemas.functions, ...schemas.tables, "CheckoutPage", "PaymentsForAdmin"];
    expect([...seen.keys()].toSorted()).toEqual(expected.toSorted());
    const short = [...seen].filter(([, answers]) =>
      answers.some((it) => (it as { success?: boolean } | null)?.success === false),
    );
    expect(short.map(([name]) => name).toSorted()).toEqual([
      "adjust_tokens",
      "capture_tokens",
      "deduct_tokens_batch",
      "deduct_tokens_with_fifo",
      "release_tokens",
      "reserve_tokens",
      "track_token_usage",
    ]);
    console.log(`answers=${[...seen.values()].flat().length} functions=${seen.size}`);
  });

  test("is what its type says", () => {
    const faults = [...seen].flatMap(([name, answers]) =>
      answers.flatMap((answer) => schemas.faultOf(name, answer) ?? []),
    );
    expect(faults).toEqual([]);
  });

  test("would not be, with a field more, or without one", () => {
    const unseen: string[] = [];
    for (const [name, answers] of seen) {
      for (const answer of answers) {
        if (typeof answer !== "object" || answer === null) continue;
        if (schemas.faultOf(name, { ...answer, planted: 1 }) === undefined) unseen.push(`${name} planted`);
        for (const field of Object.keys(answer)) {
          const { [field]: _, ...rest } = answer as Record<string, unknown>;
          if (schemas.faultOf(name, rest) === undefined) unseen.push(`${name} without ${field}`);
        }
      }
    }
    // these are there only sometimes, and the types say so
    const optional = [
      "get_user_token_balance without payer_id",
      "get_user_token_balance without overdraft_limit",
      /without (capped_by|tokens_overdrawn|debt_cancelled|budget)$/,
    ];
    const missed = unseen.filter(
      (it) => !optional.some((one) => (one instanceof RegExp ? one.test(it) : one === it)),
    );
    expect([...new Set(missed)]).toEqual([]);
  });
});
