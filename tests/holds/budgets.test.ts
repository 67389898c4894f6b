import { afterAll, beforeAll, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { storm } from "../support/storm.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

const second = 1 / 86_400;
// oxlint-disable-next-line typescript/no-explicit-any
type Answer = Record<string, any>;
const call = (name: string, args: object, on = db): Promise<Answer> =>
  asService(on, (client) => rpc(client, name, args as Record<string, unknown>));
const reserve = (user: string, tokens: number, more: object = {}, on = db) =>
  call("reserve_tokens", { p_user_id: user, p_tokens: tokens, ...more }, on);
const capture = (user: string, hold: string, more: object = {}, on = db) =>
  call("capture_tokens", { p_user_id: user, p_hold_id: hold, ...more }, on);
const release = (user: string, hold: string, on = db) =>
  call("release_tokens", { p_user_id: user, p_hold_id: hold }, on);
const balanceOf = (user: string, on = db) => call("get_user_token_balance", { p_user_id: user }, on);
const verify = async (on = db) => (await on.admin.query("select * from public.verify_token_ledger()")).rows;
const differences = async (user: string, on = db) =>
  (
    await on.admin.query(
      "select * from tokenbook.replay($1, null, null, clock_timestamp()) r where r.difference <> 0 or r.uncovered > 0",
      [user],
    )
  ).rows;

/** A user with 100 tokens in two grants, and a budget of 60 of them. */
async function budgeted(on = db, more: object = {}) {
  const user = await createUser(on);
  const grants = [await grant(on, user, 40), await grant(on, user, 60)];
  const { hold_id: budget } = await reserve(user, 60, more, on);
  return { user, grants, budget: budget as string };
}

test("a child takes its parent's tokens in burn order, and nothing that anybody sees moves", async () => {
  const { user, grants, budget } = await budgeted();
  const before = await balanceOf(user);

  const child = await reserve(user, 50, { p_parent_hold: budget });

  expect(child).toMatchObject({
    success: true,
    status: "open",
    tokens_reserved: 50,
    tokens_remaining: 40,
    reserved_from: [
      { grant_id: grants[0], deducted: 40 },
      { grant_id: grants[1], deducted: 10 },
    ],
    budget: {
      hold_id: budget,
      status: "open",
      tokens: 60,
      tokens_passed: 50,
      tokens_left: 10,
      tokens_used: 0,
    },
  });
  expect(await balanceOf(user)).toEqual(before);
  expect(await differences(user)).toEqual([]);
  await expectCleanBooks(db);
});

test("what a child does not use goes back to its parent, and the parent passes it on again", async () => {
  const { user, grants, budget } = await budgeted();
  const first = await reserve(user, 60, { p_parent_hold: budget });

  const paid = await capture(user, first["hold_id"], { p_tokens: 45 });

  expect(paid).toMatchObject({
    success: true,
    tokens_captured: 45,
    tokens_released: 15,
    tokens_remaining: 40,
    budget: { tokens: 60, tokens_passed: 45, tokens_left: 15, tokens_used: 45 },
  });
  const next = await reserve(user, 15, { p_parent_hold: budget });
  expect(next["reserved_from"]).toMatchObject([{ grant_id: grants[1], deducted: 15 }]);
  await release(user, next["hold_id"]);
  expect(await capture(user, budget, { p_tokens: 5 })).toMatchObject({
    tokens_captured: 5,
    tokens_released: 10,
    tokens_remaining: 50,
    budget: { status: "captured", tokens: 60, tokens_passed: 45, tokens_left: 0, tokens_used: 50 },
  });
  expect(await balanceOf(user)).toMatchObject({ total_active: 50, total_reserved: 0 });
  expect(await differences(user)).toEqual([]);
  await expectCleanBooks(db);
});

test("a parent that is short refuses, and says what it has", async () => {
  const { user, budget } = await budgeted();
  await reserve(user, 50, { p_parent_hold: budget });

  await expect(reserve(user, 11, { p_parent_hold: budget })).rejects.toMatchObject({
    message: "parent_hold_short",
    detail: expect.stringContaining('"left": 10'),
  });
  expect(await reserve(user, 10, { p_parent_hold: budget })).toMatchObject({
    budget: { tokens_left: 0, tokens_passed: 60 },
  });
  expect(await verify()).toEqual([]);
});

test("a hold that has ended passes nothing on, nor does a child, nor another user's", async () => {
  const { user, budget } = await budgeted();
  const { hold_id: child } = await reserve(user, 10, { p_parent_hold: budget });
  await expect(reserve(user, 1, { p_parent_hold: child })).rejects.toMatchObject({
    message: "parent_hold_ended",
    detail: expect.stringContaining("child"),
  });
  const other = await createUser(db);
  await expect(reserve(other, 1, { p_parent_hold: budget })).rejects.toThrow("hold_not_found");
  await expect(
    asUser(db, user, (client) =>
      rpc(client, "reserve_tokens", { p_user_id: user, p_tokens: 1, p_parent_hold: budget }),
    ),
  ).rejects.toThrow("forbidden");

  await release(user, budget);
  await expect(reserve(user, 1, { p_parent_hold: budget })).rejects.toMatchObject({
    message: "parent_hold_ended",
    detail: expect.stringContaining("released"),
  });
});

test("the parent's end takes what it has not passed on, and a child that runs goes on", async () => {
  const { user, budget } = await budgeted();
  const { hold_id: child } = await reserve(user, 20, { p_parent_hold: budget });

  expect(await release(user, budget)).toMatchObject({ tokens_released: 40, tokens_remaining: 80 });
  expect(await balanceOf(user)).toMatchObject({ total_active: 80, total_reserved: 20 });

  expect(await capture(user, child, { p_tokens: 5 })).toMatchObject({
    tokens_captured: 5,
    tokens_remaining: 95,
    budget: { status: "released", tokens_left: 0, tokens_used: 5 },
  });
  expect(await balanceOf(user)).toMatchObject({ total_active: 95, total_reserved: 0 });
  expect(await differences(user)).toEqual([]);
  await expectCleanBooks(db);
});

test("a parent that has passed everything on can end, in each way", async () => {
  for (const end of ["captured", "released", "expired"]) {
    const { user, budget } = await budgeted(db, { p_ttl_seconds: 60 });
    const { hold_id: child } = await reserve(user, 60, { p_parent_hold: budget, p_ttl_seconds: 600 });
    if (end === "captured") await capture(user, budget);
    else if (end === "released") await release(user, budget);
    else await letTimePass(db, user, 61 * second);
    await balanceOf(user);

    expect(await release(user, child)).toMatchObject({ tokens_remaining: 100, budget: { status: end } });
    expect(await verify()).toEqual([]);
  }
});

test("a child that runs out gives back to its parent while that is open, and to the grants when it is not", async () => {
  for (const [ttl, at, left] of [
    [600, 61, 60],
    [60, 61, 0],
  ] as const) {
    const { user, budget } = await budgeted(db, { p_ttl_seconds: ttl });
    await reserve(user, 25, { p_parent_hold: budget, p_ttl_seconds: 60 });
    await letTimePass(db, user, at * second);
    const [{ now }] = (await db.admin.query("select clock_timestamp() as now")).rows;

    // as read before it is booked, and as of then afterwards
    const busy = await db.admin.query(
      "select total_active, total_reserved from (select (tokenbook.read_balance($1, $1) ->> 'total_active')::int total_active, (tokenbook.read_balance($1, $1) ->> 'total_reserved')::int total_reserved) b",
      [user],
    );
    expect(busy.rows).toEqual([{ total_active: 100 - left, total_reserved: left }]);
    expect(await balanceOf(user)).toMatchObject({ total_active: 100 - left, total_reserved: left });
    await letTimePass(db, user, 1_200 * second);
    await balanceOf(user);
    expect(
      await call("get_token_balance_as_of", {
        p_user_id: user,
        p_at: new Date(now.getTime() - 1_200_000).toISOString(),
      }),
    ).toMatchObject({ total_active: 100 - left, total_reserved: left });
    expect(await balanceOf(user)).toMatchObject({ total_active: 100, total_reserved: 0 });
    expect(await differences(user)).toEqual([]);
    expect(await verify()).toEqual([]);
  }
});

test("what a child uses beyond itself comes out of what the budget has left, never out of the balance", async () => {
  const { user, budget } = await budgeted();
  const { hold_id: child } = await reserve(user, 10, { p_parent_hold: budget });
  expect(await capture(user, child, { p_tokens: 61 })).toMatchObject({
    success: false,
    status: "open",
    tokens_remaining_to_deduct: 1,
  });
  expect(await capture(user, child, { p_tokens: 30 })).toMatchObject({
    success: true,
    tokens_captured: 30,
    tokens_deducted: 30,
    overage_transaction_id: null,
    budget: { tokens_left: 30, tokens_used: 30 },
  });
  const { hold_id: more } = await reserve(user, 10, { p_parent_hold: budget });
  expect(await capture(user, more, { p_tokens: 100, p_over_capture: "partial" })).toMatchObject({
    success: true,
    tokens_captured: 30,
    tokens_remaining_to_deduct: 70,
    tokens_remaining: 40,
    budget: { tokens_left: 0, tokens_passed: 60, tokens_used: 60 },
  });
  await release(user, budget);
  expect(await balanceOf(user)).toMatchObject({ total_active: 40, total_reserved: 0 });
  expect(await differences(user)).toEqual([]);
  await expectCleanBooks(db);
});

test("a key makes one child, for ever, and means its parent too", async () => {
  const { user, budget } = await budgeted();
  const asked = { p_parent_hold: budget, p_idempotency_key: "step-1", p_metadata: { step: 1 } };
  const first = await reserve(user, 10, asked);
  expect(await reserve(user, 10, asked)).toMatchObject({
    hold_id: first["hold_id"],
    transaction_id: first["transaction_id"],
    reserved_from: first["reserved_from"],
    status: "open",
    replayed: true,
    budget: { tokens_passed: 10 },
  });
  await expect(reserve(user, 10, { ...asked, p_parent_hold: undefined })).rejects.toThrow(
    "idempotency_key_reused",
  );
  await expect(reserve(user, 11, asked)).rejects.toThrow("idempotency_key_reused");
  await release(user, budget);
  expect(await reserve(user, 10, asked)).toMatchObject({ hold_id: first["hold_id"], replayed: true });
});

test("a child gets no grant that does not pay for what it is for", async () => {
  const user = await createUser(db);
  await grant(db, user, 30);
  await call("grant_tokens", {
    p_user_id: user,
    p_tokens: 50,
    p_grant_type: "purchase",
    p_pays_for: { models: ["small*"] },
  });
  const { hold_id: budget } = await reserve(user, 70, { p_model_used: "small-1" });

  await expect(reserve(user, 40, { p_parent_hold: budget, p_model_used: "large" })).rejects.toMatchObject({
    message: "parent_hold_short",
    detail: expect.stringContaining('"payable": 30'),
  });
  const large = await reserve(user, 30, { p_parent_hold: budget, p_model_used: "large" });
  const small = await reserve(user, 40, { p_parent_hold: budget, p_model_used: "small-2" });
  expect(small["budget"]).toMatchObject({ tokens_left: 0 });
  await capture(user, large["hold_id"], { p_tokens: 20 });
  await capture(user, small["hold_id"]);
  expect(await differences(user)).toEqual([]);
  await expectCleanBooks(db);
});

/** What a cap of 100 a day has left after a budget of 60, and calls of it of 30 that pay 10. */
async function usedOfCap(on: Database): Promise<unknown> {
  const user = await createUser(on);
  await grant(on, user, 1_000);
  await call("set_token_spend_cap", { p_user_id: user, p_window: "day", p_tokens: 100 }, on);
  const { hold_id: budget } = await reserve(user, 60, {}, on);
  const { hold_id: child } = await reserve(user, 30, { p_parent_hold: budget }, on);
  const { transaction_id } = await capture(user, child, { p_tokens: 10 }, on);
  await call("refund_tokens", { p_user_id: user, p_transaction_id: transaction_id, p_tokens: 3 }, on);
  const { hold_id: other } = await reserve(user, 20, { p_parent_hold: budget }, on);
  await release(user, budget, on);
  await release(user, other, on);
  return (await on.admin.query("select spent_day from public.token_accounts where user_id = $1", [user]))
    .rows[0].spent_day;
}

test("a cap counts a budget once, when it is set aside, and what comes back of it", async () => {
  expect(Number(await usedOfCap(db))).toBe(7);
  expect(await verify()).toEqual([]);
});

test("from a frozen account nothing is passed on, and what was is settled", async () => {
  const { user, budget } = await budgeted();
  const { hold_id: child } = await reserve(user, 10, { p_parent_hold: budget });
  await call("set_token_account_state", { p_user_id: user, p_state: "frozen", p_reason: "a test" });
  await expect(reserve(user, 10, { p_parent_hold: budget })).rejects.toThrow("account_frozen");
  await expect(capture(user, child, { p_tokens: 11 })).rejects.toThrow("account_frozen");
  expect(await capture(user, child, { p_tokens: 11, p_over_capture: "partial" })).toMatchObject({
    tokens_captured: 10,
    tokens_remaining_to_deduct: 1,
  });
  expect(await release(user, budget)).toMatchObject({ tokens_released: 50 });
  expect(await verify()).toEqual([]);
});

test("a member's budget is on their payer's account, and counts for the member once", async () => {
  const [payer, member] = [await createUser(db), await createUser(db)];
  await grant(db, payer, 100);
  await call("add_token_team_member", { p_user_id: payer, p_member_id: member, p_cap_day: 60 });
  const { hold_id: budget } = await reserve(member, 60);
  const { hold_id: child } = await reserve(member, 60, { p_parent_hold: budget });
  await call("remove_token_team_member", { p_user_id: payer, p_member_id: member });
  expect(await capture(member, child, { p_tokens: 25 })).toMatchObject({
    tokens_captured: 25,
    budget: { hold_id: budget, tokens_left: 35 },
  });
  await release(member, budget);
  expect(await balanceOf(payer)).toMatchObject({ total_active: 75, total_reserved: 0 });
  await expectCleanBooks(db);
});

/** How many of 200 calls on 64 connections a budget of 1,000 pays for, 20 tokens each; each pays 20. */
async function fanOut(on: Database) {
  const user = await createUser(on);
  await grant(on, user, 400);
  await grant(on, user, 4_600);
  const { hold_id: budget } = await reserve(user, 1_000, {}, on);
  const { mix } = await storm(on, {
    connections: 64,
    attempts: 200,
    endsAt: /^error/,
    run: async (client) => {
      try {
        const { rows } = await client.query(
          "select public.reserve_tokens($1, 20, p_parent_hold => $2) as r",
          [user, budget],
        );
        const paid = await client.query("select public.capture_tokens($1, $2, 25, 'partial') as r", [
          user,
          rows[0].r.hold_id,
        ]);
        return paid.rows[0].r.tokens_captured === 25 ? "paid 25" : "paid less";
      } catch (error) {
        if ((error as Error).message !== "parent_hold_short") throw error;
        return "short";
      }
    },
  });
  const { rows } = await on.admin.query(
    "select tokens + tokens_passed as tokens, tokens as left, children_captured as used from public.token_holds where id = $1",
    [budget],
  );
  const { tokens_used } = (
    await on.admin.query("select tokens_used from public.token_accounts where user_id = $1", [user])
  ).rows[0];
  return {
    mix,
    budget: rows[0],
    used: Number(tokens_used),
    breaches: await verify(on).catch((error: Error) => [error.message]),
  };
}

test("64 calls at once never cost more than their budget", async () => {
  const { mix, budget, used, breaches } = await fanOut(db);
  console.log(
    `budget=1000 connections=64 attempts=200 mix=${JSON.stringify(mix)} used=${used} breaches=${breaches.length}`,
  );
  expect(Object.keys(mix).filter((it) => !["paid 25", "paid less", "short"].includes(it))).toEqual([]);
  expect(budget).toMatchObject({ tokens: "1000", used: String(used) });
  expect(used).toBeLessThanOrEqual(1_000);
  expect(used).toBeGreaterThan(960); // what is left pays for no call
  expect(breaches).toEqual([]);
});

/** What each grant would have, where the ledger says that a budget came from another: whole again, once all is released. */
async function replayed(on: Database) {
  const { user, grants, budget } = await budgeted(on);
  await on.admin.query("alter table public.token_transactions disable trigger user");
  await on.admin.query(
    "update public.token_transactions set grant_ids = array[$2::uuid], grant_tokens = '{60}' where user_id = $1 and entry_type = 'hold'",
    [user, grants[1]],
  );
  await on.admin.query("alter table public.token_transactions enable trigger user");
  await on.admin.query(
    "update public.token_holds set grant_ids = array[$2::uuid], grant_tokens = '{60}' where user_id = $1",
    [user, grants[1]],
  );
  await on.admin.query(
    "update public.token_balances set tokens_remaining = case id when $2 then 0 else 40 end, is_open = id <> $2 where user_id = $1",
    [user, grants[1]],
  );
  const { hold_id: child } = await reserve(user, 20, { p_parent_hold: budget }, on);
  const { hold_id: unused } = await reserve(user, 10, { p_parent_hold: budget }, on);
  await release(user, unused, on);
  await release(user, budget, on);
  await release(user, child, on);
  return (
    await on.admin.query(
      "select exact::int from tokenbook.replay($1, null, null, clock_timestamp()) where grant_id is not null order by granted_at, grant_id",
      [user],
    )
  ).rows.map((row) => row.exact);
}

test("a replay gives back to where it took a child from", async () => {
  const on = await createDatabase();
  expect(await replayed(on)).toEqual([40, 60]);
  await on.drop();
});

const refusalOf = (asking: Promise<unknown>) =>
  asking.then(
    () => "none",
    (error: Error) => error.message,
  );

/** What each known-bad variant makes of it, beside what is right. */
const BAD: [mutant: string, right: unknown, ask: (on: Database) => Promise<unknown>][] = [
  [
    "children-take-what-is-not-there",
    "parent_hold_short",
    async (on) => {
      const { user, budget } = await budgeted(on);
      return refusalOf(reserve(user, 61, { p_parent_hold: budget }, on));
    },
  ],
  [
    "children-release-to-the-grants",
    50,
    async (on) => {
      const { user, budget } = await budgeted(on);
      const { hold_id } = await reserve(user, 30, { p_parent_hold: budget }, on);
      return (await capture(user, hold_id, { p_tokens: 10 }, on))["budget"].tokens_left;
    },
  ],
  [
    "parents-end-for-their-children",
    [80, []],
    async (on) => {
      const { user, budget } = await budgeted(on);
      await reserve(user, 20, { p_parent_hold: budget }, on);
      return [(await release(user, budget, on))["tokens_remaining"], await verify(on)];
    },
  ],
  ["children-count-for-caps", "7", usedOfCap],
  [
    "due-children-are-back",
    40,
    async (on) => {
      const { user, budget } = await budgeted(on);
      await reserve(user, 25, { p_parent_hold: budget, p_ttl_seconds: 60 }, on);
      await letTimePass(on, user, 61 * second);
      return (
        await on.admin.query("select (tokenbook.read_balance($1, $1) ->> 'total_active')::int as n", [user])
      ).rows[0].n;
    },
  ],
  [
    "the-past-knows-no-parents",
    40,
    async (on) => {
      const { user, budget } = await budgeted(on);
      await reserve(user, 25, { p_parent_hold: budget, p_ttl_seconds: 60 }, on);
      await letTimePass(on, user, 61 * second);
      const { rows } = await on.admin.query("select clock_timestamp()::text as at");
      return (await call("get_token_balance_as_of", { p_user_id: user, p_at: rows[0].at }, on))[
        "total_active"
      ];
    },
  ],
  [
    "children-get-what-does-not-pay",
    "parent_hold_short",
    async (on) => {
      const user = await createUser(on);
      await call(
        "grant_tokens",
        { p_user_id: user, p_tokens: 50, p_grant_type: "purchase", p_pays_for: { models: ["small"] } },
        on,
      );
      const { hold_id } = await reserve(user, 50, { p_model_used: "small" }, on);
      return refusalOf(reserve(user, 10, { p_parent_hold: hold_id, p_model_used: "large" }, on));
    },
  ],
  [
    "frozen-budgets-go-on",
    "account_frozen",
    async (on) => {
      const { user, budget } = await budgeted(on);
      await call("set_token_account_state", { p_user_id: user, p_state: "frozen", p_reason: "a test" }, on);
      return refusalOf(reserve(user, 10, { p_parent_hold: budget }, on));
    },
  ],
  [
    "children-spend-beyond-their-budget",
    40,
    async (on) => {
      const { user, budget } = await budgeted(on);
      const { hold_id } = await reserve(user, 60, { p_parent_hold: budget }, on);
      return (await capture(user, hold_id, { p_tokens: 70, p_over_capture: "partial" }, on))[
        "tokens_remaining"
      ];
    },
  ],
  ["replay-forgets-children", [40, 60], replayed],
];

test.for(BAD)("the test sees it: %s", { tags: ["proof"] }, async ([mutant, right, ask]) => {
  const on = await createDatabase();
  expect(await ask(on)).toEqual(right);
  await on.drop();
  const bad = await createDatabase();
  await applyMutant(bad, mutant);
  const found = await ask(bad);
  console.log(`mutant ${mutant}: ${JSON.stringify(found).slice(0, 200)} instead of ${JSON.stringify(right)}`);
  expect(found).not.toEqual(right);
  await bad.drop();
});

test("the test sees it: splits that look before they lock", { tags: ["proof"] }, async () => {
  const bad = await createDatabase();
  await applyMutant(bad, "splits-look-before-they-lock");
  const { mix, budget, used, breaches } = await fanOut(bad);
  console.log(
    `mutant splits-look-before-they-lock: mix=${JSON.stringify(mix)} used=${used} breaches=${breaches.length}`,
  );
  expect(
    used > 1_000 ||
      breaches.length > 0 ||
      budget.tokens !== "1000" ||
      Object.keys(mix).some((it) => it.startsWith("error")),
  ).toBe(true);
  await bad.drop();
});

test("a part that takes more of its budget leaves no alert late; the trial sees grown-holds-forget-what-is-due", async () => {
  const tries = async (mutant?: string) => {
    const on = await createDatabase();
    if (mutant !== undefined) await applyMutant(on, mutant);
    const user = await createUser(on);
    const inADay = new Date(Date.now() + 86_400_000 + 300_000).toISOString();
    await call(
      "grant_tokens",
      { p_user_id: user, p_tokens: 100, p_grant_type: "admin", p_expires_at: inADay },
      on,
    );
    const budget = await reserve(user, 60, { p_ttl_seconds: 7200 }, on);
    const part = await reserve(user, 20, { p_parent_hold: budget.hold_id, p_ttl_seconds: 3600 }, on);
    await call(
      "set_token_alert_rule",
      { p_rule: "soon", p_kind: "expiring_soon", p_hours: 24, p_for_everyone: true },
      on,
    );
    await capture(user, part.hold_id, { p_tokens: 50, p_over_capture: "deduct" }, on);
    const found = await verify(on);
    await on.drop();
    return found.map(({ invariant }: { invariant: string }) => invariant);
  };
  expect(await tries()).toEqual([]);
  expect(await tries("grown-holds-forget-what-is-due")).toEqual([
    "I7 the account is due no later than its next alert",
  ]);
});
