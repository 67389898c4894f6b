/** Grants that pay only for some actions and models. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asService, asUser, createUser, rpc } from "../support/roles.ts";
import { letTimePass } from "../support/time.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

type Args = Record<string, unknown>;
const server = (name: string, args: Args, of = db) => asService(of, (client) => rpc(client, name, args));
const give = async (user: string, tokens: number, paysFor: object | null, more: Args = {}, of = db) =>
  (
    await server(
      "grant_tokens",
      { p_user_id: user, p_tokens: tokens, p_grant_type: "bonus", p_pays_for: paysFor, ...more },
      of,
    )
  ).grant_id as string;
const images = { actions: ["image_generation"] };
const small = { models: ["gpt-small*", "other"] };
const spend = (user: string, tokens: number, action = "chat_conversation", more: Args = {}, of = db) =>
  server(
    "deduct_tokens_with_fifo",
    { p_user_id: user, p_tokens_to_deduct: tokens, p_action_type: action, ...more },
    of,
  );
const track = (user: string, tokens: number, model: string, more: Args = {}) =>
  server("track_token_usage", {
    p_user_id: user,
    p_action_type: "chat_conversation",
    p_model_used: model,
    p_tokens_used: tokens,
    ...more,
  });
const paidBy = (receipt: { deducted_from: { grant_id: string; deducted: number }[] }) =>
  receipt.deducted_from.map((part) => [part.grant_id, part.deducted]);

const rowsOf = async (sql: string, args: unknown[] = [], of = db) => (await of.admin.query(sql, args)).rows;
const expectClean = async () => {
  await expectCleanBooks(db);
  expect(await rowsOf("select * from public.verify_token_ledger()")).toEqual([]);
};

test("an action is paid by what pays for it, in burn order, and by nothing else", async () => {
  const user = await createUser(db);
  const forImages = await give(user, 100, images);
  const forAll = await give(user, 50, null);

  expect(paidBy(await spend(user, 20))).toEqual([[forAll, 20]]);
  expect(paidBy(await spend(user, 120, "image_generation"))).toEqual([
    [forImages, 100],
    [forAll, 20],
  ]);
  await expectClean();
});

test("what is there and does not pay is said, and nothing is changed", async () => {
  const user = await createUser(db);
  await give(user, 100, images);
  await give(user, 30, null);

  expect(await spend(user, 40)).toMatchObject({
    success: false,
    tokens_remaining_to_deduct: 10,
    tokens_remaining: 130,
    tokens_restricted: 100,
  });
  expect(await spend(user, 140)).toMatchObject({ success: false, tokens_remaining_to_deduct: 110 });
  expect(await track(user, 40, "gpt-small-1", { p_on_shortage: "partial" })).toMatchObject({
    success: true,
    tokens_deducted: 30,
    tokens_remaining_to_deduct: 10,
    tokens_restricted: 100,
  });
  await expectClean();
});

test("a model by its name, or by how it begins; without a model such a grant pays nothing", async () => {
  const user = await createUser(db);
  const grant = await give(user, 100, small);

  expect(paidBy(await track(user, 10, "gpt-small-2026"))).toEqual([[grant, 10]]);
  expect(paidBy(await track(user, 10, "other"))).toEqual([[grant, 10]]);
  for (const receipt of [
    await track(user, 10, "other-2"),
    await track(user, 10, "gpt-smal"),
    await spend(user, 10),
  ])
    expect(receipt).toMatchObject({ success: false, tokens_restricted: 80 });
  await expectClean();
});

test("both: the action and the model", async () => {
  const user = await createUser(db);
  await give(user, 100, { ...images, ...small });
  const image = (model: string) => track(user, 10, model, { p_action_type: "image_generation" });

  expect((await image("other")).success).toBe(true);
  expect((await image("large")).success).toBe(false);
  expect((await track(user, 10, "other")).success).toBe(false);
});

test("a hold is set aside from what pays, runs over into it, and comes back to it", async () => {
  const user = await createUser(db);
  const forSmall = await give(user, 100, small);
  const hold = (tokens: number, model?: string) =>
    server("reserve_tokens", {
      p_user_id: user,
      p_tokens: tokens,
      p_action_type: "chat_conversation",
      ...(model !== undefined && { p_model_used: model }),
    });

  expect(await hold(10)).toMatchObject({ success: false, tokens_restricted: 100 });
  const held = await hold(10, "other");
  expect(held.reserved_from).toMatchObject([{ grant_id: forSmall, deducted: 10 }]);
  const capture = (tokens: number, over: string) =>
    server("capture_tokens", {
      p_user_id: user,
      p_hold_id: held.hold_id,
      p_tokens: tokens,
      p_over_capture: over,
    });
  expect(await capture(105, "deduct")).toMatchObject({ success: false, tokens_remaining_to_deduct: 5 });
  expect(await capture(30, "deduct")).toMatchObject({ success: true, tokens_deducted: 30 });

  const other = await hold(20, "other");
  await server("release_tokens", { p_user_id: user, p_hold_id: other.hold_id });
  expect(paidBy(await track(user, 70, "other"))).toEqual([[forSmall, 70]]);
  await expectClean();
});

test("a quote, a look and a question know it", async () => {
  const user = await createUser(db);
  const grant = await give(user, 100, { ...images, ...small });
  const asked = (action: string, model?: string) =>
    asUser(db, user, async (client) => ({
      can: await rpc(client, "can_spend_tokens", {
        p_tokens: 60,
        p_action_type: action,
        ...(model !== undefined && { p_model_used: model }),
      }),
      quote: await rpc(client, "estimate_tokens", {
        p_action_type: action,
        p_tokens_used: 60,
        ...(model !== undefined && { p_model_used: model }),
      }),
    }));

  expect(await asked("image_generation", "other")).toMatchObject({
    can: true,
    quote: { sufficient: true, tokens_short: 0, would_be_deducted_from: [{ grant_id: grant }] },
  });
  for (const not of [await asked("image_generation"), await asked("chat_conversation", "other")])
    expect(not).toMatchObject({
      can: false,
      quote: {
        sufficient: false,
        tokens_short: 60,
        tokens_remaining: 100,
        tokens_restricted: 100,
        would_be_deducted_from: [],
      },
    });
  const balance = await asUser(db, user, (client) => rpc(client, "get_user_token_balance", {}));
  expect(balance).toMatchObject({ total_active: 100, grants: [{ pays_for: { ...images, ...small } }] });
  const past = await asUser(db, user, (client) =>
    rpc(client, "get_token_balance_as_of", { p_at: new Date().toISOString() }),
  );
  expect(past.grants).toMatchObject([{ pays_for: { ...images, ...small } }]);
});

test("what is taken back, owed or corrected comes out of any grant", async () => {
  const user = await createUser(db);
  const mistake = await give(user, 50, null);
  const forImages = await give(user, 100, images);
  await spend(user, 50);
  const voided = await server("void_token_grant", {
    p_user_id: user,
    p_grant_id: mistake,
    p_take_back: true,
  });
  expect(voided).toMatchObject({ tokens_voided: 50, tokens_owed: 0, tokens_remaining: 50 });
  expect(paidBy(await server("adjust_tokens", { p_user_id: user, p_delta: -50 }))).toEqual([[forImages, 50]]);
  await expectClean();
});

test("what comes back of a grant that has ended is reissued on its terms", async () => {
  const user = await createUser(db);
  await give(user, 100, images, { p_expires_at: new Date(Date.now() + 86_400_000).toISOString() });
  await give(user, 100, null, { p_expires_at: new Date(Date.now() + 86_400_000).toISOString() });
  const charge = await spend(user, 150, "image_generation");
  await letTimePass(db, user, 2);
  await server("refund_tokens", {
    p_user_id: user,
    p_transaction_id: charge.transaction_id,
    p_expired_policy: "reissue",
    p_lifetime_days: 30,
  });
  expect(await spend(user, 51)).toMatchObject({ success: false, tokens_restricted: 100 });
  expect((await spend(user, 150, "image_generation")).success).toBe(true);
  await expectClean();
});

test("when all of them have ended, a deduction is a usual one again", async () => {
  const user = await createUser(db);
  await give(user, 100, images, { p_expires_at: new Date(Date.now() + 86_400_000).toISOString() });
  await give(user, 100, null);
  const isUsual = async () =>
    (
      await rowsOf("select restricted_until is null as usual from public.token_accounts where user_id = $1", [
        user,
      ])
    )[0].usual;
  await spend(user, 1);
  expect(await isUsual()).toBe(false);
  await letTimePass(db, user, 2);
  await spend(user, 1);
  expect(await isUsual()).toBe(true);
  await expectClean();
});

test("a restricted grant that is to live longer stays restricted", async () => {
  const user = await createUser(db);
  const id = await give(user, 100, images, { p_expires_at: new Date(Date.now() + 86_400_000).toISOString() });
  await server("set_token_grant_expiry", {
    p_user_id: user,
    p_grant_id: id,
    p_expires_at: "infinity",
    p_reason: "a promise",
  });
  await letTimePass(db, user, 2);
  expect(await spend(user, 1)).toMatchObject({ success: false, tokens_restricted: 100 });
  await expectClean();
});

test("a type of grants may pay only for some things", async () => {
  const set = (paysFor: unknown) =>
    server("set_token_grant_type", {
      p_grant_type: "image_credit",
      p_terms: { pays_for: paysFor },
      p_reason: "for images",
    });
  expect(await set(images)).toMatchObject({
    changed: ["pays_for", "priority"],
    terms: { pays_for: images },
  });
  expect(await set(images)).toMatchObject({ changed: [] });
  const user = await createUser(db);
  await give(user, 10, null, { p_grant_type: "image_credit" });
  expect((await spend(user, 1)).success).toBe(false);
  expect((await spend(user, 1, "image_generation")).success).toBe(true);
  expect(await set(null)).toMatchObject({ changed: ["pays_for"], terms: { pays_for: null } });
  for (const wrong of [{}, { actions: [] }, { models: ["a b"] }, "x", 7])
    await expect(set(wrong)).rejects.toThrow("invalid_grant_type");
});

test.each([
  [{}],
  [[]],
  ["chat"],
  [{ actions: "chat_conversation" }],
  [{ actions: [] }],
  [{ actions: ["Chat"] }],
  [{ actions: ["admin_deduct"] }],
  [{ actions: ["a", "a"] }],
  [{ actions: [null] }],
  [{ actions: ["a"], model: ["b"] }],
  [{ models: [""] }],
  [{ models: ["a*b"] }],
  [{ models: ["with blank"] }],
  [{ models: ["m".repeat(201)] }],
  [{ models: Array.from({ length: 51 }, (_, nth) => `m-${nth}`) }],
  [{ models: [["a"]] }],
])("%j is refused by name", async (wrong) => {
  const user = await createUser(db);
  const answer = asService(db, (client) =>
    client.query("select public.grant_tokens($1, 5, p_pays_for => $2)", [user, JSON.stringify(wrong)]),
  );
  await expect(answer).rejects.toMatchObject({ message: "invalid_pays_for", code: "PT400" });
});

describe("an account has few of them", () => {
  const fill = async (of: Database) => {
    const user = await createUser(of);
    for (let nth = 0; nth < 101; nth++) await give(user, 1, images, {}, of);
  };
  test("the 101st open one is refused", async () => {
    await expect(fill(db)).rejects.toThrow("too_many_restricted_grants");
  });
  test("the test sees it: restricted-grants-without-end", { tags: ["proof"] }, async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "restricted-grants-without-end");
    await expect(fill(broken)).resolves.toBeUndefined();
    await broken.drop();
  });
});

describe("a replay, which spreads everything anew, comes to the same", () => {
  const life = async (of: Database) => {
    const user = await createUser(of);
    await give(user, 40, images, {}, of);
    await give(user, 40, small, {}, of);
    await give(user, 40, null, {}, of);
    await spend(user, 10, "chat_conversation", {}, of);
    await spend(user, 20, "image_generation", {}, of);
    await asService(of, (client) =>
      rpc(client, "track_token_usage", {
        p_user_id: user,
        p_action_type: "chat_conversation",
        p_model_used: "other",
        p_tokens_used: 45,
      }),
    );
    return rowsOf(
      "select grant_id, difference from public.replay_token_balances($1) where difference <> 0 or uncovered <> 0",
      [user],
      of,
    );
  };
  test("with grants for images, for some models, and for everything", async () => {
    expect(await life(db)).toEqual([]);
  });
  test("the test sees it: replay-forgets-what-pays", { tags: ["proof"] }, async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "replay-forgets-what-pays");
    expect(await life(broken)).not.toEqual([]);
    await broken.drop();
  });
});

describe("what goes beyond a hold", () => {
  const beyond = async (of: Database) => {
    const user = await createUser(of);
    await give(user, 15, small, {}, of);
    await give(user, 100, images, {}, of);
    const held = await server(
      "reserve_tokens",
      { p_user_id: user, p_tokens: 10, p_action_type: "chat_conversation", p_model_used: "other" },
      of,
    );
    return server(
      "capture_tokens",
      { p_user_id: user, p_hold_id: held.hold_id, p_tokens: 30, p_over_capture: "partial" },
      of,
    );
  };
  test("is paid by what pays for it, and the rest is uncovered", async () => {
    expect(await beyond(db)).toMatchObject({ tokens_deducted: 15, tokens_remaining_to_deduct: 15 });
    await expectClean();
  });
  test("the test sees it: overruns-take-the-restricted", { tags: ["proof"] }, async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "overruns-take-the-restricted");
    await expect(beyond(broken)).rejects.toThrow("account_lost");
    await broken.drop();
  });
});

test("a hold keeps its model for what goes beyond it, whatever there was when it was made", async () => {
  const user = await createUser(db);
  await give(user, 10, null);
  const held = await server("reserve_tokens", { p_user_id: user, p_tokens: 10, p_model_used: "other" });
  const later = await give(user, 100, small);
  const capture = await server("capture_tokens", {
    p_user_id: user,
    p_hold_id: held.hold_id,
    p_tokens: 30,
    p_over_capture: "deduct",
  });
  expect(capture).toMatchObject({ success: true, tokens_deducted: 30 });
  expect(paidBy(capture)[1]).toEqual([later, 20]);
  await expectClean();
});

test("what is held counts among the hundred", async () => {
  const user = await createUser(db);
  for (let nth = 0; nth < 60; nth++) await give(user, 1, images);
  await server("reserve_tokens", { p_user_id: user, p_tokens: 60, p_action_type: "image_generation" });
  for (let nth = 0; nth < 40; nth++) await give(user, 1, images);
  await expect(give(user, 1, images)).rejects.toThrow("too_many_restricted_grants");
});

test("tokens_restricted is said where something is restricted, and nowhere else", async () => {
  const user = await createUser(db);
  await give(user, 30, images);
  const quote = (tokens: number) =>
    server("estimate_tokens", { p_user_id: user, p_action_type: "image_generation", p_tokens_used: tokens });
  expect(await quote(40)).toMatchObject({ tokens_short: 10 });
  expect(await quote(40)).not.toHaveProperty("tokens_restricted");
  expect(await spend(user, 40, "image_generation")).not.toHaveProperty("tokens_restricted");
});

describe("a debt that is due is repaid from what comes first, not from what pays for the use", () => {
  /** Owes 50; then 100 for images begin, and a day later 100 for everything. */
  const owing = async (of: Database) => {
    const user = await createUser(of);
    const mistake = await give(user, 50, null, {}, of);
    await spend(user, 50, "chat_conversation", {}, of);
    await server("void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true }, of);
    const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString();
    await give(user, 100, images, { p_starts_at: inDays(1) }, of);
    await give(user, 100, null, { p_starts_at: inDays(2) }, of);
    await letTimePass(of, user, 3);
    return user;
  };
  const asked = async (user: string, of: Database) => [
    await server(
      "can_spend_tokens",
      { p_user_id: user, p_tokens: 100, p_action_type: "chat_conversation" },
      of,
    ),
    (
      await server(
        "estimate_tokens",
        { p_user_id: user, p_tokens_used: 100, p_action_type: "chat_conversation" },
        of,
      )
    ).sufficient,
    (await spend(user, 100, "chat_conversation", {}, of)).success,
  ];
  test("asked, quoted and spent", async () => {
    expect(await asked(await owing(db), db)).toEqual([true, true, true]);
    await expectClean();
  });
  test("the test sees it: debts-are-paid-by-what-pays", { tags: ["proof"] }, async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "debts-are-paid-by-what-pays");
    expect(await asked(await owing(broken), broken)).toEqual([false, false, false]);
    await broken.drop();
  });
});

describe("the test sees it", { tags: ["proof"] }, () => {
  test("can-spend-whatever-it-is-for", async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "can-spend-whatever-it-is-for");
    const user = await createUser(broken);
    await give(user, 100, images, {}, broken);
    expect(await asUser(broken, user, (client) => rpc(client, "can_spend_tokens", { p_tokens: 1 }))).toBe(
      true,
    );
    expect((await spend(user, 1, "chat_conversation", {}, broken)).success).toBe(false);
    await broken.drop();
  });
  test("restricted-grants-are-not-noted: the verifier says so", async () => {
    const broken = await createDatabase();
    await applyMutant(broken, "restricted-grants-are-not-noted");
    const user = await createUser(broken);
    await give(user, 100, images, {}, broken);
    await spend(user, 1, "chat_conversation", {}, broken);
    const found = await rowsOf(
      "select distinct invariant from public.verify_token_ledger($1) order by 1",
      [user],
      broken,
    );
    expect(found.map((row) => row.invariant)).toEqual([
      "I8 a grant pays only for what it may",
      "I8 the account knows until when its grants are restricted",
    ]);
    await broken.drop();
  });
});
