import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { expectCleanBooks } from "../../support/books.ts";
import { asService, createUser, rpc } from "../../support/roles.ts";
import { letTimePass } from "../../support/time.ts";

let db: Database;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  // a month of 28 days, tokens that live for it; half of them at most, and no more than 300, live on
  await addPlan("rolling", { rollover_tokens: 300, rollover_percent: 50, rollover_lifetime_days: 28 });
  await addPlan("percent", { rollover_percent: 10, rollover_lifetime_days: 56 });
  await addPlan("long", { grant_lifetime_days: 90, rollover_tokens: 300, rollover_lifetime_days: 100 });
  await addPlan("lasting", { grant_lifetime_days: 90, rollover_tokens: 300, rollover_lifetime_days: 20 });
  await addPlan("bigger", { tokens: 5_000, rank: 20, rollover_tokens: 1, rollover_lifetime_days: 28 });
  await addPlan("plain", { rank: 5 });
  await addPlan("filled", { balance_cap: 1_000, rollover_tokens: 300, rollover_lifetime_days: null });
});
beforeEach(async () => {
  user = await createUser(db);
});
afterAll(async () => {
  await db.drop();
});

async function addPlan(name: string, terms: Record<string, number | null>): Promise<void> {
  const plan = {
    plan_type: name,
    name,
    tokens: 1_000,
    billing_cycle: "28day",
    grant_type: "28day",
    grant_lifetime_days: 28,
    rank: 10,
    price_cents: 100,
    ...terms,
  };
  const columns = Object.keys(plan).join(", ");
  await db.admin.query(
    `insert into public.token_plans (${columns}) select ${columns} from jsonb_populate_record(null::public.token_plans, $1)`,
    [JSON.stringify(plan)],
  );
}

const call = (name: string, args: Record<string, unknown> = {}) =>
  asService(db, (client) => rpc(client, name, { p_user_id: user, ...args }));
const start = (plan: string) => call("change_token_plan", { p_plan_type: plan });
const spend = (tokens: number) => call("deduct_tokens_with_fifo", { p_tokens_to_deduct: tokens });
const balance = () => call("get_user_token_balance");

/** The user's rollover entries, and the grants that they made. */
async function carried() {
  const { rows: entries } = await db.admin.query(
    `select t.id::int, t.tokens::int, o.entry_type as out_of from public.token_transactions t
       left join public.token_transactions o on o.user_id = t.user_id and o.id = t.original_id
      where t.user_id = $1 and t.entry_type = 'rollover' order by t.id`,
    [user],
  );
  const { rows: grants } = await db.admin.query(
    `select b.tokens_granted::int as tokens, round(extract(epoch from b.expires_at - b.granted_at) / 86400)::int as days
       from public.token_balances b where b.user_id = $1 and b.rolled_over_from is not null order by b.granted_at`,
    [user],
  );
  return { entries, grants };
}
async function expectRightBooks() {
  await expectCleanBooks(db);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
}

describe("a period that closes with its tokens", () => {
  test("carries what it has left over, up to the limit, with its own lifetime", async () => {
    await start("rolling");
    await spend(600);
    await letTimePass(db, user, 28);

    const renewed = await call("renew_token_subscription");

    // of 400 left 300 live on for 28 days, 100 have run out
    expect(renewed).toMatchObject({ success: true, tokens_granted: 1_000, tokens_remaining: 1_300 });
    expect(await carried()).toEqual({
      entries: [{ id: 4, tokens: 300, out_of: "expiry" }],
      grants: [{ tokens: 300, days: 28 }],
    });
    expect(await balance()).toMatchObject({ total_active: 1_300, total_expired: 100, tokens_limit: 1_300 });
    await expectRightBooks();
  });

  test("does so just as well when the expiry has been booked before", async () => {
    await start("rolling");
    await spend(600);
    await letTimePass(db, user, 28);
    await db.admin.query("select public.expire_old_token_grants()");
    expect(await balance()).toMatchObject({ total_active: 0, total_expired: 400 });
    await letTimePass(db, user, 2); // the renewal is late, and in the plan's grace

    await call("renew_token_subscription");

    expect((await carried()).grants).toEqual([{ tokens: 300, days: 28 }]);
    expect(await balance()).toMatchObject({ total_active: 1_300, total_expired: 100 });
    await expectRightBooks();
  });

  test("carries no more than its share, and nothing when it is spent", async () => {
    await start("percent");
    await letTimePass(db, user, 28);
    await call("renew_token_subscription");
    expect((await carried()).grants).toEqual([{ tokens: 100, days: 56 }]);

    await spend(1_100);
    await letTimePass(db, user, 28);
    await call("renew_token_subscription");

    expect((await carried()).grants).toHaveLength(1);
    await expectRightBooks();
  });

  test("what was carried over is spent before the new period's tokens, and is not carried over again", async () => {
    await start("rolling");
    await letTimePass(db, user, 28);
    await call("renew_token_subscription");

    const spent = await spend(350);
    expect(spent.deducted_from.map((part: { deducted: number }) => part.deducted)).toEqual([300, 50]);
    await letTimePass(db, user, 28);
    await call("renew_token_subscription");

    // 300 of the 950 that the second period had left; nothing of the first
    expect((await carried()).grants.map(({ tokens }) => tokens)).toEqual([300, 300]);
    await expectRightBooks();
  });

  test("a period is carried over once, however often it is renewed", async () => {
    await start("rolling");
    await letTimePass(db, user, 28);
    const first = await call("renew_token_subscription");

    const again = await call("renew_token_subscription", { p_period_start: first.period_start });

    expect(again).toMatchObject({ replayed: true, transaction_id: first.transaction_id });
    expect((await carried()).grants).toHaveLength(1);
  });
});

describe("a grant that lives longer than its period", () => {
  test("gives up to the limit, and keeps the rest on its own terms", async () => {
    await start("long");
    await spend(100);
    await letTimePass(db, user, 28);

    await call("renew_token_subscription");

    expect(await carried()).toEqual({
      entries: [
        { id: 3, tokens: -300, out_of: null },
        { id: 4, tokens: 300, out_of: "rollover" },
      ],
      grants: [{ tokens: 300, days: 100 }],
    });
    const { grants } = await balance();
    expect(grants.map((g: { tokens_remaining: number }) => g.tokens_remaining)).toEqual([600, 300, 1_000]);
    expect(await balance()).toMatchObject({ total_active: 1_900, total_expired: 0 });
    await expectRightBooks();
  });

  test("keeps everything when it would be carried into a shorter life", async () => {
    await start("lasting"); // 62 days to go, and what is carried over lives 20
    await letTimePass(db, user, 28);

    await call("renew_token_subscription");

    expect(await carried()).toEqual({ entries: [], grants: [] });
    expect(await balance()).toMatchObject({ total_active: 2_000 });
  });
});

test("an upgrade closes the period too, on the terms of the plan that it was on", async () => {
  await start("rolling");
  await letTimePass(db, user, 10);

  await start("bigger");

  expect(await carried()).toMatchObject({ grants: [{ tokens: 300, days: 28 }] });
  expect(await balance()).toMatchObject({ total_active: 6_000 });
  await expectRightBooks();
});

test("after a downgrade the closing period is still carried over on its own terms", async () => {
  await start("rolling");
  expect(await call("change_token_plan", { p_plan_type: "plain" })).toMatchObject({
    effective: "period_end",
  });
  expect((await carried()).grants).toEqual([]);
  await letTimePass(db, user, 28);

  await call("renew_token_subscription");
  expect((await carried()).grants).toEqual([{ tokens: 300, days: 28 }]);

  await letTimePass(db, user, 28);
  await call("renew_token_subscription"); // of plain, which carries nothing over
  expect((await carried()).grants).toHaveLength(1);
  expect(await balance()).toMatchObject({ total_active: 1_000 });
  await expectRightBooks();
});

test("an early renewal is refused, and carries nothing over", async () => {
  await start("rolling");

  await expect(call("renew_token_subscription")).rejects.toMatchObject({ message: "not_due_yet" });

  expect((await carried()).entries).toEqual([]);
});

test("what is carried over counts towards the plan's balance cap", async () => {
  await start("filled");
  await letTimePass(db, user, 28);

  const renewed = await call("renew_token_subscription");

  expect(renewed).toMatchObject({ tokens_granted: 700 });
  expect(await balance()).toMatchObject({ total_active: 1_000, next_expiry: expect.any(String) });
  await expectRightBooks();
});

test("a voided grant carries nothing over", async () => {
  await start("rolling");
  const { grants } = await balance();
  await call("void_token_grant", { p_grant_id: grants[0].id, p_reason: "given by mistake" });
  await letTimePass(db, user, 28);

  await call("renew_token_subscription");

  expect((await carried()).entries).toEqual([]);
  await expectRightBooks();
});

test("a debt is repaid from what is carried over", async () => {
  await start("rolling");
  const { grants } = await balance();
  await spend(200);
  await letTimePass(db, user, 28);
  await db.admin.query("select public.expire_old_token_grants()");
  await call("grant_tokens", { p_tokens: 50, p_grant_type: "purchase" });
  const gift = (await balance()).grants[0].id as string;
  await spend(50);
  await call("void_token_grant", { p_grant_id: gift, p_reason: "given by mistake", p_take_back: true });
  expect(await balance()).toMatchObject({ total_owed: 50, total_active: 0 });

  await call("renew_token_subscription");

  expect(grants).toHaveLength(1);
  expect(await balance()).toMatchObject({ total_owed: 0, total_active: 1_250 });
  await expectRightBooks();
});

test.each([
  ["rollover_tokens", 0],
  ["rollover_percent", 101],
  ["rollover_percent", 0],
  ["rollover_lifetime_days", 10],
])("a plan whose %s is %s is refused by the table", async (column, value) => {
  await expect(addPlan("wrong", { [column]: value })).rejects.toMatchObject({ code: "23514" });
});
