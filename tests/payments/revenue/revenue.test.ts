/** get_token_revenue: what was sold, and what became of it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../../support/books.ts";
import type { Database } from "../../support/database.ts";
import { Dice, seed } from "../../support/dice.ts";
import { applyMutant } from "../../support/mutants.ts";
import { dispute, recordPaymentEvent, refund } from "../../support/provider-events.ts";
import { asAdmin, asUser, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";
import { type Args, buys, far, give, prepared, revenue, server, spend, wrongs } from "./sold.ts";

const explain = (on: Database, user: string, transaction: number) =>
  server(on, "explain_token_charge", { p_user_id: user, p_transaction_id: transaction });

let db: Database;
let admin: string;
beforeAll(async () => {
  db = await prepared();
  admin = await createUser(db, { admin: true });
});
afterAll(async () => {
  await expectCleanBooks(db);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
  await db.drop();
});

describe("a grant knows what it cost", () => {
  test("the giver states it for all tokens together; a charge says which money paid, and its parts add up", async () => {
    const user = await createUser(db);
    const { grant_id: dear } = await give(db, user, 3, 100);
    const { grant_id: cheap } = await give(db, user, 3, 50);
    const { grant_id: gift } = await give(db, user, 5, null);
    const { transaction_id } = await spend(db, user, 8);
    const { paid_by, cost_basis } = await explain(db, user, transaction_id);
    expect(paid_by).toMatchObject([
      { grant_id: dear, tokens: 3, cost_basis_cents: 100, currency: "eur" },
      { grant_id: cheap, tokens: 3, cost_basis_cents: 50, currency: "eur" },
      { grant_id: gift, tokens: 2, cost_basis_cents: 0, currency: null },
    ]);
    expect(cost_basis).toEqual([{ currency: "eur", cents: 150 }]);
  });

  test("cents that do not divide go to the largest remainders", async () => {
    const user = await createUser(db);
    for (const cents of [100, 50]) await give(db, user, 3, cents);
    await spend(db, user, 2); // 66.67
    const { transaction_id } = await spend(db, user, 2); // 33.33 and 16.67
    const { paid_by, cost_basis } = await explain(db, user, transaction_id);
    expect(paid_by.map((part: Args) => part["cost_basis_cents"])).toEqual([33, 17]);
    expect(cost_basis).toEqual([{ currency: "eur", cents: 50 }]);
  });

  test("what a payment bought costs what is left of the payment's money", async () => {
    const user = await createUser(db);
    await buys(db, user, `pi_explain_${user}`, "pack");
    const { transaction_id } = await spend(db, user, 10);
    expect((await explain(db, user, transaction_id)).cost_basis).toEqual([{ currency: "usd", cents: 100 }]);
    await recordPaymentEvent(db, `pi_explain_${user}`, refund("re", 500));
    // half of the money for half of the tokens
    expect((await explain(db, user, transaction_id)).cost_basis).toEqual([{ currency: "usd", cents: 100 }]);
    await recordPaymentEvent(db, `pi_explain_${user}`, refund("re2", 500));
    expect((await explain(db, user, transaction_id)).cost_basis).toEqual([{ currency: "usd", cents: 0 }]);
  });

  test("a slot of a plan costs its share of the period, and says which payment it was", async () => {
    const user = await createUser(db);
    await buys(db, user, `pi_slot_${user}`, "drip", 2800);
    await letTimePass(db, user, 1);
    const { transaction_id } = await spend(db, user, 15);
    const { paid_by } = await explain(db, user, transaction_id);
    expect(paid_by).toMatchObject([{ cost_basis_cents: 100 }, { cost_basis_cents: 50, currency: "usd" }]);
    expect(paid_by[1].payment_id).toBe(paid_by[0].payment_id);
  });

  test("reissued tokens cost what the originals did, each payment by itself", async () => {
    const user = await createUser(db);
    const inAMoment = { p_expires_at: new Date(Date.now() + 86_400_000).toISOString() };
    for (const cents of [100, 60, null]) await give(db, user, 10, cents, inAMoment);
    const { transaction_id } = await spend(db, user, 30);
    await letTimePass(db, user, 2);
    await server(db, "refund_tokens", {
      p_user_id: user,
      p_transaction_id: transaction_id,
      p_expired_policy: "reissue",
      p_lifetime_days: 5,
    });
    const { transaction_id: again } = await spend(db, user, 30);
    const { paid_by, cost_basis } = await explain(db, user, again);
    expect(paid_by.map((part: Args) => part["cost_basis_cents"]).toSorted()).toEqual([0, 100, 60]);
    expect(cost_basis).toEqual([{ currency: "eur", cents: 160 }]);
  });

  test("of a grant to come it is said when it begins", async () => {
    const user = await createUser(db);
    await give(db, user, 10, 70, { p_starts_at: new Date(Date.now() + 86_400_000).toISOString() });
    await letTimePass(db, user, 2);
    const { transaction_id } = await spend(db, user, 10);
    expect((await explain(db, user, transaction_id)).cost_basis).toEqual([{ currency: "eur", cents: 70 }]);
  });

  test("opening balances: not known", async () => {
    const user = await createUser(db);
    await db.admin.query("select tokenbook.import_opening_balances('old', $1)", [
      JSON.stringify([{ user, grants: [{ tokens: 10 }] }]),
    ]);
    const { transaction_id } = await spend(db, user, 10);
    const { paid_by, cost_basis } = await explain(db, user, transaction_id);
    expect(paid_by).toMatchObject([{ cost_basis_cents: null, currency: null }]);
    expect(cost_basis).toEqual([]);
  });

  test.each([
    ["cents without a currency", { p_cost_basis_cents: 5 }],
    ["a currency without cents", { p_currency: "eur" }],
    ["less than nothing", { p_cost_basis_cents: -1, p_currency: "eur" }],
    ["no currency", { p_cost_basis_cents: 5, p_currency: "EUR" }],
  ])("refused: %s", async (_, more) => {
    const user = await createUser(db);
    await expect(give(db, user, 10, null, more)).rejects.toThrow("invalid_cost_basis");
  });

  test("the same key with another cost is another request", async () => {
    const user = await createUser(db);
    const key = { p_idempotency_key: "once" };
    const { grant_id } = await give(db, user, 10, 70, key);
    expect(await give(db, user, 10, 70, key)).toMatchObject({ grant_id, replayed: true });
    await expect(give(db, user, 10, 71, key)).rejects.toThrow("idempotency_key_reused");
  });
});

describe("the report", () => {
  test("is for admins and the server", async () => {
    const user = await createUser(db);
    await expect(asUser(db, user, (client) => rpc(client, "get_token_revenue"))).rejects.toThrow("forbidden");
    expect(await asAdmin(db, admin, (client) => rpc(client, "get_token_revenue"))).toMatchObject({
      bucket: "day",
    });
  });

  test.each([
    ["by the hour", { p_bucket: "hour" }],
    ["to before it begins", { p_from: "2026-02-01", p_to: "2026-01-01" }],
    ["of two years by day", { p_from: "2024-01-01", p_to: "2026-01-01", p_bucket: "day" }],
  ])("refused: %s", async (_, args) => {
    await expect(revenue(db, args)).rejects.toThrow("invalid_report");
  });

  test("says what was sold, used, ended, refunded, and is still owed", async () => {
    const on = await prepared();
    const user = await createUser(on);
    const totals = async () => (await revenue(on, far)).totals;
    await buys(on, user, "pi_1", "pack"); // 100 tokens for 10.00
    await give(on, user, 100, 500);
    await spend(on, user, 30);
    expect(await totals()).toMatchObject([
      { currency: "eur", sold_cents: 500, recognised_cents: 0, closing_deferred_cents: 500 },
      { currency: "usd", sold_cents: 1000, recognised_cents: 300, closing_deferred_cents: 700 },
    ]);
    await recordPaymentEvent(on, "pi_1", refund("re", 500));
    expect((await totals())[1]).toMatchObject({
      refunded_cents: 500,
      recognised_cents: 300,
      closing_deferred_cents: 200,
    });
    await letTimePass(on, user, 31);
    await spend(on, user, 1);
    expect(await totals()).toMatchObject([
      { recognised_cents: 5, breakage_cents: 0, closing_deferred_cents: 495 },
      { recognised_cents: 300, breakage_cents: 200, closing_deferred_cents: 0 },
    ]);
    await on.drop();
  });

  test("money that went back for what was used is used no more; what pays the debt is", async () => {
    const on = await prepared();
    const user = await createUser(on);
    const euros = async () => (await revenue(on, far)).totals;
    await buys(on, user, "pi_1", "pack");
    await spend(on, user, 100);
    await recordPaymentEvent(on, "pi_1", dispute("open", "dp", 1000));
    expect(await euros()).toMatchObject([
      { refunded_cents: 1000, recognised_cents: 0, closing_deferred_cents: 0 },
    ]);
    await give(on, user, 200, 400);
    expect(await euros()).toMatchObject([
      { currency: "eur", recognised_cents: 200, closing_deferred_cents: 200 },
      { currency: "usd", recognised_cents: 0 },
    ]);
    await recordPaymentEvent(on, "pi_1", dispute("won", "dp", 1000));
    expect(await euros()).toMatchObject([
      { currency: "eur", recognised_cents: 0, closing_deferred_cents: 400 },
      { currency: "usd", refunded_cents: 0, recognised_cents: 1000 },
    ]);
    await on.drop();
  });

  test("a plan that gives its tokens over time owes what it has not given; what it never gave has ended with it", async () => {
    const on = await prepared();
    const user = await createUser(on);
    await buys(on, user, "pi_1", "drip", 2800);
    await spend(on, user, 10);
    expect((await revenue(on, far)).totals).toMatchObject([
      { recognised_cents: 100, closing_deferred_cents: 2700 },
    ]);
    await letTimePass(on, user, 40);
    await spend(on, user, 1).catch(() => null);
    expect((await revenue(on, far)).totals).toMatchObject([
      { sold_cents: 2800, recognised_cents: expect.any(Number), closing_deferred_cents: 0 },
    ]);
    await on.drop();
  });
});

/** What somebody does to a user's books, and how often they do it. */
async function live(
  on: Database,
  dice: Dice,
  user: string,
  steps: number,
  mix: Record<string, number>,
  between: () => Promise<void>,
) {
  const payments: { id: string; cents: number; lost: number; n: number }[] = [];
  const charges: number[] = [];
  const grants: string[] = [];
  const acts: Record<string, () => Promise<unknown>> = {
    buy: async () => {
      const id = `pi_${user}_${payments.length}`;
      const of = dice.chance(0.3) ? "drip" : "pack";
      const cents = of === "drip" ? 2800 : 1000;
      await buys(on, user, id, of, cents, dice.chance(0.2) ? "gbp" : "usd");
      payments.push({ id, cents, lost: 0, n: 0 });
    },
    give: async () => {
      const { grant_id } = await give(
        on,
        user,
        1 + dice.below(150),
        dice.chance(0.3) ? null : dice.below(1000),
        {
          p_expires_at: new Date(Date.now() + (1 + dice.below(20)) * 86_400_000).toISOString(),
          ...(dice.chance(0.2) ? { p_starts_at: new Date(Date.now() + 43_200_000).toISOString() } : {}),
        },
      );
      grants.push(grant_id);
    },
    spend: async () => {
      const { transaction_id } = await spend(on, user, 1 + dice.below(90));
      if (transaction_id !== null) charges.push(transaction_id);
    },
    hold: async () => {
      const { hold_id } = await server(on, "reserve_tokens", {
        p_user_id: user,
        p_tokens: 1 + dice.below(60),
      });
      if (hold_id != null && dice.chance(0.8))
        await server(on, "capture_tokens", {
          p_user_id: user,
          p_hold_id: hold_id,
          p_tokens: dice.below(60),
          p_over_capture: "partial",
        });
    },
    undo: async () => {
      if (charges.length === 0) return;
      await server(on, "refund_tokens", {
        p_user_id: user,
        p_transaction_id: dice.any(charges),
        ...(dice.chance(0.5) ? { p_tokens: 1 + dice.below(20) } : {}),
        ...(dice.chance(0.5) ? { p_expired_policy: "reissue", p_lifetime_days: 1 + dice.below(9) } : {}),
      });
    },
    lose: async () => {
      const payment = payments.length > 0 ? dice.any(payments) : undefined;
      if (payment === undefined) return;
      const cents = 1 + dice.below(payment.cents);
      await recordPaymentEvent(
        on,
        payment.id,
        dice.chance(0.5)
          ? refund(`re${payment.n++}`, cents)
          : dispute(dice.any(["open", "lost"]), `dp${payment.n++}`, cents),
      );
    },
    win: async () => {
      const payment = payments.find(({ n }) => n > 0);
      if (payment === undefined) return;
      await recordPaymentEvent(on, payment.id, dispute("won", `dp${dice.below(payment.n)}`));
    },
    retell: async () => {
      const payment = payments.length > 0 ? dice.any(payments) : undefined;
      if (payment === undefined) return;
      payment.cents += dice.below(100);
      await recordPaymentEvent(on, payment.id, { kind: "paid", amount_cents: payment.cents });
    },
    correct: () =>
      server(on, "adjust_tokens", {
        p_user_id: user,
        p_delta: -1 - dice.below(30),
        p_reason: "a correction",
      }),
    void: async () => {
      if (grants.length === 0) return;
      await server(on, "void_token_grant", {
        p_user_id: user,
        p_grant_id: dice.any(grants),
        p_take_back: dice.chance(0.5),
      });
    },
  };
  for (let step = 0; step < steps; step++) {
    const act = step === 0 ? "buy" : dice.any(Object.keys(acts));
    await acts[act]!().then(
      () => (mix[act] = (mix[act] ?? 0) + 1),
      () => (mix[`${act} refused`] = (mix[`${act} refused`] ?? 0) + 1),
    );
    await between();
  }
}

/** @returns how many of the sums differ from what they should be. */
async function histories(on: Database, dice: Dice, users: number, steps: number, isAskedOften: boolean) {
  const mix: Record<string, number> = {};
  let violations = 0;
  const said: string[] = [];
  for (let n = 0; n < users; n++) {
    const user = await createUser(on);
    await live(on, dice, user, steps, mix, async () => {
      if (isAskedOften && dice.chance(0.3)) await revenue(on, far);
      if (!isAskedOften && dice.chance(0.3)) await letTimePass(on, user, 0.2 + dice.next() * 4);
    });
    // whatever is due is booked, and there is an entry of today: what is known of money without one falls on the day of the
    // latest entry
    await server(on, "grant_tokens", {
      p_user_id: user,
      p_tokens: 1,
      p_grant_type: "admin",
      p_reason: "a gift",
    });
  }
  said.push(...(await wrongs(on)));
  violations += said.length;
  // by day each opens with what the day before closed with
  const { rows } = await revenue(on, {
    p_from: new Date(Date.now() - 390 * 86_400_000).toISOString(),
    p_bucket: "day",
  });
  const closed: Record<string, number> = {};
  for (const row of rows) {
    const due =
      row.opening_deferred_cents +
      row.sold_cents -
      row.refunded_cents -
      row.recognised_cents -
      row.breakage_cents;
    if (due !== row.closing_deferred_cents || row.opening_deferred_cents !== (closed[row.currency] ?? 0)) {
      violations += 1;
      said.push(`${row.starts_at} ${row.currency} does not add up`);
    }
    closed[row.currency] = row.closing_deferred_cents;
  }
  return { violations, mix, said, rows: rows.length as number };
}

/** A moment of their plan, to the microsecond. */
async function ofPlan(on: Database, user: string, column: "period_start" | "expires_at"): Promise<string> {
  const { rows } = await on.admin.query<{ at: string }>(
    `select to_json(${column}) #>> '{}' as at from tokenbook.subscriptions where user_id = $1`,
    [user],
  );
  return rows[0]!.at;
}

/** A story of one user, and what the report says in the end beside what it should. */
const stories: Record<string, (on: Database, user: string) => Promise<void>> = {
  "carried over after it ran out": async (on, user) => {
    await server(on, "set_token_plan", {
      p_plan_type: "carry",
      p_plan: {
        name: "Carry",
        tokens: 100,
        price_cents: 1000,
        billing_cycle: "28day",
        grant_lifetime_days: 28,
        rollover_tokens: 50,
        rollover_lifetime_days: 90,
        rank: 13,
      },
      p_reason: "for this test",
    });
    const pays = (id: string, period_start?: string) =>
      recordPaymentEvent(on, id, {
        kind: "paid",
        user_id: user,
        plan_type: "carry",
        amount_cents: 1000,
        currency: "usd",
        ...(period_start === undefined ? {} : { period_start }),
      });
    await pays("pi_1");
    await letTimePass(on, user, 28.5);
    await pays("pi_2", await ofPlan(on, user, "expires_at"));
    await spend(on, user, 20);
  },
  "a plan that ended, and had not given all of it": async (on, user) => {
    await buys(on, user, "pi_1", "drip", 2800);
    await letTimePass(on, user, 5);
    await spend(on, user, 7);
    await revenue(on, far);
    await letTimePass(on, user, 40);
    await spend(on, user, 1);
  },
  "a period that was renewed before it was paid for": async (on, user) => {
    await buys(on, user, "pi_1", "drip", 2800);
    await give(on, user, 100, 500);
    await letTimePass(on, user, 28.1);
    await server(on, "renew_token_subscription", { p_user_id: user });
    await letTimePass(on, user, 2.5);
    await spend(on, user, 15);
    await revenue(on, far);
    await recordPaymentEvent(on, "pi_2", {
      kind: "paid",
      user_id: user,
      plan_type: "drip",
      amount_cents: 2800,
      currency: "usd",
      period_start: await ofPlan(on, user, "period_start"),
    });
    await spend(on, user, 1);
  },
  "a payment of which the currency is told later": async (on, user) => {
    const tells = (more: Args) =>
      recordPaymentEvent(on, "pi_1", {
        kind: "paid",
        user_id: user,
        pack_type: "hundred",
        amount_cents: 1000,
        ...more,
      });
    await tells({});
    await spend(on, user, 30);
    await revenue(on, far);
    await tells({ currency: "gbp" });
  },
  "a refund of spent tokens takes them from another grant": async (on, user) => {
    await buys(on, user, "pi_1", "pack");
    await give(on, user, 100, 500);
    await spend(on, user, 90);
    await recordPaymentEvent(on, "pi_1", refund("re", 1000));
  },
};

async function told(story: string, mutant?: string): Promise<string[]> {
  const on = await prepared();
  try {
    if (mutant !== undefined) await applyMutant(on, mutant);
    await stories[story]!(on, await createUser(on));
    // what was counted before a clock was moved stands in the day of then, and is taken out of today
    const said = await wrongs(on, { byDay: story !== "a plan that ended, and had not given all of it" });
    const { rows } = await on.admin.query<{ invariant: string }>(
      "select invariant from public.verify_token_ledger()",
    );
    return [...said, ...rows.map(({ invariant }) => invariant)];
  } finally {
    await on.drop();
  }
}
test.each(Object.keys(stories))("%s", async (story) => {
  expect(await told(story)).toEqual([]);
});

describe("whatever a history was, the sums are what its ledger says", () => {
  test.each([
    ["of many days, asked at the end", false],
    ["of one day, asked again and again", true],
  ])("%s", { timeout: 240_000 }, async (_, isAskedOften) => {
    const on = await prepared();
    const { violations, mix, said, rows } = await histories(on, new Dice(seed), 12, 25, isAskedOften);
    console.log(
      `users=12 steps=25 days=${rows} violations=${violations} seed=${seed} mix=${JSON.stringify(mix)}`,
    );
    expect(said).toEqual([]);
    const { rows: breaches } = await on.admin.query("select * from public.verify_token_ledger()");
    expect(breaches).toEqual([]);
    await on.drop();
  });
});

describe("the tests see it", { tags: ["proof"], timeout: 120_000 }, () => {
  test.each([
    ["sales-go-unnoted", false],
    ["undone-use-stays-recognised", false],
    ["taken-for-others-is-lost", false],
    ["clawed-back-stays-used", false],
    ["slots-are-sold-at-once", false],
    ["money-as-it-was-told", true],
    ["changes-of-money-unnoted", true],
  ])("%s", async (mutant, isAskedOften) => {
    const on = await prepared();
    await applyMutant(on, mutant);
    const { violations } = await histories(on, new Dice(100), 8, 25, isAskedOften);
    console.log(`${mutant}: users=8 violations=${violations}`);
    expect(violations).toBeGreaterThan(0);
    await on.drop();
  });

  test.each([
    ["periods-never-end", "a plan that ended, and had not given all of it"],
    ["entries-are-counted-again", "a period that was renewed before it was paid for"],
    ["carried-over-and-ended", "carried over after it ran out"],
    ["paid-later-without-money", "a period that was renewed before it was paid for"],
    ["currencies-are-mixed", "a payment of which the currency is told later"],
  ])("%s", async (mutant, story) => {
    expect(await told(story, mutant)).not.toEqual([]);
  });

  test.each([
    ["basis-of-all-that-was-paid", 100],
    ["slots-cost-the-whole-period", 150],
    ["slots-have-no-money", 150],
    ["reissued-all-in-one", 160],
    ["cents-are-rounded-apart", 50],
  ])("%s", async (mutant, right) => {
    const on = await prepared();
    await applyMutant(on, mutant);
    const user = await createUser(on);
    expect(await costs[mutant]!(on, user)).not.toBe(right);
    await on.drop();
    const rightly = await prepared();
    expect(await costs[mutant]!(rightly, await createUser(rightly))).toBe(right);
    await rightly.drop();
  });

  test("costs-of-no-currency", async () => {
    const on = await prepared();
    await applyMutant(on, "costs-of-no-currency");
    await expect(give(on, await createUser(on), 10, null, { p_cost_basis_cents: 5 })).rejects.not.toThrow(
      "invalid_cost_basis",
    );
    await on.drop();
  });
});

/** What a charge cost, where a mutant says something else. */
const costs: Record<string, (on: Database, user: string) => Promise<number>> = {
  "basis-of-all-that-was-paid": async (on, user) => {
    await buys(on, user, "pi_1", "pack");
    await recordPaymentEvent(on, "pi_1", refund("re", 500));
    return costOf(on, user, (await spend(on, user, 10)).transaction_id);
  },
  "slots-cost-the-whole-period": (on, user) => ofSlots(on, user),
  "slots-have-no-money": (on, user) => ofSlots(on, user),
  "reissued-all-in-one": async (on, user) => {
    const inAMoment = { p_expires_at: new Date(Date.now() + 86_400_000).toISOString() };
    for (const cents of [100, 60]) await give(on, user, 10, cents, inAMoment);
    const { transaction_id } = await spend(on, user, 20);
    await letTimePass(on, user, 2);
    await server(on, "refund_tokens", {
      p_user_id: user,
      p_transaction_id: transaction_id,
      p_expired_policy: "reissue",
      p_lifetime_days: 5,
    });
    return costOf(on, user, (await spend(on, user, 20)).transaction_id);
  },
  "cents-are-rounded-apart": async (on, user) => {
    for (const cents of [100, 50]) await give(on, user, 3, cents);
    await spend(on, user, 2);
    return costOf(on, user, (await spend(on, user, 2)).transaction_id);
  },
};
async function costOf(on: Database, user: string, transaction: number): Promise<number> {
  const { paid_by } = await explain(on, user, transaction);
  return paid_by.reduce((sum: number, part: { cost_basis_cents: number }) => sum + part.cost_basis_cents, 0);
}
async function ofSlots(on: Database, user: string): Promise<number> {
  await buys(on, user, "pi_1", "drip", 2800);
  await letTimePass(on, user, 1);
  return costOf(on, user, (await spend(on, user, 15)).transaction_id);
}
