import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../support/database.ts";
import { expectCleanBooks, grant } from "../../support/books.ts";
import { applyMutant } from "../../support/mutants.ts";
import { asService, asUser, createUser, rpc } from "../../support/roles.ts";

let db: Database;
let payer: string;
let ann: string;
let ben: string;
beforeAll(async () => {
  db = await createDatabase();
});
beforeEach(async () => {
  [payer, ann, ben] = [await createUser(db), await createUser(db), await createUser(db)];
  await grant(db, payer, 1_000);
  await grant(db, ann, 50);
});
afterAll(() => db.drop());

const call = (name: string, args: Record<string, unknown>) =>
  asService(db, (client) => rpc(client, name, args));
const join = (member: string, caps: Record<string, number> = {}) =>
  call("add_token_team_member", { p_user_id: payer, p_member_id: member, ...caps });
const leave = (member: string) => call("remove_token_team_member", { p_user_id: payer, p_member_id: member });
const spend = (user: string, tokens: number, key?: string) =>
  call("deduct_tokens_with_fifo", {
    p_user_id: user,
    p_tokens_to_deduct: tokens,
    ...(key && { p_idempotency_key: key }),
  });
const balance = async (user: string) =>
  (await call("get_user_token_balance", { p_user_id: user })).total_active as number;
const left = async (user: string) => {
  const { rows } = await db.admin.query(
    "select tokens_remaining::int as left from public.token_accounts where user_id = $1",
    [user],
  );
  return rows[0]?.left as number;
};
async function expectRightBooks() {
  await expectCleanBooks(db);
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  expect(rows).toEqual([]);
}

test("a member spends from the payer's account, and their own tokens wait", async () => {
  expect(await join(ann)).toMatchObject({ member_id: ann, until: null, tokens_used: 0, caps: [] });
  expect([await left(payer), await left(ann)]).toEqual([1_000, 50]);

  const receipt = await asUser(db, ann, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: ann, p_tokens_to_deduct: 200 }),
  );

  expect(receipt).toMatchObject({ success: true, tokens_remaining: 800 });
  expect([await left(payer), await left(ann)]).toEqual([800, 50]);
  expect(await call("get_user_token_balance", { p_user_id: ann })).toMatchObject({
    user_id: ann,
    payer_id: payer,
    total_active: 800,
  });
  await expectRightBooks();
});

test("joining and leaving move no tokens, and a former member spends their own again", async () => {
  await join(ann);
  await spend(ann, 10);

  expect(await leave(ann)).toMatchObject({ member_id: ann, until: expect.any(String), tokens_used: 10 });

  expect(await balance(ann)).toBe(50);
  expect(await spend(ann, 20)).toMatchObject({ success: true, tokens_remaining: 30 });
  expect([await left(payer), await left(ann)]).toEqual([990, 30]);
  expect(await call("get_user_token_balance", { p_user_id: ann })).not.toHaveProperty("payer_id");
  await expectRightBooks();
});

test("every way of spending draws from the payer, and says whose it was", async () => {
  await join(ann);
  const as = (name: string, args: Record<string, unknown>) => call(name, { p_user_id: ann, ...args });

  expect(await as("estimate_tokens", { p_action_type: "chat", p_tokens_used: 60 })).toMatchObject({
    sufficient: true,
    tokens_remaining: 1_000,
  });
  const tracked = await as("track_token_usage", {
    p_action_type: "chat",
    p_tokens_used: 60,
    p_idempotency_key: "t",
  });
  const hold = await as("reserve_tokens", { p_tokens: 30 });
  await as("capture_tokens", { p_hold_id: hold.hold_id, p_tokens: 35, p_model_used: "m" });
  const again = await as("track_token_usage", {
    p_action_type: "chat",
    p_tokens_used: 60,
    p_idempotency_key: "t",
  });
  await call("deduct_tokens_batch", {
    p_items: [
      { user_id: ann, tokens: 1 },
      { user_id: payer, tokens: 2 },
    ],
  });

  expect(again).toEqual({ ...tracked, replayed: true });
  const { rows } = await db.admin.query(
    `select (select array_agg(distinct member_id) from public.token_usage where user_id = $1) as usage,
            (select array_agg(distinct member_id) from public.token_holds where user_id = $1) as holds,
            (select sum(tokens)::int from public.token_transactions where user_id = $1 and member_id = $2) as spent`,
    [payer, ann],
  );
  expect(rows[0]).toEqual({ usage: [ann], holds: [ann], spent: -96 });
  expect(await call("list_token_team_members", { p_user_id: payer })).toMatchObject({
    members: [{ member_id: ann, tokens_used: 96 }],
  });
  expect([await left(payer), await left(ann)]).toEqual([902, 50]);
  await expectRightBooks();
});

test("a member reads their own entries and nobody else's, the payer all of them", async () => {
  await join(ann);
  await join(ben);
  await spend(ann, 1);
  await spend(ben, 2);
  await spend(payer, 4);
  await call("track_token_usage", { p_user_id: ben, p_action_type: "chat", p_tokens_used: 8 });
  const seen = async (user: string) => {
    const { rows } = await asUser(db, user, (client) =>
      client.query(
        `select coalesce(-sum(tokens), 0)::int as tokens from public.token_transactions
          where entry_type = 'deduction' and user_id = $1`,
        [payer],
      ),
    );
    const { rows: others } = await asUser(db, user, (client) =>
      client.query(
        `select (select count(*)::int from public.token_balances where user_id = $1) as grants,
                (select count(*)::int from public.token_accounts where user_id = $1) as accounts,
                (select count(*)::int from public.token_usage where user_id = $1) as usage,
                (select count(*)::int from public.token_team_members) as members`,
        [payer],
      ),
    );
    return [rows[0].tokens, ...Object.values(others[0] as object)];
  };

  expect(await seen(ann)).toEqual([1, 0, 0, 0, 1]);
  expect(await seen(ben)).toEqual([10, 0, 0, 1, 1]);
  expect(await seen(payer)).toEqual([15, 1, 1, 1, 2]);
});

describe("caps of members", () => {
  test("limit each member alone, and the payer's own caps all of them together", async () => {
    await join(ann, { p_cap_day: 100, p_cap_month: 150 });
    await join(ben, { p_cap_day: 100 });

    expect(await spend(ann, 101)).toMatchObject({
      success: false,
      tokens_remaining_to_deduct: 1,
      capped_by: { scope: "member", window: "day", limit: 100, used: 0 },
    });
    expect(await spend(ann, 100)).toMatchObject({ success: true });
    expect(await spend(ben, 60)).toMatchObject({ success: true });
    await call("set_token_spend_cap", { p_user_id: payer, p_window: "day", p_tokens: 180 });

    expect(await spend(ben, 30)).toMatchObject({
      success: false,
      tokens_remaining_to_deduct: 10,
      capped_by: { scope: "user", limit: 180, used: 160 },
    });
    expect(await spend(payer, 20)).toMatchObject({ success: true });
    await expectRightBooks();
  });

  test("can be changed, and coming back on the same day does not begin them again", async () => {
    await join(ann, { p_cap_day: 100 });
    await spend(ann, 90);
    await leave(ann);

    expect(await join(ann, { p_cap_day: 100 })).toMatchObject({
      until: null,
      tokens_used: 90,
      caps: [{ window: "day", limit: 100, used: 90 }],
    });
    expect(await spend(ann, 20)).toMatchObject({ success: false });
    await join(ann, { p_cap_day: 110 });

    expect(await spend(ann, 20)).toMatchObject({ success: true });
    expect((await asUser(db, ann, (client) => rpc(client, "get_token_spend_caps"))).caps).toMatchObject([
      { scope: "member", window: "day", limit: 110, used: 110 },
    ]);
    await expectRightBooks();
  });

  test("a refund gives room back, and takes the use off the member", async () => {
    await join(ann, { p_cap_day: 100 });
    const { transaction_id } = await spend(ann, 100);

    await call("refund_tokens", { p_user_id: payer, p_transaction_id: transaction_id, p_tokens: 40 });

    expect(await call("list_token_team_members", { p_user_id: payer })).toMatchObject({
      members: [{ tokens_used: 60, caps: [{ used: 60 }] }],
    });
    expect(await spend(ann, 40)).toMatchObject({ success: true });
    await expectRightBooks();
  });

  test("a refund under a key is made once, whether the member or the payer spent what is refunded", async () => {
    await join(ann);
    await join(ben);
    const charges = [await spend(ann, 100), await spend(ben, 100), await spend(payer, 100)];
    const [ofAnn, ofBen, ofPayer] = charges.map(({ transaction_id }) => transaction_id as number);
    const refund = (transaction: number | undefined, tokens: number | null, key = "back") =>
      call("refund_tokens", {
        p_user_id: payer,
        p_transaction_id: transaction,
        p_idempotency_key: key,
        ...(tokens !== null && { p_tokens: tokens }),
      });

    const first = await refund(ofAnn, 40);
    expect(first).toMatchObject({ success: true, tokens_refunded: 40, replayed: false });
    expect(await refund(ofAnn, 40)).toMatchObject({ transaction_id: first.transaction_id, replayed: true });
    const whole = await refund(ofAnn, null, "rest");
    expect(await refund(ofAnn, null, "rest")).toMatchObject({
      transaction_id: whole.transaction_id,
      tokens_refunded: 60,
      replayed: true,
    });
    for (const other of [ofBen, ofPayer]) {
      await expect(refund(other, 40)).rejects.toMatchObject({ message: "idempotency_key_reused" });
    }

    // a key that the server has used for what the member spent
    await call("deduct_tokens_with_fifo", {
      p_user_id: ben,
      p_tokens_to_deduct: 5,
      p_idempotency_key: "used",
    });
    await expect(refund(ofBen, 5, "used")).rejects.toMatchObject({ message: "idempotency_key_reused" });
    expect(await refund(ofPayer, 5, "used")).toMatchObject({ success: true, replayed: false });
    await expectRightBooks();
  });

  test("items of two members and the payer in one batch each meet their own", async () => {
    await join(ann, { p_cap_day: 10 });
    await join(ben);

    const answer = await call("deduct_tokens_batch", {
      p_items: [ann, ben, payer, ann].map((user_id) => ({ user_id, tokens: 8, idempotency_key: "same" })),
    });

    expect(answer.results).toMatchObject([
      { success: true, replayed: false, tokens_remaining: 992 },
      { success: true, replayed: false, tokens_remaining: 984 },
      { success: true, replayed: false, tokens_remaining: 976 },
      { success: true, replayed: true, tokens_remaining: 992 },
    ]);
    await expectRightBooks();
  });
});

describe("keys", () => {
  test("of members and payer never meet, and a member's keys stay theirs on whichever account they spend from", async () => {
    await join(ann);
    await join(ben);
    const first = await spend(ann, 5, "k");
    expect(await spend(ben, 7, "k")).toMatchObject({ success: true, replayed: false });
    expect(await spend(payer, 9, "k")).toMatchObject({ success: true, replayed: false });

    await leave(ann);

    expect(await spend(ann, 5, "k")).toEqual({ ...first, replayed: true });
    await expect(spend(ann, 6, "k")).rejects.toMatchObject({ message: "idempotency_key_reused" });
    expect(await left(ann)).toBe(50);
    const inBatch = await call("deduct_tokens_batch", {
      p_items: [{ user_id: ann, tokens: 5, action_type: "deduction", idempotency_key: "k" }],
    });
    expect(inBatch.results[0]).toMatchObject({ replayed: true, tokens_deducted: 5 });
    await expectRightBooks();
  });

  /** Which ways of spending charge somebody who has left the team once more, for what they had spent in it. */
  async function chargedAgain(own: Database): Promise<string[]> {
    const ask = (name: string, args: Record<string, unknown>) =>
      asService(own, (client) => rpc(client, name, args));
    const [boss, former] = [await createUser(own), await createUser(own)];
    await grant(own, boss, 100);
    await grant(own, former, 100);
    const item = (key: string) => ({
      user_id: former,
      tokens: 5,
      action_type: "deduction",
      idempotency_key: key,
    });
    const ways: Record<string, () => Promise<unknown>> = {
      deduct: () =>
        ask("deduct_tokens_with_fifo", {
          p_user_id: former,
          p_tokens_to_deduct: 5,
          p_idempotency_key: "deduct",
        }),
      track: () =>
        ask("track_token_usage", {
          p_user_id: former,
          p_action_type: "chat_conversation",
          p_tokens_used: 5,
          p_idempotency_key: "track",
        }),
      hold: () => ask("reserve_tokens", { p_user_id: former, p_tokens: 5, p_idempotency_key: "hold" }),
      batch: () => ask("deduct_tokens_batch", { p_items: [item("batch")] }),
    };
    await ask("add_token_team_member", { p_user_id: boss, p_member_id: former });
    for (const spendIt of Object.values(ways)) await spendIt();
    await ask("remove_token_team_member", { p_user_id: boss, p_member_id: former });

    const again: string[] = [];
    for (const [way, spendIt] of Object.entries(ways)) {
      await spendIt();
      const { rows } = await own.admin.query(
        "select 1 from public.token_transactions where user_id = $1 and idempotency_key = $2",
        [former, way],
      );
      if (rows.length > 0) again.push(way);
    }
    return again;
  }

  test("of somebody who has left the team stand for what they did in it, however they spend", async () => {
    expect(await chargedAgain(db)).toEqual([]);
    await expectRightBooks();
  });

  test.each([
    ["former-members-are-like-anybody", ["deduct", "track", "hold", "batch"]],
    ["batch-forgets-former-members", ["batch"]],
    ["keys-of-former-members-are-forgotten", ["deduct", "track", "hold", "batch"]],
  ])("the test sees it: %s", { tags: ["proof"] }, async (variant, seen) => {
    const own = await createDatabase();
    await applyMutant(own, variant);
    expect(await chargedAgain(own)).toEqual(seen);
    await own.drop();
  });

  test("one that was used before joining is a replay afterwards", async () => {
    const before = await spend(ann, 5, "early");
    await join(ann);

    expect(await spend(ann, 5, "early")).toEqual({ ...before, replayed: true });
    expect(await left(payer)).toBe(1_000);
  });

  test("a member's own and the server's for that member are apart", async () => {
    await join(ann);
    const own = (tokens: number) =>
      asUser(db, ann, (client) =>
        rpc(client, "deduct_tokens_with_fifo", {
          p_user_id: ann,
          p_tokens_to_deduct: tokens,
          p_idempotency_key: "k",
        }),
      );
    expect(await own(5)).toMatchObject({ success: true, replayed: false });
    expect(await spend(ann, 6, "k")).toMatchObject({ success: true, replayed: false });
    await expectRightBooks();
  });
});

describe("holds", () => {
  const capture = (user: string, hold: string) =>
    asUser(db, user, (client) => rpc(client, "capture_tokens", { p_user_id: user, p_hold_id: hold }));
  const reserve = (user: string) =>
    asUser(db, user, (client) => rpc(client, "reserve_tokens", { p_user_id: user, p_tokens: 30 }));

  test("that were open when the member left are settled on the payer's account", async () => {
    await join(ann);
    const { hold_id } = await reserve(ann);
    await leave(ann);

    expect(await capture(ann, hold_id)).toMatchObject({ success: true, tokens_deducted: 30 });
    expect([await left(payer), await left(ann)]).toEqual([970, 50]);
    await expectRightBooks();
  });

  test("that were open when the member joined are settled on the member's own account", async () => {
    const { hold_id } = await reserve(ann);
    await join(ann);

    expect(await capture(ann, hold_id)).toMatchObject({ success: true });
    expect([await left(payer), await left(ann)]).toEqual([1_000, 20]);
    await expectRightBooks();
  });

  test("of a member are settled by nobody else: not by another, and not by the payer", async () => {
    await join(ann);
    await join(ben);
    const { hold_id } = await reserve(ann);

    await expect(capture(ben, hold_id)).rejects.toMatchObject({ message: "hold_not_found" });
    await expect(capture(payer, hold_id)).rejects.toMatchObject({ message: "forbidden" });
    expect(await capture(ann, hold_id)).toMatchObject({ success: true });
  });
});

test("an admin's correction stays on the account that it names", async () => {
  await join(ann);

  await call("adjust_tokens", { p_user_id: ann, p_delta: -5 });
  await call("grant_tokens", { p_user_id: ann, p_tokens: 7 });

  expect([await left(payer), await left(ann)]).toEqual([1_000, 52]);
  await expectRightBooks();
});

describe("a team is refused", () => {
  const other = () => createUser(db);

  test("to a member of another one", async () => {
    await join(ann);
    await expect(
      call("add_token_team_member", { p_user_id: await other(), p_member_id: ann }),
    ).rejects.toMatchObject({ message: "already_in_team", detail: expect.stringContaining("another team") });
  });

  test("where teams would nest, either way", async () => {
    await join(ann);
    await expect(call("add_token_team_member", { p_user_id: ann, p_member_id: ben })).rejects.toMatchObject({
      message: "already_in_team",
    });
    await expect(call("add_token_team_member", { p_user_id: ben, p_member_id: payer })).rejects.toMatchObject(
      {
        message: "already_in_team",
      },
    );
  });

  test.each([
    [() => ({ p_user_id: payer, p_member_id: payer }), "invalid_member"],
    [() => ({ p_user_id: payer, p_member_id: null }), "invalid_member"],
    [() => ({ p_user_id: payer, p_member_id: ann, p_cap_day: -1 }), "invalid_cap"],
    [() => ({ p_user_id: payer, p_member_id: ann, p_cap_month: 2e12 }), "invalid_cap"],
    [() => ({ p_user_id: payer, p_member_id: "00000000-0000-4000-8000-00000000dead" }), "user_not_found"],
  ])("%# for what is wrong in itself", async (args, slug) => {
    await expect(call("add_token_team_member", args())).rejects.toMatchObject({ message: slug });
  });

  test("when nobody is there to leave it", async () => {
    await expect(leave(ann)).rejects.toMatchObject({ message: "member_not_found" });
    await join(ann);
    await leave(ann);
    await expect(leave(ann)).rejects.toMatchObject({ message: "member_not_found" });
  });

  test("to users who would make it themselves; the payer may look", async () => {
    await join(ann);
    for (const user of [payer, ann]) {
      await expect(
        asUser(db, user, (client) =>
          rpc(client, "add_token_team_member", { p_user_id: payer, p_member_id: ben }),
        ),
      ).rejects.toMatchObject({ message: "forbidden" });
    }
    expect(await asUser(db, payer, (client) => rpc(client, "list_token_team_members"))).toMatchObject({
      members: [{ member_id: ann }],
    });
    await expect(
      asUser(db, ann, (client) => rpc(client, "list_token_team_members", { p_user_id: payer })),
    ).rejects.toMatchObject({ message: "forbidden" });
  });
});
