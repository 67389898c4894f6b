// @module-tag proof
/** The client with a read replica beside its primary: two APIs of one project, and supabase-js in front of both. */
import { createClient } from "@supabase/supabase-js";
import { startApi, type Api } from "local-platform/gateway/api";
import { createKeys, type Keys } from "local-platform/gateway/keys";
import { type Claims, createTokens, userClaims } from "local-platform/gateway/tokens";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import ws from "ws";
import { tokenbookAdmin } from "../../packages/tokenbook/src/admin/index.ts";
import { tokenbook } from "../../packages/tokenbook/src/client/index.ts";
import { adminClaims } from "../functions/stack.ts";
import { grant } from "../support/books.ts";
import { createUser } from "../support/roles.ts";
import { type Replicated, startReplicated } from "../support/standby.ts";

let both: Replicated;
let keys: Keys;
let apis: Api[];
let asked: string[] = [];
beforeAll(async () => {
  both = await startReplicated();
  keys = await createKeys();
  apis = await Promise.all(
    [both.primary, both.standby].map((db) =>
      startApi({ databaseUrlFor: (role) => db.url(role), keys, port: 0 }),
    ),
  );
});
afterAll(async () => {
  await Promise.all(apis.map((api) => api.close()));
  await both.close();
});

/** Clients of a user, of the primary and of the replica, that note what is asked of which. */
async function clientsOf(user: string, claims: Claims = {}) {
  const { sign } = await createTokens(keys);
  const jwt = await sign({ ...userClaims(apis[0]!.url, user), ...claims });
  return apis.map((api, nth) =>
    createClient(api.url, keys.publishableKey, {
      auth: { persistSession: false, autoRefreshToken: false },
      realtime: { transport: ws as never },
      global: {
        headers: { authorization: `Bearer ${jwt}` },
        fetch: (input, init) => {
          const { pathname } = new URL(String(input));
          asked.push(
            `${["primary", "replica"][nth]} ${init?.method ?? "GET"} ${pathname.replace(/.*\//, "")}`,
          );
          return fetch(input, init);
        },
      },
    }),
  );
}

let user: string;
beforeEach(async () => {
  user = await createUser(both.primary);
  await grant(both.primary, user, 100);
  await both.caughtUp();
  asked = [];
});

test("what is shown is asked of the replica by GET; what decides and what writes, of the primary", async () => {
  const [primary, replica] = await clientsOf(user);
  const books = tokenbook(primary!, { userId: user, reads: replica });
  expect(await books.balance()).toMatchObject({ total_active: 100 });
  expect((await books.history({ limit: 5 }).page()).transactions).toHaveLength(1);
  expect(await books.balanceAt(new Date())).toMatchObject({ total_active: 100 });
  expect(await books.canSpend(5)).toBe(true);
  expect(await books.deduct(5)).toMatchObject({ success: true, tokens_remaining: 95 });
  await books.packs.list();
  expect(asked).toEqual([
    "replica GET get_user_token_balance",
    "replica GET get_token_history",
    "replica GET get_token_balance_as_of",
    "primary POST can_spend_tokens",
    "primary POST deduct_tokens_with_fifo",
    "replica GET token_packs",
  ]);
});

test("what the replica cannot answer before something is written is asked of the primary, and then of the replica again", async () => {
  const setFirstPlan = (isDefault: boolean) =>
    both.primary.admin.query(
      "update public.token_plans set is_default = $1, given_to_users_since = '-infinity' where plan_type = 'free'",
      [isDefault],
    );
  const newcomer = await createUser(both.primary); // who registered before there was a plan for it
  await setFirstPlan(true);
  await both.caughtUp();
  const [primary, replica] = await clientsOf(newcomer);
  const books = tokenbook(primary!, { userId: newcomer, reads: replica });
  expect(await books.balance()).toMatchObject({ total_active: 10_000, plan_type: "free" });
  await both.caughtUp();
  expect(await books.balance()).toMatchObject({ total_active: 10_000, plan_type: "free" });
  await setFirstPlan(false);
  expect(asked).toEqual([
    "replica GET get_user_token_balance",
    "primary POST get_user_token_balance",
    "replica GET get_user_token_balance",
  ]);
});

test("asked of a replica alone, a call that writes is refused by name, by POST and by GET", async () => {
  const [, replica] = await clientsOf(user);
  const books = tokenbook(replica!, { userId: user, patience: { attempts: 1 } });
  for (const work of [() => books.deduct(1), () => books.balance()])
    await expect(work()).rejects.toMatchObject({ code: "read_only", retryable: false });
  const { error, status } = await replica!.rpc(
    "deduct_tokens_with_fifo",
    { p_user_id: user, p_tokens_to_deduct: 1 },
    { get: true },
  );
  expect([status, error?.code]).toEqual([405, "25006"]);
});

test("of an admin's calls, what goes through everybody is asked of the replica; what they act on, of the primary", async () => {
  const admin = await createUser(both.primary, { admin: true });
  await both.caughtUp();
  const [primary, replica] = await clientsOf(admin, adminClaims);
  const books = tokenbookAdmin(primary!, { reads: replica });
  expect(await books.verify()).toEqual([]);
  expect(await books.verify({ until: user })).toEqual([]);
  expect(await books.discrepancies({ threshold: 0 })).toEqual([]);
  expect(await books.expiries({ to: new Date(Date.now() + 86_400_000) })).toEqual([]);
  expect(await books.verify({ userId: user })).toEqual([]);
  expect(await books.reconcile(user)).toMatchObject({ remaining_difference: 0 });
  expect(await books.replay({ userId: user })).toHaveLength(1);
  expect((await books.users({ search: user })).users).toHaveLength(1);
  await books.user(user);
  await books.parked();
  await books.modelPrices();
  expect(asked).toEqual([
    "replica GET verify_token_ledger",
    "replica GET verify_token_ledger",
    "replica GET find_token_discrepancies",
    "replica GET list_token_expiries",
    "primary POST verify_token_ledger",
    "primary POST reconcile_user_token_balance",
    "primary POST replay_token_balances",
    "primary POST list_token_users",
    "primary POST get_token_user",
    "primary POST list_parked_token_payments",
    "primary GET token_model_prices",
  ]);
  expect(() => tokenbookAdmin(primary!, { replica } as never)).toThrow(/no option replica/);
});

test("a replica that does not answer is asked as often as `patience` says, and nobody is asked in its place", async () => {
  const [primary] = await clientsOf(user);
  const away = createClient("http://127.0.0.1:1", keys.publishableKey, {
    realtime: { transport: ws as never },
    global: {
      fetch: async () => {
        asked.push("replica");
        throw new TypeError("fetch failed");
      },
    },
  });
  const books = tokenbook(primary!, { userId: user, reads: away, patience: { attempts: 2, pauseMs: 1 } });
  for (const work of [() => books.balance(), () => books.packs.list()]) {
    await expect(work()).rejects.toMatchObject({ code: "unavailable" });
    expect(asked.splice(0)).toEqual(["replica", "replica"]);
  }
});
