import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import { asService, rpc } from "../../support/roles.ts";
import { expectProblem } from "../problem.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";
import { recordPaymentEvent } from "../../support/provider-events.ts";

type User = Caller & { id: string };

let stack: Stack;
let admin: User;
let user: User;

beforeAll(async () => {
  stack = await startStack();
  admin = await stack.user({ admin: true });
});
afterAll(async () => {
  await expectCleanBooks(stack.db);
  await stack.close();
});
beforeEach(async () => {
  user = await stack.user();
});

const post = (body: unknown, caller: Caller = admin, headers: Record<string, string> = {}) =>
  stack.ask("payments", { caller, body, headers });

const list = (query: string, caller: Caller) => stack.ask("payments", { caller, query });

/** A payment of nobody's, for nothing that is known; its id at Stripe. */
async function park(): Promise<string> {
  const parked = `pi_${randomUUID()}`;
  await recordPaymentEvent(stack.db, parked, { kind: "paid", amount_cents: 900, currency: "usd" });
  return parked;
}

/** A user's request for a plan; its payment's id. */
async function asked(caller: User = user, planType = "professional"): Promise<string> {
  const { body } = await post({ action: "create", planType }, caller);
  return body.payment_id;
}

async function tokens(): Promise<{ total_active: number; tokens_limit: number | null }> {
  return (await stack.ask("balance", { caller: user })).body.balance;
}

describe("a payment", () => {
  test("asked for by a user waits, at the catalogue's price", async () => {
    const answer = await post({ action: "create", planType: "professional" }, user);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      success: true,
      payment_id: expect.any(String),
      status: "pending",
      from_plan: null,
      to_plan: "professional",
      pack_type: null,
      quantity: 1,
      terms: {
        name: "Professional",
        tokens: 2_000_000,
        grant_lifetime_days: null,
        issue_every: null,
        issue_on: "anniversary",
        refill_to: null,
        articles_limit: 200,
        storage_gb: 0,
        features: {},
      },
      amount_cents: 3900,
      currency: "usd",
    });
    expect(await tokens()).toMatchObject({ total_active: 0, tokens_limit: null });
  });

  test("that is approved is spendable, and the limit is the new total", async () => {
    await stack.ask("grant", { caller: admin, body: { userId: user.id, tokens: 10_000 } });
    const answer = await post({ action: "approve", userId: user.id, paymentId: await asked() });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        status: "approved",
        plan_type: "professional",
        tokens_granted: 2_000_000,
        tokens_remaining: 2_010_000,
      },
    });
    expect(await tokens()).toMatchObject({ total_active: 2_010_000, tokens_limit: 2_010_000 });
  });

  test("is approved once, however often the button is pressed", async () => {
    const body = { action: "approve", userId: user.id, paymentId: await asked() };
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(body)));

    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
    const replays = answers.filter(({ headers }) => headers.get("idempotency-replayed") === "true");
    expect(replays).toHaveLength(19);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(await tokens()).toMatchObject({ total_active: 2_000_000 });
  });

  test("that is refunded in part gives back its share, and says so again the same way", async () => {
    const paymentId = await asked();
    await post({ action: "approve", userId: user.id, paymentId });
    const half = { action: "refund", userId: user.id, paymentId, reason: "half", refundedCents: 1_950 };

    const first = await post(half);
    const again = await post(half);

    expect(first.body).toMatchObject({ status: "approved", tokens_clawed_back: 1_000_000 });
    expect(again).toMatchObject({ status: 200, text: first.text });
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(await tokens()).toMatchObject({ total_active: 1_000_000, tokens_limit: 1_000_000 });
    const tooMuch = await post({ ...half, refundedCents: 3_901 });
    expectProblem(tooMuch, "invalid_amount", { field: "refundedCents" });
  });

  test("that is rejected stays so, with the reason", async () => {
    const paymentId = await asked();
    const rejected = await post({ action: "reject", userId: user.id, paymentId, reason: "no transfer" });
    expect(rejected.body).toMatchObject({ status: "rejected" });
    const late = await post({ action: "approve", userId: user.id, paymentId });
    expectProblem(late, "payment_already_decided", { paymentStatus: "rejected", status: 409 });
    expect((await list("", user)).body.payments).toMatchObject([
      { status: "rejected", reason: "no transfer" },
    ]);
    expect(await tokens()).toMatchObject({ total_active: 0 });
  });

  test("asked for again with the same key is the same payment", async () => {
    const headers = { "idempotency-key": randomUUID() };
    const first = await post({ action: "create", planType: "starter" }, user, headers);
    const second = await post({ action: "create", planType: "starter" }, user, headers);
    expect(second.text).toBe(first.text);
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    const other = await post({ action: "create", planType: "annual" }, user, headers);
    expectProblem(other, "idempotency_key_reused", { differs: ["planType"] });
  });
});

describe("packs", () => {
  beforeAll(async () => {
    await asService(stack.db, (client) =>
      rpc(client, "set_token_pack", {
        p_pack_type: "small",
        p_pack: { name: "Small", tokens: 50_000, price_cents: 500 },
        p_reason: "a pack",
      }),
    );
  });

  test("are asked for, approved and refunded like a plan, and leave the plan alone", async () => {
    await post({ action: "approve", userId: user.id, paymentId: await asked(user, "starter") });
    const request = await post({ action: "create", packType: "small", quantity: 3 }, user);
    expect(request.body).toMatchObject({
      to_plan: null,
      pack_type: "small",
      quantity: 3,
      amount_cents: 1_500,
    });
    const { payment_id: paymentId } = request.body;

    const approved = await post({ action: "approve", userId: user.id, paymentId });
    expect(approved.body).toMatchObject({
      status: "approved",
      plan_type: null,
      pack_type: "small",
      quantity: 3,
      tokens_granted: 150_000,
      tokens_limit: 550_000,
      tokens_remaining: 550_000,
    });
    const back = { action: "refund", userId: user.id, paymentId, reason: "one of three", refundedCents: 500 };
    expect((await post(back)).body).toMatchObject({ status: "approved", tokens_clawed_back: 50_000 });
    expect(await tokens()).toMatchObject({ total_active: 500_000, tokens_limit: 500_000 });
  });

  test("that wait are shown to an admin beside what the catalogue says now, and to the user as they asked", async () => {
    const { body: request } = await post({ action: "create", packType: "small", quantity: 2 }, user);
    await asService(stack.db, (client) =>
      rpc(client, "set_token_pack", {
        p_pack_type: "small",
        p_pack: { price_cents: 700, lifetime_days: 365 },
        p_reason: "dearer",
      }),
    );

    const [shown] = (await list(`userId=${user.id}`, admin)).body.payments;
    const [own] = (await list("", user)).body.payments;

    const terms = { name: "Small", tokens: 50_000, priority: 50 };
    expect(shown).toMatchObject({
      id: request.payment_id,
      amount_cents: 1_000,
      terms: { ...terms, lifetime_days: null },
      offer_now: {
        amount_cents: 1_400,
        currency: "usd",
        is_offered: true,
        terms: { ...terms, lifetime_days: 365 },
        differs: ["amount_cents", "lifetime_days"],
      },
    });
    const { offer_now: _, disagrees, email, ...rest } = shown;
    expect(disagrees).toBeNull();
    const { rows } = await stack.db.admin.query("select email from auth.users where id = $1", [
      shown.user_id,
    ]);
    expect(email).toBe(rows[0].email);
    expect(own).toEqual(rest);
  });
});

describe("the list", () => {
  test("is a user's own, newest first", async () => {
    const stranger = await stack.user();
    await asked(stranger);
    const ids = [await asked(), await asked(user, "starter")];
    const { body } = await list("", user);
    expect(body.payments.map((payment: { id: string }) => payment.id)).toEqual(ids.toReversed());
    expect(body.payments[0]).toEqual({
      user_id: user.id,
      id: ids[1],
      status: "pending",
      provider: "manual",
      provider_payment_id: null,
      from_plan: null,
      to_plan: "starter",
      pack_type: null,
      quantity: 1,
      amount_cents: 900,
      currency: "usd",
      terms: expect.objectContaining({ tokens: 400_000 }),
      tokens: null,
      refunded_cents: 0,
      disputed_cents: 0,
      tokens_clawed_back: 0,
      reason: null,
      created_at: expect.any(String),
      decided_at: null,
      decided_by: null,
    });
    expect(body.parked).toBeUndefined();
    expect((await list(`userId=${user.id}&status=approved`, user)).body).toEqual({
      payments: [],
      next_after: null,
    });
    expectProblem(await list(`userId=${stranger.id}`, user), "forbidden");
    expectProblem(await list(`userId=${randomUUID()}`, user), "forbidden");
  });

  test("is everyone's that is pending, and what is parked, for an admin and the server", async () => {
    const approved = await asked();
    await post({ action: "approve", userId: user.id, paymentId: approved });
    const pending = [await asked(await stack.user()), await asked(await stack.user())];
    const parked = await park();
    for (const caller of [admin, stack.server]) {
      const { body } = await list("status=pending&limit=200", caller);
      const ids = body.payments.map((payment: { id: string }) => payment.id);
      expect(ids).toEqual(expect.arrayContaining(pending));
      expect(ids).not.toContain(approved);
      expect(body.parked).toContainEqual(expect.objectContaining({ provider_payment_id: parked }));
      expect((await list(`userId=${user.id}`, caller)).body.payments).toMatchObject([{ id: approved }]);
      expect((await list("limit=1", caller)).body.payments).toHaveLength(1);
    }
  });

  test.each(["newest", "oldest"])(
    "has pages that leave out nobody and name nobody twice, the %s first",
    async (order) => {
      // asked for one by one, and then four at one moment
      const ids = [await asked(user, "starter"), await asked(user), await asked(user, "annual")];
      const { rows } = await stack.db.admin.query(
        `insert into public.token_payments (user_id, status, to_plan, amount_cents, currency, terms, created_at)
       select $1, 'pending', 'annual', 900, 'usd', '{}', now() from generate_series(1, 4) returning id`,
        [user.id],
      );
      const alike = rows.map(({ id }) => id as string).toSorted();
      const oldest = [...ids, ...alike];
      const whole = order === "oldest" ? oldest : oldest.toReversed();
      for (const [caller, query] of [
        [user, ""],
        [admin, `&userId=${user.id}&status=pending`],
      ] as const) {
        const pages: string[][] = [];
        let after = "";
        for (;;) {
          const { body } = await list(`limit=2&order=${order}${query}${after}`, caller);
          pages.push(body.payments.map((payment: { id: string }) => payment.id));
          if (body.next_after === null || pages.length > 9) break;
          after = `&after=${encodeURIComponent(body.next_after)}`;
        }
        const turned = order === "oldest" ? "newest" : "oldest";
        expectProblem(await list(`limit=2&order=${turned}${query}${after}`, caller), "invalid_page", {
          field: "after",
        });
        expect(pages.map((page) => page.length)).toEqual([2, 2, 2, 1]);
        expect(pages.flat()).toEqual(whole);
      }
    },
  );

  test("is nobody's else: not of one who was an admin, not of one without a token", async () => {
    const former = await stack.user({ admin: true });
    await stack.db.admin.query("delete from tokenbook.admins where user_id = $1", [former.id]);
    expectProblem(await list("status=pending", former), "forbidden");
    for (const headers of [{} as Caller["headers"], { apikey: stack.keys.publishableKey }]) {
      expectProblem(await list("status=pending", { headers }), "not_authenticated");
    }
  });

  test.each([
    ["status=paid", "status"],
    ["limit=0", "limit"],
    ["limit=201", "limit"],
    ["order=worst", "order"],
    ["after=2025-01-01", "after"],
    ["after=2025-01-01T00:00:00Z%201", "after"],
    ["after=newest%202025-01-01T00:00:00Z%201", "after"],
    ["after=newest%202025-01-01T00:00:00Z%2000000000-0000-4000-8000-000000000001)%201", "after"],
    ["after=worst%202025-01-01T00:00:00Z%2000000000-0000-4000-8000-000000000001", "after"],
    ["after=oldest%202025-01-01T00:00:00Z%2000000000-0000-4000-8000-000000000001", "after"],
    ["userId=1", "userId"],
    ["plan=free", "plan"],
  ])("asked with ?%s is refused by name", async (query, field) => {
    const answer = await list(query, user);
    expect([answer.status, answer.body.field]).toEqual([400, field]);
  });
});

describe("a parked payment", () => {
  test("is taken off the list with a reason", async () => {
    const parked = await park();
    const dismiss = { action: "dismiss", provider: "stripe", providerPaymentId: parked, reason: "a test" };
    const ids = async () =>
      (await list("", admin)).body.parked.map(
        (one: { provider_payment_id: string }) => one.provider_payment_id,
      );
    expect(await ids()).toContain(parked);

    expectProblem(await post(dismiss, user), "forbidden");
    expectProblem(await post({ ...dismiss, reason: " " }), "invalid_reason", { field: "reason" });
    expect((await post(dismiss)).body).toMatchObject({ status: "dismissed", parked_reason: "nothing_named" });
    expect(await ids()).not.toContain(parked);
  });

  test("is given to the user whom an admin names", async () => {
    const parked = await park();
    const assign = {
      action: "assign",
      provider: "stripe",
      providerPaymentId: parked,
      userId: user.id,
      planType: "starter",
    };
    expectProblem(await post(assign, user), "forbidden");
    const nothing = await post({ ...assign, planType: undefined });
    expectProblem(nothing, "invalid_purchase", { field: "planType", status: 400 });
    expect(nothing.body.rule).toContain("packType and quantity");
    expectProblem(await post({ ...assign, providerPaymentId: "evt_1" }), "payment_not_found", {
      field: "providerPaymentId",
    });
    expectProblem(await post({ ...assign, planType: "gold" }), "plan_not_found", { field: "planType" });
    expect((await post(assign)).body).toMatchObject({ status: "approved", tokens_granted: 400_000 });
    expect(await tokens()).toMatchObject({ total_active: 400_000, tokens_limit: 400_000 });
    const other = await stack.user();
    expectProblem(await post({ ...assign, userId: other.id }), "payment_already_decided", {
      paymentStatus: "approved",
      differs: ["userId"],
    });
    const [{ id }] = (await list(`userId=${user.id}`, admin)).body.payments;
    const refund = { action: "refund", userId: user.id, paymentId: id, reason: "a test" };
    expectProblem(await post(refund), "paid_at_provider", { status: 409 });
  });

  test("finds the user of its customer once an admin has named them", async () => {
    const assign = {
      action: "assignCustomer",
      provider: "stripe",
      customerId: `cus_${user.id}`,
      userId: user.id,
    };
    expectProblem(await post(assign, user), "forbidden");
    expectProblem(await post({ ...assign, replace: true }), "invalid_reason", { field: "reason" });
    expectProblem(await post({ ...assign, customerId: "no good" }), "invalid_customer", {
      field: "customerId",
    });
    expect((await post(assign)).body).toMatchObject({
      success: true,
      user_id: user.id,
      payments_released: 0,
    });
    expect((await post(assign)).headers.get("idempotency-replayed")).toBe("true");
    const other = await stack.user();
    expect((await post({ ...assign, userId: other.id })).body).toMatchObject({
      success: false,
      user_id: user.id,
    });
  });
});

describe("who may not", () => {
  test("decide learns nothing, not even whether there is such a payment", async () => {
    const stranger = await stack.user();
    const real = await asked(stranger);
    for (const paymentId of [real, randomUUID()]) {
      for (const action of ["approve", "reject", "refund"]) {
        for (const userId of [user.id, stranger.id]) {
          expectProblem(await post({ action, userId, paymentId, reason: "mine" }, user), "forbidden");
        }
      }
    }
    expectProblem(
      await post({ action: "create", planType: "annual", userId: stranger.id }, user),
      "forbidden",
    );
    expect((await list("", stranger)).body.payments).toMatchObject([{ status: "pending" }]);
  });

  test.each([
    [{ action: "steal" }, "invalid_request", { field: "action" }],
    [{ planType: "annual" }, "invalid_request", { field: "action" }],
    [{ action: "create" }, "invalid_purchase", { field: "packType" }],
    [{ action: "create", planType: 7 }, "invalid_request", { field: "planType" }],
    [{ action: "create", planType: "annual", packType: "small" }, "invalid_purchase", { field: "packType" }],
    [{ action: "create", planType: "annual", quantity: 2 }, "invalid_purchase", { field: "quantity" }],
    [{ action: "create", packType: "small", quantity: 0 }, "invalid_purchase", { field: "quantity" }],
    [{ action: "create", packType: "small", quantity: 1.5 }, "invalid_purchase", { field: "quantity" }],
    [{ action: "create", packType: "gold" }, "pack_not_found", { field: "packType" }],
    [{ action: "create", planType: "gold" }, "plan_not_found", { field: "planType" }],
    [{ action: "create", planType: "annual", amountCents: 1 }, "invalid_request", { field: "amountCents" }],
    [{ action: "create", planType: "annual", tokens: 1e9 }, "invalid_request", { field: "tokens" }],
    [{ action: "approve", paymentId: "1" }, "invalid_user_id", { field: "userId" }],
    [[], "invalid_request", { field: "body" }],
  ] as const)("ask %j is told what is wrong", async (body, slug, facts) => {
    expectProblem(await post(body, user), slug, facts);
  });

  test("an admin is told when there is no such payment, or the reason is missing", async () => {
    const missing = { userId: user.id, paymentId: randomUUID() };
    expectProblem(await post({ action: "approve", ...missing }), "payment_not_found");
    expectProblem(await post({ action: "reject", ...missing }), "invalid_reason", { field: "reason" });
  });
});

test("the server must say for whom", async () => {
  expectProblem(await post({ action: "create", planType: "annual" }, stack.server), "invalid_user_id", {
    field: "userId",
  });
  const answer = await post({ action: "create", planType: "annual", userId: user.id }, stack.server);
  expect(answer.body).toMatchObject({ status: "pending" });
});
