import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { asUser, createUser, rpc } from "../support/roles.ts";
import { grant } from "../support/books.ts";

let db: Database;
beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());

interface Page {
  transactions: {
    id: number;
    entry_type: string;
    tokens: number;
    balance_after: number | null;
    allocations: unknown[];
  }[];
  next_before: number | null;
}
const page = (user: string, limit: number, before?: number): Promise<Page> =>
  asUser(db, user, (client) =>
    rpc(client, "get_token_history", { p_limit: limit, ...(before !== undefined && { p_before: before }) }),
  );

test("history is newest first, with the balance after each and who paid", async () => {
  const user = await createUser(db);
  const one = await grant(db, user, 10);
  const two = await grant(db, user, 10);
  await asUser(db, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", {
      p_user_id: user,
      p_tokens_to_deduct: 15,
      p_metadata: { chat: 1 },
    }),
  );

  const { transactions, next_before } = await page(user, 10);

  expect(next_before).toBeNull();
  expect(transactions).toMatchObject([
    {
      id: 3,
      entry_type: "deduction",
      tokens: -15,
      balance_after: 5,
      metadata: { chat: 1 },
      allocations: [
        { grant_id: one, tokens: 10 },
        { grant_id: two, tokens: 5 },
      ],
    },
    {
      id: 2,
      entry_type: "grant",
      tokens: 10,
      balance_after: 20,
      allocations: [{ grant_id: two, tokens: 10 }],
    },
    {
      id: 1,
      entry_type: "grant",
      tokens: 10,
      balance_after: 10,
      allocations: [{ grant_id: one, tokens: 10 }],
    },
  ]);
});

test("pages neither skip nor repeat while new transactions arrive, and run on into the old history", async () => {
  const user = await createUser(db);
  await db.admin.query(
    `insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, created_at)
     select $1, 1 - n, n::text, 'chat_conversation', -n, timestamptz '2025-01-01' - n * interval '1 day' from generate_series(1, 5) n`,
    [user],
  );
  for (let i = 0; i < 7; i++) await grant(db, user, 1);

  const ids: number[] = [];
  let before: number | null | undefined;
  do {
    const { transactions, next_before } = await page(user, 3, before ?? undefined);
    ids.push(...transactions.map((entry) => entry.id));
    before = next_before;
    await grant(db, user, 1); // arrives between two pages
  } while (before !== null);

  expect(ids).toEqual([7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4]);
});

test("an entry from before the books has no balance and pays from no grant", async () => {
  const user = await createUser(db);
  await db.admin.query(
    `insert into public.token_legacy_transactions (user_id, id, legacy_id, action_type, tokens, metadata, created_at)
     values ($1, 0, 'old', 'trial_grant', 500, '{"plan": "x"}', '2025-01-01')`,
    [user],
  );

  const { transactions, next_before } = await page(user, 1);

  expect(transactions).toMatchObject([
    {
      id: 0,
      entry_type: "history",
      action_type: "trial_grant",
      tokens: 500,
      balance_after: null,
      allocations: [],
      metadata: { plan: "x" },
    },
  ]);
  expect(next_before).toBeNull();
});

/** Of each entry of a task's holds: what it is, of which hold, and of which budget that is a part. */
async function familyOf(on: Database) {
  const user = await createUser(on);
  await grant(on, user, 100);
  const call = (name: string, args: object) =>
    asUser(on, user, (client) => rpc(client, name, { p_user_id: user, ...args }));
  const { hold_id: task } = await call("reserve_tokens", { p_tokens: 60 });
  const { hold_id: one } = await call("reserve_tokens", { p_tokens: 40, p_parent_hold: task });
  await call("capture_tokens", { p_hold_id: one, p_tokens: 25 });
  const { hold_id: other } = await call("reserve_tokens", { p_tokens: 35, p_parent_hold: task });
  await call("release_tokens", { p_hold_id: task });
  const names: Record<string, string> = { [task]: "task", [one]: "one", [other]: "other" };
  const { transactions } = (await asUser(on, user, (client) => rpc(client, "get_token_history", {}))) as {
    transactions: {
      action_type: string;
      entry_type: string;
      hold_id: string;
      parent_hold_id: string | null;
    }[];
  };
  return transactions
    .toReversed()
    .slice(1)
    .map(({ entry_type, action_type, hold_id, parent_hold_id }) => [
      entry_type === "usage" ? action_type : entry_type,
      names[hold_id],
      parent_hold_id === null ? null : names[parent_hold_id],
    ]);
}

test("what moves between a budget and a call of it names both; nothing else names a budget", async () => {
  expect(await familyOf(db)).toEqual([
    ["hold", "task", null],
    ["hold_split", "one", "task"],
    ["hold_return", "one", "task"],
    ["deduction", "one", null],
    ["hold_split", "other", "task"],
    // nothing was left to give back
    ["hold_return", "task", null],
  ]);
});

test(
  "(known-bad) a part that does not say whose it is cannot be told from a call by itself",
  { tags: ["proof"] },
  async () => {
    const broken = await createDatabase();
    try {
      await applyMutant(broken, "parts-name-no-budget");
      expect((await familyOf(broken)).every(([, , budget]) => budget === null)).toBe(true);
    } finally {
      await broken.drop();
    }
  },
);
