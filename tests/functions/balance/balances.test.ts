import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grant } from "../../support/books.ts";
import { asService, asUser, rpc } from "../../support/roles.ts";
import { expectProblem, withoutInstance } from "../problem.ts";
import { startStack, type Caller, type Stack } from "../stack.ts";

let stack: Stack;
let admin: Caller & { id: string };

beforeAll(async () => {
  stack = await startStack();
  admin = await stack.user({ admin: true });
});
afterAll(() => stack.close());

const balance = (caller: Caller, query = "") => stack.ask("balance", { caller, query });

/** A user with a grant of 100 and ten deductions of 1. */
async function spender() {
  const user = await stack.user();
  await grant(stack.db, user.id, 100);
  for (let n = 0; n < 10; n++) {
    await asUser(stack.db, user.id, (client) =>
      rpc(client, "deduct_tokens_with_fifo", { p_user_id: user.id, p_tokens_to_deduct: 1 }),
    );
  }
  return user;
}

describe("a user", () => {
  test("gets balance and history exactly as SQL gives them", async () => {
    const user = await spender();
    const answer = await balance(user);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      balance: await asUser(stack.db, user.id, (c) => rpc(c, "get_user_token_balance")),
      history: await asUser(stack.db, user.id, (c) => rpc(c, "get_token_history")),
    });
    expect(answer.body.balance).toMatchObject({ user_id: user.id, total_active: 90 });
    expect(answer.body.history.transactions).toHaveLength(11);
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });

  test("may be named", async () => {
    const user = await spender();
    expect((await balance(user, `userId=${user.id}`)).text).toBe((await balance(user)).text);
  });

  test("a user who never had a token has empty books, not an error", async () => {
    const answer = await balance(await stack.user());
    expect(answer.body).toMatchObject({
      balance: { total_active: 0, grants: [] },
      history: { transactions: [], next_before: null },
    });
  });

  test("reads the history page by page, without gap or repetition", async () => {
    const user = await spender();
    const ids: number[] = [];
    let before = "";
    for (let pages = 0; pages < 4; pages++) {
      const { body } = await balance(user, `limit=4${before && `&before=${before}`}`);
      ids.push(...body.history.transactions.map((t: { id: number }) => t.id));
      before = String(body.history.next_before ?? "");
      if (before === "") break;
    }
    expect(ids).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  });

  test("is refused another's balance, the same whether that one exists or not", async () => {
    const user = await stack.user();
    const existing = await balance(user, `userId=${(await spender()).id}`);
    const missing = await balance(user, `userId=${randomUUID()}`);
    expectProblem(existing, "forbidden");
    expect(withoutInstance(existing)).toEqual(withoutInstance(missing));
  });
});

describe("an admin and the server", () => {
  test("read anybody's balance", async () => {
    const user = await spender();
    const expected = await asService(stack.db, (c) =>
      rpc(c, "get_user_token_balance", { p_user_id: user.id }),
    );
    for (const caller of [admin, stack.server]) {
      expect((await balance(caller, `userId=${user.id}`)).body.balance).toEqual(expected);
    }
  });

  test("are told when there is no such user", async () => {
    for (const caller of [admin, stack.server]) {
      expectProblem(await balance(caller, `userId=${randomUUID()}`), "user_not_found");
    }
  });

  test("the server must say which user: it is none itself", async () => {
    expectProblem(await balance(stack.server), "invalid_user_id", { field: "userId" });
  });

  test("an admin whose right was taken away is a user like any other, though the token still says admin", async () => {
    const former = await stack.user({ admin: true });
    await stack.db.admin.query("delete from tokenbook.admins where user_id = $1", [former.id]);
    expectProblem(await balance(former, `userId=${(await spender()).id}`), "forbidden");
    expect((await balance(former)).status).toBe(200);
  });
});

describe("a bad query is 400 and names the parameter", () => {
  test.each([
    ["userId=", "invalid_user_id", "userId"],
    ["userId=me", "invalid_user_id", "userId"],
    ["limit=0", "invalid_page", "limit"],
    ["limit=201", "invalid_page", "limit"],
    ["limit=-1", "invalid_page", "limit"],
    ["limit=", "invalid_page", "limit"],
    ["limit=ten", "invalid_page", "limit"],
    ["limit=1.5", "invalid_page", "limit"],
    ["limit=1e2", "invalid_page", "limit"],
    ["limit=9999999999", "invalid_page", "limit"],
    ["before=x", "invalid_page", "before"],
    ["before=99999999999999999999", "invalid_page", "before"],
    ["before=9999999999999999", "invalid_page", "before"],
    ["page=2", "invalid_request", "page"],
    ["user_id=00000000-0000-0000-0000-000000000000", "invalid_request", "user_id"],
    ["limit=1&limit=2", "invalid_request", "limit"],
    ["__proto__=1", "invalid_request", "__proto__"],
  ] as const)("%s", async (query, slug, field) => {
    expectProblem(await balance(admin, query), slug, { field });
  });

  test("but the parameter that supabase-js adds for a region is not ours to refuse", async () => {
    expect((await balance(admin, "forceFunctionRegion=eu-central-1")).status).toBe(200);
  });

  test("and a moved page is never an error: before may be before everything", async () => {
    const user = await spender();
    expect((await balance(user, "before=-5")).body.history).toEqual({
      transactions: [],
      next_before: null,
    });
    expect((await balance(user, "before=9007199254740991&limit=1")).body.history.transactions).toHaveLength(
      1,
    );
  });
});
