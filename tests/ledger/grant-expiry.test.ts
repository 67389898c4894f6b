/** A grant's expiry is said anew: later, sooner, or never, by an entry of the ledger. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectCleanBooks, grant } from "../support/books.ts";
import { createDatabase, type Database } from "../support/database.ts";
import { applyMutant } from "../support/mutants.ts";
import { letTimePass } from "../support/time.ts";
import { asAdmin, asService, asUser, createUser, rpc } from "../support/roles.ts";

let db: Database;
let admin: string;
let user: string;
beforeAll(async () => {
  db = await createDatabase();
  admin = await createUser(db, { admin: true });
});
afterAll(() => db.drop());

const DAY = 24 * 3600 * 1000;
const inDays = (days: number) => new Date(Date.now() + days * DAY).toISOString();
const set = (args: Record<string, unknown>, of = db) =>
  asService(of, (client) =>
    rpc(client, "set_token_grant_expiry", { p_user_id: user, p_reason: "a promise", ...args }),
  );
const balance = (of = db) =>
  asUser(of, user, (client) => rpc(client, "get_user_token_balance", { p_user_id: user }));
const spend = (tokens: number, of = db) =>
  asUser(of, user, (client) =>
    rpc(client, "deduct_tokens_with_fifo", { p_user_id: user, p_tokens_to_deduct: tokens }),
  );
const ends = async (id: string) =>
  (await db.admin.query("select expires_at from public.token_balances where id = $1", [id])).rows[0]
    .expires_at;

test("later: it lives on past its old end, and ends at its new one", async () => {
  user = await createUser(db);
  const id = await grant(db, user, 100, { expires_in: "1 day" });
  const before = await ends(id);
  const until = inDays(10);
  expect(await set({ p_grant_id: id, p_expires_at: until })).toMatchObject({
    success: true,
    grant_id: id,
    expires_at_before: expect.stringContaining(before.toISOString().slice(0, 19)),
    expires_at: expect.stringContaining(until.slice(0, 19)),
    transaction_id: 2,
    tokens_remaining: 100,
    replayed: false,
  });
  await letTimePass(db, user, 5);
  expect((await spend(30)).success).toBe(true);
  await letTimePass(db, user, 6);
  expect(await balance()).toMatchObject({ total_active: 0, total_expired: 70 });
  await expectCleanBooks(db);
});

test("sooner: what it has runs out then, though nobody asked until now", async () => {
  user = await createUser(db);
  const id = await grant(db, user, 100, { expires_in: "100 days" });
  await set({ p_grant_id: id, p_expires_at: inDays(1) });
  await letTimePass(db, user, 2);
  expect((await spend(1)).success).toBe(false);
  expect(await balance()).toMatchObject({ total_active: 0, total_expired: 100 });
  await expectCleanBooks(db);
});

test("never, and a moment again; the entries say who, why, and from what to what", async () => {
  user = await createUser(db);
  const id = await grant(db, user, 100, { expires_in: "1 day" });
  await asAdmin(db, admin, (client) =>
    rpc(client, "set_token_grant_expiry", {
      p_user_id: user,
      p_grant_id: id,
      p_expires_at: "infinity",
      p_reason: "goodwill",
    }),
  );
  expect(await ends(id)).toBeNull();
  await set({ p_grant_id: id, p_expires_at: "2999-01-01T00:00:00Z" });
  const { rows } = await db.admin.query(
    `select entry_type, action_type, tokens::int, balance_after::int, actor_role, actor_id, reason,
            terms -> 'expiry' ->> 'after' as after
       from public.token_transactions where user_id = $1 and action_type = 'expiry_change' order by id`,
    [user],
  );
  expect(rows).toEqual([
    {
      entry_type: "usage",
      action_type: "expiry_change",
      tokens: 0,
      balance_after: 100,
      actor_role: "admin",
      actor_id: admin,
      reason: "goodwill",
      after: null,
    },
    {
      entry_type: "usage",
      action_type: "expiry_change",
      tokens: 0,
      balance_after: 100,
      actor_role: "service",
      actor_id: null,
      reason: "a promise",
      after: "2999-01-01 00:00:00Z",
    },
  ]);
  await expectCleanBooks(db);
});

test("one key, one effect; another moment under it is refused", async () => {
  user = await createUser(db);
  const id = await grant(db, user, 100, { expires_in: "1 day" });
  const asked = { p_grant_id: id, p_expires_at: inDays(5), p_idempotency_key: "a-promise" };
  const first = await set(asked);
  expect(await set(asked)).toEqual({ ...first, replayed: true });
  await expect(set({ ...asked, p_expires_at: inDays(6) })).rejects.toMatchObject({
    message: "idempotency_key_reused",
  });
});

describe("it is refused", () => {
  const cases: [what: string, args: () => Promise<Record<string, unknown>>, error: string][] = [
    [
      "of a grant that has run out",
      async () => {
        const id = await grant(db, user, 10, { expires_in: "1 day" });
        await letTimePass(db, user, 2);
        return { p_grant_id: id, p_expires_at: inDays(5) };
      },
      "grant_has_ended",
    ],
    [
      "of a grant that was voided",
      async () => {
        const id = await grant(db, user, 10);
        await asService(db, (client) => rpc(client, "void_token_grant", { p_user_id: user, p_grant_id: id }));
        return { p_grant_id: id, p_expires_at: inDays(5) };
      },
      "grant_already_voided",
    ],
    [
      "of another user's grant",
      async () => ({
        p_grant_id: await grant(db, await createUser(db), 10),
        p_expires_at: inDays(5),
      }),
      "grant_not_found",
    ],
    [
      "into the past",
      async () => ({ p_grant_id: await grant(db, user, 10), p_expires_at: inDays(-1) }),
      "invalid_expiry",
    ],
    [
      "without a moment",
      async () => ({ p_grant_id: await grant(db, user, 10), p_expires_at: null }),
      "invalid_expiry",
    ],
    [
      "for ever, of a type that must end",
      async () => ({
        p_grant_id: await grant(db, user, 10, { type: "trial" }),
        p_expires_at: "infinity",
      }),
      "invalid_expiry",
    ],
    [
      "without a reason",
      async () => ({ p_grant_id: await grant(db, user, 10), p_expires_at: inDays(5), p_reason: null }),
      "invalid_reason",
    ],
  ];
  test.each(cases)("%s", async (_, args, error) => {
    user = await createUser(db);
    await expect(args().then((asked) => set(asked))).rejects.toMatchObject({ message: error });
    await expectCleanBooks(db);
  });

  test("to users", async () => {
    user = await createUser(db);
    const id = await grant(db, user, 10);
    await expect(
      asUser(db, user, (client) =>
        rpc(client, "set_token_grant_expiry", {
          p_user_id: user,
          p_grant_id: id,
          p_expires_at: "infinity",
          p_reason: "mine",
        }),
      ),
    ).rejects.toMatchObject({ message: "forbidden" });
  });
});

describe("where what expires first is spent first", () => {
  /** Two grants change places between two deductions; what a replay then finds. */
  const history = async (mutant?: string) => {
    const own = await createDatabase();
    try {
      if (mutant !== undefined) await applyMutant(own, mutant);
      await asService(own, (client) =>
        rpc(client, "set_token_burn_order", { p_burn_order: "expiring_first" }),
      );
      user = await createUser(own);
      const near = await grant(own, user, 100, { expires_in: "10 days" });
      const far = await grant(own, user, 100, { expires_in: "20 days" });
      const paid = [(await spend(10, own)).deducted_from[0].grant_id === near];
      await set({ p_grant_id: far, p_expires_at: inDays(5) }, own);
      paid.push((await spend(10, own)).deducted_from[0].grant_id === far);
      await set({ p_grant_id: far, p_expires_at: inDays(60) }, own);
      paid.push((await spend(10, own)).deducted_from[0].grant_id === near);
      const { rows } = await own.admin.query(
        "select count(*)::int as wrong from public.replay_token_balances($1) where difference <> 0",
        [user],
      );
      return { paid, wrong: rows[0].wrong };
    } finally {
      await own.drop();
    }
  };

  test("it is spent by its new expiry from then on, and a replay knows both", async () => {
    expect(await history()).toEqual({ paid: [true, true, true], wrong: 0 });
  });

  test("a replay that does not know of it is seen", async () => {
    expect((await history("replay-forgets-expiries")).wrong).toBeGreaterThan(0);
  });
});

describe("what is due", () => {
  const dueAfterShortening = async (mutant?: string) => {
    const own = await createDatabase();
    try {
      if (mutant !== undefined) await applyMutant(own, mutant);
      user = await createUser(own);
      const id = await grant(own, user, 100, { expires_in: "100 days" });
      await set({ p_grant_id: id, p_expires_at: new Date(Date.now() + 1_500).toISOString() }, own);
      await new Promise((resolve) => setTimeout(resolve, 1_600));
      return await spend(1, own);
    } finally {
      await own.drop();
    }
  };

  test("follows the new expiry; a change that does not say when it is due is seen", async () => {
    expect(await dueAfterShortening()).toMatchObject({ success: false, tokens_remaining: 0 });
    await expect(dueAfterShortening("shortened-grants-are-not-due")).rejects.toMatchObject({
      message: "account_lost", // the account has what no grant has
    });
  });
});
