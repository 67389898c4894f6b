/** Uses that an account has too few tokens for and may owe, up to a limit. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

type Args = Record<string, unknown>;
const server = (name: string, args: Args, of = db) => asService(of, (client) => rpc(client, name, args));
const give = async (user: string, tokens: number, more: Args = {}, of = db) =>
  (await server("grant_tokens", { p_user_id: user, p_tokens: tokens, p_grant_type: "bonus", ...more }, of))
    .grant_id as string;
const allow = (user: string, tokens: number | null, of = db) =>
  server("set_token_overdraft", { p_user_id: user, p_tokens: tokens, p_reason: "a good customer" }, of);
const use = (user: string, tokens: number, more: Args = {}, of = db) =>
  server(
    "track_token_usage",
    {
      p_user_id: user,
      p_action_type: "chat_conversation",
      p_tokens_used: tokens,
      p_on_shortage: "overdraft",
      ...more,
    },
    of,
  );
const refund = (user: string, transaction: number, tokens: number | null = null, more: Args = {}, of = db) =>
  server("refund_tokens", { p_user_id: user, p_transaction_id: transaction, p_tokens: tokens, ...more }, of);
const balance = (user: string, of = db) => server("get_user_token_balance", { p_user_id: user }, of);
const rowsOf = async (sql: string, args: unknown[] = [], of = db) => (await of.admin.query(sql, args)).rows;
const account = async (user: string, of = db) =>
  (
    await rowsOf(
      `select tokens_remaining::int as remaining, tokens_owed::int as owed, tokens_used::int as used, spent_day::int as today
         from public.token_accounts where user_id = $1`,
      [user],
      of,
    )
  )[0];
/** The account, each grant and the ledger agree; and spread over the grants exactly, it is the same. */
const expectClean = async (of = db) => {
  await expectCleanBooks(of);
  expect(await rowsOf("select * from public.verify_token_ledger()", [], of)).toEqual([]);
  expect(
    await rowsOf(
      "select * from tokenbook.replay(null, null, null, clock_timestamp()) where difference <> 0",
      [],
      of,
    ),
  ).toEqual([]);
};
const owing = async (limit: number, of = db) => {
  const user = await createUser(of);
  await allow(user, limit, of);
  return user;
};

describe("a use", () => {
  test("takes what is there, and the rest is owed", async () => {
    const user = await owing(100);
    const grant = await give(user, 30);

    const receipt = await use(user, 100);
    expect(receipt).toMatchObject({
      success: true,
      tokens_used: 100,
      tokens_deducted: 30,
      tokens_overdrawn: 70,
      tokens_remaining_to_deduct: 0,
      deducted_from: [{ grant_id: grant, deducted: 30 }],
      tokens_remaining: 0,
    });
    expect(await account(user)).toEqual({ remaining: 0, owed: 70, used: 100, today: 100 });
    expect(
      await rowsOf(
        "select entry_type, tokens::int, debt_change::int, balance_after::int from public.token_transactions where user_id = $1 and id = $2",
        [user, receipt.transaction_id],
      ),
    ).toEqual([{ entry_type: "deduction", tokens: -30, debt_change: 70, balance_after: 0 }]);
    await expectClean();
  });

  test("up to the limit, and past it nothing is changed", async () => {
    const user = await owing(100);
    await give(user, 30);

    expect(await use(user, 131)).toMatchObject({
      success: false,
      tokens_remaining_to_deduct: 1,
      tokens_remaining: 30,
    });
    expect(await account(user)).toMatchObject({ remaining: 30, owed: 0 });
    expect(await use(user, 130)).toMatchObject({ success: true, tokens_overdrawn: 100 });
    expect(await use(user, 1)).toMatchObject({ success: false, tokens_remaining_to_deduct: 1 });
    expect(await use(user, 0)).toMatchObject({ success: true });
    await expectClean();
  });

  test("with nothing there at all is an entry that says what is owed", async () => {
    const user = await owing(100);
    const receipt = await use(user, 40);
    expect(receipt).toMatchObject({
      success: true,
      tokens_deducted: 0,
      tokens_overdrawn: 40,
      deducted_from: [],
    });
    expect(await account(user)).toMatchObject({ remaining: 0, owed: 40, used: 40 });
    await expectClean();
  });

  test("is refused as ever where nobody allowed it, or it does not ask for it", async () => {
    const user = await createUser(db);
    await give(user, 30);
    expect(await use(user, 31)).toMatchObject({ success: false, tokens_remaining_to_deduct: 1 });
    await allow(user, 100);
    expect(await use(user, 31, { p_on_shortage: "reject" })).toMatchObject({ success: false });
    expect(
      await server("deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: 31 }),
    ).toMatchObject({ success: false });
    expect(await server("reserve_tokens", { p_user_id: user, p_tokens: 31 })).toMatchObject({
      success: false,
    });
    const free = await use(user, 30);
    expect(free).toMatchObject({ success: true });
    expect(free).not.toHaveProperty("tokens_overdrawn");
    await expectClean();
  });

  test("asked again under its key is answered as it was", async () => {
    const user = await owing(100);
    await give(user, 30);
    const first = await use(user, 100, { p_idempotency_key: "once" });
    expect(await use(user, 100, { p_idempotency_key: "once" })).toEqual({ ...first, replayed: true });
    expect(await account(user)).toMatchObject({ owed: 70 });
    await expect(use(user, 100, { p_idempotency_key: "once", p_on_shortage: "partial" })).rejects.toThrow(
      "idempotency_key_reused",
    );
  });

  test("of a user themself, of a member from their payer's account", async () => {
    const payer = await owing(100);
    const member = await createUser(db);
    await server("add_token_team_member", { p_user_id: payer, p_member_id: member });
    const receipt = await asUser(db, member, (client) =>
      rpc(client, "track_token_usage", {
        p_action_type: "chat_conversation",
        p_tokens_used: 40,
        p_on_shortage: "overdraft",
      }),
    );
    expect(receipt).toMatchObject({ success: true, tokens_overdrawn: 40 });
    expect(await account(payer)).toMatchObject({ owed: 40, used: 40 });
    expect(
      await rowsOf(
        "select tokens_used::int as used, spent_day::int as today from public.token_team_members where member_id = $1",
        [member],
      ),
    ).toEqual([{ used: 40, today: 40 }]);
    await expectClean();
  });

  test("counts for a cap, which allows no more for it", async () => {
    const user = await owing(1000);
    await give(user, 30);
    await server("set_token_spend_cap", { p_user_id: user, p_window: "day", p_tokens: 50 });
    expect(await use(user, 51)).toMatchObject({
      success: false,
      tokens_remaining_to_deduct: 1,
      capped_by: { limit: 50 },
    });
    expect(await use(user, 50)).toMatchObject({ success: true, tokens_overdrawn: 20 });
    expect(await use(user, 1)).toMatchObject({ success: false, capped_by: { limit: 50, used: 50 } });
    await expectClean();
  });

  test("from a frozen account is refused", async () => {
    const user = await owing(100);
    await server("set_token_account_state", { p_user_id: user, p_state: "frozen", p_reason: "chargebacks" });
    await expect(use(user, 10)).rejects.toThrow("account_frozen");
  });

  test("while tokens are there that do not pay for it, is short of them: they would repay the debt at once", async () => {
    const user = await owing(100);
    await give(user, 50, { p_pays_for: { actions: ["image_generation"] } });
    expect(await use(user, 10)).toMatchObject({
      success: false,
      tokens_restricted: 50,
      tokens_remaining_to_deduct: 10,
    });
    await expectClean();
  });
});

describe("the debt", () => {
  test("is repaid first by what comes in, and the limit is there again", async () => {
    const user = await owing(100);
    await use(user, 100);
    await give(user, 60);
    expect(await account(user)).toMatchObject({ remaining: 0, owed: 40 });
    expect(await use(user, 61)).toMatchObject({ success: false });
    expect(await use(user, 60)).toMatchObject({ success: true, tokens_overdrawn: 60 });
    await give(user, 150);
    expect(await account(user)).toMatchObject({ remaining: 50, owed: 0 });
    await expectClean();
  });

  test("whatever it is for uses up the limit, and one that is due to be repaid does not", async () => {
    const user = await owing(100);
    const grant = await give(user, 80);
    await use(user, 80);
    await server("void_token_grant", { p_user_id: user, p_grant_id: grant, p_take_back: true });
    expect(await account(user)).toMatchObject({ owed: 80 });
    expect(await use(user, 21)).toMatchObject({ success: false, tokens_remaining_to_deduct: 1 });
    const soon = new Date(Date.now() + 300).toISOString();
    await give(user, 70, { p_starts_at: soon });
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await use(user, 91)).toMatchObject({ success: false, tokens_remaining_to_deduct: 1 });
    expect(await use(user, 90)).toMatchObject({ success: true, tokens_overdrawn: 90 });
    expect(await account(user)).toMatchObject({ owed: 100 });
    await expectClean();
  });

  test("is said in the balance, a quote, the history and the explanation", async () => {
    const user = await owing(100);
    await give(user, 30);
    const quote = (tokens: number) =>
      server("estimate_tokens", {
        p_user_id: user,
        p_action_type: "chat_conversation",
        p_tokens_used: tokens,
      });
    expect(await quote(50)).toMatchObject({ sufficient: false, tokens_short: 20, overdraft_left: 100 });
    expect(await balance(user)).not.toHaveProperty("overdraft_limit");
    const { transaction_id: id } = await use(user, 50);
    expect(await quote(50)).toMatchObject({ sufficient: false, tokens_short: 50, overdraft_left: 80 });
    expect(await balance(user)).toMatchObject({ total_active: 0, total_owed: 20, overdraft_limit: 100 });
    await refund(user, id, 5);
    expect((await server("get_token_history", { p_user_id: user })).transactions).toMatchObject([
      { entry_type: "refund", tokens: 0, debt_change: -5 },
      { entry_type: "deduction", tokens: -30, debt_change: 20 },
      { entry_type: "grant", debt_change: 0 },
    ]);
    expect(await server("explain_token_charge", { p_user_id: user, p_transaction_id: id })).toMatchObject({
      transaction: { tokens: -30, debt_change: 20 },
      undone_by: [{ tokens: 0, debt_change: -5 }],
      tokens_net: -45,
    });
  });
});

describe("a hold", () => {
  const hold = (user: string, tokens: number) =>
    server("reserve_tokens", { p_user_id: user, p_tokens: tokens, p_action_type: "chat_conversation" });
  const capture = (user: string, id: string, tokens: number, more: Args = {}) =>
    server("capture_tokens", {
      p_user_id: user,
      p_hold_id: id,
      p_tokens: tokens,
      p_over_capture: "overdraft",
      ...more,
    });

  test("may be captured for more than there is: what is beyond it and not there is owed", async () => {
    const user = await owing(100);
    await give(user, 50);
    const { hold_id: id } = await hold(user, 40);
    expect(await capture(user, id, 151)).toMatchObject({
      success: false,
      status: "open",
      tokens_remaining_to_deduct: 1,
    });
    const receipt = await capture(user, id, 150, { p_model_used: "gpt" });
    expect(receipt).toMatchObject({
      success: true,
      tokens_captured: 40,
      tokens_deducted: 50,
      tokens_overdrawn: 100,
      tokens_remaining_to_deduct: 0,
      tokens_remaining: 0,
    });
    expect(await capture(user, id, 150)).toMatchObject({
      tokens_deducted: 50,
      tokens_overdrawn: 100,
      replayed: true,
    });
    expect(await account(user)).toEqual({ remaining: 0, owed: 100, used: 150, today: 150 });
    await expectClean();
  });

  test("under a cap is short of what the cap does not allow, and of no more", async () => {
    const user = await owing(100);
    await give(user, 20);
    await server("set_token_spend_cap", { p_user_id: user, p_window: "day", p_tokens: 60 });
    const { hold_id: id } = await hold(user, 10);
    expect(await capture(user, id, 70)).toMatchObject({ success: false, tokens_remaining_to_deduct: 10 });
    expect(await capture(user, id, 60)).toMatchObject({ success: true, tokens_overdrawn: 40 });
    await expectClean();
  });

  test("with nothing beside it: what is beyond is owed whole", async () => {
    const user = await owing(100);
    await give(user, 40);
    const { hold_id: id } = await hold(user, 40);
    expect(await capture(user, id, 60)).toMatchObject({ tokens_deducted: 40, tokens_overdrawn: 20 });
    await expectClean();
  });

  test("what comes back of another repays the debt", async () => {
    const user = await owing(100);
    await give(user, 40);
    const { hold_id: id } = await hold(user, 40);
    await use(user, 30);
    await server("release_tokens", { p_user_id: user, p_hold_id: id });
    expect(await account(user)).toMatchObject({ remaining: 10, owed: 0 });
    await expectClean();
  });
});

describe("a refund", () => {
  test("lets off what is still owed first, then gives back to the grant that paid", async () => {
    const user = await owing(100);
    const grant = await give(user, 30);
    const { transaction_id: id } = await use(user, 100);
    expect(await refund(user, id, 50)).toMatchObject({
      tokens_refunded: 50,
      debt_cancelled: 50,
      restored: [],
      tokens_refundable: 50,
      tokens_remaining: 0,
    });
    expect(await account(user)).toEqual({ remaining: 0, owed: 20, used: 50, today: 50 });
    expect(await refund(user, id, 30)).toMatchObject({
      tokens_refunded: 30,
      debt_cancelled: 20,
      restored: [{ grant_id: grant, tokens: 10 }],
      tokens_refundable: 20,
      tokens_remaining: 10,
    });
    await expect(refund(user, id, 21)).rejects.toThrow("refund_exceeds_charge");
    expect(await refund(user, id)).toMatchObject({
      tokens_refunded: 20,
      restored: [{ grant_id: grant, tokens: 20 }],
    });
    expect(await account(user)).toEqual({ remaining: 30, owed: 0, used: 0, today: 0 });
    await expectClean();
  });

  test("of what was repaid meanwhile goes to the grants that repaid it, the latest first", async () => {
    const user = await owing(100);
    const { transaction_id: id } = await use(user, 100);
    const first = await give(user, 60);
    const second = await give(user, 50);
    expect(await account(user)).toMatchObject({ remaining: 10, owed: 0 });
    expect(await refund(user, id, 50, { p_idempotency_key: "back" })).toMatchObject({
      tokens_refunded: 50,
      restored: [
        { grant_id: second, tokens: 40 },
        { grant_id: first, tokens: 10 },
      ],
    });
    expect(await refund(user, id, 50, { p_idempotency_key: "back" })).toMatchObject({
      replayed: true,
      tokens_refunded: 50,
    });
    expect(await refund(user, id)).toMatchObject({ restored: [{ grant_id: first, tokens: 50 }] });
    expect(await account(user)).toMatchObject({ remaining: 110, owed: 0, used: 0 });
    await expectClean();
  });

  test("of the part that is owed and the part that was repaid, at once", async () => {
    const user = await owing(100);
    const { transaction_id: id } = await use(user, 100);
    const grant = await give(user, 60);
    const receipt = await refund(user, id, null, { p_idempotency_key: "all" });
    expect(receipt).toMatchObject({
      tokens_refunded: 100,
      debt_cancelled: 40,
      restored: [{ grant_id: grant, tokens: 60 }],
      tokens_refundable: 0,
      tokens_remaining: 60,
    });
    expect(await refund(user, id, null, { p_idempotency_key: "all" })).toEqual({
      ...receipt,
      replayed: true,
    });
    await expectClean();
  });

  test("of what a voided grant had repaid goes to those that paid in its place", async () => {
    const { restored, forfeited } = await repaidByTheVoided(db);
    expect({ restored: restored.length, forfeited }).toEqual({ restored: 2, forfeited: [] });
    await expectClean();
  });

  test("to a grant that has run out expires, or is reissued", async () => {
    const user = await owing(100);
    const { transaction_id: id } = await use(user, 100);
    const grant = await give(user, 60, { p_expires_at: new Date(Date.now() + 400).toISOString() });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await refund(user, id, 50)).toMatchObject({
      debt_cancelled: 40,
      forfeited: [{ grant_id: grant, tokens: 10 }],
    });
    expect(await refund(user, id, 50, { p_expired_policy: "reissue", p_lifetime_days: 7 })).toMatchObject({
      restored: [{ tokens: 50 }],
      tokens_remaining: 50,
    });
    await expectClean();
  });
});

describe("the limit", () => {
  test("is the plan's where nothing was said of the user, and a change counts at once", async () => {
    const user = await createUser(db);
    await rowsOf("update public.token_plans set overdraft_tokens = 70 where plan_type = 'starter'");
    await server("change_token_plan", { p_user_id: user, p_plan_type: "starter" });
    const { total_active: there } = await balance(user);
    await use(user, there);
    expect(await balance(user)).toMatchObject({ overdraft_limit: 70 });
    expect(await allow(user, 20)).toMatchObject({ overdraft_limit: 20, limit_in_force: 20, replayed: false });
    expect(await use(user, 21)).toMatchObject({ success: false });
    expect(await allow(user, null)).toMatchObject({ overdraft_limit: null, limit_in_force: 70 });
    expect(await use(user, 70)).toMatchObject({ success: true, tokens_overdrawn: 70 });
    expect(await allow(user, 10)).toMatchObject({ limit_in_force: 10, tokens_owed: 70 });
    await expectClean();
  });

  test("is said by admins and the server, with a reason, and stands in the trail", async () => {
    const user = await createUser(db);
    const admin = await createUser(db, { admin: true });
    await expect(
      asUser(db, user, (client) =>
        rpc(client, "set_token_overdraft", { p_user_id: user, p_tokens: 5, p_reason: "please" }),
      ),
    ).rejects.toThrow("forbidden");
    const say = (tokens: number | null, reason: string | null = "trusted") =>
      asAdmin(db, admin, (client) =>
        rpc(client, "set_token_overdraft", { p_user_id: user, p_tokens: tokens, p_reason: reason }),
      );
    for (const tokens of [-1, 1_000_000_000_001]) await expect(say(tokens)).rejects.toThrow("invalid_amount");
    await expect(say(5, null)).rejects.toThrow("invalid_reason");
    expect(await say(null)).toMatchObject({ replayed: true });
    expect(await say(5)).toMatchObject({ success: true, overdraft_limit: 5, replayed: false });
    expect(await say(5)).toMatchObject({ replayed: true });
    expect((await server("list_token_changes", { p_user_id: user })).changes).toMatchObject([
      { change: "set_token_overdraft", reason: "trusted", details: { overdraft_limit: 5 } },
    ]);
  });
});

/** 400 uses of 1 at once, on 100 tokens and a limit of 50. */
async function rush(of: Database) {
  const user = await owing(50, of);
  await give(user, 100, {}, of);
  const outcomes = await Promise.all(
    Array.from({ length: 400 }, async () => {
      for (;;) {
        const receipt = await use(user, 1, {}, of).catch(({ message }: Error) => message);
        if (typeof receipt === "object") return receipt.success as boolean;
        if (receipt !== "busy") throw new Error(receipt);
      }
    }),
  );
  const { owed } = await account(user, of);
  return { paid: outcomes.filter(Boolean).length, short: outcomes.filter((paid) => !paid).length, owed };
}

test("many uses at once owe what the limit allows, and not one more", async () => {
  const tally = await rush(db);
  console.log(`400 uses of 1 at once, on 100 tokens and a limit of 50: ${JSON.stringify(tally)}`);
  expect(tally).toEqual({ paid: 150, short: 250, owed: 50 });
  await expectClean();
});

/** All of a use is owed; 40 and 60 repay it, the 60 are taken back, and 60 others repay that. Then the use is refunded. */
async function repaidByTheVoided(of: Database) {
  const user = await owing(100, of);
  const { transaction_id: id } = await use(user, 100, {}, of);
  await give(user, 40, {}, of);
  const mistake = await give(user, 60, {}, of);
  await server("void_token_grant", { p_user_id: user, p_grant_id: mistake, p_take_back: true }, of);
  await give(user, 60, {}, of);
  return refund(user, id, null, {}, of);
}

/** What each rule comes to, and what comes of it without the rule. */
const rules: Record<string, [scenario: (of: Database) => Promise<unknown>, found: unknown]> = {
  "overdrafts-without-a-limit": [rush, { paid: 400, short: 0, owed: 300 }],
  "overdrafts-beside-what-is-there": [
    async (of) => {
      const user = await owing(100, of);
      await give(user, 50, { p_pays_for: { actions: ["image_generation"] } }, of);
      return (await use(user, 10, {}, of)).success;
    },
    true,
  ],
  "overdrafts-beyond-caps": [
    async (of) => {
      const user = await owing(100, of);
      await server("set_token_spend_cap", { p_user_id: user, p_window: "day", p_tokens: 50 }, of);
      return (await use(user, 60, {}, of)).success;
    },
    true,
  ],
  "debts-leave-the-limit": [
    async (of) => {
      const user = await owing(100, of);
      await use(user, 100, {}, of);
      return (await use(user, 100, {}, of)).success;
    },
    true,
  ],
  "overdrafts-of-the-plan-alone": [
    async (of) => (await use(await owing(100, of), 60, {}, of)).success,
    false,
  ],
  "overdrafts-of-any-plan": [
    async (of) => {
      await rowsOf("update public.token_plans set overdraft_tokens = 70 where plan_type = 'starter'", [], of);
      await rowsOf(
        "insert into public.token_plans (plan_type, name, tokens) values ('plain', 'Plain', 10) on conflict do nothing",
        [],
        of,
      );
      const user = await createUser(of);
      await server("change_token_plan", { p_user_id: user, p_plan_type: "plain" }, of);
      return (await use(user, (await balance(user, of)).total_active + 60, {}, of)).success;
    },
    true,
  ],
  "holds-are-never-overdrawn": [(of) => overrun(of, null), { success: false, overdrawn: undefined }],
  "holds-overdrawn-beyond-caps": [(of) => overrun(of, 60), { success: true, overdrawn: 60 }],
  "refunds-leave-the-debt-last": [
    async (of) => {
      const user = await owing(100, of);
      await give(user, 30, {}, of);
      const { transaction_id: id } = await use(user, 100, {}, of);
      return (await refund(user, id, 50, {}, of)).debt_cancelled;
    },
    20,
  ],
  "refunds-let-nothing-off": [
    async (of) => {
      const user = await owing(100, of);
      const { transaction_id: id } = await use(user, 100, {}, of);
      return refund(user, id, 50, {}, of).then(
        ({ debt_cancelled: off }) => off,
        () => "refused",
      );
    },
    "refused",
  ],
  "voided-grants-are-given-to": [
    async (of) => (await repaidByTheVoided(of)).forfeited.map(({ tokens }: { tokens: number }) => tokens),
    [40],
  ],
  "repaid-overdrafts-are-lost": [
    async (of) => {
      const user = await owing(100, of);
      const { transaction_id: id } = await use(user, 100, {}, of);
      await give(user, 100, {}, of);
      await refund(user, id, 50, {}, of);
      return (await rowsOf("select invariant from public.verify_token_ledger()", [], of)).length > 0;
    },
    true,
  ],
};

async function overrun(of: Database, cap: number | null) {
  const user = await owing(100, of);
  await give(user, 40, {}, of);
  if (cap !== null)
    await server("set_token_spend_cap", { p_user_id: user, p_window: "day", p_tokens: cap }, of);
  const { hold_id: id } = await server("reserve_tokens", { p_user_id: user, p_tokens: 40 }, of);
  const receipt = await server(
    "capture_tokens",
    { p_user_id: user, p_hold_id: id, p_tokens: 100, p_over_capture: "overdraft" },
    of,
  );
  return { success: receipt.success, overdrawn: receipt.tokens_overdrawn };
}

describe("the tests see it", { tags: ["proof"] }, () => {
  test.for(Object.entries(rules))("%s", async ([mutant, [scenario, found]]) => {
    const broken = await createDatabase();
    expect(await scenario(broken)).not.toEqual(found);
    await applyMutant(broken, mutant);
    expect(await scenario(broken)).toEqual(found);
    await broken.drop();
  });
});
