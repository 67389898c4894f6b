/** Calls that may leave their user in debt, and tasks whose process died: nothing is unpaid, and nothing is paid twice. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import * as ofBudget from "../../../../packages/tokenbook/src/ai/budget.ts";
import * as helperItself from "../../../../supabase/functions/_shared/token-hold.ts";
import { grant } from "../../../support/books.ts";
import { createDatabase, type Database } from "../../../support/database.ts";
import { asService, createUser, rpc } from "../../../support/roles.ts";
import { letTimePass } from "../../../support/time.ts";
import { type Books, openBooks } from "./books-client.ts";
import { type Fault, withVariant } from "./files.ts";

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

/** What is tried, by a variant or by none. */
let { withTokenHold, CallAlreadyMadeError } = helperItself;
let { tokenBudget } = ofBudget;

/** A call that holds 50 and uses so many. */
const used = (
  tokens: number,
  meanwhile: () => Promise<unknown> = async () => {},
  more: Partial<helperItself.HoldOptions> = {},
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
const budgetOf = (tokens: number) => tokenBudget(client(), { userId: user, tokens, idempotencyKey: "task" });

/** A budget, of which a call had 50 when everything stopped. */
async function died() {
  await grant(db, user, 300);
  const budget = await budgetOf(100);
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

const trials = {
  "an account that is frozen meanwhile pays what was held, and the rest is uncovered": async () => {
    await allow(100);
    await grant(db, user, 100);
    const receipt = await used(80, freeze);
    expect(receipt).toMatchObject({ tokensDeducted: 50, tokensOverdrawn: 0, tokensUncovered: 30 });
    expect(await account()).toEqual({ used: 50, owed: 0, held: 0 });
  },
  "of a frozen account whose hold has run out all of it is uncovered": async () => {
    await allow(100);
    await grant(db, user, 100);
    const receipt = await used(80, async () => {
      await freeze();
      await letTimePass(db, user, hour);
    });
    expect(receipt).toMatchObject({ status: "expired", tokensDeducted: 0, tokensUncovered: 80 });
    expect(await account()).toEqual({ used: 0, owed: 0, held: 0 });
  },
  "a part of a budget is paid by an account that is frozen meanwhile": async () => {
    await grant(db, user, 100);
    const budget = await budgetOf(90);
    const receipt = await used(80, freeze, { parentHold: budget.holdId });
    expect(receipt).toMatchObject({ tokensDeducted: 50, tokensUncovered: 30 });
    expect(await budget.end()).toMatchObject({ tokensUsed: 50 });
  },
  "past the limit what there is is taken": async () => {
    await allow(10);
    await grant(db, user, 60);
    expect(await used(80)).toMatchObject({ tokensDeducted: 60, tokensOverdrawn: 0, tokensUncovered: 20 });
  },
  "up to the limit the receipt says what is owed": async () => {
    await allow(100);
    await grant(db, user, 50);
    expect(await used(150)).toMatchObject({ tokensDeducted: 50, tokensOverdrawn: 100, tokensUncovered: 0 });
  },
  "a key is paid for once where all of it is owed": async () => {
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
  },
  "a key is paid for once where part of what was owed has come back": async () => {
    await allow(1_000);
    await grant(db, user, 50);
    const { transactionId } = await used(150);
    await grant(db, user, 100);
    await server("refund_tokens", { p_transaction_id: transactionId! + 1, p_tokens: 50 });
    await grant(db, user, 300);
    await expect(used(150)).rejects.toThrow(CallAlreadyMadeError);
    expect(await account()).toMatchObject({ used: 100 });
  },
  "a task whose process died goes on with what no call had, under its key, and so does its call":
    async () => {
      const dead = await died();
      const again = await budgetOf(100);
      expect(again.holdId).not.toBe(dead.holdId);
      expect(again.tokens).toBe(50);
      const receipt = await used(10, undefined, { parentHold: again.holdId, ttlSeconds: 300 });
      expect(receipt).toMatchObject({ tokensDeducted: 10 });
      expect((await budgetOf(100)).holdId).toBe(again.holdId);
    },
  "the call of a task that died is made without a budget": async () => {
    await died();
    expect(await used(10, undefined, { ttlSeconds: 300 })).toMatchObject({ tokensDeducted: 10 });
  },
  "a budget that was captured itself says what was used": async () => {
    await grant(db, user, 100);
    const budget = await tokenBudget(client(), { userId: user, tokens: 60 });
    await server("capture_tokens", { p_hold_id: budget.holdId, p_tokens: 40 });
    expect(await budget.end()).toMatchObject({ status: "captured", tokensUsed: 40 });
  },
};

test.each(Object.entries(trials))("%s", (_, trial) => trial());

/** Known-bad variants of the helper: what each does, and which trial sees it. */
const mutants: (Fault & { name: string; seen: keyof typeof trials })[] = [
  {
    name: "gives up where an overdraft is refused",
    file: "hold-books.ts",
    right:
      '    if (!(error instanceof TokenbookError) || isWorthRepeating(error)) throw error;\n  }\n  return await ask("partial");',
    wrong: '    throw error;\n  }\n  return await ask("partial");',
    seen: "an account that is frozen meanwhile pays what was held, and the rest is uncovered",
  },
  {
    name: "tracks a late use by an overdraft or not at all",
    file: "hold-books.ts",
    right: "? await overdrawn(track, ({ success }) => success)",
    wrong: '? await track("overdraft")',
    seen: "of a frozen account whose hold has run out all of it is uncovered",
  },
  {
    name: "captures by an overdraft or not at all",
    file: "hold-books.ts",
    right: '? await overdrawn(capture, ({ success, status }) => success || status !== "open")',
    wrong: '? await capture("overdraft")',
    seen: "past the limit what there is is taken",
  },
  {
    name: "says nothing of what is owed",
    file: "hold-books.ts",
    right: "tokensOverdrawn: charge.tokens_overdrawn ?? 0",
    wrong: "tokensOverdrawn: 0",
    seen: "up to the limit the receipt says what is owed",
  },
  {
    name: "takes a use that is owed for one that cost nothing",
    file: "hold-books.ts",
    right: "+ entry.debt_change - entry.tokens",
    wrong: "- entry.tokens",
    seen: "a key is paid for once where all of it is owed",
  },
  {
    name: "takes the budget of a dead process for another call",
    file: "hold-books.ts",
    right: 'field === "metadata" || field === "parentHold"',
    wrong: 'field === "metadata"',
    seen: "a task whose process died goes on with what no call had, under its key, and so does its call",
  },
  {
    name: "hands out a budget that has run out",
    file: "budget.ts",
    right: 'if (made.status !== "expired") return budget;',
    wrong: "return budget;",
    seen: "a task whose process died goes on with what no call had, under its key, and so does its call",
  },
  {
    name: "sets all of it aside again",
    file: "budget.ts",
    right: "left -= tokensPassed;",
    wrong: "",
    seen: "a task whose process died goes on with what no call had, under its key, and so does its call",
  },
  {
    name: "does not count what the budget itself paid",
    file: "budget.ts",
    right: "tokensUsed: captured ?? 0",
    wrong: "tokensUsed: 0",
    seen: "a budget that was captured itself says what was used",
  },
];

/** Tries it with another helper than the one that there is. */
const triedBy = (fault: Fault, trial: () => Promise<void>) =>
  withVariant(fault, async ({ helper, budget }) => {
    ({ withTokenHold, CallAlreadyMadeError } = helper);
    ({ tokenBudget } = budget);
    try {
      await trial();
    } finally {
      ({ withTokenHold, CallAlreadyMadeError } = helperItself);
      ({ tokenBudget } = ofBudget);
    }
  });

test.each(mutants)(
  "the test sees it: a helper that $name",
  { tags: ["proof"] },
  async ({ seen, file, right, wrong }) => {
    await triedBy({ file, right, wrong: right }, trials[seen]);
    user = await createUser(db);
    await expect(triedBy({ file, right, wrong }, trials[seen])).rejects.toThrow();
  },
);
