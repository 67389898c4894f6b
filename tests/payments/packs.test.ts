import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { show, standing } from "../support/plans.ts";
import { recordPaymentEvent, refund as refunded } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
  await addPacks(db);
});
afterAll(async () => {
  await expectCleanBooks(db);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
  await db.drop();
});

/** One that is for ever, and one that is spent first and lives for 30 days. */
async function addPacks(to: Database): Promise<void> {
  await to.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, lifetime_days, priority, price_cents)
     values ('lasting', 'Lasting', 50000, null, 50, 500), ('brief', 'Brief', 20000, 30, 10, 300)`,
  );
}

const server = (name: string, args: Record<string, unknown>, of = db) =>
  asService(of, (client) => rpc(client, name, args));
const asksFor = (user: string, pack: string, quantity = 1, of = db) =>
  asUser(of, user, (client) =>
    rpc(client, "create_token_payment", { p_user_id: user, p_pack_type: pack, p_quantity: quantity }),
  );
const approve = (user: string, payment: string, of = db) =>
  server("approve_token_payment", { p_user_id: user, p_payment_id: payment, p_reason: "seen" }, of);
const refund = (user: string, payment: string, cents?: number) =>
  asAdmin(db, admin, (client) =>
    rpc(client, "refund_token_payment", {
      p_user_id: user,
      p_payment_id: payment,
      p_reason: "asked for it",
      ...(cents !== undefined && { p_refunded_cents: cents }),
    }),
  );

const event = (payment: string, facts: Record<string, unknown>, of = db) =>
  recordPaymentEvent(of, payment, facts);

let payments = 0;
/** The two ways in which packs are bought; each returns the payment's id and what was answered. */
const ways: Record<string, (user: string, pack: string, quantity: number, of?: Database) => Promise<Bought>> =
  {
    "by hand": async (user, pack, quantity, of = db) => {
      const { payment_id } = await asksFor(user, pack, quantity, of);
      return { ...(await approve(user, payment_id, of)), payment_id };
    },
    "by event": (user, pack, quantity, of = db) =>
      event(
        `pi_${++payments}`,
        {
          kind: "paid",
          user_id: user,
          pack_type: pack,
          quantity,
          amount_cents: 500 * quantity,
          currency: "usd",
        },
        of,
      ),
  };
interface Bought {
  payment_id: string;
  status: string;
  tokens_granted: number;
  tokens_remaining: number;
  tokens_limit: number | null;
}

/** How somebody can stand who buys a pack. */
const states: Record<string, (user: string, of?: Database) => Promise<unknown>> = {
  "no plan": async () => {},
  "a running plan": (user, of = db) =>
    server("change_token_plan", { p_user_id: user, p_plan_type: "starter", p_payment_method: "card" }, of),
  "a downgrade to come": async (user) => {
    await server("change_token_plan", { p_user_id: user, p_plan_type: "professional" });
    await server("change_token_plan", { p_user_id: user, p_plan_type: "starter" });
  },
  "a plan that has lapsed": async (user) => {
    await server("change_token_plan", { p_user_id: user, p_plan_type: "starter" });
    await letTimePass(db, user, 60);
  },
};

/** What a pack must leave as it is. */
async function planOf(user: string, of = db): Promise<unknown> {
  const { rows } = await of.admin.query(
    `select id, plan_type, billing_cycle, articles_limit, features, payment_method, payment_id, period_start, expires_at,
            next_plan_type, created_at
       from public.token_subscriptions where user_id = $1`,
    [user],
  );
  return rows;
}

async function grantsOf(user: string, payment: string) {
  const { rows } = await db.admin.query(
    `select b.grant_type, b.tokens_granted::int as tokens, b.priority, b.subscription_id, b.period_start,
            round(extract(epoch from b.expires_at - b.granted_at) / 86400)::int as days
       from public.token_balances b where b.user_id = $1 and b.payment_id = $2`,
    [user, payment],
  );
  return rows;
}

describe.each(Object.keys(ways))("bought %s", (way) => {
  const buy = ways[way]!;

  test.each(Object.keys(states).flatMap((state) => [1, 3].map((quantity) => ({ state, quantity }))))(
    "$quantity beside $state: one grant, and the plan and its period are as they were",
    async ({ state, quantity }) => {
      const user = await createUser(db);
      await states[state]!(user);
      const plan = await planOf(user);
      const before = await standing(db, user);

      const bought = await buy(user, "lasting", quantity);

      const after = await standing(db, user);
      show(`${quantity} ${way} beside ${state}`, before, after);
      const tokens = 50_000 * quantity;
      expect(bought).toMatchObject({
        status: "approved",
        tokens_granted: tokens,
        tokens_remaining: (before.balance ?? 0) + tokens,
        tokens_limit: after.limit,
      });
      expect(await planOf(user)).toEqual(plan);
      expect(after).toMatchObject({ plan: before.plan, balance: (before.balance ?? 0) + tokens });
      if (before.plan !== null) expect(after.limit).toBe(Math.max(before.limit!, after.balance!));
      expect(await grantsOf(user, bought.payment_id)).toEqual([
        {
          grant_type: "purchase",
          tokens,
          priority: 50,
          subscription_id: null,
          period_start: null,
          days: null,
        },
      ]);
    },
  );

  test("its tokens live as long, and are spent in the order, that the pack says", async () => {
    const user = await createUser(db);
    await buy(user, "lasting", 1);
    const { payment_id } = await buy(user, "brief", 2);

    expect(await grantsOf(user, payment_id)).toMatchObject([{ tokens: 40_000, priority: 10, days: 30 }]);
    const spent = await server("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 45_000 });
    expect(spent.deducted_from.map((part: { deducted: number }) => part.deducted)).toEqual([40_000, 5_000]);
  });

  test("the ledger and the payment say what it was for", async () => {
    const user = await createUser(db);
    const { payment_id } = await buy(user, "lasting", 2);

    const { rows } = await db.admin.query(
      `select t.entry_type, t.action_type, t.tokens::int, p.to_plan, p.from_plan, p.pack_type, p.quantity, p.tokens::int as gave,
              p.amount_cents::int, p.terms
         from public.token_transactions t
         join public.token_payments p on p.user_id = t.user_id and p.id = t.payment_id
        where t.user_id = $1 and p.id = $2`,
      [user, payment_id],
    );
    expect(rows).toEqual([
      {
        entry_type: "grant",
        action_type: "token_pack_purchase",
        tokens: 100_000,
        to_plan: null,
        from_plan: null,
        pack_type: "lasting",
        quantity: 2,
        gave: 100_000,
        amount_cents: 1_000,
        terms: { name: "Lasting", tokens: 50_000, lifetime_days: null, priority: 50 },
      },
    ]);
  });
});

describe("what comes after", () => {
  test("a downgrade that was to come comes when the period ends, pack or not", async () => {
    const user = await createUser(db);
    await states["a downgrade to come"]!(user);
    await ways["by hand"]!(user, "lasting", 1);
    await letTimePass(db, user, 31);

    await server("renew_token_subscription", { p_user_id: user });

    expect(await standing(db, user)).toMatchObject({ plan: "starter", balance: 2_450_000 });
  });

  test("a renewal adds to the packs, and takes none of them", async () => {
    const user = await createUser(db);
    await states["a running plan"]!(user);
    await ways["by event"]!(user, "lasting", 2);
    await letTimePass(db, user, 31);

    await server("renew_token_subscription", { p_user_id: user });

    expect(await standing(db, user)).toMatchObject({ plan: "starter", limit: 900_000, balance: 900_000 });
  });

  test("what was owed is repaid by a pack first", async () => {
    const user = await createUser(db);
    const { payment_id } = await ways["by hand"]!(user, "lasting", 1);
    await server("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 30_000 });
    await refund(user, payment_id);
    expect(await standing(db, user)).toMatchObject({ balance: 0, owed: 30_000 });

    await ways["by event"]!(user, "lasting", 1);

    expect(await standing(db, user)).toMatchObject({ balance: 20_000, owed: 0 });
  });
});

describe("a refund", () => {
  test("in part takes that share of the tokens, in full all; plan and period end stay", async () => {
    const user = await createUser(db);
    await states["a running plan"]!(user);
    const plan = await planOf(user);
    const { payment_id } = await ways["by hand"]!(user, "lasting", 3);
    const before = await standing(db, user);

    expect(await refund(user, payment_id, 500)).toMatchObject({
      status: "approved",
      tokens_clawed_back: 50_000,
    });
    expect(await planOf(user)).toEqual(plan);
    expect(await refund(user, payment_id, 501)).toMatchObject({ tokens_clawed_back: 50_100 });
    expect(await refund(user, payment_id)).toMatchObject({
      status: "refunded",
      tokens_clawed_back: 150_000,
      replayed: false,
    });
    expect(await refund(user, payment_id)).toMatchObject({ replayed: true });

    const after = await standing(db, user);
    show("refund of three packs", before, after);
    expect(await planOf(user)).toEqual(plan);
    expect(after).toEqual({ plan: "starter", limit: 400_000, balance: 400_000, owed: 0 });
  });

  test("at a provider does the same, and a refund that failed gives back", async () => {
    const user = await createUser(db);
    await states["a running plan"]!(user);
    const plan = await planOf(user);
    const paid = { kind: "paid", user_id: user, pack_type: "lasting", quantity: 2, amount_cents: 1_000 };
    await event("pi_packs", paid);
    const balance = async () => (await standing(db, user)).balance;

    await event("pi_packs", refunded("re_1", 500));
    expect(await balance()).toBe(450_000);
    await event("pi_packs", refunded("re_2", 500, "pending"));
    expect(await balance()).toBe(400_000);
    expect(await planOf(user)).toEqual(plan);
    await event("pi_packs", refunded("re_2", 500, "failed"));
    expect(await balance()).toBe(450_000);
    expect(await planOf(user)).toEqual(plan);
  });

  test("of the plan leaves the packs, and of the packs the plan", async () => {
    const user = await createUser(db);
    const { payment_id: plan } = await asUser(db, user, (client) =>
      rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: "professional" }),
    );
    await approve(user, plan);
    const { payment_id: pack } = await ways["by hand"]!(user, "lasting", 1);

    await refund(user, plan);
    expect(await standing(db, user)).toMatchObject({ balance: 50_000, owed: 0 });
    await refund(user, pack);
    expect(await standing(db, user)).toMatchObject({ balance: 0, owed: 0 });
  });
});

describe("a request", () => {
  const offerNow = async (user: string) => {
    const { rows } = await asUser(db, user, (client) =>
      client.query("select p.token_offer_now as offer from public.token_payments p"),
    );
    return rows[0].offer;
  };
  const change = (pack: string, fields: Record<string, unknown>) =>
    server("set_token_pack", { p_pack_type: pack, p_pack: fields, p_reason: "new prices" });

  test("for packs is given at the price and on the terms that it was asked for at", async () => {
    const user = await createUser(db);
    await server("set_token_pack", {
      p_pack_type: "moving",
      p_pack: { name: "Moving", tokens: 1_000, price_cents: 100, lifetime_days: 10, priority: 20 },
      p_reason: "a pack",
    });
    const asked = await asksFor(user, "moving", 2);
    expect(asked).toMatchObject({
      amount_cents: 200,
      quantity: 2,
      terms: { tokens: 1_000, lifetime_days: 10 },
    });
    expect(await offerNow(user)).toMatchObject({ amount_cents: 200, is_offered: true, differs: [] });

    await change("moving", { tokens: 700, price_cents: 150, lifetime_days: null, is_offered: false });

    expect(await offerNow(user)).toEqual({
      amount_cents: 300,
      currency: "usd",
      is_offered: false,
      terms: { name: "Moving", tokens: 700, lifetime_days: null, priority: 20 },
      differs: ["amount_cents", "lifetime_days", "tokens"],
    });
    await expect(asksFor(user, "moving")).rejects.toMatchObject({ message: "pack_not_found" });
    const first = await approve(user, asked.payment_id);
    expect(first).toMatchObject({ tokens_granted: 2_000, tokens_remaining: 2_000 });
    expect(await grantsOf(user, asked.payment_id)).toMatchObject([{ tokens: 2_000, priority: 20, days: 10 }]);
    expect(await approve(user, asked.payment_id)).toEqual({ ...first, replayed: true });
    const { rows } = await db.admin.query(
      "select amount_cents::int, tokens::int from public.token_payments where user_id = $1",
      [user],
    );
    expect(rows).toEqual([{ amount_cents: 200, tokens: 2_000 }]);
  });

  test("for a plan too: tokens, lifetime, articles, storage and features as they were then", async () => {
    const user = await createUser(db);
    const plan = { name: "Shifting", tokens: 5_000, price_cents: 900, billing_cycle: "monthly", rank: 12 };
    await server("set_token_plan", {
      p_plan_type: "shifting",
      p_plan: { ...plan, articles_limit: 7, storage_gb: 3, features: { sso: true }, grant_lifetime_days: 60 },
      p_reason: "a plan",
    });
    const { payment_id } = await asUser(db, user, (client) =>
      rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: "shifting" }),
    );

    await server("set_token_plan", {
      p_plan_type: "shifting",
      p_plan: {
        tokens: 4_000,
        price_cents: 1_900,
        articles_limit: null,
        storage_gb: 0,
        features: {},
        is_offered: false,
        grant_lifetime_days: null,
      },
      p_reason: "less for more",
    });

    expect(await offerNow(user)).toMatchObject({
      is_offered: false,
      differs: ["amount_cents", "articles_limit", "features", "grant_lifetime_days", "storage_gb", "tokens"],
    });
    await approve(user, payment_id);
    expect(await standing(db, user)).toMatchObject({ plan: "shifting", balance: 5_000 });
    const { rows } = await db.admin.query(
      "select articles_limit, features from public.token_subscriptions where user_id = $1",
      [user],
    );
    expect(rows).toEqual([{ articles_limit: 7, features: { sso: true } }]);
    expect(await server("get_user_storage_quota", { p_user_id: user })).toEqual({ total_quota_gb: 3 });
    expect(await grantsOf(user, payment_id)).toMatchObject([{ tokens: 5_000, days: 60 }]);
  });

  test.each([
    ["neither a plan nor a pack", {}, "invalid_purchase", "p_pack_type"],
    ["both", { p_to_plan: "starter", p_pack_type: "lasting" }, "invalid_purchase", "p_pack_type"],
    ["no pack at all", { p_pack_type: "lasting", p_quantity: 0 }, "invalid_purchase", "p_quantity"],
    ["fewer than none", { p_pack_type: "lasting", p_quantity: -1 }, "invalid_purchase", "p_quantity"],
    ["too many packs", { p_pack_type: "lasting", p_quantity: 1_001 }, "invalid_purchase", "p_quantity"],
    [
      "as many as nobody says",
      { p_pack_type: "lasting", p_quantity: null },
      "invalid_purchase",
      "p_quantity",
    ],
    ["two of a plan", { p_to_plan: "starter", p_quantity: 2 }, "invalid_purchase", "p_quantity"],
    ["a pack that there is not", { p_pack_type: "none" }, "pack_not_found", "p_pack_type"],
    ["a plan that there is not", { p_to_plan: "lasting" }, "plan_not_found", "p_to_plan"],
    ["a pack of a plan's name", { p_pack_type: "starter" }, "pack_not_found", "p_pack_type"],
  ])("for %s is refused", async (_, args, message, field) => {
    const user = await createUser(db);
    await expect(
      asUser(db, user, (client) => rpc(client, "create_token_payment", { p_user_id: user, ...args })),
    ).rejects.toMatchObject({ message, detail: expect.stringContaining(`"field": "${field}"`) });
    const { rows } = await db.admin.query("select from public.token_payments where user_id = $1", [user]);
    expect(rows).toEqual([]);
  });

  test("for as much as one may buy at once is one grant within its limit", async () => {
    const user = await createUser(db);
    await server("set_token_pack", {
      p_pack_type: "huge",
      p_pack: { name: "Huge", tokens: 1_000_000_000, price_cents: 1_000_000_000_000 },
      p_reason: "the limit",
    });
    const { payment_id } = await asksFor(user, "huge", 1_000);

    expect(await approve(user, payment_id)).toMatchObject({ tokens_granted: 1_000_000_000_000 });
  });

  test("names the field in which a second request under its key differs", async () => {
    const user = await createUser(db);
    const ask = (args: Record<string, unknown>) =>
      asUser(db, user, (client) =>
        rpc(client, "create_token_payment", { p_user_id: user, p_idempotency_key: "one", ...args }),
      );
    const first = await ask({ p_pack_type: "lasting", p_quantity: 2 });

    expect(await ask({ p_pack_type: "lasting", p_quantity: 2 })).toEqual({ ...first, replayed: true });
    await expect(ask({ p_pack_type: "lasting", p_quantity: 3 })).rejects.toMatchObject({
      detail: '{"differs": ["quantity"]}',
    });
    await expect(ask({ p_to_plan: "starter" })).rejects.toMatchObject({
      message: "idempotency_key_reused",
      detail: '{"differs": ["to_plan", "pack_type", "quantity"]}',
    });
  });
});

describe("what a provider says was bought", () => {
  test("more packs than one may buy waits for an admin, and so does a pack of no name of ours", async () => {
    const user = await createUser(db);
    const paid = { kind: "paid", user_id: user, amount_cents: 500, currency: "usd" };

    expect(await event("pi_many", { ...paid, pack_type: "lasting", quantity: 1_001 })).toMatchObject({
      status: "parked",
    });
    expect(await event("pi_none", { ...paid, pack_type: "none" })).toMatchObject({ status: "parked" });
    const { rows } = await asAdmin(db, admin, (client) =>
      client.query(
        "select provider_payment_id, parked_reason from public.list_parked_token_payments() where user_id = $1 order by 1",
        [user],
      ),
    );
    expect(rows).toEqual([
      { provider_payment_id: "pi_many", parked_reason: "quantity" },
      { provider_payment_id: "pi_none", parked_reason: "price_unknown" },
    ]);
    const assigned = await server("assign_parked_token_payment", {
      p_provider: "stripe",
      p_provider_payment_id: "pi_none",
      p_user_id: user,
      p_pack_type: "lasting",
      p_quantity: 1,
    });
    expect(assigned).toMatchObject({ status: "approved", tokens_granted: 50_000 });
    expect(await planOf(user)).toEqual([]);
  });
});

describe("known-bad variants", { tags: ["proof"] }, () => {
  /** Whether the variant passes for right: what the tests above look at, in a database of its own. */
  async function faults(mutant: string | undefined): Promise<string[]> {
    const own = await createDatabase();
    try {
      await addPacks(own);
      if (mutant !== undefined) await applyMutant(own, mutant);
      const user = await createUser(own);
      const found: string[] = [];
      await states["a running plan"]!(user, own);
      const plan = await planOf(user, own);
      for (const [way, buy] of Object.entries(ways)) {
        await buy(user, "lasting", 1, own);
        if (JSON.stringify(await planOf(user, own)) !== JSON.stringify(plan)) found.push(`the plan, ${way}`);
      }
      const pack = await asksFor(user, "brief", 2, own);
      const asked = await asUser(own, user, (client) =>
        rpc(client, "create_token_payment", { p_user_id: user, p_to_plan: "grow" }),
      );
      await own.admin.query("update public.token_packs set tokens = 1 where pack_type = 'brief'");
      await own.admin.query("update public.token_plans set tokens = 1 where plan_type = 'grow'");
      if ((await approve(user, pack.payment_id, own)).tokens_granted !== 40_000)
        found.push("the pack's tokens");
      if ((await approve(user, asked.payment_id, own)).tokens_granted !== 1_000_000)
        found.push("the plan's tokens");
      return found;
    } finally {
      await own.drop();
    }
  }

  test.each([
    [undefined, []],
    ["packs-replace-the-plan", ["the plan, by hand", "the plan, by event"]],
    ["approvals-take-the-catalogue-of-today", ["the pack's tokens", "the plan's tokens"]],
  ])("%s", async (mutant, seen) => {
    const found = await faults(mutant);
    console.log(`${mutant ?? "as it is"}: ${found.length} faults: ${found.join(", ") || "none"}`);
    expect(found).toEqual(seen);
  });
});
