/** What a client makes of trouble: when it asks again, when not, and that one intent has one effect. */
import { randomUUID } from "node:crypto";
import { createClient } from "@supabase/supabase-js";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import ws from "ws";
import {
  type SupabaseLike,
  type Tokenbook,
  tokenbook,
  TokenbookError,
  type TokenbookOptions,
} from "../../packages/tokenbook/src/client/index.ts";
import { type Caller, startStack, type Stack } from "../functions/stack.ts";
import { expectCleanBooks } from "../support/books.ts";
import { booksOf, supabaseOf } from "./books.ts";
import { type Proxy, startProxy, type Trouble } from "./faulty-proxy.ts";

let stack: Stack;
let proxy: Proxy;
let user: Caller & { id: string };

beforeAll(async () => {
  stack = await startStack();
  proxy = await startProxy(stack.url);
});
afterAll(async () => {
  proxy.close();
  await expectCleanBooks(stack.db);
  await stack.close();
});
beforeEach(async () => {
  user = await stack.user();
  await booksOf(stack).grant(1_000, { userId: user.id });
  proxy.troubles = [];
  proxy.asked = [];
  proxy.givenUp = 0;
});

const patience = { pauseMs: 1, attemptMs: 500 };

/** The books of the user, behind what is unwell. */
const behind = (options: TokenbookOptions = {}, caller: Caller = user): Tokenbook =>
  booksOf({ ...stack, url: proxy.url }, caller, { patience, ...options });

const spent = async () =>
  1_000 - (await booksOf(stack, stack.server, { userId: user.id }).balance()).total_active;

/** What somebody was told who was refused. */
const refusalOf = async (asking: Promise<unknown>): Promise<TokenbookError> => {
  const error = await asking.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TokenbookError);
  return error as TokenbookError;
};

describe("a call is made again", () => {
  const gateway = (status: number): Trouble => ({ status, body: "<html>unwell</html>" });
  test.each<[string, Trouble]>([
    ["that never arrived", "lost"],
    ["whose answer was lost", "answer lost"],
    ["that nobody answers", "hangs"],
    ["that a gateway answers with 502", gateway(502)],
    ["that a gateway answers with 503", gateway(503)],
    ["that a gateway answers with 504", gateway(504)],
    ["that a proxy answers with 522", gateway(522)],
    ["that comes too often", gateway(429)],
    [
      "while the schema is loaded",
      {
        status: 503,
        headers: { "content-type": "application/json" },
        body: '{"code":"PGRST002","message":"x","details":null,"hint":null}',
      },
    ],
  ])("%s, and has one effect", async (_, trouble) => {
    proxy.troubles = [trouble, trouble];
    const receipt = await behind().deduct(50);
    expect(receipt).toMatchObject({
      success: true,
      tokens_deducted: 50,
      replayed: trouble === "answer lost",
    });
    expect([proxy.asked.length, await spent()]).toEqual([3, 50]);
  });

  test("with the caller's own key too, also by another client", async () => {
    proxy.troubles = ["answer lost"];
    const idempotencyKey = randomUUID();
    await behind().deduct(50, { idempotencyKey });
    await behind().deduct(50, { idempotencyKey });
    await behind().deduct(50);
    expect(await spent()).toBe(100);
  });

  test("the test sees it: a client with a new key for each attempt spends twice", async () => {
    const supabase = supabaseOf({ ...stack, url: proxy.url }, user);
    const forgetful: SupabaseLike = Object.create(supabase, {
      rpc: {
        value: (name: string, args: object) =>
          supabase.rpc(name, { ...args, p_idempotency_key: randomUUID() }),
      },
    });
    proxy.troubles = ["answer lost"];
    await tokenbook(forgetful, { patience }).deduct(50);
    expect(await spent()).toBe(100);
  });

  test("when the account was locked, as soon as it is free", async () => {
    const locker = await stack.db.admin.connect();
    await locker.query("begin");
    await locker.query("select 1 from public.token_accounts where user_id = $1 for update", [user.id]);
    setTimeout(() => void locker.query("rollback").then(() => locker.release()), 3_000);
    const patient = { patience: { attempts: 8, attemptMs: 10_000 } };
    expect(await behind(patient).deduct(50)).toMatchObject({ success: true });
    expect(await spent()).toBe(50);
  });

  test("not before an edge function says", async () => {
    const problem = { code: "unavailable", status: 503, retryable: true };
    const headers = { "content-type": "application/problem+json", "retry-after": "1" };
    proxy.troubles = [{ status: 503, headers, body: JSON.stringify(problem) }];
    const begin = performance.now();
    const asking = behind({ patience: { pauseMs: 1 } }).portal({ returnUrl: "https://app.example.com" });
    expect((await refusalOf(asking)).code).toBe("not_configured"); // the second time it was heard
    expect(performance.now() - begin).toBeGreaterThan(990);
    expect(proxy.asked).toHaveLength(2);
  });

  test("while a report is behind, as each try adds up some more", async () => {
    const { rowCount } = await stack.db.admin.query(
      `insert into public.token_usage (user_id, action_type, tokens_used, success, created_at)
       select $1, 'chat_conversation', 5, false, now() - interval '10 days' + n * interval '1 second'
         from generate_series(1, 6 * (tokenbook.limits() -> 'usage_rows')::integer) n`,
      [user.id],
    );
    const once = behind({ patience: { ...patience, attempts: 1, attemptMs: 5_000 } });
    expect(await once.usageBy({ bucket: "all" })).toMatchObject({
      rows: [{ failed_uses: rowCount }],
    });
    expect(proxy.asked.length).toBeGreaterThan(4);
  });

  test("no more often than it may, and then says why", async () => {
    proxy.troubles = Array.from({ length: 9 }, () => "lost" as const);
    const error = await refusalOf(behind().deduct(50));
    expect(error).toMatchObject({ code: "unavailable", status: 0, retryable: true });
    expect(proxy.asked).toHaveLength(4);
    proxy.asked = [];
    await refusalOf(behind({ patience: { ...patience, attempts: 2 } }).plans.list());
    expect(proxy.asked).toHaveLength(2);
  });
});

describe("a refusal is said once, as an error with everything in it:", () => {
  const cases: [string, (books: Tokenbook) => Promise<unknown>, object][] = [
    ["a call that the user may not make", (it) => it.grant(5), { code: "forbidden", status: 403, facts: {} }],
    ["somebody else", (it) => it.balance({ userId: randomUUID() }), { code: "forbidden", status: 403 }],
    [
      "a wrong amount",
      (it) => it.deduct(-1),
      { code: "invalid_amount", status: 400, facts: { field: "tokens", rule: expect.any(String) } },
    ],
    ["a value that is none", (it) => it.deduct("many" as never), { code: "invalid_amount", status: 400 }],
    [
      "an unknown plan",
      (it) => it.hasPlan("none"),
      { code: "plan_not_found", status: 404, hint: "Use a plan of the catalogue (token_plans)." },
    ],
  ];
  test.each(cases)("%s", async (_, ask, expected) => {
    const error = await refusalOf(ask(behind()));
    expect(error).toMatchObject({ name: "TokenbookError", retryable: false, ...expected });
    expect(proxy.asked).toHaveLength(1);
  });

  test("a key that stands for something else, with what differs", async () => {
    await behind().deduct(5, { idempotencyKey: "k" });
    const error = await refusalOf(behind().deduct(6, { idempotencyKey: "k" }));
    expect(error).toMatchObject({ code: "idempotency_key_reused", facts: { differs: ["tokens"] } });
  });

  test("a function that the database does not have", async () => {
    const old: SupabaseLike = Object.create(supabaseOf(stack, user), {
      rpc: { value: () => supabaseOf(stack, user).rpc("tokens_of_tomorrow", {}) },
    });
    expect(await refusalOf(tokenbook(old).balance())).toMatchObject({
      code: "internal_error",
      status: 404,
      message: expect.stringContaining("tokens_of_tomorrow"),
    });
  });

  test("a caller without a session, and a server that names no user", async () => {
    const anon = { headers: { apikey: stack.keys.publishableKey } };
    expect(await refusalOf(behind({}, anon).deduct(5))).toMatchObject({
      code: "not_authenticated",
      status: 401,
    });
    expect(await refusalOf(behind({}, stack.server).deduct(5))).toMatchObject({ code: "invalid_user_id" });
  });
});

describe("a caller who waits", () => {
  test("may abort: the request is stopped, and nothing is asked any more", async () => {
    proxy.troubles = ["hangs"];
    const gone = new AbortController();
    const waiting = behind({ patience: { attemptMs: 60_000 } }).deduct(50, { signal: gone.signal });
    setTimeout(() => gone.abort(new Error("gone")), 100);
    await expect(waiting).rejects.toThrow("gone");
    await expect.poll(() => proxy.givenUp).toBe(1);
    expect([proxy.asked.length, await spent()]).toEqual([1, 0]);
  });

  test("may abort in a pause, and before it begins", async () => {
    proxy.troubles = ["lost", "lost", "lost"];
    const gone = new AbortController();
    const waiting = behind({ patience: { pauseMs: 5_000 } }).balance({ signal: gone.signal });
    waiting.catch(() => {});
    await expect.poll(() => proxy.asked.length, { interval: 1 }).toBe(1);
    gone.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    await expect(behind().deduct(5, { signal: gone.signal })).rejects.toThrow("gone");
    expect(proxy.asked).toHaveLength(1);
  });
});

describe("the user of a client", () => {
  const options = { realtime: { transport: ws as never } };
  test("is read from a header, as in an edge function", async () => {
    const { apikey, authorization } = user.headers as { apikey: string; authorization: string };
    const books = tokenbook(
      createClient(stack.url, apikey, { ...options, global: { headers: { authorization } } }),
    );
    expect(await books.deduct(5)).toMatchObject({ success: true });
    expect(await spent()).toBe(5);
  });

  test("is read from the session of the signed-in user", async () => {
    const email = `${user.id}@example.com`;
    await supabaseOf(stack).auth.admin.updateUserById(user.id, { password: "a password" });
    const supabase = createClient(stack.url, stack.keys.publishableKey, options);
    const { error } = await supabase.auth.signInWithPassword({ email, password: "a password" });
    expect(error).toBeNull();
    const asked: string[] = [];
    const listening: SupabaseLike = Object.create(supabase, {
      rpc: { value: (name: string, args: object) => (asked.push(name), supabase.rpc(name, args)) },
    });
    expect(await tokenbook(listening).deduct(5)).toMatchObject({ success: true });
    expect([asked, await spent()]).toEqual([["deduct_tokens_with_fifo"], 5]);
  });

  test("its options say, and a call's before them", async () => {
    const books = booksOf(stack, stack.server, { userId: randomUUID() });
    await books.deduct(5, { userId: user.id });
    expect(await spent()).toBe(5);
  });
});
