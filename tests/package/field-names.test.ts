/**
 * Every function that the client has, asked with each of its arguments and options wrong: a refusal names what is at
 * fault as the caller wrote it.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tokenbookAdmin } from "../../packages/tokenbook/src/admin/index.ts";
import { chargedFetch, tokenBudget, tokenMiddleware } from "../../packages/tokenbook/src/ai/index.ts";
import {
  streamWithTokenHold,
  type Tokenbook,
  TokenbookError,
  withTokenHold,
} from "../../packages/tokenbook/src/client/index.ts";
import { projectRoot } from "../../scripts/project.ts";
import { startStack, type Stack } from "../functions/stack.ts";
import { booksOf, supabaseOf } from "./books.ts";
import { schemasOfAnswers } from "./schemas.ts";

const read = (path: string) => readFileSync(join(projectRoot, path), "utf8");

/** A call, and what it takes: the arguments by their names, then the options. */
interface Call {
  takes: Record<string, unknown>;
  // each call is asked with values that its types do not allow
  // oxlint-disable-next-line typescript/no-explicit-any
  ask(books: Tokenbook, given: any): Promise<unknown>;
}

let stack: Stack;
let books: Tokenbook;
let calls: Record<string, Call>;
const asked = new Set<string>();

beforeAll(async () => {
  stack = await startStack();
  const { id: userId } = await stack.user();
  const { id: memberId } = await stack.user();
  const patience = { attempts: 2, pauseMs: 1 };
  const by: typeof fetch = (input, init) => {
    const [, name] = /\/rpc\/(\w+)/.exec(String(input instanceof Request ? input.url : input)) ?? [];
    if (name !== undefined) asked.add(name);
    return fetch(input, init);
  };
  books = booksOf(stack, stack.server, { patience, by });
  const all = tokenbookAdmin(supabaseOf(stack, stack.server, by), { patience });
  await books.grant(1_000_000, { userId });
  const who = { userId };
  const [id, actionType, reason] = [randomUUID(), "chat_conversation", "a test"];
  const write = { userId, idempotencyKey: undefined, metadata: {} };
  const counts = { model: "gpt", inputTokens: 1, outputTokens: 1, cachedTokens: 0, reasoningTokens: 0 };
  const usage = { ...counts, images: 0, seconds: 0, tokens: 5 };
  const failure = { success: true, errorMessage: "" };
  const top = { belowTokens: 5, tokens: 5, planType: undefined, packType: undefined, quantity: undefined };
  calls = {
    balance: { takes: who, ask: (it, o) => it.balance(o) },
    balanceAt: { takes: { at: new Date(), ...who }, ask: (it, { at, ...o }) => it.balanceAt(at, o) },
    canSpend: {
      takes: { tokens: 5, ...who, actionType, model: "gpt" },
      ask: (it, { tokens, ...o }) => it.canSpend(tokens, o),
    },
    hasPlan: { takes: { planType: "pro", ...who }, ask: (it, { planType, ...o }) => it.hasPlan(planType, o) },
    storageQuota: { takes: who, ask: (it, o) => it.storageQuota(o) },
    deduct: {
      takes: { tokens: 5, ...write, actionType },
      ask: (it, { tokens, ...o }) => it.deduct(tokens, o),
    },
    deductBatch: {
      takes: { items: [], allOrNothing: false },
      ask: (it, { items, ...o }) => it.deductBatch(items, o),
    },
    track: {
      takes: { ...write, ...usage, ...failure, actionType, onShortage: "reject" },
      ask: (it, o) => it.track(o),
    },
    quote: { takes: { ...who, ...usage, actionType }, ask: (it, o) => it.quote(o) },
    reserve: {
      takes: { tokens: 5, ...write, ttlSeconds: 60, actionType, model: "gpt", parentHold: undefined },
      ask: (it, { tokens, ...o }) => it.reserve(tokens, o),
    },
    capture: {
      takes: { holdId: id, ...who, ...usage, ...failure, overCapture: "deduct", metadata: {} },
      ask: (it, { holdId, ...o }) => it.capture(holdId, o),
    },
    release: { takes: { holdId: id, ...who }, ask: (it, { holdId, ...o }) => it.release(holdId, o) },
    withTokenHold: {
      takes: { tokens: 5, ...write, actionType, model: "gpt", ttlSeconds: 60, parentHold: undefined },
      ask: (it, o) => it.withTokenHold(o, async () => {}),
    },
    grant: {
      takes: {
        tokens: 5,
        ...write,
        grantType: "admin",
        expiresAt: undefined,
        priority: 50,
        paysFor: undefined,
        costBasisCents: 5,
        currency: "eur",
        grantedAt: undefined,
        startsAt: undefined,
        reason,
      },
      ask: (it, { tokens, ...o }) => it.grant(tokens, o),
    },
    adjust: { takes: { delta: 5, ...write, reason }, ask: (it, { delta, ...o }) => it.adjust(delta, o) },
    refund: {
      takes: {
        transactionId: 1,
        userId,
        idempotencyKey: undefined,
        tokens: 1,
        reason,
        expiredPolicy: "forfeit",
        lifetimeDays: undefined,
      },
      ask: (it, { transactionId, ...o }) => it.refund(transactionId, o),
    },
    upcomingGrants: { takes: who, ask: (it, o) => it.upcomingGrants(o) },
    voidGrant: {
      takes: { grantId: id, userId, idempotencyKey: undefined, reason, takeBack: false },
      ask: (it, { grantId, ...o }) => it.voidGrant(grantId, o),
    },
    setGrantExpiry: {
      takes: { grantId: id, expiresAt: "infinity", userId, idempotencyKey: undefined, reason },
      ask: (it, { grantId, expiresAt, ...o }) => it.setGrantExpiry(grantId, expiresAt, o),
    },
    setAccountState: {
      takes: { state: "active", ...who, reason },
      ask: (it, { state, ...o }) => it.setAccountState(state, o),
    },
    setOverdraft: {
      takes: { tokens: 0, ...who, reason },
      ask: (it, { tokens, ...o }) => it.setOverdraft(tokens, o),
    },
    history: { takes: { ...who, limit: 5, before: undefined }, ask: (it, o) => it.history(o).page() },
    explain: { takes: { ...who, usageId: undefined, transactionId: 1 }, ask: (it, o) => it.explain(o) },
    usageBy: {
      takes: {
        bucket: "day",
        by: "none",
        from: undefined,
        to: undefined,
        ...who,
        forEveryone: undefined,
        centsPerMillionTokens: 5,
      },
      ask: (it, o) => it.usageBy(o),
    },
    revenue: { takes: { bucket: "day", from: undefined, to: undefined }, ask: (it, o) => it.revenue(o) },
    "plans.change": {
      takes: { planType: "free", userId, idempotencyKey: undefined, paymentMethod: "card", paymentId: "p" },
      ask: (it, { planType, ...o }) => it.plans.change(planType, o),
    },
    "plans.checkTrial": { takes: who, ask: (it, o) => it.plans.checkTrial(o) },
    "payments.request": {
      takes: { planType: undefined, packType: "small", quantity: 1, userId, idempotencyKey: undefined },
      ask: (it, o) => it.payments.request(o),
    },
    "payments.approve": {
      takes: { paymentId: id, ...who, reason },
      ask: (it, { paymentId, ...o }) => it.payments.approve(paymentId, o),
    },
    "payments.reject": {
      takes: { paymentId: id, ...who, reason },
      ask: (it, { paymentId, ...o }) => it.payments.reject(paymentId, o),
    },
    "payments.refund": {
      takes: { paymentId: id, ...who, reason, refundedCents: 5 },
      ask: (it, { paymentId, ...o }) => it.payments.refund(paymentId, o),
    },
    "caps.list": { takes: who, ask: (it, o) => it.caps.list(o) },
    "caps.set": {
      takes: { window: "day", tokens: 1_000, reason, ...who, planType: undefined, forEveryone: undefined },
      ask: (it, { window, ...o }) => it.caps.set(window, o),
    },
    "team.members": { takes: { ...who, limit: 5, after: undefined }, ask: (it, o) => it.team.members(o) },
    "team.add": {
      takes: { memberId, ...who, capDay: 5, capWeek: 5, capMonth: 5 },
      ask: (it, { memberId: member, ...o }) => it.team.add(member, o),
    },
    "team.remove": {
      takes: { memberId, ...who },
      ask: (it, { memberId: member, ...o }) => it.team.remove(member, o),
    },
    "alerts.setRule": {
      takes: {
        rule: "low",
        kind: "dropped",
        thresholdTokens: 5,
        thresholdPercent: undefined,
        hours: undefined,
        notifyRecovered: false,
        isEnabled: true,
        ...who,
        planType: undefined,
        forEveryone: undefined,
      },
      ask: (it, { rule, ...o }) => it.alerts.setRule(rule, o),
    },
    "alerts.removeRule": {
      takes: { rule: "low", ...who, planType: undefined, forEveryone: undefined },
      ask: (it, { rule, ...o }) => it.alerts.removeRule(rule, o),
    },
    "topUp.set": {
      takes: {
        ...who,
        ...top,
        isEnabled: true,
        cooldownSeconds: 60,
        maxRequests: 5,
        windowSeconds: 86_400,
      },
      ask: (it, o) => it.topUp.set(o),
    },
    "codes.redeem": {
      takes: { code: "c", userId, idempotencyKey: undefined },
      ask: (it, { code, ...o }) => it.codes.redeem(code, o),
    },
    "codes.referral": { takes: who, ask: (it, o) => it.codes.referral(o) },
    "codes.claimReferral": {
      takes: { code: "c", ...who },
      ask: (it, { code, ...o }) => it.codes.claimReferral(code, o),
    },
    "admin users": {
      takes: { search: "a", sort: "email", descending: true, limit: 5, after: undefined },
      ask: (_, o) => all.users(o),
    },
    "admin user": { takes: who, ask: (_, { userId: of, ...o }) => all.user(of, o) },
    "admin forget": { takes: { userId: randomUUID() }, ask: (_, { userId: of, ...o }) => all.forget(of, o) },
    "admin parked": { takes: { limit: 5 }, ask: (_, o) => all.parked(o) },
    "admin dismissParked": {
      takes: { provider: "stripe", providerPaymentId: "pi", reason },
      ask: (_, { provider, providerPaymentId, ...o }) => all.dismissParked(provider, providerPaymentId, o),
    },
    "admin expiries": {
      takes: { to: new Date(Date.now() + 86_400_000), after: undefined, until: undefined },
      ask: (_, o) => all.expiries(o),
    },
    "admin discrepancies": {
      takes: { threshold: 5, after: undefined, until: undefined },
      ask: (_, o) => all.discrepancies(o),
    },
    "admin reconcile": { takes: who, ask: (_, { userId: of, ...o }) => all.reconcile(of, o) },
    "admin replay": { takes: { ...who, after: undefined, until: undefined }, ask: (_, o) => all.replay(o) },
    "admin verify": { takes: { ...who, after: undefined, until: undefined }, ask: (_, o) => all.verify(o) },
    "admin assignParked": {
      takes: {
        provider: "stripe",
        providerPaymentId: "pi",
        ...who,
        planType: undefined,
        packType: "small",
        quantity: 1,
      },
      ask: (_, { provider, providerPaymentId, ...o }) => all.assignParked(provider, providerPaymentId, o),
    },
    "admin setPlan": {
      takes: { planType: "gold", plan: { name: "Gold", tokens: 5 }, reason },
      ask: (_, { planType, plan, ...o }) => all.setPlan(planType, plan, o),
    },
    "admin setPack": {
      takes: { packType: "small", pack: { name: "Small", tokens: 5, price_cents: 5 }, reason },
      ask: (_, { packType, pack, ...o }) => all.setPack(packType, pack, o),
    },
    "admin setModelRate": {
      takes: { modelPattern: "gpt*", rate: {}, reason, validFrom: undefined },
      ask: (_, { modelPattern, rate, ...o }) => all.setModelRate(modelPattern, rate, o),
    },
    "admin setModelPrice": {
      takes: { model: "gpt", price: { cents_per_image: 5 }, reason, validFrom: undefined },
      ask: (_, { model, price, ...o }) => all.setModelPrice(model, price, o),
    },
    "admin setActionCost": {
      takes: { actionType, cost: { min_tokens: 1, max_tokens: 5 }, reason },
      ask: (_, { actionType: action, cost, ...o }) => all.setActionCost(action, cost, o),
    },
    "admin createCode": {
      takes: {
        tokens: 5,
        name: "a code",
        maxRedemptions: 5,
        maxPerUser: 1,
        validFrom: undefined,
        validUntil: undefined,
        lifetimeDays: 5,
        grantType: "bonus",
        code: undefined,
      },
      ask: (_, { tokens, ...o }) => all.createCode(tokens, o),
    },
    "admin endCode": {
      takes: { codeId: id, reason },
      ask: (_, { codeId, ...o }) => all.endCode(codeId, o),
    },
    "admin endpoints": { takes: { signal: undefined }, ask: (_, o) => all.endpoints(o) },
    "admin setEndpoint": {
      takes: { name: "ops", url: "https://hooks.example.com", kinds: undefined, isEnabled: true },
      ask: (_, { name, url, ...o }) => all.setEndpoint(name, url, o),
    },
    "admin removeEndpoint": {
      takes: { name: "ops" },
      ask: (_, { name, ...o }) => all.removeEndpoint(name, o),
    },
    "admin repeatDelivery": {
      takes: { deliveryId: 1 },
      ask: (_, { deliveryId, ...o }) => all.repeatDelivery(deliveryId, o),
    },
    "admin retryDeliveries": {
      takes: { endpoint: "ops", limit: 5 },
      ask: (_, { endpoint, ...o }) => all.retryDeliveries(endpoint, o),
    },
    "admin codes": { takes: { limit: 5, before: undefined }, ask: (_, o) => all.codes(o) },
    "admin deliveries": {
      takes: { endpoint: "ops", status: "pending", limit: 5, before: undefined },
      ask: (_, o) => all.deliveries(o),
    },
  };
});
afterAll(() => stack.close());

/** What no option takes, or hardly one. */
const wrongs = [-1, 1.5, 1e15, "No name!", "", null, { no: 1 }, "k".repeat(300)];

test("a refusal names the argument or the option at fault, and no other name for it", async () => {
  const faults: string[] = [];
  const named = new Set<string>();
  let refused = 0;
  for (const [name, { takes, ask }] of Object.entries(calls)) {
    for (const option of Object.keys(takes)) {
      for (const wrong of wrongs) {
        const key = "idempotencyKey" in takes ? { idempotencyKey: name } : {};
        const error: unknown = await (async () => ask(books, { ...takes, ...key, [option]: wrong }))().catch(
          (it: unknown) => it,
        );
        if (error instanceof TypeError && error.message.includes("has no option")) faults.push(error.message);
        if (!(error instanceof TokenbookError)) continue;
        refused++;
        const { field, rule = "", differs = [] } = error.facts;
        const said = `${name}({ ${option}: ${JSON.stringify(wrong).slice(0, 20)} }): ${error.message}`;
        if (differs.includes("operation")) continue; // the key is another call's, and its options differ
        for (const it of [...(field === undefined ? [] : [field]), ...differs]) {
          // of a row, the row's own names
          if (!(it in takes) && !isFieldOf(it, wrong)) faults.push(`${said} names ${it}`);
        }
        if (/\bp_|[a-z]_(tokens|type|at|id)\b/.test(rule)) faults.push(`${said} has a rule in SQL's names`);
        if (field === option) named.add(`${name} ${option}`);
      }
    }
  }
  console.log(`refused=${refused} named=${named.size} faults=${faults.length}`);
  expect(faults).toEqual([]);
  expect(named.size).toBeGreaterThan(150);
  const { functions } = schemasOfAnswers();
  expect([...asked].filter((it) => functions.includes(it as never)).toSorted()).toEqual(functions.toSorted());
}, 120_000);

const isFieldOf = (name: string, value: unknown) =>
  typeof value === "object" && value !== null && name in value;

test("a number or a moment that is none is refused, where JSON would leave it out", async () => {
  const moments = [
    "at",
    "from",
    "to",
    "until",
    "since",
    "expiresAt",
    "startsAt",
    "grantedAt",
    "validFrom",
    "validUntil",
  ];
  const tried: string[] = [];
  const taken: string[] = [];
  for (const [name, { takes, ask }] of Object.entries(calls)) {
    for (const [option, value] of Object.entries(takes)) {
      const wrong =
        typeof value === "number" ? Number.NaN : moments.includes(option) && new Date("yesterday-ish");
      if (wrong === false) continue;
      tried.push(`${name} ${option}`);
      const key = "idempotencyKey" in takes ? { idempotencyKey: randomUUID() } : {};
      const error: unknown = await (async () => ask(books, { ...takes, ...key, [option]: wrong }))().catch(
        (it: unknown) => it,
      );
      const { field } = (error as Partial<TokenbookError>).facts ?? {};
      const isNamed = field === option || (error instanceof RangeError && error.message.startsWith(option));
      if (!isNamed) taken.push(`${name}({ ${option} }): ${String((error as Error).message)}`);
    }
  }
  console.log(`tried=${tried.length} taken=${taken.length}`);
  expect(taken).toEqual([]);
  expect(tried.length).toBeGreaterThan(50);
});

/** The option that is nearest to a misspelled one, of the calls that take no `userId`. */
const nearest: Record<string, string> = {
  deductBatch: "allOrNothing",
  revenue: "bucket",
  "admin users": "search",
  "admin user": "signal",
  "admin forget": "signal",
  "admin reconcile": "signal",
  "admin parked": "limit",
  "admin dismissParked": "reason",
  "admin discrepancies": "until",
  "admin expiries": "until",
  "admin replay": "until",
  "admin verify": "until",
  "admin setPlan": "reason",
  "admin setPack": "reason",
  "admin setModelRate": "validFrom",
  "admin setModelPrice": "validFrom",
  "admin setActionCost": "reason",
  "admin createCode": "grantType",
  "admin endCode": "reason",
  "admin endpoints": "signal",
  "admin setEndpoint": "isEnabled",
  "admin removeEndpoint": "signal",
  "admin repeatDelivery": "signal",
  "admin retryDeliveries": "limit",
  "admin codes": "before",
  "admin deliveries": "status",
};

test("an option that there is not is refused, with the nearest one, before anything is asked", async () => {
  asked.clear();
  for (const [name, { takes, ask }] of Object.entries(calls)) {
    const right = nearest[name] ?? "userId";
    const wrong = right.replace(/[A-Z]|$/, (it) => `_${it.toLowerCase()}`);
    const error: unknown = await (async () => ask(books, { ...takes, [wrong]: "x" }))().catch(
      (it: unknown) => it,
    );
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain(`has no option ${wrong}. Did you mean ${right}?`);
  }
  const { userId } = calls["deduct"]!.takes as { userId: string };
  const use = { userId, actionType: "chat_conversation", tokens: 5 };
  const work = () => Promise.resolve();
  const misspelled: [() => unknown, string][] = [
    [() => books.track({ ...use, on_shortage: "partial" } as never), "onShortage"],
    [() => books.withTokenHold({ ...use, parentHolds: "x" } as never, work), "parentHold"],
    [() => books.withTokenHold({ ...use, budget: "x" } as never, work), "It has: .*parentHold"],
    [() => withTokenHold(supabaseOf(stack), { ...use, metaData: {} } as never, work), "metadata"],
    [
      () => streamWithTokenHold(supabaseOf(stack), { ...use, ttl_second: 5 } as never, work as never),
      "ttlSeconds",
    ],
    [() => books.withTokenHold({ ...use, charge: { timedOut: "nothing" } as never }, work), "timed_out"],
    [() => books.deductBatch([{ ...use, action_type: "x" } as never]), "actionType"],
    [() => books.plans.list({ signals: 1 } as never), "signal"],
    [() => books.checkout({ packType: "p", succesUrl: "x" } as never), "successUrl"],
    [() => books.portal({ returnURL: "x" } as never), "returnUrl"],
    [() => tokenbookAdmin(supabaseOf(stack)).payments({ stat: "pending" } as never), "status"],
    [() => books.payments.list({ ...calls["balance"]!.takes, limits: 5 } as never), "limit"],
    [() => booksOf(stack, stack.server, { user: userId } as never), "userId"],
    [() => booksOf(stack, stack.server, { patience: { attempt: 2 } as never }), "attempts"],
    [() => tokenBudget(supabaseOf(stack), { userId, token: 5 } as never), "tokens"],
    [() => tokenMiddleware(supabaseOf(stack), { userId, parent_hold: "x" } as never), "parentHold"],
    [() => chargedFetch(supabaseOf(stack), { userId, onOverun: "cap" } as never), "onOverrun"],
  ];
  for (const [ask, right] of misspelled) {
    await expect((async () => await ask())()).rejects.toThrow(
      new RegExp(right.startsWith("It") ? right : `Did you mean ${right}\\?`),
    );
  }
  await expect(
    books.withTokenHold(use, (hold) => Promise.resolve(hold.report({ input_tokens: 5 } as never))),
  ).rejects.toThrow("Did you mean inputTokens?");
  expect([...asked].filter((it) => it !== "reserve_tokens" && it !== "capture_tokens")).toEqual([]);
});

test("a value that is none, and what was left out, are named too", async () => {
  const { userId } = calls["deduct"]!.takes as { userId: string };
  const refused = async (asking: Promise<unknown>, code: string, field: string) =>
    await expect(asking).rejects.toMatchObject({ code, status: 400, retryable: false, facts: { field } });
  await refused(books.deduct(1.5, { userId }), "invalid_amount", "tokens");
  await refused(books.deduct(5, { userId: "ann" }), "invalid_user_id", "userId");
  await refused(books.balanceAt("yesterday-ish", { userId }), "invalid_request", "at");
  await refused(books.setOverdraft(200, { userId } as never), "invalid_request", "reason");
  const terms = { userId: "ann", tokens: 5, actionType: "chat_conversation" };
  await refused(
    withTokenHold(supabaseOf(stack), terms, () => Promise.resolve()),
    "invalid_user_id",
    "userId",
  );
});

test("a client of the wrong kind is a TypeError, and what cannot be reached is said", async () => {
  const mistaken = tokenBudget(books as never, { userId: randomUUID(), tokens: 5 });
  await expect(mistaken).rejects.toThrow(/^this takes a client of supabase-js/);
  const gone = booksOf({ ...stack, url: "http://127.0.0.1:9" }, stack.server, { patience: { attempts: 1 } });
  await expect(gone.plans.list()).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringMatching(/^no answer of the project's API, HTTP 0: /),
  });
});

test("the state of a hold is not called that of a payment", async () => {
  const { userId } = calls["deduct"]!.takes as { userId: string };
  const budget = await books.reserve(50, { userId });
  const parentHold = (budget as { hold_id: string }).hold_id;
  const child = (await books.reserve(5, { userId, parentHold })) as { hold_id: string };
  const again = books.reserve(1, { userId, parentHold: child.hold_id });
  await expect(again).rejects.toMatchObject({ code: "parent_hold_ended", facts: { holdStatus: "child" } });
  await books.release(parentHold, { userId });
  const late = books.reserve(1, { userId, parentHold });
  await expect(late).rejects.toMatchObject({ facts: { holdStatus: "released" } });
});

test("every fact of the registry has a type in the client", () => {
  const registry = read("supabase/errors.toml").matchAll(/^facts = (.*)$/gm);
  const facts = [...registry].flatMap(([, list]) => JSON.parse(list!) as string[]);
  const [, types = ""] = /export interface Facts \{([^}]*)\}/.exec(
    read("supabase/functions/_shared/token-error.ts"),
  )!;
  expect(facts.filter((it) => !types.includes(`\n  ${it}?: `))).toEqual([]);
});
