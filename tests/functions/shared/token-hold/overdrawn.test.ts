/** Calls that may leave their user in debt, and tasks whose process died: nothing is unpaid, and nothing is paid twice. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { tokenBudget } from "../../../../packages/tokenbook/src/ai/budget.ts";
import {
  CallAlreadyMadeError,
  type HoldOptions,
  withTokenHold,
} from "../../../../supabase/functions/_shared/token-hold.ts";
import { grant } from "../../../support/books.ts";
import { createDatabase, type Database } from "../../../support/database.ts";
import { asService, createUser, rpc } from "../../../support/roles.ts";
import { letTimePass } from "../../../support/time.ts";
import { type Books, openBooks } from "./books-client.ts";

let db: Database;
let books: Books;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  books = await openBooks(db, 4);
});
afterAll(async () => {
  const { rows } = await db.admin.query("select * from public.verify_token_ledger()");
  await books.close();
  await db.drop();
  expect(rows).toEqual([]);
});
beforeEach(async () => {
  user = await createUser(db);
});

const client = () => books.unreliable(() => undefined);
const server = (name: string, args: Record<string, unknown>) =>
  asService(db, (it) => rpc(it, name, { p_user_id: user, ...args }));
const allow = (tokens: number) => server("set_token_overdraft", { p_tokens: tokens, p_reason: "trusted" });
const freeze = () => server("set_token_account_state", { p_state: "frozen", p_reason: "a chargeback" });
const hour = 1 / 24;

/** A call that holds 50 and uses so many. */
const used = (
  tokens: number,
  meanwhile: () => Promise<unknown> = async () => {},
  more: Partial<HoldOptions> = {},
) =>
  withTokenHold(
    client(),
    {
      userId: user,
      tokens: 50,
      actionType: "chat_conversation",
      idempotencyKey: "message",
      onOverrun: "overdraft",
      patience: { pauseMs: 1 },
      ...more,
    },
    async ({ report }) => {
      await meanwhile();
      report({ tokens });
    },
  ).then(({ receipt }) => receipt);
const account = async () =>
  (
    await db.admin.query(
      "select tokens_used::int as used, tokens_owed::int as owed, tokens_reserved::int as held from public.token_accounts where user_id = $1",
      [user],
    )
  ).rows[0];

describe("an account that is frozen while the call runs", () => {
  test("pays what was held, and the rest is uncovered", async () => {
    await allow(100);
    await grant(db, user, 100);
    expect(await used(80, freeze)).toMatchObject({
      tokensDeducted: 50,
      tokensOverdrawn: 0,
      tokensUncovered: 30,
    });
    expect(await account()).toEqual({ used: 50, owed: 0, held: 0 });
  });

  test("of a hold that has run out: all of it is uncovered", async () => {
    await allow(100);
    await grant(db, user, 100);
    const receipt = await used(80, async () => {
      await freeze();
      await letTimePass(db, user, hour);
    });
    expect(receipt).toMatchObject({ status: "expired", tokensDeducted: 0, tokensUncovered: 80 });
    expect(await account()).toEqual({ used: 0, owed: 0, held: 0 });
  });

  test("of a part of a budget: the part is paid", async () => {
    await grant(db, user, 100);
    const budget = await tokenBudget(client(), { userId: user, tokens: 90 });
    const receipt = await used(80, freeze, { parentHold: budget.holdId });
    expect(receipt).toMatchObject({ tokensDeducted: 50, tokensUncovered: 30 });
    expect(await budget.end()).toMatchObject({ tokensUsed: 50 });
  });
});

describe("past the limit", () => {
  test("what there is is taken", async () => {
    await allow(10);
    await grant(db, user, 60);
    expect(await used(80)).toMatchObject({ tokensDeducted: 60, tokensOverdrawn: 0, tokensUncovered: 20 });
  });
  test("up to it, the receipt says what is owed", async () => {
    await allow(100);
    await grant(db, user, 50);
    expect(await used(150)).toMatchObject({ tokensDeducted: 50, tokensOverdrawn: 100, tokensUncovered: 0 });
  });
});

describe("a key is paid for once", () => {
  test("where all of it is owed", async () => {
    await allow(1_000);
    await grant(db, user, 50);
    const receipt = await used(50, async () => {
      await letTimePass(db, user, hour);
      await server("deduct_tokens_with_fifo", { p_tokens_to_deduct: 50 });
    });
    expect(receipt).toMatchObject({ tokensDeducted: 0, tokensOverdrawn: 50 });
    await grant(db, user, 300);
    await expect(used(50)).rejects.toThrow(CallAlreadyMadeError);
    expect(await account()).toMatchObject({ used: 100 });
  });

  test("where part of what was owed has come back", async () => {
    await allow(1_000);
    await grant(db, user, 50);
    const { transactionId } = await used(150);
    await grant(db, user, 100);
    await server("refund_tokens", { p_transaction_id: transactionId! + 1, p_tokens: 50 });
    await grant(db, user, 300);
    await expect(used(150)).rejects.toThrow(CallAlreadyMadeError);
    expect(await account()).toMatchObject({ used: 100 });
  });
});

describe("a task whose process died", () => {
  /** A budget, of which a call had 50 when everything stopped. */
  async function died() {
    await grant(db, user, 300);
    const budget = await tokenBudget(client(), { userId: user, tokens: 100, idempotencyKey: "task" });
    await server("reserve_tokens", {
      p_tokens: 50,
      p_ttl_seconds: 300,
      p_action_type: "chat_conversation",
      p_idempotency_key: "call:message",
      p_metadata: { run: "dead" },
      p_parent_hold: budget.holdId,
    });
    await letTimePass(db, user, 2 * hour);
    return budget;
  }

  test("goes on with what no call had of its budget, under the same key, and so does the call", async () => {
    const dead = await died();
    const again = await tokenBudget(client(), { userId: user, tokens: 100, idempotencyKey: "task" });
    expect(again.holdId).not.toBe(dead.holdId);
    expect(again.tokens).toBe(50);
    expect(await used(10, undefined, { parentHold: again.holdId, ttlSeconds: 300 })).toMatchObject({
      tokensDeducted: 10,
    });
    const third = await tokenBudget(client(), { userId: user, tokens: 100, idempotencyKey: "task" });
    expect(third.holdId).toBe(again.holdId);
  });

  test("leaves the key of its call free for another budget, and for none", async () => {
    await died();
    expect(await used(10, undefined, { ttlSeconds: 300 })).toMatchObject({ tokensDeducted: 10 });
  });
});

test("a budget that was captured itself says what was used", async () => {
  await grant(db, user, 100);
  const budget = await tokenBudget(client(), { userId: user, tokens: 60 });
  await server("capture_tokens", { p_hold_id: budget.holdId, p_tokens: 40 });
  expect(await budget.end()).toMatchObject({ status: "captured", tokensUsed: 40 });
});
