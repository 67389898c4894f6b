/** Money that goes back for tokens that nobody has any more: they ran out, were voided, or have repaid a debt. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { standing } from "../support/plans.ts";
import { dispute, recordPaymentEvent, refund } from "../support/provider-events.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

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

/** A pack for ever, one of 30 days, and a plan that gives a day's tokens each day. */
async function prepared(): Promise<Database> {
  const to = await createDatabase();
  await to.admin.query(
    `insert into public.token_packs (pack_type, name, tokens, lifetime_days, priority, price_cents)
     values ('lasting', 'Lasting', 50000, null, 50, 500), ('brief', 'Brief', 20000, 30, 10, 300)`,
  );
  await asService(to, (client) =>
    rpc(client, "set_token_plan", {
      p_plan_type: "drip",
      p_plan: {
        name: "Drip",
        tokens: 100,
        price_cents: 3100,
        billing_cycle: "monthly",
        issue_every: "day",
        grant_lifetime_days: 3,
        rank: 12,
      },
      p_reason: "for this test",
    }),
  );
  return to;
}

const call = (on: Database, name: string, args: Record<string, unknown>) =>
  asService(on, (client) => rpc(client, name, args));
const buys = (on: Database, user: string, pack: "lasting" | "brief", id: string) =>
  recordPaymentEvent(on, id, {
    kind: "paid",
    user_id: user,
    pack_type: pack,
    amount_cents: pack === "lasting" ? 500 : 300,
    currency: "usd",
  });
const spends = (on: Database, user: string, tokens: number) =>
  call(on, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens });
async function grantOf(on: Database, user: string): Promise<string> {
  const { rows } = await on.admin.query<{ id: string }>(
    "select id from public.token_balances where user_id = $1 and payment_id is not null order by created_at limit 1",
    [user],
  );
  return rows[0]!.id;
}
const balanceAndDebt = async (on: Database, user: string) => {
  const { balance, owed } = await standing(on, user);
  return { balance, owed };
};

/** Each ends with what the user has, and owes. */
const stories: Record<string, { tell: (on: Database, user: string) => Promise<unknown>; right: object }> = {
  "voided unspent, then refunded: it was taken already": {
    tell: async (on, user) => {
      await buys(on, user, "lasting", `pi_a${user}`);
      await call(on, "void_token_grant", { p_user_id: user, p_grant_id: await grantOf(on, user) });
      await recordPaymentEvent(on, `pi_a${user}`, refund("re", 500));
      await grant(on, user, 60_000);
    },
    right: { balance: 60_000, owed: 0 },
  },
  "voided unspent, refunded, and the refund fails: nothing was taken by it": {
    tell: async (on, user) => {
      await buys(on, user, "lasting", `pi_b${user}`);
      await call(on, "void_token_grant", { p_user_id: user, p_grant_id: await grantOf(on, user) });
      await recordPaymentEvent(on, `pi_b${user}`, refund("re", 500));
      await recordPaymentEvent(on, `pi_b${user}`, refund("re", 500, "failed"));
      await grant(on, user, 60_000);
    },
    right: { balance: 60_000, owed: 0 },
  },
  "spent, taken back whole by an admin, then disputed: it was taken already": {
    tell: async (on, user) => {
      await buys(on, user, "lasting", `pi_c${user}`);
      await grant(on, user, 60_000);
      await spends(on, user, 30_000);
      await call(on, "void_token_grant", {
        p_user_id: user,
        p_grant_id: await grantOf(on, user),
        p_take_back: true,
      });
      await recordPaymentEvent(on, `pi_c${user}`, dispute("lost", "dp", 500));
    },
    right: { balance: 30_000, owed: 0 },
  },
  "run out unspent, then refunded: nobody owes it": {
    tell: async (on, user) => {
      await buys(on, user, "brief", `pi_d${user}`);
      await letTimePass(on, user, 31);
      await recordPaymentEvent(on, `pi_d${user}`, refund("re", 300));
    },
    right: { balance: 0, owed: 0 },
  },
  "spent in part, the rest run out, refunded by halves: what was spent is owed, and no more": {
    tell: async (on, user) => {
      await buys(on, user, "brief", `pi_e${user}`);
      await spends(on, user, 5_000);
      await letTimePass(on, user, 31);
      await recordPaymentEvent(on, `pi_e${user}`, refund("re_1", 150));
      await recordPaymentEvent(on, `pi_e${user}`, refund("re_2", 150));
    },
    right: { balance: 0, owed: 5_000 },
  },
  "the same, and the second half fails: half of it is less than what ran out": {
    tell: async (on, user) => {
      await buys(on, user, "brief", `pi_f${user}`);
      await spends(on, user, 5_000);
      await letTimePass(on, user, 31);
      await recordPaymentEvent(on, `pi_f${user}`, refund("re_1", 150));
      await recordPaymentEvent(on, `pi_f${user}`, refund("re_2", 150));
      await recordPaymentEvent(on, `pi_f${user}`, refund("re_2", 150, "failed"));
    },
    right: { balance: 0, owed: 0 },
  },
  "half refunded while it lived, the other half run out, all refunded: both halves are gone": {
    tell: async (on, user) => {
      await buys(on, user, "brief", `pi_g${user}`);
      await recordPaymentEvent(on, `pi_g${user}`, refund("re_1", 150));
      await letTimePass(on, user, 31);
      await recordPaymentEvent(on, `pi_g${user}`, refund("re_2", 150));
    },
    right: { balance: 0, owed: 0 },
  },
  "days of a plan that ran out unspent, then refunded: what was spent of them is owed": {
    tell: async (on, user) => {
      await recordPaymentEvent(on, `pi_h${user}`, {
        kind: "paid",
        user_id: user,
        plan_type: "drip",
        amount_cents: 3_100,
        currency: "usd",
        period_start: new Date().toISOString(),
      });
      await spends(on, user, 40);
      for (let day = 1; day <= 9; day++) {
        await letTimePass(on, user, 1);
        await call(on, "expire_old_token_grants", {});
      }
      await recordPaymentEvent(on, `pi_h${user}`, refund("re", 3_100));
    },
    right: { balance: 0, owed: 40 },
  },
  "a debt that a later pack repaid comes back to that pack when the dispute is won": {
    tell: async (on, user) => {
      await buys(on, user, "brief", `pi_i${user}`);
      await spends(on, user, 20_000);
      await letTimePass(on, user, 31);
      await recordPaymentEvent(on, `pi_i${user}`, dispute("open", "dp", 300));
      await buys(on, user, "lasting", `pi_j${user}`);
      await recordPaymentEvent(on, `pi_i${user}`, dispute("won", "dp", 300));
    },
    right: { balance: 50_000, owed: 0 },
  },
  "two disputes repaid by one pack, both won: it has everything back, once": {
    tell: async (on, user) => {
      for (const id of [`pi_k${user}`, `pi_l${user}`]) {
        await buys(on, user, "brief", id);
        await spends(on, user, 20_000);
      }
      await letTimePass(on, user, 31);
      for (const id of [`pi_k${user}`, `pi_l${user}`]) {
        await recordPaymentEvent(on, id, dispute("open", `dp_${id}`, 300));
      }
      await buys(on, user, "lasting", `pi_m${user}`);
      for (const id of [`pi_k${user}`, `pi_l${user}`]) {
        await recordPaymentEvent(on, id, dispute("won", `dp_${id}`, 300));
      }
    },
    right: { balance: 50_000, owed: 0 },
  },
  "taken back whole while some of it is held, and the hold is released: nobody owes what nobody had": {
    tell: async (on, user) => {
      const mistake = await grant(on, user, 100);
      const { hold_id } = await call(on, "reserve_tokens", { p_user_id: user, p_tokens: 60 });
      await call(on, "void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true });
      await call(on, "release_tokens", { p_user_id: user, p_hold_id: hold_id });
    },
    right: { balance: 0, owed: 0 },
  },
};

test.for(Object.entries(stories))("%s", async ([, { tell, right }]) => {
  const user = await createUser(db);
  await tell(db, user);

  expect(await balanceAndDebt(db, user)).toEqual(right);
});

describe("the trial sees it", { tags: ["proof"] }, () => {
  test.for([
    ["lapsed-tokens-are-owed", "voided unspent, then refunded"],
    ["lapsed-tokens-are-owed", "run out unspent, then refunded"],
    ["repaid-debts-come-back-to-the-dead", "a debt that a later pack repaid"],
    ["voids-take-what-is-held", "taken back whole while some of it is held"],
  ])("%s: %s", async ([mutant, story]) => {
    const broken = await prepared();
    await applyMutant(broken, mutant!);
    const user = await createUser(broken);
    const [, { tell, right }] = Object.entries(stories).find(([name]) => name.startsWith(story!))!;
    await tell(broken, user);
    const found = await balanceAndDebt(broken, user);
    await broken.drop();

    expect(found).not.toEqual(right);
  });
});

const voidedAtASlot = async (on: Database) => {
  const user = await createUser(on);
  await grant(on, user, 40);
  const voided = await grant(on, user, 500);
  await recordPaymentEvent(on, `pi_s${user}`, {
    kind: "paid",
    user_id: user,
    plan_type: "drip",
    amount_cents: 3_100,
    currency: "usd",
    period_start: new Date().toISOString(),
  });
  await recordPaymentEvent(on, `pi_s${user}`, refund("re", 1_550));
  await letTimePass(on, user, 1);
  await call(on, "void_token_grant", { p_user_id: user, p_grant_id: voided });
  return user;
};

test("a grant that is voided in the moment in which a slot loses its share is one entry's", async () => {
  const user = await voidedAtASlot(db);
  const now = new Date().toISOString();

  const asOf = await asUser(db, user, (client) => rpc(client, "get_token_balance_as_of", { p_at: now }));
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance", {}));
  const { rows } = await db.admin.query("select * from public.replay_token_balances($1)", [user]);

  expect(asOf.total_active).toBe(balance.total_active);
  expect(rows.filter((row) => Number(row.difference) !== 0)).toEqual([]);
});

test("the trial sees it: voids that any entry of that moment explains", { tags: ["proof"] }, async () => {
  const broken = await prepared();
  await applyMutant(broken, "voids-explained-by-their-moment");
  const user = await voidedAtASlot(broken);
  const replay = broken.admin.query("select * from public.replay_token_balances($1)", [user]);

  await expect(replay).rejects.toThrow("more than one row");
  await broken.drop();
});

const refundedFor = async (on: Database, as: string, reason: string) => {
  const user = await createUser(on);
  const { payment_id } = await call(on, "create_token_payment", {
    p_user_id: user,
    p_to_plan: null,
    p_pack_type: "lasting",
  });
  await asAdmin(on, as, (client) =>
    rpc(client, "approve_token_payment", { p_user_id: user, p_payment_id: payment_id }),
  );
  const refunds = (cents: number) =>
    asAdmin(on, as, (client) =>
      rpc(client, "refund_token_payment", {
        p_user_id: user,
        p_payment_id: payment_id,
        p_refunded_cents: cents,
        p_reason: reason,
      }),
    );
  return [await refunds(500), await refunds(0)];
};

test("a reason of 500 characters is taken and given back for", async () => {
  const [taken, given] = await refundedFor(db, admin, "r".repeat(500));

  expect([taken.tokens_remaining, given.tokens_remaining]).toEqual([0, 50_000]);
});

test("the trial sees it: reasons that outgrow the ledger's", { tags: ["proof"] }, async () => {
  const broken = await prepared();
  await applyMutant(broken, "reasons-outgrow-the-ledger");
  const as = await createUser(broken, { admin: true });

  await expect(refundedFor(broken, as, "r".repeat(500))).rejects.toThrow("reason");
  await broken.drop();
});
