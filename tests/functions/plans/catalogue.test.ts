import { afterAll, beforeAll, expect, test } from "vitest";
import { expectProblem } from "../problem.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack.close());

test("everyone sees the plans that are offered, lowest rank first", async () => {
  await stack.db.admin.query("update public.token_plans set is_offered = false where plan_type = 'grow'");
  const user = await stack.user();
  const callers: Record<string, Caller> = {
    nobody: { headers: {} },
    "a page with the publishable key": { headers: { apikey: stack.keys.publishableKey } },
    "a page whose client sends it twice": {
      headers: { apikey: stack.keys.publishableKey, authorization: `Bearer ${stack.keys.publishableKey}` },
    },
    "a page whose session has expired": {
      headers: { ...user.headers, authorization: `Bearer ${await stack.token(user.id, { exp: 1 })}` },
    },
    "a user": user,
    "the server": stack.server,
  };
  for (const [who, caller] of Object.entries(callers)) {
    const answer = await stack.ask("plans", { caller });
    expect([who, answer.status]).toEqual([who, 200]);
    const names = answer.body.plans.map((plan: { plan_type: string }) => plan.plan_type);
    expect(names).toEqual(["free", "trial", "starter", "28day", "professional", "annual"]);
  }
});

test("a plan says what it gives and costs, and not what providers call it", async () => {
  await stack.db.admin.query(
    "update public.token_plans set stripe_price_id = 'price_1' where plan_type = 'annual'",
  );
  const { body, text } = await stack.ask("plans");
  expect(body.plans.at(-1)).toEqual({
    plan_type: "annual",
    name: "Annual membership",
    tokens: 5_000_000,
    tokens_per_period: 5_000_000,
    articles_limit: null,
    storage_gb: 100,
    price_cents: 19_900,
    currency: "usd",
    billing_cycle: "annual",
    issue_every: null,
    issue_on: "anniversary",
    refill_to: null,
    grant_lifetime_days: 365,
    rank: 40,
    features: {},
  });
  expect(text).not.toContain("price_1");
});

test("everyone sees the packs that are offered, smallest first, without what providers call them", async () => {
  for (const [pack, tokens, isOffered] of [
    ["large", 900_000, true],
    ["small", 50_000, true],
    ["gone", 70_000, false],
  ] as const) {
    await stack.db.admin.query("select public.set_token_pack($1, $2, 'a pack')", [
      pack,
      JSON.stringify({
        name: pack,
        tokens,
        price_cents: 500,
        is_offered: isOffered,
        stripe_price_id: `price_${pack}`,
      }),
    ]);
  }
  for (const caller of [{ headers: {} }, await stack.user(), stack.server]) {
    const { body, text } = await stack.ask("plans", { caller });
    expect(body.packs).toEqual([
      {
        pack_type: "small",
        name: "small",
        tokens: 50_000,
        lifetime_days: null,
        price_cents: 500,
        currency: "usd",
      },
      {
        pack_type: "large",
        name: "large",
        tokens: 900_000,
        lifetime_days: null,
        price_cents: 500,
        currency: "usd",
      },
    ]);
    expect(text).not.toContain("price_small");
  }
});

test("there is nothing to ask for and nothing to change", async () => {
  expectProblem(await stack.ask("plans", { query: "plan=free" }), "invalid_request", { field: "plan" });
  expectProblem(await stack.ask("plans", { body: {}, caller: stack.server }), "method_not_allowed");
});
